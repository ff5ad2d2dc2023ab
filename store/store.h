/*
 * The door to the state. The writer (one thread, the daemon's core loop) gives facts, secrets and later the API's
 * edits; store_commit() merges them, checks across objects, writes them to disk, publishes a new view, and says what
 * changed. Nothing outside knows which engine stands behind.
 *
 * Two databases in the state directory (law 1):
 *   config.db    what people made and what must not be lost: gateways, allocated ports, revisions with their cause,
 *                later edits. Flushed (synchronous=FULL) by a thread of its own. When it is damaged or full, what
 *                needs it is refused and serving goes on.
 *   observed.db  what the agent said: services, endpoints, secrets (private keys encrypted). Written before a view is
 *                published, never flushed (synchronous=OFF: it survives kill -9, and is rebuilt after a power cut).
 *                It is written by a thread of its own: store_commit() waits for it at most STORE_OBSERVED_WAIT_MS
 *                (longer for thousands of services at once), and not at all while it fails or hangs; its failure is
 *                an alarm and never delays an endpoint.
 * A lock file keeps a second daemon out. A database of a newer version is refused. A damaged observed.db is set aside
 * (renamed with the time), said loudly, and rebuilt.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/clock.h"
#include "store/facts.h"
#include "store/notes.h"
#include "store/view.h"

enum { STORE_OBSERVED_WAIT_MS = 100, STORE_REVISIONS_MAX = 1000 /* default retention */ };

struct store;

struct port_range {
    uint16_t min, max;
};

/* An alarm: something that an administrator must know, and that is over when text is NULL. Called from the writer's
 * thread within store_open(), store_commit() and store_poll(). */
typedef void (*store_alarm)(void *arg, const char *name, const char *text);

struct store_options {
    const char *directory;             /* made (0700) if missing */
    const char *key_file;              /* NULL: DIRECTORY/key, made at first start with mode 0600; else read only */
    const char *default_gateway;       /* "envoy"; NULL: exposures without a gateway are left out with a reason */
    uint16_t port_min, port_max;       /* ports to allocate from */
    const struct port_range *reserved; /* never allocated: igwd's own, Envoy's admin, the kernel's ephemeral range */
    size_t n_reserved;
    unsigned observed_wait_ms; /* how long a commit waits for the disk; 0: STORE_OBSERVED_WAIT_MS */
    bool read_only; /* another daemon serves the same cluster, and it decides: no port is allocated or written back */
    const struct network_list *endpoint_networks; /* borrowed for the store's life; may be NULL */
    exposure_check check;                         /* see service.h; may be NULL */
    void *check_arg;
    store_alarm alarm;
    void *alarm_arg;
    void (*wake)(void *arg); /* from any thread: store_poll() shall be called soon, not from within; may be NULL */
    void *wake_arg;
};

/*
 * Opens, migrates, and loads the last state. ret_store's view is complete and stale if there was one. -EEXIST:
 * another daemon has the directory; -EPROTO: a newer version's database; other errors name the file. A database that
 * is damaged, or a disk that is full, does not fail the opening (alarms "config.db", "observed.db"), nor does a key
 * that does not fit what is encrypted (alarm "key"): the view is not complete then.
 */
int store_open(const struct store_options *options, struct store **ret_store, struct err *e);
/* Waits for what is under way to be written. */
void store_close(struct store *s);

/* Any thread: a reference to the newest view. */
struct view *store_view(struct store *s);

/* Any thread; lives as long as the store. */
struct event_ring *store_events(struct store *s);

/* Everything below: the writer's thread. Calls gather changes; store_commit() makes them real together. */

/* A service's facts, new or changed. Facts without resources of ours and without addresses remove it. */
void store_put_facts(struct store *s, const struct facts *f);
void store_remove_service(struct store *s, const char *path);
/* A complete fetch: between begin and end every service is put; what was not is removed at the end. */
void store_sync_begin(struct store *s);
void store_sync_end(struct store *s);
/* The agent was lost, or is back (store_sync_end() says so as well). */
void store_set_stale(struct store *s, bool stale);

/* New values of a secret (csum as of the agent), or the agent's words that it is missing. */
void store_put_secret(struct store *s, const char *path, const char *csum, const struct secret_values *values,
                      const char *missing);
/*
 * The secrets that services refer to, sorted, as of the last commit; borrowed until the next. The agent's side
 * fetches those whose csum differs from what the store has (secret->csum in the view).
 */
const char *const *store_wanted_secrets(struct store *s, size_t *ret_n);
/* Another number when the list is another one; 0 while it is empty from the start. */
uint64_t store_wanted_version(const struct store *s);

/* An allocated port that the agent has not been told of yet. */
struct port_write_back {
    char *path; /* of the service (a scaler: its own path; the agent's side adds the slaves) */
    char *rid;  /* expose#N */
    uint16_t port;
};
/* The next one, or false. It comes once (also over restarts); one that failed comes again, after 30 s, twice as long
 * each time, up to an hour; as long as there is one the alarm "ports" is on, which names it. */
bool store_next_write_back(struct store *s, struct port_write_back *ret);
/* why: it failed, in words; NULL: it is done. Returns whether that is news: it is done, or it failed in this way for
 * the first time. */
bool store_write_back_done(struct store *s, const char *path, const char *rid, const char *why);

void port_write_back_clear(struct port_write_back *w);

/*
 * Takes what the store's threads have to say (alarms that are new or over, ports that reached the disk), lets them
 * try again what failed, and tells of what runs out (store/expiry.h). To be called at the start, when wake() was, and
 * at the time that the last call returned (INT64_MAX: only when woken). *ret_commit: there is something for
 * store_commit(); *ret_fetch (once): observed.db had to be made anew and needs all services once more
 * (store_sync_begin(), everything, store_sync_end()).
 */
clock_ns store_poll(struct store *s, bool *ret_commit, bool *ret_fetch);

/*
 * Makes what was gathered real. cause: for the revision ("agent: patch 123"). Returns the difference to the view
 * before, for the caller to free, or NULL when nothing changed; one without changes when only complete or stale
 * did. Never fails: what can't be written is an alarm, what
 * is wrong with an object stands on that object.
 */
struct view_delta *store_commit(struct store *s, const char *cause);
/* Replaces the notes of before; takes those, and leaves none there. No disk is waited for. */
void store_set_notes(struct store *s, struct notes *notes);
/* The present ones, right after store_open() those of before; borrowed until they are replaced. */
const struct notes *store_notes(const struct store *s);
/* Events that are no difference between views: of alarms, of what translation found. The disk is waited for once. */
void store_announce(struct store *s, const char *kind, const char *const *names, size_t n, enum event_change change);
/* Any thread: the same of what passes (store/events.h): no disk is waited for. */
void store_announce_passing(struct store *s, const char *kind, const char *name, enum event_change change);
/* The difference from nothing to the present view: what later commits' differences go on from. Also while the view is
 * not complete; nothing of it may be shown to an Envoy then. */
struct view_delta *store_initial_delta(struct store *s);

#endif
