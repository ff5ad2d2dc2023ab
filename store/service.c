/*
 * Putting a service together: declarations and addresses to exposures with endpoints.
 *
 * This is what an endpoint that flips costs, and what ten thousand services keep in memory. So all of a service is
 * one allocation of the right size: endpoints are found in scratch memory, everything is measured, then laid out.
 * Texts that repeat (a node, an address's section, the states that the agent knows) are kept once.
 */
#include "store/service.h"

#include "store/problem.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* An endpoint before it is known whether it stands alone. */
struct candidate {
    struct address address;
    const char *host; /* instead of the address */
    uint16_t port;
    bool up, refused, drained;
    bool fixed;        /* by the API: no fact says so */
    uint32_t exposure; /* index */
    uint32_t place;    /* index of the fact, or of the fixed endpoint: order among equals */
};

/* What goes wrong with addresses, per exposure; the first of each kind is told. */
struct address_faults {
    size_t unreadable, refused, refused_fixed, excess;
    const struct fact_address *first_unreadable, *first_refused;
};

struct draft {
    const struct exposure_state *states;
    const struct fact_address *addresses;
    size_t n_addresses;
    const struct exposure *const *in_effect; /* by the declaration's order */
    size_t n_exposures;
    struct candidate *candidates; /* sorted by exposure and address once reduced */
    size_t n_candidates;
    size_t *counts; /* of the reduced candidates of each exposure */
    struct address_faults *faults;
};

/* ---- endpoints ---- */

/* Index of the exposure, or -1. Exposures have the declaration's order, whichever form is in effect. */
static ssize_t find_exposure(const struct draft *d, const char *rid)
{
    size_t low = 0, high = d->n_exposures;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = rid_compare(rid, d->in_effect[middle]->rid);

        if (order == 0)
            return (ssize_t)middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static void note_fault(size_t *count, const struct fact_address **first, const struct fact_address *fact)
{
    if ((*count)++ == 0)
        *first = fact;
}

static int compare_text_to(const void *key, const void *item)
{
    return strcmp(key, *(const char *const *)item);
}

static bool is_drained(const struct exposure_state *state, const struct candidate *c)
{
    const struct endpoint p = {.address = c->address, .host = c->host, .port = c->port};
    char name[ENDPOINT_NAME_MAX];

    if (state->n_drained == 0)
        return false;
    endpoint_name(&p, name, sizeof(name));
    return bsearch(name, state->drained, state->n_drained, sizeof(*state->drained), compare_text_to) != NULL;
}

static void add_candidate(struct draft *d, struct candidate c)
{
    c.drained = is_drained(&d->states[c.exposure], &c);
    c.up = c.up && !c.refused && !c.drained;
    d->candidates[d->n_candidates++] = c;
}

static void gather_fixed(struct draft *d, size_t exposure, const struct network_list *allowed)
{
    const struct exposure *x = d->in_effect[exposure];

    for (size_t i = 0; i < x->n_fixed; i++) {
        const struct fixed_endpoint *f = &x->fixed[i];
        bool refused = !f->host && !endpoint_address_allowed(&f->address, allowed);

        d->faults[exposure].refused_fixed += refused;
        add_candidate(d, (struct candidate){.address = f->address,
                                            .host = f->host,
                                            .port = f->port,
                                            .up = true,
                                            .refused = refused,
                                            .fixed = true,
                                            .exposure = (uint32_t)exposure,
                                            .place = (uint32_t)i});
    }
}

static void gather(struct draft *d, const struct network_list *allowed)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n_addresses; i++)
        n += d->addresses[i].n_exposes;
    for (size_t i = 0; i < d->n_exposures; i++)
        n += d->in_effect[i]->n_fixed;
    d->candidates = mem_array(struct candidate, n);
    for (size_t i = 0; i < d->n_exposures; i++)
        gather_fixed(d, i, allowed);
    for (size_t i = 0; i < d->n_addresses; i++) {
        const struct fact_address *fact = &d->addresses[i];
        struct address address;
        bool readable = address_parse(fact->address, &address) == 0;
        bool refused = readable && !endpoint_address_allowed(&address, allowed);

        address = readable ? address_unmapped(&address) : (struct address){0}; /* Envoy knows no mapped ones */

        for (size_t k = 0; k < fact->n_exposes && fact->address[0]; k++) {
            ssize_t exposure = find_exposure(d, fact->exposes[k]);
            struct address_faults *faults;

            if (exposure < 0 || d->in_effect[exposure]->n_fixed > 0)
                continue;
            faults = &d->faults[exposure];
            if (!readable) {
                note_fault(&faults->unreadable, &faults->first_unreadable, fact);
                continue;
            }
            if (refused)
                note_fault(&faults->refused, &faults->first_refused, fact);
            add_candidate(d, (struct candidate){.address = address,
                                                .port = d->in_effect[exposure]->port,
                                                .up = fact->up,
                                                .refused = refused,
                                                .exposure = (uint32_t)exposure,
                                                .place = (uint32_t)i});
        }
    }
}

