/* What the proxies said of exposures: by what each is carried, and that many are asked about at once. */
#include "api/dispatch.h"
#include "api/objects.h"
#include "tests/tools/translate_world.h"
#include "tests/unit/certs.h"
#include "tests/unit/quoted.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

enum { MANY = 300, TEXT = 256 };

/* The backend: counts how often it is asked, and keeps what it was asked about last. */
struct backend {
    struct world world;
    unsigned asked, asked_of;
    char carriers[4096];
    const char *refused; /* the cluster that is refused */
};

static struct view *the_view(void *arg)
{
    const struct backend *b = arg;

    return view_ref(b->world.view);
}

static void programmed(void *arg, const struct api_carrier *carriers, size_t n, struct arena *arena,
                       struct api_programmed *ret)
{
    struct backend *b = arg;
    size_t at = 0;

    (void)arena; /* texts stand still */
    b->asked++;
    b->asked_of += (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        const struct api_carrier *x = &carriers[i];
        bool refused = b->refused && strcmp(x->cluster, b->refused) == 0;
        char *to = b->carriers + at;
        size_t room = sizeof(b->carriers) - at;

        ret[i] = (struct api_programmed){.known = true, .proxies = 2, .acked = refused ? 1 : 2, .nacked = refused};
        ret[i].error = refused ? "it is bad" : NULL;
        if (room > TEXT)
            at += (size_t)snprintf(to, room, "%s %s %s", x->gateway, x->cluster, x->listener ? x->listener : "-");
        for (size_t k = 0; k < x->n_routes && sizeof(b->carriers) - at > TEXT; k++)
            at += (size_t)snprintf(b->carriers + at, TEXT, " route %.16s", x->routes[k]);
        for (size_t k = 0; k < x->n_secrets && sizeof(b->carriers) - at > TEXT; k++)
            at += (size_t)snprintf(b->carriers + at, TEXT, " secret %s", x->secrets[k]);
        if (sizeof(b->carriers) - at > TEXT)
            at += (size_t)snprintf(b->carriers + at, TEXT, "\n");
    }
}

/* MANY services of one exposure, on a listener each or on one that all share. */
static json_t *many_services(bool shared)
{
    json_t *services = json_object();

    for (int i = 0; i < MANY; i++) {
        char name[TEXT], text[2 * TEXT];

        (void)snprintf(name, sizeof(name), "test/svc/s%03d", i);
        if (shared)
            (void)snprintf(text, sizeof(text),
                           "{'resources': {'expose#0': {'port': 80, 'listener_port': 8080, 'vhosts': ['vhost#0']}, "
                           "'vhost#0': {'domains': ['s%d.test'], 'routes': ['route#0']}, "
                           "'route#0': {'match_prefix': '/'}}, 'addresses': []}",
                           i);
        else
            (void)snprintf(text, sizeof(text),
                           "{'resources': {'expose#0': {'port': 80, 'listener_port': %d}}, 'addresses': []}",
                           10000 + i);
        json_object_set_new(services, name, quoted_json(text));
    }
    return json_pack("{s: o}", "services", services);
}

static void start(struct backend *b, json_t *doc)
{
    *b = (struct backend){.asked = 0};
    view_delta_free(world_apply(&b->world, doc));
    json_decref(doc);
}

static const char *no_header(void *arg, const char *name)
{
    (void)arg, (void)name; /* there is none */
    return NULL;
}

/* The answer's body, in *ret. */
static void get(struct backend *b, const char *target, struct buf *ret)
{
    static const struct http_peer root = {.is_unix = true, .uid = 0};
    _cleanup_(routes_free_p) struct routes *routes = routes_new(api_routes, api_n_routes);
    const struct dispatcher d = {.routes = routes,
                                 .backend = {.arg = b, .view = the_view, .programmed = programmed},
                                 .version = "1",
                                 .group = (gid_t)-1};
    const struct http_request r = {
        .id = "0123456789abcdef", .method = "GET", .target = target, .peer = &root, .header = no_header};
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct http_answer a = {.arena = arena};

    b->asked = b->asked_of = 0;
    buf_init(&a.body, 0);
    dispatch(&d, NULL, &r, &a);
    CHECK_INT(a.status, 200);
    buf_reset(ret);
    buf_append(ret, a.body.data, a.body.len);
    buf_clear(&a.body);
}

