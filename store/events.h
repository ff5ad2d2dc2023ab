/*
 * Events: what became another, one after the other, for whoever watches. An event says which object it was, not what
 * became of it: who wants to know reads the object. The last EVENTS_MAX are kept, in memory and over restarts.
 *
 * An event's place is EPOCH.SEQ. Within an epoch no number is missing and none is used twice; a new epoch begins when
 * that can't be promised any more (the machine was started anew, or the events on the disk are lost). Who was at a
 * place that is too old, of another epoch, or of the future, has to read everything again.
 *
 * Thread-safe; nobody who reads is waited for.
 */
#ifndef STORE_EVENTS_H
#define STORE_EVENTS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { EVENTS_MAX = 4096, EVENT_BYTES_MAX = 4096 };

enum event_change { EVENT_ADDED, EVENT_MODIFIED, EVENT_REMOVED };

struct event_place {
    uint64_t epoch, seq; /* seq 0: before the first */
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
/* The writer's, at the start: one that was read from the disk; in their order. */
void event_ring_restore(struct event_ring *r, uint64_t seq, const char *json);

/* Wakes all who watch, without an event: for those who have to say something now and then. */
void event_ring_tick(struct event_ring *r);

struct event_place event_ring_last(struct event_ring *r);
/*
 * Appends the next event behind *place as text/event-stream (WHATWG HTML, 9.2) has it, if any member "kind" is among
 * kinds (NULL-terminated; NULL: all), and moves *place on; events that are left out are passed. False: there is none.
 * *ret_lost: what was behind *place is not known any more; *place is moved to the newest.
 */
bool event_ring_next(struct event_ring *r, struct event_place *place, const char *const *kinds, struct buf *out,
                     bool *ret_lost);

/* Calls wake (in the writer's thread, which it must not keep waiting) after each event until it is taken back. */
struct event_watch;
struct event_watch *event_watch_new(struct event_ring *r, void (*wake)(void *arg), void *arg);
/* wake is not called any more when it returns. */
void event_watch_free(struct event_watch *w);

#endif
