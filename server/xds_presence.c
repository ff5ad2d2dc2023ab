/*
 * Who is here, and who was: see xds_presence.h.
 *
 * Invariants: each stands in the map by its key, and in the heap of its state but when it is connected, or away since
 * before it was known which gateways there are. Whatever changes counts in `changes`.
 */
#include "server/xds_presence.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NOTED_GONE = 1, NOTED_INCREMENTAL = 2 };

static const char restarted[] = "igwd was started anew, and it has not come back since";

struct xds_presence {
    struct xds_presence_options options;
    struct map known; /* by key */
    struct heap away, gone;
    uint64_t changes;
    bool begun;              /* it is known which gateways there are */
    uint64_t gateways_ended; /* of the directory, as of the last look */
    uint32_t epoch;
};

struct xds_presence *xds_presence_new(const struct xds_presence_options *options)
{
    struct xds_presence *p = mem_new(struct xds_presence);

    p->options = *options;
    p->epoch = (uint32_t)(int64_t)clock_wall();
    return p;
}

static void known_free(struct xds_known *k)
{
    mem_free(k->id);
    mem_free(k->peer);
    mem_free(k->version);
    mem_free(k->ended);
    mem_free(k->key);
    mem_free(k);
}

void xds_presence_free(struct xds_presence *p)
{
    struct map_entry *e;

    if (!p)
        return;
    for (size_t i = 0; map_next(&p->known, &i, &e);)
        known_free(e->value);
    map_clear(&p->known);
    heap_clear(&p->away);
    heap_clear(&p->gone);
    mem_free(p);
}

/* ---- telling ---- */

static void tell_proxy(const struct xds_presence *p, const struct xds_known *k, enum event_change change)
{
    if (p->options.tell)
        p->options.tell(p->options.arg, "Proxy", k->id, change);
}

static void tell_gone(const struct xds_presence *p, const struct xds_known *k)
{
    if (p->options.gone)
        p->options.gone(p->options.arg, k);
}

/* ---- from one state to another ---- */

static struct heap *heap_of(struct xds_presence *p, const struct xds_known *k)
{
    return k->state == XDS_GONE ? &p->gone : &p->away;
}

/* It is not away or gone any more; the id that it had is nobody's. */
static void take_back(struct xds_presence *p, struct xds_known *k, enum xds_presence_state state)
{
    bool was_gone = k->state == XDS_GONE;

    heap_remove(heap_of(p, k), &k->due);
    k->state = state;
    tell_proxy(p, k, EVENT_REMOVED);
    if (was_gone)
        tell_gone(p, k);
    p->changes++;
}

static void forget(struct xds_presence *p, struct xds_known *k)
{
    take_back(p, k, XDS_AWAY);
    map_remove(&p->known, k->key, k->key_len);
    known_free(k);
}

/* The oldest makes way, be it the one that came last: a clock may have been set. */
static void make_way(struct xds_presence *p, struct heap *h, size_t max)
{
    while (h->n > max)
        forget(p, heap_first(h)->owner);
}

static void set_away(struct xds_presence *p, struct xds_known *k, clock_ns now)
{
    k->state = XDS_AWAY;
    heap_set(&p->away, &k->due, now + p->options.grace);
}

static void set_gone(struct xds_presence *p, struct xds_known *k, clock_ns until)
{
    k->state = XDS_GONE;
    heap_set(&p->gone, &k->due, until);
}

/* How long one that was gone before a restart is still kept: since it left, by the time of day. */
static clock_ns left_of_keep(const struct xds_presence *p, const struct xds_known *k)
{
    double since = clock_wall() - k->left_at, keep = (double)p->options.keep / 1e9;
    double left = since < 0 ? keep : since < keep ? keep - since : 0;

    return (clock_ns)(left * 1e9);
}

/* ---- who comes and goes ---- */

/* In a piece of memory: the gateway, the node's id, its cluster, each with its NUL. */
static char *key_of(const char *gateway, const char *node_id, const char *node_cluster, size_t *ret_len)
{
    const char *const texts[] = {gateway, node_id, node_cluster};
    struct buf b;

    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        buf_append(&b, texts[i], strlen(texts[i]) + 1);
    return (char *)buf_take(&b, ret_len);
}

