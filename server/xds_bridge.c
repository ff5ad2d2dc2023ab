/*
 * Domains that move from one filter chain to another of their listener. Two resources say where a domain is: the
 * listener (which chain a connection gets) and the chains' route configurations, and a client takes one after the
 * other. What gains a domain goes out before the listener (xds_send.c). What loses one to another chain is sent in a
 * form that keeps it beside all that is new, until the listener leads there, and for a while longer:
 *
 *     the client has not confirmed the listener's new form, or a route configuration or secret that it needs: while
 *     it gets these ready, connections go to the chain where the domain was (at most XDS_BRIDGE_MAX)
 *     then for XDS_LINGER: connections that were there before stay on the old chain, and Envoy ends them with the
 *     answer to their next request
 *
 * A domain that is gone from all chains of the listener is not kept, nor one that was served in plaintext: nobody
 * follows it to TLS by itself.
 *
 * The form is all of the current one, so it counts as such where it is asked what a client has. It is made once for
 * all streams that come from the same form.
 */
#include "server/xds_stream.h"

#include <string.h>

struct xds_bridge {
    struct xds_bridge *next;
    uint32_t slot;
    struct xds_form *form;    /* what is kept, beside what is new; a reference */
    clock_ns began_at, until; /* 0: it was not sent yet; the listener's new form is not taken */
    bool over;                /* the current form is to come */
};

/* What moved to where. */
struct move {
    struct xds_sub *routes;
    const struct xds_form *listener;
    uint32_t slot;
    uint64_t since; /* of batches: what became current before has gained nothing that was lost here */
};

static struct xds_bridge **find(struct xds_sub *sub, uint32_t slot)
{
    struct xds_bridge **at = &sub->bridges;

    while (*at && (*at)->slot != slot)
        at = &(*at)->next;
    return at;
}

static void drop(struct xds_bridge **at)
{
    struct xds_bridge *b = *at;

    *at = b->next;
    xds_form_unref(b->form);
    mem_free(b);
}

/* ---- the listener ---- */

/* The slot of the listener whose route configuration (LISTENER|CHAIN) this is; XDS_NO_SLOT: of none with TLS. */
static uint32_t listener_of(struct xds_session *s, const struct xds_form *route)
{
    const char *name = xds_form_name(route), *chain = strchr(name, '|');

    if (!chain || strcmp(chain + 1, "plain") == 0)
        return XDS_NO_SLOT;
    return xds_slot_find(s->subs[XDS_LISTENER].table->space, name, (size_t)(chain - name));
}

/* Whether the client has the form of the listener that it is to have, and said so. */
static bool is_there(struct xds_session *s, uint32_t listener)
{
    struct xds_sub *lds = &s->subs[XDS_LISTENER];
    const struct xds_form *held = xds_held(lds, listener), *target = held ? xds_target(s, lds, listener) : NULL;

    return !held || !target || (target->version == held->version && bits_get(&lds->confirmed, listener));
}

/* And all that it needs: it leads where it is to. */
static bool leads(struct xds_session *s, uint32_t listener)
{
    const struct xds_form *held = xds_held(&s->subs[XDS_LISTENER], listener);

    return is_there(s, listener) && (!held || xds_progress_has_needs(s, held));
}

/* ---- what is kept ---- */

static const struct xds_form *gainer(const struct move *m, uint32_t i)
{
    uint32_t slot = m->listener->uses[m->listener->n_clusters + i];
    const struct xds_form *f = xds_current(m->routes->table, slot);

    return f && slot != m->slot && f->since >= m->since ? f : NULL;
}

static bool anything_gained(const struct move *m)
{
    for (uint32_t i = 0; i < m->listener->n_routes; i++)
        if (gainer(m, i))
            return true;
    return false;
}

static bool is_gained(void *arg, const char *domain)
{
    const struct move *m = arg;

    for (uint32_t i = 0; i < m->listener->n_routes; i++) {
        const struct xds_form *f = gainer(m, i);
        const struct parts *parts = f ? xds_form_parts(xds_current(m->routes->table, f->slot)) : NULL;

        if (parts && parts_serve(parts, domain))
            return true;
    }
    return false;
}

/* All of the current form and what is kept of the one that is held; the caller's reference, or NULL. */
static struct xds_form *make(struct move *m, struct xds_form *held, struct xds_form *current)
{
    const struct parts *now = xds_form_parts(current), *before = xds_form_parts(held);
    _cleanup_(resource_unref_p) struct resource *r = now && before ? parts_keep(now, before, is_gained, m) : NULL;

    if (r)
        return xds_form_composed(current, held->version, r);
    current->keeps_none = held->version;
    current->keeps_none_at = current->gateway->directory->sequence;
    /* There may be as many of these as chains. */
    xds_form_drop_parts(current);
    xds_form_drop_parts(held);
    return NULL;
}

