/*
 * The collections that stand in the view beside exposures and certificates: gateways, listeners, services. What needs
 * a look at all exposures (how many a gateway has) looks once a request.
 */
#include "api/objects.h"

#include "base/map.h"

#include <stdio.h>
#include <string.h>

VIEW_COLLECTION(gateway, gateway, gateways, view_gateways, name)
VIEW_COLLECTION(listener, listener_plan, listeners, view_listeners, key)
VIEW_COLLECTION(service, service, services, view_services, path)

/* ---- gateways ---- */

struct gateway_counts {
    const char *name;
    int64_t listeners, exposures, accepted, proxies, proxies_gone;
    struct gateway_counts *next;
};

static struct gateway_counts *counts_of(struct call *c, struct gateway_counts **list, const char *name)
{
    for (struct gateway_counts *g = *list; g; g = g->next)
        if (strcmp(g->name, name) == 0)
            return g;
    struct gateway_counts *g = arena_new_of(c->arena, struct gateway_counts);
    g->name = name;
    g->next = *list;
    *list = g;
    return g;
}

static void prepare_gateways(struct call *c)
{
    struct gateway_counts *list = NULL;
    const struct api_proxy *proxies;
    size_t n;

    for (const struct service_exposure *sx = exposure_first(c->view, ""); sx; sx = exposure_next(c->view, sx))
        if (sx->gateway)
            counts_of(c, &list, sx->gateway)->exposures++;
    for (const struct listener_plan *p = listener_first(c, ""); p; p = listener_next(c, p)) {
        struct gateway_counts *g = counts_of(c, &list, p->gateway);
        g->listeners += p->n_chains > 0;
        for (size_t i = 0; i < p->n_verdicts; i++)
            g->accepted += p->verdicts[i].kind == VERDICT_ACCEPTED || p->verdicts[i].kind == VERDICT_PARTIAL;
    }
    proxies = proxies_of(c, &n);
    for (size_t i = 0; i < n; i++) {
        struct gateway_counts *g = counts_of(c, &list, proxies[i].gateway);
        g->proxies += proxies[i].presence == API_CONNECTED;
        g->proxies_gone += proxies[i].presence == API_GONE;
    }
    c->prepared = list;
}

static void write_gateway(struct call *c, const void *item, struct writer *w)
{
    const struct gateway *g = item;

    (void)c; /* the item has all */
    writer_text(w, "name", g->name);
    writer_bool(w, "is_default", g->is_default);
    writer_int(w, "port_min", g->port_min);
    writer_int(w, "port_max", g->port_max);
    writer_bool(w, "allow_files", g->allow_files);
    writer_bool(w, "allow_cluster_header", g->allow_cluster_header);
    for (size_t i = 0; i < GATEWAY_BASES; i++)
        write_passthrough(w, gateway_base_name(i), g->bases[i], false);
}

