/*
 * The request decoder: a reader of protobuf's wire format (protobuf.dev, "Encoding") over a bounded range, and the
 * two messages as switches over field numbers. A first pass checks the whole message and notes where each repeated
 * field begins and ends; the lists are walked afterwards without checks, since the first pass made them.
 *
 * Groups (wire types 3 and 4) are refused: no xDS message has one, and skipping them would take a stack.
 */
#include "server/xds_decode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LEN = 2, WIRE_32 = 5 };
enum { VARINT_BYTES_MAX = 10 };

struct reader {
    const uint8_t *p, *end;
};

struct field {
    unsigned number;
    enum wire_type type;
    struct xds_span bytes; /* of WIRE_LEN */
    const uint8_t *start;  /* its tag */
};

static bool read_varint(struct reader *r, uint64_t *ret)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        uint8_t byte;

        if (r->p == r->end)
            return false;
        byte = *r->p++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool skip(struct reader *r, size_t n)
{
    if (n > (size_t)(r->end - r->p))
        return false;
    r->p += n;
    return true;
}

/* The bytes of a field at p, when they are of that number and both it and their length take one byte; else NULL. */
static inline const uint8_t *short_bytes(const uint8_t *p, const uint8_t *end, unsigned field, size_t *ret_n)
{
    if (field > 15 || end - p < 2 || p[0] != (field << 3 | WIRE_LEN) || p[1] > 0x7f || p[1] > end - p - 2)
        return NULL;
    *ret_n = p[1];
    return p + 2;
}

