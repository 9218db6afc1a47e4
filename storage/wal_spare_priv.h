/*
 * wal_spare: files that segments are made of: written with zeros by a thread in the background, or
 * left over from dropped segments. Writing over what is allocated needs no journal of the file
 * system at each sync.
 *
 * Owns      <dir>/spare.*, at most SPARES_MAX of them, and the thread.
 * Thread    one, the log's.
 * Errors    none matter: without a spare file a segment grows as it is written.
 */
#ifndef PULSE_STORAGE_WAL_SPARE_PRIV_H
#define PULSE_STORAGE_WAL_SPARE_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/files.h"
#include "storage/stats.h"

/* A compaction drops several segments at once; with fewer of them kept, new ones would have to be
 * written with zeros all the time. */
#define SPARES_MAX 6u

struct wal_spares;

struct wal_spares_config {
    const struct files *files;
    const char *dir; /* outlives it */
    uint64_t file_bytes;
    bool background; /* false: no thread, and no spare files but those of dropped segments */
    struct storage_stats *stats;
};

/* Gives the spare files in `dir`, those that don't fit removed, and starts the thread. End with
 * wal_spares_destroy. */
struct wal_spares *wal_spares_create(const struct wal_spares_config *config);

/* Stops the thread, takes `spares`; the files stay. NULL is allowed. */
void wal_spares_destroy(struct wal_spares *spares);

/* Renames a spare file to `path`. False: there is none. In both cases the thread makes another. */
bool wal_spares_take(struct wal_spares *spares, const char *path);

/* Makes the segment at `path` of `file_bytes` a spare file, or removes it. */
must_check enum err wal_spares_give(struct wal_spares *spares, const char *path,
                                    uint64_t file_bytes);

#endif
