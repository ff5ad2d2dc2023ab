/*
 * Reading into a tree. A stack of levels follows the objects that matter; the table below says what each key of a
 * level leads to. A value is read in the same way whether it comes as a part of a whole data set or as the value of
 * a change that ends anywhere in the tree: what stands at its place is cleared, then its tokens are taken.
 *
 * Invariant: at most one instance is a draft; the node has its old form until reader_flush().
 */
#include "server/mirror_read.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- what is kept ---- */

struct row {
    const char *key;
    size_t key_len;
    struct target target;
};

enum { ROWS_MAX = 8 };

#define CHILD(next)                                                                                                  \
    {                                                                                                                \
        .kind = TARGET_CHILD, .level = (next)                                                                        \
    }
#define SCALAR(name)                                                                                                 \
    {                                                                                                                \
        .kind = TARGET_SCALAR, .field = (name)                                                                       \
    }
#define JSON(name)                                                                                                   \
    {                                                                                                                \
        .kind = TARGET_JSON, .field = (name)                                                                         \
    }

#define ROW(key, target)                                                                                             \
    {                                                                                                                \
        key, sizeof(key) - 1, target                                                                                 \
    }

static const struct row table[][ROWS_MAX] = {
    [LEVEL_ROOT] = {ROW("monitor", CHILD(LEVEL_MONITOR)), ROW("cluster", CHILD(LEVEL_CLUSTER)),
                    ROW("error", SCALAR(FIELD_ERROR))},
    [LEVEL_MONITOR] = {ROW("nodes", CHILD(LEVEL_NODES))},
    [LEVEL_NODE] = {ROW("services", CHILD(LEVEL_SERVICES)), ROW("monitor", CHILD(LEVEL_NODE_MONITOR))},
    [LEVEL_NODE_MONITOR] = {ROW("status", SCALAR(FIELD_NODE_STATE))},
    [LEVEL_SERVICES] = {ROW("status", CHILD(LEVEL_STATUS)), ROW("config", CHILD(LEVEL_CONFIG))},
    [LEVEL_INSTANCE] = {ROW("resources", CHILD(LEVEL_RESOURCES)), ROW("monitor", CHILD(LEVEL_STATE)),
                        ROW("updated", SCALAR(FIELD_UPDATED)), ROW("topology", SCALAR(FIELD_TOPOLOGY)),
                        ROW("avail", SCALAR(FIELD_AVAIL)), ROW("scaler_slave", SCALAR(FIELD_SLAVE)),
                        ROW("scaler_slaves", JSON(FIELD_SLAVES))},
    [LEVEL_STATE] = {ROW("status", SCALAR(FIELD_STATE)), ROW("global_expect", SCALAR(FIELD_EXPECT)),
                     ROW("placement", SCALAR(FIELD_PLACEMENT))},
    [LEVEL_DECLARED] = {ROW("type", SCALAR(FIELD_TYPE)), ROW("info", JSON(FIELD_INFO))},
    [LEVEL_ADDRESS] = {ROW("status", SCALAR(FIELD_ADDRESS_STATUS)), ROW("info", CHILD(LEVEL_ADDRESS_INFO))},
    [LEVEL_ADDRESS_INFO] = {ROW("ipaddr", SCALAR(FIELD_IPADDR)), ROW("expose", JSON(FIELD_EXPOSES))},
    [LEVEL_CONFIGURATION] = {ROW("updated", SCALAR(FIELD_CONFIG_UPDATED)), ROW("csum", SCALAR(FIELD_CSUM))},
    [LEVEL_CLUSTER] = {ROW("nodes", JSON(FIELD_CLUSTER_NODES))},
};

static bool has_prefix(const char *p, size_t n, const char *prefix)
{
    size_t len = strlen(prefix);

    return n >= len && memcmp(p, prefix, len) == 0;
}

/* The kind of a path "NAME", "KIND/NAME" or "NS/KIND/NAME" is `kind`. */
static bool path_is(const char *path, size_t n, const char *kind)
{
    const char *first = memchr(path, '/', n), *second, *start = path;
    size_t len = strlen(kind);

    if (n == 0 || memchr(path, '\0', n))
        return false;
    if (!first)
        return strcmp(kind, "svc") == 0;
    second = memchr(first + 1, '/', n - (size_t)(first + 1 - path));
    if (second) {
        start = first + 1;
        if (memchr(second + 1, '/', n - (size_t)(second + 1 - path)))
            return false;
        first = second;
    }
    return (size_t)(first - start) == len && memcmp(start, kind, len) == 0;
}

