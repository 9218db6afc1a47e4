#include "storage/wal_log_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <uv.h>

#include "base/mem.h"

#define BATCH_BYTES_MAX ((size_t)1 << 30)
#define UNSYNCED_BYTES_MAX ((size_t)8 << 20) /* more than this is synced before more comes */
#define TAIL_BYTES_KEPT ((size_t)4 << 20)    /* a larger buffer is not kept when it is empty */
#define GROW_BYTES ((uint64_t)1 << 20)       /* of zeros ahead, in a file that isn't allocated */

static uint8_t zeros[64 * 1024]; /* never written */

/* ---- small things ---------------------------------------------------------------------------- */

/* Notes what went wrong while `what` was done to segment `number`, and says what errno means. */
enum err wal_log__trouble(struct wal_log *log, const char *what, uint64_t number)
{
    int error = errno;
    (void)snprintf(log->trouble, sizeof(log->trouble), "%s log.%016" PRIu64 ": %s", what, number,
                   uv_strerror(-error));
    return wal_error_of(error);
}

bool wal_log__is_current(const struct wal_log *log, uint64_t number)
{
    return log->current.fd >= 0 && log->current.header.number == number;
}

/* Counts the bytes of frames anew, after a change other than an append. */
void wal_log__count_bytes(struct wal_log *log)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < log->survey.count; i++) {
        const struct wal_file *file = &log->survey.list[i];
        uint64_t end =
            wal_log__is_current(log, file->number) ? log->current.offset : file->frame_bytes;
        if (file->number >= log->first && end > WAL_FRAMES_AT) {
            bytes += end - WAL_FRAMES_AT;
        }
    }
    stat_add(log->stats, STAT_LOG_BYTES, (int64_t)(bytes - log->bytes));
    log->bytes = bytes;
}

static void count_written(struct wal_log *log, uint64_t bytes)
{
    stat_add(log->stats, STAT_BYTES_WRITTEN, (int64_t)bytes);
}

/* Takes notice that the current file reaches up to `end`. */
static void note_size(struct wal_log *log, uint64_t end)
{
    if (end > log->current.file_bytes) {
        stat_add(log->stats, STAT_DISK_BYTES, (int64_t)(end - log->current.file_bytes));
        log->current.file_bytes = end;
    }
}

/* Leaves the current segment, which is ended, failed or dropped. */
void wal_log__leave_current(struct wal_log *log)
{
    struct wal_current *current = &log->current;
    if (current->fd < 0) {
        return;
    }
    (void)log->files->close(log->files->context, current->fd); /* it was synced, or failed */
    current->fd = -1;
    struct wal_file *file = wal_survey_find(&log->survey, current->header.number);
    if (file != NULL) {
        file->file_bytes = current->file_bytes;
        file->frame_bytes = current->offset - (current->failed ? log->tail_len : 0);
    }
}

void wal_log__forget_tail(struct wal_log *log)
{
    log->synced_batch = log->next_batch - 1;
    log->unsynced = 0;
    log->tail_len = 0;
    if (log->tail_cap > TAIL_BYTES_KEPT) {
        mem_free(log->tail);
        log->tail = NULL;
        log->tail_cap = 0;
    }
}

static enum err reserve_tail(struct wal_log *log, size_t more)
{
    size_t wanted = log->tail_len + more;
    if (wanted <= log->tail_cap) {
        return ERR_OK;
    }
    size_t cap = wanted < TAIL_BYTES_KEPT / 2 ? 2 * wanted : wanted;
    uint8_t *tail = mem_try_resize(log->tail, cap);
    if (tail == NULL) {
        return ERR_MEMORY;
    }
    log->tail = tail;
    log->tail_cap = cap;
    return ERR_OK;
}

/* ---- a new segment --------------------------------------------------------------------------- */

static int write_zeros(struct wal_log *log, uint64_t at, uint64_t end)
{
    while (at < end) {
        size_t piece = end - at < sizeof(zeros) ? (size_t)(end - at) : sizeof(zeros);
        if (wal_write(log->files, log->current.fd, slice_of(zeros, piece), (off_t)at) != 0) {
            return -1;
        }
        at += piece;
        count_written(log, piece);
        note_size(log, at);
    }
    return 0;
}

/*
 * What is behind the file's end is written with zeros, some ahead, so that few syncs have to sync
 * the file's size, too.
 */
static void grow_ahead(struct wal_log *log, uint64_t end)
{
    const struct wal_current *current = &log->current;
    if (end > current->file_bytes) {
        uint64_t ahead = end + GROW_BYTES;
        (void)write_zeros(log, end, ahead < current->frames_max ? ahead : current->frames_max);
        /* if it fails the frames themselves make the file longer, or fail */
    }
}

static int open_new(struct wal_log *log, const char *path, uint64_t size, uint64_t *file_bytes)
{
    int flags = O_RDWR;
    *file_bytes = log->segment_bytes;
    if (size > log->segment_bytes || !wal_spares_take(log->spares, path)) {
        flags |= O_CREAT | O_EXCL;
        *file_bytes = 0;
    }
    return log->files->open(log->files->context, path, flags, S_IRUSR | S_IWUSR);
}

