/*
 * The mirror's content: instances, declarations, nodes, trees, drafts. See mirror_state.h.
 *
 * Invariants: items of declarations and addresses are sorted by rid, each rid once; equal declarations are one
 * object; a map's key is the path that its instance holds.
 */
#include "server/mirror_state.h"

#include "base/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void text_set(struct pools *p, const char **at, const char *text)
{
    const char *before = *at;

    *at = text;
    intern_unref(p->texts, before);
}

static const char *text_ref(const char *text)
{
    return text ? intern_ref(text) : NULL;
}

void pools_init(struct pools *p)
{
    *p = (struct pools){.texts = intern_pool_new()};
}

void pools_clear(struct pools *p)
{
    assert(p->declared.count == 0);
    map_clear(&p->declared);
    intern_pool_free(p->texts);
    *p = (struct pools){0};
}

/* ---- declarations ---- */

static size_t declared_size(uint32_t n)
{
    return n * sizeof(struct declared_item);
}

/* Takes over the references of the items. */
static struct declared *declared_get(struct pools *p, struct declared_item *items, uint32_t n)
{
    struct declared *d;

    if (n == 0)
        return NULL;
    d = map_get(&p->declared, (char *)items, declared_size(n));
    if (d) {
        d->refs++;
        for (uint32_t i = 0; i < n; i++) {
            intern_unref(p->texts, items[i].rid);
            intern_unref(p->texts, items[i].type);
            intern_unref(p->texts, items[i].info);
        }
        return d;
    }
    d = mem_alloc(sizeof(*d) + declared_size(n));
    d->refs = 1;
    d->n = n;
    memcpy(d->items, items, declared_size(n));
    map_put(&p->declared, (char *)d->items, declared_size(n), d);
    return d;
}

static void declared_unref(struct pools *p, struct declared *d)
{
    void *removed;

    if (!d || --d->refs > 0)
        return;
    removed = map_remove(&p->declared, (char *)d->items, declared_size(d->n));
    assert(removed == d);
    for (uint32_t i = 0; i < d->n; i++) {
        intern_unref(p->texts, d->items[i].rid);
        intern_unref(p->texts, d->items[i].type);
        intern_unref(p->texts, d->items[i].info);
    }
    mem_free(d);
}

/* ---- instances ---- */

static void head_ref(struct instance_head *h)
{
    text_ref(h->path);
    text_ref(h->csum);
    text_ref(h->state);
    text_ref(h->expect);
    text_ref(h->slaves);
}

static void head_unref(struct pools *p, struct instance_head *h)
{
    intern_unref(p->texts, h->path);
    intern_unref(p->texts, h->csum);
    intern_unref(p->texts, h->state);
    intern_unref(p->texts, h->expect);
    intern_unref(p->texts, h->slaves);
    *h = (struct instance_head){0};
}

struct instance *instance_ref(struct instance *i)
{
    assert(i->refs > 0);
    i->refs++;
    return i;
}

void instance_unref(struct pools *p, struct instance *i)
{
    if (!i || --i->refs > 0)
        return;
    declared_unref(p, i->declared);
    for (uint32_t k = 0; k < i->n_addresses; k++) {
        intern_unref(p->texts, i->addresses[k].rid);
        intern_unref(p->texts, i->addresses[k].status);
        intern_unref(p->texts, i->addresses[k].exposes);
    }
    head_unref(p, &i->head);
    mem_free(i);
}

static bool same_addresses(const struct instance *a, const struct instance *b)
{
    if (a->n_addresses != b->n_addresses)
        return false;
    for (uint32_t i = 0; i < a->n_addresses; i++) {
        const struct address_item *x = &a->addresses[i], *y = &b->addresses[i];

        if (x->rid != y->rid || x->status != y->status || x->exposes != y->exposes || x->slot != y->slot ||
            x->info_slot != y->info_slot || !text_equal(x->address, y->address))
            return false;
    }
    return true;
}

/* None is NaN, see parse_time(). */
static bool same_doubles(double a, double b)
{
    return !(a < b) && !(a > b);
}

static bool same_config(const struct instance_head *a, const struct instance_head *b)
{
    return a->config == b->config && a->csum == b->csum && same_doubles(a->config_updated, b->config_updated);
}

