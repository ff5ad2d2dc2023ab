/*
 * Accepts connections on sockets that gRPC did not open: a thread of its own that sleeps until one comes. Knows
 * nothing of what they are for.
 */
#ifndef SERVER_XDS_ACCEPTOR_H
#define SERVER_XDS_ACCEPTOR_H

#include <stddef.h>

struct xds_acceptor;

/* A listening socket, non-blocking. It stays the caller's. */
struct xds_door {
    int fd;
    void *arg;
};

/* accepted gets each connection (non-blocking, closed on exec, without Nagle's delay), which is its own then; it is
 * called in the acceptor's thread and must not block. */
struct xds_acceptor *xds_acceptor_start(const struct xds_door *doors, size_t n,
                                        void (*accepted)(void *arg, int connection));
/* What has not been accepted waits in the kernel for whoever accepts next. NULL is allowed. */
void xds_acceptor_stop(struct xds_acceptor *a);

#endif
