/*
 * The way of a write:
 *
 *     plan (edits from the view) -> rights -> draft (faults, warnings, effects) -> dry_run: the answer
 *                                                                               -> the writer -> the answer
 *                                                                                       |
 *                           all of it once more with the newest view  <---- -EAGAIN ----+
 *
 * Invariant: what the writer is given was drafted without a fault against the very view that goes with it.
 */
#include "api/edit.h"

#include "api/json_patch.h"
#include "api/objects.h"
#include "base/text.h"
#include "store/draft.h"
#include "store/spec.h"

#include <errno.h>
#include <string.h>

const char write_redacted[] = "[redacted]";

/* One attempt; shared with the writer's thread while it is under way. */
struct attempt {
    struct write w; /* first: plans know nothing else */
    write_plan plan;
    const void *plan_arg;
    unsigned number; /* from 1 */
    struct view *view;
    struct edit_request request;
    struct draft *draft;
    const char *outcome;        /* members of the answer that are known before it is real, JSON */
    struct api_verdict verdict; /* Envoy's, of a dry run */
    struct later *later;
};

static void attempt_free(void *data)
{
    struct attempt *a = data;
    struct arena *arena = a->w.arena;

    view_unref(a->view);
    draft_free(a->draft);
    arena_free(arena);
}

static struct attempt *attempt_new(struct call *c, write_plan plan, const void *arg, unsigned number)
{
    struct arena *arena = arena_new();
    struct attempt *a = arena_new_of(arena, struct attempt);

    arena_set_secret(arena); /* keys and passwords may stand there */

    a->w.arena = arena;
    a->plan = plan;
    a->plan_arg = arg;
    a->number = number;
    a->view = view_ref((struct view *)(uintptr_t)c->view); /* counted, not changed */
    return a;
}

/* ---- what plans use ---- */

void write_edit(struct write *w, enum document_kind kind, const char *name, const json_t *body, const char *place)
{
    _cleanup_(mem_free_p) char *text = body ? json_canonical(body) : NULL;
    size_t i = 0;

    while (i < w->n && (w->edits[i].kind != kind || strcmp(w->edits[i].name, name) != 0))
        i++;
    if (i == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 4;
        struct edit *edits = arena_array(w->arena, struct edit, cap);
        const char **places = arena_array(w->arena, const char *, cap);
        for (size_t k = 0; k < w->n; k++) {
            edits[k] = w->edits[k];
            places[k] = w->places[k];
        }
        w->edits = edits;
        w->places = places;
        w->cap = cap;
    }
    if (i == w->n)
        w->n++;
    w->edits[i] = (struct edit){kind, arena_strdup(w->arena, name), text ? arena_strdup(w->arena, text) : NULL};
    w->places[i] = arena_strdup(w->arena, place ? place : "#");
    if (text)
        mem_wipe(text, strlen(text));
}

void write_drop_unchanged(struct call *c, struct write *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++) {
        const struct edit *e = &w->edits[i];
        const struct document *d = view_document(c->view, e->kind, e->name);
        bool same = d ? e->body && strcmp(d->body, e->body) == 0 : !e->body;
        w->edits[n] = *e;
        w->places[n] = w->places[i];
        n += same ? 0 : 1;
    }
    w->n = n;
}

json_t *write_content(struct call *c, bool may_be_absent)
{
    json_t *json = NULL;
    struct err e = {0};

    if (!c->request->body_len && may_be_absent)
        return json_object();
    int r = c->request->body_len ? json_parse(c->request->body, c->request->body_len, &json, &e)
                                 : err_set(&e, -EBADMSG, NULL, NULL, "there is no content");
    if (r) {
        write_fault(c, "#", r == -EINVAL ? "invalid" : "malformed", e.text);
        call_fail(c, r == -EINVAL ? 422 : 400, "the content can't be taken: %s", e.text);
    }
    return json;
}

