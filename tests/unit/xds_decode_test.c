/* The request decoder, held against protobuf-c's encoder, and against what no encoder makes. */
#include "server/xds_decode.h"

#include "base/buf.h"
#include "base/mem.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void put_varint(struct buf *b, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_append_byte(b, (uint8_t)(value | 0x80));
    buf_append_byte(b, (uint8_t)value);
}

static void put_bytes(struct buf *b, unsigned field, const void *p, size_t n)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, n);
    buf_append(b, p, n);
}

static void put_text(struct buf *b, unsigned field, const char *text)
{
    put_bytes(b, field, text, strlen(text));
}

static bool span_is(struct xds_span s, const char *text)
{
    return xds_span_is(s, text);
}

static void check_list(struct xds_list list, const char *const *expected)
{
    struct xds_span name;
    size_t n = 0;

    while (xds_list_next(&list, &name)) {
        CHECK(expected[n] != NULL);
        CHECK(span_is(name, expected[n]));
        n++;
    }
    CHECK(expected[n] == NULL);
}

static const char *const three[] = {"a", "",
                                    "a name that is longer than one hundred and twenty-seven bytes, so that its "
                                    "length takes two bytes on the wire: ................................",
                                    NULL};
static const char *const two[] = {"x", "y", NULL};
static const char *const versions[] = {"0123456789abcdef", "", NULL};

static const struct wire_request full = {.type = XDS_LISTENER,
                                         .version = "7",
                                         .nonce = "n1",
                                         .names = three,
                                         .unsubscribe = two,
                                         .have = two,
                                         .have_versions = versions,
                                         .refusal = "it is bad",
                                         .node_id = "proxy-1",
                                         .node_cluster = "edge",
                                         .node_gateway = "inner"};

TEST(every_field_of_a_sotw_request_is_read)
{
    struct xds_request r;
    struct err e = {0};
    size_t n;
    uint8_t *bytes = wire_pack(XDS_SOTW, &full, &n);

    CHECK_INT(xds_decode_sotw(bytes, n, NULL, 0, &r, &e), 0);
    CHECK(r.node.present && span_is(r.node.id, "proxy-1") && span_is(r.node.cluster, "edge"));
    CHECK(span_is(r.node.gateway, "inner"));
    CHECK(span_is(r.type_url, xds_type_url[XDS_LISTENER]));
    CHECK(span_is(r.version, "7") && span_is(r.nonce, "n1"));
    CHECK(r.refused && span_is(r.words, "it is bad"));
    CHECK_INT(r.names.count, 3);
    CHECK_INT(r.memo, -1);
    check_list(r.names, three);
    mem_free(bytes);
}

TEST(every_field_of_a_delta_request_is_read)
{
    struct xds_request r;
    struct err e = {0};
    struct xds_span name, version;
    size_t n, i = 0;
    uint8_t *bytes = wire_pack(XDS_DELTA, &full, &n);

    CHECK_INT(xds_decode_delta(bytes, n, &r, &e), 0);
    CHECK(r.node.present && span_is(r.node.gateway, "inner"));
    CHECK(span_is(r.type_url, xds_type_url[XDS_LISTENER]) && span_is(r.nonce, "n1"));
    CHECK(r.refused && span_is(r.words, "it is bad"));
    check_list(r.names, three);
    check_list(r.unsubscribe, two);
    CHECK_INT(r.versions.count, 2);
    for (; xds_map_next(&r.versions, &name, &version) == 1; i++)
        CHECK(span_is(name, two[i]) && span_is(version, versions[i]));
    CHECK_INT(i, 2);
    mem_free(bytes);
}

TEST(an_empty_request_is_a_request)
{
    struct xds_request r;
    struct xds_span name;

    CHECK_INT(xds_decode_sotw((const uint8_t *)"", 0, NULL, 0, &r, NULL), 0);
    CHECK(!r.node.present && !r.refused && r.type_url.n == 0);
    CHECK(!xds_list_next(&r.names, &name));
    CHECK_INT(xds_decode_delta((const uint8_t *)"", 0, &r, NULL), 0);
    CHECK(!xds_list_next(&r.unsubscribe, &name));
}

