/*
 * Certificates: the secrets that services refer to, as they were inspected, and who uses them. Private keys stand in
 * the same objects and are never read here.
 */
#include "api/objects.h"

#include <stdlib.h>
#include <string.h>

/* One exposure's use of a secret. */
struct use {
    const char *path;
    const struct service_exposure *sx;
};

/* All uses, sorted by secret, then in the order of exposures. */
struct uses {
    struct use *items;
    size_t n, cap;
};

static void note_use(struct call *c, struct uses *u, const char *path, const struct service_exposure *sx)
{
    if (!path)
        return;
    for (size_t i = u->n; i > 0 && u->items[i - 1].sx == sx; i--)
        if (strcmp(u->items[i - 1].path, path) == 0)
            return;
    u->items = arena_room(c->arena, u->items, u->n, &u->cap, sizeof(*u->items));
    u->items[u->n++] = (struct use){path, sx};
}

static int compare_uses(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    int r = strcmp(x->path, y->path);

    return r ? r : exposure_name_compare(x->sx->x->name, y->sx->x->name);
}

static void prepare_certificates(struct call *c)
{
    struct uses *u = arena_new_of(c->arena, struct uses);

    for (const struct service_exposure *sx = exposure_first(c->view, ""); sx; sx = exposure_next(c->view, sx)) {
        const struct exposure *x = sx->x;
        for (size_t i = 0; i < x->n_listener_certificates; i++) {
            note_use(c, u, x->listener_certificates[i]->secret, sx);
            note_use(c, u, x->listener_certificates[i]->validation_secret, sx);
        }
        if (x->cluster_certificate) {
            note_use(c, u, x->cluster_certificate->secret, sx);
            note_use(c, u, x->cluster_certificate->validation_secret, sx);
        }
    }
    if (u->n)
        qsort(u->items, u->n, sizeof(*u->items), compare_uses);
    c->prepared = u;
}

