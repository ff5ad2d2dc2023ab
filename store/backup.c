/* Files are made under another name, flushed, then renamed: a backup that was cut off is none. */
#include "store/backup.h"

#include "store/crypt.h"
#include "store/files.h"
#include "store/migrations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- taking ---- */

static void drop_partial(const char *directory)
{
    static const char *const names[] = {"config.db", "config.db-journal", "key"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        _cleanup_(mem_free_p) char *path = mem_printf("%s/%s", directory, names[i]);

        (void)unlink(path); /* what is left is in an unfinished directory, which says so by its name */
    }
    (void)rmdir(directory);
}

static int fill(const char *directory, const char *key_file, const char *partial, struct err *e)
{
    _cleanup_(mem_free_p) char *config = mem_printf("%s/config.db", directory);
    _cleanup_(mem_free_p) char *key = mem_printf("%s/key", directory);
    _cleanup_(mem_free_p) char *to = mem_printf("%s/config.db", partial);
    _cleanup_(mem_free_p) char *key_to = mem_printf("%s/key", partial);
    int r = db_copy(config, to, e);

    if (r == 0 && !key_file)
        r = file_copy(key, key_to, e);
    return r < 0 ? r : file_flush(partial, O_DIRECTORY, e);
}

int store_backup(const char *directory, const char *key_file, const char *destination, struct err *e)
{
    _cleanup_(mem_free_p) char *partial = mem_printf("%s.partial", destination);
    int r;

    if (file_exists(destination))
        return err_set(e, -EEXIST, destination, "", "is there already: a backup does not replace anything");
    drop_partial(partial);
    if (mkdir(partial, 0700) < 0)
        return file_error(e, partial, "cannot be made");
    r = fill(directory, key_file, partial, e);
    if (r == 0 && rename(partial, destination) < 0)
        r = file_error(e, destination, "cannot be made");
    if (r < 0)
        drop_partial(partial);
    return r;
}

/* ---- putting back ---- */

/* Whether the key opens all that is sealed. */
static int check_sealed(struct db *db, const struct crypt_key *key, const char *path, struct err *e)
{
    struct db_statement *statement = NULL;
    const struct db_value *row;
    size_t n;
    int r = db_prepare(db, "SELECT kind, name, body FROM documents", &statement, e);

    while (r == 0 && (r = db_step(statement, &row, &n, e)) > 0) {
        _cleanup_(mem_free_p) char *belongs =
            mem_printf("d%s/%s", (const char *)row[0].bytes, (const char *)row[1].bytes);
        uint8_t *plain = NULL;
        size_t len = 0;

        r = crypt_unseal(key, belongs, row[2].bytes, row[2].len, &plain, &len);
        mem_free_secret(plain, len);
        if (r < 0)
            err_set(e, r, path, "", "the key does not fit what is encrypted in it");
    }
    db_statement_free(statement);
    return r;
}

static int check_backup(const char *config, const char *key_path, struct err *e)
{
    struct crypt_key *key = NULL;
    struct db *db = NULL;
    int r = crypt_key_load(key_path, false, &key, e);

    if (r == 0)
        r = db_open(config, &config_schema, &db, e);
    if (r == 0)
        r = check_sealed(db, key, config, e);
    db_close(db);
    crypt_key_free(key);
    return r;
}

/* Root puts back what belongs to the daemon's user: whose the directory is. */
static int give_to_owner(const char *directory, const char *path, struct err *e)
{
    struct stat status;

    if (stat(directory, &status) < 0 || (geteuid() == 0 && lchown(path, status.st_uid, status.st_gid) < 0))
        return file_error(e, path, "cannot be given to the directory's owner");
    return 0;
}

/* The other key stays: observed.db may be sealed with it. */
static int put_key(const char *directory, const char *from, struct err *e)
{
    _cleanup_(mem_free_p) char *path = mem_printf("%s/key", directory), *made = mem_printf("%s/key.new", directory);
    _cleanup_(mem_free_p) char *aside = mem_printf("%s/key.before-%lld", directory, (long long)time(NULL));
    int r;

    (void)unlink(made); /* of an attempt that was cut off */
    r = file_copy(from, made, e);
    if (r == 0)
        r = give_to_owner(directory, made, e);
    if (r == 0 && link(path, aside) < 0 && errno != ENOENT)
        r = file_error(e, aside, "cannot be made");
    if (r == 0 && rename(made, path) < 0)
        r = file_error(e, path, "cannot be written");
    return r;
}

/* The daemon would refuse one that a newer igwd made; the agent says again what stands in it. */
static int drop_newer_observed(const char *directory, struct err *e)
{
    _cleanup_(mem_free_p) char *path = mem_printf("%s/observed.db", directory);
    struct db *db = NULL;
    int r = file_exists(path) ? db_open(path, &observed_schema, &db, NULL) : 0;

    db_close(db);
    return r == -EPROTO ? db_set_aside(path, NULL, e) : 0; /* whatever else is wrong with it is the daemon's */
}

static int put_back(const char *directory, const char *key_file, const char *source, struct err *e)
{
    _cleanup_(mem_free_p) char *from = mem_printf("%s/config.db", source), *key = mem_printf("%s/key", source);
    _cleanup_(mem_free_p) char *config = mem_printf("%s/config.db", directory);
    _cleanup_(mem_free_p) char *made = mem_printf("%s/config.db.restored", directory);
    int r;

    (void)unlink(made); /* of an attempt that was cut off */
    r = db_copy(from, made, e);
    if (r == 0)
        r = check_backup(made, key_file ? key_file : key, e);
    if (r == 0)
        r = give_to_owner(directory, made, e);
    if (r == 0 && !key_file)
        r = put_key(directory, key, e);
    if (r == 0 && file_exists(config))
        r = db_set_aside(config, NULL, e);
    if (r == 0 && rename(made, config) < 0)
        r = file_error(e, config, "cannot be written");
    if (r == 0)
        r = drop_newer_observed(directory, e);
    if (r < 0)
        (void)unlink(made);
    return r < 0 ? r : file_flush(directory, O_DIRECTORY, e);
}

int store_restore(const char *directory, const char *key_file, const char *source, struct err *e)
{
    int fd = -1, r = directory_lock(directory, &fd, e);

    if (r == -EEXIST)
        err_set(e, r, directory, "", "an igwd uses this state directory: stop it first");
    if (r == 0)
        r = put_back(directory, key_file, source, e);
    if (fd >= 0)
        close(fd);
    return r;
}