/* By exposure, address (those by name last), port. */
static int compare_places(const struct candidate *x, const struct candidate *y)
{
    int order;

    if (x->exposure != y->exposure)
        return x->exposure < y->exposure ? -1 : 1;
    if (!x->host != !y->host)
        return x->host ? 1 : -1;
    order = x->host ? strcmp(x->host, y->host) : address_compare(&x->address, &y->address);
    return order ? order : (int)x->port - (int)y->port;
}

/* One that is up comes before its like that is not. */
static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int order = compare_places(x, y);

    if (order != 0)
        return order;
    if (x->up != y->up)
        return x->up ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Leaves one of each address in an exposure, and no more than the limit. */
static void reduce(struct draft *d)
{
    size_t kept = 0;

    qsort(d->candidates, d->n_candidates, sizeof(*d->candidates), compare_candidates);
    for (size_t i = 0; i < d->n_candidates; i++) {
        const struct candidate *c = &d->candidates[i], *last = kept > 0 ? &d->candidates[kept - 1] : NULL;

        if (last && compare_places(last, c) == 0)
            continue;
        if (d->counts[c->exposure] == SERVICE_ENDPOINTS_MAX) {
            d->faults[c->exposure].excess++;
            continue;
        }
        d->counts[c->exposure]++;
        d->candidates[kept++] = *c;
    }
    d->n_candidates = kept;
}

/* ---- warnings ---- */

static void warn(struct problem_list *l, const struct exposure *x, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void warn(struct problem_list *l, const struct exposure *x, const char *fmt, ...)
{
    char *text;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    problem_add(l, "warning", x->rid, NULL, "%s", text);
    mem_free(text);
}

static void warn_of_faults(const struct draft *d, struct problem_list *l)
{
    for (size_t i = 0; i < d->n_exposures; i++) {
        const struct address_faults *f = &d->faults[i];
        const struct exposure *x = d->in_effect[i];

        if (f->unreadable)
            warn(l, x, "%zu addresses are none; the first: \"%s\" of %s of %s on %s", f->unreadable,
                 f->first_unreadable->address, f->first_unreadable->rid, f->first_unreadable->instance,
                 f->first_unreadable->node);
        if (f->refused)
            warn(l, x,
                 "%zu addresses get no traffic, as endpoint_networks does not allow them; the first: %s of %s of %s "
                 "on %s",
                 f->refused, f->first_refused->address, f->first_refused->rid, f->first_refused->instance,
                 f->first_refused->node);
        if (f->refused_fixed)
            warn(l, x, "%zu of the endpoints get no traffic, as endpoint_networks does not allow their addresses",
                 f->refused_fixed);
        if (f->excess)
            warn(l, x, "%zu addresses are left out: an exposure has at most %d", f->excess, SERVICE_ENDPOINTS_MAX);
    }
}

/* ---- laying out ---- */

/* Texts of one fact. */
struct texts {
    const char *node, *instance, *rid, *state;
};

/* Everything that a service is made of. */
struct parts {
    const char *path, *disagreement;
    struct declaration *declaration;
    struct agent_word *word;
    const struct exposure_state *states;
    struct draft draft;
    struct declaration **of; /* of each exposure in effect */
    struct declaration **kept;
    size_t n_kept;
    struct problem_list warnings;
    bool *used;          /* facts that became endpoints */
    struct texts *texts; /* of those */
};

/* Memory that is measured first (next NULL: nothing can be written, all that is carved is NULL), then carved. */
struct layout {
    char *next;
    size_t size;
};

static void *carve(struct layout *l, size_t n, size_t align)
{
    size_t gap = -l->size & (align - 1);
    char *p = NULL;

    if (l->next) {
        p = l->next + gap;
        l->next = p + n;
    }
    l->size += gap + n;
    return p;
}

#define carve_array(l, T, n) ((T *)carve((l), sizeof(T) * (n), _Alignof(T)))

/* NULL gives NULL. */
static const char *carve_text(struct layout *l, const char *text)
{
    size_t n = text ? strlen(text) + 1 : 0;
    char *copy = text ? carve(l, n, 1) : NULL;

    if (copy)
        memcpy(copy, text, n);
    return copy;
}

/* The states that agents know are the program's own texts. */
static const char *static_state(const char *state)
{
    static const char *const known[] = {"up",       "down",       "stopping", "starting", "n/a",   "warn",
                                        "stdby up", "stdby down", "draining", "undef",    "stale", "frozen"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i], state) == 0)
            return known[i];
    return NULL;
}

