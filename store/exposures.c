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
#include "base/text.h"
#include "store/pack.h"
#include "store/problem.h"

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
            .claims = claims_of(sx),
        };
    }
}

static struct problem *new_problem(struct commit *c, const char *code, const char *field, const char *text)
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

    state->hindrance = problem_of_gateway_name(name);
    if (state->hindrance)
        return NULL;
    space = port_space_get(c->store, name, true);
    if (!space)
        state->hindrance = new_problem(
            c, "not_allowed", "gateway",
            arena_printf(c->arena, "there are %d gateways already; no further one is made", GATEWAYS_MAX));
    return space;
}

/* Endpoints that shall get nothing new. */
static void find_drained(struct commit *c, const char *exposure, struct exposure_state *state)
{
    _cleanup_(mem_free_p) char *prefix = c->store->documents ? mem_printf("%s|", exposure) : NULL;
    size_t n = prefix ? strlen(prefix) : 0;
    struct pointers found = {0};
    const char **names;

    if (!prefix)
        return;
    for (struct document *d = documents_after(c->store->documents, DOCUMENT_DRAIN, prefix);
         d && strncmp(d->name, prefix, n) == 0; d = documents_after(c->store->documents, DOCUMENT_DRAIN, d->name))
        pointers_add(&found, d);
    state->drained = names = arena_array(c->arena, const char *, found.count);
    state->n_drained = found.count;
    for (size_t i = 0; i < found.count; i++) /* they come sorted */
        names[i] = ((struct document *)found.items[i])->name + n;
    pointers_clear(&found);
}

static bool is_unread(const struct store *s, const char *path)
{
    const struct secret_entry *entry = path ? map_gets(&s->secrets, path) : NULL;

    return path && !(entry && (entry->secret || entry->next)) &&
           !documents_find(s->documents, DOCUMENT_CERTIFICATE, path);
}

/* Whether nobody has asked yet for a secret that it names: it can't be served until it was read. */
static bool awaits_secret(const struct store *s, const struct exposure *x)
{
    const struct certificate *one;

    for (size_t i = 0; (one = exposure_certificate(x, i)) != NULL; i++)
        if (is_unread(s, one->secret) || is_unread(s, one->validation_secret))
            return true;
    return false;
}

void exposures_begin(struct commit *c, struct work *w)
{
    const struct exposure *declared = declaration_exposures(w->declaration, &w->n);
    const struct store_options *o = &c->store->options;

    find_priors(c, w);
    w->states = arena_array(c->arena, struct exposure_state, w->n);
    w->effective = arena_array(c->arena, const struct exposure *, w->n);
    for (size_t i = 0; i < w->n; i++) {
        const struct prior *prior = find_prior(w, declared[i].rid);
        struct exposure_state *state = &w->states[i];
        struct port_space *space;

        bool has_earlier = prior && prior->claims.x && prior->declaration != w->declaration;
        /* What is served goes on until the other can be; one that is disabled is not to be. */
        bool waits = has_earlier && declared[i].valid && !declared[i].disabled &&
                     awaits_secret(c->store, &declared[i]) && !awaits_secret(c->store, prior->claims.x);

        find_drained(c, declared[i].name, state);
        w->waits |= waits;
        if (declared[i].valid && !waits) {
            w->effective[i] = &declared[i];
        } else if (has_earlier) {
            w->effective[i] = prior->claims.x;
            state->good = prior->declaration;
        }
        if (!w->effective[i])
            continue;
        space = find_gateway(c, w->effective[i], state);
        if (!space)
            continue;
        state->gateway = space->name;
        state->hindrance = problem_of_permission(w->effective[i], space->gateway, o->check, o->check_arg, c->arena);
        if (w->effective[i]->listener_port)
            ports_declare(c->store, space, w->effective[i]->listener_port);
    }
}

/* Whether its port is as the agent has it: one that an override asks for, or an exposure over the API, is none of the
 * agent's business. */
