/*
 * A service's instances -> facts. Declarations come from the instance with the newest configuration, addresses from
 * all instances on all nodes; of a scaler both come from its slaves.
 *
 * The newest configuration: the largest time of services.config.PATH; instances with the same csum have the same
 * configuration, whatever their times, and among these the first one (by node, then path) speaks. Where nodes tell
 * nothing of configurations, the times of the instances take their place.
 *
 * An instance of a service with several endpoints (flex, or a scaler) that is about to go is taken out only while,
 * for each exposure that it serves, another address stays up: see mirror_intent.c for who is about to go.
 */
#include "server/mirror_core.h"

#include <stdlib.h>
#include <string.h>

/* An instance of the service, and where. */
struct found {
    const struct node *node;
    const struct instance *instance;
    bool lost; /* its node tells nothing any more: it declares if nobody else does, and has no address */
};

struct gathering {
    struct arena *arena;
    struct found *found; /* by node, then path */
    size_t n_found;
    bool several; /* flex, or a scaler */
};

static const struct scaler *scaler_of(const struct mirror *m, const char *path)
{
    return map_get(&m->scalers, path, intern_len(path));
}

static void gather_one(struct gathering *g, const struct node *n, const char *path)
{
    const struct instance *i = node_instance(n, path);

    bool lost = !i || i->head.status != SLOT_OBJECT;

    if (lost)
        i = node_lost_instance(n, path);
    if (i)
        g->found[g->n_found++] = (struct found){n, i, lost};
}

/* All instances that make up the service at path. */
static struct gathering gather(const struct mirror *m, const char *path, struct arena *arena)
{
    const struct scaler *s = scaler_of(m, path);
    const struct tree *w = m->tree;
    struct gathering g = {.arena = arena, .several = s != NULL};

    g.found = arena_array(arena, struct found, w->n_nodes * (s ? s->n_slaves + 1 : 1));
    for (size_t i = 0; i < w->n_nodes; i++) {
        bool own_done = false;

        for (size_t k = 0; s && k < s->n_slaves; k++) {
            const char *slave = s->slaves[k];

            if (!own_done && strcmp(path, slave) < 0) {
                gather_one(&g, w->nodes[i], path);
                own_done = true;
            }
            if (slave != path && map_get(&m->owners, slave, intern_len(slave)) == s)
                gather_one(&g, w->nodes[i], slave);
        }
        if (!own_done)
            gather_one(&g, w->nodes[i], path);
    }
    for (size_t i = 0; i < g.n_found; i++)
        g.several = g.several || (!g.found[i].lost && (g.found[i].instance->head.flags & INSTANCE_FLEX));
    return g;
}

/* Slaves are the scaler's, or wait for it. */
static bool is_slave(const struct mirror *m, const char *path)
{
    if (map_get(&m->owners, path, intern_len(path)))
        return true;
    for (size_t i = 0; i < m->tree->n_nodes; i++) {
        const struct instance *instance = node_instance(m->tree->nodes[i], path);
        const struct instance *lost = node_lost_instance(m->tree->nodes[i], path);

        if ((instance && (instance->head.flags & INSTANCE_SLAVE)) || (lost && (lost->head.flags & INSTANCE_SLAVE)))
            return true;
    }
    return false;
}

/* ---- declarations ---- */

bool config_is_newer(const struct instance *a, const struct instance *b)
{
    const struct instance_head *x = &a->head, *y = &b->head;

    if (x->csum && x->csum[0] && x->csum == y->csum)
        return false;
    if (!x->csum && !y->csum && x->config_updated == y->config_updated)
        return x->updated > y->updated;
    return x->config_updated > y->config_updated;
}

/* A scaler has no declarations of its own, and `resources: {}` of it says nothing. */
static bool declares(const struct mirror *m, const char *path, const struct instance *i)
{
    if (i->head.resources != SLOT_OBJECT)
        return false;
    return i->declared || i->head.path != path || !scaler_of(m, path);
}

