/*
 * Sockets passed in. Addresses are compared as the kernel has them, not as texts: "[0::1]:1" is "[::1]:1".
 */
#include "server/activation.h"

#include "store/service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST = 3 /* SD_LISTEN_FDS_START */, TEXT_MAX = 128 };

struct passed {
    int fd; /* 0: taken */
    struct sockaddr_storage name;
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
    int type = 0, listens = 0;
    socklen_t n = sizeof(type), m = sizeof(listens), size = sizeof(ret->name);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &m) ||
        type != SOCK_STREAM || !listens || getsockname(fd, (struct sockaddr *)&ret->name, &size))
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

/* Whether a TCP address, as settings write it, is this one. */
static bool is_tcp(const char *text, const struct sockaddr_storage *name)
{
    const char *colon = strrchr(text, ':');
    char host[TEXT_MAX];
    size_t n = colon ? (size_t)(colon - text) : 0;
    bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    struct address a;
    struct sockaddr_in four;
    struct sockaddr_in6 six;

    if (bracketed)
        text++, n -= 2;
    if (!n || n >= sizeof(host))
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    if (address_parse(host, &a) || a.family != name->ss_family)
        return false;
    unsigned long port = strtoul(colon + 1, NULL, 10);
    memcpy(&four, name, sizeof(four));
    memcpy(&six, name, sizeof(six));
    if (a.family == AF_INET)
        return memcmp(a.bytes, &four.sin_addr, sizeof(four.sin_addr)) == 0 && port == ntohs(four.sin_port);
    return memcmp(a.bytes, &six.sin6_addr, sizeof(six.sin6_addr)) == 0 && port == ntohs(six.sin6_port);
}

static bool is_at(const char *address, const struct sockaddr_storage *name)
{
    struct sockaddr_un unix_name;

    if (strncmp(address, "unix:", 5) != 0)
        return is_tcp(address, name);
    memcpy(&unix_name, name, sizeof(unix_name));
    return name->ss_family == AF_UNIX && strncmp(unix_name.sun_path, address + 5, sizeof(unix_name.sun_path)) == 0;
}

int activation_take(struct activation *a, const char *address)
{
    for (size_t i = 0; i < a->n; i++) {
        struct passed *p = &a->sockets[i];
        int fd = p->fd;
        if (!fd || !is_at(address, &p->name))
            continue;
        p->fd = 0;
        return fd;
    }
    return 0;
}

static const char *name_text(const struct sockaddr_storage *name, char text[TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    struct sockaddr_un unix_name;
    struct sockaddr_in four;
    struct sockaddr_in6 six;

    memcpy(&unix_name, name, sizeof(unix_name));
    memcpy(&four, name, sizeof(four));
    memcpy(&six, name, sizeof(six));
    if (name->ss_family == AF_INET)
        (void)snprintf(text, TEXT_MAX, "%s:%u", inet_ntop(AF_INET, &four.sin_addr, host, sizeof(host)),
                       ntohs(four.sin_port));
    else if (name->ss_family == AF_INET6)
        (void)snprintf(text, TEXT_MAX, "[%s]:%u", inet_ntop(AF_INET6, &six.sin6_addr, host, sizeof(host)),
                       ntohs(six.sin6_port));
    else
        (void)snprintf(text, TEXT_MAX, "unix:%.*s", (int)sizeof(unix_name.sun_path), unix_name.sun_path);
    return text;
}

int activation_all_taken(const struct activation *a, struct err *e)
{
    char text[TEXT_MAX];

    for (size_t i = 0; i < a->n; i++)
        if (a->sockets[i].fd)
            return err_set(
                e, -EINVAL, name_text(&a->sockets[i].name, text), NULL,
                "is passed in by the supervisor, but neither xds nor api serves that address: who connects "
                "there would wait for ever");
    return 0;
}
