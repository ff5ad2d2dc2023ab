/*
 * The mirror: the recording of a real agent, patches at each depth, what does not fit, who gets traffic and who not,
 * scalers, secrets, and what a daemon that starts says.
 */
#include "server/mirror.h"

#include "tests/unit/mirror_help.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

/* ---- small data sets ---- */

#define EXPOSE_0 "\"expose#0\":{\"status\":\"n/a\",\"type\":\"expose.envoy\",\"info\":{\"port\":80}}"
#define IP(address, status)                                                                                          \
    "\"ip#1\":{\"status\":\"" status "\",\"type\":\"ip\",\"info\":{\"ipaddr\":\"" address                            \
    "\",\"expose\":[\"expose#0\"]}}"
#define RESOURCES(address, status) "\"resources\":{" IP(address, status) "," EXPOSE_0 "}"
#define IDLE "\"monitor\":{\"status\":\"idle\",\"placement\":\"\"}"
#define NODE(name, status, config)                                                                                   \
    "\"" name "\":{\"monitor\":{\"status\":\"idle\"},\"services\":{\"status\":{" status "},\"config\":{" config "}}" \
    "}"
#define CLUSTER(nodes) "{\"monitor\":{\"nodes\":{" nodes "}},\"cluster\":{\"nodes\":[\"n1\",\"n2\"]}}"

/* A failover service "web" that is up on n1 and not on n2. */
static const char two_nodes[] = CLUSTER(NODE(
    "n1",
    "\"web\":{\"updated\":1.5,\"topology\":\"failover\",\"avail\":\"up\"," RESOURCES("10.0.0.1", "up") "," IDLE "}",
    "\"web\":{\"updated\":10.5,\"csum\":\"c1\"}") "," NODE("n2",
                                                           "\"web\":{\"updated\":1.5,\"topology\":\"failover\","
                                                           "\"avail\":\"down\"," RESOURCES("10.0.0.2",
                                                                                           "down") "," IDLE "}",
                                                           "\"web\":{\"updated\":10.5,\"csum\":\"c1\"}"));

/* A flex service "web" that is up on both. */
static const char two_flex[] = CLUSTER(NODE(
    "n1", "\"web\":{\"topology\":\"flex\",\"avail\":\"up\"," RESOURCES("10.0.0.1", "up") "," IDLE "}",
    "") "," NODE("n2", "\"web\":{\"topology\":\"flex\",\"avail\":\"up\"," RESOURCES("10.0.0.2", "up") "," IDLE "}",
                 ""));

#define WEB(node) "\"monitor\",\"nodes\",\"" node "\",\"services\",\"status\",\"web\""

static uint64_t next_id;

/* One patch with these changes, the next id. */
static enum mirror_event patch(struct mirror *m, const char *changes)
{
    struct buf b = {0};
    struct err e = {0};
    enum mirror_event r;

    buf_printf(&b, "{\"kind\": \"patch\", \"id\": %llu, \"ts\": 1.5, \"data\": [%s]}", (unsigned long long)++next_id,
               changes);
    r = mirror_event(m, (char *)b.data, b.len, &e);
    buf_clear(&b);
    return r;
}

/* The service after a patch of these changes to a data set; and the same when the patch's effect is seen in a fetch
 * is the random test's business. Borrowed until the next call. */
static const char *after(const char *status, const char *changes, enum mirror_event expected, const char *path)
{
    static char text[4096];
    struct mirror *m = mirror_of(status);
    struct picture p = {0};

    picture_take(&p, m);
    CHECK_INT(patch(m, changes), expected);
    picture_take(&p, m);
    snprintf(text, sizeof(text), "%s", picture_service(&p, path));
    picture_clear(&p);
    mirror_free(m);
    return text;
}

#define CHECK_HAS(text, part)                                                                                        \
    do {                                                                                                             \
        const char *text_ = (text);                                                                                  \
        if (!strstr(text_, part))                                                                                    \
            test_fail(__FILE__, __LINE__, "not in it: %s\nit is: %s", part, text_);                                  \
    } while (0)
#define CHECK_HAS_NOT(text, part)                                                                                    \
    do {                                                                                                             \
        const char *text_ = (text);                                                                                  \
        if (strstr(text_, part))                                                                                     \
            test_fail(__FILE__, __LINE__, "in it: %s\nit is: %s", part, text_);                                      \
    } while (0)

/* ---- the recording ---- */

static void feed_in_pieces(struct mirror *m, const struct recorded *r, size_t piece, uint64_t *seed)
{
    struct err e = {0};

    mirror_status_begin(m);
    for (size_t at = 0; at < r->n;) {
        size_t n = piece ? piece : 1 + test_random(seed) % 777;

        n = n < r->n - at ? n : r->n - at;
        CHECK_INT(mirror_status_feed(m, r->text + at, n, &e), 0);
        at += n;
    }
    CHECK_INT(mirror_status_end(m, false, &e), 0);
}

/* Follows the recording as the agent's side does: the events before the first answer are kept for after it. Returns
 * the picture that came of it. */
static char *follow_recording(const struct recording *rec, size_t piece)
{
    struct mirror *m = mirror_new(0);
    struct picture p = {0};
    struct err e = {0};
    uint64_t seed = 7;
    bool fetched = false;
    char *text;

    mirror_follow(m);
    mirror_hold(m);
    for (size_t i = 0; i < rec->n; i++) {
        const struct recorded *r = &rec->items[i];

        if (r->is_event) {
            enum mirror_event result = mirror_event(m, r->text, r->n, &e);

            CHECK(result == MIRROR_NOISE || result == MIRROR_APPLIED);
        } else if (r->action && strcmp(r->action, "daemon_status") == 0 && !fetched) {
            feed_in_pieces(m, r, piece, &seed);
            CHECK(mirror_release(m, &e) <= MIRROR_APPLIED);
            fetched = true;
        }
        picture_take(&p, m);
    }
    CHECK_INT(mirror_last_id(m), 57);
    text = picture_text(&p);
    picture_clear(&p);
    mirror_free(m);
    return text;
}

TEST(the_recording_ends_in_the_state_that_the_agent_tells_at_its_end)
{
    struct recording rec = recording_load();
    const struct recorded *last = recording_last_status(&rec);
    char *wanted = text_of_status(last->text, last->n);
    const size_t pieces[] = {1 << 20, 1, 7, 0};

    CHECK_HAS(wanted, "test/svc/web1 vm test/svc/web1 ip#1 '127.0.7.9' UP 'up' expose#1\n");
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        char *got = follow_recording(&rec, pieces[i]);

        CHECK_STR(got, wanted);
        mem_free(got);
    }
    mem_free(wanted);
    recording_free(&rec);
}

TEST(each_step_of_the_recording_shows_in_the_facts)
{
    static const struct {
        const char *path, *part;
    } steps[] = {
        {"test/svc/web1", "'127.0.7.1' UP 'up' expose#0 expose#1\n"},
        {"test/svc/web2", "'127.0.7.2' NO 'down' expose#0\n"},
        {"test/svc/web2", "'127.0.7.2' UP 'up' expose#0\n"},
        {"test/svc/web1", "\"listener_port\":8081"},
        {"test/svc/web1", "\"lb_policy\":\"ring_hash\""},
        {"test/svc/web1", "'127.0.7.9' NO 'down' expose#0 expose#1\n"},
        {"test/svc/web1", "'127.0.7.9' UP 'up' expose#0 expose#1\n"},
        {"test/svc/web1", "'127.0.7.9' UP 'up' expose#1\n"},
    };
    struct recording rec = recording_load();
    struct mirror *m = mirror_new(0);
    struct picture p = {0};
    struct err e = {0};
    bool fetched = false;
    size_t seen = 0;

    for (size_t i = 0; i < rec.n; i++) {
        const struct recorded *r = &rec.items[i];

        if (r->is_event && fetched)
            CHECK(mirror_event(m, r->text, r->n, &e) <= MIRROR_APPLIED);
        else if (!fetched && r->action && strcmp(r->action, "daemon_status") == 0)
            fetched = feed_status(m, r->text, r->n, &e) == 0;
        picture_take(&p, m);
        while (seen < ARRAY_LEN(steps) && strstr(picture_service(&p, steps[seen].path), steps[seen].part))
            seen++;
    }
    CHECK_INT(seen, ARRAY_LEN(steps));
    CHECK_STR(picture_service(&p, "test/svc/web2"), "");
    picture_clear(&p);
    mirror_free(m);
    recording_free(&rec);
}

