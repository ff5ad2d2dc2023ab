/*
 * Start, stop, and the way of the data between the parts:
 *
 *     agent -> store (commit) -> delta -> report to the log
 *                                     +-> translator -> batch -> xDS server
 *
 * Invariant: whatever is published was committed before.
 */
#include "server/daemon.h"

#include "api/api.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/pointers.h"
#include "proto/translate.h"
#include "server/agent.h"
#include "server/alarms.h"
#include "server/edit_queue.h"
#include "server/envoy_check.h"
#include "server/notify.h"
#include "server/report.h"
#include "server/version.h"
#include "server/watchdog.h"
#include "server/xds_server.h"
#include "server/xds_status.h"
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { RESERVED_MAX = 2 * CONFIG_VALUES_MAX + 2 };

struct daemon {
    const struct config *config;
    const struct daemon_hooks *hooks;
    struct activation *sockets;
    struct watchdog *watchdog; /* NULL: nobody watches */
    struct loop *loop;
    struct store *store;
    struct translator *translator;
    struct pointers faulty; /* names of exposures that a translation told of; they are announced behind it */
    struct xds_server *xds;
    struct agent *agent;
    struct alarm_board *alarms;
    struct api *api;                 /* NULL: no address was given */
    struct envoy_check *envoy_check; /* NULL: no binary was given, or there is no API */
    struct loop_io *signals;
    struct loop_timer *store_timer; /* when the store wants to be polled again */
    struct loop_timer *heartbeat;   /* of streams of events; NULL: there is no API */
    struct edit_queue *edits;       /* NULL: there is no API */
    pthread_mutex_t notes_lock;     /* of the two below; nothing else is taken while it is held */
    struct notes notes;             /* of proxies, the newest set, on its way to the store */
    bool has_notes;                 /* and it is not there yet */
    struct port_range reserved[RESERVED_MAX];
    struct store_options store_options;
    int signal_fd;
    bool published; /* the first complete view */
};

/* ---- what the parts say ---- */

/* In the core's thread; before the store is open nobody watches. */
static void announce(const struct daemon *d, const char *kind, const char *name, enum event_change change)
{
    if (d->store)
        store_announce(d->store, kind, &name, 1, change);
}

static void on_alarm(void *arg, const char *name, const char *text)
{
    const struct daemon *d = arg;
    alarm_board_set(d->alarms, name, text);
    announce(d, "Alarm", name, text ? EVENT_ADDED : EVENT_REMOVED);
    if (text)
        log_event(LOG_LEVEL_ERROR, "alarm", "alarm", name, "problem", text, NULL);
    else
        log_event(LOG_LEVEL_NOTICE, "alarm is over", "alarm", name, NULL);
}

static void on_faults(void *arg, const char *exposure, const struct problem *now, size_t n_now,
                      const struct problem *before, size_t n_before)
{
    struct daemon *d = arg;
    _cleanup_(view_unref_p) struct view *v = store_view(d->store);

    if (!view_exposure(v, exposure))
        return; /* it is gone, which was said */
    report_problems(exposure, now, n_now, before, n_before);
    pointers_add(&d->faulty, mem_strdup(exposure));
}

/* The disk delays them alone, and once for all, not what the proxies get. */
static void announce_faulty(struct daemon *d)
{
    if (d->faulty.count)
        store_announce(d->store, "Exposure", (const char *const *)d->faulty.items, d->faulty.count, EVENT_MODIFIED);
    while (d->faulty.count)
        mem_free(d->faulty.items[--d->faulty.count]);
}

/* In the xDS thread. */
static void on_told(void *arg, const char *kind, const char *name, enum event_change change)
{
    const struct daemon *d = arg;
    store_announce_passing(d->store, kind, name, change);
}

/* In the xDS thread. The alarm itself follows from what is told of the proxy (api/proxies.c). */
static void on_gone(void *arg, const struct xds_known *k)
{
    _cleanup_(mem_free_p) char *name = mem_printf("proxy %s", k->id);

    on_told(arg, "Alarm", name, k->state == XDS_GONE ? EVENT_ADDED : EVENT_REMOVED);
    if (k->state == XDS_GONE)
        log_event(LOG_LEVEL_ERROR, "alarm", "alarm", name, "problem", "a proxy left and did not come back", "node",
                  k->node_id, "gateway", k->gateway, "peer", k->peer, "why", k->ended, NULL);
    else
        log_event(LOG_LEVEL_NOTICE, "alarm is over", "alarm", name, "node", k->node_id, "gateway", k->gateway, "now",
                  k->state == XDS_CONNECTED ? "it is back" : "it is not remembered any more", NULL);
}

