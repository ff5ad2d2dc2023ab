/*
 * Passed-through JSON (cluster_data, filter_config_data): protobuf JSON of one of Envoy's messages, from which a
 * translation starts. A field that the JSON has is taken as it is, whole; one that it does not have is the gateway's
 * (struct gateway: bases); what neither has gets the defaults. A null is the default, whatever the gateway has.
 *
 * The gateway's is an administrator's word. The other comes from whoever may write a service's configuration, so
 * beyond the usual it may not reach (design: secrets stay secret): files, environment and sockets of Envoy's host,
 * access logs, other sources of configuration or secrets, code that runs in Envoy without a sandbox. The gateway may
 * allow it. Pure.
 */
#ifndef PROTO_PASSTHROUGH_H
#define PROTO_PASSTHROUGH_H

#include "base/err.h"
#include "base/mem.h"
#include "proto/schema.h"
#include "store/view.h"

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct passthrough {
    json_t *json;                      /* NULL: nothing is passed through */
    json_t *own;                       /* without the gateway's; likewise */
    const struct schema_message *type; /* what the JSON is of */
};

/*
 * Parses text (NULL: nothing) as a message of that type, over the gateway's base; an "@type" at its root is accepted
 * when it is that type's. The gateway says whether it may reach what is refused by default. Faults name the JSON path
 * in the text. ret_message: the message, in the arena, with its defaults when there is no text. Ends with
 * passthrough_clear().
 */
int passthrough_read(struct arena *a, const char *text, const struct gateway *gateway, enum gateway_base base,
                     const ProtobufCMessageDescriptor *type, struct passthrough *ret, void *ret_message,
                     struct err *e);
void passthrough_clear(struct passthrough *p);
/* Whether the JSON says anything of that field (name in snake_case), an empty list or object included. */
bool passthrough_has(const struct passthrough *p, const char *field);
/* Likewise, of the text alone. */
bool passthrough_owns(const struct passthrough *p, const char *field);

/* Whether a message of that type, or that field of it, is refused by default; NULL, or why. For tests. */
const char *passthrough_refused_message(const char *full_name);
const char *passthrough_refused_field(const char *message, const char *field);

#endif
