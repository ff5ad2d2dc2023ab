/*
 * The bounded decoder of xDS requests: DiscoveryRequest and DeltaDiscoveryRequest of
 * envoy/service/discovery/v3/discovery.proto, and only the fields that a server needs.
 *
 * It never recurses: messages inside a message are skipped by their length, and the few that are looked into have a
 * fixed depth. It allocates nothing: all that it returns points into the request. Pure; any thread.
 */
#ifndef SERVER_XDS_DECODE_H
#define SERVER_XDS_DECODE_H

#include "base/err.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    XDS_NAME_MAX = 4096,    /* bytes of one resource's name */
    XDS_NAMES_MAX = 500000, /* entries of one list in one request */
    XDS_MEMO_MIN = 1024,    /* a list shorter than that is parsed every time */
};

/* Bytes of a request, not NUL-terminated. */
struct xds_span {
    const char *p;
    size_t n;
};

/* A repeated field: the entries lie somewhere between p and end, maybe with other fields between them. */
struct xds_list {
    const uint8_t *p, *end;
    unsigned field;
    size_t count;
    bool contiguous; /* nothing else lies between */
};

/*
 * Envoy repeats all its names with each state-of-the-world request, 270 kB for ten thousand. A list that is the same
 * bytes as the last time is recognized by length and hash, and not parsed.
 */
struct xds_memo {
    size_t length; /* 0: nothing remembered */
    struct hash128 hash;
};

static inline bool xds_same_memo(const struct xds_memo *a, const struct xds_memo *b)
{
    return a->length == b->length && hash128_equal(a->hash, b->hash);
}

struct xds_node {
    bool present;
    struct xds_span id, cluster;
    struct xds_span gateway;                   /* metadata's key "gateway", if it is a text */
    struct xds_span agent_name, agent_version; /* user_agent_name, user_agent_version or _build_version (raw) */
    bool is_build_version;                     /* the latter */
};

struct xds_request {
    struct xds_node node;
    struct xds_span type_url, nonce;
    struct xds_span version;     /* state of the world: version_info */
    bool refused;                /* error_detail is there */
    struct xds_span words;       /* its message */
    struct xds_list names;       /* state of the world: resource_names; incremental: resource_names_subscribe */
    struct xds_list unsubscribe; /* incremental */
    struct xds_list versions;    /* incremental: initial_resource_versions */
    int memo;                    /* names is what this memo remembers (and was not parsed), or -1 */
};

/*
 * memos: n_memos of them, looked at for a list of resource_names; may be NULL.
 * -EBADMSG when it is no such message, -E2BIG when a list or a name is too long; e says where.
 */
int xds_decode_sotw(const uint8_t *p, size_t n, const struct xds_memo *memos, int n_memos, struct xds_request *ret,
                    struct err *e);
int xds_decode_delta(const uint8_t *p, size_t n, struct xds_request *ret, struct err *e);

/*
 * Major, minor and patch of a _build_version (envoy.config.core.v3.BuildVersion), and a digest of all of it;
 * -EBADMSG: it is none. The digest does not depend on the order of its metadata, which is another one in each process
 * of Envoy.
 */
int xds_decode_build_version(struct xds_span bytes, uint64_t ret_numbers[3], uint64_t *ret_digest);

/* What a memo has to hold to recognize this list; length 0 when the list can't be remembered. */
struct xds_memo xds_list_memo(const struct xds_list *list);
/* The next entry of a list of texts; false at its end. Works on a copy of the list. */
bool xds_list_next(struct xds_list *list, struct xds_span *ret);
/* The next entry of a map of texts: 1, 0 at its end, -EBADMSG when it is none, -E2BIG when a text is too long. */
int xds_map_next(struct xds_list *list, struct xds_span *ret_key, struct xds_span *ret_value);

static inline bool xds_span_is(struct xds_span s, const char *text)
{
    size_t n = __builtin_strlen(text);

    return s.n == n && __builtin_memcmp(s.p, text, n) == 0;
}

#endif
