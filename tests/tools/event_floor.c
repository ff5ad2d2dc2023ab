/*
 * What it costs to be told of events at all: subscribes to the agent's and reads them, and does nothing with them. A
 * process that sleeps and is woken up for each event can't cost less. The benchmark compares igwd with it.
 *
 *     event_floor SOCKET
 *
 * Prints "ready" as JSON once it has subscribed, and ends with the agent, or by a signal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PIECE = 1 << 16 };

static const char subscribe[] = "{\"action\":\"events\",\"options\":{}}"; /* with its NUL */

int main(int argc, char **argv)
{
    static char piece[PIECE];
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (argc != 2) {
        (void)fprintf(stderr, "event_floor: SOCKET is expected\n");
        return EXIT_FAILURE;
    }
    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", argv[1]);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&name, sizeof(name)) ||
        send(fd, subscribe, sizeof(subscribe), MSG_NOSIGNAL) != (ssize_t)sizeof(subscribe)) {
        (void)fprintf(stderr, "event_floor: can't subscribe\n");
        return EXIT_FAILURE;
    }
    (void)puts("\"ready\"");
    (void)fflush(stdout);
    while (recv(fd, piece, sizeof(piece), 0) > 0) {
    }
    return EXIT_SUCCESS;
}
