/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Pure. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum { UTF8_MAX_BYTES = 4, UTF8_REPLACEMENT = 0xfffd /* in place of what is no character */ };

/* Bytes of the well-formed character at the start of the n bytes, 0 when there is none. */
unsigned utf8_char(const char *p, size_t n);
/* Bytes of the longest well-formed beginning. */
size_t utf8_prefix(const char *p, size_t n);
/* Characters (code points) of well-formed text. */
size_t utf8_count(const char *p, size_t n);
/* The largest length <= max at which no character of the n bytes is cut. */
size_t utf8_cut(const char *p, size_t n, size_t max);
/* Writes a code point (not a surrogate, at most U+10FFFF) and returns its bytes. */
unsigned utf8_encode(uint32_t code, char ret[UTF8_MAX_BYTES]);

#endif
