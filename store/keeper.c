/*
 * The keeper.
 *
 * Threads: `gathered` belongs to the writer, `db` and `statements` to the keeper's thread (once it runs), all else to
 * the lock. Lists hold changes in the order in which their rows were first put; each list has a map of its keys.
 */
#include "store/keeper.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* A change and its bytes in one piece of memory. */
struct change {
    struct change *next, *before;
    const char *key;
    unsigned statement;
    size_t n;
    struct db_value values[];
};

struct changes {
    struct change *first, *last;
    struct map by_key;
};

struct keeper {
    char *path;
    const struct db_schema *schema;
    const char *const *sql;
    size_t n_statements;
    bool remake;
    void (*wake)(void *arg);
    void *wake_arg;
    void (*behind)(void *arg, bool behind);
    void *behind_arg;
    pthread_t thread;

    struct changes gathered;

    struct db *db;
    struct db_statement *statements[KEEPER_STATEMENTS_MAX];
    clock_ns look_at; /* whether the file is still there */
    char *lost_why;   /* what is on the disk is not what the writer thinks: it has to be made anew first */

    pthread_mutex_t lock;
    pthread_cond_t work, progress;
    struct changes waiting;
    uint64_t submitted, done; /* tickets */
    uint64_t owed;            /* the newest that was waited for in vain: it is told when it is done; 0: none */
    struct err error;
    bool failing; /* the last attempt was in vain */
    bool broken, late, stop;
    uint64_t remade, seen_remade; /* seen: by the writer */
    char *remade_why;
    clock_ns retry_at; /* 0: at once */
    unsigned retry_ms;
    bool news;
};

/* ---- lists of changes ---- */

static void unlink_change(struct changes *list, struct change *c)
{
    *(c->before ? &c->before->next : &list->first) = c->next;
    *(c->next ? &c->next->before : &list->last) = c->before;
    c->next = c->before = NULL;
}

static void link_after(struct changes *list, struct change *c, struct change *at)
{
    c->before = at;
    c->next = at ? at->next : list->first;
    *(c->before ? &c->before->next : &list->first) = c;
    *(c->next ? &c->next->before : &list->last) = c;
}

/* A newer change of a row takes the place of the one before. */
static void put_change(struct changes *list, struct change *c)
{
    struct change *old = map_puts(&list->by_key, c->key, c);

    link_after(list, c, old ? old : list->last);
    if (old) {
        unlink_change(list, old);
        mem_free(old);
    }
}

static void clear_changes(struct changes *list)
{
    while (list->first) {
        struct change *c = list->first;

        list->first = c->next;
        mem_free(c);
    }
    map_clear(&list->by_key);
    *list = (struct changes){0};
}

/* Moves all of `from` to the end of `list`. */
static void append_changes(struct changes *list, struct changes *from)
{
    if (!list->first) {
        map_clear(&list->by_key);
        *list = *from;
        *from = (struct changes){0};
        return;
    }
    while (from->first) {
        struct change *c = from->first;

        unlink_change(from, c);
        put_change(list, c);
    }
    map_clear(&from->by_key);
}

static struct change *change_new(const char *key, unsigned statement, bool with_digest, const struct db_value *values,
                                 size_t n)
{
    size_t count = n + with_digest, size = sizeof(struct change) + count * sizeof(struct db_value),
           key_len = strlen(key);
    struct change *c;
    uint8_t *to;

    for (size_t i = 0; i < n; i++)
        size += values[i].bytes ? values[i].len : 0;
    c = mem_alloc(size + key_len + 1);
    to = (uint8_t *)(c->values + count);
    for (size_t i = 0; i < n; i++) {
        c->values[i] = values[i];
        if (values[i].bytes && values[i].len) {
            memcpy(to, values[i].bytes, values[i].len);
            c->values[i].bytes = to;
            to += values[i].len;
        }
    }
    if (with_digest)
        c->values[n] = db_int(db_digest(values, n));
    memcpy(to, key, key_len + 1);
    c->key = (const char *)to;
    c->statement = statement;
    c->n = count;
    return c;
}

