/* Passed-through JSON: what it may say, and what it may not reach. */
#include "base/buf.h"
#include "proto/envoy.h"
#include "proto/passthrough.h"
#include "tests/unit/quoted.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CLUSTER (&envoy__config__cluster__v3__cluster__descriptor)
#define HCM (&envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor)

static const struct gateway plain = {.name = "envoy"};

static int read_json(const char *text, const ProtobufCMessageDescriptor *type, bool allow, struct err *e)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    _cleanup_(mem_free_p) char *json = quoted(text);
    struct passthrough p;
    void *message;
    int r;

    const struct gateway gateway = {.allow_files = allow};
    r = passthrough_read(a, json, &gateway, GATEWAY_CLUSTER, type, &p, &message, e);
    if (r == 0)
        passthrough_clear(&p);
    return r;
}

TEST(without_json_there_is_a_message_with_its_defaults)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct passthrough p;
    pb_cluster *m;

    CHECK_INT(passthrough_read(a, NULL, &plain, GATEWAY_CLUSTER, CLUSTER, &p, &m, NULL), 0);
    CHECK_STR(m->name, "");
    CHECK(!passthrough_has(&p, "connect_timeout"));
    passthrough_clear(&p);
}

TEST(what_the_json_says_is_known_in_both_spellings_and_when_it_is_empty)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct passthrough p;
    pb_cluster *m;

    CHECK_INT(passthrough_read(a, "{\"connectTimeout\": \"3s\", \"health_checks\": [], \"lb_policy\": null}", &plain,
                               GATEWAY_CLUSTER, CLUSTER, &p, &m, NULL),
              0);
    CHECK_INT(m->connect_timeout->seconds, 3);
    CHECK(passthrough_has(&p, "connect_timeout"));
    CHECK(passthrough_has(&p, "health_checks"));
    CHECK(!passthrough_has(&p, "lb_policy")); /* null is what is not said */
    CHECK(!passthrough_has(&p, "circuit_breakers"));
    passthrough_clear(&p);
}

TEST(what_an_exposure_says_goes_over_what_its_gateway_says_field_by_field)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const struct gateway gateway = {
        .bases[GATEWAY_CLUSTER] = "{\"connectTimeout\":\"7s\",\"alt_stat_name\":\"gateway\",\"health_checks\":[],"
                                  "\"ring_hash_lb_config\":{\"minimum_ring_size\":8},\"lb_policy\":\"RANDOM\"}"};
    struct passthrough p;
    pb_cluster *m;

    CHECK_INT(passthrough_read(a,
                               "{\"connect_timeout\":\"3s\",\"maglev_lb_config\":{\"table_size\":11},"
                               "\"altStatName\":null}",
                               &gateway, GATEWAY_CLUSTER, CLUSTER, &p, &m, NULL),
              0);
    CHECK_INT(m->connect_timeout->seconds, 3);
    CHECK_STR(m->alt_stat_name, "");
    CHECK_INT(m->lb_config_case,
              PB_CLUSTER(CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG)); /* one of them excludes the other */
    CHECK_INT(m->lb_policy, PB_CLUSTER(CLUSTER__LB_POLICY__RANDOM));
    CHECK(passthrough_has(&p, "health_checks") && !passthrough_owns(&p, "health_checks"));
    CHECK(passthrough_owns(&p, "connect_timeout") && !passthrough_has(&p, "alt_stat_name"));
    passthrough_clear(&p);
    CHECK_INT(passthrough_read(a, NULL, &gateway, GATEWAY_CLUSTER, CLUSTER, &p, &m, NULL), 0);
    CHECK_INT(m->connect_timeout->seconds, 7);
    CHECK_STR(m->alt_stat_name, "gateway");
    passthrough_clear(&p);
}

TEST(a_gateway_may_say_what_it_does_not_allow_others_to_say)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    static const char log[] = "{\"access_log\":[{\"name\":\"l\"}]}";
    const struct gateway gateway = {.bases[GATEWAY_HTTP] = log};
    struct passthrough p;
    pb_hcm *m;

    CHECK_INT(passthrough_read(a, "{\"server_name\":\"x\"}", &gateway, GATEWAY_HTTP, HCM, &p, &m, NULL), 0);
    CHECK_INT(m->n_access_log, 1);
    passthrough_clear(&p);
    CHECK_INT(passthrough_read(a, log, &gateway, GATEWAY_HTTP, HCM, &p, &m, NULL), -EPERM);
}

#define ANY(type) "{'@type': 'type.googleapis.com/" type "'"
#define FILTER(config) "{'http_filters': [{'name': 'f', 'typed_config': " config "}]}"

