/* Canonical JSON texts: the order of keys, doubles, and changes deep within, held against jansson. */
#include "server/canonical.h"

#include "base/mem.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static int on_token(void *arg, enum sax_event event, const char *text, size_t n)
{
    canonical_token(arg, event, text, n);
    return 0;
}

/* mem_free() it. */
static char *canonical_of(const char *json)
{
    struct canonical *c = canonical_new();
    struct sax *s = sax_new(NULL, on_token, c);
    struct err e = {0};
    size_t n;
    char *text;

    canonical_begin(c);
    CHECK_INT(sax_feed(s, json, strlen(json), &e), 0);
    CHECK_INT(sax_finish(s, &e), 0);
    text = mem_strdup(canonical_text(c, &n));
    CHECK_INT(n, strlen(text));
    sax_free(s);
    canonical_free(c);
    return text;
}

#define CHECK_CANONICAL(json, wanted)                                                                                \
    do {                                                                                                             \
        char *got_ = canonical_of(json);                                                                             \
        CHECK_STR(got_, wanted);                                                                                     \
        mem_free(got_);                                                                                              \
    } while (0)

TEST(keys_are_sorted_spaces_are_gone_numbers_stay_as_they_came)
{
    CHECK_CANONICAL(" { \"b\" : 1.50 , \"a\" : [ 1e3 , -0 , { } , [ ] ] , \"\" : null } ",
                    "{\"\":null,\"a\":[1e3,-0,{},[]],\"b\":1.50}");
    CHECK_CANONICAL("{\"b\":{\"d\":1,\"c\":{\"f\":1,\"e\":2}},\"a\":true}",
                    "{\"a\":true,\"b\":{\"c\":{\"e\":2,\"f\":1},\"d\":1}}");
    CHECK_CANONICAL("\"\\u0041\\/\\n\\u00e9\"", "\"A/\\n\xc3\xa9\"");
    CHECK_CANONICAL("[false,\"x\"]", "[false,\"x\"]");
    CHECK_CANONICAL("{\"ab\":1,\"a\":2,\"a!\":3}", "{\"a!\":3,\"a\":2,\"ab\":1}");
}

TEST(of_equal_keys_the_last_one_counts)
{
    CHECK_CANONICAL("{\"a\":1,\"a\":2}", "{\"a\":2}");
    CHECK_CANONICAL("{\"b\":0,\"a\":{\"x\":1},\"a\":[],\"\\u0061\":3}", "{\"a\":3,\"b\":0}");
}

/* ---- changes ---- */

#define KEY(text)                                                                                                    \
    {                                                                                                                \
        .key = (text), .key_len = sizeof(text) - 1                                                                   \
    }
#define INDEX(n)                                                                                                     \
    {                                                                                                                \
        .is_index = true, .index = (n)                                                                               \
    }

static const char *edited(const char *text, const struct json_step *steps, size_t n, const char *value, int wanted,
                          bool *ret_shifted)
{
    static char result[512];
    struct buf out = {0};
    int r = canonical_edit(text, strlen(text), steps, n, value, value ? strlen(value) : 0, &out, ret_shifted);

    CHECK_INT(r, wanted);
    snprintf(result, sizeof(result), "%.*s", (int)out.len, out.data ? (char *)out.data : "");
    buf_clear(&out);
    return result;
}

#define CHECK_EDIT(text, value, wanted, ...)                                                                         \
    do {                                                                                                             \
        const struct json_step steps_[] = {__VA_ARGS__};                                                             \
        bool shifted_;                                                                                               \
        CHECK_STR(edited(text, steps_, ARRAY_LEN(steps_), value, 0, &shifted_), wanted);                             \
    } while (0)
#define CHECK_REFUSED(text, value, code, ...)                                                                        \
    do {                                                                                                             \
        const struct json_step steps_[] = {__VA_ARGS__};                                                             \
        bool shifted_;                                                                                               \
        edited(text, steps_, ARRAY_LEN(steps_), value, code, &shifted_);                                             \
    } while (0)

