/*
 * Who is on which chain, and which chain has which server names.
 *
 * A chain's identity is what must be equal for exposures to merge: an L4 exposure merges with none; plaintext HTTP is
 * one chain; HTTP over TLS one for each set of certificates, validation and filter settings. All claims on names are
 * then sorted by time and name of the exposure, and given away one by one: the first claim on a name decides which
 * chain has it.
 */
#include "base/hash.h"
#include "base/text.h"
#include "store/hostname.h"
#include "store/planner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- identity ---- */

static int compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct hash128));
}

/* Of n texts that are told apart by their lengths; NULL differs from "". */
static struct hash128 hash_texts(struct arena *scratch, const char *const *texts, size_t n)
{
    size_t total = 0, at = 0;
    char *all;

    for (size_t i = 0; i < n; i++)
        total += sizeof(size_t) + (texts[i] ? strlen(texts[i]) : 0);
    all = arena_alloc(scratch, total);
    for (size_t i = 0; i < n; i++) {
        size_t length = texts[i] ? strlen(texts[i]) : 0, mark = texts[i] ? length : SIZE_MAX;

        memcpy(all + at, &mark, sizeof(mark));
        if (length)
            memcpy(all + at + sizeof(mark), texts[i], length);
        at += sizeof(mark) + length;
    }
    return hash_bytes128(all, total);
}

static bool has_pair(const struct certificate *c)
{
    return c->secret || c->chain_file || c->chain_inline;
}

/* Of the set of pairs, whatever their order, the validation and the filter settings. */
static struct hash128 tls_identity(struct planner *pl, const struct exposure *x)
{
    struct hash128 *all = arena_array(pl->scratch, struct hash128, x->n_listener_certificates + 1);
    const char *rest[] = {NULL, x->filter_config_data};
    size_t n = 0, unique = 0;

    for (size_t i = 0; i < x->n_listener_certificates; i++) {
        const struct certificate *c = x->listener_certificates[i];
        const char *const source[] = {c->secret, c->chain_file, c->key_file, c->chain_inline, c->key_inline};

        if (has_pair(c))
            all[n++] = hash_texts(pl->scratch, source, ARRAY_LEN(source));
        if (c->validation_secret)
            rest[0] = c->validation_secret;
    }
    qsort(all, n, sizeof(*all), compare_hashes);
    for (size_t i = 0; i < n; i++)
        if (unique == 0 || compare_hashes(&all[unique - 1], &all[i]) != 0)
            all[unique++] = all[i];
    all[unique++] = hash_texts(pl->scratch, rest, ARRAY_LEN(rest));
    return hash_bytes128(all, unique * sizeof(*all));
}

/* ---- chains ---- */

static enum chain_kind kind_of(const struct exposure *x)
{
    return x->protocol == PROTOCOL_UDP ? CHAIN_UDP : x->n_vhosts ? CHAIN_L7 : CHAIN_L4;
}

