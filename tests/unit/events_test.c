/* Events: numbered without holes, replayed from any place that is still known, over restarts too. */
#include "tests/unit/store_world.h"
#include "tests/unit/test.h"

#include "store/events.h"

#include <stdio.h>
#include <string.h>

static uint64_t add(struct event_ring *r, const char *kind, const char *name)
{
    _cleanup_(mem_free_p) char *json = mem_printf("{\"kind\":\"%s\",\"name\":\"%s\"}", kind, name);

    return event_ring_add(r, json);
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
    store_announce(w.store, "Alarm", "config.db", EVENT_ADDED);
    last = event_ring_last(store_events(w.store));
    world_reopen(&w);
    CHECK(event_ring_last(store_events(w.store)).epoch == last.epoch);
    CHECK_INT(event_ring_last(store_events(w.store)).seq, last.seq);
    store_announce(w.store, "Alarm", "config.db", EVENT_REMOVED);
    _cleanup_(mem_free_p) char *text = events_since(&w, &p, &lost);

    CHECK(!lost);
    CHECK_INT(test_count(text, "id: "), last.seq + 1);
    CHECK_INT(test_count(text, "\"Service\""), 1);
    CHECK_INT(test_count(text, "\"Revision\""), 1);
    CHECK_INT(test_count(text, "\"removed\""), 1);
    world_clear(&w);
}

TEST(without_what_was_told_before_a_new_epoch_begins)
{
    struct world w;
    struct event_place p;
    bool lost;

    world_init(&w);
    world_open(&w);
    store_announce(w.store, "Alarm", "x", EVENT_ADDED);
    p = event_ring_last(store_events(w.store));
    world_close(&w);
    CHECK_INT(remove(world_file(&w, "observed.db")), 0);
    world_open(&w);
    CHECK(event_ring_last(store_events(w.store)).epoch != p.epoch);
    mem_free(events_since(&w, &p, &lost));
    CHECK(lost);
    world_clear(&w);
}
