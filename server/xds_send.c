/*
 * What to send next. Nothing is queued: when the stream can take a message, the slots that are marked as pending are
 * compared with what the client holds, in this order, and the first type that has something to say says it:
 *
 *     what is new or changed:  clusters, assignments, secrets, route configurations, listeners
 *     what is gone:            listeners, route configurations, secrets, assignments, clusters
 *
 * Make before break on an aggregated stream: replay the responses one by one, and after none of them does a listener
 * or route configuration name a cluster that the client does not hold, or whose assignment it was not sent.
 *
 *   - A listener or route configuration is held back while the client lacks one of its clusters or assignments
 *     (may_send). A cluster that it will not get (left out, not subscribed) is not waited for, nor an assignment that
 *     it does not subscribe to within XDS_PATIENCE of taking the cluster, or within XDS_WARMING of being sent it.
 *   - One that replaces another form waits until the client took the clusters that are new to it, for at most
 *     XDS_READY: Envoy routes by it at once, but answers 503 for a cluster whose first health checks are not over.
 *   - A listener that replaces another form waits for what the client is about to get of its route configurations, so
 *     that what one of these gains is there when the listener leads there. What one loses to another it keeps for a
 *     while: see xds_bridge.c.
 *   - What is gone is held back while a form of a listener or route configuration that the client may still have
 *     names it (in_use): one that is still to be replaced, or was replaced by a response that is not answered yet,
 *     for at most XDS_PATIENCE after it was sent.
 *   - Each new or changed cluster is followed by its assignment, changed or not: Envoy warms a changed cluster until
 *     the assignment comes, and asks for nothing.
 *
 * State of the world: responses of clusters and listeners hold all that is covered, each in the form that the client
 * is to hold, be it the one that it has. The other types hold what is new; as their version stands for all that the
 * client holds, a response is not followed by another of the type before it is answered (or XDS_PATIENCE is over;
 * then the next one repeats what it brought).
 *
 * What was refused is sent again in groups of suspects: see xds_verdict.c.
 */
#include "server/xds_stream.h"

#include <assert.h>
#include <string.h>

enum { BLOCK_SLOTS = 64 };

/* What a look at a slot finds. */
enum step { STEP_NONE, STEP_SEND, STEP_REMOVE, STEP_WAIT };

/* What is to be sent or taken away of one type, by slot. Forms are borrowed. */
struct picked {
    struct xds_lot *lot; /* what is sent, instead of adds; borrowed */
    struct xds_form **adds;
    uint32_t *removes;
    size_t n_adds, n_removes;
    bool waiting; /* some slots were held back */
};

static void picked_clear(struct picked *p)
{
    mem_free(p->adds);
    mem_free(p->removes);
}

static void wake_at(struct xds_session *s, clock_ns at)
{
    if (at < s->deadline)
        s->deadline = at;
}

/* ---- what the client should hold ---- */

bool xds_is_refused(const struct xds_session *s, enum xds_type type, uint64_t version)
{
    return xds_refusing_count(s->refusing) > 0 && xds_refusing_find(s->refusing, type, version);
}

/* In the place of a form that was refused: what the client has, what it had last, or the newest that any client
 * took. */
static struct xds_form *stand_in(struct xds_session *s, struct xds_sub *sub, uint32_t slot, struct xds_form *current)
{
    struct xds_form *held = xds_held(sub, slot), *accepted = xds_accepted(sub->table, slot), *kept;

    if (held && !xds_is_refused(s, sub->type, held->version))
        return held;
    kept = xds_kept(s, sub, slot);
    if (kept && !xds_is_refused(s, sub->type, kept->version))
        return kept;
    if (!accepted && sub->type == XDS_ENDPOINT)
        accepted = xds_empty_assignment(sub->table, s->gateway, slot);
    if (accepted && accepted->version != current->version && !xds_is_refused(s, sub->type, accepted->version))
        return accepted;
    return NULL;
}

struct xds_form *xds_target(struct xds_session *s, struct xds_sub *sub, uint32_t slot)
{
    struct xds_form *current = xds_covers(sub, slot) ? xds_current(sub->table, slot) : NULL, *mixed;

    if (!current || xds_refusing_count(s->refusing) == 0) {
        if (sub->mixes)
            xds_mix_forget(sub, slot);
        return current && sub->type == XDS_ROUTE ? xds_bridged(s, sub, current) : current;
    }
    mixed = xds_mixed(s, sub, slot, current);
    if (mixed == current && sub->type == XDS_ROUTE)
        return xds_bridged(s, sub, current);
    return mixed ? mixed : stand_in(s, sub, slot, current);
}

/* ---- make before break: adding ---- */

