/* The growable buffer. */
#include "base/buf.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

TEST(appends_add_up)
{
    struct buf b = {0};

    CHECK_INT(buf_append(&b, "ab", 2), 0);
    CHECK_INT(buf_append_str(&b, "cd"), 0);
    CHECK_INT(buf_append_byte(&b, 'e'), 0);
    CHECK_INT(buf_printf(&b, "-%d-%s", 12, "x"), 0);
    CHECK_INT(buf_append(&b, NULL, 0), 0);
    CHECK_STR(buf_cstr(&b), "abcde-12-x");
    CHECK_INT(b.len, 10);
    buf_clear(&b);
    CHECK_STR(buf_cstr(&b), "");
}

TEST(an_append_past_the_maximum_is_refused_whole_and_so_is_what_follows)
{
    struct buf b;

    buf_init(&b, 5);
    CHECK_INT(buf_append(&b, "abc", 3), 0);
    CHECK_INT(buf_append(&b, "def", 3), -EMSGSIZE);
    CHECK(b.overflow);
    CHECK_INT(buf_append_byte(&b, 'x'), -EMSGSIZE);
    CHECK_INT(buf_printf(&b, "y"), -EMSGSIZE);
    CHECK_STR(buf_cstr(&b), "abc");
    buf_reset(&b);
    CHECK_INT(buf_append(&b, "12345", 5), 0);
    CHECK_STR(buf_cstr(&b), "12345");
    CHECK(buf_reserve(&b, 0) != NULL && buf_reserve(&b, 1) == NULL);
    buf_clear(&b);
}

TEST(a_huge_append_does_not_wrap_around)
{
    struct buf b = {0};

    buf_append_byte(&b, 'x');
    CHECK(buf_reserve(&b, SIZE_MAX) == NULL);
    buf_clear(&b);
}

TEST(consuming_drops_the_front)
{
    struct buf b = {0};

    buf_append_str(&b, "hello world");
    buf_consume(&b, 6);
    CHECK_STR(buf_cstr(&b), "world");
    buf_consume(&b, 5);
    CHECK_STR(buf_cstr(&b), "");
    buf_clear(&b);
}

TEST(taking_gives_the_text_away)
{
    struct buf b = {0};
    size_t n = 99;
    char *text;

    text = buf_take(&b, &n);
    CHECK_STR(text, "");
    CHECK_INT(n, 0);
    mem_free(text);
    buf_append(&b, "a\0b", 3);
    text = buf_take(&b, &n);
    CHECK_MEM(text, n + 1, "a\0b", 4);
    CHECK(b.data == NULL && b.len == 0);
    mem_free(text);
}

TEST(a_buffer_grows_to_any_size_below_its_maximum)
{
    struct buf b;

    for (size_t size = 0; size < 300; size++) {
        buf_init(&b, 300);
        for (size_t i = 0; i < size; i++)
            CHECK_INT(buf_append_byte(&b, (uint8_t)i), 0);
        CHECK_INT(strlen(buf_cstr(&b)), size == 0 ? 0 : strnlen((char *)b.data, size));
        CHECK_INT(b.data ? b.data[size] : 0, 0);
        buf_clear(&b);
    }
}

static void check_json_string(const char *text, size_t n, const char *expected)
{
    struct buf b = {0};

    CHECK_INT(buf_json_string(&b, text, n), 0);
    CHECK_STR(buf_cstr(&b), expected);
    buf_clear(&b);
}

TEST(a_secret_buffer_grows_as_others_do_and_stays_one)
{
    struct buf b;
    size_t n;

    buf_init(&b, 0);
    b.secret = true;
    for (int i = 0; i < 10000; i++)
        CHECK_INT(buf_append(&b, "0123456789", 10), 0);
    CHECK_INT(b.len, 100000);
    CHECK_MEM(b.data + 99990, 10, "0123456789", 10);
    char *text = buf_take(&b, &n);
    CHECK_INT(n, 100000);
    mem_free_secret(text, n);
    CHECK(b.secret);
    CHECK_INT(buf_append_str(&b, "again"), 0);
    buf_clear(&b);
    CHECK(b.secret && b.len == 0);
}

TEST(json_strings_are_escaped)
{
    check_json_string("", 0, "\"\"");
    check_json_string("plain /", 7, "\"plain /\"");
    check_json_string("\"\\\b\f\n\r\t", 7, "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
    check_json_string("\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\"");
    check_json_string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

TEST(what_needs_an_escape_is_found_wherever_it_stands)
{
    static const struct {
        const char *special, *written;
    } cases[] = {{"\"", "\\\""},   {"\\", "\\\\"},           {"\x1f", "\\u001f"},      {"\n", "\\n"}, {" ", " "},
                 {"\x7f", "\x7f"}, {"\xc3\xa9", "\xc3\xa9"}, {"\xe9", "\xef\xbf\xbd"}, {"]", "]"},    {"!", "!"}};
    enum { LENGTH = 40 };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int at = 0; at <= LENGTH; at++) {
            char before[LENGTH + 1] = {0}, behind[LENGTH + 1] = {0};

            memset(before, 'a', (size_t)at);
            memset(behind, 'z', (size_t)(LENGTH - at));
            _cleanup_(mem_free_p) char *text = mem_printf("%s%s%s", before, cases[i].special, behind);
            _cleanup_(mem_free_p) char *written = mem_printf("\"%s%s%s\"", before, cases[i].written, behind);

            check_json_string(text, strlen(text), written);
        }
    }
}

TEST(bad_utf8_becomes_the_replacement_character)
{
    check_json_string("\xff", 1, "\"\xef\xbf\xbd\"");
    check_json_string("a\x80z", 3, "\"a\xef\xbf\xbdz\"");
    check_json_string("\xc3", 1, "\"\xef\xbf\xbd\"");
    check_json_string("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    check_json_string("\xff"
                      "a\xc3\"\xe2\x82\n\xc3\xa9\xff",
                      10,
                      "\"\xef\xbf\xbd"
                      "a\xef\xbf\xbd\\\"\xef\xbf\xbd\xef\xbf\xbd\\n\xc3\xa9\xef\xbf\xbd\"");
}

TEST(a_json_string_that_does_not_fit_leaves_nothing)
{
    struct buf b;

    buf_init(&b, 10);
    buf_append_str(&b, "123");
    CHECK_INT(buf_json_string(&b, "abcdefgh", 8), -EMSGSIZE);
    CHECK_STR(buf_cstr(&b), "123");
    CHECK(b.overflow);
    buf_clear(&b);
}

static void consume_too_much(void *arg)
{
    buf_consume(arg, 1);
}

TEST(consuming_more_than_there_is_is_a_programming_error)
{
    struct buf b = {0};

    CHECK(test_aborts(consume_too_much, &b));
}
