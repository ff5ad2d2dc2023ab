/*
 * One bad part of a resource that many exposures share: a filter chain of a listener, an exposure's routes in a route
 * configuration. The resource is at fault as a whole for the client that refuses it; which part of it is, is found
 * out by sending it without some of them, and the culprit alone is left out from then on, or stood in for by the form
 * that the client had of it before.
 *
 * Nothing is planned ahead, and nothing is remembered but what the client refused: versions of whole resources, and
 * digests of parts (xds_refusals.h). What to send follows from these and from what the client holds:
 *
 *   bad       parts that were found to be at fault;
 *   good      parts that the client holds already, the same to the byte;
 *   suspects  all others.
 *
 * The first of these that was not refused yet is sent: all but the bad; the suspects that the client's words do not
 * name; those that they do; the halves of all suspects, their quarters, and so on; each with the good ones. Once the
 * client took it, its parts are good ones, and the rest is looked at again. A single suspect that was refused beside
 * parts that the client has is at fault (see proven): this is the proof, the words are but a hint of where to look.
 * So one culprit of n costs about log2(n) refusals, none of which repeats bytes, and each part that is good is taken
 * in its new form once. Kin (proto/parts.h) are one suspect, or a chain's fault would be found as often as it has
 * server names; but where the client has one of them, it is not their content that is at fault, and each is alone.
 *
 * It is a matter between igwd and this client: another Envoy of the gateway, of a newer version maybe, may take what
 * this one refuses. Forms that are composed the same are shared by all clients that need them.
 */
#include "server/xds_stream.h"

#include "server/xds_status.h"

#include <string.h>

enum {
    /* Refusals of one form's parts, where the client took none of them: the fault is somewhere else. */
    UNPROVEN_MAX = 64,
    /* And where it took some: they are mostly bad. */
    TRIALS_MAX = 1024,
};

/* What was found out for a slot, as long as nothing changes. */
struct xds_mix {
    struct xds_mix *next;
    uint32_t slot;
    uint64_t current; /* the version */
    /* The version that the client has, whether its bytes are known, and it was confirmed; the one that it had last;
     * of how many types the client had told; the changes of its refusals. */
    uint64_t given[6];
    struct xds_form *form; /* a reference; NULL: nothing of it can be sent */
    size_t *bad, n_bad;    /* the current form's parts that were refused */
};

struct search {
    struct xds_session *s;
    struct xds_sub *sub;
    struct xds_form *current, *earlier; /* earlier: whose parts may stand in; NULL */
    const struct parts *parts, *instead;
    bool earlier_is_held;          /* else the client had it on an earlier stream */
    bool *in, *good, *bad, *marks; /* marks: by suspect, for one pass at a time */
    size_t *suspects;              /* of each, the first part that is neither good nor bad */
    size_t *suspect_of;            /* by part: its own place, or that of its kin, which tells suspects apart */
    size_t n, n_suspects, n_good;
    const char *words; /* of what was refused last; borrowed from the refusals */
    unsigned n_refused;
    struct xds_form *found; /* a reference */
    void (*guilty)(struct xds_session *s, const struct xds_sub *sub, struct xds_form *current,
                   const struct part *part, const char *words);
    bool accused;
    bool barred; /* what was refused is about none of the parts: nothing of the resource can be had for now */
};

/* ---- what may stand in ---- */

/* Whether the client can have it, or does have it though nobody else can any more. In state of the world, one that
 * comes back says what it has by asking for it. */
static bool is_there(struct xds_session *s, enum xds_type type, const char *name)
{
    const struct xds_sub *sub = &s->subs[type];
    uint32_t slot = xds_slot_find(sub->table->space, name, strlen(name));

    return slot != XDS_NO_SLOT &&
           (xds_current(sub->table, slot) || xds_held(sub, slot) || (sub->presumed && bits_get(&sub->named, slot)));
}

/* Whether the client has the part's content, so that this is not at fault. */
static bool is_known(const struct search *q, const struct part *part)
{
    return q->earlier_is_held && q->instead && parts_have_content(q->instead, part->content);
}

