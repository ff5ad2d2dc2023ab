/*
 * From the difference of two views to a batch of resources.
 *
 * What was made is remembered by object: an emission for each exposure that has a cluster, a port for each listener.
 * Both hold references to what they were made from, so that pointers can be compared with those of a new view: an
 * exposure's pointer that did not change means that its cluster did not. The resources themselves stand in the
 * ledger, which drops what came out as it was.
 *
 * An exposure's cluster depends on its declaration, on its listener's verdict, on its gateway's policy and on whether
 * the secret for its TLS is there; its assignment on its endpoints. Each kind of change leads to the emissions that
 * it may concern, and to no others.
 */
#include "proto/translate.h"

#include "base/map.h"
#include "base/text.h"
#include "proto/cluster.h"
#include "proto/ledger.h"
#include "proto/listener.h"
#include "proto/route.h"
#include "proto/sds_refs.h"
#include "store/announce.h"

#include <stdlib.h>
#include <string.h>

struct group;
struct emission;

/* An emission's place in the list of those that wait for, or use, one secret. */
struct use {
    struct emission *emission;
    struct users *of;
    struct use *next, *prev;
};

/* The emissions whose clusters use one secret. */
struct users {
    struct use *first;
    char path[];
};

/* A cluster and its assignment in a gateway. */
struct emission {
    struct group *group;
    struct emission *next, *prev; /* of the group */
    struct service *service;      /* the reference that keeps sx alive */
    const struct service_exposure *sx;
    bool real; /* its own cluster, and not what stands in its place */
    bool uses_eds;
    struct use uses[CLUSTER_SDS_MAX];
    char *secrets[CLUSTER_SDS_MAX]; /* SDS names that it holds references to */
    size_t n_uses, n_secrets;
    char name[];
};

/* A listener and its route configurations in a gateway. */
struct port {
    struct group *group;
    struct port *next, *prev;
    struct listener_plan *plan; /* a reference */
    char **routes, **secrets;   /* names of resources, and of SDS references */
    size_t n_routes, n_secrets;
};

/* All of one gateway. */
struct group {
    struct gateway *gateway; /* a reference; NULL: the view does not have it */
    struct emission *emissions;
    struct port *ports;
    char name[];
};

struct translator {
    faults_tell tell;
    void *arg;
    struct faults *faults;
    struct ledger *ledger;
    struct sds_refs *secrets;
    struct map groups, emissions, ports, users;
    bool complete, started, gateways_changed;
    uint64_t revision; /* of the last batch */
};

/* ---- the translator ---- */

struct translator *translator_new(faults_tell tell, void *arg)
{
    struct translator *t = mem_new(struct translator);

    t->tell = tell;
    t->arg = arg;
    t->faults = faults_new();
    t->ledger = ledger_new();
    t->secrets = sds_refs_new(t->ledger);
    return t;
}

struct faults *translator_faults(const struct translator *t)
{
    return t->faults;
}

/* ---- faults ---- */

static struct fault_origin place_in(const struct group *g, enum xds_type type, const char *name)
{
    return (struct fault_origin){.gateway = g->name, .type = type, .name = name};
}

/* The resource is made anew, or goes: what was wrong with it before is over. */
static void begin(const struct translator *t, const struct group *g, enum xds_type type, const char *name)
{
    const struct fault_origin place = place_in(g, type, name);

    faults_begin(t->faults, &place);
}

/* ---- gateways ---- */

static struct group *group_of(struct translator *t, const char *name)
{
    struct group *g = map_gets(&t->groups, name);
    size_t n = strlen(name) + 1;

    if (g)
        return g;
    g = mem_alloc(sizeof(*g) + n);
    memcpy(g->name, name, n);
    map_puts(&t->groups, g->name, g);
    return g;
}

static void group_free_if_unused(struct translator *t, struct group *g)
{
    if (g->gateway || g->emissions || g->ports)
        return;
    map_removes(&t->groups, g->name);
    mem_free(g);
}

/* ---- who uses a secret in a cluster ---- */

