/*
 * Declarations: exposures as they are declared, decoded whole, faults gathered as problems.
 *
 * An exposure reaches sections (virtual hosts, routes, hash policies, certificates); what is wrong with any of them
 * is wrong with the exposure. Sections that nothing refers to are not looked at.
 */
#include "base/text.h"
#include "store/hostname.h"
#include "store/section.h"
#include "store/spec.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GATEWAY_MAX = 128, FILE_MAX = 4096, SNI_MAX = 1024, CERTIFICATES_MAX = 32 };

static const unsigned declaration_magic = 0x6465636c;

struct declaration {
    unsigned magic;
    int refs; /* atomic */
    struct exposure *exposures;
    size_t n_exposures;
    const char **sensitive; /* private keys, wiped at the end */
    size_t n_sensitive;
    struct arena *arena;
};

/* ---- one exposure ---- */

struct raw_expose {
    int64_t port, listener_port;
    int protocol, lb_policy;
    bool has_listener_port, enabled;
    const char *listener_addr, *gateway, *origin, *unfit;
    const char *private_key_file, *cluster_data, *filter_config_data;
    struct json_strings sni, vhosts, listener_certificates, cluster_certificates, endpoints;
};

static const struct json_enum protocols[] = {{"tcp", PROTOCOL_TCP}, {"udp", PROTOCOL_UDP}, {NULL, 0}};

static const struct json_enum lb_policies[] = {
    {"round robin", LB_ROUND_ROBIN},
    {"least_request", LB_LEAST_REQUEST},
    {"ring_hash", LB_RING_HASH},
    {"random", LB_RANDOM},
    {"original_dst_lb", LB_ORIGINAL_DST},
    {"maglev", LB_MAGLEV},
    {NULL, 0},
};

#define FIELD(...) SECTION_FIELD(struct raw_expose, __VA_ARGS__)
static const struct json_field expose_fields[] = {
    FIELD(port, "port", JSON_FIELD_INT, .min = 1, .max = UINT16_MAX, .required = true),
    FIELD(protocol, "protocol", JSON_FIELD_ENUM, .names = protocols),
    FIELD(listener_addr, "listener_addr", JSON_FIELD_STRING, .max = 64),
    FIELD(listener_port, "listener_port", JSON_FIELD_INT, .min = 0, .max = UINT16_MAX,
          .set_offset = offsetof(struct raw_expose, has_listener_port)),
    FIELD(sni, "sni", JSON_FIELD_STRING_LIST, .max_items = SNI_MAX),
    FIELD(lb_policy, "lb_policy", JSON_FIELD_ENUM, .names = lb_policies),
    FIELD(gateway, "gateway", JSON_FIELD_STRING, .max = GATEWAY_MAX),
    FIELD(vhosts, "vhosts", JSON_FIELD_STRING_LIST, .max_items = SERVICE_VHOSTS_MAX),
    FIELD(listener_certificates, "listener_certificates", JSON_FIELD_STRING_LIST, .max_items = CERTIFICATES_MAX),
    FIELD(cluster_certificates, "cluster_certificates", JSON_FIELD_STRING_LIST, .max_items = CERTIFICATES_MAX),
    FIELD(private_key_file, "cluster_private_key_filename", JSON_FIELD_STRING, .max = FILE_MAX),
    FIELD(cluster_data, "cluster_data", JSON_FIELD_JSON),
    FIELD(filter_config_data, "filter_config_data", JSON_FIELD_JSON),
    FIELD(enabled, "enabled", JSON_FIELD_BOOL),
    FIELD(endpoints, "endpoints", JSON_FIELD_STRING_LIST, .max_items = SPEC_FIXED_ENDPOINTS_MAX),
    FIELD(origin, "origin", JSON_FIELD_STRING),
    FIELD(unfit, "unfit", JSON_FIELD_STRING),
};
#undef FIELD

/* Of the agent's own sections: these are words of the API's alone. */
static void adjust_agents_expose(json_t *info)
{
    json_object_del(info, "enabled");
    json_object_del(info, "endpoints");
    json_object_del(info, "origin");
    json_object_del(info, "unfit");
}

/* What resolvers take for this host, or for an address in another spelling (RFC 6761, 6.3; inet_aton(3)): networks
 * are refused by address. */
