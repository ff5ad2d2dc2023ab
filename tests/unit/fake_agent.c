/* An agent's socket for tests. See fake_agent.h. */
#include "tests/unit/fake_agent.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void close_connection(struct fake_connection *c)
{
    if (!c->agent)
        return;
    loop_io_free(c->io);
    close(c->fd);
    buf_clear(&c->in);
    buf_clear(&c->out);
    *c = (struct fake_connection){0};
}

static void write_more(struct fake_connection *c)
{
    while (c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            loop_io_set(c->io, LOOP_READ | LOOP_WRITE);
            return;
        }
        if (n < 0) {
            close_connection(c);
            return;
        }
        c->sent += (size_t)n;
    }
    buf_reset(&c->out);
    c->sent = 0;
    loop_io_set(c->io, LOOP_READ);
    if (c->close_after)
        close_connection(c);
}

static const char *option(const json_t *request, const char *name)
{
    const char *text = json_string_value(json_object_get(json_object_get(request, "options"), name));

    return text ? text : "";
}

static char *dump(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    return text;
}

static char *answer_keys(struct fake_agent *f, const char *path)
{
    json_t *secret = json_object_get(f->secrets, path), *list, *value;
    const char *key;

    if (!secret)
        return dump(json_pack("{s:i,s:s+}", "status", 1, "error", path, ": no such object"));
    list = json_array();
    json_object_foreach(secret, key, value) json_array_append_new(list, json_string(key));
    return dump(json_pack("{s:i,s:o}", "status", 0, "data", list));
}

static char *answer_key(struct fake_agent *f, const char *path, const char *key)
{
    const char *value = json_string_value(json_object_get(json_object_get(f->secrets, path), key));

    if (!value)
        return mem_printf("{\"status\":1,\"error\":\"secret %s key %s does not exist or has no value\"}", path, key);
    return dump(json_pack("{s:i,s:s}", "status", 0, "data", value));
}

static char *answer_set(struct fake_agent *f, const json_t *request)
{
    const char *node = json_string_value(json_object_get(request, "node"));
    const json_t *options = json_object_get(request, "options");
    const json_t *words = json_object_get(json_object_get(options, "options"), "kw");

    buf_printf(&f->log, " %s %s %s %s", node, option(request, "path"), option(request, "action"),
               json_string_value(json_array_get(words, 0)));
    return mem_printf(
        "{\"nodes\":{\"%s\":{\"status\":0,\"data\":{\"out\":\"\",\"err\":\"\",\"ret\":0}}},\"status\":0}", node);
}

static char *usual_answer(struct fake_agent *f, const char *action, const json_t *request)
{
    if (strcmp(action, "daemon_status") == 0)
        return mem_strdup(f->status);
    if (strcmp(action, "object_keys") == 0)
        return answer_keys(f, option(request, "path"));
    if (strcmp(action, "get_secret_key") == 0)
        return answer_key(f, option(request, "path"), option(request, "key"));
    if (strcmp(action, "object_action") == 0)
        return answer_set(f, request);
    return mem_strdup("{\"status\":501,\"error\":\"unknown action\"}");
}

static void count(struct fake_agent *f, const char *action, const json_t *request)
{
    buf_append_str(&f->log, action);
    if (strncmp(action, "object_keys", 11) == 0 || strcmp(action, "get_secret_key") == 0)
        buf_printf(&f->log, " %s %s", option(request, "path"), option(request, "key"));
    f->n_status += strcmp(action, "daemon_status") == 0;
    f->n_events += strcmp(action, "events") == 0;
    f->n_object_keys += strcmp(action, "object_keys") == 0;
    f->n_keys += strcmp(action, "get_secret_key") == 0;
    f->n_set += strcmp(action, "object_action") == 0;
}

static bool is_held(const struct fake_agent *f, const char *action)
{
    if (f->hang)
        return true;
    if (strcmp(action, "daemon_status") == 0)
        return f->hold_status;
    return f->hold_secrets && (strcmp(action, "object_keys") == 0 || strcmp(action, "get_secret_key") == 0);
}

