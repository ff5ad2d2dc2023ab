/* The command line: chooses what to do, prints to standard output, says what is wrong on standard error. */
#include "base/log.h"
#include "base/mem.h"
#include "proto/translate.h"
#include "server/config.h"
#include "server/daemon.h"
#include "server/envoy_check.h"
#include "server/notify.h"
#include "server/ready.h"
#include "server/sandbox.h"
#include "server/token.h"
#include "server/version.h"
#include "store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

/* What the daemon's hooks need. */
struct process {
    int argc;
    char **argv;
    const struct config *config;
    int ready_fd; /* to the parent that waits for the background process; -1: there is none */
};

static int fail(const struct err *e, int status)
{
    char text[1100];
    (void)fprintf(stderr, "igwd: %s\n", err_format(e, text, sizeof(text)));
    return status;
}

/* Writes text and frees it; a closed standard output is a failure. */
static int print(char *text)
{
    int status = fputs(text, stdout) < 0 || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
    mem_free(text);
    return status;
}

static int print_bootstrap(const struct config *c)
{
    char host[256] = "envoy";
    if (gethostname(host, sizeof(host) - 1))
        (void)fprintf(stderr, "igwd: the host's name is unknown: the node's id is \"%s\"\n", host);
    const char *gateway = c->bootstrap_gateway ? c->bootstrap_gateway : c->gateway;
    const struct config_address *xds = NULL;
    struct err e = {0};
    if (!gateway)
        err_set(&e, -EINVAL, "--gateway", NULL, "a gateway is expected: there is no default one");
    if (!gateway || config_xds_for(c, gateway, &xds, &e))
        return fail(&e, EXIT_FAILURE);
    bool local = socket_address_is_local(&xds->at);
    const struct bootstrap_options options = {
        .gateway = gateway,
        .node_id = c->node_id ? c->node_id : host,
        .node_cluster = c->node_cluster ? c->node_cluster : gateway,
        .xds = xds->address,
        .admin = c->admin ? c->admin : "127.0.0.1:9901",
        .state_of_the_world = c->state_of_the_world,
        .ca_file = local ? NULL : c->xds_client_ca_file,
        .certificate_file = local ? NULL : c->xds_certificate_file,
        .key_file = local ? NULL : c->xds_key_file,
        .tls_name = c->tls_name,
    };
    char *json = NULL;
    return bootstrap_make(&options, &json, &e) ? fail(&e, EXIT_FAILURE) : print(json);
}

static int back_up(const struct config *c)
{
    struct err e = {0};
    return store_backup(c->state_directory, c->key_file, c->words[0], &e) ? fail(&e, EXIT_FAILURE) : EXIT_SUCCESS;
}

static int restore(const struct config *c)
{
    struct err e = {0};
    return store_restore(c->state_directory, c->key_file, c->words[0], &e) ? fail(&e, EXIT_FAILURE) : EXIT_SUCCESS;
}

static int make_token(const struct config *c)
{
    struct err e = {0};
    char *token = NULL;
    if (strcmp(c->words[0], "create") != 0)
        return err_set(&e, -EINVAL, "token", NULL, "create is expected"), fail(&e, EXIT_USAGE);
    if (token_create(c, c->words[1], c->words[2], &token, &e))
        return fail(&e, EXIT_FAILURE);
    return print(token);
}

static int ask_ready(const struct config *c)
{
    struct err e = {0};
    return ready_ask(c, &e) ? fail(&e, EXIT_FAILURE) : print(mem_strdup("ready\n"));
}

/* The settings have been read; whether the binary that they name can be asked is found out by asking it. */
static int check_settings(const struct config *c)
{
    struct err e = {0};
    _cleanup_(mem_free_p) char *version = NULL;
    if (c->envoy_binary && envoy_check_probe(c->envoy_binary, c->envoy_seconds, &version, &e))
        return fail(&e, EXIT_FAILURE);
    return print(mem_strdup("the settings are good\n"));
}

