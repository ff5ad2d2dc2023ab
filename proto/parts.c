/*
 * Parts on the wire: envoy/config/listener/v3/listener.proto, envoy/config/route/v3/route.proto.
 *
 * A resource is a row of records, some of which are blocks: filter chains or virtual hosts. A block is one part, or,
 * where the routes of several exposures are merged in it, one part for each of these; then the block's frame (all but
 * its routes) counts as said by each of them. Everything that is no block is taken over as it is.
 *
 * The bytes come from this project's own encoder. Should they not be what they ought to be, there are no parts.
 */
#include "proto/parts.h"

#include "base/hash.h"
#include "base/map.h"
#include "proto/wire.h"

#include <assert.h>
#include <string.h>

enum {
    LISTENER_FILTER_CHAINS = 3,
    ROUTE_CONFIGURATION_VIRTUAL_HOSTS = 2,
    CHAIN_MATCH = 1,
    CHAIN_NAME = 7,
    CHAIN_MATCH_SERVER_NAMES = 11,
    VHOST_NAME = 1,
    VHOST_DOMAINS = 2,
    VHOST_ROUTES = 3,
    ROUTE_MATCH = 1,
    ROUTE_ACTION = 2,
    ROUTE_NAME = 14,
    ROUTE_ACTION_CLUSTER = 1,
    MATCH_PREFIX = 1,
    MATCH_PATH = 2,
    MATCH_REGEX = 10,
    REGEX_TEXT = 2,
};

struct bytes {
    const uint8_t *p;
    size_t n;
};

/* The order among routes of several exposures (store/plan.h): exact path, longer prefix, regex, everything. */
struct rank {
    unsigned kind;
    size_t length;
};

struct block_route {
    struct bytes bytes, match;
    struct rank rank;
    size_t part;
};

struct block {
    struct bytes bytes;
    struct block_route *routes; /* only where several exposures share it */
    size_t n_routes;
    size_t first, n; /* its parts */
    const char **keys;
    size_t n_keys;
};

struct parts {
    struct resource *resource;
    struct arena *arena;
    uint32_t number; /* of the blocks' field */
    struct block *blocks;
    size_t n_blocks;
    struct part *parts;
    size_t *block_of; /* by part */
    size_t n;
    struct map by_name;    /* blocks, by their parts' name */
    struct map by_key;     /* blocks, by what they match */
    struct map by_digest;  /* parts */
    struct map by_content; /* the first part of each */
};

/* ---- reading ---- */

static struct wire wire_of(struct bytes b)
{
    return (struct wire){b.p, b.p + b.n};
}

/* The first record of bytes with that number; n 0: there is none. */
static struct bytes field(struct bytes in, uint32_t number)
{
    struct wire w = wire_of(in);
    struct wire_record r;

    while (wire_next(&w, &r) > 0)
        if (r.number == number && r.type == WIRE_BYTES)
            return (struct bytes){r.data, r.len};
    return (struct bytes){NULL, 0};
}

static const char *text_of(struct arena *a, struct bytes b)
{
    return b.n ? arena_strndup(a, (const char *)b.p, b.n) : "";
}

static size_t count(struct bytes in, uint32_t number)
{
    struct wire w = wire_of(in);
    struct wire_record r;
    size_t n = 0;

    while (wire_next(&w, &r) > 0)
        n += r.number == number && r.type == WIRE_BYTES;
    return n;
}

static void read_keys(struct parts *p, struct block *b, struct bytes from, uint32_t number)
{
    struct wire w = wire_of(from);
    struct wire_record r;

    b->keys = arena_array(p->arena, const char *, count(from, number) + 1);
    while (wire_next(&w, &r) > 0)
        if (r.number == number && r.type == WIRE_BYTES)
            b->keys[b->n_keys++] = text_of(p->arena, (struct bytes){r.data, r.len});
    /* Without any it is the one that takes what no other does. */
    if (!b->n_keys)
        b->keys[b->n_keys++] = "";
}

/* "PATH.expose#N.vhost#M" is its exposure's alone; a domain has no such sign. */
static const char *owner_by_name(struct arena *a, const char *vhost)
{
    const char *end = strstr(vhost, ".vhost#");

    return end ? arena_strndup(a, vhost, (size_t)(end - vhost)) : NULL;
}

