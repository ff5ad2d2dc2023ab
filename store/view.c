/*
 * Views, gateways and the differences between views. Everything here is immutable once another thread can see it;
 * counts are atomic, and who drops the last reference frees, in whatever thread that is.
 */
#include "store/view.h"

#include "base/json.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct gateway *gateway_new(const char *name, bool is_default, const struct gateway_settings *settings)
{
    struct arena *arena = arena_new();
    struct gateway *g = arena_new_of(arena, struct gateway);

    g->refs = 1;
    g->name = arena_strdup(arena, name);
    g->is_default = is_default;
    g->port_min = settings->port_min;
    g->port_max = settings->port_max;
    g->allow_files = settings->allow_files;
    g->allow_cluster_header = settings->allow_cluster_header;
    for (size_t i = 0; i < GATEWAY_BASES; i++)
        g->bases[i] = settings->bases[i] ? arena_strdup(arena, settings->bases[i]) : NULL;
    g->arena = arena;
    return g;
}

#define FIELD(member, field_type, ...)                                                                               \
    {                                                                                                                \
        .name = #member, .type = field_type, .offset = offsetof(struct gateway_wish, member), __VA_ARGS__            \
    }
#define BASE(base, key)                                                                                              \
    {                                                                                                                \
        .name = (key), .type = JSON_FIELD_JSON, .offset = offsetof(struct gateway_wish, bases[base]),                \
        .max = GATEWAY_BASE_MAX,                                                                                     \
    }
const struct json_field gateway_wish_fields[GATEWAY_WISH_FIELDS] = {
    FIELD(port_min, JSON_FIELD_INT, .min = 1, .max = UINT16_MAX),
    FIELD(port_max, JSON_FIELD_INT, .min = 1, .max = UINT16_MAX),
    FIELD(allow_files, JSON_FIELD_BOOL),
    FIELD(allow_cluster_header, JSON_FIELD_BOOL),
    BASE(GATEWAY_CLUSTER, "cluster_data"),
    BASE(GATEWAY_TCP_PROXY, "tcp_proxy_data"),
    BASE(GATEWAY_UDP_PROXY, "udp_proxy_data"),
    BASE(GATEWAY_HTTP, "http_connection_manager_data"),
    BASE(GATEWAY_RETRY_POLICY, "retry_policy_data"),
};
#undef FIELD
#undef BASE

int gateway_settings_read(const char *body, struct arena *arena, struct gateway_settings *settings)
{
    struct gateway_wish wish = {settings->port_min, settings->port_max, settings->allow_files,
                                settings->allow_cluster_header};
    json_t *json = NULL;
    int r;

    if (!body)
        return 0;
    r = json_parse(body, strlen(body), &json, NULL);
    if (r < 0)
        return -EINVAL;
    memcpy(wish.bases, settings->bases, sizeof(wish.bases));
    r = json_decode(json, gateway_wish_fields, GATEWAY_WISH_FIELDS, 0, arena, &wish, NULL, NULL);
    *settings = (struct gateway_settings){(uint16_t)wish.port_min, (uint16_t)wish.port_max, wish.allow_files,
                                          wish.allow_cluster_header};
    memcpy(settings->bases, wish.bases, sizeof(wish.bases));
    json_decref(json);
    return r < 0 ? -EINVAL : 0;
}

bool gateway_name_is_good(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strspn(name, allowed);

    return n > 0 && n <= GATEWAY_NAME_MAX && name[n] == '\0';
}

struct gateway *gateway_ref(struct gateway *g)
{
    __atomic_add_fetch(&g->refs, 1, __ATOMIC_RELAXED);
    return g;
}

void gateway_unref(struct gateway *g)
{
    if (g && __atomic_sub_fetch(&g->refs, 1, __ATOMIC_ACQ_REL) == 0)
        arena_free(g->arena);
}