/* The one of that key, which is taken over; a new one when there is none. */
static struct xds_known *get(struct xds_presence *p, char *key, size_t key_len)
{
    struct xds_known *k = map_get(&p->known, key, key_len);

    if (k) {
        mem_free(key);
        return k;
    }
    k = mem_new(struct xds_known);
    k->key = key;
    k->key_len = key_len;
    k->gateway = key;
    k->node_id = k->gateway + strlen(k->gateway) + 1;
    k->node_cluster = k->node_id + strlen(k->node_id) + 1;
    k->due.owner = k;
    map_put(&p->known, k->key, k->key_len, k);
    return k;
}

static void set_text(char **text, const char *to)
{
    char *before = *text;

    *text = mem_strdup(to); /* which may be the same */
    mem_free(before);
}

static void set_stream(struct xds_known *k, const struct xds_visitor *v)
{
    set_text(&k->id, v->id);
    set_text(&k->peer, v->peer);
    set_text(&k->version, v->version);
    k->variant = v->variant;
    k->connected_at = v->at;
}

struct xds_known *xds_presence_came(struct xds_presence *p, const struct xds_visitor *v)
{
    const char *cluster = v->node_cluster ? v->node_cluster : "";
    struct xds_known *k;
    size_t n;
    char *key;

    if (!p->options.keep || !v->node_id || strlen(v->node_id) > XDS_PRESENCE_TEXT_MAX ||
        strlen(cluster) > XDS_PRESENCE_TEXT_MAX)
        return NULL;
    key = key_of(v->gateway, v->node_id, cluster, &n);
    k = get(p, key, n);
    if (k->n_streams++ == 0 && k->id)
        take_back(p, k, XDS_CONNECTED);
    set_stream(k, v);
    if (k->first_seen <= 0)
        k->first_seen = v->at;
    set_text(&k->ended, NULL);
    k->left_at = 0;
    p->changes++;
    return k;
}

bool xds_presence_left(struct xds_presence *p, struct xds_known *k, const char *id, const char *why, clock_ns now)
{
    if (!k)
        return false;
    assert(k->n_streams > 0);
    if (--k->n_streams > 0)
        return false;
    set_text(&k->id, id);
    set_text(&k->ended, why);
    k->left_at = clock_wall();
    p->changes++;
    set_away(p, k, now);
    make_way(p, &p->away, XDS_AWAY_MAX);
    return true;
}

/* ---- time ---- */

static bool can_come_back(const struct xds_presence *p, const struct xds_known *k)
{
    return xds_directory_find(p->options.directory, k->gateway, strlen(k->gateway));
}

/* It became known which gateways there are, or one ended: whose gateway is no more can't come back; others can from
 * now on. */
static void look_at_all(struct xds_presence *p, clock_ns now)
{
    _cleanup_(mem_free_p) void **all = map_sorted_values(&p->known);
    size_t n = p->known.count;

    p->begun = true;
    p->gateways_ended = p->options.directory->gateways_ended;
    for (size_t i = 0; i < n; i++) {
        struct xds_known *k = all[i];

        if (k->state != XDS_CONNECTED && !can_come_back(p, k))
            forget(p, k);
        else if (k->state == XDS_AWAY && !k->due.place)
            set_away(p, k, now);
    }
    make_way(p, &p->away, XDS_AWAY_MAX);
}

static void missed(struct xds_presence *p, struct xds_known *k, clock_ns now)
{
    heap_remove(&p->away, &k->due);
    if (!can_come_back(p, k)) {
        forget(p, k);
        return;
    }
    /* From now on, however long it was away: the daemon may not have been there. */
    set_gone(p, k, now + p->options.keep);
    p->changes++;
    tell_proxy(p, k, EVENT_MODIFIED);
    tell_gone(p, k);
    make_way(p, &p->gone, XDS_GONE_MAX);
}

static bool has_other_gateways(const struct xds_presence *p)
{
    return !p->begun || p->gateways_ended != p->options.directory->gateways_ended;
}

bool xds_presence_is_due(const struct xds_presence *p, clock_ns now)
{
    return p->options.directory->complete &&
           (has_other_gateways(p) || heap_next(&p->away) <= now || heap_next(&p->gone) <= now);
}

