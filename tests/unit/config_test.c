/* Settings: precedence, aliases, and errors that name their place. */
#include "server/config.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char file_path[] = "/tmp/igwd-config-test-XXXXXX";

/* Writes a configuration file; removed by the caller. */
static const char *write_file(const char *text)
{
    static char path[sizeof(file_path)];
    memcpy(path, file_path, sizeof(path));
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return path;
}

static char *no_environment[] = {NULL};

/* argv without the program's name, NULL-terminated. */
static int read_with(struct config *c, struct err *e, char **environment, char **flags)
{
    char *argv[16] = {"igwd"};
    int argc = 1;
    while (*flags)
        argv[argc++] = *flags++;
    *e = (struct err){0};
    return config_read(argc, argv, environment, c, e);
}
#define READ(c, e, environment, ...) read_with((c), (e), (environment), (char *[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

TEST(defaults_are_those_of_the_documentation)
{
    struct config c;
    struct err e;
    CHECK_INT(READ(&c, &e, no_environment), 0);
    CHECK_INT(c.command, CONFIG_RUN);
    CHECK_STR(c.sockets[0], "/var/run/lsnr/lsnr.sock");
    CHECK_STR(c.sockets[1], "/var/lib/opensvc/lsnr/lsnr.sock");
    CHECK_INT(c.n_xds, 1);
    CHECK_STR(c.xds[0].address, "127.0.0.1:50051");
    CHECK(!c.xds[0].all && !c.xds[0].n_gateways && socket_address_is_local(&c.xds[0].at));
    CHECK_STR(c.gateway, "envoy");
    CHECK_INT(c.port_min, 1025);
    CHECK_INT(c.port_max, 65535);
    CHECK_INT(c.envoy_admin_port, 9901);
    CHECK_INT(c.max_status_bytes, 256 << 20);
    CHECK_INT(c.max_streams, 10000);
    CHECK_INT(c.agent_silence, 15 * CLOCK_NS_PER_S);
    CHECK_INT(c.gone_after, 60 * CLOCK_NS_PER_S);
    CHECK_INT(c.keep_gone, 24 * 3600 * CLOCK_NS_PER_S);
    CHECK_INT(c.envoy_seconds, 10);
    CHECK(!c.background);
    config_clear(&c);
}

TEST(flags_win_over_the_environment_over_the_file_over_defaults)
{
    const char *path = write_file("# a comment\n\nlog-level = error\nstate=/var/file\nname = filed\n");
    char *environment[] = {"IGWD_STATE=/var/environment", "IGWD_NAME=environed", "OTHER=1", NULL};
    struct config c;
    struct err e;
    CHECK_INT(READ(&c, &e, environment, "--config", (char *)path, "--gateway=flagged"), 0);
    CHECK_STR(c.gateway, "flagged");
    CHECK_STR(c.state_directory, "/var/environment");
    CHECK_INT(c.log_level, LOG_LEVEL_ERROR);
    config_clear(&c);
    unlink(path);
}

TEST(the_predecessors_options_and_variable_work)
{
    char *environment[] = {"OPENSVC_LSNR_SOCK=/run/old.sock", NULL};
    struct config c;
    struct err e;
    CHECK_INT(READ(&c, &e, environment, "--name", "gw", "--port", "50055", "--envoy-port", "9902", "--port-range",
                   "2000-3000"),
              0);
    CHECK_STR(c.sockets[0], "/run/old.sock");
    CHECK(c.sockets[1] == NULL);
    CHECK_STR(c.gateway, "gw");
    CHECK_STR(c.xds[0].address, "127.0.0.1:50055");
    CHECK_INT(c.envoy_admin_port, 9902);
    CHECK_INT(c.port_min, 2000);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, environment, "--sock", "/run/new.sock"), 0);
    CHECK_STR(c.sockets[0], "/run/new.sock");
    config_clear(&c);
}

