/*
 * Rows: what is written of each object, and how it is sealed. One statement a verb; the keeper is told which row a
 * change is of, so that the newest wins.
 */
#include "store/state.h"

#include "base/clock.h"
#include "store/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PUT_GATEWAY, PUT_PORT, DROP_PORT, PUT_REVISION, DROP_REVISIONS };

const char *const config_statements[] = {
    [PUT_GATEWAY] = "INSERT OR REPLACE INTO gateways VALUES (?, ?, ?)",
    [PUT_PORT] = "INSERT OR REPLACE INTO ports VALUES (?, ?, ?, ?, ?, ?)",
    [DROP_PORT] = "DELETE FROM ports WHERE gateway = ? AND exposure = ?",
    [PUT_REVISION] = "INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?, ?, ?)",
    [DROP_REVISIONS] = "DELETE FROM revisions WHERE number <= ?",
};
const size_t n_config_statements = ARRAY_LEN(config_statements);

enum {
    PUT_META,
    PUT_FORM,
    DROP_FORM,
    PUT_SERVICE,
    DROP_SERVICE,
    PUT_ENDPOINTS,
    DROP_ENDPOINTS,
    PUT_SECRET,
    DROP_SECRET
};

const char *const observed_statements[] = {
    [PUT_META] = "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)",
    [PUT_FORM] = "INSERT OR REPLACE INTO forms VALUES (?, ?, ?, ?)",
    [DROP_FORM] = "DELETE FROM forms WHERE id = ?",
    [PUT_SERVICE] = "INSERT OR REPLACE INTO services VALUES (?, ?, ?, ?, ?)",
    [DROP_SERVICE] = "DELETE FROM services WHERE id = ?",
    [PUT_ENDPOINTS] = "INSERT OR REPLACE INTO endpoints VALUES (?, ?, ?)",
    [DROP_ENDPOINTS] = "DELETE FROM endpoints WHERE id = ?",
    [PUT_SECRET] = "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [DROP_SECRET] = "DELETE FROM secrets WHERE path = ?",
};
const size_t n_observed_statements = ARRAY_LEN(observed_statements);

struct row_key {
    char text[32];
};

static const char *row_key(struct row_key *key, char table, int64_t id)
{
    snprintf(key->text, sizeof(key->text), "%c%" PRId64, table, id);
    return key->text;
}
#define ROW_KEY(table, id) row_key(&(struct row_key){{0}}, (table), (id))

/* ---- observed.db ---- */

void row_put_meta(struct store *s, const char *name, uint64_t value)
{
    const struct db_value values[] = {db_text(name), db_int((int64_t)value)};
    _cleanup_(mem_free_p) char *key = mem_printf("m%s", name);

    keeper_put(s->observed, key, PUT_META, true, values, ARRAY_LEN(values));
}

/* What may hold keys: certificates inline, JSON that is passed through, and whatever has a key's armour in it. */
static bool is_sensitive(const struct bytes *resources)
{
    static const char *const marks[] = {"private_key_inline_string", "\"cluster_data\"", "\"filter_config_data\"",
                                        "PRIVATE KEY"};

    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (memmem(resources->data, resources->len, marks[i], strlen(marks[i])))
            return true;
    return false;
}

void row_put_form(struct store *s, int64_t id, const struct bytes *resources)
{
    bool sealed = is_sensitive(resources);
    struct buf b;

    buf_init(&b, 0);
    if (sealed && crypt_seal(s->key, ROW_KEY('f', id), resources->data, resources->len, &b) < 0)
        return;
    {
        const struct db_value values[] = {db_int(id), db_int(sealed),
                                          sealed ? db_blob(b.data, b.len) : db_blob(resources->data, resources->len)};

        keeper_put(s->observed, ROW_KEY('f', id), PUT_FORM, true, values, ARRAY_LEN(values));
    }
    buf_clear(&b);
}

int row_unseal_form(struct store *s, int64_t id, const struct db_value *resources, struct bytes *ret)
{
    return crypt_unseal(s->key, ROW_KEY('f', id), resources->bytes, resources->len, &ret->data, &ret->len);
}

static void drop_by_id(struct store *s, char table, unsigned statement, int64_t id)
{
    const struct db_value value = db_int(id);

    keeper_put(s->observed, ROW_KEY(table, id), statement, false, &value, 1);
}

void row_drop_form(struct store *s, int64_t id)
{
    drop_by_id(s, 'f', DROP_FORM, id);
}

void row_put_service(struct store *s, const struct record *r, int64_t form, const void *states, size_t n)
{
    const struct db_value values[] = {db_int(r->id), db_text(r->path), db_int(form), db_blob(states, n)};

    keeper_put(s->observed, ROW_KEY('s', r->id), PUT_SERVICE, true, values, ARRAY_LEN(values));
}

