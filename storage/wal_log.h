/*
 * wal_log: batches of records in numbered segment files, appended and synced.
 *
 *     <dir>/log.0000000000000017    a segment: a header, then frames; zeros, or the remains of an
 *                                   earlier life, behind the last one
 *     <dir>/spare.*                 segments written with zeros beforehand, or old ones, for later
 *     <dir>/quarantine.*            damaged bytes that were set aside
 *
 * A batch is one frame: a header (length, CRC32C, number of the batch, how many batches before it
 * were not synced yet) and whole records. A batch that is larger than a segment gets a larger
 * segment. Each life of a file has random numbers of its own under the CRC, so what it held in an
 * earlier life is never taken for a frame, nor is a payload that looks like one.
 *
 * A sync of a file that grows, or was only preallocated, commits the file system's journal too. So
 * a segment is written with zeros by a thread in the background before its first use, and files of
 * dropped segments are renamed to be used again.
 *
 * Owns      the segment files, the spare ones, the thread that makes them.
 * Thread    open, read, append, sync, seal, drop, close: one at a time (the engine's). scan: any.
 * Errors    ERR_IO, ERR_FULL: nothing of the batch counts, append it again. After an error of write
 *           or sync, but a full disk, the segment is never written to or synced again: the next
 *           append or sync begins a new one with all that was not synced, from memory.
 *           wal_log_trouble says what went wrong.
 */
#ifndef PULSE_STORAGE_WAL_LOG_H
#define PULSE_STORAGE_WAL_LOG_H

#include <stdbool.h>
#include <stddef.h>
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
    uint64_t first;       /* the first segment that is replayed; lower ones are dropped, but: */
    const uint64_t *keep; /* sorted: segments below `first` that are still read from */
    size_t keep_count;
    enum storage_damage damage;
    bool no_background;        /* no thread: segments grow in steps, spares come from drops only */
    const struct files *files; /* NULL: the system's */
    struct storage_stats *stats;
};

/*
 * What a reading of the log meets. `record`: each record of each batch, in order; the slice is
 * good during the call.
 *
 * `damage`: bytes that are no frame and are passed over. `quarantine_path`: where they were copied
 * to; NULL: nowhere (a segment that is missing: `offset` and `len` are 0; a mere look); an empty
 * string: they are an end that a crash left unfinished, and were cut.
 *
 * `missing`, which may be NULL, comes before the `damage` of a segment that is missing: how many
 * batches are, those of its neighbours that are missing too included; 0: it isn't known.
 */
struct wal_log_reader {
    void *context;
    enum err (*record)(void *context, struct wal_place place, struct slice record);
    void (*damage)(void *context, uint64_t segment, uint64_t offset, uint64_t len,
                   const char *quarantine_path);
    void (*missing)(void *context, uint64_t segment, uint64_t batches);
};

/* Opens the segments in `config->dir` from `first` on; there may be none. ERR_VERSION: a newer
 * Pulse wrote them. */
must_check enum err wal_log_open(const struct wal_log_config *config, struct wal_log **out);

/* Syncs what was appended, as far as it can be, and ends the log. NULL is allowed. */
void wal_log_close(struct wal_log *log);

/* Reads everything, once, before the first append; cuts the end. ERR_DAMAGED with damage in the
 * middle under DAMAGE_REFUSE, before anything is changed. An error of `record` ends it. */
must_check enum err wal_log_read(struct wal_log *log, const struct wal_log_reader *reader);

/*
 * Appends one batch: `records` are whole records, one behind the other, `ends` the offset behind
 * each. On ERR_OK it is in the operating system's hands. ERR_RANGE: more than fits into any
 * segment.
 */
must_check enum err wal_log_append(struct wal_log *log, struct slice records, const size_t *ends,
                                   size_t count);

/* Makes what was appended safe. */
must_check enum err wal_log_sync(struct wal_log *log);

/* Ends the segment that is being written: the next append goes to a new one. Returns the lowest
 * number that a later segment can have: all before it never change, once they are synced. */
uint64_t wal_log_seal(struct wal_log *log);

/* Segments below `first` are not needed any more, but those in `keep` (sorted) are still read from.
 */
must_check enum err wal_log_drop(struct wal_log *log, uint64_t first, const uint64_t *keep,
                                 size_t keep_count);

/* Bytes of frames in the segments from `first` on. */
uint64_t wal_log_bytes(const struct wal_log *log);

/* What the last call that failed met, in words, for people; borrowed until the next call. */
const char *wal_log_trouble(const struct wal_log *log);

struct wal_scan {
    const char *dir;
    const struct files *files; /* NULL: the system's */
    uint64_t first;
    uint64_t last; /* inclusive; UINT64_MAX: all there are */
    /* Each segment by itself, without a look at its neighbours, which may be gone: all frames that
     * are sound, also those that a later segment holds again. */
    bool every_frame;
};

/*
 * Reads segments that are not being written, with no log open, and changes nothing. Any thread.
 * ERR_IO: a file can't be read; an error of `record` ends it.
 */
must_check enum err wal_log_scan(const struct wal_scan *scan, const struct wal_log_reader *reader);

#endif
