/*
 * protobuf's wire format (https://protobuf.dev/programming-guides/encoding/): reading it record by record out of
 * bytes that nobody vouched for, and writing it. Pure; nothing is copied when reading.
 *
 * A scalar travels through this project as 64 bits, whatever its type: integers extended by their sign or by zeros,
 * bool as 0 or 1, float and double as the bits of a double.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "base/buf.h"
#include "proto/schema.h"

#include <string.h>

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2, /* length-delimited */
    WIRE_FIXED32 = 5,
};

enum {
    WIRE_VARINT_MAX = 10, /* bytes */
    /* How deep messages may be nested, through Any too: protobuf's own default, and more than anybody writes. */
    WIRE_DEPTH_MAX = 100,
};

/* What is still to be read. */
struct wire {
    const uint8_t *p, *end;
};

struct wire_record {
    uint32_t number;
    enum wire_type type;
    uint64_t value;      /* of the three numeric types, as it was written */
    const uint8_t *data; /* of WIRE_BYTES, within what is read */
    size_t len;
};

/* 1 and the record; 0 at the end; -EBADMSG. Groups, which proto3 does not have, are a fault too. */
int wire_next(struct wire *w, struct wire_record *ret);
/* One element of a packed field of that type, as it was written. 0 or -EBADMSG. */
int wire_read_packed(struct wire *w, enum schema_type type, uint64_t *ret);

/* How a field of that type is written, outside of a packed one. */
enum wire_type wire_type_of(enum schema_type type);
/* From what was written to the value's 64 bits. */
uint64_t wire_scalar(enum schema_type type, uint64_t written);

static inline double wire_double(uint64_t value)
{
    double d;

    memcpy(&d, &value, sizeof(d));
    return d;
}
static inline uint64_t wire_from_double(double d)
{
    uint64_t value;

    memcpy(&value, &d, sizeof(value));
    return value;
}

/*
 * Writing. A buffer at its maximum takes nothing more: the caller looks at its overflow once, at the end.
 */
void wire_put_varint(struct buf *b, uint64_t value);
void wire_put_tag(struct buf *b, uint32_t number, enum wire_type type);
void wire_put_bytes(struct buf *b, uint32_t number, const void *p, size_t n);
/* The value only, in 64 bits as above. */
void wire_put_scalar(struct buf *b, enum schema_type type, uint64_t value);
/* What is written between the two calls gets its length in front. begin returns what end needs. */
size_t wire_begin(struct buf *b);
void wire_end(struct buf *b, size_t begin);

#endif
