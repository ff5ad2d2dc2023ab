/*
 * What the proxies said of exposures: asked of the backend many at a time, kept for the call.
 *
 * By what an exposure is carried stands in its listener's plan: the listener, and the route configuration of each
 * chain that it is part of (LISTENER|CHAIN).
 */
#include "api/objects.h"

#include <stdlib.h>
#include <string.h>

/* Of one exposure. */
struct one {
    const char *name;
    const struct listener_plan *plan; /* NULL: it has no listener */
    struct api_carrier carrier;
    const char **routes;
    size_t n_routes, cap;
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

    return s->n ? bsearch(&key, s->items, s->n, sizeof(s->items[0]), compare_names) : NULL;
}

/* ---- by what they are carried ---- */

static void add_route(struct arena *arena, struct one *x, const char *name)
{
    if (x->n_routes == x->cap) {
        const char **more = arena_array(arena, const char *, x->cap ? 2 * x->cap : 2);
        if (x->n_routes)
            memcpy(more, x->routes, x->n_routes * sizeof(*more));
        x->routes = more;
        x->cap = x->cap ? 2 * x->cap : 2;
    }
    x->routes[x->n_routes++] = name;
}

/* Each exposure of the plan's chains, so that a listener that thousands share is read once. */
static void read_plan(struct arena *arena, const struct said *s, const struct listener_plan *plan)
{
    for (size_t i = 0; i < plan->n_chains; i++) {
        const struct plan_chain *chain = &plan->chains[i];
        const char *name = NULL;
        for (size_t k = 0; chain->kind == CHAIN_L7 && k < chain->n_exposures; k++) {
            struct one *x = find_one(s, chain->exposures[k]->name);
            if (!x || x->plan != plan)
                continue;
            if (!name)
                name = arena_printf(arena, "%s|%s", plan->name, chain->id);
            add_route(arena, x, name);
        }
    }
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
        x->carrier.routes = x->routes;
        x->carrier.n_routes = x->n_routes;
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
        const struct listener_plan *plan = exposure_plan(c->view, sx);
        if (c->said && find_one(c->said, sx->x->name))
            continue; /* asked about already, as all were */
        s->items[s->n++] = (struct one){.name = sx->x->name,
                                        .plan = plan && plan->n_chains ? plan : NULL,
                                        .carrier = {.gateway = sx->gateway, .cluster = sx->x->name}};
        if (s->items[s->n - 1].plan)
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

struct api_programmed exposure_programmed(struct call *c, const struct service_exposure *sx)
{
    for (const struct said *s = c->said; s; s = s->next) {
        const struct one *x = find_one(s, sx->x->name);
        if (x)
            return x->answer;
    }
    exposures_expect(c, &sx, 1);
    return find_one(c->said, sx->x->name)->answer;
}
