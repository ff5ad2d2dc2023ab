/*
 * Sessions of browsers: who logged in with a token or a client certificate holds a random secret instead, in a cookie
 * that no script can read. A session is no more than what it was begun with: that is looked up anew at each request
 * (api/auth.h), and a session ends as soon as it is gone or has other rights.
 *
 * They are in memory alone, so a restart ends them: nothing of them has to be kept safe on a disk or in a backup, and
 * logging in makes no revision. Only the SHA-256 of a secret is known here. Of one token (or certificate) there are
 * SESSIONS_OF_ONE_MAX at most, of all SESSIONS_MAX; past that the one that was not used for longest ends.
 *
 * Thread-safe; its lock is held for moments only, and no other one beneath it.
 */
#ifndef API_SESSIONS_H
#define API_SESSIONS_H

#include "api/auth.h"
#include "base/clock.h"

enum {
    SESSIONS_MAX = 1024,
    SESSIONS_OF_ONE_MAX = 16,
    SESSION_IDLE_SECONDS = 30 * 60, /* without a request */
    SESSION_SECONDS = 12 * 3600,    /* in any case */
    SESSION_ID_DIGITS = 16,
    SESSION_PEER_MAX = 63,
};

struct sessions;

/* Texts and lists live in the arena that was given. Times are seconds since 1970. */
struct session {
    const char *id; /* the first digits of the secret's SHA-256 */
    struct credential of;
    const char *name, *method; /* of who began it, and by what: "token", "certificate" */
    enum role role;
    const char *const *gateways;
    size_t n_gateways;
    const char *peer; /* where it was begun from */
    double created_at, used_at;
    double ends_at;    /* when it is not used any more */
    double expires_at; /* in any case */
};

struct sessions *sessions_new(const struct clock *clock); /* NULL: the real one; borrowed */
void sessions_free(struct sessions *s);                   /* NULL is allowed */

/* Who must have a credential. The secret, in the arena; NULL: no random bits can be had. */
const char *sessions_add(struct sessions *s, const struct principal *who, const char *peer, struct arena *arena,
                         struct session *ret);
/* The session of that secret, which is used now. False: there is none, or it is over. */
bool sessions_use(struct sessions *s, const char *secret, struct arena *arena, struct session *ret);
/* The same by its id, for a caller who was known by its secret. */
bool sessions_use_id(struct sessions *s, const char *id);
/* False: there is none of that id. */
bool sessions_end(struct sessions *s, const char *id);
/* All that are not over, by id; of: only those that were begun with it; NULL: any. */
const struct session *sessions_list(struct sessions *s, const struct credential *of, struct arena *arena,
                                    size_t *ret_n);
size_t sessions_count(struct sessions *s);

#endif