bool write_members(struct call *c, const json_t *object, const char *const *members, const char *const *nullable,
                   const char *const *read_only, const char *place)
{
    const char *name;
    json_t *value;
    size_t before = c->faults.n;

    if (!json_is_object(object))
        write_fault(c, place, "invalid", "an object is expected");
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        bool known = text_is_listed(members, name), may_be_null = text_is_listed(nullable, name);
        const char *pointer = fault_pointer(c->arena, place, name);
        if (!known && !may_be_null && !text_is_listed(read_only, name))
            write_fault(c, pointer, "unknown", "there is no such member here");
        else if (known && !may_be_null && json_is_null(value))
            write_fault(c, pointer, "invalid", "null is no value of this member");
    }
    return c->faults.n == before;
}

static void decode_fault(void *arg, const struct err *e)
{
    const struct write_place *p = arg;

    write_fault(p->c, fault_pointer(p->c->arena, p->place, e->field), "invalid", e->text);
}

bool write_decode(struct call *c, const json_t *object, const struct write_form *form, const char *place, void *out)
{
    struct write_place at = {c, place};
    const char **members = arena_array(c->arena, const char *, form->n + 1);

    for (size_t i = 0; i < form->n; i++)
        members[i] = form->fields[i].name;
    return write_members(c, object, members, form->nullable ? members : NULL, form->read_only, place) &&
           json_decode(object, form->fields, form->n, JSON_DECODE_IGNORE_UNKNOWN, c->arena, out, decode_fault, &at) ==
               0;
}

void write_fault(struct call *c, const char *pointer, const char *code, const char *text)
{
    fault_add(&c->faults, FAULT_POINTER, pointer, arena_strdup(c->arena, code), "%s", text);
}

void write_placed_fault(void *place, const char *pointer, const char *code, const char *text)
{
    const struct write_place *p = place;

    write_fault(p->c, arena_printf(p->c->arena, "%s%s", p->place, pointer + 1), code, text);
}

json_t *write_picked(const json_t *object, const char *const *members)
{
    json_t *some = json_object();

    for (; *members; members++) {
        json_t *value = json_object_get(object, *members);
        if (value && !json_is_null(value))
            json_object_set_new(some, *members, json_deep_copy(value));
    }
    return some;
}

bool write_is_good(struct call *c)
{
    if (c->faults.n && !c->answer->status)
        call_fail(c, 422, "this can't be taken as it is");
    return !c->answer->status;
}

/* ---- preconditions ---- */

static const char *const conditions[] = {"If-Match", "If-None-Match"};

/* One that can't be read protects nobody from the write that it should have stopped. */
static bool conditions_are_good(struct call *c)
{
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        const char *field = http_request_header(c->request, conditions[i]);
        if (field && !etags_are_good(field))
            fault_add(&c->faults, FAULT_HEADER, conditions[i], "malformed", "%s",
                      "\"*\" or tags in quotes are expected, as ETag has them");
    }
    if (c->faults.n)
        call_fail(c, 400, "a condition can't be read");
    return !c->faults.n;
}

bool write_precondition(struct call *c, const char *etag, bool exists)
{
    const char *match = http_request_header(c->request, "If-Match");
    const char *none = http_request_header(c->request, "If-None-Match");

    if (!conditions_are_good(c))
        return false;
    if (match && (!etag || !etag_spec_matches(match, etag)))
        fault_add(&c->faults, FAULT_HEADER, "If-Match", "mismatch", "%s",
                  etag ? "it has been changed since: read it again" : "it is not there (any more)");
    if (none && exists && etag_is_listed(none, etag))
        fault_add(&c->faults, FAULT_HEADER, "If-None-Match", "mismatch", "it is there already");
    if (!c->faults.n)
        return true;
    call_fail(c, 412, "the object is not as the request expects it");
    if (etag)
        http_answer_header(c->answer, "ETag", arena_strdup(c->arena, etag));
    return false;
}

/* Without its document, which costs a look at what the proxies have. */
static bool is_there(struct call *c, const struct collection *l, const char *key)
{
    if (l->prepare)
        l->prepare(c);
    return !c->answer->status && l->find(c, key);
}