static bool is_address_in_disguise(const char *name)
{
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
    bool hexadecimal = last[0] == '0' && last[1] == 'x';

    return strcmp(last, "localhost") == 0 || !last[strspn(last, "0123456789")] ||
           (hexadecimal && !last[2 + strspn(last + 2, "0123456789abcdef")]);
}

static void decode_endpoints(struct builder *b, struct section *s, const struct json_strings *list,
                             struct exposure *x)
{
    struct fixed_endpoint *fixed = arena_array(b->arena, struct fixed_endpoint, list->count);

    for (size_t i = 0; i < list->count; i++) {
        struct endpoint p = {0};
        char host[ENDPOINT_NAME_MAX];
        const char *name = NULL;
        struct err e = {0};

        if (endpoint_parse(list->items[i], &p, host) < 0)
            problem_add(&s->problems, "invalid", s->rid, "endpoints",
                        "\"%s\" is neither an IP address nor a DNS name with a port", list->items[i]);
        else if (p.host && (strchr(p.host, '*') || hostname_server_name(p.host, b->arena, &name, &e) < 0))
            problem_add(&s->problems, "invalid", s->rid, "endpoints", "\"%s\" is no DNS name", p.host);
        else if (name && is_address_in_disguise(name))
            problem_add(&s->problems, "invalid", s->rid, "endpoints",
                        "\"%s\" is no name for DNS; an address is written in full", p.host);
        else
            fixed[x->n_fixed++] = (struct fixed_endpoint){.host = name, .address = p.address, .port = p.port};
    }
    x->fixed = fixed;
    for (size_t i = 1; i < x->n_fixed; i++)
        if (!fixed[0].host != !fixed[i].host) {
            problem_add(&s->problems, "invalid", s->rid, "endpoints", "are either all addresses or all DNS names");
            break;
        }
    if (x->n_fixed && x->lb_policy == LB_ORIGINAL_DST)
        problem_add(&s->problems, "invalid", s->rid, "endpoints", "have no place with lb_policy original_dst_lb");
}

static void decode_origin(struct section *s, const struct raw_expose *raw, struct exposure *x)
{
    if (!s->resource->scope)
        return;
    x->origin = raw->origin && strcmp(raw->origin, "api") == 0 ? ORIGIN_API : ORIGIN_OVERRIDDEN;
    x->disabled = !raw->enabled;
    if (raw->unfit)
        problem_add(&s->problems, "invalid", s->rid, NULL, "what was edited does not fit: %s", raw->unfit);
    if (x->origin != ORIGIN_API && raw->endpoints.count)
        problem_add(&s->problems, "invalid", s->rid, "endpoints",
                    "are the addresses of the service's instances, unless the exposure was made over the API");
}

static void decode_gateway(struct section *s, const char *name, struct exposure *x)
{
    section_text(s, "gateway", &name);
    if (name && strpbrk(name, "| \t"))
        problem_add(&s->problems, "invalid", s->rid, "gateway", "a gateway's name has no \"|\" and no blanks");
    x->gateway = name;
}

static void decode_sni(struct builder *b, struct section *s, const struct json_strings *list, struct exposure *x)
{
    size_t n = 0;

    x->sni = arena_array(b->arena, const char *, list->count);
    for (size_t i = 0; i < list->count; i++) {
        struct err e = {0};

        if (hostname_server_name(list->items[i], b->arena, &x->sni[n], &e) < 0)
            problem_add_err(&s->problems, "invalid", s->rid, "sni", &e);
        else
            n++;
    }
    qsort(x->sni, n, sizeof(*x->sni), text_compare);
    for (size_t i = 0; i < n; i++)
        if (x->n_sni == 0 || strcmp(x->sni[x->n_sni - 1], x->sni[i]) != 0)
            x->sni[x->n_sni++] = x->sni[i];
}

/* The virtual host is the section's; its name is the exposure's. */
static void decode_vhosts(struct builder *b, struct section *s, const struct json_strings *list, struct exposure *x)
{
    size_t n;
    struct section **sections = section_refer(b, s, "vhosts", list, SECTION_VHOST, &n);
    const struct vhost **vhosts = arena_array(b->arena, const struct vhost *, n);

    for (size_t i = 0; i < n; i++) {
        struct vhost *vhost = arena_dup(b->arena, sections[i]->vhost, sizeof(*vhost));

        vhost->name = arena_printf(b->arena, "%s.%s", x->name, vhost->rid);
        vhosts[i] = vhost;
    }
    x->vhosts = vhosts;
    x->n_vhosts = n;
}