/* By the cluster that a route leads to, or by its name where it leads to none. */
static const char *owner_of_route(struct arena *a, struct bytes route)
{
    struct bytes cluster = field(field(route, ROUTE_ACTION), ROUTE_ACTION_CLUSTER), name = field(route, ROUTE_NAME);

    return cluster.n ? text_of(a, cluster) : name.n ? text_of(a, name) : NULL;
}

static struct rank rank_of(struct bytes match)
{
    struct bytes path = field(match, MATCH_PATH), prefix = field(match, MATCH_PREFIX),
                 regex = field(field(match, MATCH_REGEX), REGEX_TEXT);

    if (path.n)
        return (struct rank){0, path.n};
    if (prefix.n == 1)
        return (struct rank){3, 1};
    return prefix.n ? (struct rank){1, prefix.n} : (struct rank){2, regex.n};
}

static bool goes_before(struct rank a, struct rank b)
{
    if (a.kind != b.kind)
        return a.kind < b.kind;
    return a.kind == 1 && a.length > b.length;
}

static size_t add_part(struct parts *p, struct block *b, const char *name, const char *owner)
{
    p->parts = mem_realloc(p->parts, p->n + 1, sizeof(struct part));
    p->block_of = mem_realloc(p->block_of, p->n + 1, sizeof(size_t));
    p->parts[p->n] = (struct part){.name = name, .owner = owner};
    p->block_of[p->n] = (size_t)(b - p->blocks);
    b->n++;
    return p->n++;
}

/* The part of that owner in the block that is being read. */
static size_t part_of_owner(struct parts *p, struct block *b, struct map *owners, const char *name, const char *owner)
{
    const char *key = owner ? owner : "";
    void *found = map_gets(owners, key);
    size_t i;

    if (found)
        return (size_t)(uintptr_t)found - 1;
    i = add_part(p, b, name, owner);
    map_puts(owners, key, (void *)(uintptr_t)(i + 1));
    return i;
}

/* What a block says beside these two fields. */
static uint64_t digest_without(struct bytes block, uint32_t one, uint32_t other)
{
    struct wire w = wire_of(block);
    struct wire_record r;
    const uint8_t *from = w.p;
    uint64_t digest = 0;

    for (; wire_next(&w, &r) > 0; from = w.p)
        if (r.number != one && r.number != other)
            digest = hash_seeded(from, (size_t)(w.p - from), digest);
    return digest;
}

static void read_shared(struct parts *p, struct block *b, const char *name)
{
    struct wire w = wire_of(b->bytes);
    struct wire_record r;
    struct map owners = {0};
    uint64_t frame = digest_without(b->bytes, VHOST_ROUTES, VHOST_ROUTES);

    b->routes = arena_array(p->arena, struct block_route, count(b->bytes, VHOST_ROUTES));
    while (wire_next(&w, &r) > 0) {
        struct block_route *route = &b->routes[b->n_routes];

        if (r.number != VHOST_ROUTES || r.type != WIRE_BYTES)
            continue;
        route->bytes = (struct bytes){r.data, r.len};
        route->match = field(route->bytes, ROUTE_MATCH);
        route->rank = rank_of(route->match);
        route->part = part_of_owner(p, b, &owners, name, owner_of_route(p->arena, route->bytes));
        b->n_routes++;
    }
    map_clear(&owners);
    if (!b->n)
        (void)add_part(p, b, name, NULL);
    for (size_t i = b->first; i < b->first + b->n; i++)
        p->parts[i].digest = frame;
    for (size_t i = 0; i < b->n_routes; i++) {
        uint64_t *digest = &p->parts[b->routes[i].part].digest;

        *digest = hash_seeded(b->routes[i].bytes.p, b->routes[i].bytes.n, *digest);
    }
    for (size_t i = b->first; i < b->first + b->n; i++)
        p->parts[i].content = p->parts[i].digest;
}

