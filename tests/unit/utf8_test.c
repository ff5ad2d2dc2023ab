/* UTF-8, held against the definition: a sequence is well-formed if it is what encoding some code point gives. */
#include "base/utf8.h"

#include "tests/unit/test.h"

#include <string.h>

TEST(every_code_point_is_encoded_and_found_well_formed)
{
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char bytes[UTF8_MAX_BYTES];
        unsigned n;

        if (code >= 0xd800 && code < 0xe000)
            continue;
        n = utf8_encode(code, bytes);
        CHECK_INT(n, code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);
        CHECK_INT(utf8_char(bytes, n), n);
        CHECK_INT(utf8_char(bytes, n - 1), 0);
    }
}

TEST(exactly_the_code_points_are_well_formed)
{
    /* All sequences of up to three bytes, and those of four by their first three: the last one is 80..BF. */
    unsigned long found[5] = {0};

    for (uint32_t bytes = 0; bytes < 1 << 24; bytes++) {
        char text[4] = {(char)(bytes >> 16), (char)(bytes >> 8), (char)bytes, (char)0x80};
        unsigned n = utf8_char(text, 4);

        if ((n < 3 && (bytes & 0xff)) || (n < 2 && (bytes & 0xffff)))
            continue;
        found[n]++;
    }
    CHECK_INT(found[1], 0x80);
    CHECK_INT(found[2], 0x800 - 0x80);
    CHECK_INT(found[3], 0x10000 - 0x800 - 0x800);
    CHECK_INT(found[4], 0x100000 / 64);
}

TEST(the_prefix_ends_before_the_first_bad_byte)
{
    for (size_t good = 0; good < 40; good++) {
        char text[64];

        memset(text, 'a', sizeof(text));
        CHECK_INT(utf8_prefix(text, good), good);
        text[good] = (char)0xc3;
        CHECK_INT(utf8_prefix(text, 50), good);
        text[good + 1] = (char)0xa9;
        CHECK_INT(utf8_prefix(text, 50), 50);
        CHECK_INT(utf8_prefix(text, good + 1), good);
    }
}

TEST(characters_are_counted_not_bytes)
{
    CHECK_INT(utf8_count("", 0), 0);
    CHECK_INT(utf8_count("a\u00e9\u20ac\U0001f600z", 11), 5);
}

TEST(cutting_never_cuts_a_character)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

    for (size_t max = 0; max < sizeof(cuts) / sizeof(cuts[0]); max++)
        CHECK_INT(utf8_cut(text, strlen(text), max), cuts[max]);
    CHECK_INT(utf8_cut(text, strlen(text), 100), strlen(text));
    CHECK_INT(utf8_cut("\x80\x80\x80\x80\x80\x80\x80\x80", 8, 6), 6);
    CHECK_INT(utf8_cut("\x80\x80\x80", 3, 2), 2);
}
