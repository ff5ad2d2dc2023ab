/*
 * A batch's resources as JSON, with every reference replaced by what it refers to.
 *
 * Routes are not held against clusters (validate_clusters): the batch has those alone that a change concerns, and one
 * of thousands of routes says nothing of another's cluster.
 */
#include "proto/trial.h"

#include "base/json.h"
#include "base/map.h"
#include "proto/protojson.h"
#include "proto/translate.h"

#include <assert.h>
#include <string.h>

struct trial {
    const struct trial_options *options;
    json_t *clusters, *listeners, *secrets;  /* lists */
    struct map assignments, routes, by_name; /* json_t by name, owned; by_name: of clusters, borrowed */
    json_t *pairs, *authorities;             /* objects whose keys are the names of secrets */
    bool names_files;
};

static json_t *resource_json(const struct resource *r)
{
    const struct schema_message *type = schema_find_url(xds_type_url[r->type], strlen(xds_type_url[r->type]));
    size_t n;
    const uint8_t *message = resource_message(r, &n);
    json_t *json = NULL;
    int code = protojson_from_wire(message, n, type, 0, &json, NULL);

    assert(code == 0); /* it was made from that type */
    return json;
}

static json_t *inline_json(const char *text)
{
    return json_pack("{ss}", "inline_string", text);
}

static json_t *pair_json(const struct trial *t)
{
    return json_pack("{so so}", "certificate_chain", inline_json(t->options->certificate), "private_key",
                     inline_json(t->options->private_key));
}

/* ---- what refers to something else ---- */

static void search(struct trial *t, json_t *json);

/* An SDS reference to what comes from igwd's own stream; others are left as they are. */
static void take_reference(json_t *reference, json_t *names)
{
    const char *name = json_string_value(json_object_get(reference, "name"));

    if (!name || !json_object_get(json_object_get(reference, "sds_config"), "ads"))
        return;
    json_object_del(reference, "sds_config");
    json_object_set_new(names, name, json_true());
}

static void take_secrets(struct trial *t, json_t *object)
{
    json_t *reference;
    size_t i;

    json_array_foreach(json_object_get(object, "tls_certificate_sds_secret_configs"), i, reference)
    {
        take_reference(reference, t->pairs);
    }
    reference = json_object_get(object, "validation_context_sds_secret_config");
    if (reference)
        take_reference(reference, t->authorities);
}

/* Pairs and authorities that stand in place. */
static void replace_secrets(const struct trial *t, json_t *object)
{
    if (json_object_get(object, "private_key") && json_object_get(object, "certificate_chain")) {
        json_object_clear(object);
        json_object_update_new(object, pair_json(t));
    }
    if (json_object_get(object, "trusted_ca"))
        json_object_set_new(object, "trusted_ca", inline_json(t->options->certificate));
}

static void replace_files(json_t *object)
{
    static const char file_log[] = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    const char *type = json_string_value(json_object_get(object, "@type"));

    if (type && strcmp(type, file_log) == 0)
        json_object_set_new(object, "path", json_string("/dev/null"));
    if (json_object_get(object, "event_log_path"))
        json_object_set_new(object, "event_log_path", json_string("/dev/null"));
}

static void take_routes(struct trial *t, json_t *object)
{
    const char *name = json_string_value(json_object_get(json_object_get(object, "rds"), "route_config_name"));
    json_t *routes = name ? map_gets(&t->routes, name) : NULL;

    if (!routes)
        return;
    json_object_del(object, "rds");
    json_object_set(object, "route_config", routes);
}

/* A cluster that the gateway has beside those of the batch. */
static void stand_in(struct trial *t, const char *name)
{
    json_t *cluster;

    if (map_gets(&t->by_name, name) || !t->options->has_cluster(t->options->arg, name))
        return;
    cluster = json_pack("{ss ss ss}", "name", name, "type", "STATIC", "connect_timeout", "1s");
    json_array_append_new(t->clusters, cluster);
    map_puts(&t->by_name, json_string_value(json_object_get(cluster, "name")), cluster);
}

static void search_object(struct trial *t, json_t *object)
{
    const char *key;
    json_t *value;

    replace_secrets(t, object);
    replace_files(object);
    take_secrets(t, object);
    t->names_files |= json_is_string(json_object_get(object, "filename"));
    json_object_foreach(object, key, value)
    {
        if (json_is_string(value) && (!strcmp(key, "cluster") || !strcmp(key, "cluster_name")))
            stand_in(t, json_string_value(value));
        else
            search(t, value);
    }
    /* After the search: routes are many, and nothing in them is replaced. */
    take_routes(t, object);
}

