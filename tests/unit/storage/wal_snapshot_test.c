#include "storage/wal_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "storage/wal_snapshot_priv.h"
#include "tests/unit/storage/faulty_files_support.h"

#define DIR "/wal"
#define NUMBER 7u
#define PATH DIR "/snapshot.0000000000000007"
#define RECORDS 300u

static struct faulty_files disk;
static const uint64_t kept[] = {3, 5, 9};

/* What a reading met. */
static struct {
    unsigned heads;
    unsigned records;
    unsigned damages;
    uint64_t damaged_bytes;
    bool no_end;
    unsigned wrong; /* records that were never written */
    unsigned stop_after;
} met;

static int set_up(void **state)
{
    (void)state;
    faulty_files_init(&disk);
    assert_int_equal(disk.files.mkdir(disk.files.context, DIR, 0700), 0);
    assert_int_equal(disk.files.sync_directory(disk.files.context, "/"), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    faulty_files_fini(&disk);
    return 0;
}

/* Record number `i`: its number, and more bytes than a block has for some. */
static size_t make_record(unsigned i, uint8_t *record)
{
    size_t len = 4 + i % 50 + (i % 100 == 99 ? 2 * WAL_BLOCK_BYTES : 0) + (i % 7) * 1000;
    memset(record, (int)i, len);
    memcpy(record, &i, 4);
    return len;
}

static uint8_t record_room[3 * WAL_BLOCK_BYTES];

static enum err write_snapshot(unsigned records)
{
    const struct wal_snapshot_head head = {.number = NUMBER,
                                           .first = 12,
                                           .clock = {.now_ms = 1000, .next_id = 55},
                                           .keep = kept,
                                           .keep_count = ARRAY_COUNT(kept)};
    struct wal_snapshot_writer *writer = NULL;
    uint64_t bytes = 0;
    enum err err = wal_snapshot_create(&disk.files, DIR, &head, &writer);
    for (unsigned i = 0; i < records && err == ERR_OK; i++) {
        size_t len = make_record(i, record_room);
        err = wal_snapshot_add(writer, slice_of(record_room, len));
        if (err != ERR_OK) {
            wal_snapshot_abandon(writer);
        }
    }
    return err == ERR_OK ? wal_snapshot_finish(writer, &bytes) : err;
}

static enum err take_head(void *context, const struct wal_snapshot_head *head)
{
    (void)context;
    met.heads++;
    assert_int_equal(head->number, NUMBER);
    assert_int_equal(head->first, 12);
    assert_int_equal(head->clock.now_ms, 1000);
    assert_int_equal(head->clock.next_id, 55);
    assert_int_equal(head->keep_count, 3);
    assert_memory_equal(head->keep, kept, sizeof(kept));
    return ERR_OK;
}

/* Whether the bytes at `place` of the file are `record`. */
static bool stands_there(struct wal_place place, struct slice record)
{
    size_t len;
    const uint8_t *data = faulty_files_data(&disk, PATH, &len);
    return place.segment == wal_snapshot_segment(NUMBER) && place.len == record.len &&
           place.offset + record.len <= len &&
           memcmp(data + place.offset, record.data, record.len) == 0;
}

static enum err take_record(void *context, struct wal_place place, struct slice record)
{
    (void)context;
    unsigned number = UINT32_MAX;
    if (record.len >= 4) {
        memcpy(&number, record.data, 4);
    }
    bool right = number < RECORDS && make_record(number, record_room) == record.len &&
                 memcmp(record_room, record.data, record.len) == 0 && stands_there(place, record);
    met.wrong += right ? 0 : 1;
    met.records++;
    return met.stop_after > 0 && met.records == met.stop_after ? ERR_STOPPED : ERR_OK;
}

static void take_damage(void *context, uint64_t offset, uint64_t len)
{
    (void)context;
    (void)offset;
    met.damages++;
    met.damaged_bytes += len;
    met.no_end = met.no_end || len == 0;
}

static enum err read_snapshot(bool strict)
{
    const struct wal_snapshot_reader reader = {
        .head = take_head, .record = take_record, .damage = strict ? NULL : take_damage};
    met.heads = met.records = met.damages = met.wrong = 0;
    met.damaged_bytes = 0;
    met.no_end = false;
    return wal_snapshot_read(&disk.files, DIR, NUMBER, &reader);
}

static void names_and_numbers_belong_together(void **state)
{
    (void)state;
    char name[WAL_SNAPSHOT_NAME_SIZE];
    wal_snapshot_name(NUMBER, name);
    assert_string_equal(name, "snapshot.0000000000000007");
    assert_int_equal(wal_snapshot_number(name), NUMBER);
    assert_int_equal(wal_snapshot_number("snapshot.tmp"), 0);
    assert_int_equal(wal_snapshot_number("snapshot.00000000000000007"), 0);
    assert_int_equal(wal_snapshot_number("snapshot.000000000000000x"), 0);
    assert_int_equal(wal_snapshot_number("snapshot.9000000000000000"), 0);
    assert_int_equal(wal_snapshot_number("log.0000000000000007"), 0);
}

static void a_snapshot_comes_back_with_the_places_of_its_records(void **state)
{
    (void)state;
    assert_int_equal(write_snapshot(RECORDS), ERR_OK);
    assert_int_equal(faulty_files_count(&disk, DIR "/snapshot"), 1);
    assert_int_equal(read_snapshot(true), ERR_OK);
    assert_int_equal(met.heads, 1);
    assert_int_equal(met.records, RECORDS);
    assert_int_equal(met.wrong, 0);
}

static void an_empty_snapshot_comes_back(void **state)
{
    (void)state;
    assert_int_equal(write_snapshot(0), ERR_OK);
    assert_int_equal(read_snapshot(true), ERR_OK);
    assert_int_equal(met.heads, 1);
    assert_int_equal(met.records, 0);
}

static void an_error_of_the_reader_ends_the_reading(void **state)
{
    (void)state;
    assert_int_equal(write_snapshot(RECORDS), ERR_OK);
    met.stop_after = 10;
    assert_int_equal(read_snapshot(true), ERR_STOPPED);
    met.stop_after = 0;
    assert_int_equal(met.records, 10);
}

static void a_missing_file_is_damage(void **state)
{
    (void)state;
    assert_int_equal(read_snapshot(true), ERR_DAMAGED);
    assert_int_equal(read_snapshot(false), ERR_OK);
    assert_true(met.no_end);
}

static void a_cut_snapshot_is_never_whole(void **state)
{
    (void)state;
    assert_int_equal(write_snapshot(RECORDS), ERR_OK);
    size_t len;
    (void)faulty_files_data(&disk, PATH, &len);
    unsigned before = RECORDS;
    for (size_t cut = len - 1; cut > 0; cut -= cut > 100000 ? cut / 7 : cut > 200 ? 97 : 1) {
        faulty_files_truncate(&disk, PATH, cut);
        assert_int_equal(read_snapshot(true), ERR_DAMAGED);
        assert_int_equal(read_snapshot(false), ERR_OK);
        assert_true(met.no_end);
        assert_int_equal(met.wrong, 0);
        assert_true(met.records <= before);
        before = met.records;
    }
}

static void a_changed_byte_costs_its_block_only(void **state)
{
    (void)state;
    assert_int_equal(write_snapshot(RECORDS), ERR_OK);
    size_t len;
    uint8_t *data = faulty_files_data(&disk, PATH, &len);
    for (size_t at = 0; at < len; at += at < 400 || at > len - 60 ? 1 : 9973) {
        data[at] ^= 0x10;
        assert_int_equal(read_snapshot(true), ERR_DAMAGED);
        assert_int_equal(read_snapshot(false), ERR_OK);
        assert_int_equal(met.wrong, 0);
        assert_true(met.damages > 0);
        assert_true(met.records >= RECORDS - 100);
        assert_in_range(met.damaged_bytes, 0, 4 * WAL_BLOCK_BYTES);
        data[at] ^= 0x10;
    }
    assert_int_equal(read_snapshot(true), ERR_OK);
}

static void another_number_is_another_snapshot(void **state)
{
    (void)state;
    assert_int_equal(write_snapshot(20), ERR_OK);
    assert_int_equal(disk.files.rename(disk.files.context, PATH, DIR "/snapshot.0000000000000008"),
                     0);
    const struct wal_snapshot_reader reader = {.head = take_head, .record = take_record};
    met.records = 0;
    assert_int_equal(wal_snapshot_read(&disk.files, DIR, 8, &reader), ERR_DAMAGED);
    assert_int_equal(met.records, 0);
}

static void a_newer_version_is_told_apart(void **state)
{
    (void)state;
    assert_int_equal(write_snapshot(20), ERR_OK);
    size_t len;
    uint8_t *data = faulty_files_data(&disk, PATH, &len);
    struct wal_block block;
    assert_true(wal_block_decode(data, &block));
    block.version = WAL_SNAPSHOT_VERSION + 1;
    wal_block_encode(&block, data);
    assert_int_equal(read_snapshot(false), ERR_VERSION);
    assert_int_equal(met.records, 0);
}

static void a_length_that_is_a_lie_costs_nothing(void **state)
{
    (void)state;
    assert_int_equal(write_snapshot(20), ERR_OK);
    size_t len;
    uint8_t *data = faulty_files_data(&disk, PATH, &len);
    struct wal_block block;
    assert_true(wal_block_decode(data, &block));
    block.len = UINT32_MAX;
    wal_block_encode(&block, data);
    assert_int_equal(read_snapshot(false), ERR_OK);
    assert_int_equal(met.heads, 0);
    assert_int_equal(met.records, 20);
}

static void a_crash_while_writing_leaves_nothing_or_all_of_it(void **state)
{
    (void)state;
    for (unsigned loss = LOSS_NONE; loss <= LOSS_SOME; loss++) {
        bool reached = true;
        for (unsigned at = 1; reached; at++) {
            faulty_files_freeze(&disk, at);
            reached = write_snapshot(50) != ERR_OK;
            faulty_files_restart(&disk, (enum faulty_loss)loss, at);
            if (faulty_files_count(&disk, PATH) > 0) {
                assert_int_equal(read_snapshot(true), ERR_OK);
                assert_int_equal(met.records, 50);
                faulty_files_remove(&disk, PATH);
            } else {
                assert_true(reached);
            }
            assert_in_range(at, 1, 200);
        }
    }
}

static void an_error_at_any_call_is_told_and_leaves_no_file(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned at = 1; failed; at++) {
        faulty_files_fail(&disk, at, 1, ENOSPC, true);
        enum err err = write_snapshot(50);
        failed = disk.failed > 0;
        faulty_files_fail(&disk, 0, 0, 0, false);
        assert_int_equal(faulty_files_count(&disk, PATH), err == ERR_OK ? 1 : 0);
        assert_int_equal(faulty_files_count(&disk, DIR "/snapshot.tmp"), 0);
        faulty_files_remove(&disk, PATH);
        assert_in_range(at, 1, 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_belong_together),
        cmocka_unit_test_setup_teardown(a_snapshot_comes_back_with_the_places_of_its_records,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_snapshot_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_of_the_reader_ends_the_reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_file_is_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cut_snapshot_is_never_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_byte_costs_its_block_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_number_is_another_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_version_is_told_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_length_that_is_a_lie_costs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crash_while_writing_leaves_nothing_or_all_of_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_error_at_any_call_is_told_and_leaves_no_file, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
