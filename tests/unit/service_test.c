/* Services: which addresses become endpoints, which form of an exposure is in effect, and what it all costs. */
#include "base/clock.h"
#include "tests/unit/model.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char *const both[] = {"expose#0", "expose#1", "80/tcp:8080"};

#define ADDRESS(node_name, rid_name, text, is_up)                                                                    \
    {                                                                                                                \
        .node = (node_name), .instance = "test/svc/web1", .rid = (rid_name), .address = (text), .up = (is_up),       \
        .state = (is_up) ? "up" : "down", .exposes = both, .n_exposes = ARRAY_LEN(both)                              \
    }

static struct service *make_from(struct declaration *d, const struct fact_address *addresses, size_t n,
                                 const struct network_list *allowed)
{
    struct exposure_state states[8] = {0};

    return service_new("test/svc/web1", d, NULL, states, addresses, n, NULL, allowed);
}

static struct service *make(const char *text, const struct fact_address *addresses, size_t n)
{
    struct declaration *d = model_declaration("test/svc/web1", text);
    struct service *s = make_from(d, addresses, n, NULL);

    declaration_unref(d);
    return s;
}

static void check_endpoint(const struct endpoint *e, const char *text, uint16_t port, bool up, const char *node)
{
    char buf[ADDRESS_TEXT_MAX];

    CHECK_STR(address_text(&e->address, buf), text);
    CHECK_INT(e->port, port);
    CHECK_INT(e->up, up);
    CHECK_STR(e->node, node);
}

TEST(an_address_is_an_endpoint_of_each_exposure_it_lists)
{
    const struct fact_address a[] = {ADDRESS("n1", "ip#1", "10.0.0.2", true),
                                     ADDRESS("n2", "ip#1", "10.0.0.1", false)};
    struct service *s = make("expose#0 {'port': 80}\nexpose#1 {'port': 443}\nexpose#2 {'port': 81}", a, ARRAY_LEN(a));

    CHECK_STR(s->path, "test/svc/web1");
    CHECK_INT(s->n_exposures, 3);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(s->exposures[i].n_endpoints, 2);
        CHECK_INT(s->exposures[i].n_up, 1);
        check_endpoint(&s->exposures[i].endpoints[0], "10.0.0.1", i ? 443 : 80, false, "n2");
        check_endpoint(&s->exposures[i].endpoints[1], "10.0.0.2", i ? 443 : 80, true, "n1");
        CHECK_STR(s->exposures[i].endpoints[1].rid, "ip#1");
        CHECK_STR(s->exposures[i].endpoints[1].state, "up");
        CHECK_STR(s->exposures[i].endpoints[1].instance, "test/svc/web1");
    }
    CHECK_INT(s->exposures[2].n_endpoints, 0);
    CHECK_INT(s->n_warnings, 0);
    service_unref(s);
}

TEST(one_address_is_one_endpoint_up_if_any_is)
{
    const struct fact_address a[] = {
        ADDRESS("n1", "ip#1", "10.0.0.1", false), ADDRESS("n1", "ip#2", "10.0.0.1", true),
        ADDRESS("n2", "ip#1", "10.0.0.1", true),  ADDRESS("n3", "ip#1", "10.0.0.2", false),
        ADDRESS("n4", "ip#1", "10.0.0.2", false),
    };
    struct service *s = make("expose#0 {'port': 80}", a, ARRAY_LEN(a));
    const struct service_exposure *x = &s->exposures[0];

    CHECK_INT(x->n_endpoints, 2);
    CHECK_INT(x->n_up, 1);
    check_endpoint(&x->endpoints[0], "10.0.0.1", 80, true, "n1");
    CHECK_STR(x->endpoints[0].rid, "ip#2");
    check_endpoint(&x->endpoints[1], "10.0.0.2", 80, false, "n3");
    service_unref(s);
}

TEST(endpoints_are_sorted_by_family_and_address)
{
    const struct fact_address a[] = {
        ADDRESS("n1", "ip#1", "fd00::1", true),
        ADDRESS("n1", "ip#2", "10.0.0.10", true),
        ADDRESS("n1", "ip#3", "10.0.0.9", true),
    };
    struct service *s = make("expose#0 {'port': 80}", a, ARRAY_LEN(a));

    check_endpoint(&s->exposures[0].endpoints[0], "10.0.0.9", 80, true, "n1");
    check_endpoint(&s->exposures[0].endpoints[1], "10.0.0.10", 80, true, "n1");
    check_endpoint(&s->exposures[0].endpoints[2], "fd00::1", 80, true, "n1");
    service_unref(s);
}

