/*
 * A commit: what was gathered becomes real, in this order.
 *
 *  1. Services that go or are configured anew leave the index and give back what they use.
 *  2. For each that stays: the form in effect, the gateway, the port. New ports go to config.db's disk and are waited
 *     for (at most STORE_PORT_WAIT_MS): they are not served before.
 *  3. Services are put together, indexed, and their rows handed over; then secrets; then the plans of the listeners
 *     that any of it touches. What turns out equal to what was there stays, and is no change.
 *  4. observed.db has the rows, or is late; only then the view is shown to anybody. Rows may go in two transactions,
 *     those of a first fetch in more: a revision, and that the state is whole, come last.
 *
 * An endpoint that changes passes steps 3 and 4 alone: no index, no plan, no revision.
 */
#include "store/state.h"

#include "base/clock.h"
#include "base/text.h"
#include "store/announce.h"
#include "store/expiry.h"
#include "store/overlay.h"
#include "store/pack.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many services a slow disk writes in a millisecond: a first fetch of thousands is no reason for an alarm. */
enum { SERVICES_A_MS = 10 };
/* How many services of a first fetch the disk gets at a time, beside the work on the next ones. */
enum { SERVICES_A_FLUSH = 512 };

/* An object whose configuration changed: for the revision. */
static void note(struct commit *c, const char *kind, const char *name)
{
    if (c->n_names < REVISION_NAMES_MAX)
        c->names[c->n_names] = arena_printf(c->arena, "%s %s", kind, name);
    c->n_names++;
}

/* ---- what there is to do ---- */

static int compare_works(const void *a, const void *b)
{
    return strcmp(((const struct work *)a)->record->path, ((const struct work *)b)->record->path);
}

/* Exposures without a port try again when one was given back, or config.db can be written again. */
static void wake_waiting(struct store *s)
{
    if (!s->ports_released && !s->ports_waited)
        return;
    for (size_t i = 0; i < s->waiting.count; i++)
        record_again(s, s->waiting.items[i]);
    s->ports_released = false;
    s->ports_waited = false;
}

static void forget_record(struct store *s, struct record *r)
{
    if (r->waiting)
        for (size_t i = 0; i < s->waiting.count; i++)
            if (s->waiting.items[i] == r)
                s->waiting.items[i--] = s->waiting.items[--s->waiting.count];
    map_removes(&s->records, r->path);
    record_free(r);
}

/* Or was read, and is nobody's any more. */
static void came_and_went(struct store *s, struct record *r)
{
    if (r->loaded) {
        row_drop_service(s, r->id);
        row_drop_form(s, r->form.id);
    }
    forget_record(s, r);
}

/* False: nothing is left to do for it. */
static bool take_work(struct commit *c, struct record *r, struct work *w)
{
    const struct pending *p = r->pending;

    if (!r->service && (!p || p->gone)) {
        came_and_went(c->store, r);
        return false;
    }
    if (!p && !r->again)
        return false;
    w->record = r;
    w->gone = p && p->gone;
    w->declaration = p && p->declaration ? p->declaration : r->form.declaration;
    w->declared =
        p && p->declaration && (!r->service || p->edited || !hash128_equal(p->resources_hash, r->resources));
    w->reconfigured = r->again || p->declaration || r->loaded;
    return true;
}

static void collect(struct commit *c)
{
    struct store *s = c->store;

    wake_waiting(s);
    c->works = arena_array(c->arena, struct work, s->changed.count);
    for (size_t i = 0; i < s->changed.count; i++) {
        struct record *r = s->changed.items[i];

        r->changed = false;
        if (take_work(c, r, &c->works[c->n_works]))
            c->n_works++;
    }
    pointers_clear(&s->changed);
    if (c->n_works > 1)
        qsort(c->works, c->n_works, sizeof(*c->works), compare_works);
}

/* ---- services ---- */