/*
 * Writes the tail to the end of the frames, then the header. With the header a segment lives and
 * makes void what earlier ones hold of the tail; so a process that is killed in between leaves one
 * of the two.
 */
static int write_tail(struct wal_log *log, struct wal_current *current)
{
    const struct files *files = log->files;
    uint8_t header[WAL_FRAMES_AT];
    wal_segment_header_encode(&current->header, header);
    wal_frames_stamp(log->tail, log->tail_len, &current->header);
    off_t at = current->offset - (off_t)log->tail_len;
    if (wal_write(files, current->fd, slice_of(log->tail, log->tail_len), at) != 0) {
        return -1;
    }
    count_written(log, log->tail_len + sizeof(header));
    return wal_write(files, current->fd, slice_of(header, sizeof(header)), 0);
}

/* Without a whole header it doesn't count, and its number isn't used again. */
static void abandon_new(struct wal_log *log, const struct wal_current *current, const char *path)
{
    if (current->fd >= 0) {
        (void)log->files->close(log->files->context, current->fd); /* it failed anyway */
    }
    if (current->fd >= 0 || current->file_bytes > 0) {       /* else it isn't ours */
        (void)log->files->unlink(log->files->context, path); /* a later start drops it */
    }
    stat_add(log->stats, STAT_DISK_BYTES, -(int64_t)current->file_bytes);
}

static enum err start_segment(struct wal_log *log, struct wal_current *current, size_t frame_len)
{
    const struct files *files = log->files;
    char path[WAL_PATH_BYTES];
    uint64_t number = current->header.number;
    uint64_t size = WAL_FRAMES_AT + log->tail_len + frame_len;
    wal_segment_path(path, log->dir, number);
    current->offset = (uint32_t)(WAL_FRAMES_AT + log->tail_len);
    current->frames_max = size > log->segment_bytes ? size : log->segment_bytes;
    current->fd = open_new(log, path, size, &current->file_bytes);
    enum err err = ERR_OK;
    if (current->fd < 0) {
        err = wal_log__trouble(log, "open", number);
    } else if (files->sync_directory(files->context, log->dir) != 0) {
        err = wal_log__trouble(log, "sync the folder of", number);
    } else if (write_tail(log, current) != 0) {
        err = wal_log__trouble(log, "write", number);
    }
    if (err != ERR_OK) {
        abandon_new(log, current, path);
    }
    return err;
}

/* A segment of which nothing is safe, not even the header, is left out: what it has moves on. */
static uint64_t previous_of_next(const struct wal_log *log)
{
    const struct wal_current *current = &log->current;
    bool left_out = current->fd >= 0 && !current->synced;
    return left_out ? current->header.previous : log->previous;
}

/* Begins a segment with the tail and room for a frame of `frame_len`. A number that was tried is
 * not used again. */
static enum err begin_segment(struct wal_log *log, size_t frame_len)
{
    struct wal_current next = {.fd = -1};
    next.header.number = log->next_number++;
    next.header.first_batch = log->synced_batch + 1;
    next.header.previous = previous_of_next(log);
    if (log->files->random(log->files->context, &next.header.salt, sizeof(next.header.salt)) != 0) {
        return wal_log__trouble(log, "find random numbers for", next.header.number);
    }
    enum err err = start_segment(log, &next, frame_len);
    if (err != ERR_OK) {
        return err;
    }
    wal_log__leave_current(log);
    struct wal_file file = {.number = next.header.number, .alive = true, .header = next.header};
    wal_survey_add(&log->survey, &file);
    log->current = next;
    log->previous = next.header.number;
    if (next.file_bytes == 0) {
        note_size(log, next.offset);
    }
    wal_log__count_bytes(log);
    return ERR_OK;
}

/* ---- sync ------------------------------------------------------------------------------------ */

static enum err sync_current(struct wal_log *log)
{
    struct wal_current *current = &log->current;
    if (log->files->datasync(log->files->context, current->fd) != 0) {
        /* The kernel may have dropped what it could not write and say nothing next time. */
        current->failed = true;
        return wal_log__trouble(log, "sync", current->header.number);
    }
    current->synced = true;
    wal_log__forget_tail(log);
    return ERR_OK;
}

/* The frame of one batch, at the end of the tail; reserve_tail was called. */
static size_t put_frame(struct wal_log *log, struct slice records, const size_t *ends, size_t count)
{
    uint8_t *frame = log->tail + log->tail_len;
    uint8_t *at = frame + WAL_FRAME_HEADER_BYTES;
    size_t start = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len = ends[i] - start;
        at = wal_framed_len_put(at, len);
        if (len > 0) {
            memcpy(at, records.data + start, len);
        }
        at += len;
        start = ends[i];
    }
    size_t len = (size_t)(at - frame);
    wal_frame_put(frame, log->next_batch, log->synced_batch, len - WAL_FRAME_HEADER_BYTES);
    wal_frames_stamp(frame, len, &log->current.header);
    return len;
}

