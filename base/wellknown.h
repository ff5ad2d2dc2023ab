/*
 * The texts that protobuf's JSON form has for values of its well-known types, and base64. Pure. What is parsed is n
 * bytes, not ended by NUL, that nobody vouched for; a fault is -EINVAL.
 */
#ifndef BASE_WELLKNOWN_H
#define BASE_WELLKNOWN_H

#include "base/buf.h"

/* A Duration, or a Timestamp counted from 1970. nanos has the sign of a duration, and is never negative in a time. */
struct wellknown_time {
    int64_t seconds;
    int32_t nanos;
};

/* "1.5s", "-0.000000001s": at most 9 digits behind the point, at most 315,576,000,000 s either way. */
int wellknown_parse_duration(const char *text, size_t n, struct wellknown_time *ret);
/* With 0, 3, 6 or 9 digits; -EINVAL past the same limits, or when the signs differ. */
int wellknown_print_duration(struct buf *b, struct wellknown_time t);
/* RFC 3339, "2024-02-29T12:00:00.5+01:00", years 1 to 9999. */
int wellknown_parse_timestamp(const char *text, size_t n, struct wellknown_time *ret);
/* In UTC, with a Z. */
int wellknown_print_timestamp(struct buf *b, struct wellknown_time t);

/* Both alphabets of RFC 4648 are read, with or without padding; the plain one with padding is written. */
int wellknown_parse_base64(struct buf *b, const char *text, size_t n);
void wellknown_print_base64(struct buf *b, const uint8_t *p, size_t n);

/* One path of a FieldMask: "fooBar.baz" to "foo_bar.baz" and back. -EINVAL for what would not come back the same. */
int wellknown_parse_path(struct buf *b, const char *text, size_t n);
int wellknown_print_path(struct buf *b, const char *text, size_t n);

#endif
