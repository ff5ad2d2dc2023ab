/*
 * POST /explain: which way a request would take. The question is decoded strictly; the answer is written from what
 * store/explain.h found in the call's view. Nothing is changed, so a viewer may ask.
 */
#include "store/explain.h"
#include "api/edit.h"
#include "api/handlers.h"
#include "api/objects.h"
#include "base/json.h"

#include <string.h>
#include <sys/socket.h>

enum {
    HOST_MAX = 512,
    SNI_MAX = 253,
    PATH_MAX_BYTES = 8192,
    HEADERS_MAX = 64,
    HEADER_VALUE_MAX = 4096,
    PORT_MAX = 65535,
    LEFT_OUT_NOTES_MAX = 16 /* beside EXPLAIN_NOTES_MAX and one of the question; the contract has their sum */
};

struct question {
    const char *gateway, *address, *sni, *host, *path, *headers;
    int64_t port;
    int protocol;
    bool tls, tls_said, client_certificate;
};

static const struct json_enum protocols[] = {{"tcp", PROTOCOL_TCP}, {"udp", PROTOCOL_UDP}, {NULL, 0}};

#define FIELD(member, name_, type_, ...)                                                                             \
    {                                                                                                                \
        .name = (name_), .type = (type_), .offset = offsetof(struct question, member), __VA_ARGS__                   \
    }
static const struct json_field question_fields[] = {
    FIELD(gateway, "gateway", JSON_FIELD_STRING, .min = 1, .max = GATEWAY_NAME_MAX),
    FIELD(address, "address", JSON_FIELD_STRING, .required = true, .max = HOST_MAX),
    FIELD(port, "port", JSON_FIELD_INT, .required = true, .min = 1, .max = PORT_MAX),
    FIELD(protocol, "protocol", JSON_FIELD_ENUM, .names = protocols),
    FIELD(tls, "tls", JSON_FIELD_BOOL, .set_offset = offsetof(struct question, tls_said)),
    FIELD(sni, "sni", JSON_FIELD_STRING, .min = 1, .max = SNI_MAX),
    FIELD(client_certificate, "client_certificate", JSON_FIELD_BOOL),
    FIELD(host, "host", JSON_FIELD_STRING, .min = 1, .max = HOST_MAX),
    FIELD(path, "path", JSON_FIELD_STRING, .min = 1, .max = PATH_MAX_BYTES),
    FIELD(headers, "headers", JSON_FIELD_JSON),
};
#undef FIELD

/* ---- the question ---- */

static const char letters_and_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static void add_fault(void *arg, const struct err *e)
{
    struct call *c = arg;

    fault_add(&c->faults, FAULT_POINTER, *e->field ? arena_printf(c->arena, "#/%s", e->field) : "#", "invalid", "%s",
              e->text);
}

static void check_characters(struct call *c, const char *name, const char *value, const char *more)
{
    const char *p = value;

    while (p && *p && (strchr(letters_and_digits, *p) || strchr(more, *p)))
        p++;
    if (p && *p)
        fault_add(&c->faults, FAULT_POINTER, name, "invalid", "letters, digits and \"%s\" are expected", more);
}

static void check_path(struct call *c, const char *path)
{
    const char *p = path;

    while (p && *p > ' ' && *p <= '~')
        p++;
    if (path && (*path != '/' || *p))
        fault_add(&c->faults, FAULT_POINTER, "#/path", "invalid",
                  "it begins with \"/\" and holds visible ASCII characters alone, others in their escaped form");
}

/* A token, and visible characters with blanks between them (RFC 9110, 5.5 and 5.6.2). */
static bool is_header(const char *name, const char *value)
{
    size_t n = strlen(name);

    if (n == 0 || n > HEADER_VALUE_MAX || strlen(value) > HEADER_VALUE_MAX)
        return false;
    for (; *name; name++)
        if (!strchr(letters_and_digits, *name) && !strchr("!#$%&'*+-.^_`|~", *name))
            return false;
    for (; *value; value++)
        if (*value < ' ' || *value > '~')
            return false;
    return true;
}

static void read_headers(struct call *c, const char *text, struct explain_question *q)
{
    json_t *headers = text ? json_loads(text, 0, NULL) : NULL, *value;
    struct explain_header *items = arena_array(c->arena, struct explain_header, json_object_size(headers));
    const char *name;

    q->headers = items;
    if (json_object_size(headers) > HEADERS_MAX)
        fault_add(&c->faults, FAULT_POINTER, "#/headers", "invalid", "there can be %d at most", HEADERS_MAX);
    json_object_foreach(headers, name, value)
    {
        if (!json_is_string(value) || !is_header(name, json_string_value(value)))
            fault_add(&c->faults, FAULT_POINTER, fault_pointer(c->arena, "#/headers", name), "invalid",
                      "this can't be sent: a name is a token, a value a text of visible ASCII characters");
        else
            items[q->n_headers++] = (struct explain_header){arena_strdup(c->arena, name),
                                                            arena_strdup(c->arena, json_string_value(value))};
    }
    json_decref(headers);
}

