/* The place of a stream in its gateway's journal: see xds_rollout.h. */
#include "server/xds_journal.h"
#include "server/xds_stream.h"

#include <assert.h>
#include <string.h>

enum { WORD = 64 };

/* ---- what a client confirmed ---- */

/* The form that the client was known to have last, before what is under way; or NULL. */
static const struct xds_form *confirmed_form(const struct xds_sub *sub, uint32_t slot)
{
    if (bits_get(&sub->confirmed, slot))
        return xds_held(sub, slot);
    for (const struct xds_response *r = sub->first; r; r = r->next) {
        uint32_t i;

        if (r->answered)
            continue;
        i = xds_find_brought(r, slot);
        if (i < r->n)
            return xds_before(r, i);
        i = xds_find_removed(r, slot);
        if (i < r->n_removed)
            return r->removed[i];
    }
    return NULL;
}

static bool is_refused_now(const struct xds_session *s, enum xds_type type, const struct xds_form *current)
{
    return current && xds_is_refused(s, type, current->version);
}

/* Refused, be it for a part of it, and nothing that is made of it can be had either. */
static bool is_held_back(struct xds_session *s, enum xds_type type, struct xds_form *current)
{
    const struct xds_form *target;

    if (is_refused_now(s, type, current))
        return true;
    if (!xds_refusal_of(s, current))
        return false;
    target = xds_target(s, &s->subs[type], current->slot);
    return !target || (target != current && !(target->composed && target->basis == current->version));
}

/* Whether the form is what the batch made current, or newer. */
static bool is_of_batch(const struct xds_form *f, uint64_t sequence)
{
    return f->until > sequence || (f->composed && f->since >= sequence);
}

/* ---- refusals ---- */

void xds_progress_refused(struct xds_session *s, const struct xds_form *f)
{
    struct xds_progress *p = &s->progress;

    if (!f->since)
        return;
    for (unsigned i = 0; i < p->n_refused; i++)
        if (p->refused[i].sequence == f->since && p->refused[i].version == f->version &&
            p->refused[i].type == f->type)
            return;
    if (!p->refused)
        p->refused = mem_array(struct xds_refused, XDS_STREAM_REFUSALS_MAX);
    if (p->n_refused == XDS_STREAM_REFUSALS_MAX)
        memmove(p->refused, p->refused + 1, --p->n_refused * sizeof(p->refused[0]));
    p->refused[p->n_refused++] = (struct xds_refused){f->since, f->version, f->type};
    xds_journal_refused(s->gateway, f->since);
}

/* ---- is a slot settled ---- */

/* What a listener or cluster needs beside itself: that the client took it, in some form. */
static bool has_taken(const struct xds_session *s, enum xds_type type, uint32_t slot)
{
    const struct xds_sub *sub = &s->subs[type];
    const struct xds_form *current = xds_current(sub->table, slot);

    if (!current || is_refused_now(s, type, current))
        return true;
    if (type == XDS_ENDPOINT && !(sub->asked && xds_covers(sub, slot)))
        return bits_get(&s->waived, slot);
    return sub->asked && xds_covers(sub, slot) && confirmed_form(sub, slot);
}

bool xds_progress_has_needs(const struct xds_session *s, const struct xds_form *f)
{
    const uint32_t *use = f->uses + f->n_clusters;

    if (!s->options.aggregated || !f->resource)
        return true;
    if (f->type == XDS_CLUSTER && f->resource->uses_eds && !has_taken(s, XDS_ENDPOINT, f->slot))
        return false;
    if (f->type != XDS_LISTENER)
        return true;
    for (uint32_t i = 0; i < f->n_routes; i++)
        if (!has_taken(s, XDS_ROUTE, *use++))
            return false;
    for (uint32_t i = 0; i < f->n_secrets; i++)
        if (!has_taken(s, XDS_SECRET, *use++))
            return false;
    return true;
}