static bool has_assignment(struct xds_session *s, const struct xds_form *cluster)
{
    struct xds_sub *eds = &s->subs[XDS_ENDPOINT];
    const struct xds_form *known = cluster->resource ? cluster : xds_current(cluster->gateway->tables, cluster->slot);
    uint32_t slot = cluster->slot;

    if (!known || !known->resource->uses_eds)
        return true;
    /* What is owed follows a cluster that was just sent: the client may have dropped the one that it had. */
    if (xds_held(eds, slot) && !bits_get(&eds->owed, slot))
        return true;
    if (!xds_current(eds->table, slot))
        return true;
    if (eds->asked && xds_covers(eds, slot))
        return false;
    return bits_get(&s->waived, slot);
}

/* Whether this response brought a cluster that the client did not have before. */
static bool brought_anew(const struct xds_response *r, uint32_t slot)
{
    uint32_t i = xds_find_brought(r, slot);

    return i < r->n && !xds_before(r, i);
}

/* Whether the client may still be getting this cluster ready. */
static bool is_warming(const struct xds_session *s, uint32_t slot, clock_ns now)
{
    for (const struct xds_response *r = s->subs[XDS_CLUSTER].first; r; r = r->next)
        if (!r->answered && now < r->sent_at + XDS_READY && brought_anew(r, slot))
            return true;
    return false;
}

/* Whether other forms of route configurations that this listener needs are on their way, or will be. */
static bool routes_are_due(const struct xds_session *s, const struct xds_form *f, clock_ns now)
{
    const struct xds_sub *rds = &s->subs[XDS_ROUTE];
    const uint32_t *use = f->uses + f->n_clusters;

    if (f->n_routes > 0 && !rds->asked)
        return now < s->grace_until;
    for (uint32_t i = 0; rds->pending.count + rds->blocked.count > 0 && i < f->n_routes; i++)
        if ((bits_get(&rds->pending, use[i]) || bits_get(&rds->blocked, use[i])) && xds_held(rds, use[i]) &&
            xds_current(rds->table, use[i]) && !bits_get(&rds->suspect, use[i]))
            return true;
    return false;
}

/* Whether the client has what this listener or route configuration needs; replaces: it has another form of it. */
static bool may_send(struct xds_session *s, const struct xds_form *f, bool replaces, clock_ns now)
{
    struct xds_sub *cds = &s->subs[XDS_CLUSTER];

    if (!s->options.aggregated)
        return true;
    if (replaces && routes_are_due(s, f, now))
        return false;
    if (f->n_clusters == 0)
        return true;
    if (!cds->asked)
        return now >= s->grace_until;
    for (uint32_t i = 0; i < f->n_clusters; i++) {
        uint32_t slot = f->uses[i];
        const struct xds_form *held = xds_held(cds, slot);

        if (!held && xds_target(s, cds, slot))
            return false;
        if (held && !has_assignment(s, held))
            return false;
        if (held && replaces && is_warming(s, slot, now))
            return false;
    }
    return true;
}

/* ---- make before break: taking away ---- */

static void use_form(struct xds_session *s, const struct xds_form *f)
{
    const uint32_t *use = f->uses;

    /* Nobody knows what a form names that only the client has: anything. */
    if (!f->resource && (f->type == XDS_LISTENER || f->type == XDS_ROUTE))
        s->all_in_use[XDS_CLUSTER] = true;
    if (!f->resource && f->type == XDS_LISTENER)
        s->all_in_use[XDS_ROUTE] = s->all_in_use[XDS_SECRET] = true;
    for (uint32_t i = 0; i < f->n_clusters; i++)
        bits_set(&s->in_use[XDS_CLUSTER], *use++);
    for (uint32_t i = 0; i < f->n_routes; i++)
        bits_set(&s->in_use[XDS_ROUTE], *use++);
    for (uint32_t i = 0; i < f->n_secrets; i++)
        bits_set(&s->in_use[XDS_SECRET], *use++);
}

static void use_held(struct xds_session *s, const struct xds_sub *sub, const struct bits *slots)
{
    for (uint32_t slot = bits_next(slots, 0); slot != BITS_END; slot = bits_next(slots, slot + 1))
        if (xds_held(sub, slot))
            use_form(s, xds_held(sub, slot));
}

static void use_replaced(struct xds_session *s, const struct xds_sub *sub, clock_ns now)
{
    for (const struct xds_response *r = sub->first; r; r = r->next) {
        if (r->sent_at + XDS_PATIENCE <= now)
            continue;
        for (uint32_t i = 0; r->before && i < r->n; i++)
            if (r->before[i])
                use_form(s, r->before[i]);
        /* Refused, but maybe not all of it. */
        for (uint32_t i = 0; r->answered && i < r->n; i++)
            use_form(s, r->forms[i]);
        for (uint32_t i = 0; i < r->n_removed; i++)
            use_form(s, r->removed[i]);
        if ((r->before || r->n_removed > 0 || r->answered) && r->sent_at + XDS_PATIENCE < s->in_use_until)
            s->in_use_until = r->sent_at + XDS_PATIENCE;
    }
}