static void use_secret(struct translator *t, struct emission *em, const char *path)
{
    struct users *u = map_gets(&t->users, path);
    struct use *use = &em->uses[em->n_uses++];

    if (!u) {
        size_t n = strlen(path) + 1;

        u = mem_alloc(sizeof(*u) + n);
        memcpy(u->path, path, n);
        map_puts(&t->users, u->path, u);
    }
    *use = (struct use){.emission = em, .of = u, .next = u->first};
    if (u->first)
        u->first->prev = use;
    u->first = use;
}

static void unuse_secrets(struct translator *t, struct emission *em)
{
    for (size_t i = 0; i < em->n_uses; i++) {
        struct use *use = &em->uses[i];

        if (use->prev)
            use->prev->next = use->next;
        else
            use->of->first = use->next;
        if (use->next)
            use->next->prev = use->prev;
        if (!use->of->first) {
            map_removes(&t->users, use->of->path);
            mem_free(use->of);
        }
    }
    em->n_uses = 0;
}

/* ---- emissions ---- */

static struct emission *emission_new(struct translator *t, struct group *g, const char *name)
{
    size_t n = strlen(name) + 1;
    struct emission *em = mem_alloc(sizeof(*em) + n);

    memcpy(em->name, name, n);
    em->group = g;
    em->next = g->emissions;
    if (g->emissions)
        g->emissions->prev = em;
    g->emissions = em;
    map_puts(&t->emissions, em->name, em);
    return em;
}

static void release_secrets(struct translator *t, struct emission *em)
{
    for (size_t i = 0; i < em->n_secrets; i++) {
        sds_refs_remove(t->secrets, em->group->name, em->secrets[i]);
        mem_free(em->secrets[i]);
    }
    em->n_secrets = 0;
}

static void emission_free(struct translator *t, struct emission *em)
{
    unuse_secrets(t, em);
    if (em->prev)
        em->prev->next = em->next;
    else
        em->group->emissions = em->next;
    if (em->next)
        em->next->prev = em->prev;
    map_removes(&t->emissions, em->name);
    service_unref(em->service);
    mem_free(em);
}

static void withdraw(struct translator *t, struct emission *em)
{
    struct group *g = em->group;

    release_secrets(t, em);
    begin(t, g, XDS_CLUSTER, em->name);
    begin(t, g, XDS_ENDPOINT, em->name);
    ledger_drop(t->ledger, g->name, XDS_CLUSTER, em->name);
    ledger_drop(t->ledger, g->name, XDS_ENDPOINT, em->name);
    emission_free(t, em);
    group_free_if_unused(t, g);
}

static bool secrets_ready(const struct view *v, const struct sds_ref *refs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!sds_ref_ready(v, &refs[i]))
            return false;
    return true;
}

static void tell_emission(const struct translator *t, const struct emission *em, enum xds_type type,
                          enum fault_part part, struct err *e)
{
    const struct fault_origin place = place_in(em->group, type, em->name);

    if (e->field[0])
        err_prefix_field(e, em->sx->x->rid);
    faults_add(t->faults, &place, em->name, part, e);
}

static struct resource *own_cluster(const struct translator *t, const struct view *v, const struct emission *em,
                                    const struct sds_ref *refs, size_t n)
{
    struct resource *cluster;
    struct err e = {0};

    if (!secrets_ready(v, refs, n))
        return NULL; /* the plan's verdict says so */
    if (cluster_make(em->sx, em->group->gateway, &cluster, &e) == 0)
        return cluster;
    if (!em->sx->x->cluster_data)
        err_field_to_text(&e);
    tell_emission(t, em, XDS_CLUSTER, FAULT_CLUSTER, &e);
    return NULL;
}

/* New references before the old ones go: what both have stays. */
static void exchange_secrets(struct translator *t, struct emission *em, const struct sds_ref *refs, size_t n)
{
    char *old[CLUSTER_SDS_MAX];
    size_t n_old = em->n_secrets;

    memcpy(old, em->secrets, sizeof(old));
    em->n_secrets = 0;
    for (size_t i = 0; i < n; i++) {
        sds_refs_add(t->secrets, em->group->name, &refs[i]);
        em->secrets[em->n_secrets++] = mem_strdup(refs[i].name);
    }
    for (size_t i = 0; i < n_old; i++) {
        sds_refs_remove(t->secrets, em->group->name, old[i]);
        mem_free(old[i]);
    }
}

