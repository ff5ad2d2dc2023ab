/*
 * Plans of listeners: by tables of what services declare and the plan that must come out, written as text; and by
 * random worlds, in which what must always hold is checked.
 */
#include "store/plan.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "tests/unit/model.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- a world ---- */

enum { SERVICES_MAX = 16, CLAIMS_MAX = 64 };

struct entry {
    const char *path;
    uint64_t since;
    const char *text;
};

struct world {
    struct service *services[SERVICES_MAX];
    size_t n_services;
    struct claim claims[CLAIMS_MAX];
    size_t n_claims;
    const char *grant; /* "NS KIND NAME", or NULL */
    const char *missing;
    struct secret odd; /* instead of the good one, where its path is asked for */
};

static void world_add(struct world *w, struct service *s)
{
    CHECK(w->n_services < SERVICES_MAX);
    w->services[w->n_services++] = s;
    for (size_t i = 0; i < s->n_exposures; i++) {
        CHECK(w->n_claims < CLAIMS_MAX);
        w->claims[w->n_claims++].sx = &s->exposures[i];
    }
}

static void world_clear(struct world *w)
{
    for (size_t i = 0; i < w->n_services; i++)
        service_unref(w->services[i]);
    *w = (struct world){0};
}

/* Every secret is there, except the world's missing one. */
static const struct secret *lookup(void *arg, const char *path)
{
    static const struct secret good = {.has_pair = true, .has_trust = true};
    const struct world *w = arg;

    if (w->odd.path && strcmp(path, w->odd.path) == 0)
        return &w->odd;
    return w->missing && strcmp(path, w->missing) == 0 ? NULL : &good;
}

static bool granted(void *arg, const char *ns, const char *kind, const char *name)
{
    const struct world *w = arg;
    char *text = mem_printf("%s %s %s", ns, kind, name);
    bool yes = w->grant && strcmp(w->grant, text) == 0;

    mem_free(text);
    return yes;
}

static struct listener_plan *plan_world(struct world *w)
{
    const struct plan_context context = {.secrets = lookup, .secrets_arg = w, .granted = granted, .granted_arg = w};

    return listener_plan_new("envoy", w->claims, w->n_claims, &context);
}

/* ---- a plan as text ---- */

static void put_route(struct buf *b, const struct plan_route *r)
{
    static const char *const kinds[] = {[ROUTE_PREFIX] = "prefix", [ROUTE_PATH] = "path", [ROUTE_REGEX] = "regex"};

    if (r->route)
        buf_printf(b, "    %s %s%s -> %s\n", kinds[r->route->match], r->route->match_value,
                   r->route->case_sensitive ? "" : " (any case)", r->x->name);
    else
        buf_printf(b, "    all -> %s\n", r->x->name);
}

static void put_chain(struct buf *b, const struct plan_chain *c, bool with_tls_id)
{
    static const char *const kinds[] = {[CHAIN_UDP] = "udp", [CHAIN_L4] = "l4", [CHAIN_L7] = "l7"};
    bool hashed = strncmp(c->id, "tls:", 4) == 0 && !with_tls_id;
    char name[256];

    buf_printf(b, "chain %.*s%s %s%s:", hashed ? 3 : 999, c->id, hashed ? c->id + 20 : "", kinds[c->kind],
               c->tls ? " tls" : "");
    for (size_t i = 0; i < c->n_server_names; i++)
        buf_printf(b, " %s", c->server_names[i]);
    buf_append_str(b, c->is_default && c->n_server_names ? " and the rest of" : " of");
    for (size_t i = 0; i < c->n_exposures; i++)
        buf_printf(b, " %s", c->exposures[i]->name);
    for (size_t i = 0; i < c->n_certificates; i++)
        buf_printf(b, " %s", sds_pair_name(c->certificates[i], name, sizeof(name)));
    if (c->validation)
        buf_printf(b, " %s", sds_trust_name(c->validation, name, sizeof(name)));
    buf_append_byte(b, '\n');
    for (size_t i = 0; i < c->n_vhosts; i++) {
        buf_printf(b, "  %s:", c->vhosts[i].name);
        for (size_t k = 0; k < c->vhosts[i].n_domains; k++)
            buf_printf(b, " %s", c->vhosts[i].domains[k]);
        buf_append_byte(b, '\n');
        for (size_t k = 0; k < c->vhosts[i].n_routes; k++)
            put_route(b, &c->vhosts[i].routes[k]);
    }
}

static char *plan_text(const struct listener_plan *p, bool with_tls_id)
{
    static const char *const kinds[] = {[VERDICT_ACCEPTED] = "accepted",
                                        [VERDICT_PARTIAL] = "partial",
                                        [VERDICT_CONFLICT] = "conflict",
                                        [VERDICT_NOT_READY] = "not ready",
                                        [VERDICT_INVALID] = "invalid"};
    struct buf b;

    buf_init(&b, 0);
    for (size_t i = 0; i < p->n_chains; i++)
        put_chain(&b, &p->chains[i], with_tls_id);
    for (size_t i = 0; i < p->n_verdicts; i++) {
        const struct verdict *v = &p->verdicts[i];

        if (v->kind == VERDICT_ACCEPTED && v->n_problems == 0)
            continue;
        buf_printf(&b, "%s %s\n", v->exposure, kinds[v->kind]);
        for (size_t k = 0; k < v->n_problems; k++)
            buf_printf(&b, "  %s %s: %s\n", v->problems[k].code, v->problems[k].field, v->problems[k].text);
    }
    return buf_take(&b, NULL);
}

static void fill(struct world *w, const struct entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        world_add(w, model_service_of(entries[i].path, entries[i].text, entries[i].since));
}

static void check_world(struct world *w, const char *expected)
{
    struct listener_plan *p = plan_world(w);
    char *text = plan_text(p, false);

    if (strcmp(text, expected) != 0)
        test_fail(__FILE__, __LINE__, "the plan is\n%s\nand not\n%s", text, expected);
    mem_free(text);
    listener_plan_unref(p);
}

/* The plan of those services, all exposures of which are on one listener. Accepted ones are not written. */
static void check_plan(const struct entry *entries, size_t n, const char *expected)
{
    struct world w = {0};

    fill(&w, entries, n);
    check_world(&w, expected);
    world_clear(&w);
}

#define CHECK_PLAN(expected, ...)                                                                                    \
    do {                                                                                                             \
        const struct entry planned[] = {__VA_ARGS__};                                                                \
        check_plan(planned, ARRAY_LEN(planned), expected);                                                           \
    } while (0)

#define L4 "expose#0 {'port': 443}"
#define SNI(names) "expose#0 {'port': 443, 'sni': '" names "'}"
#define SNI_TLS(names, cert)                                                                                         \
    "expose#0 {'port': 443, 'sni': '" names "', 'listener_certificates': 'certificate#0'}\n"                         \
    "certificate#0 {'certificate_secret': '" cert "'}"
#define HTTP(domains, routes)                                                                                        \
    "expose#0 {'port': 443, 'vhosts': 'vhost#0'}\nvhost#0 {'domains': '" domains "', 'routes': '" routes "'}\n"
#define HTTPS(domains, routes, cert)                                                                                 \
    "expose#0 {'port': 443, 'vhosts': 'vhost#0', 'listener_certificates': 'certificate#0'}\n"                        \
    "vhost#0 {'domains': '" domains "', 'routes': '" routes "'}\ncertificate#0 {'certificate_secret': '" cert "'}\n"
#define PREFIX(n, value) "route#" n " {'match_prefix': '" value "'}\n"
#define PATH(n, value) "route#" n " {'match_path': '" value "'}\n"
#define REGEX(n, value) "route#" n " {'match_regex': '" value "'}\n"

/* ---- names ---- */

TEST(listeners_are_named_by_address_port_and_protocol)
{
    struct address v4 = {{10, 0, 0, 1}, AF_INET}, v6 = {{0xfd, [15] = 1}, AF_INET6};
    char buf[64];

    CHECK_STR(listener_name(&v4, 443, PROTOCOL_TCP, buf), "10.0.0.1:443/tcp");
    CHECK_STR(listener_name(&v6, 53, PROTOCOL_UDP, buf), "[fd00::1]:53/udp");
}

