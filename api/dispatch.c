/*
 * Dispatching. The order matters: who may not be here learns nothing but that (401, 403), neither which objects exist
 * nor which paths; the dashboard's files alone are everybody's.
 */
#include "api/dispatch.h"

#include "api/browser.h"
#include "api/cache.h"
#include "api/list.h"
#include "api/pages.h"
#include "api/throttle.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

static const char vary[] = "Accept, Accept-Encoding, Authorization, Cookie";
enum { GZIP_WORTH = 1400 /* bytes: what fits one packet gains nothing */ };

void call_fail(struct call *c, unsigned status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_(mem_free_p) char *detail = mem_vprintf(fmt, ap);
    va_end(ap);
    c->etag[0] = '\0';
    fault_answer(c->answer, c->request->id, status, detail, &c->faults);
}

void call_no_such(struct call *c, const char *kind, const char *name)
{
    call_fail(c, 404, "there is no %s \"%.200s\"", kind, name);
}

void call_not_found(struct call *c, const char *kind)
{
    call_no_such(c, kind, c->arguments[0]);
}

void call_done(struct call *c)
{
    c->answer->status = 200;
    c->answer->content_type = c->route->produces;
    if (!c->etag[0])
        etag_of(c->answer->body.data, c->answer->body.len, c->etag);
}

void call_later(struct call *c, struct later *l, void (*resume)(struct call *c, void *data), unsigned seconds)
{
    assert(!c->answer->later && seconds <= API_WAIT_SECONDS_MAX);
    c->resume = resume;
    c->answer->later = l;
    c->answer->later_seconds = seconds;
}

unsigned call_waits(const struct call *c)
{
    return prefer_wait(http_request_header(c->request, "Prefer"), API_WAIT_SECONDS_MAX);
}

void call_stream(struct call *c, const struct http_stream *s)
{
    c->answer->status = 200;
    c->answer->content_type = c->route->produces;
    c->answer->stream = *s;
}

/* Whether this failure was one too many. */
static bool is_throttled(struct call *c, const struct refusal *refusal)
{
    struct throttle *t = c->dispatcher->throttle;

    if (!t || !refusal->is_guess)
        return false;
    const struct throttle_verdict v = throttle_failed(t, &c->request->peer->address);
    if (v.unlogged)
        log_event(LOG_LEVEL_WARNING, "too many failed logins: answered with 429", "peer", c->request->peer->text,
                  "number", LOG_INT(v.unlogged), NULL);
    if (!v.seconds)
        return false;
    http_answer_header(c->answer, "Retry-After", arena_printf(c->arena, "%u", v.seconds));
    call_fail(c, 429, "%s; too many logins failed: try again in %u s", refusal->detail, v.seconds);
    return true;
}

static void refuse_unknown(struct call *c, const struct refusal *refusal)
{
    if (is_throttled(c, refusal))
        return;
    if (refusal->status == 401)
        http_answer_header(c->answer, "WWW-Authenticate", "Bearer realm=\"igwd\"");
    call_fail(c, refusal->status, "%s", refusal->detail);
}

static bool method_is_safe(const char *method)
{
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS", NULL};

    return text_is_listed(safe, method);
}

/*
 * What a browser sends along by itself (a cookie, a certificate) says nothing of who made it send the request: a page
 * from elsewhere may have (CSRF). Programs have certificates too and say nothing of origins; cookies are browsers'.
 */
static bool origin_is_good(struct call *c)
{
    bool cookie = c->who.session;

    if (method_is_safe(c->request->method) || !(cookie || c->who.credential.kind == CREDENTIAL_CERTIFICATE))
        return true;
    enum browser_origin origin = browser_origin(c->request, c->arena);
    if (origin == BROWSER_SAME_ORIGIN || (origin == BROWSER_SILENT && !cookie))
        return true;
    call_fail(c, 403, "%s",
              origin == BROWSER_SILENT
                  ? "with a session's cookie, a browser that says where the request comes from is needed"
                  : "this request comes from a page of another origin (Sec-Fetch-Site, Origin)");
    return false;
}

/* Whether the caller may go on. */
static bool authorize(struct call *c, const struct dispatcher *d, const struct tokens *tokens)
{
    struct refusal refusal;

    if (c->route && c->route->access == ROLE_NONE)
        return true;
    /* Tokens stand in the view; who needs none is known by the socket. */
    bool needs_view = http_request_header(c->request, "Authorization") || http_request_header(c->request, "Cookie");
    _cleanup_(view_unref_p) struct view *view = needs_view ? d->backend.view(d->backend.arg) : NULL;
    const struct door door = {tokens, view, d->sessions, d->group};
    if (!authenticate(c->request, &door, c->arena, &c->who, &refusal)) {
        refuse_unknown(c, &refusal);
        return false;
    }
    c->answer->who = arena_strdup(c->arena, c->who.name); /* it outlives the tokens */
    if (!origin_is_good(c))
        return false;
    if (c->route && c->who.role < c->route->access) {
        call_fail(c, 403, "this needs the role %s, \"%s\" has %s", role_name(c->route->access), c->who.name,
                  role_name(c->who.role));
        return false;
    }
    return true;
}

