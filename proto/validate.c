/*
 * Walks the wire bytes of a message along the schema and holds each value against its rules.
 *
 * One pass over the records of a message notes the singular fields (the last record of a field counts, the last member
 * of a oneof too, as in every protobuf reader) and checks the elements of lists and maps as they come; then the fields
 * are looked at in the order of their numbers, absent ones included, as a rule may refuse a zero. Recursion ends at
 * WIRE_DEPTH_MAX. Nothing is allocated unless a singular message comes in several pieces, or elements must be unique.
 */
#include "proto/validate.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "proto/rules.h"
#include "proto/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KEY_SHOWN_MAX = 64,
    FIELD_KEY = 1,
    FIELD_VALUE = 2,
    FIELD_TYPE_URL = 1,
    NANOS_MAX = 999999999,
};
#define DURATION_SECONDS_MAX INT64_C(315576000000) /* of google.protobuf.Duration: 10,000 years */

struct checker {
    struct err *e;
    unsigned depth;
    unsigned rules_off; /* within a message whose rules do not count, only the bytes are checked */
};

/* A field of the message at hand: the last record of a singular one, the number of elements of others. */
struct value {
    const uint8_t *data;
    size_t len;
    uint64_t number; /* in 64 bits as wire.h has it */
    uint32_t count;  /* records; 0: absent */
};

