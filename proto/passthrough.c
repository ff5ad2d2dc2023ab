/*
 * Passed-through JSON: parsed, converted by the schema, and searched for what it may not reach.
 *
 * The search walks the JSON beside the schema, after the conversion has found it well-formed: every member is then a
 * field of its message, in one of the two spellings, and every Any has a type that the schema knows. What is refused
 * is told by message type (wherever such a message stands), by field, and by the commands of Envoy's format strings
 * that read files or the environment, in whatever text they stand. A TypedStruct would bring any message past the
 * schema, and is refused too.
 */
#include "proto/passthrough.h"

#include "base/buf.h"
#include "base/json.h"
#include "proto/envoy.h"
#include "proto/protojson.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PATH_MAX_BYTES = ERR_FIELD_MAX };

static const char words_file[] = "names a file of Envoy's host";
static const char words_source[] = "names another source of configuration or secrets";
static const char words_log[] = "writes a log or a record of the traffic";
static const char words_code[] = "runs code in Envoy";
static const char words_credentials[] = "uses credentials of Envoy's host";
static const char words_environment[] = "reads Envoy's environment";

/* A name stands for what is nested in it too; one that ends in '.' for all that begins with it. */
static const struct {
    const char *name, *words;
} refused_messages[] = {
    {"envoy.config.accesslog.v3.", words_log},
    {"envoy.config.core.v3.ApiConfigSource", words_source},
    {"envoy.config.core.v3.ConfigSource", words_source},
    {"envoy.config.core.v3.ExtensionConfigSource", words_source},
    {"envoy.config.core.v3.GrpcService.GoogleGrpc", "opens connections past the gateway's clusters"},
    {"envoy.config.core.v3.PathConfigSource", words_source},
    {"envoy.config.core.v3.Pipe", "names a socket of Envoy's host"},
    {"envoy.config.core.v3.WatchedDirectory", words_file},
    {"envoy.config.grpc_credential.v3.", words_credentials},
    {"envoy.config.tap.v3.", words_log},
    {"envoy.config.trace.v3.DynamicOtConfig", words_code},
    {"envoy.extensions.access_loggers.", words_log},
    {"envoy.extensions.common.aws.v3.", words_credentials},
    {"envoy.extensions.common.tap.v3.", words_log},
    {"envoy.extensions.dynamic_modules.", words_code},
    {"envoy.extensions.filters.http.aws_lambda.v3.", words_credentials},
    {"envoy.extensions.filters.http.aws_request_signing.v3.", words_credentials},
    {"envoy.extensions.filters.http.dynamic_modules.", words_code},
    {"envoy.extensions.filters.http.file_system_buffer.v3.", words_file},
    {"envoy.extensions.filters.http.lua.v3.", words_code},
    {"envoy.extensions.filters.http.tap.v3.", words_log},
    {"envoy.extensions.filters.http.wasm.v3.", words_code},
    {"envoy.extensions.filters.network.wasm.v3.", words_code},
    {"envoy.extensions.geoip_providers.maxmind.v3.", words_file},
    {"envoy.extensions.grpc_service.call_credentials.", words_credentials},
    {"envoy.extensions.grpc_service.channel_credentials.", words_credentials},
    {"envoy.extensions.health_check.event_sinks.", words_log},
    {"envoy.extensions.http.cache.file_system_http_cache.v3.", words_file},
    {"envoy.extensions.http.cache_v2.file_system_http_cache.v3.", words_file},
    {"envoy.extensions.key_value.file_based.v3.", words_file},
    {"envoy.extensions.router.cluster_specifiers.lua.v3.", words_code},
    {"envoy.extensions.string_matcher.lua.v3.", words_code},
    {"envoy.extensions.transport_sockets.tap.v3.", words_log},
    {"envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", words_source},
    {"envoy.extensions.transport_sockets.tls.v3.TlsKeyLog", words_log},
    {"envoy.extensions.wasm.v3.", words_code},
    {"udpa.type.v1.TypedStruct", "can't be checked: give the message itself as the Any"},
    {"xds.type.v3.TypedStruct", "can't be checked: give the message itself as the Any"},
};

