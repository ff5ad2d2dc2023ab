/* Events: numbered without holes, replayed from any place that is still known, over restarts too. */
#include "tests/unit/store_world.h"
#include "tests/unit/test.h"

#include "store/events.h"
#include "store/expiry.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t add(struct event_ring *r, const char *kind, const char *name)
{
    _cleanup_(mem_free_p) char *json = mem_printf("{\"kind\":\"%s\",\"name\":\"%s\"}", kind, name);

    return event_ring_add(r, json);
}

/* A passing one. */
static void pass(struct event_ring *r, const char *kind, const char *name)
{
    _cleanup_(mem_free_p) char *json = mem_printf("{\"kind\":\"%s\",\"name\":\"%s\"}", kind, name),
                               *key = mem_printf("%s %s", kind, name);

    event_ring_pass(r, key, json);
}

/* All behind place, as text; mem_free(). */
static char *drain(struct event_ring *r, struct event_place *place, const char *const *kinds, bool *lost)
{
    struct buf b;
    bool any;

    *lost = false;
    buf_init(&b, 0);
    do {
        bool now;

        any = event_ring_next(r, place, kinds, &b, &now);
        *lost |= now;
    } while (any);
    return buf_take(&b, NULL);
}

TEST(a_place_is_read_as_it_is_written_and_nothing_else_is_one)
{
    static const char *const bad[] = {"",     "1",    "1.",   ".1",  "1.2.3",
                                      "1.-2", "+1.2", "1.2 ", "a.b", "1.123456789012345678901"};
    struct event_place p = {UINT64_MAX, 7}, q;
    char text[EVENT_PLACE_MAX];

    CHECK_STR(event_place_text(p, text), "18446744073709551615.7");
    CHECK_INT(event_place_parse(text, &q), 0);
    CHECK(q.epoch == UINT64_MAX && q.seq == 7);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK(event_place_parse(bad[i], &q) < 0);
    CHECK_INT(event_place_parse("99999999999999999999.99999999999999999999", &q), 0);
    CHECK(q.epoch == UINT64_MAX && q.seq == UINT64_MAX);
}

/* The names in what was drained, each behind the number of its place. */
static char *names_of(char *text)
{
    struct buf b;

    buf_init(&b, 0);
    for (const char *at = text; (at = strstr(at, "id: 5.")) != NULL; at++) {
        const char *name = strstr(at, "\"name\":\"") + 8;
        (void)buf_printf(&b, "%lu%.*s ", strtoul(at + 6, NULL, 10), (int)strcspn(name, "\""), name);
    }
    mem_free(text);
    return buf_take(&b, NULL);
}

#define CHECK_DRAIN(ring, place, expected)                                                                           \
    do {                                                                                                             \
        bool is_lost;                                                                                                \
        _cleanup_(mem_free_p) char *names = names_of(drain(ring, place, NULL, &is_lost));                            \
        CHECK_STR(names, expected);                                                                                  \
        CHECK(!is_lost);                                                                                             \
    } while (0)

TEST(what_passes_is_told_once_of_each_object_however_often_it_changed)
{
    struct event_ring *r = event_ring_new(5);
    struct event_place slow = event_ring_last(r), quick = slow;

    pass(r, "Proxy", "p");
    CHECK_DRAIN(r, &quick, "0p ");
    for (unsigned i = 0; i < 3 * EVENTS_PASSING_MAX; i++)
        pass(r, "Proxy", i % 2 ? "p" : "q");
    CHECK_DRAIN(r, &slow, "0q 0p ");
    CHECK_DRAIN(r, &quick, "0q 0p ");
    CHECK_DRAIN(r, &quick, "");
    pass(r, "Proxy", "q");
    CHECK_DRAIN(r, &quick, "0q ");
    event_ring_free(r);
}

TEST(what_passes_takes_no_number_and_pushes_nothing_out)
{
    struct event_ring *r = event_ring_new(5);
    struct event_place p = event_ring_last(r);
    bool lost;

    add(r, "Exposure", "a");
    for (unsigned i = 0; i < 2 * EVENTS_MAX; i++) {
        _cleanup_(mem_free_p) char *name = mem_printf("p%u", i);
        pass(r, "Proxy", name);
    }
    CHECK_INT(add(r, "Exposure", "b"), 2);
    struct event_place behind_a = {.epoch = 5, .seq = 1};
    /* Too many objects: some are lost to who had not read them, but nothing that has a place is. */
    mem_free(drain(r, &behind_a, NULL, &lost));
    CHECK(lost);
    static const char *const kinds[] = {"Exposure", NULL};
    p = (struct event_place){.epoch = 5, .seq = 1, .next = event_ring_last(r).next};
    _cleanup_(mem_free_p) char *names = names_of(drain(r, &p, kinds, &lost));
    CHECK_STR(names, "2b ");
    CHECK(!lost);
    event_ring_free(r);
}

