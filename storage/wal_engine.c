/*
 * The engine that keeps everything in a log of its own: wal_log holds the batches, wal_compact
 * makes snapshots of them, wal_replay reads both back. docs/wal-format.md tells the whole story.
 */
#include "storage/wal_engine_priv.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/wal_dir.h"
#include "storage/wal_packed.h"
#include "storage/wal_record.h"
#include "storage/wal_recover.h"

#define BUFFER_BYTES_KEPT (4u << 20) /* a batch that needed more gives its room back */

/* ---- opening --------------------------------------------------------------------------------- */

/* Keeps a damaged manifest for people to look at. */
static void set_manifest_aside(const struct wal_engine *wal)
{
    char *from = wal_dir_path(wal->dir, WAL_MANIFEST_NAME);
    char *to = wal_dir_path(wal->dir, "quarantine." WAL_MANIFEST_NAME);
    (void)wal->files->rename(wal->files->context, from, to); /* it may be missing altogether */
    mem_free(from);
    mem_free(to);
}

/* The manifest is missing or damaged: makes a new one out of what there is. */
static enum err recover(struct wal_engine *wal, const struct wal_listing *listing)
{
    log_error(LOG_STORAGE, "the manifest of the wal is missing or damaged", wal_engine__dir(wal));
    if (wal->damage == DAMAGE_REFUSE) {
        return ERR_DAMAGED;
    }
    enum err err = wal_recover_manifest(wal->files, wal->dir, listing, &wal->manifest);
    if (err == ERR_OK) {
        set_manifest_aside(wal);
        err = wal_manifest_write(wal->files, wal->dir, &wal->manifest);
    }
    if (err == ERR_OK) {
        log_warning(LOG_STORAGE, "made a new manifest of the wal", wal_engine__dir(wal),
                    log_uint("snapshot", wal->manifest.snapshot),
                    log_uint("first_segment", wal->manifest.first));
    }
    return err;
}

static enum err read_manifest(struct wal_engine *wal, const struct wal_listing *listing)
{
    bool found = false;
    enum err err = wal_manifest_read(wal->files, wal->dir, &wal->manifest, &found);
    if (err == ERR_OK && !found && wal_listing_empty(listing)) {
        return wal_manifest_write(wal->files, wal->dir, &wal->manifest); /* a new store */
    }
    return err == ERR_DAMAGED || (err == ERR_OK && !found) ? recover(wal, listing) : err;
}

static enum err open_log(struct wal_engine *wal)
{
    const struct wal_log_config config = {
        .dir = wal->dir,
        .segment_bytes = wal->segment_bytes,
        .first = wal->manifest.first,
        .keep = wal->manifest.keep,
        .keep_count = wal->manifest.keep_count,
        .damage = wal->damage,
        .files = wal->files,
        .stats = wal->stats,
    };
    return wal_log_open(&config, &wal->log);
}

static enum err open_files(struct wal_engine *wal)
{
    struct wal_listing listing;
    enum err err = wal_listing_init(&listing, wal->files, wal->dir);
    if (err == ERR_OK) {
        err = read_manifest(wal, &listing);
    }
    if (err == ERR_OK) {
        uint64_t highest =
            listing.snapshot_count > 0 ? listing.snapshots[listing.snapshot_count - 1] : 0;
        wal->next_number =
            (highest > wal->manifest.snapshot ? highest : wal->manifest.snapshot) + 1;
        err = open_log(wal);
    }
    wal_listing_fini(&listing);
    return err;
}

static void free_engine(struct wal_engine *wal)
{
    wal_log_close(wal->log);
    wal_dir_unlock(wal->files, &wal->lock);
    wal_manifest_fini(&wal->manifest);
    mem_free(wal->buffer);
    mem_free(wal->ends);
    mem_free(wal->dir);
    mem_free(wal);
}

