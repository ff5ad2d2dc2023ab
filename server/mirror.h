/*
 * The mirror: what an OpenSVC 2.1 agent said, kept in a compact form, patched as its events come, noise thrown away
 * before it costs anything. Pure: bytes in, facts out; no I/O. Owned by one thread.
 *
 * Of `daemon_status` only what a gateway needs is kept: instances of svc objects with their declaration and ip
 * resources, scaler links, what the orchestrator intends, and the csum of sec objects' configurations.
 *
 * A node that a patch sets to null, removes or leaves without services has no address any more, but what was declared
 * there stays declared until the node speaks again or a complete fetch lacks it: losing a node deletes no service.
 *
 * A status is fed as it arrives, in pieces. A patch is applied as a whole or not at all, and remembers which
 * services it touched; facts are made for those only.
 */
#ifndef SERVER_MIRROR_H
#define SERVER_MIRROR_H

#include "base/err.h"
#include "store/facts.h"

#include <stdbool.h>
#include <stdint.h>

struct mirror;

enum {
    MIRROR_DEPTH_MAX = 64,       /* steps of a change's path */
    MIRROR_EVENT_MAX = 64 << 20, /* bytes of one event message; whoever assembles them sees to it */
    MIRROR_QUEUE_MAX = 64 << 20, /* bytes of events that are kept while a fetch is under way */
};

/* max_status_bytes: 0: no limit. */
struct mirror *mirror_new(uint64_t max_status_bytes);
void mirror_free(struct mirror *m);

/* ---- a complete fetch: the answer to daemon_status, without the NUL at its end ---- */

/* Starts reading one; the old content stays valid until mirror_status_end() returned 0. */
void mirror_status_begin(struct mirror *m);
/* -EBADMSG, -EMSGSIZE: the fetch failed, the old content stays. */
int mirror_status_feed(struct mirror *m, const char *p, size_t n, struct err *e);
/*
 * The new content takes the place of the old; what differs from it is touched. -EBADMSG when it was not complete or
 * is no data set ("status": 500 ...); -EAGAIN when no node tells any services, or when the picture is partial, there
 * was nothing before, and partial is false. e tells why; also of a partial picture that was taken.
 *
 * A picture is partial while a daemon is starting: a node is in "init" and does not know all its services, or one is
 * in "rejoin" and has not heard of all others of the cluster. What is missing there is not gone: where it was known
 * before, it is kept as it was, until a fetch that is not partial.
 */
int mirror_status_end(struct mirror *m, bool partial, struct err *e);
/* Whether what was fetched last was partial; ret_settled: by what was heard since, a fetch would be whole now. */
bool mirror_is_partial(const struct mirror *m, bool *ret_settled);

/* ---- events ---- */

enum mirror_event {
    MIRROR_NOISE,   /* nothing for us, or not a patch */
    MIRROR_APPLIED, /* touched something, maybe; or kept for later */
    MIRROR_GAP,     /* ids are missing, or too much was kept: fetch again */
    MIRROR_MISFIT,  /* a change does not fit, or is no JSON: fetch again; e says which */
};
/*
 * One whole event message (without the NUL). Noise is told by looking at the beginnings of paths, without decoding
 * values. Ids: the first patch after mirror_follow() sets the count; then each must be one more; a gap is reported
 * once, the count goes on from the patch that showed it (which is not applied).
 */
enum mirror_event mirror_event(struct mirror *m, const char *message, size_t n, struct err *e);
/* Patches that come from now on follow a new subscription: forget the last id. */
void mirror_follow(struct mirror *m);
/* Keep events for later instead of applying them, from the start of a fetch on; what was kept before is dropped. */
void mirror_hold(struct mirror *m);
/*
 * Applies what was kept, and reports as the worst of them. What was fetched may hold some of it already: what has no
 * place any more is passed over, as applying the rest in order ends in the same state.
 */
enum mirror_event mirror_release(struct mirror *m, struct err *e);
uint64_t mirror_last_id(const struct mirror *m);

/* ---- what came of it ---- */

/* The next service whose facts may have changed since they were last taken, or false. The facts are borrowed until
 * the next call on the mirror. gone: nobody declares it any more (facts has the path only). */
bool mirror_next_touched(struct mirror *m, struct facts *ret_facts, bool *ret_gone);
/* Touches all services and secrets (a sync of the store). */
void mirror_touch_all(struct mirror *m);
/* The csum of a sec object's configuration; NULL: the agent does not list it. Borrowed until the next call. */
const char *mirror_secret_csum(const struct mirror *m, const char *path);
/* Secrets whose csum changed, appeared or went since last asked; borrowed until the next call on the mirror. */
const char *mirror_next_secret(struct mirror *m);
/* The paths that a write-back of a service's keyword goes to, with the node to ask: the service itself, or the scaler
 * and its slaves. Borrowed; ends with NULL. ret_node: a node that has it, or NULL. */
const char *const *mirror_write_back_paths(struct mirror *m, const char *path, const char **ret_node);
/* Counts, for logs and the benchmark. */
struct mirror_stats {
    size_t nodes, instances, services, secrets;
    uint64_t events, noise;
};
struct mirror_stats mirror_stats(const struct mirror *m);

#endif
