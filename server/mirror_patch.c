/*
 * Applying the changes of a patch, as a whole or not at all.
 *
 * A change is walked along its path, level by level, as far as the path goes; then what stands there is cleared and
 * the value is read by the same reader as a whole data set. Values that are kept as JSON are edited in their text.
 *
 * Nothing that was there before the patch is changed in place: instances are replaced, a node or tree that changes
 * as a whole is replaced by a fresh copy first. Each replacement is noted. A change that does not fit puts everything
 * back, in the opposite order; success tells the differences to mirror_touch.
 */
#include "server/mirror_core.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { STEPS_MAX = MIRROR_DEPTH_MAX };

/* A change that is being read. */
struct patching {
    struct mirror *m;
    struct reader reader;
    struct err *err;
    bool replay;

    enum { IN_NOTHING, IN_CHANGE, IN_PATH, IN_VALUE, IN_EDIT, BEHIND_PATH, BEHIND_VALUE, IN_SKIPPED } at;
    struct json_step steps[STEPS_MAX]; /* keys are offsets in keys until the path is complete */
    size_t n_steps;
    struct buf keys;
    struct canonical *value; /* of an edit */
    size_t edit_from;        /* the step at which the JSON begins */
    enum field edit_field;
};

/* ---- undoing ---- */

static struct undo *add_undo(struct mirror *m)
{
    m->undo = mem_room(m->undo, m->n_undo, &m->undo_cap, sizeof(*m->undo));
    m->undo[m->n_undo] = (struct undo){0};
    return &m->undo[m->n_undo++];
}

static void on_replaced(void *arg, struct node *n, struct instance *before, struct instance *after)
{
    struct undo *u = add_undo(arg);

    u->is_instance = true;
    u->node = n;
    u->before = before;
    u->after = after;
}

static void put_back(struct mirror *m, struct undo *u)
{
    struct instance *dropped;
    const char *path;

    if (u->is_instance) {
        path = u->after ? u->after->head.path : u->before ? u->before->head.path : NULL;
        if (!path)
            return;
        intern_ref(path);
        dropped = node_put(u->node, path, u->before);
        instance_unref(&m->pools, dropped);
        intern_unref(m->pools.texts, path);
    } else if (u->tree_before) {
        tree_free(&m->pools, m->tree);
        m->tree = u->tree_before;
    } else {
        tree_replace_node(m->tree, u->node, u->node_before);
        node_free(&m->pools, u->node);
    }
}

static void roll_back(struct mirror *m)
{
    while (m->n_undo > 0)
        put_back(m, &m->undo[--m->n_undo]);
}

/* A node that was replaced: what it told is lost when it tells nothing any more. */
static void lose_node(struct mirror *m, const struct node *before)
{
    struct node *after = tree_node(m->tree, before->name, strlen(before->name));

    if (before->status != SLOT_OBJECT && before->lost.count == 0)
        return;
    if (!after)
        after = tree_add_node(m->tree, before->name, strlen(before->name));
    if (after->status == SLOT_OBJECT)
        node_find(&m->pools, after);
    else
        node_lose(&m->pools, after, before);
}

/* Before anything is touched: the tree must have its new content. */
static void lose_nodes(struct mirror *m)
{
    for (size_t i = 0; i < m->n_undo; i++) {
        const struct undo *u = &m->undo[i];

        for (size_t k = 0; u->tree_before && k < u->tree_before->n_nodes; k++)
            lose_node(m, u->tree_before->nodes[k]);
        if (!u->is_instance && u->node_before)
            lose_node(m, u->node_before);
    }
}

/* What stands for a node that was replaced: one that was removed may be there as a lost one. */
static const struct node *replacing(const struct mirror *m, const struct undo *u)
{
    return u->node ? u->node : tree_node(m->tree, u->node_before->name, strlen(u->node_before->name));
}

