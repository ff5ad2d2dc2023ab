/* Documents and revisions: counted, nothing more. */
#include "store/document.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {
    [DOCUMENT_GATEWAY] = "gateway",   [DOCUMENT_EXPOSURE] = "exposure",
    [DOCUMENT_OVERRIDE] = "override", [DOCUMENT_CERTIFICATE] = "certificate",
    [DOCUMENT_DRAIN] = "drain",       [DOCUMENT_GRANT] = "grant",
    [DOCUMENT_TOKEN] = "token",
};

const char *document_kind_name(enum document_kind kind)
{
    return kind_names[kind];
}

int document_kind_parse(const char *text, enum document_kind *ret)
{
    for (size_t i = 0; i < DOCUMENT_KINDS; i++)
        if (strcmp(kind_names[i], text) == 0) {
            *ret = (enum document_kind)i;
            return 0;
        }
    return -EINVAL;
}

struct document *document_new(enum document_kind kind, const char *name, const char *body, const char *author,
                              uint64_t revision, int64_t created, int64_t updated)
{
    struct arena *arena = arena_new();
    struct document *d = arena_new_of(arena, struct document);

    d->refs = 1;
    d->kind = kind;
    d->key = arena_printf(arena, "%s/%s", document_kind_name(kind), name);
    d->name = d->key + strlen(document_kind_name(kind)) + 1;
    d->body = arena_strdup(arena, body);
    d->body_len = strlen(body);
    d->author = arena_strdup(arena, author);
    d->revision = revision;
    d->created = created;
    d->updated = updated;
    d->arena = arena;
    return d;
}

void document_set_members(struct document *d, const struct document_member *members, size_t n)
{
    d->members = arena_dup(d->arena, members, n * sizeof(*members));
    d->n_members = n;
    for (size_t i = 0; i < n; i++) {
        d->members[i].field = arena_strdup(d->arena, members[i].field);
        d->members[i].author = arena_strdup(d->arena, members[i].author);
    }
}

struct document_member document_member(const struct document *d, const char *field)
{
    for (size_t i = 0; i < d->n_members; i++)
        if (strcmp(d->members[i].field, field) == 0)
            return d->members[i];
    return (struct document_member){field, d->author, d->revision, d->created, d->updated};
}

struct document *document_ref(struct document *d)
{
    __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

void document_unref(struct document *d)
{
    if (!d || __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    mem_wipe((char *)(uintptr_t)d->body, d->body_len);
    arena_free(d->arena);
}

struct revision *revision_ref(struct revision *r)
{
    __atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

void revision_unref(struct revision *r)
{
    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < r->n_documents; i++) {
        document_unref(r->documents[i].before);
        document_unref(r->documents[i].after);
    }
    arena_free(r->arena);
}

void revision_key(uint64_t number, char ret[17])
{
    snprintf(ret, 17, "%016" PRIx64, number);
}
