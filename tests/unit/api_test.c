/* The pure parts of the REST interface: targets, routes, parameters, cursors, negotiation, tags, tokens, dispatch. */
#include "api/cache.h"
#include "api/contract.h"
#include "api/dispatch.h"
#include "api/edit.h"
#include "api/list.h"
#include "api/objects.h"
#include "tests/unit/header_fields.h"
#include "tests/unit/model.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct arena *arena;

static struct target parsed(const char *text)
{
    struct target t = {0};

    arena = arena ? arena : arena_new();
    CHECK_INT(target_parse(text, arena, &t, NULL), 0);
    return t;
}

TEST(an_encoded_slash_is_part_of_its_segment)
{
    struct target t = parsed("/a/test%2Fsvc%2fx.expose%230/b?q=a%26b+c&d&e=");

    CHECK_INT(t.n_segments, 3);
    CHECK_STR(t.segments[1], "test/svc/x.expose#0");
    CHECK_INT(t.n_pairs, 3);
    CHECK_STR(t.pairs[0].value, "a&b c");
    CHECK_STR(t.pairs[1].value, "");
}

TEST(a_plus_in_a_path_stays_one_and_the_absolute_form_is_its_path)
{
    struct target t = parsed("http://host:80/a+b?x=1");

    CHECK_INT(t.n_segments, 1);
    CHECK_STR(t.segments[0], "a+b");
    CHECK_STR(t.query, "x=1");
}

TEST(what_is_badly_encoded_is_refused)
{
    const char *const bad[] = {"/%",         "/%0",     "/%zz",    "/a%00b", "/a%0ab", "/%ff",
                               "/?a=%c0%80", "/?a=%1f", "/?%7f=1", "a",      "",       "?x=1"};
    struct target t;

    arena = arena ? arena : arena_new();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (target_parse(bad[i], arena, &t, NULL) != -EINVAL)
            test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
    CHECK_INT(target_parse("/1/2/3/4/5/6/7/8/9", arena, &t, NULL), -E2BIG);
}

static void handle_ok(struct call *c)
{
    (void)buf_append_str(&c->answer->body, "{\"a\":1}");
    call_done(c);
}

static const char *const takes_json[] = {"application/merge-patch+json", NULL};
static const struct parameter some_parameters[] = {
    {"n", PARAMETER_INT, 1, 10, false, NULL}, {"flag", PARAMETER_BOOL, 0, 0, false, NULL}, {.name = NULL}};
static const struct api_route table[] = {
    {.method = "GET",
     .path = "/things/{name}",
     .access = ROLE_VIEWER,
     .produces = "application/json",
     .parameters = some_parameters,
     .handle = handle_ok},
    {.method = "PATCH",
     .path = "/things/{name}",
     .access = ROLE_ADMIN,
     .produces = "application/json",
     .takes = takes_json,
     .handle = handle_ok},
    {.method = "GET", .path = "/open", .access = ROLE_NONE, .produces = "application/json", .handle = handle_ok},
};

TEST(a_route_is_found_by_method_and_path_and_head_is_get)
{
    struct target t = parsed("/things/a%2Fb");
    const char *arguments[ROUTE_ARGUMENTS_MAX];
    _cleanup_(routes_free_p) struct routes *routes = routes_new(table, ARRAY_LEN(table));

    CHECK(route_find(routes, "HEAD", &t, arguments) == &table[0]);
    CHECK_STR(arguments[0], "a/b");
    CHECK(route_find(routes, "PATCH", &t, arguments) == &table[1]);
    CHECK(route_find(routes, "PUT", &t, arguments) == NULL);
    CHECK_STR(route_allow(routes, &t, arena), "GET, HEAD, PATCH, OPTIONS");
    t = parsed("/things/");
    CHECK(route_allow(routes, &t, arena) == NULL);
}

TEST(a_slash_within_a_segment_is_none_of_a_path)
{
    static const struct api_route paths[] = {{.method = "GET", .path = "/a/b"},
                                             {.method = "GET", .path = "/a/b/{name}"},
                                             {.method = "GET", .path = "/ab"}};
    const char *arguments[ROUTE_ARGUMENTS_MAX];
    _cleanup_(routes_free_p) struct routes *routes = routes_new(paths, ARRAY_LEN(paths));
    struct target t = parsed("/a%2Fb");

    CHECK(route_find(routes, "GET", &t, arguments) == NULL);
    t = parsed("/a/b");
    CHECK(route_find(routes, "GET", &t, arguments) == &paths[0]);
    t = parsed("/a/b%2Fx");
    CHECK(route_find(routes, "GET", &t, arguments) == NULL);
    t = parsed("/a/b/c%2Fd");
    CHECK(route_find(routes, "GET", &t, arguments) == &paths[1]);
    CHECK_STR(arguments[0], "c/d");
    t = parsed("/a/bb");
    CHECK(route_find(routes, "GET", &t, arguments) == NULL);
    t = parsed("/a");
    CHECK(route_find(routes, "GET", &t, arguments) == NULL);
}

TEST(a_query_may_have_so_many_parameters_and_no_more)
{
    struct buf b;
    struct target t;

    arena = arena ? arena : arena_new();
    buf_init(&b, 0);
    (void)buf_append_str(&b, "/a?");
    for (int i = 0; i < TARGET_PAIRS_MAX; i++)
        (void)buf_append_str(&b, "&x=1&&");
    CHECK_INT(target_parse(buf_cstr(&b), arena, &t, NULL), 0);
    CHECK_INT(t.n_pairs, TARGET_PAIRS_MAX);
    CHECK_STR(t.pairs[TARGET_PAIRS_MAX - 1].value, "1");
    (void)buf_append_str(&b, "y");
    CHECK_INT(target_parse(buf_cstr(&b), arena, &t, NULL), -E2BIG);
    buf_clear(&b);
}

