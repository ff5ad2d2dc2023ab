/*
 * The plan of a listener: what each claim is by itself, then chains and names, then virtual hosts, then verdicts.
 *
 * An exposure that has a server name and is then left without a route (all its domains are somebody else's) must not
 * keep the name from others: it is taken out and all is planned again. That is rare, and bounded: past REPLANS_MAX a
 * name may stay with a chain that has nothing for it.
 */
#include "store/plan.h"

#include "base/text.h"
#include "store/hostname.h"
#include "store/planner.h"
#include "store/spec.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { REPLANS_MAX = 8, NAMESPACE_MAX = 256 };

/* ---- names ---- */

const char *listener_name(const struct address *a, uint16_t port, enum protocol protocol, char buf[64])
{
    char text[ADDRESS_TEXT_MAX];
    bool v6 = a->family == AF_INET6;

    snprintf(buf, 64, "%s%s%s:%u/%s", v6 ? "[" : "", address_text(a, text), v6 ? "]" : "", port,
             spec_protocols[protocol]);
    return buf;
}

char *exposure_listener_key(const struct service_exposure *sx)
{
    char name[64];

    return mem_printf("%s|%s", sx->gateway,
                      listener_name(&sx->x->listener_addr, sx->listener_port, sx->x->protocol, name));
}

const char *sds_pair_name(const struct certificate *c, char *buf, size_t n)
{
    int length = snprintf(buf, n, "tls_certificate/%s", c->secret ? c->secret : c->name);

    assert(length >= 0 && (size_t)length < n);
    return buf;
}

const char *sds_trust_name(const struct certificate *c, char *buf, size_t n)
{
    int length = snprintf(buf, n, "validation_context/%s", c->validation_secret);

    assert(length >= 0 && (size_t)length < n);
    return buf;
}

/* ---- claims by themselves ---- */

static bool may_use_secret(const struct planner *pl, const struct party *p, const char *path)
{
    const struct plan_context *context = pl->context;
    char ns[NAMESPACE_MAX];

    if (!path)
        return true;
    object_namespace(path, ns, sizeof(ns));
    return strcmp(ns, p->ns) == 0 ||
           (context->granted && context->granted(context->granted_arg, p->ns, "secret", path));
}

static void check_grants(const struct planner *pl, struct party *p, const struct certificate *c)
{
    static const char text[] = "%s belongs to another namespace, which has not granted its use";

    if (!may_use_secret(pl, p, c->secret))
        problem_add(&p->problems, "not_allowed", c->rid, "certificate_secret", text, c->secret);
    if (!may_use_secret(pl, p, c->validation_secret))
        problem_add(&p->problems, "not_allowed", c->rid, "validation_secret", text, c->validation_secret);
}

/* What a certificate wants of a secret, and what there is. */
struct need {
    const char *path, *keyword; /* path NULL: nothing */
    bool there;
    const char *problem; /* NULL, or with the newest values */
    const char *nothing; /* said when there is none and no problem */
};

/* false: it can't be served. */
static bool check_need(struct party *p, const struct certificate *c, const struct need *n)
{
    if (!n->path)
        return true;
    if (!n->there)
        problem_add(&p->problems, "unready", c->rid, n->keyword, "%s can't be served: %s", n->path,
                    n->problem ? n->problem : n->nothing);
    else if (n->problem)
        problem_add(&p->problems, "warning", c->rid, n->keyword, "the last good form of %s is served: %s", n->path,
                    n->problem);
    return n->there;
}

static const struct secret *find_secret(const struct planner *pl, const char *path)
{
    static const struct secret unread = {.pair_problem = "it was not read yet",
                                         .trust_problem = "it was not read yet"};
    const struct secret *s = path ? pl->context->secrets(pl->context->secrets_arg, path) : NULL;

    return s ? s : &unread;
}

/* false: the secrets that a certificate names can't be served. */
static bool check_secrets(const struct planner *pl, struct party *p, const struct certificate *c)
{
    const struct secret *pair = find_secret(pl, c->secret), *trust = find_secret(pl, c->validation_secret);
    const struct need needs[] = {
        {c->secret, "certificate_secret", pair->has_pair, pair->pair_problem,
         "it has no certificate_chain and no private_key"},
        {c->validation_secret, "validation_secret", trust->has_trust, trust->trust_problem, "it has no trusted_ca"},
    };
    bool pair_ready = check_need(p, c, &needs[0]);

    return check_need(p, c, &needs[1]) && pair_ready;
}

/* Whether one of the certificates has the name; those that nobody read here may. */
static bool is_covered_by(const struct planner *pl, const struct exposure *x, const char *name)
{
    for (size_t i = 0; i < x->n_listener_certificates; i++) {
        const struct certificate *c = x->listener_certificates[i];
        const struct secret *s = find_secret(pl, c->secret);

        if (!c->secret && !c->chain_file && !c->chain_inline)
            continue;
        if (!c->secret || s->info.n_names == 0 || certificate_covers(&s->info, name))
            return true;
    }
    return x->n_listener_certificates == 0;
}

