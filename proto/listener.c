/*
 * Listeners (envoy/config/listener/v3).
 *
 * A listener's bytes follow from its chains' matches, TLS and filters only: virtual hosts and routes are the route
 * configurations' business. The chain without server names stands among the others with an empty match, and not as
 * default_filter_chain: so no chain changes its place, which would drain its connections, when another one comes. For
 * the same reason each server name is a filter chain of its own (store/plan.h).
 */
#include "proto/listener.h"

#include "base/clock.h"
#include "proto/passthrough.h"
#include "proto/route.h"
#include "proto/validate.h"
#include "store/request_path.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /*
     * Connecting to an endpoint is tried again on the balancer's next choice, which may be the same dead one: with
     * half of the endpoints dead and choices at random, one connection in 65,536 is lost; with Envoy's usual 3 it is
     * one in 8. When all are dead and silent, a client waits for TCP_CONNECT_ATTEMPTS connect timeouts, 4 s.
     */
    TCP_CONNECT_ATTEMPTS = 16,
    /* Server-first protocols behind the TLS inspector wait for this long. */
    INSPECT_TIMEOUT_S = 1,
    TLS_HANDSHAKE_TIMEOUT_S = 10,
    REQUEST_HEADERS_TIMEOUT_S = 10,
    IDLE_TIMEOUT_S = 3600,
    /* Of UDP, whatever IP makes of it on its way; what is larger than 1,500 bytes Envoy drops by default, unsaid. */
    DATAGRAM_MAX = 65535,
    HTTP2_STREAMS_MAX = 100,
    HTTP2_STREAM_WINDOW = 64 << 10,
    HTTP2_CONNECTION_WINDOW = 1 << 20,
};

static const char tcp_proxy_name[] = "envoy.filters.network.tcp_proxy";
static const char hcm_name[] = "envoy.filters.network.http_connection_manager";
static const char udp_proxy_name[] = "envoy.filters.udp_listener.udp_proxy";
static const char router_type[] = "envoy.extensions.filters.http.router.v3.Router";

/* What a filter is made for. plan and chain are NULL when an exposure is checked alone. */
struct filter_context {
    struct arena *arena;
    const struct exposure *x;
    const struct gateway *gateway;
    const char *stat_prefix, *route_configuration;
};

/* ---- L4 ---- */

static int tcp_proxy(const struct filter_context *c, pb_any **ret, struct err *e)
{
    struct arena *a = c->arena;
    struct passthrough given;
    pb_tcp_proxy *m;
    int r;

    r = passthrough_read(a, c->x->filter_config_data, c->gateway, GATEWAY_TCP_PROXY,
                         &envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor, &given, &m, e);
    if (r < 0)
        return r;
    m->stat_prefix = PB_TEXT(c->stat_prefix);
    m->cluster_specifier_case = PB_TCP(TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER);
    m->cluster = PB_TEXT(c->x->name);
    m->on_demand = NULL; /* a source of configuration */
    if (!passthrough_has(&given, "max_connect_attempts"))
        m->max_connect_attempts = pb_uint32_of(a, TCP_CONNECT_ATTEMPTS);
    if (lb_policy_hashes(c->x->lb_policy) && !passthrough_has(&given, "hash_policy")) {
        pb_hash_policy *hash = pb_hash_policy_new(a);

        hash->policy_specifier_case = PB_TYPE(HASH_POLICY__POLICY_SPECIFIER_SOURCE_IP);
        hash->source_ip = pb_hash_source_ip_new(a);
        m->hash_policy = pb_list_of(a, hash);
        m->n_hash_policy = 1;
    }
    passthrough_clear(&given);
    *ret = pb_any_of(a, &m->base);
    return 0;
}

static pb_udp_socket *udp_socket(struct arena *a)
{
    pb_udp_socket *m = pb_udp_socket_new(a);

    m->max_rx_datagram_size = pb_uint64_of(a, DATAGRAM_MAX);
    /* Where the kernel may put datagrams together, Envoy makes room for many of the largest at each read. */
    m->prefer_gro = pb_bool_of(a, false);
    return m;
}