/* Parts of an earlier form may stand in or be kept, and what these refer to be gone for all others. */
static void use_composed(struct xds_session *s, const struct xds_sub *sub)
{
    xds_bridges_use(s, sub, use_form);
    for (uint32_t slot = sub->mixes ? bits_next(&sub->holding, 0) : BITS_END; slot != BITS_END;
         slot = bits_next(&sub->holding, slot + 1))
        if (xds_held(sub, slot)->composed)
            use_form(s, xds_held(sub, slot));
}

/* Which slots the client may still use although the current forms of its listeners, routes and clusters do not. */
static void find_in_use(struct xds_session *s, clock_ns now)
{
    static const enum xds_type users[] = {XDS_LISTENER, XDS_ROUTE, XDS_CLUSTER};

    if (s->in_use_valid)
        return;
    s->in_use_valid = true;
    s->in_use_until = INT64_MAX;
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        bits_reset(&s->in_use[type]);
        s->all_in_use[type] = false;
    }
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        const struct xds_sub *sub = &s->subs[users[i]];

        use_held(s, sub, &sub->pending);
        use_held(s, sub, &sub->blocked);
        use_replaced(s, sub, now);
        use_composed(s, sub);
    }
    /* A route configuration that is gone stays with the client as long as a listener refers to it. */
    use_held(s, &s->subs[XDS_ROUTE], &s->in_use[XDS_ROUTE]);
}

static bool may_remove(struct xds_session *s, enum xds_type type, uint32_t slot, clock_ns now)
{
    enum xds_type names = type == XDS_ENDPOINT ? XDS_CLUSTER : type;

    if (!s->options.aggregated || type == XDS_LISTENER)
        return true;
    /* A client that comes back may be about to tell of listeners that use it. */
    if (now < s->grace_until && !(s->subs[XDS_LISTENER].asked && s->subs[XDS_ROUTE].asked))
        return false;
    find_in_use(s, now);
    return !s->all_in_use[names] && !bits_get(&s->in_use[names], slot);
}

/* ---- looking at a slot ---- */

static bool is_partial(const struct xds_session *s, enum xds_type type)
{
    return s->options.variant == XDS_SOTW && !xds_is_full(s, type);
}

/* In a response that was sent later than that. */
static bool is_under_way_since(const struct xds_sub *sub, uint32_t slot, clock_ns since)
{
    for (const struct xds_response *r = sub->first; r; r = r->next)
        if (!r->answered && r->sent_at > since &&
            (xds_find_brought(r, slot) < r->n || xds_find_removed(r, slot) < r->n_removed))
            return true;
    return false;
}

bool xds_is_under_way(const struct xds_sub *sub, uint32_t slot)
{
    return is_under_way_since(sub, slot, INT64_MIN);
}

/* The client has this form, refused another one, and did not say since that it has this: there was none to be sent,
 * or it was gone for a while. */
static bool is_unsure(const struct xds_sub *sub, uint32_t slot)
{
    return !bits_get(&sub->confirmed, slot) && !xds_is_under_way(sub, slot);
}

/* What a client gets of what it refused in parts depends on what it has of it, which its answer tells. */
static bool awaits_answer(const struct xds_session *s, const struct xds_sub *sub, uint32_t slot, clock_ns now)
{
    const struct xds_form *current = xds_refusing_count(s->refusing) > 0 ? xds_current(sub->table, slot) : NULL;

    return current && xds_in_doubt(s, current) && is_under_way_since(sub, slot, now - XDS_PATIENCE);
}

/* ret_target: what to send, where that is to be done. */
/* lint: complex because it is the decision table of one slot, best read in one place */
static enum step look(struct xds_session *s, struct xds_sub *sub, uint32_t slot, clock_ns now,
                      struct xds_form **ret_target)
{
    struct xds_form *held = xds_held(sub, slot), *target;
    bool owed = bits_get(&sub->owed, slot);

    if (awaits_answer(s, sub, slot, now))
        return STEP_WAIT;
    *ret_target = target = xds_target(s, sub, slot);
    if (!target) {
        if (!held)
            return owed && s->options.variant == XDS_DELTA && xds_covers(sub, slot) ? STEP_REMOVE : STEP_NONE;
        /* There is no word for "gone" here: the client drops it when nothing refers to it any more. */
        if (is_partial(s, sub->type))
            return STEP_NONE;
        return may_remove(s, sub->type, slot, now) ? STEP_REMOVE : STEP_WAIT;
    }
    if (held && held->version == target->version && !owed && !is_unsure(sub, slot)) {
        bool learned = !held->resource && target->resource;

        xds_hold(sub, slot, target);
        /* The bytes that it came with are known now: of what was refused in parts, more may be tried beside them. */
        return learned ? look(s, sub, slot, now, ret_target) : STEP_NONE;
    }
    if (!target->resource || xds_is_refused(s, sub->type, target->version))
        return STEP_NONE;
    if ((sub->type == XDS_LISTENER || sub->type == XDS_ROUTE) && !may_send(s, target, held != NULL, now))
        return STEP_WAIT;
    return STEP_SEND;
}