/* "web1", "svc/web1" and "ns/svc/web1" are services. */
static bool path_is_service(const char *path, size_t n)
{
    return path_is(path, n, "svc");
}

bool path_is_secret(const char *path, size_t n)
{
    return path_is(path, n, "sec");
}

static struct target resource_target(const char *rid, size_t n)
{
    static const char *const declared[] = {"expose#",     "vhost#",       "route#",
                                           "hashpolicy#", "hash_policy#", "certificate#"};

    if (memchr(rid, '\0', n))
        return (struct target){.kind = TARGET_SKIP};
    if (has_prefix(rid, n, "ip#"))
        return (struct target)CHILD(LEVEL_ADDRESS);
    for (size_t i = 0; i < ARRAY_LEN(declared); i++)
        if (has_prefix(rid, n, declared[i]))
            return (struct target)CHILD(LEVEL_DECLARED);
    return (struct target){.kind = TARGET_SKIP};
}

/* Levels whose keys are names. */
static struct target named_target(enum level level, const char *key, size_t n)
{
    if (level == LEVEL_RESOURCES)
        return resource_target(key, n);
    if (level == LEVEL_NODES && n && !memchr(key, '\0', n))
        return (struct target)CHILD(LEVEL_NODE);
    if (level == LEVEL_STATUS && path_is_service(key, n))
        return (struct target)CHILD(LEVEL_INSTANCE);
    if (level == LEVEL_CONFIG && (path_is_service(key, n) || path_is_secret(key, n)))
        return (struct target)CHILD(LEVEL_CONFIGURATION);
    return (struct target){.kind = level == LEVEL_TOP ? TARGET_CHILD : TARGET_SKIP, .level = LEVEL_ROOT};
}

_hot_ struct target level_target(enum level level, const char *key, size_t n)
{
    const struct row *row = table[level];

    if (!row->key)
        return named_target(level, key, n);
    for (; row < table[level] + ROWS_MAX && row->key_len; row++)
        if (row->key_len == n && row->key[0] == key[0] && memcmp(row->key, key, n) == 0)
            return row->target;
    return (struct target){.kind = TARGET_SKIP};
}

/* ---- places ---- */

static struct draft_resource *resource(struct reader *r)
{
    assert(r->draft.resources && r->resource < r->draft.n_resources);
    return &r->draft.resources[r->resource];
}

/* What is known to stand at the object of a level, in the place where the reader is. */
static uint8_t *upper_slot(struct reader *r, enum level level)
{
    static uint8_t nobody_asks;

    switch (level) {
    case LEVEL_ROOT:
        return &r->tree->slot;
    case LEVEL_MONITOR:
        return &r->tree->monitor;
    case LEVEL_NODES:
        return &r->tree->nodes_slot;
    case LEVEL_NODE:
        return &r->node->slot;
    case LEVEL_NODE_MONITOR:
        return &r->node->monitor;
    case LEVEL_SERVICES:
        return &r->node->services;
    case LEVEL_STATUS:
        return &r->node->status;
    case LEVEL_CONFIG:
        return &r->node->config;
    default:
        return &nobody_asks;
    }
}

static uint8_t *level_slot(struct reader *r, enum level level)
{
    switch (level) {
    case LEVEL_INSTANCE:
        return &r->draft.head.status;
    case LEVEL_STATE:
        return &r->draft.head.monitor;
    case LEVEL_RESOURCES:
        return &r->draft.head.resources;
    case LEVEL_DECLARED:
    case LEVEL_ADDRESS:
        return &resource(r)->slot;
    case LEVEL_ADDRESS_INFO:
        return &resource(r)->info_slot;
    case LEVEL_CONFIGURATION:
        return &r->draft.head.config;
    default:
        return upper_slot(r, level);
    }
}

const char **reader_json(struct reader *r, enum field f)
{
    switch (f) {
    case FIELD_SLAVES:
        return &r->draft.head.slaves;
    case FIELD_INFO:
        return &resource(r)->info;
    case FIELD_EXPOSES:
        return &resource(r)->exposes;
    default:
        return NULL;
    }
}

