/* A list of pointers: doubled when it is full. */
#include "base/pointers.h"

#include "base/mem.h"

void pointers_add(struct pointers *p, void *item)
{
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->items = mem_realloc(p->items, p->cap, sizeof(*p->items));
    }
    p->items[p->count++] = item;
}

void pointers_clear(struct pointers *p)
{
    mem_free(p->items);
    *p = (struct pointers){0};
}