TEST(a_value_is_set_added_or_removed_at_any_depth)
{
    CHECK_EDIT("{}", "1", "{\"a\":1}", KEY("a"));
    CHECK_EDIT("{\"a\":1,\"c\":2}", "[]", "{\"a\":1,\"b\":[],\"c\":2}", KEY("b"));
    CHECK_EDIT("{\"a\":1,\"c\":2}", "3", "{\"a\":1,\"c\":2,\"d\":3}", KEY("d"));
    CHECK_EDIT("{\"b\":1}", "3", "{\"a\":3,\"b\":1}", KEY("a"));
    CHECK_EDIT("{\"a\":{\"x\":\"},\\\"\"},\"b\":2}", "7", "{\"a\":7,\"b\":2}", KEY("a"));
    CHECK_EDIT("{\"a\":{\"x\":[0,{\"y\":1}]}}", "2", "{\"a\":{\"x\":[0,{\"y\":2}]}}", KEY("a"), KEY("x"), INDEX(1),
               KEY("y"));
    CHECK_EDIT("[]", "1", "[1]", INDEX(0));
    CHECK_EDIT("[1,2]", "3", "[1,2,3]", INDEX(2));
    CHECK_EDIT("[1,2]", "3", "[3,2]", INDEX(0));
    CHECK_EDIT("{\"a\":1}", NULL, "{}", KEY("a"));
    CHECK_EDIT("{\"a\":1,\"b\":2,\"c\":3}", NULL, "{\"b\":2,\"c\":3}", KEY("a"));
    CHECK_EDIT("{\"a\":1,\"b\":2,\"c\":3}", NULL, "{\"a\":1,\"c\":3}", KEY("b"));
    CHECK_EDIT("{\"a\":1,\"b\":2,\"c\":3}", NULL, "{\"a\":1,\"b\":2}", KEY("c"));
    CHECK_EDIT("[[1],[2]]", NULL, "[[1],[]]", INDEX(1), INDEX(0));
    CHECK_EDIT("{\"q\\\"\":1}", "2", "{\"q\\\"\":2}", KEY("q\""));
}

TEST(what_does_not_fit_is_refused)
{
    CHECK_REFUSED("{\"a\":1}", "1", -ENOENT, KEY("b"), KEY("c"));
    CHECK_REFUSED("{\"a\":1}", "1", -ENOTDIR, KEY("a"), KEY("c"));
    CHECK_REFUSED("{\"a\":1}", NULL, -ENOENT, KEY("b"));
    CHECK_REFUSED("[1]", "1", -ENOENT, INDEX(2));
    CHECK_REFUSED("[1]", NULL, -ENOENT, INDEX(1));
    CHECK_REFUSED("[1]", "1", -ENOENT, INDEX(1), INDEX(0));
    CHECK_REFUSED("[1]", "1", -ENOTDIR, KEY("a"));
    CHECK_REFUSED("{}", "1", -ENOTDIR, INDEX(0));
    CHECK_REFUSED("\"a\"", "1", -ENOTDIR, INDEX(0));
    CHECK_REFUSED("7", NULL, -ENOTDIR, KEY("a"));
}

/* ---- random changes, held against jansson ---- */

static uint64_t seed = 5;

static unsigned random_below(unsigned n)
{
    return (unsigned)(test_random(&seed) % n);
}

static const char *const some_keys[] = {"", "a", "b", "c", "ab", "a!", "q\"\\", "\xc3\xa9"};

static json_t *random_json(unsigned depth)
{
    json_t *json;

    switch (random_below(depth ? 4 : 2)) {
    case 0:
        return json_integer((json_int_t)random_below(9));
    case 1:
        return json_string(some_keys[random_below(ARRAY_LEN(some_keys))]);
    case 2:
        json = json_array();
        for (unsigned i = random_below(4); i > 0; i--)
            json_array_append_new(json, random_json(depth - 1));
        return json;
    default:
        json = json_object();
        for (unsigned i = random_below(5); i > 0; i--)
            json_object_set_new(json, some_keys[random_below(ARRAY_LEN(some_keys))], random_json(depth - 1));
        return json;
    }
}

static char *dump(const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY), *canonical = canonical_of(text);

    mem_free(text);
    return canonical;
}