static bool field_is_text(enum field f)
{
    return f == FIELD_NODE_STATE || f == FIELD_STATE || f == FIELD_EXPECT || f == FIELD_CSUM || f == FIELD_TYPE ||
           f == FIELD_ADDRESS_STATUS;
}

/* Where the text of a scalar is kept. */
static const char **scalar_text(struct reader *r, enum field f)
{
    switch (f) {
    case FIELD_NODE_STATE:
        return &r->node->state;
    case FIELD_STATE:
        return &r->draft.head.state;
    case FIELD_EXPECT:
        return &r->draft.head.expect;
    case FIELD_CSUM:
        return &r->draft.head.csum;
    case FIELD_TYPE:
        return &resource(r)->type;
    default:
        assert(f == FIELD_ADDRESS_STATUS);
        return &resource(r)->status;
    }
}

static uint8_t field_flag(enum field f)
{
    switch (f) {
    case FIELD_TOPOLOGY:
        return INSTANCE_FLEX;
    case FIELD_AVAIL:
        return INSTANCE_AVAIL_UP;
    case FIELD_SLAVE:
        return INSTANCE_SLAVE;
    case FIELD_PLACEMENT:
        return INSTANCE_LEADER;
    default:
        return 0;
    }
}

void reader_flush(struct reader *r)
{
    struct node *n = r->draft.node;
    struct instance *before, *after;
    const char *path;

    if (!n)
        return;
    path = intern_ref(r->draft.head.path);
    after = draft_freeze(&r->draft, r->pools);
    before = node_put(n, path, after);
    if (n->fresh || !r->replaced)
        instance_unref(r->pools, before);
    else
        r->replaced(r->arg, n, before, after);
    intern_unref(r->pools->texts, path);
}

static void open_draft(struct reader *r, const char *path, size_t n, bool thin)
{
    struct draft *d = &r->draft;

    if (d->node == r->node && d->node && intern_len(d->head.path) == n && memcmp(d->head.path, path, n) == 0 &&
        (thin || !d->thin))
        return;
    reader_flush(r);
    draft_open(d, r->pools, r->node, path, n, thin);
}

/* ---- scalars ---- */

static unsigned digits(const char *p, unsigned n)
{
    unsigned value = 0;

    for (unsigned i = 0; i < n; i++)
        value = value * 10 + (unsigned)(p[i] - '0');
    return value;
}

/* "2026-11-22T23:31:53.815048Z", as older agents write times; 0 when it is none. */
static double parse_date(const char *text, size_t n)
{
    static const char form[] = "dddd-dd-dd dd:dd:dd";
    struct tm tm = {0};
    double fraction = 0, unit = 0.1;

    if (n < sizeof(form) - 1)
        return 0;
    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';

        if (form[i] == 'd' ? !is_digit : text[i] != form[i] && !(form[i] == ' ' && text[i] == 'T'))
            return 0;
    }
    tm.tm_year = (int)digits(text, 4) - 1900;
    tm.tm_mon = (int)digits(text + 5, 2) - 1;
    tm.tm_mday = (int)digits(text + 8, 2);
    tm.tm_hour = (int)digits(text + 11, 2);
    tm.tm_min = (int)digits(text + 14, 2);
    tm.tm_sec = (int)digits(text + 17, 2);
    for (size_t i = sizeof(form); i < n && text[i] >= '0' && text[i] <= '9'; i++) {
        fraction += unit * (text[i] - '0');
        unit /= 10;
    }
    return (double)timegm(&tm) + fraction;
}

/* "1795390351.395350", as agents write times. Not rounded as strtod() does it: the last bit may differ, which is less
 * than a microsecond, but what is written the same is the same. False: it is written otherwise, or too long. */
static bool parse_decimal(const char *text, size_t n, double *ret)
{
    static const double powers[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    size_t fraction = 0;
    uint64_t value = 0;
    bool point = false;

    if (n >= ARRAY_LEN(powers))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '.' && !point && i > 0) {
            point = true;
            continue;
        }
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
        fraction += point;
    }
    *ret = (double)value / powers[fraction];
    return !point || fraction > 0;
}

