/* The store and its disk: kill -9, damage, full disks, wrong keys, a second daemon, what must never be readable. */
#include "store/store.h"

#include "base/clock.h"
#include "base/map.h"
#include "store/migrations.h"
#include "store/sqlite.h"
#include "tests/unit/certs.h"
#include "tests/unit/store_world.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLS = 12, SERVICES = 40 };

static const char allocate[] = "\"port\":80,\"listener_port\":0";

/* A service that terminates TLS with a secret's pair. */
static const char tls_expose[] =
    "{\"listener_certificates\":[\"certificate#1\"],\"port\":443,\"sni\":[\"a.example.org\"]}";
static const char *const tls[] = {"certificate#1",
                                  "certificate.tls",
                                  "{\"certificate_secret\":\"one\"}",
                                  "expose#0",
                                  "expose.envoy",
                                  tls_expose,
                                  NULL};

static void put_all(struct world *w, const char *address)
{
    char path[32], keywords[64];

    for (int i = 0; i < SERVICES; i++) {
        snprintf(path, sizeof(path), "test/svc/s%02d", i);
        snprintf(keywords, sizeof(keywords), "\"port\":80,\"listener_port\":%d", i % 4 ? 2000 + i : 0);
        world_put(w, path, keywords, address, true);
    }
}

static void fetch_all(struct world *w, const char *address)
{
    world_sync_begin(w);
    put_all(w, address);
    world_sync_end(w);
}

/* ---- kill -9 ---- */

/* Commits, and says so through the pipe after each, until it is killed. What is told: the number of the commit. */
static void commit_for_ever(struct world *w, int fd, uint32_t told)
{
    char path[32];

    for (uint32_t i = told + 1;; i++) {
        snprintf(path, sizeof(path), "n%u", i % 50);
        if (i % 7 == 3)
            store_remove_service(w->store, path);
        else
            world_put(w, path, i % 3 ? allocate : "\"port\":80", i % 2 ? "10.0.0.1" : "10.0.0.2", true);
        snprintf(path, sizeof(path), "\"port\":%u", i);
        world_put(w, "counter", path, "10.0.0.9", true);
        world_committed(w);
        if (write(fd, &i, sizeof(i)) != sizeof(i))
            _exit(1);
    }
}

/* Returns the number of the last commit that was told. */
static uint32_t run_and_kill(struct world *w, uint64_t *seed)
{
    uint32_t wanted = 20 + (uint32_t)(test_random(seed) % 200);

    return world_run_and_kill(w, commit_for_ever, 0, wanted, (unsigned)(test_random(seed) % 300) * 100);
}

TEST(kill_9_loses_nothing_that_was_committed)
{
    uint64_t seed = 42;
    struct world w;

    world_init(&w);
    for (int i = 0; i < KILLS; i++) {
        uint32_t told = run_and_kill(&w, &seed);
        uint16_t counter;

        world_open(&w);
        CHECK(world_alarm(&w, "observed.db") == NULL);
        CHECK(world_alarm(&w, "config.db") == NULL);
        counter = world_service(&w, "counter")->exposures[0].x->port;
        /* The one that was under way may be there as well. */
        CHECK(counter == told || counter == told + 1);
        world_close(&w);
    }
    world_clear(&w);
}

TEST(ports_are_the_same_after_every_kill_and_nobodys_twice)
{
    uint16_t ports[50] = {0};
    uint64_t seed = 4711;
    struct world w;

    world_init(&w);
    for (int i = 0; i < KILLS / 2; i++) {
        bool taken[65536] = {false};
        char path[16];

        run_and_kill(&w, &seed);
        world_open(&w);
        for (int j = 0; j < 50; j++) {
            uint16_t port;

            snprintf(path, sizeof(path), "n%d", j);
            /* Also of those that happen to declare a port just now. */
            world_put(&w, path, allocate, "10.0.0.1", true);
            world_committed(&w);
            port = world_port(&w, path, "expose#0");
            CHECK(port >= 1025);
            CHECK(!taken[port]);
            taken[port] = true;
            CHECK(ports[j] == 0 || ports[j] == port);
            ports[j] = port;
        }
        world_close(&w);
    }
    world_clear(&w);
}

/* ---- one daemon a directory ---- */

