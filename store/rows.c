/*
 * Rows: what is written of each object, and how it is sealed. One statement a verb; the keeper is told which row a
 * change is of, so that the newest wins.
 */
#include "store/state.h"

#include "base/json.h"
#include "store/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PUT_GATEWAY,
    PUT_PORT,
    DROP_PORT,
    PUT_REVISION,
    DROP_REVISION,
    DROP_REVISIONS,
    PUT_DOCUMENT,
    DROP_DOCUMENT,
    PUT_HISTORY,
    DROP_HISTORY,
    DROP_HISTORIES,
    PUT_AUTHOR,
    DROP_AUTHOR,
    DROP_AUTHORS,
    PUT_MEMBERS,
    DROP_MEMBERS
};

const char *const config_statements[] = {
    [PUT_GATEWAY] = "INSERT OR REPLACE INTO gateways VALUES (?, ?, ?)",
    [PUT_PORT] = "INSERT OR REPLACE INTO ports VALUES (?, ?, ?, ?, ?, ?)",
    [DROP_PORT] = "DELETE FROM ports WHERE gateway = ? AND exposure = ?",
    [PUT_REVISION] = "INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?, ?, ?)",
    [DROP_REVISION] = "DELETE FROM revisions WHERE number = ?",
    [DROP_REVISIONS] = "DELETE FROM revisions WHERE number <= ?",
    [PUT_DOCUMENT] = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [DROP_DOCUMENT] = "DELETE FROM documents WHERE kind = ? AND name = ?",
    [PUT_HISTORY] = "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [DROP_HISTORY] = "DELETE FROM history WHERE number = ? AND kind = ? AND name = ?",
    [DROP_HISTORIES] = "DELETE FROM history WHERE number <= ?",
    [PUT_AUTHOR] = "INSERT OR REPLACE INTO authors VALUES (?, ?, ?, ?)",
    [DROP_AUTHOR] = "DELETE FROM authors WHERE number = ?",
    [DROP_AUTHORS] = "DELETE FROM authors WHERE number <= ?",
    [PUT_MEMBERS] = "INSERT OR REPLACE INTO members VALUES (?, ?, ?)",
    [DROP_MEMBERS] = "DELETE FROM members WHERE name = ?",
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
    DROP_SECRET,
    PUT_EVENT,
    PUT_NOTE,
    DROP_NOTE
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
    [PUT_EVENT] = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)",
    [PUT_NOTE] = "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)",
    [DROP_NOTE] = "DELETE FROM notes WHERE name = ?",
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