TEST(a_page_asks_once_about_all_that_it_shows)
{
    struct backend b;
    struct buf body = {0};

    start(&b, many_services(false));
    get(&b, "/api/v1/exposures?limit=100", &body);
    CHECK_INT(b.asked, 1);
    CHECK_INT(b.asked_of, 100);
    CHECK_INT(test_count(buf_cstr(&body), "\"reason\":\"programmed\""), 100);
    get(&b, "/api/v1/exposures/test%2Fsvc%2Fs007.expose%230", &body);
    CHECK_INT(b.asked, 1);
    CHECK_INT(b.asked_of, 1);
    get(&b, "/api/v1/exposures?limit=100&accepted=ok&fields=name", &body);
    CHECK(b.asked <= 1); /* other filters ask nobody */
    buf_clear(&body);
    world_clear(&b.world);
}

TEST(what_looks_at_all_asks_once_about_all)
{
    static const char *const targets[] = {"/api/v1/summary", "/metrics", "/api/v1/exposures?programmed=failed"};
    struct backend b;
    struct buf body = {0};

    start(&b, many_services(false));
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        get(&b, targets[i], &body);
        CHECK_INT(b.asked, 1);
        CHECK_INT(b.asked_of, MANY);
    }
    b.refused = "test/svc/s042.expose#0";
    get(&b, "/api/v1/exposures?programmed=failed", &body);
    CHECK_INT(test_count(buf_cstr(&body), "\"kind\":\"Exposure\""), 1);
    CHECK_INT(test_count(buf_cstr(&body), "\"message\":\"it is bad\""), 1);
    buf_clear(&body);
    world_clear(&b.world);
}

TEST(a_topology_asks_once_about_what_hangs_on_its_listeners)
{
    static const char *const targets[] = {"/api/v1/topology", "/api/v1/topology?sort=-severity",
                                          "/api/v1/topology/exposures?sort=-severity&limit=5",
                                          "/api/v1/topology/exposures?state=failed"};
    struct backend b;
    struct buf body = {0};

    start(&b, many_services(true));
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        get(&b, targets[i], &body);
        CHECK_INT(b.asked, 1);
        CHECK_INT(b.asked_of, MANY);
    }
    get(&b, "/api/v1/topology/exposures?limit=5", &body);
    CHECK_INT(b.asked_of, 5);
    buf_clear(&body);
    world_clear(&b.world);
}

static json_t *topology_of(struct backend *b, const char *target, struct buf *body)
{
    json_t *answer = NULL;

    get(b, target, body);
    CHECK_INT(json_parse((const char *)body->data, body->len, &answer, NULL), 0);
    return answer;
}

static const char *first_name(const json_t *list)
{
    return json_string_value(json_object_get(json_array_get(list, 0), "name"));
}

TEST(a_listener_stands_as_its_worst_exposure_and_tells_of_that_first)
{
    struct backend b;
    struct buf body = {0};

    start(&b, many_services(true));
    b.refused = "test/svc/s222.expose#0";
    json_t *answer = topology_of(&b, "/api/v1/topology", &body);
    const json_t *listener = json_array_get(json_object_get(answer, "items"), 0),
                 *exposures = json_object_get(listener, "exposures");
    CHECK_STR(json_string_value(json_object_get(listener, "state")), "failed");
    CHECK_STR(json_string_value(json_object_get(listener, "configuration")), "failed");
    CHECK_STR(json_string_value(json_object_get(listener, "certificate")), "ok");
    CHECK_INT(json_integer_value(json_object_get(listener, "exposures_total")), MANY);
    CHECK_INT(json_integer_value(json_object_get(listener, "exposures_live")), MANY - 1);
    CHECK_INT(json_array_size(exposures), 20);
    /* Without endpoints all fail, and then the name decides. */
    CHECK_STR(first_name(exposures), "test/svc/s000.expose#0");
    json_decref(answer);
    answer = topology_of(&b, "/api/v1/topology?q=S222", &body);
    exposures = json_object_get(json_array_get(json_object_get(answer, "items"), 0), "exposures");
    CHECK_STR(first_name(exposures), b.refused);
    json_decref(answer);
    CHECK_INT(json_array_size(json_object_get(answer = topology_of(&b, "/api/v1/topology?q=none", &body), "items")),
              0);
    json_decref(answer);
    buf_clear(&body);
    world_clear(&b.world);
}

