/*
 * What is a document of its own: gateways' settings, certificates, grants, and the drain marks of endpoints.
 *
 * Invariant: of a certificate's chain only the certificates are kept, and its private key is never read but to be
 * checked.
 */
#include "api/objects.h"
#include "api/write.h"

#include <stddef.h>
#include <string.h>

enum { REASON_MAX = 1024, PASSWORD_MAX = 4096, HASHES_MAX = 65536, GRANT_PART_MAX = 512 };

const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

static bool is_name(const char *text, size_t n)
{
    return n > 0 && strspn(text, name_characters) >= n;
}

static void set_text(json_t *object, const char *name, const char *value)
{
    if (value)
        json_object_set_new(object, name, json_string(value));
}

/* ---- gateways ---- */

static json_t *current_gateway(struct call *c, const char *name)
{
    const struct gateway *g = view_gateway(c->view, name);

    if (!g)
        return NULL;
    json_t *json = json_object();
    json_object_set_new(json, "port_min", json_integer(g->port_min));
    json_object_set_new(json, "port_max", json_integer(g->port_max));
    json_object_set_new(json, "allow_files", json_boolean(g->allow_files));
    json_object_set_new(json, "allow_cluster_header", json_boolean(g->allow_cluster_header));
    for (size_t i = 0; i < GATEWAY_BASES; i++) {
        json_t *base = NULL;

        if (g->bases[i] && json_parse(g->bases[i], strlen(g->bases[i]), &base, NULL) == 0)
            json_object_set_new(json, gateway_base_name(i), base);
    }
    return json;
}

/* Of the settings that are there, those that the document keeps; what is shown without its secrets is as it was. */
static json_t *gateway_body(struct call *c, const char *name, const json_t *wanted, const char *place)
{
    const char *members[GATEWAY_WISH_FIELDS + 1] = {NULL};
    struct write_place at = {c, place};
    json_t *before = current_gateway(c, name), *body;

    for (size_t i = 0; i < GATEWAY_WISH_FIELDS; i++)
        members[i] = gateway_wish_fields[i].name;
    body = write_picked(wanted, members);
    (void)spec_unredact(body, before, write_redacted, write_placed_fault, &at); /* what is not known is a fault */
    json_decref(before);
    return body;
}

static void put_gateway(struct call *c, struct write *w, const char *name, const json_t *wanted, const char *place)
{
    static const char *const read_only[] = {"kind", "name", "is_default", "status", NULL};
    static const struct write_form form = {gateway_wish_fields, GATEWAY_WISH_FIELDS, .read_only = read_only};
    const struct store_options *world = c->backend->world;
    struct gateway_wish s = {.port_min = world->port_min, .port_max = world->port_max};

    if (!gateway_name_is_good(name)) {
        call_fail(c, 404, "a gateway's name has 1 to 64 letters, digits, dots, hyphens and underscores");
        return;
    }
    if (!write_decode(c, wanted, &form, place, &s))
        return;
    if (s.port_min > s.port_max)
        write_fault(c, arena_printf(c->arena, "%s/port_max", place), "invalid",
                    arena_printf(c->arena, "is below port_min (%lld)", (long long)s.port_min));
    json_t *body = gateway_body(c, name, wanted, place);
    write_edit(w, DOCUMENT_GATEWAY, name, body, place);
    json_decref(body);
}

/* How many exposures are on it, and the first of them. */
static size_t exposures_of_gateway(const struct view *v, const char *name, const struct service_exposure **ret_first)
{
    size_t n = 0;

    for (const struct service_exposure *sx = exposure_first(v, ""); sx; sx = exposure_next(v, sx))
        if (sx->gateway && strcmp(sx->gateway, name) == 0 && n++ == 0)
            *ret_first = sx;
    return n;
}

static void delete_gateway(struct call *c, struct write *w, const char *name, const char *place)
{
    const struct service_exposure *sx = NULL;
    size_t n = exposures_of_gateway(c->view, name, &sx);

    if (!view_gateway(c->view, name) && !view_document(c->view, DOCUMENT_GATEWAY, name))
        call_no_such(c, "Gateway", name);
    else if (sx)
        call_fail(
            c, 409,
            "it is in use by %s%s: a gateway goes after its exposures. PUT with {} takes its settings back alone",
            sx->x->name, n > 1 ? arena_printf(c->arena, " and %zu more", n - 1) : "");
    else if (!view_document(c->view, DOCUMENT_GATEWAY, name))
        call_fail(c, 409, "nothing of this gateway was set over the API, so there is nothing to take back");
    else
        write_edit(w, DOCUMENT_GATEWAY, name, NULL, place);
}

