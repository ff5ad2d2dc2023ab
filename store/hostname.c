/*
 * Checking and lower-casing host names. What is left of a name once its wildcard is taken off must be labels of
 * letters, digits, '-' and '_' with dots between them.
 */
#include "store/hostname.h"

#include "store/service.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static bool is_label_char(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* n bytes of labels; open_start and open_end: a wildcard stands there, so a label may be cut. */
static bool are_labels(const char *p, size_t n, bool open_start, bool open_end)
{
    size_t label = 0;

    for (size_t i = 0; i < n; i++) {
        bool cut = (open_start && i == 0) || (open_end && i == n - 1);

        if (p[i] == '.') {
            if (label == 0 && !cut)
                return false;
            label = 0;
        } else if (!is_label_char(p[i]) || ++label > HOSTNAME_LABEL_MAX) {
            return false;
        }
    }
    return n > 0 && (label > 0 || open_end);
}

static const char *lower(struct arena *arena, const char *text, size_t n)
{
    char *copy = arena_strndup(arena, text, n);

    for (size_t i = 0; i < n; i++)
        copy[i] = (char)tolower((unsigned char)copy[i]);
    return copy;
}

int hostname_server_name(const char *text, struct arena *arena, const char **ret_name, struct err *e)
{
    size_t n = strnlen(text, HOSTNAME_MAX + 1);
    size_t wildcard = strncmp(text, "*.", 2) == 0 ? 2 : 0;

    if (n > HOSTNAME_MAX)
        return err_set(e, -EINVAL, NULL, NULL, "a name has at most %d characters", HOSTNAME_MAX);
    if (!are_labels(text + wildcard, n - wildcard, false, false))
        return err_set(e, -EINVAL, NULL, NULL,
                       "\"%s\" is neither a host name nor \"*.\" and a host name (international names are written "
                       "in their xn-- form)",
                       text);
    *ret_name = lower(arena, text, n);
    return 0;
}

/* The bytes of text before a port, or all n. */
static size_t without_port(const char *text, size_t n)
{
    const char *colon = memrchr(text, ':', n);
    size_t head = colon ? (size_t)(colon - text) : n;

    if (!colon || head == 0 || head + 1 == n || strspn(colon + 1, "0123456789") != n - head - 1)
        return n;
    /* The colons of an IPv6 address without brackets are no port's. */
    if (text[0] == '[' ? text[head - 1] != ']' : memchr(text, ':', head) != NULL)
        return n;
    return head;
}

static bool is_bracketed_ipv6(const char *text, size_t n)
{
    char inner[ADDRESS_TEXT_MAX];
    struct address a;

    if (n < 4 || n - 2 >= sizeof(inner) || text[0] != '[' || text[n - 1] != ']')
        return false;
    memcpy(inner, text + 1, n - 2);
    inner[n - 2] = '\0';
    return strchr(inner, ':') && address_parse(inner, &a) == 0;
}

static bool is_domain(const char *p, size_t n)
{
    if (n == 1 && p[0] == '*')
        return true;
    if (is_bracketed_ipv6(p, n))
        return true;
    if (n > 1 && p[0] == '*')
        return (p[1] == '.' || p[1] == '-') && are_labels(p + 1, n - 1, true, false);
    if (n > 1 && p[n - 1] == '*')
        return (p[n - 2] == '.' || p[n - 2] == '-') && are_labels(p, n - 1, false, true);
    return are_labels(p, n, false, false);
}

int hostname_domain(const char *text, struct arena *arena, const char **ret_domain, bool *ret_port, struct err *e)
{
    size_t all = strnlen(text, HOSTNAME_MAX + sizeof(":65535"));
    size_t n = without_port(text, all);

    if (n > HOSTNAME_MAX)
        return err_set(e, -EINVAL, NULL, NULL, "a domain has at most %d characters", HOSTNAME_MAX);
    if (!is_domain(text, n))
        return err_set(e, -EINVAL, NULL, NULL,
                       "\"%s\" is no domain: a host name, \"*.\" or \"*-\" and its end, its beginning and \".*\" or "
                       "\"-*\", or \"*\" (international names are written in their xn-- form)",
                       text);
    *ret_domain = lower(arena, text, n);
    *ret_port = n < all;
    return 0;
}

bool hostname_fits_sni(const char *domain)
{
    struct address a;

    if (domain[0] == '[' || address_parse(domain, &a) == 0)
        return false;
    return strchr(strncmp(domain, "*.", 2) == 0 ? domain + 2 : domain, '*') == NULL;
}
