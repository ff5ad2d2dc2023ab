/*
 * From protobuf's JSON form to wire bytes, along the schema.
 *
 * The members of an object are sorted into the order of the fields first; then each is written behind the one before,
 * and a message's length is put in front of it once it is known. A fault is described where it is found, with an
 * empty path, and each level on the way back puts its own name in front. Values never appear in a fault: they may be
 * secrets.
 */
#include "proto/protojson.h"

#include "base/wellknown.h"
#include "proto/wire.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAMES_SHOWN_MAX = 8, KEY_SHOWN_MAX = 64 };
enum { VALUE_NULL = 1, VALUE_NUMBER, VALUE_STRING, VALUE_BOOL, VALUE_STRUCT, VALUE_LIST }; /* google.protobuf.Value */

#define FLOAT_LIMIT 0x1.ffffffp127 /* what is closer to 2^128 than to the largest float */

struct encoder {
    struct buf *out;
    struct err *e;
    unsigned json_depth;
    unsigned wire_depth; /* through Any too */
};

static int encode_message(struct encoder *enc, const struct schema_message *m, const json_t *json);

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static const char *json_kind(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    default:
        return "null";
    }
}

static int unexpected(struct encoder *enc, const char *expected, const json_t *json)
{
    return err_set(enc->e, -EINVAL, NULL, "", "must be %s, not %s", expected, json_kind(json));
}

static int invalid(struct encoder *enc, const char *words)
{
    return err_set(enc->e, -EINVAL, NULL, "", "%s", words);
}

static void prefix_index(struct encoder *enc, size_t index)
{
    char text[32];

    snprintf(text, sizeof(text), "[%zu]", index);
    err_prefix_field(enc->e, text);
}

static void prefix_key(struct encoder *enc, const char *key, size_t n)
{
    _cleanup_(buf_clear) struct buf b;

    buf_init(&b, 0);
    buf_append_byte(&b, '[');
    buf_json_string(&b, key, n < KEY_SHOWN_MAX ? n : KEY_SHOWN_MAX);
    buf_append_byte(&b, ']');
    err_prefix_field(enc->e, buf_cstr(&b));
}

/* The iterators of jansson take what they only read as something to be changed. */
static void *first_member(const json_t *object)
{
    return json_object_iter((json_t *)object);
}

static void *next_member(const json_t *object, void *iter)
{
    return json_object_iter_next((json_t *)object, iter);
}

/* ---- scalars --------------------------------------------------------------------------------------------------- */

/* JSON's own grammar of numbers; *ret_integer: without a fraction or an exponent. */
static bool is_number(const char *p, bool *ret_integer)
{
    *ret_integer = true;
    p += *p == '-';
    if (*p < '0' || *p > '9' || (p[0] == '0' && p[1] >= '0' && p[1] <= '9'))
        return false;
    p += strspn(p, "0123456789");
    if (*p == '.') {
        *ret_integer = false;
        if (strspn(++p, "0123456789") == 0)
            return false;
        p += strspn(p, "0123456789");
    }
    if (*p == 'e' || *p == 'E') {
        *ret_integer = false;
        p++;
        p += *p == '+' || *p == '-';
        if (strspn(p, "0123456789") == 0)
            return false;
        p += strspn(p, "0123456789");
    }
    return *p == '\0';
}

struct range {
    int64_t low;
    uint64_t high;
};

static struct range range_of(enum schema_type type)
{
    switch (type) {
    case SCHEMA_TYPE_INT32:
    case SCHEMA_TYPE_SINT32:
    case SCHEMA_TYPE_SFIXED32:
    case SCHEMA_TYPE_ENUM:
        return (struct range){INT32_MIN, INT32_MAX};
    case SCHEMA_TYPE_UINT32:
    case SCHEMA_TYPE_FIXED32:
        return (struct range){0, UINT32_MAX};
    case SCHEMA_TYPE_UINT64:
    case SCHEMA_TYPE_FIXED64:
        return (struct range){0, UINT64_MAX};
    default:
        return (struct range){INT64_MIN, INT64_MAX};
    }
}

/* A floating point number that is an integer within the range; 2^63 and 2^64 are exact in a double. */
static bool integer_from_double(double d, struct range range, uint64_t *ret)
{
    if (!(d >= -0x1p63 && d < 0x1p64) || d != trunc(d))
        return false;
    if (d < 0) {
        *ret = (uint64_t)(int64_t)d;
        return (int64_t)d >= range.low;
    }
    *ret = (uint64_t)d;
    return *ret <= range.high;
}

