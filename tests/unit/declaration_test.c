/* Declarations: every keyword, its default, its spellings, and what is said of a wrong value. */
#include "tests/unit/certs.h"
#include "tests/unit/model.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static struct declaration *declared; /* of the running test; ends with the next one, or the program */

/* expose#0 of that text. */
static const struct exposure *decode_of(const char *path, const char *text)
{
    const struct exposure *x;

    declaration_unref(declared);
    declared = model_declaration(path, text);
    x = declaration_find(declared, "expose#0");
    CHECK(x);
    return x;
}

static const struct exposure *decode(const char *text)
{
    return decode_of("test/svc/web1", text);
}

/* Of a text that must have nothing wrong. */
static const struct exposure *decode_good(const char *text)
{
    const struct exposure *x = decode(text);
    char *problems = model_problems(x);

    CHECK_STR(problems, "");
    CHECK(x->valid);
    mem_free(problems);
    return x;
}

static void check_problems(const struct exposure *x, bool valid, const char *expected)
{
    char *problems = model_problems(x);

    CHECK_STR(problems, expected);
    CHECK_INT(x->valid, valid);
    mem_free(problems);
}

static const struct route *route(const struct exposure *x)
{
    CHECK_INT(x->n_vhosts, 1);
    CHECK_INT(x->vhosts[0]->n_routes, 1);
    return x->vhosts[0]->routes[0];
}

#define WITH_ROUTE                                                                                                   \
    "expose#0 {'port': 80, 'vhosts': ['vhost#0']}\nvhost#0 {'domains': ['a.org'], 'routes': ['route#0']}\n"
#define WITH_RING                                                                                                    \
    "expose#0 {'port': 80, 'lb_policy': 'ring_hash', 'vhosts': ['vhost#0']}\n"                                       \
    "vhost#0 {'domains': ['a.org'], 'routes': ['route#0']}\n"
#define WITH_CERTIFICATE "expose#0 {'port': 443, 'listener_certificates': ['certificate#0']}\n"

/* ---- expose ---- */

TEST(an_exposure_has_the_agents_defaults)
{
    const struct exposure *x = decode_good("expose#0 {'port': 80}");

    CHECK_STR(x->name, "test/svc/web1.expose#0");
    CHECK_STR(x->path, "test/svc/web1");
    CHECK_STR(x->rid, "expose#0");
    CHECK(!x->gateway && !x->cluster_data && !x->filter_config_data && !x->cluster_certificate);
    CHECK_INT(x->port, 80);
    CHECK_INT(x->listener_port, 80);
    CHECK_INT(x->protocol, PROTOCOL_TCP);
    CHECK_INT(x->lb_policy, LB_ROUND_ROBIN);
    CHECK_INT(x->listener_addr.family, AF_INET);
    CHECK_INT(x->listener_addr.bytes[0], 0);
    CHECK_INT(x->n_sni + x->n_vhosts + x->n_listener_certificates, 0);
}

TEST(an_exposure_takes_all_its_keywords)
{
    const struct exposure *x =
        decode_good("expose#0 {'port': '8443', 'protocol': 'TCP', 'listener_addr': 'fd00::1', 'listener_port': 443, "
                    "'sni': ['B.org', '*.a.org', 'b.org'], 'lb_policy': 'LEAST_REQUEST', 'gateway': 'edge-b', "
                    "'cluster_data': {'b': 1, 'a': {}}, 'filter_config_data': '{\\'x\\': [ 1 ]}'}");
    char text[ADDRESS_TEXT_MAX];

    CHECK_INT(x->port, 8443);
    CHECK_INT(x->listener_port, 443);
    CHECK_STR(address_text(&x->listener_addr, text), "fd00::1");
    CHECK_INT(x->n_sni, 2);
    CHECK_STR(x->sni[0], "*.a.org");
    CHECK_STR(x->sni[1], "b.org");
    CHECK_INT(x->lb_policy, LB_LEAST_REQUEST);
    CHECK_STR(x->gateway, "edge-b");
    CHECK_STR(x->cluster_data, "{\"a\":{},\"b\":1}");
    CHECK_STR(x->filter_config_data, "{\"x\":[1]}");
}

TEST(lists_come_as_lists_and_as_words)
{
    const struct exposure *x = decode_good("expose#0 {'port': 443, 'sni': ' a.org  b.org '}");

    CHECK_INT(x->n_sni, 2);
    CHECK_STR(x->sni[1], "b.org");
}

TEST(load_balancing_policies_are_known_in_all_spellings)
{
    static const struct {
        const char *text;
        enum lb_policy policy;
    } cases[] = {
        {"round robin", LB_ROUND_ROBIN},
        {"ROUND_ROBIN", LB_ROUND_ROBIN},
        {"round-robin", LB_ROUND_ROBIN},
        {"least_request", LB_LEAST_REQUEST},
        {"ring_hash", LB_RING_HASH},
        {"RING_HASH", LB_RING_HASH},
        {"random", LB_RANDOM},
        {"original_dst_lb", LB_ORIGINAL_DST},
        {"ORIGINAL_DST_LB", LB_ORIGINAL_DST},
        {"Maglev", LB_MAGLEV},
        {"", LB_ROUND_ROBIN},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = mem_printf("expose#0 {'port': 80, 'lb_policy': '%s'}", cases[i].text);

        CHECK_INT(decode_good(text)->lb_policy, cases[i].policy);
        mem_free(text);
    }
}

TEST(port_zero_of_a_listener_asks_for_one)
{
    CHECK_INT(decode_good("expose#0 {'port': 80, 'listener_port': 0}")->listener_port, 0);
    CHECK_INT(decode_good("expose#0 {'port': 80, 'listener_port': '0'}")->listener_port, 0);
    CHECK_INT(decode_good("expose#0 {'port': 80, 'listener_port': ''}")->listener_port, 80);
    CHECK_INT(decode_good("expose#0 {'port': 80, 'listener_port': null}")->listener_port, 80);
}

