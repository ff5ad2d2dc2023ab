/* Packed columns: what goes in comes out, and no bytes whatever lead astray. */
#include "store/pack.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX};

TEST(numbers_and_texts_come_back)
{
    struct unpack u;
    struct buf b;

    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        pack_number(&b, numbers[i]);
    pack_text(&b, NULL);
    pack_text(&b, "");
    pack_text(&b, "a text");
    u = unpack_start(b.data, b.len);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        CHECK(unpack_number(&u) == numbers[i]);
    CHECK(unpack_text(&u) == NULL);
    CHECK_STR(unpack_text(&u), "");
    CHECK_STR(unpack_text(&u), "a text");
    CHECK(unpack_done(&u));
    CHECK_INT(unpack_number(&u), 0);
    CHECK(!unpack_done(&u));
    buf_clear(&b);
}

static const char *const exposes[] = {"expose#0", "expose#1"};
static const struct fact_resource resources[] = {{"expose#0", "expose.envoy", "{}"},
                                                 {"vhost#1", "vhost.envoy", "{\"a\":1}"}};
static const struct fact_address addresses[] = {
    {"n1", "svc", "ip#1", "10.0.0.1", true, "up", exposes, 2},
    {"n2", "svc", "ip#1", "", false, "down", NULL, 0},
};
static const struct facts facts = {"svc", resources, 2, addresses, 2, "they differ"};

TEST(facts_come_back)
{
    struct arena *arena = arena_new();
    struct buf r, a, again;
    struct facts f = {0};

    buf_init(&r, 0);
    buf_init(&a, 0);
    buf_init(&again, 0);
    pack_resources(&r, &facts);
    pack_addresses(&a, &facts);
    CHECK_INT(unpack_resources(r.data, r.len, arena, &f), 0);
    CHECK_INT(unpack_addresses(a.data, a.len, arena, &f), 0);
    CHECK_STR(f.disagreement, "they differ");
    CHECK_STR(f.resources[1].info, "{\"a\":1}");
    CHECK_STR(f.addresses[0].exposes[1], "expose#1");
    CHECK(f.addresses[0].up && !f.addresses[1].up);
    pack_resources(&again, &f);
    CHECK_MEM(again.data, again.len, r.data, r.len);
    buf_reset(&again);
    pack_addresses(&again, &f);
    CHECK_MEM(again.data, again.len, a.data, a.len);
    buf_clear(&r);
    buf_clear(&a);
    buf_clear(&again);
    arena_free(arena);
}

TEST(cut_and_damaged_bytes_are_refused_and_read_nothing_else)
{
    struct arena *arena = arena_new();
    uint64_t seed = 3;
    size_t refused = 0;
    struct facts f;
    struct buf b;

    buf_init(&b, 0);
    pack_addresses(&b, &facts);
    for (size_t n = 0; n < b.len; n++) {
        /* On the heap and of that size, for the sanitizer to see what is read beyond. */
        uint8_t *copy = mem_dup(b.data, n);

        CHECK_INT(unpack_addresses(copy, n, arena, &f), -EBADMSG);
        mem_free(copy);
    }
    CHECK(b.len > 0);
    for (int i = 0; i < 5000; i++) {
        uint8_t *copy = mem_dup(b.data, b.len);

        copy[test_random(&seed) % b.len] = (uint8_t)test_random(&seed);
        refused += unpack_addresses(copy, b.len, arena, &f) < 0;
        mem_free(copy);
    }
    CHECK(refused > 1000);
    buf_clear(&b);
    arena_free(arena);
}
