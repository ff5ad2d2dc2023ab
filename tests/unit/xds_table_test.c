/* The tables: numbers and their reuse, versions of contents, bytes in one piece, gateways that come and go. */
#include "server/xds_table.h"

#include "tests/unit/test.h"
#include "tests/unit/xds_wire.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { MANY = 300, TEXT = 32 };

static struct wire_batch *begin(void)
{
    struct wire_batch *b = wire_batch_new();

    wire_batch_gateway(b, "g");
    return b;
}

static void put(struct wire_batch *b, enum xds_type type, const char *name, const char *content)
{
    wire_batch_put(b, "g", type, name, content);
}

static void apply(struct xds_directory *d, struct wire_batch *b, bool complete)
{
    wire_batch_apply(b, d, 1, complete);
}

static void change(struct xds_directory *d, enum xds_type type, const char *name, const char *content)
{
    struct wire_batch *b = begin();

    put(b, type, name, content);
    apply(d, b, true);
}

static struct xds_gateway *gateway(const struct xds_directory *d)
{
    struct xds_gateway *g = xds_directory_find(d, "g", 1);

    CHECK(g != NULL);
    return g;
}

static uint32_t slot_of(struct xds_gateway *g, enum xds_type type, const char *name)
{
    return xds_slot_find(xds_space_of(g, type), name, strlen(name));
}

static struct xds_form *current(struct xds_gateway *g, enum xds_type type, const char *name)
{
    uint32_t slot = slot_of(g, type, name);

    return slot == XDS_NO_SLOT ? NULL : xds_current(&g->tables[type], slot);
}

/* ---- numbers ---- */

TEST(a_cluster_and_its_assignment_have_one_number)
{
    struct xds_directory *d = xds_directory_new();
    struct xds_gateway *g;

    change(d, XDS_CLUSTER, "a", "0");
    change(d, XDS_ENDPOINT, "b", "0");
    change(d, XDS_ENDPOINT, "a", "0");
    change(d, XDS_CLUSTER, "b", "0");
    g = gateway(d);
    CHECK(slot_of(g, XDS_CLUSTER, "a") != XDS_NO_SLOT);
    CHECK_INT(slot_of(g, XDS_CLUSTER, "a"), slot_of(g, XDS_ENDPOINT, "a"));
    CHECK_INT(slot_of(g, XDS_CLUSTER, "b"), slot_of(g, XDS_ENDPOINT, "b"));
    CHECK(slot_of(g, XDS_CLUSTER, "a") != slot_of(g, XDS_CLUSTER, "b"));
    xds_directory_free(d);
}

TEST(a_number_is_given_out_again_only_when_nobody_knows_it)
{
    struct xds_directory *d = xds_directory_new();
    struct xds_form *held;
    struct xds_gateway *g;
    uint32_t slot;

    change(d, XDS_CLUSTER, "a", "0");
    g = gateway(d);
    slot = slot_of(g, XDS_CLUSTER, "a");
    held = xds_form_ref(current(g, XDS_CLUSTER, "a"));
    xds_slot_ref(&g->spaces[XDS_CLUSTER], slot);
    change(d, XDS_CLUSTER, "a", NULL);
    change(d, XDS_CLUSTER, "b", "0");
    CHECK(slot_of(g, XDS_CLUSTER, "b") != slot);
    CHECK_STR(xds_form_name(held), "a");
    xds_form_unref(held);
    change(d, XDS_CLUSTER, "c", "0");
    CHECK(slot_of(g, XDS_CLUSTER, "c") != slot);
    xds_slot_unref(&g->spaces[XDS_CLUSTER], slot);
    CHECK_INT(slot_of(g, XDS_CLUSTER, "a"), XDS_NO_SLOT);
    change(d, XDS_CLUSTER, "d", "0");
    CHECK_INT(slot_of(g, XDS_CLUSTER, "d"), slot);
    xds_directory_free(d);
}

