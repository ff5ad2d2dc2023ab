/*
 * Translation: only what changed is made, moved and dropped, and always the same. What the resources hold is seen end
 * to end against a real Envoy (test_translate_validate.py).
 */
#include "base/map.h"
#include "proto/protojson.h"
#include "proto/schema.h"
#include "tests/tools/translate_world.h"
#include "tests/unit/certs.h"
#include "tests/unit/quoted.h"
#include "tests/unit/test.h"

/* A world, its translator, and what an xDS server would hold after all batches. */
struct bench {
    struct world world;
    struct translator *translator;
    struct xds_batch *batch; /* the last one, or NULL */
    struct map held;         /* struct resource by "GATEWAY TYPE NAME" */
    size_t told;             /* how often faults were */
    char fault[2 * ERR_OBJECT_MAX + ERR_FIELD_MAX + ERR_TEXT_MAX];
};

struct held {
    struct resource *resource;
    char key[];
};

static void on_faults(void *arg, const char *exposure, const struct problem *now, size_t n_now,
                      const struct problem *before, size_t n_before)
{
    struct bench *b = arg;

    CHECK(exposure[0] && (n_now || n_before));
    CHECK(n_now != n_before || strcmp(now[0].text, before[0].text) != 0);
    b->told++;
    if (n_now)
        (void)snprintf(b->fault, sizeof(b->fault), "%s: %s: %s: %s", exposure, now[0].code, now[0].field,
                       now[0].text);
    else
        (void)snprintf(b->fault, sizeof(b->fault), "%s: none", exposure);
}

static void bench_init(struct bench *b)
{
    *b = (struct bench){.told = 0};
    b->translator = translator_new(on_faults, b);
}

static void bench_clear(struct bench *b)
{
    struct map_entry *entry;

    for (size_t i = 0; map_next(&b->held, &i, &entry);) {
        resource_unref(((struct held *)entry->value)->resource);
        mem_free(entry->value);
    }
    map_clear(&b->held);
    xds_batch_free(b->batch);
    translator_free(b->translator);
    world_clear(&b->world);
}

static void hold(struct bench *b, const struct xds_change *c)
{
    char key[1024];
    struct held *h;

    (void)snprintf(key, sizeof(key), "%s %s %s", c->gateway, xds_type_name[c->type], c->name);
    h = map_removes(&b->held, key);
    CHECK(h || c->after);                                                /* nothing goes that was not there */
    CHECK(!h || !c->after || h->resource->version != c->after->version); /* nothing is sent as it was */
    if (h)
        resource_unref(h->resource);
    mem_free(h);
    if (!c->after)
        return;
    CHECK_STR(c->after->name, c->name);
    CHECK_INT(c->after->type, c->type);
    CHECK_INT(resource_check(c->after, NULL), 0);
    h = mem_alloc(sizeof(*h) + strlen(key) + 1);
    memcpy(h->key, key, strlen(key) + 1);
    h->resource = resource_ref(c->after);
    map_puts(&b->held, h->key, h);
}

static void check_order(const struct xds_batch *b)
{
    for (size_t i = 1; i < b->n_changes; i++) {
        const struct xds_change *x = &b->changes[i - 1], *y = &b->changes[i];
        int order = strcmp(x->gateway, y->gateway);

        order = order ? order : (int)x->type - (int)y->type;
        CHECK((order ? order : strcmp(x->name, y->name)) < 0);
    }
}

/* Every name that something refers to can be had. */
static void check_references(const struct bench *b)
{
    struct map_entry *entry;

    for (size_t i = 0; map_next(&b->held, &i, &entry);) {
        const struct held *h = entry->value;
        const struct resource *r = h->resource;
        char gateway[64], key[1024];

        (void)snprintf(gateway, sizeof(gateway), "%.*s", (int)strcspn(h->key, " "), h->key);
        for (size_t k = 0; k < r->n_clusters; k++) {
            (void)snprintf(key, sizeof(key), "%s cluster %s", gateway, r->clusters[k]);
            CHECK(map_gets(&b->held, key));
        }
        for (size_t k = 0; k < r->n_route_needs + r->n_secret_needs; k++) {
            (void)snprintf(key, sizeof(key), "%s %s %s", gateway, k < r->n_route_needs ? "route" : "secret",
                           r->needs[k]);
            CHECK(map_gets(&b->held, key));
        }
        (void)snprintf(key, sizeof(key), "%s endpoint %s", gateway, r->name);
        if (r->type == XDS_CLUSTER)
            CHECK_INT(map_gets(&b->held, key) != NULL, r->uses_eds);
    }
}

