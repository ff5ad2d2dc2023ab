/* The xDS server over real gRPC. */
#include "server/xds_server.h"
#include "server/xds_status.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/certs.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { SOON_MS = 20000, NEVER_MS = 50, PATH_BYTES = 64 };
/* gRPC's status codes (grpc/status.h), as a client sees them. */
enum {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,
    STATUS_INVALID_ARGUMENT = 3,
    STATUS_PERMISSION_DENIED = 7,
    STATUS_RESOURCE_EXHAUSTED = 8,
    STATUS_UNIMPLEMENTED = 12,
    STATUS_UNAVAILABLE = 14,
};

static const char *const the_gateway[] = {"envoy"};
static const char *const both_gateways[] = {"envoy", "other"};

/* What the log says while a test listens to it. */
static struct buf logged;

static void take_line(const char *line, size_t len, void *arg)
{
    (void)arg;
    buf_append(&logged, line, len);
}

static void listen_to_log(void)
{
    buf_reset(&logged);
    log_set_sink(take_line, NULL);
}

/* A server with one address, and one connection to it. */
struct world {
    struct xds_server *server;
    struct xds_client *client;
    char *target;
};

static struct xds_client *connect_to(const char *target)
{
    return xds_client_new(&(struct xds_client_options){.target = target});
}

static struct world *start_with(const struct xds_options *o)
{
    struct world *w = mem_new(struct world);
    const char *address = o->addresses[0].address;
    struct err e = {0};

