/*
 * The virtual hosts of a chain.
 *
 * A domain that one virtual host claims stays with it. One that several claim becomes a virtual host of its own,
 * whose routes are merged from all of theirs: first each match is given to the first that has it, then always the
 * best of the heads goes out, so that each list keeps its order. A heap holds the heads: a domain that thousands
 * share costs no more than sorting.
 */
#include "store/planner.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct domain_claim {
    const char *domain;
    uint64_t since;
    struct party *party;
    size_t vhost; /* index in the exposure */
};

/* One virtual host's routes on their way into a merged one. */
struct stream {
    struct party *party;
    const struct vhost *vhost;
    const struct route **routes; /* that are its own; NULL in it: the one that takes everything, undeclared */
    size_t n_routes, next;
    size_t rank; /* the holder has 0 */
};

struct merge {
    struct planner *pl;
    const char *domain;   /* NULL: nobody shares */
    struct stream **heap; /* the best head first */
    size_t n_heap;
    struct map seen; /* struct plan_route by match */
};

/* ---- the order of routes ---- */

static bool takes_everything(const struct route *r)
{
    return !r || (r->match == ROUTE_PREFIX && strcmp(r->match_value, "/") == 0);
}

/* What takes everything comes last, or a later exposure could take all from a holder that has but a regex. */
static int kind_order(const struct route *r)
{
    if (takes_everything(r))
        return 3;
    return r->match == ROUTE_PATH ? 0 : r->match == ROUTE_PREFIX ? 1 : 2;
}

/* Exact path, longer prefix, shorter prefix, regex, everything; then the holder's. */
static bool goes_before(const struct stream *a, const struct stream *b)
{
    const struct route *x = a->routes[a->next], *y = b->routes[b->next];
    int kind_a = kind_order(x), kind_b = kind_order(y);
    size_t length_a = x ? strlen(x->match_value) : 1, length_b = y ? strlen(y->match_value) : 1;

    if (kind_a != kind_b)
        return kind_a < kind_b;
    if (kind_a == 1 && length_a != length_b)
        return length_a > length_b;
    return a->rank < b->rank;
}

static void sink(struct merge *m, size_t i)
{
    for (;;) {
        size_t best = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < m->n_heap; child++)
            if (goes_before(m->heap[child], m->heap[best]))
                best = child;
        if (best == i)
            return;
        struct stream *moved = m->heap[i];

        m->heap[i] = m->heap[best];
        m->heap[best] = moved;
        i = best;
    }
}

/* ---- who has which match ---- */

static const char *match_keyword(const struct route *r)
{
    return r->match == ROUTE_PATH ? "match_path" : r->match == ROUTE_REGEX ? "match_regex" : "match_prefix";
}