/* 1, 0 at the end of the range, or -EBADMSG. */
/* lint: complex because the usual field has a way of its own, which is most of the cost of a request */
static int read_field(struct reader *r, struct field *ret)
{
    const uint8_t *bytes;
    uint64_t tag, n;
    size_t length;

    if (r->p == r->end)
        return 0;
    ret->start = r->p;
    ret->bytes = (struct xds_span){0};
    /* Nearly all: a small field number and a short text. */
    ret->number = r->p[0] >> 3;
    if (ret->number > 0 && (bytes = short_bytes(r->p, r->end, ret->number, &length)) != NULL) {
        ret->type = WIRE_LEN;
        ret->bytes = (struct xds_span){(const char *)bytes, length};
        r->p = bytes + length;
        return 1;
    }
    if (!read_varint(r, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
        return -EBADMSG;
    ret->number = (unsigned)(tag >> 3);
    ret->type = (enum wire_type)(tag & 7);
    switch (tag & 7) {
    case WIRE_VARINT:
        return read_varint(r, &n) ? 1 : -EBADMSG;
    case WIRE_64:
        return skip(r, 8) ? 1 : -EBADMSG;
    case WIRE_32:
        return skip(r, 4) ? 1 : -EBADMSG;
    case WIRE_LEN:
        if (!read_varint(r, &n) || n > (uint64_t)(r->end - r->p))
            return -EBADMSG;
        ret->bytes = (struct xds_span){(const char *)r->p, (size_t)n};
        r->p += n;
        return 1;
    default:
        return -EBADMSG;
    }
}

/* p may be NULL when n is 0. */
static struct reader reader_over(const uint8_t *p, size_t n)
{
    return (struct reader){p, n ? p + n : p};
}

static struct reader reader_of(struct xds_span s)
{
    return reader_over((const uint8_t *)s.p, s.n);
}

/* An entry as everybody writes it: a short key, then a short value, and nothing else. */
static bool read_pair(struct xds_span entry, struct xds_span *ret_key, struct xds_span *ret_value)
{
    const uint8_t *p = (const uint8_t *)entry.p, *end = p + entry.n, *key, *value;
    size_t key_len, value_len;

    key = entry.n > 0 ? short_bytes(p, end, 1, &key_len) : NULL;
    value = key ? short_bytes(key + key_len, end, 2, &value_len) : NULL;
    if (!value || value + value_len != end)
        return false;
    *ret_key = (struct xds_span){(const char *)key, key_len};
    *ret_value = (struct xds_span){(const char *)value, value_len};
    return true;
}

/* An entry of a map: key = 1, value = 2. 0 or -EBADMSG. */
static int decode_entry(struct xds_span bytes, struct xds_span *ret_key, struct xds_span *ret_value)
{
    struct reader r = reader_of(bytes);
    struct field f;
    int more;

    if (read_pair(bytes, ret_key, ret_value))
        return 0;
    *ret_key = *ret_value = (struct xds_span){0};
    while ((more = read_field(&r, &f)) > 0) {
        if (f.type == WIRE_LEN && f.number == 1)
            *ret_key = f.bytes;
        else if (f.type == WIRE_LEN && f.number == 2)
            *ret_value = f.bytes;
    }
    return more;
}

/* Of google.protobuf.Value: string_value = 3. */
static int decode_value(struct xds_span bytes, struct xds_span *ret_text)
{
    struct reader r = reader_of(bytes);
    struct field f;
    int more;

    while ((more = read_field(&r, &f)) > 0)
        if (f.type == WIRE_LEN && f.number == 3)
            *ret_text = f.bytes;
    return more;
}

/* Of google.protobuf.Struct: fields = 1, a map of Value. */
static int decode_metadata(struct xds_span bytes, struct xds_node *node)
{
    struct reader r = reader_of(bytes);
    struct field f;
    int more;

    while ((more = read_field(&r, &f)) > 0) {
        struct xds_span key, value;

        if (f.type != WIRE_LEN || f.number != 1)
            continue;
        if (decode_entry(f.bytes, &key, &value) < 0)
            return -EBADMSG;
        if (!xds_span_is(key, "gateway"))
            continue;
        node->gateway = (struct xds_span){0};
        if (decode_value(value, &node->gateway) < 0)
            return -EBADMSG;
    }
    return more;
}

/* envoy.config.core.v3.Node */
static int decode_node(struct xds_span bytes, struct xds_node *node)
{
    struct reader r = reader_of(bytes);
    struct field f;
    int more;

    node->present = true;
    while ((more = read_field(&r, &f)) > 0) {
        if (f.type != WIRE_LEN)
            continue;
        switch (f.number) {
        case 1:
            node->id = f.bytes;
            break;
        case 2:
            node->cluster = f.bytes;
            break;
        case 3:
            if (decode_metadata(f.bytes, node) < 0)
                return -EBADMSG;
            break;
        case 6:
            node->agent_name = f.bytes;
            break;
        case 7:
        case 8:
            node->agent_version = f.bytes;
            node->is_build_version = f.number == 8;
            break;
        default:
            break;
        }
    }
    return more;
}

/* envoy.type.v3.SemanticVersion: major_number = 1, minor_number = 2, patch = 3 */
static int decode_semantic_version(struct xds_span bytes, uint64_t ret_numbers[3])
{
    struct reader r = reader_of(bytes);
    uint64_t tag, number;

    while (r.p < r.end) {
        if (!read_varint(&r, &tag) || (tag & 7) != WIRE_VARINT || !read_varint(&r, &number))
            return -EBADMSG;
        if (tag >> 3 >= 1 && tag >> 3 <= 3)
            ret_numbers[(tag >> 3) - 1] = number;
    }
    return 0;
}

/* The sum of the digests of a map's entries (field 1), in whatever order. */
static int digest_entries(struct xds_span bytes, uint64_t *sum)
{
    struct reader r = reader_of(bytes);
    struct field f;
    int more;

    while ((more = read_field(&r, &f)) > 0)
        if (f.type == WIRE_LEN && f.number == 1)
            *sum += hash_bytes(f.bytes.p ? f.bytes.p : "", f.bytes.n);
    return more;
}

int xds_decode_build_version(struct xds_span bytes, uint64_t ret_numbers[3], uint64_t *ret_digest)
{
    struct reader r = reader_of(bytes);
    uint64_t sum = 0;
    struct field f;
    int more;

    memset(ret_numbers, 0, 3 * sizeof(ret_numbers[0]));
    while ((more = read_field(&r, &f)) > 0) {
        if (f.type != WIRE_LEN)
            continue;
        if (f.number == 1 && decode_semantic_version(f.bytes, ret_numbers) < 0)
            return -EBADMSG;
        if (f.number == 2 && digest_entries(f.bytes, &sum) < 0)
            return -EBADMSG;
    }
    *ret_digest = hash_seeded(ret_numbers, 3 * sizeof(ret_numbers[0]), sum);
    return more;
}

/* google.rpc.Status: message = 2 */
static int decode_status(struct xds_span bytes, struct xds_request *ret)
{
    struct reader r = reader_of(bytes);
    struct field f;
    int more;

    ret->refused = true;
    while ((more = read_field(&r, &f)) > 0)
        if (f.type == WIRE_LEN && f.number == 2)
            ret->words = f.bytes;
    return more;
}

/* Takes in what follows an entry as long as it is short entries of the same list: nearly all of a long request. */
static void add_alike(struct xds_list *list, struct reader *r)
{
    const uint8_t *bytes;
    size_t n;

    static_assert(XDS_NAME_MAX > 0x7f, "a short entry is no name that is too long");
    while (list->count < XDS_NAMES_MAX && (bytes = short_bytes(r->p, r->end, list->field, &n))) {
        r->p = bytes + n;
        list->count++;
    }
    list->end = r->p;
}

static int add_entry(struct xds_list *list, const struct field *f, struct reader *r, struct err *e)
{
    if (list->count == 0) {
        list->p = f->start;
        list->field = f->number;
        list->contiguous = true;
    } else if (f->start != list->end) {
        list->contiguous = false;
    }
    list->end = r->p;
    if (++list->count > XDS_NAMES_MAX)
        return err_set(e, -E2BIG, NULL, "resource_names", "more than %d names in one request", XDS_NAMES_MAX);
    add_alike(list, r);
    return 0;
}

static int add_name(struct xds_list *list, const struct field *f, struct reader *r, struct err *e)
{
    if (f->bytes.n > XDS_NAME_MAX)
        return err_set(e, -E2BIG, NULL, "resource_names", "a name of %zu bytes; at most %d are allowed", f->bytes.n,
                       XDS_NAME_MAX);
    return add_entry(list, f, r, e);
}

static int malformed(struct err *e, const char *field)
{
    return err_set(e, -EBADMSG, NULL, field, "not a valid protobuf message");
}

/* Whether the entries of resource_names that begin at p are the bytes that a memo remembers, and nothing more. */
static int match_memo(const uint8_t *p, const uint8_t *end, const struct xds_memo *memos, int n_memos)
{
    uint8_t tag = p[0];

    for (int i = 0; i < n_memos; i++) {
        size_t n = memos[i].length;
        struct xds_memo h;

        if (n == 0 || n > (size_t)(end - p) || (p + n < end && p[n] == tag))
            continue;
        h = (struct xds_memo){.length = n, .hash = hash_bytes128(p, n)};
        if (xds_same_memo(&h, &memos[i]))
            return i;
    }
    return -1;
}

/* lint: complex because each field of the message is one case, and all are short */
int xds_decode_sotw(const uint8_t *p, size_t n, const struct xds_memo *memos, int n_memos, struct xds_request *ret,
                    struct err *e)
{
    struct reader r = reader_over(p, n);
    struct field f;
    int more, failed = 0;

    *ret = (struct xds_request){.memo = -1};
    while (failed == 0 && (more = read_field(&r, &f)) > 0) {
        if (f.type != WIRE_LEN)
            continue;
        switch (f.number) {
        case 1:
            ret->version = f.bytes;
            break;
        case 2:
            failed = decode_node(f.bytes, &ret->node) < 0 ? malformed(e, "node") : 0;
            break;
        case 3:
            if (ret->names.count == 0 && n_memos > 0) {
                ret->memo = match_memo(f.start, r.end, memos, n_memos);
                if (ret->memo >= 0) {
                    r.p = f.start + memos[ret->memo].length;
                    ret->names = (struct xds_list){.p = f.start, .end = r.p, .field = 3, .contiguous = true};
                    n_memos = 0;
                    continue;
                }
                n_memos = 0;
            }
            /* More names behind a list that was recognized: it is another list after all. */
            if (ret->memo >= 0)
                return xds_decode_sotw(p, n, NULL, 0, ret, e);
            failed = add_name(&ret->names, &f, &r, e);
            break;
        case 4:
            ret->type_url = f.bytes;
            break;
        case 5:
            ret->nonce = f.bytes;
            break;
        case 6:
            failed = decode_status(f.bytes, ret) < 0 ? malformed(e, "error_detail") : 0;
            break;
        default:
            break;
        }
    }
    if (failed)
        return failed;
    return more < 0 ? malformed(e, NULL) : 0;
}

int xds_decode_delta(const uint8_t *p, size_t n, struct xds_request *ret, struct err *e)
{
    struct reader r = reader_over(p, n);
    struct field f;
    int more, failed = 0;

    *ret = (struct xds_request){.memo = -1};
    while (failed == 0 && (more = read_field(&r, &f)) > 0) {
        if (f.type != WIRE_LEN)
            continue;
        switch (f.number) {
        case 1:
            failed = decode_node(f.bytes, &ret->node) < 0 ? malformed(e, "node") : 0;
            break;
        case 2:
            ret->type_url = f.bytes;
            break;
        case 3:
            failed = add_name(&ret->names, &f, &r, e);
            break;
        case 4:
            failed = add_name(&ret->unsubscribe, &f, &r, e);
            break;
        case 5:
            failed = add_entry(&ret->versions, &f, &r, e);
            break;
        case 6:
            ret->nonce = f.bytes;
            break;
        case 7:
            failed = decode_status(f.bytes, ret) < 0 ? malformed(e, "error_detail") : 0;
            break;
        default:
            break;
        }
    }
    if (failed)
        return failed;
    return more < 0 ? malformed(e, NULL) : 0;
}

struct xds_memo xds_list_memo(const struct xds_list *list)
{
    size_t n = (size_t)(list->end - list->p);

    if (!list->contiguous || n < XDS_MEMO_MIN)
        return (struct xds_memo){0};
    return (struct xds_memo){.length = n, .hash = hash_bytes128(list->p, n)};
}

/* The next entry of the list's field, whatever lies between. */
static bool next_entry(struct xds_list *list, struct xds_span *ret)
{
    const uint8_t *bytes = short_bytes(list->p, list->end, list->field, &ret->n);
    struct reader r = {list->p, list->end};
    struct field f;

    if (bytes) {
        ret->p = (const char *)bytes;
        list->p = bytes + ret->n;
        return true;
    }
    while (read_field(&r, &f) > 0)
        if (f.type == WIRE_LEN && f.number == list->field) {
            list->p = r.p;
            *ret = f.bytes;
            return true;
        }
    list->p = list->end;
    return false;
}

bool xds_list_next(struct xds_list *list, struct xds_span *ret)
{
    return next_entry(list, ret);
}

int xds_map_next(struct xds_list *list, struct xds_span *ret_key, struct xds_span *ret_value)
{
    struct xds_span bytes;

    if (!next_entry(list, &bytes))
        return 0;
    if (decode_entry(bytes, ret_key, ret_value) < 0)
        return -EBADMSG;
    return ret_key->n > XDS_NAME_MAX || ret_value->n > XDS_NAME_MAX ? -E2BIG : 1;
}
