/*
 * Edits in the store: compare and set, batches, revisions, limits; overrides, exposures, certificates, gateways,
 * drains and grants over the API, and what becomes of them when the agent's word changes.
 */
#include "store/edit.h"

#include "proto/translate.h"
#include "store/hostname.h"
#include "tests/unit/certs.h"
#include "tests/unit/edit_world.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const one_address[] = {"10.0.0.1", NULL};
static const char *const two_addresses[] = {"10.0.0.1", "10.0.0.2", NULL};

static const struct document *document(struct world *w, enum document_kind kind, const char *name)
{
    struct view *v = store_view(w->store);
    const struct document *d = view_document(v, kind, name);

    view_unref(v); /* the store's own reference keeps it until the next edit */
    return d;
}

/* ---- compare and set ---- */

TEST(an_edit_makes_a_document_a_revision_and_what_it_says)
{
    struct world w;
    struct view *v;
    const struct revision *r;
    uint64_t before;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    before = world_revision(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    CHECK_INT(world_port(&w, "web", "expose#0"), 8080);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->origin, ORIGIN_OVERRIDDEN);
    v = store_view(w.store);
    CHECK_INT(v->revision, before + 1);
    r = view_revision(v, v->revision);
    CHECK_STR(r->author, "alice");
    CHECK_STR(r->cause, "PUT /a/test");
    CHECK_STR(r->request_id, "r1");
    CHECK_INT(r->n_documents, 1);
    CHECK(r->documents[0].before == NULL);
    CHECK_STR(r->documents[0].name, "web.expose#0");
    CHECK_STR(r->documents[0].after->body, "{\"listener_port\":8080}");
    CHECK_INT(r->documents[0].after->revision, v->revision);
    CHECK(r->documents[0].after == view_document(v, DOCUMENT_OVERRIDE, "web.expose#0"));
    view_unref(v);
    world_clear(&w);
}

TEST(an_edit_that_changes_nothing_makes_no_revision)
{
    _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
    struct edit_request *r;
    struct world w;
    uint64_t before;

    world_start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "a.expose#0", "{'port': 80}");
    before = world_revision(&w);
    r = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_EXPOSURE, "a.expose#0", "{'port': 80}");
    edit_batch_add(b, DOCUMENT_EXPOSURE, "b.expose#0", NULL);
    CHECK_INT(edit_batch_run(b, &w), 0);
    CHECK_INT(r->result, 0);
    CHECK_INT(r->revision, before);
    CHECK_INT(world_revision(&w), before);
    world_clear(&w);
}

static void flip(struct world *w)
{
    world_put(w, "web", "\"port\":80", "10.0.0.2", false);
}

static void change_other(struct world *w)
{
    world_put(w, "other", "\"port\":82", "10.0.0.1", true);
}

static void override_other(struct world *w)
{
    world_edited(w, DOCUMENT_OVERRIDE, "other.expose#0", "{'listener_port': 8081}");
}

static void set_gateway(struct world *w)
{
    world_edited(w, DOCUMENT_GATEWAY, "envoy", "{'port_min': 3000}");
}

static void change_word(struct world *w)
{
    world_put(w, "web", "\"port\":88", "10.0.0.1", true);
}

static void change_word_and_back(struct world *w)
{
    change_word(w);
    world_committed(w);
    world_put(w, "web", "\"port\":80", "10.0.0.1", true);
}

static void override(struct world *w)
{
    world_edited(w, DOCUMENT_OVERRIDE, "web.expose#0", "{'lb_policy': 'random'}");
}

/* Both are made by somebody who has seen none of it. */
static void override_twice(struct world *w)
{
    override(w);
    world_edited(w, DOCUMENT_OVERRIDE, "web.expose#0", "{'lb_policy': 'maglev'}");
}

static void make_exposure(struct world *w)
{
    world_edited(w, DOCUMENT_EXPOSURE, "web.expose#0", "{'port': 1}");
}

static void remove_service(struct world *w)
{
    store_remove_service(w->store, "web");
}

/* A request whose view is old is taken exactly when what it was made from is the same. */
TEST(an_edit_is_refused_exactly_when_what_it_was_made_from_is_another)
{
    static const struct {
        void (*happens)(struct world *w);
        bool refused;
    } cases[] = {{flip, false},         {change_other, false},         {override_other, false},
                 {set_gateway, false},  {change_word_and_back, false}, {change_word, true},
                 {override, true},      {override_twice, true},        {make_exposure, true},
                 {remove_service, true}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
        struct edit_request *r;
        struct world w;

        world_start(&w);
        world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
        world_put(&w, "other", "\"port\":81", "10.0.0.1", true);
        world_committed(&w);
        r = edit_batch_request(b, &w, NULL);
        edit_batch_add(b, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
        cases[i].happens(&w);
        world_committed(&w);
        edit_batch_run(b, &w);
        if (r->result != (cases[i].refused ? -EAGAIN : 0))
            test_fail(__FILE__, __LINE__, "case %zu: %d", i, r->result);
        CHECK_INT(world_port(&w, "web", "expose#0") == 8080, !cases[i].refused);
        world_clear(&w);
    }
}

TEST(an_edit_is_refused_for_an_agents_word_that_came_but_was_not_committed_yet)
{
    _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
    struct edit_request *r;
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    r = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    world_put(&w, "web", "\"port\":88", "10.0.0.1", true);
    edit_batch_run(b, &w);
    CHECK_INT(r->result, -EAGAIN);
    world_committed(&w);
    CHECK_INT(world_port(&w, "web", "expose#0"), 88);
    world_clear(&w);
}

TEST(a_batch_takes_each_request_on_top_of_those_before_and_publishes_one_view_each)
{
    _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
    struct edit_request *first, *same, *second, *nothing, *third;
    struct world w;
    uint64_t before;

    world_start(&w);
    before = world_revision(&w);
    first = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_EXPOSURE, "a.expose#0", "{'port': 80}");
    edit_batch_add(b, DOCUMENT_EXPOSURE, "a.expose#1", "{'port': 81}");
    same = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_EXPOSURE, "b.expose#0", "{'port': 82}");
    edit_batch_add(b, DOCUMENT_EXPOSURE, "a.expose#1", "{'port': 83}");
    second = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_EXPOSURE, "c.expose#0", "{'port': 84}");
    nothing = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_GRANT, "root|domain|x.org", NULL);
    third = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_TOKEN, "0123456789abcdef", "{'name': 't'}");
    CHECK_INT(edit_batch_run(b, &w), 3);
    CHECK_INT(first->result, 0);
    CHECK_INT(same->result, -EAGAIN);
    CHECK_INT(second->result, 0);
    CHECK_INT(nothing->result, 0);
    CHECK_INT(third->result, 0);
    CHECK_INT(first->revision, before + 1);
    CHECK_INT(second->revision, before + 2);
    CHECK_INT(third->revision, before + 3);
    CHECK_INT(nothing->revision, before + 3);
    CHECK_INT(world_revision(&w), before + 3);
    CHECK_INT(world_port(&w, "a", "expose#1"), 81);
    CHECK(world_service(&w, "b") == NULL);
    CHECK(document(&w, DOCUMENT_EXPOSURE, "b.expose#0") == NULL);
    CHECK_INT(document(&w, DOCUMENT_EXPOSURE, "a.expose#1")->revision, before + 1);
    world_clear(&w);
}