static void keep_new_ports(struct commit *c)
{
    struct store *s = c->store;
    uint64_t ticket;

    if (c->new_ports.count == 0)
        return;
    ticket = keeper_flush(s->config);
    for (size_t i = 0; i < c->new_ports.count; i++)
        ((struct port_row *)c->new_ports.items[i])->ticket = ticket;
    if (!keeper_wait(s->config, ticket, STORE_PORT_WAIT_MS))
        store_take_news(s);
    pointers_clear(&c->new_ports);
}

static void settle_exposures(struct commit *c)
{
    for (size_t i = 0; i < c->n_works; i++) {
        struct work *w = &c->works[i];

        if (w->record->service && (w->gone || w->reconfigured))
            index_remove(c->store, w->record);
    }
    for (size_t i = 0; i < c->n_works; i++) {
        struct work *w = &c->works[i];

        if (!w->gone && w->reconfigured)
            exposures_begin(c, w);
        else if (!w->gone)
            exposures_same(c, w);
    }
    for (size_t i = 0; i < c->n_works; i++)
        if (!c->works[i].gone && c->works[i].reconfigured)
            exposures_ports(c, &c->works[i]);
    keep_new_ports(c);
    for (size_t i = 0; i < c->n_works; i++)
        if (!c->works[i].gone && c->works[i].reconfigured)
            exposures_finish(c, &c->works[i]);
}

static bool is_kept(const struct service *service, const struct declaration *d)
{
    for (size_t i = 0; i < service->n_kept; i++)
        if (service->kept[i] == d)
            return true;
    return false;
}

/* Forms that nothing stands in any more go; a former present form may have become a kept one. */
static void replace_forms(struct store *s, struct record *r, const struct service *service, struct form form)
{
    struct form *good = mem_array(struct form, r->n_good + 1);
    size_t n = 0;

    for (size_t i = 0; i <= r->n_good; i++) {
        struct form *old = i < r->n_good ? &r->good[i] : &r->form;

        if (!old->declaration || (i == r->n_good && old->declaration == form.declaration))
            continue;
        if (is_kept(service, old->declaration)) {
            /* Its row has the agent's word; from now on it is what was in effect. */
            if (i == r->n_good && r->effective.data)
                row_put_form(s, old->id, &r->effective);
            good[n++] = *old;
            continue;
        }
        row_drop_form(s, old->id);
        declaration_unref(old->declaration);
    }
    mem_free(r->good);
    r->good = n ? good : NULL;
    r->n_good = n;
    if (!n)
        mem_free(good);
    r->form = form;
}

static void put_word(struct store *s, int64_t id, struct agent_word *word)
{
    static uint8_t none[] = {0}; /* packed: no resources */
    const struct bytes bytes = word ? (struct bytes){word->bytes, word->len} : (struct bytes){none, sizeof(none)};

    row_put_form(s, id, &bytes);
}

/* The rows of a service, as far as they differ from what the disk was given. */
static void put_rows(struct commit *c, struct work *w, struct form *form)
{
    struct store *s = c->store;
    struct record *r = w->record;
    struct pending *p = r->pending;
    struct hash128 states;
    bool changed;

    *form = r->form;
    if (p && p->declaration) {
        *form = (struct form){s->next_form_id++, take_ptr(p->declaration)};
        put_word(s, form->id, p->word);
        r->resources = p->resources_hash;
    }
    if (!w->reconfigured)
        return;
    buf_reset(&s->scratch);
    exposures_pack(w, r, &s->scratch);
    states = hash_bytes128(s->scratch.data, s->scratch.len);
    changed = !hash128_equal(states, r->states);
    if (changed || form->id != r->form.id || r->unsaved)
        row_put_service(s, r, form->id, s->scratch.data, s->scratch.len);
    if (changed || w->declared)
        note(c, "service", r->path);
    r->states = states;
}

static void set_waiting(struct store *s, struct work *w)
{
    struct record *r = w->record;

    if (!w->reconfigured)
        w->waits = r->waiting;
    if (w->waits && !r->waiting) {
        pointers_add(&s->waiting, r);
    } else if (!w->waits && r->waiting) {
        for (size_t i = 0; i < s->waiting.count; i++)
            if (s->waiting.items[i] == r)
                s->waiting.items[i--] = s->waiting.items[--s->waiting.count];
    }
    r->waiting = w->waits;
}

