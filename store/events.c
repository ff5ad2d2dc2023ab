/*
 * Two rings behind one lock, which is held for a copy of one text or one call for each who watches: one of the events
 * that have places, one of those that pass. A passing event that stands in for an earlier one leaves a hole there.
 *
 * Invariant: each passing event stands in its ring, at its number, and is in the map by its key.
 */
#include "store/events.h"

#include "base/map.h"

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

struct passing {
    uint64_t number, seq; /* 1, 2, ...; the last event with a place that was shown when it happened */
    char *key, *json;
};

struct event_ring {
    pthread_mutex_t lock;
    uint64_t epoch, first, last; /* first > last: empty */
    uint64_t expected;           /* the number up to which they are about to be added; at most last: none is */
    char *texts[EVENTS_MAX];     /* by number modulo EVENTS_MAX */
    struct event_watch *watches;

    struct passing *passing[EVENTS_PASSING_MAX]; /* by number modulo EVENTS_PASSING_MAX; NULL: a hole */
    struct map by_key;
    uint64_t n_passing; /* number of the last */
    /* Of the newest one that had to make room: whoever had not read it has to read everything. 0: none had to. */
    uint64_t lost, lost_seq;
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
    ret->next = 0;
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

static void passing_free(struct passing *p)
{
    if (!p)
        return;
    mem_free(p->key);
    mem_free(p->json);
    mem_free(p);
}

void event_ring_free(struct event_ring *r)
{
    if (!r)
        return;
    assert(!r->watches);
    for (size_t i = 0; i < EVENTS_MAX; i++)
        mem_free(r->texts[i]);
    for (size_t i = 0; i < EVENTS_PASSING_MAX; i++)
        passing_free(r->passing[i]);
    map_clear(&r->by_key);
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

/* With the lock held. */
static void wake_all(struct event_ring *r)
{
    for (struct event_watch *w = r->watches; w; w = w->after)
        w->wake(w->arg);
}

uint64_t event_ring_add(struct event_ring *r, const char *json)
{
    uint64_t seq;

    pthread_mutex_lock(&r->lock);
    seq = r->last + 1;
    put(r, seq, json);
    wake_all(r);
    pthread_mutex_unlock(&r->lock);
    return seq;
}

void event_ring_expect(struct event_ring *r, uint64_t n)
{
    pthread_mutex_lock(&r->lock);
    r->expected = r->last + n;
    pthread_mutex_unlock(&r->lock);
}

void event_ring_skip(struct event_ring *r, uint64_t n)
{
    pthread_mutex_lock(&r->lock);
    r->last += n;
    r->first = r->last + 1;
    pthread_mutex_unlock(&r->lock);
}

static struct passing **place_of(struct event_ring *r, uint64_t number)
{
    return &r->passing[number % EVENTS_PASSING_MAX];
}

/* The last number that anybody may have been shown. */
static uint64_t last_shown(const struct event_ring *r)
{
    return r->last > r->expected ? r->last : r->expected;
}

static void drop_passing(struct event_ring *r, struct passing *p)
{
    (void)map_removes(&r->by_key, p->key); /* it is this one */
    *place_of(r, p->number) = NULL;
    passing_free(p);
}

void event_ring_pass(struct event_ring *r, const char *key, const char *json)
{
    struct passing *p = mem_new(struct passing), *before, *oldest;

    pthread_mutex_lock(&r->lock);
    before = map_gets(&r->by_key, key);
    if (before)
        drop_passing(r, before);
    *p = (struct passing){++r->n_passing, last_shown(r), mem_strdup(key), mem_strdup(json)};
    oldest = *place_of(r, p->number);
    if (oldest) {
        r->lost = oldest->number;
        r->lost_seq = oldest->seq;
        drop_passing(r, oldest);
    }
    *place_of(r, p->number) = p;
    (void)map_puts(&r->by_key, p->key, p); /* it is not there any more */
    wake_all(r);
    pthread_mutex_unlock(&r->lock);
}

void event_ring_tick(struct event_ring *r)
{
    pthread_mutex_lock(&r->lock);
    wake_all(r);
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

/* With the lock held. */
static struct event_place newest(const struct event_ring *r)
{
    return (struct event_place){.epoch = r->epoch, .seq = r->last, .next = r->n_passing + 1};
}

struct event_place event_ring_last(struct event_ring *r)
{
    struct event_place p;

    pthread_mutex_lock(&r->lock);
    p = newest(r);
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

/* Whether something behind the place is not known any more. */
static bool is_lost(const struct event_ring *r, const struct event_place *p)
{
    bool has_passing = p->next ? p->next > r->lost : !r->lost || p->seq > r->lost_seq;

    return p->epoch != r->epoch || p->seq > last_shown(r) || p->seq + 1 < r->first || !has_passing;
}

/* The smallest number that has a place in the ring. */
static uint64_t oldest_passing(const struct event_ring *r)
{
    return r->n_passing > EVENTS_PASSING_MAX ? r->n_passing - EVENTS_PASSING_MAX + 1 : 1;
}

/* The first passing event that happened at that place or later. */
static uint64_t find_next(struct event_ring *r, uint64_t seq)
{
    uint64_t number = r->n_passing + 1;

    for (uint64_t n = r->n_passing; n >= oldest_passing(r); n--) {
        const struct passing *p = *place_of(r, n);
        if (p && p->seq < seq)
            break;
        if (p)
            number = n;
    }
    return number;
}

/* With the lock held: the passing event that *place stands before, holes are left behind; NULL: there is none. */
static const struct passing *find_passing(struct event_ring *r, struct event_place *place)
{
    if (place->next < oldest_passing(r))
        place->next = oldest_passing(r); /* before that there are holes alone: else something were lost */
    while (place->next <= r->n_passing && !*place_of(r, place->next))
        place->next++;
    return place->next <= r->n_passing ? *place_of(r, place->next) : NULL;
}

/* With the lock held. As all happened: who comes back to a place has been told of what passed before it. */
static const char *step(struct event_ring *r, struct event_place *place)
{
    const struct passing *p = find_passing(r, place);

    if (p && p->seq <= place->seq) {
        place->next++;
        return p->json;
    }
    return place->seq < r->last ? r->texts[++place->seq % EVENTS_MAX] : NULL;
}

/* With the lock held. */
static bool next_event(struct event_ring *r, struct event_place *place, const char *const *kinds, struct buf *out)
{
    const char *json = step(r, place);

    while (json && !has_kind(json, kinds))
        json = step(r, place);
    if (json)
        (void)buf_printf(out, "id: %" PRIu64 ".%" PRIu64 "\nevent: change\ndata: %s\n\n", r->epoch, place->seq,
                         json); /* far below the buffer's limit */
    return json;
}

bool event_ring_next(struct event_ring *r, struct event_place *place, const char *const *kinds, struct buf *out,
                     bool *ret_lost)
{
    pthread_mutex_lock(&r->lock);
    *ret_lost = is_lost(r, place);
    if (*ret_lost)
        *place = newest(r);
    if (place->next == 0)
        place->next = find_next(r, place->seq);
    bool found = next_event(r, place, kinds, out);
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
