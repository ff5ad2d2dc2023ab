/* Notes of proxies: what is found again after a restart, and their bounds. */
#include "server/xds_notes.h"

#include "server/xds_rollout.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_wire.h"

#include <string.h>

/* The xDS side of one daemon. */
struct world {
    struct xds_directory *directory;
    struct xds_refusals *refusals;
    struct xds_notes *notes;
    struct notes noted;
    unsigned n_noted;
    clock_ns now;
};

static void on_note(void *arg, struct notes *notes)
{
    struct world *w = arg;

    notes_clear(&w->noted);
    w->noted = *notes;
    *notes = (struct notes){0};
    w->n_noted++;
}

static void world_init(struct world *w, const struct notes *before)
{
    *w = (struct world){.now = CLOCK_NS_PER_S};
    w->directory = xds_directory_new();
    w->refusals = xds_refusals_new();
    w->notes = xds_notes_new(w->directory, w->refusals, NULL, before, on_note, w);
}

/* What it noted last stays the caller's. */
static struct notes world_clear(struct world *w)
{
    xds_notes_free(w->notes);
    xds_rollout_stop(w->directory);
    xds_directory_free(w->directory);
    xds_refusals_free(w->refusals);
    return w->noted;
}

static struct resource *make(enum xds_type type, const char *content)
{
    struct resource *r =
        wire_resource_new(type, "x", content, type == XDS_LISTENER ? LIST("c") : NULL,
                          type == XDS_LISTENER ? LIST("r1", "r2") : NULL, type == XDS_LISTENER ? LIST("s") : NULL);

    r->alone = type == XDS_LISTENER;
    r->uses_eds = type == XDS_CLUSTER;
    r->sensitive = type == XDS_SECRET;
    return r;
}

static void publish(struct world *w, enum xds_type type, const char *content)
{
    struct wire_batch *b = wire_batch_new();

    wire_batch_gateway(b, "g");
    wire_batch_change(b, "g", type, "x", make(type, content));
    wire_batch_apply(b, w->directory, 1, true);
    xds_notes_applied(w->notes);
}

static const struct xds_table *table(const struct world *w, enum xds_type type)
{
    return &xds_directory_find(w->directory, "g", 1)->tables[type];
}

/* What there is of it at present. */
static struct resource *present(const struct world *w, enum xds_type type)
{
    return xds_current(table(w, type), xds_slot_find(table(w, type)->space, "x", 1))->resource;
}

static struct xds_form *accepted(const struct world *w, enum xds_type type)
{
    return xds_accepted(table(w, type), xds_slot_find(table(w, type)->space, "x", 1));
}

/* A client takes "good", then refuses "bad". */
static void refuse(struct world *w, enum xds_type type)
{
    struct xds_refusing *p = xds_refusing_get(w->refusals, 7, "g");

    publish(w, type, "good");
    xds_refusing_keep(p, type, "x", present(w, type));
    publish(w, type, "bad");
    xds_refusing_add(p, type, 5, "x", "it is bad", 9);
    xds_refusing_add_part(p, type, 6, "x", "a part of it");
    xds_refusing_put(w->refusals, p);
    CHECK_INT(xds_notes_run(w->notes, w->now), INT64_MAX);
    CHECK_INT(w->n_noted, 1);
}

static void check_same(const struct resource *a, const struct resource *b)
{
    size_t n, m;
    const uint8_t *x = resource_message(a, &n), *y = resource_message(b, &m);

    CHECK(a->version == b->version && a->type == b->type);
    CHECK_MEM(x, n, y, m);
    CHECK(a->alone == b->alone && a->uses_eds == b->uses_eds && a->sensitive == b->sensitive);
    CHECK_STR(a->owner, b->owner);
    CHECK_INT(a->n_clusters, b->n_clusters);
    CHECK_INT(a->n_route_needs, b->n_route_needs);
    CHECK_INT(a->n_secret_needs, b->n_secret_needs);
    for (size_t i = 0; i < a->n_clusters; i++)
        CHECK_STR(a->clusters[i], b->clusters[i]);
    for (size_t i = 0; i < a->n_route_needs + a->n_secret_needs; i++)
        CHECK_STR(a->needs[i], b->needs[i]);
}

