/*
 * Exposures that are set over the API.
 *
 * One of the agent's is never copied: what the client wants is compared with what the agent declares, member by
 * member, both decoded first, and only what really differs is kept, as an override (a merge patch over the agent's
 * own nested form). What is made equal to the agent's again is no override any more. One that the agent does not
 * declare is a document of its own.
 *
 * Invariant: decoded, the agent's form with the override is what the client asked for.
 */
#include "api/objects.h"
#include "api/write.h"
#include "base/text.h"
#include "store/overlay.h"
#include "store/pack.h"
#include "store/spec.h"

#include <errno.h>
#include <string.h>

enum { NUMBER_DIGITS_MAX = 9 };

/* What can be set. */
static const char *const members[] = {
    "enabled",
    "gateway",
    "port",
    "protocol",
    "listener_addr",
    "listener_port",
    "sni",
    "lb_policy",
    "vhosts",
    "listener_certificates",
    "cluster_certificates",
    "cluster_private_key_filename",
    "endpoints",
    "cluster_data",
    "filter_config_data",
    NULL,
};

/* An exposure by its name, and what is known of it. */
struct target_exposure {
    const char *name, *path, *rid;
    const struct service_exposure *current; /* NULL: there is none */
    const struct document *document;        /* NULL: it was not made over the API */
    json_t *agent;                          /* the agent's nested form; NULL: the agent has none */
};

static void target_clear(struct target_exposure *t)
{
    json_decref(t->agent);
}

json_t *agent_exposure(const struct view *v, const char *path, const char *rid)
{
    const struct service *s = view_service(v, path);
    struct facts facts = {0};
    _cleanup_(arena_free_p) struct arena *arena = arena_new();

    if (!s || !s->word || unpack_resources(s->word->bytes, s->word->len, arena, &facts))
        return NULL;
    return spec_nest(facts.resources, facts.n_resources, rid);
}

/* "NAME" or "NAMESPACE/KIND/NAME" of an object, and a section's number. */
static bool is_exposure(const char *path, const char *rid)
{
    const char *number = strchr(rid, '#') + 1;
    size_t slashes = 0;

    for (;; path++, slashes++) {
        size_t n = strspn(path, name_characters);
        if (!n || (path[n] && path[n] != '/'))
            return false;
        path += n;
        if (!*path)
            break;
    }
    return (slashes == 0 || slashes == 2) && *number && strlen(number) <= NUMBER_DIGITS_MAX &&
           strspn(number, "0123456789") == strlen(number);
}

/* False: the call failed. */
static bool find_target(struct call *c, const char *name, struct target_exposure *ret)
{
    *ret = (struct target_exposure){.name = name, .current = view_exposure(c->view, name)};
    ret->path = exposure_path(name, c->arena, &ret->rid);
    if (strlen(name) > OBJECT_NAME_MAX || !ret->path || (!ret->current && !is_exposure(ret->path, ret->rid))) {
        call_fail(c, 404, "an exposure is named PATH.expose#N, as \"test/svc/web.expose#0\"");
        return false;
    }
    ret->document = view_document(c->view, DOCUMENT_EXPOSURE, name);
    ret->agent = agent_exposure(c->view, ret->path, ret->rid);
    return true;
}

/* ---- normalizing ---- */

/* The expose section says that it was made over the API (store/overlay.h does the same with what is kept). */
static void mark_as_made(struct fact_resource *resources, size_t n, const char *rid, struct arena *arena)
{
    for (size_t i = 0; i < n; i++) {
        json_t *info = NULL;
        if (strcmp(resources[i].rid, rid) != 0 ||
            json_parse(resources[i].info, strlen(resources[i].info), &info, NULL))
            continue;
        json_object_set_new(info, "origin", json_string("api"));
        _cleanup_(mem_free_p) char *text = json_canonical(info);
        resources[i].info = arena_strdup(arena, text);
        json_decref(info);
    }
}

/* NULL: it can't be decoded. own: it is none of the agent's. ret_declaration may be NULL. */
static json_t *normalized(const struct target_exposure *t, const json_t *nested, bool own, struct arena *arena,
                          struct declaration **ret_declaration)
{
    struct fact_resource *resources;
    size_t n;

    if (spec_flatten(nested, t->rid, arena, &resources, &n, NULL))
        return NULL;
    if (own)
        mark_as_made(resources, n, t->rid, arena);
    struct declaration *d = declaration_new(t->path, resources, n, NULL, NULL);
    const struct exposure *x = declaration_find(d, t->rid);
    json_t *json = x ? exposure_json(x, true, arena) : NULL;
    if (ret_declaration)
        *ret_declaration = d;
    else
        declaration_unref(d);
    return json;
}

