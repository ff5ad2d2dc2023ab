/*
 * The hash map: open addressing with linear probing in a table of a power of two, at most three quarters full.
 * Removing shifts back what follows, so there are no tombstones; a table that became mostly empty shrinks, so that
 * walking it costs what it holds.
 */
#include "base/map.h"

#include "base/hash.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { CAP_MIN = 8 };

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;
static uint64_t seed;

static void draw_seed(void)
{
    ssize_t n = getrandom(&seed, sizeof(seed), 0);

    assert(n == (ssize_t)sizeof(seed));
}

static uint32_t hash_key(const char *key, size_t key_len)
{
    pthread_once(&seed_once, draw_seed);
    return (uint32_t)hash_seeded(key, key_len, seed);
}

void map_clear(struct map *m)
{
    mem_free(m->entries);
    *m = (struct map){0};
}

/* Where the key is, or the free place where it would go. */
static struct map_entry *find(const struct map *m, const char *key, size_t key_len, uint32_t hash)
{
    size_t i = hash & (m->cap - 1);

    for (;; i = (i + 1) & (m->cap - 1)) {
        struct map_entry *e = &m->entries[i];

        if (!e->value)
            return e;
        if (e->hash == hash && e->key_len == key_len && (key_len == 0 || memcmp(e->key, key, key_len) == 0))
            return e;
    }
}

static void resize(struct map *m, size_t cap)
{
    struct map old = *m;

    m->entries = mem_array(struct map_entry, cap);
    m->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        const struct map_entry *e = &old.entries[i];

        if (e->value)
            *find(m, e->key, e->key_len, e->hash) = *e;
    }
    mem_free(old.entries);
}

void *map_get(const struct map *m, const char *key, size_t key_len)
{
    if (m->count == 0)
        return NULL;
    return find(m, key, key_len, hash_key(key, key_len))->value;
}

void map_get_many(const struct map *m, struct map_lookup *lookups, size_t n)
{
    uint32_t hashes[MAP_MANY_MAX];
    const struct map_entry *found[MAP_MANY_MAX];

    assert(n <= MAP_MANY_MAX);
    pthread_once(&seed_once, draw_seed);
    for (size_t i = 0; i < n; i++) {
        lookups[i].value = NULL;
        if (m->count == 0)
            continue;
        hashes[i] = (uint32_t)hash_seeded(lookups[i].key, lookups[i].key_len, seed);
        __builtin_prefetch(&m->entries[hashes[i] & (m->cap - 1)]);
    }
    /* The first place of that hash; whose key it is, is looked at when that has come too. */
    for (size_t i = 0; m->count > 0 && i < n; i++) {
        size_t place = hashes[i] & (m->cap - 1);

        while (m->entries[place].value && m->entries[place].hash != hashes[i])
            place = (place + 1) & (m->cap - 1);
        found[i] = &m->entries[place];
        if (found[i]->value)
            __builtin_prefetch(found[i]->key);
    }
    for (size_t i = 0; m->count > 0 && i < n; i++) {
        const struct map_lookup *l = &lookups[i];

        if (!found[i]->value)
            continue;
        if (found[i]->key_len == l->key_len && (l->key_len == 0 || memcmp(found[i]->key, l->key, l->key_len) == 0))
            lookups[i].value = found[i]->value;
        else
            lookups[i].value = find(m, l->key, l->key_len, hashes[i])->value;
    }
}

void *map_put(struct map *m, const char *key, size_t key_len, void *value)
{
    uint32_t hash = hash_key(key, key_len);
    struct map_entry *e;
    void *before;

    assert(value && key_len <= UINT32_MAX);
    if (m->count + 1 > m->cap / 4 * 3)
        resize(m, m->cap ? m->cap * 2 : CAP_MIN);
    e = find(m, key, key_len, hash);
    before = e->value;
    *e = (struct map_entry){.key = key, .key_len = (uint32_t)key_len, .hash = hash, .value = value};
    if (!before)
        m->count++;
    return before;
}

void *map_remove(struct map *m, const char *key, size_t key_len)
{
    size_t mask = m->cap - 1, hole, i;
    struct map_entry *e;
    void *value;

    if (m->count == 0)
        return NULL;
    e = find(m, key, key_len, hash_key(key, key_len));
    value = e->value;
    if (!value)
        return NULL;
    hole = (size_t)(e - m->entries);
    for (i = (hole + 1) & mask; m->entries[i].value; i = (i + 1) & mask) {
        size_t home = m->entries[i].hash & mask;

        /* It may move into the hole unless its home lies behind the hole. */
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        m->entries[hole] = m->entries[i];
        hole = i;
    }
    m->entries[hole] = (struct map_entry){0};
    m->count--;
    if (m->cap > CAP_MIN && m->count < m->cap / 8)
        resize(m, m->cap / 2);
    return value;
}

bool map_next(const struct map *m, size_t *i, struct map_entry **ret_entry)
{
    while (*i < m->cap) {
        struct map_entry *e = &m->entries[(*i)++];

        if (e->value) {
            *ret_entry = e;
            return true;
        }
    }
    return false;
}

static int compare_entries(const void *a, const void *b)
{
    const struct map_entry *x = *(struct map_entry *const *)a, *y = *(struct map_entry *const *)b;
    size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
    int order = n ? memcmp(x->key, y->key, n) : 0;

    return order ? order : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

void **map_sorted_values(const struct map *m)
{
    _cleanup_(mem_free_p) struct map_entry **entries = mem_array(struct map_entry *, m->count);
    void **values = mem_array(void *, m->count);
    struct map_entry *e;
    size_t n = 0;

    for (size_t i = 0; map_next(m, &i, &e);)
        entries[n++] = e;
    if (n)
        qsort(entries, n, sizeof(struct map_entry *), compare_entries);
    for (size_t i = 0; i < n; i++)
        values[i] = entries[i]->value;
    return values;
}
