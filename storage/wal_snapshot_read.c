/*
 * Reading goes through one window on the file. It grows with what the file really has, so a length
 * that is a lie costs nothing.
 */
#include "storage/wal_snapshot.h"

#include <errno.h>
#include <fcntl.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "storage/wal_dir.h"
#include "storage/wal_snapshot_priv.h"

#define WINDOW_BYTES (1u << 20)
#define RECORD_LEN_BYTES 4u

struct reading {
    const struct files *files;
    const struct wal_snapshot_reader *reader;
    uint64_t number;
    int fd;

    uint8_t *window;
    size_t cap;
    size_t len;      /* bytes in it */
    size_t used;     /* of these: done with */
    uint64_t at;     /* offset in the file of the first one not done with */
    bool file_ended; /* the window holds all that is left */

    uint64_t damage_at; /* start of bytes that are being passed over */
    bool in_damage;
    bool damaged;  /* there was some */
    bool has_head; /* HEAD came */
    bool ended;    /* END came */
    uint64_t records;
};

/* ---- the window ------------------------------------------------------------------------------ */

static enum err fill(struct reading *reading)
{
    const struct files *files = reading->files;
    memmove(reading->window, reading->window + reading->used, reading->len - reading->used);
    reading->len -= reading->used;
    reading->used = 0;
    while (reading->len < reading->cap && !reading->file_ended) {
        ssize_t got =
            files->pread(files->context, reading->fd, reading->window + reading->len,
                         reading->cap - reading->len, (off_t)(reading->at + reading->len));
        if (got < 0 && errno != EINTR) {
            return ERR_IO;
        }
        reading->file_ended = got == 0;
        reading->len += got > 0 ? (size_t)got : 0;
    }
    return ERR_OK;
}

/* Sees to it that `need` bytes are in the window, or all that the file has. */
static enum err ensure(struct reading *reading, size_t need)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && reading->len - reading->used < need && !reading->file_ended) {
        if (need > reading->cap && reading->used == 0 && reading->len == reading->cap) {
            uint8_t *window = mem_try_resize(reading->window, reading->cap * 2);
            if (window == NULL) {
                return ERR_MEMORY;
            }
            reading->window = window;
            reading->cap *= 2;
        }
        err = fill(reading);
    }
    return err;
}

static const uint8_t *unread(const struct reading *reading)
{
    return reading->window + reading->used;
}

static size_t unread_len(const struct reading *reading)
{
    return reading->len - reading->used;
}

static void pass(struct reading *reading, size_t len)
{
    reading->used += len;
    reading->at += len;
}

/* ---- damage ---------------------------------------------------------------------------------- */

static enum err begin_damage(struct reading *reading)
{
    reading->damaged = true;
    if (reading->reader->damage == NULL) {
        return ERR_DAMAGED;
    }
    if (!reading->in_damage) {
        reading->in_damage = true;
        reading->damage_at = reading->at;
    }
    return ERR_OK;
}

static void end_damage(struct reading *reading)
{
    if (reading->in_damage) {
        reading->in_damage = false;
        reading->reader->damage(reading->reader->context, reading->damage_at,
                                reading->at - reading->damage_at);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static enum err read_head(struct reading *reading, struct slice bytes)
{
    uint32_t keep_count = bytes.len >= WAL_HEAD_BYTES ? wal_block_get_u32(bytes.data + 24) : 0;
    if (bytes.len < WAL_HEAD_BYTES ||
        keep_count != (bytes.len - WAL_HEAD_BYTES) / sizeof(uint64_t)) {
        return begin_damage(reading);
    }
    uint64_t *keep = NULL;
    if (keep_count > 0) {
        keep = mem_try_alloc(keep_count * sizeof(uint64_t));
        if (keep == NULL) {
            return ERR_MEMORY;
        }
    }
    for (uint32_t i = 0; i < keep_count; i++) {
        keep[i] = wal_block_get_u64(bytes.data + WAL_HEAD_BYTES + i * sizeof(uint64_t));
    }
    struct wal_snapshot_head head = {.number = reading->number,
                                     .first = wal_block_get_u64(bytes.data),
                                     .clock = {.now_ms = wal_block_get_u64(bytes.data + 8),
                                               .next_id = wal_block_get_u64(bytes.data + 16)},
                                     .keep = keep,
                                     .keep_count = keep_count};
    reading->has_head = true;
    enum err err = reading->reader->head(reading->reader->context, &head);
    mem_free(keep);
    return err;
}

static struct wal_place place_at(const struct reading *reading, size_t ahead, uint32_t len)
{
    uint64_t offset = reading->at + ahead;
    return (struct wal_place){.segment = wal_snapshot_segment(reading->number) | (offset >> 32)
                                                                                     << 32,
                              .offset = (uint32_t)offset,
                              .len = len};
}

/* Gives the records of a block, whose bytes stand `ahead` of where the reading is. */
static enum err read_records(struct reading *reading, struct slice bytes, size_t ahead)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && bytes.len > 0) {
        uint32_t len = bytes.len >= RECORD_LEN_BYTES ? wal_block_get_u32(bytes.data) : 0;
        if (bytes.len < RECORD_LEN_BYTES || len > bytes.len - RECORD_LEN_BYTES) {
            return begin_damage(reading);
        }
        reading->records++;
        err = reading->reader->record(reading->reader->context,
                                      place_at(reading, ahead + RECORD_LEN_BYTES, len),
                                      slice_of(bytes.data + RECORD_LEN_BYTES, len));
        bytes = slice_from(bytes, RECORD_LEN_BYTES + len);
        ahead += RECORD_LEN_BYTES + len;
    }
    return err;
}

