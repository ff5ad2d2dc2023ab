/*
 * Lots: what clients get that hold nothing (from some slot on) and want everything. Many come at once when a server
 * starts, and what they get is the same: which slots, in which responses, and what these need. So that is found out
 * once and shared until the table changes; a client that is in any other state is looked at slot by slot.
 *
 * Owned by the xDS thread.
 */
#ifndef SERVER_XDS_LOT_H
#define SERVER_XDS_LOT_H

#include "server/xds_table.h"

struct xds_session;
struct xds_sub;

/* The resources of one response: all of some neighbouring slots, without those that must be sent alone. */
struct xds_lot {
    unsigned refs; /* of the table while it is as it is, and of the responses that brought it */
    struct xds_lot *next;
    bool stale;              /* the table changed since */
    bool limited;            /* it ends where a response is long enough */
    uint32_t from, to;       /* slots; to is not among them */
    struct bits slots;       /* what it brings */
    struct xds_form **forms; /* the same by slot, a reference to each */
    uint32_t n;
    bool fresh;           /* maybe one that no client has taken yet */
    struct hash128 sum;   /* of the forms */
    struct bits clusters; /* what listeners and routes need before */
    struct bits assigned; /* of clusters: those that use assignments */
};

static inline struct xds_lot *xds_lot_ref(struct xds_lot *lot)
{
    lot->refs++;
    return lot;
}
void xds_lot_unref(struct xds_lot *lot);
/* The table changes: its lots are not to be given out any more. */
void xds_lots_drop(struct xds_table *t);

/*
 * The lot that is all that this client wants of the type now, or all that a response can hold of that; NULL when it
 * is not that simple. Borrowed from the table.
 */
struct xds_lot *xds_lot_find(const struct xds_session *s, const struct xds_sub *sub);
/* The client holds it from now on; nothing of it is pending or owed. */
void xds_lot_hold(struct xds_sub *sub, const struct xds_lot *lot);
/* The client said that it has the lot, which is not stale. */
void xds_lot_confirm(struct xds_sub *sub, const struct xds_lot *lot);

#endif
