/* Edits for tests. */
#include "tests/unit/edit_world.h"

#include "base/buf.h"
#include "base/json.h"
#include "store/overlay.h"
#include "store/pack.h"
#include "tests/unit/quoted.h"
#include "tests/unit/test.h"

#include <inttypes.h>
#include <string.h>

enum { REQUESTS = 64, EDITS = 2000 };

struct edit_batch {
    struct arena *arena;
    struct edit_request requests[REQUESTS];
    struct edit *edits[REQUESTS];
    size_t n;
    struct world *world;
    unsigned published;
};

struct edit_batch *edit_batch_new(void)
{
    struct edit_batch *b = mem_new(struct edit_batch);

    b->arena = arena_new();
    return b;
}

void edit_batch_free(struct edit_batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n; i++) {
        view_unref(b->requests[i].view);
        mem_free(b->edits[i]);
    }
    arena_free(b->arena);
    mem_free(b);
}

struct edit_request *edit_batch_request(struct edit_batch *b, struct world *w, struct view *v)
{
    struct edit_request *r = &b->requests[b->n];

    CHECK(b->n < REQUESTS);
    b->edits[b->n] = mem_array(struct edit, EDITS);
    *r = (struct edit_request){.view = v ? view_ref(v) : store_view(w->store),
                               .edits = b->edits[b->n],
                               .author = "alice",
                               .cause = "PUT /a/test",
                               .request_id = "r1",
                               .result = 1};
    b->n++;
    return r;
}

void edit_batch_add(struct edit_batch *b, enum document_kind kind, const char *name, const char *body)
{
    struct edit_request *r = &b->requests[b->n - 1];
    _cleanup_(mem_free_p) char *canonical = body ? quoted_canonical(body) : NULL;

    CHECK(r->n_edits < EDITS);
    b->edits[b->n - 1][r->n_edits++] = (struct edit){.kind = kind,
                                                     .name = arena_strdup(b->arena, name),
                                                     .body = canonical ? arena_strdup(b->arena, canonical) : NULL};
}

static void on_publish(void *arg, struct view_delta *delta)
{
    struct edit_batch *b = arg;
    struct view *v = store_view(b->world->store);

    b->published++;
    CHECK(delta->after == v);
    CHECK(view_revision(v, v->revision) != NULL);
    world_check_view(b->world, v);
    view_unref(v);
    view_delta_free(delta);
}

unsigned edit_batch_run(struct edit_batch *b, struct world *w)
{
    struct edit_request *requests[REQUESTS];

    for (size_t i = 0; i < b->n; i++)
        requests[i] = &b->requests[i];
    b->world = w;
    b->published = 0;
    store_edit(w->store, requests, b->n, on_publish, b);
    return b->published;
}

int world_edit(struct world *w, enum document_kind kind, const char *name, const char *body)
{
    _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
    struct edit_request *r = edit_batch_request(b, w, NULL);

    edit_batch_add(b, kind, name, body);
    edit_batch_run(b, w);
    CHECK(r->result <= 0);
    return r->result;
}

void world_edited(struct world *w, enum document_kind kind, const char *name, const char *body)
{
    int r = world_edit(w, kind, name, body);

    if (r < 0)
        test_fail(__FILE__, __LINE__, "the edit of %s is not taken: %d", name, r);
}

/* ---- what must hold ---- */

struct checking {
    struct world *world;
    const struct view *view;
};

static void check_service(struct world *w, const struct view *v, const struct service *s)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct facts f = {0};
    struct overlay o;
    struct declaration *d;
    const struct exposure *now, *then;
    size_t n, m;

    if (s->word)
        CHECK_INT(unpack_resources(s->word->bytes, s->word->len, arena, &f), 0);
    overlay_make(s->path, f.resources, f.n_resources, v->documents, arena, &o);
    CHECK(o.n > 0);
    d = declaration_new(s->path, o.resources, o.n, w->options.check, w->options.check_arg);
    now = declaration_exposures(s->declaration, &n);
    then = declaration_exposures(d, &m);
    CHECK_INT(n, m);
    CHECK_INT(s->n_exposures, n);
    for (size_t i = 0; i < n; i++) {
        CHECK_STR(now[i].name, then[i].name);
        CHECK(i == 0 || strcmp(now[i].name, now[i - 1].name) != 0);
        CHECK_INT(now[i].valid, then[i].valid);
        CHECK_INT(now[i].origin, then[i].origin);
        CHECK_INT(now[i].disabled, then[i].disabled);
        CHECK_INT(now[i].port, then[i].port);
        CHECK_INT(now[i].listener_port, then[i].listener_port);
        CHECK_INT(now[i].lb_policy, then[i].lb_policy);
        CHECK_INT(now[i].n_vhosts, then[i].n_vhosts);
        CHECK_INT(now[i].n_problems, then[i].n_problems);
        CHECK(s->exposures[i].declared == &now[i]);
        CHECK_INT(s->exposures[i].kept, s->exposures[i].x != &now[i]);
    }
    declaration_unref(d);
}

