/*
 * Documents that were written once and can be sent again, as long as what they were written from is the same: the
 * view, what proxies said of it, and the day, as some count days. A document is found by who may see it, the form
 * that is taken, and the request's target. Nothing is ever told to forget: a document of another state is not found.
 *
 * Bounded: what is kept is dropped as a whole when it gets too much, or when the state is another one. Thread-safe.
 */
#ifndef API_CACHE_H
#define API_CACHE_H

#include "api/http.h"
#include "api/negotiate.h"

enum { CACHE_BYTES_MAX = 16 << 20 };

/* What documents are written from. The same numbers: the same content. */
struct cache_state {
    uint64_t view;   /* view->number */
    uint64_t status; /* of the proxies' words */
};

struct document_form {
    struct http_content *content;
    bool is_gzip;
    char etag[ETAG_MAX];      /* of the form without compression */
    const char *content_type; /* lives for ever */
    double until;             /* seconds since 1970: it says what holds on the day before; INFINITY: whenever */
};

struct cache;

struct cache *cache_new(void);
void cache_free(struct cache *c); /* NULL is allowed */

/* With a reference to its content, which the caller lets go of. */
bool cache_get(struct cache *c, const struct cache_state *state, double now, const char *key,
               struct document_form *ret);
/* Takes a reference of its own. */
void cache_put(struct cache *c, const struct cache_state *state, const char *key, const struct document_form *form);
/* Who is about to write a document that many may ask for holds this lock of its key meanwhile, and looks again first:
 * so it is written once. */
void cache_lock(struct cache *c, const char *key);
void cache_unlock(struct cache *c, const char *key);

#endif
