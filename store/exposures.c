/*
 * What the store settles of each exposure beside its declaration: which form is in effect, the gateway, the port, and
 * since when it claims what.
 *
 * since: the clock of claims goes on by one with each commit that has new claims, so all that comes together claims
 * at the same time, and names decide. An exposure that stays on its listener keeps what it had, name by name; a name
 * that is new to it is claimed from now on.
 *
 * A commit calls begin for all works, then ports for all, then finish: a port that any exposure declares is not
 * allocated to another of the same commit.
 */
#include "store/state.h"

#include "base/json.h"
#include "store/pack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct prior *find_prior(const struct work *w, const char *rid)
{
    for (size_t i = 0; i < w->priors.count; i++)
        if (strcmp(w->priors.items[i].rid, rid) == 0)
            return &w->priors.items[i];
    return NULL;
}

/* What was in effect, from the present service; at the start it was read. */
static void find_priors(struct commit *c, struct work *w)
{
    const struct service *service = w->record->service;

    if (w->record->loaded) {
        w->priors = *w->record->loaded;
        return;
    }
    if (!service)
        return;
    w->priors.items = arena_array(c->arena, struct prior, service->n_exposures);
    for (size_t i = 0; i < service->n_exposures; i++) {
        const struct service_exposure *sx = &service->exposures[i];

        w->priors.items[w->priors.count++] = (struct prior){
            .rid = sx->declared->rid,
            .declaration = sx->declaration,
            .x = sx->x->valid ? sx->x : NULL,
            .gateway = sx->gateway,
            .port = sx->listener_port,
            .since = sx->since,
            .later = sx->later,
            .n_later = sx->n_later,
        };
    }
}

static struct problem *hindrance(struct commit *c, const char *code, const char *field, const char *text)
{
    struct problem *p = arena_new_of(c->arena, struct problem);

    *p = (struct problem){.code = code, .field = field, .text = text};
    return p;
}

/* NULL with the reason in the state. */
static struct port_space *find_gateway(struct commit *c, const struct exposure *x, struct exposure_state *state)
{
    const char *name = x->gateway ? x->gateway : c->store->options.default_gateway;
    struct port_space *space;

    if (!name) {
        state->hindrance =
            hindrance(c, "not_allowed", "gateway", "the exposure names no gateway, and there is no default gateway");
        return NULL;
    }
    if (!gateway_name_is_good(name)) {
        state->hindrance = hindrance(c, "invalid", "gateway",
                                     "a gateway's name has 1 to 64 letters, digits, dots, hyphens and underscores");
        return NULL;
    }
    space = port_space_get(c->store, name, true);
    if (!space)
        state->hindrance =
            hindrance(c, "not_allowed", "gateway",
                      arena_printf(c->arena, "there are %d gateways already; no further one is made", GATEWAYS_MAX));
    return space;
}

/* What only the gateway can say, now that it is known which it is. */
static void check_permission(struct commit *c, const struct port_space *space, const struct exposure *x,
                             struct exposure_state *state)
{
    const struct store_options *o = &c->store->options;
    struct err e = {0};
    int r = o->check && exposure_needs_permission(x) ? o->check(x, space->gateway, o->check_arg, &e) : 0;