static void bench_apply(struct bench *b, json_t *doc)
{
    _cleanup_(view_delta_free_p) struct view_delta *d = world_apply(&b->world, doc);

    xds_batch_free(b->batch);
    b->batch = translate(b->translator, d);
    if (!b->batch)
        return;
    check_order(b->batch);
    for (size_t i = 0; i < b->batch->n_changes; i++)
        hold(b, &b->batch->changes[i]);
    check_references(b);
}

/* Applies the document with the values put in at paths of keys: "services.test/svc/web.addresses". */
static void apply_text(struct bench *b, const char *text)
{
    json_t *doc = quoted_json(text);

    bench_apply(b, doc);
    json_decref(doc);
}

/* The batch in short: "+cluster NAME", "-listener NAME", one a line. Of one gateway. */
static void check_batch(const struct bench *b, const char *expected)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const char *text = "";

    for (size_t i = 0; b->batch && i < b->batch->n_changes; i++)
        text = arena_printf(a, "%s%c%s %s\n", text, b->batch->changes[i].after ? '+' : '-',
                            xds_type_name[b->batch->changes[i].type], b->batch->changes[i].name);
    CHECK_STR(text, expected);
}

static const struct resource *held(const struct bench *b, const char *key)
{
    const struct held *h = map_gets(&b->held, key);

    return h ? h->resource : NULL;
}

/* The resource as JSON contains the text. */
static bool holds(const struct bench *b, const char *key, const char *part)
{
    const struct resource *r = held(b, key);
    size_t n;
    json_t *json;

    if (!r)
        return false;
    const uint8_t *message = resource_message(r, &n);
    CHECK_INT(protojson_from_wire(message, n, schema_find_url(xds_type_url[r->type], strlen(xds_type_url[r->type])),
                                  0, &json, NULL),
              0);
    _cleanup_(mem_free_p) char *text = json_canonical(json);
    json_decref(json);
    return strstr(text, part);
}

#define L4(port, more)                                                                                               \
    "{'resources': {'expose#0': {'port': 80, 'listener_port': " port more "}}, 'addresses': ["                       \
    "{'address': '192.0.2.1', 'exposes': ['expose#0']}, {'address': '192.0.2.2', 'exposes': ['expose#0']}]}"
#define L7(domain, routes)                                                                                           \
    "{'resources': {'expose#0': {'port': 80, 'vhosts': ['vhost#0']}, 'vhost#0': {'domains': ['" domain               \
    "'], 'routes': [" routes "]}, 'route#0': {'match_prefix': '/a'}, 'route#1': {'match_prefix': '/b'}},"            \
    "'addresses': [{'address': '192.0.2.1', 'exposes': ['expose#0']}]}"

TEST(a_first_view_gives_everything)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", "") "}}");
    check_batch(&b, "+cluster test/svc/web.expose#0\n+endpoint test/svc/web.expose#0\n+listener 0.0.0.0:8080/tcp\n");
    CHECK(b.batch->complete);
    CHECK_INT(b.batch->revision, 1);
    CHECK_INT(b.batch->n_gateways, 1);
    CHECK_STR(b.batch->gateways[0], "envoy");
    const struct resource *listener = held(&b, "envoy listener 0.0.0.0:8080/tcp");
    CHECK_INT(listener->n_clusters, 1);
    CHECK_STR(listener->clusters[0], "test/svc/web.expose#0");
    CHECK(held(&b, "envoy cluster test/svc/web.expose#0")->uses_eds);
    CHECK(!listener->alone);
    bench_clear(&b);
}

TEST(an_empty_first_view_is_a_batch_too_and_names_the_gateways)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{}");
    CHECK(b.batch && b.batch->complete);
    CHECK_INT(b.batch->n_gateways, 1);
    CHECK_INT(b.batch->n_changes, 0);
    bench_clear(&b);
}

