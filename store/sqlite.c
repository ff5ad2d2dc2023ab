/*
 * The thin door to SQLite.
 *
 * Both databases use a write-ahead log: a transaction is a few sequential writes, and after kill -9 the log is
 * replayed up to its last complete transaction. The state directory has one daemon (by its own lock), so a database
 * that is not flushed is locked for good and needs no shared memory file; one that is, is left open to readers:
 * backups are taken of it.
 *
 * A new database is made beside its final name and renamed: there is never a file that is half made.
 */
#include "store/sqlite.h"

#include "base/hash.h"
#include "base/mem.h"
#include "store/files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <libgen.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* VERSION_MAX: more migrations than there will ever be; beyond it a bit has flipped. */
enum { CACHE_KIB = 2048, WAL_KEEP_BYTES = 8 << 20, VERSION_MAX = 1023 };

/* UNWRITTEN: alone, and a migration stays a transaction in memory, which is given up at the end. */
enum how { SHARED, ALONE, UNWRITTEN };

/* SQLite's files: the database, its log, the log's index; a journal only of what others made of it. */
static const char *const ends[] = {"", "-wal", "-shm", "-journal"};

/* Which file it is: 0, 0 where there is none, or errno says another reason. */
struct identity {
    dev_t device;
    ino_t inode;
};

struct db {
    sqlite3 *handle;
    char *path;
    struct identity files[ARRAY_LEN(ends)];
    struct db_statement *begin, *commit, *rollback;
};

struct db_statement {
    struct db *db;
    sqlite3_stmt *handle;
    struct db_value row[DB_COLUMNS_MAX];
};

/* The system's errno behind an I/O error: SQLite has it in one of three places, or nowhere (0). */
static int system_errno(const struct db *db)
{
    sqlite3_file *log = NULL;
    int number = db->handle ? sqlite3_system_errno(db->handle) : 0;

    if (number || !db->handle)
        return number;
    if (sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log &&
        log->pMethods)
        (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &number);
    if (!number)
        (void)sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_LAST_ERRNO, &number);
    return number;
}

/* What the system said decides where it said something more exact than SQLite's code. */
static int io_error(const struct db *db)
{
    switch (system_errno(db)) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return -ENOSPC;
    case EACCES:
    case EPERM:
        return -EACCES;
    case EROFS:
        return -EROFS;
    default:
        return -EIO;
    }
}

static int error_code(const struct db *db, int code)
{
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* igwd's own SQL is right: the file has not the layout that its version says */
        return -EUCLEAN;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return io_error(db);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_NOMEM:
        return -ENOMEM;
    default:
        return -EINVAL;
    }
}

/* SQLite's words are about the file; they hold no values. */
static int fail(const struct db *db, int code, struct err *e)
{
    const char *words = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code);
    int result = error_code(db, code);

    if (result == -EIO || result == -ENOSPC || result == -EACCES || result == -EROFS) {
        int number = system_errno(db);

        if (number)
            return err_set(e, result, db->path, "", "%s (%s)", words, strerrordesc_np(number));
    }
    return err_set(e, result, db->path, "", "%s", words);
}

/* ---- statements ---- */

int db_prepare(struct db *db, const char *sql, struct db_statement **ret_statement, struct err *e)
{
    sqlite3_stmt *handle;
    struct db_statement *s;
    int code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL);

    if (code != SQLITE_OK)
        return fail(db, code, e);
    assert(handle && sqlite3_column_count(handle) <= DB_COLUMNS_MAX);
    s = mem_new(struct db_statement);
    s->db = db;
    s->handle = handle;
    *ret_statement = s;
    return 0;
}

void db_statement_free(struct db_statement *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->handle);
    mem_free(s);
}

static int bind(struct db_statement *s, int index, const struct db_value *value)
{
    switch (value->type) {
    case DB_INT:
        return sqlite3_bind_int64(s->handle, index, value->number);
    case DB_TEXT:
        return sqlite3_bind_text64(s->handle, index, value->bytes, value->len, SQLITE_STATIC, SQLITE_UTF8);
    case DB_BLOB:
        /* A NULL pointer would bind NULL. */
        return sqlite3_bind_blob64(s->handle, index, value->len ? value->bytes : "", value->len, SQLITE_STATIC);
    case DB_NULL:
        break;
    }
    return sqlite3_bind_null(s->handle, index);
}

static void reset(struct db_statement *s)
{
    assert(s);
    /* The code is that of the step before, which was reported then. */
    (void)sqlite3_reset(s->handle);
    (void)sqlite3_clear_bindings(s->handle);
}

