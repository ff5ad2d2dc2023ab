/*
 * Notes of proxies. Their names, and what stands in them, packed (store/pack.h), behind the number of their layout,
 * which is LAYOUT_PRESENCE for the last of these, so that a daemon that knows the others alone passes over it:
 *
 *     proxy/NUMBER              gateway; how many; of each, the oldest first: key, type, name, words
 *     form/GATEWAY/TYPE/NAME    gateway, type, name, owner, flags, names of clusters, route configurations, secrets;
 *                               the message
 *     presence/NUMBER           of a proxy's key: see xds_presence_write()
 *
 * A note that is not understood says nothing.
 */
#include "server/xds_notes.h"

#include "base/pointers.h"
#include "store/pack.h"

#include <inttypes.h>
#include <string.h>

enum { LAYOUT = 1, LAYOUT_PRESENCE = 2, ALONE = 1, USES_EDS = 2, SENSITIVE = 4 };

/* A form that waits for its gateway. */
struct waiting {
    char *gateway;
    struct resource *resource;
};

struct xds_notes {
    struct xds_directory *directory;
    struct xds_refusals *refusals;
    struct xds_presence *presence; /* NULL: nobody is remembered */
    void (*note)(void *arg, struct notes *notes);
    void *arg;
    struct pointers waiting;              /* until the first complete batch */
    uint64_t changes, accepts, movements; /* of the refusals, the directory and the presence, as of the last look */
    uint64_t digest;                      /* of the refusals and forms that were noted last */
    clock_ns looked_at;
    size_t n_seen; /* refusals and proxies, by the last look */
};

/* ---- reading ---- */

static void read_proxy(struct xds_notes *n, struct unpack u)
{
    uint64_t proxy = unpack_number(&u);
    const char *gateway = unpack_text(&u);
    struct xds_refusing *p = xds_refusing_get(n->refusals, proxy, gateway ? gateway : "");

    for (size_t left = unpack_count(&u, 4); left > 0; left--) {
        uint64_t key = unpack_number(&u), type = unpack_number(&u);
        const char *name = unpack_text(&u), *words = unpack_text(&u);

        if (u.bad || !name || !words || type >= 2 * XDS_TYPES)
            break;
        if (type < XDS_TYPES)
            xds_refusing_add(p, (enum xds_type)type, key, name, words, strlen(words));
        else
            xds_refusing_add_part(p, (enum xds_type)(type - XDS_TYPES), key, name, words);
    }
    xds_refusing_put(n->refusals, p);
}

/* In the arena. */
static const char **read_names(struct unpack *u, struct arena *a, size_t *ret_n)
{
    size_t n = unpack_count(u, 2);
    const char **names = arena_array(a, const char *, n + 1);

    for (size_t i = 0; i < n; i++) {
        const char *name = unpack_text(u);

        names[i] = name ? name : "";
    }
    *ret_n = n;
    return names;
}

static void read_form(struct xds_notes *n, struct unpack u)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const char *gateway = unpack_text(&u);
    uint64_t type = unpack_number(&u);
    const char *name = unpack_text(&u), *owner = unpack_text(&u);
    uint64_t flags = unpack_number(&u);
    size_t n_clusters, n_routes, n_secrets;
    const char **clusters = read_names(&u, a, &n_clusters), **routes = read_names(&u, a, &n_routes),
               **secrets = read_names(&u, a, &n_secrets);
    struct waiting *w;

    if (u.bad || !gateway || !name || !owner || type >= XDS_TYPES)
        return;
    w = mem_new(struct waiting);
    w->gateway = mem_strdup(gateway);
    w->resource = resource_new((enum xds_type)type, name, owner, u.p, (size_t)(u.end - u.p), clusters, n_clusters,
                               routes, n_routes, secrets, n_secrets);
    w->resource->alone = flags & ALONE;
    w->resource->uses_eds = flags & USES_EDS;
    w->resource->sensitive = flags & SENSITIVE;
    pointers_add(&n->waiting, w);
}

static void read_note(struct xds_notes *n, const struct note *note)
{
    struct unpack u = unpack_start(note->bytes, note->len);
    uint64_t layout = unpack_number(&u);

    if (layout == LAYOUT_PRESENCE && n->presence)
        xds_presence_read(n->presence, &u, clock_now(NULL));
    if (layout != LAYOUT)
        return;
    if (strncmp(note->name, "proxy/", 6) == 0)
        read_proxy(n, u);
    else
        read_form(n, u);
}

