/* What the daemon hands over as lists: proxies, their resources, alarms; and how one is forgotten. */
#include "api/edit.h"
#include "api/handlers.h"
#include "api/objects.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const states[] = {
    [API_REQUESTED] = "REQUESTED",           [API_ACKED] = "ACKED",           [API_NACKED] = "NACKED",
    [API_DOES_NOT_EXIST] = "DOES_NOT_EXIST", [API_DOES_NOT_EXIST + 1] = NULL,
};

/* ---- proxies ---- */

static const char *const presences[] = {
    [API_CONNECTED] = "connected", [API_AWAY] = "away", [API_GONE] = "gone", [API_GONE + 1] = NULL};

const struct api_proxy *proxies_of(struct call *c, size_t *ret_n)
{
    static const struct api_proxy none;

    if (!c->proxies && c->backend->proxies)
        c->backend->proxies(c->backend->arg, NULL, c->arena, &c->proxies, &c->n_proxies);
    if (!c->proxies)
        c->proxies = &none;
    *ret_n = c->n_proxies;
    return c->proxies;
}

int64_t proxies_count(struct call *c, const char *gateway, enum api_presence presence)
{
    const struct api_proxy *items;
    int64_t count = 0;
    size_t n;

    items = proxies_of(c, &n);
    for (size_t i = 0; i < n; i++)
        count += items[i].presence == presence && (!gateway || strcmp(items[i].gateway, gateway) == 0);
    return count;
}

static void prepare_proxies(struct call *c)
{
    size_t n;
    const struct api_proxy *items = proxies_of(c, &n);

    array_prepare(c, items, n, sizeof(*items));
}

ITEM_KEY(proxy_key, api_proxy, id)

static const void *first_proxy(struct call *c, const char *after)
{
    return array_first(c, after, proxy_key);
}

static const void *find_proxy(struct call *c, const char *key)
{
    return array_find(c, key, proxy_key);
}

static void write_proxy(struct call *c, const void *item, struct writer *w)
{
    const struct api_proxy *p = item;

    (void)c; /* the item has all */
    writer_text(w, "id", p->id);
    writer_text(w, "node_id", p->node_id);
    writer_text(w, "node_cluster", p->node_cluster);
    writer_text(w, "gateway", p->gateway);
    writer_text(w, "peer", p->peer);
    writer_text(w, "envoy_version", p->envoy_version);
    writer_text(w, "variant", p->incremental ? "incremental" : "state_of_the_world");
    writer_time(w, "first_seen_at", p->first_seen_at);
    writer_time(w, "connected_at", p->connected_at);
    if (p->presence == API_CONNECTED)
        writer_null(w, "left_at");
    else
        writer_time(w, "left_at", p->left_at);
}

/* What it has is known only while it is connected. */
static enum api_resource_state worst_state(const struct api_proxy *p)
{
    uint64_t sums[API_DOES_NOT_EXIST + 1] = {0};

    if (p->presence != API_CONNECTED)
        return API_DOES_NOT_EXIST + 1; /* none of them */
    if (!p->n_types)
        return API_REQUESTED; /* it has not been answered yet */
    for (size_t i = 0; i < p->n_types; i++)
        for (size_t k = 0; k <= API_DOES_NOT_EXIST; k++)
            sums[k] += p->types[i].counts[k];
    return sums[API_NACKED] ? API_NACKED : sums[API_REQUESTED] ? API_REQUESTED : API_ACKED;
}

