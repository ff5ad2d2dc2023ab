/*
 * Sockets that listen: TCP, and unix sockets whose file says who may connect.
 */
#ifndef BASE_LISTEN_H
#define BASE_LISTEN_H

#include "base/err.h"
#include "base/socket_address.h"

#include <sys/types.h>

/*
 * A listening socket, non-blocking and closed on exec. A unix socket gets mode 0660 and the group ((gid_t)-1: as it
 * is) before anybody can connect; its directory is made with 0750 where it is missing. A socket file that nobody
 * listens behind any more is replaced; -EADDRINUSE when somebody does, -EEXIST when the file is no socket.
 */
int listen_open(const struct socket_address *a, gid_t group, int *ret_fd, struct err *e);
/* Closes it (unless it is -1: it was closed already) and removes its file. */
void listen_close(const struct socket_address *a, int fd);

#endif
