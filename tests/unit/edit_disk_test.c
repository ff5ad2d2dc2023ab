/*
 * Edits and the disk: kill -9 against a ledger of what was answered, full disks, damage, another key, files of the
 * version before, and what a start makes of a file that is gone.
 */
#include "store/edit.h"

#include "store/migrations.h"
#include "store/sqlite.h"
#include "tests/unit/certs.h"
#include "tests/unit/edit_world.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KILLS = 40, TOKENS = 12, SERVICES = 7 };

static const char *body_of(const struct view *v, enum document_kind kind, const char *name)
{
    const struct document *d = view_document(v, kind, name);

    return d ? d->body : "-";
}

/* ---- kill -9 ---- */

/* The n-th edit: of a token and an exposure together; each fifth removes them. */
static void add_edit(struct edit_batch *b, uint32_t n)
{
    char name[32], body[64];

    snprintf(name, sizeof(name), "%016x", n % TOKENS);
    snprintf(body, sizeof(body), "{'n': %u}", n);
    edit_batch_add(b, DOCUMENT_TOKEN, name, n % 5 == 4 ? NULL : body);
    snprintf(name, sizeof(name), "s%u.expose#0", n % SERVICES);
    snprintf(body, sizeof(body), "{'listener_port': 0, 'port': %u}", 1 + n % 60000);
    edit_batch_add(b, DOCUMENT_EXPOSURE, name, n % 5 == 4 ? NULL : body);
}

/* Edits one after the other, two at a time now and then, and tells the number of each that was answered. */
static void edit_for_ever(struct world *w, int fd, uint32_t n)
{
    for (;;) {
        struct edit_batch *b = edit_batch_new();
        uint32_t more = n % 3 ? 1 : 2;

        for (uint32_t i = 0; i < more; i++) {
            edit_batch_request(b, w, NULL);
            add_edit(b, n + i);
        }
        world_put(w, "agents", n % 2 ? "\"port\":80" : "\"port\":81", "10.0.0.1", true);
        if (n % 4 == 0)
            world_committed(w);
        edit_batch_run(b, w);
        edit_batch_free(b);
        n += more;
        if (write(fd, &n, sizeof(n)) != sizeof(n))
            _exit(1);
    }
}

/* Returns the number of the first edit that was not answered. */
static uint32_t run_and_kill(struct world *w, uint32_t from, uint64_t *seed)
{
    uint32_t wanted = from + (uint32_t)(test_random(seed) % 12);

    return world_run_and_kill(w, edit_for_ever, from, wanted, (unsigned)(test_random(seed) % 300) * 3000);
}

/* The last edit below n of each token and service. */
static bool is_state_after(const struct view *v, uint32_t n)
{
    for (uint32_t i = n > TOKENS ? n - TOKENS : 0; i < n; i++) {
        char name[32], body[64];

        snprintf(name, sizeof(name), "%016x", i % TOKENS);
        snprintf(body, sizeof(body), "{\"n\":%u}", i);
        if (strcmp(body_of(v, DOCUMENT_TOKEN, name), i % 5 == 4 ? "-" : body) != 0)
            return false;
        if (i + SERVICES < n)
            continue;
        snprintf(name, sizeof(name), "s%u.expose#0", i % SERVICES);
        snprintf(body, sizeof(body), "{\"listener_port\":0,\"port\":%u}", 1 + i % 60000);
        if (strcmp(body_of(v, DOCUMENT_EXPOSURE, name), i % 5 == 4 ? "-" : body) != 0)
            return false;
    }
    return true;
}

TEST(kill_9_loses_no_edit_that_was_answered_and_leaves_none_by_halves)
{
    uint64_t seed = 4242;
    uint32_t n = 0, beyond = 0;
    struct world w;

    world_start(&w);
    world_close(&w);
    for (int i = 0; i < KILLS; i++) {
        uint32_t told = run_and_kill(&w, n, &seed);
        struct view *v;

        world_open(&w);
        CHECK(world_alarm(&w, "observed.db") == NULL);
        CHECK(world_alarm(&w, "config.db") == NULL);
        v = store_view(w.store);
        world_check_view(&w, v);
        /* What was under way is there as a whole, or not at all: one edit, or two of one flush. */
        for (n = told; !is_state_after(v, n) && n < told + 2; n++)
            ;
        if (!is_state_after(v, n))
            test_fail(__FILE__, __LINE__, "after kill %d: not what was answered by %u", i, told);
        beyond += n > told;
        view_unref(v);
        world_close(&w);
    }
    /* Some of the kills hit the window. */
    CHECK(n > 40);
    (void)beyond; /* how many depends on the machine */
    world_clear(&w);
}

