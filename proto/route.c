/*
 * Route configurations (envoy/config/route/v3).
 *
 * Retries stand on the virtual host and count for all its routes: twice, on another host each time, when no request
 * has reached an endpoint (connect failure, refused stream). That covers an endpoint that died and was not announced
 * yet.
 *
 * A chain of a listener with several chains answers 421 (RFC 9110, 15.5.20) to hosts that are not served on it: a
 * browser that reuses a connection for every name the certificate covers then opens another.
 */
#include "proto/route.h"

#include "base/clock.h"
#include "proto/envoy.h"
#include "proto/passthrough.h"
#include "proto/validate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    RETRIES = 2,
    /* How often another host is drawn when the one drawn has failed the request already: with half of the endpoints
     * dead, all draws miss once in two thousand. */
    RETRY_DRAWS_MAX = 10,
};

const char *route_configuration_name(const struct listener_plan *p, const struct plan_chain *chain, char *buf,
                                     size_t n)
{
    (void)snprintf(buf, n, "%s|%s", p->name, chain->id);
    return buf;
}

/* ---- one route ---- */

static pb_route_match *route_match(struct arena *a, const struct route *route)
{
    pb_route_match *m = pb_route_match_new(a);

    if (!route || route->match == ROUTE_PREFIX) {
        m->path_specifier_case = PB_ROUTE(ROUTE_MATCH__PATH_SPECIFIER_PREFIX);
        m->prefix = PB_TEXT(route ? route->match_value : "/");
    } else if (route->match == ROUTE_PATH) {
        m->path_specifier_case = PB_ROUTE(ROUTE_MATCH__PATH_SPECIFIER_PATH);
        m->path = PB_TEXT(route->match_value);
    } else {
        m->path_specifier_case = PB_ROUTE(ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX);
        m->safe_regex = pb_regex_new(a);
        /* Envoy's case_sensitive does not reach into a regex. */
        m->safe_regex->regex =
            route->case_sensitive ? PB_TEXT(route->match_value) : arena_printf(a, "(?i)%s", route->match_value);
    }
    if (route && !route->case_sensitive && route->match != ROUTE_REGEX)
        m->case_sensitive = pb_bool_of(a, false);
    return m;
}

static pb_redirect *redirect(struct arena *a, const struct redirect *r)
{
    pb_redirect *m = pb_redirect_new(a);

    switch (r->response_code) {
    case 302:
        m->response_code = PB_ROUTE(REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__FOUND);
        break;
    case 303:
        m->response_code = PB_ROUTE(REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__SEE_OTHER);
        break;
    case 307:
        m->response_code = PB_ROUTE(REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__TEMPORARY_REDIRECT);
        break;
    case 308:
        m->response_code = PB_ROUTE(REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__PERMANENT_REDIRECT);
        break;
    default: /* 301 */
        break;
    }
    if (r->host)
        m->host_redirect = PB_TEXT(r->host);
    if (r->https) {
        m->scheme_rewrite_specifier_case = PB_ROUTE(REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_HTTPS_REDIRECT);
        m->https_redirect = true;
    }
    if (r->path) {
        m->path_rewrite_specifier_case = PB_ROUTE(REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REDIRECT);
        m->path_redirect = PB_TEXT(r->path);
    } else if (r->prefix) {
        m->path_rewrite_specifier_case = PB_ROUTE(REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PREFIX_REWRITE);
        m->prefix_rewrite = PB_TEXT(r->prefix);
    }
    m->strip_query = r->strip_query;
    return m;
}

static pb_route_hash *hash_source_ip(struct arena *a)
{
    pb_route_hash *m = pb_route_hash_new(a);

    m->policy_specifier_case = PB_ROUTE(ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_CONNECTION_PROPERTIES);
    m->connection_properties = pb_hash_connection_new(a);
    m->connection_properties->source_ip = true;
    return m;
}

static pb_route_hash *hash_policy(struct arena *a, const struct hash_policy *p)
{
    pb_route_hash *m;

    if (p->cookie_name) {
        m = pb_route_hash_new(a);
        m->policy_specifier_case = PB_ROUTE(ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_COOKIE);
        m->cookie = pb_hash_cookie_new(a);
        m->cookie->name = PB_TEXT(p->cookie_name);
        if (p->cookie_path)
            m->cookie->path = PB_TEXT(p->cookie_path);
        if (p->cookie_ttl >= 0)
            m->cookie->ttl = pb_duration_of(a, p->cookie_ttl);
    } else if (p->header_name) {
        m = pb_route_hash_new(a);
        m->policy_specifier_case = PB_ROUTE(ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_HEADER);
        m->header = pb_hash_header_new(a);
        m->header->header_name = PB_TEXT(p->header_name);
    } else {
        m = hash_source_ip(a);
    }
    m->terminal = p->terminal;
    return m;
}

