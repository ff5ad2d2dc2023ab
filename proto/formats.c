/* The well-known forms of text that validation rules can ask for. */
#include "proto/formats.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

enum {
    HOSTNAME_MAX = 253,
    LABEL_MAX = 63,
    EMAIL_MAX = 254,
    EMAIL_LOCAL_MAX = 64,
    UUID_LENGTH = 36,
};

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_alpha(c) || is_digit(c);
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* strchr() would find the NUL. */
static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_label(const char *p, size_t n)
{
    if (n == 0 || n > LABEL_MAX || p[0] == '-' || p[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_alnum(p[i]) && p[i] != '-')
            return false;
    }
    return true;
}

bool format_hostname(const char *p, size_t n)
{
    const char *end;

    if (n > 0 && p[n - 1] == '.')
        n--;
    if (n == 0 || n > HOSTNAME_MAX)
        return false;
    end = p + n;
    for (;;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        if (!is_label(p, (size_t)((dot ? dot : end) - p)))
            return false;
        if (!dot)
            return true;
        p = dot + 1;
    }
}

bool format_email(const char *p, size_t n)
{
    const char *at = memchr(p, '@', n);
    size_t local = at ? (size_t)(at - p) : 0;

    if (n > EMAIL_MAX || local == 0 || local > EMAIL_LOCAL_MAX || p[0] == '.' || p[local - 1] == '.')
        return false;
    for (size_t i = 0; i < local; i++) {
        if (!is_alnum(p[i]) && !is_one_of(p[i], "!#$%&'*+-/=?^_`{|}~.") && (uint8_t)p[i] < 0x80)
            return false;
        if (p[i] == '.' && p[i + 1] == '.')
            return false;
    }
    return format_hostname(at + 1, n - local - 1);
}

static bool is_address(int family, const char *p, size_t n)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (n >= sizeof(text) || memchr(p, '\0', n))
        return false;
    memcpy(text, p, n);
    text[n] = '\0';
    return inet_pton(family, text, &address) == 1;
}

bool format_ipv4(const char *p, size_t n)
{
    return is_address(AF_INET, p, n);
}

bool format_ipv6(const char *p, size_t n)
{
    return is_address(AF_INET6, p, n);
}

static bool has_scheme(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && (is_alnum(p[i]) || is_one_of(p[i], "+-.")))
        i++;
    return i > 0 && i < n && is_alpha(p[0]) && p[i] == ':';
}

bool format_uri(const char *p, size_t n, bool absolute)
{
    if (absolute && !has_scheme(p, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '%') {
            if (n - i < 3 || !is_hex(p[i + 1]) || !is_hex(p[i + 2]))
                return false;
            i += 2;
        } else if (!is_alnum(p[i]) && !is_one_of(p[i], "-._~:/?#[]@!$&'()*+,;=")) {
            return false;
        }
    }
    return true;
}

bool format_uuid(const char *p, size_t n)
{
    if (n != UUID_LENGTH)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? p[i] != '-' : !is_hex(p[i]))
            return false;
    }
    return true;
}

bool format_header_name(const char *p, size_t n)
{
    if (n > 0 && p[0] == ':') {
        p++;
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_alnum(p[i]) && !is_one_of(p[i], "!#$%&'*+,-.^_|~`"))
            return false;
    }
    return n > 0;
}

bool format_header_text(const char *p, size_t n, bool strict)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)p[i];
        if (c == '\0' || c == '\n' || c == '\r' || (strict && ((c < ' ' && c != '\t') || c == 0x7f)))
            return false;
    }
    return true;
}
