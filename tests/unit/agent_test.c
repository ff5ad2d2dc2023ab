/*
 * The agent's side against a fake agent in the same loop, with a real store and a clock that only the test moves:
 * the first state, following, whatever can go wrong on the socket, secrets, and ports that are written back.
 */
#include "server/agent.h"

#include "base/log.h"
#include "tests/unit/certs.h"
#include "tests/unit/fake_agent.h"
#include "tests/unit/mirror_help.h"
#include "tests/unit/store_world.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the scene ---- */

struct scene {
    struct world world;
    struct clock clock;
    struct loop *loop;
    struct fake_agent fake;
    struct agent *agent;
    struct network_list *networks;
    unsigned commits, shown; /* shown: commits that made a new view */
    char cause[128];         /* of the last one */
    bool in_commit;
    uint64_t patch; /* id of the last one */
    const char *sockets[3];
    clock_ns silence;
    char alarm[256], secrets_alarm[256]; /* "": none */
    unsigned n_secrets_alarms;           /* how often it was told of */
    struct buf log;
};

static void on_commit(void *arg, const char *cause)
{
    struct scene *s = arg;
    struct view_delta *delta;

    CHECK(!s->in_commit);
    s->in_commit = true;
    s->commits++;
    snprintf(s->cause, sizeof(s->cause), "%s", cause);
    delta = store_commit(s->world.store, cause);
    s->shown += delta != NULL;
    view_delta_free(delta);
    agent_after_commit(s->agent);
    s->in_commit = false;
}

static void on_line(const char *line, size_t n, void *arg)
{
    struct scene *s = arg;

    buf_append(&s->log, line, n);
}

/* Until nothing is ready any more. Connections within one process need no time. */
static void settle(struct scene *s)
{
    for (unsigned idle = 0; idle < 3;)
        idle = loop_step(s->loop) > 0 ? 0 : idle + 1;
}

static void pass(struct scene *s, double seconds)
{
    s->clock.fake_now += (clock_ns)(seconds * 1e9);
    settle(s);
}

static void on_alarm(void *arg, const char *name, const char *text)
{
    struct scene *s = arg;

    CHECK(strcmp(name, "agent") == 0 || strcmp(name, "secrets") == 0);
    s->n_secrets_alarms += strcmp(name, "secrets") == 0;
    snprintf(strcmp(name, "secrets") == 0 ? s->secrets_alarm : s->alarm, sizeof(s->alarm), "%s", text ? text : "");
}

static void start_agent(struct scene *s)
{
    const struct agent_options options = {.sockets = s->sockets,
                                          .jitter_seed = 7,
                                          .silence = s->silence,
                                          .alarm = on_alarm,
                                          .commit = on_commit,
                                          .arg = s};

    s->agent = agent_new(s->loop, s->world.store, &options);
}

static void scene_begin(struct scene *s)
{
    struct err e = {0};

    *s = (struct scene){.clock = {.fake_now = 1000 * CLOCK_NS_PER_S, .fake = 1}};
    log_set_sink(on_line, s);
    world_init(&s->world);
    CHECK_INT(network_list_parse("127.0.0.0/8", &s->networks, &e), 0);
    s->world.options.endpoint_networks = s->networks;
    world_open(&s->world);
    CHECK_INT(loop_new(&s->clock, &s->loop, &e), 0);
    fake_agent_init(&s->fake, s->loop);
    s->sockets[0] = "absent.sock";
    s->sockets[1] = s->fake.path;
}

static void scene_end(struct scene *s)
{
    agent_free(s->agent);
    fake_agent_clear(&s->fake);
    settle(s);
    loop_free(s->loop);
    world_clear(&s->world);
    network_list_free(s->networks);
    buf_clear(&s->log);
    log_set_sink(NULL, NULL);
}

/* An agent that is there and answers with this status; the first state is complete afterwards, unless its secrets are
 * held. */
static void scene_sync(struct scene *s, const char *status)
{
    scene_begin(s);
    fake_agent_set_status(&s->fake, status);
    fake_agent_listen(&s->fake);
    start_agent(s);
    settle(s);
    pass(s, 0.1);
}

/* ---- data ---- */

#define IP(address, status)                                                                                          \
    "\"ip#1\":{\"status\":\"" status "\",\"type\":\"ip\",\"info\":{\"ipaddr\":\"" address                            \
    "\",\"expose\":[\"expose#0\"]}}"
#define EXPOSE(keywords) "\"expose#0\":{\"type\":\"expose.envoy\",\"info\":{" keywords "}}"
#define WEB(address, status)                                                                                         \
    "\"web\":{\"topology\":\"failover\",\"avail\":\"up\",\"resources\":{" IP(address, status) "," EXPOSE(            \
        "\"port\":80") "},\"monitor\":{\"status\":\"idle\"}}"
#define TLS(secret)                                                                                                  \
    "\"ns/svc/tls\":{\"resources\":{" IP("10.0.0.9", "up") "," EXPOSE(                                               \
        "\"port\":443,\"listener_certificates\":[\"certificate#1\"],\"sni\":[\"a."                                   \
        "org\"]") ",\"certificate#1\":{\"type\":\"certificate.tls\",\"info\":{"                                      \
                  "\"certificate_secret\":\"" secret "\"}}}}"
#define CONFIG(path, csum) "\"" path "\":{\"updated\":5.5,\"csum\":\"" csum "\"}"
#define STATUS(status, config)                                                                                       \
    "{\"monitor\":{\"nodes\":{\"n1\":{\"monitor\":{\"status\":\"idle\"},\"services\":{\"status\":{" status           \
    "},\"config\":{" config "}}}}},\"cluster\":{\"nodes\":[\"n1\"]}}"

static const char web_up[] = STATUS(WEB("10.0.0.1", "up"), CONFIG("web", "w1"));
static const char web_and_tls[] =
    STATUS(WEB("10.0.0.1", "up") "," TLS("cert"), CONFIG("web", "w1") "," CONFIG("ns/sec/cert", "s1"));

#define AT_STATUS "\"monitor\",\"nodes\",\"n1\",\"services\",\"status\","
#define AT_CONFIG "\"monitor\",\"nodes\",\"n1\",\"services\",\"config\","
#define FLIP(status) "[[" AT_STATUS "\"web\",\"resources\",\"ip#1\",\"status\"],\"" status "\"]"

static void append_patch(struct buf *b, uint64_t id, const char *changes)
{
    buf_printf(b, "{\"kind\":\"patch\",\"id\":%" PRIu64 ",\"ts\":1.5,\"data\":[%s]}", id, changes);
    buf_append_byte(b, '\0');
}

/* A patch with the next id; not read yet. */
static void send_patch(struct scene *s, const char *changes)
{
    struct buf b = {0};

    append_patch(&b, ++s->patch, changes);
    fake_agent_send(&s->fake, (char *)b.data, b.len);
    buf_clear(&b);
}

static void patch(struct scene *s, const char *changes)
{
    send_patch(s, changes);
    settle(s);
}

/* ---- what is seen ---- */

