/*
 * The forms are described once, by shapes: which members an object of a kind has, of which type, and which of them
 * hold objects of another kind. Checking, flattening and nesting all follow them.
 */
#include "store/spec.h"

#include "base/buf.h"
#include "base/map.h"
#include "store/service.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RID_MAX = 64, ITEMS_MAX = 1024, FLAT_MAX = 4096, SHAPES = 5 };

enum member_type {
    MEMBER_TEXT,
    MEMBER_INT,
    MEMBER_BOOL,
    MEMBER_TEXTS,
    MEMBER_OBJECT,
    MEMBER_DURATION,  /* a number of seconds, or a text */
    MEMBER_ENDPOINTS, /* only of exposures that were made over the API */
    MEMBER_SECTIONS,
    MEMBER_READ_ONLY,
};

struct member {
    const char *name;
    enum member_type type;
    const struct shape *shape; /* of MEMBER_SECTIONS */
    const char *const *words;  /* of MEMBER_TEXT: only these; NULL: any */
};

struct shape {
    const char *type;   /* of the section */
    const char *prefix; /* of its rid */
    const struct member *members;
    unsigned number; /* below SHAPES */
};

const char *const spec_protocols[] = {[PROTOCOL_TCP] = "tcp", [PROTOCOL_UDP] = "udp", [PROTOCOL_UDP + 1] = NULL};
const char *const spec_lb_policies[] = {
    [LB_ROUND_ROBIN] = "round robin", [LB_LEAST_REQUEST] = "least_request",
    [LB_RING_HASH] = "ring_hash",     [LB_RANDOM] = "random",
    [LB_MAGLEV] = "maglev",           [LB_ORIGINAL_DST] = "original_dst_lb",
    [LB_ORIGINAL_DST + 1] = NULL,
};

static const struct member hash_policy_members[] = {
    {"cookie_name", MEMBER_TEXT}, {"cookie_path", MEMBER_TEXT},          {"cookie_ttl", MEMBER_DURATION},
    {"terminal", MEMBER_BOOL},    {"connection_source_ip", MEMBER_BOOL}, {"header_header_name", MEMBER_TEXT},
    {NULL, MEMBER_READ_ONLY},
};
static const struct shape hash_policy_shape = {"hashpolicy.envoy", "hashpolicy", hash_policy_members, 0};

static const struct member route_members[] = {
    {"match_path", MEMBER_TEXT},
    {"match_prefix", MEMBER_TEXT},
    {"match_regex", MEMBER_TEXT},
    {"match_case_sensitive", MEMBER_BOOL},
    {"route_prefix_rewrite", MEMBER_TEXT},
    {"route_host_rewrite", MEMBER_TEXT},
    {"route_cluster_header", MEMBER_TEXT},
    {"route_timeout", MEMBER_DURATION},
    {"route_use_websocket", MEMBER_BOOL},
    {"redirect_host_redirect", MEMBER_TEXT},
    {"redirect_path_redirect", MEMBER_TEXT},
    {"redirect_prefix_rewrite", MEMBER_TEXT},
    {"redirect_response_code", MEMBER_INT},
    {"redirect_https_redirect", MEMBER_BOOL},
    {"redirect_strip_query", MEMBER_BOOL},
    {"hash_policies", MEMBER_SECTIONS, &hash_policy_shape},
    {NULL, MEMBER_READ_ONLY},
};
static const struct shape route_shape = {"route.envoy", "route", route_members, 1};

static const struct member vhost_members[] = {
    {"domains", MEMBER_TEXTS},
    {"routes", MEMBER_SECTIONS, &route_shape},
    {"name", MEMBER_READ_ONLY},
    {NULL, MEMBER_READ_ONLY},
};
static const struct shape vhost_shape = {"vhost.envoy", "vhost", vhost_members, 2};

