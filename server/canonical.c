/*
 * Making canonical JSON texts.
 *
 * The text grows in `text`; for each member of an open object `members` remembers where it stands there. When an
 * object ends whose members are not in order, they are written once more in order through `sorted`.
 *
 * Editing works on the text: a canonical text has no white space and is well-formed, so a value's end is found by
 * counting brackets outside of strings.
 */
#include "server/canonical.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct member {
    size_t start, key_end, end; /* of "key":value in text; key_end: behind the key's closing quote */
};

struct frame {
    size_t start; /* of the bracket in text */
    size_t first_member;
    bool is_object;
    bool any, sorted;
};

struct canonical {
    struct buf text, sorted;
    struct frame *frames;
    size_t depth, frames_cap;
    struct member *members;
    size_t n_members, members_cap;
};

struct canonical *canonical_new(void)
{
    return mem_new(struct canonical);
}

void canonical_free(struct canonical *c)
{
    if (!c)
        return;
    buf_clear(&c->text);
    buf_clear(&c->sorted);
    mem_free(c->frames);
    mem_free(c->members);
    mem_free(c);
}

void canonical_begin(struct canonical *c)
{
    buf_reset(&c->text);
    c->depth = 0;
    c->n_members = 0;
}

const char *canonical_text(struct canonical *c, size_t *ret_n)
{
    *ret_n = c->text.len;
    return buf_cstr(&c->text);
}

