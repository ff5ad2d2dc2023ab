/*
 * The nested form and the flat sections: both decode to the same, whatever the agent's spelling; what a client sends
 * is held against the form; patches; what was left out for its secrecy.
 */
#include "store/spec.h"

#include "base/buf.h"
#include "store/overlay.h"
#include "store/view.h"
#include "tests/unit/certs.h"
#include "tests/unit/quoted.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { ROUNDS = TEST_ROUNDS(400), RESOURCES = 64 };

static void check_json(json_t *json, const char *expected)
{
    _cleanup_(mem_free_p) char *text = json_canonical(json), *wanted = quoted_canonical(expected);

    json_decref(json);
    CHECK_STR(text, wanted);
}

/* ---- an exposure as a text, whatever its sections are called ---- */

static void dump_certificate(struct buf *b, const char *what, const struct certificate *c)
{
    buf_printf(b, "%s secret=%s validation=%s files=%s,%s inline=%zu,%zu\n", what, c->secret ? c->secret : "-",
               c->validation_secret ? c->validation_secret : "-", c->chain_file ? c->chain_file : "-",
               c->key_file ? c->key_file : "-", c->chain_inline ? strlen(c->chain_inline) : 0,
               c->key_inline ? strlen(c->key_inline) : 0);
}

static const char *text_of(const char *text)
{
    return text ? text : "-";
}

static void dump_route(struct buf *b, const struct route *r)
{
    buf_printf(b,
               "  route %s %d %s case=%d rewrite=%s,%s header=%s timeout=%lld websocket=%d redirect=%d "
               "%s %s %s %d %d %d\n",
               r->rid, (int)r->match, r->match_value, r->case_sensitive, text_of(r->prefix_rewrite),
               text_of(r->host_rewrite), text_of(r->cluster_header), (long long)r->timeout, r->websocket,
               r->is_redirect, text_of(r->redirect.host), text_of(r->redirect.path), text_of(r->redirect.prefix),
               r->redirect.response_code, r->redirect.https, r->redirect.strip_query);
    for (size_t i = 0; i < r->n_hash_policies; i++) {
        const struct hash_policy *h = r->hash_policies[i];

        buf_printf(b, "    hash %s %s %lld %s %d %d\n", text_of(h->cookie_name), text_of(h->cookie_path),
                   (long long)h->cookie_ttl, text_of(h->header_name), h->source_ip, h->terminal);
    }
}

static char *dump(const struct exposure *x)
{
    struct buf b;
    char address[ADDRESS_TEXT_MAX], *text;

    buf_init(&b, 0);
    buf_printf(&b, "%s valid=%d %u/%d on %s:%u lb=%d gateway=%s key=%s data=%s filter=%s\n", x->name, x->valid,
               x->port, (int)x->protocol, x->valid ? address_text(&x->listener_addr, address) : "-", x->listener_port,
               (int)x->lb_policy, text_of(x->gateway), text_of(x->cluster_private_key_file), text_of(x->cluster_data),
               text_of(x->filter_config_data));
    for (size_t i = 0; i < x->n_sni; i++)
        buf_printf(&b, " sni %s\n", x->sni[i]);
    for (size_t i = 0; i < x->n_vhosts; i++) {
        buf_printf(&b, " vhost %s\n", x->vhosts[i]->name);
        for (size_t k = 0; k < x->vhosts[i]->n_domains; k++)
            buf_printf(&b, "  domain %s\n", x->vhosts[i]->domains[k]);
        for (size_t k = 0; k < x->vhosts[i]->n_routes; k++)
            dump_route(&b, x->vhosts[i]->routes[k]);
    }
    for (size_t i = 0; i < x->n_listener_certificates; i++)
        dump_certificate(&b, " certificate", x->listener_certificates[i]);
    if (x->cluster_certificate)
        dump_certificate(&b, " cluster", x->cluster_certificate);
    for (size_t i = 0; i < x->n_problems; i++)
        buf_printf(&b, " %s %s: %s\n", x->problems[i].code, x->problems[i].field, x->problems[i].text);
    text = buf_take(&b, NULL);
    /* Of two spellings the newer one is kept. */
    for (char *old; (old = strstr(text, "hash_policy#"));)
        memmove(old + 4, old + 5, strlen(old + 5) + 1);
    return text;
}

/* ---- random sections, as agents write them ---- */

struct sections {
    struct arena *arena;
    struct fact_resource items[RESOURCES];
    size_t n;
    uint64_t *seed;
    bool lenient, broken; /* texts where other types are meant; faults */
};

static unsigned pick(struct sections *s, unsigned n)
{
    return (unsigned)(test_random(s->seed) % n);
}

