/* Clusters and assignments of exposures made by hand; what they hold in all is seen end to end. */
#include "proto/cluster.h"
#include "tests/unit/test.h"

#include <envoy/config/endpoint/v3/endpoint.pb-c.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct exposure exposure_of(const char *name)
{
    return (struct exposure){.name = name, .path = "test/svc/web", .rid = "expose#0", .valid = true, .port = 80};
}

static struct endpoint endpoint_of(const char *address, uint16_t port, bool up)
{
    struct endpoint p = {.port = port, .up = up};

    CHECK_INT(address_parse(address, &p.address), 0);
    return p;
}

static struct resource *assignment_of(const struct service_exposure *sx)
{
    struct resource *r;
    struct err e = {0};

    if (assignment_make(sx, &r, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", e.field, e.text);
    return r;
}

TEST(an_assignment_is_read_as_it_was_meant_whatever_its_size)
{
    static const size_t counts[] = {0, 1, 2, 3, 10, 100, SERVICE_ENDPOINTS_MAX};
    struct exposure x = exposure_of("test/svc/web.expose#0");

    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct endpoint *endpoints = mem_array(struct endpoint, counts[i]);
        struct service_exposure sx = {.x = &x, .endpoints = endpoints, .n_endpoints = counts[i]};
        size_t n;

        for (size_t k = 0; k < counts[i]; k++) {
            char text[ADDRESS_TEXT_MAX];

            (void)snprintf(text, sizeof(text), k % 2 ? "2001:db8::%zx" : "10.1.%zu.1", k % 2 ? k : k % 256);
            endpoints[k] = endpoint_of(text, (uint16_t)(1 + k), true);
        }
        _cleanup_(resource_unref_p) struct resource *r = assignment_of(&sx);
        const uint8_t *message = resource_message(r, &n);
        Envoy__Config__Endpoint__V3__ClusterLoadAssignment *m =
            envoy__config__endpoint__v3__cluster_load_assignment__unpack(NULL, n, message);
        CHECK(m);
        CHECK_STR(m->cluster_name, "test/svc/web.expose#0");
        CHECK_INT(m->n_endpoints, counts[i] > 0);
        CHECK_INT(m->n_endpoints ? m->endpoints[0]->n_lb_endpoints : 0, counts[i]);
        for (size_t k = 0; k < counts[i]; k++) {
            const Envoy__Config__Core__V3__SocketAddress *s =
                m->endpoints[0]->lb_endpoints[k]->endpoint->address->socket_address;
            char text[ADDRESS_TEXT_MAX];

            CHECK_STR(s->address, address_text(&endpoints[k].address, text));
            CHECK_INT(s->port_value, 1 + k);
        }
        /* And as protobuf itself writes it. */
        _cleanup_(mem_free_p) uint8_t *again = mem_alloc(n + 1);
        CHECK_INT(envoy__config__endpoint__v3__cluster_load_assignment__get_packed_size(m), n);
        envoy__config__endpoint__v3__cluster_load_assignment__pack(m, again);
        CHECK_MEM(message, n, again, n);
        envoy__config__endpoint__v3__cluster_load_assignment__free_unpacked(m, NULL);
        mem_free(endpoints);
    }
}

TEST(only_what_is_up_and_allowed_is_in_an_assignment)
{
    struct exposure x = exposure_of("test/svc/web.expose#0");
    struct endpoint endpoints[] = {endpoint_of("10.0.0.1", 80, false), endpoint_of("10.0.0.2", 80, true),
                                   endpoint_of("127.0.0.1", 80, true)};
    struct endpoint up = endpoint_of("10.0.0.2", 80, true);
    struct service_exposure all = {.x = &x, .endpoints = endpoints, .n_endpoints = 3};
    struct service_exposure one = {.x = &x, .endpoints = &up, .n_endpoints = 1};

    endpoints[2].refused = true;
    _cleanup_(resource_unref_p) struct resource *a = assignment_of(&all);
    _cleanup_(resource_unref_p) struct resource *b = assignment_of(&one);
    CHECK(a->version == b->version);
    CHECK(assignment_equal(&all, &one));
    endpoints[1].up = false;
    CHECK(!assignment_equal(&all, &one));
    CHECK(!assignment_equal(&one, &all));
    endpoints[1].up = true;
    endpoints[1].port = 81;
    CHECK(!assignment_equal(&all, &one));
}

TEST(a_cluster_without_a_name_is_refused_by_envoys_rules)
{
    struct exposure x = exposure_of("");
    const struct service_exposure sx = {.x = &x};
    const struct gateway gateway = {.name = "envoy"};
    struct resource *r = NULL;
    struct err e = {0};

    CHECK_INT(cluster_make(&sx, &gateway, &r, &e), -EINVAL);
    CHECK_STR(e.field, "name");
    CHECK(r == NULL);
}

TEST(a_cluster_that_stands_in_has_no_endpoints_and_passes_envoys_rules)
{
    struct exposure x = exposure_of("test/svc/web.expose#0");
    _cleanup_(resource_unref_p) struct resource *r = cluster_placeholder(&x);

    CHECK_INT(resource_check(r, NULL), 0);
    CHECK(!r->uses_eds);
    CHECK_STR(r->name, "test/svc/web.expose#0");
}
