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
    void *prepared;      /* of the collection */
};

/* A problem instead of an answer. */
void call_fail(struct call *c, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* 404 for the object that the first path argument names. */
void call_not_found(struct call *c, const char *kind);
/* What was written into the answer's body is a 200 of the route's type, with a tag of its content. */
void call_done(struct call *c);

#endif
