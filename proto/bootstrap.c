/*
 * Envoy bootstraps, as JSON, which Envoy reads as it reads YAML (envoy/config/bootstrap/v3).
 *
 * Beside the way to igwd they bring what no xDS resource can: a limit on the connections of all listeners together,
 * RE2's limit on the size of regexes raised to what igwd checks them against, and keepalive on the connection to
 * igwd, without which an Envoy whose igwd lost its power would wait for the kernel.
 */
#include "base/json.h"
#include "base/socket_address.h"
#include "proto/translate.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { DOWNSTREAM_CONNECTIONS_MAX = 50000, HOST_MAX = 256 };

static const char xds_cluster[] = "igwd-xds";

/* An address as Envoy has it. */
struct place {
    char host[HOST_MAX];
    uint16_t port;
    const char *path; /* of a unix socket; else NULL */
    bool by_name;     /* host is to be resolved */
    bool any;         /* it stood for every address: nothing is known of its name */
};

static int bad_address(const char *option, const char *text, struct err *e)
{
    return err_set(e, -EINVAL, NULL, option, "\"%s\" is not ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH", text);
}

/* What listens on every address is reached on loopback. */
static void settle_host(struct place *p)
{
    static const uint8_t unspecified[16];
    struct address a;

    p->by_name = address_parse(p->host, &a) < 0;
    p->any = !p->by_name && memcmp(a.bytes, unspecified, sizeof(unspecified)) == 0;
    if (p->any && a.family == AF_INET)
        memcpy(p->host, "127.0.0.1", sizeof("127.0.0.1"));
    else if (p->any)
        memcpy(p->host, "::1", sizeof("::1"));
}

static int parse_place(const char *option, const char *text, struct place *ret, struct err *e)
{
    struct place p = {0};
    bool bracketed;

    if (!strncmp(text, "unix:", 5)) {
        if (!text[5] || strlen(text + 5) > SOCKET_PATH_MAX)
            return bad_address(option, text, e);
        *ret = (struct place){.path = text + 5};
        return 0;
    }
    if (host_port_split(text, p.host, sizeof(p.host), &bracketed, &p.port) || p.port == 0)
        return bad_address(option, text, e);
    settle_host(&p);
    if (bracketed != (strchr(p.host, ':') != NULL) || (p.by_name && bracketed))
        return bad_address(option, text, e);
    *ret = p;
    return 0;
}

/* json_pack() with a format that is constant here fails only for text that is not UTF-8, or without memory. */
static json_t *address_json(const struct place *p)
{
    if (p->path)
        return json_pack("{s{ss}}", "pipe", "path", p->path);
    return json_pack("{s{ss si}}", "socket_address", "address", p->host, "port_value", (int)p->port);
}

static json_t *source_json(void)
{
    return json_pack("{s{} ss}", "ads", "resource_api_version", "V3");
}

static json_t *dynamic_json(const struct bootstrap_options *o)
{
    json_t *retry = json_pack("{s{ss ss}}", "retry_back_off", "base_interval", "0.25s", "max_interval", "5s");
    json_t *service = json_pack("{s{ss so}}", "envoy_grpc", "cluster_name", xds_cluster, "retry_policy", retry);
    json_t *ads =
        json_pack("{ss ss sb s[o]}", "api_type", o->state_of_the_world ? "GRPC" : "DELTA_GRPC",
                  "transport_api_version", "V3", "set_node_on_first_message_only", 1, "grpc_services", service);

    return json_pack("{so so so}", "ads_config", ads, "cds_config", source_json(), "lds_config", source_json());
}

static json_t *file_json(const char *name)
{
    return json_pack("{ss}", "filename", name);
}

static bool is_address(const char *name)
{
    struct address address;

    return address_parse(name, &address) == 0;
}

/* The name that the certificate must bear; NULL: none is known. */
static const char *tls_name(const struct bootstrap_options *o, const struct place *xds)
{
    if (o->tls_name)
        return o->tls_name;
    return xds->path || xds->any ? NULL : xds->host;
}

/* An authority vouches for many: without a name, each of these could stand in for igwd. */
static json_t *validation_json(const struct bootstrap_options *o, const char *name)
{
    json_t *json = json_pack("{so}", "trusted_ca", file_json(o->ca_file));

    if (name)
        json_object_set_new(
            json, "match_typed_subject_alt_names",
            json_pack("[{ss s{ss}}]", "san_type", is_address(name) ? "IP_ADDRESS" : "DNS", "matcher", "exact", name));
    return json;
}

