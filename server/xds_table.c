/*
 * The tables: names with their numbers, forms, and the bytes of neighbours in one piece.
 *
 * References: a slot is held by each form of it (also foreign ones), by each form that names it, and by each stream
 * that subscribed to it. A form is held by current[], accepted[] and the streams. accepted[] alone keeps no slot
 * alive for ever: it is dropped with the current form when nobody else is left. So a number is given out again only
 * when no stream has any state for it.
 */
#include "server/xds_table.h"

#include "base/buf.h"
#include "server/xds_lot.h"
#include "server/xds_rollout.h"

#include <assert.h>
#include <string.h>

enum { BLOCK_SLOTS = 64, BLOCK_MEMBERS_MIN = 4 };

/* ---- names ---- */

uint32_t xds_slot_find(const struct xds_space *s, const char *name, size_t len)
{
    const struct xds_name *n = map_get(&s->by_name, name, len);

    return n ? n->slot : XDS_NO_SLOT;
}

static uint32_t new_number(struct xds_space *s)
{
    if (s->n_unused > 0)
        return s->unused[--s->n_unused];
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : BLOCK_SLOTS;
        s->names = mem_realloc(s->names, s->cap, sizeof(struct xds_name *));
    }
    assert(s->n < XDS_NO_SLOT);
    return s->n++;
}

uint32_t xds_slot_new(struct xds_space *s, const char *name, size_t len)
{
    struct xds_name *n = mem_alloc(sizeof(*n) + len + 1);
    void *before;

    n->slot = new_number(s);
    n->refs = 1;
    n->len = len;
    memcpy(n->text, name, len);
    s->names[n->slot] = n;
    before = map_put(&s->by_name, n->text, len, n);
    assert(!before);
    return n->slot;
}

/* The slot of a name, given to it when it had none; one reference more. */
static uint32_t slot_get(struct xds_space *s, const char *name, size_t len)
{
    struct xds_name *n = map_get(&s->by_name, name, len);

    if (!n)
        return xds_slot_new(s, name, len);
    n->refs++;
    return n->slot;
}

void xds_slot_unref(struct xds_space *s, uint32_t slot)
{
    struct xds_name *n = s->names[slot];

    assert(n && n->refs > 0);
    if (--n->refs > 0)
        return;
    s->told = (struct xds_memo){0};
    map_remove(&s->by_name, n->text, n->len);
    s->names[slot] = NULL;
    if (s->n_unused == s->unused_cap) {
        s->unused_cap = s->unused_cap ? s->unused_cap * 2 : BLOCK_SLOTS;
        s->unused = mem_realloc(s->unused, s->unused_cap, sizeof(*s->unused));
    }
    s->unused[s->n_unused++] = slot;
    mem_free(n);
}

static void space_clear(struct xds_space *s)
{
    assert(s->by_name.count == 0);
    map_clear(&s->by_name);
    bits_clear(&s->told_slots);
    mem_free(s->names);
    mem_free(s->unused);
}

/* ---- forms ---- */

struct hash128 xds_version_hash(const char *name, size_t len, uint64_t version)
{
    struct hash128 h = hash_bytes128(name, len);
    uint64_t parts[3] = {h.high, h.low, version};

    return hash_bytes128(parts, sizeof(parts));
}

static struct hash128 form_hash(const struct xds_form *f)
{
    const struct xds_name *n = xds_space_of(f->gateway, f->type)->names[f->slot];

    return xds_version_hash(n->text, n->len, f->version);
}

static struct xds_form *new_form(struct xds_gateway *g, enum xds_type type, uint32_t slot, uint64_t version,
                                 size_t n_uses)
{
    struct xds_form *f = mem_alloc(sizeof(*f) + n_uses * sizeof(f->uses[0]));

    f->refs = 1;
    f->gateway = g;
    f->type = type;
    f->slot = slot;
    f->version = version;
    xds_slot_ref(xds_space_of(g, type), slot);
    return f;
}

