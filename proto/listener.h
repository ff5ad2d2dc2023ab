/* Listeners: the chains of a plan, their filters and their TLS. Pure. */
#ifndef PROTO_LISTENER_H
#define PROTO_LISTENER_H

#include "proto/scope.h"
#include "proto/tls.h"

/* What a plan gives. Texts and arrays are in the arena; the references are the caller's. */
struct listener_result {
    struct resource *listener; /* NULL: no chain is left */
    struct resource **routes;  /* sorted by name */
    size_t n_routes;
    struct sds_ref *secrets; /* what the listener refers to; may repeat */
    size_t n_secrets;
};

/*
 * The listener of a plan, checked. A chain that can't be made, or that Envoy's rules would refuse, is left out, which
 * is a fault of its exposures; the others go on.
 */
void listener_make(struct arena *a, const struct listener_plan *p, const struct translate_scope *scope,
                   struct listener_result *ret);
void listener_result_clear(struct listener_result *r);
/* Whether an exposure's own filter can be made: 0, or an error that names the field ("filter_config_data.x"). */
int filter_check(const struct exposure *x, const struct gateway *gateway, struct err *e);

#endif
