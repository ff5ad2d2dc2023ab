/* The memory of refusals, and its bounds. */
#include "server/xds_refusals.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

TEST(what_a_proxy_refused_is_known_as_long_as_it_is_and_after)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *p = xds_refusing_get(r, 7, "g"), *other = xds_refusing_get(r, 8, "g");

    CHECK(xds_refusing_find(p, XDS_CLUSTER, 1) == NULL);
    xds_refusing_add(p, XDS_CLUSTER, 1, "a", "it is bad", 9);
    CHECK_STR(xds_refusing_find(p, XDS_CLUSTER, 1)->words, "it is bad");
    CHECK_STR(xds_refusing_find(p, XDS_CLUSTER, 1)->name, "a");
    CHECK(xds_refusing_find(p, XDS_LISTENER, 1) == NULL);
    CHECK(xds_refusing_find(p, XDS_CLUSTER, 2) == NULL);
    CHECK(xds_refusing_find(other, XDS_CLUSTER, 1) == NULL);
    xds_refusing_put(r, p);
    p = xds_refusing_get(r, 7, "g");
    CHECK_INT(xds_refusing_count(p), 1);
    CHECK(xds_refusing_find(p, XDS_CLUSTER, 1) != NULL);
    xds_refusing_put(r, p);
    xds_refusing_put(r, other);
    xds_refusing_put(r, NULL);
    xds_refusals_free(r);
}

static struct resource *make(const char *name, size_t len)
{
    uint8_t *message = mem_alloc(len);
    struct resource *r;

    memcpy(message, name, strlen(name));
    r = resource_new(XDS_ROUTE, name, "", message, len, NULL, 0, NULL, 0, NULL, 0);

    mem_free(message);
    return r;
}

/* The proxy has that resource, and nobody else keeps it. */
static void keep(struct xds_refusing *p, const char *name, size_t len)
{
    struct resource *r = make(name, len);

    xds_refusing_keep(p, XDS_ROUTE, name, r);
    resource_unref(r);
}

TEST(what_a_proxy_has_of_what_it_refused_is_known_as_long_as_that)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *p = xds_refusing_get(r, 7, "g");
    uint64_t changes = xds_refusals_kept_changes(r);

    xds_refusing_add(p, XDS_ROUTE, 1, "a", "", 0);
    keep(p, "a", 10);
    keep(p, "b", 20);
    CHECK(xds_refusals_kept_changes(r) != changes);
    changes = xds_refusals_kept_changes(r);
    keep(p, "a", 10);
    CHECK(xds_refusals_kept_changes(r) == changes);
    keep(p, "a", 30);
    xds_refusing_keep(p, XDS_ROUTE, "b", NULL);
    CHECK(xds_refusing_kept(p, XDS_ROUTE, "b") == NULL && xds_refusing_kept(p, XDS_LISTENER, "a") == NULL);
    CHECK(xds_refusing_kept_at(p, 0) == xds_refusing_kept(p, XDS_ROUTE, "a") && !xds_refusing_kept_at(p, 1));
    xds_refusing_put(r, p);
    p = xds_refusing_get(r, 7, "g");
    CHECK(xds_refusing_kept(p, XDS_ROUTE, "a") != NULL);
    xds_refusals_forget(r);
    CHECK(xds_refusing_kept(p, XDS_ROUTE, "a") == NULL);
    xds_refusing_put(r, p);
    xds_refusals_free(r);
}

TEST(what_proxies_have_is_kept_once_and_that_of_those_that_left_first_goes_where_it_is_too_much)
{
    enum { BIG = XDS_KEPT_BYTES_MAX / 2, PROXIES = 20 }; /* two of them, with what stands around them, are too much */
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *p[PROXIES + 1];

    /* All of them have the same. */
    for (uint64_t i = 0; i < PROXIES; i++) {
        p[i] = xds_refusing_get(r, i, "g");
        xds_refusing_add(p[i], XDS_ROUTE, 1, "a", "", 0);
        keep(p[i], "a", BIG);
        xds_refusing_put(r, p[i]);
    }
    CHECK(xds_refusing_kept(p[0], XDS_ROUTE, "a") != NULL);
    p[0] = xds_refusing_get(r, 0, "g");
    keep(p[0], "a", BIG + 1);
    CHECK(xds_refusing_kept(p[1], XDS_ROUTE, "a") == NULL);
    CHECK(xds_refusing_kept(p[0], XDS_ROUTE, "a") != NULL);
    /* Those that are there keep what they have. */
    keep(p[0], "b", BIG);
    keep(p[0], "c", BIG);
    for (unsigned i = 0; i < 3; i++)
        CHECK(xds_refusing_kept_at(p[0], i) != NULL);
    xds_refusing_put(r, p[0]);
    xds_refusals_free(r);
}

TEST(of_one_proxy_so_many_resources_are_kept)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *p = xds_refusing_get(r, 7, "g");

    for (unsigned i = 0; i <= XDS_KEPT_MAX; i++) {
        char name[16];

        snprintf(name, sizeof(name), "r%u", i);
        keep(p, name, 10);
    }
    CHECK(xds_refusing_kept(p, XDS_ROUTE, "r0") == NULL && xds_refusing_kept(p, XDS_ROUTE, "r1") != NULL);
    CHECK(!xds_refusing_kept_at(p, XDS_KEPT_MAX));
    xds_refusing_put(r, p);
    xds_refusals_free(r);
}