/* Facts are sorted, so that what repeats stands in the one before. */
static const char *shared_text(struct layout *l, const char *text, const char *before, const char *before_copy)
{
    return before && strcmp(before, text) == 0 ? before_copy : carve_text(l, text);
}

static void lay_texts(struct layout *l, struct parts *p, const char *path)
{
    const struct fact_address *before = NULL;
    struct texts last = {0};

    for (size_t i = 0; i < p->draft.n_addresses; i++) {
        const struct fact_address *fact = &p->draft.addresses[i];

        if (!p->used[i])
            continue;
        last.node = shared_text(l, fact->node, before ? before->node : NULL, last.node);
        last.instance = strcmp(fact->instance, p->path) == 0
                            ? path
                            : shared_text(l, fact->instance, before ? before->instance : NULL, last.instance);
        last.rid = shared_text(l, fact->rid, before ? before->rid : NULL, last.rid);
        last.state = static_state(fact->state);
        if (!last.state)
            last.state = carve_text(l, fact->state);
        p->texts[i] = last;
        before = fact;
    }
}

static void lay_problem(struct layout *l, struct problem *copy, const struct problem *p)
{
    struct problem texts = {.code = carve_text(l, p->code)};

    texts.field = carve_text(l, p->field);
    texts.text = carve_text(l, p->text);
    if (copy)
        *copy = texts;
}

static const struct problem *lay_one_problem(struct layout *l, const struct problem *p)
{
    struct problem *copy = p ? carve_array(l, struct problem, 1) : NULL;

    if (p)
        lay_problem(l, copy, p);
    return copy;
}

static const struct name_since *lay_names(struct layout *l, const struct name_since *names, size_t n)
{
    struct name_since *copy = n ? carve_array(l, struct name_since, n) : NULL;

    for (size_t i = 0; i < n; i++) {
        const char *name = carve_text(l, names[i].name);

        if (copy)
            copy[i] = (struct name_since){.name = name, .since = names[i].since};
    }
    return copy;
}

/* Of the candidates from first on; returns how many are up. */
static size_t fill_endpoints(struct endpoint *endpoints, const struct parts *p, size_t first, size_t n)
{
    static const struct texts fixed = {.node = "", .instance = "", .rid = "", .state = "fixed"};
    size_t up = 0;

    for (size_t i = 0; i < n; i++) {
        const struct candidate *c = &p->draft.candidates[first + i];
        const struct texts *t = c->fixed ? &fixed : &p->texts[c->place];

        endpoints[i] = (struct endpoint){.address = c->address,
                                         .host = c->host, /* of the declaration, which the service keeps */
                                         .port = c->port,
                                         .up = c->up,
                                         .refused = c->refused,
                                         .drained = c->drained,
                                         .node = t->node,
                                         .instance = t->instance,
                                         .rid = t->rid,
                                         .state = t->state};
        up += c->up;
    }
    return up;
}

