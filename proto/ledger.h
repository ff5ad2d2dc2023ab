/*
 * The ledger: which resource each gateway has under each name, and what differs from what was handed out last. It
 * gathers puts and drops in any order; what ends as it began is no change. Owned by one thread.
 */
#ifndef PROTO_LEDGER_H
#define PROTO_LEDGER_H

#include "proto/resource.h"

struct ledger;

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l); /* NULL is allowed */
/* Takes the reference. */
void ledger_put(struct ledger *l, const char *gateway, struct resource *r);
void ledger_drop(struct ledger *l, const char *gateway, enum xds_type type, const char *name);
bool ledger_has(const struct ledger *l, const char *gateway, enum xds_type type, const char *name);
/* What differs, sorted by gateway, type and name, in the arena, with references; then it counts as handed out. */
struct xds_change *ledger_collect(struct ledger *l, struct arena *arena, size_t *ret_n);

#endif