TEST(limits_have_their_codes_and_words)
{
    _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
    _cleanup_(mem_free_p) char *name = mem_alloc(DOCUMENT_NAME_MAX + 2), *body = mem_alloc(DOCUMENT_BODY_MAX + 20);
    struct edit_request *many, *long_name, *large, *fits;
    struct world w;

    world_start(&w);
    many = edit_batch_request(b, &w, NULL);
    for (int i = 0; i <= EDITS_MAX; i++) {
        char token[32];

        snprintf(token, sizeof(token), "%016x", i);
        edit_batch_add(b, DOCUMENT_TOKEN, token, "{}");
    }
    memset(name, 'n', DOCUMENT_NAME_MAX + 1);
    long_name = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_GRANT, name, "{}");
    memset(body, 'b', DOCUMENT_BODY_MAX + 1);
    memcpy(body, "{\"a\":\"", 6);
    memcpy(body + DOCUMENT_BODY_MAX - 1, "\"}", 3);
    large = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_TOKEN, "0000000000000001", body);
    memcpy(body + DOCUMENT_BODY_MAX - 2, "\"}", 3);
    fits = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_TOKEN, "0000000000000001", body);
    CHECK_INT(edit_batch_run(b, &w), 1);
    CHECK_INT(many->result, -EMSGSIZE);
    CHECK(strstr(many->error.text, "1000") != NULL);
    CHECK_INT(long_name->result, -EMSGSIZE);
    CHECK_INT(large->result, -EMSGSIZE);
    CHECK_INT(fits->result, 0);
    world_reopen(&w);
    CHECK_STR(document(&w, DOCUMENT_TOKEN, "0000000000000001")->body, body);
    world_clear(&w);
}

/* Names become parts of Envoy's names, which have a length. */
TEST(an_exposures_name_that_envoys_names_have_no_room_for_is_refused)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    json_t *spec = json_pack("{s:i, s:[s], s:[{s:s, s:s, s:s}]}", "port", 443, "sni", "a.example.org",
                             "listener_certificates", "rid", "certificate#0", "certificate_chain_inline_string",
                             c->pem, "private_key_inline_string", c->key_pem);
    _cleanup_(mem_free_p) char *body = json_canonical(spec);
    struct world w;

    json_decref(spec);
    world_start(&w);
    for (size_t length = 10; length < DOCUMENT_NAME_MAX; length += 1 + length / 7) {
        _cleanup_(mem_free_p) char *name = mem_alloc(length + 10);
        _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
        struct edit_request *r = edit_batch_request(b, &w, NULL);
        struct translator *t = translator_new(NULL, NULL);
        struct view_delta *d;

        memset(name, 'n', length);
        memcpy(name + length, ".expose#0", 10);
        edit_batch_add(b, DOCUMENT_EXPOSURE, name, body);
        edit_batch_run(b, &w);
        CHECK(r->result == (length + 9 > EXPOSURE_NAME_MAX ? -EMSGSIZE : 0));
        d = store_initial_delta(w.store);
        xds_batch_free(translate(t, d));
        view_delta_free(d);
        translator_free(t);
        if (r->result == 0)
            world_edited(&w, DOCUMENT_EXPOSURE, name, NULL);
    }
    world_clear(&w);
}

/* ---- overrides ---- */

static const char *const shared_routes[] = {
    "expose#0", "expose.envoy", "{\"port\":80,\"vhosts\":[\"vhost#0\"]}",
    "expose#1", "expose.envoy", "{\"port\":81,\"vhosts\":[\"vhost#0\",\"vhost#1\"]}",
    "route#0",  "route.envoy",  "{\"match_prefix\":\"/a\"}",
    "route#1",  "route.envoy",  "{\"match_prefix\":\"/b\"}",
    "vhost#0",  "vhost.envoy",  "{\"domains\":[\"a.org\"],\"routes\":[\"route#0\",\"route#1\"]}",
    "vhost#1",  "vhost.envoy",  "{\"domains\":[\"b.org\"],\"routes\":[\"route#0\"]}",
    NULL};

TEST(an_override_of_shared_sections_changes_its_exposure_alone)
{
    const struct exposure *x, *y;
    struct world w;

    world_start(&w);
    world_put_full(&w, "web", shared_routes, one_address);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0",
                 "{'vhosts': [{'rid': 'vhost#0', 'domains': ['a.org'], 'routes': [{'rid': 'route#0', "
                 "'match_prefix': '/changed'}]}]}");
    x = world_exposure(&w, "web", "expose#0")->x;
    y = world_exposure(&w, "web", "expose#1")->x;
    CHECK(x->valid && y->valid);
    CHECK_STR(x->vhosts[0]->routes[0]->match_value, "/changed");
    CHECK_INT(x->vhosts[0]->n_routes, 1);
    CHECK_STR(y->vhosts[0]->routes[0]->match_value, "/a");
    CHECK_INT(y->vhosts[0]->n_routes, 2);
    CHECK_INT(x->origin, ORIGIN_OVERRIDDEN);
    CHECK_INT(y->origin, ORIGIN_AGENT);
    CHECK_STR(x->vhosts[0]->name, "web.expose#0.vhost#0");
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", NULL);
    x = world_exposure(&w, "web", "expose#0")->x;
    CHECK_INT(x->origin, ORIGIN_AGENT);
    CHECK_INT(x->vhosts[0]->n_routes, 2);
    world_clear(&w);
}

