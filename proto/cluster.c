/*
 * Clusters (envoy/config/cluster/v3) and assignments (envoy/config/endpoint/v3).
 *
 * Defaults, and why they differ from Envoy's own:
 * - Panic only when no endpoint is healthy (Envoy: below half). The agent has said already who is up: two of three
 *   that die unannounced must not draw traffic. When all checks fail, the check itself is the suspect, and all are
 *   tried.
 * - 1,024 retries at a time (Envoy: 3), or a failover under load loses requests; connections and requests up to
 *   CLUSTER_CONNECTIONS_MAX (Envoy: 1,024), or a gateway of long connections stops at 1,024 of them.
 * - Towards the endpoints HTTP/1.1, whatever the client speaks: plain HTTP servers and websockets understand nothing
 *   else for sure. HTTP/2 (gRPC) is asked for by cluster_data's typed_extension_protocol_options.
 */
#include "proto/cluster.h"

#include "base/clock.h"
#include "base/text.h"
#include "proto/passthrough.h"
#include "proto/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    CLUSTER_CONNECTIONS_MAX = 65536,
    CLUSTER_RETRIES_MAX = 1024,
    CONNECT_TIMEOUT_MS = 250,
    HEALTH_TIMEOUT_S = 1,
    HEALTH_INTERVAL_S = 10,
    HEALTH_JITTER_S = 1,
    UNHEALTHY_AFTER = 3,
    HEALTHY_AFTER = 1,
    KEEPALIVE_S = 30,
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_PROBES = 3,
};

static const char http_options_name[] = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

size_t cluster_sds_refs(struct arena *a, const struct exposure *x, struct sds_ref ret[CLUSTER_SDS_MAX])
{
    size_t n = 0;

    if (x->cluster_certificate) {
        n += sds_ref_pair(a, x->cluster_certificate, &ret[n]);
        n += sds_ref_trust(a, x->cluster_certificate, &ret[n]);
    }
    return n;
}

/* Its endpoints are DNS names, which Envoy resolves itself. */
static bool is_dns(const struct exposure *x)
{
    return x->n_fixed && x->fixed[0].host;
}

static bool uses_eds(const struct exposure *x)
{
    return x->lb_policy != LB_ORIGINAL_DST && !is_dns(x);
}

bool cluster_equal(const struct service_exposure *a, const struct service_exposure *b)
{
    return a->x == b->x && (!is_dns(a->x) || assignment_equal(a, b));
}

static pb_health_check *tcp_health_check(struct arena *a)
{
    pb_health_check *m = pb_health_check_new(a);

    m->timeout = pb_duration_of(a, HEALTH_TIMEOUT_S * CLOCK_NS_PER_S);
    m->interval = pb_duration_of(a, HEALTH_INTERVAL_S * CLOCK_NS_PER_S);
    m->no_traffic_interval = pb_duration_of(a, HEALTH_INTERVAL_S * CLOCK_NS_PER_S);
    /* No jitter on the first check: an endpoint gets traffic after it. */
    m->interval_jitter = pb_duration_of(a, HEALTH_JITTER_S * CLOCK_NS_PER_S);
    m->unhealthy_threshold = pb_uint32_of(a, UNHEALTHY_AFTER);
    m->healthy_threshold = pb_uint32_of(a, HEALTHY_AFTER);
    m->health_checker_case = PB_CORE(HEALTH_CHECK__HEALTH_CHECKER_TCP_HEALTH_CHECK);
    m->tcp_health_check = pb_tcp_health_check_new(a);
    return m;
}

static pb_circuit_breakers *circuit_breakers(struct arena *a)
{
    pb_circuit_breakers *m = pb_circuit_breakers_new(a);
    pb_thresholds *t = pb_thresholds_new(a);

    t->max_connections = pb_uint32_of(a, CLUSTER_CONNECTIONS_MAX);
    t->max_pending_requests = pb_uint32_of(a, CLUSTER_CONNECTIONS_MAX);
    t->max_requests = pb_uint32_of(a, CLUSTER_CONNECTIONS_MAX);
    t->max_retries = pb_uint32_of(a, CLUSTER_RETRIES_MAX);
    m->thresholds = pb_list_of(a, t);
    m->n_thresholds = 1;
    return m;
}

/* A host that dies without a word says nothing to connections that are idle, and nobody to their clients: these would
 * wait for an hour. */
