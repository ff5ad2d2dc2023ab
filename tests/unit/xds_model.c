/*
 * The model: see xds_model.h.
 *
 * The world is a handful of clusters, listeners, routes and secrets that refer to each other; a change makes it
 * consistent again and publishes what differs. Contents are few, so that they come back.
 *
 * Client and session are joined by two pipes, which are moved on at random. The client applies what it reads and
 * checks, after each response, what must hold:
 *   - a nonce is new and not empty, nothing comes that was not asked for;
 *   - the same version stands for the same content, and another content has another (state of the world);
 *   - no listener or route names a cluster that it does not hold, or whose assignment it was not sent; no listener a
 *     route or secret that was taken away;
 *   - what was found to be a culprit does not come again.
 * In the end, when nothing moves any more, it has the newest state, except for what it refused.
 */
#include "tests/unit/xds_model.h"

#include "server/xds_journal.h"
#include "server/xds_stream.h"
#include "tests/unit/test.h"
#include "tests/unit/xds_wire.h"

#include <stdio.h>
#include <string.h>

enum { N_NAMES = 8, N_PIPE = 64, N_ITEMS = 4096, N_NONCES = 8192, TEXT = 96, QUIET_ROUNDS = 400, WARMING_S = 15 };

/* One form of a resource that was published at some time. */
struct item {
    enum xds_type type;
    int name;
    char content[TEXT];
    char version[17];
    bool bad, culprit, eds;
    unsigned clusters, routes, secrets; /* bits: what it names */
    struct resource *resource;
};

/* What a cluster, listener, route or secret is at the moment. */
struct thing {
    bool exists;
    unsigned revision;
    unsigned clusters, routes, secrets;
};

struct message {
    uint8_t *bytes;
    size_t len;
    /* Of a request: what it asks for. */
    enum xds_type type;
    unsigned names;
    bool everything;
    char nonce[40];
    unsigned drops; /* how often the client has asked for less, as its sender knows */
};

struct pipe {
    struct message messages[N_PIPE];
    unsigned first, n;
};

/* What the client knows of a type. */
struct side {
    struct item *held[N_NAMES];
    bool lost[N_NAMES];              /* refused with others, or by itself: what it names is not to be relied on */
    bool sent[N_NAMES];              /* an assignment came, taken or not */
    unsigned drops, drops_delivered; /* how often it asked for less */
    bool claims;                     /* version is that of what it has */
    bool asked, everything;          /* a request was made; for all there are */
    unsigned names;                  /* bits: asked for by name */
    bool asked_delivered, everything_delivered; /* the same, as the session knows it */
    unsigned names_delivered;
    char version[40], nonce[40], nonce_sent[40]; /* sent: by the session */
};

struct model {
    const struct model_options *o;
    uint64_t seed, random;
    clock_ns now;
    struct xds_common common;
    struct thing things[XDS_TYPES][N_NAMES];
    struct item *current[XDS_TYPES][N_NAMES];
    struct item *items;
    size_t n_items;
    uint64_t revision;

    struct xds_session *sessions[XDS_TYPES]; /* aggregated: the first only */
    struct pipe up[XDS_TYPES], down[XDS_TYPES];
    struct side sides[XDS_TYPES];
    bool with_node[XDS_TYPES];
    unsigned streams[XDS_TYPES]; /* of each lane so far */
    char nonces[N_NONCES][24];
    size_t n_nonces;
    unsigned messages;
    struct {
        char version[40];
        uint64_t content;
    } versions[N_ITEMS];
    size_t n_versions;
    char held_back[40]; /* the nonce of clusters' responses that are not answered while they warm */
    char held_refusal[TEXT * 4];
    bool holds_back;
    clock_ns warms_since;
};

/* ---- failing ---- */

#define EXPECT(m, condition, ...)                                                                                    \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            char _text[1024];                                                                                        \
            snprintf(_text, sizeof(_text), __VA_ARGS__);                                                             \
            test_fail(__FILE__, __LINE__, "seed %llu: %s", (unsigned long long)(m)->seed, _text);                    \
        }                                                                                                            \
    } while (0)

static unsigned pick(struct model *m, unsigned n)
{
    return (unsigned)(test_random(&m->random) % n);
}

static const char *name_of(enum xds_type type, int i, char ret[16])
{
    static const char letters[] = {'c', 'c', 's', 'l', 'r'};

    snprintf(ret, 16, "%c.%d", letters[type], i);
    return ret;
}

static int number_of(const struct model *m, enum xds_type type, const char *name)
{
    char own[16];

    for (int i = 0; i < N_NAMES; i++)
        if (strcmp(name_of(type, i, own), name) == 0)
            return i;
    EXPECT(m, false, "a resource %s that nobody knows", name);
    return 0;
}

/* ---- the world ---- */

static bool uses_eds(int cluster)
{
    return cluster % 4 != 3;
}

