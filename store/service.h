/*
 * The model of a service: its declarations, decoded and checked one by one, and its endpoints. Immutable once made,
 * counted by reference, readable from any thread.
 *
 * A declaration is decoded whole: every fault becomes a problem of the exposure it concerns (the keyword named),
 * and harms nothing else. An endpoint that flips makes a new service that shares the declaration with the one before:
 * pointers that are equal mean that nothing of it changed.
 *
 * Pure: no I/O, no locks. Keywords: those of the OpenSVC agent's drivers (expose.envoy, vhost.envoy, route.envoy,
 * hashpolicy.envoy, certificate.tls).
 */
#ifndef STORE_SERVICE_H
#define STORE_SERVICE_H

#include "base/address.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/facts.h"

#include <stdbool.h>
#include <stdint.h>

/* Limits (law 11); what is above is a problem of its exposure. */
enum {
    SERVICE_EXPOSURES_MAX = 256,
    SERVICE_VHOSTS_MAX = 256,     /* of one exposure */
    SERVICE_ROUTES_MAX = 1024,    /* of one vhost */
    SERVICE_ENDPOINTS_MAX = 4096, /* of one exposure */
    SERVICE_PROBLEMS_MAX = 64,    /* told of one exposure */
    /* RE2's program size of a route's regex; our bootstrap raises Envoy's limit (re2.max_program_size.error_level)
     * from 100 to this. */
    SERVICE_REGEX_SIZE_MAX = 1000,
};

enum protocol { PROTOCOL_TCP, PROTOCOL_UDP };

enum lb_policy {
    LB_ROUND_ROBIN,
    LB_LEAST_REQUEST,
    LB_RING_HASH,
    LB_RANDOM,
    LB_MAGLEV,
    LB_ORIGINAL_DST, /* a cluster of type ORIGINAL_DST, without EDS */
};

/* Whether what hash policies say has a meaning to it. */
static inline bool lb_policy_hashes(enum lb_policy policy)
{
    return policy == LB_RING_HASH || policy == LB_MAGLEV;
}

struct hash_policy {
    const char *rid;
    const char *cookie_name; /* NULL: no cookie policy; at most one of the three kinds is set */
    const char *cookie_path;
    int64_t cookie_ttl; /* ns; 0: session cookie; -1: not set */
    const char *header_name;
    bool source_ip;
    bool terminal;
};

enum route_match { ROUTE_PREFIX, ROUTE_PATH, ROUTE_REGEX };

struct redirect {
    const char *host, *path, *prefix; /* NULL when not set; path and prefix exclude each other */
    int response_code;                /* 301, 302, 303, 307, 308; 0: not set (301) */
    bool https;
    bool strip_query;
};

struct route {
    const char *rid;
    enum route_match match;
    const char *match_value; /* never NULL */
    bool case_sensitive;
    const char *prefix_rewrite, *host_rewrite, *cluster_header;
    int64_t timeout; /* ns; -1: Envoy's default */
    int websocket;   /* 0 or 1; -1: not said */
    bool is_redirect;
    struct redirect redirect;
    const struct hash_policy *const *hash_policies;
    size_t n_hash_policies;
};

struct vhost {
    const char *rid;
    const char *name;     /* PATH.expose#N.vhost#M */
    const char **domains; /* lower case, sorted, unique */
    size_t n_domains;
    const struct route *const *routes; /* in the order of the declaration; none: everything to the cluster */
    size_t n_routes;
};

/* A certificate section: exactly one source for the pair (or none), and maybe a validation. */
struct certificate {
    const char *rid;
    const char *name;   /* PATH.certificate#N; with a key file of its exposure: PATH.expose#N.certificate#M */
    const char *secret; /* object path as the agent writes it: "test/sec/web1-cert", "sec/cert" in the root
                                    * namespace; NULL */
    const char *validation_secret; /* likewise */
    const char *chain_file, *key_file;
    const char *chain_inline, *key_inline; /* sensitive */
};

/* Why an exposure is not, or not as declared, in effect. */
struct problem {
    const char *code;  /* "invalid", "conflict", "shadowed", "unresolved", "unready", "not_allowed", "warning" */
    const char *field; /* "route#1.match_regex", "" */
    const char *text;
    const char *other; /* of a conflict: the exposure that has it; NULL */
};

/* Whether it is more than a warning. */
bool problem_is_fatal(const struct problem *p);
/* Whether both say the same; NULL equals NULL alone. */
bool problem_text_equal(const struct problem *a, const struct problem *b);