static void put(struct sections *s, const char *rid, const char *type, json_t *info)
{
    _cleanup_(mem_free_p) char *text = json_canonical(info);

    json_decref(info);
    CHECK(s->n < RESOURCES);
    s->items[s->n++] = (struct fact_resource){
        .rid = arena_strdup(s->arena, rid), .type = type, .info = arena_strdup(s->arena, text)};
}

static json_t *number(struct sections *s, int value)
{
    return s->lenient && pick(s, 3) == 0 ? json_sprintf("%d", value) : json_integer(value);
}

static json_t *truth(struct sections *s)
{
    static const char *const texts[] = {"true", "False", "yes", "no", "1", "0"};

    return s->lenient && pick(s, 3) == 0 ? json_string(texts[pick(s, 6)]) : json_boolean(pick(s, 2));
}

/* Some of the ids, in any order, seldom one twice. */
static json_t *list(struct sections *s, const char *prefix, unsigned n, unsigned most)
{
    json_t *out = json_array();
    unsigned count = pick(s, most + 1), at = pick(s, n);
    struct buf b;

    for (unsigned i = 0; i < count; i++) {
        json_array_append_new(out, json_sprintf("%s#%u", prefix, (at + i * (pick(s, 20) ? 1 : 0)) % n));
        if (s->broken && pick(s, 12) == 0)
            json_array_append_new(out, pick(s, 3)   ? json_sprintf("%s#%u", prefix, 90 + pick(s, 3))
                                       : pick(s, 2) ? json_integer(7)
                                                    : json_string("expose#0"));
    }
    if (s->broken && pick(s, 60) == 0) {
        json_decref(out);
        return json_integer(5);
    }
    if (!s->lenient || pick(s, 2) || s->broken)
        return out;
    buf_init(&b, 0);
    for (size_t i = 0; i < json_array_size(out); i++)
        buf_printf(&b, "%s%s", i % 2 ? " " : "  \t", json_string_value(json_array_get(out, i)));
    json_decref(out);
    out = json_stringn(buf_cstr(&b), b.len);
    buf_clear(&b);
    return out;
}

static void random_hash_policy(struct sections *s, unsigned i)
{
    char rid[32];
    bool old = s->lenient && pick(s, 2);
    json_t *info = json_object();

    snprintf(rid, sizeof(rid), "%s#%u", old ? "hash_policy" : "hashpolicy", i);
    if (i % 3 == 0) {
        json_object_set_new(info, "cookie_name", json_sprintf("c%u", i));
        if (pick(s, 2))
            json_object_set_new(info, "cookie_ttl", pick(s, 2) ? number(s, 9) : json_string("1m30s"));
        if (pick(s, 2))
            json_object_set_new(info, "cookie_path", json_string("/p"));
    } else if (i % 3 == 1) {
        json_object_set_new(info, "header_header_name", json_string("x-user"));
    } else {
        json_object_set_new(info, "connection_source_ip", json_true());
    }
    if (pick(s, 2))
        json_object_set_new(info, "terminal", truth(s));
    put(s, rid, old ? "hash_policy.envoy" : "hashpolicy.envoy", info);
    if (old && pick(s, 3) == 0) {
        snprintf(rid, sizeof(rid), "hashpolicy#%u", i);
        put(s, rid, "hashpolicy.envoy", json_pack("{s:s}", "header_header_name", "x-newer"));
    }
}

static void random_route(struct sections *s, unsigned i)
{
    static const char *const matches[] = {"match_path", "match_prefix", "match_regex"};
    char rid[32];
    json_t *info = json_object();

    snprintf(rid, sizeof(rid), "route#%u", i);
    json_object_set_new(info, matches[pick(s, 3)], json_sprintf("/r%u", pick(s, 9)));
    if (s->broken && pick(s, 15) == 0)
        json_object_set_new(info, "match_regex", json_string("(("));
    if (pick(s, 2))
        json_object_set_new(info, "match_case_sensitive", truth(s));
    if (pick(s, 3) == 0)
        json_object_set_new(info, "route_timeout", pick(s, 2) ? number(s, 3) : json_string("250ms"));
    if (pick(s, 3) == 0)
        json_object_set_new(info, "route_use_websocket", truth(s));
    if (pick(s, 3) == 0)
        json_object_set_new(info, "route_prefix_rewrite", json_string("/n"));
    if (pick(s, 5) == 0) {
        json_object_set_new(info, "redirect_host_redirect", json_string("r.org"));
        json_object_set_new(info, "redirect_response_code", pick(s, 2) ? number(s, 302) : json_string(""));
        json_object_set_new(info, "redirect_strip_query", truth(s));
    }
    json_object_set_new(info, "hash_policies", list(s, pick(s, 2) ? "hashpolicy" : "hash_policy", 4, 2));
    json_object_set_new(info, "optional", json_true()); /* a keyword of the agent's own */
    put(s, rid, "route.envoy", info);
}