TEST(a_second_daemon_is_kept_out)
{
    struct store *second;
    struct err e = {0};
    struct world w;

    world_init(&w);
    world_open(&w);
    CHECK_INT(store_open(&w.options, &second, &e), -EEXIST);
    CHECK(strstr(e.object, w.directory) != NULL);
    world_close(&w);
    world_open(&w);
    world_clear(&w);
}

TEST(a_state_directory_is_nobody_elses)
{
    struct stat status;
    struct world w;

    world_init(&w);
    CHECK(rmdir(w.directory) == 0);
    umask(0);
    world_open(&w);
    CHECK(stat(w.directory, &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0700);
    world_clear(&w);
}

TEST(a_directory_that_cannot_be_used_is_an_error_that_names_it)
{
    struct err e = {0};
    struct world w;

    world_init(&w);
    w.options.directory = "/dev/null/igwd";
    CHECK(world_try_open(&w, &e) < 0);
    CHECK(strstr(e.object, "/dev/null/igwd") != NULL);
    world_clear(&w);
}

/* ---- damage ---- */

static void scribble(struct world *w, const char *file, uint64_t *seed, size_t places)
{
    int fd = open(world_file(w, file), O_RDWR | O_CLOEXEC);
    struct stat status;

    CHECK(fd >= 0 && fstat(fd, &status) == 0);
    for (size_t i = 0; i < places; i++) {
        uint8_t byte = (uint8_t)test_random(seed);

        CHECK(pwrite(fd, &byte, 1, (off_t)(test_random(seed) % (uint64_t)status.st_size)) == 1);
    }
    close(fd);
}

static size_t set_aside(struct world *w)
{
    glob_t found = {0};
    size_t n;

    glob(world_file(w, "*.damaged-*Z"), 0, NULL, &found);
    n = found.gl_pathc;
    globfree(&found);
    return n;
}

/* However many bytes are wrong, the state is either as it was, or not there, set aside, and said. */
TEST(a_damaged_observed_db_is_set_aside_and_rebuilt)
{
    _cleanup_(mem_free_p) char *good = NULL;
    uint64_t seed = 99;
    unsigned damaged = 0;
    struct world w;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    good = world_dump(&w);
    for (int i = 0; i < 12; i++) {
        _cleanup_(mem_free_p) char *after = NULL;

        world_close(&w);
        scribble(&w, "observed.db", &seed, (size_t)1 << i);
        world_open(&w);
        if (world_alarm(&w, "observed.db")) {
            damaged++;
            CHECK(!world_is_complete(&w));
            CHECK(world_service(&w, "test/svc/s01") == NULL);
            CHECK(set_aside(&w) > 0);
        }
        fetch_all(&w, "10.0.0.1");
        after = world_dump(&w);
        CHECK_STR(after, good);
        CHECK(world_alarm(&w, "observed.db") == NULL);
    }
    CHECK(damaged >= 4);
    CHECK(set_aside(&w) <= DB_ASIDE_MAX);
    world_clear(&w);
}

TEST(an_emptied_or_truncated_observed_db_is_set_aside)
{
    struct stat status;
    struct world w;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    world_close(&w);
    CHECK(truncate(world_file(&w, "observed.db"), 0) == 0);
    world_open(&w);
    CHECK(world_alarm(&w, "observed.db") != NULL);
    CHECK(!world_is_complete(&w));
    fetch_all(&w, "10.0.0.1");
    CHECK(world_alarm(&w, "observed.db") == NULL);
    world_close(&w);
    CHECK(stat(world_file(&w, "observed.db"), &status) == 0);
    CHECK(truncate(world_file(&w, "observed.db"), status.st_size / 2) == 0);
    world_open(&w);
    CHECK(world_alarm(&w, "observed.db") != NULL);
    world_clear(&w);
}

TEST(ports_survive_the_loss_of_observed_db)
{
    uint16_t port;
    struct world w;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    port = world_port(&w, "test/svc/s04", "expose#0");
    CHECK(port != 0);
    world_close(&w);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    world_open(&w);
    world_put(&w, "test/svc/s04", allocate, "10.0.0.1", true);
    world_put(&w, "0", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "test/svc/s04", "expose#0"), port);
    world_clear(&w);
}

