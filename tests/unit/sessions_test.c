/*
 * Sessions of browsers: how long they live, how many there are, what ends them; cookies and origins; and all of it
 * together in the dispatcher.
 */
#include "api/sessions.h"

#include "api/browser.h"
#include "api/dispatch.h"
#include "store/document.h"
#include "tests/unit/header_fields.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

static struct clock now = {.fake = 1, .fake_now = CLOCK_NS_PER_S};

static void pass_seconds(double seconds)
{
    now.fake_now += (clock_ns)(seconds * (double)CLOCK_NS_PER_S);
}

static struct principal who_is(const char *name, enum role role)
{
    struct principal who = {.name = name, .method = "token", .role = role, .credential = {.kind = CREDENTIAL_TOKEN}};

    digest_of(name, who.credential.digest);
    return who;
}

static const char *add(struct sessions *s, const char *name, struct arena *arena)
{
    const struct principal who = who_is(name, ROLE_VIEWER);
    struct session ret;

    return sessions_add(s, &who, "127.0.0.1:1", arena, &ret);
}

static bool lives(struct sessions *s, const char *secret, struct arena *arena)
{
    struct session ret;

    return sessions_use(s, secret, arena, &ret);
}

/* ---- lifetime and number ---- */

TEST(a_session_is_found_by_its_secret_and_by_nothing_like_it)
{
    struct sessions *s = sessions_new(&now);
    struct arena *arena = arena_new();
    struct session ret;
    const char *secret = add(s, "a", arena), *other = add(s, "a", arena);

    CHECK_INT(strlen(secret), 43);
    CHECK(strcmp(secret, other) != 0);
    CHECK(sessions_use(s, secret, arena, &ret));
    CHECK_STR(ret.name, "a");
    CHECK_INT(strlen(ret.id), SESSION_ID_DIGITS);
    CHECK(strstr(secret, ret.id) == NULL);
    char *wrong = arena_strdup(arena, secret);
    wrong[42] = wrong[42] == 'A' ? 'B' : 'A';
    CHECK(!lives(s, wrong, arena));
    CHECK(!lives(s, "", arena) && !lives(s, ret.id, arena) && !lives(s, arena_printf(arena, "%sA", secret), arena));
    CHECK_INT(sessions_count(s), 2);
    arena_free(arena);
    sessions_free(s);
}

TEST(a_session_ends_when_it_is_not_used_and_each_use_prolongs_it)
{
    struct sessions *s = sessions_new(&now);
    struct arena *arena = arena_new();
    const char *used = add(s, "a", arena), *idle = add(s, "a", arena);

    pass_seconds(SESSION_IDLE_SECONDS - 1);
    CHECK(lives(s, used, arena));
    pass_seconds(1);
    CHECK_INT(sessions_count(s), 1);
    CHECK(!lives(s, idle, arena));
    pass_seconds(SESSION_IDLE_SECONDS - 2);
    CHECK(lives(s, used, arena));
    pass_seconds(SESSION_IDLE_SECONDS);
    CHECK(!lives(s, used, arena)); /* nobody looked at the others meanwhile */
    CHECK_INT(sessions_count(s), 0);
    arena_free(arena);
    sessions_free(s);
}

TEST(a_session_ends_in_the_end_however_much_it_is_used)
{
    struct sessions *s = sessions_new(&now);
    struct arena *arena = arena_new();
    struct session ret;
    const char *secret = add(s, "a", arena);

    for (int seconds = 0; seconds + 600 < SESSION_SECONDS; seconds += 600) {
        pass_seconds(600);
        CHECK(sessions_use(s, secret, arena, &ret));
        CHECK(ret.ends_at <= ret.expires_at + SESSION_SECONDS); /* the wall clock stands still here */
    }
    pass_seconds(600);
    CHECK(!lives(s, secret, arena));
    arena_free(arena);
    sessions_free(s);
}

TEST(a_session_lives_no_longer_than_the_certificate_that_began_it)
{
    struct sessions *s = sessions_new(&now);
    struct arena *arena = arena_new();
    struct principal who = who_is("a", ROLE_VIEWER);
    struct session ret;

    who.expires_at = clock_wall() + 100;
    const char *secret = sessions_add(s, &who, "", arena, &ret);
    CHECK(ret.expires_at <= who.expires_at && ret.expires_at > who.expires_at - 5);
    CHECK(ret.ends_at <= who.expires_at + 1);
    pass_seconds(90);
    CHECK(lives(s, secret, arena));
    pass_seconds(11);
    CHECK(!lives(s, secret, arena));
    who.expires_at = clock_wall() - 1;
    secret = sessions_add(s, &who, "", arena, &ret);
    CHECK(!lives(s, secret, arena));
    arena_free(arena);
    sessions_free(s);
}

