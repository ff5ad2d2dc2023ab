/*
 * The xDS server: gRPC's thin shell around pure sessions. One thread takes the completions and sends; the tables and
 * all sessions belong to it, without locks. Batches come from the writer through a queue.
 *
 * Aggregated and single discovery services, state of the world and incremental, of xDS v3 over gRPC (Envoy's
 * xds_protocol). Who may ask for which gateway is a matter of the address (design: access).
 */
#ifndef SERVER_XDS_SERVER_H
#define SERVER_XDS_SERVER_H

#include "base/err.h"
#include "proto/resource.h"
#include "server/xds_news.h"
#include "store/notes.h"

#include <stdbool.h>
#include <stddef.h>

/* One address to listen on: "127.0.0.1:50051", "[::1]:50051", "unix:/run/igwd/xds.sock". */
struct xds_address {
    const char *address;
    const char *const *gateways; /* which gateways it serves; NULL with all set: every one */
    size_t n_gateways;
    bool all;
    /* A listening socket of that address that was passed in, or 0: the server opens it itself. It is closed with the
     * server, its file is left. Plaintext only: gRPC speaks TLS on what it accepts itself, and on nothing else. */
    int socket;
    /* TLS with client certificates; NULL: plaintext, which is refused beyond loopback. A client certificate's DNS or
     * URI names, else its common name, name the gateways that it may have (within those of the address). */
    const char *certificate_file, *key_file, *client_ca_file;
};

enum { XDS_STREAMS_MAX_DEFAULT = 10000, XDS_REQUEST_MAX = 16 << 20 /* bytes of one request */ };

/* What a proxy said of one resource, for logs and status. Texts are borrowed for the call. */
struct xds_report {
    const char *peer, *node_id, *gateway;
    enum xds_type type;
    const char *name;    /* of the resource; NULL: the response as a whole */
    const char *owner;   /* resource->owner, or the exposure whose part it is; NULL: not known */
    const char *part;    /* the filter chain or virtual host at fault; NULL: all of the resource */
    const char *version; /* 16 hexadecimal digits */
    const char *words;   /* Envoy's */
    bool culprit;        /* found to be at fault, isolated; else one response's refusal */
};

struct xds_known;

struct xds_options {
    const struct xds_address *addresses;
    size_t n_addresses;
    const char *default_gateway; /* of a proxy that names none; NULL: off */
    size_t max_streams;          /* 0: XDS_STREAMS_MAX_DEFAULT */
    /* Called in the xDS thread; must not block. */
    void (*nacked)(void *arg, const struct xds_report *r);
    xds_tell tell; /* of proxies, now and then; NULL: nobody wants to know */
    /* Of those that left: see server/xds_presence.h. */
    clock_ns keep_gone, gone_after;
    void (*gone)(void *arg, const struct xds_known *k);
    /* What was noted of proxies before (borrowed for the start), and what is now: takes the set, which is all of it,
     * and must not block. Also called by xds_server_stop(). NULL: nothing is. */
    const struct notes *notes;
    void (*note)(void *arg, struct notes *notes);
    void *arg;
};

struct xds_server;

/* Binds all addresses; an error names the address. Nothing is answered before the first complete batch. */
int xds_server_start(const struct xds_options *options, struct xds_server **ret_server, struct err *e);
/* The port that an address got (by its place in the options): what it asked for, unless that was 0. */
int xds_server_port(const struct xds_server *s, size_t address);
/* Any thread. Takes the batch. */
void xds_server_publish(struct xds_server *s, struct xds_batch *batch);
/* Whether the xDS thread has turned since this was asked the last time; true at first. For one thread. */
bool xds_server_turned(struct xds_server *s);
/* What its proxies have: see server/xds_status.h. Borrowed; valid until xds_server_stop(). */
struct xds_status;
struct xds_status *xds_server_status(const struct xds_server *s);
/* Any thread (SIGHUP): certificates are read again; what proxies refused is forgotten and sent once more, for what it
 * needs on their side may be there by now. */
void xds_server_reload(struct xds_server *s);
/* Ends the streams (UNAVAILABLE), within 2 s, and frees. */
void xds_server_stop(struct xds_server *s);

#endif
