/*
 * A small world for the tests of translation: a JSON document of gateways, secrets and services becomes a view, and
 * the next document the difference to it, by the model's own functions, without a store.
 *
 *     {"gateways": {"envoy": {"allow_files": true}},
 *      "secrets": {"test/sec/cert": {"certificate_chain": "...", "private_key": "..."}},
 *      "services": {"test/svc/web1": {
 *          "resources": {"expose#0": {"port": 80}, "vhost#0": {...}},
 *          "addresses": [{"node": "n1", "address": "10.0.0.1", "up": true, "exposes": ["expose#0"]}]}}}
 *
 * What did not change in the document keeps its objects, as in the store. Gateways that are named by an exposure
 * exist. For programs of one file each: everything is static.
 */
#ifndef TESTS_TOOLS_TRANSLATE_WORLD_H
#define TESTS_TOOLS_TRANSLATE_WORLD_H

#include "base/json.h"
#include "proto/translate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLD_EXPOSES_MAX = 16 };

struct world {
    struct view *view; /* NULL at first */
    json_t *doc;
    struct gateway checked; /* what translate_check() lets pass */
    bool same_revision;     /* from now on, as when an endpoint flips */
};

static const char *world_type(const char *rid)
{
    static const char *const types[][2] = {{"expose#", "expose.envoy"},
                                           {"vhost#", "vhost.envoy"},
                                           {"route#", "route.envoy"},
                                           {"hashpolicy#", "hashpolicy.envoy"},
                                           {"certificate#", "certificate.tls"}};

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (!strncmp(rid, types[i][0], strlen(types[i][0])))
            return types[i][1];
    abort();
}

static const char *world_text(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : otherwise;
}

static int world_compare_resources(const void *a, const void *b)
{
    const struct fact_resource *x = a, *y = b;

    return strcmp(x->rid, y->rid);
}

static int world_check(const struct exposure *x, const struct gateway *gateway, void *arg, struct err *e)
{
    const struct world *w = arg;

    (void)gateway; /* none is known where declarations are made */
    return translate_check(x, &w->checked, NULL, e);
}

static struct declaration *world_declaration(struct world *w, const char *path, const json_t *resources)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct fact_resource *facts = arena_array(a, struct fact_resource, json_object_size(resources));
    size_t n = 0;
    const char *rid;
    json_t *info;

    json_object_foreach((json_t *)(uintptr_t)resources, rid, info)
    {
        _cleanup_(mem_free_p) char *text = json_canonical(info);

        facts[n++] = (struct fact_resource){.rid = rid, .type = world_type(rid), .info = arena_strdup(a, text)};
    }
    qsort(facts, n, sizeof(*facts), world_compare_resources);
    return declaration_new(path, facts, n, world_check, w);
}

static size_t world_addresses(struct arena *a, const char *path, const json_t *list, struct fact_address *ret)
{
    size_t i, k;
    json_t *item;

    json_array_foreach(list, i, item)
    {
        const json_t *exposes = json_object_get(item, "exposes");
        const char **names = arena_array(a, const char *, WORLD_EXPOSES_MAX);

        assert(json_array_size(exposes) <= WORLD_EXPOSES_MAX);
        for (k = 0; k < json_array_size(exposes); k++)
            names[k] = json_string_value(json_array_get(exposes, k));
        ret[i] = (struct fact_address){.node = world_text(item, "node", "n1"),
                                       .instance = path,
                                       .rid = world_text(item, "rid", "ip#1"),
                                       .address = world_text(item, "address", ""),
                                       .up = !json_is_false(json_object_get(item, "up")),
                                       .state = "",
                                       .exposes = names,
                                       .n_exposes = json_array_size(exposes)};
    }
    return json_array_size(list);
}