TEST(an_address_that_is_not_allocated_yet_is_no_endpoint_and_no_fault)
{
    const struct fact_address a[] = {ADDRESS("n1", "ip#1", "", false)};
    struct service *s = make("expose#0 {'port': 80}", a, ARRAY_LEN(a));

    CHECK_INT(s->exposures[0].n_endpoints, 0);
    CHECK_INT(s->n_warnings, 0);
    service_unref(s);
}

TEST(refused_and_unreadable_addresses_get_no_traffic_and_are_told)
{
    const struct fact_address a[] = {
        ADDRESS("n1", "ip#1", "127.0.0.1", true),
        ADDRESS("n2", "ip#1", "127.0.0.2", true),
        ADDRESS("n3", "ip#1", "10.0.0.1", true),
        ADDRESS("n4", "ip#1", "host.acme.org", true),
    };
    struct service *s = make("expose#0 {'port': 80}", a, ARRAY_LEN(a));
    const struct service_exposure *x = &s->exposures[0];

    CHECK_INT(x->n_endpoints, 3);
    CHECK_INT(x->n_up, 1);
    check_endpoint(&x->endpoints[0], "10.0.0.1", 80, true, "n3");
    CHECK(!x->endpoints[0].refused);
    check_endpoint(&x->endpoints[1], "127.0.0.1", 80, false, "n1");
    CHECK(x->endpoints[1].refused && x->endpoints[2].refused);
    CHECK_STR(x->endpoints[1].state, "up");
    CHECK_INT(s->n_warnings, 2);
    CHECK_STR(s->warnings[0].code, "warning");
    CHECK_STR(s->warnings[0].field, "expose#0");
    CHECK_STR(s->warnings[0].text,
              "1 addresses are none; the first: \"host.acme.org\" of ip#1 of test/svc/web1 on n4");
    CHECK_STR(s->warnings[1].text, "2 addresses get no traffic, as endpoint_networks does not allow them; the first: "
                                   "127.0.0.1 of ip#1 of test/svc/web1 on n1");
    service_unref(s);
}

TEST(allowed_networks_let_refused_addresses_in)
{
    const struct fact_address a[] = {ADDRESS("n1", "ip#1", "127.0.0.1", true)};
    struct declaration *d = model_declaration("test/svc/web1", "expose#0 {'port': 80}");
    struct network_list *l;
    struct service *s;

    CHECK_INT(network_list_parse("127.0.0.0/8", &l, NULL), 0);
    s = make_from(d, a, ARRAY_LEN(a), l);
    CHECK_INT(s->exposures[0].n_up, 1);
    CHECK(!s->exposures[0].endpoints[0].refused);
    CHECK_INT(s->n_warnings, 0);
    service_unref(s);
    network_list_free(l);
    declaration_unref(d);
}