static void random_vhost(struct sections *s, unsigned i)
{
    char rid[32];
    json_t *info = json_object();

    snprintf(rid, sizeof(rid), "vhost#%u", i);
    if (pick(s, 6))
        json_object_set_new(info, "domains",
                            s->lenient && pick(s, 2) ? json_sprintf("A%u.org b.org", i)
                                                     : json_pack("[s, s]", pick(s, 2) ? "a.org" : "c.org", "b.org"));
    json_object_set_new(info, "routes", list(s, "route", 5, 3));
    put(s, rid, "vhost.envoy", info);
}

static void random_certificate(struct sections *s, unsigned i)
{
    char rid[32];
    json_t *info = pick(s, 2)
                       ? json_pack("{s:s}", "certificate_secret", "one")
                       : json_pack("{s:s, s:s}", "certificate_chain_filename", "/c", "private_key_filename", "/k");

    snprintf(rid, sizeof(rid), "certificate#%u", i);
    if (pick(s, 4) == 0)
        json_object_set_new(info, "validation_secret", json_string("ca"));
    put(s, rid, "certificate.tls", info);
}

static void random_http(struct sections *s, json_t *info)
{
    json_object_set_new(info, "vhosts", list(s, "vhost", 3, 3));
    json_object_set_new(info, "listener_certificates", list(s, "certificate", 3, 2));
}

static void random_tcp(struct sections *s, json_t *info)
{
    bool text = s->lenient && pick(s, 2);

    json_object_set_new(info, "sni", text ? json_string("x.org Y.org") : json_pack("[s]", "*.x.org"));
}

static void random_rest(struct sections *s, json_t *info)
{
    bool text = s->lenient && pick(s, 2);

    if (pick(s, 4) == 0)
        json_object_set_new(info, "cluster_certificates", list(s, "certificate", 3, 1));
    if (pick(s, 4) == 0)
        json_object_set_new(info, "cluster_data",
                            text ? json_string("{\"connect_timeout\": \"1s\"}")
                                 : json_pack("{s:s}", "connect_timeout", "1s"));
    if (pick(s, 5) == 0)
        json_object_set_new(info, "gateway", json_string(pick(s, 2) ? "second" : ""));
    if (pick(s, 3) == 0)
        json_object_set_new(info, "protocol", json_string(pick(s, 2) ? "tcp" : "UDP"));
}

static void random_expose(struct sections *s, unsigned i)
{
    static const char *const policies[] = {"round robin", "ring_hash", "MAGLEV", "least-request", ""};
    char rid[32];
    json_t *info = json_object();

    snprintf(rid, sizeof(rid), "expose#%u", i);
    json_object_set_new(info, "port", number(s, s->broken && pick(s, 9) == 0 ? 70000 : 80));
    if (pick(s, 2))
        json_object_set_new(info, "listener_port", number(s, 8080));
    if (pick(s, 3) == 0)
        json_object_set_new(info, "listener_addr", json_string(pick(s, 2) ? "::1" : "127.0.0.1"));
    json_object_set_new(info, "lb_policy", json_string(policies[pick(s, 5)]));
    if (pick(s, 2))
        random_http(s, info);
    else if (pick(s, 2))
        random_tcp(s, info);
    random_rest(s, info);
    put(s, rid, "expose.envoy", info);
}

static int compare_resources(const void *a, const void *b)
{
    return strcmp(((const struct fact_resource *)a)->rid, ((const struct fact_resource *)b)->rid);
}

static void random_sections(struct sections *s)
{
    s->n = 0;
    for (unsigned i = 0; i < 3; i++) {
        random_certificate(s, i);
        random_vhost(s, i);
        if (i < 2)
            random_expose(s, i);
    }
    for (unsigned i = 0; i < 4; i++)
        random_hash_policy(s, i);
    for (unsigned i = 0; i < 5; i++)
        random_route(s, i);
    qsort(s->items, s->n, sizeof(s->items[0]), compare_resources);
}

/* The exposure as it is when it is edited without any change. */
static struct declaration *laid_over(struct sections *s, const char *rid)
{
    _cleanup_(mem_free_p) char *name = mem_printf("test/svc/web.%s", rid);
    struct document *d = document_new(DOCUMENT_OVERRIDE, name, "{}", "a", 1, 0, 0);
    struct pmap *documents = pmap_put(NULL, &view_documents, d);
    struct declaration *declaration;
    struct overlay o;

    overlay_make("test/svc/web", s->items, s->n, documents, s->arena, &o);
    CHECK(o.edited);
    declaration = declaration_new("test/svc/web", o.resources, o.n, NULL, NULL);
    pmap_unref(documents, &view_documents);
    document_unref(d);
    return declaration;
}