static void read_block(struct parts *p, struct bytes bytes)
{
    struct block *b = &p->blocks[p->n_blocks++];
    bool chain = p->resource->type == XDS_LISTENER;
    const char *name = text_of(p->arena, field(bytes, chain ? CHAIN_NAME : VHOST_NAME));
    const char *owner = chain ? NULL : owner_by_name(p->arena, name);

    *b = (struct block){.bytes = bytes, .first = p->n};
    if (chain)
        read_keys(p, b, field(bytes, CHAIN_MATCH), CHAIN_MATCH_SERVER_NAMES);
    else
        read_keys(p, b, bytes, VHOST_DOMAINS);
    if (chain || owner) {
        size_t i = add_part(p, b, name, owner);

        p->parts[i].digest = hash_bytes(bytes.p, bytes.n);
        p->parts[i].content = chain ? digest_without(bytes, CHAIN_NAME, CHAIN_MATCH) : p->parts[i].digest;
    } else {
        read_shared(p, b, name);
    }
    map_puts(&p->by_name, name, b);
    for (size_t i = 0; i < b->n_keys; i++)
        map_puts(&p->by_key, b->keys[i], b);
}

static struct bytes message_of(const struct resource *r)
{
    struct bytes b;

    b.p = resource_message(r, &b.n);
    return b;
}

/* Within the array, which moves no more. */
static void find_kin(struct parts *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct part *part = &p->parts[i];
        const struct part *first = map_get(&p->by_content, (const char *)&part->content, sizeof(part->content));

        if (!first)
            map_put(&p->by_content, (const char *)&part->content, sizeof(part->content), part);
        part->kin = first ? (size_t)(first - p->parts) : i;
    }
}

struct parts *parts_of(struct resource *r)
{
    struct parts *p;
    struct wire w;
    struct wire_record record;
    uint32_t number =
        r->type == XDS_LISTENER ? (uint32_t)LISTENER_FILTER_CHAINS : (uint32_t)ROUTE_CONFIGURATION_VIRTUAL_HOSTS;
    size_t n = r->type == XDS_LISTENER || r->type == XDS_ROUTE ? count(message_of(r), number) : 0;

    if (!n)
        return NULL;
    p = mem_new(struct parts);
    p->resource = resource_ref(r);
    p->arena = arena_new();
    p->number = number;
    p->blocks = arena_array(p->arena, struct block, n);
    w = wire_of(message_of(r));
    while (wire_next(&w, &record) > 0)
        if (record.number == number && record.type == WIRE_BYTES)
            read_block(p, (struct bytes){record.data, record.len});
    for (size_t i = 0; i < p->n; i++)
        map_put(&p->by_digest, (const char *)&p->parts[i].digest, sizeof(p->parts[i].digest), &p->parts[i]);
    find_kin(p);
    return p;
}

void parts_free(struct parts *p)
{
    if (!p)
        return;
    map_clear(&p->by_name);
    map_clear(&p->by_key);
    map_clear(&p->by_digest);
    map_clear(&p->by_content);
    mem_free(p->parts);
    mem_free(p->block_of);
    arena_free(p->arena);
    resource_unref(p->resource);
    mem_free(p);
}

size_t parts_count(const struct parts *p)
{
    return p->n;
}

const struct part *parts_at(const struct parts *p, size_t i)
{
    assert(i < p->n);
    return &p->parts[i];
}

bool parts_have(const struct parts *p, uint64_t digest)
{
    return map_get(&p->by_digest, (const char *)&digest, sizeof(digest)) != NULL;
}

bool parts_have_content(const struct parts *p, uint64_t content)
{
    return map_get(&p->by_content, (const char *)&content, sizeof(content)) != NULL;
}

static bool mentions(struct bytes in, const void *needle, size_t n)
{
    return memmem(in.p, in.n, needle, n) != NULL;
}

bool part_mentions(const struct parts *p, size_t i, const char *name)
{
    const struct block *b = &p->blocks[p->block_of[i]];
    struct buf text = {0};
    bool found = false;

    wire_put_varint(&text, strlen(name));
    (void)buf_append_str(&text, name); /* a name is far below any maximum */
    if (!b->n_routes)
        found = mentions(b->bytes, text.data, text.len);
    for (size_t k = 0; k < b->n_routes && !found; k++)
        found = b->routes[k].part == i && mentions(b->routes[k].bytes, text.data, text.len);
    buf_clear(&text);
    return found;
}

/* ---- which stands in ---- */

struct composition {
    const struct parts *p;
    const struct parts_choice *choice;
    struct map keys; /* of the blocks that are in: the block */
    struct buf out;
    struct map names; /* that the result may refer to: where it is noted that it does */
    size_t n_in, n_instead;
};

