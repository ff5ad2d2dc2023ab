/*
 * What people made, listed: grants, tokens, overrides field by field, and the revisions that came of it.
 *
 * Documents are listed in the order of their names, overrides in that of their exposures, then of the fields.
 */
#include "api/objects.h"
#include "api/write.h"
#include "store/overlay.h"

#include <stdlib.h>
#include <string.h>

enum { MS = 1000, REVISION_DIGITS_MAX = 18 };

static void write_origin(struct writer *w, const char *author, uint64_t revision, int64_t created, int64_t updated)
{
    writer_text(w, "author", author);
    writer_int(w, "revision", (int64_t)revision);
    writer_time(w, "created_at", (double)created / MS);
    writer_time(w, "updated_at", (double)updated / MS);
}

static void write_times(struct writer *w, const struct document *d)
{
    write_origin(w, d->author, d->revision, d->created, d->updated);
}

#define DOCUMENT_COLLECTION(prefix, document_kind)                                                                   \
    static const void *prefix##_first(struct call *c, const char *after)                                             \
    {                                                                                                                \
        return view_document_after(c->view, document_kind, after);                                                   \
    }                                                                                                                \
    static const void *prefix##_next(struct call *c, const void *item)                                               \
    {                                                                                                                \
        return view_document_after(c->view, document_kind, ((const struct document *)item)->name);                   \
    }                                                                                                                \
    static const void *prefix##_find(struct call *c, const char *key)                                                \
    {                                                                                                                \
        return view_document(c->view, document_kind, key);                                                           \
    }
DOCUMENT_COLLECTION(grant, DOCUMENT_GRANT)
DOCUMENT_COLLECTION(token, DOCUMENT_TOKEN)

ITEM_KEY(document_key, document, name)
ITEM_VALUE(get_author, document, text, one->author)
ITEM_VALUE(get_updated, document, number, one->updated)

json_t *document_json(const struct document *d)
{
    json_t *json = NULL;

    return !d || json_parse(d->body, d->body_len, &json, NULL) ? NULL : json;
}

const char *change_word(const void *before, const void *after)
{
    return !before ? "created" : !after ? "removed" : "changed";
}

/* ---- grants ---- */

/* One part of NAMESPACE|TYPE|TARGET, in the arena. */
static const char *grant_part(const char *name, int part, struct arena *arena)
{
    for (; part > 0; part--)
        name += strcspn(name, "|") + (name[strcspn(name, "|")] ? 1 : 0);
    return arena_strndup(arena, name, strcspn(name, "|"));
}

static void write_grant(struct call *c, const void *item, struct writer *w)
{
    const struct document *d = item;
    json_t *body = document_json(d);

    writer_text(w, "id", d->name);
    writer_text(w, "namespace", grant_part(d->name, 0, c->arena));
    writer_text(w, "type", grant_part(d->name, 1, c->arena));
    writer_text(w, "target", grant_part(d->name, 2, c->arena));
    writer_text(w, "reason", json_string_value(json_object_get(body, "reason")));
    write_times(w, d);
    json_decref(body);
}

#define GRANT_PART(function, part)                                                                                   \
    static void function(struct call *c, const void *item, struct values *v)                                         \
    {                                                                                                                \
        values_text(v, grant_part(((const struct document *)item)->name, part, c->arena));                           \
    }
GRANT_PART(get_grant_namespace, 0)
GRANT_PART(get_grant_type, 1)
GRANT_PART(get_grant_target, 2)

static const char *const grant_types[] = {"secret", "domain", NULL};
static const struct attribute grant_attributes[] = {
    {"namespace", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_grant_namespace},
    {"type", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_grant_type, grant_types},
    {"target", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_grant_target},
    {"author", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_author},
    {"updated_at", PARAMETER_INT, ATTRIBUTE_SORT, get_updated},
    {NULL},
};
static const char *const grant_fields[] = {"kind",   "id",       "namespace",  "type",       "target", "reason",
                                           "author", "revision", "created_at", "updated_at", NULL};

const struct collection grant_collection = {
    .kind = "Grant",
    .first = grant_first,
    .next = grant_next,
    .find = grant_find,
    .key = document_key,
    .write = write_grant,
    .attributes = grant_attributes,
    .fields = grant_fields,
};

/* ---- tokens ---- */

static void write_token(struct call *c, const void *item, struct writer *w)
{
    const struct document *d = item;
    json_t *body = document_json(d), *gateway;
    size_t i;

    (void)c; /* the item has all */
    writer_text(w, "id", d->name);
    writer_text(w, "name", json_string_value(json_object_get(body, "name")));
    writer_text(w, "role", json_string_value(json_object_get(body, "role")));
    writer_open(w, "gateways", '[');
    json_array_foreach(json_object_get(body, "gateways"), i, gateway)
        writer_text(w, NULL, json_string_value(gateway));
    writer_close(w, ']');
    writer_text(w, "expires_at", json_string_value(json_object_get(body, "expires_at")));
    write_times(w, d);
    json_decref(body);
}

