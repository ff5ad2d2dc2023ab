/* What is told of proxies to other threads, over real gRPC. */
#include "server/xds_status.h"

#include "server/xds_server.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define LONG (3600 * CLOCK_NS_PER_S)

enum { SOON_MS = 20000, MANY = 3000, NAME = 32, ASKERS = 4, QUESTIONS = 50, WAIT_SECONDS = 20 };

struct world {
    struct xds_server *server;
    struct xds_status *status;
    struct xds_client *client;
    struct arena *arena;
    struct notes noted;
    uint64_t revision;
    uint64_t version_removed; /* of answers, when it was told last that a proxy is there no more */
};

static void on_note(void *arg, struct notes *notes)
{
    struct world *w = arg;

    notes_clear(&w->noted);
    w->noted = *notes;
    *notes = (struct notes){0};
}

/* In the xDS thread. */
static void on_told(void *arg, const char *kind, const char *name, enum event_change change)
{
    struct world *w = arg;

    (void)name;
    if (strcmp(kind, "Proxy") == 0 && change == EVENT_REMOVED)
        w->version_removed = xds_status_version(w->status);
}

/* One that remembers who was here for that long (0: nobody); before: what another one noted. */
static void start_after(struct world *w, const struct notes *before, clock_ns keep_gone, clock_ns gone_after)
{
    struct xds_address a = {.address = "127.0.0.1:0", .all = true};
    struct xds_options o = {.addresses = &a,
                            .n_addresses = 1,
                            .default_gateway = "envoy",
                            .tell = on_told,
                            .keep_gone = keep_gone,
                            .gone_after = gone_after,
                            .notes = before,
                            .note = on_note,
                            .arg = w};
    struct err e = {0};
    char target[NAME];

    *w = (struct world){.arena = arena_new()};
    if (xds_server_start(&o, &w->server, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", e.object, e.text);
    w->status = xds_server_status(w->server);
    snprintf(target, sizeof(target), "127.0.0.1:%d", xds_server_port(w->server, 0));
    w->client = xds_client_new(&(struct xds_client_options){.target = target});
}

static void start(struct world *w)
{
    start_after(w, NULL, 0, 0);
}

static void stop(struct world *w)
{
    xds_client_free(w->client);
    xds_server_stop(w->server);
    arena_free(w->arena);
    notes_clear(&w->noted);
}

static struct wire_batch *begin_batch(void)
{
    struct wire_batch *b = wire_batch_new();

    wire_batch_gateway(b, "envoy");
    wire_batch_gateway(b, "other");
    return b;
}

static void put(struct wire_batch *b, enum xds_type type, const char *name, const char *content)
{
    struct resource *r = content ? wire_resource_new(type, name, content, NULL, NULL, NULL) : NULL;

    if (r)
        r->uses_eds = false;
    wire_batch_change(b, "envoy", type, name, r);
}

static void publish(struct world *w, struct wire_batch *b)
{
    xds_server_publish(w->server, wire_batch_finish(b, ++w->revision, true));
}

static void publish_one(struct world *w, enum xds_type type, const char *name, const char *content)
{
    struct wire_batch *b = begin_batch();

    put(b, type, name, content);
    publish(w, b);
}

/* ---- clients ---- */

static struct xds_call *connect_as(struct world *w, const char *id)
{
    struct xds_call *k = xds_call_new(w->client, ADS_DELTA);

    CHECK(xds_call_send(k, XDS_DELTA,
                        &(struct wire_request){.type = XDS_CLUSTER, .node_id = id, .node_gateway = "envoy"}));
    CHECK(xds_call_send(k, XDS_DELTA, &(struct wire_request){.type = XDS_LISTENER}));
    return k;
}

/* The next response of that type, which is answered; what comes before it is taken. */
static void answer(struct xds_call *k, enum xds_type type, const char *refusal)
{
    for (bool found = false; !found;) {
        struct wire_response *r = xds_call_receive(k, XDS_DELTA, SOON_MS);

        CHECK(r != NULL);
        found = r->type == type;
        CHECK(xds_call_send(
            k, XDS_DELTA,
            &(struct wire_request){.type = r->type, .nonce = r->nonce, .refusal = found ? refusal : NULL}));
        wire_response_free(r);
    }
}

/* Both types' next responses, in whatever order they come. */
static void answer_either(struct xds_call *k, enum xds_type a, const char *refusal_a, enum xds_type b,
                          const char *refusal_b)
{
    for (bool found_a = false, found_b = false; !found_a || !found_b;) {
        struct wire_response *r = xds_call_receive(k, XDS_DELTA, SOON_MS);
        bool is_a, is_b;

        CHECK(r != NULL);
        is_a = r->type == a && !found_a;
        is_b = r->type == b && !found_b;
        found_a |= is_a;
        found_b |= is_b;
        CHECK(xds_call_send(k, XDS_DELTA,
                            &(struct wire_request){.type = r->type,
                                                   .nonce = r->nonce,
                                                   .refusal = is_a   ? refusal_a
                                                              : is_b ? refusal_b
                                                                     : NULL}));
        wire_response_free(r);
    }
}

/* ---- questions ---- */

static const struct xds_proxy *ask_proxies(struct world *w, const char *id, size_t *ret_n)
{
    struct xds_proxy *found;

    CHECK_INT(xds_status_proxies(w->status, id, w->arena, &found, ret_n), 0);
    return found;
}

static struct xds_verdict ask_bundle(struct world *w, struct xds_bundle b)
{
    struct xds_verdict v;

    CHECK_INT(xds_status_bundles(w->status, &b, 1, w->arena, &v), 0);
    return v;
}

/* What was sent to the server arrives in its time: asks until it is so (a test that hangs is ended). */
#define UNTIL(condition)                                                                                             \
    while (!(condition))                                                                                             \
        ;

static bool counts_are(struct world *w, enum xds_type type, uint64_t requested, uint64_t acked, uint64_t nacked)
{
    size_t n;
    const struct xds_proxy *p = ask_proxies(w, NULL, &n);

    return n == 1 && p->counts[type][XDS_REQUESTED] == requested && p->counts[type][XDS_ACKED] == acked &&
           p->counts[type][XDS_NACKED] == nacked;
}

/* The one that there is, once it is that. */
static const struct xds_proxy *await_presence(struct world *w, enum xds_presence_state presence)
{
    const struct xds_proxy *p;
    size_t n;

    do
        p = ask_proxies(w, NULL, &n);
    while (n != 1 || p->presence != presence);
    return p;
}

TEST(one_that_left_is_told_until_it_is_forgotten_and_one_that_is_connected_is_not_forgotten)
{
    const struct xds_proxy *p;
    struct xds_proxy *none;
    struct xds_call *k;
    struct world w;
    uint64_t version;
    size_t n;

    start_after(&w, NULL, LONG, 0);
    publish_one(&w, XDS_CLUSTER, "a", "1");
    k = connect_as(&w, "node-1");
    answer(k, XDS_CLUSTER, NULL);
    p = await_presence(&w, XDS_CONNECTED);
    CHECK_INT(xds_status_forget(w.status, p->id), -EBUSY);
    CHECK_INT(xds_status_forget(w.status, arena_printf(w.arena, "%sx", p->id)), -ENOENT);
    CHECK_INT(xds_status_forget(w.status, "1-1"), -ENOENT);
    xds_call_free(k);
    CHECK_STR(await_presence(&w, XDS_GONE)->id, p->id);
    p = ask_proxies(&w, p->id, &n);
    CHECK_INT(n, 1);
    CHECK_STR(p->node_id, "node-1");
    CHECK(p->left_at >= p->connected_at && p->ended != NULL);
    CHECK_INT(p->n_resources, 0);
    version = xds_status_version(w.status);
    CHECK_INT(xds_status_forget(w.status, p->id), 0);
    CHECK(w.version_removed > version); /* an answer from before is none to who is told of it */
    CHECK_INT(xds_status_forget(w.status, p->id), -ENOENT);
    CHECK_INT(xds_status_proxies(w.status, p->id, w.arena, &none, &n), -ENOENT);
    stop(&w);
}

TEST(who_is_there_when_the_server_stops_is_away_when_another_starts_until_it_comes_back)
{
    const struct xds_proxy *p;
    struct world w, next;
    struct xds_call *k;
    struct notes noted;
    size_t n;

    start_after(&w, NULL, LONG, 0);
    publish_one(&w, XDS_CLUSTER, "a", "1");
    k = connect_as(&w, "node-1");
    answer(k, XDS_CLUSTER, NULL);
    p = await_presence(&w, XDS_CONNECTED);
    xds_server_stop(take_ptr(w.server));
    xds_call_free(k);
    noted = w.noted;
    w.noted = (struct notes){0};
    CHECK_INT(noted.n, 1);
    start_after(&next, &noted, LONG, LONG);
    notes_clear(&noted);
    publish_one(&next, XDS_CLUSTER, "a", "1");
    CHECK_STR(await_presence(&next, XDS_AWAY)->id, p->id);
    CHECK_STR(ask_proxies(&next, NULL, &n)->ended, "igwd was stopped");
    k = connect_as(&next, "node-1");
    answer(k, XDS_CLUSTER, NULL);
    CHECK(strcmp(await_presence(&next, XDS_CONNECTED)->id, p->id) != 0);
    xds_call_free(k);
    stop(&next);
    stop(&w);
}

TEST(a_connected_proxy_is_told_with_what_it_acked)
{
    struct world w;
    struct xds_call *k;
    const struct xds_proxy *p;
    size_t n;

    start(&w);
    (void)ask_proxies(&w, NULL, &n);
    CHECK_INT(n, 0);
    publish_one(&w, XDS_CLUSTER, "a", "1");
    k = connect_as(&w, "node-1");
    UNTIL(counts_are(&w, XDS_CLUSTER, 1, 0, 0));
    answer(k, XDS_CLUSTER, NULL);
    UNTIL(counts_are(&w, XDS_CLUSTER, 0, 1, 0));
    p = ask_proxies(&w, NULL, &n);
    CHECK_STR(p->node_id, "node-1");
    CHECK_STR(p->gateway, "envoy");
    CHECK_INT(p->variant, XDS_DELTA);
    CHECK(strstr(p->peer, "127.0.0.1:") != NULL);
    CHECK(p->asked[XDS_CLUSTER] && p->asked[XDS_LISTENER] && !p->asked[XDS_ROUTE]);
    CHECK(p->connected_at > 0);
    CHECK(p->resources == NULL);
    xds_call_free(k);
    UNTIL(ask_proxies(&w, NULL, &n) == NULL || n == 0);
    stop(&w);
}

TEST(one_proxy_is_told_with_its_resources)
{
    struct world w;
    struct xds_call *k;
    const struct xds_proxy *p;
    struct xds_proxy *none;
    struct wire_batch *b;
    size_t n;

    start(&w);
    b = begin_batch();
    put(b, XDS_CLUSTER, "b", "1");
    put(b, XDS_CLUSTER, "a", "1");
    publish(&w, b);
    k = connect_as(&w, "node-1");
    answer(k, XDS_CLUSTER, NULL);
    CHECK(xds_call_send(k, XDS_DELTA, &(struct wire_request){.type = XDS_ROUTE, .names = LIST("r")}));
    UNTIL(counts_are(&w, XDS_CLUSTER, 0, 2, 0) && ask_proxies(&w, NULL, &n)->asked[XDS_ROUTE]);
    p = ask_proxies(&w, ask_proxies(&w, NULL, &n)->id, &n);
    CHECK_INT(n, 1);
    CHECK_INT(p->n_resources, 3);
    CHECK_STR(p->resources[0].name, "a");
    CHECK_STR(p->resources[1].name, "b");
    CHECK_INT(p->resources[1].state, XDS_ACKED);
    CHECK(p->resources[1].version != 0);
    CHECK_STR(p->resources[2].name, "r");
    CHECK_INT(p->resources[2].state, XDS_DOES_NOT_EXIST);
    CHECK_INT(p->counts[XDS_ROUTE][XDS_DOES_NOT_EXIST], 1);
    CHECK_INT(xds_status_proxies(w.status, "00000000-000001", w.arena, &none, &n), -ENOENT);
    CHECK_INT(xds_status_proxies(w.status, "nonsense", w.arena, &none, &n), -ENOENT);
    CHECK_INT(xds_status_proxies(w.status, arena_printf(w.arena, "%sx", p->id), w.arena, &none, &n), -ENOENT);
    xds_call_free(k);
    stop(&w);
}

static bool is_refused(struct world *w, const char *words)
{
    size_t n;
    const struct xds_proxy *all = ask_proxies(w, NULL, &n);
    struct xds_proxy *p;

    if (n != 1 || xds_status_proxies(w->status, all->id, w->arena, &p, &n) < 0)
        return false; /* it is gone, or not alone yet */
    for (size_t i = 0; i < p->n_resources; i++)
        if (strcmp(p->resources[i].name, "bad") == 0)
            return p->resources[i].state == XDS_NACKED && strcmp(p->resources[i].words, words) == 0;
    return false;
}

TEST(what_was_refused_stays_visible_as_long_as_it_is_held_back)
{
    struct world w;
    struct xds_call *k;
    struct wire_batch *b;

    start(&w);
    b = begin_batch();
    put(b, XDS_CLUSTER, "bad", "1");
    publish(&w, b);
    k = connect_as(&w, "node-1");
    answer(k, XDS_CLUSTER, "bad is no good");
    UNTIL(is_refused(&w, "bad is no good"));
    CHECK(counts_are(&w, XDS_CLUSTER, 0, 0, 1));
    xds_call_free(k);
    k = connect_as(&w, "node-1");
    UNTIL(is_refused(&w, "bad is no good"));
    publish_one(&w, XDS_CLUSTER, "bad", "2");
    UNTIL(counts_are(&w, XDS_CLUSTER, 1, 0, 0));
    xds_call_free(k);
    stop(&w);
}

static bool verdict_is(struct world *w, struct xds_bundle b, uint32_t proxies, uint32_t acked, uint32_t nacked)
{
    struct xds_verdict v = ask_bundle(w, b);

    return v.known && v.proxies == proxies && v.acked == acked && v.nacked == nacked;
}

TEST(a_bundle_is_acked_by_those_that_acked_all_of_it)
{
    struct world w;
    struct xds_call *one, *two;
    struct wire_batch *b;
    const char *routes[] = {"r"}, *secrets[] = {"nothing"}, *refused[] = {"s"};
    const struct xds_bundle no_secret = {
        .gateway = "envoy", .cluster = "a", .listener = "l", .secrets = secrets, .n_secrets = 1};
    const struct xds_bundle with_secret = {.gateway = "envoy", .cluster = "a", .secrets = refused, .n_secrets = 1};
    const struct xds_bundle ab = {.gateway = "envoy", .cluster = "a", .listener = "l"},
                            with_route = {
                                .gateway = "envoy", .cluster = "a", .listener = "l", .routes = routes, .n_routes = 1};
    const struct xds_bundle absent = {.gateway = "envoy", .cluster = "a", .listener = "nothing"};

    start(&w);
    b = begin_batch();
    put(b, XDS_CLUSTER, "a", "1");
    put(b, XDS_LISTENER, "l", "1");
    put(b, XDS_ROUTE, "r", "1");
    publish(&w, b);
    UNTIL(verdict_is(&w, ab, 0, 0, 0));
    one = connect_as(&w, "node-1");
    two = connect_as(&w, "node-2");
    answer(one, XDS_CLUSTER, NULL);
    answer(one, XDS_LISTENER, NULL);
    answer(two, XDS_CLUSTER, NULL);
    UNTIL(verdict_is(&w, ab, 2, 1, 0));
    CHECK(verdict_is(&w, with_route, 2, 0, 0));
    CHECK(xds_call_send(one, XDS_DELTA, &(struct wire_request){.type = XDS_ROUTE, .names = LIST("r")}));
    answer(one, XDS_ROUTE, NULL);
    UNTIL(verdict_is(&w, with_route, 2, 1, 0));
    CHECK(verdict_is(&w, absent, 2, 0, 0));
    CHECK(verdict_is(&w, no_secret, 2, 1, 0)); /* what needs it is left out as well */
    CHECK(!ask_bundle(&w, (struct xds_bundle){.gateway = "nowhere", .cluster = "a"}).known);
    publish_one(&w, XDS_SECRET, "s", "1");
    UNTIL(verdict_is(&w, with_secret, 2, 0, 0));
    CHECK(xds_call_send(two, XDS_DELTA, &(struct wire_request){.type = XDS_SECRET, .names = LIST("s")}));
    answer_either(two, XDS_SECRET, "s: no", XDS_LISTENER, "l: no");
    UNTIL(verdict_is(&w, with_secret, 2, 0, 1));
    UNTIL(verdict_is(&w, ab, 2, 1, 1));
    CHECK_STR(ask_bundle(&w, ab).words, "l: no");
    CHECK_STR(ask_bundle(&w, ab).name, "l");
    CHECK_INT(ask_bundle(&w, ab).type, XDS_LISTENER);
    CHECK(verdict_is(&w, (struct xds_bundle){.gateway = "envoy", .cluster = "a"}, 2, 2, 0));
    xds_call_free(two);
    UNTIL(verdict_is(&w, ab, 1, 1, 0));
    xds_call_free(one);
    stop(&w);
}

TEST(many_bundles_are_asked_about_at_once)
{
    struct world w;
    struct xds_call *k;
    struct wire_batch *b = begin_batch();
    char(*names)[NAME] = (char(*)[NAME])mem_calloc(MANY, NAME);
    struct xds_bundle *bundles = mem_array(struct xds_bundle, MANY);
    struct xds_verdict *found = mem_array(struct xds_verdict, MANY);
    size_t acked;

    start(&w);
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], NAME, "c%d", i);
        put(b, XDS_CLUSTER, names[i], "1");
        bundles[i] = (struct xds_bundle){.gateway = i % 2 ? "envoy" : "other", .cluster = names[i]};
    }
    publish(&w, b);
    k = connect_as(&w, "node-1");
    answer(k, XDS_CLUSTER, NULL);
    do {
        acked = 0;
        CHECK_INT(xds_status_bundles(w.status, bundles, MANY, w.arena, found), 0);
        for (int i = 0; i < MANY; i++)
            acked += found[i].acked;
    } while (acked < MANY / 2);
    for (int i = 0; i < MANY; i++) {
        CHECK_INT(found[i].proxies, i % 2);
        CHECK_INT(found[i].acked, i % 2);
    }
    publish_one(&w, XDS_CLUSTER, "c7", "2");
    UNTIL(verdict_is(&w, bundles[7], 1, 0, 0));
    CHECK(verdict_is(&w, bundles[9], 1, 1, 0));
    xds_call_free(k);
    stop(&w);
    mem_free(names);
    mem_free(bundles);
    mem_free(found);
}