static void emit_cluster(struct translator *t, const struct view *v, struct emission *em)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    struct sds_ref refs[CLUSTER_SDS_MAX];
    size_t n = cluster_sds_refs(a, em->sx->x, refs);

    begin(t, em->group, XDS_CLUSTER, em->name);
    struct resource *cluster = own_cluster(t, v, em, refs, n);
    em->real = cluster;
    if (!cluster)
        cluster = cluster_placeholder(em->sx->x);
    em->uses_eds = cluster->uses_eds;
    ledger_put(t->ledger, em->group->name, cluster);
    exchange_secrets(t, em, refs, em->real ? n : 0);
    unuse_secrets(t, em);
    for (size_t i = 0; i < n; i++)
        if (sds_ref_secret(&refs[i]))
            use_secret(t, em, sds_ref_secret(&refs[i]));
}

static void emit_assignment(struct translator *t, struct emission *em)
{
    struct resource *assignment;
    struct err e = {0};

    begin(t, em->group, XDS_ENDPOINT, em->name);
    if (!em->uses_eds) {
        ledger_drop(t->ledger, em->group->name, XDS_ENDPOINT, em->name);
        return;
    }
    if (assignment_make(em->sx, &assignment, &e) == 0) {
        ledger_put(t->ledger, em->group->name, assignment);
        return;
    }
    err_field_to_text(&e);
    tell_emission(t, em, XDS_ENDPOINT,
                  ledger_has(t->ledger, em->group->name, XDS_ENDPOINT, em->name) ? FAULT_CHANGE : FAULT_ENDPOINT, &e);
}

/* Cluster and assignment once more, whatever they are made of. */
static void emit(struct translator *t, const struct view *v, struct emission *em)
{
    emit_cluster(t, v, em);
    emit_assignment(t, em);
}

static void set_source(struct emission *em, struct service *s, const struct service_exposure *sx)
{
    struct service *before = em->service;

    em->service = service_ref(s);
    em->sx = sx;
    service_unref(before);
}

/* ---- exposures ---- */

static bool accepted(const struct verdict *verdict)
{
    return verdict && (verdict->kind == VERDICT_ACCEPTED || verdict->kind == VERDICT_PARTIAL);
}

/* The gateway in which the exposure is in effect, or NULL. */
static struct group *place_of(struct translator *t, const struct view *v, const struct service_exposure *sx)
{
    const struct listener_plan *plan;

    if (!service_exposure_listens(sx) || !view_gateway(v, sx->gateway))
        return NULL;
    plan = view_exposure_plan(v, sx);
    if (!plan || !accepted(listener_plan_verdict(plan, sx->x->name)))
        return NULL;
    return group_of(t, sx->gateway);
}

/* Brings the exposure's emission to what the view says. s: its service, or NULL; name: of the exposure. */
static void update(struct translator *t, const struct view *v, struct service *s, const struct service_exposure *sx,
                   const char *name)
{
    struct emission *em = map_gets(&t->emissions, name);
    struct group *g = s && sx ? place_of(t, v, sx) : NULL;
    bool cluster_changed, endpoints_changed;

    if (em && em->group != g) {
        withdraw(t, em);
        em = NULL;
    }
    if (!g)
        return;
    if (!em) {
        em = emission_new(t, g, name);
        set_source(em, s, sx);
        emit(t, v, em);
        return;
    }
    cluster_changed = !cluster_equal(em->sx, sx);
    endpoints_changed = !assignment_equal(em->sx, sx);
    set_source(em, s, sx);
    if (cluster_changed)
        emit(t, v, em);
    else if (endpoints_changed)
        emit_assignment(t, em);
}

/* An exposure whose service may not have changed. */
static void update_by_name(struct translator *t, const struct view *v, const char *name)
{
    const struct service_exposure *sx = view_exposure(v, name);

    update(t, v, sx ? view_service(v, sx->x->path) : NULL, sx, name);
}

/* ---- listeners ---- */

static void release_port(struct translator *t, struct port *p)
{
    for (size_t i = 0; i < p->n_secrets; i++) {
        sds_refs_remove(t->secrets, p->group->name, p->secrets[i]);
        mem_free(p->secrets[i]);
    }
    mem_free(p->secrets);
    for (size_t i = 0; i < p->n_routes; i++)
        mem_free(p->routes[i]);
    mem_free(p->routes);
    p->routes = p->secrets = NULL;
    p->n_routes = p->n_secrets = 0;
}

