/*
 * Values of the databases' packed columns: numbers of variable length (LEB128) and texts with their length and a NUL,
 * so that a reader can point into the bytes. Deterministic: the same values give the same bytes.
 */
#ifndef STORE_PACK_H
#define STORE_PACK_H

#include "base/buf.h"
#include "store/facts.h"

void pack_number(struct buf *b, uint64_t n);
void pack_text(struct buf *b, const char *s); /* NULL is told from "" */

/* A reader; once something did not fit, bad is set, and numbers are 0 and texts "". */
struct unpack {
    const uint8_t *p, *end;
    bool bad;
};

struct unpack unpack_start(const void *bytes, size_t n);
uint64_t unpack_number(struct unpack *u);
const char *unpack_text(struct unpack *u); /* points into the bytes */
/* A number of entries, of which each takes at least min_bytes: damage must not make a huge allocation. */
size_t unpack_count(struct unpack *u, size_t min_bytes);
/* Whether all was read and nothing was bad. */
bool unpack_done(const struct unpack *u);

void pack_resources(struct buf *b, const struct facts *f);
void pack_addresses(struct buf *b, const struct facts *f); /* and the disagreement */
/* Arrays in the arena, texts in the bytes. 0 or -EBADMSG. */
int unpack_resources(const void *bytes, size_t n, struct arena *arena, struct facts *f);
int unpack_addresses(const void *bytes, size_t n, struct arena *arena, struct facts *f);

#endif