TEST(a_filter_can_be_repeated_so_often_and_no_more)
{
    const struct api_route list = {.collection = &exposure_collection};
    struct target t = parsed("/x?service=1&service=2&service=3&service=4&service=5&service=6&service=7&service=8");
    struct fault_list faults = {.arena = arena};

    parameters_check(&list, &t, &faults);
    CHECK_INT(faults.n, 0);
    t = parsed("/x?service=1&service=2&service=3&service=4&service=5&service=6&service=7&service=8&service=9");
    parameters_check(&list, &t, &faults);
    CHECK_INT(faults.n, 1);
    CHECK_STR(faults.items[0].code, "duplicate");
}

TEST(every_bad_parameter_is_a_fault)
{
    struct target t = parsed("/things/a?n=0&n=3&flag=yes&other=1&n=+3");
    struct fault_list faults = {.arena = arena};

    parameters_check(&table[0], &t, &faults);
    CHECK_INT(faults.n, 5);
    CHECK_STR(faults.items[0].code, "invalid");
    CHECK_STR(faults.items[1].code, "duplicate");
    CHECK_STR(faults.items[2].code, "invalid");
    CHECK_STR(faults.items[3].code, "unknown");
}

/* ---- dispatch ---- */

static struct view *the_view(void *arg)
{
    (void)arg; /* there is one kind */
    return view_new(NULL);
}

static struct tokens *the_tokens;

struct asked {
    unsigned status;
    char body[1024];
    const char *allow, *etag, *authenticate;
};

static struct asked ask_of(const struct dispatcher *d, const struct http_peer *peer, const char *method,
                           const char *target, struct field *fields, const char *body)
{
    struct http_request r = {.id = "0123456789abcdef",
                             .method = method,
                             .target = target,
                             .peer = peer,
                             .header = field_value,
                             .header_arg = fields,
                             .body = body,
                             .body_len = body ? strlen(body) : 0};
    static struct arena *kept; /* of the last answer's texts */
    struct asked asked = {0};

    arena_free(kept);
    kept = arena_new();
    struct http_answer a = {.arena = kept};
    buf_init(&a.body, 0);
    dispatch(d, the_tokens, &r, &a);
    asked.status = a.status;
    (void)snprintf(asked.body, sizeof(asked.body), "%.*s", a.content ? (int)a.content->n : (int)a.body.len,
                   a.content ? (const char *)a.content->data : buf_cstr(&a.body));
    http_content_unref(a.content);
    for (size_t i = 0; i < a.n_headers; i++) {
        if (strcmp(a.headers[i].name, "Allow") == 0)
            asked.allow = a.headers[i].value;
        if (strcmp(a.headers[i].name, "ETag") == 0)
            asked.etag = a.headers[i].value;
        if (strcmp(a.headers[i].name, "WWW-Authenticate") == 0)
            asked.authenticate = a.headers[i].value;
    }
    buf_clear(&a.body);
    return asked;
}

static struct asked ask(const struct http_peer *peer, const char *method, const char *target, struct field *fields,
                        const char *body)
{
    _cleanup_(routes_free_p) struct routes *routes = routes_new(table, ARRAY_LEN(table));
    const struct dispatcher d = {.routes = routes, .backend = {.view = the_view}, .group = (gid_t)-1};

    return ask_of(&d, peer, method, target, fields, body);
}

static const struct http_peer root = {.is_unix = true, .uid = 0};
static const struct http_peer stranger = {.is_unix = true, .uid = 4000000000U};
static const struct http_peer tcp = {.is_unix = false};

TEST(who_is_not_known_learns_neither_paths_nor_objects)
{
    CHECK_INT(ask(&tcp, "GET", "/things/a", NULL, NULL).status, 401);
    CHECK_INT(ask(&tcp, "GET", "/nothing", NULL, NULL).status, 401);
    CHECK_INT(ask(&tcp, "OPTIONS", "/things/a", NULL, NULL).status, 401);
    CHECK(ask(&tcp, "GET", "/things/%zz", NULL, NULL).authenticate != NULL);
    CHECK_INT(ask(&stranger, "GET", "/things/a", NULL, NULL).status, 403);
    CHECK_INT(ask(&tcp, "GET", "/open", NULL, NULL).status, 200);
}

TEST(methods_types_and_queries_are_checked_in_turn)
{
    struct field html[] = {{"Accept", "text/html"}, {NULL}}, xml[] = {{"Content-Type", "text/xml"}, {NULL}},
                 merge[] = {{"Content-Type", "application/merge-patch+json; charset=utf-8"}, {NULL}};

    CHECK_INT(ask(&root, "GET", "/nothing", NULL, NULL).status, 404);
    CHECK_INT(ask(&root, "DELETE", "/things/a", NULL, NULL).status, 405);
    CHECK_STR(ask(&root, "DELETE", "/things/a", NULL, NULL).allow, "GET, HEAD, PATCH, OPTIONS");
    CHECK_INT(ask(&root, "OPTIONS", "/things/a", NULL, NULL).status, 204);
    CHECK_INT(ask(&root, "GET", "/things/a", html, NULL).status, 406);
    CHECK_INT(ask(&root, "PATCH", "/things/a", xml, "{}").status, 415);
    CHECK_INT(ask(&root, "PATCH", "/things/a", merge, "{}").status, 200);
    struct asked bad = ask(&root, "GET", "/things/a?x=1&n=99", NULL, NULL);
    CHECK_INT(bad.status, 400);
    CHECK(strstr(bad.body, "{\"parameter\":\"x\",\"code\":\"unknown\"") != NULL);
    CHECK(strstr(bad.body, "{\"parameter\":\"n\",\"code\":\"invalid\"") != NULL);
    CHECK(strstr(bad.body, "\"request_id\":\"0123456789abcdef\"") != NULL);
}