/* Envoy sends error_detail with a message that may be empty. */
TEST(a_refusal_without_words_is_a_refusal)
{
    struct buf b = {0};
    struct xds_request r;

    put_bytes(&b, 6, "", 0);
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, NULL), 0);
    CHECK(r.refused);
    CHECK_INT(r.words.n, 0);
    buf_clear(&b);
}

TEST(other_fields_and_other_wire_types_are_skipped)
{
    struct buf b = {0};
    struct xds_request r;

    put_varint(&b, 4 << 3 | 0); /* type_url as a number */
    put_varint(&b, 77);
    put_varint(&b, 3 << 3 | 1); /* resource_names as 64 bits */
    buf_append(&b, "12345678", 8);
    put_varint(&b, 1 << 3 | 5); /* version_info as 32 bits */
    buf_append(&b, "1234", 4);
    put_text(&b, 7, "resource_locators");
    put_text(&b, 100000, "a field of the future");
    put_text(&b, 4, "the type");
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, NULL), 0);
    CHECK(span_is(r.type_url, "the type"));
    CHECK_INT(r.names.count, 0);
    CHECK_INT(r.version.n, 0);
    buf_clear(&b);
}

TEST(the_last_of_a_repeated_scalar_counts)
{
    struct buf b = {0};
    struct xds_request r;

    put_text(&b, 5, "old");
    put_text(&b, 5, "new");
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, NULL), 0);
    CHECK(span_is(r.nonce, "new"));
    buf_clear(&b);
}

TEST(entries_of_a_list_may_have_other_fields_between_them)
{
    struct buf b = {0};
    struct xds_request r;
    static const char *const expected[] = {"a", "b", NULL};

    put_text(&b, 3, "a");
    put_text(&b, 5, "nonce");
    put_text(&b, 3, "b");
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, NULL), 0);
    CHECK(!r.names.contiguous);
    check_list(r.names, expected);
    CHECK_INT(xds_list_memo(&r.names).length, 0);
    buf_clear(&b);
}

TEST(a_gateway_that_is_no_text_is_none)
{
    struct buf value = {0}, entry = {0}, metadata = {0}, node = {0}, b = {0};
    struct xds_request r;

    put_varint(&value, 4 << 3 | 0); /* bool_value */
    put_varint(&value, 1);
    put_text(&entry, 1, "gateway");
    put_bytes(&entry, 2, value.data, value.len);
    put_bytes(&metadata, 1, entry.data, entry.len);
    put_bytes(&node, 3, metadata.data, metadata.len);
    put_bytes(&b, 2, node.data, node.len);
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, NULL), 0);
    CHECK(r.node.present);
    CHECK_INT(r.node.gateway.n, 0);
    buf_clear(&value);
    buf_clear(&entry);
    buf_clear(&metadata);
    buf_clear(&node);
    buf_clear(&b);
}

/* Struct in Value in Struct, a hundred thousand deep: 600 kB. */
TEST(metadata_of_any_depth_takes_no_stack)
{
    enum { DEPTH = 100000, ROOM = DEPTH * 16 };
    uint8_t *bytes = mem_alloc(ROOM), *p = bytes + ROOM;
    struct buf node = {0}, b = {0};
    struct xds_request r;
    struct err e = {0};

    /* From the inside to the outside: a tag and a length in front of what is there. */
    for (unsigned i = 0; i < DEPTH; i++) {
        size_t n = (size_t)(bytes + ROOM - p);
        struct buf head = {0};

        put_varint(&head, (i % 3 == 0 ? 5 : i % 3 == 1 ? 2 : 1) << 3 | 2);
        put_varint(&head, n);
        p -= head.len;
        memcpy(p, head.data, head.len);
        buf_clear(&head);
    }
    put_bytes(&node, 3, p, (size_t)(bytes + ROOM - p));
    put_bytes(&b, 2, node.data, node.len);
    put_text(&b, 4, "the type");
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, &e), 0);
    CHECK(span_is(r.type_url, "the type"));
    buf_clear(&node);
    buf_clear(&b);
    mem_free(bytes);
}

