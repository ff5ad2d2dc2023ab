/* Handlers of the probes, of what the program says about itself, and of the gateways' bootstraps. */
#include "api/handlers.h"

#include "api/contract.h"
#include "api/objects.h"

#include <errno.h>
#include <string.h>

void handle_livez(struct call *c)
{
    struct writer w = {.out = &c->answer->body};

    writer_open(&w, NULL, '{');
    writer_text(&w, "status", "live");
    writer_close(&w, '}');
    call_done(c);
}

void handle_readyz(struct call *c)
{
    struct writer w = {.out = &c->answer->body};

    if (!c->view->complete) {
        call_fail(c, 503,
                  "no whole state was persisted and none came from the agent yet: proxies are held, not answered");
        return;
    }
    writer_open(&w, NULL, '{');
    writer_text(&w, "status", "ready");
    writer_close(&w, '}');
    call_done(c);
}

void handle_metrics(struct call *c)
{
    metrics_write(c, &c->answer->body);
    call_done(c);
}

void handle_contract(struct call *c)
{
    size_t n;
    const char *text = contract_text(&n);

    (void)buf_append(&c->answer->body, text, n); /* far below the buffer's limit */
    call_done(c);
}

void handle_version(struct call *c)
{
    struct writer w = {.out = &c->answer->body};

    writer_open(&w, NULL, '{');
    writer_text(&w, "kind", "Version");
    writer_text(&w, "name", "igwd");
    writer_text(&w, "version", c->version);
    writer_text(&w, "api", "v1");
    writer_close(&w, '}');
    call_done(c);
}

void handle_whoami(struct call *c)
{
    struct writer w = {.out = &c->answer->body};

    writer_open(&w, NULL, '{');
    writer_text(&w, "kind", "Principal");
    writer_text(&w, "name", c->who.name);
    writer_text(&w, "method", c->who.method);
    writer_text(&w, "role", role_name(c->who.role));
    writer_texts(&w, "gateways", c->who.gateways, c->who.n_gateways);
    writer_text(&w, "session", c->who.session);
    if (c->who.expires_at > 0)
        writer_time(&w, "expires_at", c->who.expires_at);
    else
        writer_null(&w, "expires_at");
    writer_bool(&w, "read_only", !c->backend->edit);
    writer_close(&w, '}');
    call_done(c);
}

/* ---- summary ---- */

struct summary {
    int64_t exposures, endpoints, up;
    int64_t states[4][CONDITION_STATES];
};

static void count_exposures(struct call *c, struct summary *s)
{
    exposures_expect_all(c);
    for (const struct service_exposure *sx = exposure_first(c->view, ""); sx; sx = exposure_next(c->view, sx)) {
        struct conditions all;
        exposure_conditions(c, sx, &all);
        s->exposures++;
        s->endpoints += (int64_t)sx->n_endpoints;
        s->up += (int64_t)sx->n_up;
        s->states[0][all.accepted.state]++;
        s->states[1][all.programmed.state]++;
        s->states[2][all.endpoints.state]++;
        s->states[3][all.certificate.state]++;
    }
}

static void write_exposure_counts(struct writer *w, const struct summary *s)
{
    static const char *const names[] = {"accepted", "programmed", "endpoints", "certificate"};

    writer_open(w, "exposures", '{');
    writer_int(w, "total", s->exposures);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        writer_open(w, names[i], '{');
        for (size_t k = 0; k < CONDITION_STATES; k++)
            writer_int(w, condition_state_name((enum condition_state)k), s->states[i][k]);
        writer_close(w, '}');
    }
    writer_close(w, '}');
    writer_open(w, "endpoints", '{');
    writer_int(w, "total", s->endpoints);
    writer_int(w, "up", s->up);
    writer_close(w, '}');
}

static int64_t count_open_listeners(const struct view *v)
{
    int64_t n = 0;

    for (const struct listener_plan *p = pmap_after(v->listeners, &view_listeners, ""); p;
         p = pmap_after(v->listeners, &view_listeners, p->key))
        n += p->n_chains > 0;
    return n;
}

void handle_summary(struct call *c)
{
    struct writer w = {.out = &c->answer->body};
    struct summary s = {0};
    size_t n_alarms;

    count_exposures(c, &s);
    (void)alarms_gather(c, c->who.role, &n_alarms); /* how many is asked for here */
    writer_open(&w, NULL, '{');
    writer_text(&w, "kind", "Summary");
    writer_int(&w, "revision", (int64_t)c->view->revision);
    writer_bool(&w, "complete", c->view->complete);
    writer_bool(&w, "stale", c->view->stale);
    writer_text(&w, "agent", c->backend->agent_state ? c->backend->agent_state(c->backend->arg) : NULL);
    writer_int(&w, "gateways", (int64_t)pmap_count(c->view->gateways));
    writer_int(&w, "listeners", count_open_listeners(c->view));
    writer_int(&w, "services", (int64_t)pmap_count(c->view->services));
    write_exposure_counts(&w, &s);
    writer_int(&w, "certificates", (int64_t)pmap_count(c->view->secrets));
    writer_int(&w, "proxies", proxies_count(c, NULL, API_CONNECTED));
    writer_int(&w, "proxies_gone", proxies_count(c, NULL, API_GONE));
    writer_int(&w, "alarms", (int64_t)n_alarms);
    writer_close(&w, '}');
    call_done(c);
}

/* ---- bootstraps ---- */

void handle_bootstrap(struct call *c)
{
    char *json = NULL;
    struct err e = {0};

    if (!view_gateway(c->view, c->arguments[0])) {
        call_not_found(c, "Gateway");
        return;
    }
    if (!c->backend->bootstrap) {
        call_fail(c, 503, "there is no xDS address that a proxy could connect to");
        return;
    }
    int r = c->backend->bootstrap(c->backend->arg, c->arguments[0], parameter_text(&c->target, "node_id"),
                                  parameter_text(&c->target, "node_cluster"), parameter_text(&c->target, "admin"),
                                  parameter_bool(&c->target, "state_of_the_world"), &json, &e);
    if (r == -ENOENT) {
        call_fail(c, 409, "%s", e.text);
    } else if (r) {
        fault_add(&c->faults, FAULT_PARAMETER, e.field, "invalid", "%s", e.text);
        call_fail(c, 400, "no bootstrap can be made of this");
    } else {
        (void)buf_append_str(&c->answer->body, json); /* far below the buffer's limit */
        mem_free(json);
        call_done(c);
    }
}