    if (xds_server_start(o, &w->server, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", e.object, e.text);
    w->target = strncmp(address, "unix:", 5) == 0 ? mem_strdup(address)
                                                  : mem_printf("127.0.0.1:%d", xds_server_port(w->server, 0));
    w->client = connect_to(w->target);
    return w;
}

static struct world *start(const char *address)
{
    struct xds_address a = {.address = address, .gateways = the_gateway, .n_gateways = 1};
    struct xds_options o = {.addresses = &a, .n_addresses = 1, .default_gateway = "envoy"};

    return start_with(&o);
}

static void stop(struct world *w)
{
    xds_client_free(w->client);
    xds_server_stop(w->server);
    mem_free(w->target);
    mem_free(w);
}

static void publish_to(struct world *w, const char *gateway, enum xds_type type, const char *name,
                       const char *content)
{
    struct wire_batch *b = wire_batch_new();

    wire_batch_gateway(b, "envoy");
    wire_batch_gateway(b, "other");
    wire_batch_put(b, gateway, type, name, content);
    xds_server_publish(w->server, wire_batch_finish(b, 1, true));
}

static void publish(struct world *w, enum xds_type type, const char *name, const char *content)
{
    publish_to(w, "envoy", type, name, content);
}

/* Takes the response. */
static void expect_content(struct wire_response *r, const char *name, const char *content)
{
    const struct wire_resource *found = r ? wire_find(r, name) : NULL;
    char *text;

    if (!found)
        test_fail(__FILE__, __LINE__, "no resource %s", name);
    text = wire_content(found->bytes, found->len);
    CHECK_STR(text, content);
    mem_free(text);
    wire_response_free(r);
}

/* One request, and the content of one resource in the answer. */
static void expect_served(struct xds_client *c, const char *path, enum xds_variant variant,
                          const struct wire_request *request, const char *name, const char *content)
{
    struct xds_call *k = xds_call_new(c, path);

    CHECK(xds_call_send(k, variant, request));
    expect_content(xds_call_receive(k, variant, SOON_MS), name, content);
    xds_call_free(k);
}

/* One request, and the status that the stream ends with. */
static void expect_status(struct xds_client *c, const char *path, enum xds_variant variant,
                          const struct wire_request *request, int status)
{
    struct xds_call *k = xds_call_new(c, path);

    (void)xds_call_send(k, variant, request); /* it may have been ended before */
    CHECK_INT(xds_call_status(k, SOON_MS), status);
    xds_call_free(k);
}

/* The status of one request, or STATUS_OK and the response. */
static int status_of(struct xds_client *c, const char *path, enum xds_variant variant,
                     const struct wire_request *request, struct wire_response **ret_response)
{
    struct xds_call *k = xds_call_new(c, path);
    int status = STATUS_OK;

    (void)xds_call_send(k, variant, request); /* it may have been ended before */
    *ret_response = xds_call_receive(k, variant, SOON_MS);
    if (!*ret_response)
        status = xds_call_status(k, SOON_MS);
    xds_call_free(k);
    return status;
}

static const struct wire_request ask_clusters = {.type = XDS_CLUSTER, .node_id = "n"};

TEST(a_resource_arrives_over_grpc_and_its_changes_follow)
{
    for (int variant = XDS_SOTW; variant <= XDS_DELTA; variant++) {
        enum xds_variant v = (enum xds_variant)variant;
        struct world *w = start("127.0.0.1:0");
        struct xds_call *k = xds_call_new(w->client, v == XDS_DELTA ? ADS_DELTA : ADS_SOTW);
        struct wire_response *r;

        publish(w, XDS_CLUSTER, "a", "one");
        CHECK(xds_call_send(k, v, &ask_clusters));
        r = xds_call_receive(k, v, SOON_MS);
        CHECK(r != NULL);
        CHECK(xds_call_send(k, v,
                            &(struct wire_request){.type = XDS_CLUSTER, .nonce = r->nonce, .version = r->version}));
        expect_content(r, "a", "one");
        publish(w, XDS_CLUSTER, "a", "two");
        expect_content(xds_call_receive(k, v, SOON_MS), "a", "two");
        xds_call_free(k);
        stop(w);
    }
}

/* ---- services ---- */

static const struct {
    const char *path;
    enum xds_type type;
    enum xds_variant variant;
} singles[] = {
    {"/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters", XDS_CLUSTER, XDS_SOTW},
    {"/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters", XDS_CLUSTER, XDS_DELTA},
    {"/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints", XDS_ENDPOINT, XDS_SOTW},
    {"/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints", XDS_ENDPOINT, XDS_DELTA},
    {"/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners", XDS_LISTENER, XDS_SOTW},
    {"/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners", XDS_LISTENER, XDS_DELTA},
    {"/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes", XDS_ROUTE, XDS_SOTW},
    {"/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes", XDS_ROUTE, XDS_DELTA},
    {"/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets", XDS_SECRET, XDS_SOTW},
    {"/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets", XDS_SECRET, XDS_DELTA},
};

TEST(each_single_service_serves_its_type_in_both_variants)
{
    static const char *const names[] = {"a", NULL};
    struct world *w = start("127.0.0.1:0");

    for (unsigned type = 0; type < XDS_TYPES; type++)
        publish(w, (enum xds_type)type, "a", xds_type_name[type]);
    for (size_t i = 0; i < ARRAY_LEN(singles); i++) {
        struct wire_request named = {.type = singles[i].type, .names = names, .node_id = "n"};
        struct wire_request untyped = {.type_url = "", .names = names, .node_id = "n"};

        expect_served(w->client, singles[i].path, singles[i].variant, &named, "a", xds_type_name[singles[i].type]);
        /* The type goes without saying there. */
        expect_served(w->client, singles[i].path, singles[i].variant, &untyped, "a", xds_type_name[singles[i].type]);
    }
    stop(w);
}

TEST(a_type_that_does_not_fit_a_single_service_is_an_invalid_argument)
{
    struct world *w = start("127.0.0.1:0");

    publish(w, XDS_CLUSTER, "a", "one");
    for (size_t i = 0; i < ARRAY_LEN(singles); i++) {
        struct wire_request wrong = {.type = singles[i].type == XDS_ROUTE ? XDS_CLUSTER : XDS_ROUTE, .node_id = "n"};
        struct wire_request unknown = {.type_url = "type.googleapis.com/x.Y", .node_id = "n"};

        expect_status(w->client, singles[i].path, singles[i].variant, &wrong, STATUS_INVALID_ARGUMENT);
        expect_status(w->client, singles[i].path, singles[i].variant, &unknown, STATUS_INVALID_ARGUMENT);
    }
    stop(w);
}

TEST(other_methods_are_unimplemented)
{
    static const char *const paths[] = {
        "/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters",
        "/envoy.service.discovery.v2.AggregatedDiscoveryService/StreamAggregatedResources",
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources2",
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime",
        "/x",
    };
    struct world *w = start("127.0.0.1:0");

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        expect_status(w->client, paths[i], XDS_SOTW, &ask_clusters, STATUS_UNIMPLEMENTED);
    stop(w);
}

TEST(an_unknown_type_gets_nothing_and_disturbs_nobody)
{
    struct world *w = start("127.0.0.1:0");
    struct xds_call *k = xds_call_new(w->client, ADS_DELTA);

    publish(w, XDS_CLUSTER, "a", "one");
    CHECK(xds_call_send(k, XDS_DELTA, &(struct wire_request){.type_url = "type.googleapis.com/x.Y", .node_id = "n"}));
    CHECK(xds_call_receive(k, XDS_DELTA, NEVER_MS) == NULL);
    CHECK_INT(xds_call_status(k, 0), -1);
    CHECK(xds_call_send(k, XDS_DELTA, &ask_clusters));
    expect_content(xds_call_receive(k, XDS_DELTA, SOON_MS), "a", "one");
    xds_call_free(k);
    stop(w);
}

TEST(what_is_no_request_ends_its_own_stream_only)
{
    struct world *w = start("127.0.0.1:0");
    struct xds_call *good = xds_call_new(w->client, ADS_SOTW), *bad = xds_call_new(w->client, ADS_SOTW);

    publish(w, XDS_CLUSTER, "a", "one");
    CHECK(xds_call_send_bytes(bad, (const uint8_t *)"\x1a\x7fno", 4));
    CHECK_INT(xds_call_status(bad, SOON_MS), STATUS_INVALID_ARGUMENT);
    CHECK(*xds_call_status_text(bad) != '\0');
    CHECK(xds_call_send(good, XDS_SOTW, &ask_clusters));
    expect_content(xds_call_receive(good, XDS_SOTW, SOON_MS), "a", "one");
    xds_call_free(good);
    xds_call_free(bad);
    stop(w);
}

TEST(a_request_past_the_limit_is_refused)
{
    struct world *w = start("127.0.0.1:0");
    struct xds_call *k = xds_call_new(w->client, ADS_SOTW);
    uint8_t *bytes = mem_alloc(XDS_REQUEST_MAX + 1);

    (void)xds_call_send_bytes(k, bytes, XDS_REQUEST_MAX + 1); /* the stream may end first */
    CHECK_INT(xds_call_status(k, SOON_MS), STATUS_RESOURCE_EXHAUSTED);
    mem_free(bytes);
    xds_call_free(k);
    stop(w);
}

TEST(ten_thousand_clusters_pass_in_one_response)
{
    enum { MANY = 10000, PADDING = 300 };
    struct world *w = start("127.0.0.1:0");
    struct wire_batch *b = wire_batch_new();
    struct xds_call *k = xds_call_new(w->client, ADS_SOTW);
    struct wire_response *r;
    char content[PADDING + 1];

    memset(content, 'x', PADDING);
    content[PADDING] = '\0';
    wire_batch_gateway(b, "envoy");
    for (int i = 0; i < MANY; i++) {
        char name[32];

        snprintf(name, sizeof(name), "cluster-%d", i);
        wire_batch_put(b, "envoy", XDS_CLUSTER, name, content);
    }
    xds_server_publish(w->server, wire_batch_finish(b, 1, true));
    CHECK(xds_call_send(k, XDS_SOTW, &ask_clusters));
    r = xds_call_receive(k, XDS_SOTW, SOON_MS);
    CHECK(r != NULL);
    CHECK_INT(r->n_resources, MANY);
    wire_response_free(r);
    xds_call_free(k);
    stop(w);
}

/* ---- who may have what ---- */

TEST(nothing_is_answered_before_the_first_complete_state_and_then_it_is)
{
    struct world *w = start("127.0.0.1:0");
    struct xds_call *k = xds_call_new(w->client, ADS_SOTW);
    struct wire_batch *b = wire_batch_new();

    CHECK(xds_call_send(k, XDS_SOTW, &ask_clusters));
    wire_batch_put(b, "envoy", XDS_CLUSTER, "a", "half");
    xds_server_publish(w->server, wire_batch_finish(b, 1, false));
    CHECK(xds_call_receive(k, XDS_SOTW, NEVER_MS) == NULL);
    publish(w, XDS_CLUSTER, "b", "whole");
    expect_content(xds_call_receive(k, XDS_SOTW, SOON_MS), "a", "half");
    xds_call_free(k);
    stop(w);
}

TEST(a_proxy_belongs_to_the_gateway_that_its_metadata_cluster_or_id_names)
{
    struct xds_address a = {.address = "127.0.0.1:0", .all = true};
    struct xds_options o = {.addresses = &a, .n_addresses = 1, .default_gateway = "envoy"};
    struct world *w = start_with(&o);
    struct wire_request by_metadata = {.type = XDS_CLUSTER, .node_gateway = "other", .node_cluster = "envoy"};
    struct wire_request by_cluster = {.type = XDS_CLUSTER, .node_cluster = "other", .node_id = "envoy"};
    struct wire_request by_id = {.type = XDS_CLUSTER, .node_cluster = "nobody's", .node_id = "other"};
    struct wire_request by_default = {.type = XDS_CLUSTER, .node_cluster = "nobody's", .node_id = "nobody's"};
    struct wire_request without_node = {.type = XDS_CLUSTER};

    publish_to(w, "envoy", XDS_CLUSTER, "a", "envoy's");
    publish_to(w, "other", XDS_CLUSTER, "a", "other's");
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &by_metadata, "a", "other's");
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &by_cluster, "a", "other's");
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &by_id, "a", "other's");
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &by_default, "a", "envoy's");
    expect_served(w->client, ADS_SOTW, XDS_SOTW, &without_node, "a", "envoy's");
    stop(w);
}

