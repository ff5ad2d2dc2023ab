/*
 * /metrics in Prometheus' text format 0.0.4: base units, _total for what only grows, one HELP and TYPE a name. Labels
 * are states and gateways, never objects that come and go by thousands; certificates are the exception, as their end
 * is what one wants to be woken for.
 */
#include "api/dispatch.h"
#include "api/objects.h"
#include "api/sessions.h"
#include "api/throttle.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A buffer that is full says so itself. */
#define PRINT(...) ((void)buf_printf(__VA_ARGS__))

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    PRINT(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct buf *b, const char *name, const char *help, double value)
{
    head(b, name, "gauge", help);
    PRINT(b, "%s %.17g\n", name, value);
}

/* {name="value"} with the escapes of the format. */
static void label(struct buf *b, const char *name, const char *value)
{
    PRINT(b, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            (void)buf_append_byte(b, '\\');
        if (*value == '\n')
            (void)buf_append_str(b, "\\n");
        else
            (void)buf_append_byte(b, (uint8_t)*value);
    }
    (void)buf_append_byte(b, '"');
}

static void write_state(struct call *c, struct buf *b)
{
    static const char *const names[] = {"accepted", "programmed", "endpoints", "certificate"};
    int64_t states[4][CONDITION_STATES] = {{0}}, up = 0, total = 0, exposures = 0;
    size_t n_alarms;

    exposures_expect_all(c);
    for (const struct service_exposure *sx = exposure_first(c->view, ""); sx; sx = exposure_next(c->view, sx)) {
        struct conditions all;
        exposure_conditions(c, sx, &all);
        const enum condition_state each[] = {all.accepted.state, all.programmed.state, all.endpoints.state,
                                             all.certificate.state};
        for (size_t i = 0; i < ARRAY_LEN(each); i++)
            states[i][each[i]]++;
        up += (int64_t)sx->n_up;
        total += (int64_t)sx->n_endpoints;
        exposures++;
    }
    (void)alarms_gather(c, ROLE_ADMIN, &n_alarms); /* how many is asked for here, which says nothing of any */
    gauge(b, "igwd_alarms", "Alarms that are not over.", (double)n_alarms);
    gauge(b, "igwd_config_revision", "Revision of the configuration.", (double)c->view->revision);
    gauge(b, "igwd_state_complete", "1 when there is a state to serve.", c->view->complete);
    gauge(b, "igwd_state_stale", "1 when the agent does not answer and the last known state is served.",
          c->view->stale);
    gauge(b, "igwd_services", "Services that declare something.", (double)pmap_count(c->view->services));
    gauge(b, "igwd_exposures", "Exposures that are declared.", (double)exposures);
    gauge(b, "igwd_endpoints", "Addresses of all exposures.", (double)total);
    gauge(b, "igwd_endpoints_up", "Those of them that get traffic.", (double)up);
    head(b, "igwd_exposure_conditions", "gauge", "Exposures by condition and its state.");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (size_t k = 0; k < CONDITION_STATES; k++)
            PRINT(b, "igwd_exposure_conditions{condition=\"%s\",state=\"%s\"} %lld\n", names[i],
                  condition_state_name((enum condition_state)k), (long long)states[i][k]);
}

static void write_certificates(struct call *c, struct buf *b)
{
    static const char name[] = "igwd_certificate_not_after_timestamp_seconds";

    head(b, name, "gauge", "When a certificate that is served ends.");
    for (const struct secret *s = pmap_after(c->view->secrets, &view_secrets, ""); s;
         s = pmap_after(c->view->secrets, &view_secrets, s->path)) {
        if (!s->has_pair)
            continue;
        PRINT(b, "%s{", name);
        label(b, "certificate", s->path);
        PRINT(b, "} %lld\n", (long long)s->info.not_after);
    }
}

/* Of each gateway and state: resources that the connected proxies asked for. */
static void write_resources(struct call *c, const struct api_proxy *proxies, size_t n, struct buf *b)
{
    static const char *const names[] = {"igwd_resources_requested", "igwd_resources_acked", "igwd_resources_nacked"};
    static const char *const helps[] = {"Resources that proxies asked for and have not acked in the current form.",
                                        "Resources that proxies acked in the current form.",
                                        "Resources that proxies refused, held back from them."};
    static const enum api_resource_state states[] = {API_REQUESTED, API_ACKED, API_NACKED};

    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
        head(b, names[k], "gauge", helps[k]);
        for (const struct gateway *g = pmap_after(c->view->gateways, &view_gateways, ""); g;
             g = pmap_after(c->view->gateways, &view_gateways, g->name)) {
            uint64_t sum = 0;
            for (size_t i = 0; i < n; i++)
                for (size_t t = 0; t < proxies[i].n_types && strcmp(proxies[i].gateway, g->name) == 0; t++)
                    sum += proxies[i].types[t].counts[states[k]];
            PRINT(b, "%s{", names[k]);
            label(b, "gateway", g->name);
            PRINT(b, "} %llu\n", (unsigned long long)sum);
        }
    }
}

