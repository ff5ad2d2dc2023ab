/*
 * JSON Patch (RFC 6902) with JSON pointers (RFC 6901): application/json-patch+json. Pure.
 *
 * A patch is applied as a whole or not at all. What grows by copying is bounded: values in all, and depth.
 */
#ifndef API_JSON_PATCH_H
#define API_JSON_PATCH_H

#include "base/err.h"

#include <jansson.h>

enum { JSON_PATCH_OPERATIONS_MAX = 1000, JSON_PATCH_VALUES_MAX = 200000, JSON_PATCH_DEPTH_MAX = 64 };

/*
 * A new document; the old one stays as it is. Errors have the operation's place in the patch as field ("#/3/path"):
 * -EINVAL: it is no patch; -ENOENT: a place is not there; -ECANCELED: a test found another value; -E2BIG: a limit.
 */
int json_patch_apply(const json_t *document, const json_t *patch, json_t **ret, struct err *e);

#endif
