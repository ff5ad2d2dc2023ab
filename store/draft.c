/*
 * Drafting: the services that edits concern are put together with them, and the listeners that they stand on, or
 * would stand on, are planned again with everybody else's claims as they are.
 *
 * What only the writer can settle is taken as it is at present: which port is allocated, since when names are held. A
 * name that is new is claimed after all others.
 */
#include "store/draft.h"

#include "base/json.h"
#include "base/map.h"
#include "base/text.h"
#include "store/claims.h"
#include "store/overlay.h"
#include "store/problem.h"
#include "store/spec.h"

#include <stdlib.h>
#include <string.h>

static const char *const effect_names[] = {
    [EFFECT_NONE] = "none",
    [EFFECT_ADDS_LISTENER] = "adds_listener",
    [EFFECT_DRAINS_CHAIN] = "drains_chain",
    [EFFECT_DRAINS_LISTENER] = "drains_listener",
    [EFFECT_REMOVES_LISTENER] = "removes_listener",
};

const char *draft_effect_name(enum draft_effect e)
{
    return effect_names[e];
}

/* A service that edits concern. */
struct affected {
    const char *path;
    const struct service *before; /* NULL: it is new */
    struct service *after;        /* in draft->services; NULL: it goes */
};

struct sketch {
    struct draft *draft;
    const struct view *view;
    const struct edit *edits;
    size_t n_edits;
    const struct store_options *world;
    struct affected *affected;
    size_t n_affected, cap_affected;
    struct map affected_paths;
    struct map secrets;   /* of certificates that were looked up, by path: struct secret, owned */
    struct map listeners; /* keys of those that are touched, in the arena */
    struct map rebased;   /* of gateways that are edited, by name: bool[GATEWAY_BASES], in the arena */
};

/* ---- faults ---- */

static struct draft_fault *add_fault(struct sketch *k, enum draft_fault_kind kind, size_t edit, const char *code,
                                     const char *pointer, const char *text)
{
    struct draft *d = k->draft;
    struct draft_fault *fault;

    if ((d->n_faults & (d->n_faults - 1)) == 0) {
        struct draft_fault *more = arena_array(d->arena, struct draft_fault, d->n_faults ? 2 * d->n_faults : 1);

        if (d->n_faults)
            memcpy(more, d->faults, d->n_faults * sizeof(*more));
        d->faults = more;
    }
    fault = &d->faults[d->n_faults++];
    *fault = (struct draft_fault){.kind = kind,
                                  .edit = edit,
                                  .code = arena_strdup(d->arena, code),
                                  .pointer = arena_strdup(d->arena, pointer),
                                  .text = arena_strdup(d->arena, text)};
    d->invalid |= kind == DRAFT_INVALID;
    d->conflict |= kind == DRAFT_CONFLICT;
    return fault;
}

/* ---- documents ---- */

static void lay_edits(struct sketch *k)
{
    k->draft->documents = pmap_ref(k->view->documents);
    for (size_t i = 0; i < k->n_edits; i++) {
        const struct edit *e = &k->edits[i];
        struct document *d = e->body ? document_new(e->kind, e->name, e->body, "", 0, 0, 0) : NULL;

        k->draft->documents = documents_set(k->draft->documents, e->kind, e->name, d);
        document_unref(d);
    }
}

static void add_affected(struct sketch *k, const char *path)
{
    if (map_gets(&k->affected_paths, path))
        return;
    map_puts(&k->affected_paths, path, k);
    k->affected = mem_room(k->affected, k->n_affected, &k->cap_affected, sizeof(*k->affected));
    k->affected[k->n_affected++] = (struct affected){.path = path, .before = view_service(k->view, path)};
}

/* As the store has them (store/ports.c). */
static struct gateway_settings settings_of(const struct store_options *world, const struct pmap *documents,
                                           const char *gateway, struct arena *arena)
{
    const struct document *d = documents_find(documents, DOCUMENT_GATEWAY, gateway);
    struct gateway_settings settings = {.port_min = world->port_min, .port_max = world->port_max};
    struct err e = {0};

    (void)gateway_settings_read(d ? d->body : NULL, arena, &settings);        /* a fault of the edit itself */
    (void)problem_leave_bases(&settings, world->check, world->check_arg, &e); /* likewise, or an alarm by now */
    return settings;
}