static bool has_agents_port(const struct store *s, const struct exposure *x)
{
    const struct document *d;
    json_t *patch = NULL;
    bool own = false;

    if (x->origin != ORIGIN_OVERRIDDEN)
        return x->origin == ORIGIN_AGENT;
    d = documents_find(s->documents, DOCUMENT_OVERRIDE, x->name);
    if (d && json_parse(d->body, d->body_len, &patch, NULL) == 0)
        own = json_object_get(patch, "listener_port") != NULL;
    json_decref(patch);
    return !own;
}

/* The port that was allocated to the exposure on this gateway, though config.db knows nothing of it; 0: none. */
static uint16_t prior_port(const struct prior *prior, const struct exposure_state *state)
{
    const struct claims *before = prior ? &prior->claims : NULL;

    if (!before || !before->x || before->x->listener_port || !before->gateway)
        return 0;
    return strcmp(before->gateway, state->gateway) == 0 ? before->port : 0;
}

/* Why none was allocated. */
static struct problem *no_port(struct commit *c, const struct port_space *space)
{
    const struct store *s = c->store;

    if (s->options.read_only)
        return new_problem(c, "unready", "listener_port",
                           "this daemon is read-only: the one that takes edits allocates the port");
    if (s->config_broken)
        return new_problem(c, "unready", "listener_port",
                           arena_printf(c->arena, "no port could be kept: %s", s->config_alarm));
    return new_problem(c, "unready", "listener_port",
                       arena_printf(c->arena, "no port of %u-%u is free", (unsigned)space->gateway->port_min,
                                    (unsigned)space->gateway->port_max));
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

        if ((!s->config_broken && !s->options.read_only) || remembered)
            row = ports_allocate(s, space, x->name, remembered);
        if (row) {
            pointers_add(&c->new_ports, row);
        } else if (!state->hindrance) {
            w->waits = true;
            state->hindrance = no_port(c, space);
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
        if (state->hindrance || !has_agents_port(s, w->effective[i]))
            return;
        ports_want_write_back(s, row);
        if (row->why && !row->told)
            state->untold =
                new_problem(c, "warning", "listener_port",
                            arena_printf(c->arena, "the port %u, which was allocated, can't be told to the agent: %s",
                                         (unsigned)row->port, row->why));
        return;
    }
    w->waits = true;
    if (state->hindrance)
        return;
    state->hindrance =
        new_problem(c, "unready", "listener_port",
                    arena_printf(c->arena, "no port could be kept: %s",
                                 s->config_alarm ? s->config_alarm : "the disk did not answer in time"));
}

/* ---- since ---- */

void exposures_finish(struct commit *c, struct work *w)
{
    static const struct claims nothing;

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
        c->store->claims_used |=
            claims_keep(prior ? &prior->claims : &nothing, x, c->store->claims + 1, c->arena, state);
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
            .untold = sx->untold,
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
    struct claims *claims = &p->claims;
    struct name_since *later;
    uint64_t port, good;

    p->rid = copy_text(u, arena);
    claims->gateway = copy_text(u, arena);
    port = unpack_number(u);
    claims->since = unpack_number(u);
    good = unpack_number(u);
    claims->n_later = unpack_count(u, 3);
    claims->later = later = arena_array(arena, struct name_since, claims->n_later);
    for (size_t i = 0; i < claims->n_later; i++) {
        later[i].name = copy_text(u, arena);
        later[i].since = unpack_number(u);
        u->bad |= !later[i].name;
    }
    u->bad |= !p->rid || port > UINT16_MAX;
    if (u->bad)
        return;
    claims->port = (uint16_t)port;
    p->declaration = r->form.declaration;
    for (size_t i = 0; good && i < r->n_good; i++)
        if ((uint64_t)r->good[i].id == good)
            p->declaration = r->good[i].declaration;
    claims->x = declaration_find(p->declaration, p->rid);
    if (claims->x && !claims->x->valid)
        claims->x = NULL;
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
