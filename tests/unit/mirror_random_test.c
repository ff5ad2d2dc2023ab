/*
 * Random patches on random data sets, held against a naive model: a tree that is patched, and read whole by a new
 * mirror. What a mirror knows after the patches must be what the new one knows; a patch that the tree refuses must
 * leave it untouched. Wrong types are everywhere.
 */
#include "server/mirror.h"

#include "tests/unit/mirror_help.h"
#include "tests/unit/test.h"

#include <string.h>

enum { RUNS = TEST_ROUNDS(10), REPLAYS = 10, PATCHES = 100, CHANGES_MAX = 4 };

static uint64_t seed;

static unsigned random_below(unsigned n)
{
    return (unsigned)(test_random(&seed) % n);
}

#define PICK(list) ((list)[random_below(ARRAY_LEN(list))])

/* ---- random data ---- */

static const char *const node_names[] = {"n1", "n2", "n3"};
static const char *const paths[] = {
    "web", "ns/svc/a", "s", "0.s", "1.s", "ns/sec/k", "ns/svc/0.a", "ns/vol/v", "ns/svc/q\"\\\xc3\xa9"};
static const char *const rids[] = {"ip#1", "ip#2", "expose#0", "expose#0", "expose#10", "certificate#front", "fs#1"};
static const char *const states[] = {"idle", "stopping", "starting", "draining", "stop failed", "maintenance"};
static const char *const expects[] = {"stopped", "placed@n1", "placed@n2,n3", "placed", "started", "aborted"};
static const char *const statuses[] = {"up", "up", "up", "down", "stdby up"};
static const char *const addresses[] = {"10.0.0.1", "10.0.0.2", "", "fd00::1"};
static const char *const ids[] = {"expose#0", "expose#0", "expose#2", "80/tcp:8080"};
static const char *const slaves[] = {"0.s", "1.s", "0.a", "web", "a/b"};
static const char *const info_keys[] = {"port", "sni", "a", "cluster_data", "\xe2\x82\xac", "", "q\"\n"};

static json_t *nonsense(void)
{
    switch (random_below(7)) {
    case 0:
        return json_null();
    case 1:
        return json_integer((json_int_t)random_below(100));
    case 2:
        return json_real(random_below(100) + 0.5);
    case 3:
        return json_boolean(random_below(2));
    case 4:
        return json_pack("[s,i]", "x", 1);
    case 5:
        return json_pack("{s:[i,{}],s:s}", "z", 1, "b", "\t");
    default:
        return json_string(PICK(statuses));
    }
}

static json_t *text_of(const char *const *list, size_t n)
{
    return random_below(30) ? json_string(list[random_below((unsigned)n)]) : nonsense();
}
#define TEXT_OF(list) text_of(list, ARRAY_LEN(list))

static json_t *list_of(const char *const *list, size_t n)
{
    json_t *array = json_array();

    if (random_below(30) == 0) {
        json_decref(array);
        return nonsense();
    }
    for (unsigned i = random_below(4); i > 0; i--)
        json_array_append_new(array, text_of(list, n));
    return array;
}
#define LIST_OF(list) list_of(list, ARRAY_LEN(list))

static void maybe(json_t *object, const char *key, json_t *value)
{
    if (random_below(9))
        json_object_set_new(object, key, value);
    else
        json_decref(value);
}

static json_t *random_info(void)
{
    json_t *info = json_object();

    for (unsigned i = random_below(4); i > 0; i--)
        json_object_set_new(info, PICK(info_keys), nonsense());
    return info;
}

static json_t *random_resource(const char *rid)
{
    json_t *r = json_object(), *info;

    maybe(r, "status", TEXT_OF(statuses));
    maybe(r, "type", json_string("expose.envoy"));
    maybe(r, "label", json_string("label"));
    if (strncmp(rid, "ip#", 3) == 0) {
        info = json_object();
        maybe(info, "ipaddr", TEXT_OF(addresses));
        maybe(info, "expose", LIST_OF(ids));
        maybe(info, "netmask", json_string("24"));
    } else {
        info = random_info();
    }
    maybe(r, "info", random_below(40) ? info : (json_decref(info), nonsense()));
    return random_below(50) ? r : (json_decref(r), nonsense());
}