static bool listens_on_gateway(const struct service *s, const char *gateway)
{
    for (size_t i = 0; i < s->n_exposures; i++)
        if (service_exposure_listens(&s->exposures[i]) && strcmp(s->exposures[i].gateway, gateway) == 0)
            return true;
    return false;
}

/* Whether the gateway may have a say in what becomes of one of the service's exposures. */
static bool asks_gateway(const struct service *s, const char *gateway)
{
    for (size_t i = 0; i < s->n_exposures; i++) {
        const struct service_exposure *sx = &s->exposures[i];

        if (sx->gateway && strcmp(sx->gateway, gateway) == 0 && (sx->hindrance || exposure_needs_permission(sx->x)))
            return true;
    }
    return false;
}

/* Which of the gateway's bases are others. */
static bool compare_bases(struct sketch *k, const char *gateway, const struct gateway_settings *before,
                          const struct gateway_settings *after)
{
    bool *rebased = arena_array(k->draft->arena, bool, GATEWAY_BASES), any = false;

    for (size_t i = 0; i < GATEWAY_BASES; i++) {
        rebased[i] = !text_equal(before->bases[i], after->bases[i]);
        any = any || rebased[i];
    }
    map_puts(&k->rebased, gateway, rebased);
    return any;
}

/* Of the settings, permissions and bases mean something to exposures that have their place: permissions to those that
 * need one, bases to all, of whom one stands for the others. */
static void add_gateways_services(struct sketch *k, const char *gateway)
{
    const struct gateway_settings before = settings_of(k->world, k->view->documents, gateway, k->draft->arena),
                                  after = settings_of(k->world, k->draft->documents, gateway, k->draft->arena);
    bool rebased = compare_bases(k, gateway, &before, &after), has_one = false;

    if (before.allow_files == after.allow_files && before.allow_cluster_header == after.allow_cluster_header &&
        !rebased)
        return;
    for (const struct service *s = pmap_after(k->view->services, &view_services, ""); s;
         s = pmap_after(k->view->services, &view_services, s->path)) {
        bool is_first = rebased && !has_one && listens_on_gateway(s, gateway);

        has_one |= is_first;
        if (is_first || asks_gateway(s, gateway))
            add_affected(k, s->path);
    }
}

/* A new name is one that Envoy's names have room for, and that no other name can be taken for. */
static bool is_exposure_name(const char *path, const char *rid)
{
    static const char in_path[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/",
                      digits[] = "0123456789";
    const char *number = rid + strlen("expose#");

    return strlen(path) + 1 + strlen(rid) <= EXPOSURE_NAME_MAX && !path[strspn(path, in_path)] && path[0] != '/' &&
           !number[strspn(number, digits)] && strlen(number) < 10 && (number[0] != '0' || !number[1]);
}

static void add_edited(struct sketch *k, size_t edit)
{
    const struct edit *e = &k->edits[edit];
    const char *rid, *path = exposure_path(e->name, k->draft->arena, &rid);
    bool made = e->body && e->kind == DOCUMENT_EXPOSURE && !view_document(k->view, e->kind, e->name);

    if (!path || (made && !is_exposure_name(path, rid)))
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#/name",
                  "an exposure's name is the path of a service, a dot, and expose#NUMBER: \"web1.expose#0\", "
                  "\"test/svc/web1.expose#0\"; it has at most 256 bytes");
    if (path)
        add_affected(k, path);
}

static void find_affected(struct sketch *k)
{
    for (size_t i = 0; i < k->n_edits; i++) {
        const struct edit *e = &k->edits[i];

        if (e->kind == DOCUMENT_EXPOSURE || e->kind == DOCUMENT_OVERRIDE)
            add_edited(k, i);
        else if (e->kind == DOCUMENT_GATEWAY)
            add_gateways_services(k, e->name);
    }
}

/* ---- services ---- */