/* ---- full disks ---- */

static bool is_quiet(struct world *w, void *arg)
{
    return world_alarm(w, arg) == NULL;
}

TEST(on_a_full_disk_edits_are_refused_and_withdrawn_and_serving_goes_on)
{
    _cleanup_(edit_batch_free_p) struct edit_batch *b = edit_batch_new();
    _cleanup_(mem_free_p) char *before = NULL, *after = NULL;
    struct edit_request *first, *second;
    struct world w;
    struct view *v;
    unsigned published;
    uint64_t revision;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    world_edited(&w, DOCUMENT_TOKEN, "0000000000000001", "{'n': 1}");
    before = world_dump_whole(&w);
    first = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_TOKEN, "0000000000000001", "{'n': 2}");
    edit_batch_add(b, DOCUMENT_TOKEN, "0000000000000002", "{'n': 2}");
    edit_batch_add(b, DOCUMENT_OVERRIDE, "web.expose#0", NULL);
    second = edit_batch_request(b, &w, NULL);
    edit_batch_add(b, DOCUMENT_EXPOSURE, "new.expose#0", "{'port': 82}");
    world_fill_disk();
    published = edit_batch_run(b, &w);
    after = world_dump_whole(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.2", true);
    world_committed(&w);
    world_free_disk();
    CHECK_INT(published, 0);
    CHECK_INT(first->result, -EIO);
    CHECK_INT(second->result, -EIO);
    CHECK(first->error.text[0]);
    CHECK_STR(after, before);
    CHECK(world_alarm(&w, "config.db") != NULL);
    CHECK_INT(world_exposure(&w, "web", "expose#0")->endpoints[0].address.bytes[3], 2);
    CHECK_INT(world_port(&w, "web", "expose#0"), 8080);
    world_until(&w, is_quiet, "config.db");
    revision = world_revision(&w);
    /* The number of what was withdrawn is the next one's, which keeps its own history. */
    world_edited(&w, DOCUMENT_TOKEN, "0000000000000001", "{'n': 3}");
    for (int i = 0; i < 2; i++) {
        const struct revision *r;

        v = store_view(w.store);
        CHECK_INT(v->revision, revision + 1);
        r = view_revision(v, v->revision);
        CHECK_INT(r->n_documents, 1);
        CHECK_STR(r->documents[0].before->body, "{\"n\":1}");
        CHECK_STR(r->documents[0].after->body, "{\"n\":3}");
        CHECK_STR(body_of(v, DOCUMENT_TOKEN, "0000000000000002"), "-");
        CHECK_STR(body_of(v, DOCUMENT_EXPOSURE, "new.expose#0"), "-");
        CHECK_STR(body_of(v, DOCUMENT_OVERRIDE, "web.expose#0"), "{\"listener_port\":8080}");
        view_unref(v);
        world_reopen(&w);
    }
    world_clear(&w);
}

TEST(an_edit_that_was_withdrawn_is_not_there_after_a_restart_on_the_full_disk)
{
    _cleanup_(mem_free_p) char *before = NULL, *after = NULL;
    struct err e = {0};
    struct world w;
    int result, opened;

    world_start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "made.expose#0", "{'port': 80}");
    world_reopen(&w);
    before = world_dump_whole(&w);
    world_fill_disk();
    result = world_edit(&w, DOCUMENT_EXPOSURE, "made.expose#0", "{'port': 81}");
    world_close(&w);
    opened = world_try_open(&w, &e);
    world_free_disk();
    CHECK_INT(result, -EIO);
    CHECK_INT(opened, 0);
    after = world_dump_whole(&w);
    CHECK_STR(after, before);
    world_clear(&w);
}

/* ---- damage ---- */

static void sql_in(struct world *w, const char *file, const struct db_schema *schema, const char *text)
{
    struct db_statement *s;
    struct db *db;

    CHECK_INT(db_open(world_file(w, file), schema, &db, NULL), 0);
    CHECK_INT(db_prepare(db, text, &s, NULL), 0);
    CHECK_INT(db_run(s, NULL, 0, NULL), 0);
    db_statement_free(s);
    db_close(db);
}

