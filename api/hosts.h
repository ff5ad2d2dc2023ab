/*
 * Which names a browser may call this interface by. A page from elsewhere can have its own name point at this machine
 * (DNS rebinding), and would then be of the same origin as the interface; its Host field gives it away. Pure.
 */
#ifndef API_HOSTS_H
#define API_HOSTS_H

#include "base/mem.h"

#include <stdbool.h>

enum { HOSTS_MAX = 32, HOST_NAME_MAX_LENGTH = 255 };

struct hosts;

/* names: with a port or without, which does not count; those of this machine's loopback are allowed in any case. */
struct hosts *hosts_new(const char *const *names, size_t n);
void hosts_free(struct hosts *h); /* NULL is allowed */
/* field: of a request ("igwd.example.com:8001", "[::1]"). local: the address that the connection came to, which is
 * allowed too ("10.0.0.1:8001"); NULL: it is not known. */
bool hosts_allow(const struct hosts *h, const char *field, const char *local);
/* The authority of a target in absolute form ("http://host:80/a"), in the arena; NULL: it has none. */
const char *hosts_of_target(const char *target, struct arena *arena);

#endif
