/*
 * wal_log_priv: a log from the inside, for the two files that it consists of: wal_append.c writes
 * batches, wal_log.c opens, reads and drops segments.
 */
#ifndef PULSE_STORAGE_WAL_LOG_PRIV_H
#define PULSE_STORAGE_WAL_LOG_PRIV_H

#include "storage/wal_log.h"
#include "storage/wal_segment_priv.h"
#include "storage/wal_spare_priv.h"
#include "storage/wal_survey_priv.h"

/*
 * The segment that is written. Frames of the tail stand at the end of it.
 *
 *     ended    no frame is added to it any more; `fd` is for a sync
 *     failed   a write or sync failed: it is neither written to nor synced again
 */
struct wal_current {
    int fd; /* -1: there is none, or it was dropped */
    struct wal_segment_header header;
    uint64_t file_bytes;
    uint64_t frames_max; /* offset that frames don't go beyond */
    uint32_t offset;     /* of the next frame */
    bool synced;         /* at least once: its header is safe */
    bool ended;
    bool failed;
};

/*
 * Invariants:
 *   `tail` are the frames of all batches from synced_batch + 1 to next_batch - 1, in order;
 *   without a segment, or with one that is ended or failed, an append begins a new one first;
 *   all batches below the first of a segment were synced before its header is written.
 */
struct wal_log {
    char *dir;
    const struct files *files;
    struct storage_stats *stats;
    uint64_t segment_bytes;
    uint64_t first;
    uint64_t *keep;
    size_t keep_count;
    enum storage_damage damage;
    bool background;

    struct wal_survey survey; /* all segment files that there are, the current one included */
    struct wal_spares *spares;
    struct wal_current current;
    uint64_t previous; /* the last segment that has begun its life; 0: none */
    uint64_t next_number;
    uint64_t next_batch;
    uint64_t synced_batch;
    uint64_t attested_batch; /* the last frame is an empty one that says so; 0: it isn't */
    uint8_t *tail;
    size_t tail_len;
    size_t tail_cap;
    uint64_t unsynced; /* batches of the caller's in the tail */
    uint64_t bytes;    /* of frames that count */
    char trouble[160];
};

/* Notes what went wrong while `what` was done to segment `number`, and says what errno means. */
enum err wal_log__trouble(struct wal_log *log, const char *what, uint64_t number);

/* Whether `number` is the segment that is written, or was until it was ended. */
bool wal_log__is_current(const struct wal_log *log, uint64_t number);

/* Counts the bytes of frames anew, after a change other than an append. */
void wal_log__count_bytes(struct wal_log *log);

/* Closes the file of the current segment, which is ended, failed or not needed any more. */
void wal_log__leave_current(struct wal_log *log);

/* All in the tail is synced, or not needed any more. */
void wal_log__forget_tail(struct wal_log *log);

/* wal_log_sync, for those who may go on without it. */
enum err wal_log__sync(struct wal_log *log);

/* Writes the tail once more to where it stands, and zeros from there to `cut_end`, and syncs them.
 * After an error the next append begins a new segment. */
enum err wal_log__settle(struct wal_log *log, uint32_t cut_end);

/* Says at the end of the log, if it can, that all of it was synced. */
void wal_log__attest_end(struct wal_log *log);

#endif
