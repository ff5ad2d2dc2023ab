/*
 * Gateways and their ports.
 *
 * A gateway is made by being named, and stays: an Envoy that serves it must learn that its listeners are gone, not be
 * left alone with them. There are at most GATEWAYS_MAX.
 *
 * A port that is allocated is the exposure's for ever: its row stays when the exposure goes, dated, until there are
 * STALE_PORTS_MAX such rows or the range has no other port left; then the oldest give way. Allocated is the lowest
 * port of the range that is free: not reserved, not allocated, not declared by any exposure of the gateway.
 */
#include "store/problem.h"
#include "store/state.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PORTS = 65536 };

static int compare_gone(const void *a, const void *b)
{
    const struct port_row *x = *(struct port_row *const *)a, *y = *(struct port_row *const *)b;

    if (x->gone != y->gone)
        return x->gone < y->gone ? -1 : 1;
    return strcmp(x->key, y->key);
}

struct port_space *port_space_get(struct store *s, const char *gateway, bool make)
{
    struct port_space *space = map_gets(&s->gateways, gateway);

    if (space || !make || s->gateways.count >= GATEWAYS_MAX)
        return space;
    space = mem_new(struct port_space);
    space->name = mem_strdup(gateway);
    /* Large and mostly untouched: only what is used becomes real memory. */
    space->declared = mem_array(uint32_t, PORTS);
    space->rows = mem_array(struct port_row *, PORTS);
    map_puts(&s->gateways, space->name, space);
    port_space_configure(s, space);
    return space;
}

void port_space_configure(struct store *s, struct port_space *space)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct gateway_settings settings = {.port_min = s->options.port_min, .port_max = s->options.port_max};
    const char *standard = s->options.default_gateway;
    const struct document *d = documents_find(s->documents, DOCUMENT_GATEWAY, space->name);
    _cleanup_(mem_free_p) char *alarm = mem_printf("gateway %s", space->name), *text = NULL;
    struct err e = {0};

    /* Edits are checked before; what a document does not say is as the options have it. */
    (void)gateway_settings_read(d ? d->body : NULL, arena, &settings);
    if (problem_leave_bases(&settings, s->options.check, s->options.check_arg, &e))
        text = mem_printf("is without its %s, which this version can't take: %s", e.field, e.text);
    store_set_alarm(s, alarm, &space->alarm, text);
    gateway_unref(space->gateway);
    space->gateway = gateway_new(space->name, standard && strcmp(space->name, standard) == 0, &settings);
    space->first_free = settings.port_min;
    if (!space->announced)
        pointers_add(&s->new_gateways, space);
    space->announced = true;
}

void port_space_free(struct port_space *space)
{
    if (!space)
        return;
    gateway_unref(space->gateway);
    mem_free(space->alarm);
    mem_free(space->name);
    mem_free(space->declared);
    mem_free(space->rows);
    mem_free(space);
}

static bool is_reserved(const struct store *s, uint16_t port)
{
    for (size_t i = 0; i < s->options.n_reserved; i++)
        if (port >= s->options.reserved[i].min && port <= s->options.reserved[i].max)
            return true;
    return false;
}

static bool is_free(const struct store *s, const struct port_space *space, uint16_t port)
{
    return !space->declared[port] && !space->rows[port] && !is_reserved(s, port);
}

/* Whether it stays free is seen at the end of the commit: services that are configured anew take theirs again. */
static void released(struct store *s, struct port_space *space, uint16_t port)
{
    if (port < space->gateway->port_min || port > space->gateway->port_max)
        return;
    if (port < space->first_free)
        space->first_free = port;
    s->freed = mem_realloc(s->freed, s->n_freed + 1, sizeof(*s->freed));
    s->freed[s->n_freed++] = (struct freed_port){space, port};
}

void ports_declare(struct store *s, struct port_space *space, uint16_t port)
{
    (void)s; /* as ports_undeclare() */
    space->declared[port]++;
}

void ports_undeclare(struct store *s, struct port_space *space, uint16_t port)
{
    if (--space->declared[port] == 0)
        released(s, space, port);
}

static char *row_key(const struct port_space *space, const char *exposure)
{
    return mem_printf("%s|%s", space->name, exposure);
}

struct port_row *ports_find(struct store *s, struct port_space *space, const char *exposure)
{
    _cleanup_(mem_free_p) char *key = NULL;

    if (s->ports.count == 0)
        return NULL;
    key = row_key(space, exposure);
    return map_gets(&s->ports, key);
}

static struct port_row *row_new(struct store *s, struct port_space *space, const char *exposure, uint16_t port)
{
    struct port_row *row = mem_new(struct port_row);

