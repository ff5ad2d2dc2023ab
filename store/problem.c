/* Gathering problems: bounded, with fields and texts in the arena of whoever will show them. */
#include "store/problem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_fatal(const char *code)
{
    return strcmp(code, "warning") != 0 && strcmp(code, "shadowed") != 0;
}

void problem_append(struct problem_list *l, const struct problem *p)
{
    static const struct problem more = {"warning", "", "there are more problems than are told here"};

    l->fatal = l->fatal || is_fatal(p->code);
    if (l->count > SERVICE_PROBLEMS_MAX)
        return;
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 4;
        l->items = mem_realloc(l->items, l->cap, sizeof(*l->items));
    }
    l->items[l->count] = l->count < SERVICE_PROBLEMS_MAX ? *p : more;
    l->count++;
}

void problem_add_err(struct problem_list *l, const char *code, const char *rid, const char *keyword,
                     const struct err *e)
{
    struct err full = *e;

    if (keyword)
        err_prefix_field(&full, keyword);
    err_prefix_field(&full, rid);
    problem_append(l, &(struct problem){.code = code,
                                        .field = arena_strdup(l->arena, full.field),
                                        .text = arena_strdup(l->arena, full.text)});
}

void problem_add(struct problem_list *l, const char *code, const char *rid, const char *keyword, const char *fmt, ...)
{
    char text[2 * ERR_TEXT_MAX]; /* err_set() cuts it, at a character's border */
    struct err e = {0};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(&e, -EINVAL, NULL, keyword, "%s", text);
    problem_add_err(l, code, rid, NULL, &e);
}