TEST(what_was_refused_and_what_stands_in_for_it_is_found_again)
{
    for (enum xds_type type = XDS_CLUSTER; type < XDS_TYPES; type++) {
        struct resource *good = make(type, "good");
        struct xds_refusing *p;
        struct notes notes;
        struct world w;

        world_init(&w, NULL);
        refuse(&w, type);
        notes = world_clear(&w);
        CHECK_INT(notes.n, 2);
        world_init(&w, &notes);
        p = xds_refusing_get(w.refusals, 7, "g");
        CHECK_INT(xds_refusing_count(p), 2);
        CHECK_STR(xds_refusing_find(p, type, 5)->words, "it is bad");
        CHECK_STR(xds_refusing_find_part(p, type, 6)->name, "x");
        CHECK_INT(xds_refusing_count_parts(p, type, "x"), 1);
        check_same(xds_refusing_kept(p, type, "x"), good);
        xds_refusing_put(w.refusals, p);
        publish(&w, type, "bad");
        check_same(accepted(&w, type)->resource, good);
        notes_clear(&notes);
        /* And it is noted once more, for the next restart. */
        xds_notes_run(w.notes, w.now);
        notes = world_clear(&w);
        CHECK_INT(notes.n, 2);
        notes_clear(&notes);
        resource_unref(good);
    }
}

TEST(what_a_proxy_has_that_was_behind_is_found_again_though_it_refused_nothing)
{
    for (unsigned behind = 0; behind < 2; behind++) {
        struct resource *good = make(XDS_LISTENER, "good");
        struct xds_refusing *p;
        struct notes notes;
        struct world w;

        world_init(&w, NULL);
        p = xds_refusing_get(w.refusals, 7, "g");
        publish(&w, XDS_LISTENER, "good");
        if (behind)
            publish(&w, XDS_LISTENER, "newer");
        xds_refusing_keep(p, XDS_LISTENER, "x", good);
        xds_refusing_put(w.refusals, p);
        notes = world_clear(&w);
        CHECK_INT(notes.n, behind ? 2 : 0);
        world_init(&w, &notes);
        p = xds_refusing_get(w.refusals, 7, "g");
        CHECK_INT(xds_refusing_count(p), 0);
        if (behind)
            check_same(xds_refusing_kept(p, XDS_LISTENER, "x"), good);
        xds_refusing_put(w.refusals, p);
        resource_unref(good);
        notes_clear(&notes);
        notes = world_clear(&w);
        notes_clear(&notes);
    }
}

TEST(proxies_that_were_behind_take_no_room_from_refusals_and_are_bounded)
{
    enum { PROXIES = XDS_NOTES_MAX + 100 };
    struct resource *good = make(XDS_LISTENER, "good");
    struct notes notes;
    struct world w;

    world_init(&w, NULL);
    publish(&w, XDS_LISTENER, "good");
    publish(&w, XDS_LISTENER, "newer");
    for (uint64_t i = 1; i <= PROXIES; i++) {
        struct xds_refusing *p = xds_refusing_get(w.refusals, i, "g");

        xds_refusing_begin(p, XDS_TYPES);
        xds_refusing_keep(p, XDS_LISTENER, "x", good);
        if (i % 1000 == 0)
            xds_refusing_add(p, XDS_LISTENER, 5, "x", "it is bad", 9);
    }
    CHECK_INT(xds_notes_run(w.notes, w.now), INT64_MAX);
    CHECK_INT(w.noted.n, 1 + XDS_NOTES_MAX); /* one form, and the proxies that have it */
    for (size_t i = 0; i < w.noted.n; i++)
        CHECK(w.noted.items[i].len < 200);
    for (uint64_t i = 1; i <= PROXIES; i++) {
        struct xds_refusing *p = xds_refusing_get(w.refusals, i, "g");

        xds_refusing_put(w.refusals, p);
        xds_refusing_put(w.refusals, p);
    }
    resource_unref(good);
    notes = world_clear(&w);
    notes_clear(&notes);
}

TEST(each_proxy_finds_again_what_it_had_itself)
{
    struct xds_refusing *p[3];
    struct notes notes;
    struct world w;

    world_init(&w, NULL);
    for (uint64_t i = 0; i < 3; i++) {
        p[i] = xds_refusing_get(w.refusals, i, "g");
        publish(&w, XDS_LISTENER, i < 2 ? "old" : "newer");
        xds_refusing_keep(p[i], XDS_LISTENER, "x", present(&w, XDS_LISTENER));
        xds_refusing_add(p[i], XDS_LISTENER, 5, "x", "no", 2);
        xds_refusing_put(w.refusals, p[i]);
    }
    publish(&w, XDS_LISTENER, "newest");
    notes = world_clear(&w);
    CHECK_INT(notes.n, 5);
    world_init(&w, &notes);
    for (uint64_t i = 0; i < 3; i++) {
        struct resource *expected = make(XDS_LISTENER, i < 2 ? "old" : "newer");

        p[i] = xds_refusing_get(w.refusals, i, "g");
        check_same(xds_refusing_kept(p[i], XDS_LISTENER, "x"), expected);
        xds_refusing_put(w.refusals, p[i]);
        resource_unref(expected);
    }
    notes_clear(&notes);
    notes = world_clear(&w);
    notes_clear(&notes);
}

