/* The heap: the earliest first, whatever is put in, moved and taken out in between. */
#include "base/heap.h"
#include "base/mem.h"
#include "tests/unit/test.h"

#include <stdint.h>

enum { ENTRIES = 60, STEPS = 20000, TIMES = 40 };

/* The one that is due first, looked for one by one; NULL: none is in. */
static const struct heap_entry *earliest(const struct heap_entry *entries)
{
    const struct heap_entry *first = NULL;

    for (size_t i = 0; i < ENTRIES; i++) {
        const struct heap_entry *e = &entries[i];

        if (e->place && (!first || e->at < first->at || (e->at == first->at && e->order < first->order)))
            first = e;
    }
    return first;
}

TEST(the_first_is_the_earliest_and_of_those_the_one_that_was_put_in_first)
{
    struct heap_entry entries[ENTRIES] = {0};
    struct heap h = {0};
    uint64_t state = 1;

    for (unsigned i = 0; i < STEPS; i++) {
        struct heap_entry *e = &entries[test_random(&state) % ENTRIES];
        clock_ns at = (clock_ns)(test_random(&state) % TIMES);

        switch (test_random(&state) % 4) {
        case 0:
            heap_remove(&h, e);
            break;
        case 1:
            if (heap_first(&h))
                heap_remove(&h, heap_first(&h));
            break;
        default:
            heap_set(&h, e, at == TIMES - 1 ? INT64_MAX : at);
        }
        const struct heap_entry *first = earliest(entries);
        CHECK(heap_first(&h) == first);
        CHECK(heap_next(&h) == (first ? first->at : INT64_MAX));
    }
    heap_clear(&h);
}

TEST(what_is_put_in_again_lines_up_behind_those_of_the_same_time)
{
    struct heap_entry a = {.owner = &a}, b = {.owner = &b};
    struct heap h = {0};

    heap_set(&h, &a, 1);
    heap_set(&h, &b, 1);
    CHECK(heap_first(&h)->owner == &a);
    heap_set(&h, &a, 1);
    CHECK(heap_first(&h)->owner == &b);
    heap_remove(&h, &b);
    heap_remove(&h, &b);
    heap_set(&h, &a, INT64_MAX);
    CHECK(!heap_first(&h));
    heap_clear(&h);
}
