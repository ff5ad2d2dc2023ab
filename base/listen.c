/*
 * Listening sockets. A unix socket is bound, given its mode and group, and only then listens: until that call nobody
 * can connect, so there is no moment at which it stands open to more than it should.
 */
#include "base/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 511, SOCKET_MODE = 0660, DIRECTORY_MODE = 0750 };

static int fail(struct err *e, int number, const char *what, const char *name)
{
    return err_set(e, -number, name, NULL, "%s: %s", what, strerrordesc_np(number));
}

/* Removes what a daemon that was killed left behind. */
static int remove_stale(const struct socket_address *a, struct err *e)
{
    struct sockaddr_storage name;
    struct stat st;

    if (lstat(a->path, &st))
        return errno == ENOENT ? 0 : fail(e, errno, "can't be looked at", a->path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, -EEXIST, a->path, NULL, "is there and is no socket");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(e, errno, "can't make a socket", a->path);
    socklen_t n = socket_address_write(a, &name);
    int r = connect(fd, (const struct sockaddr *)&name, n) ? errno : 0;
    close(fd);
    if (r == 0 || r == EAGAIN) /* EAGAIN: its queue is full */
        return err_set(e, -EADDRINUSE, a->path, NULL, "somebody listens there already");
    if (r != ECONNREFUSED)
        return fail(e, r, "it can't be told whether somebody listens there", a->path);
    return unlink(a->path) ? fail(e, errno, "can't be removed", a->path) : 0;
}

static int make_directory(const char *path, gid_t group, struct err *e)
{
    char directory[SOCKET_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    size_t n = (size_t)(slash - path);

    if (n == 0)
        return 0;
    memcpy(directory, path, n);
    directory[n] = '\0';
    if (mkdir(directory, DIRECTORY_MODE))
        return errno == EEXIST ? 0 : fail(e, errno, "can't be made", directory);
    if (group != (gid_t)-1 && chown(directory, (uid_t)-1, group))
        return fail(e, errno, "can't be given to the group", directory);
    return 0;
}

static int open_unix(const struct socket_address *a, gid_t group, int fd, struct err *e)
{
    struct sockaddr_storage name;
    int r = make_directory(a->path, group, e);

    if (!r)
        r = remove_stale(a, e);
    if (r)
        return r;
    socklen_t n = socket_address_write(a, &name);
    if (bind(fd, (const struct sockaddr *)&name, n))
        return fail(e, errno, "can't bind", a->path);
    if (group != (gid_t)-1 && chown(a->path, (uid_t)-1, group))
        r = fail(e, errno, "can't be given to the group", a->path);
    else if (chmod(a->path, SOCKET_MODE))
        r = fail(e, errno, "can't set the mode", a->path);
    else if (listen(fd, BACKLOG))
        r = fail(e, errno, "can't listen", a->path);
    if (r)
        (void)unlink(a->path); /* the first error is the one to tell */
    return r;
}

static int open_tcp(const struct socket_address *a, int fd, struct err *e)
{
    struct sockaddr_storage name;
    socklen_t n = socket_address_write(a, &name);
    char text[SOCKET_TEXT_MAX];
    int yes = 1;

    socket_address_text(a, text);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
        (a->host.family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes))) ||
        bind(fd, (const struct sockaddr *)&name, n))
        return fail(e, errno, "can't bind", text);
    return listen(fd, BACKLOG) ? fail(e, errno, "can't listen", text) : 0;
}

int listen_open(const struct socket_address *a, gid_t group, int *ret_fd, struct err *e)
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

void listen_close(const struct socket_address *a, int fd)
{
    if (a->path[0])
        (void)unlink(a->path); /* what is left is recognised as stale at the next start */
    if (fd >= 0)
        close(fd);
}