/* ---- overrides ---- */

/* Null is nothing. */
static bool is_same(const json_t *a, const json_t *b)
{
    a = json_is_null(a) ? NULL : a;
    b = json_is_null(b) ? NULL : b;
    return a == b || (a && b && json_equal(a, b));
}

/* From one object to another as a merge patch. NOLINTNEXTLINE(misc-no-recursion): json_parse() bounds the depth */
static json_t *merge_difference(const json_t *from, const json_t *to)
{
    const char *name;
    json_t *value, *patch;

    if (!json_is_object(from) || !json_is_object(to))
        return json_deep_copy(to);
    patch = json_object();
    json_object_foreach((json_t *)(uintptr_t)from, name, value)
    {
        if (!json_object_get(to, name))
            json_object_set_new(patch, name, json_null());
    }
    json_object_foreach((json_t *)(uintptr_t)to, name, value)
    {
        const json_t *before = json_object_get(from, name);
        if (!is_same(before, value))
            json_object_set_new(patch, name, before ? merge_difference(before, value) : json_deep_copy(value));
    }
    return patch;
}

static void set_member(json_t *patch, const char *name, const json_t *agent, const json_t *wanted)
{
    if (wanted && !json_is_null(wanted))
        json_object_set_new(patch, name, agent ? merge_difference(agent, wanted) : json_deep_copy(wanted));
    else if (agent)
        json_object_set_new(patch, name, json_null());
}

/* wanted: what the client asked for, shown: the same, normalized. A new reference; an empty one: nothing differs. */
static json_t *make_override(const struct target_exposure *t, const json_t *wanted, const json_t *shown,
                             struct arena *arena)
{
    json_t *patch = json_object(), *before = normalized(t, t->agent, false, arena, NULL);

    for (const char *const *m = members; *m; m++)
        if (!is_same(json_object_get(before, *m), json_object_get(shown, *m)))
            set_member(patch, *m, json_object_get(t->agent, *m), json_object_get(wanted, *m));
    /* A member that has its value from another (listener_port from port) has to be said where the other is set. */
    json_t *merged = json_merge_patch(t->agent, patch), *after = normalized(t, merged, false, arena, NULL);
    for (const char *const *m = members; *m; m++)
        if (!is_same(json_object_get(after, *m), json_object_get(shown, *m)) && json_object_get(wanted, *m))
            json_object_set(patch, *m, json_object_get(wanted, *m));
    json_decref(after);
    json_decref(merged);
    json_decref(before);
    return patch;
}

/* ---- checking ---- */

/* "#/vhosts/0/domains" of the member "vhosts"? */
static bool is_within(const char *pointer, const char *member)
{
    size_t n = strlen(member);

    return strncmp(pointer, "#/", 2) == 0 && strncmp(pointer + 2, member, n) == 0 &&
           (pointer[2 + n] == '\0' || pointer[2 + n] == '/');
}

/* Whether a fault stands in what the request leaves as it was: that is not the request's fault. */
static bool is_untouched(const char *pointer, const json_t *before, const json_t *after)
{
    for (const char *const *m = members; before && *m; m++)
        if (is_within(pointer, *m))
            return is_same(json_object_get(before, *m), json_object_get(after, *m));
    return false;
}

/* What a form is held against, and what it was before. */
struct change {
    struct write_place at;
    const json_t *before, *wanted;
};

/* A spec_fault. */
static void tell_change(void *arg, const char *pointer, const char *code, const char *text)
{
    struct change *change = arg;

    if (!is_untouched(pointer, change->before, change->wanted))
        write_placed_fault(&change->at, pointer, code, text);
}

static void tell_problems(struct call *c, const struct exposure *x, const json_t *before, const json_t *wanted,
                          const char *place)
{
    for (size_t i = 0; i < x->n_problems; i++) {
        const struct problem *p = &x->problems[i];
        const char *pointer = exposure_pointer(x, p->field ? p->field : "", c->arena);
        if (!problem_is_fatal(p))
            continue;
        pointer = pointer ? pointer : "#";
        if (!is_untouched(pointer, before, wanted))
            fault_add(&c->faults, FAULT_POINTER, arena_printf(c->arena, "%s%s", place, pointer + 1),
                      arena_strdup(c->arena, p->code), "%s", p->text);
    }
}

/* Null says nothing but in a merge patch, which is applied by now. Passed-through JSON is Envoy's business.
 * NOLINTNEXTLINE(misc-no-recursion): json_parse() bounds the depth */
