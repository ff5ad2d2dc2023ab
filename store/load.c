/*
 * Reading the databases back at the start. Every row is held against its digest; one that does not fit makes the
 * whole file damaged, for what else is wrong in it can't be known. What the key does not fit is left out and counted.
 *
 * What is read becomes pending, as if the agent had just said it, and is committed by the same code.
 *
 * config.db may be ahead: an edit was answered, and observed.db did not get what it meant (a crash, a power cut).
 * What is in observed.db is then read under the documents that it was written under, and the later edits are made
 * once more: else names would be taken for held that were only asked for, and last good forms be lost.
 */
#include "store/state.h"

#include "base/json.h"
#include "store/overlay.h"
#include "store/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

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

/* What another key sealed is nothing that edits could go on from. */
static int unseal_document(struct store *s, const struct db_value *kind, const struct db_value *name,
                           const struct db_value *columns, struct document **ret, struct err *e)
{
    struct bytes plain = {0};
    enum document_kind k;

    if (document_kind_parse(kind->bytes, &k) < 0)
        return damaged(e, s->config_path, "documents");
    if (row_unseal_document(s, kind->bytes, name->bytes, &columns[0], &plain) < 0)
        return err_set(e, -EBADMSG, s->config_path, "", "the key does not fit what is encrypted in it");
    *ret = document_new(k, name->bytes, (const char *)plain.data, columns[1].bytes, (uint64_t)columns[2].number,
                        columns[3].number, columns[4].number);
    bytes_clear(&plain);
    return 0;
}

static int read_document(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct document *d = NULL;
    int r = unseal_document(s, &row[0], &row[1], &row[2], &d, e);

    (void)arg; /* nothing more is needed */
    if (r < 0)
        return r;
    s->documents = pmap_put(s->documents, &view_documents, d);
    document_unref(d);
    return 0;
}

static int read_members(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct document *d = documents_find(s->documents, DOCUMENT_OVERRIDE, row[0].bytes);
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct document_member *members;
    json_t *list = NULL, *one;
    size_t i, n = 0;

    (void)arg; /* nothing more is needed */
    if (!d)
        return 0;
    if (json_parse(row[1].bytes, row[1].len, &list, NULL) < 0)
        return damaged(e, s->config_path, "members");
    members = arena_array(arena, struct document_member, json_array_size(list));
    json_array_foreach(list, i, one)
    {
        struct document_member *m = &members[n];
        json_int_t revision, created, updated;

        if (json_unpack(one, "[ssIII]", &m->field, &m->author, &revision, &created, &updated) < 0)
            continue;
        m->revision = (uint64_t)revision;
        m->created = created;
        m->updated = updated;
        n++;
    }
    document_set_members(d, members, n);
    json_decref(list);
    return 0;
}

/* Revisions while they are read: rows by number. */
struct loaded_revision {
    uint64_t number;
    int64_t time, n_changed;
    char *cause, *names, *author, *request;
    struct document_change *documents; /* without `after` */
    size_t n_documents;
};

struct loaded_revisions {
    struct loaded_revision *items; /* by number, ascending */
    size_t n;
};

static int read_revision(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct loaded_revisions *l = arg;

    (void)e;
    if ((l->n & (l->n - 1)) == 0)
        l->items = mem_realloc(l->items, l->n ? 2 * l->n : 1, sizeof(*l->items));
    l->items[l->n++] = (struct loaded_revision){.number = (uint64_t)row[0].number,
                                                .time = row[1].number,
                                                .n_changed = row[4].number,
                                                .cause = mem_strdup(row[2].bytes),
                                                .names = mem_strdup(row[3].bytes)};
    s->revision = (uint64_t)row[0].number;
    return 0;
}

static int compare_number(const void *key, const void *item)
{
    uint64_t number = *(const uint64_t *)key, other = ((const struct loaded_revision *)item)->number;

    return number < other ? -1 : number > other;
}

/* NULL: it is past its retention. */
static struct loaded_revision *find_revision(const struct loaded_revisions *l, int64_t row_number)
{
    uint64_t number = (uint64_t)row_number;