TEST(what_is_as_it_was_is_no_batch)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", "") "}}");
    b.world.same_revision = true;
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", "") "}}");
    CHECK(b.batch == NULL);
    /* A declaration that is new, and says the same. */
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", ", 'protocol': 'tcp'") "}}");
    CHECK(b.batch == NULL);
    bench_clear(&b);
}

TEST(a_new_revision_is_told_even_if_it_changes_nothing)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", "") "}}");
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", ", 'protocol': 'tcp'") "}}");
    CHECK(b.batch && b.batch->n_changes == 0);
    CHECK_INT(b.batch->revision, 2);
    bench_clear(&b);
}

TEST(an_endpoint_that_goes_down_changes_its_assignment_alone)
{
    struct bench b;
    json_t *doc =
        quoted_json("{'services': {'test/svc/web': " L4("8080", "") ", 'test/svc/other': " L4("8081", "") "}}");
    json_t *address = json_array_get(
        json_object_get(json_object_get(json_object_get(doc, "services"), "test/svc/web"), "addresses"), 0);

    bench_init(&b);
    bench_apply(&b, doc);
    json_object_set_new(address, "up", json_false());
    bench_apply(&b, doc);
    check_batch(&b, "+endpoint test/svc/web.expose#0\n");
    CHECK(!holds(&b, "envoy endpoint test/svc/web.expose#0", "192.0.2.1"));
    CHECK(holds(&b, "envoy endpoint test/svc/web.expose#0", "192.0.2.2"));
    /* What is down anyway may change as it likes. */
    b.world.same_revision = true;
    json_object_set_new(address, "address", json_string("192.0.2.9"));
    bench_apply(&b, doc);
    CHECK(b.batch == NULL);
    json_decref(doc);
    bench_clear(&b);
}

TEST(a_refused_endpoint_is_not_served)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': {'resources': {'expose#0': {'port': 9901}}, 'addresses': "
                   "[{'address': '127.0.0.1', 'exposes': ['expose#0']}]}}}");
    CHECK(held(&b, "envoy endpoint test/svc/web.expose#0"));
    CHECK(!holds(&b, "envoy endpoint test/svc/web.expose#0", "127.0.0.1"));
    bench_clear(&b);
}

TEST(an_assignment_does_not_depend_on_the_order_of_addresses)
{
    struct bench a, b;

    bench_init(&a);
    bench_init(&b);
    apply_text(&a, "{'services': {'s': {'resources': {'expose#0': {'port': 80}}, 'addresses': ["
                   "{'address': '192.0.2.2', 'exposes': ['expose#0']}, {'address': '192.0.2.1', 'exposes': "
                   "['expose#0']}]}}}");
    apply_text(&b, "{'services': {'s': {'addresses': [{'address': '192.0.2.1', 'exposes': ['expose#0']}, "
                   "{'address': '192.0.2.2', 'exposes': ['expose#0']}], 'resources': {'expose#0': {'port': 80}}}}}");
    CHECK(held(&a, "envoy endpoint s.expose#0")->version == held(&b, "envoy endpoint s.expose#0")->version);
    bench_clear(&a);
    bench_clear(&b);
}

TEST(a_service_that_goes_takes_all_of_its_own_along)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", "") ", 'test/svc/other': " L4("8081", "") "}}");
    apply_text(&b, "{'services': {'test/svc/other': " L4("8081", "") "}}");
    check_batch(&b, "-cluster test/svc/web.expose#0\n-endpoint test/svc/web.expose#0\n-listener 0.0.0.0:8080/tcp\n");
    CHECK_INT(b.held.count, 3);
    bench_clear(&b);
}

TEST(a_cluster_changes_with_its_keywords_and_its_listener_does_not)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", "") "}}");
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", ", 'lb_policy': 'least_request'") "}}");
    check_batch(&b, "+cluster test/svc/web.expose#0\n");
    bench_clear(&b);
}