static void tell_nulls(struct write_place *at, const json_t *value, const char *pointer)
{
    const char *name;
    json_t *item;
    size_t i;

    if (json_is_null(value))
        write_placed_fault(at, pointer, "invalid", "null is no value of this member");
    json_object_foreach((json_t *)(uintptr_t)value, name, item)
        tell_nulls(at, item, fault_pointer(at->c->arena, pointer, name));
    json_array_foreach(value, i, item) tell_nulls(at, item, arena_printf(at->c->arena, "%s/%zu", pointer, i));
}

static void tell_empty_members(struct write_place *at, const json_t *wanted)
{
    static const char *const others[] = {"gateway", "listener_addr", "cluster_data", "filter_config_data", NULL};

    for (const char *const *m = members; *m; m++) {
        const json_t *value = json_object_get(wanted, *m);
        if (value && (!text_is_listed(others, *m) || (json_is_null(value) && strstr(*m, "_data"))))
            tell_nulls(at, value, arena_printf(at->c->arena, "#/%s", *m));
    }
}

/* The edits that make the exposure what is wanted, as an override or as a document of its own. before: what the
 * client saw of it, secrets included; NULL: nothing. */
static void plan_wanted(struct call *c, struct write *w, const struct target_exposure *t, const json_t *before,
                        const json_t *wanted, bool overrides, const char *place)
{
    struct write_place at = {c, place};
    struct change change = {at, before, wanted};
    struct declaration *d = NULL;

    tell_empty_members(&at, wanted);
    (void)spec_check(wanted, !overrides, tell_change, &change); /* faults of the change alone count */
    if (c->faults.n)
        return;
    json_t *spec = write_picked(wanted, members);                               /* without what is only shown */
    (void)spec_unredact(spec, before, write_redacted, write_placed_fault, &at); /* what is not known is a fault */
    json_t *shown = c->faults.n ? NULL : normalized(t, spec, !overrides, c->arena, &d);
    if (shown)
        tell_problems(c, declaration_find(d, t->rid), before, spec, place);
    else if (!c->faults.n)
        write_placed_fault(&at, "#", "invalid", "this is no exposure");
    if (c->faults.n) {
        /* they are told by the caller */
    } else if (!overrides) {
        write_edit(w, DOCUMENT_EXPOSURE, t->name, spec, place);
    } else {
        json_t *patch = make_override(t, spec, shown, c->arena);
        bool any = json_object_size(patch) > 0;
        if (any || view_document(c->view, DOCUMENT_OVERRIDE, t->name))
            write_edit(w, DOCUMENT_OVERRIDE, t->name, any ? patch : NULL, place);
        json_decref(patch);
    }
    declaration_unref(d);
    json_decref(shown);
    json_decref(spec);
}

static void put_exposure(struct call *c, struct write *w, const char *name, const json_t *wanted, const char *place)
{
    struct target_exposure t;

    if (!find_target(c, name, &t))
        return;
    json_t *before = t.current ? exposure_json(t.current->declared, true, c->arena) : NULL;
    plan_wanted(c, w, &t, before, wanted, t.agent && !t.document, place);
    json_decref(before);
    target_clear(&t);
}

void exposure_put_document(struct call *c, struct write *w, const char *name, const json_t *wanted, const char *place)
{
    struct target_exposure t;

    if (!find_target(c, name, &t))
        return;
    json_t *before = document_json(t.document);
    plan_wanted(c, w, &t, before, wanted, false, place);
    json_decref(before);
    target_clear(&t);
}

static void delete_exposure(struct call *c, struct write *w, const char *name, const char *place)
{
    struct target_exposure t;

    if (!find_target(c, name, &t))
        return;
    if (t.document)
        write_edit(w, DOCUMENT_EXPOSURE, name, NULL, place);
    else if (t.agent)
        call_fail(c, 409, "the agent declares %s; set \"enabled\" to false to take it off its listener", name);
    else
        call_no_such(c, "Exposure", name);
    target_clear(&t);
}

/* As it is shown, so that a patch finds what its author saw. */
static json_t *current_exposure(struct call *c, const char *name)
{
    const struct service_exposure *sx = view_exposure(c->view, name);

    return sx ? exposure_json(sx->declared, true, c->arena) : NULL;
}

const struct write_resource exposure_resource = {
    .kind = "Exposure",
    .collection = &exposure_collection,
    .current = current_exposure,
    .put = put_exposure,
    .remove = delete_exposure,
};