    if (r < 0)
        state->hindrance = hindrance(c, r == -EPERM ? "not_allowed" : "invalid", arena_strdup(c->arena, e.field),
                                     arena_strdup(c->arena, e.text));
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Endpoints that shall get nothing new. */
static void find_drained(struct commit *c, const char *exposure, struct exposure_state *state)
{
    const struct pmap *documents = c->store->documents;
    const char **names = NULL;

    if (!documents)
        return;
    _cleanup_(mem_free_p) char *prefix = mem_printf("drain/%s|", exposure);
    size_t n = strlen(prefix), count = 0;

    for (struct document *d = pmap_after(documents, &view_documents, prefix); d && strncmp(d->key, prefix, n) == 0;
         d = pmap_after(documents, &view_documents, d->key)) {
        if ((count & (count - 1)) == 0)
            names = mem_realloc(names, count ? 2 * count : 1, sizeof(*names));
        names[count++] = d->key + n;
    }
    if (!count)
        return;
    qsort(names, count, sizeof(*names), compare_texts);
    state->drained = arena_dup(c->arena, names, count * sizeof(*names));
    state->n_drained = count;
    mem_free(names);
}

void exposures_begin(struct commit *c, struct work *w)
{
    const struct exposure *declared = declaration_exposures(w->declaration, &w->n);

    find_priors(c, w);
    w->states = arena_array(c->arena, struct exposure_state, w->n);
    w->effective = arena_array(c->arena, const struct exposure *, w->n);
    for (size_t i = 0; i < w->n; i++) {
        const struct prior *prior = find_prior(w, declared[i].rid);
        struct exposure_state *state = &w->states[i];
        struct port_space *space;

        find_drained(c, declared[i].name, state);
        if (declared[i].valid) {
            w->effective[i] = &declared[i];
        } else if (prior && prior->x && prior->declaration != w->declaration) {
            w->effective[i] = prior->x;
            state->good = prior->declaration;
        }
        if (!w->effective[i])
            continue;
        space = find_gateway(c, w->effective[i], state);
        if (!space)
            continue;
        state->gateway = space->name;
        check_permission(c, space, w->effective[i], state);
        if (w->effective[i]->disabled)
            state->hindrance = hindrance(c, "disabled", "enabled", "it was disabled over the API");
        if (w->effective[i]->listener_port)
            ports_declare(c->store, space, w->effective[i]->listener_port);
    }
}

/* Whether its port is as the agent has it: one that an override asks for, or an exposure over the API, is none of the
 * agent's business. */
static bool has_agents_port(const struct store *s, const struct exposure *x)
{
    _cleanup_(mem_free_p) char *key = NULL;
    const struct document *d;
    json_t *patch = NULL;
    bool own = false;

    if (x->origin != ORIGIN_OVERRIDDEN)
        return x->origin == ORIGIN_AGENT;
    key = mem_printf("%s/%s", document_kind_name(DOCUMENT_OVERRIDE), x->name);
    d = pmap_get(s->documents, &view_documents, key);
    if (d && json_parse(d->body, d->body_len, &patch, NULL) == 0)
        own = json_object_get(patch, "listener_port") != NULL;
    json_decref(patch);
    return !own;
}

/* The port that was allocated to the exposure on this gateway, though config.db knows nothing of it; 0: none. */
static uint16_t prior_port(const struct prior *prior, const struct exposure_state *state)
{
    if (!prior || !prior->x || prior->x->listener_port || !prior->gateway)
        return 0;
    return strcmp(prior->gateway, state->gateway) == 0 ? prior->port : 0;
}

static void find_port(struct commit *c, struct work *w, size_t i)
{
    struct store *s = c->store;
    struct exposure_state *state = &w->states[i];
    const struct exposure *x = w->effective[i];
    struct port_space *space = port_space_get(s, state->gateway, false);
    struct port_row *row = ports_find(s, space, x->name);

    if (x->listener_port) {
        /* The agent says what it was told. */
        if (row && row->port == x->listener_port && !row->told && has_agents_port(s, x)) {
            row->told = true;
            row_put_port(s, row);
        }
        state->listener_port = x->listener_port;
    } else if (!row) {
        uint16_t remembered = prior_port(find_prior(w, x->rid), state);

        if (!s->config_broken || remembered)
            row = ports_allocate(s, space, x->name, remembered);
        if (row) {
            pointers_add(&c->new_ports, row);
        } else if (!state->hindrance) {
            w->waits = true;
            state->hindrance =
                s->config_broken
                    ? hindrance(c, "unready", "listener_port",
                                arena_printf(c->arena, "no port could be kept: %s", s->config_alarm))
                    : hindrance(c, "unready", "listener_port",
                                arena_printf(c->arena, "no port of %u-%u is free", (unsigned)space->gateway->port_min,
                                             (unsigned)space->gateway->port_max));
        }
    }
    if (row)
        ports_exposure_came(s, row);
}

void exposures_ports(struct commit *c, struct work *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->effective[i] && w->states[i].gateway)
            find_port(c, w, i);
}

