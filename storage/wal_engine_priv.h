/*
 * wal_engine_priv: the engine that keeps everything in a log of its own. wal_log holds the batches,
 * wal_compact makes snapshots of them, wal_replay reads both back. docs/wal-format.md tells the
 * whole story.
 *
 * Owns      the lock on the folder, the manifest, the log, a compaction.
 * Thread    as engine.h says. A compaction has its own, and shares nothing.
 */
#ifndef PULSE_STORAGE_WAL_ENGINE_PRIV_H
#define PULSE_STORAGE_WAL_ENGINE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "storage/engine.h"
#include "storage/files.h"
#include "storage/wal_compact.h"
#include "storage/wal_dir.h"
#include "storage/wal_log.h"
#include "storage/wal_manifest.h"

struct wal_engine {
    struct engine engine;
    const struct files *files;
    struct storage_stats *stats;
    char *dir;
    uint64_t segment_bytes;
    uint64_t compact_max_bytes;
    uint64_t compact_interval_ms;
    enum storage_damage damage;
    struct wal_lock lock;
    struct wal_manifest manifest;
    struct wal_log *log;

    uint8_t *buffer; /* the records of a batch */
    size_t buffer_len;
    size_t buffer_cap;
    size_t *ends; /* of each record in `buffer` */
    uint32_t end_count;
    uint32_t end_cap;

    struct wal_compact *compact; /* at work, or NULL */
    uint64_t snapshot_bytes;     /* of the one that the manifest names */
    uint64_t next_number;        /* of the next snapshot */
    uint64_t compacted_ms;       /* when the last one ended, or this one was opened; 0: not known */
    uint64_t not_before_ms;      /* after a failure: when to try again */
    uint64_t retry_ms;           /* how long the last failure put it off */
    bool failing;                /* the last one failed, and that was logged */
    bool salvage;                /* damage was found at start: compact at once, past the damage */
    bool keep_old;               /* parts of old files were ignored: these are kept for people */
    bool drop_due;               /* segments that aren't needed any more are still there */
};

static inline struct wal_engine *wal_engine__of(struct engine *engine)
{
    return container_of(engine, struct wal_engine, engine);
}

/* For a line in the log. */
static inline struct log_field wal_engine__dir(const struct wal_engine *wal)
{
    return log_slice("dir", slice_text(wal->dir));
}

/* The functions of engine_wal that have files of their own: wal_load.c, wal_tend.c. */
enum err wal_engine__load(struct engine *engine, const struct operation_sink *sink,
                          struct engine_loaded *loaded);
bool wal_engine__tend(struct engine *engine, uint64_t now_ms);

/* Waits for a compaction that is at work, or asks it to give up, and takes over what it made. */
void wal_engine__end_compaction(struct wal_engine *wal, bool cancel);

/* Starts a compaction now; ERR_EXISTS: one is at work. */
must_check enum err wal_engine__compact(struct wal_engine *wal);

/* The bytes of the snapshot that the manifest names are now `bytes`. */
void wal_engine__snapshot_is(struct wal_engine *wal, uint64_t bytes);

#endif
