/* Waking. Invariant: there is a sleeper (resume is set) or a wake that is kept (woken), never both. */
#include "api/wake.h"

#include <assert.h>
#include <pthread.h>

struct wake {
    int refs; /* atomic */
    pthread_mutex_t lock;
    struct wake_sleeper sleeper;
    bool woken;
};

struct wake *wake_new(void)
{
    struct wake *w = mem_new(struct wake);

    w->refs = 1;
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

struct wake *wake_ref(struct wake *w)
{
    (void)__atomic_add_fetch(&w->refs, 1, __ATOMIC_RELAXED);
    return w;
}

void wake_unref(struct wake *w)
{
    if (!w || __atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL))
        return;
    assert(!w->sleeper.resume);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

void wake_up(struct wake *w)
{
    pthread_mutex_lock(&w->lock);
    struct wake_sleeper s = w->sleeper;
    w->sleeper = (struct wake_sleeper){0};
    w->woken = !s.resume;
    if (s.resume)
        s.resume(s.arg);
    pthread_mutex_unlock(&w->lock);
}

bool wake_sleep(struct wake *w, const struct wake_sleeper *s)
{
    pthread_mutex_lock(&w->lock);
    assert(!w->sleeper.resume);
    bool sleeps = !w->woken;
    w->woken = false;
    if (sleeps) {
        w->sleeper = *s;
        s->suspend(s->arg);
    }
    pthread_mutex_unlock(&w->lock);
    return sleeps;
}
