/* The pool of texts. */
#include "base/intern.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

TEST(equal_texts_are_one_and_different_ones_are_not)
{
    struct intern_pool *p = intern_pool_new();
    char text[] = "hello";
    const char *a = intern(p, text, 5), *b = intern(p, "hello", 5), *c = intern(p, "hell", 4);
    const char *d = intern(p, "hello", 4), *empty = intern(p, NULL, 0);

    text[0] = 'x';
    CHECK(a == b && a != c && c == d);
    CHECK_STR(a, "hello");
    CHECK_STR(c, "hell");
    CHECK_STR(empty, "");
    CHECK_INT(intern_len(a), 5);
    CHECK_INT(intern_len(empty), 0);
    intern_unref(p, a);
    CHECK_STR(b, "hello");
    intern_unref(p, b);
    intern_unref(p, c);
    intern_unref(p, d);
    intern_unref(p, empty);
    intern_unref(p, NULL);
    intern_pool_free(p);
}

TEST(a_text_may_hold_nul_bytes)
{
    struct intern_pool *p = intern_pool_new();
    const char *a = intern(p, "a\0b", 3), *b = intern(p, "a\0c", 3);

    CHECK(a != b && intern_len(a) == 3 && memcmp(a, "a\0b", 4) == 0);
    intern_unref(p, a);
    intern_unref(p, b);
    intern_pool_free(p);
}

TEST(texts_live_until_the_last_reference_goes)
{
    enum { COUNT = 1000 };
    struct intern_pool *p = intern_pool_new();
    const char *texts[COUNT];
    char text[16];

    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        texts[i] = intern(p, text, strlen(text));
        CHECK(intern_ref(texts[i]) == texts[i]);
    }
    for (int i = 0; i < COUNT; i++)
        intern_unref(p, texts[i]);
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CHECK(intern(p, text, strlen(text)) == texts[i]);
        intern_unref(p, texts[i]);
        intern_unref(p, texts[i]);
    }
    intern_pool_free(p);
    intern_pool_free(NULL);
}

static void free_pool(void *arg)
{
    intern_pool_free(arg);
}

TEST(freeing_a_pool_in_use_is_a_programming_error)
{
    struct intern_pool *p = intern_pool_new();
    const char *text = intern(p, "x", 1);

    CHECK(test_aborts(free_pool, p));
    intern_unref(p, text);
    intern_pool_free(p);
}
