/*
 * Notes of proxies. Their names, and what stands in them, packed (store/pack.h), behind the number of their layout,
 * which is LAYOUT_PRESENCE for the last of these, so that a daemon that knows the others alone passes over it:
 *
 *     proxy/NUMBER                      gateway; how many; of each, the oldest first: key, type, name, words; how
 *                                       many forms it has; of each: type, name, version
 *     form/GATEWAY/TYPE/NAME/VERSION    gateway, type, name, owner, flags, names of clusters, route configurations,
 *                                       secrets; the message
 *     presence/NUMBER                   of a proxy's key: see xds_presence_write()
 *
 * A note that is not understood says nothing.
 */
#include "server/xds_notes.h"

#include "base/pointers.h"
#include "store/pack.h"

#include <inttypes.h>
#include <string.h>

enum { LAYOUT = 3, LAYOUT_PRESENCE = 2, ALONE = 1, USES_EDS = 2, SENSITIVE = 4 };

/* Forms that are looked at in the time that a refusal takes. */
enum { KEPT_FOR_ONE = 20 };

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
    struct pointers waiting;                           /* until the first complete batch */
    uint64_t changes, kept_changes, n_gone, movements; /* of what is looked at, as of the last look */
    uint64_t digest;                                   /* of the refusals and forms that were noted last */
    clock_ns looked_at;
    size_t n_seen; /* refusals and proxies, by the last look */
};

/* ---- reading ---- */

/* The one that the proxy has; borrowed, or NULL. */
static struct resource *find_waiting(const struct xds_notes *n, const char *gateway, uint64_t type, const char *name,
                                     uint64_t version)
{
    for (size_t i = 0; i < n->waiting.count; i++) {
        const struct waiting *w = n->waiting.items[i];

        if (w->resource->version == version && w->resource->type == type && strcmp(w->resource->name, name) == 0 &&
            strcmp(w->gateway, gateway) == 0)
            return w->resource;
    }
    return NULL;
}

static void read_kept(struct xds_notes *n, struct xds_refusing *p, struct unpack *u)
{
    for (size_t left = unpack_count(u, 3); left > 0; left--) {
        uint64_t type = unpack_number(u);
        const char *name = unpack_text(u);
        uint64_t version = unpack_number(u);
        struct resource *r = u->bad || !name ? NULL : find_waiting(n, xds_refusing_gateway(p), type, name, version);

        if (r)
            xds_refusing_keep(p, r->type, r->name, r);
    }
}

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
    read_kept(n, p, &u);
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

static void read_presence(struct xds_notes *n, struct unpack u)
{
    xds_presence_read(n->presence, &u, clock_now(NULL));
}

/* Those whose names begin so. */
static void read_notes(struct xds_notes *n, const struct notes *notes, const char *prefix, uint64_t layout,
                       void (*read)(struct xds_notes *n, struct unpack u))
{
    for (size_t i = 0; i < notes->n; i++) {
        struct unpack u = unpack_start(notes->items[i].bytes, notes->items[i].len);

        if (strncmp(notes->items[i].name, prefix, strlen(prefix)) == 0 && unpack_number(&u) == layout)
            read(n, u);
    }
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
    if (before) {
        read_notes(n, before, "form/", LAYOUT, read_form);
        read_notes(n, before, "proxy/", LAYOUT, read_proxy); /* they have some of these */
        if (presence)
            read_notes(n, before, "presence/", LAYOUT_PRESENCE, read_presence);
    }
    return n;
}

/* ---- what is worth a note ---- */

/* Whether it is of something that is there, in another form. */
static bool stands_in(const struct xds_gateway *g, const struct resource *r)
{
    const struct xds_table *t = &g->tables[r->type];
    uint32_t slot = xds_slot_find(t->space, r->name, strlen(r->name));
    const struct xds_form *current = slot == XDS_NO_SLOT ? NULL : xds_current(t, slot);

    return current && current->version != r->version;
}

/* A proxy that is worth a note. gateway: NULL while it does not exist; oldest: of the refusals that are looked at, of
 * which n are worth a note. */
struct seen {
    const struct xds_refusing *proxy;
    const struct xds_gateway *gateway;
    const struct xds_refusal *oldest;
    size_t n;
};

/* The next of what it has and is worth a note; borrowed, or NULL. */
static struct resource *next_kept(const struct seen *seen, size_t *i)
{
    struct resource *r;

    while (seen->gateway && (r = xds_refusing_kept_at(seen->proxy, (*i)++)))
        if (stands_in(seen->gateway, r))
            return r;
    return NULL;
}

/* Returns how many refusals of it were looked at. */
static size_t look_at_refusals(struct seen *seen)
{
    size_t count = 0;

    for (const struct xds_refusal *f = xds_refusing_newest(seen->proxy); f && count < XDS_NOTES_REFUSALS_MAX;
         f = f->older) {
        seen->n += !f->passes;
        seen->oldest = f;
        count++;
    }
    return count;
}

