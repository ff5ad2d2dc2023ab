/* Pages and objects of collections. */
#include "api/list.h"

#include "api/base64url.h"
#include "base/hash.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct sort_key {
    const struct attribute *attribute;
    bool descending;
};

struct list_query {
    size_t limit;
    const char *q;
    struct sort_key sorts[LIST_SORTS_MAX];
    size_t n_sorts;
    const char *fields[LIST_FIELDS_MAX];
    size_t n_fields;
    struct cursor cursor;
    bool has_cursor;
    uint64_t mark;
};

/* ---- values ---- */

static struct value *values_add(struct values *v)
{
    v->items = arena_room(v->arena, v->items, v->n, &v->cap, sizeof(*v->items));
    return &v->items[v->n++];
}

void values_text(struct values *v, const char *text)
{
    if (text)
        *values_add(v) = (struct value){.text = text};
}

void values_number(struct values *v, int64_t number)
{
    *values_add(v) = (struct value){.number = number};
}

bool text_holds(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}

/* ---- the query ---- */

static const struct attribute *find_attribute(const struct collection *l, const char *name, size_t n, unsigned use)
{
    for (const struct attribute *a = l->attributes; a && a->name; a++)
        if (a->uses & use && strlen(a->name) == n && memcmp(a->name, name, n) == 0)
            return a;
    return NULL;
}

static bool has_use(const struct collection *l, unsigned use)
{
    for (const struct attribute *a = l->attributes; a && a->name; a++)
        if (a->uses & use)
            return true;
    return false;
}

bool list_parameter(const struct collection *collection, const char *name, struct parameter *ret)
{
    static const struct parameter standard[] = {
        {"limit", PARAMETER_INT, 1, LIST_LIMIT_MAX, false},  {"after", PARAMETER_TEXT, 1, LIST_CURSOR_MAX, false},
        {"fields", PARAMETER_TEXT, 1, LIST_TEXT_MAX, false}, {"q", PARAMETER_TEXT, 1, LIST_TEXT_MAX, false},
        {"sort", PARAMETER_TEXT, 1, LIST_TEXT_MAX, false},
    };
    const struct attribute *a = find_attribute(collection, name, strlen(name), ATTRIBUTE_FILTER);

    if (a) {
        *ret = (struct parameter){.name = a->name,
                                  .type = a->type,
                                  .max = a->type == PARAMETER_INT ? LIST_PORT_MAX : LIST_TEXT_MAX,
                                  .repeatable = a->type != PARAMETER_BOOL,
                                  .values = a->values};
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(standard); i++)
        if (strcmp(standard[i].name, name) == 0) {
            *ret = standard[i];
            return (strcmp(name, "q") != 0 || has_use(collection, ATTRIBUTE_SEARCH)) &&
                   (strcmp(name, "sort") != 0 || has_use(collection, ATTRIBUTE_SORT));
        }
    return false;
}

static void read_sorts(struct call *c, const struct collection *l, struct list_query *q)
{
    const char *text = parameter_text(&c->target, "sort");

    while (text && *text) {
        bool descending = *text == '-';
        text += descending;
        size_t n = strcspn(text, ",");
        const struct attribute *a = find_attribute(l, text, n, ATTRIBUTE_SORT);
        if (!a)
            fault_add(&c->faults, FAULT_PARAMETER, "sort", "invalid", "\"%.*s\" can't be sorted by", (int)n, text);
        else if (q->n_sorts == LIST_SORTS_MAX)
            fault_add(&c->faults, FAULT_PARAMETER, "sort", "invalid", "more than %d keys", LIST_SORTS_MAX);
        else
            q->sorts[q->n_sorts++] = (struct sort_key){a, descending};
        text += n;
        if (*text == ',' && !*++text)
            fault_add(&c->faults, FAULT_PARAMETER, "sort", "invalid", "a name is missing behind the last comma");
    }
}

static bool field_is_known(const struct collection *l, const char *name, size_t n)
{
    for (const char *const *f = l->fields; f && *f; f++)
        if (strlen(*f) == n && memcmp(*f, name, n) == 0)
            return true;
    return false;
}

