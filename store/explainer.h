/*
 * An explanation while it is made. For store/explain.c (listener, chain, certificate, endpoints) and
 * store/explain_http.c (hosts, paths, routes); nobody else includes it.
 */
#ifndef STORE_EXPLAINER_H
#define STORE_EXPLAINER_H

#include "store/explain.h"

struct explainer {
    const struct view *view;
    const struct explain_question *q;
    struct arena *arena;
    struct explanation *to;
};

/* reason is made in the arena; past EXPLAIN_RIVALS_MAX it is only counted. */
void explain_rival(struct explainer *x, struct explain_step *step, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void explain_note(struct explainer *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/*
 * Exposures on the listener that lost what would have taken that name (a server name or a host): to another, by their
 * own fault, or for want of a secret. NULL: those that are not on the listener at all.
 */
void explain_losers(struct explainer *x, struct explain_step *step, const char *name);
/* How exactly a domain has the host: an exact name, "*" and an end, a beginning and "*", "*"; 0: not at all. Of two
 * wildcards of a kind the longer is more exact. */
size_t explain_exactness(const char *domain, const char *host);
/* A cluster and its endpoints: the last step of all that is forwarded. http: answers with 503. */
void explain_cluster(struct explainer *x, const char *cluster, bool http);
/* What becomes of a request on an L7 chain. */
void explain_http(struct explainer *x);

#endif
