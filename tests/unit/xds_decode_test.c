/*
 * The bounded decoder of xDS requests. Messages come from protobuf-c where it can make them, and byte by byte where
 * they are wrong or unusual. Each is decoded from a heap copy of exactly its size, so that a read behind its end is
 * seen by the address sanitizer.
 */
#include "server/xds_decode.h"

#include "base/buf.h"
#include "base/mem.h"
#include "server/xds_stream.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_wire.h"

#include <errno.h>
#include <string.h>

enum { VARINT = 0, FIXED64 = 1, LEN = 2, GROUP_BEGIN = 3, GROUP_END = 4, FIXED32 = 5 };

/* Fields of DiscoveryRequest and of DeltaDiscoveryRequest. */
enum { VERSION = 1, NODE = 2, NAMES = 3, TYPE_URL = 4, NONCE = 5, ERROR_DETAIL = 6 };
enum {
    DELTA_NODE = 1,
    DELTA_TYPE_URL = 2,
    DELTA_SUBSCRIBE = 3,
    DELTA_UNSUBSCRIBE = 4,
    DELTA_VERSIONS = 5,
    DELTA_NONCE = 6,
    DELTA_ERROR_DETAIL = 7,
};
enum { NODE_ID = 1, NODE_CLUSTER = 2, NODE_METADATA = 3, NODE_AGENT_NAME = 6, NODE_AGENT_VERSION = 7 };
enum { NODE_BUILD_VERSION = 8 };

#define WRONG_TYPE_URL "type.example/Listener"
#define SPAN_OF(b) ((struct xds_span){(const char *)(b)->data, (b)->len})

/* ---- making messages ---- */

static void put_varint(struct buf *b, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_append_byte(b, (uint8_t)(value | 0x80));
    buf_append_byte(b, (uint8_t)value);
}

static void put_tag(struct buf *b, unsigned field, unsigned type)
{
    put_varint(b, (uint64_t)field << 3 | type);
}

static void put_bytes(struct buf *b, unsigned field, const void *p, size_t n)
{
    put_tag(b, field, LEN);
    put_varint(b, n);
    buf_append(b, p, n);
}

static void put_text(struct buf *b, unsigned field, const char *text)
{
    put_bytes(b, field, text, strlen(text));
}

/* Moves the message into a field of another one. */
static void put_message(struct buf *b, unsigned field, struct buf *message)
{
    put_bytes(b, field, message->data, message->len);
    buf_clear(message);
}

/* One field of each wire type that the messages do not have. */
static void put_unknown(struct buf *b)
{
    put_tag(b, 900, VARINT);
    put_varint(b, UINT64_MAX);
    put_tag(b, 901, FIXED64);
    buf_append(b, "\x1a\x04wxyz2", 8);
    put_tag(b, 902, FIXED32);
    buf_append(b, "\x1a\x02wx", 4);
    put_text(b, 536870911, "\x1a\x02hi"); /* the highest number that a field can have */
}

static void put_names(struct buf *b, unsigned field, const char *prefix, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        _cleanup_(mem_free_p) char *name = mem_printf("%s%zu", prefix, i);

        put_text(b, field, name);
    }
}

/* The node with a Value of any form under a key of its metadata. */
static void put_node_value(struct buf *b, unsigned field, const char *key, struct buf *value)
{
    struct buf entry = {0}, metadata = {0}, node = {0};

    put_text(&entry, 1, key);
    put_message(&entry, 2, value);
    put_message(&metadata, 1, &entry);
    put_message(&node, NODE_METADATA, &metadata);
    put_message(b, field, &node);
}

/* ---- decoding ---- */

/* A decoded copy: what was decoded points into it. */
struct decoded {
    uint8_t *bytes;
    size_t len;
    struct xds_request request;
    struct err e;
    int code;
};

static void decode(struct decoded *d, enum xds_variant variant, const void *p, size_t n, const struct xds_memo *memos,
                   int n_memos)
{
    mem_free(d->bytes);
    *d = (struct decoded){.bytes = n ? mem_dup(p, n) : NULL, .len = n};
    if (variant == XDS_DELTA)
        d->code = xds_decode_delta(d->bytes, n, &d->request, &d->e);
    else
        d->code = xds_decode_sotw(d->bytes, n, memos, n_memos, &d->request, &d->e);
    CHECK_INT(d->code, d->e.code);
}

static void decode_buf(struct decoded *d, enum xds_variant variant, const struct buf *b)
{
    decode(d, variant, b->data, b->len, NULL, 0);
}

static void decoded_clear(struct decoded *d)
{
    mem_free(d->bytes);
}

#define _decoded_ __attribute__((cleanup(decoded_clear)))
#define _buf_ __attribute__((cleanup(buf_clear)))

#define CHECK_SPAN(span, text) CHECK_MEM((span).p, (span).n, (text), strlen(text))

static bool inside(const struct decoded *d, const void *p, size_t n)
{
    const uint8_t *at = p;

    return n == 0 || (at >= d->bytes && n <= d->len && (size_t)(at - d->bytes) <= d->len - n);
}

