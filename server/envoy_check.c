/*
 * A queue, a thread, and one child process at a time.
 *
 * The child is this program again (server/sandbox.h), by /proc/self/exe: it starts with none of the daemon's files
 * open but the configuration, which is a nameless file in memory, and a pipe for its words.
 *
 * Invariant: each question is answered exactly once. The lock covers the queue alone.
 */
#include "server/envoy_check.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/translate.h"
#include "proto/trial.h"
#include "server/sandbox.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The sandbox ends what takes too long by itself; this is for a sandbox that does not. */
enum { MS = 1000, GRACE_MS = 1000, CONFIG_FD = STDIN_FILENO, FIRST_OTHER_FD = 3 };

struct envoy_check {
    const char *binary;
    unsigned seconds;
    char *certificate, *private_key; /* dummies */
    pthread_t thread;
    int closing; /* readable once it is to end */
    pthread_mutex_t lock;
    pthread_cond_t asked;
    struct envoy_question *first; /* waiting */
    size_t n;
    bool closed;
    /* The thread's: the version, and of which file it is. */
    char *version;
    struct stat binary_stat;
};

/* ---- one run ---- */

/* What came of a run; text: what was written, without white space around it. */
struct run {
    enum envoy_verdict_state state;
    char *text;
};

static int memory_file(const char *text)
{
    int fd = memfd_create("igwd-trial", MFD_CLOEXEC);
    size_t n = strlen(text), at = 0;

    while (fd >= 0 && at < n) {
        ssize_t written = write(fd, text + at, n - at);
        if (written < 0) {
            close(fd);
            return -1;
        }
        at += (size_t)written;
    }
    return fd < 0 || lseek(fd, 0, SEEK_SET) ? -1 : fd;
}

static int spawn(const char *binary, int config, int output, unsigned wall_ms, pid_t *ret)
{
    char time[16];
    char *const argv[] = {(char *)(uintptr_t) "igwd", (char *)(uintptr_t) "validate",
                          (char *)(uintptr_t)binary,  config < 0 ? (char *)(uintptr_t) "--version" : time,
                          config < 0 ? time : NULL,   NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    (void)snprintf(time, sizeof(time), "%u", wall_ms);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&how);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    if (config >= 0)
        posix_spawn_file_actions_adddup2(&files, config, CONFIG_FD);
    else
        posix_spawn_file_actions_addopen(&files, CONFIG_FD, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&files, FIRST_OTHER_FD);
    int r = posix_spawn(ret, "/proc/self/exe", &files, &how, argv, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return -r;
}

/* All of it is read, so that nobody waits for a full pipe; what is too long is not kept. False: it is to be ended. */
static bool read_output(int output, int closing, unsigned wall_ms, struct buf *b)
{
    clock_ns end = clock_now(NULL) + (wall_ms + GRACE_MS) * (clock_ns)CLOCK_NS_PER_MS;
    struct pollfd fds[] = {{.fd = output, .events = POLLIN}, {.fd = closing, .events = POLLIN}};
    char piece[4096];

    for (;;) {
        clock_ns left = end - clock_now(NULL);
        int r = left > 0 ? poll(fds, ARRAY_LEN(fds), (int)(left / CLOCK_NS_PER_MS) + 1) : 0;
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0 || fds[1].revents)
            return false;
        ssize_t n = read(output, piece, sizeof(piece));
        if (n <= 0)
            return n == 0;
        size_t room = b->max - b->len;
        (void)buf_append(b, piece, (size_t)n < room ? (size_t)n : room); /* there is that much room */
    }
}

static enum envoy_verdict_state state_of(int status)
{
    if (!WIFEXITED(status))
        return ENVOY_UNAVAILABLE;
    switch (WEXITSTATUS(status)) {
    case SANDBOX_ACCEPTED:
        return ENVOY_ACCEPTED;
    case SANDBOX_REFUSED:
        return ENVOY_REFUSED;
    case SANDBOX_TIMEOUT:
        return ENVOY_TIMEOUT;
    default:
        return ENVOY_UNAVAILABLE;
    }
}

static char *trimmed(const char *text)
{
    size_t n = strlen(text);

    while (n && isspace((unsigned char)*text))
        text++, n--;
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    return mem_strndup(text, n);
}