TEST(sds_names_follow_from_the_source)
{
    const struct certificate by_secret = {
        .name = "web1.certificate#0", .secret = "test/sec/a", .validation_secret = "sec/b"};
    const struct certificate by_file = {.name = "web1.certificate#0", .chain_file = "/c"};
    char buf[128];

    CHECK_STR(sds_pair_name(&by_secret, buf, sizeof(buf)), "tls_certificate/test/sec/a");
    CHECK_STR(sds_trust_name(&by_secret, buf, sizeof(buf)), "validation_context/sec/b");
    CHECK_STR(sds_pair_name(&by_file, buf, sizeof(buf)), "tls_certificate/web1.certificate#0");
}

TEST(a_plan_says_which_listener_it_is_of)
{
    struct world w = {0};
    struct listener_plan *p, *ref;

    fill(&w, &(struct entry){"web1", 1, "expose#0 {'port': 80, 'listener_addr': '::', 'listener_port': 8080}"}, 1);
    p = plan_world(&w);
    CHECK_STR(p->gateway, "envoy");
    CHECK_STR(p->name, "[::]:8080/tcp");
    CHECK_STR(p->key, "envoy|[::]:8080/tcp");
    CHECK_INT(p->port, 8080);
    CHECK_INT(p->protocol, PROTOCOL_TCP);
    CHECK_INT(p->address.family, AF_INET6);
    CHECK(!p->tls_inspector && !p->server_first_warning);
    CHECK(listener_plan_verdict(p, "web1.expose#0")->kind == VERDICT_ACCEPTED);
    CHECK(!listener_plan_verdict(p, "web1.expose#1"));
    /* The plan keeps what it refers to. */
    world_clear(&w);
    ref = listener_plan_ref(p);
    listener_plan_unref(p);
    CHECK_STR(ref->chains[0].holder->name, "web1.expose#0");
    listener_plan_unref(ref);
    listener_plan_unref(NULL);
}

/* ---- L4 ---- */

TEST(an_exposure_alone_has_the_listener)
{
    CHECK_PLAN("chain l4 l4: of a.expose#0\n", {"a", 1, L4});
    CHECK_PLAN("chain udp udp: of a.expose#0\n", {"a", 1, "expose#0 {'port': 53, 'protocol': 'udp'}"});
    CHECK_PLAN("chain plain l7: of a.expose#0\n"
               "  a.expose#0.vhost#0: a.org\n    all -> a.expose#0\n",
               {"a", 1, HTTP("a.org", "")});
}

TEST(the_first_keeps_a_listener_then_the_smaller_name)
{
    static const char later[] = "chain l4 l4: of b.expose#0\n"
                                "a.expose#0 conflict\n"
                                "  conflict expose#0.listener_port: this listener is held by b.expose#0\n";

    CHECK_PLAN(later, {"a", 2, L4}, {"b", 1, L4});
    CHECK_PLAN(later, {"b", 1, L4}, {"a", 2, L4});
    CHECK_PLAN("chain l4 l4: of a.expose#0\n"
               "b.expose#0 conflict\n"
               "  conflict expose#0.listener_port: this listener is held by a.expose#0\n",
               {"b", 1, L4}, {"a", 1, L4});
    CHECK_PLAN("chain udp udp: of a.expose#0\n"
               "b.expose#0 conflict\n"
               "  conflict expose#0.listener_port: this listener is held by a.expose#0\n",
               {"a", 1, "expose#0 {'port': 53, 'protocol': 'udp'}"},
               {"b", 2, "expose#0 {'port': 53, 'protocol': 'udp'}"});
}

TEST(server_names_share_a_listener_with_what_has_none)
{
    CHECK_PLAN("chain l4 l4: of plain.expose#0\n"
               "chain sni:p.expose#0 l4: *.p.org p.org of p.expose#0\n"
               "chain sni:t.expose#0 l4 tls: t.org of t.expose#0 tls_certificate/sec/c\n"
               "plain.expose#0 accepted\n"
               "  warning expose#0.listener_port: others on this listener are told apart by server name: a protocol "
               "in which the server speaks first starts with a second's delay\n",
               {"plain", 3, L4}, {"p", 2, SNI("p.org *.p.org")}, {"t", 1, SNI_TLS("t.org", "c")});
}

TEST(tls_without_names_is_the_default_chain)
{
    CHECK_PLAN("chain l4 l4 tls: of t.expose#0 tls_certificate/sec/c\n"
               "chain sni:p.expose#0 l4: p.org of p.expose#0\n",
               {"t", 1,
                "expose#0 {'port': 443, 'listener_certificates': 'certificate#0'}\n"
                "certificate#0 {'certificate_secret': 'c'}"},
               {"p", 2, SNI("p.org")});
}

TEST(a_server_name_belongs_to_who_had_it_first)
{
    CHECK_PLAN("chain sni:a.expose#0 l4: x.org y.org of a.expose#0\n"
               "chain sni:b.expose#0 l4: z.org of b.expose#0\n"
               "b.expose#0 partial\n"
               "  conflict expose#0.sni: server name \"y.org\" is held by a.expose#0\n"
               "c.expose#0 conflict\n"
               "  conflict expose#0.sni: server name \"x.org\" is held by a.expose#0\n"
               "  conflict expose#0.sni: server name \"z.org\" is held by b.expose#0\n",
               {"c", 3, SNI("x.org z.org")}, {"b", 2, SNI("y.org z.org")}, {"a", 1, SNI("x.org y.org")});
}

TEST(a_wildcard_and_a_name_it_covers_are_two_names)
{
    CHECK_PLAN("chain sni:a.expose#0 l4: *.x.org of a.expose#0\n"
               "chain sni:b.expose#0 l4: a.x.org of b.expose#0\n",
               {"a", 1, SNI("*.x.org")}, {"b", 2, SNI("a.x.org")});
}

TEST(a_name_that_is_claimed_later_is_lost_to_who_has_it_by_then)
{
    struct world w = {0};
    struct declaration *d = model_declaration("a", SNI("new.org old.org"));
    const struct name_since later = {"new.org", 9};
    const struct exposure_state state = {
        .gateway = "envoy", .listener_port = 443, .since = 1, .later = &later, .n_later = 1};

    world_add(&w, service_new("a", d, NULL, &state, NULL, 0, NULL, NULL));
    world_add(&w, model_service_of("b", SNI("new.org"), 5));
    check_world(&w, "chain sni:a.expose#0 l4: old.org of a.expose#0\n"
                    "chain sni:b.expose#0 l4: new.org of b.expose#0\n"
                    "a.expose#0 partial\n"
                    "  conflict expose#0.sni: server name \"new.org\" is held by b.expose#0\n");
    world_clear(&w);
    declaration_unref(d);
}

/* ---- L7 chains ---- */

TEST(plaintext_http_merges)
{
    CHECK_PLAN("chain plain l7: of a.expose#0 b.expose#0\n"
               "  a.expose#0.vhost#0: a.org\n    all -> a.expose#0\n"
               "  b.expose#0.vhost#0: *.b.org b.org\n    all -> b.expose#0\n",
               {"b", 2, HTTP("b.org *.b.org", "")}, {"a", 1, HTTP("a.org", "")});
}

TEST(plaintext_http_with_other_settings_is_a_conflict)
{
    CHECK_PLAN("chain plain l7: of a.expose#0\n"
               "  a.expose#0.vhost#0: a.org\n    all -> a.expose#0\n"
               "b.expose#0 conflict\n"
               "  conflict expose#0.filter_config_data: differs from that of a.expose#0, which has plaintext HTTP on "
               "this listener\n",
               {"a", 1, HTTP("a.org", "")},
               {"b", 2,
                "expose#0 {'port': 443, 'vhosts': 'vhost#0', 'filter_config_data': {'x': 1}}\n"
                "vhost#0 {'domains': 'b.org'}"});
}

TEST(plaintext_http_and_l4_do_not_share_a_listener)
{
    CHECK_PLAN("chain l4 l4: of a.expose#0\n"
               "b.expose#0 conflict\n"
               "  conflict expose#0.listener_port: this listener is held by a.expose#0\n"
               "c.expose#0 conflict\n"
               "  conflict expose#0.listener_port: this listener is held by a.expose#0\n",
               {"a", 1, L4}, {"b", 2, HTTP("b.org", "")}, {"c", 3, HTTP("c.org", "")});
    CHECK_PLAN("chain plain l7: of b.expose#0 c.expose#0\n"
               "  b.expose#0.vhost#0: b.org\n    all -> b.expose#0\n"
               "  c.expose#0.vhost#0: c.org\n    all -> c.expose#0\n"
               "a.expose#0 conflict\n"
               "  conflict expose#0.listener_port: this listener is held by b.expose#0\n",
               {"a", 2, L4}, {"b", 1, HTTP("b.org", "")}, {"c", 3, HTTP("c.org", "")});
}

