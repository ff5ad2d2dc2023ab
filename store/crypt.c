/* The key file, and AES-256-GCM by OpenSSL. Sealed: 12 bytes of nonce, the ciphertext, 16 bytes of tag. */
#include "store/crypt.h"

#include "base/text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NONCE = 12, TAG = 16, KEY_FILE_MAX = 256 };

struct crypt_key {
    uint8_t bytes[CRYPT_KEY_BYTES];
};

static int parse_key(const char *text, size_t n, uint8_t key[CRYPT_KEY_BYTES])
{
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    if (n != CRYPT_KEY_BYTES * 2)
        return -EINVAL;
    for (size_t i = 0; i < CRYPT_KEY_BYTES; i++) {
        int high = text_hex_value(text[2 * i]), low = text_hex_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return -EINVAL;
        key[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static int file_error(struct err *e, const char *path, const char *what)
{
    return err_set(e, -errno, path, "", "the key file %s: %s", what, strerrordesc_np(errno));
}

static int write_key_file(int fd, const char *made, const char *path, struct err *e)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t key[CRYPT_KEY_BYTES];
    char text[CRYPT_KEY_BYTES * 2 + 1];
    int r = 0;

    if (RAND_priv_bytes(key, sizeof(key)) != 1)
        return err_set(e, -EIO, path, "", "there is no randomness to make a key of");
    for (size_t i = 0; i < sizeof(key); i++) {
        text[2 * i] = digits[key[i] >> 4];
        text[2 * i + 1] = digits[key[i] & 15];
    }
    text[sizeof(text) - 1] = '\n';
    if (write(fd, text, sizeof(text)) != (ssize_t)sizeof(text) || fsync(fd) < 0)
        r = file_error(e, made, "cannot be written");
    mem_wipe(key, sizeof(key));
    mem_wipe(text, sizeof(text));
    return r;
}

/* link() rather than rename(): a key that is there is never replaced. */
static int make_key_file(const char *path, struct err *e)
{
    _cleanup_(mem_free_p) char *made = mem_printf("%s.new", path);
    _cleanup_(mem_free_p) char *directory = mem_strdup(path);
    char *slash = strrchr(directory, '/');
    int fd, r;

    if (unlink(made) < 0 && errno != ENOENT)
        return file_error(e, made, "cannot be removed");
    fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error(e, made, "cannot be made");
    r = write_key_file(fd, made, path, e);
    close(fd);
    if (r == 0 && link(made, path) < 0)
        r = file_error(e, path, "cannot be made");
    unlink(made);
    if (r < 0)
        return r;
    if (slash)
        slash[slash == directory] = '\0';
    fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        r = file_error(e, path, "cannot be flushed");
    if (fd >= 0)
        close(fd);
    return r;
}

static int check_access(int fd, const char *path, bool given, struct err *e)
{
    mode_t refused = given ? 0037 : 0077;
    struct stat status;

    if (fstat(fd, &status) < 0)
        return file_error(e, path, "cannot be looked at");
    if (!S_ISREG(status.st_mode))
        return err_set(e, -EACCES, path, "", "the key file is not a regular file");
    if (status.st_mode & refused)
        return err_set(e, -EACCES, path, "",
                       "the key file can be read by others (mode %04o): take their access away, and think about "
                       "whether the keys it protects are still secret",
                       (unsigned)(status.st_mode & 07777));
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return err_set(e, -EACCES, path, "", "the key file belongs to somebody else (user %u)",
                       (unsigned)status.st_uid);
    return 0;
}

static int read_key(int fd, const char *path, bool given, struct crypt_key **ret_key, struct err *e)
{
    uint8_t bytes[CRYPT_KEY_BYTES];
    char text[KEY_FILE_MAX];
    ssize_t n;
    int r = check_access(fd, path, given, e);

    if (r < 0)
        return r;
    n = read(fd, text, sizeof(text));
    if (n < 0)
        return file_error(e, path, "cannot be read");
    r = parse_key(text, (size_t)n, bytes);
    mem_wipe(text, sizeof(text));
    if (r < 0)
        return err_set(e, r, path, "", "the key file must hold %d hexadecimal digits", CRYPT_KEY_BYTES * 2);
    *ret_key = mem_dup(bytes, sizeof(bytes));
    mem_wipe(bytes, sizeof(bytes));
    return 0;
}

int crypt_key_load(const char *path, bool make, struct crypt_key **ret_key, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW * make), r;

    if (fd < 0 && errno == ENOENT && make) {
        r = make_key_file(path, e);
        if (r < 0)
            return r;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (fd < 0)
        return file_error(e, path, "cannot be opened");
    r = read_key(fd, path, !make, ret_key, e);
    close(fd);
    return r;
}

void crypt_key_free(struct crypt_key *k)
{
    mem_free_secret(k, sizeof(*k));
}

/* What OpenSSL can refuse here is a bug or the want of memory; neither can be answered with plain text on disk. */
static void must(int ok)
{
    assert(ok == 1);
}

int crypt_seal(const struct crypt_key *k, const char *belongs_to, const void *plain, size_t n, struct buf *out)
{
    EVP_CIPHER_CTX *context;
    uint8_t *p;
    int done;

    if (n > INT_MAX - CRYPT_OVERHEAD)
        return -EMSGSIZE;
    p = buf_reserve(out, n + CRYPT_OVERHEAD);
    if (!p)
        return -EMSGSIZE;
    must(RAND_bytes(p, NONCE));
    context = EVP_CIPHER_CTX_new();
    assert(context);
    must(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, k->bytes, p));
    must(EVP_EncryptUpdate(context, NULL, &done, (const uint8_t *)belongs_to, (int)strlen(belongs_to)));
    /* Without bytes there is no call: a NULL pointer would mean something else to it. */
    if (n)
        must(EVP_EncryptUpdate(context, p + NONCE, &done, plain, (int)n));
    must(EVP_EncryptFinal_ex(context, p + NONCE + n, &done));
    must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG, p + NONCE + n));
    EVP_CIPHER_CTX_free(context);
    out->len += n + CRYPT_OVERHEAD;
    return 0;
}

int crypt_unseal(const struct crypt_key *k, const char *belongs_to, const void *sealed, size_t n, uint8_t **ret_plain,
                 size_t *ret_n)
{
    const uint8_t *p = sealed;
    uint8_t tag[TAG], *plain;
    EVP_CIPHER_CTX *context;
    int done;
    bool good;

    if (n < CRYPT_OVERHEAD || n > INT_MAX)
        return -EBADMSG;
    n -= CRYPT_OVERHEAD;
    memcpy(tag, p + NONCE + n, TAG);
    plain = mem_alloc(n + 1);
    context = EVP_CIPHER_CTX_new();
    assert(context);
    must(EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, k->bytes, p));
    must(EVP_DecryptUpdate(context, NULL, &done, (const uint8_t *)belongs_to, (int)strlen(belongs_to)));
    if (n)
        must(EVP_DecryptUpdate(context, plain, &done, p + NONCE, (int)n));
    must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG, tag));
    good = EVP_DecryptFinal_ex(context, plain + n, &done) == 1;
    EVP_CIPHER_CTX_free(context);
    if (!good) {
        mem_free_secret(plain, n + 1);
        return -EBADMSG;
    }
    *ret_plain = plain;
    *ret_n = n;
    return 0;
}
