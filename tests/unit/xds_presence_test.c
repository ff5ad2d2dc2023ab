/* Who is here, and who was: from connected over away and gone to forgotten, over restarts, and in bounds. */
#include "server/xds_presence.h"

#include "server/xds_rollout.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define GRACE (10 * CLOCK_NS_PER_S)
#define KEEP (3600 * CLOCK_NS_PER_S)

enum { NAME = 32, TOLD = 256 };

/* One daemon, as far as it remembers. */
struct world {
    struct xds_directory *directory;
    struct xds_presence *presence;
    clock_ns now;
    char told[TOLD];          /* what was told since it was looked at: "added x, gone x, " */
    unsigned n_gone, n_again; /* so many became gone, and came back from that or were forgotten */
};

static void note_told(struct world *w, const char *what, const char *id)
{
    size_t n = strlen(w->told);

    snprintf(w->told + n, sizeof(w->told) - n, "%s%s %s", n ? ", " : "", what, id);
}

static void on_told(void *arg, const char *kind, const char *name, enum event_change change)
{
    static const char *const words[] = {"added", "modified", "removed"};

    CHECK_STR(kind, "Proxy");
    note_told(arg, words[change], name);
}

static void on_gone(void *arg, const struct xds_known *k)
{
    static const char *const words[] = {[XDS_CONNECTED] = "back", [XDS_AWAY] = "forgotten", [XDS_GONE] = "gone"};
    struct world *w = arg;

    note_told(w, words[k->state], k->id);
    *(k->state == XDS_GONE ? &w->n_gone : &w->n_again) += 1;
}

static void world_init_with(struct world *w, clock_ns keep)
{
    *w = (struct world){.directory = xds_directory_new(), .now = CLOCK_NS_PER_S};
    w->presence = xds_presence_new(&(struct xds_presence_options){
        .directory = w->directory, .keep = keep, .grace = GRACE, .tell = on_told, .gone = on_gone, .arg = w});
}

/* Which gateways there are. */
static void publish(struct world *w, const char *const *gateways)
{
    struct wire_batch *b = wire_batch_new();

    for (; *gateways; gateways++)
        wire_batch_gateway(b, *gateways);
    wire_batch_apply(b, w->directory, 1, true);
}

static void world_init(struct world *w)
{
    world_init_with(w, KEEP);
    publish(w, LIST("g", "h"));
}

static void world_clear(struct world *w)
{
    xds_presence_free(w->presence);
    xds_rollout_stop(w->directory);
    xds_directory_free(w->directory);
}

static struct xds_known *come(struct world *w, const char *gateway, const char *node_id, const char *id)
{
    return xds_presence_came(w->presence, &(struct xds_visitor){.gateway = gateway,
                                                                .node_id = node_id,
                                                                .node_cluster = "c",
                                                                .id = id,
                                                                .peer = "ipv4:10.0.0.1:1234",
                                                                .version = "1.40.0",
                                                                .variant = XDS_DELTA,
                                                                .at = 1000});
}

static bool leave(struct world *w, struct xds_known *k, const char *id)
{
    return xds_presence_left(w->presence, k, id, "it was cut", w->now);
}

/* Time passes; what was told by then. */
static const char *pass(struct world *w, clock_ns by)
{
    static char told[TOLD];

    size_t n_told = strlen(w->told);
    bool due;

    w->now += by;
    due = xds_presence_is_due(w->presence, w->now);
    while (xds_presence_run(w->presence, w->now) <= w->now)
        test_fail(__FILE__, __LINE__, "something is due at once, again");
    CHECK(due || strlen(w->told) == n_told);
    snprintf(told, sizeof(told), "%s", w->told);
    w->told[0] = '\0';
    return told;
}

/* The one of that node's id; NULL: nobody. */
static const struct xds_known *find(const struct world *w, const char *node_id)
{
    const struct xds_known *k;

    for (size_t i = 0; (k = xds_presence_next(w->presence, &i)) != NULL;)
        if (strcmp(k->node_id, node_id) == 0)
            return k;
    return NULL;
}

/* What another daemon reads of what this one knows. */
static void carry(const struct world *from, struct world *to)
{
    const struct xds_known *k;

    for (size_t i = 0; (k = xds_presence_next(from->presence, &i)) != NULL;) {
        struct unpack u;
        struct buf b;

        buf_init(&b, 0);
        xds_presence_write(k, &b);
        u = unpack_start(b.data, b.len);
        xds_presence_read(to->presence, &u, to->now);
        buf_clear(&b);
    }
}

