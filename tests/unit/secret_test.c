/* Secrets and certificates: what is taken, what is refused and how it is said, what stays. */
#include "store/secret.h"

#include "base/clock.h"
#include "tests/unit/certs.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static char *join(const char *a, const char *b)
{
    return mem_printf("%s%s", a, b);
}

/* The sentence of the refusal, "" when it is good. */
static const char *inspect(const char *chain, const char *key, const char *password)
{
    static struct err e;
    int r;

    e = (struct err){0};
    r = certificate_inspect(chain, key, password, NULL, NULL, &e);
    CHECK(r == 0 || r == -EINVAL);
    CHECK(r == 0 || e.text[0]);
    return r == 0 ? "" : e.text;
}

TEST(certificates_of_each_kind_of_key_are_good)
{
    static const enum test_key_kind kinds[] = {TEST_KEY_EC, TEST_KEY_RSA, TEST_KEY_ED25519};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct test_certificate *c = test_certificate_new(
            &(struct test_certificate_options){.common_name = "a.org", .names = "DNS:a.org", .kind = kinds[i]});

        CHECK_STR(inspect(c->pem, c->key_pem, NULL), "");
        test_certificate_free(c);
    }
}

TEST(what_envoy_would_refuse_is_refused)
{
    struct test_certificate *weak =
        test_certificate_new(&(struct test_certificate_options){.common_name = "a.org", .kind = TEST_KEY_RSA_1024});
    struct test_certificate *curve =
        test_certificate_new(&(struct test_certificate_options){.common_name = "a.org", .kind = TEST_KEY_SECP256K1});

    CHECK_STR(inspect(weak->pem, weak->key_pem, NULL),
              "an RSA key of 1024 bits is too weak: Envoy takes 2048 and more");
    CHECK_STR(inspect(curve->pem, curve->key_pem, NULL), "the key is on another curve than P-256, P-384 or P-521");
    test_certificate_free(weak);
    test_certificate_free(curve);
}

TEST(a_key_of_another_certificate_is_refused)
{
    struct test_certificate *a = test_certificate_for("a.org"), *b = test_certificate_for("b.org");
    struct test_certificate *rsa =
        test_certificate_new(&(struct test_certificate_options){.common_name = "a.org", .kind = TEST_KEY_RSA});
    static const char text[] = "the private key does not belong to the certificate";

    CHECK_STR(inspect(a->pem, b->key_pem, NULL), text);
    CHECK_STR(inspect(a->pem, rsa->key_pem, NULL), text);
    test_certificate_free(a);
    test_certificate_free(b);
    test_certificate_free(rsa);
}

TEST(a_chain_must_be_in_order)
{
    struct test_certificate *root =
        test_certificate_new(&(struct test_certificate_options){.common_name = "root", .ca = true});
    struct test_certificate *middle =
        test_certificate_new(&(struct test_certificate_options){.common_name = "middle", .ca = true, .issuer = root});
    struct test_certificate *leaf = test_certificate_new(
        &(struct test_certificate_options){.common_name = "a.org", .names = "DNS:a.org", .issuer = middle});
    struct test_certificate *impostor =
        test_certificate_new(&(struct test_certificate_options){.common_name = "middle", .ca = true});
    char *short_chain = join(leaf->pem, middle->pem);
    char *whole = join(short_chain, root->pem);
    char *skipped = join(leaf->pem, root->pem);
    char *reversed = join(middle->pem, leaf->pem);
    char *forged = join(leaf->pem, impostor->pem);

    CHECK_STR(inspect(leaf->pem, leaf->key_pem, NULL), "");
    CHECK_STR(inspect(short_chain, leaf->key_pem, NULL), "");
    CHECK_STR(inspect(whole, leaf->key_pem, NULL), "");
    CHECK_STR(inspect(skipped, leaf->key_pem, NULL),
              "the chain is not in order: certificate 1 was not issued by certificate 2");
    CHECK_STR(inspect(reversed, leaf->key_pem, NULL),
              "the chain is not in order: certificate 1 was not issued by certificate 2");
    CHECK_STR(inspect(forged, leaf->key_pem, NULL),
              "the chain is not in order: certificate 1 was not issued by certificate 2");
    mem_free(short_chain);
    mem_free(whole);
    mem_free(skipped);
    mem_free(reversed);
    mem_free(forged);
    test_certificate_free(root);
    test_certificate_free(middle);
    test_certificate_free(leaf);
    test_certificate_free(impostor);
}