/* The maps hold void pointers; these give the functions that type without a cast between function types. */
#define VIEW_OPS(kind, type, member)                                                                                 \
    static void *kind##_ref_value(void *value)                                                                       \
    {                                                                                                                \
        return kind##_ref(value);                                                                                    \
    }                                                                                                                \
    static void kind##_unref_value(void *value)                                                                      \
    {                                                                                                                \
        kind##_unref(value);                                                                                         \
    }                                                                                                                \
    static const char *kind##_key(const void *value)                                                                 \
    {                                                                                                                \
        return ((const struct type *)value)->member;                                                                 \
    }

VIEW_OPS(service, service, path)
VIEW_OPS(secret, secret, path)
VIEW_OPS(gateway, gateway, name)
VIEW_OPS(listener_plan, listener_plan, key)
VIEW_OPS(document, document, key)

static void *revision_ref_value(void *value)
{
    return revision_ref(value);
}
static void revision_unref_value(void *value)
{
    revision_unref(value);
}
static const char *revision_key_of(const void *value)
{
    return ((const struct revision *)value)->key;
}

const struct pmap_ops view_services = {service_ref_value, service_unref_value, service_key};
const struct pmap_ops view_secrets = {secret_ref_value, secret_unref_value, secret_key};
const struct pmap_ops view_gateways = {gateway_ref_value, gateway_unref_value, gateway_key};
const struct pmap_ops view_listeners = {listener_plan_ref_value, listener_plan_unref_value, listener_plan_key};
const struct pmap_ops view_documents = {document_ref_value, document_unref_value, document_key};
const struct pmap_ops view_revisions = {revision_ref_value, revision_unref_value, revision_key_of};

/* In the order of enum view_kind. */
static const struct pmap_ops *const kinds[] = {&view_services, &view_secrets, &view_gateways, &view_listeners};

struct view *view_new(const struct view *before)
{
    static uint64_t last_number; /* atomic */
    struct view *v = mem_new(struct view);

    v->number = __atomic_add_fetch(&last_number, 1, __ATOMIC_RELAXED);
    if (before) {
        /* All but the count, which readers change meanwhile. */
        v->revision = before->revision;
        v->complete = before->complete;
        v->stale = before->stale;
        v->event = before->event;
        v->n_exposures = before->n_exposures;
        v->services = pmap_ref(before->services);
        v->secrets = pmap_ref(before->secrets);
        v->gateways = pmap_ref(before->gateways);
        v->listeners = pmap_ref(before->listeners);
        v->documents = pmap_ref(before->documents);
        v->revisions = pmap_ref(before->revisions);
    }
    v->refs = 1;
    return v;
}

struct view *view_ref(struct view *v)
{
    __atomic_add_fetch(&v->refs, 1, __ATOMIC_RELAXED);
    return v;
}

