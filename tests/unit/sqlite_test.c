/* The door to SQLite: what is written is there, what is damaged or newer is told. */
#include "store/sqlite.h"

#include "base/mem.h"
#include "store/migrations.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const migrations[] = {
    "CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT, bytes BLOB, digest INTEGER)",
    "ALTER TABLE things RENAME COLUMN text TO name",
    "CREATE TABLE more (id INTEGER PRIMARY KEY)",
};
static const struct db_schema version1 = {0x1234, migrations, 1, false};
static const struct db_schema version2 = {0x1234, migrations, 2, true};
static const struct db_schema version3 = {0x1234, migrations, 3, false};
static const struct db_schema foreign = {0x4321, migrations, 1, false};

static char directory[256], path[300];

static void begin(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(directory, sizeof(directory), "%s/igwd-sqlite-XXXXXX", base ? base : P_tmpdir);
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof(path), "%s/a.db", directory);
}

static void end(void)
{
    char pattern[320];
    glob_t found = {0};

    snprintf(pattern, sizeof(pattern), "%s/*", directory);
    glob(pattern, 0, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++)
        unlink(found.gl_pathv[i]);
    globfree(&found);
    CHECK(rmdir(directory) == 0);
}

static struct db *open_db(const struct db_schema *schema)
{
    struct err e = {0};
    struct db *db;

    if (db_open(path, schema, &db, &e) < 0)
        test_fail(__FILE__, __LINE__, "the database does not open: %s", e.text);
    return db;
}

static int put(struct db *db, int64_t id, const char *text, const void *bytes, size_t n, struct err *e)
{
    struct db_value values[] = {db_int(id), db_text(text), db_blob(bytes, n), db_int(0)};
    struct db_statement *s = NULL;
    int r;

    values[3] = db_int(db_digest(values, 3));
    r = db_prepare(db, "INSERT OR REPLACE INTO things VALUES (?, ?, ?, ?)", &s, e);
    if (r == 0)
        r = db_run(s, values, 4, e);
    db_statement_free(s);
    return r;
}

static int count(struct db *db)
{
    const struct db_value *row;
    struct db_statement *s;
    size_t n;
    int r, rows = 0;

    CHECK_INT(db_prepare(db, "SELECT * FROM things", &s, NULL), 0);
    while ((r = db_step(s, &row, &n, NULL)) == 1) {
        CHECK(db_row_intact(row, n));
        rows++;
    }
    CHECK_INT(r, 0);
    db_statement_free(s);
    return rows;
}

TEST(what_is_written_comes_back_the_same)
{
    const uint8_t bytes[] = {0, 1, 255, 0};
    const struct db_value *row;
    struct db_statement *s;
    struct db *db;
    size_t n;

    begin();
    db = open_db(&version1);
    CHECK_INT(put(db, -5, "a \xc3\xa4 b", bytes, sizeof(bytes), NULL), 0);
    CHECK_INT(put(db, 7, NULL, NULL, 0, NULL), 0);
    db_close(db);
    db = open_db(&version1);
    CHECK_INT(db_prepare(db, "SELECT * FROM things ORDER BY id", &s, NULL), 0);
    CHECK_INT(db_step(s, &row, &n, NULL), 1);
    CHECK_INT(n, 4);
    CHECK_INT(row[0].number, -5);
    CHECK_STR(row[1].bytes, "a \xc3\xa4 b");
    CHECK_MEM(row[2].bytes, row[2].len, bytes, sizeof(bytes));
    CHECK(db_row_intact(row, n));
    CHECK_INT(db_step(s, &row, &n, NULL), 1);
    CHECK_INT(row[1].type, DB_NULL);
    CHECK_INT(row[2].type, DB_BLOB);
    CHECK(db_row_intact(row, n));
    CHECK_INT(db_step(s, &row, &n, NULL), 0);
    db_statement_free(s);
    db_close(db);
    end();
}

