/* The keeper: group commits, the newest wins, a disk that is full or slow, rows that are refused. */
#include "store/keeper.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PUT, DROP, SLOW, BREAK, LONG_MS = 60000 };

static const char *const migrations[] = {"CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, digest INTEGER)"};
static const struct db_schema schema = {7, migrations, 1, false};
static const char *const statements[] = {
    [PUT] = "INSERT OR REPLACE INTO t VALUES (?, ?, ?)",
    [DROP] = "DELETE FROM t WHERE id = ?",
    /* Keeps the thread busy for as long as a disk that hangs. */
    [SLOW] = "INSERT OR REPLACE INTO t SELECT 1000, max(x), NULL FROM"
             " (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?) SELECT x FROM c)",
    /* After it, the file has not the layout that it should have. */
    [BREAK] = "DROP TABLE t",
};

static char directory[256], path[300];
static struct keeper *k;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake_condition = PTHREAD_COND_INITIALIZER;
static unsigned woken;

static void on_wake(void *arg)
{
    (void)arg; /* there is one keeper */
    pthread_mutex_lock(&lock);
    woken++;
    pthread_cond_signal(&wake_condition);
    pthread_mutex_unlock(&lock);
}

static void wait_for_wake(void)
{
    pthread_mutex_lock(&lock);
    while (!woken)
        pthread_cond_wait(&wake_condition, &lock);
    woken = 0;
    pthread_mutex_unlock(&lock);
}

static void start(bool remake)
{
    const struct keeper_options options = {.path = path,
                                           .schema = &schema,
                                           .statements = statements,
                                           .n_statements = ARRAY_LEN(statements),
                                           .remake = remake,
                                           .wake = on_wake};
    struct err e = {0};
    struct db *db = NULL;

    woken = 0;
    (void)db_open(path, &schema, &db, &e); /* the keeper is told of it */
    k = keeper_new(&options, db, &e);
}

static void begin(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(directory, sizeof(directory), "%s/igwd-keeper-XXXXXX", base ? base : P_tmpdir);
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof(path), "%s/a.db", directory);
}

static void end(void)
{
    char pattern[320];
    glob_t found = {0};

    keeper_free(k);
    k = NULL;
    snprintf(pattern, sizeof(pattern), "%s/*", directory);
    glob(pattern, 0, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++)
        unlink(found.gl_pathv[i]);
    globfree(&found);
    CHECK(rmdir(directory) == 0);
}

static void put(int64_t id, const char *text)
{
    const struct db_value values[] = {db_int(id), db_text(text)};
    char key[32];

    snprintf(key, sizeof(key), "%lld", (long long)id);
    keeper_put(k, key, PUT, true, values, 2);
}

static void put_slow(const char *key)
{
    const struct db_value rounds = db_int(3000000);

    keeper_put(k, key, SLOW, false, &rounds, 1);
}

static void drop(int64_t id)
{
    const struct db_value value = db_int(id);
    char key[32];

    snprintf(key, sizeof(key), "%lld", (long long)id);
    keeper_put(k, key, DROP, false, &value, 1);
}

static void write_all(void)
{
    CHECK(keeper_wait(k, keeper_flush(k), LONG_MS));
}

/* The rows as "1=a 2=b", after the keeper has ended. */
static void check_rows(const char *expected)
{
    char text[512] = "";
    const struct db_value *row;
    struct db_statement *s;
    struct db *db;
    size_t n, len = 0;

    keeper_free(k);
    k = NULL;
    CHECK_INT(db_open(path, &schema, &db, NULL), 0);
    CHECK_INT(db_prepare(db, "SELECT * FROM t ORDER BY id", &s, NULL), 0);
    while (db_step(s, &row, &n, NULL) == 1 && len < sizeof(text)) {
        CHECK(db_row_intact(row, n));
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%lld=%s", len ? " " : "", (long long)row[0].number,
                                (const char *)row[1].bytes);
    }
    db_statement_free(s);
    db_close(db);
    CHECK_STR(text, expected);
}