static bool integer_from_text(const char *text, size_t n, struct range range, uint64_t *ret)
{
    bool integer;

    if (strlen(text) != n || !is_number(text, &integer))
        return false;
    if (!integer)
        return integer_from_double(strtod(text, NULL), range, ret);
    errno = 0;
    if (text[0] == '-') {
        *ret = (uint64_t)strtoll(text, NULL, 10);
        return errno == 0 && (int64_t)*ret >= range.low;
    }
    *ret = strtoull(text, NULL, 10);
    return errno == 0 && *ret <= range.high;
}

static int parse_integer(struct encoder *enc, enum schema_type type, const json_t *json, uint64_t *ret)
{
    struct range range = range_of(type);
    bool good = false;

    if (json_is_integer(json)) {
        *ret = (uint64_t)json_integer_value(json);
        good = (int64_t)*ret < 0 ? (int64_t)*ret >= range.low : *ret <= range.high;
    } else if (json_is_real(json)) {
        good = integer_from_double(json_real_value(json), range, ret);
    } else if (json_is_string(json)) {
        good = integer_from_text(json_string_value(json), json_string_length(json), range, ret);
    } else {
        return unexpected(enc, "an integer", json);
    }
    return good ? 0
                : err_set(enc->e, -EINVAL, NULL, "", "must be an integer from %" PRId64 " to %" PRIu64, range.low,
                          range.high);
}

static bool double_from_text(const char *text, size_t n, double *ret)
{
    bool integer;

    if (strlen(text) != n)
        return false;
    if (strcmp(text, "NaN") == 0)
        *ret = (double)NAN;
    else if (strcmp(text, "Infinity") == 0)
        *ret = (double)INFINITY;
    else if (strcmp(text, "-Infinity") == 0)
        *ret = -(double)INFINITY;
    else if (is_number(text, &integer) && isfinite(strtod(text, NULL)))
        *ret = strtod(text, NULL);
    else
        return false;
    return true;
}

