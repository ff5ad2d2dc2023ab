/*
 * Questions about the sessions, answered in slices: see xds_status.h.
 *
 * `lock` protects the queue and what callers wait for; all else belongs to the xDS thread while a question is in the
 * queue, and to the caller afterwards.
 */
#include "server/xds_status.h"

#include "base/hash.h"
#include "base/text.h"
#include "server/xds_question.h"
#include "server/xds_stream.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64 };

struct xds_status {
    const struct xds_common *common;
    void (*wake)(void *arg);
    void *wake_arg;
    clock_ns next_expiry;  /* of waits; the xDS thread's */
    struct xds_news *news; /* the xDS thread's; NULL: nobody wants to know */

    pthread_mutex_t lock;
    struct xds_question *first, **end;
    unsigned n;   /* atomic for reading without the lock */
    bool stopped; /* the xDS thread sets it, and reads it without the lock */
    uint64_t last_wait;
    uint64_t version; /* atomic */
};

uint64_t xds_status_version(const struct xds_status *t)
{
    return __atomic_load_n(&t->version, __ATOMIC_ACQUIRE);
}

void xds_status_changed(struct xds_status *t)
{
    (void)__atomic_add_fetch(&t->version, 1, __ATOMIC_RELEASE);
}

void xds_status_stirred(struct xds_status *t, struct xds_session *s)
{
    xds_status_changed(t);
    if (t->news)
        xds_news_stirred(t->news, s);
}

void xds_status_gone(struct xds_status *t, struct xds_session *s, const char *why, clock_ns now)
{
    char id[XDS_PROXY_ID_MAX];
    bool stays = xds_presence_left(t->common->presence, s->known, xds_proxy_id(s, id), why, now);

    xds_status_changed(t);
    if (t->news)
        xds_news_gone(t->news, s, stays);
}

void xds_status_applied(struct xds_status *t, const struct xds_batch *b)
{
    if (t->news)
        xds_news_applied(t->news, b);
}

/* ---- the queue ---- */

