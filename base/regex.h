/* RE2, the engine that Envoy matches with, behind C. Thread-safe. */
#ifndef BASE_REGEX_H
#define BASE_REGEX_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct regex;

/* -EINVAL with RE2's own words. Free with regex_free(). ret_size: RE2's program size, which Envoy limits. */
int regex_new(const char *pattern, struct regex **ret_regex, int *ret_size, struct err *e);
void regex_free(struct regex *r);
/* Whether it matches the whole text. */
bool regex_full_match(const struct regex *r, const char *text, size_t n);

#endif
