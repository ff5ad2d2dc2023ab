/*
 * One list a kind, in the order of time: as most of a kind have the same duration, a new one goes to the end, and
 * setting, clearing and finding the next one cost nothing. The thread sleeps until the earliest head, and is woken
 * only by one that is earlier.
 */
#include "api/deadline.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct deadline_list {
    struct deadline *first, *last;
    clock_ns duration;
};

struct deadlines {
    pthread_mutex_t lock; /* of everything; below it are only those of struct wake and of the HTTP library */
    pthread_cond_t wake;
    pthread_t thread;
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

static void *run(void *arg)
{
    struct deadlines *d = arg;

    pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        d->planned = cut_expired(d, clock_now(NULL));
        if (d->planned == INT64_MAX) {
            pthread_cond_wait(&d->wake, &d->lock);
        } else {
            struct timespec at = {d->planned / CLOCK_NS_PER_S, d->planned % CLOCK_NS_PER_S};
            (void)pthread_cond_timedwait(&d->wake, &d->lock, &at); /* why it woke does not matter */
        }
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

int deadlines_start(const clock_ns durations[DEADLINE_KINDS], struct deadlines **ret, struct err *e)
{
    struct deadlines *d = mem_new(struct deadlines);
    pthread_condattr_t attributes;

    for (size_t i = 0; i < DEADLINE_KINDS; i++)
        d->lists[i].duration = durations[i];
    d->planned = INT64_MAX;
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int r = pthread_create(&d->thread, NULL, run, d);
    if (r) {
        pthread_cond_destroy(&d->wake);
        pthread_mutex_destroy(&d->lock);
        mem_free(d);
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
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    for (size_t i = 0; i < DEADLINE_KINDS; i++)
        assert(!d->lists[i].first);
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
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
        if (one->at < d->planned)
            pthread_cond_signal(&d->wake);
    }
    pthread_mutex_unlock(&d->lock);
}

void deadline_set(struct deadlines *d, struct deadline *one, enum deadline_kind kind)
{
    deadline_set_for(d, one, kind, d->lists[kind].duration);
}

void deadline_wakes(struct deadlines *d, struct deadline *one, struct wake *w)
{
    pthread_mutex_lock(&d->lock);
    one->wake = w;
    if (w && one->cut)
        wake_up(w);
    pthread_mutex_unlock(&d->lock);
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
