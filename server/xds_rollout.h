/*
 * What became of each revision of the configuration: which streams acked all that it changed for them.
 *
 * Each batch has a number, its sequence. A gateway writes into its journal which slots a batch touched, once for all
 * of its streams. Each stream has a place in the journal: it took all that stands before. When something happens to
 * the stream the place moves on over entries that are settled for it, up to the first that is not. Each entry is
 * passed once by each stream, so an ack costs O(1) amortized, and one comparison where the stream is at the end. The
 * sequence of the last batch that was passed whole is the stream's watermark; it never goes back.
 *
 * An entry (type, slot, sequence) is settled for a stream when
 *   - it does not concern it: not subscribed, and not held; or
 *   - the form that the client confirmed last is the one that the batch made current, or a newer one (a form has the
 *     sequences since when and until when it was current: `until` is greater than the entry's sequence); or there is
 *     none any more, and the client dropped it; and for a cluster its assignment, for a listener its route
 *     configurations and secrets were taken in some form; or
 *   - the client refused the current form: noted as this stream's refusal of the batch that brought that form.
 *
 * A new stream has no place in the journal: it surveys the tables first, slot by slot, where each is settled as soon
 * as the client confirmed a form that was current when the survey began, or later. The journal then leads on from
 * there. So does a stream that the (bounded) journal ran away from, and each after a batch too large to be written
 * down.
 *
 * A revision is the first batch that bears its number; flips of endpoints afterwards, under the same number, do not
 * open it again. It concerns the gateways that this batch changed, and is complete when each stream of these that is
 * connected passed its sequence, which may be at once. Complete stays complete: a stream that connects later, and is
 * shown as pending until it took a state at least as new, does not open it again. A refusal stays what it was, too,
 * when a later revision mends it.
 *
 * Owned by the xDS thread.
 */
#ifndef SERVER_XDS_ROLLOUT_H
#define SERVER_XDS_ROLLOUT_H

#include "server/xds_table.h"

enum {
    XDS_REVISIONS_MAX = 128,          /* that are remembered */
    XDS_WAITERS_MAX = 1024,           /* who wait for a revision */
    XDS_WAIT_SECONDS_MAX = 60,        /* for how long, at most */
    XDS_JOURNAL_MAX = 1 << 16,        /* entries of a gateway */
    XDS_JOURNAL_BATCH_MAX = 256,      /* entries of one batch; more: all streams survey, which is cheaper then */
    XDS_STREAM_REFUSALS_MAX = 16,     /* of one stream, for revisions; older ones are forgotten */
    XDS_SURVEY_PATIENCE_SECONDS = 15, /* for a stream to ask for clusters and listeners */
};

struct xds_session;

/* ---- a stream's place ---- */

/* A form that a stream refused, and the batch that brought it. */
struct xds_refused {
    uint64_t sequence, version;
    enum xds_type type;
};

/* Stands in the session. */
struct xds_progress {
    bool surveying;          /* from (type, word) on; up to the state of `target` */
    uint64_t passed;         /* the watermark: sequence of the last batch that was passed */
    uint64_t at;             /* next entry of the journal */
    uint64_t target;         /* of the survey */
    unsigned type;           /* of the survey */
    uint32_t word;           /* of the survey */
    clock_ns patience_until; /* of the survey: for types that were not asked for */
    struct xds_refused *refused;
    unsigned n_refused;
};

/* The session belongs to a gateway from now on; it leaves (if it ever came) before it lets go of its state. */
void xds_progress_join(struct xds_session *s, clock_ns now);
void xds_progress_leave(struct xds_session *s);
/* Something happened: a request, a change, a message. Returns when to be called again at the latest (INT64_MAX:
 * never). */
clock_ns xds_progress_advance(struct xds_session *s, clock_ns now);
/* The client was found to refuse this form. */
void xds_progress_refused(struct xds_session *s, const struct xds_form *f);

/* ---- journals: of a gateway ---- */

struct xds_journal *xds_journal_new(void);
void xds_journal_free(struct xds_journal *j); /* NULL is allowed */
/* A gateway is about to tell its watchers of these changes. */
void xds_journal_add(struct xds_gateway *g, const struct xds_touched *touched, size_t n);
/* It is no more: nobody is waited for there. */
void xds_journal_end(struct xds_gateway *g);

/* ---- revisions: of a directory ---- */

struct xds_rollouts *xds_rollouts_new(void);
void xds_rollouts_free(struct xds_rollouts *r); /* nobody must be waiting; NULL is allowed */
/* settled() is called when a revision is complete, and when it is refused for the first time; from within whatever
 * brings that about. NULL: it is not any more. */
void xds_rollouts_follow(struct xds_directory *d, void (*settled)(void *arg, uint64_t revision), void *arg);
/* Around the application of a batch. */
void xds_rollouts_begin(struct xds_directory *d, uint64_t revision);
void xds_rollouts_end(struct xds_directory *d);

enum xds_rollout_state {
    XDS_ROLLOUT_UNKNOWN, /* not published yet, or forgotten */
    XDS_ROLLOUT_PENDING,
    XDS_ROLLOUT_ACKED,   /* by all that were connected, at some time */
    XDS_ROLLOUT_REFUSED, /* by some; the others acked it or are still pending: see is_complete */
};

struct xds_rollout {
    uint64_t revision;
    enum xds_rollout_state state;
    bool forgotten;                    /* of an unknown one: there was one, too long ago */
    bool complete;                     /* all that were connected answered */
    double published_at, completed_at; /* seconds since 1970; completed_at 0: not yet */
};
void xds_rollout_get(const struct xds_directory *d, uint64_t revision, struct xds_rollout *ret);
/* The sequence of that revision in a gateway, or 0 when it is not concerned. */
uint64_t xds_rollout_sequence(const struct xds_gateway *g, uint64_t revision);

/* Why a wait ended. */
enum xds_wait_end { XDS_WAIT_ACKED, XDS_WAIT_REFUSED, XDS_WAIT_EXPIRED, XDS_WAIT_FORGOTTEN, XDS_WAIT_STOPPED };

typedef void (*xds_wait_done)(void *arg, uint64_t revision, enum xds_wait_end end);
/*
 * Calls done() once, as soon as the revision is acked by all, refused by one, the time is over, or the server stops;
 * maybe before it returns. A revision that was not published yet is waited for. -ENOBUFS: too many wait.
 */
int xds_rollout_wait(struct xds_directory *d, uint64_t id, uint64_t revision, clock_ns until, xds_wait_done done,
                     void *arg);
/* done() is not called any more. Nothing happens when it was. */
void xds_rollout_cancel(struct xds_directory *d, uint64_t id);
/* Ends the waits whose time is over; returns when to be called again at the latest. */
clock_ns xds_rollout_expire(struct xds_directory *d, clock_ns now);
void xds_rollout_stop(struct xds_directory *d);

/* ---- all sessions, in the order in which they began ---- */

/* Stands in the session. */
struct xds_roster_entry {
    struct xds_session *next, *previous;
    uint64_t number; /* 1, 2, ... */
    double began_at; /* seconds since 1970 */
};
void xds_roster_add(struct xds_directory *d, struct xds_session *s);
void xds_roster_remove(struct xds_directory *d, struct xds_session *s);
/* A walk over them that may be interrupted: whoever comes and goes meanwhile, each that is there all the time is met
 * once. There is one walk at a time. */
void xds_roster_begin(struct xds_directory *d);
struct xds_session *xds_roster_next(struct xds_directory *d); /* NULL: the end */

#endif