static const struct {
    const char *message, *field, *words;
} refused_fields[] = {
    {"envoy.config.core.v3.DataSource", "environment_variable", words_environment},
    {"envoy.config.core.v3.DataSource", "filename", words_file},
    {"envoy.config.core.v3.HealthCheck", "event_log_path", words_file},
    {"envoy.config.core.v3.HealthCheck", "event_service", words_log},
    {"envoy.config.core.v3.SocketAddress", "network_namespace_filepath", words_file},
    {"envoy.config.trace.v3.LightstepConfig", "access_token_file", words_file},
    {"envoy.extensions.filters.http.grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder", "descriptor_path",
     words_file},
    {"envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder", "proto_descriptor", words_file},
};

static const struct {
    const char *command, *words;
} refused_commands[] = {
    {"%ENVIRONMENT(", words_environment},
    {"%FILE_CONTENT(", words_file},
};

const char *passthrough_refused_message(const char *full_name)
{
    for (size_t i = 0; i < ARRAY_LEN(refused_messages); i++) {
        const char *name = refused_messages[i].name;
        size_t n = strlen(name);

        if (!strncmp(full_name, name, n) && (name[n - 1] == '.' || !full_name[n] || full_name[n] == '.'))
            return refused_messages[i].words;
    }
    return NULL;
}

const char *passthrough_refused_field(const char *message, const char *field)
{
    for (size_t i = 0; i < ARRAY_LEN(refused_fields); i++)
        if (!strcmp(message, refused_fields[i].message) && !strcmp(field, refused_fields[i].field))
            return refused_fields[i].words;
    return NULL;
}

/* ---- the search ---- */

/* Where the search stands, for errors; a path that is too long is cut. */
struct path {
    char text[PATH_MAX_BYTES];
    size_t len;
};

static void path_add(struct path *p, const char *separator, const char *name, const char *end)
{
    int n = snprintf(p->text + p->len, sizeof(p->text) - p->len, "%s%s%s", separator, name, end);

    if (n > 0)
        p->len += (size_t)n < sizeof(p->text) - p->len ? (size_t)n : sizeof(p->text) - p->len - 1;
}

static int refuse(const struct path *p, const char *words, struct err *e)
{
    return err_set(e, -EPERM, NULL, p->text, "%s, which the gateway does not allow", words);
}

static int search_message(const json_t *json, const struct schema_message *m, struct path *p, struct err *e);

static int search_text(const json_t *json, const struct path *p, struct err *e)
{
    const char *text = json_string_value(json);

    for (size_t i = 0; text && i < ARRAY_LEN(refused_commands); i++)
        if (strstr(text, refused_commands[i].command))
            return refuse(p, refused_commands[i].words, e);
    return 0;
}

