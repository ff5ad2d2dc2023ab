/*
 * What is shown of texts that may hold secrets. Passed-through JSON is Envoy's own configuration, which knows many
 * places for them: whatever is named like one is left out, rather too much than too little.
 */
#include "api/objects.h"

#include "base/json.h"

#include <string.h>

static const char redacted[] = "[redacted]";

static bool name_is_sensitive(const char *name)
{
    static const char *const parts[] = {"inline_string", "inline_bytes", "inlineString", "inlineBytes", "password",
                                        "secret",        "token",        "private_key",  "privateKey",  "credential",
                                        "authorization", "cookie",       "api_key",      "api-key",     "apikey"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (text_holds(name, parts[i]))
            return true;
    return false;
}

/* {"key": "authorization", "value": "..."}: the name stands beside the value. */
static void redact_named_value(json_t *object)
{
    static const char *const names[] = {"key", "name", "header_name", "headerName"};
    static const char *const values[] = {"value", "raw_value", "rawValue", "string_value", "stringValue"};
    bool sensitive = false;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *name = json_string_value(json_object_get(object, names[i]));
        sensitive = sensitive || (name && name_is_sensitive(name));
    }
    for (size_t i = 0; sensitive && i < ARRAY_LEN(values); i++)
        if (json_object_get(object, values[i]))
            json_object_set_new(object, values[i], json_string(redacted));
}

/* NOLINTNEXTLINE(misc-no-recursion): json_parse() bounds the depth */
static void redact(json_t *json)
{
    const char *key;
    json_t *value;
    size_t i;
    void *next;

    if (json_is_array(json))
        json_array_foreach(json, i, value) redact(value);
    if (!json_is_object(json))
        return;
    redact_named_value(json);
    json_object_foreach_safe(json, next, key, value)
    {
        /* Names of SDS secrets and references are no secrets: objects are looked into, texts are left out. */
        if (name_is_sensitive(key) && !json_is_object(value) && !json_is_array(value))
            json_object_set_new(json, key, json_string(redacted));
        else
            redact(value);
    }
}

void exposure_redact(json_t *nested)
{
    static const char *const passed_through[] = {"cluster_data", "filter_config_data"};
    static const char *const certificates[] = {"listener_certificates", "cluster_certificates"};
    static const char key[] = "private_key_inline_string";
    json_t *one;
    size_t k;

    for (size_t i = 0; i < ARRAY_LEN(passed_through); i++)
        redact(json_object_get(nested, passed_through[i]));
    for (size_t i = 0; i < ARRAY_LEN(certificates); i++)
        json_array_foreach(json_object_get(nested, certificates[i]), k, one)
        {
            if (json_object_get(one, key))
                json_object_set_new(one, key, json_string(redacted));
        }
}

void gateway_redact(json_t *settings)
{
    for (size_t i = 0; i < GATEWAY_BASES; i++)
        redact(json_object_get(settings, gateway_base_name(i)));
}

char *json_redacted(const char *json)
{
    json_t *tree;

    if (json_parse(json, strlen(json), &tree, NULL))
        return mem_printf("\"%s\"", redacted); /* nothing of what can't be understood is shown */
    redact(tree);
    char *text = json_canonical(tree);
    json_decref(tree);
    return text;
}

void write_passthrough(struct writer *w, const char *key, const char *json, bool reveal)
{
    if (!json)
        return;
    _cleanup_(mem_free_p) char *text = reveal ? mem_strdup(json) : json_redacted(json);
    writer_raw(w, key, text, strlen(text));
}

const char *pem_certificates(const char *pem, struct arena *arena)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n";
    struct buf b;

    buf_init(&b, 0);
    for (const char *at = pem; (at = strstr(at, begin));) {
        size_t content = strspn(at + sizeof(begin) - 1, base64);
        const char *stop = at + sizeof(begin) - 1 + content;
        if (strncmp(stop, end, sizeof(end) - 1) == 0) {
            (void)buf_append(&b, at, (size_t)(stop - at) + sizeof(end) - 1); /* less than what it is taken from */
            (void)buf_append_byte(&b, '\n');
        }
        at = stop;
    }
    const char *text = arena_strdup(arena, buf_cstr(&b));
    buf_clear(&b);
    return text;
}