static void check_view(const char *file, int line, struct scene *s, const char *part, bool wanted)
{
    char *text = world_dump(&s->world);

    if ((strstr(text, part) != NULL) != wanted)
        test_fail(file, line, "%s: %s\n%s\n%s", wanted ? "the view lacks" : "the view has", part, text,
                  buf_cstr(&s->log));
    mem_free(text);
}
#define CHECK_VIEW(s, part) check_view(__FILE__, __LINE__, s, part, true)
#define CHECK_NO_VIEW(s, part) check_view(__FILE__, __LINE__, s, part, false)

static bool is_stale(struct scene *s)
{
    struct view *v = store_view(s->world.store);
    bool stale = v->stale;

    view_unref(v);
    return stale;
}

static unsigned count_log(struct scene *s, const char *part)
{
    return test_count(buf_cstr(&s->log), part);
}

/* ---- the first state ---- */

TEST(subscribes_first_then_fetches_and_shows_the_whole_in_one_commit)
{
    struct scene s;

    scene_sync(&s, web_up);
    CHECK(strncmp(buf_cstr(&s.fake.log), "events\ndaemon_status\n", 21) == 0);
    CHECK_INT(s.commits, 1);
    CHECK_STR(s.cause, "agent: complete fetch");
    CHECK_STR(agent_state(s.agent), "following");
    CHECK(!is_stale(&s));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    CHECK_INT(count_log(&s, "agent connected"), 1);
    CHECK_INT(count_log(&s, "agent synced"), 1);
    scene_end(&s);
}

TEST(the_first_event_ends_the_wait_for_the_subscription)
{
    struct scene s;

    scene_begin(&s);
    fake_agent_set_status(&s.fake, web_up);
    fake_agent_listen(&s.fake);
    start_agent(&s);
    settle(&s);
    CHECK_INT(s.fake.n_status, 0);
    CHECK_STR(agent_state(s.agent), "syncing");
    patch(&s, "");
    CHECK_INT(s.fake.n_status, 1);
    CHECK_INT(s.commits, 1);
    /* It stands: no second fetch is needed. */
    patch(&s, "");
    CHECK_INT(s.fake.n_status, 1);
    scene_end(&s);
}

TEST(what_was_fetched_before_the_first_event_is_fetched_once_more)
{
    struct scene s;

    scene_sync(&s, web_up);
    CHECK_INT(s.fake.n_status, 1);
    /* What came between the answer and the subscription was never sent as a patch. */
    fake_agent_set_status(&s.fake, STATUS(WEB("10.0.0.2", "up"), CONFIG("web", "w1")));
    patch(&s, "");
    CHECK_INT(s.fake.n_status, 2);
    CHECK_VIEW(&s, "endpoint 10.0.0.2:80 up=1");
    patch(&s, "");
    CHECK_INT(s.fake.n_status, 2);
    scene_end(&s);
}

/* The agent was asked for its status, and keeps the answer back. */
static void scene_begin_unanswered(struct scene *s)
{
    scene_begin(s);
    fake_agent_set_status(&s->fake, web_up);
    fake_agent_listen(&s->fake);
    s->fake.hold_status = true;
    start_agent(s);
    settle(s);
    pass(s, 0.1);
}

TEST(a_long_fetch_is_confirmed_a_little_later_than_it_is_shown)
{
    struct scene s;

    scene_begin_unanswered(&s);
    /* The subscription is proved while the answer is under way. */
    patch(&s, "");
    s.fake.hold_status = false;
    fake_agent_release(&s.fake);
    settle(&s);
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    CHECK_INT(s.fake.n_status, 1);
    fake_agent_set_status(&s.fake, STATUS(WEB("10.0.0.2", "up"), CONFIG("web", "w1")));
    /* Meanwhile it is followed as ever. */
    patch(&s, FLIP("down"));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=0");
    pass(&s, 0.5);
    CHECK_INT(s.fake.n_status, 2);
    CHECK_VIEW(&s, "endpoint 10.0.0.2:80 up=1");
    pass(&s, 10);
    CHECK_INT(s.fake.n_status, 2);
    scene_end(&s);
}

TEST(the_first_state_is_shown_with_its_secrets)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;

    scene_begin(&s);
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
    fake_agent_set_status(&s.fake, web_and_tls);
    fake_agent_listen(&s.fake);
    s.fake.hold_secrets = true;
    start_agent(&s);
    settle(&s);
    pass(&s, 0.1);
    CHECK_INT(s.commits, 0);
    /* A patch that comes meanwhile is in it, and makes no commit of its own. */
    patch(&s, "");
    patch(&s, FLIP("down"));
    CHECK_INT(s.commits, 0);
    CHECK(!world_is_complete(&s.world));
    fake_agent_release(&s.fake);
    settle(&s);
    CHECK_INT(s.commits, 1);
    CHECK(world_is_complete(&s.world));
    CHECK_VIEW(&s, "secret ns/sec/cert csum=s1 pair=1");
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=0");
    CHECK_VIEW(&s, "verdict ns/svc/tls.expose#0 0");
    CHECK_INT(count_log(&s, "secret read"), 1);
    CHECK_INT(count_log(&s, "PRIVATE KEY"), 0);
    scene_end(&s);
}

TEST(the_first_state_waits_for_a_silent_secret_five_seconds)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;

    scene_begin(&s);
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
    fake_agent_set_status(&s.fake, web_and_tls);
    fake_agent_listen(&s.fake);
    s.fake.hold_secrets = true;
    start_agent(&s);
    settle(&s);
    pass(&s, 0.1);
    pass(&s, 4.9);
    CHECK_INT(s.commits, 0);
    pass(&s, 0.2);
    CHECK_INT(s.commits, 1);
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    CHECK_NO_VIEW(&s, "secret ns/sec/cert");
    CHECK_NO_VIEW(&s, "verdict ns/svc/tls.expose#0 0");
    fake_agent_release(&s.fake);
    settle(&s);
    CHECK_VIEW(&s, "secret ns/sec/cert csum=s1 pair=1");
    CHECK_VIEW(&s, "verdict ns/svc/tls.expose#0 0");
    scene_end(&s);
}

TEST(a_secret_that_cannot_be_had_does_not_hold_back_the_first_state)
{
    struct scene s;

    /* The agent has the object, and refuses to tell. */
    scene_sync(&s, web_and_tls);
    CHECK_INT(s.commits, 1);
    CHECK_VIEW(&s, "no such object");
    scene_end(&s);
    /* It does not have it at all. */
    scene_sync(&s, STATUS(TLS("other"), ""));
    CHECK_INT(s.commits, 1);
    CHECK_VIEW(&s, "the agent has no such secret");
    CHECK_INT(s.fake.n_object_keys, 0);
    scene_end(&s);
}

TEST(a_state_from_the_disk_is_replaced_at_once_and_only_changed_secrets_are_read)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;
    unsigned read;

    scene_begin(&s);
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
    fake_agent_set_status(&s.fake, web_and_tls);
    fake_agent_listen(&s.fake);
    start_agent(&s);
    settle(&s);
    pass(&s, 0.1);
    CHECK_VIEW(&s, "secret ns/sec/cert csum=s1 pair=1");
    agent_free(s.agent);
    s.agent = NULL;
    settle(&s);
    world_reopen(&s.world);
    CHECK(world_is_complete(&s.world) && is_stale(&s));
    read = s.fake.n_keys;
    s.commits = s.shown = 0;
    start_agent(&s);
    settle(&s);
    pass(&s, 0.1);
    CHECK(!is_stale(&s));
    CHECK_INT(s.commits, 1);
    CHECK_INT(s.fake.n_keys, read);
    scene_end(&s);
}

