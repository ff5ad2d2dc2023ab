/*
 * Resources: one block of memory each, with the struct, its arrays, the wire bytes and the texts one behind the
 * other, so that ten thousand of them cost little more than their bytes. Nothing but the count changes once it is
 * made.
 */
#include "proto/resource.h"

#include "base/hash.h"
#include "base/text.h"
#include "proto/validate.h"
#include "proto/wire.h"

#include <assert.h>
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>
#include <string.h>

const char *const xds_type_url[XDS_TYPES] = {
    [XDS_CLUSTER] = "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    [XDS_ENDPOINT] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    [XDS_SECRET] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
    [XDS_LISTENER] = "type.googleapis.com/envoy.config.listener.v3.Listener",
    [XDS_ROUTE] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
};

const char *const xds_type_name[XDS_TYPES] = {
    [XDS_CLUSTER] = "cluster",   [XDS_ENDPOINT] = "endpoint", [XDS_SECRET] = "secret",
    [XDS_LISTENER] = "listener", [XDS_ROUTE] = "route",
};

/* Field numbers of envoy.service.discovery.v3.Resource, of Any, and of both responses' list of resources. */
enum {
    RESPONSE_RESOURCES = 2,
    RESOURCE_VERSION = 1,
    RESOURCE_RESOURCE = 2,
    RESOURCE_NAME = 3,
    ANY_TYPE_URL = 1,
    ANY_VALUE = 2,
    VERSION_DIGITS = 16,
};

/* A field's tag and length: all field numbers used here are below 16, so the tag is one byte. */
static size_t head_size(size_t len)
{
    size_t n = 2;

    while (len >>= 7)
        n++;
    return n;
}

static uint8_t *put_head(uint8_t *p, unsigned number, size_t len)
{
    *p++ = (uint8_t)(number << 3 | WIRE_BYTES);
    for (; len >= 0x80; len >>= 7)
        *p++ = (uint8_t)(len | 0x80);
    *p++ = (uint8_t)len;
    return p;
}

static uint8_t *put_text(uint8_t *p, unsigned number, const char *text, size_t len)
{
    p = put_head(p, number, len);
    memcpy(p, text, len);
    return p + len;
}

/* Sorted and each once, into to; returns how many. */
static size_t sort_unique(const char **to, const char *const *from, size_t n)
{
    size_t kept = 0;

    if (n)
        memcpy(to, from, n * sizeof(*to));
    qsort(to, n, sizeof(*to), text_compare);
    for (size_t i = 0; i < n; i++)
        if (!kept || strcmp(to[kept - 1], to[i]) != 0)
            to[kept++] = to[i];
    return kept;
}

static size_t texts_size(const char *const *texts, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; i++)
        size += strlen(texts[i]) + 1;
    return size;
}

static char *put_copy(char *at, const char **text)
{
    size_t n = strlen(*text) + 1;

    memcpy(at, *text, n);
    *text = at;
    return at + n;
}

/* Where the parts of a resource stand in its block. */
struct layout {
    size_t resource_len, any_len; /* the lengths in front of the nested messages */
    size_t wire_len, total;
};

static struct layout lay_out(const struct resource_info *info, size_t message_len)
{
    struct layout l;
    size_t name_len = strlen(info->name), url_len = strlen(xds_type_url[info->type]);
    size_t n_texts = info->n_clusters + info->n_routes + info->n_secrets;

    l.any_len = head_size(url_len) + url_len + head_size(message_len) + message_len;
    l.resource_len = head_size(VERSION_DIGITS) + VERSION_DIGITS + head_size(name_len) + name_len +
                     head_size(l.any_len) + l.any_len;
    l.wire_len = head_size(l.resource_len) + l.resource_len;
    l.total = sizeof(struct resource) + n_texts * sizeof(char *) + l.wire_len + name_len + 1 + strlen(info->owner) +
              1 + texts_size(info->clusters, info->n_clusters) + texts_size(info->routes, info->n_routes) +
              texts_size(info->secrets, info->n_secrets);
    return l;
}

/* Everything but the message and the version; returns where the message goes. */
static uint8_t *put_frame(struct resource *r, const struct layout *l, size_t message_len, uint8_t **ret_version)
{
    const char *url = xds_type_url[r->type];
    uint8_t *p = put_head(r->wire, RESPONSE_RESOURCES, l->resource_len);

    p = put_head(p, RESOURCE_VERSION, VERSION_DIGITS);
    *ret_version = p;
    p = put_text(p + VERSION_DIGITS, RESOURCE_NAME, r->name, strlen(r->name));
    r->any_offset = (size_t)(p - r->wire);
    p = put_head(p, RESOURCE_RESOURCE, l->any_len);
    p = put_text(p, ANY_TYPE_URL, url, strlen(url));
    return put_head(p, ANY_VALUE, message_len);
}