static bool is_conditional(const struct call *c)
{
    return http_request_header(c->request, conditions[0]) || http_request_header(c->request, conditions[1]);
}

bool write_precondition_of(struct call *c, const struct collection *l, const char *key, bool *ret_exists)
{
    char etag[ETAG_MAX];
    struct buf b;
    struct writer w = {.out = &b};
    bool conditional = is_conditional(c);

    buf_init(&b, 0);
    bool exists = conditional ? item_write(c, l, key, &w, etag) : is_there(c, l, key);
    buf_clear(&b);
    if (ret_exists)
        *ret_exists = exists;
    return !c->answer->status && (!conditional || write_precondition(c, exists ? etag : NULL, exists));
}

/* ---- patches ---- */

static json_t *patch_fault(struct call *c, int code, const struct err *e)
{
    write_fault(c, e->field, code == -ECANCELED ? "conflict" : "invalid", e->text);
    call_fail(c, code == -ECANCELED ? 409 : 422, "the patch can't be applied: %s", e->text);
    return NULL;
}

json_t *write_patched(struct call *c, const json_t *document, const json_t *patch, bool operations)
{
    json_t *result = NULL;
    struct err e = {0};
    int r = 0;

    if (operations)
        r = json_patch_apply(document, patch, &result, &e);
    else if (json_is_object(patch))
        result = json_merge_patch(document, patch);
    else
        r = err_set(&e, -EINVAL, NULL, "#", "an object is expected");
    return r ? patch_fault(c, r, &e) : result;
}

/* ---- rights ---- */

/* The exposure that an edit is about, in the arena; NULL: it is about something else. */
static const char *edited_exposure(const struct edit *e, struct arena *arena)
{
    const char *bar = strrchr(e->name, '|');

    if (e->kind == DOCUMENT_DRAIN)
        return bar ? arena_strndup(arena, e->name, (size_t)(bar - e->name)) : NULL;
    return e->kind == DOCUMENT_EXPOSURE || e->kind == DOCUMENT_OVERRIDE ? e->name : NULL;
}

/* An operator may touch what is, and stays, on a gateway that is theirs. */
static bool may_edit(struct call *c, const struct draft *d, const struct edit *e)
{
    const char *name = edited_exposure(e, c->arena);
    const struct service_exposure *before, *after;

    if (c->who.role >= ROLE_ADMIN)
        return true;
    if (!name || c->who.role < ROLE_OPERATOR)
        return false;
    before = view_exposure(c->view, name);
    after = draft_exposure(d, c->view, name);
    return (!before || principal_is_of(&c->who, before->gateway)) &&
           (!after || principal_is_of(&c->who, after->gateway)) && (before || after);
}

static bool may_write(struct call *c, const struct draft *d, const struct write *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (!may_edit(c, d, &w->edits[i])) {
            call_fail(c, 403, "\"%s\" may not change this: an operator changes exposures of its gateways alone",
                      c->who.name);
            return false;
        }
    return true;
}

/* ---- the draft's words ---- */

static const char *placed(struct call *c, const struct write *w, const struct draft_fault *f)
{
    const char *place = f->edit < w->n ? w->places[f->edit] : "#";

    return arena_printf(c->arena, "%s%s", place, f->pointer && *f->pointer == '#' ? f->pointer + 1 : "");
}

/* False: the call failed. */
static bool draft_is_good(struct call *c, const struct draft *d, const struct write *w)
{
    const char *other = NULL;

    if (!d->invalid && !d->conflict)
        return true;
    for (size_t i = 0; i < d->n_faults; i++) {
        const struct draft_fault *f = &d->faults[i];
        if (f->kind == DRAFT_WARNING)
            continue;
        if (f->kind == DRAFT_CONFLICT && !other)
            other = f->other;
        fault_add(&c->faults, FAULT_POINTER, placed(c, w, f), arena_strdup(c->arena, f->code), "%s", f->text);
    }
    if (d->invalid)
        call_fail(c, 422, "this can't be taken as it is");
    else if (other)
        call_fail(c, 409, "this is in conflict with %s", other);
    else
        call_fail(c, 409, "this is in conflict with what is there");
    return false;
}

