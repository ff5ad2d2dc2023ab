/*
 * Inspection of certificates and keys; the only file that knows OpenSSL's X.509.
 *
 * What Envoy (BoringSSL) would refuse is refused here, with a sentence: RSA below 2048 bits and curves it does not
 * have (source/common/tls/context_impl.cc). Messages never quote what was given: it may be a key. OpenSSL's queue of
 * errors is left empty.
 */
#include "store/secret.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { CHAIN_MAX = 16, RSA_BITS_MIN = 2048, DIGEST_HEX = 64, HASHES_MAX = 64 };

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

struct chain {
    X509 *certificates[CHAIN_MAX]; /* the leaf first */
    size_t count;
};

static void clear_chain(struct chain *c)
{
    for (size_t i = 0; i < c->count; i++)
        X509_free(c->certificates[i]);
}

/* 0, or -EINVAL when the text is missing or too large. */
static int check_length(const char *text, const char *what, struct err *e)
{
    size_t n = strnlen(text, SECRET_VALUE_MAX + 1);

    if (n > SECRET_VALUE_MAX)
        return err_set(e, -EINVAL, NULL, NULL, "the %s is larger than %d bytes", what, SECRET_VALUE_MAX);
    if (n == 0)
        return err_set(e, -EINVAL, NULL, NULL, "the %s is empty", what);
    return 0;
}

/* After a PEM reader returned NULL: whether that was just the end of the text. */
static bool at_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;

    ERR_clear_error();
    return end;
}

/* Nobody is ever asked for a password. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

static int read_chain(const char *pem, struct chain *c, struct err *e)
{
    _cleanup_(free_bio) BIO *bio = NULL;
    int r = check_length(pem, "certificate chain", e);

    if (r < 0)
        return r;
    bio = BIO_new_mem_buf(pem, -1);
    for (;;) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);

        if (!certificate)
            break;
        if (c->count == CHAIN_MAX) {
            X509_free(certificate);
            return err_set(e, -EINVAL, NULL, NULL, "the chain has more than %d certificates", CHAIN_MAX);
        }
        c->certificates[c->count++] = certificate;
    }
    if (!at_end())
        return err_set(e, -EINVAL, NULL, NULL, "certificate %zu of the chain is not readable", c->count + 1);
    if (c->count == 0)
        return err_set(e, -EINVAL, NULL, NULL, "the certificate chain has no certificate in PEM form");
    return 0;
}

static int check_order(const struct chain *c, struct err *e)
{
    for (size_t i = 0; i + 1 < c->count; i++) {
        X509 *subject = c->certificates[i], *issuer = c->certificates[i + 1];
        bool issued =
            X509_check_issued(issuer, subject) == X509_V_OK && X509_verify(subject, X509_get0_pubkey(issuer)) == 1;

        ERR_clear_error();
        if (!issued)
            return err_set(e, -EINVAL, NULL, NULL,
                           "the chain is not in order: certificate %zu was not issued by certificate %zu", i + 1,
                           i + 2);
    }
    return 0;
}

static int check_key_kind(const EVP_PKEY *key, struct err *e)
{
    static const char *const curves[] = {SN_X9_62_prime256v1, SN_secp384r1, SN_secp521r1};
    char curve[80] = "";

    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
        return 0;
    case EVP_PKEY_RSA:
        if (EVP_PKEY_get_bits(key) >= RSA_BITS_MIN)
            return 0;
        return err_set(e, -EINVAL, NULL, NULL, "an RSA key of %d bits is too weak: Envoy takes %d and more",
                       EVP_PKEY_get_bits(key), RSA_BITS_MIN);
    case EVP_PKEY_EC:
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve), NULL);
        for (size_t i = 0; i < ARRAY_LEN(curves); i++)
            if (strcmp(curve, curves[i]) == 0)
                return 0;
        return err_set(e, -EINVAL, NULL, NULL, "the key is on another curve than P-256, P-384 or P-521");
    default:
        return err_set(e, -EINVAL, NULL, NULL, "the key is neither RSA, nor EC, nor Ed25519");
    }
}

struct password {
    const char *text;
    bool asked;
};

static int give_password(char *buf, int size, int rwflag, void *arg)
{
    struct password *password = arg;
    size_t n = password->text ? strlen(password->text) : 0;

    (void)rwflag;
    password->asked = true;
    if (n == 0 || size < 0 || n > (size_t)size)
        return -1;
    memcpy(buf, password->text, n);
    return (int)n;
}

/*
 * OpenSSL 3.0 collects every decoder it has for each key that it reads, which takes a millisecond; for a known type
 * it takes a third. NULL when the text is no such key, or another block stands before it.
 */