static struct service *world_service(struct world *w, const char *path, const json_t *now, const json_t *before)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const json_t *resources = json_object_get(now, "resources"), *list = json_object_get(now, "addresses");
    const struct service *old = w->view ? view_service(w->view, path) : NULL;
    struct declaration *d;
    struct fact_address *addresses = arena_array(a, struct fact_address, json_array_size(list));
    size_t n_exposures, n_addresses = world_addresses(a, path, list, addresses);
    const struct exposure *exposures;
    struct exposure_state *states;
    struct service *s;

    d = old && json_equal(resources, json_object_get(before, "resources")) ? declaration_ref(old->declaration)
                                                                           : world_declaration(w, path, resources);
    exposures = declaration_exposures(d, &n_exposures);
    states = arena_array(a, struct exposure_state, n_exposures);
    for (size_t i = 0; i < n_exposures; i++) {
        states[i].gateway = exposures[i].gateway ? exposures[i].gateway : "envoy";
        states[i].listener_port = exposures[i].listener_port;
        states[i].since = 1;
    }
    s = service_new(path, d, NULL, states, addresses, n_addresses, NULL, NULL);
    declaration_unref(d);
    return s;
}

static void world_set(struct view_delta *d, enum view_kind kind, const char *key, void *after)
{
    view_delta_set(d, kind, key, after);
}

static void world_services(struct world *w, struct view_delta *d, const json_t *now, const json_t *before)
{
    const char *path;
    json_t *item;

    json_object_foreach((json_t *)(uintptr_t)before, path, item)
    {
        if (!json_object_get(now, path))
            world_set(d, VIEW_SERVICE, path, NULL);
    }
    json_object_foreach((json_t *)(uintptr_t)now, path, item)
    {
        const json_t *old = json_object_get(before, path);

        if (old && json_equal(old, item))
            continue;
        _cleanup_(service_unref_p) struct service *s = world_service(w, path, item, old);
        world_set(d, VIEW_SERVICE, path, s);
    }
}

static void world_secrets(struct world *w, struct view_delta *d, const json_t *now, const json_t *before)
{
    const char *path;
    json_t *item;

    json_object_foreach((json_t *)(uintptr_t)before, path, item)
    {
        if (!json_object_get(now, path))
            world_set(d, VIEW_SECRET, path, NULL);
    }
    json_object_foreach((json_t *)(uintptr_t)now, path, item)
    {
        const struct secret_values values = {
            .certificate_chain = world_text(item, "certificate_chain", NULL),
            .private_key = world_text(item, "private_key", NULL),
            .password = world_text(item, "password", NULL),
            .trusted_ca = world_text(item, "trusted_ca", NULL),
            .verify_certificate_hash = world_text(item, "verify_certificate_hash", NULL),
        };
        const json_t *old = json_object_get(before, path);

        if (old && json_equal(old, item))
            continue;
        _cleanup_(secret_unref_p) struct secret *s =
            secret_new(path, "csum", &values, NULL, w->view ? view_secret(w->view, path) : NULL);
        world_set(d, VIEW_SECRET, path, s);
    }
}

/* One gateway as the document has it (item may be NULL). */
static void world_gateway(struct world *w, struct view_delta *d, const char *name, const json_t *item)
{
    const struct gateway *old = w->view ? view_gateway(w->view, name) : NULL;
    struct gateway *g;

    if (view_gateway(d->after, name) && !item)
        return;
    g = gateway_new(name, !strcmp(name, "envoy"), &(struct gateway_settings){1025, 65535, false, false});
    g->allow_files = json_is_true(json_object_get(item, "allow_files"));
    g->allow_cluster_header = json_is_true(json_object_get(item, "allow_cluster_header"));
    if (!old || old->allow_files != g->allow_files || old->allow_cluster_header != g->allow_cluster_header)
        world_set(d, VIEW_GATEWAY, name, g);
    gateway_unref(g);
}

/* ---- listeners ---- */

struct world_claim {
    char key[160];
    const char *gateway;
    const struct service_exposure *sx;
};

struct world_claims {
    struct world_claim *items;
    size_t n;
    const struct view *view;
};

static const struct secret *world_lookup(void *arg, const char *path)
{
    return view_secret(arg, path);
}

static int world_compare_claims(const void *a, const void *b)
{
    const struct world_claim *x = a, *y = b;
    int r = strcmp(x->key, y->key);

    return r ? r : strcmp(x->sx->x->name, y->sx->x->name);
}