static const struct member certificate_members[] = {
    {"certificate_secret", MEMBER_TEXT},
    {"validation_secret", MEMBER_TEXT},
    {"certificate_chain_filename", MEMBER_TEXT},
    {"private_key_filename", MEMBER_TEXT},
    {"private_key_inline_string", MEMBER_TEXT},
    {"certificate_chain_inline_string", MEMBER_TEXT},
    {NULL, MEMBER_READ_ONLY},
};
static const struct shape certificate_shape = {"certificate.tls", "certificate", certificate_members, 3};

static const struct member expose_members[] = {
    {"port", MEMBER_INT},
    {"protocol", MEMBER_TEXT, .words = spec_protocols},
    {"listener_addr", MEMBER_TEXT},
    {"listener_port", MEMBER_INT},
    {"sni", MEMBER_TEXTS},
    {"lb_policy", MEMBER_TEXT, .words = spec_lb_policies},
    {"gateway", MEMBER_TEXT},
    {"vhosts", MEMBER_SECTIONS, &vhost_shape},
    {"listener_certificates", MEMBER_SECTIONS, &certificate_shape},
    {"cluster_certificates", MEMBER_SECTIONS, &certificate_shape},
    {"cluster_private_key_filename", MEMBER_TEXT},
    {"cluster_data", MEMBER_OBJECT},
    {"filter_config_data", MEMBER_OBJECT},
    {"enabled", MEMBER_BOOL},
    {"endpoints", MEMBER_ENDPOINTS},
    {"kind", MEMBER_READ_ONLY},
    {"name", MEMBER_READ_ONLY},
    {"service", MEMBER_READ_ONLY},
    {"namespace", MEMBER_READ_ONLY},
    {"origin", MEMBER_READ_ONLY},
    {"overridden", MEMBER_READ_ONLY},
    {"revision", MEMBER_READ_ONLY},
    {"author", MEMBER_READ_ONLY},
    {"created_at", MEMBER_READ_ONLY},
    {"updated_at", MEMBER_READ_ONLY},
    {"status", MEMBER_READ_ONLY},
    {NULL, MEMBER_READ_ONLY},
};
static const struct shape expose_shape = {"expose.envoy", "expose", expose_members, 4};

static const struct member *find_member(const struct shape *shape, const char *name)
{
    for (const struct member *m = shape->members; m->name; m++)
        if (strcmp(m->name, name) == 0)
            return m;
    return NULL;
}

/* The word that a text stands for, however the agent spells it; NULL: none of them. */
static const char *find_word(const char *text, const char *const *words)
{
    while (*words && !json_same_name(text, *words))
        words++;
    return *words;
}