TEST(notes_are_made_when_something_changed_and_not_too_often)
{
    const clock_ns haste = XDS_NOTES_HASTE_MS * CLOCK_NS_PER_MS + 2 * XDS_NOTES_EACH_NS; /* after two refusals */
    struct xds_refusing *p;
    struct notes notes;
    struct world w;

    world_init(&w, NULL);
    publish(&w, XDS_CLUSTER, "good");
    CHECK_INT(xds_notes_run(w.notes, w.now), INT64_MAX);
    CHECK_INT(w.n_noted, 0);
    refuse(&w, XDS_CLUSTER);
    publish(&w, XDS_CLUSTER, "bad again");
    CHECK_INT(xds_notes_run(w.notes, w.now += 1), INT64_MAX); /* nobody took or refused it */
    p = xds_refusing_get(w.refusals, 7, "g");
    xds_refusing_add(p, XDS_CLUSTER, 8, "x", "bad too", 7);
    CHECK_INT(xds_notes_run(w.notes, w.now), CLOCK_NS_PER_S + haste);
    CHECK_INT(w.n_noted, 1);
    w.now += haste;
    CHECK_INT(xds_notes_run(w.notes, w.now), INT64_MAX);
    CHECK_INT(w.n_noted, 2);
    /* What nobody refuses any more is noted no more. */
    xds_refusals_forget(w.refusals);
    xds_refusing_put(w.refusals, p);
    notes = world_clear(&w);
    CHECK_INT(w.n_noted, 3);
    CHECK_INT(notes.n, 0);
    notes_clear(&notes);
}

TEST(a_form_that_is_noted_stands_in_for_nothing_that_is_gone_or_was_taken_since)
{
    struct notes notes;
    struct world w;

    world_init(&w, NULL);
    refuse(&w, XDS_ROUTE);
    notes = world_clear(&w);
    world_init(&w, &notes);
    publish(&w, XDS_CLUSTER, "another type");
    publish(&w, XDS_ROUTE, "bad"); /* later than the first state: it was not there */
    CHECK(accepted(&w, XDS_ROUTE) == NULL);
    notes_clear(&notes);
    notes = world_clear(&w);
    notes_clear(&notes);
}

/* It may hold a private key. */
TEST(what_stood_in_is_noted_no_more_when_nothing_is_there_to_stand_in_for)
{
    struct wire_batch *b = wire_batch_new();
    struct notes notes;
    struct world w;

    world_init(&w, NULL);
    refuse(&w, XDS_SECRET);
    CHECK_INT(w.noted.n, 2);
    wire_batch_gateway(b, "g");
    wire_batch_change(b, "g", XDS_SECRET, "x", NULL);
    wire_batch_apply(b, w.directory, 2, true);
    xds_notes_applied(w.notes);
    w.now += CLOCK_NS_PER_S;
    CHECK_INT(xds_notes_run(w.notes, w.now), INT64_MAX);
    CHECK_INT(w.noted.n, 1);
    notes = world_clear(&w);
    notes_clear(&notes);
}

TEST(of_each_proxy_the_newest_refusals_are_noted)
{
    struct xds_refusing *p;
    struct notes notes;
    struct world w;

    world_init(&w, NULL);
    publish(&w, XDS_CLUSTER, "good");
    p = xds_refusing_get(w.refusals, 7, "g");
    for (uint64_t i = 1; i <= XDS_NOTES_REFUSALS_MAX + 1; i++)
        xds_refusing_add(p, XDS_CLUSTER, i, "x", "no", 2);
    xds_refusing_put(w.refusals, p);
    notes = world_clear(&w);
    world_init(&w, &notes);
    p = xds_refusing_get(w.refusals, 7, "g");
    CHECK_INT(xds_refusing_count(p), XDS_NOTES_REFUSALS_MAX);
    CHECK(xds_refusing_find(p, XDS_CLUSTER, 1) == NULL);
    CHECK(xds_refusing_find(p, XDS_CLUSTER, 2) != NULL);
    xds_refusing_put(w.refusals, p);
    notes_clear(&notes);
    notes = world_clear(&w);
    notes_clear(&notes);
}

