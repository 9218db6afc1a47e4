/*
 * Input: a story, two bytes a step: batches are appended, synced, segments sealed and dropped,
 * calls to the file system fail, the process is killed, the power is lost, bytes of the disk
 * change.
 *
 * After each start: every batch is there whole or not at all, in order, and was appended before.
 * All that a sync said to be safe is there, and there are no gaps, unless bytes were changed.
 */
#include "base/log.h"
#include "storage/wal_log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/storage/faulty_files_support.h"

#include <errno.h>
#include <stdio.h>

#define DIR "wal"
#define SEGMENT_BYTES 10240u
#define STEPS_MAX 400u

/* A record is its batch number, how many records the batch has, which one it is, and filling. */
struct record_head {
    uint32_t batch;
    uint16_t count;
    uint16_t index;
};

struct story {
    struct faulty_files faulty;
    struct storage_stats stats;
    struct wal_log *log;
    uint64_t first;    /* segment */
    uint32_t dropped;  /* batches up to here are not needed */
    uint32_t appended; /* the last one */
    uint32_t synced;
    uint32_t expected; /* at least up to here at the next start */
    bool changed;      /* bytes of the disk */
    uint32_t found;    /* the last one of this reading */
    uint16_t index;    /* of the next record */
};

static uint8_t filling(uint32_t batch, size_t i)
{
    return (uint8_t)(batch * 17 + i);
}

static enum err take(void *context, struct wal_place place, struct slice record)
{
    struct story *story = context;
    struct record_head head;
    ASSERT(record.len >= sizeof(head) && place.len == record.len);
    memcpy(&head, record.data, sizeof(head));
    for (size_t i = sizeof(head); i < record.len; i++) {
        ASSERT(record.data[i] == filling(head.batch, i));
    }
    ASSERT(head.index == story->index && head.index < head.count);
    ASSERT(head.batch <= story->appended + 1); /* one that failed may be there */
    if (head.index == 0) {
        ASSERT(head.batch > story->found);
        ASSERT(story->changed || head.batch == story->found + 1);
        story->found = head.batch;
    }
    ASSERT(head.batch == story->found);
    story->index = head.index + 1 == head.count ? 0 : (uint16_t)(head.index + 1);
    return ERR_OK;
}

static void take_damage(void *context, uint64_t segment, uint64_t offset, uint64_t len,
                        const char *path)
{
    struct story *story = context;
    (void)segment;
    (void)offset;
    (void)len;
    ASSERT(story->changed || (path != NULL && path[0] == '\0')); /* else only an end is cut */
}

/* Opens the log; false: a call was made to fail. */
static bool start(struct story *story)
{
    struct wal_log_config config = {.dir = DIR,
                                    .segment_bytes = SEGMENT_BYTES,
                                    .first = story->first,
                                    .no_background = true,
                                    .files = &story->faulty.files,
                                    .stats = &story->stats};
    struct wal_log_reader reader = {.context = story, .record = take, .damage = take_damage};
    unsigned failed = story->faulty.failed;
    story->found = story->dropped;
    story->index = 0;
    if (wal_log_open(&config, &story->log) != ERR_OK) {
        story->log = NULL;
        return false;
    }
    if (wal_log_read(story->log, &reader) != ERR_OK) {
        wal_log_close(story->log);
        story->log = NULL;
        return false;
    }
    ASSERT(story->index == 0);
    ASSERT(story->changed || story->found >= story->expected);
    /* after a change numbers are not used again: what was broken may be mended by another one */
    if (!story->changed || story->found > story->appended) {
        story->appended = story->found;
    }
    if (story->faulty.failed == failed) {
        story->synced = story->found; /* also what a killed process had not synced */
    }
    return true;
}

static void stop(struct story *story, enum faulty_loss loss, uint64_t seed)
{
    faulty_files_freeze(&story->faulty, 1);
    wal_log_close(story->log);
    story->log = NULL;
    faulty_files_restart(&story->faulty, loss, seed);
    story->expected = loss == LOSS_NONE ? story->appended : story->synced;
}

