/*
 * Collections of objects, listed page by page: filters, search, sorting, fields, cursors; and single objects of them.
 *
 * A collection is a table of functions over the call's view. In its own order a page costs what it shows, wherever it
 * begins: the cursor names the last object shown, and the next page begins behind that name, whether it still exists
 * or not. So an object that is there all the time is shown once, whatever comes and goes beside it. With `sort`, all
 * objects are looked at; the cursor has the last one's values as well.
 */
#ifndef API_LIST_H
#define API_LIST_H

#include "api/call.h"

enum {
    LIST_LIMIT_DEFAULT = 100,
    LIST_LIMIT_MAX = 1000,
    LIST_BYTES_MAX = 4 << 20, /* a page ends behind the object that it reaches this with, whatever its limit */
    LIST_SORTS_MAX = 4,
    LIST_FIELDS_MAX = 32,
    LIST_TEXT_MAX = 1024, /* characters of a filter's value */
    LIST_PORT_MAX = 65535,
    LIST_CURSOR_MAX = 4096,
};

/* The values of one attribute of one object; most have one. */
struct values {
    struct value {
        const char *text; /* NULL: a number */
        int64_t number;
    } * items;
    size_t n, cap;
    struct arena *arena;
};
void values_text(struct values *v, const char *text); /* NULL is no value */
void values_number(struct values *v, int64_t number);

enum { ATTRIBUTE_FILTER = 1, ATTRIBUTE_SORT = 2, ATTRIBUTE_SEARCH = 4 };

/* What objects can be filtered, sorted and searched by. */
struct attribute {
    const char *name;
    enum parameter_type type; /* booleans are the numbers 0 and 1 */
    unsigned uses;
    void (*get)(struct call *c, const void *item, struct values *v);
    const char *const *values; /* that a filter may ask for, NULL-terminated; NULL: any */
};

struct collection {
    const char *kind;                /* of an object: "Exposure" */
    void (*prepare)(struct call *c); /* before anything else; may be NULL */
    /* The first object behind a key ("": of all), or NULL; all in the order of compare_keys. */
    const void *(*first)(struct call *c, const char *after);
    const void *(*next)(struct call *c, const void *item);
    size_t (*count)(struct call *c); /* of all objects, where it costs nothing; may be NULL */
    /* These are going to be written; may be NULL. */
    void (*expect)(struct call *c, const void *const *items, size_t n);
    const void *(*find)(struct call *c, const char *key); /* NULL: there are no single ones */
    const char *(*key)(struct call *c, const void *item);
    int (*compare_keys)(const char *a, const char *b); /* NULL: strcmp() */
    /* Members of the object; those of "status" are apart. status may be NULL. */
    void (*write)(struct call *c, const void *item, struct writer *w);
    void (*write_status)(struct call *c, const void *item, struct writer *w);
    const struct attribute *attributes; /* ended by a NULL name */
    const char *const *fields;          /* that may be asked for: "name", "status.gateway"; NULL-terminated */
};

/* The value of an attribute that stands in the item itself: in `one`, a struct type; kind: text or number. */
#define ITEM_VALUE(function, type, kind, value)                                                                      \
    static void function(struct call *c, const void *item, struct values *v)                                         \
    {                                                                                                                \
        const struct type *one = item;                                                                               \
        (void)c; /* the item has it */                                                                               \
        values_##kind(v, value);                                                                                     \
    }

/* A key that the object has in a member. */
#define ITEM_KEY(function, type, member)                                                                             \
    static const char *function(struct call *c, const void *item)                                                    \
    {                                                                                                                \
        (void)c; /* the item has it */                                                                               \
        return ((const struct type *)item)->member;                                                                  \
    }

/* Walking one of the view's maps, which are sorted by the key that is the object's name. */
#define VIEW_COLLECTION(prefix, type, map, ops, member)                                                              \
    static const void *prefix##_first(struct call *c, const char *after)                                             \
    {                                                                                                                \
        return pmap_after(c->view->map, &ops, after);                                                                \
    }                                                                                                                \
    static const void *prefix##_next(struct call *c, const void *item)                                               \
    {                                                                                                                \
        return pmap_after(c->view->map, &ops, ((const struct type *)item)->member);                                  \
    }                                                                                                                \
    static const void *prefix##_find(struct call *c, const char *key)                                                \
    {                                                                                                                \
        return pmap_get(c->view->map, &ops, key);                                                                    \
    }                                                                                                                \
    static size_t prefix##_count(struct call *c)                                                                     \
    {                                                                                                                \
        return pmap_count(c->view->map);                                                                             \
    }                                                                                                                \
    ITEM_KEY(prefix##_key, type, member)

/*
 * Objects that stand in an array, sorted by their keys: prepare() hands them to array_prepare(); they live as long as
 * the call. The others are its parts of a collection.
 */
void array_prepare(struct call *c, const void *items, size_t n, size_t size);
size_t array_count(struct call *c);
const void *array_begin(struct call *c); /* NULL: there is none */
const void *array_next(struct call *c, const void *item);
const void *array_first(struct call *c, const char *after, const char *(*key)(struct call *, const void *));
const void *array_find(struct call *c, const char *name, const char *(*key)(struct call *, const void *));

/* Faults of what the collection's own parameters say, beside those of parameters_check(). */
void list_check(struct call *c);
/* Handlers: a page of the route's collection; the object that the first path argument names. */
void list_answer(struct call *c);
void item_answer(struct call *c, const struct collection *collection);
/* Writes one object and gives its tag ("SPEC.STATUS"). False: it is not there, or prepare() failed the call. */
bool item_write(struct call *c, const struct collection *l, const char *key, struct writer *w, char etag[ETAG_MAX]);

/* Whether a collection has this parameter, and which it is. */
bool list_parameter(const struct collection *collection, const char *name, struct parameter *ret);

/*
 * Cursors: opaque texts that hold a key, the values it was sorted by, and a mark of the filters and sorting that they
 * belong to. mem_free() the text. Reading: -EINVAL when it is none, -ESTALE when it belongs to another list.
 */
struct cursor {
    const char *key;
    struct value values[LIST_SORTS_MAX];
    size_t n_values;
};
char *cursor_write(const struct cursor *cursor, uint64_t mark);
int cursor_read(const char *text, uint64_t mark, struct arena *arena, struct cursor *ret);

/* Whether text holds part, without a look at the case of ASCII letters. */
bool text_holds(const char *text, const char *part);

#endif
