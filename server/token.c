/* One request over HTTP/1.0, which ends the connection with its answer: so that is all there is to read. */
#include "server/token.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/wellknown.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_MAX = 1 << 20, PIECE = 4096, TIMEOUT_S = 30, TIME_TEXT = 32 };

static const char *socket_path(const struct config *c)
{
    for (size_t i = 0; i < c->n_api; i++)
        if (c->api[i].at.path[0])
            return c->api[i].at.path;
    return NULL;
}

static int system_error(struct err *e, const char *path, const char *what)
{
    return err_set(e, -errno, path, NULL, "%s: %s", what, strerrordesc_np(errno));
}

static int connect_to(const char *path, int *ret_fd, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    if (strlen(path) >= sizeof(address.sun_path))
        return err_set(e, -ENAMETOOLONG, path, NULL, "the socket's path is too long");
    memcpy(address.sun_path, path, strlen(path) + 1);
    *ret_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*ret_fd < 0 || setsockopt(*ret_fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
        setsockopt(*ret_fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ||
        connect(*ret_fd, (const struct sockaddr *)&address, sizeof(address)))
        return system_error(e, path, "the daemon can't be reached");
    return 0;
}

static int exchange(int fd, const char *path, const struct buf *request, struct buf *answer, struct err *e)
{
    for (size_t at = 0; at < request->len;) {
        ssize_t n = send(fd, request->data + at, request->len - at, MSG_NOSIGNAL);
        if (n < 0)
            return system_error(e, path, "the daemon can't be asked");
        at += (size_t)n;
    }
    for (;;) {
        uint8_t *p = buf_reserve(answer, PIECE);
        if (!p)
            return err_set(e, -EMSGSIZE, path, NULL, "the daemon's answer is too large");
        ssize_t n = recv(fd, p, PIECE, 0);
        if (n < 0)
            return system_error(e, path, "the daemon does not answer");
        if (n == 0)
            return 0;
        answer->len += (size_t)n;
    }
}

/* A duration from now with its unit ("90d"), a day (its beginning, UTC), or a time as RFC 3339 has it. */
static int parse_expires(const char *text, char ret[static TIME_TEXT], struct err *e)
{
    char day[sizeof("2027-01-31T00:00:00Z")];
    struct wellknown_time at;
    int64_t ns;

    (void)snprintf(day, sizeof(day), "%.10sT00:00:00Z", text);
    bool is_day = strlen(text) == strlen("2027-01-31") && wellknown_parse_timestamp(day, strlen(day), &at) == 0;
    if (is_day || wellknown_parse_timestamp(text, strlen(text), &at) == 0)
        (void)clock_wall_text((double)at.seconds + at.nanos / 1e9, ret);
    else if (strpbrk(text, "smhdw") && duration_parse(text, &ns) == 0 && ns > 0)
        (void)clock_wall_text(clock_wall() + (double)ns / (double)CLOCK_NS_PER_S, ret);
    else
        return err_set(e, -EINVAL, "--expires", NULL,
                       "\"%s\": 90d, 12h, 6w, 2027-01-31 or 2027-01-31T12:00:00Z is expected", text);
    return 0;
}

/* {"name": ..., "role": ..., "gateways": [...], "expires_at": ...} */
static json_t *wanted(const char *name, const char *role, const char *expires_at)
{
    json_t *body = json_object();
    const char *gateways = strchr(role, '=');
    size_t n = gateways ? (size_t)(gateways - role) : strlen(role);
    json_object_set_new(body, "name", json_string(name));
    json_object_set_new(body, "role", json_stringn(role, n));
    if (expires_at)
        json_object_set_new(body, "expires_at", json_string(expires_at));
    if (!gateways)
        return body;
    json_t *list = json_array();
    json_object_set_new(body, "gateways", list);
    for (const char *at = gateways + 1; *at;) {
        size_t length = strcspn(at, ",");
        json_array_append_new(list, json_stringn(at, length));
        at += length + (at[length] == ',');
    }
    return body;
}

/* The answer's content, or what it says is wrong. */
static int read_answer(const char *text, char **ret_token, struct err *e)
{
    const char *content = strstr(text, "\r\n\r\n");
    const char *status = strchr(text, ' ');
    json_t *json = NULL;
    if (!content || !status || json_parse(content + 4, strlen(content + 4), &json, NULL))
        return err_set(e, -EPROTO, NULL, NULL, "the daemon's answer is not understood");
    const char *token = json_string_value(json_object_get(json, "token"));
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const char *fault =
        json_string_value(json_object_get(json_array_get(json_object_get(json, "errors"), 0), "detail"));
    int r = 0;
    if (token)
        *ret_token = mem_printf("%s\n", token);
    else
        r = err_set(e, -EPERM, NULL, NULL, "%s%s%s (status %.3s)", detail ? detail : "no token was made",
                    fault ? ": " : "", fault ? fault : "", status + 1);
    json_decref(json);
    return r;
}

int token_create(const struct config *c, const char *name, const char *role, char **ret_token, struct err *e)
{
    const char *path = socket_path(c);
    if (!path)
        return err_set(e, -EINVAL, "--api", NULL,
                       "a unix socket is expected: --api unix:/PATH, as the daemon has it");
    char expires_at[TIME_TEXT];
    int r = c->expires ? parse_expires(c->expires, expires_at, e) : 0;
    if (r)
        return r;
    json_t *body = wanted(name, role, c->expires ? expires_at : NULL);
    _cleanup_(mem_free_p) char *content = json_canonical(body);
    json_decref(body);
    struct buf request, answer;
    buf_init(&request, 0);
    buf_init(&answer, ANSWER_MAX);
    (void)buf_printf(&request,
                     "POST /api/v1/tokens HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     strlen(content), content); /* far below the buffer's limit */
    int fd = -1;
    r = connect_to(path, &fd, e);
    if (!r)
        r = exchange(fd, path, &request, &answer, e);
    if (!r)
        r = read_answer(buf_cstr(&answer), ret_token, e);
    if (fd >= 0)
        close(fd);
    if (answer.data)
        mem_wipe(answer.data, answer.len);
    buf_clear(&request);
    buf_clear(&answer);
    return r;
}
