/*
 * An agent that hangs keeps its sockets open and says nothing: nothing ends, and the state would be taken for current
 * for ever. But a working agent is not silent for long: its counters come every few seconds, and it counts each
 * request that it is asked. So after a while without a byte on the stream of events it is asked something that costs
 * it nothing. If no answer comes, or an answer but still no event for as long again, the stream is given up like one
 * that ended.
 *
 * An agent that answers and has no events to tell, however often it is subscribed to, is left in peace for twice as
 * long each time, up to an hour: to read all of it again costs more than it is worth.
 */
#include "server/agent_core.h"

#include <errno.h>

/* It knows no such action, which it says at once (status 501): any answer will do. */
static const char probe[] = "{\"action\":\"igwd_probe\",\"options\":{}}";

enum { PROBE_TIMEOUT_MAX_S = 10, PROBE_ANSWER_MAX = 64 << 10, LIMIT_MAX_S = 3600 };

static clock_ns limit(const struct agent *a)
{
    clock_ns silence = a->options.silence;

    for (unsigned i = 0; i < a->deaf && silence < LIMIT_MAX_S * CLOCK_NS_PER_S; i++)
        silence *= 2;
    return silence;
}

static void wait_on(struct agent *a)
{
    loop_timer_set(a->silence_timer, loop_now(a->loop) + limit(a));
}

static void give_up(struct agent *a, struct err *e)
{
    if (a->options.alarm)
        a->options.alarm(a->options.arg, "agent", e->text);
    a->hung = true;
    follow_lost(a, e);
}

static void on_answer(void *arg, const json_t *answer, const struct err *e)
{
    struct agent *a = arg;
    struct err own = {0};

    a->probe = NULL;
    if (answer || !a->asked) {
        wait_on(a); /* it lives, or there was an event meanwhile */
        return;
    }
    err_set(&own, e->code, "events", NULL, "the agent says nothing and answers nothing: %s", e->text);
    give_up(a, &own);
}

static void ask(struct agent *a)
{
    const clock_ns max = PROBE_TIMEOUT_MAX_S * CLOCK_NS_PER_S;
    const struct request_options options = {.sockets = (const char *const *)a->sockets,
                                            .timeout = a->options.silence < max ? a->options.silence : max,
                                            .max_answer = PROBE_ANSWER_MAX,
                                            .done = on_answer,
                                            .arg = a};
    struct err e = {0}, own = {0};

    a->asked = true;
    if (request_start(a->loop, &options, probe, &a->probe, &e) == 0)
        return;
    err_set(&own, e.code, "events", NULL, "the agent says nothing and cannot be asked: %s", e.text);
    give_up(a, &own);
}

static void on_silence_timer(void *arg)
{
    struct agent *a = arg;
    clock_ns until = a->heard_at + limit(a);
    struct err e = {0};

    /* Whatever is under way otherwise has a limit of its own. */
    if (!a->events || a->probe)
        return;
    if (a->phase != PHASE_FOLLOW) {
        wait_on(a);
    } else if (!a->asked && loop_now(a->loop) < until) {
        loop_timer_set(a->silence_timer, until);
    } else if (!a->asked) {
        ask(a);
    } else {
        a->deaf++;
        err_set(&e, -ETIMEDOUT, "events", NULL, "the agent answers, but its events do not come any more");
        give_up(a, &e);
    }
}

void silence_begin(struct agent *a)
{
    a->heard_at = loop_now(a->loop);
    a->asked = false;
    if (a->options.silence > 0)
        wait_on(a);
}

_hot_ void silence_heard(struct agent *a)
{
    bool asked = a->asked;

    a->heard_at = loop_now(a->loop);
    a->asked = false;
    a->deaf = 0;
    if (asked && !a->probe)
        wait_on(a);
}

void silence_over(struct agent *a)
{
    if (a->hung && a->options.alarm)
        a->options.alarm(a->options.arg, "agent", NULL);
    a->hung = false;
}

void silence_end(struct agent *a)
{
    request_cancel(take_ptr(a->probe));
    loop_timer_set(a->silence_timer, INT64_MAX);
}

void silence_start(struct agent *a)
{
    a->silence_timer = loop_timer_new(a->loop, on_silence_timer, a);
}

void silence_stop(struct agent *a)
{
    request_cancel(take_ptr(a->probe));
    loop_timer_free(a->silence_timer);
}
