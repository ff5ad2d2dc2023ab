/*
 * How many streams have what belongs together: see xds_status_bundles() in xds_status.h.
 *
 * For each gateway that is asked about, the slots of all bundles become bit sets; each stream is looked at once, 64
 * slots at a time, and only what it lacks is followed to the bundles that need it. So the usual answer, that all have
 * all, costs a few operations for 64 resources and stream.
 */
#include "server/xds_question.h"
#include "server/xds_stream.h"

#include <errno.h>
#include <string.h>

enum { WORD = 64, FIND_AT_ONCE = 256, TYPES = 4, SECRETS = 3 };

static const enum xds_type types[TYPES] = {XDS_CLUSTER, XDS_LISTENER, XDS_ROUTE, [SECRETS] = XDS_SECRET};

/* A bundle that needs a slot, in a list. */
struct need {
    uint32_t bundle, next; /* numbers; next: of a need, plus one */
};

/* All that is asked about one gateway. */
struct group {
    struct xds_gateway *gateway; /* a reference */
    struct bits wanted[TYPES];   /* slots, a reference to each */
    uint32_t *heads[TYPES];      /* by slot: number of the first need, plus one */
    uint32_t caps[TYPES];
    uint32_t n_streams;
};

/* What is found out of one bundle. */
struct finding {
    uint32_t group; /* plus one; 0: there is no such gateway */
    bool absent;    /* something of it does not exist */
    uint32_t lacking, refusing;
    uint64_t lacks, refuses; /* the last stream that was counted, by its number */
};

struct bundles_question {
    struct xds_question q;
    const struct xds_bundle *bundles;
    struct finding *findings;
    size_t n, at;
    struct arena *arena;
    struct xds_verdict *ret;
    struct group *groups;
    uint32_t n_groups;
    struct need *needs;
    size_t n_needs, needs_cap;
};

/* ---- what is needed ---- */

/* The group of a bundle's gateway, plus one; 0: there is none. Neighbours are mostly of the same. */
static uint32_t find_group(struct bundles_question *q, struct xds_directory *d, const char *name)
{
    struct xds_gateway *g;

    for (uint32_t i = q->n_groups; i-- > 0;)
        if (strcmp(q->groups[i].gateway->name, name) == 0)
            return i + 1;
    g = xds_directory_find(d, name, strlen(name));
    if (!g)
        return 0;
    q->groups = mem_realloc(q->groups, q->n_groups + 1, sizeof(struct group));
    q->groups[q->n_groups++] = (struct group){.gateway = xds_gateway_ref(g)};
    return q->n_groups;
}

static void need_slot(struct bundles_question *q, struct group *g, unsigned kind, uint32_t slot, uint32_t bundle)
{
    if (slot >= g->caps[kind]) {
        uint32_t cap = g->gateway->tables[types[kind]].cap;

        g->heads[kind] = mem_realloc(g->heads[kind], cap, sizeof(uint32_t));
        memset(g->heads[kind] + g->caps[kind], 0, (cap - g->caps[kind]) * sizeof(uint32_t));
        g->caps[kind] = cap;
    }
    if (bits_set(&g->wanted[kind], slot))
        xds_slot_ref(xds_space_of(g->gateway, types[kind]), slot);
    q->needs = mem_room(q->needs, q->n_needs, &q->needs_cap, sizeof(*q->needs));
    q->needs[q->n_needs++] = (struct need){bundle, g->heads[kind][slot]};
    g->heads[kind][slot] = (uint32_t)q->n_needs;
}

static void need_name(struct bundles_question *q, struct group *g, unsigned kind, const char *name, uint32_t bundle)
{
    const struct xds_table *table = &g->gateway->tables[types[kind]];
    uint32_t slot = name ? xds_slot_find(table->space, name, strlen(name)) : XDS_NO_SLOT;

    if (slot != XDS_NO_SLOT && xds_current(table, slot))
        need_slot(q, g, kind, slot, bundle);
    else if (name && kind != SECRETS)
        q->findings[bundle].absent = true;
}

/* False when the time is over. */
static bool find_needs(struct bundles_question *q, struct xds_directory *d, clock_ns until)
{
    while (q->at < q->n) {
        const struct xds_bundle *b = &q->bundles[q->at];
        uint32_t bundle = (uint32_t)q->at++;
        struct group *g;

        q->findings[bundle].group = find_group(q, d, b->gateway);
        if (q->findings[bundle].group) {
            g = &q->groups[q->findings[bundle].group - 1];
            need_name(q, g, 0, b->cluster, bundle);
            need_name(q, g, 1, b->listener, bundle);
            for (size_t i = 0; i < b->n_routes; i++)
                need_name(q, g, 2, b->routes[i], bundle);
            for (size_t i = 0; i < b->n_secrets; i++)
                need_name(q, g, SECRETS, b->secrets[i], bundle);
        }
        if (q->at % FIND_AT_ONCE == 0 && clock_now(NULL) >= until)
            return false;
    }
    return true;
}

