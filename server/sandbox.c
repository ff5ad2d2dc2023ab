/*
 * Two processes:
 *
 *     keeper                                            confined
 *     opens the binary, its libraries, the user's id
 *     makes the other in new namespaces       ------->  waits
 *     maps its user                           ------->  becomes that user, makes its file system and goes there,
 *     <------- why it could not, or nothing             gives up capabilities, has a child that limits itself and
 *     waits, and ends it when its time is over          becomes Envoy; waits for that
 *
 * The confined one is the first process of its own process namespace: all that was started there ends with it. It
 * ends with the keeper, and the keeper with the thread that started it.
 *
 * Its file system is a small one in memory, read-only, that holds the dynamic linker and the libraries (copies), the
 * configuration, and /dev/null. The binary itself is in none: it is executed by its file descriptor. The network is a
 * new one, without even loopback being up.
 *
 * Invariant: the binary runs with all of it, or not at all. Everything between fork and exec is system calls on what
 * was prepared before.
 */
#include "server/sandbox.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LIBRARIES_MAX = 64,
    LISTING_MAX = 64 << 10, /* bytes that the dynamic linker may write */
    NOBODY = 65534,         /* where no user of that name is known */
    REASON_MAX = 512,
    WRITTEN_MAX = 1 << 20, /* bytes of a file; there is none, unless standard error is one */
};

/* Envoy's allocator reserves far more addresses than it uses memory. */
#define ADDRESSES_MAX (UINT64_C(16) << 30)
#define MEMORY_MAX (UINT64_C(1) << 30)

/* A file that is copied into the confined file system. */
struct copy {
    int from;
    char *to;
};

struct cell {
    int binary;
    enum sandbox_question question;
    uid_t uid; /* the same inside and outside */
    gid_t gid;
    struct copy copies[LIBRARIES_MAX];
    size_t n_copies;
    int go[2];     /* the keeper writes one byte once the user is mapped, and holds it open as long as it lives */
    int reason[2]; /* why the confined process could not become Envoy; closed by exec */
};

static const unsigned long new_namespaces =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

static _Noreturn void fail(const char *what, int code)
{
    (void)fprintf(stderr, "%s: %s\n", what, strerrordesc_np(code)); /* nobody is left to hear of a failure */
    (void)fflush(stderr);
    _exit(SANDBOX_FAILED);
}

/* ---- the binary and its libraries ---- */

static int read_at(int fd, void *to, size_t n, off_t offset)
{
    ssize_t got = pread(fd, to, n, offset);

    return got < 0 ? -errno : (size_t)got == n ? 0 : -ENOEXEC;
}

/* The dynamic linker that an ELF program names (gabi, chapter 5); "" for one that needs none. */
static int find_interpreter(int fd, char *ret, size_t size)
{
    Elf64_Ehdr head;
    int r = read_at(fd, &head, sizeof(head), 0);

    if (r < 0)
        return r;
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        head.e_phentsize != sizeof(Elf64_Phdr))
        return -ENOEXEC;
    ret[0] = '\0';
    for (unsigned i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr part;
        r = read_at(fd, &part, sizeof(part), (off_t)(head.e_phoff + i * sizeof(part)));
        if (r < 0)
            return r;
        if (part.p_type != PT_INTERP)
            continue;
        if (part.p_filesz < 2 || part.p_filesz > size)
            return -ENOEXEC;
        r = read_at(fd, ret, part.p_filesz, (off_t)part.p_offset);
        return r < 0 || ret[part.p_filesz - 1] != '\0' || ret[0] != '/' ? -ENOEXEC : 0;
    }
    return 0;
}

static void add_copy(struct cell *c, int from, char *to)
{
    if (c->n_copies == LIBRARIES_MAX)
        fail("the libraries", E2BIG);
    c->copies[c->n_copies++] = (struct copy){from, to};
}

static void add_file(struct cell *c, const char *path, char *to)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fail(path, errno);
    add_copy(c, fd, to);
}

/* All that a program writes to its standard output. */
static char *output_of(const char *const *argv)
{
    int fds[2], status;
    posix_spawn_file_actions_t actions;
    pid_t pid;
    struct buf b;
    uint8_t *room;
    ssize_t n = 0;

    if (pipe2(fds, O_CLOEXEC))
        fail("pipe", errno);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    /* posix_spawn() writes to none of the texts. */
    int r = posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, (char *[]){NULL});
    posix_spawn_file_actions_destroy(&actions);
    if (r)
        fail(argv[0], r);
    close(fds[1]);
    buf_init(&b, LISTING_MAX);
    while ((room = buf_reserve(&b, 4096)) && (n = read(fds[0], room, 4096)) > 0)
        b.len += (size_t)n;
    close(fds[0]);
    if (waitpid(pid, &status, 0) != pid || status || n)
        fail("the dynamic linker finds no way to load the binary", ENOEXEC);
    return buf_take(&b, NULL);
}

