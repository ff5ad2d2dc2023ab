/*
 * From wire bytes to protobuf's JSON form, along the schema. The bytes may be anybody's: recursion ends at
 * WIRE_DEPTH_MAX, counted through Any too.
 *
 * A function that makes a value returns a new reference, or NULL with the fault described: an empty path, to which
 * each level on the way back adds its name, and its code in dec.
 */
#include "proto/protojson.h"

#include "base/wellknown.h"
#include "proto/fields.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOAT_DIGITS_MIN = 6, FLOAT_DIGITS_MAX = 9, NUMBER_MAX = 40 };

static const char redacted[] = "[redacted]";

struct decoder {
    unsigned flags;
    struct err *e;
    int code;
    unsigned depth;
};

/* A message being read: the lists and maps among its fields are filled as their elements come. */
struct object {
    struct decoder *dec;
    json_t *values[SCHEMA_FIELDS_MAX];
    const struct schema_message *m;
};

static json_t *decode_message(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n);

static json_t *fault(struct decoder *dec, const char *words)
{
    dec->code = err_set(dec->e, -EBADMSG, NULL, "", "%s", words);
    return NULL;
}

static bool is_redacted(const struct decoder *dec, const struct schema_field *f)
{
    return (dec->flags & PROTOJSON_REDACT) && (f->flags & SCHEMA_FIELD_SENSITIVE);
}

static const char *name_of(const struct decoder *dec, const struct schema_field *f)
{
    return schema_text(dec->flags & PROTOJSON_JSON_NAMES ? f->json_name : f->name);
}

static json_t *text_of(struct buf *b)
{
    return json_stringn_nocheck(b->len ? (const char *)b->data : "", b->len);
}

/* ---- scalars --------------------------------------------------------------------------------------------------- */

/* The shortest decimal number that is this float again: 0.1 and not 0.10000000149011612. */
static double shortest_float(double d)
{
    char text[NUMBER_MAX];

    for (int digits = FLOAT_DIGITS_MIN; digits < FLOAT_DIGITS_MAX; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtof(text, NULL) == (float)d)
            return strtod(text, NULL);
    }
    snprintf(text, sizeof(text), "%.*g", FLOAT_DIGITS_MAX, d);
    return strtod(text, NULL);
}

static json_t *decode_double(enum schema_type type, double d)
{
    if (isnan(d))
        return json_string("NaN");
    if (isinf(d))
        return json_string(d > 0 ? "Infinity" : "-Infinity");
    return json_real(type == SCHEMA_TYPE_FLOAT ? shortest_float(d) : d);
}

static json_t *decode_enum(const struct schema_enum *en, int32_t number)
{
    const struct schema_enum_value *value = schema_enum_by_number(en, number);

    if (strcmp(schema_text(en->name), "google.protobuf.NullValue") == 0)
        return json_null();
    return value ? json_string(schema_text(value->name)) : json_integer(number);
}

static json_t *decode_text(struct decoder *dec, const struct schema_field *f, const struct field_value *v)
{
    _cleanup_(buf_clear) struct buf b = {0};

    if (f->type == SCHEMA_TYPE_BYTES) {
        wellknown_print_base64(&b, v->data, v->len);
        return text_of(&b);
    }
    if (!field_is_utf8(v->data, v->len))
        return fault(dec, "is not UTF-8");
    return json_stringn_nocheck(v->len ? (const char *)v->data : "", v->len);
}

static json_t *decode_value(struct decoder *dec, const struct schema_field *f, const struct field_value *v)
{
    char text[NUMBER_MAX];

    switch (f->type) {
    case SCHEMA_TYPE_MESSAGE:
        return decode_message(dec, schema_field_message(f), v->data, v->len);
    case SCHEMA_TYPE_STRING:
    case SCHEMA_TYPE_BYTES:
        return decode_text(dec, f, v);
    case SCHEMA_TYPE_DOUBLE:
    case SCHEMA_TYPE_FLOAT:
        return decode_double(f->type, wire_double(v->number));
    case SCHEMA_TYPE_BOOL:
        return json_boolean(v->number != 0);
    case SCHEMA_TYPE_ENUM:
        return decode_enum(schema_field_enum(f), (int32_t)v->number);
    case SCHEMA_TYPE_INT64:
    case SCHEMA_TYPE_SINT64:
    case SCHEMA_TYPE_SFIXED64:
        snprintf(text, sizeof(text), "%" PRId64, (int64_t)v->number);
        return json_string(text);
    case SCHEMA_TYPE_UINT64:
    case SCHEMA_TYPE_FIXED64:
        snprintf(text, sizeof(text), "%" PRIu64, v->number);
        return json_string(text);
    default:
        return json_integer((json_int_t)v->number);
    }
}

/* ---- lists and maps -------------------------------------------------------------------------------------------- */

static void key_text(const struct schema_field *key, const struct field_value *v, struct buf *b)
{
    if (key->type == SCHEMA_TYPE_STRING)
        buf_append(b, v->data, v->len);
    else if (key->type == SCHEMA_TYPE_BOOL)
        buf_append_str(b, v->number ? "true" : "false");
    else if (key->type == SCHEMA_TYPE_UINT64 || key->type == SCHEMA_TYPE_FIXED64)
        buf_printf(b, "%" PRIu64, v->number);
    else
        buf_printf(b, "%" PRId64, (int64_t)v->number);
}