static const char **list_of(enum xds_type type, unsigned bits, char names[N_NAMES][16], const char *list[N_NAMES + 1])
{
    int n = 0;

    for (int i = 0; i < N_NAMES; i++)
        if (bits >> i & 1)
            list[n++] = name_of(type, i, names[i]);
    list[n] = NULL;
    return list;
}

static struct item *find_item(struct model *m, enum xds_type type, int name, const char *content)
{
    for (size_t i = 0; i < m->n_items; i++) {
        struct item *item = &m->items[i];

        if (item->type == type && item->name == name && strcmp(item->content, content) == 0)
            return item;
    }
    return NULL;
}

static struct item *make_item(struct model *m, enum xds_type type, int name, const struct thing *t)
{
    char text[TEXT], own[16], names[3][N_NAMES][16];
    const char *lists[3][N_NAMES + 1];
    struct item *item;

    snprintf(text, sizeof(text), "%u/%x/%x/%x", t->revision, t->clusters, t->routes, t->secrets);
    item = find_item(m, type, name, text);
    if (item)
        return item;
    EXPECT(m, m->n_items < N_ITEMS, "too many contents");
    item = &m->items[m->n_items++];
    item->type = type;
    item->name = name;
    memcpy(item->content, text, sizeof(text));
    item->eds = type == XDS_CLUSTER && uses_eds(name);
    item->clusters = t->clusters;
    item->routes = t->routes;
    item->secrets = t->secrets;
    item->bad = m->o->refusal != MODEL_TAKES_ALL && pick(m, 6) == 0;
    item->resource = wire_resource_new(
        type, name_of(type, name, own), text, list_of(XDS_CLUSTER, t->clusters, names[0], lists[0]),
        list_of(XDS_ROUTE, t->routes, names[1], lists[1]), list_of(XDS_SECRET, t->secrets, names[2], lists[2]));
    item->resource->uses_eds = item->eds;
    item->resource->alone = pick(m, 8) == 0;
    snprintf(item->version, sizeof(item->version), "%016llx", (unsigned long long)item->resource->version);
    return item;
}

static unsigned existing(const struct model *m, enum xds_type type)
{
    unsigned bits = 0;

    for (int i = 0; i < N_NAMES; i++)
        if (m->things[type][i].exists)
            bits |= 1U << i;
    return bits;
}

/* Nothing refers to what is not there; an assignment is there for each cluster that takes one. */
static void make_consistent(struct model *m)
{
    unsigned clusters = existing(m, XDS_CLUSTER), secrets = existing(m, XDS_SECRET), routes = existing(m, XDS_ROUTE);

    for (int i = 0; i < N_NAMES; i++) {
        m->things[XDS_ENDPOINT][i].exists = m->things[XDS_CLUSTER][i].exists && uses_eds(i);
        m->things[XDS_LISTENER][i].clusters &= clusters;
        m->things[XDS_LISTENER][i].routes &= routes;
        m->things[XDS_LISTENER][i].secrets &= secrets;
        m->things[XDS_ROUTE][i].clusters &= clusters;
    }
}

static void publish(struct model *m, bool complete)
{
    struct wire_batch *b = wire_batch_new();

    make_consistent(m);
    wire_batch_gateway(b, "g");
    for (unsigned type = 0; type < XDS_TYPES; type++)
        for (int i = 0; i < N_NAMES; i++) {
            const struct thing *t = &m->things[type][i];
            struct item *item = t->exists ? make_item(m, (enum xds_type)type, i, t) : NULL;
            char own[16];

            if (item == m->current[type][i])
                continue;
            m->current[type][i] = item;
            wire_batch_change(b, "g", (enum xds_type)type, name_of((enum xds_type)type, i, own),
                              item ? resource_ref(item->resource) : NULL);
        }
    wire_batch_apply(b, m->common.directory, ++m->revision, complete);
}

static void change_thing(struct model *m, enum xds_type type, int i)
{
    struct thing *t = &m->things[type][i];

    t->revision = pick(m, 3);
    if (type != XDS_LISTENER && type != XDS_ROUTE)
        return;
    t->clusters = pick(m, 1 << N_NAMES);
    t->clusters &= pick(m, 1 << N_NAMES);
    if (type == XDS_LISTENER) {
        t->routes = 1U << pick(m, N_NAMES);
        t->secrets = pick(m, 2) << pick(m, N_NAMES);
    }
}

static void change_world(struct model *m)
{
    static const enum xds_type types[] = {XDS_CLUSTER,  XDS_CLUSTER, XDS_ENDPOINT, XDS_SECRET,
                                          XDS_LISTENER, XDS_ROUTE,   XDS_LISTENER};

    for (unsigned n = 1 + pick(m, 4); n > 0; n--) {
        enum xds_type type = types[pick(m, ARRAY_LEN(types))];
        int i = (int)pick(m, N_NAMES);
        struct thing *t = &m->things[type][i];

        if (type == XDS_ENDPOINT)
            t->revision = pick(m, 3);
        else if (t->exists && pick(m, 3) == 0)
            t->exists = false;
        else
            change_thing(m, type, i);
        if (type != XDS_ENDPOINT && !t->exists && pick(m, 2))
            t->exists = true;
    }
    publish(m, true);
}

