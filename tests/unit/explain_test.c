/*
 * Explanations over small views: what wins, and what is said of those that lost. That Envoy does the same is held by
 * an end-to-end test.
 */
#include "store/explain.h"

#include "base/buf.h"
#include "tests/unit/certs.h"
#include "tests/unit/store_world.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

/* A world with services, its view, and one answer. */
struct scene {
    struct world world;
    struct view *view;
    struct arena *arena;
    struct explanation e;
};

static void scene_init(struct scene *s)
{
    *s = (struct scene){.arena = arena_new()};
    world_init(&s->world);
    world_open(&s->world);
}

static void scene_clear(struct scene *s)
{
    view_unref(s->view);
    arena_free(s->arena);
    world_clear(&s->world);
}

/* Keywords of the exposure, of a vhost and of a route as JSON objects without braces. */
static void add(struct scene *s, const char *path, const char *expose, const char *vhost, const char *route,
                const char *address)
{
    char *all[3];
    const char *const resources[] = {"expose#1", "expose.envoy",    all[0] = mem_printf("{%s}", expose),
                                     "vhost#1",  "vhost.envoy",     all[1] = mem_printf("{%s}", vhost),
                                     "route#1",  "route.envoy",     all[2] = mem_printf("{%s}", route),
                                     "route#2",  "route.envoy",     "{\"match_prefix\":\"/\"}",
                                     "cert",     "certificate.tls", "{\"certificate_secret\":\"cert\"}",
                                     "none",     "certificate.tls", "{\"certificate_secret\":\"none\"}",
                                     NULL};
    const char *const addresses[] = {address, NULL};

    world_put_full(&s->world, path, resources, addresses);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        mem_free(all[i]);
}

#define AT "\"port\":80,\"listener_addr\":\"10.0.0.1\",\"listener_port\":443"
#define HTTP AT ",\"vhosts\":[\"vhost#1\"]"
#define HTTPS HTTP ",\"listener_certificates\":[\"cert\"]"

static void put_secret(struct scene *s)
{
    struct test_certificate *c = test_certificate_for("www.x.org");
    const struct secret_values values = {.certificate_chain = c->pem, .private_key = c->key_pem};

    store_put_secret(s->world.store, "test/sec/cert", "1", &values, NULL);
    test_certificate_free(c);
}

static struct explain_question question(const char *sni, const char *host, const char *path)
{
    struct explain_question q = {.port = 443, .tls = sni != NULL, .server_name = sni, .host = host, .path = path};

    CHECK(address_parse("10.0.0.1", &q.address) == 0);
    return q;
}

static enum explain_outcome ask(struct scene *s, struct explain_question q)
{
    world_committed(&s->world);
    view_unref(s->view);
    s->view = store_view(s->world.store);
    q.gateway = view_gateway(s->view, "envoy");
    explain(s->view, &q, s->arena, &s->e);
    CHECK(s->e.summary && *s->e.summary);
    return s->e.outcome;
}

/* "name: reason\n" of each rival. */
static const char *rivals(struct scene *s, const struct explain_step *step)
{
    struct buf b;

    buf_init(&b, 0);
    for (size_t i = 0; i < step->n_rivals; i++)
        CHECK(buf_printf(&b, "%s: %s\n", step->rivals[i].name, step->rivals[i].reason) == 0);
    const char *text = arena_strdup(s->arena, buf_cstr(&b));
    buf_clear(&b);
    return text;
}