static void write_warnings(struct call *c, const struct draft *d, const struct write *w, struct writer *out)
{
    writer_open(out, "warnings", '[');
    for (size_t i = 0; i < d->n_faults; i++) {
        const struct draft_fault *f = &d->faults[i];
        if (f->kind != DRAFT_WARNING)
            continue;
        writer_open(out, NULL, '{');
        writer_text(out, "pointer", placed(c, w, f));
        writer_text(out, "code", f->code);
        writer_text(out, "detail", f->text);
        writer_close(out, '}');
    }
    writer_close(out, ']');
}

static void write_effects(const struct draft *d, struct writer *out)
{
    writer_open(out, "effects", '[');
    for (size_t i = 0; i < d->n_listeners; i++) {
        const struct draft_listener *l = &d->listeners[i];
        writer_open(out, NULL, '{');
        writer_text(out, "gateway", l->gateway);
        writer_text(out, "listener", l->listener);
        writer_text(out, "effect", draft_effect_name(l->effect));
        writer_texts(out, "chains", l->chains, l->n_chains);
        writer_close(out, '}');
    }
    writer_close(out, ']');
}

/* ---- the difference ---- */

static void hide_certificate(json_t *json)
{
    static const char *const secrets[] = {"private_key", "password"};

    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        if (json_object_get(json, secrets[i]))
            json_object_set_new(json, secrets[i], json_string(write_redacted));
}

char *document_shown(enum document_kind kind, const char *body)
{
    json_t *json = NULL;

    if (json_parse(body, strlen(body), &json, NULL))
        return mem_printf("\"%s\"", write_redacted); /* nothing of what can't be understood is shown */
    if (kind == DOCUMENT_TOKEN)
        json_object_del(json, "sha256");
    else if (kind == DOCUMENT_CERTIFICATE)
        hide_certificate(json);
    else if (kind == DOCUMENT_EXPOSURE || kind == DOCUMENT_OVERRIDE)
        exposure_redact(json);
    else if (kind == DOCUMENT_GATEWAY)
        gateway_redact(json);
    char *text = json_canonical(json);
    json_decref(json);
    return text;
}

static json_t *shown_json(enum document_kind kind, const char *body)
{
    json_t *json = NULL;
    _cleanup_(mem_free_p) char *text = body ? document_shown(kind, body) : NULL;

    if (text && json_parse(text, strlen(text), &json, NULL))
        json = NULL;
    return json;
}

static json_t *shown_exposure(struct call *c, const struct service_exposure *sx)
{
    return sx ? exposure_json(sx->declared, false, c->arena) : NULL;
}

/* What is the same in both leaves both. */
static void drop_equal(json_t *before, json_t *after)
{
    const char *name;
    json_t *value;
    void *next;

    json_object_foreach_safe(before, next, name, value)
    {
        if (json_equal(value, json_object_get(after, name))) {
            json_object_del(after, name);
            json_object_del(before, name);
        }
    }
}

/* Takes both over. */
static void write_change(struct writer *out, const char *kind, const char *name, json_t *before, json_t *after)
{
    const char *word = change_word(before, after);

    if (before && after)
        drop_equal(before, after);
    if ((before || after) && (json_object_size(before) || json_object_size(after) || !before || !after)) {
        _cleanup_(mem_free_p) char *old = before ? json_canonical(before) : mem_strdup("null");
        _cleanup_(mem_free_p) char *new = after ? json_canonical(after) : mem_strdup("null");
        writer_open(out, NULL, '{');
        writer_text(out, "kind", kind);
        writer_text(out, "name", name);
        writer_text(out, "change", word);
        writer_raw(out, "before", old, strlen(old));
        writer_raw(out, "after", new, strlen(new));
        writer_close(out, '}');
    }
    json_decref(before);
    json_decref(after);
}