TEST(who_leaves_is_away_for_the_grace_then_gone_then_forgotten)
{
    struct world w;
    struct xds_known *k;

    world_init(&w);
    CHECK_STR(pass(&w, 0), "");
    k = come(&w, "g", "a", "1");
    CHECK_INT(k->state, XDS_CONNECTED);
    CHECK_STR(pass(&w, 2 * KEEP), "");
    CHECK(leave(&w, k, "1"));
    CHECK_INT(find(&w, "a")->state, XDS_AWAY);
    CHECK_STR(find(&w, "a")->ended, "it was cut");
    CHECK_INT(xds_presence_run(w.presence, w.now), w.now + GRACE);
    CHECK_STR(pass(&w, GRACE - 1), "");
    CHECK_STR(pass(&w, 1), "modified 1, gone 1");
    CHECK_INT(find(&w, "a")->state, XDS_GONE);
    CHECK_STR(pass(&w, KEEP - 2 * GRACE), "");
    CHECK_STR(pass(&w, 2 * GRACE), "removed 1, forgotten 1");
    CHECK(!find(&w, "a"));
    CHECK_INT(xds_presence_run(w.presence, w.now), INT64_MAX);
    world_clear(&w);
}

TEST(who_comes_back_in_time_was_never_gone)
{
    struct xds_known *k;
    struct world w;

    world_init(&w);
    k = come(&w, "g", "a", "1");
    leave(&w, k, "1");
    pass(&w, GRACE - 1);
    CHECK(come(&w, "g", "a", "2") == k);
    CHECK_STR(pass(&w, 2 * KEEP), "removed 1"); /* the id, not the proxy */
    CHECK_INT(k->state, XDS_CONNECTED);
    CHECK_STR(k->id, "2");
    CHECK(!k->ended && k->left_at <= 0);
    CHECK_INT(w.n_gone, 0);
    world_clear(&w);
}

TEST(who_is_gone_and_comes_back_is_gone_no_more)
{
    struct xds_known *k;
    struct world w;

    world_init(&w);
    k = come(&w, "g", "a", "1");
    leave(&w, k, "1");
    pass(&w, GRACE);
    CHECK(come(&w, "g", "a", "2") == k);
    CHECK_STR(pass(&w, 2 * KEEP), "removed 1, back 1");
    CHECK_INT(k->state, XDS_CONNECTED);
    world_clear(&w);
}

TEST(streams_of_one_proxy_are_one_proxy_that_leaves_with_the_last_of_them)
{
    struct xds_known *k;
    struct world w;

    world_init(&w);
    k = come(&w, "g", "a", "1");
    CHECK(come(&w, "g", "a", "2") == k);
    CHECK(!leave(&w, k, "2"));
    CHECK_STR(pass(&w, 2 * GRACE), "");
    CHECK(leave(&w, k, "1"));
    CHECK_STR(pass(&w, GRACE), "modified 1, gone 1");
    world_clear(&w);
}

TEST(proxies_are_told_apart_by_gateway_node_and_cluster)
{
    struct xds_known *a, *b;
    struct world w;

    world_init(&w);
    a = come(&w, "g", "a", "1");
    b = come(&w, "h", "a", "2");
    CHECK(a != b && a != come(&w, "g", "b", "3"));
    leave(&w, a, "1");
    CHECK_STR(pass(&w, GRACE), "modified 1, gone 1");
    CHECK_INT(b->state, XDS_CONNECTED);
    world_clear(&w);
}

TEST(one_that_left_can_be_forgotten_and_one_that_is_connected_can_not)
{
    struct xds_known *k;
    struct world w;

    world_init(&w);
    k = come(&w, "g", "a", "1");
    CHECK_INT(xds_presence_forget(w.presence, "1"), -ENOENT);
    leave(&w, k, "1");
    CHECK_INT(xds_presence_forget(w.presence, "2"), -ENOENT);
    CHECK_INT(xds_presence_forget(w.presence, "1"), 0);
    CHECK_STR(pass(&w, 2 * GRACE), "removed 1");
    k = come(&w, "g", "a", "2");
    leave(&w, k, "2");
    pass(&w, GRACE);
    CHECK_INT(xds_presence_forget(w.presence, "2"), 0);
    CHECK_STR(pass(&w, KEEP), "removed 2, forgotten 2");
    CHECK_INT(xds_presence_count(w.presence), 0);
    world_clear(&w);
}

