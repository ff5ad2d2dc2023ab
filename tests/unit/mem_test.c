/* Allocation and the arena. */
#include "base/mem.h"

#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(allocated_memory_is_zero)
{
    uint8_t *p = mem_calloc(1000, 3);

    for (size_t i = 0; i < 3000; i++)
        CHECK_INT(p[i], 0);
    mem_free(p);
}

TEST(nothing_can_be_allocated_and_freed)
{
    mem_free(mem_alloc(0));
    mem_free(mem_realloc(NULL, 0, 8));
    mem_free(mem_dup(NULL, 0));
    mem_free(NULL);
    mem_free_secret(NULL, 0);
    CHECK(mem_strdup(NULL) == NULL && mem_strndup(NULL, 3) == NULL);
}

TEST(strndup_stops_at_the_end_of_the_text)
{
    _cleanup_(mem_free_p) char *cut = mem_strndup("hello", 3), *whole = mem_strndup("hello", 30);

    CHECK_STR(cut, "hel");
    CHECK_STR(whole, "hello");
}

TEST(printf_returns_the_text)
{
    _cleanup_(mem_free_p) char *text = mem_printf("%d-%s", 42, "x");

    CHECK_STR(text, "42-x");
}

TEST(taking_a_pointer_leaves_null)
{
    char *p = mem_strdup("x"), *q = take_ptr(p);

    CHECK(p == NULL && q != NULL);
    mem_free(q);
}

/* The exit status of a child that calls f. */
static int status_of(void (*f)(void))
{
    int status = -1;
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        int null = dup2(open("/dev/null", 1), STDERR_FILENO);

        f();
        _exit(null < 0 ? 3 : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void multiply_too_much(void)
{
    mem_free(mem_calloc(SIZE_MAX / 2, 3));
}

static void grow_too_much(void)
{
    mem_free(mem_realloc(NULL, SIZE_MAX / 8, 16));
}

TEST(an_array_whose_size_overflows_ends_the_process_without_a_core)
{
    CHECK(WIFEXITED(status_of(multiply_too_much)) && WEXITSTATUS(status_of(multiply_too_much)) == 1);
    CHECK(WIFEXITED(status_of(grow_too_much)) && WEXITSTATUS(status_of(grow_too_much)) == 1);
}

TEST(arena_memory_is_zero_aligned_and_apart)
{
    enum { COUNT = 2000 };
    struct arena *a = arena_new();
    uint8_t *blocks[COUNT];
    size_t sizes[COUNT];
    uint64_t random = 5;

    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = test_random(&random) % (i % 50 == 0 ? 100000 : 100);
        if (i % 3 == 0)
            arena_strdup(a, "odd");
        blocks[i] = arena_alloc(a, sizes[i]);
        CHECK((uintptr_t)blocks[i] % _Alignof(max_align_t) == 0);
        for (size_t k = 0; k < sizes[i]; k++)
            CHECK_INT(blocks[i][k], 0);
        memset(blocks[i], (int)(i % 251), sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            CHECK_INT(blocks[i][k], i % 251);
    arena_free(a);
}

TEST(a_small_arena_is_small_and_a_large_one_wastes_little)
{
    struct arena *small = arena_new(), *large = arena_new();

    CHECK_INT(arena_size(small), 0);
    arena_strdup(small, "text");
    CHECK(arena_size(small) < 512);
    for (size_t i = 0; i < 10000; i++)
        arena_alloc(large, 100);
    CHECK(arena_size(large) >= 1000000 && arena_size(large) < 1300000);
    arena_free(small);
    arena_free(large);
}

TEST(a_large_block_leaves_the_rest_of_the_current_chunk_in_use)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    size_t size;

    arena_strdup(a, "small");
    arena_alloc(a, 5000);
    size = arena_size(a);
    arena_strdup(a, "small");
    CHECK_INT(arena_size(a), size);
}

TEST(arena_texts_are_copies)
{
    _cleanup_(arena_free_p) struct arena *a = arena_new();
    char text[] = "hello";
    char *copy = arena_strdup(a, text), *cut = arena_strndup(a, text, 2), *printed = arena_printf(a, "%s!", text);
    char *bytes = arena_dup(a, text, sizeof(text));

    memset(text, 'x', sizeof(text) - 1);
    CHECK_STR(copy, "hello");
    CHECK_STR(cut, "he");
    CHECK_STR(printed, "hello!");
    CHECK_STR(bytes, "hello");
    CHECK_STR(arena_strndup(a, "ab", 10), "ab");
}

TEST(an_arena_with_secrets_is_an_arena)
{
    struct arena *a = arena_new();

    arena_strdup(a, "before");
    arena_set_secret(a);
    memset(arena_alloc(a, 100000), 'x', 100000);
    CHECK_STR(arena_strdup(a, "after"), "after");
    arena_free(a); /* that it wrote nowhere else is for the sanitizers to say */
    mem_free_wiped(mem_strdup("secret"));
    mem_free_wiped(NULL);
}

TEST(a_null_arena_may_be_freed)
{
    arena_free(NULL);
}

TEST(arrays_grow_and_keep_what_they_have)
{
    struct arena *a = arena_new();
    uint64_t *items = NULL, *kept = NULL;
    size_t cap = 0, kept_cap = 0;

    for (size_t n = 0; n < 1000; n++) {
        items = mem_room(items, n, &cap, sizeof(*items));
        kept = arena_room(a, kept, n, &kept_cap, sizeof(*kept));
        CHECK(n < cap && cap <= 2 * n + 4 && kept_cap == cap && kept[n] == 0);
        items[n] = kept[n] = n;
    }
    for (size_t n = 0; n < 1000; n++)
        CHECK(items[n] == n && kept[n] == n);
    mem_free(items);
    arena_free(a);
}