static void check_list(const struct decoded *d, struct xds_list list)
{
    bool recognized = d->request.memo >= 0 && list.p == d->request.names.p;
    struct xds_span s, value;
    size_t n = 0;

    if (list.field == DELTA_VERSIONS) {
        for (int more; (more = xds_map_next(&list, &s, &value)) != 0; n++)
            CHECK(more < 0 || (inside(d, s.p, s.n) && inside(d, value.p, value.n)));
    } else {
        for (; xds_list_next(&list, &s); n++)
            CHECK(inside(d, s.p, s.n) && s.n <= XDS_NAME_MAX);
    }
    CHECK(recognized || n == list.count);
}

/* All that was decoded lies in the message, and the lists hold as many entries as was said. */
static void check_bounds(const struct decoded *d)
{
    const struct xds_request *r = &d->request;
    const struct xds_span spans[] = {
        r->node.id,  r->node.cluster, r->node.gateway, r->node.agent_name, r->node.agent_version,
        r->type_url, r->nonce,        r->version,      r->words,
    };

    for (size_t i = 0; i < ARRAY_LEN(spans); i++)
        CHECK(inside(d, spans[i].p, spans[i].n));
    check_list(d, r->names);
    check_list(d, r->unsubscribe);
    check_list(d, r->versions);
}

static void check_next(struct xds_list *list, const char *text)
{
    struct xds_span s;

    CHECK(xds_list_next(list, &s));
    CHECK_SPAN(s, text);
}

static void check_next_pair(struct xds_list *list, const char *key, const char *value)
{
    struct xds_span k, v;

    CHECK_INT(xds_map_next(list, &k, &v), 1);
    CHECK_SPAN(k, key);
    CHECK_SPAN(v, value);
}

static void check_end(struct xds_list list)
{
    struct xds_span s, value;

    CHECK(!xds_list_next(&list, &s));
    CHECK(!xds_list_next(&list, &s));
    CHECK_INT(xds_map_next(&list, &s, &value), 0);
}

static const char *const three_names[] = {"a", "route/b", "", NULL};
static const struct wire_request full_request = {
    .type_url = WRONG_TYPE_URL,
    .version = "41",
    .nonce = "n-7",
    .names = three_names,
    .unsubscribe = (const char *const[]){"gone", "old", NULL},
    .have = (const char *const[]){"x", "y", NULL},
    .have_versions = (const char *const[]){"v1", "", NULL},
    .refusal = "Proto constraint",
    .node_id = "node-1",
    .node_cluster = "edge",
    .node_gateway = "ns/gw1",
};

static uint8_t *pack_full(enum xds_variant variant, size_t *ret_len)
{
    return wire_pack(variant, &full_request, ret_len);
}

static void check_common(const struct xds_request *r)
{
    CHECK_SPAN(r->type_url, WRONG_TYPE_URL);
    CHECK(xds_span_is(r->type_url, WRONG_TYPE_URL));
    CHECK(!xds_span_is(r->type_url, "type.example/Listene"));
    CHECK(!xds_span_is(r->type_url, "type.example/listener"));
    CHECK_SPAN(r->nonce, "n-7");
    CHECK(r->refused);
    CHECK_SPAN(r->words, "Proto constraint");
    CHECK(r->node.present);
    CHECK_SPAN(r->node.id, "node-1");
    CHECK_SPAN(r->node.cluster, "edge");
    CHECK_SPAN(r->node.gateway, "ns/gw1");
    CHECK_INT(r->memo, -1);
}

static void check_three_names(struct xds_list names)
{
    CHECK_INT(names.count, 3);
    CHECK(names.contiguous);
    check_next(&names, "a");
    check_next(&names, "route/b");
    check_next(&names, "");
    check_end(names);
}

/* ---- what is read ---- */

TEST(every_field_of_a_state_of_the_world_request_is_read)
{
    _decoded_ struct decoded d = {0};
    size_t n;
    _cleanup_(mem_free_p) uint8_t *bytes = pack_full(XDS_SOTW, &n);

    decode(&d, XDS_SOTW, bytes, n, NULL, 0);
    CHECK_INT(d.code, 0);
    check_common(&d.request);
    CHECK_SPAN(d.request.version, "41");
    check_three_names(d.request.names);
    CHECK_INT(d.request.unsubscribe.count + d.request.versions.count, 0);
    check_bounds(&d);
}

TEST(every_field_of_an_incremental_request_is_read)
{
    _decoded_ struct decoded d = {0};
    size_t n;
    _cleanup_(mem_free_p) uint8_t *bytes = pack_full(XDS_DELTA, &n);
    struct xds_list list;

    decode(&d, XDS_DELTA, bytes, n, NULL, 0);
    CHECK_INT(d.code, 0);
    check_common(&d.request);
    CHECK_INT(d.request.version.n, 0);
    check_three_names(d.request.names);
    list = d.request.unsubscribe;
    CHECK_INT(list.count, 2);
    check_next(&list, "gone");
    check_next(&list, "old");
    check_end(list);
    list = d.request.versions;
    CHECK_INT(list.count, 2);
    check_next_pair(&list, "x", "v1");
    check_next_pair(&list, "y", "");
    check_end(list);
    check_bounds(&d);
}