TEST(an_answer_that_is_there_already_is_a_304_without_content)
{
    struct asked first = ask(&root, "GET", "/things/a", NULL, NULL);
    _cleanup_(mem_free_p) char *tag = mem_strdup(first.etag);
    struct field fields[] = {{"If-None-Match", tag}, {NULL}};
    struct asked second = ask(&root, "GET", "/things/a", fields, NULL);

    CHECK_INT(first.status, 200);
    CHECK_INT(second.status, 304);
    CHECK_STR(second.body, "");
    CHECK_STR(second.etag, tag);
}

/* ---- documents that are kept ---- */

static unsigned written;
static uint64_t status_version;
static struct view *shown;
static double until = INFINITY;

static void handle_kept(struct call *c)
{
    written++;
    c->until = until;
    if (strcmp(c->arguments[0], "none") == 0) {
        call_not_found(c, "Thing");
        return;
    }
    (void)buf_printf(&c->answer->body, "{\"a\":%u,\"b\":\"%01500d\"}", written, 0); /* compresses well */
    call_done(c);
}

static struct view *shown_view(void *arg)
{
    (void)arg; /* there is one */
    return view_ref(shown);
}

static uint64_t version_of_status(void *arg)
{
    (void)arg; /* there is one */
    return status_version;
}

static void say_nothing(void *arg, const struct api_carrier *carriers, size_t n, struct arena *a,
                        struct api_programmed *ret)
{
    (void)arg, (void)carriers, (void)n, (void)a, (void)ret; /* nothing is known */
}

static const struct api_route kept_table[] = {{.method = "GET",
                                               .path = "/kept/{name}",
                                               .access = ROLE_VIEWER,
                                               .produces = "application/json",
                                               .kept = true,
                                               .handle = handle_kept}};

static struct dispatcher kept_dispatcher(void)
{
    written = 0;
    until = INFINITY;
    shown = view_new(NULL);
    return (struct dispatcher){.routes = routes_new(kept_table, ARRAY_LEN(kept_table)),
                               .backend = {.view = shown_view},
                               .cache = cache_new(),
                               .group = (gid_t)-1};
}

static void end_kept(struct dispatcher *d)
{
    cache_free(d->cache);
    routes_free(d->routes);
    view_unref(shown);
}

TEST(a_document_is_written_once_for_each_state_and_target)
{
    struct dispatcher d = kept_dispatcher();
    struct asked first = ask_of(&d, &root, "GET", "/kept/a", NULL, NULL);
    _cleanup_(mem_free_p) char *tag = mem_strdup(first.etag);
    struct field listed[] = {{"If-None-Match", tag}, {NULL}}, gzip[] = {{"Accept-Encoding", "gzip"}, {NULL}};

    CHECK_INT(first.status, 200);
    struct asked again = ask_of(&d, &root, "HEAD", "/kept/a", NULL, NULL);
    CHECK_STR(again.body, first.body);
    CHECK_STR(again.etag, tag);
    CHECK_INT(ask_of(&d, &root, "GET", "/kept/a", listed, NULL).status, 304);
    struct asked packed = ask_of(&d, &root, "GET", "/kept/a", gzip, NULL);
    CHECK(strstr(packed.etag, "-gzip\"") != NULL);
    CHECK_INT(packed.body[0], 0x1f);
    CHECK_INT(ask_of(&d, &root, "GET", "/kept/a", gzip, NULL).body[0], 0x1f);
    CHECK_INT(written, 2); /* each form once */
    (void)ask_of(&d, &root, "GET", "/kept/b", NULL, NULL);
    CHECK_INT(written, 3);
    view_unref(shown);
    shown = view_new(NULL); /* where the one before may have stood */
    struct asked other = ask_of(&d, &root, "GET", "/kept/a", listed, NULL);
    CHECK_INT(other.status, 200);
    CHECK(strstr(other.body, "{\"a\":4,") == other.body);
    end_kept(&d);
}

TEST(a_document_is_kept_for_its_role_and_an_operators_name)
{
    struct dispatcher d = kept_dispatcher();
    struct tokens *tokens = NULL;
    const struct http_peer callers[] = {
        {.certificate = "a"}, {.certificate = "b"}, {.certificate = "c"}, {.certificate = "d"}};

    CHECK_INT(tokens_parse("f",
                           "a viewer certificate\nb viewer certificate\nc operator=g certificate\n"
                           "d operator=h certificate\n",
                           &tokens, NULL),
              0);
    the_tokens = tokens;
    for (size_t i = 0; i < ARRAY_LEN(callers); i++)
        CHECK_INT(ask_of(&d, &callers[i], "GET", "/kept/a", NULL, NULL).status, 200);
    CHECK_INT(written, 3); /* the two viewers see the same */
    the_tokens = NULL;
    tokens_unref(tokens);
    end_kept(&d);
}

TEST(what_proxies_said_and_the_day_make_another_document)
{
    struct dispatcher d = kept_dispatcher();

    d.backend.programmed = say_nothing;
    (void)ask_of(&d, &root, "GET", "/kept/a", NULL, NULL);
    (void)ask_of(&d, &root, "GET", "/kept/a", NULL, NULL);
    CHECK_INT(written, 2); /* nobody tells when they say something else */
    d.backend.status_version = version_of_status;
    (void)ask_of(&d, &root, "GET", "/kept/a", NULL, NULL);
    (void)ask_of(&d, &root, "GET", "/kept/a", NULL, NULL);
    CHECK_INT(written, 3);
    status_version++;
    until = 1; /* long past: it was never right */
    (void)ask_of(&d, &root, "GET", "/kept/a", NULL, NULL);
    CHECK_INT(written, 4);
    (void)ask_of(&d, &root, "GET", "/kept/a", NULL, NULL);
    CHECK_INT(written, 5);
    end_kept(&d);
}