/* The dynamic linker lists what it would load: lines of "NAME => PATH (ADDRESS)". It runs nothing of the program. */
static void add_libraries(struct cell *c, const char *interpreter, const char *binary)
{
    const char *const argv[] = {interpreter, "--list", binary, NULL};
    _cleanup_(mem_free_p) char *listing = output_of(argv);
    char *rest, *line = strtok_r(listing, "\n", &rest);

    for (; line; line = strtok_r(NULL, "\n", &rest)) {
        char *arrow = strstr(line, " => "), *path = arrow ? arrow + 4 : NULL;
        char *end = path ? strstr(path, " (") : NULL;
        if (!path || path[0] != '/' || !end)
            continue;
        *end = *arrow = '\0';
        add_file(c, path, mem_printf("/lib/%s", strrchr(path, '/') + 1));
    }
}

static void open_binary(struct cell *c, const char *binary)
{
    char interpreter[256];
    struct stat st;

    c->binary = open(binary, O_RDONLY | O_CLOEXEC);
    if (c->binary < 0 || fstat(c->binary, &st))
        fail(binary, errno);
    if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IXOTH | S_IROTH)) != (S_IXOTH | S_IROTH))
        fail("the binary is no file that everybody may read and execute", EACCES);
    if (find_interpreter(c->binary, interpreter, sizeof(interpreter)) < 0)
        fail("the binary is no ELF program", ENOEXEC);
    if (interpreter[0]) {
        add_file(c, interpreter, mem_strdup(interpreter));
        add_libraries(c, interpreter, binary);
    }
}

/* Root's Envoy runs as nobody, anybody else's as who they are. */
static void choose_user(struct cell *c)
{
    const struct passwd *nobody = geteuid() ? NULL : getpwnam("nobody");

    c->uid = geteuid() ? geteuid() : nobody ? nobody->pw_uid : NOBODY;
    c->gid = geteuid() ? getegid() : nobody ? nobody->pw_gid : NOBODY;
    if (!geteuid() && setgroups(0, NULL))
        fail("setgroups", errno);
}

/* ---- in the confined process ---- */

/* What fails here is told to the keeper. */
static _Noreturn void give_up(const struct cell *c, const char *what)
{
    char text[REASON_MAX];
    int n = snprintf(text, sizeof(text), "%s: %s", what, strerrordesc_np(errno));

    ssize_t written = write(c->reason[1], text, n > 0 ? strlen(text) : 0);
    (void)written; /* a keeper that is gone needs no reason */
    _exit(SANDBOX_FAILED);
}

static void check(const struct cell *c, bool good, const char *what)
{
    if (!good)
        give_up(c, what);
}

/* Ends with the keeper: the setting is lost when the user changes, so it is made again, and looked at after. */
static void end_with_keeper(const struct cell *c)
{
    struct pollfd keeper = {.fd = c->go[0], .events = POLLIN};

    check(c, prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
    if (poll(&keeper, 1, 0) < 0 || (keeper.revents & POLLHUP))
        _exit(SANDBOX_FAILED);
}

static void become_user(const struct cell *c)
{
    char byte;

    check(c, prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
    if (read(c->go[0], &byte, 1) != 1)
        _exit(SANDBOX_FAILED);
    check(c, setresgid(c->gid, c->gid, c->gid) == 0, "setresgid");
    check(c, setresuid(c->uid, c->uid, c->uid) == 0, "setresuid");
    end_with_keeper(c);
}

/* The directories above a path. */
static void make_parents(const struct cell *c, char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        check(c, mkdir(path, 0755) == 0 || errno == EEXIST, "mkdir");
        *slash = '/';
    }
}

/* path: absolute, below root. */
static void copy_file(const struct cell *c, const char *root, int from, const char *path)
{
    char to[512], piece[64 << 10];
    off_t offset = 0;
    ssize_t n;

    check(c, snprintf(to, sizeof(to), "%s%s", root, path) < (int)sizeof(to), path);
    make_parents(c, to);
    int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0555);
    if (fd < 0 && errno == EEXIST)
        return; /* the linker is a library too */
    check(c, fd >= 0, path);
    while ((n = pread(from, piece, sizeof(piece), offset)) > 0) {
        check(c, write(fd, piece, (size_t)n) == n, path);
        offset += n;
    }
    check(c, n == 0 && close(fd) == 0, path);
}