/* ---- the thread: writing ---- */

static void close_database(struct keeper *k)
{
    for (size_t i = 0; i < k->n_statements; i++) {
        db_statement_free(k->statements[i]);
        k->statements[i] = NULL;
    }
    db_close(k->db);
    k->db = NULL;
}

static int prepare(struct keeper *k, struct err *e)
{
    for (size_t i = 0; i < k->n_statements; i++) {
        int r = db_prepare(k->db, k->sql[i], &k->statements[i], e);

        if (r < 0)
            return r;
    }
    return 0;
}

static int open_database(struct keeper *k, struct err *e)
{
    int r;

    if (k->db)
        return 0;
    r = db_open(k->path, k->schema, &k->db, e);
    if (r == 0)
        r = prepare(k, e);
    if (r < 0)
        close_database(k);
    return r;
}

/*
 * One transaction. A row that SQLite refuses for itself is left out and told of, or it would keep all others from the
 * disk for ever; every other fault ends the attempt.
 */
static int write_changes(struct keeper *k, const struct changes *list, struct err *refused, struct err *e)
{
    int r = db_begin(k->db, e);

    for (const struct change *c = list->first; c && r == 0; c = c->next) {
        r = db_run(k->statements[c->statement], c->values, c->n, e);
        if (r == -EINVAL) {
            if (refused->code == 0)
                err_set(refused, -EINVAL, k->path, "", "a row was refused (%s): %s", c->key, e ? e->text : "");
            r = 0;
        }
    }
    if (r == 0)
        r = db_commit(k->db, e);
    if (r < 0)
        db_rollback(k->db);
    return r;
}

/* The file is of no use any more: it goes aside, and an empty one takes its place. */
static int replace_database(struct keeper *k, struct err *e)
{
    _cleanup_(mem_free_p) char *aside = NULL;
    int r;

    close_database(k);
    r = db_set_aside(k->path, &aside, e);
    if (r == 0)
        r = open_database(k, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&k->lock);
    clear_changes(&k->waiting);
    mem_free(k->remade_why);
    k->remade_why = mem_printf("%s; what there was is kept as %s", k->lost_why, aside);
    k->remade++;
    k->done = k->submitted; /* all that was handed over went with the file */
    pthread_mutex_unlock(&k->lock);
    mem_free(k->lost_why);
    k->lost_why = NULL;
    return 0;
}

/* Looked at once a second at most: it costs as much as a small transaction. */
static int look_at_files(struct keeper *k, struct err *e)
{
    clock_ns now = clock_now(NULL);
    int r = 0;

    if (now < k->look_at)
        return 0;
    if (db_moved(k->db))
        return err_set(e, -EUCLEAN, k->path, "", "the file was removed or replaced under the daemon");
    if (db_log_moved(k->db)) {
        /* Closing does so too, but not beside a reader or on a full disk, and does not tell. */
        r = db_write_back(k->db, e);
        if (r == 0)
            close_database(k);
        if (r == 0)
            r = open_database(k, e);
    }
    if (r == 0)
        k->look_at = now + CLOCK_NS_PER_S;
    return r;
}

static int attempt(struct keeper *k, struct changes *list, struct err *refused, struct err *e)
{
    int r = 0;

    if (!k->lost_why) {
        r = open_database(k, e);
        if (r == 0)
            r = look_at_files(k, e);
        if (r == 0)
            r = write_changes(k, list, refused, e);
        if (r == -EUCLEAN && k->remake)
            k->lost_why = mem_strdup(e->text);
        else if (r == -EUCLEAN)
            close_database(k);
    }
    if (k->lost_why) {
        r = replace_database(k, e);
        if (r == 0)
            clear_changes(list);
    }
    return r;
}

/* ---- the thread: waiting and telling ---- */

/* Somebody may mend rights, mounts and directories; the content of a file is never what it was again. */
static bool may_pass(int code)
{
    return code != -EUCLEAN && code != -EPROTO && code != -EBADMSG;
}

