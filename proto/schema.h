/*
 * The schema of Envoy's API: every v3 message with its fields, enums, validation rules and sensitive fields, as
 * constant tables that proto/generate.py makes from the descriptors of xds-protos.
 *
 * All of it is proto3: no groups, no extensions, no required fields. Texts are offsets into one pool and relations
 * are indices, so the tables need no relocation and are shared by all processes. Nothing here changes after the
 * start: any thread may read anything.
 */
#ifndef PROTO_SCHEMA_H
#define PROTO_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers of google.protobuf.FieldDescriptorProto.Type. */
enum schema_type {
    SCHEMA_TYPE_DOUBLE = 1,
    SCHEMA_TYPE_FLOAT = 2,
    SCHEMA_TYPE_INT64 = 3,
    SCHEMA_TYPE_UINT64 = 4,
    SCHEMA_TYPE_INT32 = 5,
    SCHEMA_TYPE_FIXED64 = 6,
    SCHEMA_TYPE_FIXED32 = 7,
    SCHEMA_TYPE_BOOL = 8,
    SCHEMA_TYPE_STRING = 9,
    SCHEMA_TYPE_MESSAGE = 11,
    SCHEMA_TYPE_BYTES = 12,
    SCHEMA_TYPE_UINT32 = 13,
    SCHEMA_TYPE_ENUM = 14,
    SCHEMA_TYPE_SFIXED32 = 15,
    SCHEMA_TYPE_SFIXED64 = 16,
    SCHEMA_TYPE_SINT32 = 17,
    SCHEMA_TYPE_SINT64 = 18,
};

/* Messages whose JSON form is their own (https://protobuf.dev/programming-guides/json/). */
enum schema_kind {
    SCHEMA_KIND_PLAIN,
    SCHEMA_KIND_ANY,
    SCHEMA_KIND_DURATION,
    SCHEMA_KIND_TIMESTAMP,
    SCHEMA_KIND_STRUCT,
    SCHEMA_KIND_VALUE,
    SCHEMA_KIND_LIST_VALUE,
    SCHEMA_KIND_FIELD_MASK,
    SCHEMA_KIND_EMPTY,
    SCHEMA_KIND_WRAPPER, /* DoubleValue ... BytesValue: one field, number 1 */
};

enum {
    SCHEMA_FIELD_REPEATED = 1, /* maps too */
    SCHEMA_FIELD_PACKED = 2,   /* is written packed; both forms are read */
    SCHEMA_FIELD_MAP = 4,      /* target is the entry message: key is field 1, value is field 2 */
    SCHEMA_FIELD_PRESENCE = 8, /* absent and zero differ: messages, members of oneofs, optional fields */
    SCHEMA_FIELD_SENSITIVE = 16,
    SCHEMA_FIELD_DISALLOWED = 32, /* deprecated, and refused by Envoy unless its runtime allows it */

    SCHEMA_MESSAGE_MAP_ENTRY = 1,
    SCHEMA_MESSAGE_UNCHECKED = 2, /* its own rules are switched off */

    SCHEMA_NO_ONEOF = 255,
    SCHEMA_FIELDS_MAX = 128, /* of one message */
    SCHEMA_ONEOFS_MAX = 16,
    SCHEMA_PATTERNS_MAX = 64,
};

struct schema_message {
    uint32_t name;        /* full: "envoy.config.cluster.v3.Cluster" */
    uint32_t first_field; /* in schema_fields, sorted by number */
    uint16_t first_oneof;
    uint8_t n_fields, n_oneofs;
    uint8_t flags;
    uint8_t kind; /* enum schema_kind */
};

struct schema_field {
    uint32_t name, json_name;
    uint32_t number;
    uint16_t rules;  /* the first in schema_rules; 0: none */
    uint16_t target; /* index of the message or enum */
    uint8_t type;    /* enum schema_type */
    uint8_t flags;
    uint8_t oneof; /* within the message, or SCHEMA_NO_ONEOF */
};

struct schema_oneof {
    uint32_t name;
    uint8_t required;
};

struct schema_enum {
    uint32_t name;
    uint16_t first_value; /* in schema_enum_values, sorted by number; of aliases the leading name comes first */
    uint16_t n_values;
};

struct schema_enum_value {
    uint32_t name;
    int32_t number;
};

/*
 * One rule of a field (protoc-gen-validate's validate.rules). A field's rules stand in a row, ended by END. arg is,
 * by the kind of operation: an index into schema_numbers of count numbers (integers sign-extended, floating point as
 * the bits of a double, times in nanoseconds), or of count texts (the length in the upper half, the offset in the
 * lower); the pattern's number; or the first rule of the items, keys or values. REQUIRED, SKIP and
 * IGNORE_EMPTY stand before all others, in this order.
 */
