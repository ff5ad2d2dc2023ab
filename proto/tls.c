/* SDS secrets and TLS contexts: envoy/extensions/transport_sockets/tls/v3. */
#include "proto/tls.h"

#include "proto/validate.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { HASHES_MAX = 64 }; /* of verify_certificate_hash */

bool sds_ref_pair(struct arena *a, const struct certificate *c, struct sds_ref *ret)
{
    char name[SDS_NAME_MAX];

    if (!c->secret && !c->chain_file && !c->chain_inline)
        return false;
    *ret = (struct sds_ref){.name = arena_strdup(a, sds_pair_name(c, name, sizeof(name))), .certificate = c};
    return true;
}

bool sds_ref_trust(struct arena *a, const struct certificate *c, struct sds_ref *ret)
{
    char name[SDS_NAME_MAX];

    if (!c->validation_secret)
        return false;
    *ret = (struct sds_ref){
        .name = arena_strdup(a, sds_trust_name(c, name, sizeof(name))), .certificate = c, .trust = true};
    return true;
}

const char *sds_ref_secret(const struct sds_ref *ref)
{
    return ref->trust ? ref->certificate->validation_secret : ref->certificate->secret;
}

bool sds_ref_ready(const struct view *v, const struct sds_ref *ref)
{
    const char *path = sds_ref_secret(ref);
    const struct secret *s = path ? view_secret(v, path) : NULL;

    if (!path)
        return true;
    return s && (ref->trust ? s->has_trust : s->has_pair);
}

static pb_data_source *inline_text(struct arena *a, const char *text)
{
    pb_data_source *m = pb_data_source_new(a);

    m->specifier_case = PB_CORE(DATA_SOURCE__SPECIFIER_INLINE_STRING);
    m->inline_string = PB_TEXT(text);
    return m;
}

/* A file on Envoy's side, or a text; NULL when there is neither. */
static pb_data_source *file_or_inline(struct arena *a, const char *file, const char *text)
{
    pb_data_source *m;

    if (!file)
        return text ? inline_text(a, text) : NULL;
    m = pb_data_source_new(a);
    m->specifier_case = PB_CORE(DATA_SOURCE__SPECIFIER_FILENAME);
    m->filename = PB_TEXT(file);
    return m;
}

static pb_tls_certificate *pair(struct arena *a, const struct certificate *c, const struct secret *s)
{
    pb_tls_certificate *m = pb_tls_certificate_new(a);

    if (s) {
        m->certificate_chain = inline_text(a, s->certificate_chain);
        /* An exposure may name a key file of Envoy's side beside a chain from a secret. */
        m->private_key = file_or_inline(a, c->key_file, s->private_key);
        if (s->password && !c->key_file)
            m->password = inline_text(a, s->password);
    } else {
        m->certificate_chain = file_or_inline(a, c->chain_file, c->chain_inline);
        m->private_key = file_or_inline(a, c->key_file, c->key_inline);
    }
    return m;
}

/* Several hashes may stand in one text, apart by white space or commas. */
static size_t split_hashes(struct arena *a, const char *text, char **ret_hashes)
{
    static const char apart[] = " \t\r\n,";
    char *rest = arena_strdup(a, text), *hash;
    size_t n = 0;

    while (n < HASHES_MAX && (hash = strtok_r(n ? NULL : rest, apart, &rest)))
        ret_hashes[n++] = hash;
    return n;
}

static pb_validation *validation(struct arena *a, const struct secret *s)
{
    pb_validation *m = pb_validation_new(a);

    m->trusted_ca = inline_text(a, s->trusted_ca);
    if (s->verify_certificate_hash) {
        m->verify_certificate_hash = arena_array(a, char *, HASHES_MAX);
        m->n_verify_certificate_hash = split_hashes(a, s->verify_certificate_hash, m->verify_certificate_hash);
    }
    return m;
}