TEST(a_session_ends_by_the_wall_clock_too_as_the_other_one_may_have_stood_still)
{
    struct sessions *s = sessions_new(&now);
    struct arena *arena = arena_new();
    struct principal who = who_is("a", ROLE_VIEWER);
    struct session ret;

    who.expires_at = clock_wall() + 0.005;
    const char *secret = sessions_add(s, &who, "", arena, &ret);
    const char *id = arena_strdup(arena, ret.id);
    while (clock_wall() < who.expires_at) /* for 5 ms; the sessions' clock stands still */
        ;
    CHECK_INT(sessions_count(s), 0);
    CHECK(!lives(s, secret, arena) && !sessions_use_id(s, id));
    arena_free(arena);
    sessions_free(s);
}

TEST(past_the_number_of_one_credential_its_own_least_used_session_ends)
{
    struct sessions *s = sessions_new(&now);
    struct arena *arena = arena_new();
    const char *other = add(s, "other", arena), *secrets[SESSIONS_OF_ONE_MAX + 1];

    for (int i = 0; i < SESSIONS_OF_ONE_MAX; i++) {
        pass_seconds(1);
        secrets[i] = add(s, "a", arena);
    }
    CHECK(lives(s, secrets[0], arena));
    secrets[SESSIONS_OF_ONE_MAX] = add(s, "a", arena);
    CHECK(!lives(s, secrets[1], arena)); /* the first was used since */
    CHECK(lives(s, secrets[0], arena) && lives(s, secrets[2], arena) &&
          lives(s, secrets[SESSIONS_OF_ONE_MAX], arena));
    CHECK(lives(s, other, arena));
    arena_free(arena);
    sessions_free(s);
}

TEST(past_the_number_of_all_the_least_used_session_ends)
{
    struct sessions *s = sessions_new(&now);
    struct arena *arena = arena_new();
    const char *first = add(s, "first", arena), *second = add(s, "second", arena);
    char name[16];

    for (int i = 2; i < SESSIONS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        (void)add(s, name, arena);
    }
    CHECK_INT(sessions_count(s), SESSIONS_MAX);
    CHECK(lives(s, first, arena));
    (void)add(s, "more", arena);
    CHECK_INT(sessions_count(s), SESSIONS_MAX);
    CHECK(lives(s, first, arena) && !lives(s, second, arena));
    arena_free(arena);
    sessions_free(s);
}

TEST(sessions_are_listed_by_credential_and_ended_by_id)
{
    struct sessions *s = sessions_new(&now);
    struct arena *arena = arena_new();
    const struct principal a = who_is("a", ROLE_VIEWER);
    size_t n = 0;

    (void)add(s, "a", arena);
    (void)add(s, "b", arena);
    const char *secret = add(s, "a", arena);
    CHECK_INT((sessions_list(s, NULL, arena, &n), n), 3);
    const struct session *own = sessions_list(s, &a.credential, arena, &n);
    CHECK_INT(n, 2);
    CHECK(strcmp(own[0].id, own[1].id) < 0);
    CHECK_STR(own[0].peer, "127.0.0.1:1");
    CHECK(sessions_end(s, own[0].id) && sessions_end(s, own[1].id) && !sessions_end(s, own[0].id));
    CHECK(!lives(s, secret, arena));
    CHECK_INT(sessions_count(s), 1);
    arena_free(arena);
    sessions_free(s);
}

/* ---- cookies and origins ---- */

static const struct http_peer plain = {.text = "127.0.0.1:1"}, secure = {.text = "10.0.0.1:1", .is_tls = true};

static struct http_request asking(const struct http_peer *peer, struct field *fields)
{
    return (struct http_request){.id = "0123456789abcdef",
                                 .method = "GET",
                                 .target = "/",
                                 .peer = peer,
                                 .header = field_value,
                                 .header_arg = fields};
}