static bool has_pair(const struct certificate *c)
{
    return c->secret || c->chain_file || c->chain_inline;
}

static void decode_listener_certificates(struct builder *b, struct section *s, const struct json_strings *list,
                                         struct exposure *x)
{
    static const char keyword[] = "listener_certificates";
    size_t n, pairs = 0;
    struct section **sections = section_refer(b, s, keyword, list, SECTION_CERTIFICATE, &n);
    const struct certificate **certificates = arena_array(b->arena, const struct certificate *, n);
    const char *validation = NULL;
    bool bad = n < list->count;

    for (size_t i = 0; i < n; i++) {
        const struct certificate *c = sections[i]->certificate;

        certificates[i] = c;
        bad = bad || sections[i]->problems.fatal;
        pairs += has_pair(c);
        if (c->chain_file && !c->key_file && !sections[i]->problems.fatal)
            problem_add(&s->problems, "invalid", c->rid, "private_key_filename",
                        "is required beside certificate_chain_filename");
        if (validation && c->validation_secret && strcmp(validation, c->validation_secret) != 0)
            problem_add(&s->problems, "invalid", s->rid, keyword, "several validation_secrets: a listener takes one");
        validation = c->validation_secret ? c->validation_secret : validation;
    }
    if (list->count > 0 && pairs == 0 && !bad)
        problem_add(&s->problems, "invalid", s->rid, keyword, "none of them has a certificate and a key");
    x->listener_certificates = certificates;
    x->n_listener_certificates = n;
}

/* With the exposure's key file, where it names one: then the certificate is one of its own. */
static void decode_cluster_certificate(struct builder *b, struct section *s, const struct json_strings *list,
                                       const char *key_file, struct exposure *x)
{
    static const char keyword[] = "cluster_certificates", key_keyword[] = "cluster_private_key_filename";
    size_t n;
    struct section **sections = section_refer(b, s, keyword, list, SECTION_CERTIFICATE, &n);
    const struct certificate *c;

    section_text(s, key_keyword, &key_file);
    x->cluster_private_key_file = key_file;
    if (n > 1)
        problem_add(&s->problems, "invalid", s->rid, keyword, "takes one certificate");
    if (n == 0 && key_file && list->count == 0)
        problem_add(&s->problems, "warning", s->rid, key_keyword, "has no effect without cluster_certificates");
    if (n == 0)
        return;
    c = sections[0]->certificate;
    x->cluster_certificate = c;
    if (key_file && c->chain_file) {
        struct certificate *own = arena_dup(b->arena, c, sizeof(*own));

        own->name = arena_printf(b->arena, "%s.%s", x->name, c->rid);
        own->key_file = key_file;
        x->cluster_certificate = own;
    } else if (key_file) {
        problem_add(&s->problems, "warning", s->rid, key_keyword,
                    "has no effect: %s has no certificate_chain_filename", c->rid);
    } else if (c->chain_file && !c->key_file && !sections[0]->problems.fatal) {
        problem_add(&s->problems, "invalid", c->rid, "private_key_filename",
                    "is required, or cluster_private_key_filename of the exposure");
    }
}

static void check_udp(struct section *s, const struct raw_expose *raw)
{
    static const char text[] = "is not possible with protocol udp";

    if (raw->sni.count)
        problem_add(&s->problems, "invalid", s->rid, "sni", text);
    if (raw->vhosts.count)
        problem_add(&s->problems, "invalid", s->rid, "vhosts", text);
    if (raw->listener_certificates.count)
        problem_add(&s->problems, "invalid", s->rid, "listener_certificates", text);
    if (raw->cluster_certificates.count)
        problem_add(&s->problems, "invalid", s->rid, "cluster_certificates", text);
    if (raw->lb_policy == LB_ORIGINAL_DST)
        problem_add(&s->problems, "invalid", s->rid, "lb_policy", "original_dst_lb %s", text);
}