/* In the core's thread. */
static void keep_notes(struct daemon *d)
{
    pthread_mutex_lock(&d->notes_lock);
    struct notes newest = d->notes;
    bool is_new = d->has_notes;
    d->notes = (struct notes){0};
    d->has_notes = false;
    pthread_mutex_unlock(&d->notes_lock);
    if (is_new)
        store_set_notes(d->store, &newest);
}

static void on_noted(void *arg, bool run)
{
    if (run)
        keep_notes(arg);
}

/* In the xDS thread. */
static void on_note(void *arg, struct notes *notes)
{
    struct daemon *d = arg;
    pthread_mutex_lock(&d->notes_lock);
    struct notes before = d->notes;
    d->notes = *notes;
    d->has_notes = true;
    pthread_mutex_unlock(&d->notes_lock);
    *notes = (struct notes){0};
    notes_clear(&before);
    loop_post(d->loop, on_noted, d);
}

/* Whose filter chain it is: the exposure that holds it; NULL: it is not there any more. Borrowed from the view. */
static const char *chain_owner(const struct view *v, const struct xds_report *r)
{
    _cleanup_(mem_free_p) char *key = mem_printf("%s|%s", r->gateway, r->name);
    const struct listener_plan *plan = view_listener(v, key);
    const struct plan_chain *chain = plan ? listener_plan_find_chain(plan, r->part) : NULL;

    return chain ? chain->holder->name : NULL;
}

static void on_nacked(void *arg, const struct xds_report *r)
{
    struct daemon *d = arg;
    _cleanup_(view_unref_p) struct view *v = store_view(d->store);
    const char *owner = r->part && r->type == XDS_LISTENER ? chain_owner(v, r) : r->owner;

    if (r->culprit && owner)
        on_told(d, "Exposure", owner, EVENT_MODIFIED);
    log_event(LOG_LEVEL_WARNING, r->culprit ? "refused by Envoy, isolated" : "refused by Envoy", "node", r->node_id,
              "peer", r->peer, "gateway", r->gateway, "type", xds_type_name[r->type], "resource", r->name, "part",
              r->part, "owner", owner, "version", r->version, "words", r->words, NULL);
}

/* One line for who asks the supervisor. */
static void tell_status(const struct view_delta *delta)
{
    const struct view *before = delta->before, *after = delta->after;

    if (before && before->stale == after->stale && before->complete == after->complete)
        return;
    notify_supervisor(!after->complete ? "STATUS=nothing to serve yet: waiting for the agent"
                      : after->stale   ? "STATUS=the agent does not answer: serving the last known state"
                                       : "STATUS=following the agent");
}

/* The event is the store's; where the agent was silent, that was said in words that tell more. */
static void show_stale(const struct daemon *d, const struct view_delta *delta)
{
    if (!delta->after->stale)
        alarm_board_set(d->alarms, "agent", NULL);
    else if (!alarm_board_has(d->alarms, "agent"))
        alarm_board_set(d->alarms, "agent", "the agent does not answer: the last known state is served");
}

static void publish(struct daemon *d, const struct view_delta *delta)
{
    _cleanup_(view_delta_free_p) struct view_delta *whole = NULL;

    report_delta(delta);
    show_stale(d, delta);
    tell_status(delta);
    /* A state that is not complete is not published in pieces: what it lacks would look deleted. */
    if (!delta->after->complete)
        return;
    if (!d->published && delta->before)
        whole = store_initial_delta(d->store);
    d->published = true;
    struct xds_batch *batch = translate(d->translator, whole ? whole : delta);
    if (batch)
        xds_server_publish(d->xds, batch);
    announce_faulty(d);
}

static void on_commit(void *arg, const char *cause)
{
    struct daemon *d = arg;
    _cleanup_(view_delta_free_p) struct view_delta *delta = store_commit(d->store, cause);
    if (delta)
        publish(d, delta);
    agent_after_commit(d->agent);
}

