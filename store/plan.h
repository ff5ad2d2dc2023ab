/*
 * The plan of a listener: which exposures share one address, port and protocol of one gateway, what each connection
 * and request is told apart by, and who wins where two claim the same. Pure and deterministic: the same claims give
 * the same plan, in whatever order they come.
 *
 * Rules
 * - UDP: one exposure a listener. L4 without SNI on TCP: one a listener (the default chain), shared with chains that
 *   have server names.
 * - sni without certificates: passthrough chain. sni or vhosts with certificates: TLS ends at the gateway.
 * - vhosts without certificates: the plaintext L7 chain; all of a listener's plaintext L7 exposures merge into it
 *   when their filter settings are equal.
 * - L7 chains with TLS merge when certificates, validation and filter settings are equal: one chain with the union of
 *   names and virtual hosts. server_names are the sni, else the domains; a domain that SNI can't express ("*",
 *   "foo.*", "*-x.foo") makes it the default chain.
 * - A server name belongs to one chain, the default chain to one. What two claim is a conflict: the exposure with the
 *   smaller `since` for it (service_exposure_since(): a domain that is added later is claimed later), then the
 *   smaller name, keeps it; the other loses just that name, domain or route, with the winner's name in the verdict,
 *   and is left out when nothing is left of it. A wildcard and a name that it covers are two names.
 * - A domain that exposures of one namespace claim on one chain is one virtual host named by the domain; routes keep
 *   each exposure's order and are merged by comparing heads (exact path before longer prefix before regex, what takes
 *   everything last; equal: the holder's first); an identical match is a conflict, which the holder wins wherever in
 *   its order the match stands. Between namespaces the first holder keeps the domain.
 * - Secrets of another namespace need a grant; without it the exposure is not allowed, and holds nothing.
 * - A chain whose certificate can't be served (missing, bad), or whose validation can't, is left out: it fails closed
 *   and harms nothing else; its exposures' verdicts say so. Its names stay its own meanwhile.
 */
#ifndef STORE_PLAN_H
#define STORE_PLAN_H

#include "store/secret.h"
#include "store/service.h"

enum chain_kind { CHAIN_UDP, CHAIN_L4, CHAIN_L7 };

/* A route of a virtual host, and whose it is. route NULL: everything else goes to the exposure's cluster. */
struct plan_route {
    const struct exposure *x;
    const struct route *route;
};

struct plan_vhost {
    const char *name; /* PATH.expose#N.vhost#M, or the domain where several share it */
    const char **domains;
    size_t n_domains;
    struct plan_route *routes;
    size_t n_routes;
};

struct plan_chain {
    enum chain_kind kind;
    /* Stable name of the chain in its listener; with the listener's name: the RDS name. "udp", "l4" (default),
     * "plain" (plaintext HTTP), "sni:PATH.expose#N", "tls:HASH" of what merges. */
    const char *id;
    bool is_default;           /* takes what no chain has a server name for */
    bool is_split;             /* each server name is a filter chain of its own: see plan_chain_part() */
    const char **server_names; /* sorted */
    size_t n_server_names;
    bool tls;                                      /* ends here */
    const struct certificate *const *certificates; /* the holder's, with a pair; SDS names: sds_pair_name() */
    size_t n_certificates;
    const struct certificate *validation; /* requires a client certificate; SDS name: sds_trust_name() */
    const struct exposure *holder;        /* whose filter settings count: the first */
    const struct exposure **exposures;    /* all that take part, the holder first */
    size_t n_exposures;
    struct plan_vhost *vhosts; /* of CHAIN_L7, sorted by name */
    size_t n_vhosts;
};

/*
 * Accepted and partial exposures stand in chains, the others in none. Partial: names, domains or routes are somebody
 * else's, or the secret for TLS towards the endpoints is not there.
 */
enum verdict_kind { VERDICT_ACCEPTED, VERDICT_PARTIAL, VERDICT_CONFLICT, VERDICT_NOT_READY, VERDICT_INVALID };

/* What became of one exposure on its listener. */
struct verdict {
    const char *exposure;
    enum verdict_kind kind;
    const struct problem *problems;
    size_t n_problems;
};

