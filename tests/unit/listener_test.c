/*
 * Listeners and route configurations from plans made by hand: what Envoy's rules would refuse is left out by itself,
 * whatever the model has let pass.
 */
#include "base/buf.h"
#include "base/json.h"
#include "proto/listener.h"
#include "proto/protojson.h"
#include "proto/route.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PROBLEMS_MAX = 8 };

struct told {
    size_t n;
    char texts[PROBLEMS_MAX][ERR_OBJECT_MAX + ERR_FIELD_MAX + ERR_TEXT_MAX + 8];
};

static void on_faults(void *arg, const char *exposure, const struct problem *now, size_t n_now,
                      const struct problem *before, size_t n_before)
{
    struct told *told = arg;

    (void)before;
    CHECK_INT(n_before, 0);
    for (size_t i = 0; i < n_now; i++) {
        CHECK(told->n < PROBLEMS_MAX);
        (void)snprintf(told->texts[told->n++], sizeof(told->texts[0]), "%s: %s: %s", exposure, now[i].field,
                       now[i].text);
    }
}

static const struct gateway plain = {.name = "envoy"}, generous = {.name = "envoy", .allow_cluster_header = true};

static struct translate_scope scope_new(void)
{
    return (struct translate_scope){
        .gateway = &plain, .faults = faults_new(), .place = {"envoy", XDS_LISTENER, "0.0.0.0:80/tcp"}};
}

/* What was said in it. */
static struct told told_in(struct translate_scope *scope)
{
    struct told told = {0};

    faults_settle(scope->faults, on_faults, &told);
    faults_free(scope->faults);
    scope->faults = NULL;
    return told;
}

static struct exposure exposure_of(const char *name)
{
    return (struct exposure){.name = name, .path = "test/svc/web", .rid = "expose#0", .valid = true};
}

/* A plan of n chains on one port. */
static struct listener_plan plan_of(struct plan_chain *chains, size_t n)
{
    struct listener_plan p = {.key = "envoy|0.0.0.0:80/tcp",
                              .gateway = "envoy",
                              .name = "0.0.0.0:80/tcp",
                              .port = 80,
                              .chains = chains,
                              .n_chains = n};

    CHECK_INT(address_parse("0.0.0.0", &p.address), 0);
    return p;
}

static struct plan_chain l4_chain(const char *id, const struct exposure **x)
{
    return (struct plan_chain){.kind = CHAIN_L4,
                               .id = id,
                               .is_default = true,
                               .is_split = true,
                               .holder = *x,
                               .exposures = x,
                               .n_exposures = 1};
}

static json_t *json_of(const struct resource *r)
{
    size_t n;
    const uint8_t *message = resource_message(r, &n);
    json_t *json;

    CHECK_INT(protojson_from_wire(message, n, schema_find_url(xds_type_url[r->type], strlen(xds_type_url[r->type])),
                                  0, &json, NULL),
              0);
    return json;
}

static const char *text_at(const json_t *list, size_t i, const char *key)
{
    return json_string_value(json_object_get(json_array_get(list, i), key));
}

TEST(a_chain_that_envoy_would_refuse_is_left_out_and_the_others_go_on)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct exposure x = exposure_of("good.expose#0"), bad = exposure_of(""), y = exposure_of("good.expose#1");
    const struct exposure *px = &x, *pbad = &bad, *py = &y;
    struct plan_chain chains[] = {l4_chain("a", &px), l4_chain("b", &pbad), l4_chain("c", &py)};
    struct listener_plan p = plan_of(chains, 3);
    struct translate_scope scope = scope_new();
    struct listener_result made;

    listener_make(a, &p, &scope, &made);
    CHECK(made.listener);
    json_t *json = json_of(made.listener), *list = json_object_get(json, "filter_chains");
    CHECK_INT(json_array_size(list), 2);
    CHECK_STR(text_at(list, 0, "name"), "a");
    CHECK_STR(text_at(list, 1, "name"), "c");
    CHECK_INT(made.listener->n_clusters, 2);
    const struct told told = told_in(&scope);
    CHECK_INT(told.n, 1);
    CHECK(strstr(told.texts[0], "stat_prefix"));
    json_decref(json);
    listener_result_clear(&made);
}

