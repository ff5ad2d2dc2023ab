/*
 * For which gateway a resource is made, and where it is said what had to be left out. Passed down to the parts of a
 * translation.
 */
#ifndef PROTO_SCOPE_H
#define PROTO_SCOPE_H

#include "proto/faults.h"

#include "store/view.h"

struct translate_scope {
    const struct gateway *gateway; /* what it allows, and what its resources start from */
    struct faults *faults;
    struct fault_origin place; /* of what is made; its faults were begun */
};

#endif