static struct run not_run(const char *what, int code)
{
    return (struct run){ENVOY_UNAVAILABLE, mem_printf("%s: %s", what, strerrordesc_np(-code))};
}

/* The child has the other end of output; closing: -1, or readable when it is to be ended. */
static struct run follow(pid_t pid, int output, int closing, unsigned wall_ms)
{
    struct buf b;
    int status;

    buf_init(&b, ENVOY_CHECK_OUTPUT_MAX);
    bool ended = read_output(output, closing, wall_ms, &b);
    if (!ended)
        (void)kill(pid, SIGKILL); /* ours until it is waited for */
    if (waitpid(pid, &status, 0) != pid)
        status = -1;
    struct run run = {ended ? state_of(status) : ENVOY_UNAVAILABLE, NULL};
    run.text = ended ? trimmed(buf_cstr(&b)) : mem_strdup("Envoy was ended: the daemon stops, or its sandbox hung");
    buf_clear(&b);
    return run;
}

/* config NULL: the version is asked for. */
static struct run run_envoy(const char *binary, const char *config, int closing, unsigned wall_ms)
{
    int file = config ? memory_file(config) : -1, fds[2];
    pid_t pid;

    if (config && file < 0)
        return not_run("a file in memory", -errno);
    if (pipe2(fds, O_CLOEXEC)) {
        close(file);
        return not_run("a pipe", -errno);
    }
    int r = spawn(binary, file, fds[1], wall_ms, &pid);
    close(fds[1]);
    if (file >= 0)
        close(file);
    struct run run = r < 0 ? not_run("the sandbox's process", r) : follow(pid, fds[0], closing, wall_ms);
    close(fds[0]);
    return run;
}

/* ---- the version ---- */

/* "... version: HASH/1.40.0/Clean/RELEASE/BoringSSL"; NULL: it says none. */
static char *version_in(const char *text)
{
    const char *mark = strstr(text, " version: "), *from = mark ? strchr(mark, '/') : NULL;
    size_t n = from ? strcspn(from + 1, "/ \n") : 0;

    return n ? mem_strndup(from + 1, n) : NULL;
}

static int ask_version(const char *binary, int closing, unsigned seconds, char **ret_version, struct err *e)
{
    struct run run = run_envoy(binary, NULL, closing, seconds * MS);
    _cleanup_(mem_free_p) char *text = run.text;
    char *version = run.state == ENVOY_ACCEPTED ? version_in(text) : NULL;

    if (!version)
        return err_set(e, -ENOEXEC, binary, NULL, "%s",
                       run.state == ENVOY_TIMEOUT    ? "it does not answer"
                       : run.state == ENVOY_ACCEPTED ? "it is no Envoy: it does not tell its version"
                                                     : text);
    *ret_version = version;
    return 0;
}

int envoy_check_probe(const char *binary, unsigned seconds, char **ret_version, struct err *e)
{
    return ask_version(binary, -1, seconds, ret_version, e);
}

/* Asks again when another file is there; a binary that can't be had now may be there later. */
static void learn_version(struct envoy_check *c)
{
    struct stat now;
    struct err e = {0};

    if (c->version && stat(c->binary, &now) == 0 && now.st_ino == c->binary_stat.st_ino &&
        now.st_dev == c->binary_stat.st_dev && now.st_mtime == c->binary_stat.st_mtime)
        return;
    mem_free(take_ptr(c->version));
    if (stat(c->binary, &c->binary_stat))
        memset(&c->binary_stat, 0, sizeof(c->binary_stat));
    if (ask_version(c->binary, c->closing, c->seconds, &c->version, &e) == 0)
        log_event(LOG_LEVEL_INFO, "dry runs are shown to Envoy", "binary", c->binary, "version", c->version, "as",
                  geteuid() ? "the daemon's own user" : "nobody", NULL);
    else
        log_err(LOG_LEVEL_WARNING, &e, "Envoy can't be asked about dry runs", NULL);
}

/* ---- words ---- */

static bool is_named(const char *words, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = strstr(words, name); at; at = strstr(at + 1, name))
        if ((at == words || !resource_name_has(at[-1])) && (!at[n] || !resource_name_has(at[n])))
            return true;
    return false;
}

