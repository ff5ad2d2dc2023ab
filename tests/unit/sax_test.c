/*
 * The incremental JSON reader: what it accepts and reports is held against jansson, whole, byte by byte and in random
 * pieces; then its limits, skipping, and the handlers' rights.
 */
#include "base/sax.h"

#include "base/buf.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

/* Builds compact JSON text from events, as a check that they came in the right order with the right texts. */
struct writer {
    struct sax *sax;
    struct buf out;
    bool need_comma;
    const char *skip_key; /* skip the value of this key */
    const char *skip_in;  /* skip the inside of the container that follows this key */
    bool skip_next_container;
    size_t events, fail_at, skips; /* fail_at: the event at which the handler refuses; 0: none */
};

enum { REFUSED = -12345 };

static int maybe_skip(struct writer *w, enum sax_event event, const char *text, size_t n)
{
    if (event == SAX_KEY && w->skip_key && strlen(w->skip_key) == n && memcmp(text, w->skip_key, n) == 0) {
        buf_append_str(&w->out, "SKIPPED");
        w->need_comma = true;
        w->skips++;
        sax_skip(w->sax);
    }
    if (event == SAX_KEY && w->skip_in && strlen(w->skip_in) == n && memcmp(text, w->skip_in, n) == 0)
        w->skip_next_container = true;
    if ((event == SAX_OBJECT_BEGIN || event == SAX_ARRAY_BEGIN) && w->skip_next_container) {
        buf_append_str(&w->out, event == SAX_OBJECT_BEGIN ? "SKIPPED}" : "SKIPPED]");
        w->skip_next_container = false;
        w->need_comma = true;
        w->skips++;
        sax_skip(w->sax);
    }
    return 0;
}

static int write_event(void *arg, enum sax_event event, const char *text, size_t n)
{
    struct writer *w = arg;

    if (++w->events == w->fail_at)
        return REFUSED;
    if (w->need_comma && event != SAX_OBJECT_END && event != SAX_ARRAY_END)
        buf_append_byte(&w->out, ',');
    w->need_comma = event != SAX_OBJECT_BEGIN && event != SAX_ARRAY_BEGIN && event != SAX_KEY;
    if (event == SAX_KEY || event == SAX_STRING) {
        buf_json_string(&w->out, text, n);
        buf_append_str(&w->out, event == SAX_KEY ? ":" : "");
    } else if (event >= SAX_NUMBER) {
        buf_append(&w->out, text, n);
    } else {
        CHECK(text == NULL && n == 0);
        buf_append_byte(&w->out, (uint8_t) "{}[]"[event - SAX_OBJECT_BEGIN]);
    }
    return maybe_skip(w, event, text, n);
}

enum pieces { WHOLE, BYTES, RANDOM };

/* Feeds text in pieces, each a copy of its own, so that a look behind its end is seen by ASan. */
static int feed(struct writer *w, const char *text, size_t n, enum pieces pieces, uint64_t *random,
                const struct sax_limits *limits, struct err *e)
{
    size_t at = 0;
    int r = 0;

    w->sax = sax_new(limits, write_event, w);
    while (r == 0 && at < n) {
        size_t left = n - at;
        size_t piece = pieces == WHOLE ? left : pieces == BYTES ? 1 : test_random(random) % 70;
        char *copy;

        if (piece > left)
            piece = left;
        copy = mem_dup(text + at, piece);
        r = sax_feed(w->sax, copy, piece, e);
        mem_free(copy);
        at += piece;
    }
    if (r == 0)
        r = sax_finish(w->sax, e);
    if (r == 0)
        CHECK(sax_done(w->sax));
    sax_free(w->sax);
    w->sax = NULL;
    return r;
}

