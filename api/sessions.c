/*
 * The sessions, in a map by the digest of their secrets, and in a list by when they were used last. All have the same
 * patience, so those whose patience is over stand at the front of the list.
 *
 * Invariant: an entry stands in the map and in the list, or it is freed.
 */
#include "api/sessions.h"

#include "api/base64url.h"
#include "base/map.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SECRET_BYTES = 32, SECRET_DIGITS = 43 };

struct entry {
    uint8_t digest[CREDENTIAL_DIGEST]; /* of the secret */
    struct arena *arena;               /* it stands there, with all its texts */
    struct session session;            /* without the times of its use */
    clock_ns used, ends;               /* ends: in any case; also at session.expires_at */
    struct entry *before, *after;      /* before: used longer ago */
};

struct sessions {
    const struct clock *clock;
    pthread_mutex_t lock; /* of all below */
    struct map by_digest;
    struct entry *first, *last; /* first: not used for longest */
};

struct sessions *sessions_new(const struct clock *clock)
{
    struct sessions *s = mem_new(struct sessions);

    s->clock = clock;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

/* ---- entries; with the lock held ---- */

static void unlink_entry(struct sessions *s, struct entry *e)
{
    *(e->before ? &e->before->after : &s->first) = e->after;
    *(e->after ? &e->after->before : &s->last) = e->before;
}

static void link_last(struct sessions *s, struct entry *e)
{
    e->before = s->last;
    e->after = NULL;
    *(s->last ? &s->last->after : &s->first) = e;
    s->last = e;
}

static void end_entry(struct sessions *s, struct entry *e)
{
    (void)map_remove(&s->by_digest, (const char *)e->digest, sizeof(e->digest)); /* it is the entry */
    unlink_entry(s, e);
    arena_free(e->arena);
}

static clock_ns end_of(const struct entry *e)
{
    clock_ns idle = e->used + SESSION_IDLE_SECONDS * CLOCK_NS_PER_S;

    return idle < e->ends ? idle : e->ends;
}

/* By both clocks: one stands still while the machine sleeps, and what the session was begun with runs out by the
 * other. */
static bool is_over(const struct entry *e, clock_ns now)
{
    return end_of(e) <= now || e->session.expires_at <= clock_wall();
}

static void end_expired(struct sessions *s, clock_ns now)
{
    for (struct entry *e = s->first, *next; e; e = next) {
        next = e->after;
        if (is_over(e, now))
            end_entry(s, e);
    }
}

/* NULL: it is over, or there was none. */
static struct entry *use(struct sessions *s, struct entry *e, clock_ns now)
{
    if (!e)
        return NULL;
    if (is_over(e, now)) {
        end_entry(s, e);
        return NULL;
    }
    e->used = now;
    unlink_entry(s, e);
    link_last(s, e);
    return e;
}

/* Room for one more of that credential. */
static void make_room(struct sessions *s, const struct credential *of)
{
    struct entry *oldest = NULL;
    size_t n = 0;

    for (struct entry *e = s->first; e; e = e->after)
        if (credential_equal(&e->session.of, of)) {
            oldest = oldest ? oldest : e;
            n++;
        }
    if (n >= SESSIONS_OF_ONE_MAX)
        end_entry(s, oldest);
    else if (s->by_digest.count >= SESSIONS_MAX)
        end_entry(s, s->first);
}

static const char *const *copy_texts(const char *const *texts, size_t n, struct arena *arena)
{
    const char **copy = arena_array(arena, const char *, n + 1);

    for (size_t i = 0; i < n; i++)
        copy[i] = arena_strdup(arena, texts[i]);
    return copy;
}

static void copy_session(const struct session *from, struct arena *arena, struct session *ret)
{
    *ret = *from;
    ret->id = arena_strdup(arena, from->id);
    ret->name = arena_strdup(arena, from->name);
    ret->peer = arena_strdup(arena, from->peer);
    ret->gateways = copy_texts(from->gateways, from->n_gateways, arena);
}

/* As it stands at this moment. */
static void show(const struct entry *e, clock_ns now, struct arena *arena, struct session *ret)
{
    double wall = clock_wall();

    copy_session(&e->session, arena, ret);
    ret->used_at = wall - (double)(now - e->used) / (double)CLOCK_NS_PER_S;
    ret->ends_at = wall + (double)(end_of(e) - now) / (double)CLOCK_NS_PER_S;
}

/* ---- the door ---- */

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    while (s->first)
        end_entry(s, s->first);
    map_clear(&s->by_digest);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static struct entry *entry_new(const struct principal *who, const char *peer, const char *secret, clock_ns now)
{
    struct arena *arena = arena_new();
    struct entry *e = arena_new_of(arena, struct entry);
    char *id = arena_alloc(arena, SESSION_ID_DIGITS + 1);
    double wall = clock_wall(), seconds = SESSION_SECONDS;

    if (who->expires_at > 0)
        seconds = fmin(seconds, who->expires_at - wall);
    digest_of(secret, e->digest);
    digest_digits(e->digest, SESSION_ID_DIGITS, id);
    e->arena = arena;
    e->used = now;
    e->ends = now + (clock_ns)(seconds * (double)CLOCK_NS_PER_S);
    e->session = (struct session){.id = id,
                                  .of = who->credential,
                                  .name = arena_strdup(arena, who->name),
                                  .method = who->method,
                                  .role = who->role,
                                  .gateways = copy_texts(who->gateways, who->n_gateways, arena),
                                  .n_gateways = who->n_gateways,
                                  .peer = arena_strndup(arena, peer, SESSION_PEER_MAX),
                                  .created_at = wall,
                                  .expires_at = wall + seconds};
    return e;
}

const char *sessions_add(struct sessions *s, const struct principal *who, const char *peer, struct arena *arena,
                         struct session *ret)
{
    const char *secret = random_text(SECRET_BYTES, arena);
    clock_ns now = clock_now(s->clock);