static int udp_proxy(const struct filter_context *c, pb_any **ret, struct err *e)
{
    struct arena *a = c->arena;
    struct passthrough given;
    pb_udp_proxy *m;
    pb_udp_route *route = pb_udp_route_new(a);
    int r;

    r = passthrough_read(a, c->x->filter_config_data, c->gateway, GATEWAY_UDP_PROXY,
                         &envoy__extensions__filters__udp__udp_proxy__v3__udp_proxy_config__descriptor, &given, &m,
                         e);
    if (r < 0)
        return r;
    route->cluster = PB_TEXT(c->x->name);
    m->stat_prefix = PB_TEXT(c->stat_prefix);
    m->route_specifier_case = PB_UDP(UDP_PROXY_CONFIG__ROUTE_SPECIFIER_MATCHER);
    m->matcher = pb_matcher_new(a);
    m->matcher->on_no_match = pb_on_match_new(a);
    m->matcher->on_no_match->on_match_case = XDS__TYPE__MATCHER__V3__MATCHER__ON_MATCH__ON_MATCH_ACTION;
    m->matcher->on_no_match->action = pb_typed_extension_new(a);
    m->matcher->on_no_match->action->name = PB_TEXT("route");
    m->matcher->on_no_match->action->typed_config = pb_any_of(a, &route->base);
    if (!passthrough_has(&given, "upstream_socket_config"))
        m->upstream_socket_config = udp_socket(a);
    if (lb_policy_hashes(c->x->lb_policy) && !passthrough_has(&given, "hash_policies")) {
        pb_udp_hash_policy *hash = pb_udp_hash_policy_new(a);

        hash->policy_specifier_case = PB_UDP(UDP_PROXY_CONFIG__HASH_POLICY__POLICY_SPECIFIER_SOURCE_IP);
        hash->source_ip = true;
        m->hash_policies = pb_list_of(a, hash);
        m->n_hash_policies = 1;
    }
    passthrough_clear(&given);
    *ret = pb_any_of(a, &m->base);
    return 0;
}

/* ---- L7 ---- */

/* Every HTTP filter chain ends in the router. */
static void end_in_router(struct arena *a, pb_hcm *m)
{
    pb_http_filter **filters, *router;

    for (size_t i = 0; i < m->n_http_filters; i++) {
        const pb_http_filter *f = m->http_filters[i];
        const char *type = f->config_type_case == PB_HCM(HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG)
                               ? strrchr(f->typed_config->type_url, '/')
                               : NULL;

        if (type && !strcmp(type + 1, router_type))
            return;
    }
    router = pb_http_filter_new(a);
    router->name = PB_TEXT("envoy.filters.http.router");
    router->config_type_case = PB_HCM(HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG);
    router->typed_config = pb_any_empty(a, router_type);
    filters = arena_array(a, pb_http_filter *, m->n_http_filters + 1);
    if (m->n_http_filters)
        memcpy(filters, m->http_filters, m->n_http_filters * sizeof(*filters));
    filters[m->n_http_filters++] = router;
    m->http_filters = filters;
}

static pb_http_options *common_http_options(struct arena *a)
{
    pb_http_options *m = pb_http_options_new(a);

    m->idle_timeout = pb_duration_of(a, IDLE_TIMEOUT_S * CLOCK_NS_PER_S);
    if (http_policy_default.reject_underscores)
        m->headers_with_underscores_action =
            PB_CORE(HTTP_PROTOCOL_OPTIONS__HEADERS_WITH_UNDERSCORES_ACTION__REJECT_REQUEST);
    return m;
}

static pb_http1_options *http1_options(struct arena *a)
{
    pb_http1_options *m = pb_http1_options_new(a);

    m->accept_http_10 = true;
    /* An HTTP/1.0 request may have no Host; it then reaches what serves every host. */
    m->default_host_for_http_10 = PB_TEXT("localhost");
    return m;
}

static pb_http2_options *http2_options(struct arena *a)
{
    pb_http2_options *m = pb_http2_options_new(a);

    m->max_concurrent_streams = pb_uint32_of(a, HTTP2_STREAMS_MAX);
    m->initial_stream_window_size = pb_uint32_of(a, HTTP2_STREAM_WINDOW);
    m->initial_connection_window_size = pb_uint32_of(a, HTTP2_CONNECTION_WINDOW);
    return m;
}

