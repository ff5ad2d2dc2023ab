/*
 * What is new, between two commits. Facts are packed once: the bytes are hashed to tell whether anything is new (for
 * most services of a complete fetch nothing is, and it ends there), and are what goes to the disk. Raw facts are not
 * kept in memory beyond the commit.
 */
#include "store/state.h"

#include "store/overlay.h"
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

void pending_free(struct pending *p)
{
    if (!p)
        return;
    declaration_unref(p->declaration);
    agent_word_unref(p->word);
    bytes_clear(&p->effective);
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
    bytes_clear(&r->effective);
    bytes_clear(&r->addresses_packed);
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

void record_again(struct store *s, struct record *r)
{
    r->again = true;
    record_changed(s, r);
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

struct declaration *gather_declare(struct store *s, const char *path, const struct agent_word *word,
                                   struct bytes *ret_effective)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct overlay overlay;

    overlay_of_word(path, word, s->documents, arena, &overlay);
    if (overlay.edited) {
        struct buf b;

        buf_init(&b, 0);
        pack_resources(&b, &(struct facts){.resources = overlay.resources, .n_resources = overlay.n});
        *ret_effective = bytes_copy(&b);
        mem_wipe(b.data, b.len);
        buf_clear(&b);
    }
    return declaration_new(path, overlay.resources, overlay.n, s->options.check, s->options.check_arg);
}

static bool has_made(const struct store *s, const char *path)
{
    return overlay_has_made(path, s->documents);
}

/* What people made goes on without the agent's word. */
static void gone(struct store *s, struct record *r)
{
    struct pending *p;

    pending_free(r->pending);
    r->pending = p = mem_new(struct pending);
    record_changed(s, r);
    if (!has_made(s, r->path)) {
        p->gone = true;
        return;
    }
    p->declaration = gather_declare(s, r->path, NULL, &p->effective);
    buf_reset(&s->scratch);
    pack_addresses(&s->scratch, &(struct facts){0});
    p->addresses = bytes_copy(&s->scratch);
    p->addresses_hash = hash_bytes128(s->scratch.data, s->scratch.len);
    buf_reset(&s->scratch);
    pack_resources(&s->scratch, &(struct facts){0});
    p->resources_hash = hash_bytes128(s->scratch.data, s->scratch.len);
}

/* ---- what people made ---- */

static struct agent_word *newest_word(const struct record *r)
{
    if (r->pending && (r->pending->declaration || r->pending->gone))
        return r->pending->word;
    return r->service ? r->service->word : NULL;
}

const struct agent_word *gather_newest_word(const struct store *s, const char *path)
{
    const struct record *r = map_gets(&s->records, path);

    return r ? newest_word(r) : NULL;
}

static void edited(struct store *s, const char *path)
{
    struct record *r = map_gets(&s->records, path);
    struct pending *p;
    struct agent_word *word;

    if (!r && !has_made(s, path))
        return; /* inert */
    if (!r)
        r = record_new(s, path, s->next_service_id++);
    word = agent_word_ref(newest_word(r));
    if (!word) {
        gone(s, r);
    } else {
        if (!r->pending) {
            r->pending = mem_new(struct pending);
            r->pending->resources_hash = r->resources;
            r->pending->addresses_hash = r->addresses;
        }
        p = r->pending;
        declaration_unref(p->declaration);
        bytes_clear(&p->effective);
        agent_word_unref(p->word);
        p->word = word;
        p->declaration = gather_declare(s, path, word, &p->effective);
        record_changed(s, r);
    }
    r->pending->edited = true;
    r->seen = s->sync;
}

static void gateway_edited(struct store *s, const char *name)
{
    struct port_space *space = port_space_get(s, name, true);
    struct map_entry *e;

    if (space)
        port_space_configure(s, space);
    for (size_t i = 0; map_next(&s->records, &i, &e);) {
        struct record *r = e->value;

        for (size_t k = 0; r->service && k < r->service->n_exposures; k++) {
            const char *gateway = r->service->exposures[k].gateway;

            if (gateway && strcmp(gateway, name) == 0)
                record_again(s, r);
        }
    }
}

static void drain_edited(struct store *s, const char *name)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    const char *rid, *bar = strrchr(name, '|');
    const char *exposure = bar ? arena_strndup(arena, name, (size_t)(bar - name)) : name;
    const char *path = exposure_path(exposure, arena, &rid);
    struct record *r = path ? map_gets(&s->records, path) : NULL;

    if (!r || !r->service)
        return;
    if (!r->pending) {
        r->pending = mem_new(struct pending);
        r->pending->resources_hash = r->resources;
        r->pending->addresses_hash = r->addresses;
    }
    record_changed(s, r);
}