TEST(problems_are_not_kept_and_no_more_than_there_is_room_for)
{
    struct dispatcher d = kept_dispatcher();
    const struct cache_state state = {1, 1};
    struct document_form form = {.content = http_content_new(NULL, 0), .content_type = "x", .until = INFINITY}, got;
    struct http_content *large = form.content;
    char key[16];

    CHECK_INT(ask_of(&d, &root, "GET", "/kept/none", NULL, NULL).status, 404);
    CHECK_INT(ask_of(&d, &root, "GET", "/kept/none", NULL, NULL).status, 404);
    CHECK_INT(written, 2);
    _cleanup_(mem_free_p) char *zeros = mem_alloc(CACHE_BYTES_MAX / 4);
    http_content_unref(large);
    form.content = http_content_new(zeros, CACHE_BYTES_MAX / 4);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(key, sizeof(key), "%d", i);
        cache_put(d.cache, &state, key, &form);
    }
    CHECK(!cache_get(d.cache, &state, 0, "0", &got));
    CHECK(cache_get(d.cache, &state, 0, "3", &got));
    http_content_unref(got.content);
    CHECK(!cache_get(d.cache, &(struct cache_state){1, 2}, 0, "3", &got));
    CHECK_INT(form.content->refs, 1);
    /* One that counts days is good for a day at most: the clock may be set back. */
    form.until = 3.0 * EXPIRY_DAY_SECONDS;
    cache_put(d.cache, &state, "days", &form);
    CHECK(!cache_get(d.cache, &state, form.until, "days", &got));
    CHECK(cache_get(d.cache, &state, form.until - EXPIRY_DAY_SECONDS, "days", &got));
    http_content_unref(got.content);
    CHECK(!cache_get(d.cache, &state, form.until - EXPIRY_DAY_SECONDS - 1, "days", &got));
    http_content_unref(form.content);
    end_kept(&d);
}

TEST(a_day_less_is_told_from_the_second_on_that_it_is_one)
{
    struct call c = {.now = 1000, .until = INFINITY};

    CHECK_INT(days_left(&c, 1000 + 2 * DAY_SECONDS + 5), 2);
    CHECK_INT((int64_t)c.until, 1006);
    CHECK_INT(days_until(1000 + 2 * DAY_SECONDS + 5, 1005), 2);
    CHECK_INT(days_until(1000 + 2 * DAY_SECONDS + 5, 1006), 1);
    c.until = INFINITY;
    CHECK_INT(days_left(&c, 990), -1);
    CHECK_INT(days_until(990, c.until - 1), -1);
    CHECK_INT(days_until(990, c.until), -2);
}

/* Who is told at that moment looks: the days, and the words that follow from them, have to be other ones by then. */
TEST(a_certificate_is_told_of_at_the_moment_that_its_days_say_something_else)
{
    enum { LAST = 100 * DAY_SECONDS };
    const struct secret s = {.has_pair = true, .info = {.not_after = LAST}};
    struct expiry e;
    double since;

    arena = arena ? arena : arena_new();
    CHECK(expiry_of_secret(&s, &e));
    CHECK_INT(days_until(LAST, e.warned_at - 0.001), EXPIRY_CERTIFICATE_DAYS);
    CHECK_INT(days_until(LAST, e.warned_at), EXPIRY_CERTIFICATE_DAYS - 1);
    CHECK_INT(days_until(LAST, e.ends_at - 0.001), 0);
    CHECK_INT(days_until(LAST, e.ends_at), -1);
    CHECK(!secret_alarm(&s, e.warned_at - 0.001, arena, &since));
    CHECK_STR(secret_alarm(&s, e.warned_at, arena, &since), "it expires in 29 days");
    CHECK_STR(secret_alarm(&s, e.ends_at - 0.001, arena, &since), "it expires in 0 days");
    CHECK_STR(secret_alarm(&s, e.ends_at, arena, &since), "it is expired and still served");
}

TEST(numbers_are_written_to_their_ends)
{
    struct buf b;
    struct writer w = {.out = &b};

    buf_init(&b, 0);
    writer_open(&w, NULL, '[');
    writer_int(&w, NULL, 0);
    writer_int(&w, NULL, -7);
    writer_int(&w, NULL, INT64_MAX);
    writer_int(&w, NULL, INT64_MIN);
    writer_close(&w, ']');
    CHECK_STR(buf_cstr(&b), "[0,-7,9223372036854775807,-9223372036854775808]");
    buf_clear(&b);
}

/* ---- callers and hosts ---- */

TEST(a_client_certificate_is_who_the_token_file_says_and_a_token_goes_first)
{
    const char *const text = "# callers\nboss admin certificate\n"
                             "guest viewer 0000000000000000000000000000000000000000000000000000000000000000\n";
    struct field wrong[] = {{"Authorization", "Bearer igwd_x"}, {NULL}};
    struct http_peer boss = {.certificate = "boss"}, guest = {.certificate = "guest"};
    struct http_request r = {.peer = &boss, .header = field_value};
    struct principal who = {0};
    struct tokens *tokens = NULL;
    struct refusal refusal = {0};

    arena = arena ? arena : arena_new();
    CHECK_INT(tokens_parse("f", text, &tokens, NULL), 0);
    const struct door door = {.tokens = tokens, .group = (gid_t)-1}, empty = {.group = (gid_t)-1};
    CHECK(authenticate(&r, &door, arena, &who, &refusal));
    CHECK_STR(who.name, "boss");
    CHECK_STR(who.method, "certificate");
    CHECK_INT(who.role, ROLE_ADMIN);
    r.header_arg = wrong;
    CHECK(!authenticate(&r, &door, arena, &who, &refusal) && refusal.status == 401 && refusal.is_guess);
    r.header_arg = NULL;
    r.peer = &guest; /* it has a token, no certificate */
    CHECK(!authenticate(&r, &door, arena, &who, &refusal) && refusal.status == 401);
    r.peer = &boss;
    CHECK(!authenticate(&r, &empty, arena, &who, &refusal) && refusal.status == 401);
    boss.certificate_ends = 1; /* its connection lasts longer */
    CHECK(!authenticate(&r, &door, arena, &who, &refusal) && refusal.status == 401 && !refusal.is_guess);
    tokens_unref(tokens);
    CHECK_INT(tokens_parse("f", "boss admin certificat\n", &tokens, NULL), -EINVAL);
    CHECK_INT(tokens_parse("f", "boss admin certificate x\n", &tokens, NULL), -EINVAL);
}