void row_put_event(struct store *s, uint64_t seq, const char *json)
{
    int64_t place = (int64_t)(seq % EVENTS_MAX);
    const struct db_value values[] = {db_int(place), db_int((int64_t)seq), db_text(json)};

    keeper_put(s->observed, ROW_KEY('v', place), PUT_EVENT, true, values, ARRAY_LEN(values));
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

/* Of a note; also what its sealed bytes belong to. */
static char *note_row_key(const char *name)
{
    return mem_printf("n%s", name);
}

void row_put_note(struct store *s, const struct note *note)
{
    _cleanup_(mem_free_p) char *key = note_row_key(note->name);
    struct buf sealed;

    buf_init(&sealed, 0);
    if (crypt_seal(s->key, key, note->bytes, note->len, &sealed) == 0) {
        const struct db_value values[] = {db_text(note->name), db_blob(sealed.data, sealed.len)};

        keeper_put(s->observed, key, PUT_NOTE, true, values, ARRAY_LEN(values));
    }
    buf_clear(&sealed);
}

int row_unseal_note(struct store *s, const char *name, const struct db_value *sealed, struct bytes *ret)
{
    _cleanup_(mem_free_p) char *key = note_row_key(name);

    return crypt_unseal(s->key, key, sealed->bytes, sealed->len, &ret->data, &ret->len);
}

void row_drop_note(struct store *s, const char *name)
{
    const struct db_value value = db_text(name);
    _cleanup_(mem_free_p) char *key = note_row_key(name);

    keeper_put(s->observed, key, DROP_NOTE, false, &value, 1);
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
        db_text(row->space->name),
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
    const struct db_value values[] = {db_text(row->space->name), db_text(row->exposure)};
    _cleanup_(mem_free_p) char *key = mem_printf("p%s", row->key);

    keeper_put(s->config, key, DROP_PORT, false, values, ARRAY_LEN(values));
}

/* While nothing can be written, no more of them wait than would be kept. */
static char *revision_row_key(char table, uint64_t number)
{
    return mem_printf("%c%" PRIu64, table, number % STORE_REVISIONS_MAX);
}

static void put_names(struct buf *b, const struct revision *r)
{
    buf_append_byte(b, '[');
    for (size_t i = 0; i < r->n_names; i++) {
        if (i > 0)
            buf_append_byte(b, ',');
        buf_json_string(b, r->names[i], strlen(r->names[i]));
    }
    buf_append_byte(b, ']');
}

static void put_author(struct store *s, const struct revision *r)
{
    const struct db_value values[] = {db_int((int64_t)r->number), db_text(r->author),
                                      db_text(r->request_id ? r->request_id : "")};
    _cleanup_(mem_free_p) char *key = revision_row_key('a', r->number);

    keeper_put(s->config, key, PUT_AUTHOR, true, values, ARRAY_LEN(values));
}

/* What a sealed body belongs to. */
static char *document_row_key(const char *kind, const char *name)
{
    return mem_printf("d%s/%s", kind, name);
}

static void seal_body(struct store *s, const struct document *d, struct buf *b)
{
    _cleanup_(mem_free_p) char *key = document_row_key(document_kind_name(d->kind), d->name);

    buf_init(b, 0);
    (void)crypt_seal(s->key, key, d->body, d->body_len, b); /* a body is far below the buffer's limit */
}

static void put_history(struct store *s, uint64_t number, const struct document_change *c)
{
    const struct document *before = c->before;
    const char *kind = document_kind_name(c->kind);
    _cleanup_(mem_free_p) char *key = mem_printf("h%" PRIu64 "/%s/%s", number, kind, c->name);
    struct buf sealed = {0};

    if (before)
        seal_body(s, before, &sealed);
    {
        const struct db_value values[] = {db_int((int64_t)number),
                                          db_text(kind),
                                          db_text(c->name),
                                          before ? db_blob(sealed.data, sealed.len) : db_text(NULL),
                                          db_text(before ? before->author : ""),
                                          db_int(before ? (int64_t)before->revision : 0),
                                          db_int(before ? before->created : 0),
                                          db_int(before ? before->updated : 0)};

        keeper_put(s->config, key, PUT_HISTORY, true, values, ARRAY_LEN(values));
    }
    buf_clear(&sealed);
}

static void drop_old_revisions(struct store *s, uint64_t number)
{
    static const struct {
        const char *key;
        unsigned statement;
    } drops[] = {{"retention", DROP_REVISIONS}, {"retention h", DROP_HISTORIES}, {"retention a", DROP_AUTHORS}};
    const struct db_value last = db_int((int64_t)(number - STORE_REVISIONS_MAX));

    for (size_t i = 0; i < ARRAY_LEN(drops); i++)
        keeper_put(s->config, drops[i].key, drops[i].statement, false, &last, 1);
}

void row_put_revision(struct store *s, const struct revision *r)
{
    _cleanup_(mem_free_p) char *key = revision_row_key('r', r->number);
    struct buf names;

    buf_init(&names, 0);
    put_names(&names, r);
    {
        const struct db_value values[] = {db_int((int64_t)r->number), db_int(r->time), db_text(r->cause),
                                          db_text(buf_cstr(&names)), db_int((int64_t)r->n_changed)};

        keeper_put(s->config, key, PUT_REVISION, true, values, ARRAY_LEN(values));
    }
    buf_clear(&names);
    if (r->author)
        put_author(s, r);
    for (size_t i = 0; i < r->n_documents; i++)
        put_history(s, r->number, &r->documents[i]);
    if (r->number > STORE_REVISIONS_MAX)
        drop_old_revisions(s, r->number);
}

/* One that was put just before and shall not have been. */
void row_drop_revision(struct store *s, const struct revision *r)
{
    const struct db_value number = db_int((int64_t)r->number);
    _cleanup_(mem_free_p) char *revision = revision_row_key('r', r->number),
                               *author = revision_row_key('a', r->number);

    keeper_put(s->config, revision, DROP_REVISION, false, &number, 1);
    keeper_put(s->config, author, DROP_AUTHOR, false, &number, 1);
    for (size_t i = 0; i < r->n_documents; i++) {
        const struct document_change *c = &r->documents[i];
        const char *kind = document_kind_name(c->kind);
        const struct db_value values[] = {number, db_text(kind), db_text(c->name)};
        _cleanup_(mem_free_p) char *key = mem_printf("h%" PRIu64 "/%s/%s", r->number, kind, c->name);

        /* That one alone: the number may be another revision's by now. */
        keeper_put(s->config, key, DROP_HISTORY, false, values, ARRAY_LEN(values));
    }
}

static void put_members(struct store *s, const struct document *d)
{
    _cleanup_(mem_free_p) char *key = mem_printf("m%s", d->name);
    json_t *list = json_array();

    for (size_t i = 0; i < d->n_members; i++) {
        const struct document_member *m = &d->members[i];
        json_array_append_new(list, json_pack("[ssIII]", m->field, m->author, (json_int_t)m->revision,
                                              (json_int_t)m->created, (json_int_t)m->updated));
    }
    _cleanup_(mem_free_p) char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    const struct db_value values[] = {db_text(d->name), db_text(text)};
    keeper_put(s->config, key, PUT_MEMBERS, true, values, ARRAY_LEN(values));
}

void row_put_document(struct store *s, const struct document *d)
{
    const char *kind = document_kind_name(d->kind);
    _cleanup_(mem_free_p) char *key = document_row_key(kind, d->name);
    struct buf sealed;

    seal_body(s, d, &sealed);
    {
        const struct db_value values[] = {db_text(kind),
                                          db_text(d->name),
                                          db_blob(sealed.data, sealed.len),
                                          db_text(d->author),
                                          db_int((int64_t)d->revision),
                                          db_int(d->created),
                                          db_int(d->updated)};

        keeper_put(s->config, key, PUT_DOCUMENT, true, values, ARRAY_LEN(values));
    }
    buf_clear(&sealed);
    if (d->kind == DOCUMENT_OVERRIDE)
        put_members(s, d);
}

void row_drop_document(struct store *s, enum document_kind kind, const char *name)
{
    const struct db_value values[] = {db_text(document_kind_name(kind)), db_text(name)};
    _cleanup_(mem_free_p) char *key = document_row_key(document_kind_name(kind), name);
    _cleanup_(mem_free_p) char *members = mem_printf("m%s", name);

    keeper_put(s->config, key, DROP_DOCUMENT, false, values, ARRAY_LEN(values));
    if (kind == DOCUMENT_OVERRIDE)
        keeper_put(s->config, members, DROP_MEMBERS, false, &values[1], 1);
}

int row_unseal_document(struct store *s, const char *kind, const char *name, const struct db_value *body,
                        struct bytes *ret)
{
    _cleanup_(mem_free_p) char *key = document_row_key(kind, name);

    return crypt_unseal(s->key, key, body->bytes, body->len, &ret->data, &ret->len);
}