static struct xds_form *find_or_make(struct xds_session *s, struct xds_form *held, struct xds_form *current,
                                     uint32_t listener)
{
    struct xds_form *f = xds_form_find_keeping(current, held->version);
    struct move m = {.routes = &s->subs[XDS_ROUTE],
                     .listener = xds_target(s, &s->subs[XDS_LISTENER], listener),
                     .slot = current->slot,
                     .since = held->composed ? held->since : held->until};

    if (f)
        return xds_form_ref(f);
    /* Another chain may have gained since what this one lost before. */
    if (current->keeps_none == held->version && current->keeps_none_at == current->gateway->directory->sequence)
        return NULL;
    if (!m.listener || !anything_gained(&m))
        return NULL;
    return make(&m, held, current);
}

/* One more may keep something. */
static bool has_room(const struct xds_sub *sub)
{
    size_t n = 0;

    for (const struct xds_bridge *b = sub->bridges; b; b = b->next)
        n++;
    return n < XDS_BRIDGES_MAX;
}

/* Whether the client's listener is about to lead elsewhere; XDS_NO_SLOT: no. Else which one it is. */
static uint32_t moving_listener(struct xds_session *s, const struct xds_form *current, const struct xds_bridge *b)
{
    uint32_t listener = listener_of(s, current);

    if (listener == XDS_NO_SLOT || !s->subs[XDS_LISTENER].asked || !xds_held(&s->subs[XDS_LISTENER], listener))
        return XDS_NO_SLOT;
    return (b && b->began_at) || !is_there(s, listener) ? listener : XDS_NO_SLOT;
}

static struct xds_bridge *bridge_of(struct xds_sub *sub, uint32_t slot)
{
    struct xds_bridge *b = *find(sub, slot);

    if (b)
        return b;
    b = mem_new(struct xds_bridge);
    b->slot = slot;
    b->next = sub->bridges;
    return sub->bridges = b;
}

struct xds_form *xds_bridged(struct xds_session *s, struct xds_sub *sub, struct xds_form *current)
{
    struct xds_form *held = xds_held(sub, current->slot), *f;
    struct xds_bridge *b = *find(sub, current->slot);
    uint32_t listener;

    if (!s->options.aggregated || !held || !held->resource || held->version == current->version || (b && b->over))
        return current;
    if (b && held->keeps && held->basis == current->version)
        return held;
    if (!b && !has_room(sub))
        return current;
    listener = moving_listener(s, current, b);
    f = listener != XDS_NO_SLOT ? find_or_make(s, held, current, listener) : NULL;
    if (!f || xds_is_refused(s, sub->type, f->version)) {
        xds_form_unref(f);
        return current;
    }
    b = bridge_of(sub, current->slot);
    xds_form_unref(b->form);
    return b->form = f;
}

/* ---- for how long ---- */

void xds_bridge_sent(struct xds_sub *sub, const struct xds_form *f, clock_ns now)
{
    struct xds_bridge **at = find(sub, f->slot);

    if (*at && !f->keeps)
        drop(at);
    else if (*at && !(*at)->began_at)
        (*at)->began_at = now;
}

static void look_at(struct xds_session *s, struct xds_sub *sub, struct xds_bridge *b, clock_ns now)
{
    uint32_t listener = listener_of(s, xds_held(sub, b->slot));

    if (listener != XDS_NO_SLOT && !leads(s, listener))
        b->until = 0;
    else if (!b->until)
        b->until = now + XDS_LINGER;
    if (now < b->began_at + XDS_BRIDGE_MAX && (!b->until || now < b->until))
        return;
    b->over = true;
    bits_set(&sub->pending, b->slot);
}

/* Nothing is kept any more, nor about to be. */
static bool is_moot(const struct xds_sub *sub, const struct xds_bridge *b)
{
    const struct xds_form *held = xds_held(sub, b->slot);

    if (!b->began_at)
        return !bits_get(&sub->pending, b->slot) && !bits_get(&sub->blocked, b->slot);
    return !held || !held->keeps;
}

clock_ns xds_bridges_pass(struct xds_session *s, clock_ns now)
{
    struct xds_sub *sub = &s->subs[XDS_ROUTE];
    struct xds_bridge **at = &sub->bridges;
    clock_ns next = INT64_MAX;

    while (*at) {
        struct xds_bridge *b = *at;
        clock_ns end = b->began_at + XDS_BRIDGE_MAX;

        if (is_moot(sub, b)) {
            drop(at);
            continue;
        }
        at = &b->next;
        if (!b->began_at || b->over)
            continue;
        look_at(s, sub, b, now);
        end = b->until && b->until < end ? b->until : end;
        if (!b->over && end < next)
            next = end;
    }
    return next;
}

void xds_bridges_use(struct xds_session *s, const struct xds_sub *sub,
                     void (*use)(struct xds_session *s, const struct xds_form *f))
{
    for (const struct xds_bridge *b = sub->bridges; b; b = b->next)
        use(s, b->form);
}

void xds_bridges_free(struct xds_sub *sub)
{
    while (sub->bridges)
        drop(&sub->bridges);
}
