/* The key file and what is sealed with it. */
#include "store/crypt.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[256], path[300];

static void begin(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(directory, sizeof(directory), "%s/igwd-crypt-XXXXXX", base ? base : P_tmpdir);
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof(path), "%s/key", directory);
}

static void end(void)
{
    unlink(path);
    rmdir(directory);
}

static struct crypt_key *load(bool make)
{
    struct crypt_key *key = NULL;
    struct err e = {0};

    if (crypt_key_load(path, make, &key, &e) < 0)
        test_fail(__FILE__, __LINE__, "the key does not load: %s", e.text);
    return key;
}

static void write_file(const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(fchmod(fd, mode) == 0);
    close(fd);
}

static const char good_key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n";

TEST(a_key_is_made_once_and_is_its_owners_alone)
{
    struct crypt_key *first, *second;
    struct stat status;
    uint8_t *plain;
    struct buf b;
    size_t n;

    begin();
    umask(0);
    first = load(true);
    CHECK(stat(path, &status) == 0);
    CHECK_INT(status.st_mode & 07777, 0600);
    second = load(true);
    buf_init(&b, 0);
    CHECK_INT(crypt_seal(first, "a", "text", 4, &b), 0);
    CHECK_INT(crypt_unseal(second, "a", b.data, b.len, &plain, &n), 0);
    CHECK_MEM(plain, n, "text", 4);
    mem_free(plain);
    buf_clear(&b);
    crypt_key_free(first);
    crypt_key_free(second);
    CHECK(access(path, F_OK) == 0);
    end();
}

TEST(a_missing_key_that_was_given_is_not_made)
{
    struct crypt_key *key;
    struct err e = {0};

    begin();
    CHECK_INT(crypt_key_load(path, false, &key, &e), -ENOENT);
    CHECK_STR(e.object, path);
    CHECK(access(path, F_OK) < 0);
    end();
}

TEST(a_key_that_others_can_read_is_refused)
{
    static const mode_t refused[] = {0644, 0604, 0640, 0660, 0620, 0601};
    struct crypt_key *key;
    struct err e = {0};

    begin();
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        write_file(good_key, refused[i]);
        CHECK_INT(crypt_key_load(path, true, &key, &e), -EACCES);
    }
    /* A credential that was given may be readable by the group, not by others. */
    write_file(good_key, 0440);
    crypt_key_free(load(false));
    write_file(good_key, 0444);
    CHECK_INT(crypt_key_load(path, false, &key, &e), -EACCES);
    end();
}

TEST(a_file_without_a_key_is_refused)
{
    static const char *const bad[] = {"", "\n", "0001",
                                      "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                                      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00"};
    struct crypt_key *key;
    struct err e = {0};

    begin();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        write_file(bad[i], 0600);
        CHECK_INT(crypt_key_load(path, true, &key, &e), -EINVAL);
    }
    end();
}

TEST(what_a_killed_daemon_left_of_a_key_is_no_key)
{
    char made[320];
    int fd;

    begin();
    snprintf(made, sizeof(made), "%s.new", path);
    fd = open(made, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && write(fd, "0001", 4) == 4);
    close(fd);
    crypt_key_free(load(true));
    CHECK(access(made, F_OK) < 0);
    end();
}

TEST(what_is_sealed_opens_for_its_object_and_key_alone)
{
    struct crypt_key *key, *other;
    uint8_t *plain;
    struct buf b;
    size_t n;

    begin();
    write_file(good_key, 0600);
    key = load(true);
    unlink(path);
    other = load(true);
    buf_init(&b, 0);
    CHECK_INT(crypt_seal(key, "test/sec/a", "", 0, &b), 0);
    CHECK_INT(b.len, CRYPT_OVERHEAD);
    CHECK_INT(crypt_unseal(key, "test/sec/a", b.data, b.len, &plain, &n), 0);
    CHECK_INT(n, 0);
    CHECK_STR((char *)plain, "");
    mem_free(plain);
    CHECK_INT(crypt_unseal(key, "test/sec/b", b.data, b.len, &plain, &n), -EBADMSG);
    CHECK_INT(crypt_unseal(other, "test/sec/a", b.data, b.len, &plain, &n), -EBADMSG);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= 1;
        CHECK_INT(crypt_unseal(key, "test/sec/a", b.data, b.len, &plain, &n), -EBADMSG);
        b.data[i] ^= 1;
        CHECK_INT(crypt_unseal(key, "test/sec/a", b.data, i, &plain, &n), -EBADMSG);
    }
    buf_clear(&b);
    crypt_key_free(key);
    crypt_key_free(other);
    end();
}

TEST(the_same_text_is_never_sealed_alike)
{
    struct crypt_key *key;
    struct buf a, b;

    begin();
    key = load(true);
    buf_init(&a, 0);
    buf_init(&b, 0);
    crypt_seal(key, "a", "the same", 8, &a);
    crypt_seal(key, "a", "the same", 8, &b);
    CHECK_INT(a.len, b.len);
    CHECK(memcmp(a.data, b.data, a.len) != 0);
    CHECK(memmem(a.data, a.len, "the same", 8) == NULL);
    buf_clear(&a);
    buf_clear(&b);
    crypt_key_free(key);
    end();
}
