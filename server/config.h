/*
 * The daemon's settings: flags over environment (IGWD_*) over a configuration file over defaults, from one table.
 * An unknown setting or a bad value is an error that names where it stands (flag, variable, or file and line).
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/socket_address.h"
#include "store/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONFIG_VALUES_MAX = 32 /* of a repeatable setting */ };

/* An address to serve at, with the gateways that may be had there. */
struct config_address {
    const char *address;         /* "127.0.0.1:50051", "[::1]:50051", "unix:/run/igwd/xds.sock" */
    const char *const *gateways; /* empty and not all: the default gateway alone */
    size_t n_gateways;
    bool all;
    struct socket_address at; /* what address says */
};

enum config_command {
    CONFIG_RUN,
    CONFIG_BOOTSTRAP,
    CONFIG_BACKUP,
    CONFIG_RESTORE,
    CONFIG_TOKEN,
    CONFIG_READY,
    CONFIG_CHECK,
    CONFIG_PRINT,
    CONFIG_HELP,
    CONFIG_VERSION
};

enum { CONFIG_WORDS_MAX = 3 };

struct config {
    enum config_command command;
    const char *words[CONFIG_WORDS_MAX]; /* behind the command, as many as it takes; borrowed from argv */
    const char *sockets[3];              /* of the agent, tried in order; ends with NULL */
    struct config_address *xds, *api;
    size_t n_xds, n_api;
    const char *xds_certificate_file, *xds_key_file, *xds_client_ca_file; /* NULL when not set */
    const char *api_group, *api_token_file;                               /* likewise */
    const char *api_tls_certificate_file, *api_tls_key_file, *api_client_ca_file;
    const char *const *api_hosts;
    size_t n_api_hosts;
    const char *state_directory;
    const char *key_file; /* NULL: in the state directory */
    const char *gateway;  /* the default gateway; NULL: off */
    uint16_t port_min, port_max;
    uint16_t envoy_admin_port;
    struct network_list *endpoint_networks; /* NULL: none */
    const char *envoy_binary;               /* that is asked about dry runs; NULL: none is */
    unsigned envoy_seconds;                 /* that it has for each configuration */
    uint64_t max_status_bytes;
    clock_ns agent_silence; /* 0: it may be silent for ever */
    size_t max_streams;
    clock_ns keep_gone, gone_after; /* of proxies that left; keep_gone 0: nobody is remembered */
    bool read_only;
    enum log_level log_level;
    enum log_format log_format;
    bool background;
    /* of `igwd bootstrap` */
    const char *bootstrap_gateway; /* NULL: the default gateway */
    const char *node_id, *node_cluster, *admin, *tls_name;
    bool state_of_the_world;
    const char *expires;          /* of `igwd token create`: when, as it was typed; NULL: never */
    struct config_source *source; /* owns all texts */
};

/*
 * Reads all sources. environment: the process's (NULL-terminated). Free with config_clear(), also after an error.
 * -EINVAL, -ENOENT (the named file), with the place in e.
 */
int config_read(int argc, char *const *argv, char *const *environment, struct config *ret_config, struct err *e);
void config_clear(struct config *c);

/* Whether the gateway's Envoys may come to that address of xds; beyond loopback their certificates say. */
bool config_serves(const struct config *c, const struct config_address *a, const char *gateway);
/* The first that serves the gateway, or NULL. */
const struct config_address *config_xds_of(const struct config *c, const char *gateway);
/*
 * Likewise, for `igwd bootstrap`, which knows no flags of the daemon's: where the file and the environment name no
 * address, it is its own first one, --xds or the default. -ENOENT: they do, and none serves the gateway.
 */
int config_xds_for(const struct config *c, const char *gateway, const struct config_address **ret, struct err *e);

/* For --help and --print-config; mem_free() the text. The latter says where each value came from. */
char *config_help(void);
char *config_print(const struct config *c);

#endif
