/* Rollouts: which streams took a revision, who refused it, who waits for it, and what is told of it. The rules
 * against random interleavings: xds_model_test.c. */
#include "server/xds_news.h"
#include "server/xds_rollout.h"

#include "server/xds_journal.h"
#include "server/xds_stream.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MANY = XDS_JOURNAL_BATCH_MAX + 100, NAME = 32 };

struct world {
    struct xds_common common;
    clock_ns now;
    uint64_t revision;
    struct xds_news *news; /* NULL: nothing is told */
    struct buf told;       /* "Kind name change " of each, with A, M, R for the change */
};

struct client {
    struct world *world;
    struct xds_session *session;
    enum xds_variant variant;
    const char *gateway, *id;
    bool node_sent;
    char nonce[XDS_TYPES][24], version[XDS_TYPES][40];
};

static void on_ready(void *arg)
{
    (void)arg; /* the test asks by itself */
}

static bool is_allowed(void *arg, const char *gateway)
{
    (void)arg, (void)gateway; /* any */
    return true;
}

static void world_init(struct world *w)
{
    *w = (struct world){.now = CLOCK_NS_PER_S};
    w->common.directory = xds_directory_new();
    w->common.refusals = xds_refusals_new();
}

static void world_clear(struct world *w)
{
    xds_rollout_stop(w->common.directory);
    xds_directory_free(w->common.directory);
    xds_refusals_free(w->common.refusals);
}

/* ---- the tables ---- */

static struct wire_batch *begin_batch(void)
{
    struct wire_batch *b = wire_batch_new();

    wire_batch_gateway(b, "g");
    wire_batch_gateway(b, "h");
    return b;
}

static void apply(struct world *w, struct wire_batch *b, uint64_t revision)
{
    w->revision = revision;
    wire_batch_apply(b, w->common.directory, revision, true);
}

static void publish(struct world *w, const char *gateway, const char *name, const char *content)
{
    struct wire_batch *b = begin_batch();

    wire_batch_put_static(b, gateway, name, content);
    apply(w, b, w->revision + 1);
}

/* ---- clients ---- */

static void open_client(struct client *c, struct world *w, enum xds_variant variant, const char *gateway,
                        const char *id)
{
    struct xds_session_options o = {.common = &w->common,
                                    .variant = variant,
                                    .aggregated = true,
                                    .type = XDS_TYPES,
                                    .peer = "test",
                                    .allowed = is_allowed,
                                    .ready = on_ready,
                                    .arg = c};

    *c = (struct client){.world = w, .variant = variant, .gateway = gateway, .id = id};
    c->session = xds_session_new(&o, w->now);
}

static void close_client(struct client *c)
{
    xds_session_free(take_ptr(c->session));
}

static void send(struct client *c, struct wire_request r)
{
    if (!c->node_sent) {
        r.node_id = c->id;
        r.node_gateway = c->gateway;
        c->node_sent = true;
    }
    wire_session_send(c->session, c->variant, &r, c->world->now);
}

static void ask(struct client *c, enum xds_type type, const char *const *names)
{
    send(c, (struct wire_request){.type = type, .names = names});
}

/* The type of the next message, whose nonce and version are kept; XDS_TYPES: there is none. */
static enum xds_type receive(struct client *c)
{
    struct wire_response *r = wire_session_next(c->session, c->variant, c->world->now);
    enum xds_type type;

    if (!r)
        return XDS_TYPES;
    type = r->type;
    snprintf(c->nonce[type], sizeof(c->nonce[type]), "%s", r->nonce);
    if (r->version)
        snprintf(c->version[type], sizeof(c->version[type]), "%s", r->version);
    wire_response_free(r);
    return type;
}

static void answer(struct client *c, enum xds_type type, const char *refusal)
{
    send(c, (struct wire_request){.type = type,
                                  .nonce = c->nonce[type],
                                  .version = c->variant == XDS_SOTW && !refusal ? c->version[type] : NULL,
                                  .refusal = refusal});
}

static void take(struct client *c, enum xds_type expected)
{
    CHECK_INT(receive(c), expected);
    answer(c, expected, NULL);
}

static void take_all(struct client *c)
{
    enum xds_type type;

    while ((type = receive(c)) != XDS_TYPES)
        answer(c, type, NULL);
}

/* A client that asked for clusters and listeners and took all that there is. */
static void open_synced(struct client *c, struct world *w, enum xds_variant variant, const char *gateway,
                        const char *id)
{
    open_client(c, w, variant, gateway, id);
    ask(c, XDS_CLUSTER, NULL);
    ask(c, XDS_LISTENER, NULL);
    take_all(c);
}

/* ---- what is known ---- */

static enum xds_rollout_state state_of(struct world *w, uint64_t revision)
{
    struct xds_rollout r;

    xds_rollout_get(w->common.directory, revision, &r);
    return r.state;
}

static bool has_passed(const struct client *c, uint64_t revision)
{
    uint64_t sequence = xds_rollout_sequence(c->session->gateway, revision);

    CHECK(sequence != 0);
    return c->session->progress.passed >= sequence;
}

