/*
 * Persistent sorted map: an immutable treap from a text key to a counted value. A change makes a new root and copies
 * the O(log n) nodes on the way; everything else is shared with the map before. Its shape follows from its keys
 * alone (priorities are hashes of the keys).
 *
 * Any thread may read a root it holds a reference to. Nodes and values are counted atomically.
 * NULL is the empty map.
 */
#ifndef BASE_PMAP_H
#define BASE_PMAP_H

#include "base/mem.h"

#include <stdbool.h>

struct pmap; /* a node; the root stands for the map */

/* How the values of a map are counted. One static instance per kind of value. */
struct pmap_ops {
    void *(*ref)(void *value);
    void (*unref)(void *value);
    const char *(*key)(const void *value); /* lives as long as the value */
};

struct pmap *pmap_ref(struct pmap *m);
void pmap_unref(struct pmap *m, const struct pmap_ops *ops);
size_t pmap_count(const struct pmap *m);
/* Borrowed from m, or NULL. */
void *pmap_get(const struct pmap *m, const struct pmap_ops *ops, const char *key);
/* Both take the caller's reference to m and return the new map (maybe the same); put takes a reference to value. */
struct pmap *pmap_put(struct pmap *m, const struct pmap_ops *ops, void *value);
struct pmap *pmap_remove(struct pmap *m, const struct pmap_ops *ops, const char *key);
/* The first value whose key is > after ("" or NULL: the first of all), borrowed, or NULL. O(log n). */
void *pmap_after(const struct pmap *m, const struct pmap_ops *ops, const char *after);
/* In order of keys; stops when f returns non-zero and returns that. */
int pmap_each(const struct pmap *m, int (*f)(void *value, void *arg), void *arg);

#endif
