/* The cache. All entries are of one state, the last that was asked for or put. */
#include "api/cache.h"

#include "base/hash.h"
#include "base/map.h"
#include "store/expiry.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { WRITERS = 16 };

struct entry {
    struct document_form form;
    size_t bytes;
    char key[];
};

struct cache {
    pthread_mutex_t lock; /* of what follows, up to the next lock */
    struct cache_state state;
    struct map entries; /* struct entry by key */
    size_t bytes;
    pthread_mutex_t writers[WRITERS]; /* above the first one */
};

struct cache *cache_new(void)
{
    struct cache *c = mem_new(struct cache);

    pthread_mutex_init(&c->lock, NULL);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_mutex_init(&c->writers[i], NULL);
    return c;
}

static void drop_all(struct cache *c)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&c->entries, &i, &e);) {
        struct entry *one = e->value;
        http_content_unref(one->form.content);
        mem_free(one);
    }
    map_clear(&c->entries);
    c->bytes = 0;
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    drop_all(c);
    pthread_mutex_destroy(&c->lock);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_mutex_destroy(&c->writers[i]);
    mem_free(c);
}

/* From now on of that state. */
static void be_of(struct cache *c, const struct cache_state *state)
{
    if (c->state.view == state->view && c->state.status == state->status)
        return;
    drop_all(c);
    c->state = *state;
}

bool cache_get(struct cache *c, const struct cache_state *state, double now, const char *key,
               struct document_form *ret)
{
    pthread_mutex_lock(&c->lock);
    be_of(c, state);
    const struct entry *one = map_gets(&c->entries, key);
    bool found = one && now < one->form.until &&
                 (isinf(one->form.until) || now >= one->form.until - EXPIRY_DAY_SECONDS); /* the clock was set back */
    if (found) {
        *ret = one->form;
        (void)http_content_ref(ret->content);
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

void cache_put(struct cache *c, const struct cache_state *state, const char *key, const struct document_form *form)
{
    size_t length = strlen(key);
    struct entry *one = mem_alloc(sizeof(*one) + length + 1);

    one->form = *form;
    one->bytes = sizeof(*one) + length + form->content->n;
    memcpy(one->key, key, length);
    (void)http_content_ref(form->content);
    pthread_mutex_lock(&c->lock);
    be_of(c, state);
    if (c->bytes + one->bytes > CACHE_BYTES_MAX)
        drop_all(c);
    struct entry *before = map_put(&c->entries, one->key, length, one);
    c->bytes += one->bytes - (before ? before->bytes : 0);
    if (before) {
        http_content_unref(before->form.content);
        mem_free(before);
    }
    pthread_mutex_unlock(&c->lock);
}

static pthread_mutex_t *writer_of(struct cache *c, const char *key)
{
    return &c->writers[hash_bytes(key, strlen(key)) % WRITERS];
}

void cache_lock(struct cache *c, const char *key)
{
    pthread_mutex_lock(writer_of(c, key));
}

void cache_unlock(struct cache *c, const char *key)
{
    pthread_mutex_unlock(writer_of(c, key));
}