/* ---- pipes ---- */

static struct message *push(struct model *m, struct pipe *p, uint8_t *bytes, size_t len)
{
    struct message *message = &p->messages[(p->first + p->n++) % N_PIPE];

    EXPECT(m, p->n < N_PIPE, "the pipe is full");
    *message = (struct message){.bytes = bytes, .len = len};
    return message;
}

static struct message pull(struct pipe *p)
{
    struct message message = p->messages[p->first];

    p->first = (p->first + 1) % N_PIPE;
    p->n--;
    return message;
}

static void drain(struct pipe *p)
{
    while (p->n > 0)
        mem_free(pull(p).bytes);
}

static unsigned lane_of(const struct model *m, enum xds_type type)
{
    return m->o->aggregated ? 0 : type;
}

/* ---- the client's requests ---- */

struct request {
    struct wire_request wire;
    char names[N_NAMES][16], unsubscribed[N_NAMES][16];
    const char *list[N_NAMES + 2], *unsubscribe[N_NAMES + 2];
    const char *have[N_NAMES + 1], *have_versions[N_NAMES + 1];
    char have_names[N_NAMES][16];
};

static void send_request(struct model *m, enum xds_type type, struct request *r)
{
    unsigned lane = lane_of(m, type);
    struct message *message;
    size_t len;
    uint8_t *bytes;

    r->wire.type = type;
    if (!m->with_node[lane]) {
        r->wire.node_id = "client";
        r->wire.node_gateway = "g";
        m->with_node[lane] = true;
    }
    bytes = wire_pack(m->o->variant, &r->wire, &len);
    message = push(m, &m->up[lane], bytes, len);
    message->type = type;
    message->names = m->sides[type].names;
    message->everything = m->sides[type].everything;
    message->drops = m->sides[type].drops;
    snprintf(message->nonce, sizeof(message->nonce), "%s", r->wire.nonce ? r->wire.nonce : "");
}

/* state of the world: the whole subscription with each request. */
static void put_subscription(struct model *m, enum xds_type type, struct request *r)
{
    const struct side *side = &m->sides[type];
    int n = 0;

    (void)m;
    if (side->everything && side->names)
        r->list[n++] = "*";
    for (int i = 0; i < N_NAMES; i++)
        if (side->names >> i & 1)
            r->list[n++] = name_of(type, i, r->names[i]);
    r->list[n] = NULL;
    r->wire.names = r->list;
}

static void ask_sotw(struct model *m, enum xds_type type, const char *refusal)
{
    struct side *side = &m->sides[type];
    struct request r = {0};

    side->asked = true;
    put_subscription(m, type, &r);
    r.wire.version = side->version;
    r.wire.nonce = side->nonce;
    r.wire.refusal = refusal;
    send_request(m, type, &r);
}

static void first_delta(struct model *m, enum xds_type type)
{
    struct side *side = &m->sides[type];
    struct request r = {0};
    int n = 0;

    side->asked = true;
    put_subscription(m, type, &r);
    for (int i = 0; i < N_NAMES; i++)
        if (side->held[i]) {
            r.have[n] = name_of(type, i, r.have_names[i]);
            r.have_versions[n++] = side->held[i]->version;
        }
    r.wire.have = r.have;
    r.wire.have_versions = r.have_versions;
    send_request(m, type, &r);
}

static void answer_delta(struct model *m, enum xds_type type, const char *nonce, const char *refusal)
{
    struct request r = {0};

    r.wire.nonce = nonce;
    r.wire.refusal = refusal;
    send_request(m, type, &r);
}

/* Wants these names from now on; what it does not want any more is gone at once. */
static void want(struct model *m, enum xds_type type, unsigned names)
{
    struct side *side = &m->sides[type];
    unsigned more = names & ~side->names, less = side->names & ~names;
    struct request r = {0};
    int n = 0, k = 0;

    if (side->asked && !more && !less)
        return;
    side->names = names;
    /* The version is that of what it had. Who drops something and asks for it again before an answer came can't say
     * so on a new stream: a flaw of the protocol, so this client does not claim the version then. */
    side->claims &= !less;
    side->drops += less != 0;
    for (int i = 0; i < N_NAMES; i++) {
        if (more >> i & 1)
            r.list[n++] = name_of(type, i, r.names[i]);
        if (less >> i & 1)
            r.unsubscribe[k++] = name_of(type, i, r.unsubscribed[i]);
        if ((less >> i & 1) && !side->everything) {
            side->held[i] = NULL;
            side->sent[i] = side->lost[i] = false;
        }
    }
    if (!side->asked && !side->everything && !names)
        return;
    if (m->o->variant == XDS_SOTW) {
        ask_sotw(m, type, NULL);
    } else if (!side->asked) {
        first_delta(m, type);
    } else {
        r.wire.names = r.list;
        r.wire.unsubscribe = r.unsubscribe;
        send_request(m, type, &r);
    }
}

