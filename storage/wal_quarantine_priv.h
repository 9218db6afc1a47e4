/*
 * wal_quarantine: damaged bytes of a segment, copied to a file of their own for people to look at.
 *
 *     <dir>/quarantine.<unix time>-<segment>-<offset>
 *
 * Owns      nothing.
 * Thread    any.
 * Errors    ERR_IO, ERR_FULL: no copy was made.
 */
#ifndef PULSE_STORAGE_WAL_QUARANTINE_PRIV_H
#define PULSE_STORAGE_WAL_QUARANTINE_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "storage/files.h"
#include "storage/wal_segment_priv.h"

struct wal_quarantine {
    const struct files *files;
    const char *dir;
    char path[WAL_PATH_BYTES]; /* of the last copy */
    bool copied;               /* false: an earlier start had made that copy */
};

/* Copies `bytes`, which stand at `offset` of `segment`, unless an earlier start did. */
must_check enum err wal_quarantine_copy(struct wal_quarantine *quarantine, uint64_t segment,
                                        uint64_t offset, struct slice bytes);

#endif
