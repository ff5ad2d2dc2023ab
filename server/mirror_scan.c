/*
 * Looking at an event message without decoding it. Most patches are noise: counters of the listener and the
 * scheduler, several a second on a busy node. One pass over the bytes tells the message's kind and id, and for each
 * change from the beginning of its path whether it concerns anything that the mirror keeps; the rest is stepped over
 * by counting brackets outside of strings.
 *
 * What concerns us by its path is decoded and checked later. What does not is checked for its brackets and strings
 * only. Anything that is not the usual shape is left to a real reader, which says what is wrong.
 */
#include "server/mirror_core.h"

#include "base/json_block.h"
#include "base/sax.h"

#include <errno.h>
#include <string.h>

/* A place in the message; failed: it is not as it should be. */
struct cursor {
    const char *at, *end;
    bool failed;
};

static _hot_ void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t'))
        c->at++;
}

static _hot_ bool next_is(struct cursor *c, char wanted)
{
    skip_space(c);
    return c->at < c->end && *c->at == wanted;
}

static _hot_ bool take(struct cursor *c, char wanted)
{
    if (!next_is(c, wanted))
        return false;
    c->at++;
    return true;
}

static _hot_ bool need(struct cursor *c, char wanted)
{
    if (!take(c, wanted))
        c->failed = true;
    return !c->failed;
}

/* A string's bytes as written, between its quotes. *ret_escaped: there are escapes in it. */
static _hot_ const char *take_string(struct cursor *c, size_t *ret_n, bool *ret_escaped)
{
    const char *start;

    *ret_n = 0;
    *ret_escaped = false;
    if (!need(c, '"'))
        return NULL;
    start = c->at;
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\') {
            *ret_escaped = true;
            c->at++;
        }
        c->at++;
    }
    if (c->at >= c->end) {
        c->failed = true;
        return NULL;
    }
    *ret_n = (size_t)(c->at - start);
    c->at++;
    return start;
}

/* Steps behind the brackets that are open, `depth` of them, or behind a value that begins with one (0). */
static _hot_ void skip_open(struct cursor *c, size_t depth)
{
    struct json_skip skip = {.depth = depth};
    bool ended = false;

    if (depth == 0) {
        skip.depth = 1;
        c->at++;
    }
    while (c->at < c->end && !ended)
        c->at += json_skip_block(&skip, c->at, (size_t)(c->end - c->at), &ended);
    c->at += ended;
    c->failed = c->failed || !ended;
}

static _hot_ void skip_value(struct cursor *c)
{
    size_t n;
    bool escaped;

    if (take(c, '{') || take(c, '[')) {
        skip_open(c, 1);
    } else if (next_is(c, '"')) {
        take_string(c, &n, &escaped);
    } else {
        const char *start = c->at;

        while (c->at < c->end && *c->at != ',' && *c->at != '}' && *c->at != ']' && *c->at > ' ')
            c->at++;
        c->failed = c->failed || c->at == start;
    }
}

/* An id of a patch; a number without sign and fraction. */
static void take_id(struct cursor *c, struct scan *s)
{
    uint64_t id = 0;
    const char *start;

    skip_space(c);
    start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - start < 19)
        id = id * 10 + (uint64_t)(*c->at++ - '0');
    s->has_id = c->at > start && (next_is(c, ',') || next_is(c, '}'));
    s->id = id;
    if (!s->has_id) {
        c->at = start;
        skip_value(c);
    }
}

/* Whether what stands at the path concerns us, told from as little of it as possible. The cursor stands behind the
 * path's opening bracket, and somewhere in the path afterwards. */
static bool path_concerns_us(struct cursor *c)
{
    enum level level = LEVEL_ROOT;

    if (next_is(c, ']'))
        return true;
    for (;;) {
        struct target t;
        const char *key;
        size_t n;
        bool escaped;

        if (!next_is(c, '"'))
            return true; /* an index, or nonsense: to be looked at */
        key = take_string(c, &n, &escaped);
        if (c->failed || escaped)
            return true;
        t = level_target(level, key, n);
        if (t.kind == TARGET_SKIP || t.field == FIELD_ERROR || t.level == LEVEL_CLUSTER)
            return false;
        if (t.kind != TARGET_CHILD || !take(c, ','))
            return true;
        level = t.level;
    }
}