static void sql(struct world *w, const char *text)
{
    sql_in(w, "config.db", &config_schema, text);
}

/* A store that is opened anew says anew what is wrong. */
static void close_quietly(struct world *w)
{
    world_close(w);
    memset(w->alarms, 0, sizeof(w->alarms));
}

/* Refused and said; the agent's own word is served. */
static void check_refusing(struct world *w)
{
    CHECK(world_alarm(w, "config.db") != NULL);
    CHECK_INT(world_edit(w, DOCUMENT_TOKEN, "0000000000000009", "{}"), -EIO);
    CHECK_INT(world_port(w, "web", "expose#0"), 80);
    CHECK_INT(world_exposure(w, "web", "expose#0")->n_up, 1);
    CHECK(world_verdict(w, "envoy|0.0.0.0:80/tcp", "web.expose#0") != NULL);
    world_put(w, "late", "\"port\":85", "10.0.0.1", true);
    world_committed(w);
    CHECK_INT(world_port(w, "late", "expose#0"), 85);
    store_remove_service(w->store, "late");
    world_committed(w);
}

TEST(a_damaged_document_is_an_alarm_and_the_agents_word_is_served)
{
    static const char *const damages[][2] = {
        {"UPDATE documents SET author = 'mallory'", "UPDATE documents SET author = 'alice'"},
        {"UPDATE history SET author = author || 'x'", "UPDATE history SET author = ''"},
        {"UPDATE authors SET request = 'x'", "UPDATE authors SET request = 'r1'"},
        {"UPDATE members SET name = name || 'x'", "UPDATE members SET name = 'web.expose#0'"},
    };
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    world_edited(&w, DOCUMENT_EXPOSURE, "made.expose#0", "{'port': 81}");
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        world_close(&w);
        sql(&w, damages[i][0]);
        world_open(&w);
        check_refusing(&w);
        close_quietly(&w);
        sql(&w, damages[i][1]);
        /* Mended: all of it is back. */
        world_open(&w);
        CHECK(world_alarm(&w, "config.db") == NULL);
        CHECK_INT(world_port(&w, "web", "expose#0"), 8080);
        CHECK_INT(world_port(&w, "made", "expose#0"), 81);
    }
    world_clear(&w);
}

TEST(with_another_key_edits_are_refused_and_what_the_agent_says_is_served)
{
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    world_close(&w);
    {
        _cleanup_(mem_free_p) char *key = mem_strdup(world_file(&w, "key"));

        CHECK(rename(key, world_file(&w, "aside")) == 0);
        world_open(&w);
        check_refusing(&w);
        CHECK(strstr(world_alarm(&w, "config.db"), "key") != NULL);
        close_quietly(&w);
        /* The right key is found. */
        CHECK(rename(world_file(&w, "aside"), key) == 0);
    }
    world_open(&w);
    CHECK(world_alarm(&w, "config.db") == NULL);
    CHECK_INT(world_port(&w, "web", "expose#0"), 8080);
    world_clear(&w);
}

TEST(what_people_made_is_nowhere_in_clear)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
    json_t *pair = json_pack("{s:s, s:s}", "certificate_chain", c->pem, "private_key", c->key_pem);
    _cleanup_(mem_free_p) char *body = json_canonical(pair);
    struct world w;

    json_decref(pair);
    world_start(&w);
    world_put(&w, "test/svc/web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", body);
    world_edited(&w, DOCUMENT_OVERRIDE, "test/svc/web.expose#0",
                 "{'cluster_data': {'alt_stat_name': 'hidden-word'}}");
    /* The last good form goes to observed.db as it was in effect. */
    world_put(&w, "test/svc/web", "\"port\":\"x\"", "10.0.0.1", true);
    world_committed(&w);
    CHECK(world_exposure(&w, "test/svc/web", "expose#0")->kept);
    world_edited(&w, DOCUMENT_CERTIFICATE, "test/sec/one", NULL);
    for (int i = 0; i < 2; i++) {
        CHECK(world_files_hold(&w, "test/svc/web"));
        CHECK(!world_files_hold(&w, "PRIVATE KEY"));
        CHECK(!world_files_hold(&w, "hidden-word"));
        world_reopen(&w);
    }
    world_clear(&w);
}

/* ---- files that are older, or gone ---- */