TEST(an_empty_message_is_a_request_without_anything)
{
    for (int variant = 0; variant < 2; variant++) {
        _decoded_ struct decoded d = {0};

        decode(&d, variant ? XDS_DELTA : XDS_SOTW, NULL, 0, NULL, 0);
        CHECK_INT(d.code, 0);
        CHECK(!d.request.node.present && !d.request.refused);
        CHECK_INT(d.request.type_url.n + d.request.nonce.n + d.request.names.count, 0);
        CHECK_INT(d.request.memo, -1);
        check_end(d.request.names);
        CHECK_INT(xds_list_memo(&d.request.names).length, 0);
    }
}

TEST(an_empty_error_detail_is_a_refusal_and_an_empty_node_is_present)
{
    _decoded_ struct decoded d = {0};

    decode(&d, XDS_SOTW, "\x12\0\x32\0", 4, NULL, 0);
    CHECK_INT(d.code, 0);
    CHECK(d.request.refused && d.request.node.present);
    CHECK_INT(d.request.words.n + d.request.node.id.n, 0);
    decode(&d, XDS_DELTA, "\x0a\0\x3a\0", 4, NULL, 0);
    CHECK_INT(d.code, 0);
    CHECK(d.request.refused && d.request.node.present);
}

TEST(the_agents_name_and_version_are_read_in_both_forms)
{
    for (unsigned field = NODE_AGENT_VERSION; field <= NODE_BUILD_VERSION; field++) {
        _buf_ struct buf b = {0};
        _decoded_ struct decoded d = {0};
        struct buf node = {0};

        put_text(&node, NODE_AGENT_NAME, "envoy");
        put_text(&node, field, "1.2.3");
        put_message(&b, NODE, &node);
        decode_buf(&d, XDS_SOTW, &b);
        CHECK_INT(d.code, 0);
        CHECK_SPAN(d.request.node.agent_name, "envoy");
        CHECK_SPAN(d.request.node.agent_version, "1.2.3");
    }
}

TEST(unknown_fields_are_skipped_at_every_depth)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct buf value = {0}, entry = {0}, metadata = {0}, node = {0}, status = {0};
    struct xds_list names;

    put_unknown(&value);
    put_text(&value, 3, "gw");
    put_unknown(&value);
    put_unknown(&entry);
    put_text(&entry, 1, "gateway");
    put_message(&entry, 2, &value);
    put_unknown(&metadata);
    put_message(&metadata, 1, &entry);
    put_unknown(&node);
    put_text(&node, NODE_ID, "id");
    put_message(&node, NODE_METADATA, &metadata);
    put_unknown(&status);
    put_text(&status, 2, "words");
    put_unknown(&b);
    put_message(&b, NODE, &node);
    put_message(&b, ERROR_DETAIL, &status);
    put_text(&b, NAMES, "one");
    put_unknown(&b);
    put_text(&b, NAMES, "two");
    put_unknown(&b);
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    CHECK_SPAN(d.request.node.id, "id");
    CHECK_SPAN(d.request.node.gateway, "gw");
    CHECK_SPAN(d.request.words, "words");
    names = d.request.names;
    CHECK_INT(names.count, 2);
    CHECK(!names.contiguous);
    check_next(&names, "one");
    check_next(&names, "two");
    check_end(names);
}

TEST(fields_of_a_wrong_wire_type_are_unknown_fields)
{
    static const uint8_t types[] = {VARINT, FIXED64, FIXED32};

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (int variant = 0; variant < 2; variant++) {
            _buf_ struct buf b = {0};
            _decoded_ struct decoded d = {0};

            for (unsigned field = 1; field <= 7; field++) {
                put_tag(&b, field, types[i]);
                buf_append(&b, "\0\0\0\0\0\0\0\0", types[i] == VARINT ? 1 : types[i] == FIXED64 ? 8 : 4);
            }
            decode_buf(&d, variant ? XDS_DELTA : XDS_SOTW, &b);
            CHECK_INT(d.code, 0);
            CHECK(!d.request.node.present && !d.request.refused && d.request.names.count == 0);
            CHECK_INT(d.request.type_url.n + d.request.unsubscribe.count + d.request.versions.count, 0);
        }
}

TEST(inside_a_node_fields_of_a_wrong_wire_type_are_unknown_fields)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct buf metadata = {0}, node = {0};

    put_tag(&metadata, 1, VARINT); /* the first of all: nothing was read before it */
    put_varint(&metadata, 7);
    put_tag(&metadata, 1, FIXED32);
    buf_append(&metadata, "\x0a\x07ga", 4);
    put_message(&node, NODE_METADATA, &metadata);
    for (unsigned field = 1; field <= 8; field++) {
        put_tag(&node, field, VARINT);
        put_varint(&node, 300);
    }
    put_message(&b, NODE, &node);
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    CHECK(d.request.node.present);
    CHECK_INT(d.request.node.id.n + d.request.node.gateway.n + d.request.node.agent_version.n, 0);
}