/* Seconds since 1970, or 0. */
static double parse_time(enum sax_event event, const char *text, size_t n)
{
    char buf[64], *end;
    double value;

    if (event == SAX_STRING && n >= 5 && text[4] == '-')
        return parse_date(text, n);
    if ((event != SAX_NUMBER && event != SAX_STRING) || n == 0 || n >= sizeof(buf) || text[0] < '0' || text[0] > '9')
        return 0;
    if (parse_decimal(text, n, &value))
        return value;
    memcpy(buf, text, n);
    buf[n] = '\0';
    value = strtod(buf, &end);
    return *end == '\0' && isfinite(value) ? value : 0;
}

static bool is_text(enum sax_event event, const char *text, size_t n, const char *wanted)
{
    return event == SAX_STRING && n == strlen(wanted) && memcmp(text, wanted, n) == 0;
}

static bool flag_value(enum field f, enum sax_event event, const char *text, size_t n)
{
    switch (f) {
    case FIELD_TOPOLOGY:
        return is_text(event, text, n, "flex");
    case FIELD_AVAIL:
        return is_text(event, text, n, "up");
    case FIELD_PLACEMENT:
        return is_text(event, text, n, "leader");
    default:
        return event == SAX_TRUE;
    }
}

/* What is no text, or no text that can be kept, counts as "". */
static const char *agent_text_of(struct reader *r, enum sax_event event, const char *text, size_t n)
{
    if (event != SAX_STRING || memchr(text, '\0', n))
        n = 0;
    return intern(r->pools->texts, n ? text : "", n);
}

static void set_scalar(struct reader *r, enum field f, enum sax_event event, const char *text, size_t n)
{
    uint8_t flag = field_flag(f);
    struct draft_resource *address;

    if (field_is_text(f)) {
        text_set(r->pools, scalar_text(r, f), agent_text_of(r, event, text, n));
    } else if (flag) {
        r->draft.head.flags &= (uint8_t)~flag;
        if (flag_value(f, event, text, n))
            r->draft.head.flags |= flag;
    } else if (f == FIELD_UPDATED) {
        r->draft.head.updated = parse_time(event, text, n);
    } else if (f == FIELD_CONFIG_UPDATED) {
        r->draft.head.config_updated = parse_time(event, text, n);
    } else if (f == FIELD_ERROR) {
        mem_free(r->error);
        r->error = mem_strndup(event == SAX_STRING ? text : "", event == SAX_STRING ? n : 0);
    } else if (f == FIELD_IPADDR) {
        bool usable = event == SAX_STRING && n < ADDRESS_TEXT_MAX && !memchr(text, '\0', n);

        address = resource(r);
        address->has_address = true;
        if (usable)
            memcpy(address->address, text, n);
        address->address[usable ? n : 0] = '\0';
    }
}

/* Whether there was something, as far as it is known. */
static bool clear_scalar(struct reader *r, enum field f)
{
    bool was = true;

    if (field_is_text(f)) {
        was = *scalar_text(r, f) != NULL;
        text_set(r->pools, scalar_text(r, f), NULL);
    } else if (f == FIELD_UPDATED) {
        r->draft.head.updated = 0;
    } else if (f == FIELD_CONFIG_UPDATED) {
        r->draft.head.config_updated = 0;
    } else if (f == FIELD_IPADDR) {
        was = resource(r)->has_address;
        resource(r)->has_address = false;
        resource(r)->address[0] = '\0';
    } else {
        r->draft.head.flags &= (uint8_t)~field_flag(f);
    }
    return was;
}

static bool clear_json(struct reader *r, enum field f)
{
    const char **at = reader_json(r, f);
    bool was = at && *at;

    if (at)
        text_set(r->pools, at, NULL);
    return was;
}

static void json_read(struct reader *r, enum field f)
{
    size_t n;
    const char *text = canonical_text(r->canonical, &n);

    if (f == FIELD_CLUSTER_NODES) {
        mem_free(r->cluster_nodes);
        r->cluster_nodes = mem_strndup(text, n);
    } else {
        text_set(r->pools, reader_json(r, f), intern(r->pools->texts, text, n));
    }
}

/* ---- clearing ---- */