const struct write_resource gateway_resource = {
    .kind = "Gateway",
    .collection = &gateway_collection,
    .current = current_gateway,
    .put = put_gateway,
    .remove = delete_gateway,
    .may_be_absent = true,
};

/* ---- certificates ---- */

struct certificate_texts {
    const char *certificate_chain, *private_key, *password, *trusted_ca, *verify_certificate_hash;
};

#define FIELD(key, ...)                                                                                              \
    {                                                                                                                \
        .name = #key, .type = JSON_FIELD_STRING, .offset = offsetof(struct certificate_texts, key), __VA_ARGS__      \
    }
static const struct json_field certificate_fields[] = {
    FIELD(certificate_chain, .max = SECRET_VALUE_MAX),
    FIELD(private_key, .max = SECRET_VALUE_MAX),
    FIELD(password, .max = PASSWORD_MAX),
    FIELD(trusted_ca, .max = SECRET_VALUE_MAX),
    FIELD(verify_certificate_hash, .max = HASHES_MAX),
};
#undef FIELD

/* "sec/NAME" or "NAMESPACE/sec/NAME" */
static bool is_secret_path(const char *path)
{
    const char *slash = strchr(path, '/'), *second = slash ? strchr(slash + 1, '/') : NULL;
    const char *name = second ? second + 1 : slash ? slash + 1 : "";

    if (!slash || strlen(path) > OBJECT_NAME_MAX || !is_name(name, strlen(name)))
        return false;
    if (!second)
        return strncmp(path, "sec/", 4) == 0;
    return is_name(path, (size_t)(slash - path)) && strncmp(slash, "/sec/", 5) == 0 && second == slash + 4 &&
           strncmp(path, "root/", 5) != 0;
}

static bool agent_has_secret(const struct call *c, const char *path)
{
    const struct secret *s = view_secret(c->view, path);

    return s && *s->csum && !view_document(c->view, DOCUMENT_CERTIFICATE, path);
}

/* What comes in never goes out, so that what is not sent stays as it is. Null takes it away. */
static void keep_secrets(struct call *c, const char *path, const json_t *wanted, struct certificate_texts *t)
{
    json_t *known = document_json(view_document(c->view, DOCUMENT_CERTIFICATE, path));
    const char *key = json_string_value(json_object_get(known, "private_key"));
    const char *password = json_string_value(json_object_get(known, "password"));
    bool was_shown = t->private_key && strcmp(t->private_key, write_redacted) == 0;
    if ((!json_object_get(wanted, "private_key") || was_shown) && key) {
        t->private_key = arena_strdup(c->arena, key);
        if (!json_object_get(wanted, "password") && password)
            t->password = arena_strdup(c->arena, password);
    }
    json_decref(known);
}

static void check_pair(struct call *c, struct certificate_texts *t, const char *place)
{
    struct certificate_info info = {0};
    struct err e = {0};

    if (!t->certificate_chain && !t->private_key)
        return;
    if (!t->certificate_chain || !t->private_key)
        write_fault(c, arena_printf(c->arena, t->private_key ? "%s/certificate_chain" : "%s/private_key", place),
                    "invalid", "is missing: a certificate and its key go together");
    else if (certificate_inspect(t->certificate_chain, t->private_key, t->password, c->arena, &info, &e))
        write_fault(c, arena_printf(c->arena, "%s/certificate_chain", place), "invalid", e.text);
    else
        t->certificate_chain = info.chain;
}

static void check_trust(struct call *c, struct certificate_texts *t, const char *place)
{
    struct err e = {0};

    if (t->trusted_ca && trust_inspect(t->trusted_ca, &e))
        write_fault(c, arena_printf(c->arena, "%s/trusted_ca", place), "invalid", e.text);
    if (t->verify_certificate_hash &&
        certificate_hash_normalize(t->verify_certificate_hash, c->arena, &t->verify_certificate_hash, &e))
        write_fault(c, arena_printf(c->arena, "%s/verify_certificate_hash", place), "invalid", e.text);
}

