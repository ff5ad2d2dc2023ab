/*
 * Drafts: faults and where they stand, conflicts and with whom, and above all that a draft tells the truth: what it
 * says of each listener is held against the listeners' bytes before and after the same edits are made.
 */
#include "store/draft.h"

#include "base/map.h"
#include "proto/envoy.h"
#include "proto/translate.h"
#include "store/spec.h"
#include "tests/unit/certs.h"
#include "tests/unit/edit_world.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct world *w)
{
    world_init(w);
    w->options.check = translate_check;
    world_open(w);
    world_sync_nothing(w);
}

/* A draft of one request, and what it was made of. */
struct trial {
    struct edit_batch *batch;
    struct edit_request *request;
    struct draft *draft;
};

static void trial_begin(struct trial *t, struct world *w)
{
    t->batch = edit_batch_new();
    t->request = edit_batch_request(t->batch, w, NULL);
    t->draft = NULL;
}

static void trial_draft(struct trial *t, struct world *w)
{
    t->draft = draft_new(t->request->view, t->request->edits, t->request->n_edits, &w->options);
}

static void trial_end(struct trial *t)
{
    draft_free(t->draft);
    edit_batch_free(t->batch);
}

/* Kind, code, pointer and other of each fault of one edit, in lines. */
static char *faults_of(struct world *w, enum document_kind kind, const char *name, const char *body)
{
    static const char *const kinds[] = {"invalid", "conflict", "warning"};
    struct trial t;
    struct buf b;

    trial_begin(&t, w);
    edit_batch_add(t.batch, kind, name, body);
    trial_draft(&t, w);
    buf_init(&b, 0);
    for (size_t i = 0; i < t.draft->n_faults; i++) {
        const struct draft_fault *f = &t.draft->faults[i];

        CHECK(f->text[0]);
        CHECK_INT(f->edit, 0);
        CHECK(f->kind != DRAFT_INVALID || t.draft->invalid);
        CHECK(f->kind != DRAFT_CONFLICT || t.draft->conflict);
        buf_printf(&b, "%s %s %s%s%s\n", kinds[f->kind], f->code, f->pointer, f->other ? " by " : "",
                   f->other ? f->other : "");
    }
    trial_end(&t);
    return buf_take(&b, NULL);
}

static void check_faults(struct world *w, enum document_kind kind, const char *name, const char *body,
                         const char *expected)
{
    _cleanup_(mem_free_p) char *text = faults_of(w, kind, name, body);

    if (strcmp(text, expected) != 0)
        test_fail(__FILE__, __LINE__, "%s %s: \"%s\", not \"%s\"", name, body ? body : "-", text, expected);
}

/* ---- faults ---- */

