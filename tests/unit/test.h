/*
 * The frame of the unit tests. A file tests/unit/NAME_test.c holds tests, registers them by writing them, and becomes
 * a program of its own:
 *
 *     TEST(a_removed_key_is_not_found) { CHECK(map_gets(&m, "a") == NULL); }
 *
 *     NAME_test [--list] [PART-OF-A-NAME...]
 *
 * A failed check ends its test, not the program; what the test had allocated then leaks, which is fine as the program
 * fails anyway. Checks belong to the main thread; a failed one elsewhere ends the program. A test that hangs is ended
 * after TEST_SECONDS.
 */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEST_SECONDS = 500 };

struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
};

void test_register(struct test_case *c);
/* Ends the running test with that reason. */
void test_fail(const char *file, int line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));
void test_check_int(const char *file, int line, const char *text, int64_t a, int64_t b);
void test_check_str(const char *file, int line, const char *text, const char *a, const char *b);
void test_check_mem(const char *file, int line, const char *text, const void *a, size_t a_len, const void *b,
                    size_t b_len);
/* Whether f(arg) ends in abort(), as a failed assert does; tried in a child process. */
bool test_aborts(void (*f)(void *arg), void *arg);
/* How often the part stands in the text. */
unsigned test_count(const char *text, const char *part);
/* How many of n rounds a random test makes that has one thread: the thread sanitizer could find no race in it. */
#ifdef __SANITIZE_THREAD__
#define TEST_ROUNDS(n) ((n) / 5)
#else
#define TEST_ROUNDS(n) (n)
#endif
/* A sequence of random numbers that is the same in every run; *state is the seed. */
uint64_t test_random(uint64_t *state);
/* The seeds of a random test: from 1 on, as many as it has rounds; or those that the environment's TEST_SEEDS names
 * ("1-10000"): who changes what is tried there runs it for longer. */
struct test_seeds {
    uint64_t from, to;
};
struct test_seeds test_seeds(uint64_t rounds);

#define TEST(test_name)                                                                                              \
    static void test_run_##test_name(void);                                                                          \
    __attribute__((constructor)) static void test_register_##test_name(void)                                         \
    {                                                                                                                \
        static struct test_case test = {#test_name, test_run_##test_name, NULL};                                     \
        test_register(&test);                                                                                        \
    }                                                                                                                \
    static void test_run_##test_name(void)

#define CHECK(condition)                                                                                             \
    do {                                                                                                             \
        if (!(condition))                                                                                            \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                                         \
    } while (0)
#define CHECK_INT(a, b) test_check_int(__FILE__, __LINE__, #a " == " #b, (int64_t)(a), (int64_t)(b))
#define CHECK_STR(a, b) test_check_str(__FILE__, __LINE__, #a " == " #b, (a), (b))
#define CHECK_MEM(a, a_len, b, b_len) test_check_mem(__FILE__, __LINE__, #a " == " #b, (a), (a_len), (b), (b_len))

#endif