/* ---- rollouts ---- */

struct waited {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned n;
    enum xds_wait_end end;
};

static void on_waited(void *arg, uint64_t revision, enum xds_wait_end end)
{
    struct waited *x = arg;

    (void)revision; /* the test knows which */
    pthread_mutex_lock(&x->lock);
    x->n++;
    x->end = end;
    pthread_cond_signal(&x->changed);
    pthread_mutex_unlock(&x->lock);
}

static enum xds_wait_end wait_end(struct waited *x)
{
    enum xds_wait_end end;

    pthread_mutex_lock(&x->lock);
    while (x->n == 0)
        pthread_cond_wait(&x->changed, &x->lock);
    CHECK_INT(x->n, 1);
    end = x->end;
    pthread_mutex_unlock(&x->lock);
    return end;
}

#define WAITED                                                                                                       \
    {                                                                                                                \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, XDS_WAIT_STOPPED                                     \
    }

TEST(a_rollout_names_each_proxy_and_a_wait_ends_with_the_last_ack)
{
    struct world w;
    struct xds_call *one, *two;
    struct xds_rollout_status r;
    struct waited acked = WAITED, refused = WAITED;
    uint64_t id;

    start(&w);
    publish_one(&w, XDS_CLUSTER, "a", "1");
    one = connect_as(&w, "node-1");
    two = connect_as(&w, "node-2");
    answer(one, XDS_CLUSTER, NULL);
    answer(two, XDS_CLUSTER, NULL);
    UNTIL(verdict_is(&w, (struct xds_bundle){.gateway = "envoy", .cluster = "a"}, 2, 2, 0));
    publish_one(&w, XDS_CLUSTER, "a", "2");
    CHECK_INT(xds_status_wait(w.status, 2, WAIT_SECONDS, on_waited, &acked, &id), 0);
    answer(one, XDS_CLUSTER, NULL);
    UNTIL(verdict_is(&w, (struct xds_bundle){.gateway = "envoy", .cluster = "a"}, 2, 1, 0));
    CHECK_INT(xds_status_rollout(w.status, 2, w.arena, &r), 0);
    CHECK_INT(r.rollout.state, XDS_ROLLOUT_PENDING);
    CHECK_INT(r.n_proxies, 2);
    CHECK_INT(r.n_gateways, 1);
    CHECK_STR(r.gateways[0], "envoy");
    CHECK(strcmp(r.proxies[0].id, r.proxies[1].id) < 0);
    for (size_t i = 0; i < 2; i++)
        CHECK_INT(r.proxies[i].state,
                  strcmp(r.proxies[i].node_id, "node-1") == 0 ? XDS_ROLLOUT_ACKED : XDS_ROLLOUT_PENDING);
    answer(two, XDS_CLUSTER, NULL);
    CHECK_INT(wait_end(&acked), XDS_WAIT_ACKED);
    CHECK_INT(xds_status_rollout(w.status, 2, w.arena, &r), 0);
    CHECK_INT(r.rollout.state, XDS_ROLLOUT_ACKED);
    CHECK(r.rollout.completed_at >= r.rollout.published_at);
    publish_one(&w, XDS_CLUSTER, "a", "3");
    CHECK_INT(xds_status_wait(w.status, 3, WAIT_SECONDS, on_waited, &refused, &id), 0);
    answer(two, XDS_CLUSTER, "a: no");
    CHECK_INT(wait_end(&refused), XDS_WAIT_REFUSED);
    CHECK_INT(xds_status_rollout(w.status, 3, w.arena, &r), 0);
    CHECK_INT(r.rollout.state, XDS_ROLLOUT_REFUSED);
    for (size_t i = 0; i < 2; i++)
        if (strcmp(r.proxies[i].node_id, "node-2") == 0) {
            CHECK_INT(r.proxies[i].state, XDS_ROLLOUT_REFUSED);
            CHECK_INT(r.proxies[i].n_errors, 1);
            CHECK_STR(r.proxies[i].errors[0].name, "a");
            CHECK_STR(r.proxies[i].errors[0].words, "a: no");
        }
    xds_call_free(one);
    xds_call_free(two);
    stop(&w);
}

