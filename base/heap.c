/* The binary heap. The children of the entry at i are at 2i + 1 and 2i + 2, and neither is due before it. */
#include "base/heap.h"

#include "base/mem.h"

#include <stdbool.h>

static bool is_earlier(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void put(struct heap *h, size_t i, struct heap_entry *e)
{
    h->entries[i] = e;
    e->place = i + 1;
}

static void sift_up(struct heap *h, size_t i, struct heap_entry *e)
{
    for (; i > 0 && is_earlier(e, h->entries[(i - 1) / 2]); i = (i - 1) / 2)
        put(h, i, h->entries[(i - 1) / 2]);
    put(h, i, e);
}

static void sift_down(struct heap *h, size_t i, struct heap_entry *e)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < h->n && is_earlier(h->entries[child + 1], h->entries[child]))
            child++;
        if (child >= h->n || !is_earlier(h->entries[child], e))
            break;
        put(h, i, h->entries[child]);
        i = child;
    }
    put(h, i, e);
}

static void sift(struct heap *h, size_t i, struct heap_entry *e)
{
    if (i > 0 && is_earlier(e, h->entries[(i - 1) / 2]))
        sift_up(h, i, e);
    else
        sift_down(h, i, e);
}

void heap_clear(struct heap *h)
{
    mem_free(h->entries);
    *h = (struct heap){0};
}

void heap_set(struct heap *h, struct heap_entry *e, clock_ns at)
{
    if (at == INT64_MAX) {
        heap_remove(h, e);
        return;
    }
    e->at = at;
    e->order = h->next_order++;
    if (!e->place) {
        h->entries = mem_room(h->entries, h->n, &h->cap, sizeof(*h->entries));
        put(h, h->n++, e);
    }
    sift(h, e->place - 1, e);
}

void heap_remove(struct heap *h, struct heap_entry *e)
{
    size_t place = e->place;

    if (!place)
        return;
    struct heap_entry *last = h->entries[--h->n];
    e->place = 0;
    if (last != e)
        sift(h, place - 1, last);
}