static void set_hash_policies(struct arena *a, const struct exposure *x, const struct route *route,
                              pb_route_action *m)
{
    size_t n = route ? route->n_hash_policies : 0;

    if (x->lb_policy != LB_RING_HASH && x->lb_policy != LB_MAGLEV)
        return;
    m->hash_policy = arena_array(a, pb_route_hash *, n + 1);
    for (size_t i = 0; i < n; i++)
        m->hash_policy[m->n_hash_policy++] = hash_policy(a, route->hash_policies[i]);
    /* Who asks for hashing and says nothing of what, means the client; as with L4, where it can't be said. */
    if (!n)
        m->hash_policy[m->n_hash_policy++] = hash_source_ip(a);
}

static pb_route_upgrade *websocket(struct arena *a, bool enabled)
{
    pb_route_upgrade *m = pb_route_upgrade_new(a);

    m->upgrade_type = PB_TEXT("websocket");
    m->enabled = pb_bool_of(a, enabled);
    return m;
}

static pb_route_action *route_action(struct arena *a, const struct exposure *x, const struct route *route)
{
    pb_route_action *m = pb_route_action_new(a);

    m->cluster_specifier_case = PB_ROUTE(ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER);
    m->cluster = PB_TEXT(x->name);
    set_hash_policies(a, x, route, m);
    if (!route)
        return m;
    if (route->cluster_header) {
        m->cluster_specifier_case = PB_ROUTE(ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER_HEADER);
        m->cluster_header = PB_TEXT(route->cluster_header);
    }
    if (route->prefix_rewrite)
        m->prefix_rewrite = PB_TEXT(route->prefix_rewrite);
    if (route->host_rewrite) {
        m->host_rewrite_specifier_case = PB_ROUTE(ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL);
        m->host_rewrite_literal = PB_TEXT(route->host_rewrite);
    }
    if (route->timeout >= 0)
        m->timeout = pb_duration_of(a, route->timeout);
    if (route->websocket >= 0) {
        m->upgrade_configs = pb_list_of(a, websocket(a, route->websocket));
        m->n_upgrade_configs = 1;
    }
    return m;
}

static void respond(struct arena *a, pb_route *m, uint32_t status)
{
    m->action_case = PB_ROUTE(ROUTE__ACTION_DIRECT_RESPONSE);
    m->direct_response = pb_direct_response_new(a);
    m->direct_response->status = status;
}

static bool cluster_header_refused(const struct route *route, const struct gateway *gateway)
{
    return route && !route->is_redirect && route->cluster_header && !gateway->allow_cluster_header;
}

/* route NULL: all paths. */
static pb_route *route_of(struct arena *a, const struct exposure *x, const struct route *route,
                          const struct gateway *gateway)
{
    pb_route *m = pb_route_new(a);

    m->match = route_match(a, route);
    if (cluster_header_refused(route, gateway)) {
        /* Not left out: its requests would fall to the routes behind it. */
        respond(a, m, PLAN_STATUS_REFUSED);
    } else if (route && route->is_redirect) {
        m->action_case = PB_ROUTE(ROUTE__ACTION_REDIRECT);
        m->redirect = redirect(a, &route->redirect);
    } else {
        m->action_case = PB_ROUTE(ROUTE__ACTION_ROUTE);
        m->route = route_action(a, x, route);
    }
    return m;
}

static int refuse_cluster_header(const struct route *route, struct err *e)
{
    err_set(e, -EPERM, NULL, "route_cluster_header",
            "lets a client choose any cluster of the gateway, which does not "
            "allow it");
    err_prefix_field(e, route->rid);
    return e->code;
}

static int check_message(const ProtobufCMessage *m, struct err *e)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    size_t n;
    const uint8_t *wire = pb_pack(a, m, &n);
    const struct schema_message *type = schema_find(m->descriptor->name);

    assert(type);
    return validate_wire(wire, n, type, e);
}

int routes_check(const struct exposure *x, const struct gateway *gateway, struct err *e)
{
    struct err scratch = {0};

    e = e ? e : &scratch;
    for (size_t i = 0; i < x->n_vhosts; i++) {
        for (size_t k = 0; k < x->vhosts[i]->n_routes; k++) {
            _cleanup_(arena_free_p) struct arena *a = arena_new();
            const struct route *route = x->vhosts[i]->routes[k];
            const pb_route *m = route_of(a, x, route, gateway);
            int r;

            if (cluster_header_refused(route, gateway))
                return refuse_cluster_header(route, e);
            r = check_message(&m->base, e);
            if (r < 0) {
                err_prefix_field(e, route->rid);
                return r;
            }
        }
    }
    return 0;
}

