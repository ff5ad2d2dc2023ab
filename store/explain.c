/*
 * The steps that every connection takes: who listens (the kernel prefers an exact address to a wildcard), which
 * filter chain gets it (Envoy: the exact server name, then wildcards from the longest to the shortest, then the chain
 * without names), which certificate is shown, and at the end which endpoints there are.
 */
#include "store/explain.h"

#include "store/explainer.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { SDS_NAME_SIZE = 512 };

/* ---- what an answer is made of ---- */

void explain_rival(struct explainer *x, struct explain_step *step, const char *name, const char *fmt, ...)
{
    va_list ap;

    if (step->n_rivals == EXPLAIN_RIVALS_MAX) {
        step->n_omitted++;
        return;
    }
    if (!step->rivals)
        step->rivals = arena_array(x->arena, struct explain_rival, EXPLAIN_RIVALS_MAX);
    va_start(ap, fmt);
    _cleanup_(mem_free_p) char *reason = mem_vprintf(fmt, ap);
    va_end(ap);
    step->rivals[step->n_rivals++] = (struct explain_rival){name, arena_strdup(x->arena, reason)};
}

void explain_note(struct explainer *x, const char *fmt, ...)
{
    va_list ap;

    if (x->to->n_notes == EXPLAIN_NOTES_MAX)
        return;
    va_start(ap, fmt);
    _cleanup_(mem_free_p) char *text = mem_vprintf(fmt, ap);
    va_end(ap);
    x->to->notes[x->to->n_notes++] = arena_strdup(x->arena, text);
}

size_t explain_exactness(const char *domain, const char *host)
{
    enum { ANY = 1, PREFIX = 2, SUFFIX = 1 << 16, EXACT = 1 << 24 };
    size_t n = strlen(domain), m = strlen(host);

    if (strcmp(domain, "*") == 0)
        return ANY;
    if (strcmp(domain, host) == 0)
        return EXACT;
    if (domain[0] == '*' && n - 1 < m && strcmp(domain + 1, host + m - (n - 1)) == 0)
        return SUFFIX + n;
    if (domain[n - 1] == '*' && n - 1 < m && strncmp(domain, host, n - 1) == 0)
        return PREFIX + n;
    return 0;
}

/* Whether one of the names takes the name that was asked for; text: and stands in it (NULL: anyway). */
static bool has_taker(const char *const *names, size_t n, const char *name, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        _cleanup_(mem_free_p) char *quoted = mem_printf("\"%s\"", names[i]);

        if (explain_exactness(names[i], name) && (!text || strstr(text, quoted)))
            return true;
    }
    return false;
}

static bool wants(const struct exposure *e, const char *name, const char *text)
{
    if (!name || has_taker(e->sni, e->n_sni, name, text))
        return true;
    for (size_t i = 0; i < e->n_vhosts; i++)
        if (has_taker(e->vhosts[i]->domains, e->vhosts[i]->n_domains, name, text))
            return true;
    return false;
}

void explain_losers(struct explainer *x, struct explain_step *step, const char *name)
{
    const struct listener_plan *plan = x->to->listener;

    for (size_t i = 0; i < plan->n_verdicts; i++) {
        const struct verdict *verdict = &plan->verdicts[i];
        const struct service_exposure *sx = view_exposure(x->view, verdict->exposure);
        bool served = verdict->kind == VERDICT_ACCEPTED || verdict->kind == VERDICT_PARTIAL;

        for (size_t k = 0; sx && k < verdict->n_problems; k++) {
            const struct problem *p = &verdict->problems[k];

            if (problem_is_fatal(p) && (!served || name) && wants(sx->x, name, served ? p->text : NULL))
                explain_rival(x, step, verdict->exposure, "%s: %s", p->code, p->text);
        }
    }
}

/* ---- the listener ---- */

static const struct listener_plan *listener_at(const struct explainer *x, const struct address *address)
{
    char name[64];

    (void)listener_name(address, x->q->port, x->q->protocol, name); /* it is in name */
    return view_listener(x->view, arena_printf(x->arena, "%s|%s", x->q->gateway->name, name));
}

static const char *why_closed(const struct listener_plan *plan)
{
    return plan->n_verdicts && plan->verdicts[0].n_problems ? plan->verdicts[0].problems[0].text
                                                            : "nobody on it can be served";
}