struct listener_plan {
    int refs;        /* atomic */
    const char *key; /* GATEWAY|NAME: key in the view */
    const char *gateway;
    const char *name; /* ADDR:PORT/PROTO as in Envoy; IPv6 [ADDR]:PORT/PROTO */
    struct address address;
    uint16_t port;
    enum protocol protocol;
    bool tls_inspector;        /* a chain matches on server names; or might be joined by one: TLS ends on it */
    bool server_first_warning; /* and a plaintext L4 chain stands beside it */
    struct plan_chain *chains; /* sorted by id; none: there is no listener, only verdicts */
    size_t n_chains;
    struct verdict *verdicts; /* sorted by exposure */
    size_t n_verdicts;
    struct declaration **declarations; /* references that keep the exposures alive; unique */
    size_t n_declarations;
    struct arena *arena;
};

/*
 * One exposure that wants to be on the listener (service_exposure_listens()), borrowed for the call. The plan keeps
 * sx->x and sx->declaration, never sx itself: an endpoint that flips makes a new service and leaves the plan alone.
 */
struct claim {
    const struct service_exposure *sx;
};

/* Where secrets are looked up; returns NULL when there is none. Must be stable for the call. */
typedef const struct secret *(*secret_lookup)(void *arg, const char *path);

/* What the plan is told of its world. */
struct plan_context {
    secret_lookup secrets;
    void *secrets_arg;
    /* Whether a namespace may use a secret of another, or a domain that another holds; NULL: never. */
    bool (*granted)(void *arg, const char *ns, const char *kind, const char *name);
    void *granted_arg;
};

/* Takes references to the exposures' declarations. */
struct listener_plan *listener_plan_new(const char *gateway, const struct claim *claims, size_t n,
                                        const struct plan_context *context);
struct listener_plan *listener_plan_ref(struct listener_plan *p);
void listener_plan_unref(struct listener_plan *p);
/* Whether both say the same, verdicts included; then one can stand for the other. */
bool listener_plan_equal(const struct listener_plan *a, const struct listener_plan *b);
const struct verdict *listener_plan_verdict(const struct listener_plan *p, const char *exposure);
/* The gateway's own answers: 421 (RFC 9110, 15.5.20), and to what is declared but not allowed. */
enum { PLAN_STATUS_MISDIRECTED = 421, PLAN_STATUS_REFUSED = 503 };
/*
 * Whether hosts that the chain does not serve are answered with 421 and not 404: a chain with TLS beside others,
 * where a client may have reused a connection for every name that the certificate covers.
 */
bool plan_chain_answers_misdirected(const struct listener_plan *p, const struct plan_chain *chain);
/* Whether the listener looks for the address that its connections were meant for before they were redirected. */
bool listener_plan_needs_original_dst(const struct listener_plan *p);
/*
 * A chain stands in Envoy as one filter chain for each of its server names, "ID:NAME", and one for the rest if it is
 * the default one, "ID", all with the same content: Envoy drains the connections of filter chains that changed, so a
 * name that comes or goes leaves those of all other names alone. That is bounded, by the names of a listener and by
 * the passed-through bytes that are repeated with them: of chains that go beyond, the youngest ones, all names are
 * one filter chain, "ID:names".
 */
enum { PLAN_SPLIT_MAX = 1000, PLAN_SPLIT_BYTES_MAX = 1 << 20 };
/* The name of the filter chain for a server name of the chain's (NULL: for the rest), in the arena. */
const char *plan_chain_part(struct arena *arena, const struct plan_chain *chain, const char *name);
/* How many filter chains a listener's chains are. */
size_t listener_plan_filter_chains(const struct listener_plan *p);
/* The chain that a filter chain of Envoy's is of; NULL: none. */
const struct plan_chain *listener_plan_find_chain(const struct listener_plan *p, const char *filter_chain);
/* "ADDR:PORT/PROTO" into buf (at least 64 bytes). */
const char *listener_name(const struct address *a, uint16_t port, enum protocol protocol, char buf[64]);
/* The key of the plan of the listener that an exposure with a gateway and a port is on, or would be: "GATEWAY|NAME".
 * mem_free() it. */
char *exposure_listener_key(const struct service_exposure *sx);
/* SDS names: tls_certificate/NS/sec/NAME (or tls_certificate/PATH.certificate#N by file or inline),
 * validation_context/NS/sec/NAME. In buf; returns buf. */
const char *sds_pair_name(const struct certificate *c, char *buf, size_t n);
const char *sds_trust_name(const struct certificate *c, char *buf, size_t n);

#endif
