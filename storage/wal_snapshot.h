/*
 * wal_snapshot: a file that holds the state of the log up to a segment, so that the segments before
 * are not replayed any more.
 *
 *     <dir>/snapshot.0000000000000007
 *
 * A row of blocks: one HEAD (which state this is), RECORDS, one END (how many records there were:
 * without it the snapshot isn't whole). A block has a header of 32 bytes under a CRC32C of its own,
 * so that reading goes on behind a damaged one, and its bytes under another. Records are operations
 * (wal_record.h) and runs (wal_packed.h), each with its length before it.
 *
 * Written as `snapshot.tmp`, synced, renamed into place, and the directory synced.
 *
 * Thread    the caller's; one writer and many readers don't share anything.
 * Errors    ERR_IO, ERR_FULL (disk full), ERR_MEMORY; reading: ERR_VERSION, ERR_DAMAGED.
 */
#ifndef PULSE_STORAGE_WAL_SNAPSHOT_H
#define PULSE_STORAGE_WAL_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "storage/files.h"
#include "storage/wal_log.h"
#include "storage/wal_packed.h"

#define WAL_SNAPSHOT_VERSION 1u
#define WAL_SNAPSHOT_TMP "snapshot.tmp"
#define WAL_SNAPSHOT_NAME_SIZE 26u /* with the NUL */

/* Which state a snapshot holds; the same as its manifest says, so that a lost manifest can be made
 * again. */
struct wal_snapshot_head {
    uint64_t number; /* 1 to UINT32_MAX */
    uint64_t first;  /* the first segment to replay on top of it */
    struct wal_clock clock;
    const uint64_t *keep; /* segments before `first` that hold bodies; sorted */
    size_t keep_count;
};

/* "snapshot.0000000000000007" */
void wal_snapshot_name(uint64_t number, char name[WAL_SNAPSHOT_NAME_SIZE]);
/* The number in such a name; 0: it is none. */
uint64_t wal_snapshot_number(const char *name);

/* ---- places ---------------------------------------------------------------------------------- */

/*
 * Where a record of a snapshot stands, as a struct wal_place: `segment` has the highest bit set,
 * the upper half of the offset below it, and the snapshot's number. So places sort as they stand in
 * the file, and differ from those in segments.
 */
static inline bool wal_place_in_snapshot(uint64_t segment)
{
    return (segment >> 63) != 0;
}

/* `segment` of a record that stands in the first 4 GiB of snapshot `number`. */
static inline uint64_t wal_snapshot_segment(uint64_t number)
{
    return 1ull << 63 | number;
}

static inline uint64_t wal_place_snapshot(uint64_t segment)
{
    return segment & UINT32_MAX;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct wal_snapshot_writer;

/* Begins a snapshot in `dir`; what a `snapshot.tmp` held is gone. */
must_check enum err wal_snapshot_create(const struct files *files, const char *dir,
                                        const struct wal_snapshot_head *head,
                                        struct wal_snapshot_writer **out);

must_check enum err wal_snapshot_add(struct wal_snapshot_writer *writer, struct slice record);

/* Bytes written so far. */
uint64_t wal_snapshot_bytes(const struct wal_snapshot_writer *writer);

/* Takes `writer`. On ERR_OK the snapshot, `*bytes` long, is whole, under its name, and safe. */
must_check enum err wal_snapshot_finish(struct wal_snapshot_writer *writer, uint64_t *bytes);

/* Takes `writer` and gives the file up. */
void wal_snapshot_abandon(struct wal_snapshot_writer *writer);

/* ---- reading --------------------------------------------------------------------------------- */

/*
 * What a reading meets. `head` first (once, unless it is damaged), then each record. An error of
 * theirs ends it. `damage`: bytes that are no sound block were passed over; with `len` 0 there is
 * no end. NULL: the first damage ends it with ERR_DAMAGED.
 */
struct wal_snapshot_reader {
    void *context;
    enum err (*head)(void *context, const struct wal_snapshot_head *head);
    enum err (*record)(void *context, struct wal_place place, struct slice record);
    void (*damage)(void *context, uint64_t offset, uint64_t len);
};

/* Reads `<dir>/snapshot.<number>`. A file that isn't there is damage from 0 on. */
must_check enum err wal_snapshot_read(const struct files *files, const char *dir, uint64_t number,
                                      const struct wal_snapshot_reader *reader);

#endif