/* Takes away what stands in the object of a level, in the place where the reader is. */
static void clear_upper_level(struct reader *r, enum level level)
{
    switch (level) {
    case LEVEL_ROOT:
        r->tree->monitor = SLOT_ABSENT;
        __attribute__((fallthrough));
    case LEVEL_MONITOR:
        r->tree->nodes_slot = SLOT_ABSENT;
        __attribute__((fallthrough));
    case LEVEL_NODES:
        tree_clear(r->pools, r->tree);
        r->node = NULL;
        break;
    case LEVEL_NODE:
        node_clear(r->pools, r->node);
        break;
    case LEVEL_NODE_MONITOR:
        text_set(r->pools, &r->node->state, NULL);
        break;
    case LEVEL_SERVICES:
        node_drop(r->pools, r->node, true, true);
        break;
    case LEVEL_STATUS:
        node_drop(r->pools, r->node, true, false);
        break;
    case LEVEL_CONFIG:
        node_drop(r->pools, r->node, false, true);
        break;
    default: /* resources come new, see go_to_child() */
        break;
    }
}

static void clear_level(struct reader *r, enum level level)
{
    switch (level) {
    case LEVEL_INSTANCE:
        draft_drop_status(&r->draft, r->pools);
        break;
    case LEVEL_STATE:
        draft_drop_monitor(&r->draft, r->pools);
        break;
    case LEVEL_RESOURCES:
        draft_drop_resources(&r->draft, r->pools);
        break;
    case LEVEL_ADDRESS_INFO:
        resource_drop_info(resource(r), r->pools);
        break;
    case LEVEL_CONFIGURATION:
        draft_drop_config(&r->draft, r->pools);
        break;
    default:
        clear_upper_level(r, level);
        break;
    }
}

/* Goes to a child's object, which is made where it is missing. A resource is always made anew: of equal ones the
 * last counts. */
static void go_to_child(struct reader *r, enum level level, const char *key, size_t n)
{
    switch (level) {
    case LEVEL_NODE:
        reader_flush(r);
        r->node = tree_node(r->tree, key, n);
        if (!r->node)
            r->node = tree_add_node(r->tree, key, n);
        break;
    case LEVEL_INSTANCE:
    case LEVEL_CONFIGURATION:
        open_draft(r, key, n, level == LEVEL_CONFIGURATION);
        break;
    case LEVEL_DECLARED:
    case LEVEL_ADDRESS:
        draft_add_resource(&r->draft, r->pools, key, n, level == LEVEL_ADDRESS);
        r->resource = r->draft.n_resources - 1;
        break;
    case LEVEL_ROOT:
    case LEVEL_MONITOR:
    case LEVEL_NODES:
    case LEVEL_SERVICES:
    case LEVEL_STATUS:
    case LEVEL_CONFIG:
        reader_flush(r);
        break;
    default:
        break;
    }
}

bool reader_clear_target(struct reader *r, struct target t, const char *key, size_t n)
{
    uint8_t *slot;
    bool was;

    if (t.kind == TARGET_SCALAR)
        return clear_scalar(r, t.field);
    if (t.kind == TARGET_JSON)
        return clear_json(r, t.field);
    go_to_child(r, t.level, key, n);
    slot = level_slot(r, t.level);
    was = *slot != SLOT_ABSENT;
    if (was)
        clear_level(r, t.level);
    *slot = SLOT_ABSENT;
    return was;
}

static ptrdiff_t find_resource(struct reader *r, enum level level, const char *key, size_t n)
{
    if (level != LEVEL_DECLARED && level != LEVEL_ADDRESS)
        return -1;
    return draft_find_resource(&r->draft, key, n);
}

bool reader_remove(struct reader *r, struct target t, const char *key, size_t n)
{
    bool was = false;
    ptrdiff_t at;

    if (t.kind != TARGET_CHILD || (t.level != LEVEL_DECLARED && t.level != LEVEL_ADDRESS))
        return reader_clear_target(r, t, key, n);
    while ((at = find_resource(r, t.level, key, n)) >= 0) {
        draft_drop_resource(&r->draft, r->pools, (size_t)at);
        was = true;
    }
    return was;
}

enum slot reader_enter(struct reader *r, struct target t, const char *key, size_t n)
{
    const struct instance *i;
    struct node *node;
    ptrdiff_t at;