struct xds_form *xds_form_foreign(struct xds_gateway *g, enum xds_type type, uint32_t slot, uint64_t version)
{
    return new_form(g, type, slot, version, 0);
}

static struct xds_form *form_of(struct xds_gateway *g, struct resource *r, uint32_t slot)
{
    size_t n = r->n_clusters + r->n_route_needs + r->n_secret_needs;
    struct xds_form *f = new_form(g, r->type, slot, r->version, n);
    uint32_t *use = f->uses;

    f->resource = resource_ref(r);
    f->alone = r->alone;
    f->len = (uint32_t)r->wire_len;
    f->hash = form_hash(f);
    f->n_clusters = (uint32_t)r->n_clusters;
    f->n_routes = (uint32_t)r->n_route_needs;
    f->n_secrets = (uint32_t)r->n_secret_needs;
    for (size_t i = 0; i < r->n_clusters; i++)
        *use++ = slot_get(&g->spaces[XDS_CLUSTER], r->clusters[i], strlen(r->clusters[i]));
    for (size_t i = 0; i < r->n_route_needs; i++)
        *use++ = slot_get(&g->spaces[XDS_ROUTE], r->needs[i], strlen(r->needs[i]));
    for (size_t i = r->n_route_needs; i < r->n_route_needs + r->n_secret_needs; i++)
        *use++ = slot_get(&g->spaces[XDS_SECRET], r->needs[i], strlen(r->needs[i]));
    return f;
}

struct xds_form *xds_form_find_keeping(const struct xds_form *basis, uint64_t keeps)
{
    struct xds_form *f = basis->gateway->tables[basis->type].composed;

    while (f && !(f->slot == basis->slot && f->basis == basis->version && f->keeps == keeps))
        f = f->next_composed;
    return f;
}

struct xds_form *xds_form_composed(struct xds_form *basis, uint64_t keeps, struct resource *r)
{
    struct xds_table *t = &basis->gateway->tables[basis->type];
    struct xds_form *f;

    for (f = t->composed; f; f = f->next_composed)
        if (f->slot == basis->slot && f->version == r->version && f->basis == basis->version && f->keeps == keeps)
            return xds_form_ref(f);
    f = form_of(basis->gateway, r, basis->slot);
    f->composed = true;
    f->basis = basis->version;
    f->keeps = keeps;
    f->since = basis->since;
    f->next_composed = t->composed;
    t->composed = f;
    return f;
}

static void leave_composed(struct xds_form *f)
{
    struct xds_form **at = &f->gateway->tables[f->type].composed;

    while (*at != f)
        at = &(*at)->next_composed;
    *at = f->next_composed;
}

const struct parts *xds_form_parts(struct xds_form *f)
{
    if (!f->parts && f->resource)
        f->parts = parts_of(f->resource);
    return f->parts;
}

void xds_form_drop_parts(struct xds_form *f)
{
    parts_free(take_ptr(f->parts));
}

void xds_form_free(struct xds_form *f)
{
    struct xds_gateway *g = f->gateway;
    const uint32_t *use = f->uses;

    if (f->composed)
        leave_composed(f);
    parts_free(f->parts);
    for (uint32_t i = 0; i < f->n_clusters; i++)
        xds_slot_unref(&g->spaces[XDS_CLUSTER], *use++);
    for (uint32_t i = 0; i < f->n_routes; i++)
        xds_slot_unref(&g->spaces[XDS_ROUTE], *use++);
    for (uint32_t i = 0; i < f->n_secrets; i++)
        xds_slot_unref(&g->spaces[XDS_SECRET], *use++);
    xds_slot_unref(xds_space_of(g, f->type), f->slot);
    resource_unref(f->resource);
    mem_free(f);
}

/* ---- tables ---- */

