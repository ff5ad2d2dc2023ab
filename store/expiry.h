/*
 * What runs out: certificates that are served, and tokens of the REST interface. When that is worth an alarm, and
 * when what is said of it changes. Pure; times are seconds since 1970.
 */
#ifndef STORE_EXPIRY_H
#define STORE_EXPIRY_H

#include "base/json.h"
#include "store/events.h"
#include "store/view.h"

enum { EXPIRY_CERTIFICATE_DAYS = 30, EXPIRY_TOKEN_DAYS = 14, EXPIRY_DAY_SECONDS = 86400 };

enum expiry_state { EXPIRY_FAR, EXPIRY_SOON, EXPIRY_OVER };

/*
 * An alarm from warned_at to told_until, with other words from ends_at on. A certificate that is over is an alarm as
 * long as it is served. One of a token ends by itself, as long after its end as it began before it: nobody has to
 * tidy up after tokens of an hour.
 */
struct expiry {
    double warned_at, ends_at, told_until;
};

/* Whole ones, of the second that `now` is in; negative once it is past. */
int64_t days_until(int64_t then, double now);

/* False: it has none. */
bool expiry_of_secret(const struct secret *s, struct expiry *ret);
/* Of the document of a token (DOCUMENT_TOKEN), by its member expires_at. */
bool expiry_of_token(const struct document *d, struct expiry *ret);
/* The same, where the document's body was parsed already. */
bool expiry_of_token_body(const struct document *d, const json_t *body, struct expiry *ret);
enum expiry_state expiry_state(const struct expiry *e, double now);
bool expiry_is_alarm(const struct expiry *e, double now);
/* When something else is to be said of it; HUGE_VAL: never again. */
double expiry_next(const struct expiry *e, double now);

/* What is wrong with a secret, in the arena; NULL: nothing. *ret_since: 0 where it is not known. */
const char *secret_alarm(const struct secret *s, double now, struct arena *arena, double *ret_since);

/*
 * Tells of everything of which something else is to be said at `to` than at `from`: alarms and certificates by the
 * name of the certificate, tokens by their id. Returns when that is so for the next time after `to`, or HUGE_VAL.
 */
typedef void (*expiry_tell)(void *arg, const char *kind, const char *name, enum event_change change);
double expiry_look(const struct view *v, double from, double to, expiry_tell tell, void *arg);

#endif
