/*
 * What is new, between two commits. Facts are packed once: the bytes are hashed to tell whether anything is new (for
 * most services of a complete fetch nothing is, and it ends there), and are what goes to the disk. Raw facts are not
 * kept in memory beyond the commit.
 */
#include "store/state.h"

#include "store/pack.h"

#include <assert.h>
#include <string.h>

void bytes_clear(struct bytes *b)
{
    mem_free_secret(b->data, b->len);
    *b = (struct bytes){0};
}

static struct bytes bytes_copy(const struct buf *b)
{
    return (struct bytes){mem_dup(b->data, b->len), b->len};
}

void pointers_add(struct pointers *p, void *item)
{
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->items = mem_realloc(p->items, p->cap, sizeof(*p->items));
    }
    p->items[p->count++] = item;
}

void pointers_clear(struct pointers *p)
{
    mem_free(p->items);
    *p = (struct pointers){0};
}

void pending_free(struct pending *p)
{
    if (!p)
        return;
    declaration_unref(p->declaration);
    bytes_clear(&p->resources);
    bytes_clear(&p->addresses);
    mem_free(p);
}

struct record *record_new(struct store *s, const char *path, int64_t id)
{
    struct record *r = mem_new(struct record);

    r->path = mem_strdup(path);
    r->id = id;
    map_puts(&s->records, r->path, r);
    return r;
}

void record_free(struct record *r)
{
    if (!r)
        return;
    pending_free(r->pending);
    service_unref(r->service);
    declaration_unref(r->form.declaration);
    for (size_t i = 0; i < r->n_good; i++)
        declaration_unref(r->good[i].declaration);
    mem_free(r->good);
    bytes_clear(&r->retained);
    arena_free(r->loaded_arena);
    mem_free(r->path);
    mem_free(r);
}

void record_changed(struct store *s, struct record *r)
{
    if (r->changed)
        return;
    r->changed = true;
    pointers_add(&s->changed, r);
}

struct secret_entry *secret_entry_get(struct store *s, const char *path)
{
    struct secret_entry *entry = map_gets(&s->secrets, path);

    if (entry)
        return entry;
    entry = mem_new(struct secret_entry);
    entry->path = mem_strdup(path);
    map_puts(&s->secrets, entry->path, entry);
    return entry;
}

void secret_touched(struct store *s, struct secret_entry *entry)
{
    if (entry->touched)
        return;
    entry->touched = true;
    pointers_add(&s->touched, entry);
}

static bool same_hash(struct hash128 a, struct hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

static void gone(struct store *s, struct record *r)
{
    pending_free(r->pending);
    r->pending = mem_new(struct pending);
    r->pending->gone = true;
    record_changed(s, r);
}

/* What differs from the last commit becomes pending; what was pending before is forgotten. */
static void put(struct store *s, struct record *r, const struct facts *f)
{
    struct hash128 resources, addresses;
    bool same_resources, same_addresses;
    struct pending *p;

    buf_reset(&s->scratch);
    buf_reset(&s->scratch2);
    pack_resources(&s->scratch, f);
    pack_addresses(&s->scratch2, f);
    resources = hash_bytes128(s->scratch.data, s->scratch.len);
    addresses = hash_bytes128(s->scratch2.data, s->scratch2.len);
    p = r->pending;
    if (p && !p->gone && same_hash(p->resources_hash, resources) && same_hash(p->addresses_hash, addresses))
        return;
    pending_free(p);
    r->pending = NULL;
    same_resources = r->service && same_hash(r->resources, resources);
    same_addresses = r->service && same_hash(r->addresses, addresses);
    /* What is known but not on the disk any more is put as if it were new. */
    if (r->unsaved)
        same_resources = same_addresses = false;
    if (same_resources && same_addresses)
        return;
    r->pending = p = mem_new(struct pending);
    p->resources_hash = resources;
    p->addresses_hash = addresses;
    if (!same_resources) {
        p->declaration =
            declaration_new(f->path, f->resources, f->n_resources, s->options.check, s->options.check_arg);
        p->resources = bytes_copy(&s->scratch);
    }
    if (!same_addresses || p->declaration)
        p->addresses = bytes_copy(&s->scratch2);
    record_changed(s, r);
}

void store_put_facts(struct store *s, const struct facts *f)
{
    struct record *r = map_gets(&s->records, f->path);

    if (f->n_resources == 0) {
        /* Addresses alone are nobody's. */
        store_remove_service(s, f->path);
        return;
    }
    if (!r)
        r = record_new(s, f->path, s->next_service_id++);
    r->seen = s->sync;
    put(s, r, f);
}

void store_remove_service(struct store *s, const char *path)
{
    struct record *r = map_gets(&s->records, path);

    if (r)
        gone(s, r);
}

void store_sync_begin(struct store *s)
{
    s->sync++;
    s->syncing = true;
}

void store_sync_end(struct store *s)
{
    struct map_entry *e;

    assert(s->syncing);
    s->syncing = false;
    s->whole = true;
    for (size_t i = 0; map_next(&s->records, &i, &e);) {
        struct record *r = e->value;

        if (r->seen != s->sync)
            gone(s, r);
        else if (r->unsaved && !r->pending)
            s->whole = false; /* put before its row was lost */
    }
    s->fetch_wanted = !s->whole;
    s->complete = true;
    s->stale = false;
}

void store_set_stale(struct store *s, bool stale)
{
    s->stale = stale;
}

void store_put_secret(struct store *s, const char *path, const char *csum, const struct secret_values *values,
                      const char *missing)
{
    struct secret_entry *entry = secret_entry_get(s, path);
    struct secret *next = secret_new(path, csum, values, missing, entry->next ? entry->next : entry->secret);

    secret_unref(entry->next);
    entry->next = next;
    secret_touched(s, entry);
}