/* The id of a section of that kind. */
static bool is_rid(const char *rid, const struct shape *shape)
{
    size_t n = strlen(shape->prefix), length = strlen(rid);

    if (length > RID_MAX || strncmp(rid, shape->prefix, n) != 0 || rid[n] != '#' || !rid[n + 1])
        return false;
    for (const char *p = rid + n + 1; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            return false;
    return true;
}

/* ---- checking ---- */

struct check {
    spec_fault fault;
    void *arg;
    bool api_made, bad;
};

static void tell(struct check *c, const char *pointer, const char *code, const char *text)
{
    c->bad = true;
    c->fault(c->arg, pointer, code, text);
}

static void check_endpoint(struct check *c, const json_t *value, const char *pointer)
{
    const char *address = json_string_value(json_object_get(value, "address"));
    const json_t *port = json_object_get(value, "port");
    char name[ENDPOINT_NAME_MAX + 16];
    char host[ENDPOINT_NAME_MAX];
    struct endpoint parsed;

    if (!json_is_object(value) || !address || !json_is_integer(port) || json_object_size(value) != 2) {
        tell(c, pointer, "invalid", "an object of address (a text) and port (an integer) is expected");
        return;
    }
    snprintf(name, sizeof(name), strchr(address, ':') ? "[%.256s]:%lld" : "%.256s:%lld", address,
             (long long)json_integer_value(port));
    if (strlen(address) > 253 || endpoint_parse(name, &parsed, host) < 0)
        tell(c, pointer, "invalid", "the address must be an IP address or a DNS name, the port 1 to 65535");
}

static void check_object(struct check *c, const json_t *object, const struct shape *shape, const char *pointer);

static void check_array(struct check *c, const json_t *value, const struct member *m, const char *pointer)
{
    size_t i;
    json_t *item;

    if (!json_is_array(value) || json_array_size(value) > ITEMS_MAX) {
        tell(c, pointer, "invalid", "an array of at most 1024 items is expected");
        return;
    }
    json_array_foreach(value, i, item)
    {
        _cleanup_(mem_free_p) char *at = mem_printf("%s/%zu", pointer, i);

        if (m->type == MEMBER_TEXTS && !json_is_string(item))
            tell(c, at, "invalid", "a text is expected");
        else if (m->type == MEMBER_ENDPOINTS)
            check_endpoint(c, item, at);
        else if (m->type == MEMBER_SECTIONS)
            check_object(c, item, m->shape, at);
    }
}

static bool is_text_or_number(const json_t *value)
{
    return json_is_number(value) || json_is_string(value);
}

/* Of values that stand alone; NULL: it is one. */
static const char *expected(const json_t *value, enum member_type type)
{
    const struct {
        bool good;
        const char *text;
    } kinds[] = {
        [MEMBER_TEXT] = {json_is_string(value), "a text is expected"},
        [MEMBER_INT] = {json_is_integer(value), "an integer is expected"},
        [MEMBER_BOOL] = {json_is_boolean(value), "true or false is expected"},
        [MEMBER_OBJECT] = {json_is_object(value), "an object is expected"},
        [MEMBER_DURATION] = {is_text_or_number(value), "a number of seconds, or a text like \"15s\", is expected"},
        [MEMBER_READ_ONLY] = {true, NULL},
    };

    return kinds[type].good ? NULL : kinds[type].text;
}

/* The agent's ways to spell a word, or to say none, are not the API's. What is no word at all is for the decoder. */
static void check_word(struct check *c, const char *text, const char *const *words, const char *pointer)
{
    const char *word = find_word(text, words);

    if (!*text)
        tell(c, pointer, "invalid", "an empty text is no value");
    if (!word || strcmp(word, text) == 0)
        return;
    _cleanup_(mem_free_p) char *expected = mem_printf("it is spelt \"%s\" here", word);
    tell(c, pointer, "invalid", expected);
}

static void check_value(struct check *c, const json_t *value, const struct member *m, const char *pointer)
{
    const char *text;

    if (m->type == MEMBER_ENDPOINTS && !c->api_made && json_array_size(value) == 0 && json_is_array(value))
        return;
    if (m->type == MEMBER_ENDPOINTS && !c->api_made)
        tell(c, pointer, "invalid", "the endpoints of the agent's exposures are the addresses of its instances");
    else if (m->type == MEMBER_TEXTS || m->type == MEMBER_ENDPOINTS || m->type == MEMBER_SECTIONS)
        check_array(c, value, m, pointer);
    else if ((text = expected(value, m->type)))
        tell(c, pointer, "invalid", text);
    else if (m->words)
        check_word(c, json_string_value(value), m->words, pointer);
}

/* It names the section that the object becomes; the exposure's own is known from its name. */
static void check_rid(struct check *c, const json_t *value, const struct shape *shape, const char *pointer)
{
    const char *rid = json_string_value(value);

    if (!rid) {
        tell(c, pointer, "invalid", "a text is expected");
    } else if (shape != &expose_shape && !is_rid(rid, shape)) {
        _cleanup_(mem_free_p) char *text =
            mem_printf("a section here is named \"%s#N\", N of letters, digits, \"-\" and \"_\"", shape->prefix);
        tell(c, pointer, "invalid", text);
    }
}

static void check_object(struct check *c, const json_t *object, const struct shape *shape, const char *pointer)
{
    const char *name;
    json_t *value;

    if (!json_is_object(object)) {
        tell(c, pointer, "invalid", "an object is expected");
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const struct member *m = find_member(shape, name);
        _cleanup_(mem_free_p) char *at = json_pointer(pointer, name);

        if (strcmp(name, "rid") == 0) {
            check_rid(c, value, shape, at);
        } else if (!m) {
            tell(c, at, "unknown", "there is no such member here");
        } else if (!json_is_null(value) && m->type != MEMBER_READ_ONLY) {
            check_value(c, value, m, at);
        }
    }
}

int spec_check(const json_t *nested, bool api_made, spec_fault fault, void *arg)
{
    struct check c = {.fault = fault, .arg = arg, .api_made = api_made};

    check_object(&c, nested, &expose_shape, "#");
    return c.bad ? -EINVAL : 0;
}

/* ---- flattening ---- */

struct flat {
    struct arena *arena;
    const char *scope;
    struct map taken;      /* rid -> its content as text, in the arena */
    struct map asked;      /* rids that some object names: never given to another by chance */
    unsigned next[SHAPES]; /* lower numbers are taken, or asked for */
    struct fact_resource *items;
    size_t n;
    struct err *e;
};

static void collect_rids(struct flat *f, const json_t *object, const struct shape *shape)
{
    const char *rid = json_string_value(json_object_get(object, "rid"));

    if (rid && is_rid(rid, shape))
        map_puts(&f->asked, arena_strdup(f->arena, rid), f);
    for (const struct member *m = shape->members; m->name; m++) {
        size_t i;
        json_t *item;

        if (m->type == MEMBER_SECTIONS)
            json_array_foreach(json_object_get(object, m->name), i, item) collect_rids(f, item, m->shape);
    }
}

/* The section's id: its own where that is free or holds the same, else the next that nobody has. ret_known: it stands
 * there already. */
static const char *choose_rid(struct flat *f, const json_t *object, const struct shape *shape, bool *ret_known)
{
    const char *own = json_string_value(json_object_get(object, "rid")), *rid = NULL;
    json_t *bare = json_copy((json_t *)(uintptr_t)object);
    _cleanup_(mem_free_p) char *content = NULL;
    const char *before;

    json_object_del(bare, "rid");
    content = json_canonical(bare);
    json_decref(bare);
    if (own && is_rid(own, shape)) {
        before = map_gets(&f->taken, own);
        *ret_known = before && strcmp(before, content) == 0;
        if (*ret_known)
            return own;
        if (!before)
            rid = arena_strdup(f->arena, own);
    }
    while (!rid) {
        char next[RID_MAX];

        snprintf(next, sizeof(next), "%s#%u", shape->prefix, f->next[shape->number]++);
        if (!map_gets(&f->taken, next) && !map_gets(&f->asked, next))
            rid = arena_strdup(f->arena, next);
    }
    map_puts(&f->taken, rid, arena_strdup(f->arena, content));
    return rid;
}

static int put_object(struct flat *f, const json_t *object, const struct shape *shape, const char *rid);

/* The ids of an array's sections. */
static int put_sections(struct flat *f, const json_t *value, const struct member *m, json_t *info)
{
    json_t *rids = json_array(), *item;
    size_t i;
    int r = 0;

    json_object_set_new(info, m->name, rids);
    if (!json_is_array(value))
        return err_set(f->e, -EINVAL, NULL, m->name, "an array of objects is expected");
    json_array_foreach(value, i, item)
    {
        bool known = false;
        const char *rid;

        /* The id of a section that does not exist: the decoder says so. */
        if (json_is_string(item)) {
            json_array_append(rids, item);
            continue;
        }
        if (!json_is_object(item))
            return err_set(f->e, -EINVAL, NULL, m->name, "an array of objects is expected");
        rid = choose_rid(f, item, m->shape, &known);
        json_array_append_new(rids, json_string(rid));
        r = known ? 0 : put_object(f, item, m->shape, rid);
        if (r < 0)
            return r;
    }
    return 0;
}

/* As texts, which the decoder reads: "ADDR:PORT". */
static int put_endpoints(struct flat *f, const json_t *value, json_t *info)
{
    json_t *texts = json_array(), *item;
    size_t i;

    json_object_set_new(info, "endpoints", texts);
    if (!json_is_array(value))
        return err_set(f->e, -EINVAL, NULL, "endpoints", "an array of objects is expected");
    json_array_foreach(value, i, item)
    {
        const char *address = json_string_value(json_object_get(item, "address"));
        const char *text =
            arena_printf(f->arena, address && strchr(address, ':') ? "[%s]:%lld" : "%s:%lld", address ? address : "",
                         (long long)json_integer_value(json_object_get(item, "port")));

        json_array_append_new(texts, json_string(text));
    }
    return 0;
}

static int put_members(struct flat *f, const json_t *object, const struct shape *shape, json_t *info)
{
    const char *name;
    json_t *value;
    int r = 0;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const struct member *m = find_member(shape, name);

        if (!m && strcmp(name, "rid") != 0)
            return err_set(f->e, -EINVAL, NULL, name, "there is no such member");
        if (!m || json_is_null(value) || m->type == MEMBER_READ_ONLY)
            continue;
        if (m->type == MEMBER_SECTIONS)
            r = put_sections(f, value, m, info);
        else if (m->type == MEMBER_ENDPOINTS)
            r = put_endpoints(f, value, info);
        else
            json_object_set(info, name, value);
        if (r < 0)
            return r;
    }
    return 0;
}