/* Slots of which the client has the current form, and nothing else is due: there is nothing to look at. */
static void skip_settled(const struct xds_session *s, struct xds_sub *sub)
{
    const struct bits *pending = &sub->pending;

    if (xds_refusing_count(s->refusing) > 0)
        return;
    for (uint32_t slot = bits_next(pending, 0); slot != BITS_END; slot = bits_next(pending, (slot | 63) + 1))
        bits_unset_word(&sub->pending, slot / BLOCK_SLOTS,
                        bits_word(&sub->same, slot / BLOCK_SLOTS) & ~bits_word(&sub->owed, slot / BLOCK_SLOTS) &
                            ~bits_word(&sub->suspect, slot / BLOCK_SLOTS));
}

/* Looks at all pending slots but the suspects. What is found stays pending until it is sent. */
static void look_at_pending(struct xds_session *s, struct xds_sub *sub, clock_ns now, struct picked *ret)
{
    struct bits *pending = &sub->pending;
    struct xds_form *target;

    skip_settled(s, sub);
    *ret = (struct picked){.adds = mem_array(struct xds_form *, pending->count),
                           .removes = mem_array(uint32_t, pending->count)};
    for (uint32_t slot = bits_next(pending, 0); slot != BITS_END; slot = bits_next(pending, slot + 1)) {
        if (bits_get(&sub->suspect, slot))
            continue;
        switch (look(s, sub, slot, now, &target)) {
        case STEP_SEND:
            ret->adds[ret->n_adds++] = target;
            break;
        case STEP_REMOVE:
            ret->removes[ret->n_removes++] = slot;
            break;
        case STEP_WAIT:
            bits_unset(pending, slot);
            bits_set(&sub->blocked, slot);
            break;
        case STEP_NONE:
            bits_unset(pending, slot);
            bits_unset(&sub->owed, slot);
            break;
        }
    }
    ret->waiting = sub->blocked.count > 0;
}

static void look_at_removes(struct xds_session *s, struct xds_sub *sub, clock_ns now, struct picked *p)
{
    struct picked all;

    look_at_pending(s, sub, now, &all);
    p->removes = take_ptr(all.removes);
    p->n_removes = all.n_removes;
    picked_clear(&all);
}

/* ---- responses ---- */

static void free_forms(struct xds_form **forms, uint32_t n)
{
    for (uint32_t i = 0; forms && i < n; i++)
        xds_form_unref(forms[i]);
    mem_free(forms);
}

void xds_response_free(struct xds_response *r)
{
    if (!r->lot)
        free_forms(r->forms, r->n);
    xds_lot_unref(r->lot);
    free_forms(r->before, r->n);
    free_forms(r->removed, r->n_removed);
    mem_free(r);
}

uint32_t xds_find_brought(const struct xds_response *r, uint32_t slot)
{
    uint32_t from = 0, to = r->n;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (r->forms[middle]->slot < slot)
            from = middle + 1;
        else
            to = middle;
    }
    return from < r->n && r->forms[from]->slot == slot ? from : r->n;
}

uint32_t xds_find_removed(const struct xds_response *r, uint32_t slot)
{
    uint32_t i = 0;

    while (i < r->n_removed && r->removed[i]->slot != slot)
        i++;
    return i;
}

static void drop_oldest(struct xds_sub *sub)
{
    struct xds_response *r = sub->first;

    sub->first = r->next;
    if (!sub->first)
        sub->last = NULL;
    sub->n_unanswered -= !r->answered;
    xds_response_free(r);
}

static struct xds_response *new_response(struct xds_session *s, struct xds_sub *sub, size_t n, size_t n_removed,
                                         clock_ns now)
{
    struct xds_response *r = mem_new(struct xds_response);

    r->nonce = sub->nonce = ++s->last_nonce;
    r->sent_at = now;
    r->forms = n ? mem_array(struct xds_form *, n) : NULL;
    r->removed = n_removed ? mem_array(struct xds_form *, n_removed) : NULL;
    *(sub->last ? &sub->last->next : &sub->first) = r;
    sub->last = r;
    /* Past the limit the oldest counts as taken: a client that never answers is not remembered for ever. */
    if (++sub->n_unanswered > XDS_UNANSWERED_MAX) {
        if (!sub->first->answered)
            xds_confirm(sub, sub->first);
        drop_oldest(sub);
    }
    return r;
}

/* The client will have this form. */
static void put_add(struct xds_sub *sub, struct xds_response *r, struct xds_form *target, size_t n)
{
    uint32_t slot = target->slot;
    struct xds_form *before = xds_held(sub, slot);

    if (before && !r->before)
        r->before = mem_array(struct xds_form *, n);
    if (before)
        r->before[r->n] = xds_form_ref(before);
    r->forms[r->n++] = xds_form_ref(target);
    r->fresh |= !target->accepted;
    if (sub->bridges)
        xds_bridge_sent(sub, target, r->sent_at);
    xds_hold(sub, slot, target);
    bits_unset(&sub->pending, slot);
    bits_unset(&sub->owed, slot);
}

