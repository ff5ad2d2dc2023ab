/*
 * PUT, PATCH and DELETE of single objects, the same for all resources; and change sets, which are several of them as
 * one: all or nothing.
 */
#include "api/objects.h"
#include "api/write.h"
#include "base/map.h"

#include <assert.h>
#include <string.h>

static void show(struct call *c, struct write *w, const struct write_resource *r)
{
    w->shown = r->collection;
    w->key = arena_strdup(w->arena, c->arguments[0]);
}

static void plan_put(struct call *c, struct write *w, const void *arg)
{
    const struct write_resource *r = arg;
    bool exists;

    show(c, w, r);
    if (!write_precondition_of(c, r->collection, c->arguments[0], &exists))
        return;
    json_t *wanted = write_content(c, r->may_be_absent);
    if (!wanted)
        return;
    r->put(c, w, c->arguments[0], wanted, "#");
    w->created = !exists;
    json_decref(wanted);
    (void)write_is_good(c); /* the call failed else */
}

static void plan_patch(struct call *c, struct write *w, const void *arg)
{
    const struct write_resource *r = arg;
    bool exists;
    json_t *patch = NULL, *wanted = NULL;

    show(c, w, r);
    if (!write_precondition_of(c, r->collection, c->arguments[0], &exists))
        return;
    json_t *current = exists ? r->current(c, c->arguments[0]) : NULL;
    if (!current)
        call_not_found(c, r->kind);
    else
        patch = write_content(c, false);
    if (patch)
        wanted = write_patched(
            c, current, patch,
            content_type_is(http_request_header(c->request, "Content-Type"), "application/json-patch+json"));
    if (wanted) {
        r->put(c, w, c->arguments[0], wanted, "#");
        (void)write_is_good(c); /* the call failed else */
    }
    json_decref(wanted);
    json_decref(patch);
    json_decref(current);
}

static void plan_delete(struct call *c, struct write *w, const void *arg)
{
    const struct write_resource *r = arg;

    if (!write_precondition_of(c, r->collection, c->arguments[0], NULL))
        return;
    r->remove(c, w, c->arguments[0], "#");
    (void)write_is_good(c); /* the call failed else */
}

#define HANDLER(method, name)                                                                                        \
    void handle_##method##_##name(struct call *c)                                                                    \
    {                                                                                                                \
        write_run(c, plan_##method, &name##_resource);                                                               \
    }
HANDLER(put, exposure)
HANDLER(patch, exposure)
HANDLER(delete, exposure)
HANDLER(put, gateway)
HANDLER(patch, gateway)
HANDLER(delete, gateway)
HANDLER(put, certificate)
HANDLER(delete, certificate)
HANDLER(put, grant)
HANDLER(delete, grant)

/* ---- change sets ---- */

struct operation {
    const struct write_resource *resource;
    const char *method, *name;
    const json_t *body;
};

static const struct write_resource *const resources[] = {&exposure_resource, &gateway_resource, &certificate_resource,
                                                         &grant_resource};
static const char *const methods[] = {"PUT", "PATCH", "DELETE"};

static const char *text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static const struct write_resource *find_resource(const char *kind)
{
    for (size_t i = 0; kind && i < ARRAY_LEN(resources); i++)
        if (strcmp(resources[i]->kind, kind) == 0)
            return resources[i];
    return NULL;
}

static const char *find_method(const char *method)
{
    for (size_t i = 0; method && i < ARRAY_LEN(methods); i++)
        if (strcmp(methods[i], method) == 0)
            return methods[i];
    return NULL;
}

static void check_operation(struct call *c, const struct operation *o, const char *place)
{
    if (!o->resource)
        write_fault(c, arena_printf(c->arena, "%s/kind", place), "invalid",
                    "Exposure, Gateway, Certificate or Grant is expected");
    if (!o->method || (o->resource && o->method == methods[1] && !o->resource->current))
        write_fault(c, arena_printf(c->arena, "%s/method", place), "invalid",
                    "PUT, DELETE, or PATCH (of exposures and gateways) is expected");
    if (!o->name || !*o->name || strlen(o->name) > OBJECT_NAME_MAX)
        write_fault(c, arena_printf(c->arena, "%s/name", place), "invalid", "the object's name is expected");
    if (o->method && o->method != methods[2] && !json_is_object(o->body))
        write_fault(c, arena_printf(c->arena, "%s/body", place), "invalid", "an object is expected");
    if (o->method == methods[2] && o->body && !json_is_null(o->body))
        write_fault(c, arena_printf(c->arena, "%s/body", place), "invalid", "DELETE takes none");
}

/* False: faults were told. */
static bool read_operation(struct call *c, const json_t *json, const char *place, struct operation *ret)
{
    static const char *const members[] = {"method", "kind", "name", "body", NULL};
    static const char *const nullable[] = {"body", NULL};
    size_t before = c->faults.n;

    if (!write_members(c, json, members, nullable, NULL, place))
        return false;
    *ret = (struct operation){.resource = find_resource(text_of(json, "kind")),
                              .method = find_method(text_of(json, "method")),
                              .name = text_of(json, "name"),
                              .body = json_object_get(json, "body")};
    check_operation(c, ret, place);
    return c->faults.n == before;
}

static void run_operation(struct call *c, struct write *w, const struct operation *o, const char *place)
{
    const char *body = arena_printf(c->arena, "%s/body", place);
    size_t edits = w->n;

    if (o->method == methods[2]) {
        o->resource->remove(c, w, o->name, place);
    } else if (o->method == methods[0]) {
        o->resource->put(c, w, o->name, o->body, body);
    } else {
        json_t *current = o->resource->current(c, o->name), *wanted = NULL;
        if (current)
            wanted = write_patched(c, current, o->body, false);
        else
            call_no_such(c, o->resource->kind, o->name);
        if (wanted)
            o->resource->put(c, w, o->name, wanted, body);
        json_decref(wanted);
        json_decref(current);
    }
    if (w->n > EDITS_MAX && edits <= EDITS_MAX)
        write_fault(c, place, "invalid", "a change set has at most 1000 operations");
}

static void run_operations(struct call *c, struct write *w, const json_t *operations)
{
    struct map seen = {0};
    size_t i;
    json_t *json;

    if (!json_is_array(operations) || !json_array_size(operations) || json_array_size(operations) > EDITS_MAX) {
        write_fault(c, "#/operations", "invalid", "an array of 1 to 1000 operations is expected");
        return;
    }
    json_array_foreach(operations, i, json)
    {
        const char *place = arena_printf(c->arena, "#/operations/%zu", i);
        struct operation o;
        if (c->answer->status || !read_operation(c, json, place, &o))
            continue;
        assert(o.resource); /* else it was a fault */
        const char *key = arena_printf(c->arena, "%s/%s", o.resource->kind, o.name);
        if (map_puts(&seen, key, c))
            write_fault(c, place, "duplicate", "this object is changed twice");
        else
            run_operation(c, w, &o, place);
    }
    map_clear(&seen);
}

static void plan_changeset(struct call *c, struct write *w, const void *arg)
{
    static const char *const members[] = {"operations", NULL};
    json_t *json = write_content(c, false);

    (void)arg; /* there is one kind */
    if (!json)
        return;
    if (write_members(c, json, members, NULL, NULL, "#"))
        run_operations(c, w, json_object_get(json, "operations"));
    json_decref(json);
    (void)write_is_good(c); /* the call failed else */
}

void handle_post_changeset(struct call *c)
{
    write_run(c, plan_changeset, NULL);
}
