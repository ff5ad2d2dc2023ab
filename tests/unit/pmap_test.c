/* The persistent map, held against a plain array of flags under random changes. */
#include "base/pmap.h"

#include "tests/unit/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { KEYS = 64 };

struct item {
    atomic_int refs;
    int version;
    char key[16];
};

static void *item_ref(void *value)
{
    atomic_fetch_add(&((struct item *)value)->refs, 1);
    return value;
}

static void item_unref(void *value)
{
    struct item *i = value;

    if (atomic_fetch_sub(&i->refs, 1) == 1)
        mem_free(i);
}

static const char *item_key(const void *value)
{
    return ((const struct item *)value)->key;
}

static const struct pmap_ops ops = {item_ref, item_unref, item_key};

static struct item *item_new(unsigned key, int version)
{
    struct item *i = mem_new(struct item);

    atomic_init(&i->refs, 1);
    i->version = version;
    snprintf(i->key, sizeof(i->key), "k%03u", key);
    return i;
}

static struct pmap *put_new(struct pmap *m, unsigned key, int version)
{
    struct item *i = item_new(key, version);

    m = pmap_put(m, &ops, i);
    item_unref(i);
    return m;
}

static struct pmap *remove_number(struct pmap *m, unsigned key)
{
    char text[16];

    snprintf(text, sizeof(text), "k%03u", key);
    return pmap_remove(m, &ops, text);
}

/* versions[k]: that of key k in the map, 0 when it is not there. */
static void check_content(const struct pmap *m, const int versions[KEYS])
{
    const struct item *next = pmap_after(m, &ops, NULL);
    size_t count = 0;
    char key[16];

    for (unsigned k = 0; k < KEYS; k++) {
        const struct item *i;

        snprintf(key, sizeof(key), "k%03u", k);
        i = pmap_get(m, &ops, key);
        CHECK_INT(i ? i->version : 0, versions[k]);
        if (!versions[k])
            continue;
        count++;
        CHECK(next == i);
        next = pmap_after(m, &ops, key);
    }
    CHECK(next == NULL);
    CHECK_INT(pmap_count(m), count);
}

TEST(random_changes_leave_what_a_simple_model_holds_and_old_versions_untouched)
{
    enum { OLD = 8 };
    struct pmap *m = NULL, *old[OLD] = {0};
    int versions[KEYS] = {0}, old_versions[OLD][KEYS] = {{0}};
    uint64_t random = 42;

    for (int step = 1; step < 6000; step++) {
        unsigned key = (unsigned)(test_random(&random) % KEYS);

        if (test_random(&random) % 2) {
            m = put_new(m, key, step);
            versions[key] = step;
        } else {
            m = remove_number(m, key);
            versions[key] = 0;
        }
        if (test_random(&random) % 10 == 0) {
            size_t slot = test_random(&random) % OLD;

            check_content(old[slot], old_versions[slot]);
            pmap_unref(old[slot], &ops);
            old[slot] = pmap_ref(m);
            memcpy(old_versions[slot], versions, sizeof(versions));
        }
        if (step % 50 == 0)
            check_content(m, versions);
    }
    for (size_t i = 0; i < OLD; i++) {
        check_content(old[i], old_versions[i]);
        pmap_unref(old[i], &ops);
    }
    pmap_unref(m, &ops);
}

/* A look into the nodes, which no door shows: the same members as in base/pmap.c. */
struct shape_node {
    unsigned magic;
    atomic_uint refs;
    uint64_t priority;
    size_t count;
    struct item *value;
    const struct shape_node *left, *right;
};

static bool same_shape(const struct shape_node *a, const struct shape_node *b)
{
    if (!a || !b)
        return a == b;
    return strcmp(a->value->key, b->value->key) == 0 && a->count == b->count && same_shape(a->left, b->left) &&
           same_shape(a->right, b->right);
}

static unsigned depth_of(const struct shape_node *n)
{
    unsigned left, right;

    if (!n)
        return 0;
    left = depth_of(n->left);
    right = depth_of(n->right);
    return 1 + (left > right ? left : right);
}

TEST(the_shape_follows_from_the_keys_alone)
{
    struct pmap *up = NULL, *down = NULL;

    for (unsigned k = 0; k < 500; k++)
        up = put_new(up, k, 1);
    for (unsigned k = 600; k-- > 0;)
        down = put_new(down, k, 2);
    for (unsigned k = 500; k < 600; k++)
        down = remove_number(down, k);
    CHECK(same_shape((const struct shape_node *)up, (const struct shape_node *)down));
    CHECK(depth_of((const struct shape_node *)up) < 40);
    pmap_unref(up, &ops);
    pmap_unref(down, &ops);
}