static void prefix_bracket(struct decoder *dec, const char *content, bool quoted)
{
    _cleanup_(buf_clear) struct buf b = {0};

    buf_append_byte(&b, '[');
    if (quoted)
        buf_json_string(&b, content, strlen(content));
    else
        buf_append_str(&b, content);
    buf_append_byte(&b, ']');
    err_prefix_field(dec->e, buf_cstr(&b));
}

static int decode_entry(struct decoder *dec, const struct schema_field *f, const struct field_value *v,
                        json_t *object)
{
    const struct schema_message *entry = schema_field_message(f);
    const struct schema_field *key = schema_field_at(entry, 0), *value = schema_field_at(entry, 1);
    _cleanup_(buf_clear) struct buf name = {0};
    struct field_value parts[2];
    json_t *json;

    if (fields_read_pair(entry, v->data, v->len, parts) < 0 ||
        (key->type == SCHEMA_TYPE_STRING && !field_is_utf8(parts[0].data, parts[0].len))) {
        fault(dec, "has an entry that is not well-formed");
        return dec->code;
    }
    key_text(key, &parts[0], &name);
    dec->depth++; /* the entry is a message of its own */
    json = decode_value(dec, value, &parts[1]);
    dec->depth--;
    if (!json) {
        prefix_bracket(dec, buf_cstr(&name), true);
        return dec->code;
    }
    json_object_setn_new_nocheck(object, buf_cstr(&name), name.len, json);
    return 0;
}

