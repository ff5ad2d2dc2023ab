/*
 * Whether two plans say the same. Declarations that were decoded anew hold equal content at other addresses, so
 * everything that is translated or shown is compared; equal addresses spare it.
 */
#include "store/plan.h"

#include "base/text.h"

#include <string.h>

static bool same_certificate(const struct certificate *a, const struct certificate *b)
{
    if (a == b || !a || !b)
        return a == b;
    return text_equal(a->name, b->name) && text_equal(a->secret, b->secret) &&
           text_equal(a->validation_secret, b->validation_secret) && text_equal(a->chain_file, b->chain_file) &&
           text_equal(a->key_file, b->key_file) && text_equal(a->chain_inline, b->chain_inline) &&
           text_equal(a->key_inline, b->key_inline);
}

/* As far as a listener and its routes speak of it. */
static bool same_exposure(const struct exposure *a, const struct exposure *b)
{
    return a == b || (text_equal(a->name, b->name) && a->lb_policy == b->lb_policy &&
                      text_equal(a->filter_config_data, b->filter_config_data));
}

static bool same_hash_policy(const struct hash_policy *a, const struct hash_policy *b)
{
    return a == b || (text_equal(a->cookie_name, b->cookie_name) && text_equal(a->cookie_path, b->cookie_path) &&
                      a->cookie_ttl == b->cookie_ttl && text_equal(a->header_name, b->header_name) &&
                      a->source_ip == b->source_ip && a->terminal == b->terminal);
}

static bool same_redirect(const struct redirect *a, const struct redirect *b)
{
    return text_equal(a->host, b->host) && text_equal(a->path, b->path) && text_equal(a->prefix, b->prefix) &&
           a->response_code == b->response_code && a->https == b->https && a->strip_query == b->strip_query;
}

static bool same_match(const struct route *a, const struct route *b)
{
    return a->match == b->match && text_equal(a->match_value, b->match_value) &&
           a->case_sensitive == b->case_sensitive;
}

static bool same_action(const struct route *a, const struct route *b)
{
    for (size_t i = 0; a->n_hash_policies == b->n_hash_policies && i < a->n_hash_policies; i++)
        if (!same_hash_policy(a->hash_policies[i], b->hash_policies[i]))
            return false;
    return a->n_hash_policies == b->n_hash_policies && text_equal(a->prefix_rewrite, b->prefix_rewrite) &&
           text_equal(a->host_rewrite, b->host_rewrite) && text_equal(a->cluster_header, b->cluster_header) &&
           a->timeout == b->timeout && a->websocket == b->websocket && a->is_redirect == b->is_redirect;
}

static bool same_route(const struct route *a, const struct route *b)
{
    if (a == b || !a || !b)
        return a == b;
    return text_equal(a->rid, b->rid) && same_match(a, b) && same_action(a, b) &&
           same_redirect(&a->redirect, &b->redirect);
}

static bool same_vhost(const struct plan_vhost *a, const struct plan_vhost *b)
{
    if (!text_equal(a->name, b->name) || !text_lists_equal(a->domains, a->n_domains, b->domains, b->n_domains) ||
        a->n_routes != b->n_routes)
        return false;
    for (size_t i = 0; i < a->n_routes; i++)
        if (!same_exposure(a->routes[i].x, b->routes[i].x) || !same_route(a->routes[i].route, b->routes[i].route))
            return false;
    return true;
}

static bool same_certificates(const struct plan_chain *a, const struct plan_chain *b)
{
    for (size_t i = 0; a->n_certificates == b->n_certificates && i < a->n_certificates; i++)
        if (!same_certificate(a->certificates[i], b->certificates[i]))
            return false;
    return a->n_certificates == b->n_certificates && same_certificate(a->validation, b->validation);
}

static bool same_chain(const struct plan_chain *a, const struct plan_chain *b)
{
    if (a->kind != b->kind || a->tls != b->tls || a->is_default != b->is_default || a->is_split != b->is_split ||
        !text_equal(a->id, b->id) ||
        !text_lists_equal(a->server_names, a->n_server_names, b->server_names, b->n_server_names) ||
        !same_certificates(a, b) || a->n_exposures != b->n_exposures || a->n_vhosts != b->n_vhosts)
        return false;
    for (size_t i = 0; i < a->n_exposures; i++)
        if (!same_exposure(a->exposures[i], b->exposures[i]))
            return false;
    for (size_t i = 0; i < a->n_vhosts; i++)
        if (!same_vhost(&a->vhosts[i], &b->vhosts[i]))
            return false;
    return true;
}

static bool same_verdict(const struct verdict *a, const struct verdict *b)
{
    if (a->kind != b->kind || !text_equal(a->exposure, b->exposure) || a->n_problems != b->n_problems)
        return false;
    for (size_t i = 0; i < a->n_problems; i++)
        if (!text_equal(a->problems[i].code, b->problems[i].code) ||
            !text_equal(a->problems[i].field, b->problems[i].field) ||
            !text_equal(a->problems[i].text, b->problems[i].text))
            return false;
    return true;
}

bool listener_plan_equal(const struct listener_plan *a, const struct listener_plan *b)
{
    if (a == b)
        return true;
    if (!text_equal(a->key, b->key) || a->tls_inspector != b->tls_inspector ||
        a->server_first_warning != b->server_first_warning || a->n_chains != b->n_chains ||
        a->n_verdicts != b->n_verdicts)
        return false;
    for (size_t i = 0; i < a->n_chains; i++)
        if (!same_chain(&a->chains[i], &b->chains[i]))
            return false;
    for (size_t i = 0; i < a->n_verdicts; i++)
        if (!same_verdict(&a->verdicts[i], &b->verdicts[i]))
            return false;
    return true;
}