/* There is no current form any more: whether the client dropped it. */
static bool is_dropped(const struct xds_session *s, const struct xds_sub *sub, uint32_t slot)
{
    /* There is no word for "gone" in these: the client drops it by itself. */
    if (s->options.variant == XDS_SOTW && !xds_is_full(s, sub->type))
        return true;
    return !xds_held(sub, slot) && !xds_is_under_way(sub, slot);
}

/* Whether the client took what this slot was after the batch, or later. */
static bool is_settled(struct xds_session *s, enum xds_type type, uint32_t slot, uint64_t sequence)
{
    const struct xds_sub *sub = &s->subs[type];
    struct xds_form *current = xds_current(sub->table, slot);
    const struct xds_form *f;

    if (!sub->asked || (!xds_covers(sub, slot) && !xds_held(sub, slot)))
        return true;
    if (is_held_back(s, type, current)) {
        /* Refused by the proxy on another stream, maybe: nothing is sent that it could refuse again. */
        xds_progress_refused(s, current);
        return true;
    }
    if (!current)
        return is_dropped(s, sub, slot);
    f = confirmed_form(sub, slot);
    if (!f)
        return false;
    /* Taken away and put back meanwhile. If another form is on its way, the client may have that by now. */
    if (f->version == current->version && bits_get(&sub->confirmed, slot))
        f = current;
    return is_of_batch(f, sequence) && xds_progress_has_needs(s, f);
}

/* ---- the survey ---- */

static void begin_survey(struct xds_session *s)
{
    struct xds_progress *p = &s->progress;

    p->surveying = true;
    p->target = s->gateway->directory->sequence;
    p->at = s->gateway->journal->end;
    p->type = 0;
    p->word = 0;
}

/* The client has all that there is of a type. */
static bool has_all(const struct xds_sub *sub)
{
    const struct bits *live = &sub->table->live;

    for (uint32_t slot = bits_next(live, 0); slot != BITS_END; slot = bits_next(live, (slot | (WORD - 1)) + 1)) {
        uint32_t word = slot / WORD;

        if (bits_word(live, word) & ~xds_confirmed_word(sub, word))
            return false;
    }
    return true;
}

/* Of 64 slots: those that have to be looked at one by one; needs_met: no listener lacks a route or secret. */
static uint64_t unsettled_in(const struct xds_session *s, const struct xds_sub *sub, uint32_t word, bool needs_met)
{
    const struct xds_sub *eds = &s->subs[XDS_ENDPOINT];
    uint64_t wanted = bits_word(&sub->table->live, word) & xds_covered_word(sub, word);
    uint64_t has = xds_confirmed_word(sub, word);

    if (sub->type == XDS_LISTENER && !needs_met)
        has = 0;
    if (sub->type == XDS_CLUSTER && s->options.aggregated)
        has &= bits_word(&eds->confirmed, word) | ~bits_word(&eds->table->live, word);
    return (wanted & ~has) | (bits_word(&sub->holding, word) & ~wanted);
}

/* What was taken away, and is not held any more for all that was sent: whether the client has dropped it. */
static bool has_dropped_all(struct xds_session *s, const struct xds_sub *sub)
{
    for (const struct xds_response *r = sub->first; r; r = r->next)
        for (uint32_t i = 0; !r->answered && i < r->n_removed; i++)
            if (!is_settled(s, sub->type, r->removed[i]->slot, s->progress.target))
                return false;
    return true;
}

static bool survey_type(struct xds_session *s, const struct xds_sub *sub)
{
    struct xds_progress *p = &s->progress;
    bool needs_met = sub->type == XDS_LISTENER && has_all(&s->subs[XDS_ROUTE]) && has_all(&s->subs[XDS_SECRET]);

    for (; p->word * WORD < sub->table->cap; p->word++)
        for (uint64_t left = unsettled_in(s, sub, p->word, needs_met); left; left &= left - 1)
            if (!is_settled(s, sub->type, p->word * WORD + (uint32_t)__builtin_ctzll(left), p->target))
                return false;
    return has_dropped_all(s, sub);
}

