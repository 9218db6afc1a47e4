#include "tests/unit/storage/wal_rig_support.h"

#include <fcntl.h>
#include <sched.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"

#define SMALL_SEGMENT 12288u /* 4 KiB of frames */
#define FRAMES_AT 8192u

static void an_empty_folder_is_an_empty_log(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(rig.found_count, 0);
    assert_int_equal(wal_log_bytes(rig.log), 0);
    rig_fini(&rig);
}

static void what_was_appended_is_read_again_in_order(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 100, 100); /* over several segments */
    assert_int_equal(rig_append(&rig, 101, 1, 16), ERR_OK);
    uint64_t bytes = wal_log_bytes(rig.log);
    assert_true(bytes > 100 * 2 * 100);
    rig_close(&rig);
    assert_true(faulty_files_count(&rig.faulty, RIG_DIR "/log.") > 3);

    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 101);
    assert_int_equal(rig.damage_count, 0);
    assert_true(wal_log_bytes(rig.log) >= bytes);
    assert_true(wal_log_bytes(rig.log) < bytes + 100); /* a word at the end that all was synced */
    assert_int_equal(stat_get(&rig.stats, STAT_LOG_BYTES), wal_log_bytes(rig.log));
    rig_fill(&rig, 102, 110, 100);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 110);
    rig_fini(&rig);
}

static void a_killed_process_loses_nothing(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    for (unsigned batch = 1; batch <= 30; batch++) {
        assert_int_equal(rig_append(&rig, batch, 3, 50), ERR_OK);
    }
    rig_kill(&rig, LOSS_NONE, 0);
    unsigned syncs = rig.faulty.calls_of[CALL_DATASYNC];
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 30);
    assert_int_equal(rig.faulty.calls_of[CALL_DATASYNC], syncs + 2); /* it is safe, and said so */
    rig_kill(&rig, LOSS_ALL, 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 30);
    rig_fini(&rig);
}

static void records_of_any_length_keep_their_bounds(void **state)
{
    (void)state;
    static const size_t lengths[] = {16, 127, 128, 129, 16383, 16384, 16385, 2097152, 16777216};
    struct wal_rig rig;
    rig_init(&rig, (uint64_t)1 << 20);
    assert_int_equal(rig_open(&rig), ERR_OK);
    for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++) {
        assert_int_equal(rig_append(&rig, i + 1, 2, lengths[i]), ERR_OK);
    }
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, ARRAY_COUNT(lengths));
    rig_fini(&rig);
}

static unsigned empty_records;

static enum err take_empty_record(void *context, struct wal_place place, struct slice record)
{
    (void)context;
    assert_int_equal(place.len, 0);
    assert_int_equal(record.len, 0);
    empty_records++;
    return ERR_OK;
}

static void records_may_be_empty(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    size_t ends[3] = {0, 0, 0};
    assert_int_equal(wal_log_append(rig.log, slice_of("", 0), ends, 3), ERR_OK);
    rig_close(&rig);
    struct wal_scan scan = {
        .dir = RIG_DIR, .files = &rig.faulty.files, .first = 1, .last = UINT64_MAX};
    struct wal_log_reader reader = {.record = take_empty_record};
    empty_records = 0;
    assert_int_equal(wal_log_scan(&scan, &reader), ERR_OK);
    assert_int_equal(empty_records, 3);
    rig_fini(&rig);
}

static void a_place_leads_to_its_record(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 7, 9, 300);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), ERR_OK);
    size_t len;
    const uint8_t *file = faulty_files_data(&rig.faulty, rig_path(rig.first_place.segment), &len);
    assert_non_null(file);
    assert_int_equal(rig.first_place.len, 300);
    uint32_t batch;
    memcpy(&batch, file + rig.first_place.offset, sizeof(batch));
    assert_int_equal(batch, 7);
    rig_fini(&rig);
}

static void a_batch_that_is_too_large_for_any_segment_is_refused(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    size_t end = ((size_t)1 << 30) + 1;
    struct slice huge = slice_of("", end); /* refused before it is looked at */
    assert_int_equal(wal_log_append(rig.log, huge, &end, 1), ERR_RANGE);
    rig_fill(&rig, 1, 1, 100);
    rig_fini(&rig);
}

/* ---- segments come and go -------------------------------------------------------------------- */

static void a_sealed_segment_never_changes(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 3, 100);
    uint64_t next = wal_log_seal(rig.log);
    assert_int_equal(next, 2);
    assert_int_equal(wal_log_seal(rig.log), next);
    size_t len;
    const uint8_t *data = faulty_files_data(&rig.faulty, rig_path(1), &len);
    uint8_t before[SMALL_SEGMENT];
    assert_true(len <= sizeof(before));
    memcpy(before, data, len);
    rig_fill(&rig, 4, 6, 100);
    assert_non_null(faulty_files_data(&rig.faulty, rig_path(2), &len));
    rig_close(&rig);
    data = faulty_files_data(&rig.faulty, rig_path(1), &len);
    assert_memory_equal(before, data, len);

    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 6);
    rig_fini(&rig);
}