/* ---- following ---- */

TEST(patches_that_come_together_are_committed_together)
{
    struct scene s;

    scene_sync(&s, web_up);
    patch(&s, "");
    s.commits = 0;
    patch(&s, FLIP("down"));
    CHECK_INT(s.commits, 1);
    CHECK_STR(s.cause, "agent: patch 2");
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=0");
    send_patch(&s, FLIP("up"));
    send_patch(&s, "[[\"listener\",\"stats\"],1]");
    send_patch(&s, FLIP("down"));
    send_patch(&s, FLIP("up"));
    settle(&s);
    CHECK_INT(s.commits, 2);
    CHECK_STR(s.cause, "agent: patches 3 to 6");
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    /* What changes nothing is no commit. */
    patch(&s, "[[\"listener\",\"stats\"],1]");
    patch(&s, "[[" AT_STATUS "\"web\",\"updated\"],7.5]");
    CHECK_INT(s.commits, 2);
    scene_end(&s);
}

/* Messages of no concern, one after the other, so far apart. */
static void noise(struct scene *s, unsigned n, double seconds)
{
    for (unsigned i = 0; i < n; i++) {
        pass(s, seconds);
        patch(s, "[[\"listener\",\"stats\"],1]");
    }
}

TEST(in_a_flood_of_noise_the_first_change_comes_at_most_twenty_milliseconds_later_and_the_next_at_once)
{
    struct scene s;
    unsigned ms = 0;

    scene_sync(&s, web_up);
    noise(&s, 40, 0.001);
    s.commits = 0;
    patch(&s, FLIP("down"));
    for (; s.commits == 0 && ms < 40; ms++)
        pass(&s, 0.001);
    CHECK(ms > 0 && ms <= 20);
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=0");
    CHECK_STR(s.cause, "agent: patch 41");
    patch(&s, FLIP("up"));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    scene_end(&s);
}

TEST(a_flood_of_noise_is_over_when_nothing_comes_for_a_moment_or_the_stream_ends)
{
    struct scene s;

    scene_sync(&s, web_up);
    noise(&s, 40, 0.001);
    pass(&s, 0.020);
    pass(&s, 0.020);
    patch(&s, FLIP("down"));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=0");
    noise(&s, 40, 0.001);
    fake_agent_drop(&s.fake);
    pass(&s, 0.020); /* the rest of the noise */
    pass(&s, 0.020);
    CHECK(is_stale(&s));
    pass(&s, 0.1);
    pass(&s, 0.1);
    CHECK(!is_stale(&s));
    scene_end(&s);
}

TEST(noise_that_is_no_flood_delays_nothing)
{
    struct scene s;

    scene_sync(&s, web_up);
    noise(&s, 40, 0.009);
    patch(&s, FLIP("down"));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=0");
    /* A few together are none either. */
    noise(&s, 15, 0.001);
    patch(&s, FLIP("up"));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    scene_end(&s);
}

TEST(messages_may_come_in_pieces_of_any_size)
{
    for (size_t piece = 1; piece < 200; piece = piece * 3 + 1) {
        struct scene s;
        struct buf all = {0};

        scene_sync(&s, web_up);
        for (uint64_t id = 1; id <= 6; id++)
            append_patch(&all, id, id % 2 ? FLIP("up") : FLIP("down"));
        buf_append_byte(&all, '\0'); /* nothing between two ends is no message */
        append_patch(&all, 7, "[[" AT_STATUS "\"web\",\"resources\",\"ip#1\",\"info\",\"ipaddr\"],\"10.0.0.7\"]");
        /* The whole as it is at the end, for the fetch that the first event asks for. */
        fake_agent_set_status(&s.fake, STATUS(WEB("10.0.0.7", "down"), CONFIG("web", "w1")));
        for (size_t at = 0; at < all.len; at += piece) {
            fake_agent_send(&s.fake, (char *)all.data + at, piece < all.len - at ? piece : all.len - at);
            settle(&s);
        }
        CHECK_VIEW(&s, "endpoint 10.0.0.7:80 up=0");
        CHECK_INT(count_log(&s, "gap") + count_log(&s, "does not fit"), 0);
        buf_clear(&all);
        scene_end(&s);
    }
}

/* Plays the recording through the sockets: each event when its turn comes, statuses as they were asked. */
static char *play_recording(const struct recording *rec, size_t piece)
{
    struct scene s;
    uint64_t seed = 3;
    bool synced = false;
    char *text;

    scene_begin(&s);
    fake_agent_listen(&s.fake);
    start_agent(&s);
    settle(&s);
    for (size_t i = 0; i < rec->n; i++) {
        const struct recorded *r = &rec->items[i];

        if (r->action && strcmp(r->action, "daemon_status") == 0) {
            char *status = mem_strndup(r->text, r->n);

            fake_agent_set_status(&s.fake, status);
            mem_free(status);
            s.fake.hold_status = false;
            fake_agent_release(&s.fake);
            settle(&s);
            synced = true;
        } else if (r->is_event) {
            s.fake.hold_status = !synced;
            for (size_t at = 0; at < r->n + 1;) {
                size_t n = piece ? piece : 1 + test_random(&seed) % 500;

                n = n < r->n + 1 - at ? n : r->n + 1 - at;
                fake_agent_send(&s.fake, r->text + at, n); /* the text has a NUL behind it */
                settle(&s);
                at += n;
            }
        }
    }
    CHECK_INT(s.fake.n_status, 1);
    CHECK_INT(count_log(&s, "gap") + count_log(&s, "does not fit"), 0);
    text = world_dump(&s.world);
    scene_end(&s);
    return text;
}

TEST(the_recording_played_over_the_socket_ends_in_the_same_state_whatever_the_pieces)
{
    struct recording rec = recording_load();
    char *wanted = play_recording(&rec, 1 << 20);
    const size_t pieces[] = {1, 0};

    CHECK(strstr(wanted, "test/svc/web1.expose#0 valid=1 origin=0 disabled=0 kept=0 gateway=envoy port=8081"));
    CHECK(strstr(wanted, "endpoint 127.0.7.9:443 up=1"));
    CHECK(!strstr(wanted, "web2"));
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        char *got = play_recording(&rec, pieces[i]);

        CHECK_STR(got, wanted);
        mem_free(got);
    }
    mem_free(wanted);
    recording_free(&rec);
}

