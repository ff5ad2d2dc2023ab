/*
 * The event loop of one thread: file descriptors, timers, and work posted from other threads. Nothing polls: the
 * thread sleeps in epoll_wait until something is there. With a fake clock (tests), loop_step() runs what is ready and
 * due without waiting.
 *
 * Everything but loop_post() and loop_stop() is for the loop's own thread.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_io;
struct loop_timer;

int loop_new(const struct clock *clock, struct loop **ret_loop, struct err *e);
/* Every io and timer must have been freed. Posted work that did not run yet is called with run=false. */
void loop_free(struct loop *l);
clock_ns loop_now(const struct loop *l); /* as of the last wake-up */
/* Runs until loop_stop(). 0 or a negative errno of epoll itself. */
int loop_run(struct loop *l);
/* Handles what is ready and due now, without waiting; returns how many callbacks ran. */
int loop_step(struct loop *l);
void loop_stop(struct loop *l);

enum { LOOP_READ = 1, LOOP_WRITE = 2 };
/* events has LOOP_READ and/or LOOP_WRITE; an error or hang-up shows as both. The fd stays the caller's. */
typedef void (*loop_io_fn)(void *arg, unsigned events);
int loop_io_new(struct loop *l, int fd, unsigned events, loop_io_fn f, void *arg, struct loop_io **ret_io,
                struct err *e);
void loop_io_set(struct loop_io *io, unsigned events);
/* May be called from within its own callback; NULL is allowed. */
void loop_io_free(struct loop_io *io);

typedef void (*loop_timer_fn)(void *arg);
struct loop_timer *loop_timer_new(struct loop *l, loop_timer_fn f, void *arg);
/* At that time (or at once, if past), once; replaces what was set. INT64_MAX: never. */
void loop_timer_set(struct loop_timer *t, clock_ns at);
void loop_timer_free(struct loop_timer *t);

/* Thread-safe: f(arg, true) will run in the loop's thread, in the order of posting. */
void loop_post(struct loop *l, void (*f)(void *arg, bool run), void *arg);

#endif
