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
    struct backend b;
    struct buf body = {0};

    start(&b, many_services(true));
    get(&b, "/api/v1/topology", &body);
    CHECK_INT(b.asked, 1);
    CHECK_INT(b.asked_of, MANY);
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
