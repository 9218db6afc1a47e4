/*
 * sqlite_write: operations as SQL. The statements are kept prepared; the n-th field of an operation
 * in operations.def is its parameter ?n.
 *
 * Owns      the statements.
 * Thread    one at a time.
 * Errors    as sqlite_db.h. Afterwards the transaction may be gone already; sqlite_write_rollback
 *           is right in any case.
 */
#ifndef PULSE_STORAGE_SQLITE_WRITE_H
#define PULSE_STORAGE_SQLITE_WRITE_H

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/operation.h"
#include "storage/sqlite_db.h"

/* Rows of `meta`. */
#define SQLITE_META_LAST_SEEN "last_seen_ms"
#define SQLITE_META_NEXT_ID "next_id"

struct sqlite_write;

/* Prepares the statements; `owner` (may be NULL) is noted with new sessions. */
must_check enum err sqlite_write_open(struct sqlite_db *db, const char *owner,
                                      struct sqlite_write **out);

/* NULL is allowed. */
void sqlite_write_close(struct sqlite_write *write);

must_check enum err sqlite_write_begin(struct sqlite_write *write);
must_check enum err sqlite_write_operation(struct sqlite_write *write,
                                           const struct operation *operation);
/* Values of `meta` never get smaller. */
must_check enum err sqlite_write_meta(struct sqlite_write *write, const char *name, uint64_t value);
must_check enum err sqlite_write_commit(struct sqlite_write *write);

/* Undoes what was done since begin; without a transaction nothing. */
void sqlite_write_rollback(struct sqlite_write *write);

#endif