static bool is_in(const struct composition *c, const struct block *b)
{
    for (size_t i = b->first; i < b->first + b->n; i++)
        if (c->choice->in[i])
            return true;
    return false;
}

/* The keys of a block are its own from now on; false, and nothing is done, when some are taken. */
static bool take_keys(struct composition *c, const struct block *b)
{
    for (size_t i = 0; i < b->n_keys; i++)
        if (map_gets(&c->keys, b->keys[i]))
            return false;
    for (size_t i = 0; i < b->n_keys; i++)
        map_puts(&c->keys, b->keys[i], (void *)(uintptr_t)b);
    return true;
}

/* The earlier form's block in the place of one of one part that is left out; NULL: there is none. */
static const struct block *predecessor(const struct composition *c, const struct block *b)
{
    const struct parts *instead = c->choice->instead;
    const struct block *found = map_gets(&instead->by_name, c->p->parts[b->first].name);

    for (size_t i = 0; i < b->n_keys && !found; i++) {
        const struct block *other = map_gets(&instead->by_key, b->keys[i]);

        /* One whose name is still there stands for itself. */
        if (other && !map_gets(&c->p->by_name, instead->parts[other->first].name))
            found = other;
    }
    if (!found || found->n != 1 || !c->choice->usable(c->choice->arg, instead, found->first))
        return NULL;
    return found;
}

/* ---- writing ---- */

static void put_block(struct composition *c, const struct block *b)
{
    wire_put_bytes(&c->out, c->p->number, b->bytes.p, b->bytes.n);
}

static bool has_match(struct block_route *const *routes, size_t n, struct bytes match)
{
    for (size_t i = 0; i < n; i++)
        if (routes[i]->match.n == match.n && memcmp(routes[i]->match.p, match.p, match.n) == 0)
            return true;
    return false;
}

/* Routes of one owner go in between the others, by comparing heads; what is there already keeps its match. Returns
 * how many routes there are then. */
static size_t merge(struct block_route **routes, size_t n, const struct block *from, size_t part,
                    struct block_route **scratch)
{
    size_t kept = 0, i = 0;

    for (size_t k = 0; k < from->n_routes; k++) {
        struct block_route *route = &from->routes[k];

        if (route->part != part || has_match(routes, n, route->match))
            continue;
        while (i < n && !goes_before(route->rank, routes[i]->rank))
            scratch[kept++] = routes[i++];
        scratch[kept++] = route;
    }
    while (i < n)
        scratch[kept++] = routes[i++];
    memcpy(routes, scratch, kept * sizeof(struct block_route *));
    return kept;
}

/* The owner's part in the earlier form of the block, or NULL. */
static const struct part *earlier_part(const struct composition *c, const struct block *earlier, const char *owner)
{
    const struct parts *instead = c->choice->instead;

    for (size_t i = earlier->first; owner && i < earlier->first + earlier->n; i++)
        if (instead->parts[i].owner && strcmp(instead->parts[i].owner, owner) == 0)
            return &instead->parts[i];
    return NULL;
}

/* The owners that are left out of a shared block get what they had there before. */
static size_t merge_earlier(struct composition *c, const struct block *b, struct block_route **routes, size_t n,
                            struct block_route **scratch, const struct block *earlier)
{
    const struct parts *instead = c->choice->instead;

    for (size_t i = b->first; i < b->first + b->n; i++) {
        const struct part *part = c->choice->in[i] ? NULL : earlier_part(c, earlier, c->p->parts[i].owner);
        size_t k = part ? (size_t)(part - instead->parts) : 0, before = n;

        if (!part || !c->choice->usable(c->choice->arg, instead, k))
            continue;
        n = merge(routes, n, earlier, k, scratch);
        c->n_instead += n > before;
    }
    return n;
}