/* The resource that the words name: the one with the longest name. */
static void find_culprit(struct envoy_question *q, const struct xds_batch *b)
{
    struct envoy_verdict *v = &q->verdict;
    const struct resource *found = NULL;

    for (size_t i = 0; i < b->n_changes; i++) {
        const struct resource *r = b->changes[i].after;
        if (r && strcmp(b->changes[i].gateway, v->gateway) == 0 && r->type != XDS_ENDPOINT &&
            (!found || strlen(r->name) > strlen(found->name)) && is_named(v->detail, r->name))
            found = r;
    }
    if (!found)
        return;
    v->resource = arena_strdup(q->arena, found->name);
    v->owner = arena_strdup(q->arena, found->owner);
    v->type = found->type;
}

/* Envoy's words without what they say of a file that the reader never saw. */
static const char *without_file(const char *words)
{
    static const char before[] = "error initializing configuration '" SANDBOX_CONFIG "': ";

    return strncmp(words, before, strlen(before)) == 0 ? words + strlen(before) : words;
}

/* ---- answering ---- */

static bool has_cluster(void *arg, const char *name)
{
    const struct envoy_question *q = arg;
    const struct service_exposure *sx = view_exposure(q->view, name);

    return sx && sx->gateway && service_exposure_listens(sx) && strcmp(sx->gateway, q->verdict.gateway) == 0;
}

static void set_detail(const struct envoy_check *c, struct envoy_question *q, const struct run *run, bool names_files)
{
    struct envoy_verdict *v = &q->verdict;
    const char *words = without_file(run->text);

    v->state = run->state;
    if (run->state == ENVOY_TIMEOUT)
        v->detail =
            arena_printf(q->arena,
                         "nothing is known of what Envoy would say: it did not answer within %u s, or %d s of "
                         "CPU time (envoy-seconds)",
                         c->seconds, SANDBOX_CPU_SECONDS);
    else if (run->state == ENVOY_REFUSED && names_files)
        v->detail = arena_printf(q->arena,
                                 "the configuration names files, which Envoy does not find here; it says: %s", words);
    else if (run->state != ENVOY_ACCEPTED)
        v->detail = arena_strdup(q->arena, words);
    if (run->state == ENVOY_REFUSED && names_files)
        v->state = ENVOY_UNAVAILABLE;
}

/* Whether Envoy takes what the gateway would get; if not, the verdict says why. */
static bool judge_gateway(struct envoy_check *c, struct envoy_question *q, const struct xds_batch *b,
                          const char *gateway)
{
    const struct trial_options options = {.gateway = gateway,
                                          .certificate = c->certificate,
                                          .private_key = c->private_key,
                                          .has_cluster = has_cluster,
                                          .arg = q};
    bool names_files;

    q->verdict.gateway = arena_strdup(q->arena, gateway);
    char *config = trial_make(b, &options, &names_files);
    if (!config)
        return true;
    clock_ns left = q->until - clock_now(NULL), most = c->seconds * CLOCK_NS_PER_S;
    struct run run = strlen(config) > SANDBOX_CONFIG_MAX
                         ? (struct run){ENVOY_UNAVAILABLE, mem_strdup("the configuration is too large to be tried")}
                         : run_envoy(c->binary, config, c->closing,
                                     left > 0 ? (unsigned)((left < most ? left : most) / CLOCK_NS_PER_MS) : 0);
    mem_free_secret(config, strlen(config)); /* passwords may stand in what is passed through */
    set_detail(c, q, &run, names_files);
    mem_free(run.text);
    if (run.state == ENVOY_REFUSED)
        find_culprit(q, b);
    return q->verdict.state == ENVOY_ACCEPTED;
}

static void judge(struct envoy_check *c, struct envoy_question *q)
{
    struct translator *t = translator_new(NULL, NULL);
    _cleanup_(xds_batch_free_p) struct xds_batch *b = translate(t, q->delta);

    for (size_t i = 0; b && i < b->n_gateways; i++) {
        if (clock_now(NULL) >= q->until) {
            q->verdict.state = ENVOY_TIMEOUT;
            q->verdict.detail =
                arena_printf(q->arena, "there was time to ask Envoy of %zu of %zu gateways", i, b->n_gateways);
            q->verdict.gateway = arena_strdup(q->arena, b->gateways[i]);
            break;
        }
        if (!judge_gateway(c, q, b, b->gateways[i]))
            break;
    }
    translator_free(t);
    if (q->verdict.state == ENVOY_ACCEPTED)
        q->verdict.gateway = NULL;
}