/* The gateway's name, or NULL with the reason, as the store finds it (store/exposures.c). */
static const char *find_gateway(struct sketch *k, const struct exposure *x, struct exposure_state *state)
{
    static const struct problem too_many = {
        .code = "not_allowed", .field = "gateway", .text = "there are too many gateways already"};
    const char *name = x->gateway ? x->gateway : k->world->default_gateway;

    state->hindrance = problem_of_gateway_name(name);
    if (!state->hindrance && !view_gateway(k->view, name) && pmap_count(k->view->gateways) >= GATEWAYS_MAX)
        state->hindrance = &too_many;
    return state->hindrance ? NULL : name;
}

static const struct problem *find_hindrance(struct sketch *k, const struct exposure *x, const char *name)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct gateway_settings settings = {0};
    struct gateway *gateway;
    const struct problem *p;

    if (exposure_needs_permission(x)) /* else they say nothing of it */
        settings = settings_of(k->world, k->draft->documents, name, arena);
    gateway = gateway_new(name, false, &settings);
    p = problem_of_permission(x, gateway, k->world->check, k->world->check_arg, k->draft->arena);
    gateway_unref(gateway);
    return p;
}

/* As exposures_begin() and what follows it would find it. */
static void set_state(struct sketch *k, const struct affected *a, const struct exposure *declared,
                      struct exposure_state *state)
{
    const struct service_exposure *sx = service_exposure_find(a->before, declared->rid);
    const struct claims before = sx ? claims_of(sx) : (struct claims){0};
    const struct exposure *x = declared->valid ? declared : before.x;

    if (!x)
        return;
    if (x == before.x)
        state->good = sx->declaration;
    state->gateway = find_gateway(k, x, state);
    if (!state->gateway)
        return;
    state->hindrance = find_hindrance(k, x, state->gateway);
    state->listener_port = x->listener_port;
    if (!x->listener_port && before.x && !before.x->listener_port && text_equal(before.gateway, state->gateway))
        state->listener_port = before.port;
    (void)claims_keep(&before, x, UINT64_MAX, k->draft->arena, state); /* new ones come after all others */
}

static struct service *make_service(struct sketch *k, const struct affected *a)
{
    struct arena *arena = k->draft->arena;
    struct agent_word *word = a->before ? a->before->word : NULL;
    struct overlay overlay;
    struct declaration *d;
    const struct exposure *x;
    struct exposure_state *states;
    struct service *s;
    size_t n;

    overlay_of_word(a->path, word, k->draft->documents, arena, &overlay);
    if (overlay.n == 0)
        return NULL;
    d = declaration_new(a->path, overlay.resources, overlay.n, k->world->check, k->world->check_arg);
    x = declaration_exposures(d, &n);
    states = arena_array(arena, struct exposure_state, n);
    for (size_t i = 0; i < n; i++)
        set_state(k, a, &x[i], &states[i]);
    s = service_new(a->path, d, word, states, NULL, 0, NULL, k->world->endpoint_networks);
    declaration_unref(d);
    return s;
}

static int compare_affected(const void *a, const void *b)
{
    return strcmp(((const struct affected *)a)->path, ((const struct affected *)b)->path);
}

static void make_services(struct sketch *k)
{
    struct draft *d = k->draft;

    if (k->n_affected)
        qsort(k->affected, k->n_affected, sizeof(*k->affected), compare_affected);
    d->services = arena_array(d->arena, struct service *, k->n_affected);
    d->gone = arena_array(d->arena, const char *, k->n_affected);
    for (size_t i = 0; i < k->n_affected; i++) {
        k->affected[i].after = make_service(k, &k->affected[i]);
        if (k->affected[i].after)
            d->services[d->n_services++] = k->affected[i].after;
        else
            d->gone[d->n_gone++] = k->affected[i].path;
    }
}

static const struct affected *find_affected_by(const struct sketch *k, const char *path)
{
    return k->n_affected ? bsearch(&(struct affected){.path = path}, k->affected, k->n_affected, sizeof(*k->affected),
                                   compare_affected)
                         : NULL;
}

static void tell_hindrance(struct sketch *k, size_t edit, const struct service_exposure *sx)
{
    const char *pointer = exposure_pointer(sx->x, sx->hindrance->field, k->draft->arena);

    add_fault(k, DRAFT_INVALID, edit, sx->hindrance->code, pointer ? pointer : "#", sx->hindrance->text);
}