static void make_real(struct mirror *m)
{
    bool sort = false;

    lose_nodes(m);
    for (size_t i = 0; i < m->n_undo; i++) {
        struct undo *u = &m->undo[i];

        sort = sort || !u->is_instance;
        if (u->is_instance) {
            touch_instance(m, u->before, u->after);
            instance_unref(&m->pools, u->before);
        } else if (u->tree_before) {
            touch_tree(m, u->tree_before, m->tree);
            tree_free(&m->pools, u->tree_before);
            m->tree->fresh = false;
        } else {
            touch_node(m, u->node_before, replacing(m, u));
            node_free(&m->pools, u->node_before);
        }
    }
    for (size_t i = 0; m->n_undo && i < m->tree->n_nodes; i++)
        m->tree->nodes[i]->fresh = false;
    m->n_undo = 0;
    /* Maps have no order, and the services' order shall not be chance. */
    if (sort)
        path_queue_sort(&m->touched);
}

/* ---- fresh copies ---- */

/* Changes of the upper levels leave no node in place: the fresh tree has none. */
static void make_tree_fresh(struct patching *p)
{
    struct mirror *m = p->m;
    struct tree *fresh;
    struct undo *u;

    reader_flush(&p->reader);
    p->reader.node = NULL;
    if (m->tree->fresh)
        return;
    fresh = tree_new();
    fresh->slot = m->tree->slot;
    fresh->monitor = m->tree->monitor;
    fresh->nodes_slot = m->tree->nodes_slot;
    u = add_undo(m);
    u->tree_before = m->tree;
    m->tree = p->reader.tree = fresh;
}

static void make_node_fresh(struct patching *p, struct node *n)
{
    struct node *fresh;
    struct undo *u;

    assert(n);
    reader_flush(&p->reader);
    p->reader.node = n;
    if (n->fresh || p->m->tree->fresh)
        return;
    fresh = node_clone(n);
    fresh->fresh = true;
    u = add_undo(p->m);
    u->node = fresh;
    u->node_before = n;
    tree_replace_node(p->m->tree, n, fresh);
    p->reader.node = fresh;
}

static void add_node(struct patching *p, const char *name, size_t n)
{
    struct node *added = tree_add_node(p->m->tree, name, n);

    if (!p->m->tree->fresh)
        add_undo(p->m)->node = added;
}

static void remove_node(struct patching *p, struct node *n)
{
    struct undo *u;

    reader_flush(&p->reader);
    p->reader.node = NULL;
    tree_replace_node(p->m->tree, n, NULL);
    if (p->m->tree->fresh) {
        node_free(&p->m->pools, n);
        return;
    }
    u = add_undo(p->m);
    u->node_before = n;
}

/* ---- misfits ---- */

static const struct json_step *step(const struct patching *p, size_t i)
{
    return &p->steps[i];
}

/* A change that does not fit. In a replay it may be in what was fetched already, and is passed over. */
static int misfit(struct patching *p, const char *what)
{
    struct buf path = {.max = ERR_FIELD_MAX};

    p->at = IN_SKIPPED;
    if (p->replay)
        return 0;
    for (size_t i = 0; i < p->n_steps; i++) {
        const struct json_step *s = step(p, i);

        if (s->is_index)
            buf_printf(&path, "[%zu]", s->index);
        else
            buf_printf(&path, "%s%.*s", i ? "." : "", (int)s->key_len, s->key);
    }
    err_set(p->err, -EBADMSG, NULL, buf_cstr(&path), "%s", what);
    buf_clear(&path);
    return -EBADMSG;
}

static int malformed(struct patching *p)
{
    return err_set(p->err, -EBADMSG, NULL, "data", "a change that is not [PATH] or [PATH, VALUE]");
}

/* ---- along the path ---- */

static int prepare_node(struct patching *p, const struct json_step *s, bool remove)
{
    struct node *n = tree_node(p->m->tree, s->key, s->key_len);

    if (remove && (!n || n->slot == SLOT_ABSENT))
        return misfit(p, "there is no such node to remove");
    if (!n)
        add_node(p, s->key, s->key_len);
    else if (remove)
        remove_node(p, n);
    else
        make_node_fresh(p, n);
    return 0;
}

/* Nodes and trees are replaced before anything in them changes that is not an instance. */
static int prepare(struct patching *p, struct target t, const struct json_step *s, bool remove)
{
    bool is_child = t.kind == TARGET_CHILD;

    if (is_child && t.level <= LEVEL_NODES)
        make_tree_fresh(p);
    else if (is_child && t.level == LEVEL_NODE)
        return prepare_node(p, s, remove);
    else if ((is_child && t.level <= LEVEL_CONFIG) || (t.kind == TARGET_SCALAR && t.field == FIELD_NODE_STATE))
        make_node_fresh(p, p->reader.node);
    return 0;
}

