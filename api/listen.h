/*
 * Sockets that listen for the REST interface: TCP, and unix sockets whose file says who may connect.
 */
#ifndef API_LISTEN_H
#define API_LISTEN_H

#include "base/err.h"
#include "store/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { LISTEN_PATH_MAX = 107 /* sun_path, with its NUL */ };

struct listen_address {
    char path[LISTEN_PATH_MAX + 1]; /* "": TCP */
    struct address host;
    uint16_t port;
};

/* "unix:/PATH", "127.0.0.1:PORT", "[::1]:PORT"; -EINVAL for what is none of them. */
int listen_address_parse(const char *text, struct listen_address *ret, struct err *e);
/* Whether nobody from another machine can connect there. */
bool listen_address_is_local(const struct listen_address *a);

/*
 * A listening socket, non-blocking and closed on exec. A unix socket gets mode 0660 and the group ((gid_t)-1: as it
 * is) before anybody can connect; its directory is made with 0750 where it is missing. A socket file that nobody
 * listens behind any more is replaced; -EADDRINUSE when somebody does, -EEXIST when the file is no socket.
 */
int listen_open(const struct listen_address *a, gid_t group, int *ret_fd, struct err *e);
/* Closes it (unless it is -1: it was closed already) and removes its file. */
void listen_close(const struct listen_address *a, int fd);

#endif