    if (!secret)
        return NULL;
    struct entry *e = entry_new(who, peer, secret, now);
    pthread_mutex_lock(&s->lock);
    end_expired(s, now);
    make_room(s, &who->credential);
    (void)map_put(&s->by_digest, (const char *)e->digest, sizeof(e->digest), e); /* 256 random bits: it is new */
    link_last(s, e);
    show(e, now, arena, ret);
    pthread_mutex_unlock(&s->lock);
    return secret;
}

bool sessions_use(struct sessions *s, const char *secret, struct arena *arena, struct session *ret)
{
    uint8_t digest[CREDENTIAL_DIGEST];
    clock_ns now = clock_now(s->clock);

    if (strlen(secret) != SECRET_DIGITS || strspn(secret, base64url_digits) != SECRET_DIGITS)
        return false;
    digest_of(secret, digest);
    pthread_mutex_lock(&s->lock);
    struct entry *e = use(s, map_get(&s->by_digest, (const char *)digest, sizeof(digest)), now);
    if (e)
        show(e, now, arena, ret);
    pthread_mutex_unlock(&s->lock);
    return e;
}

static struct entry *find_by_id(const struct sessions *s, const char *id)
{
    struct entry *e = s->first;

    while (e && strcmp(e->session.id, id) != 0)
        e = e->after;
    return e;
}

bool sessions_use_id(struct sessions *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    bool used = use(s, find_by_id(s, id), clock_now(s->clock));
    pthread_mutex_unlock(&s->lock);
    return used;
}

bool sessions_end(struct sessions *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    struct entry *e = find_by_id(s, id);
    if (e)
        end_entry(s, e);
    pthread_mutex_unlock(&s->lock);
    return e;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct session *)a)->id, ((const struct session *)b)->id);
}

const struct session *sessions_list(struct sessions *s, const struct credential *of, struct arena *arena,
                                    size_t *ret_n)
{
    clock_ns now = clock_now(s->clock);
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    end_expired(s, now);
    struct session *items = arena_array(arena, struct session, s->by_digest.count + 1);
    for (struct entry *e = s->first; e; e = e->after)
        if (!of || credential_equal(&e->session.of, of))
            show(e, now, arena, &items[n++]);
    pthread_mutex_unlock(&s->lock);
    if (n)
        qsort(items, n, sizeof(*items), compare_ids);
    *ret_n = n;
    return items;
}

size_t sessions_count(struct sessions *s)
{
    pthread_mutex_lock(&s->lock);
    end_expired(s, clock_now(s->clock));
    size_t n = s->by_digest.count;
    pthread_mutex_unlock(&s->lock);
    return n;
}