static void write_token_status(struct call *c, const void *item, struct writer *w)
{
    static const char *const words[] = {
        [EXPIRY_FAR] = "valid", [EXPIRY_SOON] = "expires_soon", [EXPIRY_OVER] = "expired"};
    struct expiry e;

    writer_text(w, "state", words[expiry_of_token(item, &e) ? expiry_state(&e, c->now) : EXPIRY_FAR]);
}

static const struct attribute token_attributes[] = {
    {"author", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_author},
    {"updated_at", PARAMETER_INT, ATTRIBUTE_SORT, get_updated},
    {NULL},
};
static const char *const token_fields[] = {"kind",       "id",         "name",         "role",
                                           "gateways",   "expires_at", "author",       "revision",
                                           "created_at", "updated_at", "status.state", NULL};

const struct collection token_collection = {
    .kind = "Token",
    .first = token_first,
    .next = token_next,
    .find = token_find,
    .key = document_key,
    .write = write_token,
    .write_status = write_token_status,
    .attributes = token_attributes,
    .fields = token_fields,
};

/* ---- overrides ---- */

/* One member that the API set over the agent's word. Values are JSON. */
struct override_item {
    const struct document *document;
    const char *key; /* EXPOSURE|FIELD */
    const char *field, *value, *agent_value;
    struct document_member set; /* who did, and when */
    bool in_effect;
    struct override_item *next; /* of the same exposure */
};