/* Reads text in all ways of cutting it; all must come to the same. What was written is returned, the code too. */
static char *read_all_ways(const char *text, size_t n, const struct sax_limits *limits, const char *skip_key,
                           const char *skip_in, int *ret_code)
{
    uint64_t random = n;
    char *first = NULL;

    for (unsigned round = 0; round < 12; round++) {
        struct writer w = {.skip_key = skip_key, .skip_in = skip_in};
        struct err e = {0};
        int r = feed(&w, text, n, round == 0 ? WHOLE : round == 1 ? BYTES : RANDOM, &random, limits, &e);

        CHECK(r == 0 || (e.code == r && strlen(e.text) > 10));
        if (!first) {
            *ret_code = r;
            first = buf_take(&w.out, NULL);
        } else {
            CHECK_INT(r, *ret_code);
            CHECK_STR(buf_cstr(&w.out), first);
        }
        buf_clear(&w.out);
    }
    return first;
}

/* Compact, numbers aside: both sides' values compared through jansson again. */
static void check_like_jansson(const char *text, size_t n)
{
    json_error_t fault;
    json_t *theirs = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault), *ours;
    int code;
    char *written = read_all_ways(text, n, NULL, NULL, NULL, &code);

    /* Jansson refuses what is well-formed but does not fit its types; the reader hands numbers on as text. */
    if (!theirs && json_error_code(&fault) != json_error_numeric_overflow) {
        if (code != -EBADMSG && code != -EMSGSIZE)
            test_fail(__FILE__, __LINE__, "accepted, but jansson says %s: %.*s", fault.text, (int)n, text);
    } else if (code != 0) {
        test_fail(__FILE__, __LINE__, "refused (%d): %.*s", code, (int)n, text);
    } else if (theirs) {
        ours = json_loads(written, JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault);
        if (!json_equal(theirs, ours))
            test_fail(__FILE__, __LINE__, "read as %s: %.*s", written, (int)n, text);
        json_decref(ours);
    }
    json_decref(theirs);
    mem_free(written);
}

static const char *const corner_cases[] = {
    "",
    " ",
    "{}",
    "[]",
    " [ ] ",
    "{ }",
    "null",
    "true",
    "false",
    " true ",
    "nul",
    "nulll",
    "True",
    "tru",
    "t",
    "0",
    "-0",
    "1",
    "-1",
    "12345678901234567890",
    "1.5",
    "-1.5e10",
    "1E+2",
    "1e-2",
    "01",
    "-01",
    "1.",
    ".5",
    "-",
    "+1",
    "1e",
    "1e+",
    "1.e5",
    "0x10",
    "1-2",
    "1.2.3",
    "--1",
    "Infinity",
    "NaN",
    "1 2",
    "1,",
    ",1",
    "\"\"",
    "\"a\"",
    "\"a",
    "a\"",
    "\"\\\"\"",
    "\"\\\\\"",
    "\"\\/\\b\\f\\n\\r\\t\"",
    "\"\\a\"",
    "\"\\u\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\\u0041\\u00e9\\u20ac\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\\ude00\\u0041\\ud83d\\ude00\"",
    "\"\\u0000\"",
    "\"\\uFFFF\\uDBFF\\uDFFF\"",
    "\"\x01\"",
    "\"\n\"",
    "\"\x7f\"",
    "\"\x1f\"",
    "\"a\\",
    "\"\xc3\xa9\"",
    "\"\xe2\x82\xac\"",
    "\"\xf0\x9f\x98\x80\"",
    "\"\xc3\"",
    "\"\xc3(\"",
    "\"\xc0\x80\"",
    "\"\xed\xa0\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xff\"",
    "\"\x80\"",
    "\"\xe2\x82\"",
    "\"\xf0\x9f\x98\"",
    "\"\xc3\\u00a9\"",
    "\"\\u00e9\x80\"",
    "\"1234567\xc3\xa9\"",
    "\"12345678\xc3\xa9\"",
    "\"123456\xc3\xa9\"",
    "[1,2,3]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1",
    "1]",
    "]",
    "[[]",
    "[]]",
    "[}",
    "{]",
    "[1,[2,[3]]]",
    "{\"a\":1}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\" 1}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1",
    "{\"a\":1]",
    "{\"a\":{\"b\":[{}]}}",
    "{\"\":\"\"}",
    "{\"a\":1 \"b\":2}",
    "{\"a\"::1}",
    "{\"a\":1,,\"b\":2}",
    "[true,false,null]",
    "[truefalse]",
    "[nullnull]",
    "[\"a\"\"b\"]",
    "[1\"a\"]",
    "[true\"a\"]",
    "{} {}",
    "{}x",
    "\xef\xbb\xbf{}",
    "[\xc3\xa9]",
    "/* */ 1",
    "[1] // x",
    "'a'",
    "{\"a\":'b'}",
    "\t\r\n [ \t\r\n 1 \t\r\n ] \t",
    "\v1",
    "\f1",
    "[1\xa0]",
    "{\"a\":\"b\",\"a\":\"c\"}",
    "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\n\"]",
    "[\"0123456789012345678901234567890123456789\",\"\\\\\\\\\\\"\"]",
    "[1e1,1E1,0.0,-0.0,10,100]",
    "[1234567890123456789,-9223372036854775808]",
    "[0e0]",
    "[00]",
    "[-]",
    "[1.0e]",
    "[\"\\uD800\\uDC00\"]",
    "[\"\\u\"]",
    "[\"\\uZZZZ\"]",
    "[\"\\",
    "[\"\\u",
    "[\"\\ud83d",
    "[\"\\ud83d\\",
    "[\"\\ud83d\\u",
    "{\"a\\u0062\":1}",
};

