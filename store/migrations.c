/*
 * The layouts of config.db and observed.db.
 *
 * A migration that was released is never changed: the next one is added below it. Each table that igwd trusts ends in
 * a digest over the row (store/sqlite.h). A digest covers the columns in their order, so a migration that adds a
 * column has to make the digests anew.
 *
 * What people make over the agent's word (one truth per field) stands in config.db alone. It is laid over what
 * observed.db holds when a service is put together, never written into it, and so survives whatever the agent says
 * and can be taken back one by one.
 */
#include "store/migrations.h"

#include "base/mem.h"

static const char *const config_migrations[] = {
    /* 1
     * gateways   those that were ever named; settings: a JSON object of what was set, {} when nothing
     * ports      allocated to an exposure (PATH.expose#N) of a gateway, for ever; told: the agent was told; gone:
     *            since when (seconds since 1970) no such exposure is there; the oldest of those are dropped past a
     *            number
     * revisions  of the configuration: time in milliseconds since 1970, the cause in words, the first names of what
     *            changed (a JSON list) and how many there were
     */
    "CREATE TABLE gateways (name TEXT PRIMARY KEY NOT NULL, settings TEXT NOT NULL, digest INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE ports (gateway TEXT NOT NULL, exposure TEXT NOT NULL, port INTEGER NOT NULL, told INTEGER NOT NULL,"
    " gone INTEGER, digest INTEGER NOT NULL, PRIMARY KEY (gateway, exposure)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX ports_exclusive ON ports (gateway, port);"
    "CREATE TABLE revisions (number INTEGER PRIMARY KEY NOT NULL, time INTEGER NOT NULL, cause TEXT NOT NULL,"
    " changes TEXT NOT NULL, n_changes INTEGER NOT NULL, digest INTEGER NOT NULL);",
    /* 2
     * documents  what people made over the API (store/document.h): body sealed, for it may hold keys; times in
     *            milliseconds since 1970
     * history    what a document was before a revision changed it (body NULL: it was not there)
     * authors    of the revisions that somebody made, and of which request
     */
    "CREATE TABLE documents (kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, author TEXT NOT NULL,"
    " revision INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL, digest INTEGER NOT NULL,"
    " PRIMARY KEY (kind, name)) WITHOUT ROWID;"
    "CREATE TABLE history (number INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB,"
    " author TEXT NOT NULL, revision INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,"
    " digest INTEGER NOT NULL, PRIMARY KEY (number, kind, name)) WITHOUT ROWID;"
    "CREATE TABLE authors (number INTEGER PRIMARY KEY NOT NULL, author TEXT NOT NULL, request TEXT NOT NULL,"
    " digest INTEGER NOT NULL);",
    /* 3
     * members    of overrides: who set each to what it is (a JSON list of lists: field, author, revision, created,
     *            updated)
     */
    ("CREATE TABLE members (name TEXT PRIMARY KEY NOT NULL, members TEXT NOT NULL, digest INTEGER NOT NULL)"
     " WITHOUT ROWID;"),
};

static const char *const observed_migrations[] = {
    /* 1
     * meta       numbers by name: the last revision, the clock of claims, whether the state is complete
     * forms      declarations as the agent had them (packed rid, type, info); sealed: encrypted, for they hold keys
     *            or JSON that is passed through. A service's present one, and those that its kept exposures stand in
     * services   the present form, and what the store knows of each exposure beside it (packed): gateway, effective
     *            port, since when it claims what, where its last good form stands
     * endpoints  of the service with that id: the addresses as the agent had them (packed). Apart from the service,
     *            for they change a thousand times as often
     * secrets    the last good pair and trust with the newest csum; private key and password sealed
     */
    "CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL, digest INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE forms (id INTEGER PRIMARY KEY NOT NULL, sealed INTEGER NOT NULL, resources BLOB NOT NULL,"
    " digest INTEGER NOT NULL);"
    "CREATE TABLE services (id INTEGER PRIMARY KEY NOT NULL, path TEXT NOT NULL UNIQUE, form INTEGER NOT NULL,"
    " exposures BLOB NOT NULL, digest INTEGER NOT NULL);"
    "CREATE TABLE endpoints (id INTEGER PRIMARY KEY NOT NULL, addresses BLOB NOT NULL, digest INTEGER NOT NULL);"
    "CREATE TABLE secrets (path TEXT PRIMARY KEY NOT NULL, csum TEXT NOT NULL, certificate_chain TEXT, sealed BLOB,"
    " pair_problem TEXT, trusted_ca TEXT, verify_certificate_hash TEXT, trust_problem TEXT, digest INTEGER NOT NULL)"
    " WITHOUT ROWID;",
    /* 2
     * events     the last ones, in a ring of places
     */
    "CREATE TABLE events (place INTEGER PRIMARY KEY NOT NULL, seq INTEGER NOT NULL, event TEXT NOT NULL,"
    " digest INTEGER NOT NULL);",
    /* 3
     * notes      what proxies refused, and what stands in for it (server/xds_notes.h); sealed, for it may hold keys
     */
    "CREATE TABLE notes (name TEXT PRIMARY KEY NOT NULL, sealed BLOB NOT NULL, digest INTEGER NOT NULL)"
    " WITHOUT ROWID;",
};

/* "igwC" and "igwO" as numbers. */
const struct db_schema config_schema = {0x69677743, config_migrations, ARRAY_LEN(config_migrations), true};
const struct db_schema observed_schema = {0x6967774f, observed_migrations, ARRAY_LEN(observed_migrations), false};
