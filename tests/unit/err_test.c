/* The error type: what it keeps, how it joins paths, how it cuts. */
#include "base/err.h"

#include "base/utf8.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

TEST(setting_fills_and_returns_the_code)
{
    struct err e = {0};
    char text[100];

    CHECK_INT(err_set(&e, -EINVAL, "web.expose#1", "port", "must be from %d to %d", 1, 65535), -EINVAL);
    CHECK_INT(e.code, -EINVAL);
    CHECK_STR(err_format(&e, text, sizeof(text)), "web.expose#1: port: must be from 1 to 65535");
}

TEST(without_an_err_only_the_code_is_returned)
{
    CHECK_INT(err_set(NULL, -EIO, "o", "f", "x"), -EIO);
    err_prefix_field(NULL, "a");
    err_set_object(NULL, "o");
}

TEST(null_keeps_object_and_field)
{
    struct err e = {0};

    err_set(&e, -EINVAL, "object", "field", "first");
    err_set(&e, -EIO, NULL, NULL, "second, after %s", e.text);
    CHECK_STR(e.object, "object");
    CHECK_STR(e.field, "field");
    CHECK_STR(e.text, "second, after first");
    CHECK_INT(e.code, -EIO);
    err_set_object(&e, "other");
    CHECK_STR(e.object, "other");
}

TEST(fields_join_to_a_path)
{
    struct err e = {0};

    err_set(&e, -EINVAL, NULL, "match_regex", "x");
    err_prefix_field(&e, "[0]");
    CHECK_STR(e.field, "[0].match_regex");
    err_prefix_field(&e, "vhosts");
    CHECK_STR(e.field, "vhosts[0].match_regex");
    err_prefix_field(&e, "");
    CHECK_STR(e.field, "vhosts[0].match_regex");
    err_prefix_field(&e, "spec");
    CHECK_STR(e.field, "spec.vhosts[0].match_regex");
    e = (struct err){0};
    err_prefix_field(&e, "port");
    CHECK_STR(e.field, "port");
}

/* n times the given character, in a static buffer. */
static const char *many(const char *character, size_t n)
{
    static char text[8192];
    size_t length = strlen(character);

    for (size_t i = 0; i < n; i++)
        memcpy(text + i * length, character, length);
    text[n * length] = '\0';
    return text;
}

static void check_cut(const char *text, size_t size, size_t whole_length)
{
    size_t length = strlen(text);

    CHECK(length < size && length + 4 + 3 >= size);
    CHECK(whole_length >= size);
    CHECK_STR(text + length - 3, "...");
    CHECK_INT(utf8_prefix(text, length), length);
}

TEST(long_texts_are_cut_between_characters_and_say_so)
{
    static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

    for (size_t c = 0; c < 4; c++)
        for (size_t shift = 0; shift < 4; shift++) {
            struct err e = {0};
            const char *text = many(characters[c], 1000);
            size_t length = strlen(text);

            err_set(&e, -EINVAL, text, text, "%.*s%s", (int)shift, "abcd", text);
            check_cut(e.text, sizeof(e.text), length);
            check_cut(e.object, sizeof(e.object), length);
            check_cut(e.field, sizeof(e.field), length);
            err_prefix_field(&e, "abc");
            check_cut(e.field, sizeof(e.field), length);
        }
}

TEST(a_text_that_just_fits_is_whole)
{
    struct err e = {0};

    err_set(&e, -EINVAL, NULL, NULL, "%s", many("x", ERR_TEXT_MAX - 1));
    CHECK_INT(strlen(e.text), ERR_TEXT_MAX - 1);
    err_set_object(&e, many("o", ERR_OBJECT_MAX - 1));
    CHECK_STR(e.object, many("o", ERR_OBJECT_MAX - 1));
    CHECK(strchr(e.text, '.') == NULL);
}

TEST(empty_parts_are_left_out_of_the_text)
{
    struct err e = {0};
    char text[100], tiny[3];

    err_set(&e, -EINVAL, NULL, NULL, "x");
    CHECK_STR(err_format(&e, text, sizeof(text)), "x");
    err_set(&e, -EINVAL, "o", NULL, "x");
    CHECK_STR(err_format(&e, text, sizeof(text)), "o: x");
    e.text[0] = '\0';
    CHECK_STR(err_format(&e, text, sizeof(text)), "o");
    err_set(&e, -EINVAL, "o", "f", "%s", "");
    CHECK_STR(err_format(&e, text, sizeof(text)), "o: f");
    CHECK_STR(err_format(&e, tiny, sizeof(tiny)), "o:");
    CHECK_STR(err_format(&e, text, 5), "o: f");
    CHECK_STR(err_format(&e, text, 4), "...");
}

static void set_success(void *arg)
{
    err_set(arg, 0, NULL, NULL, "x");
}

TEST(an_error_without_a_code_is_a_programming_error)
{
    struct err e = {0};

    CHECK(test_aborts(set_success, &e));
}
