/*
 * Secrets: certificates, keys and trust anchors of the agent's `sec` objects (and later of the API), inspected before
 * anybody is sent them. Immutable, counted, readable from any thread; private keys are wiped when freed.
 *
 * Inspection (X.509: RFC 5280, PEM: RFC 7468) is pure and uses OpenSSL behind this door only.
 */
#ifndef STORE_SECRET_H
#define STORE_SECRET_H

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum { SECRET_VALUE_MAX = 1 << 20 }; /* bytes of one key's value */

/* The keys of a secret that mean something to a gateway; each may be NULL. */
struct secret_values {
    const char *certificate_chain;
    const char *private_key; /* key "private_key", else "server_key" */
    const char *password;    /* of the private key */
    const char *trusted_ca;
    const char *verify_certificate_hash;
};

struct certificate_info {
    const char *subject, *issuer, *serial; /* RFC 4514 texts; hexadecimal */
    const char **names; /* DNS (lower case) and IP subject alternative names, else the common name */
    size_t n_names;
    bool ecdsa; /* the leaf's key; among several certificates a client that takes it is shown this one */
    int64_t not_before, not_after; /* seconds since 1970 */
    char fingerprint[65];          /* SHA-256 of the leaf, hexadecimal */
    size_t chain_length;
    const char
        *chain; /* PEM of the certificates alone, whatever else stood in the text: chains are shown to anybody */
};

/*
 * What can be served of a secret. A pair that is bad does not replace a good one: `pair` is the last that fitted, and
 * pair_problem says what is wrong with the newest; trust (trusted_ca) likewise.
 */
struct secret {
    int refs;         /* atomic */
    const char *path; /* "test/sec/web1-cert" */
    const char *csum; /* of the newest values; "" when they were never read */
    bool has_pair;
    const char *certificate_chain; /* as in info */
    const char *private_key, *password;
    struct certificate_info info; /* of the pair's leaf */
    const char *pair_problem;     /* NULL, or a sentence without any secret in it */
    bool has_trust;
    const char *trusted_ca;
    const char *verify_certificate_hash; /* NULL, or SHA-256 in 64 lower-case digits each, one blank between them */
    const char *trust_problem;
    struct arena *arena;
    size_t private_key_len, password_len;
};

/*
 * Inspects values and makes a secret of them; what is bad is taken from before (may be NULL). missing: the object or
 * its keys can't be read, in the agent's words, or NULL. Never fails.
 */
struct secret *secret_new(const char *path, const char *csum, const struct secret_values *values, const char *missing,
                          const struct secret *before);
/* Of a certificate document's body (store/document.h); NULL when it is no object of such texts. */
struct secret *secret_of_body(const char *path, const char *body);
struct secret *secret_ref(struct secret *s);
void secret_unref(struct secret *s);
define_cleanup(struct secret *, secret_unref)

/*
 * Checks a pair: PEM parses, the chain is in order (each certificate is issued by the next), the key fits the leaf.
 * 0 and, where wanted, the leaf's description in the arena; or -EINVAL with a sentence. An expired one is good.
 */
int certificate_inspect(const char *chain_pem, const char *key_pem, const char *password, struct arena *arena,
                        struct certificate_info *ret_info, struct err *e);
/* A self-signed pair of its own that nobody has to trust, as PEM; mem_free() both. */
int certificate_dummy(char **ret_chain_pem, char **ret_key_pem, struct err *e);
/* Checks a bundle of trust anchors; it may hold revocation lists. -EINVAL with a sentence. */
int trust_inspect(const char *ca_pem, struct err *e);
/* Hexadecimal SHA-256 digests, colons within and commas or blanks between them, to the form that a secret has. */
int certificate_hash_normalize(const char *text, struct arena *arena, const char **ret_hashes, struct err *e);
/* Whether one of the certificate's names covers a domain (RFC 6125; wildcards in the leftmost label). */
bool certificate_covers(const struct certificate_info *info, const char *domain);

#endif
