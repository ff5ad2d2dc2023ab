/*
 * The nested form of an exposure, as the API has it, and the agent's flat sections: from one to the other. Pure.
 *
 * Nested: the keywords of the expose section, where vhosts, listener_certificates and cluster_certificates are arrays
 * of objects (a vhost's routes, a route's hash_policies likewise) instead of lists of section ids. Each object may
 * have a "rid", which names its section; where it is missing or taken by another content, the next free number is.
 * Beside the agent's keywords:
 *   enabled     false: it stands on no listener
 *   endpoints   [{"address": IP or DNS name, "port"}]: only of exposures that were made over the API
 * Both forms are decoded by one decoder, declaration_new().
 */
#ifndef STORE_SPEC_H
#define STORE_SPEC_H

#include "base/json.h"
#include "store/facts.h"

enum { SPEC_FIXED_ENDPOINTS_MAX = 256 };

/* Members that an answer has beside, which are ignored when they come back: "name", "status", ... NULL-terminated. */
extern const char *const spec_read_only[];

/* A fault of the form: pointer ("#/vhosts/0/routes"), code ("unknown", "invalid", "duplicate"), text. */
typedef void (*spec_fault)(void *arg, const char *pointer, const char *code, const char *text);

/*
 * From nested to flat: sections with scope rid, sorted by rid, in the arena. Faults of the form alone are told
 * (unknown members, wrong kinds of values where objects or arrays stand); values are for the decoder. 0 or -EINVAL.
 */
int spec_flatten(const json_t *nested, const char *rid, struct arena *arena, spec_fault fault, void *arg,
                 struct fact_resource **ret, size_t *ret_n);
/* From flat to nested: the sections of the expose section rid among those without a scope. NULL: it is not there.
 * Sections that it refers to and that do not exist become objects with a rid alone. */
json_t *spec_nest(const struct fact_resource *resources, size_t n, const char *rid);

/* RFC 7396. Returns a new value. */
json_t *json_merge_patch(const json_t *target, const json_t *patch);

/*
 * Puts what was left out for its secrecy back: wherever `redacted` stands in a nested form as a text, the text that
 * stands at the same place of `known` does (objects in arrays with the same rid, else the same index). Returns how
 * many places remain that nothing was known for; the first one's pointer is told through fault.
 */
size_t spec_unredact(json_t *nested, const json_t *known, const char *redacted, spec_fault fault, void *arg);

#endif
