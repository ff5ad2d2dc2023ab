/*
 * What has to be known of proxies after a restart of the daemon, as notes (store/notes.h): who was here, what each
 * refused, and what it has of that instead. Without these, bytes that were refused would be sent again to all that
 * come back; where a refused part is one of many, good ones would be taken from their proxy while it is found out
 * once more which one is bad; and what stood in for it would be gone.
 *
 * Notes are made when something of that changed, of a refusal at most once in XDS_NOTES_HASTE_MS, of what stands in
 * in XDS_NOTES_GAP_MS, of who came and left in XDS_NOTES_PRESENCE_MS, and XDS_NOTES_EACH_NS later for each refusal
 * and each proxy that there is: all are looked at each time. Refusals are few: of each proxy its
 * XDS_NOTES_REFUSALS_MAX newest, of all proxies XDS_NOTES_MAX, those with a stream before the others. Of proxies that
 * refused nothing, what they had that was not current is noted as far as that leaves room. What is not noted is found
 * out again.
 *
 * Owned by the xDS thread; pure.
 */
#ifndef SERVER_XDS_NOTES_H
#define SERVER_XDS_NOTES_H

#include "base/clock.h"
#include "server/xds_presence.h"
#include "server/xds_refusals.h"
#include "server/xds_table.h"
#include "store/notes.h"

enum {
    XDS_NOTES_HASTE_MS = 10,
    XDS_NOTES_GAP_MS = 100,
    XDS_NOTES_PRESENCE_MS = 1000,
    XDS_NOTES_EACH_NS = 20000,
    XDS_NOTES_REFUSALS_MAX = 256,
    XDS_NOTES_MAX = 20000,
};

struct xds_notes;

/*
 * Takes in what was noted before; directory, refusals and presence (NULL: nobody is remembered) are borrowed. note:
 * takes a new set; called by xds_notes_run(), xds_notes_free(), must not block; NULL: nothing is noted.
 */
struct xds_notes *xds_notes_new(struct xds_directory *d, struct xds_refusals *r, struct xds_presence *presence,
                                const struct notes *before, void (*note)(void *arg, struct notes *notes), void *arg);
/* A batch was applied; no session has been served since. */
void xds_notes_applied(struct xds_notes *n);
/* Returns when to be called again at the latest. */
clock_ns xds_notes_run(struct xds_notes *n, clock_ns now);
/* Notes what is not noted yet. All that is borrowed is still there. NULL is allowed. */
void xds_notes_free(struct xds_notes *n);

#endif