static void poll_store(struct daemon *d)
{
    bool commit, fetch;
    clock_ns next = store_poll(d->store, &commit, &fetch);
    loop_timer_set(d->store_timer, next);
    if (fetch && d->agent)
        agent_put_all_again(d->agent);
    if (commit)
        on_commit(d, "store");
    else
        agent_after_commit(d->agent);
}

enum { HEARTBEAT_S = 5 };

/* Whoever watches events is told now and then that nothing happened. */
static void on_heartbeat(void *arg)
{
    struct daemon *d = arg;
    event_ring_tick(store_events(d->store));
    loop_timer_set(d->heartbeat, clock_now(NULL) + HEARTBEAT_S * CLOCK_NS_PER_S);
}

static void on_store_timer(void *arg)
{
    poll_store(arg);
}

static void on_store_woken(void *arg, bool run)
{
    if (run)
        poll_store(arg);
}

/* In whatever thread of the store. */
static void on_store_wake(void *arg)
{
    struct daemon *d = arg;
    loop_post(d->loop, on_store_woken, d);
}

/* What is bad must not take away what is good; it is an alarm until it is mended, as the old form will not do for
 * ever. */
static void reload_api(struct daemon *d)
{
    struct err of_tokens = {0}, of_tls = {0};
    if (!d->api)
        return;
    if (api_reload_tokens(d->api, &of_tokens))
        log_err(LOG_LEVEL_ERROR, &of_tokens, "tokens can't be read again: the old ones stay", NULL);
    if (api_reload_tls(d->api, &of_tls))
        log_err(LOG_LEVEL_ERROR, &of_tls, "the REST interface's certificate can't be read again: the old one stays",
                NULL);
    alarm_board_set(d->alarms, "api.tokens", of_tokens.text[0] ? of_tokens.text : NULL);
    alarm_board_set(d->alarms, "api.tls", of_tls.text[0] ? of_tls.text : NULL);
}

