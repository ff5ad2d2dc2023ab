/* Three moments of each: it is soon over, it is over, it is not worth a word any more. */
#include "store/expiry.h"

#include "base/wellknown.h"

#include <math.h>
#include <string.h>

enum { MS = 1000, WARNED_PART = 4 /* of a token's life, at most */ };

int64_t days_until(int64_t then, double now)
{
    int64_t seconds = then - (int64_t)now;

    return seconds >= 0 ? seconds / EXPIRY_DAY_SECONDS : -((-seconds + EXPIRY_DAY_SECONDS - 1) / EXPIRY_DAY_SECONDS);
}

/* A certificate is good up to the end of the second that it names (RFC 5280, 4.1.2.5). */
bool expiry_of_secret(const struct secret *s, struct expiry *ret)
{
    double ends = (double)s->info.not_after + 1;

    if (!s->has_pair)
        return false;
    *ret = (struct expiry){ends - EXPIRY_CERTIFICATE_DAYS * EXPIRY_DAY_SECONDS, ends, HUGE_VAL};
    return true;
}

bool expiry_of_token_body(const struct document *d, const json_t *body, struct expiry *ret)
{
    struct wellknown_time ends;
    const char *text = json_string_value(json_object_get(body, "expires_at"));

    if (!text || wellknown_parse_timestamp(text, strlen(text), &ends) < 0)
        return false;
    const double at = (double)ends.seconds + ends.nanos / 1e9, life = at - (double)d->created / MS;
    const double warned = fmin(EXPIRY_TOKEN_DAYS * EXPIRY_DAY_SECONDS, fmax(life, 0) / WARNED_PART);
    *ret = (struct expiry){at - warned, at, at + warned};
    return true;
}

bool expiry_of_token(const struct document *d, struct expiry *ret)
{
    json_t *body = NULL;
    bool found = json_parse(d->body, d->body_len, &body, NULL) == 0 && expiry_of_token_body(d, body, ret);

    json_decref(body);
    return found;
}

enum expiry_state expiry_state(const struct expiry *e, double now)
{
    return now >= e->ends_at ? EXPIRY_OVER : now >= e->warned_at ? EXPIRY_SOON : EXPIRY_FAR;
}

bool expiry_is_alarm(const struct expiry *e, double now)
{
    return now >= e->warned_at && now < e->told_until;
}

double expiry_next(const struct expiry *e, double now)
{
    if (now < e->warned_at)
        return e->warned_at;
    return now < e->ends_at ? e->ends_at : now < e->told_until ? e->told_until : HUGE_VAL;
}

const char *secret_alarm(const struct secret *s, double now, struct arena *arena, double *ret_since)
{
    struct expiry e;

    *ret_since = 0;
    if (s->pair_problem || s->trust_problem)
        return s->pair_problem ? s->pair_problem : s->trust_problem;
    if (!expiry_of_secret(s, &e) || expiry_state(&e, now) == EXPIRY_FAR)
        return NULL;
    bool over = expiry_state(&e, now) == EXPIRY_OVER;
    *ret_since = over ? e.ends_at : e.warned_at;
    return over ? "it is expired and still served"
                : arena_printf(arena, "it expires in %lld days", (long long)days_until(s->info.not_after, now));
}

/* ---- all of a view ---- */

struct looking {
    double from, to, next;
    expiry_tell tell;
    void *arg;
};

/* Whether something else is to be said of it. A clock that was set back leads from the later to the earlier. */
static bool look_at(struct looking *l, const struct expiry *e)
{
    l->next = fmin(l->next, expiry_next(e, l->to));
    return expiry_next(e, l->from) != expiry_next(e, l->to);
}

static void look_at_secret(struct looking *l, const struct secret *s)
{
    struct expiry e;

    if (!expiry_of_secret(s, &e) || !look_at(l, &e))
        return;
    l->tell(l->arg, "Certificate", s->path, EVENT_MODIFIED);
    if (s->pair_problem || s->trust_problem)
        return; /* which the alarm is about */
    _cleanup_(mem_free_p) char *name = mem_printf("certificate %s", s->path);
    l->tell(l->arg, "Alarm", name,
            !expiry_is_alarm(&e, l->from) ? EVENT_ADDED
            : expiry_is_alarm(&e, l->to)  ? EVENT_MODIFIED
                                          : EVENT_REMOVED);
}

double expiry_look(const struct view *v, double from, double to, expiry_tell tell, void *arg)
{
    struct looking l = {from, to, HUGE_VAL, tell, arg};
    struct expiry e;

    for (const struct secret *s = pmap_after(v->secrets, &view_secrets, ""); s;
         s = pmap_after(v->secrets, &view_secrets, s->path))
        look_at_secret(&l, s);
    for (const struct document *d = view_document_after(v, DOCUMENT_TOKEN, ""); d;
         d = view_document_after(v, DOCUMENT_TOKEN, d->name))
        if (expiry_of_token(d, &e) && look_at(&l, &e))
            tell(arg, "Token", d->name, EVENT_MODIFIED);
    return l.next;
}
