/* Addresses, networks, namespaces, and host names. */
#include "store/hostname.h"
#include "store/service.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

TEST(addresses_are_read_and_written_in_their_usual_form)
{
    static const struct {
        const char *text, *written;
    } cases[] = {
        {"10.0.0.1", "10.0.0.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"FD00:0:0::1", "fd00::1"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"},
        {"::ffff:10.0.0.1", "::ffff:10.0.0.1"},
        {"", NULL},
        {"10.0.0", NULL},
        {"10.0.0.256", NULL},
        {"10.0.0.1/24", NULL},
        {" 10.0.0.1", NULL},
        {"010.0.0.1", NULL},
        {"localhost", NULL},
        {"[::1]", NULL},
        {"fe80::1%eth0", NULL},
        {"1:2", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address a = {.family = 99};
        char buf[ADDRESS_TEXT_MAX];

        CHECK_INT(address_parse(cases[i].text, &a), cases[i].written ? 0 : -EINVAL);
        if (cases[i].written)
            CHECK_STR(address_text(&a, buf), cases[i].written);
        else
            CHECK_INT(a.family, 99);
    }
}

static struct address address(const char *text)
{
    struct address a;

    CHECK_INT(address_parse(text, &a), 0);
    return a;
}

TEST(an_address_that_is_mapped_is_the_same_as_the_one_within)
{
    static const char *const texts[][2] = {{"::ffff:10.0.0.1", "10.0.0.1"},
                                           {"::fffe:10.0.0.1", "::fffe:a00:1"},
                                           {"::1", "::1"},
                                           {"10.0.0.1", "10.0.0.1"}};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char text[ADDRESS_TEXT_MAX];
        struct address a;

        CHECK_INT(address_parse(texts[i][0], &a), 0);
        a = address_unmapped(&a);
        CHECK_STR(address_text(&a, text), texts[i][1]);
    }
}

TEST(addresses_are_ordered_by_family_and_bytes)
{
    static const char *const sorted[] = {"9.0.0.1", "10.0.0.1", "10.0.0.2", "::1", "fd00::1", "fd00::1:0"};

    for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
        for (size_t k = 0; k < ARRAY_LEN(sorted); k++) {
            struct address a = address(sorted[i]), b = address(sorted[k]);
            int order = address_compare(&a, &b);

            CHECK((order < 0) == (i < k) && (order > 0) == (i > k));
        }
}