TEST(an_address_gives_its_own_gateways_only)
{
    struct world *w = start("127.0.0.1:0");
    struct wire_request other = {.type = XDS_CLUSTER, .node_gateway = "other"};
    struct wire_request nobodys = {.type = XDS_CLUSTER, .node_gateway = "does-not-exist"};
    struct wire_request by_cluster = {.type = XDS_CLUSTER, .node_cluster = "other"};

    publish_to(w, "other", XDS_CLUSTER, "a", "other's");
    expect_status(w->client, ADS_DELTA, XDS_DELTA, &other, STATUS_PERMISSION_DENIED);
    expect_status(w->client, ADS_SOTW, XDS_SOTW, &other, STATUS_PERMISSION_DENIED);
    expect_status(w->client, ADS_DELTA, XDS_DELTA, &by_cluster, STATUS_PERMISSION_DENIED);
    /* Whether it exists is nobody's business either. */
    expect_status(w->client, ADS_DELTA, XDS_DELTA, &nobodys, STATUS_PERMISSION_DENIED);
    stop(w);
}

TEST(a_proxy_of_an_unknown_gateway_waits_for_it_and_the_log_says_so)
{
    struct xds_address a = {.address = "127.0.0.1:0", .all = true};
    struct xds_options o = {.addresses = &a, .n_addresses = 1, .default_gateway = "envoy"};
    struct world *w = start_with(&o);
    struct xds_call *k = xds_call_new(w->client, ADS_SOTW);
    struct wire_batch *b;

    publish(w, XDS_CLUSTER, "a", "envoy's");
    expect_served(w->client, ADS_SOTW, XDS_SOTW, &ask_clusters, "a", "envoy's");
    listen_to_log();
    CHECK(xds_call_send(k, XDS_SOTW,
                        &(struct wire_request){.type = XDS_CLUSTER, .node_id = "me", .node_gateway = "later"}));
    CHECK(xds_call_receive(k, XDS_SOTW, NEVER_MS) == NULL);
    log_set_sink(NULL, NULL);
    CHECK(strstr(buf_cstr(&logged), "gateway=later") != NULL);
    CHECK(strstr(buf_cstr(&logged), "node=me") != NULL);
    b = wire_batch_new();
    wire_batch_gateway(b, "envoy");
    wire_batch_gateway(b, "later");
    wire_batch_put(b, "later", XDS_CLUSTER, "a", "here");
    xds_server_publish(w->server, wire_batch_finish(b, 2, true));
    expect_content(xds_call_receive(k, XDS_SOTW, SOON_MS), "a", "here");
    buf_clear(&logged);
    xds_call_free(k);
    stop(w);
}

static void expect_start_fails(const struct xds_address *a, int code, const char *word)
{
    struct xds_options o = {.addresses = a, .n_addresses = 1, .default_gateway = "envoy"};
    struct xds_server *s = NULL;
    struct err e = {0};

    CHECK_INT(xds_server_start(&o, &s, &e), code);
    CHECK(s == NULL);
    CHECK(strstr(e.object, a->address) != NULL || strstr(a->address, e.object) != NULL);
    if (!strstr(e.text, word))
        test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", e.text, word);
}

TEST(plaintext_stays_on_loopback)
{
    static const char *const addresses[] = {"0.0.0.0:0", "[::]:0", "192.0.2.1:0"};
    /* Names are not looked up: what they say could change. */
    static const char *const names[] = {"example.org:0", "127.0.0.1.nip.io:0", "localhost:0"};

    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        expect_start_fails(&(struct xds_address){.address = addresses[i], .all = true}, -EINVAL, "TLS");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        expect_start_fails(&(struct xds_address){.address = names[i], .all = true}, -EINVAL, "is expected");
    expect_start_fails(&(struct xds_address){.address = "127.0.0.1:0", .all = true, .key_file = "k"}, -EINVAL,
                       "certificate");
}

TEST(an_address_that_is_taken_is_an_error_that_names_it)
{
    struct world *w = start("127.0.0.1:0");

    expect_start_fails(&(struct xds_address){.address = w->target, .all = true}, -EADDRINUSE, "in use");
    stop(w);
}

/* ---- unix sockets ---- */

static void make_directory(char path[PATH_BYTES])
{
    const char *base = getenv("TMPDIR");

    snprintf(path, PATH_BYTES, "%.30s/xds-XXXXXX", base ? base : "/tmp");
    CHECK(mkdtemp(path) != NULL);
}

