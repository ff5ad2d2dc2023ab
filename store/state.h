/*
 * Inside the store: what the writer's thread knows beside the view. For the store's own files; nobody else includes
 * it. Everything here belongs to the writer's thread, except where said.
 *
 * gather.c takes what is new and leaves it as `pending`; commit.c makes it real; exposures.c settles what the store
 * knows of each exposure (gateway, port, since when it claims what); index.c keeps who is on which listener and who
 * refers to which secret; ports.c allocates; rows.c is all SQL; load.c reads it back.
 */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/pointers.h"
#include "store/claims.h"
#include "store/crypt.h"
#include "store/edit.h"
#include "store/keeper.h"
#include "store/store.h"

#include <pthread.h>

/* Bytes on the heap, owned. */
struct bytes {
    uint8_t *data;
    size_t len;
};

void bytes_clear(struct bytes *b);

/* A declaration and the row that it is kept in. */
struct form {
    int64_t id;
    struct declaration *declaration; /* a reference */
};

/* What was in effect of an exposure before: taken from its service, or at the start from the database. */
struct prior {
    const char *rid;
    struct declaration *declaration; /* that claims.x stands in, borrowed */
    struct claims claims;
};

struct priors {
    struct prior *items;
    size_t count;
};

/* What was put since the last commit. */
struct pending {
    bool gone;
    bool edited;                     /* over the API: the agent said nothing new */
    struct declaration *declaration; /* NULL: as it is */
    struct agent_word *word;         /* with the declaration: what the agent declares; NULL: nothing */
    struct bytes effective;          /* packed, with the declaration: what it was made of; none: of the word alone */
    struct bytes addresses;          /* packed; none: as they are */
    struct hash128 resources_hash, addresses_hash;
};

/* A service. */
struct record {
    char *path;
    int64_t id;
    struct service *service; /* as of the last commit; NULL: it is new */
    struct form form;        /* of service->declaration */
    struct form *good;       /* of service->kept */
    size_t n_good;
    struct bytes effective;              /* what form was made of, where that is not the agent's word alone */
    struct bytes addresses_packed;       /* that service was made of */
    struct hash128 resources, addresses; /* of the agent's packed facts that service was made of */
    struct hash128 states;               /* of the exposures' packed states, as they were handed to the disk */
    struct pending *pending;
    struct priors *loaded; /* between reading and the first commit */
    struct arena *loaded_arena;
    uint64_t seen; /* number of the sync that put it */
    bool unsaved;  /* its rows were lost: the next facts are written though they are known */
    bool changed;  /* is in store->changed */
    bool waiting;  /* is in store->waiting: an exposure has no port, or a secret that was not read */
    bool again;    /* and shall try again */
};

/* A listener of a gateway, and the exposures that want to be on it. */
struct listener {
    char *key;
    const char *gateway; /* the gateway's own text */
    struct map claims;   /* struct record by the exposure's name (a text of the record's declaration) */
    bool dirty;          /* is in store->dirty */
};

/* A secret that is referred to, or was just put. */
struct secret_entry {
    char *path;
    struct secret *secret; /* as in the view; NULL: never put */
    struct secret *next;   /* put since the last commit */
    struct map records;    /* struct record by path: those that refer to it */
    uint64_t made;         /* revision of the certificate document that `secret` was made of; 0: it is the agent's */
    bool touched;          /* is in store->touched */
    bool wanted;           /* is in store->wanted, or would be if it were not made over the API */
};

struct port_row {
    char *key; /* GATEWAY|EXPOSURE */
    struct port_space *space;
    const char *exposure; /* within key */
    uint16_t port;
    bool told;
    bool live;         /* the exposure is there */
    bool queued;       /* waits for store_next_write_back(), or was given out by it */
    int64_t gone;      /* since when it is not live, seconds since 1970; 0: it is */
    uint64_t ticket;   /* of config.db: on the disk when it is done */
    bool kept;         /* on the disk, or remembered from before */
    clock_ns retry_at; /* of the write-back */
    unsigned failures; /* of it, in a row */
    char *why;         /* the last one; NULL: there was none */
};