/* An allocated port is served when it is on the disk, or nobody would know it after a crash. */
static void use_port(struct commit *c, struct work *w, size_t i)
{
    struct store *s = c->store;
    struct exposure_state *state = &w->states[i];
    struct port_row *row = ports_find(s, port_space_get(s, state->gateway, false), w->effective[i]->name);

    assert(row || state->hindrance);
    if (!row)
        return;
    if (!row->kept && keeper_done(s->config, row->ticket))
        row->kept = true;
    if (row->kept) {
        state->listener_port = row->port;
        if (!state->hindrance && has_agents_port(s, w->effective[i]))
            ports_want_write_back(s, row);
        return;
    }
    w->waits = true;
    if (state->hindrance)
        return;
    state->hindrance = hindrance(c, "unready", "listener_port",
                                 arena_printf(c->arena, "no port could be kept: %s",
                                              s->config_alarm ? s->config_alarm : "the disk did not answer in time"));
}

/* ---- since ---- */

/* All names that an exposure claims, sorted, unique. */
static const char **claimed_names(struct arena *arena, const struct exposure *x, size_t *ret_n)
{
    size_t n = x->n_sni, unique = 0;
    const char **names;

    for (size_t i = 0; i < x->n_vhosts; i++)
        n += x->vhosts[i]->n_domains;
    names = arena_array(arena, const char *, n);
    n = 0;
    for (size_t i = 0; i < x->n_sni; i++)
        names[n++] = x->sni[i];
    for (size_t i = 0; i < x->n_vhosts; i++)
        for (size_t j = 0; j < x->vhosts[i]->n_domains; j++)
            names[n++] = x->vhosts[i]->domains[j];
    if (n)
        qsort(names, n, sizeof(*names), compare_texts);
    for (size_t i = 0; i < n; i++)
        if (unique == 0 || strcmp(names[unique - 1], names[i]) != 0)
            names[unique++] = names[i];
    *ret_n = unique;
    return names;
}

static bool same_listener(const struct prior *prior, const struct exposure *x, const struct exposure_state *state)
{
    return prior && prior->x && prior->port && prior->port == state->listener_port && prior->gateway &&
           strcmp(prior->gateway, state->gateway) == 0 && prior->x->protocol == x->protocol &&
           address_compare(&prior->x->listener_addr, &x->listener_addr) == 0;
}

static uint64_t since_of(const struct prior *prior, const char *name)
{
    for (size_t i = 0; i < prior->n_later; i++)
        if (strcmp(prior->later[i].name, name) == 0)
            return prior->later[i].since;
    return prior->since;
}

static void keep_claims(struct commit *c, const struct prior *prior, const struct exposure *x,
                        struct exposure_state *state)
{
    struct name_since *later;
    const char **now, **before;
    size_t n_now, n_before;

    state->since = prior->since;
    if (prior->x == x) {
        state->later = prior->later;
        state->n_later = prior->n_later;
        return;
    }
    now = claimed_names(c->arena, x, &n_now);
    before = claimed_names(c->arena, prior->x, &n_before);
    state->later = later = arena_array(c->arena, struct name_since, n_now);
    for (size_t i = 0; i < n_now; i++) {
        bool known = n_before && bsearch(&now[i], before, n_before, sizeof(*before), compare_texts);
        uint64_t since = known ? since_of(prior, now[i]) : c->store->claims + 1;

        if (since != prior->since)
            later[state->n_later++] = (struct name_since){now[i], since};
        c->store->claims_used |= !known;
    }
}

void exposures_finish(struct commit *c, struct work *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct exposure_state *state = &w->states[i];
        const struct exposure *x = w->effective[i];
        const struct prior *prior;

        if (!x || !state->gateway)
            continue;
        if (!state->listener_port)
            use_port(c, w, i);
        if (!state->listener_port)
            continue;
        prior = find_prior(w, x->rid);
        if (same_listener(prior, x, state)) {
            keep_claims(c, prior, x, state);
        } else {
            state->since = c->store->claims + 1;
            c->store->claims_used = true;
        }
    }
}

void exposures_same(struct commit *c, struct work *w)
{
    const struct service *service = w->record->service;

    w->n = service->n_exposures;
    w->states = arena_array(c->arena, struct exposure_state, w->n);
    for (size_t i = 0; i < w->n; i++) {
        const struct service_exposure *sx = &service->exposures[i];

        w->states[i] = (struct exposure_state){
            .good = sx->kept ? sx->declaration : NULL,
            .gateway = sx->gateway,
            .listener_port = sx->listener_port,
            .since = sx->since,
            .later = sx->later,
            .n_later = sx->n_later,
            .hindrance = sx->hindrance,
        };
        find_drained(c, sx->declared->name, &w->states[i]);
    }
}