/* What is refused with a part: what it says as a whole, or its content, which it shares with its kin. */
static uint64_t fault_of(const struct search *q, const struct part *part)
{
    return is_known(q, part) ? part->digest : part->content;
}

static bool is_refused(const struct search *q, const struct part *part)
{
    return xds_refusing_find_part(q->s->refusing, q->sub->type, part->digest) ||
           xds_refusing_find_part(q->s->refusing, q->sub->type, fault_of(q, part));
}

/* It was not refused, and all that it refers to is there. */
static bool usable(void *arg, const struct parts *instead, size_t i)
{
    const struct search *q = arg;
    const struct resource *r = q->earlier->resource;

    if (is_refused(q, parts_at(instead, i)))
        return false;
    for (size_t k = 0; q->s->options.aggregated && k < r->n_route_needs + r->n_secret_needs; k++)
        if (!is_there(q->s, k < r->n_route_needs ? XDS_ROUTE : XDS_SECRET, r->needs[k]) &&
            part_mentions(instead, i, r->needs[k]))
            return false;
    return true;
}

/* Whether its bytes are known, and were not refused. */
static bool may_stand_in(const struct search *q, const struct xds_form *f)
{
    return f && f->resource && !xds_is_refused(q->s, q->sub->type, f->version);
}

/* The form that the client has, or else the one that it had last, as far as that is known: what another client took
 * may be as bad as what is tried. */
static void choose_earlier(struct search *q, struct xds_form *held)
{
    struct xds_form *kept = xds_kept(q->s, q->sub, q->current->slot);

    q->earlier_is_held = may_stand_in(q, held);
    q->earlier = q->earlier_is_held ? held : may_stand_in(q, kept) ? kept : NULL;
    q->instead = q->earlier ? xds_form_parts(q->earlier) : NULL;
}

/* ---- one trial ---- */

/* Whether what the client refused of this is the suspect's fault: the rest of it is what it has. */
static bool proven(const struct search *q, size_t n_instead)
{
    return q->n_good > 0 || (q->earlier_is_held && n_instead > 0);
}

/* The good ones, and of the suspects those from..to. */
static void choose_parts(struct search *q, size_t from, size_t to)
{
    memset(q->marks, 0, q->n * sizeof(*q->marks));
    for (size_t i = from; i < to; i++)
        q->marks[q->suspects[i]] = true;
    for (size_t i = 0; i < q->n; i++)
        q->in[i] = q->good[i] || (!q->bad[i] && q->marks[q->suspect_of[i]]);
}

/* With the suspects from..to: true when it is what to send, a part was found to be at fault, or there is no use in
 * going on. */
static bool try(struct search *q, size_t from, size_t to)
{
    const struct parts_choice choice = {.in = q->in, .instead = q->instead, .usable = usable, .arg = q};
    const struct xds_refusal *refusal;
    struct resource *r;
    size_t n_instead;

    choose_parts(q, from, to);
    r = parts_compose(q->parts, &choice, &n_instead);
    if (!r)
        return false;
    refusal = xds_refusing_find(q->s->refusing, q->sub->type, r->version);
    q->words = refusal ? refusal->words : NULL;
    q->barred = refusal && refusal->passes;
    if (!refusal) {
        q->found = r->version == q->current->version ? xds_form_ref(q->current) : xds_form_composed(q->current, 0, r);
    } else if (q->guilty && !q->barred && to - from == 1 && proven(q, n_instead)) {
        /* The memory of refusals may drop this one for the new. */
        _cleanup_(mem_free_p) char *words = mem_strdup(refusal->words);

        q->accused = true;
        xds_refusing_add_part(q->s->refusing, q->sub->type, fault_of(q, parts_at(q->parts, q->suspects[from])),
                              xds_form_name(q->current), words);
        q->guilty(q->s, q->sub, q->current, parts_at(q->parts, q->suspects[from]), words);
    }
    resource_unref(r);
    q->n_refused += refusal != NULL;
    return q->found || q->accused || q->barred;
}

