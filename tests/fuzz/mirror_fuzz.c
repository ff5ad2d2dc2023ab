/*
 * Fuzzes the mirror: a daemon_status, then changes, some of them kept during a second fetch. Bytes above 0x7f stand
 * for pieces of the agent's language, so that what comes out is often nearly right; a NUL ends a text.
 *
 * What must hold: nothing crashes or leaks; a patch that does not fit leaves no trace; infos are JSON; a status is
 * read alike in whatever pieces it comes.
 */
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/sax.h"
#include "server/mirror.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

static const char *const words[] = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"status\",\"web\"",
    "[[\"monitor\",\"nodes\",\"n2\",\"services\",\"config\",\"web\"",
    "[[\"monitor\",\"nodes\"",
    "\"monitor\"",
    "\"nodes\"",
    "\"n1\"",
    "\"n2\"",
    "\"services\"",
    "\"status\"",
    "\"config\"",
    "\"web\"",
    "\"0.web\"",
    "\"ns/svc/a\"",
    "\"ns/sec/k\"",
    "\"resources\"",
    "\"ip#1\"",
    "\"expose#0\"",
    "\"certificate#1\"",
    "\"info\"",
    "\"type\"",
    "\"expose.envoy\"",
    "\"ipaddr\"",
    "\"10.0.0.1\"",
    "\"expose\"",
    "\"up\"",
    "\"global_expect\"",
    "\"placed@n2\"",
    "\"stopping\"",
    "\"scaler_slave\"",
    "\"scaler_slaves\"",
    "\"topology\"",
    "\"flex\"",
    "\"updated\"",
    "\"csum\"",
    "\"placement\"",
    "\"leader\"",
    "],",
    "]],",
    "]]",
    "true",
    "1.5",
    "{\"monitor\":{\"nodes\":{\"n1\":{\"monitor\":{\"status\":\"idle\"},\"services\":{\"status\":{\"web\":{",
    "\"resources\":{\"expose#0\":{\"type\":\"expose.envoy\",\"info\":{\"port\":80}},",
    "\"ip#1\":{\"status\":\"up\",\"info\":{\"ipaddr\":\"10.0.0.1\",\"expose\":[\"expose#0\"]}}}",
    "}}}}}}}",
    "\\u00",
    "0000",
    "\"\\ud83d\\ude00\"",
    "\xe2\x82\xac",
};

/* The text of the next part of the input, up to a NUL. */
static struct buf next_text(const uint8_t **p, const uint8_t *end)
{
    struct buf b = {.max = 1 << 16};

    for (; *p < end && **p; (*p)++) {
        if (**p < 0x80)
            buf_append_byte(&b, **p);
        else
            buf_append_str(&b, words[(**p - 0x80U) % ARRAY_LEN(words)]);
    }
    if (*p < end)
        (*p)++;
    return b;
}

static uint64_t add_text(uint64_t hash, const char *text)
{
    return hash_seeded(text, strlen(text), hash);
}

static int on_token(void *arg, enum sax_event event, const char *text, size_t n)
{
    unsigned *first = arg;

    (void)text; /* whatever they are */
    (void)n;
    if (*first == UINT_MAX)
        *first = event;
    return 0;
}

static bool is_object(const char *text)
{
    const struct sax_limits limits = {.max_depth = 1000};
    unsigned first = UINT_MAX;
    struct sax *s = sax_new(&limits, on_token, &first);
    struct err e = {0};
    bool good = sax_feed(s, text, strlen(text), &e) == 0 && sax_done(s) && first == SAX_OBJECT_BEGIN;

    sax_free(s);
    return good;
}

static uint64_t facts_hash(const struct facts *f)
{
    uint64_t hash = add_text(0, f->path);

    for (size_t i = 0; i < f->n_resources; i++) {
        assert(is_object(f->resources[i].info));
        hash = add_text(add_text(add_text(hash, f->resources[i].rid), f->resources[i].type), f->resources[i].info);
    }
    for (size_t i = 0; i < f->n_addresses; i++) {
        const struct fact_address *a = &f->addresses[i];

        assert(a->n_exposes > 0);
        hash = add_text(add_text(add_text(add_text(hash, a->node), a->instance), a->rid), a->address);
        hash = add_text(hash, a->state) + a->up;
        for (size_t k = 0; k < a->n_exposes; k++)
            hash = add_text(hash, a->exposes[k]);
    }
    return add_text(hash, f->disagreement ? f->disagreement : "");
}

/* Of all facts, in no order. */
static uint64_t picture(struct mirror *m)
{
    uint64_t sum = 0;
    struct facts f;
    bool gone;

    mirror_touch_all(m);
    while (mirror_next_touched(m, &f, &gone))
        sum += gone ? 0 : facts_hash(&f);
    while (mirror_next_secret(m))
        ;
    return sum + (mirror_secret_csum(m, "ns/sec/k") ? add_text(1, mirror_secret_csum(m, "ns/sec/k")) : 0);
}

static int fetch(struct mirror *m, const struct buf *b, size_t piece)
{
    struct err e = {0};

    mirror_status_begin(m);
    for (size_t at = 0, n; at < b->len; at += n) {
        n = piece && piece < b->len - at ? piece : b->len - at;
        if (mirror_status_feed(m, (char *)b->data + at, n, &e) < 0)
            return -1;
    }
    return mirror_status_end(m, true, &e);
}

static enum mirror_event patch(struct mirror *m, const struct buf *changes, unsigned id)
{
    struct buf b = {0};
    struct err e = {0};
    enum mirror_event r;

    buf_printf(&b, "{\"kind\":\"patch\",\"id\":%u,\"data\":[", id);
    buf_append(&b, changes->data, changes->len);
    buf_append_str(&b, "]}");
    r = mirror_event(m, (char *)b.data, b.len, &e);
    buf_clear(&b);
    return r;
}

static void check_pieces(const struct buf *status, size_t piece)
{
    struct mirror *whole = mirror_new(0), *cut = mirror_new(0);
    int a = fetch(whole, status, 0), b = fetch(cut, status, piece);

    assert((a == 0) == (b == 0));
    assert(picture(whole) == picture(cut));
    mirror_free(whole);
    mirror_free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *p = data + 1, *end = data + size;
    struct mirror *m;
    struct buf text;
    struct err e = {0};
    uint64_t before;

    if (size < 2)
        return 0;
    m = mirror_new(0);
    text = next_text(&p, end);
    check_pieces(&text, 1 + data[0] % 16);
    if (fetch(m, &text, 0) == 0 && data[0] & 1) {
        mirror_hold(m);
        fetch(m, &text, 0);
    }
    buf_clear(&text);
    before = picture(m);
    for (unsigned id = 1; p < end; id++) {
        enum mirror_event r;

        text = next_text(&p, end);
        r = patch(m, &text, id);
        buf_clear(&text);
        if (r == MIRROR_MISFIT)
            assert(picture(m) == before);
        before = picture(m);
    }
    if (data[0] & 1)
        mirror_release(m, &e);
    picture(m);
    mirror_free(m);
    return 0;
}