static pb_upgrade *websocket(struct arena *a)
{
    pb_upgrade *m = pb_upgrade_new(a);

    m->upgrade_type = PB_TEXT("websocket");
    return m;
}

/* What an edge needs: Envoy, "Configuring Envoy as an edge proxy". */
static void set_hcm_defaults(struct arena *a, const struct passthrough *given, pb_hcm *m)
{
    if (!passthrough_has(given, "common_http_protocol_options"))
        m->common_http_protocol_options = common_http_options(a);
    if (!passthrough_has(given, "http_protocol_options"))
        m->http_protocol_options = http1_options(a);
    if (!passthrough_has(given, "http2_protocol_options"))
        m->http2_protocol_options = http2_options(a);
    if (!passthrough_has(given, "use_remote_address"))
        m->use_remote_address = pb_bool_of(a, true);
    if (!passthrough_has(given, "normalize_path"))
        m->normalize_path = pb_bool_of(a, http_policy_default.normalize_path);
    if (!passthrough_has(given, "merge_slashes"))
        m->merge_slashes = http_policy_default.merge_slashes;
    if (!passthrough_has(given, "path_with_escaped_slashes_action"))
        m->path_with_escaped_slashes_action = (int)http_policy_default.escaped_slashes;
    if (!passthrough_has(given, "request_headers_timeout"))
        m->request_headers_timeout = pb_duration_of(a, REQUEST_HEADERS_TIMEOUT_S * CLOCK_NS_PER_S);
    if (!passthrough_has(given, "upgrade_configs")) {
        m->upgrade_configs = pb_list_of(a, websocket(a));
        m->n_upgrade_configs = 1;
    }
}

static int http_connection_manager(const struct filter_context *c, pb_any **ret, struct err *e)
{
    struct arena *a = c->arena;
    struct passthrough given;
    pb_hcm *m;
    int r;

    r = passthrough_read(
        a, c->x->filter_config_data, c->gateway, GATEWAY_HTTP,
        &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
        &given, &m, e);
    if (r < 0)
        return r;
    set_hcm_defaults(a, &given, m);
    passthrough_clear(&given);
    end_in_router(a, m);
    m->stat_prefix = PB_TEXT(c->stat_prefix);
    m->route_specifier_case = PB_HCM(HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS);
    m->rds = pb_rds_new(a);
    m->rds->config_source = pb_ads_source(a);
    m->rds->route_config_name = PB_TEXT(c->route_configuration);
    *ret = pb_any_of(a, &m->base);
    return 0;
}

/* ---- filters ---- */

static int filter_config(const struct filter_context *c, enum chain_kind kind, pb_any **ret, struct err *e)
{
    int r = kind == CHAIN_UDP  ? udp_proxy(c, ret, e)
            : kind == CHAIN_L7 ? http_connection_manager(c, ret, e)
                               : tcp_proxy(c, ret, e);

    if (r < 0)
        err_prefix_field(e, "filter_config_data");
    return r;
}

static enum chain_kind kind_of(const struct exposure *x)
{
    return x->protocol == PROTOCOL_UDP ? CHAIN_UDP : x->n_vhosts ? CHAIN_L7 : CHAIN_L4;
}

int filter_check(const struct exposure *x, const struct gateway *gateway, struct err *e)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const struct filter_context c = {a, x, gateway, x->name, x->name};
    struct err scratch = {0};
    pb_any *config;
    int r;

    e = e ? e : &scratch;
    r = filter_config(&c, kind_of(x), &config, e);
    if (r < 0)
        return r;
    const struct schema_message *type = schema_find_url(config->type_url, strlen(config->type_url));
    assert(type);
    r = validate_wire(config->value.data, config->value.len, type, e);
    if (r < 0 && x->filter_config_data)
        err_prefix_field(e, "filter_config_data");
    return r;
}

/* ---- chains ---- */

static void add_secret(struct listener_result *to, const struct sds_ref *ref)
{
    to->secrets[to->n_secrets++] = *ref;
}

/* The SDS names of a chain go behind those that to has; room was made by the caller. */
static void add_chain_secrets(struct arena *a, const struct plan_chain *chain, struct listener_result *to)
{
    struct sds_ref ref;

    for (size_t i = 0; i < chain->n_certificates; i++)
        if (sds_ref_pair(a, chain->certificates[i], &ref))
            add_secret(to, &ref);
    if (chain->validation && sds_ref_trust(a, chain->validation, &ref))
        add_secret(to, &ref);
}