static void port_free(struct translator *t, struct port *p)
{
    if (p->prev)
        p->prev->next = p->next;
    else
        p->group->ports = p->next;
    if (p->next)
        p->next->prev = p->prev;
    map_removes(&t->ports, p->plan->key);
    listener_plan_unref(p->plan);
    mem_free(p);
}

static struct port *port_new(struct translator *t, struct group *g, struct listener_plan *plan)
{
    struct port *p = mem_new(struct port);

    p->group = g;
    p->plan = listener_plan_ref(plan);
    p->next = g->ports;
    if (g->ports)
        g->ports->prev = p;
    g->ports = p;
    map_puts(&t->ports, plan->key, p);
    return p;
}

static void drop_port(struct translator *t, struct port *p)
{
    struct group *g = p->group;

    begin(t, g, XDS_LISTENER, p->plan->name);
    ledger_drop(t->ledger, g->name, XDS_LISTENER, p->plan->name);
    for (size_t i = 0; i < p->n_routes; i++)
        ledger_drop(t->ledger, g->name, XDS_ROUTE, p->routes[i]);
    release_port(t, p);
    port_free(t, p);
    group_free_if_unused(t, g);
}

/* Hands the resources to the ledger and remembers their names; what was there before and is no more is dropped. */
static void exchange_port(struct translator *t, struct port *p, struct listener_result *made)
{
    const char *gateway = p->group->name;
    struct port old = *p;

    p->routes = mem_array(char *, made->n_routes);
    p->secrets = mem_array(char *, made->n_secrets);
    p->n_routes = p->n_secrets = 0;
    for (size_t i = 0; i < old.n_routes; i++)
        ledger_drop(t->ledger, gateway, XDS_ROUTE, old.routes[i]);
    for (size_t i = 0; i < made->n_routes; i++) {
        p->routes[p->n_routes++] = mem_strdup(made->routes[i]->name);
        ledger_put(t->ledger, gateway, take_ptr(made->routes[i]));
    }
    made->n_routes = 0;
    for (size_t i = 0; i < made->n_secrets; i++) {
        sds_refs_add(t->secrets, gateway, &made->secrets[i]);
        p->secrets[p->n_secrets++] = mem_strdup(made->secrets[i].name);
    }
    if (made->listener)
        ledger_put(t->ledger, gateway, take_ptr(made->listener));
    else
        ledger_drop(t->ledger, gateway, XDS_LISTENER, p->plan->name);
    release_port(t, &old);
}

static void emit_port(struct translator *t, struct port *p)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    const struct translate_scope scope = {
        .gateway = p->group->gateway,
        .faults = t->faults,
        .place = place_in(p->group, XDS_LISTENER, p->plan->name), /* its routes have no other place */
    };
    struct listener_result made;

    faults_begin(t->faults, &scope.place);
    listener_make(a, p->plan, &scope, &made);
    exchange_port(t, p, &made);
    listener_result_clear(&made);
}

static void update_port(struct translator *t, const struct view *v, const char *key, struct listener_plan *after)
{
    struct port *p = map_gets(&t->ports, key);
    struct listener_plan *before;

    if (!after || !after->n_chains || !view_gateway(v, after->gateway)) {
        if (p)
            drop_port(t, p);
        return;
    }
    if (!p) {
        emit_port(t, port_new(t, group_of(t, after->gateway), after));
        return;
    }
    before = p->plan;
    p->plan = listener_plan_ref(after);
    map_puts(&t->ports, after->key, p); /* the key stands in the plan */
    listener_plan_unref(before);
    emit_port(t, p);
}

/* Whether what a new verdict grants is there already: its service, which changed as well, came first. */
static bool has_emission(const struct translator *t, const struct listener_plan *plan, const char *name)
{
    const struct emission *em = map_gets(&t->emissions, name);

    return em && !strcmp(em->group->name, plan->gateway);
}