static pb_connection_options *connection_options(struct arena *a)
{
    pb_connection_options *m = pb_connection_options_new(a);
    pb_tcp_keepalive *k = pb_tcp_keepalive_new(a);

    k->keepalive_time = pb_uint32_of(a, KEEPALIVE_S);
    k->keepalive_interval = pb_uint32_of(a, KEEPALIVE_INTERVAL_S);
    k->keepalive_probes = pb_uint32_of(a, KEEPALIVE_PROBES);
    m->tcp_keepalive = k;
    return m;
}

static pb_common_lb *common_lb(struct arena *a)
{
    pb_common_lb *m = pb_common_lb_new(a);

    m->healthy_panic_threshold = pb_percent_new(a);
    m->healthy_panic_threshold->value = 1;
    return m;
}

/* The SNI towards the endpoints is the request's host; with it an HTTP version must be named: Envoy's own default. */
static void sni_of_the_request(struct arena *a, pb_cluster *m)
{
    pb_http_protocol_options *o = pb_http_protocol_options_new(a);
    pb_extension_options *entry = pb_extension_options_new(a);

    o->upstream_protocol_options_case =
        PB_UPSTREAM(HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG);
    o->explicit_http_config = pb_explicit_http_new(a);
    o->explicit_http_config->protocol_config_case =
        PB_UPSTREAM(HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP_PROTOCOL_OPTIONS);
    o->explicit_http_config->http_protocol_options = pb_http1_options_new(a);
    o->upstream_http_protocol_options = pb_upstream_http_options_new(a);
    o->upstream_http_protocol_options->auto_sni = true;
    entry->key = PB_TEXT(http_options_name);
    entry->value = pb_any_of(a, &o->base);
    m->typed_extension_protocol_options = pb_list_of(a, entry);
    m->n_typed_extension_protocol_options = 1;
}

static void set_connection_defaults(struct arena *a, const struct exposure *x, const struct passthrough *given,
                                    pb_cluster *m)
{
    if (!passthrough_has(given, "connect_timeout"))
        m->connect_timeout = pb_duration_of(a, (int64_t)CONNECT_TIMEOUT_MS * CLOCK_NS_PER_MS);
    if (x->protocol == PROTOCOL_TCP && !passthrough_has(given, "upstream_connection_options"))
        m->upstream_connection_options = connection_options(a);
    if (!passthrough_has(given, "circuit_breakers"))
        m->circuit_breakers = circuit_breakers(a);
}

static void set_defaults(struct arena *a, const struct exposure *x, const struct passthrough *given, pb_cluster *m)
{
    bool checked = x->protocol == PROTOCOL_TCP && x->lb_policy != LB_ORIGINAL_DST;

    set_connection_defaults(a, x, given, m);
    if (checked && !passthrough_has(given, "health_checks")) {
        m->health_checks = pb_list_of(a, tcp_health_check(a));
        m->n_health_checks = 1;
    } else if (!checked && !passthrough_owns(given, "health_checks")) {
        m->n_health_checks = 0; /* the gateway's are of those that can be checked */
    }
    if (!passthrough_has(given, "ignore_health_on_host_removal"))
        m->ignore_health_on_host_removal = uses_eds(x);
    if (!passthrough_has(given, "common_lb_config") && x->lb_policy != LB_ORIGINAL_DST)
        m->common_lb_config = common_lb(a);
    if (x->cluster_certificate && x->n_vhosts && !passthrough_has(given, "typed_extension_protocol_options"))
        sni_of_the_request(a, m);
}

static void set_lb_policy(const struct exposure *x, const struct passthrough *given, pb_cluster *m)
{
    static const int policies[] = {
        [LB_ROUND_ROBIN] = PB_CLUSTER(CLUSTER__LB_POLICY__ROUND_ROBIN),
        [LB_LEAST_REQUEST] = PB_CLUSTER(CLUSTER__LB_POLICY__LEAST_REQUEST),
        [LB_RING_HASH] = PB_CLUSTER(CLUSTER__LB_POLICY__RING_HASH),
        [LB_RANDOM] = PB_CLUSTER(CLUSTER__LB_POLICY__RANDOM),
        [LB_MAGLEV] = PB_CLUSTER(CLUSTER__LB_POLICY__MAGLEV),
        [LB_ORIGINAL_DST] = PB_CLUSTER(CLUSTER__LB_POLICY__CLUSTER_PROVIDED),
    };

    /* Round robin is what an exposure has that says nothing: then the JSON's word counts. */
    if (x->lb_policy != LB_ROUND_ROBIN || !passthrough_has(given, "lb_policy"))
        m->lb_policy = policies[x->lb_policy];
}