static bool is_wildcard(const struct address *a)
{
    const struct address any = {.family = a->family};

    return address_compare(a, &any) == 0;
}

/* Those with the same port that did not get the connection. */
static void tell_other_listeners(struct explainer *x)
{
    const struct listener_plan *won = x->to->listener;
    struct explain_step *step = &x->to->listener_step;

    for (const struct listener_plan *p = pmap_after(x->view->listeners, &view_listeners, ""); p;
         p = pmap_after(x->view->listeners, &view_listeners, p->key)) {
        if (p == won || p->port != x->q->port || p->protocol != x->q->protocol)
            continue;
        if (strcmp(p->gateway, x->q->gateway->name) != 0)
            explain_rival(x, step, p->key, "it is of the gateway %s", p->gateway);
        else if (p->n_chains == 0)
            explain_rival(x, step, p->key, "it is not opened: %s", why_closed(p));
        else if (p->address.family != x->q->address.family)
            explain_rival(x, step, p->key, "it is of the other version of IP");
        else if (is_wildcard(&p->address))
            explain_rival(x, step, p->key, "the address of %s is more exact", won ? won->name : "another");
        else
            explain_rival(x, step, p->key, "it has another address");
    }
}

static bool find_listener(struct explainer *x)
{
    const struct address any = {.family = x->q->address.family};
    const struct listener_plan *exact = listener_at(x, &x->q->address), *wildcard = listener_at(x, &any);
    bool is_exact = exact && exact->n_chains;
    char text[ADDRESS_TEXT_MAX];

    x->to->listener = is_exact ? exact : wildcard && wildcard->n_chains ? wildcard : NULL;
    (void)address_text(&x->q->address, text); /* it is in text */
    x->to->listener_step.reason =
        is_exact          ? "it listens at just this address"
        : x->to->listener ? "it listens at all addresses, and nobody at just this one"
                          : arena_printf(x->arena, "the gateway %s opens no %s port %u at %s", x->q->gateway->name,
                                         x->q->protocol == PROTOCOL_UDP ? "UDP" : "TCP", x->q->port, text);
    tell_other_listeners(x);
    if (x->to->listener)
        return true;
    x->to->outcome = EXPLAIN_NO_LISTENER;
    x->to->summary = x->q->protocol == PROTOCOL_UDP ? "nobody listens there: what is sent is lost"
                                                    : "nobody listens there: the connection is refused";
    return false;
}

/* ---- the filter chain ---- */

static bool has_name(const struct plan_chain *chain, const char *name)
{
    for (size_t i = 0; i < chain->n_server_names; i++)
        if (strcmp(chain->server_names[i], name) == 0)
            return true;
    return false;
}

/* The dot of the next wildcard behind `from`, as Envoy tries them: none is the first character, nor the last. */
static const char *next_dot(const char *name, const char *from)
{
    const char *dot = *from ? strchr(from + 1, '.') : NULL;

    return dot && dot[1] && dot > name ? dot : NULL;
}

/* The most exact of the chain's names that takes the server name, in the arena; NULL: none. */
static const char *best_name(const struct explainer *x, const struct plan_chain *chain, const char *name)
{
    if (has_name(chain, name))
        return name;
    for (const char *dot = next_dot(name, name); *name && dot; dot = next_dot(name, dot)) {
        const char *wildcard = arena_printf(x->arena, "*%s", dot);

        if (has_name(chain, wildcard))
            return wildcard;
    }
    return NULL;
}

/* What an exact name has is more than any wildcard; of wildcards, the longer. */
static bool is_more_exact(const char *a, const char *b)
{
    bool wild_a = strncmp(a, "*.", 2) == 0, wild_b = strncmp(b, "*.", 2) == 0;

    return wild_a == wild_b ? strlen(a) > strlen(b) : wild_b;
}

/* As the TLS inspector gives it: in lower case; NULL where none is read. */
static const char *server_name(const struct explainer *x)
{
    char *name;

    if (!x->q->tls || !x->q->server_name)
        return NULL;
    name = arena_strdup(x->arena, x->q->server_name);
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return name;
}

