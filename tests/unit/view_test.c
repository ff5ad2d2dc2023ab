/* Views and their differences. */
#include "store/view.h"

#include "tests/unit/test.h"

#include <string.h>

static void put(struct view_delta *d, struct gateway *g)
{
    view_delta_set(d, VIEW_GATEWAY, g->name, g);
}

static struct gateway *gateway(const char *name, bool is_default, uint16_t port_min, uint16_t port_max)
{
    return gateway_new(name, is_default, &(struct gateway_settings){.port_min = port_min, .port_max = port_max});
}

TEST(a_view_shares_what_did_not_change_and_leaves_the_one_before_alone)
{
    struct gateway *a = gateway("a", true, 1, 2), *b = gateway("b", false, 3, 4), *a2 = gateway("a", true, 5, 6);
    struct view *first = view_new(NULL), *second;
    struct view_delta *d = view_delta_new(NULL, first);

    put(d, a);
    put(d, b);
    view_delta_free(d);
    second = view_new(first);
    d = view_delta_new(first, second);
    put(d, a2);
    CHECK_INT(d->n_changes, 1);
    CHECK(d->changes[0].before == a);
    CHECK(d->changes[0].after == a2);
    view_delta_free(d);
    CHECK(view_gateway(first, "a") == a);
    CHECK(view_gateway(second, "a") == a2);
    CHECK(view_gateway(second, "b") == b);
    CHECK_INT(view_gateway(second, "a")->port_min, 5);
    gateway_unref(a);
    gateway_unref(b);
    gateway_unref(a2);
    view_unref(first);
    CHECK(view_gateway(second, "b") == b);
    view_unref(second);
}

TEST(the_same_object_is_no_change_and_what_is_missing_cannot_go)
{
    struct gateway *a = gateway("a", true, 1, 2);
    struct view *v = view_new(NULL), *next;
    struct view_delta *d = view_delta_new(NULL, v);

    put(d, a);
    view_delta_free(d);
    next = view_new(v);
    d = view_delta_new(v, next);
    put(d, a);
    view_delta_set(d, VIEW_GATEWAY, "b", NULL);
    view_delta_set(d, VIEW_SERVICE, "a", NULL);
    CHECK_INT(d->n_changes, 0);
    view_delta_free(d);
    gateway_unref(a);
    view_unref(v);
    view_unref(next);
}

TEST(changes_are_sorted_by_kind_and_key)
{
    static const char *const names[] = {"m", "b", "z", "a", "c"};
    struct view *v = view_new(NULL);
    struct view_delta *d = view_delta_new(NULL, v);

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct gateway *g = gateway(names[i], false, 1, 2);
        struct secret *s = secret_new(names[i], "", &(struct secret_values){0}, "missing", NULL);

        put(d, g);
        view_delta_set(d, VIEW_SECRET, names[i], s);
        gateway_unref(g);
        secret_unref(s);
    }
    view_delta_sort(d);
    CHECK_INT(d->n_changes, 10);
    for (size_t i = 0; i < d->n_changes; i++)
        CHECK_INT(d->changes[i].kind, i < 5 ? VIEW_SECRET : VIEW_GATEWAY);
    for (size_t i = 1; i < d->n_changes; i++)
        CHECK(i == 5 || strcmp(d->changes[i - 1].key, d->changes[i].key) < 0);
    CHECK_STR(d->changes[0].key, "a");
    view_delta_free(d);
    d = view_delta_initial(v);
    CHECK_INT(d->n_changes, 10);
    CHECK(d->before == NULL);
    CHECK(d->after == v);
    for (size_t i = 0; i < d->n_changes; i++)
        CHECK(d->changes[i].before == NULL && d->changes[i].after != NULL);
    CHECK_STR(d->changes[9].key, "z");
    view_delta_free(d);
    view_unref(v);
}

TEST(a_delta_keeps_what_it_names_alive)
{
    struct gateway *a = gateway("a", true, 1, 2);
    struct view *v = view_new(NULL), *next;
    struct view_delta *d = view_delta_new(NULL, v);

    put(d, a);
    view_delta_free(d);
    gateway_unref(a);
    next = view_new(v);
    d = view_delta_new(v, next);
    view_delta_set(d, VIEW_GATEWAY, "a", NULL);
    view_unref(v);
    view_unref(next);
    CHECK_STR(((struct gateway *)d->changes[0].before)->name, "a");
    CHECK_STR(d->changes[0].key, "a");
    CHECK(d->changes[0].after == NULL);
    view_delta_free(d);
}