static bool serves(const struct endpoint *p)
{
    return p->up && !p->refused;
}

static pb_assignment *dns_assignment(struct arena *a, const struct service_exposure *sx)
{
    pb_assignment *m = pb_assignment_new(a);
    pb_locality *locality = pb_locality_new(a);

    m->cluster_name = PB_TEXT(sx->x->name);
    m->endpoints = pb_list_of(a, locality);
    m->n_endpoints = 1;
    locality->lb_endpoints = arena_array(a, pb_lb_endpoint *, sx->n_endpoints);
    for (size_t i = 0; i < sx->n_endpoints; i++) {
        if (!serves(&sx->endpoints[i]))
            continue;
        pb_lb_endpoint *one = pb_lb_endpoint_new(a);
        pb_address *address = pb_address_new(a);

        one->host_identifier_case = PB_ENDPOINT(LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT);
        one->endpoint = pb_endpoint_new(a);
        one->endpoint->address = address;
        address->address_case = PB_CORE(ADDRESS__ADDRESS_SOCKET_ADDRESS);
        address->socket_address = pb_socket_address_new(a);
        address->socket_address->address = PB_TEXT(sx->endpoints[i].host);
        address->socket_address->port_specifier_case = PB_CORE(SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE);
        address->socket_address->port_value = sx->endpoints[i].port;
        locality->lb_endpoints[locality->n_lb_endpoints++] = one;
    }
    return m;
}

/* What is ours whatever the JSON says. */
static void set_owned(struct arena *a, const struct service_exposure *sx, pb_cluster *m)
{
    const struct exposure *x = sx->x;

    m->name = PB_TEXT(x->name);
    m->load_assignment = NULL;
    m->cluster_discovery_type_case = PB_CLUSTER(CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE);
    if (uses_eds(x)) {
        m->type = PB_CLUSTER(CLUSTER__DISCOVERY_TYPE__EDS);
        m->eds_cluster_config = pb_eds_config_new(a);
        m->eds_cluster_config->eds_config = pb_ads_source(a);
    } else if (is_dns(x)) {
        m->type = PB_CLUSTER(CLUSTER__DISCOVERY_TYPE__STRICT_DNS);
        m->load_assignment = dns_assignment(a, sx);
        m->eds_cluster_config = NULL;
    } else {
        m->type = PB_CLUSTER(CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST);
        m->eds_cluster_config = NULL;
    }
}

static struct resource *pack(const struct exposure *x, const pb_cluster *m, const struct sds_ref *refs, size_t n)
{
    const char *secrets[CLUSTER_SDS_MAX];
    const struct resource_info info = {
        .type = XDS_CLUSTER,
        .name = x->name,
        .owner = x->name,
        .alone = x->cluster_data,
        .uses_eds = m->type == PB_CLUSTER(CLUSTER__DISCOVERY_TYPE__EDS),
        .secrets = secrets,
        .n_secrets = n,
    };

    for (size_t i = 0; i < n; i++)
        secrets[i] = refs[i].name;
    return resource_pack(&info, &m->base);
}

int cluster_make(const struct service_exposure *sx, const struct gateway *gateway, struct resource **ret,
                 struct err *e)
{
    const struct exposure *x = sx->x;
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct sds_ref refs[CLUSTER_SDS_MAX];
    size_t n_refs = cluster_sds_refs(a, x, refs);
    struct passthrough given;
    pb_cluster *m;
    struct err scratch = {0};
    int r;

    e = e ? e : &scratch;
    r = passthrough_read(a, x->cluster_data, gateway, GATEWAY_CLUSTER,
                         &envoy__config__cluster__v3__cluster__descriptor, &given, &m, e);
    if (r < 0) {
        err_prefix_field(e, "cluster_data");
        return r;
    }
    set_defaults(a, x, &given, m);
    set_lb_policy(x, &given, m);
    set_owned(a, sx, m);
    if (x->cluster_certificate)
        m->transport_socket = tls_upstream(a, x, refs, n_refs);
    passthrough_clear(&given);

    _cleanup_(resource_unref_p) struct resource *cluster = pack(x, m, refs, n_refs);
    r = resource_check(cluster, e);
    if (r < 0) {
        if (x->cluster_data)
            err_prefix_field(e, "cluster_data");
        return r;
    }
    *ret = take_ptr(cluster);
    return 0;
}