static json_t *random_resources(void)
{
    json_t *resources = json_object();

    for (unsigned i = 1 + random_below(6); i > 0; i--) {
        const char *rid = PICK(rids);

        json_object_set_new(resources, rid, random_resource(rid));
    }
    return random_below(50) ? resources : (json_decref(resources), nonsense());
}

static json_t *random_monitor(void)
{
    json_t *monitor = json_object();

    maybe(monitor, "status", TEXT_OF(states));
    maybe(monitor, "placement", json_string(random_below(2) ? "leader" : ""));
    if (random_below(2) == 0)
        json_object_set_new(monitor, "global_expect", TEXT_OF(expects));
    return random_below(50) ? monitor : (json_decref(monitor), nonsense());
}

static json_t *random_instance(void)
{
    json_t *i = json_object();

    maybe(i, "updated", json_real(1000.5 + random_below(5)));
    maybe(i, "kind", json_string("svc"));
    maybe(i, "topology", json_string(random_below(2) ? "flex" : "failover"));
    maybe(i, "avail", TEXT_OF(statuses));
    maybe(i, "resources", random_resources());
    maybe(i, "monitor", random_monitor());
    if (random_below(4) == 0)
        json_object_set_new(i, "scaler_slave", json_boolean(random_below(4)));
    if (random_below(5) == 0)
        json_object_set_new(i, "scaler_slaves", LIST_OF(slaves));
    return random_below(50) ? i : (json_decref(i), nonsense());
}

static json_t *random_configuration(void)
{
    json_t *c = json_object();
    char csum[] = "c0";

    csum[1] = (char)('0' + random_below(4));
    maybe(c, "updated", json_real(1000.5 + random_below(4)));
    maybe(c, "csum", random_below(12) ? json_string(csum) : nonsense());
    return random_below(50) ? c : (json_decref(c), nonsense());
}

static json_t *random_map(json_t *(*value)(void))
{
    json_t *map = json_object();

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (random_below(4))
            json_object_set_new(map, paths[i], value());
    return random_below(50) ? map : (json_decref(map), nonsense());
}

static json_t *random_services(void)
{
    json_t *services = json_object();

    maybe(services, "status", random_map(random_instance));
    maybe(services, "config", random_map(random_configuration));
    return random_below(50) ? services : (json_decref(services), nonsense());
}

static json_t *random_node(void)
{
    json_t *node = json_object();

    maybe(node, "monitor", random_below(20) ? json_pack("{s:o}", "status", TEXT_OF(states)) : nonsense());
    if (random_below(10))
        json_object_set_new(node, "services", random_services());
    maybe(node, "stats", json_object());
    return random_below(15) ? node : (json_decref(node), json_null());
}

static json_t *random_nodes(void)
{
    json_t *nodes = json_object();

    for (size_t i = 0; i < ARRAY_LEN(node_names); i++)
        if (random_below(6))
            json_object_set_new(nodes, node_names[i], random_node());
    return nodes;
}

static json_t *random_root(void)
{
    return json_pack("{s:{s:o,s:{}},s:{s:[]},s:{}}", "monitor", "nodes", random_nodes(), "services", "cluster",
                     "nodes", "listener");
}

/* ---- the model: changes on a tree ---- */

static bool step_is(const json_t *path, size_t at, const char *key)
{
    const char *step = json_string_value(json_array_get(path, at));

    return step && strcmp(step, key) == 0;
}

/* What could stand at the keys of nodes and above. */
static json_t *upper_value(const json_t *path)
{
    switch (json_array_size(path)) {
    case 0:
        return random_root();
    case 1:
        return json_pack("{s:o}", "nodes", random_nodes());
    case 2:
        return random_nodes();
    case 3:
        return random_node();
    case 4:
        return step_is(path, 3, "services") ? random_services() : json_pack("{s:s}", "status", PICK(states));
    case 5:
        if (!step_is(path, 3, "services"))
            return TEXT_OF(states);
        return random_map(step_is(path, 4, "config") ? random_configuration : random_instance);
    default:
        return step_is(path, 4, "config") ? random_configuration() : random_instance();
    }
}

static json_t *some_slaves(void)
{
    return LIST_OF(slaves);
}

static json_t *some_ids(void)
{
    return LIST_OF(ids);
}

static json_t *some_expect(void)
{
    return TEXT_OF(expects);
}

static json_t *some_address(void)
{
    return TEXT_OF(addresses);
}

