/*
 * The event loop: epoll, timers, and a queue of posted work behind an eventfd.
 *
 * A turn takes one batch from epoll, then the work posted so far, then the timers that are due. What callbacks add
 * in a turn waits for the next one, so nothing starves the rest. An io that is freed during a batch stays as a dead
 * one until the batch is done: later events of the batch may still point to it.
 *
 * Lock: posted_lock guards `posted` only and is held for no call.
 */
#include "base/loop.h"

#include "base/heap.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH = 64 };
enum { LOOP_MAGIC = 0x6c6f6f70, IO_MAGIC = 0x6c70696f, TIMER_MAGIC = 0x6c70746d };

struct loop_io {
    unsigned magic;
    struct loop *loop;
    int fd;
    unsigned events;
    loop_io_fn f; /* NULL: dead */
    void *arg;
    struct loop_io *next_dead;
};

struct loop_timer {
    unsigned magic;
    struct loop *loop;
    loop_timer_fn f;
    void *arg;
    struct heap_entry due;
};

struct work {
    void (*f)(void *arg, bool run);
    void *arg;
};

struct work_list {
    struct work *items;
    size_t count, cap;
};

/* Owned by the loop's thread but for what is marked. */
struct loop {
    unsigned magic;
    int epoll_fd, event_fd; /* event_fd is written by any thread */
    const struct clock *clock;
    clock_ns now;
    struct heap due; /* timers */
    size_t timers;   /* set or not */
    size_t ios;
    struct loop_io *dead;
    atomic_bool stopping; /* any thread */
    pthread_mutex_t posted_lock;
    struct work_list posted; /* any thread, under posted_lock */
    atomic_bool has_posted;  /* any thread; a turn without posted work, as nearly all are, takes no lock */
};

static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t n;

    do
        n = write(l->event_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so the loop is awake anyway. */
    assert(n == (ssize_t)sizeof(one) || errno == EAGAIN);
}

int loop_new(const struct clock *clock, struct loop **ret_loop, struct err *e)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    struct loop *l = mem_new(struct loop);
    int code;

    l->magic = LOOP_MAGIC;
    l->clock = clock;
    l->now = clock_now(clock);
    pthread_mutex_init(&l->posted_lock, NULL);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll_fd < 0 || l->event_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->event_fd, &event) < 0) {
        code = -errno;
        loop_free(l);
        return err_set(e, code, NULL, NULL, "cannot make an event loop: %s", strerrordesc_np(-code));
    }
    *ret_loop = l;
    return 0;
}

static struct work_list take_posted(struct loop *l)
{
    struct work_list list;

    pthread_mutex_lock(&l->posted_lock);
    list = l->posted;
    l->posted = (struct work_list){0};
    atomic_store(&l->has_posted, false);
    pthread_mutex_unlock(&l->posted_lock);
    return list;
}

static size_t call_posted(struct loop *l, bool run)
{
    struct work_list list = take_posted(l);

    for (size_t i = 0; i < list.count; i++)
        list.items[i].f(list.items[i].arg, run);
    mem_free(list.items);
    return list.count;
}

static void free_dead(struct loop *l)
{
    while (l->dead) {
        struct loop_io *io = l->dead;

        l->dead = io->next_dead;
        mem_free(io);
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    assert(l->magic == LOOP_MAGIC);
    while (call_posted(l, false) > 0)
        ;
    free_dead(l);
    assert(l->ios == 0 && l->timers == 0);
    if (l->event_fd >= 0)
        close(l->event_fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    pthread_mutex_destroy(&l->posted_lock);
    heap_clear(&l->due);
    l->magic = 0;
    mem_free(l);
}

_hot_ clock_ns loop_now(const struct loop *l)
{
    return l->now;
}

void loop_post(struct loop *l, void (*f)(void *arg, bool run), void *arg)
{
    struct work_list *list = &l->posted;
    bool was_empty;

    assert(l->magic == LOOP_MAGIC);
    pthread_mutex_lock(&l->posted_lock);
    was_empty = list->count == 0;
    list->items = mem_room(list->items, list->count, &list->cap, sizeof(*list->items));
    list->items[list->count++] = (struct work){.f = f, .arg = arg};
    atomic_store(&l->has_posted, true);
    pthread_mutex_unlock(&l->posted_lock);
    if (was_empty)
        wake(l);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stopping, true);
    wake(l);
}

/* ---- file descriptors ---- */

/* Without any events the fd is watched for one event that is then ignored: epoll tells hang-ups unasked. */
static uint32_t epoll_events(unsigned events)
{
    if (!events)
        return EPOLLONESHOT;
    return (events & LOOP_READ ? EPOLLIN : 0u) | (events & LOOP_WRITE ? EPOLLOUT : 0u);
}

int loop_io_new(struct loop *l, int fd, unsigned events, loop_io_fn f, void *arg, struct loop_io **ret_io,
                struct err *e)
{
    struct loop_io *io = mem_new(struct loop_io);
    struct epoll_event event = {.events = epoll_events(events), .data.ptr = io};

    assert(l->magic == LOOP_MAGIC && f);
    *io = (struct loop_io){.magic = IO_MAGIC, .loop = l, .fd = fd, .events = events, .f = f, .arg = arg};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        int code = -errno;

        mem_free(io);
        return err_set(e, code, NULL, NULL, "cannot watch a file descriptor: %s", strerrordesc_np(-code));
    }
    l->ios++;
    *ret_io = io;
    return 0;
}

