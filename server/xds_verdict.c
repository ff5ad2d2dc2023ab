/*
 * What a client says to a response, and how the culprit of a refusal is found (see take_nack).
 *
 * A refusal accuses the whole response. Unless the client's words name the culprits, the resources that it brought
 * are sent again in halves, each half in a response of its own, until a refused one holds a single resource: that is
 * the culprit. Its version is remembered for the proxy (xds_refusals.h) and is not sent to it again; its last good
 * form takes its place. What was refused with it was maybe lost with it, and is sent again.
 *
 * Where a response holds everything (state of the world: clusters, listeners), a half is tried by sending it in its
 * new form and all other suspects as they were before.
 *
 * Each refusal makes the groups smaller, or finds a culprit whose version is not sent again: so it ends. Where the
 * culprit is made of parts that can do without each other, what is at fault in it is found out next: see xds_parts.c.
 */
#include "server/xds_stream.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- taken ---- */

static bool uses_unasked_assignments(const struct xds_session *s, const struct xds_response *r)
{
    const struct xds_sub *eds = &s->subs[XDS_ENDPOINT];

    if (r->lot)
        return !eds->wildcard && !bits_holds_all(&eds->named, &r->lot->assigned);
    for (uint32_t i = 0; i < r->n; i++)
        if (r->forms[i]->resource->uses_eds && !xds_covers(eds, r->forms[i]->slot))
            return true;
    return false;
}

/* Keeps the response, from now on, until the client had time to ask for the assignments of its clusters. */
static void await_subscriptions(struct xds_session *s, struct xds_response *r, clock_ns now)
{
    r->sent_at = now;
    r->next = NULL;
    *(s->awaited_last ? &s->awaited_last->next : &s->awaited) = r;
    s->awaited_last = r;
}

/* Out of the list; previous NULL: it is the first. */
static void unlink_response(struct xds_sub *sub, struct xds_response *r, struct xds_response *previous)
{
    *(previous ? &previous->next : &sub->first) = r->next;
    if (sub->last == r)
        sub->last = previous;
    sub->n_unanswered -= !r->answered;
}

/* The client has what this response brought, unless another one came after it. */
void xds_confirm(struct xds_sub *sub, const struct xds_response *r)
{
    if (r->lot && !r->lot->stale) {
        xds_lot_confirm(sub, r->lot);
        return;
    }
    for (uint32_t i = 0; i < r->n; i++)
        if (xds_same_form(xds_held(sub, r->forms[i]->slot), r->forms[i]))
            bits_set(&sub->confirmed, r->forms[i]->slot);
}

static void report_part(struct xds_session *s, const struct xds_sub *sub, struct xds_form *current,
                        const struct part *part, const char *words);

/* The client took some parts: what it refused beside them may prove something now, and others are tried. */
static void take_parts(struct xds_session *s, struct xds_sub *sub, uint32_t slot)
{
    (void)xds_accuse_parts(s, sub, slot, report_part); /* what there is to be sent is found out when it is sent */
    bits_set(&sub->pending, slot);
}

static bool is_fresh(const struct xds_response *r)
{
    return r->fresh || (r->lot && r->lot->fresh);
}

/* Who refused what is current may get this instead: all that a response brought is told at once. */
static void accept(const struct xds_session *s, const struct xds_sub *sub, const struct xds_response *r)
{
    bool tells = xds_refusals_changes(s->common->refusals) > 0;
    _cleanup_(mem_free_p) struct xds_touched *touched = tells ? mem_array(struct xds_touched, r->n) : NULL;
    size_t n = 0;

    for (uint32_t i = 0; i < r->n; i++)
        if (xds_form_accept(r->forms[i]) && tells)
            touched[n++] = (struct xds_touched){.type = sub->type, .slot = r->forms[i]->slot, .accepted = true};
    if (n > 0)
        xds_accepted_tell(s->gateway, touched, n);
}

/* What the client has of what a response brought, or took away, is known now. */
static void keep_all(struct xds_session *s, const struct xds_sub *sub, const struct xds_response *r)
{
    if (xds_refusing_count(s->refusing) == 0)
        return; /* xds_keep() would find so for each */
    for (uint32_t i = 0; i < r->n; i++)
        xds_keep(s, sub, r->forms[i]->slot);
    for (uint32_t i = 0; i < r->n_removed; i++)
        xds_keep(s, sub, r->removed[i]->slot);
}