TEST(a_damaged_config_db_stops_allocations_and_not_serving)
{
    _cleanup_(mem_free_p) char *good = NULL, *after = NULL;
    const struct problem *hindrance;
    uint64_t seed = 5;
    struct stat before, now;
    struct world w;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    good = world_dump(&w);
    world_close(&w);
    scribble(&w, "config.db", &seed, 5000);
    CHECK(stat(world_file(&w, "config.db"), &before) == 0);
    world_open(&w);
    CHECK(world_alarm(&w, "config.db") != NULL);
    /* What was served is served, the ports that were allocated too. */
    after = world_dump(&w);
    CHECK_STR(after, good);
    world_put(&w, "new", allocate, "10.0.0.1", true);
    world_put(&w, "test/svc/s01", "\"port\":80,\"listener_port\":2001", "10.0.0.7", true);
    world_committed(&w);
    hindrance = world_service(&w, "new")->exposures[0].hindrance;
    CHECK(hindrance != NULL);
    CHECK(strstr(hindrance->text, "no port could be kept: ") == hindrance->text);
    CHECK_STR(hindrance->field, "listener_port");
    CHECK_INT(world_service(&w, "test/svc/s01")->exposures[0].n_up, 1);
    world_close(&w);
    /* The file is left alone: whoever mends it needs it. */
    CHECK(stat(world_file(&w, "config.db"), &now) == 0);
    CHECK_INT(now.st_ino, before.st_ino);
    CHECK_INT(now.st_size, before.st_size);
    world_clear(&w);
}

TEST(a_lost_config_db_takes_the_ports_over_from_what_is_served)
{
    _cleanup_(mem_free_p) char *good = NULL, *after = NULL;
    struct world w;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    good = world_dump(&w);
    world_close(&w);
    CHECK(unlink(world_file(&w, "config.db")) == 0);
    world_open(&w);
    after = world_dump(&w);
    CHECK_STR(after, good);
    /* They are in the new file: without observed.db they are still the same. */
    world_close(&w);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    mem_free(after);
    after = world_dump(&w);
    CHECK_STR(after, good);
    world_clear(&w);
}

TEST(a_database_of_a_newer_version_is_refused)
{
    struct err e = {0};
    struct world w;

    world_init(&w);
    world_open(&w);
    world_close(&w);
    world_make_newer(&w, "observed.db", &observed_schema);
    CHECK_INT(world_try_open(&w, &e), -EPROTO);
    CHECK(strstr(e.object, "observed.db") != NULL);
    CHECK(strstr(e.text, "version 9") != NULL);
    CHECK_INT(set_aside(&w), 0);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    world_make_newer(&w, "config.db", &config_schema);
    CHECK_INT(world_try_open(&w, &e), -EPROTO);
    CHECK(strstr(e.object, "config.db") != NULL);
    world_clear(&w);
}

static bool is_quiet(struct world *w, void *arg)
{
    return world_alarm(w, arg) == NULL;
}

static bool is_alarmed(struct world *w, void *arg)
{
    return world_alarm(w, arg) != NULL;
}

/* A page in the middle turns bad under the running daemon; or the file is taken away. */
TEST(observed_db_that_is_lost_while_running_is_rebuilt_from_memory_and_the_agent)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    const struct secret_values values = {.certificate_chain = c->pem, .private_key = c->key_pem};
    static const char *const address[] = {"10.0.0.1", NULL};
    _cleanup_(mem_free_p) char *good = NULL, *after = NULL;
    bool wants_commit, wants_fetch;
    struct world w;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    put_all(&w, "10.0.0.1");
    world_put_full(&w, "test/svc/tls", tls, address);
    world_sync_end(&w);
    store_put_secret(w.store, "test/sec/one", "c1", &values, NULL);
    world_committed(&w);
    /* The keeper looks for its file once a second, so it has to be a new store that finds it gone. */
    world_reopen(&w);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    world_put(&w, "test/svc/s01", "\"port\":80,\"listener_port\":2001", "10.0.0.7", true);
    world_committed(&w);
    CHECK_INT(world_service(&w, "test/svc/s01")->exposures[0].n_up, 1);
    store_poll(w.store, &wants_commit, &wants_fetch);
    if (world_alarm(&w, "observed.db") == NULL)
        world_until(&w, is_alarmed, "observed.db");
    else
        CHECK(wants_fetch);
    /* A part of the state is on the disk now; it is not taken for the whole. */
    world_put(&w, "test/svc/s02", "\"port\":80,\"listener_port\":2002", "10.0.0.7", true);
    world_committed(&w);
    good = world_dump(&w);
    world_sync_begin(&w);
    put_all(&w, "10.0.0.1");
    world_put_full(&w, "test/svc/tls", tls, address);
    world_put(&w, "test/svc/s01", "\"port\":80,\"listener_port\":2001", "10.0.0.7", true);
    world_put(&w, "test/svc/s02", "\"port\":80,\"listener_port\":2002", "10.0.0.7", true);
    world_sync_end(&w);
    world_until(&w, is_quiet, "observed.db");
    world_reopen(&w);
    CHECK(world_is_complete(&w));
    after = world_dump(&w);
    CHECK_STR(after, good);
    world_clear(&w);
}

