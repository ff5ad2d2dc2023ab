/*
 * Settings: one table says everything of each (name, alias, variable, default, help, how it is taken in); a value is
 * kept as text with its place first, so that precedence and error messages are the same for all of them, and is taken
 * into struct config in a second pass.
 *
 * Invariant: a source of higher precedence replaces all values that a lower one gave for the same setting.
 */
#include "server/config.h"

#include "base/buf.h"
#include "base/mem.h"
#include "server/envoy_check.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONFIG_FILE_MAX = 1 << 20,
    PORT_DEFAULT = 50051,
};

#define CONFIG_FILE_DEFAULT "/etc/igwd/igwd.conf"

enum rank { RANK_DEFAULT, RANK_FILE, RANK_ENVIRONMENT, RANK_FLAG };

struct value {
    const char *text;
    const char *place; /* "--xds", "IGWD_XDS", "/etc/igwd/igwd.conf:3", "default" */
};

struct setting {
    const char *name;
    const char *alias;       /* the predecessor's option, or NULL */
    const char *environment; /* a variable besides IGWD_NAME, of lower precedence; or NULL */
    const char *metavar;     /* NULL: a switch */
    const char *fallback;    /* default, as text, taken as if it had been set; NULL: none */
    bool repeatable;
    bool flag_only;
    int (*take)(struct config *c, const struct value *values, size_t n, struct err *e);
    const char *help;
};

struct source_slot {
    struct value values[CONFIG_VALUES_MAX];
    size_t n;
    enum rank rank;
};

struct config_source {
    struct arena *arena;
    struct source_slot *slots; /* one a setting */
};

static int bad(struct err *e, const struct value *v, const char *what)
{
    return err_set(e, -EINVAL, v->place, NULL, "\"%s\": %s", v->text, what);
}

static int parse_number(const struct value *v, uint64_t min, uint64_t max, uint64_t *ret, struct err *e)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(v->text, &end, 10);
    if (errno || end == v->text || *end || v->text[0] == '-' || n < min || n > max)
        return err_set(e, -EINVAL, v->place, NULL, "\"%s\": a number from %llu to %llu is expected", v->text,
                       (unsigned long long)min, (unsigned long long)max);
    *ret = n;
    return 0;
}

static int parse_bool(const struct value *v, bool *ret, struct err *e)
{
    static const char *const yes[] = {"true", "yes", "1", "on"}, *const no[] = {"false", "no", "0", "off"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (strcasecmp(v->text, yes[i]) == 0)
            return *ret = true, 0;
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (strcasecmp(v->text, no[i]) == 0)
            return *ret = false, 0;
    return bad(e, v, "true or false is expected");
}

static bool name_is_good(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n && n <= 64 && !s[n];
}

/* ---- addresses ---- */

/* Splits "a,b" in place into names. */
static int parse_gateways(struct arena *arena, const struct value *v, char *list, struct config_address *a,
                          struct err *e)
{
    const char **names = arena_array(arena, const char *, CONFIG_VALUES_MAX);
    char *save = NULL;
    for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
        if (strcmp(name, "*") == 0) {
            a->all = true;
            continue;
        }
        if (!name_is_good(name))
            return bad(e, v, "a gateway's name has 1 to 64 of A-Z a-z 0-9 . _ -");
        if (a->n_gateways == CONFIG_VALUES_MAX)
            return bad(e, v, "too many gateways");
        names[a->n_gateways++] = name;
    }
    a->gateways = names;
    return 0;
}

static int parse_address(struct arena *arena, const struct value *v, bool gateways, struct config_address *ret,
                         struct err *e)
{
    struct config_address a = {0};
    struct err problem = {0};
    char *text = arena_strdup(arena, v->text);
    char *equals = gateways ? strrchr(text, '=') : NULL;
    if (equals)
        *equals = '\0';
    a.address = text;
    if (socket_address_parse(text, &a.at, &problem))
        return bad(e, v, problem.text);
    if (!a.at.path[0] && !a.at.port)
        return bad(e, v, "a port between 1 and 65535 is expected");
    a.all = gateways && !equals && a.at.path[0];
    if (equals) {
        int r = parse_gateways(arena, v, equals + 1, &a, e);
        if (r)
            return r;
        if (!a.all && !a.n_gateways)
            return bad(e, v, "a gateway is expected behind =");
    }
    *ret = a;
    return 0;
}

/* ---- taking in ---- */

static int take_config(struct config *c, const struct value *v, size_t n, struct err *e)
{
    (void)c, (void)v, (void)n, (void)e; /* read before all others: see read_file_setting() */
    return 0;
}