TEST(each_server_name_of_a_chain_has_a_filter_chain_of_its_own)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct exposure x = exposure_of("x.expose#0"), rest = exposure_of("rest.expose#0");
    const struct exposure *px = &x, *prest = &rest;
    struct plan_chain chains[] = {l4_chain("l4", &prest), l4_chain("sni:x.expose#0", &px)};
    struct listener_plan p = plan_of(chains, 2);
    struct translate_scope scope = scope_new();
    const char *names[] = {"*.a.test", "b.test"};
    struct listener_result made;

    chains[1].is_default = false;
    chains[1].server_names = names;
    chains[1].n_server_names = 2;
    listener_make(a, &p, &scope, &made);
    CHECK(made.listener);
    json_t *json = json_of(made.listener), *list = json_object_get(json, "filter_chains");
    CHECK_INT(json_array_size(list), 3);
    CHECK_STR(text_at(list, 0, "name"), "l4");
    CHECK_STR(text_at(list, 1, "name"), "sni:x.expose#0:*.a.test");
    CHECK_STR(text_at(list, 2, "name"), "sni:x.expose#0:b.test");
    for (size_t i = 1; i < 3; i++) {
        json_t *match = json_object_get(json_array_get(list, i), "filter_chain_match");
        json_t *served = json_object_get(match, "server_names");

        CHECK_INT(json_array_size(served), 1);
        CHECK_STR(json_string_value(json_array_get(served, 0)), names[i - 1]);
    }
    CHECK(json_equal(json_object_get(json_array_get(list, 1), "filters"),
                     json_object_get(json_array_get(list, 2), "filters")));
    CHECK_INT(made.listener->n_clusters, 2);
    CHECK(listener_plan_find_chain(&p, "sni:x.expose#0:b.test") == &chains[1]);
    CHECK(listener_plan_find_chain(&p, "l4") == &chains[0]);
    CHECK(!listener_plan_find_chain(&p, "sni:x.expose#01") && !listener_plan_find_chain(&p, "l"));
    CHECK_INT(told_in(&scope).n, 0);
    json_decref(json);
    listener_result_clear(&made);
}

TEST(server_names_that_are_not_split_are_one_filter_chain)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct exposure x = exposure_of("x.expose#0");
    const struct exposure *px = &x;
    struct plan_chain chain = l4_chain("sni:x.expose#0", &px);
    struct listener_plan p = plan_of(&chain, 1);
    struct translate_scope scope = scope_new();
    const char **names = arena_array(a, const char *, PLAN_SPLIT_MAX + 1);

    chain.server_names = names;
    for (size_t i = 0; i <= PLAN_SPLIT_MAX; i++)
        names[i] = arena_printf(a, "n%04zu.test", i);
    for (unsigned k = 0; k < 4; k++) {
        bool more = k & 1;
        struct listener_result made;

        chain.is_default = k & 2;
        chain.is_split = !more;
        chain.n_server_names = PLAN_SPLIT_MAX + more;
        listener_make(a, &p, &scope, &made);
        CHECK(made.listener);
        json_t *json = json_of(made.listener), *list = json_object_get(json, "filter_chains");
        const size_t n = json_array_size(list), first = chain.is_default;
        CHECK_INT(n, first + (more ? 1 : PLAN_SPLIT_MAX));
        CHECK_INT(n, listener_plan_filter_chains(&p));
        if (chain.is_default)
            CHECK(strcmp(text_at(list, 0, "name"), "sni:x.expose#0") == 0 &&
                  !json_object_get(json_array_get(list, 0), "filter_chain_match"));
        CHECK_STR(text_at(list, first, "name"), more ? "sni:x.expose#0:names" : "sni:x.expose#0:n0000.test");
        for (size_t i = 0; i < n; i++)
            CHECK(listener_plan_find_chain(&p, text_at(list, i, "name")) == &chain);
        json_decref(json);
        listener_result_clear(&made);
    }
    CHECK_INT(told_in(&scope).n, 0);
}

TEST(a_listener_none_of_whose_chains_is_left_is_none)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct exposure bad = exposure_of("");
    const struct exposure *pbad = &bad;
    struct plan_chain chain = l4_chain("a", &pbad);
    struct listener_plan p = plan_of(&chain, 1);
    struct translate_scope scope = scope_new();
    struct listener_result made;

    listener_make(a, &p, &scope, &made);
    CHECK(made.listener == NULL);
    CHECK_INT(made.n_routes, 0);
    CHECK_INT(made.n_secrets, 0);
    const struct told told = told_in(&scope);
    CHECK_INT(told.n, 1);
    listener_result_clear(&made);
}

