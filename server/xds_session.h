/*
 * A session: one xDS stream as a pure state machine. Bytes of requests go in, responses are asked for one at a time
 * (when the one before is on its way), and it says when it wants to be asked again although nothing happened. It
 * follows the tables of its gateway by itself.
 *
 * Protocol: Envoy's xds_protocol document, v3, both variants. Order: make before break, see xds_send.c. Refusals: see
 * xds_verdict.c.
 *
 * Owned by the xDS thread.
 */
#ifndef SERVER_XDS_SESSION_H
#define SERVER_XDS_SESSION_H

#include "base/buf.h"
#include "base/err.h"
#include "server/xds_presence.h"
#include "server/xds_refusals.h"
#include "server/xds_server.h"
#include "server/xds_table.h"

struct xds_session;

/* What the sessions of a server have in common. */
struct xds_common {
    struct xds_directory *directory;
    struct xds_refusals *refusals;
    struct xds_presence *presence; /* NULL: nobody is remembered */
    uint32_t epoch;                /* of the proxies' ids, so that those of an earlier run are not taken for others */
    const char *default_gateway;   /* of a proxy that names none; NULL: off */
    void (*nacked)(void *arg, const struct xds_report *report); /* may be NULL */
    xds_tell tell;                                              /* may be NULL */
    void *arg;
};

struct xds_session_options {
    const struct xds_common *common;
    enum xds_variant variant;
    bool aggregated; /* else a single service, of this type: */
    enum xds_type type;
    const char *peer; /* for reports; copied */
    /* Whether this peer may have that gateway's configuration. */
    bool (*allowed)(void *arg, const char *gateway);
    /* There may be something to send, or another deadline. Called from within the directory's changes. */
    void (*ready)(void *arg);
    void *arg;
};

enum {
    XDS_HELD_REQUESTS_MAX = 1 << 20, /* bytes of requests that wait for their gateway */
    XDS_UNKNOWN_NAMES_MAX = 100000,  /* names of one stream that no resource has */
    XDS_RESPONSE_BYTES = 4 << 20,    /* a response that can be split is split there */
    XDS_UNANSWERED_MAX = 128,        /* responses of a type that a session remembers until they are answered */
    XDS_ALONE_MAX = 64,              /* responses with a single resource in a row; past it they share */
};

/* A response: the head, then the parts. */
struct xds_message {
    struct buf head;
    struct xds_part *parts;
    size_t n_parts, cap;
    size_t len;  /* of all */
    bool secret; /* of private keys: not to be copied around */
};

struct xds_session *xds_session_new(const struct xds_session_options *options, clock_ns now);
void xds_session_free(struct xds_session *s);

/*
 * Takes in one request. -EINVAL (the request is not valid: INVALID_ARGUMENT), -EACCES (PERMISSION_DENIED), -ENOBUFS
 * (a limit: RESOURCE_EXHAUSTED): the stream is to be ended with e's text.
 */
int xds_session_request(struct xds_session *s, const uint8_t *p, size_t n, clock_ns now, struct err *e);
/* False while as many requests wait as may: read no further until ready() was called. */
bool xds_session_takes_requests(const struct xds_session *s);
/* 1 and a message (which was empty or reset), 0 when there is nothing to send now, or an error as above. */
int xds_session_next(struct xds_session *s, clock_ns now, struct xds_message *ret, struct err *e);
/* What the client refused was forgotten: all is looked at again, and ready() called. */
void xds_session_try_again(struct xds_session *s);
/* When to call xds_session_next() again at the latest; INT64_MAX: never. Valid after it returned 0. */
clock_ns xds_session_deadline(const struct xds_session *s);
/* Of the proxy, for logs: its node's id, NULL before the first request. */
const char *xds_session_node(const struct xds_session *s);
/* The gateway that the proxy asks for and that does not exist; NULL when that is not so. */
const char *xds_session_unknown_gateway(const struct xds_session *s);

/* Releases the parts and empties the message; its memory is kept. */
void xds_message_reset(struct xds_message *m);
void xds_message_clear(struct xds_message *m);

#endif