/* The ports of a gateway. */
struct port_space {
    char *name;
    struct gateway *gateway; /* its settings */
    uint32_t *declared;      /* [65536]: how many exposures declare the port */
    struct port_row **rows;  /* [65536]: to whom it is allocated */
    uint16_t first_free;     /* no port of the range below is free */
    bool saved;              /* its row was written, or read */
    bool announced;          /* is in store->new_gateways */
    char *alarm;             /* what of its settings can not be taken; NULL: nothing */
};

struct freed_port {
    struct port_space *space;
    uint16_t port;
};

enum {
    STALE_PORTS_MAX = 10000,
    REVISION_NAMES_MAX = 100,
    WRITE_BACK_RETRY_S = 30,
    WRITE_BACK_RETRY_MAX_S = 3600,
    STORE_PORT_WAIT_MS = 2000
};

struct store {
    char *directory, *config_path, *observed_path;
    int lock_fd;
    struct store_options options; /* texts and reserved are the store's own copies */
    struct crypt_key *key;
    struct keeper *config, *observed;
    /* observed.db lacks what was published, also after a restart; of its keeper's thread, once that runs */
    bool behind;

    pthread_mutex_t view_lock; /* of the pointer */
    struct view *view;

    struct map records;                 /* struct record by path */
    struct map listeners;               /* struct listener by key */
    struct map secrets;                 /* struct secret_entry by path */
    struct map gateways;                /* struct port_space by the gateway's name */
    struct map ports;                   /* struct port_row by key */
    struct pmap *documents, *revisions; /* as in the next view */
    struct pmap *later_documents;       /* while loading: what observed.db does not know of yet; NULL: it knows all */
    uint64_t loaded_revision;           /* that it knows */
    size_t n_gone_ports;
    struct pointers gone_ports; /* rows whose exposure went in this commit */
    struct freed_port *freed;   /* in this commit */
    size_t n_freed;
    struct pointers changed, dirty, touched, waiting; /* records, listeners, secret entries, records */
    struct pointers write_backs;                      /* port rows to be told; a queue */
    size_t write_backs_at;
    struct pointers failed_write_backs;
    char *write_back_alarm;       /* NULL: it is off */
    struct pointers new_gateways; /* of this commit */

    const char **wanted; /* paths of the entries */
    size_t n_wanted;
    bool wanted_stale;
    uint64_t wanted_version;

    struct event_ring *events;
    struct notes notes;
    double expiry_looked,
        expiry_next;           /* as wall clock: up to when it is told what runs out; when it is the next time */
    uint64_t revision, claims; /* claims: the clock of since */
    uint64_t kept_revision, kept_claims; /* as they were handed to the disk */
    bool whole, kept_whole;              /* observed.db holds all that the agent said, and not a part */
    int64_t next_service_id, next_form_id;
    uint64_t sync; /* number of the last sync */
    bool syncing, complete, stale;
    bool claims_used;    /* by the commit that is under way */
    bool ports_released; /* those who wait should try again */
    bool fetch_wanted;   /* observed.db lacks services that only the agent's side can put again */
    bool loading;
    bool config_broken; /* nothing can be kept: no port is allocated */
    bool ports_waited;  /* config.db has news for those who wait for it */
    struct keeper_state observed_state;
    char *config_alarm, *observed_alarm, *key_alarm;
    struct buf scratch, scratch2;
};

/* ---- store.c ---- */

void store_set_alarm(struct store *s, const char *name, char **current, const char *text);
/* Takes what the keepers have to say. */
void store_take_news(struct store *s);

/* ---- gather.c ---- */

