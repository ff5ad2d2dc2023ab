/* Decoding of the sections that HTTP is about: virtual hosts, routes, hash policies. */
#include "base/regex.h"
#include "base/text.h"
#include "store/hostname.h"
#include "store/section.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 8192, REGEX_MAX = 4096, NAME_MAX_BYTES = 256, DOMAINS_MAX = 1024, HASH_POLICIES_MAX = 64 };

/* ---- what texts may hold ---- */

/* What a request or an answer would be broken by, and what can never match, is a fault and not sent to Envoy. */
static const char tokens[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* RFC 9110, 5.6.2 */
static bool is_token(const char *text)
{
    return *text && !text[strspn(text, tokens)];
}

/* Visible ASCII without those of the list. */
static bool is_visible(const char *text, const char *without)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~' || strchr(without, *text))
            return false;
    return true;
}

static void expect(struct section *s, const char *keyword, const char *text, bool good, const char *expected)
{
    if (text && !good)
        problem_add(&s->problems, "invalid", s->rid, keyword, "must be %s", expected);
}

/* A header field; ":path" and its kind are Envoy's names for the request's first line. */
static void expect_header(struct section *s, const char *keyword, const char *text)
{
    expect(s, keyword, text, text && is_token(text + (text[0] == ':')), "the name of a header field");
}

static void expect_host(struct section *s, const char *keyword, const char *text)
{
    expect(s, keyword, text, text && is_visible(text, "/?#@\\"), "a host, with or without a port");
}

/* What stands for the beginning of a path. Without its "/" it would go on what is before it: a redirect's host. */
static void expect_prefix(struct section *s, const char *keyword, const char *text)
{
    expect(s, keyword, text, text && text[0] == '/' && is_visible(text, "?#"),
           "the beginning of a path, from its \"/\" on, percent-encoded and without a query");
}

/* ---- hash policies ---- */

struct raw_hash_policy {
    const char *cookie_name, *cookie_path, *header_name;
    int64_t cookie_ttl;
    bool source_ip, terminal;
};

#define FIELD(...) SECTION_FIELD(struct raw_hash_policy, __VA_ARGS__)
static const struct json_field hash_policy_fields[] = {
    FIELD(cookie_name, "cookie_name", JSON_FIELD_STRING, .max = NAME_MAX_BYTES),
    FIELD(cookie_path, "cookie_path", JSON_FIELD_STRING, .max = TEXT_MAX),
    FIELD(cookie_ttl, "cookie_ttl", JSON_FIELD_DURATION),
    FIELD(header_name, "header_header_name", JSON_FIELD_STRING, .max = NAME_MAX_BYTES),
    FIELD(source_ip, "connection_source_ip", JSON_FIELD_BOOL),
    FIELD(terminal, "terminal", JSON_FIELD_BOOL),
};
#undef FIELD

void section_decode_hash_policy(struct builder *b, struct section *s)
{
    struct raw_hash_policy raw = {.cookie_ttl = -1};
    struct hash_policy *policy = arena_new_of(b->arena, struct hash_policy);
    int kinds;

    section_decode(b, s, hash_policy_fields, ARRAY_LEN(hash_policy_fields), &raw, NULL);
    section_text(s, "cookie_name", &raw.cookie_name);
    section_text(s, "cookie_path", &raw.cookie_path);
    section_text(s, "header_header_name", &raw.header_name);
    expect(s, "cookie_name", raw.cookie_name, raw.cookie_name && is_visible(raw.cookie_name, "=;,"),
           "a name without blanks, \"=\", \";\" and \",\"");
    expect(s, "cookie_path", raw.cookie_path, raw.cookie_path && is_visible(raw.cookie_path, ";"),
           "a path without blanks and \";\"");
    expect_header(s, "header_header_name", raw.header_name);
    kinds = (raw.cookie_name != NULL) + (raw.header_name != NULL) + raw.source_ip;
    if (kinds > 1)
        problem_add(&s->problems, "invalid", s->rid, NULL,
                    "cookie_name, header_header_name and connection_source_ip exclude each other");
    if (kinds == 0 && !s->problems.fatal)
        problem_add(&s->problems, "invalid", s->rid, NULL,
                    "one of cookie_name, header_header_name and connection_source_ip is required");
    if (!raw.cookie_name && (raw.cookie_path || raw.cookie_ttl > 0))
        problem_add(&s->problems, "warning", s->rid, raw.cookie_path ? "cookie_path" : "cookie_ttl",
                    "has no effect without cookie_name");
    *policy = (struct hash_policy){.rid = s->rid,
                                   .cookie_name = raw.cookie_name,
                                   .cookie_path = raw.cookie_path,
                                   .cookie_ttl = raw.cookie_ttl,
                                   .header_name = raw.header_name,
                                   .source_ip = raw.source_ip,
                                   .terminal = raw.terminal};
    s->hash_policy = policy;
}