static void table_grow(struct xds_table *t, uint32_t slot)
{
    uint32_t cap = t->cap ? t->cap : BLOCK_SLOTS, n_blocks;

    if (slot < t->cap)
        return;
    while (cap <= slot)
        cap *= 2;
    t->current = mem_realloc(t->current, cap, sizeof(struct xds_form *));
    t->accepted = mem_realloc(t->accepted, cap, sizeof(struct xds_form *));
    t->versions = mem_realloc(t->versions, cap, sizeof(*t->versions));
    memset(t->versions + t->cap, 0, (cap - t->cap) * sizeof(*t->versions));
    memset(t->current + t->cap, 0, (cap - t->cap) * sizeof(struct xds_form *));
    memset(t->accepted + t->cap, 0, (cap - t->cap) * sizeof(struct xds_form *));
    n_blocks = cap / BLOCK_SLOTS;
    for (unsigned v = 0; v < XDS_VARIANTS; v++) {
        t->blocks[v] = mem_realloc(t->blocks[v], n_blocks, sizeof(struct xds_block *));
        memset(t->blocks[v] + t->n_blocks, 0, (n_blocks - t->n_blocks) * sizeof(struct xds_block *));
    }
    t->n_blocks = n_blocks;
    t->cap = cap;
}

static void block_unref(void *owner)
{
    struct xds_block *b = owner;

    if (__atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) == 0)
        mem_free(b);
}

static void drop_block(struct xds_table *t, uint32_t slot)
{
    uint32_t word = slot / BLOCK_SLOTS;

    for (unsigned v = 0; v < XDS_VARIANTS; v++)
        if (word < t->n_blocks && t->blocks[v][word])
            block_unref(take_ptr(t->blocks[v][word]));
}

/* Takes the reference to f (may be NULL). */
static void set_accepted(struct xds_gateway *g, enum xds_type type, uint32_t slot, struct xds_form *f)
{
    struct xds_form **accepted = &g->tables[type].accepted[slot];

    xds_form_unref(*accepted);
    *accepted = f;
}

/* Takes the reference to f (may be NULL); returns the form until now with its reference, or NULL. */
static struct xds_form *set_current(struct xds_table *t, uint32_t slot, struct xds_form *f)
{
    struct xds_form *before = xds_current(t, slot);

    table_grow(t, slot);
    drop_block(t, slot);
    xds_lots_drop(t);
    if (before) {
        xds_sum_subtract(&t->sum, before->hash);
        before->until = before->gateway->directory->sequence;
    }
    if (f) {
        xds_sum_add(&t->sum, f->hash);
        f->since = f->gateway->directory->sequence;
        f->until = UINT64_MAX;
    }
    t->current[slot] = f;
    t->versions[slot] = f ? f->version : 0;
    if (f) {
        bits_set(&t->live, slot);
    } else {
        bits_unset(&t->live, slot);
        if (before) {
            set_accepted(before->gateway, t->type, slot, NULL);
            before->gateway->directory->n_gone++;
        }
    }
    return before;
}

bool xds_form_accept(struct xds_form *f)
{
    struct xds_table *t = &f->gateway->tables[f->type];

    /* What is kept for a while is to stand in for nothing later. */
    if (f->accepted || f->keeps)
        return false;
    f->accepted = true;
    /* There may be a newer one by now that nobody took yet. */
    if (!xds_current(t, f->slot) || (t->accepted[f->slot] && t->accepted[f->slot]->since > f->since))
        return false;
    set_accepted(f->gateway, f->type, f->slot, xds_form_ref(f));
    return true;
}

struct xds_form *xds_form_taken(struct xds_gateway *g, struct resource *r, uint32_t slot)
{
    struct xds_form *f = form_of(g, r, slot);

    f->accepted = true;
    return f;
}

void xds_accepted_restore(struct xds_gateway *g, struct resource *r)
{
    struct xds_table *t = &g->tables[r->type];
    uint32_t slot = xds_slot_find(t->space, r->name, strlen(r->name));

    if (slot == XDS_NO_SLOT || !xds_current(t, slot) || t->accepted[slot])
        return;
    set_accepted(g, r->type, slot, xds_form_taken(g, r, slot));
}

