/* Serving the dashboard's files. Invariant: a page's answer depends on the request alone, never on who asks. */
#include "api/pages.h"

#include <stdlib.h>
#include <string.h>

/* Scripts and styles are the program's own; nothing is inline, nothing comes from elsewhere, nobody frames it. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                             "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

static int compare_path(const void *path, const void *page)
{
    return strcmp(path, ((const struct page *)page)->path);
}

static void write_content(struct call *c, const struct page *p, bool gzip)
{
    struct http_answer *a = c->answer;
    const uint8_t *data = gzip ? p->gzip : p->plain;

    a->status = 200;
    a->content_type = p->content_type;
    (void)buf_append(&a->body, data, (size_t)((gzip ? p->gzip_end : p->plain_end) - data)); /* it has no limit */
    if (gzip)
        http_answer_header(a, "Content-Encoding", "gzip");
}

static void answer_page(struct call *c, const struct page *p)
{
    struct http_answer *a = c->answer;
    bool gzip = p->gzip && accept_takes_gzip(http_request_header(c->request, "Accept-Encoding"));

    (void)snprintf(c->etag, sizeof(c->etag), "%s", p->etag);
    if (etag_is_listed(http_request_header(c->request, "If-None-Match"), c->etag))
        a->status = 304;
    else
        write_content(c, p, gzip);
    if (gzip)
        etag_for_gzip(c->etag);
    http_answer_header(a, "ETag", arena_strdup(c->arena, c->etag));
    http_answer_header(a, "Vary", "Accept-Encoding");
    http_answer_header(a, "Cache-Control", p->forever ? "public, max-age=31536000, immutable" : "no-cache");
    http_answer_header(a, "Content-Security-Policy", policy);
}

bool pages_answer(struct call *c, const struct page *pages, size_t n)
{
    static const char allow[] = "GET, HEAD, OPTIONS";
    const struct page *p = n ? bsearch(c->target.path, pages, n, sizeof(*pages), compare_path) : NULL;
    const char *method = c->request->method;

    if (!p)
        return false;
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        answer_page(c, p);
        return true;
    }
    http_answer_header(c->answer, "Allow", allow);
    if (strcmp(method, "OPTIONS") == 0)
        c->answer->status = 204;
    else
        call_fail(c, 405, "this path takes %s", allow);
    return true;
}