static void write_changes(struct call *c, const struct draft *d, const struct write *w, struct writer *out)
{
    writer_open(out, "changes", '[');
    for (size_t i = 0; i < w->n; i++) {
        const struct edit *e = &w->edits[i];
        const struct document *document = view_document(c->view, e->kind, e->name);
        if (e->kind == DOCUMENT_EXPOSURE || e->kind == DOCUMENT_OVERRIDE)
            write_change(out, "exposure", e->name, shown_exposure(c, view_exposure(c->view, e->name)),
                         shown_exposure(c, draft_exposure(d, c->view, e->name)));
        else
            write_change(out, document_kind_name(e->kind), e->name,
                         shown_json(e->kind, document ? document->body : NULL), shown_json(e->kind, e->body));
    }
    writer_close(out, ']');
}

/* Members, without braces; in the arena. */
static const char *write_outcome(struct call *c, const struct draft *d, const struct write *w)
{
    struct buf b;
    struct writer out = {.out = &b};

    buf_init(&b, 0);
    write_changes(c, d, w, &out);
    write_warnings(c, d, w, &out);
    write_effects(d, &out);
    const char *text = arena_strdup(w->arena, buf_cstr(&b));
    buf_clear(&b);
    return text;
}

/* ---- answers ---- */

static void write_shown(struct call *c, const struct write *w, struct writer *out)
{
    struct buf b;
    struct writer object = {.out = &b};
    char etag[ETAG_MAX];

    buf_init(&b, 0);
    bool there = w->shown && item_write(c, w->shown, w->key, &object, etag);
    writer_text(out, "etag", there ? etag : NULL);
    if (there)
        writer_raw(out, "object", (const char *)b.data, b.len);
    else
        writer_null(out, "object");
    buf_clear(&b);
}

/* ---- Envoy's own verdict on a dry run ---- */

/* The member of an exposure that its resource of that type is made from, as far as one can be told. */
static const char *member_of(const struct exposure *x, const char *type)
{
    if (strcmp(type, "CLUSTER") == 0)
        return x->cluster_data ? "/cluster_data" : "";
    if (strcmp(type, "LISTENER") == 0)
        return x->filter_config_data ? "/filter_config_data" : "";
    return strcmp(type, "ROUTE") == 0 && x->n_vhosts ? "/vhosts" : "";
}

/* Where in the request's content stands what the words are about; NULL: they do not say, or it is not there. */
static const char *refused_place(struct call *c, const struct attempt *a, const char *exposure)
{
    const struct api_verdict *v = &a->verdict;

    for (size_t i = 0; exposure && i < a->w.n; i++) {
        const struct edit *e = &a->w.edits[i];
        const char *edited = e->body ? edited_exposure(e, c->arena) : NULL;
        const struct service_exposure *sx = edited ? draft_exposure(a->draft, a->view, edited) : NULL;
        if (sx && strcmp(edited, exposure) == 0)
            return arena_printf(c->arena, "%s%s", a->w.places[i], v->type ? member_of(sx->x, v->type) : "");
    }
    return NULL;
}

/* The exposure that is refused: that of the resource which the words name, else the only one that was edited. */
static const char *refused_exposure(struct call *c, const struct attempt *a)
{
    const struct api_verdict *v = &a->verdict;
    const char *only = NULL;

    if (v->state != API_REFUSED)
        return NULL;
    if (v->owner)
        return draft_exposure(a->draft, a->view, v->owner) ? v->owner : NULL;
    for (size_t i = 0; i < a->w.n; i++) {
        const char *edited = edited_exposure(&a->w.edits[i], c->arena);
        if (edited && only)
            return NULL;
        only = edited ? edited : only;
    }
    return only;
}

