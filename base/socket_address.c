/*
 * Addresses of stream sockets. Two are the same if the kernel takes them for the same, however they are written:
 * "[0::1]:1" is "[::1]:1".
 */
#include "base/socket_address.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { PORT_MAX = 65535, PORT_DIGITS = 5 };

int host_port_split(const char *text, char *host, size_t n, bool *ret_bracketed, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0, digits = colon ? strspn(colon + 1, "0123456789") : 0;
    bool bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';

    if (bracketed)
        text++, length -= 2;
    if (length == 0 || length >= n || digits == 0 || digits > PORT_DIGITS || colon[1 + digits])
        return -EINVAL;
    unsigned long port = strtoul(colon + 1, NULL, 10);
    if (port > PORT_MAX)
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    *ret_bracketed = bracketed;
    *ret_port = (uint16_t)port;
    return 0;
}

int socket_address_parse(const char *text, struct socket_address *ret, struct err *e)
{
    struct socket_address a = {0};
    char host[ADDRESS_TEXT_MAX];
    bool bracketed;

    if (strncmp(text, "unix:", 5) == 0) {
        if (text[5] != '/' || strlen(text + 5) > SOCKET_PATH_MAX)
            return err_set(e, -EINVAL, text, NULL, "unix: takes an absolute path of at most %d bytes",
                           SOCKET_PATH_MAX);
        memcpy(a.path, text + 5, strlen(text + 5) + 1);
    } else if (host_port_split(text, host, sizeof(host), &bracketed, &a.port) || address_parse(host, &a.host) ||
               (a.host.family == AF_INET6) != bracketed) {
        return err_set(e, -EINVAL, text, NULL, "ADDRESS:PORT, [IPV6]:PORT or unix:/PATH is expected");
    }
    *ret = a;
    return 0;
}

const char *socket_address_text(const struct socket_address *a, char buf[SOCKET_TEXT_MAX])
{
    char host[ADDRESS_TEXT_MAX];

    if (a->host.family == AF_INET)
        (void)snprintf(buf, SOCKET_TEXT_MAX, "%s:%u", address_text(&a->host, host), (unsigned)a->port);
    else if (a->host.family == AF_INET6)
        (void)snprintf(buf, SOCKET_TEXT_MAX, "[%s]:%u", address_text(&a->host, host), (unsigned)a->port);
    else
        (void)snprintf(buf, SOCKET_TEXT_MAX, "unix:%s", a->path);
    return buf;
}

bool socket_address_equal(const struct socket_address *a, const struct socket_address *b)
{
    return strcmp(a->path, b->path) == 0 && address_compare(&a->host, &b->host) == 0 && a->port == b->port;
}

bool socket_address_is_local(const struct socket_address *a)
{
    return a->host.family == 0 || address_is_loopback(&a->host);
}

int socket_address_read(const struct sockaddr_storage *name, struct socket_address *ret)
{
    struct socket_address a = {0};
    struct sockaddr_un path;
    struct sockaddr_in four;
    struct sockaddr_in6 six;

    memcpy(&path, name, sizeof(path));
    memcpy(&four, name, sizeof(four));
    memcpy(&six, name, sizeof(six));
    if (name->ss_family == AF_INET) {
        a.port = ntohs(four.sin_port);
        memcpy(a.host.bytes, &four.sin_addr, sizeof(four.sin_addr));
        a.host.family = AF_INET;
    } else if (name->ss_family == AF_INET6) {
        a.port = ntohs(six.sin6_port);
        memcpy(a.host.bytes, &six.sin6_addr, sizeof(six.sin6_addr));
        a.host.family = AF_INET6;
    } else if (name->ss_family == AF_UNIX) {
        (void)snprintf(a.path, sizeof(a.path), "%.*s", SOCKET_PATH_MAX, path.sun_path);
    } else {
        return -EAFNOSUPPORT;
    }
    *ret = a;
    return 0;
}

socklen_t socket_address_write(const struct socket_address *a, struct sockaddr_storage *ret)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
    struct sockaddr_un path = {.sun_family = AF_UNIX};

    *ret = (struct sockaddr_storage){0};
    if (a->host.family == AF_INET) {
        memcpy(&four.sin_addr, a->host.bytes, sizeof(four.sin_addr));
        memcpy(ret, &four, sizeof(four));
        return sizeof(four);
    }
    if (a->host.family == AF_INET6) {
        memcpy(&six.sin6_addr, a->host.bytes, sizeof(six.sin6_addr));
        memcpy(ret, &six, sizeof(six));
        return sizeof(six);
    }
    memcpy(path.sun_path, a->path, strlen(a->path) + 1);
    memcpy(ret, &path, sizeof(path));
    return sizeof(path);
}