static struct filter_context filter_context(struct arena *a, const struct listener_plan *p,
                                            const struct plan_chain *chain, const struct translate_scope *scope)
{
    char name[ROUTE_NAME_MAX];

    return (struct filter_context){
        .arena = a,
        .x = chain->holder,
        .gateway = scope->gateway,
        .stat_prefix = chain->kind == CHAIN_L7 ? arena_printf(a, "%s/%s", p->name, chain->id) : chain->holder->name,
        .route_configuration = arena_strdup(a, route_configuration_name(p, chain, name, sizeof(name))),
    };
}

static int filter_chain(struct arena *a, const struct listener_plan *p, const struct plan_chain *chain,
                        const struct translate_scope *scope, struct listener_result *to, pb_filter_chain **ret,
                        struct err *e)
{
    const struct filter_context c = filter_context(a, p, chain, scope);
    pb_filter_chain *m = pb_filter_chain_new(a);
    pb_filter *filter = pb_filter_new(a);
    size_t first_secret = to->n_secrets;
    int r;

    filter->name = PB_TEXT(chain->kind == CHAIN_L7 ? hcm_name : tcp_proxy_name);
    filter->config_type_case = PB_LISTENER(FILTER__CONFIG_TYPE_TYPED_CONFIG);
    r = filter_config(&c, chain->kind, &filter->typed_config, e);
    if (r < 0)
        return r;
    m->name = PB_TEXT(chain->id);
    m->filters = pb_list_of(a, filter);
    m->n_filters = 1;
    if (chain->tls) {
        add_chain_secrets(a, chain, to);
        m->transport_socket = tls_downstream(a, chain, to->secrets + first_secret, to->n_secrets - first_secret);
        m->transport_socket_connect_timeout = pb_duration_of(a, TLS_HANDSHAKE_TIMEOUT_S * CLOCK_NS_PER_S);
    }
    *ret = m;
    return 0;
}

/* ---- the whole ---- */

static pb_listener_filter *listener_filter(struct arena *a, const char *name, pb_any *config)
{
    pb_listener_filter *m = pb_listener_filter_new(a);

    m->name = PB_TEXT(name);
    m->config_type_case = PB_LISTENER(LISTENER_FILTER__CONFIG_TYPE_TYPED_CONFIG);
    m->typed_config = config;
    return m;
}

static pb_listener *new_listener(struct arena *a, const struct listener_plan *p)
{
    pb_listener *m = pb_listener_new(a);

    m->name = PB_TEXT(p->name);
    m->address = pb_address_of(a, &p->address, p->port, p->protocol == PROTOCOL_UDP);
    m->listener_filters = arena_array(a, pb_listener_filter *, 2);
    if (p->protocol == PROTOCOL_UDP) {
        m->udp_listener_config = pb_udp_listener_new(a);
        m->udp_listener_config->downstream_socket_config = udp_socket(a);
        return m;
    }
    m->filter_chains = arena_array(a, pb_filter_chain *, listener_plan_filter_chains(p));
    if (listener_plan_needs_original_dst(p))
        m->listener_filters[m->n_listener_filters++] =
            listener_filter(a, "envoy.filters.listener.original_dst",
                            pb_any_empty(a, "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"));
    if (p->tls_inspector) {
        m->listener_filters[m->n_listener_filters++] =
            listener_filter(a, "envoy.filters.listener.tls_inspector",
                            pb_any_empty(a, "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"));
        /* Or a protocol in which the server speaks first would never get past the inspector. */
        m->listener_filters_timeout = pb_duration_of(a, INSPECT_TIMEOUT_S * CLOCK_NS_PER_S);
        m->continue_on_listener_filters_timeout = true;
    }
    return m;
}

/* Which chains are in the listener, and what they brought. */
struct assembly {
    struct arena *arena;
    const struct listener_plan *plan;
    const struct translate_scope *scope;
    pb_listener *listener;
    bool *in;  /* by the chain's index */
    bool *bad; /* likewise: told already */
    struct listener_result result;
};