/* That and no more is what it refuses: the cluster that the revision brought. */
static bool refuses_cluster_of(const struct client *c, uint64_t revision)
{
    const struct xds_progress *p = &c->session->progress;

    return p->n_refused == 1 && p->refused[0].type == XDS_CLUSTER &&
           p->refused[0].sequence == xds_rollout_sequence(c->session->gateway, revision);
}

struct waited {
    unsigned n;
    enum xds_wait_end end;
    uint64_t revision;
};

static void on_waited(void *arg, uint64_t revision, enum xds_wait_end end)
{
    struct waited *x = arg;

    x->n++;
    x->end = end;
    x->revision = revision;
}

static void wait_for(struct world *w, uint64_t id, uint64_t revision, struct waited *x)
{
    *x = (struct waited){0};
    CHECK_INT(xds_rollout_wait(w->common.directory, id, revision, w->now + CLOCK_NS_PER_S, on_waited, x), 0);
}

TEST(a_revision_is_pending_until_each_proxy_acked_it)
{
    for (enum xds_variant v = XDS_SOTW; v < XDS_VARIANTS; v++) {
        struct world w;
        struct client a, b;
        struct waited x;

        world_init(&w);
        publish(&w, "g", "c", "1");
        CHECK_INT(state_of(&w, 1), XDS_ROLLOUT_ACKED); /* nobody is connected */
        open_synced(&a, &w, v, "g", "a");
        open_synced(&b, &w, v, "g", "b");
        CHECK(has_passed(&a, 1) && has_passed(&b, 1));
        publish(&w, "g", "c", "2");
        wait_for(&w, 1, 2, &x);
        take(&a, XDS_CLUSTER);
        CHECK(has_passed(&a, 2));
        CHECK(!has_passed(&b, 2));
        CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_PENDING);
        CHECK_INT(receive(&b), XDS_CLUSTER);
        CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_PENDING); /* sent is not acked */
        CHECK_INT(x.n, 0);
        answer(&b, XDS_CLUSTER, NULL);
        CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
        CHECK_INT(x.n, 1);
        CHECK_INT(x.end, XDS_WAIT_ACKED);
        close_client(&a);
        close_client(&b);
        world_clear(&w);
    }
}

