/*
 * What each proxy has, for whoever asks: the door to the sessions' state from other threads.
 *
 * A question is put into a queue, and answered by the xDS thread between its events, a large one in slices of about a
 * millisecond; the caller waits for the answer. Nothing is counted beforehand: an answer is read from the sessions'
 * bit sets (64 resources at a time) when it is asked for, so that events cost nothing more. About a microsecond for
 * each stream and ten thousand resources that it has, more for what it lacks. The answer to a question about all of a
 * large gateway is that of some milliseconds, not of one moment.
 *
 * Functions marked "any thread" may be called from each but the xDS thread itself. They fail with -EAGAIN when
 * XDS_QUESTIONS_MAX wait already, with -ESHUTDOWN when the server stops.
 */
#ifndef SERVER_XDS_STATUS_H
#define SERVER_XDS_STATUS_H

#include "base/clock.h"
#include "server/xds_presence.h"
#include "server/xds_rollout.h"
#include "server/xds_table.h"

enum {
    XDS_QUESTIONS_MAX = 256,
    XDS_SLICE_US = 1000, /* of the xDS thread's time at a stretch */
};

struct xds_common;
struct xds_session;
struct xds_status;

/* How a proxy stands with one resource. */
enum xds_state {
    XDS_REQUESTED,      /* it asks for it, and has not acked the current form (yet) */
    XDS_ACKED,          /* it acked the current form */
    XDS_NACKED,         /* it refused the current form, or a part of it, which is held back; an older may stand in */
    XDS_DOES_NOT_EXIST, /* it asks for it by name, and there is none */
    XDS_STATES
};

struct xds_proxy_resource {
    enum xds_type type;
    const char *name;
    uint64_t version; /* of the current form; 0: there is none */
    enum xds_state state;
    const char *words; /* Envoy's; NULL: it did not refuse it */
};

/* A stream of an Envoy, or one that was connected and is not. Texts may be NULL where the proxy said nothing. */
struct xds_proxy {
    enum xds_presence_state presence;
    const char *id; /* unique over restarts; sorts by the time of connecting */
    const char *node_id, *node_cluster, *peer, *version;
    const char *gateway; /* the one it asks for while it has none; NULL: not known */
    enum xds_variant variant;
    double connected_at; /* seconds since 1970 */
    double first_seen;   /* the same: when it was connected for the first time, as far as it is remembered */
    double left_at;      /* the same; 0: it is connected */
    const char *ended;   /* why its last stream ended; NULL: it is connected */
    bool asked[XDS_TYPES];
    uint64_t counts[XDS_TYPES][XDS_STATES];
    struct xds_proxy_resource *resources; /* only of one proxy; sorted by type and name */
    size_t n_resources;
};

/* Any thread. All proxies, by id, without their resources; or (id) one with them: -ENOENT when it is neither
 * connected nor remembered. Texts and arrays are in the arena. */
int xds_status_proxies(struct xds_status *t, const char *id, struct arena *arena, struct xds_proxy **ret,
                       size_t *ret_n);

/* Any thread. One that is not connected is not remembered any more. -EBUSY: it is connected; -ENOENT: as above. */
int xds_status_forget(struct xds_status *t, const char *id);

/* Resources that belong together: all of them have to be taken. Names may be NULL; a secret that does not exist is
 * not waited for, since what needs it is left out as well. */
struct xds_bundle {
    const char *gateway, *cluster, *listener;
    const char *const *routes, *const *secrets;
    size_t n_routes, n_secrets;
};

struct xds_verdict {
    bool known;                      /* the gateway exists */
    uint32_t proxies, acked, nacked; /* streams of the gateway; that have all in the current forms; that refuse one */
    enum xds_type type;              /* of one that was refused, */
    const char *name, *words;        /* with Envoy's words; NULL: none was */
};

/* Any thread. ret: n of them. A bundle of which something does not exist is acked by nobody. */
int xds_status_bundles(struct xds_status *t, const struct xds_bundle *bundles, size_t n, struct arena *arena,
                       struct xds_verdict *ret);

struct xds_rollout_error {
    enum xds_type type;
    const char *name, *words; /* NULL: not known any more */
};

/* A proxy of a gateway that the revision changed. */
struct xds_rollout_proxy {
    const char *id, *node_id, *gateway, *peer;
    enum xds_rollout_state state; /* pending, acked, refused */
    struct xds_rollout_error *errors;
    size_t n_errors;
};

struct xds_rollout_status {
    struct xds_rollout rollout;
    const char **gateways; /* that it changed, of those with proxies; sorted */
    size_t n_gateways;
    struct xds_rollout_proxy *proxies; /* by id */
    size_t n_proxies;
};

/* Any thread. */
int xds_status_rollout(struct xds_status *t, uint64_t revision, struct arena *arena, struct xds_rollout_status *ret);

/*
 * Any thread. done() is called once, in the xDS thread: it must not block, nor ask anything here. seconds: at most
 * XDS_WAIT_SECONDS_MAX. When too many wait already, it is over at once (XDS_WAIT_EXPIRED).
 */
int xds_status_wait(struct xds_status *t, uint64_t revision, unsigned seconds, xds_wait_done done, void *arg,
                    uint64_t *ret_id);
/* Any thread. done() has been called, or never is, when this returns. */
int xds_status_cancel(struct xds_status *t, uint64_t id);

/* Any thread. A number that is another one whenever a question may have another answer than before: whoever keeps an
 * answer reads it first, then asks, and the answer is good as long as the number is the same. */
uint64_t xds_status_version(const struct xds_status *t);
/* Any thread: an answer was not given, or is not what it was. */
void xds_status_changed(struct xds_status *t);

/* ---- for the server; xDS thread ---- */

/* Something is about to happen to that session; its stream ended, and it is about to be freed. Answers are others
 * then. why: for people. */
void xds_status_stirred(struct xds_status *t, struct xds_session *s);
void xds_status_gone(struct xds_status *t, struct xds_session *s, const char *why, clock_ns now);
/* A batch was applied. That answers become others was said before: who is told by it asks at once. */
void xds_status_applied(struct xds_status *t, const struct xds_batch *b);

/* wake() makes the xDS thread call xds_status_run(); any thread. */
struct xds_status *xds_status_new(const struct xds_common *common, void (*wake)(void *arg), void *arg);
void xds_status_free(struct xds_status *t); /* NULL is allowed; after xds_status_stop(), or when nobody ever asked */
/* Answers for a slice of time, and tells what is to be told. Returns when to be called again at the latest; 0: as
 * soon as there is nothing else to do. */
clock_ns xds_status_run(struct xds_status *t, clock_ns now);
/* Nobody is answered any more. */
void xds_status_stop(struct xds_status *t);

#endif
