/*
 * The queue of streams, and the batches that are followed: see xds_news.h.
 *
 * Invariants: a session stands in the queue if and only if its entry waits; followed batches stand in the order of
 * their sequences, each with a reference to its gateway.
 */
#include "server/xds_news.h"

#include "server/xds_question.h"
#include "server/xds_stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a batch changed for one gateway. */
struct followed {
    struct xds_gateway *gateway;
    uint64_t sequence;
    uint64_t revision; /* that it made; 0: it made none */
    size_t n_passed;   /* streams, when it was told of */
    char **exposures;
    size_t n_exposures;
};

struct xds_news {
    struct xds_directory *directory;
    xds_tell tell;
    void *arg;
    struct xds_session *first, *last; /* the queue */
    struct followed followed[XDS_NEWS_BATCHES_MAX];
    size_t n_followed;
    bool is_stirred;      /* followed batches are to be looked at, whether or not a stream waits */
    clock_ns at, last_at; /* to be run at, 0: nothing is to be told; when it ran last */
};

/* ---- streams ---- */

static void enqueue(struct xds_news *n, struct xds_session *s)
{
    s->news.waits = true;
    s->news.next = NULL;
    s->news.previous = n->last;
    *(n->last ? &n->last->news.next : &n->first) = s;
    n->last = s;
}

static void dequeue(struct xds_news *n, struct xds_session *s)
{
    *(s->news.previous ? &s->news.previous->news.next : &n->first) = s->news.next;
    *(s->news.next ? &s->news.next->news.previous : &n->last) = s->news.previous;
    s->news.waits = false;
}

void xds_news_stirred(struct xds_news *n, struct xds_session *s)
{
    if (!s->news.waits)
        enqueue(n, s);
}

static void tell_proxy(const struct xds_news *n, const struct xds_session *s, enum event_change change)
{
    char id[XDS_PROXY_ID_MAX];

    n->tell(n->arg, "Proxy", xds_proxy_id(s, id), change);
}

void xds_news_gone(struct xds_news *n, struct xds_session *s, bool stays)
{
    if (s->news.waits)
        dequeue(n, s);
    n->is_stirred |= n->n_followed > 0;
    if (s->news.is_told || stays)
        tell_proxy(n, s, stays ? EVENT_MODIFIED : EVENT_REMOVED);
}

static void tell_streams(struct xds_news *n)
{
    struct xds_session *s;

    for (unsigned i = 0; i < XDS_NEWS_AT_ONCE && (s = n->first) != NULL; i++) {
        uint64_t now = xds_session_digest(s);

        dequeue(n, s);
        if (!s->node_known || (s->news.is_told && s->news.told == now))
            continue;
        tell_proxy(n, s, s->news.is_told ? EVENT_MODIFIED : EVENT_ADDED);
        s->news.is_told = true;
        s->news.told = now;
    }
}

/* ---- exposures ---- */

static void followed_clear(struct followed *f)
{
    for (size_t i = 0; i < f->n_exposures; i++)
        mem_free(f->exposures[i]);
    mem_free(f->exposures);
    xds_gateway_unref(f->gateway);
}

static void tell_rollout(const struct xds_news *n, uint64_t revision)
{
    char number[24];

    snprintf(number, sizeof(number), "%" PRIu64, revision);
    n->tell(n->arg, "Rollout", number, EVENT_MODIFIED);
}

/* Who else it means something for, as what shares a listener with its exposures, is told by the rollout. */
static void tell_progress(const struct xds_news *n, const struct followed *f)
{
    for (size_t i = 0; i < f->n_exposures; i++)
        n->tell(n->arg, "Exposure", f->exposures[i], EVENT_MODIFIED);
    if (f->revision)
        tell_rollout(n, f->revision);
}

/* Whether all passed it, and nothing more will be told. */
static bool tell_followed(const struct xds_news *n, struct followed *f)
{
    const struct xds_watcher *head = &f->gateway->watchers;
    size_t n_streams = 0, n_passed = 0;

    for (const struct xds_watcher *w = head->next; w != head; w = w->next) {
        n_streams++;
        n_passed += ((const struct xds_session *)w)->progress.passed >= f->sequence;
    }
    if (n_passed > f->n_passed)
        tell_progress(n, f);
    f->n_passed = n_passed;
    return n_passed == n_streams;
}

