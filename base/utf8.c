/*
 * UTF-8 by its table of well-formed byte sequences: the first byte says how many follow and what the second may be;
 * the others are 80..BF. Runs of ASCII are stepped over eight bytes at a time.
 */
#include "base/utf8.h"

#include <stdbool.h>
#include <string.h>

static bool in_range(uint8_t byte, uint8_t low, uint8_t high)
{
    return byte >= low && byte <= high;
}

/* 0: not a first byte; *ret_low and *ret_high bound the second one. */
static unsigned length_by_first(uint8_t first, uint8_t *ret_low, uint8_t *ret_high)
{
    *ret_low = 0x80;
    *ret_high = 0xbf;
    if (first < 0x80)
        return 1;
    if (in_range(first, 0xc2, 0xdf))
        return 2;
    if (in_range(first, 0xe0, 0xef)) {
        if (first == 0xe0)
            *ret_low = 0xa0;
        if (first == 0xed)
            *ret_high = 0x9f;
        return 3;
    }
    if (in_range(first, 0xf0, 0xf4)) {
        if (first == 0xf0)
            *ret_low = 0x90;
        if (first == 0xf4)
            *ret_high = 0x8f;
        return 4;
    }
    return 0;
}

unsigned utf8_char(const char *p, size_t n)
{
    const uint8_t *u = (const uint8_t *)p;
    uint8_t low, high;
    unsigned length;

    if (n == 0)
        return 0;
    length = length_by_first(u[0], &low, &high);
    if (length <= 1)
        return length;
    if (length > n || !in_range(u[1], low, high))
        return 0;
    for (unsigned i = 2; i < length; i++)
        if (!in_range(u[i], 0x80, 0xbf))
            return 0;
    return length;
}

size_t utf8_count(const char *p, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += !in_range((uint8_t)p[i], 0x80, 0xbf); /* those stand within one */
    return count;
}

size_t utf8_prefix(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n) {
        uint64_t word;
        unsigned length;

        while (n - i >= sizeof(word)) {
            memcpy(&word, p + i, sizeof(word));
            if (word & UINT64_C(0x8080808080808080))
                break;
            i += sizeof(word);
        }
        length = utf8_char(p + i, n - i);
        if (length == 0)
            break;
        i += length;
    }
    return i;
}

size_t utf8_cut(const char *p, size_t n, size_t max)
{
    if (n <= max)
        return n;
    /* A character starts at most three bytes before; bytes that are no UTF-8 at all are cut anywhere. */
    for (size_t back = 0; back < UTF8_MAX_BYTES && back <= max; back++)
        if (((uint8_t)p[max - back] & 0xc0) != 0x80)
            return max - back;
    return max;
}

unsigned utf8_encode(uint32_t code, char ret[UTF8_MAX_BYTES])
{
    if (code < 0x80) {
        ret[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        ret[0] = (char)(0xc0 | code >> 6);
        ret[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        ret[0] = (char)(0xe0 | code >> 12);
        ret[1] = (char)(0x80 | (code >> 6 & 0x3f));
        ret[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    ret[0] = (char)(0xf0 | code >> 18);
    ret[1] = (char)(0x80 | (code >> 12 & 0x3f));
    ret[2] = (char)(0x80 | (code >> 6 & 0x3f));
    ret[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}