void view_unref(struct view *v)
{
    if (!v || __atomic_sub_fetch(&v->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    pmap_unref(v->services, &view_services);
    pmap_unref(v->secrets, &view_secrets);
    pmap_unref(v->gateways, &view_gateways);
    pmap_unref(v->listeners, &view_listeners);
    pmap_unref(v->documents, &view_documents);
    pmap_unref(v->revisions, &view_revisions);
    mem_free(v);
}

const struct service_exposure *view_exposure(const struct view *v, const char *name)
{
    const char *dot = strrchr(name, '.');
    _cleanup_(mem_free_p) char *path = dot ? mem_strndup(name, (size_t)(dot - name)) : NULL;

    return path ? service_exposure_find(view_service(v, path), dot + 1) : NULL;
}

struct listener_plan *view_exposure_plan(const struct view *v, const struct service_exposure *sx)
{
    _cleanup_(mem_free_p) char *key = sx->gateway && sx->listener_port ? exposure_listener_key(sx) : NULL;

    return key ? view_listener(v, key) : NULL;
}

struct document *documents_find(const struct pmap *documents, enum document_kind kind, const char *name)
{
    _cleanup_(mem_free_p) char *key = NULL;

    if (!documents)
        return NULL;
    key = mem_printf("%s/%s", document_kind_name(kind), name);
    return pmap_get(documents, &view_documents, key);
}

struct document *documents_after(const struct pmap *documents, enum document_kind kind, const char *after)
{
    _cleanup_(mem_free_p) char *key = NULL;
    struct document *d;

    if (!documents)
        return NULL;
    key = mem_printf("%s/%s", document_kind_name(kind), after);
    d = pmap_after(documents, &view_documents, key);
    return d && d->kind == kind ? d : NULL;
}

struct pmap *documents_set(struct pmap *documents, enum document_kind kind, const char *name, struct document *d)
{
    if (d)
        return pmap_put(documents, &view_documents, d);
    d = documents_find(documents, kind, name);
    return d ? pmap_remove(documents, &view_documents, d->key) : documents;
}

struct revision *revisions_find(const struct pmap *revisions, uint64_t number)
{
    char key[17];

    revision_key(number, key);
    return pmap_get(revisions, &view_revisions, key);
}

static struct pmap **view_map(struct view *v, enum view_kind kind)
{
    switch (kind) {
    case VIEW_SERVICE:
        return &v->services;
    case VIEW_SECRET:
        return &v->secrets;
    case VIEW_GATEWAY:
        return &v->gateways;
    case VIEW_LISTENER:
        break;
    }
    return &v->listeners;
}

struct view_delta *view_delta_new(struct view *before, struct view *after)
{
    struct view_delta *d = mem_new(struct view_delta);

    d->before = before ? view_ref(before) : NULL;
    d->after = view_ref(after);
    return d;
}

/* Doubles at powers of two: the count alone tells when there is no room left. */
static struct view_change *append(struct view_delta *d)
{
    if ((d->n_changes & (d->n_changes - 1)) == 0)
        d->changes = mem_realloc(d->changes, d->n_changes ? d->n_changes * 2 : 1, sizeof(*d->changes));
    return &d->changes[d->n_changes++];
}

static size_t exposures_of(const struct service *s)
{
    return s ? s->n_exposures : 0;
}

void view_delta_set(struct view_delta *d, enum view_kind kind, const char *key, void *after)
{
    const struct pmap_ops *ops = kinds[kind];
    struct pmap **map = view_map(d->after, kind);
    void *before = pmap_get(*map, ops, key);
    struct view_change *change;

    if (before == after)
        return;
    change = append(d);
    *change = (struct view_change){
        .kind = kind, .before = before ? ops->ref(before) : NULL, .after = after ? ops->ref(after) : NULL};
    change->key = ops->key(after ? after : before);
    if (kind == VIEW_SERVICE)
        d->after->n_exposures += exposures_of(after) - exposures_of(before);
    *map = after ? pmap_put(*map, ops, after) : pmap_remove(*map, ops, key);
}

static int compare_changes(const void *a, const void *b)
{
    const struct view_change *x = a, *y = b;

    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return strcmp(x->key, y->key);
}

void view_delta_sort(struct view_delta *d)
{
    if (d->n_changes > 1)
        qsort(d->changes, d->n_changes, sizeof(*d->changes), compare_changes);
    for (size_t i = 1; i < d->n_changes; i++)
        assert(compare_changes(&d->changes[i - 1], &d->changes[i]) < 0);
}

struct all {
    struct view_delta *delta;
    enum view_kind kind;
};

static int add_new(void *value, void *arg)
{
    const struct all *all = arg;

    *append(all->delta) = (struct view_change){
        .kind = all->kind, .key = kinds[all->kind]->key(value), .after = kinds[all->kind]->ref(value)};
    return 0;
}

struct view_delta *view_delta_initial(struct view *after)
{
    struct view_delta *d = view_delta_new(NULL, after);

    for (enum view_kind kind = VIEW_SERVICE; kind <= VIEW_LISTENER; kind++)
        pmap_each(*view_map(after, kind), add_new, &(struct all){d, kind});
    return d;
}

void view_delta_free(struct view_delta *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_changes; i++) {
        const struct view_change *change = &d->changes[i];

        if (change->before)
            kinds[change->kind]->unref(change->before);
        if (change->after)
            kinds[change->kind]->unref(change->after);
    }
    mem_free(d->changes);
    view_unref(d->before);
    view_unref(d->after);
    mem_free(d);
}