TEST(hosts_are_names_without_ports_and_what_was_connected_to)
{
    const char *const names[] = {"Igwd.example.com", "10.0.0.1:8001", "[fd00::1]:8001"};
    struct hosts *h = hosts_new(names, ARRAY_LEN(names));

    CHECK(hosts_allow(h, "igwd.EXAMPLE.com:8443", NULL));
    CHECK(hosts_allow(h, "igwd.example.com.", NULL));
    CHECK(hosts_allow(h, "10.0.0.1", NULL));
    CHECK(hosts_allow(h, "[fd00::1]", NULL));
    CHECK(hosts_allow(h, "localhost:1", NULL) && hosts_allow(h, "127.0.0.1", NULL) &&
          hosts_allow(h, "[::1]:8", NULL));
    CHECK(!hosts_allow(h, "10.0.0.2:8001", NULL));
    CHECK(hosts_allow(h, "10.0.0.2:8001", "10.0.0.2:8001"));
    CHECK(!hosts_allow(h, "evil.example.com", "10.0.0.2:8001"));
    CHECK(!hosts_allow(h, "igwd.example.com.evil.com", NULL));
    CHECK(!hosts_allow(h, "", NULL) && !hosts_allow(h, ":80", "") && !hosts_allow(h, "[", NULL));
    hosts_free(h);
    arena = arena ? arena : arena_new();
    CHECK(hosts_of_target("/a?b=http://c/", arena) == NULL);
    CHECK(hosts_of_target("*", arena) == NULL);
    CHECK_STR(hosts_of_target("http://a:80/b@c", arena), "a:80");
    CHECK_STR(hosts_of_target("http://localhost@evil?x", arena), "evil");
}

TEST(a_client_says_how_long_it_waits)
{
    CHECK_INT(prefer_wait("wait=10", 60), 10);
    CHECK_INT(prefer_wait("respond-async, Wait=99999999999999999999; x=1", 60), 60);
    CHECK_INT(prefer_wait("wait=1, wait=2", 60), 1);
    CHECK_INT(prefer_wait("wait=", 60), 0);
    CHECK_INT(prefer_wait("wait=1x", 60), 0);
    CHECK_INT(prefer_wait("waits=5, await=4", 60), 0);
    CHECK_INT(prefer_wait(NULL, 60), 0);
}

/* ---- what the daemon hands over ---- */

static const struct api_proxy_resource resources[] = {
    {"CLUSTER", "a", "1", API_ACKED, NULL},
    {"CLUSTER", "b", "2", API_NACKED, "no such thing"},
    {"LISTENER", "a", NULL, API_DOES_NOT_EXIST, NULL},
};
static const struct api_proxy_type types[] = {{"CLUSTER", {0, 1, 1, 0}}, {"LISTENER", {0, 0, 0, 1}}};
static const struct api_proxy_type acked_type[] = {{"CLUSTER", {0, 1, 0, 0}}};
static const struct api_proxy proxies[] = {
    {.id = "1", .node_id = "n1", .node_cluster = "c", .gateway = "g", .peer = "p", .types = acked_type, .n_types = 1},
    {.id = "3", .node_id = "n3", .node_cluster = "c", .gateway = "", .peer = "p"},
    {.id = "7",
     .node_id = "n7",
     .node_cluster = "c",
     .gateway = "g",
     .peer = "p",
     .incremental = true,
     .types = types,
     .n_types = 2,
     .resources = resources,
     .n_resources = 3},
};

static void the_proxies(void *arg, const char *id, struct arena *a, const struct api_proxy **ret, size_t *ret_n)
{
    (void)arg, (void)a; /* they stand above */
    *ret = proxies;
    *ret_n = 3;
    if (id) {
        *ret_n = strcmp(id, "7") == 0;
        *ret = &proxies[2];
    }
}

static struct asked ask_proxies(const char *target)
{
    _cleanup_(routes_free_p) struct routes *routes = routes_new(api_routes, api_n_routes);
    const struct dispatcher d = {
        .routes = routes, .backend = {.view = the_view, .proxies = the_proxies}, .version = "1", .group = (gid_t)-1};

    return ask_of(&d, &root, "GET", target, NULL, NULL);
}

TEST(proxies_are_shown_with_their_worst_state)
{
    struct asked one = ask_proxies("/api/v1/proxies/7");

    CHECK_INT(one.status, 200);
    CHECK(strstr(one.body, "\"variant\":\"incremental\"") != NULL);
    CHECK(strstr(one.body, "\"presence\":\"connected\",\"ended\":null,\"state\":\"NACKED\"") != NULL);
    CHECK(strstr(one.body, "\"type\":\"LISTENER\",\"REQUESTED\":0,\"ACKED\":0,\"NACKED\":0,\"DOES_NOT_EXIST\":1") !=
          NULL);
    CHECK_INT(ask_proxies("/api/v1/proxies/8").status, 404);
    CHECK_STR(ask_proxies("/api/v1/proxies?state=REQUESTED&fields=id").body,
              "{\"kind\":\"ProxyList\",\"items\":[{\"id\":\"3\"}],\"next\":null,\"total\":1,\"event\":\"0.0\"}");
    struct asked acked = ask_proxies("/api/v1/proxies?state=ACKED&fields=id");
    CHECK_STR(acked.body,
              "{\"kind\":\"ProxyList\",\"items\":[{\"id\":\"1\"}],\"next\":null,\"total\":1,\"event\":\"0.0\"}");
}

/* ---- proxies that left ---- */

static const char *forgotten; /* the id */
static int forget_result;

