/*
 * Since when an exposure claims its place on a listener, and each of its names. Pure.
 *
 * One that stays on its listener keeps what it had, name by name; a name that is new to it is claimed from now on. On
 * another listener it begins anew.
 */
#ifndef STORE_CLAIMS_H
#define STORE_CLAIMS_H

#include "store/service.h"

/* What was in effect of an exposure before. */
struct claims {
    const struct exposure *x; /* NULL: nothing was */
    const char *gateway;      /* NULL: none */
    uint16_t port;            /* the effective one; 0: none */
    uint64_t since;
    const struct name_since *later;
    size_t n_later;
};

static inline struct claims claims_of(const struct service_exposure *sx)
{
    return (struct claims){.x = sx->x->valid ? sx->x : NULL,
                           .gateway = sx->gateway,
                           .port = sx->listener_port,
                           .since = sx->since,
                           .later = sx->later,
                           .n_later = sx->n_later};
}

/* Sets since and later of a state that has its gateway and port. Names are borrowed from x. Returns whether anything
 * is claimed only from now on. */
bool claims_keep(const struct claims *before, const struct exposure *x, uint64_t now, struct arena *arena,
                 struct exposure_state *state);

#endif