static void tell_exposure(struct sketch *k, size_t edit, const struct service_exposure *sx)
{
    const struct exposure *x = sx->declared;

    for (size_t i = 0; i < x->n_problems; i++) {
        const struct problem *p = &x->problems[i];
        const char *pointer = exposure_pointer(x, p->field ? p->field : "", k->draft->arena);

        add_fault(k, problem_is_fatal(p) ? DRAFT_INVALID : DRAFT_WARNING, edit, p->code, pointer ? pointer : "#",
                  p->text);
    }
    if (sx->hindrance && strcmp(sx->hindrance->code, "disabled") != 0)
        tell_hindrance(k, edit, sx);
}

static void tell_exposures(struct sketch *k)
{
    for (size_t i = 0; i < k->n_edits; i++) {
        const struct edit *e = &k->edits[i];
        const struct affected *a;
        const struct service_exposure *sx;
        const char *rid, *path;

        if (e->kind != DOCUMENT_EXPOSURE && e->kind != DOCUMENT_OVERRIDE)
            continue;
        path = exposure_path(e->name, k->draft->arena, &rid);
        a = path ? find_affected_by(k, path) : NULL;
        sx = a && a->after ? service_exposure_find(a->after, rid) : NULL;
        if (sx && e->body)
            tell_exposure(k, i, sx);
    }
}

/* ---- certificates ---- */

/* What is there of a secret with the edits: the API's, else the agent's. */
static const struct secret *lookup_secret(void *arg, const char *path)
{
    struct sketch *k = arg;
    struct secret *known = map_gets(&k->secrets, path);
    const struct document *d;

    if (known)
        return known;
    d = documents_find(k->draft->documents, DOCUMENT_CERTIFICATE, path);
    if (!d)
        return view_document(k->view, DOCUMENT_CERTIFICATE, path) ? NULL : view_secret(k->view, path);
    known = secret_of_body(d->name, d->body);
    if (known)
        map_puts(&k->secrets, known->path, known);
    return known;
}

static void draft_certificate(struct sketch *k, size_t edit)
{
    const struct secret *secret = lookup_secret(k, k->edits[edit].name);

    if (!secret) {
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#", "texts are expected");
        return;
    }
    if (secret->pair_problem)
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#/certificate_chain", secret->pair_problem);
    if (secret->trust_problem)
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#/trusted_ca", secret->trust_problem);
    if (!secret->has_pair && !secret->has_trust && !secret->pair_problem && !secret->trust_problem)
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#",
                  "certificate_chain and private_key, or trusted_ca, are expected");
}

/* What the bases say, as Envoy would have it. */
static void check_bases(struct sketch *k, size_t edit, const struct gateway_settings *settings)
{
    struct gateway *gateway = gateway_new(k->edits[edit].name, false, settings);
    struct err e = {0};

    if (k->world->check && k->world->check(NULL, gateway, k->world->check_arg, &e) < 0) {
        size_t n = strcspn(e.field, ".");

        add_fault(k, DRAFT_INVALID, edit, "invalid", arena_printf(k->draft->arena, "#/%.*s", (int)n, e.field),
                  e.field[n] ? arena_printf(k->draft->arena, "%s: %s", e.field + n + 1, e.text) : e.text);
    }
    gateway_unref(gateway);
}

static void draft_gateway(struct sketch *k, size_t edit)
{
    struct gateway_settings settings = {.port_min = k->world->port_min, .port_max = k->world->port_max};
    const struct problem *bad_name = problem_of_gateway_name(k->edits[edit].name);

    if (bad_name)
        add_fault(k, DRAFT_INVALID, edit, bad_name->code, "#/name", bad_name->text);
    if (gateway_settings_read(k->edits[edit].body, k->draft->arena, &settings) < 0)
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#", "these are no settings of a gateway");
    else if (settings.port_min > settings.port_max)
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#/port_max", "must not be below port_min");
    else
        check_bases(k, edit, &settings);
}

static void draft_others(struct sketch *k)
{
    for (size_t i = 0; i < k->n_edits; i++) {
        if (!k->edits[i].body)
            continue;
        if (k->edits[i].kind == DOCUMENT_CERTIFICATE)
            draft_certificate(k, i);
        else if (k->edits[i].kind == DOCUMENT_GATEWAY)
            draft_gateway(k, i);
    }
}

/* ---- listeners ---- */

