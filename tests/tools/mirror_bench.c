/*
 * What the mirror costs, in CPU time: reading a daemon_status (bytes, megabytes a second, bytes an instance, most
 * memory), taking all facts, events that are noise, and one address that flips. For `make bench` and by hand:
 *
 *     mirror_bench STATUS.json
 */
#include "base/buf.h"
#include "base/clock.h"
#include "server/mirror.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { PIECE = 1 << 16, NOISE_ROUNDS = 200000, FLIP_ROUNDS = 20000 };

/* CPU time: others may be busy on the machine. */
static clock_ns cpu_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * CLOCK_NS_PER_S + t.tv_nsec;
}

static double seconds(clock_ns from)
{
    return (double)(cpu_now() - from) / 1e9;
}

static void fail(const char *what, const struct err *e)
{
    char text[ERR_OBJECT_MAX + ERR_FIELD_MAX + ERR_TEXT_MAX];

    fprintf(stderr, "mirror_bench: %s: %s\n", what, err_format(e, text, sizeof(text)));
    exit(EXIT_FAILURE);
}

/* Reads from the file as from a socket: in pieces, nothing is kept. */
static uint64_t fetch(struct mirror *m, const char *path)
{
    static char piece[PIECE];
    struct err e = {0};
    uint64_t total = 0;
    FILE *f = fopen(path, "r");
    size_t n;

    if (!f) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    mirror_status_begin(m);
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0) {
        if (mirror_status_feed(m, piece, n, &e) < 0)
            fail(path, &e);
        total += n;
    }
    fclose(f);
    if (mirror_status_end(m, true, &e) < 0)
        fail(path, &e);
    return total;
}

struct taken {
    size_t services, addresses;
    char *path, *node, *instance, *rid; /* of the last address */
};

static struct taken take(struct mirror *m)
{
    struct taken t = {0};
    struct facts f;
    bool gone;

    while (mirror_next_touched(m, &f, &gone)) {
        t.services++;
        t.addresses += f.n_addresses;
        if (!f.n_addresses || t.path)
            continue;
        t.path = mem_strdup(f.path);
        t.node = mem_strdup(f.addresses[0].node);
        t.instance = mem_strdup(f.addresses[0].instance);
        t.rid = mem_strdup(f.addresses[0].rid);
    }
    return t;
}

static void measure_status(struct mirror *m, const char *path, struct taken *ret_taken)
{
    struct mallinfo2 before = mallinfo2(), after;
    clock_ns start = cpu_now();
    uint64_t bytes = fetch(m, path);
    double took = seconds(start);
    struct mirror_stats s = mirror_stats(m);
    struct rusage usage;

    after = mallinfo2();
    getrusage(RUSAGE_SELF, &usage);
    printf("status_mb %.1f\nstatus_s %.3f\nstatus_mb_per_s %.0f\n", (double)bytes / 1e6, took,
           (double)bytes / 1e6 / took);
    printf("instances %zu\nbytes_per_instance %.0f\npeak_rss_mb %.1f\n", s.instances,
           (double)(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / (double)s.instances,
           (double)usage.ru_maxrss / 1e3);
    start = cpu_now();
    *ret_taken = take(m);
    took = seconds(start);
    printf("services %zu\naddresses %zu\nfacts_s %.3f\n", ret_taken->services, ret_taken->addresses, took);
    start = cpu_now();
    fetch(m, path);
    printf("status_again_s %.3f\n", seconds(start));
    printf("touched_again %zu\n", take(m).services);
    getrusage(RUSAGE_SELF, &usage);
    printf("peak_rss_again_mb %.1f\n", (double)usage.ru_maxrss / 1e3);
}

static void measure_noise(struct mirror *m)
{
    static const char data[] = "\"ts\": 1795390359.4547205, \"data\": [[[\"listener\", \"stats\", \"sessions\", "
                               "\"accepted\"], 36], [[\"listener\", "
                               "\"stats\", \"sessions\", \"alive\", \"a04af28c-6413-43a0-86b2-94b846135d50\"], "
                               "{\"created\": 1795390359.4544113, "
                               "\"addr\": \"local\", \"encrypted\": false, \"progress\": \"init\", \"ident\": "
                               "140145932347072}], [[\"listener\", "
                               "\"stats\", \"sessions\", \"clients\", \"local\", \"accepted\"], 36]]}";
    struct err e = {0};
    clock_ns start = cpu_now();

    mirror_follow(m);
    for (int i = 0; i < NOISE_ROUNDS; i++) {
        char message[512];
        int n = snprintf(message, sizeof(message), "{\"kind\": \"patch\", \"id\": %d, %s", i + 1, data);

        if (mirror_event(m, message, (size_t)n, &e) != MIRROR_NOISE)
            fail("noise", &e);
    }
    printf("noise_ns_per_event %.0f\n", seconds(start) * 1e9 / NOISE_ROUNDS);
}

static void measure_flips(struct mirror *m, const struct taken *t)
{
    struct err e = {0};
    clock_ns start = cpu_now();
    size_t touched = 0;

    mirror_follow(m);
    for (int i = 0; i < FLIP_ROUNDS; i++) {
        struct buf b = {0};
        struct taken now;

        buf_printf(&b,
                   "{\"kind\": \"patch\", \"id\": %d, \"ts\": 1.5, \"data\": [[[\"monitor\", \"nodes\", \"%s\", "
                   "\"services\", "
                   "\"status\", \"%s\", \"resources\", \"%s\", \"status\"], \"%s\"]]}",
                   i + 1, t->node, t->instance, t->rid, i % 2 ? "up" : "down");
        if (mirror_event(m, (char *)b.data, b.len, &e) != MIRROR_APPLIED)
            fail("flip", &e);
        buf_clear(&b);
        now = take(m);
        touched += now.services;
    }
    printf("flip_ns_per_event %.0f\nflip_touched %zu\n", seconds(start) * 1e9 / FLIP_ROUNDS, touched);
}

int main(int argc, char **argv)
{
    struct mirror *m = mirror_new(0);
    struct taken t;

    if (argc != 2) {
        fprintf(stderr, "usage: mirror_bench STATUS.json\n");
        return EXIT_FAILURE;
    }
    measure_status(m, argv[1], &t);
    measure_noise(m);
    if (t.path)
        measure_flips(m, &t);
    mirror_free(m);
    return EXIT_SUCCESS;
}
