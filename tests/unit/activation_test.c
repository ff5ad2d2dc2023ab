/* Sockets that are passed in: each test becomes a supervisor in a child process, whose descriptors it may arrange. */
#include "server/activation.h"

#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 3, SAFE = 200 /* above all that a test opens */ };

/* In a child: its sockets stand at FIRST and behind it, the environment tells of them. Its checks end it. */
static void in_child(void (*f)(void))
{
    int status = 0;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        f();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
}

#define MUST(condition)                                                                                              \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            (void)fprintf(stderr, "%d: %s\n", __LINE__, #condition);                                                 \
            _exit(1);                                                                                                \
        }                                                                                                            \
    } while (0)

static void place(int fd, unsigned at)
{
    int safe = fcntl(fd, F_DUPFD, SAFE);

    MUST(safe >= 0);
    if (fd != FIRST + (int)at)
        close(fd);
    MUST(dup2(safe, FIRST + (int)at) >= 0);
    close(safe);
}

/* A socket bound to the address, which becomes the one that it got. */
static void pass(unsigned at, struct sockaddr *address, socklen_t n, bool listens)
{
    int fd = socket(address->sa_family, SOCK_STREAM, 0);

    MUST(fd >= 0 && bind(fd, address, n) == 0);
    MUST(!listens || listen(fd, 1) == 0);
    MUST(getsockname(fd, address, &n) == 0);
    place(fd, at);
}

static uint16_t pass_tcp(unsigned at, bool listens)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    pass(at, (struct sockaddr *)&a, sizeof(a), listens);
    return ntohs(a.sin_port);
}

static uint16_t pass_tcp6(unsigned at)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

    pass(at, (struct sockaddr *)&a, sizeof(a), true);
    return ntohs(a.sin6_port);
}

static void pass_unix(unsigned at, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    pass(at, (struct sockaddr *)&a, sizeof(a), true);
}

static int take(struct activation *a, const char *text)
{
    struct socket_address at;

    MUST(socket_address_parse(text, &at, NULL) == 0);
    return activation_take(a, &at);
}

static void tell(pid_t pid, unsigned n)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%d", (int)pid);
    MUST(setenv("LISTEN_PID", text, 1) == 0);
    (void)snprintf(text, sizeof(text), "%u", n);
    MUST(setenv("LISTEN_FDS", text, 1) == 0);
    MUST(setenv("LISTEN_FDNAMES", "xds:api", 1) == 0);
}

static void sockets_of_all_kinds(void)
{
    char path[] = "/tmp/igwd-activation-XXXXXX", address[64], unix_address[64];
    struct activation *a = NULL;
    struct err e = {0};

    MUST(mkdtemp(path));
    (void)snprintf(unix_address, sizeof(unix_address), "unix:%s/s", path);
    unsigned port = pass_tcp(0, true), port6 = pass_tcp6(1);
    pass_unix(2, unix_address + 5);
    tell(getpid(), 3);
    MUST(activation_new(&a, &e) == 0);
    MUST(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", port + 1);
    MUST(take(a, address) == 0);
    (void)snprintf(address, sizeof(address), "127.0.0.2:%u", port);
    MUST(take(a, address) == 0);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    MUST(take(a, address) == FIRST);
    MUST(take(a, address) == 0); /* it is given once */
    MUST(fcntl(FIRST, F_GETFD) == FD_CLOEXEC && fcntl(FIRST, F_GETFL) & O_NONBLOCK);
    MUST(activation_all_taken(a, &e) == -EINVAL);
    (void)snprintf(address, sizeof(address), "[::1]:%u", port6);
    MUST(strcmp(e.object, address) == 0);
    (void)snprintf(address, sizeof(address), "[0:0::1]:%u", port6);
    MUST(take(a, address) == FIRST + 1);
    MUST(activation_all_taken(a, &e) == -EINVAL && strcmp(e.object, unix_address) == 0);
    MUST(take(a, unix_address) == FIRST + 2);
    MUST(activation_all_taken(a, &e) == 0);
    activation_free(a);
    MUST(fcntl(FIRST, F_GETFD) >= 0); /* what was taken is somebody else's */
    MUST(unlink(unix_address + 5) == 0 && rmdir(path) == 0);
}

TEST(a_socket_is_found_by_the_address_it_listens_on_however_that_is_written)
{
    in_child(sockets_of_all_kinds);
}

static void sockets_of_another(void)
{
    struct activation *a = NULL;
    struct err e = {0};

    (void)pass_tcp(0, true);
    tell(getppid(), 1);
    MUST(activation_new(&a, &e) == 0);
    MUST(activation_all_taken(a, &e) == 0);
    MUST(!getenv("LISTEN_FDS"));
    activation_free(a);
    MUST(fcntl(FIRST, F_GETFD) == 0);
}

TEST(what_was_passed_to_another_process_is_left_alone)
{
    in_child(sockets_of_another);
}

static void nothing(void)
{
    struct activation *a = NULL;
    struct err e = {0};

    (void)unsetenv("LISTEN_PID");
    MUST(activation_new(&a, &e) == 0);
    MUST(take(a, "127.0.0.1:50051") == 0 && activation_all_taken(a, &e) == 0);
    activation_free(a);
}

TEST(without_a_supervisor_there_is_none)
{
    in_child(nothing);
}

static void one_that_does_not_listen(void)
{
    struct activation *a = NULL;
    struct err e = {0};

    (void)pass_tcp(0, true);
    (void)pass_tcp(1, false);
    tell(getpid(), 2);
    MUST(activation_new(&a, &e) == -EINVAL && !a);
    MUST(strcmp(e.object, "descriptor 4") == 0);
    MUST(fcntl(FIRST, F_GETFD) < 0); /* those before it are closed */
    tell(getpid(), ACTIVATION_MAX + 1);
    MUST(activation_new(&a, &e) == -EINVAL && strstr(e.text, "more than"));
}

TEST(what_is_no_listening_socket_is_an_error)
{
    in_child(one_that_does_not_listen);
}