static int take_agent(struct config *c, const struct value *v, size_t n, struct err *e)
{
    if (!n)
        return 0;
    if (v[0].text[0] != '/' || strlen(v[0].text) > 100)
        return bad(e, &v[0], "an absolute path of at most 100 bytes is expected");
    c->sockets[0] = v[0].text;
    c->sockets[1] = NULL;
    return 0;
}

static int take_addresses(struct config *c, const struct value *v, size_t n, bool gateways,
                          struct config_address **ret, size_t *ret_n, struct err *e)
{
    struct config_address *list = arena_array(c->source->arena, struct config_address, CONFIG_VALUES_MAX);
    for (size_t i = 0; i < n; i++) {
        int r = parse_address(c->source->arena, &v[i], gateways, &list[i], e);
        if (r)
            return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

static int take_xds(struct config *c, const struct value *v, size_t n, struct err *e)
{
    return take_addresses(c, v, n, true, &c->xds, &c->n_xds, e);
}

/* The predecessor's --port: only where no --xds says more. */
static int take_xds_port(struct config *c, const struct value *v, size_t n, struct err *e)
{
    uint64_t port = PORT_DEFAULT;
    int r = n ? parse_number(&v[0], 1, 65535, &port, e) : 0;
    if (r || c->n_xds)
        return r;
    c->xds = arena_array(c->source->arena, struct config_address, 1);
    c->xds[0].address = arena_printf(c->source->arena, "127.0.0.1:%u", (unsigned)port);
    r = socket_address_parse(c->xds[0].address, &c->xds[0].at, e);
    assert(r == 0);
    c->n_xds = 1;
    return 0;
}

static int take_api(struct config *c, const struct value *v, size_t n, struct err *e)
{
    return take_addresses(c, v, n, false, &c->api, &c->n_api, e);
}

/* Settings that are plain texts go through one function each, as the table wants functions. */
#define TAKE_TEXT(function, member)                                                                                  \
    static int function(struct config *c, const struct value *v, size_t n, struct err *e)                            \
    {                                                                                                                \
        if (n && !v[0].text[0])                                                                                      \
            return bad(e, &v[0], "a text is expected");                                                              \
        c->member = n ? v[0].text : NULL;                                                                            \
        return 0;                                                                                                    \
    }
TAKE_TEXT(take_xds_certificate, xds_certificate_file)
TAKE_TEXT(take_xds_key, xds_key_file)
TAKE_TEXT(take_xds_client_ca, xds_client_ca_file)
TAKE_TEXT(take_api_group, api_group)
TAKE_TEXT(take_api_token_file, api_token_file)
TAKE_TEXT(take_api_tls_certificate, api_tls_certificate_file)
TAKE_TEXT(take_api_tls_key, api_tls_key_file)
TAKE_TEXT(take_api_client_ca, api_client_ca_file)
TAKE_TEXT(take_state, state_directory)
TAKE_TEXT(take_key_file, key_file)
TAKE_TEXT(take_envoy_binary, envoy_binary)
TAKE_TEXT(take_node_id, node_id)
TAKE_TEXT(take_node_cluster, node_cluster)
TAKE_TEXT(take_admin, admin)
TAKE_TEXT(take_tls_name, tls_name)
TAKE_TEXT(take_expires, expires)

static int take_api_hosts(struct config *c, const struct value *v, size_t n, struct err *e)
{
    const char **hosts = arena_array(c->source->arena, const char *, n + 1);

    for (size_t i = 0; i < n; i++) {
        if (!v[i].text[0] || strpbrk(v[i].text, "/@ \t"))
            return bad(e, &v[i], "a name or an address is expected, as it stands in a URL");
        hosts[i] = v[i].text;
    }
    c->api_hosts = hosts;
    c->n_api_hosts = n;
    return 0;
}

static int take_gateway(struct config *c, const struct value *v, size_t n, struct err *e)
{
    if (!n || strcmp(v[0].text, "none") == 0)
        return 0;
    if (!name_is_good(v[0].text))
        return bad(e, &v[0], "a gateway's name has 1 to 64 of A-Z a-z 0-9 . _ -; \"none\" turns the default off");
    c->gateway = v[0].text;
    return 0;
}

static int take_port_range(struct config *c, const struct value *v, size_t n, struct err *e)
{
    if (!n)
        return 0;
    char *dash, *end;
    unsigned long min = strtoul(v[0].text, &dash, 10), max = *dash == '-' ? strtoul(dash + 1, &end, 10) : 0;
    if (dash == v[0].text || *dash != '-' || end == dash + 1 || *end || min < 1 || max > 65535 || min > max)
        return bad(e, &v[0], "FIRST-LAST is expected, from 1 to 65535");
    c->port_min = (uint16_t)min;
    c->port_max = (uint16_t)max;
    return 0;
}

static int take_envoy_admin_port(struct config *c, const struct value *v, size_t n, struct err *e)
{
    uint64_t port = 0;
    int r = n ? parse_number(&v[0], 1, 65535, &port, e) : 0;
    c->envoy_admin_port = (uint16_t)port;
    return r;
}

static int take_endpoint_networks(struct config *c, const struct value *v, size_t n, struct err *e)
{
    if (!n)
        return 0;
    int r = network_list_parse(v[0].text, &c->endpoint_networks, e);
    if (r)
        err_set_object(e, v[0].place);
    return r;
}

static int take_max_status(struct config *c, const struct value *v, size_t n, struct err *e)
{
    uint64_t mebibytes = 0;
    int r = n ? parse_number(&v[0], 1, 65536, &mebibytes, e) : 0;
    c->max_status_bytes = mebibytes << 20;
    return r;
}

/* Up to an hour. */
static int take_seconds(const struct value *v, size_t n, clock_ns *ret, struct err *e)
{
    uint64_t seconds = 0;
    int r = n ? parse_number(&v[0], 0, 3600, &seconds, e) : 0;

    *ret = (clock_ns)seconds * CLOCK_NS_PER_S;
    return r;
}

static int take_agent_silence(struct config *c, const struct value *v, size_t n, struct err *e)
{
    return take_seconds(v, n, &c->agent_silence, e);
}

static int take_envoy_seconds(struct config *c, const struct value *v, size_t n, struct err *e)
{
    uint64_t seconds = 0;
    int r = n ? parse_number(&v[0], 1, ENVOY_CHECK_SECONDS_MAX, &seconds, e) : 0;

    c->envoy_seconds = (unsigned)seconds;
    return r;
}

static int take_max_streams(struct config *c, const struct value *v, size_t n, struct err *e)
{
    uint64_t streams = 0;
    int r = n ? parse_number(&v[0], 1, 1000000, &streams, e) : 0;
    c->max_streams = streams;
    return r;
}

static int take_gone_after(struct config *c, const struct value *v, size_t n, struct err *e)
{
    return take_seconds(v, n, &c->gone_after, e);
}

static int take_keep_gone(struct config *c, const struct value *v, size_t n, struct err *e)
{
    uint64_t hours = 0;
    int r = n ? parse_number(&v[0], 0, 8760, &hours, e) : 0;

    c->keep_gone = (clock_ns)hours * 3600 * CLOCK_NS_PER_S;
    return r;
}

static int take_log_level(struct config *c, const struct value *v, size_t n, struct err *e)
{
    if (n && log_level_parse(v[0].text, &c->log_level))
        return bad(e, &v[0], "error, warning, notice, info or debug is expected");
    return 0;
}

static int take_log_format(struct config *c, const struct value *v, size_t n, struct err *e)
{
    if (n && log_format_parse(v[0].text, &c->log_format))
        return bad(e, &v[0], "auto, logfmt or json is expected");
    return 0;
}

static int take_read_only(struct config *c, const struct value *v, size_t n, struct err *e)
{
    return n ? parse_bool(&v[0], &c->read_only, e) : 0;
}

static int take_background(struct config *c, const struct value *v, size_t n, struct err *e)
{
    return n ? parse_bool(&v[0], &c->background, e) : 0;
}

static int take_state_of_the_world(struct config *c, const struct value *v, size_t n, struct err *e)
{
    return n ? parse_bool(&v[0], &c->state_of_the_world, e) : 0;
}

/* In the order of --help; "config" first, "xds" before "port". */
static const struct setting settings[] = {
    {.name = "config",
     .metavar = "FILE",
     .take = take_config,
     .help = "configuration file: NAME = VALUE lines (" CONFIG_FILE_DEFAULT ", if it exists)"},
    {.name = "agent",
     .alias = "sock",
     .environment = "OPENSVC_LSNR_SOCK",
     .metavar = "PATH",
     .take = take_agent,
     .help = "the OpenSVC agent's socket (/var/run/lsnr/lsnr.sock, then /var/lib/opensvc/lsnr/lsnr.sock)"},
    {.name = "xds",
     .metavar = "ADDR[=GATEWAY,..]",
     .repeatable = true,
     .take = take_xds,
     .help = "serve xDS at 127.0.0.1:50051, [::1]:PORT or unix:/PATH, to these gateways (* for all); default: "
             "loopback TCP serves the default gateway, a unix socket all"},
    {.name = "port", .metavar = "PORT", .take = take_xds_port, .help = "short for --xds 127.0.0.1:PORT (50051)"},
    {.name = "xds-cert",
     .metavar = "FILE",
     .take = take_xds_certificate,
     .help = "certificate chain for xDS beyond loopback; with --xds-key and --xds-client-ca"},
    {.name = "xds-key", .metavar = "FILE", .take = take_xds_key, .help = "its private key"},
    {.name = "xds-client-ca",
     .metavar = "FILE",
     .take = take_xds_client_ca,
     .help = "authorities of the client certificates, whose names are the gateways they may have"},
    {.name = "api",
     .metavar = "ADDR",
     .repeatable = true,
     .take = take_api,
     .help = "serve the REST interface at unix:/PATH, or at ADDRESS:PORT or [IPV6]:PORT with --api-token-file"},
    {.name = "api-group",
     .metavar = "GROUP",
     .take = take_api_group,
     .help = "members of this group may use its unix sockets, beside root and the daemon's user"},
    {.name = "api-token-file",
     .metavar = "FILE",
     .take = take_api_token_file,
     .help = "NAME ROLE SHA256 lines: the tokens of its TCP callers, known by their digests (mode 0600)"},
    {.name = "api-tls-certificate",
     .metavar = "FILE",
     .take = take_api_tls_certificate,
     .help =
         "certificate chain (PEM): its TCP addresses speak TLS, and may be beyond loopback; read again at SIGHUP"},
    {.name = "api-tls-key", .metavar = "FILE", .take = take_api_tls_key, .help = "its private key"},
    {.name = "api-client-ca",
     .metavar = "FILE",
     .take = take_api_client_ca,
     .help = "authorities of client certificates, whose common names have roles in --api-token-file (NAME ROLE "
             "certificate)"},
    {.name = "api-host",
     .metavar = "NAME",
     .repeatable = true,
     .take = take_api_hosts,
     .help = "a name that its TCP callers may use, beside its addresses, localhost and the machine's name"},
    {.name = "state", .metavar = "DIR", .fallback = "/var/lib/igwd", .take = take_state, .help = "state directory"},
    {.name = "key-file",
     .metavar = "FILE",
     .take = take_key_file,
     .help =
         "key that encrypts private keys at rest (systemd credential igwd.key, else DIR/key, made at first start)"},
    {.name = "gateway",
     .alias = "name",
     .metavar = "NAME",
     .fallback = "envoy",
     .take = take_gateway,
     .help = "the default gateway, of exposures and proxies that name none; none: there is no default"},
    {.name = "port-range",
     .metavar = "A-B",
     .fallback = "1025-65535",
     .take = take_port_range,
     .help = "listener ports are allocated from this range"},
    {.name = "envoy-admin-port",
     .alias = "envoy-port",
     .metavar = "PORT",
     .fallback = "9901",
     .take = take_envoy_admin_port,
     .help = "Envoy's admin port, which is never allocated"},
    {.name = "envoy-binary",
     .metavar = "FILE",
     .take = take_envoy_binary,
     .help = "ask this Envoy too about dry runs of administrators, in a sandbox (needs Linux's user namespaces)"},
    {.name = "envoy-seconds",
     .metavar = "SECONDS",
     .fallback = "10",
     .take = take_envoy_seconds,
     .help = "for its answer about a gateway's configuration, 1 to 20; past them a dry run says that there is none"},
    {.name = "endpoint-networks",
     .metavar = "CIDR,..",
     .take = take_endpoint_networks,
     .help = "allow endpoints in these loopback, link-local, unspecified or multicast networks"},
    {.name = "max-status-size",
     .metavar = "MIB",
     .fallback = "256",
     .take = take_max_status,
     .help = "largest answer of the agent that is read"},
    {.name = "agent-silence",
     .metavar = "SECONDS",
     .fallback = "15",
     .take = take_agent_silence,
     .help = "without an event, after which the agent is asked whether it is alive; 0: never"},
    {.name = "max-streams",
     .metavar = "N",
     .fallback = "10000",
     .take = take_max_streams,
     .help = "xDS streams at the same time"},
    {.name = "gone-after",
     .metavar = "SECONDS",
     .fallback = "60",
     .take = take_gone_after,
     .help = "that an Envoy which was connected may be away (to be started anew) before that is an alarm"},
    {.name = "keep-gone",
     .metavar = "HOURS",
     .fallback = "24",
     .take = take_keep_gone,
     .help = "that an Envoy which is gone is remembered, unless it comes back; 0: none is"},
    {.name = "read-only",
     .take = take_read_only,
     .help = "take no edits and allocate no ports: another daemon of the same cluster does"},
    {.name = "log-level",
     .metavar = "LEVEL",
     .fallback = "info",
     .take = take_log_level,
     .help = "error, warning, notice, info, debug"},
    {.name = "log-format",
     .metavar = "FORMAT",
     .fallback = "auto",
     .take = take_log_format,
     .help = "logfmt, json; auto: logfmt, with priorities for journald under systemd"},
    {.name = "background", .take = take_background, .help = "go to the background once ready"},
    {.name = "node-id",
     .metavar = "ID",
     .flag_only = true,
     .take = take_node_id,
     .help = "bootstrap: the node's id (the host's name)"},
    {.name = "node-cluster",
     .metavar = "NAME",
     .flag_only = true,
     .take = take_node_cluster,
     .help = "bootstrap: the node's cluster (the gateway's name)"},
    {.name = "admin",
     .metavar = "ADDR",
     .flag_only = true,
     .take = take_admin,
     .help = "bootstrap: Envoy's admin address (127.0.0.1:9901)"},
    {.name = "tls-name",
     .metavar = "NAME",
     .flag_only = true,
     .take = take_tls_name,
     .help = "bootstrap: the name or address in igwd's certificate (the host of --xds)"},
    {.name = "state-of-the-world",
     .flag_only = true,
     .take = take_state_of_the_world,
     .help = "bootstrap: use the state-of-the-world variant (default: incremental)"},
    {.name = "expires",
     .metavar = "WHEN",
     .flag_only = true,
     .take = take_expires,
     .help = "token create: after 90d, 12h, 6w; or at 2027-01-31, 2027-01-31T12:00:00Z (never)"},
};

static const struct {
    const char *name;
    enum config_command command;
    unsigned n_words;
    const char *expected;
} commands[] = {{"run", CONFIG_RUN},
                {"bootstrap", CONFIG_BOOTSTRAP},
                {"backup", CONFIG_BACKUP, 1, "DIRECTORY"},
                {"restore", CONFIG_RESTORE, 1, "DIRECTORY"},
                {"token", CONFIG_TOKEN, 3, "create NAME ROLE [--expires WHEN]"},
                {"ready", CONFIG_READY},
                {"--check-config", CONFIG_CHECK},
                {"--print-config", CONFIG_PRINT},
                {"--help", CONFIG_HELP},
                {"-h", CONFIG_HELP},
                {"--version", CONFIG_VERSION}};

/* ---- reading ---- */

static int setting_index(const char *name, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const char *names[] = {settings[i].name, settings[i].alias};
        for (size_t j = 0; j < ARRAY_LEN(names); j++)
            if (names[j] && strlen(names[j]) == n && memcmp(names[j], name, n) == 0)
                return (int)i;
    }
    return -1;
}

static int add_value(struct config *c, int index, enum rank rank, const char *text, const char *place, struct err *e)
{
    struct source_slot *slot = &c->source->slots[index];
    const struct setting *s = &settings[index];
    if (rank > slot->rank) {
        slot->rank = rank;
        slot->n = 0;
    } else if (rank < slot->rank) {
        return 0;
    }
    if (slot->n && !s->repeatable)
        return err_set(e, -EINVAL, place, NULL, "%s is set twice", s->name);
    if (slot->n == CONFIG_VALUES_MAX)
        return err_set(e, -EINVAL, place, NULL, "%s is set more than %d times", s->name, CONFIG_VALUES_MAX);
    slot->values[slot->n++] =
        (struct value){.text = arena_strdup(c->source->arena, text), .place = arena_strdup(c->source->arena, place)};
    return 0;
}

static int read_line(struct config *c, char *line, const char *path, unsigned number, struct err *e)
{
    const char *place = arena_printf(c->source->arena, "%s:%u", path, number);
    char *start = line + strspn(line, " \t");
    size_t n = strlen(start);
    while (n && strchr(" \t\r", start[n - 1]))
        start[--n] = '\0';
    if (!n || *start == '#' || *start == ';')
        return 0;
    size_t name = strcspn(start, " \t=");
    char *value = start + name + strspn(start + name, " \t");
    if (*value != '=')
        return err_set(e, -EINVAL, place, NULL, "NAME = VALUE is expected");
    value++;
    value += strspn(value, " \t");
    int index = setting_index(start, name);
    if (index < 0 || settings[index].flag_only || strcmp(settings[index].name, "config") == 0)
        return err_set(e, -EINVAL, place, NULL, "unknown setting \"%.*s\"", (int)name, start);
    return add_value(c, index, RANK_FILE, value, place, e);
}

static int read_file(struct config *c, const char *path, bool must_exist, struct err *e)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT && !must_exist
                   ? 0
                   : err_set(e, -errno, path, NULL, "can't be read: %s", strerrordesc_np(errno));
    int r = 0;
    size_t size = 0, total = 0;
    char *line = NULL;
    ssize_t n;
    for (unsigned number = 1; !r && (n = getline(&line, &size, f)) >= 0; number++) {
        total += (size_t)n;
        if (n && line[n - 1] == '\n')
            line[--n] = '\0';
        r = strlen(line) < (size_t)n
                ? err_set(e, -EINVAL, arena_printf(c->source->arena, "%s:%u", path, number), NULL, "a NUL byte")
            : total > CONFIG_FILE_MAX ? err_set(e, -EFBIG, path, NULL, "larger than %d bytes", CONFIG_FILE_MAX)
                                      : read_line(c, line, path, number, e);
    }
    if (!r && ferror(f))
        r = err_set(e, -EIO, path, NULL, "can't be read");
    mem_free(line);
    (void)fclose(f); /* it was only read */
    return r;
}