static void fail_fault(void *arg, const char *pointer, const char *code, const char *text)
{
    (void)arg; /* nothing more is needed */
    test_fail(__FILE__, __LINE__, "%s %s: %s", pointer, code, text);
}

static void check_round(struct sections *s, unsigned *valid)
{
    struct declaration *agents = declaration_new("test/svc/web", s->items, s->n, NULL, NULL);

    for (unsigned i = 0; i < 2; i++) {
        char rid[16];
        struct declaration *laid;
        const struct exposure *x, *y;

        snprintf(rid, sizeof(rid), "expose#%u", i);
        laid = laid_over(s, rid);
        x = declaration_find(agents, rid);
        y = declaration_find(laid, rid);
        _cleanup_(mem_free_p) char *before = dump(x), *after = dump(y);
        *valid += x->valid;
        /* What is wrong with it may be said in other words. */
        CHECK_INT(x->valid, y->valid);
        CHECK_INT(y->origin, ORIGIN_OVERRIDDEN);
        if (x->valid)
            CHECK_STR(after, before);
        /* The other one is as it was. */
        snprintf(rid, sizeof(rid), "expose#%u", 1 - i);
        _cleanup_(mem_free_p) char *other = dump(declaration_find(agents, rid)),
                                   *still = dump(declaration_find(laid, rid));
        CHECK_STR(still, other);
        /* What people are shown passes when it comes back. */
        snprintf(rid, sizeof(rid), "expose#%u", i);
        json_t *nested = spec_nest(s->items, s->n, rid);
        if (x->valid)
            CHECK_INT(spec_check(nested, false, fail_fault, NULL), 0);
        json_decref(nested);
        declaration_unref(laid);
    }
    declaration_unref(agents);
}

static void rounds(bool lenient, bool broken)
{
    uint64_t seed = 7;
    unsigned valid = 0;

    for (int i = 0; i < ROUNDS; i++) {
        struct sections s = {.arena = arena_new(), .seed = &seed, .lenient = lenient, .broken = broken};

        random_sections(&s);
        check_round(&s, &valid);
        arena_free(s.arena);
    }
    CHECK(valid > ROUNDS / 4 && valid < 2 * ROUNDS);
}

TEST(what_is_nested_and_flattened_again_decodes_to_the_same)
{
    rounds(false, false);
}

TEST(so_does_what_agents_write_in_their_older_and_looser_ways)
{
    rounds(true, false);
}

TEST(what_is_wrong_with_the_agents_sections_is_not_mended_by_an_override)
{
    rounds(true, true);
}

/* What people are shown, flattened as if it was made over the API, decodes to the same too. */
TEST(what_people_are_shown_decodes_to_what_is_in_effect)
{
    uint64_t seed = 99;

    for (int i = 0; i < ROUNDS; i++) {
        struct sections s = {.arena = arena_new(), .seed = &seed, .lenient = i % 2};
        struct declaration *agents, *shown;
        struct fact_resource *flat;
        json_t *nested;
        size_t n;

        random_sections(&s);
        agents = declaration_new("test/svc/web", s.items, s.n, NULL, NULL);
        nested = spec_nest(s.items, s.n, "expose#0");
        CHECK_INT(spec_flatten(nested, "expose#0", s.arena, &flat, &n, NULL), 0);
        shown = declaration_new("test/svc/web", flat, n, NULL, NULL);
        _cleanup_(mem_free_p) char *before = dump(declaration_find(agents, "expose#0")),
                                   *after = dump(declaration_find(shown, "expose#0"));
        CHECK_STR(after, before);
        json_decref(nested);
        declaration_unref(agents);
        declaration_unref(shown);
        arena_free(s.arena);
    }
}

/* ---- ids ---- */

/* "RID TYPE INFO" of each, in lines. */
static char *flat_text(const char *nested, int *ret)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct fact_resource *items = NULL;
    json_t *json = quoted_json(nested);
    struct err e = {0};
    struct buf b;
    size_t n = 0;
    int r = spec_flatten(json, "expose#0", arena, &items, &n, &e);

    json_decref(json);
    buf_init(&b, 0);
    if (r < 0)
        buf_printf(&b, "%s: %s", e.field, e.text);
    for (size_t i = 0; i < n; i++) {
        CHECK_STR(items[i].scope, "expose#0");
        buf_printf(&b, "%s %s\n", items[i].rid, items[i].info);
    }
    if (ret)
        *ret = r;
    return buf_take(&b, NULL);
}

static void check_flat(const char *nested, const char *expected)
{
    _cleanup_(mem_free_p) char *text = flat_text(nested, NULL);
    _cleanup_(mem_free_p) char *wanted = quoted(expected);

    CHECK_STR(text, wanted);
}

