#include "storage/wal_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "storage/wal_dir.h"
#include "storage/wal_snapshot_priv.h"

#define NAME_PREFIX "snapshot."
#define NAME_DIGITS 16u
#define RECORD_LEN_BYTES 4u
/* So much is written before the disk is told: one sync of it all at the end would hold up those of
 * the log. */
#define SYNC_BYTES (4u << 20)

struct wal_snapshot_writer {
    const struct files *files;
    char *dir;
    uint64_t number;
    int fd;
    uint64_t at;      /* bytes in the file */
    uint64_t synced;  /* of them */
    uint64_t records; /* in all */
    uint8_t *block;   /* the block that is being filled, its header first */
    size_t block_len;
    size_t block_cap;
};

/* ---- names ----------------------------------------------------------------------------------- */

void wal_snapshot_name(uint64_t number, char name[WAL_SNAPSHOT_NAME_SIZE])
{
    snprintf(name, WAL_SNAPSHOT_NAME_SIZE, NAME_PREFIX "%016llu", (unsigned long long)number);
}

uint64_t wal_snapshot_number(const char *name)
{
    struct slice text = slice_text(name);
    if (text.len != sizeof(NAME_PREFIX) - 1 + NAME_DIGITS ||
        !slice_starts_with(text, NAME_PREFIX)) {
        return 0;
    }
    uint64_t number = 0;
    for (size_t i = sizeof(NAME_PREFIX) - 1; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return 0;
        }
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    return number <= UINT32_MAX ? number : 0;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

void wal_block_put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

void wal_block_put_u64(uint8_t *at, uint64_t value)
{
    wal_block_put_u32(at, (uint32_t)value);
    wal_block_put_u32(at + 4, (uint32_t)(value >> 32));
}

uint32_t wal_block_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint64_t wal_block_get_u64(const uint8_t *at)
{
    return wal_block_get_u32(at) | (uint64_t)wal_block_get_u32(at + 4) << 32;
}

void wal_block_encode(const struct wal_block *block, uint8_t *at)
{
    wal_block_put_u32(at, WAL_BLOCK_MAGIC);
    wal_block_put_u32(at + 4, block->kind);
    wal_block_put_u64(at + 8, block->number);
    wal_block_put_u32(at + 16, block->version);
    wal_block_put_u32(at + 20, block->len);
    wal_block_put_u32(at + 24, block->crc);
    wal_block_put_u32(at + 28, crc32c(0, at, 28));
}

bool wal_block_decode(const uint8_t *at, struct wal_block *block)
{
    if (wal_block_get_u32(at) != WAL_BLOCK_MAGIC ||
        wal_block_get_u32(at + 28) != crc32c(0, at, 28)) {
        return false;
    }
    *block = (struct wal_block){.kind = wal_block_get_u32(at + 4),
                                .number = wal_block_get_u64(at + 8),
                                .version = wal_block_get_u32(at + 16),
                                .len = wal_block_get_u32(at + 20),
                                .crc = wal_block_get_u32(at + 24)};
    return true;
}

static enum err write_all(struct wal_snapshot_writer *writer, const uint8_t *data, size_t len)
{
    const struct files *files = writer->files;
    while (len > 0) {
        ssize_t done = files->pwrite(files->context, writer->fd, data, len, (off_t)writer->at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? wal_dir_err(errno) : ERR_IO;
        }
        data += done;
        len -= (size_t)done;
        writer->at += (uint64_t)done;
    }
    return ERR_OK;
}

static enum err sync_written(struct wal_snapshot_writer *writer)
{
    const struct files *files = writer->files;
    if (files->datasync(files->context, writer->fd) != 0) {
        return wal_dir_err(errno);
    }
    writer->synced = writer->at;
    return ERR_OK;
}

/* Writes the block that was filled, and begins an empty one. */
static enum err end_block(struct wal_snapshot_writer *writer, enum wal_block_kind kind)
{
    size_t len = writer->block_len - WAL_BLOCK_HEADER_BYTES;
    struct wal_block block = {.kind = (uint32_t)kind,
                              .number = writer->number,
                              .version = WAL_SNAPSHOT_VERSION,
                              .len = (uint32_t)len,
                              .crc = crc32c(0, writer->block + WAL_BLOCK_HEADER_BYTES, len)};
    wal_block_encode(&block, writer->block);
    enum err err = write_all(writer, writer->block, writer->block_len);
    writer->block_len = WAL_BLOCK_HEADER_BYTES;
    if (err == ERR_OK && writer->at - writer->synced >= SYNC_BYTES) {
        err = sync_written(writer);
    }
    return err;
}

/* Room for `len` more bytes in the block. */
static enum err reserve(struct wal_snapshot_writer *writer, size_t len)
{
    size_t need = writer->block_len + len;
    if (need <= writer->block_cap) {
        return ERR_OK;
    }
    if (need > UINT32_MAX) {
        return ERR_FULL;
    }
    size_t cap = need > 2 * WAL_BLOCK_BYTES ? need : 2 * WAL_BLOCK_BYTES;
    uint8_t *block = mem_try_resize(writer->block, cap);
    if (block == NULL) {
        return ERR_MEMORY;
    }
    writer->block = block;
    writer->block_cap = cap;
    return ERR_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum err add_head(struct wal_snapshot_writer *writer, const struct wal_snapshot_head *head)
{
    size_t len = WAL_HEAD_BYTES + head->keep_count * sizeof(uint64_t);
    enum err err = reserve(writer, len);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t *at = writer->block + writer->block_len;
    wal_block_put_u64(at, head->first);
    wal_block_put_u64(at + 8, head->clock.now_ms);
    wal_block_put_u64(at + 16, head->clock.next_id);
    wal_block_put_u32(at + 24, (uint32_t)head->keep_count);
    for (size_t i = 0; i < head->keep_count; i++) {
        wal_block_put_u64(at + WAL_HEAD_BYTES + i * sizeof(uint64_t), head->keep[i]);
    }
    writer->block_len += len;
    return end_block(writer, WAL_BLOCK_HEAD);
}

enum err wal_snapshot_create(const struct files *files, const char *dir,
                             const struct wal_snapshot_head *head, struct wal_snapshot_writer **out)
{
    char *path = wal_dir_path(dir, WAL_SNAPSHOT_TMP);
    int fd = files->open(files->context, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum err err = fd >= 0 ? ERR_OK : wal_dir_err(errno);
    mem_free(path);
    if (err != ERR_OK) {
        return err;
    }
    struct wal_snapshot_writer *writer = mem_alloc(sizeof(*writer));
    *writer = (struct wal_snapshot_writer){.files = files,
                                           .dir = mem_copy_text(dir, strlen(dir)),
                                           .number = head->number,
                                           .fd = fd,
                                           .block_len = WAL_BLOCK_HEADER_BYTES};
    err = add_head(writer, head);
    if (err != ERR_OK) {
        wal_snapshot_abandon(writer);
        return err;
    }
    *out = writer;
    return ERR_OK;
}

enum err wal_snapshot_add(struct wal_snapshot_writer *writer, struct slice record)
{
    enum err err = reserve(writer, RECORD_LEN_BYTES + record.len);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t *at = writer->block + writer->block_len;
    wal_block_put_u32(at, (uint32_t)record.len);
    memcpy(at + RECORD_LEN_BYTES, record.data, record.len);
    writer->block_len += RECORD_LEN_BYTES + record.len;
    writer->records++;
    return writer->block_len >= WAL_BLOCK_BYTES ? end_block(writer, WAL_BLOCK_RECORDS) : ERR_OK;
}

uint64_t wal_snapshot_bytes(const struct wal_snapshot_writer *writer)
{
    return writer->at;
}

static void close_writer(struct wal_snapshot_writer *writer)
{
    /* given up, or synced before: an error of closing has nothing left to lose */
    (void)writer->files->close(writer->files->context, writer->fd);
    mem_free(writer->dir);
    mem_free(writer->block);
    mem_free(writer);
}

void wal_snapshot_abandon(struct wal_snapshot_writer *writer)
{
    /* what stays behind is removed by the next attempt or the next start */
    (void)wal_dir_remove(writer->files, writer->dir, WAL_SNAPSHOT_TMP);
    close_writer(writer);
}

static enum err add_end(struct wal_snapshot_writer *writer)
{
    enum err err = ERR_OK;
    if (writer->block_len > WAL_BLOCK_HEADER_BYTES) {
        err = end_block(writer, WAL_BLOCK_RECORDS);
    }
    if (err == ERR_OK) {
        err = reserve(writer, sizeof(uint64_t));
    }
    if (err != ERR_OK) {
        return err;
    }
    wal_block_put_u64(writer->block + writer->block_len, writer->records);
    writer->block_len += sizeof(uint64_t);
    err = end_block(writer, WAL_BLOCK_END);
    return err == ERR_OK ? sync_written(writer) : err;
}

/* Renames the whole and synced file. */
static enum err publish(struct wal_snapshot_writer *writer)
{
    const struct files *files = writer->files;
    char name[WAL_SNAPSHOT_NAME_SIZE];
    wal_snapshot_name(writer->number, name);
    char *from = wal_dir_path(writer->dir, WAL_SNAPSHOT_TMP);
    char *to = wal_dir_path(writer->dir, name);
    enum err err = ERR_OK;
    if (files->rename(files->context, from, to) != 0) {
        err = wal_dir_err(errno);
    } else if (files->sync_directory(files->context, writer->dir) != 0) {
        err = wal_dir_err(errno);
        (void)wal_dir_remove(files, writer->dir, name); /* nothing names it yet */
    }
    mem_free(from);
    mem_free(to);
    return err;
}

enum err wal_snapshot_finish(struct wal_snapshot_writer *writer, uint64_t *bytes)
{
    enum err err = add_end(writer);
    if (err == ERR_OK) {
        err = publish(writer);
    }
    if (err != ERR_OK) {
        wal_snapshot_abandon(writer);
        return err;
    }
    *bytes = writer->at;
    close_writer(writer);
    return ERR_OK;
}