/* The depth of a resource's JSON is bounded by what made it (PROTOJSON_DEPTH_MAX). */
static void search(struct trial *t, json_t *json)
{
    json_t *value;
    size_t i;

    if (json_is_object(json))
        search_object(t, json);
    json_array_foreach(json, i, value)
    {
        search(t, value);
    }
}

/* ---- the parts ---- */

static void add_resource(struct trial *t, const struct resource *r)
{
    json_t *json;

    if (r->type == XDS_SECRET)
        return;
    json = resource_json(r);
    if (r->type == XDS_ROUTE)
        json_object_set_new(json, "validate_clusters", json_false());
    if (r->type == XDS_ROUTE || r->type == XDS_ENDPOINT) {
        map_puts(r->type == XDS_ROUTE ? &t->routes : &t->assignments, r->name, json);
        return;
    }
    json_array_append_new(r->type == XDS_CLUSTER ? t->clusters : t->listeners, json);
    if (r->type == XDS_CLUSTER)
        map_puts(&t->by_name, r->name, json);
}

/* A cluster whose endpoints come over EDS has them at once. */
static void settle_cluster(const struct trial *t, json_t *cluster)
{
    const char *name = json_string_value(json_object_get(cluster, "name"));
    json_t *assignment = name ? map_gets(&t->assignments, name) : NULL;

    if (!json_object_get(cluster, "eds_cluster_config"))
        return;
    json_object_del(cluster, "eds_cluster_config");
    json_object_set_new(cluster, "type", json_string("STATIC"));
    if (assignment)
        json_object_set(cluster, "load_assignment", assignment);
}

static void add_secrets(struct trial *t)
{
    const char *name;
    json_t *value;

    json_object_foreach(t->pairs, name, value)
    {
        json_array_append_new(t->secrets, json_pack("{ss so}", "name", name, "tls_certificate", pair_json(t)));
    }
    json_object_foreach(t->authorities, name, value)
    {
        json_array_append_new(t->secrets, json_pack("{ss s{so}}", "name", name, "validation_context", "trusted_ca",
                                                    inline_json(t->options->certificate)));
    }
}

/* Around them stands what every gateway's bootstrap has: limits, and where igwd is, which nobody asks here. */
static char *bootstrap_text(const struct trial *t)
{
    const struct bootstrap_options options = {.gateway = t->options->gateway, .xds = "127.0.0.1:50051"};
    _cleanup_(mem_free_p) char *empty = NULL;
    json_t *json = NULL, *parts;
    int r = bootstrap_make(&options, &empty, NULL);

    if (r == 0)
        r = json_parse(empty, strlen(empty), &json, NULL);
    assert(r == 0); /* nothing in the options is anybody's but ours */
    json_object_del(json, "admin");
    parts = json_object_get(json, "static_resources");
    json_array_extend(json_object_get(parts, "clusters"), t->clusters);
    json_object_set(parts, "listeners", t->listeners);
    json_object_set(parts, "secrets", t->secrets);
    char *text = json_canonical(json);
    json_decref(json);
    return text;
}

static void free_values(struct map *m)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(m, &i, &e);)
        json_decref(e->value);
    map_clear(m);
}

char *trial_make(const struct xds_batch *b, const struct trial_options *o, bool *ret_names_files)
{
    struct trial t = {.options = o,
                      .clusters = json_array(),
                      .listeners = json_array(),
                      .secrets = json_array(),
                      .pairs = json_object(),
                      .authorities = json_object()};
    char *text = NULL;

    for (size_t i = 0; i < b->n_changes; i++)
        if (b->changes[i].after && strcmp(b->changes[i].gateway, o->gateway) == 0)
            add_resource(&t, b->changes[i].after);
    for (size_t i = 0; i < json_array_size(t.clusters); i++)
        settle_cluster(&t, json_array_get(t.clusters, i));
    if (json_array_size(t.clusters) || json_array_size(t.listeners)) {
        search(&t, t.clusters);
        search(&t, t.listeners);
        add_secrets(&t);
        text = bootstrap_text(&t);
    }
    *ret_names_files = t.names_files;
    free_values(&t.assignments);
    free_values(&t.routes);
    map_clear(&t.by_name);
    json_decref(t.clusters);
    json_decref(t.listeners);
    json_decref(t.secrets);
    json_decref(t.pairs);
    json_decref(t.authorities);
    return text;
}