static void on_ready(void *arg)
{
    struct process *p = arg;
    notify_supervisor("READY=1");
    if (p->ready_fd < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO); /* what fails here leaves the terminal's, which harms nothing */
        (void)dup2(null, STDOUT_FILENO);
        close(null);
    }
    if (write(p->ready_fd, "1", 1) != 1)
        log_event(LOG_LEVEL_WARNING, "the starting process is gone", NULL);
    close(p->ready_fd);
    p->ready_fd = -1;
}

/* SIGHUP: the log's settings are taken at once; of others it is said that they wait for a restart. */
static void on_reload(void *arg)
{
    struct process *p = arg;
    struct config next;
    struct err e = {0};
    if (config_read(p->argc, p->argv, environ, &next, &e)) {
        log_err(LOG_LEVEL_ERROR, &e, "settings can't be read again: the old ones stay", NULL);
    } else {
        _cleanup_(mem_free_p) char *before = config_print(p->config);
        _cleanup_(mem_free_p) char *after = config_print(&next);
        log_setup(next.log_level, next.log_format);
        log_event(LOG_LEVEL_NOTICE, "settings and certificates were read again", "note",
                  strcmp(before, after) ? "what is not of the log takes effect at the next start" : NULL, NULL);
    }
    config_clear(&next);
}

/* Forks; the parent waits until the child is ready or gone, and ends. Returns in the child only. */
static int go_to_background(struct process *p)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return -errno;
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child > 0) {
        char byte;
        close(fds[1]);
        _exit(read(fds[0], &byte, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    close(fds[0]);
    p->ready_fd = fds[1];
    return setsid() < 0 ? -errno : 0;
}

static int run(int argc, char **argv, const struct config *c)
{
    struct process p = {.argc = argc, .argv = argv, .config = c, .ready_fd = -1};
    struct err e = {0};
    _cleanup_(activation_free_p) struct activation *sockets = NULL;
    if (activation_new(&sockets, &e))
        return fail(&e, EXIT_FAILURE);
    int r = c->background ? go_to_background(&p) : 0;
    if (r)
        return err_set(&e, r, "background", NULL, "%s", strerrordesc_np(-r)), fail(&e, EXIT_FAILURE);
    log_setup(c->log_level, c->log_format);
    log_event(LOG_LEVEL_NOTICE, "starting", "version", IGWD_VERSION, NULL);
    const struct daemon_hooks hooks = {.ready = on_ready, .reload = on_reload, .arg = &p};
    if (daemon_run(c, sockets, &hooks, &e) == 0)
        return EXIT_SUCCESS;
    log_err(LOG_LEVEL_ERROR, &e, "can't run", NULL);
    return EXIT_FAILURE;
}

static int command(int argc, char **argv, const struct config *c)
{
    switch (c->command) {
    case CONFIG_HELP:
        return print(config_help());
    case CONFIG_VERSION:
        return print(mem_strdup("igwd " IGWD_VERSION "\n"));
    case CONFIG_CHECK:
        return check_settings(c);
    case CONFIG_PRINT:
        return print(config_print(c));
    case CONFIG_BOOTSTRAP:
        return print_bootstrap(c);
    case CONFIG_BACKUP:
        return back_up(c);
    case CONFIG_RESTORE:
        return restore(c);
    case CONFIG_TOKEN:
        return make_token(c);
    case CONFIG_READY:
        return ask_ready(c);
    case CONFIG_RUN:
        return run(argc, argv, c);
    }
    return EXIT_FAILURE;
}

/* ENVOY [--version] [MILLISECONDS] */
static _Noreturn void validate(int argc, char **argv)
{
    bool version = argc > 3 && strcmp(argv[3], "--version") == 0;
    const char *time = version ? argv[4] : argv[3]; /* NULL behind the last one */

    sandbox_main(argv[2], version ? SANDBOX_VERSION : SANDBOX_VALIDATE,
                 time ? (unsigned)strtoul(time, NULL, 10) : SANDBOX_WALL_MS);
}

int main(int argc, char **argv)
{
    /* No setting means anything to it. */
    if (argc >= 3 && strcmp(argv[1], "validate") == 0)
        validate(argc, argv);
    struct config c;
    struct err e = {0};
    int status = config_read(argc, argv, environ, &c, &e) ? fail(&e, EXIT_USAGE) : command(argc, argv, &c);
    config_clear(&c);
    return status;
}