static int put_object(struct flat *f, const json_t *object, const struct shape *shape, const char *rid)
{
    json_t *info = json_object();
    int r = put_members(f, object, shape, info);

    if (r == 0 && f->n == FLAT_MAX)
        r = err_set(f->e, -EINVAL, NULL, "", "an exposure has at most %d sections", FLAT_MAX);
    if (r == 0) {
        _cleanup_(mem_free_p) char *text = json_canonical(info);

        f->items[f->n++] = (struct fact_resource){
            .rid = rid, .type = shape->type, .info = arena_strdup(f->arena, text), .scope = f->scope};
    }
    json_decref(info);
    return r;
}

static int compare_resources(const void *a, const void *b)
{
    return strcmp(((const struct fact_resource *)a)->rid, ((const struct fact_resource *)b)->rid);
}

int spec_flatten(const json_t *nested, const char *rid, struct arena *arena, struct fact_resource **ret,
                 size_t *ret_n, struct err *e)
{
    struct flat f = {.arena = arena, .scope = arena_strdup(arena, rid), .e = e};
    int r;

    if (!json_is_object(nested))
        return err_set(e, -EINVAL, NULL, "", "an object is expected");
    f.items = mem_array(struct fact_resource, FLAT_MAX);
    collect_rids(&f, nested, &expose_shape);
    r = put_object(&f, nested, &expose_shape, f.scope);
    if (r == 0) {
        qsort(f.items, f.n, sizeof(*f.items), compare_resources);
        *ret = arena_dup(arena, f.items, f.n * sizeof(*f.items));
        *ret_n = f.n;
    }
    mem_free(f.items);
    map_clear(&f.taken);
    map_clear(&f.asked);
    return r;
}