/* What could stand at the end of a path. */
static json_t *random_value(const json_t *path)
{
    static const struct {
        const char *key;
        json_t *(*value)(void);
    } of_keys[] = {
        {"resources", random_resources}, {"monitor", random_monitor}, {"info", random_info},
        {"scaler_slaves", some_slaves},  {"expose", some_ids},        {"global_expect", some_expect},
        {"ipaddr", some_address},
    };
    size_t n = json_array_size(path);
    const char *last;

    if (n > 2 && random_below(25) == 0)
        return nonsense();
    if (n <= 6)
        return upper_value(path);
    for (size_t i = 0; i < ARRAY_LEN(of_keys); i++)
        if (step_is(path, n - 1, of_keys[i].key))
            return of_keys[i].value();
    last = json_string_value(json_array_get(path, n - 1));
    if (!last)
        return TEXT_OF(ids);
    return strchr(last, '#') ? random_resource(last) : TEXT_OF(states);
}

static const char *const vocabulary[] = {
    "monitor", "nodes",         "n1",        "n2",   "services", "status",        "config", "web",
    "s",       "0.s",           "resources", "ip#1", "info",     "port",          "expose", "ipaddr",
    "updated", "scaler_slaves", "listener",  "csum", "x",        "global_expect",
};

static const char *random_key(const json_t *object)
{
    unsigned at = random_below((unsigned)json_object_size(object) + 1);
    const char *key;
    json_t *value;

    if (random_below(8) == 0 || json_object_size(object) == 0)
        return random_below(2) ? PICK(vocabulary) : PICK(info_keys);
    json_object_foreach((json_t *)(uintptr_t)object, key, value) if (at-- == 0) return key;
    return PICK(vocabulary);
}

/* The key that leads to where most is kept, at the first levels of a walk; NULL: any. */
static const char *likely_key(const json_t *path)
{
    static const char *const at_node[] = {"services", "services", "services", "services", "monitor"};
    static const char *const at_services[] = {"status", "status", "status", "config"};

    if (random_below(20) == 0)
        return NULL;
    switch (json_array_size(path)) {
    case 0:
        return "monitor";
    case 1:
        return "nodes";
    case 3:
        return PICK(at_node);
    case 4:
        return step_is(path, 3, "services") ? PICK(at_services) : NULL;
    default:
        return NULL;
    }
}

/* A walk down the tree that ends somewhere; mostly through what we keep, mostly deep. */
static json_t *random_path(const json_t *root)
{
    json_t *path = json_array();
    const json_t *at = root;
    size_t shortest = random_below(25) ? 6 : random_below(6);

    for (;;) {
        size_t depth = json_array_size(path);

        if (depth >= shortest && random_below(4) == 0)
            return path;
        if (json_is_object(at)) {
            const char *key = likely_key(path);

            if (!key)
                key = random_key(at);
            json_array_append_new(path, json_string(key));
            at = json_object_get(at, key);
        } else if (json_is_array(at)) {
            size_t index = random_below((unsigned)json_array_size(at) + 2);

            json_array_append_new(path, json_integer((json_int_t)index));
            at = json_array_get(at, index);
        } else {
            if (random_below(10) == 0)
                json_array_append_new(path, json_string("below"));
            return path;
        }
    }
}

/* What stands at a step, NULL when nothing does or the step does not suit. */
static json_t *step_to(json_t *at, const json_t *step)
{
    if (json_is_object(at) && json_is_string(step))
        return json_object_get(at, json_string_value(step));
    if (json_is_array(at) && json_is_integer(step))
        return json_array_get(at, (size_t)json_integer_value(step));
    return NULL;
}

static bool set_at(json_t *at, const json_t *step, json_t *value)
{
    size_t index;

    if (json_is_object(at) && json_is_string(step))
        return json_object_set(at, json_string_value(step), value) == 0;
    if (!json_is_array(at) || !json_is_integer(step))
        return false;
    index = (size_t)json_integer_value(step);
    if (index == json_array_size(at))
        return json_array_append(at, value) == 0;
    return json_array_set(at, index, value) == 0;
}

static bool remove_at(json_t *at, const json_t *step)
{
    if (json_is_object(at) && json_is_string(step))
        return json_object_del(at, json_string_value(step)) == 0;
    return json_is_array(at) && json_is_integer(step) && json_array_remove(at, (size_t)json_integer_value(step)) == 0;
}

