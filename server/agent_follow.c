/*
 * Following the agent: subscribe, fetch the whole while events are kept, apply them, follow; start over whenever
 * anything does not fit.
 *
 * The agent does not confirm a subscription, and a patch that it sends between its answer and the moment at which the
 * subscription really stands would be missed without a gap. Only the first event proves that it stands. So a fetch
 * waits a moment for it, and a fetch that began before it is made once more when it has come: at once, or a little
 * after what was fetched is passed on.
 *
 * After a gap or a misfit the subscription goes on, events are kept, and the whole is fetched again. After an end of
 * the stream everything starts anew, and the state is stale until it is whole again.
 *
 * A message of no concern costs little but being woken up for it, and a cluster of many nodes has hundreds of them a
 * second. While they come that densely and nothing else does, they are read in lots, FLOOD_PAUSE apart, as a network
 * card moderates its interrupts. The first message that concerns us, or a pause in which nothing came, ends that; so
 * a change in the midst of a flood comes at most FLOOD_PAUSE later, and those that follow it at once.
 */
#include "server/agent_core.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char subscribe[] = "{\"action\":\"events\",\"options\":{}}";
static const char fetch_all[] = "{\"action\":\"daemon_status\"}";

/* Until all that came of a fetch is committed, written and sent. */
#define TRIM_DELAY (5 * CLOCK_NS_PER_S)

#define FLOOD_GAP (8 * CLOCK_NS_PER_MS) /* between lots, below which they are dense: over 125 a second */
#define FLOOD_PAUSE (20 * CLOCK_NS_PER_MS)
enum { FLOOD_LOTS = 16 }; /* dense ones, in a row, before pauses are made */

static void on_timer(void *arg);
static void start_fetch(struct agent *a);

/* ---- starting over ---- */

static void wait_for(struct agent *a, enum agent_phase phase, clock_ns delay)
{
    __atomic_store_n(&a->phase, phase, __ATOMIC_RELAXED);
    loop_timer_set(a->timer, loop_now(a->loop) + delay);
}

static clock_ns next_delay(struct agent *a)
{
    clock_ns now = loop_now(a->loop);

    if (a->synced_at != INT64_MIN && now - a->synced_at >= AGENT_STEADY_S * CLOCK_NS_PER_S)
        a->step = 0;
    a->synced_at = INT64_MIN;
    return agent_backoff(a, a->step++);
}

/* Of failures in a row that say the same, the first is told. */
static void tell_failure(struct agent *a, const char *what, const struct err *e)
{
    char text[ERR_OBJECT_MAX + ERR_FIELD_MAX + ERR_TEXT_MAX];
    bool again;

    err_format(e, text, sizeof(text));
    again = a->last_failure && strcmp(a->last_failure, text) == 0;
    log_event(again ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, what, "why", text, NULL);
    if (again)
        return;
    mem_free(a->last_failure);
    a->last_failure = mem_strdup(text);
}

static void set_stale(struct agent *a, const char *why)
{
    struct view *v;
    bool tell;

    agent_first_done(a);
    v = store_view(a->store);
    tell = v->complete && !v->stale;
    view_unref(v);
    store_set_stale(a->store, true);
    if (tell)
        agent_commit_soon(a, why);
}

/* The whole is fetched again, after a while; what comes meanwhile is kept. */
static void fetch_again(struct agent *a)
{
    connection_close(a->status);
    a->status = NULL;
    mirror_hold(a->mirror);
    wait_for(a, PHASE_WAIT_FETCH, next_delay(a));
}

static void connect_again(struct agent *a)
{
    silence_end(a);
    connection_close(a->status);
    connection_close(a->events);
    a->status = a->events = NULL;
    buf_clear(&a->message);
    wait_for(a, PHASE_WAIT_CONNECT, next_delay(a));
}

/* ---- the whole ---- */

static void log_synced(struct agent *a)
{
    struct mirror_stats s = mirror_stats(a->mirror);

    log_event(LOG_LEVEL_INFO, "agent synced", "nodes", LOG_INT(s.nodes), "instances", LOG_INT(s.instances),
              "services", LOG_INT(s.services), "secrets", LOG_INT(s.secrets), "ms",
              LOG_INT((clock_now(NULL) - a->fetch_started) / CLOCK_NS_PER_MS), NULL);
}

static void synced(struct agent *a)
{
    bool settled;

    a->synced_at = loop_now(a->loop);
    __atomic_store_n(&a->phase, PHASE_FOLLOW, __ATOMIC_RELAXED);
    a->partial = mirror_is_partial(a->mirror, &settled);
    a->have_whole = true;
    a->first_id = 0;
    loop_timer_set(a->timer, INT64_MAX);
    if (!a->partial) {
        mem_free(a->last_failure);
        a->last_failure = NULL;
        a->unsettled_since = INT64_MIN;
    }
    silence_over(a);
    agent_put_whole(a);
    log_synced(a);
    loop_timer_set(a->trim_timer, loop_now(a->loop) + TRIM_DELAY);
    /* Not at once: what was fetched is on its way to the proxies, and has precedence. */
    if (a->confirm && a->phase == PHASE_FOLLOW)
        loop_timer_set(a->timer, loop_now(a->loop) + AGENT_CONFIRM_MS * (clock_ns)CLOCK_NS_PER_MS);
}