static int submit(struct xds_status *t, struct xds_question *q)
{
    int r = 0;

    pthread_mutex_lock(&t->lock);
    if (t->stopped)
        r = -ESHUTDOWN;
    else if (t->n >= XDS_QUESTIONS_MAX)
        r = -EAGAIN;
    if (r == 0) {
        q->next = NULL;
        *t->end = q;
        t->end = &q->next;
        __atomic_add_fetch(&t->n, 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&t->lock);
    if (r == 0)
        t->wake(t->wake_arg);
    return r;
}

int xds_ask(struct xds_status *t, struct xds_question *q)
{
    int r;

    pthread_cond_init(&q->answered, NULL);
    r = submit(t, q);
    if (r == 0) {
        pthread_mutex_lock(&t->lock);
        while (!q->done)
            pthread_cond_wait(&q->answered, &t->lock);
        pthread_mutex_unlock(&t->lock);
        r = q->result < 0 ? q->result : 0;
    }
    pthread_cond_destroy(&q->answered);
    return r;
}

const struct xds_session *xds_question_session(struct xds_directory *d, struct xds_question *q)
{
    if (!q->begun)
        xds_roster_begin(d);
    q->begun = true;
    return xds_roster_next(d);
}

/* With the lock held: the first question is done. */
static void finish_first(struct xds_status *t, int result)
{
    struct xds_question *q = t->first;

    t->first = q->next;
    if (!t->first)
        t->end = &t->first;
    __atomic_sub_fetch(&t->n, 1, __ATOMIC_RELEASE);
    if (q->detached) {
        mem_free(q);
        return;
    }
    q->result = result;
    q->done = true;
    pthread_cond_signal(&q->answered);
}

static clock_ns answer(struct xds_status *t, clock_ns until)
{
    while (__atomic_load_n(&t->n, __ATOMIC_ACQUIRE) > 0) {
        struct xds_question *q;
        int r;

        pthread_mutex_lock(&t->lock);
        q = t->first;
        pthread_mutex_unlock(&t->lock);
        r = q->step(t->common->directory, q, until);
        if (r == 0)
            return 0;
        pthread_mutex_lock(&t->lock);
        finish_first(t, r);
        pthread_mutex_unlock(&t->lock);
        if (clock_now(NULL) >= until)
            return __atomic_load_n(&t->n, __ATOMIC_ACQUIRE) > 0 ? 0 : INT64_MAX;
    }
    return INT64_MAX;
}

static clock_ns earlier(clock_ns a, clock_ns b)
{
    return a < b ? a : b;
}

/* Who does not come back; once the server stops, nobody could. */
static clock_ns run_presence(struct xds_status *t, clock_ns now)
{
    struct xds_presence *p = t->stopped ? NULL : t->common->presence;

    if (!p)
        return INT64_MAX;
    if (xds_presence_is_due(p, now))
        xds_status_changed(t); /* first: who is told of it asks at once */
    return xds_presence_run(p, now);
}

clock_ns xds_status_run(struct xds_status *t, clock_ns now)
{
    clock_ns next = t->news ? xds_news_run(t->news, now) : INT64_MAX;

    next = earlier(next, run_presence(t, now));
    if (now >= t->next_expiry)
        t->next_expiry = xds_rollout_expire(t->common->directory, now);
    if (__atomic_load_n(&t->n, __ATOMIC_ACQUIRE) > 0)
        next = earlier(next, answer(t, clock_now(NULL) + (clock_ns)XDS_SLICE_US * 1000));
    return earlier(next, t->next_expiry); /* which an answer may have brought nearer */
}

void xds_status_stop(struct xds_status *t)
{
    pthread_mutex_lock(&t->lock);
    t->stopped = true;
    pthread_mutex_unlock(&t->lock);
    /* What is under way holds references: it is answered to its end. */
    while (answer(t, INT64_MAX) == 0)
        ;
    xds_rollout_stop(t->common->directory);
}

struct xds_status *xds_status_new(const struct xds_common *common, void (*wake)(void *arg), void *arg)
{
    struct xds_status *t = mem_new(struct xds_status);

    t->common = common;
    t->wake = wake;
    t->wake_arg = arg;
    t->next_expiry = INT64_MAX;
    t->end = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    if (common->tell)
        t->news = xds_news_new(common->directory, common->tell, common->arg);
    return t;
}

void xds_status_free(struct xds_status *t)
{
    if (!t)
        return;
    assert(t->n == 0);
    xds_news_free(t->news);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

/* ---- reading a session ---- */

const char *xds_proxy_id(const struct xds_session *s, char *buf)
{
    snprintf(buf, XDS_PROXY_ID_MAX, "%08" PRIx32 "-%06" PRIu64, s->common->epoch, s->roster.number);
    return buf;
}

static const char *id_of(const struct xds_session *s, struct arena *arena)
{
    char id[XDS_PROXY_ID_MAX];

    return arena_strdup(arena, xds_proxy_id(s, id));
}

/* Of 64 slots: those of which the client has the current form, or all of it and more. */
static uint64_t has_word(const struct xds_sub *sub, uint32_t word)
{
    uint64_t has = xds_confirmed_word(sub, word);

    for (uint64_t more = sub->bridges ? bits_word(&sub->confirmed, word) & ~has : 0; more; more &= more - 1)
        if (xds_has_more(sub, word * WORD + (uint32_t)__builtin_ctzll(more)))
            has |= more & -more;
    return has;
}

static void count_type(const struct xds_session *s, const struct xds_sub *sub, uint64_t ret[XDS_STATES])
{
    const struct bits *live = &sub->table->live, *of = sub->wildcard ? live : &sub->named;

    for (uint32_t slot = bits_next(of, 0); slot != BITS_END; slot = bits_next(of, (slot | (WORD - 1)) + 1)) {
        uint32_t word = slot / WORD;
        uint64_t wanted = bits_word(of, word) & bits_word(live, word), missing = wanted & ~has_word(sub, word);

        ret[XDS_ACKED] += (uint64_t)__builtin_popcountll(wanted & ~missing);
        if (xds_refusing_count(s->refusing) == 0) {
            ret[XDS_REQUESTED] += (uint64_t)__builtin_popcountll(missing);
            continue;
        }
        for (; missing; missing &= missing - 1) {
            uint32_t one = word * WORD + (uint32_t)__builtin_ctzll(missing);

            ret[xds_refusal_of(s, xds_current(sub->table, one)) ? XDS_NACKED : XDS_REQUESTED]++;
        }
    }
    for (uint32_t slot = bits_next(&sub->named, 0); slot != BITS_END;
         slot = bits_next(&sub->named, (slot | (WORD - 1)) + 1)) {
        uint64_t gone = bits_word(&sub->named, slot / WORD) & ~bits_word(live, slot / WORD);

        ret[XDS_DOES_NOT_EXIST] += (uint64_t)__builtin_popcountll(gone);
    }
}

static const char *gateway_of(const struct xds_session *s)
{
    return s->gateway ? s->gateway->name : xds_session_unknown_gateway(s);
}

uint64_t xds_session_digest(const struct xds_session *s)
{
    struct {
        uint64_t passed, counts[XDS_TYPES][XDS_STATES];
        uint64_t asked, is_served;
    } all = {.passed = s->progress.passed, .is_served = s->gateway != NULL};

    for (unsigned type = 0; s->gateway && type < XDS_TYPES; type++)
        if (s->subs[type].asked) {
            all.asked |= 1U << type;
            count_type(s, &s->subs[type], all.counts[type]);
        }
    return hash_bytes(&all, sizeof(all));
}

/* NULL stays NULL. */
static const char *copy_of(const char *text, struct arena *arena)
{
    return text ? arena_strdup(arena, text) : NULL;
}

static void describe(const struct xds_session *s, struct arena *arena, struct xds_proxy *ret)
{
    *ret = (struct xds_proxy){.id = id_of(s, arena),
                              .node_id = copy_of(s->node_id, arena),
                              .node_cluster = copy_of(s->node_cluster, arena),
                              .peer = arena_strdup(arena, s->peer),
                              .version = copy_of(s->node_version, arena),
                              .gateway = copy_of(gateway_of(s), arena),
                              .variant = s->options.variant,
                              .connected_at = s->roster.began_at,
                              .first_seen = s->known ? s->known->first_seen : s->roster.began_at};
    for (unsigned type = 0; s->gateway && type < XDS_TYPES; type++) {
        ret->asked[type] = s->subs[type].asked;
        if (s->subs[type].asked)
            count_type(s, &s->subs[type], ret->counts[type]);
    }
}

/* ---- proxies ---- */

struct proxies_question {
    struct xds_question q;
    struct arena *arena;
    const struct xds_presence *presence; /* NULL: nobody is remembered */
    struct xds_proxy *items;
    size_t n, cap;
    /* Of one: */
    const char *id;
    uint64_t number; /* 0: none of this run */
    unsigned type;
    uint32_t slot;
    size_t resources_cap;
};

static void describe_known(const struct xds_known *k, struct arena *arena, struct xds_proxy *ret)
{
    *ret = (struct xds_proxy){.presence = k->state,
                              .id = arena_strdup(arena, k->id),
                              .node_id = arena_strdup(arena, k->node_id),
                              .node_cluster = arena_strdup(arena, k->node_cluster),
                              .peer = arena_strdup(arena, k->peer),
                              .version = copy_of(k->version, arena),
                              .gateway = arena_strdup(arena, k->gateway),
                              .variant = k->variant,
                              .connected_at = k->connected_at,
                              .first_seen = k->first_seen,
                              .left_at = k->left_at,
                              .ended = copy_of(k->ended, arena)};
}

/* Those that are not connected, or the one of them that is asked for; all at once: they are only copied. */
static void add_known(struct proxies_question *q)
{
    const struct xds_known *k;

    for (size_t i = 0; q->presence && (k = xds_presence_next(q->presence, &i)) != NULL;) {
        if (k->state == XDS_CONNECTED || (q->id && strcmp(k->id, q->id) != 0))
            continue;
        q->items = arena_room(q->arena, q->items, q->n, &q->cap, sizeof(q->items[0]));
        describe_known(k, q->arena, &q->items[q->n++]);
    }
}

static int step_all(struct xds_directory *d, struct xds_question *question, clock_ns until)
{
    struct proxies_question *q = (struct proxies_question *)question;
    const struct xds_session *s;

    while ((s = xds_question_session(d, question)) != NULL) {
        if (!s->node_known)
            continue; /* it said nothing yet */
        q->items = arena_room(q->arena, q->items, q->n, &q->cap, sizeof(q->items[0]));
        describe(s, q->arena, &q->items[q->n++]);
        if (clock_now(NULL) >= until)
            return 0;
    }
    add_known(q); /* last: nobody is missing who left meanwhile */
    return 1;
}

static const struct xds_session *find_session(struct xds_directory *d, uint64_t number)
{
    const struct xds_session *s;

    xds_roster_begin(d);
    while ((s = xds_roster_next(d)) != NULL)
        if (s->roster.number == number)
            return s->node_known ? s : NULL;
    return NULL;
}

static void add_resource(struct proxies_question *q, const struct xds_session *s, const struct xds_sub *sub,
                         uint32_t slot)
{
    struct xds_proxy *proxy = &q->items[0];
    const struct xds_form *current = xds_current(sub->table, slot);
    const struct xds_refusal *refusal = xds_refusal_of(s, xds_current(sub->table, slot));
    struct xds_proxy_resource *r;

    proxy->resources = arena_room(q->arena, proxy->resources, proxy->n_resources, &q->resources_cap, sizeof(*r));
    r = &proxy->resources[proxy->n_resources++];
    *r = (struct xds_proxy_resource){.type = sub->type,
                                     .name = arena_strdup(q->arena, sub->table->space->names[slot]->text),
                                     .version = current ? current->version : 0,
                                     .words = refusal ? arena_strdup(q->arena, refusal->words) : NULL};
    if (!current)
        r->state = XDS_DOES_NOT_EXIST;
    else if (refusal)
        r->state = XDS_NACKED;
    else if ((bits_get(&sub->same, slot) && bits_get(&sub->confirmed, slot)) || xds_has_more(sub, slot))
        r->state = XDS_ACKED;
}

static int step_one(struct xds_directory *d, struct xds_question *question, clock_ns until)
{
    struct proxies_question *q = (struct proxies_question *)question;
    const struct xds_session *s = find_session(d, q->number);

    if (!s) {
        q->n = 0; /* it may have left meanwhile */
        add_known(q);
        return q->n > 0 ? 1 : -ENOENT;
    }
    if (q->n == 0) {
        q->items = arena_new_of(q->arena, struct xds_proxy);
        q->n = 1;
        describe(s, q->arena, q->items);
    }
    for (; s->gateway && q->type < XDS_TYPES; q->type++, q->slot = 0) {
        const struct xds_sub *sub = &s->subs[q->type];

        for (; sub->asked && q->slot < sub->table->space->n; q->slot++) {
            if (q->slot % WORD == 0 && clock_now(NULL) >= until)
                return 0;
            if (bits_get(&sub->named, q->slot) || (sub->wildcard && bits_get(&sub->table->live, q->slot)))
                add_resource(q, s, sub, q->slot);
        }
    }
    return 1;
}

static int compare_resources(const void *a, const void *b)
{
    const struct xds_proxy_resource *x = a, *y = b;

    return x->type != y->type ? (x->type < y->type ? -1 : 1) : strcmp(x->name, y->name);
}

/* By id; of one that is there twice, first what it was earlier. */
static int compare_proxies(const void *a, const void *b)
{
    const struct xds_proxy *x = a, *y = b;
    int difference = strcmp(x->id, y->id);

    return difference ? difference : (int)x->presence - (int)y->presence;
}

/* Sorts them; who left while others were asked is there twice, and is what it is now. Returns how many they are. */
static size_t order_proxies(struct xds_proxy *items, size_t n)
{
    size_t kept = 0;

    if (n > 0)
        qsort(items, n, sizeof(items[0]), compare_proxies);
    for (size_t i = 0; i < n; i++) {
        kept -= kept > 0 && strcmp(items[kept - 1].id, items[i].id) == 0;
        items[kept++] = items[i];
    }
    return kept;
}

/* The number in an id of this run; 0: it is none of a stream's. */
static uint64_t parse_id(const struct xds_status *t, const char *id)
{
    char epoch[16], *end;
    size_t n = (size_t)snprintf(epoch, sizeof(epoch), "%08" PRIx32 "-", t->common->epoch);
    uint64_t number;

    if (strncmp(id, epoch, n) != 0 || id[n] < '0' || id[n] > '9')
        return 0;
    errno = 0;
    number = strtoull(id + n, &end, 10);
    return *end == '\0' && errno == 0 ? number : 0;
}

int xds_status_proxies(struct xds_status *t, const char *id, struct arena *arena, struct xds_proxy **ret,
                       size_t *ret_n)
{
    struct proxies_question q = {
        .q.step = id ? step_one : step_all, .arena = arena, .presence = t->common->presence, .id = id};
    int r;

    if (id)
        q.number = parse_id(t, id);
    r = xds_ask(t, &q.q);
    if (r < 0)
        return r;
    if (!id)
        q.n = order_proxies(q.items, q.n);
    if (id && q.items->n_resources > 0)
        qsort(q.items->resources, q.items->n_resources, sizeof(q.items->resources[0]), compare_resources);
    *ret = q.items;
    *ret_n = q.n;
    return 0;
}

struct forget_question {
    struct xds_question q;
    struct xds_status *status;
    const char *id;
    uint64_t number;
};

static int step_forget(struct xds_directory *d, struct xds_question *question, clock_ns until)
{
    struct forget_question *q = (struct forget_question *)question;
    struct xds_presence *presence = q->status->common->presence;
    int r;

    (void)until; /* it is short */
    if (find_session(d, q->number))
        return -EBUSY;
    xds_status_changed(q->status); /* first: who is told of it asks at once */
    r = presence ? xds_presence_forget(presence, q->id) : -ENOENT;
    return r < 0 ? r : 1;
}

int xds_status_forget(struct xds_status *t, const char *id)
{
    struct forget_question q = {.q.step = step_forget, .status = t, .id = id, .number = parse_id(t, id)};

    return xds_ask(t, &q.q);
}

/* ---- rollouts ---- */

struct rollout_question {
    struct xds_question q;
    struct arena *arena;
    uint64_t revision;
    struct xds_rollout_status *ret;
    size_t cap;
};

static void describe_errors(const struct xds_session *s, uint64_t sequence, struct arena *arena,
                            struct xds_rollout_proxy *ret)
{
    const struct xds_progress *p = &s->progress;

    for (unsigned i = 0; i < p->n_refused; i++) {
        const struct xds_refused *one = &p->refused[i];
        const struct xds_refusal *refusal;

        if (one->sequence != sequence)
            continue;
        if (!ret->errors)
            ret->errors = arena_array(arena, struct xds_rollout_error, p->n_refused);
        refusal = xds_refusing_find(s->refusing, one->type, one->version);
        ret->errors[ret->n_errors++] =
            (struct xds_rollout_error){.type = one->type,
                                       .name = refusal ? arena_strdup(arena, refusal->name) : NULL,
                                       .words = refusal ? arena_strdup(arena, refusal->words) : NULL};
    }
}

static void add_to_rollout(struct rollout_question *q, const struct xds_session *s, uint64_t sequence)
{
    struct xds_rollout_status *ret = q->ret;
    struct xds_rollout_proxy *one;

    ret->proxies = arena_room(q->arena, ret->proxies, ret->n_proxies, &q->cap, sizeof(*one));
    one = &ret->proxies[ret->n_proxies++];
    *one = (struct xds_rollout_proxy){.id = id_of(s, q->arena),
                                      .node_id = copy_of(s->node_id, q->arena),
                                      .gateway = arena_strdup(q->arena, s->gateway->name),
                                      .peer = arena_strdup(q->arena, s->peer)};
    describe_errors(s, sequence, q->arena, one);
    one->state = one->n_errors                    ? XDS_ROLLOUT_REFUSED
                 : s->progress.passed >= sequence ? XDS_ROLLOUT_ACKED
                                                  : XDS_ROLLOUT_PENDING;
}

static int step_rollout(struct xds_directory *d, struct xds_question *question, clock_ns until)
{
    struct rollout_question *q = (struct rollout_question *)question;
    const struct xds_session *s;

    while ((s = xds_question_session(d, question)) != NULL) {
        uint64_t sequence = s->gateway ? xds_rollout_sequence(s->gateway, q->revision) : 0;

        if (sequence)
            add_to_rollout(q, s, sequence);
        if (clock_now(NULL) >= until)
            return 0;
    }
    xds_rollout_get(d, q->revision, &q->ret->rollout);
    return 1;
}

static void gather_gateways(struct xds_rollout_status *ret, struct arena *arena)
{
    size_t n = 0;

    ret->gateways = arena_array(arena, const char *, ret->n_proxies + 1);
    for (size_t i = 0; i < ret->n_proxies; i++)
        ret->gateways[n++] = ret->proxies[i].gateway;
    if (n > 0)
        qsort(ret->gateways, n, sizeof(ret->gateways[0]), text_compare);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(ret->gateways[i], ret->gateways[ret->n_gateways - 1]) != 0)
            ret->gateways[ret->n_gateways++] = ret->gateways[i];
}

int xds_status_rollout(struct xds_status *t, uint64_t revision, struct arena *arena, struct xds_rollout_status *ret)
{
    struct xds_rollout_status found = {0};
    struct rollout_question q = {.q.step = step_rollout, .arena = arena, .revision = revision, .ret = &found};
    int r = xds_ask(t, &q.q);

    if (r < 0)
        return r;
    gather_gateways(&found, arena);
    *ret = found;
    return 0;
}

/* ---- waiting ---- */

struct wait_question {
    struct xds_question q;
    struct xds_status *status;
    uint64_t id, revision;
    clock_ns until;
    xds_wait_done done;
    void *arg;
};

static int step_wait(struct xds_directory *d, struct xds_question *question, clock_ns until)
{
    struct wait_question *q = (struct wait_question *)question;

    (void)until; /* it is short */
    if (xds_rollout_wait(d, q->id, q->revision, q->until, q->done, q->arg) < 0)
        q->done(q->arg, q->revision, XDS_WAIT_EXPIRED);
    if (q->until < q->status->next_expiry)
        q->status->next_expiry = q->until;
    return 1;
}

static int step_cancel(struct xds_directory *d, struct xds_question *question, clock_ns until)
{
    (void)until; /* it is short */
    xds_rollout_cancel(d, ((struct wait_question *)question)->id);
    return 1;
}

int xds_status_wait(struct xds_status *t, uint64_t revision, unsigned seconds, xds_wait_done done, void *arg,
                    uint64_t *ret_id)
{
    struct wait_question *q = mem_new(struct wait_question);
    uint64_t id = __atomic_add_fetch(&t->last_wait, 1, __ATOMIC_RELAXED);
    int r;

    if (seconds > XDS_WAIT_SECONDS_MAX)
        seconds = XDS_WAIT_SECONDS_MAX;
    *q = (struct wait_question){.q = {.step = step_wait, .detached = true},
                                .status = t,
                                .id = id,
                                .revision = revision,
                                .until = clock_now(NULL) + (clock_ns)seconds * CLOCK_NS_PER_S,
                                .done = done,
                                .arg = arg};
    *ret_id = id; /* before done() can be called */
    r = submit(t, &q->q);
    if (r < 0)
        mem_free(q);
    return r;
}

int xds_status_cancel(struct xds_status *t, uint64_t id)
{
    struct wait_question q = {.q.step = step_cancel, .id = id};

    return xds_ask(t, &q.q);
}