static void dropped_segments_are_used_again_and_their_past_stays_dead(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    unsigned batch = 1;
    for (unsigned round = 0; round < 10; round++) {
        unsigned from = batch;
        rig_fill(&rig, from, from + 39, 100); /* two segments and more */
        batch += 40;
        rig.config.first = wal_log_seal(rig.log);
        rig_fill(&rig, batch, batch, 20);
        assert_int_equal(wal_log_drop(rig.log, rig.config.first, NULL, 0), ERR_OK);
        size_t spares = faulty_files_count(&rig.faulty, RIG_DIR "/spare.");
        assert_in_range(spares, 2, 3); /* once there are enough they go round */
        assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/log."), 1);
        assert_int_equal(stat_get(&rig.stats, STAT_DISK_BYTES), faulty_files_bytes(&rig.faulty));
        rig_close(&rig);
        assert_int_equal(rig_open(&rig), ERR_OK);
        assert_found(&rig, batch, batch);
        assert_int_equal(rig.damage_count, 0);
        assert_int_equal(stat_get(&rig.stats, STAT_DISK_BYTES), faulty_files_bytes(&rig.faulty));
        batch++;
    }
    rig_fini(&rig);
}

static void not_all_files_are_kept_for_later(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 1, 10000); /* a larger file: not one to use again */
    rig_fill(&rig, 2, 200, 200);
    assert_true(faulty_files_count(&rig.faulty, RIG_DIR "/log.") > 15);
    assert_int_equal(wal_log_drop(rig.log, wal_log_seal(rig.log), NULL, 0), ERR_OK);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/log."), 0);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/spare."), 6);
    assert_int_equal(stat_get(&rig.stats, STAT_DISK_BYTES), 6 * SMALL_SEGMENT);
    assert_int_equal(stat_get(&rig.stats, STAT_LOG_BYTES), 0);
    rig_fini(&rig);
}

static void make_file(struct wal_rig *rig, const char *path, size_t len)
{
    const struct files *files = &rig->faulty.files;
    int fd = files->open(files->context, path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(files->pwrite(files->context, fd, "", 1, (off_t)len - 1), 1);
    assert_int_equal(files->close(files->context, fd), 0);
}

static void spare_files_that_are_found_are_used_if_they_fit(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    make_file(&rig, RIG_DIR "/spare.1", SMALL_SEGMENT - 1);
    make_file(&rig, RIG_DIR "/spare.2", SMALL_SEGMENT + 1);
    for (unsigned i = 3; i < 12; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), RIG_DIR "/spare.%u", i);
        make_file(&rig, path, SMALL_SEGMENT);
    }
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/spare."), 6);
    assert_int_equal(faulty_files_bytes(&rig.faulty), 6 * SMALL_SEGMENT);
    assert_int_equal(stat_get(&rig.stats, STAT_DISK_BYTES), 6 * SMALL_SEGMENT);
    rig_fill(&rig, 1, 1, 100);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/spare."), 5);
    assert_int_equal(faulty_files_bytes(&rig.faulty), 6 * SMALL_SEGMENT);
    rig_fini(&rig);
}

static void what_is_not_synced_is_not_dropped(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 1, 100);
    assert_int_equal(rig_append(&rig, 2, 1, 100), ERR_OK);
    uint64_t next = wal_log_seal(rig.log);
    assert_int_equal(wal_log_drop(rig.log, next, NULL, 0), ERR_OK);
    assert_int_equal(faulty_files_count(&rig.faulty, rig_path(1)), 1);
    assert_int_equal(wal_log_sync(rig.log), ERR_OK);
    assert_int_equal(wal_log_drop(rig.log, next, NULL, 0), ERR_OK);
    assert_int_equal(faulty_files_count(&rig.faulty, rig_path(1)), 0);
    rig_fini(&rig);
}

static void a_segment_made_of_a_spare_file_is_written_once(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 80, 100);
    uint64_t first = wal_log_seal(rig.log);
    rig_fill(&rig, 81, 81, 100);
    assert_int_equal(wal_log_drop(rig.log, first, NULL, 0), ERR_OK);
    (void)wal_log_seal(rig.log);
    int64_t before = stat_get(&rig.stats, STAT_BYTES_WRITTEN);
    unsigned writes = rig.faulty.calls_of[CALL_WRITE];
    unsigned syncs = rig.faulty.calls_of[CALL_DATASYNC];
    rig_fill(&rig, 82, 91, 100);
    assert_int_equal(rig.faulty.calls_of[CALL_WRITE] - writes, 11); /* and the header */
    assert_int_equal(rig.faulty.calls_of[CALL_DATASYNC] - syncs, 10);
    int64_t written = stat_get(&rig.stats, STAT_BYTES_WRITTEN) - before;
    assert_int_equal(written, FRAMES_AT + 10 * (24 + 101 + 102));
    rig_fini(&rig);
}