TEST(virtual_hosts_and_routes_change_the_route_configuration_alone)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': " L7("a.example", "'route#0'") "}}");
    const struct resource *listener = held(&b, "envoy listener 0.0.0.0:80/tcp");
    CHECK(listener);
    CHECK_INT(listener->n_route_needs, 1);
    CHECK_INT(listener->n_clusters, 0);
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const char *routes = arena_printf(a, "+route %s\n", listener->needs[0]);
    apply_text(&b, "{'services': {'test/svc/web': " L7("a.example", "'route#0', 'route#1'") "}}");
    check_batch(&b, routes);
    apply_text(&b, "{'services': {'test/svc/web': " L7("b.example", "'route#0', 'route#1'") "}}");
    check_batch(&b, routes);
    const struct resource *configuration = held(&b, arena_printf(a, "envoy route %s", listener->needs[0]));
    CHECK_INT(configuration->n_clusters, 1);
    bench_clear(&b);
}

TEST(an_exposure_that_changes_its_gateway_leaves_one_and_comes_to_the_other)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", "") "}}");
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", ", 'gateway': 'edge'") "}}");
    CHECK_INT(b.batch->n_gateways, 2);
    CHECK_STR(b.batch->gateways[0], "edge");
    CHECK_INT(b.batch->n_changes, 6);
    for (size_t i = 0; i < 6; i++) {
        CHECK_STR(b.batch->changes[i].gateway, i < 3 ? "edge" : "envoy");
        CHECK((b.batch->changes[i].after != NULL) == (i < 3));
    }
    bench_clear(&b);
}

/* "GATEWAY EXPOSURE" of all that the batch is about, one a line. */
static void check_subjects(const struct bench *b, const char *expected)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const char *text = "";

    for (size_t i = 0; i < b->batch->n_subjects; i++)
        text = arena_printf(a, "%s%s %s\n", text, b->batch->subjects[i].gateway, b->batch->subjects[i].exposure);
    CHECK_STR(text, expected);
}

TEST(what_a_batch_is_about_is_named_once_and_by_gateway)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'s/a': " L4("8080", "") ", 's/b': " L4(
                       "8080", ", 'gateway': 'edge'") ", 's/c': " L4("8080", "") "}}");
    check_subjects(&b, "");
    /* The last one is another, and has its listener for itself. */
    apply_text(&b, "{'services': {'s/a': " L4("8081", "") ", 's/b': " L4(
                       "8080", ", 'gateway': 'edge', 'lb_policy': 'random'") ", 's/c': " L4("8080", ", 'lb_policy': "
                                                                                                    "'random'") "}}");
    check_subjects(&b, "edge s/b.expose#0\nenvoy s/a.expose#0\nenvoy s/c.expose#0\n");
    bench_clear(&b);
}

TEST(a_listener_port_that_moves_leaves_the_cluster_alone)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'services': {'test/svc/web': " L4("8080", "") "}}");
    apply_text(&b, "{'services': {'test/svc/web': " L4("8081", "") "}}");
    check_batch(&b, "-listener 0.0.0.0:8080/tcp\n+listener 0.0.0.0:8081/tcp\n");
    bench_clear(&b);
}

TEST(an_exposure_that_loses_its_listener_loses_its_cluster)
{
    struct bench b;
    json_t *doc = quoted_json("{'services': {'test/svc/b': " L4("8080", "") "}}");

    bench_init(&b);
    bench_apply(&b, doc);
    /* The smaller name holds the place, by the rules of the plan. */
    json_object_set_new(json_object_get(doc, "services"), "test/svc/a", quoted_json(L4("8080", "")));
    bench_apply(&b, doc);
    check_batch(&b, "+cluster test/svc/a.expose#0\n-cluster test/svc/b.expose#0\n+endpoint test/svc/a.expose#0\n"
                    "-endpoint test/svc/b.expose#0\n+listener 0.0.0.0:8080/tcp\n");
    json_object_del(json_object_get(doc, "services"), "test/svc/a");
    bench_apply(&b, doc);
    check_batch(&b, "-cluster test/svc/a.expose#0\n+cluster test/svc/b.expose#0\n-endpoint test/svc/a.expose#0\n"
                    "+endpoint test/svc/b.expose#0\n+listener 0.0.0.0:8080/tcp\n");
    json_decref(doc);
    bench_clear(&b);
}

/* ---- secrets ---- */

static void set_pair(json_t *doc, const char *path, const struct test_certificate *c)
{
    json_t *secrets = json_object_get(doc, "secrets");

    json_object_set_new(secrets, path, json_pack("{ss ss}", "certificate_chain", c->pem, "private_key", c->key_pem));
}

