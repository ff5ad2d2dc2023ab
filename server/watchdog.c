/* The watchdog's beats: four in the time that the supervisor gives, so that one which is left out is no accident. */
#include "server/watchdog.h"

#include "base/log.h"
#include "base/mem.h"
#include "server/notify.h"

#include <stdlib.h>
#include <unistd.h>

enum { BEATS = 4, US_PER_MS = 1000 };

struct watchdog {
    struct loop *loop;
    struct loop_timer *timer;
    clock_ns period;
    bool (*others_turn)(void *arg);
    void *arg;
    bool told; /* that the others stand still */
};

/* 0: nobody watches. */
static clock_ns time_given(void)
{
    const char *time = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    char *end;

    if (!time || (pid && strtoul(pid, NULL, 10) != (unsigned long)getpid()))
        return 0;
    unsigned long long us = strtoull(time, &end, 10);
    return end == time || *end || us > INT64_MAX / US_PER_MS ? 0 : (clock_ns)us * (CLOCK_NS_PER_MS / US_PER_MS);
}

static void on_beat(void *arg)
{
    struct watchdog *w = arg;
    bool turn = w->others_turn(w->arg);

    if (turn)
        notify_supervisor("WATCHDOG=1");
    else if (!w->told)
        log_event(LOG_LEVEL_WARNING, "a thread stands still: the watchdog is not fed", NULL);
    w->told = !turn;
    loop_timer_set(w->timer, loop_now(w->loop) + w->period);
}

struct watchdog *watchdog_new(struct loop *l, bool (*others_turn)(void *arg), void *arg)
{
    clock_ns given = time_given();

    if (!given)
        return NULL;
    struct watchdog *w = mem_new(struct watchdog);
    *w = (struct watchdog){.loop = l, .period = given / BEATS, .others_turn = others_turn, .arg = arg};
    w->timer = loop_timer_new(l, on_beat, w);
    loop_timer_set(w->timer, loop_now(l) + w->period);
    return w;
}

void watchdog_free(struct watchdog *w)
{
    if (!w)
        return;
    loop_timer_free(w->timer);
    mem_free(w);
}
