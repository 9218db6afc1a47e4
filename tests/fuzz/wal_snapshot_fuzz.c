/*
 * Input: blocks of a snapshot, each a byte of kind, two bytes of length and so many bytes, which
 * are put into a file with the right numbers and CRCs. A kind above 3 stands for bytes that go into
 * the file as they are.
 *
 * Records lie within the file, at their places. The state that they make can be saved, and what was
 * saved makes the same state.
 */
#include <errno.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "storage/wal_snapshot.h"
#include "storage/wal_snapshot_priv.h"
#include "storage/wal_state.h"
#include "tests/fuzz/fuzz.h"

#define NUMBER 1u
#define FILE_BYTES_MAX 65536u

static uint8_t file[FILE_BYTES_MAX];
static size_t file_len;

/* ---- a file system with one file ------------------------------------------------------------- */

static int open_file(void *context, const char *path, int flags, mode_t mode)
{
    (void)context;
    (void)path;
    (void)flags;
    (void)mode;
    return 3;
}

static int close_file(void *context, int fd)
{
    (void)context;
    (void)fd;
    return 0;
}

static ssize_t read_file(void *context, int fd, void *data, size_t len, off_t at)
{
    (void)context;
    (void)fd;
    size_t left = (size_t)at < file_len ? file_len - (size_t)at : 0;
    size_t count = len < left ? len : left;
    memcpy(data, file + file_len - left, count);
    return (ssize_t)count;
}

static const struct files files = {.open = open_file, .close = close_file, .pread = read_file};

/* ---- the input ------------------------------------------------------------------------------- */

static void add(const uint8_t *data, size_t len)
{
    size_t room = FILE_BYTES_MAX - file_len;
    if (len <= room && len > 0) {
        memcpy(file + file_len, data, len);
        file_len += len;
    }
}

static void add_block(uint32_t kind, const uint8_t *data, size_t len)
{
    uint8_t header[WAL_BLOCK_HEADER_BYTES];
    const struct wal_block block = {.kind = kind,
                                    .number = NUMBER,
                                    .version = WAL_SNAPSHOT_VERSION,
                                    .len = (uint32_t)len,
                                    .crc = crc32c(0, data, len)};
    wal_block_encode(&block, header);
    add(header, sizeof(header));
    add(data, len);
}

static void make_file(const uint8_t *data, size_t len)
{
    file_len = 0;
    while (len >= 3) {
        uint32_t kind = data[0];
        size_t size = (size_t)data[1] | (size_t)data[2] << 8;
        data += 3;
        len -= 3;
        size = size < len ? size : len;
        if (kind > WAL_BLOCK_END) {
            add(data, size);
        } else {
            add_block(kind, data, size);
        }
        data += size;
        len -= size;
    }
}

/* ---- the promises ---------------------------------------------------------------------------- */

static enum err take_head(void *context, const struct wal_snapshot_head *head)
{
    ASSERT(head->number == NUMBER && (head->keep_count == 0 || head->keep != NULL));
    wal_state_set_clock(context, head->clock);
    return ERR_OK;
}

static enum err take_record(void *context, struct wal_place place, struct slice record)
{
    ASSERT(place.segment == wal_snapshot_segment(NUMBER) && place.len == record.len);
    ASSERT(place.offset + record.len <= file_len);
    ASSERT(memcmp(file + place.offset, record.data, record.len) == 0);
    enum err err = wal_state_apply(context, place, record);
    ASSERT(err == ERR_OK || err == ERR_DAMAGED);
    return ERR_OK;
}

static void take_damage(void *context, uint64_t offset, uint64_t len)
{
    (void)context;
    ASSERT(offset <= file_len && len <= file_len - offset);
}

static bool stays(void *context, uint64_t segment)
{
    (void)context;
    (void)segment;
    return true;
}

static enum err apply_again(void *context, struct slice record)
{
    const struct wal_place nowhere = {.segment = 1};
    enum err err = wal_state_apply(context, nowhere, record);
    ASSERT(err == ERR_OK);
    return ERR_OK;
}

/* What saving `state` and reading that back makes. */
static struct wal_state *saved(struct wal_state *state)
{
    struct wal_state *again = wal_state_create();
    const struct wal_record_sink sink = {.context = again, .take = apply_again};
    ASSERT(again != NULL && wal_state_save(state, &sink, stays) == ERR_OK);
    struct wal_counts before = wal_state_counts(state), after = wal_state_counts(again);
    ASSERT(before.sessions == after.sessions && before.subscriptions == after.subscriptions);
    ASSERT(before.inbound_ids == after.inbound_ids && after.queued <= before.queued);
    wal_state_destroy(state);
    return again;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    make_file(data, len);
    struct wal_state *state = wal_state_create();
    ASSERT(state != NULL);
    const struct wal_snapshot_reader reader = {
        .context = state, .head = take_head, .record = take_record, .damage = take_damage};
    enum err err = wal_snapshot_read(&files, "/", NUMBER, &reader);
    ASSERT(err == ERR_OK || err == ERR_VERSION);
    state = saved(state); /* without what refers to nothing */
    uint64_t queued = wal_state_counts(state).queued;
    state = saved(state);
    ASSERT(wal_state_counts(state).queued == queued);
    wal_state_destroy(state);
    return 0;
}
