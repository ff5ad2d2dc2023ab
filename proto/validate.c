/*
 * Walks the wire bytes of a message along the schema and holds each value against its rules.
 *
 * The elements of lists and maps are checked as they come; then the fields are looked at in the order of their
 * numbers, absent ones included, as a rule may refuse a zero. Recursion ends at WIRE_DEPTH_MAX. Nothing is allocated
 * unless a singular message comes in several pieces, or elements must be unique.
 */
#include "proto/validate.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "proto/fields.h"
#include "proto/rules.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KEY_SHOWN_MAX = 64,
    FIELD_KEY = 1,
    FIELD_VALUE = 2,
    FIELD_TYPE_URL = 1,
    NANOS_MAX = 999999999,
};
#define DURATION_SECONDS_MAX INT64_C(9223372035) /* the most that Envoy takes */

struct checker {
    struct err *e;
    unsigned depth;
    unsigned rules_off; /* within a message whose rules do not count, only the bytes are checked */
};

static int check_message(struct checker *c, const struct schema_message *m, const uint8_t *p, size_t n);

static int malformed(struct checker *c, const char *what)
{
    return err_set(c->e, -EBADMSG, NULL, "", "%s", what);
}

static const struct schema_rule *rules_of(const struct checker *c, unsigned index)
{
    return &schema_rules[c->rules_off ? 0 : index];
}