/* ---- nesting ---- */

static const char white[] = " \t\r\n\v\f";

struct flat_sections {
    const struct fact_resource *items;
    size_t n;
    bool bare; /* what can't be nested stays as it is */
};

/* Older agents write hash_policy#N: as it is written now. In buf when it is another text. */
static const char *newest_spelling(const char *rid, char buf[RID_MAX + 1])
{
    static const char old[] = "hash_policy#";

    if (strncmp(rid, old, sizeof(old) - 1) != 0 || strlen(rid) > RID_MAX)
        return rid;
    snprintf(buf, RID_MAX + 1, "hashpolicy#%s", rid + sizeof(old) - 1);
    return buf;
}

/* Where both spellings are there, the new one counts (store/section.c). */
static const struct fact_resource *find_section(const struct flat_sections *all, const char *rid,
                                                const struct shape *shape)
{
    char wanted[RID_MAX + 1], own[RID_MAX + 1];
    const struct fact_resource *found = NULL;
    const char *key = newest_spelling(rid, wanted);

    for (size_t i = 0; i < all->n; i++) {
        const struct fact_resource *r = &all->items[i];

        if (r->scope || strcmp(newest_spelling(r->rid, own), key) != 0)
            continue;
        if (!found || strcmp(r->rid, key) == 0)
            found = r;
    }
    if (!found || strcmp(found->type, shape->type) == 0 ||
        (shape == &hash_policy_shape && strcmp(found->type, "hash_policy.envoy") == 0))
        return found;
    return NULL;
}

