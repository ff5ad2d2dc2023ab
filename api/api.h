/*
 * The door to the REST interface: listens, answers, and reads the state through functions that the daemon hands over,
 * so that nothing of it knows the xDS side or the agent's.
 *
 * Handlers run in threads of their own, several at a time. Each reads one view by reference and never waits for the
 * writer; the functions of struct api_backend are called in these threads, so they must be thread-safe and must not
 * wait for anybody who waits for a handler.
 */
#ifndef API_API_H
#define API_API_H

#include "base/err.h"
#include "store/edit.h"
#include "store/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Limits; past each stands a clear answer. */
enum {
    API_ADDRESSES_MAX = 32,
    API_URI_MAX = 8 << 10,      /* bytes of the request's target: 414 */
    API_HEADERS_MAX = 16 << 10, /* bytes of all header fields: 431 */
    API_BODY_MAX = 1 << 20,     /* bytes of a request's content: 413 */
    API_CONNECTIONS_MAX = 512,  /* of all addresses together: 503 */
    API_REQUESTS_MAX = 256,     /* being read, handled or answered: 503. Probes are answered past that, too */
    API_WAITERS_MAX = 128,      /* of them: that wait for proxies (Prefer: wait); more are answered without */
    API_REQUEST_SECONDS = 30,   /* from the request line to the last byte of the answer: the connection is cut */
    API_WAIT_SECONDS_MAX = 60,  /* that a request can ask to be waited for (Prefer: wait), beside these */
    API_STREAMS_MAX = 128,      /* at the same time: 503 */
    API_STREAM_SECONDS = 30,    /* for a stream's reader to take what was written last: the connection is cut */
    API_STREAM_BUFFER = 40 << 10,
    API_IDLE_SECONDS = 60, /* between requests, and for a connection's first request line */
};

/* What a proxy has of one resource, by xDS's names. */
enum api_resource_state { API_REQUESTED, API_ACKED, API_NACKED, API_DOES_NOT_EXIST };

struct api_proxy_resource {
    const char *type; /* "CLUSTER", "LISTENER", ... short and in capitals */
    const char *name;
    const char *version; /* NULL: none was sent */
    enum api_resource_state state;
    const char *error; /* NULL, or Envoy's words */
};

/* How many resources of one type are in which state. */
struct api_proxy_type {
    const char *type;
    uint64_t counts[API_DOES_NOT_EXIST + 1];
};

/* Whether a proxy is there: away are those that left, or did not come back since the daemon was started, a moment
 * ago; gone, a while ago. */
enum api_presence { API_CONNECTED, API_AWAY, API_GONE };

/* An Envoy that is connected, or was. */
struct api_proxy {
    const char *id; /* of its stream, the last one: unique, and the same until it comes back */
    enum api_presence presence;
    const char *node_id, *node_cluster;
    const char *gateway;
    const char *peer;          /* "127.0.0.1:40312", "unix" */
    const char *envoy_version; /* "1.31.2"; NULL: it did not say */
    bool incremental;          /* else state of the world */
    double connected_at;       /* seconds since 1970 */
    double first_seen_at;      /* the same */
    double left_at;            /* the same; 0: it is connected */
    const char *ended;         /* why its last stream ended; NULL: it is connected */
    const struct api_proxy_type *types;
    size_t n_types;
    const struct api_proxy_resource *resources; /* only when asked for one proxy; sorted by type and name */
    size_t n_resources;
};

struct api_alarm {
    const char *name; /* "config.db" */
    const char *text;
    double since; /* seconds since 1970 */
};

/* Where a gateway's Envoys can come to. */
struct api_xds_address {
    const char *address; /* "127.0.0.1:50051", "unix:/run/igwd/xds.sock" */
    bool tls;            /* and the name in the client certificate says whether it may */
};

/* By which of Envoy's resources an exposure is carried. Texts are borrowed for the call; NULL: it has none. */
struct api_carrier {
    const char *gateway, *cluster, *listener;
    const char *const *routes;  /* route configurations */
    const char *const *secrets; /* certificates and validations of its TLS */
    size_t n_routes, n_secrets;
};

/* What the connected proxies of a gateway said of an exposure's resources. */
struct api_programmed {
    bool known;
    uint32_t proxies, acked, nacked; /* acked: those that took all of it in its current form */
    const char *error;               /* NULL, or the words of one that refused something of it */
};

/* How far a revision has come, as a whole and with one proxy. */
enum api_rollout_state { API_ROLLOUT_NACKED, API_ROLLOUT_PENDING, API_ROLLOUT_ACKED };

struct api_rollout_error {
    const char *type, *name, *error; /* name, error: NULL when they are not known any more */
};

struct api_rollout_proxy {
    const char *id, *node_id, *gateway, *peer;
    enum api_rollout_state state;
    const struct api_rollout_error *errors;
    size_t n_errors;
};

struct api_rollout {
    enum api_rollout_state state;
    bool complete;                     /* each that was connected acked it or refused something of it */
    double published_at, completed_at; /* seconds since 1970; 0: not yet */
    const char **gateways;             /* that it changed, of those with proxies; sorted */
    size_t n_gateways;
    struct api_rollout_proxy *proxies; /* of these gateways */
    size_t n_proxies;
};

/* What an Envoy said of a change that was only tried. Texts are in the arena; NULL: there is none. */
enum api_verdict_state { API_ACCEPTED, API_REFUSED, API_UNAVAILABLE, API_TIMEOUT, API_BUSY };

