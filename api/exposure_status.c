/*
 * The status of an exposure: four conditions, each with a word for programs and a sentence for people. One word for
 * all would hide what is wrong behind what is right.
 */
#include "api/objects.h"

#include <stdio.h>
#include <string.h>

const char *const condition_states[] = {"ok", "warning", "failed", "unknown", NULL};

const char *condition_state_name(enum condition_state s)
{
    return condition_states[s];
}

int condition_severity(enum condition_state s)
{
    static const int order[CONDITION_STATES] = {
        [CONDITION_OK] = 0, [CONDITION_UNKNOWN] = 1, [CONDITION_WARNING] = 2, [CONDITION_FAILED] = 3};

    return order[s];
}

enum condition_state condition_worse(enum condition_state a, enum condition_state b)
{
    return condition_severity(b) > condition_severity(a) ? b : a;
}

enum condition_state conditions_worst(const struct conditions *all)
{
    return condition_worse(condition_worse(all->accepted.state, all->programmed.state),
                           condition_worse(all->endpoints.state, all->certificate.state));
}

int64_t days_left(struct call *c, int64_t then)
{
    int64_t days = days_until(then, c->now);
    double changes = (double)(then - days * DAY_SECONDS + 1); /* the first second that has a day less */

    if (changes < c->until)
        c->until = changes;
    return days;
}

static const char *first_text(const struct problem *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (problem_is_fatal(&items[i]))
            return items[i].text;
    return n ? items[0].text : "";
}

static const char *invalid_reason(const struct exposure *x)
{
    for (size_t i = 0; i < x->n_problems; i++)
        if (strcmp(x->problems[i].code, "not_allowed") == 0)
            return "not_allowed";
    return "invalid";
}

static struct condition verdict_condition(const struct verdict *v)
{
    static const struct {
        enum condition_state state;
        const char *reason;
    } kinds[] = {
        [VERDICT_ACCEPTED] = {CONDITION_OK, "accepted"},     [VERDICT_PARTIAL] = {CONDITION_WARNING, "partial"},
        [VERDICT_CONFLICT] = {CONDITION_FAILED, "conflict"}, [VERDICT_NOT_READY] = {CONDITION_FAILED, "unready"},
        [VERDICT_INVALID] = {CONDITION_FAILED, "invalid"},
    };

    return (struct condition){kinds[v->kind].state, kinds[v->kind].reason, first_text(v->problems, v->n_problems)};
}

struct left_out exposure_left_out(struct call *c, const struct service_exposure *sx)
{
    struct left_out found = {0};

    if (c->backend->faults)
        found.n = c->backend->faults(c->backend->arg, sx->x->name, c->arena, &found.items, &found.whole);
    return found;
}

static bool is_unread(const struct view *v, const char *secret)
{
    return secret && !view_secret(v, secret);
}

/* The first secret that it waits for. */
static const char *unread_certificate(const struct view *v, const struct exposure *x)
{
    const struct certificate *one;

    for (size_t i = 0; (one = exposure_certificate(x, i)) != NULL; i++) {
        if (is_unread(v, one->secret))
            return one->secret;
        if (is_unread(v, one->validation_secret))
            return one->validation_secret;
    }
    return "its certificates";
}

/* What the declaration, the gateway and the others on the listener make of it. */
static struct condition judged(struct call *c, const struct service_exposure *sx)
{
    const struct exposure *x = sx->declared;

    if (sx->kept && x->valid)
        return (struct condition){
            CONDITION_WARNING, "kept",
            arena_printf(c->arena, "the form before it is served until %s was read", unread_certificate(c->view, x))};
    if (sx->kept)
        return (struct condition){
            CONDITION_WARNING, "kept",
            arena_printf(c->arena, "the last good form is served: %s", first_text(x->problems, x->n_problems))};
    if (!x->valid)
        return (struct condition){CONDITION_FAILED, invalid_reason(x), first_text(x->problems, x->n_problems)};
    if (sx->hindrance)
        return (struct condition){CONDITION_FAILED, sx->hindrance->code, sx->hindrance->text};
    const struct listener_plan *plan = view_exposure_plan(c->view, sx);
    const struct verdict *v = plan ? listener_plan_verdict(plan, sx->x->name) : NULL;
    if (!v)
        return (struct condition){CONDITION_UNKNOWN, "unplanned", "it has not been put on its listener yet"};
    return verdict_condition(v);
}