static EVP_PKEY *read_key_like(const EVP_PKEY *public_key, const char *pem, struct password *password)
{
    const unsigned char *p = (const unsigned char *)pem;
    size_t n = strlen(pem);
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *context = OSSL_DECODER_CTX_new_for_pkey(&key, "PEM", NULL, EVP_PKEY_get0_type_name(public_key),
                                                              EVP_PKEY_KEYPAIR, NULL, NULL);

    if (context && OSSL_DECODER_CTX_set_pem_password_cb(context, give_password, password) == 1 &&
        OSSL_DECODER_from_data(context, &p, &n) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    OSSL_DECODER_CTX_free(context);
    ERR_clear_error();
    return key;
}

static EVP_PKEY *read_any_key(const char *pem, struct password *password)
{
    _cleanup_(free_bio) BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, password);

    ERR_clear_error();
    return key;
}

static int check_key(X509 *leaf, const char *pem, const char *password_text, struct err *e)
{
    struct password password = {.text = password_text};
    EVP_PKEY *public_key = X509_get0_pubkey(leaf);
    _cleanup_(free_key) EVP_PKEY *key = NULL;
    int r = check_length(pem, "private key", e);

    if (r < 0)
        return r;
    if (!public_key)
        return err_set(e, -EINVAL, NULL, NULL, "the certificate has a key of an unknown kind");
    key = read_key_like(public_key, pem, &password);
    if (!key)
        key = read_any_key(pem, &password);
    if (!key && password.asked)
        return err_set(e, -EINVAL, NULL, NULL,
                       password_text ? "the private key is encrypted and the password does not open it"
                                     : "the private key is encrypted and there is no password");
    if (!key)
        return err_set(e, -EINVAL, NULL, NULL,
                       strstr(pem, "PRIVATE KEY-----") ? "the private key is not readable"
                                                       : "the private key has no key in PEM form");
    if (EVP_PKEY_eq(public_key, key) != 1) {
        ERR_clear_error();
        return err_set(e, -EINVAL, NULL, NULL, "the private key does not belong to the certificate");
    }
    return check_key_kind(key, e);
}

/* ---- description ---- */

static const char *bio_text(BIO *bio, struct arena *arena)
{
    char *text;
    long n = BIO_get_mem_data(bio, &text);

    return arena_strndup(arena, text ? text : "", n > 0 ? (size_t)n : 0);
}

static const char *name_text(const X509_NAME *name, struct arena *arena)
{
    _cleanup_(free_bio) BIO *bio = BIO_new(BIO_s_mem());

    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    return bio_text(bio, arena);
}

static const char *serial_text(const X509 *certificate, struct arena *arena)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    char *hex = number ? BN_bn2hex(number) : NULL;
    const char *text = arena_strdup(arena, hex ? hex : "");

    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