/* Asks for what its clusters and listeners refer to, as Envoy does. */
static void follow(struct model *m)
{
    unsigned assignments = 0, routes = 0, secrets = 0;

    for (int i = 0; i < N_NAMES; i++) {
        const struct item *cluster = m->sides[XDS_CLUSTER].held[i], *listener = m->sides[XDS_LISTENER].held[i];

        if (cluster && cluster->eds)
            assignments |= 1U << i;
        if (listener) {
            routes |= listener->routes;
            secrets |= listener->secrets;
        }
    }
    want(m, XDS_ENDPOINT, assignments);
    want(m, XDS_ROUTE, routes);
    want(m, XDS_SECRET, secrets);
}

/* ---- the client's checks ---- */

/* lint: complex because each clause is one rule of the order */
static void check_order(struct model *m)
{
    struct side *cds = &m->sides[XDS_CLUSTER], *eds = &m->sides[XDS_ENDPOINT];
    static const enum xds_type users[] = {XDS_LISTENER, XDS_ROUTE};

    /* Who drops a cluster that a listener names has broken the order himself. */
    if (!m->o->aggregated || m->o->asks_by_name)
        return;
    /* State of the world: nobody can tell a new stream which clusters the client's listeners still name. */
    if (m->o->variant == XDS_SOTW && m->o->cuts)
        return;
    for (size_t k = 0; k < ARRAY_LEN(users); k++)
        for (int i = 0; i < N_NAMES; i++) {
            const struct item *user = m->sides[users[k]].held[i];

            if (!user || m->sides[users[k]].lost[i])
                continue;
            /* What was refused is served in its last good form, which may name what is gone. In state of the world,
             * that a route is gone is told by its listener's new form, which may be refused. */
            if (m->o->refusal != MODEL_TAKES_ALL && (!m->current[users[k]][i] || m->current[users[k]][i]->bad))
                continue;
            for (int c = 0; c < N_NAMES; c++) {
                const struct item *cluster = m->current[XDS_CLUSTER][c];

                if (!(user->clusters >> c & 1))
                    continue;
                /* A cluster that is left out as bad is missing until a good form and its assignment came. */
                cds->lost[c] |= cluster && cluster->bad;
                if (cds->lost[c] || eds->lost[c])
                    continue;
                EXPECT(m, cds->held[c], "%s %d names cluster %d, which is not there", xds_type_name[users[k]], i, c);
                EXPECT(m, !cds->held[c]->eds || eds->sent[c], "%s %d names cluster %d, which has no assignment",
                       xds_type_name[users[k]], i, c);
            }
        }
}

static uint64_t content_of(const struct side *side, enum xds_type type)
{
    uint64_t sum = 0;

    for (int i = 0; i < N_NAMES; i++)
        if (side->held[i]) {
            uint64_t parts[2] = {side->held[i]->resource->version, (uint64_t)i};

            sum += hash_bytes(parts, sizeof(parts));
        }
    return sum + type;
}

/* A version stands for what the client has when it took the response. */
static void check_version(struct model *m, enum xds_type type, const char *version)
{
    uint64_t content = content_of(&m->sides[type], type);
    char text[40];

    snprintf(text, sizeof(text), "%u/%.36s", type, version);
    for (size_t i = 0; i < m->n_versions; i++) {
        bool same = strcmp(m->versions[i].version, text) == 0;

        EXPECT(m, same == (m->versions[i].content == content), "version %s of %s: %s", version, xds_type_name[type],
               same ? "stands for another content too" : "this content had another one");
        if (same)
            return;
    }
    EXPECT(m, m->n_versions < N_ITEMS, "too many versions");
    memcpy(m->versions[m->n_versions].version, text, sizeof(text));
    m->versions[m->n_versions++].content = content;
}

static void check_nonce(struct model *m, unsigned lane, const char *nonce)
{
    char text[24];

    EXPECT(m, *nonce, "an empty nonce");
    snprintf(text, sizeof(text), "%u/%u/%.10s", lane, m->streams[lane], nonce);
    for (size_t i = 0; i < m->n_nonces; i++)
        EXPECT(m, strcmp(m->nonces[i], text) != 0, "nonce %s again", nonce);
    EXPECT(m, m->n_nonces < N_NONCES, "too many responses");
    memcpy(m->nonces[m->n_nonces++], text, sizeof(text));
}

static struct item *item_of(struct model *m, enum xds_type type, const struct wire_resource *w);