static const char *field_and_text(struct call *c, const struct problem *p)
{
    return p->field[0] ? arena_printf(c->arena, "%s: %s", p->field, p->text) : p->text;
}

static struct condition accepted_condition(struct call *c, const struct service_exposure *sx,
                                           const struct left_out *left)
{
    struct condition verdict = judged(c, sx);

    if (verdict.state == CONDITION_OK || verdict.state == CONDITION_WARNING) {
        if (left->whole)
            return (struct condition){CONDITION_FAILED, "left_out", field_and_text(c, &left->items[0])};
        if (verdict.state == CONDITION_OK && left->n)
            return (struct condition){CONDITION_WARNING, "partial", field_and_text(c, &left->items[0])};
        if (verdict.state == CONDITION_OK && sx->untold)
            return (struct condition){CONDITION_WARNING, "port_untold", sx->untold->text};
    }
    return verdict;
}

static struct condition programmed_condition(struct call *c, const struct service_exposure *sx,
                                             const struct condition *accepted, struct api_programmed *p)
{
    *p = exposure_programmed(c, sx);
    if (accepted->state == CONDITION_FAILED)
        return (struct condition){CONDITION_FAILED, "not_accepted", "it is sent to no proxy"};
    if (!p->known)
        return (struct condition){CONDITION_UNKNOWN, "unknown", "what the proxies said of it is not known"};
    if (p->nacked)
        return (struct condition){CONDITION_FAILED, "nacked", p->error ? p->error : ""};
    if (!p->proxies)
        return (struct condition){CONDITION_WARNING, "no_proxies", "no proxy of this gateway is connected"};
    if (p->acked < p->proxies)
        return (struct condition){CONDITION_WARNING, "pending",
                                  arena_printf(c->arena, "acked by %u of %u proxies", p->acked, p->proxies)};
    return (struct condition){CONDITION_OK, "programmed", ""};
}

/* What its service says of addresses that it can't use. */
static const struct problem *address_warning(const struct call *c, const struct service_exposure *sx)
{
    const struct service *s = view_service(c->view, sx->x->path);

    for (size_t i = 0; s && i < s->n_warnings; i++)
        if (strcmp(s->warnings[i].field, sx->x->rid) == 0)
            return &s->warnings[i];
    return NULL;
}

static struct condition endpoints_condition(struct call *c, const struct service_exposure *sx)
{
    const struct problem *warning = address_warning(c, sx);
    const char *why = warning ? arena_printf(c->arena, ": %s", warning->text) : "";

    if (!sx->n_endpoints)
        return (struct condition){CONDITION_FAILED, "none", arena_printf(c->arena, "no address serves it%s", why)};
    if (!sx->n_up)
        return (struct condition){CONDITION_FAILED, "all_down",
                                  arena_printf(c->arena, "none of its addresses is up%s", why)};
    if (warning)
        return (struct condition){CONDITION_WARNING, "left_out", warning->text};
    if (sx->n_up < sx->n_endpoints)
        return (struct condition){CONDITION_OK, "some_up",
                                  arena_printf(c->arena, "%zu of %zu are up", sx->n_up, sx->n_endpoints)};
    return (struct condition){CONDITION_OK, "up", ""};
}

/* Whether any of the certificates that are known covers a name. */
static bool is_covered(const struct call *c, const struct exposure *x, const char *name)
{
    for (size_t i = 0; i < x->n_listener_certificates; i++) {
        const struct certificate *one = x->listener_certificates[i];
        const struct secret *s = one->secret ? view_secret(c->view, one->secret) : NULL;
        if (!one->secret && (one->chain_file || one->chain_inline))
            return true; /* what it names is not known here */
        if (s && s->has_pair && certificate_covers(&s->info, name))
            return true;
    }
    return false;
}

