/* A list of pointers: doubled when it is full. */
#include "base/pointers.h"

#include "base/mem.h"

void pointers_add(struct pointers *p, void *item)
{
    p->items = mem_room(p->items, p->count, &p->cap, sizeof(*p->items));
    p->items[p->count++] = item;
}

void pointers_clear(struct pointers *p)
{
    mem_free(p->items);
    *p = (struct pointers){0};
}