static void read_fields(struct call *c, const struct collection *l, struct list_query *q)
{
    const char *text = parameter_text(&c->target, "fields");

    while (text) {
        size_t n = strcspn(text, ",");
        if (!field_is_known(l, text, n))
            fault_add(&c->faults, FAULT_PARAMETER, "fields", "unknown", "there is no field \"%.*s\"", (int)n, text);
        else if (q->n_fields == LIST_FIELDS_MAX)
            fault_add(&c->faults, FAULT_PARAMETER, "fields", "invalid", "more than %d fields", LIST_FIELDS_MAX);
        else
            q->fields[q->n_fields++] = arena_strndup(c->arena, text, n);
        text = text[n] ? text + n + 1 : NULL;
    }
}

/* What decides which objects a list has, and in which order, whatever the order of the parameters. */
static uint64_t query_mark(const struct call *c)
{
    uint64_t mark = hash_bytes(c->target.path, strlen(c->target.path));

    for (size_t i = 0; i < c->target.n_pairs; i++) {
        const struct query_pair *p = &c->target.pairs[i];
        if (strcmp(p->name, "limit") == 0 || strcmp(p->name, "after") == 0 || strcmp(p->name, "fields") == 0)
            continue;
        mark += hash_seeded(p->value, strlen(p->value), hash_bytes(p->name, strlen(p->name)));
    }
    return mark;
}

/* A cursor names a page; one that is none of this list's names none. */
static void read_cursor(struct call *c, struct list_query *q, const char *after)
{
    int r = cursor_read(after, q->mark, c->arena, &q->cursor);
    if (!r && q->cursor.n_values != q->n_sorts)
        r = -EINVAL;
    for (size_t i = 0; !r && i < q->n_sorts; i++)
        if ((q->cursor.values[i].text != NULL) != (q->sorts[i].attribute->type == PARAMETER_TEXT))
            r = -EINVAL;
    q->has_cursor = !r;
    if (r == -ESTALE)
        fault_add(&c->faults, FAULT_PARAMETER, "after", "mismatch", "it belongs to another list, filter or sorting");
    else if (r)
        fault_add(&c->faults, FAULT_PARAMETER, "after", "invalid", "it is no cursor; take `next` of the page before");
}

static void read_query(struct call *c, const struct collection *l, struct list_query *q)
{
    const char *after = parameter_text(&c->target, "after");

    *q = (struct list_query){.q = parameter_text(&c->target, "q"), .mark = query_mark(c)};
    q->limit = (size_t)parameter_int(&c->target, "limit", LIST_LIMIT_DEFAULT);
    read_sorts(c, l, q);
    read_fields(c, l, q);
    if (after)
        read_cursor(c, q, after);
}

void list_check(struct call *c)
{
    struct list_query q = {0};

    read_sorts(c, c->route->collection, &q);
    read_fields(c, c->route->collection, &q);
}

/* ---- cursors ---- */

char *cursor_write(const struct cursor *cursor, uint64_t mark)
{
    struct buf b;
    struct writer w = {.out = &b};
    char hash[17];

    buf_init(&b, 0);
    (void)snprintf(hash, sizeof(hash), "%016" PRIx64, mark);
    writer_open(&w, NULL, '[');
    writer_text(&w, NULL, hash);
    writer_text(&w, NULL, cursor->key);
    for (size_t i = 0; i < cursor->n_values; i++) {
        if (cursor->values[i].text)
            writer_text(&w, NULL, cursor->values[i].text);
        else
            writer_int(&w, NULL, cursor->values[i].number);
    }
    writer_close(&w, ']');
    char *text = base64url_write(b.data, b.len);
    buf_clear(&b);
    return text;
}

