/*
 * What the HTTP library itself costs: it answers every request with the same bytes from memory, and nothing else is
 * done. The benchmark compares the REST interface with it.
 *
 *     http_floor SOCKET STATUS FIELDS-FILE CONTENT-FILE
 *
 * FIELDS-FILE has a header field a line. Prints "ready" as JSON once it listens, and ends when standard input does.
 * The library is set up as the daemon does it; the one response is made once, which is the best that it can do.
 */
#include "tests/tools/read_file.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { THREADS = 5, BACKLOG = 511, CONNECTIONS = 620, CONNECTION_MEMORY = 40 << 10 };

struct answer {
    unsigned status;
    struct MHD_Response *response;
};

static void end(const char *why)
{
    (void)fprintf(stderr, "http_floor: %s\n", why);
    exit(1);
}

static void add_fields(struct MHD_Response *r, char *text)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *colon = strstr(line, ": ");
        if (!colon)
            end("a field has no colon");
        *colon = '\0';
        if (MHD_add_response_header(r, line, colon + 2) != MHD_YES)
            end("a field was refused");
    }
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *data, size_t *size, void **context)
{
    struct answer *a = arg;

    (void)url, (void)method, (void)version, (void)data, (void)size; /* all get the same */
    if (!*context) {
        *context = a; /* the header fields are there; the answer comes with the next call */
        return MHD_YES;
    }
    return MHD_queue_response(connection, a->status, a->response);
}

static int listen_at(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&name, sizeof(name)) || listen(fd, BACKLOG))
        end("can't listen");
    return fd;
}

int main(int argc, char **argv)
{
    struct buf fields, content;
    struct answer a;

    if (argc != 5)
        end("SOCKET STATUS FIELDS-FILE CONTENT-FILE are expected");
    a.status = (unsigned)strtoul(argv[2], NULL, 10);
    if (read_file(argv[3], &fields) < 0 || read_file(argv[4], &content) < 0)
        end("can't read a file");
    a.response = MHD_create_response_from_buffer(content.len, content.data, MHD_RESPMEM_PERSISTENT);
    if (!a.response || !buf_cstr(&fields))
        end("no response can be made");
    add_fields(a.response, (char *)fields.data);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_access, &a, MHD_OPTION_LISTEN_SOCKET, listen_at(argv[1]),
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
    if (!daemon)
        end("the library does not start");
    (void)puts("\"ready\"");
    (void)fflush(stdout);
    while (getchar() != EOF) {
    }
    MHD_stop_daemon(daemon);
    MHD_destroy_response(a.response);
    buf_clear(&fields);
    buf_clear(&content);
    return 0;
}
