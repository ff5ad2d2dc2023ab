/* A ring of texts behind one lock, which is held for a copy of one text or one call for each who watches. */
#include "store/events.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct event_watch {
    struct event_ring *ring;
    struct event_watch *before, *after;
    void (*wake)(void *arg);
    void *arg;
};

struct event_ring {
    pthread_mutex_t lock;
    uint64_t epoch, first, last; /* first > last: empty */
    char *texts[EVENTS_MAX];     /* by number modulo EVENTS_MAX */
    struct event_watch *watches;
};

const char *event_place_text(struct event_place p, char *buf)
{
    snprintf(buf, EVENT_PLACE_MAX, "%" PRIu64 ".%" PRIu64, p.epoch, p.seq);
    return buf;
}

static bool parse_number(const char **text, uint64_t *ret)
{
    enum { DIGITS_MAX = 20 };
    size_t n = strspn(*text, "0123456789");

    *ret = strtoull(*text, NULL, 10);
    *text += n;
    return n > 0 && n <= DIGITS_MAX;
}

int event_place_parse(const char *text, struct event_place *ret)
{
    if (!parse_number(&text, &ret->epoch) || *text++ != '.' || !parse_number(&text, &ret->seq) || *text)
        return -EINVAL;
    return 0;
}

struct event_ring *event_ring_new(uint64_t epoch)
{
    struct event_ring *r = mem_new(struct event_ring);

    pthread_mutex_init(&r->lock, NULL);
    r->epoch = epoch;
    r->first = 1;
    return r;
}

void event_ring_free(struct event_ring *r)
{
    if (!r)
        return;
    assert(!r->watches);
    for (size_t i = 0; i < EVENTS_MAX; i++)
        mem_free(r->texts[i]);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

static void put(struct event_ring *r, uint64_t seq, const char *json)
{
    char **place = &r->texts[seq % EVENTS_MAX];

    mem_free(*place);
    *place = mem_strdup(json);
    r->last = seq;
    if (r->last - r->first >= EVENTS_MAX)
        r->first = r->last - EVENTS_MAX + 1;
}

uint64_t event_ring_add(struct event_ring *r, const char *json)
{
    uint64_t seq;

    pthread_mutex_lock(&r->lock);
    seq = r->last + 1;
    put(r, seq, json);
    for (struct event_watch *w = r->watches; w; w = w->after)
        w->wake(w->arg);
    pthread_mutex_unlock(&r->lock);
    return seq;
}

void event_ring_tick(struct event_ring *r)
{
    pthread_mutex_lock(&r->lock);
    for (struct event_watch *w = r->watches; w; w = w->after)
        w->wake(w->arg);
    pthread_mutex_unlock(&r->lock);
}

void event_ring_restore(struct event_ring *r, uint64_t seq, const char *json)
{
    pthread_mutex_lock(&r->lock);
    /* A hole is as good as the end of what is known. */
    if (seq != r->last + 1)
        r->first = seq;
    put(r, seq, json);
    pthread_mutex_unlock(&r->lock);
}

struct event_place event_ring_last(struct event_ring *r)
{
    struct event_place p;

    pthread_mutex_lock(&r->lock);
    p = (struct event_place){r->epoch, r->last};
    pthread_mutex_unlock(&r->lock);
    return p;
}

/* Events begin with their kind, as the store writes them: {"kind":"Exposure",... */
static bool has_kind(const char *json, const char *const *kinds)
{
    static const char start[] = "{\"kind\":\"";

    if (!kinds || strncmp(json, start, sizeof(start) - 1) != 0)
        return !kinds;
    for (; *kinds; kinds++) {
        size_t n = strlen(*kinds);

        if (strncmp(json + sizeof(start) - 1, *kinds, n) == 0 && json[sizeof(start) - 1 + n] == '"')
            return true;
    }
    return false;
}

bool event_ring_next(struct event_ring *r, struct event_place *place, const char *const *kinds, struct buf *out,
                     bool *ret_lost)
{
    bool found = false;

    pthread_mutex_lock(&r->lock);
    *ret_lost = place->epoch != r->epoch || place->seq > r->last || place->seq + 1 < r->first;
    if (*ret_lost)
        *place = (struct event_place){r->epoch, r->last};
    while (!found && place->seq < r->last) {
        const char *json = r->texts[++place->seq % EVENTS_MAX];

        found = has_kind(json, kinds);
        if (found)
            (void)buf_printf(out, "id: %" PRIu64 ".%" PRIu64 "\nevent: change\ndata: %s\n\n", r->epoch, place->seq,
                             json); /* far below the buffer's limit */
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

struct event_watch *event_watch_new(struct event_ring *r, void (*wake)(void *arg), void *arg)
{
    struct event_watch *w = mem_new(struct event_watch);

    *w = (struct event_watch){.ring = r, .wake = wake, .arg = arg};
    pthread_mutex_lock(&r->lock);
    w->after = r->watches;
    if (r->watches)
        r->watches->before = w;
    r->watches = w;
    pthread_mutex_unlock(&r->lock);
    return w;
}

void event_watch_free(struct event_watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->ring->lock);
    if (w->before)
        w->before->after = w->after;
    else
        w->ring->watches = w->after;
    if (w->after)
        w->after->before = w->before;
    pthread_mutex_unlock(&w->ring->lock);
    mem_free(w);
}
