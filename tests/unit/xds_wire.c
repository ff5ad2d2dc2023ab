/* xDS messages for tests: see xds_wire.h. */
#include "tests/unit/xds_wire.h"

#include "base/buf.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "tests/unit/test.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef Envoy__Service__Discovery__V3__DiscoveryRequest SotwRequest;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest DeltaRequest;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryRequest__InitialResourceVersionsEntry VersionEntry;
typedef Envoy__Service__Discovery__V3__DiscoveryResponse SotwResponse;
typedef Envoy__Service__Discovery__V3__DeltaDiscoveryResponse DeltaResponse;

/* ---- requests ---- */

static size_t list_len(const char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

/* Everything that a node is made of. */
struct node {
    Envoy__Config__Core__V3__Node node;
    Google__Protobuf__Struct metadata;
    Google__Protobuf__Struct__FieldsEntry entry, *entries[1];
    Google__Protobuf__Value value;
};

static char *text(const char *s)
{
    return (char *)(s ? s : "");
}

static Envoy__Config__Core__V3__Node *make_node(struct node *n, const struct wire_request *r)
{
    if (!r->node_id && !r->node_cluster && !r->node_gateway)
        return NULL;
    envoy__config__core__v3__node__init(&n->node);
    n->node.id = text(r->node_id);
    n->node.cluster = text(r->node_cluster);
    if (r->node_gateway) {
        google__protobuf__struct__init(&n->metadata);
        google__protobuf__struct__fields_entry__init(&n->entry);
        google__protobuf__value__init(&n->value);
        n->value.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        n->value.string_value = text(r->node_gateway);
        n->entry.key = (char *)"gateway";
        n->entry.value = &n->value;
        n->entries[0] = &n->entry;
        n->metadata.n_fields = 1;
        n->metadata.fields = n->entries;
        n->node.metadata = &n->metadata;
    }
    return &n->node;
}

static uint8_t *pack(const ProtobufCMessage *m, size_t *ret_len)
{
    uint8_t *bytes = mem_alloc(protobuf_c_message_get_packed_size(m));

    *ret_len = protobuf_c_message_pack(m, bytes);
    return bytes;
}

static uint8_t *pack_sotw(const struct wire_request *r, Google__Rpc__Status *status, size_t *ret_len)
{
    SotwRequest m = ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_REQUEST__INIT;
    struct node node;

    m.version_info = text(r->version);
    m.node = make_node(&node, r);
    m.n_resource_names = r->n_names ? r->n_names : list_len(r->names);
    m.resource_names = (char **)r->names;
    m.type_url = text(r->type_url ? r->type_url : xds_type_url[r->type]);
    m.response_nonce = text(r->nonce);
    m.error_detail = status;
    return pack(&m.base, ret_len);
}

static uint8_t *pack_delta(const struct wire_request *r, Google__Rpc__Status *status, size_t *ret_len)
{
    DeltaRequest m = ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
    size_t n = list_len(r->have);
    VersionEntry *entries = mem_array(VersionEntry, n), **pointers = mem_array(VersionEntry *, n);
    struct node node;
    uint8_t *bytes;

    for (size_t i = 0; i < n; i++) {
        envoy__service__discovery__v3__delta_discovery_request__initial_resource_versions_entry__init(&entries[i]);
        entries[i].key = text(r->have[i]);
        entries[i].value = text(r->have_versions[i]);
        pointers[i] = &entries[i];
    }
    m.node = make_node(&node, r);
    m.n_resource_names_subscribe = r->n_names ? r->n_names : list_len(r->names);
    m.resource_names_subscribe = (char **)r->names;
    m.n_resource_names_unsubscribe = list_len(r->unsubscribe);
    m.resource_names_unsubscribe = (char **)r->unsubscribe;
    m.n_initial_resource_versions = n;
    m.initial_resource_versions = pointers;
    m.type_url = text(r->type_url ? r->type_url : xds_type_url[r->type]);
    m.response_nonce = text(r->nonce);
    m.error_detail = status;
    bytes = pack(&m.base, ret_len);
    mem_free(entries);
    mem_free(pointers);
    return bytes;
}

uint8_t *wire_pack(enum xds_variant variant, const struct wire_request *r, size_t *ret_len)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT, *given = NULL;

    if (r->refusal) {
        status.code = 13; /* google.rpc.Code.INTERNAL, as Envoy says */
        status.message = text(r->refusal);
        given = &status;
    }
    return variant == XDS_DELTA ? pack_delta(r, given, ret_len) : pack_sotw(r, given, ret_len);
}

