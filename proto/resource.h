/*
 * A resource as it goes to Envoys: encoded once, immutable, counted, shared by all streams, with a version derived
 * from its content. And the batch of changes that a translation makes.
 *
 * The bytes are laid out so that both variants of xDS v3 use them (envoy/service/discovery/v3/discovery.proto):
 *
 *     wire = tag(2) len Resource{ version=1, name=3, resource=2 Any{ type_url=1, value=2 } }
 *
 * is one entry of DeltaDiscoveryResponse.resources (field 2), and its tail from any_offset on, tag(2) len Any, is one
 * entry of DiscoveryResponse.resources (also field 2).
 */
#ifndef PROTO_RESOURCE_H
#define PROTO_RESOURCE_H

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* In the order of what names what; new routes go out before listeners (server/xds_send.c). */
enum xds_type { XDS_CLUSTER, XDS_ENDPOINT, XDS_SECRET, XDS_LISTENER, XDS_ROUTE, XDS_TYPES };

extern const char *const xds_type_url[XDS_TYPES];  /* "type.googleapis.com/envoy.config.cluster.v3.Cluster", ... */
extern const char *const xds_type_name[XDS_TYPES]; /* "cluster", "endpoint", "secret", "listener", "route" */

struct resource {
    int refs; /* atomic: resource_ref(), resource_unref() */
    enum xds_type type;
    bool alone;       /* goes in a response of its own: passed-through JSON, secrets */
    bool uses_eds;    /* a cluster whose assignment comes over EDS */
    uint64_t version; /* hash of the message's bytes, which hold the name; never 0; as text 16 hexadecimal digits */
    const char *name;
    const char *owner;     /* the exposure, secret or listener that first made these bytes: for logs and status */
    const char **clusters; /* of a listener or route configuration: names of the clusters it uses; sorted, unique */
    size_t n_clusters;
    const char **needs; /* names of the route configurations (listeners) and secrets (clusters too) it refers to: */
    size_t n_route_needs, n_secret_needs;
    uint8_t *wire;
    size_t wire_len, any_offset;
    bool sensitive; /* wiped when freed; never shown */
    size_t total;   /* bytes of memory that it takes */
};

/*
 * From the packed message (of the type's own message) to a resource. Texts are copied; clusters, routes and secrets
 * may be NULL. The caller sets flags (alone, uses_eds, sensitive) afterwards, before it shares it.
 */
struct resource *resource_new(enum xds_type type, const char *name, const char *owner, const uint8_t *message,
                              size_t message_len, const char *const *clusters, size_t n_clusters,
                              const char *const *routes, size_t n_routes, const char *const *secrets,
                              size_t n_secrets);

/* What a resource is about, beside its message. */
struct resource_info {
    enum xds_type type;
    const char *name, *owner;
    bool alone, uses_eds, sensitive;
    const char *const *clusters, *const *routes, *const *secrets;
    size_t n_clusters, n_routes, n_secrets;
};
/* The same from a protobuf-c message, which is packed straight into its place. */
struct ProtobufCMessage;
struct resource *resource_pack(const struct resource_info *info, const struct ProtobufCMessage *message);
struct resource *resource_ref(struct resource *r);
void resource_unref(struct resource *r); /* NULL is allowed; any thread */
define_cleanup(struct resource *, resource_unref)
/* Envoy's own rules (proto/validate.h) on it: 0, or an error whose object is the owner. */
int resource_check(const struct resource *r, struct err *e);
/* The message's bytes inside wire. */
const uint8_t *resource_message(const struct resource *r, size_t *ret_len);
/* Whether a byte can be part of a resource's name where it touches one in Envoy's words. */
bool resource_name_has(char c);

/* A resource that is new or changed (after set) or gone (after NULL). */
struct xds_change {
    const char *gateway, *name; /* borrowed from the batch's arena */
    enum xds_type type;
    struct resource *after; /* the batch's reference */
};

/* An exposure that a batch is about: its configuration is new or another one. */
struct xds_subject {
    const char *gateway, *exposure; /* borrowed from the batch's arena */
};

/* All that one commit changed, for all gateways. Made by the writer, consumed by the xDS server. It stands in its own
 * arena. */
struct xds_batch {
    uint64_t revision;
    bool complete;         /* the gateways named below are answered from now on; before: held */
    const char **gateways; /* all gateways that exist now, sorted */
    size_t n_gateways;
    struct xds_change *changes; /* sorted by gateway, type, name; one entry a resource */
    size_t n_changes;
    const struct xds_subject *subjects; /* who wants to know when it is live; sorted likewise, each once */
    size_t n_subjects;
    struct arena *arena;
};
void xds_batch_free(struct xds_batch *b); /* NULL is allowed */
define_cleanup(struct xds_batch *, xds_batch_free)

#endif
