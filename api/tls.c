/* TLS. The key's bytes are wiped when nobody needs them any more. */
#include "api/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char tls_priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";

struct tls {
    int refs; /* atomic */
    gnutls_certificate_credentials_t credentials;
    bool asks_clients;
    char *certificate, *key;
};

/* ---- files ---- */

static int read_file(const char *path, mode_t forbidden, char **ret, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int r = 0;

    if (fd < 0 || fstat(fd, &st)) {
        r = err_set(e, -errno, path, NULL, "can't be read: %s", strerrordesc_np(errno));
    } else if (!S_ISREG(st.st_mode) || st.st_size > TLS_FILE_MAX) {
        r = err_set(e, -EINVAL, path, NULL, "is no file of at most 1 MiB");
    } else if (st.st_mode & forbidden) {
        r = err_set(e, -EPERM, path, NULL, "everybody may read or write this key");
    } else {
        char *text = mem_alloc((size_t)st.st_size + 1);
        ssize_t n = read(fd, text, (size_t)st.st_size);
        if (n == st.st_size)
            *ret = text;
        else
            mem_free_secret(text, (size_t)st.st_size);
        if (n != st.st_size)
            r = err_set(e, n < 0 ? -errno : -EIO, path, NULL, "can't be read as a whole");
    }
    if (fd >= 0)
        close(fd);
    return r;
}

static gnutls_datum_t datum(char *text)
{
    return (gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned)strlen(text)};
}

/* ---- clients ---- */

/* In the handshake, once the client's certificate came, or that it has none. */
static int verify_client(gnutls_session_t session)
{
    gnutls_typed_vdata_st purpose = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT, .size = 0};
    unsigned n = 0, status = 0;

    if (!gnutls_certificate_get_peers(session, &n) || n == 0)
        return 0;
    if (gnutls_certificate_verify_peers(session, &purpose, 1, &status) || status)
        return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
    return 0;
}

bool tls_client(void *session, char ret_name[TLS_NAME_MAX], double *ret_ends)
{
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);
    gnutls_x509_crt_t leaf;
    size_t size = TLS_NAME_MAX;

    if (!chain || n == 0 || gnutls_x509_crt_init(&leaf))
        return false;
    bool ok = gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
              gnutls_x509_crt_get_dn_by_oid(leaf, GNUTLS_OID_X520_COMMON_NAME, 0, 0, ret_name, &size) == 0;
    *ret_ends = (double)gnutls_x509_crt_get_expiration_time(leaf);
    gnutls_x509_crt_deinit(leaf);
    return ok && strlen(ret_name) == size; /* a name with a NUL in it is not what stands before it */
}

/* ---- credentials ---- */

static int fill(struct tls *t, const struct tls_files *files, struct err *e)
{
    _cleanup_(mem_free_p) char *authorities = NULL;
    int r = read_file(files->certificate, 0, &t->certificate, e);

    if (!r)
        r = read_file(files->key, S_IRWXO, &t->key, e);
    if (!r && files->client_ca)
        r = read_file(files->client_ca, 0, &authorities, e);
    if (r)
        return r;
    gnutls_datum_t certificate = datum(t->certificate), key = datum(t->key);
    r = gnutls_certificate_set_x509_key_mem(t->credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
    if (r < 0)
        return err_set(e, -EINVAL, files->certificate, NULL, "is no certificate with the key of %s: %s", files->key,
                       gnutls_strerror(r));
    if (!authorities)
        return 0;
    gnutls_datum_t trusted = datum(authorities);
    r = gnutls_certificate_set_x509_trust_mem(t->credentials, &trusted, GNUTLS_X509_FMT_PEM);
    if (r < 1)
        return err_set(e, -EINVAL, files->client_ca, NULL, "has no certificate of an authority: %s",
                       r ? gnutls_strerror(r) : "none was found");
    gnutls_certificate_set_verify_function(t->credentials, verify_client);
    t->asks_clients = true;
    return 0;
}

int tls_read(const struct tls_files *files, struct tls **ret, struct err *e)
{
    struct tls *t = mem_new(struct tls);

    t->refs = 1;
    int r = gnutls_certificate_allocate_credentials(&t->credentials)
                ? err_set(e, -ENOMEM, files->certificate, NULL, "no credentials can be made")
                : fill(t, files, e);
    if (r) {
        tls_unref(t);
        return r;
    }
    *ret = t;
    return 0;
}

struct tls *tls_ref(struct tls *t)
{
    if (t)
        (void)__atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

void tls_unref(struct tls *t)
{
    if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (t->credentials)
        gnutls_certificate_free_credentials(t->credentials);
    mem_free(t->certificate);
    if (t->key)
        mem_free_secret(t->key, strlen(t->key));
    mem_free(t);
}

const char *tls_certificate_pem(const struct tls *t)
{
    return t->certificate;
}

const char *tls_key_pem(const struct tls *t)
{
    return t->key;
}

void tls_begin(struct tls *t, void *session)
{
    /* It fails only where memory does, and then the handshake fails for want of credentials. */
    (void)gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, t->credentials);
    gnutls_certificate_server_set_request(session, t->asks_clients ? GNUTLS_CERT_REQUEST : GNUTLS_CERT_IGNORE);
}
