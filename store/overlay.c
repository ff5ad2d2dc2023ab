/* Documents of a service's exposures are found by their keys, which begin with the service's path. */
#include "store/overlay.h"

#include "base/json.h"
#include "store/pack.h"
#include "store/spec.h"
#include "store/view.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *exposure_path(const char *name, struct arena *arena, const char **ret_rid)
{
    const char *dot = strrchr(name, '.');

    if (!dot || dot == name || strncmp(dot + 1, "expose#", 7) != 0 || !dot[8])
        return NULL;
    *ret_rid = dot + 1;
    return arena_strndup(arena, name, (size_t)(dot - name));
}

/* The next document of the kind behind `after` that is of one of the service's exposures; ret_rid: of which. */
static struct document *next_document(const struct pmap *documents, enum document_kind kind, const char *path,
                                      const char *after, const char **ret_rid)
{
    size_t n = strlen(path);
    struct document *d = pmap_after(documents, &view_documents, after);

    for (; d && d->kind == kind && strncmp(d->name, path, n) == 0 && d->name[n] == '.';
         d = pmap_after(documents, &view_documents, d->key)) {
        /* Paths may have dots themselves; section names have none. */
        if (!strchr(d->name + n + 1, '.')) {
            *ret_rid = d->name + n + 1;
            return d;
        }
    }
    return NULL;
}

static char *first_key(enum document_kind kind, const char *path)
{
    return mem_printf("%s/%s.", document_kind_name(kind), path);
}

static bool has_kind(const struct pmap *documents, enum document_kind kind, const char *path)
{
    _cleanup_(mem_free_p) char *after = first_key(kind, path);
    const char *rid;

    return next_document(documents, kind, path, after, &rid) != NULL;
}

bool overlay_has_made(const char *path, const struct pmap *documents)
{
    return documents && has_kind(documents, DOCUMENT_EXPOSURE, path);
}

bool overlay_concerns(const char *path, const struct pmap *documents)
{
    return documents &&
           (has_kind(documents, DOCUMENT_EXPOSURE, path) || has_kind(documents, DOCUMENT_OVERRIDE, path));
}

bool grant_stands(const struct pmap *documents, const char *ns, const char *kind, const char *name)
{
    _cleanup_(mem_free_p) char *grant = mem_printf("%s|%s|%s", ns, kind, name);

    return documents_find(documents, DOCUMENT_GRANT, grant);
}

/* ---- laying over ---- */

struct laying {
    const struct pmap *documents;
    const struct fact_resource *agent;
    size_t n_agent;
    struct arena *arena;
    struct overlay *overlay;
    size_t cap;
};

static void append(struct laying *l, const struct fact_resource *items, size_t n)
{
    struct overlay *o = l->overlay;

    if (o->n + n > l->cap) {
        struct fact_resource *more = arena_array(l->arena, struct fact_resource, 2 * (o->n + n));

        if (o->n)
            memcpy(more, o->resources, o->n * sizeof(*more));
        o->resources = more;
        l->cap = 2 * (o->n + n);
    }
    if (n)
        memcpy(o->resources + o->n, items, n * sizeof(*items));
    o->n += n;
}

/* A section that says why there is no other. */
static void append_unfit(struct laying *l, const char *rid, const struct err *e)
{
    _cleanup_(mem_free_p) char *why = mem_printf("%s%s%s", e->field, e->field[0] ? ": " : "", e->text);
    json_t *info = json_pack("{s:i, s:s}", "port", 1, "unfit", why);
    _cleanup_(mem_free_p) char *text = json_canonical(info);
    const struct fact_resource one = {.rid = arena_strdup(l->arena, rid),
                                      .type = "expose.envoy",
                                      .info = arena_strdup(l->arena, text),
                                      .scope = arena_strdup(l->arena, rid)};

    json_decref(info);
    append(l, &one, 1);
}

static void lay(struct laying *l, const char *rid, json_t *nested)
{
    struct fact_resource *items;
    size_t n;
    struct err e = {0};

    if (spec_flatten(nested, rid, l->arena, &items, &n, &e) < 0)
        append_unfit(l, rid, &e);
    else
        append(l, items, n);
    l->overlay->edited = true;
}

/* The expose section says whose it is. */
static void mark_as_made(struct laying *l, const char *rid, size_t from)
{
    for (size_t i = from; i < l->overlay->n; i++) {
        struct fact_resource *r = &l->overlay->resources[i];
        json_t *info = NULL;

        if (strcmp(r->rid, rid) != 0 || json_parse(r->info, strlen(r->info), &info, NULL) < 0)
            continue;
        if (json_is_object(info)) {
            json_object_set_new(info, "origin", json_string("api"));
            _cleanup_(mem_free_p) char *text = json_canonical(info);
            r->info = arena_strdup(l->arena, text);
        }
        json_decref(info);
    }
}

static void lay_exposure(struct laying *l, const struct document *d, const char *rid)
{
    json_t *body = NULL;
    size_t from = l->overlay->n;

    if (json_parse(d->body, d->body_len, &body, NULL) < 0)
        return;
    lay(l, rid, body);
    mark_as_made(l, rid, from);
    json_decref(body);
}

/* An exposure that was made over the API hides the agent's of its name, and the override with it. */
static bool is_hidden(const struct laying *l, const struct document *override)
{
    _cleanup_(mem_free_p) char *key = mem_printf("%s/%s", document_kind_name(DOCUMENT_EXPOSURE), override->name);

    return pmap_get(l->documents, &view_documents, key) != NULL;
}

static void lay_override(struct laying *l, const struct document *d, const char *rid)
{
    json_t *patch = NULL, *nested, *merged;

    if (is_hidden(l, d) || json_parse(d->body, d->body_len, &patch, NULL) < 0)
        return;
    nested = spec_nest_bare(l->agent, l->n_agent, rid);
    if (nested) {
        merged = json_merge_patch(nested, patch);
        lay(l, rid, merged);
        json_decref(merged);
        json_decref(nested);
    }
    json_decref(patch);
}

static void lay_kind(struct laying *l, enum document_kind kind, const char *path, const struct pmap *documents,
                     void (*one)(struct laying *l, const struct document *d, const char *rid))
{
    _cleanup_(mem_free_p) char *after = first_key(kind, path);
    const char *rid, *key = after;

    for (struct document *d; (d = next_document(documents, kind, path, key, &rid)); key = d->key)
        one(l, d, rid);
}

void overlay_make(const char *path, const struct fact_resource *agent, size_t n_agent, const struct pmap *documents,
                  struct arena *arena, struct overlay *ret)
{
    struct laying l = {.documents = documents, .agent = agent, .n_agent = n_agent, .arena = arena, .overlay = ret};

    *ret = (struct overlay){0};
    append(&l, agent, n_agent);
    if (!documents)
        return;
    lay_kind(&l, DOCUMENT_EXPOSURE, path, documents, lay_exposure);
    lay_kind(&l, DOCUMENT_OVERRIDE, path, documents, lay_override);
}

void overlay_of_word(const char *path, const struct agent_word *word, const struct pmap *documents,
                     struct arena *arena, struct overlay *ret)
{
    struct facts f = {0};
    int unpacked = word ? unpack_resources(word->bytes, word->len, arena, &f) : 0;

    /* The store's own bytes: packed in this process, or read with a good digest. */
    assert(unpacked == 0);
    overlay_make(path, f.resources, f.n_resources, documents, arena, ret);
}