static int find_command(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, word) == 0)
            return (int)i;
    return -1;
}

/* What stands behind a command; *i comes to the last of it. */
static int read_words(struct config *c, int command, int argc, char *const *argv, int *i, struct err *e)
{
    c->command = commands[command].command;
    for (unsigned n = 0; n < commands[command].n_words; n++) {
        if (++*i == argc || argv[*i][0] == '-')
            return err_set(e, -EINVAL, commands[command].name, NULL, "%s is expected", commands[command].expected);
        c->words[n] = argv[*i];
    }
    return 0;
}

static int read_flags(struct config *c, int argc, char *const *argv, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        int command = find_command(argv[i]);
        if (command >= 0) {
            int r = read_words(c, command, argc, argv, &i, e);
            if (r)
                return r;
            continue;
        }
        if (strncmp(argv[i], "--", 2) != 0)
            return err_set(e, -EINVAL, argv[i], NULL, "unknown command; see igwd --help");
        const char *name = argv[i] + 2;
        size_t n = strcspn(name, "=");
        int index = setting_index(name, n);
        if (index < 0)
            return err_set(e, -EINVAL, argv[i], NULL, "unknown option; see igwd --help");
        const char *place = arena_printf(c->source->arena, "--%.*s", (int)n, name);
        const char *value = "true"; /* of a switch */
        if (name[n] == '=')
            value = name + n + 1;
        else if (settings[index].metavar && ++i == argc)
            return err_set(e, -EINVAL, place, NULL, "%s is expected", settings[index].metavar);
        else if (settings[index].metavar)
            value = argv[i];
        int r = add_value(c, index, RANK_FLAG, value, place, e);
        if (r)
            return r;
    }
    return 0;
}