    row->key = row_key(space, exposure);
    row->space = space;
    row->exposure = row->key + strlen(space->name) + 1;
    row->port = port;
    space->rows[port] = row;
    map_puts(&s->ports, row->key, row);
    return row;
}

void port_row_free(struct port_row *row)
{
    if (!row)
        return;
    mem_free(row->key);
    mem_free(row->why);
    mem_free(row);
}

static void forget(struct pointers *list, const void *item)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i] == item)
            list->items[i] = NULL;
}

static void drop(struct store *s, struct port_row *row)
{
    row_drop_port(s, row);
    if (row->queued) {
        forget(&s->write_backs, row);
        forget(&s->failed_write_backs, row);
    }
    row->space->rows[row->port] = NULL;
    released(s, row->space, row->port);
    map_removes(&s->ports, row->key);
    if (row->gone)
        s->n_gone_ports--;
    port_row_free(row);
}

/* The one whose exposure has been gone the longest, or NULL. */
static struct port_row *oldest_gone(struct store *s, const struct port_space *space)
{
    struct port_row *oldest = NULL;

    for (uint32_t port = space->gateway->port_min; port <= space->gateway->port_max; port++) {
        struct port_row *row = space->rows[port];

        if (row && row->gone && !row->live && !space->declared[port] && !is_reserved(s, (uint16_t)port) &&
            (!oldest || compare_gone(&row, &oldest) < 0))
            oldest = row;
    }
    return oldest;
}

/* 0: none. */
static uint16_t choose(struct store *s, struct port_space *space)
{
    struct port_row *row;
    uint16_t port;

    for (uint32_t i = space->first_free; i <= space->gateway->port_max; i++) {
        space->first_free = (uint16_t)i;
        if (is_free(s, space, (uint16_t)i))
            return (uint16_t)i;
    }
    row = oldest_gone(s, space);
    if (!row)
        return 0;
    port = row->port;
    drop(s, row);
    return port;
}

struct port_row *ports_allocate(struct store *s, struct port_space *space, const char *exposure, uint16_t prefer)
{
    struct port_row *row;

    if (prefer && !space->rows[prefer]) {
        row = row_new(s, space, exposure, prefer);
        row->kept = true;
    } else {
        uint16_t port = choose(s, space);

        if (!port)
            return NULL;
        row = row_new(s, space, exposure, port);
    }
    row_put_port(s, row);
    return row;
}

bool ports_load(struct store *s, struct port_space *space, const char *exposure, uint16_t port, bool told,
                int64_t gone)
{
    struct port_row *row;

    if (space->rows[port] || ports_find(s, space, exposure))
        return false;
    row = row_new(s, space, exposure, port);
    row->told = told;
    row->gone = gone;
    row->kept = true;
    if (gone)
        s->n_gone_ports++;
    return true;
}

void ports_exposure_came(struct store *s, struct port_row *row)
{
    row->live = true;
    if (!row->gone)
        return;
    row->gone = 0;
    s->n_gone_ports--;
    row_put_port(s, row);
}

void ports_exposure_went(struct store *s, struct port_row *row)
{
    row->live = false;
    pointers_add(&s->gone_ports, row);
}

/* A tenth more than needed, so that it is not done for each. */
static void drop_oldest(struct store *s)
{
    _cleanup_(mem_free_p) struct port_row **rows = mem_array(struct port_row *, s->n_gone_ports);
    size_t n = 0, keep = STALE_PORTS_MAX - STALE_PORTS_MAX / 10;
    struct map_entry *entry;

    for (size_t i = 0; map_next(&s->ports, &i, &entry);) {
        struct port_row *row = entry->value;

        if (row->gone)
            rows[n++] = row;
    }
    qsort(rows, n, sizeof(struct port_row *), compare_gone);
    for (size_t i = 0; i + keep < n; i++)
        drop(s, rows[i]);
}

void ports_settle(struct store *s)
{
    int64_t now = time(NULL);

    for (size_t i = 0; i < s->gone_ports.count; i++) {
        struct port_row *row = s->gone_ports.items[i];

        if (row->live || row->gone)
            continue;
        row->gone = now;
        s->n_gone_ports++;
        row_put_port(s, row);
        s->ports_released = true; /* it may give way */
    }
    pointers_clear(&s->gone_ports);
    if (s->n_gone_ports > STALE_PORTS_MAX)
        drop_oldest(s);
    for (size_t i = 0; i < s->n_freed; i++)
        s->ports_released |= is_free(s, s->freed[i].space, s->freed[i].port);
    mem_free(s->freed);
    s->freed = NULL;
    s->n_freed = 0;
}

void ports_want_write_back(struct store *s, struct port_row *row)
{
    if (row->told || row->queued)
        return;
    row->queued = true;
    pointers_add(&s->write_backs, row);
}
