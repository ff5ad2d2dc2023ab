/* base64url: three bytes are four digits. */
#include "api/base64url.h"

#include <string.h>

const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *base64url_write(const uint8_t *p, size_t n)
{
    char *out = mem_alloc((n + 2) / 3 * 4 + 1);
    size_t len = 0;

    for (size_t i = 0; i < n; i += 3) {
        uint32_t group =
            (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        size_t digits = n - i >= 3 ? 4 : n - i + 1;
        for (size_t d = 0; d < digits; d++)
            out[len++] = base64url_digits[group >> (18 - 6 * d) & 63];
    }
    return out;
}

char *base64url_read(const char *text, struct arena *arena, size_t *ret_n)
{
    size_t n = strlen(text), len = 0;
    char *out = arena_alloc(arena, n + 1);
    uint32_t bits = 0, count = 0;

    for (size_t i = 0; i < n; i++) {
        const char *digit = strchr(base64url_digits, text[i]);
        if (!digit)
            return NULL;
        bits = bits << 6 | (uint32_t)(digit - base64url_digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[len++] = (char)(bits >> count);
        }
    }
    *ret_n = len;
    return out;
}