/* A value whose form no message type describes: a Struct, or what one holds. */
static int search_untyped(const json_t *json, struct path *p, struct err *e)
{
    size_t here = p->len, i;
    const char *key;
    json_t *value;
    int r = 0;

    if (json_is_string(json))
        return search_text(json, p, e);
    if (json_is_object(json)) {
        json_object_foreach((json_t *)(uintptr_t)json, key, value)
        {
            path_add(p, here ? "." : "", key, "");
            r = search_untyped(value, p, e);
            p->text[p->len = here] = '\0';
            if (r < 0)
                return r;
        }
    }
    json_array_foreach(json, i, value)
    {
        r = search_untyped(value, p, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* An Any: its own members are those of the message that its "@type" names, or one "value". */
static int search_any(const json_t *json, struct path *p, struct err *e)
{
    const char *url = json_string_value(json_object_get(json, "@type"));
    const struct schema_message *m = url ? schema_find_url(url, strlen(url)) : NULL;
    const char *words = m ? passthrough_refused_message(schema_name(m)) : NULL;

    if (words)
        return refuse(p, words, e);
    if (m && m->kind == SCHEMA_KIND_ANY)
        return search_any(json_object_get(json, "value"), p, e);
    return m && m->kind == SCHEMA_KIND_PLAIN ? search_message(json, m, p, e) : search_untyped(json, p, e);
}

static int search_value(const json_t *json, const struct schema_field *f, struct path *p, struct err *e)
{
    const struct schema_message *m;
    const char *words;

    if (json_is_null(json))
        return 0;
    if (f->type != SCHEMA_TYPE_MESSAGE)
        return search_text(json, p, e);
    m = schema_field_message(f);
    words = passthrough_refused_message(schema_name(m));
    if (words)
        return refuse(p, words, e);
    if (m->kind == SCHEMA_KIND_ANY)
        return search_any(json, p, e);
    return m->kind == SCHEMA_KIND_PLAIN ? search_message(json, m, p, e) : search_untyped(json, p, e);
}

static int search_map(const json_t *json, const struct schema_field *value_field, struct path *p, struct err *e)
{
    size_t here = p->len;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        path_add(p, "[\"", key, "\"]");
        int r = search_value(value, value_field, p, e);
        p->text[p->len = here] = '\0';
        if (r < 0)
            return r;
    }
    return 0;
}

static int search_list(const json_t *json, const struct schema_field *f, struct path *p, struct err *e)
{
    size_t here = p->len, i;
    json_t *value;

    json_array_foreach(json, i, value)
    {
        char index[24];

        (void)snprintf(index, sizeof(index), "%zu", i);
        path_add(p, "[", index, "]");
        int r = search_value(value, f, p, e);
        p->text[p->len = here] = '\0';
        if (r < 0)
            return r;
    }
    return 0;
}

static int search_field(const json_t *json, const struct schema_message *m, const struct schema_field *f,
                        struct path *p, struct err *e)
{
    const char *words = passthrough_refused_field(schema_name(m), schema_text(f->name));

    if (words && !json_is_null(json))
        return refuse(p, words, e);
    if (f->flags & SCHEMA_FIELD_MAP)
        return search_map(json, schema_field_by_number(schema_field_message(f), 2), p, e);
    if (f->flags & SCHEMA_FIELD_REPEATED)
        return search_list(json, f, p, e);
    return search_value(json, f, p, e);
}

static int search_message(const json_t *json, const struct schema_message *m, struct path *p, struct err *e)
{
    size_t here = p->len;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const struct schema_field *f = schema_field_by_name(m, key);

        if (!f) /* "@type" */
            continue;
        path_add(p, here ? "." : "", key, "");
        int r = search_field(value, m, f, p, e);
        p->text[p->len = here] = '\0';
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- reading ---- */

/* Users copy from whole configurations: the type's own "@type" at the root says nothing new. */
static int take_root_type(json_t *json, const struct schema_message *type, struct err *e)
{
    const json_t *at = json_object_get(json, "@type");
    const char *url = json_string_value(at);

    if (!at)
        return 0;
    if (!url || schema_find_url(url, strlen(url)) != type)
        return err_set(e, -EINVAL, NULL, "@type", "must be type.googleapis.com/%s, or left out", schema_name(type));
    return json_object_del(json, "@type") < 0 ? err_set(e, -EINVAL, NULL, "@type", "can't be read") : 0;
}

static int convert(struct arena *a, const struct passthrough *p, const ProtobufCMessageDescriptor *type,
                   void **ret_message, struct err *e)
{
    struct buf wire;
    int r;

    buf_init(&wire, PROTOJSON_SIZE_MAX);
    r = protojson_to_wire(p->json, p->type, &wire, e);
    if (r == 0) {
        /* The message refers to nothing in the buffer: protobuf-c copies texts and bytes. */
        *ret_message = pb_unpack(a, type, wire.data, wire.len);
        if (!*ret_message)
            r = err_set(e, -EINVAL, NULL, NULL, "is not a message of type %s", type->name);
    }
    buf_clear(&wire);
    return r;
}

/* The JSON of a message of that type. */
static int parse(const char *text, const struct schema_message *type, json_t **ret, struct err *e)
{
    json_t *json;
    int r = json_parse(text, strlen(text), &json, e);

    if (r < 0)
        return r;
    r = json_is_object(json) ? take_root_type(json, type, e)
                             : err_set(e, -EINVAL, NULL, NULL, "must be a JSON object");
    if (r < 0)
        json_decref(json);
    else
        *ret = json;
    return r;
}

/* A field makes way under both of its names, and with it the other members of its oneof. */
static void drop_field(json_t *json, const struct schema_message *m, const struct schema_field *f)
{
    for (size_t i = 0; i < m->n_fields; i++) {
        const struct schema_field *one = &schema_fields[m->first_field + i];

        if (one != f && (f->oneof == SCHEMA_NO_ONEOF || one->oneof != f->oneof))
            continue;
        (void)json_object_del(json, schema_text(one->name)); /* it may not be there */
        (void)json_object_del(json, schema_text(one->json_name));
    }
}

/* own, which was found good, or is not there, over the gateway's. */
static int lay_over(json_t *json, const json_t *own, const struct schema_message *type)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)own, key, value) drop_field(json, type, schema_field_by_name(type, key));
    return own ? json_object_update(json, (json_t *)(uintptr_t)own) : 0;
}