TEST(faults_of_an_exposure_stand_where_they_are)
{
    static const struct {
        const char *body, *faults;
    } cases[] = {
        {"{'port': 80, 'listener_port': 8080}", ""},
        {"{}", "invalid invalid #/port\n"},
        {"{'port': 70000}", "invalid invalid #/port\n"},
        {"{'port': 80, 'protocol': 'sctp'}", "invalid invalid #/protocol\n"},
        {"{'port': 80, 'listener_addr': 'x'}", "invalid invalid #/listener_addr\n"},
        {"{'port': 80, 'sni': ['a b']}", "invalid invalid #/sni\n"},
        {"{'port': 80, 'gateway': 'a|b'}", "invalid invalid #/gateway\n"},
        {"{'port': 80, 'gateway': 'a/b'}", "invalid invalid #/gateway\n"},
        {"{'port': 80, 'vhosts': [{'domains': ['a.org']}, {'domains': ['**']}]}",
         "invalid invalid #/vhosts/1/domains\n"},
        {"{'port': 80, 'vhosts': [{'domains': ['a.org'], 'routes': [{'match_path': '/'}, {'match_regex': '(('}]}]}",
         "invalid invalid #/vhosts/0/routes/1/match_regex\n"},
        {"{'port': 80, 'listener_certificates': [{}]}", "invalid invalid #/listener_certificates/0\n"},
        {"{'port': 80, 'vhosts': 5}", "invalid invalid #\n"},
        {"{'port': 80, 'endpoints': [{'address': 'localhost', 'port': 1}]}", "invalid invalid #/endpoints\n"},
        {"{'port': 80, 'cluster_data': {'nonsense': 1}}", "invalid invalid #/cluster_data/nonsense\n"},
        {"{'port': 80, 'vhosts': [{'domains': ['a.org'], 'routes': [{'route_cluster_header': 'x'}]}]}",
         "invalid not_allowed #/vhosts/0/routes/0/route_cluster_header\n"},
        {"{'port': 80, 'enabled': false}", ""},
        {"{'port': 443, 'sni': ['a.org'], 'listener_certificates': [{'certificate_secret': 'gone'}]}",
         "warning unready #/listener_certificates/0/certificate_secret\n"},
        {"{'port': 443, 'sni': ['a.org'], 'listener_certificates': [{'certificate_secret': 'prod/sec/gone'}]}",
         "invalid not_allowed #/listener_certificates/0/certificate_secret\n"},
    };
    struct world w;

    start(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_faults(&w, DOCUMENT_EXPOSURE, "test/svc/web.expose#0", cases[i].body, cases[i].faults);
    world_clear(&w);
}

TEST(a_name_that_is_none_is_a_fault)
{
    static const char *const bad[] = {"web",
                                      "web.expose",
                                      ".expose#0",
                                      "web.expose#",
                                      "web.expose#a",
                                      "web.expose#00",
                                      "web.expose#1|2",
                                      "a b.expose#0",
                                      "a|b.expose#0",
                                      "/web.expose#0",
                                      "web.route#0",
                                      "web.expose#12345678901",
                                      "we\x01.expose#0"};
    static const char *const good[] = {"web.expose#0", "test/svc/a.b_c-1.expose#10"};
    char name[EXPOSURE_NAME_MAX + 10];
    struct world w;

    start(&w);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check_faults(&w, DOCUMENT_EXPOSURE, bad[i], "{'port': 80}", "invalid invalid #/name\n");
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        check_faults(&w, DOCUMENT_EXPOSURE, good[i], "{'port': 80}", "");
    memset(name, 'n', sizeof(name));
    memcpy(name + EXPOSURE_NAME_MAX - 9, ".expose#0", 10);
    check_faults(&w, DOCUMENT_EXPOSURE, name, "{'port': 80}", "");
    memcpy(name + EXPOSURE_NAME_MAX - 8, ".expose#0", 10);
    name[EXPOSURE_NAME_MAX - 9] = 'n';
    check_faults(&w, DOCUMENT_EXPOSURE, name, "{'port': 80}", "invalid invalid #/name\n");
    world_clear(&w);
}

TEST(a_certificate_and_a_gateway_have_faults_of_their_own)
{
    _cleanup_(test_certificate_free_p) struct test_certificate *a = test_certificate_for("a.org");
    _cleanup_(test_certificate_free_p) struct test_certificate *b = test_certificate_for("b.org");
    json_t *wrong = json_pack("{s:s, s:s}", "certificate_chain", a->pem, "private_key", b->key_pem);
    json_t *right = json_pack("{s:s, s:s}", "certificate_chain", a->pem, "private_key", a->key_pem);
    _cleanup_(mem_free_p) char *wrong_text = json_canonical(wrong), *right_text = json_canonical(right);
    struct world w;

    json_decref(wrong);
    json_decref(right);
    start(&w);
    check_faults(&w, DOCUMENT_CERTIFICATE, "test/sec/a", right_text, "");
    check_faults(&w, DOCUMENT_CERTIFICATE, "test/sec/a", wrong_text, "invalid invalid #/certificate_chain\n");
    check_faults(&w, DOCUMENT_CERTIFICATE, "test/sec/a", "{}", "invalid invalid #\n");
    check_faults(&w, DOCUMENT_CERTIFICATE, "test/sec/a", "{'private_key': 5}", "invalid invalid #\n");
    check_faults(&w, DOCUMENT_CERTIFICATE, "test/sec/a", "{'trusted_ca': 'x'}", "invalid invalid #/trusted_ca\n");
    check_faults(&w, DOCUMENT_GATEWAY, "second", "{'port_min': 2000, 'port_max': 3000, 'allow_files': true}", "");
    check_faults(&w, DOCUMENT_GATEWAY, "second", "{'port_min': 3001, 'port_max': 3000}",
                 "invalid invalid #/port_max\n");
    check_faults(&w, DOCUMENT_GATEWAY, "second", "{'port_min': 0}", "invalid invalid #\n");
    check_faults(&w, DOCUMENT_GATEWAY, "second", "{'files': true}", "invalid invalid #\n");
    check_faults(&w, DOCUMENT_GATEWAY, "second", "{'tcp_proxy_data': {'idle_timeout': '9s'}}", "");
    check_faults(&w, DOCUMENT_GATEWAY, "second", "{'cluster_data': {'connect_timeout': '0s'}}",
                 "invalid invalid #/cluster_data\n");
    check_faults(&w, DOCUMENT_GATEWAY, "second", "{'retry_policy_data': []}", "invalid invalid #\n");
    check_faults(&w, DOCUMENT_GATEWAY, "a|b", "{}", "invalid invalid #/name\n");
    check_faults(&w, DOCUMENT_GATEWAY, "", "{}", "invalid invalid #/name\n");
    world_clear(&w);
}

/* ---- conflicts ---- */

TEST(a_conflict_names_who_holds_what_is_wanted)
{
    struct world w;

    start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "test/svc/first.expose#0", "{'port': 80}");
    world_edited(&w, DOCUMENT_EXPOSURE, "test/svc/udp.expose#0", "{'port': 53, 'protocol': 'udp'}");
    world_edited(&w, DOCUMENT_EXPOSURE, "test/svc/tls.expose#0", "{'port': 443, 'sni': ['a.org']}");
    world_edited(&w, DOCUMENT_EXPOSURE, "test/svc/web.expose#0",
                 "{'port': 8080, 'vhosts': [{'domains': ['a.org'], 'routes': [{'match_prefix': '/a'}]}]}");
    check_faults(&w, DOCUMENT_EXPOSURE, "test/svc/new.expose#0", "{'port': 80}",
                 "conflict conflict #/listener_port by test/svc/first.expose#0\n");
    check_faults(&w, DOCUMENT_EXPOSURE, "test/svc/new.expose#0", "{'port': 53, 'protocol': 'udp'}",
                 "conflict conflict #/listener_port by test/svc/udp.expose#0\n");
    check_faults(&w, DOCUMENT_EXPOSURE, "test/svc/new.expose#0", "{'port': 443, 'sni': ['A.org']}",
                 "conflict conflict #/sni by test/svc/tls.expose#0\n");
    check_faults(&w, DOCUMENT_EXPOSURE, "test/svc/new.expose#0", "{'port': 443, 'sni': ['a.org', 'b.org']}",
                 "warning conflict #/sni by test/svc/tls.expose#0\n");
    check_faults(&w, DOCUMENT_EXPOSURE, "prod/svc/new.expose#0", "{'port': 8080, 'vhosts': [{'domains': ['a.org']}]}",
                 "conflict conflict #/vhosts/0/domains by test/svc/web.expose#0\n");
    check_faults(&w, DOCUMENT_EXPOSURE, "test/svc/new.expose#0",
                 "{'port': 8080, 'vhosts': [{'domains': ['a.org'], 'routes': [{'match_prefix': '/b'}, "
                 "{'match_prefix': '/a'}]}]}",
                 "warning conflict #/vhosts/0/routes/1/match_prefix by test/svc/web.expose#0\n");
    check_faults(&w, DOCUMENT_EXPOSURE, "test/svc/new.expose#0",
                 "{'port': 8080, 'filter_config_data': {'server_name': 'x'}, 'vhosts': [{'domains': ['b.org']}]}",
                 "conflict conflict #/filter_config_data by test/svc/web.expose#0\n");
    world_clear(&w);
}