TEST(an_override_survives_what_the_agent_says_of_other_fields)
{
    const struct exposure *x;
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    world_put(&w, "web", "\"port\":99,\"listener_port\":7,\"lb_policy\":\"random\"", "10.0.0.3", true);
    world_committed(&w);
    x = world_exposure(&w, "web", "expose#0")->x;
    CHECK_INT(x->listener_port, 8080);
    CHECK_INT(x->port, 99);
    CHECK_INT(x->lb_policy, LB_RANDOM);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->endpoints[0].port, 99);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", NULL);
    CHECK_INT(world_port(&w, "web", "expose#0"), 7);
    world_clear(&w);
}

/* Whoever it is, from the present view. */
static void edit_as(struct world *w, const char *author, const char *body)
{
    _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
    struct edit_request *r = edit_batch_request(b, w, NULL);

    r->author = author;
    edit_batch_add(b, DOCUMENT_OVERRIDE, "web.expose#0", body);
    edit_batch_run(b, w);
    CHECK_INT(r->result, 0);
}

static void check_member(struct world *w, const char *field, const char *author, uint64_t revision)
{
    struct view *v = store_view(w->store);
    const struct document *d = view_document(v, DOCUMENT_OVERRIDE, "web.expose#0");
    const struct document_member m = document_member(d, field);

    CHECK_STR(m.author, author);
    CHECK_INT(m.revision, revision);
    CHECK(m.created >= d->created && m.created <= m.updated && m.updated <= d->updated);
    view_unref(v);
}

TEST(each_member_of_an_override_is_the_ones_who_set_it_so)
{
    struct world w;
    uint64_t first;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    edit_as(&w, "alice", "{'listener_port': 8080, 'protocol': 'tcp', 'sni': ['a.example']}");
    first = world_revision(&w);
    edit_as(&w, "bob", "{'lb_policy': 'random', 'listener_port': 8080, 'sni': ['b.example']}");
    for (int i = 0; i < 2; i++) {
        check_member(&w, "listener_port", "alice", first);
        check_member(&w, "sni", "bob", first + 1);
        check_member(&w, "lb_policy", "bob", first + 1);
        world_reopen(&w);
    }
    edit_as(&w, "carol", "{'listener_port': 8080, 'protocol': 'tcp'}");
    check_member(&w, "listener_port", "alice", first);
    check_member(&w, "protocol", "carol", first + 2);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", NULL);
    world_reopen(&w);
    edit_as(&w, "bob", "{'listener_port': 8080}");
    check_member(&w, "listener_port", "bob", first + 4);
    world_clear(&w);
}

TEST(an_override_is_inert_while_the_exposure_is_gone_and_in_effect_when_it_returns)
{
    static const char *const other[] = {"expose#1", "expose.envoy", "{\"port\":81}", NULL};
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    for (int i = 0; i < 4; i++) {
        if (i % 2)
            store_remove_service(w.store, "web");
        else
            world_put_full(&w, "web", other, one_address);
        world_committed(&w);
        CHECK_INT(world_port(&w, "web", "expose#0"), 0);
        CHECK(document(&w, DOCUMENT_OVERRIDE, "web.expose#0") != NULL);
        if (i >= 2)
            world_reopen(&w);
        world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
        world_committed(&w);
        CHECK_INT(world_port(&w, "web", "expose#0"), 8080);
    }
    world_clear(&w);
}

TEST(an_override_of_what_never_was_is_kept_and_waits)
{
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    CHECK(world_service(&w, "web") == NULL);
    world_reopen(&w);
    CHECK(world_service(&w, "web") == NULL);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "web", "expose#0"), 8080);
    world_clear(&w);
}

TEST(an_exposure_can_be_disabled_and_keeps_its_place)
{
    struct world w;
    uint64_t since;

    world_start(&w);
    world_put(&w, "web", "\"port\":80,\"listener_port\":0", "10.0.0.1", true);
    world_committed(&w);
    since = world_exposure(&w, "web", "expose#0")->since;
    CHECK_INT(world_port(&w, "web", "expose#0"), 1025);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'enabled': false}");
    CHECK_STR(world_exposure(&w, "web", "expose#0")->hindrance->code, "disabled");
    CHECK(world_verdict(&w, "envoy|0.0.0.0:1025/tcp", "web.expose#0") == NULL);
    world_reopen(&w);
    CHECK_STR(world_exposure(&w, "web", "expose#0")->hindrance->code, "disabled");
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", NULL);
    CHECK(world_exposure(&w, "web", "expose#0")->hindrance == NULL);
    CHECK_INT(world_port(&w, "web", "expose#0"), 1025);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->since, since);
    world_clear(&w);
}

TEST(an_override_and_a_word_of_the_agent_that_do_not_fit_keep_the_last_good_form)
{
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0",
                 "{'vhosts': [{'domains': ['a.org']}], 'listener_port': 8080}");
    world_put(&w, "web", "\"port\":80,\"protocol\":\"udp\"", "10.0.0.2", true);
    world_committed(&w);
    for (int i = 0; i < 3; i++) {
        const struct service_exposure *sx = world_exposure(&w, "web", "expose#0");

        CHECK(sx->kept && !sx->declared->valid);
        CHECK_INT(sx->x->n_vhosts, 1);
        CHECK_INT(sx->listener_port, 8080);
        CHECK_STR(sx->endpoints[0].node, "node1");
        world_reopen(&w);
    }
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", NULL);
    CHECK(!world_exposure(&w, "web", "expose#0")->kept);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->protocol, PROTOCOL_UDP);
    world_clear(&w);
}

TEST(an_override_keeps_the_names_of_what_it_leaves_alone)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    json_t *pair =
        json_pack("{s:s, s:s}", "certificate_chain_inline_string", c->pem, "private_key_inline_string", c->key_pem);
    _cleanup_(mem_free_p) char *info = json_canonical(pair);
    const char *const resources[] = {"certificate#1",
                                     "certificate.tls",
                                     info,
                                     "expose#0",
                                     "expose.envoy",
                                     ("{\"port\":443,\"listener_certificates\":[\"certificate#1\"],"
                                      "\"vhosts\":[\"vhost#4\"]}"),
                                     "vhost#4",
                                     "vhost.envoy",
                                     "{\"domains\":[\"a.example.org\"]}",
                                     NULL};
    const struct exposure *x;
    struct world w;

    json_decref(pair);
    world_start(&w);
    world_put_full(&w, "web", resources, one_address);
    world_committed(&w);
    CHECK_STR(world_exposure(&w, "web", "expose#0")->x->listener_certificates[0]->name, "web.certificate#1");
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'lb_policy': 'random'}");
    x = world_exposure(&w, "web", "expose#0")->x;
    CHECK_INT(x->lb_policy, LB_RANDOM);
    CHECK_STR(x->vhosts[0]->name, "web.expose#0.vhost#4");
    /* Another name would be another secret to Envoy, and the chain would drain. */
    CHECK_STR(x->listener_certificates[0]->name, "web.certificate#1");
    world_clear(&w);
}