/* Whether trying again came to nothing. */
static bool same_states(const struct work *w, const struct service *service)
{
    assert(service || w->n == 0);
    for (size_t i = 0; i < w->n; i++) {
        const struct service_exposure *sx = &service->exposures[i];
        const struct exposure_state *state = &w->states[i];

        if ((state->good != NULL) != sx->kept || state->listener_port != sx->listener_port ||
            state->since != sx->since || !text_equal(state->gateway, sx->gateway) ||
            !problem_text_equal(state->hindrance, sx->hindrance) || !problem_text_equal(state->untold, sx->untold))
            return false;
    }
    return true;
}

/* They stay at hand: a service is made again without new facts when people edit it, or a port comes free. */
static void keep_addresses(struct store *s, struct record *r)
{
    struct pending *p = r->pending;

    if (!p || !p->addresses.data)
        return;
    if (r->unsaved || !hash128_equal(r->addresses, p->addresses_hash))
        row_put_endpoints(s, r->id, p->addresses.data, p->addresses.len);
    r->addresses = p->addresses_hash;
    bytes_clear(&r->addresses_packed);
    r->addresses_packed = (struct bytes){take_ptr(p->addresses.data), p->addresses.len};
}

static void make_service(struct commit *c, struct work *w)
{
    _cleanup_(arena_free_p) struct arena *arena = NULL;
    struct store *s = c->store;
    struct record *r = w->record;
    struct pending *p = r->pending;
    struct agent_word *word = p && (p->declaration || p->word) ? p->word : r->service ? r->service->word : NULL;
    struct facts f = {0};
    struct service *service;
    struct form form;
    int64_t before = r->form.id;
    int unpacked;

    r->again = false;
    if (!r->pending && same_states(w, r->service)) {
        index_add(s, r);
        return;
    }
    keep_addresses(s, r);
    arena = arena_new();
    unpacked = unpack_addresses(r->addresses_packed.data, r->addresses_packed.len, arena, &f);
    /* The store's own bytes: packed in this process, or read with a good digest. */
    assert(unpacked == 0);
    service = service_new(r->path, w->declaration, word, w->states, f.addresses, f.n_addresses, f.disagreement,
                          s->options.endpoint_networks);
    put_rows(c, w, &form);
    replace_forms(s, r, service, form);
    if (form.id != before || r->loaded) {
        bytes_clear(&r->effective);
        if (p)
            r->effective = (struct bytes){take_ptr(p->effective.data), p->effective.len};
    }
    view_delta_set(c->delta, VIEW_SERVICE, r->path, service);
    service_unref(r->service);
    r->service = service;
    if (w->reconfigured)
        index_add(s, r);
    set_waiting(s, w);
    r->unsaved &= form.id == before;
    pending_free(r->pending);
    r->pending = NULL;
    r->loaded = NULL;
    arena_free(take_ptr(r->loaded_arena));
}

static void remove_service(struct commit *c, struct record *r)
{
    struct store *s = c->store;

    row_drop_service(s, r->id);
    row_drop_form(s, r->form.id);
    for (size_t i = 0; i < r->n_good; i++)
        row_drop_form(s, r->good[i].id);
    view_delta_set(c->delta, VIEW_SERVICE, r->path, NULL);
    note(c, "service", r->path);
    forget_record(s, r);
}

static void make_services(struct commit *c)
{
    for (size_t i = 0; i < c->n_works; i++) {
        if (c->works[i].gone)
            remove_service(c, c->works[i].record);
        else
            make_service(c, &c->works[i]);
        /* What is not whole yet is nothing to anybody: it needs no transaction of its own. */
        if (!c->store->kept_whole && i % SERVICES_A_FLUSH == SERVICES_A_FLUSH - 1)
            keeper_flush(c->store->observed);
    }
    ports_settle(c->store);
}

