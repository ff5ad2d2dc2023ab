/*
 * Reading into a tree: a whole data set, or the value of one change at any place of it. One table says what is kept
 * of which key at which level; everything else is passed over as early as possible.
 *
 * For the mirror's own files; owned by the mirror's thread.
 */
#ifndef SERVER_MIRROR_READ_H
#define SERVER_MIRROR_READ_H

#include "base/sax.h"
#include "server/canonical.h"
#include "server/mirror_state.h"

/* Objects of the agent's tree in which we keep something. Those up to LEVEL_CONFIG are of nodes and above them. */
enum level {
    LEVEL_TOP, /* above the root: its one "key" is the data set itself */
    LEVEL_ROOT,
    LEVEL_MONITOR,       /* monitor */
    LEVEL_NODES,         /* monitor.nodes: by name */
    LEVEL_NODE,          /* monitor.nodes.NODE */
    LEVEL_NODE_MONITOR,  /* ... .monitor */
    LEVEL_SERVICES,      /* ... .services */
    LEVEL_STATUS,        /* ... .services.status: by path */
    LEVEL_CONFIG,        /* ... .services.config: by path */
    LEVEL_INSTANCE,      /* ... .services.status.PATH */
    LEVEL_STATE,         /* ... .services.status.PATH.monitor */
    LEVEL_RESOURCES,     /* ... .services.status.PATH.resources: by id */
    LEVEL_DECLARED,      /* ... .services.status.PATH.resources.expose#0 and the like */
    LEVEL_ADDRESS,       /* ... .services.status.PATH.resources.ip#1 */
    LEVEL_ADDRESS_INFO,  /* ... .info */
    LEVEL_CONFIGURATION, /* ... .services.config.PATH */
    LEVEL_CLUSTER,       /* cluster */
};

/* What is kept of a key's value. */
enum target_kind {
    TARGET_SKIP,
    TARGET_CHILD,  /* an object: go on at `level` */
    TARGET_SCALAR, /* `field` */
    TARGET_JSON,   /* the value as canonical JSON, in `field` */
};

enum field {
    FIELD_NODE_STATE,
    FIELD_UPDATED,
    FIELD_TOPOLOGY,
    FIELD_AVAIL,
    FIELD_SLAVE,
    FIELD_SLAVES,
    FIELD_STATE,
    FIELD_EXPECT,
    FIELD_PLACEMENT,
    FIELD_TYPE,
    FIELD_INFO,
    FIELD_ADDRESS_STATUS,
    FIELD_IPADDR,
    FIELD_EXPOSES,
    FIELD_CONFIG_UPDATED,
    FIELD_CSUM,
    FIELD_CLUSTER_NODES,
    FIELD_ERROR, /* of the root: the words of an answer that is none */
};

struct target {
    enum target_kind kind;
    enum level level; /* of a child */
    enum field field;
};

/* Pure. */
struct target level_target(enum level level, const char *key, size_t n);
/* Whether that is what an object's path names. */
bool path_is_secret(const char *path, size_t n);

enum {
    READER_DEPTH_MAX = 16,      /* of our levels */
    READER_JSON_DEPTH_MAX = 80, /* of a value that is kept as JSON; what is deeper becomes null. More than is decoded
                                   later, so that it is refused there and harms nothing else */
};

struct reader {
    struct pools *pools;
    struct sax *sax;    /* that the tokens come from: told what to skip */
    struct tree *tree;  /* that is read into */
    struct node *node;  /* where the reader is, NULL elsewhere */
    struct draft draft; /* the instance that is being read or changed, not yet in its node */
    size_t resource;    /* index in the draft */
    /* Told before something in a node is changed, or an instance is put in its place (before: NULL: none; whose
     * reference is handed over): for undoing. NULL while a whole tree is read. */
    void (*replaced)(void *arg, struct node *n, struct instance *before, struct instance *after);
    void *arg;

    enum level stack[READER_DEPTH_MAX];
    unsigned depth;
    struct target target; /* of the key that was read */
    bool capturing;       /* a value goes to canonical */
    unsigned json_depth;  /* in it */
    struct canonical *canonical;

    /* Of the root, for judging an answer. */
    char *error;         /* "error" */
    char *cluster_nodes; /* canonical JSON of cluster.nodes, or NULL */
};

void reader_init(struct reader *r, struct pools *p, struct sax *s, struct tree *w);
/* Closes the draft without a result and frees what the reader has; not the tree. */
void reader_clear(struct reader *r);
/* Starts anew: the next value belongs to t, in the place where the reader is. */
void reader_begin(struct reader *r, struct target t);
/* Takes a token of the value; true when it was the last one. */
bool reader_token(struct reader *r, enum sax_event event, const char *text, size_t n);
/* Puts the draft in its node's place. To be called before the tree is looked at. */
void reader_flush(struct reader *r);

/* ---- walking, for changes ---- */

/* Goes to an object that is there: SLOT_ABSENT or SLOT_OTHER where it is not, and the reader stays. */
enum slot reader_enter(struct reader *r, struct target t, const char *key, size_t n);
/* Takes away what stands at a key of the level where the reader is, and goes where its value would be read into.
 * False: there was nothing. */
bool reader_clear_target(struct reader *r, struct target t, const char *key, size_t n);
/* Takes away a key itself: as reader_clear_target(), and for keyed levels the entry too. */
bool reader_remove(struct reader *r, struct target t, const char *key, size_t n);
/* Where the text of a TARGET_JSON is kept. */
const char **reader_json(struct reader *r, enum field f);

#endif