TEST(https_merges_where_certificates_are_equal)
{
    CHECK_PLAN("chain tls l7 tls: a.org b.org of a.expose#0 b.expose#0 tls_certificate/sec/one\n"
               "  a.expose#0.vhost#0: a.org\n    all -> a.expose#0\n"
               "  b.expose#0.vhost#0: b.org\n    all -> b.expose#0\n",
               {"a", 1, HTTPS("a.org", "", "one")}, {"b", 2, HTTPS("b.org", "", "one")});
}

TEST(https_with_certificates_of_equal_files_merges)
{
    static const char text[] =
        "expose#0 {'port': 443, 'vhosts': 'vhost#0', 'listener_certificates': 'certificate#7'}\nvhost#0 {}\n"
        "certificate#7 {'certificate_chain_filename': '/c', 'private_key_filename': '/k'}";

    CHECK_PLAN("chain tls l7 tls: a b of a.expose#0 b.expose#0 tls_certificate/a.certificate#7\n"
               "  a.expose#0.vhost#0: a\n    all -> a.expose#0\n"
               "  b.expose#0.vhost#0: b\n    all -> b.expose#0\n",
               {"a", 1, text}, {"b", 2, text});
}

static size_t count_chains(const struct entry *entries, size_t n)
{
    struct world w = {0};
    struct listener_plan *p;
    size_t chains;

    fill(&w, entries, n);
    p = plan_world(&w);
    chains = p->n_chains;
    listener_plan_unref(p);
    world_clear(&w);
    return chains;
}

TEST(https_is_told_apart_by_certificates_validation_and_settings)
{
#define OF(sections, certificates)                                                                                   \
    "expose#0 {'port': 443, 'vhosts': 'vhost#0', " certificates "}\nvhost#0 {}\n" sections
    static const char base[] =
        OF("certificate#0 {'certificate_secret': 'x'}\n", "'listener_certificates': 'certificate#0'");
    static const struct {
        const char *text;
        size_t chains;
    } cases[] = {
        {OF("certificate#1 {'certificate_secret': 'x'}\n", "'listener_certificates': 'certificate#1'"), 1},
        {OF("certificate#0 {'certificate_secret': 'x'}\ncertificate#1 {'certificate_secret': 'root/sec/x'}\n",
            "'listener_certificates': 'certificate#1 certificate#0'"),
         1},
        {OF("certificate#0 {'certificate_secret': 'y'}\n", "'listener_certificates': 'certificate#0'"), 2},
        {OF("certificate#0 {'certificate_secret': 'x'}\ncertificate#1 {'certificate_secret': 'y'}\n",
            "'listener_certificates': 'certificate#1 certificate#0'"),
         2},
        {OF("certificate#0 {'certificate_secret': 'x', 'validation_secret': 'ca'}\n",
            "'listener_certificates': 'certificate#0'"),
         2},
        {OF("certificate#0 {'certificate_secret': 'x'}\n",
            "'listener_certificates': 'certificate#0', 'filter_config_data': {}"),
         2},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct entry entries[] = {{"a", 1, base}, {"b", 2, cases[i].text}};

        CHECK_INT(count_chains(entries, 2), cases[i].chains);
    }
}

TEST(sni_of_https_stands_for_its_domains)
{
    CHECK_PLAN("chain tls l7 tls: front.org of a.expose#0 tls_certificate/sec/c\n"
               "  a.expose#0.vhost#0: * inner.org\n    all -> a.expose#0\n",
               {"a", 1,
                "expose#0 {'port': 443, 'sni': 'front.org', 'vhosts': 'vhost#0', 'listener_certificates': "
                "'certificate#0'}\nvhost#0 {'domains': 'inner.org *'}\ncertificate#0 {'certificate_secret': 'c'}"});
}

TEST(what_sni_can_not_express_is_the_default_chain)
{
    static const char *const domains[] = {"*", "foo.*", "*-x.foo", "10.0.0.1", "[fd00::1]"};

    for (size_t i = 0; i < ARRAY_LEN(domains); i++) {
        char *text = mem_printf(HTTPS("a.org %s", "", "c"), domains[i]);
        const struct entry entries[] = {{"a", 1, text}, {"b", 2, SNI("b.org")}};
        struct world w = {0};
        struct listener_plan *p;

        fill(&w, entries, 2);
        p = plan_world(&w);
        CHECK_INT(p->n_chains, 2);
        CHECK(p->tls_inspector && !p->server_first_warning);
        CHECK(p->chains[1].is_default && !p->chains[0].is_default);
        CHECK_INT(p->chains[1].n_server_names, 1);
        CHECK_INT(p->chains[1].n_vhosts, 1);
        CHECK_INT(p->chains[1].vhosts[0].n_domains, 2);
        listener_plan_unref(p);
        world_clear(&w);
        mem_free(text);
    }
}

TEST(a_default_chain_has_its_names_too_or_a_wildcard_would_take_them)
{
    CHECK_PLAN("chain sni:b.expose#0 l4: *.x.org of b.expose#0\n"
               "chain tls l7 tls: *.y.x.org a.org w.x.org and the rest of a.expose#0 tls_certificate/sec/c\n"
               "  a.expose#0.vhost#0: * *.y.x.org a.org w.x.org\n    all -> a.expose#0\n",
               {"a", 1, HTTPS("* a.org w.x.org *.y.x.org", "", "c")}, {"b", 2, SNI("*.x.org")});
}

TEST(who_loses_the_default_place_keeps_its_other_domains)
{
    CHECK_PLAN("chain l4 l4: of a.expose#0\n"
               "chain tls l7 tls: b.org of b.expose#0 tls_certificate/sec/c\n"
               "  b.expose#0.vhost#0: b.org\n    all -> b.expose#0\n"
               "a.expose#0 accepted\n"
               "  warning expose#0.listener_port: others on this listener are told apart by server name: a protocol "
               "in which the server speaks first starts with a second's delay\n"
               "b.expose#0 partial\n"
               "  conflict vhost#0.domains: domain \"*\" needs what is left of this listener, which is held by "
               "a.expose#0\n",
               {"a", 1, L4}, {"b", 2, HTTPS("* b.org", "", "c")});
    CHECK_PLAN("chain l4 l4: of a.expose#0\n"
               "b.expose#0 conflict\n"
               "  conflict vhost#0.domains: domain \"foo.*\" needs what is left of this listener, which is held by "
               "a.expose#0\n",
               {"a", 1, L4}, {"b", 2, HTTPS("foo.*", "", "c")});
}

TEST(domains_are_lost_with_their_server_names)
{
    CHECK_PLAN("chain sni:a.expose#0 l4: x.org of a.expose#0\n"
               "chain tls l7 tls: y.org of b.expose#0 tls_certificate/sec/c\n"
               "  b.expose#0.vhost#0: y.org\n    all -> b.expose#0\n"
               "b.expose#0 partial\n"
               "  conflict vhost#0.domains: server name \"x.org\" is held by a.expose#0\n",
               {"a", 1, SNI("x.org")}, {"b", 2, HTTPS("x.org y.org", "", "c")});
}

TEST(a_name_that_is_no_use_to_its_owner_is_given_on)
{
    /* b has the server name s.org for a domain which a, of another namespace, has on the same chain. */
    CHECK_PLAN("chain sni:c/svc/c.expose#0 l4: s.org of c/svc/c.expose#0\n"
               "chain tls l7 tls: x.org of a/svc/a.expose#0 tls_certificate/a/svc/a.certificate#0\n"
               "  a/svc/a.expose#0.vhost#0: x.org\n    all -> a/svc/a.expose#0\n"
               "b/svc/b.expose#0 conflict\n"
               "  conflict vhost#0.domains: domain \"x.org\" is held by a/svc/a.expose#0, of another namespace\n",
               {"a/svc/a", 1,
                "expose#0 {'port': 443, 'vhosts': 'vhost#0', 'listener_certificates': 'certificate#0'}\n"
                "vhost#0 {'domains': 'x.org'}\n"
                "certificate#0 {'certificate_chain_filename': '/c', 'private_key_filename': '/k'}"},
               {"b/svc/b", 2,
                "expose#0 {'port': 443, 'sni': 's.org', 'vhosts': 'vhost#0', 'listener_certificates': "
                "'certificate#0'}\nvhost#0 {'domains': 'x.org'}\n"
                "certificate#0 {'certificate_chain_filename': '/c', 'private_key_filename': '/k'}"},
               {"c/svc/c", 3, SNI("s.org")});
}

/* ---- virtual hosts ---- */

