/*
 * Encryption at rest: the key file, and sealing with AES-256-GCM (NIST SP 800-38D) under a fresh random nonce. What a
 * sealed text belongs to goes in as associated data: it can't be moved to another object unseen.
 *
 * A key may be used from several threads.
 */
#ifndef STORE_CRYPT_H
#define STORE_CRYPT_H

#include "base/buf.h"
#include "base/err.h"

struct crypt_key;

enum { CRYPT_KEY_BYTES = 32, CRYPT_OVERHEAD = 12 + 16 };

/*
 * Reads the key file: 64 hexadecimal digits, white space after them. -EACCES when others than its owner can read it
 * (a given file, such as a systemd credential, may be readable by its group), -EINVAL when it holds no key.
 * make: a missing one is made, mode 0600, whole and flushed before it has its name.
 */
int crypt_key_load(const char *path, bool make, struct crypt_key **ret_key, struct err *e);
void crypt_key_free(struct crypt_key *k); /* wipes; NULL is allowed */

/* Appends nonce, ciphertext and tag. Never fails but for the buffer's maximum (-EMSGSIZE). */
int crypt_seal(const struct crypt_key *k, const char *belongs_to, const void *plain, size_t n, struct buf *out);
/* The plain bytes with a NUL behind them: mem_free_secret(bytes, n). -EBADMSG: another key, object, or damage. */
int crypt_unseal(const struct crypt_key *k, const char *belongs_to, const void *sealed, size_t n, uint8_t **ret_plain,
                 size_t *ret_n);

#endif