/* A port that only an override asks for is not the agent's to know. */
TEST(ports_are_written_back_for_what_the_agent_asked_for_alone)
{
    struct port_write_back wb;
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "made.expose#0", "{'port': 80, 'listener_port': 0}");
    world_put(&w, "declared", "\"port\":80,\"listener_port\":7000", "10.0.0.1", true);
    world_put(&w, "asked", "\"port\":80,\"listener_port\":0", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "declared.expose#0", "{'listener_port': 0}");
    world_edited(&w, DOCUMENT_OVERRIDE, "asked.expose#0", "{'lb_policy': 'random'}");
    CHECK(world_port(&w, "made", "expose#0") >= 1025);
    CHECK(world_port(&w, "declared", "expose#0") != 7000);
    CHECK(store_next_write_back(w.store, &wb));
    CHECK_STR(wb.path, "asked");
    port_write_back_clear(&wb);
    CHECK(!store_next_write_back(w.store, &wb));
    world_clear(&w);
}

/* ---- exposures over the API ---- */

TEST(an_exposure_over_the_api_needs_no_service_of_the_agent)
{
    const struct service_exposure *sx;
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "ext.expose#0",
                 "{'port': 80, 'listener_port': 8080, 'endpoints': [{'address': '192.0.2.7', 'port': 81}, "
                 "{'address': '2001:db8::7', 'port': 82}]}");
    for (int i = 0; i < 3; i++) {
        char name[ENDPOINT_NAME_MAX];

        sx = world_exposure(&w, "ext", "expose#0");
        CHECK_INT(sx->x->origin, ORIGIN_API);
        CHECK_INT(sx->n_endpoints, 2);
        CHECK_INT(sx->n_up, 2);
        CHECK_STR(endpoint_name(&sx->endpoints[0], name, sizeof(name)), "192.0.2.7:81");
        CHECK_STR(endpoint_name(&sx->endpoints[1], name, sizeof(name)), "[2001:db8::7]:82");
        CHECK(world_verdict(&w, "envoy|0.0.0.0:8080/tcp", "ext.expose#0") != NULL);
        if (i == 0)
            world_reopen(&w);
        /* A complete fetch in which it is not. */
        world_sync_nothing(&w);
    }
    store_remove_service(w.store, "ext");
    world_committed(&w);
    CHECK(world_service(&w, "ext") != NULL);
    world_edited(&w, DOCUMENT_EXPOSURE, "ext.expose#0", NULL);
    CHECK(world_service(&w, "ext") == NULL);
    world_reopen(&w);
    CHECK(world_service(&w, "ext") == NULL);
    world_clear(&w);
}

TEST(an_exposure_over_the_api_stands_beside_the_agents_of_the_same_service)
{
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "web.expose#7",
                 "{'port': 81, 'endpoints': [{'address': '192.0.2.7', 'port': 81}]}");
    CHECK_INT(world_service(&w, "web")->n_exposures, 2);
    CHECK_STR(world_exposure(&w, "web", "expose#0")->endpoints[0].node, "node1");
    CHECK_STR(world_exposure(&w, "web", "expose#7")->endpoints[0].state, "fixed");
    for (int i = 0; i < 2; i++) {
        store_remove_service(w.store, "web");
        world_committed(&w);
        CHECK_INT(world_service(&w, "web")->n_exposures, 1);
        CHECK(world_service(&w, "web")->word == NULL);
        CHECK_INT(world_port(&w, "web", "expose#7"), 81);
        world_reopen(&w);
        CHECK_INT(world_service(&w, "web")->n_exposures, 1);
        world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
        world_committed(&w);
        CHECK_INT(world_service(&w, "web")->n_exposures, 2);
        world_reopen(&w);
        CHECK_INT(world_service(&w, "web")->n_exposures, 2);
    }
    world_clear(&w);
}

TEST(an_agents_exposure_that_takes_the_name_of_the_apis_is_shadowed_until_that_goes)
{
    const struct service_exposure *sx;
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "web.expose#0",
                 "{'port': 81, 'endpoints': [{'address': '192.0.2.7', 'port': 81}]}");
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    for (int i = 0; i < 2; i++) {
        sx = world_exposure(&w, "web", "expose#0");
        CHECK_INT(world_service(&w, "web")->n_exposures, 1);
        CHECK_INT(sx->x->origin, ORIGIN_API);
        CHECK_INT(sx->listener_port, 81);
        CHECK(sx->x->valid);
        CHECK_INT(sx->x->n_problems, 1);
        CHECK_STR(sx->x->problems[0].code, "shadowed");
        CHECK_STR(sx->endpoints[0].state, "fixed");
        world_reopen(&w);
    }
    store_remove_service(w.store, "web");
    world_committed(&w);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->n_problems, 0);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "web.expose#0", NULL);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->origin, ORIGIN_AGENT);
    CHECK_INT(world_port(&w, "web", "expose#0"), 80);
    CHECK_STR(world_exposure(&w, "web", "expose#0")->endpoints[0].node, "node1");
    world_clear(&w);
}

/* The agent's exposure went, one was made over the API, the agent's came back: the override is not the API's. */
TEST(an_exposure_and_an_override_of_one_name_are_one_exposure)
{
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    store_remove_service(w.store, "web");
    world_committed(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "web.expose#0", "{'port': 81}");
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_service(&w, "web")->n_exposures, 1);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->origin, ORIGIN_API);
    CHECK_INT(world_port(&w, "web", "expose#0"), 81);
    world_reopen(&w);
    CHECK_INT(world_service(&w, "web")->n_exposures, 1);
    world_edited(&w, DOCUMENT_EXPOSURE, "web.expose#0", NULL);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->origin, ORIGIN_OVERRIDDEN);
    CHECK_INT(world_port(&w, "web", "expose#0"), 8080);
    world_clear(&w);
}