TEST(sections_keep_their_ids_and_others_get_what_is_free)
{
    check_flat(
        "{'port': 80, 'vhosts': [{'rid': 'vhost#3'}, {'domains': ['a']}, {'rid': 'vhost#0', 'domains': ['b']}, "
        "{'rid': 'nonsense', 'domains': ['c']}, {'rid': 'vhost#x-y_Z'}, {'rid': 'route#1', 'domains': ['d']}]}",
        "expose#0 {'port':80,'vhosts':['vhost#3','vhost#1','vhost#0','vhost#2','vhost#x-y_Z','vhost#4']}\n"
        "vhost#0 {'domains':['b']}\n"
        "vhost#1 {'domains':['a']}\n"
        "vhost#2 {'domains':['c']}\n"
        "vhost#3 {}\n"
        "vhost#4 {'domains':['d']}\n"
        "vhost#x-y_Z {}\n");
}

TEST(a_section_that_stands_twice_with_the_same_content_is_one)
{
    check_flat("{'port': 80, 'vhosts': [{'rid': 'vhost#0', 'routes': [{'rid': 'route#0', 'match_path': '/'}]}, "
               "{'rid': 'vhost#1', 'routes': [{'rid': 'route#0', 'match_path': '/'}]}]}",
               "expose#0 {'port':80,'vhosts':['vhost#0','vhost#1']}\n"
               "route#0 {'match_path':'/'}\n"
               "vhost#0 {'routes':['route#0']}\n"
               "vhost#1 {'routes':['route#0']}\n");
}

TEST(a_section_whose_id_another_content_has_gets_a_new_one)
{
    check_flat("{'port': 80, 'vhosts': [{'rid': 'vhost#0', 'routes': [{'rid': 'route#0', 'match_path': '/a'}, "
               "{'rid': 'route#0', 'match_path': '/b'}, {'rid': 'route#1', 'match_path': '/c'}, "
               "{'rid': 'route#0', 'match_path': '/a', 'hash_policies': [{'terminal': true}]}]}]}",
               "expose#0 {'port':80,'vhosts':['vhost#0']}\n"
               "hashpolicy#0 {'terminal':true}\n"
               "route#0 {'match_path':'/a'}\n"
               "route#1 {'match_path':'/c'}\n"
               "route#2 {'match_path':'/b'}\n"
               "route#3 {'hash_policies':['hashpolicy#0'],'match_path':'/a'}\n"
               "vhost#0 {'routes':['route#0','route#2','route#1','route#3']}\n");
}

TEST(flattening_leaves_out_null_and_what_is_not_the_clients_to_say)
{
    check_flat("{'port': 80, 'sni': null, 'status': {'a': 1}, 'name': 'x', 'origin': 'api', 'rid': 'expose#9', "
               "'revision': 7, 'enabled': false, 'endpoints': [{'address': '::1', 'port': 5}, "
               "{'address': 'a.org', 'port': 6}]}",
               "expose#0 {'enabled':false,'endpoints':['[::1]:5','a.org:6'],'port':80}\n");
}

TEST(flattening_refuses_what_has_no_place)
{
    static const char *const bad[] = {
        "{'port': 80, 'ports': 1}",
        "{'port': 80, 'vhosts': {}}",
        "{'port': 80, 'vhosts': [1]}",
        "{'port': 80, 'vhosts': [{'routes': [{'match': 1}]}]}",
        "{'port': 80, 'endpoints': 'a.org:80'}",
        "{'port': 80, 'unfit': 'x'}",
        "[]",
        "5",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int r = 0;
        _cleanup_(mem_free_p) char *text = flat_text(bad[i], &r);

        if (r != -EINVAL || !text[0])
            test_fail(__FILE__, __LINE__, "%s: %d %s", bad[i], r, text);
    }
}

/* Each id is looked for once: four thousand sections without one cost four thousand steps. */
TEST(an_exposure_of_thousands_of_nameless_sections_is_flattened_at_once)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    json_t *nested = json_pack("{s:i, s:[]}", "port", 80, "vhosts");
    struct fact_resource *items;
    struct err e = {0};
    size_t n;

    for (int v = 0; v < 4; v++) {
        json_t *routes = json_array();

        for (int i = 0; i < 1000; i++)
            json_array_append_new(routes, json_pack("{s:o}", "match_path", json_sprintf("/%d/%d", v, i)));
        json_array_append_new(json_object_get(nested, "vhosts"), json_pack("{s:o}", "routes", routes));
    }
    CHECK_INT(spec_flatten(nested, "expose#0", arena, &items, &n, &e), 0);
    CHECK_INT(n, 4005);
    CHECK(arena_size(arena) < 8 << 20);
    for (int i = 0; i < 200; i++)
        json_array_append_new(json_object_get(nested, "vhosts"),
                              json_pack("{s:[o]}", "domains", json_sprintf("d%d", i)));
    CHECK_INT(spec_flatten(nested, "expose#0", arena, &items, &n, &e), -EINVAL);
    CHECK(strstr(e.text, "4096") != NULL);
    json_decref(nested);
}

