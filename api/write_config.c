/*
 * The whole of what people made, but tokens and drain marks, as one document: exported, kept in a repository,
 * applied again. What is not in it is removed. Secrets do not come out; what was left out for its secrecy and comes
 * back stays as it is.
 */
#include "api/objects.h"
#include "api/write.h"
#include "store/spec.h"

#include <string.h>

/* The parts of the document, and the kinds of documents that they hold. */
static const struct part {
    const char *member;
    enum document_kind kind;
} parts[] = {
    {"gateways", DOCUMENT_GATEWAY},         {"exposures", DOCUMENT_EXPOSURE}, {"overrides", DOCUMENT_OVERRIDE},
    {"certificates", DOCUMENT_CERTIFICATE}, {"grants", DOCUMENT_GRANT},
};

/* Private keys and passwords are left out as a whole, so that what is shown can be applied. */
static char *exported(const struct document *d)
{
    json_t *json = d->kind == DOCUMENT_CERTIFICATE ? document_json(d) : NULL;

    if (!json)
        return document_shown(d->kind, d->body);
    json_object_del(json, "private_key");
    json_object_del(json, "password");
    char *text = json_canonical(json);
    json_decref(json);
    return text;
}

static void write_config(struct call *c, struct writer *w)
{
    writer_open(w, NULL, '{');
    writer_text(w, "kind", "Config");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        writer_open(w, parts[i].member, '{');
        for (const struct document *d = view_document_after(c->view, parts[i].kind, ""); d;
             d = view_document_after(c->view, parts[i].kind, d->name)) {
            _cleanup_(mem_free_p) char *text = exported(d);
            writer_raw(w, d->name, text, strlen(text));
        }
        writer_close(w, '}');
    }
    writer_close(w, '}');
}

void handle_get_config(struct call *c)
{
    struct writer w = {.out = &c->answer->body};

    write_config(c, &w);
    call_done(c);
}

/* ---- applying ---- */

/* A merge patch is taken as it is: the exposure that it is laid over may be gone, and come back. */
static void put_override(struct call *c, struct write *w, const char *name, const json_t *wanted, const char *place)
{
    struct write_place at = {c, place};

    if (spec_check(wanted, false, write_placed_fault, &at))
        return;
    json_t *patch = json_deep_copy(wanted);
    json_t *known = document_json(view_document(c->view, DOCUMENT_OVERRIDE, name));
    (void)spec_unredact(patch, known, write_redacted, write_placed_fault, &at); /* what is not known is a fault */
    write_edit(w, DOCUMENT_OVERRIDE, name, patch, place);
    json_decref(known);
    json_decref(patch);
}

static void put_one(struct call *c, struct write *w, const struct part *p, const char *name, const json_t *wanted)
{
    const char *place = fault_pointer(c->arena, arena_printf(c->arena, "#/%s", p->member), name);

    if (!json_is_object(wanted) || !*name || strlen(name) > OBJECT_NAME_MAX)
        write_fault(c, place, "invalid", "an object, with a name of at most 1024 bytes, is expected");
    else if (p->kind == DOCUMENT_GATEWAY)
        gateway_resource.put(c, w, name, wanted, place);
    else if (p->kind == DOCUMENT_CERTIFICATE)
        certificate_resource.put(c, w, name, wanted, place);
    else if (p->kind == DOCUMENT_GRANT)
        grant_resource.put(c, w, name, wanted, place);
    else if (p->kind == DOCUMENT_EXPOSURE)
        exposure_put_document(c, w, name, wanted, place);
    else
        put_override(c, w, name, wanted, place);
}

/* What is there and not in the document goes; what is as it was is no edit. */
static void drop_others(struct call *c, struct write *w, const struct part *p, const json_t *wanted)
{
    for (const struct document *d = view_document_after(c->view, p->kind, ""); d;
         d = view_document_after(c->view, p->kind, d->name))
        if (!json_object_get(wanted, d->name))
            write_edit(w, p->kind, d->name, NULL, arena_printf(c->arena, "#/%s", p->member));
}

static void apply(struct call *c, struct write *w, const json_t *json)
{
    for (size_t i = 0; i < ARRAY_LEN(parts) && !c->answer->status; i++) {
        const json_t *part = json_object_get(json, parts[i].member);
        const char *name;
        json_t *value;
        if (part && !json_is_object(part)) {
            write_fault(c, arena_printf(c->arena, "#/%s", parts[i].member), "invalid",
                        "an object of objects by their names is expected");
            continue;
        }
        json_object_foreach((json_t *)(uintptr_t)part, name, value)
        {
            if (!c->answer->status)
                put_one(c, w, &parts[i], name, value);
        }
        drop_others(c, w, &parts[i], part);
    }
    write_drop_unchanged(c, w);
    if (!c->answer->status && w->n > EDITS_MAX)
        call_fail(c, 422, "more than %d objects would change at once", EDITS_MAX);
}

static void config_etag(struct call *c, char etag[ETAG_MAX])
{
    struct buf b;
    struct writer w = {.out = &b};

    buf_init(&b, 0);
    write_config(c, &w);
    etag_of(b.data, b.len, etag);
    buf_clear(&b);
}

static void plan_put_config(struct call *c, struct write *w, const void *arg)
{
    static const char *const members[] = {"gateways", "exposures", "overrides", "certificates", "grants", NULL};
    static const char *const read_only[] = {"kind", NULL};
    char etag[ETAG_MAX];

    (void)arg; /* there is one kind */
    config_etag(c, etag);
    if (!http_request_header(c->request, "If-Match")) {
        fault_add(&c->faults, FAULT_HEADER, "If-Match", "required", "the ETag of what this replaces");
        call_fail(c, 428, "the whole document is replaced only by who knows what it replaces");
        return;
    }
    if (!write_precondition(c, etag, true))
        return;
    json_t *json = write_content(c, false);
    if (!json)
        return;
    if (write_members(c, json, members, NULL, read_only, "#"))
        apply(c, w, json);
    json_decref(json);
    (void)write_is_good(c); /* the call failed else */
}

void handle_put_config(struct call *c)
{
    write_run(c, plan_put_config, NULL);
}
