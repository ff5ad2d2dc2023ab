/* Splitting and decoding of targets. What is not well-formed is refused, never mended. */
#include "api/target.h"

#include "base/text.h"
#include "base/utf8.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* Percent-decoding of n bytes; in a query '+' is a blank. -EINVAL. */
static int decode(const char *text, size_t n, bool query, struct arena *arena, char **ret, struct err *e)
{
    char *out = arena_alloc(arena, n + 1);
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c > '/' && c < 0x7f) { /* letters, digits: nearly all */
            out[len++] = c;
            continue;
        }
        if (c == '%') {
            int high = n - i > 2 ? text_hex_value(text[i + 1]) : -1;
            int low = n - i > 2 ? text_hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(e, -EINVAL, NULL, NULL, "a percent sign is not followed by two hexadecimal digits");
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        if ((unsigned char)c < ' ' || c == 0x7f)
            return err_set(e, -EINVAL, NULL, NULL, "there is a control character in it");
        out[len++] = c;
    }
    if (utf8_prefix(out, len) != len)
        return err_set(e, -EINVAL, NULL, NULL, "it is not UTF-8");
    *ret = out;
    return 0;
}

static int split_path(const char *path, size_t n, struct arena *arena, struct target *t, struct err *e)
{
    for (size_t at = 1; at <= n;) {
        const char *slash = memchr(path + at, '/', n - at);
        size_t end = slash ? (size_t)(slash - path) : n;
        char *segment = NULL;
        if (t->n_segments == TARGET_SEGMENTS_MAX)
            return err_set(e, -E2BIG, NULL, NULL, "the path has more than %d segments", TARGET_SEGMENTS_MAX);
        int r = decode(path + at, end - at, false, arena, &segment, e);
        if (r)
            return r;
        t->segments[t->n_segments++] = segment;
        at = end + 1;
    }
    return 0;
}

static int split_query(const char *query, struct arena *arena, struct target *t, struct err *e)
{
    size_t n_max = 1;

    for (const char *at = query; (at = strchr(at, '&')) && n_max < TARGET_PAIRS_MAX; at++)
        n_max++;
    if (*query)
        t->pairs = arena_array(arena, struct query_pair, n_max);
    while (*query) {
        size_t n = strcspn(query, "&"), name = strcspn(query, "=&");
        char *key, *value;
        if (n) {
            if (t->n_pairs == TARGET_PAIRS_MAX)
                return err_set(e, -E2BIG, NULL, NULL, "the query has more than %d parameters", TARGET_PAIRS_MAX);
            size_t from = name < n ? name + 1 : n;
            int r = decode(query, name, true, arena, &key, e);
            if (!r)
                r = decode(query + from, n - from, true, arena, &value, e);
            if (r)
                return r;
            t->pairs[t->n_pairs++] = (struct query_pair){key, value};
        }
        query += n + (query[n] ? 1 : 0);
    }
    return 0;
}

int target_parse(const char *text, struct arena *arena, struct target *ret, struct err *e)
{
    struct target t = {.query = ""};

    if (strcmp(text, "*") == 0) {
        t.path = "*";
        *ret = t;
        return 0;
    }
    if (strncasecmp(text, "http://", 7) == 0)
        text += 7 + strcspn(text + 7, "/?");
    size_t n = strcspn(text, "?");
    if (n == 0 || text[0] != '/')
        return err_set(e, -EINVAL, NULL, NULL, "a path begins with a slash");
    t.path = arena_strndup(arena, text, n);
    if (text[n])
        t.query = arena_strdup(arena, text + n + 1);
    int r = split_path(t.path, n, arena, &t, e);
    if (!r)
        r = split_query(t.query, arena, &t, e);
    if (!r)
        *ret = t;
    return r;
}
