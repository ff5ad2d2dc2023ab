/*
 * The agent's side from inside: what its files share. Owned by the loop's thread.
 *
 * agent_connection  one connection: a message out, bytes back
 * agent_request     one request and its JSON answer
 * agent_follow      subscribe, fetch, follow, start over
 * agent_silence     notices one that hangs
 * agent_secret      secrets: read when referred to, and again when they change
 * agent_write_back  allocated ports told to the agent
 * agent             the door, commits, the wait for the first whole state
 */
#ifndef SERVER_AGENT_CORE_H
#define SERVER_AGENT_CORE_H

#include "base/map.h"
#include "server/agent.h"
#include "server/agent_connection.h"
#include "server/agent_request.h"
#include "server/mirror.h"

enum {
    AGENT_BACKOFF_MIN_MS = 50,
    AGENT_BACKOFF_MAX_MS = 5000,
    AGENT_STEADY_S = 2,        /* of following, after which a fault is the first one again */
    AGENT_FIRST_EVENT_MS = 20, /* that a fetch waits for the proof that the subscription stands */
    AGENT_CONFIRM_MS = 500,    /* between a fetch that took longer than the proof and the one that confirms it */
    AGENT_FIRST_SECRETS_S = 5, /* that the first state waits for its secrets */
    AGENT_UNSETTLED_S = 15,    /* that an agent may be starting before it is taken as it is */
};

enum agent_phase {
    PHASE_WAIT_CONNECT, /* no subscription; the timer starts one */
    PHASE_WAIT_EVENT,   /* subscribed; the first event or the timer starts a fetch */
    PHASE_WAIT_FETCH,   /* subscribed; the timer starts a fetch; events are kept */
    PHASE_FETCH,        /* subscribed; the whole is being read; events are kept */
    PHASE_FOLLOW,
};

/* What was read of the events, lot by lot, as far as it tells a flood of noise (see agent_follow.c). */
struct flood {
    bool noise, news; /* what came in this lot */
    clock_ns lot_at;  /* when the last one was read */
    unsigned noisy;   /* dense lots of nothing but noise, in a row */
};

struct agent {
    struct loop *loop;
    struct store *store;
    struct mirror *mirror;
    struct agent_options options;
    char **sockets; /* the options' */

    /* agent_follow */
    enum agent_phase phase; /* written by the loop's thread alone, read by any: both atomic there */
    struct connection *events, *status;
    struct buf message;            /* the beginning of an event's message */
    struct loop_timer *timer;      /* of the phase */
    struct loop_timer *trim_timer; /* after a fetch: what it took is free then */
    unsigned step;                 /* of the backoff */
    uint64_t random;
    bool proved;        /* an event came: the subscription stands */
    bool confirm;       /* what was fetched began before that, and is fetched once more */
    clock_ns synced_at; /* INT64_MIN: never */
    clock_ns fetch_started;
    clock_ns unsettled_since;   /* INT64_MIN: it is not */
    uint64_t first_id, last_id; /* of the patches that were applied since the last commit; 0: none */
    char *last_failure;         /* to attempts that fail in the same way, one line */
    bool have_whole;            /* the mirror has content */
    bool partial;               /* of a daemon that is starting: see mirror_status_end() */
    struct flood flood;

    /* agent_silence */
    clock_ns heard_at;     /* when an event came last, or the subscription was made */
    struct request *probe; /* under way, or NULL */
    bool asked;            /* since then */
    bool hung;             /* the alarm is on */
    unsigned deaf;         /* how often in a row it answered and had no events */
    struct loop_timer *silence_timer;

    /* commits */
    bool full;  /* the next sync puts everything */
    bool first; /* the first state is gathered, and waits for its secrets */
    struct loop_timer *first_timer;
    struct loop_timer *commit_timer;
    char *commit_cause;

    /* agent_secret */
    struct map secrets; /* struct secret_job by path */
    struct secret_job *queue, **queue_end;
    unsigned running;
    unsigned first_left; /* that the first state waits for */
    uint64_t wanted_version;
    struct loop_timer *silent_timer; /* set: of which secrets it is silent changed, and is to be told */
    bool silent_told;                /* the alarm is on */

    /* agent_write_back */
    struct write_back *write_back; /* under way, or NULL */
};

/* ---- agent ---- */

/* Takes over the timer's jitter: delay/2 .. delay. */
clock_ns agent_backoff(struct agent *a, unsigned step);
/* Commits with the cause soon, together with what else comes until then. */
void agent_commit_soon(struct agent *a, const char *cause);
/* Commits now, unless the first state is still being gathered. */
void agent_commit(struct agent *a, const char *cause);
/* The secrets of the first state are there, or will not be. */
void agent_first_done(struct agent *a);
/* Gives the store what the mirror touched; whether there was anything. */
bool agent_put_touched(struct agent *a);
/* Gives the store what came of a complete fetch, and commits. */
void agent_put_whole(struct agent *a);

/* ---- agent_follow ---- */

void follow_start(struct agent *a);
void follow_stop(struct agent *a);
/* The stream of events is of no use any more: it is told, the state is stale, and everything starts anew. */
void follow_lost(struct agent *a, const struct err *e);

/* ---- agent_silence ---- */

void silence_start(struct agent *a);
void silence_stop(struct agent *a);
/* The subscription begins, something came on it, it ends. */
void silence_begin(struct agent *a);
void silence_heard(struct agent *a);
void silence_end(struct agent *a);
/* The state is current again. */
void silence_over(struct agent *a);

/* ---- agent_secret ---- */

void secrets_start(struct agent *a);
/* A service of the first state: its secrets are read before it is shown. */
void secrets_expect(struct agent *a, const struct facts *f);
/* Starts what the services refer to as of the last commit, and what changed at the agent. */
void secrets_check(struct agent *a);
void secrets_stop(struct agent *a);

/* ---- agent_write_back ---- */

void write_back_check(struct agent *a);
void write_back_stop(struct agent *a);

#endif
