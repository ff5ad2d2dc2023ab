/*
 * Inside a session: its state, and the seams between its parts.
 *
 *     xds_session.c    life, gateway, requests, subscriptions
 *     xds_send.c       what to send next, and in which order
 *     xds_message.c    how it is encoded
 *     xds_verdict.c    what the client says to it
 *     xds_parts.c      which parts of a resource it refuses, and what it gets without them
 *     xds_kept.c       what it has of these, for its next stream
 *     xds_bridge.c     what it keeps for a while of what moves elsewhere
 *
 * What a client holds (`held`) is what it has once it has taken all that was sent so far. A refusal takes that back.
 */
#ifndef SERVER_XDS_STREAM_H
#define SERVER_XDS_STREAM_H

#include "base/pointers.h"
#include "server/xds_decode.h"
#include "server/xds_lot.h"
#include "server/xds_news.h"
#include "server/xds_rollout.h"
#include "server/xds_session.h"

/* How long to wait for what a client ought to do (see xds_send.c). */
#define XDS_PATIENCE (2 * CLOCK_NS_PER_S)
/* Envoy's own patience with a subscription (initial_fetch_timeout); a client that warms may be silent for that
 * long. */
#define XDS_WARMING (15 * CLOCK_NS_PER_S)
/* For a client to get a new cluster ready: what takes longer has no endpoint that answers. */
#define XDS_READY (500 * (clock_ns)CLOCK_NS_PER_MS)
/* For connections that a client's listener had before: to have one more request answered where it leads no more. */
#define XDS_LINGER (5 * CLOCK_NS_PER_S)
/* For a listener to lead elsewhere, all in all: Envoy's patience with what it needs, and a linger. */
#define XDS_BRIDGE_MAX (XDS_WARMING + XDS_LINGER)
/* Of one client's route configurations so many keep something at a time: each is compared with all others of its
 * listener. What moves beyond that is not kept. */
enum { XDS_BRIDGES_MAX = 256 };
/* For the types that a client has not asked for yet at the beginning of a stream. */
#define XDS_GRACE (100 * (clock_ns)CLOCK_NS_PER_MS)

/* A response that was sent and is not answered, or whose refusal is still fresh. */
struct xds_response {
    struct xds_response *next; /* the one that was sent after it */
    uint64_t nonce;
    clock_ns sent_at;
    struct hash128 version; /* state of the world: of the content that the client holds with it */
    uint32_t n, n_removed;
    struct xds_form **forms;   /* what it brought, by slot */
    struct xds_lot *lot;       /* forms is this lot's, and shared; NULL: its own */
    struct xds_form **before;  /* what the client held of each before; NULL: nothing of any */
    struct xds_form **removed; /* what it took away (state of the world: by leaving it out), by slot */
    bool fresh;                /* it brought forms that no client had taken before */
    bool trial;                /* of suspects */
    bool waived;               /* of clusters: their assignments are waited for no longer */
    bool answered;             /* refused: kept for a while, see in_use */
};

/* Suspects that are sent together, by slot. */
struct xds_group {
    struct xds_group *next;
    uint32_t n;
    uint32_t slots[];
};

/* One type on the stream. */
struct xds_sub {
    enum xds_type type;
    struct xds_table *table; /* NULL until the gateway is known */
    bool asked;              /* it had its first request */
    bool wildcard;
    bool had_names;  /* state of the world: an empty list is no wildcard (any more) */
    bool answer_due; /* to be answered even if there is nothing to say */
    bool claims;     /* state of the world: the client came with a version, not compared yet */
    struct hash128 claim;
    bool presumed; /* of claims: it came with some version */

    struct bits named;      /* subscribed by name; one reference to each slot */
    struct bits pending;    /* slots to look at: what the client holds may not be what it should */
    struct bits blocked;    /* of those: looked at, to be looked at again when something happens */
    struct bits owed;       /* an answer is due even if the client holds it: asked for again, or in doubt */
    struct bits suspect;    /* in a group, or in a trial under way */
    struct bits holding;    /* slots of which the client has a form: */
    struct bits same;       /* the current one of these, */
    struct bits confirmed;  /* and of these the client said itself that it has the form that it holds */
    struct xds_form **held; /* another one of the others; by slot, up to cap */
    uint32_t cap;
    bool sums;          /* state of the world: keep the sum */
    struct hash128 sum; /* of held */

    struct xds_response *first, *last; /* by age */
    unsigned n_unanswered;
    uint64_t nonce; /* of the last response, 0: none yet */
    struct xds_group *groups;
    struct xds_mix *mixes;      /* see xds_parts.c */
    struct xds_bridge *bridges; /* see xds_bridge.c */
    struct xds_memo memo;       /* of resource_names */
};