/* Writes the frame of `len` bytes behind the tail, and makes it part of it. */
static enum err write_frame(struct wal_log *log, size_t len)
{
    struct wal_current *current = &log->current;
    grow_ahead(log, current->offset + (uint64_t)len);
    struct slice frame = slice_of(log->tail + log->tail_len, len);
    if (wal_write(log->files, current->fd, frame, current->offset) != 0) {
        enum err err = wal_log__trouble(log, "write", current->header.number);
        /* With a full disk nothing is wrong with the segment: the same place is written again. */
        current->failed = err != ERR_FULL;
        return err;
    }
    log->tail_len += len;
    log->next_batch++;
    current->offset += (uint32_t)len;
    log->bytes += len;
    note_size(log, current->offset);
    count_written(log, len);
    stat_add(log->stats, STAT_LOG_BYTES, (int64_t)len);
    return ERR_OK;
}

/*
 * Without a later frame that says that a batch was synced, a bad spot in it would be taken for the
 * end that a crash left. So an empty batch follows when others might go with it. It is only a help:
 * nobody waits for it, and nothing is lost without it.
 */
static void attest(struct wal_log *log)
{
    struct wal_current *current = &log->current;
    if (current->fd < 0 || current->ended || current->failed ||
        current->offset + (uint64_t)WAL_FRAME_HEADER_BYTES > current->frames_max ||
        reserve_tail(log, WAL_FRAME_HEADER_BYTES) != ERR_OK) {
        return;
    }
    uint64_t batch = log->next_batch;
    if (write_frame(log, put_frame(log, slice_of(NULL, 0), NULL, 0)) == ERR_OK) {
        log->attested_batch = batch;
    }
}

enum err wal_log__sync(struct wal_log *log)
{
    if (log->unsynced == 0) {
        return ERR_OK;
    }
    if (log->current.failed) {
        enum err err = begin_segment(log, 0);
        if (err != ERR_OK) {
            return err;
        }
    }
    bool several = log->unsynced > 1;
    enum err err = sync_current(log);
    if (err == ERR_OK && several) {
        attest(log);
    }
    return err;
}

enum err wal_log_sync(struct wal_log *log)
{
    return wal_log__sync(log);
}

enum err wal_log__settle(struct wal_log *log, uint32_t cut_end)
{
    struct wal_current *current = &log->current;
    bool unsaid = log->unsynced > 1 || cut_end > current->offset;
    if (write_zeros(log, current->offset, cut_end) != 0 || write_tail(log, current) != 0) {
        current->failed = true;
        return wal_log__trouble(log, "write", current->header.number);
    }
    enum err err = sync_current(log);
    if (err != ERR_OK || !unsaid) {
        return err;
    }
    attest(log);
    return log->tail_len > 0 && !current->failed ? sync_current(log) : ERR_OK;
}

/* ---- append ---------------------------------------------------------------------------------- */

/* Makes a segment current that has room for a frame of `len` bytes. */
static enum err make_room(struct wal_log *log, size_t len)
{
    struct wal_current *current = &log->current;
    if (current->fd >= 0 && !current->failed) {
        if (!current->ended && current->offset + (uint64_t)len <= current->frames_max) {
            return ERR_OK;
        }
        if (log->tail_len > 0) {
            enum err err = sync_current(log);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return begin_segment(log, len);
}

static size_t frame_size(const size_t *ends, size_t count)
{
    size_t size = WAL_FRAME_HEADER_BYTES;
    size_t start = 0;
    for (size_t i = 0; i < count; i++) {
        size += wal_framed_size(ends[i] - start);
        start = ends[i];
    }
    return size;
}

enum err wal_log_append(struct wal_log *log, struct slice records, const size_t *ends, size_t count)
{
    ASSERT(log->spares != NULL); /* wal_log_read was called */
    ASSERT(count == 0 ? records.len == 0 : ends[count - 1] == records.len);
    if (records.len > BATCH_BYTES_MAX || count > BATCH_BYTES_MAX) {
        (void)snprintf(log->trouble, sizeof(log->trouble), "a batch of %zu bytes", records.len);
        return ERR_RANGE;
    }
    if (log->tail_len > UNSYNCED_BYTES_MAX) {
        enum err err = wal_log_sync(log);
        if (err != ERR_OK) {
            return err;
        }
    }
    size_t len = frame_size(ends, count);
    enum err err = make_room(log, len);
    if (err == ERR_OK) {
        err = reserve_tail(log, len);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = write_frame(log, put_frame(log, records, ends, count));
    if (err == ERR_OK) {
        log->unsynced++;
    }
    return err;
}

/* Says at the end of the log that all of it was synced. */
void wal_log__attest_end(struct wal_log *log)
{
    struct wal_current *current = &log->current;
    if (current->fd < 0 || current->ended || current->failed || log->unsynced > 0) {
        return;
    }
    if (log->attested_batch != log->next_batch - 1 && current->offset > WAL_FRAMES_AT) {
        attest(log);
    }
    if (log->tail_len > 0 && !current->failed) {
        (void)sync_current(log); /* a help only; see attest */
    }
}