TEST(a_revision_that_changes_nothing_for_a_gateway_is_complete_there)
{
    struct world w;
    struct client a;
    struct waited x;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish(&w, "h", "c", "1");
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    CHECK_INT(xds_rollout_sequence(a.session->gateway, 2), 0);
    wait_for(&w, 1, 2, &x);
    CHECK_INT(x.n, 1);
    apply(&w, begin_batch(), 3); /* and for none */
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(what_does_not_concern_a_stream_does_not_hold_it_up)
{
    struct world w;
    struct client a;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    ask(&a, XDS_ENDPOINT, LIST("c"));
    take_all(&a);
    struct wire_batch *b = begin_batch();
    wire_batch_put(b, "g", XDS_ENDPOINT, "other", "1");
    apply(&w, b, 2);
    CHECK(has_passed(&a, 2));
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(an_endpoint_that_flips_does_not_open_its_revision_again)
{
    struct world w;
    struct client a;
    struct wire_batch *b;

    world_init(&w);
    b = begin_batch();
    wire_batch_put(b, "g", XDS_CLUSTER, "c", "1");
    wire_batch_put(b, "g", XDS_ENDPOINT, "c", "up");
    apply(&w, b, 1);
    open_client(&a, &w, XDS_DELTA, "g", "a");
    ask(&a, XDS_CLUSTER, NULL);
    ask(&a, XDS_LISTENER, NULL);
    ask(&a, XDS_ENDPOINT, LIST("c"));
    take_all(&a);
    publish(&w, "g", "d", "1");
    take_all(&a);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    b = begin_batch();
    wire_batch_put(b, "g", XDS_ENDPOINT, "c", "down");
    apply(&w, b, 2);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    CHECK(has_passed(&a, 2));
    close_client(&a);
    world_clear(&w);
}

TEST(newer_content_of_the_same_resources_counts)
{
    struct world w;
    struct client a;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish(&w, "g", "c", "2");
    publish(&w, "g", "c", "3");
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_PENDING);
    take(&a, XDS_CLUSTER);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(an_ack_of_older_content_counts_for_its_own_revision_only)
{
    struct world w;
    struct client a;
    char second[24];

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish(&w, "g", "c", "2");
    CHECK_INT(receive(&a), XDS_CLUSTER);
    snprintf(second, sizeof(second), "%s", a.nonce[XDS_CLUSTER]);
    publish(&w, "g", "c", "3");
    CHECK_INT(receive(&a), XDS_CLUSTER);
    publish(&w, "g", "c", "4");
    send(&a, (struct wire_request){.type = XDS_CLUSTER, .nonce = second});
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_PENDING);
    answer(&a, XDS_CLUSTER, NULL);
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
    CHECK_INT(state_of(&w, 4), XDS_ROLLOUT_PENDING);
    take(&a, XDS_CLUSTER);
    CHECK_INT(state_of(&w, 4), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(a_removal_is_acked_like_a_change)
{
    for (enum xds_variant v = XDS_SOTW; v < XDS_VARIANTS; v++) {
        struct world w;
        struct client a;
        struct wire_batch *b;

        world_init(&w);
        publish(&w, "g", "c", "1");
        open_synced(&a, &w, v, "g", "a");
        w.now += CLOCK_NS_PER_S; /* a client that just came might have listeners that use it */
        b = begin_batch();
        wire_batch_put(b, "g", XDS_CLUSTER, "c", NULL);
        apply(&w, b, 2);
        CHECK_INT(receive(&a), XDS_CLUSTER);
        CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_PENDING);
        answer(&a, XDS_CLUSTER, NULL);
        CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
        close_client(&a);
        world_clear(&w);
    }
}

TEST(content_that_comes_back_is_acked_once_the_client_left_what_it_was_sent_between)
{
    static const char *const names[] = {"s", NULL};

    for (enum xds_variant v = XDS_SOTW; v < XDS_VARIANTS; v++) {
        struct world w;
        struct client a;

        world_init(&w);
        publish(&w, "g", "c", "1");
        open_synced(&a, &w, v, "g", "a");
        publish(&w, "g", "c", "2");
        CHECK_INT(receive(&a), XDS_CLUSTER);
        publish(&w, "g", "c", "1");
        CHECK_INT(receive(&a), XDS_CLUSTER);
        ask(&a, XDS_SECRET, names); /* it says something, and nothing of clusters: maybe it has 2 by now */
        CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_PENDING);
        answer(&a, XDS_CLUSTER, NULL);
        CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
        close_client(&a);
        world_clear(&w);
    }
}

TEST(what_was_sent_and_taken_away_is_gone_once_the_client_says_so)
{
    static const char *const names[] = {"s", NULL};

    for (enum xds_variant v = XDS_SOTW; v < XDS_VARIANTS; v++) {
        struct world w;
        struct client a;
        struct wire_batch *b;

        world_init(&w);
        publish(&w, "g", "c", "1");
        open_synced(&a, &w, v, "g", "a");
        w.now += CLOCK_NS_PER_S; /* a client that just came might have listeners that use it */
        publish(&w, "g", "d", "1");
        CHECK_INT(receive(&a), XDS_CLUSTER);
        b = begin_batch();
        wire_batch_put(b, "g", XDS_CLUSTER, "d", NULL);
        apply(&w, b, 3);
        CHECK_INT(receive(&a), XDS_CLUSTER);
        ask(&a, XDS_SECRET, names);
        CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_PENDING);
        CHECK(!has_passed(&a, 3));
        close_client(&a);
        world_clear(&w);
    }
}

TEST(what_a_client_brought_along_is_acked_when_it_comes_back_after_a_refusal)
{
    struct resource *first = wire_resource_new(XDS_CLUSTER, "c", "1", NULL, NULL, NULL);
    struct world w;
    struct client a;
    char version[17];

    snprintf(version, sizeof(version), "%016llx", (unsigned long long)first->version);
    world_init(&w);
    publish(&w, "g", "other", "1");
    open_client(&a, &w, XDS_DELTA, "g", "a");
    send(&a, (struct wire_request){
                 .type = XDS_CLUSTER, .names = LIST("c"), .have = LIST("c"), .have_versions = LIST(version)});
    ask(&a, XDS_LISTENER, NULL);
    publish(&w, "g", "c", "2");
    CHECK_INT(receive(&a), XDS_CLUSTER);
    answer(&a, XDS_CLUSTER, "it is bad");
    CHECK_INT(receive(&a), XDS_LISTENER); /* it has none; nor has it to be told of a form that it has itself */
    answer(&a, XDS_LISTENER, NULL);
    CHECK_INT(receive(&a), XDS_TYPES);
    publish(&w, "g", "c", "1");
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_PENDING);
    take(&a, XDS_CLUSTER);
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
    resource_unref(first);
}

static void publish_route(struct world *w, const char *content)
{
    struct wire_batch *b = begin_batch();

    wire_batch_put(b, "g", XDS_ROUTE, "r", content);
    apply(w, b, w->revision + 1);
}

/* A client that wants the route configuration says so with each request. */
static void answer_route(struct client *c, const char *version, const char *refusal)
{
    bool sotw = c->variant == XDS_SOTW;

    send(c, (struct wire_request){.type = XDS_ROUTE,
                                  .names = sotw ? LIST("r") : NULL,
                                  .version = sotw ? version : NULL,
                                  .nonce = c->nonce[XDS_ROUTE],
                                  .refusal = refusal});
}

