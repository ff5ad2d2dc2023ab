/* The parts of listeners and route configurations, found on the wire and put together again (proto/parts.h). */
#include "proto/parts.h"

#include "proto/wire.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

/* ---- writing resources ---- */

static void text(struct buf *b, uint32_t number, const char *value)
{
    wire_put_bytes(b, number, value, strlen(value));
}

static size_t begin(struct buf *b, uint32_t number)
{
    wire_put_tag(b, number, WIRE_BYTES);
    return wire_begin(b);
}

/* A filter chain for names ("a b"; "": all), with a filter that refers to `uses`. */
static void chain(struct buf *b, const char *id, const char *names, const char *uses)
{
    size_t outer = begin(b, 3), inner = begin(b, 1);
    char copy[256], *save = NULL;

    snprintf(copy, sizeof(copy), "%s", names);
    for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save))
        text(b, 11, name);
    wire_end(b, inner);
    inner = begin(b, 3);
    text(b, 1, "filter");
    text(b, 4, uses);
    wire_end(b, inner);
    text(b, 7, id);
    wire_end(b, outer);
}

struct given_route {
    uint32_t match; /* 1 prefix, 2 path, 10 regex */
    const char *value, *owner;
    bool redirects;
};

static void route(struct buf *b, const struct given_route *r)
{
    size_t outer = begin(b, 3), inner = begin(b, 1), regex;

    if (r->match == 10) {
        regex = begin(b, 10);
        text(b, 2, r->value);
        wire_end(b, regex);
    } else {
        text(b, r->match, r->value);
    }
    wire_end(b, inner);
    inner = begin(b, r->redirects ? 3 : 2);
    if (!r->redirects)
        text(b, 1, r->owner);
    wire_end(b, inner);
    if (r->redirects)
        text(b, 14, r->owner);
    wire_end(b, outer);
}

static void vhost(struct buf *b, const char *name, const char *domain, const struct given_route *routes, size_t n)
{
    size_t outer = begin(b, 2);

    text(b, 1, name);
    text(b, 2, domain);
    for (size_t i = 0; i < n; i++)
        route(b, &routes[i]);
    text(b, 16, "retries");
    wire_end(b, outer);
}

static struct resource *made(struct buf *b, enum xds_type type, const char *const *clusters, size_t n)
{
    struct resource *r = resource_new(type, "shared", "shared", b->data, b->len, clusters, n, NULL, 0, NULL, 0);

    buf_clear(b);
    return r;
}

static const char *const all_clusters[] = {"a.expose#0", "b.expose#0", "c.expose#0"};

static struct resource *listener(const char *first_names, const char *second_names)
{
    struct buf b = {0};

    text(&b, 1, "shared");
    chain(&b, "sni:a", first_names, "a.expose#0");
    chain(&b, "sni:b", second_names, "b.expose#0");
    text(&b, 9, "behind");
    return made(&b, XDS_LISTENER, all_clusters, 2);
}

static bool always(void *arg, const struct parts *instead, size_t i)
{
    (void)arg, (void)instead, (void)i;
    return true;
}

/* Of the parts for which `in` has an x. */
static struct resource *composed(struct resource *of, struct resource *instead, const char *in, size_t *ret_instead)
{
    _cleanup_(parts_free_p) struct parts *p = parts_of(of), *other = instead ? parts_of(instead) : NULL;
    bool chosen[8] = {false};
    const struct parts_choice choice = {.in = chosen, .instead = other, .usable = always};
    size_t n;

    CHECK(p && parts_count(p) == strlen(in));
    for (size_t i = 0; in[i]; i++)
        chosen[i] = in[i] == 'x';
    return parts_compose(p, &choice, ret_instead ? ret_instead : &n);
}

static bool same(const struct resource *a, const struct resource *b)
{
    size_t n, m;
    const uint8_t *x = resource_message(a, &n), *y = resource_message(b, &m);

    return n == m && memcmp(x, y, n) == 0 && a->version == b->version;
}