static const struct service_exposure *lay_exposures(struct layout *l, const struct parts *p)
{
    const struct draft *d = &p->draft;
    struct service_exposure *exposures = carve_array(l, struct service_exposure, d->n_exposures);
    size_t first = 0, total;
    const struct exposure *declared = declaration_exposures(p->declaration, &total);

    for (size_t i = 0; i < d->n_exposures; i++) {
        const struct exposure_state *state = &p->states[i];
        size_t n = d->counts[i];
        struct endpoint *endpoints = carve_array(l, struct endpoint, n);
        struct service_exposure sx = {.x = d->in_effect[i],
                                      .declared = &declared[i],
                                      .declaration = p->of[i],
                                      .kept = d->in_effect[i] != &declared[i],
                                      .gateway = carve_text(l, state->gateway),
                                      .listener_port = state->listener_port,
                                      .since = state->since,
                                      .n_later = state->n_later,
                                      .endpoints = endpoints,
                                      .n_endpoints = n};

        sx.later = lay_names(l, state->later, state->n_later);
        sx.hindrance = lay_one_problem(l, state->hindrance);
        sx.untold = lay_one_problem(l, state->untold);
        if (exposures) {
            sx.n_up = fill_endpoints(endpoints, p, first, n);
            exposures[i] = sx;
        }
        first += n;
    }
    return exposures;
}

/* NULL when measuring. */
static struct service *lay_service(struct layout *l, struct parts *p)
{
    struct service *s = carve_array(l, struct service, 1);
    struct declaration **kept = carve_array(l, struct declaration *, p->n_kept);
    struct problem *warnings = carve_array(l, struct problem, p->warnings.count);
    struct service made = {.refs = 1, .path = carve_text(l, p->path), .declaration = p->declaration};

    made.disagreement = carve_text(l, p->disagreement);
    lay_texts(l, p, made.path);
    for (size_t i = 0; i < p->warnings.count; i++)
        lay_problem(l, warnings ? &warnings[i] : NULL, &p->warnings.items[i]);
    made.exposures = lay_exposures(l, p);
    made.n_exposures = p->draft.n_exposures;
    made.kept = kept;
    made.n_kept = p->n_kept;
    made.warnings = warnings;
    made.n_warnings = p->warnings.count;
    if (s) {
        for (size_t i = 0; i < p->n_kept; i++)
            kept[i] = declaration_ref(p->kept[i]);
        declaration_ref(p->declaration);
        made.word = agent_word_ref(p->word);
        *s = made;
    }
    return s;
}

/* ---- the door ---- */

/* The declared form, or the earlier one that the store holds on to. */
static void choose_forms(struct parts *p, const struct exposure **in_effect)
{
    size_t n;
    const struct exposure *declared = declaration_exposures(p->declaration, &n);

    for (size_t i = 0; i < n; i++) {
        struct declaration *good = p->states[i].good;
        const struct exposure *x = NULL;
        size_t k = 0;

        in_effect[i] = &declared[i];
        p->of[i] = p->declaration;
        if (good)
            x = declaration_find(good, declared[i].rid);
        if (!x || !x->valid)
            continue;
        in_effect[i] = x;
        p->of[i] = good;
        while (k < p->n_kept && p->kept[k] != good)
            k++;
        if (k == p->n_kept)
            p->kept[p->n_kept++] = good;
    }
}

struct service *service_new(const char *path, struct declaration *declaration, struct agent_word *word,
                            const struct exposure_state *states, const struct fact_address *addresses,
                            size_t n_addresses, const char *disagreement, const struct network_list *allowed)
{
    struct parts p = {
        .path = path, .disagreement = disagreement, .declaration = declaration, .word = word, .states = states};
    struct draft *d = &p.draft;
    struct layout layout = {0};
    struct arena *scratch = arena_new(), *arena = arena_new();
    const struct exposure **in_effect;
    struct service *s;

    declaration_exposures(declaration, &d->n_exposures);
    p.of = arena_array(scratch, struct declaration *, d->n_exposures);
    p.kept = arena_array(scratch, struct declaration *, d->n_exposures);
    in_effect = arena_array(scratch, const struct exposure *, d->n_exposures);
    choose_forms(&p, in_effect);
    d->in_effect = in_effect;
    d->states = states;
    d->addresses = addresses;
    d->n_addresses = n_addresses;
    d->counts = arena_array(scratch, size_t, d->n_exposures);
    d->faults = arena_array(scratch, struct address_faults, d->n_exposures);
    gather(d, allowed);
    reduce(d);
    p.warnings.arena = scratch;
    warn_of_faults(d, &p.warnings);
    p.used = arena_array(scratch, bool, n_addresses);
    p.texts = arena_array(scratch, struct texts, n_addresses);
    for (size_t i = 0; i < d->n_candidates; i++)
        if (!d->candidates[i].fixed)
            p.used[d->candidates[i].place] = true;
    lay_service(&layout, &p);
    layout = (struct layout){.next = arena_alloc(arena, layout.size)};
    s = lay_service(&layout, &p);
    s->arena = arena;
    mem_free(d->candidates);
    mem_free(p.warnings.items);
    arena_free(scratch);
    return s;
}