static void set_notes(struct world *w, const char *const *pairs)
{
    struct notes notes = {0};

    for (; pairs[0]; pairs += 2) {
        struct buf b;

        buf_init(&b, 0);
        buf_append_str(&b, pairs[1]);
        notes_add(&notes, mem_strdup(pairs[0]), &b);
    }
    store_set_notes(w->store, &notes);
    CHECK_INT(notes.n, 0);
}

/* "name=bytes ", sorted by name; "?" for what could not be read. */
static const char *notes_of(struct world *w, char ret[256])
{
    const struct notes *notes = store_notes(w->store);
    struct map by_name = {0};
    _cleanup_(mem_free_p) void **sorted = NULL;

    for (size_t i = 0; i < notes->n; i++)
        map_puts(&by_name, notes->items[i].name, &notes->items[i]);
    sorted = map_sorted_values(&by_name);
    ret[0] = '\0';
    for (size_t i = 0, at = 0; i < notes->n; i++) {
        const struct note *note = sorted[i];

        at += (size_t)snprintf(ret + at, 256 - at, "%s=%s ", note->name, note->bytes ? (char *)note->bytes : "?");
    }
    map_clear(&by_name);
    return ret;
}

TEST(notes_are_found_again_as_the_last_set_was)
{
    struct world w;
    char text[256];

    world_init(&w);
    world_open(&w);
    set_notes(&w, (const char *const[]){"a", "one secret word", "b", "", "c", "3", NULL});
    set_notes(&w, (const char *const[]){"a", "one secret word", "b", "2", "d", "4", NULL});
    CHECK_STR(notes_of(&w, text), "a=one secret word b=2 d=4 ");
    world_reopen(&w);
    CHECK_STR(notes_of(&w, text), "a=one secret word b=2 d=4 ");
    CHECK(!world_files_hold(&w, "secret word"));
    /* The file that is made anew has them too. */
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    set_notes(&w, (const char *const[]){"a", "one secret word", "d", "5", NULL});
    world_until(&w, is_alarmed, "observed.db");
    world_sync_nothing(&w);
    world_until(&w, is_quiet, "observed.db");
    world_reopen(&w);
    CHECK_STR(notes_of(&w, text), "a=one secret word d=5 ");
    world_clear(&w);
}

TEST(notes_that_another_key_sealed_say_nothing_and_go_with_the_next_set)
{
    struct world w;
    char text[256];

    world_init(&w);
    world_open(&w);
    set_notes(&w, (const char *const[]){"a", "1", "b", "2", NULL});
    world_close(&w);
    CHECK(unlink(world_file(&w, "key")) == 0);
    world_open(&w);
    CHECK_STR(notes_of(&w, text), "a=? b=? ");
    set_notes(&w, (const char *const[]){"b", "2", NULL});
    world_reopen(&w);
    CHECK_STR(notes_of(&w, text), "b=2 ");
    world_clear(&w);
}

TEST(a_state_that_was_lost_while_running_and_not_put_again_is_not_whole_after_a_restart)
{
    struct world w;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    world_reopen(&w);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    world_put(&w, "test/svc/s01", "\"port\":80,\"listener_port\":2001", "10.0.0.7", true);
    world_committed(&w);
    if (world_alarm(&w, "observed.db") == NULL)
        world_until(&w, is_alarmed, "observed.db");
    world_put(&w, "test/svc/s02", "\"port\":80,\"listener_port\":2002", "10.0.0.7", true);
    world_committed(&w);
    world_reopen(&w);
    CHECK(!world_is_complete(&w));
    world_clear(&w);
}