TEST(what_is_refused_for_the_moment_is_not_noted)
{
    struct xds_refusing *p;
    struct notes notes;
    struct world w;

    world_init(&w, NULL);
    publish(&w, XDS_CLUSTER, "good");
    p = xds_refusing_get(w.refusals, 7, "g");
    xds_refusing_add(p, XDS_LISTENER, 1, "l", "cannot bind", 11);
    CHECK_INT(xds_notes_run(w.notes, w.now), INT64_MAX);
    CHECK_INT(w.n_noted, 0);
    xds_refusing_add(p, XDS_LISTENER, 2, "l", "bad", 3);
    xds_refusing_add(p, XDS_LISTENER, 3, "l", "cannot bind", 11);
    w.now += CLOCK_NS_PER_S;
    CHECK_INT(xds_notes_run(w.notes, w.now), INT64_MAX);
    CHECK_INT(w.n_noted, 1);
    xds_refusing_put(w.refusals, p);
    notes = world_clear(&w);
    world_init(&w, &notes);
    p = xds_refusing_get(w.refusals, 7, "g");
    CHECK_INT(xds_refusing_count(p), 1);
    CHECK(xds_refusing_find(p, XDS_LISTENER, 2) != NULL);
    xds_refusing_put(w.refusals, p);
    notes_clear(&notes);
    notes = world_clear(&w);
    notes_clear(&notes);
}

TEST(proxies_that_are_gone_take_no_room_from_those_that_are_there)
{
    enum { GONE = 2 * XDS_NOTES_MAX / XDS_NOTES_REFUSALS_MAX, THERE = 20 };
    struct xds_refusing *there[THERE];
    struct notes notes;
    struct world w;

    world_init(&w, NULL);
    publish(&w, XDS_CLUSTER, "good");
    for (uint64_t proxy = 0; proxy < THERE; proxy++) {
        there[proxy] = xds_refusing_get(w.refusals, proxy, "g");
        xds_refusing_add(there[proxy], XDS_CLUSTER, 1, "x", "no", 2);
    }
    for (uint64_t proxy = THERE; proxy < THERE + GONE; proxy++) {
        struct xds_refusing *p = xds_refusing_get(w.refusals, proxy, "g");

        for (uint64_t i = 1; i <= XDS_NOTES_REFUSALS_MAX; i++)
            xds_refusing_add(p, XDS_CLUSTER, i, "x", "no", 2);
        xds_refusing_put(w.refusals, p);
    }
    CHECK_INT(xds_notes_run(w.notes, w.now), INT64_MAX);
    for (uint64_t proxy = 0; proxy < THERE; proxy++)
        xds_refusing_put(w.refusals, there[proxy]);
    notes = w.noted;
    w.noted = (struct notes){0};
    CHECK(notes.n > THERE && notes.n < GONE);
    struct notes again = world_clear(&w);
    notes_clear(&again);
    world_init(&w, &notes);
    for (uint64_t proxy = 0; proxy < THERE; proxy++) {
        there[proxy] = xds_refusing_get(w.refusals, proxy, "g");
        CHECK_INT(xds_refusing_count(there[proxy]), 1);
        xds_refusing_put(w.refusals, there[proxy]);
    }
    notes_clear(&notes);
    notes = world_clear(&w);
    notes_clear(&notes);
}

/* The database's digests make it unlikely; another version of the program may have written it. */
TEST(notes_that_are_cut_or_changed_do_no_harm)
{
    struct notes notes;
    uint64_t random = 1;
    struct world w;

    world_init(&w, NULL);
    refuse(&w, XDS_LISTENER);
    notes = world_clear(&w);
    for (unsigned run = 0; run < 2000; run++) {
        struct note *note = &notes.items[run % notes.n];
        size_t len = note->len, at = test_random(&random) % len;
        uint8_t byte = note->bytes[at];
        struct notes again;

        note->bytes[at] = (uint8_t)test_random(&random);
        note->len = run % 3 ? len : at;
        world_init(&w, &notes);
        publish(&w, XDS_LISTENER, "bad");
        again = world_clear(&w);
        notes_clear(&again);
        note->len = len;
        note->bytes[at] = byte;
    }
    notes_clear(&notes);
}
