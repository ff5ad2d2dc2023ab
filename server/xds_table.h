/*
 * What all streams share: for each gateway and type the current resources by a small dense number, a "slot", so that
 * a stream keeps its state in arrays and bit sets instead of maps of names.
 *
 * A slot stands for a name and lives as long as anybody knows it: a resource, or a stream that named it or holds a
 * form of it. Clusters and endpoint assignments share their numbers, since an assignment bears the name of its
 * cluster.
 *
 * A form is one version of one resource. It is held by the table while it is current, by every stream whose client
 * holds it, and by every response under way that carries it, so the bytes of a form are there as long as somebody may
 * have to send them again.
 *
 * Everything here belongs to the xDS thread; only parts (xds_part) may be released from any thread.
 */
#ifndef SERVER_XDS_TABLE_H
#define SERVER_XDS_TABLE_H

#include "base/bits.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"
#include "proto/parts.h"
#include "proto/resource.h"
#include "server/xds_decode.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XDS_NO_SLOT UINT32_MAX

struct xds_gateway;

struct xds_form {
    unsigned refs;
    uint32_t slot;
    uint64_t version;
    struct resource *resource; /* NULL: only the client knows its bytes (it told the version when it came back) */
    struct xds_gateway *gateway;
    enum xds_type type;
    bool accepted;                  /* some client took it */
    bool alone;                     /* of the resource, as is */
    bool composed;                  /* of parts of another one, for clients that refuse some: never current. Then: */
    uint64_t basis;                 /* version of the form that it stands for; `since` is that one's */
    uint64_t keeps;                 /* it is all of that, and more of the form of this version (xds_bridge.c); or 0 */
    struct xds_form *next_composed; /* of its table */
    struct parts *parts;            /* made when they are asked for */
    uint64_t keeps_none, keeps_none_at; /* of this version there is nothing to keep, as of that batch */
    uint32_t len;                       /* its wire_len */
    struct hash128 hash;                /* of its name and version; not of a form that only a client has */
    /* The batches (their sequence in the directory) that made it current and that ended that; until: UINT64_MAX while
     * it is, both 0 for a form that never was. */
    uint64_t since, until;
    /* Slots of what it names: clusters; then route configurations, then secrets. */
    uint32_t n_clusters, n_routes, n_secrets;
    uint32_t uses[];
};

/* A name with its number. */
struct xds_name {
    uint32_t slot, refs;
    size_t len;
    char text[];
};

/* The numbers of one set of names. */
struct xds_space {
    struct map by_name;
    struct xds_name **names; /* by slot; NULL: free */
    uint32_t n, cap;         /* slots that were given out at some time, and room for them */
    uint32_t *unused;        /* slots to give out again */
    uint32_t n_unused, unused_cap;
    /* The long list of names that was subscribed to last, with its slots: clients of one gateway ask for the same
     * names in the same order (Envoy sorts them). Forgotten when a slot loses its name. */
    struct xds_memo told;
    struct bits told_slots;
};

/* The wire bytes of up to 64 neighbouring slots in one piece, for first syncs. refs is atomic. */
struct xds_block {
    int refs;
    uint64_t members;
    size_t len;
    uint8_t bytes[];
};

/* How resources stand in a response: as Resource (incremental) or as Any (state of the world). */
enum xds_variant { XDS_SOTW, XDS_DELTA, XDS_VARIANTS };

struct xds_table {
    enum xds_type type;
    struct xds_space *space;
    struct bits live;           /* slots that have a current form */
    struct xds_form **current;  /* by slot, up to cap; NULL: there is none */
    struct xds_form **accepted; /* the newest form that a client took; NULL: none yet */
    uint64_t *versions;         /* of the current forms; 0: there is none */
    uint32_t cap;
    struct hash128 sum;                      /* of all current forms: see xds_sum_add() */
    struct xds_block **blocks[XDS_VARIANTS]; /* by slot / 64, made when asked for */
    uint32_t n_blocks;
    struct xds_lot *lots;      /* for clients that have nothing: see xds_lot.h */
    struct xds_form *composed; /* all that are in use, so that clients that refuse the same share the bytes */
};

/* A slot whose current form changed, appeared or went. before: the form until now, or NULL; borrowed for the call.
 * accepted: nothing of that, but another form may stand in for it where it was refused; so of all that are told
 * together, or of none. */
struct xds_touched {
    enum xds_type type;
    uint32_t slot;
    struct xds_form *before;
    bool accepted;
};

/* Somebody who wants to hear of a gateway's changes: a session. */
struct xds_watcher {
    /* touched NULL: everything may have changed: the gateway is known now. */
    void (*changed)(struct xds_watcher *w, const struct xds_touched *touched, size_t n);
    struct xds_watcher *next, *previous;
};

struct xds_gateway {
    char *name;
    unsigned refs;
    bool known; /* it exists and its content is complete: its proxies are answered */
    bool kept;  /* the directory holds a reference: it exists, or its content came before a complete batch */
    struct xds_space spaces[XDS_TYPES]; /* XDS_ENDPOINT's is not used: see above */
    struct xds_table tables[XDS_TYPES];
    struct xds_watcher watchers; /* head of the ring */
    uint64_t revision;           /* of the last batch that changed it */
    struct xds_journal *journal; /* what changed, for those that follow: see xds_rollout.h */
    struct xds_directory *directory;
};

