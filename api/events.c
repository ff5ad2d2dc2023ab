/*
 * GET /events: what becomes another, as text/event-stream. A client that goes on names the last event that it has
 * seen (Last-Event-ID, which browsers send by themselves, or `after`); a list's `event` is such a place too. Where
 * what came behind it is not known any more, the stream says so by an event "resync" and goes on from now.
 *
 * Who may not watch any more, since the token, the certificate or the session is gone, over, or has other rights, is
 * told nothing from the next second on; the stream ends with the next event or heartbeat. Watching uses a session.
 *
 * A stream holds its place and one event; what a slow reader does not take stays in the ring, or is lost to it.
 */
#include "api/dispatch.h"
#include "api/handlers.h"

#include "base/clock.h"
#include "store/events.h"

#include <string.h>

/* Looked at every 5 s (server/daemon.c): at most 15 s pass without a word. */
static const clock_ns heartbeat = 10 * CLOCK_NS_PER_S, check_gap = CLOCK_NS_PER_S;

enum { EVENT_KINDS = 10 };
const char *const event_kinds[EVENT_KINDS + 1] = {"Exposure", "Service",  "Certificate", "Gateway",
                                                  "Listener", "Revision", "Rollout",     "Alarm",
                                                  "Proxy",    "Token",    NULL};

struct watching {
    struct event_ring *ring;
    struct event_watch *watch;
    struct wake *wake;
    struct event_place place;
    const char *kinds[EVENT_KINDS + 1];
    struct buf text;       /* what the socket has not taken yet */
    clock_ns spoke, until; /* until: INT64_MAX: for ever */
    const struct dispatcher *dispatcher;
    struct principal who;
    struct arena *arena; /* of who */
    clock_ns checked;
};

static bool may_watch(struct watching *w)
{
    clock_ns now = clock_now(NULL);

    if (now - w->checked < check_gap)
        return true;
    w->checked = now;
    return dispatch_knows(w->dispatcher, &w->who);
}

static void on_event(void *arg)
{
    wake_up(arg);
}

static void fill(struct watching *w)
{
    char place[EVENT_PLACE_MAX];
    bool lost, found = event_ring_next(w->ring, &w->place, w->kinds, &w->text, &lost);

    if (lost)
        (void)buf_printf(&w->text, "id: %s\nevent: resync\ndata: {\"kind\":\"Resync\"}\n\n",
                         event_place_text(w->place, place)); /* far below the buffer's limit */
    else if (!found && clock_now(NULL) - w->spoke >= heartbeat && w->until)
        (void)buf_append_str(&w->text, ":\n\n");
}

static ssize_t more(void *arg, char *p, size_t n)
{
    struct watching *w = arg;

    if (w->text.len == 0 && !may_watch(w))
        return HTTP_STREAM_END;
    if (w->text.len == 0)
        fill(w);
    if (w->text.len == 0)
        return clock_now(NULL) >= w->until ? HTTP_STREAM_END : 0;
    if (n > w->text.len)
        n = w->text.len;
    memcpy(p, w->text.data, n);
    buf_consume(&w->text, n);
    w->spoke = clock_now(NULL);
    return (ssize_t)n;
}

static void gone(void *arg)
{
    struct watching *w = arg;

    event_watch_free(w->watch);
    wake_unref(w->wake);
    buf_clear(&w->text);
    arena_free(w->arena);
    mem_free(w);
}

/* False: it is no place. The header wins, which a browser that comes back sends beside the parameter. */
static bool find_place(struct call *c, struct event_place *ret)
{
    const char *header = http_request_header(c->request, "Last-Event-ID");
    const char *parameter = parameter_text(&c->target, "after");

    *ret = event_ring_last(c->backend->events); /* what passed before it is not told again */
    if (parameter && event_place_parse(parameter, ret) < 0)
        fault_add(&c->faults, FAULT_PARAMETER, "after", "invalid", "EPOCH.SEQ is expected");
    if (header && event_place_parse(header, ret) < 0)
        fault_add(&c->faults, FAULT_HEADER, "Last-Event-ID", "invalid", "EPOCH.SEQ is expected");
    return c->faults.n == 0;
}

static bool is_asked_for(const struct call *c, const char *kind)
{
    for (size_t i = 0; i < c->target.n_pairs; i++)
        if (strcmp(c->target.pairs[i].name, "kind") == 0 && strcmp(c->target.pairs[i].value, kind) == 0)
            return true;
    return !parameter_text(&c->target, "kind");
}

/* Tokens are the administrators' to know of. The texts are the table's own: they outlive the request. */
static void find_kinds(struct call *c, struct watching *w)
{
    size_t n = 0;

    for (size_t k = 0; event_kinds[k]; k++)
        if (is_asked_for(c, event_kinds[k]) && (c->who.role >= ROLE_ADMIN || strcmp(event_kinds[k], "Token") != 0))
            w->kinds[n++] = event_kinds[k];
}

/* 0: at once when all that is known was told. Else it is looked at with the heartbeat. */
static clock_ns end_after(int64_t seconds)
{
    return seconds ? clock_now(NULL) + seconds * CLOCK_NS_PER_S : 0;
}

void handle_events(struct call *c)
{
    struct event_place place;
    struct watching *w;

    if (!c->backend->events) {
        call_fail(c, 503, "there are no events here");
        return;
    }
    if (!find_place(c, &place)) {
        call_fail(c, 400, "this is no place to watch from");
        return;
    }
    w = mem_new(struct watching);
    w->ring = c->backend->events;
    w->place = place;
    w->spoke = clock_now(NULL) - heartbeat; /* at once: that the stream stands is seen by what it says */
    w->until = INT64_MAX;
    if (parameter_text(&c->target, "seconds"))
        w->until = end_after(parameter_int(&c->target, "seconds", 0));
    w->dispatcher = c->dispatcher;
    w->arena = arena_new();
    w->who = principal_copy(&c->who, w->arena);
    w->checked = clock_now(NULL);
    find_kinds(c, w);
    buf_init(&w->text, 0);
    w->wake = wake_new();
    w->watch = event_watch_new(w->ring, on_event, w->wake);
    call_stream(c, &(struct http_stream){.wake = wake_ref(w->wake), .more = more, .gone = gone, .arg = w});
}