static void put_remove(struct xds_sub *sub, struct xds_response *r, uint32_t slot)
{
    struct xds_form *held = xds_held(sub, slot);

    if (held) {
        r->removed[r->n_removed++] = xds_form_ref(held);
        xds_hold(sub, slot, NULL);
    }
    bits_unset(&sub->pending, slot);
    bits_unset(&sub->owed, slot);
}

/* The client will have all of the lot. */
static void put_all_of(struct xds_sub *sub, struct xds_response *r, struct xds_lot *lot)
{
    r->lot = xds_lot_ref(lot);
    r->forms = lot->forms;
    r->n = lot->n;
    xds_lot_hold(sub, lot);
}

/* The bytes of what the client holds of these slots (all of one word of 64), as few pieces as there are. */
static void put_word(struct xds_session *s, struct xds_sub *sub, struct xds_message *m, uint32_t word, uint64_t slots)
{
    struct xds_block *block;
    block = xds_block_get(sub->table, s->options.variant, word, slots & bits_word(&sub->same, word));
    if (block) {
        xds_message_add(m, xds_part_of_block(block));
        slots &= ~block->members;
    }
    for (; slots; slots &= slots - 1) {
        struct xds_form *f = xds_held(sub, word * BLOCK_SLOTS + (uint32_t)__builtin_ctzll(slots));

        assert(f); /* what is to be sent is held */
        m->secret |= f->resource->sensitive;
        xds_message_add(m, xds_part_of_form(f, s->options.variant));
    }
}

static void put_lot(struct xds_session *s, struct xds_sub *sub, struct xds_message *m, const struct xds_lot *lot)
{
    const struct bits *slots = &lot->slots;

    for (uint32_t slot = bits_next(slots, 0); slot != BITS_END; slot = bits_next(slots, (slot | 63) + 1))
        put_word(s, sub, m, slot / BLOCK_SLOTS, bits_word(slots, slot / BLOCK_SLOTS));
}

static void put_forms(struct xds_session *s, struct xds_sub *sub, struct xds_message *m, const struct xds_response *r)
{
    if (r->lot) {
        put_lot(s, sub, m, r->lot);
        return;
    }
    for (uint32_t i = 0, n; i < r->n; i += n) {
        uint32_t word = r->forms[i]->slot / BLOCK_SLOTS;
        uint64_t slots = 0;

        for (n = 0; i + n < r->n && r->forms[i + n]->slot / BLOCK_SLOTS == word; n++)
            slots |= UINT64_C(1) << (r->forms[i + n]->slot % BLOCK_SLOTS);
        put_word(s, sub, m, word, slots);
    }
}

static void put_all_held(struct xds_session *s, struct xds_sub *sub, struct xds_message *m)
{
    for (uint32_t slot = bits_next(&sub->holding, 0); slot != BITS_END;
         slot = bits_next(&sub->holding, (slot | (BLOCK_SLOTS - 1)) + 1))
        put_word(s, sub, m, slot / BLOCK_SLOTS, bits_word(&sub->holding, slot / BLOCK_SLOTS));
}

static void owe_lot(struct xds_session *s, const struct xds_lot *lot)
{
    const struct bits *slots = &lot->slots;
    struct xds_sub *eds = &s->subs[XDS_ENDPOINT];

    for (uint32_t slot = bits_next(slots, 0); slot != BITS_END; slot = bits_next(slots, (slot | 63) + 1)) {
        uint32_t word = slot / BLOCK_SLOTS;
        uint64_t owed = eds->asked ? xds_covered_word(eds, word) & bits_word(&lot->assigned, word) : 0;

        bits_unset_word(&s->waived, word, bits_word(slots, word));
        bits_set_word(&eds->owed, word, owed);
        bits_set_word(&eds->pending, word, owed);
    }
}

/* Its assignment follows each cluster that was sent, so that Envoy need not wait for it. */
static void owe_assignments(struct xds_session *s, const struct xds_response *r)
{
    struct xds_sub *eds = &s->subs[XDS_ENDPOINT];

    if (r->lot) {
        owe_lot(s, r->lot);
        return;
    }
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t slot = r->forms[i]->slot;

        bits_unset(&s->waived, slot);
        if (!r->forms[i]->resource->uses_eds || !eds->asked || !xds_covers(eds, slot))
            continue;
        bits_set(&eds->owed, slot);
        bits_set(&eds->pending, slot);
    }
}

/* Makes the message; what is in picked is held by the client from now on. */
static void respond(struct xds_session *s, struct xds_sub *sub, const struct picked *p, bool trial, clock_ns now,
                    struct xds_message *m)
{
    struct xds_response *r = new_response(s, sub, p->n_adds, p->n_removes, now);