static void pick_chain(struct explainer *x, const char *name)
{
    const struct listener_plan *plan = x->to->listener;

    for (size_t i = 0; i < plan->n_chains; i++) {
        const struct plan_chain *chain = &plan->chains[i];
        const char *best = name ? best_name(x, chain, name) : NULL;

        if (best && (!x->to->server_name || is_more_exact(best, x->to->server_name))) {
            x->to->chain = chain;
            x->to->server_name = best;
        } else if (chain->is_default && !x->to->chain) {
            x->to->chain = chain;
        }
    }
}

static void tell_other_chains(struct explainer *x, const char *name)
{
    const struct listener_plan *plan = x->to->listener;
    struct explain_step *step = &x->to->chain_step;

    if (name)
        explain_losers(x, step, name);
    for (size_t i = 0; i < plan->n_chains; i++) {
        const struct plan_chain *chain = &plan->chains[i];
        const char *best = name ? best_name(x, chain, name) : NULL;

        if (chain == x->to->chain)
            continue;
        if (best)
            explain_rival(x, step, chain->id, "its name \"%s\" is less exact than \"%s\"", best, x->to->server_name);
        else if (chain->is_default)
            explain_rival(x, step, chain->id, "it takes only what no other chain has a name for");
        else if (name)
            explain_rival(x, step, chain->id, "none of its server names takes \"%s\"", name);
        else
            explain_rival(x, step, chain->id, "it takes connections by their server name, and this has none");
    }
    if (!name)
        explain_losers(x, step, NULL);
}

static bool find_chain(struct explainer *x)
{
    const char *name = server_name(x);
    struct explain_step *step = &x->to->chain_step;

    pick_chain(x, name);
    if (x->to->server_name)
        step->reason = arena_printf(x->arena, "its server name \"%s\" takes \"%s\"", x->to->server_name, name);
    else if (!x->to->chain)
        step->reason = "no chain takes the connection";
    else if (x->to->listener->n_chains == 1)
        step->reason = "it is the only chain, and takes every connection";
    else if (name)
        step->reason = arena_printf(x->arena, "no chain has a name that takes \"%s\", and it takes the rest", name);
    else
        step->reason = "the connection has no server name, and it takes the rest";
    tell_other_chains(x, name);
    if (x->to->chain)
        return true;
    x->to->outcome = EXPLAIN_NO_CHAIN;
    x->to->summary = name ? arena_printf(x->arena,
                                         "no chain of the listener takes the server name \"%s\": the "
                                         "connection is closed",
                                         name)
                          : "every chain of the listener wants a server name: the connection is closed";
    return false;
}

/* ---- TLS ---- */

/* How well a certificate fits the name, as Envoy looks for one: 2 its exact name, 1 the wildcard one label up. */
static int fit_of(const struct secret *s, const char *name)
{
    const char *dot = strchr(name, '.');
    int best = 0;

    for (size_t i = 0; s && i < s->info.n_names; i++) {
        const char *one = s->info.names[i];

        if (strcmp(one, name) == 0)
            return 2;
        if (dot && dot > name && dot[1] && one[0] == '*' && strcmp(one + 1, dot) == 0)
            best = 1;
    }
    return best;
}

static const struct secret *secret_of(const struct explainer *x, const struct certificate *c)
{
    return c->secret ? view_secret(x->view, c->secret) : NULL;
}

static const char *pair_name(const struct explainer *x, const struct certificate *c)
{
    char name[SDS_NAME_SIZE];

    return arena_strdup(x->arena, sds_pair_name(c, name, sizeof(name)));
}

/* Whether a goes before b: the better fit, then what is ECDSA, as every client takes it now, then the first. */
static bool is_shown_before(const struct explainer *x, const struct certificate *a, const struct certificate *b,
                            const char *name)
{
    const struct secret *s = secret_of(x, a), *t = secret_of(x, b);
    int fit_a = name ? fit_of(s, name) : 0, fit_b = name ? fit_of(t, name) : 0;

    if (fit_a != fit_b)
        return fit_a > fit_b;
    return s && t && s->info.ecdsa && !t->info.ecdsa && (!name || fit_a);
}

