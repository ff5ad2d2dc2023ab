/*
 * Opening and closing, alarms, views, and the queue of ports to write back.
 *
 * At the start: the directory and its lock, the key, config.db, observed.db, and a first commit of what was read.
 * What is wrong with config.db stops allocations and later edits; what is wrong with observed.db costs its content.
 * Neither stops the daemon, unless a newer version made the file or it may not be opened at all.
 */
#include "store/store.h"

#include "base/text.h"
#include "store/expiry.h"
#include "store/files.h"
#include "store/migrations.h"
#include "store/state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXPIRY_POLL_S = 3600 };

/* ---- alarms ---- */

void store_set_alarm(struct store *s, const char *name, char **current, const char *text)
{
    if (text_equal(*current, text))
        return;
    mem_free(*current);
    *current = mem_strdup(text);
    if (s->options.alarm)
        s->options.alarm(s->options.alarm_arg, name, text);
}

static void set_config_alarm(struct store *s, const struct keeper_state *state)
{
    if (state->error.code == 0)
        store_set_alarm(s, "config.db", &s->config_alarm, NULL);
    else
        store_set_alarm(s, "config.db", &s->config_alarm, state->error.text);
}

static void set_observed_alarms(struct store *s)
{
    const struct keeper_state *state = &s->observed_state;
    _cleanup_(mem_free_p) char *text = NULL;

    if (state->error.code)
        text = mem_printf("the state is not kept over a restart: %s", state->error.text);
    else if (state->remade_why && !s->whole)
        text = mem_printf("observed.db was made anew and waits for all that the agent says: %s", state->remade_why);
    store_set_alarm(s, "observed.db", &s->observed_alarm, text);
    if (s->kept_whole)
        store_set_alarm(s, "key", &s->key_alarm, NULL);
}

/* The file is empty: what the store has itself is put again, the rest is asked for. */
static void observed_remade(struct store *s)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&s->records, &i, &e);)
        ((struct record *)e->value)->unsaved = true;
    for (size_t i = 0; map_next(&s->secrets, &i, &e);) {
        const struct secret_entry *entry = e->value;

        if (entry->secret)
            row_put_secret(s, entry->secret);
    }
    for (size_t i = 0; i < s->notes.n; i++)
        if (s->notes.items[i].bytes)
            row_put_note(s, &s->notes.items[i]);
    if (s->events)
        row_put_meta(s, "epoch", 0); /* events from before are not there any more: the next start begins anew */
    s->whole = s->kept_whole = false;
    s->kept_revision = s->kept_claims = 0;
    s->fetch_wanted = true;
}

void store_take_news(struct store *s)
{
    struct keeper_state state;

    if (keeper_news(s->config, &state)) {
        set_config_alarm(s, &state);
        s->ports_waited |= state.error.code == 0;
        s->config_broken = state.broken;
        mem_free(state.remade_why);
    }
    if (keeper_news(s->observed, &state)) {
        bool remade = state.remade != s->observed_state.remade;

        mem_free(s->observed_state.remade_why);
        s->observed_state = state;
        if (remade)
            observed_remade(s);
    }
    set_observed_alarms(s);
}

/* ---- what is on the disk, and what was published ---- */

static const char behind_mark = '!', level_mark = '-';

/* A byte of the lock's file, which is there before the disk is full and written in its place. */
static bool write_mark(const struct store *s, bool behind)
{
    return pwrite(s->lock_fd, behind ? &behind_mark : &level_mark, 1, 0) == 1;
}

/* Where not even that can be done, it is tried again with the next attempt to write. */
static void set_behind(void *arg, bool behind)
{
    struct store *s = arg;

    if (s->behind != behind && write_mark(s, behind))
        s->behind = behind;
}

