/*
 * The mirror's door: fetches, events with their ids, keeping them while a fetch is under way, and what was touched.
 */
#include "server/mirror.h"

#include "server/mirror_core.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int status_token(void *arg, enum sax_event event, const char *text, size_t n)
{
    struct mirror *m = arg;

    reader_token(&m->status, event, text, n);
    return 0;
}

struct mirror *mirror_new(uint64_t max_status_bytes)
{
    struct mirror *m = mem_new(struct mirror);

    pools_init(&m->pools);
    m->tree = tree_new();
    m->tree->fresh = false;
    m->max_status_bytes = max_status_bytes;
    buf_init(&m->held, MIRROR_QUEUE_MAX);
    return m;
}

static void status_abandon(struct mirror *m)
{
    if (!m->reading)
        return;
    reader_clear(&m->status);
    tree_free(&m->pools, m->reading);
    m->reading = NULL;
    sax_free(m->status_sax);
    m->status_sax = NULL;
}

void mirror_free(struct mirror *m)
{
    struct map_entry *e;

    if (!m)
        return;
    status_abandon(m);
    tree_free(&m->pools, m->tree);
    scalers_clear(m);
    path_queue_clear(m, &m->touched);
    path_queue_clear(m, &m->secrets);
    for (size_t i = 0; map_next(&m->reported, &i, &e);)
        intern_unref(m->pools.texts, e->value);
    map_clear(&m->reported);
    intern_unref(m->pools.texts, m->taken);
    arena_free(m->facts_arena);
    sax_free(m->change_sax);
    mem_free(m->changes);
    mem_free(m->undo);
    mem_free(m->scratch);
    mem_free(m->cluster_nodes);
    buf_clear(&m->held);
    pools_clear(&m->pools);
    mem_free(m);
}

/* ---- a complete fetch ---- */

void mirror_status_begin(struct mirror *m)
{
    const struct sax_limits limits = {.max_bytes = m->max_status_bytes,
                                      .max_depth = READER_JSON_DEPTH_MAX + READER_DEPTH_MAX};

    status_abandon(m);
    m->reading = tree_new();
    m->status_sax = sax_new(&limits, status_token, m);
    reader_init(&m->status, &m->pools, m->status_sax, m->reading);
    reader_begin(&m->status, level_target(LEVEL_TOP, "", 0));
}

int mirror_status_feed(struct mirror *m, const char *p, size_t n, struct err *e)
{
    int r;

    assert(m->reading);
    r = sax_feed(m->status_sax, p, n, e);
    if (r < 0)
        status_abandon(m);
    return r;
}

static bool state_is(const struct node *n, const char *state)
{
    return n->state && strcmp(n->state, state) == 0;
}

/* Whether all nodes that the cluster has are there. */
static bool nodes_are_complete(const struct tree *w, const char *cluster_nodes)
{
    struct buf name = {0};
    bool complete = true;

    for (size_t at = 0; cluster_nodes && canonical_next_string(cluster_nodes, strlen(cluster_nodes), &at, &name);) {
        const struct node *n = tree_node(w, (char *)name.data, name.len);

        complete = complete && n && n->slot == SLOT_OBJECT && !n->carried;
    }
    buf_clear(&name);
    return complete;
}

/* -EAGAIN while a daemon is starting: see mirror.h. */
static int judge_settled(const struct tree *w, const char *cluster_nodes, struct err *e)
{
    for (size_t i = 0; i < w->n_nodes; i++) {
        const struct node *n = w->nodes[i];

        if (n->slot != SLOT_OBJECT)
            continue;
        if (state_is(n, "init"))
            return err_set(e, -EAGAIN, NULL, "monitor.nodes",
                           "node %s is starting and does not know its services yet", n->name);
        if (state_is(n, "rejoin") && !nodes_are_complete(w, cluster_nodes))
            return err_set(e, -EAGAIN, NULL, "monitor.nodes", "node %s has come back and waits for the others",
                           n->name);
    }
    return 0;
}

/* Whether what was fetched is the agent's picture at all. */
static int judge_data(const struct mirror *m, struct err *e)
{
    const struct tree *w = m->reading;

    if (w->nodes_slot != SLOT_OBJECT && m->status.error)
        return err_set(e, -EBADMSG, NULL, NULL, "the agent answers: %s", m->status.error);
    if (w->nodes_slot != SLOT_OBJECT)
        return err_set(e, -EBADMSG, NULL, "monitor.nodes", "expected an object: this is no data set of a cluster");
    for (size_t i = 0; i < w->n_nodes; i++)
        if (w->nodes[i]->status == SLOT_OBJECT)
            return 0;
    return err_set(e, -EAGAIN, NULL, "monitor.nodes", "no node has told its services yet");
}