TEST(what_is_worse_comes_before_what_is_better_in_lists_that_are_sorted_by_severity)
{
    json_t *doc = quoted_json(
        "{'services': {'a': {'resources': {'expose#0': {'port': 80, 'listener_port': 81}}, 'addresses': [{'node': "
        "'n1', "
        "'address': '10.0.0.1', 'up': true, 'exposes': ['expose#0']}]}, "
        "'b': {'resources': {'expose#0': {'port': 80, 'listener_port': 80}}, 'addresses': [{'node': 'n1', "
        "'address': '10.0.0.1', 'up': true, 'exposes': ['expose#0']}]}, "
        "'c': {'resources': {'expose#0': {'port': 80, 'listener_port': 82}}, 'addresses': []}}}");
    static const struct {
        const char *target, *names[3];
    } cases[] = {
        {"/api/v1/topology?sort=-severity,listener_port&fields=name",
         {"envoy|0.0.0.0:82/tcp", "envoy|0.0.0.0:80/tcp", "envoy|0.0.0.0:81/tcp"}},
        {"/api/v1/topology/exposures?sort=-severity,listener_port", {"c.expose#0", "b.expose#0", "a.expose#0"}},
        {"/api/v1/exposures?sort=severity,name", {"a.expose#0", "b.expose#0", "c.expose#0"}},
        {"/api/v1/topology?state=failed", {"envoy|0.0.0.0:82/tcp"}},
        {"/api/v1/topology?state=ok&state=warning", {"envoy|0.0.0.0:80/tcp", "envoy|0.0.0.0:81/tcp"}},
        {"/api/v1/exposures?state=ok", {"a.expose#0", "b.expose#0"}},
    };
    struct backend b;
    struct buf body = {0};

    start(&b, doc);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *answer = topology_of(&b, cases[i].target, &body), *items = json_object_get(answer, "items");
        size_t n = 0;

        while (n < ARRAY_LEN(cases[i].names) && cases[i].names[n])
            n++;
        CHECK_INT(json_array_size(items), n);
        for (size_t k = 0; k < n; k++)
            CHECK_STR(json_string_value(json_object_get(json_array_get(items, k), "name")), cases[i].names[k]);
        json_decref(answer);
    }
    buf_clear(&body);
    world_clear(&b.world);
}

/* One service with so many virtual hosts, each with as many domains and routes, and with as many endpoints, of which
 * the last is down. */
static json_t *vast_service(int n)
{
    json_t *resources = json_object(), *addresses = json_array(), *vhosts = json_array(), *routes = json_array();

    for (int i = 0; i < n; i++) {
        json_t *domains = json_array();

        for (int k = 0; k < n; k++)
            json_array_append_new(domains, json_sprintf("d%d.v%d.test", k, i));
        json_array_append_new(vhosts, json_sprintf("vhost#%d", i));
        json_array_append_new(routes, json_sprintf("route#%d", i));
        json_object_set_new(resources, json_string_value(json_array_get(routes, (size_t)i)),
                            json_pack("{s: o}", "match_prefix", json_sprintf("/p%d", i)));
        json_object_set_new(resources, json_string_value(json_array_get(vhosts, (size_t)i)),
                            json_pack("{s: o, s: O}", "domains", domains, "routes", routes));
        json_array_append_new(addresses,
                              json_pack("{s: o, s: o, s: b, s: [s]}", "node", json_sprintf("n%02d", i), "address",
                                        json_sprintf("10.0.0.%d", i + 1), "up", i < n - 1, "exposes", "expose#0"));
    }
    json_object_set_new(resources, "expose#0",
                        json_pack("{s: i, s: i, s: o}", "port", 80, "listener_port", 81, "vhosts", vhosts));
    json_decref(routes);
    return json_pack("{s: {s: {s: o, s: o}}}", "services", "vast", "resources", resources, "addresses", addresses);
}

static void check_some(const json_t *object, const char *key, const char *total, int told, int n)
{
    CHECK_INT(json_array_size(json_object_get(object, key)), told);
    if (total)
        CHECK_INT(json_integer_value(json_object_get(object, total)), n);
}