int sds_make(const struct view *v, const struct sds_ref *ref, struct resource **ret, struct err *e)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const struct certificate *c = ref->certificate;
    const char *path = sds_ref_secret(ref);
    const struct secret *s = path ? view_secret(v, path) : NULL;
    pb_secret *m = pb_secret_new(a);

    if ((path && !s) || !sds_ref_ready(v, ref))
        return err_set(e, -ENOENT, path, ref->trust ? "trusted_ca" : "certificate_chain",
                       "the secret has nothing that can be served");
    m->name = PB_TEXT(ref->name);
    if (ref->trust) {
        assert(s); /* a validation always stands on a secret */
        m->type_case = PB_TLS(SECRET__TYPE_VALIDATION_CONTEXT);
        m->validation_context = validation(a, s);
    } else {
        m->type_case = PB_TLS(SECRET__TYPE_TLS_CERTIFICATE);
        m->tls_certificate = pair(a, c, s);
        if (!m->tls_certificate->private_key)
            return err_set(e, -ENOENT, path ? path : c->name, "private_key", "there is no private key");
    }
    const struct resource_info info = {.type = XDS_SECRET,
                                       .name = ref->name,
                                       .owner = path ? path : c->name,
                                       .alone = true,
                                       .sensitive = !ref->trust};
    _cleanup_(resource_unref_p) struct resource *r = resource_pack(&info, &m->base);
    return resource_check(r, e) < 0 ? e->code : (*ret = take_ptr(r), 0);
}

static pb_sds *sds_config(struct arena *a, const struct sds_ref *ref)
{
    pb_sds *m = pb_sds_new(a);

    m->name = PB_TEXT(ref->name);
    m->sds_config = pb_ads_source(a);
    return m;
}

/* TLS 1.2 and above (RFC 8996), certificates and validation over SDS. */
static pb_common_tls *common_context(struct arena *a, const struct sds_ref *refs, size_t n)
{
    pb_common_tls *m = pb_common_tls_new(a);

    m->tls_params = pb_tls_parameters_new(a);
    m->tls_params->tls_minimum_protocol_version = PB_TLS(TLS_PARAMETERS__TLS_PROTOCOL__TLSv1_2);
    m->tls_certificate_sds_secret_configs = arena_array(a, pb_sds *, n);
    for (size_t i = 0; i < n; i++) {
        if (refs[i].trust) {
            m->validation_context_type_case =
                PB_TLS(COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT_SDS_SECRET_CONFIG);
            m->validation_context_sds_secret_config = sds_config(a, &refs[i]);
        } else {
            m->tls_certificate_sds_secret_configs[m->n_tls_certificate_sds_secret_configs++] =
                sds_config(a, &refs[i]);
        }
    }
    return m;
}

static pb_transport_socket *socket_of(struct arena *a, const ProtobufCMessage *context)
{
    pb_transport_socket *m = pb_transport_socket_new(a);

    m->name = PB_TEXT("envoy.transport_sockets.tls");
    m->config_type_case = PB_CORE(TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG);
    m->typed_config = pb_any_of(a, context);
    return m;
}

pb_transport_socket *tls_downstream(struct arena *a, const struct plan_chain *chain, const struct sds_ref *refs,
                                    size_t n)
{
    static char *alpn[] = {(char *)(uintptr_t) "h2", (char *)(uintptr_t) "http/1.1"};
    pb_downstream_tls *m = pb_downstream_tls_new(a);

    m->common_tls_context = common_context(a, refs, n);
    if (chain->kind == CHAIN_L7) {
        m->common_tls_context->alpn_protocols = alpn;
        m->common_tls_context->n_alpn_protocols = ARRAY_LEN(alpn);
    }
    /* Without this, a validation context lets clients in that show no certificate. */
    if (chain->validation)
        m->require_client_certificate = pb_bool_of(a, true);
    return socket_of(a, &m->base);
}

/* The first that is one host's, or NULL. */
static const char *literal_name(const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(names[i], '*'))
            return names[i];
    return NULL;
}

/*
 * Endpoints are addresses, so the name that they are asked for has to come from the declaration. With vhosts it is
 * the request's host (cluster.c), which goes before this one: then this is what health checks ask for.
 */
static const char *upstream_name(const struct exposure *x)
{
    const char *name = literal_name(x->sni, x->n_sni);

    for (size_t i = 0; !name && i < x->n_vhosts; i++)
        name = literal_name(x->vhosts[i]->domains, x->vhosts[i]->n_domains);
    return name;
}

pb_transport_socket *tls_upstream(struct arena *a, const struct exposure *x, const struct sds_ref *refs, size_t n)
{
    pb_upstream_tls *m = pb_upstream_tls_new(a);
    const char *name = upstream_name(x);

    m->common_tls_context = common_context(a, refs, n);
    if (name)
        m->sni = PB_TEXT(name);
    return socket_of(a, &m->base);
}