TEST(an_exact_address_goes_before_all_addresses)
{
    struct scene s;

    scene_init(&s);
    world_put(&s.world, "test/svc/all", "\"port\":80,\"listener_port\":443", "10.1.0.1", true);
    world_put(&s.world, "test/svc/one", AT, "10.1.0.2", true);
    CHECK_INT(ask(&s, question(NULL, "h", "/")), EXPLAIN_FORWARDED);
    CHECK_STR(s.e.cluster, "test/svc/one.expose#0");
    CHECK_STR(rivals(&s, &s.e.listener_step), "envoy|0.0.0.0:443/tcp: the address of 10.0.0.1:443/tcp is more "
                                              "exact\n");
    struct explain_question q = question(NULL, "h", "/");
    CHECK(address_parse("::ffff:10.0.0.2", &q.address) == 0);
    CHECK_INT(ask(&s, q), EXPLAIN_FORWARDED);
    CHECK_STR(s.e.cluster, "test/svc/all.expose#0");
    CHECK_STR(rivals(&s, &s.e.listener_step), "envoy|10.0.0.1:443/tcp: it has another address\n");
    q.port = 444;
    CHECK_INT(ask(&s, q), EXPLAIN_NO_LISTENER);
    CHECK(s.e.cluster == NULL && s.e.chain_step.reason == NULL);
    CHECK_STR(s.e.listener_step.reason, "the gateway envoy opens no TCP port 444 at 10.0.0.2");
    scene_clear(&s);
}

TEST(who_holds_the_listener_is_told_to_who_does_not)
{
    struct scene s;

    scene_init(&s);
    world_put(&s.world, "test/svc/first", AT, "10.1.0.1", true);
    world_committed(&s.world);
    world_put(&s.world, "test/svc/a", AT, "10.1.0.2", true);
    CHECK_INT(ask(&s, question(NULL, "h", "/")), EXPLAIN_FORWARDED);
    CHECK_STR(s.e.chain_step.reason, "it is the only chain, and takes every connection");
    CHECK_STR(rivals(&s, &s.e.chain_step),
              "test/svc/a.expose#0: conflict: this listener is held by test/svc/first.expose#0\n");
    scene_clear(&s);
}

TEST(a_longer_server_name_wins_and_no_secret_no_chain)
{
    struct scene s;

    scene_init(&s);
    put_secret(&s);
    add(&s, "test/svc/any", AT ",\"sni\":[\"*.org\"]", "", "", "10.1.0.1");
    add(&s, "test/svc/wild", AT ",\"sni\":[\"*.x.org\"]", "", "", "10.1.0.2");
    add(&s, "test/svc/rest", AT, "", "", "10.1.0.3");
    add(&s, "test/svc/lost", AT ",\"sni\":[\"www.x.org\"],\"listener_certificates\":[\"none\"]", "", "", "10.1.0.4");
    CHECK_INT(ask(&s, question("WWW.x.org", "h", "/")), EXPLAIN_FORWARDED);
    CHECK_STR(s.e.cluster, "test/svc/wild.expose#1");
    CHECK_STR(s.e.server_name, "*.x.org");
    CHECK_STR(s.e.chain_step.reason, "its server name \"*.x.org\" takes \"www.x.org\"");
    CHECK_STR(rivals(&s, &s.e.chain_step),
              "test/svc/lost.expose#1: unready: test/sec/none can't be served: it was not read yet\n"
              "l4: it takes only what no other chain has a name for\n"
              "sni:test/svc/any.expose#1: its name \"*.org\" is less exact than \"*.x.org\"\n");
    CHECK_INT(ask(&s, question("x.com", "h", "/")), EXPLAIN_FORWARDED);
    CHECK_STR(s.e.cluster, "test/svc/rest.expose#1");
    CHECK_STR(s.e.chain_step.reason, "no chain has a name that takes \"x.com\", and it takes the rest");
    CHECK_INT(s.e.n_notes, 1);
    scene_clear(&s);
}