TEST(after_a_gap_the_whole_is_fetched_once)
{
    struct scene s;

    scene_sync(&s, web_up);
    patch(&s, "");
    CHECK_INT(s.fake.n_status, 2);
    fake_agent_set_status(&s.fake, STATUS(WEB("10.0.0.2", "up"), CONFIG("web", "w1")));
    /* What came before the gap in the same piece counts. */
    send_patch(&s, FLIP("down"));
    s.patch++;
    send_patch(&s, "");
    settle(&s);
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=0");
    CHECK_STR(agent_state(s.agent), "syncing");
    patch(&s, "");
    CHECK_INT(s.fake.n_status, 2);
    pass(&s, 0.05);
    CHECK_INT(s.fake.n_status, 3);
    CHECK_VIEW(&s, "endpoint 10.0.0.2:80 up=1");
    CHECK_STR(agent_state(s.agent), "following");
    CHECK_INT(count_log(&s, "have a gap"), 1);
    patch(&s, "[[" AT_STATUS "\"web\",\"resources\",\"ip#1\",\"info\",\"ipaddr\"],\"10.0.0.3\"]");
    CHECK_VIEW(&s, "endpoint 10.0.0.3:80 up=1");
    CHECK_INT(s.fake.n_status, 3);
    CHECK_INT(s.fake.n_events, 1);
    scene_end(&s);
}

TEST(after_a_change_that_does_not_fit_or_a_bad_message_the_whole_is_fetched)
{
    static const char *const bad[] = {
        "{\"kind\":\"patch\",\"id\":2,\"data\":[[[\"monitor\",\"nodes\",\"n9\"]]]}",
        "{\"kind\":\"patch\",\"id\":2,\"data\":[[[\"monitor\",\"nodes\",",
        "{\"status\":500,\"error\":\"something broke\"}",
        "nonsense",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct scene s;

        scene_sync(&s, web_up);
        patch(&s, "");
        fake_agent_set_status(&s.fake, STATUS(WEB("10.0.0.2", "up"), CONFIG("web", "w1")));
        fake_agent_event(&s.fake, bad[i]);
        settle(&s);
        pass(&s, 0.05);
        CHECK_INT(s.fake.n_status, 3);
        CHECK_VIEW(&s, "endpoint 10.0.0.2:80 up=1");
        CHECK_INT(count_log(&s, "does not fit"), 1);
        scene_end(&s);
    }
}

TEST(a_change_that_never_fits_is_fetched_at_a_growing_distance)
{
    struct scene s;

    scene_sync(&s, web_up);
    patch(&s, "");
    for (unsigned i = 0; i < 40; i++) {
        patch(&s, "[[\"monitor\",\"nodes\",\"n9\"]]");
        pass(&s, 0.25);
    }
    /* 10 seconds: without backoff there were 40. */
    CHECK(s.fake.n_status > 4 && s.fake.n_status < 16);
    scene_end(&s);
}

/* ---- an agent that is lost ---- */

TEST(a_stream_that_ends_leaves_the_state_stale_until_all_was_read_again)
{
    struct scene s;

    scene_sync(&s, web_up);
    patch(&s, "");
    fake_agent_stop(&s.fake);
    settle(&s);
    CHECK(is_stale(&s));
    CHECK_STR(s.cause, "agent lost");
    CHECK_STR(agent_state(s.agent), "connecting");
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    CHECK_INT(count_log(&s, "agent lost"), 1);
    for (unsigned i = 0; i < 20; i++)
        pass(&s, 1);
    CHECK(count_log(&s, "agent cannot be reached") <= 2);
    /* It comes back with other content. */
    fake_agent_set_status(&s.fake, STATUS(WEB("10.0.0.2", "up") "," TLS("x"), CONFIG("web", "w1")));
    fake_agent_listen(&s.fake);
    for (unsigned i = 0; i < 6; i++)
        pass(&s, 1);
    CHECK(!is_stale(&s));
    CHECK_VIEW(&s, "endpoint 10.0.0.2:80 up=1");
    CHECK_VIEW(&s, "service ns/svc/tls");
    fake_agent_drop(&s.fake);
    settle(&s);
    fake_agent_set_status(&s.fake, web_up);
    for (unsigned i = 0; i < 3; i++)
        pass(&s, 0.1);
    CHECK_NO_VIEW(&s, "service ns/svc/tls");
    CHECK(!is_stale(&s));
    scene_end(&s);
}

TEST(a_stream_that_is_cut_within_a_message_starts_anew)
{
    struct scene s;
    static const char half[] = "{\"kind\":\"patch\",\"id\":2,\"data\":[[[\"monitor\"]]";

    scene_sync(&s, web_up);
    patch(&s, "");
    fake_agent_send(&s.fake, half, strlen(half));
    settle(&s);
    fake_agent_drop(&s.fake);
    settle(&s);
    CHECK_INT(count_log(&s, "within a message"), 1);
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    s.patch = 500;
    pass(&s, 0.05);
    patch(&s, "");
    CHECK_STR(agent_state(s.agent), "following");
    CHECK(!is_stale(&s));
    CHECK_INT(s.fake.n_events, 2);
    patch(&s, FLIP("down"));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=0");
    scene_end(&s);
}

TEST(an_agent_that_is_absent_is_tried_without_end_at_a_bounded_distance)
{
    struct scene s;

    scene_begin(&s);
    start_agent(&s);
    for (unsigned i = 0; i < 600; i++)
        pass(&s, 1);
    CHECK_INT(s.commits, 0);
    CHECK_STR(agent_state(s.agent), "connecting");
    fake_agent_set_status(&s.fake, web_up);
    fake_agent_listen(&s.fake);
    for (unsigned i = 0; i < 11; i++)
        pass(&s, 0.5);
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    scene_end(&s);
}

TEST(of_two_sockets_the_one_that_is_there_says_why_it_cannot_be_reached)
{
    struct scene s;

    scene_begin(&s);
    s.sockets[0] = s.fake.directory;
    s.sockets[1] = "absent.sock";
    start_agent(&s);
    pass(&s, 1);
    _cleanup_(mem_free_p) char *why = mem_printf("%s: Connection refused", s.fake.directory);
    CHECK_INT(count_log(&s, why), count_log(&s, "agent cannot be reached"));
    CHECK(count_log(&s, why) > 0);
    CHECK_INT(count_log(&s, "absent.sock"), 0);
    scene_end(&s);
}