static void answer(struct envoy_question *q)
{
    view_unref(take_ptr(q->view));
    view_delta_free(take_ptr(q->delta));
    q->done(q, q->arg);
}

static void answer_without(struct envoy_question *q, enum envoy_verdict_state state, const char *why)
{
    q->verdict = (struct envoy_verdict){.state = state, .detail = why};
    answer(q);
}

/* ---- the thread ---- */

/* Waits for the next one; NULL: it is to end. */
static struct envoy_question *next_question(struct envoy_check *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->first && !c->closed)
        pthread_cond_wait(&c->asked, &c->lock);
    struct envoy_question *q = c->closed ? NULL : c->first;
    if (q) {
        c->first = q->next;
        c->n--;
    }
    pthread_mutex_unlock(&c->lock);
    return q;
}

static void *run_thread(void *arg)
{
    struct envoy_check *c = arg;
    struct envoy_question *q;

    learn_version(c);
    while ((q = next_question(c))) {
        q->verdict = (struct envoy_verdict){.state = ENVOY_ACCEPTED};
        learn_version(c);
        judge(c, q);
        q->verdict.version = c->version ? arena_strdup(q->arena, c->version) : NULL;
        answer(q);
    }
    return NULL;
}

int envoy_check_new(const char *binary, unsigned seconds, struct envoy_check **ret, struct err *e)
{
    struct envoy_check *c = mem_new(struct envoy_check);
    int r = certificate_dummy(&c->certificate, &c->private_key, e);

    c->binary = binary;
    c->seconds = seconds;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->asked, NULL);
    c->closing = r < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r == 0 && c->closing < 0)
        r = err_set(e, -errno, "eventfd", NULL, "%s", strerrordesc_np(errno));
    if (r == 0) {
        r = -pthread_create(&c->thread, NULL, run_thread, c);
        if (r < 0)
            err_set(e, r, "thread", NULL, "%s", strerrordesc_np(-r));
    }
    if (r < 0) {
        c->closed = true;
        envoy_check_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void envoy_check_ask(struct envoy_check *c, struct envoy_question *q)
{
    q->until = clock_now(NULL) + ENVOY_CHECK_TOTAL_MS * (clock_ns)CLOCK_NS_PER_MS;
    pthread_mutex_lock(&c->lock);
    bool closed = c->closed, busy = c->n >= ENVOY_CHECK_WAITING_MAX;
    if (!closed && !busy) {
        struct envoy_question **end = &c->first;
        while (*end)
            end = &(*end)->next;
        q->next = NULL;
        *end = q;
        c->n++;
        pthread_cond_signal(&c->asked);
    }
    pthread_mutex_unlock(&c->lock);
    if (closed)
        answer_without(q, ENVOY_UNAVAILABLE, "the daemon stops");
    else if (busy)
        answer_without(q, ENVOY_BUSY, "too many dry runs wait for Envoy already");
}

void envoy_check_close(struct envoy_check *c)
{
    const uint64_t one = 1;

    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    struct envoy_question *q = take_ptr(c->first);
    c->n = 0;
    pthread_cond_signal(&c->asked);
    pthread_mutex_unlock(&c->lock);
    ssize_t n = write(c->closing, &one, sizeof(one));
    assert(n == sizeof(one)); /* an eventfd that nobody else writes to */
    pthread_join(c->thread, NULL);
    while (q) {
        struct envoy_question *next = q->next;
        answer_without(q, ENVOY_UNAVAILABLE, "the daemon stops");
        q = next;
    }
}

void envoy_check_free(struct envoy_check *c)
{
    if (!c)
        return;
    assert(c->closed);
    if (c->closing >= 0)
        close(c->closing);
    pthread_cond_destroy(&c->asked);
    pthread_mutex_destroy(&c->lock);
    mem_free(c->version);
    mem_free(c->certificate);
    mem_free(c->private_key);
    mem_free(c);
}
