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
#include "store/overlay.h"
#include "store/pack.h"
#include "store/spec.h"

#include <errno.h>
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
    struct pmap *documents; /* with the edits */
    struct affected *affected;
    size_t n_affected;
    struct map secrets;           /* of edited certificates, by path: struct secret, owned */
    struct map listeners;         /* keys of those that are touched, in the arena */
    struct listener_plan **plans; /* what would be, owned */
    size_t n_plans;
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
    k->documents = pmap_ref(k->view->documents);
    for (size_t i = 0; i < k->n_edits; i++) {
        const struct edit *e = &k->edits[i];
        _cleanup_(mem_free_p) char *key = mem_printf("%s/%s", document_kind_name(e->kind), e->name);

        if (e->body) {
            struct document *d = document_new(e->kind, e->name, e->body, "", 0, 0, 0);

            k->documents = pmap_put(k->documents, &view_documents, d);
            document_unref(d);
        } else if (pmap_get(k->documents, &view_documents, key)) {
            k->documents = pmap_remove(k->documents, &view_documents, key);
        }
    }
}

static void add_affected(struct sketch *k, const char *path)
{
    for (size_t i = 0; i < k->n_affected; i++)
        if (strcmp(k->affected[i].path, path) == 0)
            return;
    k->affected[k->n_affected++] = (struct affected){.path = path, .before = view_service(k->view, path)};
}

static bool names_gateway(const struct service *s, const char *gateway)
{
    for (size_t i = 0; i < s->n_exposures; i++)
        if (s->exposures[i].gateway && strcmp(s->exposures[i].gateway, gateway) == 0)
            return true;
    return false;
}

/* How many services a gateway's edit is tried with: one that has more is tried with the first of them. */
enum { GATEWAY_SERVICES_MAX = 256 };

static void add_gateways_services(struct sketch *k, const char *gateway, size_t *room)
{
    for (const struct service *s = pmap_after(k->view->services, &view_services, ""); s && *room;
         s = pmap_after(k->view->services, &view_services, s->path))
        if (names_gateway(s, gateway)) {
            add_affected(k, s->path);
            --*room;
        }
}

static void find_affected(struct sketch *k)
{
    size_t room = GATEWAY_SERVICES_MAX;

    k->affected = arena_array(k->draft->arena, struct affected, k->n_edits + GATEWAY_SERVICES_MAX);
    for (size_t i = 0; i < k->n_edits; i++) {
        const struct edit *e = &k->edits[i];
        const char *rid, *path;

        if (e->kind == DOCUMENT_EXPOSURE || e->kind == DOCUMENT_OVERRIDE) {
            path = exposure_path(e->name, k->draft->arena, &rid);
            if (path)
                add_affected(k, path);
            else
                add_fault(k, DRAFT_INVALID, i, "invalid", "#/name",
                          "an exposure's name is the path of a service, a dot, and expose#NUMBER: \"web1.expose#0\", "
                          "\"test/svc/web1.expose#0\"");
        } else if (e->kind == DOCUMENT_GATEWAY) {
            add_gateways_services(k, e->name, &room);
        }
    }
}

/* ---- services ---- */

static const struct service_exposure *find_exposure(const struct service *s, const char *rid)
{
    for (size_t i = 0; s && i < s->n_exposures; i++)
        if (strcmp(s->exposures[i].declared->rid, rid) == 0)
            return &s->exposures[i];
    return NULL;
}

static bool has_name(const struct exposure *x, const char *name)
{
    for (size_t i = 0; i < x->n_sni; i++)
        if (strcmp(x->sni[i], name) == 0)
            return true;
    for (size_t i = 0; i < x->n_vhosts; i++)
        for (size_t j = 0; j < x->vhosts[i]->n_domains; j++)
            if (strcmp(x->vhosts[i]->domains[j], name) == 0)
                return true;
    return false;
}

static int compare_since(const void *a, const void *b)
{
    return strcmp(((const struct name_since *)a)->name, ((const struct name_since *)b)->name);
}

/* Names that it holds already keep their time. */
static void set_later(struct sketch *k, const struct service_exposure *before, const struct exposure *x,
                      struct exposure_state *state)
{
    struct name_since *later;
    size_t n = x->n_sni;