/* Clients will refuse what they are shown: no fault of ours, but somebody will look for it. */
static void check_names(const struct planner *pl, struct party *p)
{
    const struct exposure *x = p->x;

    for (size_t i = 0; i < x->n_sni; i++)
        if (!is_covered_by(pl, x, x->sni[i]))
            problem_add(&p->problems, "warning", x->rid, "sni", "no certificate is made out for \"%s\"", x->sni[i]);
    for (size_t v = 0; v < x->n_vhosts; v++)
        for (size_t i = 0; i < x->vhosts[v]->n_domains; i++) {
            const char *domain = x->vhosts[v]->domains[i];

            if (hostname_fits_sni(domain) && !is_covered_by(pl, x, domain))
                problem_add(&p->problems, "warning", x->vhosts[v]->rid, "domains",
                            "no certificate is made out for \"%s\"", domain);
        }
}

static void judge_alone(const struct planner *pl, struct party *p)
{
    const struct exposure *x = p->x;
    const struct certificate *c;

    for (size_t i = 0; x->valid && (c = exposure_certificate(x, i)) != NULL; i++)
        check_grants(pl, p, c);
    for (size_t i = 0; !x->valid && i < x->n_problems; i++)
        problem_append(&p->problems, &x->problems[i]);
    p->invalid = !x->valid || p->problems.fatal;
}

/* A cluster's secret that is missing costs the exposure its endpoints, but not its place: nobody else gets it. */
static void judge_secrets(const struct planner *pl, struct party *p)
{
    const struct exposure *x = p->x;

    for (size_t i = 0; i < x->n_listener_certificates; i++)
        p->not_ready |= !check_secrets(pl, p, x->listener_certificates[i]);
    check_names(pl, p);
    if (x->cluster_certificate)
        p->lost |= !check_secrets(pl, p, x->cluster_certificate);
}

/* ---- planning ---- */

static int compare_parties(const void *a, const void *b)
{
    const struct party *x = a, *y = b;

    return party_order(x->sx->since, x, y->sx->since, y);
}

static void add_parties(struct planner *pl, const struct claim *claims, size_t n)
{
    char ns[NAMESPACE_MAX];

    pl->parties = arena_array(pl->scratch, struct party, n);
    pl->n_parties = n;
    for (size_t i = 0; i < n; i++) {
        object_namespace(claims[i].sx->x->path, ns, sizeof(ns));
        pl->parties[i] = (struct party){.sx = claims[i].sx,
                                        .x = claims[i].sx->x,
                                        .ns = arena_strdup(pl->scratch, ns),
                                        .problems = {.arena = pl->arena}};
    }
    qsort(pl->parties, n, sizeof(*pl->parties), compare_parties);
    for (size_t i = 0; i < n; i++)
        judge_alone(pl, &pl->parties[i]);
}

static void start_over(struct planner *pl)
{
    map_clear(&pl->by_identity);
    map_clear(&pl->owners);
    pl->default_owner = NULL;
    pl->n_chains = 0;
    for (size_t i = 0; i < pl->n_parties; i++) {
        struct party *p = &pl->parties[i];

        p->out = p->invalid || p->gone;
        if (p->out)
            continue;
        p->lost = p->not_ready = false;
        p->chain = NULL;
        p->n_names = p->n_routes = 0;
        p->problems.count = 0;
        judge_secrets(pl, p);
    }
}

static bool is_gone(const struct owner *owner)
{
    if (!owner || !owner->party->out || owner->party->gone)
        return false;
    owner->party->gone = true;
    return true;
}

/* Whether somebody has a name without a route to use it. */
static bool has_idle_owners(struct planner *pl)
{
    bool idle = is_gone(pl->default_owner);
    struct map_entry *e;

    for (size_t i = 0; map_next(&pl->owners, &i, &e);)
        idle |= is_gone(e->value);
    return idle;
}

static void plan(struct planner *pl)
{
    int replans = 0;

    do {
        start_over(pl);
        planner_make_chains(pl);
        for (size_t i = 0; i < pl->n_chains; i++)
            if (pl->chains[i]->kind == CHAIN_L7)
                planner_make_vhosts(pl, pl->chains[i]);
    } while (has_idle_owners(pl) && ++replans <= REPLANS_MAX);
}

/* ---- chains as they are kept ---- */

