/*
 * wal_compact: makes a snapshot out of the last one and the sealed segments behind it, in a thread
 * of its own with low priority, while the log is written on. Then the manifest is swapped, and the
 * old files aren't needed any more.
 *
 * Bodies of messages are not copied while their segment is worth its room: at least half of the
 * file is live. The manifest keeps such segments; the snapshot refers to the bodies. Bodies in
 * other segments and in the old snapshot, and retained messages, are copied.
 *
 * A crash at any moment leaves the old state or the new one: the snapshot is whole, synced and
 * under its name before the manifest names it, and nothing old is dropped before the manifest is
 * safe.
 *
 * Memory: that of a wal_state (some 60 bytes for each live queue entry), a block of the snapshot
 * and one segment that is being read.
 *
 * Owns      struct wal_compact: its thread, a copy of the manifest.
 * Thread    the caller's, but for the work itself.
 * Errors    as reading and writing of files; ERR_DAMAGED: damage was met that nobody was told of,
 *           so nothing is thrown away; ERR_STOPPED. After any the old state is as it was, or the
 *           new one is complete: a next try is right in both cases.
 */
#ifndef PULSE_STORAGE_WAL_COMPACT_H
#define PULSE_STORAGE_WAL_COMPACT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/files.h"
#include "storage/wal_manifest.h"
#include "storage/wal_state.h"

struct wal_compact_config {
    const char *dir; /* borrowed until the end of the compaction, as `files` */
    const struct files *files;
    const struct wal_manifest *manifest; /* borrowed during the call */
    uint64_t next;   /* the first segment that is not for the snapshot; those before are synced */
    uint64_t number; /* of the new snapshot: greater than any there is */
    bool salvage;    /* damage was told to the operator: pass over it, copy all that is live */
    bool keep_old;   /* old files are kept, under other names, for people */
    bool hurry;      /* the log grows faster than it is compacted: not with low priority */
};

struct wal_compact_result {
    struct wal_manifest manifest; /* the new one; given: wal_manifest_fini */
    struct wal_counts counts;
    uint64_t snapshot_bytes;
    uint64_t bytes_written; /* also after an error */
    bool old_left;          /* they couldn't be renamed: drop no segment */
    uint64_t lost;          /* bytes of bodies that were not there; only with `salvage` */
};

/* Does all of it on the caller's thread. `*result` is written also after an error. */
must_check enum err wal_compact_run(const struct wal_compact_config *config,
                                    const _Atomic bool *cancel, struct wal_compact_result *result);

struct wal_compact;

/* Starts it in the background. ERR_MEMORY: there is no thread. */
must_check enum err wal_compact_start(const struct wal_compact_config *config,
                                      struct wal_compact **out);

/* It has ended: wal_compact_end won't wait. */
bool wal_compact_done(const struct wal_compact *compact);

/* Asks it to end early; it may end well all the same. */
void wal_compact_cancel(struct wal_compact *compact);

/* Takes `compact`, waits for its end. `*result` is written also after an error. */
must_check enum err wal_compact_end(struct wal_compact *compact, struct wal_compact_result *result);

#endif
