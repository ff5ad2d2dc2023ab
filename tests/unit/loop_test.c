/* The event loop, turned by hand with a fake clock; and one test each of waiting for real. */
#include "base/loop.h"

#include "base/mem.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct clock fake;
static struct loop *loop;
static char trace[256]; /* what ran, a letter each */

static void begin(void)
{
    fake = (struct clock){.fake = 1, .fake_now = 1000};
    trace[0] = '\0';
    CHECK_INT(loop_new(&fake, &loop, NULL), 0);
}

static void end(void)
{
    loop_free(loop);
    loop = NULL;
}

static void note(void *arg)
{
    size_t n = strlen(trace);

    CHECK(n + 2 < sizeof(trace));
    trace[n] = *(const char *)arg;
    trace[n + 1] = '\0';
}

TEST(timers_run_in_the_order_of_their_times_once)
{
    struct loop_timer *a, *b, *c;

    begin();
    a = loop_timer_new(loop, note, "a");
    b = loop_timer_new(loop, note, "b");
    c = loop_timer_new(loop, note, "c");
    loop_timer_set(a, 1300);
    loop_timer_set(b, 1100);
    loop_timer_set(c, 1200);
    CHECK_INT(loop_step(loop), 0);
    fake.fake_now = 1099;
    CHECK_INT(loop_step(loop), 0);
    fake.fake_now = 1100;
    CHECK_INT(loop_step(loop), 1);
    CHECK_STR(trace, "b");
    fake.fake_now = 5000;
    CHECK_INT(loop_step(loop), 2);
    CHECK_INT(loop_step(loop), 0);
    CHECK_STR(trace, "bca");
    CHECK_INT(loop_now(loop), 5000);
    loop_timer_free(a);
    loop_timer_free(b);
    loop_timer_free(c);
    end();
}

TEST(timers_of_one_time_run_in_the_order_they_were_set)
{
    struct loop_timer *t[5];

    begin();
    for (int i = 0; i < 5; i++)
        t[i] = loop_timer_new(loop, note, &"abcde"[i]);
    for (int i = 4; i >= 0; i--)
        loop_timer_set(t[i], 2000);
    loop_timer_set(t[4], 1); /* past: at once, but behind nothing that is not due */
    CHECK_INT(loop_step(loop), 1);
    fake.fake_now = 2000;
    CHECK_INT(loop_step(loop), 4);
    CHECK_STR(trace, "edcba");
    for (int i = 0; i < 5; i++)
        loop_timer_free(t[i]);
    end();
}

TEST(a_timer_can_be_moved_and_unset)
{
    struct loop_timer *a, *b;

    begin();
    a = loop_timer_new(loop, note, "a");
    b = loop_timer_new(loop, note, "b");
    loop_timer_set(a, 1100);
    loop_timer_set(a, 1500);
    loop_timer_set(b, 1100);
    loop_timer_set(b, INT64_MAX);
    fake.fake_now = 1400;
    CHECK_INT(loop_step(loop), 0);
    fake.fake_now = 1500;
    CHECK_INT(loop_step(loop), 1);
    CHECK_STR(trace, "a");
    loop_timer_set(b, 1600);
    loop_timer_free(b);
    loop_timer_free(NULL);
    fake.fake_now = 2000;
    CHECK_INT(loop_step(loop), 0);
    loop_timer_free(a);
    end();
}

static struct loop_timer *again_timer;

static void set_again(void *arg)
{
    note(arg);
    loop_timer_set(again_timer, 0);
}

TEST(a_timer_that_sets_itself_again_starves_no_other)
{
    struct loop_timer *b;

    begin();
    again_timer = loop_timer_new(loop, set_again, "a");
    b = loop_timer_new(loop, note, "b");
    loop_timer_set(again_timer, 0);
    loop_timer_set(b, 1100);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(loop_step(loop), 1);
        fake.fake_now += 50;
    }
    CHECK_STR(trace, "aa");
    CHECK_INT(loop_step(loop), 2);
    CHECK(strchr(trace, 'b') != NULL);
    loop_timer_free(again_timer);
    loop_timer_free(b);
    end();
}

static void free_itself(void *arg)
{
    loop_timer_free(*(struct loop_timer **)arg);
}

TEST(a_timer_may_free_itself_and_others)
{
    struct loop_timer *itself, *victim;

    begin();
    itself = loop_timer_new(loop, free_itself, &itself);
    victim = loop_timer_new(loop, note, "v");
    loop_timer_set(itself, 1000);
    CHECK_INT(loop_step(loop), 1);
    itself = loop_timer_new(loop, free_itself, &victim);
    loop_timer_set(itself, 1000);
    loop_timer_set(victim, 1000);
    CHECK_INT(loop_step(loop), 1);
    CHECK_STR(trace, "");
    loop_timer_free(itself);
    end();
}

