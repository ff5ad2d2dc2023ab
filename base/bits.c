/* Sets of small numbers: what is not worth inlining. */
#include "base/bits.h"

#include <assert.h>
#include <string.h>

enum { WORDS_PER_SUMMARY = 64 };

void bits_clear(struct bits *b)
{
    mem_free(b->words);
    mem_free(b->summary);
    *b = (struct bits){0};
}

void bits_reset(struct bits *b)
{
    if (b->count == 0)
        return;
    for (uint32_t s = 0; s < b->n_words / WORDS_PER_SUMMARY; s++) {
        if (b->summary[s] == 0)
            continue;
        memset(b->words + (size_t)s * WORDS_PER_SUMMARY, 0, WORDS_PER_SUMMARY * sizeof(*b->words));
        b->summary[s] = 0;
    }
    b->count = 0;
}

void bits_grow(struct bits *b, uint32_t i)
{
    uint32_t want = i / 64 + 1, n;

    assert(i != BITS_END);
    if (want <= b->n_words)
        return;
    /* A quarter more than needed: sets grow with the numbers that are given out one after the other. */
    n = want + want / 4;
    n = (n + WORDS_PER_SUMMARY - 1) / WORDS_PER_SUMMARY * WORDS_PER_SUMMARY;
    b->words = mem_realloc(b->words, n, sizeof(*b->words));
    memset(b->words + b->n_words, 0, (size_t)(n - b->n_words) * sizeof(*b->words));
    b->summary = mem_realloc(b->summary, n / WORDS_PER_SUMMARY, sizeof(*b->summary));
    memset(b->summary + b->n_words / WORDS_PER_SUMMARY, 0,
           (size_t)(n - b->n_words) / WORDS_PER_SUMMARY * sizeof(*b->summary));
    b->n_words = n;
}

uint32_t bits_next(const struct bits *b, uint32_t from)
{
    uint32_t word = from / 64, s;
    uint64_t left;

    if (b->count == 0 || word >= b->n_words)
        return BITS_END;
    left = b->words[word] >> (from % 64);
    if (left)
        return from + (uint32_t)__builtin_ctzll(left);
    word++;
    if (word >= b->n_words)
        return BITS_END;
    s = word / WORDS_PER_SUMMARY;
    left = b->summary[s] & (UINT64_MAX << (word % WORDS_PER_SUMMARY));
    while (left == 0) {
        if (++s >= b->n_words / WORDS_PER_SUMMARY)
            return BITS_END;
        left = b->summary[s];
    }
    word = s * WORDS_PER_SUMMARY + (uint32_t)__builtin_ctzll(left);
    return word * 64 + (uint32_t)__builtin_ctzll(b->words[word]);
}

void bits_add_all(struct bits *dst, const struct bits *src)
{
    for (uint32_t i = bits_next(src, 0); i != BITS_END; i = bits_next(src, (i | 63) + 1)) {
        uint32_t word = i / 64;
        uint64_t more;

        bits_grow(dst, i);
        more = src->words[word] & ~dst->words[word];
        dst->words[word] |= more;
        dst->summary[word / WORDS_PER_SUMMARY] |= UINT64_C(1) << (word % WORDS_PER_SUMMARY);
        dst->count += (uint32_t)__builtin_popcountll(more);
    }
}

bool bits_holds_all(const struct bits *a, const struct bits *b)
{
    for (uint32_t i = bits_next(b, 0); i != BITS_END; i = bits_next(b, (i | 63) + 1))
        if (b->words[i / 64] & ~bits_word(a, i / 64))
            return false;
    return true;
}
