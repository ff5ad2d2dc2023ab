/* JSON as tests write it down: single quotes stand for double ones. */
#ifndef TESTS_UNIT_QUOTED_H
#define TESTS_UNIT_QUOTED_H

#include <jansson.h>

/* The text with double quotes; mem_free() it. */
char *quoted(const char *text);
/* What it says; the test fails when it is no JSON. json_decref() it. */
json_t *quoted_json(const char *text);
/* The same in canonical form; mem_free() it. */
char *quoted_canonical(const char *text);

#endif