TEST(a_chain_that_is_left_out_brings_no_secret)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct certificate c = {.name = "c", .secret = "test/sec/good"}, other = {.name = "o", .secret = "test/sec/bad"};
    const struct certificate *pc = &c, *pother = &other;
    struct exposure x = exposure_of("good.expose#0"), bad = exposure_of("bad.expose#0");
    const struct exposure *px = &x, *pbad = &bad;
    struct plan_chain chains[] = {l4_chain("a", &px), l4_chain("b", &pbad)};
    struct listener_plan p = plan_of(chains, 2);
    struct translate_scope scope = scope_new();
    struct listener_result made;

    bad.filter_config_data = "{\"idle_timeout\": \"soon\"}";
    chains[0].tls = chains[1].tls = true;
    chains[0].n_certificates = chains[1].n_certificates = 1;
    chains[0].certificates = &pc;
    chains[1].certificates = &pother;
    listener_make(a, &p, &scope, &made);
    CHECK_INT(made.listener->n_secret_needs, 1);
    CHECK_STR(made.listener->needs[0], "tls_certificate/test/sec/good");
    CHECK_INT(made.n_secrets, 1);
    const struct told told = told_in(&scope);
    CHECK_INT(told.n, 1);
    CHECK(strstr(told.texts[0], "bad.expose#0: expose#0.filter_config_data.idle_timeout"));
    listener_result_clear(&made);
}

/* Of a TCP filter: a structure as deep as that; each list makes it two messages deeper, each object three. */
static char *deep_data(unsigned objects, unsigned lists)
{
    struct buf b = {0};

    buf_append_str(&b, "{\"metadata_match\": {\"filter_metadata\": {\"a\": {\"a\": ");
    for (unsigned i = 0; i < objects; i++)
        buf_append_str(&b, "{\"a\": ");
    for (unsigned i = 0; i < lists; i++)
        buf_append_str(&b, "[");
    buf_append_str(&b, "1");
    for (unsigned i = 0; i < lists; i++)
        buf_append_str(&b, "]");
    for (unsigned i = 0; i < objects + 4; i++)
        buf_append_str(&b, "}");
    return buf_take(&b, NULL);
}

TEST(a_filter_that_is_good_alone_and_too_deep_in_its_listener_goes_and_the_others_stay)
{
    size_t too_deep = 0;

    for (unsigned objects = 28; objects < 32; objects++) {
        for (unsigned lists = 0; lists < 4; lists++) {
            _cleanup_(arena_free_p) struct arena *a = arena_new();
            _cleanup_(mem_free_p) char *data = deep_data(objects, lists);
            struct exposure x = exposure_of("good.expose#0"), deep = exposure_of("deep.expose#1");
            const struct exposure *px = &x, *pdeep = &deep;
            struct plan_chain chains[] = {l4_chain("a", &px), l4_chain("b", &pdeep)};
            struct listener_plan p = plan_of(chains, 2);
            struct translate_scope scope = scope_new();
            struct listener_result made;

            deep.filter_config_data = data;
            listener_make(a, &p, &scope, &made);
            const struct told told = told_in(&scope);
            CHECK(made.listener);
            CHECK_INT(resource_check(made.listener, NULL), 0);
            CHECK_INT(made.listener->n_clusters, 2 - told.n);
            if (told.n && filter_check(&deep, &plain, NULL) == 0) {
                too_deep++;
                CHECK(strstr(told.texts[0], "deep.expose#1: expose#0.filter_config_data.metadata_match."));
            }
            listener_result_clear(&made);
        }
    }
    CHECK(too_deep > 1); /* some are too deep by one message only */
}

static struct route prefix_route(const char *rid, const char *prefix)
{
    return (struct route){.rid = rid,
                          .match = ROUTE_PREFIX,
                          .match_value = prefix,
                          .case_sensitive = true,
                          .timeout = -1,
                          .websocket = -1};
}

/* An L7 chain of two virtual hosts; the first has two routes. */
struct l7 {
    struct exposure x;
    const struct exposure *px;
    struct route routes[2];
    struct plan_route plan_routes[3];
    const char *domains[2];
    struct plan_vhost vhosts[2];
    struct plan_chain chain;
    struct listener_plan plan;
};

static void l7_init(struct l7 *l)
{
    l->x = exposure_of("test/svc/web.expose#0");
    l->px = &l->x;
    l->routes[0] = prefix_route("route#0", "/a");
    l->routes[1] = prefix_route("route#1", "/b");
    for (size_t i = 0; i < 3; i++)
        l->plan_routes[i] = (struct plan_route){&l->x, i < 2 ? &l->routes[i] : NULL};
    l->domains[0] = "a.example";
    l->domains[1] = "b.example";
    l->vhosts[0] = (struct plan_vhost){"v0", &l->domains[0], 1, &l->plan_routes[0], 2};
    l->vhosts[1] = (struct plan_vhost){"v1", &l->domains[1], 1, &l->plan_routes[2], 1};
    l->chain = (struct plan_chain){.kind = CHAIN_L7,
                                   .id = "http",
                                   .holder = &l->x,
                                   .exposures = &l->px,
                                   .n_exposures = 1,
                                   .vhosts = l->vhosts,
                                   .n_vhosts = 2};
    l->plan = plan_of(&l->chain, 1);
}