static int check_one(void *value, void *arg)
{
    const struct checking *c = arg;

    check_service(c->world, c->view, value);
    return 0;
}

/* Every exposure that listens is in its listener's plan, and nobody else is. */
static int count_claims(void *value, void *arg)
{
    *(size_t *)arg += ((const struct listener_plan *)value)->n_verdicts;
    return 0;
}

void world_check_view(struct world *w, const struct view *v)
{
    struct checking c = {w, v};
    size_t verdicts = 0, listening = 0;

    (void)pmap_each(v->services, check_one, &c); /* never stops */
    for (const struct service *s = pmap_after(v->services, &view_services, ""); s;
         s = pmap_after(v->services, &view_services, s->path))
        for (size_t i = 0; i < s->n_exposures; i++) {
            const struct service_exposure *sx = &s->exposures[i];
            _cleanup_(mem_free_p) char *key = NULL;
            char name[64];

            if (!service_exposure_listens(sx))
                continue;
            listening++;
            listener_name(&sx->x->listener_addr, sx->listener_port, sx->x->protocol, name);
            key = mem_printf("%s|%s", sx->gateway, name);
            CHECK(view_listener(v, key) != NULL);
            CHECK(listener_plan_verdict(view_listener(v, key), sx->x->name) != NULL);
            CHECK(view_gateway(v, sx->gateway) != NULL);
        }
    (void)pmap_each(v->listeners, count_claims, &verdicts); /* never stops */
    CHECK_INT(verdicts, listening);
    for (const struct document *d = view_document_after(v, DOCUMENT_EXPOSURE, ""); d;
         d = view_document_after(v, DOCUMENT_EXPOSURE, d->name)) {
        _cleanup_(arena_free_p) struct arena *arena = arena_new();
        const char *rid, *path = exposure_path(d->name, arena, &rid);

        CHECK(path && view_service(v, path) != NULL);
        CHECK(declaration_find(view_service(v, path)->declaration, rid) != NULL);
    }
}

/* ---- as texts ---- */

static int dump_document(void *value, void *arg)
{
    const struct document *d = value;

    buf_printf(arg, "document %s by %s in %" PRIu64 " at %" PRId64 "-%" PRId64 ": %s\n", d->key, d->author,
               d->revision, d->created, d->updated, d->body);
    return 0;
}

static int dump_revision(void *value, void *arg)
{
    const struct revision *r = value;

    buf_printf(arg, "revision %" PRIu64 " at %" PRId64 " %s by %s of %s:", r->number, r->time, r->cause,
               r->author ? r->author : "-", r->request_id ? r->request_id : "-");
    for (size_t i = 0; i < r->n_names; i++)
        buf_printf(arg, " [%s]", r->names[i]);
    buf_printf(arg, " %zu\n", r->n_changed);
    for (size_t i = 0; i < r->n_documents; i++) {
        const struct document_change *c = &r->documents[i];

        buf_printf(arg, "  %s/%s: %s -> %s\n", document_kind_name(c->kind), c->name,
                   c->before ? c->before->body : "-", c->after ? c->after->body : "-");
    }
    return 0;
}

char *world_dump_edits(struct world *w)
{
    struct view *v = store_view(w->store);
    struct buf b;

    buf_init(&b, 0);
    (void)pmap_each(v->documents, dump_document, &b); /* never stops */
    (void)pmap_each(v->revisions, dump_revision, &b); /* never stops */
    view_unref(v);
    return buf_take(&b, NULL);
}

char *world_dump_whole(struct world *w)
{
    _cleanup_(mem_free_p) char *all = world_dump_all(w), *edits = world_dump_edits(w);

    return mem_printf("%s%s", all, edits);
}

const struct service_exposure *world_exposure(struct world *w, const char *path, const char *rid)
{
    const struct service *s = world_service(w, path);

    for (size_t i = 0; s && i < s->n_exposures; i++)
        if (strcmp(s->exposures[i].declared->rid, rid) == 0)
            return &s->exposures[i];
    test_fail(__FILE__, __LINE__, "there is no %s.%s", path, rid);
}

const struct verdict *world_verdict(struct world *w, const char *listener, const char *exposure)
{
    struct view *v = store_view(w->store);
    const struct listener_plan *p = view_listener(v, listener);

    view_unref(v); /* the store's own reference keeps it until the next commit */
    return p ? listener_plan_verdict(p, exposure) : NULL;
}

char *verdict_problems(const struct verdict *v)
{
    struct buf b;

    buf_init(&b, 0);
    for (size_t i = 0; v && i < v->n_problems; i++)
        buf_printf(&b, "%s %s: %s\n", v->problems[i].code, v->problems[i].field, v->problems[i].text);
    return buf_take(&b, NULL);
}