static void copy_configuration(const struct cell *c, const char *root)
{
    char to[512], piece[64 << 10];
    ssize_t n;

    (void)snprintf(to, sizeof(to), "%s%s", root, SANDBOX_CONFIG);
    int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    check(c, fd >= 0, "the configuration");
    while ((n = read(STDIN_FILENO, piece, sizeof(piece))) > 0)
        check(c, write(fd, piece, (size_t)n) == n, "the configuration");
    check(c, n == 0 && close(fd) == 0, "the configuration");
}

/* It is mounted over a directory that is always there, filled, and then becomes the root: all else is gone. */
static void make_file_system(const struct cell *c)
{
    static const char root[] = "/tmp";
    char null[] = "/tmp/dev/null";

    check(c, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "making mounts private");
    check(c, mount("igwd", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=96m,nr_inodes=256,mode=755") == 0,
          "mounting a file system in memory");
    for (size_t i = 0; i < c->n_copies; i++)
        copy_file(c, root, c->copies[i].from, c->copies[i].to);
    if (c->question == SANDBOX_VALIDATE)
        copy_configuration(c, root);
    make_parents(c, null);
    int fd = open(null, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    check(c, fd >= 0 && close(fd) == 0 && mount("/dev/null", null, NULL, MS_BIND, NULL) == 0, "/dev/null");
    check(c, mount(NULL, root, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) == 0,
          "making the file system read-only");
    /* The old root is stacked over the new one, and taken off there (pivot_root(2), "pivot_root(".", ".")"). */
    check(c, chdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0, "pivot_root");
    check(c, umount2(".", MNT_DETACH) == 0 && chdir("/") == 0, "leaving the old root");
}

static void set_limit(const struct cell *c, __rlimit_resource_t what, rlim_t value)
{
    const struct rlimit limit = {value, value};

    check(c, setrlimit(what, &limit) == 0, "setrlimit");
}

static void set_limits(const struct cell *c)
{
    set_limit(c, RLIMIT_CPU, SANDBOX_CPU_SECONDS);
    set_limit(c, RLIMIT_AS, ADDRESSES_MAX);
    set_limit(c, RLIMIT_DATA, MEMORY_MAX);
    set_limit(c, RLIMIT_FSIZE, WRITTEN_MAX);
    set_limit(c, RLIMIT_NOFILE, 64);
    set_limit(c, RLIMIT_NPROC, 64); /* threads count */
    set_limit(c, RLIMIT_CORE, 0);
    set_limit(c, RLIMIT_MEMLOCK, 0);
    set_limit(c, RLIMIT_MSGQUEUE, 0);
}

static void drop_capabilities(const struct cell *c)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}};

    for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; i++)
        check(c, prctl(PR_CAPBSET_DROP, i) == 0, "dropping capabilities");
    check(c, syscall(SYS_capset, &head, none) == 0, "dropping capabilities");
    check(c, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
}

/* System calls that no program that validates a text needs, and that kernels had most of their faults in. */
static const int refused_calls[] = {
    SYS_add_key,
    SYS_bpf,
    SYS_delete_module,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_setup,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pidfd_getfd,
    SYS_pivot_root,
    SYS_ptrace,
    SYS_request_key,
    SYS_setns,
    SYS_umount2,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_open_by_handle_at,
    SYS_chroot,
};

#if defined(__x86_64__)
enum { OWN_ARCHITECTURE = (int)AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { OWN_ARCHITECTURE = (int)AUDIT_ARCH_AARCH64 };
#else
#error "the architecture's number for seccomp is not known here"
#endif

/* seccomp(2): another architecture's calls end the process, the refused ones are not permitted. */
static void refuse_calls(const struct cell *c)
{
    enum { N = sizeof(refused_calls) / sizeof(refused_calls[0]) };
    struct sock_filter program[N + 6] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)OWN_ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    const struct sock_fprog filter = {.len = N + 6, .filter = program};

    for (int i = 0; i < N; i++)
        program[4 + i] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)refused_calls[i], (uint8_t)(N - i), 0);
    program[4 + N] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[5 + N] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    check(c, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0, "seccomp");
}

static _Noreturn void become_envoy(const struct cell *c)
{
    const char *const validate[] = {
        "envoy",        "--mode", "validate",      "-c", SANDBOX_CONFIG,          "--log-level", "error",
        "--log-format", "%v",     "--concurrency", "1",  "--disable-hot-restart", NULL};
    const char *const version[] = {"envoy", "--version", NULL};
    const char *const environment[] = {"LD_LIBRARY_PATH=/lib", NULL};

    set_limits(c);
    refuse_calls(c);
    check(c, close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0, "close_range");
    syscall(SYS_execveat, c->binary, "", c->question == SANDBOX_VALIDATE ? validate : version, environment,
            AT_EMPTY_PATH);
    give_up(c, "the binary can't be executed");
}

