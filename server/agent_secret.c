/*
 * Secrets: those that services refer to are read when the csum that the agent tells differs from the one that the
 * store has, beside the events: each on connections of its own, a few at a time. All keys of one secret are read,
 * then it is looked whether its csum is still the one that it was at the start; if not, all again: a chain and a key
 * of two times shall not be taken for a pair. What can't be read is asked again, with backoff; the store keeps the
 * last good.
 *
 * A job per secret: idle -> queued -> running -> idle, or waiting (for the next attempt) -> queued. Values are wiped.
 */
#include "server/agent_core.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Those of SECRET_KEYS that mean something, in the order of `keys`. */
enum secret_key {
    KEY_CHAIN,
    KEY_PRIVATE,
    KEY_SERVER,
    KEY_PASSWORD,
    KEY_TRUST,
    KEY_HASH,
    SECRET_KEYS,
};

static const char *const keys[SECRET_KEYS] = {"certificate_chain", "private_key", "server_key",
                                              "password",          "trusted_ca",  "verify_certificate_hash"};

enum job_state { JOB_IDLE, JOB_QUEUED, JOB_RUNNING, JOB_WAITING };

enum {
    BACKOFF_STEP = 4, /* a secret is asked again after 0.8 s at first */
    TELL_MS = 50,     /* until the alarm follows: many become silent together, and are heard of together */
    NOT_SUPPORTED = 501,
};

struct secret_job {
    struct agent *agent;
    char *path;
    enum job_state state;
    bool wanted;       /* services refer to it, as of the last commit */
    bool first;        /* the first state waits for it */
    char *have;        /* the csum of what the store has; "" */
    char *asked;       /* the csum at the beginning of what is being read, or failed */
    char *missing;     /* the words that the store was given, NULL: none */
    unsigned step;     /* of the backoff */
    clock_ns asked_at; /* the first time since its values were known; 0: they are */
    bool silent;       /* no word of it for AGENT_REQUEST_TIMEOUT_S */
    struct loop_timer *timer;
    struct secret_job *next; /* in the queue */

    struct request *request;
    unsigned todo; /* bits of secret_key */
    bool guess;    /* the agent does not tell which keys there are: each is tried */
    enum secret_key key;
    char *values[SECRET_KEYS];
};

static void run(struct secret_job *j);
static void check(struct secret_job *j);

/* ---- jobs ---- */

static void wipe_values(struct secret_job *j)
{
    for (size_t i = 0; i < SECRET_KEYS; i++) {
        if (j->values[i])
            mem_free_secret(j->values[i], strlen(j->values[i]));
        j->values[i] = NULL;
    }
}

static void set_text(char **at, const char *text)
{
    char *before = *at;

    *at = mem_strdup(text);
    mem_free(before);
}

static void first_settled(struct secret_job *j)
{
    struct agent *a = j->agent;

    if (!j->first)
        return;
    j->first = false;
    /* Not now: the commit looks at all jobs, and one of them is being looked at. */
    if (--a->first_left == 0 && a->first)
        loop_timer_set(a->first_timer, loop_now(a->loop));
}

static void leave_queue(struct secret_job *j)
{
    struct agent *a = j->agent;
    struct secret_job **at = &a->queue;

    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    if (a->queue_end == &j->next)
        a->queue_end = at;
    j->next = NULL;
}

/* The alarm is about all that the agent is silent of; it names the first. */
static void on_tell_silent(void *arg)
{
    struct agent *a = arg;
    const struct secret_job *first = NULL;
    _cleanup_(mem_free_p) char *text = NULL;
    struct map_entry *e;
    size_t n = 0;

    for (size_t i = 0; map_next(&a->secrets, &i, &e);) {
        const struct secret_job *j = e->value;

        n += j->silent;
        if (j->silent && (!first || strcmp(j->path, first->path) < 0))
            first = j;
    }
    if (first)
        text = n > 1 ? mem_printf("the agent does not say what %s and %zu others hold", first->path, n - 1)
                     : mem_printf("the agent does not say what %s holds", first->path);
    if (a->options.alarm && (first || a->silent_told))
        a->options.alarm(a->options.arg, "secrets", text);
    a->silent_told = first != NULL;
}