static const struct gateway *default_gateway(const struct view *v)
{
    const struct gateway *g = pmap_after(v->gateways, &view_gateways, "");

    while (g && !g->is_default)
        g = pmap_after(v->gateways, &view_gateways, g->name);
    return g;
}

static void complete(struct call *c, const struct question *from, struct explain_question *to)
{
    to->port = (uint16_t)from->port;
    to->protocol = (enum protocol)from->protocol;
    to->tls = from->tls_said ? from->tls : from->sni != NULL;
    to->server_name = to->tls ? from->sni : NULL;
    to->client_certificate = from->client_certificate;
    to->host = from->host ? from->host : from->sni ? from->sni : from->address;
    if (!from->host && !from->sni && strchr(from->address, ':'))
        to->host = arena_printf(c->arena, "[%s]", from->address);
    to->path = from->path ? from->path : "/";
    to->gateway = from->gateway ? view_gateway(c->view, from->gateway) : default_gateway(c->view);
}

/* False: the answer is a problem. */
static bool read_question(struct call *c, struct explain_question *ret, const char **ret_note)
{
    struct question q = {0};
    json_t *json = write_content(c, false);

    if (!json)
        return false;
    (void)json_decode(json, question_fields, ARRAY_LEN(question_fields), 0, c->arena, &q, add_fault, c);
    json_decref(json);
    check_characters(c, "#/sni", q.sni, "-._");
    check_characters(c, "#/host", q.host, "-._:[]");
    check_path(c, q.path);
    read_headers(c, q.headers, ret);
    if (q.address && address_parse(q.address, &ret->address) < 0)
        fault_add(&c->faults, FAULT_POINTER, "#/address", "invalid", "an IPv4 or IPv6 address is expected");
    if (c->faults.n) {
        call_fail(c, 422, "the request that is asked about is not good");
        return false;
    }
    complete(c, &q, ret);
    if (q.sni && !ret->tls)
        *ret_note = q.host ? "sni does not count: tls is false, and only TLS says a server name"
                           : "tls is false, and only TLS says a server name: sni counts as the host alone";
    if (!ret->gateway) {
        fault_add(&c->faults, FAULT_POINTER, "#/gateway", "unknown", "there is no such gateway");
        call_fail(c, 404, "there is no Gateway \"%s\"", q.gateway ? q.gateway : "");
        return false;
    }
    return true;
}

/* ---- the answer ---- */

static const char *const outcomes[EXPLAIN_OUTCOMES] = {
    [EXPLAIN_FORWARDED] = "forwarded",     [EXPLAIN_REDIRECTED] = "redirected",
    [EXPLAIN_NO_ENDPOINT] = "no_endpoint", [EXPLAIN_NO_ROUTE] = "no_route",
    [EXPLAIN_NO_VHOST] = "no_vhost",       [EXPLAIN_MISDIRECTED] = "misdirected",
    [EXPLAIN_REFUSED] = "refused",         [EXPLAIN_NO_HANDSHAKE] = "no_handshake",
    [EXPLAIN_NO_CHAIN] = "no_chain",       [EXPLAIN_NO_LISTENER] = "no_listener",
};

/* A step as an object, or null when it was not reached; true: the caller adds members and closes it. */
static bool open_step(struct writer *w, const char *key, const struct explain_step *step, const char *name)
{
    if (!step->reason) {
        writer_null(w, key);
        return false;
    }
    writer_open(w, key, '{');
    writer_text(w, "name", name);
    writer_text(w, "reason", step->reason);
    writer_open(w, "rivals", '[');
    for (size_t i = 0; i < step->n_rivals; i++) {
        writer_open(w, NULL, '{');
        writer_text(w, "name", step->rivals[i].name);
        writer_text(w, "reason", step->rivals[i].reason);
        writer_close(w, '}');
    }
    writer_close(w, ']');
    writer_int(w, "rivals_omitted", (int64_t)step->n_omitted);
    return true;
}

