/* The hash map, held against a plain array under random changes. */
#include "base/map.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

enum { KEYS = 300 };

static char keys[KEYS][8];

static void make_keys(void)
{
    for (unsigned i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof(keys[i]), "%u", i);
}

static void check_content(const struct map *m, void *const model[KEYS])
{
    struct map_entry *e;
    size_t count = 0, walked = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        CHECK(map_gets(m, keys[i]) == model[i]);
        count += model[i] != NULL;
    }
    CHECK_INT(m->count, count);
    for (unsigned i = 0; i + MAP_MANY_MAX <= KEYS; i += 7) {
        struct map_lookup lookups[MAP_MANY_MAX];

        for (unsigned k = 0; k < MAP_MANY_MAX; k++)
            lookups[k] = (struct map_lookup){.key = keys[i + k], .key_len = strlen(keys[i + k]), .value = keys};
        map_get_many(m, lookups, MAP_MANY_MAX);
        for (unsigned k = 0; k < MAP_MANY_MAX; k++)
            CHECK(lookups[k].value == model[i + k]);
    }
    for (size_t i = 0; map_next(m, &i, &e); walked++)
        CHECK(e->key_len == strlen(e->key) && map_get(m, e->key, e->key_len) == e->value);
    CHECK_INT(walked, count);
}

TEST(random_changes_leave_what_a_simple_model_holds)
{
    struct map m = {0};
    void *model[KEYS] = {0};
    uint64_t random = 9;

    make_keys();
    for (unsigned step = 0; step < 50000; step++) {
        unsigned i = (unsigned)(test_random(&random) % KEYS);
        /* Alternate between growing and shrinking. */
        bool put = test_random(&random) % 10 < (step / 5000 % 2 ? 2 : 8);
        void *value = &keys[test_random(&random) % KEYS];

        if (put) {
            CHECK(map_puts(&m, keys[i], value) == model[i]);
            model[i] = value;
        } else {
            CHECK(map_removes(&m, keys[i]) == model[i]);
            model[i] = NULL;
        }
        CHECK(m.count <= m.cap / 4 * 3);
        if (step % 500 == 0)
            check_content(&m, model);
    }
    map_clear(&m);
    CHECK_INT(m.count, 0);
}

TEST(an_empty_map_finds_nothing)
{
    struct map m = {0};
    struct map_entry *e;
    size_t i = 0;
    void **values = map_sorted_values(&m);

    CHECK(map_gets(&m, "x") == NULL && map_removes(&m, "x") == NULL && !map_next(&m, &i, &e));
    mem_free(values);
    map_clear(&m);
}

TEST(keys_are_bytes_and_may_be_empty)
{
    struct map m = {0};
    int a, b, c;

    CHECK(map_put(&m, "x\0a", 3, &a) == NULL);
    CHECK(map_put(&m, "x\0b", 3, &b) == NULL);
    CHECK(map_put(&m, NULL, 0, &c) == NULL);
    CHECK(map_get(&m, "x\0a", 3) == &a);
    CHECK(map_get(&m, "x\0b", 3) == &b);
    CHECK(map_get(&m, "x", 1) == NULL);
    CHECK(map_get(&m, "", 0) == &c);
    map_clear(&m);
}

TEST(a_replaced_value_brings_its_own_key)
{
    struct map m = {0};
    char first[] = "key", second[] = "key";
    struct map_entry *e = NULL;
    size_t i = 0;

    map_puts(&m, first, first);
    CHECK(map_puts(&m, second, second) == first);
    memset(first, 'x', 3);
    CHECK(map_gets(&m, "key") == second);
    CHECK(map_next(&m, &i, &e));
    CHECK(e->key == second);
    map_clear(&m);
}

TEST(values_come_sorted_by_key_bytes)
{
    static char *texts[] = {"b", "a", "ab", "\xff", "", "B"};
    static const char *const sorted[] = {"", "B", "a", "ab", "b", "\xff"};
    struct map m = {0};
    void **values;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        map_puts(&m, texts[i], texts[i]);
    values = map_sorted_values(&m);
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
        CHECK_STR(values[i], sorted[i]);
    mem_free(values);
    map_clear(&m);
}

TEST(a_map_that_became_empty_gives_its_memory_back)
{
    struct map m = {0};

    make_keys();
    for (unsigned i = 0; i < KEYS; i++)
        map_puts(&m, keys[i], keys[i]);
    CHECK(m.cap >= KEYS);
    for (unsigned i = 0; i < KEYS; i++)
        map_removes(&m, keys[i]);
    CHECK(m.cap <= 16);
    map_clear(&m);
}
