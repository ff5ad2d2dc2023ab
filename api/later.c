/* Later answers: data with a count, a wake, and whether it is done. */
#include "api/later.h"

#include <assert.h>

struct later {
    int refs;  /* atomic */
    bool done; /* atomic; what was written to the data before is seen by who sees it */
    void *data;
    void (*free_data)(void *data);
    struct wake *wake;
};

struct later *later_new(void *data, void (*free_data)(void *data))
{
    struct later *l = mem_new(struct later);

    l->refs = 2;
    l->data = data;
    l->free_data = free_data;
    l->wake = wake_new();
    return l;
}

void later_unref(struct later *l)
{
    if (!l || __atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (l->free_data)
        l->free_data(l->data);
    wake_unref(l->wake);
    mem_free(l);
}

void later_done(struct later *l)
{
    assert(!later_is_done(l));
    __atomic_store_n(&l->done, true, __ATOMIC_RELEASE);
    wake_up(l->wake);
    later_unref(l);
}

bool later_is_done(const struct later *l)
{
    return __atomic_load_n(&l->done, __ATOMIC_ACQUIRE);
}

void *later_data(const struct later *l)
{
    return l->data;
}

struct wake *later_wake(const struct later *l)
{
    return l->wake;
}
