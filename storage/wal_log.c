#include "storage/wal_log_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/wal_scan_priv.h"

/* ---- the ends of segments -------------------------------------------------------------------- */

uint64_t wal_log_seal(struct wal_log *log)
{
    log->current.ended = true;
    return log->next_number;
}

static bool is_kept(const uint64_t *keep, size_t count, uint64_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (keep[i] == number) {
            return true;
        }
    }
    return false;
}

/* The segment that is written, or has frames that were not synced, stays. */
static bool is_droppable(const struct wal_log *log, uint64_t number)
{
    return !wal_log__is_current(log, number) || (log->current.ended && log->unsynced == 0);
}

static enum err drop_segment(struct wal_log *log, struct wal_file *file)
{
    if (wal_log__is_current(log, file->number)) {
        wal_log__leave_current(log);
        wal_log__forget_tail(log); /* at most an empty batch */
    }
    char path[WAL_PATH_BYTES];
    wal_segment_path(path, log->dir, file->number);
    if (wal_spares_give(log->spares, path, file->file_bytes) != ERR_OK) {
        return wal_log__trouble(log, "remove", file->number);
    }
    return ERR_OK;
}

static enum err drop_segments(struct wal_log *log, const uint64_t *keep, size_t keep_count)
{
    enum err result = ERR_OK;
    uint32_t left = 0;
    for (uint32_t i = 0; i < log->survey.count; i++) {
        struct wal_file *file = &log->survey.list[i];
        enum err err = ERR_OK;
        bool stays = file->number >= log->first || is_kept(keep, keep_count, file->number) ||
                     !is_droppable(log, file->number);
        if (!stays) {
            err = drop_segment(log, file);
        }
        if (stays || err != ERR_OK) {
            log->survey.list[left++] = *file;
        }
        result = err != ERR_OK ? err : result;
    }
    log->survey.count = left;
    wal_log__count_bytes(log);
    return result;
}

enum err wal_log_drop(struct wal_log *log, uint64_t first, const uint64_t *keep, size_t keep_count)
{
    log->first = first > log->first ? first : log->first;
    return drop_segments(log, keep, keep_count);
}

uint64_t wal_log_bytes(const struct wal_log *log)
{
    return log->bytes;
}

const char *wal_log_trouble(const struct wal_log *log)
{
    return log->trouble;
}

/* ---- open, read, close ----------------------------------------------------------------------- */

static void destroy(struct wal_log *log)
{
    wal_survey_fini(&log->survey);
    mem_free(log->tail);
    mem_free(log->keep);
    mem_free(log->dir);
    mem_free(log);
}

enum err wal_log_open(const struct wal_log_config *config, struct wal_log **out)
{
    struct wal_log *log = mem_alloc(sizeof(*log));
    *log = (struct wal_log){.dir = mem_copy_text(config->dir, strlen(config->dir)),
                            .files = config->files != NULL ? config->files : &files_system,
                            .stats = config->stats,
                            .segment_bytes = config->segment_bytes,
                            .first = config->first > 0 ? config->first : 1,
                            .keep_count = config->keep_count,
                            .damage = config->damage,
                            .background = !config->no_background,
                            .current = {.fd = -1},
                            .next_batch = 1};
    if (config->keep_count > 0) {
        log->keep = mem_alloc_array(config->keep_count, sizeof(*log->keep));
        memcpy(log->keep, config->keep, config->keep_count * sizeof(*log->keep));
    }
    enum err err = wal_survey_init(&log->survey, log->files, log->dir, log->first);
    if (err != ERR_OK) {
        log_error(LOG_STORAGE, "the segments of the log can't be looked at",
                  log_slice("dir", slice_text(log->dir)), log_text("error", err_text(err)),
                  log_text("last_system_error", strerror(errno)));
        destroy(log);
        return err;
    }
    *out = log;
    return ERR_OK;
}

/* Goes on where the log ended. */
static enum err resume(struct wal_log *log, const struct wal_end *end)
{
    struct wal_current *current = &log->current;
    char path[WAL_PATH_BYTES];
    wal_segment_path(path, log->dir, end->last.number);
    current->fd = log->files->open(log->files->context, path, O_RDWR, 0);
    if (current->fd < 0) {
        return wal_log__trouble(log, "open", end->last.number);
    }
    const struct wal_file *file = wal_survey_find(&log->survey, end->last.number);
    current->header = end->last;
    current->file_bytes = file->file_bytes;
    current->offset = end->offset;
    current->ended = end->ended;
    current->synced = end->synced_batch >= end->last.first_batch;
    current->frames_max = end->offset > log->segment_bytes ? end->offset : log->segment_bytes;
    log->previous = end->last.number;
    log->next_batch = end->next_batch;
    log->synced_batch = end->synced_batch;
    log->tail_len = end->tail_len;
    log->unsynced = end->next_batch - 1 - end->synced_batch;
    return ERR_OK;
}

/*
 * The process that wrote the log may have been killed before it synced what is read now; or after a
 * sync that failed, and then the kernel shows what it never wrote, and takes it for written. So
 * what isn't known to be safe is written again before it is synced.
 */
static enum err start_writing(struct wal_log *log, struct wal_end *end)
{
    log->tail = end->tail;
    log->tail_cap = end->tail_len;
    end->tail = NULL;
    if (end->has_last) {
        enum err err = resume(log, end);
        if (err != ERR_OK) {
            return err;
        }
    }
    log->next_number = log->first;
    for (uint32_t i = 0; i < log->survey.count; i++) {
        const struct wal_file *file = &log->survey.list[i];
        log->next_number = file->number >= log->next_number ? file->number + 1 : log->next_number;
        stat_add(log->stats, STAT_DISK_BYTES, (int64_t)file->file_bytes);
    }
    log->spares = wal_spares_create(&(struct wal_spares_config){.files = log->files,
                                                                .dir = log->dir,
                                                                .file_bytes = log->segment_bytes,
                                                                .background = log->background,
                                                                .stats = log->stats});
    if (log->unsynced > 0 || end->cut_end > end->offset || end->ended) {
        (void)wal_log__settle(log, end->cut_end); /* the next append or sync goes on with it */
    }
    (void)drop_segments(log, log->keep, log->keep_count); /* the next drop tries again */
    return ERR_OK;
}

enum err wal_log_read(struct wal_log *log, const struct wal_log_reader *reader)
{
    ASSERT(log->spares == NULL);
    struct wal_walk walk = {.reader = reader,
                            .first = log->first,
                            .last = UINT64_MAX,
                            .damage = log->damage,
                            .stats = log->stats};
    struct wal_end end = {.next_batch = 1};
    enum err err = wal_walk_chain(&log->survey, &walk, &end);
    if (err == ERR_IO || err == ERR_FULL) {
        (void)snprintf(log->trouble, sizeof(log->trouble), "read the log: %s", strerror(errno));
    }
    if (err == ERR_OK) {
        err = start_writing(log, &end);
    }
    mem_free(end.tail);
    return err;
}

void wal_log_close(struct wal_log *log)
{
    if (log == NULL) {
        return;
    }
    if (log->spares != NULL) {
        (void)wal_log__sync(log); /* the caller had the chance to see whether it works */
        wal_log__attest_end(log);
    }
    wal_log__leave_current(log);
    wal_spares_destroy(log->spares);
    destroy(log);
}