static const char *uncovered_name(const struct call *c, const struct exposure *x)
{
    for (size_t i = 0; i < x->n_sni; i++)
        if (!is_covered(c, x, x->sni[i]))
            return x->sni[i];
    for (size_t i = 0; !x->n_sni && i < x->n_vhosts; i++)
        for (size_t d = 0; d < x->vhosts[i]->n_domains; d++)
            if (!strchr(x->vhosts[i]->domains[d], '*') && !is_covered(c, x, x->vhosts[i]->domains[d]))
                return x->vhosts[i]->domains[d];
    return NULL;
}

static struct condition pair_condition(struct call *c, const struct secret *s, struct conditions *all)
{
    int64_t days = days_left(c, s->info.not_after);

    if (!all->has_expiry || s->info.not_after < all->not_after)
        all->not_after = s->info.not_after;
    all->has_expiry = true;
    if (days < 0)
        return (struct condition){CONDITION_FAILED, "expired", arena_printf(c->arena, "%s is expired", s->path)};
    if (s->pair_problem)
        return (struct condition){
            CONDITION_WARNING, "kept",
            arena_printf(c->arena, "%s: the last good one is served: %s", s->path, s->pair_problem)};
    if (days < EXPIRY_CERTIFICATE_DAYS)
        return (struct condition){CONDITION_WARNING, "expires_soon",
                                  arena_printf(c->arena, "%s expires in %lld days", s->path, (long long)days)};
    return (struct condition){CONDITION_OK, "valid", ""};
}

static struct condition one_certificate(struct call *c, const struct certificate *one, struct conditions *all)
{
    const struct secret *s = one->secret ? view_secret(c->view, one->secret) : NULL;

    if (!one->secret && !one->chain_file && !one->chain_inline)
        return (struct condition){CONDITION_OK, "not_needed", ""}; /* a validation alone */
    if (!one->secret)
        return (struct condition){CONDITION_UNKNOWN, "unknown", "its file or text is read by Envoy alone"};
    if (!s || !s->has_pair)
        return (struct condition){CONDITION_FAILED, "missing",
                                  arena_printf(c->arena, "%s: %s", one->secret,
                                               s && s->pair_problem ? s->pair_problem : "there is no such secret")};
    return pair_condition(c, s, all);
}

static struct condition certificate_condition(struct call *c, const struct exposure *x, struct conditions *all)
{
    struct condition worst = {CONDITION_OK, "not_needed", ""};

    for (size_t i = 0; i < x->n_listener_certificates; i++) {
        struct condition one = one_certificate(c, x->listener_certificates[i], all);
        if (condition_severity(one.state) > condition_severity(worst.state) || (i == 0 && one.state == CONDITION_OK))
            worst = one;
    }
    const char *name = x->n_listener_certificates && worst.state == CONDITION_OK ? uncovered_name(c, x) : NULL;
    if (name && strcmp(worst.reason, "valid") == 0)
        return (struct condition){CONDITION_WARNING, "not_covered",
                                  arena_printf(c->arena, "no certificate covers %s", name)};
    return worst;
}

void exposure_conditions(struct call *c, const struct service_exposure *sx, struct conditions *ret)
{
    *ret = (struct conditions){.left_out = exposure_left_out(c, sx)};
    ret->accepted = accepted_condition(c, sx, &ret->left_out);
    ret->programmed = programmed_condition(c, sx, &ret->accepted, &ret->proxies);
    ret->endpoints = endpoints_condition(c, sx);
    ret->certificate = certificate_condition(c, sx->x, ret);
}

struct condition exposure_condition(struct call *c, const struct service_exposure *sx, enum condition_kind kind)
{
    struct conditions all = {.left_out = exposure_left_out(c, sx)};

    switch (kind) {
    case CONDITION_ENDPOINTS:
        return endpoints_condition(c, sx);
    case CONDITION_CERTIFICATE:
        return certificate_condition(c, sx->x, &all);
    case CONDITION_PROGRAMMED:
        all.accepted = accepted_condition(c, sx, &all.left_out);
        return programmed_condition(c, sx, &all.accepted, &all.proxies);
    case CONDITION_ACCEPTED:
        break;
    }
    return accepted_condition(c, sx, &all.left_out);
}
