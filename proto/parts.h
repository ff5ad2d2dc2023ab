/*
 * The parts of a resource that many exposures share, which stand or fall by themselves: the filter chains of a
 * listener, the virtual hosts of a route configuration (of one that several exposures share: what each of them has
 * there). They are found on the wire, and another resource is put together of some of them, without whoever made
 * the first: bytes that were encoded once are copied, never made anew.
 *
 * A part that is left out can be stood in for by what an earlier form of the resource had in its place: the part of
 * the same name, or else the one that served the same server names or domains, as long as no part that is there
 * claims one of these.
 *
 * Filter chains that say the same but for their names and what they match are kin: one chain's, for several server
 * names (store/plan.h). What is wrong with the one's content is wrong with all.
 *
 * Pure and deterministic: the same parts give the same bytes.
 */
#ifndef PROTO_PARTS_H
#define PROTO_PARTS_H

#include "proto/resource.h"

struct part {
    uint64_t digest;   /* of all that it says: the same content has the same digest, whatever stands beside it */
    uint64_t content;  /* the same without a filter chain's name and match */
    size_t kin;        /* the first part of that content, by its place */
    const char *name;  /* of the filter chain or virtual host */
    const char *owner; /* the exposure whose routes these are; NULL: of a filter chain, or of the gateway itself */
};

struct parts;

/* Of a listener or route configuration, which it holds a reference to; NULL: of another type, or there is none. */
struct parts *parts_of(struct resource *r);
void parts_free(struct parts *p); /* NULL is allowed */
define_cleanup(struct parts *, parts_free)
/* In the order in which they stand there. Borrowed. */
size_t parts_count(const struct parts *p);
const struct part *parts_at(const struct parts *p, size_t i);
/* Whether there is a part that says the same; that has the same content. */
bool parts_have(const struct parts *p, uint64_t digest);
bool parts_have_content(const struct parts *p, uint64_t content);
/* Whether the bytes of a part hold this name as a text of their own, as they do with each name that they refer to. */
bool part_mentions(const struct parts *p, size_t i, const char *name);

struct parts_choice {
    const bool *in;              /* which parts are taken */
    const struct parts *instead; /* an earlier form, for those that are not; NULL: there is none */
    /* Whether a part of the earlier form may stand in. */
    bool (*usable)(void *arg, const struct parts *instead, size_t i);
    void *arg;
};
/* The resource of these parts, and how many others stand in. NULL: none is in it. The caller's reference. */
struct resource *parts_compose(const struct parts *p, const struct parts_choice *choice, size_t *ret_instead);

/* Whether an exposure serves that domain or server name, to the letter. */
bool parts_serve(const struct parts *p, const char *key);
/*
 * All of `now`, and beside it what `before` serves under those domains that nobody in `now` does and that are wanted.
 * NULL: there are none. The caller's reference.
 */
struct resource *parts_keep(const struct parts *now, const struct parts *before,
                            bool (*wanted)(void *arg, const char *domain), void *arg);

#endif
