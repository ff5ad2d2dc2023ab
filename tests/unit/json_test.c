/* Parsing, canonical texts, durations, and decoding by table with all its faults. */
#include "base/json.h"

#include "base/buf.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static int parse(const char *text, struct err *e)
{
    json_t *json = NULL;
    int r = json_parse(text, strlen(text), &json, e);

    json_decref(json);
    return r;
}

TEST(a_fault_in_the_text_tells_line_and_column_but_never_the_text)
{
    static const char *const texts[] = {
        "",    "{",        "[1,]", "{\"a\":secret}", "[\"\\u0000\"]",     "\"\xff\"",
        "1 2", "[1e9999]", "nul",  "'secret'",       "{\"a\":1,\"a\":2}", "[99999999999999999999]"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err e = {0};

        bool unfit = strstr(texts[i], "u0000") || strstr(texts[i], "99");
        CHECK_INT(parse(texts[i], &e), unfit ? -EINVAL : -EBADMSG);
        CHECK(strstr(e.text, "line 1, column ") == e.text && !strstr(e.text, "secret"));
    }
    CHECK_INT(parse("{\n \"a\": 1,\n \"a\": 2}", NULL), -EBADMSG);
}

TEST(any_value_is_parsed)
{
    static const char *const texts[] = {"1", "null", "\"x\"", "[]", " {} ", "-9223372036854775808"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        CHECK_INT(parse(texts[i], NULL), 0);
}

TEST(nesting_deeper_than_64_is_a_fault)
{
    for (unsigned depth = 64; depth <= 65; depth++) {
        struct buf b = {0};
        struct err e = {0};

        for (unsigned i = 0; i < depth; i++)
            buf_append_str(&b, i % 2 ? "[\"]\\\"}\"," : "{\"[{\\\\\":");
        buf_append_str(&b, "1");
        for (unsigned i = depth; i-- > 0;)
            buf_append_str(&b, i % 2 ? "]" : "}");
        CHECK_INT(parse(buf_cstr(&b), &e), depth == 64 ? 0 : -EBADMSG);
        CHECK((strstr(e.text, "deeper") != NULL) == (depth == 65));
        buf_clear(&b);
    }
    CHECK_INT(parse("]]]]]]]]]]", NULL), -EBADMSG);
}

TEST(equal_values_have_equal_canonical_texts)
{
    static const char given[] = "{ \"b\" : [1, 2.50,true ,null],\"a\":{\"z\":\"\\u00e9\\/\", \"y\":{}}}";
    json_t *json;
    char *text;

    CHECK_INT(json_parse(given, strlen(given), &json, NULL), 0);
    text = json_canonical(json);
    CHECK_STR(text, "{\"a\":{\"y\":{},\"z\":\"\xc3\xa9/\"},\"b\":[1,2.5,true,null]}");
    mem_free(text);
    json_decref(json);
}

TEST(durations_are_parsed)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {{"0", 0},
                {"15s", 15 * INT64_C(1000000000)},
                {"2m", 120 * INT64_C(1000000000)},
                {"1h30m", 5400 * INT64_C(1000000000)},
                {"250ms", 250000000},
                {"1d", 86400 * INT64_C(1000000000)},
                {"2w", 1209600 * INT64_C(1000000000)},
                {"3600", 3600 * INT64_C(1000000000)},
                {"2.5", 2500000000},
                {"0.25s", 250000000},
                {"1.5h", 5400 * INT64_C(1000000000)},
                {"7us", 7000},
                {"9ns", 9},
                {"1m1ms", 60001000000},
                {"0.0000000015s", 1},
                {"0.1234567891234", 123456789}},
      bad[] = {{"", 0},
               {"s", 0},
               {"-1s", 0},
               {"1x", 0},
               {"1.s", 0},
               {".5", 0},
               {"1 s", 0},
               {" 1", 0},
               {"1h30", 0},
               {"1S", 0},
               {"1e3", 0},
               {"1s ", 0},
               {"1..5", 0},
               {"1.5.2", 0},
               {"0x10", 0},
               {"inf", 0},
               {"+1", 0},
               {"0s5", 0},
               {"5ss", 0},
               {"1sm", 0},
               {"4611686019", 0},
               {"99999999999999999999999999999999999999999999", 0},
               {"4611686018427387904ns", 0},
               {"99999999d", 0}};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ns = -1;

        CHECK_INT(duration_parse(good[i].text, &ns), 0);
        CHECK_INT(ns, good[i].ns);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ns = -1;

        if (duration_parse(bad[i].text, &ns) != -EINVAL)
            test_fail(__FILE__, __LINE__, "\"%s\" was taken as %lld ns", bad[i].text, (long long)ns);
        CHECK_INT(ns, -1);
    }
}

