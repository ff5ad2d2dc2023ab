/* The store's surroundings in tests. */
#include "tests/unit/store_world.h"

#include "base/buf.h"
#include "tests/unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { UNTIL_SECONDS = 120, RESOURCES = 32, ADDRESSES = 64 };

static void on_alarm(void *arg, const char *name, const char *text)
{
    struct world *w = arg;

    for (size_t i = 0; i < WORLD_ALARMS; i++) {
        if (w->alarms[i].name[0] && strcmp(w->alarms[i].name, name) != 0)
            continue;
        snprintf(w->alarms[i].name, sizeof(w->alarms[i].name), "%s", name);
        snprintf(w->alarms[i].text, sizeof(w->alarms[i].text), "%s", text ? text : "");
        w->alarms[i].raised += text != NULL;
        return;
    }
    test_fail(__FILE__, __LINE__, "too many alarms");
}

static void on_wake(void *arg)
{
    struct world *w = arg;

    pthread_mutex_lock(&w->lock);
    w->woken++;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void world_init(struct world *w)
{
    const char *base = getenv("TMPDIR");

    *w = (struct world){0};
    snprintf(w->directory, sizeof(w->directory), "%s/igwd-store-XXXXXX", base ? base : P_tmpdir);
    CHECK(mkdtemp(w->directory) != NULL);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->options = (struct store_options){
        .directory = w->directory,
        .default_gateway = "envoy",
        .port_min = 1025,
        .port_max = 65535,
        .observed_wait_ms = 2000, /* a machine that is busy is no disk that hangs */
        .alarm = on_alarm,
        .alarm_arg = w,
        .wake = on_wake,
        .wake_arg = w,
    };
}

const char *world_file(struct world *w, const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", w->directory, name);
    return path;
}

/* Calls f with the path of each file. */
static void each_file(struct world *w, void (*f)(const char *path, void *arg), void *arg)
{
    DIR *directory = opendir(w->directory);
    struct dirent *entry;

    CHECK(directory != NULL);
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            f(world_file(w, entry->d_name), arg);
    closedir(directory);
}

static void remove_file(const char *path, void *arg)
{
    (void)arg; /* nothing more is needed */
    unlink(path);
}

void world_clear(struct world *w)
{
    world_close(w);
    chmod(w->directory, 0700);
    each_file(w, remove_file, NULL);
    rmdir(w->directory);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
}

int world_try_open(struct world *w, struct err *e)
{
    return store_open(&w->options, &w->store, e);
}

void world_open(struct world *w)
{
    struct err e = {0};
    char text[512];

    if (world_try_open(w, &e) < 0)
        test_fail(__FILE__, __LINE__, "the store does not open: %s", err_format(&e, text, sizeof(text)));
}

void world_close(struct world *w)
{
    store_close(w->store);
    w->store = NULL;
}

void world_reopen(struct world *w)
{
    world_close(w);
    world_open(w);
}

void world_put_full(struct world *w, const char *path, const char *const *resources, const char *const *addresses)
{
    struct fact_resource r[RESOURCES];
    struct fact_address a[ADDRESSES];
    const char *exposes[RESOURCES];
    size_t n_exposes = 0;
    struct facts f = {.path = path, .resources = r, .addresses = a};

    for (; *resources; resources += 3) {
        r[f.n_resources++] = (struct fact_resource){resources[0], resources[1], resources[2]};
        if (strncmp(resources[0], "expose#", 7) == 0)
            exposes[n_exposes++] = resources[0];
    }
    for (; addresses && *addresses; addresses++) {
        bool up = (*addresses)[0] != '!';

        a[f.n_addresses++] = (struct fact_address){.node = "node1",
                                                   .instance = path,
                                                   .rid = "ip#1",
                                                   .address = *addresses + !up,
                                                   .up = up,
                                                   .state = up ? "up" : "down",
                                                   .exposes = exposes,
                                                   .n_exposes = n_exposes};
    }
    store_put_facts(w->store, &f);
}

void world_put(struct world *w, const char *path, const char *keywords, const char *address, bool up)
{
    char info[1024], text[128];
    const char *const resources[] = {"expose#0", "expose.envoy", info, NULL};
    const char *const addresses[] = {text, NULL};

    snprintf(info, sizeof(info), "{%s}", keywords);
    snprintf(text, sizeof(text), "%s%s", up ? "" : "!", address);
    world_put_full(w, path, resources, addresses);
}

char *world_commit(struct world *w)
{
    static const char *const kinds[] = {"service", "secret", "gateway", "listener"};
    struct view_delta *d = store_commit(w->store, "test");
    struct buf b;

    if (!d)
        return NULL;
    buf_init(&b, 0);
    for (size_t i = 0; i < d->n_changes; i++)
        buf_printf(&b, "%s%s%s %s", i ? "|" : "",
                   !d->changes[i].before  ? "+"
                   : !d->changes[i].after ? "-"
                                          : "",
                   kinds[d->changes[i].kind], d->changes[i].key);
    view_delta_free(d);
    return buf_take(&b, NULL);
}

void world_committed(struct world *w)
{
    mem_free(world_commit(w));
}

void world_sync_begin(struct world *w)
{
    store_sync_begin(w->store);
}

void world_sync_end(struct world *w)
{
    store_sync_end(w->store);
    world_committed(w);
}

void world_sync_nothing(struct world *w)
{
    world_sync_begin(w);
    world_sync_end(w);
}

void world_start(struct world *w)
{
    world_init(w);
    world_open(w);
    world_sync_nothing(w);
}

/* ---- the view as a text ---- */

static int dump_service(void *value, void *arg)
{
    const struct service *service = value;
    struct buf *b = arg;

    buf_printf(b, "service %s disagreement=%s\n", service->path, service->disagreement ? service->disagreement : "-");
    for (size_t i = 0; i < service->n_exposures; i++) {
        const struct service_exposure *sx = &service->exposures[i];
        char text[ENDPOINT_NAME_MAX];

        buf_printf(b,
                   "  %s valid=%d origin=%d disabled=%d kept=%d gateway=%s port=%u declared=%u/%u since=%" PRIu64
                   " hindrance=%s\n",
                   sx->x->name, sx->x->valid, (int)sx->x->origin, sx->x->disabled, sx->kept,
                   sx->gateway ? sx->gateway : "-", sx->listener_port, sx->x->listener_port,
                   sx->declared->listener_port, sx->since, sx->hindrance ? sx->hindrance->text : "-");
        for (size_t j = 0; j < sx->n_later; j++)
            buf_printf(b, "    later %s %" PRIu64 "\n", sx->later[j].name, sx->later[j].since);
        for (size_t j = 0; j < sx->declared->n_problems; j++)
            buf_printf(b, "    problem %s %s\n", sx->declared->problems[j].field, sx->declared->problems[j].text);
        for (size_t j = 0; j < sx->n_endpoints; j++) {
            const struct endpoint *endpoint = &sx->endpoints[j];

            buf_printf(b, "    endpoint %s up=%d drained=%d refused=%d %s %s %s %s\n",
                       endpoint_name(endpoint, text, sizeof(text)), endpoint->up, endpoint->drained,
                       endpoint->refused, endpoint->node, endpoint->instance, endpoint->rid, endpoint->state);
        }
    }
    return 0;
}

static int dump_secret(void *value, void *arg)
{
    const struct secret *s = value;

    buf_printf(arg, "secret %s csum=%s pair=%d chain=%s key=%s password=%s info=%s problem=%s\n", s->path, s->csum,
               s->has_pair, s->has_pair ? s->certificate_chain : "-", s->has_pair ? s->private_key : "-",
               s->has_pair && s->password ? s->password : "-", s->has_pair ? s->info.fingerprint : "-",
               s->pair_problem ? s->pair_problem : "-");
    buf_printf(arg, "  trust=%d ca=%s hash=%s problem=%s\n", s->has_trust, s->has_trust ? s->trusted_ca : "-",
               s->has_trust && s->verify_certificate_hash ? s->verify_certificate_hash : "-",
               s->trust_problem ? s->trust_problem : "-");
    return 0;
}

static int dump_gateway(void *value, void *arg)
{
    const struct gateway *g = value;

    buf_printf(arg, "gateway %s default=%d %u-%u files=%d header=%d", g->name, g->is_default, g->port_min,
               g->port_max, g->allow_files, g->allow_cluster_header);
    for (size_t i = 0; i < GATEWAY_BASES; i++)
        if (g->bases[i])
            buf_printf(arg, " %s=%s", gateway_base_name(i), g->bases[i]);
    buf_printf(arg, "\n");
    return 0;
}

static int dump_listener(void *value, void *arg)
{
    const struct listener_plan *p = value;

    buf_printf(arg, "listener %s\n", p->key);
    for (size_t i = 0; i < p->n_chains; i++) {
        const struct plan_chain *chain = &p->chains[i];

        buf_printf(arg, "  chain %s kind=%d tls=%d holder=%s\n", chain->id, (int)chain->kind, chain->tls,
                   chain->holder->name);
    }
    for (size_t i = 0; i < p->n_verdicts; i++) {
        const struct verdict *v = &p->verdicts[i];

        buf_printf(arg, "  verdict %s %d\n", v->exposure, (int)v->kind);
        for (size_t j = 0; j < v->n_problems; j++)
            buf_printf(arg, "    %s\n", v->problems[j].text);
    }
    return 0;
}

char *world_dump(struct world *w)
{
    struct view *v = store_view(w->store);
    struct buf b;

    buf_init(&b, 0);
    pmap_each(v->services, dump_service, &b);
    pmap_each(v->secrets, dump_secret, &b);
    pmap_each(v->gateways, dump_gateway, &b);
    pmap_each(v->listeners, dump_listener, &b);
    view_unref(v);
    return buf_take(&b, NULL);
}

char *world_dump_all(struct world *w)
{
    struct view *v = store_view(w->store);
    char *rest = world_dump(w), *all;

    all = mem_printf("revision %" PRIu64 " complete %d\n%s", v->revision, v->complete, rest);
    view_unref(v);
    mem_free(rest);
    return all;
}

struct service *world_service(struct world *w, const char *path)
{
    struct view *v = store_view(w->store);
    struct service *service = view_service(v, path);

    view_unref(v); /* the store's own reference keeps it until the next commit */
    return service;
}

uint16_t world_port(struct world *w, const char *path, const char *rid)
{
    const struct service *service = world_service(w, path);

    for (size_t i = 0; service && i < service->n_exposures; i++)
        if (strcmp(service->exposures[i].declared->rid, rid) == 0)
            return service->exposures[i].listener_port;
    return 0;
}

uint64_t world_revision(struct world *w)
{
    struct view *v = store_view(w->store);
    uint64_t number = v->revision;

    view_unref(v);
    return number;
}

bool world_is_complete(struct world *w)
{
    struct view *v = store_view(w->store);
    bool complete = v->complete;

    view_unref(v);
    return complete;
}

/* ---- alarms, waiting, files ---- */

const char *world_alarm(struct world *w, const char *name)
{
    for (size_t i = 0; i < WORLD_ALARMS; i++)
        if (strcmp(w->alarms[i].name, name) == 0 && w->alarms[i].text[0])
            return w->alarms[i].text;
    return NULL;
}

unsigned world_alarm_count(struct world *w, const char *name)
{
    for (size_t i = 0; i < WORLD_ALARMS; i++)
        if (strcmp(w->alarms[i].name, name) == 0)
            return w->alarms[i].raised;
    return 0;
}

void world_until(struct world *w, bool (*condition)(struct world *w, void *arg), void *arg)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += UNTIL_SECONDS;
    for (;;) {
        bool commit, fetch;
        int r = 0;

        store_poll(w->store, &commit, &fetch);
        w->wants_fetch |= fetch;
        if (commit)
            world_committed(w);
        if (condition(w, arg))
            return;
        pthread_mutex_lock(&w->lock);
        while (!w->woken && r == 0)
            r = pthread_cond_timedwait(&w->wake, &w->lock, &until);
        w->woken = 0;
        pthread_mutex_unlock(&w->lock);
        if (r == ETIMEDOUT)
            test_fail(__FILE__, __LINE__, "what is waited for does not happen");
    }
}