TEST(of_a_field_that_is_there_twice_the_last_counts)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};

    put_text(&b, NONCE, "first");
    put_text(&b, TYPE_URL, "first");
    put_text(&b, NONCE, "second");
    put_text(&b, TYPE_URL, "second");
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    CHECK_SPAN(d.request.nonce, "second");
    CHECK_SPAN(d.request.type_url, "second");
}

TEST(only_a_text_under_the_key_gateway_is_the_gateway)
{
    static const char *const others[] = {"", "gatewa", "gateway2", "Gateway"};
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct buf value = {0};

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        put_text(&value, 3, "gw");
        put_node_value(&b, NODE, others[i], &value);
    }
    put_tag(&value, 4, VARINT); /* a bool */
    put_varint(&value, 1);
    put_node_value(&b, NODE, "gateway", &value);
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    CHECK(d.request.node.present);
    CHECK_INT(d.request.node.gateway.n, 0);
    put_text(&value, 3, "gw");
    put_node_value(&b, NODE, "gateway", &value);
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    CHECK_SPAN(d.request.node.gateway, "gw");
}

TEST(a_key_of_the_metadata_without_a_value_is_no_gateway)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct buf entry = {0}, metadata = {0}, node = {0};

    put_text(&entry, 1, "gateway");
    put_message(&metadata, 1, &entry);
    put_bytes(&metadata, 1, "", 0);
    put_message(&node, NODE_METADATA, &metadata);
    put_message(&b, NODE, &node);
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    CHECK_INT(d.request.node.gateway.n, 0);
}

TEST(entries_of_a_map_may_lack_their_key_or_value_or_have_them_in_any_order)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct buf entry = {0};
    struct xds_list list;

    put_bytes(&b, DELTA_VERSIONS, "", 0);
    put_text(&entry, 2, "v");
    put_unknown(&entry);
    put_text(&entry, 1, "k");
    put_message(&b, DELTA_VERSIONS, &entry);
    put_text(&entry, 1, "only");
    put_message(&b, DELTA_VERSIONS, &entry);
    decode_buf(&d, XDS_DELTA, &b);
    CHECK_INT(d.code, 0);
    list = d.request.versions;
    CHECK_INT(list.count, 3);
    check_next_pair(&list, "", "");
    check_next_pair(&list, "k", "v");
    check_next_pair(&list, "only", "");
    check_end(list);
}

TEST(lists_that_alternate_are_walked_apart)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct xds_list names, gone;

    put_text(&b, DELTA_SUBSCRIBE, "a");
    put_text(&b, DELTA_UNSUBSCRIBE, "b");
    put_text(&b, DELTA_SUBSCRIBE, "c");
    put_text(&b, DELTA_UNSUBSCRIBE, "d");
    decode_buf(&d, XDS_DELTA, &b);
    CHECK_INT(d.code, 0);
    names = d.request.names;
    gone = d.request.unsubscribe;
    CHECK(!names.contiguous && !gone.contiguous);
    check_next(&names, "a");
    check_next(&gone, "b");
    check_next(&names, "c");
    check_next(&gone, "d");
    check_end(names);
    check_end(gone);
}

TEST(names_are_bytes_valid_utf8_or_not)
{
    static const char *const names[] = {"\xff\xfe", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "caf\xc3\xa9"};
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct xds_list list;
    struct xds_span s;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        put_text(&b, NAMES, names[i]);
    put_bytes(&b, NAMES, "a\0b", 3);
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    list = d.request.names;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        check_next(&list, names[i]);
    CHECK(xds_list_next(&list, &s));
    CHECK_MEM(s.p, s.n, "a\0b", 3);
    CHECK(!xds_span_is(s, "a"));
    check_end(list);
}

/* ---- what is refused ---- */

TEST(a_message_cut_anywhere_is_an_error_or_a_shorter_message)
{
    for (int variant = 0; variant < 2; variant++) {
        size_t n, accepted = 0;
        _cleanup_(mem_free_p) uint8_t *bytes = pack_full(variant ? XDS_DELTA : XDS_SOTW, &n);

        for (size_t cut = 0; cut < n; cut++) {
            _decoded_ struct decoded d = {0};

            decode(&d, variant ? XDS_DELTA : XDS_SOTW, bytes, cut, NULL, 0);
            CHECK(d.code == 0 || d.code == -EBADMSG);
            accepted += d.code == 0;
            if (d.code == 0)
                check_bounds(&d);
        }
        /* Before each of its fields: version, node, three names, type, nonce; or node, type, three names, two to
         * leave, two versions, nonce; and one before the error that is last. */
        CHECK_INT(accepted, variant ? 11 : 8);
    }
}