static void one_that_left(void *arg, const char *id, struct arena *a, const struct api_proxy **ret, size_t *ret_n)
{
    static const struct api_proxy gone[] = {{.id = "5",
                                             .presence = API_GONE,
                                             .node_id = "n5",
                                             .node_cluster = "c",
                                             .gateway = "g",
                                             .peer = "p",
                                             .left_at = 86400,
                                             .ended = "it was cut"},
                                            {.id = "6",
                                             .presence = API_AWAY,
                                             .node_id = "n6",
                                             .node_cluster = "c",
                                             .gateway = "g",
                                             .peer = "p",
                                             .left_at = 86400}};

    (void)arg, (void)a; /* they stand above */
    *ret_n = id ? strcmp(id, "5") == 0 : ARRAY_LEN(gone);
    *ret = gone;
}

static int forget(void *arg, const char *id)
{
    (void)arg;
    forgotten = strcmp(id, "5") == 0 ? "5" : "another";
    return forget_result;
}

static struct asked ask_left(const struct http_peer *peer, const char *method, const char *target)
{
    _cleanup_(routes_free_p) struct routes *routes = routes_new(api_routes, api_n_routes);
    const struct dispatcher d = {.routes = routes,
                                 .backend = {.view = the_view, .proxies = one_that_left, .forget_proxy = forget},
                                 .version = "1",
                                 .group = (gid_t)-1};

    forgotten = NULL;
    return ask_of(&d, peer, method, target, NULL, NULL);
}

TEST(one_that_is_gone_is_an_alarm_and_one_that_is_away_is_none)
{
    struct asked alarms = ask_left(&root, "GET", "/api/v1/alarms");

    CHECK(
        strstr(
            alarms.body,
            "\"items\":[{\"kind\":\"Alarm\",\"name\":\"proxy 5\",\"text\":\"\\\"n5\\\" of gateway \\\"g\\\" left at "
            "1970-01-02T00:00:00.000Z and did not come back: it was "
            "cut\",\"since\":\"1970-01-02T00:00:00.000Z\"}]") != NULL);
    CHECK_STR(ask_left(&root, "GET", "/api/v1/proxies?presence=away&fields=id").body,
              "{\"kind\":\"ProxyList\",\"items\":[{\"id\":\"6\"}],\"next\":null,\"total\":1,\"event\":\"0.0\"}");
}

TEST(one_that_is_gone_is_forgotten_by_those_who_may)
{
    static const char text[] = "boss admin certificate\nmine operator=g certificate\nother operator=h certificate\n"
                               "guest viewer certificate\n";
    struct http_peer mine = {.certificate = "mine"}, other = {.certificate = "other"},
                     guest = {.certificate = "guest"};

    CHECK_INT(tokens_parse("f", text, &the_tokens, NULL), 0);
    forget_result = 0;
    CHECK_INT(ask_left(&other, "DELETE", "/api/v1/proxies/5").status, 403);
    CHECK_INT(ask_left(&guest, "DELETE", "/api/v1/proxies/5").status, 403);
    CHECK_INT(ask_left(&mine, "DELETE", "/api/v1/proxies/5?dry_run=true").status, 204);
    CHECK_STR(forgotten, NULL);
    CHECK_INT(ask_left(&mine, "DELETE", "/api/v1/proxies/5").status, 204);
    CHECK_STR(forgotten, "5");
    CHECK_INT(ask_left(&root, "DELETE", "/api/v1/proxies/5").status, 204);
    CHECK_STR(forgotten, "5");
    CHECK_INT(ask_left(&root, "DELETE", "/api/v1/proxies/7").status, 404);
    CHECK_STR(forgotten, NULL);
    /* What came of it meanwhile. */
    forget_result = -EBUSY;
    CHECK_INT(ask_left(&root, "DELETE", "/api/v1/proxies/5").status, 409);
    forget_result = -ENOENT;
    CHECK_INT(ask_left(&root, "DELETE", "/api/v1/proxies/5").status, 404);
    forget_result = -EAGAIN;
    CHECK_INT(ask_left(&root, "DELETE", "/api/v1/proxies/5").status, 503);
    tokens_unref(take_ptr(the_tokens));
}

TEST(resources_of_a_proxy_come_in_pages_by_type_and_name)
{
    struct asked first = ask_proxies("/api/v1/proxies/7/resources?limit=2&fields=name,type");
    const char *next = strstr(first.body, "\"next\":\"");
    char target[512];

    CHECK(strstr(first.body, "[{\"name\":\"a\",\"type\":\"CLUSTER\"},{\"name\":\"b\",\"type\":\"CLUSTER\"}]") !=
          NULL);
    CHECK(next != NULL);
    next += strlen("\"next\":\"");
    (void)snprintf(target, sizeof(target), "/api/v1/proxies/7/resources?fields=name,type&after=%.*s",
                   (int)strcspn(next, "\""), next);
    CHECK_STR(ask_proxies(target).body, "{\"kind\":\"ProxyResourceList\",\"items\":[{\"name\":\"a\",\"type\":"
                                        "\"LISTENER\"}],\"next\":null,\"total\":3,\"event\":\"0.0\"}");
    CHECK(strstr(ask_proxies("/api/v1/proxies/7/resources?state=NACKED").body, "no such thing") != NULL);
    CHECK_INT(ask_proxies("/api/v1/proxies/8/resources").status, 404);
}

/* ---- negotiation ---- */

TEST(accept_takes_the_most_exact_element)
{
    CHECK(accept_takes(NULL, "application/json"));
    CHECK(accept_takes("", "application/json"));
    CHECK(accept_takes("text/html, application/json;q=0.2", "application/json"));
    CHECK(accept_takes("Application/*", "application/json"));
    CHECK(!accept_takes("text/html", "application/json"));
    CHECK(!accept_takes("*/*, application/json; q=0.000", "application/json"));
    CHECK(accept_takes("application/*;q=0, application/json", "application/json"));
    CHECK(accept_takes_gzip("br, gzip;q=0.5"));
    CHECK(accept_takes_gzip("*"));
    CHECK(!accept_takes_gzip("*, gzip;q=0"));
    CHECK(!accept_takes_gzip(NULL));
    CHECK(!accept_takes_gzip("identity"));
}

