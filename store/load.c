/*
 * Reading the databases back at the start. Every row is held against its digest; one that does not fit makes the
 * whole file damaged, for what else is wrong in it can't be known. What the key does not fit is left out and counted.
 *
 * What is read becomes pending, as if the agent had just said it, and is committed by the same code.
 */
#include "store/state.h"

#include "store/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef int (*row_reader)(struct store *s, const struct db_value *row, void *arg, struct err *e);

static int damaged(struct err *e, const char *file, const char *what)
{
    return err_set(e, -EUCLEAN, file, "", "a row of %s is damaged", what);
}

/* types: one letter a column: i integer, t text, b blob; capital: or NULL. The digest comes behind them. */
static bool has_types(const struct db_value *row, size_t n, const char *types)
{
    if (n != strlen(types))
        return false;
    for (size_t i = 0; i < n; i++) {
        static const struct {
            char letter;
            enum db_type type;
        } known[] = {{'i', DB_INT}, {'t', DB_TEXT}, {'b', DB_BLOB}};

        if (row[i].type == DB_NULL && types[i] >= 'A' && types[i] <= 'Z')
            continue;
        for (size_t j = 0; j < ARRAY_LEN(known); j++)
            if ((types[i] | 0x20) == known[j].letter && row[i].type != known[j].type)
                return false;
    }
    return true;
}

static int read_table(struct store *s, struct db *db, const char *file, const char *table, const char *types,
                      row_reader reader, void *arg, struct err *e)
{
    _cleanup_(mem_free_p) char *sql = mem_printf("SELECT * FROM %s ORDER BY 1", table);
    struct db_statement *statement = NULL;
    const struct db_value *row;
    size_t n;
    int r = db_prepare(db, sql, &statement, e);

    while (r == 0) {
        r = db_step(statement, &row, &n, e);
        if (r <= 0)
            break;
        if (!db_row_intact(row, n) || !has_types(row, n - 1, types))
            r = damaged(e, file, table);
        else
            r = reader(s, row, arg, e);
    }
    db_statement_free(statement);
    return r;
}

/* ---- config.db ---- */

static int read_gateway(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct port_space *space = port_space_get(s, row[0].bytes, true);

    (void)arg; /* nothing more is needed */
    (void)e;
    if (space)
        space->saved = true;
    return 0;
}

static int read_port(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct port_space *space = port_space_get(s, row[0].bytes, true);
    int64_t port = row[2].number;

    (void)arg; /* nothing more is needed */
    if (!space || port < 1 || port > UINT16_MAX ||
        !ports_load(s, space, row[1].bytes, (uint16_t)port, row[3].number != 0, row[4].number))
        return damaged(e, s->config_path, "ports");
    return 0;
}

static int read_revision(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    (void)arg; /* nothing more is needed */
    (void)e;
    if ((uint64_t)row[0].number > s->revision)
        s->revision = (uint64_t)row[0].number;
    return 0;
}

int load_config(struct store *s, struct db *db, struct err *e)
{
    int r = read_table(s, db, s->config_path, "gateways", "tt", read_gateway, NULL, e);

    if (r == 0)
        r = read_table(s, db, s->config_path, "ports", "ttiiI", read_port, NULL, e);
    if (r == 0)
        r = read_table(s, db, s->config_path, "revisions", "iitti", read_revision, NULL, e);
    return r;
}

/* ---- observed.db ---- */

/* A form that was read. */
struct loaded_form {
    int64_t id;
    bool unreadable, used;
    struct bytes resources;
};

static int read_meta(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    uint64_t value = (uint64_t)row[1].number;

    (void)arg; /* nothing more is needed */
    (void)e;
    if (strcmp(row[0].bytes, "revision") == 0) {
        s->kept_revision = value;
        if (value > s->revision)
            s->revision = value;
    } else if (strcmp(row[0].bytes, "claims") == 0) {
        s->claims = s->kept_claims = value;
    } else if (strcmp(row[0].bytes, "whole") == 0) {
        s->whole = s->kept_whole = value != 0;
    }
    return 0;
}

