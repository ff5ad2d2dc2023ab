/*
 * The door of the agent's side, and what becomes of the state that was gathered.
 *
 * The first state is shown whole: its secrets are read before it is committed, at most AGENT_FIRST_SECRETS_S long.
 * Until then patches are gathered with it. Whoever has a state already (from the disk) commits at once.
 *
 * Commits that something else asks for while a commit's owner may be running (agent_after_commit()) are put off to
 * the loop's next turn, so that they never nest.
 */
#include "server/agent.h"

#include "server/agent_core.h"

#include <string.h>

enum { STATUS_MAX_DEFAULT = 256 << 20 };

clock_ns agent_backoff(struct agent *a, unsigned step)
{
    clock_ns delay = AGENT_BACKOFF_MAX_MS;

    if (step < 16 && ((clock_ns)AGENT_BACKOFF_MIN_MS << step) < delay)
        delay = (clock_ns)AGENT_BACKOFF_MIN_MS << step;
    delay *= CLOCK_NS_PER_MS;
    /* Marsaglia's xorshift64: agents that were cut off together shall not come back together. */
    a->random ^= a->random << 13;
    a->random ^= a->random >> 7;
    a->random ^= a->random << 17;
    return delay / 2 + (clock_ns)(a->random % (uint64_t)(delay / 2 + 1));
}

/* ---- commits ---- */

void agent_commit(struct agent *a, const char *cause)
{
    if (!a->first)
        a->options.commit(a->options.arg, cause);
}

static void on_commit_timer(void *arg)
{
    struct agent *a = arg;
    _cleanup_(mem_free_p) char *cause = take_ptr(a->commit_cause);

    if (cause)
        agent_commit(a, cause);
}

void agent_commit_soon(struct agent *a, const char *cause)
{
    if (!a->commit_cause)
        a->commit_cause = mem_strdup(cause);
    loop_timer_set(a->commit_timer, loop_now(a->loop));
}

void agent_first_done(struct agent *a)
{
    if (!a->first)
        return;
    a->first = false;
    loop_timer_set(a->first_timer, INT64_MAX);
    a->options.commit(a->options.arg, "agent: complete fetch");
}

static void on_first_timer(void *arg)
{
    agent_first_done(arg);
}

/* ---- the state ---- */

bool agent_put_touched(struct agent *a)
{
    struct facts f;
    bool gone, any = false;

    while (mirror_next_touched(a->mirror, &f, &gone)) {
        any = true;
        if (gone) {
            store_remove_service(a->store, f.path);
            continue;
        }
        store_put_facts(a->store, &f);
        if (a->first)
            secrets_expect(a, &f);
    }
    return any;
}

static bool is_first(struct agent *a)
{
    struct view *v = store_view(a->store);
    bool first = !v->complete;

    view_unref(v);
    return first;
}

/* Everything, and what is not there is gone. */
static void put_all(struct agent *a)
{
    a->full = false;
    a->first = is_first(a);
    store_sync_begin(a->store);
    mirror_touch_all(a->mirror);
    agent_put_touched(a);
    store_sync_end(a->store);
}

void agent_put_whole(struct agent *a)
{
    /* A part is put over what the store has from before, and deletes nothing of it. */
    if (a->full && (!a->partial || is_first(a)))
        put_all(a);
    else
        agent_put_touched(a);
    store_set_stale(a->store, a->partial);
    if (a->first)
        loop_timer_set(a->first_timer, loop_now(a->loop) + AGENT_FIRST_SECRETS_S * CLOCK_NS_PER_S);
    if (a->first && a->first_left == 0)
        agent_first_done(a);
    else
        agent_commit(a, a->partial ? "agent: partial fetch" : "agent: complete fetch");
    secrets_check(a);
}

/* ---- the door ---- */

static char **copy_sockets(const char *const *sockets)
{
    size_t n = 0;
    char **copy;

    while (sockets[n])
        n++;
    copy = mem_array(char *, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = mem_strdup(sockets[i]);
    return copy;
}

struct agent *agent_new(struct loop *loop, struct store *store, const struct agent_options *options)
{
    struct agent *a = mem_new(struct agent);

    a->loop = loop;
    a->store = store;
    a->options = *options;
    a->sockets = copy_sockets(options->sockets);
    a->options.sockets = NULL; /* they are the caller's */
    a->mirror = mirror_new(options->max_status_bytes ? options->max_status_bytes : STATUS_MAX_DEFAULT);
    a->random = (uint64_t)options->jitter_seed + UINT64_C(0x9e3779b97f4a7c15); /* must not be 0 */
    a->full = true;
    a->first_timer = loop_timer_new(loop, on_first_timer, a);
    a->commit_timer = loop_timer_new(loop, on_commit_timer, a);
    secrets_start(a);
    follow_start(a);
    return a;
}

void agent_free(struct agent *a)
{
    if (!a)
        return;
    follow_stop(a);
    secrets_stop(a);
    write_back_stop(a);
    loop_timer_free(a->first_timer);
    loop_timer_free(a->commit_timer);
    mem_free(a->commit_cause);
    mirror_free(a->mirror);
    for (size_t i = 0; a->sockets[i]; i++)
        mem_free(a->sockets[i]);
    mem_free(a->sockets);
    mem_free(a);
}

void agent_after_commit(struct agent *a)
{
    if (!a)
        return;
    secrets_check(a);
    write_back_check(a);
}

void agent_put_all_again(struct agent *a)
{
    a->full = true;
    if (a->phase == PHASE_FOLLOW)
        agent_put_whole(a);
}

const char *agent_state(const struct agent *a)
{
    switch (__atomic_load_n(&a->phase, __ATOMIC_RELAXED)) {
    case PHASE_WAIT_CONNECT:
        return "connecting";
    case PHASE_FOLLOW:
        return "following";
    default:
        return "syncing";
    }
}
