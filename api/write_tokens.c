/*
 * Tokens of TCP's callers that were made over the API, beside those of the token file. The secret is shown once, in
 * the answer that makes it; only its SHA-256 is kept, and its first digits are the token's id.
 */
#include "api/objects.h"
#include "api/write.h"
#include "base/clock.h"
#include "base/wellknown.h"

#include <stddef.h>
#include <string.h>

enum { NAME_CHARACTERS_MAX = 64, TIME_CHARACTERS_MAX = 40 };

struct new_token {
    const char *name, *expires_at; /* expires_at: NULL: never */
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
    {.name = "expires_at",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct new_token, expires_at),
     .min = 1,
     .max = TIME_CHARACTERS_MAX},
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

/* In the form that all times are shown in. */
static void check_expiry(struct call *c, struct new_token *t)
{
    struct wellknown_time at;
    char text[32];

    if (wellknown_parse_timestamp(t->expires_at, strlen(t->expires_at), &at) < 0)
        write_fault(c, "#/expires_at", "invalid", "a time is expected as RFC 3339 has it: 2027-01-31T12:00:00Z");
    else if ((double)at.seconds <= c->now)
        write_fault(c, "#/expires_at", "invalid", "this time is over: nobody could ever come with the token");
    else
        t->expires_at = arena_strdup(c->arena, clock_wall_text((double)at.seconds + at.nanos / 1e9, text));
}

static void check_token(struct call *c, struct new_token *t)
{
    if (t->expires_at)
        check_expiry(c, t);
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
    if (t->expires_at)
        json_object_set_new(body, "expires_at", json_string(t->expires_at));
    return body;
}

static void write_secret(const char *extra, struct writer *w)
{
    writer_text(w, "token", extra);
}

/* False: the call failed. */
static bool read_token(struct call *c, struct new_token *t)
{
    static const char *const read_only[] = {"kind",       "id",         "author", "revision",
                                            "created_at", "updated_at", "status", NULL};
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
