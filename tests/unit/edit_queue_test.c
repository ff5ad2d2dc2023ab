/* Edits on their way to the writer: what is taken together, in which order, who waits for whom, and the end. */
#include "base/mem.h"
#include "server/edit_queue.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

enum { EDITS = 8, TEXT = 64 };

struct world {
    struct clock clock;
    struct loop *loop;
    struct edit_queue *queue;
    struct edit_request edits[EDITS];
    char taken[TEXT]; /* a letter for each edit that was taken, a space between those taken at once */
    char done[TEXT];
    const char *refused; /* letters of those that the writer refuses, as others were faster */
};

static void put(char *text, char c)
{
    size_t n = strlen(text);

    CHECK(n + 1 < TEXT);
    text[n] = c;
    text[n + 1] = '\0';
}

static char letter(const struct world *w, const struct edit_request *r)
{
    return (char)('a' + (r - w->edits));
}

static void take(void *arg, struct edit_request *const *requests, size_t n)
{
    struct world *w = arg;

    if (w->taken[0])
        put(w->taken, ' ');
    for (size_t i = 0; i < n; i++) {
        put(w->taken, letter(w, requests[i]));
        requests[i]->result = strchr(w->refused, letter(w, requests[i])) ? -EAGAIN : 0;
    }
}

static void on_done(struct edit_request *r, void *arg)
{
    struct world *w = arg;

    put(w->done, letter(w, r));
}

static void begin(struct world *w)
{
    *w = (struct world){.clock = {.fake_now = CLOCK_NS_PER_S, .fake = 1}, .refused = ""};
    CHECK_INT(loop_new(&w->clock, &w->loop, NULL), 0);
    w->queue = edit_queue_new(w->loop, &w->clock, take, w);
}

static void end(struct world *w)
{
    edit_queue_close(w->queue);
    loop_free(w->loop);
    edit_queue_free(w->queue);
}

static void add(struct world *w, const char *letters, unsigned attempts)
{
    for (; *letters; letters++) {
        struct edit_request *r = &w->edits[*letters - 'a'];

        r->attempts = attempts;
        edit_queue_add(w->queue, r, on_done, w);
    }
}

static void turn(struct world *w)
{
    while (loop_step(w->loop) > 0)
        ;
}

TEST(what_waits_is_taken_at_once_and_who_was_refused_most_goes_first)
{
    struct world w;

    begin(&w);
    add(&w, "ab", 0);
    add(&w, "c", 2);
    add(&w, "d", 1);
    add(&w, "e", 2);
    CHECK_STR(w.taken, "");
    turn(&w);
    CHECK_STR(w.taken, "cedab");
    CHECK_STR(w.done, "cedab");
    add(&w, "f", 0);
    turn(&w);
    CHECK_STR(w.taken, "cedab f");
    end(&w);
}

TEST(who_was_refused_often_gets_a_turn_and_the_others_come_behind_it)
{
    struct world w;

    begin(&w);
    w.refused = "a";
    add(&w, "a", EDIT_TURN_AFTER - 1);
    turn(&w);
    w.refused = "";
    add(&w, "bc", EDIT_TURN_AFTER - 1);
    turn(&w);
    CHECK_STR(w.done, "a"); /* b and c wait */
    add(&w, "a", EDIT_TURN_AFTER);
    turn(&w);
    CHECK_STR(w.taken, "a a bc");
    CHECK_STR(w.done, "aabc");
    end(&w);
}

TEST(who_does_not_come_again_holds_the_others_up_for_a_moment_only)
{
    struct world w;

    begin(&w);
    w.refused = "a";
    add(&w, "a", EDIT_TURN_AFTER - 1);
    turn(&w);
    add(&w, "b", 0);
    turn(&w);
    w.clock.fake_now += (EDIT_TURN_MS - 1) * (clock_ns)CLOCK_NS_PER_MS;
    turn(&w);
    CHECK_STR(w.done, "a");
    w.clock.fake_now += CLOCK_NS_PER_MS;
    turn(&w);
    CHECK_STR(w.done, "ab");
    end(&w);
}

TEST(who_was_refused_seldom_gets_no_turn)
{
    struct world w;

    begin(&w);
    w.refused = "a";
    add(&w, "a", EDIT_TURN_AFTER - 2);
    turn(&w);
    add(&w, "b", 0);
    turn(&w);
    CHECK_STR(w.done, "ab");
    end(&w);
}

TEST(when_it_is_closed_all_are_refused_at_once)
{
    struct world w;

    begin(&w);
    add(&w, "ab", 0);
    edit_queue_close(w.queue);
    CHECK_STR(w.done, "ab");
    add(&w, "c", 0);
    CHECK_STR(w.done, "abc");
    for (unsigned i = 0; i < 3; i++)
        CHECK_INT(w.edits[i].result, -EIO);
    CHECK_STR(w.taken, "");
    turn(&w);
    CHECK_STR(w.taken, "");
    loop_free(w.loop);
    edit_queue_free(w.queue);
}
