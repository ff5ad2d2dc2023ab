/* Decoding of certificate sections: where the pair and the trust anchors come from. Key texts are never quoted. */
#include "base/text.h"
#include "store/secret.h"
#include "store/section.h"

#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 4096, OBJECT_PATH_MAX = 256 };

struct raw_certificate {
    const char *secret, *validation_secret;
    const char *chain_file, *key_file;
    const char *chain_inline, *key_inline;
};

#define FIELD(...) SECTION_FIELD(struct raw_certificate, __VA_ARGS__)
static const struct json_field certificate_fields[] = {
    FIELD(secret, "certificate_secret", JSON_FIELD_STRING, .max = OBJECT_PATH_MAX),
    FIELD(validation_secret, "validation_secret", JSON_FIELD_STRING, .max = OBJECT_PATH_MAX),
    FIELD(chain_file, "certificate_chain_filename", JSON_FIELD_STRING, .max = FILE_MAX),
    FIELD(key_file, "private_key_filename", JSON_FIELD_STRING, .max = FILE_MAX),
    FIELD(chain_inline, "certificate_chain_inline_string", JSON_FIELD_STRING, .max = SECRET_VALUE_MAX),
    FIELD(key_inline, "private_key_inline_string", JSON_FIELD_STRING, .max = SECRET_VALUE_MAX),
};
#undef FIELD

static bool is_name(const char *p, size_t n)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    return n > 0 && strspn(p, allowed) >= n;
}

/* "name", "sec/name" (root namespace) or "ns/sec/name" to the path that the agent gives the object; NULL: none. */
static const char *secret_path(struct builder *b, const char *text)
{
    char ns[OBJECT_PATH_MAX + 1];
    const char *kind = "sec", *name = text, *slash = strchr(text, '/');
    size_t kind_len = 3;

    object_namespace(b->path, ns, sizeof(ns));
    if (slash) {
        const char *second = strchr(slash + 1, '/');

        snprintf(ns, sizeof(ns), "%.*s", second ? (int)(slash - text) : 4, second ? text : "root");
        kind = second ? slash + 1 : text;
        kind_len = second ? (size_t)(second - kind) : (size_t)(slash - text);
        name = second ? second + 1 : slash + 1;
    }
    if (kind_len != 3 || strncmp(kind, "sec", 3) != 0 || !is_name(ns, strlen(ns)) || !is_name(name, strlen(name)))
        return NULL;
    if (strcmp(ns, "root") == 0)
        return arena_printf(b->arena, "sec/%s", name);
    return arena_printf(b->arena, "%s/sec/%s", ns, name);
}

static const char *decode_secret(struct builder *b, struct section *s, const char *keyword, const char *text)
{
    const char *path = NULL;

    section_text(s, keyword, &text);
    if (!text)
        return NULL;
    path = secret_path(b, text);
    if (!path)
        problem_add(&s->problems, "invalid", s->rid, keyword,
                    "names no secret: it is a name, or a path as \"namespace/sec/name\"");
    return path;
}

/* Empty is absent; line ends are part of it. */
static const char *inline_text(const char *text)
{
    return text && *text ? text : NULL;
}

static void wrong(struct section *s, const char *keyword, const char *text)
{
    problem_add(&s->problems, "invalid", s->rid, keyword, "%s", text);
}

static void check_sources(struct section *s, const struct certificate *c)
{
    bool file = c->chain_file || c->key_file, text = c->chain_inline || c->key_inline;

    if ((c->secret != NULL) + file + text > 1)
        wrong(s, text ? "certificate_chain_inline_string" : "certificate_chain_filename",
              "certificate_secret, the file names and the inline texts exclude each other");
    else if (!c->secret && !file && !text && !c->validation_secret)
        wrong(s, NULL, "names neither a certificate nor a validation_secret");
    else if (file && !c->chain_file)
        wrong(s, "certificate_chain_filename", "is required beside private_key_filename");
    else if (text && (!c->chain_inline || !c->key_inline))
        wrong(s, c->chain_inline ? "private_key_inline_string" : "certificate_chain_inline_string",
              "is required: one inline text does not go without the other");
}

/* The chain is cut down to its certificates: what else stands in it may be a key, and chains are shown. */
static void check_inline(struct builder *b, struct section *s, struct certificate *c)
{
    struct certificate_info info;
    struct err e = {0};

    if (certificate_inspect(c->chain_inline, c->key_inline, NULL, b->arena, &info, &e) < 0)
        wrong(s, "certificate_chain_inline_string", e.text);
    else
        c->chain_inline = info.chain;
}

/* Of an exposure that was edited elsewhere: a certificate that is the agent's still keeps its name, which is its
 * secret's to Envoy. */
static bool is_as_the_agents(struct builder *b, const struct section *s, const struct certificate *c)
{
    struct section *agents = s->resource->scope ? map_gets(&b->by_rid, s->rid) : NULL;
    const struct certificate *a;

    if (!agents || agents->kind != SECTION_CERTIFICATE)
        return false;
    if (!agents->decoded) {
        agents->decoded = true;
        section_decode_certificate(b, agents);
    }
    a = agents->certificate;
    return text_equal(a->secret, c->secret) && text_equal(a->validation_secret, c->validation_secret) &&
           text_equal(a->chain_file, c->chain_file) && text_equal(a->key_file, c->key_file) &&
           text_equal(a->chain_inline, c->chain_inline) && text_equal(a->key_inline, c->key_inline);
}

void section_decode_certificate(struct builder *b, struct section *s)
{
    struct raw_certificate raw = {0};
    struct certificate *c = arena_new_of(b->arena, struct certificate);

    section_decode(b, s, certificate_fields, ARRAY_LEN(certificate_fields), &raw, NULL);
    section_text(s, "certificate_chain_filename", &raw.chain_file);
    section_text(s, "private_key_filename", &raw.key_file);
    *c = (struct certificate){.rid = s->rid,
                              .name = s->resource->scope
                                          ? arena_printf(b->arena, "%s.%s/%s", b->path, s->resource->scope, s->rid)
                                          : arena_printf(b->arena, "%s.%s", b->path, s->rid),
                              .secret = decode_secret(b, s, "certificate_secret", raw.secret),
                              .validation_secret = decode_secret(b, s, "validation_secret", raw.validation_secret),
                              .chain_file = raw.chain_file,
                              .key_file = raw.key_file,
                              .chain_inline = inline_text(raw.chain_inline),
                              .key_inline = inline_text(raw.key_inline)};
    /* A fault before would be told twice. */
    if (!s->problems.fatal)
        check_sources(s, c);
    if (!s->problems.fatal && c->chain_inline)
        check_inline(b, s, c);
    s->certificate = c;
    if (is_as_the_agents(b, s, c))
        c->name = arena_printf(b->arena, "%s.%s", b->path, s->rid);
}