/* Lock held. What was not written goes back before what came meanwhile. */
static void failed(struct keeper *k, struct changes *list, const struct err *e)
{
    append_changes(list, &k->waiting);
    append_changes(&k->waiting, list);
    k->news |= k->error.code != e->code;
    k->failing = true;
    k->error = *e;
    k->broken = !may_pass(e->code);
    if (k->broken)
        clear_changes(&k->waiting);
    k->retry_ms = k->retry_ms ? k->retry_ms * 2 : KEEPER_RETRY_MIN_MS;
    if (k->retry_ms > KEEPER_RETRY_MAX_MS)
        k->retry_ms = KEEPER_RETRY_MAX_MS;
    k->retry_at = clock_now(NULL) + (clock_ns)k->retry_ms * CLOCK_NS_PER_MS;
}

/* Lock held. */
static void succeeded(struct keeper *k, uint64_t ticket, uint64_t remade, const struct err *refused)
{
    if (k->done < ticket)
        k->done = ticket;
    k->news |= k->error.code != refused->code || k->remade != remade;
    k->error = *refused;
    k->failing = false;
    k->retry_ms = 0;
    k->retry_at = 0;
    if (k->owed && k->done >= k->owed) {
        k->owed = 0;
        k->late = false;
        k->news = true;
    }
}

static void tell_behind(struct keeper *k, bool behind)
{
    if (k->behind)
        k->behind(k->behind_arg, behind);
}

/* Lock held, and given up meanwhile. */
static void write_waiting(struct keeper *k)
{
    struct changes list = k->waiting;
    uint64_t ticket = k->submitted, remade = k->remade;
    struct err e = {0}, refused = {0};
    int r;

    k->waiting = (struct changes){0};
    pthread_mutex_unlock(&k->lock);
    r = attempt(k, &list, &refused, &e);
    /* Many changes take a while to free: not under the lock. */
    if (r == 0)
        clear_changes(&list);
    else
        tell_behind(k, true);
    pthread_mutex_lock(&k->lock);
    if (r < 0)
        failed(k, &list, &e);
    else
        succeeded(k, ticket, remade, &refused);
}

/* A file that could not be opened at first is work of its own. */
static bool has_work(const struct keeper *k)
{
    return (k->waiting.first || k->failing) && !k->broken;
}

static void wait_for_work(struct keeper *k)
{
    if (has_work(k) && k->retry_at) {
        struct timespec until = {.tv_sec = k->retry_at / CLOCK_NS_PER_S, .tv_nsec = k->retry_at % CLOCK_NS_PER_S};

        pthread_cond_timedwait(&k->work, &k->lock, &until);
    } else {
        pthread_cond_wait(&k->work, &k->lock);
    }
}

static bool ready(const struct keeper *k)
{
    return has_work(k) && (k->stop || k->retry_at == 0 || clock_now(NULL) >= k->retry_at);
}

