/*
 * Edits become real in two steps: their documents, and the revisions that they make, go to config.db's disk together;
 * then each is committed and shown. What could not be kept in time is withdrawn: its rows are put back as they were,
 * behind what may still reach the disk.
 *
 * The writer waits here for the disk, as it does for allocated ports, and no longer than STORE_EDIT_WAIT_MS: an edit
 * that is answered is never lost, and several that come at once share one flush.
 */
#include "store/edit.h"

#include "base/clock.h"
#include "base/json.h"
#include "store/overlay.h"
#include "store/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- revisions ---- */

static int compare_changes(const void *a, const void *b)
{
    const struct document_change *x = a, *y = b;
    int order = strcmp(document_kind_name(x->kind), document_kind_name(y->kind));

    return order ? order : strcmp(x->name, y->name);
}

struct revision *revision_new(uint64_t number, int64_t time, const char *cause, const char *author,
                              const char *request_id, const char *const *names, size_t n_names, size_t n_changed,
                              const struct document_change *documents, size_t n_documents)
{
    struct arena *arena = arena_new();
    struct revision *r = arena_new_of(arena, struct revision);
    const char **copies = arena_array(arena, const char *, n_names);
    struct document_change *changes = arena_array(arena, struct document_change, n_documents);

    *r = (struct revision){.refs = 1, .number = number, .time = time, .n_changed = n_changed, .arena = arena};
    revision_key(number, r->key);
    r->cause = arena_strdup(arena, cause);
    r->author = author ? arena_strdup(arena, author) : NULL;
    r->request_id = request_id ? arena_strdup(arena, request_id) : NULL;
    for (size_t i = 0; i < n_names; i++)
        copies[i] = arena_strdup(arena, names[i]);
    for (size_t i = 0; i < n_documents; i++) {
        changes[i] = documents[i];
        changes[i].name = arena_strdup(arena, documents[i].name);
        if (changes[i].before)
            document_ref(changes[i].before);
        if (changes[i].after)
            document_ref(changes[i].after);
    }
    if (n_documents)
        qsort(changes, n_documents, sizeof(*changes), compare_changes);
    r->names = copies;
    r->n_names = n_names;
    r->documents = changes;
    r->n_documents = n_documents;
    return r;
}

void revisions_add(struct store *s, struct revision *r)
{
    struct revision *first;

    s->revisions = pmap_put(s->revisions, &view_revisions, r);
    revision_unref(r);
    while (pmap_count(s->revisions) > STORE_REVISIONS_MAX) {
        first = pmap_after(s->revisions, &view_revisions, "");
        s->revisions = pmap_remove(s->revisions, &view_revisions, first->key);
    }
}

/* ---- compare and set ---- */

/* A word that the agent said again, or took back and gave again, is the same. */
static bool same_word(const struct agent_word *a, const struct agent_word *b)
{
    if (a == b || !a || !b)
        return a == b;
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* Both kinds of documents of an exposure, and what the agent says of its service, are what the edit was made from. */
static bool exposure_unchanged(const struct store *s, const struct view *v, const char *name)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    const char *rid, *path = exposure_path(name, arena, &rid);
    const struct service *before;

    if (!path)
        return true;
    before = view_service(v, path);
    return same_word(before ? before->word : NULL, gather_newest_word(s, path)) &&
           view_document(v, DOCUMENT_EXPOSURE, name) == documents_find(s->documents, DOCUMENT_EXPOSURE, name) &&
           view_document(v, DOCUMENT_OVERRIDE, name) == documents_find(s->documents, DOCUMENT_OVERRIDE, name);
}

static bool is_unchanged(const struct store *s, const struct view *v, const struct edit *e)
{
    if (e->kind == DOCUMENT_EXPOSURE || e->kind == DOCUMENT_OVERRIDE)
        return exposure_unchanged(s, v, e->name);
    return view_document(v, e->kind, e->name) == documents_find(s->documents, e->kind, e->name);
}

