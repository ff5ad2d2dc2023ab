/*
 * An answer that comes later: the handler hands its work to another thread and returns without an answer; the shell
 * serves others meanwhile, and goes on with the handler's second half once the work is done. In a handler:
 *
 *     struct job *job = job_new(...);                 what both halves and the other thread share
 *     struct later *l = later_new(job, job_free);
 *     job->later = l;
 *     loop_post(loop, do_job, job);                   there: job->result = ...; later_done(job->later);
 *     call_later(c, l, answer_job, 0);                and nothing after it
 *
 *     static void answer_job(struct call *c, void *data)      with the data, and a view of its own
 *
 * The data belongs to the other thread until it is done, then to the second half. Who asked may have gone by then, or
 * the daemon may stop: the second half never runs in that case, and the data is freed all the same, by whoever lets
 * go of it last.
 */
#ifndef API_LATER_H
#define API_LATER_H

#include "api/wake.h"

struct later;

/*
 * With two references: one that call_later() takes over, and one that later_done() does. free_data (NULL: nothing is
 * to be freed) is called once, in the thread that lets go of the last one.
 */
struct later *later_new(void *data, void (*free_data)(void *data));
/* It is done: what was written to the data before is seen by the second half. Any thread, once; may come before
 * call_later(). The data is not to be touched any more. */
void later_done(struct later *l);
void later_unref(struct later *l); /* NULL is allowed */

/* For the shell. */
bool later_is_done(const struct later *l);
void *later_data(const struct later *l);
struct wake *later_wake(const struct later *l); /* borrowed */

#endif