static void add_change(struct mirror *m, const char *start, const char *end)
{
    m->changes = mem_room(m->changes, m->n_changes, &m->changes_cap, sizeof(*m->changes));
    m->changes[m->n_changes++] = (struct change){start, (size_t)(end - start)};
}

static _hot_ void scan_changes(struct mirror *m, struct cursor *c)
{
    m->n_changes = 0;
    if (!need(c, '[') || take(c, ']'))
        return;
    do {
        const char *start;
        bool ours;

        skip_space(c);
        start = c->at;
        need(c, '[');
        need(c, '[');
        if (c->failed)
            return;
        ours = path_concerns_us(c);
        if (ours)
            c->at = start;
        skip_open(c, ours ? 0 : 2);
        if (ours && !c->failed)
            add_change(m, start, c->at);
    } while (!c->failed && take(c, ','));
    need(c, ']');
}

/* ---- what is not as usual ---- */

static int look_at_token(void *arg, enum sax_event event, const char *text, size_t n)
{
    reader_token(arg, event, text, n);
    return 0;
}

/* Says what is wrong with a message that could not be scanned, or that has no kind. */
static int complain(struct mirror *m, const char *message, size_t n, struct err *e)
{
    const struct sax_limits limits = {.max_depth = READER_JSON_DEPTH_MAX + READER_DEPTH_MAX};
    struct tree *nowhere = tree_new();
    struct sax *sax;
    struct reader reader;
    int r;

    sax = sax_new(&limits, look_at_token, &reader);
    reader_init(&reader, &m->pools, sax, nowhere);
    reader_begin(&reader, level_target(LEVEL_TOP, "", 0));
    r = sax_feed(sax, message, n, e);
    if (r == 0)
        r = sax_finish(sax, e);
    if (r == 0 && reader.error)
        r = err_set(e, -EBADMSG, NULL, NULL, "the agent answers: %s", reader.error);
    else if (r == 0)
        r = err_set(e, -EBADMSG, NULL, NULL, "no event: an object with kind, id and data was expected");
    reader_flush(&reader);
    reader_clear(&reader);
    tree_free(&m->pools, nowhere);
    sax_free(sax);
    return r;
}

/* The members of a message that tell what it is. */
struct members {
    struct scan scan;
    bool has_kind, has_data, data_scanned;
    const char *data;
};

static bool key_is(const char *key, size_t n, const char *wanted)
{
    return strlen(wanted) == n && memcmp(key, wanted, n) == 0;
}

static void scan_member(struct mirror *m, struct cursor *c, struct members *seen)
{
    bool escaped;
    size_t n;
    const char *key = take_string(c, &n, &escaped);

    if (!key || !need(c, ':'))
        return;
    if (key_is(key, n, "kind") && next_is(c, '"')) {
        const char *kind = take_string(c, &n, &escaped);

        seen->has_kind = true;
        seen->scan.is_patch = kind && key_is(kind, n, "patch");
    } else if (key_is(key, n, "id")) {
        take_id(c, &seen->scan);
    } else if (key_is(key, n, "data")) {
        skip_space(c);
        seen->has_data = true;
        seen->data_scanned = seen->scan.is_patch;
        seen->data = c->at;
        if (seen->data_scanned)
            scan_changes(m, c);
        else
            skip_value(c);
    } else {
        skip_value(c);
    }
}

_hot_ int scan_event(struct mirror *m, const char *message, size_t n, struct scan *ret_scan, struct err *e)
{
    struct cursor c = {message, message + n, false};
    struct members seen = {0};

    m->n_changes = 0;
    if (need(&c, '{') && !take(&c, '}')) {
        do
            scan_member(m, &c, &seen);
        while (!c.failed && take(&c, ','));
        need(&c, '}');
    }
    skip_space(&c);
    if (c.failed || c.at != c.end || !seen.has_kind)
        return complain(m, message, n, e);
    if (seen.scan.is_patch && seen.has_data && !seen.data_scanned) {
        /* The data stood before the kind. */
        c.at = seen.data;
        scan_changes(m, &c);
    }
    if (seen.scan.is_patch && (c.failed || !seen.has_data || !seen.scan.has_id))
        return complain(m, message, n, e);
    *ret_scan = seen.scan;
    return 0;
}