/* ---- responses ---- */

/* The bytes of field 1 (name) or 1000 (content) of a message, which is made of those two. */
static char *find_text(const uint8_t *bytes, size_t len, bool content)
{
    /* As a message whose field 1 is a text and field 2 any bytes: what else there is comes as unknown fields. */
    ProtobufCMessage *m = protobuf_c_message_unpack(&google__protobuf__any__descriptor, NULL, len, bytes);
    char *found = NULL;

    if (!m)
        return NULL;
    if (!content)
        found = mem_strdup(((Google__Protobuf__Any *)m)->type_url);
    for (unsigned i = 0; content && i < m->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *f = &m->unknown_fields[i];
        size_t skip = 0;

        if (f->tag != 1000)
            continue;
        while (f->data[skip] & 0x80)
            skip++;
        found = mem_strndup((const char *)f->data + skip + 1, f->len - skip - 1);
    }
    protobuf_c_message_free_unpacked(m, NULL);
    return found;
}

char *wire_content(const uint8_t *bytes, size_t len)
{
    return find_text(bytes, len, true);
}

static enum xds_type find_type(const char *url)
{
    unsigned type = 0;

    while (type < XDS_TYPES && strcmp(url, xds_type_url[type]) != 0)
        type++;
    return (enum xds_type)type;
}

static bool put_any(struct wire_resource *r, const Google__Protobuf__Any *any, const char *type_url)
{
    if (!any || strcmp(any->type_url, type_url) != 0)
        return false;
    r->bytes = mem_dup(any->value.data, any->value.len);
    r->len = any->value.len;
    return true;
}

static bool take_sotw(struct wire_response *r, const SotwResponse *m)
{
    bool ok = true;

    r->version = mem_strdup(m->version_info);
    r->type_url = mem_strdup(m->type_url);
    r->nonce = mem_strdup(m->nonce);
    r->resources = mem_array(struct wire_resource, m->n_resources);
    for (; r->n_resources < m->n_resources && ok; r->n_resources++) {
        struct wire_resource *to = &r->resources[r->n_resources];

        ok = put_any(to, m->resources[r->n_resources], m->type_url);
        to->name = ok ? find_text(to->bytes, to->len, false) : NULL;
    }
    return ok && m->base.n_unknown_fields == 0;
}

static bool take_delta(struct wire_response *r, const DeltaResponse *m)
{
    bool ok = true;

    r->version = mem_strdup(m->system_version_info);
    r->type_url = mem_strdup(m->type_url);
    r->nonce = mem_strdup(m->nonce);
    r->resources = mem_array(struct wire_resource, m->n_resources);
    r->removed = mem_array(char *, m->n_removed_resources);
    for (; r->n_resources < m->n_resources && ok; r->n_resources++) {
        const Envoy__Service__Discovery__V3__Resource *from = m->resources[r->n_resources];
        struct wire_resource *to = &r->resources[r->n_resources];

        ok = put_any(to, from->resource, m->type_url) && strlen(from->version) == 16;
        to->name = mem_strdup(from->name);
        if (ok)
            memcpy(to->version, from->version, 17);
    }
    for (; r->n_removed < m->n_removed_resources; r->n_removed++)
        r->removed[r->n_removed] = mem_strdup(m->removed_resources[r->n_removed]);
    return ok && m->base.n_unknown_fields == 0;
}

