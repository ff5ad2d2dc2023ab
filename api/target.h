/*
 * The target of a request (RFC 9112, 3.2): its path in segments, its query in pairs, each decoded once, strictly.
 * Pure.
 *
 * A segment is decoded after the path was split, so that %2F is part of a name: objects' names have slashes.
 */
#ifndef API_TARGET_H
#define API_TARGET_H

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>

enum { TARGET_SEGMENTS_MAX = 8, TARGET_PAIRS_MAX = 256 };

struct query_pair {
    const char *name, *value;
};

struct target {
    const char *segments[TARGET_SEGMENTS_MAX];
    size_t n_segments;
    const char *path;         /* as it was sent, without scheme, authority and query */
    const char *query;        /* as it was sent; "" when there is none */
    struct query_pair *pairs; /* in the arena */
    size_t n_pairs;
};

/*
 * Origin form ("/a/b?c=d"), absolute form ("http://host/a/b"), or "*", which has no segments. Texts live in the
 * arena.
 * -EINVAL: a bad percent-encoding, a control character, or text that is not UTF-8; -E2BIG: too many segments or
 * pairs.
 */
int target_parse(const char *text, struct arena *arena, struct target *ret, struct err *e);

#endif