/* ---- routes ---- */

struct raw_route {
    const char *path, *prefix, *regex;
    const char *prefix_rewrite, *host_rewrite, *cluster_header;
    struct redirect redirect;
    int64_t timeout;
    bool case_sensitive, websocket, has_websocket;
    struct json_strings hash_policies;
};

/* The codes, and Envoy's names for them (envoy.config.route.v3.RedirectAction.RedirectResponseCode). */
static const struct json_enum redirect_codes[] = {
    {"301", 301},
    {"302", 302},
    {"303", 303},
    {"307", 307},
    {"308", 308},
    {"MOVED_PERMANENTLY", 301},
    {"FOUND", 302},
    {"SEE_OTHER", 303},
    {"TEMPORARY_REDIRECT", 307},
    {"PERMANENT_REDIRECT", 308},
    {NULL, 0},
};

#define FIELD(...) SECTION_FIELD(struct raw_route, __VA_ARGS__)
static const struct json_field route_fields[] = {
    FIELD(path, "match_path", JSON_FIELD_STRING, .max = TEXT_MAX),
    FIELD(prefix, "match_prefix", JSON_FIELD_STRING, .max = TEXT_MAX),
    FIELD(regex, "match_regex", JSON_FIELD_STRING, .max = REGEX_MAX),
    FIELD(case_sensitive, "match_case_sensitive", JSON_FIELD_BOOL),
    FIELD(prefix_rewrite, "route_prefix_rewrite", JSON_FIELD_STRING, .max = TEXT_MAX),
    FIELD(host_rewrite, "route_host_rewrite", JSON_FIELD_STRING, .max = TEXT_MAX),
    FIELD(cluster_header, "route_cluster_header", JSON_FIELD_STRING, .max = NAME_MAX_BYTES),
    FIELD(timeout, "route_timeout", JSON_FIELD_DURATION),
    FIELD(websocket, "route_use_websocket", JSON_FIELD_BOOL, .set_offset = offsetof(struct raw_route, has_websocket)),
    FIELD(redirect.host, "redirect_host_redirect", JSON_FIELD_STRING, .max = TEXT_MAX),
    FIELD(redirect.path, "redirect_path_redirect", JSON_FIELD_STRING, .max = TEXT_MAX),
    FIELD(redirect.prefix, "redirect_prefix_rewrite", JSON_FIELD_STRING, .max = TEXT_MAX),
    FIELD(redirect.response_code, "redirect_response_code", JSON_FIELD_ENUM, .names = redirect_codes),
    FIELD(redirect.https, "redirect_https_redirect", JSON_FIELD_BOOL),
    FIELD(redirect.strip_query, "redirect_strip_query", JSON_FIELD_BOOL),
    FIELD(hash_policies, "hash_policies", JSON_FIELD_STRING_LIST, .max_items = HASH_POLICIES_MAX),
};
#undef FIELD

/* The code may be a number; 0 is none. */
static void adjust_route(json_t *info)
{
    static const char key[] = "redirect_response_code";
    json_t *code = json_object_get(info, key);

    if (json_is_integer(code) && json_integer_value(code) == 0)
        json_object_del(info, key);
    else if (json_is_integer(code))
        json_object_set_new(info, key, json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(code)));
}

/* Syntax and size as Envoy will find them: it refuses a whole route configuration for one bad regex. */
static void check_regex(struct section *s, const char *pattern, bool case_sensitive)
{
    /* Envoy has no other way to leave case out of a regex, and it makes the program larger. */
    _cleanup_(mem_free_p) char *sent = mem_printf("%s%s", case_sensitive ? "" : "(?i)", pattern);
    struct regex *regex;
    struct err e = {0};
    int size;

    if (regex_new(sent, &regex, &size, &e) < 0) {
        problem_add_err(&s->problems, "invalid", s->rid, "match_regex", &e);
        return;
    }
    if (size > SERVICE_REGEX_SIZE_MAX)
        problem_add(&s->problems, "invalid", s->rid, "match_regex",
                    "is too costly: its RE2 program has a size of %d, the limit is %d", size, SERVICE_REGEX_SIZE_MAX);
    regex_free(regex);
}

