/*
 * Two indexes of the same faults: by the resource that they were found in (a piece), which is the writer's alone, and
 * by the exposure that lacks it (an owner), which is under the lock and changes in faults_settle() only.
 *
 * Invariant: outside of faults_settle(), the faults in all pieces' `known` lists are those in all owners' lists. What
 * was said since a piece was opened waits in `found`.
 */
#include "proto/faults.h"

#include "base/map.h"
#include "base/pointers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fault {
    enum fault_part part;
    struct problem problem; /* code lives for ever; field and text are this fault's own */
    struct fault *next;     /* of the piece */
    struct fault *next_of_owner, **place_of_owner;
    char exposure[];
};

/* A resource that has faults, or had some. */
struct piece {
    struct fault *known, *found;
    bool open;
    char key[];
};

/* An exposure that has faults, or had some until now. */
struct owner {
    struct fault *first;
    struct problem *before; /* while settling: what it had; mem_free() */
    size_t n_before;
    bool touched;
    char name[];
};

struct faults {
    struct map pieces;       /* struct piece by key */
    struct pointers open;    /* pieces */
    struct pointers touched; /* owners, while settling */
    pthread_mutex_t lock;    /* of owners and their lists */
    struct map owners;       /* struct owner by name */
    uint64_t version;        /* atomic */
};

enum { KEY_MAX = 2048 };

struct faults *faults_new(void)
{
    struct faults *f = mem_new(struct faults);

    pthread_mutex_init(&f->lock, NULL);
    return f;
}

static void free_list(struct fault *first)
{
    for (struct fault *next; first; first = next) {
        next = first->next;
        mem_free((void *)(uintptr_t)first->problem.field);
        mem_free((void *)(uintptr_t)first->problem.text);
        mem_free(first);
    }
}