    for (size_t i = 0; i < x->n_vhosts; i++)
        n += x->vhosts[i]->n_domains;
    later = arena_array(k->draft->arena, struct name_since, n);
    n = 0;
    for (size_t i = 0; i < x->n_sni; i++)
        later[n++].name = x->sni[i];
    for (size_t i = 0; i < x->n_vhosts; i++)
        for (size_t j = 0; j < x->vhosts[i]->n_domains; j++)
            later[n++].name = x->vhosts[i]->domains[j];
    for (size_t i = 0; i < n; i++)
        later[i].since =
            has_name(before->x, later[i].name) ? service_exposure_since(before, later[i].name) : UINT64_MAX;
    if (n)
        qsort(later, n, sizeof(*later), compare_since);
    state->later = later;
    state->n_later = 0;
    for (size_t i = 0; i < n; i++)
        if (later[i].since != before->since &&
            (state->n_later == 0 || strcmp(later[state->n_later - 1].name, later[i].name) != 0))
            later[state->n_later++] = later[i];
}

static const struct gateway *find_gateway(const struct sketch *k, const char *name, struct gateway **ret_own)
{
    _cleanup_(mem_free_p) char *key = mem_printf("gateway/%s", name);
    const struct document *d = k->documents ? pmap_get(k->documents, &view_documents, key) : NULL;
    struct gateway_settings settings = {.port_min = k->world->port_min, .port_max = k->world->port_max};

    gateway_settings_read(d ? d->body : NULL, &settings);
    *ret_own = gateway_new(name, false, &settings);
    return *ret_own;
}

static struct problem *hindrance(struct sketch *k, const char *code, const char *field, const char *text)
{
    struct problem *p = arena_new_of(k->draft->arena, struct problem);

    *p = (struct problem){code, arena_strdup(k->draft->arena, field), arena_strdup(k->draft->arena, text)};
    return p;
}

static void find_hindrance(struct sketch *k, const struct exposure *x, struct exposure_state *state)
{
    struct gateway *own = NULL;
    struct err e = {0};
    int r = 0;

    if (!state->gateway) {
        state->hindrance =
            hindrance(k, "not_allowed", "gateway", "the exposure names no gateway, and there is no default gateway");
        return;
    }
    if (k->world->check && exposure_needs_permission(x))
        r = k->world->check(x, find_gateway(k, state->gateway, &own), k->world->check_arg, &e);
    gateway_unref(own);
    if (r < 0)
        state->hindrance = hindrance(k, r == -EPERM ? "not_allowed" : "invalid", e.field, e.text);
    else if (x->disabled)
        state->hindrance = hindrance(k, "disabled", "enabled", "it is disabled");
}

static void set_state(struct sketch *k, const struct affected *a, const struct exposure *x,
                      struct exposure_state *state)
{
    const struct service_exposure *before = find_exposure(a->before, x->rid);
    bool same_gateway;

    state->gateway = x->gateway ? x->gateway : k->world->default_gateway;
    if (!x->valid)
        return;
    find_hindrance(k, x, state);
    same_gateway = before && before->gateway && state->gateway && strcmp(before->gateway, state->gateway) == 0;
    state->listener_port = x->listener_port;
    if (!x->listener_port && same_gateway && before->x->valid && !before->x->listener_port)
        state->listener_port = before->listener_port;
    state->since = UINT64_MAX;
    if (same_gateway && before->x->valid && before->listener_port == state->listener_port &&
        before->x->protocol == x->protocol && address_compare(&before->x->listener_addr, &x->listener_addr) == 0) {
        state->since = before->since;
        set_later(k, before, x, state);
    }
}

static struct service *make_service(struct sketch *k, const struct affected *a)
{
    struct arena *arena = k->draft->arena;
    struct agent_word *word = a->before ? a->before->word : NULL;
    struct facts f = {0};
    struct overlay overlay;
    struct declaration *d;
    const struct exposure *x;
    struct exposure_state *states;
    struct service *s;
    size_t n;

    if (word)
        (void)unpack_resources(word->bytes, word->len, arena, &f); /* the store's own bytes */
    overlay_make(a->path, f.resources, f.n_resources, k->documents, arena, &overlay);
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
    for (size_t i = 0; i < k->n_affected; i++) {
        k->affected[i].after = make_service(k, &k->affected[i]);
        if (k->affected[i].after)
            d->services[d->n_services++] = k->affected[i].after;
    }
}