struct xds_directory {
    struct map gateways;     /* by name */
    bool complete;           /* a complete batch came: it is known which gateways there are */
    uint64_t sequence;       /* of the last batch: 1, 2, ... */
    uint64_t n_gone;         /* resources that went, so far */
    uint64_t gateways_ended; /* so many so far */
    struct xds_rollouts *rollouts;
    struct xds_watcher
        unresolved; /* sessions that wait for their gateway; told with NULL after each complete batch */
};

struct xds_directory *xds_directory_new(void);
/* All sessions must be gone. */
void xds_directory_free(struct xds_directory *d);
/* Takes in what changed and tells the watchers; O(size of the batch), and for each watcher of a gateway a bit test or
 * so for each change of that gateway. The batch stays the caller's. */
void xds_directory_apply(struct xds_directory *d, const struct xds_batch *batch);
/* Borrowed, or NULL when it does not exist (yet). */
struct xds_gateway *xds_directory_find(const struct xds_directory *d, const char *name, size_t len);

struct xds_gateway *xds_gateway_ref(struct xds_gateway *g);
void xds_gateway_unref(struct xds_gateway *g);

void xds_watch(struct xds_watcher *head, struct xds_watcher *w);
void xds_unwatch(struct xds_watcher *w); /* nothing happens when it watches nobody */

static inline struct xds_space *xds_space_of(struct xds_gateway *g, enum xds_type type)
{
    return &g->spaces[type == XDS_ENDPOINT ? XDS_CLUSTER : type];
}

/* The slot of a name, or XDS_NO_SLOT. */
uint32_t xds_slot_find(const struct xds_space *s, const char *name, size_t len);
/* A slot for a name that was just looked up and has none; the caller has its reference. */
uint32_t xds_slot_new(struct xds_space *s, const char *name, size_t len);
static inline void xds_slot_ref(struct xds_space *s, uint32_t slot)
{
    s->names[slot]->refs++;
}
void xds_slot_unref(struct xds_space *s, uint32_t slot);

static inline struct xds_form *xds_current(const struct xds_table *t, uint32_t slot)
{
    return slot < t->cap ? t->current[slot] : NULL;
}
static inline struct xds_form *xds_accepted(const struct xds_table *t, uint32_t slot)
{
    return slot < t->cap ? t->accepted[slot] : NULL;
}
/* The form that is composed of parts of `basis` (keeps: and of that version, else 0); the caller's reference. r stays
 * the caller's. */
struct xds_form *xds_form_composed(struct xds_form *basis, uint64_t keeps, struct resource *r);
/* The one that keeps something of that version, if somebody has it; borrowed, or NULL. */
struct xds_form *xds_form_find_keeping(const struct xds_form *basis, uint64_t keeps);
/* Of a listener or route configuration; borrowed. NULL: it has none, or its bytes are not known. */
const struct parts *xds_form_parts(struct xds_form *f);
/* They are not needed for now. */
void xds_form_drop_parts(struct xds_form *f);
/* A client took this form. True: it is the newest of its name that one did. */
bool xds_form_accept(struct xds_form *f);
/* Tells the watchers that these are. */
void xds_accepted_tell(struct xds_gateway *g, const struct xds_touched *touched, size_t n);
/* The same, before the daemon was started anew: it counts where there is a form of that name and none was taken
 * since. r stays the caller's. */
void xds_accepted_restore(struct xds_gateway *g, struct resource *r);
/* A form of the slot that was current, or composed, at some time, and taken by a client. The caller's reference; r
 * stays the caller's. */
struct xds_form *xds_form_taken(struct xds_gateway *g, struct resource *r, uint32_t slot);
/* The form that stands in for an assignment that was refused and never had a good form: it has no endpoints, so that
 * its cluster does not wait for it. Borrowed from the table. */
struct xds_form *xds_empty_assignment(struct xds_table *t, struct xds_gateway *g, uint32_t slot);
/* A form that only a client has the bytes of. The caller's reference. */
struct xds_form *xds_form_foreign(struct xds_gateway *g, enum xds_type type, uint32_t slot, uint64_t version);

static inline struct xds_form *xds_form_ref(struct xds_form *f)
{
    f->refs++;
    return f;
}
void xds_form_free(struct xds_form *f);
/* NULL is allowed. */
static inline void xds_form_unref(struct xds_form *f)
{
    if (f && --f->refs == 0)
        xds_form_free(f);
}
static inline const char *xds_form_name(const struct xds_form *f)
{
    return xds_space_of(f->gateway, f->type)->names[f->slot]->text;
}

/* Of a name and version: what a form's hash is made of. */
struct hash128 xds_version_hash(const char *name, size_t len, uint64_t version);
/* A content's version is the sum over its forms' hashes: it does not depend on any order, and is kept up by adding
 * and subtracting. */
static inline void xds_sum_add(struct hash128 *sum, struct hash128 h)
{
    sum->low += h.low;
    sum->high += h.high + (sum->low < h.low);
}
static inline void xds_sum_subtract(struct hash128 *sum, struct hash128 h)
{
    sum->high -= h.high + (sum->low < h.low);
    sum->low -= h.low;
}

/*
 * The block of slots 64 * word and on, if all of wanted's members (bits) that can stand in a block do; borrowed, or
 * NULL. Members that must stay alone or are secret are never in it: see members.
 */
struct xds_block *xds_block_get(struct xds_table *t, enum xds_variant variant, uint32_t word, uint64_t wanted);

/* A piece of a message: bytes that somebody else keeps until they are released. */
struct xds_part {
    const uint8_t *p;
    size_t n;
    void *owner;
    void (*release)(void *owner); /* any thread */
};
struct xds_part xds_part_of_form(struct xds_form *f, enum xds_variant variant);
struct xds_part xds_part_of_block(struct xds_block *b);

#endif