/* ---- on disk ---- */

static int64_t form_id(const struct record *r, const struct declaration *d)
{
    if (r->form.declaration == d)
        return r->form.id;
    for (size_t i = 0; i < r->n_good; i++)
        if (r->good[i].declaration == d)
            return r->good[i].id;
    return 0;
}

/* Hindrances are found again at the next start. */
void exposures_pack(const struct work *w, const struct record *r, struct buf *b)
{
    const struct exposure *declared = declaration_exposures(w->declaration, &(size_t){0});

    pack_number(b, w->n);
    for (size_t i = 0; i < w->n; i++) {
        const struct exposure_state *state = &w->states[i];

        pack_text(b, declared[i].rid);
        pack_text(b, state->gateway);
        pack_number(b, state->listener_port);
        pack_number(b, state->since);
        pack_number(b, state->good ? (uint64_t)form_id(r, state->good) : 0);
        pack_number(b, state->n_later);
        for (size_t j = 0; j < state->n_later; j++) {
            pack_text(b, state->later[j].name);
            pack_number(b, state->later[j].since);
        }
    }
}

static const char *copy_text(struct unpack *u, struct arena *arena)
{
    const char *text = unpack_text(u);

    return text ? arena_strdup(arena, text) : NULL;
}

static void unpack_prior(struct unpack *u, struct record *r, struct prior *p, struct arena *arena)
{
    struct name_since *later;
    uint64_t port, good;

    p->rid = copy_text(u, arena);
    p->gateway = copy_text(u, arena);
    port = unpack_number(u);
    p->since = unpack_number(u);
    good = unpack_number(u);
    p->n_later = unpack_count(u, 3);
    p->later = later = arena_array(arena, struct name_since, p->n_later);
    for (size_t i = 0; i < p->n_later; i++) {
        later[i].name = copy_text(u, arena);
        later[i].since = unpack_number(u);
        u->bad |= !later[i].name;
    }
    u->bad |= !p->rid || port > UINT16_MAX;
    if (u->bad)
        return;
    p->port = (uint16_t)port;
    p->declaration = r->form.declaration;
    for (size_t i = 0; good && i < r->n_good; i++)
        if ((uint64_t)r->good[i].id == good)
            p->declaration = r->good[i].declaration;
    p->x = declaration_find(p->declaration, p->rid);
    if (p->x && !p->x->valid)
        p->x = NULL;
}

int exposures_unpack(const void *bytes, size_t n, struct record *r, struct arena *arena)
{
    struct priors *priors = arena_new_of(arena, struct priors);
    struct unpack u = unpack_start(bytes, n);
    size_t count = unpack_count(&u, 6);

    priors->items = arena_array(arena, struct prior, count);
    for (size_t i = 0; i < count && !u.bad; i++)
        unpack_prior(&u, r, &priors->items[i], arena);
    priors->count = count;
    if (!unpack_done(&u))
        return -EBADMSG;
    r->loaded = priors;
    return 0;
}

int exposures_good_forms(const void *bytes, size_t n, int64_t **ret_ids, size_t *ret_n)
{
    struct unpack u = unpack_start(bytes, n);
    size_t count = unpack_count(&u, 6), found = 0;
    int64_t *ids = mem_array(int64_t, count);

    for (size_t i = 0; i < count && !u.bad; i++) {
        int64_t good;
        bool known = false;
        size_t n_later;

        unpack_text(&u);
        unpack_text(&u);
        unpack_number(&u);
        unpack_number(&u);
        good = (int64_t)unpack_number(&u);
        n_later = unpack_count(&u, 3);
        for (size_t j = 0; j < n_later && !u.bad; j++) {
            unpack_text(&u);
            unpack_number(&u);
        }
        for (size_t j = 0; j < found; j++)
            known |= ids[j] == good;
        if (good && !known)
            ids[found++] = good;
    }
    if (!unpack_done(&u)) {
        mem_free(ids);
        return -EBADMSG;
    }
    *ret_ids = ids;
    *ret_n = found;
    return 0;
}
