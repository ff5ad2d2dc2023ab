/* Sets of small numbers, held against a plain array of booleans. */
#include "base/bits.h"

#include "tests/unit/test.h"

#include <string.h>

TEST(an_empty_set_holds_nothing)
{
    struct bits b = {0};

    CHECK(!bits_get(&b, 0));
    CHECK(!bits_get(&b, 1 << 20));
    CHECK_INT(bits_next(&b, 0), BITS_END);
    CHECK(!bits_unset(&b, 5));
    bits_reset(&b);
    bits_clear(&b);
}

TEST(adding_and_removing_say_whether_the_set_changed)
{
    struct bits b = {0};

    CHECK(bits_set(&b, 4096));
    CHECK(!bits_set(&b, 4096));
    CHECK_INT(b.count, 1);
    CHECK(bits_unset(&b, 4096));
    CHECK(!bits_unset(&b, 4096));
    CHECK_INT(b.count, 0);
    bits_clear(&b);
}

TEST(members_are_found_in_order_whatever_was_added_and_removed)
{
    enum { N = 20000, STEPS = 20000 };
    static bool model[N];
    uint64_t random = 1;
    struct bits b = {0}, copy = {0};
    uint32_t at = 0, count = 0;

    memset(model, 0, sizeof(model));
    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t i = (uint32_t)(test_random(&random) % N);
        bool add = test_random(&random) % 3 != 0;

        CHECK((add ? bits_set(&b, i) : bits_unset(&b, i)) == (model[i] != add));
        model[i] = add;
    }
    for (uint32_t i = 0; i < N; i++) {
        CHECK(bits_get(&b, i) == model[i]);
        if (!model[i])
            continue;
        CHECK_INT(bits_next(&b, at), i);
        CHECK(bits_word(&b, i / 64) >> (i % 64) & 1);
        at = i + 1;
        count++;
    }
    CHECK_INT(bits_next(&b, at), BITS_END);
    CHECK_INT(b.count, count);
    bits_set(&copy, N + 70000);
    bits_add_all(&copy, &b);
    CHECK_INT(copy.count, count + 1);
    CHECK_INT(bits_next(&copy, at), N + 70000);
    CHECK(bits_holds_all(&copy, &b));
    CHECK(!bits_holds_all(&b, &copy));
    for (uint32_t word = 0; word < N / 64 + 2; word++) {
        uint32_t before = copy.count;
        uint64_t mask = test_random(&random), there = bits_word(&copy, word);

        bits_unset_word(&copy, word, mask);
        CHECK_INT(bits_word(&copy, word), there & ~mask);
        CHECK_INT(before - copy.count, __builtin_popcountll(there & mask));
    }
    CHECK(bits_next(&copy, 0) != BITS_END);
    bits_reset(&b);
    CHECK(bits_holds_all(&copy, &b));
    CHECK_INT(bits_next(&b, 0), BITS_END);
    for (uint32_t i = 0; i < N; i++)
        CHECK(!bits_get(&b, i));
    bits_clear(&b);
    bits_clear(&copy);
}