/* What the keeper is told of how Envoy ended. */
static enum sandbox_exit judge(int status)
{
    if (WIFEXITED(status) && (WEXITSTATUS(status) == SANDBOX_ACCEPTED || WEXITSTATUS(status) == SANDBOX_REFUSED))
        return (enum sandbox_exit)WEXITSTATUS(status);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        return SANDBOX_TIMEOUT;
    if (WIFSIGNALED(status))
        (void)fprintf(stderr, "Envoy was ended by a signal: %s\n", sigdescr_np(WTERMSIG(status)));
    else
        (void)fprintf(stderr, "Envoy ended with status %d\n", WEXITSTATUS(status));
    (void)fflush(stderr); /* nobody is left to hear of a failure */
    return SANDBOX_FAILED;
}

/* The first process of its namespace; signals do not end that one by default, so Envoy is the second. */
static _Noreturn void confined(const struct cell *c)
{
    int status;

    close(c->go[1]);
    become_user(c);
    make_file_system(c);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    check(c, null >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO, "/dev/null");
    drop_capabilities(c);
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    check(c, pid >= 0, "clone");
    if (pid == 0)
        become_envoy(c);
    close(c->reason[1]);
    if (waitpid(pid, &status, 0) != pid)
        _exit(SANDBOX_FAILED);
    _exit(judge(status));
}

/* ---- in the keeper ---- */

static void write_map(pid_t pid, const char *name, const char *text)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        fail(path, errno);
    close(fd);
}

/* One user and one group, which are the same on both sides (user_namespaces(7)). */
static void map_user(const struct cell *c, pid_t pid)
{
    char text[64];

    write_map(pid, "setgroups", "deny");
    (void)snprintf(text, sizeof(text), "%u %u 1", (unsigned)c->uid, (unsigned)c->uid);
    write_map(pid, "uid_map", text);
    (void)snprintf(text, sizeof(text), "%u %u 1", (unsigned)c->gid, (unsigned)c->gid);
    write_map(pid, "gid_map", text);
}

/* What it said when it could not become Envoy; "" when it is Envoy now. */
static void hear_reason(const struct cell *c, char *ret, size_t size)
{
    size_t have = 0;
    ssize_t n;

    while (have + 1 < size && (n = read(c->reason[0], ret + have, size - 1 - have)) > 0)
        have += (size_t)n;
    ret[have] = '\0';
}

/* How it ended, when it does within its time. */
static enum sandbox_exit wait_for(pid_t pid, int pidfd, clock_ns deadline)
{
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    clock_ns left = deadline - clock_now(NULL);
    int status, r = poll(&ended, 1, left > 0 ? (int)(left / CLOCK_NS_PER_MS) + 1 : 0);

    if (r == 0)
        (void)kill(pid, SIGKILL); /* it may have ended meanwhile */
    if (waitpid(pid, &status, 0) != pid)
        fail("waitpid", errno);
    return r == 0 ? SANDBOX_TIMEOUT : WIFEXITED(status) ? (enum sandbox_exit)WEXITSTATUS(status) : SANDBOX_FAILED;
}

_Noreturn void sandbox_main(const char *binary, enum sandbox_question question, unsigned wall_ms)
{
    const clock_ns deadline = clock_now(NULL) + wall_ms * (clock_ns)CLOCK_NS_PER_MS;
    struct cell c = {.question = question};
    int pidfd = -1;
    char reason[REASON_MAX];

    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        fail("prctl", errno);
    open_binary(&c, binary);
    choose_user(&c);
    if (pipe2(c.go, O_CLOEXEC) || pipe2(c.reason, O_CLOEXEC))
        fail("pipe", errno);
    /* Not clone3(2), which filters of system calls refuse as they can't look into its argument. */
    pid_t pid = (pid_t)syscall(SYS_clone, new_namespaces | CLONE_PIDFD | SIGCHLD, NULL, &pidfd, NULL, NULL);
    if (pid < 0)
        fail("new namespaces", errno);
    if (pid == 0)
        confined(&c);
    close(c.go[0]);
    close(c.reason[1]);
    map_user(&c, pid);
    if (write(c.go[1], "", 1) != 1)
        fail("the confined process", errno);
    hear_reason(&c, reason, sizeof(reason));
    enum sandbox_exit status = wait_for(pid, pidfd, deadline);
    if (reason[0]) {
        (void)fprintf(stderr, "the sandbox can't be made: %s\n", reason);
        status = SANDBOX_FAILED;
    }
    (void)fflush(stderr);
    _exit(status);
}