TEST(a_conflict_that_was_there_before_stops_no_edit)
{
    struct world w;

    start(&w);
    world_put(&w, "a", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    world_put(&w, "b", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    check_faults(&w, DOCUMENT_OVERRIDE, "b.expose#0", "{'lb_policy': 'random'}",
                 "warning conflict #/listener_port by a.expose#0\n");
    check_faults(&w, DOCUMENT_OVERRIDE, "b.expose#0", "{'listener_port': 81}", "");
    world_clear(&w);
}

TEST(what_stands_in_the_agents_way_is_a_warning)
{
    struct world w;

    start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "web.expose#0", "{'port': 81}");
    world_put(&w, "web", "\"port\":80", "10.0.0.1", true);
    world_committed(&w);
    check_faults(&w, DOCUMENT_EXPOSURE, "web.expose#0", "{'port': 82}", "warning shadowed #\n");
    world_clear(&w);
}

TEST(each_gateway_whose_bases_are_others_is_tried_with_one_of_its_services)
{
    struct trial t;
    struct world w;

    start(&w);
    world_edited(&w, DOCUMENT_EXPOSURE, "off.expose#0", "{'port': 80, 'gateway': 'one', 'enabled': false}");
    world_edited(&w, DOCUMENT_EXPOSURE, "p.expose#0", "{'port': 80, 'gateway': 'one'}");
    world_edited(&w, DOCUMENT_EXPOSURE, "q.expose#0", "{'port': 81, 'gateway': 'one'}");
    world_edited(&w, DOCUMENT_EXPOSURE, "r.expose#0", "{'port': 80, 'gateway': 'two'}");
    trial_begin(&t, &w);
    edit_batch_add(t.batch, DOCUMENT_GATEWAY, "one", "{'cluster_data': {'connect_timeout': '9s'}}");
    edit_batch_add(t.batch, DOCUMENT_GATEWAY, "two", "{'cluster_data': {'connect_timeout': '9s'}}");
    trial_draft(&t, &w);
    CHECK_INT(t.draft->n_listeners, 2);
    CHECK_STR(t.draft->listeners[0].gateway, "one");
    CHECK_STR(t.draft->listeners[1].gateway, "two");
    CHECK(draft_exposure(t.draft, t.request->view, "p.expose#0") !=
          view_exposure(t.request->view, "p.expose#0")); /* it was made anew */
    trial_end(&t);
    world_clear(&w);
}

/* ---- the truth about listeners ---- */

/* The encoded listeners of the present view, by "GATEWAY|NAME"; the batch holds them. */
static struct xds_batch *listeners_of(struct world *w, struct map *ret)
{
    struct translator *t = translator_new(NULL, NULL);
    struct view_delta *d = store_initial_delta(w->store);
    struct xds_batch *b = translate(t, d);

    view_delta_free(d);
    translator_free(t);
    for (size_t i = 0; b && i < b->n_changes; i++) {
        const struct xds_change *c = &b->changes[i];

        if (c->type == XDS_LISTENER && c->after)
            map_puts(ret, arena_printf(b->arena, "%s|%s", c->gateway, c->name), c->after);
    }
    return b;
}

static const struct resource *find_resource(const struct xds_batch *b, const struct xds_change *like)
{
    for (size_t i = 0; b && i < b->n_changes; i++)
        if (b->changes[i].type == like->type && strcmp(b->changes[i].gateway, like->gateway) == 0 &&
            strcmp(b->changes[i].name, like->name) == 0)
            return b->changes[i].after;
    return NULL;
}

/* How many resources of each type the drafts' differences led to. */
static unsigned translated[XDS_TYPES];

/* What Envoys would get of a draft; NULL: nothing. */
static struct xds_batch *translate_draft(const struct draft *draft, const struct view *v, const struct world *w)
{
    struct translator *t = translator_new(NULL, NULL);
    struct view_delta *d = draft_delta(draft, v, &w->options);
    struct xds_batch *b = d ? translate(t, d) : NULL;

    view_delta_free(d);
    translator_free(t);
    return b;
}

/* It is to the byte what they get once the edits are made, but for the agent's addresses, which no draft has. */
static void check_drafted(const struct xds_batch *b, const struct xds_batch *truth)
{
    for (size_t i = 0; b && i < b->n_changes; i++) {
        const struct xds_change *c = &b->changes[i];
        const struct resource *made = find_resource(truth, c);

        translated[c->type]++;
        if (c->type == XDS_ENDPOINT)
            continue;
        if (!made || made->version != c->after->version)
            test_fail(__FILE__, __LINE__, "%s %s of %s is %s, and the draft says otherwise", xds_type_name[c->type],
                      c->name, c->gateway, made ? "another" : "not there");
    }
}

static pb_listener *decode(struct arena *a, const struct resource *r)
{
    size_t n;
    const uint8_t *bytes = resource_message(r, &n);
    pb_listener *m = pb_unpack(a, &envoy__config__listener__v3__listener__descriptor, bytes, n);

    CHECK(m != NULL);
    return m;
}

struct packed {
    const uint8_t *bytes;
    size_t n;
};

static struct packed chain_bytes(struct arena *a, const pb_listener *m, const char *name)
{
    struct packed p = {0};

    for (size_t i = 0; i < m->n_filter_chains; i++)
        if (strcmp(m->filter_chains[i]->name, name) == 0)
            p.bytes = pb_pack(a, &m->filter_chains[i]->base, &p.n);
    return p;
}

static struct packed rest_bytes(struct arena *a, pb_listener *m)
{
    size_t n = m->n_filter_chains;
    struct packed p;

    m->n_filter_chains = 0;
    p.bytes = pb_pack(a, &m->base, &p.n);
    m->n_filter_chains = n;
    return p;
}

static bool same_bytes(struct packed a, struct packed b)
{
    return a.bytes && b.bytes && a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0;
}

static bool drains(const struct draft_listener *l, const char *chain)
{
    for (size_t i = 0; l && i < l->n_chains; i++)
        if (strcmp(l->chains[i], chain) == 0)
            return true;
    return false;
}

/* How often each effect was seen. */
static unsigned seen[EFFECT_REMOVES_LISTENER + 1];

/* Chains that are said to drain do, and the others are as they were. */
static void check_chains(struct arena *a, const char *key, const struct draft_listener *l, const pb_listener *before,
                         const pb_listener *after)
{
    for (size_t i = 0; i < before->n_filter_chains; i++) {
        const char *name = before->filter_chains[i]->name;
        bool same = same_bytes(chain_bytes(a, before, name), chain_bytes(a, after, name));

        if (same == drains(l, name))
            test_fail(__FILE__, __LINE__, "%s: chain %s %s, and the draft says otherwise", key, name,
                      same ? "stays" : "drains");
    }
}

/* Of a listener that stays. */
static enum draft_effect compare_listeners(const char *key, const struct draft_listener *l,
                                           const struct resource *before, const struct resource *after)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    pb_listener *x = decode(a, before), *y = decode(a, after);
    enum draft_effect truth = EFFECT_NONE;

    if (!same_bytes(rest_bytes(a, x), rest_bytes(a, y)))
        return EFFECT_DRAINS_LISTENER;
    for (size_t i = 0; i < x->n_filter_chains; i++) {
        const char *name = x->filter_chains[i]->name;

        if (!same_bytes(chain_bytes(a, x, name), chain_bytes(a, y, name)))
            truth = EFFECT_DRAINS_CHAIN;
    }
    check_chains(a, key, l, x, y);
    /* Only chains that are new make another listener of which nothing drains. */
    CHECK(truth != EFFECT_NONE || before->version == after->version || y->n_filter_chains > x->n_filter_chains);
    return truth;
}