TEST(an_exposure_of_the_topology_tells_a_bounded_part_of_what_it_has)
{
    enum { VAST = 30 };
    struct backend b;
    struct buf body = {0};

    start(&b, vast_service(VAST));
    json_t *answer = topology_of(&b, "/api/v1/topology/exposures", &body);
    const json_t *x = json_array_get(json_object_get(answer, "items"), 0);
    check_some(x, "vhosts", "vhosts_total", 16, VAST);
    check_some(json_array_get(json_object_get(x, "vhosts"), 3), "domains", "domains_total", 8, VAST);
    check_some(json_array_get(json_object_get(x, "vhosts"), 15), "routes", "routes_total", 16, VAST);
    check_some(x, "endpoints", NULL, 16, VAST);
    const json_t *last = json_array_get(json_object_get(x, "endpoints"), 15);
    CHECK_STR(json_string_value(json_object_get(last, "node")), "n29"); /* the one that is down */
    json_decref(answer);
    buf_clear(&body);
    world_clear(&b.world);
}

TEST(a_page_that_gets_too_long_ends_before_its_limit_and_the_next_goes_on)
{
    enum { TEXT_LENGTH = 60000, LONG_ONES = 100 };
    static char long_text[TEXT_LENGTH + 1];
    json_t *doc = many_services(false), *one;
    const char *path;
    char target[1024] = "/api/v1/exposures?limit=1000&fields=name,cluster_data";
    size_t n = 0, n_long = 0, pages = 0;
    struct backend b;
    struct buf body = {0};

    memset(long_text, 'x', TEXT_LENGTH);
    json_object_foreach(json_object_get(doc, "services"), path, one)
    {
        if (n_long++ == LONG_ONES)
            break;
        json_t *data = json_pack("{s: s}", "alt_stat_name", long_text);
        char *text = json_dumps(data, 0);

        json_object_set_new(json_object_get(json_object_get(one, "resources"), "expose#0"), "cluster_data",
                            json_string(text));
        mem_free(text);
        json_decref(data);
    }
    start(&b, doc);
    for (; *target; pages++) {
        json_t *answer = topology_of(&b, target, &body);
        const char *next = json_string_value(json_object_get(answer, "next"));

        CHECK(body.len < (4 << 20) + 2 * TEXT_LENGTH);
        n += json_array_size(json_object_get(answer, "items"));
        if (next)
            (void)snprintf(target, sizeof(target), "/api/v1/exposures?limit=1000&fields=name,cluster_data&after=%s",
                           next);
        else
            target[0] = 0;
        json_decref(answer);
    }
    CHECK_INT(n, MANY);
    CHECK(pages > LONG_ONES * TEXT_LENGTH / (4 << 20) && pages < 10);
    buf_clear(&body);
    world_clear(&b.world);
}

TEST(an_exposure_is_carried_by_its_cluster_its_listener_its_routes_and_its_secrets)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.test");
    json_t *doc = quoted_json(
        "{'services': {'test/svc/l4': {'resources': {'expose#0': {'port': 80, 'listener_port': 81}}, "
        "'addresses': []}, "
        "'test/svc/web': {'resources': {'expose#0': {'port': 80, 'listener_port': 82, 'vhosts': ['vhost#0'], "
        "'listener_certificates': ['certificate#0']}, 'certificate#0': {'certificate_secret': 'cert'}, "
        "'vhost#0': {'domains': ['a.test'], 'routes': ['route#0']}, 'route#0': {'match_prefix': '/'}}, "
        "'addresses': []}}}");
    struct backend b;
    struct buf body = {0};

    json_object_set_new(
        doc, "secrets",
        json_pack("{s: {s: s, s: s}}", "test/sec/cert", "certificate_chain", c->pem, "private_key", c->key_pem));
    start(&b, doc);
    get(&b, "/api/v1/exposures", &body);
    CHECK_STR(b.carriers, "envoy test/svc/l4.expose#0 0.0.0.0:81/tcp\n"
                          "envoy test/svc/web.expose#0 0.0.0.0:82/tcp route 0.0.0.0:82/tcp|t"
                          " secret tls_certificate/test/sec/cert\n");
    buf_clear(&body);
    world_clear(&b.world);
}