/* The exposures whose verdict is another one: a merge of two sorted lists. */
static void update_judged(struct translator *t, const struct view *v, const struct listener_plan *before,
                          const struct listener_plan *after)
{
    size_t n = before ? before->n_verdicts : 0, m = after ? after->n_verdicts : 0, i = 0, k = 0;

    while (i < n || k < m) {
        const struct verdict *x = i < n ? &before->verdicts[i] : NULL;
        const struct verdict *y = k < m ? &after->verdicts[k] : NULL;
        int order = !x ? 1 : !y ? -1 : strcmp(x->exposure, y->exposure);

        x = order <= 0 ? x : NULL;
        y = order >= 0 ? y : NULL;
        if (accepted(x) != accepted(y) && !(accepted(y) && has_emission(t, after, y->exposure)))
            update_by_name(t, v, x ? x->exposure : y->exposure);
        i += x != NULL;
        k += y != NULL;
    }
}

/* ---- one change of each kind ---- */

/* The gateway is gone: so is all that was made for it. Until then its reference keeps the group. */
static void drop_group(struct translator *t, struct group *g)
{
    while (g->emissions)
        withdraw(t, g->emissions);
    while (g->ports)
        drop_port(t, g->ports);
    gateway_unref(take_ptr(g->gateway));
    group_free_if_unused(t, g);
}

/* Whether both give the same resources. */
static bool same_gateway(const struct gateway *a, const struct gateway *b)
{
    for (size_t i = 0; i < GATEWAY_BASES; i++)
        if (!text_equal(a->bases[i], b->bases[i]))
            return false;
    return a->allow_files == b->allow_files && a->allow_cluster_header == b->allow_cluster_header;
}

static void set_gateway(struct translator *t, const struct view *v, struct group *g, struct gateway *gateway)
{
    _cleanup_(gateway_unref_p) struct gateway *before = g->gateway;

    g->gateway = gateway_ref(gateway);
    if (before && same_gateway(before, gateway))
        return;
    for (struct emission *em = g->emissions; em; em = em->next)
        emit(t, v, em);
    for (struct port *p = g->ports; p; p = p->next)
        emit_port(t, p);
}

static void gateway_changed(struct translator *t, const struct view *v, const struct view_change *c)
{
    struct gateway *after = c->after;
    struct group *g = group_of(t, c->key);

    t->gateways_changed |= !c->before != !c->after;
    if (!after) {
        drop_group(t, g);
        return;
    }
    set_gateway(t, v, g, after);
}

static void service_changed(struct translator *t, const struct view *v, const struct view_change *c)
{
    const struct service *before = c->before;
    struct service *after = c->after;

    for (size_t i = 0; before && i < before->n_exposures; i++)
        if (!service_exposure_find(after, before->exposures[i].declared->rid))
            update(t, v, NULL, NULL, before->exposures[i].x->name);
    for (size_t i = 0; after && i < after->n_exposures; i++)
        update(t, v, after, &after->exposures[i], after->exposures[i].x->name);
}

static void secret_changed(struct translator *t, const struct view *v, const struct view_change *c)
{
    const struct users *u = map_gets(&t->users, c->key);
    struct emission **todo;
    size_t n = 0, i = 0;

    sds_refs_changed(t->secrets, c->key);
    for (const struct use *use = u ? u->first : NULL; use; use = use->next)
        n++;
    if (!n)
        return;
    /* Emitting changes the list. */
    todo = mem_array(struct emission *, n);
    for (const struct use *use = u->first; use; use = use->next)
        todo[i++] = use->emission;
    for (i = 0; i < n; i++) {
        const struct secret *before = c->before, *after = c->after;
        bool pair = (before && before->has_pair) != (after && after->has_pair);
        bool trust = (before && before->has_trust) != (after && after->has_trust);

        if (pair || trust)
            emit(t, v, todo[i]);
    }
    mem_free(todo);
}

static void apply(struct translator *t, const struct view_delta *d, enum view_kind kind)
{
    for (size_t i = 0; i < d->n_changes; i++) {
        const struct view_change *c = &d->changes[i];

        if (c->kind != kind)
            continue;
        switch (kind) {
        case VIEW_GATEWAY:
            gateway_changed(t, d->after, c);
            break;
        case VIEW_SERVICE:
            service_changed(t, d->after, c);
            break;
        case VIEW_SECRET:
            secret_changed(t, d->after, c);
            break;
        case VIEW_LISTENER:
            update_judged(t, d->after, c->before, c->after);
            update_port(t, d->after, c->key, c->after);
            break;
        }
    }
}