TEST(what_was_gone_while_another_form_was_refused_is_acked_when_it_comes_back)
{
    for (enum xds_variant v = XDS_SOTW; v < XDS_VARIANTS; v++) {
        struct world w;
        struct client a;
        char version[40];

        world_init(&w);
        publish_route(&w, "1");
        open_synced(&a, &w, v, "g", "a");
        ask(&a, XDS_ROUTE, LIST("r"));
        CHECK_INT(receive(&a), XDS_ROUTE);
        answer_route(&a, a.version[XDS_ROUTE], NULL);
        snprintf(version, sizeof(version), "%s", a.version[XDS_ROUTE]);
        publish_route(&w, "2");
        CHECK_INT(receive(&a), XDS_ROUTE);
        publish_route(&w, NULL);
        answer_route(&a, version, "r: it is bad");
        while (receive(&a) != XDS_TYPES)
            answer_route(&a, a.version[XDS_ROUTE], NULL);
        publish_route(&w, "1");
        CHECK_INT(receive(&a), XDS_ROUTE);
        CHECK_INT(state_of(&w, 4), XDS_ROLLOUT_PENDING);
        answer_route(&a, a.version[XDS_ROUTE], NULL);
        CHECK_INT(state_of(&w, 4), XDS_ROLLOUT_ACKED);
        close_client(&a);
        world_clear(&w);
    }
}

TEST(a_refusal_is_told_at_once_and_stays)
{
    struct world w;
    struct client a, b;
    struct waited x;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    open_synced(&b, &w, XDS_DELTA, "g", "b");
    publish(&w, "g", "c", "bad");
    wait_for(&w, 1, 2, &x);
    CHECK_INT(receive(&a), XDS_CLUSTER);
    answer(&a, XDS_CLUSTER, "no such thing");
    CHECK_INT(x.n, 1);
    CHECK_INT(x.end, XDS_WAIT_REFUSED);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_REFUSED);
    CHECK(refuses_cluster_of(&a, 2));
    CHECK_INT(b.session->progress.n_refused, 0);
    take_all(&a);
    take_all(&b);
    CHECK(has_passed(&a, 2) && has_passed(&b, 2)); /* both answered */
    publish(&w, "g", "c", "good");
    take_all(&a);
    take_all(&b);
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_REFUSED);
    close_client(&a);
    close_client(&b);
    world_clear(&w);
}

TEST(a_proxy_that_comes_back_still_refuses)
{
    struct world w;
    struct client a;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish(&w, "g", "c", "bad");
    CHECK_INT(receive(&a), XDS_CLUSTER);
    answer(&a, XDS_CLUSTER, "no such thing");
    close_client(&a);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    CHECK(has_passed(&a, 2));
    CHECK(refuses_cluster_of(&a, 2));
    close_client(&a);
    world_clear(&w);
}