#define TLS(gateway, certificates)                                                                                   \
    "{'resources': {'expose#0': {'port': 443, 'sni': ['a.example'], 'gateway': '" gateway                            \
    "', 'listener_certificates': ['certificate#0']}, 'certificate#0': " certificates "}, 'addresses': ["             \
    "{'address': '192.0.2.1', 'exposes': ['expose#0']}]}"

TEST(a_secret_is_served_to_the_gateways_that_refer_to_it_as_long_as_they_do)
{
    struct bench b;
    json_t *doc = quoted_json("{'secrets': {}, 'services': {'test/svc/one': " TLS(
        "one", "{'certificate_secret': 'pair'}") ", 'test/svc/two': " TLS("two",
                                                                          "{'certificate_secret': "
                                                                          "'pair'}") ", "
                                                                                     "'test/svc/"
                                                                                     "three': " L4("8080", ", "
                                                                                                           "'gate"
                                                                                                           "way':"
                                                                                                           " '"
                                                                                                           "three"
                                                                                                           "'") "}}");
    json_t *services = json_object_get(doc, "services");
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example");

    bench_init(&b);
    set_pair(doc, "test/sec/pair", c);
    bench_apply(&b, doc);
    const struct resource *secret = held(&b, "one secret tls_certificate/test/sec/pair");
    CHECK(secret && secret->alone && secret->sensitive);
    CHECK(held(&b, "two secret tls_certificate/test/sec/pair"));
    CHECK(!held(&b, "three secret tls_certificate/test/sec/pair"));
    CHECK(held(&b, "one listener 0.0.0.0:443/tcp"));
    json_object_del(services, "test/svc/one");
    bench_apply(&b, doc);
    CHECK(!held(&b, "one secret tls_certificate/test/sec/pair"));
    CHECK(held(&b, "two secret tls_certificate/test/sec/pair"));
    json_decref(doc);
    bench_clear(&b);
}

TEST(a_rotated_secret_changes_nothing_else)
{
    struct bench b;
    json_t *doc = quoted_json(
        "{'secrets': {}, 'services': {'test/svc/web': " TLS("envoy", "{'certificate_secret': 'pair'}") "}}");
    _cleanup_(test_certificate_free_p) struct test_certificate *first = test_certificate_for("a.example");
    _cleanup_(test_certificate_free_p) struct test_certificate *second = test_certificate_for("a.example");

    bench_init(&b);
    set_pair(doc, "test/sec/pair", first);
    bench_apply(&b, doc);
    set_pair(doc, "test/sec/pair", second);
    bench_apply(&b, doc);
    check_batch(&b, "+secret tls_certificate/test/sec/pair\n");
    json_decref(doc);
    bench_clear(&b);
}

TEST(a_listener_comes_with_its_secret_and_not_before)
{
    struct bench b;
    json_t *doc = quoted_json(
        "{'secrets': {}, 'services': {'test/svc/web': " TLS("envoy", "{'certificate_secret': 'pair'}") "}}");
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example");

    bench_init(&b);
    bench_apply(&b, doc);
    check_batch(&b, "");
    set_pair(doc, "test/sec/pair", c);
    bench_apply(&b, doc);
    check_batch(&b, "+cluster test/svc/web.expose#0\n+endpoint test/svc/web.expose#0\n"
                    "+secret tls_certificate/test/sec/pair\n+listener 0.0.0.0:443/tcp\n");
    json_decref(doc);
    bench_clear(&b);
}

TEST(a_private_key_stands_in_its_secret_only)
{
    struct bench b;
    json_t *doc = quoted_json(
        "{'secrets': {}, 'services': {'test/svc/web': " TLS("envoy", "{'certificate_secret': 'pair'}") "}}");
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example");
    size_t seen = 0, key_len = strlen(c->key_pem);

    bench_init(&b);
    set_pair(doc, "test/sec/pair", c);
    bench_apply(&b, doc);
    for (size_t i = 0; i < b.batch->n_changes; i++) {
        const struct resource *r = b.batch->changes[i].after;
        bool found = memmem(r->wire, r->wire_len, c->key_pem, key_len);

        CHECK(found == (r->type == XDS_SECRET));
        CHECK(!found || r->sensitive);
        seen += found;
    }
    CHECK_INT(seen, 1);
    json_decref(doc);
    bench_clear(&b);
}