struct resource *cluster_placeholder(const struct exposure *x)
{
    pb_cluster m = PB_CLUSTER(CLUSTER__INIT);

    m.name = PB_TEXT(x->name);
    m.cluster_discovery_type_case = PB_CLUSTER(CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE);
    m.type = PB_CLUSTER(CLUSTER__DISCOVERY_TYPE__STATIC);
    return pack(x, &m, NULL, 0);
}

/* ---- assignments ---- */

/*
 * An assignment is written to the wire itself: it is what changes most often, and ten thousand of them are made at a
 * start. The field numbers are those of envoy/config/endpoint/v3 and envoy/config/core/v3/address.proto.
 */
enum {
    ASSIGNMENT_CLUSTER_NAME = 1,
    ASSIGNMENT_ENDPOINTS = 2,
    LOCALITY_LB_ENDPOINTS = 2,
    LB_ENDPOINT_ENDPOINT = 1,
    ENDPOINT_ADDRESS = 1,
    ADDRESS_SOCKET_ADDRESS = 1,
    SOCKET_ADDRESS_ADDRESS = 2,
    SOCKET_ADDRESS_PORT_VALUE = 3,
    SOCKET_ADDRESS_DEPTH = 4, /* messages around it in its locality */
};

static void put_endpoint(struct buf *b, const struct endpoint *p)
{
    static const uint32_t path[SOCKET_ADDRESS_DEPTH] = {LOCALITY_LB_ENDPOINTS, LB_ENDPOINT_ENDPOINT, ENDPOINT_ADDRESS,
                                                        ADDRESS_SOCKET_ADDRESS};
    size_t begins[SOCKET_ADDRESS_DEPTH];
    char text[ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < SOCKET_ADDRESS_DEPTH; i++) {
        wire_put_tag(b, path[i], WIRE_BYTES);
        begins[i] = wire_begin(b);
    }
    address_text(&p->address, text);
    wire_put_bytes(b, SOCKET_ADDRESS_ADDRESS, text, strlen(text));
    wire_put_tag(b, SOCKET_ADDRESS_PORT_VALUE, WIRE_VARINT);
    wire_put_varint(b, p->port);
    for (size_t i = SOCKET_ADDRESS_DEPTH; i-- > 0;)
        wire_end(b, begins[i]);
}

static void put_assignment(struct buf *b, const struct service_exposure *sx)
{
    size_t begin = 0;

    wire_put_bytes(b, ASSIGNMENT_CLUSTER_NAME, sx->x->name, strlen(sx->x->name));
    for (size_t i = 0; i < sx->n_endpoints; i++) {
        if (!serves(&sx->endpoints[i]))
            continue;
        if (!begin) {
            wire_put_tag(b, ASSIGNMENT_ENDPOINTS, WIRE_BYTES);
            begin = wire_begin(b);
        }
        put_endpoint(b, &sx->endpoints[i]);
    }
    if (begin)
        wire_end(b, begin);
}

int assignment_make(const struct service_exposure *sx, struct resource **ret, struct err *e)
{
    const char *name = sx->x->name;
    struct resource *assignment;
    struct buf b;
    int r;

    buf_init(&b, 0);
    put_assignment(&b, sx);
    assignment = resource_new(XDS_ENDPOINT, name, name, b.data, b.len, NULL, 0, NULL, 0, NULL, 0);
    buf_clear(&b);
    r = resource_check(assignment, e);
    if (r < 0)
        resource_unref(assignment);
    else
        *ret = assignment;
    return r;
}

bool assignment_equal(const struct service_exposure *a, const struct service_exposure *b)
{
    size_t i = 0, j = 0;

    if (a->endpoints == b->endpoints && a->n_endpoints == b->n_endpoints)
        return true;
    for (;; i++, j++) {
        while (i < a->n_endpoints && !serves(&a->endpoints[i]))
            i++;
        while (j < b->n_endpoints && !serves(&b->endpoints[j]))
            j++;
        if (i == a->n_endpoints || j == b->n_endpoints)
            return i == a->n_endpoints && j == b->n_endpoints;
        if (a->endpoints[i].port != b->endpoints[j].port || !text_equal(a->endpoints[i].host, b->endpoints[j].host) ||
            address_compare(&a->endpoints[i].address, &b->endpoints[j].address))
            return false;
    }
}
