/* RE2 behind C. */
#include "base/regex.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool matches(const char *pattern, const char *text)
{
    struct regex *r = NULL;
    struct err e = {0};
    int size = 0;
    bool match;

    CHECK_INT(regex_new(pattern, &r, &size, &e), 0);
    CHECK(size > 0);
    match = regex_full_match(r, text, strlen(text));
    regex_free(r);
    return match;
}

TEST(the_whole_text_must_match)
{
    CHECK(matches("/a.*", "/abc"));
    CHECK(!matches("/a", "/abc"));
    CHECK(!matches("b", "abc"));
    CHECK(matches("", ""));
    CHECK(matches("(?i)/ABC", "/abc"));
    CHECK(matches("/\xc3\xa9.", "/\xc3\xa9\xe2\x82\xac"));
}

TEST(a_bad_pattern_is_refused_in_re2s_words)
{
    static const char *const patterns[] = {"(", "[a", "*", "a{2000}", "\\1", "(?=x)", "\xff"};

    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        struct regex *r = NULL;
        struct err e = {0};

        CHECK_INT(regex_new(patterns[i], &r, NULL, &e), -EINVAL);
        CHECK(r == NULL && e.text[0] != '\0' && e.code == -EINVAL);
    }
    regex_free(NULL);
}

TEST(a_longer_program_has_a_larger_size)
{
    struct regex *small, *large;
    int small_size, large_size;

    CHECK_INT(regex_new("/a", &small, &small_size, NULL), 0);
    CHECK_INT(regex_new("/[a-z]{50}(x|y)*", &large, &large_size, NULL), 0);
    CHECK(small_size < large_size && large_size > 50);
    regex_free(small);
    regex_free(large);
}