/* IGWD_LOG_LEVEL -> log-level; true if it names one. */
static int environment_index(const char *variable, size_t n)
{
    char name[64];
    if (n < 6 || n >= sizeof(name) || strncmp(variable, "IGWD_", 5) != 0)
        return -1;
    for (size_t i = 5; i < n; i++) {
        char ch = variable[i];
        name[i - 5] = ch == '_' ? '-' : (char)(ch >= 'A' && ch <= 'Z' ? ch - 'A' + 'a' : ch);
    }
    return setting_index(name, n - 5);
}

/* A repeatable setting takes several values from its variable, separated by white space. */
static int add_environment(struct config *c, int index, const char *place, const char *text, struct err *e)
{
    if (!settings[index].repeatable)
        return add_value(c, index, RANK_ENVIRONMENT, text, place, e);
    char *copy = arena_strdup(c->source->arena, text);
    char *save = NULL;
    int r = 0;
    for (char *word = strtok_r(copy, " \t\n", &save); word && !r; word = strtok_r(NULL, " \t\n", &save))
        r = add_value(c, index, RANK_ENVIRONMENT, word, place, e);
    return r;
}

static int read_environment(struct config *c, char *const *environment, struct err *e)
{
    for (char *const *variable = environment; variable && *variable; variable++) {
        size_t n = strcspn(*variable, "=");
        if ((*variable)[n] != '=' || strncmp(*variable, "IGWD_", 5) != 0)
            continue;
        const char *place = arena_strndup(c->source->arena, *variable, n);
        int index = environment_index(*variable, n);
        if (index < 0 || settings[index].flag_only)
            return err_set(e, -EINVAL, place, NULL, "unknown setting; see igwd --help");
        int r = add_environment(c, index, place, *variable + n + 1, e);
        if (r)
            return r;
    }
    return 0;
}