int cursor_read(const char *text, uint64_t mark, struct arena *arena, struct cursor *ret)
{
    char hash[17];
    size_t n;
    json_t *json;
    char *decoded = base64url_read(text, arena, &n);
    struct cursor cursor = {0};

    if (!decoded || json_parse(decoded, n, &json, NULL))
        return -EINVAL;
    (void)snprintf(hash, sizeof(hash), "%016" PRIx64, mark);
    const char *found = json_string_value(json_array_get(json, 0)), *key = json_string_value(json_array_get(json, 1));
    size_t n_values = json_array_size(json) - 2;
    int r = !found || !key || n_values > LIST_SORTS_MAX ? -EINVAL : strcmp(found, hash) != 0 ? -ESTALE : 0;
    for (size_t i = 0; !r && i < n_values; i++) {
        const json_t *value = json_array_get(json, i + 2);
        if (json_is_string(value))
            cursor.values[cursor.n_values++].text = arena_strdup(arena, json_string_value(value));
        else if (json_is_integer(value))
            cursor.values[cursor.n_values++].number = json_integer_value(value);
        else
            r = -EINVAL;
    }
    if (!r) {
        cursor.key = arena_strdup(arena, key);
        *ret = cursor;
    }
    json_decref(json);
    return r;
}

/* ---- which objects ---- */

static bool value_is(const struct value *v, const struct attribute *a, const char *wanted)
{
    if (v->text)
        return strcmp(v->text, wanted) == 0;
    if (a->type == PARAMETER_BOOL)
        return v->number == (strcmp(wanted, "true") == 0);
    return v->number == strtoll(wanted, NULL, 10);
}

/* Whether any of the attribute's values is any of those that are asked for. */
static bool filter_passes(struct call *c, const struct attribute *a, const void *item, struct values *v)
{
    bool asked = false, got = false;

    for (size_t i = 0; i < c->target.n_pairs; i++) {
        if (strcmp(c->target.pairs[i].name, a->name) != 0)
            continue;
        if (!got)
            a->get(c, item, v);
        got = asked = true;
        for (size_t k = 0; k < v->n; k++)
            if (value_is(&v->items[k], a, c->target.pairs[i].value))
                return true;
    }
    return !asked;
}

static bool item_passes(struct call *c, const struct collection *l, const struct list_query *q, const void *item,
                        struct values *v)
{
    bool found = !q->q;

    for (const struct attribute *a = l->attributes; a && a->name; a++) {
        v->n = 0;
        if (a->uses & ATTRIBUTE_FILTER && !filter_passes(c, a, item, v))
            return false;
        v->n = 0;
        if (found || !(a->uses & ATTRIBUTE_SEARCH))
            continue;
        a->get(c, item, v);
        for (size_t i = 0; i < v->n && !found; i++)
            found = v->items[i].text && text_holds(v->items[i].text, q->q);
    }
    return found;
}

/* ---- in which order ---- */

struct sorted {
    const void *item;
    const char *key;
    struct value values[LIST_SORTS_MAX];
};

struct sorter {
    const struct list_query *q;
    int (*compare_keys)(const char *a, const char *b);
};

static int compare_sorted(const void *a, const void *b, void *arg)
{
    const struct sorted *x = a, *y = b;
    const struct sorter *s = arg;

    for (size_t i = 0; i < s->q->n_sorts; i++) {
        const struct value *u = &x->values[i], *v = &y->values[i];
        int r = u->text ? strcmp(u->text, v->text) : (u->number > v->number) - (u->number < v->number);
        if (r)
            return s->q->sorts[i].descending ? -r : r;
    }
    return s->compare_keys(x->key, y->key);
}

static void fill_sorted(struct call *c, const struct collection *l, const struct list_query *q, const void *item,
                        struct values *v, struct sorted *ret)
{
    *ret = (struct sorted){.item = item, .key = l->key(c, item)};
    for (size_t i = 0; i < q->n_sorts; i++) {
        const struct attribute *a = q->sorts[i].attribute;
        v->n = 0;
        a->get(c, item, v);
        ret->values[i] = v->n ? v->items[0] : (struct value){.text = a->type == PARAMETER_TEXT ? "" : NULL};
    }
}

enum { NOT_COUNTED = -1 };

/* All that pass, sorted, behind the cursor; at most limit + 1. *ret_total: of all that pass. */
static size_t gather_sorted(struct call *c, const struct collection *l, const struct list_query *q,
                            struct sorted **ret, int64_t *ret_total)
{
    struct sorter s = {q, l->compare_keys ? l->compare_keys : strcmp};
    struct values v = {.arena = c->arena};
    size_t n = 0, cap = 0, from = 0;