static void touch_listener(struct sketch *k, const struct service_exposure *sx)
{
    _cleanup_(mem_free_p) char *key = exposure_listener_key(sx);

    map_puts(&k->listeners, arena_strdup(k->draft->arena, key), k);
}

static void touch_listeners(struct sketch *k, const struct service *s)
{
    for (size_t i = 0; s && i < s->n_exposures; i++)
        if (service_exposure_listens(&s->exposures[i]))
            touch_listener(k, &s->exposures[i]);
}

/* Those that the secret is served on, or is missed. */
static void touch_users(struct sketch *k, const char *secret)
{
    for (const struct service *s = pmap_after(k->view->services, &view_services, ""); s;
         s = pmap_after(k->view->services, &view_services, s->path))
        for (size_t i = 0; i < s->n_exposures; i++)
            if (service_exposure_listens(&s->exposures[i]) && exposure_refers_to_secret(s->exposures[i].x, secret))
                touch_listener(k, &s->exposures[i]);
}

/* All of a namespace: "NAMESPACE|..." */
static void touch_granted(struct sketch *k, const char *grant)
{
    const char *bar = strchr(grant, '|');
    char ns[DOCUMENT_NAME_MAX + 1];

    for (const struct service *s = pmap_after(k->view->services, &view_services, ""); s && bar;
         s = pmap_after(k->view->services, &view_services, s->path)) {
        object_namespace(s->path, ns, sizeof(ns));
        if (strlen(ns) == (size_t)(bar - grant) && strncmp(ns, grant, strlen(ns)) == 0)
            touch_listeners(k, s);
    }
}

/* What a chain's filter starts from. */
static enum gateway_base base_of(const struct plan_chain *c)
{
    return c->kind == CHAIN_UDP ? GATEWAY_UDP_PROXY : c->kind == CHAIN_L7 ? GATEWAY_HTTP : GATEWAY_TCP_PROXY;
}

static bool is_rebased(const struct sketch *k, const char *gateway, const struct plan_chain *c)
{
    const bool *rebased = map_gets(&k->rebased, gateway);

    return rebased && rebased[base_of(c)];
}

/* Those whose filters start from something else. */
static void touch_rebased(struct sketch *k, const char *gateway)
{
    for (const struct listener_plan *p = pmap_after(k->view->listeners, &view_listeners, ""); p;
         p = pmap_after(k->view->listeners, &view_listeners, p->key))
        for (size_t i = 0; strcmp(p->gateway, gateway) == 0 && i < p->n_chains; i++)
            if (is_rebased(k, gateway, &p->chains[i]))
                map_puts(&k->listeners, p->key, k);
}

static void touch_others(struct sketch *k)
{
    for (size_t i = 0; i < k->n_edits; i++)
        if (k->edits[i].kind == DOCUMENT_CERTIFICATE)
            touch_users(k, k->edits[i].name);
        else if (k->edits[i].kind == DOCUMENT_GRANT)
            touch_granted(k, k->edits[i].name);
        else if (k->edits[i].kind == DOCUMENT_GATEWAY)
            touch_rebased(k, k->edits[i].name);
}

static bool stands_on(const struct service_exposure *sx, const char *key)
{
    _cleanup_(mem_free_p) char *own = service_exposure_listens(sx) ? exposure_listener_key(sx) : NULL;

    return own && strcmp(own, key) == 0;
}

static bool is_granted(void *arg, const char *ns, const char *kind, const char *name)
{
    return grant_stands(((const struct sketch *)arg)->draft->documents, ns, kind, name);
}

/* Everybody who is on the listener, those that are edited as they would be. */
static struct claim *gather_claims(struct sketch *k, const char *key, const struct listener_plan *before,
                                   size_t *ret_n)
{
    size_t room = before ? before->n_verdicts : 0, n = 0;
    struct claim *claims;

    for (size_t i = 0; i < k->draft->n_services; i++)
        room += k->draft->services[i]->n_exposures;
    claims = arena_array(k->draft->arena, struct claim, room);
    for (size_t i = 0; before && i < before->n_verdicts; i++) {
        const char *rid, *path = exposure_path(before->verdicts[i].exposure, k->draft->arena, &rid);

        if (path && !find_affected_by(k, path))
            claims[n].sx = service_exposure_find(view_service(k->view, path), rid);
        n += claims[n].sx != NULL;
    }
    for (size_t i = 0; i < k->draft->n_services; i++)
        for (size_t j = 0; j < k->draft->services[i]->n_exposures; j++)
            if (stands_on(&k->draft->services[i]->exposures[j], key))
                claims[n++].sx = &k->draft->services[i]->exposures[j];
    *ret_n = n;
    return claims;
}

