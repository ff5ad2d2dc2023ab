/*
 * The frame of the unit tests: see test.h. Tests run one after another in the order of their file; a failed check
 * jumps back to the loop over the tests.
 */
#include "tests/unit/test.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_case *first, **last = &first;
static const struct test_case *running;
static pthread_t main_thread;
static jmp_buf back;
static char reason[4096];

void test_register(struct test_case *c)
{
    *last = c;
    last = &c->next;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    char text[3072];

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (!pthread_equal(pthread_self(), main_thread)) {
        printf("not ok %s: %s:%d: %s (in another thread)\n", running->name, file, line, text);
        fflush(stdout);
        _exit(1);
    }
    snprintf(reason, sizeof(reason), "%s:%d: %s", file, line, text);
    longjmp(back, 1);
}

void test_check_int(const char *file, int line, const char *text, int64_t a, int64_t b)
{
    if (a != b)
        test_fail(file, line, "%s: %lld, not %lld", text, (long long)a, (long long)b);
}

void test_check_str(const char *file, int line, const char *text, const char *a, const char *b)
{
    if (!a || !b ? a != b : strcmp(a, b) != 0)
        test_fail(file, line, "%s: \"%s\", not \"%s\"", text, a ? a : "(null)", b ? b : "(null)");
}

void test_check_mem(const char *file, int line, const char *text, const void *a, size_t a_len, const void *b,
                    size_t b_len)
{
    const uint8_t *x = a, *y = b;

    if (a_len != b_len)
        test_fail(file, line, "%s: %zu bytes, not %zu: \"%.*s\", \"%.*s\"", text, a_len, b_len,
                  (int)(a_len < 200 ? a_len : 200), (const char *)a, (int)(b_len < 200 ? b_len : 200),
                  (const char *)b);
    for (size_t i = 0; i < a_len; i++)
        if (x[i] != y[i])
            test_fail(file, line, "%s: byte %zu is 0x%02x, not 0x%02x", text, i, x[i], y[i]);
}

bool test_aborts(void (*f)(void *arg), void *arg)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid < 0)
        test_fail(__FILE__, __LINE__, "no child process");
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        f(arg);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid)
        test_fail(__FILE__, __LINE__, "the child process was lost");
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

unsigned test_count(const char *text, const char *part)
{
    unsigned n = 0;

    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

uint64_t test_random(uint64_t *state)
{
    /* splitmix64, after Sebastiano Vigna, who put it in the public domain */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

struct test_seeds test_seeds(uint64_t rounds)
{
    const char *text = getenv("TEST_SEEDS"), *dash = text ? strchr(text, '-') : NULL;
    struct test_seeds seeds = {1, rounds};

    if (!text)
        return seeds;
    seeds.from = strtoull(text, NULL, 10);
    seeds.to = dash ? strtoull(dash + 1, NULL, 10) : 0;
    if (seeds.from > seeds.to)
        test_fail(__FILE__, __LINE__, "TEST_SEEDS is no range of seeds: %s", text);
    return seeds;
}

/* Says which test was it before the program ends; only what a signal handler may do. */
static void on_fatal_signal(int number)
{
    const char *parts[] = {"not ok ", running ? running->name : "(no test)",
                           number == SIGALRM ? ": it hangs\n" : ": it ended in abort()\n"};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (write(STDOUT_FILENO, parts[i], strlen(parts[i])) < 0)
            break;
    signal(number, SIG_DFL);
    raise(number);
}

static bool wanted(const char *name, char **parts)
{
    if (!*parts)
        return true;
    for (; *parts; parts++)
        if (strstr(name, *parts))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static int passed, failed;
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;

    main_thread = pthread_self();
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGABRT, on_fatal_signal);
    signal(SIGALRM, on_fatal_signal);
    for (running = first; running; running = running->next) {
        if (!wanted(running->name, argv + (list ? 2 : 1)))
            continue;
        if (list) {
            printf("%s\n", running->name);
            continue;
        }
        alarm(TEST_SECONDS);
        if (setjmp(back) == 0) {
            running->run();
            passed++;
            printf("ok %s\n", running->name);
        } else {
            failed++;
            printf("not ok %s: %s\n", running->name, reason);
        }
    }
    if (!list)
        printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