static const char *variable_value(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (char *const *variable = environment; variable && *variable; variable++)
        if (strncmp(*variable, name, n) == 0 && (*variable)[n] == '=')
            return *variable + n + 1;
    return NULL;
}

/* The predecessor's variables, and the defaults, for what nobody set. */
static int fill_in(struct config *c, char *const *environment, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        if (c->source->slots[i].n)
            continue;
        const char *value = s->environment ? variable_value(environment, s->environment) : NULL;
        int r = value ? add_value(c, (int)i, RANK_ENVIRONMENT, value, s->environment, e) : 0;
        if (!r && !c->source->slots[i].n && s->fallback)
            r = add_value(c, (int)i, RANK_DEFAULT, s->fallback, "default", e);
        if (r)
            return r;
    }
    const char *credentials = variable_value(environment, "CREDENTIALS_DIRECTORY");
    int key = setting_index("key-file", strlen("key-file"));
    if (!credentials || c->source->slots[key].n)
        return 0;
    const char *path = arena_printf(c->source->arena, "%s/igwd.key", credentials);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    (void)fclose(f); /* it was only looked for */
    return add_value(c, key, RANK_ENVIRONMENT, path, "CREDENTIALS_DIRECTORY", e);
}

/* Where the i-th value of a setting stands. */
static const char *place_of(const struct config *c, const char *name, size_t i)
{
    const struct source_slot *slot = &c->source->slots[setting_index(name, strlen(name))];
    return i < slot->n ? slot->values[i].place : name;
}