/* A hash policy that nothing will ask is no fault, but somebody wanted something by it. */
static void check_hash_policies(struct section *s, const struct exposure *x)
{
    if (lb_policy_hashes(x->lb_policy))
        return;
    for (size_t v = 0; v < x->n_vhosts; v++)
        for (size_t r = 0; r < x->vhosts[v]->n_routes; r++)
            if (x->vhosts[v]->routes[r]->n_hash_policies > 0) {
                problem_add(&s->problems, "warning", x->vhosts[v]->routes[r]->rid, "hash_policies",
                            "has no effect: lb_policy is neither ring_hash nor maglev");
                return;
            }
}

static void check_combination(struct section *s, const struct raw_expose *raw, const struct exposure *x)
{
    if (x->protocol == PROTOCOL_UDP)
        check_udp(s, raw);
    else if (raw->sni.count && raw->vhosts.count && raw->listener_certificates.count == 0)
        problem_add(&s->problems, "invalid", s->rid, "sni",
                    "vhosts with sni need listener_certificates: HTTP inside TLS that passes through can't be read");
    check_hash_policies(s, x);
}

static void decode_exposure(struct builder *b, struct section *s, struct exposure *x)
{
    struct raw_expose raw = {.protocol = PROTOCOL_TCP, .lb_policy = LB_ROUND_ROBIN, .enabled = true};

    section_decode(b, s, expose_fields, ARRAY_LEN(expose_fields), &raw,
                   s->resource->scope ? NULL : adjust_agents_expose);
    decode_origin(s, &raw, x);
    x->port = (uint16_t)raw.port;
    x->listener_port = (uint16_t)(raw.has_listener_port ? raw.listener_port : raw.port);
    x->protocol = (enum protocol)raw.protocol;
    x->lb_policy = (enum lb_policy)raw.lb_policy;
    x->cluster_data = raw.cluster_data;
    x->filter_config_data = raw.filter_config_data;
    if (address_parse(raw.listener_addr ? raw.listener_addr : "0.0.0.0", &x->listener_addr) < 0)
        problem_add(&s->problems, "invalid", s->rid, "listener_addr", "must be an IPv4 or IPv6 address");
    x->listener_addr = address_unmapped(&x->listener_addr); /* the same to the kernel, and not to Envoy */
    decode_gateway(s, raw.gateway, x);
    decode_sni(b, s, &raw.sni, x);
    decode_vhosts(b, s, &raw.vhosts, x);
    decode_listener_certificates(b, s, &raw.listener_certificates, x);
    decode_cluster_certificate(b, s, &raw.cluster_certificates, raw.private_key_file, x);
    if (x->origin == ORIGIN_API)
        decode_endpoints(b, s, &raw.endpoints, x);
    check_combination(s, &raw, x);
}

bool exposure_needs_permission(const struct exposure *x)
{
    if (x->cluster_data || x->filter_config_data)
        return true;
    for (size_t v = 0; v < x->n_vhosts; v++)
        for (size_t r = 0; r < x->vhosts[v]->n_routes; r++)
            if (x->vhosts[v]->routes[r]->cluster_header)
                return true;
    return false;
}

const struct certificate *exposure_certificate(const struct exposure *x, size_t i)
{
    if (i < x->n_listener_certificates)
        return x->listener_certificates[i];
    return i == x->n_listener_certificates ? x->cluster_certificate : NULL;
}

bool exposure_refers_to_secret(const struct exposure *x, const char *path)
{
    const struct certificate *c;

    for (size_t i = 0; (c = exposure_certificate(x, i)) != NULL; i++)
        if ((c->secret && strcmp(c->secret, path) == 0) ||
            (c->validation_secret && strcmp(c->validation_secret, path) == 0))
            return true;
    return false;
}

/* ---- all of them ---- */

/* Each section's problems once, those of what it refers to after its own. */
static void collect(struct section *s, unsigned visit, struct problem_list *all)
{
    if (s->visit == visit)
        return;
    s->visit = visit;
    for (size_t i = 0; i < s->problems.count; i++)
        problem_append(all, &s->problems.items[i]);
    all->fatal = all->fatal || s->problems.fatal;
    for (size_t i = 0; i < s->n_children; i++)
        collect(s->children[i], visit, all);
}

