/* Texts: comparing them, and reading digits. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <string.h>

/* NULL equals NULL alone. */
static inline bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Whether a NULL-terminated list (NULL: an empty one) has the text. */
static inline bool text_is_listed(const char *const *list, const char *text)
{
    for (; list && *list; list++)
        if (strcmp(*list, text) == 0)
            return true;
    return false;
}

/* Whether two lists have the same texts in the same order. */
static inline bool text_lists_equal(const char *const *a, size_t n, const char *const *b, size_t m)
{
    for (size_t i = 0; n == m && i < n; i++)
        if (!text_equal(a[i], b[i]))
            return false;
    return n == m;
}

/* Of a hexadecimal digit in either case; -1: it is none. */
static inline int text_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* For qsort() and bsearch() of an array of texts. */
static inline int text_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

#endif
