/*
 * One connection to the agent: sends one message and hands on the bytes that come back. A message is a JSON text
 * followed by a NUL; the agent answers one request per connection.
 *
 * Everything runs in the loop's thread; nothing blocks.
 */
#ifndef SERVER_AGENT_CONNECTION_H
#define SERVER_AGENT_CONNECTION_H

#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct connection;

struct connection_handler {
    /* Bytes as they came, at least one. Not 0: the connection is not wanted any more, nothing else is called; the
     * handler may have closed it. */
    int (*bytes)(void *arg, const char *p, size_t n);
    /* All that could be read now was handed on, which may be nothing. What comes next is read when it comes (0), or
     * after so many ns, together. May be NULL. */
    clock_ns (*drained)(void *arg);
    /* It ended: e->code is 0 at a regular end. The connection is to be closed by the handler. */
    void (*ended)(void *arg, const struct err *e);
    void *arg;
    bool secret; /* what comes may hold keys: it is wiped when it was handed on */
};

/*
 * Connects to the first of the sockets (ended by NULL) that is there, and sends text with its NUL. Silence of
 * idle_limit ns ends it (INT64_MAX: never). *ret_socket: the path that it is connected to, borrowed from sockets; may
 * be NULL. Nothing is called before it returned.
 */
int connection_open(struct loop *loop, const char *const *sockets, const char *text, clock_ns idle_limit,
                    const struct connection_handler *handler, struct connection **ret_connection,
                    const char **ret_socket, struct err *e);
/* May be called from within a handler; NULL is allowed. Nothing is called any more. */
void connection_close(struct connection *c);

#endif
