/*
 * Which way a request takes through a gateway, and why it takes no other: the listener, the filter chain, the
 * certificate, the virtual host, the route, the cluster and its endpoints, each with those that lost. It follows what
 * Envoy is told and how Envoy chooses, step by step (envoy.config.listener.v3.FilterChainMatch,
 * envoy.config.route.v3.VirtualHost and RouteMatch, HttpConnectionManager); a test holds it against a real one.
 *
 * Pure, over one view: it knows what igwd serves. What a proxy refused, what its own health checks found, and what
 * filters in filter_config_data do is beyond it; the notes say so where it may matter. Any thread.
 */
#ifndef STORE_EXPLAIN_H
#define STORE_EXPLAIN_H

#include "store/view.h"

/* Bounds of an answer; what is above is counted. */
enum { EXPLAIN_RIVALS_MAX = 32, EXPLAIN_ENDPOINTS_MAX = 256, EXPLAIN_NOTES_MAX = 16 };

struct explain_header {
    const char *name, *value;
};

struct explain_question {
    const struct gateway *gateway;
    struct address address; /* where the client connects to, and its port */
    uint16_t port;
    enum protocol protocol;
    bool tls;                /* the client speaks TLS; false: plaintext */
    const char *server_name; /* its SNI; NULL: it sends none */
    bool client_certificate; /* it has one that is trusted */
    const char *host;        /* the Host header */
    const char *path;        /* with its query; begins with '/' */
    const struct explain_header *headers;
    size_t n_headers;
};

enum explain_outcome {
    EXPLAIN_FORWARDED,    /* to an endpoint */
    EXPLAIN_REDIRECTED,   /* answered with status and location */
    EXPLAIN_NO_ENDPOINT,  /* none is up: 503; at L4 the connection is closed */
    EXPLAIN_NO_ROUTE,     /* 404: no route of the virtual host matches */
    EXPLAIN_NO_VHOST,     /* 404: no virtual host has the host */
    EXPLAIN_MISDIRECTED,  /* 421: the host is not served on this chain */
    EXPLAIN_REFUSED,      /* answered with status: the request is bad, or something is not allowed */
    EXPLAIN_NO_HANDSHAKE, /* TLS where there is none, or none where it is, or a certificate is wanted */
    EXPLAIN_NO_CHAIN,     /* the connection is closed */
    EXPLAIN_NO_LISTENER,  /* nobody listens: the connection is refused */
    EXPLAIN_OUTCOMES
};

struct explain_rival {
    const char *name, *reason;
};

/* One step: why the winner is it, and who lost. */
struct explain_step {
    const char *reason; /* a sentence; NULL: the step was not reached */
    struct explain_rival *rivals;
    size_t n_rivals, n_omitted;
};

/* What is NULL was not reached, or nothing was found. Lives in the arena and the view. */
struct explanation {
    enum explain_outcome outcome;
    const char *summary;  /* a sentence */
    unsigned status;      /* of the gateway's own answer; 0: it gives none */
    const char *location; /* of a redirect */
    const struct listener_plan *listener;
    struct explain_step listener_step;
    const struct plan_chain *chain;
    const char *server_name; /* which of the chain's was matched; NULL: it takes what no other chain has */
    struct explain_step chain_step;
    const struct certificate *certificate; /* that is shown */
    const char *certificate_name;          /* its SDS name */
    struct explain_step certificate_step;
    const struct plan_vhost *vhost;
    const char *domain; /* which of its domains was matched */
    struct explain_step vhost_step;
    const struct plan_route *route; /* its route NULL: the undeclared one that takes everything */
    struct explain_step route_step;
    const char *forwarded_host, *forwarded_path; /* as the endpoint gets them */
    const struct service_exposure *exposure;     /* whose cluster it is */
    const char *cluster;                         /* its name; also one that is not there */
    struct explain_step cluster_step;            /* rivals: endpoints that get nothing */
    const struct endpoint **endpoints;           /* that may get it */
    size_t n_endpoints, n_endpoints_omitted;
    const char *notes[EXPLAIN_NOTES_MAX];
    size_t n_notes;
};

/* Never fails. What q points to must live as long as the answer. */
void explain(const struct view *v, const struct explain_question *q, struct arena *arena, struct explanation *ret);

#endif
