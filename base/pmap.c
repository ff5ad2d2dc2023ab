/*
 * The persistent map: a treap, that is a search tree by key and a heap by priority. The priority of a node is the
 * hash of its key (equal ones are ordered by key), so a set of keys has exactly one shape, whatever the order in
 * which they came.
 *
 * A node is never changed while somebody else may see it. A change owns each node on its way first: a node with one
 * reference, reached from an owned one, is nobody else's and is changed in place; any other is copied. Thus building
 * a map costs no copies and changing a shared one copies its path.
 */
#include "base/pmap.h"

#include "base/hash.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

enum { PMAP_MAGIC = 0x706d6170 };
/* Fixed: the shape must be the same in every run. Any number other than that of other hashes of names will do. */
static const uint64_t priority_seed = UINT64_C(0x7265617073686170);

struct pmap {
    unsigned magic;
    atomic_uint refs;
    uint64_t priority;
    size_t count; /* of this node and all below */
    void *value;
    struct pmap *left, *right;
};

struct pmap *pmap_ref(struct pmap *m)
{
    if (m) {
        unsigned before = atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);

        assert(m->magic == PMAP_MAGIC && before > 0 && before < UINT32_MAX);
    }
    return m;
}

void pmap_unref(struct pmap *m, const struct pmap_ops *ops)
{
    unsigned before;

    if (!m)
        return;
    assert(m->magic == PMAP_MAGIC);
    before = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    pmap_unref(m->left, ops);
    pmap_unref(m->right, ops);
    ops->unref(m->value);
    m->magic = 0;
    mem_free(m);
}

size_t pmap_count(const struct pmap *m)
{
    return m ? m->count : 0;
}

static void update_count(struct pmap *m)
{
    m->count = 1 + pmap_count(m->left) + pmap_count(m->right);
}

static struct pmap *new_node(uint64_t priority, void *value, struct pmap *left, struct pmap *right)
{
    struct pmap *m = mem_new(struct pmap);

    m->magic = PMAP_MAGIC;
    atomic_init(&m->refs, 1);
    m->priority = priority;
    m->value = value;
    m->left = left;
    m->right = right;
    update_count(m);
    return m;
}

/* Takes a reference to m; returns a node of the same content that only the caller sees. */
static struct pmap *own(struct pmap *m, const struct pmap_ops *ops)
{
    struct pmap *copy;

    if (atomic_load_explicit(&m->refs, memory_order_acquire) == 1)
        return m;
    copy = new_node(m->priority, ops->ref(m->value), pmap_ref(m->left), pmap_ref(m->right));
    pmap_unref(m, ops);
    return copy;
}

/* Whether the node of that priority and key stands above m. */
static bool is_above(uint64_t priority, const char *key, const struct pmap *m, const struct pmap_ops *ops)
{
    if (priority != m->priority)
        return priority > m->priority;
    return strcmp(key, ops->key(m->value)) < 0;
}

void *pmap_get(const struct pmap *m, const struct pmap_ops *ops, const char *key)
{
    while (m) {
        int order = strcmp(key, ops->key(m->value));

        if (order == 0)
            return m->value;
        m = order < 0 ? m->left : m->right;
    }
    return NULL;
}

/* Parts m, which does not hold key, into what is before and behind it. Takes the reference to m. */
static void split(struct pmap *m, const struct pmap_ops *ops, const char *key, struct pmap **ret_before,
                  struct pmap **ret_behind)
{
    if (!m) {
        *ret_before = *ret_behind = NULL;
        return;
    }
    m = own(m, ops);
    if (strcmp(ops->key(m->value), key) < 0) {
        split(m->right, ops, key, &m->right, ret_behind);
        *ret_before = m;
    } else {
        split(m->left, ops, key, ret_before, &m->left);
        *ret_behind = m;
    }
    update_count(m);
}

/* All keys of left are smaller than all of right. Takes both references. */
static struct pmap *join(struct pmap *left, struct pmap *right, const struct pmap_ops *ops)
{
    if (!left || !right)
        return left ? left : right;
    if (is_above(left->priority, ops->key(left->value), right, ops)) {
        left = own(left, ops);
        left->right = join(left->right, right, ops);
        update_count(left);
        return left;
    }
    right = own(right, ops);
    right->left = join(left, right->left, ops);
    update_count(right);
    return right;
}

static struct pmap *put(struct pmap *m, const struct pmap_ops *ops, const char *key, uint64_t priority, void *value)
{
    struct pmap *before, *behind;
    int order;

    /* A node with this key has this priority, so it cannot be below m when the new one goes above m. */
    if (!m || is_above(priority, key, m, ops)) {
        split(m, ops, key, &before, &behind);
        return new_node(priority, ops->ref(value), before, behind);
    }
    m = own(m, ops);
    order = strcmp(key, ops->key(m->value));
    if (order == 0) {
        void *old = m->value;

        m->value = ops->ref(value);
        ops->unref(old);
    } else if (order < 0) {
        m->left = put(m->left, ops, key, priority, value);
    } else {
        m->right = put(m->right, ops, key, priority, value);
    }
    update_count(m);
    return m;
}

struct pmap *pmap_put(struct pmap *m, const struct pmap_ops *ops, void *value)
{
    const char *key = ops->key(value);

    if (pmap_get(m, ops, key) == value)
        return m;
    return put(m, ops, key, hash_seeded(key, strlen(key), priority_seed), value);
}

/* m holds key. */
static struct pmap *remove_key(struct pmap *m, const struct pmap_ops *ops, const char *key)
{
    int order = strcmp(key, ops->key(m->value));
    struct pmap *left, *right;

    if (order == 0) {
        left = pmap_ref(m->left);
        right = pmap_ref(m->right);
        pmap_unref(m, ops);
        return join(left, right, ops);
    }
    m = own(m, ops);
    if (order < 0)
        m->left = remove_key(m->left, ops, key);
    else
        m->right = remove_key(m->right, ops, key);
    update_count(m);
    return m;
}

struct pmap *pmap_remove(struct pmap *m, const struct pmap_ops *ops, const char *key)
{
    void *value = pmap_get(m, ops, key);
    struct pmap *rest;

    if (!value)
        return m;
    /* The key may stand in the value that goes. */
    ops->ref(value);
    rest = remove_key(m, ops, key);
    ops->unref(value);
    return rest;
}

void *pmap_after(const struct pmap *m, const struct pmap_ops *ops, const char *after)
{
    void *best = NULL;

    while (m) {
        if (!after || !after[0] || strcmp(ops->key(m->value), after) > 0) {
            best = m->value;
            m = m->left;
        } else {
            m = m->right;
        }
    }
    return best;
}

int pmap_each(const struct pmap *m, int (*f)(void *value, void *arg), void *arg)
{
    int r = 0;

    for (; m && r == 0; m = m->right) {
        r = pmap_each(m->left, f, arg);
        if (r == 0)
            r = f(m->value, arg);
    }
    return r;
}
