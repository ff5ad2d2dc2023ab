/* Packing and unpacking, by one pair of functions for each shape. */
#include "store/pack.h"

#include <errno.h>
#include <string.h>

void pack_number(struct buf *b, uint64_t n)
{
    uint8_t bytes[10];
    size_t len = 0;

    for (; n >= 0x80; n >>= 7)
        bytes[len++] = (uint8_t)(n | 0x80);
    bytes[len++] = (uint8_t)n;
    buf_append(b, bytes, len);
}

/* Length + 1, or 0 for NULL. */
void pack_text(struct buf *b, const char *s)
{
    size_t n;

    if (!s) {
        pack_number(b, 0);
        return;
    }
    n = strlen(s);
    pack_number(b, n + 1);
    buf_append(b, s, n + 1);
}

struct unpack unpack_start(const void *bytes, size_t n)
{
    return (struct unpack){.p = bytes, .end = (const uint8_t *)bytes + n};
}

uint64_t unpack_number(struct unpack *u)
{
    uint64_t n = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte;

        if (u->bad || u->p == u->end)
            break;
        byte = *u->p++;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return n;
    }
    u->bad = true;
    return 0;
}

const char *unpack_text(struct unpack *u)
{
    uint64_t n = unpack_number(u);
    const char *s = (const char *)u->p;

    if (n == 0)
        return u->bad ? "" : NULL;
    if (n > (uint64_t)(u->end - u->p) || s[n - 1] != '\0' || memchr(s, '\0', n - 1)) {
        u->bad = true;
        return "";
    }
    u->p += n;
    return s;
}

size_t unpack_count(struct unpack *u, size_t min_bytes)
{
    uint64_t n = unpack_number(u);

    if (n > (uint64_t)(u->end - u->p) / min_bytes) {
        u->bad = true;
        return 0;
    }
    return (size_t)n;
}

bool unpack_done(const struct unpack *u)
{
    return !u->bad && u->p == u->end;
}

/* A text that may not be absent. */
static const char *unpack_needed(struct unpack *u)
{
    const char *s = unpack_text(u);

    if (!s)
        u->bad = true;
    return s ? s : "";
}

/* What comes through the store's door with a NULL where a text belongs must still be readable again. */
static void pack_needed(struct buf *b, const char *s)
{
    pack_text(b, s ? s : "");
}

void pack_resources(struct buf *b, const struct facts *f)
{
    bool scoped = false;

    pack_number(b, f->n_resources);
    for (size_t i = 0; i < f->n_resources; i++) {
        pack_needed(b, f->resources[i].rid);
        pack_needed(b, f->resources[i].type);
        pack_needed(b, f->resources[i].info);
        scoped = scoped || f->resources[i].scope;
    }
    /* Most have none: then nothing more stands there. */
    for (size_t i = 0; scoped && i < f->n_resources; i++)
        pack_text(b, f->resources[i].scope);
}

int unpack_resources(const void *bytes, size_t n, struct arena *arena, struct facts *f)
{
    struct unpack u = unpack_start(bytes, n);
    struct fact_resource *resources;

    f->n_resources = unpack_count(&u, 3);
    f->resources = resources = arena_array(arena, struct fact_resource, f->n_resources);
    for (size_t i = 0; i < f->n_resources; i++) {
        resources[i].rid = unpack_needed(&u);
        resources[i].type = unpack_needed(&u);
        resources[i].info = unpack_needed(&u);
    }
    for (size_t i = 0; u.p < u.end && i < f->n_resources; i++)
        resources[i].scope = unpack_text(&u);
    return unpack_done(&u) ? 0 : -EBADMSG;
}

void pack_addresses(struct buf *b, const struct facts *f)
{
    pack_text(b, f->disagreement);
    pack_number(b, f->n_addresses);
    for (size_t i = 0; i < f->n_addresses; i++) {
        const struct fact_address *a = &f->addresses[i];

        pack_needed(b, a->node);
        pack_needed(b, a->instance);
        pack_needed(b, a->rid);
        pack_needed(b, a->address);
        pack_needed(b, a->state);
        pack_number(b, a->up);
        pack_number(b, a->n_exposes);
        for (size_t j = 0; j < a->n_exposes; j++)
            pack_needed(b, a->exposes[j]);
    }
}

static void unpack_address(struct unpack *u, struct arena *arena, struct fact_address *a)
{
    const char **exposes;

    a->node = unpack_needed(u);
    a->instance = unpack_needed(u);
    a->rid = unpack_needed(u);
    a->address = unpack_needed(u);
    a->state = unpack_needed(u);
    a->up = unpack_number(u) != 0;
    a->n_exposes = unpack_count(u, 2);
    exposes = arena_array(arena, const char *, a->n_exposes);
    for (size_t i = 0; i < a->n_exposes; i++)
        exposes[i] = unpack_needed(u);
    a->exposes = exposes;
}

int unpack_addresses(const void *bytes, size_t n, struct arena *arena, struct facts *f)
{
    struct unpack u = unpack_start(bytes, n);
    struct fact_address *addresses;

    f->disagreement = unpack_text(&u);
    f->n_addresses = unpack_count(&u, 7);
    f->addresses = addresses = arena_array(arena, struct fact_address, f->n_addresses);
    for (size_t i = 0; i < f->n_addresses; i++)
        unpack_address(&u, arena, &addresses[i]);
    return unpack_done(&u) ? 0 : -EBADMSG;
}
