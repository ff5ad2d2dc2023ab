/* Resources: their bytes as both variants of xDS read them, their version, and their end. */
#include "proto/resource.h"
#include "proto/wire.h"
#include "tests/unit/test.h"

#include <envoy/config/route/v3/route.pb-c.h>
#include <envoy/service/discovery/v3/discovery.pb-c.h>
#include <stdio.h>
#include <string.h>

static struct resource *make(const char *name, const char *message)
{
    return resource_new(XDS_CLUSTER, name, "owner", (const uint8_t *)message, strlen(message), NULL, 0, NULL, 0, NULL,
                        0);
}

static void version_text(const struct resource *r, char text[17])
{
    (void)snprintf(text, 17, "%016llx", (unsigned long long)r->version);
}

TEST(an_incremental_response_made_of_wire_bytes_holds_the_resource)
{
    static const size_t sizes[] = {0, 1, 100, 127, 128, 16383, 16384, 70000};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        _cleanup_(mem_free_p) uint8_t *message = mem_alloc(sizes[i] + 1);

        memset(message, 'x', sizes[i]);
        _cleanup_(resource_unref_p) struct resource *r = resource_new(
            XDS_ENDPOINT, "test/svc/web1.expose#0", "test/svc/web1", message, sizes[i], NULL, 0, NULL, 0, NULL, 0);
        Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *response =
            envoy__service__discovery__v3__delta_discovery_response__unpack(NULL, r->wire_len, r->wire);
        CHECK(response && response->n_resources == 1);
        const Envoy__Service__Discovery__V3__Resource *resource = response->resources[0];
        char version[17];

        version_text(r, version);
        CHECK_STR(resource->version, version);
        CHECK_STR(resource->name, "test/svc/web1.expose#0");
        CHECK_STR(resource->resource->type_url, xds_type_url[XDS_ENDPOINT]);
        CHECK_MEM(resource->resource->value.data, resource->resource->value.len, message, sizes[i]);
        envoy__service__discovery__v3__delta_discovery_response__free_unpacked(response, NULL);
    }
}

TEST(a_state_of_the_world_response_made_of_the_tail_holds_the_resource)
{
    _cleanup_(resource_unref_p) struct resource *r = make("a", "message");
    Envoy__Service__Discovery__V3__DiscoveryResponse *response =
        envoy__service__discovery__v3__discovery_response__unpack(NULL, r->wire_len - r->any_offset,
                                                                  r->wire + r->any_offset);

    CHECK(response && response->n_resources == 1);
    CHECK_STR(response->resources[0]->type_url, xds_type_url[XDS_CLUSTER]);
    CHECK_MEM(response->resources[0]->value.data, response->resources[0]->value.len, "message", 7);
    envoy__service__discovery__v3__discovery_response__free_unpacked(response, NULL);
    size_t n;
    const uint8_t *message = resource_message(r, &n);
    CHECK_MEM(message, n, "message", 7);
}

TEST(the_version_follows_from_the_bytes_alone)
{
    _cleanup_(resource_unref_p) struct resource *a = make("a", "one");
    _cleanup_(resource_unref_p) struct resource *same = make("a", "one");
    _cleanup_(resource_unref_p) struct resource *other = make("a", "two");
    _cleanup_(resource_unref_p) struct resource *type =
        resource_new(XDS_ROUTE, "a", "owner", (const uint8_t *)"one", 3, NULL, 0, NULL, 0, NULL, 0);

    CHECK(a->version == same->version);
    CHECK_MEM(a->wire, a->wire_len, same->wire, same->wire_len);
    CHECK(a->version != other->version);
    CHECK(a->version != type->version);
    CHECK(a->version != 0);
}

TEST(a_packed_message_gives_the_same_resource_as_its_bytes)
{
    Envoy__Config__Route__V3__RouteConfiguration message = ENVOY__CONFIG__ROUTE__V3__ROUTE_CONFIGURATION__INIT;
    char name[] = "0.0.0.0:80/tcp|http";
    uint8_t bytes[64];

    message.name = name;
    message.ignore_port_in_host_matching = 1;
    size_t n = protobuf_c_message_pack(&message.base, bytes);
    const struct resource_info info = {.type = XDS_ROUTE, .name = name, .owner = "l", .alone = true};
    _cleanup_(resource_unref_p) struct resource *packed = resource_pack(&info, &message.base);
    _cleanup_(resource_unref_p) struct resource *copied =
        resource_new(XDS_ROUTE, name, "l", bytes, n, NULL, 0, NULL, 0, NULL, 0);

    CHECK_MEM(packed->wire, packed->wire_len, copied->wire, copied->wire_len);
    CHECK(packed->version == copied->version);
    CHECK(packed->alone);
}

TEST(what_a_listener_refers_to_is_sorted_and_unique)
{
    static const char *const clusters[] = {"c", "a", "c", "b"};
    static const char *const routes[] = {"l|z", "l|a"};
    static const char *const secrets[] = {"s"};
    _cleanup_(resource_unref_p) struct resource *r =
        resource_new(XDS_LISTENER, "l", "l", NULL, 0, clusters, 4, routes, 2, secrets, 1);

    CHECK_INT(r->n_clusters, 3);
    CHECK_STR(r->clusters[0], "a");
    CHECK_STR(r->clusters[1], "b");
    CHECK_STR(r->clusters[2], "c");
    CHECK_INT(r->n_route_needs, 2);
    CHECK_STR(r->needs[0], "l|a");
    CHECK_STR(r->needs[1], "l|z");
    CHECK_INT(r->n_secret_needs, 1);
    CHECK_STR(r->needs[2], "s");
}

TEST(texts_are_copied)
{
    char name[] = "name", owner[] = "owner", cluster[] = "cluster";
    const char *clusters[] = {cluster};
    _cleanup_(resource_unref_p) struct resource *r =
        resource_new(XDS_LISTENER, name, owner, NULL, 0, clusters, 1, NULL, 0, NULL, 0);

    name[0] = owner[0] = cluster[0] = 'X';
    CHECK_STR(r->name, "name");
    CHECK_STR(r->owner, "owner");
    CHECK_STR(r->clusters[0], "cluster");
}

TEST(a_reference_keeps_it_and_a_batch_gives_its_own_back)
{
    struct resource *r = make("a", "message");
    struct arena *arena = arena_new();
    struct xds_batch *b = arena_new_of(arena, struct xds_batch);

    b->arena = arena;
    b->changes = arena_array(arena, struct xds_change, 2);
    b->n_changes = 2; /* the second: gone, without a resource */
    b->changes[0].after = resource_ref(r);
    xds_batch_free(b);
    CHECK_INT(r->refs, 1);
    resource_unref(r);
    resource_unref(NULL);
    xds_batch_free(NULL);
}

static void give_back_twice(void *arg)
{
    struct resource r = {0};

    (void)arg;
    resource_unref(&r);
}

TEST(a_reference_given_back_too_often_is_noticed)
{
    CHECK(test_aborts(give_back_twice, NULL));
}