/* ---- all trials ---- */

static bool is_named(const struct search *q, const char *words, size_t i)
{
    const struct part *part = parts_at(q->parts, i);

    return words && ((part->name[0] && strstr(words, part->name)) || (part->owner && strstr(words, part->owner)));
}

static bool is_suspect(const struct search *q, size_t i)
{
    return !q->good[i] && !q->bad[i];
}

/* In their order, those that the words name (NULL: none) last. Returns how many are not named. */
static size_t order_suspects(struct search *q, const char *words)
{
    size_t n_unnamed = 0;

    memset(q->marks, 0, q->n * sizeof(*q->marks));
    for (size_t i = 0; i < q->n; i++)
        if (is_suspect(q, i) && is_named(q, words, i))
            q->marks[q->suspect_of[i]] = true;
    q->n_suspects = 0;
    for (unsigned named = 0; named < 2; named++) {
        for (size_t i = 0; i < q->n; i++)
            if (is_suspect(q, i) && q->suspect_of[i] == i && q->marks[i] == (named == 1))
                q->suspects[q->n_suspects++] = i;
        n_unnamed = named ? n_unnamed : q->n_suspects;
    }
    return n_unnamed;
}

/* Which parts are one suspect. */
static void find_suspects(struct search *q)
{
    size_t *first = q->suspects; /* by kin: its first suspect; q->n: there was none yet */

    for (size_t i = 0; i < q->n; i++)
        first[i] = q->n;
    for (size_t i = 0; i < q->n; i++) {
        const struct part *part = parts_at(q->parts, i);

        if (is_suspect(q, i) && first[part->kin] == q->n)
            first[part->kin] = i;
        q->suspect_of[i] = is_suspect(q, i) && !is_known(q, part) ? first[part->kin] : i;
    }
}

static void sort_parts(struct search *q)
{
    q->n_good = 0;
    for (size_t i = 0; i < q->n; i++) {
        const struct part *part = parts_at(q->parts, i);

        q->bad[i] = is_refused(q, part);
        q->good[i] = !q->bad[i] && is_known(q, part) && parts_have(q->instead, part->digest);
        q->n_good += q->good[i];
    }
    find_suspects(q);
    (void)order_suspects(q, NULL); /* nobody is named */
}

/* The first that was not refused. */
static void run(struct search *q)
{
    const unsigned max = q->n_good > 0 || q->earlier_is_held ? TRIALS_MAX : UNPROVEN_MAX;
    size_t n_unnamed;

    if (try(q, 0, q->n_suspects) || q->n_suspects < 2)
        return;
    n_unnamed = order_suspects(q, q->words);
    if (n_unnamed > 0 && n_unnamed < q->n_suspects && (try(q, 0, n_unnamed) || try(q, n_unnamed, q->n_suspects)))
        return;
    for (size_t groups = 2; groups < 2 * q->n_suspects; groups *= 2) {
        for (size_t i = 0; i < groups && q->n_refused < max; i++) {
            size_t from = i * q->n_suspects / groups, to = (i + 1) * q->n_suspects / groups;

            if (from < to && try(q, from, to))
                return;
        }
    }
}

/* There is nothing that could go on without the rest. */
static struct xds_form *settle_whole(const struct search *q)
{
    bool bad = xds_is_refused(q->s, q->sub->type, q->current->version) || (q->n > 0 && q->bad[0]);

    return bad ? NULL : xds_form_ref(q->current);
}