static size_t count_shared(const struct shape_node *a, const struct shape_node *b, const char *key)
{
    if (!a || !b)
        return 0;
    if (a == b)
        return a->count;
    return count_shared(a->left, b->left, key) + count_shared(a->right, b->right, key);
}

TEST(a_change_shares_all_but_the_path_to_it)
{
    struct pmap *m = NULL, *changed;

    for (unsigned k = 0; k < 900; k++)
        m = put_new(m, k, 1);
    changed = put_new(pmap_ref(m), 450, 2);
    CHECK(count_shared((const struct shape_node *)m, (const struct shape_node *)changed, "k450") > 900 - 40);
    pmap_unref(m, &ops);
    pmap_unref(changed, &ops);
}

TEST(putting_the_same_value_or_removing_what_is_not_there_changes_nothing)
{
    struct item *i = item_new(1, 1);
    struct pmap *m = pmap_put(NULL, &ops, i), *held = pmap_ref(m);

    CHECK(pmap_put(m, &ops, i) == held);
    CHECK(remove_number(held, 2) == held);
    CHECK_INT(atomic_load(&i->refs), 2);
    pmap_unref(m, &ops);
    pmap_unref(held, &ops);
    CHECK_INT(atomic_load(&i->refs), 1);
    item_unref(i);
}

TEST(the_empty_map_is_null)
{
    struct pmap *m = put_new(NULL, 1, 1);

    m = remove_number(m, 1);
    CHECK(m == NULL);
    CHECK(remove_number(NULL, 1) == NULL);
    CHECK_INT(pmap_count(NULL), 0);
    CHECK(pmap_get(NULL, &ops, "x") == NULL);
    CHECK(pmap_after(NULL, &ops, "") == NULL);
    CHECK(pmap_ref(NULL) == NULL);
}

struct walk {
    int seen, stop_at;
    char last[16];
};

static int visit(void *value, void *arg)
{
    struct walk *w = arg;
    const struct item *i = value;

    CHECK(strcmp(w->last, i->key) < 0);
    snprintf(w->last, sizeof(w->last), "%s", i->key);
    return ++w->seen == w->stop_at ? 77 : 0;
}

TEST(each_visits_in_order_and_stops_when_told)
{
    struct walk all = {0}, some = {.stop_at = 10};
    struct pmap *m = NULL;

    for (unsigned k = 100; k-- > 0;)
        m = put_new(m, k, 1);
    CHECK_INT(pmap_each(m, visit, &all), 0);
    CHECK_INT(all.seen, 100);
    CHECK_INT(pmap_each(m, visit, &some), 77);
    CHECK_INT(some.seen, 10);
    pmap_unref(m, &ops);
}

TEST(after_finds_the_next_key_even_when_the_given_one_is_missing)
{
    struct pmap *m = NULL;

    for (unsigned k = 0; k < 100; k += 10)
        m = put_new(m, k, (int)k + 1);
    CHECK_INT(((struct item *)pmap_after(m, &ops, "k015"))->version, 21);
    CHECK_INT(((struct item *)pmap_after(m, &ops, "k020"))->version, 31);
    CHECK_INT(((struct item *)pmap_after(m, &ops, ""))->version, 1);
    CHECK(pmap_after(m, &ops, "k090") == NULL);
    pmap_unref(m, &ops);
}

static void *read_and_drop(void *arg)
{
    struct pmap *m = arg;
    struct walk all = {0};

    for (int i = 0; i < 50; i++) {
        all = (struct walk){0};
        pmap_each(m, visit, &all);
        pmap_unref(put_new(pmap_ref(m), 1000, i), &ops);
    }
    pmap_unref(m, &ops);
    return NULL;
}

/* Means something under TSan and ASan. */
TEST(threads_may_read_and_drop_what_another_one_changes)
{
    pthread_t threads[4];
    struct pmap *m = NULL;

    for (unsigned k = 0; k < 200; k++)
        m = put_new(m, k, 1);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        CHECK_INT(pthread_create(&threads[i], NULL, read_and_drop, pmap_ref(m)), 0);
    for (unsigned k = 0; k < 200; k++)
        m = k % 2 ? put_new(m, k, 2) : remove_number(m, k);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(pmap_count(m), 100);
    pmap_unref(m, &ops);
}