TEST(any_byte_changed_keeps_what_is_decoded_inside)
{
    static const uint8_t values[] = {0, 1, 0x0a, 0x12, 0x1a, 0x7f, 0x80, 0xff};

    for (int variant = 0; variant < 2; variant++) {
        size_t n;
        _cleanup_(mem_free_p) uint8_t *bytes = pack_full(variant ? XDS_DELTA : XDS_SOTW, &n);

        for (size_t at = 0; at < n; at++)
            for (size_t i = 0; i < ARRAY_LEN(values); i++) {
                _decoded_ struct decoded d = {0};
                uint8_t was = bytes[at];

                bytes[at] = values[i];
                decode(&d, variant ? XDS_DELTA : XDS_SOTW, bytes, n, NULL, 0);
                bytes[at] = was;
                CHECK(d.code == 0 || d.code == -EBADMSG);
                if (d.code == 0)
                    check_bounds(&d);
            }
    }
}

struct bad {
    const char *bytes;
    size_t n;
};

TEST(what_is_no_message_is_refused)
{
#define BAD(text)                                                                                                    \
    {                                                                                                                \
        text, sizeof(text) - 1                                                                                       \
    }
    static const struct bad bad[] = {
        BAD("\x1a"),                                                         /* no length */
        BAD("\x80"),                                                         /* a tag that does not end */
        BAD("\x1a\x80"),                                                     /* a length that does not end */
        BAD("\x1a\x01"),                                                     /* longer than what is there */
        BAD("\x1a\xff\xff\xff\xff\x0f"),                                     /* 4 GiB */
        BAD("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7fxxxx"),                 /* 8 EiB */
        BAD("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01xxxx"),             /* all 64 bits */
        BAD("\x38\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),             /* a varint of 11 bytes */
        BAD("\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* a longer one */
        BAD("\x9a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),             /* the same for a tag */
        BAD("\x1a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),             /* and for a length */
        BAD("\x00\x00"),                                                     /* field 0 */
        BAD("\x02\x00"),                                                     /* field 0, with a length */
        BAD("\x9a\x80\x80\x80\x10\x00"),                                     /* a number above 2^29 - 1 */
        BAD("\x39\0\0\0\0\0\0\0"),                                           /* 7 bytes of 8 */
        BAD("\x3d\0\0\0"),                                                   /* 3 bytes of 4 */
        BAD("\x3b\x3c"),                                                     /* a group */
        BAD("\x3c"),                                                         /* the end of one */
        BAD("\x1e\x00"),                                                     /* wire types that do not exist */
        BAD("\x1f\x00"),
    };
#undef BAD

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        for (int variant = 0; variant < 2; variant++) {
            _decoded_ struct decoded d = {0};

            decode(&d, variant ? XDS_DELTA : XDS_SOTW, bad[i].bytes, bad[i].n, NULL, 0);
            if (d.code != -EBADMSG)
                test_fail(__FILE__, __LINE__, "message %zu, variant %d: %d", i, variant, d.code);
        }
}

/* A message that is bad in each place that is looked into. */
TEST(a_bad_message_inside_is_refused_and_its_field_named)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct buf value = {0};

    put_text(&b, NODE, "\x0a\x05id");
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, -EBADMSG);
    CHECK(strstr(d.e.field, "node") != NULL);
    buf_reset(&b);
    put_text(&b, NODE, "\x1a\x03\x0a\x05\x0a"); /* in an entry of the metadata */
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, -EBADMSG);
    buf_reset(&b);
    buf_append_str(&value, "\x1a\x09gw");
    put_node_value(&b, DELTA_NODE, "gateway", &value);
    decode_buf(&d, XDS_DELTA, &b);
    CHECK_INT(d.code, -EBADMSG);
    buf_reset(&b);
    put_text(&b, ERROR_DETAIL, "\x12\x05no");
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, -EBADMSG);
    CHECK(strstr(d.e.field, "error_detail") != NULL);
}

TEST(a_bad_entry_of_a_map_is_told_when_it_is_reached)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct xds_span key, value;
    struct xds_list list;
    struct buf entry = {0};

    put_text(&entry, 1, "k");
    put_message(&b, DELTA_VERSIONS, &entry);
    put_text(&b, DELTA_VERSIONS, "\x0a\x05no");
    decode_buf(&d, XDS_DELTA, &b);
    CHECK_INT(d.code, 0);
    list = d.request.versions;
    CHECK_INT(list.count, 2);
    check_next_pair(&list, "k", "");
    CHECK_INT(xds_map_next(&list, &key, &value), -EBADMSG);
    check_end(list);
}

TEST(an_inner_length_cannot_reach_into_what_follows_its_message)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};

    put_text(&b, NODE,
             "\x0a\x08"
             "id"); /* 8 bytes are there, but in the next field */
    put_text(&b, NONCE, "123456789");
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, -EBADMSG);
}