static void read_behind(struct store *s)
{
    char mark;

    /* Since when it can't be written, nobody knows. */
    if ((fcntl(s->lock_fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
        s->behind = true;
    else if (pread(s->lock_fd, &mark, 1, 0) == 1)
        s->behind = mark == behind_mark;
    else
        (void)write_mark(s, false); /* makes room for it; without, it is as if there were none */
}

/* ---- opening ---- */

static int load_key(struct store *s, struct err *e)
{
    _cleanup_(mem_free_p) char *path = mem_printf("%s/key", s->directory);

    if (s->options.key_file)
        return crypt_key_load(s->options.key_file, false, &s->key, e);
    return crypt_key_load(path, true, &s->key, e);
}

/* Whether the daemon goes on without the database. */
static bool can_go_on(int code)
{
    return code == -EUCLEAN || code == -ENOSPC || code == -EIO || code == -EBADMSG;
}

static void clear_config(struct store *s);

/* What a disk holds that is full, or can't be written any more, is read all the same. ret_full: why the database is
 * good for nothing else. */
static int open_to_load(const char *path, const struct db_schema *schema, struct db **ret_db, struct err *ret_full,
                        struct err *e)
{
    int r = db_open(path, schema, ret_db, e);

    if ((r == -ENOSPC || r == -EROFS) && file_exists(path)) {
        *ret_full = *e;
        r = db_open_unwritten(path, schema, ret_db, e);
    }
    return r;
}

static int open_config(struct store *s, struct err *e)
{
    const struct keeper_options options = {
        .path = s->config_path,
        .schema = &config_schema,
        .statements = config_statements,
        .n_statements = n_config_statements,
        .wake = s->options.wake,
        .wake_arg = s->options.wake_arg,
    };
    bool existed = file_exists(s->config_path);
    struct err full = {0};
    struct db *db = NULL;
    int r = open_to_load(s->config_path, &config_schema, &db, &full, e);

    if (r == 0) {
        r = load_config(s, db, e);
        if (r < 0)
            clear_config(s);
        if (r < 0 || full.code) {
            db_close(db);
            db = NULL;
        }
    }
    /* What is right and can't be copied must not be taken for lost. */
    if (r < 0 && (full.code == -EROFS || !can_go_on(r)))
        return r;
    /* Ports that can't be read must not be given to others: nothing is allocated until the file is mended. */
    if (r < 0 && existed)
        e->code = -EUCLEAN;
    s->config = keeper_new(&options, db, r < 0 ? e : &full);
    return 0;
}

static void clear_observed(struct store *s);

/* A damaged file is put out of the way here, so that a second attempt finds none. */
static int read_observed(struct store *s, struct loading *l, struct db **ret_db, struct err *ret_full, struct err *e)
{
    int r = open_to_load(s->observed_path, &observed_schema, ret_db, ret_full, e);

    if (r < 0)
        return r;
    r = load_observed(s, *ret_db, l, e);
    if (r < 0)
        clear_observed(s);
    if (r < 0 || ret_full->code) {
        db_close(*ret_db);
        *ret_db = NULL;
    }
    return r;
}

static int open_observed(struct store *s, struct loading *l, struct err *e)
{
    struct keeper_options options = {
        .path = s->observed_path,
        .schema = &observed_schema,
        .statements = observed_statements,
        .n_statements = n_observed_statements,
        .remake = true,
        .wake = s->options.wake,
        .wake_arg = s->options.wake_arg,
        .behind = set_behind,
        .behind_arg = s,
    };
    _cleanup_(mem_free_p) char *why = NULL, *aside = NULL;
    struct err full = {0};
    struct db *db = NULL;
    int r = read_observed(s, l, &db, &full, e);

    options.was_read = r == 0;
    if (r == -EUCLEAN) {
        why = mem_strdup(e->text);
        r = db_set_aside(s->observed_path, &aside, e);
        if (r == 0) {
            s->observed_state.remade_why = mem_printf("%s; what there was is kept as %s", why, aside);
            r = db_open(s->observed_path, &observed_schema, &db, e);
        }
    }
    if (r < 0 && !can_go_on(r))
        return r;
    /* What was published must not be taken back: the agent says it again. No event's number comes twice. */
    if (s->behind) {
        s->whole = false;
        l->epoch = 0;
    }
    s->observed = keeper_new(&options, db, r < 0 ? e : &full);
    return 0;
}

static void copy_options(struct store *s, const struct store_options *o)
{
    s->options = *o;
    s->options.key_file = mem_strdup(o->key_file);
    s->options.default_gateway = mem_strdup(o->default_gateway);
    s->options.reserved = mem_dup(o->reserved, o->n_reserved * sizeof(*o->reserved));
    s->directory = mem_strdup(o->directory);
    s->options.directory = s->directory;
    s->config_path = mem_printf("%s/config.db", o->directory);
    s->observed_path = mem_printf("%s/observed.db", o->directory);
}

static void tell_lost(struct store *s, const struct loading *l)
{
    _cleanup_(mem_free_p) char *text = NULL;

    if (!l->n_lost && !l->n_lost_secrets)
        return;
    text = mem_printf("the key does not fit what is encrypted in observed.db: %zu services and %zu secrets were "
                      "dropped and have to come from the agent again",
                      l->n_lost, l->n_lost_secrets);
    store_set_alarm(s, "key", &s->key_alarm, text);
}

static int open_databases(struct store *s, struct loading *l, struct err *e)
{
    int r = open_config(s, e);

    if (r == 0)
        r = open_observed(s, l, e);
    if (r < 0)
        return r;
    if (s->options.default_gateway)
        port_space_get(s, s->options.default_gateway, true);
    s->complete = s->whole;
    store_take_news(s);
    tell_lost(s, l);
    loading_make_events(s, l);
    loading_drop_orphans(s, l);
    commit_loaded(s);
    return 0;
}

int store_open(const struct store_options *options, struct store **ret_store, struct err *e)
{
    struct store *s = mem_new(struct store);
    struct loading loading = {0};
    struct err own = {0};
    int r;

    e = e ? e : &own;
    copy_options(s, options);
    s->lock_fd = -1;
    s->stale = true;
    s->next_service_id = s->next_form_id = 1;
    pthread_mutex_init(&s->view_lock, NULL);
    buf_init(&s->scratch, 0);
    buf_init(&s->scratch2, 0);
    s->view = view_new(NULL);
    r = directory_lock(s->directory, &s->lock_fd, e);
    if (r == 0)
        read_behind(s);
    if (r == 0)
        r = load_key(s, e);
    if (r == 0)
        r = open_databases(s, &loading, e);
    loading_clear(&loading);
    if (r < 0) {
        store_close(s);
        return r;
    }
    *ret_store = s;
    return 0;
}

/* ---- closing ---- */

static void clear_config(struct store *s)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&s->ports, &i, &e);)
        port_row_free(e->value);
    map_clear(&s->ports);
    for (size_t i = 0; map_next(&s->gateways, &i, &e);)
        port_space_free(e->value);
    map_clear(&s->gateways);
    pointers_clear(&s->new_gateways);
    pmap_unref(s->documents, &view_documents);
    pmap_unref(s->revisions, &view_revisions);
    s->documents = s->revisions = NULL;
    s->n_gone_ports = 0;
    s->revision = 0;
}