static void drop_waiting(struct xds_notes *n)
{
    for (size_t i = 0; i < n->waiting.count; i++) {
        struct waiting *w = n->waiting.items[i];

        resource_unref(w->resource);
        mem_free(w->gateway);
        mem_free(w);
    }
    pointers_clear(&n->waiting);
}

void xds_notes_applied(struct xds_notes *n)
{
    if (!n->directory->complete)
        return;
    for (size_t i = 0; i < n->waiting.count; i++) {
        const struct waiting *w = n->waiting.items[i];
        struct xds_gateway *g = xds_directory_find(n->directory, w->gateway, strlen(w->gateway));

        if (g)
            xds_accepted_restore(g, w->resource);
    }
    drop_waiting(n);
}

struct xds_notes *xds_notes_new(struct xds_directory *d, struct xds_refusals *r, struct xds_presence *presence,
                                const struct notes *before, void (*note)(void *arg, struct notes *notes), void *arg)
{
    struct xds_notes *n = mem_new(struct xds_notes);

    n->directory = d;
    n->refusals = r;
    n->presence = presence;
    n->note = note;
    n->arg = arg;
    for (size_t i = 0; before && i < before->n; i++)
        read_note(n, &before->items[i]);
    return n;
}

/* ---- what is worth a note ---- */

/* What stands in for the present form of what was refused; borrowed, or NULL. */
static const struct xds_form *stand_in(const struct xds_gateway *g, enum xds_type type, const char *name)
{
    const struct xds_table *t = &g->tables[type];
    uint32_t slot = xds_slot_find(t->space, name, strlen(name));
    const struct xds_form *current = slot == XDS_NO_SLOT ? NULL : xds_current(t, slot),
                          *accepted = current ? xds_accepted(t, slot) : NULL;

    return accepted && accepted->version != current->version ? accepted : NULL;
}

/* oldest: of those that are looked at, of which n are worth a note. */
typedef void (*seen_proxy)(void *arg, const struct xds_refusing *p, const struct xds_refusal *oldest, size_t n);
typedef void (*seen_form)(void *arg, const struct xds_form *f);

/* What each note is made of; a form may be seen more than once. Returns how many refusals there are. */
static size_t look(const struct xds_notes *n, seen_proxy on_proxy, seen_form on_form, void *arg)
{
    const struct xds_refusing *p = NULL;
    size_t total = 0;

    while (total < XDS_NOTES_MAX && (p = xds_refusals_next(n->refusals, p))) {
        const char *gateway = xds_refusing_gateway(p);
        const struct xds_refusal *f = xds_refusing_newest(p), *oldest = NULL;
        const struct xds_gateway *g = f ? xds_directory_find(n->directory, gateway, strlen(gateway)) : NULL;
        size_t count = 0, n_worth = 0;

        for (; f && count < XDS_NOTES_REFUSALS_MAX; f = f->older) {
            const struct xds_form *form = g ? stand_in(g, (enum xds_type)(f->key[1] % XDS_TYPES), f->name) : NULL;

            if (form)
                on_form(arg, form);
            n_worth += !f->passes;
            count++;
            oldest = f;
        }
        if (n_worth > 0)
            on_proxy(arg, p, oldest, n_worth);
        total += count;
    }
    return total;
}

static void sum_proxy(void *arg, const struct xds_refusing *p, const struct xds_refusal *oldest, size_t n)
{
    uint64_t parts[] = {xds_refusing_proxy(p), xds_refusing_changes(p), n}, *sum = arg;

    (void)oldest; /* each change has a number of its own */
    *sum += hash_bytes(parts, sizeof(parts));
}

static void sum_form(void *arg, const struct xds_form *f)
{
    uint64_t parts[] = {f->slot, f->type, f->version}, *sum = arg;

    *sum += hash_seeded(parts, sizeof(parts), (uint64_t)(uintptr_t)f->gateway);
}

/* ---- writing ---- */

struct writing {
    struct notes notes;
    struct map forms; /* those that are noted, by name; the values say nothing */
};

static void begin(struct buf *b, uint64_t layout)
{
    buf_init(b, 0);
    b->secret = true;
    pack_number(b, layout);
}

