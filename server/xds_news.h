/*
 * What is told of proxies, by itself and seldom: that one came, went, or has something else than before; that what
 * proxies have of an exposure became another; how far a revision's rollout is.
 *
 * Streams that something happened to stand in a queue. At most once in XDS_NEWS_GAP_MS the first XDS_NEWS_AT_ONCE
 * of them are looked at, and told of if they are not what they were. So an ack costs a look at one flag, a proxy is
 * told of once a second at most, however much it acks, and a thousand proxies cost what that many looks cost.
 *
 * An exposure is told of when a batch that changed it was passed (see xds_rollout.h) by more of its gateway's streams
 * than when it was told of last, until all passed it; and with it the rollout of the revision that the batch made,
 * for all that shares a listener with what was changed. A batch of more than XDS_NEWS_SUBJECTS_MAX exposures is told
 * of by its rollout alone. Nothing is told for streams that come and go: their own events say so.
 *
 * Owned by the xDS thread; pure.
 */
#ifndef SERVER_XDS_NEWS_H
#define SERVER_XDS_NEWS_H

#include "base/clock.h"
#include "proto/resource.h"
#include "store/events.h"

enum {
    XDS_NEWS_GAP_MS = 1000,
    XDS_NEWS_DELAY_MS = 50, /* from the first that happens: an Envoy's ack comes along */
    XDS_NEWS_AT_ONCE = 256,
    XDS_NEWS_BATCHES_MAX = 256,   /* that are followed at a time; the oldest are told of, and then no more */
    XDS_NEWS_SUBJECTS_MAX = 1024, /* exposures of a batch */
};

struct xds_directory;
struct xds_session;
struct xds_news;

/* kind, name: of the REST interface's object: "Proxy" and its id, "Exposure", "Rollout" and its revision. Borrowed
 * for the call, which must not block. */
typedef void (*xds_tell)(void *arg, const char *kind, const char *name, enum event_change change);

/* Stands in the session. */
struct xds_news_entry {
    struct xds_session *next, *previous; /* in the queue */
    bool waits, is_told;
    uint64_t told; /* digest of what it was when it was told of */
};

/* The directory's rollouts are followed from now on. */
struct xds_news *xds_news_new(struct xds_directory *d, xds_tell tell, void *arg);
void xds_news_free(struct xds_news *n); /* NULL is allowed; all sessions are gone, the directory is there */
/* Something happened to it. */
void xds_news_stirred(struct xds_news *n, struct xds_session *s);
/* It is about to be freed. stays: the proxy is remembered by its id. */
void xds_news_gone(struct xds_news *n, struct xds_session *s, bool stays);
/* That batch was applied, just now. */
void xds_news_applied(struct xds_news *n, const struct xds_batch *b);
/* Tells what is to be told by now. Returns when to be called again at the latest. */
clock_ns xds_news_run(struct xds_news *n, clock_ns now);

#endif