TEST(a_domain_that_several_claim_is_a_virtual_host_of_its_own)
{
    CHECK_PLAN("chain plain l7: of a.expose#0 b.expose#0\n"
               "  a.expose#0.vhost#0: a.org\n    prefix /a -> a.expose#0\n"
               "  b.expose#0.vhost#0: b.org\n    prefix /b -> b.expose#0\n"
               "  x.org: x.org\n    prefix /a -> a.expose#0\n    prefix /b -> b.expose#0\n",
               {"a", 1, HTTP("a.org x.org", "route#0") PREFIX("0", "/a")},
               {"b", 2, HTTP("b.org x.org", "route#0") PREFIX("0", "/b")});
}

TEST(merged_routes_go_by_their_heads)
{
    CHECK_PLAN("chain plain l7: of a.expose#0 b.expose#0\n"
               "  x.org: x.org\n"
               "    path /p -> b.expose#0\n"
               "    prefix /long -> b.expose#0\n"
               "    prefix /aa -> a.expose#0\n"
               "    prefix /bb -> b.expose#0\n"
               "    regex /r.* -> a.expose#0\n"
               "    prefix /longest -> a.expose#0\n"
               "    regex /s.* -> b.expose#0\n"
               "    prefix / -> a.expose#0\n",
               {"a", 1,
                HTTP("x.org", "route#0 route#1 route#2 route#3") PREFIX("0", "/aa") REGEX("1", "/r.*")
                    PREFIX("2", "/longest") PREFIX("3", "/")},
               {"b", 2,
                HTTP("x.org", "route#0 route#1 route#2 route#3") PATH("0", "/p") PREFIX("1", "/long")
                    PREFIX("2", "/bb") REGEX("3", "/s.*")});
}

TEST(a_later_exposure_that_takes_everything_does_not_take_it_from_a_regex)
{
    CHECK_PLAN("chain plain l7: of a.expose#0 b.expose#0\n"
               "  x.org: x.org\n    regex /r.* -> a.expose#0\n    all -> b.expose#0\n",
               {"a", 1, HTTP("x.org", "route#0") REGEX("0", "/r.*")}, {"b", 2, HTTP("x.org", "")});
}

TEST(an_identical_match_is_the_holders)
{
    CHECK_PLAN(
        "chain plain l7: of a.expose#0 b.expose#0\n"
        "  x.org: x.org\n"
        "    path /p -> a.expose#0\n"
        "    prefix /P (any case) -> a.expose#0\n"
        "    prefix /p -> b.expose#0\n"
        "    prefix / -> a.expose#0\n"
        "b.expose#0 partial\n"
        "  conflict route#0.match_path: on domain \"x.org\", held by a.expose#0\n"
        "  conflict route#1.match_prefix: on domain \"x.org\", held by a.expose#0\n"
        "  conflict route#3.match_prefix: on domain \"x.org\", held by a.expose#0\n",
        {"a", 1,
         HTTP("x.org", "route#0 route#1 route#2")
             PATH("0", "/p") "route#1 {'match_prefix': '/P', 'match_case_sensitive': false}\n" PREFIX("2", "/")},
        {"b", 2,
         HTTP("x.org", "route#0 route#1 route#2 route#3")
             PATH("0", "/p") "route#1 {'match_prefix': '/p', 'match_case_sensitive': false}\n" PREFIX("2", "/p")
                 PREFIX("3", "/")});
}

TEST(regexes_are_told_apart_by_case)
{
    CHECK_PLAN("chain plain l7: of a.expose#0 b.expose#0\n"
               "  x.org: x.org\n"
               "    regex /\\S (any case) -> a.expose#0\n"
               "    regex /\\S -> b.expose#0\n"
               "    regex /\\s (any case) -> b.expose#0\n"
               "b.expose#0 partial\n"
               "  conflict route#2.match_regex: on domain \"x.org\", held by a.expose#0\n",
               {"a", 1, HTTP("x.org", "route#0") "route#0 {'match_regex': '/\\\\S', 'match_case_sensitive': false}"},
               {"b", 2,
                HTTP("x.org",
                     "route#0 route#1 route#2") "route#0 {'match_regex': '/\\\\S'}\n"
                                                "route#1 {'match_regex': '/\\\\s', 'match_case_sensitive': false}\n"
                                                "route#2 {'match_regex': '/\\\\S', 'match_case_sensitive': false}"});
}

TEST(a_match_of_the_holder_is_its_own_wherever_it_stands)
{
    CHECK_PLAN("chain plain l7: of a.expose#0 b.expose#0\n"
               "  x.org: x.org\n"
               "    prefix /b -> b.expose#0\n"
               "    regex /r.* -> a.expose#0\n"
               "    prefix /a -> a.expose#0\n"
               "b.expose#0 partial\n"
               "  conflict route#0.match_prefix: on domain \"x.org\", held by a.expose#0\n",
               {"a", 1, HTTP("x.org", "route#0 route#1") REGEX("0", "/r.*") PREFIX("1", "/a")},
               {"b", 2, HTTP("x.org", "route#0 route#1") PREFIX("0", "/a") PREFIX("1", "/b")});
}

TEST(who_loses_every_route_is_in_conflict)
{
    CHECK_PLAN("chain plain l7: of a.expose#0\n"
               "  x.org: x.org\n    all -> a.expose#0\n"
               "b.expose#0 conflict\n"
               "  conflict vhost#0.routes: on domain \"x.org\", held by a.expose#0\n"
               "c.expose#0 conflict\n"
               "  conflict route#0.match_prefix: on domain \"x.org\", held by a.expose#0\n",
               {"c", 3, HTTP("x.org", "route#0") PREFIX("0", "/")}, {"b", 2, HTTP("x.org", "")},
               {"a", 1, HTTP("x.org", "")});
}

TEST(routes_that_are_never_reached_are_told)
{
    CHECK_PLAN("chain plain l7: of a.expose#0\n"
               "  a.expose#0.vhost#0: x.org\n    prefix /a -> a.expose#0\n    prefix / -> a.expose#0\n"
               "a.expose#0 accepted\n"
               "  shadowed route#1.match_prefix: never reached: taken by route#0\n",
               {"a", 1,
                HTTP("x.org", "route#0 route#1 route#2 route#3") PREFIX("0", "/a") PREFIX("1", "/a") PREFIX("2", "/")
                    PATH("3", "/z")});
    CHECK_PLAN("chain plain l7: of a.expose#0 b.expose#0\n"
               "  x.org: x.org\n    prefix /b -> b.expose#0\n    prefix / -> a.expose#0\n"
               "b.expose#0 partial\n"
               "  conflict route#1.match_prefix: on domain \"x.org\", held by a.expose#0\n",
               {"a", 1, HTTP("x.org", "route#0") PREFIX("0", "/")},
               {"b", 2, HTTP("x.org", "route#0 route#1 route#2") PREFIX("0", "/b") PREFIX("1", "/") PATH("2", "/z")});
}

TEST(two_virtual_hosts_of_an_exposure_may_share_a_domain)
{
    CHECK_PLAN("chain plain l7: of a.expose#0\n"
               "  a.expose#0.vhost#0: a.org\n    prefix /a -> a.expose#0\n"
               "  x.org: x.org\n    path /b -> a.expose#0\n    prefix /a -> a.expose#0\n",
               {"a", 1,
                "expose#0 {'port': 80, 'vhosts': 'vhost#0 vhost#1'}\n"
                "vhost#0 {'domains': 'x.org a.org', 'routes': 'route#0'}\n"
                "vhost#1 {'domains': 'x.org', 'routes': 'route#1'}\n" PREFIX("0", "/a") PATH("1", "/b")});
}

TEST(the_holder_of_a_domain_goes_first_whatever_the_exposures_are_held_by)
{
    struct world w = {0};
    struct declaration *d = model_declaration("a", HTTP("a.org x.org", ""));
    const struct name_since later = {"x.org", 9};
    const struct exposure_state state = {
        .gateway = "envoy", .listener_port = 443, .since = 1, .later = &later, .n_later = 1};

    world_add(&w, service_new("a", d, NULL, &state, NULL, 0, NULL, NULL));
    world_add(&w, model_service_of("b", HTTP("x.org", ""), 5));
    check_world(&w, "chain plain l7: of a.expose#0 b.expose#0\n"
                    "  a.expose#0.vhost#0: a.org\n    all -> a.expose#0\n"
                    "  x.org: x.org\n    all -> b.expose#0\n"
                    "a.expose#0 partial\n"
                    "  conflict vhost#0.routes: on domain \"x.org\", held by b.expose#0\n");
    world_clear(&w);
    declaration_unref(d);
}

