/*
 * The supervisor's watchdog (sd_watchdog_enabled(3)'s protocol), fed by the event loop itself: each beat is a timer
 * of the loop, and is left out while another thread that must turn does not. A loop that hangs feeds nothing, and the
 * supervisor starts the daemon anew; the Envoys go on with what they have meanwhile.
 *
 * For the loop's thread.
 */
#ifndef SERVER_WATCHDOG_H
#define SERVER_WATCHDOG_H

#include "base/loop.h"

struct watchdog;

/* others_turn: asked before each beat. NULL when $WATCHDOG_USEC and $WATCHDOG_PID ask for none. */
struct watchdog *watchdog_new(struct loop *l, bool (*others_turn)(void *arg), void *arg);
void watchdog_free(struct watchdog *w); /* NULL is allowed */

#endif