static const char *const version_1[] = {
    "CREATE TABLE gateways (name TEXT PRIMARY KEY NOT NULL, settings TEXT NOT NULL, digest INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE ports (gateway TEXT NOT NULL, exposure TEXT NOT NULL, port INTEGER NOT NULL, told INTEGER NOT NULL,"
    " gone INTEGER, digest INTEGER NOT NULL, PRIMARY KEY (gateway, exposure)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX ports_exclusive ON ports (gateway, port);"
    "CREATE TABLE revisions (number INTEGER PRIMARY KEY NOT NULL, time INTEGER NOT NULL, cause TEXT NOT NULL,"
    " changes TEXT NOT NULL, n_changes INTEGER NOT NULL, digest INTEGER NOT NULL);",
};

static void put_row(struct db *db, const char *statement, struct db_value *values, size_t n)
{
    struct db_statement *s;

    values[n] = db_int(db_digest(values, n));
    CHECK_INT(db_prepare(db, statement, &s, NULL), 0);
    CHECK_INT(db_run(s, values, n + 1, NULL), 0);
    db_statement_free(s);
}

static void make_version_1(struct world *w)
{
    const struct db_schema schema = {config_schema.application_id, version_1, ARRAY_LEN(version_1), true};
    struct db_value gateway[3] = {db_text("envoy"), db_text("{}")};
    struct db_value port[6] = {db_text("envoy"), db_text("web.expose#0"), db_int(1333), db_int(1), db_text(NULL)};
    struct db *db;

    CHECK_INT(db_open(world_file(w, "config.db"), &schema, &db, NULL), 0);
    put_row(db, "INSERT INTO gateways VALUES (?, ?, ?)", gateway, 2);
    put_row(db, "INSERT INTO ports VALUES (?, ?, ?, ?, ?, ?)", port, 5);
    for (int i = 7; i < 10; i++) {
        struct db_value revision[6] = {db_int(i), db_int(1700000000000 + i), db_text("agent: patch"),
                                       db_text("[\"service web\"]"), db_int(1)};

        put_row(db, "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)", revision, 5);
    }
    db_close(db);
}

TEST(a_config_db_of_version_1_keeps_its_ports_and_revisions_and_takes_edits)
{
    struct world w;
    struct view *v;

    world_init(&w);
    make_version_1(&w);
    world_open(&w);
    CHECK(world_alarm(&w, "config.db") == NULL);
    world_put(&w, "first", "\"port\":80,\"listener_port\":0", "10.0.0.1", true);
    world_put(&w, "web", "\"port\":80,\"listener_port\":0", "10.0.0.1", true);
    world_committed(&w);
    CHECK_INT(world_port(&w, "web", "expose#0"), 1333);
    world_edited(&w, DOCUMENT_EXPOSURE, "made.expose#0", "{'port': 81}");
    for (int i = 0; i < 2; i++) {
        v = store_view(w.store);
        CHECK_INT(v->revision, 11);
        CHECK_INT(pmap_count(v->revisions), 5);
        CHECK_STR(view_revision(v, 8)->cause, "agent: patch");
        CHECK_STR(view_revision(v, 8)->names[0], "service web");
        CHECK(view_revision(v, 8)->author == NULL);
        CHECK_INT(view_revision(v, 8)->time, 1700000000008);
        CHECK_STR(view_revision(v, 11)->author, "alice");
        view_unref(v);
        CHECK_INT(world_port(&w, "made", "expose#0"), 81);
        world_reopen(&w);
    }
    world_clear(&w);
}

/* The number of the layout is not covered by any digest; neither are the tables' names. */
TEST(a_database_whose_layout_is_not_what_its_version_says_is_damaged_and_no_reason_not_to_start)
{
    static const char *const damages[] = {"PRAGMA user_version = 1", "DROP TABLE revisions"};
    static const char *const observed[] = {"PRAGMA user_version = 1", "DROP TABLE meta"};
    struct world w;

    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        world_start(&w);
        world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
        world_committed(&w);
        world_close(&w);
        sql_in(&w, "observed.db", &observed_schema, observed[i]);
        world_open(&w);
        CHECK(world_alarm(&w, "observed.db") != NULL);
        CHECK(!world_is_complete(&w));
        world_sync_begin(&w);
        world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
        world_sync_end(&w);
        world_until(&w, is_quiet, "observed.db");
        world_close(&w);
        sql_in(&w, "config.db", &config_schema, damages[i]);
        world_open(&w);
        CHECK(world_alarm(&w, "config.db") != NULL);
        CHECK_INT(world_port(&w, "web", "expose#0"), 80);
        world_clear(&w);
    }
}

