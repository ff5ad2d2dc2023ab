/* Gathering problems: bounded, with fields and texts in the arena of whoever will show them. */
#include "store/problem.h"

#include "base/text.h"
#include "store/view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool problem_is_fatal(const struct problem *p)
{
    return strcmp(p->code, "warning") != 0 && strcmp(p->code, "shadowed") != 0;
}

bool problem_text_equal(const struct problem *a, const struct problem *b)
{
    return text_equal(a ? a->text : NULL, b ? b->text : NULL);
}

void problem_append(struct problem_list *l, const struct problem *p)
{
    static const struct problem more = {"warning", "", "there are more problems than are told here"};

    l->fatal = l->fatal || problem_is_fatal(p);
    if (l->count > SERVICE_PROBLEMS_MAX)
        return;
    l->items = mem_room(l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count] = l->count < SERVICE_PROBLEMS_MAX ? *p : more;
    l->count++;
}

static void add_err(struct problem_list *l, const char *code, const char *rid, const char *keyword, const char *other,
                    const struct err *e)
{
    struct err full = *e;

    if (keyword)
        err_prefix_field(&full, keyword);
    err_prefix_field(&full, rid);
    problem_append(l, &(struct problem){.code = code,
                                        .field = arena_strdup(l->arena, full.field),
                                        .text = arena_strdup(l->arena, full.text),
                                        .other = other ? arena_strdup(l->arena, other) : NULL});
}

void problem_add_err(struct problem_list *l, const char *code, const char *rid, const char *keyword,
                     const struct err *e)
{
    add_err(l, code, rid, keyword, NULL, e);
}

__attribute__((format(printf, 6, 0))) static void add_text(struct problem_list *l, const char *code, const char *rid,
                                                           const char *keyword, const char *other, const char *fmt,
                                                           va_list ap)
{
    char text[2 * ERR_TEXT_MAX]; /* err_set() cuts it, at a character's border */
    struct err e = {0};

    vsnprintf(text, sizeof(text), fmt, ap);
    err_set(&e, -EINVAL, NULL, keyword, "%s", text);
    add_err(l, code, rid, NULL, other, &e);
}

void problem_add(struct problem_list *l, const char *code, const char *rid, const char *keyword, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_text(l, code, rid, keyword, NULL, fmt, ap);
    va_end(ap);
}

void problem_add_conflict(struct problem_list *l, const char *rid, const char *keyword, const char *other,
                          const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_text(l, "conflict", rid, keyword, other, fmt, ap);
    va_end(ap);
}

const struct problem *problem_of_gateway_name(const char *name)
{
    static const struct problem none = {.code = "not_allowed",
                                        .field = "gateway",
                                        .text = "the exposure names no gateway, and there is no default gateway"},
                                bad = {.code = "invalid",
                                       .field = "gateway",
                                       .text = "a gateway's name has 1 to 64 letters, digits, dots, hyphens and "
                                               "underscores"};

    return !name ? &none : gateway_name_is_good(name) ? NULL : &bad;
}

const struct problem *problem_of_permission(const struct exposure *x, const struct gateway *gateway,
                                            exposure_check check, void *check_arg, struct arena *arena)
{
    static const struct problem disabled = {
        .code = "disabled", .field = "enabled", .text = "it was disabled over the API"};
    struct problem *p;
    struct err e = {0};
    int r;

    if (x->disabled)
        return &disabled;
    r = check && exposure_needs_permission(x) ? check(x, gateway, check_arg, &e) : 0;
    if (r >= 0)
        return NULL;
    p = arena_new_of(arena, struct problem);
    *p = (struct problem){.code = r == -EPERM ? "not_allowed" : "invalid",
                          .field = arena_strdup(arena, e.field),
                          .text = arena_strdup(arena, e.text)};
    return p;
}

bool problem_leave_bases(struct gateway_settings *settings, exposure_check check, void *check_arg, struct err *e)
{
    bool any = false;

    for (size_t i = 0; check && i < GATEWAY_BASES; i++) {
        struct gateway_settings one = {0};
        struct gateway *gateway;
        struct err fault = {0};

        if (!settings->bases[i])
            continue;
        one.bases[i] = settings->bases[i];
        gateway = gateway_new("", false, &one);
        if (check(NULL, gateway, check_arg, &fault) < 0) {
            settings->bases[i] = NULL;
            *e = any ? *e : fault;
            any = true;
        }
        gateway_unref(gateway);
    }
    return any;
}