static void write_connection(struct call *c, struct writer *w, const struct explanation *e)
{
    if (open_step(w, "listener", &e->listener_step, e->listener ? e->listener->key : NULL)) {
        writer_text(w, "envoy_name", e->listener ? e->listener->name : NULL);
        writer_close(w, '}');
    }
    if (open_step(w, "chain", &e->chain_step, e->chain ? e->chain->id : NULL)) {
        writer_text(w, "kind", e->chain ? chain_kind_name(e->chain->kind) : NULL);
        writer_bool(w, "tls", e->chain && e->chain->tls);
        writer_text(w, "server_name", e->server_name);
        writer_text(w, "envoy_name", e->chain ? plan_chain_part(c->arena, e->chain, e->server_name) : NULL);
        writer_close(w, '}');
    }
    if (open_step(w, "certificate", &e->certificate_step, e->certificate_name)) {
        writer_text(w, "secret", e->certificate->secret);
        writer_close(w, '}');
    }
}

static void write_request(struct writer *w, const struct explanation *e)
{
    const struct route *r = e->route ? e->route->route : NULL;

    if (open_step(w, "vhost", &e->vhost_step, e->vhost ? e->vhost->name : NULL)) {
        writer_text(w, "domain", e->domain);
        writer_close(w, '}');
    }
    if (open_step(w, "route", &e->route_step, r ? r->rid : NULL)) {
        writer_text(w, "exposure", e->route ? e->route->x->name : NULL);
        writer_close(w, '}');
    }
    if (e->forwarded_path) {
        writer_open(w, "forwarded", '{');
        writer_text(w, "host", e->forwarded_host);
        writer_text(w, "path", e->forwarded_path);
        writer_close(w, '}');
    } else {
        writer_null(w, "forwarded");
    }
}

static void write_endpoint(struct writer *w, const struct endpoint *one)
{
    char text[ENDPOINT_NAME_MAX];

    writer_open(w, NULL, '{');
    writer_text(w, "name", endpoint_name(one, text, sizeof(text)));
    writer_text(w, "node", one->node);
    writer_text(w, "instance", one->instance);
    writer_text(w, "rid", one->rid);
    writer_close(w, '}');
}

static void write_cluster(struct writer *w, const struct explanation *e)
{
    if (!open_step(w, "cluster", &e->cluster_step, e->cluster))
        return;
    writer_text(w, "exposure", e->exposure ? e->exposure->x->name : NULL);
    writer_open(w, "endpoints", '[');
    for (size_t i = 0; i < e->n_endpoints; i++)
        write_endpoint(w, e->endpoints[i]);
    writer_close(w, ']');
    writer_int(w, "endpoints_omitted", (int64_t)e->n_endpoints_omitted);
    writer_close(w, '}');
}

/* What is wrong with the exposure on the way stands in its status; who asks for the way looks here. */
static void write_notes(struct call *c, const struct explanation *e, const char *note, struct writer *w)
{
    const struct service_exposure *sx = e->exposure;
    struct left_out left = {0};

    if (!sx && e->chain)
        sx = view_exposure(c->view, e->chain->holder->name);
    if (sx)
        left = exposure_left_out(c, sx);
    writer_open(w, "notes", '[');
    if (note)
        writer_text(w, NULL, note);
    for (size_t i = 0; i < e->n_notes; i++)
        writer_text(w, NULL, e->notes[i]);
    for (size_t i = 0; i < left.n && i < LEFT_OUT_NOTES_MAX; i++)
        writer_text(w, NULL,
                    arena_printf(c->arena, "%s: %s%s%s", sx->x->name, left.items[i].field,
                                 left.items[i].field[0] ? ": " : "", left.items[i].text));
    writer_close(w, ']');
}

void handle_explain(struct call *c)
{
    struct writer w = {.out = &c->answer->body};
    struct explain_question question = {0};
    struct explanation e;
    const char *note = NULL;

    if (!read_question(c, &question, &note))
        return;
    explain(c->view, &question, c->arena, &e);
    writer_open(&w, NULL, '{');
    writer_text(&w, "kind", "Explanation");
    writer_int(&w, "revision", (int64_t)c->view->revision);
    writer_text(&w, "gateway", question.gateway->name);
    writer_text(&w, "outcome", outcomes[e.outcome]);
    writer_text(&w, "summary", e.summary);
    if (e.status)
        writer_int(&w, "status", e.status);
    else
        writer_null(&w, "status");
    writer_text(&w, "location", e.location);
    write_connection(c, &w, &e);
    write_request(&w, &e);
    write_cluster(&w, &e);
    write_notes(c, &e, note, &w);
    writer_close(&w, '}');
    /* Without a tag: an answer to a POST is kept by nobody. */
    c->answer->status = 200;
    c->answer->content_type = c->route->produces;
}
