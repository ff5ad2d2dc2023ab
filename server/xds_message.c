/*
 * Encoding of responses: DiscoveryResponse and DeltaDiscoveryResponse of envoy/service/discovery/v3/discovery.proto.
 * The fields of a message may stand in any order, so what is a stream's own comes first, and the shared bytes of the
 * resources follow as they are.
 */
#include "server/xds_stream.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

enum {
    SOTW_VERSION_INFO = 1,
    SOTW_TYPE_URL = 4,
    SOTW_NONCE = 5,
    DELTA_SYSTEM_VERSION_INFO = 1,
    DELTA_TYPE_URL = 4,
    DELTA_NONCE = 5,
    DELTA_REMOVED_RESOURCES = 6,
    VERSION_DIGITS = 32,
};

void xds_message_reset(struct xds_message *m)
{
    for (size_t i = 0; i < m->n_parts; i++)
        m->parts[i].release(m->parts[i].owner);
    m->n_parts = 0;
    m->len = 0;
    m->secret = false;
    buf_reset(&m->head);
}

void xds_message_clear(struct xds_message *m)
{
    xds_message_reset(m);
    buf_clear(&m->head);
    mem_free(m->parts);
    *m = (struct xds_message){0};
}

static void add_text(struct buf *b, unsigned field, const char *text, size_t n)
{
    buf_append_byte(b, (uint8_t)(field << 3 | 2));
    for (size_t left = n;; left >>= 7) {
        buf_append_byte(b, (uint8_t)(left < 0x80 ? left : (left | 0x80)));
        if (left < 0x80)
            break;
    }
    buf_append(b, text, n);
}

/* 32 hexadecimal digits and a NUL. */
static void version_text(struct hash128 version, char ret[33])
{
    snprintf(ret, VERSION_DIGITS + 1, "%016llx%016llx", (unsigned long long)version.high,
             (unsigned long long)version.low);
}

/*
 * Eight digits at once, a byte each; the first one in the highest byte. bad collects what is no digit: the text that
 * the value would have differs from the one that is there.
 */
static uint32_t hex_word(uint64_t text, uint64_t *bad)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t v = (text & 0x0f * ones) + 9 * (text >> 6 & ones);
    uint64_t is_letter = (v + 0x76 * ones) >> 7 & ones;

    *bad |= (text ^ (v + '0' * ones + ('a' - '9' - 1) * is_letter)) | (v & 0xf0 * ones);
    v = (v | v >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    v = (v | v >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(v | v >> 16);
}

bool xds_hex_parse(const char *p, size_t n, uint64_t *ret)
{
    char padded[16];
    uint64_t high, low, bad = 0;

    assert(n <= sizeof(padded));
    if (n < sizeof(padded)) {
        memset(padded, '0', sizeof(padded) - n);
        memcpy(padded + sizeof(padded) - n, p, n);
        p = padded;
    }
    memcpy(&high, p, sizeof(high));
    memcpy(&low, p + sizeof(high), sizeof(low));
    *ret = (uint64_t)hex_word(be64toh(high), &bad) << 32 | hex_word(be64toh(low), &bad);
    return bad == 0;
}

bool xds_version_parse(struct xds_span text, struct hash128 *ret)
{
    return text.n == VERSION_DIGITS && xds_hex_parse(text.p, VERSION_DIGITS / 2, &ret->high) &&
           xds_hex_parse(text.p + VERSION_DIGITS / 2, VERSION_DIGITS / 2, &ret->low);
}

uint64_t xds_nonce_parse(struct xds_span text)
{
    uint64_t nonce;

    if (text.n == 0 || text.n > 16 || text.p[0] == '0' || !xds_hex_parse(text.p, text.n, &nonce))
        return 0;
    return nonce;
}

void xds_message_begin(struct xds_message *m, const struct xds_session *s, enum xds_type type, uint64_t nonce,
                       struct hash128 version)
{
    const char *url = xds_type_url[type];
    char text[VERSION_DIGITS + 1], nonce_text[17];
    int n = snprintf(nonce_text, sizeof(nonce_text), "%llx", (unsigned long long)nonce);
    bool delta = s->options.variant == XDS_DELTA;

    if (delta)
        snprintf(text, sizeof(text), "%llu", (unsigned long long)s->gateway->revision);
    else
        version_text(version, text);
    add_text(&m->head, delta ? DELTA_SYSTEM_VERSION_INFO : SOTW_VERSION_INFO, text, strlen(text));
    add_text(&m->head, delta ? DELTA_TYPE_URL : SOTW_TYPE_URL, url, strlen(url));
    add_text(&m->head, delta ? DELTA_NONCE : SOTW_NONCE, nonce_text, (size_t)n);
    m->len = m->head.len;
}

void xds_message_add(struct xds_message *m, struct xds_part part)
{
    if (m->n_parts == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->parts = mem_realloc(m->parts, m->cap, sizeof(*m->parts));
    }
    m->parts[m->n_parts++] = part;
    m->len += part.n;
}

void xds_message_add_removed(struct xds_message *m, const struct xds_name *name)
{
    size_t before = m->head.len;

    add_text(&m->head, DELTA_REMOVED_RESOURCES, name->text, name->len);
    m->len += m->head.len - before;
}