static int read_form(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct loading *l = arg;
    struct loaded_form *form = mem_new(struct loaded_form);
    int64_t id = row[0].number;

    (void)e;
    form->id = id;
    if (row[1].number == 0)
        form->resources = (struct bytes){mem_dup(row[2].bytes, row[2].len), row[2].len};
    else if (row_unseal_form(s, id, &row[2], &form->resources) < 0)
        form->unreadable = true;
    map_put(&l->forms, (const char *)&form->id, sizeof(form->id), form);
    if (id >= s->next_form_id)
        s->next_form_id = id + 1;
    return 0;
}

static struct loaded_form *find_form(const struct loading *l, int64_t id)
{
    return map_get(&l->forms, (const char *)&id, sizeof(id));
}

static int decode_form(struct store *s, struct record *r, struct loaded_form *form, int64_t id, struct form *ret_form,
                       struct err *e)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct facts f = {0};

    form->used = true;
    if (unpack_resources(form->resources.data, form->resources.len, arena, &f) < 0)
        return damaged(e, s->observed_path, "forms");
    ret_form->id = id;
    ret_form->declaration =
        declaration_new(r->path, f.resources, f.n_resources, s->options.check, s->options.check_arg);
    return 0;
}

/* Good forms are few: only services with a kept exposure have them. The states name them. */
static int find_good_forms(struct store *s, const struct loading *l, struct record *r, const struct db_value *states,
                           struct err *e)
{
    _cleanup_(mem_free_p) int64_t *ids = NULL;
    size_t n = 0;

    if (exposures_good_forms(states->bytes, states->len, &ids, &n) < 0)
        return damaged(e, s->observed_path, "services");
    r->good = n ? mem_array(struct form, n) : NULL;
    for (size_t i = 0; i < n; i++) {
        struct loaded_form *form = find_form(l, ids[i]);
        int result;

        if (!form || form->unreadable)
            continue;
        result = decode_form(s, r, form, ids[i], &r->good[r->n_good], e);
        if (result < 0)
            return result;
        r->n_good++;
    }
    return 0;
}

static void lost(struct loading *l, int64_t id)
{
    l->lost = mem_realloc(l->lost, l->n_lost + 1, sizeof(*l->lost));
    l->lost[l->n_lost++] = id;
}

static int read_service(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct loading *l = arg;
    struct loaded_form *form = find_form(l, row[2].number);
    struct record *r;
    int result;

    if (row[0].number >= s->next_service_id)
        s->next_service_id = row[0].number + 1;
    if (!form)
        return damaged(e, s->observed_path, "forms");
    if (form->unreadable) {
        lost(l, row[0].number);
        return 0;
    }
    r = record_new(s, row[1].bytes, row[0].number);
    result = decode_form(s, r, form, row[2].number, &r->form, e);
    if (result == 0)
        result = find_good_forms(s, l, r, &row[3], e);
    if (result < 0)
        return result;
    r->loaded_arena = arena_new();
    if (exposures_unpack(row[3].bytes, row[3].len, r, r->loaded_arena) < 0)
        return damaged(e, s->observed_path, "services");
    r->resources = hash_bytes128(form->resources.data, form->resources.len);
    r->states = hash_bytes128(row[3].bytes, row[3].len);
    r->pending = mem_new(struct pending);
    r->pending->resources_hash = r->resources;
    map_put(&l->by_id, (const char *)&r->id, sizeof(r->id), r);
    record_changed(s, r);
    return 0;
}