/* ---- namespaces ---- */

TEST(namespaces_do_not_share_a_domain_without_a_grant)
{
    static const struct entry entries[] = {{"a", 1, HTTP("x.org", "route#0") PREFIX("0", "/a")},
                                           {"test/svc/b", 2, HTTP("b.org x.org", "route#0") PREFIX("0", "/b")},
                                           {"test/svc/c", 3, HTTP("x.org", "route#0") PREFIX("0", "/c")}};
    struct world w = {0};

    fill(&w, entries, ARRAY_LEN(entries));
    check_world(&w, "chain plain l7: of a.expose#0 test/svc/b.expose#0\n"
                    "  a.expose#0.vhost#0: x.org\n    prefix /a -> a.expose#0\n"
                    "  test/svc/b.expose#0.vhost#0: b.org\n    prefix /b -> test/svc/b.expose#0\n"
                    "test/svc/b.expose#0 partial\n"
                    "  conflict vhost#0.domains: domain \"x.org\" is held by a.expose#0, of another namespace\n"
                    "test/svc/c.expose#0 conflict\n"
                    "  conflict vhost#0.domains: domain \"x.org\" is held by a.expose#0, of another namespace\n");
    w.grant = "test domain x.org";
    check_world(&w, "chain plain l7: of a.expose#0 test/svc/b.expose#0 test/svc/c.expose#0\n"
                    "  test/svc/b.expose#0.vhost#0: b.org\n    prefix /b -> test/svc/b.expose#0\n"
                    "  x.org: x.org\n    prefix /a -> a.expose#0\n    prefix /b -> test/svc/b.expose#0\n"
                    "    prefix /c -> test/svc/c.expose#0\n");
    world_clear(&w);
}

TEST(secrets_of_another_namespace_need_a_grant)
{
    static const struct entry entries[] = {{"test/svc/a", 1, HTTPS("a.org", "", "other/sec/c")},
                                           {"test/svc/b", 2, SNI("a.org")}};
    struct world w = {0};

    fill(&w, entries, ARRAY_LEN(entries));
    check_world(&w, "chain sni:test/svc/b.expose#0 l4: a.org of test/svc/b.expose#0\n"
                    "test/svc/a.expose#0 invalid\n"
                    "  not_allowed certificate#0.certificate_secret: other/sec/c belongs to another namespace, which "
                    "has not granted its use\n");
    w.grant = "test secret other/sec/c";
    check_world(&w, "chain tls l7 tls: a.org of test/svc/a.expose#0 tls_certificate/other/sec/c\n"
                    "  test/svc/a.expose#0.vhost#0: a.org\n    all -> test/svc/a.expose#0\n"
                    "test/svc/b.expose#0 conflict\n"
                    "  conflict expose#0.sni: server name \"a.org\" is held by test/svc/a.expose#0\n");
    world_clear(&w);
    CHECK_PLAN("test/svc/a.expose#0 invalid\n"
               "  not_allowed certificate#0.validation_secret: sec/ca belongs to another namespace, which has not "
               "granted its use\n",
               {"test/svc/a", 1,
                "expose#0 {'port': 443, 'cluster_certificates': 'certificate#0'}\n"
                "certificate#0 {'validation_secret': 'sec/ca'}"});
}

/* ---- readiness ---- */

TEST(a_chain_without_its_secret_is_left_out_and_keeps_its_names)
{
    static const struct entry entries[] = {{"a", 1, HTTPS("a.org", "", "c")},
                                           {"b", 2, HTTPS("b.org", "", "c")},
                                           {"d", 3, HTTPS("d.org", "", "d")},
                                           {"e", 4, SNI("a.org")}};
    struct world w = {.missing = "sec/c"};

    fill(&w, entries, ARRAY_LEN(entries));
    check_world(&w, "chain tls l7 tls: d.org of d.expose#0 tls_certificate/sec/d\n"
                    "  d.expose#0.vhost#0: d.org\n    all -> d.expose#0\n"
                    "a.expose#0 not ready\n"
                    "  unready certificate#0.certificate_secret: sec/c can't be served: it was not read yet\n"
                    "b.expose#0 not ready\n"
                    "  unready certificate#0.certificate_secret: sec/c can't be served: it was not read yet\n"
                    "e.expose#0 conflict\n"
                    "  conflict expose#0.sni: server name \"a.org\" is held by a.expose#0\n");
    world_clear(&w);
}

TEST(a_listener_without_validation_fails_closed)
{
    static const struct entry entry = {"a", 1,
                                       "expose#0 {'port': 443, 'listener_certificates': 'certificate#0'}\n"
                                       "certificate#0 {'certificate_secret': 'c', 'validation_secret': 'ca'}"};
    struct world w = {.missing = "sec/ca"};

    fill(&w, &entry, 1);
    check_world(&w, "a.expose#0 not ready\n"
                    "  unready certificate#0.validation_secret: sec/ca can't be served: it was not read yet\n");
    w.missing = NULL;
    check_world(&w, "chain l4 l4 tls: of a.expose#0 tls_certificate/sec/c validation_context/sec/ca\n");
    w.odd = (struct secret){.path = "sec/ca", .has_pair = true, .trust_problem = "trusted_ca is missing"};
    check_world(&w, "a.expose#0 not ready\n"
                    "  unready certificate#0.validation_secret: sec/ca can't be served: trusted_ca is missing\n");
    w.odd = (struct secret){.path = "sec/c", .has_trust = true};
    check_world(&w, "a.expose#0 not ready\n"
                    "  unready certificate#0.certificate_secret: sec/c can't be served: it has no certificate_chain "
                    "and no private_key\n");
    w.odd = (struct secret){.path = "sec/c", .has_pair = true, .pair_problem = "private_key is missing"};
    check_world(&w, "chain l4 l4 tls: of a.expose#0 tls_certificate/sec/c validation_context/sec/ca\n"
                    "a.expose#0 accepted\n"
                    "  warning certificate#0.certificate_secret: the last good form of sec/c is served: private_key "
                    "is missing\n");
    world_clear(&w);
}

TEST(a_name_that_no_certificate_is_made_out_for_is_told)
{
    static const struct entry entry = {"a", 1,
                                       "expose#0 {'port': 443, 'vhosts': 'vhost#0', 'listener_certificates': "
                                       "'certificate#0'}\ncertificate#0 {'certificate_secret': 'c'}\n"
                                       "vhost#0 {'domains': 'a.org x.b.org x.y.b.org foo.*'}"};
    const char *of[] = {"a.org", "*.b.org"};
    struct world w = {0};

    fill(&w, &entry, 1);
    w.odd = (struct secret){.path = "sec/c", .has_pair = true, .info = {.names = of, .n_names = 2}};
    check_world(&w, "chain tls l7 tls: a.org x.b.org x.y.b.org and the rest of a.expose#0 tls_certificate/sec/c\n"
                    "  a.expose#0.vhost#0: a.org foo.* x.b.org x.y.b.org\n    all -> a.expose#0\n"
                    "a.expose#0 accepted\n"
                    "  warning vhost#0.domains: no certificate is made out for \"x.y.b.org\"\n");
    world_clear(&w);
}

TEST(an_exposure_without_the_secret_of_its_cluster_keeps_its_place)
{
    static const struct entry entries[] = {{"a", 1,
                                            "expose#0 {'port': 443, 'cluster_certificates': 'certificate#0'}\n"
                                            "certificate#0 {'validation_secret': 'ca'}"},
                                           {"b", 2, L4}};
    struct world w = {.missing = "sec/ca"};

    fill(&w, entries, ARRAY_LEN(entries));
    check_world(&w, "chain l4 l4: of a.expose#0\n"
                    "a.expose#0 partial\n"
                    "  unready certificate#0.validation_secret: sec/ca can't be served: it was not read yet\n"
                    "b.expose#0 conflict\n"
                    "  conflict expose#0.listener_port: this listener is held by a.expose#0\n");
    world_clear(&w);
}

TEST(an_invalid_exposure_holds_nothing)
{
    struct world w = {0};
    struct declaration *d = model_declaration("a", "expose#0 {'port': 443, 'lb_policy': 'x'}");
    const struct exposure_state state = {.gateway = "envoy", .listener_port = 443, .since = 1};

    world_add(&w, service_new("a", d, NULL, &state, NULL, 0, NULL, NULL));
    world_add(&w, model_service_of("b", L4, 2));
    check_world(&w, "chain l4 l4: of b.expose#0\n"
                    "a.expose#0 invalid\n"
                    "  invalid expose#0.lb_policy: must be \"round robin\", \"least_request\", \"ring_hash\", "
                    "\"random\", \"original_dst_lb\", \"maglev\"\n");
    world_clear(&w);
    declaration_unref(d);
}

