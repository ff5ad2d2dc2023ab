/* The queue of edits. `lock` protects items, n, cap and closed, and nothing else is taken while it is held; the rest
 * belongs to the loop's thread. */
#include "server/edit_queue.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

struct queued_edit {
    struct edit_request *request;
    void (*done)(struct edit_request *r, void *arg);
    void *done_arg;
};

struct edit_queue {
    struct loop *loop;
    const struct clock *clock;
    void (*take)(void *arg, struct edit_request *const *requests, size_t n);
    void *arg;
    pthread_mutex_t lock;
    struct queued_edit *items;
    size_t n, cap;
    bool closed;
    unsigned turn_of; /* edits with fewer attempts wait; 0: nobody's turn */
    clock_ns turn_until;
    struct loop_timer *turn_timer;
};

/* All that wait, or none; the caller frees the list. */
static struct queued_edit *take_all(struct edit_queue *q, size_t *ret_n)
{
    pthread_mutex_lock(&q->lock);
    struct queued_edit *items = take_ptr(q->items);
    *ret_n = q->n;
    q->n = q->cap = 0;
    pthread_mutex_unlock(&q->lock);
    return items;
}

/* With the lock held. */
static void append(struct edit_queue *q, const struct queued_edit *items, size_t n)
{
    if (q->n + n > q->cap) {
        q->cap = 2 * (q->n + n);
        q->items = mem_realloc(q->items, q->cap, sizeof(*q->items));
    }
    for (size_t i = 0; i < n; i++)
        q->items[q->n++] = items[i];
}

static void refuse(const struct queued_edit *item)
{
    struct edit_request *r = item->request;

    r->result = err_set(&r->error, -EIO, NULL, NULL, "the daemon stops");
    item->done(r, item->done_arg);
}

/* Of those that change the same only the first fits: who was refused most often goes first. */
static void sort(struct queued_edit *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct queued_edit one = items[i];
        size_t to = i;
        for (; to > 0 && items[to - 1].request->attempts < one.request->attempts; to--)
            items[to] = items[to - 1];
        items[to] = one;
    }
}

/* How many of the sorted edits may go now. */
static size_t those_whose_turn_it_is(struct edit_queue *q, const struct queued_edit *items, size_t n)
{
    size_t n_now = 0;

    if (clock_now(q->clock) >= q->turn_until)
        q->turn_of = 0;
    while (n_now < n && items[n_now].request->attempts >= q->turn_of)
        n_now++;
    return n_now;
}

/* Before they are completed: whose turn is next. */
static void set_turn(struct edit_queue *q, const struct queued_edit *items, size_t n)
{
    clock_ns now = clock_now(q->clock);
    bool was = q->turn_of > 0;

    q->turn_of = 0;
    for (size_t i = 0; i < n; i++) {
        const struct edit_request *r = items[i].request;
        if (r->result == -EAGAIN && r->attempts + 1 >= EDIT_TURN_AFTER && r->attempts + 1 > q->turn_of)
            q->turn_of = r->attempts + 1;
    }
    q->turn_until = q->turn_of ? now + EDIT_TURN_MS * (clock_ns)CLOCK_NS_PER_MS : 0;
    if (q->turn_of || was)
        loop_timer_set(q->turn_timer, q->turn_of ? q->turn_until : now);
}

static void hand_over(struct edit_queue *q, const struct queued_edit *items, size_t n)
{
    _cleanup_(mem_free_p) struct edit_request **requests = mem_array(struct edit_request *, n);

    for (size_t i = 0; i < n; i++)
        requests[i] = items[i].request;
    q->take(q->arg, requests, n);
    set_turn(q, items, n);
    for (size_t i = 0; i < n; i++)
        items[i].done(items[i].request, items[i].done_arg);
}

static void turn(void *arg)
{
    struct edit_queue *q = arg;
    size_t n;
    _cleanup_(mem_free_p) struct queued_edit *items = take_all(q, &n);

    sort(items, n);
    size_t n_now = those_whose_turn_it_is(q, items, n);
    pthread_mutex_lock(&q->lock);
    append(q, items + n_now, n - n_now);
    pthread_mutex_unlock(&q->lock);
    if (n_now)
        hand_over(q, items, n_now);
}

static void on_posted(void *arg, bool run)
{
    if (run)
        turn(arg);
}

struct edit_queue *edit_queue_new(struct loop *l, const struct clock *clock,
                                  void (*take)(void *arg, struct edit_request *const *requests, size_t n), void *arg)
{
    struct edit_queue *q = mem_new(struct edit_queue);

    *q = (struct edit_queue){.loop = l, .clock = clock, .take = take, .arg = arg};
    q->turn_timer = loop_timer_new(l, turn, q);
    pthread_mutex_init(&q->lock, NULL);
    return q;
}

void edit_queue_add(struct edit_queue *q, struct edit_request *r, void (*done)(struct edit_request *r, void *arg),
                    void *done_arg)
{
    const struct queued_edit item = {r, done, done_arg};

    pthread_mutex_lock(&q->lock);
    bool closed = q->closed;
    if (!closed)
        append(q, &item, 1);
    pthread_mutex_unlock(&q->lock);
    if (closed)
        refuse(&item);
    else
        loop_post(q->loop, on_posted, q);
}

void edit_queue_close(struct edit_queue *q)
{
    size_t n;

    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_mutex_unlock(&q->lock);
    _cleanup_(mem_free_p) struct queued_edit *items = take_all(q, &n);
    for (size_t i = 0; i < n; i++)
        refuse(&items[i]);
    loop_timer_free(take_ptr(q->turn_timer));
}

void edit_queue_free(struct edit_queue *q)
{
    if (!q)
        return;
    assert(q->closed && !q->n);
    pthread_mutex_destroy(&q->lock);
    mem_free(q);
}