TEST(tags_match_weakly_in_lists_and_in_both_forms)
{
    CHECK(etag_is_listed("\"a\", W/\"b\"", "\"b\""));
    CHECK(etag_is_listed("*", "\"b\""));
    CHECK(etag_is_listed("\"b-gzip\"", "\"b\""));
    CHECK(!etag_is_listed("\"bb\"", "\"b\""));
    CHECK(!etag_is_listed("*b", "\"b\""));
    CHECK(!etag_is_listed("b", "\"b\""));
    CHECK(!etag_is_listed("\"b", "\"b\""));
    CHECK(!etag_is_listed(NULL, "\"b\""));
    CHECK(etag_is_listed("*", NULL)); /* what has no tag is there all the same */
    CHECK(!etag_is_listed("\"b\", W/\"a\"", NULL));
    CHECK(!etag_is_listed(NULL, NULL));
}

TEST(a_condition_is_a_star_or_a_list_of_tags)
{
    static const char *const good[] = {
        "*", "* ", "\"\"", "\"a\"", "W/\"a\"", " \"a\" ,\t\"b\"", ", \"a\",,\"b\",", "\"a,b\"", "\"\xe9\""};
    static const char *const bad[] = {
        "",        " ",  ",",        "a",        "\"a",     "a\"",      "\"a\" \"b\"", "\"a\"\"b\"",    "\"a\", b",
        "w/\"a\"", "W/", "*, \"a\"", "\"a\", *", "\"a b\"", "\"a\tb\"", "'a'",         "\"a\", \"b c\""};

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!etags_are_good(good[i]))
            test_fail(__FILE__, __LINE__, "refused: %s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (etags_are_good(bad[i]))
            test_fail(__FILE__, __LINE__, "taken: %s", bad[i]);
}

TEST(if_match_compares_the_part_of_a_tag_that_an_edit_changes)
{
    static const char tag[] = "\"aaaa.bbbb\"", plain[] = "\"cccc\"";

    CHECK(etag_spec_matches("\"aaaa.bbbb\"", tag));
    CHECK(etag_spec_matches("\"aaaa.0000\"", tag)); /* an endpoint flapped */
    CHECK(etag_spec_matches("\"aaaa.bbbb-gzip\"", tag));
    CHECK(etag_spec_matches("\"x\", \"aaaa.1\"", tag));
    CHECK(etag_spec_matches("*", tag));
    CHECK(etag_spec_matches("\"cccc-gzip\"", plain));
    CHECK(!etag_spec_matches("\"aaab.bbbb\"", tag));
    CHECK(!etag_spec_matches("\"aaa\"", tag));
    CHECK(!etag_spec_matches("W/\"aaaa.bbbb\"", tag)); /* strong comparison: RFC 9110, 13.1.1 */
    CHECK(!etag_spec_matches("\"x\", *", tag));
    CHECK(!etag_spec_matches("aaaa.bbbb", tag));
    CHECK(!etag_spec_matches("\"aaaa.bbbb", tag));
    CHECK(!etag_spec_matches("", tag));
}

TEST(what_is_secret_in_an_exposure_is_left_out_and_nothing_else)
{
    json_t *nested = json_loads("{\"listener_certificates\":[{\"certificate_secret\":\"kept\","
                                "\"private_key_inline_string\":\"s1\"}],\"gateway\":\"kept2\","
                                "\"cluster_data\":{\"a\":{\"password\":\"s2\",\"b\":\"kept3\"}}}",
                                0, NULL);

    exposure_redact(nested);
    _cleanup_(mem_free_p) char *text = json_canonical(nested);
    json_decref(nested);
    CHECK(!strstr(text, "s1") && !strstr(text, "s2"));
    CHECK(strstr(text, "\"kept\"") && strstr(text, "kept2") && strstr(text, "kept3"));
    _cleanup_(mem_free_p) char *token = document_shown(DOCUMENT_TOKEN, "{\"name\":\"n\",\"sha256\":\"s3\"}");
    CHECK_STR(token, "{\"name\":\"n\"}");
    _cleanup_(mem_free_p) char *pair =
        document_shown(DOCUMENT_CERTIFICATE, "{\"certificate_chain\":\"c\",\"private_key\":\"s4\"}");
    CHECK_STR(pair, "{\"certificate_chain\":\"c\",\"private_key\":\"[redacted]\"}");
}

/* ---- cursors ---- */

TEST(a_cursor_comes_back_as_it_was_and_belongs_to_its_list)
{
    struct cursor in = {
        .key = "ns/svc/\xc3\xa9.expose#0", .values = {{.text = "a\"b"}, {.number = -7}}, .n_values = 2};
    struct cursor out;
    _cleanup_(mem_free_p) char *text = cursor_write(&in, 42);

    arena = arena ? arena : arena_new();
    CHECK_INT(cursor_read(text, 42, arena, &out), 0);
    CHECK_STR(out.key, in.key);
    CHECK_STR(out.values[0].text, "a\"b");
    CHECK_INT(out.values[1].number, -7);
    CHECK_INT(cursor_read(text, 43, arena, &out), -ESTALE);
    CHECK_INT(cursor_read("x", 42, arena, &out), -EINVAL);
    CHECK_INT(cursor_read("W10", 42, arena, &out), -EINVAL);
    CHECK_INT(cursor_read("a b", 42, arena, &out), -EINVAL);
}

/* ---- names, pointers, secrets ---- */