/* When it is sent: nothing comes that the session was not asked for, or that is known to be bad. */
static void check_asked(struct model *m, const struct wire_response *r)
{
    const struct side *side = &m->sides[r->type];

    EXPECT(m, side->asked_delivered, "%s come unasked", xds_type_name[r->type]);
    for (size_t i = 0; i < r->n_resources; i++) {
        int n = number_of(m, r->type, r->resources[i].name);

        EXPECT(m, side->everything_delivered || (side->names_delivered >> n & 1), "%s %s comes unasked",
               xds_type_name[r->type], r->resources[i].name);
        EXPECT(m, !item_of(m, r->type, &r->resources[i])->culprit, "%s %s, which was found to be bad, comes again",
               xds_type_name[r->type], r->resources[i].name);
    }
}

/* ---- the client's verdict ---- */

static struct item *item_of(struct model *m, enum xds_type type, const struct wire_resource *w)
{
    int name = number_of(m, type, w->name);
    char *content = wire_content(w->bytes, w->len);
    struct item *item;

    if (!content && type == XDS_ENDPOINT) {
        /* The empty assignment that takes the place of a refused one. */
        item = find_item(m, type, name, "");
        if (!item) {
            item = &m->items[m->n_items++];
            item->type = type;
            item->name = name;
            item->resource = resource_new(type, w->name, "", w->bytes, w->len, NULL, 0, NULL, 0, NULL, 0);
            snprintf(item->version, sizeof(item->version), "%016llx", (unsigned long long)item->resource->version);
        }
        return item;
    }
    EXPECT(m, content, "%s has no content", w->name);
    item = find_item(m, type, name, content);
    mem_free(content);
    EXPECT(m, item, "%s in a form that never was", w->name);
    EXPECT(m, m->o->variant == XDS_SOTW || strcmp(item->version, w->version) == 0, "%s has the version of another",
           w->name);
    return item;
}

static bool is_full(const struct model *m, enum xds_type type)
{
    return m->o->variant == XDS_SOTW && (type == XDS_CLUSTER || type == XDS_LISTENER);
}

/*
 * Takes what is good of a response, or all of it. crossed: the session sent it before it knew that the client had
 * asked for less; so it can't know that the client took it all the same, because it asks for more again.
 */
/* lint: complex because it follows a response entry by entry, as a client would */
static void apply(struct model *m, const struct wire_response *r, bool losing, bool crossed)
{
    struct side *side = &m->sides[r->type];
    unsigned there = 0;

    for (size_t i = 0; i < r->n_resources; i++) {
        struct item *item = item_of(m, r->type, &r->resources[i]);

        there |= 1U << item->name;
        if (!side->everything && !(side->names >> item->name & 1))
            continue; /* it changed its mind meanwhile */
        side->sent[item->name] = true;
        if (losing || item->bad) {
            side->lost[item->name] |= item != side->held[item->name];
            continue;
        }
        side->held[item->name] = item;
        /* A cluster that was missing is not there again before its assignment is. */
        if (r->type == XDS_ENDPOINT && m->sides[XDS_CLUSTER].held[item->name] == m->current[XDS_CLUSTER][item->name])
            m->sides[XDS_CLUSTER].lost[item->name] = false;
        /* A form that comes back because the newer one was refused may name what is gone by now. */
        if (item == m->current[r->type][item->name] && (!item->eds || m->sides[XDS_ENDPOINT].sent[item->name]))
            side->lost[item->name] = false;
        side->lost[item->name] |= crossed;
    }
    if (losing)
        return;
    for (size_t i = 0; i < r->n_removed; i++) {
        int n = number_of(m, r->type, r->removed[i]);

        side->held[n] = NULL;
        side->sent[n] = false;
    }
    for (int i = 0; is_full(m, r->type) && i < N_NAMES; i++)
        if (!(there >> i & 1))
            side->held[i] = NULL;
}

/* The words of a refusal, or "" when there is nothing to refuse. */
static void judge(struct model *m, const struct wire_response *r, char words[TEXT * 4])
{
    bool names = m->o->refusal != MODEL_LOSES_ALL;
    size_t at = 0;

    words[0] = '\0';
    for (size_t i = 0; i < r->n_resources; i++) {
        const struct item *item = item_of(m, r->type, &r->resources[i]);

        /* What it has it does not look at again. */
        if (!item->bad || m->sides[r->type].held[item->name] == item)
            continue;
        if (!names)
            at = (size_t)snprintf(words, TEXT * 4, "Proto constraint validation failed (value must be 3)");
        else if (at < TEXT * 3)
            at += (size_t)snprintf(words + at, TEXT * 4 - at, "%s%s: it is bad", at ? ", " : "Error adding ",
                                   r->resources[i].name);
    }
}

static bool is_warming(const struct model *m)
{
    for (int i = 0; i < N_NAMES; i++) {
        const struct item *cluster = m->sides[XDS_CLUSTER].held[i];

        if (cluster && cluster->eds && !m->sides[XDS_ENDPOINT].sent[i])
            return true;
    }
    return false;
}