TEST(who_comes_back_to_a_place_is_told_again_what_passed_behind_it)
{
    struct event_ring *r = event_ring_new(5);

    add(r, "Exposure", "a");
    pass(r, "Proxy", "p");
    add(r, "Exposure", "b");
    pass(r, "Proxy", "q");
    struct event_place at_a, at_b, now = event_ring_last(r);
    CHECK_INT(event_place_parse("5.1", &at_a), 0);
    CHECK_INT(event_place_parse("5.2", &at_b), 0);
    CHECK_DRAIN(r, &at_a, "1p 2b 2q ");
    CHECK_DRAIN(r, &at_b, "2q ");
    CHECK_DRAIN(r, &now, "");
    add(r, "Exposure", "c");
    pass(r, "Proxy", "p");
    CHECK_DRAIN(r, &at_b, "3c 3p ");
    CHECK_DRAIN(r, &now, "3c 3p ");
    event_ring_free(r);
}

TEST(who_breaks_off_anywhere_has_been_told_of_all_that_passed_before)
{
    static const char *const names[] = {"p", "a", "q", "b", "r"};
    struct event_ring *r = event_ring_new(5);
    struct event_place start = event_ring_last(r);

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (i % 2)
            add(r, "Exposure", names[i]);
        else
            pass(r, "Proxy", names[i]);
    for (unsigned n = 0; n <= ARRAY_LEN(names); n++) {
        struct event_place reader = start, again;
        _cleanup_(buf_clear) struct buf told = {0};
        bool lost;

        buf_init(&told, 0);
        for (unsigned i = 0; i < n; i++)
            CHECK(event_ring_next(r, &reader, NULL, &told, &lost));
        /* What an id says is all that is left of a place. */
        again = (struct event_place){.epoch = reader.epoch, .seq = reader.seq};
        _cleanup_(mem_free_p) char *rest = drain(r, &again, NULL, &lost);
        CHECK(!lost);
        (void)buf_append_str(&told, rest);
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            _cleanup_(mem_free_p) char *text = mem_printf("\"name\":\"%s\"", names[i]);

            if (!strstr(buf_cstr(&told), text))
                test_fail(__FILE__, __LINE__, "after %u, %s is not told", n, names[i]);
        }
    }
    event_ring_free(r);
}

TEST(a_place_that_is_shown_a_moment_before_its_events_are_told_is_no_lost_one)
{
    struct event_ring *r = event_ring_new(5);
    struct event_place shown, beyond, late, before;
    bool lost;

    add(r, "Exposure", "a");
    before = event_ring_last(r);
    event_ring_expect(r, 2);
    CHECK_INT(event_place_parse("5.3", &shown), 0);
    CHECK_INT(event_place_parse("5.4", &beyond), 0);
    CHECK_DRAIN(r, &shown, "");
    mem_free(drain(r, &beyond, NULL, &lost));
    CHECK(lost);
    pass(r, "Proxy", "p");
    CHECK_INT(event_place_parse("5.3", &late), 0);
    CHECK_DRAIN(r, &late, "3p "); /* it may have read what it has before that happened */
    CHECK_DRAIN(r, &before, "");  /* that comes behind b and c */
    add(r, "Exposure", "b");
    add(r, "Exposure", "c");
    CHECK_DRAIN(r, &shown, "3p "); /* b and c were seen */
    CHECK_DRAIN(r, &before, "2b 3c 3p ");
    add(r, "Exposure", "d");
    CHECK_DRAIN(r, &shown, "4d ");
    CHECK_INT(event_place_parse("5.5", &beyond), 0);
    mem_free(drain(r, &beyond, NULL, &lost));
    CHECK(lost);
    event_ring_free(r);
}

