/*
 * A store in a directory of its own, for tests: facts in few words, alarms remembered, and the whole view as one
 * text, so that "the same state" is a comparison of texts.
 */
#ifndef TESTS_UNIT_STORE_WORLD_H
#define TESTS_UNIT_STORE_WORLD_H

#include "store/sqlite.h"
#include "store/store.h"

#include <pthread.h>

enum { WORLD_ALARMS = 8, WORLD_TEXT = 1024 };

struct world {
    char directory[256];
    struct store_options options;
    struct store *store;
    struct {
        char name[64], text[WORLD_TEXT];
        unsigned raised; /* how often */
    } alarms[WORLD_ALARMS];
    pthread_mutex_t lock; /* of woken */
    pthread_cond_t wake;
    unsigned woken;
    bool wants_fetch; /* store_poll() said so within world_until() */
};

/* Makes the directory; does not open the store. */
void world_init(struct world *w);
/* Closes the store and removes the directory. */
void world_clear(struct world *w);
int world_try_open(struct world *w, struct err *e);
void world_open(struct world *w); /* must succeed */
void world_close(struct world *w);
void world_reopen(struct world *w);
/* A store that is open, beside an agent that has no services. */
void world_start(struct world *w);

/* Facts: one exposure with its keywords as JSON (without braces), one address. */
void world_put(struct world *w, const char *path, const char *keywords, const char *address, bool up);
/* Several resources ("rid", "type", "info", ... ended by NULL), and addresses ("10.0.0.1" up, "!10.0.0.1" down; all
 * of them refer to all exposures), ended by NULL. */
void world_put_full(struct world *w, const char *path, const char *const *resources, const char *const *addresses);
/* Commits; the delta's keys as "service a|listener b", "" when it has no changes, NULL when there was none. Free with
 * mem_free(). */
char *world_commit(struct world *w);
void world_committed(struct world *w); /* whatever it changes */
/* Puts the given services in a complete fetch. */
void world_sync_begin(struct world *w);
void world_sync_end(struct world *w);
void world_sync_nothing(struct world *w); /* a complete fetch without services */

/* The view as a text (mem_free()): everything but the revision, then also with it. */
char *world_dump(struct world *w);
char *world_dump_all(struct world *w);
struct service *world_service(struct world *w, const char *path); /* borrowed from the present view, or NULL */
uint16_t world_port(struct world *w, const char *path, const char *rid);
uint64_t world_revision(struct world *w);
bool world_is_complete(struct world *w);
/* NULL: not raised. */
const char *world_alarm(struct world *w, const char *name);
/* How often it was raised. */
unsigned world_alarm_count(struct world *w, const char *name);
/* Polls (and commits where asked) until the condition holds; fails the test after a while. Waits for wake-ups. */
void world_until(struct world *w, bool (*condition)(struct world *w, void *arg), void *arg);
/* Path of a file in the directory, good until the next call. */
const char *world_file(struct world *w, const char *name);
/* A closed database becomes one of a version that nobody knows yet: 9. */
void world_make_newer(struct world *w, const char *name, const struct db_schema *schema);
/* Whether any file of the directory holds the text. */
bool world_files_hold(struct world *w, const char *text);

/*
 * A child process opens the store and works there for ever; after each step it writes a number into fd, and goes on
 * from the one that was told before. It is killed (kill -9) so many turns of a loop after it told one that is not
 * below wanted. Returns what it told last. The store must be closed.
 */
uint32_t world_run_and_kill(struct world *w, void (*work)(struct world *w, int fd, uint32_t told), uint32_t told,
                            uint32_t wanted, unsigned turns);

/* No file grows any more, as on a full disk; until it is freed. */
void world_fill_disk(void);
void world_free_disk(void);

#endif