void faults_free(struct faults *f)
{
    struct map_entry *e;

    if (!f)
        return;
    for (size_t i = 0; map_next(&f->pieces, &i, &e);) {
        struct piece *p = e->value;

        free_list(p->known);
        free_list(p->found);
        mem_free(p);
    }
    for (size_t i = 0; map_next(&f->owners, &i, &e);)
        mem_free(e->value);
    map_clear(&f->pieces);
    map_clear(&f->owners);
    pointers_clear(&f->open);
    pointers_clear(&f->touched);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

/* ---- gathering ---- */

static const char *key_of(const struct fault_origin *place, char key[KEY_MAX])
{
    int n = snprintf(key, KEY_MAX, "%s %s %s", place->gateway, xds_type_name[place->type], place->name);

    assert(n < KEY_MAX);
    return key;
}

static void open_piece(struct faults *f, struct piece *p)
{
    if (p->open)
        return;
    p->open = true;
    pointers_add(&f->open, p);
}

void faults_begin(struct faults *f, const struct fault_origin *place)
{
    char key[KEY_MAX];
    struct piece *p = f->pieces.count ? map_gets(&f->pieces, key_of(place, key)) : NULL;

    if (!p)
        return;
    free_list(take_ptr(p->found));
    open_piece(f, p);
}

static struct piece *piece_of(struct faults *f, const struct fault_origin *place)
{
    char key[KEY_MAX];
    struct piece *p = map_gets(&f->pieces, key_of(place, key));
    size_t n = strlen(key) + 1;

    if (p)
        return p;
    p = mem_alloc(sizeof(*p) + n);
    memcpy(p->key, key, n);
    map_puts(&f->pieces, p->key, p);
    return p;
}

static char *text_of(const struct fault_origin *place, enum fault_part part, const struct err *e)
{
    switch (part) {
    case FAULT_CLUSTER:
        return mem_printf("the cluster can't be made, requests are answered with an error: %s", e->text);
    case FAULT_ENDPOINT:
        return mem_printf("the endpoints can't be made: %s", e->text);
    case FAULT_CHANGE:
        return mem_printf("the endpoints stay as they were before: %s", e->text);
    case FAULT_SECRET:
        return mem_printf("%s can't be made: %s", place->name, e->text);
    case FAULT_LISTENER:
        return mem_printf("left out of the listener %s: %s", place->name, e->text);
    case FAULT_ROUTE:
        break;
    }
    return mem_printf("left out of the routes of %s: %s", place->name, e->text);
}

void faults_add(struct faults *f, const struct fault_origin *place, const char *exposure, enum fault_part part,
                const struct err *e)
{
    struct piece *p = piece_of(f, place);
    size_t n = strlen(exposure) + 1;
    struct fault *one = mem_alloc(sizeof(*one) + n);

    memcpy(one->exposure, exposure, n);
    one->part = part;
    one->problem = (struct problem){
        .code = e->code == -EPERM    ? "not_allowed"
                : e->code == -ENOENT ? "unready"
                                     : "invalid",
        .field = mem_strdup(e->field),
        .text = text_of(place, part, e),
    };
    one->next = p->found;
    p->found = one;
    open_piece(f, p);
}

/* ---- settling ---- */

static int compare_problems(const void *a, const void *b)
{
    const struct problem *x = a, *y = b;
    int r = strcmp(x->field, y->field);

    return r ? r : strcmp(x->text, y->text);
}

/* What an owner has, sorted, each once; texts are borrowed. items: room for all, or NULL: how many that is. */
static size_t gather(const struct owner *o, struct problem *items)
{
    size_t n = 0, kept = 0;

    for (const struct fault *one = o->first; one; one = one->next_of_owner, n++)
        if (items)
            items[n] = one->problem;
    if (!items || !n)
        return n;
    qsort(items, n, sizeof(*items), compare_problems);
    for (size_t i = 0; i < n; i++)
        if (!kept || compare_problems(&items[kept - 1], &items[i]) != 0)
            items[kept++] = items[i];
    return kept;
}

static struct problem *gather_new(const struct owner *o, size_t *ret_n)
{
    struct problem *items = mem_array(struct problem, gather(o, NULL));

    *ret_n = gather(o, items);
    return items;
}

static struct owner *touch(struct faults *f, const char *exposure)
{
    struct owner *o = map_gets(&f->owners, exposure);

    if (!o) {
        size_t n = strlen(exposure) + 1;

        o = mem_alloc(sizeof(*o) + n);
        memcpy(o->name, exposure, n);
        map_puts(&f->owners, o->name, o);
    }
    if (o->touched)
        return o;
    o->touched = true;
    o->before = gather_new(o, &o->n_before);
    pointers_add(&f->touched, o);
    return o;
}

static void unlink_fault(struct faults *f, struct fault *one)
{
    (void)touch(f, one->exposure); /* for what it had */
    *one->place_of_owner = one->next_of_owner;
    if (one->next_of_owner)
        one->next_of_owner->place_of_owner = one->place_of_owner;
}

static void link_fault(struct faults *f, struct fault *one)
{
    struct owner *o = touch(f, one->exposure);

    one->next_of_owner = o->first;
    one->place_of_owner = &o->first;
    if (o->first)
        o->first->place_of_owner = &one->next_of_owner;
    o->first = one;
}

/* What was found takes the place of what was known, which is appended to *gone: texts of it are still to be told. */
static void settle_piece(struct faults *f, struct piece *p, struct fault **gone)
{
    p->open = false;
    for (struct fault *next, *one = take_ptr(p->known); one; one = next) {
        next = one->next;
        unlink_fault(f, one);
        one->next = *gone;
        *gone = one;
    }
    p->known = take_ptr(p->found);
    for (struct fault *one = p->known; one; one = one->next)
        link_fault(f, one);
    if (!p->known) {
        map_removes(&f->pieces, p->key);
        mem_free(p);
    }
}

static int compare_owners(const void *a, const void *b)
{
    return strcmp((*(struct owner *const *)a)->name, (*(struct owner *const *)b)->name);
}

static bool same_problems(const struct problem *a, size_t n, const struct problem *b, size_t m)
{
    if (n != m)
        return false;
    for (size_t i = 0; i < n; i++)
        if (a[i].code != b[i].code || compare_problems(&a[i], &b[i]) != 0)
            return false;
    return true;
}

/* The writer alone changes the lists, so it reads them without the lock. */
static void tell_owner(struct faults *f, struct owner *o, faults_tell tell, void *arg)
{
    size_t n;
    struct problem *now = gather_new(o, &n);

    if (!same_problems(now, n, o->before, o->n_before)) {
        (void)__atomic_add_fetch(&f->version, 1, __ATOMIC_RELEASE); /* nobody waits for the number */
        if (tell)
            tell(arg, o->name, now, n, o->before, o->n_before);
    }
    mem_free(now);
    mem_free(take_ptr(o->before));
    o->n_before = 0;
    o->touched = false;
}

void faults_settle(struct faults *f, faults_tell tell, void *arg)
{
    struct fault *gone = NULL;

    if (!f->open.count)
        return;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->open.count; i++)
        settle_piece(f, f->open.items[i], &gone);
    pthread_mutex_unlock(&f->lock);
    f->open.count = 0;
    if (f->touched.count)
        qsort(f->touched.items, f->touched.count, sizeof(*f->touched.items), compare_owners);
    for (size_t i = 0; i < f->touched.count; i++)
        tell_owner(f, f->touched.items[i], tell, arg);
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->touched.count; i++) {
        const struct owner *o = f->touched.items[i];

        if (!o->first)
            mem_free(map_removes(&f->owners, o->name));
    }
    pthread_mutex_unlock(&f->lock);
    f->touched.count = 0;
    free_list(gone);
}

/* ---- reading ---- */

uint64_t faults_version(const struct faults *f)
{
    return __atomic_load_n(&f->version, __ATOMIC_ACQUIRE);
}

size_t faults_read(struct faults *f, const char *exposure, struct arena *arena, const struct problem **ret,
                   bool *ret_whole)
{
    struct problem *items = NULL;
    bool whole = false;
    size_t n = 0;

    pthread_mutex_lock(&f->lock);
    const struct owner *o = f->owners.count ? map_gets(&f->owners, exposure) : NULL;
    if (o) {
        items = arena_array(arena, struct problem, gather(o, NULL));
        n = gather(o, items);
        for (const struct fault *one = o->first; one; one = one->next_of_owner)
            whole |= one->part != FAULT_ROUTE && one->part != FAULT_CHANGE;
    }
    for (size_t i = 0; i < n; i++) {
        items[i].field = arena_strdup(arena, items[i].field);
        items[i].text = arena_strdup(arena, items[i].text);
    }
    pthread_mutex_unlock(&f->lock);
    *ret = items;
    *ret_whole = whole;
    return n;
}
