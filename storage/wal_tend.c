#include "storage/wal_engine_priv.h"

#include "base/mem.h"
#include "storage/wal_aside.h"

#define RETRY_MIN_MS 30000u /* after a compaction that failed; twice as much after each more */
#define RETRY_MAX_MS 3600000u
/* The log may grow to so many times the last snapshot before the next one: what is written to disk
 * because of snapshots stays below half of what is written to the log. */
#define SNAPSHOT_TIMES 2u
/* Less log than this, or than a quarter of the snapshot, is not worth a snapshot, however old. */
#define WORTHWHILE_BYTES (1u << 20)

void wal_engine__snapshot_is(struct wal_engine *wal, uint64_t bytes)
{
    stat_add(wal->stats, STAT_DISK_BYTES, (int64_t)bytes - (int64_t)wal->snapshot_bytes);
    wal->snapshot_bytes = bytes;
}

/* ---- the end of a compaction ----------------------------------------------------------------- */

/* Renames what an earlier try left, if any. */
static bool keep_old(struct wal_engine *wal)
{
    if (wal->keep_old && wal_aside_do(wal->files, wal->dir, &wal->manifest) != ERR_OK) {
        return false;
    }
    wal->keep_old = false;
    return true;
}

static void drop_segments(struct wal_engine *wal)
{
    if (!keep_old(wal)) {
        wal->drop_due = true;
        return;
    }
    const struct wal_manifest *manifest = &wal->manifest;
    enum err err = wal_log_drop(wal->log, manifest->first, manifest->keep, manifest->keep_count);
    if (err != ERR_OK && !wal->drop_due) {
        log_warning(LOG_STORAGE, "can't drop old segments of the wal", wal_engine__dir(wal),
                    log_text("error", wal_log_trouble(wal->log)));
    }
    wal->drop_due = err != ERR_OK;
}

static void succeeded(struct wal_engine *wal, struct wal_compact_result *result)
{
    wal_manifest_fini(&wal->manifest);
    wal->manifest = result->manifest;
    result->manifest = (struct wal_manifest){0};
    wal->failing = false;
    wal->salvage = false;
    wal->keep_old = wal->keep_old && result->old_left;
    wal->retry_ms = 0;
    wal_engine__snapshot_is(wal, result->snapshot_bytes);
    stat_add(wal->stats, STAT_COMPACTIONS, 1);
    drop_segments(wal);
    log_info(LOG_STORAGE, "compacted the wal", wal_engine__dir(wal),
             log_uint("snapshot", wal->manifest.snapshot),
             log_uint("snapshot_bytes", result->snapshot_bytes),
             log_uint("kept_segments", wal->manifest.keep_count),
             log_uint("sessions", result->counts.sessions),
             log_uint("queued", result->counts.queued),
             log_uint("retained", result->counts.retained));
}

static void failed(struct wal_engine *wal, enum err err)
{
    if (!wal->failing && err != ERR_STOPPED) {
        log_error(LOG_STORAGE, "can't compact the wal, will try again", wal_engine__dir(wal),
                  log_text("error", err == ERR_FULL ? "the disk is full" : err_text(err)));
        wal->failing = true;
    }
}

void wal_engine__end_compaction(struct wal_engine *wal, bool cancel)
{
    struct wal_compact_result result;
    if (wal->compact == NULL) {
        return;
    }
    if (cancel) {
        wal_compact_cancel(wal->compact);
    }
    enum err err = wal_compact_end(wal->compact, &result);
    wal->compact = NULL;
    stat_add(wal->stats, STAT_BYTES_WRITTEN, (int64_t)result.bytes_written);
    if (err == ERR_OK) {
        succeeded(wal, &result);
    } else {
        failed(wal, err);
    }
    wal_manifest_fini(&result.manifest);
}

/* ---- its beginning --------------------------------------------------------------------------- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The size of the log from which on it is compacted. A compaction goes through everything that is
 * alive, so it waits until as much has come again: a queue that only grows costs little. */
static uint64_t log_limit(const struct wal_engine *wal)
{
    uint64_t bodies = wal->manifest.keep_count * wal->segment_bytes;
    uint64_t alive = larger(SNAPSHOT_TIMES * wal->snapshot_bytes, bodies);
    return larger(wal->compact_max_bytes, alive);
}

enum err wal_engine__compact(struct wal_engine *wal)
{
    if (wal->compact != NULL) {
        return ERR_EXISTS;
    }
    /* The snapshot will refer to bodies in these segments, so they must be safe before it is; and
     * after an error of a sync they stand in a later segment, which isn't sealed. */
    enum err err = wal_log_sync(wal->log);
    if (err != ERR_OK) {
        return err;
    }
    bool hurry = wal->compact_max_bytes > 0 && wal_log_bytes(wal->log) / 2 > log_limit(wal);
    const struct wal_compact_config config = {.dir = wal->dir,
                                              .files = wal->files,
                                              .manifest = &wal->manifest,
                                              .next = wal_log_seal(wal->log),
                                              .number = wal->next_number,
                                              .salvage = wal->salvage,
                                              .keep_old = wal->keep_old,
                                              .hurry = hurry};
    wal->next_number++;
    err = wal_compact_start(&config, &wal->compact);
    if (err != ERR_OK) {
        failed(wal, err);
    }
    return err;
}

static bool compaction_due(const struct wal_engine *wal, uint64_t now_ms)
{
    uint64_t grown = wal_log_bytes(wal->log);
    if (now_ms < wal->not_before_ms) {
        return false;
    }
    if (wal->salvage || (wal->compact_max_bytes > 0 && grown > log_limit(wal))) {
        return true;
    }
    uint64_t worthwhile = wal->snapshot_bytes / 4;
    if (worthwhile < WORTHWHILE_BYTES) {
        worthwhile = WORTHWHILE_BYTES;
    }
    return wal->compact_interval_ms > 0 && grown > worthwhile &&
           now_ms - wal->compacted_ms >= wal->compact_interval_ms;
}

/* Waits before the next try. */
static void put_off(struct wal_engine *wal, uint64_t now_ms)
{
    uint64_t wait = wal->retry_ms * 2;
    wal->retry_ms = wait < RETRY_MIN_MS ? RETRY_MIN_MS : wait > RETRY_MAX_MS ? RETRY_MAX_MS : wait;
    wal->not_before_ms = now_ms + wal->retry_ms;
}

bool wal_engine__tend(struct engine *engine, uint64_t now_ms)
{
    struct wal_engine *wal = wal_engine__of(engine);
    if (wal->compacted_ms == 0 || now_ms < wal->compacted_ms) {
        wal->compacted_ms = now_ms;
    }
    if (wal->compact != NULL) {
        if (!wal_compact_done(wal->compact)) {
            return false;
        }
        wal_engine__end_compaction(wal, false);
        wal->compacted_ms = now_ms;
        if (wal->failing) {
            put_off(wal, now_ms);
        }
        return false;
    }
    if (wal->drop_due) {
        drop_segments(wal);
    }
    if (compaction_due(wal, now_ms) && wal_engine__compact(wal) != ERR_OK) {
        put_off(wal, now_ms);
    }
    return false;
}