struct xds_form *xds_empty_assignment(struct xds_table *t, struct xds_gateway *g, uint32_t slot)
{
    const struct xds_name *n = t->space->names[slot];
    struct xds_form *current = xds_current(t, slot);
    struct buf message = {0};
    struct resource *r;

    assert(t->type == XDS_ENDPOINT && current && !t->accepted[slot]);
    /* ClusterLoadAssignment{ cluster_name = 1 } */
    buf_append_byte(&message, 1 << 3 | 2);
    for (size_t len = n->len;; len >>= 7) {
        buf_append_byte(&message, (uint8_t)(len < 0x80 ? len : (len | 0x80)));
        if (len < 0x80)
            break;
    }
    buf_append(&message, n->text, n->len);
    r = resource_new(XDS_ENDPOINT, n->text, current->resource->owner, message.data, message.len, NULL, 0, NULL, 0,
                     NULL, 0);
    set_accepted(g, XDS_ENDPOINT, slot, form_of(g, r, slot));
    resource_unref(r);
    buf_clear(&message);
    return t->accepted[slot];
}

static void table_clear(struct xds_table *t)
{
    for (uint32_t slot = bits_next(&t->live, 0); slot != BITS_END; slot = bits_next(&t->live, slot + 1))
        xds_form_unref(set_current(t, slot, NULL));
    for (unsigned v = 0; v < XDS_VARIANTS; v++)
        mem_free(t->blocks[v]);
    bits_clear(&t->live);
    mem_free(t->current);
    mem_free(t->accepted);
    mem_free(t->versions);
}

/* ---- blocks and parts ---- */

static bool in_blocks(const struct xds_form *f)
{
    return !f->resource->sensitive && !f->resource->alone;
}

static struct xds_part bytes_of(const struct xds_form *f, enum xds_variant variant)
{
    const struct resource *r = f->resource;
    size_t from = variant == XDS_DELTA ? 0 : r->any_offset;

    return (struct xds_part){.p = r->wire + from, .n = r->wire_len - from};
}

static struct xds_block *make_block(const struct xds_table *t, enum xds_variant variant, uint32_t word)
{
    uint64_t members = 0;
    struct xds_block *b;
    size_t len = 0;

    for (uint64_t left = bits_word(&t->live, word); left; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(left);
        const struct xds_form *f = t->current[word * BLOCK_SLOTS + i];

        if (!in_blocks(f))
            continue;
        members |= UINT64_C(1) << i;
        len += bytes_of(f, variant).n;
    }
    b = mem_alloc(sizeof(*b) + len);
    b->refs = 1;
    b->members = members;
    for (; members; members &= members - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(members);
        struct xds_part part = bytes_of(t->current[word * BLOCK_SLOTS + i], variant);

        memcpy(b->bytes + b->len, part.p, part.n);
        b->len += part.n;
    }
    return b;
}

struct xds_block *xds_block_get(struct xds_table *t, enum xds_variant variant, uint32_t word, uint64_t wanted)
{
    struct xds_block *b;

    if (word >= t->n_blocks || __builtin_popcountll(wanted) < BLOCK_MEMBERS_MIN)
        return NULL;
    b = t->blocks[variant][word];
    if (!b) {
        /* Not worth it unless what is live there is wanted: what must stay out is told only once it is made. */
        if (__builtin_popcountll(wanted) * 2 < __builtin_popcountll(bits_word(&t->live, word)))
            return NULL;
        b = t->blocks[variant][word] = make_block(t, variant, word);
    }
    if (!b->members || (wanted & b->members) != b->members)
        return NULL;
    return b;
}

static void resource_release(void *owner)
{
    resource_unref(owner);
}

struct xds_part xds_part_of_form(struct xds_form *f, enum xds_variant variant)
{
    struct xds_part part = bytes_of(f, variant);

    part.owner = resource_ref(f->resource);
    part.release = resource_release;
    return part;
}

