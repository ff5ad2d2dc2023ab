/* The clocks of the system and the one that tests move. */
#include "base/clock.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

/* The last second of the year 9999: RFC 3339 has four digits for the year. */
static const double wall_max = 253402300799.0;

_hot_ clock_ns clock_now(const struct clock *c)
{
    struct timespec now;
    int r;

    if (c && c->fake)
        return c->fake_now;
    r = clock_gettime(CLOCK_MONOTONIC, &now);
    assert(r == 0);
    return now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec;
}

double clock_wall(void)
{
    struct timespec now;
    int r = clock_gettime(CLOCK_REALTIME, &now);

    assert(r == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / (double)CLOCK_NS_PER_S;
}

const char *clock_wall_text(double wall, char buf[32])
{
    int64_t ms;
    time_t seconds;
    struct tm utc;
    size_t n;

    if (!(wall > 0))
        wall = 0;
    if (wall > wall_max)
        wall = wall_max;
    /* Half a microsecond: a fraction that was written in decimal must not lose a millisecond to its binary form. */
    ms = (int64_t)(wall * 1000 + 0.0005);
    seconds = (time_t)(ms / 1000);
    gmtime_r(&seconds, &utc);
    n = strftime(buf, 32, "%Y-%m-%dT%H:%M:%S", &utc);
    assert(n == 19);
    snprintf(buf + n, 32 - n, ".%03dZ", (int)(ms % 1000));
    return buf;
}