static void write_proxy_status(struct call *c, const void *item, struct writer *w)
{
    const struct api_proxy *p = item;

    (void)c; /* the item has all */
    writer_text(w, "presence", presences[p->presence]);
    writer_text(w, "ended", p->ended);
    writer_text(w, "state", states[worst_state(p)]);
    writer_open(w, "resources", '[');
    for (size_t i = 0; i < p->n_types; i++) {
        writer_open(w, NULL, '{');
        writer_text(w, "type", p->types[i].type);
        for (size_t k = 0; k <= API_DOES_NOT_EXIST; k++)
            writer_int(w, states[k], (int64_t)p->types[i].counts[k]);
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

ITEM_VALUE(get_proxy_id, api_proxy, text, one->id)
ITEM_VALUE(get_proxy_node, api_proxy, text, one->node_id)
ITEM_VALUE(get_proxy_gateway, api_proxy, text, one->gateway)
ITEM_VALUE(get_proxy_presence, api_proxy, text, presences[one->presence])
ITEM_VALUE(get_proxy_state, api_proxy, text, states[worst_state(one)])

static const struct attribute proxy_attributes[] = {
    {"id", PARAMETER_TEXT, ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_proxy_id},
    {"node_id", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_proxy_node},
    {"gateway", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_proxy_gateway},
    {"presence", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_proxy_presence, presences},
    {"state", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_proxy_state, states},
    {NULL},
};

static const char *const proxy_fields[] = {"kind",
                                           "id",
                                           "node_id",
                                           "node_cluster",
                                           "gateway",
                                           "peer",
                                           "envoy_version",
                                           "variant",
                                           "first_seen_at",
                                           "connected_at",
                                           "left_at",
                                           "status",
                                           "status.presence",
                                           "status.ended",
                                           "status.state",
                                           "status.resources",
                                           NULL};

const struct collection proxy_collection = {
    .kind = "Proxy",
    .prepare = prepare_proxies,
    .first = first_proxy,
    .next = array_next,
    .count = array_count,
    .find = find_proxy,
    .key = proxy_key,
    .write = write_proxy,
    .write_status = write_proxy_status,
    .attributes = proxy_attributes,
    .fields = proxy_fields,
};

static const struct api_proxy *find_one(struct call *c, const char *id)
{
    const struct api_proxy *one = NULL;
    size_t n = 0;

    if (c->backend->proxies)
        c->backend->proxies(c->backend->arg, id, c->arena, &one, &n);
    return n ? one : NULL;
}

static void fail_connected(struct call *c, const struct api_proxy *p)
{
    call_fail(c, 409, "\"%s\" is connected: only a proxy that left can be forgotten", p->node_id);
}

static void forget(struct call *c, const struct api_proxy *p)
{
    int r = c->backend->forget_proxy(c->backend->arg, p->id);

    if (r == -EBUSY)
        fail_connected(c, p);
    else if (r == -ENOENT)
        call_not_found(c, "Proxy"); /* it came back meanwhile, or another request was here before */
    else if (r < 0)
        call_fail(c, 503, "too many ask for what the proxies have");
    if (r < 0)
        return;
    log_event(LOG_LEVEL_NOTICE, "a proxy is forgotten", "node", p->node_id, "gateway", p->gateway, "who", c->who.name,
              NULL);
    c->answer->status = 204;
}

/* Nothing is edited: what is forgotten is what this daemon saw itself, so one that takes no edits does it as well. */
void handle_delete_proxy(struct call *c)
{
    const struct api_proxy *p = find_one(c, c->arguments[0]);

    if (!write_precondition_of(c, &proxy_collection, c->arguments[0], NULL))
        return;
    if (!p || !c->backend->forget_proxy)
        call_not_found(c, "Proxy");
    else if (c->who.role < ROLE_ADMIN && !principal_is_of(&c->who, p->gateway))
        call_fail(c, 403, "\"%s\" may not do this: an operator forgets proxies of its gateways alone", c->who.name);
    else if (p->presence == API_CONNECTED)
        fail_connected(c, p);
    else if (parameter_bool(&c->target, "dry_run"))
        c->answer->status = 204;
    else
        forget(c, p);
}

/* ---- resources of one proxy ---- */

static void prepare_resources(struct call *c)
{
    const struct api_proxy *one = find_one(c, c->arguments[0]);

    if (one)
        array_prepare(c, one->resources, one->n_resources, sizeof(*one->resources));
    else
        call_not_found(c, "Proxy");
}

static const char *resource_key(struct call *c, const void *item)
{
    const struct api_proxy_resource *r = item;

    return arena_printf(c->arena, "%s %s", r->type, r->name);
}

static const void *first_resource(struct call *c, const char *after)
{
    size_t n_type = strcspn(after, " ");

    for (const struct api_proxy_resource *r = array_begin(c); r; r = array_next(c, r)) {
        int order = strncmp(r->type, after, n_type);
        if (!order)
            order = r->type[n_type] ? 1 : after[n_type] ? strcmp(r->name, after + n_type + 1) : 1;
        if (order > 0)
            return r;
    }
    return NULL;
}

static void write_resource(struct call *c, const void *item, struct writer *w)
{
    const struct api_proxy_resource *r = item;

    (void)c; /* the item has all */
    writer_text(w, "type", r->type);
    writer_text(w, "name", r->name);
}

static void write_resource_status(struct call *c, const void *item, struct writer *w)
{
    const struct api_proxy_resource *r = item;

    (void)c; /* the item has all */
    writer_text(w, "version", r->version);
    writer_text(w, "state", states[r->state]);
    writer_text(w, "error", r->error);
}

ITEM_VALUE(get_resource_type, api_proxy_resource, text, one->type)
ITEM_VALUE(get_resource_name, api_proxy_resource, text, one->name)
ITEM_VALUE(get_resource_state, api_proxy_resource, text, states[one->state])

static const struct attribute resource_attributes[] = {
    {"type", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_resource_type},
    {"name", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_resource_name},
    {"state", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_resource_state, states},
    {NULL},
};

static const char *const resource_fields[] = {"kind",           "type",         "name",         "status",
                                              "status.version", "status.state", "status.error", NULL};

const struct collection resource_collection = {
    .kind = "ProxyResource",
    .prepare = prepare_resources,
    .first = first_resource,
    .next = array_next,
    .count = array_count,
    .key = resource_key,
    .write = write_resource,
    .write_status = write_resource_status,
    .attributes = resource_attributes,
    .fields = resource_fields,
};

/* ---- alarms ---- */

struct gathered {
    struct api_alarm *items;
    size_t n, cap;
};

static void add_alarm(struct call *c, struct gathered *g, const char *name, const char *text, double since)
{
    g->items = arena_room(c->arena, g->items, g->n, &g->cap, sizeof(*g->items));
    g->items[g->n++] = (struct api_alarm){name, text, since};
}

static void add_certificate_alarm(struct call *c, struct gathered *g, const struct secret *s)
{
    double since;
    const char *text = secret_alarm(s, c->now, c->arena, &since);

    if (text)
        add_alarm(c, g, arena_printf(c->arena, "certificate %s", s->path), text, since);
}

static void add_token_alarm(struct call *c, struct gathered *g, const struct document *d)
{
    struct expiry e;
    char time[32];

    if (!expiry_of_token(d, &e) || !expiry_is_alarm(&e, c->now))
        return;
    json_t *body = document_json(d);
    const char *name = arena_printf(c->arena, "token %s", json_string_value(json_object_get(body, "name")));
    bool over = expiry_state(&e, c->now) == EXPIRY_OVER;
    add_alarm(c, g, name,
              arena_printf(c->arena, over ? "it expired at %s: who comes with it is refused" : "it expires at %s",
                           clock_wall_text(e.ends_at, time)),
              over ? e.ends_at : e.warned_at);
    json_decref(body);
}

static void add_proxy_alarm(struct call *c, struct gathered *g, const struct api_proxy *p)
{
    char time[32];

    if (p->presence == API_GONE)
        add_alarm(c, g, arena_printf(c->arena, "proxy %s", p->id),
                  arena_printf(c->arena, "\"%s\" of gateway \"%s\" left at %s and did not come back: %s", p->node_id,
                               p->gateway, clock_wall_text(p->left_at, time), p->ended ? p->ended : "not known why"),
                  p->left_at);
}

static int compare_alarms(const void *a, const void *b)
{
    return strcmp(((const struct api_alarm *)a)->name, ((const struct api_alarm *)b)->name);
}

const struct api_alarm *alarms_gather(struct call *c, enum role reader, size_t *ret_n)
{
    struct gathered g = {0};
    const struct api_alarm *daemons = NULL;
    size_t n = 0;

    if (c->backend->alarms)
        c->backend->alarms(c->backend->arg, c->arena, &daemons, &n);
    for (size_t i = 0; i < n; i++)
        add_alarm(c, &g, daemons[i].name, daemons[i].text, daemons[i].since);
    for (const struct secret *s = pmap_after(c->view->secrets, &view_secrets, ""); s;
         s = pmap_after(c->view->secrets, &view_secrets, s->path))
        add_certificate_alarm(c, &g, s);
    for (const struct document *d = view_document_after(c->view, DOCUMENT_TOKEN, ""); d && reader >= ROLE_ADMIN;
         d = view_document_after(c->view, DOCUMENT_TOKEN, d->name))
        add_token_alarm(c, &g, d);
    const struct api_proxy *proxies = proxies_of(c, &n);
    for (size_t i = 0; i < n; i++)
        add_proxy_alarm(c, &g, &proxies[i]);
    if (g.n)
        qsort(g.items, g.n, sizeof(*g.items), compare_alarms);
    *ret_n = g.n;
    return g.items;
}

static void prepare_alarms(struct call *c)
{
    size_t n;
    const struct api_alarm *items = alarms_gather(c, c->who.role, &n);

    array_prepare(c, items, n, sizeof(*items));
}

ITEM_KEY(alarm_key, api_alarm, name)

static const void *first_alarm(struct call *c, const char *after)
{
    return array_first(c, after, alarm_key);
}

static void write_alarm(struct call *c, const void *item, struct writer *w)
{
    const struct api_alarm *a = item;

    (void)c; /* the item has all */
    writer_text(w, "name", a->name);
    writer_text(w, "text", a->text);
    if (a->since > 0)
        writer_time(w, "since", a->since);
    else
        writer_null(w, "since");
}

ITEM_VALUE(get_alarm_name, api_alarm, text, one->name)
ITEM_VALUE(get_alarm_text, api_alarm, text, one->text)

static const struct attribute alarm_attributes[] = {
    {"name", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_alarm_name},
    {"text", PARAMETER_TEXT, ATTRIBUTE_SEARCH, get_alarm_text},
    {NULL},
};

static const char *const alarm_fields[] = {"kind", "name", "text", "since", NULL};

const struct collection alarm_collection = {
    .kind = "Alarm",
    .prepare = prepare_alarms,
    .first = first_alarm,
    .next = array_next,
    .count = array_count,
    .key = alarm_key,
    .write = write_alarm,
    .attributes = alarm_attributes,
    .fields = alarm_fields,
};
