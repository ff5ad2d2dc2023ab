/*
 * The board of alarms: what the daemon's parts say is wrong, from when it is said until it is over. Thread-safe: the
 * writer sets, the REST interface reads.
 */
#ifndef SERVER_ALARMS_H
#define SERVER_ALARMS_H

#include "base/mem.h"

#include <stdbool.h>

struct alarm_board;

struct alarm_board *alarm_board_new(void);
void alarm_board_free(struct alarm_board *b); /* NULL is allowed */
/* text NULL: it is over. One that is set again with other words keeps its time. */
void alarm_board_set(struct alarm_board *b, const char *name, const char *text);
bool alarm_board_has(struct alarm_board *b, const char *name);
/* Calls f for each, in the order of names, with the board's lock held. since: seconds since 1970. */
void alarm_board_each(struct alarm_board *b, void (*f)(void *arg, const char *name, const char *text, double since),
                      void *arg);

#endif
