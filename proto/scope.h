/*
 * Under which policy a resource is made, and where it is said what had to be left out. Passed down to the parts of a
 * translation.
 */
#ifndef PROTO_SCOPE_H
#define PROTO_SCOPE_H

#include "proto/faults.h"

#include <stdbool.h>

/* What passed-through JSON and routes may do beyond the usual (store/view.h: struct gateway). */
struct translate_policy {
    bool allow_files, allow_cluster_header;
};

struct translate_scope {
    struct translate_policy policy;
    struct faults *faults;
    struct fault_origin place; /* of what is made; its faults were begun */
};

#endif