static void leftovers_below_the_first_segment_are_dropped_but_for_kept_ones(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    for (unsigned segment = 1; segment <= 5; segment++) {
        rig_fill(&rig, segment * 10, segment * 10 + 2, 100);
        (void)wal_log_seal(rig.log);
    }
    rig_close(&rig);
    uint64_t keep[] = {2, 3};
    rig.config.first = 5;
    rig.config.keep = keep;
    rig.config.keep_count = 2;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 50, 52);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/log."), 3);

    struct wal_scan scan = {
        .dir = RIG_DIR, .files = &rig.faulty.files, .first = 3, .last = 3, .every_frame = true};
    assert_int_equal(rig_scan(&rig, &scan), ERR_OK);
    assert_found(&rig, 30, 32);
    assert_int_equal(wal_log_drop(rig.log, 5, keep, 1), ERR_OK);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/log."), 2);
    rig_fini(&rig);
}

static void a_scan_reads_sealed_segments_while_others_are_written(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 50, 100);
    uint64_t next = wal_log_seal(rig.log);
    assert_int_equal(rig_append(&rig, 51, 1, 100), ERR_OK);
    struct wal_scan scan = {
        .dir = RIG_DIR, .files = &rig.faulty.files, .first = 1, .last = next - 1};
    assert_int_equal(rig_scan(&rig, &scan), ERR_OK);
    assert_found(&rig, 1, 50);
    assert_int_equal(rig.damage_count, 0);
    scan.last = UINT64_MAX;
    assert_int_equal(rig_scan(&rig, &scan), ERR_OK);
    assert_found(&rig, 1, 51);
    rig_fini(&rig);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Waits until `count` spare files are there and whole; false: not within 20 seconds. */
static bool wait_for_spares(struct wal_rig *rig, int64_t bytes)
{
    uint64_t deadline = clock_mono_ms() + 20000;
    while (stat_get(&rig->stats, STAT_DISK_BYTES) < bytes) {
        if (clock_mono_ms() > deadline) {
            return false;
        }
        (void)sched_yield();
    }
    return true;
}

static void the_next_segment_is_written_with_zeros_beforehand(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, (uint64_t)1 << 20);
    rig.config.no_background = false;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_true(wait_for_spares(&rig, 1 << 20));
    rig_fill(&rig, 1, 1, 1000);
    assert_true(wait_for_spares(&rig, 2 << 20)); /* that one was taken, here is the next */
    rig_close(&rig);
    size_t len;
    (void)faulty_files_data(&rig.faulty, rig_path(1), &len);
    assert_int_equal(len, 1 << 20);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/spare."), 1);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 1);
    rig_fini(&rig);
}

static void segments_can_be_had_faster_than_the_thread_makes_them(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, (uint64_t)1 << 16);
    rig.config.no_background = false;
    assert_int_equal(rig_open(&rig), ERR_OK);
    unsigned batch = 1;
    for (unsigned round = 0; round < 20; round++) {
        rig_fill(&rig, batch, batch + 19, 10000);
        batch += 20;
        rig.config.first = wal_log_seal(rig.log);
        assert_int_equal(wal_log_drop(rig.log, rig.config.first, NULL, 0), ERR_OK);
    }
    rig_fill(&rig, batch, batch + 9, 10000);
    rig_close(&rig);
    assert_true(faulty_files_count(&rig.faulty, RIG_DIR "/spare.") <= 6);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, batch, batch + 9);
    rig_fini(&rig);
}

static void a_thread_that_finds_no_room_leaves_it_to_the_log(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, (uint64_t)1 << 20);
    rig.config.no_background = false;
    rig.faulty.room = 300000;
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 20, 1000); /* in a file that grows, if they have to be */
    rig_close(&rig);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/spare."), 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 20);
    rig_fini(&rig);
}

int main(void)
{
    assert_int_equal(log_set_filter("off"), ERR_OK); /* failures are made on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_folder_is_an_empty_log),
        cmocka_unit_test(what_was_appended_is_read_again_in_order),
        cmocka_unit_test(a_killed_process_loses_nothing),
        cmocka_unit_test(records_of_any_length_keep_their_bounds),
        cmocka_unit_test(records_may_be_empty),
        cmocka_unit_test(a_place_leads_to_its_record),
        cmocka_unit_test(a_batch_that_is_too_large_for_any_segment_is_refused),
        cmocka_unit_test(a_sealed_segment_never_changes),
        cmocka_unit_test(dropped_segments_are_used_again_and_their_past_stays_dead),
        cmocka_unit_test(not_all_files_are_kept_for_later),
        cmocka_unit_test(spare_files_that_are_found_are_used_if_they_fit),
        cmocka_unit_test(what_is_not_synced_is_not_dropped),
        cmocka_unit_test(a_segment_made_of_a_spare_file_is_written_once),
        cmocka_unit_test(leftovers_below_the_first_segment_are_dropped_but_for_kept_ones),
        cmocka_unit_test(a_scan_reads_sealed_segments_while_others_are_written),
        cmocka_unit_test(the_next_segment_is_written_with_zeros_beforehand),
        cmocka_unit_test(segments_can_be_had_faster_than_the_thread_makes_them),
        cmocka_unit_test(a_thread_that_finds_no_room_leaves_it_to_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
