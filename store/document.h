/*
 * Documents: what people made over the API, and revisions: who changed what, when, why. Immutable, counted, readable
 * from any thread. They live in config.db and are part of every view.
 *
 * What the agent said and what people said are two sources with one truth per field: an override is laid over the
 * agent's declaration when it is decoded (store/overlay.h), and never written into it. An override of an exposure
 * that the agent does not declare (any more) is inert: kept, shown, and in effect again when the exposure returns.
 */
#ifndef STORE_DOCUMENT_H
#define STORE_DOCUMENT_H

#include "base/mem.h"
#include "base/pmap.h"

#include <stdbool.h>
#include <stdint.h>

/* Names and bodies; a body is the canonical JSON (json_canonical()) of an object. */
enum document_kind {
    DOCUMENT_GATEWAY,  /* NAME; {"port_min", "port_max", "allow_files", "allow_cluster_header", "cluster_data", ...},
                           * each optional (gateway_wish_fields) */
    DOCUMENT_EXPOSURE, /* PATH.expose#N; a whole exposure in its nested form (store/spec.h) */
    DOCUMENT_OVERRIDE, /* PATH.expose#N; a merge patch (RFC 7396) over the nested form of the agent's */
    DOCUMENT_CERTIFICATE, /* path of a secret; {"certificate_chain", "private_key", "password", "trusted_ca",
                           * "verify_certificate_hash"}, texts */
    DOCUMENT_DRAIN,       /* EXPOSURE|ADDR:PORT ([ADDR]:PORT); {"reason"} */
    DOCUMENT_GRANT,       /* NAMESPACE|secret|PATH or NAMESPACE|domain|NAME; {"reason"} */
    DOCUMENT_TOKEN,       /* 16 hexadecimal digits, the first of its SHA-256; what api/ wants to know of it */
    DOCUMENT_KINDS,
};

/* Limits (law 11). They are checked by store_edit(): -EMSGSIZE, -ENOSPC. An exposure's name is a part of longer names
 * in Envoy. */
enum { DOCUMENT_BODY_MAX = 1 << 20, DOCUMENTS_MAX = 100000, DOCUMENT_NAME_MAX = 1024, EXPOSURE_NAME_MAX = 256 };

/* A member of an override's body: who set it to what it is, and since when it is there. */
struct document_member {
    const char *field, *author;
    uint64_t revision;        /* that changed it last */
    int64_t created, updated; /* ms since 1970 */
};

struct document {
    int refs; /* atomic */
    enum document_kind kind;
    const char *key; /* KIND/NAME: in the view's map */
    const char *name;
    const char *body;         /* may hold secrets: it goes nowhere without a look at what it is */
    const char *author;       /* who changed it last */
    uint64_t revision;        /* that changed it last */
    int64_t created, updated; /* ms since 1970 */
    size_t body_len;
    struct document_member *members; /* of an override, in the body's order */
    size_t n_members;
    struct arena *arena;
};

/* "gateway", "exposure", "override", ... */
const char *document_kind_name(enum document_kind kind);
/* -EINVAL: no such kind. */
int document_kind_parse(const char *text, enum document_kind *ret);
/* Texts are copied. */
struct document *document_new(enum document_kind kind, const char *name, const char *body, const char *author,
                              uint64_t revision, int64_t created, int64_t updated);
/* Once, before anybody else knows the document. Copied. */
void document_set_members(struct document *d, const struct document_member *members, size_t n);
/* Of a member that is not known apart, what is known of the whole. Borrowed from the document. */
struct document_member document_member(const struct document *d, const char *field);
struct document *document_ref(struct document *d);
void document_unref(struct document *d); /* NULL is allowed; wipes the body */
define_cleanup(struct document *, document_unref)

/* In one revision, of one document. */
struct document_change {
    enum document_kind kind;
    const char *name;
    struct document *before, *after; /* NULL: it was made, it was removed */
};

struct revision {
    int refs;     /* atomic */
    char key[17]; /* the number in hexadecimal digits: in the view's map, in order */
    uint64_t number;
    int64_t time;              /* ms since 1970 */
    const char *cause;         /* "agent: patch 17", "PUT /api/v1/exposures/web.expose%230" */
    const char *author;        /* NULL: nobody, the agent's word or the daemon's own */
    const char *request_id;    /* of the API's request; NULL */
    const char *const *names;  /* "service web", "listener envoy|0.0.0.0:80/TCP": the first of what changed */
    size_t n_names, n_changed; /* names that are told, and how many there were */
    const struct document_change *documents; /* sorted by kind's name, name */
    size_t n_documents;
    struct arena *arena;
};

struct revision *revision_ref(struct revision *r);
void revision_unref(struct revision *r); /* NULL is allowed */
void revision_key(uint64_t number, char ret[17]);

#endif