/* What the migrations after the second one made is undone. */
static void make_version_2(struct world *w)
{
    sql(w, "DROP TABLE members");
    sql(w, "PRAGMA user_version = 2");
    sql_in(w, "observed.db", &observed_schema, "DROP TABLE notes");
    sql_in(w, "observed.db", &observed_schema, "PRAGMA user_version = 2");
}

TEST(an_upgrade_on_a_full_disk_serves_what_there_was_and_writes_as_soon_as_there_is_space)
{
    _cleanup_(mem_free_p) char *before = NULL, *full = NULL, *after = NULL;
    bool wants_commit, wants_fetch, complete;
    struct err e = {0};
    struct world w;
    int opened, refused;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_put(&w, "auto", "\"port\":81,\"listener_port\":0", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    before = world_dump(&w);
    world_close(&w);
    make_version_2(&w);
    world_fill_disk();
    opened = world_try_open(&w, &e);
    refused = opened == 0 ? world_edit(&w, DOCUMENT_TOKEN, "0000000000000001", "{'n': 1}") : 0;
    full = opened == 0 ? world_dump(&w) : NULL;
    complete = opened == 0 && world_is_complete(&w);
    world_free_disk();
    CHECK_INT(opened, 0);
    CHECK(complete);
    CHECK_STR(full, before);
    CHECK_INT(refused, -EIO);
    CHECK(world_alarm(&w, "config.db") != NULL);
    CHECK(world_alarm(&w, "observed.db") != NULL);
    /* Nothing has to happen for it, and nothing was lost that the agent would have to say again. */
    world_until(&w, is_quiet, "config.db");
    world_until(&w, is_quiet, "observed.db");
    store_poll(w.store, &wants_commit, &wants_fetch);
    CHECK(!wants_fetch && !w.wants_fetch);
    world_edited(&w, DOCUMENT_TOKEN, "0000000000000001", "{'n': 1}");
    world_reopen(&w);
    CHECK(world_is_complete(&w));
    after = world_dump(&w);
    CHECK_STR(after, before);
    CHECK(world_alarm_count(&w, "config.db") == 1 && world_alarm_count(&w, "observed.db") == 1);
    world_clear(&w);
}

TEST(without_observed_db_what_people_made_is_there_at_once)
{
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_OVERRIDE, "web.expose#0", "{'listener_port': 8080}");
    world_edited(&w, DOCUMENT_EXPOSURE, "made.expose#0", "{'port': 81, 'listener_port': 0}");
    world_edited(&w, DOCUMENT_EXPOSURE, "web.expose#5", "{'port': 85}");
    world_close(&w);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    for (int i = 0; i < 2; i++) {
        world_open(&w);
        CHECK(!world_is_complete(&w));
        CHECK(world_port(&w, "made", "expose#0") >= 1025);
        CHECK_INT(world_port(&w, "web", "expose#5"), 85);
        CHECK_INT(world_service(&w, "web")->n_exposures, 1);
        world_close(&w);
    }
    world_open(&w);
    world_sync_begin(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_sync_end(&w);
    CHECK(world_is_complete(&w));
    CHECK_INT(world_port(&w, "web", "expose#0"), 8080);
    CHECK_INT(world_port(&w, "web", "expose#5"), 85);
    world_reopen(&w);
    CHECK(world_is_complete(&w));
    world_clear(&w);
}

static bool is_alarmed(struct world *w, void *arg)
{
    return world_alarm(w, arg) != NULL;
}

/* No fetch of the agent's brings what people made: it is put again beside it, or the state would never be whole. */
TEST(an_observed_db_that_is_lost_while_running_is_whole_after_one_fetch)
{
    struct world w;
    bool wants_commit, wants_fetch;

    world_start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "made.expose#0", "{'port': 81}");
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_reopen(&w);
    CHECK(unlink(world_file(&w, "observed.db")) == 0);
    world_put(&w, "web", "\"port\":80", "10.0.0.2", true);
    world_committed(&w);
    if (world_alarm(&w, "observed.db") == NULL)
        world_until(&w, is_alarmed, "observed.db");
    world_sync_begin(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.2", true);
    world_sync_end(&w);
    world_until(&w, is_quiet, "observed.db");
    w.wants_fetch = false;
    store_poll(w.store, &wants_commit, &wants_fetch);
    CHECK(!wants_fetch);
    world_reopen(&w);
    CHECK(world_is_complete(&w));
    CHECK_INT(world_port(&w, "made", "expose#0"), 81);
    CHECK_INT(world_port(&w, "web", "expose#0"), 80);
    world_clear(&w);
}

/* ---- a power cut: config.db was flushed, observed.db was not ---- */

static char *read_file(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    char *bytes = mem_alloc(1 << 22);

    CHECK(f != NULL);
    *ret_n = fread(bytes, 1, 1 << 22, f);
    fclose(f);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    CHECK(f != NULL && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* Edits of exposures, and what a restart with the observed.db of before them makes: the same. */
static void check_power_cut(struct world *w, const char *const (*edits)[2], size_t n)
{
    _cleanup_(mem_free_p) char *before = NULL, *after = NULL, *bytes = NULL;
    size_t length;

    world_close(w);
    bytes = read_file(world_file(w, "observed.db"), &length);
    world_open(w);
    for (size_t i = 0; i < n; i++)
        world_edited(w, strstr(edits[i][0], "made") ? DOCUMENT_EXPOSURE : DOCUMENT_OVERRIDE, edits[i][0],
                     edits[i][1]);
    before = world_dump_whole(w);
    world_close(w);
    write_file(world_file(w, "observed.db"), bytes, length);
    world_open(w);
    after = world_dump_whole(w);
    CHECK_STR(after, before);
    CHECK(world_is_complete(w));
}

static const char *const host_a[] = {"expose#0", "expose.envoy", "{\"port\":80,\"vhosts\":[\"vhost#0\"]}",
                                     "vhost#0",  "vhost.envoy",  "{\"domains\":[\"a.org\"]}",
                                     NULL};
static const char *const host_b[] = {"expose#0", "expose.envoy", "{\"port\":80,\"vhosts\":[\"vhost#0\"]}",
                                     "vhost#0",  "vhost.envoy",  "{\"domains\":[\"b.org\"]}",
                                     NULL};

TEST(after_a_power_cut_an_edit_has_taken_no_name_that_it_only_asked_for)
{
    static const char *const edits[][2] = {
        {"prod/svc/older.expose#0", "{'vhosts': [{'rid': 'vhost#0', 'domains': ['a.org', 'b.org']}]}"}};
    static const char *const address[] = {"10.0.0.1", NULL};
    struct world w;

    world_start(&w);
    world_put_full(&w, "prod/svc/older", host_b, address);
    world_committed(&w);
    world_put_full(&w, "test/svc/holder", host_a, address);
    world_committed(&w);
    check_power_cut(&w, edits, ARRAY_LEN(edits));
    CHECK_INT(world_verdict(&w, "envoy|0.0.0.0:80/tcp", "test/svc/holder.expose#0")->kind, VERDICT_ACCEPTED);
    CHECK_INT(world_verdict(&w, "envoy|0.0.0.0:80/tcp", "prod/svc/older.expose#0")->kind, VERDICT_PARTIAL);
    world_clear(&w);
}

TEST(after_a_power_cut_the_last_good_form_is_there)
{
    static const char *const edits[][2] = {{"web.expose#0", "{'port': 70000, 'listener_port': 8080}"}};
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    check_power_cut(&w, edits, ARRAY_LEN(edits));
    CHECK(world_exposure(&w, "web", "expose#0")->kept);
    CHECK_INT(world_port(&w, "web", "expose#0"), 80);
    world_clear(&w);
}

TEST(after_a_power_cut_what_was_made_and_removed_over_the_api_is_as_it_was_answered)
{
    static const char *const edits[][2] = {{"made2.expose#0", "{'port': 82}"},
                                           {"made1.expose#0", NULL},
                                           {"made2.expose#0", "{'port': 83, 'listener_port': 0}"},
                                           {"web.expose#0", "{'enabled': false}"},
                                           {"web.expose#0", NULL},
                                           {"web.expose#0", "{'listener_port': 8080}"}};
    struct world w;

    world_start(&w);
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "made1.expose#0", "{'port': 81}");
    check_power_cut(&w, edits, ARRAY_LEN(edits));
    world_clear(&w);
}
