/*
 * wal_recover: what the folder holds when the manifest can't say so, and tidying up: a snapshot
 * says in its head what its manifest said.
 *
 * Thread    the caller's.
 * Errors    ERR_IO, ERR_MEMORY, ERR_VERSION.
 */
#ifndef PULSE_STORAGE_WAL_RECOVER_H
#define PULSE_STORAGE_WAL_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/files.h"
#include "storage/wal_manifest.h"

/* What the names in the folder say. */
struct wal_listing {
    uint64_t *snapshots; /* sorted */
    uint32_t snapshot_count;
    uint32_t snapshot_cap;
    uint64_t lowest_segment; /* 0: there are none */
    bool manifest_tmp;
    bool snapshot_tmp;
};

/* Lists `dir`. End with wal_listing_fini also after an error. */
must_check enum err wal_listing_init(struct wal_listing *listing, const struct files *files,
                                     const char *dir);
void wal_listing_fini(struct wal_listing *listing);

/* There is nothing yet. */
bool wal_listing_empty(const struct wal_listing *listing);

/*
 * Makes the manifest that the files speak for: that of the latest whole snapshot; or of the latest
 * one, damaged as it is; or the log alone.
 */
must_check enum err wal_recover_manifest(const struct files *files, const char *dir,
                                         const struct wal_listing *listing,
                                         struct wal_manifest *manifest);

/* Deletes what a crash left behind: unfinished files, and snapshots that `manifest` doesn't name.
 * What can't be deleted is left for the next time. */
void wal_recover_tidy(const struct files *files, const char *dir, const struct wal_listing *listing,
                      const struct wal_manifest *manifest);

#endif
