/*
 * sqlite_load: the rows of the database as operations, in the order that engine.h names.
 *
 * Thread    one at a time.
 * Errors    those of sqlite_db.h; ERR_MEMORY; those of the sink.
 */
#ifndef PULSE_STORAGE_SQLITE_LOAD_H
#define PULSE_STORAGE_SQLITE_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/engine.h"
#include "storage/sqlite_db.h"

/* Messages that nothing refers to, found while loading. */
struct sqlite_unused {
    uint64_t *ids; /* end with mem_free */
    size_t count;
};

must_check enum err sqlite_load(struct sqlite_db *db, const struct operation_sink *sink,
                                struct engine_loaded *loaded, struct sqlite_unused *unused);

#endif