static void take(struct xds_session *s, struct xds_sub *sub, struct xds_response *r, clock_ns now)
{
    bool fresh = is_fresh(r);

    xds_confirm(sub, r);
    if (fresh || r->trial)
        accept(s, sub, r);
    for (uint32_t i = 0; r->trial && i < r->n; i++)
        bits_unset(&sub->suspect, r->forms[i]->slot);
    for (uint32_t i = 0; sub->mixes && i < r->n; i++)
        if (r->forms[i]->composed)
            take_parts(s, sub, r->forms[i]->slot);
    keep_all(s, sub, r);
    if (r->lot)
        r->lot->fresh = false;
    if (sub->type == XDS_CLUSTER && s->options.aggregated && uses_unasked_assignments(s, r))
        await_subscriptions(s, r, now);
    else
        xds_response_free(r);
}

/* State of the world: whoever takes a response has what the ones before it brought. */
void xds_take_ack(struct xds_session *s, struct xds_sub *sub, uint64_t nonce, clock_ns now)
{
    struct xds_response *previous = NULL, *next;
    struct xds_response *found;

    for (found = sub->first; found && (found->nonce != nonce || found->answered); found = found->next)
        ;
    if (!found)
        return;
    for (struct xds_response *r = sub->first; r; r = next) {
        next = r->next;
        if (r->answered || (r != found && s->options.variant == XDS_DELTA)) {
            previous = r;
            continue;
        }
        unlink_response(sub, r, previous);
        take(s, sub, r, now);
        if (r == found)
            break;
    }
}

/* ---- refused ---- */

/* f NULL: of a response; part NULL: of all of the resource. */
static void report(const struct xds_session *s, const struct xds_sub *sub, const struct xds_form *f,
                   const struct part *part, struct xds_span words)
{
    char version[17] = "";
    _cleanup_(mem_free_p) char *text = mem_strndup(words.n ? words.p : "", words.n);
    struct xds_report r = {.peer = s->peer,
                           .node_id = s->node_id,
                           .gateway = s->gateway->name,
                           .type = sub->type,
                           .words = text,
                           .culprit = f != NULL,
                           .version = version};

    if (!s->common->nacked)
        return;
    if (f) {
        snprintf(version, sizeof(version), "%016llx", (unsigned long long)f->version);
        r.name = xds_form_name(f);
        r.owner = part ? part->owner : f->resource ? f->resource->owner : NULL;
        r.part = part ? part->name : NULL;
    }
    s->common->nacked(s->common->arg, &r);
}

static void report_part(struct xds_session *s, const struct xds_sub *sub, struct xds_form *current,
                        const struct part *part, const char *words)
{
    report(s, sub, current, part, (struct xds_span){words, strlen(words)});
}

static void convict(struct xds_session *s, struct xds_sub *sub, struct xds_form *f, struct xds_span words)
{
    xds_refusing_add(s->refusing, sub->type, f->version, xds_form_name(f), words.p, words.n);
    bits_unset(&sub->suspect, f->slot);
    bits_unset(&sub->confirmed, f->slot);
    xds_progress_refused(s, f);
    /* Whatever became of it there: what stands in for it is sent, or that there is none. */
    if (xds_covers(sub, f->slot)) {
        bits_set(&sub->owed, f->slot);
        bits_set(&sub->pending, f->slot);
    }
    if (!xds_accuse_parts(s, sub, f->slot, report_part))
        report(s, sub, f, NULL, words);
}

/*
 * Envoy writes "Error adding/updating cluster(s) NAME: why, NAME: why" and the like. A name counts where it stands by
 * itself. Every piece of the words that begins and ends at such a border is looked up.
 */
static unsigned convict_named(struct xds_session *s, struct xds_sub *sub, const struct xds_response *r,
                              struct xds_span words)
{
    enum { WORDS_MAX = 8192, PIECES_MAX = 64 };
    size_t n = words.n < WORDS_MAX ? words.n : WORDS_MAX;
    unsigned found = 0;

    for (size_t from = 0; from < n; from++) {
        unsigned pieces = 0;

        if (from > 0 && (resource_name_has(words.p[from - 1]) || words.p[from - 1] == '.'))
            continue;
        for (size_t to = from + 1; to <= n && to - from <= XDS_NAME_MAX && pieces < PIECES_MAX; to++) {
            uint32_t slot, i;

            if (to < n && resource_name_has(words.p[to]))
                continue;
            pieces++;
            slot = xds_slot_find(sub->table->space, words.p + from, to - from);
            i = slot == XDS_NO_SLOT ? r->n : xds_find_brought(r, slot);
            if (i == r->n || xds_is_refused(s, sub->type, r->forms[i]->version))
                continue;
            convict(s, sub, r->forms[i], words);
            if (xds_same_form(xds_held(sub, slot), r->forms[i]))
                xds_hold(sub, slot, xds_before(r, i));
            found++;
        }
    }
    return found;
}