TEST(after_too_many_that_passed_everything_is_to_be_read_again_once)
{
    struct event_ring *r = event_ring_new(5);
    struct event_place p = event_ring_last(r), from_text;
    bool lost;

    CHECK_INT(event_place_parse("5.0", &from_text), 0);
    for (unsigned i = 0; i <= EVENTS_PASSING_MAX; i++) {
        _cleanup_(mem_free_p) char *name = mem_printf("p%u", i);
        pass(r, "Proxy", name);
    }
    mem_free(drain(r, &p, NULL, &lost));
    CHECK(lost);
    mem_free(drain(r, &from_text, NULL, &lost));
    CHECK(lost);
    CHECK_DRAIN(r, &p, "");
    pass(r, "Proxy", "p7");
    CHECK_DRAIN(r, &p, "0p7 ");
    CHECK_DRAIN(r, &from_text, "0p7 ");
    event_ring_free(r);
}

TEST(whoever_watches_gets_each_event_once_in_order)
{
    struct event_ring *r = event_ring_new(5);
    struct event_place p = event_ring_last(r);
    bool lost;

    CHECK_INT(p.seq, 0);
    CHECK_INT(add(r, "Exposure", "a"), 1);
    CHECK_INT(add(r, "Gateway", "g"), 2);
    {
        _cleanup_(mem_free_p) char *text = drain(r, &p, NULL, &lost);

        CHECK(!lost);
        CHECK_STR(text, "id: 5.1\nevent: change\ndata: {\"kind\":\"Exposure\",\"name\":\"a\"}\n\n"
                        "id: 5.2\nevent: change\ndata: {\"kind\":\"Gateway\",\"name\":\"g\"}\n\n");
    }
    {
        _cleanup_(mem_free_p) char *text = drain(r, &p, NULL, &lost);

        CHECK(!lost);
        CHECK_STR(text, "");
    }
    event_ring_free(r);
}

TEST(kinds_that_nobody_asked_for_are_passed)
{
    static const char *const kinds[] = {"Gate", "Gateway", NULL};
    struct event_ring *r = event_ring_new(5);
    struct event_place p = {5, 0};
    bool lost;

    add(r, "Exposure", "Gateway");
    add(r, "Gateway", "g");
    add(r, "Gateways", "h");
    _cleanup_(mem_free_p) char *text = drain(r, &p, kinds, &lost);

    CHECK_STR(text, "id: 5.2\nevent: change\ndata: {\"kind\":\"Gateway\",\"name\":\"g\"}\n\n");
    CHECK_INT(p.seq, 3);
    event_ring_free(r);
}

TEST(a_place_that_is_too_old_of_another_epoch_or_of_the_future_is_lost)
{
    struct event_ring *r = event_ring_new(5);
    struct event_place places[] = {{5, 0}, {4, EVENTS_MAX}, {5, EVENTS_MAX + 2}, {5, UINT64_MAX}, {5, 1}};
    bool lost;

    for (size_t i = 0; i < EVENTS_MAX + 1; i++)
        add(r, "Exposure", "a");
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        _cleanup_(mem_free_p) char *text = drain(r, &places[i], NULL, &lost);

        CHECK_INT(lost, i < 4);
        CHECK_INT(strlen(text) > 0, i == 4); /* the oldest that is known is the one behind the first */
        CHECK(places[i].epoch == 5 && places[i].seq == EVENTS_MAX + 1);
    }
    event_ring_free(r);
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

TEST(watches_are_woken_until_they_are_taken_back)
{
    struct event_ring *r = event_ring_new(5);
    unsigned a = 0, b = 0, c = 0;
    struct event_watch *x = event_watch_new(r, count, &a), *y = event_watch_new(r, count, &b),
                       *z = event_watch_new(r, count, &c);

    add(r, "Exposure", "a");
    event_watch_free(y);
    add(r, "Exposure", "a");
    event_watch_free(x);
    event_watch_free(z);
    add(r, "Exposure", "a");
    CHECK(a == 2 && b == 1 && c == 2);
    event_ring_free(r);
}

static char *events_since(struct world *w, struct event_place *p, bool *lost)
{
    return drain(store_events(w->store), p, NULL, lost);
}

