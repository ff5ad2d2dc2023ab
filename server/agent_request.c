/*
 * Requests to the agent. The answer is gathered up to its NUL (or the end, for an agent that leaves it out), decoded,
 * handed on, and wiped: it may hold a private key.
 */
#include "server/agent_request.h"

#include "server/agent_connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    struct connection *connection;
    struct buf answer;
    request_done done;
    void *arg;
};

static void wipe_buf(struct buf *b)
{
    if (b->data)
        mem_wipe(b->data, b->cap);
    buf_clear(b);
}

/* The texts that jansson holds are ours alone: nobody else has a reference. */
static void wipe_json(json_t *json)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_string(json)) {
        mem_wipe((char *)(uintptr_t)json_string_value(json), json_string_length(json));
    } else if (json_is_array(json)) {
        json_array_foreach(json, i, value) wipe_json(value);
    } else if (json_is_object(json)) {
        json_object_foreach(json, key, value) wipe_json(value);
    }
}

static void finish(struct request *r, const struct err *why)
{
    request_done done = r->done;
    void *arg = r->arg;
    json_t *json = NULL;
    struct err e = {0};

    if (why)
        e = *why;
    else if (json_parse((char *)r->answer.data, r->answer.len, &json, &e) == 0 && !json_is_object(json))
        err_set(&e, -EBADMSG, NULL, NULL, "the agent's answer is no object");
    request_cancel(r);
    done(arg, json_is_object(json) ? json : NULL, &e);
    if (json)
        wipe_json(json);
    json_decref(json);
}

static int on_bytes(void *arg, const char *p, size_t n)
{
    struct request *r = arg;
    const char *end = memchr(p, '\0', n);
    struct err e = {0};

    if (buf_append(&r->answer, p, end ? (size_t)(end - p) : n) < 0) {
        err_set(&e, -EMSGSIZE, NULL, NULL, "the agent's answer is longer than %zu bytes", r->answer.max);
        finish(r, &e);
        return -EMSGSIZE;
    }
    if (!end)
        return 0;
    finish(r, NULL);
    return 1;
}

static void on_ended(void *arg, const struct err *e)
{
    struct request *r = arg;
    struct err own = *e;

    if (e->code == 0 && r->answer.len > 0) {
        finish(r, NULL);
        return;
    }
    if (e->code == 0)
        err_set(&own, -ECONNRESET, NULL, NULL, "the agent closed without an answer");
    finish(r, &own);
}

int request_start(struct loop *loop, const struct request_options *options, const char *text,
                  struct request **ret_request, struct err *e)
{
    struct request *q = mem_new(struct request);
    const struct connection_handler handler = {.bytes = on_bytes, .ended = on_ended, .arg = q, .secret = true};
    int r;

    q->done = options->done;
    q->arg = options->arg;
    buf_init(&q->answer, options->max_answer);
    r = connection_open(loop, options->sockets, text, options->timeout, &handler, &q->connection, NULL, e);
    if (r < 0) {
        mem_free(q);
        return r;
    }
    *ret_request = q;
    return 0;
}

void request_cancel(struct request *r)
{
    if (!r)
        return;
    connection_close(r->connection);
    wipe_buf(&r->answer);
    mem_free(r);
}

int answer_status(const json_t *answer)
{
    const json_t *status = json_object_get(answer, "status");
    char *end;
    long number;

    if (json_is_integer(status) && json_integer_value(status) == (int)json_integer_value(status))
        return (int)json_integer_value(status);
    if (json_is_string(status)) {
        number = strtol(json_string_value(status), &end, 10);
        return *end == '\0' && end != json_string_value(status) ? (int)number : 1;
    }
    return status || json_object_get(answer, "error") ? 1 : 0;
}

const char *answer_words(const json_t *answer, char *buf, size_t n)
{
    const char *words = json_string_value(json_object_get(answer, "error"));

    snprintf(buf, n, "%s", words ? words : "the agent gives no reason");
    buf[strcspn(buf, "\r\n")] = '\0';
    return buf;
}

void request_about(struct buf *b, const char *action, const char *method, const char *path, const char *key)
{
    buf_printf(b, "{\"action\":\"%s\"", action);
    if (method)
        buf_printf(b, ",\"method\":\"%s\"", method);
    buf_append_str(b, ",\"options\":{\"path\":");
    buf_json_string(b, path, strlen(path));
    if (key) {
        buf_append_str(b, ",\"key\":");
        buf_json_string(b, key, strlen(key));
    }
    buf_append_str(b, "}}");
}