static int start(struct db_statement *s, const struct db_value *values, size_t n, struct err *e)
{
    reset(s);
    assert(n == (size_t)sqlite3_bind_parameter_count(s->handle));
    for (size_t i = 0; i < n; i++) {
        int code = bind(s, (int)i + 1, &values[i]);

        if (code != SQLITE_OK)
            return fail(s->db, code, e);
    }
    return 0;
}

static void read_column(struct db_statement *s, int index)
{
    struct db_value *value = &s->row[index];

    *value = (struct db_value){0};
    switch (sqlite3_column_type(s->handle, index)) {
    case SQLITE_INTEGER:
        *value = db_int(sqlite3_column_int64(s->handle, index));
        break;
    case SQLITE_TEXT:
        value->type = DB_TEXT;
        value->bytes = sqlite3_column_text(s->handle, index);
        value->len = (size_t)sqlite3_column_bytes(s->handle, index);
        break;
    case SQLITE_NULL:
        break;
    default: /* blobs; a floating point number, which igwd never writes, shows as its bytes and fails the digest */
        value->type = DB_BLOB;
        value->bytes = sqlite3_column_blob(s->handle, index);
        value->len = (size_t)sqlite3_column_bytes(s->handle, index);
        if (!value->bytes)
            value->bytes = "";
    }
}

int db_step(struct db_statement *s, const struct db_value **ret_values, size_t *ret_n, struct err *e)
{
    int code, n;

    assert(s);
    code = sqlite3_step(s->handle);

    if (code == SQLITE_DONE)
        return 0;
    if (code != SQLITE_ROW)
        return fail(s->db, code, e);
    n = sqlite3_column_count(s->handle);
    for (int i = 0; i < n; i++)
        read_column(s, i);
    if (ret_values) {
        *ret_values = s->row;
        *ret_n = (size_t)n;
    }
    return 1;
}

int db_run(struct db_statement *s, const struct db_value *values, size_t n, struct err *e)
{
    int r = start(s, values, n, e);

    if (r == 0)
        r = db_step(s, NULL, NULL, e);
    reset(s);
    return r < 0 ? r : 0;
}

int64_t db_digest(const struct db_value *values, size_t n)
{
    uint64_t digest = n;

    for (size_t i = 0; i < n; i++) {
        const struct db_value *v = &values[i];
        uint64_t head[2] = {(uint64_t)v->type, v->type == DB_INT ? (uint64_t)v->number : v->len};

        digest = hash_seeded(head, sizeof(head), digest);
        if (v->type == DB_TEXT || v->type == DB_BLOB)
            digest = hash_seeded(v->len ? v->bytes : "", v->len, digest);
    }
    return (int64_t)digest;
}

bool db_row_intact(const struct db_value *values, size_t n)
{
    return n > 0 && values[n - 1].type == DB_INT && values[n - 1].number == db_digest(values, n - 1);
}

/* ---- transactions ---- */

int db_begin(struct db *db, struct err *e)
{
    return db_run(db->begin, NULL, 0, e);
}

int db_commit(struct db *db, struct err *e)
{
    return db_run(db->commit, NULL, 0, e);
}

void db_rollback(struct db *db)
{
    /* Many errors have rolled back already. */
    if (!sqlite3_get_autocommit(db->handle))
        (void)db_run(db->rollback, NULL, 0, NULL);
}

/* ---- opening ---- */

static int execute(struct db *db, const char *sql, struct err *e)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : fail(db, code, e);
}

static int pragma_number(struct db *db, const char *sql, int64_t *ret_number, struct err *e)
{
    struct db_statement *s = NULL;
    const struct db_value *values = NULL;
    size_t n = 0;
    int r = db_prepare(db, sql, &s, e);

    if (r == 0)
        r = db_step(s, &values, &n, e);
    if (r == 1 && values && values[0].type == DB_INT)
        *ret_number = values[0].number;
    else if (r >= 0)
        r = err_set(e, -EUCLEAN, db->path, "", "\"%s\" gives no number", sql);
    db_statement_free(s);
    return r < 0 ? r : 0;
}

static int check(struct db *db, struct err *e)
{
    struct db_statement *s = NULL;
    const struct db_value *values = NULL;
    size_t n = 0;
    int r = db_prepare(db, "PRAGMA quick_check(1)", &s, e);

    if (r == 0)
        r = db_step(s, &values, &n, e);
    if (r == 1 && values && (values[0].type != DB_TEXT || strcmp(values[0].bytes, "ok") != 0))
        r = err_set(e, -EUCLEAN, db->path, "", "%s",
                    values[0].type == DB_TEXT ? (const char *)values[0].bytes : "quick_check gives no text");
    db_statement_free(s);
    return r < 0 ? r : 0;
}

