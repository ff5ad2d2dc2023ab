/*
 * Secrets: the newest values, or the last good ones.
 *
 * Keys of an agent's secret change one after the other, so a chain and a key that do not fit each other are usual for
 * a moment. Whatever is bad or gone leaves the last good pair (and trust) in place, and says why.
 */
#include "store/secret.h"

#include "base/json.h"

#include <assert.h>
#include <string.h>

static const unsigned secret_magic = 0x73656372;

/* The part that nobody outside sees. */
struct secret_box {
    struct secret secret;
    unsigned magic;
};

static struct secret_box *box_of(struct secret *s)
{
    struct secret_box *box = (struct secret_box *)s;

    assert(box->magic == secret_magic);
    return box;
}

static const char *dup_text(struct arena *arena, const char *text)
{
    return text ? arena_strdup(arena, text) : NULL;
}

static void set_key(struct secret *s, const char *key, const char *password)
{
    s->private_key = dup_text(s->arena, key);
    s->private_key_len = key ? strlen(key) : 0;
    s->password = dup_text(s->arena, password);
    s->password_len = password ? strlen(password) : 0;
}

static void copy_info(struct arena *arena, const struct certificate_info *from, struct certificate_info *to)
{
    *to = *from;
    to->subject = dup_text(arena, from->subject);
    to->issuer = dup_text(arena, from->issuer);
    to->serial = dup_text(arena, from->serial);
    to->chain = dup_text(arena, from->chain);
    to->names = arena_array(arena, const char *, from->n_names);
    for (size_t i = 0; i < from->n_names; i++)
        to->names[i] = arena_strdup(arena, from->names[i]);
}

static void keep_pair(struct secret *s, const struct secret *before, const char *problem)
{
    s->pair_problem = dup_text(s->arena, problem);
    if (!before || !before->has_pair)
        return;
    s->has_pair = true;
    copy_info(s->arena, &before->info, &s->info);
    s->certificate_chain = s->info.chain;
    set_key(s, before->private_key, before->password);
}

static void keep_trust(struct secret *s, const struct secret *before, const char *problem)
{
    s->trust_problem = dup_text(s->arena, problem);
    if (!before || !before->has_trust)
        return;
    s->has_trust = true;
    s->trusted_ca = arena_strdup(s->arena, before->trusted_ca);
    s->verify_certificate_hash = dup_text(s->arena, before->verify_certificate_hash);
}

static const char *filled(const char *text)
{
    return text && *text ? text : NULL;
}

static void take_pair(struct secret *s, const struct secret_values *v, const struct secret *before)
{
    const char *chain = filled(v->certificate_chain), *key = filled(v->private_key);
    const char *password = filled(v->password), *problem = NULL;
    struct err e = {0};

    if (!chain && !key)
        problem = before && before->has_pair ? "certificate_chain and private_key are gone" : NULL;
    else if (!chain)
        problem = "certificate_chain is missing";
    else if (!key)
        problem = "private_key is missing";
    else if (certificate_inspect(chain, key, password, s->arena, &s->info, &e) < 0)
        problem = e.text;
    if (problem || !chain) {
        keep_pair(s, before, problem);
        return;
    }
    s->certificate_chain = s->info.chain;
    set_key(s, key, password);
    s->has_pair = true;
}

static void take_trust(struct secret *s, const struct secret_values *v, const struct secret *before)
{
    const char *ca = filled(v->trusted_ca), *hashes = filled(v->verify_certificate_hash), *problem = NULL;
    struct err e = {0};

    if (!ca && !hashes)
        problem = before && before->has_trust ? "trusted_ca is gone" : NULL;
    else if (!ca)
        problem = "trusted_ca is missing";
    else if (trust_inspect(ca, &e) < 0 ||
             (hashes && certificate_hash_normalize(hashes, s->arena, &s->verify_certificate_hash, &e) < 0))
        problem = e.text;
    if (problem || !ca) {
        s->verify_certificate_hash = NULL;
        keep_trust(s, before, problem);
        return;
    }
    s->trusted_ca = arena_strdup(s->arena, ca);
    s->has_trust = true;
}

struct secret *secret_new(const char *path, const char *csum, const struct secret_values *values, const char *missing,
                          const struct secret *before)
{
    struct secret_box *box = mem_new(struct secret_box);
    struct secret *s = &box->secret;

    box->magic = secret_magic;
    s->refs = 1;
    s->arena = arena_new();
    s->path = arena_strdup(s->arena, path);
    s->csum = arena_strdup(s->arena, csum ? csum : "");
    if (missing || !values) {
        missing = missing ? missing : "it was never read";
        keep_pair(s, before, missing);
        keep_trust(s, before, missing);
    } else {
        take_pair(s, values, before);
        take_trust(s, values, before);
    }
    return s;
}

struct secret *secret_ref(struct secret *s)
{
    __atomic_add_fetch(&box_of(s)->secret.refs, 1, __ATOMIC_RELAXED);
    return s;
}

void secret_unref(struct secret *s)
{
    struct secret_box *box = s ? box_of(s) : NULL;

    if (!box || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (s->private_key)
        mem_wipe((char *)(uintptr_t)s->private_key, s->private_key_len);
    if (s->password)
        mem_wipe((char *)(uintptr_t)s->password, s->password_len);
    box->magic = 0;
    arena_free(s->arena);
    mem_free(box);
}

struct secret *secret_of_body(const char *path, const char *text)
{
#define FIELD(member)                                                                                                \
    {                                                                                                                \
        .name = #member, .type = JSON_FIELD_STRING, .offset = offsetof(struct secret_values, member),                \
        .max = SECRET_VALUE_MAX                                                                                      \
    }
    static const struct json_field fields[] = {FIELD(certificate_chain), FIELD(private_key), FIELD(password),
                                               FIELD(trusted_ca), FIELD(verify_certificate_hash)};
#undef FIELD
    struct arena *arena = arena_new();
    struct secret_values values = {0};
    struct secret *secret = NULL;
    json_t *body = NULL;

    if (json_parse(text, strlen(text), &body, NULL) == 0) {
        if (json_decode(body, fields, ARRAY_LEN(fields), 0, arena, &values, NULL, NULL) == 0)
            secret = secret_new(path, "", &values, NULL, NULL);
        json_decref(body);
    }
    if (values.private_key)
        mem_wipe((char *)(uintptr_t)values.private_key, strlen(values.private_key));
    arena_free(arena);
    return secret;
}