TEST(names_that_nobody_takes_have_no_chain)
{
    struct scene s;

    scene_init(&s);
    add(&s, "test/svc/a", AT ",\"sni\":[\"a.org\"]", "", "", "10.1.0.1");
    CHECK_INT(ask(&s, question("b.org", "h", "/")), EXPLAIN_NO_CHAIN);
    CHECK(s.e.listener && !s.e.chain);
    CHECK_STR(rivals(&s, &s.e.chain_step), "sni:test/svc/a.expose#1: none of its server names takes \"b.org\"\n");
    CHECK_INT(ask(&s, question(NULL, "h", "/")), EXPLAIN_NO_CHAIN);
    CHECK_STR(rivals(&s, &s.e.chain_step),
              "sni:test/svc/a.expose#1: it takes connections by their server name, and this has none\n");
    scene_clear(&s);
}

TEST(tls_and_plaintext_do_not_meet)
{
    struct scene s;

    scene_init(&s);
    put_secret(&s);
    add(&s, "test/svc/a", HTTPS, "\"domains\":[\"*\"]", "", "10.1.0.1");
    CHECK_INT(ask(&s, question(NULL, "h", "/")), EXPLAIN_NO_HANDSHAKE);
    CHECK_STR(s.e.certificate_name, "tls_certificate/test/sec/cert");
    CHECK_INT(ask(&s, question("h", "h", "/")), EXPLAIN_FORWARDED);
    add(&s, "test/svc/a", HTTP, "\"domains\":[\"*\"]", "", "10.1.0.1");
    CHECK_INT(ask(&s, question("h", "h", "/")), EXPLAIN_NO_HANDSHAKE);
    CHECK(s.e.certificate == NULL);
    scene_clear(&s);
}

TEST(hosts_and_routes_that_lost_are_told_with_their_reasons)
{
    struct scene s;

    scene_init(&s);
    add(&s, "test/svc/a", HTTP, "\"domains\":[\"www.x.org\"],\"routes\":[\"route#1\",\"route#2\"]",
        "\"match_path\":\"/in\",\"route_prefix_rewrite\":\"/out\",\"route_host_rewrite\":\"y\"", "10.1.0.1");
    add(&s, "test/svc/b", HTTP, "\"domains\":[\"*.x.org\",\"*\"]", "", "!10.1.0.2");
    add(&s, "test/svc/c", HTTP, "\"domains\":[\"z.org\"]", "", "10.1.0.3");
    CHECK_INT(ask(&s, question(NULL, "WWW.x.org:99", "/in?q")), EXPLAIN_FORWARDED);
    CHECK_STR(s.e.domain, "www.x.org");
    CHECK_STR(rivals(&s, &s.e.vhost_step),
              "test/svc/b.expose#1.vhost#1: its domain \"*.x.org\" is less exact than \"www.x.org\"\n"
              "test/svc/c.expose#1.vhost#1: none of its domains has \"www.x.org\"\n");
    CHECK_STR(s.e.route_step.reason, "match_path \"/in\" is the first that matches the path");
    CHECK_STR(rivals(&s, &s.e.route_step),
              "test/svc/a.expose#1 route#2: match_prefix \"/\" matches too, and comes later\n");
    CHECK_STR(s.e.forwarded_path, "/out?q");
    CHECK_STR(s.e.forwarded_host, "y");
    CHECK_INT(ask(&s, question(NULL, "www.x.org", "/other")), EXPLAIN_FORWARDED);
    CHECK_STR(rivals(&s, &s.e.route_step),
              "test/svc/a.expose#1 route#1: match_path \"/in\" does not match the path\n");
    CHECK_STR(s.e.forwarded_path, "/other");
    CHECK_INT(ask(&s, question(NULL, "q.x.org", "/")), EXPLAIN_NO_ENDPOINT);
    CHECK_INT(s.e.status, 503);
    CHECK(strncmp(rivals(&s, &s.e.cluster_step), "10.1.0.2:80: it is ", 19) == 0);
    scene_clear(&s);
}