enum color { RED = 3, LIGHT_BLUE = 5 };

struct thing {
    const char *name;
    bool on, on_set;
    int64_t port;
    double weight;
    int64_t timeout;
    struct json_strings domains;
    int color;
    const char *data;
};

static const struct json_enum colors[] = {{"red", RED}, {"light_blue", LIGHT_BLUE}, {NULL, 0}};

static const struct json_field fields[] = {
    {"name", JSON_FIELD_STRING, offsetof(struct thing, name), .min = 1, .max = 8, .required = true},
    {"on", JSON_FIELD_BOOL, offsetof(struct thing, on), offsetof(struct thing, on_set)},
    {"port", JSON_FIELD_INT, offsetof(struct thing, port), .min = 1, .max = 65535},
    {"weight", JSON_FIELD_DOUBLE, offsetof(struct thing, weight), .min = 0, .max = 1},
    {"timeout", JSON_FIELD_DURATION, offsetof(struct thing, timeout), .min = 1000000, .max = INT64_C(3600000000000)},
    {"domains", JSON_FIELD_STRING_LIST, offsetof(struct thing, domains), .max = 10, .max_items = 3},
    {"color", JSON_FIELD_ENUM, offsetof(struct thing, color), .names = colors},
    {"data", JSON_FIELD_JSON, offsetof(struct thing, data)},
};

/* All faults as "FIELD: TEXT\n". */
static void add_fault(void *arg, const struct err *e)
{
    CHECK_INT(e->code < 0, 1);
    buf_printf(arg, "%s: %s\n", e->field, e->text);
}

static struct arena *arena;
static char faults_text[8192];

static int decode(const char *text, unsigned flags, struct thing *thing)
{
    struct buf faults = {0};
    json_t *json;
    int r;

    arena_free(arena);
    arena = arena_new();
    *thing = (struct thing){.port = 80, .color = -1};
    if (json_parse(text, strlen(text), &json, NULL) < 0)
        test_fail(__FILE__, __LINE__, "the test's own text is wrong: %s", text);
    r = json_decode(json, fields, ARRAY_LEN(fields), flags, arena, thing, add_fault, &faults);
    json_decref(json);
    CHECK((r < 0) == (faults.len > 0));
    CHECK(faults.len < sizeof(faults_text));
    memcpy(faults_text, buf_cstr(&faults), faults.len + 1);
    buf_clear(&faults);
    return r;
}

static void done(void)
{
    arena_free(take_ptr(arena));
}

TEST(a_whole_object_is_decoded)
{
    struct thing t;

    CHECK_INT(decode("{\"name\":\"x\",\"on\":true,\"port\":443,\"weight\":0.5,\"timeout\":\"1m30s\","
                     "\"domains\":[\"a.b\",\"\"],\"color\":\"light_blue\",\"data\":{\"b\":1,\"a\":[ ]}}",
                     0, &t),
              0);
    CHECK_STR(t.name, "x");
    CHECK(t.on && t.on_set && t.port == 443 && t.weight == 0.5);
    CHECK_INT(t.timeout, 90 * INT64_C(1000000000));
    CHECK_INT(t.domains.count, 2);
    CHECK_STR(t.domains.items[0], "a.b");
    CHECK_STR(t.domains.items[1], "");
    CHECK_INT(t.color, LIGHT_BLUE);
    CHECK_STR(t.data, "{\"a\":[],\"b\":1}");
    done();
}

TEST(absent_and_null_fields_keep_their_defaults)
{
    struct thing t;

    CHECK_INT(decode("{\"name\":\"x\",\"port\":null,\"on\":null}", 0, &t), 0);
    CHECK(t.port == 80 && !t.on_set && t.color == -1 && t.domains.count == 0 && t.data == NULL);
    CHECK_INT(decode("{\"name\":\"x\",\"on\":false}", 0, &t), 0);
    CHECK(t.on_set && !t.on);
    done();
}

