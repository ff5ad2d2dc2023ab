/*
 * One line an object whose state changed: problems that are new, problems that are over. What is the same in both
 * views is not said again, so that an endpoint that flaps does not repeat an old complaint.
 */
#include "server/report.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

static bool has_problem(const struct problem *list, size_t n, const struct problem *p)
{
    for (size_t i = 0; i < n; i++)
        if (text_equal(list[i].code, p->code) && text_equal(list[i].field, p->field) &&
            text_equal(list[i].text, p->text))
            return true;
    return false;
}

void report_problems(const char *exposure, const struct problem *now, size_t n_now, const struct problem *before,
                     size_t n_before)
{
    for (size_t i = 0; i < n_now; i++)
        if (!has_problem(before, n_before, &now[i]))
            log_event(LOG_LEVEL_WARNING, "exposure has a problem", "exposure", exposure, "code", now[i].code, "field",
                      now[i].field && now[i].field[0] ? now[i].field : NULL, "problem", now[i].text, NULL);
    if (n_before && !n_now)
        log_event(LOG_LEVEL_NOTICE, "exposure is mended", "exposure", exposure, NULL);
}

static void report_exposure(const struct service_exposure *now, const struct service_exposure *old)
{
    const struct exposure *x = now->declared, *was = old ? old->declared : NULL;
    const struct problem *hindered = old ? old->hindrance : NULL;

    if (x != was) {
        report_problems(x->name, x->problems, x->n_problems, was ? was->problems : NULL, was ? was->n_problems : 0);
        if (now->kept)
            log_event(LOG_LEVEL_WARNING, "exposure keeps its last good form", "exposure", x->name, NULL);
    }
    report_problems(x->name, now->hindrance, now->hindrance ? 1 : 0, hindered, hindered ? 1 : 0);
}

static void report_service(const struct service *before, const struct service *after)
{
    if (!after)
        return;
    if (after->disagreement && !text_equal(after->disagreement, before ? before->disagreement : NULL))
        log_event(LOG_LEVEL_WARNING, "instances disagree", "service", after->path, "problem", after->disagreement,
                  NULL);
    for (size_t i = 0; i < after->n_warnings; i++) {
        const struct problem *w = &after->warnings[i];

        if (!has_problem(before ? before->warnings : NULL, before ? before->n_warnings : 0, w))
            log_event(LOG_LEVEL_WARNING, "address is left out", "service", after->path, "code", w->code, "field",
                      w->field, "problem", w->text, NULL);
    }
    for (size_t i = 0; i < after->n_exposures; i++)
        report_exposure(&after->exposures[i], service_exposure_find(before, after->exposures[i].declared->rid));
}

static void report_listener(const struct listener_plan *before, const struct listener_plan *after)
{
    for (size_t i = 0; after && i < after->n_verdicts; i++) {
        const struct verdict *v = &after->verdicts[i];
        const struct verdict *old = before ? listener_plan_verdict(before, v->exposure) : NULL;
        report_problems(v->exposure, v->problems, v->n_problems, old ? old->problems : NULL,
                        old ? old->n_problems : 0);
    }
}

static void report_secret(const struct secret *before, const struct secret *after)
{
    if (!after)
        return;
    if (after->has_pair && (double)after->info.not_after < clock_wall() &&
        !(before && text_equal(before->info.fingerprint, after->info.fingerprint)))
        log_event(LOG_LEVEL_ERROR, "alarm", "alarm", "certificate has expired and is served all the same", "secret",
                  after->path, "subject", after->info.subject, NULL);
    const char *old[] = {before ? before->pair_problem : NULL, before ? before->trust_problem : NULL};
    const char *now[] = {after->pair_problem, after->trust_problem};
    for (size_t i = 0; i < ARRAY_LEN(now); i++) {
        if (text_equal(old[i], now[i]))
            continue;
        if (now[i])
            log_event(LOG_LEVEL_WARNING, "secret has a problem", "secret", after->path, "problem", now[i], NULL);
        else
            log_event(LOG_LEVEL_NOTICE, "secret is mended", "secret", after->path, NULL);
    }
}

void report_delta(const struct view_delta *delta)
{
    for (size_t i = 0; i < delta->n_changes; i++) {
        const struct view_change *c = &delta->changes[i];
        switch (c->kind) {
        case VIEW_SERVICE:
            report_service(c->before, c->after);
            break;
        case VIEW_LISTENER:
            report_listener(c->before, c->after);
            break;
        case VIEW_SECRET:
            report_secret(c->before, c->after);
            break;
        case VIEW_GATEWAY:
            log_event(LOG_LEVEL_NOTICE, c->after ? (c->before ? "gateway changed" : "gateway made") : "gateway gone",
                      "gateway", c->key, NULL);
            break;
        }
    }
    if (delta->after->complete && delta->after->stale != (delta->before && delta->before->stale))
        log_event(delta->after->stale ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE,
                  delta->after->stale ? "state is stale: the last known one is served" : "state is current", NULL);
}