TEST(what_a_listener_names_has_numbers_before_it_exists)
{
    struct xds_directory *d = xds_directory_new();
    struct wire_batch *b = begin();
    struct xds_gateway *g;
    struct xds_form *f;

    wire_batch_change(b, "g", XDS_LISTENER, "l",
                      wire_resource_new(XDS_LISTENER, "l", "0", LIST("c2", "c1"), LIST("r"), LIST("s")));
    apply(d, b, true);
    g = gateway(d);
    f = current(g, XDS_LISTENER, "l");
    CHECK_INT(f->n_clusters, 2);
    CHECK_INT(f->n_routes, 1);
    CHECK_INT(f->n_secrets, 1);
    CHECK_INT(f->uses[0], slot_of(g, XDS_CLUSTER, "c1"));
    CHECK_INT(f->uses[1], slot_of(g, XDS_CLUSTER, "c2"));
    CHECK_INT(f->uses[2], slot_of(g, XDS_ROUTE, "r"));
    CHECK_INT(f->uses[3], slot_of(g, XDS_SECRET, "s"));
    change(d, XDS_LISTENER, "l", NULL);
    CHECK_INT(slot_of(g, XDS_CLUSTER, "c1"), XDS_NO_SLOT);
    CHECK_INT(slot_of(g, XDS_SECRET, "s"), XDS_NO_SLOT);
    xds_directory_free(d);
}

/* ---- versions of contents ---- */

static bool same_sum(struct hash128 a, struct hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

TEST(the_sum_depends_on_the_content_alone)
{
    struct xds_directory *a = xds_directory_new(), *b = xds_directory_new();
    struct wire_batch *all = begin();
    const struct xds_table *ta, *tb;
    uint64_t random = 4;

    for (unsigned i = 0; i < MANY; i++) {
        char name[TEXT];

        snprintf(name, sizeof(name), "n%u", i);
        put(all, XDS_ROUTE, name, "end");
    }
    apply(a, all, true);
    for (unsigned step = 0; step < 2000; step++) {
        char name[TEXT], content[TEXT];

        snprintf(name, sizeof(name), "n%u", (unsigned)(test_random(&random) % MANY));
        snprintf(content, sizeof(content), "%u", (unsigned)(test_random(&random) % 3));
        change(b, XDS_ROUTE, name, content[0] == '0' ? NULL : content);
    }
    ta = &gateway(a)->tables[XDS_ROUTE];
    tb = &gateway(b)->tables[XDS_ROUTE];
    CHECK(!same_sum(ta->sum, tb->sum));
    for (unsigned i = MANY; i-- > 0;) {
        char name[TEXT];

        snprintf(name, sizeof(name), "n%u", i);
        change(b, XDS_ROUTE, name, "end");
    }
    CHECK(same_sum(ta->sum, tb->sum));
    CHECK_INT(tb->live.count, MANY);
    change(b, XDS_ROUTE, "n0", "another end");
    CHECK(!same_sum(ta->sum, tb->sum));
    xds_directory_free(a);
    xds_directory_free(b);
}

TEST(adding_and_subtracting_carry)
{
    struct hash128 sum = {.high = 5, .low = UINT64_MAX}, one = {.high = 0, .low = 1};

    xds_sum_add(&sum, one);
    CHECK(sum.high == 6 && sum.low == 0);
    xds_sum_subtract(&sum, one);
    CHECK(sum.high == 5 && sum.low == UINT64_MAX);
}

/* ---- accepted forms ---- */

TEST(the_last_accepted_form_stays_until_the_next_is_accepted_or_the_resource_goes)
{
    struct xds_directory *d = xds_directory_new();
    const struct xds_table *t;
    struct xds_form *first;
    struct xds_gateway *g;
    uint32_t slot;

    change(d, XDS_CLUSTER, "a", "0");
    g = gateway(d);
    t = &g->tables[XDS_CLUSTER];
    slot = slot_of(g, XDS_CLUSTER, "a");
    first = current(g, XDS_CLUSTER, "a");
    CHECK(xds_accepted(t, slot) == NULL);
    xds_form_accept(first);
    CHECK(xds_accepted(t, slot) == first);
    change(d, XDS_CLUSTER, "a", "1");
    CHECK(xds_accepted(t, slot) == first);
    xds_form_accept(current(g, XDS_CLUSTER, "a"));
    CHECK(xds_accepted(t, slot) == current(g, XDS_CLUSTER, "a"));
    change(d, XDS_CLUSTER, "a", NULL);
    CHECK(xds_accepted(t, slot) == NULL);
    xds_directory_free(d);
}

TEST(the_newest_form_that_a_client_took_counts_though_there_are_newer_ones)
{
    struct xds_directory *d = xds_directory_new();
    struct xds_form *forms[3];
    struct xds_table *t;

    for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
        const char content[] = {(char)('0' + i), '\0'};

        change(d, XDS_CLUSTER, "a", content);
        forms[i] = xds_form_ref(current(gateway(d), XDS_CLUSTER, "a"));
    }
    t = &gateway(d)->tables[XDS_CLUSTER];
    xds_form_accept(forms[1]);
    CHECK(xds_accepted(t, forms[1]->slot) == forms[1]);
    xds_form_accept(forms[0]);
    CHECK(xds_accepted(t, forms[1]->slot) == forms[1]);
    xds_form_accept(forms[2]);
    CHECK(xds_accepted(t, forms[1]->slot) == forms[2]);
    for (unsigned i = 0; i < ARRAY_LEN(forms); i++)
        xds_form_unref(forms[i]);
    xds_directory_free(d);
}