static void answer(struct fake_connection *c)
{
    struct fake_agent *f = c->agent;
    json_t *request = json_loads((char *)c->in.data, 0, NULL);
    const char *action = json_string_value(json_object_get(request, "action"));
    bool is_status;
    char *text;

    CHECK(request && action);
    is_status = strcmp(action, "daemon_status") == 0;
    if (!c->held)
        count(f, action, request);
    c->subscriber = strcmp(action, "events") == 0;
    c->held = !c->subscriber && !c->held && is_held(f, action);
    if (!c->subscriber && !c->held) {
        text = f->answer ? f->answer(f->answer_arg, action, request) : NULL;
        if (!text)
            text = usual_answer(f, action, request);
        CHECK(text);
        buf_append(&c->out, text, strlen(text) + !f->no_end);
        if (is_status && f->cut_status)
            c->out.len = f->cut_status;
        mem_free(text);
        c->close_after = true;
    }
    buf_append_byte(&f->log, '\n');
    json_decref(request);
    if (c->close_after)
        write_more(c);
}

static void on_connection(void *arg, unsigned events)
{
    struct fake_connection *c = arg;
    char piece[4096];
    ssize_t n;

    if ((events & LOOP_WRITE) && c->out.len) {
        write_more(c);
        return;
    }
    n = recv(c->fd, piece, sizeof(piece), 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close_connection(c);
        return;
    }
    buf_append(&c->in, piece, (size_t)n);
    if (memchr(c->in.data, '\0', c->in.len) && !c->subscriber && !c->held)
        answer(c);
}

static void on_accept(void *arg, unsigned events)
{
    struct fake_agent *f = arg;
    struct fake_connection *c = f->connections;
    struct err e = {0};

    (void)events; /* only reading was asked for */
    while (c < f->connections + FAKE_CONNECTIONS && c->agent)
        c++;
    CHECK(c < f->connections + FAKE_CONNECTIONS);
    c->agent = f;
    c->fd = accept4(f->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(c->fd >= 0);
    CHECK_INT(loop_io_new(f->loop, c->fd, LOOP_READ, on_connection, c, &c->io, &e), 0);
}

void fake_agent_init(struct fake_agent *f, struct loop *loop)
{
    const char *base = getenv("TMPDIR");

    *f = (struct fake_agent){.loop = loop, .fd = -1, .secrets = json_object()};
    snprintf(f->directory, sizeof(f->directory), "%s/igwd-agent-XXXXXX", base ? base : P_tmpdir);
    CHECK(mkdtemp(f->directory) != NULL);
    snprintf(f->path, sizeof(f->path), "%s/lsnr.sock", f->directory);
}

void fake_agent_listen(struct fake_agent *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct err e = {0};

    CHECK(strlen(f->path) < sizeof(address.sun_path));
    memcpy(address.sun_path, f->path, strlen(f->path));
    f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(f->fd >= 0);
    CHECK_INT(bind(f->fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(listen(f->fd, FAKE_CONNECTIONS), 0);
    CHECK_INT(loop_io_new(f->loop, f->fd, LOOP_READ, on_accept, f, &f->io, &e), 0);
}

void fake_agent_stop(struct fake_agent *f)
{
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        close_connection(&f->connections[i]);
    if (f->fd < 0)
        return;
    loop_io_free(f->io);
    close(f->fd);
    f->fd = -1;
    unlink(f->path);
}

void fake_agent_clear(struct fake_agent *f)
{
    fake_agent_stop(f);
    rmdir(f->directory);
    mem_free(f->status);
    buf_clear(&f->log);
    json_decref(f->secrets);
}

void fake_agent_set_status(struct fake_agent *f, const char *status)
{
    mem_free(f->status);
    f->status = mem_strdup(status);
}

void fake_agent_set_secret(struct fake_agent *f, const char *path, ...)
{
    json_t *secret = json_object();
    const char *key;
    va_list ap;

    va_start(ap, path);
    while ((key = va_arg(ap, const char *)) != NULL)
        json_object_set_new(secret, key, json_string(va_arg(ap, const char *)));
    va_end(ap);
    json_object_set_new(f->secrets, path, secret);
}

void fake_agent_send(struct fake_agent *f, const char *p, size_t n)
{
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++) {
        struct fake_connection *c = &f->connections[i];

        if (!c->agent || !c->subscriber)
            continue;
        buf_append(&c->out, p, n);
        write_more(c);
    }
}

void fake_agent_event(struct fake_agent *f, const char *text)
{
    fake_agent_send(f, text, strlen(text) + 1);
}

void fake_agent_drop(struct fake_agent *f)
{
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        if (f->connections[i].subscriber)
            close_connection(&f->connections[i]);
}

void fake_agent_release(struct fake_agent *f)
{
    f->hold_secrets = f->hold_status = false;
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        if (f->connections[i].agent && f->connections[i].held)
            answer(&f->connections[i]);
}