static int world_gather(void *value, void *arg)
{
    const struct service *s = value;
    struct world_claims *c = arg;

    for (size_t i = 0; i < s->n_exposures; i++) {
        const struct service_exposure *sx = &s->exposures[i];
        char name[64];

        if (!service_exposure_listens(sx))
            continue;
        c->items = mem_realloc(c->items, c->n + 1, sizeof(*c->items));
        c->items[c->n].gateway = sx->gateway;
        c->items[c->n].sx = sx;
        (void)snprintf(c->items[c->n].key, sizeof(c->items->key), "%s|%s", sx->gateway,
                       listener_name(&sx->x->listener_addr, sx->listener_port, sx->x->protocol, name));
        c->n++;
    }
    return 0;
}

static void world_plan(struct world *w, struct view_delta *d, const struct world_claim *claims, size_t n)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct claim *list = arena_array(a, struct claim, n);
    const struct plan_context context = {.secrets = world_lookup, .secrets_arg = d->after};
    const struct listener_plan *old = w->view ? view_listener(w->view, claims->key) : NULL;
    struct listener_plan *plan;

    for (size_t i = 0; i < n; i++)
        list[i].sx = claims[i].sx;
    plan = listener_plan_new(claims->gateway, list, n, &context);
    if (!old || !listener_plan_equal(old, plan))
        world_set(d, VIEW_LISTENER, claims->key, plan);
    listener_plan_unref(plan);
}

struct world_unclaimed {
    const struct world_claims *claims;
    struct view_delta *delta;
};

static int world_drop_unclaimed(void *value, void *arg)
{
    const struct listener_plan *plan = value;
    const struct world_unclaimed *u = arg;

    for (size_t i = 0; i < u->claims->n; i++)
        if (!strcmp(u->claims->items[i].key, plan->key))
            return 0;
    world_set(u->delta, VIEW_LISTENER, plan->key, NULL);
    return 0;
}

static void world_listeners(struct world *w, struct view_delta *d)
{
    struct world_claims c = {.view = d->after};
    struct world_unclaimed unclaimed = {&c, d};

    (void)pmap_each(d->after->services, world_gather, &c);
    if (c.n)
        qsort(c.items, c.n, sizeof(*c.items), world_compare_claims);
    if (w->view)
        (void)pmap_each(w->view->listeners, world_drop_unclaimed, &unclaimed);
    for (size_t i = 0, end; i < c.n; i = end) {
        for (end = i + 1; end < c.n && !strcmp(c.items[i].key, c.items[end].key);)
            end++;
        world_gateway(w, d, c.items[i].gateway, NULL);
        world_plan(w, d, &c.items[i], end - i);
    }
    mem_free(c.items);
}

/* ---- the whole ---- */

/* The difference that the document makes; view_delta_free() it. The document is borrowed. */
static struct view_delta *world_apply(struct world *w, json_t *doc)
{
    struct view *after = view_new(w->view);
    struct view_delta *d = view_delta_new(w->view, after);
    const char *name;
    json_t *item;

    after->complete = true;
    after->revision = w->view ? w->view->revision + !w->same_revision : 1;
    json_object_foreach(json_object_get(doc, "gateways"), name, item)
    {
        world_gateway(w, d, name, item);
        w->checked.allow_files |= json_is_true(json_object_get(item, "allow_files"));
        w->checked.allow_cluster_header |= json_is_true(json_object_get(item, "allow_cluster_header"));
    }
    world_gateway(w, d, "envoy", NULL);
    world_secrets(w, d, json_object_get(doc, "secrets"), json_object_get(w->doc, "secrets"));
    world_services(w, d, json_object_get(doc, "services"), json_object_get(w->doc, "services"));
    world_listeners(w, d);
    view_delta_sort(d);
    view_unref(w->view);
    w->view = after;
    json_decref(w->doc);
    w->doc = json_deep_copy(doc);
    return d;
}

static void world_clear(struct world *w)
{
    view_unref(w->view);
    json_decref(w->doc);
}

#endif