TEST(a_view_names_the_place_to_watch_from)
{
    struct world w;
    struct view *v;
    bool lost;

    world_init(&w);
    world_open(&w);
    world_put(&w, "web", "\"port\":80,\"listener_port\":2001", "10.0.0.1", true);
    world_put(&w, "web2", "\"port\":80,\"listener_port\":2002", "10.0.0.1", true);
    world_committed(&w);
    v = store_view(w.store);
    {
        struct event_place p = v->event;
        _cleanup_(mem_free_p) char *text = events_since(&w, &p, &lost);

        CHECK(!lost);
        CHECK_STR(text, "");
    }
    world_put(&w, "web", "\"port\":80,\"listener_port\":2001", "10.0.0.1", false);
    world_committed(&w);
    {
        struct event_place p = v->event;
        _cleanup_(mem_free_p) char *text = events_since(&w, &p, &lost);

        CHECK(!lost);
        CHECK_INT(test_count(text, "id: "), 1);
        CHECK(strstr(text, "{\"kind\":\"Exposure\",\"name\":\"web.expose#0\",\"change\":\"modified\""));
    }
    view_unref(v);
    world_clear(&w);
}

static const char *const alarms[] = {"config.db", "ports"};

TEST(events_are_replayed_after_a_restart_and_go_on_without_a_hole)
{
    struct world w;
    struct event_place p, last;
    bool lost;

    world_init(&w);
    world_open(&w);
    p = event_ring_last(store_events(w.store));
    world_put(&w, "web", "\"port\":80,\"listener_port\":2001", "10.0.0.1", true);
    world_committed(&w);
    store_announce(w.store, "Alarm", alarms, ARRAY_LEN(alarms), EVENT_ADDED);
    last = event_ring_last(store_events(w.store));
    world_reopen(&w);
    CHECK(event_ring_last(store_events(w.store)).epoch == last.epoch);
    CHECK_INT(event_ring_last(store_events(w.store)).seq, last.seq);
    store_announce(w.store, "Alarm", alarms, 1, EVENT_REMOVED);
    _cleanup_(mem_free_p) char *text = events_since(&w, &p, &lost);

    CHECK(!lost);
    CHECK_INT(test_count(text, "id: "), last.seq + 1);
    CHECK_INT(test_count(text, "\"Service\""), 1);
    CHECK_INT(test_count(text, "\"Revision\""), 1);
    CHECK_INT(test_count(text, "\"removed\""), 1);
    CHECK(strstr(strstr(text, "\"config.db\""), "\"ports\""));
    world_clear(&w);
}

TEST(of_more_events_than_are_kept_the_last_ones_are_told_and_who_stood_before_them_reads_everything)
{
    enum { SERVICES = 1500 }; /* each is three events: it, its exposure, its listener */
    struct world w;
    struct event_place before, after, first, too_early;
    bool lost;

    _Static_assert((int)SERVICES * 3 > (int)EVENTS_MAX, "more than are kept");
    world_init(&w);
    world_open(&w);
    before = event_ring_last(store_events(w.store));
    for (unsigned i = 0; i < SERVICES; i++) {
        _cleanup_(mem_free_p) char *path = mem_printf("web%04u", i),
                                   *keywords = mem_printf("\"port\":80,\"listener_port\":%u", 2000 + i);
        world_put(&w, path, keywords, "10.0.0.1", true);
    }
    world_committed(&w);
    after = event_ring_last(store_events(w.store));
    CHECK(after.seq - before.seq > SERVICES * UINT64_C(3)); /* and the revision's */
    world_reopen(&w);
    CHECK_INT(event_ring_last(store_events(w.store)).seq, after.seq);
    first = too_early = (struct event_place){.epoch = after.epoch, .seq = after.seq - EVENTS_MAX};
    too_early.seq--;
    _cleanup_(mem_free_p) char *text = events_since(&w, &first, &lost);

    CHECK(!lost);
    CHECK_INT(test_count(text, "id: "), EVENTS_MAX);
    CHECK_INT(test_count(text, "\"Revision\""), 1);
    mem_free(events_since(&w, &too_early, &lost));
    CHECK(lost);
    world_clear(&w);
}

TEST(without_what_was_told_before_a_new_epoch_begins)
{
    struct world w;
    struct event_place p;
    bool lost;

    world_init(&w);
    world_open(&w);
    store_announce(w.store, "Alarm", alarms, 1, EVENT_ADDED);
    p = event_ring_last(store_events(w.store));
    world_close(&w);
    CHECK_INT(remove(world_file(&w, "observed.db")), 0);
    world_open(&w);
    CHECK(event_ring_last(store_events(w.store)).epoch != p.epoch);
    mem_free(events_since(&w, &p, &lost));
    CHECK(lost);
    world_clear(&w);
}

/* ---- what runs out ---- */

enum { DAY = EXPIRY_DAY_SECONDS, BEGAN = 1000000000 /* 2001-09-09T01:46:40Z */ };