static void check_listener(const char *key, const struct draft_listener *l, const struct resource *before,
                           const struct resource *after)
{
    enum draft_effect effect = l ? l->effect : EFFECT_NONE;
    enum draft_effect truth = before && after ? compare_listeners(key, l, before, after)
                              : before        ? EFFECT_REMOVES_LISTENER
                                              : EFFECT_ADDS_LISTENER;

    seen[truth]++;
    if (effect != truth)
        test_fail(__FILE__, __LINE__, "%s: the draft says %s, it is %s", key, draft_effect_name(effect),
                  draft_effect_name(truth));
}

static const struct draft_listener *drafted(const struct draft *d, const char *key)
{
    for (size_t i = 0; i < d->n_listeners; i++) {
        const struct draft_listener *l = &d->listeners[i];
        size_t n = strlen(l->gateway);

        if (strncmp(key, l->gateway, n) == 0 && key[n] == '|' && strcmp(key + n + 1, l->listener) == 0)
            return l;
    }
    return NULL;
}

/* Which port is allocated is the writer's business: a draft does not know of such a listener. */
static bool is_unsettled(const struct draft *d)
{
    for (size_t i = 0; i < d->n_services; i++)
        for (size_t k = 0; k < d->services[i]->n_exposures; k++)
            if (d->services[i]->exposures[k].gateway && !d->services[i]->exposures[k].listener_port)
                return true;
    return false;
}

static void check_listeners(const struct draft *d, const struct map *before, const struct map *after)
{
    struct map_entry *e;

    for (size_t i = 1; i < d->n_listeners; i++) {
        int order = strcmp(d->listeners[i - 1].gateway, d->listeners[i].gateway);

        CHECK((order ? order : strcmp(d->listeners[i - 1].listener, d->listeners[i].listener)) < 0);
    }
    for (size_t i = 0; map_next(before, &i, &e);)
        check_listener(e->key, drafted(d, e->key), e->value, map_gets(after, e->key));
    for (size_t i = 0; map_next(after, &i, &e);)
        if (!map_gets(before, e->key) && (drafted(d, e->key) || !is_unsettled(d)))
            check_listener(e->key, drafted(d, e->key), NULL, e->value);
    for (size_t i = 0; i < d->n_listeners; i++) {
        _cleanup_(mem_free_p) char *key = mem_printf("%s|%s", d->listeners[i].gateway, d->listeners[i].listener);

        if (!map_gets(before, key) && !map_gets(after, key))
            CHECK_INT(d->listeners[i].effect, EFFECT_NONE);
    }
}

/* One edit, made: the draft's word on the listener is this, and it is the truth. */
static void check_effect(struct world *w, enum document_kind kind, const char *name, const char *body,
                         const char *listener, enum draft_effect expected)
{
    struct map before = {0}, after = {0};
    struct xds_batch *batch_before = listeners_of(w, &before), *batch_after;
    const struct draft_listener *l;
    struct trial t;

    trial_begin(&t, w);
    edit_batch_add(t.batch, kind, name, body);
    trial_draft(&t, w);
    l = drafted(t.draft, listener);
    if ((l ? l->effect : EFFECT_NONE) != expected)
        test_fail(__FILE__, __LINE__, "%s = %s: %s", name, body ? body : "-",
                  draft_effect_name(l ? l->effect : EFFECT_NONE));
    edit_batch_run(t.batch, w);
    CHECK_INT(t.request->result, 0);
    batch_after = listeners_of(w, &after);
    check_listeners(t.draft, &before, &after);
    xds_batch_free(batch_before);
    xds_batch_free(batch_after);
    map_clear(&before);
    map_clear(&after);
    trial_end(&t);
}

