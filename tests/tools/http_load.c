/*
 * Asks an HTTP server the same over and over, on several connections at once, each of which asks again as soon as it
 * has its answer. For writes, which have to differ: where ^^^^ stands in the request (once), it becomes the
 * connection's number from 0000 on, and ~~~~~~~~ the number of the request.
 *
 *     http_load SOCKET CONNECTIONS SECONDS STATUS REQUEST-FILE
 *
 * Prints {"requests", "seconds", "p50", "p99", "max": in seconds, "bytes": of all answers, "fields", "content": of
 * the first}. An answer with another status, or a connection that ends, ends the program with 1.
 */
#include "base/clock.h"
#include "tests/tools/read_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, EVENTS = 64, PART = 256 << 10 };

static const char mark_connection[] = "^^^^", mark_request[] = "~~~~~~~~";

struct connection {
    int fd;
    clock_ns asked;
    size_t missing; /* bytes of the content; the head is there */
    bool has_head;
    struct buf got;
};

struct load {
    struct buf request;
    uint8_t *own, *number; /* where the marks stand in it; NULL: nowhere */
    uint64_t asked;
    unsigned status;
    int epoll;
    struct connection connections[CONNECTIONS_MAX];
    size_t n;
    struct buf times; /* clock_ns of each request */
    uint64_t bytes;
    char *fields, *content; /* of the first answer */
};

static void end(const char *why, const char *what)
{
    (void)fprintf(stderr, "http_load: %s %.1000s\n", why, what);
    exit(1);
}

/* n digits. */
static void write_number(uint8_t *at, size_t n, uint64_t number)
{
    for (; at && n > 0; number /= 10)
        at[--n] = (uint8_t)('0' + number % 10);
}

static void ask(struct load *l, struct connection *c)
{
    write_number(l->own, strlen(mark_connection), (uint64_t)(c - l->connections));
    write_number(l->number, strlen(mark_request), l->asked++);
    c->asked = clock_now(NULL);
    c->has_head = false;
    buf_reset(&c->got);
    if (send(c->fd, l->request.data, l->request.len, MSG_NOSIGNAL) != (ssize_t)l->request.len)
        end("can't send", strerrordesc_np(errno));
}

static void connect_one(struct load *l, const char *path)
{
    struct connection *c = &l->connections[l->n++];
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    buf_init(&c->got, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&name, sizeof(name)) ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event))
        end("can't connect to", path);
    ask(l, c);
}

/* Once the head is there as a whole. */
static void read_head(struct load *l, struct connection *c)
{
    const char *text = buf_cstr(&c->got), *stop = strstr(text, "\r\n\r\n");

    if (!stop)
        return;
    const char *length = strstr(text, "Content-Length: ");
    size_t content = length && length < stop ? strtoul(length + strlen("Content-Length: "), NULL, 10) : 0;
    size_t head = (size_t)(stop - text) + 4;
    if (strtoul(text + strlen("HTTP/1.1 "), NULL, 10) != l->status)
        end("another status:", text);
    c->has_head = true;
    c->missing = head + content - c->got.len;
    l->bytes += head + content;
    if (!l->fields)
        l->fields = mem_strndup(text, head);
}

static void take(struct load *l, struct connection *c)
{
    static char part[PART];
    ssize_t n = recv(c->fd, part, sizeof(part), 0);

    if (n <= 0)
        end("a connection ended:", n ? strerrordesc_np(errno) : "closed");
    if (c->has_head && l->content) {
        c->missing -= (size_t)n; /* what the others hold is what the first one did */
    } else {
        if (buf_append(&c->got, part, (size_t)n))
            end("too large", "");
        if (c->has_head)
            c->missing -= (size_t)n;
        else
            read_head(l, c);
    }
    if (!c->has_head || c->missing)
        return;
    if (!l->content)
        l->content = mem_strdup(buf_cstr(&c->got) + strlen(l->fields));
    clock_ns took = clock_now(NULL) - c->asked;
    if (buf_append(&l->times, &took, sizeof(took)))
        end("too many", "");
    ask(l, c);
}

static int compare(const void *a, const void *b)
{
    const clock_ns *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void print_text(const char *key, const char *text)
{
    struct buf b;

    buf_init(&b, 0);
    if (buf_json_string(&b, text, strlen(text)))
        end("too large", "");
    (void)printf(", \"%s\": %s", key, buf_cstr(&b));
    buf_clear(&b);
}

static void report(struct load *l, clock_ns took)
{
    clock_ns *times = (clock_ns *)(void *)l->times.data;
    size_t n = l->times.len / sizeof(*times);

    if (!n)
        end("not one answer came", "");
    qsort(times, n, sizeof(*times), compare);
    const clock_ns p50 = times[n / 2], p99 = times[n - 1 - n / 100];
    (void)printf(
        "{\"requests\": %zu, \"seconds\": %.6f, \"p50\": %.9f, \"p99\": %.9f, \"max\": %.9f, \"bytes\": %llu", n,
        (double)took / 1e9, (double)p50 / 1e9, (double)p99 / 1e9, (double)times[n - 1] / 1e9,
        (unsigned long long)l->bytes);
    print_text("fields", l->fields);
    print_text("content", l->content);
    (void)puts("}");
}

int main(int argc, char **argv)
{
    static struct load l;

    if (argc != 6)
        end("SOCKET CONNECTIONS SECONDS STATUS REQUEST-FILE are expected", "");
    size_t n = strtoul(argv[2], NULL, 10);
    clock_ns duration = (clock_ns)(strtod(argv[3], NULL) * 1e9);
    l.status = (unsigned)strtoul(argv[4], NULL, 10);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    buf_init(&l.times, 0);
    if (read_file(argv[5], &l.request) < 0)
        end("can't read", argv[5]);
    l.own = (uint8_t *)(uintptr_t)strstr(buf_cstr(&l.request), mark_connection);
    l.number = (uint8_t *)(uintptr_t)strstr(buf_cstr(&l.request), mark_request);
    clock_ns begin = clock_now(NULL);
    for (size_t i = 0; i < n && i < CONNECTIONS_MAX; i++)
        connect_one(&l, argv[1]);
    clock_ns now;
    while ((now = clock_now(NULL)) < begin + duration) {
        struct epoll_event events[EVENTS];
        int found = epoll_wait(l.epoll, events, EVENTS, 1000);
        for (int i = 0; i < found; i++)
            take(&l, events[i].data.ptr);
    }
    report(&l, now - begin);
    return 0;
}