static struct xds_form *search(struct xds_session *s, struct xds_sub *sub, struct xds_form *current, struct search *q)
{
    q->s = s;
    q->sub = sub;
    q->current = current;
    q->parts = xds_form_parts(current);
    q->n = q->parts ? parts_count(q->parts) : 0;
    q->in = mem_array(bool, q->n);
    q->good = mem_array(bool, q->n);
    q->bad = mem_array(bool, q->n);
    q->marks = mem_array(bool, q->n);
    q->suspects = mem_array(size_t, q->n);
    q->suspect_of = mem_array(size_t, q->n);
    choose_earlier(q, xds_has(sub, current->slot));
    sort_parts(q);
    if (q->n < 2)
        return q->found = settle_whole(q);
    run(q);
    /* Each that is found to be at fault leaves others to be looked at, until one can be sent. */
    while (q->accused) {
        q->accused = false;
        q->n_refused = 0;
        sort_parts(q);
        run(q);
    }
    if (!q->found && !q->barred && (q->n_good > 0 || q->earlier_is_held))
        (void)try(q, 0, 0);
    return q->found;
}

static void search_clear(struct search *q)
{
    mem_free(q->in);
    mem_free(q->good);
    mem_free(q->bad);
    mem_free(q->marks);
    mem_free(q->suspects);
    mem_free(q->suspect_of);
}

/* ---- what a client gets ---- */

static struct xds_mix *find_mix(const struct xds_sub *sub, uint32_t slot)
{
    struct xds_mix *m = sub->mixes;

    while (m && m->slot != slot)
        m = m->next;
    return m;
}

void xds_mix_forget(struct xds_sub *sub, uint32_t slot)
{
    struct xds_mix **at = &sub->mixes, *m;

    while (*at && (*at)->slot != slot)
        at = &(*at)->next;
    m = *at;
    if (!m)
        return;
    *at = m->next;
    xds_form_unref(m->form);
    mem_free(m->bad);
    mem_free(m);
}

void xds_mixes_free(struct xds_sub *sub)
{
    while (sub->mixes)
        xds_mix_forget(sub, sub->mixes->slot);
}

static void note_bad(struct xds_mix *m, const struct search *q)
{
    m->n_bad = 0;
    for (size_t i = 0; i < q->n; i++)
        m->n_bad += q->bad[i];
    mem_free(m->bad);
    m->bad = mem_array(size_t, m->n_bad);
    m->n_bad = 0;
    for (size_t i = 0; i < q->n; i++)
        if (q->bad[i])
            m->bad[m->n_bad++] = i;
}

bool xds_in_doubt(const struct xds_session *s, const struct xds_form *current)
{
    if ((current->type != XDS_LISTENER && current->type != XDS_ROUTE) || xds_refusing_count(s->refusing) == 0)
        return false;
    return xds_is_refused(s, current->type, current->version) ||
           xds_refusing_count_parts(s->refusing, current->type, xds_form_name(current)) > 0;
}

/* One that comes back says type by type what it has. */
static unsigned count_asked(const struct xds_session *s)
{
    unsigned n = 0;

    for (unsigned type = 0; type < XDS_TYPES; type++)
        n += s->subs[type].asked;
    return n;
}

struct xds_form *xds_mixed(struct xds_session *s, struct xds_sub *sub, uint32_t slot, struct xds_form *current)
{
    struct xds_form *has, *kept;
    struct xds_mix *m = find_mix(sub, slot);
    struct search q = {0};

    if (!xds_in_doubt(s, current)) {
        if (m)
            xds_mix_forget(sub, slot);
        return xds_is_refused(s, sub->type, current->version) ? NULL : current;
    }
    has = xds_has(sub, slot);
    kept = xds_kept(s, sub, slot);
    const uint64_t given[] = {has ? has->version : 0,   has && has->resource, bits_get(&sub->confirmed, slot),
                              kept ? kept->version : 0, count_asked(s),       xds_refusing_changes(s->refusing)};
    if (m && m->current == current->version && memcmp(m->given, given, sizeof(given)) == 0)
        return m->form;
    if (!m) {
        m = mem_new(struct xds_mix);
        m->slot = slot;
        m->next = sub->mixes;
        sub->mixes = m;
    }
    xds_form_unref(m->form);
    m->form = search(s, sub, current, &q);
    note_bad(m, &q);
    search_clear(&q);
    m->current = current->version;
    memcpy(m->given, given, sizeof(given));
    return m->form;
}