bool dispatch_knows(const struct dispatcher *d, const struct principal *who)
{
    _cleanup_(view_unref_p) struct view *view = d->backend.view(d->backend.arg);
    struct tokens *tokens = d->tokens ? d->tokens(d->tokens_arg) : NULL;
    const struct door door = {tokens, view, d->sessions, d->group};
    bool knows = authenticate_again(who, &door);

    tokens_unref(tokens);
    return knows;
}

/* What is not the business of a handler; the answer has no status when there is a route to go on with. */
static void answer_without_route(struct call *c, const struct dispatcher *d)
{
    bool options = strcmp(c->request->method, "OPTIONS") == 0;
    const char *allow =
        strcmp(c->target.path, "*") == 0 ? "GET, HEAD, OPTIONS" : route_allow(d->routes, &c->target, c->arena);

    if (!allow) {
        call_fail(c, 404, "there is nothing at this path");
        return;
    }
    http_answer_header(c->answer, "Allow", allow);
    if (options)
        c->answer->status = 204;
    else
        call_fail(c, 405, "this path takes %s", allow);
}

/* RFC 9110, 8.4: what stands for nothing was done to it. */
static bool is_coded(const struct call *c)
{
    const char *coding = http_request_header(c->request, "Content-Encoding");

    return coding && *coding && strcasecmp(coding, "identity") != 0;
}

static void negotiate(struct call *c)
{
    const char *accept = http_request_header(c->request, "Accept");
    const char *type = arena_strndup(c->arena, c->route->produces, strcspn(c->route->produces, ";"));

    if (!accept_takes(accept, type)) {
        fault_add(&c->faults, FAULT_HEADER, "Accept", "not_acceptable", "only %s can be had here", type);
        call_fail(c, 406, "the answer would not be acceptable");
    } else if (c->request->body_len && is_coded(c)) {
        http_answer_header(c->answer, "Accept-Encoding", "identity");
        fault_add(&c->faults, FAULT_HEADER, "Content-Encoding", "unsupported", "content is taken as it is alone");
        call_fail(c, 415, "content of this coding is not taken here");
    } else if (c->request->body_len && !route_takes(c->route, http_request_header(c->request, "Content-Type"))) {
        fault_add(&c->faults, FAULT_HEADER, "Content-Type", "unsupported", "%s is expected",
                  c->route->takes ? c->route->takes[0] : "no content");
        call_fail(c, 415, "content of this type is not taken here");
    } else {
        parameters_check(c->route, &c->target, &c->faults);
        if (c->route->collection)
            list_check(c);
        if (c->faults.n)
            call_fail(c, 400, "the query is not good");
    }
}

/* The second half of a handler, by the shell. */
static void go_on(struct http_answer *a, void *arg, void *data);

/* The call moves to where it outlives the tokens and this thread's stack. */
static void postpone(const struct call *c)
{
    struct call *kept = arena_dup(c->arena, c, sizeof(*c));

    kept->who = principal_copy(&c->who, c->arena);
    kept->view = NULL;
    kept->prepared = NULL;
    kept->said = NULL;
    kept->proxies = NULL;
    kept->n_proxies = 0;
    c->answer->go_on = go_on;
    c->answer->go_on_arg = kept;
}

/* ---- documents that are kept ---- */

static bool takes_gzip(const struct call *c)
{
    return accept_takes_gzip(http_request_header(c->request, "Accept-Encoding"));
}

/* Who may see the same, and takes the same form, has the same key. */
static const char *document_key(const struct call *c)
{
    const char *name = c->who.role == ROLE_OPERATOR ? c->who.name : "";
    size_t n_name = strlen(name), n_target = strlen(c->request->target);
    char *key = arena_alloc(c->arena, n_name + n_target + 4);

    key[0] = (char)('0' + c->who.role);
    key[1] = takes_gzip(c) ? 'z' : '-';
    memcpy(key + 2, name, n_name);
    key[n_name + 2] = ' '; /* no name has one */
    memcpy(key + n_name + 3, c->request->target, n_target);
    return key;
}

/* Whether what the route writes can be kept, and of which state it is. */
static bool read_state(const struct call *c, struct cache_state *ret)
{
    const struct api_backend *b = c->backend;

    if (!c->dispatcher->cache || !c->route->kept || (b->programmed && !b->status_version))
        return false;
    *ret = (struct cache_state){c->view->number, b->programmed ? b->status_version(b->arg) : 0};
    return true;
}

/* The answer becomes that document; its reference is the answer's. */
static void answer_with(struct call *c, struct document_form *form)
{
    struct http_answer *a = c->answer;
    a->status = 200;
    a->content_type = form->content_type;
    memcpy(c->etag, form->etag, sizeof(c->etag));
    a->content = form->content;
    if (etag_is_listed(http_request_header(c->request, "If-None-Match"), c->etag)) {
        a->status = 304;
        a->content_type = NULL;
    }
    if (form->is_gzip)
        etag_for_gzip(c->etag);
    if (form->is_gzip && a->status != 304)
        http_answer_header(a, "Content-Encoding", "gzip");
    http_answer_header(a, "Vary", vary);
    http_answer_header(a, "ETag", arena_strdup(c->arena, c->etag));
}