    return l->n ? bsearch(&number, l->items, l->n, sizeof(*l->items), compare_number) : NULL;
}

static int read_author(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct loaded_revision *r = find_revision(arg, row[0].number);

    (void)s;
    (void)e;
    if (r && !r->author) {
        r->author = mem_strdup(row[1].bytes);
        r->request = mem_strdup(row[2].bytes);
    }
    return 0;
}

static int read_history(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct loaded_revision *r = find_revision(arg, row[0].number);
    struct document_change change = {.before = NULL};
    int result = 0;

    if (!r)
        return 0;
    if (document_kind_parse(row[1].bytes, &change.kind) < 0)
        return damaged(e, s->config_path, "history");
    if (row[3].type == DB_BLOB)
        result = unseal_document(s, &row[1], &row[2], &row[3], &change.before, e);
    if (result < 0)
        return result;
    change.name = mem_strdup(row[2].bytes);
    r->documents = mem_realloc(r->documents, r->n_documents + 1, sizeof(*r->documents));
    r->documents[r->n_documents++] = change;
    return 0;
}

/* What came after a change is what was before the next one of the same document, or what there is now. */
static void find_after(struct store *s, struct map *later, struct arena *keys, struct loaded_revision *r)
{
    for (size_t i = 0; i < r->n_documents; i++) {
        struct document_change *c = &r->documents[i];
        const char *key = arena_printf(keys, "%s/%s", document_kind_name(c->kind), c->name);
        struct document_change *next = map_gets(later, key);

        c->after = next ? next->before : pmap_get(s->documents, &view_documents, key);
        map_puts(later, key, c);
    }
}

static struct revision *finish_revision(struct store *s, const struct loaded_revision *l, struct err *e)
{
    _cleanup_(arena_free_p) struct arena *arena = arena_new();
    struct revision *r = NULL;
    json_t *names = NULL, *name;
    const char **texts;
    size_t i;

    if (json_parse(l->names, strlen(l->names), &names, NULL) < 0 || !json_is_array(names)) {
        json_decref(names);
        damaged(e, s->config_path, "revisions");
        return NULL;
    }
    texts = arena_array(arena, const char *, json_array_size(names));
    json_array_foreach(names, i, name) texts[i] = json_is_string(name) ? json_string_value(name) : "";
    r = revision_new(l->number, l->time, l->cause, l->author, l->request, texts, json_array_size(names),
                     (size_t)l->n_changed, l->documents, l->n_documents);
    json_decref(names);
    return r;
}

static void loaded_revisions_clear(struct loaded_revisions *l)
{
    for (size_t i = 0; i < l->n; i++) {
        struct loaded_revision *r = &l->items[i];

        for (size_t k = 0; k < r->n_documents; k++) {
            document_unref(r->documents[k].before);
            mem_free((char *)(uintptr_t)r->documents[k].name);
        }
        mem_free(r->documents);
        mem_free(r->cause);
        mem_free(r->names);
        mem_free(r->author);
        mem_free(r->request);
    }
    mem_free(l->items);
}

static int load_revisions(struct store *s, struct db *db, struct err *e)
{
    _cleanup_(arena_free_p) struct arena *keys = arena_new();
    struct loaded_revisions l = {0};
    struct map later = {0};
    int r = read_table(s, db, s->config_path, "revisions", "iitti", read_revision, &l, e);

    if (r == 0)
        r = read_table(s, db, s->config_path, "authors", "itt", read_author, &l, e);
    if (r == 0)
        r = read_table(s, db, s->config_path, "history", "ittBtiii", read_history, &l, e);
    for (size_t i = l.n; r == 0 && i-- > 0;)
        find_after(s, &later, keys, &l.items[i]);
    for (size_t i = 0; r == 0 && i < l.n; i++) {
        struct revision *revision = finish_revision(s, &l.items[i], e);

        if (revision)
            revisions_add(s, revision);
        else
            r = -EUCLEAN;
    }
    loaded_revisions_clear(&l);
    map_clear(&later);
    return r;
}