/* The row of rules that rule op of the given row points to; an empty one when there is none. */
static const struct schema_rule *nested_rules(const struct schema_rule *rules, enum schema_rule_op op)
{
    const struct schema_rule *rule = rules->op == SCHEMA_RULE_END ? NULL : rules_find(rules, op);

    return &schema_rules[rule ? rule->arg : 0];
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

static int64_t saturated_nanoseconds(int64_t seconds, int64_t nanos)
{
    int64_t result;

    if (__builtin_mul_overflow(seconds, CLOCK_NS_PER_S, &result) || __builtin_add_overflow(result, nanos, &result))
        return seconds < 0 ? INT64_MIN : INT64_MAX;
    return result;
}

/* Envoy refuses any duration that is negative or does not fit its nanoseconds, whatever the field's own rules. */
static int check_duration(struct checker *c, int64_t seconds, int64_t nanos)
{
    if (seconds < 0 || nanos < 0)
        return err_set(c->e, -EINVAL, NULL, "", "must not be a negative duration");
    if (seconds > DURATION_SECONDS_MAX || nanos > NANOS_MAX)
        return err_set(c->e, -EINVAL, NULL, "", "must be a duration of at most %" PRId64 "s", DURATION_SECONDS_MAX);
    return 0;
}

static int check_time(struct checker *c, const struct schema_message *m, const struct schema_rule *rules,
                      const struct field_value *v)
{
    bool timestamp = m->kind == SCHEMA_KIND_TIMESTAMP;
    struct field_value parts[2];
    int64_t seconds, nanos, now = 0;
    int r = 0;

    if (timestamp && rules->op == SCHEMA_RULE_END)
        return 0;
    fields_read_pair(m, v->data, v->len, parts);
    seconds = (int64_t)parts[0].number;
    nanos = (int64_t)parts[1].number;
    if (timestamp)
        now = (int64_t)(clock_wall() * (double)CLOCK_NS_PER_S);
    if (rules->op != SCHEMA_RULE_END)
        r = rules_check_time(rules, saturated_nanoseconds(seconds, nanos), now, c->e);
    return r == 0 && !timestamp && !c->rules_off ? check_duration(c, seconds, nanos) : r;
}

static int check_scalar(struct checker *c, const struct schema_field *f, const struct schema_rule *rules,
                        const struct field_value *v)
{
    if (f->type == SCHEMA_TYPE_STRING || f->type == SCHEMA_TYPE_BYTES)
        return rules->op == SCHEMA_RULE_END ? 0 : rules_check_text(f, rules, v->data, v->len, c->e);
    return rules->op == SCHEMA_RULE_END ? 0 : rules_check_number(f, rules, v->number, c->e);
}

/* The rules on a message as a whole, for the kinds that have any. Its bytes were checked before. */
static int check_known_kind(struct checker *c, const struct schema_message *m, const struct schema_rule *rules,
                            const struct field_value *v)
{
    struct field_value parts[2];

    switch (m->kind) {
    case SCHEMA_KIND_DURATION:
    case SCHEMA_KIND_TIMESTAMP:
        return check_time(c, m, rules, v);
    case SCHEMA_KIND_WRAPPER:
    case SCHEMA_KIND_ANY: /* the value, or the type's URL: field 1 either way */
        if (rules->op == SCHEMA_RULE_END)
            return 0;
        fields_read_pair(m, v->data, v->len, parts);
        return check_scalar(c, schema_field_at(m, 0), rules, &parts[0]);
    default:
        return 0;
    }
}

static int check_submessage(struct checker *c, const struct schema_field *f, const struct schema_rule *rules,
                            const struct field_value *v)
{
    const struct schema_message *m = schema_field_message(f);
    bool skip = rules->op != SCHEMA_RULE_END && rules_find(rules, SCHEMA_RULE_SKIP);
    int r;

    c->rules_off += skip;
    r = check_message(c, m, v->data, v->len);
    c->rules_off -= skip;
    return r < 0 ? r : check_known_kind(c, m, rules, v);
}

/* A value that is there, or the zero of a field that cannot be absent. */
static int check_value(struct checker *c, const struct schema_field *f, const struct schema_rule *rules,
                       const struct field_value *v)
{
    if (f->type == SCHEMA_TYPE_MESSAGE)
        return check_submessage(c, f, rules, v);
    if (f->type == SCHEMA_TYPE_STRING && !field_is_utf8(v->data, v->len))
        return malformed(c, "is not UTF-8");
    return check_scalar(c, f, rules, v);
}

/* ---- lists and maps -------------------------------------------------------------------------------------------- */

static void prefix_index(struct checker *c, size_t index)
{
    char text[32];

    snprintf(text, sizeof(text), "[%zu]", index);
    err_prefix_field(c->e, text);
}

static void prefix_key(struct checker *c, const struct schema_field *f, const struct field_value *key)
{
    _cleanup_(buf_clear) struct buf b;

    buf_init(&b, 0);
    buf_append_byte(&b, '[');
    if (f->type == SCHEMA_TYPE_STRING) {
        const char *text = key->len ? (const char *)key->data : "";
        buf_json_string(&b, text, utf8_cut(text, key->len, KEY_SHOWN_MAX));
    } else if (f->type == SCHEMA_TYPE_BOOL) {
        buf_append_str(&b, key->number ? "true" : "false");
    } else {
        buf_printf(&b, "%lld", (long long)key->number);
    }
    buf_append_byte(&b, ']');
    err_prefix_field(c->e, buf_cstr(&b));
}

static int check_entry(struct checker *c, const struct schema_field *f, const struct schema_rule *rules,
                       const struct field_value *v)
{
    const struct schema_message *entry = schema_field_message(f);
    const struct schema_field *key = schema_field_at(entry, FIELD_KEY - 1);
    struct field_value parts[2];
    int r;

    if (fields_read_pair(entry, v->data, v->len, parts) < 0)
        return malformed(c, "has an entry that is not well-formed");
    r = check_value(c, key, nested_rules(rules, SCHEMA_RULE_KEYS), &parts[0]);
    if (r == 0) {
        c->depth++; /* the entry is a message of its own */
        r = check_value(c, key + 1, nested_rules(rules, SCHEMA_RULE_VALUES), &parts[1]);
        c->depth--;
    }
    if (r < 0)
        prefix_key(c, key, &parts[0]);
    return r;
}

static int check_element(void *arg, const struct schema_field *f, size_t index, const struct field_value *v)
{
    struct checker *c = arg;
    const struct schema_rule *rules = rules_of(c, f->rules);
    int r;

    if (f->flags & SCHEMA_FIELD_MAP) {
        r = check_entry(c, f, rules, v);
    } else {
        r = check_value(c, f, nested_rules(rules, SCHEMA_RULE_ITEMS), v);
        if (r < 0)
            prefix_index(c, index);
    }
    if (r < 0)
        err_prefix_field(c->e, schema_text(f->name));
    return r;
}

static int collect_element(void *arg, const struct schema_field *f, size_t index, const struct field_value *v)
{
    struct field_value *values = arg;

    (void)f; /* the values are compared by their bytes or numbers, whatever their type */
    values[index] = *v;
    return 0;
}

static int compare_values(const void *a, const void *b)
{
    const struct field_value *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int difference = n ? memcmp(x->data, y->data, n) : 0;

    if (difference != 0)
        return difference;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int check_unique(struct checker *c, const struct fields *fields, const struct schema_field *f, size_t count)
{
    _cleanup_(mem_free_p) struct field_value *values = mem_array(struct field_value, count);

    fields_each(fields, f, collect_element, values);
    qsort(values, count, sizeof(*values), compare_values);
    for (size_t i = 1; i < count; i++) {
        if (compare_values(&values[i - 1], &values[i]) == 0)
            return err_set(c->e, -EINVAL, NULL, "", "must not have the same item twice");
    }
    return 0;
}

static int check_list(struct checker *c, const struct fields *fields, const struct schema_field *f, size_t count)
{
    const struct schema_rule *rules = rules_of(c, f->rules);
    int r;

    if (rules->op == SCHEMA_RULE_END)
        return 0;
    r = rules_check_count(rules, count, c->e);
    if (r == 0 && count > 1 && rules_find(rules, SCHEMA_RULE_UNIQUE))
        r = check_unique(c, fields, f, count);
    return r;
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

/* A singular message that stands in several records. */
static int check_pieces(struct checker *c, const struct fields *fields, const struct schema_field *f,
                        const struct schema_rule *rules)
{
    _cleanup_(buf_clear) struct buf scratch = {0};
    const struct field_value whole = fields_message(fields, f, &scratch);

    return check_value(c, f, rules, &whole);
}

static int check_field(struct checker *c, const struct fields *fields, const struct schema_field *f)
{
    const struct field_value *v = &fields->values[schema_field_index(fields->m, f)];
    const struct schema_rule *rules = rules_of(c, f->rules);

    if (f->flags & SCHEMA_FIELD_REPEATED)
        return check_list(c, fields, f, v->count);
    if (v->count == 0 && (f->flags & SCHEMA_FIELD_PRESENCE)) {
        if (f->oneof == SCHEMA_NO_ONEOF && rules->op == SCHEMA_RULE_REQUIRED)
            return err_set(c->e, -EINVAL, NULL, "", "is required");
        return 0;
    }
    if (v->count > 0 && (f->flags & SCHEMA_FIELD_DISALLOWED) && !c->rules_off)
        return err_set(c->e, -EINVAL, NULL, "", "is deprecated and not accepted by Envoy any more");
    if (v->count > 1 && f->type == SCHEMA_TYPE_MESSAGE)
        return check_pieces(c, fields, f, rules);
    return check_value(c, f, rules, v);
}

static int check_oneofs(struct checker *c, const struct fields *fields)
{
    const struct schema_message *m = fields->m;

    for (unsigned i = 0; i < m->n_oneofs; i++) {
        const struct schema_oneof *oneof = &schema_oneofs[m->first_oneof + i];
        _cleanup_(buf_clear) struct buf names = {0};
        if (!oneof->required || fields->members[i] != 0)
            continue;
        for (unsigned j = 0; j < m->n_fields; j++) {
            const struct schema_field *f = schema_field_at(m, j);
            if (f->oneof == i)
                buf_printf(&names, "%s%s", names.len ? ", " : "", schema_text(f->name));
        }
        return err_set(c->e, -EINVAL, NULL, schema_text(oneof->name), "is required: one of %s", buf_cstr(&names));
    }
    return 0;
}

/* The message within an Any. What the schema does not know is left alone: Envoy may know it, or never look at it. */
static int check_any(struct checker *c, const struct fields *fields)
{
    const struct field_value *url = &fields->values[FIELD_TYPE_URL - 1], *value = &fields->values[FIELD_VALUE - 1];
    const struct schema_message *m = url->len ? schema_find_url((const char *)url->data, url->len) : NULL;

    return m ? check_message(c, m, value->data, value->len) : 0;
}

static int check_fields(struct checker *c, const struct schema_message *m, const uint8_t *p, size_t n)
{
    struct fields fields;
    int r;

    r = fields_read(&fields, m, p, n, check_element, c, c->e);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < m->n_fields; i++) {
        const struct schema_field *f = schema_field_at(m, i);
        if (fields.values[i].count == 0 && f->rules == 0)
            continue; /* most fields of most messages */
        r = check_field(c, &fields, f);
        if (r < 0) {
            err_prefix_field(c->e, schema_text(f->name));
            return r;
        }
    }
    r = c->rules_off ? 0 : check_oneofs(c, &fields);
    if (r == 0 && m->kind == SCHEMA_KIND_ANY)
        r = check_any(c, &fields);
    return r;
}

static int check_message(struct checker *c, const struct schema_message *m, const uint8_t *p, size_t n)
{
    bool unchecked = m->flags & SCHEMA_MESSAGE_UNCHECKED;
    int r;

    if (c->depth == WIRE_DEPTH_MAX)
        return malformed(c, "is nested too deep");
    c->depth++;
    c->rules_off += unchecked;
    r = check_fields(c, m, p, n);
    c->rules_off -= unchecked;
    c->depth--;
    return r;
}

int validate_wire(const uint8_t *wire, size_t n, const struct schema_message *type, struct err *e)
{
    struct checker c = {.e = e};

    return check_message(&c, type, wire, n);
}