/* ---- full disks ---- */

TEST(a_full_disk_stops_neither_failover_nor_serving_and_is_made_up_for)
{
    _cleanup_(mem_free_p) char *good = NULL, *after = NULL;
    char *changes;
    struct world w;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    world_fill_disk();
    for (int i = 0; i < 20; i++) {
        world_put(&w, "test/svc/s01", "\"port\":80,\"listener_port\":2001", i % 2 ? "10.0.0.1" : "10.0.0.2", true);
        changes = world_commit(&w);
        if (!changes || strcmp(changes, "service test/svc/s01") != 0) {
            world_free_disk();
            CHECK_STR(changes, "service test/svc/s01");
        }
        mem_free(changes);
    }
    world_until(&w, is_alarmed, "observed.db");
    store_remove_service(w.store, "test/svc/s02");
    world_put(&w, "brand-new", "\"port\":80,\"listener_port\":3000", "10.0.0.2", true);
    world_committed(&w);
    good = world_dump(&w);
    world_free_disk();
    world_until(&w, is_quiet, "observed.db");
    CHECK_INT(world_alarm_count(&w, "observed.db"), 1);
    world_reopen(&w);
    after = world_dump(&w);
    CHECK_STR(after, good);
    world_clear(&w);
}

static bool is_served(struct world *w, void *arg)
{
    return world_port(w, arg, "expose#0") != 0;
}

TEST(a_port_that_cannot_be_kept_is_not_served_until_it_can)
{
    struct world w;
    uint16_t port;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    world_fill_disk();
    world_put(&w, "new", allocate, "10.0.0.1", true);
    world_committed(&w);
    port = world_port(&w, "new", "expose#0");
    if (port == 0 && world_service(&w, "new")->exposures[0].hindrance) {
        bool told = strstr(world_service(&w, "new")->exposures[0].hindrance->text, "no port could be kept: ") != NULL;

        world_free_disk();
        CHECK(told);
    } else {
        world_free_disk();
        CHECK_INT(port, 0);
    }
    CHECK(world_alarm(&w, "config.db") != NULL);
    world_until(&w, is_served, "new");
    CHECK(world_alarm(&w, "config.db") == NULL);
    port = world_port(&w, "new", "expose#0");
    world_close(&w);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    world_open(&w);
    world_put(&w, "0", allocate, "10.0.0.1", true);
    world_put(&w, "new", allocate, "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "new", "expose#0"), port);
    world_clear(&w);
}

TEST(a_start_on_a_full_disk_serves_the_last_state)
{
    _cleanup_(mem_free_p) char *good = NULL, *after = NULL;
    struct err e = {0};
    struct world w;
    int r;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    good = world_dump(&w);
    world_close(&w);
    world_fill_disk();
    r = world_try_open(&w, &e);
    if (r == 0) {
        /* And the next one. */
        world_close(&w);
        r = world_try_open(&w, &e);
    }
    world_free_disk();
    CHECK_INT(r, 0);
    CHECK(world_is_complete(&w));
    after = world_dump(&w);
    CHECK_STR(after, good);
    world_clear(&w);
}

/* A kill, or an end: what was sent to the proxies must not be taken back by what is on the disk. */
TEST(after_a_full_disk_what_was_sent_and_not_kept_is_waited_for_and_no_older_state_served)
{
    struct err e = {0};
    uint64_t epoch;
    struct world w;
    bool complete;
    int r;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    epoch = event_ring_last(store_events(w.store)).epoch;
    world_fill_disk();
    world_put(&w, "test/svc/s01", "\"port\":80,\"listener_port\":2001", "10.0.0.2", true);
    world_committed(&w);
    world_close(&w);
    r = world_try_open(&w, &e);
    complete = r == 0 && world_is_complete(&w);
    world_free_disk();
    CHECK_INT(r, 0);
    CHECK(!complete);
    CHECK(event_ring_last(store_events(w.store)).epoch != epoch); /* numbers that are gone are not used twice */
    CHECK(world_service(&w, "test/svc/s01") != NULL);
    world_reopen(&w);
    CHECK(!world_is_complete(&w));
    fetch_all(&w, "10.0.0.2");
    CHECK(world_is_complete(&w));
    world_reopen(&w);
    CHECK(world_is_complete(&w));
    world_clear(&w);
}

static char mark_of(struct world *w)
{
    int fd = open(world_file(w, "lock"), O_RDONLY | O_CLOEXEC);
    char mark = 0;

    CHECK(fd >= 0 && pread(fd, &mark, 1, 0) == 1);
    close(fd);
    return mark;
}

/* As soon as the disk has a part of what a start says. */
static void *kill_when_level(void *arg)
{
    while (mark_of(arg) != '-')
        sched_yield();
    kill(getpid(), SIGKILL);
    return NULL;
}

TEST(a_kill_while_it_is_written_that_the_state_is_not_whole_leaves_none_that_looks_whole)
{
    enum { MANY = 3000 };
    char path[32];
    struct world w;
    pthread_t thread;
    pid_t pid;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof(path), "s%d", i);
        world_put(&w, path, "\"port\":80", "10.0.0.1", true);
    }
    world_sync_end(&w);
    world_fill_disk();
    world_put(&w, "new", "\"port\":81", "10.0.0.2", true);
    world_committed(&w);
    world_close(&w);
    world_free_disk();
    CHECK(mark_of(&w) == '!');
    fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(pthread_create(&thread, NULL, kill_when_level, &w) == 0);
        world_open(&w);
        pause();
    }
    CHECK(waitpid(pid, NULL, 0) == pid);
    world_open(&w);
    CHECK(!world_is_complete(&w));
    world_clear(&w);
}

