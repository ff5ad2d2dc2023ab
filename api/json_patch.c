/*
 * Patches, one operation after the other on a copy of the document.
 *
 * Invariant: no value of the document is deeper than JSON_PATCH_DEPTH_MAX, so that whatever walks it may recurse.
 */
#include "api/json_patch.h"

#include "base/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* A pointer taken apart; n == 0: the whole document. */
struct pointer {
    const char **tokens;
    size_t n;
};

struct patch {
    json_t *document; /* owned */
    size_t values;    /* in it, at most: removals are not subtracted */
    size_t index;     /* of the operation */
    struct arena *arena;
    struct err *e;
};

static int fail(const struct patch *p, int code, const char *member, const char *text)
{
    char field[64];

    (void)snprintf(field, sizeof(field), "#/%zu%s", p->index, member);
    return err_set(p->e, code, NULL, field, "%s", text);
}

/* ---- pointers ---- */

/* "~1" is a slash, "~0" a tilde, in this order (RFC 6901, 4). False: another tilde. */
static bool unescape(char *token)
{
    char *out = token;

    for (const char *in = token; *in; in++) {
        if (*in != '~')
            *out++ = *in;
        else if (in[1] == '0' || in[1] == '1')
            *out++ = *++in == '0' ? '~' : '/';
        else
            return false;
    }
    *out = '\0';
    return true;
}

static int pointer_parse(const struct patch *p, const char *text, const char *member, struct pointer *ret)
{
    size_t n = 0;

    if (*text && *text != '/')
        return fail(p, -EINVAL, member, "a JSON pointer is empty or begins with a slash");
    for (const char *at = text; *at; at++)
        n += *at == '/';
    if (n > JSON_PATCH_DEPTH_MAX)
        return fail(p, -E2BIG, member, "the pointer is too deep");
    *ret = (struct pointer){.tokens = arena_array(p->arena, const char *, n + 1)};
    while (*text) {
        size_t length = strcspn(++text, "/");
        char *token = arena_strndup(p->arena, text, length);
        if (!unescape(token))
            return fail(p, -EINVAL, member, "a tilde is followed by 0 or 1");
        ret->tokens[ret->n++] = token;
        text += length;
    }
    return 0;
}

/* An index without leading zeros; -1: none. */
static ssize_t array_index(const char *token)
{
    size_t n = strlen(token);
    ssize_t index = 0;

    if (!n || n > 9 || strspn(token, "0123456789") != n || (token[0] == '0' && n > 1))
        return -1;
    for (; *token; token++)
        index = index * 10 + (*token - '0');
    return index;
}

static json_t *child(const json_t *value, const char *token)
{
    ssize_t index = array_index(token);

    if (json_is_object(value))
        return json_object_get(value, token);
    return json_is_array(value) && index >= 0 ? json_array_get(value, (size_t)index) : NULL;
}

/* What the first n tokens lead to; NULL: it is not there. */
static json_t *resolve(const struct patch *p, const struct pointer *at, size_t n)
{
    json_t *value = p->document;

    for (size_t i = 0; value && i < n; i++)
        value = child(value, at->tokens[i]);
    return value;
}

/* ---- limits ---- */

/* NOLINTNEXTLINE(misc-no-recursion): json_parse() and the invariant bound the depth */
static void measure(const json_t *value, size_t *ret_values, size_t *ret_depth)
{
    size_t deepest = 0, i;
    const char *name;
    json_t *item;

    (*ret_values)++;
    json_object_foreach((json_t *)(uintptr_t)value, name, item)
    {
        size_t depth = 0;
        measure(item, ret_values, &depth);
        deepest = depth > deepest ? depth : deepest;
    }
    json_array_foreach(value, i, item)
    {
        size_t depth = 0;
        measure(item, ret_values, &depth);
        deepest = depth > deepest ? depth : deepest;
    }
    *ret_depth = deepest + 1;
}

static int check_limits(struct patch *p, const json_t *value, const struct pointer *to)
{
    size_t values = 0, depth = 0;

    measure(value, &values, &depth);
    p->values += values;
    if (p->values > JSON_PATCH_VALUES_MAX || to->n + depth > JSON_PATCH_DEPTH_MAX)
        return fail(p, -E2BIG, "", "the document would become too large or too deep");
    return 0;
}

/* ---- operations ---- */

/* Where in an array something is put; -1: nowhere. Only what is added may stand behind the end. */
static ssize_t place_in(const json_t *array, const char *token, bool replace)
{
    ssize_t size = (ssize_t)json_array_size(array);
    ssize_t index = strcmp(token, "-") == 0 && !replace ? size : array_index(token);

    return index < size + (replace ? 0 : 1) ? index : -1;
}

static int put_below(struct patch *p, const struct pointer *to, json_t *value, bool replace)
{
    json_t *parent = resolve(p, to, to->n - 1);
    const char *last = to->tokens[to->n - 1];
    ssize_t index = json_is_array(parent) ? place_in(parent, last, replace) : -1;
    bool there = json_is_object(parent) && (!replace || json_object_get(parent, last));

    if (there)
        return json_object_set(parent, last, value);
    if (index < 0)
        return fail(p, -ENOENT, "/path", "there is no such place");
    return replace ? json_array_set(parent, (size_t)index, value) : json_array_insert(parent, (size_t)index, value);
}

