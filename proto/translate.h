/*
 * Translation: view -> Envoy resources. It is asked only for what changed, its cost follows the size of the change,
 * and it is deterministic to the byte.
 *
 * Names: cluster PATH.expose#N (and its assignment), listener ADDR:PORT/PROTO, route configuration LISTENER|CHAIN,
 * virtual host as in the plan, secrets tls_certificate/... and validation_context/... (store/plan.h).
 *
 * An exposure has a cluster as long as its listener's plan accepts it, wholly or in part. When that cluster can't be
 * made, or the secret for its TLS is missing, one without endpoints stands in its place: what refers to it is
 * answered with an error, never in plaintext, and all else on the listener goes on.
 *
 * Owned by the writer's thread.
 */
#ifndef PROTO_TRANSLATE_H
#define PROTO_TRANSLATE_H

#include "proto/resource.h"
#include "proto/scope.h"
#include "store/view.h"

struct translator;

/* tell: what had to be left out of an exposure's resources is other than before; called within translate(). NULL:
 * nobody is told. */
struct translator *translator_new(faults_tell tell, void *arg);
void translator_free(struct translator *t); /* NULL is allowed */
/* What is left out now, for any thread; lives as long as the translator. */
struct faults *translator_faults(const struct translator *t);

/* What this difference means for the Envoys; NULL when nothing, and the revision is the same (a new one is told even
 * if it changes nothing: somebody may wait for it). Differences must follow each other without a gap, the
 * first from nothing. The caller owns the batch. */
struct xds_batch *translate(struct translator *t, const struct view_delta *delta);

/*
 * The store's exposure_check: whether the exposure's own cluster, filter and routes can be made and pass Envoy's
 * rules, and name nothing that the gateway does not allow (NULL: that none may allow); x NULL: whether the gateway's
 * bases are good. arg is not used. Pure; any thread.
 */
int translate_check(const struct exposure *x, const struct gateway *gateway, void *arg, struct err *e);

/* An Envoy bootstrap for a gateway. */
struct bootstrap_options {
    const char *gateway;                               /* goes into the node's metadata */
    const char *node_id, *node_cluster;                /* NULL: the gateway's name */
    const char *xds;                                   /* igwd's: "127.0.0.1:50051", "[::1]:50051", "unix:/path" */
    const char *admin;                                 /* "127.0.0.1:9901" (NULL), "unix:/path" */
    bool state_of_the_world;                           /* default incremental */
    const char *ca_file, *certificate_file, *key_file; /* of the xDS connection; NULL: plaintext */
    /* A DNS name or address that igwd's certificate must bear, where ca_file is given. NULL: the host of xds, unless
     * that stands for every address. */
    const char *tls_name;
};
/* JSON (mem_free() it) that Envoy takes as it is; a fault names the option. */
int bootstrap_make(const struct bootstrap_options *o, char **ret_json, struct err *e);

#endif