static void on_signal(void *arg, unsigned events)
{
    struct daemon *d = arg;
    (void)events; /* only reading was asked for */
    struct signalfd_siginfo info;
    while (read(d->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP) {
            notify_reloading();
            d->hooks->reload(d->hooks->arg);
            xds_server_reload(d->xds);
            reload_api(d);
            notify_supervisor("READY=1");
        } else {
            log_event(LOG_LEVEL_NOTICE, "stopping", "signal", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT", NULL);
            loop_stop(d->loop);
        }
    }
}

/* ---- start and stop ---- */

static int start_signals(struct daemon *d, struct err *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    /* A file that may not grow (SIGXFSZ) is an error like a full disk, not the end of the daemon. */
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    /* Before any thread is made, so that all inherit it. */
    if (sigprocmask(SIG_BLOCK, &set, NULL) || sigaction(SIGPIPE, &ignore, NULL) || sigaction(SIGXFSZ, &ignore, NULL))
        return err_set(e, -errno, "signals", NULL, "%s", strerrordesc_np(errno));
    d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (d->signal_fd < 0)
        return err_set(e, -errno, "signalfd", NULL, "%s", strerrordesc_np(errno));
    return loop_io_new(d->loop, d->signal_fd, LOOP_READ, on_signal, d, &d->signals, e);
}

static void reserve(struct port_range *list, size_t *n, unsigned min, unsigned max)
{
    if (min && *n < RESERVED_MAX)
        list[(*n)++] = (struct port_range){(uint16_t)min, (uint16_t)max};
}

/* igwd's own ports, Envoy's admin port, and what the kernel hands out to clients. */
static size_t reserved_ports(const struct config *c, struct port_range list[RESERVED_MAX])
{
    size_t n = 0;
    const struct config_address *const addresses[] = {c->xds, c->api};
    const size_t counts[] = {c->n_xds, c->n_api};
    for (size_t k = 0; k < ARRAY_LEN(addresses); k++)
        for (size_t i = 0; i < counts[k]; i++) {
            unsigned port = addresses[k][i].at.port;
            reserve(list, &n, port, port);
        }
    reserve(list, &n, c->envoy_admin_port, c->envoy_admin_port);
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    char line[64], *end;
    if (f && fgets(line, sizeof(line), f)) {
        unsigned long min = strtoul(line, &end, 10), max = strtoul(end, NULL, 10);
        if (min <= max && max <= 65535)
            reserve(list, &n, (unsigned)min, (unsigned)max);
    }
    if (f)
        (void)fclose(f); /* it was only read */
    return n;
}

static int start_store(struct daemon *d, struct err *e)
{
    const struct config *c = d->config;
    d->store_options = (struct store_options){
        .directory = c->state_directory,
        .key_file = c->key_file,
        .default_gateway = c->gateway,
        .port_min = c->port_min,
        .port_max = c->port_max,
        .reserved = d->reserved,
        .n_reserved = reserved_ports(c, d->reserved),
        .read_only = c->read_only,
        .endpoint_networks = c->endpoint_networks,
        .check = translate_check,
        .alarm = on_alarm,
        .alarm_arg = d,
        .wake = on_store_wake,
        .wake_arg = d,
    };
    d->store_timer = loop_timer_new(d->loop, on_store_timer, d);
    loop_timer_set(d->store_timer, clock_now(NULL));
    return store_open(&d->store_options, &d->store, e);
}

static int start_xds(struct daemon *d, struct err *e)
{
    const struct config *c = d->config;
    struct xds_address addresses[CONFIG_VALUES_MAX];
    for (size_t i = 0; i < c->n_xds; i++) {
        const struct config_address *a = &c->xds[i];
        bool local = socket_address_is_local(&a->at);
        bool only_default = !a->all && !a->n_gateways && c->gateway && local;
        addresses[i] = (struct xds_address){
            .address = a->address,
            .gateways = only_default ? &c->gateway : a->gateways,
            .n_gateways = only_default ? 1 : a->n_gateways,
            /* Beyond loopback the client certificate decides. */
            .all = a->all || (!local && !a->n_gateways),
            .socket = activation_take(d->sockets, &a->at),
            .certificate_file = local ? NULL : c->xds_certificate_file,
            .key_file = local ? NULL : c->xds_key_file,
            .client_ca_file = local ? NULL : c->xds_client_ca_file,
        };
    }
    const struct xds_options options = {
        .addresses = addresses,
        .n_addresses = c->n_xds,
        .default_gateway = c->gateway,
        .max_streams = c->max_streams,
        .nacked = on_nacked,
        .tell = on_told,
        .keep_gone = c->keep_gone,
        .gone_after = c->gone_after,
        .gone = on_gone,
        .notes = store_notes(d->store),
        .note = on_note,
        .arg = d,
    };
    return xds_server_start(&options, &d->xds, e);
}

static void start_agent(struct daemon *d)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const struct agent_options options = {
        .sockets = d->config->sockets,
        .max_status_bytes = d->config->max_status_bytes,
        .jitter_seed = (unsigned)now.tv_nsec ^ (unsigned)getpid(),
        .silence = d->config->agent_silence,
        .alarm = on_alarm,
        .commit = on_commit,
        .arg = d,
    };
    d->agent = agent_new(d->loop, d->store, &options);
}

/* ---- what the REST interface is handed; called in its threads ---- */

static struct view *api_view(void *arg)
{
    const struct daemon *d = arg;
    return store_view(d->store);
}

static const char *api_agent_state(void *arg)
{
    const struct daemon *d = arg;
    return agent_state(d->agent);
}

struct alarm_list {
    struct arena *arena;
    struct api_alarm *items;
    size_t n, cap;
};

static void add_alarm(void *arg, const char *name, const char *text, double since)
{
    struct alarm_list *l = arg;
    l->items = arena_room(l->arena, l->items, l->n, &l->cap, sizeof(*l->items));
    l->items[l->n++] = (struct api_alarm){arena_strdup(l->arena, name), arena_strdup(l->arena, text), since};
}

static void api_alarms(void *arg, struct arena *arena, const struct api_alarm **ret, size_t *ret_n)
{
    const struct daemon *d = arg;
    struct alarm_list l = {.arena = arena};
    alarm_board_each(d->alarms, add_alarm, &l);
    *ret = l.items;
    *ret_n = l.n;
}

/* ---- edits ---- */

static void publish_edit(void *arg, struct view_delta *delta)
{
    publish(arg, delta);
    view_delta_free(delta);
}

/* What was tried in vain against a newer state is tried again: nobody needs to know. */
static void log_edit(const struct edit_request *r)
{
    char revision[24];
    (void)snprintf(revision, sizeof(revision), "%llu", (unsigned long long)r->revision);
    if (!r->result)
        log_event(LOG_LEVEL_NOTICE, "edited", "author", r->author, "request", r->request_id, "what", r->cause,
                  "revision", revision, NULL);
    else if (r->result != -EAGAIN)
        log_err(LOG_LEVEL_WARNING, &r->error, "edit refused", "author", r->author, "request", r->request_id, "what",
                r->cause, NULL);
}

