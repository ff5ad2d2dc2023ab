/* Start and stop: the shell, the table and the tokens put together. */
#include "api/api.h"

#include "api/dispatch.h"
#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <string.h>

enum { GROUP_BUFFER = 64 << 10 };

struct api {
    struct dispatcher dispatcher;
    struct http *http;
    char *token_file, *version;
    pthread_mutex_t lock; /* of tokens: who reads takes a reference */
    struct tokens *tokens;
};

static struct tokens *take_tokens(struct api *a)
{
    pthread_mutex_lock(&a->lock);
    struct tokens *t = tokens_ref(a->tokens);
    pthread_mutex_unlock(&a->lock);
    return t;
}

static void on_request(void *arg, const struct http_request *r, struct http_answer *answer)
{
    struct api *a = arg;
    struct tokens *tokens = take_tokens(a);

    dispatch(&a->dispatcher, tokens, r, answer);
    tokens_unref(tokens);
}

static bool on_takes_body(void *arg, const char *method, const char *target)
{
    struct api *a = arg;

    return dispatch_takes_body(&a->dispatcher, method, target);
}

static int find_group(const char *name, gid_t *ret, struct err *e)
{
    struct group group, *found = NULL;
    _cleanup_(mem_free_p) char *buffer = mem_alloc(GROUP_BUFFER);

    if (!name)
        return 0;
    int r = getgrnam_r(name, &group, buffer, GROUP_BUFFER, &found);
    if (!found)
        return err_set(e, r ? -r : -ENOENT, "api-group", NULL, "there is no group \"%s\"", name);
    *ret = group.gr_gid;
    return 0;
}

int api_reload(struct api *a, struct err *e)
{
    struct tokens *next = NULL;
    int r = a->token_file ? tokens_read(a->token_file, &next, e) : 0;

    if (r)
        return r;
    pthread_mutex_lock(&a->lock);
    struct tokens *before = a->tokens;
    a->tokens = next;
    pthread_mutex_unlock(&a->lock);
    tokens_unref(before);
    return 0;
}

int api_start(const struct api_options *options, struct api **ret_api, struct err *e)
{
    struct api *a = mem_new(struct api);

    pthread_mutex_init(&a->lock, NULL);
    a->token_file = mem_strdup(options->token_file);
    a->version = mem_strdup(options->version);
    a->dispatcher = (struct dispatcher){.routes = api_routes,
                                        .n_routes = api_n_routes,
                                        .backend = options->backend,
                                        .version = a->version,
                                        .group = (gid_t)-1};
    int r = find_group(options->group, &a->dispatcher.group, e);
    if (!r)
        r = api_reload(a, e);
    const struct http_options http = {.addresses = options->addresses,
                                      .n_addresses = options->n_addresses,
                                      .socket_group = a->dispatcher.group,
                                      .handle = on_request,
                                      .takes_body = on_takes_body,
                                      .arg = a};
    if (!r)
        r = http_new(&http, &a->http, e);
    if (!r) {
        a->dispatcher.http = a->http;
        r = http_start(a->http, e);
    }
    if (r) {
        api_stop(a);
        return r;
    }
    for (size_t i = 0; i < options->n_addresses; i++)
        log_event(LOG_LEVEL_INFO, "serving the REST interface", "address", options->addresses[i], NULL);
    *ret_api = a;
    return 0;
}

void api_stop(struct api *a)
{
    if (!a)
        return;
    http_stop(a->http);
    tokens_unref(a->tokens);
    pthread_mutex_destroy(&a->lock);
    mem_free(a->token_file);
    mem_free(a->version);
    mem_free(a);
}