/* What a partial picture lacks of a node stays as it was. */
static void carry_node(struct mirror *m, const struct node *before)
{
    struct node *n = tree_node(m->reading, before->name, strlen(before->name)), *clone;
    struct map_entry *e;

    if (before->slot != SLOT_OBJECT)
        return;
    if (!n || n->slot != SLOT_OBJECT) {
        clone = node_clone(before);
        clone->carried = true;
        tree_replace_node(m->reading, n, clone);
        node_free(&m->pools, n);
        return;
    }
    for (size_t i = 0; state_is(n, "init") && map_next(&before->instances, &i, &e);) {
        struct instance *instance = e->value;

        if (!node_instance(n, instance->head.path))
            node_put(n, instance->head.path, instance_ref(instance));
    }
}

/* Instances that did not change are kept in their old form: the memory of both trees is little more than one's. */
static void share_instances(struct mirror *m)
{
    struct map_entry *e;

    for (size_t i = 0; i < m->reading->n_nodes; i++) {
        struct node *n = m->reading->nodes[i], *before = tree_node(m->tree, n->name, strlen(n->name));

        n->fresh = false;
        for (size_t k = 0; before && map_next(&n->instances, &k, &e);) {
            struct instance *new = e->value, *old = node_instance(before, new->head.path);

            if (!old || !instance_equal(old, new))
                continue;
            e->value = instance_ref(old);
            instance_unref(&m->pools, new);
        }
    }
    m->reading->fresh = false;
}

/* The content that was read takes the place of the old. */
static void replace_tree(struct mirror *m, bool partial)
{
    struct tree *before = m->tree;

    for (size_t i = 0; partial && i < before->n_nodes; i++)
        carry_node(m, before->nodes[i]);
    share_instances(m);
    m->tree = m->reading;
    m->reading = before;
    m->partial = partial;
    mem_free(m->cluster_nodes);
    m->cluster_nodes = take_ptr(m->status.cluster_nodes);
    touch_tree(m, before, m->tree);
    path_queue_sort(&m->touched);
}

int mirror_status_end(struct mirror *m, bool partial, struct err *e)
{
    int r;

    if (!m->reading)
        return err_set(e, -EBADMSG, NULL, NULL, "the fetch failed before");
    r = sax_finish(m->status_sax, e);
    if (r == 0) {
        reader_flush(&m->status);
        r = judge_data(m, e);
    }
    if (r == 0) {
        r = judge_settled(m->reading, m->status.cluster_nodes, e);
        if (r == 0 || partial || m->tree->n_nodes) {
            replace_tree(m, r < 0);
            r = 0;
        }
    }
    status_abandon(m);
    return r;
}

bool mirror_is_partial(const struct mirror *m, bool *ret_settled)
{
    *ret_settled = judge_settled(m->tree, m->cluster_nodes, NULL) == 0;
    return m->partial;
}

/* ---- events ---- */

static enum mirror_event apply(struct mirror *m, bool replay, struct err *e)
{
    if (patch_apply(m, replay, e) < 0)
        return MIRROR_MISFIT;
    return MIRROR_APPLIED;
}

static enum mirror_event keep(struct mirror *m, const char *message, size_t n)
{
    if (m->overflow || sizeof(n) + n > m->held.max - m->held.len) {
        m->overflow = true;
        buf_reset(&m->held);
        return MIRROR_APPLIED;
    }
    buf_append(&m->held, &n, sizeof(n));
    buf_append(&m->held, message, n);
    return MIRROR_APPLIED;
}

_hot_ enum mirror_event mirror_event(struct mirror *m, const char *message, size_t n, struct err *e)
{
    struct scan scan;
    bool gap;

    m->stats.events++;
    if (scan_event(m, message, n, &scan, e) < 0)
        return MIRROR_MISFIT;
    if (!scan.is_patch) {
        m->stats.noise++;
        return MIRROR_NOISE;
    }
    gap = m->has_id && scan.id != m->last_id + 1;
    if (gap)
        err_set(e, -EBADMSG, NULL, "id", "patch %llu came after patch %llu", (unsigned long long)scan.id,
                (unsigned long long)m->last_id);
    m->last_id = scan.id;
    m->has_id = true;
    if (gap)
        return MIRROR_GAP;
    if (m->n_changes == 0) {
        m->stats.noise++;
        return MIRROR_NOISE;
    }
    return m->holding ? keep(m, message, n) : apply(m, false, e);
}

void mirror_follow(struct mirror *m)
{
    m->has_id = false;
}

void mirror_hold(struct mirror *m)
{
    m->holding = true;
    m->overflow = false;
    buf_reset(&m->held);
}

