/*
 * Translation from the command line, for the tests that hold its results against a real Envoy.
 *
 *     translate_tool resources < WORLD.json
 *         The resources of a world (translate_world.h) as JSON: {"GATEWAY": {"cluster": [...], "endpoint": [...],
 *         "secret": [...], "listener": [...], "route": [...]}}, and {"faults": [[EXPOSURE, FIELD, TEXT]...],
 *         "verdicts": {EXPOSURE: [CODE, FIELD, TEXT]...}} beside them.
 *     translate_tool trial < WORLD.json
 *         The bootstrap by which an Envoy is asked about the world's gateway "envoy" (proto/trial.h).
 *     translate_tool bootstrap KEY=VALUE...
 *         A bootstrap; keys: gateway, node_id, node_cluster, xds, admin, ca_file, certificate_file, key_file, sotw.
 *     translate_tool bench SERVICES
 *         How long translation takes for so many services of ten endpoints.
 *
 * Nothing is redacted: only for made-up secrets.
 */
#include "proto/protojson.h"
#include "proto/trial.h"
#include "tests/tools/translate_world.h"

#include <time.h>

static void on_faults(void *arg, const char *exposure, const struct problem *now, size_t n_now,
                      const struct problem *before, size_t n_before)
{
    (void)before, (void)n_before; /* each world is translated once */
    for (size_t i = 0; i < n_now; i++)
        json_array_append_new(arg, json_pack("[sss]", exposure, now[i].field, now[i].text));
}

static int fail(const char *what, const struct err *e)
{
    char text[1024];

    (void)fprintf(stderr, "%s: %s\n", what, err_format(e, text, sizeof(text)));
    return 1;
}

static int print(json_t *json)
{
    _cleanup_(mem_free_p) char *text = json_canonical(json);

    json_decref(json);
    return puts(text) < 0;
}

/* ---- resources ---- */

static int add_exposures(void *value, void *arg)
{
    const struct service *s = value;

    for (size_t i = 0; i < s->n_exposures; i++) {
        const struct exposure *x = s->exposures[i].x;
        json_t *list = json_array();

        for (size_t k = 0; k < x->n_problems; k++)
            json_array_append_new(list,
                                  json_pack("[sss]", x->problems[k].code, x->problems[k].field, x->problems[k].text));
        json_object_set_new(arg, x->name, list);
    }
    return 0;
}

static int add_verdicts(void *value, void *arg)
{
    const struct listener_plan *p = value;

    for (size_t i = 0; i < p->n_verdicts; i++)
        for (size_t k = 0; k < p->verdicts[i].n_problems; k++) {
            const struct problem *problem = &p->verdicts[i].problems[k];

            json_array_append_new(json_object_get(arg, p->verdicts[i].exposure),
                                  json_pack("[sss]", problem->code, problem->field, problem->text));
        }
    return 0;
}

static json_t *resource_json(const struct resource *r)
{
    const struct schema_message *type = schema_find_url(xds_type_url[r->type], strlen(xds_type_url[r->type]));
    size_t n;
    const uint8_t *message = resource_message(r, &n);
    struct err e = {0};
    json_t *json = NULL;

    if (protojson_from_wire(message, n, type, 0, &json, &e) < 0)
        exit(fail(r->name, &e));
    return json;
}

static int print_resources(void)
{
    struct world w = {.doc = NULL};
    json_t *faults = json_array();
    struct translator *t = translator_new(on_faults, faults);
    json_error_t fault;
    json_t *doc = json_loadf(stdin, JSON_REJECT_DUPLICATES, &fault), *out = json_object(), *verdicts = json_object();

    if (!doc) {
        (void)fprintf(stderr, "line %d: %s\n", fault.line, fault.text);
        return 1;
    }
    _cleanup_(view_delta_free_p) struct view_delta *d = world_apply(&w, doc);
    _cleanup_(xds_batch_free_p) struct xds_batch *b = translate(t, d);
    for (size_t i = 0; i < b->n_gateways; i++) {
        json_t *gateway = json_object();

        for (size_t k = 0; k < XDS_TYPES; k++)
            json_object_set_new(gateway, xds_type_name[k], json_array());
        json_object_set_new(out, b->gateways[i], gateway);
    }
    for (size_t i = 0; i < b->n_changes; i++)
        json_array_append_new(
            json_object_get(json_object_get(out, b->changes[i].gateway), xds_type_name[b->changes[i].type]),
            resource_json(b->changes[i].after));
    (void)pmap_each(w.view->services, add_exposures, verdicts);
    (void)pmap_each(w.view->listeners, add_verdicts, verdicts);
    json_object_set_new(out, "faults", faults);
    json_object_set_new(out, "verdicts", verdicts);
    world_clear(&w);
    translator_free(t);
    json_decref(doc);
    return print(out);
}

/* ---- trial ---- */

static bool has_no_cluster(void *arg, const char *name)
{
    (void)arg, (void)name; /* all there are stand in the world */
    return false;
}