static json_t *nest(const struct flat_sections *all, const struct fact_resource *r, const struct shape *shape);

static void nest_one(const struct flat_sections *all, const char *rid, const struct shape *shape, json_t *out)
{
    const struct fact_resource *r = find_section(all, rid, shape);
    char buf[RID_MAX + 1];
    json_t *object;

    if (!r && all->bare) {
        json_array_append_new(out, json_string(rid));
        return;
    }
    object = r ? nest(all, r, shape) : json_object();
    json_object_set_new(object, "rid", json_string(newest_spelling(rid, buf)));
    json_array_append_new(out, object);
}

static json_t *words_of(const char *text)
{
    json_t *out = json_array();

    while (*(text += strspn(text, white))) {
        size_t n = strcspn(text, white);

        json_array_append_new(out, json_stringn(text, n));
        text += n;
    }
    return out;
}

/* A list of ids, or a text of words. */
static json_t *nest_list(const struct flat_sections *all, json_t *value, const struct shape *shape)
{
    json_t *out, *item;
    const char *text = json_string_value(value);
    json_t *words = text ? words_of(text) : NULL;
    size_t i;

    if (all->bare && !text && !json_is_array(value))
        return json_incref(value);
    out = json_array();
    json_array_foreach(words ? words : value, i, item)
    {
        if (json_is_string(item))
            nest_one(all, json_string_value(item), shape, out);
        else if (all->bare)
            json_array_append(out, item);
    }
    json_decref(words);
    return out;
}

/* The agent writes some values as texts; the contract has one type for each. NULL: it is none of that type. */
static json_t *value_of(const char *text, enum member_type type)
{
    static const char *const truths[] = {"true", "yes", "1"}, *const lies[] = {"false", "no", "0"};
    size_t n = strlen(text);
    json_t *out = NULL;

    switch (type) {
    case MEMBER_TEXTS:
        return words_of(text);
    case MEMBER_INT:
        return n > 0 && n < 10 && !text[strspn(text, "0123456789")] ? json_integer(strtol(text, NULL, 10)) : NULL;
    case MEMBER_BOOL:
        for (size_t i = 0; i < ARRAY_LEN(truths) && !out; i++)
            out = !strcasecmp(text, truths[i]) ? json_true() : !strcasecmp(text, lies[i]) ? json_false() : NULL;
        return out;
    case MEMBER_OBJECT:
        if (json_parse(text, n, &out, NULL) == 0 && json_is_object(out))
            return out;
        json_decref(out);
        return NULL;
    default:
        return NULL;
    }
}

/* As a client is to see it; NULL: as if it was not there. */
static json_t *strict(json_t *value, const struct member *m)
{
    const char *text = json_string_value(value);
    const char *word = text && m->words ? find_word(text, m->words) : NULL;
    json_t *other = word ? json_string(word) : text ? value_of(text, m->type) : NULL;

    if (text && !*text && (m->words || m->type == MEMBER_INT || m->type == MEMBER_OBJECT))
        return NULL;
    return other ? other : json_incref(value);
}

/* What the shape does not know stays behind: the agent's sections have keywords of its own. */
static json_t *nest(const struct flat_sections *all, const struct fact_resource *r, const struct shape *shape)
{
    json_t *info = NULL, *out = json_object();

    if (json_parse(r->info, strlen(r->info), &info, NULL) < 0)
        return out;
    for (const struct member *m = shape->members; m->name; m++) {
        json_t *value = json_object_get(info, m->name);

        if (!value || json_is_null(value) || m->type == MEMBER_READ_ONLY || m->type == MEMBER_ENDPOINTS)
            continue;
        if (m->type == MEMBER_SECTIONS)
            json_object_set_new(out, m->name, nest_list(all, value, m->shape));
        else if ((value = all->bare ? json_incref(value) : strict(value, m)))
            json_object_set_new(out, m->name, value);
    }
    json_decref(info);
    return out;
}

