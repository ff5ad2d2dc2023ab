/*
 * One connection to the agent. Connecting to a unix socket is done or fails at once; the message is sent as the
 * socket takes it; reading stops after READ_BATCH pieces so that others get their turn.
 *
 * Invariant: after connection_close() nothing touches the struct: while a handler runs, `closed` (on the caller's
 * stack) tells that it is gone.
 */
#include "server/agent_connection.h"

#include "base/buf.h"
#include "base/socket_address.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_PIECE = 1 << 16, READ_BATCH = 16 };

struct connection {
    struct loop *loop;
    int fd;
    struct loop_io *io;
    struct loop_timer *timer; /* of the idle limit */
    struct loop_timer *pause; /* set: nothing is read until then */
    clock_ns idle_limit;
    struct connection_handler handler;
    struct buf out;
    size_t sent;
    bool *closed; /* while a handler runs */
};

static int connect_to(const char *path, struct err *e)
{
    struct socket_address at = {0};
    struct sockaddr_storage name;
    socklen_t n;
    int fd, r;

    if (strlen(path) > SOCKET_PATH_MAX)
        return err_set(e, -ENAMETOOLONG, path, NULL, "the path of a socket has at most %d bytes", SOCKET_PATH_MAX);
    memcpy(at.path, path, strlen(path) + 1);
    n = socket_address_write(&at, &name);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, -errno, path, NULL, "%s", strerrordesc_np(errno));
    if (connect(fd, (const struct sockaddr *)&name, n) == 0)
        return fd;
    r = err_set(e, -errno, path, NULL, "%s", strerrordesc_np(errno));
    close(fd);
    return r;
}

/* Where none can be had, one that is there says why: that another one is absent tells nobody anything. */
static int connect_to_first(const char *const *sockets, const char **ret_socket, struct err *e)
{
    int r = err_set(e, -ENOENT, "agent", NULL, "no socket is configured");

    for (size_t i = 0; sockets[i]; i++) {
        struct err why = {0};
        int fd = connect_to(sockets[i], &why);

        if (fd >= 0) {
            *ret_socket = sockets[i];
            return fd;
        }
        if (r == -ENOENT) {
            r = fd;
            if (e)
                *e = why;
        }
    }
    return r;
}

/* False when a handler closed the connection, or does not want it any more. */
static bool end(struct connection *c, int code, const char *words)
{
    struct err e = {0};

    if (code < 0)
        err_set(&e, code, NULL, NULL, "%s", words);
    loop_io_set(c->io, 0);
    loop_timer_set(c->timer, INT64_MAX);
    loop_timer_set(c->pause, INT64_MAX);
    c->handler.ended(c->handler.arg, &e);
    return false;
}

static bool write_more(struct connection *c)
{
    while (c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0)
            return end(c, -errno, strerrordesc_np(errno));
        c->sent += (size_t)n;
    }
    loop_io_set(c->io, LOOP_READ);
    return true;
}

/* Whether to go on reading now. */
static bool read_piece(struct connection *c, bool *closed, bool *ret_wanted)
{
    static _Thread_local char piece[READ_PIECE];
    ssize_t n = recv(c->fd, piece, sizeof(piece), 0);
    bool secret = c->handler.secret; /* the handler may close the connection */
    int unwanted;

    *ret_wanted = true;
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        *ret_wanted = n < 0 ? end(c, -errno, strerrordesc_np(errno)) : end(c, 0, NULL);
        return false;
    }
    if (c->idle_limit != INT64_MAX)
        loop_timer_set(c->timer, loop_now(c->loop) + c->idle_limit);
    unwanted = c->handler.bytes(c->handler.arg, piece, (size_t)n);
    if (secret)
        mem_wipe(piece, (size_t)n);
    *ret_wanted = !*closed && unwanted == 0;
    /* What fits is all that there was: should more have come meanwhile, the loop says so. */
    return *ret_wanted && (size_t)n == sizeof(piece);
}

/* While one pause follows another, epoll is asked nothing. */
static void read_after(struct connection *c, clock_ns pause)
{
    loop_io_set(c->io, pause > 0 ? 0 : LOOP_READ);
    if (pause > 0)
        loop_timer_set(c->pause, loop_now(c->loop) + pause);
}

static void read_more(struct connection *c)
{
    bool closed = false, wanted = true;
    clock_ns pause = 0;

    c->closed = &closed;
    for (unsigned i = 0; i < READ_BATCH && read_piece(c, &closed, &wanted); i++)
        ;
    if (wanted && !closed && c->handler.drained)
        pause = c->handler.drained(c->handler.arg);
    if (closed)
        return;
    c->closed = NULL;
    if (wanted && c->sent == c->out.len)
        read_after(c, pause);
}

static void on_pause_over(void *arg)
{
    read_more(arg);
}

static _hot_ void on_ready(void *arg, unsigned events)
{
    struct connection *c = arg;

    if ((events & LOOP_WRITE) && c->sent < c->out.len) {
        bool closed = false, wanted;

        c->closed = &closed;
        wanted = write_more(c);
        if (closed)
            return;
        c->closed = NULL;
        if (!wanted)
            return;
    }
    if (events & LOOP_READ)
        read_more(c);
}

static void on_silence(void *arg)
{
    end(arg, -ETIMEDOUT, "the agent is silent");
}

int connection_open(struct loop *loop, const char *const *sockets, const char *text, clock_ns idle_limit,
                    const struct connection_handler *handler, struct connection **ret_connection,
                    const char **ret_socket, struct err *e)
{
    const char *socket_path = NULL;
    struct connection *c;
    int fd = connect_to_first(sockets, &socket_path, e), r;

    if (fd < 0)
        return fd;
    c = mem_new(struct connection);
    *c = (struct connection){.loop = loop, .fd = fd, .idle_limit = idle_limit, .handler = *handler};
    r = loop_io_new(loop, fd, LOOP_READ | LOOP_WRITE, on_ready, c, &c->io, e);
    if (r < 0) {
        close(fd);
        mem_free(c);
        return r;
    }
    buf_append(&c->out, text, strlen(text) + 1);
    c->timer = loop_timer_new(loop, on_silence, c);
    c->pause = loop_timer_new(loop, on_pause_over, c);
    if (idle_limit != INT64_MAX)
        loop_timer_set(c->timer, loop_now(loop) + idle_limit);
    *ret_connection = c;
    if (ret_socket)
        *ret_socket = socket_path;
    return 0;
}

void connection_close(struct connection *c)
{
    if (!c)
        return;
    if (c->closed)
        *c->closed = true;
    loop_io_free(c->io);
    loop_timer_free(c->timer);
    loop_timer_free(c->pause);
    close(c->fd);
    buf_clear(&c->out);
    mem_free(c);
}
