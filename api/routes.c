/* Finding routes, and checking what stands behind the question mark. Pure; the table itself stands in table.c. */
#include "api/routes.h"

#include "api/list.h"
#include "base/text.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Whether the segments fit the template; what stands in braces takes any that is not empty. */
static bool path_fits(const char *path, const struct target *t, const char *arguments[ROUTE_ARGUMENTS_MAX])
{
    size_t n_arguments = 0, i = 0;

    for (const char *at = path; *at; i++) {
        if (i == t->n_segments)
            return false;
        const char *segment = t->segments[i];
        if (*++at == '{') {
            if (!*segment)
                return false;
            arguments[n_arguments++] = segment;
            at += strcspn(at, "/");
            continue;
        }
        for (; *segment && *segment == *at;
             segment++) /* a segment may have a slash, a part of the template has not */
            if (*at++ == '/')
                return false;
        if (*segment || (*at && *at != '/'))
            return false;
    }
    return i == t->n_segments;
}

const struct api_route *route_find(const struct api_route *table, size_t n, const char *method,
                                   const struct target *t, const char *ret_arguments[ROUTE_ARGUMENTS_MAX])
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < n; i++) {
        const char *arguments[ROUTE_ARGUMENTS_MAX] = {NULL};
        if (strcmp(table[i].method, method) == 0 && path_fits(table[i].path, t, arguments)) {
            memcpy(ret_arguments, arguments, sizeof(arguments));
            return &table[i];
        }
    }
    return NULL;
}

const char *route_allow(const struct api_route *table, size_t n, const struct target *t, struct arena *arena)
{
    const char *arguments[ROUTE_ARGUMENTS_MAX], *allow = NULL;

    for (size_t i = 0; i < n; i++) {
        if (!path_fits(table[i].path, t, arguments))
            continue;
        const char *also = strcmp(table[i].method, "GET") == 0 ? ", HEAD" : "";
        allow = allow ? arena_printf(arena, "%s, %s%s", allow, table[i].method, also)
                      : arena_printf(arena, "%s%s", table[i].method, also);
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