TEST(exposures_are_in_the_order_of_services_then_of_numbers)
{
    CHECK(exposure_name_compare("a/svc/x.expose#2", "a/svc/x.expose#10") < 0);
    CHECK(exposure_name_compare("a/svc/x.expose#10", "a/svc/x1.expose#0") < 0);
    CHECK(exposure_name_compare("a/svc/x.expose#0", "a/svc/x.expose#0") == 0);
    CHECK(exposure_name_compare("a/svc/x.y.expose#0", "a/svc/x.expose#9") > 0);
}

TEST(a_field_becomes_a_pointer_into_the_document)
{
    struct declaration *d =
        model_declaration("a/svc/x", "expose#0 {'port': 80, 'vhosts': ['vhost#3']}\n"
                                     "vhost#3 {'domains': ['a'], 'routes': ['route#1', 'route#7']}\n"
                                     "route#1 {'match_prefix': '/a'}\n"
                                     "route#7 {'match_prefix': '/', 'hash_policies': ['hashpolicy#2']}\n"
                                     "hashpolicy#2 {'header_header_name': 'x'}\n");
    const struct exposure *x = declaration_find(d, "expose#0");

    arena = arena ? arena : arena_new();
    CHECK_STR(exposure_pointer(x, "route#7.match_regex", arena), "#/vhosts/0/routes/1/match_regex");
    CHECK_STR(exposure_pointer(x, "hashpolicy#2", arena), "#/vhosts/0/routes/1/hash_policies/0");
    CHECK_STR(exposure_pointer(x, "vhost#3.domains", arena), "#/vhosts/0/domains");
    CHECK_STR(exposure_pointer(x, "expose#0.port", arena), "#/port");
    CHECK_STR(exposure_pointer(x, "listener_port", arena), "#/listener_port");
    CHECK(exposure_pointer(x, "route#9", arena) == NULL);
    declaration_unref(d);
}

TEST(what_is_named_like_a_secret_is_left_out)
{
    _cleanup_(mem_free_p) char *text =
        json_redacted("{\"a\":{\"inline_string\":\"s1\",\"b\":[{\"key\":\"Authorization\",\"value\":\"s2\"}]},"
                      "\"Password\":\"s3\",\"c\":{\"key\":\"x\",\"value\":\"kept\"}}");

    CHECK(strstr(text, "s1") == NULL && strstr(text, "s2") == NULL && strstr(text, "s3") == NULL);
    CHECK(strstr(text, "kept") != NULL && strstr(text, "Authorization") != NULL);
}

TEST(only_certificates_are_taken_out_of_a_pem_text)
{
    arena = arena ? arena : arena_new();
    CHECK_STR(pem_certificates("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
                               "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\ntail",
                               arena),
              "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n");
    CHECK_STR(pem_certificates("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"
                               "-----END CERTIFICATE-----\n",
                               arena),
              "");
}

TEST(days_left_are_whole_and_negative_once_past)
{
    CHECK_INT(days_until(100 + DAY_SECONDS, 100), 1);
    CHECK_INT(days_until(99 + DAY_SECONDS, 100), 0);
    CHECK_INT(days_until(99, 100), -1);
}

/* ---- tokens ---- */

TEST(a_token_file_says_where_it_is_wrong)
{
    static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const char *const bad[] = {"a admin",      "a boss %s",      "a admin 12",
                               "a admin %s x", "a operator= %s", "a admin %s\na viewer %s"};
    struct tokens *t = NULL;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf b;
        struct err e = {0};
        buf_init(&b, 0);
        (void)buf_append_str(&b, "# tokens\n\n");
        for (const char *p = bad[i]; *p; p += *p == '%' ? 2 : 1)
            (void)(*p == '%' ? buf_append_str(&b, digest) : buf_append(&b, p, 1));
        if (tokens_parse("file", buf_cstr(&b), &t, &e) != -EINVAL)
            test_fail(__FILE__, __LINE__, "\"%s\" was taken", bad[i]);
        CHECK(strncmp(e.object, "file:", 5) == 0 && strstr(e.text, digest) == NULL);
        buf_clear(&b);
    }
}

/* ---- the table and the contract ---- */

TEST(every_route_stands_in_the_contract_and_every_operation_in_the_table)
{
    size_t n, operations = 0;
    const char *text = contract_text(&n);

    for (size_t i = 0; i < api_n_routes; i++) {
        _cleanup_(mem_free_p) char *path = mem_printf("\n  %s:\n", api_routes[i].path);
        _cleanup_(mem_free_p) char *operation = mem_printf("\n      operationId: %s\n", api_routes[i].operation);
        const char *at = strstr(text, path), *id = at ? strstr(at, operation) : NULL;
        const char *next = at ? strstr(at + strlen(path), "\n  /") : NULL;
        if (!id || (next && id > next))
            test_fail(__FILE__, __LINE__, "%s %s is not in the contract", api_routes[i].operation,
                      api_routes[i].path);
    }
    for (const char *at = text; (at = strstr(at, "\n      operationId: ")); at++)
        operations++;
    CHECK_INT(operations, api_n_routes);
}

TEST(every_parameter_of_the_table_stands_in_the_contract_below_its_path)
{
    size_t n;
    const char *text = contract_text(&n);

    for (size_t i = 0; i < api_n_routes; i++) {
        const struct collection *l = api_routes[i].collection;
        _cleanup_(mem_free_p) char *path = mem_printf("\n  %s:\n", api_routes[i].path);
        const char *at = strstr(text, path), *end = at ? strstr(at + strlen(path), "\n  /") : NULL;
        CHECK(at != NULL);
        for (const struct attribute *a = l ? l->attributes : NULL; a && a->name; a++) {
            _cleanup_(mem_free_p) char *name = mem_printf("\n      - name: %s\n", a->name);
            const char *found = strstr(at, name);
            if (a->uses & ATTRIBUTE_FILTER && (!found || (end && found > end)))
                test_fail(__FILE__, __LINE__, "%s of %s is not in the contract", a->name, api_routes[i].path);
        }
    }
}