/* What must be equal for two routes to match the same; ret_n bytes. */
static const char *match_key(struct planner *pl, const struct route *r, size_t *ret_n)
{
    char *key;

    if (!r || takes_everything(r)) {
        *ret_n = 1;
        return "/";
    }
    *ret_n = strlen(r->match_value) + 2;
    key = arena_alloc(pl->scratch, *ret_n + 1);
    key[0] = (char)('0' + r->match);
    key[1] = r->case_sensitive ? 's' : 'i';
    memcpy(key + 2, r->match_value, *ret_n - 2);
    /* In a regex the case of a letter may be its meaning: \s, \S. */
    for (char *p = key + 2; !r->case_sensitive && r->match != ROUTE_REGEX && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return key;
}

static void lose_route(const struct merge *m, struct stream *s, const struct route *r,
                       const struct plan_route *winner)
{
    struct party *p = s->party;
    const char *rid = r ? r->rid : s->vhost->rid, *keyword = r ? match_keyword(r) : "routes";

    if (winner->x == p->x) {
        problem_add(&p->problems, "shadowed", rid, keyword, "never reached: taken by %s",
                    winner->route ? winner->route->rid : "another virtual host");
        return;
    }
    p->lost = true;
    problem_add_conflict(&p->problems, rid, keyword, winner->x->name, "on domain \"%s\", held by %s", m->domain,
                         winner->x->name);
}

/* Behind a route that takes everything nothing is reached; the declaration has told it. */
static void settle_matches(struct merge *m, struct stream *s)
{
    static const struct route *const everything[] = {NULL};
    const struct route *const *declared = s->vhost->n_routes ? s->vhost->routes : everything;
    size_t n = s->vhost->n_routes ? s->vhost->n_routes : 1;
    bool end = false;

    s->routes = arena_array(m->pl->scratch, const struct route *, n);
    for (size_t i = 0; i < n && !end; i++) {
        size_t key_len;
        const char *key = match_key(m->pl, declared[i], &key_len);
        struct plan_route *winner = map_get(&m->seen, key, key_len);

        end = takes_everything(declared[i]);
        if (winner) {
            lose_route(m, s, declared[i], winner);
            continue;
        }
        winner = arena_new_of(m->pl->scratch, struct plan_route);
        *winner = (struct plan_route){.x = s->party->x, .route = declared[i]};
        map_put(&m->seen, key, key_len, winner);
        s->routes[s->n_routes++] = declared[i];
    }
    s->party->n_routes += s->n_routes;
}

/* Merges n streams, the holder's first, into a virtual host that has its name and domains. */
static void merge_streams(struct planner *pl, const char *domain, struct stream *streams, size_t n,
                          struct plan_vhost *vhost)
{
    struct merge m = {.pl = pl, .domain = domain, .heap = arena_array(pl->scratch, struct stream *, n)};
    size_t total = 0;

    for (size_t i = 0; i < n; i++) {
        streams[i].rank = i;
        settle_matches(&m, &streams[i]);
        total += streams[i].n_routes;
        if (streams[i].n_routes > 0)
            m.heap[m.n_heap++] = &streams[i];
    }
    map_clear(&m.seen);
    vhost->routes = arena_array(pl->arena, struct plan_route, total);
    for (size_t i = m.n_heap / 2; i-- > 0;)
        sink(&m, i);
    while (m.n_heap > 0) {
        struct stream *s = m.heap[0];

        vhost->routes[vhost->n_routes++] = (struct plan_route){.x = s->party->x, .route = s->routes[s->next]};
        if (++s->next == s->n_routes)
            m.heap[0] = m.heap[--m.n_heap];
        sink(&m, 0);
    }
}

/* ---- domains ---- */

static int compare_claims(const void *a, const void *b)
{
    const struct domain_claim *x = a, *y = b;
    int order = strcmp(x->domain, y->domain);

    if (order == 0)
        order = party_order(x->since, x->party, y->since, y->party);
    if (order == 0)
        order = x->vhost < y->vhost ? -1 : x->vhost > y->vhost;
    return order;
}

/* All domains that parties of the chain claim and that connections can come for. */
static struct domain_claim *gather(struct planner *pl, const struct draft_chain *chain, size_t *ret_n)
{
    struct domain_claim *claims;
    size_t n = 0;

    for (size_t i = 0; i < chain->n_parties; i++)
        for (size_t v = 0; v < chain->parties[i]->x->n_vhosts; v++)
            n += chain->parties[i]->x->vhosts[v]->n_domains;
    claims = arena_array(pl->scratch, struct domain_claim, n);
    n = 0;
    for (size_t i = 0; i < chain->n_parties; i++) {
        struct party *p = chain->parties[i];
        const struct exposure *x = p->x;

        if (p->out)
            continue;
        p->own = arena_array(pl->scratch, struct own_vhost, x->n_vhosts);
        for (size_t v = 0; v < x->n_vhosts; v++) {
            p->own[v].domains = arena_array(pl->arena, const char *, x->vhosts[v]->n_domains);
            for (size_t k = 0; k < x->vhosts[v]->n_domains; k++) {
                const char *domain = x->vhosts[v]->domains[k];

                if (!party_is_matched_by_domain(p) || planner_owner(pl, domain)->chain == chain)
                    claims[n++] = (struct domain_claim){
                        .domain = domain, .since = service_exposure_since(p->sx, domain), .party = p, .vhost = v};
            }
        }
    }
    *ret_n = n;
    return claims;
}

static bool may_share(const struct planner *pl, const struct party *holder, const struct party *p, const char *domain)
{
    const struct plan_context *context = pl->context;

    return strcmp(holder->ns, p->ns) == 0 ||
           (context->granted && context->granted(context->granted_arg, p->ns, "domain", domain));
}

static struct plan_vhost *new_vhost(struct planner *pl, struct draft_chain *chain)
{
    chain->vhosts = arena_room(pl->arena, chain->vhosts, chain->n_vhosts, &chain->vhosts_cap, sizeof(*chain->vhosts));
    return &chain->vhosts[chain->n_vhosts++];
}

static void share_domain(struct planner *pl, struct draft_chain *chain, const char *domain, struct stream *streams,
                         size_t n)
{
    struct plan_vhost *vhost = new_vhost(pl, chain);

    vhost->name = domain;
    vhost->domains = arena_array(pl->arena, const char *, 1);
    vhost->domains[0] = domain;
    vhost->n_domains = 1;
    merge_streams(pl, domain, streams, n, vhost);
}

/* Of n claims on one domain, the holder's first. */
static void settle_domain(struct planner *pl, struct draft_chain *chain, const struct domain_claim *claims, size_t n)
{
    struct party *holder = claims[0].party;
    struct stream *streams;
    size_t sharers = 0;

    if (n == 1) {
        struct own_vhost *own = &holder->own[claims[0].vhost];

        own->domains[own->n_domains++] = claims[0].domain;
        return;
    }
    streams = arena_array(pl->scratch, struct stream, n);
    for (size_t i = 0; i < n; i++) {
        struct party *p = claims[i].party;
        const struct vhost *vhost = p->x->vhosts[claims[i].vhost];

        if (may_share(pl, holder, p, claims[i].domain)) {
            streams[sharers++] = (struct stream){.party = p, .vhost = vhost};
            continue;
        }
        p->lost = true;
        problem_add_conflict(&p->problems, vhost->rid, "domains", holder->x->name,
                             "domain \"%s\" is held by %s, of another namespace", claims[i].domain, holder->x->name);
    }
    if (sharers > 1) {
        share_domain(pl, chain, claims[0].domain, streams, sharers);
        return;
    }
    settle_domain(pl, chain, claims, 1);
}

static void make_own_vhosts(struct planner *pl, struct draft_chain *chain, struct party *p)
{
    for (size_t v = 0; v < p->x->n_vhosts; v++) {
        struct stream stream = {.party = p, .vhost = p->x->vhosts[v]};
        struct plan_vhost *vhost;

        if (p->own[v].n_domains == 0)
            continue;
        vhost = new_vhost(pl, chain);
        vhost->name = p->x->vhosts[v]->name;
        vhost->domains = p->own[v].domains;
        vhost->n_domains = p->own[v].n_domains;
        merge_streams(pl, NULL, &stream, 1, vhost);
    }
}

static int compare_vhosts(const void *a, const void *b)
{
    return strcmp(((const struct plan_vhost *)a)->name, ((const struct plan_vhost *)b)->name);
}

void planner_make_vhosts(struct planner *pl, struct draft_chain *chain)
{
    size_t n;
    struct domain_claim *claims = gather(pl, chain, &n);

    if (n)
        qsort(claims, n, sizeof(*claims), compare_claims);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && strcmp(claims[i].domain, claims[end].domain) == 0;)
            end++;
        settle_domain(pl, chain, &claims[i], end - i);
    }
    for (size_t i = 0; i < chain->n_parties; i++) {
        struct party *p = chain->parties[i];

        if (p->out)
            continue;
        make_own_vhosts(pl, chain, p);
        p->out = p->n_routes == 0;
    }
    if (chain->n_vhosts)
        qsort(chain->vhosts, chain->n_vhosts, sizeof(*chain->vhosts), compare_vhosts);
}
