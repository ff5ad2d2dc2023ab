/* Journals, revisions, who waits for them, and the roster of sessions: see xds_rollout.h. */
#include "server/xds_rollout.h"

#include "server/xds_journal.h"
#include "server/xds_stream.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { JOURNAL_MIN = 64 };

struct waiter {
    struct waiter *next;
    uint64_t id, revision;
    clock_ns until;
    xds_wait_done done;
    void *arg;
};

struct revision {
    uint64_t revision;
    unsigned n_open; /* gateways that are not complete */
    bool complete, refused;
    double published_at, completed_at;
};

struct xds_rollouts {
    struct revision revisions[XDS_REVISIONS_MAX]; /* a ring: the n-th at n % XDS_REVISIONS_MAX */
    uint64_t n_revisions;
    bool opening; /* the batch that is applied bears a new one: the last */
    struct waiter *waiters;
    unsigned n_waiters;
    struct xds_session *first, *last, *walk; /* the roster */
    uint64_t last_number;
    void (*settled)(void *arg, uint64_t revision); /* NULL: nobody follows */
    void *settled_arg;
};

/* ---- waiting ---- */

static struct waiter *take_waiter(struct xds_rollouts *r, struct waiter **place)
{
    struct waiter *w = *place;

    *place = w->next;
    r->n_waiters--;
    return w;
}

static void settle_waiter(struct xds_rollouts *r, struct waiter **place, enum xds_wait_end end)
{
    struct waiter *w = take_waiter(r, place);

    w->done(w->arg, w->revision, end);
    mem_free(w);
}

static void settle_waiters(struct xds_rollouts *r, uint64_t revision, enum xds_wait_end end)
{
    for (struct waiter **place = &r->waiters; *place;)
        if ((*place)->revision == revision)
            settle_waiter(r, place, end);
        else
            place = &(*place)->next;
}

/* ---- revisions ---- */

static struct revision *nth(struct xds_rollouts *r, uint64_t n)
{
    return &r->revisions[n % XDS_REVISIONS_MAX];
}

static uint64_t oldest(const struct xds_rollouts *r)
{
    return r->n_revisions > XDS_REVISIONS_MAX ? r->n_revisions - XDS_REVISIONS_MAX : 0;
}

static struct revision *find_revision(struct xds_rollouts *r, uint64_t revision)
{
    for (uint64_t n = r->n_revisions; n-- > oldest(r);)
        if (nth(r, n)->revision == revision)
            return nth(r, n);
    return NULL;
}

static void tell_settled(const struct xds_rollouts *r, uint64_t revision)
{
    if (r->settled)
        r->settled(r->settled_arg, revision);
}

void xds_rollouts_follow(struct xds_directory *d, void (*settled)(void *arg, uint64_t revision), void *arg)
{
    d->rollouts->settled = settled;
    d->rollouts->settled_arg = arg;
}

static void complete(struct xds_rollouts *r, struct revision *one)
{
    one->complete = true;
    one->completed_at = clock_wall();
    tell_settled(r, one->revision);
    settle_waiters(r, one->revision, one->refused ? XDS_WAIT_REFUSED : XDS_WAIT_ACKED);
}

void xds_rollouts_begin(struct xds_directory *d, uint64_t revision)
{
    struct xds_rollouts *r = d->rollouts;

    r->opening = r->n_revisions == 0 || nth(r, r->n_revisions - 1)->revision != revision;
    if (!r->opening)
        return;
    if (r->n_revisions >= XDS_REVISIONS_MAX)
        settle_waiters(r, nth(r, r->n_revisions)->revision, XDS_WAIT_FORGOTTEN);
    *nth(r, r->n_revisions++) = (struct revision){.revision = revision, .n_open = 1, .published_at = clock_wall()};
}

void xds_rollouts_end(struct xds_directory *d)
{
    struct xds_rollouts *r = d->rollouts;
    struct revision *one = nth(r, r->n_revisions - 1);

    if (!r->opening)
        return;
    r->opening = false;
    if (--one->n_open == 0)
        complete(r, one);
}

