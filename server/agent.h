/*
 * The agent's connection: subscribes to events, fetches the whole, applies patches, fetches secrets and writes ports
 * back, and starts over whenever anything does not fit. It feeds the store and tells its owner when to commit.
 *
 * subscribe first -> fetch daemon_status (events are held) -> release -> follow. After a gap, a misfit, an end, a
 * truncated or bad message: again, with backoff (50 ms doubling to 5 s, with jitter) between attempts, without limit.
 * Secrets are fetched on connections of their own, beside the events (at most AGENT_REQUESTS_MAX at once), so that a
 * slow answer delays nothing; a secret whose keys can't be read is asked again (backoff), the last good values stay.
 * Only the first state of all waits for its secrets, for some seconds at most.
 *
 * An agent that hangs without closing anything is noticed by its silence (see agent_silence.c).
 *
 * Runs in a loop's thread; everything is asynchronous there. Nothing blocks.
 */
#ifndef SERVER_AGENT_H
#define SERVER_AGENT_H

#include "base/loop.h"
#include "store/store.h"

struct agent;

enum { AGENT_REQUESTS_MAX = 8, AGENT_REQUEST_TIMEOUT_S = 30, AGENT_SECRET_ANSWER_MAX = 4 << 20 };

struct agent_options {
    const char *const *sockets; /* paths, tried in order; NULL-terminated */
    uint64_t max_status_bytes;  /* of one daemon_status answer; 0: 256 MiB */
    unsigned jitter_seed;
    clock_ns silence; /* of its events, after which it is asked whether it is alive; 0: it may be silent for ever */
    /* "agent": it hangs (in words), or does no longer (NULL); "secrets": it does not say what some hold. May be
     * NULL. */
    void (*alarm)(void *arg, const char *name, const char *text);
    /* Called after the store was given something that should be published now, with the cause in words. The owner
     * commits and calls agent_after_commit(). Never called from within agent_after_commit(). */
    void (*commit)(void *arg, const char *cause);
    void *arg;
};

struct agent *agent_new(struct loop *loop, struct store *store, const struct agent_options *options);
/* Ends all connections; nothing is called any more. */
void agent_free(struct agent *a);
/* To be called after each commit, and after a store_poll(): looks for wanted secrets and ports to write back. NULL is
 * allowed. */
void agent_after_commit(struct agent *a);
/* The store lost what it had on disk (store_poll()'s ret_fetch): it is given everything once more, and a commit is
 * asked for; at once, or with the next complete fetch. */
void agent_put_all_again(struct agent *a);
/* For status and logs, from any thread: "connecting", "syncing", "following". */
const char *agent_state(const struct agent *a);

#endif