TEST(cookies_are_told_apart_by_their_names_and_ports)
{
    struct arena *arena = arena_new();
    struct field fields[] = {{"Host", "localhost:8001"},
                             {"Cookie", "xigwd-8001=0; igwd-80=1; igwd-8001=2; __Host-igwd=3; igwd-8001=4"},
                             {NULL, NULL}};
    struct http_request r = asking(&plain, fields);

    CHECK_STR(browser_cookie(&r, arena), "2");
    CHECK_STR(browser_set_cookie(&r, "v", arena), "igwd-8001=v; Path=/; HttpOnly; SameSite=Strict");
    fields[0].value = "[::1]";
    CHECK_STR(browser_cookie(&r, arena), "1");
    fields[0].value = "[::1]:8001";
    CHECK_STR(browser_cookie(&r, arena), "2");
    r.peer = &secure;
    CHECK_STR(browser_cookie(&r, arena), "3");
    CHECK_STR(browser_set_cookie(&r, "v", arena), "__Host-igwd=v; Path=/; Secure; HttpOnly; SameSite=Strict");
    CHECK_STR(browser_set_cookie(&r, NULL, arena),
              "__Host-igwd=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    const char *const none[] = {"", "__Host-igwd", "__Host-igwd=", ";;; ,", "a=__Host-igwd=1"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        fields[1].value = none[i];
        CHECK(browser_cookie(&r, arena) == NULL);
    }
    fields[1].name = "X";
    CHECK(browser_cookie(&r, arena) == NULL);
    arena_free(arena);
}

TEST(an_origin_is_the_same_by_the_browsers_word_or_by_name_and_port)
{
    static const struct {
        const char *site, *origin, *host;
        enum browser_origin expected;
    } cases[] = {
        {"same-origin", NULL, "a", BROWSER_SAME_ORIGIN},
        {"none", NULL, "a", BROWSER_SAME_ORIGIN},
        {"same-site", "http://a", "a", BROWSER_OTHER_ORIGIN}, /* the browser's word goes first */
        {"cross-site", "http://a", "a", BROWSER_OTHER_ORIGIN},
        {"", "http://a", "a", BROWSER_OTHER_ORIGIN},
        {"same-origin, cross-site", NULL, "a", BROWSER_OTHER_ORIGIN},
        {NULL, NULL, "a", BROWSER_SILENT},
        {NULL, "http://a", "a", BROWSER_SAME_ORIGIN},
        {NULL, "http://A:80", "a", BROWSER_SAME_ORIGIN},
        {NULL, "https://a", "a:443", BROWSER_SAME_ORIGIN},
        {NULL, "https://a", "a", BROWSER_SAME_ORIGIN},
        {NULL, "http://127.0.0.1:8001", "127.0.0.1:8001", BROWSER_SAME_ORIGIN},
        {NULL, "http://[::1]:8001", "[::1]:8001", BROWSER_SAME_ORIGIN},
        {NULL, "http://127.0.0.1:8002", "127.0.0.1:8001", BROWSER_OTHER_ORIGIN},
        {NULL, "http://a", "a:8001", BROWSER_OTHER_ORIGIN},
        {NULL, "https://a.evil", "a", BROWSER_OTHER_ORIGIN},
        {NULL, "null", "null", BROWSER_OTHER_ORIGIN},
        {NULL, "file://a", "a", BROWSER_OTHER_ORIGIN},
        {NULL, "http://a", NULL, BROWSER_OTHER_ORIGIN},
        {NULL, "", "", BROWSER_OTHER_ORIGIN},
    };
    struct arena *arena = arena_new();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct field fields[4], *f = fields;
        if (cases[i].site)
            *f++ = (struct field){"Sec-Fetch-Site", cases[i].site};
        if (cases[i].origin)
            *f++ = (struct field){"Origin", cases[i].origin};
        if (cases[i].host)
            *f++ = (struct field){"Host", cases[i].host};
        *f = (struct field){NULL, NULL};
        struct http_request r = asking(&plain, fields);
        if (browser_origin(&r, arena) != cases[i].expected)
            test_fail(__FILE__, __LINE__, "case %zu", i);
    }
    arena_free(arena);
}

/* ---- in the dispatcher ---- */

#define BOSS "igwd_VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV"

static struct tokens *tokens_of(const char *role)
{
    char digest[TOKEN_DIGEST_DIGITS + 1];
    uint8_t bytes[CREDENTIAL_DIGEST];
    struct tokens *tokens = NULL;

