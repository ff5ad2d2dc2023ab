/* See quoted.h. */
#include "tests/unit/quoted.h"

#include "base/json.h"
#include "base/mem.h"
#include "tests/unit/test.h"

#include <string.h>

char *quoted(const char *text)
{
    char *copy = mem_strdup(text);

    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return copy;
}

json_t *quoted_json(const char *text)
{
    _cleanup_(mem_free_p) char *copy = quoted(text);
    struct err e = {0};
    json_t *json;

    if (json_parse(copy, strlen(copy), &json, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", e.text, copy);
    return json;
}

char *quoted_canonical(const char *text)
{
    json_t *json = quoted_json(text);
    char *canonical = json_canonical(json);

    json_decref(json);
    return canonical;
}
