/* How far a revision has come: GET /revisions/{revision}/rollout. */
#include "api/handlers.h"
#include "api/later.h"
#include "api/objects.h"

#include <errno.h>

static const char *const states[] = {
    [API_ROLLOUT_NACKED] = "nacked", [API_ROLLOUT_PENDING] = "pending", [API_ROLLOUT_ACKED] = "acked"};
enum { STATES = ARRAY_LEN(states) };

static void write_errors(struct writer *w, const struct api_rollout_proxy *p)
{
    writer_open(w, "errors", '[');
    for (size_t i = 0; i < p->n_errors; i++) {
        writer_open(w, NULL, '{');
        writer_text(w, "type", p->errors[i].type);
        writer_text(w, "name", p->errors[i].name);
        writer_text(w, "error", p->errors[i].error);
        writer_close(w, '}');
    }
    writer_close(w, ']');
}

/* Those that refused first, then those that are waited for; where there are very many, not all that acked. */
static void write_rollout_proxies(struct writer *w, const struct api_rollout *r)
{
    size_t n = 0;

    writer_open(w, "proxies", '[');
    for (unsigned state = 0; state < STATES; state++)
        for (size_t i = 0; i < r->n_proxies && n < LIST_LIMIT_MAX; i++) {
            const struct api_rollout_proxy *p = &r->proxies[i];
            if (p->state != (enum api_rollout_state)state)
                continue;
            n++;
            writer_open(w, NULL, '{');
            writer_text(w, "id", p->id);
            writer_text(w, "node_id", p->node_id);
            writer_text(w, "gateway", p->gateway);
            writer_text(w, "peer", p->peer);
            writer_text(w, "state", states[state]);
            write_errors(w, p);
            writer_close(w, '}');
        }
    writer_close(w, ']');
}

static void write_time_or_null(struct writer *w, const char *key, double time)
{
    if (time > 0)
        writer_time(w, key, time);
    else
        writer_null(w, key);
}

static void write_rollout(struct writer *w, const char *key, uint64_t revision, const struct api_rollout *r)
{
    int64_t counts[STATES] = {0};

    for (size_t i = 0; i < r->n_proxies; i++)
        counts[r->proxies[i].state]++;
    writer_open(w, key, '{');
    writer_text(w, "kind", "Rollout");
    writer_int(w, "revision", (int64_t)revision);
    writer_text(w, "state", states[r->state]);
    writer_bool(w, "complete", r->complete);
    write_time_or_null(w, "published_at", r->published_at);
    write_time_or_null(w, "completed_at", r->completed_at);
    writer_texts(w, "gateways", (const char *const *)r->gateways, r->n_gateways);
    writer_open(w, "counts", '{');
    writer_int(w, "proxies", (int64_t)r->n_proxies);
    for (unsigned state = 0; state < STATES; state++)
        writer_int(w, states[state], counts[state]);
    writer_close(w, '}');
    write_rollout_proxies(w, r);
    writer_close(w, '}');
}

void rollout_write(struct call *c, uint64_t revision, const char *key, struct writer *w)
{
    struct api_rollout r = {.state = API_ROLLOUT_PENDING};

    if (c->backend->rollout && c->backend->rollout(c->backend->arg, revision, c->arena, &r) == 0)
        write_rollout(w, key, revision, &r);
    else
        writer_null(w, key);
}

/* Lives as long as its later: until it is over, and the exchange has gone on or ended. */
struct waiting {
    struct api_wait wait; /* first */
    const struct api_backend *backend;
    struct later *later;
    void (*resume)(struct call *c, void *data);
    void *data; /* of the call that waits */
};

static void on_waited(struct api_wait *w)
{
    later_done(((struct waiting *)w)->later);
}

static void go_on(struct call *c, void *data)
{
    const struct waiting *w = data;

    w->resume(c, w->data);
}

/* The client went away, so nobody needs to wait; where that can't be said, it is over when its time is. */
static void give_up(void *data)
{
    struct waiting *w = data;
    const struct api_backend *b = w->backend;

    if (b->rollout_cancel && b->rollout_cancel(b->arg, &w->wait) == 0 && !later_is_done(w->later))
        later_done(w->later);
}

bool rollout_wait(struct call *c, uint64_t revision, void (*resume)(struct call *c, void *data), void *data)
{
    const struct api_backend *b = c->backend;
    unsigned seconds = call_waits(c);

    if (!seconds || !b->rollout_wait || (c->http && !http_wait_begins(c->http)))
        return false;
    struct waiting *w = mem_new(struct waiting);
    *w = (struct waiting){.wait.done = on_waited, .backend = b, .resume = resume, .data = data};
    struct later *l = w->later = later_new(w, mem_free);
    c->answer->waits = c->http;
    if (b->rollout_wait(b->arg, revision, seconds, &w->wait) < 0) {
        later_done(l); /* nobody else does */
        later_unref(l);
        return false;
    }
    call_later(c, l, go_on, seconds);
    c->answer->give_up = give_up;
    return true;
}

static void answer_rollout(struct call *c, void *data)
{
    struct api_rollout r = {.state = API_ROLLOUT_PENDING};
    struct writer w = {.out = &c->answer->body};
    uint64_t revision;
    int error;

    (void)data; /* there is none; what came of the wait is asked for here */
    if (!revision_parse(c->arguments[0], &revision)) {
        call_not_found(c, "Revision");
        return;
    }
    error = c->backend->rollout(c->backend->arg, revision, c->arena, &r);
    /* What was committed is published in a moment. */
    if (!error || (error == -ENOENT && revision > 0 && revision <= c->view->revision)) {
        write_rollout(&w, NULL, revision, &r);
        call_done(c);
    } else if (error == -ENOENT) {
        call_not_found(c, "Revision");
    } else if (error == -ESTALE) {
        call_fail(c, 404, "what became of revision %s is not known any more", c->arguments[0]);
    } else {
        call_fail(c, 503, "too many ask for what the proxies have");
    }
}

void handle_rollout(struct call *c)
{
    uint64_t revision;

    if (!c->backend->rollout) {
        call_fail(c, 503, "what the proxies have is not known");
        return;
    }
    bool may_come = revision_parse(c->arguments[0], &revision) && revision && revision <= c->view->revision;
    if (!may_come || !rollout_wait(c, revision, answer_rollout, NULL))
        answer_rollout(c, NULL);
}