enum mirror_event mirror_release(struct mirror *m, struct err *e)
{
    enum mirror_event worst = MIRROR_NOISE;
    struct scan scan;
    size_t n;

    m->holding = false;
    if (m->overflow) {
        err_set(e, -EMSGSIZE, NULL, NULL, "more than %d bytes of events came while the whole was fetched",
                MIRROR_QUEUE_MAX);
        worst = MIRROR_GAP;
    }
    for (size_t at = 0; at < m->held.len && worst < MIRROR_GAP; at += sizeof(n) + n) {
        memcpy(&n, m->held.data + at, sizeof(n));
        if (scan_event(m, (char *)m->held.data + at + sizeof(n), n, &scan, e) < 0)
            worst = MIRROR_MISFIT;
        else
            worst = apply(m, true, e);
    }
    buf_clear(&m->held);
    m->overflow = false;
    return worst;
}

_hot_ uint64_t mirror_last_id(const struct mirror *m)
{
    return m->last_id;
}

/* ---- what came of it ---- */

bool mirror_next_touched(struct mirror *m, struct facts *ret_facts, bool *ret_gone)
{
    for (;;) {
        const char *path = path_queue_take(&m->touched);
        bool reported;

        arena_free(m->facts_arena);
        m->facts_arena = NULL;
        text_set(&m->pools, &m->taken, path);
        if (!path)
            return false;
        m->facts_arena = arena_new();
        reported = map_get(&m->reported, path, intern_len(path)) != NULL;
        if (facts_make(m, path, m->facts_arena, ret_facts)) {
            if (!reported)
                map_put(&m->reported, path, intern_len(path), (void *)(uintptr_t)intern_ref(path));
            *ret_gone = false;
            return true;
        }
        if (reported) {
            intern_unref(m->pools.texts, map_remove(&m->reported, path, intern_len(path)));
            *ret_facts = (struct facts){.path = path};
            *ret_gone = true;
            return true;
        }
    }
}

void mirror_touch_all(struct mirror *m)
{
    struct map_entry *e;

    for (size_t i = 0; i < m->tree->n_nodes; i++)
        for (size_t k = 0; map_next(&m->tree->nodes[i]->instances, &k, &e);) {
            const struct instance *instance = e->value;
            bool is_secret = path_is_secret(instance->head.path, e->key_len);

            path_queue_add(is_secret ? &m->secrets : &m->touched, instance->head.path);
        }
    path_queue_sort(&m->touched);
}

const char *mirror_secret_csum(const struct mirror *m, const char *path)
{
    const struct instance *newest = NULL;

    for (size_t i = 0; i < m->tree->n_nodes; i++) {
        const struct instance *instance = map_gets(&m->tree->nodes[i]->instances, path);

        if (!instance || instance->head.config != SLOT_OBJECT || !instance->head.csum || !*instance->head.csum)
            continue;
        if (!newest || config_is_newer(instance, newest))
            newest = instance;
    }
    return newest ? newest->head.csum : NULL;
}

const char *mirror_next_secret(struct mirror *m)
{
    text_set(&m->pools, &m->taken, path_queue_take(&m->secrets));
    return m->taken;
}

static bool is_instance_of(const struct node *n, const char *path)
{
    const struct instance *i = map_gets(&n->instances, path);

    return i && i->head.status == SLOT_OBJECT;
}

const char *const *mirror_write_back_paths(struct mirror *m, const char *path, const char **ret_node)
{
    const struct scaler *s = map_gets(&m->scalers, path);
    size_t n = 0;

    mem_free(m->scratch);
    m->scratch = mem_array(const char *, (s ? s->n_slaves : 0) + 2);
    m->scratch[n++] = path;
    for (size_t i = 0; s && i < s->n_slaves; i++)
        m->scratch[n++] = s->slaves[i];
    *ret_node = NULL;
    for (size_t i = 0; i < m->tree->n_nodes && !*ret_node; i++)
        if (is_instance_of(m->tree->nodes[i], path))
            *ret_node = m->tree->nodes[i]->name;
    return m->scratch;
}

struct mirror_stats mirror_stats(const struct mirror *m)
{
    struct mirror_stats s = m->stats;
    struct map_entry *e;

    s.services = m->reported.count;
    for (size_t i = 0; i < m->tree->n_nodes; i++) {
        const struct node *n = m->tree->nodes[i];

        s.nodes += n->slot == SLOT_OBJECT;
        for (size_t k = 0; map_next(&n->instances, &k, &e);) {
            const struct instance *instance = e->value;

            if (instance->head.status == SLOT_OBJECT)
                s.instances++;
            else if (path_is_secret(instance->head.path, e->key_len))
                s.secrets++;
        }
    }
    return s;
}
