/*
 * Finding routes, and checking what stands behind the question mark. Pure; the table itself stands in table.c.
 *
 * The templates are a tree of segments, made once: a route is found in a step for each segment of the path.
 */
#include "api/routes.h"

#include "api/list.h"
#include "base/text.h"
#include "base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A route, and the next one of the same path. */
struct leaf {
    const struct api_route *route;
    struct leaf *next;
};

/* A segment of templates. */
struct node {
    const char *text; /* NULL: braces, which take any segment that is not empty */
    struct node *next, *first;
    struct leaf *leaves; /* of the paths that end here, in the table's order */
};

struct routes {
    struct arena *arena; /* has all nodes */
    struct node root;
};

/* What a segment leads to: below a node are texts, or braces alone, so there is one way at most. */
static struct node *find_child(const struct node *n, const char *segment)
{
    struct node *child = n->first;

    if (child && !child->text)
        return *segment ? child : NULL;
    while (child && (*child->text != *segment || strcmp(child->text, segment) != 0))
        child = child->next;
    return child;
}

static struct node *make_child(struct routes *r, struct node *n, const char *segment)
{
    bool braces = *segment == '{';
    struct node *child = find_child(n, segment);

    assert(!n->first || !n->first->text == braces);
    if (!child) {
        child = arena_new_of(r->arena, struct node);
        child->text = braces ? NULL : segment;
        child->next = n->first;
        n->first = child;
    }
    return child;
}

static void add_route(struct routes *r, const struct api_route *route)
{
    struct node *at = &r->root;

    for (const char *p = route->path; *p; p += strcspn(p, "/")) {
        p++; /* the slash */
        at = make_child(r, at, arena_strndup(r->arena, p, strcspn(p, "/")));
    }
    struct leaf **end = &at->leaves;
    while (*end)
        end = &(*end)->next;
    *end = arena_new_of(r->arena, struct leaf);
    (*end)->route = route;
}

struct routes *routes_new(const struct api_route *table, size_t n)
{
    struct routes *r = mem_new(struct routes);

    r->arena = arena_new();
    for (size_t i = 0; i < n; i++)
        add_route(r, &table[i]);
    return r;
}

void routes_free(struct routes *r)
{
    if (!r)
        return;
    arena_free(r->arena);
    mem_free(r);
}

/* The routes of a path; NULL: there are none. */
static const struct leaf *find_leaves(const struct routes *r, const struct target *t,
                                      const char *arguments[ROUTE_ARGUMENTS_MAX])
{
    const struct node *at = &r->root;
    size_t n_arguments = 0;

    for (size_t i = 0; at && i < t->n_segments; i++) {
        at = find_child(at, t->segments[i]);
        if (at && !at->text)
            arguments[n_arguments++] = t->segments[i];
    }
    return at ? at->leaves : NULL;
}

const struct api_route *route_find(const struct routes *r, const char *method, const struct target *t,
                                   const char *ret_arguments[ROUTE_ARGUMENTS_MAX])
{
    const char *arguments[ROUTE_ARGUMENTS_MAX] = {NULL};

    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (const struct leaf *l = find_leaves(r, t, arguments); l; l = l->next)
        if (strcmp(l->route->method, method) == 0) {
            memcpy(ret_arguments, arguments, sizeof(arguments));
            return l->route;
        }
    return NULL;
}

const char *route_allow(const struct routes *r, const struct target *t, struct arena *arena)
{
    const char *arguments[ROUTE_ARGUMENTS_MAX], *allow = NULL;

    for (const struct leaf *l = find_leaves(r, t, arguments); l; l = l->next) {
        const char *method = l->route->method, *also = strcmp(method, "GET") == 0 ? ", HEAD" : "";
        allow =
            allow ? arena_printf(arena, "%s, %s%s", allow, method, also) : arena_printf(arena, "%s%s", method, also);
    }
    return allow ? arena_printf(arena, "%s, OPTIONS", allow) : NULL;
}

bool route_takes(const struct api_route *r, const char *content_type)
{
    for (size_t i = 0; r->takes && r->takes[i]; i++)
        if (content_type_is(content_type, r->takes[i]))
            return true;
    return false;
}

/* ---- parameters ---- */

static bool is_number_between(const char *text, int64_t min, int64_t max)
{
    size_t n = strlen(text);

    errno = 0;
    long long number = strtoll(text, NULL, 10);
    return n && strspn(text, "0123456789") == n && !errno && number >= min && number <= max;
}

static void check_value(const struct parameter *p, const char *value, struct fault_list *faults)
{
    int64_t n = (int64_t)utf8_count(value, strlen(value));

    if (p->type == PARAMETER_TEXT && (n < p->min || n > p->max))
        fault_add(faults, FAULT_PARAMETER, p->name, "invalid",
                  "a text of %" PRId64 " to %" PRId64 " characters is expected", p->min, p->max);
    else if (p->values && !text_is_listed(p->values, value))
        fault_add(faults, FAULT_PARAMETER, p->name, "invalid", "it has no such value");
    else if (p->type == PARAMETER_INT && !is_number_between(value, p->min, p->max))
        fault_add(faults, FAULT_PARAMETER, p->name, "invalid", "a number from %" PRId64 " to %" PRId64 " is expected",
                  p->min, p->max);
    else if (p->type == PARAMETER_BOOL && strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        fault_add(faults, FAULT_PARAMETER, p->name, "invalid", "true or false is expected");
}

static const struct parameter *find_parameter(const struct api_route *r, const char *name, struct parameter *buffer)
{
    for (const struct parameter *p = r->parameters; p && p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return r->collection && list_parameter(r->collection, name, buffer) ? buffer : NULL;
}

static size_t times_before(const struct target *t, size_t index)
{
    size_t n = 0;

    for (size_t i = 0; i < index; i++)
        if (strcmp(t->pairs[i].name, t->pairs[index].name) == 0)
            n++;
    return n;
}

void parameters_check(const struct api_route *r, const struct target *t, struct fault_list *faults)
{
    for (size_t i = 0; i < t->n_pairs; i++) {
        struct parameter buffer;
        const struct parameter *p = find_parameter(r, t->pairs[i].name, &buffer);
        if (!p)
            fault_add(faults, FAULT_PARAMETER, t->pairs[i].name, "unknown", "there is no such parameter here");
        else if (times_before(t, i) >= (p->repeatable ? (size_t)PARAMETER_REPEATS_MAX : 1))
            fault_add(faults, FAULT_PARAMETER, p->name, "duplicate", "it can be given %d times at most",
                      p->repeatable ? PARAMETER_REPEATS_MAX : 1);
        else
            check_value(p, t->pairs[i].value, faults);
    }
}

const char *parameter_text(const struct target *t, const char *name)
{
    for (size_t i = 0; i < t->n_pairs; i++)
        if (strcmp(t->pairs[i].name, name) == 0)
            return t->pairs[i].value;
    return NULL;
}

int64_t parameter_int(const struct target *t, const char *name, int64_t otherwise)
{
    const char *text = parameter_text(t, name);

    return text ? strtoll(text, NULL, 10) : otherwise;
}

bool parameter_bool(const struct target *t, const char *name)
{
    const char *text = parameter_text(t, name);

    return text && strcmp(text, "true") == 0;
}