TEST(a_domain_of_another_namespace_is_told)
{
    struct scene s;

    scene_init(&s);
    add(&s, "test/svc/a", HTTP, "\"domains\":[\"x.org\"]", "", "10.1.0.1");
    world_committed(&s.world);
    add(&s, "other/svc/b", HTTP, "\"domains\":[\"x.org\",\"y.org\"]", "", "10.1.0.2");
    CHECK_INT(ask(&s, question(NULL, "x.org", "/")), EXPLAIN_FORWARDED);
    CHECK_STR(s.e.cluster, "test/svc/a.expose#1");
    CHECK_STR(
        rivals(&s, &s.e.vhost_step),
        "other/svc/b.expose#1: conflict: domain \"x.org\" is held by test/svc/a.expose#1, of another namespace\n"
        "other/svc/b.expose#1.vhost#1: none of its domains has \"x.org\"\n");
    scene_clear(&s);
}

TEST(a_host_of_another_chain_is_misdirected)
{
    struct scene s;

    scene_init(&s);
    put_secret(&s);
    add(&s, "test/svc/a", HTTPS, "\"domains\":[\"a.org\"]", "", "10.1.0.1");
    add(&s, "test/svc/b", HTTPS ",\"filter_config_data\":{\"idle_timeout\":\"9s\"}", "\"domains\":[\"b.org\"]", "",
        "10.1.0.2");
    CHECK_INT(ask(&s, question("a.org", "b.org", "/")), EXPLAIN_MISDIRECTED);
    CHECK_INT(s.e.status, 421);
    CHECK(strstr(rivals(&s, &s.e.vhost_step), "its domain \"b.org\" has the host, but it is on the chain tls:"));
    scene_clear(&s);
}

TEST(redirects_are_worked_out)
{
    static const struct {
        const char *route, *host, *path, *location;
        unsigned status;
    } examples[] = {
        {"\"match_prefix\":\"/a\",\"redirect_https_redirect\":true", "h:80", "/a?b", "https://h/a?b", 301},
        {"\"match_prefix\":\"/a\",\"redirect_https_redirect\":true", "h:81", "/a", "https://h:81/a", 301},
        {"\"match_prefix\":\"/a\",\"redirect_https_redirect\":true", "[::1]:80", "/a", "https://[::1]/a", 301},
        {"\"match_prefix\":\"/a\",\"redirect_host_redirect\":\"n\",\"redirect_response_code\":308", "h", "/a?b",
         "http://n/a?b", 308},
        {"\"match_prefix\":\"/a\",\"redirect_path_redirect\":\"/p\"", "h:80", "/a?b", "http://h:80/p?b", 301},
        {"\"match_prefix\":\"/a\",\"redirect_path_redirect\":\"/p?own\",\"redirect_strip_query\":true", "h", "/a?b",
         "http://h/p?own", 301},
        {"\"match_prefix\":\"/a\",\"redirect_prefix_rewrite\":\"/n\"", "h", "/a/b?c", "http://h/n/b?c", 301},
        {"\"match_regex\":\"/a/.*\",\"redirect_prefix_rewrite\":\"/n\",\"redirect_strip_query\":true", "h", "/a/b?c",
         "http://h/n", 301},
        {"\"match_path\":\"/A\",\"match_case_sensitive\":false,\"redirect_prefix_rewrite\":\"/n\"", "h", "/a?c",
         "http://h/n?c", 301},
    };

    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct scene s;

        scene_init(&s);
        add(&s, "test/svc/a", HTTP, "\"domains\":[\"*\"],\"routes\":[\"route#1\"]", examples[i].route, "10.1.0.1");
        CHECK_INT(ask(&s, question(NULL, examples[i].host, examples[i].path)), EXPLAIN_REDIRECTED);
        CHECK_STR(s.e.location, examples[i].location);
        CHECK_INT(s.e.status, examples[i].status);
        CHECK_INT(ask(&s, question(NULL, examples[i].host, "/other")), EXPLAIN_NO_ROUTE);
        scene_clear(&s);
    }
}