TEST(what_is_noise_in_the_recording_touches_nothing)
{
    struct recording rec = recording_load();
    struct mirror *m = mirror_new(0);
    struct picture p = {0};
    struct err e = {0};
    bool fetched = false;
    size_t noise = 0;

    for (size_t i = 0; i < rec.n; i++) {
        const struct recorded *r = &rec.items[i];
        bool ours = r->is_event && strstr(r->text, "\"nodes\"");

        if (r->is_event && fetched) {
            enum mirror_event result = mirror_event(m, r->text, r->n, &e);

            CHECK_INT(result, ours ? MIRROR_APPLIED : MIRROR_NOISE);
            noise += result == MIRROR_NOISE;
            picture_take(&p, m);
            CHECK(ours || p.taken == 0);
        } else if (!fetched && r->action && strcmp(r->action, "daemon_status") == 0) {
            fetched = feed_status(m, r->text, r->n, &e) == 0;
            picture_take(&p, m);
        }
    }
    CHECK_INT(noise, 20);
    CHECK_INT(mirror_stats(m).noise, 20);
    picture_clear(&p);
    mirror_free(m);
    recording_free(&rec);
}

TEST(the_csum_of_the_recorded_secret_is_told_when_it_changes)
{
    struct recording rec = recording_load();
    struct mirror *m = mirror_new(0);
    struct err e = {0};
    size_t changes = 0;

    for (size_t i = 0; i < rec.n; i++) {
        const struct recorded *r = &rec.items[i];
        const char *secret;

        if (r->is_event && changes)
            CHECK(mirror_event(m, r->text, r->n, &e) <= MIRROR_APPLIED);
        else if (!changes && r->action && strcmp(r->action, "daemon_status") == 0)
            CHECK_INT(feed_status(m, r->text, r->n, &e), 0);
        while ((secret = mirror_next_secret(m)) != NULL) {
            CHECK_STR(secret, "test/sec/web1-front-cert");
            changes++;
            CHECK_STR(mirror_secret_csum(m, secret),
                      changes == 1 ? "63bfe0843f91d66f0264e5a30ca6e306" : "1f75192ef26425748f297c14ccb5d47d");
        }
    }
    CHECK_INT(changes, 2);
    CHECK(mirror_secret_csum(m, "test/sec/absent") == NULL);
    mirror_free(m);
    recording_free(&rec);
}

TEST(the_scaler_of_the_recording_has_its_slaves_addresses)
{
    size_t n;
    char *status = file_text("tests/data/daemon_status-scaler.json", &n), *text = text_of_status(status, n);

    CHECK_HAS(text, "rscal expose#0 expose.envoy {\"lb_policy\":\"round robin\",\"listener_port\":0,\"port\":80,"
                    "\"protocol\":\"tcp\"}\n"
                    "rscal vm 0.rscal ip#1 '127.0.8.1' UP 'up' expose#0\n"
                    "rscal vm 1.rscal ip#1 '127.0.8.1' UP 'up' expose#0\n");
    CHECK_HAS(text, "test/svc/web1 vm test/svc/web1 ip#1 '127.0.7.9' NO 'down' expose#1\n");
    CHECK(strncmp(text, "0.rscal", 7) != 0);
    mem_free(text);
    mem_free(status);
}

TEST(the_order_of_keys_does_not_matter)
{
    static const char status[] =
        "{\"cluster\":{},\"monitor\":{\"nodes\":{\"n1\":{\"services\":{"
        "\"config\":{\"web\":{\"csum\":\"c1\",\"updated\":10.5}},"
        "\"status\":{\"web\":{\"resources\":{"
        "\"expose#0\":{\"info\":{\"port\":80,\"listener_port\":0},\"type\":\"expose.envoy\"},"
        "\"ip#1\":{\"info\":{\"expose\":[\"expose#0\"],\"ipaddr\":\"10.0.0.1\"},\"status\":\"up\"}}}}}}}}}";
    static const char other[] =
        "{\"monitor\":{\"nodes\":{\"n1\":{\"services\":{"
        "\"status\":{\"web\":{\"resources\":{"
        "\"ip#1\":{\"status\":\"up\",\"info\":{\"ipaddr\":\"10.0.0.1\",\"expose\":[\"expose#0\"]}},"
        "\"expose#0\":{\"type\":\"expose.envoy\",\"info\":{\"listener_port\":0,\"port\":80}}}}},"
        "\"config\":{\"web\":{\"updated\":10.5,\"csum\":\"c1\"}}}}}},\"cluster\":{}}";
    char *a = text_of_status(status, strlen(status)), *b = text_of_status(other, strlen(other));

    CHECK_STR(a, b);
    CHECK_HAS(a, "web expose#0 expose.envoy {\"listener_port\":0,\"port\":80}\n");
    mem_free(a);
    mem_free(b);
}

/* ---- patches ---- */

TEST(a_patch_may_end_at_any_depth)
{
    CHECK_HAS(after(two_nodes, "[[" WEB("n2") ",\"resources\",\"ip#1\",\"status\"],\"up\"]", MIRROR_APPLIED, "web"),
              "web n2 web ip#1 '10.0.0.2' UP");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"ipaddr\"],\"10.0.0.9\"]",
                    MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '10.0.0.9' UP");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\",1],\"expose#1\"]",
                    MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '10.0.0.1' UP 'up' expose#0 expose#1\n");
    CHECK_HAS(after(two_nodes,
                    "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\"],{\"ipaddr\":\"10.0.0.8\",\"expose\":"
                                   "[\"80/tcp:8080\",\"expose#0\"]}]",
                    MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '10.0.0.8' UP 'up' expose#0\n");
    CHECK_HAS(after(two_nodes,
                    "[[" WEB("n1") ",\"resources\",\"expose#0\",\"info\",\"port\"],81],"
                                   "[[" WEB("n2") ",\"resources\",\"expose#0\",\"info\",\"port\"],81]",
                    MIRROR_APPLIED, "web"),
              "web expose#0 expose.envoy {\"port\":81}\n");
    CHECK_HAS(after(two_nodes,
                    "[[" WEB("n1") ",\"resources\",\"vhost#0\"],{\"type\":\"vhost.envoy\",\"info\":"
                                   "{\"domains\":[\"a\",\"b\"]}}],"
                                   "[[" WEB("n1") ",\"resources\",\"vhost#0\",\"info\",\"domains\",1]]",
                    MIRROR_APPLIED, "web"),
              "web vhost#0 vhost.envoy {\"domains\":[\"a\"]}\n");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"resources\"],{" IP("10.0.0.7", "up") "," EXPOSE_0 "}]",
                    MIRROR_APPLIED, "web"),
              "'10.0.0.7' UP");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") "],{" RESOURCES("10.0.0.6", "up") "}]", MIRROR_APPLIED, "web"),
              "'10.0.0.6' UP");
    CHECK_HAS(
        after(two_nodes,
              "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"status\"],{\"web\":{" RESOURCES("10.0.0.5", "up") "}}]",
              MIRROR_APPLIED, "web"),
        "'10.0.0.5' UP");
    CHECK_HAS(after(two_nodes,
                    "[[\"monitor\",\"nodes\",\"n1\",\"services\"],{\"status\":{\"web\":{" RESOURCES("10.0.0.4",
                                                                                                    "up") "}}}]",
                    MIRROR_APPLIED, "web"),
              "'10.0.0.4' UP");
    CHECK_HAS(after(two_nodes,
                    "[[\"monitor\",\"nodes\",\"n3\"],{\"services\":{\"status\":{\"web\":{" RESOURCES("10.0.0.3",
                                                                                                     "up") "}}}}]",
                    MIRROR_APPLIED, "web"),
              "web n3 web ip#1 '10.0.0.3' UP");
    CHECK_HAS(after(two_nodes,
                    "[[\"monitor\",\"nodes\"],{\"n4\":{\"services\":{\"status\":{\"web\":{" RESOURCES("10.0.0.3",
                                                                                                      "up") "}}}}}]",
                    MIRROR_APPLIED, "web"),
              "web n4 web ip#1 '10.0.0.3' UP");
    CHECK_HAS(after(two_nodes,
                    "[[\"monitor\"],{\"nodes\":{\"n5\":{\"services\":{\"status\":{\"web\":{" RESOURCES(
                        "10.0.0.3", "up") "}}}}}}]",
                    MIRROR_APPLIED, "web"),
              "web n5 web ip#1 '10.0.0.3' UP");
    CHECK_HAS(after(two_nodes,
                    "[[],{\"monitor\":{\"nodes\":{\"n6\":{\"services\":{\"status\":{\"web\":{" RESOURCES(
                        "10.0.0.3", "up") "}}}}}}}]",
                    MIRROR_APPLIED, "web"),
              "web n6 web ip#1 '10.0.0.3' UP");
}