TEST(good_and_bad_texts_are_told_apart_as_jansson_does)
{
    for (size_t i = 0; i < ARRAY_LEN(corner_cases); i++)
        check_like_jansson(corner_cases[i], strlen(corner_cases[i]));
}

/* Where jansson refuses the text; RFC 8259, 8.2, allows it. */
TEST(half_of_a_surrogate_pair_is_read_as_the_replacement_character)
{
#define HALF "\xef\xbf\xbd"
    static const char *const cases[][2] = {
        {"\"\\ud83d\"", "\"" HALF "\""},
        {"\"\\ude00\"", "\"" HALF "\""},
        {"\"\\ud83dx\"", "\"" HALF "x\""},
        {"\"\\ud83d\\n\"", "\"" HALF "\\n\""},
        {"\"\\ud83d\\u0041\"", "\"" HALF "A\""},
        {"\"\\ud83d\\ud83d\"", "\"" HALF HALF "\""},
        {"{\"caf\\udce9\":1}", "{\"caf" HALF "\":1}"},
        {"\"\\ud83d\\ud83d\\ude00\"", "\"" HALF "\xf0\x9f\x98\x80\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int code = -1;
        char *text = read_all_ways(cases[i][0], strlen(cases[i][0]), NULL, NULL, NULL, &code);

        CHECK_INT(code, 0);
        CHECK_STR(text, cases[i][1]);
        mem_free(text);
    }
#undef HALF
}

TEST(a_nul_byte_in_the_text_is_a_fault)
{
    check_like_jansson("[1,\0 2]", 7);
    check_like_jansson("\"a\0b\"", 5);
    check_like_jansson("{}\0", 3);
}

/* A random JSON text; now and then with a random byte changed, so that most are wrong somewhere. */
static void make_value(struct buf *b, uint64_t *random, unsigned depth)
{
    static const char *const scalars[] = {"1",
                                          "-2.5e3",
                                          "true",
                                          "false",
                                          "null",
                                          "\"\"",
                                          "\"x\"",
                                          "0",
                                          "\"\\u20ac\\\\\"",
                                          "\"\xc3\xa9t\xc3\xa9\"",
                                          "\"\\\"\"",
                                          "\"{[\"",
                                          "\"]}\\\\\\\"\"",
                                          "\"a longer text that spans several words of eight bytes\""};
    uint64_t kind = test_random(random) % (depth > 5 ? 2 : 5);
    uint64_t count = test_random(random) % 4;

    if (test_random(random) % 8 == 0)
        buf_append_str(b, " \n\t");
    if (kind < 2) {
        buf_append_str(b, scalars[test_random(random) % ARRAY_LEN(scalars)]);
        return;
    }
    buf_append_byte(b, kind == 2 ? '[' : '{');
    for (uint64_t i = 0; i < count; i++) {
        buf_append_str(b, i ? "," : "");
        if (kind != 2)
            buf_printf(b, "\"k%llu\":", (unsigned long long)i);
        make_value(b, random, depth + 1);
    }
    buf_append_byte(b, kind == 2 ? ']' : '}');
}

TEST(random_texts_are_read_as_jansson_reads_them)
{
    uint64_t random = 1;

    for (unsigned i = 0; i < 1500; i++) {
        struct buf b;

        buf_init(&b, 0);
        make_value(&b, &random, 0);
        check_like_jansson((const char *)b.data, b.len);
        b.data[test_random(&random) % b.len] = (uint8_t)("{}[]\":,\\ 1eu\x80\x1f"[test_random(&random) % 15]);
        check_like_jansson((const char *)b.data, b.len);
        check_like_jansson((const char *)b.data, test_random(&random) % b.len);
        buf_clear(&b);
    }
}

static void check_skip(const char *text, const char *skip_key, const char *skip_in, int code, const char *written)
{
    int r;
    char *out = read_all_ways(text, strlen(text), NULL, skip_key, skip_in, &r);

    CHECK_INT(r, code);
    if (written)
        CHECK_STR(out, written);
    mem_free(out);
}

TEST(a_skipped_value_makes_no_events)
{
    check_skip("{\"a\":{\"x\":[1,{}]},\"b\":2}", "a", NULL, 0, "{\"a\":SKIPPED,\"b\":2}");
    check_skip("{\"a\":[[],[1]],\"b\":2}", "a", NULL, 0, "{\"a\":SKIPPED,\"b\":2}");
    check_skip("{\"a\" : \"}]\\\"{\" ,\"b\":2}", "a", NULL, 0, "{\"a\":SKIPPED,\"b\":2}");
    check_skip("{\"a\":\"\",\"b\":2}", "a", NULL, 0, "{\"a\":SKIPPED,\"b\":2}");
    check_skip("{\"a\":\"\\\\\",\"b\":2}", "a", NULL, 0, "{\"a\":SKIPPED,\"b\":2}");
    check_skip("{\"a\":-1.5,\"b\":2}", "a", NULL, 0, "{\"a\":SKIPPED,\"b\":2}");
    check_skip("{\"a\":true,\"b\":2}", "a", NULL, 0, "{\"a\":SKIPPED,\"b\":2}");
    check_skip("{\"a\":null}", "a", NULL, 0, "{\"a\":SKIPPED}");
    check_skip("{\"a\":{}}", "a", NULL, 0, "{\"a\":SKIPPED}");
    check_skip("[{\"a\":{}},{\"a\":[]}]", "a", NULL, 0, "[{\"a\":SKIPPED},{\"a\":SKIPPED}]");
}

TEST(a_skipped_inside_of_a_container_makes_no_events_and_no_end)
{
    check_skip("{\"a\":{\"x\":[1,{}]},\"b\":2}", NULL, "a", 0, "{\"a\":{SKIPPED},\"b\":2}");
    check_skip("{\"a\":[\"]\",[]],\"b\":[2]}", NULL, "a", 0, "{\"a\":[SKIPPED],\"b\":[2]}");
    check_skip("{\"a\":{},\"b\":2}", NULL, "a", 0, "{\"a\":{SKIPPED},\"b\":2}");
}

TEST(faults_around_a_skipped_value_are_found)
{
    check_skip("{\"a\":{\"x\":[1,{}]}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":{\"x\":\"}}\"", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":[1}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":{]}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":{\"x\":1]", NULL, "a", -EBADMSG, NULL);
    check_skip("{\"a\":tru}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":,}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":{} \"b\":1}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\" {}}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":\"\\\"}", "a", NULL, -EBADMSG, NULL);
    check_skip("{\"a\":{}}}", "a", NULL, -EBADMSG, NULL);
}

