/*
 * Stands in for an Envoy binary where a test needs one that misbehaves: what it does is chosen by a word in the
 * configuration that it is given to validate.
 *
 *     probe-escape     tries what a sandbox must not let it do, says what came of each, and refuses
 *     probe-sleep      never answers
 *     probe-spin       the same, busily
 *     probe-crash      ends by a signal
 *     probe-flood      writes without end
 *
 * Linked with the C library alone, since libraries are copied for each run.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>

enum { CHILDREN_MAX = 1000, FDS_MAX = 1024, LARGE = 1 << 30 };

static char config[1 << 20];

static void tell(const char *what, bool done)
{
    (void)fprintf(stderr, "%s=%s\n", what, done ? "done" : strerrorname_np(errno));
}

/* The first address of an endpoint: the one in the bootstrap itself is 127.0.0.1's. */
static bool find_endpoint(struct sockaddr_in *ret)
{
    static const char mark[] = "\"address\":\"127.", after[] = "\"port_value\":";

    for (const char *at = strstr(config, mark); at; at = strstr(at + 1, mark)) {
        char host[16] = "";
        const char *from = at + strlen("\"address\":\""), *port = strstr(from, after);
        size_t n = strcspn(from, "\"");

        if (n >= sizeof(host) || !port || strncmp(from, "127.0.0.1\"", 10) == 0)
            continue;
        memcpy(host, from, n);
        *ret = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)strtoul(port + strlen(after), NULL, 10))};
        return inet_pton(AF_INET, host, &ret->sin_addr) == 1;
    }
    return false;
}

static void try_files(void)
{
    tell("read", open("/etc/passwd", O_RDONLY) >= 0);
    tell("proc", open("/proc/self/status", O_RDONLY) >= 0);
    tell("write", open("/probe", O_WRONLY | O_CREAT, 0600) >= 0);
    tell("overwrite", open("/config.json", O_WRONLY) >= 0);
    tell("device", mknod("/device", S_IFCHR | 0600, 0) == 0);
    tell("null", open("/dev/null", O_WRONLY) >= 0);
}

static void try_network(void)
{
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (!find_endpoint(&to)) {
        (void)fprintf(stderr, "connect=no endpoint\n");
        return;
    }
    tell("connect", connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
}

static void try_rights(void)
{
    tell("setuid", setuid(0) == 0);
    tell("unshare", unshare(CLONE_NEWUSER) == 0);
    tell("mount", mount("x", "/", "tmpfs", 0, NULL) == 0);
    tell("ptrace", ptrace(PTRACE_ATTACH, 1, NULL, NULL) == 0);
    tell("memory",
         mmap(NULL, (size_t)LARGE + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    (void)fprintf(stderr, "user=%u\n", (unsigned)getuid());
}

static void count_what_is_inherited(void)
{
    unsigned fds = 0, variables = 0;

    for (int fd = STDERR_FILENO + 1; fd < FDS_MAX; fd++)
        fds += fcntl(fd, F_GETFD) >= 0;
    while (environ[variables])
        variables++;
    (void)fprintf(stderr, "files=%u variables=%u\n", fds, variables);
}

static void try_processes(void)
{
    unsigned n = 0;
    pid_t pid = 0;

    while (n < CHILDREN_MAX && (pid = fork()) > 0)
        n++;
    if (pid == 0)
        for (;;)
            (void)pause();
    tell("fork", n == CHILDREN_MAX);
    (void)fprintf(stderr, "children=%u\n", n);
}

static int escape(void)
{
    count_what_is_inherited();
    try_files();
    try_network();
    try_rights();
    try_processes();
    return EXIT_FAILURE;
}

static int flood(void)
{
    static const char line[] = "and so on, and so on, and so on\n";

    for (;;)
        if (write(STDERR_FILENO, line, strlen(line)) < 0)
            return EXIT_FAILURE;
}

static bool is_asked(const char *word)
{
    return strstr(config, word) != NULL;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)puts("envoy_probe  version: 0123456789abcdef/0.0.7/Clean/RELEASE/BoringSSL");
        return EXIT_SUCCESS;
    }
    FILE *f = fopen("/config.json", "re");
    if (!f || !fread(config, 1, sizeof(config) - 1, f))
        return EXIT_FAILURE;
    (void)fclose(f);
    if (is_asked("probe-escape"))
        return escape();
    while (is_asked("probe-sleep"))
        (void)pause();
    while (is_asked("probe-spin"))
        ;
    if (is_asked("probe-crash"))
        abort();
    return is_asked("probe-flood") ? flood() : EXIT_SUCCESS;
}