TEST(a_removal_may_end_at_any_depth)
{
    static const char *const gone[] = {
        "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\"]]",
        "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\",0]]",
        "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\"]]",
        "[[" WEB("n1") ",\"resources\",\"ip#1\"]]",
        "[[" WEB("n1") ",\"resources\"]]",
        "[[" WEB("n1") "]]",
        "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"status\"]]",
        "[[\"monitor\",\"nodes\",\"n1\",\"services\"]]",
        "[[\"monitor\",\"nodes\",\"n1\"]]",
        "[[\"monitor\",\"nodes\",\"n1\"],null]",
    };
    /* What is declared stays declared: losing nodes deletes nothing. */
    static const char *const both_lost[] = {
        "[[\"monitor\",\"nodes\"]]",
        "[[\"monitor\"]]",
        "[[],{}]",
        "[[\"monitor\",\"nodes\"],{\"n1\":null,\"n2\":{}}]",
        "[[\"monitor\",\"nodes\",\"n1\"],null],[[\"monitor\",\"nodes\",\"n2\"]]",
        "[[\"monitor\",\"nodes\",\"n1\",\"services\"]],[[\"monitor\",\"nodes\",\"n2\",\"services\",\"status\"],7]",
    };

    for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
        const char *text = after(two_nodes, gone[i], MIRROR_APPLIED, "web");

        CHECK_HAS_NOT(text, "web n1 web ip#1");
        CHECK_HAS(text, "web n2 web ip#1 '10.0.0.2' NO 'down' expose#0\n");
    }
    for (size_t i = 0; i < ARRAY_LEN(both_lost); i++)
        CHECK_STR(after(two_nodes, both_lost[i], MIRROR_APPLIED, "web"), "web expose#0 expose.envoy {\"port\":80}\n");
    CHECK_STR(after(two_nodes, "[[" WEB("n1") "]],[[" WEB("n2") "]]", MIRROR_APPLIED, "web"), "");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"status\"]]", MIRROR_APPLIED, "web"),
              "'10.0.0.1' NO 'unknown'");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"ipaddr\"]]", MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '' UP");
}

TEST(what_does_not_fit_is_a_misfit_and_the_whole_patch_has_no_effect)
{
    static const char *const misfits[] = {
        "[[" WEB("n3") ",\"resources\",\"ip#1\",\"status\"],\"up\"]",
        "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"status\",\"other\",\"resources\",\"ip#1\",\"status\"],\"up\"]",
        "[[" WEB("n1") ",\"resources\",\"ip#2\",\"status\"],\"up\"]",
        "[[" WEB("n1") ",\"resources\",\"expose#7\",\"info\",\"port\"],1]",
        "[[" WEB("n1") ",\"resources\",\"expose#0\",\"info\",\"a\",\"b\"],1]",
        "[[" WEB("n1") ",\"resources\",\"expose#0\",\"info\",\"port\",\"b\"],1]",
        "[[" WEB("n1") ",\"resources\",\"expose#0\",\"info\",0],1]",
        "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\",2],\"expose#1\"]",
        "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\",\"x\"],\"expose#1\"]",
        "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\",1]]",
        "[[" WEB("n1") ",\"resources\",\"ip#2\"]]",
        "[[" WEB("n1") ",\"resources\",0],1]",
        "[[" WEB("n1") ",\"monitor\",\"global_expect\"]]",
        "[[" WEB("n1") ",\"scaler_slaves\"]]",
        "[[\"monitor\",\"nodes\",\"n3\"]]",
        "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"status\",\"other\"]]",
        "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"config\",\"other\",\"csum\"],\"x\"]",
        "[[]]",
        "[[\"monitor\",\"nodes\",\"n1\"],null],[[" WEB("n1") ",\"resources\",\"ip#1\",\"status\"],\"up\"]",
        "[[" WEB("n1") ",\"resources\"],7],[[" WEB("n1") ",\"resources\",\"ip#1\",\"status\"],\"up\"]",
        "[[" WEB("n1") ",\"resources\",\"ip#1\",\"status\"],\"up\",1]",
        "[[" WEB("n1") ",\"resources\",{}],1]",
        "[[\"monitor\",1.5],1]",
        "7",
        "[7]",
    };
    /* Each of them undoes all that came before it. */
    static const char before[] = "[[" WEB(
        "n1") ",\"resources\",\"ip#1\",\"status\"],\"down\"],"
              "[[" WEB("n2") "]],"
                             "[[\"monitor\",\"nodes\",\"n1\",\"monitor\",\"status\"],\"draining\"],"
                             "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"status\",\"new\"],{" RESOURCES(
                                 "10.0.0.3", "up") "}],"
                                                   "[[\"monitor\",\"nodes\",\"n2\"],null],"
                                                   "[[\"monitor\",\"nodes\",\"n9\"],{\"services\":{\"status\":{}}}],";
    char *wanted = text_of_status(two_nodes, strlen(two_nodes));

    for (size_t i = 0; i < ARRAY_LEN(misfits); i++) {
        struct mirror *m = mirror_of(two_nodes);
        struct picture p = {0};
        struct buf both = {0};
        char *got;

        picture_take(&p, m);
        buf_append_str(&both, before);
        buf_append_str(&both, misfits[i]);
        if (patch(m, misfits[i]) != MIRROR_MISFIT || patch(m, buf_cstr(&both)) != MIRROR_MISFIT)
            test_fail(__FILE__, __LINE__, "no misfit: %s", misfits[i]);
        picture_take(&p, m);
        CHECK_INT(p.taken, 0);
        /* And nothing half-done is left. */
        CHECK_INT(patch(m, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"status\"],\"up\"]"), MIRROR_APPLIED);
        mirror_touch_all(m);
        picture_take(&p, m);
        got = picture_text(&p);
        CHECK_STR(got, wanted);
        mem_free(got);
        buf_clear(&both);
        picture_clear(&p);
        mirror_free(m);
    }
    mem_free(wanted);
}

TEST(a_misfit_names_its_path)
{
    struct mirror *m = mirror_of(two_nodes);
    static const char message[] =
        "{\"kind\":\"patch\",\"id\":1,\"data\":[[[" WEB("n1") ",\"resources\",\"ip#7\",\"info\",\"expose\",0],1]]}";
    struct err e = {0};

    CHECK_INT(mirror_event(m, message, strlen(message), &e), MIRROR_MISFIT);
    CHECK_STR(e.field, "monitor.nodes.n1.services.status.web.resources.ip#7.info.expose[0]");
    CHECK_HAS(e.text, "does not exist");
    mirror_free(m);
}