static int add_udp(struct assembly *s, const struct plan_chain *chain, struct err *e)
{
    const struct filter_context c = filter_context(s->arena, s->plan, chain, s->scope);
    pb_any *config;
    int r = filter_config(&c, CHAIN_UDP, &config, e);

    if (r == 0)
        s->listener->listener_filters[s->listener->n_listener_filters++] =
            listener_filter(s->arena, udp_proxy_name, config);
    return r;
}

/* The exposure's own field, where the path in a listener with one chain leads into its filter; else none. */
static void name_field(const struct plan_chain *chain, struct err *e)
{
    static const char filter[] = "filter_chains[0].filters[0].typed_config.";
    size_t n = strlen(filter);

    if (chain->holder->filter_config_data && !strncmp(e->field, filter, n)) {
        memmove(e->field, e->field + n, strlen(e->field) - n + 1);
        err_prefix_field(e, "filter_config_data");
    } else {
        err_field_to_text(e);
    }
}

/* Within a listener that has nothing else: what a message may hold depends on what it stands in (its depth). */
static int check_chain(const struct assembly *s, const struct plan_chain *chain, pb_filter_chain *m, struct err *e)
{
    pb_listener *alone = new_listener(s->arena, s->plan);
    size_t n;
    int r;

    alone->filter_chains[alone->n_filter_chains++] = m;
    const uint8_t *wire = pb_pack(s->arena, &alone->base, &n);
    r = validate_wire(wire, n, schema_find(alone->base.descriptor->name), e);
    if (r < 0)
        name_field(chain, e);
    return r;
}

/* All that share a chain have the same settings for its filter, so each has the fault. */
static void tell_chain(const struct translate_scope *scope, const struct plan_chain *chain, const struct err *e)
{
    for (size_t i = 0; i < chain->n_exposures; i++) {
        struct err own = *e;

        if (own.field[0])
            err_prefix_field(&own, chain->exposures[i]->rid);
        faults_add(scope->faults, &scope->place, chain->exposures[i]->name, FAULT_LISTENER, &own);
    }
}

static void add_named(const struct assembly *s, const struct plan_chain *chain, const pb_filter_chain *m,
                      const char **names, size_t n)
{
    pb_filter_chain *one = arena_dup(s->arena, m, sizeof(*m));

    one->name = PB_TEXT(plan_chain_part(s->arena, chain, names[0]));
    one->filter_chain_match = pb_filter_chain_match_new(s->arena);
    one->filter_chain_match->server_names = (char **)(uintptr_t)names;
    one->filter_chain_match->n_server_names = n;
    s->listener->filter_chains[s->listener->n_filter_chains++] = one;
}

/* Those that a chain stands for, with what m has. */
static void add_filter_chains(const struct assembly *s, const struct plan_chain *chain, pb_filter_chain *m)
{
    if (chain->is_default)
        s->listener->filter_chains[s->listener->n_filter_chains++] = m;
    for (size_t i = 0; chain->is_split && i < chain->n_server_names; i++)
        add_named(s, chain, m, &chain->server_names[i], 1);
    if (!chain->is_split)
        add_named(s, chain, m, chain->server_names, chain->n_server_names);
}

/* alone: each chain is checked by itself, to find the one at fault. */
static void add_chains(struct assembly *s, bool alone)
{
    const struct listener_plan *p = s->plan;

    for (size_t i = 0; i < p->n_chains; i++) {
        size_t secrets_before = s->result.n_secrets;
        pb_filter_chain *m = NULL;
        struct err e = {0};
        int r;

        if (s->bad[i])
            continue;
        r = p->chains[i].kind == CHAIN_UDP ? add_udp(s, &p->chains[i], &e)
                                           : filter_chain(s->arena, p, &p->chains[i], s->scope, &s->result, &m, &e);
        if (r == 0 && m && alone)
            r = check_chain(s, &p->chains[i], m, &e);
        if (r < 0) {
            s->result.n_secrets = secrets_before;
            s->bad[i] = true;
            tell_chain(s->scope, &p->chains[i], &e);
            continue;
        }
        s->in[i] = true;
        if (m)
            add_filter_chains(s, &p->chains[i], m);
    }
}