static void decode_match(struct section *s, struct raw_route *raw, struct route *route)
{
    section_text(s, "match_path", &raw->path);
    section_text(s, "match_prefix", &raw->prefix);
    section_text(s, "match_regex", &raw->regex);
    if ((raw->path != NULL) + (raw->prefix != NULL) + (raw->regex != NULL) > 1) {
        problem_add(&s->problems, "invalid", s->rid, raw->regex ? "match_regex" : "match_prefix",
                    "match_path, match_prefix and match_regex exclude each other");
    }
    route->match = raw->path ? ROUTE_PATH : raw->regex ? ROUTE_REGEX : ROUTE_PREFIX;
    route->match_value = raw->path ? raw->path : raw->regex ? raw->regex : raw->prefix ? raw->prefix : "/";
    if (raw->regex) {
        check_regex(s, raw->regex, raw->case_sensitive);
        return;
    }
    if (route->match_value[0] != '/')
        problem_add(&s->problems, "warning", s->rid, raw->path ? "match_path" : "match_prefix",
                    "matches nothing: a path begins with \"/\"");
    else if (strpbrk(route->match_value, "?#"))
        problem_add(&s->problems, "warning", s->rid, raw->path ? "match_path" : "match_prefix",
                    "matches nothing: a path is compared without its query and fragment");
    else if (!is_visible(route->match_value, ""))
        problem_add(&s->problems, "warning", s->rid, raw->path ? "match_path" : "match_prefix",
                    "matches nothing: a path is compared in its percent-encoded form");
}

static void check_rewrites(struct section *s, const struct raw_route *raw)
{
    expect_prefix(s, "route_prefix_rewrite", raw->prefix_rewrite);
    expect_host(s, "route_host_rewrite", raw->host_rewrite);
    expect_header(s, "route_cluster_header", raw->cluster_header);
}

static void check_redirect(struct section *s, const struct redirect *redirect)
{
    expect_host(s, "redirect_host_redirect", redirect->host);
    expect(s, "redirect_path_redirect", redirect->path,
           redirect->path && redirect->path[0] == '/' && is_visible(redirect->path, ""),
           "a path, from its \"/\" on, percent-encoded");
    expect_prefix(s, "redirect_prefix_rewrite", redirect->prefix);
}

static void decode_action(struct section *s, struct raw_route *raw, struct route *route)
{
    struct redirect *redirect = &raw->redirect;

    section_text(s, "route_prefix_rewrite", &raw->prefix_rewrite);
    section_text(s, "route_host_rewrite", &raw->host_rewrite);
    section_text(s, "route_cluster_header", &raw->cluster_header);
    section_text(s, "redirect_host_redirect", &redirect->host);
    section_text(s, "redirect_path_redirect", &redirect->path);
    section_text(s, "redirect_prefix_rewrite", &redirect->prefix);
    check_rewrites(s, raw);
    check_redirect(s, redirect);
    if (redirect->path && redirect->prefix)
        problem_add(&s->problems, "invalid", s->rid, "redirect_prefix_rewrite",
                    "redirect_path_redirect and redirect_prefix_rewrite exclude each other");
    /* The agent sends redirect_strip_query always, so it alone makes no redirect. */
    route->is_redirect =
        redirect->host || redirect->path || redirect->prefix || redirect->response_code || redirect->https;
    route->redirect = *redirect;
    if (route->is_redirect && (raw->prefix_rewrite || raw->host_rewrite || raw->cluster_header))
        problem_add(&s->problems, "warning", s->rid,
                    raw->prefix_rewrite ? "route_prefix_rewrite"
                    : raw->host_rewrite ? "route_host_rewrite"
                                        : "route_cluster_header",
                    "has no effect: the route is a redirect");
    route->prefix_rewrite = raw->prefix_rewrite;
    route->host_rewrite = raw->host_rewrite;
    route->cluster_header = raw->cluster_header;
    route->timeout = raw->timeout;
    route->websocket = raw->has_websocket ? raw->websocket : -1;
}