TEST(random_values_are_skipped_to_their_very_end)
{
    uint64_t random = 7;

    for (unsigned i = 0; i < 1500; i++) {
        struct buf b;
        int code;
        char *out;

        buf_init(&b, 0);
        buf_append_str(&b, "{\"before\":[0],\"skip\":");
        make_value(&b, &random, 0);
        buf_append_str(&b, ",\"behind\":{\"x\":\"y\"}}");
        out = read_all_ways((const char *)b.data, b.len, NULL, "skip", NULL, &code);
        CHECK_INT(code, 0);
        CHECK_STR(out, "{\"before\":[0],\"skip\":SKIPPED,\"behind\":{\"x\":\"y\"}}");
        mem_free(out);
        buf_clear(&b);
    }
}

/* Backslashes and quotes at each place of a block of 64 bytes. */
TEST(escapes_in_skipped_strings_hold_across_blocks)
{
    for (unsigned pad = 0; pad < 140; pad++)
        for (unsigned slashes = 0; slashes < 6; slashes++) {
            struct buf b;
            int code;
            char *out;

            buf_init(&b, 0);
            buf_append_str(&b, "{\"a\":[\"");
            for (unsigned i = 0; i < pad; i++)
                buf_append_byte(&b, 'x');
            for (unsigned i = 0; i < slashes; i++)
                buf_append_byte(&b, '\\');
            /* An odd number escapes the quote, so the string ends at the next one. */
            buf_append_str(&b, slashes % 2 ? "\"]\"]" : "\",\"]\"]");
            buf_append_str(&b, ",\"b\":1}");
            out = read_all_ways((const char *)b.data, b.len, NULL, "a", NULL, &code);
            CHECK_INT(code, 0);
            CHECK_STR(out, "{\"a\":SKIPPED,\"b\":1}");
            mem_free(out);
            buf_clear(&b);
        }
}