static bool has_text(char *const *texts, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(texts[i], text) == 0)
            return true;
    return false;
}

static bool chain_uses(const struct plan_chain *chain, const char *secret)
{
    char name[SDS_NAME_MAX];

    for (size_t i = 0; chain->tls && i < chain->n_certificates; i++)
        if (strcmp(sds_pair_name(chain->certificates[i], name, sizeof(name)), secret) == 0)
            return true;
    return chain->tls && chain->validation &&
           strcmp(sds_trust_name(chain->validation, name, sizeof(name)), secret) == 0;
}

/*
 * Of a secret that passed its inspection and can't be made all the same, which is rare: all that use it are looked
 * for. One more that uses it later has it made, and told, again.
 */
static void on_secret(void *arg, const char *gateway, const char *name, const struct err *e)
{
    struct translator *t = arg;
    const struct fault_origin place = {.gateway = gateway, .type = XDS_SECRET, .name = name};

    faults_begin(t->faults, &place);
    if (!e)
        return;
    const struct group *g = map_gets(&t->groups, gateway);
    for (const struct emission *em = g ? g->emissions : NULL; em; em = em->next)
        if (has_text(em->secrets, em->n_secrets, name))
            faults_add(t->faults, &place, em->name, FAULT_SECRET, e);
    for (const struct port *p = g ? g->ports : NULL; p; p = p->next)
        for (size_t i = 0; has_text(p->secrets, p->n_secrets, name) && i < p->plan->n_chains; i++)
            for (size_t k = 0; chain_uses(&p->plan->chains[i], name) && k < p->plan->chains[i].n_exposures; k++)
                faults_add(t->faults, &place, p->plan->chains[i].exposures[k]->name, FAULT_SECRET, e);
}

/* ---- the batch ---- */

struct names {
    struct arena *arena;
    const char **items;
    size_t n;
};

static int add_name(void *value, void *arg)
{
    const struct gateway *g = value;
    struct names *names = arg;

    names->items[names->n++] = arena_strdup(names->arena, g->name);
    return 0;
}

static struct xds_batch *new_batch(struct translator *t, const struct view *v)
{
    struct arena *a = arena_new();
    struct xds_batch *b = arena_new_of(a, struct xds_batch);
    struct names names = {a, arena_array(a, const char *, pmap_count(v->gateways)), 0};

    (void)pmap_each(v->gateways, add_name, &names); /* add_name never stops it */
    b->arena = a;
    b->revision = v->revision;
    b->complete = v->complete;
    b->gateways = names.items;
    b->n_gateways = names.n;
    b->changes = ledger_collect(t->ledger, a, &b->n_changes);
    return b;
}

struct subjects {
    struct arena *arena;
    struct xds_subject *items;
    size_t n, cap;
};

static void add_subject(void *arg, const char *gateway, const char *exposure)
{
    struct subjects *s = arg;

    s->items = arena_room(s->arena, s->items, s->n, &s->cap, sizeof(*s->items));
    s->items[s->n++] = (struct xds_subject){arena_strdup(s->arena, gateway), arena_strdup(s->arena, exposure)};
}

static int compare_subjects(const void *a, const void *b)
{
    const struct xds_subject *x = a, *y = b;
    int r = strcmp(x->gateway, y->gateway);

    return r ? r : strcmp(x->exposure, y->exposure);
}

static void add_subjects(struct xds_batch *b, const struct view_delta *delta)
{
    struct subjects s = {.arena = b->arena};

    announce_configured(delta, add_subject, &s);
    if (s.n)
        qsort(s.items, s.n, sizeof(*s.items), compare_subjects);
    for (size_t i = 0; i < s.n; i++)
        if (!b->n_subjects || compare_subjects(&s.items[b->n_subjects - 1], &s.items[i]) != 0)
            s.items[b->n_subjects++] = s.items[i];
    b->subjects = s.items;
}

struct xds_batch *translate(struct translator *t, const struct view_delta *delta)
{
    const struct view *v = delta->after;
    struct xds_batch *b;

