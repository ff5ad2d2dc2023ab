/*
 * The memory of refusals: a map of proxies, each with a map of its refusals and a list by age. A proxy that no stream
 * belongs to and that never refused anything is dropped at once, so only those that did take memory.
 */
#include "server/xds_refusals.h"

#include "base/utf8.h"

#include <assert.h>
#include <string.h>

struct xds_refusing {
    struct xds_refusing *older, *newer; /* among those without a stream */
    uint64_t proxy;
    unsigned refs;
    struct map refusals;
    struct xds_refusal *oldest, *newest;
};

struct xds_refusals {
    struct map proxies;
    struct xds_refusing *oldest, *newest; /* without a stream */
    size_t n_idle;
};

struct xds_refusals *xds_refusals_new(void)
{
    return mem_new(struct xds_refusals);
}

static void drop_refusal(struct xds_refusing *p, struct xds_refusal *f)
{
    *(f->older ? &f->older->newer : &p->oldest) = f->newer;
    *(f->newer ? &f->newer->older : &p->newest) = f->older;
    map_remove(&p->refusals, (const char *)f->key, sizeof(f->key));
    mem_free(f->name);
    mem_free(f->words);
    mem_free(f);
}

static void drop_proxy(struct xds_refusals *r, struct xds_refusing *p)
{
    while (p->oldest)
        drop_refusal(p, p->oldest);
    map_clear(&p->refusals);
    map_remove(&r->proxies, (const char *)&p->proxy, sizeof(p->proxy));
    mem_free(p);
}

static void leave_idle(struct xds_refusals *r, struct xds_refusing *p)
{
    *(p->older ? &p->older->newer : &r->oldest) = p->newer;
    *(p->newer ? &p->newer->older : &r->newest) = p->older;
    p->older = p->newer = NULL;
    r->n_idle--;
}

void xds_refusals_free(struct xds_refusals *r)
{
    if (!r)
        return;
    while (r->oldest) {
        struct xds_refusing *p = r->oldest;

        leave_idle(r, p);
        drop_proxy(r, p);
    }
    assert(r->proxies.count == 0);
    map_clear(&r->proxies);
    mem_free(r);
}

struct xds_refusing *xds_refusing_get(struct xds_refusals *r, uint64_t proxy)
{
    struct xds_refusing *p = map_get(&r->proxies, (const char *)&proxy, sizeof(proxy));

    if (!p) {
        p = mem_new(struct xds_refusing);
        p->proxy = proxy;
        map_put(&r->proxies, (const char *)&p->proxy, sizeof(p->proxy), p);
    } else if (p->refs == 0) {
        leave_idle(r, p);
    }
    p->refs++;
    return p;
}

void xds_refusing_put(struct xds_refusals *r, struct xds_refusing *p)
{
    if (!p)
        return;
    assert(p->refs > 0);
    if (--p->refs > 0)
        return;
    if (p->refusals.count == 0) {
        drop_proxy(r, p);
        return;
    }
    p->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = p;
    r->newest = p;
    if (++r->n_idle > XDS_REFUSING_PROXIES_MAX) {
        p = r->oldest;
        leave_idle(r, p);
        drop_proxy(r, p);
    }
}

size_t xds_refusing_count(const struct xds_refusing *p)
{
    return p->refusals.count;
}

const struct xds_refusal *xds_refusing_find(const struct xds_refusing *p, enum xds_type type, uint64_t version)
{
    uint64_t key[2] = {version, type};

    return map_get(&p->refusals, (const char *)key, sizeof(key));
}

void xds_refusing_add(struct xds_refusing *p, enum xds_type type, uint64_t version, const char *name,
                      const char *words, size_t words_len)
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
    f->older = p->newest;
    *(p->newest ? &p->newest->newer : &p->oldest) = f;
    p->newest = f;
    map_put(&p->refusals, (const char *)f->key, sizeof(f->key), f);
    if (p->refusals.count > XDS_REFUSALS_MAX)
        drop_refusal(p, p->oldest);
}