/* The path ends here, at a key of the level where the reader is. */
static int end_of_path(struct patching *p, struct target t, const struct json_step *s, bool remove)
{
    bool removes_node = remove && t.kind == TARGET_CHILD && t.level == LEVEL_NODE;
    int r = prepare(p, t, s, remove);

    if (r < 0 || p->at == IN_SKIPPED)
        return r;
    if (!remove) {
        reader_clear_target(&p->reader, t, s->key, s->key_len);
        reader_begin(&p->reader, t);
        p->at = IN_VALUE;
        return 0;
    }
    if (!removes_node && !reader_remove(&p->reader, t, s->key, s->key_len))
        return misfit(p, "there is nothing to remove");
    p->at = BEHIND_VALUE;
    return 0;
}

static int edit(struct patching *p, const char *value, size_t value_len)
{
    const char **text = reader_json(&p->reader, p->edit_field);
    struct pools *pools = &p->m->pools;
    struct buf out = {0};
    bool shifted;
    int r;

    if (!text || !*text)
        return misfit(p, "set below something that does not exist");
    r = canonical_edit(*text, intern_len(*text), p->steps + p->edit_from, p->n_steps - p->edit_from, value, value_len,
                       &out, &shifted);
    if (r == -ENOENT)
        r = misfit(p, "there is nothing at this path");
    else if (r < 0)
        r = misfit(p, "the path goes through something that is no object, or no list");
    else if (shifted && p->replay)
        /* Items moved, and nobody knows whether they had moved already. */
        r = err_set(p->err, -EBADMSG, NULL, "data", "a list's item was removed while the whole was fetched");
    else
        text_set(pools, text, intern(pools->texts, (char *)out.data, out.len));
    buf_clear(&out);
    if (r == 0 && p->at != IN_SKIPPED)
        p->at = BEHIND_VALUE;
    return r;
}

/* Deep within a value that is kept as JSON. */
static int into_json(struct patching *p, struct target t, size_t from, bool remove)
{
    p->edit_field = t.field;
    p->edit_from = from;
    if (remove)
        return edit(p, NULL, 0);
    canonical_begin(p->value);
    p->at = IN_EDIT;
    return 0;
}

/* The path is complete, and it is known whether a value follows. */
static int walk(struct patching *p, bool remove)
{
    enum level level = LEVEL_TOP;

    if (p->n_steps == 0 && remove)
        return misfit(p, "the whole is removed");
    p->reader.node = NULL;
    for (size_t i = 0; i <= p->n_steps; i++) {
        /* The root is a step of its own. */
        static const struct json_step root = {.key = ""};
        const struct json_step *s = i ? step(p, i - 1) : &root;
        struct target t = level_target(level, s->key, s->key_len);

        if (s->is_index)
            return misfit(p, "an index where an object is");
        if (t.kind == TARGET_SKIP)
            break;
        if (i == p->n_steps)
            return end_of_path(p, t, s, remove);
        if (t.kind == TARGET_JSON && t.field != FIELD_CLUSTER_NODES)
            return into_json(p, t, i, remove);
        /* Whatever happens below a scalar, it does not become one. */
        if (t.kind != TARGET_CHILD)
            break;
        if (reader_enter(&p->reader, t, s->key, s->key_len) != SLOT_OBJECT)
            return misfit(p, "set below something that does not exist");
        level = t.level;
    }
    p->at = IN_SKIPPED;
    return 0;
}

/* ---- tokens of a change ---- */

static bool parse_index(const char *text, size_t n, size_t *ret_index)
{
    enum { DIGITS_MAX = 9 };
    size_t index = 0;

    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || i == DIGITS_MAX)
            return false;
        index = index * 10 + (size_t)(text[i] - '0');
    }
    *ret_index = index;
    return true;
}