TEST(all_faults_are_reported_and_the_good_fields_are_decoded)
{
    struct thing t;

    CHECK_INT(
        decode("{\"port\":70000,\"on\":1,\"weight\":1.5,\"timeout\":-1,\"domains\":[\"a\",2],\"color\":\"green\","
               "\"data\":[],\"zzz\":1}",
               0, &t),
        -EINVAL);
    CHECK_STR(
        faults_text,
        "name: is required\non: must be true or false\nport: must be an integer from 1 to 65535\n"
        "weight: must be a number from 0 to 1\ntimeout: must be a duration: seconds, or a text such as \"15s\", "
        "\"2m\", \"1h30m\" or \"250ms\"\ndomains[1]: must be a text\ncolor: must be \"red\", \"light_blue\"\n"
        "data: must be a JSON object\nzzz: is not known here\n");
    CHECK(t.port == 80 && t.color == -1 && t.domains.count == 0 && !t.on_set);
    CHECK_INT(decode("{\"name\":\"good\",\"port\":0}", 0, &t), -EINVAL);
    CHECK_STR(t.name, "good");
    CHECK_STR(faults_text, "port: must be an integer from 1 to 65535\n");
    CHECK_INT(
        decode("{\"name\":\"good\",\"timeout\":\"0000000000000000000000000000000000000000000000000000000000000001\"}",
               0, &t),
        0);
    CHECK_INT(
        decode(
            "{\"name\":\"good\",\"timeout\":\"00000000000000000000000000000000000000000000000000000000000000001\"}",
            0, &t),
        -EINVAL);
    done();
}

TEST(a_texts_bounds_are_of_its_characters)
{
    struct thing t;

    CHECK_INT(decode("{\"name\":\"\u00e9\u20ac\U0001f600\u00e9\u20ac\U0001f600\u00e9\u20ac\"}", 0, &t), 0);
    CHECK_INT(strlen(t.name), 23);
    done();
    CHECK_INT(decode("{\"name\":\"\u00e9\u20ac\U0001f600\u00e9\u20ac\U0001f600\u00e9\u20acx\"}", 0, &t), -EINVAL);
    CHECK(strstr(faults_text, "8 characters, not 9"));
    done();
}

TEST(unknown_keys_are_ignored_when_asked)
{
    struct thing t;

    CHECK_INT(decode("{\"name\":\"x\",\"zzz\":1}", JSON_DECODE_IGNORE_UNKNOWN, &t), 0);
    done();
}

TEST(the_agents_texts_are_taken_when_lenient)
{
    struct thing t;

    CHECK_INT(decode("{\"name\":\"x\",\"on\":\"True\",\"port\":\"443\",\"weight\":\"1e-1\",\"timeout\":\"3600\","
                     "\"domains\":\"  a.b\\tc \",\"color\":\"LIGHT BLUE\",\"data\":\" {\\\"a\\\": 1} \"}",
                     JSON_DECODE_LENIENT, &t),
              0);
    CHECK(t.on && t.port == 443 && t.weight == 0.1 && t.timeout == INT64_C(3600000000000));
    CHECK_INT(t.domains.count, 2);
    CHECK_STR(t.domains.items[0], "a.b");
    CHECK_STR(t.domains.items[1], "c");
    CHECK_STR(t.data, "{\"a\":1}");
    done();
}

TEST(the_agents_texts_are_refused_when_strict)
{
    static const char *const texts[] = {
        "{\"name\":\"x\",\"on\":\"true\"}",         "{\"name\":\"x\",\"port\":\"443\"}",
        "{\"name\":\"x\",\"weight\":\"1\"}",        "{\"name\":\"x\",\"domains\":\"a b\"}",
        "{\"name\":\"x\",\"data\":\"{}\"}",         "{\"name\":\"x\",\"color\":\"Red\"}",
        "{\"name\":\"x\",\"color\":\"light blue\"}"};
    struct thing t;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        CHECK_INT(decode(texts[i], 0, &t), -EINVAL);
    done();
}

TEST(every_spelling_of_a_boolean_is_taken_when_lenient)
{
    static const struct {
        const char *text;
        int value; /* -1: none */
    } cases[] = {{"\"yes\"", 1}, {"\"no\"", 0}, {"\"1\"", 1}, {"\"0\"", 0}, {"\"TRUE\"", 1},  {"\"False\"", 0},
                 {"\"on\"", -1}, {"\"\"", -1},  {"1", -1},    {"[]", -1},   {"\"true \"", -1}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[100];
        struct thing t;
        int r;

        snprintf(text, sizeof(text), "{\"name\":\"x\",\"on\":%s}", cases[i].text);
        r = decode(text, JSON_DECODE_LENIENT, &t);
        CHECK_INT(r == 0 ? t.on : -1, cases[i].value);
        CHECK_INT(t.on_set, r == 0);
    }
    done();
}

