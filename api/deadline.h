/*
 * Deadlines of connections: a thread that cuts those whose time is over (shutdown(), so that their owner sees their
 * end and closes them). The HTTP library's own timeout counts silence only; here who sends a byte now and then ends
 * too.
 *
 * The same thread looks whether the peers of connections that sleep for long are still there, which nobody else does.
 *
 * Thread-safe.
 */
#ifndef API_DEADLINE_H
#define API_DEADLINE_H

#include "api/wake.h"
#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>

enum deadline_kind {
    DEADLINE_IDLE,
    DEADLINE_REQUEST,
    DEADLINE_LATER,  /* for an answer that comes later, as long as its handler said */
    DEADLINE_STREAM, /* for a reader to take what was written last */
    DEADLINE_REFUSED,
    DEADLINE_KINDS
};

struct deadlines;

/* Of one connection; it stands in the connection, and belongs to the struct deadlines while it is set. */
struct deadline {
    int fd;
    clock_ns at;
    struct deadline *before, *after;
    struct wake *wake; /* NULL: the connection is awake */
    enum deadline_kind kind;
    bool set, cut, hung_up;
    uint64_t watch; /* 0: its peer is not watched */
    struct deadline *watch_before, *watch_after;
};

/* durations: of each kind. */
int deadlines_start(const clock_ns durations[DEADLINE_KINDS], struct deadlines **ret, struct err *e);
void deadlines_stop(struct deadlines *d); /* none is set any more */
/* From now on that long; replaces what was set. */
void deadline_set(struct deadlines *d, struct deadline *one, enum deadline_kind kind);
/* The same with a duration of its own; costs a step for each of that kind that is to end later. */
void deadline_set_for(struct deadlines *d, struct deadline *one, enum deadline_kind kind, clock_ns duration);
/* A connection that sleeps does not see its end: it is woken up when it is cut, or at once when it was. Borrowed
 * until the next call; NULL: it does not sleep any more. */
void deadline_wakes(struct deadlines *d, struct deadline *one, struct wake *w);
/* Wakes it up, too, when its peer says that it sends nothing more, or is gone. Until it does not sleep any more. */
void deadline_watch(struct deadlines *d, struct deadline *one);
bool deadline_hung_up(struct deadlines *d, struct deadline *one);
bool deadline_is_cut(struct deadlines *d, struct deadline *one);
/* Before the descriptor is closed. Returns whether it was cut. */
bool deadline_clear(struct deadlines *d, struct deadline *one);

#endif
