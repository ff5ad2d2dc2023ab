/*
 * One entry a gateway and name, with the number of resources that refer to it, what it is made of, and the path of
 * the secret it stands on. Entries that have to be looked at in the next flush stand in `dirty`; those of one secret
 * are in a list, found by its path, so that a rotation costs as much as it has users.
 */
#include "proto/sds_refs.h"

#include "base/map.h"
#include "base/pointers.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

struct watched;

struct entry {
    size_t refs;
    const struct certificate *certificate; /* set until the flush, when a new reference brought one */
    bool remake;                           /* its secret has changed */
    struct err *bad;                       /* why its newest form can't be made; NULL: it was */
    bool dirty;
    bool trust;
    char *secret;   /* path; NULL: files, or inline */
    char *key_file; /* beside a chain from a secret; NULL */
    struct watched *watched;
    struct entry *next, *prev; /* in watched */
    const char *gateway, *name;
    size_t key_len;
    char key[]; /* GATEWAY NUL NAME NUL */
};

/* The entries of one secret. */
struct watched {
    struct entry *first;
    char path[];
};

struct sds_refs {
    struct ledger *ledger;
    struct map entries, watched;
    struct pointers dirty; /* entries */
};

enum { KEY_MAX = 1024 };

struct sds_refs *sds_refs_new(struct ledger *l)
{
    struct sds_refs *s = mem_new(struct sds_refs);

    s->ledger = l;
    return s;
}

static void watch(struct sds_refs *s, struct entry *entry)
{
    struct watched *w = map_gets(&s->watched, entry->secret);

    if (!w) {
        size_t n = strlen(entry->secret) + 1;

        w = mem_alloc(sizeof(*w) + n);
        memcpy(w->path, entry->secret, n);
        map_puts(&s->watched, w->path, w);
    }
    entry->watched = w;
    entry->prev = NULL;
    entry->next = w->first;
    if (w->first)
        w->first->prev = entry;
    w->first = entry;
}

static void unwatch(struct sds_refs *s, struct entry *entry)
{
    struct watched *w = entry->watched;

    if (!w)
        return;
    if (entry->prev)
        entry->prev->next = entry->next;
    else
        w->first = entry->next;
    if (entry->next)
        entry->next->prev = entry->prev;
    entry->watched = NULL;
    if (!w->first) {
        map_removes(&s->watched, w->path);
        mem_free(w);
    }
}

static void entry_free(struct sds_refs *s, struct entry *entry)
{
    unwatch(s, entry);
    mem_free(entry->secret);
    mem_free(entry->key_file);
    mem_free(entry->bad);
    mem_free(entry);
}

void sds_refs_free(struct sds_refs *s)
{
    struct map_entry *e;

    if (!s)
        return;
    for (size_t i = 0; map_next(&s->entries, &i, &e);)
        entry_free(s, e->value);
    map_clear(&s->entries);
    map_clear(&s->watched);
    pointers_clear(&s->dirty);
    mem_free(s);
}

static size_t make_key(char *buf, const char *gateway, const char *name)
{
    size_t gateway_len = strlen(gateway), name_len = strlen(name);

    assert(gateway_len + 1 + name_len < KEY_MAX);
    memcpy(buf, gateway, gateway_len + 1);
    memcpy(buf + gateway_len + 1, name, name_len + 1);
    return gateway_len + 1 + name_len;
}

static void touch(struct sds_refs *s, struct entry *entry)
{
    if (entry->dirty)
        return;
    entry->dirty = true;
    pointers_add(&s->dirty, entry);
}

static struct entry *new_entry(struct sds_refs *s, const char *key, size_t key_len, const char *gateway)
{
    struct entry *entry = mem_alloc(sizeof(*entry) + key_len + 1);

    memcpy(entry->key, key, key_len);
    entry->key_len = key_len;
    entry->gateway = entry->key;
    entry->name = entry->key + strlen(gateway) + 1;
    map_put(&s->entries, entry->key, key_len, entry);
    return entry;
}

void sds_refs_add(struct sds_refs *s, const char *gateway, const struct sds_ref *ref)
{
    char key[KEY_MAX];
    size_t key_len = make_key(key, gateway, ref->name);
    struct entry *entry = map_get(&s->entries, key, key_len);
    const char *secret = sds_ref_secret(ref);

    if (!entry)
        entry = new_entry(s, key, key_len, gateway);
    entry->refs++;
    if (!text_equal(entry->secret, secret)) {
        unwatch(s, entry);
        mem_free(entry->secret);
        entry->secret = mem_strdup(secret);
        if (secret)
            watch(s, entry);
        entry->remake = true;
    }
    /* A secret of the store is the same whoever refers to it, and known already. */
    if (!secret || ref->certificate->key_file || !ledger_has(s->ledger, gateway, XDS_SECRET, ref->name))
        entry->remake = true;
    entry->trust = ref->trust;
    entry->certificate = ref->certificate;
    mem_free(entry->key_file);
    entry->key_file = secret && !ref->trust ? mem_strdup(ref->certificate->key_file) : NULL;
    touch(s, entry);
}

void sds_refs_remove(struct sds_refs *s, const char *gateway, const char *name)
{
    char key[KEY_MAX];
    struct entry *entry = map_get(&s->entries, key, make_key(key, gateway, name));

    assert(entry && entry->refs > 0);
    entry->refs--;
    touch(s, entry);
}

void sds_refs_changed(struct sds_refs *s, const char *path)
{
    const struct watched *w = map_gets(&s->watched, path);

    for (struct entry *entry = w ? w->first : NULL; entry; entry = entry->next) {
        entry->remake = true;
        touch(s, entry);
    }
}

static void make(struct sds_refs *s, struct entry *entry, const struct view *v)
{
    /* Without a reference's certificate at hand, what is known of it suffices: it stands on a secret. */
    struct certificate known = {.key_file = entry->key_file};
    struct sds_ref ref = {.name = entry->name, .certificate = entry->certificate, .trust = entry->trust};
    struct resource *r;
    struct err e = {0};

    mem_free(take_ptr(entry->bad));
    if (!ref.certificate) {
        *(entry->trust ? &known.validation_secret : &known.secret) = entry->secret;
        ref.certificate = &known;
    }
    if (sds_make(v, &ref, &r, &e) == 0)
        ledger_put(s->ledger, entry->gateway, r);
    else
        entry->bad = mem_dup(&e, sizeof(e));
}

void sds_refs_flush(struct sds_refs *s, const struct view *v, sds_tell tell, void *arg)
{
    for (size_t i = 0; i < s->dirty.count; i++) {
        struct entry *entry = s->dirty.items[i];

        if (!entry->refs) {
            tell(arg, entry->gateway, entry->name, NULL);
            ledger_drop(s->ledger, entry->gateway, XDS_SECRET, entry->name);
            map_remove(&s->entries, entry->key, entry->key_len);
            entry_free(s, entry);
            continue;
        }
        if (entry->remake)
            make(s, entry, v);
        tell(arg, entry->gateway, entry->name, entry->bad);
        entry->certificate = NULL;
        entry->remake = entry->dirty = false;
    }
    s->dirty.count = 0;
}