TEST(what_it_may_not_reach_is_refused_with_its_path_unless_the_gateway_allows_it)
{
    static const struct {
        const char *json, *field;
        bool hcm;
    } cases[] = {
        {"{'health_checks': [{'timeout': '1s', 'event_log_path': '/log'}]}", "health_checks[0].event_log_path",
         false},
        {"{'healthChecks': [{'timeout': '1s', 'eventLogPath': '/log'}]}", "healthChecks[0].eventLogPath", false},
        {"{'lrs_server': {'ads': {}}}", "lrs_server", false},
        {"{'upstream_bind_config': {'source_address': {'address': '10.0.0.1', 'port_value': 1, "
         "'network_namespace_filepath': '/run/ns'}}}",
         "upstream_bind_config.source_address.network_namespace_filepath", false},
        {"{'load_assignment': {'cluster_name': 'x', 'endpoints': [{'lb_endpoints': [{'endpoint': {'address': "
         "{'pipe': {'path': '/run/agent.sock'}}}}]}]}}",
         "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe", false},
        {"{'transport_socket': {'name': 't', 'typed_config': " ANY(
             "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext") ", 'common_tls_context': "
                                                                             "{'tls_certificate_sds_secret_configs': "
                                                                             "[{'name': 'other'}]}}}}",
         "transport_socket.typed_config.common_tls_context.tls_certificate_sds_secret_configs[0]", false},
        {"{'transport_socket_matches': [{'name': 'm', 'transport_socket': {'name': 't', 'typed_config': " ANY(
             "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext") ", 'common_tls_context': "
                                                                             "{'tls_certificates': [{'private_key': "
                                                                             "{'environment_variable': "
                                                                             "'KEY'}}]}}}}]}",
         "transport_socket_matches[0].transport_socket.typed_config.common_tls_context.tls_certificates[0].private_"
         "key."
         "environment_variable",
         false},
        {"{'typed_extension_protocol_options': {'x': " ANY("xds.type.v3.TypedStruct") "}}}",
         "typed_extension_protocol_options[\"x\"]", false},
        {"{'typed_extension_protocol_options': {'x': " ANY("google.protobuf.Any") ", 'value': " ANY(
             "envoy.extensions.access_loggers.file.v3.FileAccessLog") ", 'path': '/log'}}}}",
         "typed_extension_protocol_options[\"x\"]", false},
        {"{'metadata': {'filter_metadata': {'x': {'y': ['%FILE_CONTENT(/etc/shadow)%']}}}}",
         "metadata.filter_metadata[\"x\"].y", false},
        {"{'access_log': [{'name': 'l'}]}", "access_log[0]", true},
        {"{'rds': {'route_config_name': 'r', 'config_source': {'ads': {}}}}", "rds.config_source", true},
        {FILTER(ANY("envoy.extensions.filters.http.lua.v3.Lua") ", 'inline_code': 'os.exit()'}"),
         "http_filters[0].typed_config", true},
        {FILTER(ANY("envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter") "}"),
         "http_filters[0].typed_config", true},
        {"{'http_filters': [{'name': 'f', 'config_discovery': {'config_source': {'ads': {}}, 'type_urls': ['x']}}]}",
         "http_filters[0].config_discovery", true},
        {"{'local_reply_config': {'body_format': {'text_format_source': {'filename': '/etc/shadow'}}}}",
         "local_reply_config.body_format.text_format_source.filename", true},
        {"{'local_reply_config': {'body_format': {'text_format_source': {'inline_string': '%ENVIRONMENT(KEY)%'}}}}",
         "local_reply_config.body_format.text_format_source.inline_string", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const ProtobufCMessageDescriptor *type = cases[i].hcm ? HCM : CLUSTER;
        struct err e = {0};

        CHECK_INT(read_json(cases[i].json, type, false, &e), -EPERM);
        CHECK_STR(e.field, cases[i].field);
        CHECK(strstr(e.text, "does not allow"));
        CHECK_INT(read_json(cases[i].json, type, true, &e), 0);
    }
}

TEST(what_is_usual_passes)
{
    static const struct {
        const char *json;
        bool hcm;
    } cases[] = {
        {"{}", false},
        {"{'@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', 'name': 'x'}", false},
        {"{'outlier_detection': {}, 'lb_policy': null, 'ring_hash_lb_config': {'minimum_ring_size': '64'}}", false},
        {"{'health_checks': [{'timeout': '1s', 'interval': '1s', 'http_health_check': {'path': '/healthz'}}]}",
         false},
        {"{'transport_socket': {'name': 't', 'typed_config': " ANY(
             "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext") ", 'common_tls_context': "
                                                                             "{'validation_context': {'trusted_ca': "
                                                                             "{'inline_string': 'PEM'}}}}}}",
         false},
        {FILTER(ANY(
             "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz") ", 'http_service': {'server_uri': "
                                                                    "{'uri': 'http://a', 'cluster': "
                                                                    "'test/svc/authz.expose#0', 'timeout': '1s'}}}"),
         true},
        {"{'server_name': '100% gateway', 'access_log': []}", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};

        if (read_json(cases[i].json, cases[i].hcm ? HCM : CLUSTER, false, &e) < 0)
            test_fail(__FILE__, __LINE__, "%s: %s: %s", cases[i].json, e.field, e.text);
    }
}

TEST(what_is_no_message_of_the_type_is_invalid)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "null",
                                      "{'name': 1}",
                                      "{'nonsense': 1}",
                                      "{'@type': 'type.googleapis.com/x.Y'}",
                                      "{'@type': 3}",
                                      "{'name': 'a', 'name': 'b'}"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = {0};

        CHECK(read_json(bad[i], CLUSTER, true, &e) < 0);
        CHECK(e.code != -EPERM && e.text[0]);
    }
}