void row_drop_service(struct store *s, int64_t id)
{
    drop_by_id(s, 's', DROP_SERVICE, id);
    drop_by_id(s, 'e', DROP_ENDPOINTS, id);
}

void row_put_endpoints(struct store *s, int64_t id, const void *addresses, size_t n)
{
    const struct db_value values[] = {db_int(id), db_blob(addresses, n)};

    keeper_put(s->observed, ROW_KEY('e', id), PUT_ENDPOINTS, true, values, ARRAY_LEN(values));
}

void row_put_secret(struct store *s, const struct secret *secret)
{
    _cleanup_(mem_free_p) char *key = mem_printf("x%s", secret->path);
    struct buf plain, sealed;

    buf_init(&plain, 0);
    buf_init(&sealed, 0);
    if (secret->has_pair) {
        pack_text(&plain, secret->private_key);
        pack_text(&plain, secret->password);
        crypt_seal(s->key, key, plain.data, plain.len, &sealed);
        mem_wipe(plain.data, plain.len);
    }
    {
        const struct db_value values[] = {
            db_text(secret->path),
            db_text(secret->csum),
            db_text(secret->has_pair ? secret->certificate_chain : NULL),
            secret->has_pair ? db_blob(sealed.data, sealed.len) : db_text(NULL),
            db_text(secret->pair_problem),
            db_text(secret->has_trust ? secret->trusted_ca : NULL),
            db_text(secret->has_trust ? secret->verify_certificate_hash : NULL),
            db_text(secret->trust_problem),
        };

        keeper_put(s->observed, key, PUT_SECRET, true, values, ARRAY_LEN(values));
    }
    buf_clear(&plain);
    buf_clear(&sealed);
}

int row_unseal_secret(struct store *s, const char *path, const struct db_value *sealed, struct bytes *ret)
{
    _cleanup_(mem_free_p) char *key = mem_printf("x%s", path);

    return crypt_unseal(s->key, key, sealed->bytes, sealed->len, &ret->data, &ret->len);
}

void row_drop_secret(struct store *s, const char *path)
{
    const struct db_value value = db_text(path);
    _cleanup_(mem_free_p) char *key = mem_printf("x%s", path);

    keeper_put(s->observed, key, DROP_SECRET, false, &value, 1);
}

/* ---- config.db ---- */

void row_put_gateway(struct store *s, const struct gateway *g)
{
    const struct db_value values[] = {db_text(g->name), db_text("{}")};
    _cleanup_(mem_free_p) char *key = mem_printf("g%s", g->name);

    keeper_put(s->config, key, PUT_GATEWAY, true, values, ARRAY_LEN(values));
}

void row_put_port(struct store *s, const struct port_row *row)
{
    const struct db_value values[] = {
        db_text(row->space->gateway->name),
        db_text(row->exposure),
        db_int(row->port),
        db_int(row->told),
        row->gone ? db_int(row->gone) : db_text(NULL),
    };
    _cleanup_(mem_free_p) char *key = mem_printf("p%s", row->key);

    keeper_put(s->config, key, PUT_PORT, true, values, ARRAY_LEN(values));
}

void row_drop_port(struct store *s, const struct port_row *row)
{
    const struct db_value values[] = {db_text(row->space->gateway->name), db_text(row->exposure)};
    _cleanup_(mem_free_p) char *key = mem_printf("p%s", row->key);

    keeper_put(s->config, key, DROP_PORT, false, values, ARRAY_LEN(values));
}

void row_put_revision(struct store *s, uint64_t number, const char *cause, const char *const *names, size_t n)
{
    size_t shown = n < REVISION_NAMES_MAX ? n : REVISION_NAMES_MAX;
    struct buf changes;

    buf_init(&changes, 0);
    buf_append_byte(&changes, '[');
    for (size_t i = 0; i < shown; i++) {
        if (i > 0)
            buf_append_byte(&changes, ',');
        buf_json_string(&changes, names[i], strlen(names[i]));
    }
    buf_append_byte(&changes, ']');
    {
        const struct db_value values[] = {
            db_int((int64_t)number), db_int((int64_t)(clock_wall() * 1000)),
            db_text(cause),          db_text(buf_cstr(&changes)),
            db_int((int64_t)n),
        };

        /* While nothing can be written, no more of them wait than would be kept. */
        keeper_put(s->config, ROW_KEY('r', (int64_t)(number % STORE_REVISIONS_MAX)), PUT_REVISION, true, values,
                   ARRAY_LEN(values));
    }
    buf_clear(&changes);
    if (number > STORE_REVISIONS_MAX) {
        const struct db_value last = db_int((int64_t)(number - STORE_REVISIONS_MAX));

        keeper_put(s->config, "retention", DROP_REVISIONS, false, &last, 1);
    }
}