TEST(a_wait_ends_in_time_is_cancelled_or_ends_with_the_server)
{
    struct world w;
    struct xds_call *k;
    struct waited expired = WAITED, cancelled = WAITED, stopped = WAITED;
    uint64_t id, other;

    start(&w);
    publish_one(&w, XDS_CLUSTER, "a", "1");
    k = connect_as(&w, "node-1");
    answer(k, XDS_CLUSTER, NULL);
    UNTIL(counts_are(&w, XDS_CLUSTER, 0, 1, 0));
    CHECK_INT(xds_status_wait(w.status, 2, WAIT_SECONDS, on_waited, &cancelled, &id), 0);
    CHECK_INT(xds_status_wait(w.status, 2, WAIT_SECONDS, on_waited, &stopped, &other), 0);
    CHECK(id != other);
    CHECK_INT(xds_status_cancel(w.status, id), 0);
    CHECK_INT(xds_status_wait(w.status, 2, 1, on_waited, &expired, &other), 0);
    CHECK_INT(wait_end(&expired), XDS_WAIT_EXPIRED);
    CHECK_INT(stopped.n, 0);
    xds_call_free(k);
    stop(&w);
    CHECK_INT(wait_end(&stopped), XDS_WAIT_STOPPED);
    CHECK_INT(cancelled.n, 0);
}

