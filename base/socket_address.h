/*
 * Where a stream socket listens or comes from: an IP address with a port, or the path of a unix socket. Pure.
 */
#ifndef BASE_SOCKET_ADDRESS_H
#define BASE_SOCKET_ADDRESS_H

#include "base/address.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { SOCKET_PATH_MAX = 107 /* bytes of a unix socket's path: sun_path without its NUL */, SOCKET_TEXT_MAX = 128 };

struct socket_address {
    char path[SOCKET_PATH_MAX + 1]; /* "": TCP */
    struct address host;            /* of TCP */
    uint16_t port;                  /* likewise; 0: the kernel's choice */
};

/* "unix:/PATH", "127.0.0.1:PORT", "[::1]:PORT"; -EINVAL for what is none of them. */
int socket_address_parse(const char *text, struct socket_address *ret, struct err *e);
/* As it is parsed. */
const char *socket_address_text(const struct socket_address *a, char buf[SOCKET_TEXT_MAX]);
bool socket_address_equal(const struct socket_address *a, const struct socket_address *b);
/* Whether nobody from another machine can connect there: a unix socket, or loopback. */
bool socket_address_is_local(const struct socket_address *a);

/* As the kernel has it. -EAFNOSUPPORT: of another family. A unix socket without a name (a client's) has no path. */
int socket_address_read(const struct sockaddr_storage *name, struct socket_address *ret);
/* Gives its size. */
socklen_t socket_address_write(const struct socket_address *a, struct sockaddr_storage *ret);

/* Splits "HOST:PORT" or "[HOST]:PORT" in two; the port is within 0 and 65535. -EINVAL for any other text, and for a
 * host that is empty or does not fit. */
int host_port_split(const char *text, char *host, size_t n, bool *ret_bracketed, uint16_t *ret_port);

#endif