/* A proxy asks for clusters first, and for listeners once these are ready: until then it has not said all. */
static bool has_asked(const struct xds_session *s, clock_ns now)
{
    const struct xds_progress *p = &s->progress;

    if (!s->options.aggregated)
        return s->subs[s->options.type].asked;
    return (s->subs[XDS_CLUSTER].asked && s->subs[XDS_LISTENER].asked) || now >= p->patience_until;
}

static bool survey(struct xds_session *s, clock_ns now)
{
    struct xds_progress *p = &s->progress;

    if (!has_asked(s, now))
        return false;
    for (; p->type < XDS_TYPES; p->type++, p->word = 0)
        if (s->subs[p->type].asked && !survey_type(s, &s->subs[p->type]))
            return false;
    return true;
}

/* ---- the way on ---- */

static void pass(struct xds_session *s, uint64_t sequence)
{
    struct xds_progress *p = &s->progress;
    struct xds_journal *j = s->gateway->journal;
    uint64_t before = p->passed;

    if (sequence <= before)
        return;
    p->passed = sequence;
    for (uint64_t n = j->n_revisions; n-- > xds_journal_oldest(j);) {
        struct xds_journal_revision *r = xds_journal_revision(j, n);

        if (r->sequence <= before)
            break;
        if (r->sequence <= sequence)
            xds_journal_passed(s->gateway, r);
    }
}

static void walk(struct xds_session *s)
{
    struct xds_progress *p = &s->progress;
    const struct xds_journal *j = s->gateway->journal;

    while (p->at < j->end) {
        const struct xds_journal_entry *entry = xds_journal_at(j, p->at);

        if (!is_settled(s, entry->type, entry->slot, entry->sequence))
            return;
        p->at++;
        if (p->at == j->end || xds_journal_at(j, p->at)->sequence != entry->sequence)
            pass(s, entry->sequence);
    }
}

clock_ns xds_progress_advance(struct xds_session *s, clock_ns now)
{
    struct xds_progress *p = &s->progress;
    const struct xds_journal *j = s->gateway ? s->gateway->journal : NULL;

    if (!j || (!p->surveying && p->at == j->end))
        return INT64_MAX;
    if (!p->surveying && p->at < j->begin)
        begin_survey(s);
    if (p->surveying) {
        if (!survey(s, now))
            return now < p->patience_until && !has_asked(s, now) ? p->patience_until : INT64_MAX;
        p->surveying = false;
        pass(s, p->target);
        if (p->at < j->begin)
            begin_survey(s); /* it took so long that the journal is gone: again, when something happens next */
    }
    if (!p->surveying)
        walk(s);
    return INT64_MAX;
}

void xds_progress_join(struct xds_session *s, clock_ns now)
{
    struct xds_progress *p = &s->progress;
    struct xds_journal *j = s->gateway->journal;

    assert(!p->surveying && p->passed == 0);
    p->patience_until = now + XDS_SURVEY_PATIENCE_SECONDS * CLOCK_NS_PER_S;
    j->n_streams++;
    for (uint64_t n = xds_journal_oldest(j); n < j->n_revisions; n++)
        xds_journal_revision(j, n)->n_pending++;
    begin_survey(s);
}

void xds_progress_leave(struct xds_session *s)
{
    struct xds_journal *j = s->gateway ? s->gateway->journal : NULL;

    if (!j)
        return;
    j->n_streams--;
    for (uint64_t n = xds_journal_oldest(j); n < j->n_revisions; n++) {
        struct xds_journal_revision *r = xds_journal_revision(j, n);

        if (r->sequence > s->progress.passed)
            xds_journal_passed(s->gateway, r);
    }
    mem_free(s->progress.refused);
}