static char *problems_of(struct world *w, const char *body)
{
    const struct exposure *x;

    world_edited(w, DOCUMENT_EXPOSURE, "ext.expose#0", body);
    x = world_exposure(w, "ext", "expose#0")->declared;
    if (x->valid)
        return mem_strdup("");
    CHECK(x->n_problems > 0);
    return mem_printf("%s %s: %s", x->problems[0].code, x->problems[0].field, x->problems[0].text);
}

TEST(fixed_endpoints_are_addresses_or_names_and_not_both)
{
    static const char *const good[] = {"192.0.2.1", "2001:db8::1", "db.example.org", "a-1.b", "db"};
    static const char *const bad[] = {"",           "a b",         "*.example.org", "-a..b", "[::1]",
                                      "localhost",  "x.localhost", "LOCALHOST",     "127.1", "0x7f000001",
                                      "2130706433", "1.2.3.4.5",   "localhost.",    "a/b",   "a:b"};
    struct world w;

    world_start(&w);
    for (size_t i = 0; i < ARRAY_LEN(good) + ARRAY_LEN(bad); i++) {
        bool is_good = i < ARRAY_LEN(good);
        const char *address = is_good ? good[i] : bad[i - ARRAY_LEN(good)];
        _cleanup_(mem_free_p) char *body =
            mem_printf("{'port': 80, 'endpoints': [{'address': '%s', 'port': 81}]}", address);
        _cleanup_(mem_free_p) char *problems = problems_of(&w, body);

        if (is_good != (problems[0] == '\0'))
            test_fail(__FILE__, __LINE__, "\"%s\": %s", address, problems);
        CHECK(is_good || strstr(problems, "expose#0.endpoints"));
    }
    _cleanup_(mem_free_p) char *mixed = problems_of(
        &w, "{'port': 80, 'endpoints': [{'address': 'a.org', 'port': 1}, {'address': '192.0.2.1', 'port': 1}]}");
    CHECK_STR(mixed, "invalid expose#0.endpoints: are either all addresses or all DNS names");
    _cleanup_(mem_free_p) char *original = problems_of(
        &w, "{'port': 80, 'lb_policy': 'original_dst_lb', 'endpoints': [{'address': '192.0.2.1', 'port': 1}]}");
    CHECK(strstr(original, "original_dst_lb") != NULL);
    world_clear(&w);
}

TEST(fixed_endpoints_on_loopback_get_no_traffic)
{
    const struct service_exposure *sx;
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "ext.expose#0",
                 "{'port': 80, 'endpoints': [{'address': '127.0.0.1', 'port': 9901}, "
                 "{'address': '::ffff:127.0.0.1', 'port': 9901}, {'address': '192.0.2.1', 'port': 1}]}");
    sx = world_exposure(&w, "ext", "expose#0");
    CHECK_INT(sx->n_endpoints, 2); /* the mapped address is the other one */
    CHECK_INT(sx->n_up, 1);
    for (size_t i = 0; i < sx->n_endpoints; i++)
        CHECK_INT(sx->endpoints[i].refused, sx->endpoints[i].port == 9901);
    /* It is said where people look. */
    CHECK(world_service(&w, "ext")->n_warnings > 0);
    world_clear(&w);
}

TEST(the_agents_exposures_get_no_fixed_endpoints)
{
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80,\"endpoints\":[\"192.0.2.1:80\"],\"enabled\":false,\"origin\":\"api\"",
              "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->origin, ORIGIN_AGENT);
    CHECK(!world_exposure(&w, "web", "expose#0")->x->disabled);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->n_fixed, 0);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'endpoints': [{'address': '192.0.2.1', 'port': 80}]}");
    CHECK(!world_exposure(&w, "web", "expose#0")->declared->valid);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->n_fixed, 0);
    /* Nor do the words of an override reach the API's own. */
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'origin': 'api', 'enabled': true}");
    CHECK_INT(world_exposure(&w, "web", "expose#0")->x->origin, ORIGIN_OVERRIDDEN);
    world_clear(&w);
}

/* ---- drains ---- */

static void check_up(struct world *w, const char *path, const char *expected)
{
    const struct service_exposure *sx = world_exposure(w, path, "expose#0");
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const char *text = "";
    size_t up = 0;

    for (size_t i = 0; i < sx->n_endpoints; i++) {
        char name[ENDPOINT_NAME_MAX];

        text = arena_printf(a, "%s%s%s ", text,
                            sx->endpoints[i].up        ? ""
                            : sx->endpoints[i].drained ? "~"
                                                       : "!",
                            endpoint_name(&sx->endpoints[i], name, sizeof(name)));
        up += sx->endpoints[i].up;
    }
    CHECK_STR(text, expected);
    CHECK_INT(sx->n_up, up);
}

TEST(a_drained_endpoint_gets_nothing_new_whatever_the_agent_says)
{
    static const char *const resources[] = {"expose#0", "expose.envoy", "{\"port\":80}", NULL};
    static const char *const first_down[] = {"!10.0.0.1", "10.0.0.2", NULL};
    static const char *const second_down[] = {"10.0.0.1", "!10.0.0.2", NULL};
    struct world w;
    uint64_t before;

    world_start(&w);
    world_put_full(&w, "web", resources, two_addresses);
    world_committed(&w);
    world_edited(&w, DOCUMENT_DRAIN, "web.expose#0|10.0.0.1:80", "{'reason': 'patching'}");
    check_up(&w, "web", "~10.0.0.1:80 10.0.0.2:80 ");
    before = world_revision(&w);
    /* It flips meanwhile. */
    world_put_full(&w, "web", resources, first_down);
    world_committed(&w);
    check_up(&w, "web", "~10.0.0.1:80 10.0.0.2:80 ");
    world_put_full(&w, "web", resources, two_addresses);
    world_committed(&w);
    check_up(&w, "web", "~10.0.0.1:80 10.0.0.2:80 ");
    CHECK_INT(world_revision(&w), before);
    world_reopen(&w);
    check_up(&w, "web", "~10.0.0.1:80 10.0.0.2:80 ");
    world_edited(&w, DOCUMENT_DRAIN, "web.expose#0|10.0.0.2:80", "{}");
    check_up(&w, "web", "~10.0.0.1:80 ~10.0.0.2:80 ");
    world_edited(&w, DOCUMENT_DRAIN, "web.expose#0|10.0.0.1:80", NULL);
    check_up(&w, "web", "10.0.0.1:80 ~10.0.0.2:80 ");
    world_put_full(&w, "web", resources, second_down);
    world_committed(&w);
    world_edited(&w, DOCUMENT_DRAIN, "web.expose#0|10.0.0.2:80", NULL);
    check_up(&w, "web", "10.0.0.1:80 !10.0.0.2:80 ");
    world_clear(&w);
}

