/*
 * What becomes of an HTTP request on its chain: the checks that come before routes, the virtual host, the route, and
 * its action, in Envoy's order.
 */
#include "base/regex.h"
#include "store/explainer.h"
#include "store/request_path.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { STATUS_BAD = 400, STATUS_NOT_ALLOWED = 403, STATUS_NOT_FOUND = 404, STATUS_MOVED = 301, STATUS_AGAIN = 307 };

/* A request on its way through the steps. */
struct walk {
    struct explainer *x;
    struct http_policy policy;
    const char *host; /* in lower case, without a port */
    const char *path; /* as routes see it, with the query */
};

static void answer(struct walk *w, enum explain_outcome outcome, unsigned status, const char *summary)
{
    w->x->to->outcome = outcome;
    w->x->to->status = status;
    w->x->to->summary = summary;
}

static const char *header(const struct walk *w, const char *name)
{
    const struct explain_question *q = w->x->q;

    for (size_t i = 0; i < q->n_headers; i++)
        if (strcasecmp(q->headers[i].name, name) == 0)
            return q->headers[i].value;
    return NULL;
}

/* ---- before the routes ---- */

static bool passes_headers(struct walk *w)
{
    const struct explain_question *q = w->x->q;

    for (size_t i = 0; w->policy.reject_underscores && i < q->n_headers; i++) {
        if (!strchr(q->headers[i].name, '_'))
            continue;
        answer(w, EXPLAIN_REFUSED, STATUS_BAD,
               arena_printf(w->x->arena, "a header field with \"_\" in its name (%s) is refused with 400",
                            q->headers[i].name));
        return false;
    }
    return true;
}

static bool passes_path(struct walk *w)
{
    struct explainer *x = w->x;
    const char *found;

    switch (request_path(x->q->path, &w->policy, x->arena, &found)) {
    case PATH_BAD:
        answer(w, EXPLAIN_REFUSED, STATUS_BAD, arena_printf(x->arena, "%s: it is refused with 400", found));
        return false;
    case PATH_REDIRECT:
        x->to->location = found;
        answer(w, EXPLAIN_REDIRECTED, STATUS_AGAIN,
               "the path holds escaped slashes: the client is sent to where they are none");
        return false;
    case PATH_KEPT:
        break;
    }
    if (strcmp(found, x->q->path) != 0)
        explain_note(x, "the path is brought into its normal form before routes see it: %s", found);
    w->path = found;
    return true;
}

/* ---- the virtual host ---- */

