/*
 * The memory of refusals: a map of proxies, each with a map of its refusals and a list by age, and with what it has.
 * A proxy that no stream belongs to and of which nothing is known is dropped at once.
 */
#include "server/xds_refusals.h"

#include "base/pointers.h"
#include "base/utf8.h"

#include <assert.h>
#include <string.h>

struct xds_refusing {
    struct xds_refusing *older, *newer; /* in the one list that it stands in */
    struct xds_refusals *owner;
    uint64_t proxy;
    char *gateway; /* the one that it had last */
    unsigned refs;
    uint64_t n_streams, newest_of[XDS_TYPES]; /* the newest stream of each type */
    struct map refusals;
    struct map parted; /* resources of which parts were refused, by type and name */
    struct pointers kept;
    uint64_t changes;
    struct xds_refusal *oldest, *newest;
};

/* A resource of which parts were refused. */
struct parted {
    size_t n; /* how many */
    size_t key_len;
    char key[];
};

/* A resource that is kept, of however many proxies. */
struct kept {
    uint64_t key[2]; /* version; type */
    size_t refs;
    struct resource *resource;
};

/* By when they came into it. */
struct list {
    struct xds_refusing *oldest, *newest;
};

struct xds_refusals {
    struct map proxies;
    struct list busy, idle; /* with a stream, and without */
    size_t n_idle;
    uint64_t changes;
    struct map kept; /* all that are, by version and type */
    size_t kept_bytes;
    uint64_t kept_changes;
};

struct xds_refusals *xds_refusals_new(void)
{
    return mem_new(struct xds_refusals);
}

/* ---- how many parts of which resource ---- */

/* The type as a letter, then the name. mem_free() it. */
static char *parted_key(uint64_t type, const char *name, size_t *ret_len)
{
    size_t n = strlen(name);
    char *key = mem_alloc(n + 2);

    key[0] = (char)('a' + type);
    memcpy(key + 1, name, n + 1);
    *ret_len = n + 1;
    return key;
}

static void count_part(struct xds_refusing *p, const struct xds_refusal *f)
{
    size_t len;
    _cleanup_(mem_free_p) char *key = parted_key(f->key[1] - XDS_TYPES, f->name, &len);
    struct parted *one = map_get(&p->parted, key, len);

    if (!one) {
        one = mem_alloc(sizeof(*one) + len);
        one->key_len = len;
        memcpy(one->key, key, len);
        map_put(&p->parted, one->key, len, one);
    }
    one->n++;
}

static void uncount_part(struct xds_refusing *p, const struct xds_refusal *f)
{
    size_t len;
    _cleanup_(mem_free_p) char *key = parted_key(f->key[1] - XDS_TYPES, f->name, &len);
    struct parted *one = map_get(&p->parted, key, len);

    assert(one && one->n > 0);
    if (--one->n > 0)
        return;
    map_remove(&p->parted, one->key, one->key_len);
    mem_free(one);
}

size_t xds_refusing_count_parts(const struct xds_refusing *p, enum xds_type type, const char *name)
{
    size_t len;
    _cleanup_(mem_free_p) char *key = p->parted.count ? parted_key(type, name, &len) : NULL;
    const struct parted *one = key ? map_get(&p->parted, key, len) : NULL;

    return one ? one->n : 0;
}

/* ---- refusals ---- */

static void changed(struct xds_refusing *p)
{
    p->changes = ++p->owner->changes;
}

static void drop_refusal(struct xds_refusing *p, struct xds_refusal *f)
{
    changed(p);
    if (f->key[1] >= XDS_TYPES)
        uncount_part(p, f);
    *(f->older ? &f->older->newer : &p->oldest) = f->newer;
    *(f->newer ? &f->newer->older : &p->newest) = f->older;
    map_remove(&p->refusals, (const char *)f->key, sizeof(f->key));
    mem_free(f->name);
    mem_free(f->words);
    mem_free(f);
}

/* ---- what is kept ---- */

static struct kept *kept_get(struct xds_refusals *r, struct resource *resource)
{
    const uint64_t key[2] = {resource->version, resource->type};
    struct kept *k = map_get(&r->kept, (const char *)key, sizeof(key));

    if (!k) {
        k = mem_new(struct kept);
        memcpy(k->key, key, sizeof(key));
        k->resource = resource_ref(resource);
        map_put(&r->kept, (const char *)k->key, sizeof(k->key), k);
        r->kept_bytes += resource->wire_len;
    }
    k->refs++;
    return k;
}

static void kept_put(struct xds_refusals *r, struct kept *k)
{
    if (--k->refs > 0)
        return;
    map_remove(&r->kept, (const char *)k->key, sizeof(k->key));
    r->kept_bytes -= k->resource->wire_len;
    resource_unref(k->resource);
    mem_free(k);
}

