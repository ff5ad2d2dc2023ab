/* Sockets passed in. They are known by the addresses that the kernel gives them. */
#include "server/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3 /* SD_LISTEN_FDS_START */ };

struct passed {
    int fd; /* 0: taken */
    struct socket_address at;
};

struct activation {
    struct passed sockets[ACTIVATION_MAX];
    size_t n;
};

/* What a variable says as a number; 0: it is not there, or none. */
static unsigned long number_in(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    unsigned long n = text ? strtoul(text, &end, 10) : 0;

    return text && end != text && !*end ? n : 0;
}

static int look_at(int fd, struct passed *ret, struct err *e)
{
    _cleanup_(mem_free_p) char *name = mem_printf("descriptor %d", fd);
    struct sockaddr_storage bound = {0};
    int type = 0, listens = 0;
    socklen_t n = sizeof(type), m = sizeof(listens), size = sizeof(bound);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &m) ||
        type != SOCK_STREAM || !listens || getsockname(fd, (struct sockaddr *)&bound, &size) ||
        socket_address_read(&bound, &ret->at))
        return err_set(e, -EINVAL, name, NULL, "was passed in and is no stream socket that listens");
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
        return err_set(e, -errno, name, NULL, "was passed in and can't be used: %s", strerrordesc_np(errno));
    ret->fd = fd;
    return 0;
}

int activation_new(struct activation **ret_activation, struct err *e)
{
    _cleanup_(activation_free_p) struct activation *a = mem_new(struct activation);
    bool mine = number_in("LISTEN_PID") == (unsigned long)getpid();
    unsigned long n = mine ? number_in("LISTEN_FDS") : 0;

    if (unsetenv("LISTEN_PID") || unsetenv("LISTEN_FDS") || unsetenv("LISTEN_FDNAMES"))
        return err_set(e, -errno, "LISTEN_FDS", NULL, "can't be taken out of the environment");
    if (n > ACTIVATION_MAX)
        return err_set(e, -EINVAL, "LISTEN_FDS", NULL, "more than %d sockets are passed in", ACTIVATION_MAX);
    for (; a->n < n; a->n++) {
        int r = look_at(FIRST + (int)a->n, &a->sockets[a->n], e);
        if (r)
            return r;
    }
    *ret_activation = take_ptr(a);
    return 0;
}

void activation_free(struct activation *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n; i++)
        if (a->sockets[i].fd)
            close(a->sockets[i].fd);
    mem_free(a);
}

int activation_take(struct activation *a, const struct socket_address *at)
{
    for (size_t i = 0; i < a->n; i++) {
        struct passed *p = &a->sockets[i];
        int fd = p->fd;
        if (!fd || !socket_address_equal(at, &p->at))
            continue;
        p->fd = 0;
        return fd;
    }
    return 0;
}

int activation_all_taken(const struct activation *a, struct err *e)
{
    char text[SOCKET_TEXT_MAX];

    for (size_t i = 0; i < a->n; i++)
        if (a->sockets[i].fd)
            return err_set(
                e, -EINVAL, socket_address_text(&a->sockets[i].at, text), NULL,
                "is passed in by the supervisor, but neither xds nor api serves that address: who connects "
                "there would wait for ever");
    return 0;
}
