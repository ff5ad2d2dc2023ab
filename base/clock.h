/* Time, replaceable in tests. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

typedef int64_t clock_ns; /* nanoseconds of CLOCK_MONOTONIC unless said otherwise */

enum { CLOCK_NS_PER_MS = 1000000 };
#define CLOCK_NS_PER_S INT64_C(1000000000)

/* A fake clock has fake set and stands still until the test moves it. */
struct clock {
    clock_ns fake_now;
    int fake;
};

clock_ns clock_now(const struct clock *c); /* NULL: the real one */
/* Seconds since 1970 with the fraction, CLOCK_REALTIME. */
double clock_wall(void);
/* RFC 3339 in UTC with milliseconds, 24 characters and the NUL. */
const char *clock_wall_text(double wall, char buf[32]);

#endif