TEST(each_kind_of_change_has_its_effect)
{
    static const char tcp[] = "envoy|0.0.0.0:80/tcp", udp[] = "envoy|0.0.0.0:53/udp", http[] = "envoy|0.0.0.0:81/tcp";
    static const struct {
        const char *name, *body, *listener;
        enum draft_effect effect;
    } cases[] = {
        {"a.expose#0", "{'port': 80}", tcp, EFFECT_ADDS_LISTENER},
        {"a.expose#0", "{'port': 80, 'lb_policy': 'random'}", tcp, EFFECT_NONE},
        {"a.expose#0", "{'port': 80, 'lb_policy': 'ring_hash'}", tcp, EFFECT_DRAINS_CHAIN},
        {"a.expose#0", "{'port': 80, 'lb_policy': 'maglev'}", tcp, EFFECT_NONE},
        {"a.expose#0", "{'port': 80, 'lb_policy': 'original_dst_lb'}", tcp, EFFECT_DRAINS_LISTENER},
        {"a.expose#0", "{'port': 80}", tcp, EFFECT_DRAINS_LISTENER},
        {"a.expose#0", "{'port': 80, 'filter_config_data': {'idle_timeout': '5s'}}", tcp, EFFECT_DRAINS_CHAIN},
        {"b.expose#0", "{'port': 80, 'sni': ['b.org']}", tcp, EFFECT_DRAINS_LISTENER},
        {"c.expose#0", "{'port': 80, 'sni': ['c.org']}", tcp, EFFECT_NONE},
        {"c.expose#0", "{'port': 80, 'sni': ['c.org', 'd.org']}", tcp, EFFECT_NONE},
        {"c.expose#0", "{'port': 80, 'sni': ['e.org', 'd.org']}", tcp, EFFECT_DRAINS_CHAIN},
        {"c.expose#0", "{'port': 80, 'sni': ['e.org', 'd.org'], 'enabled': false}", tcp, EFFECT_DRAINS_CHAIN},
        {"b.expose#0", NULL, tcp, EFFECT_DRAINS_LISTENER},
        {"a.expose#0", NULL, tcp, EFFECT_REMOVES_LISTENER},
        {"u.expose#0", "{'port': 53, 'protocol': 'udp'}", udp, EFFECT_ADDS_LISTENER},
        {"u.expose#0", "{'port': 53, 'protocol': 'udp', 'lb_policy': 'random'}", udp, EFFECT_NONE},
        {"u.expose#0", "{'port': 53, 'protocol': 'udp', 'lb_policy': 'maglev'}", udp, EFFECT_DRAINS_LISTENER},
        {"u.expose#0", "{'port': 54, 'protocol': 'udp', 'listener_port': 54}", udp, EFFECT_REMOVES_LISTENER},
        {"h.expose#0", "{'port': 81, 'vhosts': [{'domains': ['a.org']}]}", http, EFFECT_ADDS_LISTENER},
        {"h.expose#0",
         "{'port': 81, 'lb_policy': 'maglev', 'vhosts': [{'domains': ['b.org'], 'routes': "
         "[{'match_path': '/a'}]}]}",
         http, EFFECT_NONE},
        {"i.expose#0", "{'port': 81, 'vhosts': [{'domains': ['c.org']}]}", http, EFFECT_NONE},
        {"h.expose#0", NULL, http, EFFECT_NONE},
        {"i.expose#0", "{'port': 81, 'vhosts': [{'domains': ['c.org']}], 'filter_config_data': {'server_name': 'x'}}",
         http, EFFECT_DRAINS_CHAIN},
    };
    struct world w;

    start(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_effect(&w, DOCUMENT_EXPOSURE, cases[i].name, cases[i].body, cases[i].listener, cases[i].effect);
    world_clear(&w);
}

static int take_all(const struct exposure *x, const struct gateway *gateway, void *arg, struct err *e)
{
    (void)x, (void)gateway, (void)arg, (void)e;
    return 0;
}

TEST(a_draft_is_without_what_its_gateway_has_of_another_version)
{
    struct xds_batch *b;
    struct trial t;
    struct world w;

    world_init(&w);
    w.options.check = take_all;
    world_open(&w);
    world_sync_nothing(&w);
    world_edited(&w, DOCUMENT_GATEWAY, "envoy", "{'retry_policy_data': {'no_such': 1}, 'cluster_data': {}}");
    w.options.check = translate_check;
    world_reopen(&w);
    trial_begin(&t, &w);
    edit_batch_add(t.batch, DOCUMENT_EXPOSURE, "h.expose#0", "{'port': 81, 'vhosts': [{'domains': ['a.org']}]}");
    trial_draft(&t, &w);
    CHECK(!t.draft->invalid);
    b = translate_draft(t.draft, t.request->view, &w);
    CHECK(b &&
          find_resource(b, &(struct xds_change){.gateway = "envoy", .type = XDS_LISTENER, .name = "0.0.0.0:81/tcp"}));
    xds_batch_free(b);
    trial_end(&t);
    world_clear(&w);
}

/* What other documents do to listeners that stand on them. */
TEST(certificates_grants_and_gateways_have_their_effects)
{
    static const char listener[] = "envoy|0.0.0.0:443/tcp",
                      own[] =
                          "{'port': 443, 'sni': ['a.org'], 'listener_certificates': [{'certificate_secret': 'one'}]}",
                      other[] = "{'port': 443, 'sni': ['b.org'], "
                                "'listener_certificates': [{'certificate_secret': 'test/sec/one'}]}",
                      logs[] =
                          "{'port': 82, 'filter_config_data': {'access_log': [{'name': 'file', 'typed_config': "
                          "{'@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog', "
                          "'path': '/dev/stdout'}}]}}";
    _cleanup_(test_certificate_free_p) struct test_certificate *a = test_certificate_for("a.org"),
                                                               *b = test_certificate_for("a.org");
    json_t *first = json_pack("{s:s, s:s}", "certificate_chain", a->pem, "private_key", a->key_pem);
    json_t *second = json_pack("{s:s, s:s}", "certificate_chain", b->pem, "private_key", b->key_pem);
    _cleanup_(mem_free_p) char *body = json_canonical(first), *renewed = json_canonical(second);
    struct world w;

    json_decref(first);
    json_decref(second);
    start(&w);
    check_effect(&w, DOCUMENT_EXPOSURE, "test/svc/a.expose#0", own, listener, EFFECT_NONE); /* waits for it */
    check_effect(&w, DOCUMENT_CERTIFICATE, "test/sec/one", body, listener, EFFECT_ADDS_LISTENER);
    check_effect(&w, DOCUMENT_CERTIFICATE, "test/sec/one", renewed, listener, EFFECT_NONE);
    check_effect(&w, DOCUMENT_EXPOSURE, "prod/svc/b.expose#0", other, listener, EFFECT_NONE);  /* not allowed */
    check_effect(&w, DOCUMENT_GRANT, "prod|secret|test/sec/one", "{}", listener, EFFECT_NONE); /* a chain more */
    check_effect(&w, DOCUMENT_GRANT, "prod|secret|test/sec/one", NULL, listener, EFFECT_DRAINS_CHAIN);
    check_effect(&w, DOCUMENT_CERTIFICATE, "test/sec/one", NULL, listener, EFFECT_REMOVES_LISTENER);
    check_effect(&w, DOCUMENT_EXPOSURE, "test/svc/l.expose#0", logs, "envoy|0.0.0.0:82/tcp", EFFECT_NONE);
    check_effect(&w, DOCUMENT_GATEWAY, "envoy", "{'allow_files': true}", "envoy|0.0.0.0:82/tcp",
                 EFFECT_ADDS_LISTENER);
    check_effect(&w, DOCUMENT_GATEWAY, "envoy", "{'allow_files': true, 'port_min': 2000}", "envoy|0.0.0.0:82/tcp",
                 EFFECT_NONE);
    check_effect(&w, DOCUMENT_GATEWAY, "envoy", NULL, "envoy|0.0.0.0:82/tcp", EFFECT_REMOVES_LISTENER);
    world_clear(&w);
}

/* ---- the truth about services ---- */

static void check_exposure(const struct service_exposure *a, const struct service_exposure *b)
{
    bool settled = a->listener_port || !b->gateway;

    CHECK_STR(a->declared->name, b->declared->name);
    CHECK_INT(a->declared->valid, b->declared->valid);
    CHECK_INT(a->x->valid, b->x->valid);
    CHECK_INT(a->x->origin, b->x->origin);
    CHECK_INT(a->kept, b->kept);
    CHECK_STR(a->gateway, b->gateway);
    CHECK_INT(a->declared->n_problems, b->declared->n_problems);
    for (size_t i = 0; i < a->declared->n_problems; i++)
        CHECK_STR(a->declared->problems[i].text, b->declared->problems[i].text);
    if (!settled)
        return;
    CHECK_INT(a->listener_port, b->listener_port);
    CHECK_STR(a->hindrance ? a->hindrance->code : "", b->hindrance ? b->hindrance->code : "");
    CHECK_INT(service_exposure_listens(a), service_exposure_listens(b));
}

static void check_services(const struct draft *d, const struct view *v)
{
    for (size_t i = 0; i < d->n_services; i++) {
        const struct service *a = d->services[i], *b = view_service(v, a->path);

        CHECK(i == 0 || strcmp(d->services[i - 1]->path, a->path) < 0);
        CHECK(b != NULL);
        CHECK_INT(a->n_exposures, b->n_exposures);
        for (size_t k = 0; k < a->n_exposures; k++)
            check_exposure(&a->exposures[k], &b->exposures[k]);
    }
}

static bool has_fault(const struct draft *d, size_t edit, const struct problem *p)
{
    for (size_t i = 0; i < d->n_faults; i++)
        if (d->faults[i].edit == edit && strcmp(d->faults[i].code, p->code) == 0 &&
            strcmp(d->faults[i].text, p->text) == 0)
            return true;
    return false;
}

/* What the listener says of an edited exposure was said by the draft. */
static void check_verdict(const struct draft *d, const struct view *v, const struct edit_request *r, size_t edit)
{
    const struct service_exposure *sx = draft_exposure(d, v, r->edits[edit].name), *now;
    _cleanup_(mem_free_p) char *key = NULL;
    const struct service *s = sx ? view_service(v, sx->x->path) : NULL;
    const struct verdict *verdict;
    char name[64];

    if (!s || !r->edits[edit].body || !service_exposure_listens(sx))
        return;
    now = &s->exposures[0];
    while (strcmp(now->x->name, sx->x->name) != 0)
        now++;
    listener_name(&now->x->listener_addr, now->listener_port, now->x->protocol, name);
    key = mem_printf("%s|%s", now->gateway, name);
    verdict = listener_plan_verdict(view_listener(v, key), now->x->name);
    for (size_t i = 0; i < verdict->n_problems; i++)
        if (!has_fault(d, edit, &verdict->problems[i]))
            test_fail(__FILE__, __LINE__, "%s: the draft did not say: %s", now->x->name, verdict->problems[i].text);
}

/* ---- a random world ---- */

enum { WORLDS = TEST_ROUNDS(10), STEPS = 40 };

static uint64_t seed;
static unsigned edit_counts[DOCUMENT_KINDS];

static unsigned pick(unsigned n)
{
    return (unsigned)(test_random(&seed) % n);
}

#define ONE_OF(...)                                                                                                  \
    ({                                                                                                               \
        static const char *const of[] = {__VA_ARGS__};                                                               \
        of[pick(ARRAY_LEN(of))];                                                                                     \
    })

static json_t *random_names(unsigned most)
{
    json_t *names = json_array();

    for (unsigned i = pick(most) + 1; i > 0; i--)
        json_array_append_new(names, json_string(ONE_OF("a.org", "b.org", "www.a.org", "*.a.org", "c.org")));
    return names;
}

static json_t *random_routes(void)
{
    json_t *routes = json_array();

    for (unsigned i = pick(3); i > 0; i--) {
        json_t *route = json_pack("{s:s}", ONE_OF("match_path", "match_prefix"), ONE_OF("/a", "/b", "/"));

        if (pick(9) == 0)
            json_object_set_new(route, "route_cluster_header", json_string("x-cluster"));
        if (pick(20) == 0)
            json_object_set_new(route, "match_regex", json_string("(("));
        json_array_append_new(routes, route);
    }
    return routes;
}

static json_t *random_vhosts(void)
{
    json_t *vhosts = json_array();

    for (unsigned i = pick(2) + 1; i > 0; i--)
        json_array_append_new(vhosts,
                              json_pack("{s:o, s:o}", "domains", pick(6) ? random_names(2) : json_pack("[s]", "*"),
                                        "routes", random_routes()));
    return vhosts;
}

static json_t *random_certificates(void)
{
    json_t *all = json_array();

    for (unsigned i = pick(8) ? 1 : 2; i > 0; i--) {
        json_t *one = pick(4) ? json_pack("{s:s}", "certificate_secret", ONE_OF("one", "two", "test/sec/one"))
                              : json_pack("{s:s, s:s}", "certificate_chain_filename", ONE_OF("/c", "/d"),
                                          "private_key_filename", "/k");
        if (pick(5) == 0)
            json_object_set_new(one, "validation_secret", json_string("one"));
        json_array_append_new(all, one);
    }
    return all;
}

static json_t *random_filter(void)
{
    static const char log_type[] = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

    if (pick(3))
        return json_pack("{s:s}", ONE_OF("idle_timeout", "drain_timeout"), "7s");
    return json_pack("{s:[{s:s, s:{s:s, s:s}}]}", "access_log", "name", "file", "typed_config", "@type", log_type,
                     "path", "/dev/stdout");
}

static json_t *random_port(void)
{
    return json_integer(pick(5) ? 443 + pick(2) : 0);
}

static json_t *random_truth(void)
{
    return json_boolean(pick(2));
}

static json_t *random_protocol(void)
{
    return json_string(ONE_OF("tcp", "udp"));
}

static json_t *random_address(void)
{
    return json_string(ONE_OF("0.0.0.0", "192.0.2.1"));
}

static json_t *random_policy(void)
{
    return json_string(ONE_OF("random", "ring_hash", "original_dst_lb", "round robin"));
}

static json_t *random_gateway(void)
{
    return json_string(ONE_OF("envoy", "second", "a/b"));
}

static json_t *random_sni(void)
{
    return random_names(2);
}

/* Any member, with any value. */
static void random_member(json_t *to)
{
    static const struct {
        const char *name;
        json_t *(*value)(void);
    } members[] = {
        {"protocol", random_protocol},
        {"listener_port", random_port},
        {"listener_port", random_port},
        {"listener_addr", random_address},
        {"sni", random_sni},
        {"vhosts", random_vhosts},
        {"vhosts", random_vhosts},
        {"listener_certificates", random_certificates},
        {"lb_policy", random_policy},
        {"gateway", random_gateway},
        {"enabled", random_truth},
        {"filter_config_data", random_filter},
        {"cluster_certificates", random_certificates},
    };
    unsigned i = pick(ARRAY_LEN(members));

    json_object_set_new(to, members[i].name, members[i].value());
}

static json_t *random_exposure(void)
{
    json_t *nested = json_pack("{s:i, s:i}", "port", 80, "listener_port", 443 + pick(2));

    if (pick(2)) {
        json_object_set_new(nested, "vhosts", random_vhosts());
        if (pick(3))
            json_object_set_new(nested, "listener_certificates", random_certificates());
    } else if (pick(2)) {
        json_object_set_new(nested, "sni", random_names(2));
    }
    for (unsigned i = pick(3); i > 0; i--)
        random_member(nested);
    return nested;
}

/* Sections of each exposure have ids of their own. */
static void number_sections(json_t *value, const char *type, unsigned *next)
{
    static const char *const kinds[][2] = {{"vhosts", "vhost"},
                                           {"routes", "route"},
                                           {"listener_certificates", "certificate"},
                                           {"cluster_certificates", "certificate"}};
    json_t *item;
    size_t i;

    if (type)
        json_object_set_new(value, "rid", json_sprintf("%s#%u", type, (*next)++));
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        json_array_foreach(json_object_get(value, kinds[k][0]), i, item) number_sections(item, kinds[k][1], next);
}

static void agent_says(struct world *w, const char *path)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    const struct fact_address address = {.node = "n",
                                         .instance = path,
                                         .rid = "ip#1",
                                         .address = "10.0.0.1",
                                         .up = true,
                                         .state = "up",
                                         .exposes = (const char *const[]){"expose#0", "expose#1"},
                                         .n_exposes = 2};
    struct fact_resource all[256];
    struct facts f = {.path = path, .resources = all, .addresses = &address, .n_addresses = 1};
    unsigned next = 0;

    for (unsigned i = 0; i < 1 + pick(2); i++) {
        json_t *nested = random_exposure();
        struct fact_resource *items;
        size_t n;

        number_sections(nested, NULL, &next);
        CHECK_INT(spec_flatten(nested, i ? "expose#1" : "expose#0", arena, &items, &n, NULL), 0);
        json_decref(nested);
        CHECK(f.n_resources + n <= ARRAY_LEN(all));
        for (size_t k = 0; k < n; k++) {
            items[k].scope = NULL;
            all[f.n_resources++] = items[k];
        }
    }
    store_put_facts(w->store, &f);
}