TEST(a_unix_socket_serves_and_is_closed_to_others)
{
    char directory[PATH_BYTES], made[PATH_BYTES + 8], address[PATH_BYTES + 32];
    struct stat st;
    struct world *w;

    make_directory(directory);
    snprintf(made, sizeof(made), "%s/run", directory);
    snprintf(address, sizeof(address), "unix:%s/xds.sock", made);
    w = start(address);
    CHECK_INT(stat(made, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0750);
    CHECK_INT(stat(address + 5, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0660);
    publish(w, XDS_CLUSTER, "a", "one");
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    /* It is not taken from a server that lives. */
    expect_start_fails(&(struct xds_address){.address = address, .all = true}, -EADDRINUSE, "somebody listens");
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    stop(w);
    CHECK(stat(address + 5, &st) < 0 && errno == ENOENT);
    CHECK_INT(rmdir(made), 0);
    CHECK_INT(rmdir(directory), 0);
}

TEST(a_socket_that_a_dead_server_left_is_replaced_and_anything_else_is_not)
{
    char directory[PATH_BYTES], address[PATH_BYTES + 32];
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct world *w;
    int fd;

    make_directory(directory);
    snprintf(address, sizeof(address), "unix:%s/xds.sock", directory);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", address + 5);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    CHECK_INT(bind(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd);
    w = start(address);
    publish(w, XDS_CLUSTER, "a", "one");
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    stop(w);
    fd = open(address + 5, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    close(fd);
    expect_start_fails(&(struct xds_address){.address = address, .all = true}, -EEXIST, "no socket");
    CHECK_INT(unlink(address + 5), 0);
    CHECK_INT(rmdir(directory), 0);
}

/* ---- TLS ---- */

struct tls {
    char directory[PATH_BYTES], certificate[PATH_BYTES + 16], key[PATH_BYTES + 16], ca[PATH_BYTES + 16];
    struct test_certificate *authority, *server, *other_authority;
};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    CHECK(f != NULL);
    CHECK(fputs(text, f) >= 0);
    CHECK_INT(fclose(f), 0);
}

static void write_server(const struct tls *t, const struct test_certificate *c)
{
    write_file(t->certificate, c->pem);
    write_file(t->key, c->key_pem);
}

static struct tls *make_tls(void)
{
    struct tls *t = mem_new(struct tls);

    make_directory(t->directory);
    snprintf(t->certificate, sizeof(t->certificate), "%s/cert.pem", t->directory);
    snprintf(t->key, sizeof(t->key), "%s/key.pem", t->directory);
    snprintf(t->ca, sizeof(t->ca), "%s/ca.pem", t->directory);
    t->authority = test_certificate_new(&(struct test_certificate_options){.common_name = "authority", .ca = true});
    t->other_authority =
        test_certificate_new(&(struct test_certificate_options){.common_name = "another", .ca = true});
    t->server = test_certificate_new(
        &(struct test_certificate_options){.common_name = "igw", .names = "DNS:igw.example", .issuer = t->authority});
    write_server(t, t->server);
    write_file(t->ca, t->authority->pem);
    return t;
}

static void free_tls(struct tls *t)
{
    unlink(t->certificate);
    unlink(t->key);
    unlink(t->ca);
    rmdir(t->directory);
    test_certificate_free(t->server);
    test_certificate_free(t->authority);
    test_certificate_free(t->other_authority);
    mem_free(t);
}

static struct world *start_tls(const struct tls *t)
{
    struct xds_address a = {.address = "127.0.0.1:0",
                            .gateways = both_gateways,
                            .n_gateways = 2,
                            .certificate_file = t->certificate,
                            .key_file = t->key,
                            .client_ca_file = t->ca};
    struct xds_options o = {.addresses = &a, .n_addresses = 1, .default_gateway = "envoy"};
    struct world *w = start_with(&o);

    publish_to(w, "envoy", XDS_CLUSTER, "a", "envoy's");
    publish_to(w, "other", XDS_CLUSTER, "a", "other's");
    return w;
}

/* The status of a request for a gateway's clusters; 0 when they came, -1 when there is no connection. */
static int try_tls(const struct world *w, const struct tls *t, const struct test_certificate *c, const char *gateway)
{
    struct xds_client_options o = {.target = w->target, .ca = t->authority->pem, .server_name = "igw.example"};
    struct xds_client *client;
    struct xds_call *k;
    struct wire_response *r;
    int status;

    if (c) {
        o.certificate = c->pem;
        o.key = c->key_pem;
    }
    client = xds_client_new(&o);
    k = xds_call_new(client, ADS_DELTA);
    (void)xds_call_send(k, XDS_DELTA, &(struct wire_request){.type = XDS_CLUSTER, .node_gateway = gateway});
    r = xds_call_receive(k, XDS_DELTA, SOON_MS);
    status = r ? STATUS_OK : xds_call_status(k, SOON_MS);
    wire_response_free(r);
    xds_call_free(k);
    xds_client_free(client);
    return status;
}

TEST(a_client_certificate_names_the_gateways_that_it_may_have)
{
    static const struct {
        const char *common_name, *names;
        int envoy, other;
    } cases[] = {
        {"whoever", "DNS:envoy", STATUS_OK, STATUS_PERMISSION_DENIED},
        {"whoever", "DNS:other,DNS:envoy", STATUS_OK, STATUS_OK},
        {"whoever", "URI:spiffe://cluster/gateway/other", STATUS_PERMISSION_DENIED, STATUS_OK},
        {"envoy", NULL, STATUS_OK, STATUS_PERMISSION_DENIED},
        /* With other names, the common name is none. */
        {"envoy", "DNS:other", STATUS_PERMISSION_DENIED, STATUS_OK},
        {"nobody", NULL, STATUS_PERMISSION_DENIED, STATUS_PERMISSION_DENIED},
    };
    struct tls *t = make_tls();
    struct world *w = start_tls(t);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct test_certificate *c = test_certificate_new(&(struct test_certificate_options){
            .common_name = cases[i].common_name, .names = cases[i].names, .issuer = t->authority});

        CHECK_INT(try_tls(w, t, c, "envoy"), cases[i].envoy);
        CHECK_INT(try_tls(w, t, c, "other"), cases[i].other);
        CHECK_INT(try_tls(w, t, c, "third"), STATUS_PERMISSION_DENIED);
        test_certificate_free(c);
    }
    stop(w);
    free_tls(t);
}

TEST(without_a_certificate_of_that_authority_there_is_no_connection)
{
    struct tls *t = make_tls();
    struct world *w = start_tls(t);
    struct test_certificate *c = test_certificate_new(
        &(struct test_certificate_options){.common_name = "envoy", .issuer = t->other_authority});

    CHECK_INT(try_tls(w, t, NULL, "envoy"), STATUS_UNAVAILABLE);
    CHECK_INT(try_tls(w, t, c, "envoy"), STATUS_UNAVAILABLE);
    /* Nor in plaintext. */
    expect_status(w->client, ADS_DELTA, XDS_DELTA, &ask_clusters, STATUS_UNAVAILABLE);
    test_certificate_free(c);
    stop(w);
    free_tls(t);
}

TEST(certificates_are_renewed_while_it_runs_and_bad_ones_are_not_taken)
{
    struct tls *t = make_tls();
    struct world *w = start_tls(t);
    struct test_certificate *client =
        test_certificate_new(&(struct test_certificate_options){.common_name = "envoy", .issuer = t->authority});
    struct test_certificate *renamed = test_certificate_new(&(struct test_certificate_options){
        .common_name = "igw", .names = "DNS:renamed.example", .issuer = t->authority});

    CHECK_INT(try_tls(w, t, client, "envoy"), STATUS_OK);
    /* What can't be read leaves what there was. */
    listen_to_log();
    write_file(t->key, "nothing of the kind");
    xds_server_reload(w->server);
    log_set_sink(NULL, NULL);
    CHECK(strstr(buf_cstr(&logged), "not renewed") != NULL);
    CHECK_INT(try_tls(w, t, client, "envoy"), STATUS_OK);
    write_server(t, renamed);
    xds_server_reload(w->server);
    CHECK_INT(try_tls(w, t, client, "envoy"), STATUS_UNAVAILABLE); /* it has another name now */
    write_server(t, t->server);
    xds_server_reload(w->server);
    CHECK_INT(try_tls(w, t, client, "envoy"), STATUS_OK);
    buf_clear(&logged);
    test_certificate_free(client);
    test_certificate_free(renamed);
    stop(w);
    free_tls(t);
}

TEST(a_certificate_file_that_is_missing_is_an_error_that_names_it)
{
    struct tls *t = make_tls();
    struct xds_address a = {.address = "127.0.0.1:0",
                            .all = true,
                            .certificate_file = "/nonexistent/cert.pem",
                            .key_file = t->key,
                            .client_ca_file = t->ca};
    struct xds_options o = {.addresses = &a, .n_addresses = 1};
    struct xds_server *s = NULL;
    struct err e = {0};

    CHECK_INT(xds_server_start(&o, &s, &e), -ENOENT);
    CHECK_STR(e.object, "/nonexistent/cert.pem");
    free_tls(t);
}

/* ---- streams that end in all ways ---- */

TEST(a_client_that_is_done_gets_ok)
{
    struct world *w = start("127.0.0.1:0");
    struct xds_call *k = xds_call_new(w->client, ADS_DELTA);

    publish(w, XDS_CLUSTER, "a", "one");
    CHECK(xds_call_send(k, XDS_DELTA, &ask_clusters));
    expect_content(xds_call_receive(k, XDS_DELTA, SOON_MS), "a", "one");
    xds_call_half_close(k);
    CHECK_INT(xds_call_status(k, SOON_MS), STATUS_OK);
    xds_call_free(k);
    stop(w);
}

TEST(a_thousand_streams_open_and_vanish_and_the_next_is_served)
{
    enum { ROUNDS = 10, STREAMS = 100 };
    struct world *w = start("127.0.0.1:0");

    publish(w, XDS_CLUSTER, "a", "one");
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct xds_client *c = connect_to(w->target);
        struct xds_call *calls[STREAMS];

        for (unsigned i = 0; i < STREAMS; i++) {
            calls[i] = xds_call_new(c, i % 2 ? ADS_DELTA : ADS_SOTW);
            /* Some say nothing, some ask, some read the answer, some are done; all are cancelled in the end. */
            if (i % 4 >= 1)
                CHECK(xds_call_send(calls[i], i % 2 ? XDS_DELTA : XDS_SOTW, &ask_clusters));
            if (i % 4 == 2)
                expect_content(xds_call_receive(calls[i], XDS_SOTW, SOON_MS), "a", "one");
            if (i % 8 == 3)
                xds_call_half_close(calls[i]);
        }
        publish(w, XDS_CLUSTER, "a", round % 2 ? "one" : "two");
        publish(w, XDS_CLUSTER, "a", "one");
        for (unsigned i = 0; i < STREAMS; i++)
            xds_call_free(calls[i]);
        xds_client_free(c);
    }
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    stop(w);
}