/* ---- bytes in one piece ---- */

static void check_block(struct xds_gateway *g, enum xds_variant variant, const struct xds_block *b)
{
    size_t at = 0;

    CHECK(b != NULL);
    for (uint64_t left = b->members; left; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(left);
        struct xds_part part = xds_part_of_form(g->tables[XDS_CLUSTER].current[slot], variant);

        CHECK(at + part.n <= b->len);
        CHECK_MEM(b->bytes + at, part.n, part.p, part.n);
        at += part.n;
        part.release(part.owner);
    }
    CHECK_INT(at, b->len);
}

TEST(a_block_holds_its_members_one_behind_the_other_and_follows_changes)
{
    struct xds_directory *d = xds_directory_new();
    struct wire_batch *batch = begin();
    struct xds_table *t;
    struct xds_gateway *g;

    for (unsigned i = 0; i < 64; i++) {
        char name[TEXT];

        snprintf(name, sizeof(name), "n%02u", i);
        put(batch, XDS_CLUSTER, name, i % 2 ? "short" : "longer than that");
    }
    apply(d, batch, true);
    g = gateway(d);
    t = &g->tables[XDS_CLUSTER];
    for (int v = XDS_SOTW; v <= XDS_DELTA; v++) {
        enum xds_variant variant = (enum xds_variant)v;
        struct xds_block *b = xds_block_get(t, variant, 0, UINT64_MAX);
        struct xds_part part;

        check_block(g, variant, b);
        CHECK(b->members == UINT64_MAX);
        CHECK(xds_block_get(t, variant, 0, UINT64_MAX) == b);
        /* Of less than its members it is no use. */
        CHECK(xds_block_get(t, variant, 0, UINT64_MAX >> 1) == NULL);
        CHECK(xds_block_get(t, variant, 7, UINT64_MAX) == NULL);
        /* Who sends it keeps it, whatever changes. */
        part = xds_part_of_block(b);
        change(d, XDS_CLUSTER, "n05", v == XDS_SOTW ? "changed" : "changed again");
        CHECK(xds_block_get(t, variant, 0, UINT64_MAX) != b);
        check_block(g, variant, xds_block_get(t, variant, 0, UINT64_MAX));
        CHECK_INT(part.n, b->len);
        part.release(part.owner);
    }
    change(d, XDS_CLUSTER, "n07", NULL);
    CHECK(xds_block_get(t, XDS_DELTA, 0, UINT64_MAX) != NULL);
    CHECK(!(xds_block_get(t, XDS_DELTA, 0, UINT64_MAX)->members >> 7 & 1));
    xds_directory_free(d);
}

