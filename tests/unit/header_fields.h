/* The header of a request that is made in a test. */
#ifndef TESTS_UNIT_HEADER_FIELDS_H
#define TESTS_UNIT_HEADER_FIELDS_H

#include <strings.h>

/* A list of them ends with one without a name. */
struct field {
    const char *name, *value;
};

/* As http_request's header: arg is the list, or NULL. */
static inline const char *field_value(void *arg, const char *name)
{
    for (const struct field *f = arg; f && f->name; f++)
        if (strcasecmp(f->name, name) == 0)
            return f->value;
    return NULL;
}

#endif
