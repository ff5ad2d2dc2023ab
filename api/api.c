/* Start and stop: the shell, the table and the tokens put together. */
#include "api/api.h"

#include "api/cache.h"
#include "api/dispatch.h"
#include "api/pages.h"
#include "api/sessions.h"
#include "api/throttle.h"
#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { GROUP_BUFFER = 64 << 10 };

struct api {
    struct dispatcher dispatcher;
    struct http *http;
    char *token_file, *version;
    char *tls_certificate, *tls_key, *tls_client_ca;
    struct hosts *hosts;
    struct routes *routes;
    pthread_mutex_t lock; /* of tokens: who reads takes a reference */
    struct tokens *tokens;
};

static struct tokens *take_tokens(void *arg)
{
    struct api *a = arg;

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

static struct http_manner on_first_line(void *arg, const char *method, const char *target)
{
    struct api *a = arg;

    return dispatch_manner(&a->dispatcher, method, target);
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

int api_reload_tokens(struct api *a, struct err *e)
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

static int read_tls(const struct api *a, struct tls **ret, struct err *e)
{
    const struct tls_files files = {a->tls_certificate, a->tls_key, a->tls_client_ca};

    return a->tls_certificate ? tls_read(&files, ret, e) : 0;
}

int api_reload_tls(struct api *a, struct err *e)
{
    _cleanup_(tls_unref_p) struct tls *tls = NULL;
    int r = read_tls(a, &tls, e);

    if (!r && tls)
        http_set_tls(a->http, tls);
    return r;
}

/* The addresses listened at, the machine's name, and those given. */
static struct hosts *make_hosts(const struct api_options *o)
{
    const char *names[API_ADDRESSES_MAX + HOSTS_MAX + 1];
    char machine[HOST_NAME_MAX_LENGTH + 1] = "";
    size_t n = 0;

    for (size_t i = 0; i < o->n_addresses; i++)
        if (strncmp(o->addresses[i], "unix:", 5) != 0)
            names[n++] = o->addresses[i];
    for (size_t i = 0; i < o->n_hosts; i++)
        names[n++] = o->hosts[i];
    if (gethostname(machine, sizeof(machine) - 1) == 0 && machine[0])
        names[n++] = machine;
    return hosts_new(names, n);
}

static int start_http(struct api *a, const struct api_options *options, struct err *e)
{
    _cleanup_(tls_unref_p) struct tls *tls = NULL;
    int r = read_tls(a, &tls, e);

    if (r)
        return r;
    a->hosts = make_hosts(options);
    const struct http_options http = {.addresses = options->addresses,
                                      .n_addresses = options->n_addresses,
                                      .sockets = options->sockets,
                                      .socket_group = a->dispatcher.group,
                                      .handle = on_request,
                                      .manner = on_first_line,
                                      .tls = tls,
                                      .hosts = a->hosts,
                                      .arg = a};
    r = http_new(&http, &a->http, e);
    if (r)
        return r;
    a->dispatcher.http = a->http;
    a->dispatcher.cache = cache_new();
    a->dispatcher.sessions = sessions_new(NULL);
    a->dispatcher.throttle = throttle_new(NULL);
    return http_start(a->http, e);
}

int api_start(const struct api_options *options, struct api **ret_api, struct err *e)
{
    struct api *a = mem_new(struct api);

    pthread_mutex_init(&a->lock, NULL);
    a->routes = routes_new(api_routes, api_n_routes);
    a->token_file = mem_strdup(options->token_file);
    a->version = mem_strdup(options->version);
    a->tls_certificate = mem_strdup(options->tls_certificate);
    a->tls_key = mem_strdup(options->tls_key);
    a->tls_client_ca = mem_strdup(options->tls_client_ca);
    a->dispatcher = (struct dispatcher){.routes = a->routes,
                                        .pages = web_pages,
                                        .n_pages = web_n_pages,
                                        .backend = options->backend,
                                        .version = a->version,
                                        .group = (gid_t)-1,
                                        .tokens = take_tokens,
                                        .tokens_arg = a};
    int r = find_group(options->group, &a->dispatcher.group, e);
    if (options->n_addresses > API_ADDRESSES_MAX || options->n_hosts > HOSTS_MAX)
        r = err_set(e, -E2BIG, "api", NULL, "more than %d addresses or %d names", API_ADDRESSES_MAX, HOSTS_MAX);
    if (!r)
        r = api_reload_tokens(a, e);
    if (!r)
        r = start_http(a, options, e);
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
    cache_free(a->dispatcher.cache);
    sessions_free(a->dispatcher.sessions);
    throttle_free(a->dispatcher.throttle);
    tokens_unref(a->tokens);
    pthread_mutex_destroy(&a->lock);
    hosts_free(a->hosts);
    routes_free(a->routes);
    mem_free(a->token_file);
    mem_free(a->tls_certificate);
    mem_free(a->tls_key);
    mem_free(a->tls_client_ca);
    mem_free(a->version);
    mem_free(a);
}