TEST(a_drain_waits_for_its_endpoint_and_is_of_one_exposure)
{
    static const char *const resources[] = {"expose#0", "expose.envoy", "{\"port\":80}",
                                            "expose#1", "expose.envoy", "{\"port\":80,\"listener_port\":81}",
                                            NULL};
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_DRAIN, "web.expose#0|10.0.0.1:80", "{}");
    world_edited(&w, DOCUMENT_DRAIN, "web.expose#01|10.0.0.2:80", "{}");
    world_put_full(&w, "web", resources, two_addresses);
    world_committed(&w);
    check_up(&w, "web", "~10.0.0.1:80 10.0.0.2:80 ");
    CHECK_INT(world_exposure(&w, "web", "expose#1")->n_up, 2);
    world_clear(&w);
}

TEST(a_fixed_endpoint_can_be_drained)
{
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "ext.expose#0",
                 "{'port': 80, 'endpoints': [{'address': '192.0.2.7', 'port': 81}, "
                 "{'address': '2001:db8::7', 'port': 82}]}");
    world_edited(&w, DOCUMENT_DRAIN, "ext.expose#0|[2001:db8::7]:82", "{}");
    check_up(&w, "ext", "192.0.2.7:81 ~[2001:db8::7]:82 ");
    world_reopen(&w);
    check_up(&w, "ext", "192.0.2.7:81 ~[2001:db8::7]:82 ");
    world_clear(&w);
}

/* ---- gateways ---- */

TEST(a_gateways_settings_are_in_effect_without_a_word_of_the_agent)
{
    const struct service_exposure *sx;
    struct world w;
    struct view *v;

    world_init(&w);
    w.options.check = translate_check;
    world_open(&w);
    world_put(&w, "web", "\"port\":80,\"vhosts\":[],\"cluster_data\":{\"connect_timeout\":\"2s\"}", "10.0.0.1", true);
    world_put(&w, "files",
              "\"port\":81,\"filter_config_data\":{\"access_log\":[{\"name\":\"envoy.access_loggers.file\","
              "\"typed_config\":{\"@type\":\"type.googleapis.com/envoy.extensions.access_loggers.file.v3."
              "FileAccessLog\",\"path\":\"/dev/stdout\"}}]}",
              "10.0.0.1", true);
    world_committed(&w);
    CHECK(world_exposure(&w, "web", "expose#0")->hindrance == NULL);
    sx = world_exposure(&w, "files", "expose#0");
    CHECK(sx->x->valid && sx->hindrance);
    CHECK_STR(sx->hindrance->code, "not_allowed");
    CHECK(world_verdict(&w, "envoy|0.0.0.0:81/tcp", "files.expose#0") == NULL);
    world_edited(&w, DOCUMENT_GATEWAY, "envoy", "{'allow_files': true}");
    CHECK(world_exposure(&w, "files", "expose#0")->hindrance == NULL);
    CHECK(world_verdict(&w, "envoy|0.0.0.0:81/tcp", "files.expose#0") != NULL);
    v = store_view(w.store);
    CHECK(view_gateway(v, "envoy")->allow_files);
    view_unref(v);
    world_reopen(&w);
    CHECK(world_exposure(&w, "files", "expose#0")->hindrance == NULL);
    world_edited(&w, DOCUMENT_GATEWAY, "envoy", NULL);
    CHECK_STR(world_exposure(&w, "files", "expose#0")->hindrance->code, "not_allowed");
    CHECK(world_verdict(&w, "envoy|0.0.0.0:81/tcp", "files.expose#0") == NULL);
    world_clear(&w);
}

TEST(a_gateways_range_of_ports_is_its_documents)
{
    struct world w;
    uint16_t port;

    world_init(&w);
    w.options.port_min = 2000;
    w.options.port_max = 2001;
    world_open(&w);
    for (int i = 0; i < 4; i++) {
        char path[16];

        snprintf(path, sizeof(path), "s%d", i);
        world_put(&w, path, "\"port\":80,\"listener_port\":0", "10.0.0.1", true);
    }
    world_committed(&w);
    CHECK_INT(world_port(&w, "s1", "expose#0"), 2001);
    CHECK_INT(world_port(&w, "s2", "expose#0"), 0);
    CHECK_STR(world_exposure(&w, "s2", "expose#0")->hindrance->code, "unready");
    world_edited(&w, DOCUMENT_GATEWAY, "envoy", "{'port_min': 3000, 'port_max': 3100}");
    port = world_port(&w, "s2", "expose#0");
    CHECK_INT(port, 3000);
    CHECK_INT(world_port(&w, "s3", "expose#0"), 3001);
    CHECK_INT(world_port(&w, "s0", "expose#0"), 2000);
    world_reopen(&w);
    CHECK_INT(world_port(&w, "s2", "expose#0"), 3000);
    CHECK_INT(world_port(&w, "s0", "expose#0"), 2000);
    world_clear(&w);
}

TEST(a_gateway_is_made_by_its_document_and_is_there_after_a_restart)
{
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_GATEWAY, "second", "{'allow_cluster_header': true}");
    for (int i = 0; i < 2; i++) {
        struct view *v = store_view(w.store);

        CHECK(view_gateway(v, "second") && view_gateway(v, "second")->allow_cluster_header);
        CHECK(!view_gateway(v, "second")->is_default);
        view_unref(v);
        world_reopen(&w);
    }
    world_clear(&w);
}

static int refuse_tcp_proxies(const struct exposure *x, const struct gateway *gateway, void *arg, struct err *e)
{
    (void)arg;
    return x || !gateway->bases[GATEWAY_TCP_PROXY] ? 0 : err_set(e, -EINVAL, NULL, "tcp_proxy_data.x", "is gone");
}

