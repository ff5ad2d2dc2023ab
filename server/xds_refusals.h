/*
 * What proxies refused: for each proxy (by what it says of itself: node id and build) the versions of resources, and
 * the digests of parts of resources (proto/parts.h), that it was found not to take, with its words. It outlives a
 * stream, so that a proxy that comes back is not sent the same bytes again. Beside it, what the proxy has of these
 * resources (xds_kept.c). Bounded: the proxy, and the refusal, that was used least recently goes. Owned by the xDS
 * thread.
 */
#ifndef SERVER_XDS_REFUSALS_H
#define SERVER_XDS_REFUSALS_H

#include "base/map.h"
#include "proto/resource.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    XDS_REFUSING_PROXIES_MAX = 10000,
    XDS_REFUSALS_MAX = 50000,      /* of one proxy */
    XDS_REFUSAL_WORDS_MAX = 1024,  /* bytes that are kept of a proxy's words */
    XDS_KEPT_MAX = 256,            /* resources of one proxy that are kept */
    XDS_KEPT_BYTES_MAX = 64 << 20, /* of all proxies, as long as there is one without a stream to take some from */
};

struct xds_refusals;
struct xds_refusing; /* one proxy */

struct xds_refusal {
    struct xds_refusal *older, *newer;
    uint64_t key[2];    /* version or digest; type, of a part: XDS_TYPES more */
    char *name, *words; /* name: of the resource */
    /* It is not about the bytes, but about what is there just now: a port that somebody else has. A proxy that comes
     * back is asked again. */
    bool passes;
};

struct xds_refusals *xds_refusals_new(void);
/* All proxies must have been given back. */
void xds_refusals_free(struct xds_refusals *r);

/* The proxy with this number (a hash of what identifies it), which has this gateway now; one reference more, so that
 * it stays. */
struct xds_refusing *xds_refusing_get(struct xds_refusals *r, uint64_t proxy, const char *gateway);
/* A stream of the proxy begins, of one type or of all (XDS_TYPES). Returns its number. */
uint64_t xds_refusing_begin(struct xds_refusing *p, enum xds_type type);
/* Whether none of that type began later. */
bool xds_refusing_is_newest(const struct xds_refusing *p, enum xds_type type, uint64_t stream);
/* With the last stream goes what it refused for the moment. NULL is allowed. */
void xds_refusing_put(struct xds_refusals *r, struct xds_refusing *p);

/* All of them are forgotten, of all proxies. */
void xds_refusals_forget(struct xds_refusals *r);

/* How many there are, so that nobody asks in vain. */
size_t xds_refusing_count(const struct xds_refusing *p);
/* Borrowed until the next change, or NULL. */
const struct xds_refusal *xds_refusing_find(const struct xds_refusing *p, enum xds_type type, uint64_t version);
void xds_refusing_add(struct xds_refusing *p, enum xds_type type, uint64_t version, const char *name,
                      const char *words, size_t words_len);
/* The same of a part, by its digest. */
const struct xds_refusal *xds_refusing_find_part(const struct xds_refusing *p, enum xds_type type, uint64_t digest);
void xds_refusing_add_part(struct xds_refusing *p, enum xds_type type, uint64_t digest, const char *name,
                           const char *words);
/* How many parts of the resource with that name were refused. */
size_t xds_refusing_count_parts(const struct xds_refusing *p, enum xds_type type, const char *name);
/* Another number after each change: of this proxy's, of any's. */
uint64_t xds_refusing_changes(const struct xds_refusing *p);
uint64_t xds_refusals_changes(const struct xds_refusals *r);

/* What the proxy has of the resource with that name; NULL: nothing. r stays the caller's. Of more than XDS_KEPT_MAX
 * names the one that was kept first makes way. */
void xds_refusing_keep(struct xds_refusing *p, enum xds_type type, const char *name, struct resource *r);
/* Borrowed until the next change, or NULL. */
struct resource *xds_refusing_kept(const struct xds_refusing *p, enum xds_type type, const char *name);
/* All of them: while ((r = xds_refusing_kept_at(p, i++))) ... */
struct resource *xds_refusing_kept_at(const struct xds_refusing *p, size_t i);
/* Another number after each change of what is kept of any. */
uint64_t xds_refusals_kept_changes(const struct xds_refusals *r);

/* while ((p = xds_refusals_next(r, p))) ...: the proxies, from NULL on. First those with a stream, be it that they
 * refused nothing, then the others; of each kind the newest first. */
const struct xds_refusing *xds_refusals_next(const struct xds_refusals *r, const struct xds_refusing *p);
uint64_t xds_refusing_proxy(const struct xds_refusing *p);
const char *xds_refusing_gateway(const struct xds_refusing *p);
/* The others are behind it, by `older`. NULL: there is none. */
const struct xds_refusal *xds_refusing_newest(const struct xds_refusing *p);

#endif
