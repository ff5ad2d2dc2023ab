/*
 * What the store costs: a first fetch, a fetch that brings nothing new, an endpoint that flips, and a start.
 *
 *     store_bench DIRECTORY [SERVICES [ENDPOINTS [FLIPS]]]
 *
 * DIRECTORY must not exist yet; it is left behind with the state.
 */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { ENDPOINTS_MAX = 100 };

static size_t services = 10000, endpoints = 10, flips = 20000;

static double cpu(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    char line[256] = "";
    char *second;

    if (f) {
        if (!fgets(line, sizeof(line), f))
            line[0] = '\0';
        fclose(f);
    }
    second = strchr(line, ' ');
    return second ? strtol(second, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

/* One endpoint of the service may be down. Without a store the facts are made for nothing: to be subtracted. */
static void put(struct store *s, size_t service, size_t down)
{
    static const char *const exposes[] = {"expose#0"};
    char path[64], info[128], texts[ENDPOINTS_MAX][20], nodes[ENDPOINTS_MAX][16];
    struct fact_address addresses[ENDPOINTS_MAX];
    const struct fact_resource resource = {"expose#0", "expose.envoy", info};
    const struct facts f = {path, &resource, 1, addresses, endpoints, NULL};

    snprintf(path, sizeof(path), "test/svc/web%05zu", service);
    snprintf(info, sizeof(info),
             "{\"lb_policy\":\"round robin\",\"listener_port\":%zu,\"port\":80,\"protocol\":\"tcp\"}",
             1025 + service % 60000);
    for (size_t i = 0; i < endpoints; i++) {
        snprintf(texts[i], sizeof(texts[i]), "10.%zu.%zu.%zu", service >> 8 & 255, service & 255, i + 1);
        snprintf(nodes[i], sizeof(nodes[i]), "node%zu", i);
        addresses[i] =
            (struct fact_address){nodes[i], path, "ip#1", texts[i], i != down, i != down ? "up" : "down", exposes, 1};
    }
    if (s)
        store_put_facts(s, &f);
}

static void fetch(struct store *s)
{
    store_sync_begin(s);
    for (size_t i = 0; i < services; i++)
        put(s, i, SIZE_MAX);
    store_sync_end(s);
    view_delta_free(store_commit(s, "fetch"));
}

static struct store *open_store(const char *directory)
{
    const struct store_options options = {
        .directory = directory, .default_gateway = "envoy", .port_min = 1025, .port_max = 65535};
    struct store *s;
    struct err e = {0};
    char text[512];

    if (store_open(&options, &s, &e) < 0) {
        fprintf(stderr, "%s\n", err_format(&e, text, sizeof(text)));
        exit(EXIT_FAILURE);
    }
    return s;
}

int main(int argc, char **argv)
{
    double start, wall;
    struct store *s;

    if (argc < 2)
        return EXIT_FAILURE;
    services = argc > 2 ? strtoul(argv[2], NULL, 10) : services;
    endpoints = argc > 3 ? strtoul(argv[3], NULL, 10) : endpoints;
    flips = argc > 4 ? strtoul(argv[4], NULL, 10) : flips;
    if (endpoints > ENDPOINTS_MAX || services == 0)
        return EXIT_FAILURE;
    s = open_store(argv[1]);
    start = cpu(CLOCK_PROCESS_CPUTIME_ID);
    wall = cpu(CLOCK_MONOTONIC);
    fetch(s);
    printf("first fetch      %8.1f ms CPU %8.1f ms\n", (cpu(CLOCK_PROCESS_CPUTIME_ID) - start) * 1e3,
           (cpu(CLOCK_MONOTONIC) - wall) * 1e3);
    start = cpu(CLOCK_PROCESS_CPUTIME_ID);
    fetch(s);
    printf("the same again   %8.1f ms CPU\n", (cpu(CLOCK_PROCESS_CPUTIME_ID) - start) * 1e3);
    start = cpu(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < flips; i++)
        put(NULL, i, 0);
    printf("making facts     %8.1f us CPU\n", (cpu(CLOCK_PROCESS_CPUTIME_ID) - start) * 1e6 / (double)flips);
    start = cpu(CLOCK_PROCESS_CPUTIME_ID);
    wall = cpu(CLOCK_MONOTONIC);
    for (size_t i = 0; i < flips; i++) {
        put(s, i * 7919 % services, i / services % 2 ? SIZE_MAX : 0);
        view_delta_free(store_commit(s, "flip"));
    }
    printf("a flip           %8.1f us CPU %8.1f us\n", (cpu(CLOCK_PROCESS_CPUTIME_ID) - start) * 1e6 / (double)flips,
           (cpu(CLOCK_MONOTONIC) - wall) * 1e6 / (double)flips);
    store_close(s);
    start = cpu(CLOCK_PROCESS_CPUTIME_ID);
    wall = cpu(CLOCK_MONOTONIC);
    s = open_store(argv[1]);
    printf("start            %8.1f ms CPU %8.1f ms\n", (cpu(CLOCK_PROCESS_CPUTIME_ID) - start) * 1e3,
           (cpu(CLOCK_MONOTONIC) - wall) * 1e3);
    printf("resident         %8ld KiB\n", resident_kib());
    store_close(s);
    return EXIT_SUCCESS;
}