static void tell_certificate(struct explainer *x, const struct certificate *c, const char *name)
{
    struct explain_step *step = &x->to->certificate_step;
    const struct secret *s = secret_of(x, c), *winner = secret_of(x, x->to->certificate);

    if (!c->secret)
        explain_rival(x, step, pair_name(x, c), "it is not read here: whether it fits better is not known");
    else if (name && fit_of(s, name) < fit_of(winner, name))
        explain_rival(x, step, pair_name(x, c), "%s is made out for the server name more exactly",
                      x->to->certificate_name);
    else if (s && winner && winner->info.ecdsa && !s->info.ecdsa)
        explain_rival(x, step, pair_name(x, c), "it is for clients that don't take ECDSA");
    else
        explain_rival(x, step, pair_name(x, c), "it fits no better, and %s comes first", x->to->certificate_name);
}

static void find_certificate(struct explainer *x)
{
    const struct plan_chain *chain = x->to->chain;
    const char *name = x->q->server_name; /* as it was sent: here case counts */
    struct explain_step *step = &x->to->certificate_step;
    const struct certificate *won = NULL;
    bool unread = false;

    for (size_t i = 0; i < chain->n_certificates; i++) {
        unread |= !chain->certificates[i]->secret;
        if (!won || is_shown_before(x, chain->certificates[i], won, name))
            won = chain->certificates[i];
    }
    if (!won)
        return;
    x->to->certificate = won;
    x->to->certificate_name = pair_name(x, won);
    step->reason = chain->n_certificates == 1                ? "it is the chain's only certificate"
                   : name && fit_of(secret_of(x, won), name) ? "it is made out for the server name"
                                                             : "none is made out for the server name: the first is "
                                                               "shown";
    for (size_t i = 0; i < chain->n_certificates; i++)
        if (chain->certificates[i] != won)
            tell_certificate(x, chain->certificates[i], name);
    if (chain->n_certificates > 1 && unread)
        explain_note(x, "certificates from files and inline are not read here: another one may be shown");
}

static bool end_handshake(struct explainer *x, const char *fmt, const char *what)
{
    x->to->outcome = EXPLAIN_NO_HANDSHAKE;
    x->to->summary = arena_printf(x->arena, "%s: %s", fmt, what);
    return false;
}

/* Whether the connection comes to something as far as TLS goes. */
static bool shake_hands(struct explainer *x)
{
    const struct plan_chain *chain = x->to->chain;

    if (chain->tls)
        find_certificate(x);
    if (chain->tls && !x->q->tls)
        return end_handshake(x, "the chain ends TLS, and the client speaks plaintext", "the connection is closed");
    if (!chain->tls && x->q->tls && chain->kind == CHAIN_L7)
        return end_handshake(x, "the chain serves plaintext HTTP, and the client speaks TLS",
                             "it gets a plaintext 400 for an answer, and its handshake fails");
    if (chain->validation && !x->q->client_certificate)
        return end_handshake(x, "the chain wants a client certificate, and the client has none that is trusted",
                             "the handshake fails");
    if (chain->kind == CHAIN_L4 && !chain->tls && x->q->tls)
        explain_note(x, "TLS passes through: it ends at the endpoint, which shows its own certificate");
    return true;
}

/* ---- the cluster ---- */

/* Whether the gateway's proxies know the cluster: its exposure is in effect on the gateway. */
static bool has_cluster(const struct explainer *x, const struct service_exposure *sx)
{
    const struct verdict *verdict;
    const struct listener_plan *plan;

    if (!sx || !service_exposure_listens(sx) || strcmp(sx->gateway, x->q->gateway->name) != 0)
        return false;
    plan = view_exposure_plan(x->view, sx);
    verdict = plan ? listener_plan_verdict(plan, sx->x->name) : NULL;
    return verdict && (verdict->kind == VERDICT_ACCEPTED || verdict->kind == VERDICT_PARTIAL);
}

/* The secret that the cluster's TLS lacks; NULL: none. */
static const char *missing_secret(const struct explainer *x, const struct exposure *exposure)
{
    const struct certificate *c = exposure->cluster_certificate;
    const struct secret *pair = c && c->secret ? view_secret(x->view, c->secret) : NULL;
    const struct secret *trust = c && c->validation_secret ? view_secret(x->view, c->validation_secret) : NULL;

    if (c && c->secret && !(pair && pair->has_pair))
        return c->secret;
    return c && c->validation_secret && !(trust && trust->has_trust) ? c->validation_secret : NULL;
}