/* ---- taking ---- */

/* A request that is under way. */
struct taken {
    struct edit_request *request;
    struct revision *revision; /* NULL: it changes nothing, or was not taken */
    struct pmap *documents;    /* with it */
};

static bool same_body(const struct document *d, const char *body)
{
    return d ? body && strcmp(d->body, body) == 0 : !body;
}

static size_t name_max(enum document_kind kind)
{
    return kind == DOCUMENT_EXPOSURE || kind == DOCUMENT_OVERRIDE ? EXPOSURE_NAME_MAX : DOCUMENT_NAME_MAX;
}

static int check_limits(const struct store *s, struct edit_request *r)
{
    size_t more = 0;

    if (r->n_edits > EDITS_MAX)
        return err_set(&r->error, -EMSGSIZE, NULL, NULL, "a request changes at most %d objects", EDITS_MAX);
    for (size_t i = 0; i < r->n_edits; i++) {
        const struct edit *e = &r->edits[i];

        if (strlen(e->name) > name_max(e->kind))
            return err_set(&r->error, -EMSGSIZE, NULL, NULL, "a name has at most %zu bytes", name_max(e->kind));
        if (e->body && strlen(e->body) > DOCUMENT_BODY_MAX)
            return err_set(&r->error, -EMSGSIZE, e->name, NULL, "an object has at most %d bytes", DOCUMENT_BODY_MAX);
        more += e->body && !documents_find(s->documents, e->kind, e->name);
    }
    if (pmap_count(s->documents) + more > DOCUMENTS_MAX)
        return err_set(&r->error, -ENOSPC, NULL, NULL, "there are at most %d edited objects", DOCUMENTS_MAX);
    return 0;
}

static int check_request(const struct store *s, struct edit_request *r)
{
    int result = check_limits(s, r);

    if (result < 0)
        return result;
    if (s->config_broken || s->config_alarm)
        return err_set(&r->error, -EIO, "config.db", NULL, "%s", s->config_alarm ? s->config_alarm : "is broken");
    for (size_t i = 0; i < r->n_edits; i++)
        if (!is_unchanged(s, r->view, &r->edits[i]))
            return err_set(&r->error, -EAGAIN, r->edits[i].name, NULL, "was changed meanwhile");
    return 0;
}

/* A member that stays what it was is still the one's who set it so. */
static void attribute_members(struct document *after, const struct document *before)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    json_t *now = NULL, *was = NULL, *value;
    struct document_member *members;
    const char *field;
    size_t n = 0;

    if (json_parse(after->body, after->body_len, &now, NULL) < 0)
        return;
    if (before)
        (void)json_parse(before->body, before->body_len, &was, NULL);
    members = arena_array(arena, struct document_member, json_object_size(now));
    json_object_foreach(now, field, value)
    {
        const json_t *old = json_object_get(was, field);
        struct document_member m = {field, after->author, after->revision, after->updated, after->updated};

        if (old) {
            const struct document_member set = document_member(before, field);
            if (json_equal(old, value))
                m = set;
            m.created = set.created;
        }
        members[n++] = m;
    }
    document_set_members(after, members, n);
    json_decref(was);
    json_decref(now);
}

static struct document *edited(const struct edit *e, const struct edit_request *r, const struct document *before,
                               uint64_t number, int64_t now)
{
    struct document *d;

    if (!e->body)
        return NULL;
    d = document_new(e->kind, e->name, e->body, r->author, number, before ? before->created : now, now);
    if (e->kind == DOCUMENT_OVERRIDE)
        attribute_members(d, before);
    return d;
}