static void write_proxy(void *arg, const struct xds_refusing *p, const struct xds_refusal *oldest, size_t n)
{
    struct writing *w = arg;
    struct buf b;

    begin(&b, LAYOUT);
    pack_number(&b, xds_refusing_proxy(p));
    pack_text(&b, xds_refusing_gateway(p));
    pack_number(&b, n);
    for (const struct xds_refusal *f = oldest; f; f = f->newer) {
        if (f->passes)
            continue;
        pack_number(&b, f->key[0]);
        pack_number(&b, f->key[1]);
        pack_text(&b, f->name);
        pack_text(&b, f->words);
    }
    notes_add(&w->notes, mem_printf("proxy/%016" PRIx64, xds_refusing_proxy(p)), &b);
}

static void pack_names(struct buf *b, const char *const *names, size_t n)
{
    pack_number(b, n);
    for (size_t i = 0; i < n; i++)
        pack_text(b, names[i]);
}

static void write_form(void *arg, const struct xds_form *f)
{
    const struct resource *r = f->resource;
    char *name = mem_printf("form/%s/%s/%s", f->gateway->name, xds_type_name[f->type], r->name);
    struct writing *w = arg;
    const uint8_t *message;
    struct buf b;
    size_t n;

    if (map_gets(&w->forms, name)) {
        mem_free(name);
        return;
    }
    map_puts(&w->forms, name, name);
    begin(&b, LAYOUT);
    pack_text(&b, f->gateway->name);
    pack_number(&b, f->type);
    pack_text(&b, r->name);
    pack_text(&b, r->owner);
    pack_number(&b, (r->alone ? ALONE : 0U) | (r->uses_eds ? USES_EDS : 0U) | (r->sensitive ? SENSITIVE : 0U));
    pack_names(&b, r->clusters, r->n_clusters);
    pack_names(&b, r->needs, r->n_route_needs);
    pack_names(&b, r->needs + r->n_route_needs, r->n_secret_needs);
    message = resource_message(r, &n);
    buf_append(&b, message, n);
    notes_add(&w->notes, name, &b);
}

static void write_presence(const struct xds_presence *p, struct notes *ret)
{
    const struct xds_known *k;

    for (size_t i = 0; p && (k = xds_presence_next(p, &i)) != NULL;) {
        struct buf b;

        begin(&b, LAYOUT_PRESENCE);
        xds_presence_write(k, &b);
        notes_add(ret, mem_printf("presence/%016" PRIx64, hash_bytes(k->key, k->key_len)), &b);
    }
}

static uint64_t movements(const struct xds_notes *n)
{
    return n->presence ? xds_presence_changes(n->presence) : 0;
}

static void look_and_note(struct xds_notes *n)
{
    struct writing w = {0};
    uint64_t digest = 0, moved = n->movements;

    n->movements = movements(n);
    n->changes = xds_refusals_changes(n->refusals);
    n->accepts = n->directory->accepts;
    n->n_seen = look(n, sum_proxy, sum_form, &digest) + (n->presence ? xds_presence_count(n->presence) : 0);
    if (digest == n->digest && moved == n->movements)
        return;
    n->digest = digest;
    (void)look(n, write_proxy, write_form, &w); /* as many */
    map_clear(&w.forms);
    write_presence(n->presence, &w.notes);
    n->note(n->arg, &w.notes);
}

static bool has_refusals(const struct xds_notes *n)
{
    return n->changes != xds_refusals_changes(n->refusals);
}

static bool has_accepts(const struct xds_notes *n)
{
    return n->digest && n->accepts != n->directory->accepts;
}

static bool may_have_changed(const struct xds_notes *n)
{
    return n->note && n->directory->complete && (has_refusals(n) || has_accepts(n) || n->movements != movements(n));
}

clock_ns xds_notes_run(struct xds_notes *n, clock_ns now)
{
    clock_ns gap = has_refusals(n)  ? XDS_NOTES_HASTE_MS
                   : has_accepts(n) ? XDS_NOTES_GAP_MS
                                    : XDS_NOTES_PRESENCE_MS,
             next = n->looked_at + gap * CLOCK_NS_PER_MS + (clock_ns)n->n_seen * XDS_NOTES_EACH_NS;

    if (!may_have_changed(n))
        return INT64_MAX;
    if (now < next)
        return next;
    n->looked_at = now;
    look_and_note(n);
    return INT64_MAX;
}

void xds_notes_free(struct xds_notes *n)
{
    if (!n)
        return;
    if (may_have_changed(n))
        look_and_note(n);
    drop_waiting(n);
    mem_free(n);
}