TEST(a_cluster_whose_secret_is_missing_is_held_by_one_without_endpoints_until_it_comes)
{
    struct bench b;
    json_t *doc =
        quoted_json("{'secrets': {}, 'services': {'test/svc/web': {'resources': {'expose#0': {'port': 443, "
                    "'cluster_certificates': ['certificate#0']}, 'certificate#0': {'certificate_secret': 'pair'}}, "
                    "'addresses': [{'address': '192.0.2.1', 'exposes': ['expose#0']}]}}}");
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example");

    bench_init(&b);
    bench_apply(&b, doc);
    check_batch(&b, "+cluster test/svc/web.expose#0\n+listener 0.0.0.0:443/tcp\n");
    CHECK(!held(&b, "envoy cluster test/svc/web.expose#0")->uses_eds);
    CHECK_INT(b.told, 0); /* it stands in the plan's verdict */
    set_pair(doc, "test/sec/pair", c);
    bench_apply(&b, doc);
    check_batch(&b, "+cluster test/svc/web.expose#0\n+endpoint test/svc/web.expose#0\n"
                    "+secret tls_certificate/test/sec/pair\n");
    CHECK_INT(held(&b, "envoy cluster test/svc/web.expose#0")->n_secret_needs, 1);
    json_object_clear(json_object_get(doc, "secrets"));
    bench_apply(&b, doc);
    check_batch(&b, "+cluster test/svc/web.expose#0\n-endpoint test/svc/web.expose#0\n"
                    "-secret tls_certificate/test/sec/pair\n");
    json_decref(doc);
    bench_clear(&b);
}

/* ---- passed-through JSON and policies ---- */

TEST(a_resource_with_passed_through_json_travels_alone)
{
    struct bench b;

    bench_init(&b);
    apply_text(
        &b,
        "{'services': {'test/svc/web': " L4(
            "8080",
            ", 'cluster_data': {'connect_timeout': '1s'}") ", 'test/svc/other': " L4("8081",
                                                                                     ", 'filter_config_data': "
                                                                                     "{'idle_timeout': '1s'}") "}}");
    CHECK(held(&b, "envoy cluster test/svc/web.expose#0")->alone);
    CHECK(!held(&b, "envoy listener 0.0.0.0:8080/tcp")->alone);
    CHECK(!held(&b, "envoy cluster test/svc/other.expose#0")->alone);
    CHECK(held(&b, "envoy listener 0.0.0.0:8081/tcp")->alone);
    bench_clear(&b);
}

TEST(a_gateways_policy_counts_as_soon_as_it_changes)
{
    struct bench b;
    json_t *doc = quoted_json(
        "{'gateways': {'edge': {'allow_files': true}, 'envoy': {'allow_files': true}}, 'services': {"
        "'test/svc/web': " L4(
            "8080", ", 'filter_config_data': {'access_log': [{'name': 'f', "
                    "'typed_config': {'@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3."
                    "FileAccessLog', 'path': '/log'}}]}") "}}");
    json_t *policy = json_object_get(json_object_get(doc, "gateways"), "envoy");

    bench_init(&b);
    bench_apply(&b, doc);
    CHECK_INT(b.held.count, 3);
    json_object_set_new(policy, "allow_files", json_false());
    bench_apply(&b, doc);
    check_batch(&b, "-listener 0.0.0.0:8080/tcp\n");
    CHECK(strstr(b.fault, "test/svc/web.expose#0: not_allowed: expose#0.filter_config_data.access_log[0]"));
    CHECK(strstr(b.fault, "left out of the listener 0.0.0.0:8080/tcp"));
    json_object_set_new(policy, "allow_files", json_true());
    bench_apply(&b, doc);
    check_batch(&b, "+listener 0.0.0.0:8080/tcp\n");
    CHECK_STR(b.fault, "test/svc/web.expose#0: none");
    CHECK_INT(b.told, 2);
    json_decref(doc);
    bench_clear(&b);
}