    /* Policies first, as all else is made under them. */
    apply(t, delta, VIEW_GATEWAY);
    apply(t, delta, VIEW_SERVICE);
    apply(t, delta, VIEW_LISTENER);
    apply(t, delta, VIEW_SECRET);
    sds_refs_flush(t->secrets, v, on_secret, t);
    faults_settle(t->faults, t->tell, t->arg);
    b = new_batch(t, v);
    if (t->started && !b->n_changes && !t->gateways_changed && t->complete == v->complete &&
        t->revision == v->revision) {
        xds_batch_free(b);
        return NULL;
    }
    if (t->started)
        add_subjects(b, delta);
    t->started = true;
    t->complete = v->complete;
    t->revision = v->revision;
    t->gateways_changed = false;
    return b;
}

void translator_free(struct translator *t)
{
    struct map_entry *entry;

    if (!t)
        return;
    for (size_t i = 0; map_next(&t->groups, &i, &entry);) {
        struct group *g = entry->value;

        while (g->emissions) {
            release_secrets(t, g->emissions);
            emission_free(t, g->emissions);
        }
        while (g->ports) {
            release_port(t, g->ports);
            port_free(t, g->ports);
        }
        gateway_unref(g->gateway);
        mem_free(g);
    }
    map_clear(&t->groups);
    map_clear(&t->emissions);
    map_clear(&t->ports);
    map_clear(&t->users);
    sds_refs_free(t->secrets);
    ledger_free(t->ledger);
    faults_free(t->faults);
    mem_free(t);
}

/* ---- the store's check ---- */

static const struct gateway widest = {.allow_files = true, .allow_cluster_header = true};

static int check_exposure(const struct exposure *x, const struct gateway *gateway, struct err *e)
{
    const struct service_exposure sx = {.x = x};
    struct resource *cluster = NULL;
    int r = 0;

    /* Without JSON there is nothing in a cluster or a filter that could be wrong. */
    if (x->cluster_data || x->cluster_certificate)
        r = cluster_make(&sx, gateway, &cluster, e);
    resource_unref(cluster);
    if (r == 0 && x->filter_config_data)
        r = filter_check(x, gateway, e);
    if (r == 0)
        r = routes_check(x, gateway, e);
    return r;
}

/* As an exposure of that kind that passes it through, which the gateway may do without being allowed to. */
static int check_base(const struct gateway *gateway, enum gateway_base base, struct err *e)
{
    const char *text = gateway->bases[base];
    const struct exposure x = {.name = "exposure",
                               .protocol = base == GATEWAY_UDP_PROXY ? PROTOCOL_UDP : PROTOCOL_TCP,
                               .n_vhosts = base == GATEWAY_HTTP,
                               .cluster_data = base == GATEWAY_CLUSTER ? text : NULL,
                               .filter_config_data = base == GATEWAY_CLUSTER ? NULL : text};
    const struct service_exposure sx = {.x = &x};
    struct resource *cluster = NULL;
    const char *inner;
    int r = base == GATEWAY_CLUSTER ? cluster_make(&sx, &widest, &cluster, e) : filter_check(&x, &widest, e);

    resource_unref(cluster);
    if (r < 0) {
        inner = strchr(e->field, '.');
        memmove(e->field, inner ? inner + 1 : "", inner ? strlen(inner) : 1);
    }
    return r;
}

static int check_bases(const struct gateway *gateway, struct err *e)
{
    for (size_t i = 0; i < GATEWAY_BASES; i++) {
        _cleanup_(arena_free_p) struct arena *a = arena_new();
        pb_retry_policy *retries;
        int r = 0;

        if (gateway->bases[i])
            r = i == GATEWAY_RETRY_POLICY ? retry_policy_make(a, gateway, &retries, e) : check_base(gateway, i, e);
        if (r < 0) {
            err_prefix_field(e, gateway_base_name(i));
            return r;
        }
    }
    return 0;
}

int translate_check(const struct exposure *x, const struct gateway *gateway, void *arg, struct err *e)
{
    struct err scratch = {0};

    (void)arg; /* it is pure */
    e = e ? e : &scratch;
    return x ? check_exposure(x, gateway ? gateway : &widest, e) : check_bases(gateway, e);
}