TEST(of_a_gateway_what_this_version_can_not_take_is_left_out_alone_and_said)
{
    struct gateway *g;
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_GATEWAY, "envoy", "{'port_min': 2000, 'tcp_proxy_data': {'x': 1}, 'cluster_data': {}}");
    for (int i = 0; i < 2; i++) {
        struct view *v = store_view(w.store);

        g = view_gateway(v, "envoy");
        CHECK(g && g->port_min == 2000 && g->bases[GATEWAY_CLUSTER]);
        CHECK(!g->bases[GATEWAY_TCP_PROXY] == (i == 1));
        view_unref(v);
        w.options.check = refuse_tcp_proxies;
        world_reopen(&w);
    }
    CHECK_STR(world_alarm(&w, "gateway envoy"),
              "is without its tcp_proxy_data.x, which this version can't take: is gone");
    world_edited(&w, DOCUMENT_GATEWAY, "envoy", "{'port_min': 2000}");
    CHECK(!world_alarm(&w, "gateway envoy"));
    world_clear(&w);
}

/* ---- certificates ---- */

static const char *const tls[] = {"certificate#1",
                                  "certificate.tls",
                                  "{\"certificate_secret\":\"one\"}",
                                  "expose#0",
                                  "expose.envoy",
                                  "{\"listener_certificates\":[\"certificate#1\"],\"port\":443,\"sni\":[\"a.org\"]}",
                                  NULL};

static char *pair_body(const struct test_certificate *c)
{
    json_t *body = json_pack("{s:s, s:s}", "certificate_chain", c->pem, "private_key", c->key_pem);
    char *text = json_canonical(body);

    json_decref(body);
    return text;
}

static size_t wanted(struct world *w)
{
    size_t n;

    store_wanted_secrets(w->store, &n);
    return n;
}

static const char *served(struct world *w)
{
    struct view *v = store_view(w->store);
    const struct secret *s = view_secret(v, "test/sec/one");

    view_unref(v); /* the store's own reference keeps it until the next commit */
    return s && s->has_pair ? s->info.fingerprint : "";
}

static enum verdict_kind tls_verdict(struct world *w)
{
    return world_verdict(w, "envoy|0.0.0.0:443/tcp", "test/svc/web.expose#0")->kind;
}

TEST(a_certificate_over_the_api_stands_for_the_agents_secret_until_it_goes)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *a = test_certificate_for("a.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *b = test_certificate_for("a.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *agents = test_certificate_for("a.org");
    const struct secret_values values = {.certificate_chain = agents->pem, .private_key = agents->key_pem};
    _cleanup_(mem_free_p) char *body_a = pair_body(a), *body_b = pair_body(b);
    struct world w;
    uint64_t version;

    world_start(&w);
    world_put_full(&w, "test/svc/web", tls, one_address);
    world_committed(&w);
    CHECK_INT(wanted(&w), 1);
    CHECK_INT(tls_verdict(&w), VERDICT_NOT_READY);
    store_put_secret(w.store, "test/sec/one", "c1", &values, NULL);
    world_committed(&w);
    CHECK_STR(served(&w), agents->fingerprint);
    version = store_wanted_version(w.store);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", body_a);
    CHECK_STR(served(&w), a->fingerprint);
    CHECK_INT(wanted(&w), 0);
    CHECK(store_wanted_version(w.store) != version);
    CHECK_INT(tls_verdict(&w), VERDICT_ACCEPTED);
    /* The agent's own comes late. */
    store_put_secret(w.store, "test/sec/one", "c2", &values, NULL);
    world_committed(&w);
    CHECK_STR(served(&w), a->fingerprint);
    world_reopen(&w);
    CHECK_STR(served(&w), a->fingerprint);
    CHECK_INT(wanted(&w), 0);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", body_b);
    CHECK_STR(served(&w), b->fingerprint);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", NULL);
    CHECK_STR(served(&w), "");
    CHECK_INT(tls_verdict(&w), VERDICT_NOT_READY);
    CHECK_INT(wanted(&w), 1);
    world_reopen(&w);
    CHECK_STR(served(&w), "");
    store_put_secret(w.store, "test/sec/one", "c2", &values, NULL);
    world_committed(&w);
    CHECK_STR(served(&w), agents->fingerprint);
    CHECK_INT(tls_verdict(&w), VERDICT_ACCEPTED);
    world_reopen(&w);
    CHECK_STR(served(&w), agents->fingerprint);
    world_clear(&w);
}

TEST(a_certificate_of_the_api_is_there_whoever_refers_to_it_until_it_is_removed)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *a = test_certificate_for("a.org");
    _cleanup_(mem_free_p) char *body = pair_body(a);
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", body);
    CHECK_STR(served(&w), a->fingerprint);
    CHECK_INT(wanted(&w), 0);
    world_reopen(&w);
    CHECK_STR(served(&w), a->fingerprint);
    for (int i = 0; i < 2; i++) {
        world_put_full(&w, "test/svc/web", tls, one_address);
        world_committed(&w);
        CHECK_STR(served(&w), a->fingerprint);
        CHECK_INT(wanted(&w), 0);
        CHECK_INT(tls_verdict(&w), VERDICT_ACCEPTED);
        store_remove_service(w.store, "test/svc/web");
        world_committed(&w);
        CHECK_STR(served(&w), a->fingerprint);
        CHECK_INT(wanted(&w), 0);
    }
    CHECK(!world_files_hold(&w, "PRIVATE KEY"));
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", NULL);
    CHECK_STR(served(&w), "");
    CHECK_INT(wanted(&w), 0);
    world_clear(&w);
}

TEST(a_secret_towards_the_endpoints_is_judged_when_it_comes_and_goes)
{
    static const char *const upstream[] = {"certificate#1",
                                           "certificate.tls",
                                           "{\"certificate_secret\":\"one\"}",
                                           "expose#0",
                                           "expose.envoy",
                                           "{\"cluster_certificates\":[\"certificate#1\"],\"port\":443}",
                                           NULL};
    _cleanup_(test_certificate_free_p) struct test_certificate *a = test_certificate_for("a.org");
    _cleanup_(mem_free_p) char *body = pair_body(a);
    struct world w;

    world_start(&w);
    world_put_full(&w, "test/svc/web", upstream, one_address);
    world_committed(&w);
    CHECK_INT(tls_verdict(&w), VERDICT_PARTIAL);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", body);
    CHECK_INT(tls_verdict(&w), VERDICT_ACCEPTED);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", NULL);
    CHECK_INT(tls_verdict(&w), VERDICT_PARTIAL);
    world_clear(&w);
}

/* ---- grants ---- */