/* Applies a change to *root; false when it does not fit. */
static bool model_apply(json_t **root, const json_t *change)
{
    const json_t *path = json_array_get(change, 0);
    json_t *value = json_array_get(change, 1), *at = *root;
    size_t n = json_array_size(path);

    if (n == 0) {
        if (!value)
            return false;
        json_decref(*root);
        *root = json_deep_copy(value);
        return true;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        at = step_to(at, json_array_get(path, i));
        if (!at)
            return false;
    }
    if (!value)
        return remove_at(at, json_array_get(path, n - 1));
    value = json_deep_copy(value);
    bool set = set_at(at, json_array_get(path, n - 1), value);

    json_decref(value);
    return set;
}

static json_t *random_change(const json_t *root)
{
    json_t *path = random_path(root);
    bool removes = random_below(4) == 0;

    /* The upper levels are replaced seldom, or nothing is left to be changed. */
    if (json_array_size(path) < 3 && (removes || random_below(3)))
        json_array_append_new(path, json_string(json_array_size(path) ? "n1" : "listener"));
    if (removes)
        return json_pack("[o]", path);
    json_t *value = random_value(path);

    return json_pack("[oo]", path, value);
}

/* ---- the comparison ---- */

static char *secrets_text(const struct mirror *m)
{
    const char *csum = mirror_secret_csum(m, "ns/sec/k");

    return mem_strdup(csum ? csum : "none");
}