enum exposure_origin {
    ORIGIN_AGENT,
    ORIGIN_OVERRIDDEN, /* the agent's, with some of its fields set over the API */
    ORIGIN_API,
};

/* An endpoint that was given over the API. */
struct fixed_endpoint {
    const char *host; /* a DNS name, for Envoy to resolve; NULL: it is the address */
    struct address address;
    uint16_t port;
};

struct exposure {
    const char *name; /* PATH.expose#N: its name in the API, and its cluster's in Envoy */
    const char *path; /* of the service */
    const char *rid;
    enum exposure_origin origin;
    bool disabled;       /* it stands on no listener */
    const char *gateway; /* NULL: the default gateway */
    uint16_t port;
    enum protocol protocol;
    struct address listener_addr;
    uint16_t listener_port; /* as declared or defaulted; 0: allocate */
    const char **sni;       /* lower case, sorted, unique */
    size_t n_sni;
    enum lb_policy lb_policy;
    const struct vhost *const *vhosts; /* any: L7 */
    size_t n_vhosts;
    const struct certificate *const *listener_certificates;
    size_t n_listener_certificates;
    const struct certificate *cluster_certificate;
    const char *cluster_private_key_file;          /* as declared; cluster_certificate has it as its key_file */
    const char *cluster_data, *filter_config_data; /* canonical JSON of an object, or NULL */
    const struct fixed_endpoint *fixed;            /* only of the API's: instead of the instances' addresses */
    size_t n_fixed;
    const struct problem *problems;
    size_t n_problems;
    bool valid; /* false: must be left out (or its last good form be kept); warnings alone leave it valid */
};

/* The certificates that it names, by number: the listener's, then the cluster's; NULL behind the last. */
const struct certificate *exposure_certificate(const struct exposure *x, size_t i);
/* Whether any of its certificates comes from the secret, or is validated by it. */
bool exposure_refers_to_secret(const struct exposure *x, const char *path);

/* What one set of resources declares. Made by declaration_new(), counted. */
struct declaration;

struct gateway;

/*
 * Checks one exposure beyond this layer's knowledge (pass-through JSON, Envoy's own rules); returns 0, or a negative
 * errno with field and text in e (-EPERM: "not_allowed"). gateway: what that one allows; NULL: it is not known yet,
 * what any may allow is good. x NULL: the gateway's own bases are checked, and the field begins with the name of one.
 * May be NULL. Must be pure. Called when nothing else is wrong with the exposure.
 */
typedef int (*exposure_check)(const struct exposure *x, const struct gateway *gateway, void *arg, struct err *e);
/* Whether what it declares may need a gateway's permission. */
bool exposure_needs_permission(const struct exposure *x);

/* Never fails: faults are problems of the exposures. Texts are copied. */
struct declaration *declaration_new(const char *path, const struct fact_resource *resources, size_t n,
                                    exposure_check check, void *check_arg);
/* The order of sections: "expose#2" before "expose#10", those without a number last. */
int rid_compare(const char *a, const char *b);
struct declaration *declaration_ref(struct declaration *d);
void declaration_unref(struct declaration *d);                                            /* NULL is allowed */
const struct exposure *declaration_exposures(const struct declaration *d, size_t *ret_n); /* sorted by rid's number */
const struct exposure *declaration_find(const struct declaration *d, const char *rid);

struct endpoint {
    struct address address; /* family 0: of a host */
    bool up;                /* gets traffic: never set together with refused or drained */
    bool refused;           /* an address that endpoint_networks does not allow */
    bool drained;           /* over the API: it keeps what it has and gets nothing new */
    uint16_t port;
    const char *host;                          /* a DNS name; NULL: it is the address */
    const char *node, *instance, *rid, *state; /* "" of fixed ones: node, instance and rid */
};

enum { ENDPOINT_NAME_MAX = 264 };
/* "192.0.2.1:80", "[2001:db8::1]:80", "db.example.com:5432"; in buf (of ENDPOINT_NAME_MAX bytes). */
const char *endpoint_name(const struct endpoint *p, char *buf, size_t n);
/* Sets address or host (a DNS name; in the buffer), and port. -EINVAL. */
int endpoint_parse(const char *name, struct endpoint *ret, char host[ENDPOINT_NAME_MAX]);
/* By address, those by a DNS name last, then by port. */
int endpoint_compare(const struct endpoint *a, const struct endpoint *b);