void section_decode_route(struct builder *b, struct section *s)
{
    struct raw_route raw = {.case_sensitive = true, .timeout = -1};
    struct route *route = arena_new_of(b->arena, struct route);
    const struct hash_policy **policies;
    struct section **sections;
    size_t n;

    section_decode(b, s, route_fields, ARRAY_LEN(route_fields), &raw, adjust_route);
    route->rid = s->rid;
    route->case_sensitive = raw.case_sensitive;
    decode_match(s, &raw, route);
    decode_action(s, &raw, route);
    sections = section_refer(b, s, "hash_policies", &raw.hash_policies, SECTION_HASH_POLICY, &n);
    policies = arena_array(b->arena, const struct hash_policy *, n);
    for (size_t i = 0; i < n; i++)
        policies[i] = sections[i]->hash_policy;
    route->hash_policies = policies;
    route->n_hash_policies = n;
    s->route = route;
}

/* ---- virtual hosts ---- */

struct raw_vhost {
    struct json_strings domains, routes;
};

#define FIELD(...) SECTION_FIELD(struct raw_vhost, __VA_ARGS__)
static const struct json_field vhost_fields[] = {
    FIELD(domains, "domains", JSON_FIELD_STRING_LIST, .max_items = DOMAINS_MAX),
    FIELD(routes, "routes", JSON_FIELD_STRING_LIST, .max_items = SERVICE_ROUTES_MAX),
};
#undef FIELD

static void decode_domains(struct builder *b, struct section *s, const struct json_strings *list, struct vhost *vhost)
{
    vhost->domains = arena_array(b->arena, const char *, list->count);
    for (size_t i = 0; i < list->count; i++) {
        struct err e = {0};
        bool port = false;

        if (hostname_domain(list->items[i], b->arena, &vhost->domains[vhost->n_domains], &port, &e) < 0)
            problem_add_err(&s->problems, "invalid", s->rid, "domains", &e);
        else
            vhost->n_domains++;
        if (port)
            problem_add(&s->problems, "warning", s->rid, "domains",
                        "the port in \"%s\" has no effect: a domain is served whatever port the client names",
                        list->items[i]);
    }
    qsort(vhost->domains, vhost->n_domains, sizeof(*vhost->domains), text_compare);
    for (size_t i = 1; i < vhost->n_domains; i++)
        if (strcmp(vhost->domains[i - 1], vhost->domains[i]) == 0) {
            memmove(&vhost->domains[i], &vhost->domains[i + 1], (vhost->n_domains - i - 1) * sizeof(*vhost->domains));
            vhost->n_domains--;
            i--;
        }
}

static bool takes_everything(const struct route *r)
{
    return r->match == ROUTE_PREFIX && strcmp(r->match_value, "/") == 0;
}

static void decode_routes(struct builder *b, struct section *s, const struct json_strings *list, struct vhost *vhost)
{
    size_t n;
    struct section **sections = section_refer(b, s, "routes", list, SECTION_ROUTE, &n);
    const struct route **routes = arena_array(b->arena, const struct route *, n);
    const struct route *last = NULL;

    for (size_t i = 0; i < n; i++) {
        routes[i] = sections[i]->route;
        if (last)
            problem_add(&s->problems, "shadowed", s->rid, "routes", "%s is never reached: %s takes everything",
                        routes[i]->rid, last->rid);
        else if (takes_everything(routes[i]))
            last = routes[i];
    }
    vhost->routes = routes;
    vhost->n_routes = n;
}

void section_decode_vhost(struct builder *b, struct section *s)
{
    const char *slash = strrchr(b->path, '/');
    const char *service = slash ? slash + 1 : b->path;
    struct raw_vhost raw = {0};
    struct vhost *vhost = arena_new_of(b->arena, struct vhost);
    bool bad;

    section_decode(b, s, vhost_fields, ARRAY_LEN(vhost_fields), &raw, NULL);
    bad = s->problems.fatal;
    vhost->rid = s->rid;
    /* The agent's default. */
    if (raw.domains.count == 0 && !bad)
        raw.domains = (struct json_strings){.items = &service, .count = 1};
    decode_domains(b, s, &raw.domains, vhost);
    decode_routes(b, s, &raw.routes, vhost);
    s->vhost = vhost;
}