enum schema_rule_op {
    SCHEMA_RULE_END,
    SCHEMA_RULE_REQUIRED,
    SCHEMA_RULE_SKIP,
    SCHEMA_RULE_EITHER, /* of the two rules behind it one suffices: a range that is excluded */
    SCHEMA_RULE_IGNORE_EMPTY,
    SCHEMA_RULE_CONST,
    SCHEMA_RULE_LT,
    SCHEMA_RULE_LTE,
    SCHEMA_RULE_GT,
    SCHEMA_RULE_GTE,
    SCHEMA_RULE_IN,
    SCHEMA_RULE_NOT_IN,
    SCHEMA_RULE_LT_NOW,
    SCHEMA_RULE_GT_NOW,
    SCHEMA_RULE_WITHIN,
    SCHEMA_RULE_DEFINED_ONLY,
    SCHEMA_RULE_LEN, /* of strings in code points, of bytes in bytes */
    SCHEMA_RULE_MIN_LEN,
    SCHEMA_RULE_MAX_LEN,
    SCHEMA_RULE_LEN_BYTES,
    SCHEMA_RULE_MIN_BYTES,
    SCHEMA_RULE_MAX_BYTES,
    SCHEMA_RULE_TEXT_CONST,
    SCHEMA_RULE_TEXT_IN,
    SCHEMA_RULE_TEXT_NOT_IN,
    SCHEMA_RULE_TEXT_PREFIX,
    SCHEMA_RULE_TEXT_SUFFIX,
    SCHEMA_RULE_TEXT_CONTAINS,
    SCHEMA_RULE_TEXT_NOT_CONTAINS,
    SCHEMA_RULE_PATTERN,
    SCHEMA_RULE_EMAIL,
    SCHEMA_RULE_HOSTNAME,
    SCHEMA_RULE_IP,
    SCHEMA_RULE_IPV4,
    SCHEMA_RULE_IPV6,
    SCHEMA_RULE_URI,
    SCHEMA_RULE_URI_REF,
    SCHEMA_RULE_ADDRESS,
    SCHEMA_RULE_UUID,
    SCHEMA_RULE_BYTES_IP, /* 4 or 16 bytes */
    SCHEMA_RULE_BYTES_IPV4,
    SCHEMA_RULE_BYTES_IPV6,
    SCHEMA_RULE_HTTP_HEADER_NAME, /* count: strict */
    SCHEMA_RULE_HTTP_HEADER_VALUE,
    SCHEMA_RULE_MIN_ITEMS,
    SCHEMA_RULE_MAX_ITEMS,
    SCHEMA_RULE_UNIQUE,
    SCHEMA_RULE_ITEMS,
    SCHEMA_RULE_MIN_PAIRS,
    SCHEMA_RULE_MAX_PAIRS,
    SCHEMA_RULE_NO_SPARSE,
    SCHEMA_RULE_KEYS,
    SCHEMA_RULE_VALUES,
    SCHEMA_RULE_COUNT,
};

struct schema_rule {
    uint16_t op; /* enum schema_rule_op */
    uint16_t count;
    uint32_t arg;
};

/* The generated tables. Messages and enums are sorted by name, bytewise. */
extern const struct schema_message schema_messages[];
extern const struct schema_field schema_fields[];
extern const uint8_t schema_by_name[]; /* as schema_fields: indices within the message, sorted by name */
extern const uint8_t schema_by_json_name[];
extern const struct schema_oneof schema_oneofs[];
extern const struct schema_enum schema_enums[];
extern const struct schema_enum_value schema_enum_values[];
extern const struct schema_rule schema_rules[];
extern const uint64_t schema_numbers[];
extern const uint32_t schema_patterns[]; /* RE2 */
extern const char schema_strings[];
extern const size_t schema_n_messages, schema_n_enums, schema_n_rules, schema_n_numbers, schema_n_patterns;

/* NULL when the schema has no such message. */
const struct schema_message *schema_find(const char *full_name);
/* The message of an Any's type_url, which is what stands behind the last '/'; NULL when unknown or without a '/'. */
const struct schema_message *schema_find_url(const char *type_url, size_t n);
/* NULL when the message has no such field. */
const struct schema_field *schema_field_by_number(const struct schema_message *m, uint32_t number);
/* By either spelling: snake_case or lowerCamelCase. */
const struct schema_field *schema_field_by_name(const struct schema_message *m, const char *name);
/* NULL when the enum has no such value. */
const struct schema_enum_value *schema_enum_by_name(const struct schema_enum *en, const char *name);
const struct schema_enum_value *schema_enum_by_number(const struct schema_enum *en, int32_t number);

static inline const char *schema_text(uint32_t offset)
{
    return schema_strings + offset;
}
static inline const char *schema_name(const struct schema_message *m)
{
    return schema_text(m->name);
}
static inline const struct schema_field *schema_field_at(const struct schema_message *m, unsigned i)
{
    return &schema_fields[m->first_field + i];
}
/* The field's place in its message: schema_field_at's i. */
static inline unsigned schema_field_index(const struct schema_message *m, const struct schema_field *f)
{
    return (unsigned)(f - &schema_fields[m->first_field]);
}
static inline const struct schema_message *schema_field_message(const struct schema_field *f)
{
    return &schema_messages[f->target];
}
static inline const struct schema_enum *schema_field_enum(const struct schema_field *f)
{
    return &schema_enums[f->target];
}

#endif
