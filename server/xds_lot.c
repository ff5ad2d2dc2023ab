/*
 * Lots: making and finding them. A table has a chain of them for responses of limited length, each beginning where
 * the one before ends, and one of all for responses that hold everything. Everything here goes by words of 64 slots.
 */
#include "server/xds_lot.h"

#include "server/xds_stream.h"

enum { LOT_MIN = 2 }; /* what is less is not worth it */

/* ---- making ---- */

void xds_lot_unref(struct xds_lot *lot)
{
    if (!lot || --lot->refs > 0)
        return;
    for (uint32_t i = 0; i < lot->n; i++)
        xds_form_unref(lot->forms[i]);
    mem_free(lot->forms);
    bits_clear(&lot->slots);
    bits_clear(&lot->clusters);
    bits_clear(&lot->assigned);
    mem_free(lot);
}

void xds_lots_drop(struct xds_table *t)
{
    while (t->lots) {
        struct xds_lot *next = t->lots->next;

        t->lots->stale = true;
        xds_lot_unref(t->lots);
        t->lots = next;
    }
}

static void add_form(struct xds_lot *lot, struct xds_form *f)
{
    lot->forms[lot->n++] = xds_form_ref(f);
    bits_set(&lot->slots, f->slot);
    lot->fresh |= !f->accepted;
    xds_sum_add(&lot->sum, f->hash);
    for (uint32_t i = 0; i < f->n_clusters; i++)
        bits_set(&lot->clusters, f->uses[i]);
    if (f->resource->uses_eds)
        bits_set(&lot->assigned, f->slot);
}

static struct xds_lot *make_lot(struct xds_table *t, uint32_t from, bool limited)
{
    struct xds_lot *lot = mem_new(struct xds_lot);
    uint32_t slot = bits_next(&t->live, from);
    size_t bytes = 0;

    lot->refs = 1;
    lot->limited = limited;
    lot->from = from;
    lot->forms = mem_array(struct xds_form *, t->live.count);
    for (; slot != BITS_END; slot = bits_next(&t->live, slot + 1)) {
        struct xds_form *f = t->current[slot];

        if (f->alone && !f->accepted)
            continue;
        if (limited && bytes >= XDS_RESPONSE_BYTES)
            break;
        add_form(lot, f);
        lot->to = slot + 1;
        bytes += f->len;
    }
    lot->next = t->lots;
    t->lots = lot;
    return lot;
}

static struct xds_lot *find_made(const struct xds_table *t, uint32_t from, bool limited)
{
    struct xds_lot *lot = t->lots;

    while (lot && (lot->from != from || lot->limited != limited))
        lot = lot->next;
    return lot;
}

/* ---- finding ---- */

/* From that slot on: there is something, and the client wants all of it and has nothing. */
static bool wants_all_from(const struct xds_sub *sub, uint32_t from)
{
    const struct bits *live = &sub->table->live;
    uint32_t slot = bits_next(live, from);

    if (slot == BITS_END || bits_next(&sub->holding, from) != BITS_END)
        return false;
    for (; slot != BITS_END; slot = bits_next(live, (slot | 63) + 1)) {
        uint64_t there = bits_word(live, slot / 64) & UINT64_MAX << slot % 64;

        if (there & ~(xds_covered_word(sub, slot / 64) & bits_word(&sub->pending, slot / 64)))
            return false;
    }
    return true;
}

/* Whether the client has, in their current form, all clusters that the lot needs, and their assignments. Other cases
 * (see may_send) are not told apart here. */
static bool has_needs(const struct xds_session *s, const struct xds_lot *lot)
{
    const struct xds_sub *cds = &s->subs[XDS_CLUSTER], *eds = &s->subs[XDS_ENDPOINT];
    const struct bits *needs = &lot->clusters;

    if (!s->options.aggregated)
        return true;
    for (uint32_t slot = bits_next(needs, 0); slot != BITS_END; slot = bits_next(needs, (slot | 63) + 1)) {
        uint32_t word = slot / 64;
        uint64_t known = bits_word(&cds->table->live, word) | bits_word(&cds->holding, word);
        uint64_t assigned = bits_word(&eds->table->live, word);
        uint64_t ready = bits_word(&eds->holding, word) & ~bits_word(&eds->owed, word);

        if (!cds->asked || (bits_word(needs, word) & known & ~bits_word(&cds->same, word)) ||
            (bits_word(needs, word) & assigned & ~ready))
            return false;
    }
    return true;
}

struct xds_lot *xds_lot_find(const struct xds_session *s, const struct xds_sub *sub)
{
    bool limited = !xds_is_full(s, sub->type);
    struct xds_lot *lot;
    uint32_t from = 0;

    /* Where it repeats what an unanswered response brought, it is a case of its own. */
    if (limited && s->options.variant == XDS_SOTW && sub->n_unanswered > 0)
        return NULL;
    if (sub->pending.count < LOT_MIN || sub->type == XDS_SECRET || sub->suspect.count > 0 ||
        xds_refusing_count(s->refusing) > 0)
        return NULL;
    while ((lot = find_made(sub->table, from, limited)) && bits_next(&sub->holding, from) < lot->to)
        from = lot->to;
    if (!wants_all_from(sub, from))
        return NULL;
    if (!lot)
        lot = make_lot(sub->table, from, limited);
    return lot->n > 0 && has_needs(s, lot) ? lot : NULL;
}

void xds_lot_hold(struct xds_sub *sub, const struct xds_lot *lot)
{
    for (uint32_t slot = bits_next(&lot->slots, 0); slot != BITS_END;
         slot = bits_next(&lot->slots, (slot | 63) + 1)) {
        uint32_t word = slot / 64;
        uint64_t slots = bits_word(&lot->slots, word);

        bits_set_word(&sub->holding, word, slots);
        bits_set_word(&sub->same, word, slots);
        bits_unset_word(&sub->confirmed, word, slots);
        bits_unset_word(&sub->pending, word, slots);
        bits_unset_word(&sub->owed, word, slots);
    }
    if (sub->sums)
        xds_sum_add(&sub->sum, lot->sum);
}

void xds_lot_confirm(struct xds_sub *sub, const struct xds_lot *lot)
{
    /* What is current is what the lot brought. */
    for (uint32_t slot = bits_next(&lot->slots, 0); slot != BITS_END;
         slot = bits_next(&lot->slots, (slot | 63) + 1)) {
        uint64_t same = bits_word(&lot->slots, slot / 64) & bits_word(&sub->same, slot / 64);

        bits_set_word(&sub->confirmed, slot / 64, same);
    }
}
