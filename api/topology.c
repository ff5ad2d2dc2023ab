/*
 * The topology: each listener with the exposures on it, and of each exposure the ways through it: filter chains,
 * virtual hosts and routes, endpoints by node.
 *
 * What is told of one of them is bounded, however much hangs on it, with how many there are beside it; what is in
 * trouble comes first. How a listener stands follows from all its exposures: that is looked up when it is needed,
 * once a request.
 */
#include "api/objects.h"

#include <stdlib.h>
#include <string.h>

enum {
    TOPOLOGY_EXPOSURES_MAX = 20, /* of a listener */
    TOPOLOGY_PARTS_MAX = 16,     /* of each kind that an exposure has */
    TOPOLOGY_NAMES_MAX = 8,      /* domains, server names */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void write_some(struct writer *w, const char *key, const char *const *items, size_t n)
{
    writer_texts(w, key, items, least(n, TOPOLOGY_NAMES_MAX));
}

/* ---- the ways through an exposure ---- */

static void write_chains(struct call *c, const struct service_exposure *sx, struct writer *w)
{
    const struct plan_chain *const *chains;
    size_t n = exposure_chains(c, sx, &chains);

    writer_open(w, "chains", '[');
    for (size_t i = 0; i < least(n, TOPOLOGY_PARTS_MAX); i++) {
        writer_open(w, NULL, '{');
        writer_text(w, "id", chains[i]->id);
        writer_text(w, "kind", chain_kind_name(chains[i]->kind));
        writer_bool(w, "tls", chains[i]->tls);
        writer_bool(w, "client_certificate", chains[i]->validation != NULL);
        writer_bool(w, "default", chains[i]->is_default);
        write_some(w, "server_names", chains[i]->server_names, chains[i]->n_server_names);
        writer_int(w, "server_names_total", (int64_t)chains[i]->n_server_names);
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

static void write_vhosts(const struct exposure *x, struct writer *w)
{
    writer_open(w, "vhosts", '[');
    for (size_t i = 0; i < least(x->n_vhosts, TOPOLOGY_PARTS_MAX); i++) {
        const struct vhost *v = x->vhosts[i];
        writer_open(w, NULL, '{');
        writer_text(w, "rid", v->rid);
        write_some(w, "domains", v->domains, v->n_domains);
        writer_int(w, "domains_total", (int64_t)v->n_domains);
        writer_open(w, "routes", '[');
        for (size_t r = 0; r < least(v->n_routes, TOPOLOGY_PARTS_MAX); r++)
            exposure_write_route(w, v->routes[r]);
        writer_close(w, ']');
        writer_int(w, "routes_total", (int64_t)v->n_routes);
        writer_close(w, '}');
    }
    writer_close(w, ']');
    writer_int(w, "vhosts_total", (int64_t)x->n_vhosts);
}

static int compare_nodes(const void *a, const void *b)
{
    const struct endpoint *x = *(const struct endpoint *const *)a, *y = *(const struct endpoint *const *)b;
    int r = strcmp(x->node, y->node);

    return r ? r : endpoint_compare(x, y);
}

static int compare_down_first(const void *a, const void *b)
{
    const struct endpoint *x = *(const struct endpoint *const *)a, *y = *(const struct endpoint *const *)b;

    return x->up != y->up ? (int)x->up - (int)y->up : compare_nodes(a, b);
}

static void write_endpoints(struct call *c, const struct service_exposure *sx, struct writer *w)
{
    const struct endpoint **all = arena_array(c->arena, const struct endpoint *, sx->n_endpoints + 1);
    size_t n = least(sx->n_endpoints, TOPOLOGY_PARTS_MAX);
    char name[ENDPOINT_NAME_MAX];

    for (size_t i = 0; i < sx->n_endpoints; i++)
        all[i] = &sx->endpoints[i];
    if (n < sx->n_endpoints)
        qsort(all, sx->n_endpoints, sizeof(all[0]), compare_down_first);
    qsort(all, n, sizeof(all[0]), compare_nodes);
    writer_open(w, "endpoints", '[');
    for (size_t i = 0; i < n; i++) {
        writer_open(w, NULL, '{');
        writer_text(w, "name", endpoint_name(all[i], name, sizeof(name)));
        writer_text(w, "node", all[i]->node);
        writer_open(w, "status", '{');
        endpoint_write_status(w, all[i]);
        writer_close(w, '}');
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

static void write_way(struct call *c, const struct service_exposure *sx, const struct conditions *all,
                      struct writer *w)
{
    const struct listener_plan *plan = view_exposure_plan(c->view, sx);
    const struct verdict *v = plan ? listener_plan_verdict(plan, sx->x->name) : NULL;

    writer_text(w, "name", sx->x->name);
    writer_text(w, "service", sx->x->path);
    writer_text(w, "gateway", sx->gateway);
    writer_text(w, "listener", plan ? plan->key : NULL);
    writer_int(w, "listener_port", sx->listener_port);
    writer_text(w, "protocol", spec_protocols[sx->x->protocol]);
    writer_text(w, "state", condition_state_name(conditions_worst(all)));
    writer_text(w, "verdict", v ? verdict_name(v->kind) : NULL);
    write_some(w, "sni", sx->x->sni, sx->x->n_sni);
    writer_int(w, "sni_total", (int64_t)sx->x->n_sni);
    write_chains(c, sx, w);
    write_vhosts(sx->x, w);
    write_endpoints(c, sx, w);
}

void topology_write_exposure(struct call *c, const void *item, struct writer *w)
{
    struct conditions all;

    exposure_conditions(c, item, &all);
    write_way(c, item, &all, w);
}

void topology_write_exposure_status(struct call *c, const void *item, struct writer *w)
{
    struct conditions all;

    exposure_conditions(c, item, &all);
    exposure_write_conditions(c, item, &all, TOPOLOGY_PARTS_MAX, w);
}

/* ---- listeners, with how they stand ---- */

struct ranked {
    const struct service_exposure *sx;
    enum condition_state worst;
    bool is_found; /* it is what was searched for */
};

struct place {
    const struct listener_plan *plan;
    struct standing {
        enum condition_state configuration, endpoints, certificate, worst;
        int64_t live, up, total;
        struct ranked *exposures; /* the first are those to be told of */
        size_t n_exposures;
    } * standing; /* NULL: not looked up yet */
};

/* The worst first, by name; before them what was searched for. */
static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int r = condition_severity(y->worst) - condition_severity(x->worst);

    if (x->is_found != y->is_found)
        return (int)y->is_found - (int)x->is_found;
    return r ? r : exposure_name_compare(x->sx->x->name, y->sx->x->name);
}

static void add_exposure(struct call *c, struct standing *s, const struct service_exposure *sx)
{
    const char *q = parameter_text(&c->target, "q");
    struct conditions all;
    enum condition_state configuration;

    exposure_conditions(c, sx, &all);
    configuration = condition_worse(all.accepted.state, all.programmed.state);
    s->configuration = condition_worse(s->configuration, configuration);
    s->endpoints = condition_worse(s->endpoints, all.endpoints.state);
    s->certificate = condition_worse(s->certificate, all.certificate.state);
    s->worst = condition_worse(s->worst, conditions_worst(&all));
    s->live += configuration == CONDITION_OK;
    s->up += (int64_t)sx->n_up;
    s->total += (int64_t)sx->n_endpoints;
    s->exposures[s->n_exposures++] = (struct ranked){sx, conditions_worst(&all), q && exposure_is_found(c, sx, q)};
}

static const struct standing *standing_of(struct call *c, const void *item)
{
    struct place *p = (struct place *)(uintptr_t)item; /* of this call's array */
    const struct listener_plan *plan = p->plan;

    if (p->standing)
        return p->standing;
    p->standing = arena_new_of(c->arena, struct standing);
    p->standing->exposures = arena_array(c->arena, struct ranked, plan->n_verdicts + 1);
    for (size_t i = 0; i < plan->n_verdicts; i++) {
        const struct service_exposure *sx = view_exposure(c->view, plan->verdicts[i].exposure);
        if (sx)
            add_exposure(c, p->standing, sx);
    }
    qsort(p->standing->exposures, p->standing->n_exposures, sizeof(struct ranked), compare_ranked);
    return p->standing;
}

static void prepare_topology(struct call *c)
{
    struct place *all;
    size_t n = 0;

    for (const struct listener_plan *p = pmap_after(c->view->listeners, &view_listeners, ""); p;
         p = pmap_after(c->view->listeners, &view_listeners, p->key))
        n++;
    all = arena_array(c->arena, struct place, n + 1);
    n = 0;
    for (const struct listener_plan *p = pmap_after(c->view->listeners, &view_listeners, ""); p;
         p = pmap_after(c->view->listeners, &view_listeners, p->key))
        all[n++] = (struct place){.plan = p};
    array_prepare(c, all, n, sizeof(*all));
    if (exposures_are_ranked(c))
        exposures_expect_all(c);
}

static void expect_topology(struct call *c, const void *const *items, size_t n)
{
    const struct service_exposure **all;
    size_t n_all = 0;

    for (size_t i = 0; i < n; i++)
        n_all += ((const struct place *)items[i])->plan->n_verdicts;
    all = arena_array(c->arena, const struct service_exposure *, n_all + 1);
    n_all = 0;
    for (size_t i = 0; i < n; i++) {
        const struct listener_plan *p = ((const struct place *)items[i])->plan;
        for (size_t k = 0; k < p->n_verdicts; k++) {
            const struct service_exposure *sx = view_exposure(c->view, p->verdicts[k].exposure);
            if (sx)
                all[n_all++] = sx;
        }
    }
    exposures_expect(c, all, n_all);
}

ITEM_KEY(topology_key, place, plan->key)

static const void *topology_first(struct call *c, const char *after)
{
    return array_first(c, after, topology_key);
}

/* Which kinds of chains it has, whether TLS ends there, and the names that it tells apart. */
static void write_what_it_takes(const struct listener_plan *p, struct writer *w)
{
    bool kinds[CHAIN_L7 + 1] = {false}, tls = false;
    size_t told = 0, total = 0;

    writer_open(w, "server_names", '[');
    for (size_t i = 0; i < p->n_chains; i++) {
        const struct plan_chain *chain = &p->chains[i];
        kinds[chain->kind] = true;
        tls |= chain->tls;
        total += chain->n_server_names;
        for (size_t k = 0; k < chain->n_server_names && told < TOPOLOGY_NAMES_MAX; k++, told++)
            writer_text(w, NULL, chain->server_names[k]);
    }
    writer_close(w, ']');
    writer_int(w, "server_names_total", (int64_t)total);
    writer_open(w, "chain_kinds", '[');
    for (enum chain_kind k = CHAIN_UDP; k <= CHAIN_L7; k++)
        if (kinds[k])
            writer_text(w, NULL, chain_kind_name(k));
    writer_close(w, ']');
    writer_bool(w, "tls", tls);
    writer_int(w, "chains_total", (int64_t)p->n_chains);
}

static void write_topology(struct call *c, const void *item, struct writer *w)
{
    const struct standing *s = standing_of(c, item);
    const struct listener_plan *p = ((const struct place *)item)->plan;

    listener_write_place(p, w);
    write_what_it_takes(p, w);
    writer_text(w, "state", condition_state_name(s->worst));
    writer_text(w, "configuration", condition_state_name(s->configuration));
    writer_text(w, "endpoints", condition_state_name(s->endpoints));
    writer_text(w, "certificate", condition_state_name(s->certificate));
    writer_int(w, "endpoints_up", s->up);
    writer_int(w, "endpoints_total", s->total);
    writer_int(w, "exposures_live", s->live);
    writer_int(w, "exposures_total", (int64_t)s->n_exposures);
    writer_open(w, "exposures", '[');
    for (size_t i = 0; i < least(s->n_exposures, TOPOLOGY_EXPOSURES_MAX); i++) {
        const struct service_exposure *sx = s->exposures[i].sx;
        struct conditions all;

        exposure_conditions(c, sx, &all);
        writer_open(w, NULL, '{');
        writer_text(w, "kind", "TopologyExposure");
        write_way(c, sx, &all, w);
        writer_open(w, "status", '{');
        exposure_write_conditions(c, sx, &all, TOPOLOGY_PARTS_MAX, w);
        writer_close(w, '}');
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

ITEM_VALUE(get_name, place, text, one->plan->key)
ITEM_VALUE(get_gateway, place, text, one->plan->gateway)
ITEM_VALUE(get_port, place, number, one->plan->port)
ITEM_VALUE(get_protocol, place, text, spec_protocols[one->plan->protocol])
ITEM_VALUE(get_open, place, number, one->plan->n_chains > 0)

static void get_exposures(struct call *c, const void *item, struct values *v)
{
    listener_exposures(c, ((const struct place *)item)->plan, v);
}

static void get_domains(struct call *c, const void *item, struct values *v)
{
    const struct listener_plan *p = ((const struct place *)item)->plan;

    (void)c; /* the plan has them */
    for (size_t i = 0; i < p->n_chains; i++) {
        for (size_t k = 0; k < p->chains[i].n_server_names; k++)
            values_text(v, p->chains[i].server_names[k]);
        for (size_t k = 0; k < p->chains[i].n_vhosts; k++)
            for (size_t d = 0; d < p->chains[i].vhosts[k].n_domains; d++)
                values_text(v, p->chains[i].vhosts[k].domains[d]);
    }
}

static void get_state(struct call *c, const void *item, struct values *v)
{
    values_text(v, condition_state_name(standing_of(c, item)->worst));
}

static void get_severity(struct call *c, const void *item, struct values *v)
{
    values_number(v, condition_severity(standing_of(c, item)->worst));
}

static const struct attribute topology_attributes[] = {
    {"name", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_name},
    {"gateway", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_gateway},
    {"listener_port", PARAMETER_INT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_port},
    {"protocol", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_protocol, spec_protocols},
    {"open", PARAMETER_BOOL, ATTRIBUTE_FILTER, get_open},
    {"exposure", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_exposures},
    {"domain", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_domains},
    {"state", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_state, condition_states},
    {"severity", PARAMETER_INT, ATTRIBUTE_SORT, get_severity},
    {NULL},
};

static const char *const topology_fields[] = {"kind",
                                              "name",
                                              "gateway",
                                              "envoy_name",
                                              "listener_addr",
                                              "listener_port",
                                              "protocol",
                                              "server_names",
                                              "server_names_total",
                                              "chain_kinds",
                                              "tls",
                                              "chains_total",
                                              "state",
                                              "configuration",
                                              "endpoints",
                                              "certificate",
                                              "endpoints_up",
                                              "endpoints_total",
                                              "exposures_live",
                                              "exposures_total",
                                              "exposures",
                                              NULL};

const struct collection topology_collection = {
    .kind = "TopologyListener",
    .prepare = prepare_topology,
    .expect = expect_topology,
    .first = topology_first,
    .next = array_next,
    .count = array_count,
    .key = topology_key,
    .write = write_topology,
    .attributes = topology_attributes,
    .fields = topology_fields,
};