struct model_timer {
    struct loop_timer *timer;
    clock_ns at; /* INT64_MAX: not set */
    unsigned ran;
};

static void model_ran(void *arg)
{
    struct model_timer *m = arg;

    CHECK(m->at <= fake.fake_now);
    m->at = INT64_MAX;
    m->ran++;
}

TEST(many_timers_under_random_changes_run_when_due_and_never_else)
{
    enum { TIMERS = 200 };
    static struct model_timer timers[TIMERS];
    uint64_t random = 11;

    begin();
    for (int i = 0; i < TIMERS; i++)
        timers[i] = (struct model_timer){.timer = loop_timer_new(loop, model_ran, &timers[i]), .at = INT64_MAX};
    for (int step = 0; step < 20000; step++) {
        struct model_timer *m = &timers[test_random(&random) % TIMERS];
        uint64_t what = test_random(&random) % 10;

        if (what < 7) {
            m->at = fake.fake_now + (clock_ns)(test_random(&random) % 1000);
            loop_timer_set(m->timer, m->at);
        } else if (what < 8) {
            m->at = INT64_MAX;
            loop_timer_set(m->timer, m->at);
        } else {
            int due = 0;

            fake.fake_now += (clock_ns)(test_random(&random) % 100);
            for (int i = 0; i < TIMERS; i++)
                due += timers[i].at <= fake.fake_now;
            CHECK_INT(loop_step(loop), due);
        }
    }
    for (int i = 0; i < TIMERS; i++) {
        CHECK(timers[i].ran > 0);
        loop_timer_free(timers[i].timer);
    }
    end();
}

static unsigned seen_events;
static int pair[2];
static struct loop_io *io, *other_io;

static void see_events(void *arg, unsigned events)
{
    note(arg);
    seen_events = events;
}

static void begin_pair(loop_io_fn f, unsigned events)
{
    begin();
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_INT(loop_io_new(loop, pair[0], events, f, "i", &io, NULL), 0);
    seen_events = 0;
}

static void end_pair(void)
{
    close(pair[0]);
    close(pair[1]);
    end();
}

TEST(a_readable_descriptor_is_told_until_it_is_read)
{
    char c;

    begin_pair(see_events, LOOP_READ);
    CHECK_INT(loop_step(loop), 0);
    CHECK_INT(write(pair[1], "x", 1), 1);
    CHECK_INT(loop_step(loop), 1);
    CHECK_INT(loop_step(loop), 1);
    CHECK_INT(seen_events, LOOP_READ);
    CHECK_INT(read(pair[0], &c, 1), 1);
    CHECK_INT(loop_step(loop), 0);
    loop_io_set(io, LOOP_READ | LOOP_WRITE);
    CHECK_INT(loop_step(loop), 1);
    CHECK_INT(seen_events, LOOP_WRITE);
    loop_io_free(io);
    end_pair();
}

TEST(without_events_even_a_hang_up_is_not_told_until_asked_for_again)
{
    begin_pair(see_events, LOOP_READ);
    loop_io_set(io, 0);
    CHECK_INT(shutdown(pair[1], SHUT_RDWR), 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT(loop_step(loop), 0);
    loop_io_set(io, LOOP_READ);
    CHECK_INT(loop_step(loop), 1);
    CHECK_INT(seen_events, LOOP_READ | LOOP_WRITE);
    CHECK_INT(loop_step(loop), 1);
    loop_io_free(io);
    end_pair();
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static clock_ns cpu_time(void)
{
    struct timespec used;

    CHECK_INT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used), 0);
    return used.tv_sec * CLOCK_NS_PER_S + used.tv_nsec;
}