/* ---- checking ---- */

static void note_fault(void *arg, const char *pointer, const char *code, const char *text)
{
    CHECK(text[0]);
    buf_printf(arg, "%s %s\n", pointer, code);
}

static char *faults(const char *nested, bool api_made)
{
    json_t *json = quoted_json(nested);
    struct buf b;
    int r;

    buf_init(&b, 0);
    r = spec_check(json, api_made, note_fault, &b);
    CHECK_INT(r, b.len ? -EINVAL : 0);
    json_decref(json);
    return buf_take(&b, NULL);
}

TEST(each_fault_of_the_form_is_told_with_its_place)
{
    static const struct {
        const char *nested, *faults;
    } cases[] = {
        {"{'port': 80}", ""},
        {"{'port': null, 'sni': null, 'vhosts': null, 'endpoints': null, 'enabled': null}", ""},
        {"{'port': '80'}", "#/port invalid\n"},
        {"{'port': 80.5}", "#/port invalid\n"},
        {"{'port': true}", "#/port invalid\n"},
        {"{'sni': 'a.org'}", "#/sni invalid\n"},
        {"{'sni': ['a', 1, null]}", "#/sni/1 invalid\n#/sni/2 invalid\n"},
        {"{'enabled': 'yes'}", "#/enabled invalid\n"},
        {"{'cluster_data': '{}'}", "#/cluster_data invalid\n"},
        {"{'a/b~c': 1}", "#/a~1b~0c unknown\n"},
        {"{'': 1}", "#/ unknown\n"},
        {"{'vhosts': [{}, {'routes': [{}, {'match': 1, 'route_timeout': 5, 'match_case_sensitive': 0}]}]}",
         "#/vhosts/1/routes/1/match unknown\n#/vhosts/1/routes/1/match_case_sensitive invalid\n"},
        {"{'vhosts': [{'routes': [{'hash_policies': [{'cookie': 'x', 'cookie_ttl': true}]}]}]}",
         "#/vhosts/0/routes/0/hash_policies/0/cookie unknown\n#/vhosts/0/routes/0/hash_policies/0/cookie_ttl "
         "invalid\n"},
        {"{'vhosts': [5, null]}", "#/vhosts/0 invalid\n#/vhosts/1 invalid\n"},
        {"{'listener_certificates': [{'private_key': 'x'}]}", "#/listener_certificates/0/private_key unknown\n"},
        {"{'rid': 5}", "#/rid invalid\n"},
        {"{'rid': 'anything'}", ""},
        {"{'vhosts': [{'rid': 'vhost#a-b_C'}, {'rid': 'vhost-1'}, {'rid': 'route#1'}, {'rid': 'vhost#'}, {'rid': "
         "1}]}",
         "#/vhosts/1/rid invalid\n#/vhosts/2/rid invalid\n#/vhosts/3/rid invalid\n#/vhosts/4/rid invalid\n"},
        {"{'vhosts': [{'routes': [{'rid': 'route#0', 'hash_policies': [{'rid': 'hash_policy#0'}]}]}]}",
         "#/vhosts/0/routes/0/hash_policies/0/rid invalid\n"},
        {"{'protocol': 'tcp', 'lb_policy': 'round robin'}", ""},
        {"{'protocol': 'TCP', 'lb_policy': 'round_robin'}", "#/protocol invalid\n#/lb_policy invalid\n"},
        {"{'protocol': 'sctp', 'lb_policy': 'best'}", ""}, /* which is for the decoder to say, with all else */
        {"{'protocol': '', 'lb_policy': ''}", "#/protocol invalid\n#/lb_policy invalid\n"},
        {"{'status': {'anything': []}, 'name': 7}", ""},
        {"[]", "# invalid\n"},
        {"'x'", "# invalid\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_(mem_free_p) char *text = faults(cases[i].nested, i % 2);

        if (strcmp(text, cases[i].faults) != 0)
            test_fail(__FILE__, __LINE__, "%s:\n%s", cases[i].nested, text);
    }
}

TEST(endpoints_are_for_exposures_over_the_api)
{
    static const char good[] = "{'endpoints': [{'address': '192.0.2.1', 'port': 80}, {'address': '::1', 'port': 1}, "
                               "{'address': 'a.org', 'port': 65535}]}";
    _cleanup_(mem_free_p) char *api = faults(good, true), *agents = faults(good, false),
                               *none = faults("{'endpoints': []}", false);
    static const char *const bad[] = {
        "{}",
        "5",
        "{'address': 'a'}",
        "{'port': 5}",
        "{'address': '', 'port': 5}",
        "{'address': 'a', 'port': 0}",
        "{'address': 'a', 'port': 65536}",
        "{'address': 'a', 'port': -1}",
        "{'address': 'a', 'port': '80'}",
        "{'address': 'a', 'port': 4294967376}",
        "{'address': 'a', 'port': 5, 'weight': 1}",
        "{'address': '[::1]', 'port': 5}",
        "{'address': 'a:b', 'port': 5}",
        "{'address': 5, 'port': 5}",
    };

    CHECK_STR(api, "");
    CHECK_STR(agents, "#/endpoints invalid\n");
    CHECK_STR(none, "");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_(mem_free_p) char *body = mem_printf("{'endpoints': [%s]}", bad[i]);
        _cleanup_(mem_free_p) char *text = faults(body, true);

        if (strcmp(text, "#/endpoints/0 invalid\n") != 0)
            test_fail(__FILE__, __LINE__, "%s: %s", bad[i], text);
    }
}