static void put_shared(struct composition *c, const struct block *b)
{
    const struct parts *instead = c->choice->instead;
    const struct block *earlier = instead ? map_gets(&instead->by_name, c->p->parts[b->first].name) : NULL;
    size_t cap = b->n_routes + (earlier ? earlier->n_routes : 0), n = 0;
    _cleanup_(mem_free_p) struct block_route **routes = mem_array(struct block_route *, cap);
    _cleanup_(mem_free_p) struct block_route **scratch = mem_array(struct block_route *, cap);
    struct wire w = wire_of(b->bytes);
    struct wire_record r;
    const uint8_t *from = w.p;
    size_t begin;

    for (size_t i = 0; i < b->n_routes; i++)
        if (c->choice->in[b->routes[i].part])
            routes[n++] = &b->routes[i];
    if (earlier)
        n = merge_earlier(c, b, routes, n, scratch, earlier);
    if (!n)
        return;
    wire_put_tag(&c->out, c->p->number, WIRE_BYTES);
    begin = wire_begin(&c->out);
    for (bool routed = false; wire_next(&w, &r) > 0; from = w.p) {
        for (size_t i = 0; !routed && r.number >= VHOST_ROUTES && i < n; i++)
            wire_put_bytes(&c->out, VHOST_ROUTES, routes[i]->bytes.p, routes[i]->bytes.n);
        routed |= r.number >= VHOST_ROUTES;
        if (r.number != VHOST_ROUTES)
            (void)buf_append(&c->out, from, (size_t)(w.p - from)); /* looked at once, at the end */
    }
    wire_end(&c->out, begin);
}

static void put_in_place(struct composition *c, const struct block *b)
{
    const struct block *other = NULL;

    if (b->n_routes) {
        put_shared(c, b);
        return;
    }
    if (c->choice->in[b->first]) {
        put_block(c, b);
        return;
    }
    if (c->choice->instead)
        other = predecessor(c, b);
    if (other && take_keys(c, other)) {
        put_block(c, other);
        c->n_instead++;
    }
}

static void put_all(struct composition *c)
{
    struct wire w = wire_of(message_of(c->p->resource));
    struct wire_record r;
    const uint8_t *from = w.p;

    for (size_t block = 0; wire_next(&w, &r) > 0; from = w.p) {
        if (r.number == c->p->number && r.type == WIRE_BYTES)
            put_in_place(c, &c->p->blocks[block++]);
        else
            (void)buf_append(&c->out, from, (size_t)(w.p - from)); /* looked at once, at the end */
    }
}

/* ---- what the result refers to ---- */

/* A name, and whether the result refers to it. */
struct mention {
    const char *name;
    bool found;
};

static void add_names(struct map *names, struct arena *a, const char *const *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct mention *m = arena_new_of(a, struct mention);

        m->name = items[i];
        map_puts(names, items[i], m);
    }
}

/* Every text within, however deep: what is a name is one that is referred to. */
static void find_names(const struct map *names, struct bytes in, unsigned depth)
{
    struct wire w = wire_of(in);
    struct wire_record r;

    while (wire_next(&w, &r) > 0) {
        struct mention *m = r.type == WIRE_BYTES ? map_get(names, (const char *)r.data, r.len) : NULL;

        if (m)
            m->found = true;
        else if (r.type == WIRE_BYTES && r.len > 1 && depth < WIRE_DEPTH_MAX)
            find_names(names, (struct bytes){r.data, r.len}, depth + 1);
    }
}

static size_t mentioned(const struct map *names, const char *const *items, size_t n, const char **to, size_t at)
{
    for (size_t i = 0; i < n; i++) {
        const struct mention *m = map_gets(names, items[i]);

        if (m->found)
            to[at++] = items[i];
    }
    return at;
}

static struct resource *pack(const struct composition *c, struct bytes message)
{
    const struct resource *own = c->p->resource,
                          *other = c->choice->instead ? c->choice->instead->resource : c->p->resource;
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const char **clusters = arena_array(a, const char *, own->n_clusters + other->n_clusters);
    const char **routes = arena_array(a, const char *, own->n_route_needs + other->n_route_needs);
    const char **secrets = arena_array(a, const char *, own->n_secret_needs + other->n_secret_needs);
    size_t n_clusters = 0, n_routes = 0, n_secrets = 0;
    struct map names = {0};
    struct resource *r;