    digest_of(BOSS, bytes);
    digest_digits(bytes, TOKEN_DIGEST_DIGITS, digest);
    _cleanup_(mem_free_p) char *text = mem_printf("boss %s %s\nrobot viewer certificate\n", role, digest);
    CHECK_INT(tokens_parse("f", text, &tokens, NULL), 0);
    return tokens;
}

static struct view *the_view(void *arg)
{
    (void)arg; /* there is one kind */
    return view_new(NULL);
}

struct world {
    struct dispatcher d;
    struct tokens *tokens;
    struct arena *arena;
    char body[1024];
    const char *cookie; /* what the last answer set, "NAME=VALUE" */
};

static void open_world(struct world *w)
{
    *w = (struct world){.d = {.routes = routes_new(api_routes, api_n_routes),
                              .backend = {.view = the_view},
                              .version = "1",
                              .sessions = sessions_new(&now),
                              .group = (gid_t)-1},
                        .tokens = tokens_of("admin"),
                        .arena = arena_new()};
}

static void close_world(struct world *w)
{
    sessions_free(w->d.sessions);
    routes_free(w->d.routes);
    tokens_unref(w->tokens);
    arena_free(w->arena);
}

static unsigned ask(struct world *w, const struct http_peer *peer, const char *method, const char *target,
                    struct field *fields)
{
    struct http_request r = asking(peer, fields);
    struct http_answer a = {.arena = w->arena};

    r.method = method;
    r.target = target;
    buf_init(&a.body, 0);
    dispatch(&w->d, w->tokens, &r, &a);
    (void)snprintf(w->body, sizeof(w->body), "%s", buf_cstr(&a.body));
    w->cookie = NULL;
    for (size_t i = 0; i < a.n_headers; i++)
        if (strcmp(a.headers[i].name, "Set-Cookie") == 0)
            w->cookie = arena_strndup(w->arena, a.headers[i].value, strcspn(a.headers[i].value, ";"));
    buf_clear(&a.body);
    return a.status;
}

static const char *log_in(struct world *w)
{
    struct field fields[] = {{"Authorization", "Bearer " BOSS}, {NULL, NULL}};

    CHECK_INT(ask(w, &plain, "POST", "/api/v1/sessions", fields), 201);
    CHECK(w->cookie != NULL);
    return w->cookie;
}

#define WHOAMI "/api/v1/auth/whoami"

TEST(a_session_has_the_role_of_what_began_it_and_ends_when_that_changes)
{
    struct world w;

    open_world(&w);
    struct field fields[] = {{"Cookie", log_in(&w)}, {NULL, NULL}};
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 200);
    CHECK(strstr(w.body, "\"name\":\"boss\",\"method\":\"session\",\"role\":\"admin\"") != NULL);
    struct tokens *admin = w.tokens;
    w.tokens = tokens_of("viewer");
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 401);
    tokens_unref(w.tokens);
    w.tokens = admin;
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 401); /* it does not come back */
    fields[0].value = log_in(&w);
    w.tokens = tokens_of("operator=a,b");
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 401);
    fields[0].value = log_in(&w);
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 200);
    tokens_unref(w.tokens);
    w.tokens = tokens_of("operator=a,c");
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 401);
    fields[0].value = log_in(&w);
    tokens_unref(w.tokens);
    w.tokens = NULL;
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 401);
    CHECK_INT(sessions_count(w.d.sessions), 0);
    tokens_unref(admin);
    close_world(&w);
}

TEST(a_cookie_changes_things_from_the_same_origin_alone)
{
    struct world w;

    open_world(&w);
    struct field fields[] = {{"Cookie", log_in(&w)}, {"Sec-Fetch-Site", "cross-site"}, {NULL, NULL}};
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 200);
    CHECK_INT(ask(&w, &plain, "DELETE", "/api/v1/sessions", fields), 403);
    CHECK(strstr(w.body, "another origin") != NULL);
    CHECK_INT(ask(&w, &plain, "PUT", "/api/v1/nothing", fields), 403);
    fields[1].value = "same-site"; /* another port of the same host */
    CHECK_INT(ask(&w, &plain, "DELETE", "/api/v1/sessions", fields), 403);
    fields[1] = (struct field){NULL, NULL};
    CHECK_INT(ask(&w, &plain, "DELETE", "/api/v1/sessions", fields), 403);
    CHECK(strstr(w.body, "says where the request comes from") != NULL);
    fields[1] = (struct field){"Sec-Fetch-Site", "same-origin"};
    CHECK_INT(ask(&w, &plain, "DELETE", "/api/v1/sessions", fields), 204);
    CHECK_STR(w.cookie, "igwd-80=");
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 401);
    close_world(&w);
}

