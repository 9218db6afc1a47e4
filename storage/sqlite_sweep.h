/*
 * sqlite_sweep: removes, a few rows at a time, what nobody will ask for again: retained messages
 * that have expired, rows of sessions that are gone, messages that nothing refers to; and gives
 * the file's free pages back when they are more than half of it.
 *
 * The broker drops what ends by operations; here goes only what an earlier life, a crash or an
 * operator's hand left behind. A message that a queue refers to stays, expired or not: whether it
 * is still to be sent depends on whether it was sent before, which the session knows.
 *
 * Owns      its statements.
 * Thread    one at a time, outside of a transaction.
 * Errors    as sqlite_db.h: it is tried again later.
 */
#ifndef PULSE_STORAGE_SQLITE_SWEEP_H
#define PULSE_STORAGE_SQLITE_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/sqlite_load.h"
#include "storage/sqlite_write.h"

struct sqlite_sweep;

/* Borrows `unused`, the messages to be removed, and shortens it. */
must_check enum err sqlite_sweep_open(struct sqlite_db *db, struct sqlite_unused *unused,
                                      struct sqlite_sweep **out);

/* NULL is allowed. */
void sqlite_sweep_close(struct sqlite_sweep *sweep);

/* One portion, in a transaction of its own; `*more` when there is more to do at once. */
must_check enum err sqlite_sweep_portion(struct sqlite_sweep *sweep, struct sqlite_write *write,
                                         uint64_t now_ms, bool *more);

#endif