TEST(two_streams_of_a_proxy_share_what_it_refused)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *one = xds_refusing_get(r, 7, "g"), *two = xds_refusing_get(r, 7, "g");

    CHECK(one == two);
    xds_refusing_put(r, one);
    xds_refusing_add(two, XDS_ROUTE, 5, "a", "", 0);
    CHECK_STR(xds_refusing_find(two, XDS_ROUTE, 5)->words, "");
    xds_refusing_put(r, two);
    xds_refusals_free(r);
}

TEST(the_newest_words_stand_and_long_ones_are_cut_between_characters)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *p = xds_refusing_get(r, 7, "g");
    char words[2 * XDS_REFUSAL_WORDS_MAX];
    const char *kept;

    xds_refusing_add(p, XDS_ROUTE, 5, "a", "before", 6);
    memset(words, 'x', sizeof(words));
    memcpy(words + XDS_REFUSAL_WORDS_MAX - 1, "\xc3\xa9", 2);
    xds_refusing_add(p, XDS_ROUTE, 5, "a", words, sizeof(words));
    kept = xds_refusing_find(p, XDS_ROUTE, 5)->words;
    CHECK_INT(strlen(kept), XDS_REFUSAL_WORDS_MAX - 1);
    CHECK_INT(xds_refusing_count(p), 1);
    xds_refusing_put(r, p);
    xds_refusals_free(r);
}

TEST(the_oldest_refusal_goes_past_the_limit)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *p = xds_refusing_get(r, 7, "g");

    for (uint64_t i = 1; i <= XDS_REFUSALS_MAX + 1; i++)
        xds_refusing_add(p, XDS_ROUTE, i, "a", "no", 2);
    CHECK_INT(xds_refusing_count(p), XDS_REFUSALS_MAX);
    CHECK(xds_refusing_find(p, XDS_ROUTE, 1) == NULL);
    CHECK(xds_refusing_find(p, XDS_ROUTE, 2) != NULL);
    xds_refusing_put(r, p);
    xds_refusals_free(r);
}

TEST(the_proxy_that_was_away_longest_is_forgotten_past_the_limit)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *p;

    for (uint64_t i = 0; i <= XDS_REFUSING_PROXIES_MAX; i++) {
        p = xds_refusing_get(r, i, "g");
        xds_refusing_add(p, XDS_ROUTE, 1, "a", "no", 2);
        xds_refusing_put(r, p);
        if (i == 5) /* number 0 was here once more */
            xds_refusing_put(r, xds_refusing_get(r, 0, "g"));
    }
    p = xds_refusing_get(r, 1, "g");
    CHECK_INT(xds_refusing_count(p), 0);
    xds_refusing_put(r, p);
    p = xds_refusing_get(r, 0, "g");
    CHECK_INT(xds_refusing_count(p), 1);
    xds_refusing_put(r, p);
    xds_refusals_free(r);
}

TEST(what_is_forgotten_can_be_refused_again)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *p = xds_refusing_get(r, 7, "g"), *idle = xds_refusing_get(r, 8, "g");
    uint64_t changes;

    xds_refusing_add(p, XDS_ROUTE, 1, "a", "no", 2);
    xds_refusing_add_part(p, XDS_LISTENER, 2, "l", "no");
    xds_refusing_add(idle, XDS_ROUTE, 1, "a", "no", 2);
    xds_refusing_put(r, idle);
    changes = xds_refusals_changes(r);
    xds_refusals_forget(r);
    CHECK(xds_refusals_changes(r) != changes);
    CHECK_INT(xds_refusing_count(p), 0);
    CHECK_INT(xds_refusing_count_parts(p, XDS_LISTENER, "l"), 0);
    idle = xds_refusing_get(r, 8, "g");
    CHECK_INT(xds_refusing_count(idle), 0);
    xds_refusing_add(p, XDS_ROUTE, 1, "a", "no", 2);
    CHECK(xds_refusing_find(p, XDS_ROUTE, 1) != NULL);
    xds_refusing_put(r, idle);
    xds_refusing_put(r, p);
    xds_refusals_free(r);
}

TEST(what_is_refused_for_the_moment_is_forgotten_when_the_proxy_goes)
{
    struct xds_refusals *r = xds_refusals_new();
    struct xds_refusing *one = xds_refusing_get(r, 7, "g"), *two = xds_refusing_get(r, 7, "g");

    xds_refusing_add(one, XDS_LISTENER, 1, "l", "cannot bind '0.0.0.0:80': Address already in use", 48);
    xds_refusing_add(one, XDS_LISTENER, 2, "m", "it is bad", 9);
    xds_refusing_put(r, one);
    CHECK(xds_refusing_find(two, XDS_LISTENER, 1) != NULL);
    xds_refusing_put(r, two);
    one = xds_refusing_get(r, 7, "g");
    CHECK(xds_refusing_find(one, XDS_LISTENER, 1) == NULL);
    CHECK(xds_refusing_find(one, XDS_LISTENER, 2) != NULL);
    xds_refusing_put(r, one);
    xds_refusals_free(r);
}