/* The migrations and the number are one transaction: a crash leaves the version before or after. */
static int migrate_from(struct db *db, const struct db_schema *schema, size_t version, enum how how, struct err *e)
{
    _cleanup_(mem_free_p) char *number = mem_printf("PRAGMA application_id = %" PRIu32 "; PRAGMA user_version = %zu",
                                                    schema->application_id, schema->n_migrations);
    int r = db_begin(db, e);

    for (; r == 0 && version < schema->n_migrations; version++)
        r = execute(db, schema->migrations[version], e);
    if (r == 0)
        r = execute(db, number, e);
    if (r == 0 && how != UNWRITTEN)
        r = db_commit(db, e);
    if (r < 0)
        db_rollback(db);
    return r;
}

/* fresh: an empty file that is being made. */
static int migrate(struct db *db, const struct db_schema *schema, bool fresh, enum how how, struct err *e)
{
    int64_t id = 0, version = 0;
    int r = pragma_number(db, "PRAGMA application_id", &id, e);

    if (r == 0)
        r = pragma_number(db, "PRAGMA user_version", &version, e);
    if (r < 0)
        return r;
    if (!fresh && (uint32_t)id != schema->application_id)
        return err_set(e, -EUCLEAN, db->path, "", "this is no such database of igwd's (application id %" PRId64 ")",
                       id);
    if (version > VERSION_MAX)
        return err_set(e, -EUCLEAN, db->path, "", "no igwd makes databases of version %" PRId64, version);
    if (version > (int64_t)schema->n_migrations)
        return err_set(e, -EPROTO, db->path, "",
                       "the database has version %" PRId64
                       ", made by a newer igwd; this one knows versions up to %zu",
                       version, schema->n_migrations);
    if (!fresh && version < 1)
        return err_set(e, -EUCLEAN, db->path, "", "the database has no version");
    return version < (int64_t)schema->n_migrations ? migrate_from(db, schema, (size_t)version, how, e) : 0;
}

static int configure(struct db *db, const struct db_schema *schema, enum how how, struct err *e)
{
    _cleanup_(mem_free_p) char *sql =
        mem_printf("PRAGMA locking_mode = %s; PRAGMA journal_mode = WAL; PRAGMA synchronous = %s;"
                   "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -%d; PRAGMA cache_spill = %s;"
                   "PRAGMA journal_size_limit = %d;"
                   "PRAGMA foreign_keys = OFF; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON",
                   how == SHARED ? "NORMAL" : "EXCLUSIVE", schema->flush ? "FULL" : "OFF", CACHE_KIB,
                   how == UNWRITTEN ? "OFF" : "ON", WAL_KEEP_BYTES);

    return execute(db, sql, e);
}

static int prepare_transactions(struct db *db, struct err *e)
{
    int r = db_prepare(db, "BEGIN IMMEDIATE", &db->begin, e);

    if (r == 0)
        r = db_prepare(db, "COMMIT", &db->commit, e);
    if (r == 0)
        r = db_prepare(db, "ROLLBACK", &db->rollback, e);
    return r;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    db_statement_free(db->begin);
    db_statement_free(db->commit);
    db_statement_free(db->rollback);
    if (db->handle) {
        int code = sqlite3_close(db->handle);

        assert(code == SQLITE_OK);
    }
    mem_free(db->path);
    mem_free(db);
}

static struct identity identify(const char *path, const char *end)
{
    _cleanup_(mem_free_p) char *name = mem_printf("%s%s", path, end);
    struct stat status;

    return stat(name, &status) < 0 ? (struct identity){0} : (struct identity){status.st_dev, status.st_ino};
}

/*
 * Who holds a lock on the database: on the bytes that SQLite has for locks, which are a part of its format
 * (https://sqlite.org/fileformat2.html, "The Lock-Byte Page"). This process has it not open: closing drops all of a
 * process's locks on a file.
 */
static void tell_holder(const char *path, struct err *e)
{
    enum { LOCK_BYTES = 1 << 30, N_LOCK_BYTES = 512 };
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_BYTES, .l_len = N_LOCK_BYTES};
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return;
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        err_set(e, -EBUSY, path, "", "the database is locked: process %d has it open", (int)lock.l_pid);
    close(fd);
}