struct wire_response *wire_unpack(enum xds_variant variant, const uint8_t *p, size_t n)
{
    const ProtobufCMessageDescriptor *descriptor =
        variant == XDS_DELTA ? &envoy__service__discovery__v3__delta_discovery_response__descriptor
                             : &envoy__service__discovery__v3__discovery_response__descriptor;
    ProtobufCMessage *m = protobuf_c_message_unpack(descriptor, NULL, n, p);
    struct wire_response *r;
    bool ok;

    if (!m)
        return NULL;
    r = mem_new(struct wire_response);
    ok = variant == XDS_DELTA ? take_delta(r, (DeltaResponse *)m) : take_sotw(r, (SotwResponse *)m);
    protobuf_c_message_free_unpacked(m, NULL);
    if (ok)
        r->type = find_type(r->type_url);
    if (!ok || r->type == XDS_TYPES) {
        wire_response_free(r);
        return NULL;
    }
    return r;
}

void wire_response_free(struct wire_response *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_resources; i++) {
        mem_free(r->resources[i].name);
        mem_free(r->resources[i].bytes);
    }
    for (size_t i = 0; i < r->n_removed; i++)
        mem_free(r->removed[i]);
    mem_free(r->resources);
    mem_free(r->removed);
    mem_free(r->version);
    mem_free(r->type_url);
    mem_free(r->nonce);
    mem_free(r);
}

const struct wire_resource *wire_find(const struct wire_response *r, const char *name)
{
    for (size_t i = 0; i < r->n_resources; i++)
        if (strcmp(r->resources[i].name, name) == 0)
            return &r->resources[i];
    return NULL;
}

bool wire_is_removed(const struct wire_response *r, const char *name)
{
    for (size_t i = 0; i < r->n_removed; i++)
        if (strcmp(r->removed[i], name) == 0)
            return true;
    return false;
}

/* ---- sessions ---- */

void wire_session_send(struct xds_session *s, enum xds_variant variant, const struct wire_request *r, clock_ns now)
{
    struct err e = {0};
    size_t n;
    uint8_t *bytes = wire_pack(variant, r, &n);

    if (xds_session_request(s, bytes, n, now, &e) < 0)
        test_fail(__FILE__, __LINE__, "the request is refused: %s", e.text);
    mem_free(bytes);
}

uint8_t *wire_message(const struct xds_message *m, size_t *ret_len)
{
    struct buf b;

    buf_init(&b, 0);
    buf_append(&b, m->head.data, m->head.len);
    for (size_t i = 0; i < m->n_parts; i++)
        buf_append(&b, m->parts[i].p, m->parts[i].n);
    return (uint8_t *)buf_take(&b, ret_len);
}

struct wire_response *wire_session_next(struct xds_session *s, enum xds_variant variant, clock_ns now)
{
    struct xds_message m = {0};
    struct wire_response *r = NULL;
    struct err e = {0};
    int code = xds_session_next(s, now, &m, &e);

    if (code < 0)
        test_fail(__FILE__, __LINE__, "the stream is ended: %s", e.text);
    if (code > 0) {
        size_t n;
        uint8_t *bytes = wire_message(&m, &n);

        CHECK_INT(n, m.len);
        r = wire_unpack(variant, bytes, n);
        CHECK(r != NULL);
        mem_free(bytes);
    }
    xds_message_clear(&m);
    return r;
}

/* ---- resources ---- */

static void put_field(struct buf *b, unsigned number, const char *s)
{
    size_t n = strlen(s);

    for (uint64_t tag = number << 3 | 2;; tag >>= 7) {
        buf_append_byte(b, (uint8_t)(tag < 0x80 ? tag : (tag | 0x80)));
        if (tag < 0x80)
            break;
    }
    for (uint64_t left = n;; left >>= 7) {
        buf_append_byte(b, (uint8_t)(left < 0x80 ? left : (left | 0x80)));
        if (left < 0x80)
            break;
    }
    buf_append(b, s, n);
}