TEST(changes_of_what_is_not_kept_are_noise_whatever_they_hold)
{
    static const char *const noise[] = {
        "[[\"listener\",\"stats\",\"x\",7],1]",
        "[[\"scheduler\",\"delayed\",2],{\"a\":[1,\"]\\\"\"]}]",
        "[[\"monitor\",\"services\",\"web\",\"avail\"],\"up\"]",
        "[[\"monitor\",\"nodes\",\"n1\",\"stats\",\"load\"],1]",
        "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"status\",\"ns/vol/x\"],{}]",
        "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"status\",\"web\",\"csum\"],\"x\"]",
        "[[" WEB("n1") ",\"resources\",\"disk#1\"],{}]",
        "[[" WEB("n1") ",\"resources\",\"expose#0\",\"label\"],\"x\"]",
        "[[" WEB("n1") ",\"resources\",\"ip#1\",\"provisioned\",\"state\"],true]",
        "[[" WEB("n1") ",\"monitor\",\"local_expect\"]]",
        "",
    };
    struct mirror *m = mirror_of(two_nodes);

    for (size_t i = 0; i < ARRAY_LEN(noise); i++)
        if (patch(m, noise[i]) != MIRROR_NOISE)
            test_fail(__FILE__, __LINE__, "no noise: %s", noise[i]);
    mirror_free(m);
}

TEST(times_and_checksums_alone_touch_nothing)
{
    struct mirror *m = mirror_of(two_nodes);
    struct picture p = {0};

    picture_take(&p, m);
    CHECK_INT(p.taken, 1);
    CHECK_INT(patch(m, "[[" WEB("n1") ",\"updated\"],99.5]"), MIRROR_APPLIED);
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"config\",\"web\",\"updated\"],99.5],"
                       "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"config\",\"web\",\"csum\"],\"c2\"]"),
              MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_INT(p.taken, 0);
    picture_clear(&p);
    mirror_free(m);
}

TEST(wrong_types_harm_nothing_else)
{
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"status\"],5]", MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '10.0.0.1' NO 'unknown' expose#0\n");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"ipaddr\"],{\"a\":1}]",
                    MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '' UP 'up' expose#0\n");
    CHECK_HAS_NOT(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\"],[1]]", MIRROR_APPLIED, "web"),
                  "web n1 web ip#1");
    CHECK_HAS_NOT(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\"],\"expose#0\"]",
                        MIRROR_APPLIED, "web"),
                  "web n1 web ip#1");
    CHECK_HAS(after(two_nodes,
                    "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\"],[7,null,{},\"expose#0\"]]",
                    MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '10.0.0.1' UP 'up' expose#0\n");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"vhost#0\"],{\"type\":7,\"info\":[1]}]",
                    MIRROR_APPLIED, "web"),
              "web vhost#0  {}\n");
    CHECK_HAS_NOT(after(two_nodes, "[[" WEB("n1") ",\"resources\",\"vhost#0\"],null]", MIRROR_APPLIED, "web"),
                  "vhost#0");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"monitor\"],[]]", MIRROR_APPLIED, "web"), "'10.0.0.1' UP");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"scaler_slaves\"],\"0.web\"]", MIRROR_APPLIED, "web"),
              "'10.0.0.1' UP");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") "],7]", MIRROR_APPLIED, "web"), "web n2 web");
    CHECK_HAS(
        after(two_nodes, "[[" WEB("n1") ",\"updated\"],\"2026-11-22T23:31:53.815048Z\"]", MIRROR_APPLIED, "web"),
        "'10.0.0.1' UP");
}

TEST(json_that_is_too_deep_spoils_its_own_resource_only)
{
    struct mirror *m = mirror_of(two_nodes);
    struct picture p = {0};
    struct buf b = {0};

    picture_take(&p, m);
    buf_append_str(&b, "[[" WEB("n1") ",\"resources\",\"route#0\"],{\"type\":\"route.envoy\",\"info\":{\"a\":");
    for (size_t i = 0; i < 5000; i++)
        buf_append_byte(&b, '[');
    for (size_t i = 0; i < 5000; i++)
        buf_append_byte(&b, ']');
    buf_append_str(&b, "}}]");
    CHECK_INT(patch(m, buf_cstr(&b)), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "web"), "null");
    CHECK_HAS(picture_service(&p, "web"), "'10.0.0.1' UP");
    buf_clear(&b);
    picture_clear(&p);
    mirror_free(m);
}

/* ---- messages and ids ---- */

TEST(a_gap_is_reported_once_and_the_count_goes_on_from_there)
{
    struct mirror *m = mirror_of(two_nodes);

    next_id = 100;
    CHECK_INT(patch(m, ""), MIRROR_NOISE);
    CHECK_INT(patch(m, ""), MIRROR_NOISE);
    next_id++;
    CHECK_INT(patch(m, "[[" WEB("n1") "]]"), MIRROR_GAP);
    CHECK_INT(patch(m, ""), MIRROR_NOISE);
    next_id = 50;
    CHECK_INT(patch(m, ""), MIRROR_GAP);
    CHECK_INT(patch(m, ""), MIRROR_NOISE);
    mirror_follow(m);
    next_id = 7000;
    CHECK_INT(patch(m, "[[" WEB("n1") "]]"), MIRROR_APPLIED);
    CHECK_INT(mirror_last_id(m), 7001);
    mirror_free(m);
}

TEST(messages_that_are_no_patch_are_told_apart)
{
    static const struct {
        const char *message;
        enum mirror_event wanted;
        const char *words;
    } cases[] = {
        {"{\"kind\":\"event\",\"id\":\"node_freeze\",\"ts\":1,\"data\":{\"a\":[]}}", MIRROR_NOISE, ""},
        {"{\"data\":[],\"id\":1,\"ts\":1,\"kind\":\"patch\"}", MIRROR_NOISE, ""},
        {" { \"data\" : [ [ [ \"monitor\" , \"nodes\" , \"n1\" ] , null ] ] , \"id\" : 2 , \"kind\" : \"patch\" } \n",
         MIRROR_APPLIED, ""},
        {"{\"status\":500,\"error\":\"not supported\"}", MIRROR_MISFIT, "the agent answers: not supported"},
        {"{\"kind\":\"patch\",\"id\":3}", MIRROR_MISFIT, "no event"},
        {"{\"kind\":\"patch\",\"id\":\"x\",\"data\":[]}", MIRROR_MISFIT, "no event"},
        {"{\"kind\":\"patch\",\"id\":3,\"data\":{}}", MIRROR_MISFIT, "no event"},
        {"{\"kind\":7,\"id\":3,\"data\":[]}", MIRROR_MISFIT, "no event"},
        {"[]", MIRROR_MISFIT, "no event"},
        {"", MIRROR_MISFIT, "ends too early"},
        {"{\"kind\":\"patch\",\"id\":3,\"data\":[[[\"listener\"],1]", MIRROR_MISFIT, "ends too early"},
        {"{\"kind\":\"patch\",\"id\":3,\"data\":[[[\"listener\"],1]]} x", MIRROR_MISFIT, "expected the end"},
        {"{\"kind\":\"patch\",\"id\":3,\"data\":[[[\"monitor\",\"nodes\",\"n2\"],{\"a\":tru}]]}", MIRROR_MISFIT,
         "expected a value"},
        {"{\"kind\":\"patch\",\"id\":4,\"data\":[[[\"monitor\\u002c\"],{}]]}", MIRROR_APPLIED, ""},
    };
    struct mirror *m = mirror_of(two_nodes);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        enum mirror_event got = mirror_event(m, cases[i].message, strlen(cases[i].message), &e);

        if (got != cases[i].wanted || !strstr(e.text, cases[i].words))
            test_fail(__FILE__, __LINE__, "%s: %d, %s", cases[i].message, got, e.text);
    }
    mirror_free(m);
}

