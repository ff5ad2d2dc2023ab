/*
 * One list a kind, in the order of time: as most of a kind have the same duration, a new one goes to the end, and
 * setting, clearing and finding the next one cost nothing. The thread sleeps in epoll_wait() until the earliest head,
 * and is woken only by one that is earlier, or by a peer that hung up.
 *
 * An event of epoll's may be told of a connection that ended meanwhile. So it has a number that is never used twice,
 * which is looked for among those that are watched.
 */
#include "api/deadline.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 16 /* told of at a time */ };

struct deadline_list {
    struct deadline *first, *last;
    clock_ns duration;
};

struct deadlines {
    pthread_mutex_t lock; /* of everything; below it are only those of struct wake and of the HTTP library */
    pthread_t thread;
    int epoll, event; /* event: an eventfd that wakes the thread; number 0 */
    struct deadline *watched;
    uint64_t last_watch;
    struct deadline_list lists[DEADLINE_KINDS];
    clock_ns planned; /* when the thread will look again */
    bool stop;
};

static void unlink_one(struct deadlines *d, struct deadline *one)
{
    struct deadline_list *l = &d->lists[one->kind];

    *(one->before ? &one->before->after : &l->first) = one->after;
    *(one->after ? &one->after->before : &l->last) = one->before;
    one->before = one->after = NULL;
    one->set = false;
}

static void link_one(struct deadlines *d, struct deadline *one)
{
    struct deadline_list *l = &d->lists[one->kind];

    one->before = l->last;
    while (one->before && one->before->at > one->at)
        one->before = one->before->before;
    one->after = one->before ? one->before->after : l->first;
    *(one->before ? &one->before->after : &l->first) = one;
    *(one->after ? &one->after->before : &l->last) = one;
}

static clock_ns cut_expired(struct deadlines *d, clock_ns now)
{
    clock_ns next = INT64_MAX;

    for (size_t i = 0; i < DEADLINE_KINDS; i++) {
        struct deadline *one;
        while ((one = d->lists[i].first) && one->at <= now) {
            unlink_one(d, one);
            one->cut = true;
            (void)shutdown(one->fd, SHUT_RDWR); /* a peer that went before is as good as cut */
            if (one->wake)
                wake_up(one->wake);
        }
        if (one && one->at < next)
            next = one->at;
    }
    return next;
}

static void hang_up(struct deadlines *d, uint64_t number)
{
    struct deadline *one = d->watched;

    while (one && one->watch != number)
        one = one->watch_after;
    if (!one)
        return;
    one->hung_up = true;
    if (one->wake)
        wake_up(one->wake);
}