static int add_step(struct patching *p, enum sax_event event, const char *text, size_t n)
{
    struct json_step *s = &p->steps[p->n_steps];
    size_t index = 0;

    if (p->n_steps == STEPS_MAX)
        return err_set(p->err, -EBADMSG, NULL, "data", "a path of more than %d steps", STEPS_MAX);
    if (event == SAX_STRING) {
        *s = (struct json_step){.index = p->keys.len, .key_len = n};
        buf_append(&p->keys, text, n);
        buf_append_byte(&p->keys, '\0');
    } else if (event == SAX_NUMBER && parse_index(text, n, &index)) {
        *s = (struct json_step){.is_index = true, .index = index, .key = ""};
    } else {
        return malformed(p);
    }
    p->n_steps++;
    return 0;
}

static void path_is_complete(struct patching *p)
{
    for (size_t i = 0; i < p->n_steps; i++)
        if (!p->steps[i].is_index)
            p->steps[i].key = (char *)p->keys.data + p->steps[i].index;
    p->at = BEHIND_PATH;
}

static int take_value(struct patching *p, enum sax_event event, const char *text, size_t n)
{
    size_t len;

    if (p->at == IN_VALUE) {
        if (reader_token(&p->reader, event, text, n))
            p->at = BEHIND_VALUE;
        return 0;
    }
    if (p->at == IN_EDIT) {
        if (!canonical_token(p->value, event, text, n))
            return 0;
        text = canonical_text(p->value, &len);
        return edit(p, text, len);
    }
    if (event == SAX_OBJECT_BEGIN || event == SAX_ARRAY_BEGIN)
        sax_skip(p->m->change_sax);
    p->at = BEHIND_VALUE;
    return 0;
}

static int change_token(void *arg, enum sax_event event, const char *text, size_t n)
{
    struct patching *p = arg;
    int r;

    switch (p->at) {
    case IN_NOTHING:
        p->at = IN_CHANGE;
        return event == SAX_ARRAY_BEGIN ? 0 : malformed(p);
    case IN_CHANGE:
        p->at = IN_PATH;
        return event == SAX_ARRAY_BEGIN ? 0 : malformed(p);
    case IN_PATH:
        if (event != SAX_ARRAY_END)
            return add_step(p, event, text, n);
        path_is_complete(p);
        return 0;
    case BEHIND_PATH:
        r = walk(p, event == SAX_ARRAY_END);
        if (r < 0 || event == SAX_ARRAY_END)
            return r;
        return take_value(p, event, text, n);
    case IN_VALUE:
    case IN_EDIT:
    case IN_SKIPPED:
        return take_value(p, event, text, n);
    case BEHIND_VALUE:
        break;
    }
    return event == SAX_ARRAY_END ? 0 : malformed(p);
}

static int apply_change(struct patching *p, const struct change *c)
{
    struct sax *s = p->m->change_sax;
    int r;

    p->at = IN_NOTHING;
    p->n_steps = 0;
    buf_reset(&p->keys);
    sax_reset(s);
    r = sax_feed(s, c->text, c->n, p->err);
    return r < 0 ? r : sax_finish(s, p->err);
}

int patch_apply(struct mirror *m, bool replay, struct err *e)
{
    const struct sax_limits limits = {.max_depth = READER_JSON_DEPTH_MAX + READER_DEPTH_MAX};
    struct patching p = {.m = m, .err = e, .replay = replay};
    int r = 0;

    if (!m->change_sax)
        m->change_sax = sax_new(&limits, change_token, &p);
    sax_set_handler(m->change_sax, change_token, &p);
    reader_init(&p.reader, &m->pools, m->change_sax, m->tree);
    p.reader.replaced = on_replaced;
    p.reader.arg = m;
    p.value = canonical_new();
    assert(m->n_undo == 0);
    for (size_t i = 0; i < m->n_changes && r == 0; i++)
        r = apply_change(&p, &m->changes[i]);
    if (r == 0)
        reader_flush(&p.reader);
    else
        draft_abandon(&p.reader.draft, &m->pools);
    if (r == 0)
        make_real(m);
    else
        roll_back(m);
    reader_clear(&p.reader);
    canonical_free(p.value);
    buf_clear(&p.keys);
    return r < 0 ? -EBADMSG : 0;
}
