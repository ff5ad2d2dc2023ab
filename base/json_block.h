/*
 * Blocks of JSON as bit masks, one bit a byte: where quotes, backslashes and brackets are. For stepping over what
 * nobody wants, and what needs no look in a string. Header only, for it is worth its while inlined alone. Pure.
 *
 * A block's escaped quotes are left out, a prefix XOR over the others gives the bytes that lie in strings (their
 * opening quote among them), and brackets outside of those are counted. Two bits of state go from block to block.
 *
 * The masks are made with SSE2 where there is such a thing, which all x86-64 has; else eight bytes at a time with
 * plain 64-bit arithmetic, which takes four times as long.
 */
#ifndef BASE_JSON_BLOCK_H
#define BASE_JSON_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#else
#include <endian.h>
#endif

enum { JSON_BLOCK = 64 };

/* Stepping over a value that has begun. At its start: depth is the number of brackets that are open, or 0 in a string
 * that is open; the rest is 0. */
struct json_skip {
    uint64_t depth;
    bool in_string, escaped; /* escaped: the next byte stands behind a backslash */
};

struct json_masks {
    uint64_t quotes, backslashes, opens, closes;
};

#ifdef __SSE2__

static inline struct json_masks json_masks_of(const char *p)
{
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), fold = _mm_set1_epi8(0x20),
                  open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');
    struct json_masks m = {0};

    for (unsigned i = 0; i < JSON_BLOCK; i += sizeof(__m128i)) {
        /* Folded, '[' becomes '{' and ']' becomes '}'. */
        __m128i bytes = _mm_loadu_si128((const __m128i_u *)(p + i)), folded = _mm_or_si128(bytes, fold);

        m.quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, quote)) << i;
        m.backslashes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, backslash)) << i;
        m.opens |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(folded, open)) << i;
        m.closes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(folded, close)) << i;
    }
    return m;
}

#else

/* One bit for each of the eight bytes that is c, the first one's the lowest. */
static inline uint64_t json_equal_bits(uint64_t word, char c)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t differ = word ^ (ones * (uint8_t)c);
    uint64_t equal = ~(((differ & ~highs) + ~highs) | differ) & highs;

    return (equal >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static inline struct json_masks json_masks_of(const char *p)
{
    struct json_masks m = {0};

    for (unsigned i = 0; i < JSON_BLOCK; i += sizeof(uint64_t)) {
        uint64_t word, folded;

        memcpy(&word, p + i, sizeof(word));
        word = le64toh(word);
        folded = word | UINT64_C(0x2020202020202020); /* '[' becomes '{', ']' becomes '}' */
        m.quotes |= json_equal_bits(word, '"') << i;
        m.backslashes |= json_equal_bits(word, '\\') << i;
        m.opens |= json_equal_bits(folded, '{') << i;
        m.closes |= json_equal_bits(folded, '}') << i;
    }
    return m;
}

#endif

/* How many of a string's n bytes at p stand for themselves: up to a quote, a backslash or a control character.
 * *ret_high becomes true when there are bytes above 0x7f among them. */
static inline size_t json_plain_bytes(const char *p, size_t n, bool *ret_high)
{
    size_t i = 0;
    uint8_t seen = 0;

#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);

    for (; n - i >= sizeof(__m128i); i += sizeof(__m128i)) {
        __m128i bytes = _mm_loadu_si128((const __m128i_u *)(p + i));
        __m128i special = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        /* Not above the last control character, unsigned. */
        unsigned stop =
            (unsigned)_mm_movemask_epi8(_mm_or_si128(special, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes)));
        unsigned high = (unsigned)_mm_movemask_epi8(bytes);

        /* Below the lowest bit of stop: all bits where there is none. */
        *ret_high |= (high & (stop - 1) & ~stop) != 0;
        if (stop)
            return i + (unsigned)__builtin_ctz(stop);
    }
#endif
    while (i < n && (uint8_t)p[i] >= 0x20 && p[i] != '"' && p[i] != '\\')
        seen |= (uint8_t)p[i++];
    *ret_high |= seen >= 0x80;
    return i;
}

/* The bytes that stand behind an odd number of backslashes; n: how many bytes of the block are real. */
static inline uint64_t json_escaped_bytes(struct json_skip *s, uint64_t backslashes, unsigned n)
{
    uint64_t escaped = s->escaped;

    backslashes &= ~escaped;
    s->escaped = false;
    while (backslashes) {
        unsigned i = (unsigned)__builtin_ctzll(backslashes);

        backslashes &= backslashes - 1;
        if (i + 1 == n) {
            s->escaped = true;
            break;
        }
        escaped |= UINT64_C(1) << (i + 1);
        backslashes &= ~escaped;
    }
    return escaped;
}

/* Bit i of the result: the XOR of bits 0..i. */
static inline uint64_t json_prefix_xor(uint64_t bits)
{
    for (unsigned shift = 1; shift < 64; shift *= 2)
        bits ^= bits << shift;
    return bits;
}

/* Counts brackets in order; returns the bit of the one that ends what is skipped, or 0. */
static inline uint64_t json_count_brackets(struct json_skip *s, uint64_t opens, uint64_t closes)
{
    for (uint64_t brackets = opens | closes; brackets; brackets &= brackets - 1) {
        uint64_t lowest = brackets & -brackets;

        if (opens & lowest)
            s->depth++;
        else if (--s->depth == 0)
            return lowest;
    }
    return 0;
}

/*
 * Steps over at most one block of the n bytes at p, n > 0. Returns how many bytes: up to the bracket or quote that
 * ends the value and without it (*ret_ended), else all that were looked at.
 */
static inline unsigned json_skip_block(struct json_skip *s, const char *p, size_t n, bool *ret_ended)
{
    unsigned some = n < JSON_BLOCK ? (unsigned)n : JSON_BLOCK;
    uint64_t quotes, in_string, last;
    char padded[JSON_BLOCK];
    struct json_masks m;

    if (some < JSON_BLOCK) {
        memset(padded, ' ', sizeof(padded));
        memcpy(padded, p, some);
    }
    m = json_masks_of(some < JSON_BLOCK ? padded : p);
    quotes = m.quotes & ~json_escaped_bytes(s, m.backslashes, some);
    if (s->depth == 0) {
        last = quotes & -quotes;
    } else {
        in_string = json_prefix_xor(quotes) ^ (s->in_string ? UINT64_MAX : 0);
        s->in_string = in_string >> 63;
        last = json_count_brackets(s, m.opens & ~in_string, m.closes & ~in_string);
    }
    *ret_ended = last != 0;
    return last ? (unsigned)__builtin_ctzll(last) : some;
}

#endif
