/* The databases' layouts, as numbered migrations forward. What each table holds is said in migrations.c. */
#ifndef STORE_MIGRATIONS_H
#define STORE_MIGRATIONS_H

#include "store/sqlite.h"

extern const struct db_schema config_schema;
extern const struct db_schema observed_schema;

#endif
