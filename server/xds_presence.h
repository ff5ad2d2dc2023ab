/*
 * Who is here, and who was: so that one proxy of several that does not come back can be told of.
 *
 *     connected -> away -> gone -> forgotten
 *
 * A proxy is known again by its gateway, its node id and its node cluster, whatever its version and its address are
 * by then. Streams that say the same of themselves are one proxy, which left when the last of them ended. Who left is
 * away for a while (the grace): one that is started anew is back by then. After that it is gone, which is told of,
 * until it comes back, somebody forgets it, its gateway goes, or it was gone for long. Of more than XDS_GONE_MAX the
 * oldest makes way, for some say another id at each start.
 *
 * All that is known is noted (server/xds_notes.h) and found again after a restart of the daemon. Who was not gone by
 * then is away until a grace has passed since it was known which gateways there are: nobody can come back before.
 *
 * Owned by the xDS thread; pure but for the time of day, which is only shown, and noted.
 */
#ifndef SERVER_XDS_PRESENCE_H
#define SERVER_XDS_PRESENCE_H

#include "base/clock.h"
#include "base/heap.h"
#include "server/xds_news.h"
#include "server/xds_table.h"
#include "store/pack.h"

enum {
    XDS_GONE_MAX = 1000,
    XDS_AWAY_MAX = 10000,
    XDS_PRESENCE_TEXT_MAX = 1024, /* bytes of a node's id, and of its cluster: who says more is not remembered */
};

enum xds_presence_state { XDS_CONNECTED, XDS_AWAY, XDS_GONE };

/* A proxy. Texts are its own; those that may be NULL are marked. */
struct xds_known {
    enum xds_presence_state state;
    const char *gateway, *node_id, *node_cluster; /* of one piece, with the key */
    char *id;                                     /* of the stream that came or left last */
    char *peer, *version;                         /* version: NULL: it did not say */
    char *ended;                                  /* why the last stream ended; NULL: it did not */
    enum xds_variant variant;
    double first_seen, connected_at; /* seconds since 1970 */
    double left_at;                  /* the same; 0: it is connected */

    unsigned n_streams;
    struct heap_entry due; /* away: to be gone; gone: to be forgotten */
    char *key;
    size_t key_len;
};

struct xds_presence_options {
    const struct xds_directory *directory; /* borrowed */
    clock_ns keep;                         /* those that are gone; 0: nobody is remembered */
    clock_ns grace;
    xds_tell tell; /* of proxies that are not connected; NULL: nobody wants to know */
    /* It is gone (k->state), or it was and is not any more: it came back (XDS_CONNECTED) or is forgotten (XDS_AWAY).
     * NULL as above. Must not block. */
    void (*gone)(void *arg, const struct xds_known *k);
    void *arg;
};

struct xds_presence;

struct xds_presence *xds_presence_new(const struct xds_presence_options *options);
void xds_presence_free(struct xds_presence *p); /* NULL is allowed; what came is not to be used any more */

/* Who comes: as it says of itself (NULL: nothing), on which stream. Borrowed for the call. */
struct xds_visitor {
    const char *gateway, *node_id, *node_cluster, *id, *peer, *version;
    enum xds_variant variant;
    double at; /* seconds since 1970 */
};
/* Borrowed until xds_presence_left(); NULL: it is not remembered. */
struct xds_known *xds_presence_came(struct xds_presence *p, const struct xds_visitor *v);
/* A stream of it ended; k may be NULL. True: that was its last one, and it is remembered by this stream's id. */
bool xds_presence_left(struct xds_presence *p, struct xds_known *k, const char *id, const char *why, clock_ns now);
/* Whether there is anything to be done by now. */
bool xds_presence_is_due(const struct xds_presence *p, clock_ns now);
/* What is to be done by now. Returns when to be called again at the latest. */
clock_ns xds_presence_run(struct xds_presence *p, clock_ns now);
/* -ENOENT: nobody of that id is away or gone. */
int xds_presence_forget(struct xds_presence *p, const char *id);

/* One after the other, in any order; *i is 0 at first; NULL: that was all. Nothing may change meanwhile. */
const struct xds_known *xds_presence_next(const struct xds_presence *p, size_t *i);
/* Another number whenever something changed that is to be noted. */
uint64_t xds_presence_changes(const struct xds_presence *p);
size_t xds_presence_count(const struct xds_presence *p);

/* For notes: all of it; and what an earlier daemon wrote. What is not understood is left out. */
void xds_presence_write(const struct xds_known *k, struct buf *b);
void xds_presence_read(struct xds_presence *p, struct unpack *u, clock_ns now);
/* The part of ids that tells this run of the daemon from others: another one than in all that was read. */
uint32_t xds_presence_epoch(const struct xds_presence *p);

#endif