TEST(what_a_full_disk_did_not_take_and_the_end_wrote_is_served_at_the_next_start)
{
    _cleanup_(mem_free_p) char *good = NULL, *after = NULL;
    struct world w;

    world_init(&w);
    world_open(&w);
    fetch_all(&w, "10.0.0.1");
    world_fill_disk();
    world_put(&w, "test/svc/s01", "\"port\":80,\"listener_port\":2001", "10.0.0.2", true);
    world_committed(&w);
    good = world_dump(&w);
    world_free_disk();
    world_reopen(&w);
    CHECK(world_is_complete(&w));
    after = world_dump(&w);
    CHECK_STR(after, good);
    world_clear(&w);
}

/* Fetches whenever the store asks for it, as the daemon does: a file that was made anew may come after a fetch. */
static bool is_caught_up(struct world *w, void *arg)
{
    if (w->wants_fetch) {
        w->wants_fetch = false;
        fetch_all(w, "10.0.0.1");
    }
    return is_quiet(w, arg);
}

TEST(a_first_start_on_a_full_disk_works_in_memory_and_catches_up)
{
    struct err e = {0};
    struct world w;
    int r;

    world_init(&w);
    /* The key alone is there already. */
    world_open(&w);
    world_close(&w);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    CHECK(unlink(world_file(&w, "config.db")) == 0);
    world_fill_disk();
    r = world_try_open(&w, &e);
    if (r == 0)
        fetch_all(&w, "10.0.0.1");
    world_free_disk();
    CHECK_INT(r, 0);
    CHECK(world_alarm(&w, "observed.db") != NULL);
    CHECK(world_alarm(&w, "config.db") != NULL);
    CHECK(world_is_complete(&w));
    CHECK_INT(world_port(&w, "test/svc/s01", "expose#0"), 2001);
    world_until(&w, is_served, "test/svc/s00");
    world_until(&w, is_caught_up, "observed.db");
    world_reopen(&w);
    CHECK(world_is_complete(&w));
    CHECK_INT(world_port(&w, "test/svc/s01", "expose#0"), 2001);
    world_clear(&w);
}

/* ---- keys ---- */

/* A line of a PEM text that is nothing but base64: what must not be found. */
static char *middle_of(const char *pem)
{
    const char *line = strchr(pem, '\n');

    return mem_strndup(line + 1, 40);
}