static const char *random_path(void)
{
    return ONE_OF("test/svc/a", "test/svc/b", "prod/svc/c", "d");
}

static char *certificates[3]; /* bodies */

static const char *certificate_body(void)
{
    if (!certificates[0])
        for (size_t i = 0; i < ARRAY_LEN(certificates); i++) {
            _cleanup_(test_certificate_free_p) struct test_certificate *c = test_certificate_for("a.org");
            json_t *body = json_pack("{s:s, s:s}", "certificate_chain", c->pem, "private_key", c->key_pem);

            if (i == 2)
                json_object_set_new(body, "trusted_ca", json_string(c->pem));
            certificates[i] = json_canonical(body);
            json_decref(body);
        }
    return certificates[pick(3)];
}

static const char *random_name(struct arena *a, enum document_kind kind)
{
    switch (kind) {
    case DOCUMENT_GATEWAY:
        return ONE_OF("envoy", "second");
    case DOCUMENT_CERTIFICATE:
        return ONE_OF("test/sec/one", "test/sec/two", "sec/one", "prod/sec/one");
    case DOCUMENT_GRANT:
        return ONE_OF("prod|secret|test/sec/one", "root|secret|test/sec/one", "prod|domain|a.org",
                      "test|domain|b.org");
    case DOCUMENT_DRAIN:
        return arena_printf(a, "%s.expose#0|10.0.0.1:80", random_path());
    default:
        return arena_printf(a, "%s.expose#%u", random_path(), pick(3));
    }
}

