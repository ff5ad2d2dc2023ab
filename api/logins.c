/*
 * Browser sessions as resources: POST is the login, with the token (or the client certificate) that the request
 * itself comes with; DELETE of the collection is the logout. Everybody sees and ends those that were begun with the
 * same credential as their own; administrators all.
 */
#include "api/browser.h"
#include "api/dispatch.h"
#include "api/handlers.h"
#include "api/objects.h"
#include "api/sessions.h"
#include "base/log.h"

#include <string.h>

/* Those that the caller may know of. */
static const struct session *find_sessions(struct call *c, size_t *ret_n)
{
    const struct credential *own = c->who.role == ROLE_ADMIN ? NULL : &c->who.credential;

    *ret_n = 0;
    return c->dispatcher->sessions ? sessions_list(c->dispatcher->sessions, own, c->arena, ret_n) : NULL;
}

static void prepare(struct call *c)
{
    size_t n;
    const struct session *items = find_sessions(c, &n);

    array_prepare(c, items, n, sizeof(*items));
}

ITEM_KEY(session_key, session, id)

static const void *first(struct call *c, const char *after)
{
    return array_first(c, after, session_key);
}

static const void *find(struct call *c, const char *key)
{
    return array_find(c, key, session_key);
}

static void write_session(struct call *c, const void *item, struct writer *w)
{
    const struct session *s = item;

    (void)c; /* the item has all */
    writer_text(w, "id", s->id);
    writer_text(w, "name", s->name);
    writer_text(w, "method", s->method);
    writer_text(w, "role", role_name(s->role));
    writer_texts(w, "gateways", s->gateways, s->n_gateways);
    writer_text(w, "peer", s->peer);
    writer_time(w, "created_at", s->created_at);
    writer_time(w, "expires_at", s->expires_at);
}

static void write_status(struct call *c, const void *item, struct writer *w)
{
    const struct session *s = item;

    writer_bool(w, "current", c->who.session && strcmp(c->who.session, s->id) == 0);
    writer_time(w, "used_at", s->used_at);
    writer_time(w, "ends_at", s->ends_at);
}

ITEM_VALUE(get_name, session, text, one->name)

static const struct attribute attributes[] = {
    {"name", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_name},
    {NULL},
};
static const char *const session_fields[] = {
    "kind",       "id",         "name",   "method",         "role",           "gateways",       "peer",
    "created_at", "expires_at", "status", "status.current", "status.used_at", "status.ends_at", NULL};

const struct collection session_collection = {
    .kind = "Session",
    .prepare = prepare,
    .first = first,
    .next = array_next,
    .count = array_count,
    .find = find,
    .key = session_key,
    .write = write_session,
    .write_status = write_status,
    .attributes = attributes,
    .fields = session_fields,
};

/* ---- login and logout ---- */

/* Whoever logs in again with the same browser leaves what it had. */
static void end_former(struct call *c)
{
    const char *cookie = browser_cookie(c->request, c->arena);
    struct session former;

    if (cookie && sessions_use(c->dispatcher->sessions, cookie, c->arena, &former))
        (void)sessions_end(c->dispatcher->sessions, former.id); /* another request may have done so */
}

void handle_post_session(struct call *c)
{
    struct writer w = {.out = &c->answer->body};
    struct session s;

    if (!c->dispatcher->sessions || c->who.session || c->who.credential.kind == CREDENTIAL_NONE) {
        call_fail(c, 403, "a session is begun with a token or a client certificate");
        return;
    }
    if (browser_origin(c->request, c->arena) == BROWSER_OTHER_ORIGIN) {
        call_fail(c, 403, "this request comes from a page of another origin (Sec-Fetch-Site, Origin)");
        return;
    }
    const char *secret = sessions_add(c->dispatcher->sessions, &c->who, c->request->peer->text, c->arena, &s);
    if (!secret) {
        call_fail(c, 503, "no random bits can be had");
        return;
    }
    end_former(c);
    log_event(LOG_LEVEL_INFO, "session begins", "session", s.id, "who", s.name, "peer", s.peer, NULL);
    http_answer_header(c->answer, "Set-Cookie", browser_set_cookie(c->request, secret, c->arena));
    http_answer_header(c->answer, "Location", arena_printf(c->arena, "/api/v1/sessions/%s", s.id));
    c->who.session = s.id;
    if (item_write(c, &session_collection, s.id, &w, c->etag))
        call_done(c);
    c->answer->status = 201;
}

/* It is gone when this returns, whoever did it. */
static void end(struct call *c, const char *id)
{
    if (sessions_end(c->dispatcher->sessions, id))
        log_event(LOG_LEVEL_INFO, "session ends", "session", id, "who", c->who.name, NULL);
    if (c->who.session && strcmp(c->who.session, id) == 0)
        http_answer_header(c->answer, "Set-Cookie", browser_set_cookie(c->request, NULL, c->arena));
    c->answer->status = 204;
}

void handle_delete_sessions(struct call *c)
{
    if (c->who.session)
        end(c, c->who.session);
    else
        call_fail(c, 404, "this request has no session");
}

void handle_delete_session(struct call *c)
{
    prepare(c);
    if (find(c, c->arguments[0]))
        end(c, c->arguments[0]);
    else
        call_not_found(c, "Session");
}