static void clear_observed(struct store *s)
{
    struct map_entry *e;

    documents_step_on(s);
    for (size_t i = 0; map_next(&s->listeners, &i, &e);)
        listener_free(e->value);
    map_clear(&s->listeners);
    for (size_t i = 0; map_next(&s->secrets, &i, &e);)
        secret_entry_free(e->value);
    map_clear(&s->secrets);
    for (size_t i = 0; map_next(&s->records, &i, &e);)
        record_free(e->value);
    map_clear(&s->records);
    pointers_clear(&s->changed);
    pointers_clear(&s->touched);
    pointers_clear(&s->dirty);
    pointers_clear(&s->waiting);
    notes_clear(&s->notes);
    s->whole = s->kept_whole = false;
    s->kept_revision = s->claims = s->kept_claims = 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    keeper_free(s->config);
    keeper_free(s->observed);
    clear_observed(s);
    clear_config(s);
    pointers_clear(&s->gone_ports);
    mem_free(s->freed);
    pointers_clear(&s->write_backs);
    pointers_clear(&s->failed_write_backs);
    mem_free(s->write_back_alarm);
    view_unref(s->view);
    event_ring_free(s->events);
    pthread_mutex_destroy(&s->view_lock);
    crypt_key_free(s->key);
    mem_free(s->wanted);
    mem_free(s->config_alarm);
    mem_free(s->observed_alarm);
    mem_free(s->key_alarm);
    mem_free(s->observed_state.remade_why);
    buf_clear(&s->scratch);
    buf_clear(&s->scratch2);
    mem_free((char *)s->options.key_file);
    mem_free((char *)s->options.default_gateway);
    mem_free((struct port_range *)s->options.reserved);
    mem_free(s->directory);
    mem_free(s->config_path);
    mem_free(s->observed_path);
    /* Last: nobody else may open what is still being written. */
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    mem_free(s);
}