TEST(rivals_are_bounded_and_counted)
{
    struct scene s;

    scene_init(&s);
    for (int i = 0; i < 2 * EXPLAIN_RIVALS_MAX; i++) {
        char *path = mem_printf("test/svc/s%03d", i), *vhost = mem_printf("\"domains\":[\"s%d.org\"]", i);

        add(&s, path, HTTP, vhost, "", "10.1.0.1");
        mem_free(path);
        mem_free(vhost);
    }
    CHECK_INT(ask(&s, question(NULL, "s7.org", "/")), EXPLAIN_FORWARDED);
    CHECK_INT(s.e.vhost_step.n_rivals, EXPLAIN_RIVALS_MAX);
    CHECK_INT(s.e.vhost_step.n_omitted, EXPLAIN_RIVALS_MAX - 1);
    scene_clear(&s);
}

TEST(header_fields_may_decide)
{
    static const struct explain_header underscore[] = {{"a_b", ""}},
                                       upgrade[] = {{"upgrade", "tea"}, {"Connection", "keep-alive, Upgrade"}},
                                       websocket[] = {{"Upgrade", "WebSocket"}, {"connection", "upgrade"}};
    struct explain_question q = question(NULL, "h", "/");
    struct scene s;

    scene_init(&s);
    add(&s, "test/svc/a", HTTP, "\"domains\":[\"*\"],\"routes\":[\"route#1\",\"route#2\"]",
        "\"match_prefix\":\"/no\",\"route_use_websocket\":false", "10.1.0.1");
    q.headers = underscore;
    q.n_headers = 1;
    CHECK_INT(ask(&s, q), EXPLAIN_REFUSED);
    CHECK_INT(s.e.status, 400);
    q.headers = upgrade;
    q.n_headers = 2;
    CHECK_INT(ask(&s, q), EXPLAIN_REFUSED);
    CHECK_INT(s.e.status, 403);
    q.headers = websocket;
    CHECK_INT(ask(&s, q), EXPLAIN_FORWARDED);
    q.path = "/no";
    CHECK_INT(ask(&s, q), EXPLAIN_REFUSED);
    CHECK_INT(s.e.status, 403);
    scene_clear(&s);
}

TEST(a_client_chooses_the_cluster_where_the_gateway_allows_it)
{
    static const struct explain_header chosen[] = {{"X-Cluster", "test/svc/b.expose#1"}},
                                       wrong[] = {{"x-cluster", "test/svc/c.expose#1"}};
    struct explain_question q = question(NULL, "h", "/");
    struct gateway open = {.name = "envoy", .allow_cluster_header = true};
    struct scene s;

    scene_init(&s);
    add(&s, "test/svc/a", HTTP, "\"domains\":[\"*\"],\"routes\":[\"route#1\"]",
        "\"match_prefix\":\"/\",\"route_cluster_header\":\"x-cluster\"", "10.1.0.1");
    add(&s, "test/svc/b", "\"port\":81,\"listener_port\":444", "", "", "10.1.0.2");
    CHECK_INT(ask(&s, q), EXPLAIN_REFUSED);
    CHECK_INT(s.e.status, 503);
    q.gateway = &open;
    q.headers = chosen;
    q.n_headers = 1;
    explain(s.view, &q, s.arena, &s.e);
    CHECK_INT(s.e.outcome, EXPLAIN_FORWARDED);
    CHECK_STR(s.e.cluster, "test/svc/b.expose#1");
    CHECK_INT(s.e.n_endpoints, 1);
    q.headers = wrong;
    explain(s.view, &q, s.arena, &s.e);
    CHECK_INT(s.e.outcome, EXPLAIN_NO_ENDPOINT);
    CHECK_STR(s.e.cluster, "test/svc/c.expose#1");
    q.n_headers = 0;
    explain(s.view, &q, s.arena, &s.e);
    CHECK_INT(s.e.outcome, EXPLAIN_NO_ENDPOINT);
    CHECK_STR(s.e.cluster, "");
    scene_clear(&s);
}