static int print_trial(void)
{
    struct world w = {.doc = NULL};
    struct translator *t = translator_new(NULL, NULL);
    json_error_t fault;
    json_t *doc = json_loadf(stdin, JSON_REJECT_DUPLICATES, &fault);
    _cleanup_(mem_free_p) char *certificate = NULL, *key = NULL;
    struct trial_options options = {.gateway = "envoy", .has_cluster = has_no_cluster};
    struct err e = {0};
    bool names_files;

    if (!doc || certificate_dummy(&certificate, &key, &e) < 0)
        return fail("trial", &e);
    options.certificate = certificate;
    options.private_key = key;
    _cleanup_(view_delta_free_p) struct view_delta *d = world_apply(&w, doc);
    _cleanup_(xds_batch_free_p) struct xds_batch *b = translate(t, d);
    _cleanup_(mem_free_p) char *text = trial_make(b, &options, &names_files);
    world_clear(&w);
    translator_free(t);
    json_decref(doc);
    return puts(text ? text : "null") < 0;
}

/* ---- bootstrap ---- */

static int print_bootstrap(int argc, char **argv)
{
    struct bootstrap_options o = {.gateway = "envoy", .xds = "127.0.0.1:50051"};
    const struct {
        const char *key, **value;
    } keys[] = {{"gateway", &o.gateway},
                {"node_id", &o.node_id},
                {"node_cluster", &o.node_cluster},
                {"xds", &o.xds},
                {"admin", &o.admin},
                {"ca_file", &o.ca_file},
                {"key_file", &o.key_file},
                {"certificate_file", &o.certificate_file}};
    struct err e = {0};
    char *text;

    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');

        assert(value);
        *value++ = '\0';
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            if (!strcmp(argv[i], keys[k].key))
                *keys[k].value = value;
        if (!strcmp(argv[i], "sotw"))
            o.state_of_the_world = !strcmp(value, "1");
    }
    if (bootstrap_make(&o, &text, &e) < 0)
        return fail("bootstrap", &e);
    (void)puts(text);
    mem_free(text);
    return 0;
}

/* ---- bench ---- */

static json_t *bench_service(int i)
{
    json_t *s = json_object(), *addresses = json_array();
    char text[64];

    if (i % 2)
        json_object_set_new(s, "resources",
                            json_pack("{s{si si}}", "expose#0", "port", 80, "listener_port", 1025 + i));
    else {
        (void)snprintf(text, sizeof(text), "s%d.example", i);
        json_object_set_new(s, "resources",
                            json_pack("{s{si si s[s]} s{s[s]}}", "expose#0", "port", 80, "listener_port", 80,
                                      "vhosts", "vhost#0", "vhost#0", "domains", text));
    }
    for (int k = 0; k < 10; k++) {
        (void)snprintf(text, sizeof(text), "10.%d.%d.%d", k, i / 250, 1 + i % 250);
        json_array_append_new(addresses, json_pack("{ss s[s]}", "address", text, "exposes", "expose#0"));
    }
    json_object_set_new(s, "addresses", addresses);
    return s;
}

/* Of this process, so that others on the machine do not show. */
static double cpu_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void bench_translate(struct translator *t, const struct view_delta *d, const char *what)
{
    double start = cpu_ms();
    struct xds_batch *b = translate(t, d);
    double ms = cpu_ms() - start;

    (void)printf("%-40s %8.3f ms CPU %8zu resources\n", what, ms, b ? b->n_changes : 0);
    xds_batch_free(b);
}

static int bench(int services)
{
    struct world w = {.doc = NULL};
    struct translator *t = translator_new(NULL, NULL);
    json_t *doc = json_object(), *list = json_object(), *addresses;
    struct view_delta *d;

    json_object_set_new(doc, "services", list);
    for (int i = 0; i < services; i++) {
        char path[64];

        (void)snprintf(path, sizeof(path), "bench/svc/s%05d", i);
        json_object_set_new(list, path, bench_service(i));
    }
    double start = cpu_ms();
    d = world_apply(&w, doc);
    (void)printf("%-40s %8.3f ms CPU\n", "model", cpu_ms() - start);
    bench_translate(t, d, "start");
    view_delta_free(d);
    addresses = json_object_get(json_object_get(list, "bench/svc/s00001"), "addresses");
    json_object_set_new(json_array_get(addresses, 3), "up", json_false());
    d = world_apply(&w, doc);
    bench_translate(t, d, "one endpoint goes down");
    view_delta_free(d);
    json_object_set_new(list, "bench/svc/s00001", bench_service(services + 1));
    d = world_apply(&w, doc);
    bench_translate(t, d, "one service on another port");
    view_delta_free(d);
    json_object_del(list, "bench/svc/s00000");
    d = world_apply(&w, doc);
    bench_translate(t, d, "one of the shared listener's hosts goes");
    view_delta_free(d);
    world_clear(&w);
    translator_free(t);
    json_decref(doc);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "resources"))
        return print_resources();
    if (argc == 2 && !strcmp(argv[1], "trial"))
        return print_trial();
    if (argc >= 2 && !strcmp(argv[1], "bootstrap"))
        return print_bootstrap(argc - 2, argv + 2);
    if (argc == 3 && !strcmp(argv[1], "bench"))
        return bench((int)strtol(argv[2], NULL, 10));
    (void)fprintf(stderr, "usage: translate_tool resources | trial | bootstrap KEY=VALUE... | bench SERVICES\n");
    return 2;
}