TEST(wrong_values_are_refused_even_when_lenient)
{
    static const char *const values[] = {"\"port\":\"\"",
                                         "\"port\":\"4x\"",
                                         "\"port\":\" 4\"",
                                         "\"port\":\"+4\"",
                                         "\"port\":4.0",
                                         "\"port\":\"99999999999999999999\"",
                                         "\"port\":\"-\"",
                                         "\"port\":true",
                                         "\"port\":\"0x1\"",
                                         "\"weight\":\"nan\"",
                                         "\"weight\":\"0x1\"",
                                         "\"weight\":\"\"",
                                         "\"weight\":\"1,0\"",
                                         "\"weight\":\"[1]\"",
                                         "\"weight\":\"true\"",
                                         "\"weight\":\"1 \"",
                                         "\"weight\":{}",
                                         "\"timeout\":\"0\"",
                                         "\"timeout\":\"2h\"",
                                         "\"timeout\":1e300",
                                         "\"timeout\":[]",
                                         "\"timeout\":9223372036854775807",
                                         "\"timeout\":\"1 s\"",
                                         "\"domains\":[\"12345678901\"]",
                                         "\"domains\":\"12345678901\"",
                                         "\"domains\":\"a b c d\"",
                                         "\"domains\":[\"a\",\"b\",\"c\",\"d\"]",
                                         "\"domains\":{}",
                                         "\"domains\":[null]",
                                         "\"domains\":[[]]",
                                         "\"color\":\"\"",
                                         "\"color\":3",
                                         "\"color\":\"redd\"",
                                         "\"color\":\"re\"",
                                         "\"data\":\"[]\"",
                                         "\"data\":\"{\"",
                                         "\"data\":\"\"",
                                         "\"data\":1",
                                         "\"name\":\"123456789\"",
                                         "\"name\":\"\"",
                                         "\"name\":5"};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char text[200];
        struct thing t;

        snprintf(text, sizeof(text), "{%s%s}", strstr(values[i], "name") ? "" : "\"name\":\"x\",", values[i]);
        if (decode(text, JSON_DECODE_LENIENT, &t) == 0)
            test_fail(__FILE__, __LINE__, "taken: %s", values[i]);
        CHECK(t.port == 80 && t.weight == 0 && t.timeout == 0 && !t.domains.items && t.color == -1 && !t.data);
    }
    done();
}

TEST(bounds_are_included_and_the_upper_one_may_be_left_out)
{
    static const struct json_field open[] = {{"port", JSON_FIELD_INT, offsetof(struct thing, port), .min = 5},
                                             {"name", JSON_FIELD_STRING, offsetof(struct thing, name), .min = 2}};
    struct thing t = {0};
    json_t *json;

    CHECK_INT(decode("{\"name\":\"12345678\",\"port\":65535,\"weight\":1,\"timeout\":0.001,"
                     "\"domains\":[\"1234567890\",\"\",\"\"]}",
                     0, &t),
              0);
    CHECK_INT(t.timeout, 1000000);
    json = json_pack("{s:I,s:s}", "port", (json_int_t)INT64_MAX, "name", "xx");
    CHECK_INT(json_decode(json, open, 2, 0, arena, &t, NULL, NULL), 0);
    CHECK_INT(t.port, INT64_MAX);
    json_object_set_new(json, "port", json_integer(4));
    CHECK_INT(json_decode(json, open, 2, 0, arena, &t, NULL, NULL), -EINVAL);
    json_object_set_new(json, "port", json_integer(5));
    json_object_set_new(json, "name", json_string("x"));
    CHECK_INT(json_decode(json, open, 2, 0, arena, &t, NULL, NULL), -EINVAL);
    json_decref(json);
    done();
}

TEST(a_fault_never_shows_the_value)
{
    struct thing t;

    CHECK_INT(
        decode("{\"name\":\"secret-secret\",\"port\":\"secret\",\"color\":\"secret\",\"data\":\"secret\","
               "\"timeout\":\"secret\",\"domains\":[\"secret-secret\"],\"weight\":\"secret\",\"on\":\"secret\"}",
               JSON_DECODE_LENIENT, &t),
        -EINVAL);
    CHECK(strstr(faults_text, "secret") == NULL);
    done();
}

TEST(a_text_with_a_nul_byte_is_no_text)
{
    struct thing t = {0};
    json_t *json = json_pack("{s:s%}", "name", "a\0b", (size_t)3);

    arena = arena_new();
    CHECK_INT(json_decode(json, fields, ARRAY_LEN(fields), 0, arena, &t, NULL, NULL), -EINVAL);
    CHECK(t.name == NULL);
    json_decref(json);
    done();
}

TEST(what_is_not_an_object_is_one_fault)
{
    struct thing t;

    CHECK_INT(decode("[]", 0, &t), -EINVAL);
    CHECK_STR(faults_text, ": must be an object\n");
    done();
}