/* Where the first of them that is set stands. */
static const char *first_place_of(const struct config *c, const char *const *names)
{
    while (names[1] && place_of(c, *names, 0) == *names)
        names++;
    return place_of(c, *names, 0);
}

static int check_api(const struct config *c, struct err *e)
{
    static const char *const tls[] = {"api-tls-certificate", "api-tls-key", "api-client-ca", NULL};
    if (!c->api_tls_certificate_file != !c->api_tls_key_file || (c->api_client_ca_file && !c->api_tls_key_file))
        return err_set(e, -EINVAL, first_place_of(c, tls), NULL,
                       "api-tls-certificate and api-tls-key go together, and api-client-ca needs them");
    for (size_t i = 0; i < c->n_api; i++) {
        if (!socket_address_is_local(&c->api[i].at) && !c->api_tls_certificate_file)
            return err_set(e, -EINVAL, place_of(c, "api", i), NULL,
                           "%s is not on loopback: it needs api-tls-certificate and api-tls-key", c->api[i].address);
        if (!c->api[i].at.path[0] && !c->api_token_file)
            return err_set(e, -EINVAL, place_of(c, "api", i), NULL, "%s is TCP: it needs api-token-file",
                           c->api[i].address);
    }
    return 0;
}

static int check_together(struct config *c, struct err *e)
{
    if (c->command == CONFIG_READY)
        return 0; /* who asks needs not what who serves needs */
    static const char *const tls[] = {"xds-cert", "xds-key", "xds-client-ca", NULL};
    bool any = c->xds_certificate_file || c->xds_key_file || c->xds_client_ca_file;
    bool all = c->xds_certificate_file && c->xds_key_file && c->xds_client_ca_file;
    if (any && !all)
        return err_set(e, -EINVAL, first_place_of(c, tls), NULL, "xds-cert, xds-key and xds-client-ca go together");
    for (size_t i = 0; i < c->n_xds; i++)
        if (!socket_address_is_local(&c->xds[i].at) && !all)
            return err_set(e, -EINVAL, place_of(c, "xds", i), NULL,
                           "%s is not on loopback: it needs xds-cert, xds-key and xds-client-ca", c->xds[i].address);
    return check_api(c, e);
}

