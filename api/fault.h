/*
 * Errors for clients: problem documents (RFC 9457) that list all faults at once, each with the place it stands at.
 */
#ifndef API_FAULT_H
#define API_FAULT_H

#include "api/http.h"

enum { FAULTS_MAX = 64 /* told of one request */ };

enum fault_place { FAULT_POINTER, FAULT_PARAMETER, FAULT_HEADER };

struct fault {
    enum fault_place place;
    const char *name; /* "#/vhosts/0/routes/2/match_regex", "limit", "If-None-Match" */
    const char *code; /* "unknown", "invalid", "duplicate", ... */
    const char *detail;
};

struct fault_list {
    struct fault *items; /* in the arena */
    size_t n;
    struct arena *arena; /* of the texts */
};

/* Past FAULTS_MAX nothing is added: who mends those sees the rest. */
void fault_add(struct fault_list *l, enum fault_place place, const char *name, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Where a member stands (RFC 6901: "~" and "/" of its name are escaped): "#/headers" and "a/b" give "#/headers/a~1b".
 * In the arena. */
const char *fault_pointer(struct arena *arena, const char *place, const char *member);

/* Makes the answer a problem: what it held before is dropped, header fields stay. faults may be NULL. */
void fault_answer(struct http_answer *a, const char *request_id, unsigned status, const char *detail,
                  const struct fault_list *faults);

#endif
