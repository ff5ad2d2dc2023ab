/*
 * Inside rollouts (see xds_rollout.h): the journal of a gateway, shared by its streams (xds_progress.c) and the
 * revisions (xds_rollout.c).
 */
#ifndef SERVER_XDS_JOURNAL_H
#define SERVER_XDS_JOURNAL_H

#include "server/xds_rollout.h"

struct xds_journal_entry {
    uint64_t sequence;
    uint32_t slot;
    enum xds_type type;
};

/* A revision that changed this gateway. */
struct xds_journal_revision {
    uint64_t revision, sequence;
    unsigned n_pending; /* streams that have not passed it, of those that there are now */
    bool complete;
};

struct xds_journal {
    /* Entries by number, from begin to end; a ring. */
    struct xds_journal_entry *entries;
    uint64_t begin, end;
    size_t cap; /* 0 or a power of two */
    unsigned n_streams;
    struct xds_journal_revision revisions[XDS_REVISIONS_MAX]; /* a ring: the n-th at n % XDS_REVISIONS_MAX */
    uint64_t n_revisions;
};

static inline const struct xds_journal_entry *xds_journal_at(const struct xds_journal *j, uint64_t number)
{
    return &j->entries[number & (j->cap - 1)];
}

/* The number of the oldest revision that is remembered. */
static inline uint64_t xds_journal_oldest(const struct xds_journal *j)
{
    return j->n_revisions > XDS_REVISIONS_MAX ? j->n_revisions - XDS_REVISIONS_MAX : 0;
}
static inline struct xds_journal_revision *xds_journal_revision(struct xds_journal *j, uint64_t number)
{
    return &j->revisions[number % XDS_REVISIONS_MAX];
}

/* A stream that waited for this revision does so no longer: it passed it, or left. */
void xds_journal_passed(struct xds_gateway *g, struct xds_journal_revision *r);
/* A stream refused something that this batch brought. */
void xds_journal_refused(struct xds_gateway *g, uint64_t sequence);

#endif