/* In lower case; the port goes, and the colon, whatever stands behind it (ignore_port_in_host_matching). */
static const char *host_to_match(const struct explainer *x)
{
    const char *colon = strrchr(x->q->host, ':'), *bracket = strrchr(x->q->host, ']');
    size_t n = colon && (!bracket || bracket < colon) ? (size_t)(colon - x->q->host) : strlen(x->q->host);
    char *host = arena_strndup(x->arena, x->q->host, n);

    for (char *p = host; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return host;
}

static const char *best_domain(const struct plan_vhost *vhost, const char *host, size_t *ret_exactness)
{
    const char *best = NULL;

    *ret_exactness = 0;
    for (size_t i = 0; i < vhost->n_domains; i++) {
        size_t found = explain_exactness(vhost->domains[i], host);

        if (found > *ret_exactness) {
            *ret_exactness = found;
            best = vhost->domains[i];
        }
    }
    return best;
}

static void tell_other_vhosts(struct walk *w)
{
    struct explanation *to = w->x->to;
    size_t found;

    explain_losers(w->x, &to->vhost_step, w->host);
    for (size_t i = 0; i < to->chain->n_vhosts; i++) {
        const struct plan_vhost *vhost = &to->chain->vhosts[i];
        const char *domain = best_domain(vhost, w->host, &found);

        if (vhost != to->vhost && domain)
            explain_rival(w->x, &to->vhost_step, vhost->name, "its domain \"%s\" is less exact than \"%s\"", domain,
                          to->domain);
    }
    for (size_t i = 0; i < to->chain->n_vhosts; i++) {
        const struct plan_vhost *vhost = &to->chain->vhosts[i];

        if (vhost != to->vhost && !best_domain(vhost, w->host, &found))
            explain_rival(w->x, &to->vhost_step, vhost->name, "none of its domains has \"%s\"", w->host);
    }
}

/* Who would have served the host, on another chain of the listener. */
static void tell_other_places(struct walk *w)
{
    const struct listener_plan *plan = w->x->to->listener;
    size_t found;

    for (size_t i = 0; i < plan->n_chains; i++) {
        const struct plan_chain *chain = &plan->chains[i];

        for (size_t k = 0; chain != w->x->to->chain && k < chain->n_vhosts; k++) {
            const char *domain = best_domain(&chain->vhosts[k], w->host, &found);

            if (domain)
                explain_rival(w->x, &w->x->to->vhost_step, chain->vhosts[k].name,
                              "its domain \"%s\" has the host, but it is on the chain %s", domain, chain->id);
        }
    }
}

static bool find_vhost(struct walk *w)
{
    struct explanation *to = w->x->to;
    size_t best = 0, found;

    w->host = host_to_match(w->x);
    for (size_t i = 0; i < to->chain->n_vhosts; i++) {
        const char *domain = best_domain(&to->chain->vhosts[i], w->host, &found);

        if (found > best) {
            best = found;
            to->vhost = &to->chain->vhosts[i];
            to->domain = domain;
        }
    }
    to->vhost_step.reason =
        to->vhost ? arena_printf(w->x->arena, "its domain \"%s\" has the host \"%s\"", to->domain, w->host)
                  : arena_printf(w->x->arena, "no virtual host of the chain has the host \"%s\"", w->host);
    if (!to->vhost)
        tell_other_places(w);
    tell_other_vhosts(w);
    if (to->vhost)
        return true;
    if (plan_chain_answers_misdirected(to->listener, to->chain))
        answer(w, EXPLAIN_MISDIRECTED, PLAN_STATUS_MISDIRECTED,
               arena_printf(w->x->arena,
                            "the host \"%s\" is not served on this chain: 421, and a client that reused "
                            "the connection opens another",
                            w->host));
    else
        answer(w, EXPLAIN_NO_VHOST, STATUS_NOT_FOUND,
               arena_printf(w->x->arena, "the host \"%s\" is served by nobody: 404", w->host));
    return false;
}

/* ---- the route ---- */

static size_t path_length(const char *path)
{
    return strcspn(path, "?");
}

static bool regex_matches(const struct route *r, const char *path, size_t n)
{
    _cleanup_(mem_free_p) char *pattern = mem_printf("%s%s", r->case_sensitive ? "" : "(?i)", r->match_value);
    struct regex *regex;
    bool found;

    if (regex_new(pattern, &regex, NULL, NULL) < 0)
        return false; /* such a route is in no plan */
    found = regex_full_match(regex, path, n);
    regex_free(regex);
    return found;
}

static bool route_matches(const struct route *r, const char *path)
{
    size_t n = path_length(path), m = r ? strlen(r->match_value) : 0;

    if (!r)
        return true;
    if (r->match == ROUTE_REGEX)
        return regex_matches(r, path, n);
    if (r->match == ROUTE_PATH ? m != n : m > n)
        return false;
    return (r->case_sensitive ? strncmp(path, r->match_value, m) : strncasecmp(path, r->match_value, m)) == 0;
}

static const char *route_name(const struct walk *w, const struct plan_route *pr)
{
    return pr->route ? arena_printf(w->x->arena, "%s %s", pr->x->name, pr->route->rid) : pr->x->name;
}

static const char *match_text(const struct walk *w, const struct route *r)
{
    static const char *const words[] = {
        [ROUTE_PREFIX] = "match_prefix", [ROUTE_PATH] = "match_path", [ROUTE_REGEX] = "match_regex"};

    if (!r)
        return "no routes, so every path is taken,";
    return arena_printf(w->x->arena, "%s \"%s\"%s", words[r->match], r->match_value,
                        r->case_sensitive ? "" : " (without regard to case)");
}

/* Those behind the winner that match too, then those that don't. */
static void tell_other_routes(struct walk *w)
{
    const struct plan_vhost *vhost = w->x->to->vhost;
    struct explain_step *step = &w->x->to->route_step;
    size_t won = w->x->to->route ? (size_t)(w->x->to->route - vhost->routes) : vhost->n_routes;
    size_t i = won + 1;

    for (; i < vhost->n_routes && step->n_rivals < EXPLAIN_RIVALS_MAX / 2; i++)
        if (route_matches(vhost->routes[i].route, w->path))
            explain_rival(w->x, step, route_name(w, &vhost->routes[i]), "%s matches too, and comes later",
                          match_text(w, vhost->routes[i].route));
    step->n_omitted += i < vhost->n_routes ? vhost->n_routes - i : 0;
    for (i = 0; i < won; i++)
        explain_rival(w->x, step, route_name(w, &vhost->routes[i]), "%s does not match the path",
                      match_text(w, vhost->routes[i].route));
}

static bool find_route(struct walk *w)
{
    struct explanation *to = w->x->to;
    const struct plan_vhost *vhost = to->vhost;

    for (size_t i = 0; i < vhost->n_routes && !to->route; i++)
        if (route_matches(vhost->routes[i].route, w->path))
            to->route = &vhost->routes[i];
    if (to->route)
        to->route_step.reason =
            arena_printf(w->x->arena, "%s is the first that matches the path", match_text(w, to->route->route));
    else
        to->route_step.reason =
            arena_printf(w->x->arena, "no route matches the path %.*s", (int)path_length(w->path), w->path);
    tell_other_routes(w);
    if (!to->route)
        answer(w, EXPLAIN_NO_ROUTE, STATUS_NOT_FOUND, arena_printf(w->x->arena, "%s: 404", to->route_step.reason));
    return to->route != NULL;
}

/* ---- what the route does ---- */

/* What was matched gives way: a prefix its own length, a path and a regex the whole path; the query stays. */
static const char *rewritten(const struct walk *w, const struct route *r, const char *rewrite)
{
    size_t n = r->match == ROUTE_PREFIX ? strlen(r->match_value) : path_length(w->path);

    return rewrite ? arena_printf(w->x->arena, "%s%s", rewrite, w->path + n) : w->path;
}

static const char *redirect_path(const struct walk *w, const struct route *r)
{
    const struct redirect *to = &r->redirect;
    const char *path = rewritten(w, r, to->prefix);

    /* A query of its own replaces the request's. */
    if (to->path && strchr(to->path, '?'))
        return to->path;
    if (to->path)
        path = arena_printf(w->x->arena, "%s%s", to->path, path + path_length(path));
    return to->strip_query ? arena_strndup(w->x->arena, path, path_length(path)) : path;
}

/* The request's, without a port that is the default one of the scheme that it came with, when that changes. */
static const char *redirect_host(const struct walk *w, const char *scheme, const char *old_scheme)
{
    const char *host = w->x->q->host;
    const char *port = host[0] == '[' ? strstr(host, "]:") : strrchr(host, ':');
    const char *default_port = strcmp(old_scheme, "https") == 0 ? ":443" : ":80";

    if (port && *port == ']')
        port++;
    if (!port || strcmp(scheme, old_scheme) == 0 || strcmp(port, default_port) != 0)
        return host;
    return arena_strndup(w->x->arena, host, (size_t)(port - host));
}

static void redirect(struct walk *w, const struct route *r)
{
    const char *old_scheme = w->x->to->chain->tls ? "https" : "http";
    const char *scheme = r->redirect.https ? "https" : old_scheme;
    const char *host = r->redirect.host ? r->redirect.host : redirect_host(w, scheme, old_scheme);

    w->x->to->location = arena_printf(w->x->arena, "%s://%s%s", scheme, host, redirect_path(w, r));
    answer(w, EXPLAIN_REDIRECTED, r->redirect.response_code ? (unsigned)r->redirect.response_code : STATUS_MOVED,
           arena_printf(w->x->arena, "%s sends the client to %s", r->rid, w->x->to->location));
}

static bool holds_token(const char *list, const char *token)
{
    size_t n = strlen(token);

    for (const char *p = list; p && *p; p += strcspn(p, ",")) {
        p += strspn(p, ", \t");
        if (strncasecmp(p, token, n) == 0 && strchr(", \t", p[n]))
            return true;
    }
    return false;
}

/* Upgrades: a route's word before the listener's; only websockets are known. */
static bool passes_upgrade(struct walk *w)
{
    const struct route *r = w->x->to->route ? w->x->to->route->route : NULL;
    const char *upgrade = header(w, "upgrade");
    bool websocket = upgrade && strcasecmp(upgrade, "websocket") == 0;
    bool said = r && !r->is_redirect && r->websocket >= 0;

    if (!upgrade || !holds_token(header(w, "connection"), "upgrade"))
        return true;
    if (websocket && (said ? r->websocket == 1 : w->policy.websockets))
        return true;
    answer(w, EXPLAIN_REFUSED, STATUS_NOT_ALLOWED,
           arena_printf(w->x->arena, "an upgrade to \"%s\" is not allowed here: 403", upgrade));
    return false;
}

static void forward(struct walk *w, const struct plan_route *pr)
{
    const struct route *r = pr->route;
    const char *cluster = pr->x->name;

    if (r && r->cluster_header) {
        cluster = header(w, r->cluster_header);
        if (!cluster)
            cluster = "";
    }
    w->x->to->forwarded_host = r && r->host_rewrite ? r->host_rewrite : w->x->q->host;
    w->x->to->forwarded_path = r ? rewritten(w, r, r->prefix_rewrite) : w->path;
    explain_cluster(w->x, cluster, true);
}

static void act(struct walk *w)
{
    const struct plan_route *pr = w->x->to->route;
    const struct route *r = pr->route;

    if (r && !r->is_redirect && r->cluster_header && !w->x->q->gateway->allow_cluster_header)
        answer(w, EXPLAIN_REFUSED, PLAN_STATUS_REFUSED,
               "the route lets the client choose any cluster (route_cluster_header), which the gateway does not "
               "allow: 503");
    else if (r && r->is_redirect)
        redirect(w, r);
    else
        forward(w, pr);
}

void explain_http(struct explainer *x)
{
    struct walk w = {.x = x};

    w.policy = http_policy_default;
    http_policy_read(x->q->gateway->bases[GATEWAY_HTTP], &w.policy);
    http_policy_read(x->to->chain->holder->filter_config_data, &w.policy);
    if (w.policy.more_filters)
        explain_note(x, "%s or its gateway has HTTP filters of its own, which may answer before the route does",
                     x->to->chain->holder->name);
    if (!passes_headers(&w) || !passes_path(&w))
        return;
    bool routed = find_vhost(&w) && find_route(&w);
    /* To Envoy the 421 is a route as well. */
    if ((routed || x->to->outcome == EXPLAIN_MISDIRECTED) && passes_upgrade(&w) && routed)
        act(&w);
}