TEST(what_travels_alone_or_is_secret_is_in_no_block)
{
    struct xds_directory *d = xds_directory_new();
    struct wire_batch *batch = begin();
    const struct xds_block *b;
    struct xds_gateway *g;

    for (unsigned i = 0; i < 10; i++) {
        struct resource *r;
        char name[TEXT];

        snprintf(name, sizeof(name), "n%02u", i);
        r = wire_resource_new(XDS_CLUSTER, name, "0", NULL, NULL, NULL);
        r->alone = i == 3;
        r->sensitive = i == 4;
        wire_batch_change(batch, "g", XDS_CLUSTER, name, r);
    }
    apply(d, batch, true);
    g = gateway(d);
    b = xds_block_get(&g->tables[XDS_CLUSTER], XDS_DELTA, 0, 0x3ff);
    check_block(g, XDS_DELTA, b);
    CHECK_INT(b->members, 0x3ff & ~0x18);
    xds_directory_free(d);
}

TEST(a_part_is_the_resource_as_each_variant_wants_it)
{
    struct xds_directory *d = xds_directory_new();
    struct xds_part whole, any;
    const struct resource *r;
    struct xds_form *f;

    change(d, XDS_CLUSTER, "a", "0");
    f = current(gateway(d), XDS_CLUSTER, "a");
    r = f->resource;
    whole = xds_part_of_form(f, XDS_DELTA);
    any = xds_part_of_form(f, XDS_SOTW);
    CHECK_MEM(whole.p, whole.n, r->wire, r->wire_len);
    CHECK_MEM(any.p, any.n, r->wire + r->any_offset, r->wire_len - r->any_offset);
    /* They outlive the table. */
    xds_directory_free(d);
    CHECK_INT(whole.p[0], 2 << 3 | 2);
    CHECK_INT(any.p[0], 2 << 3 | 2);
    whole.release(whole.owner);
    any.release(any.owner);
}

/* ---- watchers ---- */

struct listener {
    struct xds_watcher watcher; /* first */
    unsigned calls, touched, everything;
    struct xds_touched last;
    uint64_t before; /* the version that was current before the last touch */
    bool leaves;
};

static void on_change(struct xds_watcher *w, const struct xds_touched *touched, size_t n)
{
    struct listener *l = (struct listener *)w;

    assert(touched || n == 0);
    l->calls++;
    l->everything += touched == NULL;
    l->touched += (unsigned)n;
    if (n > 0) {
        l->last = touched[n - 1];
        l->before = l->last.before ? l->last.before->version : 0;
    }
    if (l->leaves)
        xds_unwatch(w);
}

TEST(watchers_hear_what_really_changed_and_what_was_there_before)
{
    struct xds_directory *d = xds_directory_new();
    struct listener l = {.watcher.changed = on_change};
    struct wire_batch *b;
    uint64_t version;

    change(d, XDS_CLUSTER, "a", "0");
    xds_watch(&gateway(d)->watchers, &l.watcher);
    change(d, XDS_CLUSTER, "a", "0");  /* the same bytes */
    change(d, XDS_CLUSTER, "b", NULL); /* not there anyway */
    CHECK_INT(l.calls, 0);
    b = begin();
    put(b, XDS_CLUSTER, "a", "1");
    put(b, XDS_CLUSTER, "b", "0");
    put(b, XDS_ROUTE, "r", "0");
    apply(d, b, true);
    CHECK_INT(l.calls, 1);
    CHECK_INT(l.touched, 3);
    CHECK_INT(l.last.type, XDS_ROUTE);
    CHECK(l.last.before == NULL);
    version = current(gateway(d), XDS_CLUSTER, "a")->version;
    change(d, XDS_CLUSTER, "a", "2");
    CHECK(l.before == version);
    xds_unwatch(&l.watcher);
    xds_unwatch(&l.watcher);
    change(d, XDS_CLUSTER, "a", "3");
    CHECK_INT(l.calls, 2);
    xds_directory_free(d);
}

TEST(a_watcher_may_leave_while_it_is_told)
{
    struct xds_directory *d = xds_directory_new();
    struct listener first = {.watcher.changed = on_change, .leaves = true}, second = {.watcher.changed = on_change};

    change(d, XDS_CLUSTER, "a", "0");
    xds_watch(&gateway(d)->watchers, &first.watcher);
    xds_watch(&gateway(d)->watchers, &second.watcher);
    change(d, XDS_CLUSTER, "a", "1");
    change(d, XDS_CLUSTER, "a", "2");
    CHECK_INT(first.calls, 1);
    CHECK_INT(second.calls, 2);
    xds_unwatch(&second.watcher);
    xds_directory_free(d);
}