static void add_group(struct xds_sub *sub, const uint32_t *slots, uint32_t n)
{
    struct xds_group *g, **end = &sub->groups;

    if (n == 0)
        return;
    g = mem_alloc(sizeof(*g) + n * sizeof(g->slots[0]));
    g->n = n;
    memcpy(g->slots, slots, n * sizeof(g->slots[0]));
    while (*end)
        end = &(*end)->next;
    *end = g;
}

/* Later responses were made as if this one had been taken: what the client had before them is what it had before
 * it. */
static void correct_later(struct xds_response *r, const struct xds_form *sent, struct xds_form *before)
{
    for (r = r->next; r; r = r->next) {
        for (uint32_t i = 0; i < r->n; i++) {
            if (!r->before || !xds_same_form(r->before[i], sent))
                continue;
            xds_form_unref(r->before[i]);
            r->before[i] = before ? xds_form_ref(before) : NULL;
        }
    }
}

/*
 * Takes back what a refused response brought; returns the slots that are to be sent again, in order. Where the
 * culprit is known the client may have taken the others all the same, or lost them: they count as held, so that they
 * are taken away in their turn should they be gone meanwhile, but are sent again.
 */
static uint32_t *take_back(struct xds_session *s, struct xds_sub *sub, struct xds_response *r, bool explained,
                           uint32_t *ret_n)
{
    uint32_t *slots = mem_array(uint32_t, r->n), n = 0;

    for (uint32_t i = 0; i < r->n; i++) {
        struct xds_form *sent = r->forms[i], *before = xds_before(r, i);
        bool refused = xds_is_refused(s, sub->type, sent->version);

        if (r->next && (!explained || refused))
            correct_later(r, sent, before);
        if (r->trial)
            bits_unset(&sub->suspect, sent->slot);
        if (!xds_same_form(xds_held(sub, sent->slot), sent))
            continue; /* overtaken by a later response, or forgotten */
        if (!explained || refused)
            xds_hold(sub, sent->slot, before);
        bits_unset(&sub->confirmed, sent->slot);
        if (refused)
            continue;
        bits_set(&sub->owed, sent->slot);
        bits_set(&sub->pending, sent->slot);
        slots[n++] = sent->slot;
    }
    *ret_n = n;
    return slots;
}

/* A response that holds everything was lost: what it left out is still there. */
static void take_back_removed(struct xds_session *s, struct xds_sub *sub, const struct xds_response *r)
{
    for (uint32_t i = 0; i < r->n_removed; i++) {
        struct xds_form *f = r->removed[i];

        if (xds_held(sub, f->slot) || !xds_covers(sub, f->slot) || xds_is_refused(s, sub->type, f->version))
            continue;
        xds_hold(sub, f->slot, f);
        bits_set(&sub->confirmed, f->slot);
        bits_set(&sub->pending, f->slot);
    }
}

/* What is shared becomes its own. */
static void own_forms(struct xds_response *r)
{
    struct xds_form **forms = mem_array(struct xds_form *, r->n);

    for (uint32_t i = 0; i < r->n; i++)
        forms[i] = xds_form_ref(r->forms[i]);
    r->fresh |= r->lot->fresh;
    r->forms = forms;
    xds_lot_unref(take_ptr(r->lot));
}

/* One form more that a response is taken to have brought; in its place by slot. */
static void insert_form(struct xds_response *r, struct xds_form *sent, struct xds_form *before)
{
    uint32_t at = r->n;

    if (r->lot)
        own_forms(r);
    r->forms = mem_realloc(r->forms, r->n + 1, sizeof(struct xds_form *));
    if (!r->before)
        r->before = mem_array(struct xds_form *, r->n);
    r->before = mem_realloc(r->before, r->n + 1, sizeof(struct xds_form *));
    for (; at > 0 && r->forms[at - 1]->slot > sent->slot; at--) {
        r->forms[at] = r->forms[at - 1];
        r->before[at] = r->before[at - 1];
    }
    r->forms[at] = xds_form_ref(sent);
    r->before[at] = before ? xds_form_ref(before) : NULL;
    r->n++;
}