static void drop_kept(struct xds_refusing *p, size_t i)
{
    p->owner->kept_changes++;
    kept_put(p->owner, p->kept.items[i]);
    p->kept.count--;
    memmove(&p->kept.items[i], &p->kept.items[i + 1], (p->kept.count - i) * sizeof(p->kept.items[0]));
}

static void drop_all_kept(struct xds_refusing *p)
{
    while (p->kept.count > 0)
        drop_kept(p, p->kept.count - 1);
    pointers_clear(&p->kept);
}

/* Where it is; or how many there are. */
static size_t find_kept(const struct xds_refusing *p, enum xds_type type, const char *name)
{
    size_t i = 0;

    for (; i < p->kept.count; i++) {
        const struct resource *r = ((const struct kept *)p->kept.items[i])->resource;

        if (r->type == type && strcmp(r->name, name) == 0)
            break;
    }
    return i;
}

struct resource *xds_refusing_kept_at(const struct xds_refusing *p, size_t i)
{
    return i < p->kept.count ? ((struct kept *)p->kept.items[i])->resource : NULL;
}

struct resource *xds_refusing_kept(const struct xds_refusing *p, enum xds_type type, const char *name)
{
    return xds_refusing_kept_at(p, find_kept(p, type, name));
}

uint64_t xds_refusals_kept_changes(const struct xds_refusals *r)
{
    return r->kept_changes;
}

/* Those that left first have to do without. */
static void limit_kept(struct xds_refusals *r)
{
    for (struct xds_refusing *p = r->idle.oldest; p && r->kept_bytes > XDS_KEPT_BYTES_MAX; p = p->newer)
        drop_all_kept(p);
}

void xds_refusing_keep(struct xds_refusing *p, enum xds_type type, const char *name, struct resource *r)
{
    size_t i = find_kept(p, type, name);
    struct resource *before = xds_refusing_kept_at(p, i);

    if (before == r || (before && r && before->version == r->version))
        return;
    if (!r) {
        drop_kept(p, i);
        return;
    }
    if (before) {
        struct kept *now = kept_get(p->owner, r);

        kept_put(p->owner, p->kept.items[i]);
        p->kept.items[i] = now;
    } else {
        if (p->kept.count == XDS_KEPT_MAX)
            drop_kept(p, 0);
        pointers_add(&p->kept, kept_get(p->owner, r));
    }
    p->owner->kept_changes++;
    limit_kept(p->owner);
}

/* ---- proxies ---- */

static void drop_proxy(struct xds_refusals *r, struct xds_refusing *p)
{
    while (p->oldest)
        drop_refusal(p, p->oldest);
    drop_all_kept(p);
    map_clear(&p->refusals);
    map_clear(&p->parted);
    map_remove(&r->proxies, (const char *)&p->proxy, sizeof(p->proxy));
    mem_free(p->gateway);
    mem_free(p);
}

static void join(struct list *l, struct xds_refusing *p)
{
    p->older = l->newest;
    *(l->newest ? &l->newest->newer : &l->oldest) = p;
    l->newest = p;
}

static void leave(struct list *l, struct xds_refusing *p)
{
    *(p->older ? &p->older->newer : &l->oldest) = p->newer;
    *(p->newer ? &p->newer->older : &l->newest) = p->older;
    p->older = p->newer = NULL;
}

static void leave_idle(struct xds_refusals *r, struct xds_refusing *p)
{
    leave(&r->idle, p);
    r->n_idle--;
}

void xds_refusals_free(struct xds_refusals *r)
{
    if (!r)
        return;
    xds_refusals_forget(r);
    assert(r->proxies.count == 0 && r->kept.count == 0 && r->kept_bytes == 0);
    map_clear(&r->proxies);
    map_clear(&r->kept);
    mem_free(r);
}

struct xds_refusing *xds_refusing_get(struct xds_refusals *r, uint64_t proxy, const char *gateway)
{
    struct xds_refusing *p = map_get(&r->proxies, (const char *)&proxy, sizeof(proxy));

    if (!p) {
        p = mem_new(struct xds_refusing);
        p->owner = r;
        p->proxy = proxy;
        map_put(&r->proxies, (const char *)&p->proxy, sizeof(p->proxy), p);
    } else if (p->refs == 0) {
        leave_idle(r, p);
    }
    if (!p->gateway || strcmp(p->gateway, gateway) != 0) {
        mem_free(p->gateway);
        p->gateway = mem_strdup(gateway);
    }
    if (p->refs++ == 0)
        join(&r->busy, p);
    return p;
}

