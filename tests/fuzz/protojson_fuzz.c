/*
 * The readers of messages, fed with anything. The first byte chooses a type and what the rest is:
 *
 * - wire bytes: checked against the rules and shown as JSON; what can be shown can be read again, and then looks the
 *   same;
 * - JSON: what becomes a message is well-formed to the rules, can be shown, and becomes the same bytes again.
 */
#include "base/json.h"
#include "proto/protojson.h"
#include "proto/validate.h"
#include "proto/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const types[] = {
    "google.protobuf.Any",
    "google.protobuf.Struct",
    "google.protobuf.Value",
    "google.protobuf.Timestamp",
    "google.protobuf.FieldMask",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    "envoy.service.discovery.v3.DeltaDiscoveryResponse",
    "envoy.config.metrics.v3.HistogramBucketSettings",
    "cel.expr.SourceInfo",
    "xds.data.orca.v3.OrcaLoadReport",
};

enum { JSON_BIT = 0x80 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The JSON of the wire bytes, or NULL. */
static json_t *shown(const struct buf *wire, const struct schema_message *type)
{
    json_t *json;
    struct err e = {0};

    if (protojson_from_wire(wire->data, wire->len, type, 0, &json, &e) == 0)
        return json;
    assert(e.code == -EBADMSG && e.text[0]);
    return NULL;
}

/* json_equal() ends a key at a NUL. */
static bool look_the_same(const json_t *a, const json_t *b)
{
    char *x = json_dumps(a, JSON_SORT_KEYS | JSON_ENCODE_ANY), *y = json_dumps(b, JSON_SORT_KEYS | JSON_ENCODE_ANY);
    bool same = x && y && strcmp(x, y) == 0;

    free(x); /* lint: call because it is jansson's memory */
    free(y); /* lint: call because it is jansson's memory */
    return same;
}

static void try_wire(const struct buf *wire, const struct schema_message *type)
{
    _cleanup_(buf_clear) struct buf again = {0};
    struct err e = {0};
    json_t *json, *redacted, *second;
    int r = validate_wire(wire->data, wire->len, type, &e);

    assert(r == 0 || ((r == -EINVAL || r == -EBADMSG) && e.code == r && e.text[0]));
    json = shown(wire, type);
    if (!json)
        return;
    assert(r != -EBADMSG);
    assert(protojson_from_wire(wire->data, wire->len, type, PROTOJSON_REDACT, &redacted, NULL) == 0);
    json_decref(redacted);
    /* An Any of an unknown type is the one thing that can be shown and not read. */
    if (protojson_to_wire(json, type, &again, &e) == 0) {
        second = shown(&again, type);
        assert(second && look_the_same(json, second));
        json_decref(second);
    }
    json_decref(json);
}

static void try_json(const char *text, size_t n, const struct schema_message *type)
{
    _cleanup_(buf_clear) struct buf wire = {0}, again = {0};
    struct err e = {0};
    json_t *json, *back;
    int r;

    if (json_parse(text, n, &json, NULL) < 0)
        return;
    r = protojson_to_wire(json, type, &wire, &e);
    json_decref(json);
    if (r < 0) {
        assert(e.text[0] && wire.len == 0);
        return;
    }
    assert(validate_wire(wire.data, wire.len, type, NULL) != -EBADMSG);
    back = shown(&wire, type);
    assert(back);
    r = protojson_to_wire(back, type, &again, &e);
    json_decref(back);
    assert(r == 0 && again.len == wire.len && (wire.len == 0 || memcmp(wire.data, again.data, wire.len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct schema_message *type;

    if (size == 0)
        return 0;
    type = schema_find(types[(data[0] & ~JSON_BIT) % ARRAY_LEN(types)]);
    if (data[0] & JSON_BIT) {
        try_json((const char *)data + 1, size - 1, type);
    } else {
        _cleanup_(buf_clear) struct buf wire = {0};
        buf_append(&wire, data + 1, size - 1);
        try_wire(&wire, type);
    }
    return 0;
}
