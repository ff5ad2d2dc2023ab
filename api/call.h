/* One call of a handler: the request taken apart, the view it reads, the answer to fill in. Owned by one thread. */
#ifndef API_CALL_H
#define API_CALL_H

#include "api/negotiate.h"
#include "api/routes.h"
#include "api/writer.h"

struct call {
    const struct api_backend *backend;
    const char *version; /* the program's */
    struct http *http;   /* for its counters; NULL in tests */
    const struct http_request *request;
    struct http_answer *answer;
    struct arena *arena;
    const struct view *view;
    const struct api_route *route;
    struct target target;
    const char *arguments[ROUTE_ARGUMENTS_MAX];
    struct principal who;
    struct fault_list faults;
    char etag[ETAG_MAX]; /* "": the answer has none */
    double now;          /* seconds since 1970 */
    double until;        /* the same: from then on the answer would be another one */
    void *prepared;      /* of the collection */
    struct said *said;   /* what proxies said of exposures, as far as it was asked for: api/programmed.c */
    const struct api_proxy *proxies; /* all, once they were asked for: proxies_of(); NULL: they were not */
    size_t n_proxies;
    const struct dispatcher *dispatcher;
    void (*resume)(struct call *c, void *data); /* of call_later() */
};

/* A problem instead of an answer. */
void call_fail(struct call *c, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* 404 for the object of that name; call_not_found(): for the one that the first path argument names. */
void call_no_such(struct call *c, const char *kind, const char *name);
void call_not_found(struct call *c, const char *kind);
/* What was written into the answer's body is a 200 of the route's type, with a tag of its content. */
void call_done(struct call *c);

/*
 * The answer comes later: the last thing that a handler (or a resume before) does. Once later_done() was called,
 * resume writes the answer in one of the shell's threads. It finds the request, the caller, the arena and all that
 * was put there as they were, but a view and a time of its own; the call itself may have moved, so nothing may point
 * at it. seconds: that it may take beside the time of any other request, 0 to API_WAIT_SECONDS_MAX; then the
 * connection is cut. Takes a reference of l over.
 */
void call_later(struct call *c, struct later *l, void (*resume)(struct call *c, void *data), unsigned seconds);
/* The seconds that the client is ready to wait for (RFC 7240, 4.3: Prefer: wait=N), API_WAIT_SECONDS_MAX at most. */
unsigned call_waits(const struct call *c);
/* The answer is a stream of the route's type; it is not compressed, and has no tag. Takes s->wake over. */
void call_stream(struct call *c, const struct http_stream *s);

#endif