static void write_presence(struct call *c, const char *name, const char *help, enum api_presence presence,
                           struct buf *b)
{
    head(b, name, "gauge", help);
    for (const struct gateway *g = pmap_after(c->view->gateways, &view_gateways, ""); g;
         g = pmap_after(c->view->gateways, &view_gateways, g->name)) {
        PRINT(b, "%s{", name);
        label(b, "gateway", g->name);
        PRINT(b, "} %lld\n", (long long)proxies_count(c, g->name, presence));
    }
}

static void write_proxies(struct call *c, struct buf *b)
{
    const struct api_proxy *proxies;
    size_t n;

    if (!c->backend->proxies)
        return;
    proxies = proxies_of(c, &n);
    write_presence(c, "igwd_proxies", "Connected proxies of each gateway.", API_CONNECTED, b);
    write_presence(c, "igwd_proxies_gone", "Proxies of each gateway that left and did not come back.", API_GONE, b);
    write_resources(c, proxies, n, b);
}

static void write_http(struct call *c, struct buf *b)
{
    static const char *const codes[] = {"cut_off", "1xx", "2xx", "3xx", "4xx", "5xx"};
    static const char seconds[] = "igwd_http_request_duration_seconds";
    struct http_counters n;

    if (!c->http)
        return;
    http_count(c->http, &n);
    gauge(b, "igwd_http_connections", "Open connections of the REST interface.", n.connections);
    gauge(b, "igwd_http_requests_in_flight", "Requests that are read, handled or answered now.", n.in_flight);
    gauge(b, "igwd_http_requests_waiting", "Those of them that wait for proxies (Prefer: wait).", n.waiting);
    gauge(b, "igwd_http_streams", "Streams of events that are being read.", n.streams);
    head(b, "igwd_http_connections_refused_total", "counter", "Connections above the limit.");
    PRINT(b, "igwd_http_connections_refused_total %llu\n", (unsigned long long)n.refused_connections);
    head(b, "igwd_http_requests_total", "counter", "Requests by their answer's class.");
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        PRINT(b, "igwd_http_requests_total{code=\"%s\"} %llu\n", codes[i], (unsigned long long)n.requests[i]);
    head(b, seconds, "histogram", "From the request line to the last byte of the answer.");
    for (size_t i = 0; i < HTTP_BUCKETS; i++)
        PRINT(b, "%s_bucket{le=\"%g\"} %llu\n", seconds, http_buckets[i], (unsigned long long)n.seconds_buckets[i]);
    PRINT(b, "%s_bucket{le=\"+Inf\"} %llu\n", seconds, (unsigned long long)n.seconds_buckets[HTTP_BUCKETS]);
    PRINT(b, "%s_sum %.6f\n%s_count %llu\n", seconds, n.seconds, seconds,
          (unsigned long long)n.seconds_buckets[HTTP_BUCKETS]);
}

static void write_access(struct call *c, struct buf *b)
{
    struct throttle_counters n;

    if (!c->dispatcher->sessions || !c->dispatcher->throttle)
        return;
    gauge(b, "igwd_sessions", "Browsers that are logged in.", (double)sessions_count(c->dispatcher->sessions));
    throttle_count(c->dispatcher->throttle, &n);
    head(b, "igwd_failed_logins_total", "counter", "Requests with a token or certificate that is not known.");
    PRINT(b, "igwd_failed_logins_total{answer=\"refused\"} %llu\n", (unsigned long long)n.failed);
    PRINT(b, "igwd_failed_logins_total{answer=\"throttled\"} %llu\n", (unsigned long long)n.throttled);
}

static size_t count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    if (!d)
        return 0;
    while (readdir(d)) /* NOLINT(concurrency-mt-unsafe): the stream is this thread's own */
        n++;
    closedir(d);
    return n > 3 ? n - 3 : 0; /* without ".", ".." and the directory itself */
}

static void write_process(struct buf *b)
{
    struct rusage usage;
    char line[128] = "";
    FILE *f = fopen("/proc/self/statm", "re");

    if (f && fgets(line, sizeof(line), f)) {
        char *second = NULL;
        (void)strtoul(line, &second, 10); /* the first number is the address space */
        gauge(b, "process_resident_memory_bytes", "Resident memory.",
              (double)strtoul(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE));
    }
    if (f)
        (void)fclose(f); /* it was only read */
    gauge(b, "process_open_fds", "Open file descriptors.", (double)count_descriptors());
    if (getrusage(RUSAGE_SELF, &usage))
        return;
    head(b, "process_cpu_seconds_total", "counter", "CPU time, user and system.");
    PRINT(b, "process_cpu_seconds_total %.6f\n",
          (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
              (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

void metrics_write(struct call *c, struct buf *b)
{
    head(b, "igwd_build_info", "gauge", "The program's version.");
    (void)buf_append_str(b, "igwd_build_info{");
    label(b, "version", c->version);
    (void)buf_append_str(b, "} 1\n");
    write_state(c, b);
    write_certificates(c, b);
    write_proxies(c, b);
    write_http(c, b);
    write_access(c, b);
    write_process(b);
}
