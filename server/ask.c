/* HTTP/1.0 ends the connection with its answer: so that is all there is to read. */
#include "server/ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { PIECE = 4096, STATUS_MIN = 100, STATUS_MAX = 599 };

static int system_error(struct err *e, const char *name, const char *what)
{
    int r = errno == EAGAIN || errno == EINPROGRESS ? ETIMEDOUT : errno; /* socket(7), SO_SNDTIMEO */

    return err_set(e, -r, name, NULL, "%s: %s", what, strerrordesc_np(r));
}

static int connect_to(const struct socket_address *at, const char *name, unsigned seconds, int *ret_fd, struct err *e)
{
    struct sockaddr_storage address;
    const struct timeval timeout = {.tv_sec = seconds};
    socklen_t n = socket_address_write(at, &address);

    *ret_fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*ret_fd < 0 || setsockopt(*ret_fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
        setsockopt(*ret_fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ||
        connect(*ret_fd, (const struct sockaddr *)&address, n))
        return system_error(e, name, "the daemon can't be reached");
    return 0;
}

static int exchange(int fd, const char *name, const struct buf *request, struct buf *answer, struct err *e)
{
    for (size_t at = 0; at < request->len;) {
        ssize_t n = send(fd, request->data + at, request->len - at, MSG_NOSIGNAL);
        if (n < 0)
            return system_error(e, name, "the daemon can't be asked");
        at += (size_t)n;
    }
    for (;;) {
        uint8_t *p = buf_reserve(answer, PIECE);
        if (!p)
            return err_set(e, -EMSGSIZE, name, NULL, "the daemon's answer is too large");
        ssize_t n = recv(fd, p, PIECE, 0);
        if (n < 0)
            return system_error(e, name, "the daemon does not answer");
        if (n == 0)
            return 0;
        answer->len += (size_t)n;
    }
}

int ask_daemon(const struct socket_address *at, const struct buf *request, unsigned seconds, struct buf *ret_answer,
               struct err *e)
{
    char name[SOCKET_TEXT_MAX];
    int fd = -1;

    (void)socket_address_text(at, name);
    buf_init(ret_answer, ASK_ANSWER_MAX);
    int r = connect_to(at, name, seconds, &fd, e);
    if (!r)
        r = exchange(fd, name, request, ret_answer, e);
    if (fd >= 0)
        close(fd);
    return r;
}

unsigned ask_status(struct buf *answer, const char **ret_content)
{
    const char *text = buf_cstr(answer), *content = strstr(text, "\r\n\r\n");
    unsigned long status = 0;

    if (content && strncmp(text, "HTTP/1.", strlen("HTTP/1.")) == 0)
        status = strtoul(text + strcspn(text, " "), NULL, 10);
    if (status < STATUS_MIN || status > STATUS_MAX)
        return 0;
    *ret_content = content + strlen("\r\n\r\n");
    return (unsigned)status;
}
