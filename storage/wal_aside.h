/*
 * wal_aside: keeps old segments and snapshots under another name, after damage because of which a
 * part of what they hold was ignored: people may be able to use it.
 *
 *     <dir>/quarantine.log.0000000000000017    also of a snapshot
 *     <dir>/quarantine.pending                 the next manifest's old files are to be kept
 *
 * Thread    the caller's; of one at a time.
 * Errors    ERR_IO, ERR_FULL: a part may be done; try again.
 */
#ifndef PULSE_STORAGE_WAL_ASIDE_H
#define PULSE_STORAGE_WAL_ASIDE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/files.h"
#include "storage/wal_manifest.h"

/* Notes in the folder that it is to be done, so that a crash doesn't forget it. */
must_check enum err wal_aside_plan(const struct files *files, const char *dir);
bool wal_aside_planned(const struct files *files, const char *dir);

/* Renames all segments and snapshots that `manifest` has no use for, and ends the plan. */
must_check enum err wal_aside_do(const struct files *files, const char *dir,
                                 const struct wal_manifest *manifest);

#endif