TEST(endpoints_are_refused_where_a_service_could_reach_the_gateway_itself)
{
    static const struct {
        const char *text;
        bool allowed;
    } cases[] = {
        {"10.0.0.1", true},
        {"8.8.8.8", true},
        {"128.0.0.1", true},
        {"126.255.255.255", true},
        {"127.0.0.1", false},
        {"127.255.255.255", false},
        {"0.0.0.0", false},
        {"0.1.2.3", false},
        {"169.254.0.1", false},
        {"169.253.0.1", true},
        {"224.0.0.1", false},
        {"239.255.255.255", false},
        {"223.255.255.255", true},
        {"255.255.255.255", false},
        {"::", false},
        {"::1", false},
        {"::2", true},
        {"fe80::1", false},
        {"febf::1", false},
        {"fec0::1", true},
        {"ff02::1", false},
        {"fd00::1", true},
        {"::ffff:127.0.0.1", false},
        {"::ffff:169.254.1.1", false},
        {"::ffff:10.0.0.1", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address a = address(cases[i].text);

        if (endpoint_address_allowed(&a, NULL) != cases[i].allowed)
            test_fail(__FILE__, __LINE__, "%s", cases[i].text);
    }
}

TEST(allowed_networks_open_just_themselves)
{
    struct network_list *l;
    struct err e = {0};
    static const struct {
        const char *text;
        bool allowed;
    } cases[] = {{"127.0.8.1", true},        {"127.0.9.1", false},  {"::1", true},
                 {"::ffff:127.0.8.7", true}, {"fe80::1:5", true},   {"fe80::2:5", false},
                 {"10.1.2.3", true},         {"169.254.7.7", true}, {"169.254.7.8", false}};

    CHECK_INT(network_list_parse("127.0.8.0/24, ::1/128 fe80::1:0/112,169.254.7.7", &l, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address a = address(cases[i].text);

        if (endpoint_address_allowed(&a, l) != cases[i].allowed)
            test_fail(__FILE__, __LINE__, "%s", cases[i].text);
    }
    network_list_free(l);
    CHECK_INT(network_list_parse("0.0.0.0/0", &l, &e), 0);
    CHECK(endpoint_address_allowed(&(struct address){{127, 0, 0, 1}, AF_INET}, l));
    network_list_free(l);
    CHECK_INT(network_list_parse("", &l, &e), 0);
    CHECK(!endpoint_address_allowed(&(struct address){{127, 0, 0, 1}, AF_INET}, l));
    network_list_free(l);
    network_list_free(NULL);
}

TEST(a_network_that_is_none_is_named)
{
    static const char *const bad[] = {"127.0.0.0/33", "127.0.0.1/8",  "::1/129",  "127.0.0.0/",   "127.0.0.0/x",
                                      "localhost",    "127.0.0.0/-1", "fe80::/8", "10.0.0.0/8/8", "10.0.0.0/+8"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct network_list *l = NULL;
        struct err e = {0};
        char *text = mem_printf("10.0.0.0/8,%s", bad[i]);

        CHECK_INT(network_list_parse(text, &l, &e), -EINVAL);
        CHECK(!l && strstr(e.text, bad[i]));
        mem_free(text);
    }
}

TEST(a_namespace_is_the_first_of_three_parts)
{
    static const struct {
        const char *path, *ns;
    } cases[] = {{"web1", "root"}, {"sec/a", "root"}, {"test/svc/web1", "test"}, {"test/svc/0.web1", "test"}};
    char small[3], buf[64];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        object_namespace(cases[i].path, buf, sizeof(buf));
        CHECK_STR(buf, cases[i].ns);
    }
    object_namespace("test/svc/web1", small, sizeof(small));
    CHECK_STR(small, "te");
}

/* ---- host names ---- */

#define LABEL "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"

TEST(server_names_are_hosts_and_whole_label_wildcards)
{
    static const struct {
        const char *text, *name;
    } cases[] = {
        {"sni.acme.org", "sni.acme.org"},
        {"SNI.Acme.ORG", "sni.acme.org"},
        {"*.Acme.org", "*.acme.org"},
        {"localhost", "localhost"},
        {"_x.acme.org", "_x.acme.org"},
        {"xn--rksmrgs-5wao1o.se", "xn--rksmrgs-5wao1o.se"},
        {LABEL ".org", LABEL ".org"},
        {LABEL "x.org", NULL},
        {LABEL "." LABEL "." LABEL "." LABEL, NULL},
        {"", NULL},
        {"*", NULL},
        {"*.", NULL},
        {"foo.*", NULL},
        {"*-x.foo", NULL},
        {"a.*.org", NULL},
        {"a..org", NULL},
        {".org", NULL},
        {"a.org.", NULL},
        {"a b.org", NULL},
        {"a.org:443", NULL},
        {"räksmörgås.se", NULL},
        {"[::1]", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new();
        const char *name = NULL;
        struct err e = {0};

        CHECK_INT(hostname_server_name(cases[i].text, arena, &name, &e), cases[i].name ? 0 : -EINVAL);
        CHECK_STR(name, cases[i].name);
        CHECK(cases[i].name || e.text[0]);
        arena_free(arena);
    }
}

TEST(domains_are_what_envoy_matches_hosts_with)
{
    static const struct {
        const char *text, *domain;
        bool port, sni;
    } cases[] = {
        {"Alt.Acme.org", "alt.acme.org", false, true},
        {"*.acme.org", "*.acme.org", false, true},
        {"*-x.acme.org", "*-x.acme.org", false, false},
        {"acme.*", "acme.*", false, false},
        {"acme-*", "acme-*", false, false},
        {"*", "*", false, false},
        {"acme.org:8080", "acme.org", true, true},
        {"*:80", "*", true, false},
        {"10.0.0.1", "10.0.0.1", false, false},
        {"10.0.0.1:80", "10.0.0.1", true, false},
        {"[FD00::1]", "[fd00::1]", false, false},
        {"[fd00::1]:80", "[fd00::1]", true, false},
        {"web1", "web1", false, true},
        {"", NULL, false, false},
        {"**", NULL, false, false},
        {"*acme.org", NULL, false, false},
        {"a.*.org", NULL, false, false},
        {"*.acme.*", NULL, false, false},
        {"acme*", NULL, false, false},
        {"fd00::1", NULL, false, false},
        {"[fd00::1", NULL, false, false},
        {"[10.0.0.1]", NULL, false, false},
        {"acme.org:", NULL, false, false},
        {"acme.org:http", NULL, false, false},
        {":80", NULL, false, false},
        {"http://acme.org", NULL, false, false},
        {"acme.org/x", NULL, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new();
        const char *domain = NULL;
        bool port = false;
        struct err e = {0};

        CHECK_INT(hostname_domain(cases[i].text, arena, &domain, &port, &e), cases[i].domain ? 0 : -EINVAL);
        CHECK_STR(domain, cases[i].domain);
        CHECK_INT(port, cases[i].port);
        if (domain)
            CHECK_INT(hostname_fits_sni(domain), cases[i].sni);
        arena_free(arena);
    }
}