static void take_edits(void *arg, struct edit_request *const *requests, size_t n)
{
    struct daemon *d = arg;

    store_edit(d->store, requests, n, publish_edit, d);
    agent_after_commit(d->agent);
    for (size_t i = 0; i < n; i++)
        log_edit(requests[i]);
}

static void api_edit(void *arg, struct edit_request *r, void (*done)(struct edit_request *r, void *done_arg),
                     void *done_arg)
{
    struct daemon *d = arg;

    edit_queue_add(d->edits, r, done, done_arg);
}

/* ---- what proxies need to come here ---- */

static void api_xds_addresses(void *arg, const char *gateway, struct arena *arena, const struct api_xds_address **ret,
                              size_t *ret_n)
{
    const struct daemon *d = arg;
    const struct config *c = d->config;
    struct api_xds_address *items = arena_array(arena, struct api_xds_address, c->n_xds);
    for (size_t i = 0; i < c->n_xds; i++)
        if (config_serves(c, &c->xds[i], gateway))
            items[(*ret_n)++] = (struct api_xds_address){c->xds[i].address, !socket_address_is_local(&c->xds[i].at)};
    *ret = items;
}

/* With the first address that serves the gateway. */
static int api_bootstrap(void *arg, const char *gateway, const char *node_id, const char *node_cluster,
                         const char *admin, bool state_of_the_world, char **ret_json, struct err *e)
{
    const struct daemon *d = arg;
    const struct config *c = d->config;
    const struct config_address *a = config_xds_of(c, gateway);
    if (!a)
        return err_set(e, -ENOENT, NULL, NULL, "no xDS address serves the gateway \"%s\"", gateway);
    bool local = socket_address_is_local(&a->at);
    const struct bootstrap_options options = {
        .gateway = gateway,
        .node_id = node_id,
        .node_cluster = node_cluster,
        .xds = a->address,
        .admin = admin,
        .state_of_the_world = state_of_the_world,
        .ca_file = local ? NULL : c->xds_client_ca_file,
        .certificate_file = local ? NULL : c->xds_certificate_file,
        .key_file = local ? NULL : c->xds_key_file,
    };
    return bootstrap_make(&options, ret_json, e);
}

/* ---- what the proxies have, in the REST interface's words ---- */

static const char *const type_words[XDS_TYPES] = {[XDS_CLUSTER] = "CLUSTER",
                                                  [XDS_ENDPOINT] = "ENDPOINT",
                                                  [XDS_SECRET] = "SECRET",
                                                  [XDS_LISTENER] = "LISTENER",
                                                  [XDS_ROUTE] = "ROUTE"};

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static void convert_types(const struct xds_proxy *p, struct arena *arena, struct api_proxy *ret)
{
    struct api_proxy_type *types = arena_array(arena, struct api_proxy_type, XDS_TYPES);
    ret->types = types;
    for (unsigned type = 0; type < XDS_TYPES; type++) {
        struct api_proxy_type *one = &types[ret->n_types];
        if (!p->asked[type])
            continue;
        one->type = type_words[type];
        one->counts[API_REQUESTED] = p->counts[type][XDS_REQUESTED];
        one->counts[API_ACKED] = p->counts[type][XDS_ACKED];
        one->counts[API_NACKED] = p->counts[type][XDS_NACKED];
        one->counts[API_DOES_NOT_EXIST] = p->counts[type][XDS_DOES_NOT_EXIST];
        ret->n_types++;
    }
}

static void convert_resources(const struct xds_proxy *p, struct arena *arena, struct api_proxy *ret)
{
    static const enum api_resource_state states[XDS_STATES] = {[XDS_REQUESTED] = API_REQUESTED,
                                                               [XDS_ACKED] = API_ACKED,
                                                               [XDS_NACKED] = API_NACKED,
                                                               [XDS_DOES_NOT_EXIST] = API_DOES_NOT_EXIST};
    struct api_proxy_resource *items = arena_array(arena, struct api_proxy_resource, p->n_resources + 1);
    for (size_t i = 0; i < p->n_resources; i++) {
        const struct xds_proxy_resource *r = &p->resources[i];
        items[i] = (struct api_proxy_resource){
            .type = type_words[r->type],
            .name = r->name,
            .version = r->version ? arena_printf(arena, "%016llx", (unsigned long long)r->version) : NULL,
            .state = states[r->state],
            .error = r->words,
        };
    }
    ret->resources = items;
    ret->n_resources = p->n_resources;
}