static void finish_exposure(struct builder *b, struct section *s, struct exposure *x, unsigned visit,
                            exposure_check check, void *check_arg)
{
    struct problem_list all = {.arena = b->arena};
    struct err e = {0};
    int r;

    collect(s, visit, &all);
    if (!all.fatal && check) {
        r = check(x, NULL, check_arg, &e);
        if (r < 0)
            problem_add_err(&all, r == -EPERM ? "not_allowed" : "invalid", x->rid, NULL, &e);
    }
    x->valid = !all.fatal;
    x->problems = arena_dup(b->arena, all.items, all.count * sizeof(*all.items));
    x->n_problems = all.count;
    mem_free(all.items);
}

static int compare_sections(const void *a, const void *b)
{
    return rid_compare((*(struct section *const *)a)->rid, (*(struct section *const *)b)->rid);
}

/* Whether one that was edited over the API stands in its place. */
static bool is_replaced(struct builder *b, const struct section *s)
{
    if (s->resource->scope)
        return false;
    for (size_t i = 0; b->scoped && i < b->n_sections; i++) {
        struct section *own = &b->sections[i];

        if (!own->resource->scope || own->kind != SECTION_EXPOSE || strcmp(own->rid, s->rid) != 0)
            continue;
        own->replaces = s;
        return true;
    }
    return false;
}

static void decode_all(struct builder *b, struct declaration *d, exposure_check check, void *check_arg)
{
    _cleanup_(mem_free_p) struct section **sections = mem_array(struct section *, b->n_sections);
    size_t n = 0;

    for (size_t i = 0; i < b->n_sections; i++)
        if (b->sections[i].kind == SECTION_EXPOSE && !is_replaced(b, &b->sections[i]))
            sections[n++] = &b->sections[i];
    if (n)
        qsort(sections, n, sizeof(*sections), compare_sections);
    d->exposures = arena_array(b->arena, struct exposure, n);
    d->n_exposures = n;
    for (size_t i = 0; i < n; i++) {
        struct exposure *x = &d->exposures[i];

        x->path = b->path;
        x->rid = sections[i]->rid;
        x->name = arena_printf(b->arena, "%s.%s", x->path, x->rid);
        if (i < SERVICE_EXPOSURES_MAX)
            decode_exposure(b, sections[i], x);
        else
            problem_add(&sections[i]->problems, "invalid", x->rid, NULL, "a service has at most %d exposures",
                        SERVICE_EXPOSURES_MAX);
        if (x->origin == ORIGIN_API && sections[i]->replaces)
            problem_add(&sections[i]->problems, "shadowed", x->rid, NULL,
                        "the agent declares an exposure of this name as well; this one was made first, over the API, "
                        "and is in effect until it is deleted");
        finish_exposure(b, sections[i], x, (unsigned)i + 1, check, check_arg);
    }
}

static void note_sensitive(const struct builder *b, struct declaration *d)
{
    d->sensitive = arena_array(b->arena, const char *, b->n_sections);
    for (size_t i = 0; i < b->n_sections; i++) {
        const struct section *s = &b->sections[i];

        if (s->kind == SECTION_CERTIFICATE && s->certificate && s->certificate->key_inline)
            d->sensitive[d->n_sensitive++] = s->certificate->key_inline;
    }
}

struct declaration *declaration_new(const char *path, const struct fact_resource *resources, size_t n,
                                    exposure_check check, void *check_arg)
{
    struct declaration *d = mem_new(struct declaration);
    struct builder b;

    d->magic = declaration_magic;
    d->refs = 1;
    d->arena = arena_new();
    builder_init(&b, d->arena, path, resources, n);
    decode_all(&b, d, check, check_arg);
    note_sensitive(&b, d);
    builder_clear(&b);
    return d;
}

struct declaration *declaration_ref(struct declaration *d)
{
    assert(d->magic == declaration_magic);
    __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

void declaration_unref(struct declaration *d)
{
    if (!d)
        return;
    assert(d->magic == declaration_magic);
    if (__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < d->n_sensitive; i++)
        mem_wipe((char *)(uintptr_t)d->sensitive[i], strlen(d->sensitive[i]));
    d->magic = 0;
    arena_free(d->arena);
    mem_free(d);
}

const struct exposure *declaration_exposures(const struct declaration *d, size_t *ret_n)
{
    *ret_n = d->n_exposures;
    return d->exposures;
}

const struct exposure *declaration_find(const struct declaration *d, const char *rid)
{
    size_t low = 0, high = d->n_exposures;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = rid_compare(rid, d->exposures[middle].rid);

        if (order == 0)
            return &d->exposures[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
