/* Overrides taken back: all of an exposure's, or one field's. */
#include "api/objects.h"
#include "api/write.h"

/* The document, or NULL: the call failed. */
static const struct document *find_override(struct call *c)
{
    const char *name = c->arguments[0];
    const struct document *d = view_document(c->view, DOCUMENT_OVERRIDE, name);

    if (d)
        return write_precondition_of(c, &exposure_collection, name, NULL) ? d : NULL;
    call_fail(c, 404, "nothing is overridden of \"%.200s\"", name);
    return NULL;
}

static void show(struct call *c, struct write *w)
{
    w->shown = &exposure_collection;
    w->key = arena_strdup(w->arena, c->arguments[0]);
}

static void plan_delete_all(struct call *c, struct write *w, const void *arg)
{
    (void)arg; /* there is one kind */
    show(c, w);
    if (find_override(c))
        write_edit(w, DOCUMENT_OVERRIDE, c->arguments[0], NULL, NULL);
}

static void plan_delete_one(struct call *c, struct write *w, const void *arg)
{
    const struct document *d = find_override(c);
    json_t *patch = document_json(d);

    (void)arg; /* there is one kind */
    show(c, w);
    if (!patch)
        return;
    if (json_object_del(patch, c->arguments[1]))
        call_fail(c, 404, "\"%.200s\" is not overridden", c->arguments[1]);
    else
        write_edit(w, DOCUMENT_OVERRIDE, d->name, json_object_size(patch) ? patch : NULL, NULL);
    json_decref(patch);
}

void handle_delete_overrides(struct call *c)
{
    write_run(c, plan_delete_all, NULL);
}

void handle_delete_override(struct call *c)
{
    write_run(c, plan_delete_one, NULL);
}
