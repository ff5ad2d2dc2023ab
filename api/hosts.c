/* Names of this interface. Compared without a look at case, port, brackets and a dot at the end. */
#include "api/hosts.h"

#include <string.h>
#include <strings.h>

struct hosts {
    struct arena *arena;
    const char *const *names;
    size_t n;
};

struct host {
    const char *text;
    size_t n;
};

static struct host host_of(const char *field)
{
    struct host h = {field, strcspn(field, ":")};

    if (field[0] == '[') {
        h.text++;
        h.n = strcspn(h.text, "]");
    } else if (strchr(field, ':') != strrchr(field, ':')) {
        h.n = strlen(field); /* an IPv6 address without brackets */
    }
    if (h.n && h.text[h.n - 1] == '.')
        h.n--;
    return h;
}

static bool same(const char *a, const char *b)
{
    struct host x = host_of(a), y = host_of(b);

    return x.n == y.n && strncasecmp(x.text, y.text, x.n) == 0;
}

struct hosts *hosts_new(const char *const *names, size_t n)
{
    struct hosts *h = mem_new(struct hosts);

    h->arena = arena_new();
    const char **copy = arena_array(h->arena, const char *, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = arena_strdup(h->arena, names[i]);
    h->names = copy;
    h->n = n;
    return h;
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    arena_free(h->arena);
    mem_free(h);
}

bool hosts_allow(const struct hosts *h, const char *field, const char *local)
{
    static const char *const always[] = {"localhost", "127.0.0.1", "::1"};

    if (local && local[0] && same(field, local))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        if (same(field, always[i]))
            return true;
    for (size_t i = 0; i < h->n; i++)
        if (same(field, h->names[i]))
            return true;
    return false;
}

const char *hosts_of_target(const char *target, struct arena *arena)
{
    const char *colons = strstr(target, "://");

    if (target[0] == '/' || !colons)
        return NULL;
    const char *authority = colons + 3, *at = authority;
    size_t n = strcspn(authority, "/?#");
    for (size_t i = 0; i < n; i++) /* user information is no part of the name */
        if (authority[i] == '@')
            at = authority + i + 1;
    return arena_strndup(arena, at, n - (size_t)(at - authority));
}