/* What the handler wrote, in the form that is taken. */
static void keep(struct call *c, const struct cache_state *state, const char *key)
{
    struct buf *body = &c->answer->body;
    struct document_form form = {.content_type = c->answer->content_type, .until = c->until};

    memcpy(form.etag, c->etag, sizeof(form.etag));
    form.is_gzip = body->len > GZIP_WORTH && takes_gzip(c) && gzip_compress(body);
    form.content = http_content_new(body->data, body->len);
    buf_clear(body);
    cache_put(c->dispatcher->cache, state, key, &form);
    answer_with(c, &form);
}

static void finish(struct call *c);

static void run_kept(struct call *c, const struct cache_state *state)
{
    struct cache *cache = c->dispatcher->cache;
    const char *key = document_key(c);
    struct document_form form;

    if (cache_get(cache, state, c->now, key, &form)) {
        answer_with(c, &form);
        return;
    }
    cache_lock(cache, key);
    if (cache_get(cache, state, c->now, key, &form)) {
        answer_with(c, &form);
    } else {
        c->route->handle(c);
        if (c->answer->status == 200 && !c->answer->body.overflow)
            keep(c, state, key);
        else
            finish(c);
    }
    cache_unlock(cache, key);
}

static void drop_content(struct http_answer *a, unsigned status)
{
    a->status = status;
    a->content_type = NULL;
    buf_reset(&a->body);
}

/* Conditions, compression, and the fields that belong to them. */
static void finish(struct call *c)
{
    struct http_answer *a = c->answer;
    bool worth = a->content_type && a->body.len > GZIP_WORTH;
    bool gzip = worth && takes_gzip(c);

    if (a->body.overflow) {
        call_fail(c, 500, "the answer is too large; ask for less with limit, filters or fields");
        return;
    }
    if (a->content_type)
        http_answer_header(a, "Vary", vary);
    if (a->stream.wake)
        return;
    if (a->status == 200 && c->etag[0] && etag_is_listed(http_request_header(c->request, "If-None-Match"), c->etag))
        drop_content(a, 304);
    else if (gzip)
        gzip = gzip_compress(&a->body);
    if (gzip && c->etag[0])
        etag_for_gzip(c->etag);
    if (gzip && a->status != 304)
        http_answer_header(a, "Content-Encoding", "gzip");
    if (c->etag[0])
        http_answer_header(a, "ETag", arena_strdup(c->arena, c->etag));
}

/* A half of a handler, with a view of its own. */
static void run(struct call *c, void *data)
{
    const struct api_backend *b = &c->dispatcher->backend;
    _cleanup_(view_unref_p) struct view *view = b->view(b->arg);

    struct cache_state state;
    c->view = view;
    if (!c->resume && read_state(c, &state)) {
        run_kept(c, &state);
        return;
    }
    if (c->resume)
        c->resume(c, data);
    else
        c->route->handle(c);
    c->view = NULL;
    if (c->answer->later)
        postpone(c);
    else
        finish(c);
}

static void go_on(struct http_answer *a, void *arg, void *data)
{
    struct call *c = arg;

    (void)a; /* the call has it */
    c->now = clock_wall();
    run(c, data);
}

void dispatch(const struct dispatcher *d, const struct tokens *tokens, const struct http_request *r,
              struct http_answer *a)
{
    struct call c = {.backend = &d->backend,
                     .dispatcher = d,
                     .version = d->version,
                     .http = d->http,
                     .request = r,
                     .answer = a,
                     .arena = a->arena,
                     .faults = {.arena = a->arena},
                     .now = clock_wall(),
                     .until = (double)INFINITY};
    struct err e = {0};
    int bad = target_parse(r->target, c.arena, &c.target, &e);

    if (!bad)
        c.route = route_find(d->routes, r->method, &c.target, c.arguments);
    if (!bad && !c.route && pages_answer(&c, d->pages, d->n_pages))
        return;
    if (!authorize(&c, d, tokens))
        return;
    if (bad) {
        call_fail(&c, 400, "the target of the request is not good: %s", e.text);
        return;
    }
    if (!c.route)
        answer_without_route(&c, d);
    else
        negotiate(&c);
    if (a->status)
        return;
    run(&c, NULL);
}

struct http_manner dispatch_manner(const struct dispatcher *d, const char *method, const char *target)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    const char *arguments[ROUTE_ARGUMENTS_MAX];
    const struct api_route *route;
    struct target t;

    if (target_parse(target, arena, &t, NULL))
        return (struct http_manner){0};
    route = route_find(d->routes, method, &t, arguments);
    if (route)
        return (struct http_manner){.takes_body = route->takes, .is_probe = route->probe};
    /* A method that a path does not take is answered with 405. */
    return (struct http_manner){.takes_body = route_allow(d->routes, &t, arena)};
}
