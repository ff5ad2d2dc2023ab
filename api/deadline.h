/*
 * Deadlines of connections: a thread that cuts those whose time is over (shutdown(), so that their owner sees their
 * end and closes them). The HTTP library's own timeout counts silence only; here who sends a byte now and then ends
 * too.
 *
 * Thread-safe.
 */
#ifndef API_DEADLINE_H
#define API_DEADLINE_H

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>

enum deadline_kind { DEADLINE_IDLE, DEADLINE_REQUEST, DEADLINE_REFUSED, DEADLINE_KINDS };

struct deadlines;

/* Of one connection; it stands in the connection, and belongs to the struct deadlines while it is set. */
struct deadline {
    int fd;
    clock_ns at;
    struct deadline *before, *after;
    enum deadline_kind kind;
    bool set, cut;
};

/* seconds: of each kind. */
int deadlines_start(const unsigned seconds[DEADLINE_KINDS], struct deadlines **ret, struct err *e);
void deadlines_stop(struct deadlines *d); /* none is set any more */
/* From now on that long; replaces what was set. */
void deadline_set(struct deadlines *d, struct deadline *one, enum deadline_kind kind);
/* Before the descriptor is closed. Returns whether it was cut. */
bool deadline_clear(struct deadlines *d, struct deadline *one);

#endif