/* ---- the whole example of the documentation ---- */

TEST(the_example_of_the_documentation_shares_its_port)
{
    CHECK_PLAN("chain sni:s.expose#1 l4 tls: svcweb.acme.org of s.expose#1 tls_certificate/s.certificate#1\n"
               "chain tls l7 tls: alt-svcweb.acme.org of s.expose#2 tls_certificate/s.certificate#1\n"
               "  s.expose#2.vhost#0: alt-svcweb.acme.org\n"
               "    prefix /realtime/generic -> s.expose#2\n    prefix / -> s.expose#2\n",
               {"s", 1,
                "certificate#1 {'certificate_chain_filename': '/etc/envoy/server.pem', 'private_key_filename': "
                "'/etc/envoy/server.key'}\n"
                "expose#1 {'listener_port': 443, 'port': 443, 'sni': 'svcweb.acme.org', 'listener_certificates': "
                "'certificate#1', 'cluster_certificates': 'certificate#1'}\n"
                "expose#2 {'listener_port': 443, 'port': 443, 'vhosts': 'vhost#0', 'listener_certificates': "
                "'certificate#1', 'cluster_certificates': 'certificate#1'}\n"
                "vhost#0 {'domains': 'alt-svcweb.acme.org', 'routes': 'route#0 route#1'}\n"
                "route#0 {'match_prefix': '/realtime/generic', 'route_use_websocket': true}\n" PREFIX("1", "/")});
}

/* ---- equality and stability ---- */

static struct listener_plan *plan_of(const char *path, const char *text)
{
    struct world w = {0};
    struct listener_plan *p;

    fill(&w, &(struct entry){path, 1, text}, 1);
    p = plan_world(&w);
    world_clear(&w);
    return p;
}

TEST(plans_are_equal_when_they_say_the_same)
{
#define EXAMPLE(expose, route)                                                                                       \
    "expose#0 {'port': 443, 'vhosts': 'vhost#0', 'listener_certificates': 'certificate#0'" expose "}\n"              \
    "vhost#0 {'domains': 'a.org', 'routes': 'route#0'}\nroute#0 {'match_prefix': '/a'" route "}\n"                   \
    "certificate#0 {'certificate_secret': 'c'}\nhashpolicy#0 {'cookie_name': 'a'}\nhashpolicy#1 {'cookie_name': "    \
    "'b'}"
    static const char base[] = EXAMPLE(", 'lb_policy': 'maglev'", ", 'hash_policies': 'hashpolicy#0'");
    static const struct {
        const char *text;
        bool equal;
    } cases[] = {
        {base, true},
        /* The cluster's affair. */
        {EXAMPLE(", 'lb_policy': 'maglev', 'cluster_data': {'x': 1}", ", 'hash_policies': 'hashpolicy#0'"), true},
        {EXAMPLE("", ", 'hash_policies': 'hashpolicy#0'"), false},
        {EXAMPLE(", 'lb_policy': 'maglev'", ", 'hash_policies': 'hashpolicy#1'"), false},
        {EXAMPLE(", 'lb_policy': 'maglev'", ""), false},
        {EXAMPLE(", 'lb_policy': 'maglev'", ", 'hash_policies': 'hashpolicy#0', 'route_timeout': 3"), false},
        {EXAMPLE(", 'lb_policy': 'maglev'", ", 'hash_policies': 'hashpolicy#0', 'match_case_sensitive': false"),
         false},
        {EXAMPLE(", 'lb_policy': 'maglev'", ", 'hash_policies': 'hashpolicy#0', 'route_host_rewrite': 'x'"), false},
        {EXAMPLE(", 'lb_policy': 'maglev'", ", 'hash_policies': 'hashpolicy#0', 'redirect_https_redirect': true"),
         false},
        {EXAMPLE(", 'lb_policy': 'maglev', 'filter_config_data': {}", ", 'hash_policies': 'hashpolicy#0'"), false},
        {EXAMPLE(", 'lb_policy': 'maglev', 'sni': 'b.org'", ", 'hash_policies': 'hashpolicy#0'"), false},
    };
    struct listener_plan *a = plan_of("web1", base);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct listener_plan *b = plan_of("web1", cases[i].text);

        if (listener_plan_equal(a, b) != cases[i].equal || listener_plan_equal(b, a) != cases[i].equal)
            test_fail(__FILE__, __LINE__, "%s", cases[i].text);
        listener_plan_unref(b);
    }
    CHECK(listener_plan_equal(a, a));
    listener_plan_unref(a);
}

TEST(an_unrelated_exposure_changes_no_other_chains_id)
{
    static const struct entry entries[] = {{"a", 1, HTTPS("a.org", "", "c")},
                                           {"b", 2, SNI("b.org")},
                                           {"c", 3, L4},
                                           {"d", 4, SNI_TLS("d.org", "c")},
                                           {"e", 5, HTTPS("e.org", "", "e")},
                                           {"f", 6, HTTPS("f.org", "", "c")}};
    struct world w = {0};
    char *before = NULL;

    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        struct listener_plan *p;
        struct buf ids;
        char *now;

        fill(&w, &entries[i], 1);
        p = plan_world(&w);
        buf_init(&ids, 0);
        for (size_t k = 0; k < p->n_chains; k++)
            buf_printf(&ids, "%s\n", p->chains[k].id);
        now = buf_take(&ids, NULL);
        for (char *line = before, *end; line && *line; line = end + 1) {
            end = strchr(line, '\n');
            *end = '\0';
            CHECK(strstr(now, line));
        }
        mem_free(before);
        before = now;
        listener_plan_unref(p);
    }
    mem_free(before);
    world_clear(&w);
}

/* An L4 exposure with so many names and so long a filter. */
static struct entry wide_entry(struct arena *a, const char *name, uint64_t since, size_t n_names, size_t n_bytes)
{
    struct buf names;
    char *data = arena_alloc(a, n_bytes + 1);

    buf_init(&names, 0);
    for (size_t i = 0; i < n_names; i++)
        buf_printf(&names, "%s-%zu.org ", name, i);
    memset(data, 'x', n_bytes);
    char *text = buf_take(&names, NULL);
    const struct entry e = {
        name, since,
        arena_printf(a, "expose#0 {'port': 443, 'sni': '%s', 'filter_config_data': {'x': '%s'}}", text, data)};
    mem_free(text);
    return e;
}

TEST(the_oldest_chains_are_split_as_far_as_names_and_bytes_allow)
{
    static const struct {
        size_t names, bytes;
        bool is_split;
    } chains[] = {{600, 1, true},     {401, 1, false},   {300, 10, true},
                  {2, 900000, false}, {1, 900000, true}, {5, 90000, false}};
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct entry entries[ARRAY_LEN(chains)];
    struct listener_plan *p;
    struct world w = {0};

    for (size_t i = 0; i < ARRAY_LEN(chains); i++)
        entries[i] = wide_entry(a, arena_printf(a, "s%zu", i), i + 1, chains[i].names, chains[i].bytes);
    fill(&w, entries, ARRAY_LEN(chains));
    p = plan_world(&w);
    CHECK_INT(p->n_chains, ARRAY_LEN(chains));
    for (size_t i = 0; i < p->n_chains; i++) {
        CHECK_INT(p->chains[i].n_server_names, chains[i].names);
        CHECK(p->chains[i].is_split == chains[i].is_split);
    }
    listener_plan_unref(p);
    world_clear(&w);
}

TEST(the_hash_of_a_tls_chain_is_the_same_in_every_run)
{
    struct listener_plan *p = plan_of("web1", HTTPS("a.org", "", "c"));

    CHECK_STR(p->chains[0].id, "tls:92c9a631675bda5e");
    listener_plan_unref(p);
}

/* ---- what must always hold ---- */

static uint64_t seed;

static size_t pick(size_t n)
{
    return (size_t)(test_random(&seed) % n);
}

static const char *const hosts[] = {"a.org", "b.org", "*.x.org", "y.x.org", "*", "foo.*", "*.y.x.org", "z.y.x.org"};
static const char *const names[] = {"a.org", "b.org", "*.x.org", "y.x.org", "*.y.x.org", "z.y.x.org"};
static const char *const matches[] = {
    "'match_prefix': '/'",  "'match_prefix': '/a'",  "'match_prefix': '/a/b'",
    "'match_path': '/a/b'", "'match_regex': '/a.*'", "'match_regex': '.*c'",
};