void loop_io_set(struct loop_io *io, unsigned events)
{
    struct epoll_event event = {.events = epoll_events(events), .data.ptr = io};
    int r;

    assert(io->magic == IO_MAGIC && io->f);
    if (events == io->events)
        return;
    io->events = events;
    r = epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &event);
    /* It fails only for an fd that was closed under the loop's feet. */
    assert(r == 0);
}

void loop_io_free(struct loop_io *io)
{
    if (!io)
        return;
    assert(io->magic == IO_MAGIC && io->f);
    epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    io->f = NULL;
    io->loop->ios--;
    io->next_dead = io->loop->dead;
    io->loop->dead = io;
}

static int handle_io(struct loop_io *io, uint32_t ready)
{
    unsigned events = 0;

    assert(io->magic == IO_MAGIC);
    if (!io->f || !io->events)
        return 0;
    if (ready & (EPOLLERR | EPOLLHUP))
        events = LOOP_READ | LOOP_WRITE;
    if (ready & EPOLLIN)
        events |= LOOP_READ;
    if (ready & EPOLLOUT)
        events |= LOOP_WRITE;
    io->f(io->arg, events);
    return 1;
}

/* ---- timers ---- */

struct loop_timer *loop_timer_new(struct loop *l, loop_timer_fn f, void *arg)
{
    struct loop_timer *t = mem_new(struct loop_timer);

    assert(l->magic == LOOP_MAGIC && f);
    *t = (struct loop_timer){.magic = TIMER_MAGIC, .loop = l, .f = f, .arg = arg, .due = {.owner = t}};
    l->timers++;
    return t;
}

void loop_timer_set(struct loop_timer *t, clock_ns at)
{
    struct loop *l = t->loop;

    assert(t->magic == TIMER_MAGIC);
    /* What is past lines up behind what is due already: a timer that sets itself again starves no other. */
    heap_set(&l->due, &t->due, at < l->now ? l->now : at);
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    assert(t->magic == TIMER_MAGIC);
    heap_remove(&t->loop->due, &t->due);
    t->loop->timers--;
    t->magic = 0;
    mem_free(t);
}

static int run_timers(struct loop *l)
{
    uint64_t limit = l->due.next_order;
    struct heap_entry *first;
    int n = 0;

    while ((first = heap_first(&l->due)) && first->at <= l->now && first->order < limit) {
        struct loop_timer *t = first->owner;

        heap_remove(&l->due, first);
        t->f(t->arg);
        n++;
    }
    return n;
}

/* ---- turning ---- */

/* How long epoll may sleep, in its milliseconds; rounded up, so that a timer is due when it wakes. */
static int sleep_ms(struct loop *l)
{
    clock_ns left, ms;

    if (!heap_first(&l->due))
        return -1;
    left = heap_next(&l->due) - clock_now(l->clock);
    if (left <= 0)
        return 0;
    ms = left / CLOCK_NS_PER_MS + (left % CLOCK_NS_PER_MS != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* One turn: the number of callbacks that ran, or a negative errno of epoll. */
static _hot_ int turn(struct loop *l, int timeout_ms)
{
    struct epoll_event events[BATCH];
    int n = epoll_wait(l->epoll_fd, events, BATCH, timeout_ms), ran = 0;

    if (n < 0 && errno != EINTR)
        return -errno;
    l->now = clock_now(l->clock);
    for (int i = 0; i < n; i++) {
        uint64_t wakes;

        if (events[i].data.ptr)
            ran += handle_io(events[i].data.ptr, events[i].events);
        else if (read(l->event_fd, &wakes, sizeof(wakes)) < 0)
            assert(errno == EAGAIN || errno == EINTR);
    }
    free_dead(l);
    /* What is posted just now has woken the loop for its next turn. */
    if (atomic_load(&l->has_posted))
        ran += (int)call_posted(l, true);
    ran += run_timers(l);
    free_dead(l);
    return ran;
}

_hot_ int loop_run(struct loop *l)
{
    int r = 0;

    assert(l->magic == LOOP_MAGIC);
    while (r >= 0 && !atomic_exchange(&l->stopping, false))
        r = turn(l, sleep_ms(l));
    return r < 0 ? r : 0;
}

int loop_step(struct loop *l)
{
    assert(l->magic == LOOP_MAGIC);
    return turn(l, 0);
}