struct xds_part xds_part_of_block(struct xds_block *b)
{
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    return (struct xds_part){.p = b->bytes, .n = b->len, .owner = b, .release = block_unref};
}

/* ---- gateways ---- */

void xds_watch(struct xds_watcher *head, struct xds_watcher *w)
{
    assert(!w->next);
    w->next = head;
    w->previous = head->previous;
    head->previous->next = w;
    head->previous = w;
}

void xds_unwatch(struct xds_watcher *w)
{
    if (!w->next)
        return;
    w->next->previous = w->previous;
    w->previous->next = w->next;
    w->next = w->previous = NULL;
}

static void watch_init(struct xds_watcher *head)
{
    head->next = head->previous = head;
}

/* A watcher may leave while it is told, so the next one is looked up before. */
static void tell(struct xds_watcher *head, const struct xds_touched *touched, size_t n)
{
    struct xds_watcher *next;

    for (struct xds_watcher *w = head->next; w != head; w = next) {
        next = w->next;
        w->changed(w, touched, n);
    }
}

void xds_accepted_tell(struct xds_gateway *g, const struct xds_touched *touched, size_t n)
{
    tell(&g->watchers, touched, n);
}

struct xds_gateway *xds_directory_find(const struct xds_directory *d, const char *name, size_t len)
{
    struct xds_gateway *g = map_get(&d->gateways, name, len);

    return g && g->known ? g : NULL;
}

static struct xds_gateway *gateway_get(struct xds_directory *d, const char *name)
{
    struct xds_gateway *g = map_gets(&d->gateways, name);

    if (g)
        return xds_gateway_ref(g);
    g = mem_new(struct xds_gateway);
    g->refs = 1;
    g->name = mem_strdup(name);
    g->directory = d;
    g->journal = xds_journal_new();
    watch_init(&g->watchers);
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        g->tables[type].type = (enum xds_type)type;
        g->tables[type].space = xds_space_of(g, (enum xds_type)type);
    }
    map_puts(&d->gateways, g->name, g);
    return g;
}

static void gateway_keep(struct xds_gateway *g)
{
    if (!g->kept)
        xds_gateway_ref(g);
    g->kept = true;
}

struct xds_gateway *xds_gateway_ref(struct xds_gateway *g)
{
    g->refs++;
    return g;
}

void xds_gateway_unref(struct xds_gateway *g)
{
    if (!g || --g->refs > 0)
        return;
    assert(g->watchers.next == &g->watchers);
    map_removes(&g->directory->gateways, g->name);
    for (unsigned type = 0; type < XDS_TYPES; type++)
        table_clear(&g->tables[type]);
    for (unsigned type = 0; type < XDS_TYPES; type++)
        space_clear(&g->spaces[type]);
    xds_journal_free(g->journal);
    mem_free(g->name);
    mem_free(g);
}

/* ---- the directory ---- */

struct xds_directory *xds_directory_new(void)
{
    struct xds_directory *d = mem_new(struct xds_directory);

    d->rollouts = xds_rollouts_new();
    watch_init(&d->unresolved);
    return d;
}

void xds_directory_free(struct xds_directory *d)
{
    struct map_entry *e;

    if (!d)
        return;
    assert(d->unresolved.next == &d->unresolved);
    for (;;) {
        size_t i = 0;
        struct xds_gateway *g;

        if (!map_next(&d->gateways, &i, &e))
            break;
        g = e->value;
        assert(g->refs == 1 && g->kept);
        xds_gateway_unref(g);
    }
    map_clear(&d->gateways);
    xds_rollouts_free(d->rollouts);
    mem_free(d);
}

