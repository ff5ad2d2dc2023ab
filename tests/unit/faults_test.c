/* Faults: gathered ones are told by exposure when settled, once; a resource that is made anew ends its own. */
#include "proto/faults.h"

#include "base/buf.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* What was told, a line an exposure: its faults after ":", those before after "<". */
static void append(struct buf *heard, const struct problem *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(heard, " %s|%s|%s", items[i].code, items[i].field, items[i].text);
}

static void hear(void *arg, const char *exposure, const struct problem *now, size_t n_now,
                 const struct problem *before, size_t n_before)
{
    struct buf *heard = arg;

    buf_printf(heard, "%s:", exposure);
    append(heard, now, n_now);
    buf_append_str(heard, " <");
    append(heard, before, n_before);
    buf_append_str(heard, "\n");
}

static const struct fault_origin cluster = {"envoy", XDS_CLUSTER, "a"},
                                 listener = {"envoy", XDS_LISTENER, "0.0.0.0:80"},
                                 elsewhere = {"edge", XDS_LISTENER, "0.0.0.0:80"};

static void add(struct faults *f, const struct fault_origin *place, const char *exposure, int code, const char *field)
{
    struct err e = {0};

    err_set(&e, code, NULL, field, "bad");
    faults_add(f, place, exposure, place->type == XDS_CLUSTER ? FAULT_CLUSTER : FAULT_LISTENER, &e);
}

static void check_settled(struct faults *f, const char *expected)
{
    _cleanup_(buf_clear) struct buf heard = {0};

    faults_settle(f, hear, &heard);
    CHECK_STR(buf_cstr(&heard), expected);
}

#define IN_LISTENER "left out of the listener 0.0.0.0:80: bad"
#define OF_CLUSTER "the cluster can't be made, requests are answered with an error: bad"

TEST(a_fault_is_told_once_and_over_when_its_resource_is_made_without_it)
{
    struct faults *f = faults_new();
    uint64_t version = faults_version(f);

    add(f, &listener, "a", -EINVAL, "expose#0.x");
    CHECK_INT(faults_version(f), version); /* nobody sees it yet */
    check_settled(f, "a: invalid|expose#0.x|" IN_LISTENER " <\n");
    CHECK(faults_version(f) != version);
    version = faults_version(f);
    check_settled(f, "");
    faults_begin(f, &listener);
    add(f, &listener, "a", -EINVAL, "expose#0.x");
    check_settled(f, "");
    CHECK_INT(faults_version(f), version);
    faults_begin(f, &listener);
    check_settled(f, "a: < invalid|expose#0.x|" IN_LISTENER "\n");
    CHECK(faults_version(f) != version);
    faults_free(f);
}

TEST(faults_of_other_resources_stay)
{
    struct faults *f = faults_new();

    add(f, &listener, "a", -EINVAL, "x");
    add(f, &elsewhere, "b", -EPERM, "y");
    add(f, &cluster, "a", -ENOENT, "z");
    check_settled(f, "a: invalid|x|" IN_LISTENER " unready|z|" OF_CLUSTER " <\nb: not_allowed|y|" IN_LISTENER " <\n");
    faults_begin(f, &listener);
    check_settled(f, "a: unready|z|" OF_CLUSTER " < invalid|x|" IN_LISTENER " unready|z|" OF_CLUSTER "\n");
    faults_begin(f, &elsewhere);
    check_settled(f, "b: < not_allowed|y|" IN_LISTENER "\n");
    faults_free(f);
}

TEST(what_ends_as_it_began_is_no_news)
{
    struct faults *f = faults_new();

    add(f, &listener, "a", -EINVAL, "x");
    faults_begin(f, &listener);
    check_settled(f, "");
    add(f, &listener, "a", -EINVAL, "x");
    check_settled(f, "a: invalid|x|" IN_LISTENER " <\n");
    faults_begin(f, &listener);
    faults_begin(f, &listener);
    add(f, &listener, "a", -EINVAL, "y");
    faults_begin(f, &listener);
    add(f, &listener, "a", -EINVAL, "x");
    check_settled(f, "");
    faults_free(f);
}

TEST(a_fault_that_two_chains_have_is_one)
{
    struct faults *f = faults_new();

    add(f, &listener, "a", -EINVAL, "x");
    add(f, &listener, "a", -EINVAL, "x");
    add(f, &listener, "b", -EINVAL, "x");
    check_settled(f, "a: invalid|x|" IN_LISTENER " <\nb: invalid|x|" IN_LISTENER " <\n");
    faults_free(f);
}

TEST(who_reads_gets_copies_and_hears_whether_it_is_a_part)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct faults *f = faults_new();
    const struct problem *items;
    struct err e = {0};
    bool whole;

    CHECK_INT(faults_read(f, "a", a, &items, &whole), 0);
    err_set(&e, -EINVAL, NULL, "route#1.match_path", "bad");
    faults_add(f, &listener, "a", FAULT_ROUTE, &e);
    CHECK_INT(faults_read(f, "a", a, &items, &whole), 0); /* until it is settled */
    faults_settle(f, NULL, NULL);
    CHECK_INT(faults_read(f, "a", a, &items, &whole), 1);
    CHECK(!whole);
    faults_begin(f, &listener);
    faults_settle(f, NULL, NULL);
    CHECK_STR(items[0].field, "route#1.match_path");
    CHECK_STR(items[0].text, "left out of the routes of 0.0.0.0:80: bad");
    add(f, &cluster, "a", -EINVAL, "");
    faults_settle(f, NULL, NULL);
    CHECK_INT(faults_read(f, "a", a, &items, &whole), 1);
    CHECK(whole);
    CHECK_INT(faults_read(f, "b", a, &items, &whole), 0);
    faults_free(f);
}

TEST(endpoints_that_stay_as_they_were_are_a_part_and_none_at_all_the_whole)
{
    static const struct fault_origin endpoints = {"envoy", XDS_ENDPOINT, "a"};
    static const struct {
        enum fault_part part;
        bool whole;
        const char *text;
    } cases[] = {{FAULT_CHANGE, false, "the endpoints stay as they were before: bad"},
                 {FAULT_ENDPOINT, true, "the endpoints can't be made: bad"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_(arena_free_p) struct arena *a = arena_new();
        struct faults *f = faults_new();
        const struct problem *items;
        struct err e = {0};
        bool whole;

        err_set(&e, -EINVAL, NULL, NULL, "bad");
        faults_add(f, &endpoints, "a", cases[i].part, &e);
        faults_settle(f, NULL, NULL);
        CHECK_INT(faults_read(f, "a", a, &items, &whole), 1);
        CHECK(whole == cases[i].whole);
        CHECK_STR(items[0].text, cases[i].text);
        faults_free(f);
    }
}

enum { ROUNDS = 2000 };

static void *read_on(void *arg)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();

    for (size_t i = 0; i < ROUNDS; i++) {
        const struct problem *items;
        bool whole;
        size_t n = faults_read(arg, "a", a, &items, &whole);

        CHECK(n <= 1 && (n == 0 || strcmp(items[0].field, "x") == 0));
    }
    return NULL;
}

TEST(others_read_while_the_writer_settles)
{
    struct faults *f = faults_new();
    pthread_t reader;

    CHECK_INT(pthread_create(&reader, NULL, read_on, f), 0);
    for (size_t i = 0; i < ROUNDS; i++) {
        faults_begin(f, &listener);
        if (i % 2)
            add(f, &listener, "a", -EINVAL, "x");
        faults_settle(f, NULL, NULL);
    }
    pthread_join(reader, NULL);
    faults_free(f);
}