    if (p->lot)
        put_all_of(sub, r, p->lot);
    for (size_t i = 0; i < p->n_adds; i++)
        put_add(sub, r, p->adds[i], p->n_adds);
    for (size_t i = 0; i < p->n_removes; i++)
        put_remove(sub, r, p->removes[i]);
    r->version = sub->sum;
    r->trial = trial;
    sub->answer_due = false;
    xds_message_begin(m, s, sub->type, r->nonce, r->version);
    if (s->options.variant == XDS_DELTA)
        for (size_t i = 0; i < p->n_removes; i++)
            xds_message_add_removed(m, sub->table->space->names[p->removes[i]]);
    if (xds_is_full(s, sub->type))
        put_all_held(s, sub, m);
    else
        put_forms(s, sub, m, r);
    if (sub->type == XDS_CLUSTER)
        owe_assignments(s, r);
    s->in_use_valid = false;
    xds_session_unblock(s);
}

/* ---- choosing ---- */

static bool is_alone(const struct xds_sub *sub, const struct xds_form *f)
{
    return sub->type == XDS_SECRET || (f->alone && !f->accepted);
}

/*
 * What goes into the next response of those that can be sent: first all that need not be alone, as many bytes as a
 * response may have; then the others one by one (where there are very many, a few at a time).
 */
static void choose(struct xds_session *s, struct xds_sub *sub, struct picked *p)
{
    size_t n_alone = 0, n = 0, bytes = 0, together;
    bool full = xds_is_full(s, sub->type);

    for (size_t i = 0; i < p->n_adds; i++)
        n_alone += is_alone(sub, p->adds[i]);
    if (n_alone < p->n_adds) {
        for (size_t i = 0; i < p->n_adds && (full || bytes < XDS_RESPONSE_BYTES); i++) {
            if (is_alone(sub, p->adds[i]))
                continue;
            bytes += p->adds[i]->len;
            p->adds[n++] = p->adds[i];
        }
        p->n_adds = n;
        return;
    }
    /* A response that has to hold everything holds all of these too: they'd cost it once each. */
    together = full ? n_alone : (n_alone + XDS_ALONE_MAX - 1) / XDS_ALONE_MAX;
    if (p->n_adds > together)
        p->n_adds = together;
}

/* The next group of suspects that has something to send; the group is gone afterwards. */
static bool take_group(struct xds_session *s, struct xds_sub *sub, clock_ns now, struct picked *ret)
{
    while (sub->groups) {
        struct xds_group *group = sub->groups;

        *ret = (struct picked){.adds = mem_array(struct xds_form *, group->n)};
        for (uint32_t i = 0; i < group->n; i++) {
            uint32_t slot = group->slots[i];
            struct xds_form *target;

            /* It may have been forgotten, or forgotten and asked for again. */
            if (!bits_get(&sub->suspect, slot))
                continue;
            if (look(s, sub, slot, now, &target) == STEP_SEND) {
                ret->adds[ret->n_adds++] = target;
                continue;
            }
            bits_unset(&sub->suspect, slot);
            bits_set(&sub->pending, slot);
            /* Gone, and maybe lost with what was refused: should it come back, it is new. */
            if (is_partial(s, sub->type) && !xds_target(s, sub, slot))
                xds_hold(sub, slot, NULL);
        }
        sub->groups = group->next;
        mem_free(group);
        if (ret->n_adds > 0)
            return true;
        picked_clear(ret);
    }
    return false;
}

/* A verdict that does not come (Envoy keeps it back while it warms) does not hold up the rest for ever. */
static void release_trials(struct xds_sub *sub)
{
    for (struct xds_response *r = sub->first; r; r = r->next) {
        if (!r->trial || r->answered)
            continue;
        r->trial = false;
        for (uint32_t i = 0; i < r->n; i++)
            bits_unset(&sub->suspect, r->forms[i]->slot);
    }
}

/*
 * State of the world: whether a response that is not answered keeps others of its type back. Trials do, since the
 * next one depends on what comes of them; and those that do not hold everything, since the version stands for all of
 * it.
 */
static bool must_wait(struct xds_session *s, struct xds_sub *sub, clock_ns now)
{
    clock_ns until;

    if (s->options.variant == XDS_DELTA || sub->n_unanswered == 0)
        return false;
    if (xds_is_full(s, sub->type) && !sub->groups && !sub->last->trial)
        return false;
    until = sub->last->sent_at + XDS_PATIENCE;
    if (now >= until) {
        release_trials(sub);
        return false;
    }
    wake_at(s, until);
    return true;
}

/* What an unanswered response brought is brought again by the next. */
static void owe_unanswered(struct xds_sub *sub)
{
    for (const struct xds_response *r = sub->first; r; r = r->next)
        for (uint32_t i = 0; !r->answered && i < r->n; i++)
            if (xds_same_form(xds_held(sub, r->forms[i]->slot), r->forms[i])) {
                bits_set(&sub->owed, r->forms[i]->slot);
                bits_set(&sub->pending, r->forms[i]->slot);
            }
}

/* Sends the next group of suspects. */
static bool send_group(struct xds_session *s, struct xds_sub *sub, clock_ns now, struct xds_message *m)
{
    struct picked p;

    if (!take_group(s, sub, now, &p))
        return false;
    /* Where a response holds everything, what is gone goes along: what it warms in vain holds up its answer. */
    if (xds_is_full(s, sub->type))
        look_at_removes(s, sub, now, &p);
    respond(s, sub, &p, true, now, m);
    picked_clear(&p);
    return true;
}

