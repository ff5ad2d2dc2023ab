/* The store: what is put is in the view, changes are minimal, state survives, ports are stable. */
#include "store/store.h"

#include "base/buf.h"
#include "tests/unit/certs.h"
#include "tests/unit/edit_world.h"
#include "tests/unit/store_world.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void check_commit(struct world *w, const char *expected)
{
    _cleanup_(mem_free_p) char *changes = world_commit(w);

    CHECK_STR(changes, expected);
}

/* ---- the view and its differences ---- */

TEST(what_is_put_is_in_the_view_after_the_commit)
{
    struct world w;

    world_init(&w);
    world_open(&w);
    world_put(&w, "test/svc/web1", "\"port\":80,\"listener_port\":8080", "10.0.0.1", true);
    CHECK(world_service(&w, "test/svc/web1") == NULL);
    check_commit(&w, "+service test/svc/web1|+listener envoy|0.0.0.0:8080/tcp");
    CHECK_INT(world_service(&w, "test/svc/web1")->exposures[0].n_up, 1);
    CHECK_INT(world_port(&w, "test/svc/web1", "expose#0"), 8080);
    store_remove_service(w.store, "test/svc/web1");
    check_commit(&w, "-service test/svc/web1|-listener envoy|0.0.0.0:8080/tcp");
    check_commit(&w, NULL);
    world_clear(&w);
}