/* NULL: nothing changes. */
static struct revision *make_revision(struct store *s, const struct edit_request *r, uint64_t number)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct document_change *changes = arena_array(arena, struct document_change, r->n_edits);
    const char **names = arena_array(arena, const char *, r->n_edits);
    int64_t now = (int64_t)(clock_wall() * 1000);
    struct revision *revision;
    size_t n = 0;

    for (size_t i = 0; i < r->n_edits; i++) {
        const struct edit *e = &r->edits[i];
        struct document *before = documents_find(s->documents, e->kind, e->name);

        if (same_body(before, e->body))
            continue;
        names[n] = arena_printf(arena, "%s %s", document_kind_name(e->kind), e->name);
        changes[n++] = (struct document_change){
            .kind = e->kind,
            .name = e->name,
            .before = before,
            .after = edited(e, r, before, number, now),
        };
    }
    if (n == 0)
        return NULL;
    revision = revision_new(number, now, r->cause, r->author, r->request_id, names,
                            n < REVISION_NAMES_MAX ? n : REVISION_NAMES_MAX, n, changes, n);
    for (size_t i = 0; i < n; i++)
        document_unref(changes[i].after);
    return revision;
}

static void put_document(struct store *s, const struct document_change *c, const struct document *d)
{
    if (d)
        row_put_document(s, d);
    else
        row_drop_document(s, c->kind, c->name);
}

/* The map changes at once: the next request of the same batch is held against it. */
static void put_documents(struct store *s, const struct revision *r)
{
    for (size_t i = 0; i < r->n_documents; i++) {
        const struct document_change *c = &r->documents[i];

        put_document(s, c, c->after);
        s->documents = documents_set(s->documents, c->kind, c->name, c->after);
    }
}

static void use_documents(struct store *s, struct pmap *documents)
{
    pmap_unref(s->documents, &view_documents);
    s->documents = documents;
}

static void take(struct store *s, struct taken *t, uint64_t *number)
{
    struct edit_request *r = t->request;

    r->result = check_request(s, r);
    if (r->result < 0)
        return;
    t->revision = make_revision(s, r, *number + 1);
    if (!t->revision)
        return;
    ++*number;
    row_put_revision(s, t->revision);
    put_documents(s, t->revision);
    t->documents = pmap_ref(s->documents);
}

static void withdraw(struct store *s, struct taken *taken, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        struct edit_request *r = taken[i].request;

        if (!taken[i].revision)
            continue;
        for (size_t k = 0; k < taken[i].revision->n_documents; k++)
            put_document(s, &taken[i].revision->documents[k], taken[i].revision->documents[k].before);
        row_drop_revision(s, taken[i].revision);
        r->result = err_set(&r->error, -EIO, "config.db", NULL, "%s",
                            s->config_alarm ? s->config_alarm : "the disk did not answer in time");
    }
    keeper_flush(s->config);
}

static void make_real(struct store *s, struct taken *t, edit_publish publish, void *arg)
{
    struct view_delta *delta;

    use_documents(s, take_ptr(t->documents));
    delta = commit_edit(s, t->revision);
    t->request->revision = t->revision->number;
    if (delta)
        publish(arg, delta);
}

void store_edit(struct store *s, struct edit_request *const *requests, size_t n, edit_publish publish, void *arg)
{
    _cleanup_(mem_free_p) struct taken *taken = mem_array(struct taken, n);
    struct pmap *before = pmap_ref(s->documents);
    uint64_t number = s->revision;

    store_take_news(s);
    for (size_t i = 0; i < n; i++) {
        taken[i].request = requests[i];
        take(s, &taken[i], &number);
    }
    use_documents(s, before);
    if (number != s->revision && !keeper_wait(s->config, keeper_flush(s->config), STORE_EDIT_WAIT_MS)) {
        store_take_news(s);
        withdraw(s, taken, n);
    } else {
        for (size_t i = 0; i < n; i++)
            if (taken[i].revision)
                make_real(s, &taken[i], publish, arg);
    }
    for (size_t i = 0; i < n; i++) {
        if (requests[i]->result == 0 && !taken[i].revision)
            requests[i]->revision = s->revision;
        pmap_unref(taken[i].documents, &view_documents);
        revision_unref(taken[i].revision);
    }
    store_take_news(s);
}