/* A gateway is made by its document, and its own row may have come too late to the disk. */
static void make_gateways(struct store *s)
{
    for (struct document *d = documents_after(s->documents, DOCUMENT_GATEWAY, ""); d;
         d = documents_after(s->documents, DOCUMENT_GATEWAY, d->name))
        port_space_get(s, d->name, true);
}

int load_config(struct store *s, struct db *db, struct err *e)
{
    /* First: gateways are made as their documents say. */
    int r = read_table(s, db, s->config_path, "documents", "ttbtiii", read_document, NULL, e);

    if (r == 0)
        r = read_table(s, db, s->config_path, "members", "tt", read_members, NULL, e);
    if (r == 0)
        r = read_table(s, db, s->config_path, "gateways", "tt", read_gateway, NULL, e);
    if (r == 0)
        make_gateways(s);
    if (r == 0)
        r = read_table(s, db, s->config_path, "ports", "ttiiI", read_port, NULL, e);
    if (r == 0)
        r = load_revisions(s, db, e);
    return r;
}

/* ---- observed.db ---- */

static void use_document(struct store *s, const struct document_change *c, struct document *d)
{
    s->documents = documents_set(s->documents, c->kind, c->name, d);
}

static void documents_step_back(struct store *s)
{
    s->loaded_revision = s->kept_revision;
    if (!s->kept_revision || !revisions_find(s->revisions, s->kept_revision + 1))
        return;
    s->later_documents = pmap_ref(s->documents);
    for (uint64_t number = s->revision; number > s->kept_revision; number--) {
        const struct revision *r = revisions_find(s->revisions, number);

        for (size_t i = r ? r->n_documents : 0; i-- > 0;)
            use_document(s, &r->documents[i], r->documents[i].before);
    }
}

void documents_step(struct store *s, const struct revision *r)
{
    for (size_t i = 0; i < r->n_documents; i++)
        use_document(s, &r->documents[i], r->documents[i].after);
}

void documents_step_on(struct store *s)
{
    if (!s->later_documents)
        return;
    pmap_unref(s->documents, &view_documents);
    s->documents = take_ptr(s->later_documents);
}

/* A form that was read. */
struct loaded_form {
    int64_t id;
    bool unreadable, used;
    struct bytes resources;
};