static const struct affected *find_affected_by(const struct sketch *k, const char *path)
{
    return k->n_affected ? bsearch(&(struct affected){.path = path}, k->affected, k->n_affected, sizeof(*k->affected),
                                   compare_affected)
                         : NULL;
}

static void tell_exposure(struct sketch *k, size_t edit, const struct service_exposure *sx)
{
    const struct exposure *x = sx->declared;

    for (size_t i = 0; i < x->n_problems; i++) {
        const struct problem *p = &x->problems[i];
        const char *pointer = exposure_pointer(x, p->field ? p->field : "", k->draft->arena);
        bool warning = strcmp(p->code, "warning") == 0 || strcmp(p->code, "shadowed") == 0;

        add_fault(k, warning ? DRAFT_WARNING : DRAFT_INVALID, edit, p->code, pointer ? pointer : "#", p->text);
    }
    if (sx->hindrance && strcmp(sx->hindrance->code, "disabled") != 0)
        add_fault(k, DRAFT_INVALID, edit, sx->hindrance->code,
                  exposure_pointer(x, sx->hindrance->field, k->draft->arena), sx->hindrance->text);
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
        sx = a && a->after ? find_exposure(a->after, rid) : NULL;
        if (sx && e->body)
            tell_exposure(k, i, sx);
    }
}

/* ---- certificates ---- */

static void draft_certificate(struct sketch *k, size_t edit)
{
    struct secret *secret = secret_of_body(k->edits[edit].name, k->edits[edit].body);

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
    map_puts(&k->secrets, secret->path, secret);
}

