/*
 * Memory: allocation that never returns NULL, and the scope-bound cleanup idiom.
 *
 * Out of memory ends the process with one log line (as gRPC core does too); the state on disk survives it,
 * and a supervisor starts the daemon again. No caller has an error path for it. Thread-safe.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Returns n zeroed bytes; ends the process when there are none. Free with mem_free(). */
void *mem_alloc(size_t n);
/* As mem_alloc for an array, with an overflow check. */
void *mem_calloc(size_t count, size_t size);
/* Grows or shrinks p (may be NULL) to count * size bytes; the new part is not zeroed. */
void *mem_realloc(void *p, size_t count, size_t size);
void *mem_dup(const void *p, size_t n);
/* NULL gives NULL. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *mem_vprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
/* NULL is allowed. */
void mem_free(void *p);
/* Overwrites n bytes in a way that the compiler keeps, then frees: for keys and passwords. */
void mem_free_secret(void *p, size_t n);
/* The same of all that was allocated at p, for who does not know how much that is. */
void mem_free_wiped(void *p);
void mem_wipe(void *p, size_t n);
/* Overwrites what calls that have returned left of secrets in this thread's vector registers, and on its stack below
 * the caller: copying leaves whole pieces there, and the dynamic linker saves them. Takes a microsecond. */
void mem_wipe_traces(void);
/* Gives what was freed back to the system, as far as whole pages of it are free. Takes some milliseconds: for after
 * something large. */
void mem_trim(void);

void *mem_grown(void *items, size_t *cap, size_t size); /* for mem_room() */
/* Growing arrays: the items, moved if need be, with room for one more of `size` bytes behind n. cap is how many there
 * is room for, and doubles. */
static inline void *mem_room(void *items, size_t n, size_t *cap, size_t size)
{
    return n < *cap ? items : mem_grown(items, cap, size);
}

#define mem_new(T) ((T *)mem_alloc(sizeof(T)))
#define mem_array(T, n) ((T *)mem_calloc((n), sizeof(T)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Calls f(&variable) at the end of the variable's scope. */
#define _cleanup_(f) __attribute__((cleanup(f)))
/* For functions on the way of an event that wakes the process just to be thrown away: the linker puts them side by
 * side. After a sleep caches and TLB are cold, and such an event costs what its pages cost. */
#define _hot_ __attribute__((hot))
#define take_ptr(p)                                                                                                  \
    ({                                                                                                               \
        __typeof__(p) _taken = (p);                                                                                  \
        (p) = NULL;                                                                                                  \
        _taken;                                                                                                      \
    })
#define define_cleanup(T, f)                                                                                         \
    static inline void f##_p(T *p)                                                                                   \
    {                                                                                                                \
        if (*p)                                                                                                      \
            f(*p);                                                                                                   \
    }

/* _cleanup_(mem_free_p) char *text = NULL; */
static inline void mem_free_p(void *p)
{
    mem_free(*(void **)p);
}

/*
 * An arena: many small allocations with one end. Not thread-safe while it is filled; what it holds may be
 * read from any thread afterwards.
 */
struct arena;
struct arena *arena_new(void);
void arena_free(struct arena *a);
/* From now on it holds secrets: all of it is wiped when it is freed. */
void arena_set_secret(struct arena *a);
/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_dup(struct arena *a, const void *p, size_t n);
/* As mem_room(), in the arena, where the array before stays; what is new is zeroed. */
void *arena_room(struct arena *a, void *items, size_t n, size_t *cap, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t arena_size(const struct arena *a);
define_cleanup(struct arena *, arena_free)
#define arena_new_of(a, T) ((T *)arena_alloc((a), sizeof(T)))
#define arena_array(a, T, n) ((T *)arena_alloc((a), sizeof(T) * (n)))

#endif