static void close_gateway(struct xds_gateway *g, struct xds_journal_revision *jr)
{
    struct xds_rollouts *r = g->directory->rollouts;
    struct revision *one = find_revision(r, jr->revision);

    jr->complete = true;
    if (one && --one->n_open == 0)
        complete(r, one);
}

void xds_journal_passed(struct xds_gateway *g, struct xds_journal_revision *r)
{
    assert(r->n_pending > 0);
    if (--r->n_pending == 0 && !r->complete)
        close_gateway(g, r);
}

void xds_journal_refused(struct xds_gateway *g, uint64_t sequence)
{
    struct xds_rollouts *r = g->directory->rollouts;
    struct xds_journal *j = g->journal;

    for (uint64_t n = j->n_revisions; n-- > xds_journal_oldest(j);) {
        const struct xds_journal_revision *jr = xds_journal_revision(j, n);
        struct revision *one = jr->sequence == sequence ? find_revision(r, jr->revision) : NULL;

        if (!one)
            continue;
        if (!one->refused)
            tell_settled(r, one->revision);
        one->refused = true;
        settle_waiters(r, one->revision, XDS_WAIT_REFUSED);
    }
}

/* ---- journals ---- */

struct xds_journal *xds_journal_new(void)
{
    return mem_new(struct xds_journal);
}

void xds_journal_free(struct xds_journal *j)
{
    if (!j)
        return;
    mem_free(j->entries);
    mem_free(j);
}

static void grow(struct xds_journal *j, size_t n)
{
    size_t cap = j->cap ? j->cap : JOURNAL_MIN;
    struct xds_journal_entry *entries;

    while (cap < j->end - j->begin + n && cap < XDS_JOURNAL_MAX)
        cap *= 2;
    if (cap == j->cap)
        return;
    entries = mem_array(struct xds_journal_entry, cap);
    for (uint64_t i = j->begin; i < j->end; i++)
        entries[i & (cap - 1)] = *xds_journal_at(j, i);
    mem_free(j->entries);
    j->entries = entries;
    j->cap = cap;
}

static void open_revision(struct xds_gateway *g)
{
    struct xds_rollouts *r = g->directory->rollouts;
    struct revision *one = nth(r, r->n_revisions - 1);
    struct xds_journal *j = g->journal;

    *xds_journal_revision(j, j->n_revisions++) = (struct xds_journal_revision){.revision = one->revision,
                                                                               .sequence = g->directory->sequence,
                                                                               .n_pending = j->n_streams,
                                                                               .complete = j->n_streams == 0};
    one->n_open += j->n_streams > 0;
}

void xds_journal_add(struct xds_gateway *g, const struct xds_touched *touched, size_t n)
{
    struct xds_journal *j = g->journal;

    if (g->directory->rollouts->opening)
        open_revision(g);
    if (j->n_streams == 0 || n > XDS_JOURNAL_BATCH_MAX) {
        /* Nobody follows, or all survey: their places are before the beginning. */
        j->begin = j->end = j->end + 1;
        return;
    }
    grow(j, n);
    for (size_t i = 0; i < n; i++, j->end++) {
        if (j->end - j->begin == j->cap)
            j->begin++;
        j->entries[j->end & (j->cap - 1)] =
            (struct xds_journal_entry){g->directory->sequence, touched[i].slot, touched[i].type};
    }
}

void xds_journal_end(struct xds_gateway *g)
{
    struct xds_journal *j = g->journal;

    for (uint64_t n = xds_journal_oldest(j); n < j->n_revisions; n++)
        if (!xds_journal_revision(j, n)->complete)
            close_gateway(g, xds_journal_revision(j, n));
}

/* ---- what is asked ---- */

void xds_rollout_get(const struct xds_directory *d, uint64_t revision, struct xds_rollout *ret)
{
    struct xds_rollouts *r = d->rollouts;
    const struct revision *one = find_revision(r, revision);
    uint64_t first = r->n_revisions ? nth(r, oldest(r))->revision : 0;

    *ret = (struct xds_rollout){.revision = revision};
    if (!one) {
        ret->forgotten = revision < first;
        return;
    }
    ret->state = one->refused ? XDS_ROLLOUT_REFUSED : one->complete ? XDS_ROLLOUT_ACKED : XDS_ROLLOUT_PENDING;
    ret->complete = one->complete;
    ret->published_at = one->published_at;
    ret->completed_at = one->completed_at;
}