    for (const void *item = l->first(c, ""); item; item = l->next(c, item)) {
        if (!item_passes(c, l, q, item, &v))
            continue;
        *ret = mem_room(*ret, n, &cap, sizeof(**ret));
        fill_sorted(c, l, q, item, &v, &(*ret)[n++]);
    }
    *ret_total = (int64_t)n;
    if (n)
        qsort_r(*ret, n, sizeof(**ret), compare_sorted, &s);
    if (q->has_cursor) {
        struct sorted last = {.key = q->cursor.key};
        memcpy(last.values, q->cursor.values, sizeof(last.values));
        while (from < n && compare_sorted(&(*ret)[from], &last, &s) <= 0)
            from++;
    }
    n -= from;
    if (from && n)
        memmove(*ret, *ret + from, n * sizeof(**ret));
    return n > q->limit ? q->limit + 1 : n;
}

static bool is_filtered(const struct call *c, const struct collection *l, const struct list_query *q)
{
    for (const struct attribute *a = l->attributes; a && a->name; a++)
        if (a->uses & ATTRIBUTE_FILTER && parameter_text(&c->target, a->name))
            return true;
    return q->q != NULL;
}

/* As gather_sorted(). What is not looked at for the page is not counted for it either: NOT_COUNTED. */
static size_t gather_in_order(struct call *c, const struct collection *l, const struct list_query *q,
                              struct sorted **ret, int64_t *ret_total)
{
    struct values v = {.arena = c->arena};
    size_t n = 0;

    *ret = mem_array(struct sorted, q->limit + 1);
    for (const void *item = l->first(c, q->has_cursor ? q->cursor.key : ""); item && n <= q->limit;
         item = l->next(c, item))
        if (item_passes(c, l, q, item, &v))
            fill_sorted(c, l, q, item, &v, &(*ret)[n++]);
    *ret_total = l->count && !is_filtered(c, l, q) ? (int64_t)l->count(c)
                 : !q->has_cursor && n <= q->limit ? (int64_t)n
                                                   : NOT_COUNTED;
    return n;
}

/* ---- arrays ---- */

struct array {
    const char *items;
    size_t n, size;
};

void array_prepare(struct call *c, const void *items, size_t n, size_t size)
{
    struct array *a = arena_new_of(c->arena, struct array);

    *a = (struct array){items, n, size};
    c->prepared = a;
}

size_t array_count(struct call *c)
{
    const struct array *a = c->prepared;

    return a->n;
}

const void *array_begin(struct call *c)
{
    const struct array *a = c->prepared;

    return a->n ? a->items : NULL;
}

const void *array_next(struct call *c, const void *item)
{
    const struct array *a = c->prepared;
    const char *next = (const char *)item + a->size;

    return next < a->items + a->n * a->size ? next : NULL;
}

const void *array_first(struct call *c, const char *after, const char *(*key)(struct call *, const void *))
{
    const void *item = array_begin(c);

    while (item && strcmp(key(c, item), after) <= 0)
        item = array_next(c, item);
    return item;
}

const void *array_find(struct call *c, const char *name, const char *(*key)(struct call *, const void *))
{
    const void *item = array_begin(c);

    while (item && strcmp(key(c, item), name) != 0)
        item = array_next(c, item);
    return item;
}

/* ---- writing ---- */

/* Where the members that are the status stand in what was written. */
struct span {
    size_t from, status, end;
};

static struct span write_item(struct call *c, const struct collection *l, const void *item, struct writer *w)
{
    struct span s;

    writer_open(w, NULL, '{');
    s.from = w->out->len;
    writer_text(w, "kind", l->kind);
    l->write(c, item, w);
    s.status = w->out->len;
    if (l->write_status) {
        writer_open(w, "status", '{');
        l->write_status(c, item, w);
        writer_close(w, '}');
    }
    s.end = w->out->len;
    writer_close(w, '}');
    return s;
}

static json_t *pick_fields(const json_t *whole, const struct list_query *q)
{
    json_t *part = json_object();

    for (size_t i = 0; i < q->n_fields; i++) {
        const char *dot = strchr(q->fields[i], '.');
        if (!dot) {
            json_object_set(part, q->fields[i], json_object_get(whole, q->fields[i]));
            continue;
        }
        size_t n = (size_t)(dot - q->fields[i]);
        json_t *from = json_object_getn(whole, q->fields[i], n), *to = json_object_getn(part, q->fields[i], n);
        if (!to) {
            to = json_object();
            json_object_setn_new(part, q->fields[i], n, to);
        }
        if (to != from) /* the whole was asked for as well */
            json_object_set(to, dot + 1, json_object_get(from, dot + 1));
    }
    return part;
}