static json_t *nest_exposure(const struct flat_sections *all, const char *rid)
{
    const struct fact_resource *r = find_section(all, rid, &expose_shape);
    json_t *out;

    if (!r)
        return NULL;
    out = nest(all, r, &expose_shape);
    json_object_del(out, "enabled"); /* is a word of the API's alone */
    return out;
}

json_t *spec_nest(const struct fact_resource *resources, size_t n, const char *rid)
{
    return nest_exposure(&(struct flat_sections){resources, n, false}, rid);
}

json_t *spec_nest_bare(const struct fact_resource *resources, size_t n, const char *rid)
{
    return nest_exposure(&(struct flat_sections){resources, n, true}, rid);
}

/* ---- patches ---- */

json_t *json_merge_patch(const json_t *target, const json_t *patch)
{
    json_t *out, *value;
    const char *name;

    if (!json_is_object(patch))
        return json_deep_copy(patch);
    out = json_is_object(target) ? json_deep_copy(target) : json_object();
    json_object_foreach((json_t *)(uintptr_t)patch, name, value)
    {
        if (json_is_null(value))
            json_object_del(out, name);
        else
            json_object_set_new(out, name, json_merge_patch(json_object_get(out, name), value));
    }
    return out;
}

struct redaction {
    const char *redacted;
    spec_fault fault;
    void *arg;
    size_t missing;
};

static const json_t *same_item(const json_t *known, const json_t *item, size_t index)
{
    const char *rid = json_string_value(json_object_get(item, "rid"));
    json_t *other;
    size_t i;

    if (rid)
        json_array_foreach(known, i, other)
        {
            const char *text = json_string_value(json_object_get(other, "rid"));

            if (text && strcmp(text, rid) == 0)
                return other;
        }
    other = json_array_get(known, index);
    return rid && json_object_get(other, "rid") ? NULL : other;
}

/* The value to stand there: the same, or what is known instead; a new reference. */
static json_t *unredact(struct redaction *r, json_t *value, const json_t *known, const char *pointer)
{
    const char *name, *text = json_string_value(value);
    json_t *item;
    size_t i;

    if (text && strcmp(text, r->redacted) == 0) {
        if (known && !json_is_object(known) && !json_is_array(known))
            return json_incref((json_t *)(uintptr_t)known);
        r->missing++;
        r->fault(r->arg, pointer, "invalid", "nothing is known that could stand for what was left out here");
    }
    json_object_foreach(value, name, item)
    {
        _cleanup_(mem_free_p) char *at = json_pointer(pointer, name);

        json_object_set_new(value, name, unredact(r, item, json_object_get(known, name), at));
    }
    json_array_foreach(value, i, item)
    {
        _cleanup_(mem_free_p) char *at = mem_printf("%s/%zu", pointer, i);

        json_array_set_new(value, i, unredact(r, item, same_item(known, item, i), at));
    }
    return json_incref(value);
}

size_t spec_unredact(json_t *nested, const json_t *known, const char *redacted, spec_fault fault, void *arg)
{
    struct redaction r = {.redacted = redacted, .fault = fault, .arg = arg};

    json_decref(unredact(&r, nested, known, "#"));
    return r.missing;
}

/* ---- where a problem stands ---- */

static const char *route_pointer(const struct vhost *vhost, size_t v, const char *rid, const char *keyword,
                                 struct arena *arena)
{
    for (size_t r = 0; r < vhost->n_routes; r++) {
        const struct route *route = vhost->routes[r];

        if (strcmp(route->rid, rid) == 0)
            return arena_printf(arena, "#/vhosts/%zu/routes/%zu%s", v, r, keyword);
        for (size_t h = 0; h < route->n_hash_policies; h++)
            if (strcmp(route->hash_policies[h]->rid, rid) == 0)
                return arena_printf(arena, "#/vhosts/%zu/routes/%zu/hash_policies/%zu%s", v, r, h, keyword);
    }
    return NULL;
}