/* ---- secrets ---- */

static bool same_secret(const struct secret *a, const struct secret *b)
{
    return strcmp(a->csum, b->csum) == 0 && a->has_pair == b->has_pair && a->has_trust == b->has_trust &&
           text_equal(a->certificate_chain, b->certificate_chain) && text_equal(a->private_key, b->private_key) &&
           text_equal(a->password, b->password) && text_equal(a->pair_problem, b->pair_problem) &&
           text_equal(a->trusted_ca, b->trusted_ca) &&
           text_equal(a->verify_certificate_hash, b->verify_certificate_hash) &&
           text_equal(a->trust_problem, b->trust_problem);
}

static void drop_secret(struct commit *c, struct secret_entry *entry)
{
    struct store *s = c->store;

    if (entry->secret) {
        if (!entry->made)
            row_drop_secret(s, entry->path);
        view_delta_set(c->delta, VIEW_SECRET, entry->path, NULL);
        note(c, "secret", entry->path);
    }
    s->wanted_stale |= entry->wanted;
    map_removes(&s->secrets, entry->path);
    secret_entry_free(entry);
}

/* The API's certificates are kept in config.db: observed.db has a row of the agent's alone. */
static void take_document(struct commit *c, struct secret_entry *entry)
{
    struct store *s = c->store;
    const struct document *d = documents_find(s->documents, DOCUMENT_CERTIFICATE, entry->path);

    if (d && entry->made != d->revision) {
        if (entry->secret && !entry->made)
            row_drop_secret(s, entry->path);
        secret_unref(entry->next);
        entry->next = secret_of_body(d->name, d->body);
        entry->made = d->revision;
    } else if (!d && entry->made) {
        /* The agent is asked for its own again. */
        secret_unref(entry->secret);
        entry->secret = NULL;
        entry->made = 0;
        view_delta_set(c->delta, VIEW_SECRET, entry->path, NULL);
        index_secret_changed(s, entry);
    }
}

static void settle_secret(struct commit *c, struct secret_entry *entry)
{
    struct store *s = c->store;

    entry->touched = false;
    /* Also values that came when nobody refers to it any more. What was made over the API is there in any case. */
    if (entry->records.count == 0 && !documents_find(s->documents, DOCUMENT_CERTIFICATE, entry->path)) {
        drop_secret(c, entry);
        return;
    }
    s->wanted_stale |= !entry->wanted;
    entry->wanted = true;
    take_document(c, entry);
    if (entry->next && (!entry->secret || !same_secret(entry->secret, entry->next))) {
        secret_unref(entry->secret);
        entry->secret = take_ptr(entry->next);
        if (!s->loading && !entry->made)
            row_put_secret(s, entry->secret);
        view_delta_set(c->delta, VIEW_SECRET, entry->path, entry->secret);
        note(c, "secret", entry->path);
        index_secret_changed(s, entry);
    }
    secret_unref(entry->next);
    entry->next = NULL;
}

static void settle_secrets(struct commit *c)
{
    struct store *s = c->store;
    size_t n = 0;
    struct map_entry *e;

    for (size_t i = 0; i < s->touched.count; i++)
        settle_secret(c, s->touched.items[i]);
    pointers_clear(&s->touched);
    if (!s->wanted_stale)
        return;
    mem_free(s->wanted);
    s->wanted = mem_array(const char *, s->secrets.count);
    for (size_t i = 0; map_next(&s->secrets, &i, &e);)
        if (!documents_find(s->documents, DOCUMENT_CERTIFICATE, ((struct secret_entry *)e->value)->path))
            s->wanted[n++] = ((struct secret_entry *)e->value)->path;
    s->n_wanted = n;
    if (n)
        qsort(s->wanted, n, sizeof(*s->wanted), text_compare);
    s->wanted_stale = false;
    s->wanted_version++;
}

/* ---- plans ---- */