static void tell_all_followed(struct xds_news *n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n->n_followed; i++) {
        struct followed *f = &n->followed[i];

        if (tell_followed(n, f))
            followed_clear(f);
        else
            n->followed[kept++] = *f;
    }
    n->n_followed = kept;
    n->is_stirred = false;
}

static void drop_oldest(struct xds_news *n)
{
    tell_progress(n, &n->followed[0]);
    followed_clear(&n->followed[0]);
    memmove(n->followed, n->followed + 1, --n->n_followed * sizeof(n->followed[0]));
}

/* The gateway's part of a batch's subjects. */
static void follow(struct xds_news *n, struct xds_gateway *g, uint64_t revision, const struct xds_subject *subjects,
                   size_t n_subjects)
{
    struct followed f = {.gateway = xds_gateway_ref(g), .sequence = n->directory->sequence};

    f.revision = xds_rollout_sequence(g, revision) == f.sequence ? revision : 0;
    f.exposures = mem_array(char *, n_subjects);
    for (; f.n_exposures < n_subjects; f.n_exposures++)
        f.exposures[f.n_exposures] = mem_strdup(subjects[f.n_exposures].exposure);
    if (n->n_followed == XDS_NEWS_BATCHES_MAX)
        drop_oldest(n);
    n->followed[n->n_followed++] = f;
    n->is_stirred = true;
}

/* Whether the batch changed something of the gateway: else there is nothing to pass. Both are sorted by gateways, so
 * *at goes on from one to the next. */
static bool has_changes(const struct xds_batch *b, const char *gateway, size_t *at)
{
    int order = 1;

    while (*at < b->n_changes && (order = strcmp(b->changes[*at].gateway, gateway)) < 0)
        (*at)++;
    return *at < b->n_changes && order == 0;
}

void xds_news_applied(struct xds_news *n, const struct xds_batch *b)
{
    size_t same, change = 0;

    for (size_t i = 0; i < b->n_subjects; i += same) {
        const char *gateway = b->subjects[i].gateway;
        struct xds_gateway *g = xds_directory_find(n->directory, gateway, strlen(gateway));

        for (same = 1; i + same < b->n_subjects && strcmp(b->subjects[i + same].gateway, gateway) == 0;)
            same++;
        if (g && has_changes(b, gateway, &change))
            follow(n, g, b->revision, &b->subjects[i], b->n_subjects <= XDS_NEWS_SUBJECTS_MAX ? same : 0);
    }
}

/* ---- all ---- */

static void on_rollout(void *arg, uint64_t revision)
{
    tell_rollout(arg, revision);
}

clock_ns xds_news_run(struct xds_news *n, clock_ns now)
{
    if (!n->first && !n->is_stirred) {
        n->at = 0; /* who was to be told of may be gone */
        return INT64_MAX;
    }
    if (!n->at) {
        clock_ns soon = now + XDS_NEWS_DELAY_MS * (clock_ns)CLOCK_NS_PER_MS,
                 next = n->last_at + XDS_NEWS_GAP_MS * (clock_ns)CLOCK_NS_PER_MS;

        n->at = soon > next ? soon : next;
    }
    if (now < n->at)
        return n->at;
    n->last_at = now;
    n->at = 0;
    tell_streams(n);
    tell_all_followed(n);
    if (!n->first)
        return INT64_MAX;
    n->at = now + XDS_NEWS_GAP_MS * (clock_ns)CLOCK_NS_PER_MS;
    return n->at;
}

struct xds_news *xds_news_new(struct xds_directory *d, xds_tell tell, void *arg)
{
    struct xds_news *n = mem_new(struct xds_news);

    n->directory = d;
    n->tell = tell;
    n->arg = arg;
    xds_rollouts_follow(d, on_rollout, n);
    return n;
}

void xds_news_free(struct xds_news *n)
{
    if (!n)
        return;
    xds_rollouts_follow(n->directory, NULL, NULL);
    for (size_t i = 0; i < n->n_followed; i++)
        followed_clear(&n->followed[i]);
    mem_free(n);
}
