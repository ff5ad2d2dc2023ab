/*
 * Hash map from a byte-string key to a pointer. Not thread-safe. Keys are borrowed: they must live, unchanged, as
 * long as their entry (they usually stand in the value). Order of iteration is not defined: what is sent to anybody
 * is sorted by its maker. Keys are hashed with a seed drawn at start, so nobody can make all keys collide.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* Small, as there are many: half of the key's hash tells enough. */
struct map_entry {
    const char *key;
    uint32_t key_len;
    uint32_t hash;
    void *value; /* NULL: free place */
};

struct map {
    struct map_entry *entries;
    size_t count, cap; /* cap: 0 or a power of two, at most 2^32 */
};

void map_clear(struct map *m); /* frees the table; values are the caller's */
void *map_get(const struct map *m, const char *key, size_t key_len);
/* A key to look up, and what was found. */
struct map_lookup {
    const char *key;
    size_t key_len;
    void *value;
};
enum { MAP_MANY_MAX = 32 };
/* map_get() of n keys (at most MAP_MANY_MAX) at once: in a large map that is faster, as the waits for memory
 * overlap. */
void map_get_many(const struct map *m, struct map_lookup *lookups, size_t n);
/* value must not be NULL, keys are shorter than 4 GiB. Returns the value that was there before (its key is replaced
 * by the new one), or NULL. */
void *map_put(struct map *m, const char *key, size_t key_len, void *value);
/* Returns the removed value or NULL. */
void *map_remove(struct map *m, const char *key, size_t key_len);
static inline void *map_gets(const struct map *m, const char *key)
{
    return map_get(m, key, __builtin_strlen(key));
}
static inline void *map_puts(struct map *m, const char *key, void *value)
{
    return map_put(m, key, __builtin_strlen(key), value);
}
static inline void *map_removes(struct map *m, const char *key)
{
    return map_remove(m, key, __builtin_strlen(key));
}
/* for (size_t i = 0; map_next(m, &i, &e);) ... ; the map may not be changed meanwhile. */
bool map_next(const struct map *m, size_t *i, struct map_entry **ret_entry);
/* All values sorted by key (bytewise); the array is the caller's. */
void **map_sorted_values(const struct map *m);

#endif