static void set_silent(struct secret_job *j, bool silent)
{
    if (!silent)
        j->asked_at = 0;
    if (j->silent == silent)
        return;
    j->silent = silent;
    loop_timer_set(j->agent->silent_timer, loop_now(j->agent->loop) + TELL_MS * (clock_ns)CLOCK_NS_PER_MS);
}

static void job_free(struct secret_job *j)
{
    if (j->state == JOB_QUEUED)
        leave_queue(j);
    if (j->state == JOB_RUNNING)
        j->agent->running--;
    request_cancel(j->request);
    loop_timer_free(j->timer);
    wipe_values(j);
    mem_free(j->path);
    mem_free(j->have);
    mem_free(j->asked);
    mem_free(j->missing);
    mem_free(j);
}

static void run_next(struct agent *a)
{
    /* One connection is left for ports. */
    while (a->queue && a->running < AGENT_REQUESTS_MAX - 1) {
        struct secret_job *j = a->queue;

        leave_queue(j);
        j->state = JOB_RUNNING;
        a->running++;
        run(j);
    }
}

static void enqueue(struct secret_job *j)
{
    struct agent *a = j->agent;

    assert(j->state == JOB_IDLE || j->state == JOB_WAITING);
    loop_timer_set(j->timer, INT64_MAX);
    j->state = JOB_QUEUED;
    j->next = NULL;
    *a->queue_end = j;
    a->queue_end = &j->next;
}

static void stopped(struct secret_job *j, enum job_state state)
{
    assert(j->state == JOB_RUNNING);
    j->state = state;
    j->agent->running--;
    wipe_values(j);
}

static void on_retry(void *arg)
{
    struct secret_job *j = arg;
    struct agent *a = j->agent;

    /* While there is no agent, there is nobody to ask; nor is it this secret that it is silent of. */
    if (a->phase == PHASE_WAIT_CONNECT) {
        if (!j->silent)
            j->asked_at = 0;
        loop_timer_set(j->timer, loop_now(a->loop) + agent_backoff(a, BACKOFF_STEP + j->step));
        return;
    }
    enqueue(j);
    run_next(a);
}

/* ---- what came of it ---- */

/* The store keeps the last good values beside the words. */
static void tell_missing(struct secret_job *j, const char *words)
{
    set_silent(j, false);
    if (j->missing && strcmp(j->missing, words) == 0)
        return;
    set_text(&j->missing, words);
    set_text(&j->have, "");
    store_put_secret(j->agent->store, j->path, "", NULL, words);
    log_event(LOG_LEVEL_WARNING, "secret cannot be read", "secret", j->path, "why", words, NULL);
    agent_commit_soon(j->agent, "agent: secrets");
}

/* words: the agent's, when it answered; otherwise nothing is known of the secret. */
static void failed(struct secret_job *j, const struct err *e, const char *words)
{
    struct agent *a = j->agent;

    if (words)
        tell_missing(j, words);
    else if (loop_now(a->loop) - j->asked_at >= AGENT_REQUEST_TIMEOUT_S * CLOCK_NS_PER_S)
        set_silent(j, true);
    if (!words)
        log_err(j->step ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, e, "secret not read yet", "secret", j->path, NULL);
    stopped(j, JOB_WAITING);
    loop_timer_set(j->timer, loop_now(a->loop) + agent_backoff(a, BACKOFF_STEP + j->step++));
    first_settled(j);
    run_next(a);
}

static void put_values(struct secret_job *j)
{
    char **v = j->values;
    const struct secret_values values = {
        .certificate_chain = v[KEY_CHAIN],
        .private_key = v[KEY_PRIVATE] ? v[KEY_PRIVATE] : v[KEY_SERVER],
        .password = v[KEY_PASSWORD],
        .trusted_ca = v[KEY_TRUST],
        .verify_certificate_hash = v[KEY_HASH],
    };

    store_put_secret(j->agent->store, j->path, j->asked, &values, NULL);
    set_text(&j->have, j->asked);
    mem_free(take_ptr(j->missing));
    set_silent(j, false);
    j->step = 0;
    log_event(LOG_LEVEL_INFO, "secret read", "secret", j->path, NULL);
    agent_commit_soon(j->agent, "agent: secrets");
}