TEST(endpoints_above_the_limit_are_left_out_and_told)
{
    enum { N = SERVICE_ENDPOINTS_MAX + 3 };
    struct fact_address *a = mem_array(struct fact_address, N);
    char(*texts)[16] = mem_calloc(N, sizeof(*texts));
    struct service *s;

    for (int i = 0; i < N; i++) {
        snprintf(texts[i], sizeof(texts[i]), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        a[i] = (struct fact_address)ADDRESS("n1", "ip#1", texts[i], true);
    }
    s = make("expose#0 {'port': 80}", a, N);
    CHECK_INT(s->exposures[0].n_endpoints, SERVICE_ENDPOINTS_MAX);
    CHECK_INT(s->n_warnings, 1);
    CHECK_STR(s->warnings[0].text, "3 addresses are left out: an exposure has at most 4096");
    service_unref(s);
    mem_free(a);
    mem_free(texts);
}

TEST(slaves_of_a_scaler_serve_the_scalers_exposure)
{
    struct fact_address a[] = {ADDRESS("n1", "ip#1", "10.0.0.1", true), ADDRESS("n1", "ip#1", "10.0.0.2", true)};
    struct service *s;

    a[0].instance = "test/svc/0.web1";
    a[1].instance = "test/svc/1.web1";
    s = make("expose#0 {'port': 80}", a, ARRAY_LEN(a));
    CHECK_STR(s->exposures[0].x->name, "test/svc/web1.expose#0");
    CHECK_STR(s->exposures[0].endpoints[0].instance, "test/svc/0.web1");
    CHECK_STR(s->exposures[0].endpoints[1].instance, "test/svc/1.web1");
    service_unref(s);
}

TEST(a_state_that_no_agent_is_known_for_is_shown_as_it_came)
{
    struct fact_address a[] = {ADDRESS("n1", "ip#1", "10.0.0.1", true)};
    struct service *s;

    a[0].state = "dancing";
    s = make("expose#0 {'port': 80}", a, ARRAY_LEN(a));
    CHECK_STR(s->exposures[0].endpoints[0].state, "dancing");
    service_unref(s);
}

TEST(nothing_of_the_facts_is_borrowed)
{
    char node[] = "n1", rid[] = "ip#1", text[] = "10.0.0.1", path[] = "test/svc/web1", state[] = "odd",
         why[] = "differ";
    char gateway[] = "edge", name[] = "a.org", code[] = "unready", field[] = "expose#0", reason[] = "no port";
    const struct name_since later = {name, 9};
    const struct problem hindrance = {code, field, reason};
    struct exposure_state state0 = {.gateway = gateway,
                                    .listener_port = 1029,
                                    .since = 7,
                                    .later = &later,
                                    .n_later = 1,
                                    .hindrance = &hindrance};
    struct fact_address a = ADDRESS(node, rid, text, true);
    struct declaration *d = model_declaration(path, "expose#0 {'port': 80, 'listener_port': 0}");
    struct service *s;
    char *const all[] = {node, rid, text, path, state, why, gateway, name, code, field, reason};

    a.instance = path;
    a.state = state;
    s = service_new(path, d, NULL, &state0, &a, 1, why, NULL);
    declaration_unref(d);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i][0] = '#';
    CHECK_STR(s->path, "test/svc/web1");
    CHECK_STR(s->disagreement, "differ");
    CHECK_STR(s->exposures[0].gateway, "edge");
    CHECK_INT(s->exposures[0].listener_port, 1029);
    CHECK_STR(s->exposures[0].hindrance->code, "unready");
    CHECK_STR(s->exposures[0].hindrance->field, "expose#0");
    CHECK_STR(s->exposures[0].hindrance->text, "no port");
    CHECK(!service_exposure_listens(&s->exposures[0]));
    CHECK_STR(s->exposures[0].endpoints[0].node, "n1");
    CHECK_STR(s->exposures[0].endpoints[0].instance, "test/svc/web1");
    CHECK_STR(s->exposures[0].endpoints[0].rid, "ip#1");
    CHECK_STR(s->exposures[0].endpoints[0].state, "odd");
    CHECK_INT(service_exposure_since(&s->exposures[0], "a.org"), 9);
    service_unref(s);
}

TEST(a_name_that_was_claimed_later_has_its_own_time)
{
    const struct name_since later[] = {{"a.org", 20}, {"c.org", 30}, {"d.org", 40}};
    const struct service_exposure sx = {.since = 10, .later = later, .n_later = ARRAY_LEN(later)};

    CHECK_INT(service_exposure_since(&sx, NULL), 10);
    CHECK_INT(service_exposure_since(&sx, "a.org"), 20);
    CHECK_INT(service_exposure_since(&sx, "b.org"), 10);
    CHECK_INT(service_exposure_since(&sx, "c.org"), 30);
    CHECK_INT(service_exposure_since(&sx, "d.org"), 40);
    CHECK_INT(service_exposure_since(&sx, "z.org"), 10);
}

/* ---- kept forms ---- */

TEST(an_exposure_keeps_the_form_that_is_held_for_it_and_no_other_does)
{
    struct declaration *good =
        model_declaration("web1", "expose#0 {'port': 80}\nexpose#1 {'port': 81}\nexpose#3 {'port': 83}");
    struct declaration *bad =
        model_declaration("web1", "expose#0 {'port': 8080, 'protocol': 'x'}\nexpose#1 {'port': 82}\nexpose#2 {}\n"
                                  "expose#3 {'port': 84}");
    const struct exposure_state states[] = {{.good = good}, {.good = NULL}, {.good = good}, {.good = good}};
    const struct fact_address a[] = {ADDRESS("n1", "ip#1", "10.0.0.1", true)};
    struct service *s = service_new("web1", bad, NULL, states, a, ARRAY_LEN(a), NULL, NULL);

    CHECK_INT(s->n_exposures, 4);
    CHECK(s->exposures[0].kept);
    CHECK(s->exposures[0].x == declaration_find(good, "expose#0"));
    CHECK(s->exposures[0].declared == declaration_find(bad, "expose#0"));
    CHECK(s->exposures[0].declaration == good);
    CHECK_INT(s->exposures[0].endpoints[0].port, 80);
    CHECK(!s->exposures[1].kept);
    CHECK(s->exposures[1].x == declaration_find(bad, "expose#1"));
    CHECK(s->exposures[1].declaration == bad);
    /* It never was good. */
    CHECK(!s->exposures[2].kept && !s->exposures[2].x->valid);
    /* Also a valid one: what it names was not read yet. */
    CHECK(s->exposures[3].kept && s->exposures[3].declared->valid);
    CHECK(s->exposures[3].x == declaration_find(good, "expose#3"));
    CHECK_INT(s->n_kept, 1);
    CHECK(s->kept[0] == good);
    /* The service holds what it needs. */
    declaration_unref(good);
    declaration_unref(bad);
    CHECK_STR(s->exposures[0].x->name, "web1.expose#0");
    CHECK_STR(s->exposures[0].declared->problems[0].field, "expose#0.protocol");
    service_unref(s);
}

