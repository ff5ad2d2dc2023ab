/* One pass over a message's records, for all that read messages by the schema. */
#include "proto/fields.h"

#include "base/utf8.h"

#include <errno.h>

/* A member of a oneof takes the place of the one before. */
static void take_singular(struct fields *fields, const struct schema_field *f, const struct wire_record *record)
{
    unsigned i = schema_field_index(fields->m, f);
    struct field_value *v = &fields->values[i];

    if (f->oneof != SCHEMA_NO_ONEOF) {
        unsigned before = fields->members[f->oneof];
        if (before != 0 && before != i + 1)
            fields->values[before - 1] = (struct field_value){0};
        fields->members[f->oneof] = (uint8_t)(i + 1);
    }
    if (record->type == WIRE_BYTES) {
        v->data = record->data;
        v->len = record->len;
    } else {
        v->number = wire_scalar(f->type, record->value);
    }
    v->count++;
}

static int malformed_list(const struct schema_field *f, struct err *e)
{
    return err_set(e, -EBADMSG, NULL, schema_text(f->name), "is not a well-formed list");
}

/* The elements of one record of a repeated field, packed or not; *count counts them. */
static int take_elements(const struct schema_field *f, const struct wire_record *record, uint32_t *count,
                         fields_element_fn element, void *arg, struct err *e)
{
    struct field_value v = {.count = 1};
    struct wire packed = {record->data, record->data};
    enum wire_type type = wire_type_of(f->type);
    int r = 0;

    if (record->type == type) {
        if (type == WIRE_BYTES) {
            v.data = record->data;
            v.len = record->len;
        } else {
            v.number = wire_scalar(f->type, record->value);
        }
        return element(arg, f, (*count)++, &v);
    }
    if (record->type != WIRE_BYTES)
        return 0;
    packed.end += record->len;
    while (packed.p < packed.end && r == 0) {
        if (wire_read_packed(&packed, f->type, &v.number) < 0)
            return malformed_list(f, e);
        v.number = wire_scalar(f->type, v.number);
        r = element(arg, f, (*count)++, &v);
    }
    return r;
}

static int malformed_message(const struct schema_message *m, struct err *e)
{
    return err_set(e, -EBADMSG, NULL, "", "is not a well-formed %s", schema_name(m));
}

int fields_read(struct fields *ret, const struct schema_message *m, const uint8_t *p, size_t n,
                fields_element_fn element, void *arg, struct err *e)
{
    struct wire w = {p, n ? p + n : p};
    struct wire_record record;
    int r;

    ret->m = m;
    ret->whole = w;
    memset(ret->values, 0, m->n_fields * sizeof(ret->values[0]));
    memset(ret->members, 0, sizeof(ret->members));
    while ((r = wire_next(&w, &record)) == 1) {
        const struct schema_field *f = schema_field_by_number(m, record.number);
        if (!f)
            continue;
        if (f->flags & SCHEMA_FIELD_REPEATED) {
            r = take_elements(f, &record, &ret->values[schema_field_index(m, f)].count, element, arg, e);
            if (r != 0)
                return r;
        } else if (record.type == wire_type_of(f->type)) {
            take_singular(ret, f, &record);
        }
    }
    return r < 0 ? malformed_message(m, e) : 0;
}

int fields_each(const struct fields *fields, const struct schema_field *f, fields_element_fn element, void *arg)
{
    struct wire w = fields->whole;
    struct wire_record record;
    uint32_t count = 0;
    int r = 0;

    while (r == 0 && wire_next(&w, &record) == 1) {
        if (record.number == f->number)
            r = take_elements(f, &record, &count, element, arg, NULL);
    }
    return r;
}

struct field_value fields_message(const struct fields *fields, const struct schema_field *f, struct buf *scratch)
{
    const struct field_value *v = &fields->values[schema_field_index(fields->m, f)];
    struct wire w = fields->whole;
    struct wire_record record;

    if (v->count <= 1)
        return *v;
    while (wire_next(&w, &record) == 1) {
        if (record.number == f->number && record.type == WIRE_BYTES)
            buf_append(scratch, record.data, record.len);
    }
    return (struct field_value){.data = scratch->data, .len = scratch->len, .count = 1};
}

int fields_read_pair(const struct schema_message *m, const uint8_t *p, size_t n, struct field_value ret[2])
{
    struct wire w = {p, n ? p + n : p};
    struct wire_record record;
    int r;

    ret[0] = ret[1] = (struct field_value){0};
    while ((r = wire_next(&w, &record)) == 1) {
        const struct schema_field *f = record.number <= 2 ? schema_field_by_number(m, record.number) : NULL;
        struct field_value *v;
        if (!f || record.type != wire_type_of(f->type))
            continue;
        v = &ret[record.number - 1];
        *v = (struct field_value){.count = 1};
        if (record.type == WIRE_BYTES) {
            v->data = record.data;
            v->len = record.len;
        } else {
            v->number = wire_scalar(f->type, record.value);
        }
    }
    return r;
}

bool field_is_utf8(const uint8_t *p, size_t n)
{
    size_t i = 0;
    uint64_t eight;

    for (; n - i >= sizeof(eight); i += sizeof(eight)) {
        memcpy(&eight, p + i, sizeof(eight));
        if (eight & UINT64_C(0x8080808080808080))
            break;
    }
    return i == n || utf8_prefix((const char *)p + i, n - i) == n - i;
}