static json_t *transport_json(const struct bootstrap_options *o, const struct place *xds)
{
    json_t *common =
        json_pack("{s[s] s{ss}}", "alpn_protocols", "h2", "tls_params", "tls_minimum_protocol_version", "TLSv1_2");
    json_t *context = json_pack("{ss so}", "@type",
                                "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                                "common_tls_context", common);

    const char *name = tls_name(o, xds);

    if (o->ca_file)
        json_object_set_new(common, "validation_context", validation_json(o, name));
    if (o->certificate_file)
        json_object_set_new(common, "tls_certificates",
                            json_pack("[{so so}]", "certificate_chain", file_json(o->certificate_file), "private_key",
                                      file_json(o->key_file)));
    if (name && !is_address(name))
        json_object_set_new(context, "sni", json_string(name));
    return json_pack("{ss so}", "name", "envoy.transport_sockets.tls", "typed_config", context);
}

static json_t *http2_json(void)
{
    json_t *http2 = json_pack("{s{ss ss}}", "connection_keepalive", "interval", "30s", "timeout", "5s");

    return json_pack("{s{ss s{so}}}", "envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "@type",
                     "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                     "explicit_http_config", "http2_protocol_options", http2);
}

static json_t *cluster_json(const struct bootstrap_options *o, const struct place *xds)
{
    json_t *endpoint = json_pack("{s{so}}", "endpoint", "address", address_json(xds));
    json_t *assignment =
        json_pack("{ss s[{s[o]}]}", "cluster_name", xds_cluster, "endpoints", "lb_endpoints", endpoint);
    json_t *cluster = json_pack("{ss ss ss so so}", "name", xds_cluster, "type",
                                xds->by_name ? "STRICT_DNS" : "STATIC", "connect_timeout", "1s", "load_assignment",
                                assignment, "typed_extension_protocol_options", http2_json());

    if (!xds->path)
        json_object_set_new(cluster, "upstream_connection_options",
                            json_pack("{s{si si si}}", "tcp_keepalive", "keepalive_probes", 3, "keepalive_time", 30,
                                      "keepalive_interval", 5));
    if (o->ca_file || o->certificate_file)
        json_object_set_new(cluster, "transport_socket", transport_json(o, xds));
    return cluster;
}

static json_t *runtime_json(void)
{
    return json_pack("{s[{ss s{si}}]}", "layers", "name", "igwd", "static_layer", "re2.max_program_size.error_level",
                     (int)SERVICE_REGEX_SIZE_MAX);
}

static json_t *overload_json(void)
{
    json_t *limit = json_pack("{ss si}", "@type",
                              "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3."
                              "DownstreamConnectionsConfig",
                              "max_active_downstream_connections", (int)DOWNSTREAM_CONNECTIONS_MAX);

    return json_pack("{s[{ss so}]}", "resource_monitors", "name",
                     "envoy.resource_monitors.global_downstream_max_connections", "typed_config", limit);
}

static json_t *node_json(const struct bootstrap_options *o)
{
    return json_pack("{ss ss s{ss}}", "id", o->node_id ? o->node_id : o->gateway, "cluster",
                     o->node_cluster ? o->node_cluster : o->gateway, "metadata", "gateway", o->gateway);
}

int bootstrap_make(const struct bootstrap_options *o, char **ret_json, struct err *e)
{
    struct place xds = {0}, admin = {0};
    json_t *json;
    int r;

    if (!o->gateway || !*o->gateway)
        return err_set(e, -EINVAL, NULL, "gateway", "must be given");
    if (!o->certificate_file != !o->key_file)
        return err_set(e, -EINVAL, NULL, o->key_file ? "certificate_file" : "key_file",
                       "a certificate and its key go together");
    r = parse_place("xds", o->xds ? o->xds : "", &xds, e);
    if (r == 0)
        r = parse_place("admin", o->admin ? o->admin : "127.0.0.1:9901", &admin, e);
    if (r < 0)
        return r;
    if (admin.by_name)
        return bad_address("admin", o->admin, e);
    json = json_pack("{so s{so} so s{s[o]} so so}", "node", node_json(o), "admin", "address", address_json(&admin),
                     "dynamic_resources", dynamic_json(o), "static_resources", "clusters", cluster_json(o, &xds),
                     "layered_runtime", runtime_json(), "overload_manager", overload_json());
    if (!json)
        return err_set(e, -EINVAL, NULL, NULL, "a name or path is not UTF-8");
    *ret_json = json_canonical(json);
    json_decref(json);
    return 0;
}