TEST(a_grant_lets_a_namespace_use_anothers_secret)
{
    static const char *const other[] = {
        "certificate#1",
        "certificate.tls",
        "{\"certificate_secret\":\"test/sec/one\"}",
        "expose#0",
        "expose.envoy",
        "{\"listener_certificates\":[\"certificate#1\"],\"port\":443,\"sni\":[\"a.org\"]}",
        NULL};
    _cleanup_(test_certificate_free_p) struct test_certificate *a = test_certificate_for("a.org");
    _cleanup_(mem_free_p) char *body = pair_body(a);
    static const char listener[] = "envoy|0.0.0.0:443/tcp", exposure[] = "prod/svc/web.expose#0";
    struct world w;

    world_start(&w);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", body);
    world_put_full(&w, "prod/svc/web", other, one_address);
    world_committed(&w);
    CHECK_INT(world_verdict(&w, listener, exposure)->kind, VERDICT_INVALID);
    world_edited(&w, DOCUMENT_GRANT, "prod|domain|test/sec/one", "{}");
    world_edited(&w, DOCUMENT_GRANT, "prod2|secret|test/sec/one", "{}");
    CHECK_INT(world_verdict(&w, listener, exposure)->kind, VERDICT_INVALID);
    world_edited(&w, DOCUMENT_GRANT, "prod|secret|test/sec/one", "{'reason': 'shared'}");
    CHECK_INT(world_verdict(&w, listener, exposure)->kind, VERDICT_ACCEPTED);
    world_reopen(&w);
    CHECK_INT(world_verdict(&w, listener, exposure)->kind, VERDICT_ACCEPTED);
    world_edited(&w, DOCUMENT_GRANT, "prod|secret|test/sec/one", NULL);
    CHECK_INT(world_verdict(&w, listener, exposure)->kind, VERDICT_INVALID);
    world_clear(&w);
}

TEST(a_grant_lets_a_namespace_share_a_domain_that_another_holds)
{
    static const char *const mine[] = {
        "expose#0", "expose.envoy", "{\"port\":80,\"vhosts\":[\"vhost#0\"]}",
        "route#0",  "route.envoy",  "{\"match_prefix\":\"/mine\"}",
        "vhost#0",  "vhost.envoy",  "{\"domains\":[\"a.org\"],\"routes\":[\"route#0\"]}",
        NULL};
    static const char *const theirs[] = {
        "expose#0", "expose.envoy", "{\"port\":80,\"vhosts\":[\"vhost#0\"]}",
        "route#0",  "route.envoy",  "{\"match_prefix\":\"/theirs\"}",
        "vhost#0",  "vhost.envoy",  "{\"domains\":[\"a.org\"],\"routes\":[\"route#0\"]}",
        NULL};
    static const char listener[] = "envoy|0.0.0.0:80/tcp";
    struct world w;

    world_start(&w);
    world_put_full(&w, "test/svc/web", mine, one_address);
    world_committed(&w);
    world_put_full(&w, "prod/svc/web", theirs, one_address);
    world_committed(&w);
    CHECK_INT(world_verdict(&w, listener, "prod/svc/web.expose#0")->kind, VERDICT_CONFLICT);
    world_edited(&w, DOCUMENT_GRANT, "prod|domain|a.org", "{}");
    CHECK_INT(world_verdict(&w, listener, "prod/svc/web.expose#0")->kind, VERDICT_ACCEPTED);
    CHECK_INT(world_verdict(&w, listener, "test/svc/web.expose#0")->kind, VERDICT_ACCEPTED);
    world_edited(&w, DOCUMENT_GRANT, "prod|domain|a.org", NULL);
    CHECK_INT(world_verdict(&w, listener, "prod/svc/web.expose#0")->kind, VERDICT_CONFLICT);
    CHECK_INT(world_verdict(&w, listener, "test/svc/web.expose#0")->kind, VERDICT_ACCEPTED);
    world_clear(&w);
}

/* ---- revisions ---- */

TEST(revisions_tell_before_and_after_and_the_oldest_leave)
{
    _cleanup_(mem_free_p) char *before = NULL, *after = NULL;
    enum { ROUNDS = STORE_REVISIONS_MAX + 30, AT_ONCE = 10 };
    uint64_t first = 0, last = 0;
    struct world w;
    struct view *v;

    world_start(&w);
    for (int i = 0; i < ROUNDS; i += AT_ONCE) {
        _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();

        for (int k = 0; k < AT_ONCE; k++) {
            char name[32], body[64];

            snprintf(name, sizeof(name), "%016d", k);
            snprintf(body, sizeof(body), "{'n': %d}", i + k);
            edit_batch_request(b, &w, NULL);
            edit_batch_add(b, DOCUMENT_TOKEN, name, (i / AT_ONCE) % 5 == 4 ? NULL : body);
        }
        CHECK_INT(edit_batch_run(b, &w), AT_ONCE);
    }
    before = world_dump_whole(&w);
    v = store_view(w.store);
    CHECK_INT(pmap_count(v->revisions), STORE_REVISIONS_MAX);
    for (const struct revision *r = pmap_after(v->revisions, &view_revisions, ""); r;
         r = pmap_after(v->revisions, &view_revisions, r->key)) {
        first = first ? first : r->number;
        CHECK(!last || r->number == last + 1);
        last = r->number;
        CHECK_INT(r->n_documents, 1);
        CHECK(r->documents[0].before || r->documents[0].after);
        CHECK(!r->documents[0].after || r->documents[0].after->revision == r->number);
        CHECK(!r->documents[0].before || r->documents[0].before->revision == r->number - AT_ONCE);
    }
    CHECK_INT(last, v->revision);
    view_unref(v);
    world_reopen(&w);
    after = world_dump_whole(&w);
    CHECK_STR(after, before);
    world_clear(&w);
}

TEST(the_agents_revisions_have_no_author)
{
    struct world w;
    struct view *v;

    world_start(&w);
    world_edited(&w, DOCUMENT_TOKEN, "0123456789abcdef", "{}");
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    for (int i = 0; i < 2; i++) {
        v = store_view(w.store);
        CHECK(view_revision(v, v->revision)->author == NULL);
        CHECK_STR(view_revision(v, v->revision)->cause, "test");
        CHECK_STR(view_revision(v, v->revision - 1)->author, "alice");
        view_unref(v);
        world_reopen(&w);
    }
    world_clear(&w);
}
