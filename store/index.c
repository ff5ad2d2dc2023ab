/*
 * Who is on which listener, and who refers to which secret: so that a change is followed to what depends on it, and
 * to nothing else.
 *
 * A record is in the index as its present service says. Keys of the maps are texts of that service's declarations: it
 * must be taken out before the service is replaced by one of another declaration. A service that differs in its
 * endpoints only may take its place without.
 */
#include "store/state.h"

static struct listener *listener_get(struct store *s, const struct service_exposure *sx)
{
    _cleanup_(mem_free_p) char *key = exposure_listener_key(sx);
    struct listener *l = map_gets(&s->listeners, key);

    if (l)
        return l;
    l = mem_new(struct listener);
    l->key = take_ptr(key);
    l->gateway = port_space_get(s, sx->gateway, false)->name;
    map_puts(&s->listeners, l->key, l);
    return l;
}

static void listener_dirty(struct store *s, struct listener *l)
{
    if (l->dirty)
        return;
    l->dirty = true;
    pointers_add(&s->dirty, l);
}

void index_all_dirty(struct store *s)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&s->listeners, &i, &e);)
        listener_dirty(s, e->value);
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    map_clear(&l->claims);
    mem_free(l->key);
    mem_free(l);
}

void secret_entry_free(struct secret_entry *e)
{
    if (!e)
        return;
    map_clear(&e->records);
    secret_unref(e->secret);
    secret_unref(e->next);
    mem_free(e->path);
    mem_free(e);
}

/* ---- secrets ---- */

typedef void (*secret_user)(struct store *s, struct record *r, const char *path);

static void add_secret(struct store *s, struct record *r, const char *path)
{
    struct secret_entry *entry = secret_entry_get(s, path);

    if (entry->records.count == 0)
        secret_touched(s, entry);
    map_puts(&entry->records, r->path, r);
}

static void remove_secret(struct store *s, struct record *r, const char *path)
{
    struct secret_entry *entry = map_gets(&s->secrets, path);

    /* Two certificates of a service may name the same: the first took it out. */
    if (!entry)
        return;
    map_removes(&entry->records, r->path);
    if (entry->records.count == 0)
        secret_touched(s, entry);
}

static void each_secret_of(struct store *s, struct record *r, const struct exposure *x, secret_user f)
{
    const struct certificate *c;

    for (size_t i = 0; (c = exposure_certificate(x, i)) != NULL; i++) {
        if (c->secret)
            f(s, r, c->secret);
        if (c->validation_secret)
            f(s, r, c->validation_secret);
    }
}

/* Those of the form in effect, and those that a declared one waits for. */
static void each_secret(struct store *s, struct record *r, const struct service_exposure *sx, secret_user f)
{
    each_secret_of(s, r, sx->x, f);
    if (sx->kept && sx->declared->valid)
        each_secret_of(s, r, sx->declared, f);
}

void index_secret_changed(struct store *s, struct secret_entry *entry)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&entry->records, &i, &e);) {
        const struct service *service = ((struct record *)e->value)->service;

        for (size_t j = 0; j < service->n_exposures; j++) {
            const struct service_exposure *sx = &service->exposures[j];

            if (service_exposure_listens(sx) && exposure_refers_to_secret(sx->x, entry->path))
                listener_dirty(s, listener_get(s, sx));
        }
    }
}

/* ---- records ---- */

void index_add(struct store *s, struct record *r)
{
    const struct service *service = r->service;

    for (size_t i = 0; i < service->n_exposures; i++) {
        const struct service_exposure *sx = &service->exposures[i];

        if (!sx->x->valid)
            continue;
        each_secret(s, r, sx, add_secret);
        if (service_exposure_listens(sx)) {
            struct listener *l = listener_get(s, sx);

            map_puts(&l->claims, sx->x->name, r);
            listener_dirty(s, l);
        }
    }
}

/* What exposures_begin() declared and found in use. */
static void release_port(struct store *s, const struct service_exposure *sx)
{
    struct port_space *space = port_space_get(s, sx->gateway, false);
    struct port_row *row = ports_find(s, space, sx->x->name);

    if (sx->x->listener_port)
        ports_undeclare(s, space, sx->x->listener_port);
    if (row)
        ports_exposure_went(s, row);
}

void index_remove(struct store *s, struct record *r)
{
    const struct service *service = r->service;

    for (size_t i = 0; i < service->n_exposures; i++) {
        const struct service_exposure *sx = &service->exposures[i];

        if (!sx->x->valid)
            continue;
        each_secret(s, r, sx, remove_secret);
        if (sx->gateway)
            release_port(s, sx);
        if (service_exposure_listens(sx)) {
            struct listener *l = listener_get(s, sx);

            map_removes(&l->claims, sx->x->name);
            listener_dirty(s, l);
        }
    }
}
