/*
 * What the log says of a change: each exposure, secret and gateway whose state became another one, once, with the
 * object's name and the reason. Pure but for the log.
 */
#ifndef SERVER_REPORT_H
#define SERVER_REPORT_H

#include "store/view.h"

void report_delta(const struct view_delta *delta);
/* An exposure's problems, as they are and as they were. */
void report_problems(const char *exposure, const struct problem *now, size_t n_now, const struct problem *before,
                     size_t n_before);

#endif