TEST(private_keys_are_nowhere_in_clear)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *a = test_certificate_for("a.example.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *b = test_certificate_for("b.example.org");
    _cleanup_(mem_free_p) char *encrypted = test_certificate_encrypt_key(a, "the pass phrase");
    const struct secret_values values = {
        .certificate_chain = a->pem, .private_key = encrypted, .password = "the pass phrase"};
    _cleanup_(mem_free_p) char *key_a = middle_of(encrypted), *key_b = middle_of(b->key_pem);
    _cleanup_(mem_free_p) char *chain = middle_of(a->pem);
    static const char *const address[] = {"10.0.0.1", NULL};
    json_t *inline_pair =
        json_pack("{s:s, s:s}", "certificate_chain_inline_string", b->pem, "private_key_inline_string", b->key_pem);
    _cleanup_(mem_free_p) char *info = json_canonical(inline_pair);
    static const char inline_expose[] =
        "{\"listener_certificates\":[\"certificate#2\"],\"port\":444,\"sni\":[\"b.example.org\"]}";
    static const char passing_expose[] =
        "{\"cluster_data\":{\"metadata\":{\"filter_metadata\":{\"a\":{\"b\":\"passed-through-word\"}}}},"
        "\"port\":445}";
    const char *const resources[] = {"certificate#1",
                                     "certificate.tls",
                                     "{\"certificate_secret\":\"one\"}",
                                     "certificate#2",
                                     "certificate.tls",
                                     info,
                                     "expose#0",
                                     "expose.envoy",
                                     tls_expose,
                                     "expose#1",
                                     "expose.envoy",
                                     inline_expose,
                                     "expose#2",
                                     "expose.envoy",
                                     passing_expose,
                                     NULL};
    struct world w;
    struct view *v;

    json_decref(inline_pair);
    world_init(&w);
    world_open(&w);
    world_put_full(&w, "test/svc/a", resources, address);
    store_put_secret(w.store, "test/sec/one", "c1", &values, NULL);
    world_committed(&w);
    for (int i = 0; i < 2; i++) {
        v = store_view(w.store);
        CHECK(view_secret(v, "test/sec/one")->has_pair);
        CHECK_STR(view_secret(v, "test/sec/one")->password, "the pass phrase");
        CHECK_STR(view_service(v, "test/svc/a")->exposures[1].x->listener_certificates[0]->key_inline, b->key_pem);
        view_unref(v);
        /* The search finds what is there. */
        CHECK(world_files_hold(&w, chain));
        CHECK(!world_files_hold(&w, key_a));
        CHECK(!world_files_hold(&w, key_b));
        CHECK(!world_files_hold(&w, "the pass phrase"));
        CHECK(!world_files_hold(&w, "PRIVATE KEY"));
        CHECK(!world_files_hold(&w, "passed-through-word"));
        world_reopen(&w);
    }
    world_clear(&w);
}

TEST(with_another_key_what_was_encrypted_is_dropped_and_said_and_comes_again)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.example.org");
    const struct secret_values values = {.certificate_chain = c->pem, .private_key = c->key_pem};
    static const char *const address[] = {"10.0.0.1", NULL};
    static const char passed[] = "\"port\":80,\"cluster_data\":{\"connect_timeout\":\"1s\"}";
    _cleanup_(mem_free_p) char *good = NULL, *after = NULL;
    const char *const *wanted;
    struct world w;
    size_t n;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    world_put(&w, "plain", "\"port\":81", "10.0.0.1", true);
    world_put(&w, "sealed", passed, "10.0.0.1", true);
    world_put_full(&w, "test/svc/tls", tls, address);
    world_sync_end(&w);
    store_put_secret(w.store, "test/sec/one", "c1", &values, NULL);
    world_committed(&w);
    good = world_dump(&w);
    world_close(&w);
    CHECK(unlink(world_file(&w, "key")) == 0);
    world_open(&w);
    CHECK(world_alarm(&w, "key") != NULL);
    CHECK(strstr(world_alarm(&w, "key"), "1 services and 1 secrets") != NULL);
    /* A part must not look like the whole: nothing is taken away from an Envoy because of it. */
    CHECK(!world_is_complete(&w));
    CHECK(world_service(&w, "plain") != NULL);
    CHECK(world_service(&w, "sealed") == NULL);
    wanted = store_wanted_secrets(w.store, &n);
    CHECK_INT(n, 1);
    CHECK_STR(wanted[0], "test/sec/one");
    /* Also not after a second restart. */
    world_reopen(&w);
    CHECK(!world_is_complete(&w));
    world_sync_begin(&w);
    world_put(&w, "plain", "\"port\":81", "10.0.0.1", true);
    world_put(&w, "sealed", passed, "10.0.0.1", true);
    world_put_full(&w, "test/svc/tls", tls, address);
    world_sync_end(&w);
    store_put_secret(w.store, "test/sec/one", "c1", &values, NULL);
    world_committed(&w);
    CHECK(world_alarm(&w, "key") == NULL);
    world_reopen(&w);
    CHECK(world_alarm(&w, "key") == NULL);
    CHECK(world_is_complete(&w));
    after = world_dump(&w);
    CHECK(strstr(after, "pair=1") != NULL);
    CHECK(strstr(good, "pair=1") != NULL);
    world_clear(&w);
}