TEST(a_wrong_value_of_an_exposure_is_named)
{
    static const struct {
        const char *keywords, *problems;
    } cases[] = {
        {"", "invalid expose#0.port: is required\n"},
        {"'port': 0", "invalid expose#0.port: must be an integer from 1 to 65535\n"},
        {"'port': 65536", "invalid expose#0.port: must be an integer from 1 to 65535\n"},
        {"'port': -1", "invalid expose#0.port: must be an integer from 1 to 65535\n"},
        {"'port': 80.5", "invalid expose#0.port: must be an integer\n"},
        {"'port': 'http'", "invalid expose#0.port: must be an integer\n"},
        {"'port': [80]", "invalid expose#0.port: must be an integer\n"},
        {"'port': 80, 'listener_port': 65536",
         "invalid expose#0.listener_port: must be an integer from 0 to 65535\n"},
        {"'port': 80, 'protocol': 'sctp'", "invalid expose#0.protocol: must be \"tcp\", \"udp\"\n"},
        {"'port': 80, 'listener_addr': 'eth0'", "invalid expose#0.listener_addr: must be an IPv4 or IPv6 address\n"},
        {"'port': 80, 'listener_addr': 7", "invalid expose#0.listener_addr: must be a text\n"},
        {"'port': 80, 'lb_policy': 'best'",
         "invalid expose#0.lb_policy: must be \"round robin\", \"least_request\", \"ring_hash\", \"random\", "
         "\"original_dst_lb\", \"maglev\"\n"},
        {"'port': 80, 'gateway': 'a|b'", "invalid expose#0.gateway: a gateway's name has no \"|\" and no blanks\n"},
        {"'port': 80, 'sni': ['ok.org', 'not ok']",
         "invalid expose#0.sni: \"not ok\" is neither a host name nor \"*.\" and a host name (international names "
         "are written in their xn-- form)\n"},
        {"'port': 80, 'sni': {}", "invalid expose#0.sni: must be a list of texts\n"},
        {"'port': 80, 'sni': ['a.org', 1]", "invalid expose#0.sni[1]: must be a text\n"},
        {"'port': 80, 'cluster_data': '{'",
         "invalid expose#0.cluster_data: line 1, column 1: the text ends too early\n"},
        {"'port': 80, 'cluster_data': [1]", "invalid expose#0.cluster_data: must be a JSON object\n"},
        {"'port': 80, 'filter_config_data': 'true'", "invalid expose#0.filter_config_data: must be a JSON object\n"},
        {"'port': 80, 'vhosts': ['vhost#9']",
         "unresolved expose#0.vhosts: there is no section \"vhost#9\" of type vhost.envoy\n"},
        {"'port': 80, 'vhosts': ['expose#0']", "invalid expose#0.vhosts: \"expose#0\" is no vhost.envoy\n"},
        {"'port': 80, 'listener_certificates': ['certificate#9']",
         "unresolved expose#0.listener_certificates: there is no section \"certificate#9\" of type "
         "certificate.tls\n"},
        {"'port': 80, 'cluster_certificates': 'certificate#9'",
         "unresolved expose#0.cluster_certificates: there is no section \"certificate#9\" of type "
         "certificate.tls\n"},
        {"'port': 0, 'protocol': 1", "invalid expose#0.port: must be an integer from 1 to 65535\n"
                                     "invalid expose#0.protocol: must be \"tcp\", \"udp\"\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = mem_printf("expose#0 {%s}", cases[i].keywords);

        check_problems(decode(text), false, cases[i].problems);
        mem_free(text);
    }
}

TEST(a_declaration_that_is_no_json_object_is_a_problem)
{
    check_problems(decode("expose#0 [1]"), false, "invalid expose#0: must be an object\n");
    check_problems(decode("expose#0 {"), false, "invalid expose#0: line 1, column 1: the text ends too early\n");
}

TEST(unknown_keywords_and_other_sections_are_none_of_our_business)
{
    declaration_unref(declared);
    declared = model_declaration("web1", "expose#0 {'port': 80, 'tags': 'x', 'comment': 1}\n"
                                         "task#1 {}\nroute#7 {'match_regex': '('}");
    check_problems(declaration_find(declared, "expose#0"), true, "");
    CHECK(!declaration_find(declared, "task#1"));
    CHECK(!declaration_find(declared, "expose#1"));
}

TEST(exposures_of_other_drivers_are_ignored)
{
    struct fact_resource r[] = {{"expose#0", "expose.other", "{\"port\": 80}"},
                                {"expose#1", "expose.envoy", "{\"port\": 80}"}};
    struct declaration *d = declaration_new("web1", r, ARRAY_LEN(r), NULL, NULL);
    size_t n;

    declaration_exposures(d, &n);
    CHECK_INT(n, 1);
    CHECK(!declaration_find(d, "expose#0"));
    CHECK(declaration_find(d, "expose#1"));
    declaration_unref(d);
}

TEST(exposures_are_sorted_by_their_number)
{
    static const char *const sorted[] = {"expose#0", "expose#2", "expose#10", "expose#007", "expose#a", "expose#b"};
    size_t n;
    const struct exposure *x;

    declaration_unref(declared);
    declared = model_declaration("web1", "expose#10 {'port': 1}\nexpose#b {'port': 1}\nexpose#2 {'port': 1}\n"
                                         "expose#007 {'port': 1}\nexpose#a {'port': 1}\nexpose#0 {'port': 1}");
    x = declaration_exposures(declared, &n);
    CHECK_INT(n, ARRAY_LEN(sorted));
    for (size_t i = 0; i < n; i++) {
        CHECK_STR(x[i].rid, sorted[i]);
        CHECK(declaration_find(declared, sorted[i]) == &x[i]);
    }
}

TEST(an_exposure_above_the_limit_is_told_and_harms_no_other)
{
    struct fact_resource *r = mem_array(struct fact_resource, SERVICE_EXPOSURES_MAX + 1);
    char(*rids)[32] = mem_calloc(SERVICE_EXPOSURES_MAX + 1, sizeof(*rids));
    struct declaration *d;
    const struct exposure *x;
    size_t n;

    for (int i = 0; i <= SERVICE_EXPOSURES_MAX; i++) {
        snprintf(rids[i], sizeof(rids[i]), "expose#%d", i);
        r[i] = (struct fact_resource){rids[i], "expose.envoy", "{\"port\": 80}"};
    }
    d = declaration_new("web1", r, SERVICE_EXPOSURES_MAX + 1, NULL, NULL);
    x = declaration_exposures(d, &n);
    CHECK_INT(n, SERVICE_EXPOSURES_MAX + 1);
    CHECK(x[SERVICE_EXPOSURES_MAX - 1].valid);
    check_problems(&x[SERVICE_EXPOSURES_MAX], false, "invalid expose#256: a service has at most 256 exposures\n");
    declaration_unref(d);
    mem_free(r);
    mem_free(rids);
}

TEST(udp_knows_neither_tls_nor_hosts)
{
    check_problems(decode("expose#0 {'port': 53, 'protocol': 'udp', 'lb_policy': 'original_dst_lb'}"), false,
                   "invalid expose#0.lb_policy: original_dst_lb is not possible with protocol udp\n");
    check_problems(decode_of("web1", "expose#0 {'port': 53, 'protocol': 'udp'}"), true, "");
    check_problems(decode("expose#0 {'port': 53, 'protocol': 'udp', 'sni': 'a.org', 'vhosts': 'vhost#0', "
                          "'listener_certificates': 'certificate#0', 'cluster_certificates': 'certificate#0'}\n"
                          "vhost#0 {}\ncertificate#0 {'certificate_secret': 'a'}"),
                   false,
                   "invalid expose#0.sni: is not possible with protocol udp\n"
                   "invalid expose#0.vhosts: is not possible with protocol udp\n"
                   "invalid expose#0.listener_certificates: is not possible with protocol udp\n"
                   "invalid expose#0.cluster_certificates: is not possible with protocol udp\n");
}

TEST(hosts_behind_tls_that_passes_through_are_refused)
{
    check_problems(decode("expose#0 {'port': 443, 'sni': 'a.org', 'vhosts': 'vhost#0'}\nvhost#0 {}"), false,
                   "invalid expose#0.sni: vhosts with sni need listener_certificates: HTTP inside TLS that passes "
                   "through can't be read\n");
}

TEST(a_fault_stands_on_the_exposures_that_reach_it_and_no_other)
{
    declaration_unref(declared);
    declared = model_declaration(
        "web1",
        "expose#0 {'port': 80, 'vhosts': ['vhost#0', 'vhost#1']}\nexpose#1 {'port': 81, 'vhosts': 'vhost#1'}\n"
        "expose#2 {'port': 82, 'vhosts': 'vhost#2'}\nexpose#3 {'port': 83}\n"
        "vhost#0 {'routes': 'route#0'}\nvhost#1 {'routes': 'route#0'}\nvhost#2 {'routes': 'route#1'}\n"
        "route#0 {'match_regex': '('}\nroute#1 {}");
    check_problems(declaration_find(declared, "expose#0"), false, "invalid route#0.match_regex: missing ): (\n");
    check_problems(declaration_find(declared, "expose#1"), false, "invalid route#0.match_regex: missing ): (\n");
    check_problems(declaration_find(declared, "expose#2"), true, "");
    check_problems(declaration_find(declared, "expose#3"), true, "");
}

TEST(problems_have_an_end)
{
    char *text = mem_strdup("expose#0 {'port': 443, 'sni': '"), *closed;
    const struct exposure *x;

    for (int i = 0; i < 100; i++) {
        char *longer = mem_printf("%s bad_%d!", text, i);

        mem_free(text);
        text = longer;
    }
    closed = mem_printf("%s'}", text);
    x = decode(closed);
    CHECK_INT(x->n_problems, SERVICE_PROBLEMS_MAX + 1);
    CHECK(!x->valid);
    CHECK_STR(x->problems[SERVICE_PROBLEMS_MAX].text, "there are more problems than are told here");
    mem_free(text);
    mem_free(closed);
}

static int check_called(const struct exposure *x, const struct gateway *gateway, void *arg, struct err *e)
{
    CHECK(!gateway);
    int *calls = arg;

    (*calls)++;
    if (x->port == 81)
        return err_set(e, -EINVAL, NULL, "cluster_data.connect_timeout", "must be a duration");
    return x->port == 82 ? err_set(e, -EPERM, NULL, "filter_config_data.access_log", "is not allowed") : 0;
}

TEST(the_check_of_others_has_the_last_word)
{
    int calls = 0;
    struct declaration *d = model_declaration_checked(
        "web1", "expose#0 {'port': 80}\nexpose#1 {'port': 81}\nexpose#2 {'port': 82}\nexpose#3 {'port': 0}",
        check_called, &calls);

    check_problems(declaration_find(d, "expose#0"), true, "");
    check_problems(declaration_find(d, "expose#1"), false,
                   "invalid expose#1.cluster_data.connect_timeout: must be a duration\n");
    check_problems(declaration_find(d, "expose#2"), false,
                   "not_allowed expose#2.filter_config_data.access_log: is not allowed\n");
    /* What is wrong already is not asked about. */
    CHECK_INT(calls, 3);
    declaration_unref(d);
}

/* ---- vhost ---- */

TEST(a_vhost_has_its_domains_sorted_and_its_routes_in_order)
{
    const struct exposure *x = decode_good("expose#0 {'port': 80, 'vhosts': ['vhost#0']}\n"
                                           "vhost#0 {'domains': ['B.org', 'a.org', 'b.org', '*'], "
                                           "'routes': 'route#2 route#1'}\n"
                                           "route#1 {}\nroute#2 {'match_path': '/x'}");
    const struct vhost *v = x->vhosts[0];

    CHECK_STR(v->name, "test/svc/web1.expose#0.vhost#0");
    CHECK_STR(v->rid, "vhost#0");
    CHECK_INT(v->n_domains, 3);
    CHECK_STR(v->domains[0], "*");
    CHECK_STR(v->domains[1], "a.org");
    CHECK_STR(v->domains[2], "b.org");
    CHECK_INT(v->n_routes, 2);
    CHECK_STR(v->routes[0]->rid, "route#2");
    CHECK_STR(v->routes[1]->rid, "route#1");
}

TEST(a_vhost_without_domains_has_the_services_name)
{
    CHECK_STR(decode_good("expose#0 {'port': 80, 'vhosts': 'vhost#0'}\nvhost#0 {}")->vhosts[0]->domains[0], "web1");
    CHECK_STR(decode_of("Web2", "expose#0 {'port': 80, 'vhosts': 'vhost#0'}\nvhost#0 {'domains': []}")
                  ->vhosts[0]
                  ->domains[0],
              "web2");
}

TEST(a_vhost_that_two_exposures_use_has_a_name_in_each)
{
    declaration_unref(declared);
    declared = model_declaration("web1", "expose#0 {'port': 80, 'vhosts': 'vhost#0'}\n"
                                         "expose#1 {'port': 81, 'vhosts': 'vhost#0'}\nvhost#0 {}");
    CHECK_STR(declaration_find(declared, "expose#0")->vhosts[0]->name, "web1.expose#0.vhost#0");
    CHECK_STR(declaration_find(declared, "expose#1")->vhosts[0]->name, "web1.expose#1.vhost#0");
}

TEST(what_is_wrong_with_a_vhost_is_named)
{
    static const struct {
        const char *keywords, *problems;
        bool valid;
    } cases[] = {
        {"'domains': 'a.org:80'",
         "warning vhost#0.domains: the port in \"a.org:80\" has no effect: a domain is served whatever port the "
         "client names\n",
         true},
        {"'domains': 'a_b c..d'",
         "invalid vhost#0.domains: \"c..d\" is no domain: a host name, \"*.\" or \"*-\" and its end, its beginning "
         "and \".*\" or \"-*\", or \"*\" (international names are written in their xn-- form)\n",
         false},
        {"'domains': 7", "invalid vhost#0.domains: must be a list of texts\n", false},
        {"'domains': 'a', 'routes': 'route#9'",
         "unresolved vhost#0.routes: there is no section \"route#9\" of type route.envoy\n", false},
        {"'domains': 'a', 'routes': 'vhost#0'", "invalid vhost#0.routes: \"vhost#0\" is no route.envoy\n", false},
        {"'domains': 'a', 'routes': 'route#0 route#0'", "warning vhost#0.routes: \"route#0\" is listed twice\n",
         true},
        {"'domains': 'a', 'routes': 'route#0 route#1'",
         "shadowed vhost#0.routes: route#1 is never reached: route#0 takes everything\n", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = mem_printf("expose#0 {'port': 80, 'vhosts': 'vhost#0'}\nvhost#0 {%s}\nroute#0 {}\n"
                                "route#1 {'match_path': '/x'}",
                                cases[i].keywords);

        check_problems(decode(text), cases[i].valid, cases[i].problems);
        mem_free(text);
    }
}

/* ---- route ---- */

TEST(a_route_has_the_agents_defaults)
{
    const struct route *r = route(decode_good(WITH_ROUTE "route#0 {'redirect_https_redirect': false, "
                                                         "'redirect_strip_query': false}"));

    CHECK_INT(r->match, ROUTE_PREFIX);
    CHECK_STR(r->match_value, "/");
    CHECK(r->case_sensitive && !r->is_redirect);
    CHECK(!r->prefix_rewrite && !r->host_rewrite && !r->cluster_header);
    CHECK_INT(r->timeout, -1);
    CHECK_INT(r->websocket, -1);
    CHECK_INT(r->n_hash_policies, 0);
}

TEST(a_route_takes_all_its_keywords)
{
    const struct route *r = route(decode_good(
        WITH_ROUTE "route#0 {'match_prefix': '/api', 'match_case_sensitive': 'False', 'route_prefix_rewrite': '/v2', "
                   "'route_host_rewrite': 'inner', 'route_cluster_header': 'x-cluster', 'route_timeout': '1m30s', "
                   "'route_use_websocket': true}"));

    CHECK_INT(r->match, ROUTE_PREFIX);
    CHECK_STR(r->match_value, "/api");
    CHECK(!r->case_sensitive);
    CHECK_STR(r->prefix_rewrite, "/v2");
    CHECK_STR(r->host_rewrite, "inner");
    CHECK_STR(r->cluster_header, "x-cluster");
    CHECK_INT(r->timeout, INT64_C(90000000000));
    CHECK_INT(r->websocket, 1);
}

TEST(routes_match_by_path_prefix_or_regex)
{
    const struct route *r = route(decode_good(WITH_ROUTE "route#0 {'match_path': '/x', 'match_prefix': ''}"));

    CHECK_INT(r->match, ROUTE_PATH);
    CHECK_STR(r->match_value, "/x");
    r = route(decode_good(WITH_ROUTE "route#0 {'match_regex': '/[a-z]+', 'route_timeout': 2.5, "
                                     "'route_use_websocket': 'false'}"));
    CHECK_INT(r->match, ROUTE_REGEX);
    CHECK_STR(r->match_value, "/[a-z]+");
    CHECK_INT(r->timeout, INT64_C(2500000000));
    CHECK_INT(r->websocket, 0);
}

TEST(redirects_are_redirects_if_they_say_where_to)
{
    static const struct {
        const char *keywords;
        bool is_redirect;
        struct redirect redirect;
    } cases[] = {
        {"'redirect_strip_query': true", false, {.strip_query = true}},
        {"'redirect_host_redirect': '', 'redirect_response_code': ''", false, {0}},
        {"'redirect_response_code': 0", false, {0}},
        {"'redirect_https_redirect': true", true, {.https = true}},
        {"'redirect_https_redirect': 'true', 'redirect_strip_query': 'true'",
         true,
         {.https = true, .strip_query = true}},
        {"'redirect_host_redirect': 'b.org'", true, {.host = "b.org"}},
        {"'redirect_path_redirect': '/new'", true, {.path = "/new"}},
        {"'redirect_prefix_rewrite': '/new'", true, {.prefix = "/new"}},
        {"'redirect_response_code': 308", true, {.response_code = 308}},
        {"'redirect_response_code': '303'", true, {.response_code = 303}},
        {"'redirect_response_code': 'TEMPORARY_REDIRECT'", true, {.response_code = 307}},
        {"'redirect_response_code': 'found'", true, {.response_code = 302}},
        {"'redirect_response_code': 'MOVED_PERMANENTLY'", true, {.response_code = 301}},
        {"'redirect_response_code': 'SEE_OTHER'", true, {.response_code = 303}},
        {"'redirect_response_code': 'PERMANENT_REDIRECT'", true, {.response_code = 308}},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = mem_printf(WITH_ROUTE "route#0 {%s}", cases[i].keywords);
        const struct route *r = route(decode_good(text));
        const struct redirect *expected = &cases[i].redirect;

        CHECK_INT(r->is_redirect, cases[i].is_redirect);
        CHECK_STR(r->redirect.host, expected->host);
        CHECK_STR(r->redirect.path, expected->path);
        CHECK_STR(r->redirect.prefix, expected->prefix);
        CHECK_INT(r->redirect.response_code, expected->response_code);
        CHECK_INT(r->redirect.https, expected->https);
        CHECK_INT(r->redirect.strip_query, expected->strip_query);
        mem_free(text);
    }
}

TEST(what_is_wrong_with_a_route_is_named)
{
    static const struct {
        const char *keywords, *problems;
        bool valid;
    } cases[] = {
        {"'match_path': '/x', 'match_prefix': '/y'",
         "invalid route#0.match_prefix: match_path, match_prefix and match_regex exclude each other\n", false},
        {"'match_path': '/x', 'match_regex': '/y'",
         "invalid route#0.match_regex: match_path, match_prefix and match_regex exclude each other\n", false},
        {"'match_prefix': 'api'", "warning route#0.match_prefix: matches nothing: a path begins with \"/\"\n", true},
        {"'match_path': '/x?y'",
         "warning route#0.match_path: matches nothing: a path is compared without its query and fragment\n", true},
        {"'match_path': '/\\u0001'", "invalid route#0.match_path: has a control character\n", false},
        {"'match_regex': '[z-a]'", "invalid route#0.match_regex: invalid character class range: z-a\n", false},
        {"'match_regex': '/[a-z]{1000}'",
         "invalid route#0.match_regex: is too costly: its RE2 program has a size of 1005, the limit is 1000\n",
         false},
        {"'match_case_sensitive': 'maybe'", "invalid route#0.match_case_sensitive: must be true or false\n", false},
        {"'route_timeout': 'soon'",
         "invalid route#0.route_timeout: must be a duration: seconds, or a text such as \"15s\", \"2m\", \"1h30m\" "
         "or "
         "\"250ms\"\n",
         false},
        {"'route_timeout': -1",
         "invalid route#0.route_timeout: must be a duration: seconds, or a text such as \"15s\", \"2m\", \"1h30m\" "
         "or "
         "\"250ms\"\n",
         false},
        {"'route_use_websocket': 3", "invalid route#0.route_use_websocket: must be true or false\n", false},
        {"'redirect_response_code': 304",
         "invalid route#0.redirect_response_code: must be \"301\", \"302\", \"303\", \"307\", \"308\", "
         "\"MOVED_PERMANENTLY\", \"FOUND\", \"SEE_OTHER\", \"TEMPORARY_REDIRECT\", \"PERMANENT_REDIRECT\"\n",
         false},
        {"'redirect_path_redirect': '/a', 'redirect_prefix_rewrite': '/b'",
         "invalid route#0.redirect_prefix_rewrite: redirect_path_redirect and redirect_prefix_rewrite exclude each "
         "other\n",
         false},
        {"'route_prefix_rewrite': 'x y', 'route_host_rewrite': 'a b', 'route_cluster_header': 'x:'",
         "invalid route#0.route_prefix_rewrite: must be the beginning of a path, from its \"/\" on, "
         "percent-encoded and without a query\n"
         "invalid route#0.route_host_rewrite: must be a host, with or without a port\n"
         "invalid route#0.route_cluster_header: must be the name of a header field\n",
         false},
        {"'route_prefix_rewrite': '/x?y'",
         "invalid route#0.route_prefix_rewrite: must be the beginning of a path, from its \"/\" on, "
         "percent-encoded and without a query\n",
         false},
        {"'redirect_host_redirect': 'a.org/b', 'redirect_path_redirect': 'x'",
         "invalid route#0.redirect_host_redirect: must be a host, with or without a port\n"
         "invalid route#0.redirect_path_redirect: must be a path, from its \"/\" on, percent-encoded\n",
         false},
        {"'redirect_prefix_rewrite': '/\\u00e9'",
         "invalid route#0.redirect_prefix_rewrite: must be the beginning of a path, from its \"/\" on, "
         "percent-encoded and without a query\n",
         false},
        {"'match_prefix': '/old', 'redirect_prefix_rewrite': 'new'",
         "invalid route#0.redirect_prefix_rewrite: must be the beginning of a path, from its \"/\" on, "
         "percent-encoded and without a query\n",
         false},
        {"'redirect_host_redirect': '[::1]:8443', 'redirect_path_redirect': '/a?b#c'", "", true},
        {"'match_prefix': '/\\u00e9'",
         "warning route#0.match_prefix: matches nothing: a path is compared in its percent-encoded form\n", true},
        {"'route_timeout': '', 'match_case_sensitive': '', 'hash_policies': '', 'redirect_strip_query': ''", "",
         true},
        {"'redirect_https_redirect': true, 'route_host_rewrite': 'b'",
         "warning route#0.route_host_rewrite: has no effect: the route is a redirect\n", true},
        {"'hash_policies': 'hashpolicy#9'",
         "unresolved route#0.hash_policies: there is no section \"hashpolicy#9\" of type hashpolicy.envoy\n", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = mem_printf(WITH_ROUTE "route#0 {%s}", cases[i].keywords);

        check_problems(decode(text), cases[i].valid, cases[i].problems);
        mem_free(text);
    }
}

TEST(a_regex_is_measured_as_it_is_sent)
{
    static const char cased[] = WITH_ROUTE "route#0 {'match_regex': '/[a-z]{300}'}";
    static const char any_case[] = WITH_ROUTE "route#0 {'match_regex': '/[a-z]{300}', 'match_case_sensitive': false}";
    const struct exposure *x;

    decode_good(cased);
    x = decode(any_case);
    CHECK(!x->valid);
    CHECK_INT(x->n_problems, 1);
    CHECK_STR(x->problems[0].field, "route#0.match_regex");
}

TEST(a_regex_as_large_as_our_envoys_take_is_good)
{
    /* 258 in RE2, which Envoy refuses by default. */
    CHECK_INT(route(decode_good(WITH_ROUTE "route#0 {'match_regex': '/[a-z0-9-]{1,63}/x'}"))->match, ROUTE_REGEX);
}

/* ---- hash policy ---- */

TEST(hash_policies_are_found_in_both_spellings)
{
    static const char *const texts[] = {
        WITH_RING "route#0 {'hash_policies': 'hashpolicy#0'}\nhashpolicy#0 {'connection_source_ip': true}",
        WITH_RING "route#0 {'hash_policies': 'hashpolicy#0'}\nhash_policy#0 {'connection_source_ip': true}",
        WITH_RING "route#0 {'hash_policies': 'hash_policy#0'}\nhashpolicy#0 {'connection_source_ip': true}",
        WITH_RING "route#0 {'hash_policies': 'hash_policy#0'}\nhash_policy#0 {'connection_source_ip': true}",
        WITH_RING "route#0 {'hash_policies': 'hash_policy#0'}\nhash_policy#0 {}\n"
                  "hashpolicy#0 {'connection_source_ip': true}",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const struct route *r = route(decode_good(texts[i]));

        CHECK_INT(r->n_hash_policies, 1);
        CHECK(r->hash_policies[0]->source_ip);
    }
}

TEST(hash_policies_are_cookie_header_or_source_address)
{
    const struct route *r = route(decode_good(
        WITH_RING "route#0 {'hash_policies': ['hashpolicy#2', 'hashpolicy#0', 'hashpolicy#1', 'hashpolicy#3']}\n"
                  "hashpolicy#0 {'cookie_name': 'sid', 'cookie_path': '/x', 'cookie_ttl': 3600, 'terminal': false}\n"
                  "hashpolicy#1 {'header_header_name': 'x-user', 'terminal': 'true', 'connection_source_ip': false}\n"
                  "hashpolicy#2 {'cookie_name': 'sid', 'cookie_ttl': 0}\n"
                  "hashpolicy#3 {'cookie_name': 'given', 'cookie_ttl': '1h'}"));
    const struct hash_policy *const *p = r->hash_policies;

    CHECK_INT(r->n_hash_policies, 4);
    CHECK_STR(p[0]->rid, "hashpolicy#2");
    CHECK_INT(p[0]->cookie_ttl, 0);
    CHECK_STR(p[1]->cookie_name, "sid");
    CHECK_STR(p[1]->cookie_path, "/x");
    CHECK_INT(p[1]->cookie_ttl, INT64_C(3600000000000));
    CHECK(!p[1]->terminal && !p[1]->header_name && !p[1]->source_ip);
    CHECK_STR(p[2]->header_name, "x-user");
    CHECK(p[2]->terminal && !p[2]->cookie_name);
    CHECK_INT(p[2]->cookie_ttl, -1);
    CHECK_INT(p[3]->cookie_ttl, INT64_C(3600000000000));
}

TEST(what_is_wrong_with_a_hash_policy_is_named)
{
    static const struct {
        const char *keywords, *problems;
        bool valid;
    } cases[] = {
        {"", "invalid hashpolicy#0: one of cookie_name, header_header_name and connection_source_ip is required\n",
         false},
        {"'cookie_name': 'a', 'connection_source_ip': true",
         "invalid hashpolicy#0: cookie_name, header_header_name and connection_source_ip exclude each other\n",
         false},
        {"'cookie_name': 'a', 'cookie_ttl': 'x'",
         "invalid hashpolicy#0.cookie_ttl: must be a duration: seconds, or a text such as \"15s\", \"2m\", \"1h30m\" "
         "or \"250ms\"\n",
         false},
        {"'cookie_name': 'a;b', 'cookie_path': '/; Domain=b.org'",
         "invalid hashpolicy#0.cookie_name: must be a name without blanks, \"=\", \";\" and \",\"\n"
         "invalid hashpolicy#0.cookie_path: must be a path without blanks and \";\"\n",
         false},
        {"'header_header_name': 'x y'",
         "invalid hashpolicy#0.header_header_name: must be the name of a header field\n", false},
        {"'header_header_name': ':path', 'cookie_ttl': ''", "", true},
        {"'cookie_path': '/', 'header_header_name': 'x'",
         "warning hashpolicy#0.cookie_path: has no effect without cookie_name\n", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text =
            mem_printf(WITH_RING "route#0 {'hash_policies': 'hashpolicy#0'}\nhashpolicy#0 {%s}", cases[i].keywords);

        check_problems(decode(text), cases[i].valid, cases[i].problems);
        mem_free(text);
    }
}

TEST(a_hash_policy_that_nobody_asks_is_told)
{
    check_problems(decode(WITH_ROUTE "route#0 {'hash_policies': 'hashpolicy#0'}\n"
                                     "hashpolicy#0 {'connection_source_ip': true}"),
                   true, "warning route#0.hash_policies: has no effect: lb_policy is neither ring_hash nor maglev\n");
}

/* ---- certificate ---- */

TEST(secrets_are_looked_for_in_the_services_own_namespace)
{
    static const struct {
        const char *path, *secret, *resolved;
    } cases[] = {
        {"test/svc/web1", "front", "test/sec/front"},
        {"test/svc/web1", "other/sec/front", "other/sec/front"},
        {"test/svc/web1", "root/sec/front", "sec/front"},
        {"test/svc/web1", "sec/front", "sec/front"},
        {"web1", "front", "sec/front"},
        {"web1", "root/sec/front", "sec/front"},
        {"web1", "test/sec/front", "test/sec/front"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text =
            mem_printf(WITH_CERTIFICATE "certificate#0 {'certificate_secret': '%s', 'validation_secret': '%s'}",
                       cases[i].secret, cases[i].secret);
        const struct exposure *x = decode_of(cases[i].path, text);

        check_problems(x, true, "");
        CHECK_STR(x->listener_certificates[0]->secret, cases[i].resolved);
        CHECK_STR(x->listener_certificates[0]->validation_secret, cases[i].resolved);
        mem_free(text);
    }
}

TEST(certificates_come_by_secret_file_or_text)
{
    struct test_certificate *c = test_certificate_for("a.org");
    struct fact_resource r[] = {
        {"certificate#0", "certificate.tls", NULL},
        {"certificate#front", "certificate.tls",
         "{\"certificate_chain_filename\":\"/c\",\"private_key_filename\":\"/k\"}"},
        {"expose#0", "expose.envoy",
         "{\"port\":443,\"listener_certificates\":\"certificate#front certificate#0\","
         "\"cluster_certificates\":[\"certificate#front\"]}"},
    };
    json_t *info = json_pack("{s:s+, s:s}", "certificate_chain_inline_string", c->key_pem, c->pem,
                             "private_key_inline_string", c->key_pem);
    char *text = json_canonical(info);
    struct declaration *d;
    const struct exposure *x;

    r[0].info = text;
    d = declaration_new("test/svc/web1", r, ARRAY_LEN(r), NULL, NULL);
    x = declaration_find(d, "expose#0");
    check_problems(x, true, "");
    CHECK_INT(x->n_listener_certificates, 2);
    CHECK_STR(x->listener_certificates[0]->name, "test/svc/web1.certificate#front");
    CHECK_STR(x->listener_certificates[0]->chain_file, "/c");
    CHECK_STR(x->listener_certificates[0]->key_file, "/k");
    CHECK_STR(x->listener_certificates[1]->chain_inline, c->pem);
    CHECK_STR(x->listener_certificates[1]->key_inline, c->key_pem);
    CHECK_STR(x->cluster_certificate->name, "test/svc/web1.certificate#front");
    declaration_unref(d);
    json_decref(info);
    mem_free(text);
    test_certificate_free(c);
}

TEST(an_inline_pair_that_does_not_fit_is_refused_without_a_word_of_it)
{
    struct test_certificate *a = test_certificate_for("a.org"), *b = test_certificate_for("b.org");
    json_t *info =
        json_pack("{s:s, s:s}", "certificate_chain_inline_string", a->pem, "private_key_inline_string", b->key_pem);
    char *text = json_canonical(info);
    struct fact_resource r[] = {
        {"certificate#0", "certificate.tls", text},
        {"expose#0", "expose.envoy", "{\"port\":443,\"listener_certificates\":\"certificate#0\"}"}};
    struct declaration *d = declaration_new("web1", r, ARRAY_LEN(r), NULL, NULL);

    check_problems(declaration_find(d, "expose#0"), false,
                   "invalid certificate#0.certificate_chain_inline_string: the private key does not belong to the "
                   "certificate\n");
    declaration_unref(d);
    json_decref(info);
    mem_free(text);
    test_certificate_free(a);
    test_certificate_free(b);
}

TEST(the_key_file_of_an_exposure_completes_its_cluster_certificate)
{
    const struct exposure *x =
        decode_good("expose#0 {'port': 443, 'cluster_certificates': 'certificate#0', "
                    "'cluster_private_key_filename': '/own'}\ncertificate#0 {'certificate_chain_filename': '/c'}");

    CHECK_STR(x->cluster_private_key_file, "/own");
    CHECK_STR(x->cluster_certificate->name, "test/svc/web1.expose#0.certificate#0");
    CHECK_STR(x->cluster_certificate->chain_file, "/c");
    CHECK_STR(x->cluster_certificate->key_file, "/own");
    x = decode_good("expose#0 {'port': 443, 'cluster_certificates': 'certificate#0'}\n"
                    "certificate#0 {'validation_secret': 'ca'}");
    CHECK_STR(x->cluster_certificate->validation_secret, "test/sec/ca");
    CHECK(!x->cluster_certificate->secret);
}

TEST(what_is_wrong_with_a_certificate_is_named)
{
    static const struct {
        const char *use, *keywords, *problems;
        bool valid;
    } cases[] = {
        {"listener", "", "invalid certificate#0: names neither a certificate nor a validation_secret\n", false},
        {"listener", "'certificate_secret': 'a', 'certificate_chain_filename': '/c', 'private_key_filename': '/k'",
         "invalid certificate#0.certificate_chain_filename: certificate_secret, the file names and the inline texts "
         "exclude each other\n",
         false},
        {"listener", "'certificate_chain_filename': '/c', 'private_key_inline_string': 'x'",
         "invalid certificate#0.certificate_chain_inline_string: certificate_secret, the file names and the inline "
         "texts exclude each other\n",
         false},
        {"listener", "'private_key_filename': '/k'",
         "invalid certificate#0.certificate_chain_filename: is required beside private_key_filename\n", false},
        {"listener", "'certificate_chain_filename': '/c'",
         "invalid certificate#0.private_key_filename: is required beside certificate_chain_filename\n", false},
        {"cluster", "'certificate_chain_filename': '/c'",
         "invalid certificate#0.private_key_filename: is required, or cluster_private_key_filename of the exposure\n",
         false},
        {"listener", "'certificate_chain_inline_string': 'x'",
         "invalid certificate#0.private_key_inline_string: is required: one inline text does not go without the "
         "other\n",
         false},
        {"listener", "'certificate_chain_inline_string': 'x', 'private_key_inline_string': 'y'",
         "invalid certificate#0.certificate_chain_inline_string: the certificate chain has no certificate in PEM "
         "form\n",
         false},
        {"listener", "'validation_secret': 'ca'",
         "invalid expose#0.listener_certificates: none of them has a certificate and a key\n", false},
        {"cluster", "'validation_secret': 'ca'", "", true},
        {"listener", "'certificate_secret': 'svc/web1'",
         "invalid certificate#0.certificate_secret: names no secret: it is a name, or a path as "
         "\"namespace/sec/name\"\n",
         false},
        {"listener", "'certificate_secret': 'a/cfg/b'",
         "invalid certificate#0.certificate_secret: names no secret: it is a name, or a path as "
         "\"namespace/sec/name\"\n",
         false},
        {"listener", "'certificate_secret': 'a/sec/b/c'",
         "invalid certificate#0.certificate_secret: names no secret: it is a name, or a path as "
         "\"namespace/sec/name\"\n",
         false},
        {"listener", "'certificate_secret': 'a b'",
         "invalid certificate#0.certificate_secret: names no secret: it is a name, or a path as "
         "\"namespace/sec/name\"\n",
         false},
        {"listener", "'certificate_secret': 7", "invalid certificate#0.certificate_secret: must be a text\n", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = mem_printf("expose#0 {'port': 443, '%s_certificates': 'certificate#0'}\ncertificate#0 {%s}",
                                cases[i].use, cases[i].keywords);

        check_problems(decode(text), cases[i].valid, cases[i].problems);
        mem_free(text);
    }
}

TEST(what_excludes_itself_among_certificates_is_named)
{
    check_problems(decode("expose#0 {'port': 443, 'listener_certificates': 'certificate#0 certificate#1'}\n"
                          "certificate#0 {'certificate_secret': 'a', 'validation_secret': 'x'}\n"
                          "certificate#1 {'certificate_secret': 'b', 'validation_secret': 'y'}"),
                   false,
                   "invalid expose#0.listener_certificates: several validation_secrets: a listener takes one\n");
    check_problems(decode("expose#0 {'port': 443, 'listener_certificates': 'certificate#0 certificate#1'}\n"
                          "certificate#0 {'certificate_secret': 'a'}\n"
                          "certificate#1 {'validation_secret': 'y'}"),
                   true, "");
    check_problems(decode("expose#0 {'port': 443, 'cluster_certificates': 'certificate#0 certificate#1'}\n"
                          "certificate#0 {'certificate_secret': 'a'}\n"
                          "certificate#1 {'certificate_secret': 'b'}"),
                   false, "invalid expose#0.cluster_certificates: takes one certificate\n");
    check_problems(decode("expose#0 {'port': 443, 'cluster_private_key_filename': '/k'}"), true,
                   "warning expose#0.cluster_private_key_filename: has no effect without cluster_certificates\n");
    check_problems(decode("expose#0 {'port': 443, 'cluster_private_key_filename': '/k', "
                          "'cluster_certificates': 'certificate#0'}\ncertificate#0 {'certificate_secret': 'a'}"),
                   true,
                   "warning expose#0.cluster_private_key_filename: has no effect: certificate#0 has no "
                   "certificate_chain_filename\n");
}

/* ---- the whole ---- */

TEST(the_example_of_the_documentation_is_decoded)
{
    const struct exposure *x;

    declaration_unref(declared);
    declared = model_declaration(
        "scaler", "expose#0 {'listener_addr': '0.0.0.0', 'listener_port': 8080, 'port': 80}\n"
                  "certificate#1 {'certificate_chain_filename': '/etc/envoy/server.pem', "
                  "'private_key_filename': '/etc/envoy/server.key'}\n"
                  "expose#1 {'listener_addr': '0.0.0.0', 'listener_port': 443, 'port': 443, 'sni': "
                  "'svcweb.acme.org', 'listener_certificates': 'certificate#1', 'cluster_certificates': "
                  "'certificate#1'}\n"
                  "expose#2 {'listener_addr': '0.0.0.0', 'listener_port': 443, 'port': 443, 'vhosts': 'vhost#0', "
                  "'listener_certificates': 'certificate#1', 'cluster_certificates': 'certificate#1'}\n"
                  "vhost#0 {'domains': 'alt-svcweb.acme.org', 'routes': 'route#0 route#1'}\n"
                  "route#0 {'match_prefix': '/realtime/generic', 'route_use_websocket': true}\n"
                  "route#1 {'match_prefix': '/'}");
    for (int i = 0; i < 3; i++) {
        char rid[16];

        snprintf(rid, sizeof(rid), "expose#%d", i);
        x = declaration_find(declared, rid);
        check_problems(x, true, "");
    }
    CHECK_INT(x->vhosts[0]->n_routes, 2);
    CHECK_INT(x->vhosts[0]->routes[0]->websocket, 1);
    CHECK_STR(x->cluster_certificate->key_file, "/etc/envoy/server.key");
}

/* Whatever a resource says, nothing crashes, and a valid exposure has what it needs. */
static size_t check_mixture(const struct declaration *d)
{
    size_t n, valid = 0;
    const struct exposure *x = declaration_exposures(d, &n);

    CHECK_INT(n, 2);
    for (size_t i = 0; i < n; i++) {
        CHECK(x[i].valid || x[i].n_problems > 0);
        CHECK(!x[i].valid || x[i].port > 0);
        for (size_t v = 0; x[i].valid && v < x[i].n_vhosts; v++)
            CHECK(x[i].vhosts[v]->n_domains > 0);
        valid += x[i].valid;
    }
    return valid;
}

static const char *random_keywords(struct arena *arena, uint64_t *seed, const char *first)
{
    static const char *const keys[] = {"port",
                                       "protocol",
                                       "listener_addr",
                                       "listener_port",
                                       "sni",
                                       "lb_policy",
                                       "gateway",
                                       "vhosts",
                                       "cluster_data",
                                       "domains",
                                       "routes",
                                       "match_path",
                                       "match_regex",
                                       "hash_policies",
                                       "route_timeout",
                                       "cookie_name",
                                       "cookie_ttl",
                                       "certificate_secret",
                                       "listener_certificates",
                                       "cluster_certificates",
                                       "filter_config_data",
                                       "redirect_response_code"};
    static const char *const values[] = {"80",
                                         "0",
                                         "-1",
                                         "1e99",
                                         "null",
                                         "true",
                                         "{}",
                                         "[]",
                                         "\"\"",
                                         "\"a b\"",
                                         "\"*\"",
                                         "[\"vhost#0\"]",
                                         "\"route#0\"",
                                         "[\"hashpolicy#0\", \"hash_policy#0\"]",
                                         "\"certificate#0\"",
                                         "[[1], {}]",
                                         "\"\\u0000\"",
                                         "\"udp\"",
                                         "\"((\"",
                                         "\"{\"",
                                         "\"::1\"",
                                         "\"\\u00e9\"",
                                         "\"expose#0\"",
                                         "301",
                                         "\"ring_hash\""};
    const char *info = first;

    for (uint64_t k = test_random(seed) % 4; k > 0; k--)
        info = arena_printf(arena, "%s,\"%s\":%s", info, keys[test_random(seed) % ARRAY_LEN(keys)],
                            values[test_random(seed) % ARRAY_LEN(values)]);
    return arena_printf(arena, "{%s}", info);
}

TEST(any_mixture_of_values_is_taken_or_refused)
{
    static const struct {
        const char *rid, *type;
    } sections[] = {{"expose#0", "expose.envoy"},         {"expose#1", "expose.envoy"},
                    {"vhost#0", "vhost.envoy"},           {"route#0", "route.envoy"},
                    {"hashpolicy#0", "hashpolicy.envoy"}, {"certificate#0", "certificate.tls"}};
    uint64_t seed = 1;
    size_t valid = 0;

    for (int round = 0; round < 3000; round++) {
        struct arena *arena = arena_new();
        struct fact_resource r[ARRAY_LEN(sections)];
        struct declaration *d;

        for (size_t i = 0; i < ARRAY_LEN(sections); i++)
            r[i] = (struct fact_resource){
                .rid = sections[i].rid,
                .type = sections[i].type,
                .info = random_keywords(arena, &seed, i < 2 && test_random(&seed) % 2 ? "\"port\":80" : "\"x\":0")};
        d = declaration_new("ns/svc/a", r, ARRAY_LEN(r), NULL, NULL);
        valid += check_mixture(d);
        declaration_unref(d);
        arena_free(arena);
    }
    CHECK(valid > 500);
}