/* ---- depth and size ---- */

/* Puts a tag and the length of what is there already before it, in room that is filled from its end. */
static void put_before(uint8_t *room, size_t *at, size_t end, unsigned field)
{
    uint8_t head[16];
    size_t n = 0;

    head[n++] = (uint8_t)(field << 3 | LEN);
    for (size_t len = end - *at; n == 1 || head[n - 1] & 0x80; len >>= 7)
        head[n++] = (uint8_t)((len & 0x7f) | (len >= 0x80 ? 0x80 : 0));
    CHECK(n <= *at);
    *at -= n;
    memcpy(room + *at, head, n);
}

/* A Value that is a list of one list of one list...: at least that many bytes. */
static void put_deep_value(struct buf *b, size_t bytes)
{
    size_t end = bytes + 64, at = end;
    _cleanup_(mem_free_p) uint8_t *room = mem_alloc(end);

    while (end - at < bytes) {
        put_before(room, &at, end, 1); /* ListValue.values */
        put_before(room, &at, end, 6); /* Value.list_value */
    }
    buf_append(b, room + at, end - at);
}

TEST(metadata_of_any_depth_is_skipped_without_a_stack)
{
    static const size_t sizes[] = {42u << 10, 1u << 20};
    static const char *const keys[] = {"other", "gateway"};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            _buf_ struct buf b = {0};
            _decoded_ struct decoded d = {0};
            struct buf value = {0};

            put_deep_value(&value, sizes[i]);
            CHECK(value.len >= sizes[i]);
            put_node_value(&b, NODE, keys[k], &value);
            put_text(&b, NONCE, "behind");
            decode_buf(&d, XDS_SOTW, &b);
            CHECK_INT(d.code, 0);
            CHECK_INT(d.request.node.gateway.n, 0);
            CHECK_SPAN(d.request.nonce, "behind");
        }
}

TEST(groups_in_groups_are_refused_at_the_first)
{
    enum { DEEP = 1 << 20 };
    _cleanup_(mem_free_p) uint8_t *groups = mem_alloc(DEEP);
    _decoded_ struct decoded d = {0};

    memset(groups, 15 << 3 | GROUP_BEGIN, DEEP / 2);
    memset(groups + DEEP / 2, 15 << 3 | GROUP_END, DEEP / 2);
    decode(&d, XDS_SOTW, groups, DEEP, NULL, 0);
    CHECK_INT(d.code, -EBADMSG);
}

TEST(a_name_may_have_its_longest_length_and_not_a_byte_more)
{
    _cleanup_(mem_free_p) char *name = mem_alloc(XDS_NAME_MAX + 1);

    memset(name, 'n', XDS_NAME_MAX + 1);
    for (unsigned field = DELTA_SUBSCRIBE; field <= DELTA_UNSUBSCRIBE; field++)
        for (size_t over = 0; over < 2; over++) {
            _buf_ struct buf b = {0};
            _decoded_ struct decoded d = {0};

            put_bytes(&b, field, name, XDS_NAME_MAX + over);
            decode_buf(&d, XDS_DELTA, &b);
            CHECK_INT(d.code, over ? -E2BIG : 0);
            if (field == DELTA_SUBSCRIBE)
                decode_buf(&d, XDS_SOTW, &b);
            CHECK_INT(d.code, over ? -E2BIG : 0);
        }
}

TEST(keys_and_values_of_a_map_may_have_their_longest_length_and_not_a_byte_more)
{
    _cleanup_(mem_free_p) char *text = mem_alloc(XDS_NAME_MAX + 1);

    memset(text, 'n', XDS_NAME_MAX + 1);
    for (unsigned part = 1; part <= 2; part++)
        for (size_t over = 0; over < 2; over++) {
            _buf_ struct buf b = {0};
            _decoded_ struct decoded d = {0};
            struct buf entry = {0};
            struct xds_span key, value;

            put_bytes(&entry, part, text, XDS_NAME_MAX + over);
            put_message(&b, DELTA_VERSIONS, &entry);
            decode_buf(&d, XDS_DELTA, &b);
            CHECK_INT(d.code, 0);
            CHECK_INT(xds_map_next(&d.request.versions, &key, &value), over ? -E2BIG : 1);
            if (!over)
                CHECK_INT(key.n + value.n, XDS_NAME_MAX);
        }
}

TEST(a_list_may_have_its_longest_length_and_not_one_more)
{
    for (unsigned field = DELTA_SUBSCRIBE; field <= DELTA_VERSIONS; field++) {
        _buf_ struct buf b = {0};
        _decoded_ struct decoded d = {0};

        for (size_t i = 0; i < XDS_NAMES_MAX; i++)
            put_bytes(&b, field, "", 0);
        decode_buf(&d, XDS_DELTA, &b);
        CHECK_INT(d.code, 0);
        check_bounds(&d);
        put_bytes(&b, field, "", 0);
        decode_buf(&d, XDS_DELTA, &b);
        CHECK_INT(d.code, -E2BIG);
        if (field == DELTA_SUBSCRIBE)
            decode_buf(&d, XDS_SOTW, &b);
        CHECK_INT(d.code, -E2BIG);
    }
}