static bool send_lot(struct xds_session *s, struct xds_sub *sub, clock_ns now, struct xds_message *m)
{
    const struct picked p = {.lot = xds_lot_find(s, sub)};

    if (p.lot)
        respond(s, sub, &p, false, now, m);
    return p.lot != NULL;
}

/* And what it claims to have was looked at. */
static bool is_asked(const struct xds_sub *sub)
{
    return sub->asked && !sub->claims;
}

/* Sends what is new or changed of a type, or answers that there is nothing. */
static bool send_adds(struct xds_session *s, struct xds_sub *sub, clock_ns now, struct xds_message *m)
{
    bool full = xds_is_full(s, sub->type), sent = false;
    struct picked p;

    if (!is_asked(sub) || (sub->pending.count == 0 && !sub->groups && !sub->answer_due) || must_wait(s, sub, now))
        return false;
    if (send_group(s, sub, now, m) || send_lot(s, sub, now, m))
        return true;
    look_at_pending(s, sub, now, &p);
    if (p.n_adds > 0 && is_partial(s, sub->type) && sub->n_unanswered > 0) {
        picked_clear(&p);
        owe_unanswered(sub);
        look_at_pending(s, sub, now, &p);
    }
    if (p.n_adds > 0 || (sub->answer_due && !p.waiting)) {
        choose(s, sub, &p);
        if (!full)
            p.n_removes = 0;
        respond(s, sub, &p, false, now, m);
        sent = true;
    }
    picked_clear(&p);
    return sent;
}

static bool send_removes(struct xds_session *s, struct xds_sub *sub, clock_ns now, struct xds_message *m)
{
    struct picked p;
    size_t bytes = 0, n = 0;

    if (!is_asked(sub) || sub->pending.count == 0 || is_partial(s, sub->type) || must_wait(s, sub, now))
        return false;
    look_at_pending(s, sub, now, &p);
    /* Adding was tried before: what is left to add waits for a message of its own. */
    p.n_adds = 0;
    for (; n < p.n_removes && (xds_is_full(s, sub->type) || bytes < XDS_RESPONSE_BYTES); n++)
        bytes += sub->table->space->names[p.removes[n]]->len;
    p.n_removes = n;
    if (n > 0)
        respond(s, sub, &p, false, now, m);
    picked_clear(&p);
    return n > 0;
}

/* ---- time ---- */

/* The clusters of a response whose assignments the client does not ask for are waited for no longer. */
static void waive(struct xds_session *s, const struct xds_response *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (!xds_covers(&s->subs[XDS_ENDPOINT], r->forms[i]->slot))
            bits_set(&s->waived, r->forms[i]->slot);
}

static void waive_claimed(struct xds_session *s)
{
    struct xds_sub *cds = &s->subs[XDS_CLUSTER], *eds = &s->subs[XDS_ENDPOINT];

    for (uint32_t slot = bits_next(&cds->holding, 0); slot != BITS_END; slot = bits_next(&cds->holding, slot + 1))
        if (!xds_covers(eds, slot))
            bits_set(&s->waived, slot);
    s->claimed_until = 0;
}

static void pass_time(struct xds_session *s, clock_ns now)
{
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        struct xds_sub *sub = &s->subs[type];

        while (sub->first && sub->first->answered && sub->first->sent_at + XDS_PATIENCE <= now)
            drop_oldest(sub);
    }
    while (s->awaited && s->awaited->sent_at + XDS_PATIENCE <= now) {
        struct xds_response *r = s->awaited;

        waive(s, r);
        s->awaited = r->next;
        if (!s->awaited)
            s->awaited_last = NULL;
        xds_response_free(r);
    }
    for (struct xds_response *r = s->subs[XDS_CLUSTER].first; r && r->sent_at + XDS_WARMING <= now; r = r->next)
        if (!r->waived) {
            waive(s, r);
            r->waived = true;
        }
    if (s->claimed_until && s->claimed_until <= now)
        waive_claimed(s);
    s->in_use_valid = false;
    xds_session_unblock(s);
}

/* What waits for an answer of this type waits so long. */
static void wake_for_answers(struct xds_session *s, enum xds_type type, clock_ns patience, clock_ns now)
{
    for (const struct xds_response *r = s->subs[type].first; r; r = r->next)
        if (!r->answered && now < r->sent_at + patience)
            wake_at(s, r->sent_at + patience);
}