/* ---- listeners ---- */

TEST(all_parts_make_the_same_bytes)
{
    _cleanup_(resource_unref_p) struct resource *r = listener("x.test", "y.test"), *again = NULL;

    again = composed(r, NULL, "xx", NULL);
    CHECK(same(r, again));
    CHECK(again->n_clusters == 2);
}

TEST(a_chain_that_is_left_out_leaves_the_others_and_what_they_refer_to)
{
    _cleanup_(resource_unref_p) struct resource *r = listener("x.test", "y.test"), *one = NULL, *none = NULL,
                                                *wanted = NULL;
    struct buf b = {0};

    one = composed(r, NULL, ".x", NULL);
    text(&b, 1, "shared");
    chain(&b, "sni:b", "y.test", "b.expose#0");
    text(&b, 9, "behind");
    wanted = made(&b, XDS_LISTENER, all_clusters + 1, 1);
    CHECK(same(one, wanted));
    CHECK(one->n_clusters == 1 && strcmp(one->clusters[0], "b.expose#0") == 0);
    none = composed(r, NULL, "..", NULL);
    CHECK(!none);
}

TEST(the_earlier_form_of_a_chain_stands_in_by_its_name_or_by_what_it_served)
{
    _cleanup_(resource_unref_p) struct resource *before = listener("x.test", "y.test"), *mixed = NULL,
                                                *renamed = NULL;
    _cleanup_(resource_unref_p) struct resource *after = NULL, *other = NULL;
    struct buf b = {0};
    size_t n;

    after = listener("x.test z.test", "y.test");
    mixed = composed(after, before, ".x", &n);
    CHECK(n == 1 && same(mixed, before));
    text(&b, 1, "shared");
    chain(&b, "tls:new", "x.test", "a.expose#0 in another way");
    chain(&b, "sni:b", "y.test", "b.expose#0");
    text(&b, 9, "behind");
    other = made(&b, XDS_LISTENER, all_clusters, 2);
    renamed = composed(other, before, ".x", &n);
    CHECK(n == 1 && same(renamed, before));
}

TEST(an_earlier_chain_does_not_take_names_that_are_served_by_another_now)
{
    _cleanup_(resource_unref_p) struct resource *before = listener("x.test y.test", "w.test"), *mixed = NULL;
    _cleanup_(resource_unref_p) struct resource *after = listener("x.test", "y.test");
    size_t n;

    mixed = composed(after, before, ".x", &n);
    CHECK(n == 0 && mixed->n_clusters == 1);
}

TEST(a_digest_is_of_the_part_alone)
{
    _cleanup_(resource_unref_p) struct resource *a = listener("x.test", "y.test"), *b = listener("x.test", "z.test");
    _cleanup_(parts_free_p) struct parts *p = parts_of(a), *q = parts_of(b);

    CHECK(parts_at(p, 0)->digest == parts_at(q, 0)->digest);
    CHECK(parts_at(p, 1)->digest != parts_at(q, 1)->digest);
    CHECK(parts_have(q, parts_at(p, 0)->digest) && !parts_have(q, parts_at(p, 1)->digest));
}

TEST(filter_chains_that_differ_in_name_and_match_alone_are_kin)
{
    struct buf m = {0};

    chain(&m, "1:a", "a.test", "one");
    chain(&m, "1:b", "b.test c.test", "one");
    chain(&m, "2:d", "d.test", "two");
    chain(&m, "1:e", "", "one");
    _cleanup_(resource_unref_p) struct resource *r =
        resource_new(XDS_LISTENER, "l", "l", m.data, m.len, NULL, 0, NULL, 0, NULL, 0);
    _cleanup_(parts_free_p) struct parts *p = parts_of(r);

    buf_clear(&m);
    CHECK_INT(parts_count(p), 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK_INT(parts_at(p, i)->kin, i == 2 ? 2 : 0);
        CHECK((parts_at(p, i)->content == parts_at(p, 0)->content) == (i != 2));
        CHECK((parts_at(p, i)->digest == parts_at(p, 0)->digest) == (i == 0));
    }
}