/* A flag of `igwd bootstrap` says for which gateway; which one is the default stands in the other sources. */
static int take_bootstrap_gateway(struct config *c, struct err *e)
{
    struct source_slot *slot = &c->source->slots[setting_index("gateway", strlen("gateway"))];

    if (!slot->n)
        return 0;
    if (!name_is_good(slot->values[0].text))
        return bad(e, &slot->values[0], "a gateway's name has 1 to 64 of A-Z a-z 0-9 . _ -");
    c->bootstrap_gateway = slot->values[0].text;
    *slot = (struct source_slot){0};
    return 0;
}

int config_read(int argc, char *const *argv, char *const *environment, struct config *ret_config, struct err *e)
{
    struct config *c = ret_config;
    *c = (struct config){.sockets = {"/var/run/lsnr/lsnr.sock", "/var/lib/opensvc/lsnr/lsnr.sock"},
                         .log_level = LOG_LEVEL_INFO};
    c->source = mem_new(struct config_source);
    c->source->arena = arena_new();
    c->source->slots = mem_array(struct source_slot, ARRAY_LEN(settings));
    int r = read_flags(c, argc, argv, e);
    if (r || c->command == CONFIG_HELP || c->command == CONFIG_VERSION)
        return r;
    r = c->command == CONFIG_BOOTSTRAP ? take_bootstrap_gateway(c, e) : 0;
    if (!r)
        r = read_environment(c, environment, e);
    if (r)
        return r;
    const struct source_slot *file = &c->source->slots[0];
    r = read_file(c, file->n ? file->values[0].text : CONFIG_FILE_DEFAULT, file->n > 0, e);
    if (!r)
        r = fill_in(c, environment, e);
    for (size_t i = 0; !r && i < ARRAY_LEN(settings); i++)
        r = settings[i].take(c, c->source->slots[i].values, c->source->slots[i].n, e);
    return r ? r : check_together(c, e);
}