TEST(a_path_that_is_too_long_to_tell_is_cut)
{
    struct buf b;
    struct err e = {0};

    buf_init(&b, 0);
    buf_append_str(&b, "{'metadata': {'filter_metadata': {'");
    for (int i = 0; i < 1000; i++)
        buf_append_str(&b, "x");
    buf_append_str(&b, "': {'y': '%ENVIRONMENT(KEY)%'}}}}");
    CHECK_INT(read_json(buf_cstr(&b), CLUSTER, false, &e), -EPERM);
    CHECK(!strncmp(e.field, "metadata.filter_metadata[\"xxx", 29));
    buf_clear(&b);
}

/* ---- the schema ---- */

static bool refused(const struct schema_message *m, const struct schema_field *f)
{
    return passthrough_refused_message(schema_name(m)) ||
           passthrough_refused_field(schema_name(m), schema_text(f->name));
}

static bool names_a_file(const char *name)
{
    static const char *const parts[] = {"file", "path", "directory", "library"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strstr(name, parts[i]))
            return true;
    return false;
}

/* Paths of URLs, and messages that no cluster and no filter can hold. */
static bool is_harmless(const char *message, const char *field)
{
    static const char *const harmless[] = {
        "envoy.admin.", /* a name that ends in '.': all below it */
        "envoy.config.bootstrap.",
        "envoy.config.core.v3.HealthCheck.HttpHealthCheck.path",
        "envoy.config.route.v3.",
        "envoy.data.",
        "envoy.extensions.filters.http.ext_authz.v3.HttpService.path_prefix",
        "envoy.extensions.filters.http.mcp.v3.ParserConfig.AttributeExtractionRule.path",
        "envoy.extensions.filters.http.mcp_router.v3.McpRouter.McpCluster.path",
        "envoy.extensions.filters.http.oauth2.v3.CookieConfig.path",
        "envoy.extensions.filters.network.reverse_tunnel.v3.ReverseTunnel.request_path",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig.post_path",
        "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.UdpTunnelingConfig.post_path",
        "envoy.extensions.path.match.uri_template.v3.",
        "envoy.extensions.path.rewrite.uri_template.v3.",
        "envoy.extensions.resource_monitors.",
        "envoy.extensions.watchdog.",
        "envoy.service.",
        "envoy.type.http.v3.Cookie.path",
        "google.api.",
        "google.protobuf.FieldMask.paths",
    };
    char name[512];

    (void)snprintf(name, sizeof(name), "%s.%s", message, field);
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++) {
        size_t n = strlen(harmless[i]);

        if (harmless[i][n - 1] == '.' ? !strncmp(name, harmless[i], n) : !strcmp(name, harmless[i]))
            return true;
    }
    return false;
}

/* A newer schema brings new fields: one that looks like a file must be decided on. */
TEST(every_text_of_the_schema_that_may_name_a_file_is_decided_on)
{
    size_t seen = 0;

    for (size_t i = 0; i < schema_n_messages; i++) {
        const struct schema_message *m = &schema_messages[i];

        for (unsigned k = 0; k < m->n_fields; k++) {
            const struct schema_field *f = schema_field_at(m, k);
            const char *name = schema_text(f->name);

            if (f->type != SCHEMA_TYPE_STRING || !names_a_file(name))
                continue;
            seen++;
            if (!refused(m, f) && !is_harmless(schema_name(m), name))
                test_fail(__FILE__, __LINE__, "undecided: %s.%s", schema_name(m), name);
        }
    }
    CHECK(seen > 40);
}

TEST(what_runs_code_in_envoy_is_decided_on)
{
    static const char *const parts[] = {".lua.", ".wasm.", ".dynamic_modules.", ".golang.", ".tap."};
    size_t seen = 0;

    for (size_t i = 0; i < schema_n_messages; i++) {
        const char *name = schema_name(&schema_messages[i]);
        bool danger = false;

        for (size_t k = 0; k < ARRAY_LEN(parts); k++)
            danger |= strstr(name, parts[k]) != NULL;
        if (!danger || strstr(name, "stat_sinks") || !strncmp(name, "envoy.service.", 14) ||
            !strncmp(name, "envoy.data.", 11))
            continue; /* of bootstraps, and of other services */
        seen++;
        if (!passthrough_refused_message(name))
            test_fail(__FILE__, __LINE__, "undecided: %s", name);
    }
    CHECK(seen > 10);
}
