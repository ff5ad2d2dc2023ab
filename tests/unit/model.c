/* Services for tests. */
#include "tests/unit/model.h"

#include "base/buf.h"
#include "tests/unit/test.h"

#include <string.h>

enum { RESOURCES_MAX = 4096 };

static const struct {
    const char *group, *type;
} types[] = {
    {"expose", "expose.envoy"},
    {"vhost", "vhost.envoy"},
    {"route", "route.envoy"},
    {"hashpolicy", "hashpolicy.envoy"},
    {"hash_policy", "hashpolicy.envoy"},
    {"certificate", "certificate.tls"},
};

static const char *type_of(const char *rid)
{
    size_t n = strcspn(rid, "#");

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strlen(types[i].group) == n && strncmp(rid, types[i].group, n) == 0)
            return types[i].type;
    return "task";
}

struct declaration *model_declaration_checked(const char *path, const char *text, exposure_check check, void *arg)
{
    struct arena *arena = arena_new();
    struct fact_resource *resources = mem_array(struct fact_resource, RESOURCES_MAX);
    struct declaration *d;
    size_t n = 0;

    for (const char *p = text + strspn(text, " \n"); *p; p += strspn(p, " \n")) {
        const char *end = strchrnul(p, '\n');
        char *rid = arena_strndup(arena, p, (size_t)(end - p)), *info = strchr(rid, ' ');

        if (!info || n == RESOURCES_MAX)
            test_fail(__FILE__, __LINE__, "not written well: %s", rid);
        *info++ = '\0';
        for (char *quote = info; (quote = strchr(quote, '\'')); quote++)
            *quote = '"';
        resources[n++] = (struct fact_resource){.rid = rid, .type = type_of(rid), .info = info};
        p = end;
    }
    d = declaration_new(path, resources, n, check, arg);
    arena_free(arena);
    mem_free(resources);
    return d;
}

struct declaration *model_declaration(const char *path, const char *text)
{
    return model_declaration_checked(path, text, NULL, NULL);
}

char *model_problems(const struct exposure *x)
{
    struct buf b;

    buf_init(&b, 0);
    for (size_t i = 0; i < x->n_problems; i++)
        buf_printf(&b, "%s %s: %s\n", x->problems[i].code, x->problems[i].field, x->problems[i].text);
    return buf_take(&b, NULL);
}

struct service *model_service(const char *path, struct declaration *d, uint64_t since)
{
    size_t n;
    const struct exposure *exposures = declaration_exposures(d, &n);
    struct exposure_state *states = mem_array(struct exposure_state, n);
    struct service *s;

    for (size_t i = 0; i < n; i++)
        states[i] = (struct exposure_state){
            .gateway = exposures[i].gateway ? exposures[i].gateway : "envoy",
            .listener_port = exposures[i].listener_port ? exposures[i].listener_port : 20000,
            .since = since,
        };
    s = service_new(path, d, NULL, states, NULL, 0, NULL, NULL);
    mem_free(states);
    return s;
}

struct service *model_service_of(const char *path, const char *text, uint64_t since)
{
    struct declaration *d = model_declaration(path, text);
    struct service *s = model_service(path, d, since);

    declaration_unref(d);
    return s;
}
