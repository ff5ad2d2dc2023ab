/* The xDS server over real gRPC. */
#include "server/xds_server.h"

#include "base/buf.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_client.h"

#include <string.h>

enum { SOON_MS = 20000, NEVER_MS = 50 };

static const char *const all_gateways[] = {"envoy", "other"};

/* A server with some addresses, and one client. */
struct world {
    struct xds_server *server;
    struct xds_client *client;
};

static struct world *start(const char *address)
{
    struct world *w = mem_new(struct world);
    struct xds_address a = {.address = address, .gateways = all_gateways, .n_gateways = 1};
    struct xds_options o = {.addresses = &a, .n_addresses = 1, .default_gateway = "envoy"};
    struct xds_client_options c = {0};
    char *target = NULL;
    struct err e = {0};

    if (xds_server_start(&o, &w->server, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", e.object, e.text);
    if (strncmp(address, "unix:", 5) != 0)
        target = mem_printf("127.0.0.1:%d", xds_server_port(w->server, 0));
    c.target = target ? target : address;
    w->client = xds_client_new(&c);
    mem_free(target);
    return w;
}

static void stop(struct world *w)
{
    xds_client_free(w->client);
    xds_server_stop(w->server);
    mem_free(w);
}

static void publish(struct world *w, enum xds_type type, const char *name, const char *content)
{
    struct wire_batch *b = wire_batch_new();

    wire_batch_gateway(b, "envoy");
    wire_batch_change(b, "envoy", type, name,
                      content ? wire_resource_new(type, name, content, NULL, NULL, NULL) : NULL);
    xds_server_publish(w->server, wire_batch_finish(b, 1, true));
}

static void expect_content(const struct wire_response *r, const char *name, const char *content)
{
    const struct wire_resource *found = r ? wire_find(r, name) : NULL;
    char *text;

    if (!found)
        test_fail(__FILE__, __LINE__, "no resource %s", name);
    text = wire_content(found->bytes, found->len);
    CHECK_STR(text, content);
    mem_free(text);
}

TEST(a_resource_arrives_over_grpc_and_its_changes_follow)
{
    for (int variant = XDS_SOTW; variant <= XDS_DELTA; variant++) {
        enum xds_variant v = (enum xds_variant)variant;
        struct world *w = start("127.0.0.1:0");
        struct xds_call *k = xds_call_new(w->client, v == XDS_DELTA ? ADS_DELTA : ADS_SOTW);
        struct wire_response *r;

        publish(w, XDS_CLUSTER, "a", "one");
        CHECK(xds_call_send(k, v, &(struct wire_request){.type = XDS_CLUSTER, .node_id = "n"}));
        r = xds_call_receive(k, v, SOON_MS);
        expect_content(r, "a", "one");
        CHECK(xds_call_send(k, v,
                            &(struct wire_request){.type = XDS_CLUSTER, .nonce = r->nonce, .version = r->version}));
        wire_response_free(r);
        publish(w, XDS_CLUSTER, "a", "two");
        r = xds_call_receive(k, v, SOON_MS);
        expect_content(r, "a", "two");
        wire_response_free(r);
        xds_call_free(k);
        stop(w);
    }
}
