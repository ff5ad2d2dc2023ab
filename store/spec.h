/*
 * The nested form of an exposure, as the API has it, and the agent's flat sections: from one to the other. Pure.
 *
 * Nested: the keywords of the expose section, where vhosts, listener_certificates and cluster_certificates are arrays
 * of objects (a vhost's routes, a route's hash_policies likewise) instead of lists of section ids. Each object may
 * have a "rid", which names its section; where it is missing or taken by another content, the next free number is.
 * Beside the agent's keywords:
 *   enabled     false: it stands on no listener
 *   endpoints   [{"address": IP or DNS name, "port"}]: only of exposures that were made over the API
 * Members that answers have beside ("name", "status", ...) are ignored when they come back. Both forms are decoded by
 * one decoder, declaration_new().
 */
#ifndef STORE_SPEC_H
#define STORE_SPEC_H

#include "base/json.h"
#include "store/facts.h"
#include "store/service.h"

enum { SPEC_FIXED_ENDPOINTS_MAX = 256 };

/* The words of `protocol` and `lb_policy` by enum protocol and enum lb_policy, NULL-terminated. */
extern const char *const spec_protocols[], *const spec_lb_policies[];

/* A fault of the form: pointer ("#/vhosts/0/routes"), code ("unknown", "invalid", "duplicate"), text. */
typedef void (*spec_fault)(void *arg, const char *pointer, const char *code, const char *text);

/*
 * What a client sends is held against the form strictly: unknown members, values of another type than the contract
 * says, words spelt in other ways, endpoints that are none, ids that no section of that kind can have. api_made:
 * members that the agent's exposures have none of are taken. What values mean is for the decoder. 0 or -EINVAL.
 */
int spec_check(const json_t *nested, bool api_made, spec_fault fault, void *arg);

/*
 * From nested to flat: sections with scope rid, sorted by rid, in the arena. Leaves lenient values as the agent
 * writes them; -EINVAL when objects or arrays stand where they can't, or members are unknown: the first of it in e.
 */
int spec_flatten(const json_t *nested, const char *rid, struct arena *arena, struct fact_resource **ret,
                 size_t *ret_n, struct err *e);
/* From flat to nested: the sections of the expose section rid among those without a scope. NULL: it is not there.
 * Numbers, lists and objects that the agent wrote as texts have the types of the contract.
 * Sections that it refers to and that do not exist become objects with a rid alone. */
json_t *spec_nest(const struct fact_resource *resources, size_t n, const char *rid);
/* To be laid over and flattened again: what is wrong with the agent's lists stays wrong. Ids of sections that do not
 * exist stay texts, which spec_flatten() takes. */
json_t *spec_nest_bare(const struct fact_resource *resources, size_t n, const char *rid);

/* Where a problem's field ("route#1.match_regex") stands in the nested form ("#/vhosts/0/routes/1/match_regex"), in
 * the arena; NULL when the section is none of the exposure's. A path into what is passed through to Envoy
 * ("cluster_data.health_checks[0].timeout") is followed as far as that has it, in its spelling. */
const char *exposure_pointer(const struct exposure *x, const char *field, struct arena *arena);

/* RFC 7396. Returns a new value. */
json_t *json_merge_patch(const json_t *target, const json_t *patch);

/*
 * Puts what was left out for its secrecy back: wherever `redacted` stands in a nested form as a text, what stands
 * at the same place of `known` does, unless that is an object or a list (objects in arrays with the same rid; those
 * without one by their index). Returns how many places remain that nothing was known for; each one's pointer is told
 * through fault.
 */
size_t spec_unredact(json_t *nested, const json_t *known, const char *redacted, spec_fault fault, void *arg);

#endif