static int open_once(const char *path, const struct db_schema *schema, bool fresh, enum how how, struct db **ret_db,
                     struct err *e)
{
    struct db *db = mem_new(struct db);
    int code, r = 0;

    db->path = mem_strdup(path);
    code =
        sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
    if (code != SQLITE_OK)
        r = fail(db, code, e);
    if (r == 0) {
        (void)sqlite3_extended_result_codes(db->handle, 1);
        (void)sqlite3_busy_timeout(db->handle, SQLITE_BUSY_MS);
        r = configure(db, schema, how, e);
    }
    if (r == 0)
        r = prepare_transactions(db, e);
    if (r == 0)
        r = migrate(db, schema, fresh, how, e);
    if (r == 0 && !fresh)
        r = check(db, e);
    if (r < 0)
        db_close(db);
    if (r == -EBUSY)
        tell_holder(path, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        db->files[i] = identify(path, ends[i]);
    *ret_db = db;
    return 0;
}

/* An index that others can read takes space beside the file. On a full disk it is done without, in memory: what is
 * there must be read, whatever can be written. */
static int open_file(const char *path, const struct db_schema *schema, bool fresh, struct db **ret_db, struct err *e)
{
    int r = open_once(path, schema, fresh, schema->flush ? SHARED : ALONE, ret_db, e);

    if ((r == -ENOSPC || r == -EIO) && schema->flush && !fresh)
        r = open_once(path, schema, fresh, ALONE, ret_db, e);
    return r;
}

/* One that may not be looked at is taken for what it was. */
static bool was_moved(const struct db *db, size_t file)
{
    struct identity now = identify(db->path, ends[file]), before = db->files[file];

    return (now.inode || errno == ENOENT) && (now.device != before.device || now.inode != before.inode);
}

bool db_moved(const struct db *db)
{
    return was_moved(db, 0);
}

bool db_log_moved(const struct db *db)
{
    return was_moved(db, 1) || was_moved(db, 2);
}

int db_write_back(struct db *db, struct err *e)
{
    int code = sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : fail(db, code, e);
}

static int remove_with_log(const char *path, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        _cleanup_(mem_free_p) char *file = mem_printf("%s%s", path, ends[i]);

        if (unlink(file) < 0 && errno != ENOENT)
            return file_error(e, file, "cannot be removed");
    }
    return 0;
}

static int create(const char *path, const char *made, const struct db_schema *schema, struct err *e)
{
    _cleanup_(mem_free_p) char *directory = mem_strdup(path);
    struct db *db;
    int fd, r = remove_with_log(made, e);

    /* What an earlier attempt left is of no use; a log that lost its database would be replayed into the new one. */
    if (r == 0)
        r = remove_with_log(path, e);
    if (r < 0)
        return r;
    fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error(e, made, "cannot be made");
    close(fd);
    r = open_file(made, schema, true, &db, e);
    if (r < 0)
        return r;
    db_close(db);
    r = file_flush(made, 0, e);
    if (r == 0 && rename(made, path) < 0)
        r = file_error(e, made, "cannot be renamed");
    return r < 0 ? r : file_flush(dirname(directory), O_DIRECTORY, e);
}

/* ---- setting aside ---- */

/* Names with the time sort by age, where nobody set the clock back: the newest is known. */
static void drop_old(const char *path, const char *newest)
{
    _cleanup_(mem_free_p) char *pattern = mem_printf("%s.damaged-*Z", path);
    glob_t found = {0};

    if (glob(pattern, 0, NULL, &found) == 0) {
        size_t kept = 1;

        for (size_t i = found.gl_pathc; i-- > 0;) {
            /* What can't be removed stays; it is in nobody's way. */
            if (strcmp(found.gl_pathv[i], newest) != 0 && ++kept > DB_ASIDE_MAX)
                (void)remove_with_log(found.gl_pathv[i], NULL);
        }
    }
    globfree(&found);
}

int db_set_aside(const char *path, char **ret_name, struct err *e)
{
    _cleanup_(mem_free_p) char *log = mem_printf("%s-wal", path);
    _cleanup_(mem_free_p) char *name = NULL, *log_name = NULL;
    struct timespec now;
    struct tm utc;
    char stamp[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &utc);
    name = mem_printf("%s.damaged-%s.%09ldZ", path, stamp, now.tv_nsec);
    log_name = mem_printf("%s-wal", name);
    if (rename(path, name) < 0 && errno != ENOENT)
        return file_error(e, path, "cannot be set aside");
    if (rename(log, log_name) < 0 && errno != ENOENT)
        return file_error(e, log, "cannot be set aside");
    drop_old(path, name);
    if (ret_name)
        *ret_name = take_ptr(name);
    return 0;
}

