/* Clusters and their assignments: the upstream side of an exposure. Pure. */
#ifndef PROTO_CLUSTER_H
#define PROTO_CLUSTER_H

#include "proto/scope.h"
#include "proto/tls.h"

/* What the cluster of x refers to over SDS, at most CLUSTER_SDS_MAX; texts in the arena. */
enum { CLUSTER_SDS_MAX = 2 };
size_t cluster_sds_refs(struct arena *a, const struct exposure *x, struct sds_ref ret[CLUSTER_SDS_MAX]);

/*
 * The cluster of sx, checked. Endpoints that are DNS names stand in it, where they are up: Envoy resolves them itself
 * (STRICT_DNS). An error names the field ("cluster_data.connect_timeout") and not the object.
 */
int cluster_make(const struct service_exposure *sx, const struct gateway *gateway, struct resource **ret,
                 struct err *e);
/*
 * A cluster of that name which never has an endpoint: what stands for one that can't be made or must not be used, so
 * that listeners and routes which name it keep working for all else.
 */
struct resource *cluster_placeholder(const struct exposure *x);
/* Whether both give the same cluster under the same policy. */
bool cluster_equal(const struct service_exposure *a, const struct service_exposure *b);
/* The endpoints that are up. */
int assignment_make(const struct service_exposure *sx, struct resource **ret, struct err *e);
/* Whether both give the same assignment. */
bool assignment_equal(const struct service_exposure *a, const struct service_exposure *b);

#endif