TEST(ten_thousand_names_come_in_their_order)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct xds_list names;

    put_names(&b, NAMES, "cluster/", 10000);
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    names = d.request.names;
    CHECK_INT(names.count, 10000);
    for (size_t i = 0; i < 10000; i++) {
        _cleanup_(mem_free_p) char *name = mem_printf("cluster/%zu", i);

        check_next(&names, name);
    }
    check_end(names);
}

/* ---- the memo ---- */

/* The memo of n names, as a first request gives it. */
static struct xds_memo memo_of(const char *prefix, size_t n)
{
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};

    put_names(&b, NAMES, prefix, n);
    decode_buf(&d, XDS_SOTW, &b);
    CHECK_INT(d.code, 0);
    CHECK_INT(d.request.names.count, n);
    return xds_list_memo(&d.request.names);
}

static void decode_memo(struct decoded *d, const struct buf *b, const struct xds_memo *memos, int n_memos)
{
    decode(d, XDS_SOTW, b->data, b->len, memos, n_memos);
    CHECK_INT(d->code, 0);
    check_bounds(d);
}

TEST(a_list_that_is_remembered_is_recognized_and_not_parsed)
{
    struct xds_memo memos[] = {memo_of("x", 500), {0}, memo_of("cluster/", 1000)};
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct xds_list names;

    CHECK(memos[0].length && memos[2].length);
    put_text(&b, VERSION, "8");
    put_names(&b, NAMES, "cluster/", 1000);
    put_text(&b, TYPE_URL, "t");
    put_text(&b, NONCE, "n");
    decode_memo(&d, &b, memos, 3);
    CHECK_INT(d.request.memo, 2);
    CHECK_INT(d.request.names.count, 0); /* nobody counted */
    CHECK_SPAN(d.request.version, "8");
    CHECK_SPAN(d.request.type_url, "t");
    CHECK_SPAN(d.request.nonce, "n");
    names = d.request.names;
    CHECK_INT(xds_list_memo(&names).length, memos[2].length);
    for (size_t i = 0; i < 1000; i++) {
        _cleanup_(mem_free_p) char *name = mem_printf("cluster/%zu", i);

        check_next(&names, name);
    }
    check_end(names);
}

TEST(a_list_that_differs_in_any_way_is_parsed)
{
    struct xds_memo memo = memo_of("cluster/", 1000);
    static const struct {
        const char *prefix;
        size_t n;
    } others[] = {{"cluster/", 999}, {"cluster/", 1001}, {"clusteR/", 1000}, {"c", 1}};

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        for (int behind = 0; behind < 2; behind++) {
            _buf_ struct buf b = {0};
            _decoded_ struct decoded d = {0};

            put_names(&b, NAMES, others[i].prefix, others[i].n);
            if (behind)
                put_text(&b, NONCE, "n");
            decode_memo(&d, &b, &memo, 1);
            CHECK_INT(d.request.memo, -1);
            CHECK_INT(d.request.names.count, others[i].n);
        }
}

TEST(any_byte_of_a_remembered_list_counts)
{
    struct xds_memo memo = memo_of("cluster/", 100);
    _buf_ struct buf b = {0};

    put_names(&b, NAMES, "cluster/", 100);
    CHECK_INT(b.len, memo.length);
    for (size_t at = 0; at < b.len; at++) {
        _decoded_ struct decoded d = {0};

        b.data[at] ^= 1;
        decode(&d, XDS_SOTW, b.data, b.len, &memo, 1);
        b.data[at] ^= 1;
        CHECK_INT(d.request.memo, -1);
    }
}

TEST(a_remembered_list_with_more_names_elsewhere_is_another_list)
{
    struct xds_memo memo = memo_of("cluster/", 1000);
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};
    struct buf before = {0};

    put_names(&b, NAMES, "cluster/", 1000);
    put_text(&b, NONCE, "n");
    put_text(&b, NAMES, "late");
    decode_memo(&d, &b, &memo, 1);
    CHECK_INT(d.request.memo, -1);
    CHECK_INT(d.request.names.count, 1001);
    CHECK(!d.request.names.contiguous);
    CHECK_SPAN(d.request.nonce, "n");
    CHECK_INT(xds_list_memo(&d.request.names).length, 0);

    /* The tag of another name right behind, in a longer form than need be. */
    buf_reset(&b);
    put_names(&b, NAMES, "cluster/", 1000);
    buf_append(&b, "\x9a\x00\x04late", 7);
    decode_memo(&d, &b, &memo, 1);
    CHECK_INT(d.request.memo, -1);
    CHECK_INT(d.request.names.count, 1001);

    put_text(&before, NAMES, "early");
    put_text(&before, NONCE, "n");
    put_names(&before, NAMES, "cluster/", 1000);
    decode_memo(&d, &before, &memo, 1);
    buf_clear(&before);
    CHECK_INT(d.request.memo, -1);
    CHECK_INT(d.request.names.count, 1001);
}