/* ---- virtual hosts ---- */

static pb_retry_host *not_the_previous(struct arena *a)
{
    pb_retry_host *previous = pb_retry_host_new(a);

    previous->name = PB_TEXT("envoy.retry_host_predicates.previous_hosts");
    previous->config_type_case = PB_ROUTE(RETRY_POLICY__RETRY_HOST_PREDICATE__CONFIG_TYPE_TYPED_CONFIG);
    previous->typed_config = pb_any_empty(a, "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate");
    return previous;
}

int retry_policy_make(struct arena *a, const struct gateway *gateway, pb_retry_policy **ret, struct err *e)
{
    struct passthrough given;
    pb_retry_policy *m;
    int r = passthrough_read(a, NULL, gateway, GATEWAY_RETRY_POLICY,
                             &envoy__config__route__v3__retry_policy__descriptor, &given, &m, e);

    if (r < 0)
        return r;
    if (!passthrough_has(&given, "retry_on"))
        m->retry_on = PB_TEXT("connect-failure,refused-stream");
    if (!passthrough_has(&given, "num_retries"))
        m->num_retries = pb_uint32_of(a, RETRIES);
    if (!passthrough_has(&given, "retry_host_predicate")) {
        m->retry_host_predicate = pb_list_of(a, not_the_previous(a));
        m->n_retry_host_predicate = 1;
    }
    if (!passthrough_has(&given, "host_selection_retry_max_attempts"))
        m->host_selection_retry_max_attempts = RETRY_DRAWS_MAX;
    passthrough_clear(&given);
    *ret = m;
    return check_message(&m->base, e);
}

/* Where several exposures share a virtual host, a route tells whose it is: by its cluster, or by its name where it
 * leads to none (see proto/parts.h). */
static pb_route *named_route(struct arena *a, const struct plan_vhost *vhost, const struct plan_route *pr,
                             const struct gateway *gateway)
{
    pb_route *m = route_of(a, pr->x, pr->route, gateway);
    bool leads = m->action_case == PB_ROUTE(ROUTE__ACTION_ROUTE) &&
                 m->route->cluster_specifier_case == PB_ROUTE(ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER);

    if (!leads && !strchr(vhost->name, '#'))
        m->name = PB_TEXT(pr->x->name);
    return m;
}

static pb_virtual_host *virtual_host(struct arena *a, const struct plan_vhost *vhost, pb_retry_policy *retries,
                                     const struct gateway *gateway)
{
    pb_virtual_host *m = pb_virtual_host_new(a);

    m->name = PB_TEXT(vhost->name);
    m->domains = (char **)(uintptr_t)vhost->domains;
    m->n_domains = vhost->n_domains;
    m->routes = arena_array(a, pb_route *, vhost->n_routes);
    m->n_routes = vhost->n_routes;
    for (size_t i = 0; i < vhost->n_routes; i++)
        m->routes[i] = named_route(a, vhost, &vhost->routes[i], gateway);
    m->retry_policy = retries;
    return m;
}

static pb_virtual_host *misdirected(struct arena *a)
{
    static char *any[] = {(char *)(uintptr_t) "*"};
    pb_virtual_host *m = pb_virtual_host_new(a);
    pb_route *route = pb_route_new(a);

    route->match = route_match(a, NULL);
    respond(a, route, PLAN_STATUS_MISDIRECTED);
    m->name = PB_TEXT("misdirected");
    m->domains = any;
    m->n_domains = 1;
    m->routes = pb_list_of(a, route);
    m->n_routes = 1;
    return m;
}

/* ---- the whole ---- */

static void report_cluster_headers(const struct plan_chain *chain, const struct translate_scope *scope)
{
    for (size_t i = 0; i < chain->n_vhosts; i++) {
        for (size_t k = 0; k < chain->vhosts[i].n_routes; k++) {
            const struct plan_route *pr = &chain->vhosts[i].routes[k];
            struct err e = {0};

            if (!cluster_header_refused(pr->route, scope->gateway))
                continue;
            (void)refuse_cluster_header(pr->route, &e); /* the report is all that is made of it */
            faults_add(scope->faults, &scope->place, pr->x->name, FAULT_ROUTE, &e);
        }
    }
}