TEST(an_array_of_too_many_items_is_a_fault)
{
    json_t *sni = json_array(), *nested;
    struct buf b;

    for (int i = 0; i < 1025; i++)
        json_array_append_new(sni, json_sprintf("a%d.org", i));
    nested = json_pack("{s:o}", "sni", sni);
    buf_init(&b, 0);
    CHECK_INT(spec_check(nested, true, note_fault, &b), -EINVAL);
    CHECK_STR(buf_cstr(&b), "#/sni invalid\n");
    buf_clear(&b);
    json_decref(nested);
}

/* ---- patches ---- */

/* RFC 7396, appendix A. */
TEST(a_merge_patch_does_what_the_rfc_says)
{
    static const char *const cases[][3] = {
        {"{'a':'b'}", "{'a':'c'}", "{'a':'c'}"},
        {"{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}"},
        {"{'a':'b'}", "{'a':null}", "{}"},
        {"{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}"},
        {"{'a':['b']}", "{'a':'c'}", "{'a':'c'}"},
        {"{'a':'c'}", "{'a':['b']}", "{'a':['b']}"},
        {"{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}"},
        {"{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}"},
        {"['a','b']", "['c','d']", "['c','d']"},
        {"{'a':'b'}", "['c']", "['c']"},
        {"{'a':'foo'}", "null", "null"},
        {"{'a':'foo'}", "'bar'", "'bar'"},
        {"{'e':null}", "{'a':1}", "{'a':1,'e':null}"},
        {"[1,2]", "{'a':'b','c':null}", "{'a':'b'}"},
        {"{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *target = quoted_json(cases[i][0]);
        json_t *patch = strcmp(cases[i][1], "null") ? quoted_json(cases[i][1]) : json_null();
        json_t *merged = json_merge_patch(target, patch);

        if (strcmp(cases[i][2], "null") == 0) {
            CHECK(json_is_null(merged));
            json_decref(merged);
        } else {
            check_json(merged, cases[i][2]);
        }
        /* Neither of them is changed. */
        check_json(target, cases[i][0]);
        json_decref(patch);
    }
}

/* ---- what was left out ---- */

static char *unredacted(const char *nested, const char *known, size_t *ret_missing)
{
    json_t *value = quoted_json(nested), *other = quoted_json(known);
    struct buf b;
    char *text;

    buf_init(&b, 0);
    *ret_missing = spec_unredact(value, other, "***", note_fault, &b);
    text = json_canonical(value);
    if (b.len) {
        char *both = mem_printf("%s %s", text, buf_cstr(&b));

        mem_free(text);
        text = both;
    }
    buf_clear(&b);
    json_decref(value);
    json_decref(other);
    return text;
}

TEST(what_was_left_out_comes_back_from_where_it_was)
{
    static const struct {
        const char *nested, *known, *expected;
        size_t missing;
    } cases[] = {
        {"{'a':'***','b':'x'}", "{'a':'s','b':'y'}", "{\"a\":\"s\",\"b\":\"x\"}", 0},
        {"{'l':[{'rid':'c#2','k':'***'},{'rid':'c#1','k':'***'}]}",
         "{'l':[{'rid':'c#1','k':'1'},{'rid':'c#2','k':'2'}]}",
         "{\"l\":[{\"k\":\"2\",\"rid\":\"c#2\"},{\"k\":\"1\",\"rid\":\"c#1\"}]}", 0},
        {"{'l':[{'k':'***'}]}", "{'l':[{'rid':'c#1','k':'1'}]}", "{\"l\":[{\"k\":\"1\"}]}", 0},
        {"{'a':{'b':{'c':'***'}}}", "{'a':{'b':{'c':'deep'}}}", "{\"a\":{\"b\":{\"c\":\"deep\"}}}", 0},
        {"{'a':['x','***']}", "{'a':['s','t']}", "{\"a\":[\"x\",\"t\"]}", 0},
        {"{'a':'***','b':'***','c':'***'}", "{'a':5,'b':true,'c':null}", "{\"a\":5,\"b\":true,\"c\":null}", 0},
        {"{'a/b':['***']}", "{'a/b':[]}", "{\"a/b\":[\"***\"]} #/a~1b/0 invalid\n", 1},
        {"{'a':'***','b':['***']}", "{'a':{'x':1}}", "{\"a\":\"***\",\"b\":[\"***\"]} #/a invalid\n#/b/0 invalid\n",
         2},
        {"{'a':'** *','***':1}", "{}", "{\"***\":1,\"a\":\"** *\"}", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t missing;
        _cleanup_(mem_free_p) char *text = unredacted(cases[i].nested, cases[i].known, &missing);

        CHECK_STR(text, cases[i].expected);
        CHECK_INT(missing, cases[i].missing);
    }
}

/* An id that is new is another section: it must not get the key of the one that stands at its place. */
TEST(a_new_section_does_not_get_the_secret_of_another)
{
    size_t missing;
    _cleanup_(mem_free_p) char *text =
        unredacted("{'l':[{'rid':'c#9','k':'***'}]}", "{'l':[{'rid':'c#1','k':'1'}]}", &missing);

    CHECK_INT(missing, 1);
    CHECK(strstr(text, "#/l/0/k invalid") != NULL);
}

/* ---- where problems stand ---- */

TEST(a_problems_field_becomes_a_pointer_into_the_nested_form)
{
    static const struct fact_resource sections[] = {
        {"certificate#0", "certificate.tls", "{\"certificate_secret\":\"a\"}", NULL},
        {"certificate#1", "certificate.tls", "{\"certificate_secret\":\"b\"}", NULL},
        {"expose#0", "expose.envoy",
         "{\"port\":80,\"vhosts\":[\"vhost#1\",\"vhost#0\"],\"listener_certificates\":[\"certificate#1\"],"
         "\"cluster_certificates\":[\"certificate#0\"],\"cluster_data\":{\"healthChecks\":[{\"timeout\":\"1s\"}],"
         "\"metadata\":{\"filter_metadata\":{\"a/b.c\":{\"d\":1}}}}}",
         NULL},
        {"hashpolicy#7", "hashpolicy.envoy", "{\"connection_source_ip\":true}", NULL},
        {"route#0", "route.envoy", "{\"match_path\":\"/a\",\"hash_policies\":[\"hashpolicy#7\"]}", NULL},
        {"vhost#0", "vhost.envoy", "{\"domains\":[\"a\"],\"routes\":[\"route#0\"]}", NULL},
        {"vhost#1", "vhost.envoy", "{\"domains\":[\"b\"]}", NULL},
    };
    static const char *const cases[][2] = {
        {"", "#"},
        {"expose#0", "#"},
        {"expose#0.listener_port", "#/listener_port"},
        {"filter_config_data", "#/filter_config_data"},
        {"filter_config_data.stat_prefix", "#/filter_config_data"}, /* there is none of it */
        {"expose#0.cluster_data.health_checks[0].timeout", "#/cluster_data/healthChecks/0/timeout"},
        {"cluster_data.healthChecks[0].interval", "#/cluster_data/healthChecks/0"},
        {"cluster_data.health_checks[1].timeout", "#/cluster_data/healthChecks"},
        {"cluster_data.metadata.filter_metadata[\"a/b.c\"].d", "#/cluster_data/metadata/filter_metadata/a~1b.c/d"},
        {"cluster_data.metadata.filter_met...", "#/cluster_data/metadata"},
        {"cluster_data.metadata.filter_metadata[\"a/b...", "#/cluster_data/metadata/filter_metadata"},
        {"vhost#0.domains", "#/vhosts/1/domains"},
        {"vhost#1", "#/vhosts/0"},
        {"route#0.match_regex", "#/vhosts/1/routes/0/match_regex"},
        {"hashpolicy#7.cookie_name", "#/vhosts/1/routes/0/hash_policies/0/cookie_name"},
        {"certificate#1.certificate_secret", "#/listener_certificates/0/certificate_secret"},
        {"certificate#0", "#/cluster_certificates/0"},
        {"route#9.match_path", NULL},
    };
    struct declaration *d = declaration_new("web", sections, ARRAY_LEN(sections), NULL, NULL);
    _cleanup_(arena_free_p) struct arena *arena = arena_new();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK_STR(exposure_pointer(declaration_find(d, "expose#0"), cases[i][0], arena), cases[i][1]);
    declaration_unref(d);
}
