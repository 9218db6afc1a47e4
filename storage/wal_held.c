#include "storage/wal_held.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "storage/wal_dir.h"
#include "storage/wal_packed.h"
#include "storage/wal_record.h"
#include "storage/wal_segment_priv.h"
#include "storage/wal_snapshot.h"
#include "storage/wal_snapshot_priv.h"

#define BYTES_MAX (64u << 20) /* of damage that is looked into */
#define FRAME_LEN_AT 8u       /* of the length in the header of a frame */
#define BLOCK_RECORD_LEN_BYTES 4u

struct looking {
    struct wal_held *held;
    uint32_t *ids; /* room for decoding */
};

/* ---- records --------------------------------------------------------------------------------- */

static void note_client(struct wal_held *held, struct slice id)
{
    size_t len = id.len < WAL_HELD_CLIENT_BYTES ? id.len : WAL_HELD_CLIENT_BYTES;
    for (uint32_t i = 0; i < held->client_count; i++) {
        if (held->clients[i].len == len && memcmp(held->clients[i].id, id.data, len) == 0) {
            return;
        }
    }
    if (held->client_count < WAL_HELD_CLIENTS && len > 0) {
        held->clients[held->client_count].len = len;
        memcpy(held->clients[held->client_count++].id, id.data, len);
    }
}

static void note_run(struct wal_held *held, struct slice record)
{
    bool bodies = record.data[0] == WAL_PACKED_BODIES;
    struct wal_run_reader run;
    if (!bodies && record.data[0] != WAL_PACKED_QUEUE) {
        return;
    }
    enum err err = wal_run_open(record, &run);
    while (err == ERR_OK && run.rest.len > 0) {
        struct wal_body_ref ref;
        struct wal_queued entry;
        err = bodies ? wal_bodies_next(&run, &ref) : wal_queued_next(&run, &entry);
        if (err == ERR_OK) {
            held->by_type[bodies ? OPERATION_MESSAGE_PUT : OPERATION_QUEUE_PUSH]++;
        }
    }
}

static void note_record(const struct looking *looking, struct slice record)
{
    struct operation operation;
    size_t len;
    if (record.len > 0 && record.data[0] >= WAL_PACKED_MIN) {
        note_run(looking->held, record);
    } else if (wal_record_decode(record, &operation, looking->ids, &len) == ERR_OK &&
               len == record.len) {
        looking->held->by_type[operation.type]++;
        if (operation.type == OPERATION_SESSION_PUT) {
            note_client(looking->held, operation.client_id);
        }
    }
}

/* ---- segments -------------------------------------------------------------------------------- */

/* Where the frame at `at` ends: where it says, or where the next one seems to begin. */
static size_t end_of_frame(struct slice bytes, size_t at)
{
    size_t rest = bytes.len - at - WAL_FRAME_HEADER_BYTES;
    size_t claimed = wal_block_get_u32(bytes.data + at + FRAME_LEN_AT);
    if (claimed <= rest) {
        return at + WAL_FRAME_HEADER_BYTES + claimed;
    }
    const uint8_t *next =
        memmem(bytes.data + at + WAL_FRAME_HEADER_BYTES, rest, bytes.data + at, 4);
    return next != NULL ? (size_t)(next - bytes.data) : bytes.len;
}

static void look_into_segment(const struct looking *looking, struct slice bytes, uint64_t offset)
{
    size_t at = offset < WAL_FRAMES_AT ? WAL_FRAMES_AT - (size_t)offset : 0;
    while (at < bytes.len && bytes.len - at > WAL_FRAME_HEADER_BYTES) {
        size_t end = end_of_frame(bytes, at);
        size_t start = at + WAL_FRAME_HEADER_BYTES;
        struct slice records = slice_of(bytes.data + start, end - start), record;
        while (wal_framed_next(&records, &record)) {
            note_record(looking, record);
        }
        at = end;
    }
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void look_into_block(const struct looking *looking, struct slice bytes)
{
    while (bytes.len > BLOCK_RECORD_LEN_BYTES) {
        size_t len = wal_block_get_u32(bytes.data);
        bytes = slice_from(bytes, BLOCK_RECORD_LEN_BYTES);
        if (len > bytes.len) {
            return;
        }
        note_record(looking, slice_of(bytes.data, len));
        bytes = slice_from(bytes, len);
    }
}

/* Damage begins at a block. */
static void look_into_snapshot(const struct looking *looking, struct slice bytes)
{
    while (bytes.len > WAL_BLOCK_HEADER_BYTES) {
        struct wal_block block;
        bool has_header = wal_block_decode(bytes.data, &block);
        bytes = slice_from(bytes, WAL_BLOCK_HEADER_BYTES);
        size_t len = has_header && block.len < bytes.len ? block.len : bytes.len;
        if (!has_header || block.kind == WAL_BLOCK_RECORDS) {
            look_into_block(looking, slice_of(bytes.data, len));
        }
        bytes = slice_from(bytes, len);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Gives the bytes, fewer when they can't be read; mem_free. */
static struct slice read_bytes(const struct files *files, const char *dir, uint64_t segment,
                               uint64_t offset, size_t len)
{
    char path[WAL_PATH_BYTES];
    uint8_t *data = mem_try_alloc(len);
    if (wal_place_in_snapshot(segment)) {
        char name[WAL_SNAPSHOT_NAME_SIZE];
        wal_snapshot_name(wal_place_snapshot(segment), name);
        (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    } else {
        wal_segment_path(path, dir, segment);
    }
    int fd = data != NULL ? files->open(files->context, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    ssize_t got = fd >= 0 ? files->pread(files->context, fd, data, len, (off_t)offset) : -1;
    if (fd >= 0) {
        (void)files->close(files->context, fd); /* it was only read */
    }
    return slice_of(data, got > 0 ? (size_t)got : 0);
}

void wal_held_read(struct wal_held *held, const struct files *files, const char *dir,
                   uint64_t segment, uint64_t offset, uint64_t len)
{
    *held = (struct wal_held){0};
    if (len == 0) {
        return;
    }
    size_t wanted = len < BYTES_MAX ? (size_t)len : BYTES_MAX;
    struct slice bytes = read_bytes(files, dir, segment, offset, wanted);
    struct looking looking = {.held = held,
                              .ids = mem_try_alloc(WAL_RECORD_IDS_MAX * sizeof(uint32_t))};
    if (looking.ids != NULL && wal_place_in_snapshot(segment)) {
        look_into_snapshot(&looking, bytes);
    } else if (looking.ids != NULL) {
        look_into_segment(&looking, bytes, offset);
    }
    mem_free(looking.ids);
    mem_free((void *)(uintptr_t)bytes.data);
}

void wal_held_add_counts(struct text *text, const uint64_t by_type[OPERATION_TYPES])
{
    const char *between = "";
    for (unsigned type = 0; type < OPERATION_TYPES; type++) {
        if (by_type[type] > 0) {
            text_printf(text, "%s%" PRIu64 " %s", between, by_type[type],
                        operation_info((enum operation_type)type)->name);
            between = ", ";
        }
    }
}

void wal_held_add_clients(struct text *text, const struct wal_held *held)
{
    for (uint32_t i = 0; i < held->client_count; i++) {
        text_add(text, i > 0 ? " " : "");
        text_add_bytes(text, held->clients[i].id, held->clients[i].len);
    }
}