    if (t.level == LEVEL_NODE) {
        node = tree_node(r->tree, key, n);
        if (!node)
            return SLOT_ABSENT;
        if (r->draft.node != node)
            reader_flush(r);
        r->node = node;
    } else if (t.level == LEVEL_INSTANCE || t.level == LEVEL_CONFIGURATION) {
        i = map_get(&r->node->instances, key, n);
        /* A draft is opened for what may be there only in the draft, too. */
        if (!i && r->draft.node != r->node)
            return SLOT_ABSENT;
        open_draft(r, key, n, t.level == LEVEL_CONFIGURATION);
    } else if (t.level == LEVEL_DECLARED || t.level == LEVEL_ADDRESS) {
        at = find_resource(r, t.level, key, n);
        if (at < 0)
            return SLOT_ABSENT;
        r->resource = (size_t)at;
    }
    return *level_slot(r, t.level);
}

/* ---- tokens ---- */

void reader_init(struct reader *r, struct pools *p, struct sax *s, struct tree *w)
{
    *r = (struct reader){.pools = p, .sax = s, .tree = w, .canonical = canonical_new()};
}

void reader_clear(struct reader *r)
{
    if (r->pools)
        draft_clear(&r->draft, r->pools);
    canonical_free(r->canonical);
    mem_free(r->error);
    mem_free(r->cluster_nodes);
    *r = (struct reader){0};
}

void reader_begin(struct reader *r, struct target t)
{
    r->depth = 0;
    r->capturing = false;
    r->target = t;
}

static bool is_begin(enum sax_event event)
{
    return event == SAX_OBJECT_BEGIN || event == SAX_ARRAY_BEGIN;
}

static bool child_begins(struct reader *r, enum sax_event event)
{
    uint8_t *slot = level_slot(r, r->target.level);

    if (event == SAX_OBJECT_BEGIN) {
        assert(r->depth < READER_DEPTH_MAX);
        *slot = SLOT_OBJECT;
        r->stack[r->depth++] = r->target.level;
        return false;
    }
    *slot = SLOT_OTHER;
    if (event == SAX_ARRAY_BEGIN)
        sax_skip(r->sax);
    return r->depth == 0;
}

/* A token of a value that is kept as JSON; true when it was the last one. */
static bool json_token(struct reader *r, enum sax_event event, const char *text, size_t n)
{
    static const char null[] = "null";

    if (is_begin(event) && r->json_depth == READER_JSON_DEPTH_MAX) {
        sax_skip(r->sax);
        return canonical_token(r->canonical, SAX_NULL, null, sizeof(null) - 1);
    }
    r->json_depth += is_begin(event);
    r->json_depth -= event == SAX_OBJECT_END || event == SAX_ARRAY_END;
    return canonical_token(r->canonical, event, text, n);
}

static bool json_begins(struct reader *r, enum sax_event event, const char *text, size_t n)
{
    canonical_begin(r->canonical);
    r->json_depth = 0;
    r->capturing = !json_token(r, event, text, n);
    if (!r->capturing)
        json_read(r, r->target.field);
    return !r->capturing && r->depth == 0;
}

static bool value_begins(struct reader *r, enum sax_event event, const char *text, size_t n)
{
    switch (r->target.kind) {
    case TARGET_CHILD:
        return child_begins(r, event);
    case TARGET_JSON:
        return json_begins(r, event, text, n);
    case TARGET_SCALAR:
        set_scalar(r, r->target.field, event, text, n);
        break;
    case TARGET_SKIP:
        break;
    }
    if (is_begin(event))
        sax_skip(r->sax);
    return r->depth == 0;
}

bool reader_token(struct reader *r, enum sax_event event, const char *text, size_t n)
{
    if (r->capturing) {
        if (!json_token(r, event, text, n))
            return false;
        r->capturing = false;
        json_read(r, r->target.field);
        return r->depth == 0;
    }
    if (event == SAX_OBJECT_END)
        return --r->depth == 0;
    if (event != SAX_KEY)
        return value_begins(r, event, text, n);
    r->target = level_target(r->stack[r->depth - 1], text, n);
    if (r->target.kind == TARGET_SKIP)
        sax_skip(r->sax);
    else
        reader_clear_target(r, r->target, text, n);
    return false;
}