TEST(events_that_come_while_the_whole_is_fetched_are_applied_to_what_was_fetched)
{
    struct mirror *m = mirror_of(two_nodes);
    struct picture p = {0};
    struct err e = {0};

    picture_take(&p, m);
    mirror_hold(m);
    /* Some of it is in the answer already: to remove n2's service and to add a node n3 that is gone again. */
    CHECK_INT(patch(m, "[[" WEB("n2") ",\"resources\",\"ip#1\",\"status\"],\"up\"],[[" WEB("n2") "]]"),
              MIRROR_APPLIED);
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n3\"],null]"), MIRROR_APPLIED);
    CHECK_INT(patch(m, "[[" WEB("n3") ",\"resources\",\"ip#1\",\"status\"],\"up\"],[[\"monitor\",\"nodes\",\"n3\"]]"),
              MIRROR_APPLIED);
    CHECK_INT(patch(m, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"ipaddr\"],\"10.0.0.9\"]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_INT(p.taken, 0);
    static const char fetched[] =
        CLUSTER(NODE("n1", "\"web\":{" RESOURCES("10.0.0.1", "up") "}", "") "," NODE("n2", "", ""));
    CHECK_INT(feed_status(m, fetched, strlen(fetched), &e), 0);
    CHECK_INT(mirror_release(m, &e), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_STR(picture_service(&p, "web"), "web expose#0 expose.envoy {\"port\":80}\n"
                                          "web n1 web ip#1 '10.0.0.9' UP 'up' expose#0\n");
    picture_clear(&p);
    mirror_free(m);
}

TEST(a_list_that_shifted_during_a_fetch_is_fetched_again)
{
    struct mirror *m = mirror_of(two_nodes);
    struct err e = {0};

    mirror_hold(m);
    CHECK_INT(patch(m, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\"],[\"expose#0\",\"expose#1\"]],"
                                      "[[" WEB("n1") ",\"resources\",\"ip#1\",\"info\",\"expose\",0]]"),
              MIRROR_APPLIED);
    CHECK_INT(mirror_release(m, &e), MIRROR_MISFIT);
    mirror_free(m);
}

TEST(too_many_events_during_a_fetch_are_a_gap)
{
    struct mirror *m = mirror_of(two_nodes);
    struct buf b = {0};
    struct err e = {0};

    buf_append_str(&b, "[[" WEB("n1") ",\"resources\",\"expose#0\",\"info\",\"sni\"],\"");
    for (size_t i = 0; i < (MIRROR_QUEUE_MAX / 8) - 100; i++)
        buf_append_byte(&b, 'x');
    buf_append_str(&b, "\"]");
    mirror_hold(m);
    for (size_t i = 0; i < 9; i++)
        CHECK_INT(patch(m, buf_cstr(&b)), MIRROR_APPLIED);
    CHECK_INT(mirror_release(m, &e), MIRROR_GAP);
    /* A new fetch starts with nothing kept. */
    mirror_hold(m);
    CHECK_INT(mirror_release(m, &e), MIRROR_NOISE);
    buf_clear(&b);
    mirror_free(m);
}

/* ---- fetches ---- */

TEST(a_fetch_touches_only_what_differs)
{
    struct mirror *m = mirror_of(two_nodes);
    struct picture p = {0};
    struct err e = {0};

    picture_take(&p, m);
    CHECK_INT(feed_status(m, two_nodes, strlen(two_nodes), &e), 0);
    picture_take(&p, m);
    CHECK_INT(p.taken, 0);
    CHECK_INT(feed_status(m, two_flex, strlen(two_flex), &e), 0);
    picture_take(&p, m);
    CHECK_INT(p.taken, 1);
    mirror_touch_all(m);
    picture_take(&p, m);
    CHECK_INT(p.taken, 1);
    picture_clear(&p);
    mirror_free(m);
}

TEST(a_fetch_that_fails_leaves_the_old_content)
{
    static const struct {
        const char *answer;
        int code;
        const char *words;
    } cases[] = {
        {"{\"status\":500,\"error\":\"no such action\"}", -EBADMSG, "no such action"},
        {"{}", -EBADMSG, "no data set"},
        {"[]", -EBADMSG, "no data set"},
        {"{\"monitor\":{\"nodes\":null}}", -EBADMSG, "no data set"},
        {"{\"monitor\":{\"nodes\":{\"n1\":{\"services\":{\"status\":{", -EBADMSG, "ends too early"},
        {"{\"monitor\":{\"nodes\":{}}}}", -EBADMSG, "expected the end"},
        {"{\"monitor\":{\"nodes\":{}}}", -EAGAIN, "no node has told"},
        {"{\"monitor\":{\"nodes\":{\"n1\":null}}}", -EAGAIN, "no node has told"},
    };
    struct mirror *m = mirror_of(two_nodes);
    struct picture p = {0};
    char *wanted, *got;

    picture_take(&p, m);
    wanted = picture_text(&p);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};

        CHECK_INT(feed_status(m, cases[i].answer, strlen(cases[i].answer), &e), cases[i].code);
        CHECK_HAS(e.text, cases[i].words);
        picture_take(&p, m);
        CHECK_INT(p.taken, 0);
    }
    mirror_touch_all(m);
    picture_take(&p, m);
    got = picture_text(&p);
    CHECK_STR(got, wanted);
    mem_free(got);
    mem_free(wanted);
    picture_clear(&p);
    mirror_free(m);
}

#define STATE(node, state) "[[\"monitor\",\"nodes\",\"" node "\",\"monitor\",\"status\"],\"" state "\"]"
#define STARTING(name, state, status)                                                                                \
    "\"" name "\":{\"monitor\":{\"status\":\"" state "\"},\"services\":{\"status\":{" status "},\"config\":{}}}"

TEST(a_part_of_the_picture_is_no_start_unless_it_must_be)
{
    static const char init[] = CLUSTER(STARTING("n1", "init", ""));
    struct mirror *m = mirror_new(0);
    struct err e = {0};
    bool settled;

    CHECK_INT(feed_status(m, init, strlen(init), &e), -EAGAIN);
    CHECK_HAS(e.text, "n1 is starting");
    mirror_status_begin(m);
    CHECK_INT(mirror_status_feed(m, init, strlen(init), &e), 0);
    CHECK_INT(mirror_status_end(m, true, &e), 0);
    CHECK(mirror_is_partial(m, &settled) && !settled);
    mirror_free(m);
}

TEST(what_a_starting_daemon_does_not_tell_stays_as_it_was)
{
    static const char init[] =
        CLUSTER(STARTING("n1", "init", "\"new\":{" RESOURCES("10.0.0.7", "up") "}") "," NODE("n2", "", ""));
    static const char rejoin[] = CLUSTER(STARTING("n1", "rejoin", "\"web\":{" RESOURCES("10.0.0.1", "up") "}"));
    static const char settled[] = CLUSTER(NODE("n1", "", "") "," NODE("n2", "", ""));
    struct mirror *m = mirror_of(two_flex);
    struct picture p = {0};
    struct err e = {0};
    bool is_settled;

    CHECK_INT(feed_status(m, init, strlen(init), &e), 0);
    CHECK_HAS(e.text, "n1 is starting");
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "web"), "web n1 web ip#1 '10.0.0.1' UP");
    CHECK_HAS_NOT(picture_service(&p, "web"), "web n2");
    CHECK_HAS(picture_service(&p, "new"), "'10.0.0.7' UP");
    CHECK(mirror_is_partial(m, &is_settled) && !is_settled);
    CHECK_INT(patch(m, STATE("n1", "idle")), MIRROR_APPLIED);
    CHECK(mirror_is_partial(m, &is_settled) && is_settled);
    CHECK_INT(feed_status(m, two_flex, strlen(two_flex), &e), 0);
    /* A node that is not heard of yet. */
    CHECK_INT(feed_status(m, rejoin, strlen(rejoin), &e), 0);
    CHECK_HAS(e.text, "waits for the others");
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "web"), "web n2 web ip#1 '10.0.0.2' UP");
    CHECK(mirror_is_partial(m, &is_settled) && !is_settled);
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n2\"],{\"services\":{\"status\":{}}}]"), MIRROR_APPLIED);
    CHECK(mirror_is_partial(m, &is_settled) && is_settled);
    picture_take(&p, m);
    CHECK_HAS_NOT(picture_service(&p, "web"), "web n2");
    /* The whole has the last word. */
    CHECK_INT(feed_status(m, settled, strlen(settled), &e), 0);
    picture_take(&p, m);
    CHECK_INT(p.services.count, 0);
    CHECK(!mirror_is_partial(m, &is_settled));
    picture_clear(&p);
    mirror_free(m);
}