static void random_vhosts(struct buf *b)
{
    for (int v = 0; v < 2; v++) {
        size_t n = pick(4);

        buf_printf(b, "vhost#%d {'domains': '%s %s', 'routes': '", v, hosts[pick(ARRAY_LEN(hosts))],
                   hosts[pick(ARRAY_LEN(hosts))]);
        for (size_t r = 0; r < n; r++)
            buf_printf(b, "route#%zu ", pick(ARRAY_LEN(matches)));
        buf_append_str(b, "'}\n");
    }
    for (size_t r = 0; r < ARRAY_LEN(matches); r++)
        buf_printf(b, "route#%zu {%s}\n", r, matches[r]);
}

static struct service *random_service(size_t number, uint64_t since)
{
    static const char *const namespaces[] = {"", "ns1/svc/", "ns2/svc/"};
    struct buf b;
    char path[32];
    struct service *s;

    snprintf(path, sizeof(path), "%s%c", namespaces[pick(3)], (char)('a' + number));
    buf_init(&b, 0);
    buf_append_str(&b, "expose#0 {'port': 443");
    if (pick(3) == 0)
        buf_printf(&b, ", 'sni': '%s %s'", names[pick(ARRAY_LEN(names))], names[pick(ARRAY_LEN(names))]);
    if (pick(3) > 0)
        buf_append_str(&b, pick(2) ? ", 'vhosts': 'vhost#0'" : ", 'vhosts': 'vhost#0 vhost#1'");
    if (pick(3) > 0)
        buf_append_str(&b, ", 'listener_certificates': 'certificate#0'");
    if (pick(8) == 0)
        buf_append_str(&b, ", 'filter_config_data': {'x': 1}");
    buf_printf(&b, "}\ncertificate#0 {'certificate_secret': '%s'}\n", pick(3) ? "one" : "two");
    if (pick(2))
        buf_append_str(&b, "certificate#0 {'certificate_chain_filename': '/c', 'private_key_filename': '/k'}\n");
    random_vhosts(&b);
    s = model_service_of(path, buf_cstr(&b), since);
    buf_clear(&b);
    return s;
}

static void random_world(struct world *w)
{
    size_t n = 1 + pick(8);

    for (size_t i = 0; i < n; i++)
        world_add(w, random_service(i, pick(4)));
    if (pick(4) == 0)
        w->missing = "sec/two";
    if (pick(4) == 0)
        w->grant = "ns1 domain a.org";
}

static void shuffle(struct world *w)
{
    for (size_t i = w->n_claims; i > 1; i--) {
        size_t k = pick(i);
        struct claim swap = w->claims[i - 1];

        w->claims[i - 1] = w->claims[k];
        w->claims[k] = swap;
    }
}

/* The chain that Envoy takes for a server name ("" for none): exact, then the longest wildcard, then the default. */
static const struct plan_chain *find_chain(const struct listener_plan *p, const char *sni)
{
    const struct plan_chain *found = NULL;
    size_t best = 0;
    size_t takers = 0;

    for (size_t i = 0; i < p->n_chains; i++) {
        const struct plan_chain *c = &p->chains[i];
        size_t length = c->is_default ? 1 : 0;

        for (size_t k = 0; k < c->n_server_names; k++) {
            const char *name = c->server_names[k];
            size_t n = strlen(name), m = strlen(sni);

            if (strcmp(name, sni) == 0)
                length = 1000;
            else if (name[0] == '*' && m >= n && strcmp(sni + m - (n - 1), name + 1) == 0 && n + 1 > length)
                length = n + 1;
        }
        takers += length && length == best;
        if (length > best) {
            best = length;
            found = c;
            takers = 1;
        }
    }
    CHECK(!found || takers == 1);
    return found;
}

/* As Envoy: exact, then the longest "*" at the start, then the longest at the end, then "*". */
static const struct plan_vhost *find_vhost(const struct plan_chain *c, const char *host, const char **ret_domain)
{
    const struct plan_vhost *found = NULL;
    size_t best = 0, m = strlen(host);

    for (size_t i = 0; i < c->n_vhosts; i++)
        for (size_t k = 0; k < c->vhosts[i].n_domains; k++) {
            const char *d = c->vhosts[i].domains[k];
            size_t n = strlen(d), score = 0;

            if (strcmp(d, host) == 0)
                score = 30000;
            else if (strcmp(d, "*") == 0)
                score = 1;
            else if (d[0] == '*' && m >= n && strcmp(host + m - (n - 1), d + 1) == 0)
                score = 20000 + n;
            else if (d[n - 1] == '*' && m >= n && strncmp(host, d, n - 1) == 0)
                score = 10000 + n;
            CHECK(!score || score != best);
            if (score > best) {
                best = score;
                found = &c->vhosts[i];
                *ret_domain = d;
            }
        }
    return found;
}

static bool route_matches(const struct route *r, const char *path)
{
    if (!r)
        return true;
    if (r->match == ROUTE_PATH)
        return strcmp(r->match_value, path) == 0;
    if (r->match == ROUTE_PREFIX)
        return strncmp(path, r->match_value, strlen(r->match_value)) == 0;
    return r->match_value[0] == '/' ? strncmp(path, "/a", 2) == 0 : path[strlen(path) - 1] == 'c';
}

/* Who gets a request (L7) or connection, or NULL. */
static const struct exposure *taker(const struct listener_plan *p, const char *sni, const char *host,
                                    const char *path)
{
    const struct plan_chain *c = find_chain(p, sni);
    const char *domain;
    const struct plan_vhost *v = c && c->kind == CHAIN_L7 ? find_vhost(c, host, &domain) : NULL;

    if (c && c->kind != CHAIN_L7)
        return c->holder;
    for (size_t i = 0; v && i < v->n_routes; i++)
        if (route_matches(v->routes[i].route, path))
            return v->routes[i].x;
    return NULL;
}

static bool stands_in_chains(const struct listener_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_chains; i++)
        for (size_t k = 0; k < p->chains[i].n_exposures; k++)
            if (strcmp(p->chains[i].exposures[k]->name, name) == 0)
                return true;
    return false;
}

static bool is_served(const struct verdict *v)
{
    return v && (v->kind == VERDICT_ACCEPTED || v->kind == VERDICT_PARTIAL);
}

static void check_chain(const struct listener_plan *p, const struct plan_chain *c)
{
    size_t defaults = 0;

    for (size_t i = 0; i < p->n_chains; i++)
        defaults += p->chains[i].is_default;
    CHECK(defaults <= 1);
    CHECK(c->is_default || c->n_server_names > 0);
    CHECK(c->n_exposures > 0 && c->exposures[0] == c->holder);
    CHECK((c->n_certificates > 0) == c->tls);
    CHECK((c->n_vhosts > 0) == (c->kind == CHAIN_L7));
    for (size_t i = 0; i < c->n_vhosts; i++) {
        CHECK(c->vhosts[i].n_domains > 0 && c->vhosts[i].n_routes > 0);
        CHECK(i == 0 || strcmp(c->vhosts[i - 1].name, c->vhosts[i].name) < 0);
        for (size_t k = 0; k < c->vhosts[i].n_routes; k++)
            CHECK(is_served(listener_plan_verdict(p, c->vhosts[i].routes[k].x->name)));
    }
    for (size_t i = 1; i < c->n_server_names; i++)
        CHECK(strcmp(c->server_names[i - 1], c->server_names[i]) < 0);
}

static void check_invariants(const struct listener_plan *p)
{
    for (size_t i = 0; i < p->n_chains; i++) {
        CHECK(i == 0 || strcmp(p->chains[i - 1].id, p->chains[i].id) < 0);
        check_chain(p, &p->chains[i]);
    }
    for (size_t i = 0; i < p->n_verdicts; i++) {
        const struct verdict *v = &p->verdicts[i];

        CHECK(is_served(v) == stands_in_chains(p, v->exposure));
        CHECK(v->kind == VERDICT_ACCEPTED || v->n_problems > 0);
    }
}

static const char *const probes_sni[] = {"",        "a.org",     "b.org",     "q.x.org",
                                         "y.x.org", "w.y.x.org", "z.y.x.org", "no.org"};
static const char *const probes_host[] = {"a.org", "b.org", "q.x.org", "y.x.org", "foo.bar", "z.y.x.org", "no.org"};
static const char *const probes_path[] = {"/", "/a", "/a/b", "/a/b/c", "/c"};

