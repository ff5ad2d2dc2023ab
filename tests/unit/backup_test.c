/* Backups: taken under writes, put back as they were; nothing half made, nothing lost of what was there. */
#include "store/backup.h"

#include "store/migrations.h"
#include "tests/unit/edit_world.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    struct world w;
    char backup[300];
};

static void init(struct place *p)
{
    world_init(&p->w);
    world_open(&p->w);
    snprintf(p->backup, sizeof(p->backup), "%s-backup", p->w.directory);
}

static void clear(struct place *p)
{
    static const char *const names[] = {"config.db", "config.db-wal", "config.db-shm", "key"};
    char path[600];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", p->backup, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(p->backup);
    world_clear(&p->w);
}

/* With an exposure "one", and a backup of it. */
static void init_with_backup(struct place *p)
{
    struct err e = {0};

    init(p);
    world_edited(&p->w, DOCUMENT_EXPOSURE, "one.expose#0",
                 "{'endpoints': [{'address': '10.0.0.1', 'port': 80}], 'port': 8001}");
    CHECK_INT(store_backup(p->w.directory, NULL, p->backup, &e), 0); /* while it is open */
}

static unsigned mode_of(const char *directory, const char *name)
{
    char path[600];
    struct stat status;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    CHECK_INT(stat(path, &status), 0);
    return status.st_mode & 07777;
}

TEST(what_was_edited_before_comes_back_and_what_came_after_goes)
{
    struct place p;
    struct err e = {0};

    init_with_backup(&p);
    CHECK_INT(mode_of(p.backup, "."), 0700);
    CHECK_INT(mode_of(p.backup, "config.db"), 0600);
    CHECK_INT(mode_of(p.backup, "key"), 0600);
    world_edited(&p.w, DOCUMENT_EXPOSURE, "two.expose#0",
                 "{'endpoints': [{'address': '10.0.0.2', 'port': 80}], 'port': 8002}");
    CHECK_INT(store_restore(p.w.directory, NULL, p.backup, &e), -EEXIST);
    world_close(&p.w);
    CHECK_INT(store_restore(p.w.directory, NULL, p.backup, &e), 0);
    world_open(&p.w);
    CHECK(world_service(&p.w, "one"));
    CHECK(!world_service(&p.w, "two"));
    {
        struct view *v = store_view(p.w.store);

        CHECK(view_document(v, DOCUMENT_EXPOSURE, "one.expose#0"));
        CHECK_STR(view_document(v, DOCUMENT_EXPOSURE, "one.expose#0")->author, "alice");
        view_unref(v);
    }
    CHECK(world_alarm(&p.w, "config.db") == NULL);
    clear(&p);
}

TEST(a_backup_brings_the_state_back_from_a_newer_version_too)
{
    struct place p;
    struct err e = {0};

    init_with_backup(&p);
    world_close(&p.w);
    world_make_newer(&p.w, "config.db", &config_schema);
    world_make_newer(&p.w, "observed.db", &observed_schema);
    CHECK_INT(world_try_open(&p.w, &e), -EPROTO);
    CHECK_INT(store_restore(p.w.directory, NULL, p.backup, &e), 0);
    world_open(&p.w);
    CHECK(world_service(&p.w, "one"));
    clear(&p);
}

TEST(a_backup_replaces_nothing_and_is_never_half_there)
{
    struct place p;
    struct err e = {0};
    char partial[400];

    init(&p);
    CHECK_INT(store_backup(p.w.directory, NULL, p.backup, &e), 0);
    CHECK_INT(store_backup(p.w.directory, NULL, p.backup, &e), -EEXIST);
    clear(&p);
    init(&p);
    CHECK_INT(unlink(world_file(&p.w, "key")), 0); /* so that it fails in the middle */
    CHECK_INT(store_backup(p.w.directory, NULL, p.backup, &e), -ENOENT);
    snprintf(partial, sizeof(partial), "%s.partial", p.backup);
    CHECK(access(p.backup, F_OK) != 0 && access(partial, F_OK) != 0);
    clear(&p);
}

TEST(a_backup_that_is_not_good_leaves_the_state_alone)
{
    struct place p;
    struct err e = {0};
    char path[600];
    int fd;

    init_with_backup(&p);
    world_close(&p.w);
    snprintf(path, sizeof(path), "%s/key", p.backup);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "0000000000000000", 16) == 16); /* another key */
    close(fd);
    CHECK_INT(store_restore(p.w.directory, NULL, p.backup, &e), -EBADMSG);
    CHECK(strstr(e.text, "key"));
    snprintf(path, sizeof(path), "%s/config.db", p.backup);
    CHECK_INT(truncate(path, 100), 0);
    CHECK(store_restore(p.w.directory, NULL, p.backup, &e) < 0);
    CHECK(access(world_file(&p.w, "config.db.restored"), F_OK) != 0);
    world_open(&p.w);
    CHECK(world_service(&p.w, "one"));
    clear(&p);
}

TEST(a_backup_goes_into_an_empty_directory_too)
{
    struct place p, other;
    struct err e = {0};

    init_with_backup(&p);
    world_init(&other.w);
    CHECK_INT(store_restore(other.w.directory, NULL, p.backup, &e), 0);
    world_open(&other.w);
    CHECK(world_service(&other.w, "one"));
    CHECK_INT(world_service(&other.w, "one")->exposures[0].n_up, 1);
    world_clear(&other.w);
    clear(&p);
}