TEST(a_key_file_that_others_can_read_stops_the_start)
{
    struct err e = {0};
    struct world w;

    world_init(&w);
    world_open(&w);
    world_close(&w);
    CHECK(chmod(world_file(&w, "key"), 0644) == 0);
    CHECK_INT(world_try_open(&w, &e), -EACCES);
    CHECK(strstr(e.object, "key") != NULL);
    world_clear(&w);
}

/* ---- revisions ---- */

TEST(revisions_have_their_cause_and_what_changed_and_the_oldest_go)
{
    const struct db_value *row;
    struct db_statement *s;
    struct world w;
    struct db *db;
    char keywords[64];
    size_t n;

    world_init(&w);
    world_open(&w);
    for (int i = 0; i < STORE_REVISIONS_MAX + 20; i++) {
        snprintf(keywords, sizeof(keywords), "\"port\":%d", 1 + i);
        world_put(&w, "a", keywords, "10.0.0.1", true);
        if (i == 100)
            world_put(&w, "b", "\"port\":80", "10.0.0.1", true);
        world_committed(&w);
    }
    world_close(&w);
    CHECK_INT(db_open(world_file(&w, "config.db"), &config_schema, &db, NULL), 0);
    CHECK_INT(db_prepare(db, "SELECT count(*), min(number), max(number) FROM revisions", &s, NULL), 0);
    CHECK_INT(db_step(s, &row, &n, NULL), 1);
    CHECK_INT(row[0].number, STORE_REVISIONS_MAX);
    CHECK_INT(row[1].number, 21);
    CHECK_INT(row[2].number, STORE_REVISIONS_MAX + 20);
    db_statement_free(s);
    CHECK_INT(db_prepare(db, "SELECT * FROM revisions WHERE number = 101", &s, NULL), 0);
    CHECK_INT(db_step(s, &row, &n, NULL), 1);
    CHECK(db_row_intact(row, n));
    CHECK_STR(row[2].bytes, "test");
    CHECK(strstr(row[3].bytes, "\"service a\",\"service b\"") != NULL);
    CHECK(row[1].number > INT64_C(1600000000000));
    db_statement_free(s);
    db_close(db);
    world_clear(&w);
}

TEST(ports_of_exposures_that_have_gone_are_kept_up_to_a_number)
{
    enum { GONE = 10050, KEPT = 9000 };
    const struct db_value *row;
    struct db_statement *s;
    struct world w;
    struct db *db;
    char path[32];
    size_t n;

    world_init(&w);
    world_open(&w);
    world_sync_begin(&w);
    world_put(&w, "stays", allocate, "10.0.0.1", true);
    for (int i = 0; i < GONE; i++) {
        snprintf(path, sizeof(path), "g%05d", i);
        world_put(&w, path, allocate, "10.0.0.1", true);
    }
    world_sync_end(&w);
    CHECK(world_port(&w, "g10049", "expose#0") != 0);
    world_sync_begin(&w);
    world_put(&w, "stays", allocate, "10.0.0.1", true);
    world_sync_end(&w);
    world_close(&w);
    CHECK_INT(db_open(world_file(&w, "config.db"), &config_schema, &db, NULL), 0);
    CHECK_INT(db_prepare(db, "SELECT count(*), sum(gone IS NULL) FROM ports", &s, NULL), 0);
    CHECK_INT(db_step(s, &row, &n, NULL), 1);
    CHECK_INT(row[0].number, KEPT + 1);
    CHECK_INT(row[1].number, 1);
    db_statement_free(s);
    db_close(db);
    world_clear(&w);
}