TEST(an_encrypted_key_needs_its_password)
{
    struct test_certificate *c = test_certificate_for("a.org");
    char *key = test_certificate_encrypt_key(c, "sesame");

    CHECK_STR(inspect(c->pem, key, "sesame"), "");
    CHECK_STR(inspect(c->pem, key, NULL), "the private key is encrypted and there is no password");
    CHECK_STR(inspect(c->pem, key, "wrong"), "the private key is encrypted and the password does not open it");
    CHECK_STR(inspect(c->pem, c->key_pem, "not needed"), "");
    mem_free(key);
    test_certificate_free(c);
}

TEST(garbage_is_refused_without_a_word_of_it)
{
    struct test_certificate *c = test_certificate_for("a.org");
    char *half = mem_strndup(c->pem, strlen(c->pem) / 2), *half_key = mem_strndup(c->key_pem, 60);
    char *bad_base64 = mem_strdup(c->pem), *bad_der = mem_strdup(c->pem);
    static const char not_der[] = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
    static const char not_key[] = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    char *second = join(c->pem, not_der);
    const struct {
        const char *chain, *key, *text;
    } cases[] = {
        {"", c->key_pem, "the certificate chain is empty"},
        {c->pem, "", "the private key is empty"},
        {"top secret", c->key_pem, "the certificate chain has no certificate in PEM form"},
        {c->pem, "top secret", "the private key has no key in PEM form"},
        {c->key_pem, c->key_pem, "the certificate chain has no certificate in PEM form"},
        {c->pem, c->pem, "the private key has no key in PEM form"},
        {half, c->key_pem, "certificate 1 of the chain is not readable"},
        {c->pem, half_key, "the private key is not readable"},
        {not_der, c->key_pem, "certificate 1 of the chain is not readable"},
        {second, c->key_pem, "certificate 2 of the chain is not readable"},
        {c->pem, not_key, "the private key is not readable"},
    };

    memset(bad_base64 + 40, '!', 8);
    CHECK_STR(inspect(bad_base64, c->key_pem, NULL), "certificate 1 of the chain is not readable");
    memset(bad_der + 28, 'A', 8);
    CHECK_STR(inspect(bad_der, c->key_pem, NULL), "certificate 1 of the chain is not readable");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK_STR(inspect(cases[i].chain, cases[i].key, NULL), cases[i].text);
    mem_free(half);
    mem_free(half_key);
    mem_free(bad_base64);
    mem_free(bad_der);
    mem_free(second);
    test_certificate_free(c);
}

TEST(texts_above_the_limit_are_refused)
{
    struct test_certificate *c = test_certificate_for("a.org");
    char *large = mem_alloc(SECRET_VALUE_MAX + 2);

    memset(large, 'x', SECRET_VALUE_MAX + 1);
    CHECK_STR(inspect(large, c->key_pem, NULL), "the certificate chain is larger than 1048576 bytes");
    CHECK_STR(inspect(c->pem, large, NULL), "the private key is larger than 1048576 bytes");
    mem_free(large);
    test_certificate_free(c);
}

TEST(a_long_chain_is_refused)
{
    struct test_certificate *c = test_certificate_for("a.org");
    char *chain = mem_strdup(c->pem);

    for (int i = 0; i < 16; i++) {
        char *longer = join(chain, c->pem);

        mem_free(chain);
        chain = longer;
    }
    CHECK_STR(inspect(chain, c->key_pem, NULL), "the chain has more than 16 certificates");
    mem_free(chain);
    test_certificate_free(c);
}

TEST(expired_and_future_certificates_are_good_and_tell_their_time)
{
    int64_t now = (int64_t)clock_wall();
    struct test_certificate *old = test_certificate_new(
        &(struct test_certificate_options){.common_name = "a.org", .not_before = -7200, .not_after = -3600});
    struct test_certificate *young = test_certificate_new(
        &(struct test_certificate_options){.common_name = "a.org", .not_before = 3600, .not_after = 7200});
    struct arena *arena = arena_new();
    struct certificate_info info;

    CHECK_INT(certificate_inspect(old->pem, old->key_pem, NULL, arena, &info, NULL), 0);
    CHECK(info.not_after >= now - 3605 && info.not_after <= now - 3595);
    CHECK(info.not_before >= now - 7205 && info.not_before <= now - 7195);
    CHECK_INT(certificate_inspect(young->pem, young->key_pem, NULL, arena, &info, NULL), 0);
    CHECK(info.not_before >= now + 3595 && info.not_before <= now + 3605);
    arena_free(arena);
    test_certificate_free(old);
    test_certificate_free(young);
}