/* Takes the value over. */
static int put(struct patch *p, const struct pointer *to, json_t *value, bool replace)
{
    int r = check_limits(p, value, to);

    if (!r && to->n) {
        r = put_below(p, to, value, replace);
    } else if (!r) {
        json_decref(p->document);
        p->document = json_incref(value);
    }
    json_decref(value);
    return r;
}

/* The value itself, for the caller. */
static int take(struct patch *p, const struct pointer *from, const char *member, json_t **ret)
{
    json_t *value = resolve(p, from, from->n), *parent = from->n ? resolve(p, from, from->n - 1) : NULL;

    if (!value)
        return fail(p, -ENOENT, member, "there is nothing at this place");
    *ret = json_incref(value);
    if (!parent)
        return 0; /* the whole document: what replaces it comes next */
    if (json_is_object(parent))
        return json_object_del(parent, from->tokens[from->n - 1]);
    return json_array_remove(parent, (size_t)array_index(from->tokens[from->n - 1]));
}

static int operation_remove(struct patch *p, const struct pointer *path)
{
    json_t *value = NULL;

    if (!path->n)
        return fail(p, -EINVAL, "/path", "the whole document can't be removed");
    int r = take(p, path, "/path", &value);
    json_decref(value);
    return r;
}

static int operation_move(struct patch *p, const struct pointer *from, const struct pointer *path)
{
    json_t *value = NULL;
    bool inside = path->n > from->n;

    for (size_t i = 0; inside && i < from->n; i++)
        inside = strcmp(from->tokens[i], path->tokens[i]) == 0;
    if (inside)
        return fail(p, -EINVAL, "/from", "a value can't be moved into itself");
    int r = take(p, from, "/from", &value);
    return r ? r : put(p, path, value, false);
}

static int operation_copy(struct patch *p, const struct pointer *from, const struct pointer *path)
{
    const json_t *value = resolve(p, from, from->n);

    if (!value)
        return fail(p, -ENOENT, "/from", "there is nothing at this place");
    int r = check_limits(p, value, path); /* before it is copied */
    return r ? r : put(p, path, json_deep_copy(value), false);
}

static int operation_test(struct patch *p, const struct pointer *path, const json_t *value)
{
    json_t *found = resolve(p, path, path->n);

    if (!found)
        return fail(p, -ENOENT, "/path", "there is nothing at this place");
    bool number = json_is_number(found) && json_is_number(value);
    if (number ? json_number_value(found) != json_number_value(value) : !json_equal(found, value))
        return fail(p, -ECANCELED, "/value", "the value at this place is another one");
    return 0;
}

static int read_place(struct patch *p, const json_t *operation, const char *name, struct pointer *ret)
{
    const char *text = json_string_value(json_object_get(operation, name));
    const char *member = arena_printf(p->arena, "/%s", name);

    return text ? pointer_parse(p, text, member, ret) : fail(p, -EINVAL, member, "a JSON pointer is expected");
}

enum operation { ADD, REPLACE, TEST, REMOVE, MOVE, COPY, OPERATIONS };

static enum operation which_operation(const json_t *json)
{
    static const char *const names[] = {"add", "replace", "test", "remove", "move", "copy"};
    const char *name = json_string_value(json_object_get(json, "op"));
    size_t which = 0;

    while (which < OPERATIONS && (!name || strcmp(names[which], name) != 0))
        which++;
    return (enum operation)which;
}

static int check_operation(struct patch *p, const json_t *json, enum operation which)
{
    const json_t *from = json_object_get(json, "from");

    if (which == OPERATIONS)
        return fail(p, -EINVAL, "/op", "add, remove, replace, move, copy or test is expected");
    if (which <= TEST && !json_object_get(json, "value"))
        return fail(p, -EINVAL, "/value", "is missing");
    if (from && !json_is_string(from))
        return fail(p, -EINVAL, "/from", "a JSON pointer is expected");
    return 0;
}

static int apply(struct patch *p, const json_t *json)
{
    enum operation which = which_operation(json);
    const json_t *value = json_object_get(json, "value");
    struct pointer path = {0}, from = {0};
    int r = check_operation(p, json, which);

    if (!r)
        r = read_place(p, json, "path", &path);
    if (!r && which >= MOVE)
        r = read_place(p, json, "from", &from);
    if (r)
        return r;
    switch (which) {
    case ADD:
    case REPLACE:
        return put(p, &path, json_deep_copy(value), which == REPLACE);
    case TEST:
        return operation_test(p, &path, value);
    case REMOVE:
        return operation_remove(p, &path);
    case MOVE:
        return operation_move(p, &from, &path);
    default:
        return operation_copy(p, &from, &path);
    }
}

int json_patch_apply(const json_t *document, const json_t *patch, json_t **ret, struct err *e)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct patch p = {.arena = arena, .e = e};
    size_t depth = 0;
    int r = 0;

    if (!json_is_array(patch))
        return err_set(e, -EINVAL, NULL, "#", "an array of operations is expected");
    if (json_array_size(patch) > JSON_PATCH_OPERATIONS_MAX)
        return err_set(e, -E2BIG, NULL, "#", "more than %d operations", JSON_PATCH_OPERATIONS_MAX);
    measure(document, &p.values, &depth);
    p.document = json_deep_copy(document);
    for (; !r && p.index < json_array_size(patch); p.index++)
        r = apply(&p, json_array_get(patch, p.index));
    if (r)
        json_decref(p.document);
    else
        *ret = p.document;
    return r;
}