TEST(an_answer_that_is_no_whole_is_asked_for_again_and_changes_nothing)
{
    static const struct {
        const char *status;
        size_t cut;
        bool no_end;
        const char *words;
    } cases[] = {
        {"{\"status\":500,\"error\":\"not now\"}", 0, false, "the agent answers: not now"},
        {"{\"monitor\":{\"nodes\":{\"n1\":tru}}}", 0, false, "expected a value"},
        {web_up, 50, false, "ends too early"},
        {web_up, 1, true, "ends too early"},
        {STATUS("", "") "x", 0, false, "expected the end"},
        {"{\"monitor\":{\"nodes\":{}}}", 0, false, "no node has told its services yet"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scene s;

        scene_sync(&s, web_up);
        patch(&s, "");
        CHECK_INT(s.fake.n_status, 2);
        fake_agent_set_status(&s.fake, cases[i].status);
        s.fake.cut_status = cases[i].cut;
        s.fake.no_end = cases[i].no_end;
        fake_agent_drop(&s.fake);
        for (unsigned k = 0; k < 20; k++)
            pass(&s, 0.1);
        if (count_log(&s, cases[i].words) != 1)
            test_fail(__FILE__, __LINE__, "not said once: %s\n%s", cases[i].words, buf_cstr(&s.log));
        CHECK(s.fake.n_status > 3);
        CHECK(is_stale(&s));
        CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
        fake_agent_set_status(&s.fake, STATUS(WEB("10.0.0.2", "up"), CONFIG("web", "w1")));
        s.fake.cut_status = 0;
        for (unsigned k = 0; k < 60; k++)
            pass(&s, 0.1);
        CHECK(!is_stale(&s));
        CHECK_VIEW(&s, "endpoint 10.0.0.2:80 up=1");
        scene_end(&s);
    }
}

/* A daemon that does not know its services yet; one that it knows is new. */
#define STARTING(status)                                                                                             \
    "{\"monitor\":{\"nodes\":{\"n1\":{\"monitor\":{\"status\":\"init\"},\"services\":{\"status\":{" status           \
    "},\"config\":{}}}}},\"cluster\":{\"nodes\":[\"n1\"]}}"
#define NEW "\"new\":{\"resources\":{" IP("10.0.0.7", "up") "," EXPOSE("\"port\":81") "}}"

TEST(what_an_agent_that_starts_does_not_tell_yet_is_not_deleted)
{
    struct scene s;

    scene_sync(&s, web_up);
    patch(&s, "");
    fake_agent_set_status(&s.fake, STARTING(NEW));
    fake_agent_drop(&s.fake);
    s.patch = 100;
    settle(&s);
    pass(&s, 0.05);
    patch(&s, "");
    CHECK_STR(agent_state(s.agent), "following");
    CHECK(is_stale(&s));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    CHECK_VIEW(&s, "endpoint 10.0.0.7:81 up=1");
    CHECK_INT(count_log(&s, "n1 is starting"), 1);
    /* It is followed meanwhile. */
    patch(&s, "[[" AT_STATUS "\"new\",\"resources\",\"ip#1\",\"status\"],\"down\"]");
    CHECK_VIEW(&s, "endpoint 10.0.0.7:81 up=0");
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    /* Once it knows all, the whole is fetched and believed. */
    fake_agent_set_status(&s.fake, STATUS(NEW, ""));
    patch(&s, "[[\"monitor\",\"nodes\",\"n1\",\"monitor\",\"status\"],\"idle\"]");
    pass(&s, 0.5);
    CHECK_NO_VIEW(&s, "10.0.0.1");
    CHECK(!is_stale(&s));
    scene_end(&s);
}

TEST(a_state_from_the_disk_is_not_deleted_by_an_agent_that_starts)
{
    struct scene s;

    scene_sync(&s, web_up);
    agent_free(s.agent);
    s.agent = NULL;
    settle(&s);
    world_reopen(&s.world);
    fake_agent_set_status(&s.fake, STARTING(NEW));
    start_agent(&s);
    settle(&s);
    patch(&s, "");
    for (unsigned i = 0; i < 14; i++)
        pass(&s, 1);
    CHECK_NO_VIEW(&s, "10.0.0.7");
    for (unsigned i = 0; i < 7; i++)
        pass(&s, 1);
    CHECK_VIEW(&s, "endpoint 10.0.0.7:81 up=1");
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    CHECK(is_stale(&s));
    fake_agent_set_status(&s.fake, STATUS(NEW, ""));
    patch(&s, "[[\"monitor\",\"nodes\",\"n1\",\"monitor\",\"status\"],\"idle\"]");
    pass(&s, 1);
    pass(&s, 5);
    CHECK_NO_VIEW(&s, "10.0.0.1");
    CHECK(!is_stale(&s));
    scene_end(&s);
}

TEST(where_nothing_is_known_a_part_is_shown_after_a_while)
{
    struct scene s;

    scene_begin(&s);
    fake_agent_set_status(&s.fake, STARTING(NEW));
    fake_agent_listen(&s.fake);
    start_agent(&s);
    settle(&s);
    for (unsigned i = 0; i < 14; i++)
        pass(&s, 1);
    CHECK(!world_is_complete(&s.world));
    for (unsigned i = 0; i < 7; i++)
        pass(&s, 1);
    CHECK(world_is_complete(&s.world) && is_stale(&s));
    CHECK_VIEW(&s, "endpoint 10.0.0.7:81 up=1");
    scene_end(&s);
}

TEST(an_agent_that_does_not_answer_is_asked_again)
{
    struct scene s;

    scene_begin_unanswered(&s);
    pass(&s, 29);
    CHECK_INT(s.fake.n_status, 1);
    s.fake.hold_status = false;
    pass(&s, 2);
    CHECK_INT(count_log(&s, "the agent is silent"), 1);
    pass(&s, 0.1);
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    scene_end(&s);
}

/* Follows; after 15 s without an event the agent is asked. */
static void silence_begin(struct scene *s)
{
    scene_begin(s);
    s->silence = 15 * CLOCK_NS_PER_S;
    fake_agent_set_status(&s->fake, web_up);
    fake_agent_listen(&s->fake);
    start_agent(s);
    settle(s);
    pass(s, 0.1);
    CHECK(!is_stale(s));
}

TEST(an_agent_that_hangs_is_noticed_by_its_silence_and_its_last_state_is_marked_as_stale)
{
    struct scene s;

    silence_begin(&s);
    s.fake.hang = true;
    pass(&s, 14);
    CHECK_INT(test_count(buf_cstr(&s.fake.log), "igwd_probe"), 0);
    pass(&s, 1);
    CHECK_INT(test_count(buf_cstr(&s.fake.log), "igwd_probe"), 1);
    CHECK(!is_stale(&s));
    pass(&s, 10.1);
    CHECK(is_stale(&s));
    CHECK(strstr(s.alarm, "says nothing and answers nothing"));
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    /* It is tried again, and current once it answers. */
    s.fake.hang = false;
    fake_agent_stop(&s.fake);
    fake_agent_listen(&s.fake);
    pass(&s, 6);
    pass(&s, 0.1);
    pass(&s, 0.1);
    CHECK(!is_stale(&s));
    CHECK_STR(s.alarm, "");
    scene_end(&s);
}

TEST(an_agent_whose_events_come_is_never_asked)
{
    struct scene s;

    silence_begin(&s);
    for (unsigned i = 0; i < 10; i++) {
        fake_agent_event(&s.fake, "{\"kind\":\"event\",\"id\":\"x\",\"data\":{}}");
        pass(&s, 14);
    }
    CHECK_INT(test_count(buf_cstr(&s.fake.log), "igwd_probe"), 0);
    CHECK(!is_stale(&s));
    scene_end(&s);
}

TEST(an_event_while_the_agent_is_asked_is_proof_enough)
{
    struct scene s;

    silence_begin(&s);
    s.fake.hang = true;
    pass(&s, 15);
    fake_agent_event(&s.fake, "{\"kind\":\"event\",\"id\":\"x\",\"data\":{}}");
    settle(&s);
    pass(&s, 10.1);
    CHECK(!is_stale(&s));
    CHECK_INT(s.fake.n_events, 1);
    scene_end(&s);
}

TEST(an_agent_that_answers_and_has_no_events_is_subscribed_to_again_ever_more_seldom)
{
    struct scene s;
    unsigned in_an_hour, before;

    silence_begin(&s);
    pass(&s, 15);
    CHECK_INT(s.fake.n_events, 1);
    pass(&s, 15);
    pass(&s, 6);
    CHECK_INT(s.fake.n_events, 2);
    CHECK(count_log(&s, "its events do not come any more") == 1);
    for (unsigned i = 0; i < 3600; i++)
        pass(&s, 1);
    in_an_hour = s.fake.n_events;
    CHECK(in_an_hour >= 5 && in_an_hour <= 9);
    before = in_an_hour;
    for (unsigned i = 0; i < 4 * 3600; i++)
        pass(&s, 1);
    CHECK(s.fake.n_events - before <= 3);
    CHECK(!is_stale(&s));
    scene_end(&s);
}

TEST(a_message_beyond_the_maximum_is_the_end_of_the_stream)
{
    struct scene s;
    char *x = mem_alloc(1 << 20);

    scene_sync(&s, web_up);
    patch(&s, "");
    memset(x, 'x', 1 << 20);
    for (unsigned i = 0; i < 66 && s.fake.n_events == 1; i++) {
        fake_agent_send(&s.fake, x, 1 << 20);
        settle(&s);
        pass(&s, 0);
    }
    CHECK_INT(count_log(&s, "a message of more than"), 1);
    pass(&s, 0.2);
    CHECK_INT(s.fake.n_events, 2);
    mem_free(x);
    scene_end(&s);
}

/* ---- secrets ---- */

#define NEW_CSUM(csum) "[[" AT_CONFIG "\"ns/sec/cert\",\"csum\"],\"" csum "\"]"

static void scene_with_secret(struct scene *s, const struct test_certificate *c)
{
    scene_begin(s);
    fake_agent_set_secret(&s->fake, "ns/sec/cert", "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
    fake_agent_set_status(&s->fake, web_and_tls);
    fake_agent_listen(&s->fake);
    start_agent(s);
    settle(s);
    patch(s, "");
    CHECK_VIEW(s, c->fingerprint);
}

TEST(a_secret_is_read_again_when_its_csum_changes)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *d = test_certificate_for("a.org");
    struct scene s;

    scene_with_secret(&s, c);
    CHECK_INT(s.fake.n_object_keys, 1);
    CHECK_INT(s.fake.n_keys, 2);
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "server_key", d->key_pem, "certificate_chain", d->pem, "other", "x",
                          NULL);
    patch(&s, NEW_CSUM("s2"));
    CHECK_VIEW(&s, d->fingerprint);
    CHECK_VIEW(&s, "csum=s2");
    CHECK_INT(s.fake.n_keys, 4);
    CHECK_STR(s.cause, "agent: secrets");
    patch(&s, NEW_CSUM("s2"));
    patch(&s, FLIP("down"));
    CHECK_INT(s.fake.n_keys, 4);
    scene_end(&s);
}