static void append(struct story *story, uint8_t argument)
{
    uint32_t batch = story->appended + 1;
    uint16_t count = (uint16_t)(argument % 4); /* 0: an empty batch, which is not seen again */
    size_t len = sizeof(struct record_head) + (size_t)(argument / 4) * 13;
    uint8_t records[4 * (sizeof(struct record_head) + 64 * 13)];
    size_t ends[4];
    for (uint16_t index = 0; index < count; index++) {
        uint8_t *at = records + index * len;
        struct record_head head = {.batch = batch, .count = count, .index = index};
        memcpy(at, &head, sizeof(head));
        for (size_t i = sizeof(head); i < len; i++) {
            at[i] = filling(batch, i);
        }
        ends[index] = (index + 1) * len;
    }
    enum err err = wal_log_append(story->log, slice_of(records, count * len), ends, count);
    ASSERT(err == ERR_OK || err == ERR_IO || err == ERR_FULL);
    if (err == ERR_OK && count > 0) {
        story->appended = batch;
    }
}

static void sync_all(struct story *story)
{
    if (wal_log_sync(story->log) == ERR_OK) {
        story->synced = story->appended;
    }
}

/* As an engine does after a snapshot. */
static void drop(struct story *story)
{
    if (wal_log_sync(story->log) != ERR_OK) {
        return;
    }
    story->synced = story->appended;
    story->first = wal_log_seal(story->log);
    story->dropped = story->appended;
    enum err err = wal_log_drop(story->log, story->first, NULL, 0);
    ASSERT(err == ERR_OK || err == ERR_IO || err == ERR_FULL);
}

/* A place in the two headers, or in the frames. */
static size_t spot(size_t len, uint8_t argument)
{
    if (argument < 16) {
        return argument / 2 * 6u + argument % 2 * 4096u;
    }
    return 8192 + (len - 8192) * argument / 256;
}

static void change_byte(struct story *story, uint8_t argument)
{
    char path[64];
    for (uint64_t segment = story->first + 8; segment-- > story->first;) {
        size_t len;
        (void)snprintf(path, sizeof(path), DIR "/log.%016llu", (unsigned long long)segment);
        const uint8_t *data = faulty_files_data(&story->faulty, path, &len);
        if (data != NULL && len > 8192) {
            faulty_files_spoil(&story->faulty, path, spot(len, argument));
            story->changed = true;
            return;
        }
    }
}

static void step(struct story *story, uint8_t what, uint8_t argument)
{
    switch (what % 16) {
    case 0:
        sync_all(story);
        break;
    case 1:
        (void)wal_log_seal(story->log);
        break;
    case 2:
        drop(story);
        break;
    case 3:
        faulty_files_fail(&story->faulty, 1 + argument % 8, 1 + argument / 128,
                          argument % 2 == 0 ? EIO : ENOSPC, argument % 3 == 0);
        break;
    case 4:
        stop(story, LOSS_NONE, 0);
        break;
    case 5:
        stop(story, LOSS_ALL, 0);
        break;
    case 6:
        stop(story, LOSS_SOME, argument);
        break;
    case 7:
        stop(story, LOSS_NONE, 0);
        change_byte(story, argument);
        break;
    case 8:
        wal_log_close(story->log);
        story->log = NULL;
        story->faulty.fail_at = 0;
        story->expected = story->appended;
        break;
    default:
        append(story, argument);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct story beginning = {.first = 1};
    struct story story = beginning;
    enum err err = log_set_filter("off");
    ASSERT(err == ERR_OK);
    faulty_files_init(&story.faulty);
    for (size_t at = 0; at + 2 <= len && at < 2 * STEPS_MAX; at += 2) {
        while (story.log == NULL && !start(&story)) {
            ASSERT(story.faulty.failed > 0); /* calls fail a few times only */
        }
        step(&story, data[at], data[at + 1]);
    }
    wal_log_close(story.log);
    faulty_files_fini(&story.faulty);
    return 0;
}