/* Where the secret's uses begin. */
static size_t first_use(const struct uses *u, const char *path)
{
    size_t low = 0, high = u->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(u->items[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

VIEW_COLLECTION(secret, secret, secrets, view_secrets, path)

static void write_certificate(struct call *c, const void *item, struct writer *w)
{
    const struct secret *s = item;
    char ns[OBJECT_NAME_MAX];

    object_namespace(s->path, ns, sizeof(ns));
    writer_text(w, "name", s->path);
    writer_text(w, "namespace", ns);
    writer_text(w, "origin", view_document(c->view, DOCUMENT_CERTIFICATE, s->path) ? "api" : "agent");
    writer_text(w, "certificate_chain", s->has_pair ? s->info.chain : NULL);
    writer_text(w, "trusted_ca", s->has_trust && s->trusted_ca ? pem_certificates(s->trusted_ca, c->arena) : NULL);
    writer_text(w, "verify_certificate_hash", s->has_trust ? s->verify_certificate_hash : NULL);
}

static void write_leaf(struct call *c, const struct secret *s, struct writer *w)
{
    const struct certificate_info *info = &s->info;

    writer_open(w, "leaf", '{');
    writer_text(w, "subject", info->subject);
    writer_text(w, "issuer", info->issuer);
    writer_text(w, "serial", info->serial);
    writer_texts(w, "names", info->names, info->n_names);
    writer_time(w, "not_before", (double)info->not_before);
    writer_time(w, "not_after", (double)info->not_after);
    writer_int(w, "days_left", days_left(c, info->not_after));
    writer_text(w, "fingerprint_sha256", info->fingerprint);
    writer_int(w, "chain_length", (int64_t)info->chain_length);
    writer_close(w, '}');
}

static const char *pair_state(struct call *c, const struct secret *s)
{
    if (!s->has_pair)
        return s->has_trust && !s->pair_problem ? "none" : "missing";
    int64_t days = days_left(c, s->info.not_after);
    if (days < 0)
        return "expired";
    if (s->pair_problem)
        return "kept";
    return days < EXPIRY_CERTIFICATE_DAYS ? "expires_soon" : "valid";
}

/* Names that the exposure is asked by and the certificate does not have. */
static void write_uncovered(const struct secret *s, const struct exposure *x, struct writer *w)
{
    writer_open(w, "names_not_covered", '[');
    for (size_t i = 0; s->has_pair && i < x->n_sni; i++)
        if (!certificate_covers(&s->info, x->sni[i]))
            writer_text(w, NULL, x->sni[i]);
    for (size_t i = 0; s->has_pair && !x->n_sni && i < x->n_vhosts; i++)
        for (size_t d = 0; d < x->vhosts[i]->n_domains; d++)
            if (!strchr(x->vhosts[i]->domains[d], '*') && !certificate_covers(&s->info, x->vhosts[i]->domains[d]))
                writer_text(w, NULL, x->vhosts[i]->domains[d]);
    writer_close(w, ']');
}

static bool is_listeners_pair(const struct exposure *x, const char *path)
{
    for (size_t i = 0; i < x->n_listener_certificates; i++) {
        const char *secret = x->listener_certificates[i]->secret;
        if (secret && strcmp(secret, path) == 0)
            return true;
    }
    return false;
}

static void write_certificate_status(struct call *c, const void *item, struct writer *w)
{
    const struct secret *s = item;
    const struct uses *u = c->prepared;

    writer_text(w, "pair", pair_state(c, s));
    writer_text(w, "pair_problem", s->pair_problem);
    writer_text(w, "trust", s->has_trust ? (s->trust_problem ? "kept" : "valid") : "none");
    writer_text(w, "trust_problem", s->trust_problem);
    if (s->has_pair)
        write_leaf(c, s, w);
    else
        writer_null(w, "leaf");
    writer_open(w, "used_by", '[');
    for (size_t i = first_use(u, s->path); i < u->n && strcmp(u->items[i].path, s->path) == 0; i++) {
        const struct exposure *x = u->items[i].sx->x;
        bool pair = is_listeners_pair(x, s->path);
        writer_open(w, NULL, '{');
        writer_text(w, "exposure", x->name);
        writer_text(w, "as", pair ? "listener_certificate" : "other");
        if (pair)
            write_uncovered(s, x, w);
        else
            writer_texts(w, "names_not_covered", NULL, 0);
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

static void get_name(struct call *c, const void *item, struct values *v)
{
    values_text(v, secret_key(c, item));
}

static void get_namespace(struct call *c, const void *item, struct values *v)
{
    char ns[OBJECT_NAME_MAX];

    object_namespace(secret_key(c, item), ns, sizeof(ns));
    values_text(v, arena_strdup(c->arena, ns));
}

static void get_pair(struct call *c, const void *item, struct values *v)
{
    values_text(v, pair_state(c, item));
}

static void get_expiry(struct call *c, const void *item, struct values *v)
{
    const struct secret *s = item;

    /* What is missing is over; what needs no pair never is. */
    if (s->has_pair)
        values_number(v, s->info.not_after);
    else
        values_number(v, strcmp(pair_state(c, s), "missing") == 0 ? INT64_MIN : INT64_MAX);
}

static void get_names(struct call *c, const void *item, struct values *v)
{
    const struct secret *s = item;

    (void)c; /* the item has them */
    for (size_t i = 0; s->has_pair && i < s->info.n_names; i++)
        values_text(v, s->info.names[i]);
}

static void get_exposures(struct call *c, const void *item, struct values *v)
{
    const struct uses *u = c->prepared;
    const char *path = secret_key(c, item);

    for (size_t i = first_use(u, path); i < u->n && strcmp(u->items[i].path, path) == 0; i++)
        values_text(v, u->items[i].sx->x->name);
}

static const char *const pair_states[] = {"none", "missing", "expired", "kept", "expires_soon", "valid", NULL};

static const struct attribute certificate_attributes[] = {
    {"name", PARAMETER_TEXT, ATTRIBUTE_SORT | ATTRIBUTE_SEARCH, get_name},
    {"namespace", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SORT, get_namespace},
    {"pair", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_pair, pair_states},
    {"not_after", PARAMETER_INT, ATTRIBUTE_SORT, get_expiry},
    {"certificate_name", PARAMETER_TEXT, ATTRIBUTE_FILTER | ATTRIBUTE_SEARCH, get_names},
    {"exposure", PARAMETER_TEXT, ATTRIBUTE_FILTER, get_exposures},
    {NULL},
};

static const char *const certificate_fields[] = {"kind",
                                                 "name",
                                                 "namespace",
                                                 "origin",
                                                 "certificate_chain",
                                                 "trusted_ca",
                                                 "verify_certificate_hash",
                                                 "status",
                                                 "status.pair",
                                                 "status.pair_problem",
                                                 "status.trust",
                                                 "status.trust_problem",
                                                 "status.leaf",
                                                 "status.used_by",
                                                 NULL};

const struct collection certificate_collection = {
    .kind = "Certificate",
    .prepare = prepare_certificates,
    .first = secret_first,
    .next = secret_next,
    .count = secret_count,
    .find = secret_find,
    .key = secret_key,
    .write = write_certificate,
    .write_status = write_certificate_status,
    .attributes = certificate_attributes,
    .fields = certificate_fields,
};
