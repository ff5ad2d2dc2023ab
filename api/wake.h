/*
 * How a thread that does something else lets an exchange of the shell go on: the shell puts the exchange to sleep on
 * a wake, anybody wakes it up. A wake that comes too early is kept, several are one; so nothing is lost between
 * looking for work and falling asleep.
 *
 * Counted; any thread. Its lock ranks above the HTTP library's own and below that of the deadlines (api/deadline.h):
 * whoever calls wake_up() may hold the latter, and none that the shell takes while it answers.
 */
#ifndef API_WAKE_H
#define API_WAKE_H

#include "base/mem.h"

#include <stdbool.h>

struct wake;

struct wake *wake_new(void);
struct wake *wake_ref(struct wake *w);
void wake_unref(struct wake *w); /* NULL is allowed */
define_cleanup(struct wake *, wake_unref)

/* Who sleeps there goes on; when nobody does, the next one does not fall asleep. */
void wake_up(struct wake *w);

/*
 * The shell's side, one sleeper at a time: calls suspend(arg) and returns true, after which wake_up() calls
 * resume(arg) once; false when it was woken before. Both are called with the lock held.
 */
struct wake_sleeper {
    void (*suspend)(void *arg);
    void (*resume)(void *arg);
    void *arg;
};
bool wake_sleep(struct wake *w, const struct wake_sleeper *s);

#endif