static int parse_double(struct encoder *enc, enum schema_type type, const json_t *json, uint64_t *ret)
{
    double d;

    if (json_is_number(json))
        d = json_number_value(json);
    else if (!json_is_string(json))
        return unexpected(enc, "a number", json);
    else if (!double_from_text(json_string_value(json), json_string_length(json), &d))
        return invalid(enc, "must be a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
    if (type == SCHEMA_TYPE_FLOAT && isfinite(d) && fabs(d) >= FLOAT_LIMIT)
        return invalid(enc, "must be a number of single precision");
    *ret = wire_from_double(d);
    return 0;
}

static bool is_null_enum(const struct schema_field *f)
{
    return f->type == SCHEMA_TYPE_ENUM &&
           strcmp(schema_text(schema_field_enum(f)->name), "google.protobuf.NullValue") == 0;
}

/* Where null is a value of its own, and not the absence of one. */
static bool accepts_null(const struct schema_field *f)
{
    if (f->type == SCHEMA_TYPE_MESSAGE)
        return schema_field_message(f)->kind == SCHEMA_KIND_VALUE;
    return is_null_enum(f);
}

static int parse_enum(struct encoder *enc, const struct schema_field *f, const json_t *json, uint64_t *ret)
{
    const struct schema_enum *en = schema_field_enum(f);
    const struct schema_enum_value *value = NULL;
    _cleanup_(buf_clear) struct buf names = {0};

    if (json_is_null(json) && is_null_enum(f)) {
        *ret = 0;
        return 0;
    }
    if (json_is_number(json))
        return parse_integer(enc, SCHEMA_TYPE_ENUM, json, ret);
    if (!json_is_string(json))
        return unexpected(enc, "the name or number of an enum's value", json);
    if (strlen(json_string_value(json)) == json_string_length(json))
        value = schema_enum_by_name(en, json_string_value(json));
    if (value) {
        *ret = (uint64_t)(int64_t)value->number;
        return 0;
    }
    for (unsigned i = 0; i < en->n_values && i <= NAMES_SHOWN_MAX; i++)
        buf_printf(&names, "%s%s", i ? ", " : "",
                   i < NAMES_SHOWN_MAX ? schema_text(schema_enum_values[en->first_value + i].name) : "...");
    return err_set(enc->e, -EINVAL, NULL, "", "must be one of %s", buf_cstr(&names));
}

static int parse_number(struct encoder *enc, const struct schema_field *f, const json_t *json, uint64_t *ret)
{
    switch (f->type) {
    case SCHEMA_TYPE_DOUBLE:
    case SCHEMA_TYPE_FLOAT:
        return parse_double(enc, f->type, json, ret);
    case SCHEMA_TYPE_BOOL:
        if (!json_is_boolean(json))
            return unexpected(enc, "true or false", json);
        *ret = json_is_true(json);
        return 0;
    case SCHEMA_TYPE_ENUM:
        return parse_enum(enc, f, json, ret);
    default:
        return parse_integer(enc, f->type, json, ret);
    }
}

static int encode_text(struct encoder *enc, const struct schema_field *f, const json_t *json, bool explicit)
{
    _cleanup_(buf_clear) struct buf bytes = {0};
    const void *p;
    size_t n;

    if (!json_is_string(json))
        return unexpected(enc, f->type == SCHEMA_TYPE_STRING ? "a text" : "bytes in base64", json);
    p = json_string_value(json);
    n = json_string_length(json);
    if (f->type == SCHEMA_TYPE_BYTES) {
        if (wellknown_parse_base64(&bytes, p, n) < 0)
            return invalid(enc, "must be bytes in base64");
        p = bytes.data;
        n = bytes.len;
    }
    if (n > 0 || explicit)
        wire_put_bytes(enc->out, f->number, n ? p : "", n);
    return 0;
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

/* A message inside of another, with its tag and length. */
static int encode_submessage(struct encoder *enc, uint32_t number, const struct schema_message *m, const json_t *json)
{
    size_t begin;
    int r;

    wire_put_tag(enc->out, number, WIRE_BYTES);
    begin = wire_begin(enc->out);
    r = encode_message(enc, m, json);
    wire_end(enc->out, begin);
    return r;
}

/* explicit: a zero is written too, as it differs from an absent value. */
static int encode_value(struct encoder *enc, const struct schema_field *f, const json_t *json, bool explicit)
{
    uint64_t number = 0;
    int r;

    if (f->type == SCHEMA_TYPE_MESSAGE)
        return encode_submessage(enc, f->number, schema_field_message(f), json);
    if (f->type == SCHEMA_TYPE_STRING || f->type == SCHEMA_TYPE_BYTES)
        return encode_text(enc, f, json, explicit);
    r = parse_number(enc, f, json, &number);
    if (r < 0)
        return r;
    if (number != 0 || explicit) {
        wire_put_tag(enc->out, f->number, wire_type_of(f->type));
        wire_put_scalar(enc->out, f->type, number);
    }
    return 0;
}

static int encode_element(struct encoder *enc, const struct schema_field *f, const json_t *json)
{
    uint64_t number = 0;
    int r;

    if (json_is_null(json) && !accepts_null(f))
        return invalid(enc, "must not be null");
    if (!(f->flags & SCHEMA_FIELD_PACKED))
        return encode_value(enc, f, json, true);
    r = parse_number(enc, f, json, &number);
    if (r == 0)
        wire_put_scalar(enc->out, f->type, number);
    return r;
}

static int encode_list(struct encoder *enc, const struct schema_field *f, const json_t *json)
{
    size_t n = json_array_size(json), begin = 0;
    bool packed = f->flags & SCHEMA_FIELD_PACKED;

    if (!json_is_array(json))
        return unexpected(enc, "a list", json);
    if (n == 0)
        return 0;
    if (packed) {
        wire_put_tag(enc->out, f->number, WIRE_BYTES);
        begin = wire_begin(enc->out);
    }
    for (size_t i = 0; i < n; i++) {
        int r = encode_element(enc, f, json_array_get(json, i));
        if (r < 0) {
            prefix_index(enc, i);
            return r;
        }
    }
    if (packed)
        wire_end(enc->out, begin);
    return 0;
}

struct entry {
    const char *key;
    size_t key_len;
    uint64_t number; /* of keys that are no texts; moved so that unsigned order is the keys' order */
    const json_t *value;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
    int difference = memcmp(x->key, y->key, n);

    if (difference != 0)
        return difference;
    return x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
}

static int compare_numbered_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

#define SIGN_BIT (UINT64_C(1) << 63)

static bool is_signed(enum schema_type type)
{
    return range_of(type).low < 0 && type != SCHEMA_TYPE_BOOL;
}

static int parse_key(struct encoder *enc, const struct schema_field *key, struct entry *entry)
{
    if (key->type == SCHEMA_TYPE_STRING)
        return 0;
    if (key->type == SCHEMA_TYPE_BOOL) {
        entry->number = strcmp(entry->key, "true") == 0;
        if (entry->number || strcmp(entry->key, "false") == 0)
            return 0;
        return invalid(enc, "is a key that must be \"true\" or \"false\"");
    }
    if (!integer_from_text(entry->key, entry->key_len, range_of(key->type), &entry->number))
        return invalid(enc, "is a key that must be an integer");
    if (is_signed(key->type))
        entry->number ^= SIGN_BIT;
    return 0;
}

static int encode_entry(struct encoder *enc, const struct schema_field *f, const struct entry *entry)
{
    const struct schema_message *m = schema_field_message(f);
    const struct schema_field *key = schema_field_at(m, 0), *value = schema_field_at(m, 1);
    size_t begin;
    int r;

    if (json_is_null(entry->value) && !accepts_null(value))
        return invalid(enc, "must not be null");
    if (enc->wire_depth == WIRE_DEPTH_MAX)
        return invalid(enc, "is nested too deep");
    wire_put_tag(enc->out, f->number, WIRE_BYTES);
    begin = wire_begin(enc->out);
    if (key->type == SCHEMA_TYPE_STRING) {
        wire_put_bytes(enc->out, key->number, entry->key, entry->key_len);
    } else {
        wire_put_tag(enc->out, key->number, wire_type_of(key->type));
        wire_put_scalar(enc->out, key->type, is_signed(key->type) ? entry->number ^ SIGN_BIT : entry->number);
    }
    enc->wire_depth++;
    r = encode_value(enc, value, entry->value, true);
    enc->wire_depth--;
    wire_end(enc->out, begin);
    return r;
}

static int read_entries(struct encoder *enc, const struct schema_field *key, const json_t *json,
                        struct entry *entries)
{
    size_t n = 0;

    for (void *i = first_member(json); i; i = next_member(json, i), n++) {
        int r;
        entries[n] =
            (struct entry){json_object_iter_key(i), json_object_iter_key_len(i), 0, json_object_iter_value(i)};
        r = parse_key(enc, key, &entries[n]);
        if (r < 0) {
            prefix_key(enc, entries[n].key, entries[n].key_len);
            return r;
        }
    }
    return 0;
}

static int encode_map(struct encoder *enc, const struct schema_field *f, const json_t *json)
{
    const struct schema_field *key = schema_field_at(schema_field_message(f), 0);
    _cleanup_(mem_free_p) struct entry *entries = NULL;
    bool texts = key->type == SCHEMA_TYPE_STRING;
    size_t n = json_object_size(json);
    int r;

    if (!json_is_object(json))
        return unexpected(enc, "an object", json);
    if (n == 0)
        return 0;
    entries = mem_array(struct entry, n);
    r = read_entries(enc, key, json, entries);
    if (r < 0)
        return r;
    qsort(entries, n, sizeof(*entries), texts ? compare_entries : compare_numbered_entries);
    for (size_t i = 0; i < n; i++) {
        if (!texts && i > 0 && entries[i].number == entries[i - 1].number)
            r = invalid(enc, "is given twice");
        else
            r = encode_entry(enc, f, &entries[i]);
        if (r < 0) {
            prefix_key(enc, entries[i].key, entries[i].key_len);
            return r;
        }
    }
    return 0;
}

static int encode_field(struct encoder *enc, const struct schema_field *f, const json_t *json)
{
    if (f->flags & SCHEMA_FIELD_MAP)
        return encode_map(enc, f, json);
    if (f->flags & SCHEMA_FIELD_REPEATED)
        return encode_list(enc, f, json);
    return encode_value(enc, f, json, f->flags & SCHEMA_FIELD_PRESENCE);
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

struct members {
    const json_t *values[SCHEMA_FIELDS_MAX]; /* by field, NULL: absent */
    const char *keys[SCHEMA_FIELDS_MAX];
    uint8_t oneofs[SCHEMA_ONEOFS_MAX]; /* the index of the member, and one */
};

static int take_member(struct encoder *enc, const struct schema_message *m, const char *key, const json_t *value,
                       struct members *ret)
{
    const struct schema_field *f = schema_field_by_name(m, key);
    bool absent;
    unsigned i;

    if (!f)
        return err_set(enc->e, -EINVAL, NULL, key, "is not a field of %s", schema_name(m));
    i = schema_field_index(m, f);
    if (ret->keys[i])
        return err_set(enc->e, -EINVAL, NULL, key, "is the same field as %s", ret->keys[i]);
    ret->keys[i] = key;
    absent = json_is_null(value) && (f->flags & SCHEMA_FIELD_REPEATED || !accepts_null(f));
    if (absent)
        return 0;
    ret->values[i] = value;
    if (f->oneof == SCHEMA_NO_ONEOF)
        return 0;
    if (ret->oneofs[f->oneof] != 0)
        return err_set(enc->e, -EINVAL, NULL, key, "cannot be given together with %s",
                       ret->keys[ret->oneofs[f->oneof] - 1]);
    ret->oneofs[f->oneof] = (uint8_t)(i + 1);
    return 0;
}

/* in_any: "@type" stands among the members. */
static int encode_members(struct encoder *enc, const struct schema_message *m, const json_t *json, bool in_any)
{
    struct members members;
    int r;

    if (!json_is_object(json))
        return unexpected(enc, "an object", json);
    memset(members.values, 0, m->n_fields * sizeof(members.values[0]));
    memset(members.keys, 0, m->n_fields * sizeof(members.keys[0]));
    memset(members.oneofs, 0, sizeof(members.oneofs));
    for (void *i = first_member(json); i; i = next_member(json, i)) {
        const char *key = json_object_iter_key(i);
        if (in_any && strcmp(key, "@type") == 0)
            continue;
        r = take_member(enc, m, key, json_object_iter_value(i), &members);
        if (r < 0)
            return r;
    }
    for (unsigned i = 0; i < m->n_fields; i++) {
        if (!members.values[i])
            continue;
        r = encode_field(enc, schema_field_at(m, i), members.values[i]);
        if (r < 0) {
            err_prefix_field(enc->e, members.keys[i]);
            return r;
        }
    }
    return 0;
}

/* The message inside of an Any, in the JSON object that has its "@type". */
static int encode_any_content(struct encoder *enc, const struct schema_message *m, const json_t *json)
{
    const json_t *value;
    bool own_form = m->kind != SCHEMA_KIND_PLAIN && m->kind != SCHEMA_KIND_EMPTY;
    int r;

    if (!own_form && !(m->kind == SCHEMA_KIND_EMPTY && json_object_get(json, "value")))
        return encode_members(enc, m, json, true);
    for (void *i = first_member(json); i; i = next_member(json, i)) {
        const char *key = json_object_iter_key(i);
        if (strcmp(key, "@type") != 0 && strcmp(key, "value") != 0)
            return err_set(enc->e, -EINVAL, NULL, key, "is not a field: a %s stands in \"value\"", schema_name(m));
    }
    value = json_object_get(json, "value");
    if (!value)
        return err_set(enc->e, -EINVAL, NULL, "value", "is required beside \"@type\"");
    r = encode_message(enc, m, value);
    if (r < 0)
        err_prefix_field(enc->e, "value");
    return r;
}

static int encode_any(struct encoder *enc, const struct schema_message *m, const json_t *json)
{
    const json_t *type = json_object_get(json, "@type");
    const struct schema_message *content;
    size_t before, begin;
    int r;

    if (!json_is_object(json))
        return unexpected(enc, "an object", json);
    if (json_object_size(json) == 0)
        return 0;
    if (!json_is_string(type))
        return err_set(enc->e, -EINVAL, NULL, "@type", "is required: the type of the message, as \"%s\"",
                       "type.googleapis.com/NAME");
    content = schema_find_url(json_string_value(type), json_string_length(type));
    if (!content)
        return err_set(enc->e, -EINVAL, NULL, "@type", "is not a type of Envoy's API: %s", json_string_value(type));
    wire_put_bytes(enc->out, schema_field_at(m, 0)->number, json_string_value(type), json_string_length(type));
    before = enc->out->len;
    wire_put_tag(enc->out, schema_field_at(m, 1)->number, WIRE_BYTES);
    begin = wire_begin(enc->out);
    r = encode_any_content(enc, content, json);
    if (enc->out->len == begin && !enc->out->overflow)
        enc->out->len = before; /* no content: the field is left out, as any other that is empty */
    else
        wire_end(enc->out, begin);
    return r;
}

static int encode_time(struct encoder *enc, const struct schema_message *m, const json_t *json)
{
    bool duration = m->kind == SCHEMA_KIND_DURATION;
    struct wellknown_time t;
    int r;

    if (!json_is_string(json))
        return unexpected(enc, duration ? "a duration such as \"1.5s\"" : "a time as text", json);
    if (duration)
        r = wellknown_parse_duration(json_string_value(json), json_string_length(json), &t);
    else
        r = wellknown_parse_timestamp(json_string_value(json), json_string_length(json), &t);
    if (r < 0)
        return invalid(enc, duration ? "must be a duration in seconds such as \"1.5s\""
                                     : "must be a time such as \"2024-02-29T12:00:00Z\"");
    if (t.seconds != 0) {
        wire_put_tag(enc->out, schema_field_at(m, 0)->number, WIRE_VARINT);
        wire_put_varint(enc->out, (uint64_t)t.seconds);
    }
    if (t.nanos != 0) {
        wire_put_tag(enc->out, schema_field_at(m, 1)->number, WIRE_VARINT);
        wire_put_varint(enc->out, (uint64_t)(int64_t)t.nanos);
    }
    return 0;
}

static int encode_field_mask(struct encoder *enc, const struct schema_message *m, const json_t *json)
{
    _cleanup_(buf_clear) struct buf path = {0};
    const char *p, *end;

    if (!json_is_string(json))
        return unexpected(enc, "a text of field paths", json);
    p = json_string_value(json);
    end = p + json_string_length(json);
    if (p == end)
        return 0;
    for (;;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        buf_reset(&path);
        if (wellknown_parse_path(&path, p, (size_t)((comma ? comma : end) - p)) < 0)
            return invalid(enc, "must be field paths in lowerCamelCase, separated by commas");
        wire_put_bytes(enc->out, schema_field_at(m, 0)->number, path.data, path.len);
        if (!comma)
            return 0;
        p = comma + 1;
    }
}

static int encode_struct_value(struct encoder *enc, const struct schema_message *m, const json_t *json)
{
    unsigned member = 0;

    switch (json_typeof(json)) {
    case JSON_NULL:
        member = VALUE_NULL;
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        member = VALUE_NUMBER;
        break;
    case JSON_STRING:
        member = VALUE_STRING;
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        member = VALUE_BOOL;
        break;
    case JSON_OBJECT:
        member = VALUE_STRUCT;
        break;
    case JSON_ARRAY:
        member = VALUE_LIST;
        break;
    }
    return encode_value(enc, schema_field_by_number(m, member), json, true);
}

static int encode_kind(struct encoder *enc, const struct schema_message *m, const json_t *json)
{
    switch (m->kind) {
    case SCHEMA_KIND_ANY:
        return encode_any(enc, m, json);
    case SCHEMA_KIND_DURATION:
    case SCHEMA_KIND_TIMESTAMP:
        return encode_time(enc, m, json);
    case SCHEMA_KIND_STRUCT:
        return encode_map(enc, schema_field_at(m, 0), json);
    case SCHEMA_KIND_LIST_VALUE:
        return encode_list(enc, schema_field_at(m, 0), json);
    case SCHEMA_KIND_VALUE:
        return encode_struct_value(enc, m, json);
    case SCHEMA_KIND_FIELD_MASK:
        return encode_field_mask(enc, m, json);
    case SCHEMA_KIND_WRAPPER:
        return encode_value(enc, schema_field_at(m, 0), json, false);
    default:
        return encode_members(enc, m, json, false);
    }
}

static int encode_message(struct encoder *enc, const struct schema_message *m, const json_t *json)
{
    /* A Value is a level of the message, but none of the JSON. */
    bool nests = m->kind != SCHEMA_KIND_VALUE && (json_is_object(json) || json_is_array(json));
    int r;

    if (enc->json_depth + nests > PROTOJSON_DEPTH_MAX || enc->wire_depth == WIRE_DEPTH_MAX)
        return invalid(enc, "is nested too deep");
    enc->json_depth += nests;
    enc->wire_depth++;
    r = encode_kind(enc, m, json);
    enc->wire_depth--;
    enc->json_depth -= nests;
    return r;
}

int protojson_to_wire(const json_t *json, const struct schema_message *type, struct buf *ret_wire, struct err *e)
{
    struct encoder enc = {.out = ret_wire, .e = e};
    size_t start = ret_wire->len, max = ret_wire->max;
    int r;

    assert(!ret_wire->overflow);
    if (max == 0 || max - start > PROTOJSON_SIZE_MAX)
        ret_wire->max = start + PROTOJSON_SIZE_MAX;
    r = encode_message(&enc, type, json);
    if (r == 0 && ret_wire->overflow)
        r = err_set(e, -EMSGSIZE, NULL, "", "is more than %zu bytes as a message", ret_wire->max - start);
    if (r < 0) {
        ret_wire->len = start;
        ret_wire->overflow = false;
    }
    ret_wire->max = max;
    return r;
}