static void answer(struct model *m, enum xds_type type, const char *nonce, const char *words)
{
    if (m->o->variant == XDS_DELTA)
        answer_delta(m, type, nonce, *words ? words : NULL);
    else
        ask_sotw(m, type, *words ? words : NULL);
}

/* State of the world, while it warms: clusters' answers wait, and the last one speaks for all. */
static void answer_or_warm(struct model *m, enum xds_type type, const char *nonce, const char *words)
{
    if (type == XDS_CLUSTER && m->o->warms && m->o->variant == XDS_SOTW && (m->holds_back || is_warming(m))) {
        if (!m->holds_back)
            m->warms_since = m->now;
        m->holds_back = true;
        if (*words)
            snprintf(m->held_refusal, sizeof(m->held_refusal), "%s", words);
        return;
    }
    answer(m, type, nonce, words);
}

static void stop_warming(struct model *m)
{
    if (!m->holds_back || (is_warming(m) && m->now - m->warms_since < WARMING_S * CLOCK_NS_PER_S))
        return;
    m->holds_back = false;
    for (int i = 0; i < N_NAMES; i++)
        m->sides[XDS_ENDPOINT].sent[i] |= m->sides[XDS_CLUSTER].held[i] != NULL;
    ask_sotw(m, XDS_CLUSTER, *m->held_refusal ? m->held_refusal : NULL);
    m->held_refusal[0] = '\0';
}

static void receive(struct model *m, unsigned lane)
{
    struct message message = pull(&m->down[lane]);
    struct wire_response *r = wire_unpack(m->o->variant, message.bytes, message.len);
    struct side *side;
    char words[TEXT * 4];

    mem_free(message.bytes);
    EXPECT(m, r, "a response that is none");
    side = &m->sides[r->type];
    check_nonce(m, lane, r->nonce);
    snprintf(side->nonce, sizeof(side->nonce), "%s", r->nonce);
    judge(m, r, words);
    apply(m, r, *words && (m->o->refusal == MODEL_LOSES_ALL || m->o->refusal == MODEL_LOSES_NAMES),
          m->o->variant == XDS_SOTW && message.drops != side->drops);
    if (!*words && m->o->variant == XDS_SOTW) {
        snprintf(side->version, sizeof(side->version), "%s", r->version);
        side->claims = message.drops == side->drops;
        /* What came from an earlier stream may be gone, and is still held: nothing says so. */
        if (m->o->refusal == MODEL_TAKES_ALL && side->names == side->names_delivered && side->claims &&
            (is_full(m, r->type) || (!m->o->cuts && side->drops == 0)))
            check_version(m, r->type, r->version);
    }
    check_order(m);
    answer_or_warm(m, r->type, r->nonce, words);
    follow(m);
    stop_warming(m);
    wire_response_free(r);
}

/* ---- the session's side ---- */

static void on_ready(void *arg)
{
    (void)arg; /* the model asks at any time anyway */
}

static bool is_allowed(void *arg, const char *gateway)
{
    (void)arg;
    return strcmp(gateway, "g") == 0;
}

static void on_nack(void *arg, const struct xds_report *report)
{
    struct model *m = arg;

    if (!report->culprit)
        return;
    for (size_t i = 0; i < m->n_items; i++) {
        struct item *item = &m->items[i];

        if (item->type != report->type || strcmp(item->version, report->version) != 0)
            continue;
        EXPECT(m, item->bad, "%s %s is taken for a culprit, and is good", xds_type_name[item->type], report->name);
        item->culprit = true;
    }
}

static void open_lane(struct model *m, unsigned lane)
{
    struct xds_session_options o = {.common = &m->common,
                                    .variant = m->o->variant,
                                    .aggregated = m->o->aggregated,
                                    .type = (enum xds_type)lane,
                                    .peer = "test",
                                    .allowed = is_allowed,
                                    .ready = on_ready,
                                    .arg = m};

    m->sessions[lane] = xds_session_new(&o, m->now);
    m->with_node[lane] = false;
}

static unsigned n_lanes(const struct model *m)
{
    return m->o->aggregated ? 1 : XDS_TYPES;
}

/* As an Envoy that comes back: it asks for all that it asked for, and says what it has. */
static void begin(struct model *m, unsigned lane)
{
    open_lane(m, lane);
    m->streams[lane]++;
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        struct side *side = &m->sides[type];

        if (lane_of(m, (enum xds_type)type) != lane)
            continue;
        side->asked = side->asked_delivered = side->everything_delivered = false;
        side->names_delivered = 0;
        side->nonce[0] = side->nonce_sent[0] = '\0';
        memset(side->lost, 0, sizeof(side->lost));
        if (!side->claims)
            side->version[0] = '\0';
        if (!side->everything && !side->names)
            continue;
        if (m->o->variant == XDS_DELTA)
            first_delta(m, (enum xds_type)type);
        else
            ask_sotw(m, (enum xds_type)type, NULL);
    }
}