static const struct plan_chain *find_chain(const struct listener_plan *p, const char *id)
{
    for (size_t i = 0; i < p->n_chains; i++)
        if (strcmp(p->chains[i].id, id) == 0)
            return &p->chains[i];
    return NULL;
}

static bool same_pair(const struct certificate *a, const struct certificate *b)
{
    char x[DOCUMENT_NAME_MAX], y[DOCUMENT_NAME_MAX];

    return strcmp(sds_pair_name(a, x, sizeof(x)), sds_pair_name(b, y, sizeof(y))) == 0;
}

static bool same_tls(const struct plan_chain *a, const struct plan_chain *b)
{
    if (a->tls != b->tls || a->n_certificates != b->n_certificates || !a->validation != !b->validation)
        return false;
    for (size_t i = 0; i < a->n_certificates; i++)
        if (!same_pair(a->certificates[i], b->certificates[i]))
            return false;
    return !a->validation || text_equal(a->validation->validation_secret, b->validation->validation_secret);
}

/* HTTP's filter knows no exposure: routes are another resource. */
static bool same_filter(const struct plan_chain *a, const struct plan_chain *b)
{
    const struct exposure *x = a->holder, *y = b->holder;

    if (a->kind != b->kind || !text_equal(x->filter_config_data, y->filter_config_data))
        return false;
    return a->kind == CHAIN_L7 ||
           (strcmp(x->name, y->name) == 0 && lb_policy_hashes(x->lb_policy) == lb_policy_hashes(y->lb_policy));
}

static bool has_server_name(const struct plan_chain *c, const char *name)
{
    return c->n_server_names &&
           bsearch(&name, c->server_names, c->n_server_names, sizeof(*c->server_names), text_compare);
}

/* Those of the chain's filter chains that Envoy would not find the same: routes come over RDS, and certificates over
 * SDS. */
static void add_drained(const struct sketch *k, const struct plan_chain *before, const struct listener_plan *after,
                        const char **chains, struct draft_listener *l)
{
    const struct plan_chain *now = find_chain(after, before->id);
    bool split = before->is_split;
    bool same = now && same_filter(before, now) && same_tls(before, now) && !is_rebased(k, l->gateway, now);
    bool same_names = same && split == now->is_split;

    if (before->is_default && !(same && now->is_default))
        chains[l->n_chains++] = plan_chain_part(k->draft->arena, before, NULL);
    for (size_t i = 0; split && i < before->n_server_names; i++)
        if (!same_names || !has_server_name(now, before->server_names[i]))
            chains[l->n_chains++] = plan_chain_part(k->draft->arena, before, before->server_names[i]);
    if (!split && !(same_names && text_lists_equal(before->server_names, before->n_server_names, now->server_names,
                                                   now->n_server_names)))
        chains[l->n_chains++] = plan_chain_part(k->draft->arena, before, before->server_names[0]);
}

/* What is a matter of the whole listener: how it finds out where a connection wants to go. */
static bool same_listener(const struct listener_plan *a, const struct listener_plan *b)
{
    return a->tls_inspector == b->tls_inspector &&
           listener_plan_needs_original_dst(a) == listener_plan_needs_original_dst(b);
}

static void compare_plans(struct sketch *k, const struct listener_plan *before, const struct listener_plan *after,
                          struct draft_listener *l)
{
    bool was = before && before->n_chains, is = after && after->n_chains;
    const char **chains;

    if (!was || !is) {
        l->effect = was ? EFFECT_REMOVES_LISTENER : is ? EFFECT_ADDS_LISTENER : EFFECT_NONE;
        return;
    }
    l->chains = chains = arena_array(k->draft->arena, const char *, listener_plan_filter_chains(before));
    for (size_t i = 0; i < before->n_chains; i++)
        add_drained(k, &before->chains[i], after, chains, l);
    /* UDP listeners have no chains that could go alone. */
    if (before->protocol == PROTOCOL_UDP ? l->n_chains > 0 : !same_listener(before, after))
        l->effect = EFFECT_DRAINS_LISTENER;
    else
        l->effect = l->n_chains ? EFFECT_DRAINS_CHAIN : EFFECT_NONE;
}

