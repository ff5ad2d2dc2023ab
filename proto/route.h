/* Route configurations: the virtual hosts of a chain, over RDS. Pure. */
#ifndef PROTO_ROUTE_H
#define PROTO_ROUTE_H

#include "proto/envoy.h"
#include "proto/resource.h"
#include "proto/scope.h"
#include "store/plan.h"

enum { ROUTE_NAME_MAX = 512 };

/* "LISTENER|CHAIN" into buf; returns buf. */
const char *route_configuration_name(const struct listener_plan *p, const struct plan_chain *chain, char *buf,
                                     size_t n);
/*
 * The route configuration of an L7 chain. What Envoy's rules would refuse is left out route by route, each a fault of
 * its exposure, so there always is one.
 */
struct resource *route_configuration_make(const struct listener_plan *p, const struct plan_chain *chain,
                                          const struct translate_scope *scope);
/* How a gateway's routes retry; in the arena. A fault names the field. */
int retry_policy_make(struct arena *a, const struct gateway *gateway, pb_retry_policy **ret, struct err *e);
/* Whether the routes of an exposure pass Envoy's rules: 0, or the first that does not; the field names the route. */
int routes_check(const struct exposure *x, const struct gateway *gateway, struct err *e);

#endif