/* One change at a random place of *root; false when it does not fit. */
static bool model_edit(json_t *root, const struct json_step *steps, size_t n, json_t *value)
{
    json_t *at = root;

    for (size_t i = 0; i + 1 < n && at; i++)
        at = steps[i].is_index ? json_array_get(at, steps[i].index) : json_object_get(at, steps[i].key);
    if (steps[n - 1].is_index && json_is_array(at)) {
        if (!value)
            return json_array_remove(at, steps[n - 1].index) == 0;
        if (steps[n - 1].index == json_array_size(at))
            return json_array_append(at, value) == 0;
        return json_array_set(at, steps[n - 1].index, value) == 0;
    }
    if (steps[n - 1].is_index || !json_is_object(at))
        return false;
    if (!value)
        return json_object_del(at, steps[n - 1].key) == 0;
    return json_object_set(at, steps[n - 1].key, value) == 0;
}

static size_t random_steps(const json_t *at, struct json_step *steps, size_t max)
{
    size_t n = 0;

    do {
        const char *key = some_keys[random_below(ARRAY_LEN(some_keys))];
        bool index = json_is_array(at) == (random_below(20) != 0);
        size_t i = random_below((unsigned)json_array_size(at) + 2);

        steps[n++] = (struct json_step){.is_index = index, .index = i, .key = key, .key_len = strlen(key)};
        at = index ? json_array_get(at, i) : json_object_get(at, key);
    } while (n < max && at && random_below(3));
    return n;
}

TEST(random_changes_end_in_the_same_value_as_in_a_tree)
{
    enum { RUNS = 20000, STEPS = 4 };
    size_t done = 0, refused = 0;

    for (unsigned run = 0; run < RUNS; run++) {
        json_t *root = random_json(3), *value = random_below(3) ? random_json(2) : NULL;
        char *before = dump(root), *value_text = value ? dump(value) : NULL, *after;
        struct json_step steps[STEPS];
        size_t n = random_steps(root, steps, STEPS);
        bool fits = model_edit(root, steps, n, value), shifted;
        struct buf out = {0};
        int r = canonical_edit(before, strlen(before), steps, n, value_text, value_text ? strlen(value_text) : 0,
                               &out, &shifted);

        CHECK_INT(r == 0, fits);
        after = dump(root);
        if (fits)
            CHECK_STR(buf_cstr(&out), after);
        done += fits;
        refused += !fits;
        buf_clear(&out);
        mem_free(before);
        mem_free(after);
        mem_free(value_text);
        json_decref(value);
        json_decref(root);
    }
    CHECK(done > RUNS / 10);
    CHECK(refused > RUNS / 10);
}

TEST(a_removal_that_moves_others_is_told)
{
    const struct json_step first[] = {INDEX(0)}, last[] = {INDEX(1)}, key[] = {KEY("a")};
    bool shifted;

    CHECK_STR(edited("[1,2]", first, 1, NULL, 0, &shifted), "[2]");
    CHECK(shifted);
    CHECK_STR(edited("[1,2]", last, 1, NULL, 0, &shifted), "[1]");
    CHECK(!shifted);
    CHECK_STR(edited("{\"a\":1,\"b\":2}", key, 1, NULL, 0, &shifted), "{\"b\":2}");
    CHECK(!shifted);
}

TEST(strings_of_a_list_are_decoded_and_others_passed_over)
{
    static const char text[] = "[\"a\\\"\\\\\\n\\u0001\",7,{\"x\":[\"no\"]},null,\"\",\"\xc3\xa9\"]";
    struct buf b = {0};
    size_t at = 0;

    CHECK(canonical_next_string(text, strlen(text), &at, &b));
    CHECK_MEM(b.data, b.len, "a\"\\\n\x01", 5);
    CHECK(canonical_next_string(text, strlen(text), &at, &b));
    CHECK_INT(b.len, 0);
    CHECK(canonical_next_string(text, strlen(text), &at, &b));
    CHECK_STR(buf_cstr(&b), "\xc3\xa9");
    CHECK(!canonical_next_string(text, strlen(text), &at, &b));
    at = 0;
    CHECK(!canonical_next_string("\"a\"", 3, &at, &b));
    CHECK(!canonical_next_string("[]", 2, &at, &b));
    CHECK(!canonical_next_string("", 0, &at, &b));
    buf_clear(&b);
}