static void exposure_edited(struct store *s, const char *name)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    const char *rid, *path = exposure_path(name, arena, &rid);

    if (path)
        edited(s, path);
}

/* Who waits for its first word goes on. */
static void secret_came(struct store *s, struct secret_entry *entry)
{
    struct map_entry *e;

    for (size_t i = 0; !entry->secret && map_next(&entry->records, &i, &e);)
        if (((struct record *)e->value)->waiting)
            record_again(s, e->value);
    secret_touched(s, entry);
}

void gather_documents(struct store *s, const struct document_change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = changes[i].name;

        switch (changes[i].kind) {
        case DOCUMENT_EXPOSURE:
        case DOCUMENT_OVERRIDE:
            exposure_edited(s, name);
            break;
        case DOCUMENT_GATEWAY:
            gateway_edited(s, name);
            break;
        case DOCUMENT_CERTIFICATE:
            secret_came(s, secret_entry_get(s, name));
            s->wanted_stale = true;
            break;
        case DOCUMENT_DRAIN:
            drain_edited(s, name);
            break;
        case DOCUMENT_GRANT:
            index_all_dirty(s);
            break;
        case DOCUMENT_TOKEN:
        case DOCUMENT_KINDS:
            break;
        }
    }
}

void gather_orphaned_documents(struct store *s)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();

    for (struct document *d = documents_after(s->documents, DOCUMENT_EXPOSURE, ""); d;
         d = documents_after(s->documents, DOCUMENT_EXPOSURE, d->name)) {
        const char *rid, *path = exposure_path(d->name, arena, &rid);

        if (path && !map_gets(&s->records, path))
            edited(s, path);
    }
    for (struct document *d = documents_after(s->documents, DOCUMENT_CERTIFICATE, ""); d;
         d = documents_after(s->documents, DOCUMENT_CERTIFICATE, d->name))
        secret_touched(s, secret_entry_get(s, d->name));
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
    if (p && !p->gone && hash128_equal(p->resources_hash, resources) && hash128_equal(p->addresses_hash, addresses))
        return;
    pending_free(p);
    r->pending = NULL;
    same_resources = r->service && hash128_equal(r->resources, resources);
    same_addresses = r->service && hash128_equal(r->addresses, addresses);
    /* What is known but not on the disk any more is put as if it were new. */
    if (r->unsaved)
        same_resources = same_addresses = false;
    if (same_resources && same_addresses)
        return;
    r->pending = p = mem_new(struct pending);
    p->resources_hash = resources;
    p->addresses_hash = addresses;
    if (!same_resources) {
        p->word = agent_word_new(s->scratch.data, s->scratch.len);
        p->declaration =
            overlay_concerns(f->path, s->documents)
                ? gather_declare(s, f->path, p->word, &p->effective)
                : declaration_new(f->path, f->resources, f->n_resources, s->options.check, s->options.check_arg);
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

    if (r && (newest_word(r) || !has_made(s, path)))
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

        bool not_brought = r->seen != s->sync && (newest_word(r) || !has_made(s, r->path));
        bool lost = r->unsaved && !r->pending;

        /* No fetch brings what people made. */
        if (not_brought || (lost && !newest_word(r)))
            gone(s, r);
        else if (lost)
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
    struct secret *next;

    /* Not wanted: one of this name was made over the API. */
    if (documents_find(s->documents, DOCUMENT_CERTIFICATE, path)) {
        secret_touched(s, entry);
        return;
    }
    next = secret_new(path, csum, values, missing, entry->next ? entry->next : entry->secret);

    secret_unref(entry->next);
    entry->next = next;
    secret_came(s, entry);
}
