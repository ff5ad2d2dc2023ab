/*
 * Faults: what a translation had to leave out, by the exposures that lack it. The model and the plan have let it
 * pass; what Envoy would refuse all the same is seen when the resource is made.
 *
 * A fault belongs to the resource that was being made. Making it anew, or dropping it, begins with faults_begin();
 * whatever is said before faults_settle() may be taken back before it: what ends as it began is no news.
 *
 * The writer's thread begins, adds and settles; any thread reads.
 */
#ifndef PROTO_FAULTS_H
#define PROTO_FAULTS_H

#include "proto/resource.h"
#include "store/service.h"

/* What is left out. */
enum fault_part {
    FAULT_CLUSTER,  /* its cluster: one without endpoints stands in its place */
    FAULT_ENDPOINT, /* its endpoints */
    FAULT_CHANGE,   /* the newest endpoints: those from before serve */
    FAULT_SECRET,   /* the newest form of a certificate, or its validation */
    FAULT_LISTENER, /* its filter chain, or the whole listener */
    FAULT_ROUTE,    /* one of its routes, or a virtual host */
};

/* The resource that is made. Texts are borrowed for the call. */
struct fault_origin {
    const char *gateway;
    enum xds_type type;
    const char *name;
};

/* In the writer's thread: the faults of an exposure are others than before. All is borrowed for the call. */
typedef void (*faults_tell)(void *arg, const char *exposure, const struct problem *now, size_t n_now,
                            const struct problem *before, size_t n_before);

struct faults;

struct faults *faults_new(void);
void faults_free(struct faults *f); /* NULL is allowed */

/* What was said of the resource is forgotten. */
void faults_begin(struct faults *f, const struct fault_origin *place);
/* e: with a field of the exposure ("route#1.match_regex") or none, and the reason. Copied. */
void faults_add(struct faults *f, const struct fault_origin *place, const char *exposure, enum fault_part part,
                const struct err *e);
/* What is gathered counts, and is told by exposure, in the order of names. tell may be NULL. */
void faults_settle(struct faults *f, faults_tell tell, void *arg);

/* Another number whenever faults_read() may answer otherwise than before. */
uint64_t faults_version(const struct faults *f);
/* Of an exposure, in the arena; returns how many. ret_whole: it is not served as a whole, and not just in a part. */
size_t faults_read(struct faults *f, const char *exposure, struct arena *arena, const struct problem **ret,
                   bool *ret_whole);

#endif