/* What people made is another than before: what it concerns becomes pending. */
void gather_documents(struct store *s, const struct document_change *changes, size_t n);
/* After the start: documents of services that nothing else knows. */
void gather_orphaned_documents(struct store *s);
/* What the agent declares of a service, committed or not; borrowed, NULL: nothing. */
const struct agent_word *gather_newest_word(const struct store *s, const char *path);
/* The agent's word with what people made of it, decoded. ret_effective: packed, where any was made. */
struct declaration *gather_declare(struct store *s, const char *path, const struct agent_word *word,
                                   struct bytes *ret_effective);
struct record *record_new(struct store *s, const char *path, int64_t id);
void record_free(struct record *r);
void record_changed(struct store *s, struct record *r);
/* Only what the store itself settles is another: which port, which permissions. */
void record_again(struct store *s, struct record *r);
void pending_free(struct pending *p);
struct secret_entry *secret_entry_get(struct store *s, const char *path);
void secret_touched(struct store *s, struct secret_entry *entry);

/* ---- exposures.c ---- */

/* A record that is being committed. */
struct work {
    struct record *record;
    bool gone;
    bool reconfigured; /* more than addresses may have changed */
    bool declared;     /* the declaration is another */
    struct declaration *declaration;
    struct priors priors;
    struct exposure_state *states;     /* of declaration_exposures() */
    const struct exposure **effective; /* likewise; NULL: nothing is in effect */
    size_t n;
    bool waits; /* for a port, or for a secret to be read */
};

struct commit {
    struct store *store;
    const char *cause;
    struct revision *edit; /* that the commit is made for: has its number and documents; NULL: none */
    struct arena *arena;
    struct work *works; /* sorted by path */
    size_t n_works;
    struct view *after;
    struct view_delta *delta;
    struct pointers new_ports;             /* rows that were allocated */
    const char *names[REVISION_NAMES_MAX]; /* of what changed in the configuration */
    size_t n_names;
};

/* Which form of each exposure is in effect, and on which gateway; declared ports are taken. */
void exposures_begin(struct commit *c, struct work *w);
/* Ports are looked up, or allocated. */
void exposures_ports(struct commit *c, struct work *w);
/* What waits for the disk is held back; since when each claims what. */
void exposures_finish(struct commit *c, struct work *w);
/* As they are in the present service: an endpoint changed, nothing else. */
void exposures_same(struct commit *c, struct work *w);
void exposures_pack(const struct work *w, const struct record *r, struct buf *b);
/* The forms that packed states stand in beside the present one; mem_free(*ret_ids). Both: -EBADMSG. */
int exposures_good_forms(const void *bytes, size_t n, int64_t **ret_ids, size_t *ret_n);
int exposures_unpack(const void *bytes, size_t n, struct record *r, struct arena *arena);

/* ---- index.c ---- */

void index_add(struct store *s, struct record *r);
void index_remove(struct store *s, struct record *r);
/* Marks all listeners. */
void index_all_dirty(struct store *s);
/* Marks the listeners whose exposures refer to the secret. */
void index_secret_changed(struct store *s, struct secret_entry *entry);
void listener_free(struct listener *l);
void secret_entry_free(struct secret_entry *e);

/* ---- ports.c ---- */

/* Made when it is new, unless there are too many. NULL then. */
struct port_space *port_space_get(struct store *s, const char *gateway, bool make);
/* Its settings are what its document says. */
void port_space_configure(struct store *s, struct port_space *space);
void port_space_free(struct port_space *space);
void ports_declare(struct store *s, struct port_space *space, uint16_t port);
void ports_undeclare(struct store *s, struct port_space *space, uint16_t port);
struct port_row *ports_find(struct store *s, struct port_space *space, const char *exposure);
/* prefer: the port that it had before, 0: none. NULL: no port is free. */
struct port_row *ports_allocate(struct store *s, struct port_space *space, const char *exposure, uint16_t prefer);
/* A row as it was read. False: the port is somebody else's. */
bool ports_load(struct store *s, struct port_space *space, const char *exposure, uint16_t port, bool told,
                int64_t gone);
