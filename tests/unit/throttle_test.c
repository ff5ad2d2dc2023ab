/* Failed logins: how many are taken, of one address and of all, and that memory of them is bounded. */
#include "api/throttle.h"

#include "base/hash.h"
#include "base/mem.h"
#include "tests/unit/test.h"

#include <string.h>
#include <sys/socket.h>

static struct clock now = {.fake = 1, .fake_now = CLOCK_NS_PER_S};

static struct address four(uint32_t number)
{
    struct address a = {.family = AF_INET};

    memcpy(a.bytes, &number, sizeof(number));
    return a;
}

static struct address six(uint64_t network, uint64_t host)
{
    struct address a = {.family = AF_INET6};

    memcpy(a.bytes, &network, sizeof(network));
    memcpy(a.bytes + 8, &host, sizeof(host));
    return a;
}

static unsigned fail_of(struct throttle *t, struct address a)
{
    return throttle_failed(t, &a).seconds;
}

/* How many failures of an address are taken until one is too many. */
static unsigned taken(struct throttle *t, struct address a)
{
    unsigned n = 0;

    while (n < 100000 && !fail_of(t, a))
        n++;
    return n;
}

static void pass_ms(int64_t ms)
{
    now.fake_now += ms * CLOCK_NS_PER_MS;
}

TEST(an_address_may_fail_so_often_at_once_and_then_at_its_pace)
{
    struct throttle *t = throttle_new(&now);
    const struct address a = four(1), b = four(2);

    CHECK_INT(taken(t, a), THROTTLE_BURST);
    CHECK_INT(fail_of(t, a), THROTTLE_SECONDS);
    pass_ms(THROTTLE_SECONDS * 1000 - 1);
    CHECK_INT(fail_of(t, a), 1); /* what is left is rounded up */
    pass_ms(1);
    CHECK_INT(taken(t, a), 1); /* what was too many did not make it worse */
    CHECK_INT(taken(t, b), THROTTLE_BURST);
    pass_ms(1000 * THROTTLE_SECONDS * THROTTLE_BURST);
    CHECK_INT(taken(t, a), THROTTLE_BURST);
    pass_ms(INT64_C(1000) * 86400 * 365); /* no more than a burst is saved up */
    CHECK_INT(taken(t, a), THROTTLE_BURST);
    throttle_free(t);
}

TEST(an_ipv6_network_is_one_address)
{
    struct throttle *t = throttle_new(&now);

    for (uint64_t i = 0; i < THROTTLE_BURST; i++)
        CHECK_INT(fail_of(t, six(7, i)), 0);
    CHECK(fail_of(t, six(7, 4711)) > 0);
    CHECK_INT(fail_of(t, six(8, 0)), 0);
    throttle_free(t);
}

TEST(all_together_may_fail_so_often_and_one_alone_does_not_use_it_up)
{
    struct throttle *t = throttle_new(&now);
    unsigned n = 0;

    CHECK_INT(taken(t, four(0)), THROTTLE_BURST);
    for (int i = 0; i < 100000; i++)
        CHECK(fail_of(t, four(0)) > 0);
    while (n < 100000 && !fail_of(t, four(n + 1)))
        n++;
    CHECK_INT(n, THROTTLE_BURST_OF_ALL - THROTTLE_BURST);
    CHECK_INT(fail_of(t, four(n + 2)), 1);
    pass_ms(1000);
    for (unsigned i = 0; i < THROTTLE_RATE_OF_ALL; i++)
        CHECK_INT(fail_of(t, four(n + 3 + i)), 0);
    CHECK_INT(fail_of(t, four(n + 2)), 1);
    throttle_free(t);
}

TEST(who_fails_most_is_remembered_whoever_else_comes)
{
    struct throttle *t = throttle_new(&now);
    uint64_t state = 1;

    CHECK_INT(taken(t, four(0)), THROTTLE_BURST);
    for (int i = 0; i < 20; i++) { /* many more than there is room for, at the pace of all */
        pass_ms(100);
        for (int k = 0; k < 200; k++)
            (void)fail_of(t, four((uint32_t)test_random(&state)));
    }
    CHECK(fail_of(t, four(0)) > 0);
    throttle_free(t);
}

TEST(a_line_of_the_log_stands_for_many)
{
    struct throttle *t = throttle_new(&now);
    struct throttle_counters n;
    const struct address a = four(1);

    CHECK_INT(taken(t, a), THROTTLE_BURST); /* the one too many was told of */
    for (int i = 0; i < 1000; i++)
        CHECK_INT(throttle_failed(t, &a).unlogged, 0);
    pass_ms(THROTTLE_LOG_SECONDS * 1000);
    for (int i = 0; i < THROTTLE_LOG_SECONDS / THROTTLE_SECONDS; i++)
        CHECK_INT(fail_of(t, a), 0);
    CHECK_INT(throttle_failed(t, &a).unlogged, 1001);
    CHECK_INT(throttle_failed(t, &a).unlogged, 0);
    throttle_count(t, &n);
    CHECK_INT(n.failed, THROTTLE_BURST + THROTTLE_LOG_SECONDS / THROTTLE_SECONDS);
    CHECK_INT(n.throttled, 1003);
    throttle_free(t);
}
