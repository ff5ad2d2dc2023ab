/*
 * A growable set of small numbers, as bits in two levels: a summary word says which of 64 words hold anything, so
 * that finding the members of a sparse set costs about what it holds. Owned by one thread at a time. A zeroed struct
 * is the empty set.
 *
 * for (uint32_t i = bits_next(&b, 0); i != BITS_END; i = bits_next(&b, i + 1)) ... ; members may be added and removed
 * meanwhile.
 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include "base/mem.h"

#include <stdbool.h>

#define BITS_END UINT32_MAX

struct bits {
    uint64_t *words, *summary;
    uint32_t n_words; /* a multiple of 64; what lies behind is not in the set */
    uint32_t count;
};

/* Frees; the set is empty afterwards. */
void bits_clear(struct bits *b);
/* Room for the number i, for bits_set's slow path. */
void bits_grow(struct bits *b, uint32_t i);
/* The smallest member >= from, or BITS_END. */
uint32_t bits_next(const struct bits *b, uint32_t from);
/* Adds all of src's members to dst. */
void bits_add_all(struct bits *dst, const struct bits *src);
/* Whether all of b's members are in a. */
bool bits_holds_all(const struct bits *a, const struct bits *b);
/* Removes all members, keeps the memory. */
void bits_reset(struct bits *b);

static inline bool bits_get(const struct bits *b, uint32_t i)
{
    return i / 64 < b->n_words && (b->words[i / 64] >> (i % 64) & 1);
}

/* The 64 members from 64 * word on. */
static inline uint64_t bits_word(const struct bits *b, uint32_t word)
{
    return word < b->n_words ? b->words[word] : 0;
}

/* Both return whether the set changed. */
static inline bool bits_set(struct bits *b, uint32_t i)
{
    uint64_t bit = UINT64_C(1) << (i % 64);

    if (i / 64 >= b->n_words)
        bits_grow(b, i);
    if (b->words[i / 64] & bit)
        return false;
    b->words[i / 64] |= bit;
    b->summary[i / 4096] |= UINT64_C(1) << (i / 64 % 64);
    b->count++;
    return true;
}

static inline bool bits_unset(struct bits *b, uint32_t i)
{
    if (!bits_get(b, i))
        return false;
    b->words[i / 64] &= ~(UINT64_C(1) << (i % 64));
    if (b->words[i / 64] == 0)
        b->summary[i / 4096] &= ~(UINT64_C(1) << (i / 64 % 64));
    b->count--;
    return true;
}

/* Adds those of the 64 members from 64 * word on that are in mask. */
static inline void bits_set_word(struct bits *b, uint32_t word, uint64_t mask)
{
    if (!mask)
        return;
    if (word >= b->n_words)
        bits_grow(b, word * 64);
    b->count += (uint32_t)__builtin_popcountll(mask & ~b->words[word]);
    b->words[word] |= mask;
    b->summary[word / 64] |= UINT64_C(1) << (word % 64);
}

/* Removes those of the 64 members from 64 * word on that are in mask. */
static inline void bits_unset_word(struct bits *b, uint32_t word, uint64_t mask)
{
    if (word >= b->n_words || (b->words[word] & mask) == 0)
        return;
    b->count -= (uint32_t)__builtin_popcountll(b->words[word] & mask);
    b->words[word] &= ~mask;
    if (b->words[word] == 0)
        b->summary[word / 64] &= ~(UINT64_C(1) << (word % 64));
}

#endif