static void api_proxies(void *arg, const char *id, struct arena *arena, const struct api_proxy **ret, size_t *ret_n)
{
    static const enum api_presence presences[] = {
        [XDS_CONNECTED] = API_CONNECTED, [XDS_AWAY] = API_AWAY, [XDS_GONE] = API_GONE};
    const struct daemon *d = arg;
    struct xds_proxy *found = NULL;
    size_t n = 0;
    /* Neither connected nor remembered, or not to be asked now: there is none. */
    if (xds_status_proxies(xds_server_status(d->xds), id, arena, &found, &n) < 0)
        n = 0;
    struct api_proxy *items = arena_array(arena, struct api_proxy, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct xds_proxy *p = &found[i];
        items[i] = (struct api_proxy){
            .id = p->id,
            .presence = presences[p->presence],
            .node_id = or_empty(p->node_id),
            .node_cluster = or_empty(p->node_cluster),
            .gateway = or_empty(p->gateway),
            .peer = p->peer,
            .envoy_version = p->version,
            .incremental = p->variant == XDS_DELTA,
            .connected_at = p->connected_at,
            .first_seen_at = p->first_seen,
            .left_at = p->left_at,
            .ended = p->ended,
        };
        convert_types(p, arena, &items[i]);
        convert_resources(p, arena, &items[i]);
    }
    *ret = items;
    *ret_n = n;
}

static int api_forget_proxy(void *arg, const char *id)
{
    const struct daemon *d = arg;
    return xds_status_forget(xds_server_status(d->xds), id);
}

static void api_programmed(void *arg, const struct api_carrier *carriers, size_t n, struct arena *arena,
                           struct api_programmed *ret)
{
    const struct daemon *d = arg;
    struct xds_bundle *bundles = arena_array(arena, struct xds_bundle, n);
    struct xds_verdict *verdicts = arena_array(arena, struct xds_verdict, n);
    for (size_t i = 0; i < n; i++)
        bundles[i] = (struct xds_bundle){.gateway = carriers[i].gateway,
                                         .cluster = carriers[i].cluster,
                                         .listener = carriers[i].listener,
                                         .routes = carriers[i].routes,
                                         .n_routes = carriers[i].n_routes,
                                         .secrets = carriers[i].secrets,
                                         .n_secrets = carriers[i].n_secrets};
    if (xds_status_bundles(xds_server_status(d->xds), bundles, n, arena, verdicts) < 0) {
        xds_status_changed(xds_server_status(d->xds)); /* they are unknown for this once */
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct xds_verdict *v = &verdicts[i];
        ret[i] = (struct api_programmed){
            .known = v->known, .proxies = v->proxies, .acked = v->acked, .nacked = v->nacked, .error = v->words};
        /* What it shares with others may be refused for their sake. */
        if (v->words && v->type != XDS_CLUSTER)
            ret[i].error = arena_printf(arena, "%s %s: %s", xds_type_name[v->type], v->name, v->words);
    }
}

static size_t api_faults(void *arg, const char *exposure, struct arena *arena, const struct problem **ret,
                         bool *ret_whole)
{
    const struct daemon *d = arg;
    return faults_read(translator_faults(d->translator), exposure, arena, ret, ret_whole);
}

/* Each of them only grows, so their sum stays the same only if both do. */
static uint64_t api_status_version(void *arg)
{
    const struct daemon *d = arg;
    return xds_status_version(xds_server_status(d->xds)) + faults_version(translator_faults(d->translator));
}

static enum api_rollout_state convert_state(enum xds_rollout_state state)
{
    return state == XDS_ROLLOUT_REFUSED ? API_ROLLOUT_NACKED
           : state == XDS_ROLLOUT_ACKED ? API_ROLLOUT_ACKED
                                        : API_ROLLOUT_PENDING;
}