/* Of those that speak, or else of those that are lost. */
static const struct found *newest_of(const struct mirror *m, const char *path, const struct gathering *g, bool lost)
{
    const struct found *best = NULL;

    for (size_t i = 0; i < g->n_found; i++) {
        const struct found *f = &g->found[i];

        if (f->lost == lost && declares(m, path, f->instance) &&
            (!best || config_is_newer(f->instance, best->instance)))
            best = f;
    }
    return best;
}

static const struct found *newest(const struct mirror *m, const char *path, const struct gathering *g)
{
    const struct found *best = newest_of(m, path, g, false);

    if (!best)
        best = newest_of(m, path, g, true);
    if (!best)
        return NULL;
    /* Of those that have the same configuration the first. */
    for (size_t i = 0; i < g->n_found; i++) {
        const struct found *f = &g->found[i];

        if (f->lost == best->lost && declares(m, path, f->instance) && f->instance->head.csum &&
            f->instance->head.csum == best->instance->head.csum)
            return f;
    }
    return best;
}

static bool disagrees(const struct mirror *m, const char *path, const struct found *f, const struct found *best)
{
    return f->lost == best->lost && declares(m, path, f->instance) &&
           f->instance->declared != best->instance->declared;
}

bool facts_disagree(const struct mirror *m, const char *path)
{
    const struct scaler *owner = map_get(&m->owners, path, intern_len(path));
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    const struct found *best;
    struct gathering g;

    if (owner)
        path = owner->path;
    g = gather(m, path, arena);
    best = newest(m, path, &g);
    for (size_t i = 0; best && i < g.n_found; i++)
        if (disagrees(m, path, &g.found[i], best))
            return true;
    return false;
}

/* "the declarations differ on node2, node3; those of node1 are taken, whose configuration is the newest" */
static const char *disagreement(const struct mirror *m, const char *path, const struct gathering *g,
                                const struct found *best)
{
    enum { NAMED_MAX = 8 };
    bool names_paths = scaler_of(m, path) != NULL;
    char *text = NULL;
    size_t n = 0;

    for (size_t i = 0; i < g->n_found; i++) {
        const struct found *f = &g->found[i];

        if (!disagrees(m, path, f, best) || ++n > NAMED_MAX)
            continue;
        text = arena_printf(g->arena, "%s%s%s%s%s", text ? text : "the declarations differ on ", text ? ", " : "",
                            names_paths ? f->instance->head.path : "", names_paths ? " of " : "", f->node->name);
    }
    if (n == 0)
        return NULL;
    if (n > NAMED_MAX)
        text = arena_printf(g->arena, "%s and %zu more", text, n - NAMED_MAX);
    return arena_printf(g->arena, "%s; those of %s%s%s are taken, whose configuration is the newest", text,
                        names_paths ? best->instance->head.path : "", names_paths ? " on " : "", best->node->name);
}

static void make_resources(struct gathering *g, const struct found *best, struct facts *f)
{
    const struct declared *d = best->instance->declared;
    struct fact_resource *resources;

    if (!d)
        return;
    resources = arena_array(g->arena, struct fact_resource, d->n);
    for (uint32_t i = 0; i < d->n; i++) {
        const struct declared_item *item = &d->items[i];

        if (item->slot != SLOT_OBJECT)
            continue;
        resources[f->n_resources++] = (struct fact_resource){
            .rid = item->rid,
            .type = item->type ? item->type : "",
            .info = item->info && item->info[0] == '{' ? item->info : "{}",
        };
    }
    f->resources = resources;
}

/* ---- addresses ---- */

/* An address under way to be a fact. */
struct candidate {
    struct fact_address *fact;
    struct intent_of intent;
    bool resource_up;
};

static const char *const *make_exposes(struct gathering *g, const char *list, size_t *ret_n)
{
    struct buf id = {0};
    const char **ids = NULL;
    size_t n = 0, cap = 0;

    for (size_t at = 0; list && canonical_next_string(list, intern_len(list), &at, &id);) {
        /* An entry without '#' is an inline port mapping. */
        if (!memchr(id.data, '#', id.len) || memchr(id.data, '\0', id.len))
            continue;
        ids = arena_room(g->arena, ids, n, &cap, sizeof(*ids));
        ids[n++] = arena_strndup(g->arena, (char *)id.data, id.len);
    }
    buf_clear(&id);
    *ret_n = n;
    return ids;
}

