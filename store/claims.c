/* Names are compared as sorted lists without repetitions. */
#include "store/claims.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* All names that an exposure claims, sorted, unique. */
static const char **claimed_names(struct arena *arena, const struct exposure *x, size_t *ret_n)
{
    size_t n = x->n_sni, unique = 0;
    const char **names;

    for (size_t i = 0; i < x->n_vhosts; i++)
        n += x->vhosts[i]->n_domains;
    names = arena_array(arena, const char *, n);
    n = 0;
    for (size_t i = 0; i < x->n_sni; i++)
        names[n++] = x->sni[i];
    for (size_t i = 0; i < x->n_vhosts; i++)
        for (size_t j = 0; j < x->vhosts[i]->n_domains; j++)
            names[n++] = x->vhosts[i]->domains[j];
    if (n)
        qsort(names, n, sizeof(*names), text_compare);
    for (size_t i = 0; i < n; i++)
        if (unique == 0 || strcmp(names[unique - 1], names[i]) != 0)
            names[unique++] = names[i];
    *ret_n = unique;
    return names;
}

static bool same_listener(const struct claims *before, const struct exposure *x, const struct exposure_state *state)
{
    return before->x && before->port && before->port == state->listener_port && before->gateway &&
           strcmp(before->gateway, state->gateway) == 0 && before->x->protocol == x->protocol &&
           address_compare(&before->x->listener_addr, &x->listener_addr) == 0;
}

static uint64_t since_of(const struct claims *before, const char *name)
{
    for (size_t i = 0; i < before->n_later; i++)
        if (strcmp(before->later[i].name, name) == 0)
            return before->later[i].since;
    return before->since;
}

bool claims_keep(const struct claims *before, const struct exposure *x, uint64_t now, struct arena *arena,
                 struct exposure_state *state)
{
    struct name_since *later;
    const char **names, **names_before;
    size_t n, n_before;
    bool any_new = false;

    if (!same_listener(before, x, state)) {
        state->since = now;
        return true;
    }
    state->since = before->since;
    if (before->x == x) {
        state->later = before->later;
        state->n_later = before->n_later;
        return false;
    }
    names = claimed_names(arena, x, &n);
    names_before = claimed_names(arena, before->x, &n_before);
    state->later = later = arena_array(arena, struct name_since, n);
    for (size_t i = 0; i < n; i++) {
        bool known = n_before && bsearch(&names[i], names_before, n_before, sizeof(*names_before), text_compare);
        uint64_t since = known ? since_of(before, names[i]) : now;

        if (since != before->since)
            later[state->n_later++] = (struct name_since){names[i], since};
        any_new |= !known;
    }
    return any_new;
}
