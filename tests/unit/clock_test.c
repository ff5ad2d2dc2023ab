/* The clocks. */
#include "base/clock.h"

#include "tests/unit/test.h"

#include <math.h>

TEST(a_fake_clock_stands_still)
{
    struct clock c = {.fake_now = 12345, .fake = 1};

    CHECK_INT(clock_now(&c), 12345);
    CHECK_INT(clock_now(&c), 12345);
    c.fake_now++;
    CHECK_INT(clock_now(&c), 12346);
}

TEST(the_real_clock_never_goes_back)
{
    struct clock real = {0};
    clock_ns before = clock_now(NULL);

    for (int i = 0; i < 1000; i++) {
        clock_ns now = clock_now(i % 2 ? NULL : &real);

        CHECK(now >= before);
        before = now;
    }
    CHECK(clock_wall() > 1.6e9);
}

TEST(wall_time_is_written_as_rfc_3339)
{
    char buf[32];

    CHECK_STR(clock_wall_text(0, buf), "1970-01-01T00:00:00.000Z");
    CHECK_STR(clock_wall_text(1700000000.125, buf), "2023-11-14T22:13:20.125Z");
    CHECK_STR(clock_wall_text(1709164800, buf), "2024-02-29T00:00:00.000Z");
    CHECK_STR(clock_wall_text(1795390044.588, buf), "2026-11-22T23:27:24.588Z");
    CHECK_STR(clock_wall_text(0.9999, buf), "1970-01-01T00:00:00.999Z");
    CHECK_STR(clock_wall_text(-5, buf), "1970-01-01T00:00:00.000Z");
    CHECK_STR(clock_wall_text(NAN, buf), "1970-01-01T00:00:00.000Z");
    CHECK_STR(clock_wall_text(1e300, buf), "9999-12-31T23:59:59.000Z");
}
