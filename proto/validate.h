/*
 * Envoy's own rules (validate.rules, as protoc-gen-validate's C++ code enforces them in Envoy), checked before a
 * resource is sent: what passes here is not refused for a value out of bounds. What Envoy refuses everywhere is
 * refused as well: fields that are deprecated and switched off, durations that are negative or beyond 9223372035 s.
 *
 * Thread-safe. An ordinary resource takes a few microseconds.
 */
#ifndef PROTO_VALIDATE_H
#define PROTO_VALIDATE_H

#include "base/err.h"
#include "proto/schema.h"

/*
 * Checks the wire bytes of a message of that type and of all messages in it, those inside of an Any included when the
 * schema knows their type. 0; -EINVAL with the field's path ("filter_chains[0].filters[1].typed_config.stat_prefix",
 * names in snake_case) and the rule in words; -EBADMSG when the bytes are not a message, hold text that is not UTF-8,
 * or are nested deeper than Envoy reads (WIRE_DEPTH_MAX).
 */
int validate_wire(const uint8_t *wire, size_t n, const struct schema_message *type, struct err *e);

#endif