TEST(what_is_flushed_is_written_and_the_newest_of_a_row_wins)
{
    begin();
    start(false);
    put(1, "a");
    put(2, "b");
    put(1, "c");
    write_all();
    put(3, "d");
    drop(3);
    put(2, "e");
    drop(4);
    put(4, "f");
    write_all();
    check_rows("1=c 2=e 4=f");
    end();
}

TEST(what_is_not_waited_for_is_written_at_the_end)
{
    begin();
    start(false);
    put(1, "a");
    keeper_flush(k);
    put(2, "b");
    check_rows("1=a 2=b");
    end();
}

TEST(a_flush_without_changes_is_done_at_once)
{
    uint64_t ticket;

    begin();
    start(false);
    ticket = keeper_flush(k);
    CHECK(keeper_done(k, ticket));
    CHECK(keeper_wait(k, ticket, 0));
    end();
}

TEST(a_slow_disk_is_waited_for_once_and_then_not_until_it_has_caught_up)
{
    struct keeper_state state;
    clock_ns before;
    uint64_t ticket;

    begin();
    start(false);
    put(1, "a");
    write_all();
    CHECK(!keeper_news(k, &state));
    put_slow("slow");
    ticket = keeper_flush(k);
    CHECK(!keeper_wait(k, ticket, 1));
    before = clock_now(NULL);
    put(2, "b");
    CHECK(!keeper_wait(k, keeper_flush(k), LONG_MS));
    CHECK(clock_now(NULL) - before < LONG_MS / 2 * (clock_ns)CLOCK_NS_PER_MS);
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, -ETIMEDOUT);
    wait_for_wake();
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, 0);
    put(3, "c");
    write_all();
    end();
}

TEST(a_row_that_is_refused_is_told_and_does_not_hold_up_the_others)
{
    const struct db_value values[] = {db_text("no number"), db_text("x")};
    struct keeper_state state;

    begin();
    start(false);
    put(1, "a");
    keeper_put(k, "bad", PUT, true, values, 2);
    put(2, "b");
    write_all();
    wait_for_wake();
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, -EINVAL);
    CHECK(!state.broken);
    /* The next one is waited for as ever. */
    put(3, "c");
    write_all();
    wait_for_wake();
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, 0);
    check_rows("1=a 2=b 3=c");
    end();
}

static void set_limit(rlim_t bytes)
{
    struct rlimit limit;

    CHECK(sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == 0);
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

TEST(what_a_full_disk_refused_is_written_later_in_its_newest_form)
{
    struct keeper_state state;
    uint64_t ticket;

    begin();
    start(false);
    put(1, "a");
    put(2, "b");
    write_all();
    set_limit(1);
    put(1, "c");
    put(3, "d");
    ticket = keeper_flush(k);
    wait_for_wake();
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, -ENOSPC);
    CHECK(!state.broken);
    CHECK(!keeper_wait(k, ticket, LONG_MS));
    put(1, "e");
    drop(2);
    ticket = keeper_flush(k);
    CHECK(!keeper_done(k, ticket));
    set_limit(RLIM_INFINITY);
    wait_for_wake();
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, 0);
    CHECK(keeper_done(k, ticket));
    check_rows("1=e 3=d");
    end();
}

/* The attempt that ends the failure began before it was handed over: it comes with the next one. */
TEST(what_was_waited_for_in_vain_while_writing_failed_is_told_when_it_is_done)
{
    const struct keeper_options options = {.path = path,
                                           .schema = &schema,
                                           .statements = statements,
                                           .n_statements = ARRAY_LEN(statements),
                                           .wake = on_wake};
    struct err full = {.code = -ENOSPC};
    struct keeper_state state;
    uint64_t first, second;

    begin();
    woken = 0;
    k = keeper_new(&options, NULL, &full);
    put_slow("first");
    first = keeper_flush(k);
    while (access(path, F_OK) < 0) /* the attempt makes the file */
        sched_yield();
    put_slow("second");
    second = keeper_flush(k);
    CHECK(!keeper_wait(k, second, LONG_MS));
    do {
        wait_for_wake();
        CHECK(keeper_news(k, &state));
    } while (!keeper_done(k, second));
    CHECK(keeper_done(k, first));
    CHECK_INT(state.error.code, 0);
    end();
}

