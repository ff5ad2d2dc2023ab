/*
 * A keeper: one database, and the thread that writes it. The writer hands it changes of rows; the keeper puts all
 * that is waiting into one transaction (group commit), as soon as it can.
 *
 * The newest change of a key replaces one that still waits: what waits is never more than there are keys, however
 * long the disk is full or hangs. A change that could not be written waits for the next attempt (KEEPER_RETRY_MIN_MS,
 * doubling up to KEEPER_RETRY_MAX_MS). Changes that are handed over together are written together.
 *
 * All functions are for the writer's thread; wake() and behind() are called from the keeper's.
 */
#ifndef STORE_KEEPER_H
#define STORE_KEEPER_H

#include "store/sqlite.h"

enum { KEEPER_RETRY_MIN_MS = 100, KEEPER_RETRY_MAX_MS = 10000, KEEPER_STATEMENTS_MAX = 32 };

struct keeper;

struct keeper_options {
    const char *path;
    const struct db_schema *schema;
    const char *const *statements; /* the numbers in changes; each takes a change's values */
    size_t n_statements;
    /* A file that is damaged, or could not be opened at first, is set aside and made anew. What was waiting is
     * dropped with it, and so is what is flushed until keeper_news() told of it: everything has to be put again.
     * Without remake nothing is written any more. */
    bool remake;
    bool was_read;           /* what the file holds, although it is not open: it is not made anew for that */
    void (*wake)(void *arg); /* something for keeper_news(); may be NULL */
    void *wake_arg;
    /* Called by the keeper's thread, before anybody is told: writing failed, or all is in the file. May be NULL. */
    void (*behind)(void *arg, bool behind);
    void *behind_arg;
};

/*
 * db: opened by the caller, taken; NULL with why (e, copied): it is tried again when that may pass (no space, I/O),
 * whether or not there is something to write; else nothing is written.
 */
struct keeper *keeper_new(const struct keeper_options *options, struct db *db, const struct err *why);
/* Tries once more to write what waits. NULL is allowed. */
void keeper_free(struct keeper *k);

/*
 * Gathers a change: key tells which row it is of (the caller's keys are bounded in number). Everything is copied.
 * with_digest: the digest of the values is bound behind them.
 */
void keeper_put(struct keeper *k, const char *key, unsigned statement, bool with_digest,
                const struct db_value *values, size_t n);
/* Hands over what was gathered; the ticket stands for it and all before it. One that nothing will be written for is
 * never done. */
uint64_t keeper_flush(struct keeper *k);
/* Whether the ticket's changes are in the database, or were dropped with it. */
bool keeper_done(struct keeper *k, uint64_t ticket);
/*
 * Waits until they are, at most ms. Does not wait at all while writing fails, or once a wait was in vain until what
 * was waited for is written: a disk that hangs delays one commit, not each. Whatever was waited for in vain is news
 * when it is done, however the writing stood when the wait began: who goes on without it need not look again.
 */
bool keeper_wait(struct keeper *k, uint64_t ticket, unsigned ms);

struct keeper_state {
    struct err error; /* code 0: what is handed over gets written */
    bool broken;      /* and it will not be tried again */
    uint64_t remade;  /* how often the file was made anew */
    char *remade_why; /* the last time, or NULL */
};
/* Whether the state is another than at the last call. ret: remade_why is the caller's (mem_free()). */
bool keeper_news(struct keeper *k, struct keeper_state *ret);

#endif