TEST(what_a_lost_node_declared_stays_declared_until_it_speaks_or_the_whole_lacks_it)
{
    static const char only_n2[] = CLUSTER(NODE("n1", "", "") "," NODE(
        "n2",
        "\"web\":{" RESOURCES("10.0.0.2", "up") "},\"s\":{\"scaler_slaves\":[\"0.s\"]},"
                                                "\"0.s\":{\"scaler_slave\":true," RESOURCES("10.0.0.3", "up") "}",
        ""));
    static const char without_n2[] = CLUSTER(NODE("n1", "", "") ",\"n2\":null");
    static const char declared[] = " expose#0 expose.envoy {\"port\":80}\n";
    struct mirror *m = mirror_of(only_n2);
    struct picture p = {0};
    struct err e = {0};

    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n2\"],null]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "web"), declared);
    CHECK_HAS(picture_service(&p, "s"), declared);
    CHECK_HAS_NOT(picture_service(&p, "web"), "ip#1");
    CHECK_HAS_NOT(picture_service(&p, "s"), "ip#1");
    CHECK_INT(p.services.count, 2);
    /* It is nothing that could be changed. */
    CHECK_INT(patch(m, "[[" WEB("n2") ",\"resources\",\"ip#1\",\"status\"],\"down\"]"), MIRROR_MISFIT);
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n2\"]]"), MIRROR_APPLIED);
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n2\"]]"), MIRROR_MISFIT);
    /* Another node declares it: its word counts. */
    CHECK_INT(
        patch(m,
              "[[" WEB("n1") "],{\"resources\":{\"expose#0\":{\"type\":\"expose.envoy\",\"info\":{\"port\":81}}}}]"),
        MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_STR(picture_service(&p, "web"), "web expose#0 expose.envoy {\"port\":81}\n");
    CHECK_INT(patch(m, "[[" WEB("n1") "]]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "web"), declared);
    /* It speaks, and does not have one of them any more. */
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n2\"],{\"services\":{\"status\":{\"web\":{" RESOURCES(
                           "10.0.0.2", "up") "}}}}]"),
              MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "web"), "'10.0.0.2' UP");
    CHECK_STR(picture_service(&p, "s"), "");
    /* The whole lacks it. */
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n2\"],null]"), MIRROR_APPLIED);
    CHECK_INT(feed_status(m, without_n2, strlen(without_n2), &e), 0);
    picture_take(&p, m);
    CHECK_INT(p.services.count, 0);
    picture_clear(&p);
    mirror_free(m);
}

TEST(a_status_beyond_the_maximum_is_refused)
{
    struct mirror *m = mirror_new(100);
    struct err e = {0};

    CHECK_INT(feed_status(m, two_nodes, strlen(two_nodes), &e), -EMSGSIZE);
    mirror_free(m);
}

/* ---- traffic only to what is up ---- */

static const char *with_state(const char *status, const char *node, const char *state)
{
    struct buf b = {0};
    const char *text;

    buf_printf(&b, "[[\"monitor\",\"nodes\",\"%s\",\"services\",\"status\",\"web\",\"monitor\",\"status\"],\"%s\"]",
               node, state);
    text = after(status, buf_cstr(&b), MIRROR_APPLIED, "web");
    buf_clear(&b);
    return text;
}

static const char *with_expect(const char *status, const char *node, const char *expect)
{
    struct buf b = {0};
    const char *text;

    buf_printf(
        &b, "[[\"monitor\",\"nodes\",\"%s\",\"services\",\"status\",\"web\",\"monitor\",\"global_expect\"],\"%s\"]",
        node, expect);
    text = after(status, buf_cstr(&b), MIRROR_APPLIED, "web");
    buf_clear(&b);
    return text;
}

TEST(an_instance_that_is_being_stopped_gets_no_traffic)
{
    static const char *const leaving[] = {
        "stopping",   "shutting",           "tocing",       "unprovisioning", "purging", "deleting", "stop failed",
        "toc failed", "unprovision failed", "purge failed", "shutdown failed"};
    static const char *const staying[] = {
        "idle",         "ready",        "restarting",    "freezing",      "thawing",  "placing",  "syncing",
        "start failed", "wait parents", "wait children", "delete failed", "anything", "starting", "provisioning"};

    for (size_t i = 0; i < ARRAY_LEN(leaving); i++)
        CHECK_HAS(with_state(two_nodes, "n1", leaving[i]), "web n1 web ip#1 '10.0.0.1' NO");
    CHECK_HAS(with_state(two_nodes, "n1", "stopping"), "'10.0.0.1' NO 'stopping'");
    for (size_t i = 0; i < ARRAY_LEN(staying); i++)
        CHECK_HAS(with_state(two_nodes, "n1", staying[i]), "web n1 web ip#1 '10.0.0.1' UP");
}

TEST(an_instance_that_starts_gets_traffic_once_all_of_it_is_up)
{
    CHECK_HAS(after(two_nodes,
                    "[[" WEB("n1") ",\"avail\"],\"warn\"],[[" WEB("n1") ",\"monitor\",\"status\"],\"starting\"]",
                    MIRROR_APPLIED, "web"),
              "'10.0.0.1' NO 'starting'");
    CHECK_HAS(after(two_nodes, "[[" WEB("n1") ",\"avail\"],\"warn\"]", MIRROR_APPLIED, "web"), "'10.0.0.1' UP 'up'");
}