TEST(a_database_that_could_not_be_opened_and_may_not_be_remade_takes_nothing)
{
    struct keeper_state state;
    uint64_t ticket;
    FILE *f;

    begin();
    f = fopen(path, "w");
    CHECK(f && fputs("no database", f) >= 0 && fclose(f) == 0);
    start(false);
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, -EUCLEAN);
    CHECK(state.broken);
    put(1, "a");
    ticket = keeper_flush(k);
    CHECK(!keeper_done(k, ticket));
    CHECK(!keeper_wait(k, ticket, LONG_MS));
    end();
}

TEST(after_a_database_was_remade_nothing_is_written_until_the_news_are_taken)
{
    struct keeper_state state;

    begin();
    start(true);
    put(1, "a");
    write_all();
    keeper_free(k);
    start(true);
    CHECK(unlink(path) == 0);
    put(2, "lost with the file");
    keeper_flush(k);
    wait_for_wake();
    put(3, "of a state that is gone");
    keeper_flush(k);
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.remade, 1);
    CHECK(strstr(state.remade_why, "removed or replaced") != NULL);
    mem_free(state.remade_why);
    put(4, "new");
    write_all();
    check_rows("4=new");
    end();
}

TEST(what_was_waited_for_in_vain_and_dropped_with_a_database_that_was_remade_is_owed_no_more)
{
    struct keeper_state state = {0};
    uint64_t ticket;

    begin();
    start(true);
    put_slow("slow");
    keeper_put(k, "break", BREAK, false, NULL, 0);
    put(1, "refused");
    CHECK(!keeper_wait(k, keeper_flush(k), 10)); /* it has begun */
    put(2, "dropped while it waits");
    ticket = keeper_flush(k);
    CHECK(!keeper_wait(k, ticket, LONG_MS));
    while (!state.remade || state.error.code) {
        wait_for_wake();
        mem_free(state.remade_why);
        state.remade_why = NULL;
        (void)keeper_news(k, &state); /* a wake-up may be of what was told already */
    }
    mem_free(state.remade_why);
    CHECK(keeper_wait(k, ticket, LONG_MS));
    put(3, "new");
    write_all();
    check_rows("3=new");
    end();
}

static void put_directly(struct db *db, int64_t id, const char *text)
{
    struct db_value values[] = {db_int(id), db_text(text), db_int(0)};
    struct db_statement *s;

    values[2] = db_int(db_digest(values, 2));
    CHECK_INT(db_prepare(db, statements[PUT], &s, NULL), 0);
    CHECK_INT(db_run(s, values, 3, NULL), 0);
    db_statement_free(s);
}

/* One that others may read beside. */
static const struct db_schema shared = {7, migrations, 1, true};
static const struct keeper_options options = {.path = path,
                                              .schema = &shared,
                                              .statements = statements,
                                              .n_statements = ARRAY_LEN(statements),
                                              .wake = on_wake};

/* A kill would leave the files as they are: the log has to be found under its name again. */
TEST(a_log_or_index_that_was_removed_is_made_again_and_what_stood_in_it_is_kept)
{
    static const char *const ends[] = {"-wal", "-shm"};

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct db *db;
        char name[310];

        begin();
        CHECK_INT(db_open(path, &shared, &db, NULL), 0);
        put_directly(db, 1, "a");
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        CHECK(unlink(name) == 0);
        k = keeper_new(&options, db, NULL);
        put(2, "b");
        write_all();
        CHECK(access(name, F_OK) == 0);
        check_rows("1=a 2=b");
        end();
    }
}