static enum err read_end(struct reading *reading, struct slice bytes)
{
    bool complete = bytes.len == sizeof(uint64_t) && reading->has_head &&
                    wal_block_get_u64(bytes.data) == reading->records;
    if (!complete && !reading->damaged) {
        return begin_damage(reading);
    }
    reading->ended = true;
    return ERR_OK;
}

/* The bytes of the block at the window's start are sound. */
static enum err read_block(struct reading *reading, const struct wal_block *block)
{
    struct slice bytes = slice_of(unread(reading) + WAL_BLOCK_HEADER_BYTES, block->len);
    switch (block->kind) {
    case WAL_BLOCK_HEAD:
        return read_head(reading, bytes);
    case WAL_BLOCK_RECORDS:
        return read_records(reading, bytes, WAL_BLOCK_HEADER_BYTES);
    case WAL_BLOCK_END:
        return read_end(reading, bytes);
    }
    return begin_damage(reading);
}

/* Passes over bytes up to where a header might begin. */
static enum err seek_block(struct reading *reading)
{
    enum err err = begin_damage(reading);
    size_t len = unread_len(reading);
    const uint8_t *found =
        len > 1 ? memchr(unread(reading) + 1, WAL_BLOCK_MAGIC & 0xff, len - 1) : NULL;
    pass(reading, found != NULL ? (size_t)(found - unread(reading)) : len);
    return err;
}

/* Reads one block, or passes over some bytes that are none. */
static enum err read_next(struct reading *reading)
{
    struct wal_block block;
    if (unread_len(reading) < WAL_BLOCK_HEADER_BYTES ||
        !wal_block_decode(unread(reading), &block) || block.number != reading->number) {
        return seek_block(reading);
    }
    if (block.version > WAL_SNAPSHOT_VERSION) {
        return ERR_VERSION;
    }
    size_t whole = WAL_BLOCK_HEADER_BYTES + (size_t)block.len;
    enum err err = ensure(reading, whole);
    if (err != ERR_OK) {
        return err;
    }
    if (unread_len(reading) < whole) {
        return seek_block(reading); /* cut off: what stands inside of it may be blocks */
    }
    if (crc32c(0, unread(reading) + WAL_BLOCK_HEADER_BYTES, block.len) != block.crc) {
        err = begin_damage(reading);
        pass(reading, whole);
        return err;
    }
    end_damage(reading);
    err = read_block(reading, &block);
    pass(reading, whole);
    return err;
}

static enum err read_all(struct reading *reading)
{
    enum err err = ensure(reading, WAL_BLOCK_HEADER_BYTES);
    while (err == ERR_OK && !reading->ended && unread_len(reading) > 0) {
        err = read_next(reading);
        if (err == ERR_OK) {
            err = ensure(reading, WAL_BLOCK_HEADER_BYTES);
        }
    }
    if (err != ERR_OK) {
        return err;
    }
    end_damage(reading);
    if (reading->ended) {
        return ERR_OK;
    }
    err = begin_damage(reading);
    end_damage(reading);
    return err;
}

/* Opens the file; ERR_OK with `*fd` < 0: it isn't there. */
static enum err open_file(const struct files *files, const char *dir, uint64_t number, int *fd)
{
    char name[WAL_SNAPSHOT_NAME_SIZE];
    wal_snapshot_name(number, name);
    char *path = wal_dir_path(dir, name);
    *fd = files->open(files->context, path, O_RDONLY | O_CLOEXEC, 0);
    enum err err = *fd >= 0 || errno == ENOENT ? ERR_OK : ERR_IO;
    mem_free(path);
    return err;
}

enum err wal_snapshot_read(const struct files *files, const char *dir, uint64_t number,
                           const struct wal_snapshot_reader *reader)
{
    struct reading reading = {.files = files, .reader = reader, .number = number};
    enum err err = open_file(files, dir, number, &reading.fd);
    if (err != ERR_OK) {
        return err;
    }
    if (reading.fd < 0) {
        err = begin_damage(&reading);
        end_damage(&reading);
        return err;
    }
    reading.cap = WINDOW_BYTES;
    reading.window = mem_try_alloc(reading.cap);
    err = reading.window != NULL ? read_all(&reading) : ERR_MEMORY;
    mem_free(reading.window);
    (void)files->close(files->context, reading.fd); /* it was only read */
    return err;
}
