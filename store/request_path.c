/*
 * Paths as Envoy rewrites them, step by step: escaped slashes, then the canonical form of the URL standard in the
 * words of Envoy's library (dot segments, needless escapes, characters that need one), then repeated slashes. The
 * query is never touched. Invariant: no step makes a path longer than three times its length.
 */
#include "store/request_path.h"

#include "base/text.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

const struct http_policy http_policy_default = {
    .normalize_path = true,
    .merge_slashes = true,
    .escaped_slashes = ESCAPED_SLASHES_REDIRECT,
    .reject_underscores = true,
    .websockets = true,
};

/* ---- what the filter's settings say ---- */

/* Protobuf JSON takes a field by both of its names. */
static const json_t *field(const json_t *object, const char *name, const char *camel)
{
    const json_t *value = json_object_get(object, name);

    return value ? value : json_object_get(object, camel);
}

/* An enum's number, or the index of its name. */
static size_t enum_of(const json_t *value, const char *const *names, size_t n)
{
    const char *text = json_string_value(value);

    for (size_t i = 0; text && i < n; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return json_is_integer(value) ? (size_t)json_integer_value(value) : 0;
}

static bool takes_websockets(const json_t *upgrades)
{
    const json_t *one;
    size_t i;

    json_array_foreach(upgrades, i, one)
    {
        const char *type = json_string_value(field(one, "upgrade_type", "upgradeType"));

        if (type && strcasecmp(type, "websocket") == 0)
            return !json_is_false(json_object_get(one, "enabled"));
    }
    return false;
}

static bool has_more_filters(const json_t *filters)
{
    const json_t *one;
    size_t i;

    json_array_foreach(filters, i, one)
    {
        const json_t *config = field(one, "typed_config", "typedConfig");
        const char *type = json_string_value(json_object_get(config, "@type"));

        if (!type || !strstr(type, "envoy.extensions.filters.http.router."))
            return true;
    }
    return false;
}

/* A null is the default, whatever stands below. */
static void read_policy(const json_t *json, struct http_policy *p)
{
    const struct http_policy *d = &http_policy_default;
    static const char *const slashes[] = {"IMPLEMENTATION_SPECIFIC_DEFAULT", "KEEP_UNCHANGED", "REJECT_REQUEST",
                                          "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"};
    static const char *const underscores[] = {"ALLOW", "REJECT_REQUEST", "DROP_HEADER"};
    const json_t *value;

    value = field(json, "normalize_path", "normalizePath");
    if (value)
        p->normalize_path = json_is_null(value) ? d->normalize_path : json_is_true(value);
    value = field(json, "merge_slashes", "mergeSlashes");
    if (value)
        p->merge_slashes = json_is_null(value) ? d->merge_slashes : json_is_true(value);
    value = field(json, "path_with_escaped_slashes_action", "pathWithEscapedSlashesAction");
    if (value)
        p->escaped_slashes = json_is_null(value) ? d->escaped_slashes
                                                 : (enum escaped_slashes)enum_of(value, slashes, ARRAY_LEN(slashes));
    value = field(json, "common_http_protocol_options", "commonHttpProtocolOptions");
    if (value)
        p->reject_underscores =
            json_is_null(value)
                ? d->reject_underscores
                : enum_of(field(value, "headers_with_underscores_action", "headersWithUnderscoresAction"),
                          underscores, ARRAY_LEN(underscores)) == 1;
    value = field(json, "upgrade_configs", "upgradeConfigs");
    if (value)
        p->websockets = json_is_null(value) ? d->websockets : takes_websockets(value);
    value = field(json, "http_filters", "httpFilters");
    if (value)
        p->more_filters = has_more_filters(value);
}

void http_policy_read(const char *text, struct http_policy *policy)
{
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;

    if (json)
        read_policy(json, policy);
    json_decref(json);
}

/* ---- the canonical form ---- */

/* Characters that never need an escape: it is undone. */
static bool is_unreserved(unsigned char c)
{
    return isalnum(c) || (c && strchr("-._~", c));
}

static bool needs_escape(unsigned char c)
{
    return c <= ' ' || c >= 0x7f || strchr("\"<>^`{|}", c);
}

/* The byte that an escape at p stands for; -1: none is there. */
static int unescaped(const char *p, const char *end)
{
    if (end - p < 3 || p[0] != '%' || text_hex_value(p[1]) < 0 || text_hex_value(p[2]) < 0)
        return -1;
    return text_hex_value(p[1]) * 16 + text_hex_value(p[2]);
}

/* The length of a dot at p, escaped or not; 0: none is there. */
static size_t dot_at(const char *p, const char *end)
{
    if (p < end && *p == '.')
        return 1;
    return unescaped(p, end) == '.' ? 3 : 0;
}

static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

/* What is written, and where the last '%' stands in it that begins no escape. */
struct canonical {
    char *out;
    size_t n;
    ssize_t bare_percent; /* -1: none */
};

static void put(struct canonical *c, char byte)
{
    c->out[c->n++] = byte;
}

/* The segment before the slash that the output ends in goes. */
static void back_up(struct canonical *c)
{
    if (c->n <= 1)
        return;
    for (c->n--; c->n > 1 && c->out[c->n - 1] != '/';)
        c->n--;
    if (c->bare_percent >= (ssize_t)c->n)
        c->bare_percent = -1;
}

/* A segment of one or two dots: how much of the text it takes with its slash, 0: it is none. */
static size_t dots_at(struct canonical *c, const char *p, const char *end)
{
    size_t first = dot_at(p, end), second;
    const char *after = p + first;

    if (first == 0 || c->n == 0 || c->out[c->n - 1] != '/')
        return 0;
    if (after == end || is_slash(*after))
        return first + (after < end);
    second = dot_at(after, end);
    after += second;
    if (second == 0 || (after < end && !is_slash(*after)))
        return 0;
    back_up(c);
    return first + second + (after < end);
}

/* A byte that was escaped may complete an escape that began with a bare '%': that one becomes "%25". */
static void keep_bare_percent(struct canonical *c, const char *next, const char *end)
{
    char last = c->out[c->n - 1];
    ssize_t from_end = (ssize_t)c->n - c->bare_percent;
    bool borrow = from_end == 2;

    if (c->bare_percent < 0 || from_end > 3 || (borrow && next == end))
        return;
    if (borrow)
        put(c, *next);
    if (unescaped(c->out + c->bare_percent, c->out + c->n) < 0) {
        c->n -= borrow;
        return;
    }
    if (!borrow)
        put(c, c->out[c->bare_percent + 1]);
    c->out[c->bare_percent + 1] = '2';
    c->out[c->bare_percent + 2] = '5';
    put(c, last);
}

/* Returns how much of the text it took; 0: no URL may hold this. */
static size_t put_percent(struct canonical *c, const char *p, const char *end)
{
    int byte = unescaped(p, end);

    if (byte < 0) {
        c->bare_percent = (ssize_t)c->n;
        put(c, '%');
        return 1;
    }
    if (byte == 0)
        return 0;
    if (is_unreserved((unsigned char)byte)) {
        put(c, (char)byte);
        keep_bare_percent(c, p + 3, end);
        return 3;
    }
    for (size_t i = 0; i < 3; i++)
        put(c, p[i]);
    return 3;
}

static void put_escaped(struct canonical *c, unsigned char byte)
{
    static const char digits[] = "0123456789ABCDEF";

    put(c, '%');
    put(c, digits[byte >> 4]);
    put(c, digits[byte & 15]);
}

/* Of n bytes without a query; NULL: there is none. */
static char *canonical_path(const char *path, size_t n, struct arena *arena)
{
    /* Every byte becomes three at most, and nothing is borrowed without being read after. */
    struct canonical c = {.out = arena_alloc(arena, 3 * n + 4), .bare_percent = -1};
    const char *end = path + n;

    for (const char *p = path; p < end;) {
        size_t taken = dots_at(&c, p, end);

        if (taken) {
            p += taken;
        } else if ((taken = dot_at(p, end))) {
            put(&c, '.');
            p += taken;
        } else if (*p == '%') {
            taken = put_percent(&c, p, end);
            if (taken == 0)
                return NULL;
            p += taken;
        } else {
            if (is_slash(*p))
                put(&c, '/');
            else if (needs_escape((unsigned char)*p))
                put_escaped(&c, (unsigned char)*p);
            else
                put(&c, *p);
            p++;
        }
    }
    c.out[c.n] = '\0';
    return c.out;
}

/* ---- the whole ---- */

/* True when there was one. */
static bool unescape_slashes(char *path)
{
    bool found = false;
    char *to = path;

    for (const char *p = path, *end = path + strlen(path); p < end;) {
        int byte = unescaped(p, end);

        if (byte == '/' || byte == '\\') {
            *to++ = (char)byte;
            p += 3;
            found = true;
        } else {
            *to++ = *p++;
        }
    }
    *to = '\0';
    return found;
}

/* A path of slashes alone is left with two of them, as Envoy has it. */
static void merge_slashes(char *path)
{
    char *to = path;

    if (!strstr(path, "//"))
        return;
    if (path[strspn(path, "/")] == '\0') {
        path[2] = '\0';
        return;
    }
    for (const char *p = path; *p; p++)
        if (*p != '/' || p[1] != '/')
            *to++ = *p;
    *to = '\0';
}

enum path_result request_path(const char *path, const struct http_policy *policy, struct arena *arena,
                              const char **ret_path)
{
    size_t n = strcspn(path, "?");
    const char *query = path + n;
    char *p = arena_strndup(arena, path, n);
    bool redirect = false;

    if (strchr(path, '#')) {
        *ret_path = "the path holds a fragment (#)";
        return PATH_BAD;
    }
    if (policy->escaped_slashes > ESCAPED_SLASHES_KEEP && unescape_slashes(p)) {
        if (policy->escaped_slashes == ESCAPED_SLASHES_REJECT) {
            *ret_path = "the path holds an escaped slash";
            return PATH_BAD;
        }
        redirect = policy->escaped_slashes == ESCAPED_SLASHES_REDIRECT;
    }
    if (policy->normalize_path)
        p = canonical_path(p, strlen(p), arena);
    if (!p) {
        *ret_path = "the path holds an escaped NUL (%00)";
        return PATH_BAD;
    }
    if (policy->merge_slashes)
        merge_slashes(p);
    *ret_path = arena_printf(arena, "%s%s", p, query);
    return redirect ? PATH_REDIRECT : PATH_KEPT;
}
