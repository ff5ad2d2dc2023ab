/*
 * Allocation that ends the process instead of failing, and the arena.
 *
 * This is the only file that calls the C library's allocator. An arena is a list of chunks, each at least twice as
 * large as the one before up to ARENA_CHUNK_MAX, so that a small arena is small and a large one has few chunks;
 * what is larger than a chunk gets its own, and the current chunk stays in use.
 */
#include "base/mem.h"

#include "base/log.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CACHED_MAX = 1032 /* bytes: what glibc's caches of threads hold */ };

/* No core is dumped: it would put the keys on the disk. */
static void __attribute__((noreturn)) out_of_memory(size_t n)
{
    log_event(LOG_LEVEL_ERROR, "out of memory", "bytes", LOG_INT(n), NULL);
    _exit(EXIT_FAILURE);
}

static size_t array_size(size_t count, size_t size)
{
    size_t n;

    if (__builtin_mul_overflow(count, size, &n))
        out_of_memory(SIZE_MAX);
    return n;
}

/* Small ones come from the thread's own cache, which calloc() passes by (glibc before 2.41). */
void *mem_alloc(size_t n)
{
    void *p = n <= CACHED_MAX ? malloc(n ? n : 1) : calloc(1, n);

    if (!p)
        out_of_memory(n);
    return n <= CACHED_MAX ? memset(p, 0, n) : p;
}

void *mem_calloc(size_t count, size_t size)
{
    return mem_alloc(array_size(count, size));
}

void *mem_realloc(void *p, size_t count, size_t size)
{
    size_t n = array_size(count, size);

    p = realloc(p, n ? n : 1);
    if (!p)
        out_of_memory(n);
    return p;
}

enum { FIRST_ITEMS = 4 };

static size_t next_cap(size_t cap)
{
    if (cap > SIZE_MAX / 2)
        out_of_memory(cap);
    return cap ? 2 * cap : FIRST_ITEMS;
}

void *mem_grown(void *items, size_t *cap, size_t size)
{
    *cap = next_cap(*cap);
    return mem_realloc(items, *cap, size);
}