/* Milliseconds until then, rounded up; -1: for ever. */
static int timeout_until(clock_ns at)
{
    clock_ns left = at == INT64_MAX ? 0 : at - clock_now(NULL);

    if (at == INT64_MAX || left <= 0)
        return at == INT64_MAX ? -1 : 0;
    return left < INT_MAX * (clock_ns)CLOCK_NS_PER_MS ? (int)((left + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS)
                                                      : INT_MAX;
}

static void wake_thread(struct deadlines *d)
{
    (void)eventfd_write(d->event, 1); /* it fails only where 2^64 - 2 were not read */
}

static void *run(void *arg)
{
    struct deadlines *d = arg;
    struct epoll_event events[EVENTS];
    eventfd_t dropped;

    pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        clock_ns planned = d->planned = cut_expired(d, clock_now(NULL));
        pthread_mutex_unlock(&d->lock);
        int n = epoll_wait(d->epoll, events, EVENTS, timeout_until(planned));
        assert(n >= 0 || errno == EINTR);
        pthread_mutex_lock(&d->lock);
        for (int i = 0; i < n; i++)
            if (events[i].data.u64)
                hang_up(d, events[i].data.u64);
            else
                (void)eventfd_read(d->event, &dropped); /* that it woke is all */
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

static void free_all(struct deadlines *d)
{
    if (d->epoll >= 0)
        close(d->epoll);
    if (d->event >= 0)
        close(d->event);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

int deadlines_start(const clock_ns durations[DEADLINE_KINDS], struct deadlines **ret, struct err *e)
{
    struct deadlines *d = mem_new(struct deadlines);
    struct epoll_event wakes = {.events = EPOLLIN};

    for (size_t i = 0; i < DEADLINE_KINDS; i++)
        d->lists[i].duration = durations[i];
    d->planned = INT64_MAX;
    pthread_mutex_init(&d->lock, NULL);
    d->epoll = epoll_create1(EPOLL_CLOEXEC);
    d->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = d->epoll < 0 || d->event < 0 || epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->event, &wakes) ? errno : 0;
    if (!r)
        r = pthread_create(&d->thread, NULL, run, d);
    if (r) {
        free_all(d);
        return err_set(e, -r, "deadlines", NULL, "can't start a thread");
    }
    *ret = d;
    return 0;
}

void deadlines_stop(struct deadlines *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    wake_thread(d);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    assert(!d->watched);
    for (size_t i = 0; i < DEADLINE_KINDS; i++)
        assert(!d->lists[i].first);
    free_all(d);
}

void deadline_set_for(struct deadlines *d, struct deadline *one, enum deadline_kind kind, clock_ns duration)
{
    pthread_mutex_lock(&d->lock);
    if (one->set)
        unlink_one(d, one);
    if (!one->cut) {
        one->kind = kind;
        one->set = true;
        one->at = clock_now(NULL) + duration;
        link_one(d, one);
        if (one->at < d->planned) {
            d->planned = one->at; /* it is on its way */
            wake_thread(d);
        }
    }
    pthread_mutex_unlock(&d->lock);
}

void deadline_set(struct deadlines *d, struct deadline *one, enum deadline_kind kind)
{
    deadline_set_for(d, one, kind, d->lists[kind].duration);
}

static void unwatch(struct deadlines *d, struct deadline *one)
{
    if (!one->watch)
        return;
    (void)epoll_ctl(d->epoll, EPOLL_CTL_DEL, one->fd, NULL); /* it is there: the descriptor is not closed yet */
    *(one->watch_before ? &one->watch_before->watch_after : &d->watched) = one->watch_after;
    if (one->watch_after)
        one->watch_after->watch_before = one->watch_before;
    one->watch = 0;
    one->hung_up = false;
}

void deadline_wakes(struct deadlines *d, struct deadline *one, struct wake *w)
{
    pthread_mutex_lock(&d->lock);
    one->wake = w;
    if (!w)
        unwatch(d, one);
    if (w && one->cut)
        wake_up(w);
    pthread_mutex_unlock(&d->lock);
}

void deadline_watch(struct deadlines *d, struct deadline *one)
{
    pthread_mutex_lock(&d->lock);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = d->last_watch + 1};
    /* Where the kernel has no room for one more, its deadline ends it. */
    if (!one->watch && epoll_ctl(d->epoll, EPOLL_CTL_ADD, one->fd, &event) == 0) {
        one->watch = ++d->last_watch;
        one->watch_before = NULL;
        one->watch_after = d->watched;
        if (one->watch_after)
            one->watch_after->watch_before = one;
        d->watched = one;
    }
    pthread_mutex_unlock(&d->lock);
}

bool deadline_hung_up(struct deadlines *d, struct deadline *one)
{
    pthread_mutex_lock(&d->lock);
    bool hung_up = one->hung_up;
    pthread_mutex_unlock(&d->lock);
    return hung_up;
}

bool deadline_is_cut(struct deadlines *d, struct deadline *one)
{
    pthread_mutex_lock(&d->lock);
    bool cut = one->cut;
    pthread_mutex_unlock(&d->lock);
    return cut;
}

bool deadline_clear(struct deadlines *d, struct deadline *one)
{
    pthread_mutex_lock(&d->lock);
    if (one->set)
        unlink_one(d, one);
    bool cut = one->cut;
    pthread_mutex_unlock(&d->lock);
    return cut;
}
