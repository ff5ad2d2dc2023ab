/*
 * Exposures as documents: what is declared, in the agent's words but nested where its sections refer to each other,
 * and the endpoints. Two collections.
 */
#include "api/edit.h"
#include "api/objects.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- order ---- */

/* "PATH.expose#N" to the path's length: section names have no dots. */
static size_t path_length(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? (size_t)(dot - name) : strlen(name);
}

int exposure_name_compare(const char *a, const char *b)
{
    size_t n = path_length(a), m = path_length(b), least = n < m ? n : m;
    int r = memcmp(a, b, least);

    if (r || n != m)
        return r ? r : n < m ? -1 : 1;
    return rid_compare(a + n + (a[n] ? 1 : 0), b + m + (b[m] ? 1 : 0));
}

static const struct service_exposure *from_service(const struct view *v, const struct service *s, const char *after)
{
    for (; s; s = pmap_after(v->services, &view_services, s->path))
        for (size_t i = 0; i < s->n_exposures; i++)
            if (!after || exposure_name_compare(s->exposures[i].x->name, after) > 0)
                return &s->exposures[i];
    return NULL;
}

const struct service_exposure *exposure_first(const struct view *v, const char *after)
{
    _cleanup_(mem_free_p) char *path = mem_strndup(after, path_length(after));
    const struct service *s = view_service(v, path);

    return from_service(v, s ? s : pmap_after(v->services, &view_services, path), *after ? after : NULL);
}

const struct service_exposure *exposure_next(const struct view *v, const struct service_exposure *sx)
{
    const struct service *s = view_service(v, sx->x->path);

    if (sx + 1 < s->exposures + s->n_exposures)
        return sx + 1;
    return from_service(v, pmap_after(v->services, &view_services, s->path), NULL);
}

/* ---- problems ---- */

void write_problems(struct writer *w, const struct exposure *x, const struct problem *items, size_t n,
                    struct arena *arena)
{
    for (size_t i = 0; i < n; i++) {
        const struct problem *p = &items[i];
        writer_open(w, NULL, '{');
        writer_text(w, "pointer", x ? exposure_pointer(x, p->field ? p->field : "", arena) : NULL);
        writer_text(w, "field", p->field ? p->field : "");
        writer_text(w, "code", p->code);
        writer_text(w, "detail", p->text);
        writer_close(w, '}');
    }
}

/* ---- what is declared ---- */

static void optional_text(struct writer *w, const char *key, const char *value)
{
    if (value)
        writer_text(w, key, value);
}

static void write_hash_policy(struct writer *w, const struct hash_policy *p)
{
    writer_open(w, NULL, '{');
    writer_text(w, "rid", p->rid);
    optional_text(w, "cookie_name", p->cookie_name);
    optional_text(w, "cookie_path", p->cookie_path);
    if (p->cookie_name && p->cookie_ttl >= 0)
        writer_seconds(w, "cookie_ttl", (double)p->cookie_ttl / (double)CLOCK_NS_PER_S);
    optional_text(w, "header_header_name", p->header_name);
    if (p->source_ip)
        writer_bool(w, "connection_source_ip", true);
    writer_bool(w, "terminal", p->terminal);
    writer_close(w, '}');
}

static void write_redirect(struct writer *w, const struct redirect *r)
{
    optional_text(w, "redirect_host_redirect", r->host);
    optional_text(w, "redirect_path_redirect", r->path);
    optional_text(w, "redirect_prefix_rewrite", r->prefix);
    if (r->response_code)
        writer_int(w, "redirect_response_code", r->response_code);
    writer_bool(w, "redirect_https_redirect", r->https);
    writer_bool(w, "redirect_strip_query", r->strip_query);
}

void exposure_write_route(struct writer *w, const struct route *r)
{
    static const char *const matches[] = {
        [ROUTE_PREFIX] = "match_prefix", [ROUTE_PATH] = "match_path", [ROUTE_REGEX] = "match_regex"};

    writer_open(w, NULL, '{');
    writer_text(w, "rid", r->rid);
    writer_text(w, matches[r->match], r->match_value);
    writer_bool(w, "match_case_sensitive", r->case_sensitive);
    optional_text(w, "route_prefix_rewrite", r->prefix_rewrite);
    optional_text(w, "route_host_rewrite", r->host_rewrite);
    optional_text(w, "route_cluster_header", r->cluster_header);
    if (r->timeout >= 0)
        writer_seconds(w, "route_timeout", (double)r->timeout / (double)CLOCK_NS_PER_S);
    if (r->websocket >= 0)
        writer_bool(w, "route_use_websocket", r->websocket);
    if (r->is_redirect)
        write_redirect(w, &r->redirect);
    writer_open(w, "hash_policies", '[');
    for (size_t i = 0; i < r->n_hash_policies; i++)
        write_hash_policy(w, r->hash_policies[i]);
    writer_close(w, ']');
    writer_close(w, '}');
}