/* Who removes it may do so because the disk is full: what stands in it then goes nowhere. */
TEST(a_log_that_was_removed_on_a_full_disk_is_kept_until_there_is_space)
{
    struct keeper_state state;
    struct db *db;
    char name[310];

    begin();
    woken = 0;
    CHECK_INT(db_open(path, &shared, &db, NULL), 0);
    put_directly(db, 1, "a");
    snprintf(name, sizeof(name), "%s-wal", path);
    CHECK(unlink(name) == 0);
    set_limit(1);
    k = keeper_new(&options, db, NULL);
    put(2, "b");
    keeper_flush(k);
    wait_for_wake();
    CHECK(keeper_news(k, &state));
    set_limit(RLIM_INFINITY);
    CHECK_INT(state.error.code, -ENOSPC);
    wait_for_wake();
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, 0);
    CHECK(access(name, F_OK) == 0);
    check_rows("1=a 2=b");
    end();
}

/* Who reads along, until this process is done with it, or ends: where somebody does, closing writes nothing back. */
static int start_reader(const struct db_schema *of)
{
    int ends[2];
    char byte;
    pid_t pid;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct db *db;

        close(ends[0]);
        /* The second byte never comes. */
        if (db_open(path, of, &db, NULL) < 0 || write(ends[1], "", 1) != 1 || read(ends[1], &byte, 1) < 0)
            _exit(1);
        _exit(0); /* as a kill: it closes nothing itself */
    }
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 1);
    return ends[0];
}

TEST(what_stands_in_a_log_that_was_removed_is_kept_beside_a_reader)
{
    struct db *db;
    char name[310];
    int reader;

    begin();
    CHECK_INT(db_open(path, &shared, &db, NULL), 0);
    db_close(db);
    reader = start_reader(&shared); /* before this process has it open: locks are a process's */
    CHECK_INT(db_open(path, &shared, &db, NULL), 0);
    put_directly(db, 1, "a");
    snprintf(name, sizeof(name), "%s-wal", path);
    CHECK(unlink(name) == 0);
    k = keeper_new(&options, db, NULL);
    put(2, "b");
    write_all();
    close(reader);
    CHECK(wait(NULL) > 0);
    CHECK(access(name, F_OK) == 0);
    check_rows("1=a 2=b");
    end();
}

/* The file is gone, and no other can be made. */
static void lose_one(int code)
{
    struct keeper_state state;

    put(1, "lost with the file");
    keeper_flush(k);
    wait_for_wake();
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, code);
    CHECK(!state.broken);
    mem_free(state.remade_why);
}

static void be_mended(void)
{
    struct keeper_state state;

    wait_for_wake();
    CHECK(keeper_news(k, &state));
    CHECK_INT(state.error.code, 0);
    CHECK_INT(state.remade, 1);
    mem_free(state.remade_why);
    put(2, "new");
    write_all();
    check_rows("2=new");
}

/* Whoever mends it need not restart the daemon. */
TEST(a_directory_that_was_removed_and_is_there_again_is_written_to_again)
{
    char log[310];

    begin();
    start(true);
    snprintf(log, sizeof(log), "%s-wal", path);
    CHECK(unlink(log) == 0);
    CHECK(unlink(path) == 0);
    CHECK(rmdir(directory) == 0);
    lose_one(-ENOENT);
    CHECK(mkdir(directory, 0700) == 0);
    be_mended();
    end();
}

/* Rights mean nothing to root. */
static void be_somebody(bool root)
{
    enum { NOBODY = 65534 };

    if (getuid() == 0)
        CHECK((root || chown(directory, NOBODY, NOBODY) == 0) && seteuid(root ? 0 : NOBODY) == 0);
}

TEST(a_directory_whose_rights_were_taken_and_given_back_is_written_to_again)
{
    begin();
    be_somebody(false);
    start(true);
    CHECK(unlink(path) == 0);
    CHECK(chmod(directory, 0500) == 0);
    lose_one(-EACCES);
    CHECK(chmod(directory, 0700) == 0);
    be_mended();
    be_somebody(true);
    end();
}