TEST(kept_forms_may_stand_in_several_declarations)
{
    struct declaration *first = model_declaration("web1", "expose#0 {'port': 80}\nexpose#1 {}\nexpose#2 {'port': 1}");
    struct declaration *second = model_declaration("web1", "expose#0 {}\nexpose#1 {'port': 81}");
    struct declaration *bad = model_declaration("web1", "expose#0 {}\nexpose#1 {}\nexpose#2 {}");
    const struct exposure_state states[] = {{.good = first}, {.good = second}, {.good = first}};
    struct service *s = service_new("web1", bad, NULL, states, NULL, 0, NULL, NULL), *ref = service_ref(s);

    declaration_unref(first);
    declaration_unref(second);
    declaration_unref(bad);
    service_unref(s);
    CHECK_INT(ref->n_kept, 2);
    CHECK_INT(ref->exposures[0].x->port, 80);
    CHECK_INT(ref->exposures[1].x->port, 81);
    CHECK_INT(ref->exposures[2].x->port, 1);
    service_unref(ref);
    service_unref(NULL);
}

TEST(a_good_form_that_is_invalid_itself_is_not_kept)
{
    struct declaration *bad = model_declaration("web1", "expose#0 {}");
    const struct exposure_state states[] = {{.good = bad}};
    struct service *s = service_new("web1", bad, NULL, states, NULL, 0, NULL, NULL);

    CHECK(!s->exposures[0].kept && s->n_kept == 0);
    service_unref(s);
    declaration_unref(bad);
}

/* ---- cost ---- */

/* Ten nodes, as a service of a cluster has them. */
static struct service *typical(struct declaration *d, bool up)
{
    static const char *const exposes[] = {"expose#0"};
    static const char *const nodes[] = {"node01", "node02", "node03", "node04", "node05",
                                        "node06", "node07", "node08", "node09", "node10"};
    static const char *const texts[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5",
                                        "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.9", "10.0.0.10"};
    const struct exposure_state state = {.gateway = "envoy", .listener_port = 8080, .since = 1};
    struct fact_address a[ARRAY_LEN(nodes)];

    for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
        a[i] = (struct fact_address){.node = nodes[i],
                                     .instance = "test/svc/web1",
                                     .rid = "ip#1",
                                     .address = texts[i],
                                     .up = i > 0 || up,
                                     .state = i > 0 || up ? "up" : "down",
                                     .exposes = exposes,
                                     .n_exposes = 1};
    return service_new("test/svc/web1", d, NULL, &state, a, ARRAY_LEN(a), NULL, NULL);
}

TEST(an_endpoint_costs_less_than_a_hundred_bytes)
{
    struct declaration *d = model_declaration("test/svc/web1", "expose#0 {'port': 80, 'listener_port': 8080}");
    struct service *s = typical(d, true);

    CHECK_INT(s->exposures[0].n_up, 10);
    CHECK(arena_size(s->arena) / 10 < 100);
    service_unref(s);
    declaration_unref(d);
}

TEST(an_endpoint_that_flips_costs_microseconds)
{
    enum { ROUNDS = 2000, LIMIT_US = 100 /* ten times what it takes, for a loaded machine with sanitizers */ };
    struct declaration *d = model_declaration("test/svc/web1", "expose#0 {'port': 80, 'listener_port': 8080}");
    clock_ns best = INT64_MAX;

    for (int i = 0; i < ROUNDS; i++) {
        clock_ns start = clock_now(NULL), took;
        struct service *s = typical(d, i % 2);

        took = clock_now(NULL) - start;
        best = took < best ? took : best;
        CHECK_INT(s->exposures[0].n_up, i % 2 ? 10 : 9);
        CHECK(s->declaration == d);
        service_unref(s);
    }
    CHECK(best < LIMIT_US * INT64_C(1000));
    declaration_unref(d);
}