struct api_verdict {
    enum api_verdict_state state;
    const char *detail, *version;
    const char *gateway;         /* whose configuration was not accepted */
    const char *type, *resource; /* that the words name: "CLUSTER" and its name */
    const char *owner;           /* the exposure that it was made from, or what else it was */
};

/* Somebody who waits for a revision. */
struct api_wait {
    void (*done)(struct api_wait *w);
    uint64_t id; /* the daemon's */
};

/*
 * What the daemon hands over. Texts and lists are put into the arena given (or live for ever). All but view may be
 * NULL: then the lists are empty and the states unknown.
 */
struct api_backend {
    void *arg;
    struct view *(*view)(void *arg); /* a reference */
    /* Sorted by id. id: only this one, with its resources; NULL: all, without. */
    void (*proxies)(void *arg, const char *id, struct arena *arena, const struct api_proxy **ret, size_t *ret_n);
    /* One that is away or gone is not remembered any more. -EBUSY: it is connected; -ENOENT: there is none; or
     * another error. */
    int (*forget_proxy)(void *arg, const char *id);
    /* Of n exposures at once; ret: n of them, zeroed before. */
    void (*programmed)(void *arg, const struct api_carrier *carriers, size_t n, struct arena *arena,
                       struct api_programmed *ret);
    /* What had to be left out of an exposure when Envoy's resources were made, though it is valid and has its place;
     * returns how many. ret_whole: it is not served as a whole, and not just in a part. */
    size_t (*faults)(void *arg, const char *exposure, struct arena *arena, const struct problem **ret,
                     bool *ret_whole);
    /* A number that is another one whenever programmed() or faults() may answer otherwise than before. NULL where
     * they are not: no document that shows them is kept. */
    uint64_t (*status_version)(void *arg);
    /* 0, -ENOENT (it was not published yet), -ESTALE (it was, too long ago), or another error. */
    int (*rollout)(void *arg, uint64_t revision, struct arena *arena, struct api_rollout *ret);
    /* Calls w->done(w) once, in whatever thread: as soon as the revision is acked by all, refused by one, or the time
     * is over. It must not block. An error: it is never called. */
    int (*rollout_wait)(void *arg, uint64_t revision, unsigned seconds, struct api_wait *w);
    /* 0: it has been called, or never is. Else it will be. */
    int (*rollout_cancel)(void *arg, struct api_wait *w);
    /* An Envoy bootstrap as JSON, mem_free() it; -EINVAL with the option in e->field. NULL members: defaults. */
    int (*bootstrap)(void *arg, const char *gateway, const char *node_id, const char *node_cluster, const char *admin,
                     bool state_of_the_world, char **ret_json, struct err *e);
    void (*xds_addresses)(void *arg, const char *gateway, struct arena *arena, const struct api_xds_address **ret,
                          size_t *ret_n);
    void (*alarms)(void *arg, struct arena *arena, const struct api_alarm **ret, size_t *ret_n);
    struct event_ring *events;             /* what /events tells of */
    const char *(*agent_state)(void *arg); /* "connecting", "syncing", "following" */
    /*
     * Hands a request to the writer (store/edit.h), which calls done once, in its own thread or in this one, when the
     * request's result is there; also when the daemon stops. NULL: the daemon is read-only.
     */
    void (*edit)(void *arg, struct edit_request *r, void (*done)(struct edit_request *r, void *done_arg),
                 void *done_arg);
    const struct store_options *world; /* that drafts are made in (store/draft.h); NULL only without edit */
    /*
     * Asks an Envoy what it says of a difference (draft_delta(), taken over) to a view, and calls done(data) once, in
     * whatever thread. Until then ret and the arena are not the caller's. NULL: none can be asked.
     */
    void (*ask_envoy)(void *arg, struct view *v, struct view_delta *delta, struct arena *arena,
                      struct api_verdict *ret, void (*done)(void *data), void *data);
};

struct api_options {
    /* "unix:/PATH", "127.0.0.1:PORT", "[::1]:PORT"; beyond loopback only with a certificate */
    const char *const *addresses;
    size_t n_addresses;
    /* By address: a socket that listens there and was passed in (it is the interface's then, its file stays), or 0.
     * NULL: none was. */
    const int *sockets;
    const char *group;      /* its members may do everything over unix sockets, as root and the daemon's user; NULL */
    const char *token_file; /* of TCP's callers (api/auth.h); NULL: nothing but the probes answers there */
    /* Of TCP, which speaks TLS then; both or none. client_ca: of client certificates; NULL: none are asked for. */
    const char *tls_certificate, *tls_key, *tls_client_ca;
    /* Names, beside the addresses listened at and the machine's own, that TCP's callers may use (DNS rebinding). */
    const char *const *hosts;
    size_t n_hosts;
    const char *version; /* the program's */
    struct api_backend backend;
};

struct api;

/* Listens at all addresses, or at none; an error names the address. Options are copied, backend.arg is borrowed. */
int api_start(const struct api_options *options, struct api **ret_api, struct err *e);
/* The token file, and the certificate with its key and authorities, are read again; what is bad is left as it was.
 * Any thread. */
int api_reload_tokens(struct api *a, struct err *e);
int api_reload_tls(struct api *a, struct err *e);
/* Ends all connections and waits for the handlers. NULL is allowed. */
void api_stop(struct api *a);

#endif