TEST(a_route_that_envoy_would_refuse_is_left_out_and_the_others_go_on)
{
    struct l7 l;
    struct translate_scope scope = scope_new();

    l7_init(&l);
    l.routes[0].host_rewrite = "a\nb";
    _cleanup_(resource_unref_p) struct resource *r = route_configuration_make(&l.plan, &l.chain, &scope);
    CHECK_INT(resource_check(r, NULL), 0);
    json_t *json = json_of(r), *hosts = json_object_get(json, "virtual_hosts");
    CHECK_INT(json_array_size(hosts), 2);
    CHECK_INT(json_array_size(json_object_get(json_array_get(hosts, 0), "routes")), 1);
    const struct told told = told_in(&scope);
    CHECK_INT(told.n, 1);
    CHECK(strstr(told.texts[0], "test/svc/web.expose#0: route#0."));
    json_decref(json);
}

TEST(a_virtual_host_without_a_route_that_is_left_goes_and_the_others_stay)
{
    struct l7 l;
    struct translate_scope scope = scope_new();

    l7_init(&l);
    l.routes[0].host_rewrite = l.routes[1].host_rewrite = "a\nb";
    _cleanup_(resource_unref_p) struct resource *r = route_configuration_make(&l.plan, &l.chain, &scope);
    json_t *json = json_of(r), *hosts = json_object_get(json, "virtual_hosts");
    CHECK_INT(json_array_size(hosts), 1);
    CHECK_STR(text_at(hosts, 0, "name"), "v1");
    const struct told told = told_in(&scope);
    CHECK_INT(told.n, 2);
    json_decref(json);
}

TEST(a_virtual_host_that_envoy_would_refuse_goes_and_the_others_stay)
{
    struct l7 l;
    struct translate_scope scope = scope_new();

    l7_init(&l);
    l.domains[1] = "b\nexample";
    _cleanup_(resource_unref_p) struct resource *r = route_configuration_make(&l.plan, &l.chain, &scope);
    json_t *json = json_of(r), *hosts = json_object_get(json, "virtual_hosts");
    CHECK_INT(json_array_size(hosts), 1);
    CHECK_STR(text_at(hosts, 0, "name"), "v0");
    const struct told told = told_in(&scope);
    CHECK_INT(told.n, 1);
    json_decref(json);
}

TEST(a_cluster_header_that_is_not_allowed_is_answered_503_and_told)
{
    struct l7 l;
    struct translate_scope scope = scope_new();

    l7_init(&l);
    l.routes[0].cluster_header = "x-cluster";
    _cleanup_(resource_unref_p) struct resource *r = route_configuration_make(&l.plan, &l.chain, &scope);
    json_t *json = json_of(r);
    json_t *routes = json_object_get(json_array_get(json_object_get(json, "virtual_hosts"), 0), "routes");
    json_t *response = json_object_get(json_array_get(routes, 0), "direct_response");
    CHECK_INT(json_integer_value(json_object_get(response, "status")), 503);
    const struct told told = told_in(&scope);
    CHECK_INT(told.n, 1);
    CHECK(strstr(told.texts[0], "route#0.route_cluster_header"));
    json_decref(json);
    scope = scope_new();
    scope.gateway = &generous;
    _cleanup_(resource_unref_p) struct resource *allowed = route_configuration_make(&l.plan, &l.chain, &scope);
    CHECK(allowed->version != r->version);
    CHECK_INT(told_in(&scope).n, 0);
}

TEST(a_chain_that_serves_every_host_answers_no_421)
{
    struct l7 l;
    struct translate_scope scope = scope_new();
    struct plan_chain chains[2];

    l7_init(&l);
    l.chain.tls = true;
    chains[0] = chains[1] = l.chain;
    l.plan.chains = chains;
    l.plan.n_chains = 2;
    _cleanup_(resource_unref_p) struct resource *some = route_configuration_make(&l.plan, &chains[0], &scope);
    l.domains[1] = "*";
    _cleanup_(resource_unref_p) struct resource *all = route_configuration_make(&l.plan, &chains[0], &scope);
    json_t *json = json_of(some);
    CHECK_INT(json_array_size(json_object_get(json, "virtual_hosts")), 3);
    json_decref(json);
    json = json_of(all);
    CHECK_INT(json_array_size(json_object_get(json, "virtual_hosts")), 2);
    json_decref(json);
    CHECK_INT(told_in(&scope).n, 0);
}
