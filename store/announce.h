/* What a difference between two views means as events (store/events.h). Pure. */
#ifndef STORE_ANNOUNCE_H
#define STORE_ANNOUNCE_H

#include "store/events.h"
#include "store/view.h"

typedef void (*announce_one)(void *arg, const char *json);

/* {"kind", "name", "change", "revision", "time"}: exposures one by one, services, certificates and their alarms,
 * gateways, listeners, the alarm "agent" where the state became stale or is not any more, and the revision where it
 * is a new one. now: seconds since 1970. Returns how many there are; of more than `max` the last ones alone are
 * emitted. */
size_t announce_delta(const struct view_delta *delta, double now, size_t max, announce_one emit, void *arg);
/* Exposures whose configuration, not only whose endpoints, is new or another one, with their gateways: what is
 * declared, whom they share it with, or whether it is served at all. One may be named twice. */
void announce_configured(const struct view_delta *delta,
                         void (*one)(void *arg, const char *gateway, const char *exposure), void *arg);
/* One event; in buf, which is emptied before. */
const char *announce_text(struct buf *b, const char *kind, const char *name, enum event_change change,
                          uint64_t revision, double now);

#endif