/* Keeps the routes that pass, and tells of the others. Returns how many are left. */
static size_t filter_routes(pb_virtual_host *m, const struct plan_vhost *vhost, const struct translate_scope *scope)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n_routes; i++) {
        const struct plan_route *pr = &vhost->routes[i];
        struct err e = {0};

        if (check_message(&m->routes[i]->base, &e) == 0) {
            m->routes[kept++] = m->routes[i];
            continue;
        }
        err_prefix_field(&e, pr->route ? pr->route->rid : "vhosts");
        faults_add(scope->faults, &scope->place, pr->x->name, FAULT_ROUTE, &e);
    }
    return m->n_routes = kept;
}

/* All whose routes it has; vhost NULL: the one of the chain itself. */
static void tell_vhost(const struct translate_scope *scope, const struct plan_chain *chain,
                       const struct plan_vhost *vhost, struct err *e)
{
    err_field_to_text(e);
    for (size_t i = 0; vhost && i < vhost->n_routes; i++)
        faults_add(scope->faults, &scope->place, vhost->routes[i].x->name, FAULT_ROUTE, e);
    for (size_t i = 0; !vhost && i < chain->n_exposures; i++)
        faults_add(scope->faults, &scope->place, chain->exposures[i]->name, FAULT_ROUTE, e);
}

/* The slow way, after the whole was refused: leaves out the routes, then the virtual hosts, that are at fault. */
static void filter_virtual_hosts(pb_route_configuration *m, const struct plan_chain *chain,
                                 const struct translate_scope *scope)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n_virtual_hosts; i++) {
        const struct plan_vhost *vhost = i < chain->n_vhosts ? &chain->vhosts[i] : NULL;
        struct err e = {0};

        if (vhost && !filter_routes(m->virtual_hosts[i], vhost, scope))
            continue;
        if (check_message(&m->virtual_hosts[i]->base, &e) == 0)
            m->virtual_hosts[kept++] = m->virtual_hosts[i];
        else
            tell_vhost(scope, chain, vhost, &e);
    }
    m->n_virtual_hosts = kept;
}

static struct resource *pack(struct arena *a, const struct listener_plan *p, const struct plan_chain *chain,
                             const pb_route_configuration *m)
{
    size_t n = 0, max = 0;
    const char **clusters;

    for (size_t i = 0; i < m->n_virtual_hosts; i++)
        max += m->virtual_hosts[i]->n_routes;
    clusters = arena_array(a, const char *, max);
    for (size_t i = 0; i < m->n_virtual_hosts; i++) {
        for (size_t k = 0; k < m->virtual_hosts[i]->n_routes; k++) {
            const pb_route *route = m->virtual_hosts[i]->routes[k];

            if (route->action_case == PB_ROUTE(ROUTE__ACTION_ROUTE) &&
                route->route->cluster_specifier_case == PB_ROUTE(ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER))
                clusters[n++] = route->route->cluster;
        }
    }
    const struct resource_info info = {.type = XDS_ROUTE,
                                       .name = m->name,
                                       .owner = chain->n_exposures == 1 ? chain->holder->name : p->name,
                                       .clusters = clusters,
                                       .n_clusters = n};
    return resource_pack(&info, &m->base);
}

struct resource *route_configuration_make(const struct listener_plan *p, const struct plan_chain *chain,
                                          const struct translate_scope *scope)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    pb_route_configuration *m = pb_route_configuration_new(a);
    pb_retry_policy *retries;
    char name[ROUTE_NAME_MAX];
    struct err e = {0};
    int r = retry_policy_make(a, scope->gateway, &retries, &e);

    assert(r == 0); /* no gateway has a base that was not checked */

    m->name = PB_TEXT(route_configuration_name(p, chain, name, sizeof(name)));
    m->ignore_port_in_host_matching = true;
    m->virtual_hosts = arena_array(a, pb_virtual_host *, chain->n_vhosts + 1);
    for (size_t i = 0; i < chain->n_vhosts; i++)
        m->virtual_hosts[m->n_virtual_hosts++] = virtual_host(a, &chain->vhosts[i], retries, scope->gateway);
    if (plan_chain_answers_misdirected(p, chain))
        m->virtual_hosts[m->n_virtual_hosts++] = misdirected(a);
    report_cluster_headers(chain, scope);

    _cleanup_(resource_unref_p) struct resource *whole = pack(a, p, chain, m);
    if (resource_check(whole, &e) == 0)
        return take_ptr(whole);
    filter_virtual_hosts(m, chain, scope);
    return pack(a, p, chain, m);
}