TEST(a_gateway_that_goes_takes_all_of_its_own_along)
{
    struct bench b;

    bench_init(&b);
    apply_text(&b, "{'gateways': {'edge': {}}, 'services': {'test/svc/web': " L4(
                       "8080", ", 'gateway': 'edge'") ", 'test/svc/other': " L4("8081", "") "}}");
    struct view *after = view_new(b.world.view);
    _cleanup_(view_delta_free_p) struct view_delta *d = view_delta_new(b.world.view, after);
    view_delta_set(d, VIEW_GATEWAY, "edge", NULL);
    _cleanup_(xds_batch_free_p) struct xds_batch *batch = translate(b.translator, d);
    CHECK_INT(batch->n_gateways, 1);
    CHECK_INT(batch->n_changes, 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK_STR(batch->changes[i].gateway, "edge");
        CHECK(!batch->changes[i].after);
    }
    view_unref(after);
    bench_clear(&b);
}

/* ---- determinism ---- */

/* The same objects, the keys of every object in the opposite order. */
static json_t *backwards(json_t *json)
{
    json_t *out, *value;
    const char *key;
    const char *keys[256];
    size_t n = 0;

    if (json_is_array(json)) {
        out = json_array();
        for (size_t i = 0; i < json_array_size(json); i++)
            json_array_append_new(out, backwards(json_array_get(json, i)));
        return out;
    }
    if (!json_is_object(json))
        return json_incref(json);
    json_object_foreach(json, key, value)
    {
        CHECK(n < ARRAY_LEN(keys));
        keys[n++] = key;
    }
    out = json_object();
    while (n--)
        json_object_set_new(out, keys[n], backwards(json_object_get(json, keys[n])));
    return out;
}

static void check_same(const struct bench *a, const struct bench *b)
{
    struct map_entry *entry;

    CHECK_INT(a->held.count, b->held.count);
    for (size_t i = 0; map_next(&a->held, &i, &entry);) {
        const struct held *x = entry->value, *y = map_gets(&b->held, x->key);

        if (!y)
            test_fail(__FILE__, __LINE__, "missing: %s", x->key);
        CHECK_MEM(x->resource->wire, x->resource->wire_len, y->resource->wire, y->resource->wire_len);
        CHECK(x->resource->alone == y->resource->alone);
    }
}

TEST(the_order_of_keys_and_objects_does_not_show)
{
    struct bench a, b;
    json_t *doc =
        quoted_json("{'services': {'test/svc/a': " L7("a.example", "'route#0', 'route#1'") ", 'test/svc/b': " L7(
            "b.example", "'route#1', 'route#0'") ", 'test/svc/c': " L4("8080",
                                                                       ", 'cluster_data': {'connect_timeout': '1s', "
                                                                       "'metadata': "
                                                                       "{'filter_metadata': {"
                                                                       "'b': {'y': 1, 'x': [1, {'d': 1, 'c': 2}]}, "
                                                                       "'a': {}}}}") "}}");
    json_t *other = backwards(doc);

    bench_init(&a);
    bench_init(&b);
    bench_apply(&a, doc);
    bench_apply(&b, other);
    check_same(&a, &b);
    json_decref(doc);
    json_decref(other);
    bench_clear(&a);
    bench_clear(&b);
}

/* ---- any sequence of changes ends in what a fresh start makes of it ---- */

enum { SERVICES = 12, SECRETS = 3, STEPS = TEST_ROUNDS(400) };

static json_t *random_certificate(uint64_t *seed)
{
    json_t *c = json_object();
    char name[32];

    if (test_random(seed) % 4) {
        (void)snprintf(name, sizeof(name), "pair%d", (int)(test_random(seed) % SECRETS));
        json_object_set_new(c, "certificate_secret", json_string(name));
    } else {
        (void)snprintf(name, sizeof(name), "/etc/%d.pem", (int)(test_random(seed) % 3));
        json_object_set_new(c, "certificate_chain_filename", json_string(name));
        json_object_set_new(c, "private_key_filename", json_string("/etc/key.pem"));
    }
    return c;
}