TEST(groups_are_refused)
{
    static const uint8_t group[] = {1 << 3 | 3, 1 << 3 | 4};
    struct xds_request r;
    struct err e = {0};

    CHECK_INT(xds_decode_sotw(group, sizeof(group), NULL, 0, &r, &e), -EBADMSG);
    CHECK_INT(xds_decode_delta(group, sizeof(group), &r, &e), -EBADMSG);
    CHECK(e.text[0] != '\0');
}

TEST(what_is_no_protobuf_is_refused)
{
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        {"\x00", 1}, /* field 0 */
        {"\x1a", 1}, /* no length */
        {"\x1a\x05"  /* a length past the end */
         "abc",
         5},
        {"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},     /* a length of 2^64 - 1 */
        {"\x1a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12}, /* a number of eleven bytes */
        {"\x09\x01\x02", 3},                                      /* 64 bits that are not there */
        {"\x0d\x01\x02", 3},                                      /* 32 bits that are not there */
        {"\x1e\x00", 2},                                          /* wire type 6 */
        {"\xff\xff\xff\xff\xff\x01\x00", 7},                      /* a tag of more than 32 bits */
        {"\x12\x02\x0a\x05", 4},                                  /* a node that is cut off */
        {"\x32\x02\x12\x05", 4},                                  /* error_detail that is cut off */
    };
    struct xds_request r;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};

        CHECK_INT(xds_decode_sotw((const uint8_t *)cases[i].bytes, cases[i].n, NULL, 0, &r, &e), -EBADMSG);
        CHECK(e.text[0] != '\0');
    }
}

/* Whatever is cut off or flipped: an answer, and lists that end. */
TEST(damaged_requests_are_read_or_refused)
{
    for (int variant = XDS_SOTW; variant <= XDS_DELTA; variant++) {
        size_t n;
        uint8_t *good = wire_pack((enum xds_variant)variant, &full, &n);
        uint64_t random = 3;

        for (unsigned run = 0; run < 20000; run++) {
            size_t len = run < n ? run : n;
            uint8_t *bytes = mem_dup(good, len); /* exactly as long: a read past the end is seen by the sanitizer */
            struct xds_request r;
            struct xds_span a, b;
            struct err e = {0};
            int result;

            if (run >= n)
                for (unsigned flips = 1 + (unsigned)(test_random(&random) % 3); flips > 0; flips--)
                    bytes[test_random(&random) % n] = (uint8_t)test_random(&random);
            result = variant == XDS_DELTA ? xds_decode_delta(bytes, len, &r, &e)
                                          : xds_decode_sotw(bytes, len, NULL, 0, &r, &e);
            CHECK(result == 0 || result == -EBADMSG || result == -E2BIG);
            if (result == 0) {
                while (xds_list_next(&r.names, &a) || xds_list_next(&r.unsubscribe, &a))
                    CHECK(a.n <= XDS_NAME_MAX);
                while (xds_map_next(&r.versions, &a, &b) == 1)
                    CHECK(a.n <= XDS_NAME_MAX);
            }
            mem_free(bytes);
        }
        mem_free(good);
    }
}

TEST(names_have_a_longest_and_lists_a_limit)
{
    char *name = mem_alloc(XDS_NAME_MAX + 2);
    struct buf b = {0};
    struct xds_request r;
    struct err e = {0};

    memset(name, 'x', XDS_NAME_MAX);
    put_text(&b, 3, name);
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, &e), 0);
    name[XDS_NAME_MAX] = 'x';
    buf_reset(&b);
    put_text(&b, 3, name);
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, &e), -E2BIG);
    CHECK_INT(xds_decode_delta(b.data, b.len, &r, &e), -E2BIG);
    buf_reset(&b);
    for (unsigned i = 0; i < XDS_NAMES_MAX; i++)
        put_text(&b, 3, "");
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, &e), 0);
    CHECK_INT(r.names.count, XDS_NAMES_MAX);
    put_text(&b, 3, "");
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, &e), -E2BIG);
    buf_clear(&b);
    mem_free(name);
}