void ports_exposure_came(struct store *s, struct port_row *row);
void ports_exposure_went(struct store *s, struct port_row *row);
/* Those that went and did not come back are dated; the oldest are dropped past STALE_PORTS_MAX. */
void ports_settle(struct store *s);
void ports_want_write_back(struct store *s, struct port_row *row);
void port_row_free(struct port_row *row);

/* ---- rows.c ---- */

extern const char *const config_statements[], *const observed_statements[];
extern const size_t n_config_statements, n_observed_statements;
void row_put_event(struct store *s, uint64_t seq, const char *json);
void row_put_meta(struct store *s, const char *name, uint64_t value);
void row_put_form(struct store *s, int64_t id, const struct bytes *resources);
void row_drop_form(struct store *s, int64_t id);
void row_put_service(struct store *s, const struct record *r, int64_t form, const void *states, size_t n);
void row_drop_service(struct store *s, int64_t id);
void row_put_endpoints(struct store *s, int64_t id, const void *addresses, size_t n);
void row_put_secret(struct store *s, const struct secret *secret);
void row_drop_secret(struct store *s, const char *path);
void row_put_note(struct store *s, const struct note *note);
void row_drop_note(struct store *s, const char *name);
void row_put_gateway(struct store *s, const struct gateway *g);
void row_put_port(struct store *s, const struct port_row *row);
void row_drop_port(struct store *s, const struct port_row *row);
void row_put_revision(struct store *s, const struct revision *r);
void row_drop_revision(struct store *s, const struct revision *r);
void row_put_document(struct store *s, const struct document *d);
void row_drop_document(struct store *s, enum document_kind kind, const char *name);
int row_unseal_document(struct store *s, const char *kind, const char *name, const struct db_value *body,
                        struct bytes *ret);
/* What is sealed; the caller frees with mem_free_secret(data, len). -EBADMSG: the key does not fit. */
int row_unseal_form(struct store *s, int64_t id, const struct db_value *resources, struct bytes *ret);
int row_unseal_secret(struct store *s, const char *path, const struct db_value *sealed, struct bytes *ret);
int row_unseal_note(struct store *s, const char *name, const struct db_value *sealed, struct bytes *ret);

/* ---- load.c ---- */

/* What is needed while observed.db is read, and what has to be removed from it then. */
struct loading {
    struct map forms; /* struct loaded_form by id */
    struct map by_id; /* struct record by id */
    int64_t *lost;    /* services that the key does not fit */
    size_t n_lost, n_lost_secrets;
    uint64_t epoch, boot; /* of the events */
    struct loaded_event {
        uint64_t seq;
        char *json;
    } * events;
    size_t n_events;
};

int load_config(struct store *s, struct db *db, struct err *e);
int load_observed(struct store *s, struct db *db, struct loading *l, struct err *e);
void loading_drop_orphans(struct store *s, const struct loading *l);
/* While observed.db is read, documents are what it knows of. On by one revision; then to all there are. */
void documents_step(struct store *s, const struct revision *r);
void documents_step_on(struct store *s);
/* The ring, with what was read if that can be gone on from. */
void loading_make_events(struct store *s, struct loading *l);
void loading_clear(struct loading *l);

/* ---- commit.c ---- */

/* From what was loaded to the first view. */
void commit_loaded(struct store *s);
/* store_commit() for an edit. */
struct view_delta *commit_edit(struct store *s, struct revision *edit);

/* ---- edit.c ---- */

/* Into store->revisions; the oldest ones leave. Takes the reference. */
void revisions_add(struct store *s, struct revision *r);
/* Names are copied; documents' references are taken over. */
struct revision *revision_new(uint64_t number, int64_t time, const char *cause, const char *author,
                              const char *request_id, const char *const *names, size_t n_names, size_t n_changed,
                              const struct document_change *documents, size_t n_documents);

#endif