TEST(with_ids_that_are_others_at_each_start_the_oldest_makes_way)
{
    struct world w;

    world_init_with(&w, 10 * KEEP);
    publish(&w, LIST("g"));
    for (unsigned i = 0; i < XDS_GONE_MAX + 5; i++) {
        char node[NAME];

        snprintf(node, sizeof(node), "n%u", i);
        leave(&w, come(&w, "g", node, node), node);
        w.now += GRACE;
        xds_presence_run(w.presence, w.now);
    }
    CHECK_INT(xds_presence_count(w.presence), XDS_GONE_MAX);
    CHECK_INT(w.n_gone, XDS_GONE_MAX + 5);
    CHECK_INT(w.n_again, 5);
    CHECK(!find(&w, "n4") && find(&w, "n5"));
    for (unsigned i = 0; i < XDS_AWAY_MAX + 5; i++) {
        char node[NAME];

        snprintf(node, sizeof(node), "m%u", i);
        leave(&w, come(&w, "g", node, node), node);
    }
    CHECK_INT(xds_presence_count(w.presence), XDS_GONE_MAX + XDS_AWAY_MAX);
    CHECK(!find(&w, "m4") && find(&w, "m5"));
    w.now += GRACE;
    xds_presence_run(w.presence, w.now);
    CHECK_INT(xds_presence_count(w.presence), XDS_GONE_MAX);
    world_clear(&w);
}

TEST(who_is_of_a_gateway_that_ended_is_forgotten)
{
    struct xds_known *left, *stays;
    struct world w;

    world_init(&w);
    left = come(&w, "h", "a", "1");
    stays = come(&w, "h", "b", "2");
    leave(&w, left, "1");
    pass(&w, GRACE);
    publish(&w, LIST("g"));
    CHECK_STR(pass(&w, 0), "removed 1, forgotten 1");
    leave(&w, stays, "2");
    CHECK_STR(pass(&w, GRACE), "removed 2");
    CHECK_INT(w.n_gone, 1);
    world_clear(&w);
}

TEST(nobody_is_remembered_where_that_is_off_or_who_does_not_say_who_it_is)
{
    char large[XDS_PRESENCE_TEXT_MAX + 2] = "";
    struct world w;

    world_init_with(&w, 0);
    publish(&w, LIST("g"));
    CHECK(!come(&w, "g", "a", "1"));
    CHECK(!leave(&w, NULL, "1"));
    CHECK_STR(pass(&w, 2 * GRACE), "");
    world_clear(&w);
    world_init(&w);
    CHECK(!come(&w, "g", NULL, "1"));
    memset(large, 'x', XDS_PRESENCE_TEXT_MAX + 1);
    CHECK(!come(&w, "g", large, "1"));
    large[XDS_PRESENCE_TEXT_MAX] = '\0';
    CHECK(come(&w, "g", large, "1"));
    world_clear(&w);
}

TEST(after_a_restart_nobody_is_gone_who_has_not_had_the_time_to_come_back)
{
    struct xds_known *k;
    struct world w, next;

    world_init(&w);
    come(&w, "g", "connected", "a0-1");
    k = come(&w, "g", "away", "a0-2");
    leave(&w, k, "a0-2");
    world_init_with(&next, KEEP);
    carry(&w, &next);
    world_clear(&w);
    CHECK_INT(find(&next, "connected")->state, XDS_AWAY);
    CHECK_STR(pass(&next, KEEP / 2), ""); /* nobody can come back: it is not known of which gateway anybody is */
    publish(&next, LIST("g"));
    CHECK_STR(pass(&next, 0), "");
    CHECK_STR(pass(&next, GRACE - 1), "");
    CHECK_STR(find(&next, "connected")->ended, "igwd was started anew, and it has not come back since");
    CHECK_STR(find(&next, "away")->ended, "it was cut");
    come(&next, "g", "connected", "b0-1");
    CHECK_STR(pass(&next, 1), "removed a0-1, modified a0-2, gone a0-2");
    CHECK_INT(find(&next, "connected")->state, XDS_CONNECTED);
    world_clear(&next);
}