static void set_certificates(struct planner *pl, struct plan_chain *chain)
{
    const struct exposure *x = chain->holder;
    const struct certificate **pairs = arena_array(pl->arena, const struct certificate *, x->n_listener_certificates);

    chain->certificates = pairs;
    for (size_t i = 0; i < x->n_listener_certificates; i++) {
        const struct certificate *c = x->listener_certificates[i];

        if (c->secret || c->chain_file || c->chain_inline)
            pairs[chain->n_certificates++] = c;
        if (c->validation_secret)
            chain->validation = c;
    }
}

/* False: nobody is left on it, or it can't be served. */
static bool make_chain(struct planner *pl, const struct draft_chain *draft, struct plan_chain *ret)
{
    struct plan_chain chain = {.kind = draft->kind,
                               .id = draft->id,
                               .is_default = draft->is_default,
                               .tls = draft->tls,
                               .vhosts = draft->vhosts,
                               .n_vhosts = draft->n_vhosts};

    chain.exposures = arena_array(pl->arena, const struct exposure *, draft->n_parties);
    for (size_t i = 0; i < draft->n_parties; i++) {
        const struct party *p = draft->parties[i];

        if (p->not_ready)
            return false;
        if (!p->out)
            chain.exposures[chain.n_exposures++] = p->x;
    }
    if (chain.n_exposures == 0)
        return false;
    chain.holder = chain.exposures[0];
    set_certificates(pl, &chain);
    chain.n_server_names = draft->n_server_names;
    chain.server_names =
        arena_dup(pl->arena, draft->server_names, draft->n_server_names * sizeof(*chain.server_names));
    if (chain.n_server_names)
        qsort(chain.server_names, chain.n_server_names, sizeof(*chain.server_names), text_compare);
    *ret = chain;
    return true;
}

static int compare_chains(const void *a, const void *b)
{
    return strcmp(((const struct plan_chain *)a)->id, ((const struct plan_chain *)b)->id);
}

/* What may be split yet. */
struct split_budget {
    size_t names, bytes;
};

static void split(struct split_budget *left, struct plan_chain *chain)
{
    const char *repeated = chain->holder->filter_config_data;
    size_t bytes = repeated ? strlen(repeated) : 0;

    chain->is_split = chain->n_server_names <= left->names && bytes * chain->n_server_names <= left->bytes;
    if (!chain->is_split)
        return;
    left->names -= chain->n_server_names;
    left->bytes -= bytes * chain->n_server_names;
}

static void keep_chains(struct planner *pl, struct listener_plan *to)
{
    struct split_budget left = {PLAN_SPLIT_MAX, PLAN_SPLIT_BYTES_MAX};
    struct plan_chain *chains = arena_array(pl->scratch, struct plan_chain, pl->n_chains);
    size_t n = 0;

    for (size_t i = 0; i < pl->n_chains; i++) {
        if (!make_chain(pl, pl->chains[i], &chains[n]))
            continue;
        split(&left, &chains[n]);
        n++;
    }
    if (n)
        qsort(chains, n, sizeof(*chains), compare_chains);
    for (size_t i = 0; i < n; i++)
        to->tls_inspector |= chains[i].n_server_names > 0 || chains[i].tls;
    for (size_t i = 0; i < n; i++)
        to->server_first_warning |=
            to->tls_inspector && chains[i].kind == CHAIN_L4 && !chains[i].tls && chains[i].is_default;
    to->chains = arena_dup(pl->arena, chains, n * sizeof(*chains));
    to->n_chains = n;
}

/* ---- verdicts ---- */

static enum verdict_kind verdict_of(const struct party *p)
{
    if (p->invalid)
        return VERDICT_INVALID;
    if (p->out)
        return VERDICT_CONFLICT;
    if (p->not_ready)
        return VERDICT_NOT_READY;
    return p->lost ? VERDICT_PARTIAL : VERDICT_ACCEPTED;
}

static int compare_verdicts(const void *a, const void *b)
{
    return strcmp(((const struct verdict *)a)->exposure, ((const struct verdict *)b)->exposure);
}

static void keep_verdicts(struct planner *pl, struct listener_plan *to)
{
    to->verdicts = arena_array(pl->arena, struct verdict, pl->n_parties);
    to->n_verdicts = pl->n_parties;
    for (size_t i = 0; i < pl->n_parties; i++) {
        struct party *p = &pl->parties[i];

        if (to->server_first_warning && !p->out && !p->x->n_vhosts && !p->x->n_listener_certificates && !p->x->n_sni)
            problem_add(&p->problems, "warning", p->x->rid, "listener_port",
                        "others on this listener are told apart by server name: a protocol in which the server "
                        "speaks first starts with a second's delay");
        to->verdicts[i] = (struct verdict){
            .exposure = p->x->name,
            .kind = verdict_of(p),
            .problems = arena_dup(pl->arena, p->problems.items, p->problems.count * sizeof(struct problem)),
            .n_problems = p->problems.count,
        };
        mem_free(p->problems.items);
    }
    qsort(to->verdicts, to->n_verdicts, sizeof(*to->verdicts), compare_verdicts);
}

