/*
 * A message's fields as its wire bytes give them: one pass over the records, the last record of a singular field and
 * the last member of a oneof in force, elements of lists and maps handed over as they come. What is written as
 * another type than the schema's is an unknown field, as to every protobuf reader, and left out. Pure.
 */
#ifndef PROTO_FIELDS_H
#define PROTO_FIELDS_H

#include "base/buf.h"
#include "base/err.h"
#include "proto/wire.h"

/* A value, or the state of a field. The bytes are borrowed from what is read. */
struct field_value {
    const uint8_t *data; /* of strings, bytes, messages and map entries */
    size_t len;
    uint64_t number; /* of all others, in 64 bits as wire.h has it */
    uint32_t count;  /* records, or elements of a list; 0: absent */
};

struct fields {
    const struct schema_message *m;
    struct wire whole;
    struct field_value values[SCHEMA_FIELDS_MAX]; /* the first m->n_fields are in use, sorted as in the schema */
    uint8_t members[SCHEMA_ONEOFS_MAX];           /* the index of each oneof's member, and one; 0: none is set */
};

/* Called for each element of a repeated field, index counting from 0, and each entry of a map. */
typedef int (*fields_element_fn)(void *arg, const struct schema_field *f, size_t index, const struct field_value *v);

/* 0; -EBADMSG with an empty field path; or the first non-zero that the element's function returned. */
int fields_read(struct fields *ret, const struct schema_message *m, const uint8_t *p, size_t n,
                fields_element_fn element, void *arg, struct err *e);
/* Calls element for each of a repeated field once more. The bytes were read before. */
int fields_each(const struct fields *fields, const struct schema_field *f, fields_element_fn element, void *arg);
/*
 * The bytes of a singular message: what stands in several records is one behind the other, and put together in
 * scratch, which the caller owns.
 */
struct field_value fields_message(const struct fields *fields, const struct schema_field *f, struct buf *scratch);
/* Fields 1 and 2 of a message with singular fields only (a map's entry, an Any, a Duration, ...); -EBADMSG. */
int fields_read_pair(const struct schema_message *m, const uint8_t *p, size_t n, struct field_value ret[2]);
/* Whether a string's bytes are UTF-8, as proto3 demands. */
bool field_is_utf8(const uint8_t *p, size_t n);

#endif
