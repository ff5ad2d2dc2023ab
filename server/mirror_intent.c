/*
 * Who is about to go, in the orchestrator's words. The address of an instance stays up longest: a stop ends the
 * application first and gives the address back last, a start brings the address first. So the resource's own status
 * is late, and the orchestrator's words count beside it.
 *
 * An instance's monitor.status:
 *   stopping, shutting, tocing, unprovisioning, purging, deleting
 *       under way to be stopped or removed: leaving
 *   stop failed, shutdown failed, toc failed, unprovision failed, purge failed
 *       the stop began and got stuck: the application, which is stopped first, is likely gone: leaving
 *   starting, provisioning, booting
 *       coming, unless `avail` says that all of it is up (a start of what is up already)
 *   start failed, provision failed, delete failed, place failed, freeze failed, thaw failed
 *       the orchestrator gave up and changes nothing more; nothing was stopped: the resource's status counts
 *   idle, init, ready, restarting (of single resources), freezing, thawing, placing, syncing, wait children,
 *   wait parents, and any other
 *       nothing is being taken down: the resource's status counts
 *
 * Its monitor.global_expect:
 *   stopped, shutdown, deleted, purged, unprovisioned: leaving
 *   placed@NODE,...: leaving, unless the instance's node is among them
 *   placed: leaving, unless this instance is the leader or there is no other leader to go to (not orchestrated)
 *   started, provisioned, frozen, thawed, aborted, restarted, and any other: nothing
 *
 * Its node's monitor.status:
 *   draining, shutting: all instances are being shut down: leaving
 *   maintenance, upgrade, rejoin, init, and any other: the daemon pauses or comes back, services go on running
 */
#include "server/mirror_core.h"

#include <string.h>

static bool is_one_of(const char *text, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, list[i]) == 0)
            return true;
    return false;
}

/* "NODE,NODE" has the name. */
static bool list_has(const char *list, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ", ");

        if (len == n && memcmp(p, name, n) == 0)
            return true;
        p += len;
        p += strspn(p, ", ");
    }
    return false;
}

static bool expects_to_go(const struct node *n, const struct instance *i, bool leader_elsewhere)
{
    static const char *const leaving[] = {"stopped", "shutdown", "deleted", "purged", "unprovisioned"};
    const char *expect = i->head.expect;

    if (!expect || !*expect)
        return false;
    if (strncmp(expect, "placed@", 7) == 0)
        return expect[7] && !list_has(expect + 7, n->name);
    if (strcmp(expect, "placed") == 0)
        return !(i->head.flags & INSTANCE_LEADER) && leader_elsewhere;
    return is_one_of(expect, leaving, ARRAY_LEN(leaving));
}

struct intent_of intent_of_instance(const struct node *n, const struct instance *i, bool leader_elsewhere)
{
    static const char *const node_leaving[] = {"draining", "shutting"};
    static const char *const leaving[] = {
        "stopping",    "shutting",        "tocing",     "unprovisioning",     "purging",      "deleting",
        "stop failed", "shutdown failed", "toc failed", "unprovision failed", "purge failed",
    };
    static const char *const coming[] = {"starting", "provisioning", "booting"};
    const char *state = i->head.state ? i->head.state : "";

    if (is_one_of(state, leaving, ARRAY_LEN(leaving)))
        return (struct intent_of){INTENT_LEAVING, state};
    if (expects_to_go(n, i, leader_elsewhere))
        return (struct intent_of){INTENT_LEAVING, i->head.expect};
    if (n->state && is_one_of(n->state, node_leaving, ARRAY_LEN(node_leaving)))
        return (struct intent_of){INTENT_LEAVING, n->state};
    if (!(i->head.flags & INSTANCE_AVAIL_UP) && is_one_of(state, coming, ARRAY_LEN(coming)))
        return (struct intent_of){INTENT_COMING, state};
    return (struct intent_of){INTENT_NONE, NULL};
}
