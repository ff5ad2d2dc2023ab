/*
 * The edits of the REST interface's threads, on their way to the writer: all that wait are taken at once, so that
 * they share one flush.
 *
 * An edit that was refused because others were faster comes again. Those that were refused more often go first, and
 * who was refused EDIT_TURN_AFTER times gets a turn of its own: the others wait meanwhile, but not for longer than it
 * takes to try again.
 */
#ifndef SERVER_EDIT_QUEUE_H
#define SERVER_EDIT_QUEUE_H

#include "base/loop.h"
#include "store/edit.h"

#include <stddef.h>

enum { EDIT_TURN_AFTER = 4, EDIT_TURN_MS = 100 };

struct edit_queue;

/* take: what becomes of them is in the requests when it returns; called in the loop's thread. The loop and arg must
 * live until edit_queue_close(). */
struct edit_queue *edit_queue_new(struct loop *l, const struct clock *clock,
                                  void (*take)(void *arg, struct edit_request *const *requests, size_t n), void *arg);
/* Any thread. done is called once, in the loop's thread or, when the queue was closed before, in this one. How many
 * can wait is for the callers to bound. */
void edit_queue_add(struct edit_queue *q, struct edit_request *r, void (*done)(struct edit_request *r, void *arg),
                    void *done_arg);
/* The loop's thread: what still waits is refused (-EIO), and what comes from now on. */
void edit_queue_close(struct edit_queue *q);
/* After edit_queue_close(), when nobody adds any more and the loop was freed. NULL is allowed. */
void edit_queue_free(struct edit_queue *q);

#endif
