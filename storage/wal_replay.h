/*
 * wal_replay: from the files of a WAL to its state: first all records, then the bodies of what is
 * still live. For loading, compaction, and the tool; nothing is changed on disk.
 *
 * Owns      nothing.
 * Thread    the caller's; many at a time.
 * Errors    ERR_IO, ERR_MEMORY, ERR_VERSION; ERR_DAMAGED: unless damage is to be passed over;
 *           ERR_STOPPED: it was cancelled.
 */
#ifndef PULSE_STORAGE_WAL_REPLAY_H
#define PULSE_STORAGE_WAL_REPLAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/files.h"
#include "storage/wal_log.h"
#include "storage/wal_manifest.h"
#include "storage/wal_state.h"

/* Bytes that couldn't be used. */
struct wal_damage {
    uint64_t segment; /* as in a struct wal_place: of a segment, or of a snapshot */
    uint64_t offset;
    uint64_t len;          /* 0: a whole file, or its end, is missing */
    const char *set_aside; /* where they were copied to; NULL: nowhere */
    uint64_t batches;      /* that are missing with a missing segment; 0: it isn't known */
    struct slice record;   /* of a segment: a sound record that means nothing; else empty */
};

struct wal_replay {
    const struct files *files;
    const char *dir;
    const struct wal_manifest *manifest;
    struct wal_state *state;
    bool pass_over;             /* damage is told and passed over; else it ends the replay */
    const _Atomic bool *cancel; /* NULL: never */
    void *context;
    void (*damage)(void *context, const struct wal_damage *damage); /* may be NULL */
    void (*progress)(void *context);                                /* now and then; may be NULL */
    /* Each record before it is applied; may be NULL. */
    void (*seen)(void *context, struct wal_place place, struct slice record);

    uint64_t records; /* so far */
    bool snapshot_damaged;
    bool log_damaged;
    uint64_t batches_missing; /* with the segment that is told next */
};

/* Applies the snapshot of the manifest; none is fine. */
must_check enum err wal_replay_snapshot(struct wal_replay *replay);

/* Applies the segments from the manifest's first one to `last`, none of which is being written. */
must_check enum err wal_replay_segments(struct wal_replay *replay, uint64_t last);

/* The same for whoever reads the log with wal_log_read: what to give it. */
struct wal_log_reader wal_replay_log_reader(struct wal_replay *replay);

/* Where live bodies go: each once, in the order in which they stand. */
struct wal_body_sink {
    void *context;
    enum err (*take)(void *context, enum wal_want want, struct wal_place place, struct slice record,
                     const struct operation *operation);
};

/*
 * Reads the live bodies of a segment, or of the whole snapshot that `segment` belongs to. `*found`:
 * the bytes of those that are there.
 */
must_check enum err wal_replay_bodies(struct wal_replay *replay, uint64_t segment,
                                      const struct wal_body_sink *sink, uint64_t *found);

#endif