static void *run(void *arg)
{
    struct keeper *k = arg;
    bool last = false;

    pthread_mutex_lock(&k->lock);
    while (!last) {
        bool news, written;

        while (!ready(k) && !k->stop)
            wait_for_work(k);
        last = k->stop;
        if (ready(k))
            write_waiting(k);
        news = k->news && !last;
        written = !k->waiting.first && !k->failing;
        pthread_mutex_unlock(&k->lock);
        if (written)
            tell_behind(k, false);
        pthread_cond_signal(&k->progress);
        if (news && k->wake)
            k->wake(k->wake_arg);
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    close_database(k);
    return NULL;
}

/* ---- the door ---- */

static void start(struct keeper *k)
{
    pthread_condattr_t attributes;
    sigset_t all, before;
    int r;

    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&k->work, &attributes);
    pthread_cond_init(&k->progress, &attributes);
    pthread_condattr_destroy(&attributes);
    /* Signals are the main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&k->thread, NULL, run, k);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert(r == 0);
}

struct keeper *keeper_new(const struct keeper_options *options, struct db *db, const struct err *why)
{
    struct keeper *k = mem_new(struct keeper);

    assert(options->n_statements <= KEEPER_STATEMENTS_MAX);
    k->path = mem_strdup(options->path);
    k->schema = options->schema;
    k->sql = options->statements;
    k->n_statements = options->n_statements;
    k->remake = options->remake;
    k->wake = options->wake;
    k->wake_arg = options->wake_arg;
    k->behind = options->behind;
    k->behind_arg = options->behind_arg;
    k->db = db;
    if (!db) {
        k->error = *why;
        if (k->remake && !options->was_read)
            k->lost_why = mem_printf("it could not be read at the start: %s", why->text);
    } else if (prepare(k, &k->error) < 0) {
        close_database(k);
    }
    k->failing = k->error.code != 0;
    k->broken = k->error.code && !may_pass(k->error.code);
    k->news = k->error.code != 0;
    start(k);
    return k;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    keeper_flush(k);
    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_cond_signal(&k->work);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    pthread_cond_destroy(&k->work);
    pthread_cond_destroy(&k->progress);
    pthread_mutex_destroy(&k->lock);
    clear_changes(&k->waiting);
    clear_changes(&k->gathered);
    mem_free(k->remade_why);
    mem_free(k->lost_why);
    mem_free(k->path);
    mem_free(k);
}

void keeper_put(struct keeper *k, const char *key, unsigned statement, bool with_digest,
                const struct db_value *values, size_t n)
{
    assert(statement < k->n_statements && n + with_digest <= DB_COLUMNS_MAX);
    put_change(&k->gathered, change_new(key, statement, with_digest, values, n));
}

uint64_t keeper_flush(struct keeper *k)
{
    bool signal = false;
    uint64_t ticket;

    pthread_mutex_lock(&k->lock);
    if (k->gathered.first) {
        /* Changes to what is gone would make a part look like the whole. */
        if (k->broken || k->remade != k->seen_remade)
            clear_changes(&k->gathered);
        else
            append_changes(&k->waiting, &k->gathered);
        if (k->waiting.first) {
            k->submitted++;
            signal = true;
        }
    }
    ticket = k->broken ? UINT64_MAX : k->submitted;
    pthread_mutex_unlock(&k->lock);
    /* Without the lock: who wakes up would only wait for it. */
    if (signal)
        pthread_cond_signal(&k->work);
    return ticket;
}

bool keeper_done(struct keeper *k, uint64_t ticket)
{
    bool done;

    pthread_mutex_lock(&k->lock);
    done = k->done >= ticket;
    pthread_mutex_unlock(&k->lock);
    return done;
}

bool keeper_wait(struct keeper *k, uint64_t ticket, unsigned ms)
{
    clock_ns at = clock_now(NULL) + (clock_ns)ms * CLOCK_NS_PER_MS;
    struct timespec until = {.tv_sec = at / CLOCK_NS_PER_S, .tv_nsec = at % CLOCK_NS_PER_S};
    bool done;
    int r = 0;

    pthread_mutex_lock(&k->lock);
    while (k->done < ticket && !k->late && !k->failing && r == 0)
        r = pthread_cond_timedwait(&k->progress, &k->lock, &until);
    done = k->done >= ticket;
    if (!done && !k->broken) {
        k->owed = ticket;
        k->news |= r == ETIMEDOUT;
        k->late |= r == ETIMEDOUT;
    }
    pthread_mutex_unlock(&k->lock);
    return done;
}

bool keeper_news(struct keeper *k, struct keeper_state *ret)
{
    bool news;

    pthread_mutex_lock(&k->lock);
    news = k->news;
    if (news) {
        *ret = (struct keeper_state){
            .error = k->error, .broken = k->broken, .remade = k->remade, .remade_why = mem_strdup(k->remade_why)};
        if (k->late && !k->error.code)
            err_set(&ret->error, -ETIMEDOUT, k->path, "", "the disk does not answer in time");
        k->news = false;
        k->seen_remade = k->remade;
    }
    pthread_mutex_unlock(&k->lock);
    return news;
}
