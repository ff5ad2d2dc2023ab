/*
 * The table of routes: method, path, access, parameters, handler. What the contract (openapi.yaml) says and what is
 * served is held together by this table alone.
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/auth.h"
#include "api/fault.h"
#include "api/target.h"

struct call;
struct collection;

enum { ROUTE_ARGUMENTS_MAX = 2, PARAMETER_REPEATS_MAX = 8 };

enum parameter_type { PARAMETER_TEXT, PARAMETER_INT, PARAMETER_BOOL };

/* A parameter of the query. */
struct parameter {
    const char *name;
    enum parameter_type type;
    int64_t min, max; /* of numbers; of texts: characters */
    bool repeatable;
    const char *const *values; /* of texts: only these, NULL-terminated; NULL: any */
};

struct api_route {
    const char *method;
    const char *path; /* "/api/v1/exposures/{name}/endpoints" */
    const char *operation;
    enum role access;         /* the least that is needed; ROLE_NONE: anybody */
    const char *produces;     /* of a 200 */
    const char *const *takes; /* content types of the request's content, NULL-terminated; NULL: none is taken */
    const struct parameter *parameters;  /* ended by a NULL name; NULL: none */
    const struct collection *collection; /* a list's, which has parameters of its own; else NULL */
    bool kept;  /* its documents follow from the view, what programmed() says and days_left() alone (api/cache.h) */
    bool probe; /* answered past the limits of requests and connections, too */
    void (*handle)(struct call *c);
};

extern const struct api_route api_routes[];
extern const size_t api_n_routes;

struct routes;

/* The table's paths, to be found; it is borrowed. */
struct routes *routes_new(const struct api_route *table, size_t n);
void routes_free(struct routes *r); /* NULL is allowed */
define_cleanup(struct routes *, routes_free)
/* The route of a method and a path's segments (HEAD is GET), and what stands in its braces; NULL: none. */
const struct api_route *route_find(const struct routes *r, const char *method, const struct target *t,
                                   const char *ret_arguments[ROUTE_ARGUMENTS_MAX]);
/* The methods of a path for an Allow field, in the arena: "GET, HEAD, OPTIONS"; NULL: there is no such path. */
const char *route_allow(const struct routes *r, const struct target *t, struct arena *arena);
bool route_takes(const struct api_route *r, const char *content_type);

/* Every parameter that is unknown, given twice, or out of bounds becomes a fault. */
void parameters_check(const struct api_route *r, const struct target *t, struct fault_list *faults);
/* The value of a parameter that was checked; NULL or otherwise when it was not given. */
const char *parameter_text(const struct target *t, const char *name);
int64_t parameter_int(const struct target *t, const char *name, int64_t otherwise);
bool parameter_bool(const struct target *t, const char *name);

#endif