static size_t count_secrets(const struct listener_plan *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_chains; i++)
        n += p->chains[i].n_certificates + 1;
    return n;
}

static void assemble(struct assembly *s, bool alone)
{
    s->listener = new_listener(s->arena, s->plan);
    s->in = arena_array(s->arena, bool, s->plan->n_chains);
    s->result.secrets = arena_array(s->arena, struct sds_ref, count_secrets(s->plan));
    s->result.n_secrets = 0;
    add_chains(s, alone);
}

static bool empty(const struct assembly *s)
{
    for (size_t i = 0; i < s->plan->n_chains; i++)
        if (s->in[i])
            return false;
    return true;
}

static struct resource *pack(const struct assembly *s)
{
    const struct listener_plan *p = s->plan;
    const char **clusters = arena_array(s->arena, const char *, p->n_chains);
    const char **routes = arena_array(s->arena, const char *, p->n_chains);
    const char **secrets = arena_array(s->arena, const char *, s->result.n_secrets);
    size_t n_clusters = 0, n_routes = 0;
    bool alone = false;

    for (size_t i = 0; i < p->n_chains; i++) {
        char name[ROUTE_NAME_MAX];

        if (!s->in[i])
            continue;
        alone |= p->chains[i].holder->filter_config_data != NULL;
        if (p->chains[i].kind == CHAIN_L7)
            routes[n_routes++] =
                arena_strdup(s->arena, route_configuration_name(p, &p->chains[i], name, sizeof(name)));
        else
            clusters[n_clusters++] = p->chains[i].holder->name;
    }
    for (size_t i = 0; i < s->result.n_secrets; i++)
        secrets[i] = s->result.secrets[i].name;
    const struct resource_info info = {
        .type = XDS_LISTENER,
        .name = p->name,
        .owner = p->n_chains == 1 && p->chains[0].n_exposures == 1 ? p->chains[0].holder->name : p->name,
        .alone = alone,
        .clusters = clusters,
        .routes = routes,
        .secrets = secrets,
        .n_clusters = n_clusters,
        .n_routes = n_routes,
        .n_secrets = s->result.n_secrets,
    };
    return resource_pack(&info, &s->listener->base);
}

static int compare_names(const void *a, const void *b)
{
    const struct resource *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void make_routes(struct assembly *s)
{
    const struct listener_plan *p = s->plan;

    s->result.routes = arena_array(s->arena, struct resource *, p->n_chains);
    for (size_t i = 0; i < p->n_chains; i++)
        if (s->in[i] && p->chains[i].kind == CHAIN_L7)
            s->result.routes[s->result.n_routes++] = route_configuration_make(p, &p->chains[i], s->scope);
    qsort(s->result.routes, s->result.n_routes, sizeof(struct resource *), compare_names);
}

/* What none of its chains has alone, the listener has as a whole. */
static void tell_whole(const struct assembly *s, struct err *e)
{
    err_field_to_text(e);
    for (size_t i = 0; i < s->plan->n_chains; i++)
        if (s->in[i])
            tell_chain(s->scope, &s->plan->chains[i], e);
}

void listener_make(struct arena *a, const struct listener_plan *p, const struct translate_scope *scope,
                   struct listener_result *ret)
{
    struct assembly s = {.arena = a, .plan = p, .scope = scope};
    struct err e = {0};

    s.bad = arena_array(a, bool, p->n_chains);
    assemble(&s, false);
    if (!empty(&s)) {
        s.result.listener = pack(&s);
        if (resource_check(s.result.listener, NULL) < 0) {
            resource_unref(take_ptr(s.result.listener));
            assemble(&s, true);
            s.result.listener = empty(&s) ? NULL : pack(&s);
        }
        if (s.result.listener && resource_check(s.result.listener, &e) < 0) {
            tell_whole(&s, &e);
            resource_unref(take_ptr(s.result.listener));
        }
    }
    if (s.result.listener)
        make_routes(&s);
    else
        s.result.n_secrets = 0;
    *ret = s.result;
}

void listener_result_clear(struct listener_result *r)
{
    resource_unref(take_ptr(r->listener));
    for (size_t i = 0; i < r->n_routes; i++)
        resource_unref(r->routes[i]);
    r->n_routes = 0;
}