TEST(an_entry_of_the_map_that_is_none_is_told)
{
    struct buf b = {0};
    struct xds_request r;
    struct xds_span key, value;
    char *name = mem_alloc(XDS_NAME_MAX + 2);

    put_bytes(&b, 5,
              "\x0a\x05"
              "a",
              3);
    CHECK_INT(xds_decode_delta(b.data, b.len, &r, NULL), 0);
    CHECK_INT(xds_map_next(&r.versions, &key, &value), -EBADMSG);
    buf_reset(&b);
    memset(name, 'x', XDS_NAME_MAX + 1);
    {
        struct buf entry = {0};

        put_text(&entry, 1, name);
        put_bytes(&b, 5, entry.data, entry.len);
        buf_clear(&entry);
    }
    CHECK_INT(xds_decode_delta(b.data, b.len, &r, NULL), 0);
    CHECK_INT(xds_map_next(&r.versions, &key, &value), -E2BIG);
    buf_clear(&b);
    mem_free(name);
}

/* ---- lists that are repeated ---- */

enum { MANY = 500 };

static void put_many(struct buf *b, unsigned from)
{
    for (unsigned i = from; i < from + MANY; i++) {
        char name[32];

        snprintf(name, sizeof(name), "service-%u", i);
        put_text(b, 3, name);
    }
}

TEST(a_list_that_is_repeated_is_recognized)
{
    struct buf b = {0};
    struct xds_request r;
    struct xds_memo memos[3] = {{0}};

    put_text(&b, 1, "version");
    put_many(&b, 0);
    put_text(&b, 4, "the type");
    CHECK_INT(xds_decode_sotw(b.data, b.len, memos, 3, &r, NULL), 0);
    CHECK_INT(r.memo, -1);
    CHECK_INT(r.names.count, MANY);
    memos[1] = xds_list_memo(&r.names);
    CHECK(memos[1].length > 0);
    CHECK_INT(xds_decode_sotw(b.data, b.len, memos, 3, &r, NULL), 0);
    CHECK_INT(r.memo, 1);
    CHECK(span_is(r.version, "version") && span_is(r.type_url, "the type"));
    buf_clear(&b);
}

TEST(a_list_that_differs_is_not_taken_for_the_remembered_one)
{
    struct buf b = {0}, other = {0};
    struct xds_request r;
    struct xds_memo memo;
    struct xds_list list;
    size_t names_len;

    put_many(&b, 0);
    names_len = b.len;
    put_text(&b, 4, "the type");
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, NULL), 0);
    memo = xds_list_memo(&r.names);
    /* One byte is another, at the beginning, in the middle, at the end. */
    for (size_t at = 2; at < names_len; at += 997) {
        uint8_t before = b.data[at];

        if (before < 'a' || before > 'z')
            continue;
        b.data[at] = 'X';
        CHECK_INT(xds_decode_sotw(b.data, b.len, &memo, 1, &r, NULL), 0);
        CHECK_INT(r.memo, -1);
        CHECK_INT(r.names.count, MANY);
        b.data[at] = before;
    }
    /* One name more behind it, right after or behind another field. */
    put_many(&other, 0);
    put_text(&other, 3, "one more");
    CHECK_INT(xds_decode_sotw(other.data, other.len, &memo, 1, &r, NULL), 0);
    CHECK_INT(r.memo, -1);
    CHECK_INT(r.names.count, MANY + 1);
    put_text(&b, 3, "one more");
    CHECK_INT(xds_decode_sotw(b.data, b.len, &memo, 1, &r, NULL), 0);
    CHECK_INT(r.memo, -1);
    list = r.names;
    for (struct xds_span name; xds_list_next(&list, &name);)
        CHECK(name.n > 0);
    CHECK_INT(r.names.count, MANY + 1);
    /* Fewer. */
    buf_reset(&other);
    buf_append(&other, b.data, names_len / 2);
    CHECK(xds_decode_sotw(other.data, other.len, &memo, 1, &r, NULL) != 0 || r.memo == -1);
    buf_clear(&b);
    buf_clear(&other);
}

TEST(short_lists_are_not_worth_remembering)
{
    struct buf b = {0};
    struct xds_request r;

    put_text(&b, 3, "a");
    CHECK_INT(xds_decode_sotw(b.data, b.len, NULL, 0, &r, NULL), 0);
    CHECK_INT(xds_list_memo(&r.names).length, 0);
    buf_clear(&b);
}
