/*
 * Tokens of TCP's callers that were made over the API, beside those of the token file. The secret is shown once, in
 * the answer that makes it; only its SHA-256 is kept, and its first digits are the token's id.
 */
#include "api/objects.h"
#include "api/write.h"

#include <stddef.h>
#include <string.h>

enum { NAME_CHARACTERS_MAX = 64 };

struct new_token {
    const char *name;
    int role;
    struct json_strings gateways;
};

static const struct json_enum roles[] = {
    {"viewer", ROLE_VIEWER}, {"operator", ROLE_OPERATOR}, {"admin", ROLE_ADMIN}, {NULL, 0}};

static const struct json_field fields[] = {
    {.name = "name",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct new_token, name),
     .min = 1,
     .max = NAME_CHARACTERS_MAX,
     .required = true},
    {.name = "role",
     .type = JSON_FIELD_ENUM,
     .offset = offsetof(struct new_token, role),
     .names = roles,
     .required = true},
    {.name = "gateways",
     .type = JSON_FIELD_STRING_LIST,
     .offset = offsetof(struct new_token, gateways),
     .min = 1,
     .max = GATEWAY_NAME_MAX,
     .max_items = TOKEN_GATEWAYS_MAX},
};

/* Whether a token of that name was made already. */
static bool name_is_taken(const struct call *c, const char *name)
{
    bool taken = false;

    for (const struct document *d = view_document_after(c->view, DOCUMENT_TOKEN, ""); d && !taken;
         d = view_document_after(c->view, DOCUMENT_TOKEN, d->name)) {
        json_t *body = document_json(d);
        const char *other = json_string_value(json_object_get(body, "name"));
        taken = other && strcmp(other, name) == 0;
        json_decref(body);
    }
    return taken;
}

static void check_token(struct call *c, const struct new_token *t)
{
    if (t->name && strspn(t->name, name_characters) != strlen(t->name))
        write_fault(c, "#/name", "invalid", "a token's name has letters, digits, dots, hyphens and underscores");
    if (t->role == ROLE_OPERATOR && !t->gateways.count)
        write_fault(c, "#/gateways", "invalid", "an operator is one of some gateways: their names are missing");
    if (t->role && t->role != ROLE_OPERATOR && t->gateways.count)
        write_fault(c, "#/gateways", "invalid", "only an operator is one of some gateways");
}

static json_t *token_body(const struct new_token *t, const char *sha256)
{
    json_t *body = json_object(), *gateways = json_array();

    for (size_t i = 0; i < t->gateways.count; i++)
        json_array_append_new(gateways, json_string(t->gateways.items[i]));
    json_object_set_new(body, "name", json_string(t->name));
    json_object_set_new(body, "role", json_string(role_name((enum role)t->role)));
    json_object_set_new(body, "gateways", gateways);
    json_object_set_new(body, "sha256", json_string(sha256));
    return body;
}

static void write_secret(const char *extra, struct writer *w)
{
    writer_text(w, "token", extra);
}

/* False: the call failed. */
static bool read_token(struct call *c, struct new_token *t)
{
    static const char *const read_only[] = {"kind", "id", "author", "revision", "created_at", "updated_at", NULL};
    static const struct write_form form = {fields, ARRAY_LEN(fields), .read_only = read_only};
    json_t *json = write_content(c, false);

    if (!json)
        return false;
    if (write_decode(c, json, &form, "#", t))
        check_token(c, t);
    json_decref(json);
    return write_is_good(c);
}

static void plan_post(struct call *c, struct write *w, const void *arg)
{
    char sha256[TOKEN_DIGEST_DIGITS + 1];
    struct new_token t = {0};

    (void)arg; /* there is one kind */
    if (!read_token(c, &t))
        return;
    if (name_is_taken(c, t.name)) {
        call_fail(c, 409, "there is a token \"%s\" already", t.name);
        return;
    }
    const char *secret = token_new(w->arena, sha256);
    if (!secret) {
        call_fail(c, 503, "no random bits can be had");
        return;
    }
    w->key = arena_strndup(w->arena, sha256, TOKEN_ID_DIGITS);
    w->shown = &token_collection;
    w->created = true;
    w->location = arena_printf(w->arena, "/api/v1/tokens/%s", w->key);
    if (!parameter_bool(&c->target, "dry_run")) {
        w->extra = secret;
        w->write_extra = write_secret;
    }
    json_t *body = token_body(&t, sha256);
    write_edit(w, DOCUMENT_TOKEN, w->key, body, NULL);
    json_decref(body);
}

static void plan_delete(struct call *c, struct write *w, const void *arg)
{
    (void)arg; /* there is one kind */
    if (!write_precondition_of(c, &token_collection, c->arguments[0], NULL))
        return;
    if (view_document(c->view, DOCUMENT_TOKEN, c->arguments[0]))
        write_edit(w, DOCUMENT_TOKEN, c->arguments[0], NULL, NULL);
    else
        call_not_found(c, "Token");
}

void handle_post_token(struct call *c)
{
    write_run(c, plan_post, NULL);
}

void handle_delete_token(struct call *c)
{
    write_run(c, plan_delete, NULL);
}