TEST(a_part_tells_what_it_refers_to)
{
    _cleanup_(resource_unref_p) struct resource *r = listener("x.test", "y.test");
    _cleanup_(parts_free_p) struct parts *p = parts_of(r);

    CHECK(part_mentions(p, 0, "a.expose#0") && !part_mentions(p, 1, "a.expose#0"));
    CHECK(!part_mentions(p, 0, "a.expose#"));
}

/* ---- route configurations ---- */

static struct resource *routes(const struct given_route *of_domain, size_t n)
{
    static const struct given_route alone = {1, "/", "c.expose#0", true};
    struct buf b = {0};

    text(&b, 1, "shared");
    vhost(&b, "c.expose#0.vhost#0", "c.test", &alone, 1);
    vhost(&b, "all.test", "all.test", of_domain, n);
    return made(&b, XDS_ROUTE, all_clusters, 3);
}

TEST(each_exposure_has_a_part_of_a_shared_virtual_host)
{
    static const struct given_route given[] = {
        {2, "/exact", "a.expose#0", false}, {1, "/long", "b.expose#0", true}, {1, "/", "a.expose#0", false}};
    _cleanup_(resource_unref_p) struct resource *r = routes(given, 3), *again = NULL;
    _cleanup_(parts_free_p) struct parts *p = parts_of(r);

    CHECK(parts_count(p) == 3);
    CHECK(strcmp(parts_at(p, 0)->owner, "c.expose#0") == 0);
    CHECK(strcmp(parts_at(p, 1)->owner, "a.expose#0") == 0);
    CHECK(strcmp(parts_at(p, 2)->owner, "b.expose#0") == 0);
    again = composed(r, NULL, "xxx", NULL);
    CHECK(same(r, again));
}

TEST(routes_of_the_earlier_form_stand_where_the_order_of_routes_wants_them)
{
    static const struct given_route before[] = {{2, "/exact", "b.expose#0", false},
                                                {1, "/longer/prefix", "b.expose#0", false},
                                                {1, "/short", "a.expose#0", false},
                                                {10, "/[b]", "b.expose#0", false}},
                                    after[] = {{1, "/middle", "a.expose#0", false},
                                               {1, "/short", "a.expose#0", false},
                                               {10, "/bad", "b.expose#0", false},
                                               {1, "/", "a.expose#0", false}},
                                    wanted[] = {{2, "/exact", "b.expose#0", false},
                                                {1, "/longer/prefix", "b.expose#0", false},
                                                {1, "/middle", "a.expose#0", false},
                                                {1, "/short", "a.expose#0", false},
                                                {10, "/[b]", "b.expose#0", false},
                                                {1, "/", "a.expose#0", false}};
    _cleanup_(resource_unref_p) struct resource *r = routes(after, 4), *earlier = routes(before, 4),
                                                *expected = routes(wanted, 6), *mixed = NULL;
    size_t n;

    mixed = composed(r, earlier, "xx.", &n);
    CHECK(n == 1 && same(mixed, expected));
}

TEST(an_earlier_route_does_not_take_a_match_that_is_somebody_elses_now)
{
    static const struct given_route before[] = {{1, "/x", "b.expose#0", false}},
                                    after[] = {{1, "/x", "a.expose#0", false}, {10, "/bad", "b.expose#0", false}},
                                    wanted[] = {{1, "/x", "a.expose#0", false}};
    _cleanup_(resource_unref_p) struct resource *r = routes(after, 2), *earlier = routes(before, 1),
                                                *expected = routes(wanted, 1), *mixed = NULL;
    size_t n;

    mixed = composed(r, earlier, "xx.", &n);
    CHECK(n == 0 && same(mixed, expected));
}