static void convert_rollout_proxy(const struct xds_rollout_proxy *p, struct arena *arena,
                                  struct api_rollout_proxy *ret)
{
    struct api_rollout_error *errors = arena_array(arena, struct api_rollout_error, p->n_errors + 1);
    for (size_t i = 0; i < p->n_errors; i++)
        errors[i] = (struct api_rollout_error){type_words[p->errors[i].type], p->errors[i].name, p->errors[i].words};
    *ret = (struct api_rollout_proxy){.id = p->id,
                                      .node_id = or_empty(p->node_id),
                                      .gateway = p->gateway,
                                      .peer = p->peer,
                                      .state = convert_state(p->state),
                                      .errors = errors,
                                      .n_errors = p->n_errors};
}

static int api_rollout(void *arg, uint64_t revision, struct arena *arena, struct api_rollout *ret)
{
    const struct daemon *d = arg;
    struct xds_rollout_status found;
    int r = xds_status_rollout(xds_server_status(d->xds), revision, arena, &found);
    if (r < 0)
        return r;
    if (found.rollout.state == XDS_ROLLOUT_UNKNOWN)
        return found.rollout.forgotten ? -ESTALE : -ENOENT;
    *ret = (struct api_rollout){.state = convert_state(found.rollout.state),
                                .complete = found.rollout.complete,
                                .published_at = found.rollout.published_at,
                                .completed_at = found.rollout.completed_at,
                                .gateways = found.gateways,
                                .n_gateways = found.n_gateways,
                                .proxies = arena_array(arena, struct api_rollout_proxy, found.n_proxies + 1),
                                .n_proxies = found.n_proxies};
    for (size_t i = 0; i < found.n_proxies; i++)
        convert_rollout_proxy(&found.proxies[i], arena, &ret->proxies[i]);
    return 0;
}

static void on_rollout_waited(void *arg, uint64_t revision, enum xds_wait_end end)
{
    struct api_wait *w = arg;
    (void)revision, (void)end; /* whoever waited asks for the rollout itself */
    w->done(w);
}

static int api_rollout_wait(void *arg, uint64_t revision, unsigned seconds, struct api_wait *w)
{
    const struct daemon *d = arg;
    return xds_status_wait(xds_server_status(d->xds), revision, seconds, on_rollout_waited, w, &w->id);
}

static int api_rollout_cancel(void *arg, struct api_wait *w)
{
    const struct daemon *d = arg;
    return xds_status_cancel(xds_server_status(d->xds), w->id);
}

/* ---- what an Envoy says of a dry run ---- */

/* In the arena of who asks. */
struct asked {
    struct envoy_question question;
    struct api_verdict *ret;
    void (*done)(void *data);
    void *data;
};

static void on_judged(struct envoy_question *q, void *arg)
{
    static const enum api_verdict_state states[] = {[ENVOY_ACCEPTED] = API_ACCEPTED,
                                                    [ENVOY_REFUSED] = API_REFUSED,
                                                    [ENVOY_UNAVAILABLE] = API_UNAVAILABLE,
                                                    [ENVOY_TIMEOUT] = API_TIMEOUT,
                                                    [ENVOY_BUSY] = API_BUSY};
    const struct asked *a = arg;
    const struct envoy_verdict *v = &q->verdict;
    *a->ret = (struct api_verdict){.state = states[v->state],
                                   .detail = v->detail,
                                   .version = v->version,
                                   .gateway = v->gateway,
                                   .type = v->resource ? type_words[v->type] : NULL,
                                   .resource = v->resource,
                                   .owner = v->owner};
    a->done(a->data);
}

static void api_ask_envoy(void *arg, struct view *v, struct view_delta *delta, struct arena *arena,
                          struct api_verdict *ret, void (*done)(void *data), void *data)
{
    const struct daemon *d = arg;
    struct asked *a = arena_new_of(arena, struct asked);
    *a = (struct asked){
        .question = {.view = view_ref(v), .delta = delta, .arena = arena, .done = on_judged, .arg = a},
        .ret = ret,
        .done = done,
        .data = data,
    };
    envoy_check_ask(d->envoy_check, &a->question);
}

