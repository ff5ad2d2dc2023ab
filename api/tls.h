/*
 * TLS of the REST interface (GnuTLS, as the HTTP library's): a certificate with its key, and the authorities whose
 * client certificates are believed. What a connection began with it keeps to its end; a reload is for the next ones.
 *
 * Counted and immutable; any thread. No other file knows GnuTLS.
 */
#ifndef API_TLS_H
#define API_TLS_H

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>

enum { TLS_FILE_MAX = 1 << 20, TLS_NAME_MAX = 256 };

/* TLS 1.3 and 1.2 alone, with what the library takes for secure; in GnuTLS' words. */
extern const char tls_priorities[];

struct tls_files {
    const char *certificate; /* PEM, the leaf first */
    const char *key;         /* PEM, not encrypted; a file that all may read is refused */
    const char *client_ca;   /* PEM; NULL: clients are not asked for certificates */
};

struct tls;

/* -EINVAL and the like name the file; a key that is not the certificate's is an error. */
int tls_read(const struct tls_files *files, struct tls **ret, struct err *e);
struct tls *tls_ref(struct tls *t);
void tls_unref(struct tls *t); /* NULL is allowed */
define_cleanup(struct tls *, tls_unref)

/* The texts that were read, for the library's start. */
const char *tls_certificate_pem(const struct tls *t);
const char *tls_key_pem(const struct tls *t);

/* Before the handshake of a session (gnutls_session_t), which then needs t as long as it lives. A client certificate
 * that was not issued by an authority of client_ca ends the handshake. */
void tls_begin(struct tls *t, void *session);
/* After the handshake: the common name of the client certificate's subject, and when it ends (seconds since 1970);
 * false: there was none. */
bool tls_client(void *session, char ret_name[TLS_NAME_MAX], double *ret_ends);

#endif