static json_t *random_body(enum document_kind kind)
{
    json_t *body = json_object();

    switch (kind) {
    case DOCUMENT_GATEWAY:
        if (pick(2))
            json_object_set_new(body, "allow_files", json_boolean(pick(2)));
        if (pick(2))
            json_object_set_new(body, "allow_cluster_header", json_boolean(pick(2)));
        if (pick(4) == 0)
            json_object_set_new(body, "tcp_proxy_data", json_pack("{s:s}", "idle_timeout", "9s"));
        if (pick(4) == 0)
            json_object_set_new(body, "http_connection_manager_data", json_pack("{s:s}", "server_name", "x"));
        if (pick(4) == 0)
            json_object_set_new(body, "udp_proxy_data", json_pack("{s:s}", "idle_timeout", "9s"));
        if (pick(4) == 0)
            json_object_set_new(body, "cluster_data", json_pack("{s:s}", "connect_timeout", "9s"));
        return body;
    case DOCUMENT_EXPOSURE:
        json_decref(body);
        body = random_exposure();
        if (pick(2))
            json_object_set_new(body, "endpoints",
                                json_pack("[{s:s, s:i}]", "address", ONE_OF("192.0.2.9", "db.org"), "port", 5));
        return body;
    case DOCUMENT_OVERRIDE:
        for (unsigned i = pick(2) + 1; i > 0; i--)
            random_member(body);
        if (pick(4) == 0)
            json_object_set_new(body, ONE_OF("vhosts", "sni", "listener_certificates", "port"), json_null());
        return body;
    default:
        return body;
    }
}