/* SQLite's own errors do not tell. */
static bool is_read_only(const char *path)
{
    return access(path, W_OK) < 0 && errno == EROFS;
}

int db_open(const char *path, const struct db_schema *schema, struct db **ret_db, struct err *e)
{
    struct stat status;

    if (lstat(path, &status) < 0) {
        _cleanup_(mem_free_p) char *made = mem_printf("%s.new", path);
        int r;

        if (errno != ENOENT)
            return file_error(e, path, "cannot be looked at");
        r = create(path, made, schema, e);
        if (r < 0)
            return r;
    } else if (!S_ISREG(status.st_mode)) {
        return err_set(e, -EACCES, path, "", "this is not a regular file");
    } else if (status.st_size == 0) {
        return err_set(e, -EUCLEAN, path, "", "the file is empty");
    } else if (is_read_only(path)) {
        return file_error(e, path, "cannot be written");
    }
    return open_file(path, schema, false, ret_db, e);
}

/* SQLite reads no log that it may not write: with it the database is copied to memory. */
struct stand_in {
    char directory[sizeof("/dev/shm/igwd-XXXXXX")];
    char *path;
};

/* What stays is gone with the machine's next start. */
static void stand_in_clear(struct stand_in *s)
{
    if (!s->path)
        return;
    (void)remove_with_log(s->path, NULL);
    (void)rmdir(s->directory);
    mem_free(take_ptr(s->path));
}

static int stand_in_make(struct stand_in *s, const char *path, struct err *e)
{
    _cleanup_(mem_free_p) char *log = mem_printf("%s%s", path, ends[1]), *log_copy = NULL;
    int r;

    *s = (struct stand_in){"/dev/shm/igwd-XXXXXX", NULL};
    if (!mkdtemp(s->directory))
        return file_error(e, s->directory, "cannot be made");
    s->path = mem_printf("%s/copy.db", s->directory);
    log_copy = mem_printf("%s%s", s->path, ends[1]);
    r = file_copy(path, s->path, e);
    if (r == 0 && file_exists(log))
        r = file_copy(log, log_copy, e);
    if (r < 0)
        stand_in_clear(s);
    return r;
}

/* It has no name any more once it is open. */
static int open_copy(const char *path, const struct db_schema *schema, struct db **ret_db, struct err *e)
{
    struct stand_in copy;
    int r = stand_in_make(&copy, path, e);

    if (r == 0)
        r = open_once(copy.path, schema, false, UNWRITTEN, ret_db, e);
    stand_in_clear(&copy);
    return r;
}

int db_open_unwritten(const char *path, const struct db_schema *schema, struct db **ret_db, struct err *e)
{
    return is_read_only(path) ? open_copy(path, schema, ret_db, e)
                              : open_once(path, schema, false, UNWRITTEN, ret_db, e);
}

static int copy_into(struct db *db, const char *copy, struct err *e)
{
    const struct db_value name = db_text(copy);
    struct db_statement *statement = NULL;
    int r = db_prepare(db, "VACUUM INTO ?", &statement, e);

    if (r == 0)
        r = db_run(statement, &name, 1, e);
    db_statement_free(statement);
    return r < 0 ? r : file_flush(copy, 0, e);
}

static int copy_database(const char *path, const char *copy, struct err *e)
{
    struct db db = {.path = mem_strdup(path)};
    int fd, code, r;

    code = sqlite3_open_v2(path, &db.handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    r = code == SQLITE_OK ? 0 : fail(&db, code, e);
    if (r == 0)
        sqlite3_busy_timeout(db.handle, SQLITE_BUSY_MS);
    /* An empty file is filled; so it never has another mode. */
    fd = r == 0 ? open(copy, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (r == 0 && fd < 0)
        r = file_error(e, copy, "cannot be made");
    if (fd >= 0)
        close(fd);
    if (r == 0) {
        r = copy_into(&db, copy, e);
        if (r < 0)
            (void)remove_with_log(copy, NULL); /* what can't be removed is no database */
    }
    sqlite3_close(db.handle);
    mem_free(db.path);
    return r;
}

int db_copy(const char *path, const char *copy, struct err *e)
{
    struct stand_in readable;
    int r;

    if (!is_read_only(path))
        return copy_database(path, copy, e);
    r = stand_in_make(&readable, path, e);
    if (r == 0)
        r = copy_database(readable.path, copy, e);
    stand_in_clear(&readable);
    return r;
}