struct xds_session {
    struct xds_watcher watcher; /* first: it is what the gateway tells */
    const struct xds_common *common;
    struct xds_session_options options;
    char *peer;
    struct xds_gateway *gateway;
    struct xds_refusing *refusing;
    uint64_t stream;      /* number of the proxy's */
    struct pointers kept; /* forms that the proxy had, one of a slot at most: see xds_kept.c */

    /* of the node */
    bool node_known;
    char *node_id, *node_cluster, *node_gateway, *node_version; /* node_version: of Envoy, "1.31.2" */
    uint64_t proxy;

    struct xds_roster_entry roster;
    struct xds_news_entry news;
    struct xds_known *known; /* NULL: it is not remembered */
    struct xds_progress progress;

    struct buf held_requests; /* length and bytes of each, until the gateway is known */

    struct xds_sub subs[XDS_TYPES];
    uint64_t last_nonce;
    clock_ns grace_until, deadline;

    struct bits waived; /* clusters whose assignment is not waited for: the client does not ask for it */
    struct xds_response *awaited,
        *awaited_last;      /* taken clusters' responses, until the wait for subscriptions ends */
    clock_ns claimed_until; /* the same for clusters that the client brought along; 0: none */

    /* Slots of what the client's listeners and routes (and clusters) may still use: see xds_send.c. */
    bool in_use_valid, all_in_use[XDS_TYPES];
    struct bits in_use[XDS_TYPES];
    clock_ns in_use_until;
};

/* ---- xds_session.c ---- */
static inline bool xds_covers(const struct xds_sub *sub, uint32_t slot)
{
    return sub->wildcard || bits_get(&sub->named, slot);
}
/* Of 64 slots: those that it covers. */
static inline uint64_t xds_covered_word(const struct xds_sub *sub, uint32_t word)
{
    return sub->wildcard ? UINT64_MAX : bits_word(&sub->named, word);
}
/* Of 64 slots: those of which the client said that it has the current form. */
static inline uint64_t xds_confirmed_word(const struct xds_sub *sub, uint32_t word)
{
    return bits_word(&sub->same, word) & bits_word(&sub->confirmed, word);
}
static inline struct xds_form *xds_held(const struct xds_sub *sub, uint32_t slot)
{
    if (bits_get(&sub->same, slot))
        return sub->table->current[slot];
    return slot < sub->cap ? sub->held[slot] : NULL;
}
/* The same bytes, maybe taken away and put back meanwhile. a may be NULL. */
static inline bool xds_same_form(const struct xds_form *a, const struct xds_form *b)
{
    return a == b || (a && a->slot == b->slot && a->version == b->version);
}
/* What the client held before it was sent the i-th form of the response; or NULL. */
static inline struct xds_form *xds_before(const struct xds_response *r, uint32_t i)
{
    return r->before ? r->before[i] : NULL;
}
/* Responses hold all that is covered: what is missing there is removed. */
static inline bool xds_is_full(const struct xds_session *s, enum xds_type type)
{
    return s->options.variant == XDS_SOTW && (type == XDS_CLUSTER || type == XDS_LISTENER);
}
/* The client holds f (may be NULL) now; takes a reference of its own. */
void xds_hold(struct xds_sub *sub, uint32_t slot, struct xds_form *f);
/* Slots that waited are to be looked at again: something that they may have waited for happened. */
void xds_session_unblock(struct xds_session *s);

/* The gateway, and what waited for it. 1 when the client can be served, 0 when not yet, or an error. */
int xds_session_settle(struct xds_session *s, clock_ns now, struct err *e);

/* ---- xds_send.c ---- */
bool xds_is_refused(const struct xds_session *s, enum xds_type type, uint64_t version);
/* What the client should hold of a slot: the current form, or what stands in for it where it was refused; or NULL. */
struct xds_form *xds_target(struct xds_session *s, struct xds_sub *sub, uint32_t slot);
void xds_response_free(struct xds_response *r);
/* Where the slot is in what the response brought, r->n when it is not there; and the same in what it took away. */
uint32_t xds_find_brought(const struct xds_response *r, uint32_t slot);
uint32_t xds_find_removed(const struct xds_response *r, uint32_t slot);
/* Something was sent of it that the client did not answer: nobody knows whether it has that already. */
bool xds_is_under_way(const struct xds_sub *sub, uint32_t slot);
/* Whether a client that came with a version has what that stands for. */
void xds_check_claim(struct xds_session *s, struct xds_sub *sub, clock_ns now);