TEST(a_certificate_is_described)
{
    struct test_certificate *root =
        test_certificate_new(&(struct test_certificate_options){.common_name = "Röot, Ltd", .ca = true});
    struct test_certificate *c = test_certificate_new(
        &(struct test_certificate_options){.common_name = "ignored.org",
                                           .names = "DNS:WWW.a.org,DNS:*.b.org,IP:10.0.0.1,IP:fd00::1,email:me@a.org",
                                           .issuer = root});
    char *chain = join(c->pem, root->pem);
    struct arena *arena = arena_new();
    struct certificate_info info;
    static const char *const names[] = {"www.a.org", "*.b.org", "10.0.0.1", "fd00::1"};

    CHECK_INT(certificate_inspect(chain, c->key_pem, NULL, arena, &info, NULL), 0);
    CHECK_STR(info.subject, "CN=ignored.org");
    CHECK_STR(info.issuer, "CN=Röot\\, Ltd");
    CHECK_STR(info.fingerprint, c->fingerprint);
    CHECK_INT(info.chain_length, 2);
    CHECK(strlen(info.serial) > 8 && strspn(info.serial, "0123456789ABCDEF") == strlen(info.serial));
    CHECK_INT(info.n_names, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        CHECK_STR(info.names[i], names[i]);
    mem_free(chain);
    arena_free(arena);
    test_certificate_free(c);
    test_certificate_free(root);
}

TEST(the_common_name_counts_only_without_alternative_names)
{
    struct test_certificate *c = test_certificate_new(&(struct test_certificate_options){.common_name = "Old.org"});
    struct arena *arena = arena_new();
    struct certificate_info info;

    CHECK_INT(certificate_inspect(c->pem, c->key_pem, NULL, arena, &info, NULL), 0);
    CHECK_INT(info.n_names, 1);
    CHECK_STR(info.names[0], "old.org");
    arena_free(arena);
    test_certificate_free(c);
}

TEST(a_wildcard_covers_one_label)
{
    const char *names[] = {"a.org", "*.b.org"};
    struct certificate_info info = {.names = names, .n_names = 2};

    CHECK(certificate_covers(&info, "a.org"));
    CHECK(certificate_covers(&info, "A.ORG"));
    CHECK(certificate_covers(&info, "x.b.org"));
    CHECK(certificate_covers(&info, "*.b.org"));
    CHECK(!certificate_covers(&info, "b.org"));
    CHECK(!certificate_covers(&info, "x.y.b.org"));
    CHECK(!certificate_covers(&info, ".b.org"));
    CHECK(!certificate_covers(&info, "x.a.org"));
    CHECK(!certificate_covers(&info, "localhost"));
}

TEST(trust_anchors_are_certificates_and_nothing_secret)
{
    struct test_certificate *a = test_certificate_for("a"), *b = test_certificate_for("b");
    char *two = join(a->pem, b->pem), *with_key = join(a->pem, a->key_pem), *half = mem_strndup(a->pem, 200);
    struct err e = {0};

    CHECK_INT(trust_inspect(a->pem, &e), 0);
    CHECK_INT(trust_inspect(two, &e), 0);
    CHECK_INT(trust_inspect(with_key, &e), -EINVAL);
    CHECK_STR(e.text, "trusted_ca holds a private key, where only certificates belong");
    CHECK_INT(trust_inspect(half, &e), -EINVAL);
    CHECK_STR(e.text, "trusted_ca is not readable");
    CHECK_INT(trust_inspect("nothing", &e), -EINVAL);
    CHECK_STR(e.text, "trusted_ca has no certificate in PEM form");
    CHECK_INT(trust_inspect("", &e), -EINVAL);
    CHECK_STR(e.text, "the trusted_ca is empty");
    mem_free(two);
    mem_free(with_key);
    mem_free(half);
    test_certificate_free(a);
    test_certificate_free(b);
}

#define HASH_A "aa00000000000000000000000000000000000000000000000000000000000001"
#define HASH_B "bb00000000000000000000000000000000000000000000000000000000000002"

TEST(certificate_hashes_are_brought_to_one_form)
{
    static const struct {
        const char *text, *hashes, *fault;
    } cases[] = {
        {HASH_A, HASH_A, NULL},
        {"AA00000000000000000000000000000000000000000000000000000000000001", HASH_A, NULL},
        {" " HASH_A ",\n" HASH_B " ", HASH_A " " HASH_B, NULL},
        {"aa:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01", HASH_A,
         NULL},
        {" , ", NULL, "verify_certificate_hash is empty"},
        {HASH_A " " HASH_B "0", NULL, "digest 2 of verify_certificate_hash is no SHA-256 in hexadecimal"},
        {"abcd", NULL, "digest 1 of verify_certificate_hash is no SHA-256 in hexadecimal"},
        {"ga00000000000000000000000000000000000000000000000000000000000001", NULL,
         "digest 1 of verify_certificate_hash is no SHA-256 in hexadecimal"},
        {HASH_A ":", NULL, "digest 1 of verify_certificate_hash is no SHA-256 in hexadecimal"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new();
        const char *hashes = NULL;
        struct err e = {0};
        int r = certificate_hash_normalize(cases[i].text, arena, &hashes, &e);

        CHECK_INT(r, cases[i].fault ? -EINVAL : 0);
        CHECK_STR(hashes, cases[i].hashes);
        if (cases[i].fault)
            CHECK_STR(e.text, cases[i].fault);
        arena_free(arena);
    }
}

/* ---- secrets ---- */

TEST(a_good_pair_is_served_as_certificates_and_key)
{
    struct test_certificate *c = test_certificate_for("a.org");
    char *combined = mem_printf("# mine\n%s%s", c->key_pem, c->pem);
    struct secret *s =
        secret_new("test/sec/a", "c1",
                   &(struct secret_values){.certificate_chain = combined, .private_key = combined}, NULL, NULL);

    CHECK(s->has_pair && !s->pair_problem && !s->has_trust && !s->trust_problem);
    CHECK_STR(s->path, "test/sec/a");
    CHECK_STR(s->csum, "c1");
    /* The key that stood in the chain is not shown to anybody. */
    CHECK_STR(s->certificate_chain, c->pem);
    CHECK_STR(s->private_key, combined);
    CHECK_INT(s->private_key_len, strlen(combined));
    CHECK_STR(s->info.fingerprint, c->fingerprint);
    secret_unref(s);
    mem_free(combined);
    test_certificate_free(c);
}

TEST(the_last_good_pair_stays_while_the_newest_does_not_fit)
{
    struct test_certificate *a = test_certificate_for("a.org"), *b = test_certificate_for("b.org");
    struct secret *first = secret_new(
        "s", "1", &(struct secret_values){.certificate_chain = a->pem, .private_key = a->key_pem}, NULL, NULL);
    struct secret *half = secret_new(
        "s", "2", &(struct secret_values){.certificate_chain = b->pem, .private_key = a->key_pem}, NULL, first);
    struct secret *whole;

    secret_unref(first);
    CHECK(half->has_pair);
    CHECK_STR(half->csum, "2");
    CHECK_STR(half->pair_problem, "the private key does not belong to the certificate");
    CHECK_STR(half->certificate_chain, a->pem);
    CHECK_STR(half->private_key, a->key_pem);
    CHECK_STR(half->info.names[0], "a.org");
    CHECK_STR(half->info.fingerprint, a->fingerprint);
    whole = secret_new("s", "3", &(struct secret_values){.certificate_chain = b->pem, .private_key = b->key_pem},
                       NULL, half);
    CHECK(whole->has_pair && !whole->pair_problem);
    CHECK_STR(whole->certificate_chain, b->pem);
    CHECK_STR(whole->info.names[0], "b.org");
    secret_unref(half);
    secret_unref(whole);
    test_certificate_free(a);
    test_certificate_free(b);
}

TEST(what_can_not_be_read_keeps_what_was_good)
{
    struct test_certificate *a = test_certificate_for("a.org");
    struct secret *first = secret_new("s", "1",
                                      &(struct secret_values){.certificate_chain = a->pem,
                                                              .private_key = a->key_pem,
                                                              .trusted_ca = a->pem,
                                                              .verify_certificate_hash = HASH_A},
                                      NULL, NULL);
    struct secret *lost = secret_new("s", "", NULL, "no such object", first);
    struct secret *emptied = secret_new("s", "2", &(struct secret_values){.password = "x"}, NULL, lost);
    struct secret *never = secret_new("s", "", NULL, "no such object", NULL);

    CHECK(lost->has_pair && lost->has_trust);
    CHECK_STR(lost->pair_problem, "no such object");
    CHECK_STR(lost->trust_problem, "no such object");
    CHECK_STR(lost->private_key, a->key_pem);
    CHECK_STR(lost->trusted_ca, a->pem);
    CHECK_STR(lost->verify_certificate_hash, HASH_A);
    CHECK(emptied->has_pair && emptied->has_trust);
    CHECK_STR(emptied->pair_problem, "certificate_chain and private_key are gone");
    CHECK_STR(emptied->trust_problem, "trusted_ca is gone");
    CHECK(!never->has_pair && !never->has_trust);
    CHECK_STR(never->pair_problem, "no such object");
    secret_unref(first);
    secret_unref(lost);
    secret_unref(emptied);
    secret_unref(never);
    test_certificate_free(a);
}

TEST(half_a_secret_says_which_half_is_missing)
{
    struct test_certificate *a = test_certificate_for("a.org");
    struct secret *no_key =
        secret_new("s", "1", &(struct secret_values){.certificate_chain = a->pem, .private_key = ""}, NULL, NULL);
    struct secret *no_chain = secret_new("s", "1", &(struct secret_values){.private_key = a->key_pem}, NULL, NULL);
    struct secret *no_ca =
        secret_new("s", "1", &(struct secret_values){.verify_certificate_hash = HASH_A}, NULL, NULL);
    struct secret *bad_hash = secret_new(
        "s", "1", &(struct secret_values){.trusted_ca = a->pem, .verify_certificate_hash = "zz"}, NULL, NULL);

    CHECK(!no_key->has_pair && !no_chain->has_pair && !no_ca->has_trust && !bad_hash->has_trust);
    CHECK_STR(no_key->pair_problem, "private_key is missing");
    CHECK_STR(no_chain->pair_problem, "certificate_chain is missing");
    CHECK_STR(no_ca->trust_problem, "trusted_ca is missing");
    CHECK_STR(bad_hash->trust_problem, "digest 1 of verify_certificate_hash is no SHA-256 in hexadecimal");
    CHECK(!bad_hash->verify_certificate_hash);
    secret_unref(no_key);
    secret_unref(no_chain);
    secret_unref(no_ca);
    secret_unref(bad_hash);
    test_certificate_free(a);
}

TEST(an_encrypted_pair_is_served_with_its_password)
{
    struct test_certificate *a = test_certificate_for("a.org");
    char *key = test_certificate_encrypt_key(a, "sesame");
    struct secret *s = secret_new(
        "s", "1", &(struct secret_values){.certificate_chain = a->pem, .private_key = key, .password = "sesame"},
        NULL, NULL);
    struct secret *ref = secret_ref(s);

    secret_unref(s);
    CHECK(ref->has_pair);
    CHECK_STR(ref->password, "sesame");
    CHECK_INT(ref->password_len, 6);
    secret_unref(ref);
    secret_unref(NULL);
    mem_free(key);
    test_certificate_free(a);
}

TEST(a_dummy_is_a_good_pair_that_is_another_one_each_time)
{
    char *chain[2], *key[2];

    for (int i = 0; i < 2; i++) {
        CHECK_INT(certificate_dummy(&chain[i], &key[i], NULL), 0);
        CHECK_STR(inspect(chain[i], key[i], NULL), "");
        CHECK_INT(trust_inspect(chain[i], NULL), 0);
    }
    CHECK(strcmp(key[0], key[1]) != 0 && strcmp(inspect(chain[0], key[1], NULL), "") != 0);
    for (int i = 0; i < 2; i++) {
        mem_free(chain[i]);
        mem_free(key[i]);
    }
}
