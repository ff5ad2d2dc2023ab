/*
 * A pool of immutable texts, each kept once and counted. Owned by one thread. Two texts of one pool are equal if and
 * only if their pointers are. Used where ten thousand instances say the same.
 */
#ifndef BASE_INTERN_H
#define BASE_INTERN_H

#include "base/map.h"

struct intern_pool;

struct intern_pool *intern_pool_new(void);
/* All texts must have been given back; asserts it. */
void intern_pool_free(struct intern_pool *p);
/* NUL-terminated, one reference more. */
const char *intern(struct intern_pool *p, const char *s, size_t n);
const char *intern_ref(const char *text);
/* NULL is allowed. */
void intern_unref(struct intern_pool *p, const char *text);
size_t intern_len(const char *text);

#endif
