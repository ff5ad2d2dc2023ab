/*
 * Trials: a gateway's resources put into one static bootstrap, which `envoy --mode validate` takes apart as it does
 * what comes over xDS, without any server to ask. Pure.
 *
 * What refers to another resource gets it in place: assignments, route configurations. No secret of anybody's is in
 * it: certificates, keys and authorities are dummies, whatever they came from, and files that Envoy would write to
 * are /dev/null.
 */
#ifndef PROTO_TRIAL_H
#define PROTO_TRIAL_H

#include "proto/resource.h"

struct trial_options {
    const char *gateway;
    const char *certificate, *private_key; /* PEM: stand for all pairs, and the certificate for all authorities */
    /* Whether the gateway has a cluster of that name beside the batch's: one without endpoints stands for it. */
    bool (*has_cluster)(void *arg, const char *name);
    void *arg;
};

/*
 * Of what the batch has for the gateway, a bootstrap as JSON; mem_free() it. NULL: it has nothing. ret_names_files:
 * whether files of Envoy's host are named beyond those replaced, so that where they are not Envoy may refuse it.
 */
char *trial_make(const struct xds_batch *b, const struct trial_options *o, bool *ret_names_files);

#endif