/* Beside the tree there is always a node that speaks, or there would be no picture. */
static void resync(struct mirror *m, const json_t *root)
{
    json_t *copy = json_deep_copy(root);
    struct err e = {0};
    char *text;

    json_object_set_new(json_object_get(json_object_get(copy, "monitor"), "nodes"), "speaker",
                        json_pack("{s:{s:{}}}", "services", "status"));
    text = json_dumps(copy, JSON_COMPACT);
    mirror_status_begin(m);
    CHECK_INT(mirror_status_feed(m, text, strlen(text), &e), 0);
    if (mirror_status_end(m, true, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s %s: %s", e.field, e.text, text);
    mem_free(text);
    json_decref(copy);
}

static void compare(struct mirror *m, struct picture *p, const json_t *root, const char *last)
{
    struct mirror *fresh = mirror_new(0);
    struct picture wanted = {0};
    char *a, *b, *secret_a = secrets_text(m), *secret_b;

    resync(fresh, root);
    picture_take(&wanted, fresh);
    picture_take(p, m);
    a = picture_text(p);
    b = picture_text(&wanted);
    secret_b = secrets_text(fresh);
    if (strcmp(a, b) != 0 || strcmp(secret_a, secret_b) != 0)
        test_fail(__FILE__, __LINE__, "after %s\n--- the patched mirror has\n%s%s\n--- a fetch gives\n%s%s", last, a,
                  secret_a, b, secret_b);
    mem_free(a);
    mem_free(b);
    mem_free(secret_a);
    mem_free(secret_b);
    picture_clear(&wanted);
    mirror_free(fresh);
}

static bool tells_services(const json_t *node)
{
    return json_is_object(json_object_get(json_object_get(node, "services"), "status"));
}

/* Whether a node that told its services does so no more: then the mirror keeps what a fetch does not tell. */
static bool loses_a_node(const json_t *before, const json_t *after)
{
    json_t *old = json_object_get(json_object_get(before, "monitor"), "nodes"), *node;
    const json_t *new = json_object_get(json_object_get(after, "monitor"), "nodes");
    const char *name;

    json_object_foreach(old, name,
                        node) if (tells_services(node) && !tells_services(json_object_get(new, name))) return true;
    return false;
}

struct counts {
    size_t applied, noise, refused, misfits, spurious;
};

/* One patch of random changes, by the mirror and by the model. */
static json_t *one_patch(struct mirror *m, struct picture *p, json_t *root, uint64_t id, struct counts *c)
{
    json_t *patched = json_deep_copy(root), *changes = json_array(), *message;
    bool fits = true;
    char *text;
    struct err e = {0};
    enum mirror_event got;

    for (unsigned i = random_below(2) ? 1 : 1 + random_below(CHANGES_MAX); i > 0 && fits; i--) {
        json_t *change = random_change(patched);

        fits = model_apply(&patched, change);
        json_array_append_new(changes, change);
    }
    message = json_pack("{s:s,s:I,s:f,s:o}", "kind", "patch", "id", (json_int_t)id, "ts", 1.5, "data", changes);
    text = json_dumps(message, random_below(2) ? JSON_COMPACT : JSON_ENSURE_ASCII);
    got = mirror_event(m, text, strlen(text), &e);
    CHECK(got != MIRROR_GAP);
    picture_take(p, m);
    c->applied += got == MIRROR_APPLIED;
    c->noise += got == MIRROR_NOISE;
    c->refused += !fits;
    c->misfits += got == MIRROR_MISFIT;
    c->spurious += fits && got == MIRROR_MISFIT;
    if (got == MIRROR_MISFIT)
        compare(m, p, root, text); /* nothing was changed */
    /* Whatever was refused is fetched; a change that the mirror need not understand may have been passed over. */
    if (got == MIRROR_MISFIT || !fits || loses_a_node(root, patched))
        resync(m, fits ? patched : root);
    if (!fits) {
        json_decref(patched);
        patched = json_incref(root);
    }
    json_decref(root);
    compare(m, p, patched, text);
    mem_free(text);
    json_decref(message);
    return patched;
}

TEST(a_mirror_after_patches_is_the_mirror_of_the_patched_tree)
{
    struct counts c = {0};

    for (uint64_t run = 1; run <= RUNS; run++) {
        struct mirror *m = mirror_new(0);
        struct picture p = {0};
        json_t *root;

        seed = run;
        root = random_root();
        resync(m, root);
        compare(m, &p, root, "the start");
        for (uint64_t id = 1; id <= PATCHES; id++)
            root = one_patch(m, &p, root, id, &c);
        json_decref(root);
        picture_clear(&p);
        mirror_free(m);
    }
    /* The dice must have brought enough of everything; a misfit of what the tree takes is a fetch too many. */
    CHECK(c.applied > RUNS * PATCHES / 4);
    CHECK(c.noise > RUNS * PATCHES / 10);
    CHECK(c.refused > RUNS * PATCHES / 10);
    CHECK(c.misfits > RUNS * PATCHES / 20);
    if (c.spurious > RUNS * PATCHES / 20)
        test_fail(__FILE__, __LINE__, "%zu of %d patches were fetched again without need", c.spurious,
                  RUNS * PATCHES);
}

/* Events that came while the whole was fetched: any part of them may be in it already. */
TEST(a_replay_over_any_later_state_ends_in_the_last_state)
{
    size_t fetched_again = 0;

    for (uint64_t run = 1; run <= REPLAYS; run++) {
        struct mirror *m = mirror_new(0);
        struct picture p = {0};
        json_t *root, *fetched = NULL;
        struct err e = {0};
        enum { LENGTH = 12 };
        unsigned fetched_at = random_below(LENGTH);
        bool shifts = false;

        seed = run + 1000;
        root = random_root();
        mirror_follow(m);
        mirror_hold(m);
        for (uint64_t id = 1; id <= LENGTH;) {
            json_t *next = json_deep_copy(root), *change = random_change(next), *message;
            const json_t *path = json_array_get(change, 0);
            size_t n = json_array_size(path);
            char *text;

            /* As an agent: only what fits; of lists only the last item is removed. */
            if (n < 3 || !model_apply(&next, change) || loses_a_node(root, next)) {
                json_decref(next);
                json_decref(change);
                continue;
            }
            shifts = shifts || (!json_array_get(change, 1) && json_is_integer(json_array_get(path, n - 1)));
            message = json_pack("{s:s,s:I,s:[o]}", "kind", "patch", "id", (json_int_t)id, "data", change);
            text = json_dumps(message, 0);
            CHECK(mirror_event(m, text, strlen(text), &e) <= MIRROR_APPLIED);
            mem_free(text);
            json_decref(message);
            json_decref(root);
            root = next;
            if (id++ == fetched_at + 1)
                fetched = json_deep_copy(root);
        }
        resync(m, fetched);
        if (mirror_release(m, &e) > MIRROR_APPLIED) {
            CHECK(shifts);
            fetched_again++;
            resync(m, root);
        }
        compare(m, &p, root, "a replay");
        json_decref(fetched);
        json_decref(root);
        picture_clear(&p);
        mirror_free(m);
    }
    CHECK(fetched_again < REPLAYS / 4);
}