struct frame {
    const struct schema_message *m;
    struct wire whole;
    struct value values[SCHEMA_FIELDS_MAX];
    uint8_t members[SCHEMA_ONEOFS_MAX]; /* which field of each oneof is set: its index and one, 0: none */
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

/* ---- values ----------------------------------------------------------------------------------------------------- */

static bool is_utf8(const uint8_t *p, size_t n)
{
    size_t i = 0;
    uint64_t eight;

    for (; n - i >= sizeof(eight); i += sizeof(eight)) {
        memcpy(&eight, p + i, sizeof(eight));
        if (eight & UINT64_C(0x8080808080808080))
            break;
    }
    return utf8_prefix((const char *)p + i, n - i) == n - i;
}

/* The last records of fields 1 and 2; the caller's values stay where there is none. The bytes are known to be good. */
static void read_pair(const struct schema_message *m, const uint8_t *p, size_t n, struct value ret[2])
{
    struct wire w = {p, n ? p + n : p};
    struct wire_record record;

    while (wire_next(&w, &record) == 1) {
        const struct schema_field *f = schema_field_by_number(m, record.number);
        if (!f || record.number > 2 || record.type != wire_type_of(f->type))
            continue;
        ret[record.number - 1] = (struct value){.data = record.data, .len = record.len, .count = 1};
        if (record.type != WIRE_BYTES)
            ret[record.number - 1].number = wire_scalar(f->type, record.value);
    }
}

static int64_t saturated_nanoseconds(int64_t seconds, int64_t nanos)
{
    int64_t result;

    if (__builtin_mul_overflow(seconds, CLOCK_NS_PER_S, &result) || __builtin_add_overflow(result, nanos, &result))
        return seconds < 0 ? INT64_MIN : INT64_MAX;
    return result;
}

static int check_time(struct checker *c, const struct schema_message *m, const struct schema_rule *rules,
                      const struct value *v)
{
    struct value parts[2] = {0};
    int64_t seconds, nanos, now;

    read_pair(m, v->data, v->len, parts);
    seconds = (int64_t)parts[0].number;
    nanos = (int64_t)parts[1].number;
    rules += rules->op == SCHEMA_RULE_REQUIRED;
    if (m->kind == SCHEMA_KIND_DURATION && rules->op != SCHEMA_RULE_END &&
        (nanos > NANOS_MAX || nanos < -NANOS_MAX || seconds > DURATION_SECONDS_MAX ||
         seconds < -DURATION_SECONDS_MAX))
        return err_set(c->e, -EINVAL, NULL, "", "is not a valid duration");
    now = m->kind == SCHEMA_KIND_TIMESTAMP ? (int64_t)(clock_wall() * (double)CLOCK_NS_PER_S) : 0;
    return rules_check_time(rules, saturated_nanoseconds(seconds, nanos), now, c->e);
}

static int check_scalar(struct checker *c, const struct schema_field *f, const struct schema_rule *rules,
                        const struct value *v)
{
    if (f->type == SCHEMA_TYPE_STRING || f->type == SCHEMA_TYPE_BYTES)
        return rules->op == SCHEMA_RULE_END ? 0 : rules_check_text(f, rules, v->data, v->len, c->e);
    return rules->op == SCHEMA_RULE_END ? 0 : rules_check_number(f, rules, v->number, c->e);
}

/* The rules on a message as a whole, for the kinds that have any. Its bytes were checked before. */
static int check_known_kind(struct checker *c, const struct schema_message *m, const struct schema_rule *rules,
                            const struct value *v)
{
    struct value parts[2] = {0};
    const struct schema_field *first = m->n_fields ? schema_field_at(m, 0) : NULL;

    switch (m->kind) {
    case SCHEMA_KIND_DURATION:
    case SCHEMA_KIND_TIMESTAMP:
        return check_time(c, m, rules, v);
    case SCHEMA_KIND_WRAPPER:
        read_pair(m, v->data, v->len, parts);
        return check_scalar(c, first, rules, &parts[0]);
    case SCHEMA_KIND_ANY:
        read_pair(m, v->data, v->len, parts);
        return check_scalar(c, first, rules, &parts[FIELD_TYPE_URL - 1]);
    default:
        return 0;
    }
}

static int check_submessage(struct checker *c, const struct schema_field *f, const struct schema_rule *rules,
                            const struct value *v)
{
    const struct schema_message *m = schema_field_message(f);
    bool skip = rules->op != SCHEMA_RULE_END && rules_find(rules, SCHEMA_RULE_SKIP);
    int r;

    c->rules_off += skip;
    r = check_message(c, m, v->data, v->len);
    c->rules_off -= skip;
    if (r < 0 || rules->op == SCHEMA_RULE_END)
        return r;
    return check_known_kind(c, m, rules, v);
}

/* A value that is there, or the zero of a field that cannot be absent. */
static int check_value(struct checker *c, const struct schema_field *f, const struct schema_rule *rules,
                       const struct value *v)
{
    if (f->type == SCHEMA_TYPE_MESSAGE)
        return check_submessage(c, f, rules, v);
    if (f->type == SCHEMA_TYPE_STRING && !is_utf8(v->data, v->len))
        return malformed(c, "is not UTF-8");
    return check_scalar(c, f, rules, v);
}

/* ---- lists and maps --------------------------------------------------------------------------------------------- */

static void prefix_index(struct checker *c, size_t index)
{
    char text[32];

    snprintf(text, sizeof(text), "[%zu]", index);
    err_prefix_field(c->e, text);
}

static void prefix_key(struct checker *c, const struct schema_field *f, const struct value *key)
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
                       const struct value *v)
{
    const struct schema_message *entry = schema_field_message(f);
    const struct schema_field *key = schema_field_at(entry, FIELD_KEY - 1);
    struct wire w = {v->data, v->len ? v->data + v->len : v->data};
    struct wire_record record;
    struct value parts[2] = {0};
    int r;

    do {
        r = wire_next(&w, &record);
    } while (r == 1);
    if (r < 0)
        return malformed(c, "is not a well-formed entry of a map");
    read_pair(entry, v->data, v->len, parts);
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

static int check_element(struct checker *c, const struct schema_field *f, struct value *list, const struct value *v)
{
    const struct schema_rule *rules = rules_of(c, f->rules);
    int r;

    if (f->flags & SCHEMA_FIELD_MAP) {
        r = check_entry(c, f, rules, v);
    } else {
        r = check_value(c, f, nested_rules(rules, SCHEMA_RULE_ITEMS), v);
        if (r < 0)
            prefix_index(c, list->count);
    }
    list->count++;
    return r;
}

/* Called for each element of a repeated field, packed or not. */
typedef int (*element_fn)(void *arg, const struct schema_field *f, const struct value *v);

static int each_of_record(const struct schema_field *f, const struct wire_record *record, element_fn fn, void *arg)
{
    struct value v = {.data = record->data, .len = record->len, .count = 1};
    struct wire packed;
    enum wire_type type = wire_type_of(f->type);
    int r = 0;

    if (record->type == type) {
        if (type != WIRE_BYTES)
            v = (struct value){.number = wire_scalar(f->type, record->value), .count = 1};
        return fn(arg, f, &v);
    }
    if (record->type != WIRE_BYTES)
        return 0;
    packed = (struct wire){record->data, record->data + record->len};
    v = (struct value){.count = 1};
    while (packed.p < packed.end && r == 0) {
        r = wire_read_packed(&packed, f->type, &v.number);
        if (r < 0)
            return r;
        v.number = wire_scalar(f->type, v.number);
        r = fn(arg, f, &v);
    }
    return r;
}

struct element_check {
    struct checker *c;
    struct value *list;
};

static int element_check(void *arg, const struct schema_field *f, const struct value *v)
{
    struct element_check *check = arg;

    return check_element(check->c, f, check->list, v);
}

struct elements {
    struct value *values;
    size_t count;
};

static int element_collect(void *arg, const struct schema_field *f, const struct value *v)
{
    struct elements *all = arg;

    (void)f; /* the values are compared as they were written */
    all->values[all->count++] = *v;
    return 0;
}

static int compare_values(const void *a, const void *b)
{
    const struct value *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int difference = n ? memcmp(x->data, y->data, n) : 0;

    if (difference != 0)
        return difference;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int check_unique(struct checker *c, const struct frame *fr, const struct schema_field *f, size_t count)
{
    _cleanup_(mem_free_p) struct value *values = mem_array(struct value, count);
    struct elements all = {values, 0};
    struct wire w = fr->whole;
    struct wire_record record;

    while (wire_next(&w, &record) == 1) {
        if (record.number == f->number)
            each_of_record(f, &record, element_collect, &all);
    }
    qsort(values, all.count, sizeof(*values), compare_values);
    for (size_t i = 1; i < all.count; i++) {
        if (compare_values(&values[i - 1], &values[i]) == 0)
            return err_set(c->e, -EINVAL, NULL, "", "must not have the same item twice");
    }
    return 0;
}

static int check_list(struct checker *c, const struct frame *fr, const struct schema_field *f, size_t count)
{
    const struct schema_rule *rules = rules_of(c, f->rules);
    int r;

    if (rules->op == SCHEMA_RULE_END)
        return 0;
    r = rules_check_count(rules, count, c->e);
    if (r == 0 && count > 1 && rules_find(rules, SCHEMA_RULE_UNIQUE))
        r = check_unique(c, fr, f, count);
    return r;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

/* Notes a singular field's record; a member of a oneof takes the place of the one before. */
static void take_singular(struct frame *fr, const struct schema_field *f, const struct wire_record *record)
{
    unsigned i = schema_field_index(fr->m, f);
    struct value *v = &fr->values[i];

    if (f->oneof != SCHEMA_NO_ONEOF) {
        unsigned before = fr->members[f->oneof];
        if (before != 0 && before != i + 1)
            fr->values[before - 1] = (struct value){0};
        fr->members[f->oneof] = (uint8_t)(i + 1);
    }
    if (record->type == WIRE_BYTES) {
        v->data = record->data;
        v->len = record->len;
    } else {
        v->number = wire_scalar(f->type, record->value);
    }
    v->count++;
}

static int take_record(struct checker *c, struct frame *fr, const struct wire_record *record)
{
    const struct schema_field *f = schema_field_by_number(fr->m, record->number);
    struct element_check check;
    int r;

    if (!f)
        return 0;
    if (!(f->flags & SCHEMA_FIELD_REPEATED)) {
        /* What is written as another type is an unknown field to every reader. */
        if (record->type == wire_type_of(f->type))
            take_singular(fr, f, record);
        return 0;
    }
    check = (struct element_check){c, &fr->values[schema_field_index(fr->m, f)]};
    r = each_of_record(f, record, element_check, &check);
    if (r < 0) {
        if (r == -EBADMSG && c->e && c->e->code == 0)
            malformed(c, "is not a well-formed list");
        err_prefix_field(c->e, schema_text(f->name));
    }
    return r;
}

/* A singular message that came in several pieces is what they give one behind the other. */
static int check_pieces(struct checker *c, const struct frame *fr, const struct schema_field *f)
{
    _cleanup_(buf_clear) struct buf whole;
    struct wire w = fr->whole;
    struct wire_record record;

    buf_init(&whole, 0);
    while (wire_next(&w, &record) == 1) {
        if (record.number == f->number && record.type == WIRE_BYTES)
            buf_append(&whole, record.data, record.len);
    }
    return check_value(c, f, rules_of(c, f->rules),
                       &(struct value){.data = whole.data, .len = whole.len, .count = 1});
}

static int check_field(struct checker *c, const struct frame *fr, const struct schema_field *f, const struct value *v)
{
    const struct schema_rule *rules = rules_of(c, f->rules);

    if (f->flags & SCHEMA_FIELD_REPEATED)
        return check_list(c, fr, f, v->count);
    if (v->count == 0 && (f->flags & SCHEMA_FIELD_PRESENCE)) {
        if (f->oneof == SCHEMA_NO_ONEOF && rules->op == SCHEMA_RULE_REQUIRED)
            return err_set(c->e, -EINVAL, NULL, "", "is required");
        return 0;
    }
    if (v->count > 0 && (f->flags & SCHEMA_FIELD_DISALLOWED) && !c->rules_off)
        return err_set(c->e, -EINVAL, NULL, "", "is deprecated and not accepted by Envoy any more");
    if (v->count > 1 && f->type == SCHEMA_TYPE_MESSAGE)
        return check_pieces(c, fr, f);
    return check_value(c, f, rules, v);
}

static int check_oneofs(struct checker *c, const struct frame *fr)
{
    const struct schema_message *m = fr->m;

    for (unsigned i = 0; i < m->n_oneofs; i++) {
        const struct schema_oneof *oneof = &schema_oneofs[m->first_oneof + i];
        _cleanup_(buf_clear) struct buf names = {0};
        if (!oneof->required || fr->members[i] != 0)
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
static int check_any(struct checker *c, const struct frame *fr)
{
    const struct value *url = &fr->values[0], *value = &fr->values[1];
    const struct schema_message *m = url->len ? schema_find_url((const char *)url->data, url->len) : NULL;

    return m ? check_message(c, m, value->data, value->len) : 0;
}

static int check_frame(struct checker *c, struct frame *fr)
{
    struct wire w = fr->whole;
    struct wire_record record;
    int r;

    while ((r = wire_next(&w, &record)) == 1) {
        r = take_record(c, fr, &record);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return malformed(c, "is not a well-formed message");
    for (unsigned i = 0; i < fr->m->n_fields; i++) {
        const struct schema_field *f = schema_field_at(fr->m, i);
        r = check_field(c, fr, f, &fr->values[i]);
        if (r < 0) {
            err_prefix_field(c->e, schema_text(f->name));
            return r;
        }
    }
    if (!c->rules_off) {
        r = check_oneofs(c, fr);
        if (r < 0)
            return r;
    }
    return fr->m->kind == SCHEMA_KIND_ANY ? check_any(c, fr) : 0;
}

static int check_message(struct checker *c, const struct schema_message *m, const uint8_t *p, size_t n)
{
    struct frame fr;
    bool unchecked = m->flags & SCHEMA_MESSAGE_UNCHECKED;
    int r;

    if (c->depth == WIRE_DEPTH_MAX)
        return malformed(c, "is nested too deep");
    fr.m = m;
    fr.whole = (struct wire){p, n ? p + n : p};
    memset(fr.values, 0, m->n_fields * sizeof(fr.values[0]));
    memset(fr.members, 0, sizeof(fr.members));
    c->depth++;
    c->rules_off += unchecked;
    r = check_frame(c, &fr);
    c->rules_off -= unchecked;
    c->depth--;
    return r;
}

int validate_wire(const uint8_t *wire, size_t n, const struct schema_message *type, struct err *e)
{
    struct err unset;
    struct checker c = {.e = e ? e : &unset};

    c.e->code = 0;
    c.e->field[0] = '\0';
    return check_message(&c, type, wire, n);
}
