/*
 * SQLite behind a thin door: opening with what igwd needs, statements, and one error space. The only file that knows
 * <sqlite3.h> is sqlite.c.
 *
 * A connection and its statements belong to one thread at a time; they may be handed over.
 *
 * Errors: -EUCLEAN damaged (or not igwd's), -EPROTO made by a newer version, -ENOSPC disk or quota full, -EIO,
 * -EBUSY locked by somebody for longer than SQLITE_BUSY_MS, -EACCES, -EROFS; -EINVAL: the row itself was refused.
 * Each names the file.
 */
#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SQLITE_BUSY_MS = 5000, DB_COLUMNS_MAX = 16 };

/* What a database must look like: its migrations, each one SQL text; the n-th makes version n+1 of version n. */
struct db_schema {
    uint32_t application_id; /* tells igwd's files from others */
    const char *const *migrations;
    size_t n_migrations;
    bool flush; /* each transaction is on the disk when it is committed; else in the page cache */
};

struct db;

/*
 * Opens the file; one that is missing is made as a whole or not at all, with mode 0600. Checks it (quick_check) and
 * migrates it forward. A file that is there and empty is damaged: nothing of igwd leaves one behind.
 */
int db_open(const char *path, const struct db_schema *schema, struct db **ret_db, struct err *e);
/* Opens what db_open() can't, for want of space (-ENOSPC) or on a file system that can only be read (-EROFS), to be
 * read alone: a migration stays in memory. */
int db_open_unwritten(const char *path, const struct db_schema *schema, struct db **ret_db, struct err *e);
/* Statements must be closed first. Writes the log back into the file where that is possible. NULL is allowed. */
void db_close(struct db *db);
/* The file was removed or replaced under the connection: what is written goes nowhere. */
bool db_moved(const struct db *db);
/* So was its log, or the index of that: a kill would lose what stands there. */
bool db_log_moved(const struct db *db);
/* Writes all that the log holds into the file. */
int db_write_back(struct db *db, struct err *e);

/*
 * Puts a damaged database out of the way: renames it (with its log) to PATH.damaged-TIME and keeps the newest
 * DB_ASIDE_MAX of those. It must not be open. ret_name (may be NULL): the new name, mem_free() it.
 */
enum { DB_ASIDE_MAX = 3 };
int db_set_aside(const char *path, char **ret_name, struct err *e);

/*
 * A copy of a database that others may be writing, as it is between two of their transactions; flushed, mode 0600.
 * The copy must not exist.
 */
int db_copy(const char *path, const char *copy, struct err *e);

int db_begin(struct db *db, struct err *e);
int db_commit(struct db *db, struct err *e);
/* Never fails in a way that matters: what is left is undone at the next opening. */
void db_rollback(struct db *db);

enum db_type { DB_NULL, DB_INT, DB_TEXT, DB_BLOB };

struct db_value {
    enum db_type type;
    int64_t number;
    const void *bytes; /* of a text or blob, borrowed */
    size_t len;
};

static inline struct db_value db_int(int64_t number)
{
    return (struct db_value){.type = DB_INT, .number = number};
}
static inline struct db_value db_text(const char *s)
{
    if (!s)
        return (struct db_value){.type = DB_NULL};
    return (struct db_value){.type = DB_TEXT, .bytes = s, .len = __builtin_strlen(s)};
}
static inline struct db_value db_blob(const void *p, size_t n)
{
    return (struct db_value){.type = DB_BLOB, .bytes = p, .len = n};
}

struct db_statement;

int db_prepare(struct db *db, const char *sql, struct db_statement **ret_statement, struct err *e);
void db_statement_free(struct db_statement *s); /* NULL is allowed */

/* Binds and runs a statement that gives no rows. */
int db_run(struct db_statement *s, const struct db_value *values, size_t n, struct err *e);
/* Of a statement without parameters: 1 with the next row's values (borrowed until the next call), 0 at the end, or an
 * error. */
int db_step(struct db_statement *s, const struct db_value **ret_values, size_t *ret_n, struct err *e);

/*
 * A digest over a row's values, kept in its last column. SQLite's own check sees a broken tree, not a flipped bit in
 * a value; a port that is off by one must not be served.
 */
int64_t db_digest(const struct db_value *values, size_t n);
/* Whether a row's last value is the digest of those before it. */
bool db_row_intact(const struct db_value *values, size_t n);

#endif
