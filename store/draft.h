/*
 * A draft: what edits would make of a view, without making it. Faults, warnings, and what each listener would go
 * through. Pure, any thread; its cost follows the objects that the edits concern and those they share listeners with.
 */
#ifndef STORE_DRAFT_H
#define STORE_DRAFT_H

#include "store/edit.h"

enum draft_fault_kind {
    DRAFT_INVALID,  /* the object is wrong in itself */
    DRAFT_CONFLICT, /* somebody else holds what it wants */
    DRAFT_WARNING,  /* it would be taken */
};

struct draft_fault {
    enum draft_fault_kind kind;
    size_t edit;         /* which one it is about */
    const char *code;    /* as in struct problem */
    const char *pointer; /* JSON pointer into the edited object ("#/vhosts/0/domains") */
    const char *text;
    const char *other; /* of a conflict: the exposure that holds it; NULL when it is none */
};

/* What Envoys go through when a listener becomes what it would become. */
enum draft_effect {
    EFFECT_NONE,            /* routes, clusters, secrets, further chains: no connection ends */
    EFFECT_ADDS_LISTENER,   /* a new one opens */
    EFFECT_DRAINS_CHAIN,    /* connections of one filter chain end in time */
    EFFECT_DRAINS_LISTENER, /* all of a listener's */
    EFFECT_REMOVES_LISTENER,
};
const char *draft_effect_name(enum draft_effect e); /* "none", "adds_listener", "drains_chain", ... */

struct draft_listener {
    const char *gateway, *listener; /* "0.0.0.0:443/TCP" */
    enum draft_effect effect;
    const char *const *chains; /* names of Envoy's filter chains that drain */
    size_t n_chains;
};

struct draft {
    struct draft_fault *faults;
    size_t n_faults;
    bool invalid, conflict;           /* a fault of that kind is there */
    struct draft_listener *listeners; /* that any of it touches, sorted by gateway and name */
    size_t n_listeners;
    /* The services that would be, in the order of their paths: what edited exposures would look like. */
    struct service **services;
    size_t n_services;
    const char **gone; /* paths of those that would not be there */
    size_t n_gone;
    struct listener_plan **plans; /* that those listeners would have, where anybody would be on them */
    size_t n_plans;
    struct pmap *documents; /* with the edits */
    struct arena *arena;
};

/* edits, as in an edit_request; world: the store's options. Never fails: what is wrong is a fault. */
struct draft *draft_new(const struct view *v, const struct edit *edits, size_t n, const struct store_options *world);
void draft_free(struct draft *d); /* NULL is allowed */
define_cleanup(struct draft *, draft_free)
/* As it would be; borrowed. NULL: it would not be there. */
const struct service_exposure *draft_exposure(const struct draft *d, const struct view *v, const char *name);

/*
 * From nothing to what Envoys would get of it: its listeners as they would be, and the services that it changes,
 * without the agent's addresses. The view in it is none that was ever published: it holds no other service. NULL:
 * Envoys get nothing of it. The caller frees it.
 */
struct view_delta *draft_delta(const struct draft *d, const struct view *v, const struct store_options *world);

#endif
