/*
 * Listening sockets. A unix socket is bound, given its mode and group, and only then listens: until that call nobody
 * can connect, so there is no moment at which it stands open to more than it should.
 */
#include "api/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 511, PORT_MAX = 65535, HOST_MAX = 64, ERRNO_TEXT_MAX = 128 };

static int fail(struct err *e, int number, const char *what, const char *name)
{
    char text[ERRNO_TEXT_MAX];

    return err_set(e, -number, name, NULL, "%s: %s", what, strerror_r(number, text, sizeof(text)));
}

static int bad(struct err *e, const char *text)
{
    return err_set(e, -EINVAL, text, NULL, "ADDRESS:PORT, [IPV6]:PORT or unix:/PATH is expected");
}

bool listen_address_is_local(const struct listen_address *l)
{
    static const uint8_t loopback6[16] = {[15] = 1};

    const struct address *a = &l->host;
    if (l->path[0])
        return true;
    return a->family == AF_INET ? a->bytes[0] == 127 : memcmp(a->bytes, loopback6, sizeof(loopback6)) == 0;
}

static int parse_tcp(const char *text, struct listen_address *ret, struct err *e)
{
    const char *colon = strrchr(text, ':'), *start = text;
    char host[HOST_MAX], *end;
    size_t n = colon ? (size_t)(colon - text) : 0;
    bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';

    if (bracketed)
        start++, n -= 2;
    if (n == 0 || n >= sizeof(host))
        return bad(e, text);
    memcpy(host, start, n);
    host[n] = '\0';
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || port < 1 || port > PORT_MAX || address_parse(host, &ret->host) ||
        (ret->host.family == AF_INET6) != bracketed)
        return bad(e, text);
    ret->port = (uint16_t)port;
    return 0;
}

int listen_address_parse(const char *text, struct listen_address *ret, struct err *e)
{
    struct listen_address a = {0};

    if (strncmp(text, "unix:", 5) != 0) {
        int r = parse_tcp(text, &a, e);
        if (r)
            return r;
    } else if (text[5] != '/' || strlen(text + 5) > LISTEN_PATH_MAX) {
        return bad(e, text);
    } else {
        memcpy(a.path, text + 5, strlen(text + 5) + 1);
    }
    *ret = a;
    return 0;
}

static struct sockaddr_un unix_name(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    memcpy(name.sun_path, path, strlen(path) + 1);
    return name;
}

/* Removes what a daemon that was killed left behind. */
static int remove_stale(const char *path, struct err *e)
{
    struct stat st;
    struct sockaddr_un name = unix_name(path);

    if (lstat(path, &st))
        return errno == ENOENT ? 0 : fail(e, errno, "can't be looked at", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, -EEXIST, path, NULL, "is there and is no socket");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(e, errno, "can't make a socket", path);
    int r = connect(fd, (const struct sockaddr *)&name, sizeof(name)) ? errno : 0;
    close(fd);
    if (r != ECONNREFUSED)
        return err_set(e, -EADDRINUSE, path, NULL, "somebody listens there already");
    return unlink(path) ? fail(e, errno, "can't be removed", path) : 0;
}

static int make_directory(const char *path, gid_t group, struct err *e)
{
    char directory[LISTEN_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    size_t n = (size_t)(slash - path);

    if (n == 0)
        return 0;
    memcpy(directory, path, n);
    directory[n] = '\0';
    if (mkdir(directory, 0750))
        return errno == EEXIST ? 0 : fail(e, errno, "can't be made", directory);
    if (group != (gid_t)-1 && chown(directory, (uid_t)-1, group))
        return fail(e, errno, "can't be given to the group", directory);
    return 0;
}

static int open_unix(const struct listen_address *a, gid_t group, int fd, struct err *e)
{
    struct sockaddr_un name = unix_name(a->path);
    int r = make_directory(a->path, group, e);

    if (!r)
        r = remove_stale(a->path, e);
    if (r)
        return r;
    if (bind(fd, (const struct sockaddr *)&name, sizeof(name)))
        return fail(e, errno, "can't bind", a->path);
    if (group != (gid_t)-1 && chown(a->path, (uid_t)-1, group))
        r = fail(e, errno, "can't be given to the group", a->path);
    else if (chmod(a->path, 0660))
        r = fail(e, errno, "can't set the mode", a->path);
    else if (listen(fd, BACKLOG))
        r = fail(e, errno, "can't listen", a->path);
    if (r)
        (void)unlink(a->path); /* the first error is the one to tell */
    return r;
}

static int open_tcp(const struct listen_address *a, int fd, struct err *e)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
    bool is_six = a->host.family == AF_INET6;
    char host[46];
    int yes = 1;

    memcpy(&four.sin_addr, a->host.bytes, sizeof(four.sin_addr));
    memcpy(&six.sin6_addr, a->host.bytes, sizeof(six.sin6_addr));
    _cleanup_(mem_free_p) char *text =
        mem_printf(is_six ? "[%s]:%u" : "%s:%u", address_text(&a->host, host), (unsigned)a->port);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
        (is_six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes))) ||
        bind(fd, is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four,
             is_six ? sizeof(six) : sizeof(four)))
        return fail(e, errno, "can't bind", text);
    return listen(fd, BACKLOG) ? fail(e, errno, "can't listen", text) : 0;
}

int listen_open(const struct listen_address *a, gid_t group, int *ret_fd, struct err *e)
{
    int family = a->path[0] ? AF_UNIX : a->host.family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return fail(e, errno, "can't make a socket", a->path[0] ? a->path : "TCP");
    int r = a->path[0] ? open_unix(a, group, fd, e) : open_tcp(a, fd, e);
    if (r) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

void listen_close(const struct listen_address *a, int fd)
{
    if (a->path[0])
        (void)unlink(a->path); /* what is left is recognised as stale at the next start */
    if (fd >= 0)
        close(fd);
}