static const char *shown_value(struct call *c, const char *field, const json_t *value)
{
    json_t *nested = json_object();

    json_object_set_new(nested, field, value ? json_deep_copy(value) : json_null());
    exposure_redact(nested);
    _cleanup_(mem_free_p) char *text =
        json_dumps(json_object_get(nested, field), JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    json_decref(nested);
    return arena_strdup(c->arena, text);
}

/* Those of one exposure, sorted, in the arena. */
static const struct override_item *items_of(struct call *c, const struct document *d)
{
    json_t *patch = document_json(d), *agent = NULL, *value;
    const char *path, *rid, *field;
    struct override_item *first = NULL, **end = &first;

    path = exposure_path(d->name, c->arena, &rid);
    if (path)
        agent = agent_exposure(c->view, path, rid);
    json_object_foreach(patch, field, value) /* canonical: sorted */
    {
        struct override_item *item = arena_new_of(c->arena, struct override_item);
        *item = (struct override_item){
            .document = d,
            .key = arena_printf(c->arena, "%s|%s", d->name, field),
            .field = arena_strdup(c->arena, field),
            .set = document_member(d, field),
            .value = shown_value(c, field, value),
            .agent_value = shown_value(c, field, json_object_get(agent, field)),
            .in_effect = agent != NULL && !view_document(c->view, DOCUMENT_EXPOSURE, d->name),
        };
        *end = item;
        end = &item->next;
    }
    json_decref(agent);
    json_decref(patch);
    return first;
}

static const void *from_document(struct call *c, const struct document *d)
{
    const char *only = c->prepared;

    for (; d && (!only || strcmp(d->name, only) == 0); d = view_document_after(c->view, DOCUMENT_OVERRIDE, d->name)) {
        const struct override_item *first = items_of(c, d);
        if (first)
            return first;
    }
    return NULL;
}

static size_t exposure_length(const char *key)
{
    const char *bar = strrchr(key, '|');

    return bar ? (size_t)(bar - key) : strlen(key);
}

static int override_key_compare(const char *a, const char *b)
{
    size_t n = exposure_length(a), m = exposure_length(b), least = n < m ? n : m;
    int r = memcmp(a, b, least);

    return r ? r : n != m ? (n < m ? -1 : 1) : strcmp(a + n, b + m);
}

static const void *override_first(struct call *c, const char *after)
{
    const char *only = c->prepared, *name = only ? only : arena_strndup(c->arena, after, exposure_length(after));
    const struct document *d = view_document(c->view, DOCUMENT_OVERRIDE, name);

    if (d)
        for (const struct override_item *i = items_of(c, d); i; i = i->next)
            if (!*after || override_key_compare(i->key, after) > 0)
                return i;
    return only ? NULL : from_document(c, view_document_after(c->view, DOCUMENT_OVERRIDE, name));
}

static const void *override_next(struct call *c, const void *item)
{
    const struct override_item *i = item;

    if (i->next)
        return i->next;
    return c->prepared ? NULL : from_document(c, view_document_after(c->view, DOCUMENT_OVERRIDE, i->document->name));
}

ITEM_KEY(override_key, override_item, key)

static void write_override(struct call *c, const void *item, struct writer *w)
{
    const struct override_item *i = item;

    (void)c; /* the item has all */
    writer_text(w, "exposure", i->document->name);
    writer_text(w, "field", i->field);
    writer_raw(w, "agent_value", i->agent_value, strlen(i->agent_value));
    writer_raw(w, "value", i->value, strlen(i->value));
    writer_bool(w, "in_effect", i->in_effect);
    write_origin(w, i->set.author, i->set.revision, i->set.created, i->set.updated);
}

/* All of them, or those of the exposure that the path names. */
static void prepare_overrides(struct call *c)
{
    const char *only = c->arguments[0];

    if (only && !view_exposure(c->view, only) && !view_document(c->view, DOCUMENT_OVERRIDE, only))
        call_not_found(c, "Exposure");
    else
        c->prepared = (void *)(uintptr_t)only; /* read only, all the way */
}

ITEM_VALUE(get_override_exposure, override_item, text, one->document->name)
ITEM_VALUE(get_override_field, override_item, text, one->field)
ITEM_VALUE(get_override_author, override_item, text, one->set.author)
ITEM_VALUE(get_in_effect, override_item, number, one->in_effect)

static const struct attribute override_attributes[] = {
    {"exposure", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_override_exposure},
    {"field", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_override_field},
    {"author", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_override_author},
    {"in_effect", PARAMETER_BOOL, ATTRIBUTE_FILTER, get_in_effect},
    {NULL},
};
static const char *const override_fields[] = {"kind",   "exposure", "field",      "agent_value", "value", "in_effect",
                                              "author", "revision", "created_at", "updated_at",  NULL};

const struct collection override_collection = {
    .kind = "Override",
    .prepare = prepare_overrides,
    .first = override_first,
    .next = override_next,
    .key = override_key,
    .compare_keys = override_key_compare,
    .write = write_override,
    .attributes = override_attributes,
    .fields = override_fields,
};

/* ---- revisions ---- */

static const void *revision_after(struct call *c, const char *key)
{
    return pmap_after(c->view->revisions, &view_revisions, key);
}

static const void *revision_next(struct call *c, const void *item)
{
    return revision_after(c, ((const struct revision *)item)->key);
}

bool revision_parse(const char *text, uint64_t *ret)
{
    size_t n = strlen(text);

    if (!n || n > REVISION_DIGITS_MAX || strspn(text, "0123456789") != n || (text[0] == '0' && n > 1))
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

static const void *revision_find(struct call *c, const char *key)
{
    uint64_t number;

    return revision_parse(key, &number) ? view_revision(c->view, number) : NULL;
}

ITEM_KEY(revision_key_of, revision, key)

static const struct revision *with_author(struct call *c, const struct revision *r)
{
    while (r && !r->author)
        r = revision_after(c, r->key);
    return r;
}

static const void *audit_first(struct call *c, const char *after)
{
    return with_author(c, revision_after(c, after));
}

static const void *audit_next(struct call *c, const void *item)
{
    return with_author(c, revision_after(c, ((const struct revision *)item)->key));
}

static void write_revision(struct call *c, const void *item, struct writer *w)
{
    const struct revision *r = item;

    (void)c; /* the item has all */
    writer_int(w, "number", (int64_t)r->number);
    writer_time(w, "time", (double)r->time / MS);
    writer_text(w, "cause", r->cause);
    writer_text(w, "author", r->author);
    writer_text(w, "request_id", r->request_id);
    writer_texts(w, "names", r->names, r->n_names);
    writer_int(w, "n_changed", (int64_t)r->n_changed);
    writer_open(w, "documents", '[');
    for (size_t i = 0; i < r->n_documents; i++) {
        const struct document_change *change = &r->documents[i];
        writer_open(w, NULL, '{');
        writer_text(w, "kind", document_kind_name(change->kind));
        writer_text(w, "name", change->name);
        writer_text(w, "change", change_word(change->before, change->after));
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

ITEM_VALUE(get_number, revision, number, (int64_t)one->number)
ITEM_VALUE(get_revision_author, revision, text, one->author)
ITEM_VALUE(get_cause, revision, text, one->cause)

static void get_changed_names(struct call *c, const void *item, struct values *v)
{
    const struct revision *r = item;

    for (size_t i = 0; i < r->n_names; i++)
        values_text(v, r->names[i]);
    for (size_t i = 0; i < r->n_documents; i++)
        values_text(v,
                    arena_printf(c->arena, "%s %s", document_kind_name(r->documents[i].kind), r->documents[i].name));
}

static const struct attribute revision_attributes[] = {
    {"number", PARAMETER_INT, ATTRIBUTE_SORT, get_number},
    {"author", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_revision_author},
    {"cause", PARAMETER_TEXT, ATTRIBUTE_SEARCH, get_cause},
    {"changed", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_changed_names},
    {NULL},
};
static const char *const revision_fields[] = {"kind",       "number", "time",      "cause",     "author",
                                              "request_id", "names",  "n_changed", "documents", NULL};

static size_t revision_count(struct call *c)
{
    return pmap_count(c->view->revisions);
}

const struct collection revision_collection = {
    .kind = "Revision",
    .first = revision_after,
    .next = revision_next,
    .count = revision_count,
    .find = revision_find,
    .key = revision_key_of,
    .write = write_revision,
    .attributes = revision_attributes,
    .fields = revision_fields,
};

const struct collection audit_collection = {
    .kind = "Revision",
    .first = audit_first,
    .next = audit_next,
    .key = revision_key_of,
    .write = write_revision,
    .attributes = revision_attributes,
    .fields = revision_fields,
};
