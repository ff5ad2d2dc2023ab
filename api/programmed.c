/*
 * What the proxies said of exposures: asked of the backend many at a time, kept for the call.
 *
 * By what an exposure is carried stands in its listener's plan: the listener, and of each chain that it is part of
 * the route configuration (LISTENER|CHAIN) and the secrets.
 */
#include "api/objects.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SDS_NAME_MAX = 1024 };

/* Of one exposure. */
struct one {
    const char *name;
    const struct listener_plan *plan; /* NULL: it has no listener */
    struct api_carrier carrier;
    struct texts {
        const char **items;
        size_t n, cap;
    } routes, secrets;
    struct chains {
        const struct plan_chain **items;
        size_t n, cap;
    } chains;
    struct api_programmed answer;
};

/* What was asked about at once, by name. */
struct said {
    struct said *next;
    struct one *items;
    size_t n;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct one *)a)->name, ((const struct one *)b)->name);
}

static struct one *find_one(const struct said *s, const char *name)
{
    const struct one key = {.name = name};

    assert(s);
    return s->n ? bsearch(&key, s->items, s->n, sizeof(s->items[0]), compare_names) : NULL;
}

/* ---- by what they are carried ---- */

static void add_text(struct arena *arena, struct texts *list, const char *text)
{
    list->items = arena_room(arena, list->items, list->n, &list->cap, sizeof(*list->items));
    list->items[list->n++] = text;
}

static void add_chain(struct arena *arena, struct chains *list, const struct plan_chain *chain)
{
    list->items = arena_room(arena, list->items, list->n, &list->cap, sizeof(*list->items));
    list->items[list->n++] = chain;
}

/* The secrets that a chain ends TLS with. */
static struct texts chain_secrets(struct arena *arena, const struct plan_chain *chain)
{
    struct texts list = {0};
    char name[SDS_NAME_MAX];

    for (size_t i = 0; chain->tls && i < chain->n_certificates; i++)
        add_text(arena, &list, arena_strdup(arena, sds_pair_name(chain->certificates[i], name, sizeof(name))));
    if (chain->tls && chain->validation)
        add_text(arena, &list, arena_strdup(arena, sds_trust_name(chain->validation, name, sizeof(name))));
    return list;
}

static void read_chain(struct arena *arena, const struct said *s, const struct listener_plan *plan,
                       const struct plan_chain *chain)
{
    const char *route = chain->kind == CHAIN_L7 ? arena_printf(arena, "%s|%s", plan->name, chain->id) : NULL;
    struct texts secrets = chain_secrets(arena, chain);

    for (size_t i = 0; i < chain->n_exposures; i++) {
        struct one *x = find_one(s, chain->exposures[i]->name);
        if (!x || x->plan != plan)
            continue;
        add_chain(arena, &x->chains, chain);
        if (route)
            add_text(arena, &x->routes, route);
        for (size_t k = 0; k < secrets.n; k++)
            add_text(arena, &x->secrets, secrets.items[k]);
    }
}

/* Each exposure of the plan's chains, so that a listener that thousands share is read once. */
static void read_plan(struct arena *arena, const struct said *s, const struct listener_plan *plan)
{
    for (size_t i = 0; i < plan->n_chains; i++)
        read_chain(arena, s, plan, &plan->chains[i]);
}

static int compare_plans(const void *a, const void *b)
{
    const struct listener_plan *x = *(const struct listener_plan *const *)a;
    const struct listener_plan *y = *(const struct listener_plan *const *)b;

    return (x > y) - (x < y);
}

static void read_plans(struct call *c, const struct said *s)
{
    const struct listener_plan **plans = arena_array(c->arena, const struct listener_plan *, s->n);
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].plan)
            plans[n++] = s->items[i].plan;
    if (n)
        qsort(plans, n, sizeof(plans[0]), compare_plans);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || plans[i] != plans[i - 1])
            read_plan(c->arena, s, plans[i]);
}

/* ---- asking ---- */

static void ask(struct call *c, const struct said *s)
{
    struct api_carrier *carriers = arena_array(c->arena, struct api_carrier, s->n);
    struct api_programmed *answers = arena_array(c->arena, struct api_programmed, s->n);
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        struct one *x = &s->items[i];
        x->carrier.routes = x->routes.items;
        x->carrier.n_routes = x->routes.n;
        x->carrier.secrets = x->secrets.items;
        x->carrier.n_secrets = x->secrets.n;
        if (x->carrier.gateway)
            carriers[n++] = x->carrier;
    }
    if (!n || !c->backend->programmed)
        return;
    c->backend->programmed(c->backend->arg, carriers, n, c->arena, answers);
    n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].carrier.gateway)
            s->items[i].answer = answers[n++];
}

void exposures_expect(struct call *c, const struct service_exposure *const *items, size_t n)
{
    struct said *s = arena_new_of(c->arena, struct said);

    if (!n)
        return;
    s->items = arena_array(c->arena, struct one, n);
    for (size_t i = 0; i < n; i++) {
        const struct service_exposure *sx = items[i];
        const struct listener_plan *plan = view_exposure_plan(c->view, sx);
        plan = plan && plan->n_chains ? plan : NULL;
        if (c->said && find_one(c->said, sx->x->name))
            continue; /* asked about already, as all were */
        s->items[s->n++] = (struct one){
            .name = sx->x->name, .plan = plan, .carrier = {.gateway = sx->gateway, .cluster = sx->x->name}};
        if (plan)
            s->items[s->n - 1].carrier.listener = plan->name;
    }
    if (!s->n)
        return;
    qsort(s->items, s->n, sizeof(s->items[0]), compare_names);
    read_plans(c, s);
    ask(c, s);
    s->next = c->said;
    c->said = s;
}

void exposures_expect_all(struct call *c)
{
    const struct service_exposure **all, *sx;
    size_t n = 0;

    for (sx = exposure_first(c->view, ""); sx; sx = exposure_next(c->view, sx))
        n++;
    all = arena_array(c->arena, const struct service_exposure *, n + 1);
    n = 0;
    for (sx = exposure_first(c->view, ""); sx; sx = exposure_next(c->view, sx))
        all[n++] = sx;
    exposures_expect(c, all, n);
}

/* What was, or now is, asked about one exposure. */
static const struct one *asked(struct call *c, const struct service_exposure *sx)
{
    for (const struct said *s = c->said; s; s = s->next) {
        const struct one *x = find_one(s, sx->x->name);
        if (x)
            return x;
    }
    exposures_expect(c, &sx, 1);
    return find_one(c->said, sx->x->name);
}

struct api_programmed exposure_programmed(struct call *c, const struct service_exposure *sx)
{
    return asked(c, sx)->answer;
}

size_t exposure_chains(struct call *c, const struct service_exposure *sx, const struct plan_chain *const **ret)
{
    const struct one *x = asked(c, sx);

    *ret = x->chains.items;
    return x->chains.n;
}