struct search {
    const char *text;
    bool found;
};

static void search_file(const char *path, void *arg)
{
    struct search *search = arg;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    uint8_t *bytes;

    CHECK(fd >= 0 && fstat(fd, &status) == 0);
    bytes = mem_alloc((size_t)status.st_size);
    CHECK(read(fd, bytes, (size_t)status.st_size) == status.st_size);
    close(fd);
    search->found |= memmem(bytes, (size_t)status.st_size, search->text, strlen(search->text)) != NULL;
    mem_free(bytes);
}

bool world_files_hold(struct world *w, const char *text)
{
    struct search search = {.text = text};

    each_file(w, search_file, &search);
    return search.found;
}

/* ---- kill -9 ---- */

uint32_t world_run_and_kill(struct world *w, void (*work)(struct world *w, int fd, uint32_t told), uint32_t told,
                            uint32_t wanted, unsigned turns)
{
    int pipe_fds[2], status;
    pid_t pid;

    CHECK(pipe(pipe_fds) == 0);
    fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(pipe_fds[0]);
        world_open(w);
        work(w, pipe_fds[1], told);
    }
    close(pipe_fds[1]);
    while (told < wanted)
        CHECK(read(pipe_fds[0], &told, sizeof(told)) == sizeof(told));
    /* Somewhere within the next step. */
    for (volatile unsigned i = 0; i < turns; i++)
        ;
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid);
    while (read(pipe_fds[0], &told, sizeof(told)) == sizeof(told))
        ;
    close(pipe_fds[0]);
    return told;
}

/* ---- disks ---- */

static struct rlimit no_limit;

void world_fill_disk(void)
{
    struct rlimit limit;

    CHECK(sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == 0);
    CHECK(getrlimit(RLIMIT_FSIZE, &no_limit) == 0);
    limit = no_limit;
    limit.rlim_cur = 1;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

void world_free_disk(void)
{
    CHECK(setrlimit(RLIMIT_FSIZE, &no_limit) == 0);
}

void world_make_newer(struct world *w, const char *name, const struct db_schema *schema)
{
    const char *migrations[9];
    struct db_schema newer = *schema;
    struct db *db;

    for (size_t i = 0; i < ARRAY_LEN(migrations); i++)
        migrations[i] = i < schema->n_migrations ? schema->migrations[i] : "SELECT 1";
    newer.migrations = migrations;
    newer.n_migrations = ARRAY_LEN(migrations);
    CHECK_INT(db_open(world_file(w, name), &newer, &db, NULL), 0);
    db_close(db);
}