uint64_t xds_refusing_begin(struct xds_refusing *p, enum xds_type type)
{
    p->n_streams++;
    for (unsigned t = 0; t < XDS_TYPES; t++)
        if (type == XDS_TYPES || type == t)
            p->newest_of[t] = p->n_streams;
    return p->n_streams;
}

bool xds_refusing_is_newest(const struct xds_refusing *p, enum xds_type type, uint64_t stream)
{
    return p->newest_of[type] == stream;
}

static void drop_passing(struct xds_refusing *p)
{
    struct xds_refusal *next;

    for (struct xds_refusal *f = p->oldest; f; f = next) {
        next = f->newer;
        if (f->passes)
            drop_refusal(p, f);
    }
}

void xds_refusing_put(struct xds_refusals *r, struct xds_refusing *p)
{
    if (!p)
        return;
    assert(p->refs > 0);
    if (--p->refs > 0)
        return;
    drop_passing(p);
    leave(&r->busy, p);
    if (p->refusals.count == 0 && p->kept.count == 0) {
        drop_proxy(r, p);
        return;
    }
    join(&r->idle, p);
    limit_kept(r);
    if (++r->n_idle > XDS_REFUSING_PROXIES_MAX) {
        p = r->idle.oldest;
        leave_idle(r, p);
        drop_proxy(r, p);
    }
}

void xds_refusals_forget(struct xds_refusals *r)
{
    struct xds_refusing *p;

    while ((p = r->idle.oldest)) {
        leave_idle(r, p);
        drop_proxy(r, p);
    }
    for (p = r->busy.oldest; p; p = p->newer) {
        drop_all_kept(p);
        while (p->oldest)
            drop_refusal(p, p->oldest);
    }
}

size_t xds_refusing_count(const struct xds_refusing *p)
{
    return p->refusals.count;
}

uint64_t xds_refusing_changes(const struct xds_refusing *p)
{
    return p->changes;
}

uint64_t xds_refusals_changes(const struct xds_refusals *r)
{
    return r->changes;
}

const struct xds_refusing *xds_refusals_next(const struct xds_refusals *r, const struct xds_refusing *p)
{
    if (p && (p->older || p->refs == 0))
        return p->older;
    return !p && r->busy.newest ? r->busy.newest : r->idle.newest;
}

uint64_t xds_refusing_proxy(const struct xds_refusing *p)
{
    return p->proxy;
}

const char *xds_refusing_gateway(const struct xds_refusing *p)
{
    return p->gateway;
}

const struct xds_refusal *xds_refusing_newest(const struct xds_refusing *p)
{
    return p->newest;
}

static const struct xds_refusal *find(const struct xds_refusing *p, uint64_t type, uint64_t version)
{
    uint64_t key[2] = {version, type};

    return map_get(&p->refusals, (const char *)key, sizeof(key));
}

const struct xds_refusal *xds_refusing_find(const struct xds_refusing *p, enum xds_type type, uint64_t version)
{
    return find(p, type, version);
}

const struct xds_refusal *xds_refusing_find_part(const struct xds_refusing *p, enum xds_type type, uint64_t digest)
{
    return find(p, (uint64_t)type + XDS_TYPES, digest);
}

static void add(struct xds_refusing *p, uint64_t type, uint64_t version, const char *name, const char *words,
                size_t words_len)
{
    uint64_t key[2] = {version, type};
    struct xds_refusal *f = map_get(&p->refusals, (const char *)key, sizeof(key));

    if (f)
        drop_refusal(p, f);
    f = mem_new(struct xds_refusal);
    memcpy(f->key, key, sizeof(key));
    f->name = mem_strdup(name);
    f->words =
        mem_strndup(words_len ? words : "", utf8_cut(words_len ? words : "", words_len, XDS_REFUSAL_WORDS_MAX));
    f->passes = strstr(f->words, "cannot bind") != NULL;
    f->older = p->newest;
    *(p->newest ? &p->newest->newer : &p->oldest) = f;
    p->newest = f;
    map_put(&p->refusals, (const char *)f->key, sizeof(f->key), f);
    changed(p);
    if (type >= XDS_TYPES)
        count_part(p, f);
    if (p->refusals.count > XDS_REFUSALS_MAX)
        drop_refusal(p, p->oldest);
}

void xds_refusing_add(struct xds_refusing *p, enum xds_type type, uint64_t version, const char *name,
                      const char *words, size_t words_len)
{
    add(p, type, version, name, words, words_len);
}

void xds_refusing_add_part(struct xds_refusing *p, enum xds_type type, uint64_t digest, const char *name,
                           const char *words)
{
    add(p, (uint64_t)type + XDS_TYPES, digest, name, words, strlen(words));
}