TEST(a_proxy_that_connects_later_is_pending_until_it_took_a_state_at_least_as_new)
{
    struct world w;
    struct client a;

    world_init(&w);
    publish(&w, "g", "c", "1");
    publish(&w, "g", "d", "1");
    open_client(&a, &w, XDS_DELTA, "g", "a");
    ask(&a, XDS_CLUSTER, NULL);
    take_all(&a);
    CHECK(!has_passed(&a, 2)); /* it has not asked for listeners yet */
    ask(&a, XDS_LISTENER, NULL);
    CHECK(has_passed(&a, 1) && has_passed(&a, 2));
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(a_client_that_never_asks_for_listeners_is_not_waited_for_without_end)
{
    struct world w;
    struct client a;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_client(&a, &w, XDS_DELTA, "g", "a");
    ask(&a, XDS_CLUSTER, NULL);
    take_all(&a);
    CHECK(!has_passed(&a, 1));
    CHECK(xds_session_deadline(a.session) <= w.now + XDS_SURVEY_PATIENCE_SECONDS * CLOCK_NS_PER_S);
    w.now += XDS_SURVEY_PATIENCE_SECONDS * CLOCK_NS_PER_S;
    take_all(&a);
    CHECK(has_passed(&a, 1));
    close_client(&a);
    world_clear(&w);
}

TEST(a_cluster_counts_once_its_assignment_was_taken_and_a_listener_with_its_routes)
{
    struct world w;
    struct client a;
    struct wire_batch *b;

    world_init(&w);
    publish(&w, "g", "other", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    b = begin_batch();
    wire_batch_put(b, "g", XDS_CLUSTER, "c", "1");
    wire_batch_put(b, "g", XDS_ENDPOINT, "c", "up");
    apply(&w, b, 2);
    take(&a, XDS_CLUSTER);
    CHECK(!has_passed(&a, 2));
    ask(&a, XDS_ENDPOINT, LIST("c"));
    take(&a, XDS_ENDPOINT);
    CHECK(has_passed(&a, 2));
    b = begin_batch();
    wire_batch_change(b, "g", XDS_LISTENER, "l", wire_resource_new(XDS_LISTENER, "l", "1", NULL, LIST("r"), NULL));
    wire_batch_put(b, "g", XDS_ROUTE, "r", "1");
    apply(&w, b, 3);
    take(&a, XDS_LISTENER);
    CHECK(!has_passed(&a, 3));
    ask(&a, XDS_ROUTE, LIST("r"));
    take(&a, XDS_ROUTE);
    CHECK(has_passed(&a, 3));
    close_client(&a);
    world_clear(&w);
}

TEST(who_leaves_is_waited_for_no_longer)
{
    struct world w;
    struct client a, b;
    struct waited x;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    open_synced(&b, &w, XDS_DELTA, "g", "b");
    publish(&w, "g", "c", "2");
    wait_for(&w, 1, 2, &x);
    take(&a, XDS_CLUSTER);
    CHECK_INT(x.n, 0);
    close_client(&b);
    CHECK_INT(x.n, 1);
    CHECK_INT(x.end, XDS_WAIT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(a_gateway_that_is_no_more_is_waited_for_no_longer)
{
    struct world w;
    struct client a;
    struct wire_batch *b;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish(&w, "g", "c", "2");
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_PENDING);
    b = wire_batch_new();
    wire_batch_gateway(b, "h");
    apply(&w, b, 3);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(a_batch_that_is_too_large_to_be_written_down_is_surveyed)
{
    struct world w;
    struct client a;
    struct wire_batch *b;
    char name[NAME];

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    b = begin_batch();
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        wire_batch_put_static(b, "g", name, "1");
    }
    apply(&w, b, 2);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_PENDING);
    publish(&w, "g", "c", "3");
    take_all(&a);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_ACKED);
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(a_stream_that_the_journal_ran_away_from_surveys_again)
{
    struct world w;
    struct client a;
    char content[NAME];

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    for (int i = 0; i <= XDS_JOURNAL_MAX + 1; i++) {
        struct wire_batch *b = begin_batch();

        snprintf(content, sizeof(content), "x%d", i);
        wire_batch_put_static(b, "g", "c", content);
        apply(&w, b, 2);
    }
    CHECK(a.session->progress.surveying);
    CHECK_INT(state_of(&w, 2), XDS_ROLLOUT_PENDING);
    take_all(&a);
    CHECK(has_passed(&a, 2));
    publish(&w, "g", "c", "last");
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_PENDING);
    take_all(&a);
    CHECK_INT(state_of(&w, 3), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(old_revisions_are_forgotten)
{
    struct world w;
    struct client a;
    struct waited x, forgotten;
    struct xds_rollout r;
    char content[NAME];

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish(&w, "g", "c", "2");
    wait_for(&w, 1, 2, &x);
    for (int i = 0; i < XDS_REVISIONS_MAX; i++) {
        snprintf(content, sizeof(content), "x%d", i);
        publish(&w, "g", "c", content);
    }
    CHECK_INT(x.n, 1);
    CHECK_INT(x.end, XDS_WAIT_FORGOTTEN);
    xds_rollout_get(w.common.directory, 2, &r);
    CHECK(r.state == XDS_ROLLOUT_UNKNOWN && r.forgotten);
    wait_for(&w, 2, 2, &forgotten);
    CHECK_INT(forgotten.end, XDS_WAIT_FORGOTTEN);
    xds_rollout_get(w.common.directory, w.revision + 1, &r);
    CHECK(r.state == XDS_ROLLOUT_UNKNOWN && !r.forgotten);
    take_all(&a);
    CHECK_INT(state_of(&w, w.revision), XDS_ROLLOUT_ACKED);
    close_client(&a);
    world_clear(&w);
}

TEST(a_wait_ends_when_its_time_is_over_or_it_is_cancelled)
{
    struct world w;
    struct client a;
    struct waited x, y, z;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish(&w, "g", "c", "2");
    wait_for(&w, 1, 2, &x);
    wait_for(&w, 2, 2, &y);
    wait_for(&w, 3, 99, &z); /* not published yet */
    xds_rollout_cancel(w.common.directory, 2);
    CHECK_INT(xds_rollout_expire(w.common.directory, w.now), w.now + CLOCK_NS_PER_S);
    CHECK_INT(x.n + z.n, 0);
    CHECK(xds_rollout_expire(w.common.directory, w.now + CLOCK_NS_PER_S) == INT64_MAX);
    CHECK_INT(x.n, 1);
    CHECK_INT(x.end, XDS_WAIT_EXPIRED);
    CHECK_INT(z.n, 1);
    CHECK_INT(y.n, 0);
    close_client(&a);
    CHECK_INT(y.n, 0);
    world_clear(&w);
}

TEST(a_revision_may_be_waited_for_before_it_is_published)
{
    struct world w;
    struct client a;
    struct waited x;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    wait_for(&w, 1, 2, &x);
    CHECK_INT(x.n, 0);
    publish(&w, "g", "c", "2");
    CHECK_INT(x.n, 0);
    take_all(&a);
    CHECK_INT(x.end, XDS_WAIT_ACKED);
    CHECK_INT(x.n, 1);
    close_client(&a);
    world_clear(&w);
}

TEST(not_more_may_wait_than_there_is_room_for)
{
    struct world w;
    struct client a;
    struct waited x;

    world_init(&w);
    publish(&w, "g", "c", "1");
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish(&w, "g", "c", "2");
    for (uint64_t i = 0; i < XDS_WAITERS_MAX; i++)
        wait_for(&w, i + 1, 2, &x);
    CHECK_INT(xds_rollout_wait(w.common.directory, 5000, 2, w.now, on_waited, &x), -ENOBUFS);
    xds_rollout_stop(w.common.directory);
    CHECK_INT(x.n, XDS_WAITERS_MAX);
    CHECK_INT(x.end, XDS_WAIT_STOPPED);
    close_client(&a);
    world_clear(&w);
}

TEST(a_walk_over_the_roster_meets_each_that_stays_once)
{
    struct world w;
    struct client a, b, c, d;

    world_init(&w);
    open_client(&a, &w, XDS_DELTA, "g", "a");
    open_client(&b, &w, XDS_DELTA, "g", "b");
    open_client(&c, &w, XDS_DELTA, "g", "c");
    xds_roster_begin(w.common.directory);
    CHECK(xds_roster_next(w.common.directory) == a.session);
    close_client(&a);
    close_client(&b); /* it was the next */
    open_client(&d, &w, XDS_DELTA, "g", "d");
    CHECK(xds_roster_next(w.common.directory) == c.session);
    CHECK(xds_roster_next(w.common.directory) == d.session);
    CHECK(xds_roster_next(w.common.directory) == NULL);
    close_client(&c);
    close_client(&d);
    world_clear(&w);
}

/* ---- what is told ---- */

static void on_told(void *arg, const char *kind, const char *name, enum event_change change)
{
    struct world *w = arg;
    static const char changes[] = {[EVENT_ADDED] = 'A', [EVENT_MODIFIED] = 'M', [EVENT_REMOVED] = 'R'};

    (void)buf_printf(&w->told, "%s %s %c ", kind, name, changes[change]);
}

static void news_init(struct world *w)
{
    world_init(w);
    buf_init(&w->told, 0);
    w->common.epoch = 0xe;
    w->news = xds_news_new(w->common.directory, on_told, w);
    publish(w, "g", "c", "0"); /* the gateways are known */
}

static void news_clear(struct world *w)
{
    xds_news_free(w->news);
    buf_clear(&w->told);
    world_clear(w);
}

/* A batch that is about exposures of gateway "g": a change of each one's cluster. content NULL: it changes none. */
static void publish_about(struct world *w, const char *content, size_t n, const char *const *exposures)
{
    struct wire_batch *b = begin_batch();
    _cleanup_(mem_free_p) struct xds_subject *subjects = mem_array(struct xds_subject, n);

    for (size_t i = 0; i < n; i++) {
        if (content)
            wire_batch_put_static(b, "g", exposures[i], content);
        subjects[i] = (struct xds_subject){"g", exposures[i]};
    }
    struct xds_batch *batch = wire_batch_finish(b, ++w->revision, true);
    batch->subjects = subjects;
    batch->n_subjects = n;
    xds_directory_apply(w->common.directory, batch);
    xds_news_applied(w->news, batch);
    xds_batch_free(batch);
}

/* What is told once so much time went by: a text of its own until the next call. */
static const char *told_after(struct world *w, unsigned ms)
{
    w->now += ms * (clock_ns)CLOCK_NS_PER_MS;
    buf_reset(&w->told);
    (void)xds_news_run(w->news, w->now); /* when it wants to run again is asked for elsewhere */
    return buf_cstr(&w->told);
}

/* It took, or said, something. */
static void stir(struct client *c)
{
    xds_news_stirred(c->world->news, c->session);
    (void)xds_news_run(c->world->news, c->world->now); /* too early to tell */
}

static void leave(struct client *c)
{
    struct world *w = c->world;

    xds_news_gone(w->news, c->session, false);
    close_client(c);
    (void)xds_news_run(w->news, w->now); /* too early to tell more */
}

TEST(a_proxy_is_told_of_when_it_came_when_it_has_something_else_and_when_it_went)
{
    struct world w;
    struct client a;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    stir(&a);
    CHECK_STR(told_after(&w, XDS_NEWS_DELAY_MS), "Proxy 0000000e-000001 A ");
    /* Nothing is another. */
    stir(&a);
    CHECK_STR(told_after(&w, XDS_NEWS_GAP_MS), "");
    publish(&w, "g", "c", "2");
    take(&a, XDS_CLUSTER);
    stir(&a);
    CHECK_STR(told_after(&w, XDS_NEWS_GAP_MS), "Proxy 0000000e-000001 M ");
    buf_reset(&w.told);
    leave(&a);
    CHECK_STR(buf_cstr(&w.told), "Proxy 0000000e-000001 R ");
    CHECK_INT(xds_news_run(w.news, w.now), INT64_MAX);
    news_clear(&w);
}

TEST(a_proxy_that_nothing_was_told_of_goes_in_silence)
{
    struct world w;
    struct client a;

    news_init(&w);
    open_client(&a, &w, XDS_DELTA, "g", "a");
    stir(&a);
    CHECK_STR(told_after(&w, XDS_NEWS_DELAY_MS), ""); /* it has not said who it is */
    leave(&a);
    CHECK_STR(told_after(&w, XDS_NEWS_GAP_MS), "");
    news_clear(&w);
}

TEST(one_that_went_before_it_was_told_of_takes_nothing_from_the_next_ones_delay)
{
    struct world w;
    struct client a, b;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    stir(&a);
    leave(&a);
    CHECK_STR(told_after(&w, XDS_NEWS_GAP_MS), "");
    open_synced(&b, &w, XDS_DELTA, "g", "b");
    buf_reset(&w.told);
    stir(&b);
    CHECK_STR(buf_cstr(&w.told), "");
    CHECK_STR(told_after(&w, XDS_NEWS_DELAY_MS), "Proxy 0000000e-000002 A ");
    leave(&b);
    news_clear(&w);
}

TEST(whatever_a_proxy_takes_it_is_told_of_once_a_second_at_most)
{
    struct world w;
    struct client a;
    unsigned n = 0;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    for (unsigned i = 0; i < 300; i++) { /* 100 a second */
        publish(&w, "g", "c", i % 2 ? "0" : "1");
        take(&a, XDS_CLUSTER);
        xds_news_stirred(w.news, a.session);
        n += *told_after(&w, 10) != '\0';
    }
    CHECK_INT(n, 3);
    leave(&a);
    news_clear(&w);
}

TEST(of_many_proxies_so_many_are_told_of_at_a_time_and_each_in_its_turn)
{
    enum { ALL = 2 * XDS_NEWS_AT_ONCE + 1 };
    struct world w;
    _cleanup_(mem_free_p) struct client *clients = mem_array(struct client, ALL);
    size_t total = 0;

    news_init(&w);
    for (unsigned i = 0; i < ALL; i++) {
        open_synced(&clients[i], &w, XDS_DELTA, "g", "a");
        stir(&clients[i]);
    }
    for (unsigned second = 0; second < 3; second++) {
        size_t n = 0;
        for (const char *at = told_after(&w, XDS_NEWS_GAP_MS); (at = strstr(at, "Proxy")) != NULL; at++)
            n++;
        CHECK(n <= XDS_NEWS_AT_ONCE);
        total += n;
    }
    CHECK_INT(total, ALL);
    for (unsigned i = 0; i < ALL; i++)
        leave(&clients[i]);
    news_clear(&w);
}

TEST(an_exposure_is_told_of_as_proxies_take_it_until_all_did)
{
    static const char *const one[] = {"x"}, *const other[] = {"y"};
    struct world w;
    struct client a, b, h;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    open_synced(&b, &w, XDS_SOTW, "g", "b");
    open_synced(&h, &w, XDS_DELTA, "h", "h");
    publish_about(&w, "1", 1, one);
    CHECK_STR(told_after(&w, XDS_NEWS_DELAY_MS), ""); /* nobody has it */
    publish_about(&w, "1", 1, other);
    take(&a, XDS_CLUSTER);
    stir(&a);
    CHECK(strstr(told_after(&w, XDS_NEWS_GAP_MS), "Exposure x M "));
    CHECK(!strstr(told_after(&w, XDS_NEWS_GAP_MS), "Exposure"));
    take_all(&b);
    take_all(&a);
    stir(&b);
    const char *last = told_after(&w, XDS_NEWS_GAP_MS);
    CHECK(strstr(last, "Exposure x M ") && strstr(last, "Exposure y M "));
    /* All have all. */
    stir(&b);
    CHECK_STR(told_after(&w, XDS_NEWS_GAP_MS), "");
    leave(&a);
    leave(&b);
    leave(&h);
    news_clear(&w);
}

TEST(each_step_of_a_rollout_is_told_of_for_what_shares_a_listener_with_what_was_changed)
{
    static const char *const one[] = {"x"};
    struct world w;
    struct client a, b;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    open_synced(&b, &w, XDS_DELTA, "g", "b");
    publish_about(&w, "1", 1, one);
    take(&a, XDS_CLUSTER);
    stir(&a);
    CHECK(strstr(told_after(&w, XDS_NEWS_GAP_MS), "Exposure x M Rollout 2 M "));
    w.revision--; /* under the same number: an endpoint that flips is no step of a rollout */
    publish_about(&w, "2", 1, one);
    take(&a, XDS_CLUSTER);
    stir(&a);
    const char *last = told_after(&w, XDS_NEWS_GAP_MS);
    CHECK(strstr(last, "Exposure x M ") && !strstr(last, "Rollout"));
    leave(&a);
    leave(&b);
    news_clear(&w);
}

TEST(a_change_of_very_many_exposures_is_told_of_by_each_step_of_its_rollout)
{
    enum { VAST = XDS_NEWS_SUBJECTS_MAX + 1 };
    static char names[VAST][NAME];
    static const char *many[VAST];
    struct world w;
    struct client a, b;

    for (unsigned i = 0; i < VAST; i++) {
        snprintf(names[i], NAME, "x%04u", i);
        many[i] = names[i];
    }
    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    open_synced(&b, &w, XDS_DELTA, "g", "b");
    publish_about(&w, "1", VAST, many);
    CHECK_STR(told_after(&w, XDS_NEWS_GAP_MS), "");
    take(&a, XDS_CLUSTER);
    stir(&a);
    const char *first = told_after(&w, XDS_NEWS_GAP_MS);
    CHECK(strstr(first, "Rollout 2 M ") && !strstr(first, "Exposure"));
    CHECK(!strstr(told_after(&w, XDS_NEWS_GAP_MS), "Rollout"));
    take(&b, XDS_CLUSTER);
    stir(&b);
    CHECK(strstr(told_after(&w, XDS_NEWS_GAP_MS), "Rollout 2 M "));
    leave(&a);
    leave(&b);
    news_clear(&w);
}

TEST(an_exposure_that_a_proxy_does_not_take_is_told_of_when_that_one_leaves)
{
    static const char *const one[] = {"x"};
    struct world w;
    struct client a, b;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    open_synced(&b, &w, XDS_DELTA, "g", "b");
    publish_about(&w, "1", 1, one);
    take(&a, XDS_CLUSTER);
    stir(&a);
    CHECK(strstr(told_after(&w, XDS_NEWS_DELAY_MS), "Exposure x M "));
    leave(&b);
    CHECK_STR(told_after(&w, XDS_NEWS_GAP_MS), ""); /* as many have it as before; b was never told of */
    stir(&a);
    CHECK_INT(told_after(&w, XDS_NEWS_GAP_MS)[0], '\0');
    leave(&a);
    news_clear(&w);
}

TEST(an_exposure_is_not_told_of_when_one_that_took_it_leaves)
{
    static const char *const one[] = {"x"};
    struct world w;
    struct client a, b;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    open_synced(&b, &w, XDS_DELTA, "g", "b");
    publish_about(&w, "1", 1, one);
    take(&a, XDS_CLUSTER);
    stir(&a);
    CHECK(strstr(told_after(&w, XDS_NEWS_DELAY_MS), "Exposure x M "));
    leave(&a);
    CHECK_STR(told_after(&w, XDS_NEWS_GAP_MS), "");
    take(&b, XDS_CLUSTER);
    stir(&b);
    CHECK(strstr(told_after(&w, XDS_NEWS_GAP_MS), "Exposure x M "));
    leave(&b);
    news_clear(&w);
}

TEST(an_exposure_of_which_nothing_changed_for_proxies_is_not_told_of_with_what_changes_next)
{
    static const char *const one[] = {"x"};
    struct world w;
    struct client a;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    publish_about(&w, NULL, 1, one);
    CHECK_STR(told_after(&w, XDS_NEWS_DELAY_MS), "");
    publish(&w, "g", "c", "2");
    take(&a, XDS_CLUSTER);
    stir(&a);
    CHECK(!strstr(told_after(&w, XDS_NEWS_GAP_MS), "Exposure"));
    leave(&a);
    news_clear(&w);
}

TEST(more_batches_than_can_be_followed_are_told_of_once)
{
    enum { ALL = XDS_NEWS_BATCHES_MAX + 2 };
    struct world w;
    struct client a;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    buf_reset(&w.told);
    for (unsigned i = 0; i < ALL; i++) {
        char name[NAME];
        const char *const one[] = {name};
        snprintf(name, sizeof(name), "x%u", i);
        publish_about(&w, "1", 1, one);
    }
    CHECK_STR(buf_cstr(&w.told), "Exposure x0 M Rollout 2 M Exposure x1 M Rollout 3 M ");
    leave(&a);
    news_clear(&w);
}

TEST(a_rollout_is_told_of_when_it_is_complete_and_when_it_is_refused)
{
    struct world w;
    struct client a, b;

    news_init(&w);
    open_synced(&a, &w, XDS_DELTA, "g", "a");
    open_synced(&b, &w, XDS_DELTA, "g", "b");
    buf_reset(&w.told);
    publish(&w, "g", "c", "1");
    take(&a, XDS_CLUSTER);
    CHECK_STR(buf_cstr(&w.told), "");
    take(&b, XDS_CLUSTER);
    CHECK_STR(buf_cstr(&w.told), "Rollout 2 M ");
    publish(&w, "g", "c", "2");
    buf_reset(&w.told);
    CHECK_INT(receive(&a), XDS_CLUSTER);
    answer(&a, XDS_CLUSTER, "no");
    CHECK_STR(buf_cstr(&w.told), "Rollout 3 M ");
    CHECK_INT(receive(&b), XDS_CLUSTER);
    answer(&b, XDS_CLUSTER, "no");
    take_all(&a);
    take_all(&b);
    CHECK_STR(buf_cstr(&w.told), "Rollout 3 M Rollout 3 M "); /* complete */
    leave(&a);
    leave(&b);
    news_clear(&w);
}