static void insert_removed(struct xds_response *r, struct xds_form *before)
{
    r->removed = mem_realloc(r->removed, r->n_removed + 1, sizeof(struct xds_form *));
    r->removed[r->n_removed++] = xds_form_ref(before);
}

/* What the client had of a slot before a response is another form now (or none). */
static void set_before(struct xds_response *r, uint32_t slot, struct xds_form *before)
{
    uint32_t i = xds_find_brought(r, slot);

    if (i < r->n) {
        if (!r->before)
            r->before = mem_array(struct xds_form *, r->n);
        xds_form_unref(r->before[i]);
        r->before[i] = before ? xds_form_ref(before) : NULL;
    }
    i = xds_find_removed(r, slot);
    if (i < r->n_removed) {
        xds_form_unref(r->removed[i]);
        r->removed[i] = before ? xds_form_ref(before) : r->removed[--r->n_removed];
    }
}

/*
 * Responses that hold everything: the next one holds what this one brought, and stands or falls with it. So it is
 * judged as if it had brought both.
 */
static void pass_on(struct xds_response *r, struct xds_response *next)
{
    for (uint32_t i = 0; i < r->n; i++) {
        struct xds_form *sent = r->forms[i], *before = xds_before(r, i);

        if (xds_find_brought(next, sent->slot) < next->n || xds_find_removed(next, sent->slot) < next->n_removed)
            set_before(next, sent->slot, before);
        else
            insert_form(next, sent, before);
    }
    for (uint32_t i = 0; i < r->n_removed; i++) {
        if (xds_find_brought(next, r->removed[i]->slot) < next->n)
            set_before(next, r->removed[i]->slot, r->removed[i]);
        else
            insert_removed(next, r->removed[i]);
    }
    next->trial |= r->trial;
    next->fresh |= is_fresh(r);
}

static struct xds_response *next_unanswered(struct xds_response *r)
{
    for (r = r->next; r && r->answered; r = r->next)
        ;
    return r;
}

/* State of the world: one answer speaks for all responses before it that were not answered. */
static void gather_earlier(struct xds_sub *sub, struct xds_response *r)
{
    for (struct xds_response *earlier = sub->first; earlier != r; earlier = earlier->next) {
        if (earlier->answered)
            continue;
        pass_on(earlier, next_unanswered(earlier));
        earlier->answered = true;
        sub->n_unanswered--;
    }
}

static bool holds_refused(const struct xds_session *s, const struct xds_sub *sub, const struct xds_response *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        if (xds_is_refused(s, sub->type, r->forms[i]->version))
            return true;
    return false;
}

static void suspect(struct xds_sub *sub, const uint32_t *slots, uint32_t n, bool halve)
{
    uint32_t half = halve ? n / 2 : 0;

    for (uint32_t i = 0; i < n; i++)
        bits_set(&sub->suspect, slots[i]);
    add_group(sub, slots, half);
    add_group(sub, slots + half, n - half);
}

void xds_tell_nack(const struct xds_session *s, const struct xds_sub *sub, struct xds_span words)
{
    report(s, sub, NULL, NULL, words);
}

void xds_take_nack(struct xds_session *s, struct xds_sub *sub, uint64_t nonce, struct xds_span words, clock_ns now)
{
    struct xds_response *r;
    uint32_t *slots, n;
    bool explained;

    for (r = sub->first; r && (r->nonce != nonce || r->answered); r = r->next)
        ;
    if (!r)
        return;
    report(s, sub, NULL, NULL, words);
    if (s->options.variant == XDS_SOTW)
        gather_earlier(sub, r);
    r->answered = true;
    r->sent_at = now;
    sub->n_unanswered--;
    /* Refused for something that is known, or named: the others are not to blame. */
    explained = holds_refused(s, sub, r);
    explained = convict_named(s, sub, r, words) > 0 || explained;
    if (xds_is_full(s, sub->type) && next_unanswered(r)) {
        pass_on(r, next_unanswered(r));
        return;
    }
    slots = take_back(s, sub, r, explained, &n);
    if (r->n == 1 && !explained) {
        convict(s, sub, r->forms[0], words);
        n = 0;
    }
    if (xds_is_full(s, sub->type) && r->n > 0) {
        /* Else the client maybe took all the same that something is gone: should it come back, it is new. */
        if (!explained)
            take_back_removed(s, sub, r);
        /* Even if nothing is left to send: it has yet to take a response, for what that leaves out. */
        sub->answer_due = true;
    }
    keep_all(s, sub, r);
    suspect(sub, slots, n, !explained && n > 1);
    mem_free(slots);
    s->in_use_valid = false;
}
