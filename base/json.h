/*
 * Decoding JSON objects (jansson's) into structs by a table: type, bounds, required, the path in the error.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/err.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>

/* Parses n bytes; a fault is -EBADMSG with line and column in e; duplicate keys and depth above 64 are faults.
 * -EINVAL: it is good JSON, but with a NUL in a text, or a number that nothing here can hold. */
int json_parse(const char *text, size_t n, json_t **ret_json, struct err *e);
/* RFC 6901: the pointer to a member of the object at place ("#", "#/vhosts/0"); mem_free() it. */
char *json_pointer(const char *place, const char *member);
/* Compact, keys sorted: the same value gives the same bytes. mem_free() it. */
char *json_canonical(const json_t *json);

enum json_type {
    JSON_FIELD_STRING,      /* const char *, in the arena */
    JSON_FIELD_BOOL,        /* bool; "true"/"false" (any case), "yes"/"no", "1"/"0" as text too when lenient */
    JSON_FIELD_INT,         /* int64_t, min..max; a text of digits too when lenient */
    JSON_FIELD_DOUBLE,      /* double, min..max; a text too when lenient */
    JSON_FIELD_DURATION,    /* int64_t nanoseconds; a number of seconds, or a text of 64 characters at most: "15s",
                             * "2m", "1h30m", "250ms", "1d" */
    JSON_FIELD_STRING_LIST, /* struct json_strings; a text of words separated by white space too when lenient */
    JSON_FIELD_ENUM,        /* int; one of names, compared without case, '-', '_' and ' ' when lenient */
    JSON_FIELD_JSON,        /* const char *: canonical JSON of an object; a text that holds JSON too when lenient */
};

struct json_strings {
    const char **items;
    size_t count;
};

struct json_enum {
    const char *name;
    int value;
};

/*
 * Bounds: both 0 is no bound for numbers; max < min: no upper one. Of texts max 0 is 1048576. (double has 53 bits:
 * bounds of integers should stay below that.)
 */
struct json_field {
    const char *name;
    enum json_type type;
    size_t offset;     /* of the member in the struct */
    size_t set_offset; /* of a bool that tells that the field was there; 0: none */
    int64_t min, max;  /* of numbers; of strings and list items: characters, of durations: ns; see above */
    bool required;
    size_t max_items;              /* of lists; 0: 1024 */
    const struct json_enum *names; /* ended by a NULL name */
};

enum {
    JSON_DECODE_LENIENT = 1,       /* the agent's ways: see the types above */
    JSON_DECODE_IGNORE_UNKNOWN = 2 /* else an unknown key is an error */
};

/* Called for each fault; e has field and text set. */
typedef void (*json_fault)(void *arg, const struct err *e);

/*
 * Decodes the object into *out (zeroed by the caller, defaults preset), texts into the arena. All faults are
 * reported, the good fields are decoded; returns 0 or the first fault's code. JSON null counts as absent.
 */
int json_decode(const json_t *object, const struct json_field *fields, size_t n_fields, unsigned flags,
                struct arena *arena, void *out, json_fault fault, void *fault_arg);

/* Whether these are one name to a lenient JSON_FIELD_ENUM. */
bool json_same_name(const char *a, const char *b);

/* "15s", "1h30m", "2.5", "3600" (seconds) to nanoseconds; -EINVAL. Not negative, below 2^62. */
int duration_parse(const char *text, int64_t *ret_ns);

#endif