/*
 * What is worth a note: of who refused something; and, where there is room, of who was behind when its stream ended,
 * which may refuse what it did not get yet. Returns how many refusals there are, or what costs as much to look at.
 */
static size_t look(const struct xds_notes *n, void (*on_proxy)(void *arg, const struct seen *seen), void *arg)
{
    size_t total = 0, kept = 0;

    for (unsigned behind = 0; behind < 2; behind++) {
        const struct xds_refusing *p = NULL;

        while (total < XDS_NOTES_MAX && (p = xds_refusals_next(n->refusals, p))) {
            const char *gateway = xds_refusing_gateway(p);
            struct seen seen = {.proxy = p, .gateway = xds_directory_find(n->directory, gateway, strlen(gateway))};
            size_t count = look_at_refusals(&seen), at = 0;

            if (behind) {
                count = 0;
                while (seen.n == 0 && next_kept(&seen, &at))
                    count++;
                kept += at;
            }
            if (behind ? count > 0 : seen.n > 0)
                on_proxy(arg, &seen);
            total += count;
        }
    }
    return total + kept / KEPT_FOR_ONE;
}

static void sum_proxy(void *arg, const struct seen *seen)
{
    /* Each change has a number of its own. */
    uint64_t parts[] = {xds_refusing_proxy(seen->proxy), xds_refusing_changes(seen->proxy), seen->n}, *sum = arg;
    const struct resource *r;

    *sum += hash_bytes(parts, sizeof(parts));
    for (size_t i = 0; (r = next_kept(seen, &i));) {
        uint64_t kept[] = {xds_refusing_proxy(seen->proxy), r->type, r->version};

        *sum += hash_bytes(kept, sizeof(kept));
    }
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

static void pack_names(struct buf *b, const char *const *names, size_t n)
{
    pack_number(b, n);
    for (size_t i = 0; i < n; i++)
        pack_text(b, names[i]);
}

static void write_form(struct writing *w, const char *gateway, const struct resource *r)
{
    char *name = mem_printf("form/%s/%s/%s/%016" PRIx64, gateway, xds_type_name[r->type], r->name, r->version);
    const uint8_t *message;
    struct buf b;
    size_t n;

    if (map_gets(&w->forms, name)) {
        mem_free(name);
        return;
    }
    map_puts(&w->forms, name, name);
    begin(&b, LAYOUT);
    pack_text(&b, gateway);
    pack_number(&b, r->type);
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

static void write_proxy(void *arg, const struct seen *seen)
{
    const struct xds_refusing *p = seen->proxy;
    struct writing *w = arg;
    const struct resource *r;
    size_t n_kept = 0;
    struct buf b;

    begin(&b, LAYOUT);
    pack_number(&b, xds_refusing_proxy(p));
    pack_text(&b, xds_refusing_gateway(p));
    pack_number(&b, seen->n);
    for (const struct xds_refusal *f = seen->oldest; f; f = f->newer) {
        if (f->passes)
            continue;
        pack_number(&b, f->key[0]);
        pack_number(&b, f->key[1]);
        pack_text(&b, f->name);
        pack_text(&b, f->words);
    }
    for (size_t i = 0; next_kept(seen, &i);)
        n_kept++;
    pack_number(&b, n_kept);
    for (size_t i = 0; (r = next_kept(seen, &i));) {
        write_form(w, seen->gateway->name, r);
        pack_number(&b, r->type);
        pack_text(&b, r->name);
        pack_number(&b, r->version);
    }
    notes_add(&w->notes, mem_printf("proxy/%016" PRIx64, xds_refusing_proxy(p)), &b);
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
    n->kept_changes = xds_refusals_kept_changes(n->refusals);
    n->n_gone = n->directory->n_gone;
    n->n_seen = look(n, sum_proxy, &digest) + (n->presence ? xds_presence_count(n->presence) : 0);
    if (digest == n->digest && moved == n->movements)
        return;
    n->digest = digest;
    (void)look(n, write_proxy, &w); /* as many */
    map_clear(&w.forms);
    write_presence(n->presence, &w.notes);
    n->note(n->arg, &w.notes);
}

static bool has_refusals(const struct xds_notes *n)
{
    return n->changes != xds_refusals_changes(n->refusals);
}

/* Other forms may be worth a note, or those that were are no more. */
static bool has_forms(const struct xds_notes *n)
{
    return n->kept_changes != xds_refusals_kept_changes(n->refusals) ||
           (n->digest && n->n_gone != n->directory->n_gone);
}

static bool may_have_changed(const struct xds_notes *n)
{
    return n->note && n->directory->complete && (has_refusals(n) || has_forms(n) || n->movements != movements(n));
}

clock_ns xds_notes_run(struct xds_notes *n, clock_ns now)
{
    clock_ns gap = has_refusals(n) ? XDS_NOTES_HASTE_MS
                   : has_forms(n)  ? XDS_NOTES_GAP_MS
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