TEST(a_shared_virtual_host_that_nobody_is_left_of_goes)
{
    static const struct given_route given[] = {{1, "/", "a.expose#0", false}};
    _cleanup_(resource_unref_p) struct resource *r = routes(given, 1), *rest = NULL;
    _cleanup_(parts_free_p) struct parts *p = NULL;

    rest = composed(r, NULL, "x.", NULL);
    p = parts_of(rest);
    CHECK(parts_count(p) == 1 && strcmp(parts_at(p, 0)->name, "c.expose#0.vhost#0") == 0);
}

/* ---- what moved elsewhere ---- */

/* Virtual hosts of one exposure each, with these domains ("a b, c"), and the answer to all others. */
static struct resource *hosts(const char *domains)
{
    struct buf b = {0};
    char copy[256], *outer_save = NULL;
    size_t outer;

    text(&b, 1, "shared");
    snprintf(copy, sizeof(copy), "%s", domains);
    for (char *some = strtok_r(copy, ",", &outer_save); some; some = strtok_r(NULL, ",", &outer_save)) {
        char *save = NULL;

        outer = begin(&b, 2);
        text(&b, 1, "a.expose#0.vhost#0");
        for (char *domain = strtok_r(some, " ", &save); domain; domain = strtok_r(NULL, " ", &save))
            text(&b, 2, domain);
        text(&b, 16, "retries");
        wire_end(&b, outer);
    }
    outer = begin(&b, 2);
    text(&b, 1, "misdirected");
    text(&b, 2, "*");
    wire_end(&b, outer);
    return made(&b, XDS_ROUTE, all_clusters, 3);
}

static bool is_wanted(void *arg, const char *domain)
{
    return strstr(arg, domain) != NULL;
}

/* What there is then; NULL: nothing is kept. wanted: domains. */
static struct parts *kept(const char *now, const char *before, const char *wanted)
{
    _cleanup_(resource_unref_p) struct resource *new = hosts(now), *old = hosts(before), *r = NULL;
    _cleanup_(parts_free_p) struct parts *p = parts_of(new), *earlier = parts_of(old);

    r = parts_keep(p, earlier, is_wanted, (void *)(uintptr_t)wanted);
    return r ? parts_of(r) : NULL;
}

TEST(a_domain_that_moved_is_kept_beside_what_is_there)
{
    _cleanup_(parts_free_p) struct parts *p = kept("one", "one two,three", "two");

    CHECK(p && parts_count(p) == 3);
    CHECK(parts_serve(p, "one") && parts_serve(p, "two") && !parts_serve(p, "three"));
}

TEST(a_domain_that_somebody_has_is_not_kept)
{
    CHECK(!kept("one two", "one,two", "one two"));
    CHECK(!kept("one", "one two", "three"));
    /* The gateway's own answer to all others is nobody's. */
    CHECK(!kept("one", "one", "*"));
}

TEST(what_served_everything_is_kept_in_the_place_of_the_gateways_own_answer)
{
    struct buf b = {0};
    _cleanup_(resource_unref_p) struct resource *new = hosts("one"), *old = NULL, *r = NULL;
    _cleanup_(parts_free_p) struct parts *p = parts_of(new), *earlier = NULL, *both = NULL;

    vhost(&b, "a.expose#0.vhost#0", "*", NULL, 0);
    old = made(&b, XDS_ROUTE, all_clusters, 1);
    earlier = parts_of(old);
    CHECK(!parts_serve(p, "*"));
    r = parts_keep(p, earlier, is_wanted, (void *)(uintptr_t) "*");
    both = parts_of(r);
    CHECK(parts_count(both) == 2 && parts_serve(both, "one") && parts_serve(both, "*"));
}

TEST(other_resources_have_no_parts)
{
    _cleanup_(resource_unref_p) struct resource *r =
        resource_new(XDS_CLUSTER, "c", "c", (const uint8_t *)"\x0a\x01x", 3, NULL, 0, NULL, 0, NULL, 0);

    CHECK(!parts_of(r));
}