clock_ns xds_presence_run(struct xds_presence *p, clock_ns now)
{
    if (!p->options.directory->complete)
        return INT64_MAX;
    if (has_other_gateways(p))
        look_at_all(p, now);
    while (heap_next(&p->away) <= now)
        missed(p, heap_first(&p->away)->owner, now);
    while (heap_next(&p->gone) <= now)
        forget(p, heap_first(&p->gone)->owner);
    return heap_next(&p->away) < heap_next(&p->gone) ? heap_next(&p->away) : heap_next(&p->gone);
}

int xds_presence_forget(struct xds_presence *p, const char *id)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&p->known, &i, &e);) {
        struct xds_known *k = e->value;

        if (k->state != XDS_CONNECTED && strcmp(k->id, id) == 0) {
            forget(p, k);
            return 0;
        }
    }
    return -ENOENT;
}

/* ---- reading ---- */

const struct xds_known *xds_presence_next(const struct xds_presence *p, size_t *i)
{
    struct map_entry *e;

    return map_next(&p->known, i, &e) ? e->value : NULL;
}

uint64_t xds_presence_changes(const struct xds_presence *p)
{
    return p->changes;
}

size_t xds_presence_count(const struct xds_presence *p)
{
    return p->known.count;
}

uint32_t xds_presence_epoch(const struct xds_presence *p)
{
    return p->epoch;
}

/* ---- notes ---- */

static void pack_time(struct buf *b, double seconds)
{
    pack_number(b, seconds > 0 ? (uint64_t)(seconds * 1000) : 0);
}

static double unpack_time(struct unpack *u)
{
    return (double)unpack_number(u) / 1000;
}

void xds_presence_write(const struct xds_known *k, struct buf *b)
{
    pack_text(b, k->gateway);
    pack_text(b, k->node_id);
    pack_text(b, k->node_cluster);
    pack_text(b, k->id);
    pack_text(b, k->peer);
    pack_text(b, k->version);
    pack_text(b, k->ended);
    pack_number(b, (k->state == XDS_GONE ? NOTED_GONE : 0U) | (k->variant == XDS_DELTA ? NOTED_INCREMENTAL : 0U));
    pack_time(b, k->first_seen);
    pack_time(b, k->connected_at);
    pack_time(b, k->left_at);
}

/* Of an id that this run would give, too: its number is another one from now on. */
static void pass_epoch(struct xds_presence *p, const char *id)
{
    unsigned long long epoch = strtoull(id, NULL, 16);

    if (epoch >= p->epoch && epoch < UINT32_MAX)
        p->epoch = (uint32_t)epoch + 1;
}

void xds_presence_read(struct xds_presence *p, struct unpack *u, clock_ns now)
{
    const char *gateway = unpack_text(u), *node_id = unpack_text(u), *node_cluster = unpack_text(u);
    const char *id = unpack_text(u), *peer = unpack_text(u), *version = unpack_text(u), *ended = unpack_text(u);
    uint64_t flags = unpack_number(u);
    double first_seen = unpack_time(u), connected_at = unpack_time(u), left_at = unpack_time(u);
    const struct xds_visitor v = {.id = id,
                                  .peer = peer,
                                  .version = version,
                                  .variant = flags & NOTED_INCREMENTAL ? XDS_DELTA : XDS_SOTW,
                                  .at = connected_at};
    struct xds_known *k;
    size_t n;
    char *key;

    if (!p->options.keep) {
        p->changes++; /* it is noted, and known no more */
        return;
    }
    if (!unpack_done(u) || !gateway || !node_id || !node_cluster || !id || !peer)
        return;
    pass_epoch(p, id);
    key = key_of(gateway, node_id, node_cluster, &n);
    k = get(p, key, n);
    set_stream(k, &v);
    set_text(&k->ended, left_at > 0 ? ended : restarted);
    k->first_seen = first_seen;
    k->left_at = left_at > 0 ? left_at : clock_wall();
    k->state = XDS_AWAY;
    if (flags & NOTED_GONE)
        set_gone(p, k, now + left_of_keep(p, k));
}
