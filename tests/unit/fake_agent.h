/*
 * An agent's socket in the same loop, for tests of whoever talks to it: answers are what the test sets, and
 * everything that was asked is written down. It speaks as the real one: messages end in a NUL, one answer a
 * connection.
 */
#ifndef TESTS_UNIT_FAKE_AGENT_H
#define TESTS_UNIT_FAKE_AGENT_H

#include "base/buf.h"
#include "base/loop.h"

#include <jansson.h>

enum { FAKE_CONNECTIONS = 64 };

struct fake_agent;

struct fake_connection {
    struct fake_agent *agent; /* NULL: free */
    int fd;
    struct loop_io *io;
    struct buf in, out;
    size_t sent;
    bool subscriber, close_after;
    bool held; /* answered when the test says so */
};

/* An answer instead of the usual one, a JSON text; NULL: the usual one. mem_free() is called on it. */
typedef char *(*fake_answer)(void *arg, const char *action, const json_t *request);

struct fake_agent {
    struct loop *loop;
    char directory[256], path[300];
    int fd; /* -1: nobody listens */
    struct loop_io *io;
    struct fake_connection connections[FAKE_CONNECTIONS];

    /* What is answered. */
    char *status;      /* to daemon_status; owned */
    size_t cut_status; /* close after so many bytes of it; 0: whole */
    json_t *secrets;   /* {PATH: {KEY: VALUE}} */
    fake_answer answer;
    void *answer_arg;
    bool hold_secrets, hold_status; /* keep those requests unanswered until fake_agent_release() */
    bool no_end;                    /* close without the NUL */
    bool hang;                      /* take whatever is asked, and answer nothing */

    /* What was asked. */
    unsigned n_status, n_events, n_object_keys, n_keys, n_set;
    struct buf log; /* a line a request: "daemon_status", "get_secret_key PATH KEY", "object_action NODE PATH KW" */
};

void fake_agent_init(struct fake_agent *f, struct loop *loop);
void fake_agent_clear(struct fake_agent *f);
void fake_agent_listen(struct fake_agent *f);
/* Ends all connections, and nobody can connect. */
void fake_agent_stop(struct fake_agent *f);
void fake_agent_set_status(struct fake_agent *f, const char *status);
/* Keys as "KEY", "VALUE", ..., NULL. */
void fake_agent_set_secret(struct fake_agent *f, const char *path, ...) __attribute__((sentinel));
/* Bytes to all subscribers, as they are. */
void fake_agent_send(struct fake_agent *f, const char *p, size_t n);
/* A message with its NUL to all subscribers. */
void fake_agent_event(struct fake_agent *f, const char *text);
/* Ends the subscribers' streams. */
void fake_agent_drop(struct fake_agent *f);
/* Answers what was held. */
void fake_agent_release(struct fake_agent *f);

#endif
