/* The client: blocking; a test that hangs is ended by the frame. */
#include "tests/unit/http_client.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void http_client_open(struct http_client *c, const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    buf_init(&c->got, 0);
    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(c->fd >= 0);
    CHECK_INT(connect(c->fd, (const struct sockaddr *)&name, sizeof(name)), 0);
}

void http_client_close(struct http_client *c)
{
    close(c->fd);
    buf_clear(&c->got);
}

void http_client_send(struct http_client *c, const char *text)
{
    size_t n = strlen(text);

    CHECK_INT(send(c->fd, text, n, MSG_NOSIGNAL), n);
}

static bool read_more(struct http_client *c)
{
    char part[65536];
    ssize_t n = recv(c->fd, part, sizeof(part), 0);

    if (n <= 0)
        return false;
    CHECK_INT(buf_append(&c->got, part, (size_t)n), 0);
    return true;
}

void http_client_await(struct http_client *c, const char *text)
{
    const char *at;

    while (!(at = strstr(buf_cstr(&c->got), text)))
        if (!read_more(c))
            test_fail(__FILE__, __LINE__, "the connection ended before \"%s\" came: %s", text, buf_cstr(&c->got));
    buf_consume(&c->got, (size_t)(at - (const char *)c->got.data) + strlen(text));
}

unsigned http_client_answer(struct http_client *c, char **ret_body)
{
    const char *end, *length;

    while (!(end = strstr(buf_cstr(&c->got), "\r\n\r\n")))
        if (!read_more(c))
            test_fail(__FILE__, __LINE__, "the connection ended: %s", buf_cstr(&c->got));
    unsigned status = (unsigned)strtoul(buf_cstr(&c->got) + strlen("HTTP/1.1 "), NULL, 10);
    length = strstr(buf_cstr(&c->got), "Content-Length: ");
    size_t n = length && length < end ? strtoul(length + strlen("Content-Length: "), NULL, 10) : 0;
    buf_consume(&c->got, (size_t)(end - (const char *)c->got.data) + 4);
    while (c->got.len < n)
        CHECK(read_more(c));
    if (ret_body)
        *ret_body = mem_strndup(buf_cstr(&c->got), n);
    buf_consume(&c->got, n);
    return status;
}

unsigned http_client_get(struct http_client *c, const char *target, char **ret_body)
{
    _cleanup_(mem_free_p) char *text = mem_printf("GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);

    http_client_send(c, text);
    return http_client_answer(c, ret_body);
}

size_t http_client_drain(struct http_client *c)
{
    size_t n = c->got.len;

    for (buf_reset(&c->got); read_more(c); buf_reset(&c->got))
        n += c->got.len;
    return n;
}