static void complete(struct secret_job *j)
{
    struct agent *a = j->agent;
    const char *now = mirror_secret_csum(a->mirror, j->path);

    if (now && strcmp(now, j->asked) == 0) {
        put_values(j);
        stopped(j, JOB_IDLE);
        first_settled(j);
    } else {
        stopped(j, JOB_IDLE);
        check(j);
    }
    run_next(a);
}

/* ---- requests ---- */

static void ask(struct secret_job *j, const char *action, const char *method, const char *key, request_done done)
{
    struct agent *a = j->agent;
    const struct request_options options = {.sockets = (const char *const *)a->sockets,
                                            .timeout = AGENT_REQUEST_TIMEOUT_S * CLOCK_NS_PER_S,
                                            .max_answer = AGENT_SECRET_ANSWER_MAX,
                                            .done = done,
                                            .arg = j};
    struct buf b = {0};
    struct err e = {0};

    request_about(&b, action, method, j->path, key);
    if (request_start(a->loop, &options, buf_cstr(&b), &j->request, &e) < 0)
        failed(j, &e, NULL);
    buf_clear(&b);
}

static void on_value(void *arg, const json_t *answer, const struct err *e);

static void ask_next_key(struct secret_job *j)
{
    if (!j->todo) {
        complete(j);
        return;
    }
    j->key = (enum secret_key)__builtin_ctz(j->todo);
    j->todo &= j->todo - 1;
    ask(j, "get_secret_key", NULL, keys[j->key], on_value);
}

/* A key that is listed may have no value. */
static bool has_no_value(const struct secret_job *j, const char *words)
{
    return j->guess || strstr(words, "no value") || strstr(words, "does not exist");
}

static void on_value(void *arg, const json_t *answer, const struct err *e)
{
    struct secret_job *j = arg;
    const json_t *data = json_object_get(answer, "data");
    char words[256];

    j->request = NULL;
    if (!answer) {
        failed(j, e, NULL);
        return;
    }
    if (answer_status(answer) != 0) {
        answer_words(answer, words, sizeof(words));
        if (!has_no_value(j, words)) {
            failed(j, e, words);
            return;
        }
    } else if (json_is_string(data)) {
        j->values[j->key] = mem_strdup(json_string_value(data));
    }
    ask_next_key(j);
}

static unsigned listed_keys(const json_t *list)
{
    unsigned found = 0;
    const json_t *name;
    size_t at;

    json_array_foreach(list, at, name) for (unsigned i = 0; i < SECRET_KEYS;
                                            i++) if (json_is_string(name) &&
                                                     strcmp(json_string_value(name), keys[i]) == 0) found |= 1U << i;
    /* The second name of the private key counts only without the first. */
    if (found & (1U << KEY_PRIVATE))
        found &= ~(1U << KEY_SERVER);
    return found;
}

static void on_keys(void *arg, const json_t *answer, const struct err *e)
{
    struct secret_job *j = arg;
    const json_t *list = json_object_get(answer, "data");
    char words[256];
    int status;

    j->request = NULL;
    if (!answer) {
        failed(j, e, NULL);
        return;
    }
    status = answer_status(answer);
    j->guess = status == NOT_SUPPORTED || (status == 0 && !json_is_array(list));
    if (status != 0 && !j->guess) {
        failed(j, e, answer_words(answer, words, sizeof(words)));
        return;
    }
    j->todo = j->guess ? (1U << SECRET_KEYS) - 1 : listed_keys(list);
    ask_next_key(j);
}

static void run(struct secret_job *j)
{
    const char *csum = mirror_secret_csum(j->agent->mirror, j->path);

    set_text(&j->asked, csum ? csum : "");
    if (!j->asked_at)
        j->asked_at = loop_now(j->agent->loop);
    ask(j, "object_keys", "GET", NULL, on_keys);
}

/* ---- which ---- */

