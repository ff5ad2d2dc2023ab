/*
 * From what differs to which services are touched. Scalers and slaves are related in both directions: a scaler lists
 * its slaves by name, relative to its own namespace; a change of a slave touches the scaler whose it is.
 *
 * A slave that nodes list differently is the scaler's as long as any of them lists it. One that several scalers
 * list belongs to the one with the smallest path.
 */
#include "server/mirror_core.h"

#include "base/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void path_queue_add(struct path_queue *q, const char *path)
{
    if (map_get(&q->known, path, intern_len(path)))
        return;
    if (q->head > 0 && q->count == q->cap) {
        memmove(q->paths, q->paths + q->head, (q->count - q->head) * sizeof(*q->paths));
        q->count -= q->head;
        q->head = 0;
    }
    q->paths = mem_room(q->paths, q->count, &q->cap, sizeof(*q->paths));
    q->paths[q->count++] = intern_ref(path);
    map_put(&q->known, path, intern_len(path), q);
}

const char *path_queue_take(struct path_queue *q)
{
    const char *path;

    if (q->head == q->count)
        return NULL;
    path = q->paths[q->head++];
    map_remove(&q->known, path, intern_len(path));
    if (q->head == q->count)
        q->head = q->count = 0;
    return path;
}

void path_queue_sort(struct path_queue *q)
{
    if (q->count > q->head)
        qsort(q->paths + q->head, q->count - q->head, sizeof(*q->paths), text_compare);
}

void path_queue_clear(struct mirror *m, struct path_queue *q)
{
    for (size_t i = q->head; i < q->count; i++)
        intern_unref(m->pools.texts, q->paths[i]);
    mem_free(q->paths);
    map_clear(&q->known);
    *q = (struct path_queue){0};
}

static void touch(struct mirror *m, const char *path)
{
    const struct scaler *owner = map_get(&m->owners, path, intern_len(path));

    path_queue_add(&m->touched, path);
    if (owner)
        path_queue_add(&m->touched, owner->path);
}

/* ---- scalers ---- */

/* The full path of a slave: in the scaler's namespace; NULL when the name is none. */
static const char *slave_path(struct mirror *m, const char *scaler, const struct buf *name)
{
    const char *slash = strrchr(scaler, '/');
    size_t prefix = slash ? (size_t)(slash + 1 - scaler) : 0;
    struct buf path = {0};
    const char *interned;

    if (name->len == 0 || memchr(name->data, '/', name->len) || memchr(name->data, '\0', name->len))
        return NULL;
    buf_append(&path, scaler, prefix);
    buf_append(&path, name->data, name->len);
    interned = intern(m->pools.texts, (char *)path.data, path.len);
    buf_clear(&path);
    return interned;
}

/* Adds what one instance lists. */
static void add_slaves(struct mirror *m, struct scaler *s, const char *list, size_t *cap)
{
    struct buf name = {0};

    for (size_t at = 0; canonical_next_string(list, intern_len(list), &at, &name);) {
        const char *path = slave_path(m, s->path, &name);

        if (!path)
            continue;
        s->slaves = mem_room(s->slaves, s->n_slaves, cap, sizeof(*s->slaves));
        s->slaves[s->n_slaves++] = path;
    }
    buf_clear(&name);
}

/* A scaler as the nodes list it now; NULL when none does. */
static struct scaler *scaler_new(struct mirror *m, const char *path)
{
    struct scaler *s = mem_new(struct scaler);
    bool listed = false;
    size_t cap = 0, n = 0;

    s->path = intern_ref(path);
    for (size_t i = 0; i < m->tree->n_nodes; i++) {
        const struct node *node = m->tree->nodes[i];
        const struct instance *instance = node_instance(node, path);

        if (!instance || instance->head.status != SLOT_OBJECT)
            instance = node_lost_instance(node, path);
        if (!instance || !instance->head.slaves)
            continue;
        listed = listed || instance->head.slaves[0] == '[';
        add_slaves(m, s, instance->head.slaves, &cap);
    }
    if (s->n_slaves)
        qsort(s->slaves, s->n_slaves, sizeof(*s->slaves), text_compare);
    for (size_t i = 0; i < s->n_slaves; i++) {
        if (i + 1 < s->n_slaves && s->slaves[i] == s->slaves[i + 1])
            intern_unref(m->pools.texts, s->slaves[i]);
        else
            s->slaves[n++] = s->slaves[i];
    }
    s->n_slaves = n;
    if (listed)
        return s;
    intern_unref(m->pools.texts, s->path);
    mem_free(s->slaves);
    mem_free(s);
    return NULL;
}

static void scaler_free(struct mirror *m, struct scaler *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_slaves; i++)
        intern_unref(m->pools.texts, s->slaves[i]);
    intern_unref(m->pools.texts, s->path);
    mem_free(s->slaves);
    mem_free(s);
}

static bool scaler_lists(const struct scaler *s, const char *slave)
{
    return s->n_slaves && bsearch(&slave, s->slaves, s->n_slaves, sizeof(*s->slaves), text_compare);
}

