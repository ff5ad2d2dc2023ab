/* GET /readyz, and the words of its answer. */
#include "server/ready.h"

#include "base/json.h"
#include "server/ask.h"

#include <errno.h>
#include <string.h>

enum { READY_SECONDS = 5, OK = 200 };

static int find_address(const struct config *c, struct socket_address *ret, struct err *e)
{
    const struct config_address *found = NULL;

    if (c->n_api == 0)
        return socket_address_parse(READY_API_DEFAULT, ret, e);
    for (size_t i = 0; i < c->n_api; i++) {
        const struct socket_address *at = &c->api[i].at;
        bool is_unix = at->path[0] != '\0', is_plain = !c->api_tls_certificate_file && socket_address_is_local(at);

        if (is_unix || (is_plain && !found))
            found = &c->api[i];
        if (is_unix)
            break;
    }
    if (!found)
        return err_set(e, -EINVAL, "--api", NULL,
                       "a unix socket, or an address on loopback without TLS, is expected");
    *ret = found->at;
    return 0;
}

static int read_answer(struct buf *answer, struct err *e)
{
    const char *content, *detail;
    unsigned status = ask_status(answer, &content);
    json_t *json = NULL;
    int r = 0;

    if (!status)
        return err_set(e, -EPROTO, NULL, NULL, "the daemon's answer is not understood");
    if (status == OK)
        return 0;
    (void)json_parse(content, strlen(content), &json, NULL); /* without words there is the status */
    detail = json_string_value(json_object_get(json, "detail"));
    r = err_set(e, -EAGAIN, NULL, NULL, "not ready: %s (status %u)", detail ? detail : "it does not say why", status);
    json_decref(json);
    return r;
}

int ready_ask(const struct config *c, struct err *e)
{
    struct socket_address at;
    struct buf request, answer;
    int r = find_address(c, &at, e);

    if (r)
        return r;
    buf_init(&request, 0);
    (void)buf_append_str(&request, "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"); /* far below its limit */
    r = ask_daemon(&at, &request, READY_SECONDS, &answer, e);
    if (!r)
        r = read_answer(&answer, e);
    buf_clear(&request);
    buf_clear(&answer);
    return r;
}