/* ---- views ---- */

struct view *store_view(struct store *s)
{
    struct view *v;

    pthread_mutex_lock(&s->view_lock);
    v = view_ref(s->view);
    pthread_mutex_unlock(&s->view_lock);
    return v;
}

struct event_ring *store_events(struct store *s)
{
    return s->events;
}

struct view_delta *store_initial_delta(struct store *s)
{
    return view_delta_initial(s->view);
}

const char *const *store_wanted_secrets(struct store *s, size_t *ret_n)
{
    *ret_n = s->n_wanted;
    return s->wanted;
}

uint64_t store_wanted_version(const struct store *s)
{
    return s->wanted_version;
}

/* ---- polling ---- */

/* Returns when the next one may be tried again. */
static clock_ns revive_write_backs(struct store *s, clock_ns now)
{
    clock_ns next = INT64_MAX;
    size_t kept = 0;

    for (size_t i = 0; i < s->failed_write_backs.count; i++) {
        struct port_row *row = s->failed_write_backs.items[i];

        if (!row)
            continue;
        if (row->retry_at <= now) {
            pointers_add(&s->write_backs, row);
            continue;
        }
        next = row->retry_at < next ? row->retry_at : next;
        s->failed_write_backs.items[kept++] = row;
    }
    s->failed_write_backs.count = kept;
    return next;
}

static bool is_failing(const struct port_row *row)
{
    return row && row->live && !row->told && row->why;
}

/* Of those that fail, the first by name; counts them. */
static const struct port_row *find_failing(const struct pointers *list, size_t from, const struct port_row *first,
                                           unsigned *n)
{
    for (size_t i = from; i < list->count; i++) {
        const struct port_row *row = list->items[i];

        if (!is_failing(row))
            continue;
        ++*n;
        if (!first || strcmp(row->key, first->key) < 0)
            first = row;
    }
    return first;
}

static void tell_failing(struct store *s)
{
    unsigned n = 0;
    const struct port_row *first = find_failing(&s->failed_write_backs, 0, NULL, &n);
    _cleanup_(mem_free_p) char *text = NULL;

    first = find_failing(&s->write_backs, s->write_backs_at, first, &n);
    if (n)
        text = mem_printf("%u allocated %s not told to the agent, of %s: %s", n, n == 1 ? "port is" : "ports are",
                          first->exposure, first->why);
    store_set_alarm(s, "ports", &s->write_back_alarm, text);
}

static void tell_expiry(void *arg, const char *kind, const char *name, enum event_change change)
{
    store_announce(arg, kind, &name, 1, change);
}

/* Tells of what runs out; returns when to look again. The wall clock may be set: it is looked at now and then. */
static clock_ns poll_expiry(struct store *s)
{
    double now = clock_wall();

    if (now >= s->expiry_next || now < s->expiry_looked) {
        s->expiry_next = expiry_look(s->view, s->expiry_looked ? s->expiry_looked : now, now, tell_expiry, s);
        s->expiry_looked = now;
    }
    if (isinf(s->expiry_next))
        return INT64_MAX;
    return clock_now(NULL) + CLOCK_NS_PER_MS +
           (clock_ns)(fmin(s->expiry_next - now, EXPIRY_POLL_S) * (double)CLOCK_NS_PER_S);
}