/* ---- the door ---- */

static int compare_pointers(const void *a, const void *b)
{
    const uintptr_t x = (uintptr_t) * (void *const *)a, y = (uintptr_t) * (void *const *)b;

    return x < y ? -1 : x > y;
}

static void keep_declarations(const struct claim *claims, size_t n, struct listener_plan *to)
{
    struct declaration **all = arena_array(to->arena, struct declaration *, n);

    for (size_t i = 0; i < n; i++)
        all[i] = claims[i].sx->declaration;
    qsort(all, n, sizeof(*all), compare_pointers);
    for (size_t i = 0; i < n; i++)
        if (to->n_declarations == 0 || all[to->n_declarations - 1] != all[i])
            all[to->n_declarations++] = declaration_ref(all[i]);
    to->declarations = all;
}

static struct listener_plan *new_plan(const char *gateway, const struct service_exposure *sx)
{
    struct listener_plan *p = mem_new(struct listener_plan);
    char name[64];

    p->refs = 1;
    p->arena = arena_new();
    p->address = sx->x->listener_addr;
    p->port = sx->listener_port;
    p->protocol = sx->x->protocol;
    p->gateway = arena_strdup(p->arena, gateway);
    p->name = arena_strdup(p->arena, listener_name(&p->address, p->port, p->protocol, name));
    p->key = arena_printf(p->arena, "%s|%s", gateway, p->name);
    return p;
}

struct listener_plan *listener_plan_new(const char *gateway, const struct claim *claims, size_t n,
                                        const struct plan_context *context)
{
    struct listener_plan *to;
    struct planner pl = {.context = context};

    assert(n > 0);
    to = new_plan(gateway, claims[0].sx);
    for (size_t i = 0; i < n; i++)
        assert(claims[i].sx->listener_port == to->port && claims[i].sx->x->protocol == to->protocol &&
               address_compare(&claims[i].sx->x->listener_addr, &to->address) == 0);
    keep_declarations(claims, n, to);
    pl.arena = to->arena;
    pl.scratch = arena_new();
    add_parties(&pl, claims, n);
    plan(&pl);
    keep_chains(&pl, to);
    keep_verdicts(&pl, to);
    map_clear(&pl.by_identity);
    map_clear(&pl.owners);
    arena_free(pl.scratch);
    return to;
}

struct listener_plan *listener_plan_ref(struct listener_plan *p)
{
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
    return p;
}

void listener_plan_unref(struct listener_plan *p)
{
    if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < p->n_declarations; i++)
        declaration_unref(p->declarations[i]);
    arena_free(p->arena);
    mem_free(p);
}

const struct verdict *listener_plan_verdict(const struct listener_plan *p, const char *exposure)
{
    const struct verdict wanted = {.exposure = exposure};

    return p->n_verdicts ? bsearch(&wanted, p->verdicts, p->n_verdicts, sizeof(wanted), compare_verdicts) : NULL;
}

bool listener_plan_needs_original_dst(const struct listener_plan *p)
{
    for (size_t i = 0; i < p->n_chains; i++)
        for (size_t k = 0; k < p->chains[i].n_exposures; k++)
            if (p->chains[i].exposures[k]->lb_policy == LB_ORIGINAL_DST)
                return true;
    return false;
}

static bool serves_any_host(const struct plan_chain *chain)
{
    for (size_t i = 0; i < chain->n_vhosts; i++)
        for (size_t k = 0; k < chain->vhosts[i].n_domains; k++)
            if (strcmp(chain->vhosts[i].domains[k], "*") == 0)
                return true;
    return false;
}

bool plan_chain_answers_misdirected(const struct listener_plan *p, const struct plan_chain *chain)
{
    return chain->tls && p->n_chains > 1 && !serves_any_host(chain);
}

const char *plan_chain_part(struct arena *arena, const struct plan_chain *chain, const char *name)
{
    if (!name)
        return arena_strdup(arena, chain->id);
    return arena_printf(arena, "%s:%s", chain->id, chain->is_split ? name : "names");
}

size_t listener_plan_filter_chains(const struct listener_plan *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_chains; i++)
        n += p->chains[i].is_default + (p->chains[i].is_split ? p->chains[i].n_server_names : 1);
    return n;
}

const struct plan_chain *listener_plan_find_chain(const struct listener_plan *p, const char *filter_chain)
{
    for (size_t i = 0; i < p->n_chains; i++) {
        const struct plan_chain *chain = &p->chains[i];
        size_t n = strlen(chain->id);

        if (strncmp(filter_chain, chain->id, n) == 0 && (filter_chain[n] == ':' || !filter_chain[n]))
            return chain;
    }
    return NULL;
}
