/*
 * Events: what became another, one after the other, for whoever watches. An event says which object it was, not what
 * became of it: who wants to know reads the object. The last EVENTS_MAX are kept, in memory and over restarts.
 *
 * An event's place is EPOCH.SEQ. Within an epoch no number is missing and none is used twice; a new epoch begins when
 * that can't be promised any more (the machine was started anew, or the events on the disk are lost). Who was at a
 * place that is too old, of another epoch, or of the future, has to read everything again.
 *
 * What proxies say changes far more often than what people and the agent say, and is nothing to look up later: such
 * events are passing. They have no place of their own and are not kept over restarts; they can't push another event
 * out of the ring. Of each object there is the newest one alone: who reads slowly is told once of what changed often.
 * A passing event is told behind the place at which it happened, again to who goes on from there: repeated, not lost.
 *
 * Thread-safe; nobody who reads is waited for.
 */
#ifndef STORE_EVENTS_H
#define STORE_EVENTS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { EVENTS_MAX = 4096, EVENTS_PASSING_MAX = 4096, EVENT_BYTES_MAX = 4096 };

enum event_change { EVENT_ADDED, EVENT_MODIFIED, EVENT_REMOVED };

struct event_place {
    uint64_t epoch, seq; /* seq 0: before the first */
    uint64_t next;       /* number of the passing event to go on with; 0: the first that happened at seq */
};

enum { EVENT_PLACE_MAX = 48 };
/* "EPOCH.SEQ", both in decimal digits; in buf (of EVENT_PLACE_MAX bytes). */
const char *event_place_text(struct event_place p, char *buf);
/* -EINVAL. Numbers that are too large for any place become the largest, where nothing ever was. */
int event_place_parse(const char *text, struct event_place *ret);

struct event_ring;

struct event_ring *event_ring_new(uint64_t epoch);
void event_ring_free(struct event_ring *r); /* nobody watches any more */

/* The writer's: an event's JSON ({"kind", "name", "change", ...}), copied. Returns its number. */
uint64_t event_ring_add(struct event_ring *r, const char *json);
/* So many are about to be added, which a view already tells of: a place behind them is no lost one, and what passes
 * meanwhile comes behind them. */
void event_ring_expect(struct event_ring *r, uint64_t n);
/* So many numbers go by unheard: whoever has not read what was before has to read everything. */
void event_ring_skip(struct event_ring *r, uint64_t n);
/* Any thread: a passing event of the object key (its kind and name), which stands in for an earlier one; copied. */
void event_ring_pass(struct event_ring *r, const char *key, const char *json);
/* The writer's, at the start: one that was read from the disk; in their order. */
void event_ring_restore(struct event_ring *r, uint64_t seq, const char *json);

/* Wakes all who watch, without an event: for those who have to say something now and then. */
void event_ring_tick(struct event_ring *r);

struct event_place event_ring_last(struct event_ring *r);
/*
 * Appends the next event behind *place as text/event-stream (WHATWG HTML, 9.2) has it, if any member "kind" is among
 * kinds (NULL-terminated; NULL: all), and moves *place on; events that are left out are passed. A passing event is
 * told with the id of the place that it is told at. False: there is none.
 * *ret_lost: what was behind *place is not known any more; *place is moved to the newest.
 */
bool event_ring_next(struct event_ring *r, struct event_place *place, const char *const *kinds, struct buf *out,
                     bool *ret_lost);

/* Calls wake (in the teller's thread, which it must not keep waiting) after each event until it is taken back. */
struct event_watch;
struct event_watch *event_watch_new(struct event_ring *r, void (*wake)(void *arg), void *arg);
/* wake is not called any more when it returns. */
void event_watch_free(struct event_watch *w);

#endif