static void cut(struct model *m, unsigned lane)
{
    xds_session_free(take_ptr(m->sessions[lane]));
    drain(&m->up[lane]);
    drain(&m->down[lane]);
    m->holds_back = false;
    m->held_refusal[0] = '\0';
    begin(m, lane);
}

/* The session says that its client took all that there is. */
static bool is_up_to_date(const struct xds_session *s)
{
    return s && s->gateway && !s->progress.surveying && s->progress.at == s->gateway->journal->end;
}

/* Then it took it, and has it. */
static void check_not_premature(struct model *m, unsigned lane)
{
    if (m->o->refusal != MODEL_TAKES_ALL || m->o->asks_by_name || !m->o->aggregated ||
        !is_up_to_date(m->sessions[lane]))
        return;
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        const struct side *side = &m->sides[type];
        bool gone_is_told = m->o->variant == XDS_DELTA || is_full(m, (enum xds_type)type);
        unsigned names = side->everything ? ~0U : side->names;

        for (int i = 0; side->names == side->names_delivered && i < N_NAMES; i++)
            if ((names >> i & 1) && (m->current[type][i] || gone_is_told))
                EXPECT(m, side->held[i] == m->current[type][i], "%s %d is said to be taken", xds_type_name[type], i);
    }
}

static void deliver(struct model *m, unsigned lane)
{
    struct message message = pull(&m->up[lane]);
    struct side *side;
    struct err e = {0};
    int r = xds_session_request(m->sessions[lane], message.bytes, message.len, m->now, &e);

    EXPECT(m, r == 0, "a request is refused: %s %s", e.field, e.text);
    side = &m->sides[message.type];
    /* In state of the world a stale request changes nothing. */
    if (m->o->variant == XDS_DELTA || !side->asked_delivered || strcmp(message.nonce, side->nonce_sent) == 0) {
        side->asked_delivered = true;
        side->drops_delivered = message.drops;
        side->everything_delivered = message.everything;
        side->names_delivered = message.names;
    }
    mem_free(message.bytes);
    check_not_premature(m, lane);
}

/* Asks the session for a message; false when it has none. */
static bool ask_session(struct model *m, unsigned lane)
{
    struct xds_message message = {0};
    struct wire_response *response;
    struct message *sent;
    struct err e = {0};
    unsigned drops;
    uint8_t *bytes;
    size_t n;
    int r = xds_session_next(m->sessions[lane], m->now, &message, &e);

    EXPECT(m, r >= 0, "the stream is ended: %s", e.text);
    if (r == 0)
        return false;
    bytes = wire_message(&message, &n);
    EXPECT(m, n == message.len, "a message of %zu bytes says it has %zu", n, message.len);
    xds_message_clear(&message);
    response = wire_unpack(m->o->variant, bytes, n);
    EXPECT(m, response, "a message that is none");
    check_asked(m, response);
    drops = m->sides[response->type].drops_delivered;
    snprintf(m->sides[response->type].nonce_sent, sizeof(m->sides[0].nonce_sent), "%s", response->nonce);
    wire_response_free(response);
    sent = push(m, &m->down[lane], bytes, n);
    sent->drops = drops;
    m->messages++;
    return true;
}

/* ---- running ---- */

static void change_mind(struct model *m)
{
    static const enum xds_type types[] = {XDS_CLUSTER, XDS_LISTENER};
    enum xds_type type = types[pick(m, 2)];

    want(m, type, pick(m, 1 << N_NAMES));
    follow(m);
}

static bool is_any_up(const struct model *m)
{
    for (unsigned lane = 0; lane < n_lanes(m); lane++)
        if (m->up[lane].n > 0)
            return true;
    return false;
}

/* lint: complex because each case is one kind of step */
static void random_step(struct model *m)
{
    unsigned lane = pick(m, n_lanes(m));

    switch (pick(m, 12)) {
    case 0:
    case 1:
        change_world(m);
        break;
    case 2:
    case 3:
    case 4:
        if (m->up[lane].n > 0)
            deliver(m, lane);
        break;
    case 5:
    case 6:
    case 7:
        if (m->down[lane].n > 0)
            receive(m, lane);
        break;
    case 8:
        /* Requests travel at once: a session's patience is not what is tried here. */
        if (!is_any_up(m))
            m->now += (clock_ns)pick(m, 200) * CLOCK_NS_PER_MS;
        break;
    case 9:
        if (m->o->cuts && pick(m, 10) == 0)
            cut(m, lane);
        else if (m->o->asks_by_name && pick(m, 4) == 0)
            change_mind(m);
        break;
    default:
        if (m->down[lane].n < 3)
            ask_session(m, lane);
        break;
    }
}