static void draft_gateway(struct sketch *k, size_t edit)
{
    struct gateway_settings settings = {.port_min = k->world->port_min, .port_max = k->world->port_max};

    if (gateway_settings_read(k->edits[edit].body, &settings) < 0)
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#", "these are no settings of a gateway");
    else if (settings.port_min > settings.port_max)
        add_fault(k, DRAFT_INVALID, edit, "invalid", "#/port_max", "must not be below port_min");
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

static void touch_listeners(struct sketch *k, const struct service *s)
{
    for (size_t i = 0; s && i < s->n_exposures; i++) {
        const struct service_exposure *sx = &s->exposures[i];
        char name[64];

        if (!service_exposure_listens(sx))
            continue;
        listener_name(&sx->x->listener_addr, sx->listener_port, sx->x->protocol, name);
        map_puts(&k->listeners, arena_printf(k->draft->arena, "%s|%s", sx->gateway, name), k);
    }
}

static bool stands_on(const struct service_exposure *sx, const char *key)
{
    _cleanup_(mem_free_p) char *own = NULL;
    char name[64];

    if (!service_exposure_listens(sx))
        return false;
    listener_name(&sx->x->listener_addr, sx->listener_port, sx->x->protocol, name);
    own = mem_printf("%s|%s", sx->gateway, name);
    return strcmp(own, key) == 0;
}

static const struct secret *lookup_secret(void *arg, const char *path)
{
    const struct sketch *k = arg;
    const struct secret *edited = map_gets(&k->secrets, path);

    return edited ? edited : view_secret(k->view, path);
}

static bool is_granted(void *arg, const char *ns, const char *kind, const char *name)
{
    return grant_stands(((const struct sketch *)arg)->documents, ns, kind, name);
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
            claims[n].sx = find_exposure(view_service(k->view, path), rid);
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

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Whether Envoy would find the same filter chain: routes come over RDS, and certificates over SDS. */
static bool same_chain(const struct plan_chain *a, const struct plan_chain *b)
{
    if (a->kind != b->kind || a->tls != b->tls || a->n_server_names != b->n_server_names ||
        a->n_certificates != b->n_certificates || !a->validation != !b->validation ||
        !same_text(a->holder->filter_config_data, b->holder->filter_config_data))
        return false;
    if (a->kind != CHAIN_L7 && strcmp(a->holder->name, b->holder->name) != 0)
        return false;
    for (size_t i = 0; i < a->n_server_names; i++)
        if (strcmp(a->server_names[i], b->server_names[i]) != 0)
            return false;
    for (size_t i = 0; i < a->n_certificates; i++)
        if (strcmp(a->certificates[i]->name, b->certificates[i]->name) != 0 ||
            !same_text(a->certificates[i]->secret, b->certificates[i]->secret))
            return false;
    return !a->validation || same_text(a->validation->validation_secret, b->validation->validation_secret);
}

static void compare_plans(struct sketch *k, const struct listener_plan *before, const struct listener_plan *after,
                          struct draft_listener *l)
{
    bool was = before && before->n_chains, is = after && after->n_chains;
    const char **drained;

    if (!was || !is) {
        l->effect = was ? EFFECT_REMOVES_LISTENER : is ? EFFECT_ADDS_LISTENER : EFFECT_NONE;
        return;
    }
    drained = arena_array(k->draft->arena, const char *, before->n_chains);
    for (size_t i = 0; i < before->n_chains; i++) {
        const struct plan_chain *now = find_chain(after, before->chains[i].id);

        if (!now || !same_chain(&before->chains[i], now))
            drained[l->n_chains++] = arena_strdup(k->draft->arena, before->chains[i].id);
    }
    l->chains = drained;
    /* Whether a listener looks into TLS is a matter of the whole listener; UDP listeners have no chains. */
    if (before->tls_inspector != after->tls_inspector || (l->n_chains && before->protocol == PROTOCOL_UDP))
        l->effect = EFFECT_DRAINS_LISTENER;
    else
        l->effect = l->n_chains ? EFFECT_DRAINS_CHAIN : EFFECT_NONE;
}

/* "... is held by test/svc/web1.expose#0 ...": plans name the winner last. */
static const char *other_of(const struct problem *p, struct arena *arena)
{
    const char *at = strstr(p->text, ".expose#");
    size_t n = 0;

    if (!at)
        return NULL;
    while (at > p->text && at[-1] != ' ' && at[-1] != '"' && at[-1] != '(')
        at--;
    n = strcspn(at, " ,;:\")");
    while (n > 0 && at[n - 1] == '.')
        n--;
    return arena_strndup(arena, at, n);
}

static bool was_in_conflict(const struct sketch *k, const struct service_exposure *sx)
{
    const struct affected *a = find_affected_by(k, sx->x->path);
    const struct service_exposure *before = a ? find_exposure(a->before, sx->x->rid) : NULL;
    _cleanup_(mem_free_p) char *key = NULL;
    const struct listener_plan *plan;
    const struct verdict *v;
    char name[64];

    if (!before || !service_exposure_listens(before))
        return false;
    listener_name(&before->x->listener_addr, before->listener_port, before->x->protocol, name);
    key = mem_printf("%s|%s", before->gateway, name);
    plan = view_listener(k->view, key);
    v = plan ? listener_plan_verdict(plan, before->x->name) : NULL;
    return v && v->kind == VERDICT_CONFLICT;
}

/* What becomes of the edited exposures on the listener. */
static void tell_verdicts(struct sketch *k, const struct listener_plan *plan)
{
    for (size_t i = 0; i < k->n_edits; i++) {
        const struct edit *e = &k->edits[i];
        const struct verdict *v = listener_plan_verdict(plan, e->name);
        const struct service_exposure *sx = v ? draft_exposure(k->draft, k->view, e->name) : NULL;
        bool conflict;

        if (!sx || !e->body || (e->kind != DOCUMENT_EXPOSURE && e->kind != DOCUMENT_OVERRIDE))
            continue;
        conflict = v->kind == VERDICT_CONFLICT && !was_in_conflict(k, sx);
        for (size_t p = 0; p < v->n_problems; p++) {
            const char *pointer = exposure_pointer(sx->x, v->problems[p].field, k->draft->arena);

            add_fault(k, conflict ? DRAFT_CONFLICT : DRAFT_WARNING, i, v->problems[p].code, pointer ? pointer : "#",
                      v->problems[p].text)
                ->other = other_of(&v->problems[p], k->draft->arena);
        }
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
        k->plans[k->n_plans++] = after;
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
    d->listeners = arena_array(d->arena, struct draft_listener, k->listeners.count);
    k->plans = arena_array(d->arena, struct listener_plan *, k->listeners.count);
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
    for (size_t i = 0; i < k->n_plans; i++)
        listener_plan_unref(k->plans[i]);
    map_clear(&k->secrets);
    map_clear(&k->listeners);
    pmap_unref(k->documents, &view_documents);
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
            return find_exposure(d->services[i], rid);
    return find_exposure(view_service(v, path), rid);
}