static int read_meta(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    uint64_t value = (uint64_t)row[1].number;
    struct loading *l = arg;

    (void)e;
    if (strcmp(row[0].bytes, "revision") == 0) {
        s->kept_revision = value;
        if (value > s->revision)
            s->revision = value;
    } else if (strcmp(row[0].bytes, "claims") == 0) {
        s->claims = s->kept_claims = value;
    } else if (strcmp(row[0].bytes, "whole") == 0) {
        s->whole = s->kept_whole = value != 0;
    } else if (strcmp(row[0].bytes, "epoch") == 0) {
        l->epoch = value;
    } else if (strcmp(row[0].bytes, "boot") == 0) {
        l->boot = value;
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

/* Of a kept form: what was in effect, as it was. */
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

/* Of the present form: the agent's word, with what people made of it by now. */
static int decode_present(struct store *s, struct record *r, struct loaded_form *form, int64_t id, struct err *e)
{
    struct pending *p = r->pending;
    int result;

    if (!overlay_concerns(r->path, s->documents)) {
        result = decode_form(s, r, form, id, &r->form, e);
    } else {
        _cleanup_(arena_free_p) struct arena *arena = arena_new();
        struct facts f = {0};

        form->used = true;
        result = unpack_resources(form->resources.data, form->resources.len, arena, &f);
        if (result < 0)
            return damaged(e, s->observed_path, "forms");
        p->word = agent_word_new(form->resources.data, form->resources.len);
        r->form = (struct form){id, gather_declare(s, r->path, p->word, &p->effective)};
    }
    if (result == 0 && !p->word)
        p->word = agent_word_new(form->resources.data, form->resources.len);
    /* One zero: no resources. It is there for what people made alone. */
    if (form->resources.len == 1) {
        agent_word_unref(p->word);
        p->word = NULL;
        p->gone = !overlay_has_made(r->path, s->documents);
    }
    return result;
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
    r->pending = mem_new(struct pending);
    result = decode_present(s, r, form, row[2].number, e);
    if (result == 0)
        result = find_good_forms(s, l, r, &row[3], e);
    if (result < 0)
        return result;
    r->loaded_arena = arena_new();
    if (exposures_unpack(row[3].bytes, row[3].len, r, r->loaded_arena) < 0)
        return damaged(e, s->observed_path, "services");
    r->resources = hash_bytes128(form->resources.data, form->resources.len);
    r->states = hash_bytes128(row[3].bytes, row[3].len);
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

static int read_event(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct loading *l = arg;

    (void)s;
    (void)e;
    if ((l->n_events & (l->n_events - 1)) == 0)
        l->events = mem_realloc(l->events, l->n_events ? 2 * l->n_events : 1, sizeof(*l->events));
    l->events[l->n_events++] = (struct loaded_event){(uint64_t)row[1].number, mem_strdup(row[2].bytes)};
    return 0;
}

/* One that another key sealed is nothing to go on from; it is dropped with the next set. */
static int read_note(struct store *s, const struct db_value *row, void *arg, struct err *e)
{
    struct bytes plain = {0};
    struct note *note;

    (void)arg; /* nothing more is needed */
    (void)e;
    notes_add(&s->notes, mem_strdup(row[0].bytes), NULL);
    note = &s->notes.items[s->notes.n - 1];
    if (row_unseal_note(s, row[0].bytes, &row[1], &plain) == 0) {
        note->bytes = plain.data;
        note->len = plain.len;
    }
    return 0;
}

static int compare_events(const void *a, const void *b)
{
    const struct loaded_event *x = a, *y = b;

    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* observed.db is not flushed: what was last told may be missing after a power cut, so each boot has its epoch. */
static uint64_t this_boot(void)
{
    char text[64] = "";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (f) {
        if (!fgets(text, sizeof(text), f))
            text[0] = '\0';
        (void)fclose(f); /* it was only read */
    }
    return hash_bytes128(text, strlen(text)).low;
}

void loading_make_events(struct store *s, struct loading *l)
{
    uint64_t boot = this_boot(), epoch = l->boot == boot ? l->epoch : 0;

    while (!epoch)
        if (getrandom(&epoch, sizeof(epoch), 0) == (ssize_t)sizeof(epoch))
            epoch &= INT64_MAX; /* a number for every client */
    s->events = event_ring_new(epoch);
    if (l->n_events)
        qsort(l->events, l->n_events, sizeof(*l->events), compare_events);
    for (size_t i = 0; epoch == l->epoch && i < l->n_events; i++)
        event_ring_restore(s->events, l->events[i].seq, l->events[i].json);
    if (epoch == l->epoch)
        return;
    row_put_meta(s, "epoch", epoch);
    row_put_meta(s, "boot", boot);
}

void loading_clear(struct loading *l)
{
    for (size_t i = 0; i < l->n_events; i++)
        mem_free(l->events[i].json);
    mem_free(l->events);

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
        documents_step_back(s);
    if (r == 0)
        r = read_table(s, db, file, "forms", "iib", read_form, l, e);
    if (r == 0)
        r = read_table(s, db, file, "services", "itib", read_service, l, e);
    if (r == 0)
        r = read_table(s, db, file, "endpoints", "ib", read_endpoints, l, e);
    if (r == 0)
        r = check_complete(s, e);
    if (r == 0)
        r = read_table(s, db, file, "events", "iit", read_event, l, e);
    if (r == 0)
        r = read_table(s, db, file, "notes", "tb", read_note, NULL, e);
    if (r == 0)
        r = read_table(s, db, file, "secrets", "ttTBTTTT", read_secret, l, e);
    if (r == 0 && (l->n_lost || l->n_lost_secrets))
        s->whole = false;
    return r;
}