/* What the listener says of it at present; -1: it stands on none. */
static int verdict_before(const struct sketch *k, const struct service_exposure *sx)
{
    const struct service_exposure *before = view_exposure(k->view, sx->x->name);
    const struct listener_plan *plan;
    const struct verdict *v;

    if (!before || !service_exposure_listens(before))
        return -1;
    plan = view_exposure_plan(k->view, before);
    v = plan ? listener_plan_verdict(plan, before->x->name) : NULL;
    return v ? (int)v->kind : -1;
}

/* What was so before is no fault of the edit's. */
static enum draft_fault_kind kind_of_problem(const struct verdict *v, int before, const struct problem *p)
{
    if ((int)v->kind == before || strcmp(p->code, "warning") == 0 || strcmp(p->code, "unready") == 0)
        return DRAFT_WARNING;
    return v->kind == VERDICT_CONFLICT ? DRAFT_CONFLICT : v->kind == VERDICT_INVALID ? DRAFT_INVALID : DRAFT_WARNING;
}

static void tell_verdict(struct sketch *k, size_t edit, const struct service_exposure *sx, const struct verdict *v)
{
    int before = verdict_before(k, sx);

    for (size_t i = 0; i < v->n_problems; i++) {
        const struct problem *p = &v->problems[i];
        const char *pointer = exposure_pointer(sx->x, p->field, k->draft->arena);

        add_fault(k, kind_of_problem(v, before, p), edit, p->code, pointer ? pointer : "#", p->text)->other =
            p->other ? arena_strdup(k->draft->arena, p->other) : NULL;
    }
}

/* What becomes of the edited exposures on the listener. */
static void tell_verdicts(struct sketch *k, const struct listener_plan *plan)
{
    for (size_t i = 0; i < k->n_edits; i++) {
        const struct edit *e = &k->edits[i];
        const struct verdict *v = listener_plan_verdict(plan, e->name);
        const struct service_exposure *sx = v ? draft_exposure(k->draft, k->view, e->name) : NULL;

        if (sx && e->body && (e->kind == DOCUMENT_EXPOSURE || e->kind == DOCUMENT_OVERRIDE))
            tell_verdict(k, i, sx, v);
    }
}

static int compare_listeners(const void *a, const void *b)
{
    const struct draft_listener *x = a, *y = b;
    int order = strcmp(x->gateway, y->gateway);

    return order ? order : strcmp(x->listener, y->listener);
}

static void draft_listener(struct sketch *k, const char *key)
{
    struct draft *d = k->draft;
    struct draft_listener *l = &d->listeners[d->n_listeners++];
    const struct listener_plan *before = view_listener(k->view, key);
    const struct plan_context context = {
        .secrets = lookup_secret, .secrets_arg = k, .granted = is_granted, .granted_arg = k};
    const char *bar = strchr(key, '|');
    struct listener_plan *after = NULL;
    struct claim *claims;
    size_t n;

    *l = (struct draft_listener){.gateway = arena_strndup(d->arena, key, (size_t)(bar - key)), .listener = bar + 1};
    claims = gather_claims(k, key, before, &n);
    if (n) {
        after = listener_plan_new(l->gateway, claims, n, &context);
        d->plans[d->n_plans++] = after;
        tell_verdicts(k, after);
    }
    compare_plans(k, before, after, l);
}

static void draft_listeners(struct sketch *k)
{
    struct draft *d = k->draft;
    struct map_entry *e;

    for (size_t i = 0; i < k->n_affected; i++) {
        touch_listeners(k, k->affected[i].before);
        touch_listeners(k, k->affected[i].after);
    }
    touch_others(k);
    d->listeners = arena_array(d->arena, struct draft_listener, k->listeners.count);
    d->plans = arena_array(d->arena, struct listener_plan *, k->listeners.count);
    for (size_t i = 0; map_next(&k->listeners, &i, &e);)
        draft_listener(k, e->key);
    if (d->n_listeners)
        qsort(d->listeners, d->n_listeners, sizeof(*d->listeners), compare_listeners);
}

