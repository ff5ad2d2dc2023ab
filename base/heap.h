/*
 * What is due when: a binary heap of entries that stand in their owners' structures, the earliest first, and among
 * those of the same time the one that was put in first. Changing one costs the logarithm of how many there are.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include "base/clock.h"

#include <stddef.h>
#include <stdint.h>

/* Zeroed but for its owner: in no heap. It must be taken out before its owner goes. */
struct heap_entry {
    void *owner; /* for who takes it out */
    clock_ns at;
    uint64_t order; /* that in which entries were put in */
    size_t place;   /* in the heap, counted from 1; 0: not in it */
};

/* Zeroed: empty. */
struct heap {
    struct heap_entry **entries;
    size_t n, cap;
    uint64_t next_order;
};

/* Frees what the heap has itself; the entries are forgotten. */
void heap_clear(struct heap *h);
/* Puts it in, or at another place; INT64_MAX: never, as heap_remove(). */
void heap_set(struct heap *h, struct heap_entry *e, clock_ns at);
void heap_remove(struct heap *h, struct heap_entry *e);
/* NULL: there is none. */
static inline struct heap_entry *heap_first(const struct heap *h)
{
    return h->n ? h->entries[0] : NULL;
}
/* When the first one is due; INT64_MAX: there is none. */
static inline clock_ns heap_next(const struct heap *h)
{
    return h->n ? h->entries[0]->at : INT64_MAX;
}

#endif
