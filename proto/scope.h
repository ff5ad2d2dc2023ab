/*
 * For whom a translation is made, and who is told what had to be left out. Passed down to the parts of a translation.
 */
#ifndef PROTO_SCOPE_H
#define PROTO_SCOPE_H

#include "base/err.h"

#include <stdbool.h>

/* What passed-through JSON and routes may do beyond the usual (store/view.h: struct gateway). */
struct translate_policy {
    bool allow_files, allow_cluster_header;
};

/* Something that had to be left out: told to whoever asked for the translation. */
typedef void (*translate_problem)(void *arg, const char *gateway, const char *owner, const struct err *e);

struct translate_scope {
    const char *gateway;
    struct translate_policy policy;
    translate_problem problem;
    void *arg;
};

static inline void scope_problem(const struct translate_scope *s, const char *owner, const struct err *e)
{
    s->problem(s->arg, s->gateway, owner, e);
}

#endif