/* ---- the door ---- */

static void sketch_clear(struct sketch *k)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&k->secrets, &i, &e);)
        secret_unref(e->value);
    map_clear(&k->secrets);
    map_clear(&k->listeners);
    map_clear(&k->rebased);
    map_clear(&k->affected_paths);
    mem_free(k->affected);
}

struct draft *draft_new(const struct view *v, const struct edit *edits, size_t n, const struct store_options *world)
{
    struct arena *arena = arena_new();
    struct draft *d = arena_new_of(arena, struct draft);
    struct sketch k = {.draft = d, .view = v, .edits = edits, .n_edits = n, .world = world};

    d->arena = arena;
    lay_edits(&k);
    find_affected(&k);
    make_services(&k);
    tell_exposures(&k);
    draft_others(&k);
    draft_listeners(&k);
    sketch_clear(&k);
    return d;
}

void draft_free(struct draft *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_services; i++)
        service_unref(d->services[i]);
    for (size_t i = 0; i < d->n_plans; i++)
        listener_plan_unref(d->plans[i]);
    pmap_unref(d->documents, &view_documents);
    arena_free(d->arena);
}

const struct service_exposure *draft_exposure(const struct draft *d, const struct view *v, const char *name)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    const char *rid, *path = exposure_path(name, arena, &rid);

    if (!path)
        return NULL;
    for (size_t i = 0; i < d->n_services; i++)
        if (strcmp(d->services[i]->path, path) == 0)
            return service_exposure_find(d->services[i], rid);
    for (size_t i = 0; i < d->n_gone; i++)
        if (strcmp(d->gone[i], path) == 0)
            return NULL;
    return view_exposure(v, name);
}

/* ---- as Envoys would get it ---- */

static void set_gateway(const struct draft *d, struct view_delta *delta, const char *name,
                        const struct store_options *world)
{
    const struct gateway_settings settings = settings_of(world, d->documents, name, d->arena);
    struct gateway *gateway;

    if (view_gateway(delta->after, name))
        return;
    gateway = gateway_new(name, false, &settings);
    view_delta_set(delta, VIEW_GATEWAY, name, gateway);
    gateway_unref(gateway);
}

/* Secrets with the edits of certificates, the map's reference the caller's. */
static struct pmap *secrets_with_edits(const struct draft *d, const struct view *v)
{
    struct pmap *secrets = pmap_ref(v->secrets);

    for (const struct document *c = view_document_after(v, DOCUMENT_CERTIFICATE, ""); c;
         c = view_document_after(v, DOCUMENT_CERTIFICATE, c->name))
        if (!documents_find(d->documents, DOCUMENT_CERTIFICATE, c->name))
            secrets = pmap_remove(secrets, &view_secrets, c->name);
    for (const struct document *c = documents_after(d->documents, DOCUMENT_CERTIFICATE, ""); c;
         c = documents_after(d->documents, DOCUMENT_CERTIFICATE, c->name)) {
        struct secret *secret;

        if (view_document(v, DOCUMENT_CERTIFICATE, c->name) == c)
            continue;
        secret = secret_of_body(c->name, c->body);
        if (secret)
            secrets = pmap_put(secrets, &view_secrets, secret);
        secret_unref(secret);
    }
    return secrets;
}

struct view_delta *draft_delta(const struct draft *d, const struct view *v, const struct store_options *world)
{
    struct view *after;
    struct view_delta *delta;

    if (!d->n_plans)
        return NULL;
    after = view_new(NULL);
    after->complete = true;
    after->secrets = secrets_with_edits(d, v);
    delta = view_delta_new(NULL, after);
    view_unref(after);
    for (size_t i = 0; i < d->n_services; i++)
        view_delta_set(delta, VIEW_SERVICE, d->services[i]->path, d->services[i]);
    for (size_t i = 0; i < d->n_plans; i++) {
        view_delta_set(delta, VIEW_LISTENER, d->plans[i]->key, d->plans[i]);
        set_gateway(d, delta, d->plans[i]->gateway, world);
    }
    view_delta_sort(delta);
    return delta;
}