TEST(xds_addresses_say_which_gateways_they_serve)
{
    struct config c;
    struct err e;
    CHECK_INT(READ(&c, &e, no_environment, "--xds", "unix:/run/igwd/xds.sock", "--xds", "127.0.0.1:1=a,b", "--xds",
                   "[::1]:2=*"),
              0);
    CHECK_INT(c.n_xds, 3);
    CHECK(c.xds[0].all && socket_address_is_local(&c.xds[0].at));
    CHECK_STR(c.xds[1].address, "127.0.0.1:1");
    CHECK_INT(c.xds[1].n_gateways, 2);
    CHECK_STR(c.xds[1].gateways[1], "b");
    CHECK(!c.xds[1].all && c.xds[2].all && socket_address_is_local(&c.xds[2].at));
    config_clear(&c);
}

TEST(a_daemon_is_made_read_only_by_flag_variable_and_file)
{
    char *environment[] = {"IGWD_READ_ONLY=yes", NULL};
    const char *path = write_file("read-only = true\n");
    struct config c;
    struct err e;
    CHECK_INT(READ(&c, &e, no_environment), 0);
    CHECK(!c.read_only);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, no_environment, "--read-only"), 0);
    CHECK(c.read_only);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, environment), 0);
    CHECK(c.read_only);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, no_environment, "--config", (char *)path), 0);
    CHECK(c.read_only);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, environment, "--config", (char *)path, "--read-only=no"), 0);
    CHECK(!c.read_only);
    config_clear(&c);
    unlink(path);
}

TEST(the_environment_separates_repeated_values_by_white_space)
{
    char *environment[] = {"IGWD_XDS=127.0.0.1:1 unix:/a", NULL};
    struct config c;
    struct err e;
    CHECK_INT(READ(&c, &e, environment), 0);
    CHECK_INT(c.n_xds, 2);
    config_clear(&c);
}

TEST(beyond_loopback_xds_wants_tls)
{
    struct config c;
    struct err e;
    CHECK_INT(READ(&c, &e, no_environment, "--xds", "0.0.0.0:50051"), -EINVAL);
    CHECK(strstr(e.text, "not on loopback"));
    config_clear(&c);
    CHECK_INT(READ(&c, &e, no_environment, "--xds", "10.0.0.1:1", "--xds-cert", "/c", "--xds-key", "/k",
                   "--xds-client-ca", "/a"),
              0);
    config_clear(&c);
}