static void scaler_claim(struct mirror *m, struct scaler *s)
{
    for (size_t i = 0; i < s->n_slaves; i++) {
        const char *slave = s->slaves[i];
        struct scaler *owner = map_get(&m->owners, slave, intern_len(slave));

        if (owner && strcmp(owner->path, s->path) < 0)
            continue;
        map_put(&m->owners, slave, intern_len(slave), s);
        path_queue_add(&m->touched, slave);
        path_queue_add(&m->touched, s->path);
        if (owner)
            path_queue_add(&m->touched, owner->path);
    }
}

/* Takes a scaler out; slaves that another one lists too go to it. */
static void scaler_give_up(struct mirror *m, struct scaler *s)
{
    struct map_entry *e;

    map_remove(&m->scalers, s->path, intern_len(s->path));
    for (size_t i = 0; i < s->n_slaves; i++) {
        const char *slave = s->slaves[i];
        struct scaler *heir = NULL;

        if (map_get(&m->owners, slave, intern_len(slave)) != s)
            continue;
        map_remove(&m->owners, slave, intern_len(slave));
        path_queue_add(&m->touched, slave);
        for (size_t k = 0; map_next(&m->scalers, &k, &e);) {
            struct scaler *other = e->value;

            if (scaler_lists(other, slave) && (!heir || strcmp(other->path, heir->path) < 0))
                heir = other;
        }
        if (heir)
            scaler_claim(m, heir);
    }
}

static bool same_slaves(const struct scaler *a, const struct scaler *b)
{
    if (!a || !b || a->n_slaves != b->n_slaves)
        return false;
    for (size_t i = 0; i < a->n_slaves; i++)
        if (a->slaves[i] != b->slaves[i])
            return false;
    return true;
}

static void scaler_update(struct mirror *m, const char *path)
{
    struct scaler *before = map_get(&m->scalers, path, intern_len(path)), *after = scaler_new(m, path);

    if ((!before && !after) || same_slaves(before, after)) {
        scaler_free(m, after);
        return;
    }
    if (before)
        scaler_give_up(m, before);
    if (after) {
        map_put(&m->scalers, after->path, intern_len(after->path), after);
        scaler_claim(m, after);
    }
    scaler_free(m, before);
}

void scalers_clear(struct mirror *m)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&m->scalers, &i, &e);)
        scaler_free(m, e->value);
    map_clear(&m->scalers);
    map_clear(&m->owners);
}

/* ---- differences ---- */

void touch_instance(struct mirror *m, const struct instance *before, const struct instance *after)
{
    unsigned changes = instance_compare(before, after);
    const char *path;

    if (!changes)
        return;
    assert(before || after);
    path = after ? after->head.path : before->head.path;
    if (path_is_secret(path, intern_len(path))) {
        if (changes & CHANGE_CONFIG)
            path_queue_add(&m->secrets, path);
        return;
    }
    if ((before && before->head.slaves) || (after && after->head.slaves))
        scaler_update(m, path);
    if ((changes & CHANGE_FACTS) || facts_disagree(m, path))
        touch(m, path);
}

/* All that a node lost, or has found again. */
static void touch_lost(struct mirror *m, const struct node *n)
{
    struct map_entry *e;

    for (size_t i = 0; n && map_next(&n->lost, &i, &e);) {
        const struct instance *instance = e->value;

        if (instance->head.slaves)
            scaler_update(m, instance->head.path);
        touch(m, instance->head.path);
    }
}

static void touch_addresses(struct mirror *m, const struct node *n)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&n->instances, &i, &e);) {
        const struct instance *instance = e->value;

        if (instance->n_addresses)
            touch(m, instance->head.path);
    }
}

void touch_node(struct mirror *m, const struct node *before, const struct node *after)
{
    struct map_entry *e;

    if (before == after)
        return;
    for (size_t i = 0; before && map_next(&before->instances, &i, &e);) {
        const struct instance *instance = e->value;

        touch_instance(m, instance, after ? node_instance(after, instance->head.path) : NULL);
    }
    for (size_t i = 0; after && map_next(&after->instances, &i, &e);) {
        const struct instance *instance = e->value;

        if (!before || !node_instance(before, instance->head.path))
            touch_instance(m, NULL, instance);
    }
    touch_lost(m, before);
    touch_lost(m, after);
    if (before && after && before->state != after->state)
        touch_addresses(m, after);
}

void touch_tree(struct mirror *m, const struct tree *before, const struct tree *after)
{
    for (size_t i = 0; i < before->n_nodes; i++) {
        const char *name = before->nodes[i]->name;

        touch_node(m, before->nodes[i], tree_node(after, name, strlen(name)));
    }
    for (size_t i = 0; i < after->n_nodes; i++) {
        const char *name = after->nodes[i]->name;

        if (!tree_node(before, name, strlen(name)))
            touch_node(m, NULL, after->nodes[i]);
    }
}