static int read_limited(const char *text, const struct sax_limits *limits)
{
    int code;

    mem_free(read_all_ways(text, strlen(text), limits, "skip", NULL, &code));
    return code;
}

TEST(nesting_is_limited)
{
    struct sax_limits limits = {.max_depth = 3};

    CHECK_INT(read_limited("[[[]]]", &limits), 0);
    CHECK_INT(read_limited("[[[1]],[{\"a\":1}]]", &limits), 0);
    CHECK_INT(read_limited("[[[[]]]]", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("[[{\"a\":{}}]]", &limits), -EMSGSIZE);
}

TEST(the_default_depth_is_64_and_a_skipped_part_may_be_deeper)
{
    struct buf b;
    int code;

    for (unsigned depth = 64; depth <= 65; depth++) {
        buf_init(&b, 0);
        for (unsigned i = 0; i < depth; i++)
            buf_append_byte(&b, '[');
        for (unsigned i = 0; i < depth; i++)
            buf_append_byte(&b, ']');
        mem_free(read_all_ways((const char *)b.data, b.len, NULL, NULL, NULL, &code));
        CHECK_INT(code, depth == 64 ? 0 : -EMSGSIZE);
        buf_clear(&b);
    }
    buf_init(&b, 0);
    buf_append_str(&b, "{\"skip\":");
    for (unsigned i = 0; i < 100000; i++)
        buf_append_byte(&b, '[');
    for (unsigned i = 0; i < 100000; i++)
        buf_append_byte(&b, ']');
    buf_append_byte(&b, '}');
    CHECK_INT(read_limited(buf_cstr(&b), NULL), 0);
    buf_clear(&b);
}

TEST(strings_and_numbers_are_limited)
{
    struct sax_limits limits = {.max_token = 5};

    CHECK_INT(read_limited("[\"12345\",12345,{\"abcde\":1}]", &limits), 0);
    CHECK_INT(read_limited("[\"123456\"]", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("[123456]", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("{\"abcdef\":1}", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("[\"\\u0041\\u0042\\n\\\\e\"]", &limits), 0);
    CHECK_INT(read_limited("[\"\\u0041\\u0042\\n\\\\ef\"]", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("[\"123\\u20ac\"]", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("[\"12\\u20ac\"]", &limits), 0);
    CHECK_INT(read_limited("[\"1234567890", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("{\"skip\":\"123456789\"}", &limits), 0);
}

TEST(the_whole_text_is_limited)
{
    struct sax_limits limits = {.max_bytes = 8};
    char *written;
    int code;

    CHECK_INT(read_limited("[1,2,34]", &limits), 0);
    CHECK_INT(read_limited("[1,2,345]", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("[1,2,34] ", &limits), -EMSGSIZE);
    CHECK_INT(read_limited("[1,,2,3,4,5]", &limits), -EBADMSG);
    written = read_all_ways("[1,2,34]]", 9, &limits, NULL, NULL, &code);
    CHECK_INT(code, -EMSGSIZE);
    mem_free(written);
    written = read_all_ways("[\"123\",{}]", 10, &limits, NULL, NULL, &code);
    CHECK_STR(written, "[\"123\",{");
    mem_free(written);
}

TEST(what_a_handler_returns_ends_the_reading)
{
    static const char text[] = "{\"a\":[1,\"x\",true,null,{\"b\":{}}],\"c\":\"y\"}";
    struct writer all = {0};
    uint64_t random = 3;

    CHECK_INT(feed(&all, text, strlen(text), WHOLE, &random, NULL, NULL), 0);
    for (size_t i = 1; i <= all.events; i++)
        for (enum pieces pieces = WHOLE; pieces <= RANDOM; pieces++) {
            struct writer w = {.fail_at = i};

            CHECK_INT(feed(&w, text, strlen(text), pieces, &random, NULL, NULL), REFUSED);
            CHECK_INT(w.events, i);
            buf_clear(&w.out);
        }
    buf_clear(&all.out);
}

static int count_events(void *arg, enum sax_event event, const char *text, size_t n)
{
    (void)event, (void)text, (void)n; /* only their number matters */
    ++*(size_t *)arg;
    return 0;
}

struct switcher {
    struct sax *sax;
    size_t before, behind;
};

static int switch_at_key(void *arg, enum sax_event event, const char *text, size_t n)
{
    struct switcher *s = arg;

    (void)text, (void)n; /* any key will do */
    s->before++;
    if (event == SAX_KEY)
        sax_set_handler(s->sax, count_events, &s->behind);
    return 0;
}

TEST(a_handler_may_hand_over_to_another)
{
    struct switcher s = {0};

    s.sax = sax_new(NULL, switch_at_key, &s);
    CHECK_INT(sax_feed(s.sax, "[{\"a\":1}]", 9, NULL), 0);
    CHECK_INT(sax_finish(s.sax, NULL), 0);
    CHECK_INT(s.before, 3);
    CHECK_INT(s.behind, 3);
    sax_free(s.sax);
}

TEST(a_reader_can_be_used_again_after_a_fault)
{
    size_t events = 0;
    struct sax *s = sax_new(NULL, count_events, &events);
    struct err e = {0};

    CHECK_INT(sax_feed(s, "[{\"a\\u12", 8, NULL), 0);
    sax_reset(s);
    CHECK_INT(sax_feed(s, "[1,]", 4, &e), -EBADMSG);
    CHECK_STR(e.text, "byte 3: expected a value, not ']'");
    CHECK(!sax_done(s));
    sax_reset(s);
    CHECK_INT(sax_feed(s, "12", 2, NULL), 0);
    CHECK(!sax_done(s));
    CHECK_INT(sax_finish(s, NULL), 0);
    CHECK(sax_done(s));
    sax_reset(s);
    CHECK_INT(sax_finish(s, &e), -EBADMSG);
    sax_free(s);
}

TEST(a_fault_tells_its_place_in_the_whole_text)
{
    size_t events = 0;
    struct sax *s = sax_new(NULL, count_events, &events);
    struct err e = {0};

    CHECK_INT(sax_feed(s, "{\"a\":", 5, &e), 0);
    CHECK_INT(sax_feed(s, "1 x", 3, &e), -EBADMSG);
    CHECK_STR(e.text, "byte 7: expected ',' or '}', not 'x'");
    sax_free(s);
}

static void feed_after_fault(void *arg)
{
    sax_feed(arg, "1", 1, NULL);
}

TEST(feeding_after_a_fault_is_a_programming_error)
{
    size_t events = 0;
    struct sax *s = sax_new(NULL, count_events, &events);

    CHECK_INT(sax_feed(s, "]", 1, NULL), -EBADMSG);
    CHECK(test_aborts(feed_after_fault, s));
    sax_free(s);
}
