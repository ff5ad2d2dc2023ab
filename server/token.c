/* A POST, and the secret out of its answer. */
#include "server/token.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/wellknown.h"
#include "server/ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TIMEOUT_S = 30, TIME_TEXT = 32 };

static const struct socket_address *find_socket(const struct config *c)
{
    for (size_t i = 0; i < c->n_api; i++)
        if (c->api[i].at.path[0])
            return &c->api[i].at;
    return NULL;
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
static int read_answer(struct buf *answer, char **ret_token, struct err *e)
{
    const char *content;
    unsigned status = ask_status(answer, &content);
    json_t *json = NULL;
    if (!status || json_parse(content, strlen(content), &json, NULL))
        return err_set(e, -EPROTO, NULL, NULL, "the daemon's answer is not understood");
    const char *token = json_string_value(json_object_get(json, "token"));
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const char *fault =
        json_string_value(json_object_get(json_array_get(json_object_get(json, "errors"), 0), "detail"));
    int r = 0;
    if (token)
        *ret_token = mem_printf("%s\n", token);
    else
        r = err_set(e, -EPERM, NULL, NULL, "%s%s%s (status %u)", detail ? detail : "no token was made",
                    fault ? ": " : "", fault ? fault : "", status);
    json_decref(json);
    return r;
}

int token_create(const struct config *c, const char *name, const char *role, char **ret_token, struct err *e)
{
    const struct socket_address *at = find_socket(c);
    if (!at)
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
    (void)buf_printf(&request,
                     "POST /api/v1/tokens HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     strlen(content), content); /* far below the buffer's limit */
    r = ask_daemon(at, &request, TIMEOUT_S, &answer, e);
    if (!r)
        r = read_answer(&answer, ret_token, e);
    if (answer.data)
        mem_wipe(answer.data, answer.len);
    buf_clear(&request);
    buf_clear(&answer);
    return r;
}