uint64_t xds_rollout_sequence(const struct xds_gateway *g, uint64_t revision)
{
    struct xds_journal *j = g->journal;

    for (uint64_t n = j->n_revisions; n-- > xds_journal_oldest(j);)
        if (xds_journal_revision(j, n)->revision == revision)
            return xds_journal_revision(j, n)->sequence;
    return 0;
}

int xds_rollout_wait(struct xds_directory *d, uint64_t id, uint64_t revision, clock_ns until, xds_wait_done done,
                     void *arg)
{
    struct xds_rollouts *r = d->rollouts;
    struct xds_rollout now;
    struct waiter *w;

    xds_rollout_get(d, revision, &now);
    if (now.forgotten || now.state == XDS_ROLLOUT_ACKED || now.state == XDS_ROLLOUT_REFUSED) {
        done(arg, revision,
             now.forgotten                      ? XDS_WAIT_FORGOTTEN
             : now.state == XDS_ROLLOUT_REFUSED ? XDS_WAIT_REFUSED
                                                : XDS_WAIT_ACKED);
        return 0;
    }
    if (r->n_waiters == XDS_WAITERS_MAX)
        return -ENOBUFS;
    w = mem_new(struct waiter);
    *w =
        (struct waiter){.next = r->waiters, .id = id, .revision = revision, .until = until, .done = done, .arg = arg};
    r->waiters = w;
    r->n_waiters++;
    return 0;
}

void xds_rollout_cancel(struct xds_directory *d, uint64_t id)
{
    struct xds_rollouts *r = d->rollouts;

    for (struct waiter **place = &r->waiters; *place; place = &(*place)->next)
        if ((*place)->id == id) {
            mem_free(take_waiter(r, place));
            return;
        }
}

clock_ns xds_rollout_expire(struct xds_directory *d, clock_ns now)
{
    struct xds_rollouts *r = d->rollouts;
    clock_ns next = INT64_MAX;

    for (struct waiter **place = &r->waiters; *place;) {
        if ((*place)->until <= now) {
            settle_waiter(r, place, XDS_WAIT_EXPIRED);
            continue;
        }
        if ((*place)->until < next)
            next = (*place)->until;
        place = &(*place)->next;
    }
    return next;
}

void xds_rollout_stop(struct xds_directory *d)
{
    while (d->rollouts->waiters)
        settle_waiter(d->rollouts, &d->rollouts->waiters, XDS_WAIT_STOPPED);
}

struct xds_rollouts *xds_rollouts_new(void)
{
    return mem_new(struct xds_rollouts);
}

void xds_rollouts_free(struct xds_rollouts *r)
{
    if (!r)
        return;
    assert(!r->waiters && !r->first);
    mem_free(r);
}

/* ---- the roster ---- */

void xds_roster_add(struct xds_directory *d, struct xds_session *s)
{
    struct xds_rollouts *r = d->rollouts;

    s->roster.number = ++r->last_number;
    s->roster.began_at = clock_wall();
    s->roster.previous = r->last;
    *(r->last ? &r->last->roster.next : &r->first) = s;
    r->last = s;
}

void xds_roster_remove(struct xds_directory *d, struct xds_session *s)
{
    struct xds_rollouts *r = d->rollouts;

    if (r->walk == s)
        r->walk = s->roster.next;
    *(s->roster.previous ? &s->roster.previous->roster.next : &r->first) = s->roster.next;
    *(s->roster.next ? &s->roster.next->roster.previous : &r->last) = s->roster.previous;
}

void xds_roster_begin(struct xds_directory *d)
{
    d->rollouts->walk = d->rollouts->first;
}

struct xds_session *xds_roster_next(struct xds_directory *d)
{
    struct xds_session *s = d->rollouts->walk;

    if (s)
        d->rollouts->walk = s->roster.next;
    return s;
}
