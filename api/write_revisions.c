/*
 * Undo: the difference between any two revisions within the retention, and restoring what people made as it stood
 * after one of them. What the agent said is not undone: it is the agent's. Tokens are not either: one that was taken
 * away stays away.
 */
#include "api/objects.h"
#include "api/write.h"
#include "base/map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What became of one document from one revision to another. */
struct document_span {
    enum document_kind kind;
    const char *name;
    const struct document *before, *after;
};

/* Of the revisions behind `from` up to `to`, by kind and name. */
struct span {
    struct map documents; /* struct document_span by "kind/name" */
    struct map names;     /* what else changed */
};

static void span_clear(struct span *s)
{
    map_clear(&s->documents);
    map_clear(&s->names);
}

static void add_change(struct call *c, struct span *s, const struct document_change *change)
{
    const char *key = arena_printf(c->arena, "%s/%s", document_kind_name(change->kind), change->name);
    struct document_span *d = map_gets(&s->documents, key);

    if (!d) {
        d = arena_new_of(c->arena, struct document_span);
        *d = (struct document_span){.kind = change->kind, .name = change->name, .before = change->before};
        map_puts(&s->documents, key, d);
    }
    d->after = change->after;
}

/* -1: a revision in between is not known any more. */
static int gather(struct call *c, uint64_t from, uint64_t to, struct span *s)
{
    for (uint64_t n = from + 1; n <= to; n++) {
        const struct revision *r = view_revision(c->view, n);
        if (!r)
            return -1;
        for (size_t i = 0; i < r->n_documents; i++)
            add_change(c, s, &r->documents[i]);
        for (size_t i = 0; i < r->n_names; i++)
            map_puts(&s->names, r->names[i], (void *)(uintptr_t)r->names[i]);
    }
    return 0;
}

/* Whether the state after it can be told: all revisions behind it are known. False: the call failed. */
static bool is_reachable(struct call *c, uint64_t number)
{
    if (number > c->view->revision) {
        call_fail(c, 404, "there is no Revision \"%" PRIu64 "\"", number);
        return false;
    }
    if (number < c->view->revision && !view_revision(c->view, number + 1)) {
        call_fail(c, 410, "what followed revision %" PRIu64 " is not kept any more", number);
        return false;
    }
    return true;
}

/* ---- differences ---- */

static void write_body(struct writer *w, const char *key, const struct document *d)
{
    if (!d) {
        writer_null(w, key);
        return;
    }
    _cleanup_(mem_free_p) char *text = document_shown(d->kind, d->body);
    writer_raw(w, key, text, strlen(text));
}

static void write_document_span(struct writer *w, const struct document_span *d, bool backwards)
{
    const struct document *before = backwards ? d->after : d->before, *after = backwards ? d->before : d->after;

    if (!before && !after)
        return; /* made and removed in between */
    if (before && after && strcmp(before->body, after->body) == 0)
        return;
    writer_open(w, NULL, '{');
    writer_text(w, "kind", document_kind_name(d->kind));
    writer_text(w, "name", d->name);
    writer_text(w, "change", change_word(before, after));
    write_body(w, "before", before);
    write_body(w, "after", after);
    writer_close(w, '}');
}

static void write_diff(struct call *c, uint64_t from, uint64_t to, const struct span *s)
{
    struct writer w = {.out = &c->answer->body};
    _cleanup_(mem_free_p) void **documents = map_sorted_values(&s->documents);
    _cleanup_(mem_free_p) void **names = map_sorted_values(&s->names);

    writer_open(&w, NULL, '{');
    writer_text(&w, "kind", "RevisionDiff");
    writer_int(&w, "from", (int64_t)from);
    writer_int(&w, "to", (int64_t)to);
    writer_open(&w, "documents", '[');
    for (size_t i = 0; i < s->documents.count; i++)
        write_document_span(&w, documents[i], from > to);
    writer_close(&w, ']');
    writer_open(&w, "names", '[');
    for (size_t i = 0; i < s->names.count; i++)
        writer_text(&w, NULL, names[i]);
    writer_close(&w, ']');
    writer_close(&w, '}');
}

void handle_get_revision_diff(struct call *c)
{
    const char *against = parameter_text(&c->target, "against");
    uint64_t to, from;
    struct span s = {0};

    if (!revision_parse(c->arguments[0], &to)) {
        call_not_found(c, "Revision");
        return;
    }
    from = against ? strtoull(against, NULL, 10) : to ? to - 1 : 0;
    if (!is_reachable(c, from < to ? from : to) || !is_reachable(c, from < to ? to : from))
        return;
    if (gather(c, from < to ? from : to, from < to ? to : from, &s)) {
        call_fail(c, 410, "a revision in between is not kept any more");
    } else {
        write_diff(c, from, to, &s);
        call_done(c);
    }
    span_clear(&s);
}

/* ---- restoring ---- */

static void add_edits(struct call *c, struct write *w, const struct span *s)
{
    _cleanup_(mem_free_p) void **documents = map_sorted_values(&s->documents);

    for (size_t i = 0; i < s->documents.count; i++) {
        const struct document_span *d = documents[i];
        const struct document *now = view_document(c->view, d->kind, d->name);
        if (d->kind == DOCUMENT_TOKEN || (!d->before && !now) ||
            (d->before && now && strcmp(d->before->body, now->body) == 0))
            continue;
        json_t *body = document_json(d->before);
        if (!d->before || body)
            write_edit(w, d->kind, d->name, body, "#/restore");
        json_decref(body);
    }
    if (w->n > EDITS_MAX)
        call_fail(c, 422, "more than %d objects would change: restore in steps", EDITS_MAX);
}

struct restore {
    int64_t restore;
};

static bool read_restore(struct call *c, struct restore *ret)
{
    static const struct json_field fields[] = {
        {.name = "restore", .type = JSON_FIELD_INT, .min = 0, .max = INT64_C(1) << 53, .required = true}};
    static const struct write_form form = {fields, ARRAY_LEN(fields)};
    json_t *json = write_content(c, false);

    if (!json)
        return false;
    (void)write_decode(c, json, &form, "#", ret); /* faults are looked at below */
    json_decref(json);
    return write_is_good(c);
}

static void plan_restore(struct call *c, struct write *w, const void *arg)
{
    struct restore r = {0};
    struct span s = {0};

    (void)arg; /* there is one kind */
    if (!read_restore(c, &r) || !is_reachable(c, (uint64_t)r.restore))
        return;
    if (gather(c, (uint64_t)r.restore, c->view->revision, &s))
        call_fail(c, 410, "a revision in between is not kept any more");
    else
        add_edits(c, w, &s);
    span_clear(&s);
}

void handle_post_revision(struct call *c)
{
    write_run(c, plan_restore, NULL);
}