TEST(a_database_is_nobody_elses_to_read)
{
    struct stat status;
    struct db *db;

    begin();
    umask(0);
    db = open_db(&version1);
    CHECK(stat(path, &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0600);
    db_close(db);
    end();
}

TEST(a_rolled_back_transaction_leaves_nothing)
{
    struct db *db;

    begin();
    db = open_db(&version1);
    CHECK_INT(db_begin(db, NULL), 0);
    CHECK_INT(put(db, 1, "a", NULL, 0, NULL), 0);
    db_rollback(db);
    db_rollback(db);
    CHECK_INT(count(db), 0);
    CHECK_INT(db_begin(db, NULL), 0);
    CHECK_INT(put(db, 1, "a", NULL, 0, NULL), 0);
    CHECK_INT(db_commit(db, NULL), 0);
    CHECK_INT(count(db), 1);
    db_close(db);
    end();
}

TEST(migrations_go_forward_and_keep_the_rows)
{
    struct db_statement *s;
    struct db *db;

    begin();
    db = open_db(&version1);
    CHECK_INT(put(db, 1, "a", NULL, 0, NULL), 0);
    db_close(db);
    db = open_db(&version3);
    CHECK_INT(count(db), 1);
    CHECK_INT(db_prepare(db, "SELECT name FROM things", &s, NULL), 0);
    db_statement_free(s);
    CHECK_INT(db_prepare(db, "SELECT id FROM more", &s, NULL), 0);
    db_statement_free(s);
    db_close(db);
    end();
}

TEST(a_migration_that_fails_leaves_the_version_before)
{
    const char *const bad[] = {migrations[0], "CREATE TABLE fine (a); CREATE TABLE things (a)"};
    const struct db_schema schema = {0x1234, bad, 2, false};
    struct db_statement *s;
    struct db *db;

    begin();
    db = open_db(&version1);
    db_close(db);
    CHECK(db_open(path, &schema, &db, NULL) < 0);
    db = open_db(&version1);
    CHECK(db_prepare(db, "SELECT a FROM fine", &s, NULL) < 0);
    db_close(db);
    end();
}

TEST(a_newer_version_is_refused_with_file_and_versions)
{
    struct err e = {0};
    struct db *db;

    begin();
    db = open_db(&version3);
    db_close(db);
    CHECK_INT(db_open(path, &version2, &db, &e), -EPROTO);
    CHECK_STR(e.object, path);
    CHECK(strstr(e.text, "version 3") != NULL);
    CHECK(strstr(e.text, "up to 2") != NULL);
    end();
}

/* A bit that flips in the number is no reason not to start. */
TEST(a_version_that_no_igwd_will_have_is_damage)
{
    struct err e = {0};
    struct db_statement *s;
    struct db *db;

    for (int bit = 10; bit < 32; bit++) {
        char sql[64];

        begin();
        snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", (int)(3 | 1U << bit));
        db = open_db(&version3);
        CHECK_INT(db_prepare(db, sql, &s, NULL), 0);
        CHECK_INT(db_run(s, NULL, 0, NULL), 0);
        db_statement_free(s);
        db_close(db);
        CHECK_INT(db_open(path, &version3, &db, &e), -EUCLEAN);
        end();
    }
}

TEST(somebody_elses_database_is_refused)
{
    struct err e = {0};
    struct db *db;

    begin();
    db = open_db(&foreign);
    db_close(db);
    CHECK_INT(db_open(path, &version1, &db, &e), -EUCLEAN);
    end();
}

static void fill(void)
{
    struct db *db = open_db(&version1);
    char text[200];

    CHECK_INT(db_begin(db, NULL), 0);
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "%0150d", i);
        CHECK_INT(put(db, i, text, text, 100, NULL), 0);
    }
    CHECK_INT(db_commit(db, NULL), 0);
    db_close(db);
}

static void overwrite(off_t at, size_t n, uint64_t *seed)
{
    int fd = open(path, O_RDWR);

    CHECK(fd >= 0);
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)test_random(seed);

        CHECK(pwrite(fd, &byte, 1, at + (off_t)i) == 1);
    }
    close(fd);
}

TEST(a_file_that_is_no_database_is_damaged)
{
    struct err e = {0};
    uint64_t seed = 1;
    struct db *db;

    begin();
    fill();
    overwrite(0, 100, &seed);
    CHECK_INT(db_open(path, &version1, &db, &e), -EUCLEAN);
    CHECK_STR(e.object, path);
    end();
}

TEST(an_empty_file_is_damaged)
{
    struct err e = {0};
    struct db *db;

    begin();
    fill();
    CHECK(truncate(path, 0) == 0);
    CHECK_INT(db_open(path, &version1, &db, &e), -EUCLEAN);
    end();
}

TEST(a_truncated_file_is_damaged)
{
    struct err e = {0};
    struct stat status;
    struct db *db;

    begin();
    fill();
    CHECK(stat(path, &status) == 0);
    CHECK(truncate(path, status.st_size / 2) == 0);
    CHECK_INT(db_open(path, &version1, &db, &e), -EUCLEAN);
    end();
}

/* Wherever bytes are overwritten: either the opening or the digest of a row tells, or all rows are as they were. */
TEST(damage_anywhere_is_seen)
{
    uint64_t seed = 7;
    int seen = 0;

    begin();
    for (int i = 0; i < 40; i++) {
        const struct db_value *row;
        struct db_statement *s;
        struct stat status;
        struct db *db;
        bool intact = true;
        int r = 0, rows = 0;
        size_t n;

        unlink(path);
        fill();
        CHECK(stat(path, &status) == 0);
        overwrite((off_t)(test_random(&seed) % (uint64_t)(status.st_size - 64)), 16, &seed);
        if (db_open(path, &version1, &db, NULL) < 0) {
            seen++;
            continue;
        }
        CHECK_INT(db_prepare(db, "SELECT * FROM things", &s, NULL), 0);
        while (intact && (r = db_step(s, &row, &n, NULL)) == 1) {
            intact = db_row_intact(row, n);
            rows++;
        }
        db_statement_free(s);
        db_close(db);
        if (!intact || r < 0)
            seen++;
        else
            CHECK_INT(rows, 500);
    }
    CHECK(seen > 30);
    end();
}

