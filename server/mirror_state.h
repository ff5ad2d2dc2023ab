/*
 * What the mirror keeps, and how it is changed: a tree of nodes, each a map of instances by object path.
 *
 * An instance is immutable and counted; what many instances say alike (paths, states, declarations) is kept once.
 * To change one, a draft is made of it, changed, and frozen into a new instance. So a patch can be undone by putting
 * back what was there: see mirror_patch.c.
 *
 * For the mirror's own files; owned by the mirror's thread.
 */
#ifndef SERVER_MIRROR_STATE_H
#define SERVER_MIRROR_STATE_H

#include "base/intern.h"
#include "base/map.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What stands at a place of the agent's tree. Below anything but an object nothing can be set. */
enum slot { SLOT_ABSENT, SLOT_OBJECT, SLOT_OTHER };

/* Texts and declarations that are shared by the instances of all trees. */
struct pools {
    struct intern_pool *texts;
    struct map declared; /* struct declared by its items' bytes */
};

/* A text of the agent's: NULL: absent; "": there, but no text (null, a number, an object). Interned. */
typedef const char *agent_text;

/* A declaration resource. Compared and hashed as bytes: no padding. */
struct declared_item {
    const char *rid;
    agent_text type;
    const char *info; /* canonical JSON of whatever stands there; NULL: absent */
    uint64_t slot;
};

struct declared {
    uint32_t refs;
    uint32_t n;
    struct declared_item items[]; /* sorted by rid */
};

/* An ip resource. */
struct address_item {
    const char *rid;
    agent_text status;
    const char *exposes; /* canonical JSON; NULL: absent */
    const char *address; /* stands behind the items; agent_text's meaning */
    uint8_t slot, info_slot;
};

enum instance_flags {
    INSTANCE_FLEX = 1,     /* topology flex */
    INSTANCE_SLAVE = 2,    /* scaler_slave */
    INSTANCE_AVAIL_UP = 4, /* avail is up */
    INSTANCE_LEADER = 8,   /* monitor.placement is leader */
};

/* All but the resources. */
struct instance_head {
    const char *path;
    double updated, config_updated;             /* seconds; 0: unknown */
    agent_text csum;                            /* of the configuration */
    agent_text state;                           /* monitor.status */
    agent_text expect;                          /* monitor.global_expect */
    const char *slaves;                         /* scaler_slaves: canonical JSON; NULL: absent */
    uint8_t status, config, monitor, resources; /* enum slot */
    uint8_t flags;
};

struct instance {
    uint32_t refs;
    uint32_t n_addresses;
    struct instance_head head;
    struct declared *declared;       /* NULL: none */
    struct address_item addresses[]; /* sorted by rid */
};

struct node {
    char *name;
    uint8_t slot, monitor, services, status, config; /* enum slot */
    agent_text state;                                /* monitor.status */
    bool fresh;   /* made by the change that is being applied: may be changed in place */
    bool carried; /* as it was before a partial fetch that lacked it */
    struct map instances;
    struct map lost; /* instances that were here when the node ceased to tell its services: they declare, no more */
};

struct tree {
    uint8_t slot, monitor, nodes_slot; /* enum slot */
    bool fresh;                        /* as in struct node */
    struct node **nodes;               /* sorted by name */
    size_t n_nodes, nodes_cap;
};

void pools_init(struct pools *p);
/* Everything must have been given back. */
void pools_clear(struct pools *p);

struct instance *instance_ref(struct instance *i);
void instance_unref(struct pools *p, struct instance *i); /* NULL is allowed */
/* Whether they are the same in everything. */
bool instance_equal(const struct instance *a, const struct instance *b);

/* What a difference between two forms of an instance (NULL: none) can change elsewhere. */
enum instance_change {
    CHANGE_FACTS = 1,  /* declarations, addresses, intents, slaves */
    CHANGE_CONFIG = 2, /* which of several configurations is the newest; the csum of a secret */
};
unsigned instance_compare(const struct instance *a, const struct instance *b);

struct tree *tree_new(void);
void tree_free(struct pools *p, struct tree *w); /* NULL is allowed */
/* Takes all nodes away and frees them. */
void tree_clear(struct pools *p, struct tree *w);
struct node *tree_node(const struct tree *w, const char *name, size_t n); /* or NULL */
struct node *tree_add_node(struct tree *w, const char *name, size_t n);
/* Puts a node in the place of another of that name (before or after may be NULL); frees nothing. */
void tree_replace_node(struct tree *w, struct node *before, struct node *after);

struct node *node_clone(const struct node *n);
void node_free(struct pools *p, struct node *n); /* NULL is allowed */
/* Takes away all that stands in a node. */
void node_clear(struct pools *p, struct node *n);
/* Takes away the status parts, or the configuration parts, of its instances. */
void node_drop(struct pools *p, struct node *n, bool status, bool config);
struct instance *node_instance(const struct node *n, const char *path);
struct instance *node_lost_instance(const struct node *n, const char *path);
/* What was in `before`, or lost there, is lost in n. */
void node_lose(struct pools *p, struct node *n, const struct node *before);
/* The node speaks: nothing of it is lost any more. */
void node_find(struct pools *p, struct node *n);
/* Takes over the reference to i (NULL: none); returns the one that was there, with its reference, or NULL. */
struct instance *node_put(struct node *n, const char *path, struct instance *i);

/* ---- drafts ---- */

enum { ADDRESS_TEXT_MAX = 64 }; /* with the NUL; IPv6 with a zone needs less */

struct draft_resource {
    const char *rid;
    bool is_address;
    uint8_t slot, info_slot;
    agent_text type, status;
    const char *info; /* canonical JSON; of an address: unused */
    const char *exposes;
    bool has_address;
    char address[ADDRESS_TEXT_MAX];
};

/* An instance that is being changed. Closed: node is NULL. */
struct draft {
    struct node *node;
    bool thin; /* only the configuration part is here */
    struct instance_head head;
    struct draft_resource *resources;
    size_t n_resources, cap;
};

/* Opens a closed draft of what the node has at that path, if anything. thin: for the configuration part only. */
void draft_open(struct draft *d, struct pools *p, struct node *n, const char *path, size_t path_len, bool thin);
/* The new instance, or NULL when nothing is left of it; closes the draft. */
struct instance *draft_freeze(struct draft *d, struct pools *p);
/* Closes without a result. */
void draft_abandon(struct draft *d, struct pools *p);
void draft_clear(struct draft *d, struct pools *p); /* and frees its memory */

void draft_drop_status(struct draft *d, struct pools *p);
void draft_drop_config(struct draft *d, struct pools *p);
void draft_drop_monitor(struct draft *d, struct pools *p);
void draft_drop_resources(struct draft *d, struct pools *p);
void draft_drop_resource(struct draft *d, struct pools *p, size_t index);
void resource_drop_info(struct draft_resource *r, struct pools *p);
/* A new resource at the end, in place of one of that id when the draft is frozen. */
struct draft_resource *draft_add_resource(struct draft *d, struct pools *p, const char *rid, size_t n,
                                          bool is_address);
/* Its index, or -1. */
ptrdiff_t draft_find_resource(const struct draft *d, const char *rid, size_t n);
/* Gives back what stands there and puts a new text, whose reference is taken over. */
void text_set(struct pools *p, const char **at, const char *text);

#endif