static int connect_raw(const struct world *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)xds_server_port(w->server, 0)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(fd >= 0);
    CHECK_INT(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

TEST(garbage_on_the_port_harms_nobody)
{
    static const char *const garbage[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n!!!!!!!!!!!!!!!!!!!!",
        "",
    };
    struct world *w = start("127.0.0.1:0");
    uint64_t random = 1;

    publish(w, XDS_CLUSTER, "a", "one");
    for (unsigned i = 0; i < 100; i++) {
        const char *text = garbage[i % ARRAY_LEN(garbage)];
        int fd = connect_raw(w);
        char noise[256];

        CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0);
        for (size_t k = 0; k < sizeof(noise); k++)
            noise[k] = (char)test_random(&random);
        if (send(fd, noise, sizeof(noise), MSG_NOSIGNAL) < 0)
            CHECK(errno == EPIPE || errno == ECONNRESET);
        close(fd);
    }
    expect_served(w->client, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    stop(w);
}

TEST(frequent_pings_are_good_manners)
{
    enum { PING_MS = 30, PINGS = 12 };
    struct world *w = start("127.0.0.1:0");
    struct xds_client_options o = {.target = w->target, .ping_ms = PING_MS};
    struct xds_client *c = xds_client_new(&o);
    struct xds_call *k = xds_call_new(c, ADS_DELTA);

    publish(w, XDS_CLUSTER, "a", "one");
    CHECK(xds_call_send(k, XDS_DELTA, &ask_clusters));
    expect_content(xds_call_receive(k, XDS_DELTA, SOON_MS), "a", "one");
    CHECK_INT(xds_call_status(k, PING_MS * PINGS), -1);
    publish(w, XDS_CLUSTER, "a", "two");
    expect_content(xds_call_receive(k, XDS_DELTA, SOON_MS), "a", "two");
    xds_call_free(k);
    xds_client_free(c);
    stop(w);
}

/* HTTP/2 (RFC 9113, 4.1). */
enum { FRAME_HEAD = 9, FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_SETTINGS = 4, FRAME_PING = 6, END_HEADERS = 4 };

static void put_frame(struct buf *b, uint8_t type, uint8_t flags, uint8_t stream, const void *payload, size_t n)
{
    const uint8_t head[FRAME_HEAD] = {
        (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags, 0, 0, 0, stream};

    buf_append(b, head, sizeof(head));
    buf_append(b, payload, n);
}

/* A message on the stream, as gRPC frames it. */
static void put_message(struct buf *b, uint8_t stream, const struct wire_request *request)
{
    size_t n;
    uint8_t *message = wire_pack(XDS_DELTA, request, &n);
    const uint8_t prefix[] = {0, 0, 0, (uint8_t)(n >> 8), (uint8_t)n};
    struct buf framed = {0};

    buf_append(&framed, prefix, sizeof(prefix));
    buf_append(&framed, message, n);
    put_frame(b, FRAME_DATA, 0, stream, framed.data, framed.len);
    buf_clear(&framed);
    mem_free(message);
}

static void read_all(int fd, uint8_t *p, size_t n)
{
    for (ssize_t r; n > 0; p += r, n -= (size_t)r) {
        r = read(fd, p, n);
        CHECK(r > 0);
    }
}

/* Reads frames up to one with data; how many pings of the server's own were among them. */
static unsigned pings_before_data(int fd)
{
    uint8_t head[FRAME_HEAD], payload[1 << 14];
    unsigned pings = 0;

    do {
        size_t n;

        read_all(fd, head, sizeof(head));
        n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        CHECK(n <= sizeof(payload));
        read_all(fd, payload, n);
        pings += head[3] == FRAME_PING && head[4] == 0;
    } while (head[3] != FRAME_DATA);
    return pings;
}

TEST(what_a_client_sends_is_not_measured_by_pings)
{
    /* HPACK (RFC 7541, 6): method and scheme are indexed; path, authority, content-type and te are literals. */
    static const char headers[] = "\x83\x86\x04\x4f" ADS_DELTA "\x01\x01x\x0f\x10\x10"
                                  "application/grpc"
                                  "\x00\x02te\x08trailers";
    struct timeval patience = {.tv_sec = SOON_MS / 1000};
    struct world *w = start("127.0.0.1:0");
    int fd = connect_raw(w);
    struct buf b = {0};

    static_assert(sizeof(ADS_DELTA) - 1 == 0x4f, "the path's length stands before it");
    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    publish(w, XDS_CLUSTER, "a", "one");
    buf_append(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(&b, FRAME_SETTINGS, 0, 0, NULL, 0);
    put_frame(&b, FRAME_HEADERS, END_HEADERS, 1, headers, sizeof(headers) - 1);
    put_message(&b, 1, &ask_clusters);
    CHECK_INT(send(fd, b.data, b.len, MSG_NOSIGNAL), b.len);
    CHECK_INT(pings_before_data(fd), 0);
    buf_clear(&b);
    close(fd);
    stop(w);
}

/* What the answers' version was when a rollout was told of. */
struct listener {
    const struct xds_status *status;
    uint64_t version;
    sem_t told;
};

static void on_told(void *arg, const char *kind, const char *name, enum event_change change)
{
    struct listener *l = arg;

    (void)name, (void)change; /* there is one */
    if (strcmp(kind, "Rollout") != 0)
        return;
    l->version = xds_status_version(l->status);
    sem_post(&l->told);
}

TEST(who_is_told_of_a_rollout_gets_no_answer_from_before_it)
{
    struct listener l = {.version = 0};
    struct xds_address a = {.address = "127.0.0.1:0", .all = true};
    struct xds_options o = {.addresses = &a, .n_addresses = 1, .tell = on_told, .arg = &l};
    struct world *w = start_with(&o);

    CHECK_INT(sem_init(&l.told, 0, 0), 0);
    l.status = xds_server_status(w->server);
    uint64_t before = xds_status_version(l.status);
    publish(w, XDS_CLUSTER, "a", "one"); /* nobody is to take it: it is complete at once */
    while (sem_wait(&l.told) < 0)
        CHECK_INT(errno, EINTR);
    CHECK(l.version > before);
    stop(w);
    sem_destroy(&l.told);
}

TEST(past_the_limit_of_streams_the_next_is_refused)
{
    struct xds_address a = {.address = "127.0.0.1:0", .all = true};
    struct xds_options o = {.addresses = &a, .n_addresses = 1, .default_gateway = "envoy", .max_streams = 2};
    struct world *w = start_with(&o);
    struct wire_response *r;
    struct xds_call *one = xds_call_new(w->client, ADS_DELTA), *two = xds_call_new(w->client, ADS_DELTA);
    struct xds_client *other = connect_to(w->target);

    publish(w, XDS_CLUSTER, "a", "one");
    CHECK(xds_call_send(one, XDS_DELTA, &ask_clusters));
    CHECK(xds_call_send(two, XDS_DELTA, &ask_clusters));
    expect_content(xds_call_receive(one, XDS_DELTA, SOON_MS), "a", "one");
    expect_content(xds_call_receive(two, XDS_DELTA, SOON_MS), "a", "one");
    expect_status(other, ADS_DELTA, XDS_DELTA, &ask_clusters, STATUS_RESOURCE_EXHAUSTED);
    /* The others go on, and there is room again when one ends. */
    xds_call_half_close(one);
    CHECK_INT(xds_call_status(one, SOON_MS), STATUS_OK);
    while (status_of(other, ADS_DELTA, XDS_DELTA, &ask_clusters, &r) == STATUS_RESOURCE_EXHAUSTED)
        ; /* the client knows of the end a moment before the server is done with it */
    expect_content(r, "a", "one");
    xds_call_free(one);
    xds_call_free(two);
    xds_client_free(other);
    stop(w);
}

/* ---- clients that do not read ---- */

static char *big_content(char first)
{
    enum { BYTES = 1 << 20 };
    char *text = mem_alloc(BYTES + 1);

    memset(text, 'x', BYTES);
    text[0] = first;
    return text;
}

TEST(a_client_that_does_not_read_gets_the_newest_state_once_and_slows_nobody)
{
    enum { CHANGES = 20 };
    struct world *w = start("127.0.0.1:0");
    struct xds_client *quick = connect_to(w->target);
    struct xds_call *lazy = xds_call_new(w->client, ADS_DELTA), *reader = xds_call_new(quick, ADS_DELTA);
    struct wire_response *r;
    unsigned n = 0;
    char last = 0;

    publish(w, XDS_CLUSTER, "small", "one");
    CHECK(xds_call_send(lazy, XDS_DELTA, &ask_clusters));
    CHECK(xds_call_send(reader, XDS_DELTA, &ask_clusters));
    expect_content(xds_call_receive(reader, XDS_DELTA, SOON_MS), "small", "one");
    for (unsigned i = 0; i < CHANGES; i++) {
        char *content = big_content((char)('a' + i));

        publish(w, XDS_CLUSTER, "big", content);
        /* The other one gets each of them at once. */
        expect_content(xds_call_receive(reader, XDS_DELTA, SOON_MS), "big", content);
        mem_free(content);
    }
    /* What could not be sent was not kept: only what was under way comes, then the newest form. */
    while (last != 'a' + CHANGES - 1) {
        const struct wire_resource *big;
        char *content;

        r = xds_call_receive(lazy, XDS_DELTA, SOON_MS);
        CHECK(r != NULL);
        big = wire_find(r, "big");
        content = big ? wire_content(big->bytes, big->len) : NULL;
        if (content) {
            CHECK(content[0] > last);
            last = content[0];
            n++;
        }
        mem_free(content);
        wire_response_free(r);
    }
    CHECK(n < CHANGES / 2);
    xds_call_free(lazy);
    xds_call_free(reader);
    xds_client_free(quick);
    stop(w);
}

/* ---- sockets that were passed in ---- */

/* A socket that listens there, as a supervisor opens it; its port in *ret_port. */
static int open_socket(const char *path, int *ret_port)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(four);
    int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    if (path) {
        snprintf(local.sun_path, sizeof(local.sun_path), "%s", path);
        CHECK_INT(bind(fd, (const struct sockaddr *)&local, sizeof(local)), 0);
    } else {
        CHECK_INT(bind(fd, (const struct sockaddr *)&four, sizeof(four)), 0);
        CHECK_INT(getsockname(fd, (struct sockaddr *)&four, &n), 0);
        *ret_port = ntohs(four.sin_port);
    }
    CHECK_INT(listen(fd, 16), 0);
    return fd;
}

static struct xds_server *start_passed(const char *address, int socket)
{
    struct xds_address a = {
        .address = address, .gateways = the_gateway, .n_gateways = 1, .socket = fcntl(socket, F_DUPFD_CLOEXEC, 3)};
    struct xds_options o = {.addresses = &a, .n_addresses = 1, .default_gateway = "envoy"};
    struct xds_server *s;
    struct err e = {0};

    if (xds_server_start(&o, &s, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", e.object, e.text);
    return s;
}

static void publish_one(struct xds_server *s, const char *content)
{
    publish(&(struct world){.server = s}, XDS_CLUSTER, "a", content);
}

TEST(on_a_socket_that_was_passed_in_nobody_is_refused_while_one_server_follows_the_other)
{
    char address[PATH_BYTES];
    struct xds_server *s;
    int port, fd = open_socket(NULL, &port);

    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    s = start_passed(address, fd);
    publish_one(s, "one");
    struct xds_client *c = connect_to(address);
    expect_served(c, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    xds_client_free(c);
    xds_server_stop(s);
    /* There is no server now: the connection stands, and the call waits for the next one. */
    c = connect_to(address);
    struct xds_call *k = xds_call_new(c, ADS_DELTA);
    CHECK(!xds_call_receive(k, XDS_DELTA, NEVER_MS));
    s = start_passed(address, fd);
    publish_one(s, "two");
    CHECK(xds_call_send(k, XDS_DELTA, &ask_clusters));
    expect_content(xds_call_receive(k, XDS_DELTA, SOON_MS), "a", "two");
    xds_call_free(k);
    xds_client_free(c);
    xds_server_stop(s);
    close(fd);
}

TEST(a_unix_socket_that_was_passed_in_keeps_its_file)
{
    char directory[PATH_BYTES], address[PATH_BYTES + 32];
    struct stat st;
    int port, fd;

    make_directory(directory);
    snprintf(address, sizeof(address), "unix:%s/xds.sock", directory);
    fd = open_socket(address + 5, &port);
    CHECK_INT(chmod(address + 5, 0600), 0);
    struct xds_server *s = start_passed(address, fd);
    publish_one(s, "one");
    struct xds_client *c = connect_to(address);
    expect_served(c, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    xds_client_free(c);
    xds_server_stop(s);
    CHECK_INT(stat(address + 5, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600); /* it is the supervisor's to say */
    close(fd);
    CHECK_INT(unlink(address + 5), 0);
    CHECK_INT(rmdir(directory), 0);
}

TEST(who_comes_over_a_socket_that_was_passed_in_is_known_by_the_address)
{
    char address[PATH_BYTES];
    int port, fd = open_socket(NULL, &port);

    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    listen_to_log();
    struct xds_server *s = start_passed(address, fd);
    publish_one(s, "one");
    struct xds_client *c = connect_to(address);
    struct xds_call *k = xds_call_new(c, ADS_DELTA);
    CHECK(xds_call_send_bytes(k, (const uint8_t *)"\xff\xff", 2)); /* no request */
    CHECK_INT(xds_call_status(k, SOON_MS), STATUS_INVALID_ARGUMENT);
    xds_call_free(k);
    xds_client_free(c);
    xds_server_stop(s);
    log_set_sink(NULL, NULL);
    CHECK(strstr(buf_cstr(&logged), "peer=ipv4:127.0.0.1:"));
    close(fd);
}

TEST(garbage_on_a_socket_that_was_passed_in_harms_nobody)
{
    enum { ATTEMPTS = 50 };
    char address[PATH_BYTES], byte;
    int port, fd = open_socket(NULL, &port);

    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    struct xds_server *s = start_passed(address, fd);
    publish_one(s, "one");
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        struct sockaddr_in to = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_INT(connect(guest, (const struct sockaddr *)&to, sizeof(to)), 0);
        CHECK_INT(send(guest, "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", 36, MSG_NOSIGNAL), 36);
        while (i % 2 && recv(guest, &byte, 1, 0) > 0) /* the others leave before the answer */
            ;
        close(guest);
    }
    struct xds_client *c = connect_to(address);
    expect_served(c, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    xds_client_free(c);
    xds_server_stop(s);
    close(fd);
}

static atomic_uint n_complaints;

static void count_complaints(const char *line, size_t len, void *arg)
{
    (void)arg;
    if (memmem(line, len, "no xDS connection can be accepted", 33))
        atomic_fetch_add(&n_complaints, 1);
}

TEST(without_a_descriptor_to_accept_with_the_server_waits_until_there_is_one)
{
    char address[PATH_BYTES];
    struct rlimit before, none;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int port, fd = open_socket(NULL, &port), guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    to.sin_port = htons((uint16_t)port);
    log_set_sink(count_complaints, NULL);
    struct xds_server *s = start_passed(address, fd);
    publish_one(s, "one");
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 2 /* that poll() may ask for */, .rlim_max = before.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_INT(connect(guest, (const struct sockaddr *)&to, sizeof(to)), 0); /* it waits in the queue */
    while (!atomic_load(&n_complaints))
        ;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    struct xds_client *c = connect_to(address);
    expect_served(c, ADS_DELTA, XDS_DELTA, &ask_clusters, "a", "one");
    xds_client_free(c);
    close(guest);
    xds_server_stop(s);
    log_set_sink(NULL, NULL);
    CHECK_INT(atomic_load(&n_complaints), 1);
    close(fd);
}

TEST(a_socket_that_was_passed_in_can_not_speak_tls)
{
    int port, fd = open_socket(NULL, &port);

    expect_start_fails(&(struct xds_address){.address = "127.0.0.1:1",
                                             .all = true,
                                             .socket = fcntl(fd, F_DUPFD_CLOEXEC, 3),
                                             .certificate_file = "c",
                                             .key_file = "k",
                                             .client_ca_file = "a"},
                       -EINVAL, "socket unit");
    close(fd);
}

/* ---- the watchdog ---- */

static pthread_mutex_t obstacle = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool at_obstacle;

static void on_nacked_blocked(void *arg, const struct xds_report *r)
{
    (void)arg, (void)r;
    atomic_store(&at_obstacle, true);
    pthread_mutex_lock(&obstacle);
    pthread_mutex_unlock(&obstacle);
}

static bool turns_soon(struct xds_server *s)
{
    clock_ns end = clock_now(NULL) + SOON_MS * (clock_ns)CLOCK_NS_PER_MS;

    while (clock_now(NULL) < end)
        if (xds_server_turned(s))
            return true;
    return false;
}

TEST(a_thread_that_stands_still_is_seen)
{
    struct xds_address a = {.address = "127.0.0.1:0", .gateways = the_gateway, .n_gateways = 1};
    struct xds_options o = {
        .addresses = &a, .n_addresses = 1, .default_gateway = "envoy", .nacked = on_nacked_blocked};
    struct world *w = start_with(&o);

    CHECK(xds_server_turned(w->server));
    CHECK(turns_soon(w->server));
    publish(w, XDS_CLUSTER, "a", "one");
    struct xds_call *k = xds_call_new(w->client, ADS_DELTA);
    CHECK(xds_call_send(k, XDS_DELTA, &ask_clusters));
    struct wire_response *r = xds_call_receive(k, XDS_DELTA, SOON_MS);
    CHECK(r);
    pthread_mutex_lock(&obstacle);
    CHECK(
        xds_call_send(k, XDS_DELTA, &(struct wire_request){.type = XDS_CLUSTER, .nonce = r->nonce, .refusal = "no"}));
    while (!atomic_load(&at_obstacle))
        ;
    /* From now on no question is answered. */
    (void)xds_server_turned(w->server);
    CHECK(!xds_call_receive(k, XDS_DELTA, NEVER_MS));
    CHECK(!xds_server_turned(w->server));
    pthread_mutex_unlock(&obstacle);
    CHECK(turns_soon(w->server));
    wire_response_free(r);
    xds_call_free(k);
    stop(w);
}

/* ---- the end ---- */

TEST(it_stops_within_two_seconds_and_says_so)
{
    enum { STREAMS = 20 };
    struct world *w = start("127.0.0.1:0");
    struct xds_call *calls[STREAMS];
    char *content = big_content('a');
    clock_ns before;

    publish(w, XDS_CLUSTER, "a", content);
    for (unsigned i = 0; i < STREAMS; i++) {
        calls[i] = xds_call_new(w->client, ADS_DELTA);
        CHECK(xds_call_send(calls[i], XDS_DELTA, &ask_clusters));
    }
    expect_content(xds_call_receive(calls[0], XDS_DELTA, SOON_MS), "a", content);
    before = clock_now(NULL);
    xds_server_stop(w->server);
    CHECK(clock_now(NULL) - before < 2 * CLOCK_NS_PER_S);
    CHECK_INT(xds_call_status(calls[0], SOON_MS), STATUS_UNAVAILABLE);
    for (unsigned i = 0; i < STREAMS; i++)
        xds_call_free(calls[i]);
    xds_client_free(w->client);
    mem_free(content);
    mem_free(w->target);
    mem_free(w);
}

TEST(a_server_that_never_served_stops_too)
{
    struct xds_address a = {.address = "127.0.0.1:0", .all = true};
    struct xds_options o = {.addresses = &a, .n_addresses = 1};
    struct xds_server *s;
    struct wire_batch *b = wire_batch_new();
    struct err e = {0};

    CHECK_INT(xds_server_start(&o, &s, &e), 0);
    wire_batch_gateway(b, "envoy");
    xds_server_publish(s, wire_batch_finish(b, 1, true));
    xds_server_stop(s);
}
