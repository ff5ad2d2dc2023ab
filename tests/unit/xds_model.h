/*
 * A model of an xDS client, strict about all that the protocol promises, and of a world that changes: run against a
 * session in random interleavings of changes, requests, responses, refusals and cuts. The same seed gives the same
 * run.
 */
#ifndef TESTS_UNIT_XDS_MODEL_H
#define TESTS_UNIT_XDS_MODEL_H

#include "server/xds_table.h"

#include <stdbool.h>

/* How the client says no to a response with a bad resource. */
enum model_refusal {
    MODEL_TAKES_ALL,   /* there is nothing bad */
    MODEL_LOSES_ALL,   /* the whole response is lost, and the words name nobody (a constraint violation) */
    MODEL_NAMES,       /* the good ones are taken, and the words name the bad */
    MODEL_LOSES_NAMES, /* the whole response is lost, the words name the bad */
};

struct model_options {
    enum xds_variant variant;
    enum model_refusal refusal;
    bool aggregated;   /* else one session for each type */
    bool cuts;         /* streams are cut and come back */
    bool warms;        /* answers for clusters wait for their assignments */
    bool asks_by_name; /* for some clusters and listeners only, and changes its mind */
    unsigned steps;
};

/* Fails the running test when a promise is broken. */
void model_run(uint64_t seed, const struct model_options *o);

#endif
