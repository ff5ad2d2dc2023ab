/*
 * Cookies and origins. Sec-Fetch-Site is the browser's own judgement and decides where it is there; it is sent to
 * TLS and to loopback by all of today's browsers. Else Origin is compared with Host, by names and ports alone: before
 * a proxy that ends TLS, the scheme is another one.
 */
#include "api/browser.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COOKIE "igwd"

/* Where the port of "name:80", "[::1]:80" begins; NULL: it has none. */
static const char *port_of(const char *authority)
{
    const char *bracket = strrchr(authority, ']');
    const char *colon = strrchr(bracket ? bracket : authority, ':');

    return colon && colon[1] ? colon + 1 : NULL;
}

/* Of the cookie that this request would have; in the arena. */
static const char *cookie_name(const struct http_request *r, struct arena *arena)
{
    const char *host = http_request_header(r, "Host"), *port = host ? port_of(host) : NULL;

    if (r->peer->is_tls)
        return "__Host-" COOKIE;
    return arena_printf(arena, COOKIE "-%lu", port ? strtoul(port, NULL, 10) : 80UL);
}

const char *browser_cookie(const struct http_request *r, struct arena *arena)
{
    const char *at = http_request_header(r, "Cookie");

    if (!at)
        return NULL;
    const char *name = cookie_name(r, arena);
    size_t n_name = strlen(name);
    for (; *at; at += strspn(at, "; ,")) { /* a comma: two fields that were joined */
        size_t n = strcspn(at, ";, ");
        if (n > n_name + 1 && strncmp(at, name, n_name) == 0 && at[n_name] == '=')
            return arena_strndup(arena, at + n_name + 1, n - n_name - 1);
        at += n;
    }
    return NULL;
}

const char *browser_set_cookie(const struct http_request *r, const char *value, struct arena *arena)
{
    return arena_printf(arena, "%s=%s; Path=/; %sHttpOnly; SameSite=Strict%s", cookie_name(r, arena),
                        value ? value : "", r->peer->is_tls ? "Secure; " : "", value ? "" : "; Max-Age=0");
}

/* "name:port" with the scheme's port where none is said; in the arena. */
static const char *with_port(const char *authority, const char *otherwise, struct arena *arena)
{
    const char *port = port_of(authority);
    size_t n = port ? (size_t)(port - 1 - authority) : strlen(authority);

    return arena_printf(arena, "%.*s:%s", (int)n, authority, port ? port : otherwise);
}

enum browser_origin browser_origin(const struct http_request *r, struct arena *arena)
{
    static const char secure[] = "https://", plain[] = "http://";
    const char *site = http_request_header(r, "Sec-Fetch-Site"), *origin = http_request_header(r, "Origin");
    const char *host = http_request_header(r, "Host"), *port = "80", *authority = NULL;

    if (site) /* "none": the user did it, as by a bookmark */
        return strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0 ? BROWSER_SAME_ORIGIN
                                                                             : BROWSER_OTHER_ORIGIN;
    if (!origin)
        return BROWSER_SILENT;
    if (strncasecmp(origin, secure, sizeof(secure) - 1) == 0) {
        authority = origin + sizeof(secure) - 1;
        port = "443";
    } else if (strncasecmp(origin, plain, sizeof(plain) - 1) == 0) {
        authority = origin + sizeof(plain) - 1;
    }
    bool same = authority && host && strcasecmp(with_port(authority, port, arena), with_port(host, port, arena)) == 0;
    return same ? BROWSER_SAME_ORIGIN : BROWSER_OTHER_ORIGIN;
}