static const struct secret *lookup_secret(void *arg, const char *path)
{
    const struct secret_entry *entry = map_gets(&((struct store *)arg)->secrets, path);

    return entry ? entry->secret : NULL;
}

/* A grant's document says so. */
static bool is_granted(void *arg, const char *ns, const char *kind, const char *name)
{
    return grant_stands(((const struct store *)arg)->documents, ns, kind, name);
}

static const struct service_exposure *find_exposure(const struct service *service, const char *name)
{
    for (size_t i = 0; i < service->n_exposures; i++)
        if (service->exposures[i].x->name == name)
            return &service->exposures[i];
    return NULL;
}

static struct listener_plan *make_plan(struct store *s, const struct listener *l)
{
    _cleanup_(mem_free_p) struct claim *claims = mem_array(struct claim, l->claims.count);
    const struct plan_context context = {
        .secrets = lookup_secret, .secrets_arg = s, .granted = is_granted, .granted_arg = s};
    struct map_entry *e;
    size_t n = 0;

    for (size_t i = 0; map_next(&l->claims, &i, &e);) {
        const struct record *r = e->value;

        claims[n].sx = find_exposure(r->service, e->key);
        assert(claims[n].sx);
        n++;
    }
    return listener_plan_new(l->gateway, claims, n, &context);
}

static void settle_plan(struct commit *c, struct listener *l)
{
    struct store *s = c->store;
    struct listener_plan *before = view_listener(c->after, l->key), *plan;

    l->dirty = false;
    if (l->claims.count == 0) {
        if (before)
            note(c, "listener", l->key);
        view_delta_set(c->delta, VIEW_LISTENER, l->key, NULL);
        map_removes(&s->listeners, l->key);
        listener_free(l);
        return;
    }
    plan = make_plan(s, l);
    assert(strcmp(plan->key, l->key) == 0);
    if (!before || !listener_plan_equal(before, plan)) {
        view_delta_set(c->delta, VIEW_LISTENER, l->key, plan);
        note(c, "listener", l->key);
    }
    listener_plan_unref(plan);
}

static void settle_plans(struct commit *c)
{
    struct store *s = c->store;

    for (size_t i = 0; i < s->dirty.count; i++)
        settle_plan(c, s->dirty.items[i]);
    pointers_clear(&s->dirty);
}

/* ---- the rest ---- */

static void settle_gateways(struct commit *c)
{
    struct store *s = c->store;

    for (size_t i = 0; i < s->new_gateways.count; i++) {
        struct port_space *space = s->new_gateways.items[i];

        space->announced = false;
        view_delta_set(c->delta, VIEW_GATEWAY, space->name, space->gateway);
        if (!space->saved) {
            row_put_gateway(s, space->gateway);
            note(c, "gateway", space->name);
            space->saved = true;
        }
    }
    pointers_clear(&s->new_gateways);
}

/* Before the rows that go by it. */
static void settle_claims(struct store *s)
{
    if (s->claims_used)
        s->claims++;
    s->claims_used = false;
    if (s->claims != s->kept_claims)
        row_put_meta(s, "claims", s->claims);
    s->kept_claims = s->claims;
}

/* Before all rows: a state that is not whole any more is not taken for it, whatever part of them is there. */
static void settle_whole(struct store *s)
{
    if (s->kept_whole && !s->whole)
        row_put_meta(s, "whole", 0);
    s->kept_whole &= s->whole;
}

/* After all rows: the state is whole when they are there. */
static void put_meta(struct store *s)
{
    if (s->revision != s->kept_revision)
        row_put_meta(s, "revision", s->revision);
    if (s->whole != s->kept_whole)
        row_put_meta(s, "whole", s->whole);
    s->kept_revision = s->revision;
    s->kept_whole = s->whole;
}

