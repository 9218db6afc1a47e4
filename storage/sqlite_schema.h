/*
 * sqlite_schema: the tables of the SQLite engine, their version, and the steps from one version to
 * the next.
 *
 * Thread    one at a time.
 * Errors    ERR_VERSION: made by a newer Pulse. ERR_INVALID: somebody else's database. ERR_DAMAGED:
 *           SQLite's check found damage. Each is logged with its reason, and nothing is changed.
 */
#ifndef PULSE_STORAGE_SQLITE_SCHEMA_H
#define PULSE_STORAGE_SQLITE_SCHEMA_H

#include "base/err.h"
#include "base/macros.h"
#include "storage/sqlite_db.h"

/* Refuses a file that this program must not write to: before anything is written. */
must_check enum err sqlite_schema_check(struct sqlite_db *db);

/* Makes the tables of an empty file, or brings those of an older version up to date. */
must_check enum err sqlite_schema_migrate(struct sqlite_db *db);

#endif
