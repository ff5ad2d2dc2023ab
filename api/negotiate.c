/* Negotiation. Fields that are not well-formed are taken as far as they are: what is unclear excludes nothing. */
#include "api/negotiate.h"

#include "base/hash.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16 /* zlib's way to ask for gzip's header */, GZIP_MEMORY = 8 };

/* One element of a list: "type/sub;q=0.5", without blanks around it. */
struct element {
    const char *name;
    size_t n_name;
    bool refused; /* q=0 */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* q=0, q=0.0, q=0.00, q=0.000; anything else is more than nothing. */
static bool weight_is_zero(const char *p, const char *end)
{
    while (p < end && is_blank(*p))
        p++;
    if (end - p < 3 || (*p | 0x20) != 'q' || p[1] != '=')
        return false;
    for (p += 2; p < end && !is_blank(*p); p++)
        if (*p != '0' && *p != '.')
            return false;
    return true;
}

static bool next_element(const char **at, struct element *ret)
{
    const char *p = *at;

    while (is_blank(*p) || *p == ',')
        p++;
    if (!*p)
        return false;
    const char *end = p + strcspn(p, ",");
    size_t n = strcspn(p, ",;");
    *ret = (struct element){.name = p, .n_name = n};
    while (ret->n_name && is_blank(p[ret->n_name - 1]))
        ret->n_name--;
    for (const char *parameter = p + n; parameter < end;) {
        const char *stop = parameter + 1 + strcspn(parameter + 1, ",;");
        if (weight_is_zero(parameter + 1, stop))
            ret->refused = true;
        parameter = stop;
    }
    *at = end;
    return true;
}

static bool element_is(const struct element *e, const char *name, size_t n)
{
    return e->n_name == n && strncasecmp(e->name, name, n) == 0;
}

bool accept_takes(const char *accept, const char *type)
{
    const char *at = accept;
    size_t n = strlen(type), major = strcspn(type, "/");
    int best = -1; /* how exact the element is that decides: 2 type/sub, 1 type/any, 0 any */
    bool takes = false, any = false;
    struct element e;

    while (accept && next_element(&at, &e)) {
        int exact = -1;
        any = true;
        if (element_is(&e, type, n))
            exact = 2;
        else if (e.n_name == major + 2 && strncasecmp(e.name, type, major + 1) == 0 && e.name[major + 1] == '*')
            exact = 1;
        else if (element_is(&e, "*/*", 3))
            exact = 0;
        if (exact > best || (exact == best && exact >= 0 && !e.refused)) {
            best = exact;
            takes = !e.refused;
        }
    }
    return takes || !any;
}

bool accept_takes_gzip(const char *accept_encoding)
{
    const char *at = accept_encoding;
    int best = -1;
    bool takes = false;
    struct element e;

    while (accept_encoding && next_element(&at, &e)) {
        int exact = element_is(&e, "gzip", 4) || element_is(&e, "x-gzip", 6) ? 1 : element_is(&e, "*", 1) ? 0 : -1;
        if (exact > best) {
            best = exact;
            takes = !e.refused;
        }
    }
    return takes;
}

unsigned prefer_wait(const char *prefer, unsigned max)
{
    const char *at = prefer;
    struct element e;

    while (prefer && next_element(&at, &e)) {
        unsigned seconds = 0;
        size_t i = 5;
        if (e.n_name <= i || strncasecmp(e.name, "wait=", i) != 0)
            continue;
        for (; i < e.n_name && e.name[i] >= '0' && e.name[i] <= '9'; i++)
            seconds = seconds < max ? seconds * 10 + (unsigned)(e.name[i] - '0') : max;
        return i < e.n_name ? 0 : seconds < max ? seconds : max;
    }
    return 0;
}

bool content_type_is(const char *content_type, const char *type)
{
    struct element e;
    const char *at = content_type ? content_type : "";

    return next_element(&at, &e) && element_is(&e, type, strlen(type));
}

/* ---- entity tags ---- */

/* One of a list, without its quotes. */
struct tag {
    const char *text;
    size_t n;
    bool weak;
};

/* False: the list ends, or what stands at *at is none ("*" may). */
static bool next_tag(const char **at, struct tag *ret)
{
    const char *p = *at + strspn(*at, " \t,");

    *at = p;
    ret->weak = strncmp(p, "W/", 2) == 0;
    p += ret->weak ? 2 : 0;
    const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;
    if (!end)
        return false;
    ret->text = p + 1;
    ret->n = (size_t)(end - ret->text);
    *at = end + 1;
    return true;
}

/* Whether the rest is "*" alone. */
static bool is_any(const char *p)
{
    return *p == '*' && p[1 + strspn(p + 1, " \t")] == '\0';
}

/* "!" to "~" and what is beyond ASCII, without quotes (RFC 9110, 8.8.3). */
static bool tag_is_good(const struct tag *t)
{
    for (size_t i = 0; i < t->n; i++)
        if ((unsigned char)t->text[i] <= ' ' || t->text[i] == 0x7f)
            return false;
    return true;
}

bool etags_are_good(const char *field)
{
    const char *at = field;
    struct tag t;
    size_t n = 0;

    if (is_any(field))
        return true;
    for (; next_tag(&at, &t); n++) {
        at += strspn(at, " \t");
        if (!tag_is_good(&t) || (*at && *at != ','))
            return false;
    }
    return n && !*at;
}

static size_t without_gzip(const char *text, size_t n)
{
    static const char gzip[] = "-gzip";
    size_t n_gzip = sizeof(gzip) - 1;

    return n > n_gzip && memcmp(text + n - n_gzip, gzip, n_gzip) == 0 ? n - n_gzip : n;
}

/* Of those that say what the object is made of. */
static size_t spec_length(const char *text, size_t n)
{
    const char *dot = memchr(text, '.', n);

    return dot ? (size_t)(dot - text) : without_gzip(text, n);
}

bool etag_is_listed(const char *if_none_match, const char *etag)
{
    const char *at = if_none_match ? if_none_match : "";
    struct tag t;

    if (!etag)
        return is_any(at);
    size_t n = strlen(etag) - 2;
    while (next_tag(&at, &t))
        if (without_gzip(t.text, t.n) == n && memcmp(t.text, etag + 1, n) == 0)
            return true;
    return is_any(at);
}

bool etag_spec_matches(const char *if_match, const char *etag)
{
    const char *at = if_match;
    size_t n = spec_length(etag + 1, strlen(etag) - 2);
    struct tag t;

    if (is_any(at + strspn(at, " \t")))
        return true;
    while (next_tag(&at, &t))
        if (!t.weak && spec_length(t.text, t.n) == n && memcmp(t.text, etag + 1, n) == 0)
            return true;
    return false;
}

void etag_of(const void *p, size_t n, char ret[ETAG_MAX])
{
    struct hash128 h = hash_bytes128(p, n);

    (void)snprintf(ret, ETAG_MAX, "\"%016llx%016llx\"", (unsigned long long)h.high, (unsigned long long)h.low);
}

void etag_of_two(const void *spec, size_t n_spec, const void *status, size_t n_status, char ret[ETAG_MAX])
{
    (void)snprintf(ret, ETAG_MAX, "\"%016llx.%016llx\"", (unsigned long long)hash_bytes(spec, n_spec),
                   (unsigned long long)hash_bytes(status, n_status));
}

void etag_for_gzip(char etag[ETAG_MAX])
{
    size_t n = strlen(etag);

    assert(n > 2 && n + 5 < ETAG_MAX);
    memcpy(etag + n - 1, "-gzip\"", 7);
}

/* ---- compression ---- */

static void *zlib_alloc(void *arg, unsigned items, unsigned size)
{
    (void)arg; /* nothing to know */
    return mem_calloc(items, size);
}

static void zlib_free(void *arg, void *p)
{
    (void)arg; /* nothing to know */
    mem_free(p);
}

bool gzip_compress(struct buf *b)
{
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    struct buf out;

    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    buf_init(&out, 0);
    z.next_in = b->data;
    z.avail_in = (unsigned)b->len;
    z.next_out = buf_reserve(&out, b->len);
    z.avail_out = (unsigned)b->len; /* what gets no smaller does not fit */
    bool smaller = deflate(&z, Z_FINISH) == Z_STREAM_END;
    out.len = z.total_out;
    (void)deflateEnd(&z); /* an unfinished stream ends with an error, which is known here */
    if (!smaller) {
        buf_clear(&out);
        return false;
    }
    buf_clear(b);
    *b = out;
    return true;
}