TEST(an_instance_that_is_expected_elsewhere_or_gone_gets_no_traffic)
{
    static const char *const leaving[] = {"stopped",       "shutdown",  "deleted",     "purged",
                                          "unprovisioned", "placed@n2", "placed@n2,n3"};
    static const char *const staying[] = {"started",   "frozen",       "thawed",  "aborted", "provisioned",
                                          "placed@n1", "placed@n2,n1", "placed@", "placed",  ""};

    for (size_t i = 0; i < ARRAY_LEN(leaving); i++)
        CHECK_HAS(with_expect(two_nodes, "n1", leaving[i]), "web n1 web ip#1 '10.0.0.1' NO");
    for (size_t i = 0; i < ARRAY_LEN(staying); i++)
        CHECK_HAS(with_expect(two_nodes, "n1", staying[i]), "web n1 web ip#1 '10.0.0.1' UP");
    CHECK_HAS(with_expect(two_nodes, "n1", "placed@n2"), "'10.0.0.1' NO 'placed@n2'");
    /* "placed": to the leader, where there is one. */
    CHECK_HAS(after(two_nodes,
                    "[[" WEB("n1") ",\"monitor\",\"global_expect\"],\"placed\"],"
                                   "[[" WEB("n2") ",\"monitor\",\"placement\"],\"leader\"]",
                    MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '10.0.0.1' NO 'placed'");
    CHECK_HAS(after(two_nodes,
                    "[[" WEB("n1") ",\"monitor\",\"global_expect\"],\"placed\"],"
                                   "[[" WEB("n1") ",\"monitor\",\"placement\"],\"leader\"],"
                                                  "[[" WEB("n2") ",\"monitor\",\"placement\"],\"leader\"]",
                    MIRROR_APPLIED, "web"),
              "web n1 web ip#1 '10.0.0.1' UP 'up'");
}

TEST(a_node_that_is_drained_gets_no_traffic_one_that_is_maintained_does)
{
#define NODE_STATE(node, state) "[[\"monitor\",\"nodes\",\"" node "\",\"monitor\",\"status\"],\"" state "\"]"
    CHECK_HAS(after(two_nodes, NODE_STATE("n1", "draining"), MIRROR_APPLIED, "web"), "'10.0.0.1' NO 'draining'");
    CHECK_HAS(after(two_nodes, NODE_STATE("n1", "shutting"), MIRROR_APPLIED, "web"), "'10.0.0.1' NO 'shutting'");
    CHECK_HAS(after(two_nodes, NODE_STATE("n1", "maintenance"), MIRROR_APPLIED, "web"), "'10.0.0.1' UP 'up'");
    CHECK_HAS(after(two_nodes, NODE_STATE("n1", "upgrade"), MIRROR_APPLIED, "web"), "'10.0.0.1' UP 'up'");
    CHECK_HAS(after(two_nodes, NODE_STATE("n1", "rejoin"), MIRROR_APPLIED, "web"), "'10.0.0.1' UP 'up'");
    CHECK_HAS(after(two_nodes, NODE_STATE("n1", "draining") "," NODE_STATE("n1", "idle"), MIRROR_APPLIED, "web"),
              "'10.0.0.1' UP 'up'");
}

TEST(of_a_flex_service_an_intent_counts_only_while_others_stay_up)
{
    const char *text = with_state(two_flex, "n1", "stopping");

    CHECK_HAS(text, "'10.0.0.1' NO 'stopping'");
    CHECK_HAS(text, "'10.0.0.2' UP 'up'");
    /* Both go: both are served until they are down. */
    text = after(two_flex,
                 "[[" WEB("n1") ",\"monitor\",\"global_expect\"],\"stopped\"],"
                                "[[" WEB("n2") ",\"monitor\",\"global_expect\"],\"stopped\"]",
                 MIRROR_APPLIED, "web");
    CHECK_HAS(text, "'10.0.0.1' UP 'stopped'");
    CHECK_HAS(text, "'10.0.0.2' UP 'stopped'");
    /* The other is down. */
    text = after(two_flex,
                 "[[" WEB("n1") ",\"monitor\",\"status\"],\"stopping\"],"
                                "[[" WEB("n2") ",\"resources\",\"ip#1\",\"status\"],\"down\"]",
                 MIRROR_APPLIED, "web");
    CHECK_HAS(text, "'10.0.0.1' UP 'stopping'");
    CHECK_HAS(text, "'10.0.0.2' NO 'down'");
    /* The other serves another exposure. */
    text = after(two_flex,
                 "[[" WEB("n1") ",\"monitor\",\"status\"],\"stopping\"],"
                                "[[" WEB("n2") ",\"resources\",\"ip#1\",\"info\",\"expose\",0],\"expose#1\"]",
                 MIRROR_APPLIED, "web");
    CHECK_HAS(text, "'10.0.0.1' UP 'stopping'");
    /* One that starts is not served, even when it is the last. */
    text = after(two_flex,
                 "[[" WEB("n1") ",\"avail\"],\"down\"],[[" WEB(
                     "n1") ",\"monitor\",\"status\"],\"starting\"],"
                           "[[" WEB("n2") ",\"resources\",\"ip#1\",\"status\"],\"down\"]",
                 MIRROR_APPLIED, "web");
    CHECK_HAS(text, "'10.0.0.1' NO 'starting'");
}

TEST(only_up_is_up)
{
    static const char *const other[] = {"down", "warn", "stdby up", "n/a", "undef", "Up", ""};

    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        struct buf b = {0};

        buf_printf(&b, "[[" WEB("n1") ",\"resources\",\"ip#1\",\"status\"],\"%s\"]", other[i]);
        CHECK_HAS(after(two_nodes, buf_cstr(&b), MIRROR_APPLIED, "web"), "'10.0.0.1' NO");
        buf_clear(&b);
    }
}

/* ---- declarations of several instances ---- */

#define CONFIG_OF(node) "\"monitor\",\"nodes\",\"" node "\",\"services\",\"config\",\"web\""
#define PORT(node, port) "[[" WEB(node) ",\"resources\",\"expose#0\",\"info\",\"port\"]," port "]"

TEST(where_instances_disagree_the_newest_configuration_wins_and_it_is_said)
{
    const char *text =
        after(two_nodes, PORT("n2", "81") ",[[" CONFIG_OF("n2") "],{\"updated\":11.5,\"csum\":\"c2\"}]",
              MIRROR_APPLIED, "web");

    CHECK_HAS(text, "{\"port\":81}");
    CHECK_HAS(text, "web: the declarations differ on n1; those of n2 are taken, whose configuration is the newest\n");
    text = after(two_nodes, PORT("n2", "81") ",[[" CONFIG_OF("n2") "],{\"updated\":9.5,\"csum\":\"c2\"}]",
                 MIRROR_APPLIED, "web");
    CHECK_HAS(text, "{\"port\":80}");
    CHECK_HAS(text, "differ on n2; those of n1 are taken");
    /* The same configuration, evaluated differently: the first node, whatever the times. */
    text = after(two_nodes, PORT("n2", "81") ",[[" CONFIG_OF("n2") ",\"updated\"],99.5]", MIRROR_APPLIED, "web");
    CHECK_HAS(text, "{\"port\":80}");
    /* The configuration alone changes, later. */
    text = after(two_nodes,
                 PORT("n2", "81") ",[[" CONFIG_OF("n2") "],{\"updated\":9.5,\"csum\":\"c2\"}],"
                                                        "[[" CONFIG_OF("n2") ",\"updated\"],12.5]",
                 MIRROR_APPLIED, "web");
    CHECK_HAS(text, "{\"port\":81}");
    CHECK_HAS_NOT(after(two_nodes, PORT("n1", "81") "," PORT("n2", "81"), MIRROR_APPLIED, "web"), "differ");
}

TEST(without_configurations_the_newest_instance_wins)
{
    static const char no_config[] = "[[" CONFIG_OF("n1") "]],[[" CONFIG_OF("n2") "]],";
    struct buf b = {0};

    buf_printf(&b, "%s%s,[[" WEB("n2") ",\"updated\"],\"2026-11-22 23:31:53\"]", no_config, PORT("n2", "81"));
    CHECK_HAS(after(two_nodes, buf_cstr(&b), MIRROR_APPLIED, "web"), "{\"port\":81}");
    buf_reset(&b);
    buf_printf(&b, "%s%s,[[" WEB("n2") ",\"updated\"],\"0.5\"]", no_config, PORT("n2", "81"));
    CHECK_HAS(after(two_nodes, buf_cstr(&b), MIRROR_APPLIED, "web"), "{\"port\":80}");
    buf_clear(&b);
}

TEST(times_are_read_in_all_the_forms_of_numbers)
{
    /* Both as configurations' times, the first one of n1; ours: the one of n2 is the newer. */
    static const struct {
        const char *one, *other;
        bool ours;
    } cases[] = {
        {"1795390351.395350", "1795390351.395351", true},
        {"1795390351.395350", "1795390351.395349", false},
        {"1795390351.3953502", "1795390351.3953512", true},
        {"1795390351.39535", "1795390351.3953500", false}, /* the same */
        {"1795390351", "1795390351.000001", true},
        {"1795390351.9", "1795390352", true},
        {"1795390351.395350", "1.795390352e9", true},
        {"1795390351.395350", "0.1795390352e10", true},
        {"1795390351.395350", "1795390351.3953512345678901234567890", true},
        {"1795390351.395350", "9e99999", false}, /* none */
        {"1795390351.395350", "-5", false},
        {"\"1795390351.395350\"", "\"1795390351.395351\"", true},
        {"1795390351.395350", "\"1795390352.\"", true},
        {"1795390351.395350", "\"1795390352.1.1\"", false},
        {"1795390351.395350", "\"1795390352 \"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_(mem_free_p) char *changes =
            mem_printf(PORT("n2", "81") ",[[" CONFIG_OF("n1") "],{\"updated\":%s,\"csum\":\"c1\"}],[[" CONFIG_OF(
                           "n2") "],{\"updated\":%s,\"csum\":\"c2\"}]",
                       cases[i].one, cases[i].other);
        const char *text = after(two_nodes, changes, MIRROR_APPLIED, "web");

        if (!strstr(text, cases[i].ours ? "{\"port\":81}" : "{\"port\":80}"))
            test_fail(__FILE__, __LINE__, "%s beside %s: %s", cases[i].one, cases[i].other, text);
    }
}

TEST(the_moment_at_which_a_configuration_becomes_the_newest_touches_the_service)
{
    struct mirror *m = mirror_of(two_nodes);
    struct picture p = {0};

    CHECK_INT(patch(m, PORT("n2", "81") ",[[" CONFIG_OF("n2") "],{\"updated\":9.5,\"csum\":\"c2\"}]"),
              MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "web"), "{\"port\":80}");
    CHECK_INT(patch(m, "[[" CONFIG_OF("n2") ",\"updated\"],12.5]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "web"), "{\"port\":81}");
    picture_clear(&p);
    mirror_free(m);
}

/* ---- scalers ---- */

#define SLAVE(address, status) "{\"scaler_slave\":true,\"topology\":\"failover\"," RESOURCES(address, status) "}"
#define AT(path) "\"monitor\",\"nodes\",\"n1\",\"services\",\"status\",\"" path "\""

TEST(slaves_belong_to_their_scaler_in_whatever_order_they_come)
{
    static const char empty[] = CLUSTER(NODE("n1", "", ""));
    struct mirror *m = mirror_of(empty);
    struct picture p = {0};

    /* A slave without a scaler waits. */
    CHECK_INT(patch(m, "[[" AT("ns/svc/0.s") "]," SLAVE("10.0.0.1", "up") "]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_INT(p.services.count, 0);
    CHECK_INT(patch(m, "[[" AT("ns/svc/s") "],{\"resources\":{},\"scaler_slaves\":[\"0.s\",\"1.s\",\"../x\",7]}]"),
              MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_STR(picture_service(&p, "ns/svc/s"), "ns/svc/s expose#0 expose.envoy {\"port\":80}\n"
                                               "ns/svc/s n1 ns/svc/0.s ip#1 '10.0.0.1' UP 'up' expose#0\n");
    CHECK_INT(patch(m, "[[" AT("ns/svc/1.s") "]," SLAVE("10.0.0.2", "up") "]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "ns/svc/s"), "ns/svc/s n1 ns/svc/1.s ip#1 '10.0.0.2' UP 'up' expose#0\n");
    CHECK_INT(p.services.count, 1);
    /* One slave is listed no more: it waits again. */
    CHECK_INT(patch(m, "[[" AT("ns/svc/s") ",\"scaler_slaves\",1],\"2.s\"]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS_NOT(picture_service(&p, "ns/svc/s"), "1.s");
    CHECK_INT(p.services.count, 1);
    /* The same name in another namespace is another object. */
    CHECK_INT(patch(m, "[[" AT("other/svc/2.s") "]," SLAVE("10.0.0.3", "up") "]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS_NOT(picture_service(&p, "ns/svc/s"), "10.0.0.3");
    CHECK_INT(patch(m, "[[" AT("ns/svc/s") "]]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_INT(p.services.count, 0);
    picture_clear(&p);
    mirror_free(m);
}

TEST(a_service_that_becomes_a_slave_is_no_service_of_its_own_any_more)
{
    struct mirror *m = mirror_of(two_nodes);
    struct picture p = {0};

    picture_take(&p, m);
    CHECK_INT(p.services.count, 1);
    CHECK_INT(patch(m, "[[" AT("scaler") "],{\"scaler_slaves\":[\"web\"]}]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_INT(p.gone, 1);
    CHECK_HAS(picture_service(&p, "scaler"), "scaler n1 web ip#1 '10.0.0.1' UP");
    CHECK_INT(patch(m, "[[" AT("scaler") "]]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_INT(p.gone, 1);
    CHECK_HAS(picture_service(&p, "web"), "web n1 web ip#1 '10.0.0.1' UP");
    picture_clear(&p);
    mirror_free(m);
}

TEST(a_slave_that_two_scalers_list_belongs_to_the_first_by_name_and_is_inherited)
{
    struct mirror *m = mirror_of(two_nodes);
    struct picture p = {0};

    CHECK_INT(patch(m, "[[" AT("b") "],{\"scaler_slaves\":[\"web\"]}]"), MIRROR_APPLIED);
    CHECK_INT(patch(m, "[[" AT("a") "],{\"scaler_slaves\":[\"web\"]}]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "a"), "a n1 web ip#1");
    CHECK_STR(picture_service(&p, "b"), "");
    CHECK_INT(patch(m, "[[" AT("a") "]]"), MIRROR_APPLIED);
    picture_take(&p, m);
    CHECK_HAS(picture_service(&p, "b"), "b n1 web ip#1");
    CHECK_STR(picture_service(&p, "a"), "");
    picture_clear(&p);
    mirror_free(m);
}

TEST(of_a_scaler_an_intent_counts_only_while_others_stay_up)
{
    static const char scaler[] = CLUSTER(NODE("n1",
                                              "\"s\":{\"scaler_slaves\":[\"0.s\",\"1.s\"]},\"0.s\":" SLAVE(
                                                  "10.0.0.1", "up") ",\"1.s\":" SLAVE("10.0.0.2", "up"),
                                              ""));
    const char *text = after(scaler, "[[" AT("0.s") ",\"monitor\"],{\"status\":\"stopping\"}]", MIRROR_APPLIED, "s");

    CHECK_HAS(text, "'10.0.0.1' NO 'stopping'");
    text = after(scaler,
                 "[[" AT("0.s") ",\"monitor\"],{\"status\":\"stopping\"}],"
                                "[[" AT("1.s") ",\"monitor\"],{\"status\":\"stopping\"}]",
                 MIRROR_APPLIED, "s");
    CHECK_HAS(text, "'10.0.0.1' UP 'stopping'");
}

TEST(a_write_back_goes_to_a_scaler_and_its_slaves)
{
    size_t n;
    char *status = file_text("tests/data/daemon_status-scaler.json", &n);
    struct mirror *m = mirror_of(status);
    const char *node, *const *paths = mirror_write_back_paths(m, "rscal", &node);

    CHECK_STR(node, "vm");
    CHECK_STR(paths[0], "rscal");
    CHECK_STR(paths[1], "0.rscal");
    CHECK_STR(paths[2], "1.rscal");
    CHECK(!paths[3]);
    paths = mirror_write_back_paths(m, "test/svc/web1", &node);
    CHECK_STR(paths[0], "test/svc/web1");
    CHECK(!paths[1]);
    CHECK_STR(mirror_write_back_paths(m, "absent", &node)[0], "absent");
    CHECK(!node);
    mirror_free(m);
    mem_free(status);
}

/* ---- secrets ---- */

TEST(of_several_nodes_the_newest_csum_of_a_secret_counts)
{
    static const char status[] = CLUSTER(NODE("n1", "", "\"ns/sec/s\":{\"updated\":2.5,\"csum\":\"new\"}") "," NODE(
        "n2", "", "\"ns/sec/s\":{\"updated\":1.5,\"csum\":\"old\"}"));
    struct mirror *m = mirror_of(status);

    CHECK_STR(mirror_secret_csum(m, "ns/sec/s"), "new");
    CHECK_STR(mirror_next_secret(m), "ns/sec/s");
    CHECK(!mirror_next_secret(m));
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n1\",\"services\",\"config\",\"ns/sec/s\"]]"), MIRROR_APPLIED);
    CHECK_STR(mirror_next_secret(m), "ns/sec/s");
    CHECK_STR(mirror_secret_csum(m, "ns/sec/s"), "old");
    CHECK_INT(patch(m, "[[\"monitor\",\"nodes\",\"n2\"],null]"), MIRROR_APPLIED);
    CHECK_STR(mirror_next_secret(m), "ns/sec/s");
    CHECK(!mirror_secret_csum(m, "ns/sec/s"));
    mirror_free(m);
}

/* ---- cost ---- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* What the C library's allocator has handed out; sanitizers have one of their own. */
static size_t allocated_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

TEST(an_instance_takes_less_than_300_bytes)
{
    enum { SERVICES = 2000, NODES = 10 };
    size_t n, with, without;
    char *status = large_status_text(SERVICES, NODES, &n);
    struct mirror *m = mirror_of(status);

    mem_free(status);
    CHECK_INT(mirror_stats(m).instances, SERVICES * NODES);
    with = allocated_bytes();
    mirror_free(m);
    without = allocated_bytes();
    CHECK(with - without > SERVICES * NODES * 50);
    CHECK((with - without) / (SERVICES * NODES) < 300);
}
#endif