/* Until nothing moves; then time passes, and still nothing moves. */
static void settle(struct model *m)
{
    unsigned idle = 0, rounds = 0;

    while (idle < 60) {
        bool moved = false;

        EXPECT(m, rounds++ < QUIET_ROUNDS * 10, "it does not come to rest");
        for (unsigned lane = 0; lane < n_lanes(m); lane++) {
            while (m->up[lane].n > 0) {
                deliver(m, lane);
                moved = true;
            }
            while (m->down[lane].n < 8 && ask_session(m, lane))
                moved = true;
            while (m->down[lane].n > 0) {
                receive(m, lane);
                moved = true;
            }
        }
        idle = moved ? 0 : idle + 1;
        stop_warming(m);
        m->now += 300 * (clock_ns)CLOCK_NS_PER_MS;
    }
}

static void check_end(struct model *m)
{
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        const struct side *side = &m->sides[type];

        for (int i = 0; side->asked && i < N_NAMES; i++) {
            const struct item *expected = m->current[type][i], *held = side->held[i];

            if (!side->everything && !(side->names >> i & 1))
                continue;
            if (expected && expected->bad) {
                EXPECT(m, !held || !held->bad, "%s %d is held in a bad form", xds_type_name[type], i);
                continue;
            }
            /* In state of the world nothing says that these are gone. */
            if (!expected && m->o->variant == XDS_SOTW && !is_full(m, (enum xds_type)type))
                continue;
            EXPECT(m, held == expected, "%s %d is held as %s, and is %s", xds_type_name[type], i,
                   held ? held->content : "nothing", expected ? expected->content : "gone");
        }
    }
}

/* What the sessions believe of their clients: all that was sent was taken or refused, and so was each revision. */
static void check_progress(struct model *m)
{
    for (unsigned lane = 0; lane < n_lanes(m); lane++) {
        const struct xds_session *s = m->sessions[lane];
        struct xds_rollout rollout;

        if (!s || !s->gateway || !s->gateway->known)
            continue;
        EXPECT(m, !s->progress.surveying, "lane %u: still surveys at type %u word %u", lane, s->progress.type,
               s->progress.word);
        EXPECT(m, s->progress.at == s->gateway->journal->end, "lane %u: %d changes are not settled", lane,
               (int)(s->gateway->journal->end - s->progress.at));
        xds_rollout_get(m->common.directory, m->revision, &rollout);
        EXPECT(m, rollout.complete, "the last revision is not complete");
        for (unsigned type = 0; type < XDS_TYPES; type++) {
            const struct xds_sub *sub = &s->subs[type];

            for (uint32_t slot = bits_next(&sub->table->live, 0); slot != BITS_END;
                 slot = bits_next(&sub->table->live, slot + 1)) {
                if (!sub->asked || !xds_covers(sub, slot) ||
                    xds_is_refused(s, sub->type, xds_current(sub->table, slot)->version))
                    continue;
                EXPECT(m, bits_get(&sub->same, slot) && bits_get(&sub->confirmed, slot),
                       "%s of slot %u is not known to be taken", xds_type_name[type], slot);
            }
        }
    }
}

static void free_model(struct model *m)
{
    for (unsigned lane = 0; lane < n_lanes(m); lane++) {
        xds_session_free(m->sessions[lane]);
        drain(&m->up[lane]);
        drain(&m->down[lane]);
    }
    xds_directory_free(m->common.directory);
    xds_refusals_free(m->common.refusals);
    for (size_t i = 0; i < m->n_items; i++)
        resource_unref(m->items[i].resource);
    mem_free(m->items);
    mem_free(m);
}

void model_run(uint64_t seed, const struct model_options *o)
{
    struct model *m = mem_new(struct model);

    m->o = o;
    m->seed = m->random = seed;
    m->now = CLOCK_NS_PER_S;
    m->items = mem_array(struct item, N_ITEMS);
    m->common.directory = xds_directory_new();
    m->common.refusals = xds_refusals_new();
    m->common.nacked = on_nack;
    m->common.arg = m;
    for (unsigned type = 0; type < XDS_TYPES; type++)
        for (int i = 0; i < N_NAMES; i++) {
            m->things[type][i].exists = type != XDS_ENDPOINT && pick(m, 2);
            change_thing(m, (enum xds_type)type, i);
        }
    m->sides[XDS_CLUSTER].everything = m->sides[XDS_LISTENER].everything = !o->asks_by_name;
    if (o->asks_by_name) {
        m->sides[XDS_CLUSTER].names = 1 + pick(m, 255);
        m->sides[XDS_LISTENER].names = 1 + pick(m, 255);
    }
    if (pick(m, 2))
        publish(m, true);
    for (unsigned lane = 0; lane < n_lanes(m); lane++)
        begin(m, lane);
    for (unsigned i = 0; i < o->steps; i++)
        random_step(m);
    change_world(m);
    settle(m);
    check_end(m);
    check_progress(m);
    free_model(m);
}
