/*
 * Inside the status (see xds_status.h): a question to the xDS thread. Its step function goes on until it is done or
 * its time is over. What it keeps between two slices must survive any change: references to gateways and slots,
 * numbers of sessions, the roster's walk.
 */
#ifndef SERVER_XDS_QUESTION_H
#define SERVER_XDS_QUESTION_H

#include "server/xds_status.h"

#include <pthread.h>

struct xds_question {
    struct xds_question *next;
    /* 0: not done yet; 1: done; or an error. */
    int (*step)(struct xds_directory *d, struct xds_question *q, clock_ns until);
    bool begun;          /* step looks at the sessions */
    bool done, detached; /* detached: nobody waits; it is freed when it is done */
    int result;
    pthread_cond_t answered;
};

enum { XDS_PROXY_ID_MAX = 32 };
/* In buf, of XDS_PROXY_ID_MAX bytes. */
const char *xds_proxy_id(const struct xds_session *s, char *buf);
/* Of all that is told of a proxy in a list: another number, another proxy. */
uint64_t xds_session_digest(const struct xds_session *s);

/* Asks and waits for the answer: 0 or an error. */
int xds_ask(struct xds_status *t, struct xds_question *q);
/* For a step that looks at all sessions: the next one that it has not looked at, or NULL. */
const struct xds_session *xds_question_session(struct xds_directory *d, struct xds_question *q);

#endif