/* Bytewise; both are keys as written, with their quotes. */
static int compare_keys(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_members(const void *a, const void *b, void *arg)
{
    const struct member *x = a, *y = b;
    const char *text = arg;
    int order = compare_keys(text + x->start, x->key_end - x->start, text + y->start, y->key_end - y->start);

    return order ? order : (x->start > y->start) - (x->start < y->start);
}

static bool same_key(const char *text, const struct member *a, const struct member *b)
{
    return compare_keys(text + a->start, a->key_end - a->start, text + b->start, b->key_end - b->start) == 0;
}

static void sort_members(struct canonical *c, const struct frame *f)
{
    struct member *members = c->members + f->first_member;
    size_t n = c->n_members - f->first_member;
    const char *text = buf_cstr(&c->text);
    bool first = true;

    assert(members);
    qsort_r(members, n, sizeof(*members), compare_members, c->text.data);
    buf_reset(&c->sorted);
    for (size_t i = 0; i < n; i++) {
        const struct member *m = &members[i];

        if (i + 1 < n && same_key(text, m, m + 1))
            continue;
        if (!first)
            buf_append_byte(&c->sorted, ',');
        first = false;
        buf_append(&c->sorted, text + m->start, m->end - m->start);
    }
    c->text.len = f->start + 1;
    buf_append(&c->text, c->sorted.data, c->sorted.len);
}

static void push_frame(struct canonical *c, bool is_object)
{
    c->frames = mem_room(c->frames, c->depth, &c->frames_cap, sizeof(*c->frames));
    c->frames[c->depth++] =
        (struct frame){.start = c->text.len, .first_member = c->n_members, .is_object = is_object, .sorted = true};
    buf_append_byte(&c->text, is_object ? '{' : '[');
}

static void add_key(struct canonical *c, const char *key, size_t n)
{
    struct frame *f = &c->frames[c->depth - 1];
    struct member *m, *before;

    if (f->any)
        buf_append_byte(&c->text, ',');
    f->any = true;
    c->members = mem_room(c->members, c->n_members, &c->members_cap, sizeof(*c->members));
    m = &c->members[c->n_members++];
    m->start = c->text.len;
    buf_json_string(&c->text, key, n);
    m->key_end = c->text.len;
    before = m - 1;
    if (f->sorted && c->n_members - 1 > f->first_member)
        f->sorted = compare_keys((char *)c->text.data + before->start, before->key_end - before->start,
                                 (char *)c->text.data + m->start, m->key_end - m->start) < 0;
    buf_append_byte(&c->text, ':');
}

/* A value is complete: of an object's member its end is known now. */
static bool value_ended(struct canonical *c)
{
    if (c->depth && c->frames[c->depth - 1].is_object)
        c->members[c->n_members - 1].end = c->text.len;
    return c->depth == 0;
}

static void begin_item(struct canonical *c)
{
    struct frame *f = c->depth ? &c->frames[c->depth - 1] : NULL;

    if (!f || f->is_object)
        return;
    if (f->any)
        buf_append_byte(&c->text, ',');
    f->any = true;
}

bool canonical_token(struct canonical *c, enum sax_event event, const char *text, size_t n)
{
    struct frame *f;

    switch (event) {
    case SAX_KEY:
        add_key(c, text, n);
        return false;
    case SAX_OBJECT_BEGIN:
    case SAX_ARRAY_BEGIN:
        begin_item(c);
        push_frame(c, event == SAX_OBJECT_BEGIN);
        return false;
    case SAX_OBJECT_END:
    case SAX_ARRAY_END:
        f = &c->frames[c->depth - 1];
        if (!f->sorted)
            sort_members(c, f);
        c->n_members = f->first_member;
        c->depth--;
        buf_append_byte(&c->text, f->is_object ? '}' : ']');
        return value_ended(c);
    case SAX_STRING:
        begin_item(c);
        buf_json_string(&c->text, text, n);
        return value_ended(c);
    case SAX_NUMBER:
    case SAX_TRUE:
    case SAX_FALSE:
    case SAX_NULL:
        break;
    }
    begin_item(c);
    buf_append(&c->text, text, n);
    return value_ended(c);
}

/* ---- reading a canonical text ---- */

static const char *string_end(const char *p)
{
    for (p++; *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p + 1;
}

/* Behind the value at p. */
static const char *value_end(const char *p, const char *end)
{
    size_t depth = 0;

    for (;;) {
        if (*p == '"') {
            p = string_end(p);
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            depth--;
            p++;
        } else {
            while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ':')
                p++;
        }
        if (depth == 0)
            return p;
        if (*p == ',' || *p == ':')
            p++;
    }
}

/* Where a step leads to: [item, item_end) is the member or item with its key, value: its value. */
struct place {
    bool found;
    bool alone, first, last;
    const char *item, *value, *item_end; /* not found: item is where it would go */
};

static struct place find_member(const char *p, const char *end, const char *key, size_t key_len)
{
    struct place place = {.alone = p[1] == '}', .first = true, .item = p + 1};

    for (p++; *p != '}';) {
        const char *key_end = string_end(p), *item_end = value_end(key_end + 1, end);
        int order = compare_keys(p, (size_t)(key_end - p), key, key_len);

        if (order >= 0) {
            place.item = p;
            place.found = order == 0;
            place.value = key_end + 1;
            place.item_end = item_end;
            place.last = place.found && *item_end == '}';
            return place;
        }
        place.first = false;
        p = *item_end == ',' ? item_end + 1 : item_end;
    }
    place.item = p;
    place.last = true;
    return place;
}

/* ret_count: how many there are, when it was not found. */
static struct place find_item(const char *p, const char *end, size_t index, size_t *ret_count)
{
    struct place place = {.alone = p[1] == ']', .first = index == 0, .last = true};
    size_t i = 0;

    for (p++; *p != ']'; i++) {
        const char *item_end = value_end(p, end);

        *ret_count = i + 1;
        if (i == index)
            return (struct place){.found = true,
                                  .first = index == 0,
                                  .last = *item_end == ']',
                                  .item = p,
                                  .value = p,
                                  .item_end = item_end};
        p = *item_end == ',' ? item_end + 1 : item_end;
    }
    place.item = p;
    *ret_count = i;
    return place;
}

static void insert(const char *text, size_t n, const struct place *at, const struct buf *key, const char *value,
                   size_t value_len, struct buf *out)
{
    size_t before = (size_t)(at->item - text);

    buf_append(out, text, before);
    if (at->last && !at->alone)
        buf_append_byte(out, ',');
    if (key) {
        buf_append(out, key->data, key->len);
        buf_append_byte(out, ':');
    }
    buf_append(out, value, value_len);
    if (!at->last && !at->alone)
        buf_append_byte(out, ',');
    buf_append(out, text + before, n - before);
}

static void cut(const char *text, size_t n, const struct place *at, struct buf *out)
{
    const char *from = at->item, *to = at->item_end;

    if (!at->last)
        to++; /* and the comma behind */
    else if (!at->first)
        from--; /* and the comma before */
    buf_append(out, text, (size_t)(from - text));
    buf_append(out, to, n - (size_t)(to - text));
}

/* Follows one step from the value at p. Not found, but can be added: at.item is where. */
static int follow(const char *p, const char *end, const struct json_step *s, struct buf *key, struct place *ret_at)
{
    size_t count;

    if (*p != (s->is_index ? '[' : '{'))
        return -ENOTDIR;
    if (s->is_index) {
        *ret_at = find_item(p, end, s->index, &count);
        return ret_at->found || s->index == count ? 0 : -ENOENT;
    }
    buf_reset(key);
    buf_json_string(key, s->key, s->key_len);
    *ret_at = find_member(p, end, (char *)key->data, key->len);
    return 0;
}

static int locate(const char *text, size_t n, const struct json_step *steps, size_t n_steps, bool must_be_there,
                  struct buf *key, struct place *ret_at)
{
    const char *p = text;
    int r = 0;

    for (size_t i = 0; i < n_steps && r == 0; i++) {
        r = follow(p, text + n, &steps[i], key, ret_at);
        if (r == 0 && !ret_at->found && (must_be_there || i + 1 < n_steps))
            r = -ENOENT;
        p = ret_at->value;
    }
    return r;
}

int canonical_edit(const char *text, size_t n, const struct json_step *steps, size_t n_steps, const char *value,
                   size_t value_len, struct buf *out, bool *ret_shifted)
{
    struct buf key = {0};
    struct place at = {0};
    int r;

    assert(n_steps > 0);
    buf_reset(out);
    *ret_shifted = false;
    r = locate(text, n, steps, n_steps, !value, &key, &at);
    if (r == 0 && !value) {
        *ret_shifted = steps[n_steps - 1].is_index && !at.last;
        cut(text, n, &at, out);
    } else if (r == 0 && at.found) {
        buf_append(out, text, (size_t)(at.value - text));
        buf_append(out, value, value_len);
        buf_append(out, at.item_end, n - (size_t)(at.item_end - text));
    } else if (r == 0) {
        insert(text, n, &at, steps[n_steps - 1].is_index ? NULL : &key, value, value_len, out);
    }
    buf_clear(&key);
    return r;
}

static void decode_escape(const char **p, struct buf *ret)
{
    static const char codes[256] = {
        ['"'] = '"', ['\\'] = '\\', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    const char *s = *p + 1;

    if (*s != 'u') {
        buf_append_byte(ret, (uint8_t)codes[(uint8_t)*s]);
        *p = s + 1;
        return;
    }
    /* Only control characters are written so: \u00XX. */
    char hex[3] = {s[3], s[4], '\0'};
    buf_append_byte(ret, (uint8_t)strtoul(hex, NULL, 16));
    *p = s + 5;
}

bool canonical_next_string(const char *text, size_t n, size_t *at, struct buf *ret)
{
    const char *p = text + (*at ? *at : 1), *end = text + n;

    if (n == 0 || *text != '[')
        return false;
    buf_reset(ret);
    while (p < end && *p != ']') {
        const char *item_end = value_end(p, end);
        bool is_string = *p == '"';

        for (p++; is_string && p < item_end - 1;) {
            if (*p == '\\')
                decode_escape(&p, ret);
            else
                buf_append_byte(ret, (uint8_t)*p++);
        }
        p = item_end + (*item_end == ',');
        *at = (size_t)(p - text);
        if (is_string)
            return true;
    }
    return false;
}