/* What the text says, by itself. */
static int read_own(struct arena *a, const char *text, const struct gateway *gateway,
                    const ProtobufCMessageDescriptor *type, struct passthrough *p, void **ret_message, struct err *e)
{
    struct path path = {.len = 0};
    int r = parse(text, p->type, &p->own, e);

    if (r < 0)
        return r;
    p->json = json_incref(p->own);
    r = convert(a, p, type, ret_message, e);
    return r == 0 && !gateway->allow_files ? search_message(p->own, p->type, &path, e) : r;
}

/* The gateway's, under what the text says. */
static int put_under(struct arena *a, const char *base, const ProtobufCMessageDescriptor *type, struct passthrough *p,
                     void **ret_message, struct err *e)
{
    json_t *json;
    int r = parse(base, p->type, &json, e);

    if (r < 0)
        return r;
    if (lay_over(json, p->own, p->type) < 0)
        r = err_set(e, -EINVAL, NULL, NULL, "can't be laid over what the gateway has");
    json_decref(p->json);
    p->json = json;
    return r < 0 ? r : convert(a, p, type, ret_message, e);
}

int passthrough_read(struct arena *a, const char *text, const struct gateway *gateway, enum gateway_base base,
                     const ProtobufCMessageDescriptor *type, struct passthrough *ret, void *ret_message,
                     struct err *e)
{
    struct passthrough p = {.type = schema_find(type->name)};
    void *message = NULL;
    int r = 0;

    if (text)
        r = read_own(a, text, gateway, type, &p, &message, e);
    if (r == 0 && gateway->bases[base])
        r = put_under(a, gateway->bases[base], type, &p, &message, e);
    if (r < 0) {
        passthrough_clear(&p);
        return r;
    }
    if (!message) {
        message = arena_alloc(a, type->sizeof_message);
        protobuf_c_message_init(type, message);
    }
    *ret = p;
    *(void **)ret_message = message;
    return 0;
}

void passthrough_clear(struct passthrough *p)
{
    json_decref(p->json);
    json_decref(p->own);
    p->json = p->own = NULL;
}

static bool has(const struct passthrough *p, const json_t *json, const char *name)
{
    const struct schema_field *f;
    const json_t *value;

    if (!json)
        return false;
    f = schema_field_by_name(p->type, name);
    value = json_object_get(json, schema_text(f->name));
    if (!value)
        value = json_object_get(json, schema_text(f->json_name));
    return value && !json_is_null(value);
}

bool passthrough_has(const struct passthrough *p, const char *field)
{
    return has(p, p->json, field);
}

bool passthrough_owns(const struct passthrough *p, const char *field)
{
    return has(p, p->own, field);
}