static const char *endpoint_text(const struct explainer *x, const struct endpoint *one)
{
    char text[ENDPOINT_NAME_MAX];

    return arena_strdup(x->arena, endpoint_name(one, text, sizeof(text)));
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text && *text ? text : otherwise;
}

static void tell_endpoint(struct explainer *x, const struct endpoint *one)
{
    struct explain_step *step = &x->to->cluster_step;

    if (one->refused)
        explain_rival(x, step, endpoint_text(x, one), "its address is not allowed for an endpoint");
    else if (one->drained)
        explain_rival(x, step, endpoint_text(x, one), "it is drained over the API");
    else
        explain_rival(x, step, endpoint_text(x, one), "it is %s on %s", or_else(one->state, "down"),
                      or_else(one->node, "no node"));
}

static void list_endpoints(struct explainer *x, const struct service_exposure *sx)
{
    struct explanation *to = x->to;
    bool resolved = false;

    to->endpoints = arena_array(x->arena, const struct endpoint *, EXPLAIN_ENDPOINTS_MAX);
    for (size_t i = 0; i < sx->n_endpoints; i++) {
        const struct endpoint *one = &sx->endpoints[i];

        resolved |= one->host != NULL;
        if (one->refused || one->drained || !one->up)
            tell_endpoint(x, one);
        else if (to->n_endpoints == EXPLAIN_ENDPOINTS_MAX)
            to->n_endpoints_omitted++;
        else
            to->endpoints[to->n_endpoints++] = one;
    }
    if (resolved)
        explain_note(x, "names of endpoints are resolved by each proxy: what they stand for there is not known here");
}

static void end_without_endpoint(struct explainer *x, bool http, const char *why)
{
    x->to->outcome = EXPLAIN_NO_ENDPOINT;
    x->to->status = http ? 503 : 0;
    x->to->cluster_step.reason = why;
    x->to->n_endpoints = x->to->n_endpoints_omitted = 0;
    x->to->summary = arena_printf(x->arena, "%s, %s", why,
                                  http                             ? "so the gateway answers 503"
                                  : x->q->protocol == PROTOCOL_UDP ? "so what is sent is lost"
                                                                   : "so the connection is closed");
}

void explain_cluster(struct explainer *x, const char *cluster, bool http)
{
    struct explanation *to = x->to;
    const struct service_exposure *sx = view_exposure(x->view, cluster);
    const char *missing;

    to->cluster = cluster;
    if (!has_cluster(x, sx)) {
        end_without_endpoint(x, http, arena_printf(x->arena, "the gateway has no cluster \"%s\"", cluster));
        return;
    }
    to->exposure = sx;
    missing = missing_secret(x, sx->x);
    list_endpoints(x, sx);
    if (missing) {
        end_without_endpoint(
            x, http, arena_printf(x->arena, "TLS towards the endpoints of %s lacks the secret %s", cluster, missing));
    } else if (sx->x->lb_policy == LB_ORIGINAL_DST) {
        to->n_endpoints = 0;
        to->cluster_step.reason = "it goes to the address that the client meant before the connection was redirected";
        to->summary = arena_printf(x->arena, "%s passes it on to where the client wanted to go", cluster);
    } else if (to->n_endpoints == 0) {
        end_without_endpoint(x, http, arena_printf(x->arena, "no endpoint of %s is up", cluster));
    } else {
        to->cluster_step.reason = arena_printf(x->arena, "%zu of %zu endpoints are up",
                                               to->n_endpoints + to->n_endpoints_omitted, sx->n_endpoints);
        to->summary = arena_printf(x->arena, "it goes to %s, where %s", cluster, to->cluster_step.reason);
    }
}

/* ---- the whole ---- */

void explain(const struct view *v, const struct explain_question *q, struct arena *arena, struct explanation *ret)
{
    struct explain_question question = *q;
    struct explainer x = {.view = v, .q = &question, .arena = arena, .to = ret};

    *ret = (struct explanation){.outcome = EXPLAIN_FORWARDED};
    /* The kernel hands an IPv4 client of an IPv6 socket over as what it is. */
    question.address = address_unmapped(&q->address);
    if (!find_listener(&x) || !find_chain(&x) || !shake_hands(&x))
        return;
    if (ret->chain->kind == CHAIN_L7)
        explain_http(&x);
    else
        explain_cluster(&x, ret->chain->holder->name, false);
}