static void add_random_edit(struct trial *t)
{
    static const enum document_kind kinds[] = {DOCUMENT_EXPOSURE, DOCUMENT_EXPOSURE, DOCUMENT_OVERRIDE,
                                               DOCUMENT_OVERRIDE, DOCUMENT_OVERRIDE, DOCUMENT_CERTIFICATE,
                                               DOCUMENT_GRANT,    DOCUMENT_GATEWAY,  DOCUMENT_DRAIN};
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    enum document_kind kind = kinds[pick(ARRAY_LEN(kinds))];
    const char *name = random_name(a, kind);
    json_t *body = NULL;

    for (size_t i = 0; i < t->request->n_edits; i++)
        if (t->request->edits[i].kind == kind && strcmp(t->request->edits[i].name, name) == 0)
            return;
    edit_counts[kind]++;
    if (pick(4) == 0) {
        edit_batch_add(t->batch, kind, name, NULL);
    } else if (kind == DOCUMENT_CERTIFICATE) {
        edit_batch_add(t->batch, kind, name, certificate_body());
    } else {
        body = random_body(kind);
        _cleanup_(mem_free_p) char *text = json_canonical(body);
        edit_batch_add(t->batch, kind, name, text);
    }
    json_decref(body);
}

static char *describe(const struct trial *t)
{
    struct buf b;

    buf_init(&b, 0);
    for (size_t i = 0; i < t->request->n_edits; i++)
        buf_printf(&b, "%s %s = %s\n", document_kind_name(t->request->edits[i].kind), t->request->edits[i].name,
                   t->request->edits[i].kind == DOCUMENT_CERTIFICATE ? "..."
                   : t->request->edits[i].body                       ? t->request->edits[i].body
                                                                     : "-");
    return buf_take(&b, NULL);
}

/* What is served goes on until its new form's secrets were read; a draft says what comes then. */
static void answer_for_secrets(struct world *w)
{
    static const struct secret_values none;
    struct view *v = store_view(w->store);
    size_t n;
    const char *const *wanted = store_wanted_secrets(w->store, &n);

    for (size_t i = 0; i < n; i++)
        if (!view_secret(v, wanted[i]))
            store_put_secret(w->store, wanted[i], "", &none, "it was not read yet");
    view_unref(v);
    world_committed(w);
}

static void step(struct world *w)
{
    struct map before = {0}, after = {0};
    struct xds_batch *batch_before, *batch_after, *batch_drafted;
    struct trial t;
    struct view *v;

    if (pick(3) == 0) {
        if (pick(5))
            agent_says(w, random_path());
        else
            store_remove_service(w->store, random_path());
        world_committed(w);
        answer_for_secrets(w);
    }
    trial_begin(&t, w);
    for (unsigned i = pick(5) ? 1 : 3; i > 0; i--)
        add_random_edit(&t);
    trial_draft(&t, w);
    batch_before = listeners_of(w, &before);
    batch_drafted = translate_draft(t.draft, t.request->view, w);
    edit_batch_run(t.batch, w);
    CHECK_INT(t.request->result, 0);
    answer_for_secrets(w);
    batch_after = listeners_of(w, &after);
    v = store_view(w->store);
    if (getenv("DRAFT_TRACE")) {
        _cleanup_(mem_free_p) char *text = describe(&t), *state = world_dump(w);

        fprintf(stderr, "---- edits\n%s---- state\n%s", text, state);
    }
    check_services(t.draft, v);
    check_listeners(t.draft, &before, &after);
    check_drafted(batch_drafted, batch_after);
    for (size_t i = 0; i < t.request->n_edits; i++)
        if (t.request->edits[i].kind == DOCUMENT_EXPOSURE || t.request->edits[i].kind == DOCUMENT_OVERRIDE)
            check_verdict(t.draft, v, t.request, i);
    view_unref(v);
    xds_batch_free(batch_before);
    xds_batch_free(batch_after);
    xds_batch_free(batch_drafted);
    map_clear(&before);
    map_clear(&after);
    trial_end(&t);
}

/* Whatever was made of it all, a restart makes the same. */
static void check_restart(struct world *w)
{
    _cleanup_(mem_free_p) char *before = world_dump_whole(w), *after = NULL;

    world_reopen(w);
    after = world_dump_whole(w);
    if (strcmp(after, before) == 0)
        return;
    /* Where it begins to differ. */
    for (size_t at = 0, line = 0;; at++) {
        line = at && before[at - 1] == '\n' ? at : line;
        if (before[at] != after[at])
            test_fail(__FILE__, __LINE__, "after a restart:\n%.400s\nbefore:\n%.400s", after + line, before + line);
    }
}

TEST(what_a_draft_says_of_listeners_and_services_is_what_the_edits_make)
{
    seed = 2024;
    for (int i = 0; i < WORLDS; i++) {
        struct world w;

        start(&w);
        agent_says(&w, "test/svc/a");
        agent_says(&w, "prod/svc/c");
        world_committed(&w);
        for (int k = 0; k < STEPS; k++) {
            step(&w);
            if (k % 8 == 7)
                check_restart(&w);
        }
        world_clear(&w);
    }
    /* All of it was tried. */
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        CHECK(seen[i] >= TEST_ROUNDS(8));
    for (size_t i = 0; i < ARRAY_LEN(translated); i++)
        CHECK(translated[i] >= TEST_ROUNDS(50));
    for (int i = 0; i < DOCUMENT_TOKEN; i++)
        CHECK(edit_counts[i] >= TEST_ROUNDS(20));
    for (size_t i = 0; i < ARRAY_LEN(certificates); i++)
        mem_free(certificates[i]);
}