static void status_failed(struct agent *a, const struct err *e)
{
    struct err own = *e;

    if (!own.object[0])
        err_set_object(&own, "daemon_status");
    tell_failure(a, "agent cannot be read", &own);
    set_stale(a, "agent cannot be read");
    fetch_again(a);
}

/* An agent that is starting is given some time before a part of the picture is taken for better than nothing. */
static bool may_be_partial(struct agent *a)
{
    clock_ns now = loop_now(a->loop);

    if (a->unsettled_since == INT64_MIN)
        return false;
    return now - a->unsettled_since >= AGENT_UNSETTLED_S * CLOCK_NS_PER_S;
}

static void status_complete(struct agent *a)
{
    struct err e = {0};
    int r;

    connection_close(a->status);
    a->status = NULL;
    r = mirror_status_end(a->mirror, may_be_partial(a), &e);
    if (r == -EAGAIN && a->unsettled_since == INT64_MIN)
        a->unsettled_since = loop_now(a->loop);
    if (r < 0) {
        status_failed(a, &e);
        return;
    }
    if (e.code == -EAGAIN)
        tell_failure(a, "agent tells a part only", &e);
    if (mirror_release(a->mirror, &e) > MIRROR_APPLIED) {
        tell_failure(a, "agent's events do not fit what was fetched", &e);
        fetch_again(a);
        return;
    }
    synced(a);
}

static int on_status_bytes(void *arg, const char *p, size_t n)
{
    struct agent *a = arg;
    const char *end = memchr(p, '\0', n);
    struct err e = {0};

    if (mirror_status_feed(a->mirror, p, end ? (size_t)(end - p) : n, &e) < 0) {
        status_failed(a, &e);
        return -EBADMSG;
    }
    if (!end)
        return 0;
    status_complete(a);
    return 1;
}

static void on_status_ended(void *arg, const struct err *e)
{
    struct agent *a = arg;

    if (e->code < 0)
        status_failed(a, e);
    else
        status_complete(a); /* cut off, or an agent that leaves the NUL out: the mirror knows */
}

static void start_fetch(struct agent *a)
{
    const struct connection_handler handler = {.bytes = on_status_bytes, .ended = on_status_ended, .arg = a};
    struct err e = {0};

    loop_timer_set(a->timer, INT64_MAX);
    a->confirm = false;
    __atomic_store_n(&a->phase, PHASE_FETCH, __ATOMIC_RELAXED);
    a->fetch_started = clock_now(NULL);
    mirror_hold(a->mirror);
    mirror_status_begin(a->mirror);
    if (connection_open(a->loop, (const char *const *)a->sockets, fetch_all, AGENT_REQUEST_TIMEOUT_S * CLOCK_NS_PER_S,
                        &handler, &a->status, NULL, &e) < 0)
        status_failed(a, &e);
}

/* ---- events ---- */

/* The subscription stands; what was fetched before may lack what came between. */
static void prove(struct agent *a)
{
    if (a->proved)
        return;
    a->proved = true;
    if (a->phase == PHASE_WAIT_EVENT || a->phase == PHASE_FOLLOW)
        start_fetch(a);
    else if (a->phase == PHASE_FETCH)
        a->confirm = true;
}

static _hot_ void on_message(struct agent *a, const char *p, size_t n)
{
    struct err e;
    uint64_t before = mirror_last_id(a->mirror);
    enum mirror_event r;

    err_init(&e);
    prove(a);
    r = mirror_event(a->mirror, p, n, &e);
    a->flood.noise |= r == MIRROR_NOISE;
    a->flood.news |= r != MIRROR_NOISE;
    switch (r) {
    case MIRROR_NOISE:
        break;
    case MIRROR_APPLIED:
        if (a->phase == PHASE_FOLLOW) {
            a->last_id = mirror_last_id(a->mirror);
            a->first_id = a->first_id ? a->first_id : a->last_id;
        }
        break;
    case MIRROR_GAP:
        log_event(LOG_LEVEL_WARNING, "agent's events have a gap", "after", LOG_INT((int64_t)before), "patch",
                  LOG_INT((int64_t)mirror_last_id(a->mirror)), NULL);
        fetch_again(a);
        break;
    case MIRROR_MISFIT:
        log_err(LOG_LEVEL_WARNING, &e, "agent's event does not fit", "patch",
                LOG_INT((int64_t)mirror_last_id(a->mirror)), NULL);
        fetch_again(a);
        break;
    }
}

void follow_lost(struct agent *a, const struct err *e)
{
    tell_failure(a, "agent lost", e);
    connect_again(a);
    set_stale(a, "agent lost");
}