static void write_verdict(struct call *c, const struct attempt *a, struct writer *out)
{
    static const char *const states[] = {[API_ACCEPTED] = "accepted",
                                         [API_REFUSED] = "refused",
                                         [API_UNAVAILABLE] = "unavailable",
                                         [API_TIMEOUT] = "timeout",
                                         [API_BUSY] = "busy"};
    const struct api_verdict *v = &a->verdict;
    const char *exposure = refused_exposure(c, a);

    writer_open(out, "envoy", '{');
    writer_text(out, "state", states[v->state]);
    writer_text(out, "detail", v->detail);
    writer_text(out, "version", v->version);
    writer_text(out, "gateway", v->gateway);
    writer_text(out, "type", v->type);
    writer_text(out, "resource", v->resource);
    writer_text(out, "exposure", exposure);
    writer_text(out, "pointer", refused_place(c, a, exposure));
    writer_close(out, '}');
}

/* waited: for the proxies, whose words are part of the answer then. judged: by Envoy, likewise. */
static void answer(struct call *c, const struct attempt *a, uint64_t number, bool dry, bool waited, bool judged)
{
    const struct write *w = &a->w;
    struct writer out = {.out = &c->answer->body};

    writer_open(&out, NULL, '{');
    writer_text(&out, "kind", "Revision");
    writer_bool(&out, "dry_run", dry);
    if (dry)
        writer_null(&out, "number");
    else
        writer_int(&out, "number", (int64_t)number);
    writer_text(&out, "rollout",
                dry ? NULL : arena_printf(c->arena, "/api/v1/revisions/%llu/rollout", (unsigned long long)number));
    if (waited)
        rollout_write(c, number, "rollout_status", &out);
    else
        writer_null(&out, "rollout_status");
    (void)buf_append_byte(out.out, ',');
    (void)buf_append_str(out.out, a->outcome); /* a buffer that is full says so itself */
    if (judged)
        write_verdict(c, a, &out);
    else
        writer_null(&out, "envoy");
    if (w->write_extra)
        w->write_extra(w->extra, &out);
    if (dry) {
        writer_null(&out, "etag");
        writer_null(&out, "object");
    } else {
        write_shown(c, w, &out);
    }
    writer_close(&out, '}');
    c->answer->status = w->created ? 201 : 200;
    c->answer->content_type = c->route->produces;
    if (w->created && w->location && !dry)
        http_answer_header(c->answer, "Location", arena_strdup(c->arena, w->location));
}

/* ---- waiting for the proxies (RFC 7240, 4.3) ---- */

static void answer_waited(struct call *c, void *data)
{
    const struct attempt *a = data;

    http_answer_header(c->answer, "Preference-Applied", arena_printf(c->arena, "wait=%u", call_waits(c)));
    answer(c, a, a->request.revision, false, true, false);
}

/* It is done, whoever waits for it: where too many do, this one does not. */
static void answer_at_once(struct call *c, const struct attempt *a)
{
    http_answer_header(c->answer, "Preference-Applied", "wait=0");
    answer(c, a, a->request.revision, false, true, false);
}

/* What the answer needs of an attempt, for as long as the call. */
static struct attempt *attempt_kept(struct call *c, const struct attempt *a)
{
    struct attempt *kept = arena_dup(c->arena, a, sizeof(*a));

    kept->draft = NULL;
    kept->w.edits = NULL;
    kept->w.n = 0;
    kept->w.key = a->w.key ? arena_strdup(c->arena, a->w.key) : NULL;
    kept->w.location = a->w.location ? arena_strdup(c->arena, a->w.location) : NULL;
    kept->w.extra = a->w.extra ? arena_strdup(c->arena, a->w.extra) : NULL;
    kept->outcome = arena_strdup(c->arena, a->outcome);
    return kept;
}

/* ---- the way ---- */

static void try_write(struct call *c, write_plan plan, const void *arg, unsigned number);

static void answer_failure(struct call *c, const struct attempt *a)
{
    const char *text = a->request.error.text;

    if (a->request.result == -EMSGSIZE) {
        call_fail(c, 413, "%s", text);
        return;
    }
    http_answer_header(c->answer, "Retry-After", "2");
    if (a->request.result == -EAGAIN)
        call_fail(c, 503, "others change the same all the time; nothing was changed");
    else
        call_fail(c, 503, "nothing was changed: %s", text);
}