TEST(a_hang_up_that_nobody_waits_for_does_not_keep_the_loop_awake)
{
    struct loop *real;
    struct loop_timer *t;
    clock_ns before;
    int p[2];

    CHECK_INT(loop_new(NULL, &real, NULL), 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
    CHECK_INT(loop_io_new(real, p[0], 0, see_events, "i", &io, NULL), 0);
    close(p[1]);
    t = loop_timer_new(real, stop, real);
    loop_timer_set(t, clock_now(NULL) + 50 * CLOCK_NS_PER_MS);
    before = cpu_time();
    CHECK_INT(loop_run(real), 0);
    CHECK(cpu_time() - before < 25 * CLOCK_NS_PER_MS);
    loop_io_free(io);
    loop_timer_free(t);
    loop_free(real);
    close(p[0]);
}

static void free_both(void *arg, unsigned events)
{
    (void)events; /* any will do */
    note(arg);
    loop_io_free(io);
    loop_io_free(other_io);
}

TEST(a_callback_may_free_its_own_io_and_others_of_the_same_batch)
{
    int other[2];

    begin_pair(free_both, LOOP_READ);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, other), 0);
    CHECK_INT(loop_io_new(loop, other[0], LOOP_READ, free_both, "o", &other_io, NULL), 0);
    CHECK_INT(write(pair[1], "x", 1), 1);
    CHECK_INT(write(other[1], "x", 1), 1);
    CHECK_INT(loop_step(loop), 1);
    CHECK_INT(strlen(trace), 1);
    CHECK_INT(loop_step(loop), 0);
    loop_io_free(NULL);
    close(other[0]);
    close(other[1]);
    end_pair();
}

TEST(a_descriptor_that_cannot_be_watched_is_an_error)
{
    struct err e = {0};

    begin();
    CHECK_INT(loop_io_new(loop, -1, LOOP_READ, see_events, NULL, &io, &e), -EBADF);
    CHECK(strstr(e.text, "cannot watch"));
    end();
}

static void posted(void *arg, bool run)
{
    note(run ? arg : "-");
}

static void post_again(void *arg, bool run)
{
    posted(arg, run);
    if (run)
        loop_post(loop, posted, "z");
}

TEST(posted_work_runs_in_order_and_what_it_posts_runs_in_the_next_turn)
{
    begin();
    loop_post(loop, post_again, "a");
    loop_post(loop, posted, "b");
    CHECK_INT(loop_step(loop), 2);
    CHECK_STR(trace, "ab");
    CHECK_INT(loop_step(loop), 1);
    CHECK_STR(trace, "abz");
    CHECK_INT(loop_step(loop), 0);
    end();
}

TEST(work_that_did_not_run_is_told_so_when_the_loop_is_freed)
{
    begin();
    loop_post(loop, posted, "a");
    loop_post(loop, posted, "b");
    end();
    CHECK_STR(trace, "--");
}

enum { POSTERS = 4, POSTS = 2000 };

struct poster {
    pthread_t thread;
    struct loop *loop;
    unsigned ran; /* the loop's thread */
};

static unsigned total_ran;

static void count_post(void *arg, bool run)
{
    struct poster *p = arg;

    CHECK(run);
    p->ran++;
    if (++total_ran == POSTERS * POSTS)
        loop_stop(p->loop);
}

static void *post_many(void *arg)
{
    struct poster *p = arg;

    for (int i = 0; i < POSTS; i++)
        loop_post(p->loop, count_post, p);
    return NULL;
}

TEST(work_posted_by_many_threads_wakes_the_loop_and_none_is_lost)
{
    struct poster posters[POSTERS];
    struct loop *real;

    total_ran = 0;
    CHECK_INT(loop_new(NULL, &real, NULL), 0);
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.loop = real};
        CHECK_INT(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    CHECK_INT(loop_run(real), 0);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        CHECK_INT(posters[i].ran, POSTS);
    }
    loop_free(real);
}

TEST(a_running_loop_wakes_for_its_timer_not_before)
{
    struct loop *real;
    struct loop_timer *t;
    clock_ns due = clock_now(NULL) + 3 * CLOCK_NS_PER_MS;

    CHECK_INT(loop_new(NULL, &real, NULL), 0);
    t = loop_timer_new(real, stop, real);
    loop_timer_set(t, due);
    CHECK_INT(loop_run(real), 0);
    CHECK(clock_now(NULL) >= due);
    loop_timer_free(t);
    loop_free(real);
}

TEST(a_loop_that_was_stopped_before_it_ran_returns_at_once_and_can_run_again)
{
    struct loop *real;

    CHECK_INT(loop_new(NULL, &real, NULL), 0);
    for (int i = 0; i < 3; i++) {
        loop_stop(real);
        CHECK_INT(loop_run(real), 0);
    }
    loop_free(real);
    loop_free(NULL);
}

static void free_loop(void *arg)
{
    loop_free(arg);
}

TEST(freeing_a_loop_with_a_timer_is_a_programming_error)
{
    struct loop_timer *t;

    begin();
    t = loop_timer_new(loop, note, "t");
    CHECK(test_aborts(free_loop, loop));
    loop_timer_free(t);
    end();
}