TEST(an_endpoint_that_flips_changes_its_service_alone_and_no_revision)
{
    struct listener_plan *plan;
    struct world w;
    struct view *v;
    uint64_t before;

    world_init(&w);
    world_open(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_put(&w, "b", "\"port\":81", "10.0.0.2", true);
    world_committed(&w);
    before = world_revision(&w);
    v = store_view(w.store);
    plan = view_listener(v, "envoy|0.0.0.0:80/tcp");
    CHECK(plan != NULL);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", false);
    check_commit(&w, "service a");
    CHECK_INT(world_revision(&w), before);
    CHECK_INT(world_service(&w, "a")->exposures[0].n_up, 0);
    CHECK(world_service(&w, "a")->declaration == view_service(v, "a")->declaration);
    view_unref(v);
    v = store_view(w.store);
    CHECK(view_listener(v, "envoy|0.0.0.0:80/tcp") == plan);
    view_unref(v);
    world_clear(&w);
}

TEST(what_is_put_again_the_same_is_no_change)
{
    struct world w;
    uint64_t before;

    world_init(&w);
    world_open(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    before = world_revision(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    check_commit(&w, NULL);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", false);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    check_commit(&w, NULL);
    store_remove_service(w.store, "a");
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    check_commit(&w, NULL);
    world_put(&w, "b", "\"port\":80", "10.0.0.1", true);
    store_remove_service(w.store, "b");
    check_commit(&w, NULL);
    CHECK_INT(world_revision(&w), before);
    world_clear(&w);
}

TEST(a_declaration_that_changes_makes_a_revision_and_touches_its_listeners_only)
{
    struct world w;
    uint64_t before;

    world_init(&w);
    world_open(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_put(&w, "b", "\"port\":81", "10.0.0.2", true);
    world_committed(&w);
    before = world_revision(&w);
    world_put(&w, "b", "\"port\":81,\"listener_port\":82", "10.0.0.2", true);
    check_commit(&w, "service b|-listener envoy|0.0.0.0:81/tcp|+listener envoy|0.0.0.0:82/tcp");
    CHECK_INT(world_revision(&w), before + 1);
    world_clear(&w);
}

TEST(facts_that_declare_nothing_remove_the_service)
{
    static const char *const none[] = {NULL}, *const address[] = {"10.0.0.1", NULL};
    struct world w;

    world_init(&w);
    world_open(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_put_full(&w, "a", none, address);
    check_commit(&w, "-service a|-listener envoy|0.0.0.0:80/tcp");
    world_clear(&w);
}

TEST(a_view_that_is_held_does_not_change)
{
    struct world w;
    struct view *v;

    world_init(&w);
    world_open(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    v = store_view(w.store);
    store_remove_service(w.store, "a");
    world_put(&w, "b", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    CHECK(view_service(v, "a") != NULL);
    CHECK(view_service(v, "b") == NULL);
    CHECK_INT(view_service(v, "a")->exposures[0].n_up, 1);
    view_unref(v);
    world_clear(&w);
}

TEST(a_gateway_is_made_by_being_named_and_stays)
{
    struct world w;
    struct view *v;

    world_init(&w);
    world_open(&w);
    world_put(&w, "a", "\"port\":80,\"gateway\":\"edge-1\"", "10.0.0.1", true);
    check_commit(&w, "+service a|+gateway edge-1|+listener edge-1|0.0.0.0:80/tcp");
    store_remove_service(w.store, "a");
    world_committed(&w);
    world_reopen(&w);
    v = store_view(w.store);
    CHECK(view_gateway(v, "edge-1") != NULL);
    CHECK(!view_gateway(v, "edge-1")->is_default);
    CHECK(view_gateway(v, "envoy")->is_default);
    view_unref(v);
    world_clear(&w);
}

TEST(a_gateway_beyond_the_limit_or_with_a_bad_name_keeps_its_exposure_off_and_says_why)
{
    struct world w;
    char path[32], keywords[128];

    world_init(&w);
    world_open(&w);
    for (int i = 0; i < GATEWAYS_MAX; i++) {
        snprintf(path, sizeof(path), "s%03d", i);
        snprintf(keywords, sizeof(keywords), "\"port\":80,\"gateway\":\"g%03d\"", i);
        world_put(&w, path, keywords, "10.0.0.1", true);
    }
    world_committed(&w);
    /* The default gateway is one of them. */
    CHECK(world_service(&w, "s254")->exposures[0].hindrance == NULL);
    CHECK(strstr(world_service(&w, "s255")->exposures[0].hindrance->text, "256") != NULL);
    CHECK(world_service(&w, "s255")->exposures[0].gateway == NULL);
    world_put(&w, "bad", "\"port\":80,\"gateway\":\"a|b\"", "10.0.0.1", true);
    world_committed(&w);
    CHECK(!service_exposure_listens(&world_service(&w, "bad")->exposures[0]));
    world_clear(&w);
}

TEST(without_a_default_gateway_an_exposure_that_names_none_is_left_out_with_a_reason)
{
    struct world w;

    world_init(&w);
    w.options.default_gateway = NULL;
    world_open(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_put(&w, "b", "\"port\":80,\"gateway\":\"edge\"", "10.0.0.1", true);
    check_commit(&w, "+service a|+service b|+gateway edge|+listener edge|0.0.0.0:80/tcp");
    CHECK(world_service(&w, "a")->exposures[0].hindrance != NULL);
    world_clear(&w);
}

/* ---- complete, stale, fetches ---- */

TEST(the_state_is_complete_after_the_first_fetch_and_after_a_restart)
{
    struct view_delta *d;
    struct world w;
    struct view *v;

    world_init(&w);
    world_open(&w);
    CHECK(!world_is_complete(&w));
    d = store_initial_delta(w.store);
    CHECK(!d->after->complete);
    view_delta_free(d);
    world_sync_begin(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    CHECK(!world_is_complete(&w));
    world_sync_end(&w);
    CHECK(world_is_complete(&w));
    world_reopen(&w);
    v = store_view(w.store);
    CHECK(v->complete);
    CHECK(v->stale);
    view_unref(v);
    d = store_initial_delta(w.store);
    CHECK(d != NULL);
    CHECK_INT(d->n_changes, 3);
    CHECK(d->before == NULL);
    view_delta_free(d);
    store_set_stale(w.store, false);
    check_commit(&w, "");
    v = store_view(w.store);
    CHECK(!v->stale);
    view_unref(v);
    check_commit(&w, NULL);
    world_clear(&w);
}

TEST(a_part_of_a_first_fetch_is_not_taken_for_the_whole_after_a_restart)
{
    struct view_delta *d;
    struct world w;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_reopen(&w);
    CHECK(!world_is_complete(&w));
    CHECK(world_service(&w, "a") != NULL);
    /* What is known of it goes on from there: a fetch that brings the same says no more than that it is complete. */
    d = store_initial_delta(w.store);
    CHECK_INT(d->n_changes, 3);
    view_delta_free(d);
    world_sync_begin(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    store_sync_end(w.store);
    check_commit(&w, "");
    CHECK(world_is_complete(&w));
    world_clear(&w);
}

TEST(a_complete_fetch_removes_what_it_did_not_bring_and_changes_nothing_else)
{
    struct world w;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_put(&w, "b", "\"port\":81", "10.0.0.1", true);
    world_put(&w, "c", "\"port\":82", "10.0.0.1", true);
    world_sync_end(&w);
    world_sync_begin(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_put(&w, "c", "\"port\":82", "10.0.0.1", false);
    store_sync_end(w.store);
    check_commit(&w, "-service b|service c|-listener envoy|0.0.0.0:81/tcp");
    world_clear(&w);
}

TEST(a_fetch_that_was_broken_off_removes_nothing)
{
    struct world w;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_put(&w, "b", "\"port\":81", "10.0.0.1", true);
    world_sync_end(&w);
    world_sync_begin(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    check_commit(&w, NULL);
    world_sync_begin(&w);
    world_put(&w, "b", "\"port\":81", "10.0.0.1", true);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    store_sync_end(w.store);
    check_commit(&w, NULL);
    world_clear(&w);
}

/* ---- restarts ---- */

static const char rich_http[] =
    "{\"gateway\":\"edge\",\"listener_certificates\":[\"certificate#1\"],\"listener_port\":443,\"port\":443,"
    "\"vhosts\":[\"vhost#0\"]}";
static const char rich_vhost[] = "{\"domains\":[\"b.example.org\",\"a.example.org\"]}";
static const char *const rich[] = {"certificate#1",
                                   "certificate.tls",
                                   "{\"certificate_secret\":\"cert\"}",
                                   "expose#0",
                                   "expose.envoy",
                                   "{\"listener_port\":0,\"port\":80}",
                                   "expose#1",
                                   "expose.envoy",
                                   rich_http,
                                   "expose#2",
                                   "expose.envoy",
                                   "{\"port\":\"nonsense\"}",
                                   "vhost#0",
                                   "vhost.envoy",
                                   rich_vhost,
                                   NULL};
static const char *const three[] = {"10.0.0.1", "!10.0.0.2", "fd00::1", NULL};

static void put_pair(struct world *w, const char *path, const char *csum, const struct test_certificate *c)
{
    const struct secret_values values = {.certificate_chain = c->pem, .private_key = c->key_pem};

    store_put_secret(w->store, path, csum, &values, NULL);
}

TEST(a_restart_keeps_the_state_to_the_byte)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    _cleanup_(mem_free_p) char *before = NULL, *after = NULL;
    struct world w;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    world_put_full(&w, "test/svc/rich", rich, three);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_sync_end(&w);
    put_pair(&w, "test/sec/cert", "c1", c);
    world_committed(&w);
    /* An add-on that claims later than the rest, and a conflict that the older one wins. */
    world_put(&w, "0", "\"port\":80", "10.0.0.3", true);
    world_committed(&w);
    before = world_dump_all(&w);
    CHECK(strstr(before, "pair=1") != NULL);
    world_reopen(&w);
    after = world_dump_all(&w);
    CHECK_STR(after, before);
    mem_free(after);
    world_reopen(&w);
    after = world_dump_all(&w);
    CHECK_STR(after, before);
    CHECK(world_alarm(&w, "observed.db") == NULL);
    CHECK(world_alarm(&w, "config.db") == NULL);
    CHECK(world_alarm(&w, "key") == NULL);
    /* And what the agent then says again is no change. */
    world_sync_begin(&w);
    world_put_full(&w, "test/svc/rich", rich, three);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_put(&w, "0", "\"port\":80", "10.0.0.3", true);
    store_sync_end(w.store);
    put_pair(&w, "test/sec/cert", "c1", c);
    check_commit(&w, "");
    world_clear(&w);
}

TEST(who_held_a_listener_first_holds_it_after_a_restart)
{
    struct listener_plan *plan;
    struct world w;

    world_init(&w);
    world_open(&w);
    world_put(&w, "z", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.2", true);
    world_committed(&w);
    for (int i = 0; i < 2; i++) {
        struct view *v = store_view(w.store);

        plan = view_listener(v, "envoy|0.0.0.0:80/tcp");
        CHECK_INT(listener_plan_verdict(plan, "z.expose#0")->kind, VERDICT_ACCEPTED);
        CHECK_INT(listener_plan_verdict(plan, "a.expose#0")->kind, VERDICT_CONFLICT);
        view_unref(v);
        world_reopen(&w);
    }
    world_clear(&w);
}

static void put_vhost(struct world *w, const char *path, const char *domains)
{
    char info[256];
    const char *const resources[] = {
        "expose#0", "expose.envoy", "{\"listener_port\":80,\"port\":80,\"vhosts\":[\"vhost#0\"]}",
        "vhost#0",  "vhost.envoy",  info,
        NULL};
    static const char *const address[] = {"10.0.0.1", NULL};

    snprintf(info, sizeof(info), "{\"domains\":[%s]}", domains);
    world_put_full(w, path, resources, address);
}

TEST(a_domain_that_is_added_later_is_claimed_later)
{
    const struct service_exposure *sx;
    struct world w;

    world_init(&w);
    world_open(&w);
    put_vhost(&w, "a", "\"one.org\"");
    world_committed(&w);
    put_vhost(&w, "b", "\"two.org\"");
    world_committed(&w);
    put_vhost(&w, "a", "\"one.org\",\"two.org\"");
    world_committed(&w);
    for (int i = 0; i < 2; i++) {
        const struct service_exposure *b = &world_service(&w, "b")->exposures[0];

        sx = &world_service(&w, "a")->exposures[0];
        CHECK(service_exposure_since(sx, "one.org") < service_exposure_since(b, "two.org"));
        CHECK(service_exposure_since(sx, "two.org") > service_exposure_since(b, "two.org"));
        world_reopen(&w);
    }
    /* A domain that is given up and taken again is claimed anew. */
    put_vhost(&w, "a", "\"two.org\"");
    world_committed(&w);
    put_vhost(&w, "a", "\"one.org\",\"two.org\"");
    world_committed(&w);
    sx = &world_service(&w, "a")->exposures[0];
    CHECK(service_exposure_since(sx, "one.org") > service_exposure_since(sx, "two.org"));
    world_clear(&w);
}

TEST(the_last_good_form_is_kept_beside_a_bad_one_and_survives_a_restart)
{
    _cleanup_(mem_free_p) char *before = NULL, *after = NULL;
    const struct service_exposure *sx;
    struct world w;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    world_put(&w, "a", "\"port\":80,\"listener_port\":8080", "10.0.0.1", true);
    world_sync_end(&w);
    world_put(&w, "a", "\"port\":80,\"listener_port\":\"nonsense\"", "10.0.0.1", true);
    check_commit(&w, "service a");
    /* Bad twice, and its endpoints change meanwhile. */
    world_put(&w, "a", "\"port\":80,\"listener_port\":\"rubbish\"", "10.0.0.1", false);
    check_commit(&w, "service a");
    world_put(&w, "a", "\"port\":80,\"listener_port\":\"rubbish\"", "10.0.0.2", true);
    check_commit(&w, "service a");
    before = world_dump_all(&w);
    for (int i = 0; i < 2; i++) {
        sx = &world_service(&w, "a")->exposures[0];
        CHECK(sx->kept);
        CHECK(sx->x->valid);
        CHECK(!sx->declared->valid);
        CHECK_INT(sx->listener_port, 8080);
        CHECK_INT(sx->n_up, 1);
        world_reopen(&w);
    }
    after = world_dump_all(&w);
    CHECK_STR(after, before);
    world_put(&w, "a", "\"port\":80,\"listener_port\":8081", "10.0.0.2", true);
    check_commit(&w, "service a|-listener envoy|0.0.0.0:8080/tcp|+listener envoy|0.0.0.0:8081/tcp");
    CHECK(!world_service(&w, "a")->exposures[0].kept);
    CHECK_INT(world_service(&w, "a")->n_kept, 0);
    world_clear(&w);
}

TEST(revisions_go_on_after_a_restart)
{
    struct world w;
    uint64_t before;

    world_init(&w);
    world_open(&w);
    CHECK_INT(world_revision(&w), 0);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_revision(&w), 1);
    world_put(&w, "b", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    before = world_revision(&w);
    world_reopen(&w);
    CHECK_INT(world_revision(&w), before);
    world_put(&w, "c", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_revision(&w), before + 1);
    world_clear(&w);
}

/* ---- ports ---- */

static const char allocate[] = "\"port\":80,\"listener_port\":0";

TEST(an_allocated_port_is_the_lowest_free_and_stays_for_ever)
{
    struct world w;

    world_init(&w);
    world_open(&w);
    world_put(&w, "d", "\"port\":1026", "10.0.0.1", true);
    world_put(&w, "a", allocate, "10.0.0.1", true);
    world_put(&w, "b", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "a", "expose#0"), 1025);
    CHECK_INT(world_port(&w, "b", "expose#0"), 1027);
    store_remove_service(w.store, "a");
    world_committed(&w);
    world_put(&w, "c", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "c", "expose#0"), 1028);
    world_reopen(&w);
    CHECK_INT(world_port(&w, "b", "expose#0"), 1027);
    world_put(&w, "a", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "a", "expose#0"), 1025);
    world_clear(&w);
}

TEST(ports_of_two_gateways_do_not_meet_and_reserved_ones_are_left_alone)
{
    static const struct port_range reserved[] = {{1025, 1030}, {1032, 1032}};
    struct world w;

    world_init(&w);
    w.options.reserved = reserved;
    w.options.n_reserved = 2;
    world_open(&w);
    world_put(&w, "a", allocate, "10.0.0.1", true);
    world_put(&w, "b", allocate, "10.0.0.1", true);
    world_put(&w, "c", "\"port\":80,\"listener_port\":0,\"gateway\":\"edge\"", "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "a", "expose#0"), 1031);
    CHECK_INT(world_port(&w, "b", "expose#0"), 1033);
    CHECK_INT(world_port(&w, "c", "expose#0"), 1031);
    world_clear(&w);
}

TEST(without_a_free_port_an_exposure_waits_and_gets_the_next_that_is_given_back)
{
    bool commit, fetch;
    struct world w;

    world_init(&w);
    w.options.port_min = 2000;
    w.options.port_max = 2001;
    world_open(&w);
    world_put(&w, "a", allocate, "10.0.0.1", true);
    world_put(&w, "b", "\"port\":2001", "10.0.0.1", true);
    world_put(&w, "c", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "a", "expose#0"), 2000);
    CHECK_INT(world_port(&w, "c", "expose#0"), 0);
    CHECK_STR(world_service(&w, "c")->exposures[0].hindrance->text, "no port of 2000-2001 is free");
    /* An endpoint that flips meanwhile is seen. */
    world_put(&w, "c", allocate, "10.0.0.1", false);
    check_commit(&w, "service c");
    store_poll(w.store, &commit, &fetch);
    CHECK(!commit);
    store_remove_service(w.store, "b");
    world_committed(&w);
    store_poll(w.store, &commit, &fetch);
    CHECK(commit);
    CHECK(w.woken > 0);
    check_commit(&w, "service c|+listener envoy|0.0.0.0:2001/tcp");
    CHECK_INT(world_service(&w, "c")->exposures[0].n_up, 0);
    /* The port of one that has gone is given away only now that there is no other. */
    store_remove_service(w.store, "a");
    world_committed(&w);
    world_put(&w, "d", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "d", "expose#0"), 2000);
    world_clear(&w);
}

TEST(an_exposure_that_waits_beside_others_of_its_service_asks_for_no_commit_after_commit)
{
    static const char *const resources[] = {"expose#0", "expose.envoy", "{\"port\":2000}",
                                            "expose#1", "expose.envoy", "{\"listener_port\":0,\"port\":80}",
                                            NULL};
    static const char *const address[] = {"10.0.0.1", NULL};
    bool commit, fetch;
    struct world w;

    world_init(&w);
    w.options.port_min = w.options.port_max = 2000;
    world_open(&w);
    world_put(&w, "a", allocate, "10.0.0.1", true);
    world_put_full(&w, "b", resources, address);
    world_committed(&w);
    CHECK_INT(world_port(&w, "a", "expose#0"), 0);
    CHECK_INT(world_port(&w, "b", "expose#1"), 0);
    for (int i = 0; i < 3; i++) {
        store_poll(w.store, &commit, &fetch);
        if (i > 0)
            CHECK(!commit);
        if (commit)
            world_committed(&w);
    }
    /* The port is given up; the first of those that wait gets it, and keeps it while it is declared again. */
    world_put(&w, "b", "\"port\":80,\"listener_port\":99", "10.0.0.1", true);
    world_committed(&w);
    store_poll(w.store, &commit, &fetch);
    CHECK(commit);
    world_committed(&w);
    CHECK_INT(world_port(&w, "a", "expose#0"), 2000);
    world_put_full(&w, "b", resources, address);
    world_committed(&w);
    CHECK_INT(world_port(&w, "a", "expose#0"), 2000);
    /* Its service goes: another that waits may have it now. */
    store_remove_service(w.store, "a");
    world_put(&w, "b", allocate, "10.0.0.1", true);
    world_committed(&w);
    store_poll(w.store, &commit, &fetch);
    if (commit)
        world_committed(&w);
    CHECK_INT(world_port(&w, "b", "expose#0"), 2000);
    store_poll(w.store, &commit, &fetch);
    CHECK(!commit);
    world_clear(&w);
}

TEST(a_read_only_store_keeps_its_ports_and_leaves_new_ones_and_telling_to_the_other)
{
    struct port_write_back wb;
    struct world w;

    world_init(&w);
    world_open(&w);
    world_put(&w, "a", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "a", "expose#0"), 1025);
    w.options.read_only = true;
    world_reopen(&w);
    CHECK(!store_next_write_back(w.store, &wb)); /* the agent was not told yet */
    CHECK_INT(world_port(&w, "a", "expose#0"), 1025);
    world_put(&w, "b", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "b", "expose#0"), 0);
    CHECK(!store_next_write_back(w.store, &wb));
    /* The other one allocated it, and told the agent. */
    world_put(&w, "b", "\"port\":80,\"listener_port\":1026", "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "b", "expose#0"), 1026);
    world_clear(&w);
}

TEST(a_port_is_written_back_once_and_the_answer_changes_nothing)
{
    struct port_write_back wb;
    const struct service *service;
    struct world w;
    uint64_t since;

    world_init(&w);
    world_open(&w);
    world_put(&w, "test/svc/a.b", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK(store_next_write_back(w.store, &wb));
    CHECK_STR(wb.path, "test/svc/a.b");
    CHECK_STR(wb.rid, "expose#0");
    CHECK_INT(wb.port, 1025);
    port_write_back_clear(&wb);
    CHECK(!store_next_write_back(w.store, &wb));
    /* Killed before it was done: it comes again. */
    world_reopen(&w);
    CHECK(store_next_write_back(w.store, &wb));
    port_write_back_clear(&wb);
    CHECK(store_write_back_done(w.store, "test/svc/a.b", "expose#0", NULL));
    world_reopen(&w);
    CHECK(!store_next_write_back(w.store, &wb));
    since = world_service(&w, "test/svc/a.b")->exposures[0].since;
    world_put(&w, "test/svc/a.b", "\"port\":80,\"listener_port\":1025", "10.0.0.1", true);
    check_commit(&w, "service test/svc/a.b");
    service = world_service(&w, "test/svc/a.b");
    CHECK_INT(service->exposures[0].since, since);
    CHECK_INT(service->exposures[0].listener_port, 1025);
    /* Somebody sets it back to 0: the same port, and the agent is not told again. */
    world_put(&w, "test/svc/a.b", allocate, "10.0.0.1", true);
    check_commit(&w, "service test/svc/a.b");
    CHECK_INT(world_port(&w, "test/svc/a.b", "expose#0"), 1025);
    CHECK(!store_next_write_back(w.store, &wb));
    world_clear(&w);
}

/* A new store, in which the port of "a" was allocated and is on its way to the agent. */
static void begin_write_back(struct world *w)
{
    struct port_write_back wb;

    world_init(w);
    world_open(w);
    world_put(w, "a", allocate, "10.0.0.1", true);
    world_committed(w);
    CHECK(store_next_write_back(w->store, &wb));
    port_write_back_clear(&wb);
}

TEST(a_write_back_that_failed_comes_again_later_only)
{
    struct port_write_back wb;
    bool commit, fetch;
    struct world w;

    begin_write_back(&w);
    CHECK_INT(store_poll(w.store, &commit, &fetch), INT64_MAX);
    CHECK(store_write_back_done(w.store, "a", "expose#0", "the node says no"));
    CHECK(!store_next_write_back(w.store, &wb));
    CHECK(store_poll(w.store, &commit, &fetch) > clock_now(NULL));
    CHECK_STR(world_alarm(&w, "ports"), "1 allocated port is not told to the agent, of a.expose#0: the node says no");
    CHECK(!store_next_write_back(w.store, &wb));
    /* The service goes meanwhile. */
    store_remove_service(w.store, "a");
    world_committed(&w);
    store_poll(w.store, &commit, &fetch);
    CHECK(!store_next_write_back(w.store, &wb));
    CHECK(!world_alarm(&w, "ports"));
    world_clear(&w);
}

TEST(a_write_back_that_fails_again_and_again_is_tried_ever_more_seldom_and_told_once)
{
    clock_ns delay, before = 0;
    bool commit, fetch;
    struct world w;

    begin_write_back(&w);
    for (unsigned i = 0; i < 12; i++) {
        CHECK(store_write_back_done(w.store, "a", "expose#0", "no") == (i == 0));
        delay = store_poll(w.store, &commit, &fetch) - clock_now(NULL);
        CHECK(delay > before || delay > 3590 * CLOCK_NS_PER_S);
        CHECK(delay <= 3600 * CLOCK_NS_PER_S);
        before = delay;
    }
    CHECK(before > 3590 * CLOCK_NS_PER_S);
    CHECK_INT(world_alarm_count(&w, "ports"), 1);
    CHECK(store_write_back_done(w.store, "a", "expose#0", NULL));
    CHECK(!world_alarm(&w, "ports"));
    world_clear(&w);
}

/* ---- secrets ---- */

static void put_tls(struct world *w, const char *path, const char *secret, const char *port)
{
    char certificate[256], expose[256];
    static const char *const address[] = {"10.0.0.1", NULL};
    const char *const resources[] = {
        "certificate#1", "certificate.tls", certificate, "expose#0", "expose.envoy", expose, NULL};

    snprintf(certificate, sizeof(certificate), "{\"certificate_secret\":\"%s\"}", secret);
    snprintf(expose, sizeof(expose),
             "{\"listener_certificates\":[\"certificate#1\"],\"port\":%s,\"sni\":[\"a.example.org\"]}", port);
    world_put_full(w, path, resources, address);
}

static void check_wanted(struct world *w, const char *expected)
{
    const char *const *wanted;
    size_t n;
    struct buf b;

    buf_init(&b, 0);
    wanted = store_wanted_secrets(w->store, &n);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", wanted[i]);
    CHECK_STR(buf_cstr(&b), expected);
    buf_clear(&b);
}

TEST(wanted_are_the_secrets_that_are_referred_to)
{
    struct world w;

    world_init(&w);
    world_open(&w);
    check_wanted(&w, "");
    put_tls(&w, "test/svc/a", "one", "443");
    put_tls(&w, "test/svc/b", "one", "444");
    put_tls(&w, "svc2", "two", "445");
    world_committed(&w);
    check_wanted(&w, "sec/two test/sec/one");
    world_reopen(&w);
    check_wanted(&w, "sec/two test/sec/one");
    store_remove_service(w.store, "test/svc/a");
    store_remove_service(w.store, "svc2");
    world_committed(&w);
    check_wanted(&w, "test/sec/one");
    put_tls(&w, "test/svc/b", "three", "444");
    world_committed(&w);
    check_wanted(&w, "test/sec/three");
    world_clear(&w);
}

TEST(a_secret_that_comes_or_changes_touches_the_listeners_that_refer_to_it)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *d = test_certificate_for("a.example.org");
    const struct secret_values bad = {.certificate_chain = c->pem, .private_key = d->key_pem};
    const struct secret *secret;
    struct world w;
    struct view *v;
    uint64_t before;

    world_init(&w);
    world_open(&w);
    put_tls(&w, "test/svc/a", "one", "443");
    put_tls(&w, "test/svc/b", "two", "444");
    world_committed(&w);
    put_pair(&w, "test/sec/one", "c1", c);
    check_commit(&w, "+secret test/sec/one|listener envoy|0.0.0.0:443/tcp");
    before = world_revision(&w);
    put_pair(&w, "test/sec/one", "c1", c);
    check_commit(&w, NULL);
    CHECK_INT(world_revision(&w), before);
    /* A bad pair leaves the good one, with words. */
    store_put_secret(w.store, "test/sec/one", "c2", &bad, NULL);
    world_committed(&w);
    for (int i = 0; i < 2; i++) {
        v = store_view(w.store);
        secret = view_secret(v, "test/sec/one");
        CHECK_STR(secret->csum, "c2");
        CHECK(secret->has_pair);
        CHECK_STR(secret->private_key, c->key_pem);
        CHECK(secret->pair_problem != NULL);
        view_unref(v);
        world_reopen(&w);
    }
    put_pair(&w, "test/sec/one", "c3", d);
    world_committed(&w);
    v = store_view(w.store);
    CHECK_STR(view_secret(v, "test/sec/one")->private_key, d->key_pem);
    CHECK(view_secret(v, "test/sec/one")->pair_problem == NULL);
    view_unref(v);
    world_clear(&w);
}

TEST(a_secret_that_nobody_refers_to_is_not_kept)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    struct world w;
    struct view *v;

    world_init(&w);
    world_open(&w);
    put_pair(&w, "test/sec/one", "c1", c);
    check_commit(&w, NULL);
    put_tls(&w, "test/svc/a", "one", "443");
    put_pair(&w, "test/sec/one", "c1", c);
    check_commit(&w, "+service test/svc/a|+secret test/sec/one|+listener envoy|0.0.0.0:443/tcp");
    store_remove_service(w.store, "test/svc/a");
    check_commit(&w, "-service test/svc/a|-secret test/sec/one|-listener envoy|0.0.0.0:443/tcp");
    world_reopen(&w);
    v = store_view(w.store);
    CHECK_INT(pmap_count(v->secrets), 0);
    view_unref(v);
    world_clear(&w);
}

static bool is_served_by(struct world *w, const char *path, const char *secret)
{
    const struct service_exposure *sx = &world_service(w, path)->exposures[0];

    CHECK_INT(sx->kept, strcmp(sx->declared->listener_certificates[0]->secret, secret) != 0);
    return strcmp(sx->x->listener_certificates[0]->secret, secret) == 0;
}

TEST(what_is_served_goes_on_until_the_secret_of_its_new_form_was_read)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    const struct secret_values none = {0};
    struct world w;

    world_init(&w);
    world_open(&w);
    put_tls(&w, "test/svc/a", "one", "443");
    world_committed(&w);
    put_pair(&w, "test/sec/one", "c1", c);
    world_committed(&w);
    put_tls(&w, "test/svc/a", "two", "443");
    world_committed(&w);
    for (int i = 0; i < 2; i++) {
        CHECK(is_served_by(&w, "test/svc/a", "test/sec/one"));
        check_wanted(&w, "test/sec/one test/sec/two");
        world_reopen(&w);
    }
    /* Endpoints are no matter of forms, nor is a form between. */
    put_tls(&w, "test/svc/a", "three", "443");
    world_committed(&w);
    CHECK(is_served_by(&w, "test/svc/a", "test/sec/one"));
    check_wanted(&w, "test/sec/one test/sec/three");
    put_pair(&w, "test/sec/three", "c1", c);
    check_commit(&w, "service test/svc/a|-secret test/sec/one|+secret test/sec/three|listener envoy|0.0.0.0:443/tcp");
    CHECK(is_served_by(&w, "test/svc/a", "test/sec/three"));
    check_wanted(&w, "test/sec/three");
    /* That it is missing is a word too. */
    put_tls(&w, "test/svc/a", "none", "443");
    world_committed(&w);
    CHECK(is_served_by(&w, "test/svc/a", "test/sec/three"));
    store_put_secret(w.store, "test/sec/none", "", &none, "the object does not exist");
    world_committed(&w);
    CHECK(is_served_by(&w, "test/svc/a", "test/sec/none"));
    world_clear(&w);
}

TEST(what_is_disabled_waits_for_no_secret)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    struct world w;

    world_init(&w);
    world_open(&w);
    put_tls(&w, "test/svc/a", "one", "443");
    world_committed(&w);
    put_pair(&w, "test/sec/one", "c1", c);
    world_committed(&w);
    put_tls(&w, "test/svc/a", "two", "443");
    world_committed(&w);
    CHECK(is_served_by(&w, "test/svc/a", "test/sec/one"));
    world_edited(&w, DOCUMENT_OVERRIDE, "test/svc/a.expose#0", "{'enabled': false}");
    CHECK(world_service(&w, "test/svc/a")->exposures[0].x->disabled);
    world_clear(&w);
}

TEST(a_secret_that_is_missing_is_remembered_with_the_agents_words)
{
    const struct secret_values none = {0};
    struct world w;
    struct view *v;

    world_init(&w);
    world_open(&w);
    put_tls(&w, "test/svc/a", "one", "443");
    store_put_secret(w.store, "test/sec/one", "", &none, "the object does not exist");
    world_committed(&w);
    for (int i = 0; i < 2; i++) {
        v = store_view(w.store);
        CHECK(!view_secret(v, "test/sec/one")->has_pair);
        CHECK(strstr(view_secret(v, "test/sec/one")->pair_problem, "the object does not exist") != NULL);
        view_unref(v);
        world_reopen(&w);
    }
    world_clear(&w);
}
