/*
 * One value under the validation rules of its field; validate.c walks the messages. A value that breaks a rule gives
 * -EINVAL, with an empty field path and the rule in words in e. Thread-safe.
 */
#ifndef PROTO_RULES_H
#define PROTO_RULES_H

#include "base/err.h"
#include "proto/schema.h"

/* The first rule with that operation in the row that starts at rules, or NULL. */
const struct schema_rule *rules_find(const struct schema_rule *rules, enum schema_rule_op op);
/* A number, bool or enum of field f, in 64 bits as proto/wire.h has them. */
int rules_check_number(const struct schema_field *f, const struct schema_rule *rules, uint64_t value, struct err *e);
/* A string (which must be UTF-8) or bytes of field f; or an Any's type_url, f being that field. */
int rules_check_text(const struct schema_field *f, const struct schema_rule *rules, const uint8_t *p, size_t n,
                     struct err *e);
/* A Duration or Timestamp in nanoseconds; now: the wall clock's, likewise. */
int rules_check_time(const struct schema_rule *rules, int64_t value, int64_t now, struct err *e);
/* The number of elements of a list or of pairs of a map. */
int rules_check_count(const struct schema_rule *rules, size_t count, struct err *e);

#endif