/* Looks whether the secret is to be read. */
static void check(struct secret_job *j)
{
    const char *csum = mirror_secret_csum(j->agent->mirror, j->path);

    /* What runs looks itself at its end. */
    if (j->state == JOB_QUEUED || j->state == JOB_RUNNING)
        return;
    if (!csum) {
        loop_timer_set(j->timer, INT64_MAX);
        j->state = JOB_IDLE;
        tell_missing(j, "the agent has no such secret");
        first_settled(j);
        return;
    }
    if (strcmp(csum, j->have) == 0) {
        set_silent(j, false);
        first_settled(j);
        return;
    }
    if (j->state == JOB_WAITING && j->asked && strcmp(csum, j->asked) == 0)
        return;
    enqueue(j);
}

static struct secret_job *job_get(struct agent *a, const struct view *v, const char *path)
{
    struct secret_job *j = map_gets(&a->secrets, path);
    const struct secret *known;

    if (j)
        return j;
    known = v ? view_secret(v, path) : NULL;
    j = mem_new(struct secret_job);
    j->agent = a;
    j->path = mem_strdup(path);
    j->have = mem_strdup(known ? known->csum : "");
    j->timer = loop_timer_new(a->loop, on_retry, j);
    map_puts(&a->secrets, j->path, j);
    return j;
}

static void expect(struct agent *a, const char *path)
{
    struct secret_job *j;

    if (!path || map_gets(&a->secrets, path))
        return;
    j = job_get(a, NULL, path);
    j->first = true;
    a->first_left++;
}

static void expect_certificate(struct agent *a, const struct certificate *c)
{
    if (!c)
        return;
    expect(a, c->secret);
    expect(a, c->validation_secret);
}

static bool has_certificates(const struct facts *f)
{
    for (size_t i = 0; i < f->n_resources; i++)
        if (strncmp(f->resources[i].rid, "certificate#", 12) == 0)
            return true;
    return false;
}

void secrets_expect(struct agent *a, const struct facts *f)
{
    const struct exposure *exposures;
    struct declaration *d;
    size_t n;

    if (!has_certificates(f))
        return;
    d = declaration_new(f->path, f->resources, f->n_resources, NULL, NULL);
    exposures = declaration_exposures(d, &n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < exposures[i].n_listener_certificates; k++)
            expect_certificate(a, exposures[i].listener_certificates[k]);
        expect_certificate(a, exposures[i].cluster_certificate);
    }
    declaration_unref(d);
}

/* All that services refer to now, and no others. */
static void take_wanted(struct agent *a)
{
    struct view *v = store_view(a->store);
    size_t n, n_old = a->secrets.count;
    const char *const *wanted = store_wanted_secrets(a->store, &n);
    void **old = map_sorted_values(&a->secrets);

    for (size_t i = 0; i < n_old; i++)
        ((struct secret_job *)old[i])->wanted = false;
    for (size_t i = 0; i < n; i++)
        job_get(a, v, wanted[i])->wanted = true;
    for (size_t i = 0; i < n_old; i++) {
        struct secret_job *j = old[i];

        if (j->wanted)
            continue;
        map_removes(&a->secrets, j->path);
        set_silent(j, false);
        job_free(j);
    }
    mem_free(old);
    view_unref(v);
}

static void check_all(struct agent *a)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&a->secrets, &i, &e);)
        check(e->value);
}

void secrets_check(struct agent *a)
{
    uint64_t version = store_wanted_version(a->store);
    const char *path;

    /* Without the agent's whole nothing is known of any csum. */
    if (!a->have_whole)
        return;
    if (!a->first && version != a->wanted_version) {
        a->wanted_version = version;
        take_wanted(a);
        check_all(a);
    } else if (a->first) {
        check_all(a);
    }
    while ((path = mirror_next_secret(a->mirror)) != NULL) {
        struct secret_job *j = map_gets(&a->secrets, path);

        if (j)
            check(j);
    }
    run_next(a);
}

void secrets_start(struct agent *a)
{
    a->queue_end = &a->queue;
    a->silent_timer = loop_timer_new(a->loop, on_tell_silent, a);
}

void secrets_stop(struct agent *a)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&a->secrets, &i, &e);)
        job_free(e->value);
    map_clear(&a->secrets);
    loop_timer_free(a->silent_timer);
}