    for (const struct resource *one = own;; one = other) {
        add_names(&names, a, one->clusters, one->n_clusters);
        add_names(&names, a, one->needs, one->n_route_needs + one->n_secret_needs);
        if (one == other)
            break;
    }
    find_names(&names, message, 0);
    for (const struct resource *one = own;; one = other) {
        n_clusters = mentioned(&names, one->clusters, one->n_clusters, clusters, n_clusters);
        n_routes = mentioned(&names, one->needs, one->n_route_needs, routes, n_routes);
        n_secrets = mentioned(&names, one->needs + one->n_route_needs, one->n_secret_needs, secrets, n_secrets);
        if (one == other)
            break;
    }
    map_clear(&names);
    r = resource_new(own->type, own->name, own->owner, message.p, message.n, clusters, n_clusters, routes, n_routes,
                     secrets, n_secrets);
    r->sensitive = own->sensitive || other->sensitive;
    r->alone = true;
    return r;
}

struct resource *parts_compose(const struct parts *p, const struct parts_choice *choice, size_t *ret_instead)
{
    struct composition c = {.p = p, .choice = choice};
    struct resource *r = NULL;

    for (size_t i = 0; i < p->n_blocks; i++)
        if (is_in(&c, &p->blocks[i]))
            (void)take_keys(&c, &p->blocks[i]); /* they stood side by side before */
    for (size_t i = 0; i < p->n; i++)
        c.n_in += choice->in[i];
    put_all(&c);
    if ((c.n_in || c.n_instead) && !c.out.overflow)
        r = pack(&c, (struct bytes){c.out.data, c.out.len});
    *ret_instead = c.n_instead;
    mem_wipe(c.out.data, c.out.len);
    buf_clear(&c.out);
    map_clear(&c.keys);
    return r;
}

/* ---- beside each other ---- */

/* Blocks without an owner are the gateway's own answers to what nobody serves. */
static bool is_owned(const struct parts *p, const struct block *b)
{
    return p->resource->type == XDS_LISTENER || p->parts[b->first].owner;
}

bool parts_serve(const struct parts *p, const char *key)
{
    const struct block *b = map_gets(&p->by_key, key);

    return b && is_owned(p, b);
}

/* The block, with those of its domains that are kept. */
static void put_kept(struct composition *c, const struct block *b)
{
    struct wire w = wire_of(b->bytes);
    struct wire_record r;
    const uint8_t *from = w.p;
    size_t begin, key = 0;

    wire_put_tag(&c->out, c->p->number, WIRE_BYTES);
    begin = wire_begin(&c->out);
    for (; wire_next(&w, &r) > 0; from = w.p)
        if (r.number != VHOST_DOMAINS || map_gets(&c->keys, b->keys[key++]) == b)
            (void)buf_append(&c->out, from, (size_t)(w.p - from)); /* looked at once, at the end */
    wire_end(&c->out, begin);
}

/* All of it, but the gateway's own answers where what is kept comes in their place. */
static void put_beside(struct composition *c)
{
    struct wire w = wire_of(message_of(c->p->resource));
    struct wire_record r;
    const uint8_t *from = w.p;

    for (size_t i = 0; wire_next(&w, &r) > 0; from = w.p) {
        const struct block *b = r.number == c->p->number && r.type == WIRE_BYTES ? &c->p->blocks[i++] : NULL;

        if (!b || is_owned(c->p, b) || !map_gets(&c->keys, b->keys[0]))
            (void)buf_append(&c->out, from, (size_t)(w.p - from)); /* looked at once, at the end */
    }
}

struct resource *parts_keep(const struct parts *now, const struct parts *before,
                            bool (*wanted)(void *arg, const char *domain), void *arg)
{
    const struct parts_choice choice = {.instead = before};
    struct composition c = {.p = now, .choice = &choice};
    struct resource *r = NULL;

    for (size_t i = 0; i < before->n_blocks; i++) {
        struct block *b = &before->blocks[i];
        bool kept = false;

        for (size_t k = 0; is_owned(before, b) && k < b->n_keys; k++) {
            if (parts_serve(now, b->keys[k]) || !wanted(arg, b->keys[k]))
                continue;
            map_puts(&c.keys, b->keys[k], b);
            kept = true;
        }
        if (kept)
            put_kept(&c, b);
    }
    if (c.out.len > 0)
        put_beside(&c);
    if (c.out.len > 0 && !c.out.overflow) {
        r = pack(&c, (struct bytes){c.out.data, c.out.len});
        r->alone = now->resource->alone;
    }
    mem_wipe(c.out.data, c.out.len);
    buf_clear(&c.out);
    map_clear(&c.keys);
    return r;
}