/* ---- gateways ---- */

TEST(gateways_are_known_after_a_complete_batch_that_names_them)
{
    struct xds_directory *d = xds_directory_new();
    struct wire_batch *b = begin();

    CHECK(!d->complete);
    put(b, XDS_CLUSTER, "a", "0");
    apply(d, b, false);
    CHECK(!d->complete);
    CHECK(xds_directory_find(d, "g", 1) == NULL);
    apply(d, begin(), true);
    CHECK(d->complete);
    CHECK(current(gateway(d), XDS_CLUSTER, "a") != NULL);
    CHECK(xds_directory_find(d, "other", 5) == NULL);
    xds_directory_free(d);
}

TEST(a_gateway_without_content_exists)
{
    struct xds_directory *d = xds_directory_new();

    apply(d, begin(), true);
    CHECK_INT(gateway(d)->tables[XDS_CLUSTER].live.count, 0);
    xds_directory_free(d);
}

TEST(a_gateway_that_is_not_named_any_more_is_gone_with_its_content)
{
    struct xds_directory *d = xds_directory_new();
    struct listener l = {.watcher.changed = on_change};
    struct wire_batch *b;
    struct xds_gateway *g;

    change(d, XDS_CLUSTER, "a", "0");
    g = xds_gateway_ref(gateway(d));
    xds_watch(&g->watchers, &l.watcher);
    b = wire_batch_new();
    wire_batch_gateway(b, "another");
    apply(d, b, true);
    CHECK(xds_directory_find(d, "g", 1) == NULL);
    CHECK(!g->known);
    CHECK_INT(g->tables[XDS_CLUSTER].live.count, 0);
    CHECK_INT(l.touched, 1);
    CHECK(l.last.before != NULL);
    /* It comes back, with other content: the same gateway for who stayed. */
    change(d, XDS_CLUSTER, "b", "0");
    CHECK(gateway(d) == g);
    CHECK(current(g, XDS_CLUSTER, "a") == NULL);
    CHECK_INT(l.everything, 1);
    xds_unwatch(&l.watcher);
    xds_gateway_unref(g);
    xds_directory_free(d);
}

TEST(gateways_have_nothing_in_common)
{
    struct xds_directory *d = xds_directory_new();
    struct wire_batch *b = begin();

    wire_batch_gateway(b, "h");
    put(b, XDS_CLUSTER, "a", "0");
    wire_batch_put(b, "h", XDS_CLUSTER, "b", "0");
    apply(d, b, true);
    CHECK(current(gateway(d), XDS_CLUSTER, "b") == NULL);
    CHECK(current(xds_directory_find(d, "h", 1), XDS_CLUSTER, "b") != NULL);
    CHECK(current(xds_directory_find(d, "h", 1), XDS_CLUSTER, "a") == NULL);
    xds_directory_free(d);
}

/* ---- what is standing in ---- */

TEST(the_empty_assignment_bears_its_name_and_is_made_once)
{
    struct xds_directory *d = xds_directory_new();
    char name[200 + 1];
    struct xds_gateway *g;
    struct xds_form *f;
    const uint8_t *message;
    size_t n;

    memset(name, 'x', sizeof(name) - 1); /* its length takes two bytes */
    name[sizeof(name) - 1] = '\0';
    change(d, XDS_ENDPOINT, name, "0");
    g = gateway(d);
    f = xds_empty_assignment(&g->tables[XDS_ENDPOINT], g, slot_of(g, XDS_ENDPOINT, name));
    CHECK(xds_accepted(&g->tables[XDS_ENDPOINT], f->slot) == f);
    message = resource_message(f->resource, &n);
    CHECK_INT(n, 3 + strlen(name));
    CHECK_MEM(message + 3, n - 3, name, strlen(name));
    xds_directory_free(d);
}
