/*
 * Certificates as Envoy gets them: secrets over SDS, and the TLS settings of filter chains and clusters that refer to
 * them. Pure.
 *
 * All certificates go over SDS, those by file and inline too: a file that is missing then fails one chain and not its
 * listener, and kinds can be mixed.
 */
#ifndef PROTO_TLS_H
#define PROTO_TLS_H

#include "proto/envoy.h"
#include "proto/resource.h"
#include "store/plan.h"
#include "store/view.h"

/* What a chain or a cluster refers to over SDS. */
struct sds_ref {
    const char *name;
    const struct certificate *certificate; /* where it comes from; borrowed */
    bool trust;                            /* its validation; else its pair */
};

enum { SDS_NAME_MAX = 512 };

/* Texts in the arena. False when the certificate has no such half. */
bool sds_ref_pair(struct arena *a, const struct certificate *c, struct sds_ref *ret);
bool sds_ref_trust(struct arena *a, const struct certificate *c, struct sds_ref *ret);
/* The object path of the secret that it stands on; NULL: files, or inline. */
const char *sds_ref_secret(const struct sds_ref *ref);
/* Whether it can be served now. Files and inline texts always can: the model has inspected what there is. */
bool sds_ref_ready(const struct view *v, const struct sds_ref *ref);
/*
 * The Secret resource; its private key stands nowhere but in the resource, which is wiped when it is freed. -ENOENT:
 * it can't be served; -EINVAL: Envoy's rules refuse it.
 */
int sds_make(const struct view *v, const struct sds_ref *ref, struct resource **ret, struct err *e);

/* TLS that ends at this chain. refs: what it refers to, n of them. */
pb_transport_socket *tls_downstream(struct arena *a, const struct plan_chain *chain, const struct sds_ref *refs,
                                    size_t n);
/* TLS towards the endpoints of an exposure. */
pb_transport_socket *tls_upstream(struct arena *a, const struct exposure *x, const struct sds_ref *refs, size_t n);

#endif
