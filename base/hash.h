/* Content hashes (XXH3). The same bytes give the same hash on every machine and in every run. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash128 {
    uint64_t high, low;
};

uint64_t hash_bytes(const void *p, size_t n);
uint64_t hash_seeded(const void *p, size_t n, uint64_t seed);
struct hash128 hash_bytes128(const void *p, size_t n);

static inline bool hash128_equal(struct hash128 a, struct hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

#endif