TEST(what_follows_a_remembered_list_is_still_checked)
{
    struct xds_memo memo = memo_of("cluster/", 1000);
    _buf_ struct buf b = {0};
    _decoded_ struct decoded d = {0};

    put_names(&b, NAMES, "cluster/", 1000);
    buf_append_str(&b, "\x2a\x09n");
    decode(&d, XDS_SOTW, b.data, b.len, &memo, 1);
    CHECK_INT(d.code, -EBADMSG);
    decode(&d, XDS_SOTW, b.data, memo.length - 1, &memo, 1); /* cut inside */
    CHECK_INT(d.code, -EBADMSG);
}

TEST(only_a_list_that_is_long_enough_is_remembered)
{
    for (size_t n = XDS_MEMO_MIN - 1; n <= XDS_MEMO_MIN; n++) {
        _cleanup_(mem_free_p) char *name = mem_alloc(XDS_MEMO_MIN);
        _buf_ struct buf b = {0};
        _decoded_ struct decoded d = {0};

        memset(name, 'n', XDS_MEMO_MIN);
        put_bytes(&b, NAMES, name, n - 3); /* behind a tag of one byte and a length of two */
        CHECK_INT(b.len, n);
        decode_memo(&d, &b, NULL, 0);
        CHECK_INT(xds_list_memo(&d.request.names).length, n == XDS_MEMO_MIN ? n : 0);
    }
}

/* ---- digits ---- */

TEST(only_lower_case_hexadecimal_digits_are_a_version_whatever_stands_where)
{
    for (size_t at = 0; at < 16; at++)
        for (unsigned c = 0; c <= UINT8_MAX; c++) {
            const char *digits = "0123456789abcdef", *digit = c ? strchr(digits, (int)c) : NULL;
            char text[] = "8f07a6b5c4d3e291";
            uint64_t value = 0, expected = 0x8f07a6b5c4d3e291;
            unsigned shift = 60 - 4 * (unsigned)at;

            text[at] = (char)c;
            CHECK_INT(xds_hex_parse(text, 16, &value), digit != NULL);
            if (digit)
                CHECK_INT(value, (expected & ~(UINT64_C(15) << shift)) | (uint64_t)(digit - digits) << shift);
        }
}

TEST(fewer_digits_make_a_smaller_number)
{
    for (size_t n = 0; n <= 16; n++) {
        uint64_t value = 1;

        CHECK(xds_hex_parse("fedcba9876543210", n, &value));
        CHECK_INT(value, n ? UINT64_C(0xfedcba9876543210) >> (64 - 4 * n) : 0);
    }
}

/* ---- versions ---- */

static void put_number(struct buf *b, unsigned field, uint64_t value)
{
    put_tag(b, field, VARINT);
    put_varint(b, value);
}

/* A BuildVersion 1.40.2 with two entries of metadata, the second first when turned. */
static void put_build_version(struct buf *b, const char *second, bool turned)
{
    struct buf version = {0}, metadata = {0}, entries[2] = {{0}};

    put_number(&version, 1, 1);
    put_number(&version, 2, 40);
    put_number(&version, 3, 2);
    put_bytes(b, 1, version.data, version.len);
    put_text(&entries[0], 1, "ssl.version");
    put_text(&entries[1], 1, second);
    for (unsigned i = 0; i < 2; i++)
        put_bytes(&metadata, 1, entries[turned ? 1 - i : i].data, entries[turned ? 1 - i : i].len);
    put_bytes(b, 2, metadata.data, metadata.len);
    buf_clear(&version);
    buf_clear(&metadata);
    buf_clear(&entries[0]);
    buf_clear(&entries[1]);
}

TEST(a_build_version_is_the_same_in_whatever_order_its_metadata_come)
{
    struct buf first = {0}, turned = {0}, other = {0};
    uint64_t numbers[3], digests[3];

    put_build_version(&first, "build.type", false);
    put_build_version(&turned, "build.type", true);
    put_build_version(&other, "build.kind", false);
    CHECK_INT(xds_decode_build_version(SPAN_OF(&turned), numbers, &digests[1]), 0);
    CHECK_INT(xds_decode_build_version(SPAN_OF(&other), numbers, &digests[2]), 0);
    CHECK_INT(xds_decode_build_version(SPAN_OF(&first), numbers, &digests[0]), 0);
    CHECK_INT(numbers[0], 1);
    CHECK_INT(numbers[1], 40);
    CHECK_INT(numbers[2], 2);
    CHECK(digests[0] == digests[1]);
    CHECK(digests[0] != digests[2]);
    first.len--;
    CHECK_INT(xds_decode_build_version(SPAN_OF(&first), numbers, &digests[0]), -EBADMSG);
    buf_clear(&first);
    buf_clear(&turned);
    buf_clear(&other);
}
