/* Problems while they are gathered. For the files of this layer that make them; nobody else includes it. */
#ifndef STORE_PROBLEM_H
#define STORE_PROBLEM_H

#include "store/service.h"

struct gateway_settings;

/* Problems being gathered; texts are in the arena. Past SERVICE_PROBLEMS_MAX, one says that there are more. */
struct problem_list {
    struct problem *items; /* mem_free() */
    size_t count, cap;
    bool fatal; /* one of them is more than a warning */
    struct arena *arena;
};

/* The field is "rid.keyword", or rid where keyword is NULL. code is borrowed; all but "warning" and "shadowed" are
 * fatal. */
void problem_add(struct problem_list *l, const char *code, const char *rid, const char *keyword, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* "conflict": the exposure `other` has what this one wants. */
void problem_add_conflict(struct problem_list *l, const char *rid, const char *keyword, const char *other,
                          const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* With e's field and text. */
void problem_add_err(struct problem_list *l, const char *code, const char *rid, const char *keyword,
                     const struct err *e);

/*
 * Why an exposure is on no listener although it is valid (struct service_exposure's hindrance); NULL: it may be
 * there. The first: for its gateway's name (NULL: it names none, and there is no default one); lives for ever. The
 * second: it is disabled, or declares what its gateway does not allow (check may be NULL); in the arena, or lives for
 * ever.
 */
const struct problem *problem_of_gateway_name(const char *name);
const struct problem *problem_of_permission(const struct exposure *x, const struct gateway *gateway,
                                            exposure_check check, void *check_arg, struct arena *arena);

/*
 * Leaves out of a gateway's settings the bases that the check (may be NULL) refuses: another version took them, and
 * rather without them than without what starts from them. True: there was one; the first one's fault is in e.
 */
bool problem_leave_bases(struct gateway_settings *settings, exposure_check check, void *check_arg, struct err *e);

/* Texts are borrowed. */
void problem_append(struct problem_list *l, const struct problem *p);

#endif