static void write_xds_addresses(struct call *c, const char *gateway, struct writer *w)
{
    const struct api_xds_address *items = NULL;
    size_t n = 0;

    if (c->backend->xds_addresses)
        c->backend->xds_addresses(c->backend->arg, gateway, c->arena, &items, &n);
    writer_open(w, "xds", '[');
    for (size_t i = 0; i < n; i++) {
        writer_open(w, NULL, '{');
        writer_text(w, "address", items[i].address);
        writer_bool(w, "tls", items[i].tls);
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

static void write_gateway_status(struct call *c, const void *item, struct writer *w)
{
    struct gateway_counts *list = c->prepared;
    const struct gateway_counts *g = counts_of(c, &list, ((const struct gateway *)item)->name);

    c->prepared = list;
    writer_int(w, "listeners", g->listeners);
    writer_int(w, "exposures", g->exposures);
    writer_int(w, "exposures_accepted", g->accepted);
    writer_int(w, "proxies", g->proxies);
    writer_int(w, "proxies_gone", g->proxies_gone);
    write_xds_addresses(c, ((const struct gateway *)item)->name, w);
}

ITEM_VALUE(get_gateway_name, gateway, text, one->name)
ITEM_VALUE(get_gateway_default, gateway, number, one->is_default)

static const struct attribute gateway_attributes[] = {
    {"name", PARAMETER_TEXT, ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_gateway_name},
    {"is_default", PARAMETER_BOOL, ATTRIBUTE_FILTER, get_gateway_default},
    {NULL},
};

static const char *const gateway_fields[] = {"kind",
                                             "name",
                                             "is_default",
                                             "port_min",
                                             "port_max",
                                             "allow_files",
                                             "allow_cluster_header",
                                             "cluster_data",
                                             "tcp_proxy_data",
                                             "udp_proxy_data",
                                             "http_connection_manager_data",
                                             "retry_policy_data",
                                             "status",
                                             "status.listeners",
                                             "status.exposures",
                                             "status.exposures_accepted",
                                             "status.proxies",
                                             "status.proxies_gone",
                                             "status.xds",
                                             NULL};

const struct collection gateway_collection = {
    .kind = "Gateway",
    .prepare = prepare_gateways,
    .first = gateway_first,
    .next = gateway_next,
    .count = gateway_count,
    .find = gateway_find,
    .key = gateway_key,
    .write = write_gateway,
    .write_status = write_gateway_status,
    .attributes = gateway_attributes,
    .fields = gateway_fields,
};

/* ---- listeners ---- */

const char *verdict_name(enum verdict_kind kind)
{
    static const char *const names[] = {
        [VERDICT_ACCEPTED] = "accepted", [VERDICT_PARTIAL] = "partial", [VERDICT_CONFLICT] = "conflict",
        [VERDICT_NOT_READY] = "unready", [VERDICT_INVALID] = "invalid",
    };

    return names[kind];
}

const char *chain_kind_name(enum chain_kind kind)
{
    static const char *const names[] = {[CHAIN_UDP] = "udp", [CHAIN_L4] = "l4", [CHAIN_L7] = "l7"};

    return names[kind];
}

void listener_write_place(const struct listener_plan *p, struct writer *w)
{
    char text[ADDRESS_TEXT_MAX];

    writer_text(w, "name", p->key);
    writer_text(w, "gateway", p->gateway);
    writer_text(w, "envoy_name", p->name);
    writer_text(w, "listener_addr", address_text(&p->address, text));
    writer_int(w, "listener_port", p->port);
    writer_text(w, "protocol", spec_protocols[p->protocol]);
}

static void write_chain(const struct plan_chain *chain, struct writer *w)
{
    writer_open(w, NULL, '{');
    writer_text(w, "id", chain->id);
    writer_text(w, "kind", chain_kind_name(chain->kind));
    writer_bool(w, "tls", chain->tls);
    writer_bool(w, "client_certificate", chain->validation != NULL);
    writer_bool(w, "default", chain->is_default);
    writer_texts(w, "server_names", chain->server_names, chain->n_server_names);
    writer_open(w, "certificates", '[');
    for (size_t i = 0; i < chain->n_certificates; i++)
        writer_text(w, NULL,
                    chain->certificates[i]->secret ? chain->certificates[i]->secret : chain->certificates[i]->name);
    writer_close(w, ']');
    writer_open(w, "exposures", '[');
    for (size_t i = 0; i < chain->n_exposures; i++)
        writer_text(w, NULL, chain->exposures[i]->name);
    writer_close(w, ']');
    writer_open(w, "vhosts", '[');
    for (size_t i = 0; i < chain->n_vhosts; i++) {
        writer_open(w, NULL, '{');
        writer_text(w, "name", chain->vhosts[i].name);
        writer_texts(w, "domains", chain->vhosts[i].domains, chain->vhosts[i].n_domains);
        writer_int(w, "routes", (int64_t)chain->vhosts[i].n_routes);
        writer_close(w, '}');
    }
    writer_close(w, ']');
    writer_close(w, '}');
}

static void write_listener(struct call *c, const void *item, struct writer *w)
{
    const struct listener_plan *p = item;

    (void)c; /* the item has all */
    listener_write_place(p, w);
    writer_bool(w, "tls_inspector", p->tls_inspector);
    writer_open(w, "chains", '[');
    for (size_t i = 0; i < p->n_chains; i++)
        write_chain(&p->chains[i], w);
    writer_close(w, ']');
}

static void write_listener_status(struct call *c, const void *item, struct writer *w)
{
    const struct listener_plan *p = item;

    writer_bool(w, "open", p->n_chains > 0);
    writer_bool(w, "server_first_warning", p->server_first_warning);
    writer_open(w, "exposures", '[');
    for (size_t i = 0; i < p->n_verdicts; i++) {
        const struct verdict *v = &p->verdicts[i];
        const struct service_exposure *sx = view_exposure(c->view, v->exposure);
        writer_open(w, NULL, '{');
        writer_text(w, "name", v->exposure);
        writer_text(w, "verdict", verdict_name(v->kind));
        writer_open(w, "problems", '[');
        write_problems(w, sx ? sx->x : NULL, v->problems, v->n_problems, c->arena);
        writer_close(w, ']');
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

ITEM_VALUE(get_listener_name, listener_plan, text, one->key)
ITEM_VALUE(get_listener_gateway, listener_plan, text, one->gateway)
ITEM_VALUE(get_listener_port, listener_plan, number, one->port)
ITEM_VALUE(get_listener_protocol, listener_plan, text, spec_protocols[one->protocol])
ITEM_VALUE(get_listener_open, listener_plan, number, one->n_chains > 0)

void listener_exposures(struct call *c, const void *item, struct values *v)
{
    const struct listener_plan *p = item;

    (void)c; /* the item has them */
    for (size_t i = 0; i < p->n_verdicts; i++)
        values_text(v, p->verdicts[i].exposure);
}

static const struct attribute listener_attributes[] = {
    {"name", PARAMETER_TEXT, ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_listener_name},
    {"gateway", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_listener_gateway},
    {"listener_port", PARAMETER_INT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_listener_port},
    {"protocol", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_listener_protocol, spec_protocols},
    {"open", PARAMETER_BOOL, ATTRIBUTE_FILTER, get_listener_open},
    {"exposure", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, listener_exposures},
    {NULL},
};

static const char *const listener_fields[] = {"kind",
                                              "name",
                                              "gateway",
                                              "envoy_name",
                                              "listener_addr",
                                              "listener_port",
                                              "protocol",
                                              "tls_inspector",
                                              "chains",
                                              "status",
                                              "status.open",
                                              "status.server_first_warning",
                                              "status.exposures",
                                              NULL};

const struct collection listener_collection = {
    .kind = "Listener",
    .first = listener_first,
    .next = listener_next,
    .count = listener_count,
    .find = listener_find,
    .key = listener_key,
    .write = write_listener,
    .write_status = write_listener_status,
    .attributes = listener_attributes,
    .fields = listener_fields,
};

/* ---- services ---- */

static void write_service(struct call *c, const void *item, struct writer *w)
{
    const struct service *s = item;
    char ns[OBJECT_NAME_MAX];

    (void)c; /* the item has all */
    object_namespace(s->path, ns, sizeof(ns));
    writer_text(w, "name", s->path);
    writer_text(w, "namespace", ns);
    writer_open(w, "exposures", '[');
    for (size_t i = 0; i < s->n_exposures; i++)
        writer_text(w, NULL, s->exposures[i].x->name);
    writer_close(w, ']');
}

/* An instance is an object on a node, seen by its endpoints. */
struct instance {
    const char *node, *path;
    int64_t endpoints, up;
};

static size_t gather_instances(const struct service *s, struct arena *arena, struct instance **ret)
{
    size_t n = 0, total = 0;
    struct map by_name = {0};

    for (size_t i = 0; i < s->n_exposures; i++)
        total += s->exposures[i].n_endpoints;
    *ret = arena_array(arena, struct instance, total ? total : 1);
    for (size_t i = 0; i < s->n_exposures; i++)
        for (size_t k = 0; k < s->exposures[i].n_endpoints; k++) {
            const struct endpoint *one = &s->exposures[i].endpoints[k];
            const char *key = arena_printf(arena, "%s|%s", one->node, one->instance);
            struct instance *in = map_gets(&by_name, key);
            if (!in) {
                in = &(*ret)[n++];
                *in = (struct instance){.node = one->node, .path = one->instance};
                (void)map_puts(&by_name, key, in); /* it was not there */
            }
            in->endpoints++;
            in->up += one->up;
        }
    map_clear(&by_name);
    return n;
}

static void write_service_status(struct call *c, const void *item, struct writer *w)
{
    const struct service *s = item;
    struct instance *instances;
    size_t n = gather_instances(s, c->arena, &instances);

    writer_text(w, "disagreement", s->disagreement);
    writer_open(w, "warnings", '[');
    write_problems(w, NULL, s->warnings, s->n_warnings, c->arena);
    writer_close(w, ']');
    writer_open(w, "instances", '[');
    for (size_t i = 0; i < n; i++) {
        writer_open(w, NULL, '{');
        writer_text(w, "node", instances[i].node);
        writer_text(w, "instance", instances[i].path);
        writer_int(w, "endpoints", instances[i].endpoints);
        writer_int(w, "endpoints_up", instances[i].up);
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

ITEM_VALUE(get_service_name, service, text, one->path)

static void get_service_namespace(struct call *c, const void *item, struct values *v)
{
    char ns[OBJECT_NAME_MAX];

    object_namespace(((const struct service *)item)->path, ns, sizeof(ns));
    values_text(v, arena_strdup(c->arena, ns));
}

static void get_service_nodes(struct call *c, const void *item, struct values *v)
{
    const struct service *s = item;

    (void)c; /* the item has them */
    for (size_t i = 0; i < s->n_exposures; i++)
        for (size_t k = 0; k < s->exposures[i].n_endpoints; k++)
            values_text(v, s->exposures[i].endpoints[k].node);
}

static const struct attribute service_attributes[] = {
    {"name", PARAMETER_TEXT, ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_service_name},
    {"namespace", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_service_namespace},
    {"node", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_service_nodes},
    {NULL},
};

static const char *const service_fields[] = {
    "kind", "name", "namespace", "exposures", "status", "status.disagreement", "status.warnings", "status.instances",
    NULL};

const struct collection service_collection = {
    .kind = "Service",
    .first = service_first,
    .next = service_next,
    .count = service_count,
    .find = service_find,
    .key = service_key,
    .write = write_service,
    .write_status = write_service_status,
    .attributes = service_attributes,
    .fields = service_fields,
};