static int decode_element(void *arg, const struct schema_field *f, size_t index, const struct field_value *v)
{
    struct object *object = arg;
    struct decoder *dec = object->dec;
    json_t **list = &object->values[schema_field_index(object->m, f)];
    bool map = f->flags & SCHEMA_FIELD_MAP;
    char text[NUMBER_MAX];
    json_t *json;
    int r = 0;

    if (is_redacted(dec, f))
        return 0;
    if (!*list)
        *list = map ? json_object() : json_array();
    if (map) {
        r = decode_entry(dec, f, v, *list);
    } else {
        json = decode_value(dec, f, v);
        if (json) {
            json_array_append_new(*list, json);
        } else {
            r = dec->code;
            snprintf(text, sizeof(text), "%zu", index);
            prefix_bracket(dec, text, false);
        }
    }
    if (r < 0)
        err_prefix_field(dec->e, schema_text(f->name));
    return r;
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

static int decode_singular(struct decoder *dec, const struct fields *fields, const struct schema_field *f,
                           json_t **ret)
{
    const struct field_value *v = &fields->values[schema_field_index(fields->m, f)];
    _cleanup_(buf_clear) struct buf scratch = {0};
    struct field_value whole;

    if (v->count == 0 || (!(f->flags & SCHEMA_FIELD_PRESENCE) && v->number == 0 && v->len == 0))
        return 0;
    if (is_redacted(dec, f)) {
        *ret = json_string(redacted);
        return 0;
    }
    whole = f->type == SCHEMA_TYPE_MESSAGE ? fields_message(fields, f, &scratch) : *v;
    *ret = decode_value(dec, f, &whole);
    if (*ret)
        return 0;
    err_prefix_field(dec->e, schema_text(f->name));
    return dec->code;
}

/* Reads the fields of a message and puts those that are there into json, in the order of their numbers. */
static int decode_members(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n,
                          json_t *json)
{
    struct object object = {.dec = dec, .m = m};
    struct fields fields;
    int r;

    r = fields_read(&fields, m, p, n, decode_element, &object, dec->e);
    for (unsigned i = 0; i < m->n_fields; i++) {
        const struct schema_field *f = schema_field_at(m, i);
        json_t **value = &object.values[i];
        if (r == 0 && !(f->flags & SCHEMA_FIELD_REPEATED))
            r = decode_singular(dec, &fields, f, value);
        else if (r == 0 && fields.values[i].count > 0 && is_redacted(dec, f))
            *value = json_string(redacted);
        if (r == 0 && *value)
            json_object_set_new_nocheck(json, name_of(dec, f), *value);
        else
            json_decref(*value);
    }
    dec->code = r;
    return r;
}

static json_t *decode_plain(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    json_t *json = json_object();

    if (decode_members(dec, m, p, n, json) == 0)
        return json;
    json_decref(json);
    return NULL;
}

/* The only field of a Struct or ListValue, a map or list, which may be empty. */
static json_t *decode_collection(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    const struct schema_field *f = schema_field_at(m, 0);
    struct object object = {.dec = dec, .m = m};
    struct fields fields;
    int r;

    r = fields_read(&fields, m, p, n, decode_element, &object, dec->e);
    if (r == 0)
        return object.values[0] ? object.values[0] : f->flags & SCHEMA_FIELD_MAP ? json_object() : json_array();
    dec->code = r;
    json_decref(object.values[0]);
    return NULL;
}

static json_t *decode_struct_value(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    json_t *json = json_object(), *value = NULL;

    if (decode_members(dec, m, p, n, json) == 0) {
        void *member = json_object_iter(json);
        value = member ? json_incref(json_object_iter_value(member)) : json_null();
    }
    json_decref(json);
    return value;
}

static json_t *decode_time(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    bool duration = m->kind == SCHEMA_KIND_DURATION;
    _cleanup_(buf_clear) struct buf b = {0};
    struct field_value parts[2];
    struct wellknown_time t;
    int r;

    if (fields_read_pair(m, p, n, parts) < 0)
        return fault(dec, "is not a well-formed time");
    t = (struct wellknown_time){(int64_t)parts[0].number, (int32_t)parts[1].number};
    r = duration ? wellknown_print_duration(&b, t) : wellknown_print_timestamp(&b, t);
    if (r < 0)
        return fault(dec, duration ? "is not a valid duration" : "is not a valid time");
    return text_of(&b);
}

static json_t *decode_field_mask(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    _cleanup_(buf_clear) struct buf b = {0};
    struct wire w = {p, n ? p + n : p};
    struct wire_record record;
    int r;

    while ((r = wire_next(&w, &record)) == 1) {
        if (record.number != schema_field_at(m, 0)->number || record.type != WIRE_BYTES)
            continue;
        if (b.len > 0)
            buf_append_byte(&b, ',');
        if (!field_is_utf8(record.data, record.len) ||
            wellknown_print_path(&b, (const char *)record.data, record.len) < 0)
            return fault(dec, "has a path without a form in JSON");
    }
    return r < 0 ? fault(dec, "is not a well-formed field mask") : text_of(&b);
}

static json_t *decode_wrapper(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    struct field_value parts[2];

    if (fields_read_pair(m, p, n, parts) < 0)
        return fault(dec, "is not a well-formed wrapper");
    return decode_value(dec, schema_field_at(m, 0), &parts[0]);
}

/* An Any whose content the schema does not know. */
static json_t *decode_unknown_any(struct decoder *dec, const struct field_value *value, json_t *json)
{
    _cleanup_(buf_clear) struct buf b = {0};

    if (dec->flags & PROTOJSON_REDACT)
        buf_append_str(&b, redacted);
    else
        wellknown_print_base64(&b, value->data, value->len);
    json_object_set_new_nocheck(json, "value", text_of(&b));
    return json;
}

static json_t *decode_any(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    const struct schema_message *content;
    struct field_value parts[2];
    const char *url;
    json_t *json, *value;

    if (fields_read_pair(m, p, n, parts) < 0 || !field_is_utf8(parts[0].data, parts[0].len))
        return fault(dec, "is not a well-formed Any");
    json = json_object();
    if (parts[0].len == 0 && parts[1].len == 0)
        return json;
    url = parts[0].len ? (const char *)parts[0].data : "";
    json_object_set_new_nocheck(json, "@type", json_stringn_nocheck(url, parts[0].len));
    content = schema_find_url(url, parts[0].len);
    if (!content)
        return decode_unknown_any(dec, &parts[1], json);
    if (content->kind == SCHEMA_KIND_PLAIN || content->kind == SCHEMA_KIND_EMPTY) {
        if (decode_members(dec, content, parts[1].data, parts[1].len, json) == 0)
            return json;
    } else {
        value = decode_message(dec, content, parts[1].data, parts[1].len);
        if (value) {
            json_object_set_new_nocheck(json, "value", value);
            return json;
        }
        err_prefix_field(dec->e, "value");
    }
    json_decref(json);
    return NULL;
}

static json_t *decode_kind(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    switch (m->kind) {
    case SCHEMA_KIND_ANY:
        return decode_any(dec, m, p, n);
    case SCHEMA_KIND_DURATION:
    case SCHEMA_KIND_TIMESTAMP:
        return decode_time(dec, m, p, n);
    case SCHEMA_KIND_STRUCT:
    case SCHEMA_KIND_LIST_VALUE:
        return decode_collection(dec, m, p, n);
    case SCHEMA_KIND_VALUE:
        return decode_struct_value(dec, m, p, n);
    case SCHEMA_KIND_FIELD_MASK:
        return decode_field_mask(dec, m, p, n);
    case SCHEMA_KIND_WRAPPER:
        return decode_wrapper(dec, m, p, n);
    default:
        return decode_plain(dec, m, p, n);
    }
}

static json_t *decode_message(struct decoder *dec, const struct schema_message *m, const uint8_t *p, size_t n)
{
    json_t *json;

    if (dec->depth == WIRE_DEPTH_MAX)
        return fault(dec, "is nested too deep");
    dec->depth++;
    json = decode_kind(dec, m, p, n);
    dec->depth--;
    return json;
}

int protojson_from_wire(const uint8_t *wire, size_t n, const struct schema_message *type, unsigned flags,
                        json_t **ret_json, struct err *e)
{
    struct decoder dec = {.flags = flags, .e = e};
    json_t *json = decode_message(&dec, type, wire, n);

    if (!json)
        return dec.code;
    *ret_json = json;
    return 0;
}
