/*
 * From a request to an answer: routing, authentication, negotiation, the handler, conditions. Knows no socket; what
 * is pure of it is tried in tests with a table of their own.
 */
#ifndef API_DISPATCH_H
#define API_DISPATCH_H

#include "api/call.h"

struct cache;
struct page;
struct sessions;
struct throttle;

struct dispatcher {
    struct routes *routes;    /* borrowed, as all of this */
    const struct page *pages; /* the dashboard's, sorted by path; may be none */
    size_t n_pages;
    struct api_backend backend;
    const char *version;
    struct http *http;                   /* NULL in tests */
    struct cache *cache;                 /* NULL: every document is written anew */
    struct sessions *sessions;           /* NULL: there are none */
    struct throttle *throttle;           /* of failed logins; NULL: as many as there are */
    gid_t group;                         /* (gid_t)-1: none */
    struct tokens *(*tokens)(void *arg); /* those of the moment, a reference; NULL: there are none */
    void *tokens_arg;
};

/* Whether this caller of before would be let in at this moment, with the same rights. */
bool dispatch_knows(const struct dispatcher *d, const struct principal *who);

/* tokens: of this moment; may be NULL. */
void dispatch(const struct dispatcher *d, const struct tokens *tokens, const struct http_request *r,
              struct http_answer *a);
/* Of a request whose content is not there yet. */
struct http_manner dispatch_manner(const struct dispatcher *d, const char *method, const char *target);

#endif
