/* The dashboard's files as they are served: to anybody, in which form, for how long, and under which policy. */
#include "api/pages.h"

#include "api/dispatch.h"
#include "tests/unit/header_fields.h"
#include "tests/unit/test.h"

#include <string.h>

static const uint8_t entry[] = "<!doctype html>", script[] = "script script script", packed[] = "packed";

static const struct page pages[] = {
    {"/", "text/html; charset=utf-8", "\"e1\"", false, entry, entry + 15, NULL, NULL},
    {"/ui/1/app.js", "text/javascript; charset=utf-8", "\"s1\"", true, script, script + 20, packed, packed + 6},
};

struct seen {
    unsigned status;
    const char *type;
    char body[64];
    const char *etag, *encoding, *control, *policy, *allow, *vary;
};

static const char *accepted, *known; /* Accept-Encoding, If-None-Match */
static struct arena *arena;          /* of the last answer's texts */

static struct seen ask(const char *method, const char *target)
{
    static const struct http_peer stranger = {.is_unix = false};
    _cleanup_(routes_free_p) struct routes *routes = routes_new(NULL, 0);
    const struct dispatcher d = {.routes = routes, .pages = pages, .n_pages = ARRAY_LEN(pages), .group = (gid_t)-1};
    struct field fields[] = {{"Accept-Encoding", accepted}, {"If-None-Match", known}, {NULL, NULL}};
    struct http_request r = {.id = "0123456789abcdef",
                             .method = method,
                             .target = target,
                             .peer = &stranger,
                             .header = field_value,
                             .header_arg = fields};
    struct seen s = {0};

    arena_free(arena);
    arena = arena_new();
    struct http_answer a = {.arena = arena};
    buf_init(&a.body, 0);
    dispatch(&d, NULL, &r, &a);
    s.status = a.status;
    s.type = a.content_type;
    (void)snprintf(s.body, sizeof(s.body), "%.*s", (int)a.body.len, buf_cstr(&a.body));
    for (size_t i = 0; i < a.n_headers; i++) {
        const struct {
            const char *name, **place;
        } wanted[] = {{"ETag", &s.etag},
                      {"Content-Encoding", &s.encoding},
                      {"Cache-Control", &s.control},
                      {"Content-Security-Policy", &s.policy},
                      {"Allow", &s.allow},
                      {"Vary", &s.vary}};
        for (size_t k = 0; k < ARRAY_LEN(wanted); k++)
            if (strcmp(a.headers[i].name, wanted[k].name) == 0)
                *wanted[k].place = a.headers[i].value;
    }
    buf_clear(&a.body);
    accepted = known = NULL;
    return s;
}

TEST(anybody_may_have_the_pages_and_nothing_beside_them)
{
    struct seen s = ask("GET", "/");

    CHECK_INT(s.status, 200);
    CHECK_STR(s.type, "text/html; charset=utf-8");
    CHECK_STR(s.body, "<!doctype html>");
    CHECK_INT(ask("GET", "/?x=y").status, 200);
    CHECK_INT(ask("HEAD", "/ui/1/app.js").status, 200);
    CHECK_INT(ask("GET", "/ui/1/other.js").status, 401);
    CHECK_INT(ask("GET", "/ui/1").status, 401);
    CHECK_INT(ask("GET", "/ui/2/app.js").status, 401);
}

TEST(a_page_is_compressed_for_who_takes_that)
{
    accepted = "br, gzip";
    struct seen s = ask("GET", "/ui/1/app.js");
    CHECK_STR(s.body, "packed");
    CHECK_STR(s.encoding, "gzip");
    CHECK_STR(s.etag, "\"s1-gzip\"");
    CHECK_STR(s.vary, "Accept-Encoding");

    s = ask("GET", "/ui/1/app.js");
    CHECK_STR(s.body, "script script script");
    CHECK(s.encoding == NULL);
    CHECK_STR(s.etag, "\"s1\"");

    accepted = "gzip";
    s = ask("GET", "/"); /* it would not get smaller */
    CHECK_STR(s.body, "<!doctype html>");
    CHECK(s.encoding == NULL);
}

TEST(the_entry_is_asked_for_each_time_and_the_others_never_again)
{
    CHECK_STR(ask("GET", "/").control, "no-cache");
    CHECK_STR(ask("GET", "/ui/1/app.js").control, "public, max-age=31536000, immutable");
    known = "\"e1\"";
    struct seen s = ask("GET", "/");
    CHECK_INT(s.status, 304);
    CHECK_STR(s.body, "");
    CHECK_STR(s.etag, "\"e1\"");
    CHECK_STR(s.control, "no-cache");
    known = "\"e0\"";
    CHECK_INT(ask("GET", "/").status, 200);
}

TEST(a_page_takes_scripts_and_styles_of_the_daemon_alone)
{
    CHECK_STR(ask("GET", "/").policy,
              "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
              "base-uri 'none'; form-action 'self'; frame-ancestors 'none'");
}

TEST(a_page_is_only_read)
{
    struct seen s = ask("POST", "/");

    CHECK_INT(s.status, 405);
    CHECK_STR(s.allow, "GET, HEAD, OPTIONS");
    s = ask("OPTIONS", "/ui/1/app.js");
    CHECK_INT(s.status, 204);
    CHECK_STR(s.allow, "GET, HEAD, OPTIONS");
}

TEST(the_pages_of_this_build_have_an_entry_and_are_found)
{
    CHECK(web_n_pages > 10);
    for (size_t i = 0; i < web_n_pages; i++) {
        const struct page *p = &web_pages[i];
        CHECK(i == 0 || strcmp(web_pages[i - 1].path, p->path) < 0);
        CHECK(p->plain < p->plain_end && (p->gzip == NULL || p->gzip_end - p->gzip < p->plain_end - p->plain));
        CHECK(p->forever == (strcmp(p->path, "/") != 0));
    }
    CHECK_STR(web_pages[0].path, "/");
}