bool config_serves(const struct config *c, const struct config_address *a, const char *gateway)
{
    if (a->all || !socket_address_is_local(&a->at))
        return true;
    for (size_t i = 0; i < a->n_gateways; i++)
        if (strcmp(a->gateways[i], gateway) == 0)
            return true;
    return !a->n_gateways && c->gateway && strcmp(c->gateway, gateway) == 0;
}

const struct config_address *config_xds_of(const struct config *c, const char *gateway)
{
    for (size_t i = 0; i < c->n_xds; i++)
        if (config_serves(c, &c->xds[i], gateway))
            return &c->xds[i];
    return NULL;
}

int config_xds_for(const struct config *c, const char *gateway, const struct config_address **ret, struct err *e)
{
    const struct source_slot *slot = &c->source->slots[setting_index("xds", strlen("xds"))];
    const struct config_address *a = config_xds_of(c, gateway);

    if (!a && slot->n && slot->rank != RANK_FLAG)
        return err_set(e, -ENOENT, slot->values[0].place, NULL, "no xDS address serves the gateway \"%s\"", gateway);
    *ret = a ? a : &c->xds[0];
    return 0;
}

void config_clear(struct config *c)
{
    network_list_free(c->endpoint_networks);
    if (c->source) {
        arena_free(c->source->arena);
        mem_free(c->source->slots);
        mem_free(c->source);
    }
    *c = (struct config){0};
}

/* ---- showing ---- */

/* Appends text, broken at spaces before column 100, each further line indented. */
static void append_wrapped(struct buf *b, const char *text, int indent)
{
    int column = indent;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (column + n > 100) {
            (void)buf_printf(b, "\n%*s", indent, ""); /* a help text can't reach a buffer's limit */
            column = indent;
        }
        (void)buf_printf(b, "%.*s%s", n, text, text[n] ? " " : "");
        column += n + 1;
        text += n + (text[n] ? 1 : 0);
    }
}

char *config_help(void)
{
    struct buf b;
    buf_init(&b, 0);
    (void)buf_append_str(&b,
                         "igwd - ingress gateway manager for OpenSVC clusters: makes Envoys serve what services "
                         "expose\n\n"
                         "usage: igwd [run] [OPTION...]       run the daemon, in the foreground\n"
                         "       igwd bootstrap [OPTION...]   print an Envoy bootstrap for --gateway, from --xds\n"
                         "       igwd token create NAME ROLE  make a token over the REST interface (--api); ROLE is "
                         "viewer,\n"
                         "                                    admin or operator=GATEWAY,...\n"
                         "       igwd ready [OPTION...]       ask the daemon at --api whether it has a state to "
                         "serve\n"
                         "       igwd backup DIRECTORY        copy what people made out of --state, while igwd runs\n"
                         "       igwd restore DIRECTORY       put a backup back into --state, while it does not\n"
                         "       igwd validate ENVOY          hand the bootstrap on standard input to an Envoy in a "
                         "sandbox\n"
                         "       igwd --check-config | --print-config | --help | --version\n\n"
                         "Settings: flags, over IGWD_NAME in the environment, over NAME = VALUE in the "
                         "configuration file.\n\n");
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        char left[80];
        (void)snprintf(left, sizeof(left), "--%s %s", s->name, s->metavar ? s->metavar : "");
        (void)buf_printf(&b, "  %-30s ", left);
        append_wrapped(&b, s->help, 33);
        if (s->fallback)
            (void)buf_printf(&b, " (%s)", s->fallback);
        if (s->alias)
            (void)buf_printf(&b, " [also --%s]", s->alias);
        (void)buf_append_str(&b, s->repeatable ? " [repeatable]\n" : "\n");
    }
    return buf_take(&b, NULL);
}

char *config_print(const struct config *c)
{
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct source_slot *slot = &c->source->slots[i];
        if (settings[i].flag_only || i == 0)
            continue;
        for (size_t j = 0; j < slot->n; j++)
            (void)buf_printf(&b, "# from %s\n%s = %s\n", slot->values[j].place, settings[i].name,
                             slot->values[j].text);
        if (!slot->n)
            (void)buf_printf(&b, "# %s is not set\n", settings[i].name);
    }
    return buf_take(&b, NULL);
}