static void on_written(struct call *c, void *data)
{
    const struct attempt *a = data;

    if (a->request.result == -EAGAIN && a->number < WRITE_ATTEMPTS_MAX)
        try_write(c, a->plan, a->plan_arg, a->number + 1);
    else if (a->request.result)
        answer_failure(c, a);
    else if (!call_waits(c))
        answer(c, a, a->request.revision, false, false, false);
    else if (!rollout_wait(c, a->request.revision, answer_waited, attempt_kept(c, a)))
        answer_at_once(c, a);
}

/* In the writer's thread. */
static void on_done(struct edit_request *r, void *arg)
{
    struct attempt *a = arg;

    (void)r; /* the attempt has it */
    later_done(a->later);
}

static void submit(struct call *c, struct attempt *a)
{
    const struct write *w = &a->w;
    const char *path = arena_strndup(w->arena, c->target.path, DOCUMENT_NAME_MAX);

    a->request = (struct edit_request){
        .view = a->view,
        .edits = w->edits,
        .n_edits = w->n,
        .author = arena_strdup(w->arena, c->who.name),
        .cause = arena_printf(w->arena, "%s %s", c->request->method, path),
        .request_id = arena_strdup(w->arena, c->request->id),
        .attempts = a->number - 1,
    };
    struct later *later = a->later = later_new(a, attempt_free);
    c->backend->edit(c->backend->arg, &a->request, on_done, a);
    call_later(c, later, on_written, 0);
}

/* Whether it could be made real; else the call is answered. */
static bool consider(struct call *c, struct attempt *a)
{
    c->faults.n = 0;
    a->plan(c, &a->w, a->plan_arg);
    if (c->answer->status)
        return false;
    write_drop_unchanged(c, &a->w);
    a->draft = draft_new(c->view, a->w.edits, a->w.n, c->backend->world);
    if (!may_write(c, a->draft, &a->w) || !draft_is_good(c, a->draft, &a->w))
        return false;
    a->outcome = write_outcome(c, a->draft, &a->w);
    return true;
}

static void answer_judged(struct call *c, void *data)
{
    answer(c, data, 0, true, false, true);
}

/* In whatever thread. */
static void on_judged(void *data)
{
    struct attempt *a = data;

    later_done(a->later);
}

/* Whether an Envoy is asked; then the answer comes later. It takes apart whatever was passed through to it, so it is
 * asked for administrators alone. */
static bool ask_envoy(struct call *c, struct attempt *a)
{
    struct view_delta *delta =
        c->backend->ask_envoy && c->who.role >= ROLE_ADMIN ? draft_delta(a->draft, a->view, c->backend->world) : NULL;

    if (!delta)
        return false;
    struct later *later = a->later = later_new(a, attempt_free);
    c->backend->ask_envoy(c->backend->arg, a->view, delta, a->w.arena, &a->verdict, on_judged, a);
    call_later(c, later, answer_judged, 0);
    return true;
}

static void try_write(struct call *c, write_plan plan, const void *arg, unsigned number)
{
    bool dry = parameter_bool(&c->target, "dry_run");
    struct attempt *a = attempt_new(c, plan, arg, number);

    if (!consider(c, a)) {
        attempt_free(a);
    } else if (!dry && a->w.n) {
        draft_free(take_ptr(a->draft)); /* the writer makes its own picture */
        submit(c, a);
    } else if (!dry || !ask_envoy(c, a)) {
        answer(c, a, c->view->revision, dry, false, false);
        attempt_free(a);
    }
}

void write_run(struct call *c, write_plan plan, const void *arg)
{
    if (c->backend->edit)
        try_write(c, plan, arg, 1);
    else
        call_fail(c, 403, "this daemon is read-only (read-only): edits are taken by the other one of this cluster");
}