bool instance_equal(const struct instance *a, const struct instance *b)
{
    return instance_compare(a, b) == 0 && a->head.monitor == b->head.monitor &&
           same_doubles(a->head.updated, b->head.updated);
}

static bool same_facts(const struct instance *a, const struct instance *b)
{
    const struct instance_head *x = &a->head, *y = &b->head;

    return x->status == y->status && x->resources == y->resources && x->state == y->state && x->expect == y->expect &&
           x->flags == y->flags && a->declared == b->declared && same_addresses(a, b);
}

unsigned instance_compare(const struct instance *a, const struct instance *b)
{
    const struct instance_head *x, *y;
    unsigned changes = 0;

    if (!a || !b)
        return a == b ? 0 : CHANGE_FACTS | CHANGE_CONFIG;
    x = &a->head;
    y = &b->head;
    if (!same_facts(a, b) || x->slaves != y->slaves)
        changes |= CHANGE_FACTS;
    if (!same_config(x, y))
        changes |= CHANGE_CONFIG;
    /* Where there is no configuration's time, the instance's tells which is the newest. */
    if ((x->config != SLOT_OBJECT || y->config != SLOT_OBJECT) && !same_doubles(x->updated, y->updated))
        changes |= CHANGE_CONFIG;
    return changes;
}

static struct instance *instance_alloc(uint32_t n_addresses, size_t texts)
{
    struct instance *i = mem_alloc(sizeof(*i) + n_addresses * sizeof(struct address_item) + texts);

    i->refs = 1;
    i->n_addresses = n_addresses;
    return i;
}

static char *instance_texts(struct instance *i)
{
    return (char *)(i->addresses + i->n_addresses);
}

static void head_copy_config(struct pools *p, struct instance_head *to, const struct instance_head *from)
{
    text_set(p, &to->csum, text_ref(from->csum));
    to->config_updated = from->config_updated;
    to->config = from->config;
}

/* A copy with another configuration part. */
static struct instance *instance_with_config(struct pools *p, const struct instance *from,
                                             const struct instance_head *config)
{
    size_t texts = 0;
    struct instance *i;
    char *at;

    for (uint32_t k = 0; k < from->n_addresses; k++)
        texts += from->addresses[k].address ? strlen(from->addresses[k].address) + 1 : 0;
    i = instance_alloc(from->n_addresses, texts);
    i->head = from->head;
    head_ref(&i->head);
    head_copy_config(p, &i->head, config);
    i->declared = from->declared;
    if (i->declared)
        i->declared->refs++;
    at = instance_texts(i);
    for (uint32_t k = 0; k < from->n_addresses; k++) {
        struct address_item *a = &i->addresses[k];

        *a = from->addresses[k];
        text_ref(a->rid);
        text_ref(a->status);
        text_ref(a->exposes);
        if (a->address) {
            size_t n = strlen(a->address) + 1;

            memcpy(at, a->address, n);
            a->address = at;
            at += n;
        }
    }
    return i;
}

/* ---- nodes and trees ---- */

struct instance *node_instance(const struct node *n, const char *path)
{
    return map_get(&n->instances, path, intern_len(path));
}

struct instance *node_lost_instance(const struct node *n, const char *path)
{
    return map_get(&n->lost, path, intern_len(path));
}

struct instance *node_put(struct node *n, const char *path, struct instance *i)
{
    if (i)
        return map_put(&n->instances, i->head.path, intern_len(i->head.path), i);
    return map_remove(&n->instances, path, intern_len(path));
}

struct node *node_clone(const struct node *n)
{
    struct node *c = mem_new(struct node);
    struct map_entry *e;

    *c = *n;
    c->name = mem_strdup(n->name);
    if (n->state)
        intern_ref(n->state);
    c->instances = c->lost = (struct map){0};
    for (size_t i = 0; map_next(&n->instances, &i, &e);)
        map_put(&c->instances, e->key, e->key_len, instance_ref(e->value));
    for (size_t i = 0; map_next(&n->lost, &i, &e);)
        map_put(&c->lost, e->key, e->key_len, instance_ref(e->value));
    return c;
}

static void drop_instances(struct pools *p, struct map *m)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(m, &i, &e);)
        instance_unref(p, e->value);
    map_clear(m);
}

static void lose(struct pools *p, struct node *n, struct instance *i)
{
    instance_unref(p, map_put(&n->lost, i->head.path, intern_len(i->head.path), instance_ref(i)));
}