/* ---- threads ---- */

static void *ask_all_the_time(void *arg)
{
    struct world *w = arg;
    struct arena *arena = arena_new();
    const struct xds_bundle b = {.gateway = "envoy", .cluster = "a"};

    for (int i = 0; i < QUESTIONS; i++) {
        struct xds_rollout_status r;
        struct xds_verdict v;
        struct xds_proxy *p;
        size_t n;

        if (xds_status_proxies(w->status, NULL, arena, &p, &n) < 0 ||
            xds_status_bundles(w->status, &b, 1, arena, &v) < 0 || xds_status_rollout(w->status, 1, arena, &r) < 0)
            break;
        if (n > 0 && xds_status_proxies(w->status, p[0].id, arena, &p, &n) < 0)
            continue; /* it left */
    }
    arena_free(arena);
    return NULL;
}

TEST(several_threads_ask_while_everything_changes)
{
    struct world w;
    pthread_t threads[ASKERS];
    char content[NAME];

    start(&w);
    publish_one(&w, XDS_CLUSTER, "a", "1");
    for (int i = 0; i < ASKERS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, ask_all_the_time, &w), 0);
    for (int i = 0; i < QUESTIONS; i++) {
        struct xds_call *k = connect_as(&w, "node-1");

        snprintf(content, sizeof(content), "x%d", i);
        publish_one(&w, XDS_CLUSTER, "a", content);
        answer(k, XDS_CLUSTER, NULL);
        xds_call_free(k);
    }
    for (int i = 0; i < ASKERS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    stop(&w);
}