static void put_certificate(struct call *c, struct write *w, const char *name, const json_t *wanted,
                            const char *place)
{
    static const char *const read_only[] = {"kind", "name", "namespace", "origin", "status", NULL};
    static const struct write_form form = {certificate_fields, ARRAY_LEN(certificate_fields), true, read_only};
    struct certificate_texts t = {0};

    if (!is_secret_path(name)) {
        call_fail(c, 404, "a certificate is named as a secret: \"sec/NAME\" or \"NAMESPACE/sec/NAME\"");
        return;
    }
    if (agent_has_secret(c, name)) {
        call_fail(c, 409, "the agent has the secret %s", name);
        return;
    }
    if (!write_decode(c, wanted, &form, place, &t))
        return;
    keep_secrets(c, name, wanted, &t);
    if (!t.certificate_chain && !t.private_key && !t.trusted_ca && !t.verify_certificate_hash)
        write_fault(c, place, "invalid", "neither a certificate with its key nor trusted_ca is there");
    check_pair(c, &t, place);
    check_trust(c, &t, place);
    json_t *body = json_object();
    set_text(body, "certificate_chain", t.certificate_chain);
    set_text(body, "private_key", t.private_key);
    set_text(body, "password", t.private_key ? t.password : NULL);
    set_text(body, "trusted_ca", t.trusted_ca);
    set_text(body, "verify_certificate_hash", t.verify_certificate_hash);
    write_edit(w, DOCUMENT_CERTIFICATE, name, body, place);
    json_decref(body);
}

static bool is_used(const struct certificate *one, const char *path)
{
    return (one->secret && strcmp(one->secret, path) == 0) ||
           (one->validation_secret && strcmp(one->validation_secret, path) == 0);
}

static const struct service_exposure *user_of(const struct view *v, const char *path)
{
    for (const struct service_exposure *sx = exposure_first(v, ""); sx; sx = exposure_next(v, sx)) {
        for (size_t i = 0; i < sx->x->n_listener_certificates; i++)
            if (is_used(sx->x->listener_certificates[i], path))
                return sx;
        if (sx->x->cluster_certificate && is_used(sx->x->cluster_certificate, path))
            return sx;
    }
    return NULL;
}

static void delete_certificate(struct call *c, struct write *w, const char *name, const char *place)
{
    const struct service_exposure *sx = user_of(c->view, name);

    if (!view_document(c->view, DOCUMENT_CERTIFICATE, name)) {
        if (view_secret(c->view, name))
            call_fail(c, 409, "it is a secret of the agent's: remove it there");
        else
            call_no_such(c, "Certificate", name);
    } else if (sx) {
        call_fail(c, 409, "it is in use by %s", sx->x->name);
    } else {
        write_edit(w, DOCUMENT_CERTIFICATE, name, NULL, place);
    }
}

const struct write_resource certificate_resource = {
    .kind = "Certificate",
    .collection = &certificate_collection,
    .put = put_certificate,
    .remove = delete_certificate,
};

/* ---- reasons: all that grants and drain marks hold ---- */

struct reason {
    const char *reason;
};

static json_t *read_reason(struct call *c, const json_t *wanted, const char *const *read_only, const char *place)
{
    static const struct json_field fields[] = {{.name = "reason", .type = JSON_FIELD_STRING, .max = REASON_MAX}};
    const struct write_form form = {fields, ARRAY_LEN(fields), .read_only = read_only};
    struct reason r = {0};

    if (!write_decode(c, wanted, &form, place, &r))
        return NULL;
    json_t *body = json_object();
    set_text(body, "reason", r.reason ? r.reason : "");
    return body;
}

/* ---- grants ---- */

/* "NAMESPACE|secret|PATH", "NAMESPACE|domain|NAME" */
static bool is_grant(const char *id)
{
    size_t ns = strcspn(id, "|");
    const char *kind = id[ns] ? id + ns + 1 : "", *target = kind + strcspn(kind, "|");

    if (!*target || !is_name(id, ns) || strlen(id) > GRANT_PART_MAX)
        return false;
    target++;
    if (strncmp(kind, "secret|", 7) == 0)
        return is_secret_path(target);
    return strncmp(kind, "domain|", 7) == 0 && *target &&
           strspn(target, "abcdefghijklmnopqrstuvwxyz0123456789.-_*") == strlen(target);
}

