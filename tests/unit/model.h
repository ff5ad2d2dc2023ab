/* Services for tests, written down shortly. */
#ifndef TESTS_UNIT_MODEL_H
#define TESTS_UNIT_MODEL_H

#include "store/service.h"

/*
 * The resources in a text with one a line: "expose#0 {"port": 80}". Single quotes may stand for double ones. The type
 * follows from the id. Ends the test when it is not written well.
 */
struct declaration *model_declaration(const char *path, const char *text);
struct declaration *model_declaration_checked(const char *path, const char *text, exposure_check check, void *arg);
/* The exposure's problems, a line each: "code field: text\n". Free with mem_free(). */
char *model_problems(const struct exposure *x);

/*
 * A service of that declaration (a reference is taken) without endpoints: the gateway's name is "envoy" where none is
 * declared, an allocated port 20000; since is that of all its exposures.
 */
struct service *model_service(const char *path, struct declaration *d, uint64_t since);
/* model_declaration() and model_service() in one. */
struct service *model_service_of(const char *path, const char *text, uint64_t since);

#endif
