/*
 * The pool of texts: a map from the text to its entry, which holds the count and the text itself. What users hold is
 * the text; its entry is found from its address.
 */
#include "base/intern.h"

#include <assert.h>
#include <string.h>

enum { POOL_MAGIC = 0x696e7470, ENTRY_MAGIC = 0x696e7465 };

struct intern_pool {
    unsigned magic;
    struct map entries; /* struct entry by its text */
};

struct entry {
    unsigned magic;
    uint32_t refs;
    size_t len;
    char text[];
};

static struct entry *entry_of(const char *text)
{
    struct entry *e = (struct entry *)(uintptr_t)(text - offsetof(struct entry, text));

    assert(e->magic == ENTRY_MAGIC);
    return e;
}

struct intern_pool *intern_pool_new(void)
{
    struct intern_pool *p = mem_new(struct intern_pool);

    p->magic = POOL_MAGIC;
    return p;
}

void intern_pool_free(struct intern_pool *p)
{
    if (!p)
        return;
    assert(p->magic == POOL_MAGIC && p->entries.count == 0);
    map_clear(&p->entries);
    p->magic = 0;
    mem_free(p);
}

const char *intern(struct intern_pool *p, const char *s, size_t n)
{
    struct entry *e;

    assert(p->magic == POOL_MAGIC);
    e = map_get(&p->entries, s, n);
    if (e)
        return intern_ref(e->text);
    e = mem_alloc(sizeof(*e) + n + 1);
    e->magic = ENTRY_MAGIC;
    e->refs = 1;
    e->len = n;
    if (n)
        memcpy(e->text, s, n);
    map_put(&p->entries, e->text, n, e);
    return e->text;
}

const char *intern_ref(const char *text)
{
    struct entry *e = entry_of(text);

    assert(e->refs < UINT32_MAX);
    e->refs++;
    return text;
}

void intern_unref(struct intern_pool *p, const char *text)
{
    struct entry *e, *removed;

    if (!text)
        return;
    e = entry_of(text);
    assert(p->magic == POOL_MAGIC && e->refs > 0);
    if (--e->refs > 0)
        return;
    removed = map_remove(&p->entries, e->text, e->len);
    assert(removed == e);
    e->magic = 0;
    mem_free(e);
}

size_t intern_len(const char *text)
{
    return entry_of(text)->len;
}
