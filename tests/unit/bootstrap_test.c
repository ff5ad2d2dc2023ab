/* Envoy bootstraps; that a real Envoy takes them is seen end to end. */
#include "base/json.h"
#include "proto/protojson.h"
#include "proto/translate.h"
#include "proto/validate.h"
#include "tests/unit/test.h"

#include <string.h>

static json_t *make(const struct bootstrap_options *o)
{
    _cleanup_(mem_free_p) char *text = NULL;
    struct err e = {0};
    json_t *json;

    CHECK_INT(bootstrap_make(o, &text, &e), 0);
    CHECK_INT(json_parse(text, strlen(text), &json, NULL), 0);
    return json;
}

/* What stands at a path of keys and indices: "node.metadata.gateway", "clusters.0.name". */
static json_t *at(json_t *json, const char *path)
{
    _cleanup_(mem_free_p) char *copy = mem_strdup(path);
    char *rest = copy;

    for (const char *key; json && (key = strsep(&rest, "."));)
        json = json_is_array(json) ? json_array_get(json, (size_t)(key[0] - '0')) : json_object_get(json, key);
    return json;
}

static const char *text_at(json_t *json, const char *path)
{
    return json_string_value(at(json, path));
}

static void refused(const struct bootstrap_options *o, const char *field)
{
    char *text = NULL;
    struct err e = {0};

    CHECK(bootstrap_make(o, &text, &e) < 0);
    CHECK_STR(e.field, field);
    CHECK(e.text[0]);
    CHECK(text == NULL);
}

static const char address[] =
    "static_resources.clusters.0.load_assignment.endpoints.0.lb_endpoints.0.endpoint.address";

TEST(a_bootstrap_passes_envoys_own_rules)
{
    const struct bootstrap_options options[] = {
        {.gateway = "envoy", .xds = "127.0.0.1:50051"},
        {.gateway = "envoy", .xds = "unix:/run/igwd/xds.sock", .admin = "unix:/run/envoy.sock"},
        {.gateway = "edge", .xds = "igwd.example:443", .ca_file = "/ca", .certificate_file = "/c", .key_file = "/k"},
    };

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct schema_message *type = schema_find("envoy.config.bootstrap.v3.Bootstrap");
        json_t *json = make(&options[i]);
        struct buf wire;
        struct err e = {0};

        buf_init(&wire, 0);
        CHECK_INT(protojson_to_wire(json, type, &wire, &e), 0);
        CHECK_INT(validate_wire(wire.data, wire.len, type, &e), 0);
        buf_clear(&wire);
        json_decref(json);
    }
}

TEST(the_node_says_which_gateway_it_is_of)
{
    const struct bootstrap_options o = {
        .gateway = "edge", .node_id = "node1", .node_cluster = "c1", .xds = "127.0.0.1:1"};
    json_t *json = make(&o);

    CHECK_STR(text_at(json, "node.id"), "node1");
    CHECK_STR(text_at(json, "node.cluster"), "c1");
    CHECK_STR(text_at(json, "node.metadata.gateway"), "edge");
    json_decref(json);
}

TEST(everything_is_asked_for_on_one_stream_in_the_variant_wanted)
{
    struct bootstrap_options o = {.gateway = "envoy", .xds = "127.0.0.1:50051"};
    json_t *json = make(&o);

    CHECK_STR(text_at(json, "dynamic_resources.ads_config.api_type"), "DELTA_GRPC");
    CHECK_STR(text_at(json, "dynamic_resources.ads_config.transport_api_version"), "V3");
    CHECK_STR(text_at(json, "dynamic_resources.cds_config.resource_api_version"), "V3");
    CHECK(at(json, "dynamic_resources.lds_config.ads"));
    CHECK_STR(text_at(json, "static_resources.clusters.0.name"),
              text_at(json, "dynamic_resources.ads_config.grpc_services.0.envoy_grpc.cluster_name"));
    json_decref(json);
    o.state_of_the_world = true;
    json = make(&o);
    CHECK_STR(text_at(json, "dynamic_resources.ads_config.api_type"), "GRPC");
    json_decref(json);
}

