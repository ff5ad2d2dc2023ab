/*
 * The HTTP shell over real sockets, with routes that only these tests have: answers that come later, streams,
 * deadlines. Time passes for real here, but nothing waits for a number of milliseconds: what must not have happened
 * yet is tried after something else that takes as long has.
 */
#include "api/cache.h"
#include "api/dispatch.h"
#include "api/objects.h"
#include "base/clock.h"
#include "tests/unit/http_client.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SHORT_MS = 60, LARGE = 8 << 20 };

/* ---- work that others do ---- */

struct job {
    struct later *later;
    int number;
    struct job *next;
};

/* What the handlers hand to the test's thread. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct job *jobs; /* the newest first */
static int jobs_freed, views, streams_gone, documents;
static struct view *shown;       /* NULL: a new one each time */
static struct wake *stream_wake; /* of the newest stream */
static char stream_text[64];     /* that it says next */
static size_t stream_said;

static void change(int *number, int by)
{
    pthread_mutex_lock(&lock);
    *number += by;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void await_number(const int *number, int value)
{
    pthread_mutex_lock(&lock);
    while (*number != value)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void free_job(void *data)
{
    mem_free(data);
    change(&jobs_freed, 1);
}

static struct job *take_job(void)
{
    pthread_mutex_lock(&lock);
    while (!jobs)
        pthread_cond_wait(&changed, &lock);
    struct job *job = jobs;
    jobs = job->next;
    pthread_mutex_unlock(&lock);
    return job;
}

static void finish_job(struct job *job, int number)
{
    job->number = number;
    later_done(job->later);
}

/* ---- handlers ---- */

static void handle_now(struct call *c)
{
    (void)buf_append_str(&c->answer->body, "now");
    call_done(c);
}

static void answer_job(struct call *c, void *data)
{
    const struct job *job = data;

    CHECK(c->view != NULL);
    (void)buf_printf(&c->answer->body, "%d %s %s %s", job->number, c->arguments[0], c->who.name,
                     c->request->body_len ? c->request->body : "-");
    call_done(c);
}

static struct later *new_job(void)
{
    struct job *job = mem_new(struct job);
    struct later *l = job->later = later_new(job, free_job);

    pthread_mutex_lock(&lock);
    job->next = jobs;
    jobs = job;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return l;
}

static void handle_later(struct call *c)
{
    call_later(c, new_job(), answer_job, call_waits(c));
}

static void handle_done_at_once(struct call *c)
{
    struct job *job = mem_new(struct job);
    struct later *l = job->later = later_new(job, free_job);

    finish_job(job, 7);
    call_later(c, l, answer_job, 0);
}

static void answer_again(struct call *c, void *data)
{
    (void)data; /* the second job's counts */
    call_later(c, new_job(), answer_job, 0);
}

static void handle_twice(struct call *c)
{
    call_later(c, new_job(), answer_again, 0);
}

static int proxies_there;

static void list_proxies(void *arg, const char *id, struct arena *a, const struct api_proxy **ret, size_t *ret_n)
{
    static const struct api_proxy items[2];

    (void)arg, (void)id, (void)a; /* all of them, which stand above */
    pthread_mutex_lock(&lock);
    *ret_n = (size_t)proxies_there;
    pthread_mutex_unlock(&lock);
    *ret = items;
}

static void answer_proxies(struct call *c, void *data)
{
    (void)data; /* that it is done is all */
    (void)buf_printf(&c->answer->body, "%d", (int)proxies_count(c, NULL, API_CONNECTED));
    call_done(c);
}

static void handle_proxies(struct call *c)
{
    CHECK_INT(proxies_count(c, NULL, API_CONNECTED), 1);
    call_later(c, new_job(), answer_proxies, 0);
}

static void handle_kept(struct call *c)
{
    change(&documents, 1);
    (void)buf_printf(&c->answer->body, "revision %u", (unsigned)c->view->revision);
    call_done(c);
}

static void handle_large(struct call *c)
{
    (void)memset(buf_reserve(&c->answer->body, LARGE), 'x', LARGE);
    c->answer->body.len = LARGE;
    call_done(c);
}

/* ---- those who wait for the proxies ---- */

static struct api_wait *waits[API_WAITERS_MAX]; /* that the backend knows of; NULL: a free place */
static int n_waits, n_cancelled;
static bool cancel_fails;

static int begin_wait(void *arg, uint64_t revision, unsigned seconds, struct api_wait *w)
{
    (void)arg, (void)revision, (void)seconds; /* the test says when it is over */
    pthread_mutex_lock(&lock);
    for (w->id = 0; waits[w->id]; w->id++)
        ;
    waits[w->id] = w;
    pthread_mutex_unlock(&lock);
    change(&n_waits, 1);
    return 0;
}

static bool take_wait(uint64_t id)
{
    pthread_mutex_lock(&lock);
    bool found = waits[id];
    waits[id] = NULL;
    pthread_mutex_unlock(&lock);
    if (found)
        change(&n_waits, -1);
    return found;
}

static int cancel_wait(void *arg, struct api_wait *w)
{
    (void)arg; /* there is one backend */
    if (cancel_fails) {
        change(&n_cancelled, 1);
        return -EAGAIN;
    }
    if (take_wait(w->id))
        change(&n_cancelled, 1);
    return 0;
}

static void answer_waited(struct call *c, void *data)
{
    (void)data; /* there is none */
    (void)buf_append_str(&c->answer->body, "waited");
    call_done(c);
}

static void handle_wait(struct call *c)
{
    if (rollout_wait(c, 1, answer_waited, NULL))
        return;
    (void)buf_append_str(&c->answer->body, "at once");
    call_done(c);
}

static ssize_t say(void *arg, char *p, size_t n)
{
    (void)arg; /* there is one text */
    pthread_mutex_lock(&lock);
    size_t length = strlen(stream_text);
    ssize_t r = strcmp(stream_text, "end") == 0 ? HTTP_STREAM_END : (ssize_t)(length < n ? length : n);
    if (r > 0)
        memcpy(p, stream_text, (size_t)r);
    stream_text[0] = '\0';
    pthread_mutex_unlock(&lock);
    return r;
}

static ssize_t say_without_end(void *arg, char *p, size_t n)
{
    (void)arg; /* it says the same to all */
    (void)memset(p, 'x', n);
    pthread_mutex_lock(&lock);
    stream_said += n;
    pthread_mutex_unlock(&lock);
    return (ssize_t)n;
}

static void stream_ends(void *arg)
{
    wake_unref(arg);
    change(&streams_gone, 1);
}

static void begin_stream(struct call *c, ssize_t (*more)(void *arg, char *p, size_t n))
{
    struct wake *w = wake_new();

    pthread_mutex_lock(&lock);
    wake_unref(stream_wake);
    stream_wake = wake_ref(w);
    pthread_mutex_unlock(&lock);
    call_stream(c, &(struct http_stream){.wake = wake_ref(w), .more = more, .gone = stream_ends, .arg = w});
}

static void handle_stream(struct call *c)
{
    begin_stream(c, say);
}

static void handle_flood(struct call *c)
{
    begin_stream(c, say_without_end);
}

static void tell(const char *text)
{
    pthread_mutex_lock(&lock);
    (void)snprintf(stream_text, sizeof(stream_text), "%s", text);
    struct wake *w = wake_ref(stream_wake);
    pthread_mutex_unlock(&lock);
    wake_up(w);
    wake_unref(w);
}

/* ---- the scene ---- */

#define ROUTE(a_method, a_path, a_role, a_handle)                                                                    \
    {                                                                                                                \
        .method = a_method, .path = a_path, .access = a_role, .produces = "text/plain", .takes = takes,              \
        .handle = a_handle                                                                                           \
    }

static const char *const takes[] = {"text/plain", NULL};
static const struct api_route table[] = {
    ROUTE("GET", "/now", ROLE_NONE, handle_now),
    ROUTE("GET", "/wait", ROLE_NONE, handle_wait),
    {.method = "GET", .path = "/probe", .produces = "text/plain", .probe = true, .handle = handle_now},
    ROUTE("GET", "/later/{name}", ROLE_VIEWER, handle_later),
    ROUTE("POST", "/later/{name}", ROLE_VIEWER, handle_later),
    ROUTE("GET", "/at_once/{name}", ROLE_VIEWER, handle_done_at_once),
    ROUTE("GET", "/twice/{name}", ROLE_VIEWER, handle_twice),
    ROUTE("GET", "/proxies", ROLE_NONE, handle_proxies),
    ROUTE("GET", "/large", ROLE_NONE, handle_large),
    {.method = "GET", .path = "/kept", .produces = "text/plain", .kept = true, .handle = handle_kept},
    ROUTE("GET", "/stream", ROLE_NONE, handle_stream),
    ROUTE("GET", "/flood", ROLE_NONE, handle_flood),
};

struct scene {
    char directory[32], path[64], address[80];
    struct dispatcher dispatcher;
    struct http *http;
};

static struct view *the_view(void *arg)
{
    (void)arg; /* there is one kind */
    change(&views, 1);
    pthread_mutex_lock(&lock);
    struct view *v = shown ? view_ref(shown) : view_new(NULL);
    pthread_mutex_unlock(&lock);
    return v;
}

static void on_request(void *arg, const struct http_request *r, struct http_answer *a)
{
    struct scene *s = arg;

    dispatch(&s->dispatcher, NULL, r, a);
}

static struct http_manner manner(void *arg, const char *method, const char *target)
{
    struct scene *s = arg;

    return dispatch_manner(&s->dispatcher, method, target);
}

static void open_scene(struct scene *s, unsigned request_ms, unsigned idle_ms, unsigned stream_ms)
{
    const char *addresses[] = {s->address};
    const struct http_options options = {.addresses = addresses,
                                         .n_addresses = 1,
                                         .socket_group = (gid_t)-1,
                                         .handle = on_request,
                                         .manner = manner,
                                         .arg = s,
                                         .request_ms = request_ms,
                                         .idle_ms = idle_ms,
                                         .stream_ms = stream_ms};

    (void)snprintf(s->directory, sizeof(s->directory), "/tmp/http_test.XXXXXX");
    CHECK(mkdtemp(s->directory) != NULL);
    (void)snprintf(s->path, sizeof(s->path), "%s/s", s->directory);
    (void)snprintf(s->address, sizeof(s->address), "unix:%s", s->path);
    s->dispatcher = (struct dispatcher){.routes = routes_new(table, ARRAY_LEN(table)),
                                        .backend = {.view = the_view,
                                                    .proxies = list_proxies,
                                                    .rollout_wait = begin_wait,
                                                    .rollout_cancel = cancel_wait},
                                        .group = (gid_t)-1};
    s->dispatcher.cache = cache_new();
    jobs_freed = views = streams_gone = documents = proxies_there = 0;
    stream_said = 0;
    stream_text[0] = '\0';
    n_waits = n_cancelled = 0;
    cancel_fails = false;
    CHECK_INT(http_new(&options, &s->http, NULL), 0);
    s->dispatcher.http = s->http;
    CHECK_INT(http_start(s->http, NULL), 0);
}

static void close_scene(struct scene *s)
{
    http_stop(s->http);
    cache_free(s->dispatcher.cache);
    routes_free(s->dispatcher.routes);
    CHECK(jobs == NULL);
    CHECK_INT(rmdir(s->directory), 0);
}

static uint32_t in_flight(const struct scene *s)
{
    struct http_counters counters = {0};

    http_count(s->http, &counters);
    return counters.in_flight;
}

/* ---- answers that come later ---- */

TEST(others_are_served_while_answers_come_later)
{
    struct scene s;
    struct http_client waiting[8], other;
    struct job *held[8];
    char target[64];

    open_scene(&s, 0, 0, 0);
    for (int i = 0; i < 8; i++) { /* far more than there are threads */
        http_client_open(&waiting[i], s.path);
        (void)snprintf(target, sizeof(target), "GET /later/%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
        http_client_send(&waiting[i], target);
        held[i] = take_job();
    }
    http_client_open(&other, s.path);
    CHECK_INT(http_client_get(&other, "/now", NULL), 200);
    CHECK(in_flight(&s) >= 8); /* the one before may not have ended yet */
    await_number(&views, 9);
    for (int i = 7; i >= 0; i--) {
        _cleanup_(mem_free_p) char *body = NULL, *expected = NULL;
        finish_job(held[i], i * 11);
        CHECK_INT(http_client_answer(&waiting[i], &body), 200);
        expected = mem_printf("%d %d %s -", i * 11, i, geteuid() ? "uid" : "root");
        CHECK(strncmp(body, expected, strlen(expected) - 2) == 0);
        http_client_close(&waiting[i]);
    }
    await_number(&views, 17); /* each second half has a view of its own */
    await_number(&jobs_freed, 8);
    http_client_close(&other);
    close_scene(&s);
}

TEST(the_content_is_there_for_the_second_half_and_the_connection_goes_on)
{
    struct scene s;
    struct http_client c;
    _cleanup_(mem_free_p) char *first = NULL, *second = NULL, *third = NULL;

    open_scene(&s, 0, 0, 0);
    http_client_open(&c, s.path);
    http_client_send(&c,
                     "POST /later/a HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
                     "GET /at_once/b HTTP/1.1\r\nHost: a\r\n\r\n"
                     "GET /twice/c HTTP/1.1\r\nHost: a\r\n\r\n");
    finish_job(take_job(), 1);
    CHECK_INT(http_client_answer(&c, &first), 200);
    CHECK(strstr(first, "1 a ") == first && strstr(first, " hello") != NULL);
    CHECK_INT(http_client_answer(&c, &second), 200);
    CHECK(strstr(second, "7 b ") == second);
    finish_job(take_job(), 2);
    finish_job(take_job(), 3);
    CHECK_INT(http_client_answer(&c, &third), 200);
    CHECK(strstr(third, "3 c ") == third);
    await_number(&jobs_freed, 4);
    http_client_close(&c);
    close_scene(&s);
}

TEST(the_second_half_asks_anew_which_proxies_there_are)
{
    struct scene s;
    struct http_client c;
    struct job *job;
    _cleanup_(mem_free_p) char *body = NULL;

    open_scene(&s, 0, 0, 0);
    change(&proxies_there, 1);
    http_client_open(&c, s.path);
    http_client_send(&c, "GET /proxies HTTP/1.1\r\nHost: a\r\n\r\n");
    job = take_job(); /* the first half has asked */
    change(&proxies_there, 1);
    finish_job(job, 0);
    CHECK_INT(http_client_answer(&c, &body), 200);
    CHECK_STR(body, "2");
    await_number(&jobs_freed, 1);
    http_client_close(&c);
    close_scene(&s);
}

TEST(a_client_that_went_away_meanwhile_costs_nothing_in_the_end)
{
    struct scene s;
    struct http_client c;

    open_scene(&s, 0, 0, 0);
    http_client_open(&c, s.path);
    http_client_send(&c, "GET /later/a HTTP/1.1\r\nHost: a\r\n\r\n");
    struct job *job = take_job();
    http_client_close(&c);
    finish_job(job, 1);
    await_number(&jobs_freed, 1);
    close_scene(&s);
}

TEST(what_does_not_come_in_time_is_cut_and_who_asked_for_more_time_has_it)
{
    struct scene s;
    struct http_client short_one, long_one;
    _cleanup_(mem_free_p) char *body = NULL;

    open_scene(&s, SHORT_MS, 0, 0);
    http_client_open(&long_one, s.path);
    http_client_send(&long_one, "GET /later/a HTTP/1.1\r\nHost: a\r\nPrefer: x, wait=1000\r\n\r\n");
    struct job *of_long = take_job();
    http_client_open(&short_one, s.path);
    http_client_send(&short_one, "GET /later/a HTTP/1.1\r\nHost: a\r\n\r\n");
    struct job *of_short = take_job();
    CHECK_INT(http_client_drain(&short_one), 0);
    finish_job(of_short, 1);
    await_number(&jobs_freed, 1);
    finish_job(of_long, 2);
    CHECK_INT(http_client_answer(&long_one, &body), 200);
    http_client_close(&long_one);
    http_client_close(&short_one);
    close_scene(&s);
}

TEST(a_stop_does_not_wait_for_what_comes_later)
{
    struct scene s;
    struct http_client c[4];
    struct job *held[4];

    open_scene(&s, 0, 0, 0);
    for (int i = 0; i < 4; i++) {
        http_client_open(&c[i], s.path);
        http_client_send(&c[i], "GET /later/a HTTP/1.1\r\nHost: a\r\n\r\n");
        held[i] = take_job();
    }
    close_scene(&s);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(http_client_drain(&c[i]), 0);
        finish_job(held[i], 1);
        http_client_close(&c[i]);
    }
    CHECK_INT(jobs_freed, 4);
}

TEST(no_more_requests_wait_than_there_may_be)
{
    struct scene s;
    static struct http_client c[API_REQUESTS_MAX], other;
    static struct job *held[API_REQUESTS_MAX];

    open_scene(&s, 0, 0, 0);
    for (int i = 0; i < API_REQUESTS_MAX; i++) {
        http_client_open(&c[i], s.path);
        http_client_send(&c[i], "GET /later/a HTTP/1.1\r\nHost: a\r\n\r\n");
        held[i] = take_job();
    }
    http_client_open(&other, s.path);
    CHECK_INT(http_client_get(&other, "/now", NULL), 503);
    http_client_close(&other);
    http_client_open(&other, s.path);
    CHECK_INT(http_client_get(&other, "/probe", NULL), 200);
    http_client_close(&other);
    for (int i = 0; i < API_REQUESTS_MAX; i++) {
        finish_job(held[i], 1);
        CHECK_INT(http_client_answer(&c[i], NULL), 200);
    }
    CHECK_INT(http_client_get(&c[0], "/now", NULL), 200);
    for (int i = 0; i < API_REQUESTS_MAX; i++)
        http_client_close(&c[i]);
    close_scene(&s);
}

/* ---- waiting for the proxies ---- */

#define WAIT "GET /wait HTTP/1.1\r\nHost: a\r\nPrefer: wait=60\r\n\r\n"

static uint32_t waiting(const struct scene *s)
{
    struct http_counters counters = {0};

    http_count(s->http, &counters);
    return counters.waiting;
}

/* A client that waits, alone. */
static void open_waiting(struct http_client *c, const struct scene *s)
{
    http_client_open(c, s->path);
    http_client_send(c, WAIT);
    await_number(&n_waits, 1);
}

static void end_wait(uint64_t id)
{
    struct api_wait *w = waits[id];

    CHECK(take_wait(id));
    w->done(w);
}

TEST(so_many_wait_the_next_is_answered_at_once_and_others_have_room)
{
    struct scene s;
    static struct http_client c[API_WAITERS_MAX], other;
    _cleanup_(mem_free_p) char *at_once = NULL, *waited = NULL;

    open_scene(&s, 0, 0, 0);
    for (int i = 0; i < API_WAITERS_MAX; i++) {
        http_client_open(&c[i], s.path);
        http_client_send(&c[i], WAIT);
    }
    await_number(&n_waits, API_WAITERS_MAX);
    CHECK_INT(waiting(&s), API_WAITERS_MAX);
    http_client_open(&other, s.path);
    http_client_send(&other, WAIT);
    CHECK_INT(http_client_answer(&other, &at_once), 200);
    CHECK_STR(at_once, "at once");
    CHECK_INT(http_client_get(&other, "/now", NULL), 200);
    CHECK_INT(waiting(&s), API_WAITERS_MAX);
    end_wait(7);
    for (int i = 0; !waited; i = (i + 1) % API_WAITERS_MAX) { /* whoever it was */
        struct pollfd p = {.fd = c[i].fd, .events = POLLIN};
        if (poll(&p, 1, 1) == 1)
            CHECK_INT(http_client_answer(&c[i], &waited), 200);
    }
    CHECK_STR(waited, "waited");
    CHECK_INT(waiting(&s), API_WAITERS_MAX - 1); /* as soon as it goes on */
    http_client_send(&other, WAIT);
    await_number(&n_waits, API_WAITERS_MAX);
    close_scene(&s);
    CHECK_INT(n_cancelled, API_WAITERS_MAX); /* nobody is waited for any more */
    for (int i = 0; i < API_WAITERS_MAX; i++)
        http_client_close(&c[i]);
    http_client_close(&other);
}

TEST(who_went_away_is_waited_for_no_longer)
{
    struct scene s;
    struct http_client c, other;

    open_scene(&s, 0, 0, 0);
    for (int i = 0; i < 20; i++) {
        http_client_open(&c, s.path);
        http_client_send(&c, WAIT);
        await_number(&n_waits, 1);
        http_client_close(&c);
        await_number(&n_cancelled, i + 1);
        await_number(&n_waits, 0);
    }
    http_client_open(&other, s.path);
    CHECK_INT(http_client_get(&other, "/now", NULL), 200);
    http_client_close(&other);
    close_scene(&s);
}

TEST(who_says_that_nothing_more_comes_is_answered_at_once)
{
    struct scene s;
    struct http_client c;
    _cleanup_(mem_free_p) char *body = NULL;

    open_scene(&s, 0, 0, 0);
    open_waiting(&c, &s);
    CHECK_INT(shutdown(c.fd, SHUT_WR), 0);
    CHECK_INT(http_client_answer(&c, &body), 200);
    CHECK_STR(body, "waited");
    http_client_close(&c);
    close_scene(&s);
}

TEST(where_a_wait_cannot_be_ended_it_is_over_when_its_time_is)
{
    struct scene s;
    struct http_client c;
    _cleanup_(mem_free_p) char *body = NULL;

    open_scene(&s, 0, 0, 0);
    cancel_fails = true;
    open_waiting(&c, &s);
    CHECK_INT(shutdown(c.fd, SHUT_WR), 0);
    await_number(&n_cancelled, 1);
    CHECK_INT(waiting(&s), 1);
    end_wait(0);
    CHECK_INT(http_client_answer(&c, &body), 200);
    http_client_close(&c);
    close_scene(&s);
    CHECK_INT(n_cancelled, 1);
}

/* ---- documents that are kept ---- */

static void show(uint64_t revision)
{
    struct view *next = view_new(NULL);

    next->revision = revision;
    pthread_mutex_lock(&lock);
    struct view *before = shown;
    shown = next;
    pthread_mutex_unlock(&lock);
    view_unref(before);
}

/* All at once, so that several threads make the same 304, or find it. */
static void expect_not_modified(struct http_client *c, size_t n, const char *document)
{
    char etag[ETAG_MAX];

    etag_of(document, strlen(document), etag);
    _cleanup_(mem_free_p) char *field = mem_printf("ETag: %s\r\n", etag);
    for (size_t i = 0; i < n; i++)
        http_client_send(&c[i], "GET /kept HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n");
    for (size_t i = 0; i < n; i++) {
        http_client_await(&c[i], "HTTP/1.1 304");
        http_client_await(&c[i], field);
        http_client_await(&c[i], "\r\n\r\n");
    }
}

TEST(a_kept_document_is_that_of_the_view_and_written_once_for_all_threads)
{
    enum { CLIENTS = 24, ROUNDS = 100 };
    struct scene s;
    struct http_client c[CLIENTS];

    open_scene(&s, 0, 0, 0);
    for (int i = 0; i < CLIENTS; i++)
        http_client_open(&c[i], s.path);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        _cleanup_(mem_free_p) char *expected = mem_printf("revision %u", round);
        show(round);
        for (int i = 0; i < CLIENTS; i++)
            http_client_send(&c[i], "GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
        for (int i = 0; i < CLIENTS; i++) {
            _cleanup_(mem_free_p) char *body = NULL;
            CHECK_INT(http_client_answer(&c[i], &body), 200);
            CHECK_STR(body, expected);
        }
        expect_not_modified(c, CLIENTS, expected);
        CHECK_INT(documents, round);
    }
    for (int i = 0; i < CLIENTS; i++)
        http_client_close(&c[i]);
    close_scene(&s);
    view_unref(take_ptr(shown));
}

/* ---- streams ---- */

TEST(a_stream_says_what_there_is_and_sleeps_until_there_is_more)
{
    struct scene s;
    struct http_client c;
    struct http_counters counters = {0};

    open_scene(&s, 0, 0, 0);
    http_client_open(&c, s.path);
    http_client_send(&c, "GET /stream HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    http_client_await(&c, "Transfer-Encoding: chunked");
    http_client_await(&c, "\r\n\r\n");
    http_count(s.http, &counters);
    CHECK_INT(counters.streams, 1);
    CHECK_INT(counters.in_flight, 0);
    tell("one\n\n");
    http_client_await(&c, "one\n\n");
    tell("two\n\n");
    http_client_await(&c, "two\n\n");
    CHECK_INT(streams_gone, 0);
    tell("end");
    http_client_await(&c, "0\r\n\r\n");
    await_number(&streams_gone, 1);
    CHECK_INT(http_client_get(&c, "/now", NULL), 200);
    http_client_close(&c);
    close_scene(&s);
}

TEST(a_stream_ends_with_its_reader_with_the_shell_and_at_a_head)
{
    struct scene s;
    struct http_client c, other;

    open_scene(&s, 0, 0, 0);
    http_client_open(&c, s.path);
    http_client_send(&c, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_INT(http_client_answer(&c, NULL), 200);
    await_number(&streams_gone, 1);
    (void)http_client_drain(&c); /* it ends: what the library adds can't be taken for an answer */
    http_client_close(&c);
    http_client_open(&c, s.path);
    http_client_send(&c, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    http_client_await(&c, "\r\n\r\n");
    http_client_close(&c);
    tell("a heartbeat");
    await_number(&streams_gone, 2);
    http_client_open(&other, s.path);
    http_client_send(&other, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    http_client_await(&other, "\r\n\r\n");
    close_scene(&s);
    CHECK_INT(streams_gone, 3);
    (void)http_client_drain(&other);
    http_client_close(&other);
}

TEST(a_reader_that_does_not_read_is_cut_off_and_little_is_kept_for_it)
{
    struct scene s;
    struct http_client c;

    open_scene(&s, 0, 0, SHORT_MS);
    http_client_open(&c, s.path);
    http_client_send(&c, "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
    await_number(&streams_gone, 1);
    CHECK(stream_said > 0 && stream_said < 4 << 20);
    (void)http_client_drain(&c);
    http_client_close(&c);
    close_scene(&s);
}

TEST(a_stream_that_has_nothing_to_say_is_not_cut)
{
    struct scene s;
    struct http_client c, other;

    open_scene(&s, SHORT_MS, SHORT_MS, SHORT_MS);
    http_client_open(&c, s.path);
    http_client_send(&c, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    http_client_await(&c, "\r\n\r\n");
    tell("one\n\n");
    http_client_await(&c, "one\n\n");
    for (int i = 0; i < 3; i++) {
        http_client_open(&other, s.path);
        CHECK_INT(http_client_drain(&other), 0); /* cut as idle, after that time */
        http_client_close(&other);
    }
    tell("two\n\n");
    http_client_await(&c, "two\n\n");
    http_client_close(&c);
    close_scene(&s);
}

TEST(streams_past_the_limit_are_refused)
{
    struct scene s;
    static struct http_client c[API_STREAMS_MAX], other;

    open_scene(&s, 0, 0, 0);
    for (int i = 0; i < API_STREAMS_MAX; i++) {
        http_client_open(&c[i], s.path);
        http_client_send(&c[i], "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        http_client_await(&c[i], "\r\n\r\n");
    }
    http_client_open(&other, s.path);
    CHECK_INT(http_client_get(&other, "/stream", NULL), 503);
    CHECK_INT(streams_gone, 1);
    http_client_close(&other);
    for (int i = 0; i < API_STREAMS_MAX; i++)
        http_client_close(&c[i]);
    close_scene(&s);
    CHECK_INT(streams_gone, API_STREAMS_MAX + 1);
}

/* ---- deadlines ---- */

TEST(a_connection_without_a_request_is_closed)
{
    struct scene s;
    struct http_client fresh, used;

    open_scene(&s, 0, SHORT_MS, 0);
    http_client_open(&fresh, s.path);
    http_client_open(&used, s.path);
    CHECK_INT(http_client_get(&used, "/now", NULL), 200);
    CHECK_INT(http_client_drain(&fresh), 0);
    CHECK_INT(http_client_drain(&used), 0);
    http_client_close(&fresh);
    http_client_close(&used);
    close_scene(&s);
}

/* Sends a byte every few milliseconds, which a timeout that counts silence would take for life. */
static void drip(struct http_client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    while (poll(&p, 1, SHORT_MS / 20) == 0)
        if (send(c->fd, "x", 1, MSG_NOSIGNAL) != 1)
            break;
}

TEST(who_sends_a_byte_now_and_then_is_cut_off)
{
    const char *const begins[] = {"GET /now HTTP/1.1\r\nHost: a\r\nX-A: ",
                                  "POST /later/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"};
    struct scene s;
    struct http_client c;

    open_scene(&s, SHORT_MS, 0, 0);
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        http_client_open(&c, s.path);
        http_client_send(&c, begins[i]);
        drip(&c);
        CHECK_INT(http_client_drain(&c), 0);
        http_client_close(&c);
    }
    close_scene(&s);
}

TEST(a_request_line_that_never_ends_is_cut_off)
{
    struct scene s;
    struct http_client c;

    open_scene(&s, SHORT_MS, SHORT_MS, 0);
    http_client_open(&c, s.path);
    http_client_send(&c, "GET /");
    drip(&c);
    (void)http_client_drain(&c);
    http_client_close(&c);
    close_scene(&s);
}

TEST(who_does_not_read_a_whole_answer_is_cut_off)
{
    struct scene s;
    struct http_client c, other;
    struct http_counters counters = {0};

    open_scene(&s, SHORT_MS, 0, 0);
    http_client_open(&c, s.path);
    http_client_send(&c, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    http_client_open(&other, s.path);
    http_client_send(&other, "GET /no"); /* cut off later than the one before */
    http_client_send(&other, "w HTTP/1.1\r\n");
    (void)http_client_drain(&other);
    CHECK(http_client_drain(&c) < LARGE);
    http_client_close(&c);
    http_client_close(&other);
    http_count(s.http, &counters);
    CHECK_INT(counters.requests[2], 0);
    close_scene(&s);
}