void node_lose(struct pools *p, struct node *n, const struct node *before)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&before->lost, &i, &e);)
        lose(p, n, e->value);
    for (size_t i = 0; map_next(&before->instances, &i, &e);)
        if (((struct instance *)e->value)->head.status == SLOT_OBJECT)
            lose(p, n, e->value);
}

void node_find(struct pools *p, struct node *n)
{
    drop_instances(p, &n->lost);
}

void node_clear(struct pools *p, struct node *n)
{
    drop_instances(p, &n->instances);
    n->carried = false;
    text_set(p, &n->state, NULL);
    n->slot = n->monitor = n->services = n->status = n->config = SLOT_ABSENT;
}

void node_free(struct pools *p, struct node *n)
{
    if (!n)
        return;
    node_clear(p, n);
    drop_instances(p, &n->lost);
    mem_free(n->name);
    mem_free(n);
}

/* What is left of an instance, or NULL. */
static struct instance *part_of(struct pools *p, struct node *n, const struct instance *i, bool status, bool config)
{
    struct draft d = {0};
    struct instance *left;

    draft_open(&d, p, n, i->head.path, intern_len(i->head.path), false);
    if (status)
        draft_drop_status(&d, p);
    if (config)
        draft_drop_config(&d, p);
    left = draft_freeze(&d, p);
    draft_clear(&d, p);
    return left;
}

void node_drop(struct pools *p, struct node *n, bool status, bool config)
{
    struct map left = {0};
    struct map_entry *e;

    for (size_t i = 0; map_next(&n->instances, &i, &e);) {
        struct instance *part = part_of(p, n, e->value, status, config);

        if (part)
            map_put(&left, part->head.path, intern_len(part->head.path), part);
    }
    drop_instances(p, &n->instances);
    n->instances = left;
    if (status)
        n->status = SLOT_ABSENT;
    if (config)
        n->config = SLOT_ABSENT;
}

struct tree *tree_new(void)
{
    struct tree *w = mem_new(struct tree);

    w->fresh = true;
    return w;
}

void tree_clear(struct pools *p, struct tree *w)
{
    for (size_t i = 0; i < w->n_nodes; i++)
        node_free(p, w->nodes[i]);
    w->n_nodes = 0;
}

void tree_free(struct pools *p, struct tree *w)
{
    if (!w)
        return;
    tree_clear(p, w);
    mem_free(w->nodes);
    mem_free(w);
}