static json_t *random_expose(uint64_t *seed, json_t *resources)
{
    static const char *const gateways[] = {"envoy", "edge"};
    static const char *const policies[] = {"round robin", "ring_hash", "original_dst_lb"};
    json_t *x = json_pack("{si si ss ss}", "port", (int)(80 + test_random(seed) % 2), "listener_port",
                          (int)(8000 + test_random(seed) % 5), "gateway", gateways[test_random(seed) % 2],
                          "lb_policy", policies[test_random(seed) % 3]);
    char name[32];

    (void)snprintf(name, sizeof(name), "h%d.example", (int)(test_random(seed) % 6));
    if (test_random(seed) % 2) {
        json_object_set_new(x, "vhosts", json_pack("[s]", "vhost#0"));
        json_object_set_new(resources, "vhost#0", json_pack("{s[s]}", "domains", name));
    } else if (test_random(seed) % 2) {
        json_object_set_new(x, "sni", json_pack("[s]", name));
    }
    if (test_random(seed) % 3 == 0)
        json_object_set_new(x, "listener_certificates", json_pack("[s]", "certificate#0"));
    if (test_random(seed) % 4 == 0)
        json_object_set_new(x, "cluster_certificates", json_pack("[s]", "certificate#0"));
    if (test_random(seed) % 5 == 0)
        json_object_set_new(x, "cluster_data", json_pack("{ss}", "connect_timeout", "1s"));
    if (test_random(seed) % 12 == 0)
        json_object_set_new(x, "cluster_data", json_pack("{ss}", "connect_timeout", "0s")); /* invalid */
    return x;
}

static json_t *random_service(uint64_t *seed)
{
    json_t *resources = json_object(), *addresses = json_array();

    json_object_set_new(resources, "certificate#0", random_certificate(seed));
    json_object_set_new(resources, "expose#0", random_expose(seed, resources));
    for (uint64_t i = test_random(seed) % 4; i > 0; i--) {
        char text[32];

        (void)snprintf(text, sizeof(text), "192.0.2.%d", (int)i);
        json_array_append_new(addresses, json_pack("{ss sb s[s]}", "address", text, "up",
                                                   (int)(test_random(seed) % 2), "exposes", "expose#0"));
    }
    return json_pack("{so so}", "resources", resources, "addresses", addresses);
}

static void random_step(uint64_t *seed, json_t *doc, struct test_certificate *const *pairs)
{
    json_t *services = json_object_get(doc, "services"), *addresses;
    char path[32];

    (void)snprintf(path, sizeof(path), "test/sec/pair%d", (int)(test_random(seed) % SECRETS));
    if (test_random(seed) % 6 == 0)
        json_object_del(json_object_get(doc, "secrets"), path);
    else if (test_random(seed) % 6 == 0)
        set_pair(doc, path, pairs[test_random(seed) % SECRETS]);
    (void)snprintf(path, sizeof(path), "test/svc/s%d", (int)(test_random(seed) % SERVICES));
    addresses = json_object_get(json_object_get(services, path), "addresses");
    if (test_random(seed) % 5 == 0)
        json_object_del(services, path);
    else if (json_array_size(addresses) && test_random(seed) % 2)
        json_object_set_new(json_array_get(addresses, 0), "up", json_boolean(test_random(seed) % 2));
    else
        json_object_set_new(services, path, random_service(seed));
    if (test_random(seed) % 20 == 0)
        json_object_set_new(json_object_get(doc, "gateways"), "edge",
                            json_pack("{sb}", "allow_files", (int)(test_random(seed) % 2)));
}

TEST(any_sequence_of_changes_ends_in_what_a_fresh_start_makes_of_it)
{
    uint64_t seed = 7;
    struct test_certificate *pairs[SECRETS];
    json_t *doc = quoted_json("{'gateways': {'edge': {}, 'envoy': {}}, 'secrets': {}, 'services': {}}");
    struct bench b;

    for (size_t i = 0; i < SECRETS; i++)
        pairs[i] = test_certificate_for("h0.example");
    bench_init(&b);
    for (int step = 0; step < STEPS; step++) {
        struct bench fresh;

        for (uint64_t n = test_random(&seed) % 3 + 1; n > 0; n--)
            random_step(&seed, doc, pairs);
        bench_apply(&b, doc);
        bench_init(&fresh);
        bench_apply(&fresh, doc);
        check_same(&b, &fresh);
        bench_clear(&fresh);
    }
    CHECK(b.held.count > 10);
    for (size_t i = 0; i < SECRETS; i++)
        test_certificate_free(pairs[i]);
    json_decref(doc);
    bench_clear(&b);
}
