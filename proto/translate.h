/*
 * Translation: view -> Envoy resources. It is asked only for what changed, keeps nothing but which resource names each
 * object made (to tell what is gone), and is deterministic to the byte.
 *
 * Names: cluster PATH.expose#N (and its assignment), listener ADDR:PORT/PROTO, route configuration LISTENER|CHAIN,
 * virtual host as in the plan, secrets tls_certificate/... and validation_context/... (store/plan.h).
 *
 * Owned by the writer's thread.
 */
#ifndef PROTO_TRANSLATE_H
#define PROTO_TRANSLATE_H

#include "proto/resource.h"
#include "store/view.h"

struct translator;

/* A resource that could not be made, or would be refused: it is left out. Called in the writer's thread. */
typedef void (*translate_problem)(void *arg, const char *gateway, const char *owner, const struct err *e);

struct translator *translator_new(const char *default_gateway, translate_problem problem, void *arg);
void translator_free(struct translator *t);

/* What this difference means for the Envoys. NULL when nothing. The caller owns the batch. */
struct xds_batch *translate(struct translator *t, const struct view_delta *delta);

/*
 * The store's exposure_check: whether the exposure's own cluster and filter can be made and pass Envoy's rules, and its
 * passed-through JSON names nothing that is not allowed. Pure; any thread.
 */
int translate_check(const struct exposure *x, void *arg, struct err *e);

/* An Envoy bootstrap (JSON, mem_free() it) for a gateway: ADS over addr ("127.0.0.1:50051", "unix:/path"), the node's id
 * and cluster, admin on loopback. */
struct bootstrap_options {
    const char *gateway, *node_id, *node_cluster;
    const char *xds;                                   /* address */
    const char *admin;                                 /* "127.0.0.1:9901", "unix:/path" */
    bool state_of_the_world;                           /* default incremental */
    const char *ca_file, *certificate_file, *key_file; /* of the xDS connection; NULL: plaintext */
};
int bootstrap_make(const struct bootstrap_options *o, char **ret_json, struct err *e);

#endif
