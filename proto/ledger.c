/*
 * One slot a resource, found by gateway, type and name. `sent` is what was handed out last, `now` what has been put
 * since; slots in which both may differ stand in `touched`. A slot with neither does not outlive a collection.
 */
#include "proto/ledger.h"

#include "base/map.h"
#include "base/pointers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    struct resource *sent, *now;
    bool touched;
    enum xds_type type;
    const char *gateway, *name; /* in key */
    size_t key_len;
    char key[]; /* GATEWAY NUL TYPE NAME NUL */
};

struct ledger {
    struct map slots;
    struct pointers touched; /* slots */
};

enum { KEY_MAX = 1024 };

/* Into buf, or into memory of its own when it is longer. */
struct key {
    char buf[KEY_MAX];
    char *bytes;
    size_t len, name_offset;
};

static void key_init(struct key *k, const char *gateway, enum xds_type type, const char *name)
{
    size_t gateway_len = strlen(gateway), name_len = strlen(name);

    k->name_offset = gateway_len + 2;
    k->len = k->name_offset + name_len;
    k->bytes = k->len <= sizeof(k->buf) ? k->buf : mem_alloc(k->len);
    memcpy(k->bytes, gateway, gateway_len + 1);
    k->bytes[gateway_len + 1] = (char)type;
    memcpy(k->bytes + k->name_offset, name, name_len);
}

static void key_clear(struct key *k)
{
    if (k->bytes != k->buf)
        mem_free(k->bytes);
}

struct ledger *ledger_new(void)
{
    return mem_new(struct ledger);
}

void ledger_free(struct ledger *l)
{
    struct map_entry *entry;

    if (!l)
        return;
    for (size_t i = 0; map_next(&l->slots, &i, &entry);) {
        struct slot *s = entry->value;

        resource_unref(s->sent);
        resource_unref(s->now);
        mem_free(s);
    }
    map_clear(&l->slots);
    pointers_clear(&l->touched);
    mem_free(l);
}

static struct slot *new_slot(struct ledger *l, const struct key *k, enum xds_type type)
{
    struct slot *s = mem_alloc(sizeof(*s) + k->len + 1);

    memcpy(s->key, k->bytes, k->len);
    s->key_len = k->len;
    s->type = type;
    s->gateway = s->key;
    s->name = s->key + k->name_offset;
    map_put(&l->slots, s->key, s->key_len, s);
    return s;
}

static void touch(struct ledger *l, struct slot *s)
{
    if (s->touched)
        return;
    s->touched = true;
    pointers_add(&l->touched, s);
}

static bool same(const struct resource *a, const struct resource *b)
{
    return a->version == b->version && a->wire_len == b->wire_len && !memcmp(a->wire, b->wire, a->wire_len);
}

void ledger_put(struct ledger *l, const char *gateway, struct resource *r)
{
    struct key k;
    struct slot *s;

    key_init(&k, gateway, r->type, r->name);
    s = map_get(&l->slots, k.bytes, k.len);
    if (!s)
        s = new_slot(l, &k, r->type);
    key_clear(&k);
    if (s->now && same(s->now, r)) {
        resource_unref(r);
        return;
    }
    resource_unref(s->now);
    s->now = r;
    touch(l, s);
}

static struct slot *find(const struct ledger *l, const char *gateway, enum xds_type type, const char *name)
{
    struct key k;
    struct slot *s;

    key_init(&k, gateway, type, name);
    s = map_get(&l->slots, k.bytes, k.len);
    key_clear(&k);
    return s;
}

void ledger_drop(struct ledger *l, const char *gateway, enum xds_type type, const char *name)
{
    struct slot *s = find(l, gateway, type, name);

    if (!s || !s->now)
        return;
    resource_unref(take_ptr(s->now));
    touch(l, s);
}

bool ledger_has(const struct ledger *l, const char *gateway, enum xds_type type, const char *name)
{
    const struct slot *s = find(l, gateway, type, name);

    return s && s->now;
}

/* Whether the slot differs from what was handed out; then ret holds the change. */
static bool settle(struct slot *s, struct arena *arena, struct xds_change *ret)
{
    s->touched = false;
    if (!s->sent && !s->now)
        return false;
    if (s->sent && s->now && same(s->sent, s->now)) {
        resource_unref(s->now);
        s->now = resource_ref(s->sent);
        return false;
    }
    ret->gateway = arena_strdup(arena, s->gateway);
    ret->name = arena_strdup(arena, s->name);
    ret->type = s->type;
    ret->after = s->now ? resource_ref(s->now) : NULL;
    resource_unref(s->sent);
    s->sent = s->now ? resource_ref(s->now) : NULL;
    return true;
}

static int compare_changes(const void *a, const void *b)
{
    const struct xds_change *x = a, *y = b;
    int r = strcmp(x->gateway, y->gateway);

    if (r == 0)
        r = (x->type > y->type) - (x->type < y->type);
    return r ? r : strcmp(x->name, y->name);
}

struct xds_change *ledger_collect(struct ledger *l, struct arena *arena, size_t *ret_n)
{
    struct xds_change *changes = arena_array(arena, struct xds_change, l->touched.count);
    size_t n = 0;

    for (size_t i = 0; i < l->touched.count; i++) {
        struct slot *s = l->touched.items[i];

        n += settle(s, arena, &changes[n]);
        if (!s->sent && !s->now) {
            map_remove(&l->slots, s->key, s->key_len);
            mem_free(s);
        }
    }
    l->touched.count = 0;
    qsort(changes, n, sizeof(*changes), compare_changes);
    *ret_n = n;
    return changes;
}