static struct resource *new_block(const struct resource_info *info, const struct layout *l)
{
    struct resource *r = mem_alloc(l->total);
    const char **lists = (const char **)(r + 1);
    char *texts;

    r->refs = 1;
    r->type = info->type;
    r->alone = info->alone;
    r->uses_eds = info->uses_eds;
    r->sensitive = info->sensitive;
    r->clusters = lists;
    r->n_clusters = sort_unique(lists, info->clusters, info->n_clusters);
    r->needs = lists + info->n_clusters;
    r->n_route_needs = sort_unique(r->needs, info->routes, info->n_routes);
    r->n_secret_needs = sort_unique(r->needs + r->n_route_needs, info->secrets, info->n_secrets);
    r->wire = (uint8_t *)(lists + info->n_clusters + info->n_routes + info->n_secrets);
    r->wire_len = l->wire_len;
    r->total = l->total;
    r->name = info->name;
    r->owner = info->owner;
    texts = put_copy(put_copy((char *)r->wire + l->wire_len, &r->name), &r->owner);
    for (size_t i = 0; i < r->n_clusters; i++)
        texts = put_copy(texts, &r->clusters[i]);
    for (size_t i = 0; i < r->n_route_needs + r->n_secret_needs; i++)
        texts = put_copy(texts, &r->needs[i]);
    return r;
}

static void put_version(struct resource *r, uint8_t *at, const uint8_t *message, size_t message_len)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t version = hash_seeded(message, message_len, r->type);

    r->version = version ? version : 1;
    for (int i = 0; i < VERSION_DIGITS; i++)
        at[i] = (uint8_t)digits[r->version >> (4 * (VERSION_DIGITS - 1 - i)) & 0xf];
}

struct resource *resource_new(enum xds_type type, const char *name, const char *owner, const uint8_t *message,
                              size_t message_len, const char *const *clusters, size_t n_clusters,
                              const char *const *routes, size_t n_routes, const char *const *secrets,
                              size_t n_secrets)
{
    const struct resource_info info = {.type = type,
                                       .name = name,
                                       .owner = owner,
                                       .clusters = clusters,
                                       .routes = routes,
                                       .secrets = secrets,
                                       .n_clusters = n_clusters,
                                       .n_routes = n_routes,
                                       .n_secrets = n_secrets};
    struct layout l = lay_out(&info, message_len);
    struct resource *r = new_block(&info, &l);
    uint8_t *version, *at = put_frame(r, &l, message_len, &version);

    if (message_len)
        memcpy(at, message, message_len);
    assert(at + message_len == r->wire + r->wire_len);
    put_version(r, version, at, message_len);
    return r;
}

struct resource *resource_pack(const struct resource_info *info, const struct ProtobufCMessage *message)
{
    size_t message_len = protobuf_c_message_get_packed_size(message);
    struct layout l = lay_out(info, message_len);
    struct resource *r = new_block(info, &l);
    uint8_t *version, *at = put_frame(r, &l, message_len, &version);

    assert(protobuf_c_message_pack(message, at) == message_len);
    assert(at + message_len == r->wire + r->wire_len);
    put_version(r, version, at, message_len);
    return r;
}

struct resource *resource_ref(struct resource *r)
{
    assert(__atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED) > 0);
    return r;
}

void resource_unref(struct resource *r)
{
    if (!r)
        return;
    int before = __atomic_fetch_sub(&r->refs, 1, __ATOMIC_ACQ_REL);
    assert(before > 0);
    if (before > 1)
        return;
    if (r->sensitive)
        mem_free_secret(r, r->total);
    else
        mem_free(r);
}

const uint8_t *resource_message(const struct resource *r, size_t *ret_len)
{
    struct wire w = {r->wire + r->any_offset, r->wire + r->wire_len};
    struct wire_record record;

    assert(wire_next(&w, &record) == 1 && record.number == RESOURCE_RESOURCE);
    w = (struct wire){record.data, record.data + record.len};
    assert(wire_next(&w, &record) == 1 && record.number == ANY_TYPE_URL);
    assert(wire_next(&w, &record) == 1 && record.number == ANY_VALUE);
    *ret_len = record.len;
    return record.data;
}

bool resource_name_has(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("_#/-|*", c);
}

int resource_check(const struct resource *r, struct err *e)
{
    const struct schema_message *type = schema_find_url(xds_type_url[r->type], strlen(xds_type_url[r->type]));
    size_t n;
    const uint8_t *message = resource_message(r, &n);
    int code;

    assert(type);
    code = validate_wire(message, n, type, e);
    if (code < 0 && e)
        err_set_object(e, r->owner);
    return code;
}

void xds_batch_free(struct xds_batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n_changes; i++)
        resource_unref(b->changes[i].after);
    arena_free(b->arena);
}