static struct expiry token_expiry(const char *expires_at)
{
    _cleanup_(mem_free_p) char *body = mem_printf("{\"expires_at\":\"%s\"}", expires_at);
    struct document *d = document_new(DOCUMENT_TOKEN, "0123456789abcdef", body, "root", 1, BEGAN * INT64_C(1000),
                                      BEGAN * INT64_C(1000));
    struct expiry e = {0};

    CHECK(expiry_of_token(d, &e));
    document_unref(d);
    return e;
}

TEST(a_token_is_an_alarm_for_two_weeks_before_its_end_or_the_last_quarter_of_its_life_and_as_long_after_it)
{
    struct expiry year = token_expiry("2002-09-09T01:46:40Z"), hour = token_expiry("2001-09-09T03:46:40.000+01:00");
    struct document *for_ever = document_new(DOCUMENT_TOKEN, "x", "{}", "root", 1, 0, 0);

    CHECK(!expiry_of_token(for_ever, &hour));
    CHECK(year.ends_at == BEGAN + 365.0 * DAY && year.warned_at == year.ends_at - 14.0 * DAY);
    CHECK(hour.ends_at == BEGAN + 3600.0 && hour.warned_at == BEGAN + 2700.0 && hour.told_until == BEGAN + 4500.0);
    CHECK(expiry_state(&hour, BEGAN) == EXPIRY_FAR && !expiry_is_alarm(&hour, BEGAN));
    CHECK(expiry_state(&hour, BEGAN + 2700) == EXPIRY_SOON && expiry_is_alarm(&hour, BEGAN + 2700));
    CHECK(expiry_state(&hour, BEGAN + 3600) == EXPIRY_OVER && expiry_is_alarm(&hour, BEGAN + 3600));
    CHECK(!expiry_is_alarm(&hour, BEGAN + 4500) && isinf(expiry_next(&hour, BEGAN + 4500)));
    document_unref(for_ever);
}

static void add_told(void *arg, const char *kind, const char *name, enum event_change change)
{
    (void)buf_printf(arg, "%s %s %d\n", kind, name, change);
}

TEST(what_runs_out_is_told_of_at_each_of_its_moments_once)
{
    struct view *v = view_new(NULL);
    struct secret *s = secret_new("a/sec/b", "c", &(struct secret_values){0}, NULL, NULL);
    struct document *d = document_new(DOCUMENT_TOKEN, "0123456789abcdef", "{\"expires_at\":\"2001-09-09T02:46:40Z\"}",
                                      "root", 1, BEGAN * INT64_C(1000), BEGAN * INT64_C(1000));
    static const struct {
        double until;
        const char *told;
    } steps[] = {
        {2700, "Token 0123456789abcdef 1\n"},
        {3600, "Token 0123456789abcdef 1\n"},
        {4500, "Token 0123456789abcdef 1\n"},
        /* A certificate is good to the end of its last second. */
        {9.0 * DAY + 1, "Certificate a/sec/b 1\nAlarm certificate a/sec/b 0\n"},
        {39.0 * DAY + 1, "Certificate a/sec/b 1\nAlarm certificate a/sec/b 1\n"},
    };
    struct buf told;

    s->has_pair = true;
    s->pair_problem = s->trust_problem = NULL;
    s->info.not_after = BEGAN + 39 * DAY;
    v->secrets = pmap_put(v->secrets, &view_secrets, s);
    v->documents = documents_set(v->documents, DOCUMENT_TOKEN, d->name, d);
    buf_init(&told, 0);
    double at = BEGAN;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        double next = expiry_look(v, at, at, add_told, &told);
        CHECK_INT(told.len, 0);
        CHECK(next == BEGAN + steps[i].until);
        (void)expiry_look(v, at, next, add_told, &told);
        CHECK_STR(buf_cstr(&told), steps[i].told);
        buf_reset(&told);
        at = next;
    }
    CHECK(isinf(expiry_look(v, at, at, add_told, &told)));
    (void)expiry_look(v, BEGAN, at, add_told, &told); /* a clock that jumps */
    CHECK_INT(test_count(buf_cstr(&told), "\n"), 3);
    buf_reset(&told);
    (void)expiry_look(v, at, BEGAN, add_told, &told); /* and back */
    CHECK_STR(buf_cstr(&told), "Certificate a/sec/b 1\nAlarm certificate a/sec/b 2\nToken 0123456789abcdef 1\n");
    buf_clear(&told);
    document_unref(d);
    secret_unref(s);
    view_unref(v);
}
