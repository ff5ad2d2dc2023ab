/*
 * Failed logins: how many there may be, of one address and of all together. Past that the answer is 429 instead of
 * 401, and says when to come back.
 *
 * Only failures are asked about, after the fact. A token has 256 random bits, so nobody guesses one, at whatever
 * rate; what is bounded is the noise. So a good token costs nothing here, and is let in always: nobody can lock
 * others out by failing, not even from the same address.
 *
 * An address is all of IPv4's, and the first 64 bits of IPv6's, which is what one machine can choose from. They are
 * remembered in a table of one size; where it is full, the address with the fewest failures is forgotten.
 *
 * Thread-safe.
 */
#ifndef API_THROTTLE_H
#define API_THROTTLE_H

#include "base/address.h"
#include "base/clock.h"

enum {
    THROTTLE_BURST = 20,         /* failures of one address at once, */
    THROTTLE_SECONDS = 3,        /* and one each so many seconds */
    THROTTLE_BURST_OF_ALL = 200, /* failures of all at once, */
    THROTTLE_RATE_OF_ALL = 20,   /* and so many a second */
    THROTTLE_ADDRESSES = 1024,   /* that are remembered */
    THROTTLE_LOG_SECONDS = 10,   /* between two lines of the log */
};

struct throttle;

struct throttle *throttle_new(const struct clock *clock); /* NULL: the real one; borrowed */
void throttle_free(struct throttle *t);                   /* NULL is allowed */

struct throttle_verdict {
    unsigned seconds;  /* until it may be tried again; 0: this was not one too many */
    uint64_t unlogged; /* not 0: a line is to be logged, of so many that were too many since the last one */
};

/* Somebody failed. address: not mapped. */
struct throttle_verdict throttle_failed(struct throttle *t, const struct address *address);

struct throttle_counters {
    uint64_t failed, throttled; /* failed: without those that were too many */
};
void throttle_count(struct throttle *t, struct throttle_counters *ret);

#endif
