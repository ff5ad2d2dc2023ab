/*
 * One request to the agent and its answer, as JSON. Runs in the loop's thread; nothing blocks.
 */
#ifndef SERVER_AGENT_REQUEST_H
#define SERVER_AGENT_REQUEST_H

#include "base/buf.h"
#include "base/json.h"
#include "base/loop.h"

struct request;

/*
 * answer: an object, borrowed for the call, or NULL with what happened in e (no answer, too long, no JSON). Texts in
 * it may be secret: what the callback does not take is wiped behind it. The request is gone when this is called.
 */
typedef void (*request_done)(void *arg, const json_t *answer, const struct err *e);

struct request_options {
    const char *const *sockets; /* tried in order; NULL-terminated; borrowed for the start */
    clock_ns timeout;           /* of silence */
    size_t max_answer;
    request_done done;
    void *arg;
};

/* Fails only when there is nobody to connect to; then done is not called. */
int request_start(struct loop *loop, const struct request_options *options, const char *text,
                  struct request **ret_request, struct err *e);
/* NULL is allowed; done is not called any more. */
void request_cancel(struct request *r);

/* The agent's verdict: 0, or its number; it may come as text. Without one: 0, unless there is an "error". */
int answer_status(const json_t *answer);
/* The agent's words for an error, cut to a line; never a value that was asked for. Borrowed from buf. */
const char *answer_words(const json_t *answer, char *buf, size_t n);

/* {"action":"NAME","options":{"path":"PATH","key":"KEY"}}, with "method" where it is given; key may be NULL. */
void request_about(struct buf *b, const char *action, const char *method, const char *path, const char *key);

#endif
