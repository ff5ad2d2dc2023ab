/*
 * For tests of the mirror: what came of it as text, and the recording of a real agent.
 */
#ifndef TESTS_UNIT_MIRROR_HELP_H
#define TESTS_UNIT_MIRROR_HELP_H

#include "base/buf.h"
#include "base/map.h"
#include "server/mirror.h"

#include <jansson.h>

/* The services as a store would have them after taking everything that was touched. */
struct picture {
    struct map services; /* struct pictured by path */
    size_t taken, gone;  /* by the last picture_take() */
};

/* Takes what the mirror touched. */
void picture_take(struct picture *p, struct mirror *m);
void picture_clear(struct picture *p);
/* All of it, sorted, one fact a line; mem_free() it. */
char *picture_text(const struct picture *p);
/* Of one service, "" when it is not there; borrowed. */
const char *picture_service(const struct picture *p, const char *path);

/* What a mirror that is fed this data set makes of it; mem_free() it. */
char *text_of_status(const char *json, size_t n);

/* Feeds a whole status; the result of mirror_status_end(m, false). */
int feed_status(struct mirror *m, const char *json, size_t n, struct err *e);
/* Feeds it to a new mirror, which must take it. */
struct mirror *mirror_of(const char *json);

/* A large status as an agent writes it, a kilobyte an instance; mem_free() it. */
char *large_status_text(unsigned services, unsigned nodes, size_t *ret_n);

/* One line of the recording. */
struct recorded {
    char *text; /* the event, or the answer, byte for byte */
    size_t n;
    bool is_event;
    char *action;     /* of the request */
    char *path, *key; /* of its options, or NULL */
};
struct recording {
    struct recorded *items;
    size_t n;
};
struct recording recording_load(void);
void recording_free(struct recording *r);
/* The last answer to daemon_status. */
const struct recorded *recording_last_status(const struct recording *r);
/* A file's bytes with a NUL behind. */
char *file_text(const char *path, size_t *ret_n);

#endif