/* "name", ".name", "[7]" and "[\"key\"]" at *path, which moves on; NULL: it ends there, or was cut. */
static const char *next_step(const char **path, struct arena *arena)
{
    const char *p = *path + (**path == '.'), *end;
    bool is_key = strncmp(p, "[\"", 2) == 0, is_index = !is_key && *p == '[';

    p += is_key ? 2 : is_index;
    end = is_key ? strstr(p, "\"]") : p + strcspn(p, is_index ? "]" : ".[");
    if (!end || end == p)
        return NULL;
    *path = end + (is_key ? 2 : is_index);
    return arena_strndup(arena, p, (size_t)(end - p));
}

/* The field's other spelling in protobuf's JSON. */
static const char *camel_case(const char *name, struct arena *arena)
{
    char *camel = arena_strdup(arena, name), *to = camel;

    for (const char *p = name; *p; p++)
        if (*p == '_' && p[1] >= 'a' && p[1] <= 'z')
            *to++ = (char)(*++p - 'a' + 'A');
        else
            *to++ = *p;
    *to = '\0';
    return camel;
}

/* The path is one of Envoy's messages; as far as what was passed through has it. */
static const char *passed_pointer(const char *keyword, const char *json, const char *path, struct arena *arena)
{
    const char *pointer = arena_printf(arena, "#/%s", keyword), *step;
    json_t *root = json ? json_loads(json, 0, NULL) : NULL;
    const json_t *at = root;

    while (at && (step = next_step(&path, arena))) {
        if (json_is_object(at) && !json_object_get(at, step))
            step = camel_case(step, arena);
        at = json_is_array(at) ? json_array_get(at, strtoul(step, NULL, 10)) : json_object_get(at, step);
        if (!at)
            break;
        _cleanup_(mem_free_p) char *next = json_pointer(pointer, step);
        pointer = arena_strdup(arena, next);
    }
    json_decref(root);
    return pointer;
}

static const char *keyword_pointer(const struct exposure *x, const char *keyword, struct arena *arena)
{
    const struct {
        const char *name, *json;
    } passed[] = {{"cluster_data", x->cluster_data}, {"filter_config_data", x->filter_config_data}};

    for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
        size_t n = strlen(passed[i].name);

        if (strncmp(keyword, passed[i].name, n) == 0 && (keyword[n] == '.' || keyword[n] == '['))
            return passed_pointer(passed[i].name, passed[i].json, keyword + n, arena);
    }
    return arena_printf(arena, "#/%s", keyword);
}

const char *exposure_pointer(const struct exposure *x, const char *field, struct arena *arena)
{
    size_t n = strcspn(field, ".");
    const char *rid = arena_strndup(arena, field, n);
    const char *keyword = field[n] ? arena_printf(arena, "/%s", field + n + 1) : "";

    if (!*field || (strcmp(rid, x->rid) == 0 && !field[n]))
        return "#";
    if (strcmp(rid, x->rid) == 0)
        return keyword_pointer(x, field + n + 1, arena);
    if (!strchr(rid, '#')) /* a keyword of the exposure itself */
        return keyword_pointer(x, field, arena);
    for (size_t v = 0; v < x->n_vhosts; v++) {
        const char *found;

        if (strcmp(x->vhosts[v]->rid, rid) == 0)
            return arena_printf(arena, "#/vhosts/%zu%s", v, keyword);
        found = route_pointer(x->vhosts[v], v, rid, keyword, arena);
        if (found)
            return found;
    }
    for (size_t i = 0; i < x->n_listener_certificates; i++)
        if (strcmp(x->listener_certificates[i]->rid, rid) == 0)
            return arena_printf(arena, "#/listener_certificates/%zu%s", i, keyword);
    if (x->cluster_certificate && strcmp(x->cluster_certificate->rid, rid) == 0)
        return arena_printf(arena, "#/cluster_certificates/0%s", keyword);
    return NULL;
}