bool xds_accuse_parts(struct xds_session *s, struct xds_sub *sub, uint32_t slot,
                      void (*guilty)(struct xds_session *s, const struct xds_sub *sub, struct xds_form *current,
                                     const struct part *part, const char *words))
{
    struct xds_form *current = xds_current(sub->table, slot), *found;
    struct search q = {.guilty = guilty};

    if (!current || !xds_in_doubt(s, current))
        return false;
    found = search(s, sub, current, &q);
    search_clear(&q);
    xds_form_unref(found);
    return found != NULL;
}

/* ---- what is said of it ---- */

/* Whether the part is, or serves, what the bundle stands for. */
static bool concerns(const struct parts *parts, size_t i, const struct xds_bundle *b)
{
    const char *owner = parts_at(parts, i)->owner;

    if (owner)
        return b->cluster && strcmp(owner, b->cluster) == 0;
    if (b->cluster && part_mentions(parts, i, b->cluster))
        return true;
    for (size_t k = 0; k < b->n_routes; k++)
        if (part_mentions(parts, i, b->routes[k]))
            return true;
    return false;
}

/* Of the bundle; NULL: the first of any. A form that was not looked at yet has none. */
static const struct xds_refusal *refused_part(const struct xds_session *s, struct xds_form *current,
                                              const struct xds_bundle *of)
{
    const struct xds_mix *m = find_mix(&s->subs[current->type], current->slot);
    const struct parts *parts = m && m->current == current->version ? xds_form_parts(current) : NULL;

    for (size_t i = 0; parts && i < m->n_bad; i++) {
        const struct part *part = parts_at(parts, m->bad[i]);
        const struct xds_refusal *found = xds_refusing_find_part(s->refusing, current->type, part->digest);

        if (!found)
            found = xds_refusing_find_part(s->refusing, current->type, part->content);
        if (found && (!of || concerns(parts, m->bad[i], of)))
            return found;
    }
    return NULL;
}

const struct xds_refusal *xds_refusal_of(const struct xds_session *s, struct xds_form *current)
{
    const struct xds_refusal *whole;

    if (!current || xds_refusing_count(s->refusing) == 0)
        return NULL;
    whole = xds_refusing_find(s->refusing, current->type, current->version);
    return whole ? whole : refused_part(s, current, NULL);
}

bool xds_has_more(const struct xds_sub *sub, uint32_t slot)
{
    const struct xds_form *held = xds_held(sub, slot), *current = xds_current(sub->table, slot);

    return held && current && held->keeps && held->basis == current->version && bits_get(&sub->confirmed, slot);
}

/* Whether the client confirmed a form that is composed of the current one, and nothing more of it is to be had. */
static bool has_the_rest(const struct xds_sub *sub, const struct xds_form *current, const struct xds_mix *m)
{
    const struct xds_form *held = xds_held(sub, current->slot);

    return held && held->composed && held->basis == current->version && bits_get(&sub->confirmed, held->slot) &&
           !(m && m->form && m->form->version != held->version);
}

enum xds_standing xds_standing_of(const struct xds_session *s, const struct xds_sub *sub, uint32_t slot,
                                  const struct xds_bundle *b, const struct xds_refusal **ret_refusal)
{
    struct xds_form *current = xds_current(sub->table, slot);
    const struct xds_mix *m = find_mix(sub, slot);
    const struct xds_refusal *refusal;

    if (xds_has_more(sub, slot))
        return XDS_HAS;
    if (!current || xds_refusing_count(s->refusing) == 0)
        return XDS_LACKS;
    refusal = refused_part(s, current, b);
    if (!refusal && has_the_rest(sub, current, m))
        return XDS_HAS;
    /* As long as parts are tried, nobody knows whose fault it is. */
    if (!refusal && !(m && m->current == current->version && m->form))
        refusal = xds_refusing_find(s->refusing, sub->type, current->version);
    if (!refusal)
        return XDS_LACKS;
    *ret_refusal = refusal;
    return XDS_REFUSES;
}