static void set_deadline(struct xds_session *s, clock_ns now)
{
    bool blocked = false;

    for (unsigned type = 0; type < XDS_TYPES; type++) {
        const struct xds_sub *sub = &s->subs[type];

        blocked |= sub->blocked.count > 0;
        if (sub->first && sub->first->answered)
            wake_at(s, sub->first->sent_at + XDS_PATIENCE);
    }
    if (!blocked)
        return;
    if (s->grace_until > now)
        wake_at(s, s->grace_until);
    if (s->awaited)
        wake_at(s, s->awaited->sent_at + XDS_PATIENCE);
    if (s->claimed_until)
        wake_at(s, s->claimed_until);
    if (s->in_use_valid)
        wake_at(s, s->in_use_until);
    wake_for_answers(s, XDS_CLUSTER, XDS_READY, now);
    if (xds_refusing_count(s->refusing) > 0) {
        wake_for_answers(s, XDS_ROUTE, XDS_PATIENCE, now);
        wake_for_answers(s, XDS_LISTENER, XDS_PATIENCE, now);
    }
    for (const struct xds_response *r = s->subs[XDS_CLUSTER].first; r; r = r->next)
        if (!r->waived) {
            wake_at(s, r->sent_at + XDS_WARMING);
            break;
        }
}

/* ---- what the client claims to have ---- */

/* Whether it is subscribed to all that there is, and nothing of that was refused. */
static bool wants_all_current(const struct xds_session *s, const struct xds_sub *sub)
{
    return xds_refusing_count(s->refusing) == 0 && (sub->wildcard || bits_holds_all(&sub->named, &sub->table->live));
}

static struct hash128 sum_of_targets(struct xds_session *s, struct xds_sub *sub)
{
    const struct bits *slots = sub->wildcard ? &sub->table->live : &sub->named;
    struct hash128 sum = {0};

    if (wants_all_current(s, sub))
        return sub->table->sum;
    for (uint32_t slot = bits_next(slots, 0); slot != BITS_END; slot = bits_next(slots, slot + 1)) {
        const struct xds_form *f = xds_target(s, sub, slot);

        if (f)
            xds_sum_add(&sum, f->hash);
    }
    return sum;
}

static void hold_targets(struct xds_session *s, struct xds_sub *sub)
{
    const struct bits *slots = sub->wildcard ? &sub->table->live : &sub->named;

    if (wants_all_current(s, sub)) {
        bits_add_all(&sub->same, &sub->table->live);
        bits_add_all(&sub->holding, &sub->table->live);
        sub->sum = sub->table->sum;
    } else {
        for (uint32_t slot = bits_next(slots, 0); slot != BITS_END; slot = bits_next(slots, slot + 1))
            xds_hold(sub, slot, xds_target(s, sub, slot));
    }
    bits_add_all(&sub->confirmed, &sub->holding);
}

/*
 * State of the world: a client that comes with the version of just what it asks for now has it. Anything weaker
 * proves nothing.
 */
void xds_check_claim(struct xds_session *s, struct xds_sub *sub, clock_ns now)
{
    struct hash128 sum;

    /* What stands in for a refused part of a listener may need a route configuration that only the client has. */
    if (sub->type == XDS_LISTENER && s->options.aggregated && xds_refusing_count(s->refusing) > 0 &&
        !s->subs[XDS_ROUTE].asked && now < s->grace_until) {
        wake_at(s, s->grace_until);
        return;
    }
    sum = sum_of_targets(s, sub);
    sub->claims = false;
    if (!hash128_equal(sum, sub->claim))
        return;
    hold_targets(s, sub);
    assert(hash128_equal(sub->sum, sum));
    /* Of what was refused in parts there may be more to try, now that it is known which it has. */
    if (xds_refusing_count(s->refusing) == 0)
        bits_reset(&sub->pending);
    bits_reset(&sub->blocked);
    sub->answer_due = false;
    if (sub->type == XDS_CLUSTER)
        s->claimed_until = now + XDS_PATIENCE;
}

/* ---- the next message ---- */

int xds_session_next(struct xds_session *s, clock_ns now, struct xds_message *m, struct err *e)
{
    static const enum xds_type adding[] = {XDS_CLUSTER, XDS_ENDPOINT, XDS_SECRET, XDS_ROUTE, XDS_LISTENER};
    static const enum xds_type removing[] = {XDS_LISTENER, XDS_ROUTE, XDS_SECRET, XDS_ENDPOINT, XDS_CLUSTER};
    int r = xds_session_settle(s, now, e);
    clock_ns bridges_until;

    if (r <= 0) {
        s->deadline = INT64_MAX;
        return r;
    }
    if (now >= s->deadline)
        pass_time(s, now);
    s->deadline = INT64_MAX;
    bridges_until = xds_bridges_pass(s, now);
    for (unsigned type = 0; type < XDS_TYPES; type++)
        if (s->subs[type].claims)
            xds_check_claim(s, &s->subs[type], now);
    for (size_t i = 0; i < ARRAY_LEN(adding); i++)
        if (send_adds(s, &s->subs[adding[i]], now, m))
            return 1;
    for (size_t i = 0; i < ARRAY_LEN(removing); i++)
        if (send_removes(s, &s->subs[removing[i]], now, m))
            return 1;
    set_deadline(s, now);
    wake_at(s, bridges_until);
    wake_at(s, xds_progress_advance(s, now));
    return 0;
}
