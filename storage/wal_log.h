/*
 * wal_log: batches of records in numbered segment files, appended and synced.
 *
 *     <dir>/log.0000000000000017    a segment: a header, then frames; zeros, or the remains of an
 *                                   earlier life, behind the last one
 *     <dir>/spare.*                 segments written with zeros beforehand, or old ones to be used
 * again <dir>/quarantine.*            damaged bytes that were set aside
 *
 * A frame is a header (length, CRC32C over all that follows it, segment number, batch number,
 * flags) and whole records. A batch is one frame, or several of which the last says `commit`;
 * frames don't cross segments, batches may. Because the segment's number is under the CRC, what a
 * file held in an earlier life is never taken for a frame.
 *
 * A sync of a file that grows, or was only preallocated, commits the file system's journal too. So
 * a segment is written with zeros by a thread in the background before its first use, and files of
 * dropped segments are renamed to be used again.
 *
 * Owns      the segment files from `first` on, the spare ones, the thread that makes them.
 * Thread    open, read, append, sync, drop: one at a time (the engine's). wal_log_read_at: any.
 * Errors    ERR_IO, ERR_FULL: nothing of the batch counts, append it again. After an error of write
 *           or sync the segment is never written to or synced again: the next append begins a new
 * one with all that was not synced, from memory.
 */
#ifndef PULSE_STORAGE_WAL_LOG_H
#define PULSE_STORAGE_WAL_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "storage/config.h"
#include "storage/files.h"
#include "storage/stats.h"

struct wal_log;

/* Where a record stands. */
struct wal_place {
    uint64_t segment;
    uint32_t offset; /* of the record in the file */
    uint32_t len;    /* of the record */
};

struct wal_log_config {
    const char *dir; /* exists, and is locked by the caller */
    uint64_t segment_bytes;
    uint64_t first; /* the first segment that still counts; lower ones are leftovers and dropped */
    enum storage_damage damage;
    const struct files *files;
    struct storage_stats *stats;
};

/*
 * What a reading of the log meets. `record`: each record of each complete batch, in order.
 * `damage`: bytes in the middle that are no frame (they were copied to `quarantine_path` and are
 * passed over), or, with empty `quarantine_path`, an unfinished end that was cut.
 */
struct wal_log_reader {
    void *context;
    enum err (*record)(void *context, struct wal_place place, struct slice record);
    void (*damage)(void *context, uint64_t segment, uint64_t offset, uint64_t len,
                   const char *quarantine_path);
};

/* Opens the segments in `config->dir` from `first` on; there may be none. */
must_check enum err wal_log_open(const struct wal_log_config *config, struct wal_log **out);
void wal_log_close(struct wal_log *log);

/* Reads everything, once, before the first append; cuts the end. ERR_DAMAGED with damage in the
 * middle under DAMAGE_REFUSE, before anything is changed. An error of `record` ends it. */
must_check enum err wal_log_read(struct wal_log *log, const struct wal_log_reader *reader);

/*
 * Appends one batch: `records` are whole records, one behind the other, `ends` the offset behind
 * each. On ERR_OK it is in the operating system's hands.
 */
must_check enum err wal_log_append(struct wal_log *log, struct slice records, const size_t *ends,
                                   size_t count);

/* Makes what was appended safe. */
must_check enum err wal_log_sync(struct wal_log *log);

/* Ends the segment that is being written: the next append goes to a new one. Returns the number of
 * the next segment: all before it are sealed and never change. */
uint64_t wal_log_seal(struct wal_log *log);

/* Segments below `first` are not needed any more, but those in `keep` (sorted) are still read from.
 */
must_check enum err wal_log_drop(struct wal_log *log, uint64_t first, const uint64_t *keep,
                                 size_t keep_count);

/* Bytes of frames in the segments from `first` on. */
uint64_t wal_log_bytes(const struct wal_log *log);

/* Reads the record at `place` of a segment that wasn't dropped, into `buffer` (place.len bytes),
 * and checks its frame's CRC when `verify`. Any thread. */
must_check enum err wal_log_read_at(struct wal_log *log, struct wal_place place, uint8_t *buffer,
                                    bool verify);

#endif