TEST(a_pair_whose_halves_change_one_after_the_other_is_never_mixed)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *d = test_certificate_for("a.org");
    struct scene s;

    scene_with_secret(&s, c);
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", d->key_pem, "certificate_chain", c->pem, NULL);
    patch(&s, NEW_CSUM("s2"));
    CHECK_VIEW(&s, c->fingerprint);
    CHECK_VIEW(&s, "csum=s2 pair=1");
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", d->key_pem, "certificate_chain", d->pem, NULL);
    patch(&s, NEW_CSUM("s3"));
    CHECK_VIEW(&s, d->fingerprint);
    scene_end(&s);
}

TEST(a_secret_that_changes_while_it_is_read_is_read_again)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *d = test_certificate_for("a.org");
    struct scene s;

    scene_with_secret(&s, c);
    s.fake.hold_secrets = true;
    patch(&s, NEW_CSUM("s2"));
    patch(&s, NEW_CSUM("s3"));
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", d->key_pem, "certificate_chain", d->pem, NULL);
    fake_agent_release(&s.fake);
    settle(&s);
    CHECK_INT(s.fake.n_object_keys, 3);
    CHECK_VIEW(&s, "csum=s3");
    CHECK_VIEW(&s, d->fingerprint);
    scene_end(&s);
}

TEST(a_secret_that_cannot_be_read_keeps_its_last_good_form_and_is_asked_again)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *d = test_certificate_for("a.org");
    struct scene s;
    unsigned asked;

    scene_with_secret(&s, c);
    json_object_del(s.fake.secrets, "ns/sec/cert");
    patch(&s, NEW_CSUM("s2"));
    CHECK_VIEW(&s, c->fingerprint);
    CHECK_VIEW(&s, "no such object");
    asked = s.fake.n_object_keys;
    for (unsigned i = 0; i < 30; i++)
        pass(&s, 1);
    CHECK(s.fake.n_object_keys >= asked + 5 && s.fake.n_object_keys <= asked + 15);
    CHECK_INT(count_log(&s, "secret cannot be read"), 1);
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", d->key_pem, "certificate_chain", d->pem, NULL);
    for (unsigned i = 0; i < 6; i++)
        pass(&s, 1);
    CHECK_VIEW(&s, d->fingerprint);
    CHECK_NO_VIEW(&s, "no such object");
    /* The object goes: it is still the last good form. */
    patch(&s, "[[" AT_CONFIG "\"ns/sec/cert\"]]");
    CHECK_VIEW(&s, d->fingerprint);
    CHECK_VIEW(&s, "the agent has no such secret");
    scene_end(&s);
}

TEST(that_the_agent_is_silent_of_a_secret_is_an_alarm_after_half_a_minute)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;

    scene_with_secret(&s, c);
    s.fake.hold_secrets = true;
    patch(&s, NEW_CSUM("s2"));
    for (unsigned i = 0; i < AGENT_REQUEST_TIMEOUT_S - 1; i++) {
        pass(&s, 1);
        patch(&s, ""); /* it is there, and follows what it is told */
    }
    CHECK_STR(s.secrets_alarm, "");
    pass(&s, 1);
    pass(&s, 0.1);
    CHECK_STR(s.secrets_alarm, "the agent does not say what ns/sec/cert holds");
    CHECK_VIEW(&s, c->fingerprint);
    s.fake.hold_secrets = false;
    fake_agent_release(&s.fake);
    for (unsigned i = 0; i < 6; i++)
        pass(&s, 1);
    CHECK_VIEW(&s, "secret ns/sec/cert csum=s2");
    CHECK_STR(s.secrets_alarm, "");
    /* Once more; then nobody refers to it any more. */
    s.fake.hold_secrets = true;
    patch(&s, NEW_CSUM("s3"));
    pass(&s, AGENT_REQUEST_TIMEOUT_S + 1);
    pass(&s, 0.1);
    CHECK_STR(s.secrets_alarm, "the agent does not say what ns/sec/cert holds");
    patch(&s, "[[" AT_STATUS "\"ns/svc/tls\"]]");
    pass(&s, 1);
    CHECK_STR(s.secrets_alarm, "");
    scene_end(&s);
}

