/*
 * The mirror's inside: what its files share. For the mirror's own files; owned by the mirror's thread.
 *
 * mirror_state   what is kept: trees, nodes, instances, drafts
 * mirror_read    JSON tokens -> a tree, or a place in it
 * mirror_scan    an event message -> the changes that concern us
 * mirror_patch   changes applied to the tree, as a whole or not at all
 * mirror_touch   what differs -> which services; scalers and their slaves
 * mirror_intent  who is about to go, in the orchestrator's words
 * mirror_facts   a service's instances -> facts
 * mirror         the door
 */
#ifndef SERVER_MIRROR_CORE_H
#define SERVER_MIRROR_CORE_H

#include "base/buf.h"
#include "server/mirror.h"
#include "server/mirror_read.h"
#include "server/mirror_state.h"

/* A list of paths without doubles, in the order they came; taken from the front. */
struct path_queue {
    const char **paths; /* interned, a reference each */
    size_t head, count, cap;
    struct map known; /* those between head and count */
};

/* An object that has slaves. */
struct scaler {
    const char *path;    /* interned */
    const char **slaves; /* interned full paths, sorted */
    size_t n_slaves;
};

/* What a patch did, for undoing it. */
struct undo {
    struct node *node;               /* of an instance: where; of a node: the new one, or NULL */
    struct node *node_before;        /* of a node */
    struct tree *tree_before;        /* of a tree */
    struct instance *before, *after; /* of an instance; a reference to before */
    bool is_instance;
};

struct change {
    const char *text; /* "[[PATH], VALUE]" or "[[PATH]]", within the message */
    size_t n;
};

struct mirror {
    struct pools pools;
    struct tree *tree;
    uint64_t max_status_bytes;
    bool partial;        /* see mirror_status_end() */
    char *cluster_nodes; /* of the last fetch: canonical JSON, or NULL */

    /* A fetch under way: `reader` reads into `reading`. */
    struct sax *status_sax;
    struct reader status;
    struct tree *reading;

    /* Events. */
    struct sax *change_sax;
    struct change *changes;
    size_t n_changes, changes_cap;
    struct undo *undo;
    size_t n_undo, undo_cap;
    uint64_t last_id;
    bool has_id;
    bool holding, overflow;
    struct buf held; /* messages, each behind its length */

    /* What came of it. */
    struct path_queue touched, secrets;
    struct map reported; /* interned paths of services that were given as facts */
    struct map scalers;  /* struct scaler by path */
    struct map owners;   /* struct scaler by a slave's path */
    struct arena *facts_arena;
    const char *taken;    /* the path that was given last; interned */
    const char **scratch; /* what mirror_write_back_paths() gave last */
    struct mirror_stats stats;
};

/* ---- mirror_scan ---- */

/* What an event message is. */
struct scan {
    bool is_patch, has_id;
    uint64_t id;
};
/* Looks at a message without decoding it; the changes that concern us are put in m->changes. -EBADMSG: it is no
 * event, or no JSON as far as it was looked at. */
int scan_event(struct mirror *m, const char *message, size_t n, struct scan *ret_scan, struct err *e);

/* ---- mirror_patch ---- */

/*
 * Applies m->changes as a whole; 0, or -EBADMSG and nothing was changed. replay: the changes may be in what was
 * fetched already: those that have no place any more are passed over.
 */
int patch_apply(struct mirror *m, bool replay, struct err *e);

/* ---- mirror_touch ---- */

void path_queue_add(struct path_queue *q, const char *path); /* interned path */
/* The next one, a reference with it, or NULL. */
const char *path_queue_take(struct path_queue *q);
void path_queue_sort(struct path_queue *q);
void path_queue_clear(struct mirror *m, struct path_queue *q);
/* An instance has another form (NULL: none) than before. The tree must have its new content. */
void touch_instance(struct mirror *m, const struct instance *before, const struct instance *after);
void touch_node(struct mirror *m, const struct node *before, const struct node *after);
void touch_tree(struct mirror *m, const struct tree *before, const struct tree *after);
void scalers_clear(struct mirror *m);

/* ---- mirror_intent ---- */

/* Why an instance gets no new traffic although its address is up. */
enum intent {
    INTENT_NONE,
    INTENT_LEAVING, /* it will be stopped or moved away */
    INTENT_COMING,  /* it is not all there yet */
};
struct intent_of {
    enum intent intent;
    const char *words; /* for people; borrowed from the instance or static */
};
/* leader_elsewhere: an instance of the same object on another node is where the orchestrator wants it. */
struct intent_of intent_of_instance(const struct node *n, const struct instance *i, bool leader_elsewhere);

/* ---- mirror_facts ---- */

/* The facts of a service, in the arena; false when nobody declares it. */
bool facts_make(struct mirror *m, const char *path, struct arena *arena, struct facts *ret_facts);
/* Whether instances of the service at path differ in what they declare. */
bool facts_disagree(const struct mirror *m, const char *path);
/* Whether a's configuration is newer than b's. */
bool config_is_newer(const struct instance *a, const struct instance *b);

#endif
