/* protobuf's wire format: records in, records out. No byte beyond the given ones is ever looked at. */
#include "proto/wire.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>

enum { FIELD_NUMBER_MAX = (1 << 29) - 1, TYPE_BITS = 3 };

static int read_varint(struct wire *w, uint64_t *ret)
{
    uint64_t value = 0;
    const uint8_t *p = w->p;

    for (unsigned i = 0; i < WIRE_VARINT_MAX && p < w->end; i++) {
        uint8_t byte = *p++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            w->p = p;
            *ret = value;
            return 0;
        }
    }
    return -EBADMSG;
}

static int read_fixed(struct wire *w, size_t n, uint64_t *ret)
{
    uint64_t value = 0;

    if ((size_t)(w->end - w->p) < n)
        return -EBADMSG;
    memcpy(&value, w->p, n);
    w->p += n;
    *ret = le64toh(value);
    return 0;
}

static int read_bytes(struct wire *w, struct wire_record *ret)
{
    uint64_t len;

    if (read_varint(w, &len) < 0 || len > (uint64_t)(w->end - w->p))
        return -EBADMSG;
    ret->data = w->p;
    ret->len = (size_t)len;
    w->p += len;
    return 0;
}

int wire_next(struct wire *w, struct wire_record *ret)
{
    uint64_t tag;
    int r;

    if (w->p == w->end)
        return 0;
    r = read_varint(w, &tag);
    if (r < 0 || tag >> TYPE_BITS == 0 || tag >> TYPE_BITS > FIELD_NUMBER_MAX)
        return -EBADMSG;
    ret->number = (uint32_t)(tag >> TYPE_BITS);
    ret->type = (enum wire_type)(tag & ((1 << TYPE_BITS) - 1));
    switch (ret->type) {
    case WIRE_VARINT:
        r = read_varint(w, &ret->value);
        break;
    case WIRE_FIXED64:
        r = read_fixed(w, sizeof(uint64_t), &ret->value);
        break;
    case WIRE_FIXED32:
        r = read_fixed(w, sizeof(uint32_t), &ret->value);
        break;
    case WIRE_BYTES:
        r = read_bytes(w, ret);
        break;
    default:
        return -EBADMSG;
    }
    return r < 0 ? r : 1;
}

enum wire_type wire_type_of(enum schema_type type)
{
    switch (type) {
    case SCHEMA_TYPE_DOUBLE:
    case SCHEMA_TYPE_FIXED64:
    case SCHEMA_TYPE_SFIXED64:
        return WIRE_FIXED64;
    case SCHEMA_TYPE_FLOAT:
    case SCHEMA_TYPE_FIXED32:
    case SCHEMA_TYPE_SFIXED32:
        return WIRE_FIXED32;
    case SCHEMA_TYPE_STRING:
    case SCHEMA_TYPE_BYTES:
    case SCHEMA_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

int wire_read_packed(struct wire *w, enum schema_type type, uint64_t *ret)
{
    switch (wire_type_of(type)) {
    case WIRE_FIXED64:
        return read_fixed(w, sizeof(uint64_t), ret);
    case WIRE_FIXED32:
        return read_fixed(w, sizeof(uint32_t), ret);
    default:
        return read_varint(w, ret);
    }
}

static uint64_t unzigzag(uint64_t v)
{
    return (v >> 1) ^ (0 - (v & 1));
}

uint64_t wire_scalar(enum schema_type type, uint64_t written)
{
    float f;
    uint32_t low = (uint32_t)written;

    switch (type) {
    case SCHEMA_TYPE_FLOAT:
        memcpy(&f, &low, sizeof(f));
        return wire_from_double((double)f);
    case SCHEMA_TYPE_BOOL:
        return written != 0;
    case SCHEMA_TYPE_INT32:
    case SCHEMA_TYPE_ENUM:
    case SCHEMA_TYPE_SFIXED32:
        return (uint64_t)(int64_t)(int32_t)low;
    case SCHEMA_TYPE_UINT32:
    case SCHEMA_TYPE_FIXED32:
        return low;
    case SCHEMA_TYPE_SINT32:
        return (uint64_t)(int64_t)(int32_t)unzigzag(low);
    case SCHEMA_TYPE_SINT64:
        return unzigzag(written);
    default:
        return written;
    }
}

static size_t encode_varint(uint64_t value, uint8_t bytes[WIRE_VARINT_MAX])
{
    size_t n = 0;

    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    return n;
}

void wire_put_varint(struct buf *b, uint64_t value)
{
    uint8_t bytes[WIRE_VARINT_MAX];

    buf_append(b, bytes, encode_varint(value, bytes));
}

void wire_put_tag(struct buf *b, uint32_t number, enum wire_type type)
{
    wire_put_varint(b, (uint64_t)number << TYPE_BITS | type);
}

void wire_put_bytes(struct buf *b, uint32_t number, const void *p, size_t n)
{
    wire_put_tag(b, number, WIRE_BYTES);
    wire_put_varint(b, n);
    buf_append(b, p, n);
}

static void put_fixed(struct buf *b, uint64_t value, size_t n)
{
    value = htole64(value);
    buf_append(b, &value, n);
}

void wire_put_scalar(struct buf *b, enum schema_type type, uint64_t value)
{
    float f;
    uint32_t bits;

    switch (type) {
    case SCHEMA_TYPE_FLOAT:
        f = (float)wire_double(value);
        memcpy(&bits, &f, sizeof(bits));
        put_fixed(b, bits, sizeof(bits));
        break;
    case SCHEMA_TYPE_FIXED32:
    case SCHEMA_TYPE_SFIXED32:
        put_fixed(b, value, sizeof(uint32_t));
        break;
    case SCHEMA_TYPE_DOUBLE:
    case SCHEMA_TYPE_FIXED64:
    case SCHEMA_TYPE_SFIXED64:
        put_fixed(b, value, sizeof(uint64_t));
        break;
    case SCHEMA_TYPE_SINT32:
    case SCHEMA_TYPE_SINT64:
        wire_put_varint(b, value << 1 ^ (0 - (value >> 63)));
        break;
    default:
        assert(wire_type_of(type) == WIRE_VARINT);
        wire_put_varint(b, value);
    }
}

size_t wire_begin(struct buf *b)
{
    buf_append_byte(b, 0); /* most lengths need one byte; wire_end() makes room for more */
    return b->len;
}

void wire_end(struct buf *b, size_t begin)
{
    uint8_t length[WIRE_VARINT_MAX];
    size_t n;

    if (b->overflow)
        return;
    n = encode_varint(b->len - begin, length);
    if (!buf_reserve(b, n - 1))
        return;
    memmove(b->data + begin + n - 1, b->data + begin, b->len - begin);
    memcpy(b->data + begin - 1, length, n);
    b->len += n - 1;
}