/* ---- xds_parts.c ---- */
/* Something of a current form, or of an earlier one, was refused in parts, or may be: what the client gets of it
 * depends on what it has. */
bool xds_in_doubt(const struct xds_session *s, const struct xds_form *current);
/*
 * What a client gets of a form that is current, given what it refused of it: the form itself, one that is composed of
 * its parts, or NULL: nothing of it. Borrowed.
 */
struct xds_form *xds_mixed(struct xds_session *s, struct xds_sub *sub, uint32_t slot, struct xds_form *current);
/* A composed form, or the current one, was just refused: says which parts that proves to be at fault. Calls guilty()
 * for each of them. True: what is left of it is still tried, or known to be good. */
bool xds_accuse_parts(struct xds_session *s, struct xds_sub *sub, uint32_t slot,
                      void (*guilty)(struct xds_session *s, const struct xds_sub *sub, struct xds_form *current,
                                     const struct part *part, const char *words));
void xds_mix_forget(struct xds_sub *sub, uint32_t slot);
void xds_mixes_free(struct xds_sub *sub);
/* What it refused of a current form, the whole or the first of its parts; borrowed, NULL: nothing. */
const struct xds_refusal *xds_refusal_of(const struct xds_session *s, struct xds_form *current);
/* Whether the client confirmed a form that is all of the current one and more. */
bool xds_has_more(const struct xds_sub *sub, uint32_t slot);
/* How a client that lacks the current form stands with what one bundle has in it. */
enum xds_standing { XDS_LACKS, XDS_HAS, XDS_REFUSES };
struct xds_bundle;
enum xds_standing xds_standing_of(const struct xds_session *s, const struct xds_sub *sub, uint32_t slot,
                                  const struct xds_bundle *b, const struct xds_refusal **ret_refusal);

/* ---- xds_kept.c ---- */
/* The form that the client has, as far as its answers tell: what is under way proves nothing. Borrowed, or NULL. */
struct xds_form *xds_has(const struct xds_sub *sub, uint32_t slot);
/* Writes it down, where something of what is current was refused. */
void xds_keep(struct xds_session *s, const struct xds_sub *sub, uint32_t slot);
/* What was written down last; borrowed until the next xds_kept() that finds another form of it, or NULL. */
struct xds_form *xds_kept(struct xds_session *s, const struct xds_sub *sub, uint32_t slot);
/* The stream ends: what is to be known when the proxy comes back. */
void xds_kept_leave(struct xds_session *s);
void xds_kept_free(struct xds_session *s);

/* ---- xds_bridge.c ---- */
/* The current form of a route configuration, or what the client gets in its place for a while. Borrowed. */
struct xds_form *xds_bridged(struct xds_session *s, struct xds_sub *sub, struct xds_form *current);
/* The client will hold this form. */
void xds_bridge_sent(struct xds_sub *sub, const struct xds_form *f, clock_ns now);
/* Ends what is over; returns when to be called again at the latest. */
clock_ns xds_bridges_pass(struct xds_session *s, clock_ns now);
/* Calls use() for each form that keeps something, or is about to. */
void xds_bridges_use(struct xds_session *s, const struct xds_sub *sub,
                     void (*use)(struct xds_session *s, const struct xds_form *f));
void xds_bridges_free(struct xds_sub *sub);

/* ---- xds_progress.c ---- */
/* Whether the client took what the form needs beside itself, in some form each. */
bool xds_progress_has_needs(const struct xds_session *s, const struct xds_form *f);

/* ---- xds_message.c ---- */
void xds_message_begin(struct xds_message *m, const struct xds_session *s, enum xds_type type, uint64_t nonce,
                       struct hash128 version);
void xds_message_add(struct xds_message *m, struct xds_part part);
void xds_message_add_removed(struct xds_message *m, const struct xds_name *name);
/* Lower-case hexadecimal digits; n at most 16. False when there is anything else. */
bool xds_hex_parse(const char *p, size_t n, uint64_t *ret);
bool xds_version_parse(struct xds_span text, struct hash128 *ret);
/* A nonce's text: 16 hexadecimal digits. 0 when the text is none. */
uint64_t xds_nonce_parse(struct xds_span text);

/* ---- xds_verdict.c ---- */
void xds_confirm(struct xds_sub *sub, const struct xds_response *r);
void xds_take_ack(struct xds_session *s, struct xds_sub *sub, uint64_t nonce, clock_ns now);
void xds_take_nack(struct xds_session *s, struct xds_sub *sub, uint64_t nonce, struct xds_span words, clock_ns now);
/* Reports words that are about an earlier response than the last, which was taken. */
void xds_tell_nack(const struct xds_session *s, const struct xds_sub *sub, struct xds_span words);

#endif