TEST(igwd_is_reached_where_it_listens)
{
    static const struct {
        const char *xds, *host, *path, *type;
        int port;
    } cases[] = {
        {"127.0.0.1:50051", "127.0.0.1", NULL, "STATIC", 50051},
        {"0.0.0.0:50051", "127.0.0.1", NULL, "STATIC", 50051},
        {"[::]:50051", "::1", NULL, "STATIC", 50051},
        {"[2001:db8::1]:65535", "2001:db8::1", NULL, "STATIC", 65535},
        {"igwd.example:443", "igwd.example", NULL, "STRICT_DNS", 443},
        {"unix:/run/igwd/xds.sock", NULL, "/run/igwd/xds.sock", "STATIC", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct bootstrap_options o = {.gateway = "envoy", .xds = cases[i].xds};
        json_t *json = make(&o), *where = at(json, address);

        CHECK_STR(text_at(json, "static_resources.clusters.0.type"), cases[i].type);
        if (cases[i].path) {
            CHECK_STR(text_at(where, "pipe.path"), cases[i].path);
        } else {
            CHECK_STR(text_at(where, "socket_address.address"), cases[i].host);
            CHECK_INT(json_integer_value(at(where, "socket_address.port_value")), cases[i].port);
        }
        json_decref(json);
    }
}

TEST(envoys_admin_is_on_loopback_unless_told_otherwise)
{
    struct bootstrap_options o = {.gateway = "envoy", .xds = "127.0.0.1:50051"};
    json_t *json = make(&o);

    CHECK_STR(text_at(json, "admin.address.socket_address.address"), "127.0.0.1");
    CHECK_INT(json_integer_value(at(json, "admin.address.socket_address.port_value")), 9901);
    json_decref(json);
    o.admin = "unix:/run/admin.sock";
    json = make(&o);
    CHECK_STR(text_at(json, "admin.address.pipe.path"), "/run/admin.sock");
    json_decref(json);
}

TEST(the_connection_to_igwd_is_kept_alive_and_encrypted_where_files_are_given)
{
    struct bootstrap_options o = {.gateway = "envoy", .xds = "192.0.2.1:50051"};
    json_t *json = make(&o), *cluster = at(json, "static_resources.clusters.0");
    json_t *options = json_object_get(at(cluster, "typed_extension_protocol_options"),
                                      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions");

    CHECK(at(options, "explicit_http_config.http2_protocol_options.connection_keepalive.interval"));
    CHECK(at(cluster, "upstream_connection_options.tcp_keepalive"));
    CHECK(!at(cluster, "transport_socket"));
    json_decref(json);
    o.ca_file = "/etc/ca.pem";
    o.certificate_file = "/etc/cert.pem";
    o.key_file = "/etc/key.pem";
    json = make(&o);
    json_t *tls = at(json, "static_resources.clusters.0.transport_socket.typed_config.common_tls_context");
    CHECK_STR(text_at(tls, "validation_context.trusted_ca.filename"), "/etc/ca.pem");
    CHECK_STR(text_at(tls, "tls_certificates.0.certificate_chain.filename"), "/etc/cert.pem");
    CHECK_STR(text_at(tls, "tls_certificates.0.private_key.filename"), "/etc/key.pem");
    CHECK_STR(text_at(tls, "alpn_protocols.0"), "h2");
    json_decref(json);
}

TEST(the_certificate_of_igwd_must_bear_the_name_that_it_is_reached_by_or_the_one_that_is_given)
{
    static const struct {
        const char *xds, *tls_name, *type, *name, *sni;
    } cases[] = {
        {"192.0.2.1:50051", NULL, "IP_ADDRESS", "192.0.2.1", NULL},
        {"[2001:db8::1]:50051", NULL, "IP_ADDRESS", "2001:db8::1", NULL},
        {"igwd.example:50051", NULL, "DNS", "igwd.example", "igwd.example"},
        {"192.0.2.1:50051", "igwd.example", "DNS", "igwd.example", "igwd.example"},
        {"0.0.0.0:50051", "igwd.example", "DNS", "igwd.example", "igwd.example"},
        {"igwd.example:50051", "192.0.2.1", "IP_ADDRESS", "192.0.2.1", NULL},
        {"0.0.0.0:50051", NULL, NULL, NULL, NULL},
        {"[::]:50051", NULL, NULL, NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bootstrap_options o = {
            .gateway = "envoy", .xds = cases[i].xds, .ca_file = "/ca", .tls_name = cases[i].tls_name};
        json_t *json = make(&o);
        json_t *tls = at(json, "static_resources.clusters.0.transport_socket.typed_config");
        json_t *names = at(tls, "common_tls_context.validation_context.match_typed_subject_alt_names");

        CHECK_INT(json_array_size(names), cases[i].name != NULL);
        if (cases[i].name) {
            CHECK_STR(text_at(names, "0.san_type"), cases[i].type);
            CHECK_STR(text_at(names, "0.matcher.exact"), cases[i].name);
        }
        CHECK((at(tls, "sni") != NULL) == (cases[i].sni != NULL));
        if (cases[i].sni)
            CHECK_STR(text_at(tls, "sni"), cases[i].sni);
        json_decref(json);
    }
}

TEST(regexes_may_be_as_large_as_they_are_checked_for_and_connections_have_a_limit)
{
    const struct bootstrap_options o = {.gateway = "envoy", .xds = "127.0.0.1:50051"};
    json_t *json = make(&o), *layer = at(json, "layered_runtime.layers.0.static_layer");

    CHECK_INT(json_integer_value(json_object_get(layer, "re2.max_program_size.error_level")), SERVICE_REGEX_SIZE_MAX);
    CHECK(json_integer_value(at(json, "overload_manager.resource_monitors.0.typed_config."
                                      "max_active_downstream_connections")) > 0);
    json_decref(json);
}

TEST(a_wrong_option_is_named)
{
    static const char *const bad[] = {
        "",          "127.0.0.1",   "127.0.0.1:",       "127.0.0.1:0", "127.0.0.1:65536",
        "::1:50051", ":50051",      "127.0.0.1:50051x", "unix:",       "[name]:1",
        "[]:1",      "127.0.0.1:-1"};
    struct bootstrap_options o = {.gateway = "envoy"};

    refused(&o, "xds");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        o.xds = bad[i];
        refused(&o, "xds");
    }
    o.xds = "127.0.0.1:50051";
    o.admin = "somewhere:80";
    refused(&o, "admin");
    o.admin = NULL;
    o.key_file = "/key";
    refused(&o, "certificate_file");
    o.key_file = NULL;
    o.certificate_file = "/cert";
    refused(&o, "key_file");
    o.certificate_file = NULL;
    o.gateway = "";
    refused(&o, "gateway");
    o.gateway = "\xff";
    refused(&o, "");
}

TEST(the_same_options_give_the_same_bytes)
{
    const struct bootstrap_options o = {.gateway = "envoy", .xds = "127.0.0.1:50051"};
    _cleanup_(mem_free_p) char *a = NULL;
    _cleanup_(mem_free_p) char *b = NULL;

    CHECK_INT(bootstrap_make(&o, &a, NULL), 0);
    CHECK_INT(bootstrap_make(&o, &b, NULL), 0);
    CHECK_STR(a, b);
}