TEST(who_was_gone_is_gone_after_a_restart_with_all_that_is_known_of_it)
{
    struct world w, next;
    struct xds_known *k;
    double left_at;

    world_init(&w);
    k = come(&w, "g", "a", "a0-1");
    leave(&w, k, "a0-1");
    pass(&w, GRACE);
    left_at = k->left_at;
    world_init_with(&next, KEEP);
    carry(&w, &next);
    world_clear(&w);
    publish(&next, LIST("g"));
    CHECK_STR(pass(&next, 0), "");
    CHECK_INT(find(&next, "a")->state, XDS_GONE);
    CHECK_STR(find(&next, "a")->gateway, "g");
    CHECK_STR(find(&next, "a")->node_cluster, "c");
    CHECK_STR(find(&next, "a")->id, "a0-1");
    CHECK_STR(find(&next, "a")->peer, "ipv4:10.0.0.1:1234");
    CHECK_STR(find(&next, "a")->version, "1.40.0");
    CHECK_STR(find(&next, "a")->ended, "it was cut");
    CHECK_INT(find(&next, "a")->variant, XDS_DELTA);
    CHECK_INT((int64_t)find(&next, "a")->first_seen, 1000);
    CHECK_INT((int64_t)find(&next, "a")->connected_at, 1000);
    CHECK(find(&next, "a")->left_at > left_at - 0.01 && find(&next, "a")->left_at <= left_at);
    come(&next, "g", "a", "b0-1");
    CHECK_STR(pass(&next, 0), "removed a0-1, back a0-1");
    CHECK_INT((int64_t)find(&next, "a")->first_seen, 1000);
    world_clear(&next);
}

TEST(who_was_gone_for_long_is_forgotten_at_the_start)
{
    struct world w, next;
    struct xds_known *k;

    world_init(&w);
    k = come(&w, "g", "a", "a0-1");
    leave(&w, k, "a0-1");
    pass(&w, GRACE);
    k->left_at -= 3601;
    world_init_with(&next, KEEP);
    carry(&w, &next);
    world_clear(&w);
    publish(&next, LIST("g"));
    CHECK_STR(pass(&next, 0), "removed a0-1, forgotten a0-1");
    world_clear(&next);
}

TEST(who_did_not_come_back_after_a_long_stop_is_kept_from_when_it_is_gone)
{
    struct world w, next;
    struct xds_known *k;

    world_init(&w);
    k = come(&w, "g", "a", "a0-1");
    leave(&w, k, "a0-1");
    k->left_at -= 3601;
    world_init_with(&next, KEEP);
    carry(&w, &next);
    world_clear(&w);
    publish(&next, LIST("g"));
    CHECK_STR(pass(&next, 0), "");
    CHECK_STR(pass(&next, GRACE), "modified a0-1, gone a0-1");
    CHECK_STR(pass(&next, KEEP - 1), "");
    CHECK_STR(pass(&next, 1), "removed a0-1, forgotten a0-1");
    world_clear(&next);
}

TEST(where_nobody_is_remembered_any_more_what_was_noted_is_to_be_noted_anew)
{
    struct world w, next;
    uint64_t changes;

    world_init(&w);
    come(&w, "g", "a", "a0-1");
    world_init_with(&next, 0);
    changes = xds_presence_changes(next.presence);
    carry(&w, &next);
    CHECK_INT(xds_presence_count(next.presence), 0);
    CHECK(xds_presence_changes(next.presence) != changes);
    world_clear(&w);
    world_clear(&next);
}

TEST(ids_of_a_daemon_that_is_started_anew_are_not_those_that_are_remembered)
{
    struct world w, next;
    char id[NAME];

    world_init(&w);
    snprintf(id, sizeof(id), "%08x-000001", (unsigned)xds_presence_epoch(w.presence));
    come(&w, "g", "a", id);
    world_init_with(&next, KEEP);
    carry(&w, &next);
    CHECK(xds_presence_epoch(next.presence) > xds_presence_epoch(w.presence));
    world_clear(&w);
    world_clear(&next);
}

TEST(notes_that_are_damaged_are_left_out)
{
    const struct xds_known *k;
    struct world w, next;
    struct buf b;
    size_t i = 0;

    world_init(&w);
    come(&w, "g", "a", "a0-1");
    k = xds_presence_next(w.presence, &i);
    buf_init(&b, 0);
    xds_presence_write(k, &b);
    world_init(&next);
    for (size_t n = 0; n < b.len; n++) {
        struct unpack u = unpack_start(b.data, n);

        xds_presence_read(next.presence, &u, next.now);
    }
    CHECK_INT(xds_presence_count(next.presence), 0);
    buf_clear(&b);
    world_clear(&w);
    world_clear(&next);
}
