/*
 * The acceptor's thread: poll() over the doors, and a descriptor that ends it. Where nothing can be accepted for want
 * of descriptors, the doors are left alone for a moment: who waits there would wake it without end.
 */
#include "server/xds_acceptor.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REST_MS = 200,
    FOREVER = -1,
    SEND_BUFFER = 2 << 20, /* bytes; the kernel counts them twice, for its own */
};

struct xds_acceptor {
    struct xds_door *doors;
    struct pollfd *polled; /* the doors, then stop_fd */
    size_t n;
    int stop_fd; /* written by whoever stops it */
    void (*accepted)(void *arg, int connection);
    pthread_t thread;
};

static void pass_on(const struct xds_acceptor *a, const struct xds_door *door, int connection)
{
    const int yes = 1, send_buffer = SEND_BUFFER;

    /* One of TCP grows to this by itself. That of a unix socket is a twentieth of it for ever, and whoever fills it
     * is woken up each time that it empties: a fifth of the CPU of a first sync. net.core.wmem_max limits it. */
    if (setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)))
        (void)setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
    a->accepted(door->arg, connection);
}

/* The end of one connection that was not there yet (accept(2)). */
static bool is_of_one_connection(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM || error == ENETDOWN ||
           error == EHOSTDOWN || error == ENETUNREACH || error == EHOSTUNREACH || error == ENONET;
}

/* All that wait there. 0, or why there can be no more for now: no descriptor, no memory. */
static int accept_all(const struct xds_acceptor *a, const struct xds_door *door)
{
    for (;;) {
        int connection = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (connection >= 0)
            pass_on(a, door, connection);
        else if (!is_of_one_connection(errno))
            return errno == EAGAIN ? 0 : -errno;
    }
}

static void *run(void *arg)
{
    struct xds_acceptor *a = arg;
    int r = 0, told = 0;

    while (!a->polled[a->n].revents) {
        for (size_t i = 0; i < a->n; i++)
            a->polled[i] = (struct pollfd){.fd = r ? -1 : a->doors[i].fd, .events = POLLIN};
        int n = poll(a->polled, a->n + 1, r ? REST_MS : FOREVER);
        assert(n >= 0 || errno == EINTR);
        r = 0;
        for (size_t i = 0; n > 0 && i < a->n && !r; i++)
            if (a->polled[i].revents)
                r = accept_all(a, &a->doors[i]);
        if (r && r != told)
            log_event(LOG_LEVEL_ERROR, "no xDS connection can be accepted", "problem", strerrordesc_np(-r), NULL);
        if (r || n > 0) /* a rest says nothing */
            told = r;
    }
    return NULL;
}

struct xds_acceptor *xds_acceptor_start(const struct xds_door *doors, size_t n,
                                        void (*accepted)(void *arg, int connection))
{
    struct xds_acceptor *a = mem_new(struct xds_acceptor);

    a->doors = mem_dup(doors, n * sizeof(*doors));
    a->polled = mem_array(struct pollfd, n + 1);
    a->n = n;
    a->accepted = accepted;
    a->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert(a->stop_fd >= 0);
    a->polled[n] = (struct pollfd){.fd = a->stop_fd, .events = POLLIN};
    int r = pthread_create(&a->thread, NULL, run, a);
    assert(r == 0);
    return a;
}

void xds_acceptor_stop(struct xds_acceptor *a)
{
    uint64_t one = 1;

    if (!a)
        return;
    ssize_t n = write(a->stop_fd, &one, sizeof(one));
    assert(n == (ssize_t)sizeof(one));
    pthread_join(a->thread, NULL);
    close(a->stop_fd);
    mem_free(a->polled);
    mem_free(a->doors);
    mem_free(a);
}
