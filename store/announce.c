/* Exposures are compared within their service: an endpoint that flips concerns one of them. */
#include "store/announce.h"

#include "base/clock.h"
#include "base/text.h"
#include "store/expiry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct announcing {
    const struct view_delta *delta;
    double now;
    size_t n, skip; /* how many there were; of these, that are not emitted */
    announce_one emit;
    void *arg;
    struct buf b;
};

static const char *const change_names[] = {
    [EVENT_ADDED] = "added",
    [EVENT_MODIFIED] = "modified",
    [EVENT_REMOVED] = "removed",
};

const char *announce_text(struct buf *b, const char *kind, const char *name, enum event_change change,
                          uint64_t revision, double now)
{
    char text[32];

    buf_reset(b);
    (void)buf_printf(b, "{\"kind\":\"%s\",\"name\":", kind); /* far below the buffer's limit, as all that follows */
    (void)buf_json_string(b, name, strlen(name));
    (void)buf_printf(b, ",\"change\":\"%s\",\"revision\":%" PRIu64 ",\"time\":\"%s\"}", change_names[change],
                     revision, clock_wall_text(now, text));
    return buf_cstr(b);
}

static void say(struct announcing *a, const char *kind, const char *name, enum event_change change)
{
    if (a->n++ >= a->skip)
        a->emit(a->arg, announce_text(&a->b, kind, name, change, a->delta->after->revision, a->now));
}

static enum event_change change_of(const void *before, const void *after)
{
    return !before ? EVENT_ADDED : !after ? EVENT_REMOVED : EVENT_MODIFIED;
}

static bool same_endpoints(const struct service_exposure *a, const struct service_exposure *b)
{
    if (a->n_endpoints != b->n_endpoints)
        return false;
    for (size_t i = 0; i < a->n_endpoints; i++) {
        const struct endpoint *x = &a->endpoints[i], *y = &b->endpoints[i];

        if (x->up != y->up || x->drained != y->drained || !text_equal(x->state, y->state) ||
            endpoint_compare(x, y) != 0)
            return false;
    }
    return true;
}

static bool same_configuration(const struct service_exposure *a, const struct service_exposure *b)
{
    return a->x == b->x && a->declared == b->declared && a->listener_port == b->listener_port &&
           text_equal(a->gateway, b->gateway) && problem_text_equal(a->hindrance, b->hindrance);
}

/* What is wrong with it now, in other words than before. */
static void say_secret(struct announcing *a, const struct view_change *c)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    double since;
    const char *before = c->before ? secret_alarm(c->before, a->now, arena, &since) : NULL,
               *after = c->after ? secret_alarm(c->after, a->now, arena, &since) : NULL;

    say(a, "Certificate", c->key, change_of(c->before, c->after));
    if (!text_equal(before, after))
        say(a, "Alarm", arena_printf(arena, "certificate %s", c->key), change_of(before, after));
}

static void say_service(struct announcing *a, const struct view_change *c)
{
    const struct service *before = c->before, *after = c->after;

    for (size_t i = 0; before && i < before->n_exposures; i++)
        if (!service_exposure_find(after, before->exposures[i].declared->rid))
            say(a, "Exposure", before->exposures[i].declared->name, EVENT_REMOVED);
    for (size_t i = 0; after && i < after->n_exposures; i++) {
        const struct service_exposure *now = &after->exposures[i],
                                      *was = service_exposure_find(before, now->declared->rid);

        if (!was || !same_configuration(was, now) || !same_endpoints(was, now) ||
            !problem_text_equal(was->untold, now->untold))
            say(a, "Exposure", now->declared->name, change_of(was, now));
    }
    if (!before || !after)
        say(a, "Service", c->key, change_of(before, after));
}

static void say_all(struct announcing *a)
{
    static const char *const kinds[] = {
        [VIEW_GATEWAY] = "Gateway",
        [VIEW_LISTENER] = "Listener",
    };
    const struct view_delta *delta = a->delta;

    for (size_t i = 0; i < delta->n_changes; i++) {
        const struct view_change *c = &delta->changes[i];

        if (c->kind == VIEW_SERVICE)
            say_service(a, c);
        else if (c->kind == VIEW_SECRET)
            say_secret(a, c);
        else
            say(a, kinds[c->kind], c->key, change_of(c->before, c->after));
    }
    if (delta->before && delta->before->stale != delta->after->stale)
        say(a, "Alarm", "agent", delta->after->stale ? EVENT_ADDED : EVENT_REMOVED);
    if (delta->before && delta->after->revision != delta->before->revision) {
        char number[24];

        snprintf(number, sizeof(number), "%" PRIu64, delta->after->revision);
        say(a, "Revision", number, EVENT_ADDED);
    }
}

size_t announce_delta(const struct view_delta *delta, double now, size_t max, announce_one emit, void *arg)
{
    struct announcing count = {.delta = delta, .now = now, .skip = SIZE_MAX};

    say_all(&count);
    struct announcing a = {
        .delta = delta, .now = now, .skip = count.n > max ? count.n - max : 0, .emit = emit, .arg = arg};
    buf_init(&a.b, EVENT_BYTES_MAX);
    say_all(&a);
    buf_clear(&a.b);
    return a.n;
}

/* ---- what is to become live ---- */

typedef void (*configured)(void *arg, const char *gateway, const char *exposure);

static void configured_in_service(const struct service *before, const struct service *after, configured one,
                                  void *arg)
{
    for (size_t i = 0; after && i < after->n_exposures; i++) {
        const struct service_exposure *now = &after->exposures[i],
                                      *was = service_exposure_find(before, now->declared->rid);

        if (now->gateway && (!was || !same_configuration(was, now)))
            one(arg, now->gateway, now->declared->name);
    }
}

/* Those that others made way for, or took the way of. */
static void configured_on_listener(const struct listener_plan *before, const struct listener_plan *after,
                                   configured one, void *arg)
{
    for (size_t i = 0; after && i < after->n_verdicts; i++) {
        const struct verdict *v = &after->verdicts[i],
                             *was = before ? listener_plan_verdict(before, v->exposure) : NULL;

        if (was && was->kind != v->kind)
            one(arg, after->gateway, v->exposure);
    }
}

void announce_configured(const struct view_delta *delta, configured one, void *arg)
{
    for (size_t i = 0; i < delta->n_changes; i++) {
        const struct view_change *c = &delta->changes[i];

        if (c->kind == VIEW_SERVICE)
            configured_in_service(c->before, c->after, one, arg);
        else if (c->kind == VIEW_LISTENER)
            configured_on_listener(c->before, c->after, one, arg);
    }
}
