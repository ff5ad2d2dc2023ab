/* Finding sections, decoding them when they are referred to, and gathering their problems. */
#include "store/section.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *type;
    enum section_kind kind;
} types[] = {
    {"expose.envoy", SECTION_EXPOSE},
    {"vhost.envoy", SECTION_VHOST},
    {"route.envoy", SECTION_ROUTE},
    {"hashpolicy.envoy", SECTION_HASH_POLICY},
    {"hash_policy.envoy", SECTION_HASH_POLICY},
    {"certificate.tls", SECTION_CERTIFICATE},
};

static void (*const decoders[])(struct builder *b, struct section *s) = {
    [SECTION_VHOST] = section_decode_vhost,
    [SECTION_ROUTE] = section_decode_route,
    [SECTION_HASH_POLICY] = section_decode_hash_policy,
    [SECTION_CERTIFICATE] = section_decode_certificate,
};

/* ---- the sections ---- */

/* Older agents write hash_policy#N where newer ones write hashpolicy#N; a text as long as rid, in buf if it fits. */
static const char *section_key(const char *rid, char *buf, size_t n)
{
    static const char old[] = "hash_policy#";

    if (strncmp(rid, old, sizeof(old) - 1) != 0)
        return rid;
    snprintf(buf, n, "hashpolicy#%s", rid + sizeof(old) - 1);
    return buf;
}

/* Sections of an exposure's own stand beside the agent's of the same id. */
static const char *scoped_key(const char *scope, const char *rid, char *buf, size_t n)
{
    if (!scope)
        return rid;
    snprintf(buf, n, "%s %s", scope, rid);
    return buf;
}

void builder_init(struct builder *b, struct arena *arena, const char *path, const struct fact_resource *resources,
                  size_t n)
{
    *b =
        (struct builder){.arena = arena, .path = arena_strdup(arena, path), .sections = mem_array(struct section, n)};
    for (size_t i = 0; i < n; i++) {
        struct section *s = &b->sections[b->n_sections];
        char buf[256], scoped[512];
        const char *key;

        for (size_t k = 0; k < ARRAY_LEN(types) && !s->resource; k++)
            if (strcmp(resources[i].type, types[k].type) == 0) {
                s->resource = &resources[i];
                s->kind = types[k].kind;
            }
        if (!s->resource)
            continue;
        s->rid = arena_strdup(arena, s->resource->rid);
        b->scoped = b->scoped || s->resource->scope;
        s->problems.arena = arena;
        b->n_sections++;
        key = scoped_key(s->resource->scope, section_key(s->rid, buf, sizeof(buf)), scoped, sizeof(scoped));
        /* The new spelling wins over the old one of the same number; which comes first is the sorting's. */
        if (key == s->rid || key == scoped || !map_gets(&b->by_rid, key))
            map_puts(&b->by_rid, key == s->rid ? key : arena_strdup(arena, key), s);
    }
}

void builder_clear(struct builder *b)
{
    for (size_t i = 0; i < b->n_sections; i++) {
        mem_free(b->sections[i].problems.items);
        mem_free(b->sections[i].children);
    }
    mem_free(b->sections);
    map_clear(&b->by_rid);
}

/* The number of "expose#12", -1 if it has none or one that is not written in the usual way. */
static int64_t rid_number(const char *rid)
{
    const char *hash = strchr(rid, '#');
    int64_t number = 0;
    size_t n = 0;

    if (!hash || (hash[1] == '0' && hash[2] != '\0'))
        return -1;
    for (; isdigit((unsigned char)hash[n + 1]) && n < 18; n++)
        number = number * 10 + (hash[n + 1] - '0');
    return n > 0 && hash[n + 1] == '\0' ? number : -1;
}

int rid_compare(const char *a, const char *b)
{
    int64_t x = rid_number(a), y = rid_number(b);

    if (x != y) {
        /* Those with a number come first. */
        if (x < 0 || y < 0)
            return x < 0 ? 1 : -1;
        return x < y ? -1 : 1;
    }
    return strcmp(a, b);
}

static const char *kind_name(enum section_kind kind)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i].kind == kind)
            return types[i].type;
    return "";
}

static bool has_child(const struct section *s, size_t from, const struct section *child)
{
    for (size_t i = from; i < s->n_children; i++)
        if (s->children[i] == child)
            return true;
    return false;
}

struct section **section_refer(struct builder *b, struct section *owner, const char *keyword,
                               const struct json_strings *list, enum section_kind kind, size_t *ret_n)
{
    size_t from = owner->n_children;

    owner->children = mem_realloc(owner->children, from + list->count, sizeof(struct section *));
    for (size_t i = 0; i < list->count; i++) {
        char buf[256], scoped[512];
        const char *key = section_key(list->items[i], buf, sizeof(buf));
        struct section *s = map_gets(&b->by_rid, scoped_key(owner->resource->scope, key, scoped, sizeof(scoped)));

        if (!s) {
            problem_add(&owner->problems, "unresolved", owner->rid, keyword, "there is no section \"%s\" of type %s",
                        list->items[i], kind_name(kind));
        } else if (s->kind != kind) {
            problem_add(&owner->problems, "invalid", owner->rid, keyword, "\"%s\" is no %s", s->rid, kind_name(kind));
        } else if (has_child(owner, from, s)) {
            problem_add(&owner->problems, "warning", owner->rid, keyword, "\"%s\" is listed twice", s->rid);
        } else {
            if (!s->decoded) {
                s->decoded = true;
                decoders[kind](b, s);
            }
            owner->children[owner->n_children++] = s;
        }
    }
    *ret_n = owner->n_children - from;
    return owner->children + from;
}

static void on_fault(void *arg, const struct err *e)
{
    struct section *s = arg;

    problem_add_err(&s->problems, "invalid", s->rid, NULL, e);
}

/* An empty text is an absent keyword. */
static void drop_empty(json_t *info)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(info, next, key, value)
    {
        if (json_is_string(value) && json_string_length(value) == 0)
            json_object_del(info, key);
    }
}

void section_decode(struct builder *b, struct section *s, const struct json_field *fields, size_t n_fields, void *out,
                    void (*adjust)(json_t *info))
{
    const char *text = s->resource->info;
    json_t *info;
    struct err e = {0};

    if (json_parse(text, strlen(text), &info, &e) < 0) {
        problem_add_err(&s->problems, "invalid", s->rid, NULL, &e);
        return;
    }
    drop_empty(info);
    if (adjust && json_is_object(info))
        adjust(info);
    json_decode(info, fields, n_fields, JSON_DECODE_LENIENT | JSON_DECODE_IGNORE_UNKNOWN, b->arena, out, on_fault, s);
    json_decref(info);
}

void section_text(struct section *s, const char *keyword, const char **text)
{
    if (!*text || !**text) {
        *text = NULL;
        return;
    }
    for (const unsigned char *p = (const unsigned char *)*text; *p; p++)
        if (*p < ' ' || *p == 0x7f) {
            problem_add(&s->problems, "invalid", s->rid, keyword, "has a control character");
            *text = NULL;
            return;
        }
}