static int lost(struct agent *a, const struct err *e)
{
    follow_lost(a, e);
    return -ECONNRESET;
}

static _hot_ int on_event_bytes(void *arg, const char *p, size_t n)
{
    struct agent *a = arg;

    silence_heard(a);
    while (n > 0) {
        const char *end = memchr(p, '\0', n);
        size_t part = end ? (size_t)(end - p) : n;

        /* A message that lies whole in what was read is not copied. */
        if (end && a->message.len == 0) {
            if (part > 0)
                on_message(a, p, part);
        } else if (buf_append(&a->message, p, part) < 0) {
            struct err e = {0};

            err_set(&e, -EMSGSIZE, "events", NULL, "a message of more than %d bytes", MIRROR_EVENT_MAX);
            return lost(a, &e);
        } else if (end) {
            on_message(a, (char *)a->message.data, a->message.len);
            buf_reset(&a->message);
        }
        if (!end)
            return 0;
        p += part + 1;
        n -= part + 1;
    }
    return 0;
}

/* A lot was read: how long the next one is left to gather. */
static _hot_ clock_ns flood_pause(struct flood *f, clock_ns now)
{
    bool dense = f->noisy == FLOOD_LOTS || now - f->lot_at < FLOOD_GAP;

    if (!f->noise || f->news || !dense)
        f->noisy = 0;
    else if (f->noisy < FLOOD_LOTS)
        f->noisy++;
    f->noise = f->news = false;
    f->lot_at = now;
    return f->noisy == FLOOD_LOTS ? FLOOD_PAUSE : 0;
}

/* What came in one go is committed together; also what was applied before a gap in it. */
static void commit_lot(struct agent *a)
{
    char cause[64];
    bool settled;

    if (a->partial && a->phase == PHASE_FOLLOW && mirror_is_partial(a->mirror, &settled) && settled)
        fetch_again(a);
    if (a->first_id == a->last_id)
        snprintf(cause, sizeof(cause), "agent: patch %" PRIu64, a->last_id);
    else
        snprintf(cause, sizeof(cause), "agent: patches %" PRIu64 " to %" PRIu64, a->first_id, a->last_id);
    a->first_id = 0;
    if (agent_put_touched(a))
        agent_commit(a, cause);
    secrets_check(a);
}

static _hot_ clock_ns on_events_drained(void *arg)
{
    struct agent *a = arg;

    /* A large message was the exception. */
    if (a->message.len == 0 && a->message.cap > 0)
        buf_clear(&a->message);
    if (a->first_id)
        commit_lot(a);
    return flood_pause(&a->flood, loop_now(a->loop));
}

static void on_events_ended(void *arg, const struct err *e)
{
    struct agent *a = arg;
    struct err own = *e;

    if (e->code == 0)
        err_set(&own, -ECONNRESET, "events", NULL,
                a->message.len ? "the stream ended within a message" : "the stream ended");
    else
        err_set_object(&own, "events");
    lost(a, &own);
}

static void open_events(struct agent *a)
{
    const struct connection_handler handler = {
        .bytes = on_event_bytes, .drained = on_events_drained, .ended = on_events_ended, .arg = a};
    const char *path = NULL;
    struct err e = {0};

    if (connection_open(a->loop, (const char *const *)a->sockets, subscribe, INT64_MAX, &handler, &a->events, &path,
                        &e) < 0) {
        tell_failure(a, "agent cannot be reached", &e);
        connect_again(a);
        return;
    }
    log_event(LOG_LEVEL_INFO, "agent connected", "socket", path, NULL);
    a->proved = a->confirm = false;
    a->first_id = 0;
    a->flood = (struct flood){.lot_at = INT64_MIN / 2};
    buf_init(&a->message, MIRROR_EVENT_MAX);
    silence_begin(a);
    mirror_follow(a->mirror);
    mirror_hold(a->mirror);
    wait_for(a, PHASE_WAIT_EVENT, AGENT_FIRST_EVENT_MS * (clock_ns)CLOCK_NS_PER_MS);
}

static void on_timer(void *arg)
{
    struct agent *a = arg;

    if (a->phase == PHASE_WAIT_CONNECT)
        open_events(a);
    else
        start_fetch(a);
}

static void on_trim_timer(void *arg)
{
    (void)arg; /* memory is the process's */
    mem_trim();
}

void follow_start(struct agent *a)
{
    a->synced_at = a->unsettled_since = INT64_MIN;
    a->timer = loop_timer_new(a->loop, on_timer, a);
    a->trim_timer = loop_timer_new(a->loop, on_trim_timer, a);
    silence_start(a);
    wait_for(a, PHASE_WAIT_CONNECT, 0);
}

void follow_stop(struct agent *a)
{
    connection_close(a->status);
    connection_close(a->events);
    loop_timer_free(a->timer);
    loop_timer_free(a->trim_timer);
    silence_stop(a);
    buf_clear(&a->message);
    mem_free(a->last_failure);
}
