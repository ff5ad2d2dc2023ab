/*
 * The collections: what is listed, and how each object is written. Handlers that need parts of them find these here.
 */
#ifndef API_OBJECTS_H
#define API_OBJECTS_H

#include "api/list.h"
#include "store/expiry.h"
#include "store/spec.h"

enum { OBJECT_NAME_MAX = 1024, DAY_SECONDS = EXPIRY_DAY_SECONDS };

extern const struct collection exposure_collection, endpoint_collection, gateway_collection, listener_collection,
    service_collection, certificate_collection, proxy_collection, resource_collection, topology_collection,
    topology_exposure_collection, alarm_collection, grant_collection, token_collection, override_collection,
    revision_collection, audit_collection, session_collection;

/* ---- exposures ---- */

/* How a condition stands: "ok", "warning", "failed", "unknown". */
enum condition_state { CONDITION_OK, CONDITION_WARNING, CONDITION_FAILED, CONDITION_UNKNOWN, CONDITION_STATES };
const char *condition_state_name(enum condition_state s);
extern const char *const condition_states[]; /* all names, NULL-terminated */
/* How bad it is: ok 0, unknown 1, warning 2, failed 3. */
int condition_severity(enum condition_state s);
enum condition_state condition_worse(enum condition_state a, enum condition_state b);

struct condition {
    enum condition_state state;
    const char *reason;  /* a word for programs: "accepted", "conflict", "nacked", "expired" */
    const char *message; /* a sentence for people, or "" */
};

/* What translation had to leave out of an exposure. */
struct left_out {
    const struct problem *items;
    size_t n;
    bool whole; /* it is not served as a whole, and not just in a part */
};
struct left_out exposure_left_out(struct call *c, const struct service_exposure *sx);

/* All of an exposure's; reasons and messages live in the arena or the view. */
struct conditions {
    struct condition accepted, programmed, endpoints, certificate;
    struct left_out left_out;
    struct api_programmed proxies;
    bool has_expiry;
    int64_t not_after; /* of the certificate that ends first */
};
void exposure_conditions(struct call *c, const struct service_exposure *sx, struct conditions *ret);
enum condition_state conditions_worst(const struct conditions *all);
/* Members of an object: each condition; of what hinders its acceptance, problems_max at most. */
void exposure_write_conditions(struct call *c, const struct service_exposure *sx, const struct conditions *all,
                               size_t problems_max, struct writer *w);
/* One of them alone; for what is looked at by thousands. */
enum condition_kind { CONDITION_ACCEPTED, CONDITION_PROGRAMMED, CONDITION_ENDPOINTS, CONDITION_CERTIFICATE };
struct condition exposure_condition(struct call *c, const struct service_exposure *sx, enum condition_kind kind);

/*
 * What the proxies said of an exposure. That is asked of another thread: who needs it of many says so before, so that
 * all are asked about at once.
 */
void exposures_expect(struct call *c, const struct service_exposure *const *items, size_t n);
void exposures_expect_all(struct call *c);
struct api_programmed exposure_programmed(struct call *c, const struct service_exposure *sx);
/* The filter chains that it takes part in, of its listener's plan; how many. */
size_t exposure_chains(struct call *c, const struct service_exposure *sx, const struct plan_chain *const **ret);
/* Whether a list is filtered or sorted by how exposures stand: then all have to be looked at. */
bool exposures_are_ranked(const struct call *c);
/* Whether a search for q finds it. */
bool exposure_is_found(struct call *c, const struct service_exposure *sx, const char *q);

/* In the order of services' paths, then of sections' numbers. */
const struct service_exposure *exposure_first(const struct view *v, const char *after);
const struct service_exposure *exposure_next(const struct view *v, const struct service_exposure *sx);
int exposure_name_compare(const char *a, const char *b);

void exposure_write_route(struct writer *w, const struct route *r);
void endpoint_write_status(struct writer *w, const struct endpoint *one);
/* What of it the topology tells, and what of its status. */
void topology_write_exposure(struct call *c, const void *item, struct writer *w);
void topology_write_exposure_status(struct call *c, const void *item, struct writer *w);

/* The same as an object, a new reference. */
json_t *exposure_json(const struct exposure *x, bool reveal, struct arena *arena);

/* Members of an object: `problems`, an array with pointers. */
void write_problems(struct writer *w, const struct exposure *x, const struct problem *items, size_t n,
                    struct arena *arena);

/* JSON with what may be secret in it replaced by "[redacted]": by the names of members. mem_free() it. */
char *json_redacted(const char *json);
/* As json_redacted(), in place, of an exposure's nested form or a part of it: what is secret there is known. */
void exposure_redact(json_t *nested);
/* Likewise, of a gateway's settings. */
void gateway_redact(json_t *settings);
/* A member that was passed through; json NULL: none. reveal: as it is. */
void write_passthrough(struct writer *w, const char *key, const char *json, bool reveal);
/* The certificates alone of a PEM text, in the arena: whatever else stands there stays behind. */
const char *pem_certificates(const char *pem, struct arena *arena);

/* ---- documents ---- */

/* What it holds, a new reference; NULL: there is no document, or what it holds can't be read. */
json_t *document_json(const struct document *d);
/* Of what was (NULL: not) and is (NULL: not any more): "created", "removed", "changed". */
const char *change_word(const void *before, const void *after);

/* ---- listeners ---- */

const char *chain_kind_name(enum chain_kind kind); /* "udp", "l4", "l7" */
const char *verdict_name(enum verdict_kind kind);  /* "accepted", "partial", "conflict", "unready", "invalid" */
/* Members of an object: which listener it is. */
void listener_write_place(const struct listener_plan *p, struct writer *w);
/* The names of the exposures that a listener_plan has verdicts of. */
void listener_exposures(struct call *c, const void *item, struct values *v);

/* ---- certificates ---- */

/* days_until() of now; what is written with it is not right any more when the number has changed. */
int64_t days_left(struct call *c, int64_t then);

/* ---- revisions and rollouts ---- */

/* False when it is no number that a revision could have: digits without leading zeros. */
bool revision_parse(const char *text, uint64_t *ret);
/* A member: what became of a revision with each proxy; null where that is not known. */
void rollout_write(struct call *c, uint64_t revision, const char *key, struct writer *w);
/*
 * Where the client is ready to wait (call_waits()): as call_later(), resume answers once the revision is acked by all
 * or refused by one, or the time is over. data: for resume alone, in the call's arena or NULL. False: nobody waits,
 * or too many do (API_WAITERS_MAX), and nothing else has happened.
 */
bool rollout_wait(struct call *c, uint64_t revision, void (*resume)(struct call *c, void *data), void *data);

/* ---- proxies ---- */

/* All that are connected or remembered, asked for once a call. */
const struct api_proxy *proxies_of(struct call *c, size_t *ret_n);
/* How many of a gateway (NULL: of all) are that. */
int64_t proxies_count(struct call *c, const char *gateway, enum api_presence presence);

/* ---- alarms ---- */

/* The daemon's and those that follow from the view, in the arena; of tokens, which are theirs alone to see, only for
 * administrators. */
const struct api_alarm *alarms_gather(struct call *c, enum role reader, size_t *ret_n);

/* Prometheus' text format: all of /metrics. */
void metrics_write(struct call *c, struct buf *b);

#endif