static void settle_revision(struct commit *c)
{
    struct store *s = c->store;

    size_t shown = c->n_names < REVISION_NAMES_MAX ? c->n_names : REVISION_NAMES_MAX;
    struct revision *r = NULL;

    if (c->edit)
        r = revision_new(c->edit->number, c->edit->time, c->edit->cause, c->edit->author, c->edit->request_id,
                         c->names, shown, c->n_names, c->edit->documents, c->edit->n_documents);
    else if (c->n_names && !s->loading)
        r = revision_new(s->revision + 1, (int64_t)(clock_wall() * 1000), c->cause, NULL, NULL, c->names, shown,
                         c->n_names, NULL, 0);
    if (r) {
        s->revision = r->number;
        row_put_revision(s, r);
        revisions_add(s, r);
    }
    c->after->revision = s->revision;
}

/* What people made, and the revisions, are the store's; a view shares them. */
static void show_documents(struct commit *c)
{
    struct store *s = c->store;

    pmap_unref(c->after->documents, &view_documents);
    pmap_unref(c->after->revisions, &view_revisions);
    c->after->documents = pmap_ref(s->documents);
    c->after->revisions = pmap_ref(s->revisions);
}

/* ---- events ---- */

static void add_text(void *arg, const char *json)
{
    pointers_add(arg, mem_strdup(json));
}

/* skipped: how many there were before them, which the ring would not hold. */
static void put_events(struct store *s, size_t skipped, const struct pointers *texts)
{
    uint64_t first = event_ring_last(s->events).seq + skipped + 1;

    for (size_t i = 0; i < texts->count; i++)
        row_put_event(s, first + i, texts->items[i]);
}

/* Events go to the disk with what they are about; they are told when it can be seen. Returns how many are skipped. */
static size_t prepare_events(struct commit *c, struct pointers *texts)
{
    struct store *s = c->store;

    c->after->event = event_ring_last(s->events);
    if (s->loading)
        return 0;
    size_t n = announce_delta(c->delta, clock_wall(), EVENTS_MAX, add_text, texts), skipped = n - texts->count;
    put_events(s, skipped, texts);
    c->after->event.seq += n;
    return skipped;
}

static void tell_events(struct store *s, size_t skipped, struct pointers *texts)
{
    if (skipped)
        event_ring_skip(s->events, skipped);
    for (size_t i = 0; i < texts->count; i++) {
        event_ring_add(s->events, texts->items[i]);
        mem_free(texts->items[i]);
    }
    pointers_clear(texts);
}

static unsigned observed_wait_ms(const struct store *s)
{
    return s->options.observed_wait_ms ? s->options.observed_wait_ms : STORE_OBSERVED_WAIT_MS;
}

void store_announce(struct store *s, const char *kind, const char *const *names, size_t n, enum event_change change)
{
    size_t skipped = n > EVENTS_MAX ? n - EVENTS_MAX : 0;
    struct pointers texts = {0};
    struct buf b;

    buf_init(&b, EVENT_BYTES_MAX);
    for (size_t i = skipped; i < n; i++)
        add_text(&texts, announce_text(&b, kind, names[i], change, s->revision, clock_wall()));
    buf_clear(&b);
    put_events(s, skipped, &texts);
    keeper_wait(s->observed, keeper_flush(s->observed), observed_wait_ms(s));
    tell_events(s, skipped, &texts);
}

void store_announce_passing(struct store *s, const char *kind, const char *name, enum event_change change)
{
    _cleanup_(view_unref_p) struct view *v = store_view(s);
    _cleanup_(mem_free_p) char *key = mem_printf("%s %s", kind, name);
    struct buf b;

    buf_init(&b, EVENT_BYTES_MAX);
    event_ring_pass(s->events, key, announce_text(&b, kind, name, change, v->revision, clock_wall()));
    buf_clear(&b);
}

static void publish(struct store *s, struct view *v)
{
    struct view *before;

    pthread_mutex_lock(&s->view_lock);
    before = s->view;
    s->view = view_ref(v);
    pthread_mutex_unlock(&s->view_lock);
    view_unref(before);
}

static void settle(struct commit *c)
{
    collect(c);
    settle_exposures(c);
    settle_claims(c->store);
    settle_whole(c->store);
    make_services(c);
    /* The disk's part goes on beside the rest. */
    keeper_flush(c->store->observed);
    settle_secrets(c);
    settle_plans(c);
    settle_gateways(c);
    settle_revision(c);
    show_documents(c);
    put_meta(c->store);
}