static void put_grant(struct call *c, struct write *w, const char *name, const json_t *wanted, const char *place)
{
    static const char *const read_only[] = {"kind",   "id",       "namespace",  "type",       "target",
                                            "author", "revision", "created_at", "updated_at", NULL};

    if (!is_grant(name)) {
        call_fail(c, 404, "a grant is named NAMESPACE|secret|PATH or NAMESPACE|domain|NAME");
        return;
    }
    json_t *body = read_reason(c, wanted, read_only, place);
    if (body)
        write_edit(w, DOCUMENT_GRANT, name, body, place);
    json_decref(body);
}

static void delete_grant(struct call *c, struct write *w, const char *name, const char *place)
{
    if (view_document(c->view, DOCUMENT_GRANT, name))
        write_edit(w, DOCUMENT_GRANT, name, NULL, place);
    else
        call_no_such(c, "Grant", name);
}

const struct write_resource grant_resource = {
    .kind = "Grant",
    .collection = &grant_collection,
    .put = put_grant,
    .remove = delete_grant,
    .may_be_absent = true,
};

/* ---- drain marks ---- */

/* The mark's name in the arena; NULL: the call failed. */
static const char *find_endpoint(struct call *c, bool must_exist)
{
    const struct service_exposure *sx = view_exposure(c->view, c->arguments[0]);
    char host[ENDPOINT_NAME_MAX], text[ENDPOINT_NAME_MAX];
    struct endpoint wanted = {0};
    bool found = false;

    if (endpoint_parse(c->arguments[1], &wanted, host) == 0) {
        for (size_t i = 0; sx && i < sx->n_endpoints; i++)
            found = found || endpoint_compare(&sx->endpoints[i], &wanted) == 0;
        if (found || !must_exist)
            return arena_printf(c->arena, "%s|%s", c->arguments[0], endpoint_name(&wanted, text, sizeof(text)));
    }
    call_fail(c, 404, sx ? "there is no such endpoint" : "there is no such Exposure");
    return NULL;
}

/* If-Match is about the endpoint, If-None-Match about the mark. */
static bool drain_precondition(struct call *c, const char *mark)
{
    const char *key = c->arguments[1];
    char etag[ETAG_MAX];
    struct buf b;
    struct writer w = {.out = &b};

    buf_init(&b, 0);
    bool there = view_exposure(c->view, c->arguments[0]) && item_write(c, &endpoint_collection, key, &w, etag);
    buf_clear(&b);
    return !c->answer->status &&
           write_precondition(c, there ? etag : NULL, view_document(c->view, DOCUMENT_DRAIN, mark) != NULL);
}

static void show_endpoint(struct call *c, struct write *w)
{
    w->shown = &endpoint_collection;
    w->key = arena_strdup(w->arena, c->arguments[1]);
}

static void plan_put_drain(struct call *c, struct write *w, const void *arg)
{
    const char *mark = find_endpoint(c, true);

    (void)arg; /* there is one kind */
    show_endpoint(c, w);
    if (!mark || !drain_precondition(c, mark))
        return;
    json_t *wanted = write_content(c, true), *body = wanted ? read_reason(c, wanted, NULL, "#") : NULL;
    if (body)
        write_edit(w, DOCUMENT_DRAIN, mark, body, NULL);
    w->created = !view_document(c->view, DOCUMENT_DRAIN, mark);
    json_decref(body);
    json_decref(wanted);
    (void)write_is_good(c); /* the call failed else */
}

static void plan_delete_drain(struct call *c, struct write *w, const void *arg)
{
    const char *mark = find_endpoint(c, false);

    (void)arg; /* there is one kind */
    if (view_exposure(c->view, c->arguments[0]))
        show_endpoint(c, w);
    if (!mark || !drain_precondition(c, mark))
        return;
    if (view_document(c->view, DOCUMENT_DRAIN, mark))
        write_edit(w, DOCUMENT_DRAIN, mark, NULL, NULL);
    else
        call_fail(c, 404, "this endpoint is not drained");
}

void handle_put_drain(struct call *c)
{
    write_run(c, plan_put_drain, NULL);
}

void handle_delete_drain(struct call *c)
{
    write_run(c, plan_delete_drain, NULL);
}