static enum err engine_wal_open(const struct storage_config *config, struct storage_stats *stats,
                                struct engine **out)
{
    struct wal_engine *wal = mem_alloc(sizeof(*wal));
    *wal = (struct wal_engine){
        .engine = {.type = &engine_wal},
        .files = config->files != NULL ? config->files : &files_system,
        .stats = stats,
        .dir = mem_copy_text(config->wal_dir, strlen(config->wal_dir)),
        .segment_bytes = config->wal_segment_bytes,
        .compact_max_bytes = config->wal_compact_max_bytes,
        .compact_interval_ms = config->wal_compact_interval_ms,
        .damage = config->wal_damage,
    };
    wal_manifest_init(&wal->manifest);
    enum err err = wal_dir_lock(wal->files, wal->dir, &wal->lock);
    if (err == ERR_OK) {
        err = open_files(wal);
        if (err != ERR_OK) {
            log_error(LOG_STORAGE, "can't open the wal", wal_engine__dir(wal),
                      log_text("error", err_text(err)));
        }
    }
    if (err != ERR_OK) {
        free_engine(wal);
        return err;
    }
    *out = &wal->engine;
    return ERR_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Room for `len` more bytes in the buffer, and one more end. */
static bool reserve(struct wal_engine *wal, size_t len)
{
    if (unlikely(wal->buffer_cap - wal->buffer_len < len)) {
        size_t need = wal->buffer_len + len;
        size_t cap = need + need / 2 + 4096;
        uint8_t *buffer = mem_try_resize(wal->buffer, cap);
        if (buffer == NULL) {
            return false;
        }
        wal->buffer = buffer;
        wal->buffer_cap = cap;
    }
    if (unlikely(wal->end_count == wal->end_cap)) {
        uint32_t cap = wal->end_cap > 0 ? wal->end_cap * 2 : 1024;
        size_t *ends = mem_try_resize(wal->ends, cap * sizeof(*ends));
        if (ends == NULL) {
            return false;
        }
        wal->ends = ends;
        wal->end_cap = cap;
    }
    return true;
}

static void end_record(struct wal_engine *wal, size_t len)
{
    wal->buffer_len += len;
    wal->ends[wal->end_count++] = wal->buffer_len;
}

/* All records of a batch, the clock first. */
static enum err encode(struct wal_engine *wal, struct batch *batch)
{
    struct operation operation;
    wal->buffer_len = 0;
    wal->end_count = 0;
    if (!reserve(wal, WAL_CLOCK_BYTES)) {
        return ERR_MEMORY;
    }
    wal_clock_encode((struct wal_clock){.now_ms = batch->now_ms, .next_id = batch->next_id},
                     wal->buffer);
    end_record(wal, WAL_CLOCK_BYTES);
    batch->rewind(batch);
    while (batch->next(batch, &operation)) {
        size_t len = wal_record_size(&operation);
        if (!reserve(wal, len)) {
            return ERR_MEMORY;
        }
        (void)wal_record_encode(&operation, wal->buffer + wal->buffer_len); /* `len` bytes */
        end_record(wal, len);
    }
    return ERR_OK;
}

/* Gives back what only an unusual batch needed. */
static void shrink(struct wal_engine *wal)
{
    if (wal->buffer_cap > BUFFER_BYTES_KEPT && wal->buffer_len < BUFFER_BYTES_KEPT / 2) {
        mem_free(wal->buffer);
        wal->buffer = NULL;
        wal->buffer_cap = wal->buffer_len = 0;
    }
}

static enum err engine_wal_apply(struct engine *engine, struct batch *batch)
{
    struct wal_engine *wal = wal_engine__of(engine);
    enum err err = encode(wal, batch);
    if (err != ERR_OK) {
        engine_trouble(engine, "no memory for a batch of the wal");
        return err;
    }
    err =
        wal_log_append(wal->log, slice_of(wal->buffer, wal->buffer_len), wal->ends, wal->end_count);
    if (err != ERR_OK) {
        engine_trouble(engine, "%s", wal_log_trouble(wal->log));
    }
    shrink(wal);
    return err;
}

static enum err engine_wal_sync(struct engine *engine)
{
    struct wal_engine *wal = wal_engine__of(engine);
    enum err err = wal_log_sync(wal->log);
    if (err != ERR_OK) {
        engine_trouble(engine, "%s", wal_log_trouble(wal->log));
    }
    return err;
}

static void engine_wal_close(struct engine *engine)
{
    struct wal_engine *wal = wal_engine__of(engine);
    wal_engine__end_compaction(wal, true);
    free_engine(wal);
}

const struct engine_type engine_wal = {.name = "wal",
                                       .open = engine_wal_open,
                                       .load = wal_engine__load,
                                       .apply = engine_wal_apply,
                                       .sync = engine_wal_sync,
                                       .tend = wal_engine__tend,
                                       .close = engine_wal_close};