/* How it stands now is told with the commit. */
static void expires_by(struct store *s, bool expires, const struct expiry *e)
{
    double next = expires ? expiry_next(e, clock_wall()) : HUGE_VAL;

    if (next >= s->expiry_next)
        return;
    s->expiry_next = next;
    if (s->options.wake)
        s->options.wake(s->options.wake_arg); /* the owner is to poll earlier than it was told */
}

/* Of what is new, when it runs out. */
static void settle_expiry(const struct commit *c)
{
    struct expiry e;

    for (size_t i = 0; i < c->delta->n_changes; i++)
        if (c->delta->changes[i].kind == VIEW_SECRET && c->delta->changes[i].after)
            expires_by(c->store, expiry_of_secret(c->delta->changes[i].after, &e), &e);
    for (size_t i = 0; c->edit && i < c->edit->n_documents; i++) {
        const struct document *d = c->edit->documents[i].after;

        if (d && d->kind == DOCUMENT_TOKEN)
            expires_by(c->store, expiry_of_token(d, &e), &e);
    }
}

static struct view_delta *run_commit(struct store *s, const char *cause, struct revision *edit)
{
    struct commit c = {.store = s, .cause = cause, .edit = edit, .arena = arena_new()};
    struct pointers texts = {0};
    bool flags;
    uint64_t ticket;

    c.after = view_new(s->view);
    c.after->complete = s->complete;
    c.after->stale = s->stale;
    flags = edit || s->loading || c.after->complete != s->view->complete || c.after->stale != s->view->stale;
    c.delta = view_delta_new(s->view, c.after);
    settle(&c);
    settle_expiry(&c);
    view_delta_sort(c.delta);
    size_t skipped = prepare_events(&c, &texts);
    keeper_flush(s->config);
    ticket = keeper_flush(s->observed);
    keeper_wait(s->observed, ticket, observed_wait_ms(s) + (unsigned)c.n_works / SERVICES_A_MS);
    if (c.delta->n_changes || flags) {
        event_ring_expect(s->events, skipped + texts.count);
        publish(s, c.after);
    } else {
        view_delta_free(c.delta);
        c.delta = NULL;
    }
    tell_events(s, skipped, &texts);
    view_unref(c.after);
    arena_free(c.arena);
    return c.delta;
}

struct view_delta *store_commit(struct store *s, const char *cause)
{
    struct view_delta *delta;

    store_take_news(s);
    delta = run_commit(s, cause, NULL);
    store_take_news(s);
    /* Exposures that wait for a port may find one now: the owner shall commit again. */
    if (s->ports_released && s->waiting.count && s->options.wake)
        s->options.wake(s->options.wake_arg);
    return delta;
}

/* Edits that observed.db does not know are made once more, one after the other: the first to claim a name has it. */
static void repeat_edits(struct store *s)
{
    char key[17];

    if (!s->later_documents)
        return;
    revision_key(s->loaded_revision, key);
    for (const struct revision *r = pmap_after(s->revisions, &view_revisions, key); r;
         r = pmap_after(s->revisions, &view_revisions, r->key)) {
        if (r->n_documents == 0)
            continue;
        documents_step(s, r);
        gather_documents(s, r->documents, r->n_documents);
        view_delta_free(run_commit(s, "start", NULL));
    }
    documents_step_on(s);
    view_delta_free(run_commit(s, "start", NULL)); /* shows them */
}

void commit_loaded(struct store *s)
{
    s->loading = true;
    gather_orphaned_documents(s);
    view_delta_free(run_commit(s, "start", NULL));
    repeat_edits(s);
    s->loading = false;
}

struct view_delta *commit_edit(struct store *s, struct revision *edit)
{
    gather_documents(s, edit->documents, edit->n_documents);
    return run_commit(s, edit->cause, edit);
}