TEST(settings_that_do_not_go_together_or_are_nothing_name_file_and_line)
{
    static const struct {
        const char *text, *words;
        unsigned line;
    } cases[] = {
        {"xds = 127.0.0.1:1\nxds = 10.0.0.1:2\n", "10.0.0.1:2 is not on loopback", 2},
        {"\nxds-key = /k\n", "go together", 2},
        {"api = unix:/a\napi = 127.0.0.1:1\n", "needs api-token-file", 2},
        {"api-token-file = /t\napi = 10.0.0.1:1\n", "is not on loopback", 2},
        {"\n\napi-client-ca = /c\n", "go together", 3},
        {"read-only =\n", "true or false is expected", 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *path = write_file(cases[i].text);
        struct config c;
        struct err e;
        char place[64];

        CHECK_INT(READ(&c, &e, no_environment, "--config", (char *)path), -EINVAL);
        (void)snprintf(place, sizeof(place), "%s:%u", path, cases[i].line);
        CHECK_STR(e.object, place);
        CHECK(strstr(e.text, cases[i].words));
        config_clear(&c);
        unlink(path);
    }
}

TEST(a_nul_byte_hides_nothing_of_the_file)
{
    static const char bytes[] = "log-level = info\nread-only = true\0xds = 127.0.0.1:1\n";
    const char *path = write_file("");
    FILE *f = fopen(path, "we");
    struct config c;
    struct err e;

    CHECK(f && fwrite(bytes, sizeof(bytes) - 1, 1, f) == 1 && fclose(f) == 0);
    CHECK_INT(READ(&c, &e, no_environment, "--config", (char *)path), -EINVAL);
    CHECK(strstr(e.object, ":2") && strstr(e.text, "NUL"));
    config_clear(&c);
    unlink(path);
}

TEST(an_unknown_setting_names_file_and_line)
{
    const char *path = write_file("log-level = info\n\nlog-levle = info\n");
    struct config c;
    struct err e;
    char place[64];
    CHECK_INT(READ(&c, &e, no_environment, "--config", (char *)path), -EINVAL);
    (void)snprintf(place, sizeof(place), "%s:3", path);
    CHECK_STR(e.object, place);
    CHECK(strstr(e.text, "log-levle"));
    config_clear(&c);
    unlink(path);
}

TEST(bad_values_name_their_place)
{
    static const struct {
        char *flag, *value;
    } bad[] = {{"--port", "0"},
               {"--port", "x"},
               {"--port", "-1"},
               {"--port", "65536"},
               {"--port-range", "9-1"},
               {"--port-range", "1"},
               {"--port-range", "1-2x"},
               {"--xds", "localhost:1"},
               {"--xds", "127.0.0.1"},
               {"--xds", "::1:5"},
               {"--xds", "unix:x"},
               {"--xds", "1.2.3.4:5="},
               {"--xds", "1.2.3.4:5=a b"},
               {"--gateway", "a b"},
               {"--gateway", ""},
               {"--agent", "relative"},
               {"--log-level", "loud"},
               {"--log-format", "xml"},
               {"--state", ""},
               {"--endpoint-networks", "10.0.0.0/33"},
               {"--max-status-size", "0"},
               {"--api", "127.0.0.1:1=x"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct config c;
        struct err e;
        if (READ(&c, &e, no_environment, bad[i].flag, bad[i].value) != -EINVAL)
            test_fail(__FILE__, __LINE__, "%s %s was taken", bad[i].flag, bad[i].value);
        CHECK_STR(e.object, bad[i].flag);
        config_clear(&c);
    }
}

TEST(unknown_options_variables_and_repeats_are_errors)
{
    struct config c;
    struct err e;
    char *environment[] = {"IGWD_COLOUR=1", NULL};
    CHECK_INT(READ(&c, &e, no_environment, "--colour"), -EINVAL);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, no_environment, "start"), -EINVAL);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, no_environment, "--state"), -EINVAL);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, no_environment, "--state", "/a", "--state", "/b"), -EINVAL);
    config_clear(&c);
    CHECK_INT(READ(&c, &e, environment), -EINVAL);
    CHECK_STR(e.object, "IGWD_COLOUR");
    config_clear(&c);
    CHECK_INT(READ(&c, &e, no_environment, "--config", "/nonexistent/file"), -ENOENT);
    config_clear(&c);
}

TEST(what_is_printed_reads_back_the_same)
{
    struct config c, again;
    struct err e;
    CHECK_INT(READ(&c, &e, no_environment, "--xds", "127.0.0.1:1=a", "--xds", "unix:/x", "--log-level", "debug",
                   "--endpoint-networks", "127.0.0.0/8,::1/128"),
              0);
    char *text = config_print(&c);
    CHECK(strstr(text, "# from --log-level\nlog-level = debug\n"));
    const char *path = write_file(text);
    CHECK_INT(READ(&again, &e, no_environment, "--config", (char *)path), 0);
    CHECK_INT(again.n_xds, 2);
    CHECK_INT(again.log_level, LOG_LEVEL_DEBUG);
    unlink(path);
    mem_free(text);
    config_clear(&c);
    config_clear(&again);
}

TEST(help_names_every_kind_of_setting)
{
    char *text = config_help();
    CHECK(strstr(text, "--agent") && strstr(text, "IGWD_NAME") && strstr(text, "bootstrap"));
    CHECK(strstr(text, "[also --sock]"));
    mem_free(text);
}
