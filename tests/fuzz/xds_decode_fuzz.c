/*
 * Fuzzes the decoder of xDS requests. The first byte chooses the variant, the second whether the names are made long
 * enough to be remembered; the rest is the message. What is decoded lies in the message; its lists hold what was
 * counted; and with a memo of its names a message reads the same as without.
 */
#include "base/mem.h"
#include "server/xds_decode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { VARIANT_BIT = 1, NAMES_TAG = 3 << 3 | 2 };

struct message {
    uint8_t *p;
    size_t n;
};

static void check_inside(const struct message *m, struct xds_span s)
{
    const uint8_t *at = (const uint8_t *)s.p;

    assert(s.n == 0 || (at >= m->p && (size_t)(at - m->p) <= m->n && s.n <= m->n - (size_t)(at - m->p)));
}

/* The number of entries. */
static size_t walk(const struct message *m, struct xds_list list, bool map)
{
    struct xds_span s, value = {0};
    size_t n = 0;
    int more;

    while ((more = map ? xds_map_next(&list, &s, &value) : xds_list_next(&list, &s)) != 0) {
        n++;
        assert(more == 1 || (map && (more == -EBADMSG || more == -E2BIG)));
        if (more < 0)
            continue;
        check_inside(m, s);
        check_inside(m, value);
        assert(s.n <= XDS_NAME_MAX && value.n <= XDS_NAME_MAX);
    }
    assert(!xds_list_next(&list, &s) && xds_map_next(&list, &s, &value) == 0);
    return n;
}

static void check_request(const struct message *m, const struct xds_request *r)
{
    size_t n = walk(m, r->names, false);

    assert(r->memo >= 0 ? r->names.contiguous && n > 0 : n == r->names.count);
    assert(walk(m, r->unsubscribe, false) == r->unsubscribe.count);
    assert(walk(m, r->versions, true) == r->versions.count);
    check_inside(m, r->node.id);
    check_inside(m, r->node.cluster);
    check_inside(m, r->node.gateway);
    check_inside(m, r->node.agent_name);
    check_inside(m, r->node.agent_version);
    check_inside(m, r->type_url);
    check_inside(m, r->nonce);
    check_inside(m, r->version);
    check_inside(m, r->words);
}

static bool same(struct xds_span a, struct xds_span b)
{
    return a.p == b.p && a.n == b.n;
}

/* Of the same bytes, once parsed and once with a memo. */
static void check_same(const struct message *m, const struct xds_request *a, const struct xds_request *b)
{
    assert(same(a->node.id, b->node.id) && same(a->node.gateway, b->node.gateway));
    assert(same(a->type_url, b->type_url) && same(a->nonce, b->nonce) && same(a->version, b->version));
    assert(a->refused == b->refused && same(a->words, b->words) && a->node.present == b->node.present);
    assert(walk(m, a->names, false) == walk(m, b->names, false));
    assert(a->names.p == b->names.p && a->names.end == b->names.end);
}

static void fuzz_sotw(const struct message *m)
{
    struct xds_request plain, again;
    struct xds_memo memos[2] = {0};
    struct err e = {0};
    int code = xds_decode_sotw(m->p, m->n, NULL, 0, &plain, &e);

    assert(code == e.code && (code == 0 || code == -EBADMSG || code == -E2BIG));
    if (code)
        return;
    assert(plain.memo == -1);
    check_request(m, &plain);
    memos[1] = xds_list_memo(&plain.names);
    assert(xds_decode_sotw(m->p, m->n, memos, 2, &again, &e) == 0);
    assert(again.memo == (memos[1].length ? 1 : -1));
    check_request(m, &again);
    check_same(m, &plain, &again);
    /* A memo of the first names only, wherever the others are. */
    if (plain.names.count > 1 && plain.names.contiguous) {
        struct xds_list first = plain.names;
        struct xds_span name;

        xds_list_next(&first, &name);
        first.end = first.p;
        first.p = plain.names.p;
        memos[0] =
            (struct xds_memo){(size_t)(first.end - first.p), hash_bytes128(first.p, (size_t)(first.end - first.p))};
        assert(xds_decode_sotw(m->p, m->n, memos, 1, &again, &e) == 0);
        assert(again.memo == -1 && again.names.count == plain.names.count);
        check_same(m, &plain, &again);
    }
}

static void fuzz_delta(const struct message *m)
{
    struct xds_request r;
    struct err e = {0};
    int code = xds_decode_delta(m->p, m->n, &r, &e);

    assert(code == e.code && (code == 0 || code == -EBADMSG || code == -E2BIG));
    if (code == 0)
        check_request(m, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct message m;
    size_t extra;

    if (size < 2)
        return 0;
    /* Up to 255 names of 7 bytes before the message. It is a copy of its own, of exactly its size. */
    extra = data[1] * (size_t)9;
    m.n = extra + size - 2;
    if (m.n == 0)
        return 0;
    m.p = mem_alloc(m.n);
    for (size_t i = 0; i < extra; i += 9) {
        m.p[i] = NAMES_TAG;
        m.p[i + 1] = 7;
        memset(m.p + i + 2, 'a' + (int)(i % 26), 7);
    }
    memcpy(m.p + extra, data + 2, size - 2);
    if (data[0] & VARIANT_BIT)
        fuzz_delta(&m);
    else
        fuzz_sotw(&m);
    mem_free(m.p);
    return 0;
}