enum { ROUNDS = TEST_ROUNDS(1000) };

TEST(the_order_of_claims_does_not_matter)
{
    seed = 1;
    for (int round = 0; round < ROUNDS; round++) {
        struct world w = {0};
        struct listener_plan *p, *q;
        char *a, *b;

        random_world(&w);
        p = plan_world(&w);
        shuffle(&w);
        q = plan_world(&w);
        a = plan_text(p, true);
        b = plan_text(q, true);
        CHECK_STR(a, b);
        CHECK(listener_plan_equal(p, q));
        mem_free(a);
        mem_free(b);
        listener_plan_unref(p);
        listener_plan_unref(q);
        world_clear(&w);
    }
}

TEST(every_connection_and_request_has_at_most_one_taker)
{
    size_t served = 0, kinds[VERDICT_INVALID + 1] = {0};

    seed = 2;
    for (int round = 0; round < ROUNDS; round++) {
        struct world w = {0};
        struct listener_plan *p;

        random_world(&w);
        p = plan_world(&w);
        check_invariants(p);
        for (size_t i = 0; i < p->n_verdicts; i++)
            kinds[p->verdicts[i].kind]++;
        for (size_t s = 0; s < ARRAY_LEN(probes_sni); s++)
            for (size_t h = 0; h < ARRAY_LEN(probes_host); h++)
                for (size_t u = 0; u < ARRAY_LEN(probes_path); u++)
                    served += taker(p, probes_sni[s], probes_host[h], probes_path[u]) != NULL;
        listener_plan_unref(p);
        world_clear(&w);
    }
    /* The worlds hold something of everything. */
    CHECK(served > ROUNDS * 10);
    for (size_t i = 0; i <= VERDICT_INVALID; i++)
        CHECK(kinds[i] > ROUNDS / 100);
}

static bool takes_part(const struct plan_chain *c, const struct exposure *x)
{
    for (size_t i = 0; c && i < c->n_exposures; i++)
        if (c->exposures[i] == x)
            return true;
    return false;
}

/* Whether late has a server name that nobody had, and with it the connections for sni. */
static bool moves_to(const struct listener_plan *p, const struct listener_plan *q, const char *sni,
                     const struct exposure *late)
{
    const struct plan_chain *before = find_chain(p, sni), *after = find_chain(q, sni);

    return takes_part(after, late) && (!before || strcmp(before->id, after->id) != 0);
}

static bool has_routes(const struct plan_vhost *v, const struct exposure *x)
{
    for (size_t i = 0; v && i < v->n_routes; i++)
        if (v->routes[i].x == x)
            return true;
    return false;
}

/* Whether late has a domain for host that fits better than what there was. */
static bool has_better_domain(const struct listener_plan *p, const struct listener_plan *q, const char *sni,
                              const char *host, const struct exposure *late)
{
    const char *before = "", *after = "";
    const struct plan_vhost *v = find_vhost(find_chain(q, sni), host, &after);

    find_vhost(find_chain(p, sni), host, &before);
    return has_routes(v, late) && strcmp(before, after) != 0;
}

/* Whatever is asked for, it is answered as before, or by late. */
static void check_takers(const struct listener_plan *p, const struct listener_plan *q, const char *sni,
                         const struct exposure *late)
{
    for (size_t h = 0; h < ARRAY_LEN(probes_host); h++)
        for (size_t u = 0; u < ARRAY_LEN(probes_path); u++) {
            const struct exposure *before = taker(p, sni, probes_host[h], probes_path[u]);
            const struct exposure *after = taker(q, sni, probes_host[h], probes_path[u]);

            CHECK(after == before || after == late || (!after && has_better_domain(p, q, sni, probes_host[h], late)));
        }
}

TEST(a_later_exposure_takes_nothing_identical_and_changes_no_verdict_of_earlier_ones)
{
    seed = 3;
    for (int round = 0; round < ROUNDS; round++) {
        struct world w = {0};
        struct listener_plan *p, *q;
        struct service *late;

        random_world(&w);
        p = plan_world(&w);
        late = random_service(20, 100);
        world_add(&w, late);
        q = plan_world(&w);
        for (size_t i = 0; i < p->n_verdicts; i++) {
            const struct verdict *v = listener_plan_verdict(q, p->verdicts[i].exposure);

            CHECK_INT(v->kind, p->verdicts[i].kind);
        }
        for (size_t i = 0; i < ARRAY_LEN(probes_sni); i++)
            if (!moves_to(p, q, probes_sni[i], late->exposures[0].x))
                check_takers(p, q, probes_sni[i], late->exposures[0].x);
        listener_plan_unref(p);
        listener_plan_unref(q);
        world_clear(&w);
    }
}

TEST(who_is_first_has_all_it_claims)
{
    size_t checked = 0;

    seed = 4;
    for (int round = 0; round < ROUNDS; round++) {
        struct world w = {0};
        struct listener_plan *p;
        const struct verdict *v;

        random_world(&w);
        p = plan_world(&w);
        for (size_t i = 0; i < w.n_claims; i++) {
            const struct service_exposure *sx = w.claims[i].sx;
            bool is_first = true;

            for (size_t k = 0; k < w.n_claims; k++)
                is_first = is_first &&
                           (k == i || sx->since < w.claims[k].sx->since ||
                            (sx->since == w.claims[k].sx->since && strcmp(sx->x->name, w.claims[k].sx->x->name) < 0));
            if (!is_first)
                continue;
            v = listener_plan_verdict(p, sx->x->name);
            CHECK(v->kind == VERDICT_ACCEPTED || v->kind == VERDICT_NOT_READY || v->kind == VERDICT_INVALID);
            checked++;
        }
        listener_plan_unref(p);
        world_clear(&w);
    }
    CHECK(checked > ROUNDS / 2);
}

/* ---- cost ---- */

enum { CROWD = TEST_ROUNDS(10000) };

/* format has one %d, or none. */
static clock_ns cost_of_crowd(const char *format, bool shared, enum verdict_kind expected)
{
    struct world any = {.missing = NULL};
    const struct plan_context context = {.secrets = lookup, .secrets_arg = &any};
    struct service **services = mem_array(struct service *, CROWD);
    struct claim *claims = mem_array(struct claim, CROWD);
    struct listener_plan *p;
    clock_ns took;
    size_t good = 0;

    for (int i = 0; i < CROWD; i++) {
        char *text = NULL;
        char path[32];
        struct buf b;

        snprintf(path, sizeof(path), "svc%d", i);
        buf_init(&b, 0);
        for (const char *c = format; *c; c++) {
            if (*c == '%')
                buf_printf(&b, "%d", i);
            else
                buf_append_byte(&b, (uint8_t)*c);
        }
        text = buf_take(&b, NULL);
        services[i] = model_service_of(path, text, (uint64_t)(CROWD - i));
        claims[i].sx = &services[i]->exposures[0];
        mem_free(text);
    }
    took = clock_now(NULL);
    p = listener_plan_new("envoy", claims, CROWD, &context);
    took = clock_now(NULL) - took;
    for (size_t i = 0; i < p->n_verdicts; i++)
        good += p->verdicts[i].kind == expected;
    CHECK(good >= CROWD - 1);
    CHECK(!shared || p->n_chains == 1);
    listener_plan_unref(p);
    for (int i = 0; i < CROWD; i++)
        service_unref(services[i]);
    mem_free(services);
    mem_free(claims);
    return took;
}

TEST(a_crowd_of_claims_is_planned_without_looking_at_each_other)
{
    static const struct {
        const char *format;
        bool shared;
        enum verdict_kind expected;
    } cases[] = {
        {SNI("h%.org"), false, VERDICT_ACCEPTED},
        {HTTPS("h%.org", "", "c"), true, VERDICT_ACCEPTED},
        {HTTPS("h%.org", "", "c%"), false, VERDICT_ACCEPTED},
        {HTTP("x.org", "route#0") PREFIX("0", "/%"), true, VERDICT_ACCEPTED},
        {HTTP("x.org", ""), true, VERDICT_CONFLICT},
        {L4, true, VERDICT_CONFLICT},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        clock_ns took = cost_of_crowd(cases[i].format, cases[i].shared, cases[i].expected);

        /* A bound that no machine misses; with a scan of all claims for each it would take minutes. */
        if (took > 30 * CLOCK_NS_PER_S)
            test_fail(__FILE__, __LINE__, "%s: %lld ms", cases[i].format, (long long)(took / CLOCK_NS_PER_MS));
    }
}