/* ---- what the streams have ---- */

/* The stream has not confirmed the current form: but maybe what the bundle has in it. */
static void note_lack(struct bundles_question *q, const struct xds_session *s, const struct group *g, unsigned kind,
                      uint32_t slot)
{
    for (uint32_t i = g->heads[kind][slot]; i; i = q->needs[i - 1].next) {
        uint32_t bundle = q->needs[i - 1].bundle;
        struct finding *f = &q->findings[bundle];
        const struct xds_refusal *refusal;
        enum xds_standing standing = xds_standing_of(s, &s->subs[types[kind]], slot, &q->bundles[bundle], &refusal);

        if (standing == XDS_HAS)
            continue;
        f->lacking += f->lacks != s->roster.number;
        f->lacks = s->roster.number;
        if (standing == XDS_LACKS)
            continue;
        f->refusing += f->refuses != s->roster.number;
        f->refuses = s->roster.number;
        if (q->ret[bundle].words)
            continue;
        q->ret[bundle].type = types[kind];
        q->ret[bundle].name = arena_strdup(q->arena, refusal->name);
        q->ret[bundle].words = arena_strdup(q->arena, refusal->words);
    }
}

static void look_at(struct bundles_question *q, const struct xds_session *s, struct group *g)
{
    g->n_streams++;
    for (unsigned kind = 0; kind < TYPES; kind++) {
        const struct xds_sub *sub = &s->subs[types[kind]];
        const struct bits *wanted = &g->wanted[kind];

        if (!s->options.aggregated && s->options.type != types[kind])
            continue;
        for (uint32_t slot = bits_next(wanted, 0); slot != BITS_END;
             slot = bits_next(wanted, (slot | (WORD - 1)) + 1)) {
            uint32_t word = slot / WORD;

            for (uint64_t left = bits_word(wanted, word) & ~xds_confirmed_word(sub, word); left; left &= left - 1)
                note_lack(q, s, g, kind, word * WORD + (uint32_t)__builtin_ctzll(left));
        }
    }
}

static void let_go(struct bundles_question *q)
{
    for (uint32_t i = 0; i < q->n_groups; i++) {
        struct group *g = &q->groups[i];

        for (unsigned kind = 0; kind < TYPES; kind++) {
            struct bits *wanted = &g->wanted[kind];

            for (uint32_t slot = bits_next(wanted, 0); slot != BITS_END; slot = bits_next(wanted, slot + 1))
                xds_slot_unref(xds_space_of(g->gateway, types[kind]), slot);
            bits_clear(wanted);
            mem_free(g->heads[kind]);
        }
        xds_gateway_unref(take_ptr(g->gateway));
    }
}

static int step(struct xds_directory *d, struct xds_question *question, clock_ns until)
{
    struct bundles_question *q = (struct bundles_question *)question;
    const struct xds_session *s;

    if (!find_needs(q, d, until))
        return 0;
    while ((s = xds_question_session(d, question)) != NULL) {
        for (uint32_t i = 0; s->gateway && i < q->n_groups; i++)
            if (q->groups[i].gateway == s->gateway)
                look_at(q, s, &q->groups[i]);
        if (clock_now(NULL) >= until)
            return 0;
    }
    for (size_t i = 0; i < q->n; i++)
        if (q->findings[i].group)
            q->ret[i].proxies = q->groups[q->findings[i].group - 1].n_streams;
    let_go(q);
    return 1;
}

int xds_status_bundles(struct xds_status *t, const struct xds_bundle *bundles, size_t n, struct arena *arena,
                       struct xds_verdict *ret)
{
    struct bundles_question q = {.q.step = step, .bundles = bundles, .n = n, .arena = arena, .ret = ret};
    int r;

    memset(ret, 0, n * sizeof(*ret));
    q.findings = mem_array(struct finding, n);
    r = n > 0 ? xds_ask(t, &q.q) : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct finding *f = &q.findings[i];

        ret[i].known = f->group != 0;
        ret[i].acked = f->absent ? 0 : ret[i].proxies - f->lacking;
        ret[i].nacked = f->refusing;
    }
    mem_free(q.findings);
    mem_free(q.groups);
    mem_free(q.needs);
    return r;
}