/* The identity, which is the chain's id too where it may be: the only default L4 chain is always "l4". */
static const char *identity_of(struct planner *pl, const struct party *p, const char **ret_id)
{
    const struct exposure *x = p->x;
    const char *identity;

    if (kind_of(x) == CHAIN_L7) {
        if (x->n_listener_certificates == 0)
            return *ret_id = "plain";
        struct hash128 hash = tls_identity(pl, x);

        *ret_id = arena_printf(pl->arena, "tls:%016" PRIx64, hash.high);
        return arena_printf(pl->scratch, "tls:%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
    }
    identity = arena_printf(pl->arena, "sni:%s", x->name);
    *ret_id = kind_of(x) == CHAIN_UDP ? "udp" : x->n_sni ? identity : "l4";
    return identity;
}

static struct draft_chain *chain_of(struct planner *pl, const struct party *p)
{
    const char *id, *identity = identity_of(pl, p, &id);
    struct draft_chain *chain = map_gets(&pl->by_identity, identity);

    if (chain)
        return chain;
    chain = arena_new_of(pl->scratch, struct draft_chain);
    chain->kind = kind_of(p->x);
    chain->tls = p->x->n_listener_certificates > 0;
    chain->id = id;
    map_puts(&pl->by_identity, identity, chain);
    pl->chains[pl->n_chains++] = chain;
    return chain;
}

static void join_chains(struct planner *pl)
{
    for (size_t i = 0; i < pl->n_parties; i++) {
        struct party *p = &pl->parties[i];
        struct draft_chain *chain;

        if (p->out)
            continue;
        chain = chain_of(pl, p);
        /* TLS chains have their settings in the identity; plaintext HTTP can't be told apart by anything. */
        if (chain->n_parties > 0 && !text_equal(chain->parties[0]->x->filter_config_data, p->x->filter_config_data)) {
            problem_add_conflict(&p->problems, p->x->rid, "filter_config_data", chain->parties[0]->x->name,
                                 "differs from that of %s, which has plaintext HTTP on this listener",
                                 chain->parties[0]->x->name);
            p->out = true;
            continue;
        }
        chain->parties =
            arena_room(pl->scratch, chain->parties, chain->n_parties, &chain->cap, sizeof(*chain->parties));
        chain->parties[chain->n_parties++] = p;
        p->chain = chain;
    }
}

/* ---- names ---- */

/* name NULL: the default place; domain NULL: of the exposure itself, else of a virtual host's domain. */
struct name_claim {
    const char *name, *domain;
    const struct vhost *vhost;
    uint64_t since;
    struct party *party;
};

struct claim_list {
    struct name_claim *items;
    size_t count, cap;
};

bool party_is_matched_by_domain(const struct party *p)
{
    return p->x->n_vhosts && p->x->n_listener_certificates && !p->x->n_sni;
}

static void add_claim(struct planner *pl, struct claim_list *l, struct party *p, const char *name, const char *domain,
                      const struct vhost *vhost)
{
    l->items = arena_room(pl->scratch, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = (struct name_claim){
        .name = name,
        .domain = domain,
        .vhost = vhost,
        .since = service_exposure_since(p->sx, domain ? domain : name),
        .party = p,
    };
}

static void add_claims(struct planner *pl, struct claim_list *l, struct party *p)
{
    const struct exposure *x = p->x;

    if (!party_is_matched_by_domain(p)) {
        for (size_t i = 0; i < x->n_sni; i++)
            add_claim(pl, l, p, x->sni[i], NULL, NULL);
        if (x->n_sni == 0)
            add_claim(pl, l, p, NULL, NULL, NULL);
        return;
    }
    for (size_t v = 0; v < x->n_vhosts; v++)
        for (size_t i = 0; i < x->vhosts[v]->n_domains; i++) {
            const char *domain = x->vhosts[v]->domains[i];

            add_claim(pl, l, p, hostname_fits_sni(domain) ? domain : NULL, domain, x->vhosts[v]);
        }
}

int party_order(uint64_t since_a, const struct party *a, uint64_t since_b, const struct party *b)
{
    if (since_a != since_b)
        return since_a < since_b ? -1 : 1;
    return strcmp(a->x->name, b->x->name);
}

static int compare_claims(const void *a, const void *b)
{
    const struct name_claim *x = a, *y = b;

    return party_order(x->since, x->party, y->since, y->party);
}

static void lose(const struct name_claim *c, const struct owner *owner)
{
    struct party *p = c->party;
    const char *winner = owner->party->x->name;

    p->lost = true;
    if (c->domain && c->name)
        problem_add_conflict(&p->problems, c->vhost->rid, "domains", winner, "server name \"%s\" is held by %s",
                             c->domain, winner);
    else if (c->domain)
        problem_add_conflict(&p->problems, c->vhost->rid, "domains", winner,
                             "domain \"%s\" needs what is left of this listener, which is held by %s", c->domain,
                             winner);
    else if (c->name)
        problem_add_conflict(&p->problems, p->x->rid, "sni", winner, "server name \"%s\" is held by %s", c->name,
                             winner);
    else
        problem_add_conflict(&p->problems, p->x->rid, "listener_port", winner, "this listener is held by %s", winner);
}

static void settle_claim(struct planner *pl, const struct name_claim *c)
{
    struct draft_chain *chain = c->party->chain;
    struct owner *owner = c->name ? map_gets(&pl->owners, c->name) : pl->default_owner;

    if (!owner) {
        owner = arena_new_of(pl->scratch, struct owner);
        *owner = (struct owner){.name = c->name, .chain = chain, .party = c->party};
        if (c->name) {
            map_puts(&pl->owners, c->name, owner);
            chain->server_names = arena_room(pl->scratch, chain->server_names, chain->n_server_names,
                                             &chain->names_cap, sizeof(*chain->server_names));
            chain->server_names[chain->n_server_names++] = c->name;
        } else {
            pl->default_owner = owner;
            chain->is_default = true;
        }
    }
    if (owner->chain == chain)
        c->party->n_names++;
    else
        lose(c, owner);
}

const struct owner *planner_owner(const struct planner *pl, const char *domain)
{
    return hostname_fits_sni(domain) ? map_gets(&pl->owners, domain) : pl->default_owner;
}

void planner_make_chains(struct planner *pl)
{
    struct claim_list claims = {0};

    pl->chains = arena_array(pl->scratch, struct draft_chain *, pl->n_parties);
    join_chains(pl);
    for (size_t i = 0; i < pl->n_parties; i++)
        if (!pl->parties[i].out)
            add_claims(pl, &claims, &pl->parties[i]);
    if (claims.count)
        qsort(claims.items, claims.count, sizeof(*claims.items), compare_claims);
    for (size_t i = 0; i < claims.count; i++)
        settle_claim(pl, &claims.items[i]);
    for (size_t i = 0; i < pl->n_parties; i++)
        pl->parties[i].out |= pl->parties[i].n_names == 0;
}