/* A name (server name, domain) that an exposure claims since later than the rest of what it claims. */
struct name_since {
    const char *name;
    uint64_t since;
};

/* One exposure as it is in effect, with its endpoints. */
struct service_exposure {
    const struct exposure *x;        /* in effect; may be the last good form, then kept is set; when it is not valid,
                                      * nothing of it is in effect */
    const struct exposure *declared; /* as declared now; == x unless kept */
    struct declaration *declaration; /* that x stands in: the service's, or one of its kept ones */
    bool kept; /* the declared form is invalid, or its secrets were not read yet: the last good one is served */
    const char *gateway;            /* the effective one, a default filled in; NULL: none */
    uint16_t listener_port;         /* the effective one: declared, or allocated by the store; 0: none yet */
    uint64_t since;                 /* orders claims: the smaller one held its place first */
    const struct name_since *later; /* names that were claimed after since; sorted by name, mostly none */
    size_t n_later;
    const struct problem *hindrance; /* NULL, or why it is on no listener although it is valid: no port, no gateway */
    const struct problem *untold;    /* NULL, or why the agent does not know the port that was allocated; it serves */
    const struct endpoint *endpoints; /* sorted by address, port; one entry per address and port, up if any is */
    size_t n_endpoints, n_up;
};

/* Whether it takes part in a listener's plan. */
static inline bool service_exposure_listens(const struct service_exposure *sx)
{
    return sx->x->valid && sx->gateway && sx->listener_port && !sx->hindrance;
}

/* Since when it claims a name; NULL: the listener itself. */
uint64_t service_exposure_since(const struct service_exposure *sx, const char *name);

struct service {
    int refs; /* atomic; use service_ref() and service_unref() */
    const char *path;
    struct declaration *declaration;
    struct agent_word *word;         /* NULL: the agent knows no such service */
    struct declaration *const *kept; /* unique; those that kept exposures stand in */
    size_t n_kept;
    const struct service_exposure *exposures; /* as declaration_exposures() */
    size_t n_exposures;
    const char *disagreement;       /* NULL or a sentence */
    const struct problem *warnings; /* of addresses that are left out; field: the exposure's rid */
    size_t n_warnings;
    struct arena *arena; /* holds all of it */
};

/* Networks that endpoints may be in although they are refused by default (law 10). */
struct network_list;

/* What the store knows of an exposure beside its declaration. All is borrowed for the call, texts are copied. */
struct exposure_state {
    struct declaration *good; /* in effect in place of the declared form, where it has a valid exposure of that rid:
                               * that one is invalid, or can't be served yet; NULL: the declared form is */
    const char *gateway;
    uint16_t listener_port;
    uint64_t since;
    const struct name_since *later;
    size_t n_later;
    const struct problem *hindrance, *untold;
    const char *const *drained; /* endpoint_name()s, sorted */
    size_t n_drained;
};

/* Resources as the agent declared them, packed (store/pack.h); immutable, counted. */
struct agent_word {
    int refs; /* atomic */
    size_t len;
    uint8_t bytes[];
};
struct agent_word *agent_word_new(const void *bytes, size_t n);
struct agent_word *agent_word_ref(struct agent_word *w); /* NULL gives NULL */
void agent_word_unref(struct agent_word *w);             /* NULL is allowed; wipes */

/*
 * Puts a service together; takes references to the declarations it uses. states: one for each of
 * declaration_exposures(), in that order. Never fails; pure.
 */
struct service *service_new(const char *path, struct declaration *declaration, struct agent_word *word,
                            const struct exposure_state *states, const struct fact_address *addresses,
                            size_t n_addresses, const char *disagreement, const struct network_list *allowed);
/* By the id of its section; NULL: it has none of it, or s is NULL. */
const struct service_exposure *service_exposure_find(const struct service *s, const char *rid);
struct service *service_ref(struct service *s);
void service_unref(struct service *s);
define_cleanup(struct service *, service_unref)

/* "test/svc/web1", "web1" -> namespace "test", "root"; writes at most n bytes. */
void object_namespace(const char *path, char *buf, size_t n);

/* "127.0.0.0/8,::1/128"; "" gives an empty list. */
int network_list_parse(const char *text, struct network_list **ret_list, struct err *e);
void network_list_free(struct network_list *l);
/* False for loopback, link-local, unspecified and multicast addresses outside of allowed (may be NULL). IPv4-mapped
 * IPv6 addresses count as their IPv4 address. */
bool endpoint_address_allowed(const struct address *a, const struct network_list *allowed);

#endif
