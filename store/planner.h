/*
 * A listener's plan while it is made. For store/plan.c (the whole and its parts' order), store/plan_chain.c (who is
 * on which chain, who has which name) and store/plan_vhost.c (virtual hosts and their routes); nobody else includes
 * it.
 */
#ifndef STORE_PLANNER_H
#define STORE_PLANNER_H

#include "base/map.h"
#include "store/plan.h"
#include "store/problem.h"

struct draft_chain;

/* One exposure and what becomes of it. */
struct party {
    const struct service_exposure *sx;
    const struct exposure *x;
    const char *ns;
    bool invalid;   /* by itself */
    bool gone;      /* nothing of it is left; stays so while the rest is planned again */
    bool out;       /* takes no part: invalid, gone, or it got nothing */
    bool lost;      /* part of what it wants */
    bool not_ready; /* its certificate or validation can't be served */
    struct draft_chain *chain;
    size_t n_names;        /* claims on server names, or the default place, that its chain has */
    size_t n_routes;       /* that stand in virtual hosts */
    struct own_vhost *own; /* one for each of x->vhosts; of L7 */
    struct problem_list problems;
};

/* The domains of one exposure's virtual host that nobody shares. */
struct own_vhost {
    const char **domains;
    size_t n_domains;
};

struct draft_chain {
    enum chain_kind kind;
    bool tls;
    bool is_default;
    const char *id;
    struct party **parties; /* by since and name; those that are out too */
    size_t n_parties, cap;
    const char **server_names;
    size_t n_server_names, names_cap;
    struct plan_vhost *vhosts;
    size_t n_vhosts, vhosts_cap;
};

/* Who has a server name, or the default place. */
struct owner {
    const char *name;
    struct draft_chain *chain;
    struct party *party; /* that claimed it first */
};

struct planner {
    struct arena *arena;   /* the plan's */
    struct arena *scratch; /* gone when the plan is made */
    const struct plan_context *context;
    struct party *parties; /* by since, then name */
    size_t n_parties;
    struct draft_chain **chains; /* in the order of their first parties */
    size_t n_chains;
    struct map by_identity; /* struct draft_chain */
    struct map owners;      /* struct owner by server name */
    struct owner *default_owner;
};

/* The order of claims on the same: since, then the exposure's name. */
int party_order(uint64_t since_a, const struct party *a, uint64_t since_b, const struct party *b);
/* Domains of L7 exposures whose connections are told apart by them. */
bool party_is_matched_by_domain(const struct party *p);

/* Puts every party that is not out on its chain, gives the names away, and puts those without any out. */
void planner_make_chains(struct planner *pl);
/* The owner of a domain's server name, or of the default place where it fits none. */
const struct owner *planner_owner(const struct planner *pl, const char *domain);
/* The virtual hosts of a chain; puts parties out that are left without a route. */
void planner_make_vhosts(struct planner *pl, struct draft_chain *chain);

#endif