struct resource *wire_resource_new(enum xds_type type, const char *name, const char *content,
                                   const char *const *clusters, const char *const *routes, const char *const *secrets)
{
    struct buf message = {0};
    struct resource *r;

    put_field(&message, 1, name);
    put_field(&message, 1000, content);
    r = resource_new(type, name, name, message.data, message.len, clusters, list_len(clusters), routes,
                     list_len(routes), secrets, list_len(secrets));
    r->uses_eds = type == XDS_CLUSTER;
    r->sensitive = type == XDS_SECRET;
    buf_clear(&message);
    return r;
}

/* ---- batches ---- */

struct wire_batch {
    struct xds_batch *batch;
    size_t gateways_cap, changes_cap;
    const char **gateways;
    struct xds_change *changes;
};

struct wire_batch *wire_batch_new(void)
{
    struct wire_batch *b = mem_new(struct wire_batch);
    struct arena *arena = arena_new();

    b->batch = arena_new_of(arena, struct xds_batch);
    b->batch->arena = arena;
    return b;
}

void wire_batch_gateway(struct wire_batch *b, const char *gateway)
{
    b->gateways = mem_realloc(b->gateways, b->batch->n_gateways + 1, sizeof(char *));
    b->gateways[b->batch->n_gateways++] = arena_strdup(b->batch->arena, gateway);
}

void wire_batch_change(struct wire_batch *b, const char *gateway, enum xds_type type, const char *name,
                       struct resource *r)
{
    if (b->batch->n_changes == b->changes_cap) {
        b->changes_cap = b->changes_cap ? b->changes_cap * 2 : 16;
        b->changes = mem_realloc(b->changes, b->changes_cap, sizeof(struct xds_change));
    }
    b->changes[b->batch->n_changes++] = (struct xds_change){.gateway = arena_strdup(b->batch->arena, gateway),
                                                            .name = arena_strdup(b->batch->arena, name),
                                                            .type = type,
                                                            .after = r};
}

void wire_batch_put(struct wire_batch *b, const char *gateway, enum xds_type type, const char *name,
                    const char *content)
{
    wire_batch_change(b, gateway, type, name,
                      content ? wire_resource_new(type, name, content, NULL, NULL, NULL) : NULL);
}

void wire_batch_put_static(struct wire_batch *b, const char *gateway, const char *name, const char *content)
{
    struct resource *r = wire_resource_new(XDS_CLUSTER, name, content, NULL, NULL, NULL);

    r->uses_eds = false;
    wire_batch_change(b, gateway, XDS_CLUSTER, name, r);
}

static int compare_changes(const void *a, const void *b)
{
    const struct xds_change *x = a, *y = b;
    int order = strcmp(x->gateway, y->gateway);

    if (order == 0)
        order = (int)x->type - (int)y->type;
    return order ? order : strcmp(x->name, y->name);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct xds_batch *wire_batch_finish(struct wire_batch *b, uint64_t revision, bool complete)
{
    struct xds_batch *batch = b->batch;

    batch->revision = revision;
    batch->complete = complete;
    if (batch->n_changes)
        qsort(b->changes, batch->n_changes, sizeof(struct xds_change), compare_changes);
    if (batch->n_gateways)
        qsort(b->gateways, batch->n_gateways, sizeof(char *), compare_texts);
    batch->changes = arena_dup(batch->arena, b->changes, batch->n_changes * sizeof(struct xds_change));
    batch->gateways = arena_dup(batch->arena, b->gateways, batch->n_gateways * sizeof(char *));
    mem_free(b->changes);
    mem_free(b->gateways);
    mem_free(b);
    return batch;
}

void wire_batch_apply(struct wire_batch *b, struct xds_directory *d, uint64_t revision, bool complete)
{
    struct xds_batch *batch = wire_batch_finish(b, revision, complete);

    xds_directory_apply(d, batch);
    xds_batch_free(batch);
}
