/* A list of pointers that grows. What they lead to is the caller's. Not thread-safe. */
#ifndef BASE_POINTERS_H
#define BASE_POINTERS_H

#include <stddef.h>

struct pointers { /* all zero: an empty one; count = 0 empties it and keeps the memory */
    void **items;
    size_t count, cap;
};

void pointers_add(struct pointers *p, void *item);
void pointers_clear(struct pointers *p); /* frees the list */

#endif