static int start_api(struct daemon *d, struct err *e)
{
    const struct config *c = d->config;
    const char *addresses[CONFIG_VALUES_MAX];
    int sockets[CONFIG_VALUES_MAX];
    for (size_t i = 0; i < c->n_api; i++) {
        addresses[i] = c->api[i].address;
        sockets[i] = activation_take(d->sockets, &c->api[i].at);
    }
    int r = activation_all_taken(d->sockets, e);
    if (!r && c->n_api && c->envoy_binary)
        r = envoy_check_new(c->envoy_binary, c->envoy_seconds, &d->envoy_check, e);
    if (r || !c->n_api)
        return r;
    const struct api_options options = {
        .addresses = addresses,
        .n_addresses = c->n_api,
        .sockets = sockets,
        .group = c->api_group,
        .token_file = c->api_token_file,
        .tls_certificate = c->api_tls_certificate_file,
        .tls_key = c->api_tls_key_file,
        .tls_client_ca = c->api_client_ca_file,
        .hosts = c->api_hosts,
        .n_hosts = c->n_api_hosts,
        .version = IGWD_VERSION,
        .backend = {.arg = d,
                    .view = api_view,
                    .proxies = api_proxies,
                    .forget_proxy = api_forget_proxy,
                    .programmed = api_programmed,
                    .faults = api_faults,
                    .status_version = api_status_version,
                    .rollout = api_rollout,
                    .rollout_wait = api_rollout_wait,
                    .rollout_cancel = api_rollout_cancel,
                    .bootstrap = api_bootstrap,
                    .xds_addresses = api_xds_addresses,
                    .alarms = api_alarms,
                    .events = store_events(d->store),
                    .agent_state = api_agent_state,
                    .edit = c->read_only ? NULL : api_edit,
                    .world = &d->store_options,
                    .ask_envoy = d->envoy_check ? api_ask_envoy : NULL},
    };
    d->edits = edit_queue_new(d->loop, NULL, take_edits, d);
    d->heartbeat = loop_timer_new(d->loop, on_heartbeat, d);
    on_heartbeat(d);
    return api_start(&options, &d->api, e);
}

static bool xds_turns(void *arg)
{
    const struct daemon *d = arg;
    return xds_server_turned(d->xds);
}

static int start(struct daemon *d, struct err *e)
{
    pthread_mutex_init(&d->notes_lock, NULL);
    d->alarms = alarm_board_new();
    int r = loop_new(NULL, &d->loop, e);
    if (!r)
        r = start_signals(d, e);
    if (!r)
        r = start_store(d, e);
    if (!r)
        r = start_xds(d, e);
    if (r)
        return r;
    d->translator = translator_new(on_faults, d);
    _cleanup_(view_delta_free_p) struct view_delta *delta = store_initial_delta(d->store);
    publish(d, delta);
    start_agent(d);
    d->watchdog = watchdog_new(d->loop, xds_turns, d);
    return start_api(d, e);
}

static void stop(struct daemon *d)
{
    watchdog_free(d->watchdog);
    if (d->edits)
        edit_queue_close(d->edits); /* who waits for one is answered while there is somebody to answer */
    envoy_check_close(d->envoy_check);
    api_stop(d->api);
    envoy_check_free(d->envoy_check);
    agent_free(d->agent);
    if (d->xds)
        xds_server_stop(d->xds);
    translator_free(d->translator);
    pointers_clear(&d->faulty);
    if (d->store) {
        keep_notes(d);
        store_close(d->store);
    }
    loop_timer_free(d->heartbeat);
    loop_timer_free(d->store_timer);
    loop_io_free(d->signals);
    if (d->signal_fd >= 0)
        close(d->signal_fd);
    loop_free(d->loop);
    alarm_board_free(d->alarms);
    edit_queue_free(d->edits);
    pthread_mutex_destroy(&d->notes_lock);
}

int daemon_run(const struct config *config, struct activation *sockets, const struct daemon_hooks *hooks,
               struct err *e)
{
    struct daemon d = {.config = config, .hooks = hooks, .sockets = sockets, .signal_fd = -1};
    int r = start(&d, e);
    if (!r) {
        log_event(LOG_LEVEL_NOTICE, "ready", "state", config->state_directory, "gateway", config->gateway, NULL);
        for (size_t i = 0; i < config->n_xds; i++)
            log_event(LOG_LEVEL_INFO, "serving xDS", "address", config->xds[i].address, NULL);
        hooks->ready(hooks->arg);
        r = loop_run(d.loop);
        if (r)
            err_set(e, r, "event loop", NULL, "%s", strerrordesc_np(-r));
    }
    notify_supervisor("STOPPING=1");
    stop(&d);
    if (!r)
        log_event(LOG_LEVEL_NOTICE, "stopped", NULL);
    return r;
}
