/*
 * Envoy's own verdict on what edits would make: the resources that they would lead to are translated and given to an
 * Envoy binary to validate, in a sandbox (server/sandbox.h), one at a time, in a thread of its own. Nothing waits for
 * it but who asked.
 */
#ifndef SERVER_ENVOY_CHECK_H
#define SERVER_ENVOY_CHECK_H

#include "base/clock.h"
#include "proto/resource.h"
#include "store/view.h"

enum {
    ENVOY_CHECK_WAITING_MAX = 3,  /* questions beside the one that is being answered; others are told: busy */
    ENVOY_CHECK_SECONDS_MAX = 20, /* what can be set for one gateway's configuration */
    ENVOY_CHECK_TOTAL_MS =
        25000, /* from the question to its answer, whoever waits before it: below a request's time */
    ENVOY_CHECK_OUTPUT_MAX = 8192, /* bytes that are kept of what Envoy writes */
};

enum envoy_verdict_state {
    ENVOY_ACCEPTED,
    ENVOY_REFUSED,
    ENVOY_UNAVAILABLE, /* the binary or the sandbox can't be had */
    ENVOY_TIMEOUT,     /* it took too long */
    ENVOY_BUSY,        /* too many ask */
};

/* Texts are in the question's arena; NULL where there is none. */
struct envoy_verdict {
    enum envoy_verdict_state state;
    const char *detail;  /* Envoy's words, or why there are none */
    const char *version; /* "1.40.0" */
    const char *gateway; /* of the configuration that was not accepted */
    /* The resource that the words name, and what it was made from. */
    const char *resource, *owner;
    enum xds_type type;
};

/* Whoever asks leaves it, its arena included, alone until it is answered. */
struct envoy_question {
    struct view *view;        /* that the edits would change; a reference, which goes with the answer */
    struct view_delta *delta; /* draft_delta(); likewise */
    struct arena *arena;
    struct envoy_verdict verdict; /* the answer */
    void (*done)(struct envoy_question *q, void *arg);
    void *arg;
    clock_ns until;              /* it has to be answered */
    struct envoy_question *next; /* that waits */
};

struct envoy_check;

/* binary: borrowed. Asks it for its version at once, in its thread, and logs what came of it. seconds: for each
 * configuration that is tried. */
int envoy_check_new(const char *binary, unsigned seconds, struct envoy_check **ret, struct err *e);
/* Any thread. Calls q->done once, in its own thread or in this one. */
void envoy_check_ask(struct envoy_check *c, struct envoy_question *q);
/* What is asked, and what will be, is answered: unavailable. NULL is allowed. */
void envoy_check_close(struct envoy_check *c);
/* Closed before, and nobody can ask any more. NULL is allowed. */
void envoy_check_free(struct envoy_check *c);

/* For --check-config, without a thread: 0 and the version (mem_free() it), or why the binary can't be had. */
int envoy_check_probe(const char *binary, unsigned seconds, char **ret_version, struct err *e);

#endif