static bool leader_elsewhere(const struct gathering *g, const struct found *f)
{
    for (size_t i = 0; i < g->n_found; i++) {
        const struct found *other = &g->found[i];

        if (!other->lost && other->node != f->node && other->instance->head.path == f->instance->head.path &&
            (other->instance->head.flags & INSTANCE_LEADER))
            return true;
    }
    return false;
}

static const char *state_words(const struct candidate *c, const struct address_item *item)
{
    if (!c->resource_up)
        return item->status && item->status[0] ? item->status : "unknown";
    return c->intent.words ? c->intent.words : "up";
}

static void add_addresses(struct gathering *g, const struct found *f, struct fact_address *facts,
                          struct candidate *candidates, size_t *n)
{
    const struct instance *instance = f->instance;
    struct intent_of intent = {0};
    bool known = false;

    for (uint32_t i = 0; i < instance->n_addresses; i++) {
        const struct address_item *item = &instance->addresses[i];
        struct fact_address *fact = &facts[*n];
        struct candidate *c = &candidates[*n];

        if (item->slot != SLOT_OBJECT)
            continue;
        fact->exposes = make_exposes(g, item->exposes, &fact->n_exposes);
        if (fact->n_exposes == 0)
            continue;
        if (!known)
            intent = intent_of_instance(f->node, instance, leader_elsewhere(g, f));
        known = true;
        *c = (struct candidate){fact, intent, item->status && strcmp(item->status, "up") == 0};
        fact->node = f->node->name;
        fact->instance = instance->head.path;
        fact->rid = item->rid;
        fact->address = item->address ? item->address : "";
        fact->state = state_words(c, item);
        fact->up = c->resource_up && intent.intent == INTENT_NONE;
        (*n)++;
    }
}

/* Those that are about to go and would leave an exposure without any address stay up for now. */
static void keep_the_last(const struct candidate *candidates, size_t n)
{
    struct map served = {0};

    for (size_t i = 0; i < n; i++) {
        const struct fact_address *f = candidates[i].fact;

        for (size_t k = 0; f->up && k < f->n_exposes; k++)
            map_puts(&served, f->exposes[k], candidates[i].fact);
    }
    for (size_t i = 0; i < n; i++) {
        const struct candidate *c = &candidates[i];

        for (size_t k = 0; c->resource_up && c->intent.intent == INTENT_LEAVING && k < c->fact->n_exposes; k++)
            if (!map_gets(&served, c->fact->exposes[k]))
                c->fact->up = true;
    }
    map_clear(&served);
}

static void make_addresses(struct gathering *g, struct facts *f)
{
    struct fact_address *facts;
    struct candidate *candidates;
    size_t max = 0, n = 0;
    bool leaving = false;

    for (size_t i = 0; i < g->n_found; i++)
        max += g->found[i].instance->n_addresses;
    if (max == 0)
        return;
    facts = arena_array(g->arena, struct fact_address, max);
    candidates = arena_array(g->arena, struct candidate, max);
    for (size_t i = 0; i < g->n_found; i++)
        if (!g->found[i].lost)
            add_addresses(g, &g->found[i], facts, candidates, &n);
    for (size_t i = 0; i < n; i++)
        leaving = leaving || candidates[i].intent.intent == INTENT_LEAVING;
    if (leaving && g->several)
        keep_the_last(candidates, n);
    f->addresses = facts;
    f->n_addresses = n;
}

bool facts_make(struct mirror *m, const char *path, struct arena *arena, struct facts *ret_facts)
{
    struct facts f = {.path = path};
    const struct found *best;
    struct gathering g;

    if (is_slave(m, path))
        return false;
    g = gather(m, path, arena);
    best = newest(m, path, &g);
    if (!best)
        return false;
    make_resources(&g, best, &f);
    if (f.n_resources == 0)
        return false;
    make_addresses(&g, &f);
    f.disagreement = disagreement(m, path, &g, best);
    *ret_facts = f;
    return true;
}