struct service *service_ref(struct service *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void service_unref(struct service *s)
{
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < s->n_kept; i++)
        declaration_unref(s->kept[i]);
    declaration_unref(s->declaration);
    agent_word_unref(s->word);
    arena_free(s->arena);
}

/* ---- what a service is made of ---- */

struct agent_word *agent_word_new(const void *bytes, size_t n)
{
    struct agent_word *w = mem_alloc(sizeof(*w) + n);

    w->refs = 1;
    w->len = n;
    if (n)
        memcpy(w->bytes, bytes, n);
    return w;
}

struct agent_word *agent_word_ref(struct agent_word *w)
{
    if (w)
        __atomic_add_fetch(&w->refs, 1, __ATOMIC_RELAXED);
    return w;
}

void agent_word_unref(struct agent_word *w)
{
    if (w && __atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL) == 0)
        mem_free_secret(w, sizeof(*w) + w->len);
}

const char *endpoint_name(const struct endpoint *p, char *buf, size_t n)
{
    char text[ADDRESS_TEXT_MAX];

    if (p->host)
        snprintf(buf, n, "%s:%u", p->host, (unsigned)p->port);
    else if (p->address.family == AF_INET6)
        snprintf(buf, n, "[%s]:%u", address_text(&p->address, text), (unsigned)p->port);
    else
        snprintf(buf, n, "%s:%u", address_text(&p->address, text), (unsigned)p->port);
    return buf;
}

const struct service_exposure *service_exposure_find(const struct service *s, const char *rid)
{
    for (size_t i = 0; s && i < s->n_exposures; i++)
        if (strcmp(s->exposures[i].declared->rid, rid) == 0)
            return &s->exposures[i];
    return NULL;
}

uint64_t service_exposure_since(const struct service_exposure *sx, const char *name)
{
    size_t low = 0, high = name ? sx->n_later : 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, sx->later[middle].name);

        if (order == 0)
            return sx->later[middle].since;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return sx->since;
}

int endpoint_parse(const char *name, struct endpoint *ret, char host[ENDPOINT_NAME_MAX])
{
    const char *colon = strrchr(name, ':');
    size_t n = colon ? (size_t)(colon - name) : 0;
    bool bracketed = n > 1 && name[0] == '[' && name[n - 1] == ']';
    char *end;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

    if (port < 1 || port > UINT16_MAX || *end || !isdigit((unsigned char)colon[1]) || n == 0 ||
        n >= ENDPOINT_NAME_MAX)
        return -EINVAL;
    memcpy(host, name + bracketed, n - 2 * bracketed);
    host[n - 2 * bracketed] = '\0';
    ret->port = (uint16_t)port;
    ret->host = NULL;
    if (address_parse(host, &ret->address) == 0) {
        bool six = ret->address.family == AF_INET6;

        ret->address = address_unmapped(&ret->address);
        return bracketed == six ? 0 : -EINVAL;
    }
    ret->address = (struct address){0};
    ret->host = host;
    return bracketed || strchr(host, ':') ? -EINVAL : 0;
}

int endpoint_compare(const struct endpoint *a, const struct endpoint *b)
{
    int order;

    if (!a->host != !b->host)
        return a->host ? 1 : -1;
    order = a->host ? strcmp(a->host, b->host) : address_compare(&a->address, &b->address);
    return order ? order : (int)a->port - (int)b->port;
}