/* True when the change changed something; ret->before has a reference then. */
static bool apply_change(struct xds_gateway *g, const struct xds_change *c, struct xds_touched *ret)
{
    struct xds_table *t = &g->tables[c->type];
    uint32_t slot = xds_slot_find(t->space, c->name, strlen(c->name));
    struct xds_form *before = slot == XDS_NO_SLOT ? NULL : xds_current(t, slot);

    *ret = (struct xds_touched){.type = c->type, .slot = slot};
    if (!c->after) {
        if (!before)
            return false;
        ret->before = set_current(t, slot, NULL);
        return true;
    }
    assert(c->after->type == c->type);
    if (before && before->version == c->after->version)
        return false;
    ret->slot = slot_get(t->space, c->name, strlen(c->name));
    ret->before = set_current(t, ret->slot, form_of(g, c->after, ret->slot));
    xds_slot_unref(t->space, ret->slot);
    return true;
}

/* Tells the watchers; what was current before is let go afterwards. */
static void tell_touched(struct xds_gateway *g, struct xds_touched *touched, size_t n)
{
    if (n > 0)
        tell(&g->watchers, touched, n);
    for (size_t i = 0; i < n; i++)
        xds_form_unref(touched[i].before);
}

/* The gateway is no more: its content goes. Its proxies keep what they have, as it is not known any more: that would
 * be no reason to take their configuration away. */
static void gateway_empty(struct xds_gateway *g)
{
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        struct xds_table *t = &g->tables[type];
        struct xds_touched *touched = mem_array(struct xds_touched, t->live.count);
        size_t n = 0;

        for (uint32_t slot = bits_next(&t->live, 0); slot != BITS_END; slot = bits_next(&t->live, slot + 1)) {
            touched[n] = (struct xds_touched){.type = (enum xds_type)type, .slot = slot};
            touched[n++].before = set_current(t, slot, NULL);
        }
        tell_touched(g, touched, n);
        mem_free(touched);
    }
}

static bool is_named(const struct xds_batch *batch, const char *name)
{
    size_t from = 0, to = batch->n_gateways;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = strcmp(batch->gateways[middle], name);

        if (order == 0)
            return true;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

/* Which gateways there are from now on. Their content came with this batch or before. */
static void apply_gateways(struct xds_directory *d, const struct xds_batch *batch)
{
    _cleanup_(mem_free_p) void **all = map_sorted_values(&d->gateways);
    size_t n_all = d->gateways.count;

    for (size_t i = 0; i < n_all; i++) {
        struct xds_gateway *g = all[i];

        if (!g->kept || is_named(batch, g->name))
            continue;
        g->known = g->kept = false;
        d->gateways_ended++;
        gateway_empty(g);
        xds_journal_end(g);
        xds_gateway_unref(g);
    }
    for (size_t i = 0; i < batch->n_gateways; i++) {
        struct xds_gateway *g = gateway_get(d, batch->gateways[i]);

        gateway_keep(g);
        if (!g->known) {
            g->known = true;
            tell(&g->watchers, NULL, 0);
        }
        xds_gateway_unref(g);
    }
    d->complete = true;
    tell(&d->unresolved, NULL, 0);
}

void xds_directory_apply(struct xds_directory *d, const struct xds_batch *batch)
{
    _cleanup_(mem_free_p) struct xds_touched *touched = mem_array(struct xds_touched, batch->n_changes);

    d->sequence++;
    xds_rollouts_begin(d, batch->revision);
    for (size_t i = 0, n; i < batch->n_changes; i += n) {
        const struct xds_change *c = &batch->changes[i];
        struct xds_gateway *g = gateway_get(d, c->gateway);
        size_t n_touched = 0;

        gateway_keep(g);
        for (n = 0; i + n < batch->n_changes && strcmp(c[n].gateway, c->gateway) == 0; n++)
            n_touched += apply_change(g, &c[n], &touched[n_touched]);
        if (n_touched > 0) {
            g->revision = batch->revision;
            xds_journal_add(g, touched, n_touched);
        }
        tell_touched(g, touched, n_touched);
        xds_gateway_unref(g);
    }
    if (batch->complete)
        apply_gateways(d, batch);
    xds_rollouts_end(d);
}
