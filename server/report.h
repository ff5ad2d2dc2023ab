/*
 * What the log says of a change: each exposure, secret and gateway whose state became another one, once, with the
 * object's name and the reason. Pure but for the log.
 */
#ifndef SERVER_REPORT_H
#define SERVER_REPORT_H

#include "store/view.h"

void report_delta(const struct view_delta *delta);

#endif
