/*
 * What a proxy has of the resources that it refused some form of. Its session knows that (xds_held); it is written
 * down with what the proxy refused (xds_refusals.h) as the answers come, since it has to be known after the stream,
 * and after a restart: it stands in for what was refused, and nobody else may have its bytes any more.
 *
 * A stream that ends leaves its listeners, and what was not current of its route configurations, too: when the proxy
 * comes back there may be a newer form that it refuses, of which it can have only some parts.
 *
 * It is this proxy's own: what another one took proves nothing, which may be of a newer version, and take what this
 * one refuses.
 */
#include "server/xds_stream.h"

#include <string.h>

/* The form that the client has, as far as its answers tell: what is under way proves nothing. */
struct xds_form *xds_has(const struct xds_sub *sub, uint32_t slot)
{
    for (const struct xds_response *r = sub->first; r; r = r->next) {
        uint32_t i = r->answered ? r->n : xds_find_brought(r, slot);

        if (i < r->n)
            return xds_before(r, i);
        i = r->answered ? r->n_removed : xds_find_removed(r, slot);
        if (i < r->n_removed)
            return r->removed[i];
    }
    return xds_held(sub, slot);
}

/* An older stream than the proxy's newest of that type may not have been seen to end yet: what it knows is out of
 * date. */
static bool is_newest(const struct xds_session *s, enum xds_type type)
{
    return xds_refusing_is_newest(s->refusing, type, s->stream);
}

void xds_keep(struct xds_session *s, const struct xds_sub *sub, uint32_t slot)
{
    const struct xds_form *current, *has;
    const char *name;
    bool refused;

    if (xds_refusing_count(s->refusing) == 0 || !is_newest(s, sub->type))
        return;
    current = xds_current(sub->table, slot);
    has = xds_has(sub, slot);
    name = sub->table->space->names[slot]->text;
    refused = current && (xds_is_refused(s, sub->type, current->version) || xds_in_doubt(s, current));
    if (!current || (has && !refused))
        xds_refusing_keep(s->refusing, sub->type, name, NULL);
    else if (has && has->resource) /* else nobody knows what it has, if anything: it stays what it had */
        xds_refusing_keep(s->refusing, sub->type, name, has->resource);
}

static void leave_one(struct xds_session *s, const struct xds_sub *sub, uint32_t slot, bool all)
{
    const struct xds_form *f = xds_has(sub, slot);

    if (f && f->resource && (all || f != xds_current(sub->table, slot)) && is_newest(s, sub->type))
        xds_refusing_keep(s->refusing, sub->type, xds_form_name(f), f->resource);
}

static bool has_room(const struct xds_session *s)
{
    return !xds_refusing_kept_at(s->refusing, XDS_KEPT_MAX - 1);
}

static void leave(struct xds_session *s, const struct xds_sub *sub, bool all)
{
    for (uint32_t slot = bits_next(&sub->holding, 0); slot != BITS_END && has_room(s);
         slot = bits_next(&sub->holding, slot + 1)) {
        /* Words of which all is current are passed over. */
        if (!all && (bits_word(&sub->holding, slot / 64) & ~bits_word(&sub->same, slot / 64)) == 0)
            slot |= 63;
        else
            leave_one(s, sub, slot, all);
    }
}

/* What is kept already is what it has now; then as much as there is room for: what stands in for something that was
 * refused does not make way. */
void xds_kept_leave(struct xds_session *s)
{
    const struct resource *r;

    if (!s->refusing)
        return;
    for (size_t i = 0; (r = xds_refusing_kept_at(s->refusing, i)); i++) {
        const struct xds_sub *sub = &s->subs[r->type];
        uint32_t slot = xds_slot_find(sub->table->space, r->name, strlen(r->name));

        if (slot != XDS_NO_SLOT)
            leave_one(s, sub, slot, true);
    }
    leave(s, &s->subs[XDS_ROUTE], false);
    leave(s, &s->subs[XDS_LISTENER], true);
}

/* Where the slot's form is; or how many there are. */
static size_t find_kept(const struct xds_session *s, const struct xds_sub *sub, uint32_t slot)
{
    size_t i = 0;

    for (; i < s->kept.count; i++) {
        const struct xds_form *f = s->kept.items[i];

        if (f->type == sub->type && f->slot == slot)
            break;
    }
    return i;
}

struct xds_form *xds_kept(struct xds_session *s, const struct xds_sub *sub, uint32_t slot)
{
    struct resource *r = xds_refusing_kept(s->refusing, sub->type, sub->table->space->names[slot]->text);
    size_t i = find_kept(s, sub, slot);
    struct xds_form *f = i < s->kept.count ? s->kept.items[i] : NULL;

    if (f && r && f->version == r->version)
        return f;
    /* What it had before that is nothing to anybody any more. */
    if (f) {
        s->kept.items[i] = s->kept.items[--s->kept.count];
        xds_form_unref(f);
    }
    if (!r)
        return NULL;
    f = xds_form_taken(s->gateway, r, slot);
    pointers_add(&s->kept, f);
    return f;
}

void xds_kept_free(struct xds_session *s)
{
    for (size_t i = 0; i < s->kept.count; i++)
        xds_form_unref(s->kept.items[i]);
    pointers_clear(&s->kept);
}