TEST(a_certificate_that_a_browser_sends_along_is_no_word_of_the_user)
{
    struct http_peer robot = {.text = "10.0.0.1:1", .is_tls = true, .certificate = "robot"};
    struct field foreign[] = {{"Sec-Fetch-Site", "cross-site"}, {NULL, NULL}};
    struct world w;

    open_world(&w);
    CHECK_INT(ask(&w, &robot, "POST", "/api/v1/sessions", foreign), 403);
    CHECK_INT(ask(&w, &robot, "GET", WHOAMI, foreign), 200);
    CHECK_INT(ask(&w, &robot, "POST", "/api/v1/sessions", NULL), 201);
    CHECK(strncmp(w.cookie, "__Host-igwd=", 12) == 0);
    struct field cookie[] = {{"Cookie", w.cookie}, {NULL, NULL}};
    CHECK_INT(ask(&w, &secure, "GET", WHOAMI, cookie), 200); /* without the certificate */
    CHECK(strstr(w.body, "\"name\":\"robot\",\"method\":\"session\",\"role\":\"viewer\"") != NULL);
    close_world(&w);
}

TEST(the_authorization_field_wins_over_a_cookie_and_a_good_cookie_over_a_certificate)
{
    struct http_peer robot = {.text = "127.0.0.1:1", .certificate = "robot"};
    struct world w;

    open_world(&w);
    struct field fields[] = {{"Cookie", log_in(&w)}, {"Authorization", "Bearer igwd_x"}, {NULL, NULL}};
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 401);
    fields[1].value = "Bearer " BOSS;
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, fields), 200);
    CHECK(strstr(w.body, "\"method\":\"token\"") != NULL && strstr(w.body, "\"session\":null") != NULL);
    fields[1] = (struct field){NULL, NULL};
    CHECK_INT(ask(&w, &robot, "GET", WHOAMI, fields), 200);
    CHECK(strstr(w.body, "\"name\":\"boss\",\"method\":\"session\"") != NULL);
    fields[0].value = "igwd-80=over";
    CHECK_INT(ask(&w, &robot, "GET", WHOAMI, fields), 200);
    CHECK(strstr(w.body, "\"name\":\"robot\",\"method\":\"certificate\"") != NULL);
    close_world(&w);
}

TEST(a_session_is_begun_with_a_credential_alone_and_replaces_the_browsers_former_one)
{
    static const struct http_peer root = {.is_unix = true, .text = "unix uid=0"};
    struct world w;

    open_world(&w);
    const char *first = log_in(&w);
    struct field again[] = {
        {"Cookie", first}, {"Sec-Fetch-Site", "same-origin"}, {"Authorization", "Bearer " BOSS}, {NULL, NULL}};
    struct field cookie[] = {{"Cookie", first}, {"Sec-Fetch-Site", "same-origin"}, {NULL, NULL}};
    CHECK_INT(ask(&w, &plain, "POST", "/api/v1/sessions", NULL), 401);
    CHECK_INT(ask(&w, &plain, "POST", "/api/v1/sessions", cookie), 403); /* else it would never end */
    CHECK_INT(ask(&w, &root, "POST", "/api/v1/sessions", NULL), 403);
    CHECK_INT(sessions_count(w.d.sessions), 1);
    CHECK_INT(ask(&w, &plain, "POST", "/api/v1/sessions", again), 201);
    CHECK(strcmp(w.cookie, first) != 0);
    CHECK_INT(sessions_count(w.d.sessions), 1);
    CHECK_INT(ask(&w, &plain, "GET", WHOAMI, cookie), 401);
    again[1].value = "cross-site";
    CHECK_INT(ask(&w, &plain, "POST", "/api/v1/sessions", again), 403);
    CHECK_INT(ask(&w, &root, "DELETE", "/api/v1/sessions", NULL), 404);
    close_world(&w);
}