static int64_t seconds(const ASN1_TIME *time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* NULL for what is no name of a host or holds a NUL character. */
static const char *alternative_name(const GENERAL_NAME *name, struct arena *arena)
{
    const ASN1_STRING *string;
    const unsigned char *bytes;
    char text[INET6_ADDRSTRLEN];
    size_t n;

    if (name->type != GEN_DNS && name->type != GEN_IPADD)
        return NULL;
    string = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
    bytes = ASN1_STRING_get0_data(string);
    n = (size_t)ASN1_STRING_length(string);
    if (name->type == GEN_DNS) {
        char *copy = arena_strndup(arena, (const char *)bytes, n);

        if (strlen(copy) != n)
            return NULL;
        for (char *p = copy; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        return copy;
    }
    if ((n != 4 && n != 16) || !inet_ntop(n == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text)))
        return NULL;
    return arena_strdup(arena, text);
}

static const char *common_name(X509 *leaf, struct arena *arena)
{
    X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *utf8 = NULL;
    const char *text = NULL;
    int n = -1;

    if (at >= 0)
        n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (n > 0 && strlen((char *)utf8) == (size_t)n) {
        char *copy = arena_strndup(arena, (char *)utf8, (size_t)n);

        for (char *p = copy; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        text = copy;
    }
    OPENSSL_free(utf8);
    return text;
}

/* RFC 6125, 6.4.4: the common name counts only where there are no alternative names. */
static void describe_names(X509 *leaf, struct arena *arena, struct certificate_info *info)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int n = names ? sk_GENERAL_NAME_num(names) : 0;

    info->names = arena_array(arena, const char *, (size_t)n + 1);
    for (int i = 0; i < n; i++) {
        const char *name = alternative_name(sk_GENERAL_NAME_value(names, i), arena);

        if (name)
            info->names[info->n_names++] = name;
    }
    if (info->n_names == 0) {
        const char *name = common_name(leaf, arena);

        if (name)
            info->names[info->n_names++] = name;
    }
    GENERAL_NAMES_free(names);
}

/* In PEM form, and nothing else. */
static const char *chain_text(const struct chain *c, struct arena *arena)
{
    _cleanup_(free_bio) BIO *bio = BIO_new(BIO_s_mem());

    for (size_t i = 0; i < c->count; i++)
        PEM_write_bio_X509(bio, c->certificates[i]);
    return bio_text(bio, arena);
}

static void describe(const struct chain *c, struct arena *arena, struct certificate_info *ret_info)
{
    static const char digits[] = "0123456789abcdef";
    X509 *leaf = c->certificates[0];
    struct certificate_info info = {.chain_length = c->count, .chain = chain_text(c, arena)};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    info.subject = name_text(X509_get_subject_name(leaf), arena);
    info.issuer = name_text(X509_get_issuer_name(leaf), arena);
    info.serial = serial_text(leaf, arena);
    info.not_before = seconds(X509_get0_notBefore(leaf));
    info.not_after = seconds(X509_get0_notAfter(leaf));
    if (X509_digest(leaf, EVP_sha256(), digest, &n) == 1)
        for (unsigned i = 0; i < n && i < DIGEST_HEX / 2; i++) {
            info.fingerprint[2 * i] = digits[digest[i] >> 4];
            info.fingerprint[2 * i + 1] = digits[digest[i] & 15];
        }
    info.ecdsa = EVP_PKEY_get_base_id(X509_get0_pubkey(leaf)) == EVP_PKEY_EC;
    describe_names(leaf, arena, &info);
    ERR_clear_error();
    *ret_info = info;
}

/* ---- the door ---- */

int certificate_inspect(const char *chain_pem, const char *key_pem, const char *password, struct arena *arena,
                        struct certificate_info *ret_info, struct err *e)
{
    _cleanup_(clear_chain) struct chain chain = {.count = 0};
    int r = read_chain(chain_pem, &chain, e);

    if (r == 0)
        r = check_order(&chain, e);
    if (r == 0)
        r = check_key(chain.certificates[0], key_pem, password, e);
    if (r == 0 && ret_info)
        describe(&chain, arena, ret_info);
    return r;
}

int trust_inspect(const char *ca_pem, struct err *e)
{
    _cleanup_(free_bio) BIO *bio = NULL;
    STACK_OF(X509_INFO) * infos;
    size_t certificates = 0;
    int r = check_length(ca_pem, "trusted_ca", e);

    if (r < 0)
        return r;
    /* Envoy shows trust anchors to whoever asks for its configuration. */
    if (strstr(ca_pem, "PRIVATE KEY-----"))
        return err_set(e, -EINVAL, NULL, NULL, "trusted_ca holds a private key, where only certificates belong");
    bio = BIO_new_mem_buf(ca_pem, -1);
    infos = PEM_X509_INFO_read_bio(bio, NULL, no_password, NULL);
    ERR_clear_error();
    if (!infos)
        return err_set(e, -EINVAL, NULL, NULL, "trusted_ca is not readable");
    for (int i = 0; i < sk_X509_INFO_num(infos); i++)
        certificates += sk_X509_INFO_value(infos, i)->x509 != NULL;
    sk_X509_INFO_pop_free(infos, X509_INFO_free);
    if (certificates == 0)
        return err_set(e, -EINVAL, NULL, NULL, "trusted_ca has no certificate in PEM form");
    return 0;
}

/* One digest of n characters, colons allowed between bytes. */
static bool normalize_digest(const char *p, size_t n, char hex[DIGEST_HEX + 1])
{
    size_t digits = 0;

    for (size_t i = 0; i < n; i++) {
        if (p[i] == ':' && digits % 2 == 0 && digits > 0 && digits < DIGEST_HEX)
            continue;
        if (!isxdigit((unsigned char)p[i]) || digits == DIGEST_HEX)
            return false;
        hex[digits++] = (char)tolower((unsigned char)p[i]);
    }
    hex[digits] = '\0';
    return digits == DIGEST_HEX;
}

int certificate_hash_normalize(const char *text, struct arena *arena, const char **ret_hashes, struct err *e)
{
    static const char separators[] = ", \t\r\n;";
    char all[HASHES_MAX * (DIGEST_HEX + 1)];
    size_t count = 0;

    for (const char *p = text + strspn(text, separators); *p; p += strspn(p, separators)) {
        size_t n = strcspn(p, separators);

        if (count == HASHES_MAX)
            return err_set(e, -EINVAL, NULL, NULL, "verify_certificate_hash has more than %d digests", HASHES_MAX);
        if (!normalize_digest(p, n, all + count * (DIGEST_HEX + 1)))
            return err_set(e, -EINVAL, NULL, NULL,
                           "digest %zu of verify_certificate_hash is no SHA-256 in hexadecimal", count + 1);
        all[count * (DIGEST_HEX + 1) + DIGEST_HEX] = ' ';
        count++;
        p += n;
    }
    if (count == 0)
        return err_set(e, -EINVAL, NULL, NULL, "verify_certificate_hash is empty");
    *ret_hashes = arena_strndup(arena, all, count * (DIGEST_HEX + 1) - 1);
    return 0;
}

bool certificate_covers(const struct certificate_info *info, const char *domain)
{
    const char *dot = strchr(domain, '.');

    for (size_t i = 0; i < info->n_names; i++) {
        const char *name = info->names[i];

        if (strcasecmp(name, domain) == 0)
            return true;
        if (strncmp(name, "*.", 2) == 0 && dot && dot > domain && strcasecmp(name + 1, dot) == 0)
            return true;
    }
    return false;
}

/* ---- a dummy ---- */

enum { DUMMY_SECONDS = 10 * 365 * 24 * 3600 };

static char *take_text(BIO *bio)
{
    char *text;
    long n = BIO_get_mem_data(bio, &text);

    return n > 0 ? mem_strndup(text, (size_t)n) : NULL;
}

static int sign_dummy(X509 *certificate, EVP_PKEY *key)
{
    static const unsigned char name[] = "dummy.invalid"; /* RFC 2606: nobody's */
    X509_NAME *subject = X509_get_subject_name(certificate);

    if (!X509_set_version(certificate, X509_VERSION_3) || !ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) ||
        !X509_gmtime_adj(X509_getm_notBefore(certificate), 0) ||
        !X509_gmtime_adj(X509_getm_notAfter(certificate), DUMMY_SECONDS) ||
        !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name, -1, -1, 0) ||
        !X509_set_issuer_name(certificate, subject) || !X509_set_pubkey(certificate, key) ||
        !X509_sign(certificate, key, EVP_sha256()))
        return -EIO;
    return 0;
}

int certificate_dummy(char **ret_chain_pem, char **ret_key_pem, struct err *e)
{
    _cleanup_(free_key) EVP_PKEY *key = EVP_EC_gen("P-256");
    _cleanup_(free_bio) BIO *chain_bio = BIO_new(BIO_s_mem());
    _cleanup_(free_bio) BIO *key_bio = BIO_new(BIO_s_mem());
    X509 *certificate = X509_new();
    bool good = key && chain_bio && key_bio && certificate && sign_dummy(certificate, key) == 0 &&
                PEM_write_bio_X509(chain_bio, certificate) &&
                PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);

    X509_free(certificate);
    ERR_clear_error();
    if (!good)
        return err_set(e, -EIO, NULL, NULL, "a dummy certificate can't be made");
    *ret_chain_pem = take_text(chain_bio);
    *ret_key_pem = take_text(key_bio);
    return 0;
}