void *mem_dup(const void *p, size_t n)
{
    void *copy = malloc(n ? n : 1);

    if (!copy)
        out_of_memory(n);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

char *mem_strndup(const char *s, size_t n)
{
    size_t length;
    char *copy;

    if (!s)
        return NULL;
    length = strnlen(s, n);
    copy = malloc(length + 1);
    if (!copy)
        out_of_memory(length + 1);
    memcpy(copy, s, length);
    copy[length] = '\0';
    return copy;
}

char *mem_strdup(const char *s)
{
    return s ? mem_dup(s, strlen(s) + 1) : NULL;
}

char *mem_vprintf(const char *fmt, va_list ap)
{
    char *text;

    if (vasprintf(&text, fmt, ap) < 0)
        out_of_memory(0);
    return text;
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    return text;
}

_hot_ void mem_free(void *p)
{
    free(p);
}

void mem_wipe(void *p, size_t n)
{
    if (n)
        explicit_bzero(p, n);
}

#ifdef __x86_64__
#define CLEAR(n) "vpxorq %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"

__attribute__((target("avx"))) static void clear_registers(void)
{
    __asm__ volatile("vzeroall" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

/* Those that the above does not reach; the C library copies with them where they are. */
__attribute__((target("avx512f"))) static void clear_upper_registers(void)
{
    __asm__ volatile(CLEAR(16) CLEAR(17) CLEAR(18) CLEAR(19) CLEAR(20) CLEAR(21) CLEAR(22) CLEAR(23) CLEAR(24)
                         CLEAR(25) CLEAR(26) CLEAR(27) CLEAR(28) CLEAR(29) CLEAR(30) CLEAR(31)::
                             : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
                               "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
}
#endif

__attribute__((noinline)) void mem_wipe_traces(void)
{
    enum { DEPTH = 32 << 10 };
    uint8_t below[DEPTH];

    mem_wipe(below, sizeof(below));
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx"))
        clear_registers();
    if (__builtin_cpu_supports("avx512f"))
        clear_upper_registers();
#endif
}

void mem_free_secret(void *p, size_t n)
{
    if (p)
        mem_wipe(p, n);
    free(p);
}

void mem_free_wiped(void *p)
{
    if (p)
        mem_wipe(p, malloc_usable_size(p));
    free(p);
}

void mem_trim(void)
{
    malloc_trim(0);
}

enum { ARENA_CHUNK_MIN = 256, ARENA_CHUNK_MAX = 1 << 16 };

/* Its bytes follow; they are zero until they are given out. */
struct arena_chunk {
    struct arena_chunk *next;
    size_t used, cap;
    _Alignas(max_align_t) uint8_t bytes[];
};

/* The first chunk is the one that is being filled. */
struct arena {
    struct arena_chunk *first;
    size_t size; /* of all chunks */
    bool secret;
};

struct arena *arena_new(void)
{
    return mem_new(struct arena);
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    while (a->first) {
        struct arena_chunk *chunk = a->first;

        a->first = chunk->next;
        if (a->secret)
            mem_wipe(chunk->bytes, chunk->used);
        mem_free(chunk);
    }
    mem_free(a);
}

void arena_set_secret(struct arena *a)
{
    a->secret = true;
}

static struct arena_chunk *new_chunk(struct arena *a, size_t cap)
{
    struct arena_chunk *chunk;

    if (cap > SIZE_MAX - sizeof(*chunk))
        out_of_memory(cap);
    chunk = mem_alloc(sizeof(*chunk) + cap);
    chunk->cap = cap;
    a->size += sizeof(*chunk) + cap;
    return chunk;
}

static void *take(struct arena *a, size_t n, size_t align)
{
    struct arena_chunk *chunk = a->first;
    size_t start = chunk ? (chunk->used + align - 1) & ~(align - 1) : 0;

    if (!chunk || start > chunk->cap || n > chunk->cap - start) {
        /* By half of what there is: most arenas are small, live long, and their last chunk stays half empty. */
        size_t cap = a->size / 2;

        if (cap < ARENA_CHUNK_MIN)
            cap = ARENA_CHUNK_MIN;
        if (cap > ARENA_CHUNK_MAX)
            cap = ARENA_CHUNK_MAX;
        start = 0;
        if (chunk && n > cap / 2) {
            /* Large: a chunk of its own, behind the current one, which keeps its free rest. */
            struct arena_chunk *own = new_chunk(a, n);

            own->used = n;
            own->next = chunk->next;
            chunk->next = own;
            return own->bytes;
        }
        chunk = new_chunk(a, n > cap ? n : cap);
        chunk->next = a->first;
        a->first = chunk;
    }
    chunk->used = start + n;
    return chunk->bytes + start;
}

void *arena_alloc(struct arena *a, size_t n)
{
    return take(a, n, _Alignof(max_align_t));
}

void *arena_dup(struct arena *a, const void *p, size_t n)
{
    void *copy = arena_alloc(a, n);

    if (n)
        memcpy(copy, p, n);
    return copy;
}

void *arena_room(struct arena *a, void *items, size_t n, size_t *cap, size_t size)
{
    void *larger;

    if (n < *cap)
        return items;
    *cap = next_cap(*cap);
    larger = arena_alloc(a, array_size(*cap, size));
    if (n)
        memcpy(larger, items, n * size);
    return larger;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    size_t length = strnlen(s, n);
    char *copy = take(a, length + 1, 1);

    memcpy(copy, s, length);
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    size_t length = strlen(s);
    char *copy = take(a, length + 1, 1);

    memcpy(copy, s, length);
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *text;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory(0);
    text = take(a, (size_t)n + 1, 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

size_t arena_size(const struct arena *a)
{
    return a->size;
}