/* A service with so many secrets, of which the agent says nothing until it is released. */
static void scene_with_held_secrets(struct scene *s, const struct test_certificate *c, unsigned n)
{
    struct buf names = {0}, resources = {0}, config = {0};

    scene_begin(s);
    for (unsigned i = 0; i < n; i++) {
        _cleanup_(mem_free_p) char *path = mem_printf("ns/sec/c%u", i);

        fake_agent_set_secret(&s->fake, path, "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
        buf_printf(&names, "%s\"certificate#%u\"", i ? "," : "", i);
        buf_printf(&resources,
                   ",\"certificate#%u\":{\"type\":\"certificate.tls\",\"info\":{\"certificate_secret\":\"c%u\"}}", i,
                   i);
        buf_printf(&config, ",\"%s\":{\"updated\":5.5,\"csum\":\"s1\"}", path);
    }
    _cleanup_(mem_free_p) char *status =
        mem_printf(STATUS("\"ns/svc/tls\":{\"resources\":{" IP("10.0.0.9", "up") "," EXPOSE(
                              "\"port\":443,\"listener_certificates\":[%s],\"sni\":[\"a.org\"]") "%s}}",
                          CONFIG("web", "w1") "%s"),
                   buf_cstr(&names), buf_cstr(&resources), buf_cstr(&config));
    buf_clear(&names);
    buf_clear(&resources);
    buf_clear(&config);
    fake_agent_set_status(&s->fake, status);
    fake_agent_listen(&s->fake);
    s->fake.hold_secrets = true;
    start_agent(s);
    settle(s);
    patch(s, "");
}

TEST(secrets_that_become_silent_together_are_one_alarm)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;

    scene_with_held_secrets(&s, c, 5);
    CHECK_INT(s.fake.n_object_keys, 5);
    pass(&s, AGENT_REQUEST_TIMEOUT_S);
    pass(&s, 0.1);
    CHECK_STR(s.secrets_alarm, "the agent does not say what ns/sec/c0 and 4 others hold");
    CHECK_INT(s.n_secrets_alarms, 1);
    fake_agent_release(&s.fake);
    for (unsigned i = 0; i < 10; i++)
        pass(&s, 1);
    CHECK_STR(s.secrets_alarm, "");
    CHECK_VIEW(&s, "secret ns/sec/c4 csum=s1 pair=1");
    CHECK(s.n_secrets_alarms <= 1 + 5);
    scene_end(&s);
}

static char *answer_nonsense(void *arg, const char *action, const json_t *request)
{
    (void)arg; /* nothing of it */
    (void)request;
    return strcmp(action, "object_keys") == 0 ? mem_strdup("[]") : NULL;
}

TEST(an_agent_that_was_away_was_not_silent_of_a_secret)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;
    unsigned asked;

    scene_with_secret(&s, c);
    s.fake.hold_secrets = true;
    patch(&s, NEW_CSUM("s2"));
    pass(&s, 1);
    fake_agent_stop(&s.fake);
    for (unsigned i = 0; i < 2 * AGENT_REQUEST_TIMEOUT_S; i++)
        pass(&s, 1);
    s.fake.hold_secrets = false;
    s.fake.answer = answer_nonsense;
    fake_agent_set_status(
        &s.fake, STATUS(WEB("10.0.0.1", "up") "," TLS("cert"), CONFIG("web", "w1") "," CONFIG("ns/sec/cert", "s2")));
    fake_agent_listen(&s.fake);
    asked = s.fake.n_object_keys;
    for (unsigned i = 0; i < AGENT_REQUEST_TIMEOUT_S / 2; i++)
        pass(&s, 1);
    CHECK(s.fake.n_object_keys > asked);
    CHECK_STR(s.secrets_alarm, "");
    /* It is there now, and still says nothing. */
    for (unsigned i = 0; i < AGENT_REQUEST_TIMEOUT_S; i++)
        pass(&s, 1);
    CHECK_STR(s.secrets_alarm, "the agent does not say what ns/sec/cert holds");
    s.fake.answer = NULL;
    for (unsigned i = 0; i < 8; i++)
        pass(&s, 1);
    CHECK_VIEW(&s, "secret ns/sec/cert csum=s2");
    CHECK_STR(s.secrets_alarm, "");
    scene_end(&s);
}

static char *answer_501(void *arg, const char *action, const json_t *request)
{
    (void)arg; /* nothing of it */
    (void)request;
    return strcmp(action, "object_keys") == 0 ? mem_strdup("{\"status\":\"501\",\"error\":\"unknown action\"}")
                                              : NULL;
}

TEST(an_agent_that_cannot_list_keys_is_asked_for_each)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;

    scene_begin(&s);
    s.fake.answer = answer_501;
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
    fake_agent_set_status(&s.fake, web_and_tls);
    fake_agent_listen(&s.fake);
    start_agent(&s);
    settle(&s);
    patch(&s, "");
    CHECK_VIEW(&s, c->fingerprint);
    CHECK_INT(s.fake.n_keys, 6);
    scene_end(&s);
}

static char *answer_broken(void *arg, const char *action, const json_t *request)
{
    struct scene *s = arg;

    (void)request;
    if (s->fake.n_object_keys > 3 || strcmp(action, "object_keys") != 0)
        return NULL;
    return mem_strdup(s->fake.n_object_keys == 1   ? "{\"status\":0,"
                      : s->fake.n_object_keys == 2 ? "[]"
                                                   : "{\"status\":\"1\",\"error\":\"busy\"}");
}

TEST(an_answer_about_a_secret_that_is_broken_is_asked_for_again)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;

    scene_begin(&s);
    s.fake.answer = answer_broken;
    s.fake.answer_arg = &s;
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
    fake_agent_set_status(&s.fake, web_and_tls);
    fake_agent_listen(&s.fake);
    start_agent(&s);
    settle(&s);
    for (unsigned i = 0; i < 20; i++)
        pass(&s, 1);
    CHECK_VIEW(&s, c->fingerprint);
    CHECK_INT(s.fake.n_object_keys, 4);
    scene_end(&s);
}

TEST(a_new_reference_to_a_secret_reads_it_and_the_last_that_goes_forgets_it)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    struct scene s;

    scene_begin(&s);
    fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
    fake_agent_set_status(&s.fake, STATUS(WEB("10.0.0.1", "up"), CONFIG("ns/sec/cert", "s1")));
    fake_agent_listen(&s.fake);
    start_agent(&s);
    settle(&s);
    patch(&s, "");
    CHECK_INT(s.fake.n_object_keys, 0);
    patch(&s, "[[" AT_STATUS "\"ns/svc/tls\"],{\"resources\":{" IP("10.0.0.9", "up") "," EXPOSE(
                  "\"port\":443,\"sni\":[\"a.org\"],\"listener_certificates\":["
                  "\"certificate#1\"]") ",\"certificate#1\":{"
                                        "\"type\":\"certificate.tls\",\"info\":{"
                                        "\"certificate_secret\":\"cert\"}}}}]");
    CHECK_INT(s.fake.n_object_keys, 1);
    CHECK_VIEW(&s, c->fingerprint);
    patch(&s, "[[" AT_STATUS "\"ns/svc/tls\"]]");
    CHECK_NO_VIEW(&s, "secret ns/sec/cert");
    patch(&s, NEW_CSUM("s2"));
    CHECK_INT(s.fake.n_object_keys, 1);
    scene_end(&s);
}

