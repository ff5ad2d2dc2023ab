/*
 * The generic cell rate algorithm: of each address, when all that it did would have been done at the allowed pace. A
 * failure moves that moment on by one interval; it is one too many where that is more than a burst away. So an
 * address is one number, and one that did nothing for long is as one that was never there.
 *
 * The table has sets of a few slots; an address has its set by a hash with a secret seed, and takes there the slot
 * whose moment is the earliest.
 */
#include "api/throttle.h"

#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { WAYS = 4, SETS = THROTTLE_ADDRESSES / WAYS, PREFIX_OF_IPV6 = 8, PREFIX_OF_IPV4 = 4 };
_Static_assert((SETS & (SETS - 1)) == 0, "a set is found by the low bits");

struct slot {
    uint64_t hash;  /* of the address */
    clock_ns until; /* when all of it would have been done at the allowed pace */
};

struct throttle {
    const struct clock *clock;
    uint64_t seed;
    pthread_mutex_t lock; /* of all below */
    struct slot sets[SETS][WAYS], all;
    struct throttle_counters counters;
    uint64_t unlogged;
    clock_ns logged; /* 0: never */
};

struct throttle *throttle_new(const struct clock *clock)
{
    struct throttle *t = mem_new(struct throttle);
    ssize_t n = getrandom(&t->seed, sizeof(t->seed), 0);

    assert(n == (ssize_t)sizeof(t->seed));
    t->clock = clock;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void throttle_free(struct throttle *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

static struct slot *find_slot(struct throttle *t, const struct address *address)
{
    size_t n = address->family == AF_INET ? PREFIX_OF_IPV4 : PREFIX_OF_IPV6;
    uint64_t hash = hash_seeded(address->bytes, n, t->seed);
    struct slot *set = t->sets[hash & (SETS - 1)], *earliest = set;

    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (set[i].until < earliest->until)
            earliest = &set[i];
    }
    *earliest = (struct slot){.hash = hash};
    return earliest;
}

/* How long to wait before one more is allowed; 0: it is. */
static clock_ns excess(const struct slot *s, clock_ns now, clock_ns interval, clock_ns burst)
{
    clock_ns wait = s->until + interval - now - burst * interval;

    return s->until > now && wait > 0 ? wait : 0;
}

static void move_on(struct slot *s, clock_ns now, clock_ns interval)
{
    s->until = (s->until > now ? s->until : now) + interval;
}

struct throttle_verdict throttle_failed(struct throttle *t, const struct address *address)
{
    static const clock_ns interval = THROTTLE_SECONDS * CLOCK_NS_PER_S,
                          interval_of_all = CLOCK_NS_PER_S / THROTTLE_RATE_OF_ALL;
    struct throttle_verdict v = {0};
    clock_ns now = clock_now(t->clock);

    pthread_mutex_lock(&t->lock);
    struct slot *s = find_slot(t, address);
    clock_ns wait = excess(s, now, interval, THROTTLE_BURST);
    clock_ns wait_of_all = excess(&t->all, now, interval_of_all, THROTTLE_BURST_OF_ALL);
    if (wait < wait_of_all)
        wait = wait_of_all;
    v.seconds = (unsigned)((wait + CLOCK_NS_PER_S - 1) / CLOCK_NS_PER_S);
    if (!v.seconds) {
        move_on(s, now, interval);
        move_on(&t->all, now, interval_of_all);
        t->counters.failed++;
    } else {
        t->counters.throttled++;
        t->unlogged++;
        if (!t->logged || now - t->logged >= THROTTLE_LOG_SECONDS * CLOCK_NS_PER_S) {
            v.unlogged = t->unlogged;
            t->unlogged = 0;
            t->logged = now;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return v;
}

void throttle_count(struct throttle *t, struct throttle_counters *ret)
{
    pthread_mutex_lock(&t->lock);
    *ret = t->counters;
    pthread_mutex_unlock(&t->lock);
}