clock_ns store_poll(struct store *s, bool *ret_commit, bool *ret_fetch)
{
    clock_ns next = revive_write_backs(s, clock_now(NULL)), look = poll_expiry(s);

    if (s->write_back_alarm)
        tell_failing(s);
    store_take_news(s);
    *ret_commit = s->changed.count > 0 || s->whole != s->kept_whole || s->revision != s->kept_revision ||
                  (s->waiting.count > 0 && (s->ports_waited || s->ports_released));
    *ret_fetch = s->fetch_wanted && !s->syncing;
    if (*ret_fetch)
        s->fetch_wanted = false;
    return look < next ? look : next;
}

/* ---- ports to be written back ---- */

bool store_next_write_back(struct store *s, struct port_write_back *ret)
{
    while (!s->options.read_only && s->write_backs_at < s->write_backs.count) {
        struct port_row *row = s->write_backs.items[s->write_backs_at++];
        const char *rid;

        if (!row)
            continue;
        rid = strrchr(row->exposure, '.');
        if (!row->live || row->told || !rid) {
            row->queued = false;
            continue;
        }
        ret->path = mem_strndup(row->exposure, (size_t)(rid - row->exposure));
        ret->rid = mem_strdup(rid + 1);
        ret->port = row->port;
        return true;
    }
    pointers_clear(&s->write_backs);
    s->write_backs_at = 0;
    return false;
}

void port_write_back_clear(struct port_write_back *w)
{
    mem_free(w->path);
    mem_free(w->rid);
    *w = (struct port_write_back){0};
}

static clock_ns retry_delay(const struct port_row *row)
{
    clock_ns seconds = WRITE_BACK_RETRY_S;

    for (unsigned i = 0; i < row->failures && seconds < WRITE_BACK_RETRY_MAX_S; i++)
        seconds *= 2;
    return (seconds < WRITE_BACK_RETRY_MAX_S ? seconds : WRITE_BACK_RETRY_MAX_S) * CLOCK_NS_PER_S;
}

/* It may be told more than once of one that was given out once. */
static bool has_pointer(const struct pointers *list, const void *item)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i] == item)
            return true;
    return false;
}

/* Whether it failed in another way than before. */
static bool write_back_failed(struct store *s, struct port_row *row, const char *why)
{
    bool news = !text_equal(row->why, why);

    row->retry_at = clock_now(NULL) + retry_delay(row);
    row->failures++;
    if (news) {
        mem_free(row->why);
        row->why = mem_strdup(why);
    }
    if (!has_pointer(&s->failed_write_backs, row))
        pointers_add(&s->failed_write_backs, row);
    return news;
}

bool store_write_back_done(struct store *s, const char *path, const char *rid, const char *why)
{
    _cleanup_(mem_free_p) char *exposure = mem_printf("%s.%s", path, rid);
    struct record *r = map_gets(&s->records, path);
    struct map_entry *e;
    bool news = why == NULL, other = false;

    for (size_t i = 0; map_next(&s->gateways, &i, &e);) {
        struct port_row *row = ports_find(s, e->value, exposure);

        if (!row || !row->queued || row->told)
            continue;
        if (why) {
            other |= write_back_failed(s, row, why);
            continue;
        }
        other |= row->why != NULL;
        row->told = true;
        row->queued = false;
        row->failures = 0;
        mem_free(take_ptr(row->why));
        row_put_port(s, row);
    }
    if (other && r && r->service)
        record_again(s, r); /* its exposure says so */
    tell_failing(s);
    keeper_flush(s->config);
    /* For the time of the next try, and the exposure's state. */
    if (s->options.wake && (why || other))
        s->options.wake(s->options.wake_arg);
    return news || other;
}
