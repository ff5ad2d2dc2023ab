/*
 * Ports that were allocated are told to the agent: the keyword is set on the service, of a scaler on it and on each
 * of its slaves, one after the other, one port at a time. Only then the store hears that it is done; what failed the
 * store brings again after a while.
 */
#include "server/agent_core.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 1 << 20 };

struct write_back {
    struct port_write_back port;
    char *node;
    char **paths; /* ended by NULL */
    size_t at;
    struct request *request;
};

static void write_back_free(struct write_back *w)
{
    if (!w)
        return;
    request_cancel(w->request);
    port_write_back_clear(&w->port);
    for (size_t i = 0; w->paths && w->paths[i]; i++)
        mem_free(w->paths[i]);
    mem_free(w->paths);
    mem_free(w->node);
    mem_free(w);
}

static void ended(struct agent *a, const struct err *e)
{
    struct write_back *w = take_ptr(a->write_back);
    char port[16], why[ERR_OBJECT_MAX + ERR_FIELD_MAX + ERR_TEXT_MAX];
    bool news;

    snprintf(port, sizeof(port), "%u", w->port.port);
    if (e)
        err_format(e, why, sizeof(why));
    news = store_write_back_done(a->store, w->port.path, w->port.rid, e ? why : NULL);
    if (e)
        log_err(news ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, e, "port not written back", "service", w->port.path,
                "exposure", w->port.rid, "port", port, NULL);
    else
        log_event(LOG_LEVEL_INFO, "port written back", "service", w->port.path, "exposure", w->port.rid, "port", port,
                  NULL);
    write_back_free(w);
    write_back_check(a);
}

/* The request was taken by the listener; what the node made of it stands within. */
static int judge(const struct write_back *w, const json_t *answer, struct err *e)
{
    json_t *nodes = json_object_get(answer, "nodes");
    const json_t *node = json_object_get(nodes, w->node), *data = json_object_get(node, "data");
    char words[256];

    if (node && answer_status(node) != 0)
        return err_set(e, -EPROTO, w->paths[w->at], NULL, "%s", answer_words(node, words, sizeof(words)));
    /* Whatever node it names, its words are better than none. */
    if (answer_status(answer) != 0 && !json_object_get(answer, "error"))
        answer = json_object_iter_value(json_object_iter(nodes));
    if (answer_status(answer) != 0)
        return err_set(e, -EPROTO, w->paths[w->at], NULL, "%s", answer_words(answer, words, sizeof(words)));
    if (!json_is_object(node))
        return err_set(e, -EPROTO, w->paths[w->at], NULL, "the answer does not tell what node %s did", w->node);
    if (json_integer_value(json_object_get(data, "ret")) != 0)
        return err_set(e, -EPROTO, w->paths[w->at], NULL, "the command failed with %d",
                       (int)json_integer_value(json_object_get(data, "ret")));
    return 0;
}

static void set_next(struct agent *a);

static void on_set(void *arg, const json_t *answer, const struct err *e)
{
    struct agent *a = arg;
    struct write_back *w = a->write_back;
    struct err own = *e;

    w->request = NULL;
    if (answer && judge(w, answer, &own) == 0) {
        w->at++;
        set_next(a);
        return;
    }
    err_set_object(&own, w->paths[w->at]);
    ended(a, &own);
}

static void set_next(struct agent *a)
{
    struct write_back *w = a->write_back;
    const struct request_options options = {.sockets = (const char *const *)a->sockets,
                                            .timeout = AGENT_REQUEST_TIMEOUT_S * CLOCK_NS_PER_S,
                                            .max_answer = ANSWER_MAX,
                                            .done = on_set,
                                            .arg = a};
    const char *path = w->paths[w->at];
    struct buf b = {0};
    struct err e = {0};

    if (!path) {
        ended(a, NULL);
        return;
    }
    buf_append_str(&b, "{\"action\":\"object_action\",\"method\":\"POST\",\"node\":");
    buf_json_string(&b, w->node, strlen(w->node));
    buf_append_str(&b, ",\"options\":{\"path\":");
    buf_json_string(&b, path, strlen(path));
    buf_append_str(&b, ",\"action\":\"set\",\"options\":{\"kw\":[\"");
    buf_printf(&b, "%s.listener_port=%u\"]},\"sync\":true}}", w->port.rid, w->port.port);
    if (request_start(a->loop, &options, buf_cstr(&b), &w->request, &e) < 0)
        ended(a, &e);
    buf_clear(&b);
}

/* False: nobody has the service; the store hears it. */
static bool prepare(struct agent *a, struct write_back *w)
{
    const char *node, *const *paths = mirror_write_back_paths(a->mirror, w->port.path, &node);
    size_t n = 0;

    if (!node)
        return false;
    while (paths[n])
        n++;
    w->node = mem_strdup(node);
    w->paths = mem_array(char *, n + 1);
    for (size_t i = 0; i < n; i++)
        w->paths[i] = mem_strdup(paths[i]);
    return true;
}

void write_back_check(struct agent *a)
{
    struct port_write_back port;

    while (a->phase == PHASE_FOLLOW && !a->write_back && store_next_write_back(a->store, &port)) {
        struct write_back *w = mem_new(struct write_back);

        w->port = port;
        if (!prepare(a, w)) {
            (void)store_write_back_done(a->store, port.path, port.rid, "no node has the service"); /* an alarm is */
            write_back_free(w);
            continue;
        }
        a->write_back = w;
        set_next(a);
    }
}

void write_back_stop(struct agent *a)
{
    write_back_free(take_ptr(a->write_back));
}
