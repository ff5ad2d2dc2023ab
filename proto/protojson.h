/*
 * protobuf's JSON form (https://protobuf.dev/programming-guides/json/) of any message of the schema, to and from wire
 * bytes. Thread-safe; the bytes and values belong to the caller.
 *
 * Two things are stricter than some readers: a field given in both spellings, and two members of one oneof, are
 * faults. An unsigned number above 2^63 - 1 has to be written as text, as JSON readers do not hold it otherwise.
 */
#ifndef PROTO_PROTOJSON_H
#define PROTO_PROTOJSON_H

#include "base/buf.h"
#include "base/err.h"
#include "proto/schema.h"

#include <jansson.h>

enum {
    /* How deep the JSON may be nested; the message may not be nested deeper than Envoy reads either. */
    PROTOJSON_DEPTH_MAX = 64,
    PROTOJSON_SIZE_MAX = 64 << 20, /* bytes on the wire, where ret_wire has no lower maximum of its own */
};

enum {
    PROTOJSON_REDACT = 1,     /* sensitive fields (private keys, passwords, ...) become the text "[redacted]" */
    PROTOJSON_JSON_NAMES = 2, /* lowerCamelCase; else the schema's own snake_case */
};

/*
 * Appends the message to ret_wire, which is left as it was on a fault. The bytes follow from the value alone: fields
 * in the order of their numbers, maps by their keys. 0; -EINVAL with the JSON path, in the spelling of the JSON, and
 * what was expected, never the value itself; -EMSGSIZE past a size.
 */
int protojson_to_wire(const json_t *json, const struct schema_message *type, struct buf *ret_wire, struct err *e);

/*
 * The reverse. Fields that the schema does not know are left out; an Any of an unknown type is shown with its bytes
 * in base64 as "value" (redacted, when redacting: nobody knows what is in it). 0, or -EBADMSG when the bytes are not
 * such a message. ret_json is a new reference.
 */
int protojson_from_wire(const uint8_t *wire, size_t n, const struct schema_message *type, unsigned flags,
                        json_t **ret_json, struct err *e);

#endif
