/*
 * The view: an immutable picture of all that igwd knows, counted by reference. A new view shares everything that did
 * not change with the one before. Whoever reads, reads a view: no lock is held while reading, none is waited for.
 */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include "base/json.h"
#include "base/pmap.h"
#include "store/document.h"
#include "store/events.h"
#include "store/plan.h"
#include "store/secret.h"
#include "store/service.h"

/* What the clusters, filters and retries of a gateway start from, as protobuf JSON of Envoy's messages. What an
 * exposure passes through goes over it, field by field; what neither of them says is as igwd has it. */
enum gateway_base {
    GATEWAY_CLUSTER,
    GATEWAY_TCP_PROXY,
    GATEWAY_UDP_PROXY,
    GATEWAY_HTTP,
    GATEWAY_RETRY_POLICY,
    GATEWAY_BASES,
};

/* A gateway: a named group of Envoys that serve the same configuration. Immutable, counted. */
struct gateway {
    int refs; /* atomic */
    const char *name;
    bool is_default;
    uint16_t port_min, port_max; /* from which ports are allocated */
    /* What passed-through JSON and routes may do beyond the usual (law 10). */
    bool allow_files;                 /* name files, access logs, SDS names, configuration sources */
    bool allow_cluster_header;        /* route_cluster_header: a client may choose any cluster of the gateway */
    const char *bases[GATEWAY_BASES]; /* NULL: says nothing */
    struct arena *arena;
};

enum { GATEWAYS_MAX = 256, GATEWAY_NAME_MAX = 64 };

/* 1 to GATEWAY_NAME_MAX letters, digits, dots, hyphens and underscores. */
bool gateway_name_is_good(const char *name);

struct gateway_settings {
    uint16_t port_min, port_max;
    bool allow_files, allow_cluster_header;
    const char *bases[GATEWAY_BASES]; /* borrowed */
};
/* What a gateway's document may say, and a request that makes one; decodes to a struct gateway_wish. */
enum { GATEWAY_WISH_FIELDS = 4 + GATEWAY_BASES, GATEWAY_BASE_MAX = 256 << 10 };
extern const struct json_field gateway_wish_fields[GATEWAY_WISH_FIELDS]; /* the bases last */
/* As the API has it: "cluster_data", ... */
static inline const char *gateway_base_name(enum gateway_base base)
{
    return gateway_wish_fields[GATEWAY_WISH_FIELDS - GATEWAY_BASES + base].name;
}
struct gateway_wish {
    int64_t port_min, port_max;
    bool allow_files, allow_cluster_header;
    const char *bases[GATEWAY_BASES];
};
struct gateway *gateway_new(const char *name, bool is_default, const struct gateway_settings *settings);
/* What a gateway's document says, over what *settings has already; body NULL: nothing. Texts are in the arena.
 * -EINVAL when it is none. */
int gateway_settings_read(const char *body, struct arena *arena, struct gateway_settings *settings);
struct gateway *gateway_ref(struct gateway *g);
void gateway_unref(struct gateway *g);
define_cleanup(struct gateway *, gateway_unref)

struct view {
    int refs;                 /* atomic */
    uint64_t number;          /* of this view alone: no other one ever has it */
    uint64_t revision;        /* of the configuration; an endpoint that flips makes no new one */
    bool complete;            /* holds a state: a persisted one, or the agent's after a complete fetch */
    bool stale;               /* the agent has not spoken (yet, or any more) */
    struct event_place event; /* the last one that is part of it */
    struct pmap *services;    /* struct service by path: only those that declare something */
    size_t n_exposures;       /* of all of them */
    struct pmap *secrets;     /* struct secret by path: those that are referred to, and all of the API */
    struct pmap *gateways;    /* struct gateway by name */
    struct pmap *listeners;   /* struct listener_plan by key */
    struct pmap *documents;   /* struct document by key: what people made */
    struct pmap *revisions;   /* struct revision by key: the last ones, within the retention */
};

/* For the writer, before it shows the view to anybody: shares everything with before (NULL: empty). */
struct view *view_new(const struct view *before);
struct view *view_ref(struct view *v);
void view_unref(struct view *v); /* NULL is allowed */
define_cleanup(struct view *, view_unref)

extern const struct pmap_ops view_services, view_secrets, view_gateways, view_listeners, view_documents,
    view_revisions;

/* Borrowed from v, or NULL. */
static inline struct service *view_service(const struct view *v, const char *path)
{
    return pmap_get(v->services, &view_services, path);
}
static inline struct secret *view_secret(const struct view *v, const char *path)
{
    return pmap_get(v->secrets, &view_secrets, path);
}
static inline struct gateway *view_gateway(const struct view *v, const char *name)
{
    return pmap_get(v->gateways, &view_gateways, name);
}
static inline struct listener_plan *view_listener(const struct view *v, const char *key)
{
    return pmap_get(v->listeners, &view_listeners, key);
}

/* PATH.expose#N; borrowed from v, or NULL. */
const struct service_exposure *view_exposure(const struct view *v, const char *name);
/* The plan of the listener that it is on, or would be; NULL: there is none, or it has no gateway or port. */
struct listener_plan *view_exposure_plan(const struct view *v, const struct service_exposure *sx);
/* Of a map of documents. */
struct document *documents_find(const struct pmap *documents, enum document_kind kind, const char *name);
/* The first of a kind whose name is > after ("" gives the first of all), or NULL. */
struct document *documents_after(const struct pmap *documents, enum document_kind kind, const char *after);
/* The map with d in its place (NULL: without it); takes the caller's reference to the map. */
struct pmap *documents_set(struct pmap *documents, enum document_kind kind, const char *name, struct document *d);
static inline struct document *view_document(const struct view *v, enum document_kind kind, const char *name)
{
    return documents_find(v->documents, kind, name);
}
static inline struct document *view_document_after(const struct view *v, enum document_kind kind, const char *after)
{
    return documents_after(v->documents, kind, after);
}
/* Of a map of revisions. */
struct revision *revisions_find(const struct pmap *revisions, uint64_t number);
static inline struct revision *view_revision(const struct view *v, uint64_t number)
{
    return revisions_find(v->revisions, number);
}

/*
 * What differs between two views: before NULL: new, after NULL: gone. References are held by the delta. Documents and
 * revisions are no part of it: what they mean stands in the others.
 */
enum view_kind { VIEW_SERVICE, VIEW_SECRET, VIEW_GATEWAY, VIEW_LISTENER };
struct view_change {
    enum view_kind kind;
    const char *key; /* of the object in its map */
    void *before, *after;
};

struct view_delta {
    struct view *before; /* NULL at first */
    struct view *after;
    struct view_change *changes; /* one entry an object; sorted by kind and key */
    size_t n_changes;
};
/* For the writer: takes references to both; then each object is set at most once in `after`, then it is sorted. */
struct view_delta *view_delta_new(struct view *before, struct view *after);
/* after NULL: the object is removed. Takes a reference; the same object as before is no change. */
void view_delta_set(struct view_delta *d, enum view_kind kind, const char *key, void *after);
void view_delta_sort(struct view_delta *d);
/* From nothing to a view. */
struct view_delta *view_delta_initial(struct view *after);
void view_delta_free(struct view_delta *d); /* NULL is allowed */
define_cleanup(struct view_delta *, view_delta_free)

#endif
