/* Certificates for tests. What can't fail is asserted. */
#include "tests/unit/certs.h"

#include <assert.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

enum { DAY = 24 * 3600 };

static EVP_PKEY *make_key(enum test_key_kind kind)
{
    EVP_PKEY *key = NULL;

    switch (kind) {
    case TEST_KEY_EC:
        key = EVP_EC_gen("P-256");
        break;
    case TEST_KEY_RSA:
        key = EVP_RSA_gen(2048);
        break;
    case TEST_KEY_ED25519:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    case TEST_KEY_RSA_1024:
        key = EVP_RSA_gen(1024);
        break;
    case TEST_KEY_SECP256K1:
        key = EVP_EC_gen("secp256k1");
        break;
    }
    assert(key);
    return key;
}

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;
    int r;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert(extension);
    r = X509_add_ext(certificate, extension, -1);
    assert(r == 1);
    X509_EXTENSION_free(extension);
}

static void set_serial(X509 *certificate)
{
    uint64_t serial;
    int r = RAND_bytes((unsigned char *)&serial, sizeof(serial));

    assert(r == 1);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1);
}

static X509 *make_certificate(const struct test_certificate_options *o, EVP_PKEY *key)
{
    bool default_time = o->not_before == 0 && o->not_after == 0;
    X509 *certificate = X509_new();
    X509 *issuer = o->issuer ? o->issuer->certificate : certificate;
    EVP_PKEY *issuer_key = o->issuer ? o->issuer->key : key;
    X509_NAME *name = X509_get_subject_name(certificate);
    int r;

    X509_set_version(certificate, X509_VERSION_3);
    set_serial(certificate);
    X509_gmtime_adj(X509_getm_notBefore(certificate), default_time ? -DAY : (long)o->not_before);
    X509_gmtime_adj(X509_getm_notAfter(certificate), default_time ? 365L * DAY : (long)o->not_after);
    r = X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)o->common_name, -1, -1, 0);
    assert(r == 1);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    X509_set_pubkey(certificate, key);
    add_extension(certificate, issuer, NID_basic_constraints, o->ca ? "critical,CA:TRUE" : "CA:FALSE");
    add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
    if (o->issuer)
        add_extension(certificate, issuer, NID_authority_key_identifier, "keyid");
    if (o->names)
        add_extension(certificate, issuer, NID_subject_alt_name, o->names);
    r = X509_sign(certificate, issuer_key,
                  EVP_PKEY_get_base_id(issuer_key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256());
    assert(r > 0);
    return certificate;
}

static char *take_text(BIO *bio)
{
    char *text;
    long n = BIO_get_mem_data(bio, &text);
    char *copy = mem_strndup(text, (size_t)n);

    BIO_free(bio);
    return copy;
}

struct test_certificate *test_certificate_new(const struct test_certificate_options *o)
{
    struct test_certificate *c = mem_new(struct test_certificate);
    EVP_PKEY *key = make_key(o->kind);
    X509 *certificate = make_certificate(o, key);
    BIO *bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
    unsigned char digest[EVP_MAX_MD_SIZE];
    char *hex = mem_alloc(65);
    unsigned n;
    int r = PEM_write_bio_X509(bio, certificate);

    assert(r == 1);
    r = PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
    assert(r == 1);
    r = X509_digest(certificate, EVP_sha256(), digest, &n);
    assert(r == 1 && n == 32);
    for (unsigned i = 0; i < n; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    *c = (struct test_certificate){.pem = take_text(bio),
                                   .key_pem = take_text(key_bio),
                                   .fingerprint = hex,
                                   .certificate = certificate,
                                   .key = key};
    return c;
}

void test_certificate_free(struct test_certificate *c)
{
    if (!c)
        return;
    X509_free(c->certificate);
    EVP_PKEY_free(c->key);
    mem_free((char *)(uintptr_t)c->pem);
    mem_free((char *)(uintptr_t)c->key_pem);
    mem_free((char *)(uintptr_t)c->fingerprint);
    mem_free(c);
}

struct test_certificate *test_certificate_for(const char *name)
{
    char *names = mem_printf("DNS:%s", name);
    struct test_certificate *c =
        test_certificate_new(&(struct test_certificate_options){.common_name = name, .names = names});

    mem_free(names);
    return c;
}

char *test_certificate_encrypt_key(const struct test_certificate *c, const char *password)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int r =
        PEM_write_bio_PKCS8PrivateKey(bio, c->key, EVP_aes_256_cbc(), password, (int)strlen(password), NULL, NULL);

    assert(r == 1);
    return take_text(bio);
}
