/* Certificates for tests, made on the spot. Texts belong to the certificate. */
#ifndef TESTS_UNIT_CERTS_H
#define TESTS_UNIT_CERTS_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum test_key_kind {
    TEST_KEY_EC, /* P-256 */
    TEST_KEY_RSA,
    TEST_KEY_ED25519,
    TEST_KEY_RSA_1024,
    TEST_KEY_SECP256K1,
};

struct test_certificate {
    const char *pem, *key_pem;
    const char *fingerprint; /* SHA-256 in lower-case hexadecimal */
    void *certificate, *key; /* OpenSSL's */
};

struct test_certificate_options {
    const char *common_name;
    const char *names; /* subject alternative names as OpenSSL writes them: "DNS:a.org,IP:10.0.0.1"; may be NULL */
    enum test_key_kind kind;
    const struct test_certificate *issuer; /* NULL: signed by itself */
    bool ca;
    int64_t not_before, not_after; /* seconds from now; both 0: a day ago, in a year */
};

struct test_certificate *test_certificate_new(const struct test_certificate_options *o);
void test_certificate_free(struct test_certificate *c);
define_cleanup(struct test_certificate *, test_certificate_free)
/* A host's certificate signed by itself. */
struct test_certificate *test_certificate_for(const char *name);
/* Its key, encrypted (PKCS #8); mem_free() it. */
char *test_certificate_encrypt_key(const struct test_certificate *c, const char *password);

#endif