TEST(many_secrets_are_read_a_few_at_a_time)
{
    enum { SECRETS = 40 };
    struct scene s;
    struct buf status = {0};
    unsigned open = 0;

    scene_begin(&s);
    buf_append_str(&status, "{\"monitor\":{\"nodes\":{\"n1\":{\"services\":{\"status\":{");
    for (unsigned i = 0; i < SECRETS; i++)
        buf_printf(&status,
                   "%s\"ns/svc/s%u\":{\"resources\":{\"expose#0\":{\"type\":\"expose.envoy\",\"info\":{\"port\":443,"
                   "\"listener_port\":%u,\"listener_certificates\":[\"certificate#1\"]}},\"certificate#1\":{\"type\":"
                   "\"certificate.tls\",\"info\":{\"certificate_secret\":\"c%u\"}}}}",
                   i ? "," : "", i, 2000 + i, i);
    buf_append_str(&status, "},\"config\":{");
    for (unsigned i = 0; i < SECRETS; i++) {
        char path[32];

        buf_printf(&status, "%s\"ns/sec/c%u\":{\"updated\":1.5,\"csum\":\"s\"}", i ? "," : "", i);
        snprintf(path, sizeof(path), "ns/sec/c%u", i);
        fake_agent_set_secret(&s.fake, path, "certificate_chain", "x", NULL);
    }
    buf_append_str(&status, "}}}}}}");
    fake_agent_set_status(&s.fake, buf_cstr(&status));
    buf_clear(&status);
    fake_agent_listen(&s.fake);
    s.fake.hold_secrets = true;
    start_agent(&s);
    settle(&s);
    patch(&s, "");
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        open += s.fake.connections[i].held;
    CHECK(open > 2 && open < AGENT_REQUESTS_MAX);
    fake_agent_release(&s.fake);
    settle(&s);
    CHECK_INT(s.fake.n_object_keys, SECRETS);
    CHECK_INT(s.commits, 1);
    scene_end(&s);
}

/* ---- ports ---- */

#define ALLOCATED "\"resources\":{" IP("10.0.0.1", "up") "," EXPOSE("\"port\":80,\"listener_port\":0") "}"
static const char scaler[] = STATUS("\"s\":{\"resources\":{},\"scaler_slaves\":[\"0.s\",\"1.s\"]},"
                                    "\"0.s\":{\"scaler_slave\":true," ALLOCATED "},"
                                    "\"1.s\":{\"scaler_slave\":true," ALLOCATED "}",
                                    "");

/* Ports reach the disk in the store's thread; the owner polls when it is told. */
static bool was_asked_to_set(struct world *w, void *arg)
{
    struct scene *s = arg;

    (void)w; /* it is the scene's */
    agent_after_commit(s->agent);
    settle(s);
    return s->fake.n_set >= 3 && !s->in_commit;
}

TEST(an_allocated_port_is_told_to_the_scaler_and_its_slaves_once)
{
    struct scene s;
    char line[128];

    scene_sync(&s, scaler);
    world_until(&s.world, was_asked_to_set, &s);
    CHECK_INT(s.fake.n_set, 3);
    snprintf(line, sizeof(line), "object_action n1 s set expose#0.listener_port=%u\n",
             world_port(&s.world, "s", "expose#0"));
    CHECK(strstr(buf_cstr(&s.fake.log), line));
    CHECK(strstr(buf_cstr(&s.fake.log), "object_action n1 0.s set"));
    CHECK(strstr(buf_cstr(&s.fake.log), "object_action n1 1.s set"));
    CHECK_INT(count_log(&s, "port written back"), 1);
    agent_after_commit(s.agent);
    settle(&s);
    CHECK_INT(s.fake.n_set, 3);
    scene_end(&s);
}

struct failing {
    struct scene *scene;
    const char *answer;
};

static char *answer_set_failing(void *arg, const char *action, const json_t *request)
{
    const struct failing *f = arg;

    (void)request;
    return strcmp(action, "object_action") == 0 ? mem_strdup(f->answer) : NULL;
}

static bool was_refused(struct world *w, void *arg)
{
    struct scene *s = arg;

    (void)w; /* it is the scene's */
    agent_after_commit(s->agent);
    settle(s);
    return s->fake.n_set >= 1;
}

TEST(a_write_back_that_fails_on_the_node_is_told_and_not_taken_for_done)
{
    struct recording rec = recording_load();
    const char *recorded = NULL;
    const char *answers[5];
    const char *const words[] = {"expected str instance, list found", "not allowed", "failed with 3",
                                 "expected str instance, list found", "no object"};

    for (size_t i = 0; i < rec.n; i++)
        if (rec.items[i].action && strcmp(rec.items[i].action, "object_action") == 0)
            recorded = rec.items[i].text;
    CHECK(recorded);
    answers[0] =
        "{\"nodes\":{\"n1\":{\"status\":500,\"error\":\"sequence item 0: expected str instance, list found\"}},"
        "\"status\":1}";
    answers[1] = "{\"status\":\"1\",\"error\":\"not allowed\"}";
    answers[2] = "{\"nodes\":{\"n1\":{\"status\":0,\"data\":{\"ret\":3}}},\"status\":0}";
    /* The recorded node is another one. */
    answers[3] = recorded;
    answers[4] = "[]";
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct scene s;
        struct failing failing = {&s, answers[i]};

        scene_begin(&s);
        s.fake.answer = answer_set_failing;
        s.fake.answer_arg = &failing;
        fake_agent_set_status(&s.fake, scaler);
        fake_agent_listen(&s.fake);
        start_agent(&s);
        settle(&s);
        pass(&s, 0.1);
        world_until(&s.world, was_refused, &s);
        CHECK_INT(s.fake.n_set, 1);
        CHECK_INT(count_log(&s, "port not written back"), 1);
        if (!count_log(&s, words[i]))
            test_fail(__FILE__, __LINE__, "not said: %s\n%s", words[i], buf_cstr(&s.log));
        CHECK_INT(count_log(&s, "port written back"), 0);
        scene_end(&s);
    }
    recording_free(&rec);
}

/* ---- the owner ---- */

TEST(everything_can_be_put_again_for_a_store_that_lost_its_disk)
{
    struct scene s;

    scene_sync(&s, web_up);
    patch(&s, "");
    s.commits = 0;
    agent_put_all_again(s.agent);
    settle(&s);
    CHECK_INT(s.commits, 1);
    CHECK_VIEW(&s, "endpoint 10.0.0.1:80 up=1");
    CHECK_INT(s.fake.n_status, 2);
    scene_end(&s);
}

TEST(the_agent_can_be_let_go_at_any_moment)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");

    for (unsigned steps = 0; steps < 60; steps++) {
        struct scene s;

        scene_begin(&s);
        fake_agent_set_secret(&s.fake, "ns/sec/cert", "private_key", c->key_pem, "certificate_chain", c->pem, NULL);
        fake_agent_set_status(&s.fake, web_and_tls);
        fake_agent_listen(&s.fake);
        start_agent(&s);
        for (unsigned i = 0; i < steps; i++) {
            if (i == 4)
                send_patch(&s, "");
            loop_step(s.loop);
        }
        agent_free(s.agent);
        s.agent = NULL;
        settle(&s);
        scene_end(&s);
    }
}