TEST(a_lost_log_is_not_replayed_into_a_new_database)
{
    char log[320];
    struct db *db;
    pid_t pid;
    int status;

    begin();
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        db = open_db(&version1);
        put(db, 1, "old", NULL, 0, NULL);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    snprintf(log, sizeof(log), "%s-wal", path);
    CHECK(access(log, F_OK) == 0);
    unlink(path);
    db = open_db(&version1);
    CHECK_INT(count(db), 0);
    db_close(db);
    end();
}

TEST(who_has_it_open_is_named)
{
    struct err e = {0};
    char process[32], byte;
    struct db *db;
    int opened[2];
    pid_t pid;

    begin();
    db_close(open_db(&version1));
    CHECK(pipe(opened) == 0);
    pid = fork();
    if (pid == 0) {
        db = open_db(&version1);
        CHECK(write(opened[1], "x", 1) == 1);
        pause();
        _exit(0);
    }
    CHECK(read(opened[0], &byte, 1) == 1);
    CHECK_INT(db_open(path, &version1, &db, &e), -EBUSY);
    snprintf(process, sizeof(process), "process %d ", (int)pid);
    CHECK(strstr(e.text, process) && strcmp(e.object, path) == 0);
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, NULL, 0) == pid);
    close(opened[0]);
    close(opened[1]);
    db_close(open_db(&version1));
    end();
}

TEST(a_full_disk_is_told_as_such_and_what_was_there_stays)
{
    struct rlimit before, limit;
    struct err e = {0};
    struct db *db;
    char big[20000];

    begin();
    memset(big, 'x', sizeof(big));
    db = open_db(&version1);
    CHECK_INT(put(db, 1, "a", NULL, 0, NULL), 0);
    CHECK(sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == 0);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    limit = before;
    limit.rlim_cur = 16384;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_INT(put(db, 2, "b", big, sizeof(big), &e), -ENOSPC);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_INT(count(db), 1);
    CHECK_INT(put(db, 2, "b", big, sizeof(big), &e), 0);
    CHECK_INT(count(db), 2);
    db_close(db);
    end();
}

TEST(a_file_that_was_removed_is_noticed)
{
    struct db *db;

    begin();
    db = open_db(&version1);
    CHECK(!db_moved(db));
    unlink(path);
    CHECK(db_moved(db));
    db_close(db);
    end();
}

TEST(a_row_that_is_refused_is_told_from_a_fault_of_the_disk)
{
    const struct db_value value = db_text("no number");
    struct db_statement *s;
    struct err e = {0};
    struct db *db;

    begin();
    db = open_db(&version1);
    CHECK_INT(db_prepare(db, "INSERT INTO things (id) VALUES (?)", &s, NULL), 0);
    CHECK_INT(db_run(s, &value, 1, &e), -EINVAL);
    db_statement_free(s);
    db_close(db);
    end();
}

TEST(a_file_that_may_not_be_read_is_told)
{
    struct err e = {0};
    struct db *db;

    begin();
    CHECK(symlink("elsewhere", path) == 0);
    CHECK_INT(db_open(path, &version1, &db, &e), -EACCES);
    CHECK_STR(e.object, path);
    end();
}

TEST(the_newest_of_those_set_aside_are_kept)
{
    char *name = NULL, *first = NULL;

    begin();
    for (int i = 0; i < 6; i++) {
        fill();
        mem_free(name);
        CHECK_INT(db_set_aside(path, &name, NULL), 0);
        CHECK(access(name, F_OK) == 0);
        CHECK(access(path, F_OK) < 0);
        if (i == 0)
            first = mem_strdup(name);
    }
    CHECK(access(first, F_OK) < 0);
    CHECK(access(name, F_OK) == 0);
    mem_free(name);
    mem_free(first);
    end();
}

/* The clock may have been set back, and what was set aside last is what somebody looks for. */
TEST(what_is_set_aside_is_kept_however_old_its_time_makes_it)
{
    static const char *const later[] = {"a.db.damaged-99990101T000000.000000000Z",
                                        "a.db.damaged-99990102T000000.000000000Z",
                                        "a.db.damaged-99990103T000000.000000000Z"};
    char *name = NULL, *others[ARRAY_LEN(later)];

    begin();
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        others[i] = mem_printf("%s/%s", directory, later[i]);
        fill();
        CHECK(rename(path, others[i]) == 0);
    }
    fill();
    CHECK_INT(db_set_aside(path, &name, NULL), 0);
    CHECK(access(name, F_OK) == 0);
    CHECK(access(others[0], F_OK) < 0);
    CHECK(access(others[1], F_OK) == 0 && access(others[2], F_OK) == 0);
    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        mem_free(others[i]);
    mem_free(name);
    end();
}

TEST(the_real_layouts_can_be_made)
{
    struct db *db;

    begin();
    db = open_db(&config_schema);
    db_close(db);
    unlink(path);
    db = open_db(&observed_schema);
    db_close(db);
    end();
}