static int read_endpoints(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    const struct loading *l = arg;
    int64_t id = row[0].number;
    struct record *r = map_get(&l->by_id, (const char *)&id, sizeof(id));
    struct facts f;

    if (!r)
        return 0; /* of a service that the key does not fit */
    if (unpack_addresses(row[1].bytes, row[1].len, arena, &f) < 0)
        return damaged(e, s->observed_path, "endpoints");
    r->addresses = hash_bytes128(row[1].bytes, row[1].len);
    r->pending->addresses = (struct bytes){mem_dup(row[1].bytes, row[1].len), row[1].len};
    r->pending->addresses_hash = r->addresses;
    return 0;
}

/* The private key and the password; both stay in the bytes. */
static int read_pair(struct store *s, const struct db_value *row, struct secret_values *values, struct bytes *plain)
{
    struct unpack u;

    if (row_unseal_secret(s, row[0].bytes, &row[3], plain) < 0)
        return -EBADMSG;
    u = unpack_start(plain->data, plain->len);
    values->certificate_chain = row[2].bytes;
    values->private_key = unpack_text(&u);
    values->password = unpack_text(&u);
    return unpack_done(&u) ? 0 : -EBADMSG;
}

/* The words about newer values that were bad belong to the secret as it was. */
static void restore_problems(struct secret *secret, const struct db_value *row)
{
    if (row[4].type == DB_TEXT)
        secret->pair_problem = arena_strdup(secret->arena, row[4].bytes);
    if (row[7].type == DB_TEXT)
        secret->trust_problem = arena_strdup(secret->arena, row[7].bytes);
}

static int read_secret(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct secret_values values = {.trusted_ca = row[5].bytes, .verify_certificate_hash = row[6].bytes};
    struct loading *l = arg;
    struct secret_entry *entry;
    struct bytes plain = {0};

    (void)e;
    if (row[3].type == DB_BLOB && read_pair(s, row, &values, &plain) < 0) {
        l->n_lost_secrets++;
        bytes_clear(&plain);
        return 0;
    }
    entry = secret_entry_get(s, row[0].bytes);
    entry->next = secret_new(row[0].bytes, row[1].bytes, &values, NULL, NULL);
    restore_problems(entry->next, row);
    bytes_clear(&plain);
    secret_touched(s, entry);
    return 0;
}

void loading_clear(struct loading *l)
{
    struct map_entry *e;

    for (size_t i = 0; map_next(&l->forms, &i, &e);) {
        struct loaded_form *form = e->value;

        bytes_clear(&form->resources);
        mem_free(form);
    }
    map_clear(&l->forms);
    map_clear(&l->by_id);
    mem_free(l->lost);
}

/* In the transaction that says that the state is not whole. */
void loading_drop_orphans(struct store *s, const struct loading *l)
{
    struct map_entry *e;

    for (size_t i = 0; i < l->n_lost; i++)
        row_drop_service(s, l->lost[i]);
    for (size_t i = 0; map_next(&l->forms, &i, &e);) {
        const struct loaded_form *form = e->value;

        if (!form->used)
            row_drop_form(s, form->id);
    }
}

static int check_complete(struct store *s, struct err *e)
{
    for (size_t i = 0; i < s->changed.count; i++)
        if (!((struct record *)s->changed.items[i])->pending->addresses.data)
            return damaged(e, s->observed_path, "endpoints");
    return 0;
}

int load_observed(struct store *s, struct db *db, struct loading *l, struct err *e)
{
    const char *file = s->observed_path;
    int r = read_table(s, db, file, "meta", "ti", read_meta, l, e);

    if (r == 0)
        r = read_table(s, db, file, "forms", "iib", read_form, l, e);
    if (r == 0)
        r = read_table(s, db, file, "services", "itib", read_service, l, e);
    if (r == 0)
        r = read_table(s, db, file, "endpoints", "ib", read_endpoints, l, e);
    if (r == 0)
        r = check_complete(s, e);
    if (r == 0)
        r = read_table(s, db, file, "secrets", "ttTBTTTT", read_secret, l, e);
    if (r == 0 && (l->n_lost || l->n_lost_secrets))
        s->whole = false;
    return r;
}
