/*
 * The client's side of xDS messages for tests, made and read with protobuf-c (so that the server's own decoder and
 * encoder are held against another implementation); and resources and batches as a translation would make them.
 */
#ifndef TESTS_UNIT_XDS_WIRE_H
#define TESTS_UNIT_XDS_WIRE_H

#include "base/hash.h"
#include "proto/resource.h"
#include "server/xds_session.h"
#include "server/xds_table.h"

#include <stdbool.h>

/* A list of texts. */
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- requests ---- */

/* Texts may be NULL; lists end with NULL. */
struct wire_request {
    const char *type_url;
    enum xds_type type; /* unless type_url is set */
    const char *version, *nonce;
    const char *const *names;                       /* incremental: to subscribe */
    const char *const *unsubscribe;                 /* incremental */
    const char *const *have, *const *have_versions; /* incremental: initial_resource_versions */
    const char *refusal;                            /* error_detail's message */
    const char *node_id, *node_cluster, *node_gateway;
    size_t n_names; /* of names, when it does not end with NULL; 0: it does */
};

/* The caller frees with mem_free(). */
uint8_t *wire_pack(enum xds_variant variant, const struct wire_request *r, size_t *ret_len);

/* ---- responses ---- */

struct wire_resource {
    char *name;
    char version[17]; /* incremental only */
    uint8_t *bytes;   /* of the resource's message */
    size_t len;
};

struct wire_response {
    char *version, *type_url, *nonce;
    enum xds_type type;
    struct wire_resource *resources;
    size_t n_resources;
    char **removed; /* incremental */
    size_t n_removed;
};

/* NULL when the bytes are no valid response. */
struct wire_response *wire_unpack(enum xds_variant variant, const uint8_t *p, size_t n);
void wire_response_free(struct wire_response *r);
const struct wire_resource *wire_find(const struct wire_response *r, const char *name);
bool wire_is_removed(const struct wire_response *r, const char *name);

/* ---- sessions ---- */

/* The session must take the request. */
void wire_session_send(struct xds_session *s, enum xds_variant variant, const struct wire_request *r, clock_ns now);
/* What the session sends next; NULL: nothing. The stream must not end. */
struct wire_response *wire_session_next(struct xds_session *s, enum xds_variant variant, clock_ns now);
/* A message in one piece (mem_free()). */
uint8_t *wire_message(const struct xds_message *m, size_t *ret_len);

/* ---- resources ---- */

/* A message whose field 1 is the name, as all five types have it, and that differs with content (a text). Lists end
 * with NULL and may be NULL. */
struct resource *wire_resource_new(enum xds_type type, const char *name, const char *content,
                                   const char *const *clusters, const char *const *routes,
                                   const char *const *secrets);
/* The content of such a message; mem_free() it. */
char *wire_content(const uint8_t *bytes, size_t len);

/* A batch in the making: changes are sorted when it is finished. */
struct wire_batch;
struct wire_batch *wire_batch_new(void);
void wire_batch_gateway(struct wire_batch *b, const char *gateway);
/* Takes the reference; r NULL: the resource is gone. */
void wire_batch_change(struct wire_batch *b, const char *gateway, enum xds_type type, const char *name,
                       struct resource *r);
/* content NULL: it is gone. */
void wire_batch_put(struct wire_batch *b, const char *gateway, enum xds_type type, const char *name,
                    const char *content);
/* A cluster without an assignment. */
void wire_batch_put_static(struct wire_batch *b, const char *gateway, const char *name, const char *content);
/* Frees b. */
struct xds_batch *wire_batch_finish(struct wire_batch *b, uint64_t revision, bool complete);
void wire_batch_apply(struct wire_batch *b, struct xds_directory *d, uint64_t revision, bool complete);

#endif