static void write_fields(struct call *c, const struct collection *l, const struct list_query *q, const void *item,
                         struct writer *w)
{
    struct buf b;
    struct writer scratch = {.out = &b};
    json_t *whole;

    buf_init(&b, 0);
    write_item(c, l, item, &scratch);
    if (json_parse((const char *)b.data, b.len, &whole, NULL) == 0) {
        json_t *part = pick_fields(whole, q);
        char *text = json_dumps(part, JSON_COMPACT | JSON_PRESERVE_ORDER);
        writer_raw(w, NULL, text, strlen(text));
        mem_free(text);
        json_decref(part);
        json_decref(whole);
    }
    buf_clear(&b);
}

static void write_next(struct writer *w, const struct list_query *q, const struct sorted *last)
{
    struct cursor cursor = {.key = last->key, .n_values = q->n_sorts};

    memcpy(cursor.values, last->values, sizeof(cursor.values));
    _cleanup_(mem_free_p) char *text = cursor_write(&cursor, q->mark);
    writer_text(w, "next", text);
}

static void expect(struct call *c, const struct collection *l, const struct sorted *items, size_t n)
{
    const void **list;

    if (!l->expect || n == 0)
        return;
    list = arena_array(c->arena, const void *, n);
    for (size_t i = 0; i < n; i++)
        list[i] = items[i].item;
    l->expect(c, list, n);
}

void list_answer(struct call *c)
{
    const struct collection *l = c->route->collection;
    struct writer w = {.out = &c->answer->body};
    struct list_query q;
    _cleanup_(mem_free_p) struct sorted *items = NULL;
    char place[EVENT_PLACE_MAX];
    size_t told = 0;

    if (l->prepare)
        l->prepare(c);
    if (c->answer->status)
        return; /* what the list is of does not exist */
    read_query(c, l, &q);
    if (c->faults.n) { /* what else there is was told by list_check() */
        call_fail(c, 404, "there is no such page");
        return;
    }
    int64_t total;
    size_t n = (q.n_sorts ? gather_sorted : gather_in_order)(c, l, &q, &items, &total);
    expect(c, l, items, n > q.limit ? q.limit : n);
    writer_open(&w, NULL, '{');
    writer_text(&w, "kind", arena_printf(c->arena, "%sList", l->kind));
    writer_open(&w, "items", '[');
    while (told < n && told < q.limit && c->answer->body.len < LIST_BYTES_MAX) {
        if (q.n_fields)
            write_fields(c, l, &q, items[told++].item, &w);
        else
            write_item(c, l, items[told++].item, &w);
    }
    writer_close(&w, ']');
    if (told < n)
        write_next(&w, &q, &items[told - 1]);
    else
        writer_null(&w, "next");
    if (total != NOT_COUNTED)
        writer_int(&w, "total", total);
    else
        writer_null(&w, "total");
    /* Where to watch from is no part of what the page says: one that is older repeats events, and loses none. */
    etag_of(c->answer->body.data, c->answer->body.len, c->etag);
    writer_text(&w, "event", event_place_text(c->view->event, place));
    writer_close(&w, '}');
    call_done(c);
}

bool item_write(struct call *c, const struct collection *l, const char *key, struct writer *w, char etag[ETAG_MAX])
{
    if (l->prepare)
        l->prepare(c);
    const void *item = c->answer->status ? NULL : l->find(c, key);
    if (!item)
        return false;
    struct span s = write_item(c, l, item, w);
    const uint8_t *p = w->out->data;
    etag_of_two(p + s.from, s.status - s.from, p + s.status, s.end - s.status, etag);
    return true;
}

void item_answer(struct call *c, const struct collection *collection)
{
    struct writer w = {.out = &c->answer->body};

    if (item_write(c, collection, c->arguments[0], &w, c->etag))
        call_done(c);
    else if (!c->answer->status)
        call_not_found(c, collection->kind);
}