static void write_vhosts(struct writer *w, const struct exposure *x)
{
    writer_open(w, "vhosts", '[');
    for (size_t i = 0; i < x->n_vhosts; i++) {
        const struct vhost *v = x->vhosts[i];
        writer_open(w, NULL, '{');
        writer_text(w, "rid", v->rid);
        writer_text(w, "name", v->name);
        writer_texts(w, "domains", v->domains, v->n_domains);
        writer_open(w, "routes", '[');
        for (size_t r = 0; r < v->n_routes; r++)
            exposure_write_route(w, v->routes[r]);
        writer_close(w, ']');
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

/* Keys stay behind: the section's own, and what may stand in a chain's text beside its certificates. */
static void write_certificate(struct writer *w, const struct certificate *one, const char *key_file, bool reveal,
                              struct arena *arena)
{
    writer_open(w, NULL, '{');
    writer_text(w, "rid", one->rid);
    optional_text(w, "certificate_secret", one->secret);
    optional_text(w, "validation_secret", one->validation_secret);
    optional_text(w, "certificate_chain_filename", one->chain_file);
    optional_text(w, "private_key_filename", key_file ? NULL : one->key_file);
    if (one->chain_inline)
        writer_text(w, "certificate_chain_inline_string", pem_certificates(one->chain_inline, arena));
    if (one->key_inline)
        writer_text(w, "private_key_inline_string", reveal ? one->key_inline : write_redacted);
    writer_close(w, '}');
}

static void write_certificates(struct writer *w, const struct exposure *x, bool reveal, struct arena *arena)
{
    writer_open(w, "listener_certificates", '[');
    for (size_t i = 0; i < x->n_listener_certificates; i++)
        write_certificate(w, x->listener_certificates[i], NULL, reveal, arena);
    writer_close(w, ']');
    writer_open(w, "cluster_certificates", '[');
    if (x->cluster_certificate)
        write_certificate(w, x->cluster_certificate, x->cluster_private_key_file, reveal, arena);
    writer_close(w, ']');
    optional_text(w, "cluster_private_key_filename", x->cluster_private_key_file);
}

static const char *namespace_of(const char *path, struct arena *arena)
{
    char name[OBJECT_NAME_MAX];

    object_namespace(path, name, sizeof(name));
    return arena_strdup(arena, name);
}

/* Fixed ones, that were given over the API. */
static void write_fixed_endpoints(struct writer *w, const struct exposure *x)
{
    char address[ADDRESS_TEXT_MAX];

    writer_open(w, "endpoints", '[');
    for (size_t i = 0; i < x->n_fixed; i++) {
        const struct fixed_endpoint *one = &x->fixed[i];
        writer_open(w, NULL, '{');
        writer_text(w, "address", one->host ? one->host : address_text(&one->address, address));
        writer_int(w, "port", one->port);
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

/* Members of an object: what can be set of an exposure. reveal: secrets as well; that is shown to nobody. */
static void write_spec(struct writer *w, const struct exposure *x, bool reveal, struct arena *arena)
{
    char address[ADDRESS_TEXT_MAX];

    writer_bool(w, "enabled", !x->disabled);
    writer_text(w, "gateway", x->gateway);
    writer_int(w, "port", x->port);
    writer_text(w, "protocol", spec_protocols[x->protocol]);
    writer_text(w, "listener_addr", x->listener_addr.family ? address_text(&x->listener_addr, address) : NULL);
    writer_int(w, "listener_port", x->listener_port);
    writer_texts(w, "sni", x->sni, x->n_sni);
    writer_text(w, "lb_policy", spec_lb_policies[x->lb_policy]);
    write_fixed_endpoints(w, x);
    write_vhosts(w, x);
    write_certificates(w, x, reveal, arena);
    write_passthrough(w, "cluster_data", x->cluster_data, reveal);
    write_passthrough(w, "filter_config_data", x->filter_config_data, reveal);
}

json_t *exposure_json(const struct exposure *x, bool reveal, struct arena *arena)
{
    json_t *json = NULL;
    struct buf b;
    struct writer w = {.out = &b};

    buf_init(&b, 0);
    writer_open(&w, NULL, '{');
    write_spec(&w, x, reveal, arena);
    writer_close(&w, '}');
    (void)json_parse((const char *)b.data, b.len, &json, NULL); /* what was just written can be read */
    mem_wipe(b.data, b.len);
    buf_clear(&b);
    return json;
}

static const char *origin_of(const struct exposure *x)
{
    return x->origin == ORIGIN_API ? "api" : "agent";
}

/* Names of what was set over the API on an exposure of the agent's. */
static void write_overridden(struct call *c, const struct exposure *x, struct writer *w)
{
    const struct document *d =
        x->origin == ORIGIN_OVERRIDDEN ? view_document(c->view, DOCUMENT_OVERRIDE, x->name) : NULL;
    json_t *patch = document_json(d), *value;
    const char *name;

    writer_open(w, "overridden", '[');
    json_object_foreach(patch, name, value) writer_text(w, NULL, name);
    json_decref(patch);
    writer_close(w, ']');
}

static void write_exposure(struct call *c, const void *item, struct writer *w)
{
    const struct service_exposure *sx = item;
    const struct exposure *x = sx->declared;

    writer_text(w, "name", x->name);
    writer_text(w, "service", x->path);
    writer_text(w, "namespace", namespace_of(x->path, c->arena));
    writer_text(w, "rid", x->rid);
    writer_text(w, "origin", origin_of(x));
    write_overridden(c, x, w);
    write_spec(w, x, false, c->arena);
}

/* ---- its status ---- */

static void open_condition(struct writer *w, const char *key, const struct condition *one)
{
    writer_open(w, key, '{');
    writer_text(w, "state", condition_state_name(one->state));
    writer_text(w, "reason", one->reason);
    writer_text(w, "message", one->message);
}

/* Of several lists, as many as there is room for. */
static void write_within(struct call *c, const struct exposure *x, const struct problem *items, size_t n,
                         size_t *room, struct writer *w)
{
    n = n < *room ? n : *room;
    *room -= n;
    write_problems(w, x, items, n, c->arena);
}

static void write_all_problems(struct call *c, const struct service_exposure *sx, const struct left_out *left,
                               size_t room, struct writer *w)
{
    const struct listener_plan *plan = view_exposure_plan(c->view, sx);
    const struct verdict *v = plan ? listener_plan_verdict(plan, sx->x->name) : NULL;

    writer_open(w, "problems", '[');
    write_within(c, sx->declared, sx->declared->problems, sx->declared->n_problems, &room, w);
    write_within(c, sx->declared, sx->hindrance, sx->hindrance != NULL, &room, w);
    if (v)
        write_within(c, sx->x, v->problems, v->n_problems, &room, w);
    write_within(c, sx->x, left->items, left->n, &room, w);
    write_within(c, sx->x, sx->untold, sx->untold != NULL, &room, w);
    writer_close(w, ']');
}

void exposure_write_conditions(struct call *c, const struct service_exposure *sx, const struct conditions *all,
                               size_t problems_max, struct writer *w)
{
    open_condition(w, "accepted", &all->accepted);
    write_all_problems(c, sx, &all->left_out, problems_max, w);
    writer_close(w, '}');
    open_condition(w, "programmed", &all->programmed);
    writer_int(w, "proxies", all->proxies.proxies);
    writer_int(w, "acked", all->proxies.acked);
    writer_int(w, "nacked", all->proxies.nacked);
    writer_close(w, '}');
    open_condition(w, "endpoints", &all->endpoints);
    writer_int(w, "up", (int64_t)sx->n_up);
    writer_int(w, "total", (int64_t)sx->n_endpoints);
    writer_close(w, '}');
    open_condition(w, "certificate", &all->certificate);
    if (all->has_expiry) {
        writer_time(w, "not_after", (double)all->not_after);
        writer_int(w, "days_left", days_left(c, all->not_after));
    } else {
        writer_null(w, "not_after");
        writer_null(w, "days_left");
    }
    writer_close(w, '}');
}

static void write_exposure_status(struct call *c, const void *item, struct writer *w)
{
    const struct service_exposure *sx = item;
    const struct listener_plan *plan = view_exposure_plan(c->view, sx);
    struct conditions all;

    exposure_conditions(c, sx, &all);
    writer_text(w, "gateway", sx->gateway);
    writer_text(w, "listener", plan ? plan->key : NULL);
    writer_int(w, "listener_port", sx->listener_port);
    writer_text(w, "cluster", sx->x->name);
    exposure_write_conditions(c, sx, &all, SIZE_MAX, w);
}

/* ---- the collection ---- */

static const void *first_exposure(struct call *c, const char *after)
{
    return exposure_first(c->view, after);
}

static const void *next_exposure(struct call *c, const void *item)
{
    return exposure_next(c->view, item);
}

static const void *find_exposure(struct call *c, const char *key)
{
    return view_exposure(c->view, key);
}

ITEM_KEY(exposure_key, service_exposure, x->name)
ITEM_VALUE(get_name, service_exposure, text, one->x->name)
ITEM_VALUE(get_service, service_exposure, text, one->x->path)
ITEM_VALUE(get_gateway, service_exposure, text, one->gateway)
ITEM_VALUE(get_protocol, service_exposure, text, spec_protocols[one->declared->protocol])
ITEM_VALUE(get_lb_policy, service_exposure, text, spec_lb_policies[one->declared->lb_policy])
ITEM_VALUE(get_origin, service_exposure, text, origin_of(one->declared))
ITEM_VALUE(get_enabled, service_exposure, number, !one->declared->disabled)
ITEM_VALUE(get_overridden, service_exposure, number, one->declared->origin == ORIGIN_OVERRIDDEN)
ITEM_VALUE(get_listener_port, service_exposure, number, one->listener_port)
ITEM_VALUE(get_up, service_exposure, number, (int64_t)one->n_up)

static void get_namespace(struct call *c, const void *item, struct values *v)
{
    values_text(v, namespace_of(((const struct service_exposure *)item)->x->path, c->arena));
}

static void get_listener(struct call *c, const void *item, struct values *v)
{
    const struct listener_plan *plan = view_exposure_plan(c->view, item);

    values_text(v, plan ? plan->key : NULL);
}

static void get_names(struct call *c, const void *item, struct values *v)
{
    const struct exposure *x = ((const struct service_exposure *)item)->declared;

    (void)c; /* the item has them */
    for (size_t i = 0; i < x->n_sni; i++)
        values_text(v, x->sni[i]);
    for (size_t i = 0; i < x->n_vhosts; i++)
        for (size_t d = 0; d < x->vhosts[i]->n_domains; d++)
            values_text(v, x->vhosts[i]->domains[d]);
}

static void get_certificates(struct call *c, const void *item, struct values *v)
{
    const struct exposure *x = ((const struct service_exposure *)item)->declared;

    (void)c; /* the item has them */
    for (size_t i = 0; i < x->n_listener_certificates; i++) {
        values_text(v, x->listener_certificates[i]->secret);
        values_text(v, x->listener_certificates[i]->validation_secret);
    }
    if (x->cluster_certificate) {
        values_text(v, x->cluster_certificate->secret);
        values_text(v, x->cluster_certificate->validation_secret);
    }
}

#define CONDITION_STATE(function, kind)                                                                              \
    static void function(struct call *c, const void *item, struct values *v)                                         \
    {                                                                                                                \
        values_text(v, condition_state_name(exposure_condition(c, item, kind).state));                               \
    }
CONDITION_STATE(get_accepted, CONDITION_ACCEPTED)
CONDITION_STATE(get_programmed, CONDITION_PROGRAMMED)
CONDITION_STATE(get_endpoints, CONDITION_ENDPOINTS)
CONDITION_STATE(get_certificate, CONDITION_CERTIFICATE)

static void get_state(struct call *c, const void *item, struct values *v)
{
    struct conditions all;

    exposure_conditions(c, item, &all);
    values_text(v, condition_state_name(conditions_worst(&all)));
}

static void get_severity(struct call *c, const void *item, struct values *v)
{
    struct conditions all;

    exposure_conditions(c, item, &all);
    values_number(v, condition_severity(conditions_worst(&all)));
}

static const char *const origins[] = {"agent", "api", NULL};

static const struct attribute exposure_attributes[] = {
    {"name", PARAMETER_TEXT, ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_name},
    {"service", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_service},
    {"namespace", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_namespace},
    {"gateway", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_gateway},
    {"listener", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_listener},
    {"protocol", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_protocol, spec_protocols},
    {"lb_policy", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_lb_policy, spec_lb_policies},
    {"origin", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_origin, origins},
    {"enabled", PARAMETER_BOOL, ATTRIBUTE_FILTER, get_enabled},
    {"is_overridden", PARAMETER_BOOL, ATTRIBUTE_FILTER, get_overridden},
    {"listener_port", PARAMETER_INT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_listener_port},
    {"endpoints_up", PARAMETER_INT, ATTRIBUTE_SORT, get_up},
    {"domain", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_names},
    {"certificate", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_certificates},
    {"accepted", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_accepted, condition_states},
    {"programmed", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_programmed, condition_states},
    {"endpoints", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_endpoints, condition_states},
    {"certificate_state", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_certificate, condition_states},
    {"state", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_state, condition_states},
    {"severity", PARAMETER_INT, ATTRIBUTE_SORT, get_severity},
    {NULL},
};

static const char *const exposure_fields[] = {"kind",
                                              "name",
                                              "service",
                                              "namespace",
                                              "rid",
                                              "origin",
                                              "overridden",
                                              "enabled",
                                              "gateway",
                                              "port",
                                              "protocol",
                                              "listener_addr",
                                              "listener_port",
                                              "sni",
                                              "lb_policy",
                                              "endpoints",
                                              "vhosts",
                                              "listener_certificates",
                                              "cluster_certificates",
                                              "cluster_private_key_filename",
                                              "cluster_data",
                                              "filter_config_data",
                                              "status",
                                              "status.gateway",
                                              "status.listener",
                                              "status.listener_port",
                                              "status.cluster",
                                              "status.accepted",
                                              "status.programmed",
                                              "status.endpoints",
                                              "status.certificate",
                                              NULL};

bool exposures_are_ranked(const struct call *c)
{
    const char *sort = parameter_text(&c->target, "sort");

    return parameter_text(&c->target, "state") || (sort && strstr(sort, "severity"));
}

bool exposure_is_found(struct call *c, const struct service_exposure *sx, const char *q)
{
    struct values v = {.arena = c->arena};

    get_names(c, sx, &v);
    values_text(&v, sx->x->name);
    for (size_t i = 0; i < v.n; i++)
        if (text_holds(v.items[i].text, q))
            return true;
    return false;
}

/* What filters by the proxies' words looks at all of them. */
static void prepare_exposures(struct call *c)
{
    if (parameter_text(&c->target, "programmed") || exposures_are_ranked(c))
        exposures_expect_all(c);
}

static void expect_exposures(struct call *c, const void *const *items, size_t n)
{
    exposures_expect(c, (const struct service_exposure *const *)items, n);
}

static size_t count_exposures(struct call *c)
{
    return c->view->n_exposures;
}

const struct collection exposure_collection = {
    .kind = "Exposure",
    .prepare = prepare_exposures,
    .expect = expect_exposures,
    .first = first_exposure,
    .next = next_exposure,
    .count = count_exposures,
    .find = find_exposure,
    .key = exposure_key,
    .compare_keys = exposure_name_compare,
    .write = write_exposure,
    .write_status = write_exposure_status,
    .attributes = exposure_attributes,
    .fields = exposure_fields,
};

/* ---- the same, as the topology shows them ---- */

static const char *const topology_exposure_fields[] = {"kind",
                                                       "name",
                                                       "service",
                                                       "gateway",
                                                       "listener",
                                                       "listener_port",
                                                       "protocol",
                                                       "state",
                                                       "verdict",
                                                       "sni",
                                                       "sni_total",
                                                       "chains",
                                                       "vhosts",
                                                       "vhosts_total",
                                                       "endpoints",
                                                       "status",
                                                       "status.accepted",
                                                       "status.programmed",
                                                       "status.endpoints",
                                                       "status.certificate",
                                                       NULL};

const struct collection topology_exposure_collection = {
    .kind = "TopologyExposure",
    .prepare = prepare_exposures,
    .expect = expect_exposures,
    .first = first_exposure,
    .next = next_exposure,
    .count = count_exposures,
    .key = exposure_key,
    .compare_keys = exposure_name_compare,
    .write = topology_write_exposure,
    .write_status = topology_write_exposure_status,
    .attributes = exposure_attributes,
    .fields = topology_exposure_fields,
};

/* ---- endpoints ---- */

static void prepare_endpoints(struct call *c)
{
    c->prepared = (void *)(uintptr_t)view_exposure(c->view, c->arguments[0]); /* read only, all the way */
    if (!c->prepared)
        call_not_found(c, "Exposure");
}

static const char *name_of(const struct endpoint *one, struct arena *arena)
{
    char text[ENDPOINT_NAME_MAX];

    return arena_strdup(arena, endpoint_name(one, text, sizeof(text)));
}

static int endpoint_key_compare(const char *a, const char *b)
{
    struct endpoint x = {0}, y = {0};
    char hosts[2][ENDPOINT_NAME_MAX];

    if (endpoint_parse(a, &x, hosts[0]) < 0 || endpoint_parse(b, &y, hosts[1]) < 0)
        return strcmp(a, b);
    return endpoint_compare(&x, &y);
}

static const void *first_endpoint(struct call *c, const char *after)
{
    const struct service_exposure *sx = c->prepared;
    struct endpoint last = {0};
    char host[ENDPOINT_NAME_MAX];
    bool from_start = !*after || endpoint_parse(after, &last, host) < 0;

    for (size_t i = 0; i < sx->n_endpoints; i++)
        if (from_start || endpoint_compare(&sx->endpoints[i], &last) > 0)
            return &sx->endpoints[i];
    return NULL;
}

static const void *next_endpoint(struct call *c, const void *item)
{
    const struct service_exposure *sx = c->prepared;
    const struct endpoint *one = item;

    return one + 1 < sx->endpoints + sx->n_endpoints ? one + 1 : NULL;
}

static const void *find_endpoint(struct call *c, const char *key)
{
    const struct service_exposure *sx = c->prepared;
    struct endpoint wanted = {0};
    char host[ENDPOINT_NAME_MAX];

    if (endpoint_parse(key, &wanted, host) < 0)
        return NULL;
    for (size_t i = 0; i < sx->n_endpoints; i++)
        if (endpoint_compare(&sx->endpoints[i], &wanted) == 0)
            return &sx->endpoints[i];
    return NULL;
}

static const char *endpoint_key(struct call *c, const void *item)
{
    return name_of(item, c->arena);
}

static void write_endpoint(struct call *c, const void *item, struct writer *w)
{
    const struct endpoint *one = item;
    char text[ADDRESS_TEXT_MAX];

    writer_text(w, "name", name_of(one, c->arena));
    writer_text(w, "address", one->host ? one->host : address_text(&one->address, text));
    writer_int(w, "port", one->port);
    writer_text(w, "node", one->node);
    writer_text(w, "instance", one->instance);
    writer_text(w, "rid", one->rid);
}

void endpoint_write_status(struct writer *w, const struct endpoint *one)
{
    writer_bool(w, "up", one->up);
    writer_bool(w, "refused", one->refused);
    writer_bool(w, "drained", one->drained);
    writer_text(w, "state", one->state);
}

static void write_endpoint_status(struct call *c, const void *item, struct writer *w)
{
    (void)c; /* the item has all */
    endpoint_write_status(w, item);
}

ITEM_VALUE(get_endpoint_node, endpoint, text, one->node)
ITEM_VALUE(get_endpoint_instance, endpoint, text, one->instance)
ITEM_VALUE(get_endpoint_up, endpoint, number, one->up)

static const struct attribute endpoint_attributes[] = {
    {"node", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_endpoint_node},
    {"instance", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_endpoint_instance},
    {"up", PARAMETER_BOOL, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_endpoint_up},
    {NULL},
};

static const char *const endpoint_fields[] = {
    "kind",   "name",      "address",        "port",           "node",         "instance", "rid",
    "status", "status.up", "status.refused", "status.drained", "status.state", NULL};

const struct collection endpoint_collection = {
    .kind = "Endpoint",
    .prepare = prepare_endpoints,
    .first = first_endpoint,
    .next = next_endpoint,
    .find = find_endpoint,
    .key = endpoint_key,
    .compare_keys = endpoint_key_compare,
    .write = write_endpoint,
    .write_status = write_endpoint_status,
    .attributes = endpoint_attributes,
    .fields = endpoint_fields,
};