/* The first node whose name is not smaller. */
static size_t node_position(const struct tree *w, const char *name, size_t n, bool *ret_found)
{
    size_t low = 0, high = w->n_nodes;

    *ret_found = false;
    while (low < high) {
        size_t middle = (low + high) / 2, len = strlen(w->nodes[middle]->name);
        int order = memcmp(w->nodes[middle]->name, name, len < n ? len : n);

        if (order == 0)
            order = (len > n) - (len < n);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct node *tree_node(const struct tree *w, const char *name, size_t n)
{
    bool found;
    size_t at = node_position(w, name, n, &found);

    return found ? w->nodes[at] : NULL;
}

void tree_replace_node(struct tree *w, struct node *before, struct node *after)
{
    const char *name = before ? before->name : after->name;
    bool found;
    size_t at = node_position(w, name, strlen(name), &found);

    assert(found == (before != NULL));
    if (before && after) {
        w->nodes[at] = after;
    } else if (before) {
        w->n_nodes--;
        memmove(w->nodes + at, w->nodes + at + 1, (w->n_nodes - at) * sizeof(*w->nodes));
    } else {
        w->nodes = mem_room(w->nodes, w->n_nodes, &w->nodes_cap, sizeof(*w->nodes));
        memmove(w->nodes + at + 1, w->nodes + at, (w->n_nodes - at) * sizeof(*w->nodes));
        w->nodes[at] = after;
        w->n_nodes++;
    }
}

struct node *tree_add_node(struct tree *w, const char *name, size_t n)
{
    struct node *added = mem_new(struct node);

    added->name = mem_strndup(name, n);
    added->fresh = true;
    tree_replace_node(w, NULL, added);
    return added;
}

/* ---- drafts ---- */

struct draft_resource *draft_add_resource(struct draft *d, struct pools *p, const char *rid, size_t n,
                                          bool is_address)
{
    struct draft_resource *r;

    d->resources = mem_room(d->resources, d->n_resources, &d->cap, sizeof(*d->resources));
    r = &d->resources[d->n_resources++];
    r->rid = intern(p->texts, rid, n);
    r->is_address = is_address;
    r->slot = r->info_slot = SLOT_ABSENT;
    r->type = r->status = r->info = r->exposes = NULL;
    r->has_address = false;
    r->address[0] = '\0';
    return r;
}

static void thaw(struct draft *d, struct pools *p, const struct instance *i)
{
    for (uint32_t k = 0; i->declared && k < i->declared->n; k++) {
        const struct declared_item *item = &i->declared->items[k];
        struct draft_resource *r = draft_add_resource(d, p, item->rid, intern_len(item->rid), false);

        r->slot = (uint8_t)item->slot;
        r->type = text_ref(item->type);
        r->info = text_ref(item->info);
    }
    for (uint32_t k = 0; k < i->n_addresses; k++) {
        const struct address_item *item = &i->addresses[k];
        struct draft_resource *r = draft_add_resource(d, p, item->rid, intern_len(item->rid), true);

        r->slot = item->slot;
        r->info_slot = item->info_slot;
        r->status = text_ref(item->status);
        r->exposes = text_ref(item->exposes);
        r->has_address = item->address != NULL;
        if (item->address)
            memcpy(r->address, item->address, strlen(item->address) + 1);
    }
}

void draft_open(struct draft *d, struct pools *p, struct node *n, const char *path, size_t path_len, bool thin)
{
    const struct instance *i = map_get(&n->instances, path, path_len);

    assert(!d->node && d->n_resources == 0);
    d->node = n;
    d->thin = thin && i;
    if (!i) {
        d->head = (struct instance_head){.path = intern(p->texts, path, path_len)};
        return;
    }
    d->head = i->head;
    head_ref(&d->head);
    if (!d->thin)
        thaw(d, p, i);
}

void resource_drop_info(struct draft_resource *r, struct pools *p)
{
    text_set(p, &r->info, NULL);
    text_set(p, &r->exposes, NULL);
    r->info_slot = SLOT_ABSENT;
    r->has_address = false;
    r->address[0] = '\0';
}

static void release_resource(struct draft_resource *r, struct pools *p)
{
    resource_drop_info(r, p);
    text_set(p, &r->rid, NULL);
    text_set(p, &r->type, NULL);
    text_set(p, &r->status, NULL);
}

void draft_drop_resource(struct draft *d, struct pools *p, size_t index)
{
    release_resource(&d->resources[index], p);
    d->n_resources--;
    memmove(d->resources + index, d->resources + index + 1, (d->n_resources - index) * sizeof(*d->resources));
}

void draft_drop_resources(struct draft *d, struct pools *p)
{
    for (size_t i = 0; i < d->n_resources; i++)
        release_resource(&d->resources[i], p);
    d->n_resources = 0;
    d->head.resources = SLOT_ABSENT;
}

void draft_drop_monitor(struct draft *d, struct pools *p)
{
    text_set(p, &d->head.state, NULL);
    text_set(p, &d->head.expect, NULL);
    d->head.flags &= (uint8_t)~INSTANCE_LEADER;
    d->head.monitor = SLOT_ABSENT;
}

void draft_drop_status(struct draft *d, struct pools *p)
{
    draft_drop_resources(d, p);
    draft_drop_monitor(d, p);
    text_set(p, &d->head.slaves, NULL);
    d->head.flags = 0;
    d->head.updated = 0;
    d->head.status = SLOT_ABSENT;
}

void draft_drop_config(struct draft *d, struct pools *p)
{
    text_set(p, &d->head.csum, NULL);
    d->head.config_updated = 0;
    d->head.config = SLOT_ABSENT;
}

void draft_abandon(struct draft *d, struct pools *p)
{
    if (!d->node)
        return;
    draft_drop_resources(d, p);
    head_unref(p, &d->head);
    d->node = NULL;
}

void draft_clear(struct draft *d, struct pools *p)
{
    draft_abandon(d, p);
    mem_free(d->resources);
    *d = (struct draft){0};
}

ptrdiff_t draft_find_resource(const struct draft *d, const char *rid, size_t n)
{
    for (size_t i = d->n_resources; i-- > 0;)
        if (intern_len(d->resources[i].rid) == n && memcmp(d->resources[i].rid, rid, n) == 0)
            return (ptrdiff_t)i;
    return -1;
}

/* Stable: of equal ids the one that was added last comes last. */
static int compare_resources(const void *a, const void *b, void *arg)
{
    const struct draft_resource *resources = arg;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = strcmp(resources[x].rid, resources[y].rid);

    return order ? order : (x > y) - (x < y);
}

/* The order of the resources by id, each id once (the last of equal ones). Returns how many. */
static uint32_t sort_resources(struct draft *d, uint32_t *order)
{
    bool sorted = true;
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->n_resources; i++) {
        order[i] = i;
        sorted = sorted && (i == 0 || strcmp(d->resources[i - 1].rid, d->resources[i].rid) < 0);
    }
    if (sorted)
        return (uint32_t)d->n_resources;
    qsort_r(order, d->n_resources, sizeof(*order), compare_resources, d->resources);
    for (uint32_t i = 0; i < d->n_resources; i++)
        if (i + 1 == d->n_resources || d->resources[order[i]].rid != d->resources[order[i + 1]].rid)
            order[n++] = order[i];
    return n;
}

/* Moves the addresses' references to the instance; what is left in the draft is given back with it. */
static void freeze_addresses(struct draft *d, const uint32_t *order, uint32_t n, struct instance *i)
{
    char *at = instance_texts(i);
    uint32_t k = 0;

    for (uint32_t j = 0; j < n; j++) {
        struct draft_resource *r = &d->resources[order[j]];
        struct address_item *a = &i->addresses[k];

        if (!r->is_address)
            continue;
        k++;
        a->rid = take_ptr(r->rid);
        a->status = take_ptr(r->status);
        a->exposes = take_ptr(r->exposes);
        a->slot = r->slot;
        a->info_slot = r->info_slot;
        if (r->has_address) {
            size_t len = strlen(r->address) + 1;

            memcpy(at, r->address, len);
            a->address = at;
            at += len;
        }
    }
}

static struct declared *freeze_declared(struct draft *d, struct pools *p, const uint32_t *order, uint32_t n)
{
    enum { ON_STACK = 64 };
    struct declared_item few[ON_STACK], *items = few;
    struct declared *declared;
    uint32_t k = 0;

    if (n > ON_STACK)
        items = mem_array(struct declared_item, n);
    for (uint32_t j = 0; j < n; j++) {
        struct draft_resource *r = &d->resources[order[j]];

        if (r->is_address)
            continue;
        items[k].rid = take_ptr(r->rid);
        items[k].type = take_ptr(r->type);
        items[k].info = take_ptr(r->info);
        items[k++].slot = r->slot;
    }
    declared = declared_get(p, items, k);
    if (items != few)
        mem_free(items);
    return declared;
}

static struct instance *freeze_whole(struct draft *d, struct pools *p)
{
    enum { ON_STACK = 256 };
    uint32_t few[ON_STACK], *order = few, n, n_addresses = 0;
    struct instance *i;
    size_t texts = 0;

    if (d->n_resources > ON_STACK)
        order = mem_array(uint32_t, d->n_resources);
    n = sort_resources(d, order);
    for (uint32_t j = 0; j < n; j++) {
        const struct draft_resource *r = &d->resources[order[j]];

        n_addresses += r->is_address;
        texts += r->has_address ? strlen(r->address) + 1 : 0;
    }
    i = instance_alloc(n_addresses, texts);
    freeze_addresses(d, order, n, i);
    i->declared = freeze_declared(d, p, order, n);
    if (order != few)
        mem_free(order);
    i->head = d->head;
    d->head = (struct instance_head){0};
    return i;
}

struct instance *draft_freeze(struct draft *d, struct pools *p)
{
    struct instance *i = NULL, *before;

    assert(d->node);
    if (d->head.status != SLOT_ABSENT || d->head.config != SLOT_ABSENT) {
        before = d->thin ? node_instance(d->node, d->head.path) : NULL;
        if (before && d->node->fresh && before->refs == 1) {
            head_copy_config(p, &before->head, &d->head);
            i = instance_ref(before);
        } else {
            i = before ? instance_with_config(p, before, &d->head) : freeze_whole(d, p);
        }
    }
    draft_abandon(d, p);
    return i;
}
