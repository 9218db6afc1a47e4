#include "tests/unit/storage/wal_rig_support.h"

#include <errno.h>
#include <fcntl.h>

#include "base/crc32c.h"
#include "base/log.h"

#define SMALL_SEGMENT 12288u /* 4 KiB of frames */
#define FRAMES_AT 8192u

/* ---- damage ---------------------------------------------------------------------------------- */

static void assert_prefix(const struct wal_rig *rig)
{
    for (size_t i = 0; i < rig->found_count; i++) {
        assert_int_equal(rig->found[i], i + 1);
    }
}

static void every_truncation_leaves_a_prefix_that_can_be_continued(void **state)
{
    (void)state;
    struct wal_rig whole;
    rig_init_filled(&whole, 8);
    size_t len;
    assert_non_null(faulty_files_data(&whole.faulty, rig_path(1), &len));
    size_t found = 8;
    for (size_t cut = FRAMES_AT + 8 * 80; cut > 0; cut--) {
        struct wal_rig rig;
        rig_init(&rig, SMALL_SEGMENT);
        faulty_files_copy(&rig.faulty, &whole.faulty);
        faulty_files_truncate(&rig.faulty, rig_path(1), cut);
        assert_int_equal(rig_open(&rig), ERR_OK);
        assert_prefix(&rig);
        assert_true(rig.found_count <= found); /* the shorter the file, the shorter the prefix */
        found = rig.found_count;
        rig_fill(&rig, (unsigned)found + 1, (unsigned)found + 3, 30);
        rig_kill(&rig, LOSS_ALL, 0);
        assert_int_equal(rig_open(&rig), ERR_OK);
        assert_found(&rig, 1, (unsigned)found + 3);
        rig_fini(&rig);
    }
    assert_int_equal(found, 0);
    rig_fini(&whole);
}

static void a_flipped_byte_takes_one_batch_and_no_other(void **state)
{
    (void)state;
    struct wal_rig whole;
    rig_init_filled(&whole, 8);
    size_t len;
    const uint8_t *bytes = faulty_files_data(&whole.faulty, rig_path(1), &len);
    size_t end = FRAMES_AT + 8 * 67 + 24;
    unsigned flips_missed = 0;
    for (size_t at = 0; at < end; at++) {
        struct wal_rig rig;
        rig_init(&rig, SMALL_SEGMENT);
        faulty_files_copy(&rig.faulty, &whole.faulty);
        faulty_files_data(&rig.faulty, rig_path(1), &len)[at] ^= 0x40;
        assert_int_equal(rig_open(&rig), ERR_OK);
        unsigned missing = rig_missing(&rig, 8);
        if (at < FRAMES_AT) {
            assert_int_equal(missing, 0); /* the header stands there twice */
        } else if (missing == 0) {
            flips_missed++; /* in the word at the end that all was synced */
        } else {
            assert_int_equal(rig.damage_count, 1);
            assert_false(rig.damages[0].is_cut);
            assert_true(rig.damages[0].offset <= at);
            assert_true(at < rig.damages[0].offset + rig.damages[0].len);
            size_t copy_len;
            const uint8_t *copy = faulty_files_data(&rig.faulty, rig.damages[0].path, &copy_len);
            assert_non_null(copy);
            assert_int_equal(copy_len, rig.damages[0].len);
            assert_int_equal(copy[at - rig.damages[0].offset], bytes[at] ^ 0x40);
            assert_int_equal(stat_get(&rig.stats, STAT_QUARANTINED_BYTES), copy_len);
        }
        rig_fill(&rig, 9, 9, 20);
        rig_fini(&rig);
    }
    assert_int_equal(flips_missed, 24);
    rig_fini(&whole);
}

static void damage_is_copied_once_however_often_the_log_is_opened(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init_filled(&rig, 8);
    size_t len;
    faulty_files_data(&rig.faulty, rig_path(1), &len)[FRAMES_AT + 100] ^= 1;
    for (unsigned start = 0; start < 3; start++) {
        assert_int_equal(rig_open(&rig), ERR_OK);
        assert_int_equal(rig.damage_count, 1);
        assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/quarantine."), 1);
        uint8_t *copy = faulty_files_data(&rig.faulty, rig.damages[0].path, &len);
        assert_non_null(copy);
        assert_true(start == 0 || copy[0] == 0xaa); /* not written again */
        copy[0] = 0xaa;
        rig_close(&rig);
    }
    rig_fini(&rig);
}

static void damage_can_be_refused_and_then_nothing_is_changed(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init_filled(&rig, 8);
    size_t len;
    faulty_files_data(&rig.faulty, rig_path(1), &len)[FRAMES_AT + 100] ^= 1;
    rig.config.damage = DAMAGE_REFUSE;
    unsigned writes = rig.faulty.calls_of[CALL_WRITE];
    assert_int_equal(rig_open(&rig), ERR_DAMAGED);
    assert_int_equal(rig.damage_count, 1);
    assert_string_equal(rig.damages[0].path, "");
    assert_false(rig.damages[0].is_cut);
    assert_int_equal(rig.faulty.calls_of[CALL_WRITE], writes);
    assert_int_equal(rig.faulty.calls_of[CALL_RENAME] + rig.faulty.calls_of[CALL_UNLINK], 0);
    rig_fini(&rig);
}

static void an_unfinished_end_is_no_damage_to_refuse(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init_filled(&rig, 8);
    faulty_files_truncate(&rig.faulty, rig_path(1), FRAMES_AT + 7 * 67 + 30);
    rig.config.damage = DAMAGE_REFUSE;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 7);
    assert_int_equal(rig.damage_count, 1);
    assert_true(rig.damages[0].is_cut);
    assert_int_equal(rig.damages[0].len, 30);
    assert_int_equal(stat_get(&rig.stats, STAT_CUT_BYTES), 30);
    rig_fini(&rig);
}

static void a_missing_segment_in_the_middle_is_damage(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    for (unsigned segment = 1; segment <= 3; segment++) {
        rig_fill(&rig, segment * 10, segment * 10 + 9, 50);
        (void)wal_log_seal(rig.log);
    }
    rig_close(&rig);
    faulty_files_remove(&rig.faulty, rig_path(2));
    rig.config.damage = DAMAGE_REFUSE;
    assert_int_equal(rig_open(&rig), ERR_DAMAGED);
    rig.config.damage = DAMAGE_QUARANTINE;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(rig.found_count, 20);
    assert_int_equal(rig.found[9], 19);
    assert_int_equal(rig.found[10], 30);
    assert_int_equal(rig.damage_count, 1);
    assert_int_equal(rig.damages[0].segment, 2);
    assert_int_equal(rig.damages[0].len, 0);
    rig_fini(&rig);
}

static void damage_at_the_end_of_a_sealed_segment_shows(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 5, 20);
    (void)wal_log_seal(rig.log);
    rig_fill(&rig, 6, 6, 20);
    rig_close(&rig);
    faulty_files_spoil(&rig.faulty, rig_path(1), FRAMES_AT + 4 * 67 + 40);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(rig_missing(&rig, 6), 5);
    assert_int_equal(rig.damage_count, 1);
    assert_int_equal(rig.damages[0].offset, FRAMES_AT + 4 * 67);
    rig_fini(&rig);
}

/* Batches that were synced together: one is broken later, the process had no orderly end. */
static void damage_takes_no_neighbours_though_they_were_synced_at_once(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    for (unsigned batch = 1; batch <= 5; batch++) {
        assert_int_equal(rig_append(&rig, batch, 2, 20), ERR_OK);
    }
    assert_int_equal(wal_log_sync(rig.log), ERR_OK);
    rig_kill(&rig, LOSS_NONE, 0);
    faulty_files_spoil(&rig.faulty, rig_path(1), FRAMES_AT + 67 + 40);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(rig_missing(&rig, 5), 2);
    assert_int_equal(rig.damage_count, 1);
    assert_false(rig.damages[0].is_cut);
    rig_fini(&rig);
}

static void a_read_that_fails_once_or_twice_is_no_damage(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned call = 1; failed; call++) {
        for (unsigned count = 1; count <= 2; count++) {
            struct wal_rig rig;
            rig_init_filled(&rig, 8);
            faulty_files_fail(&rig.faulty, call, count, EIO, false);
            while (rig_open(&rig) != ERR_OK) {
                assert_true(rig.faulty.failed <= count);
            }
            failed = rig.faulty.failed > 0;
            assert_found(&rig, 1, 8);
            assert_int_equal(rig.damage_count, 0);
            rig_fini(&rig);
        }
    }
}

static void a_segment_without_its_header_is_set_aside_as_a_whole(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 9, 50);
    (void)wal_log_seal(rig.log);
    rig_fill(&rig, 10, 19, 50);
    rig_close(&rig);
    size_t len;
    uint8_t *data = faulty_files_data(&rig.faulty, rig_path(1), &len);
    memset(data, 0, FRAMES_AT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 10, 19);
    assert_int_equal(rig.damage_count, 1);
    assert_int_equal(rig.damages[0].segment, 1);
    assert_int_equal(rig.damages[0].offset, 0);
    const uint8_t *copy = faulty_files_data(&rig.faulty, rig.damages[0].path, &len);
    assert_non_null(copy);
    assert_true(len > FRAMES_AT + 9 * 100);
    assert_memory_equal(copy, data, len);
    rig_fini(&rig);
}

static void a_bad_spot_on_the_disk_takes_one_batch(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, (uint64_t)1 << 17);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 8, 6000);
    rig_close(&rig);
    rig.faulty.bad_path = rig_path(1);
    rig.faulty.bad_from = 46000; /* in a page of the fourth batch */
    rig.faulty.bad_to = rig.faulty.bad_from + 512;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(rig_missing(&rig, 8), 4);
    assert_int_equal(rig.damage_count, 1);
    rig_fill(&rig, 9, 9, 100);
    rig_close(&rig);
    assert_int_equal(faulty_files_count(&rig.faulty, rig_path(2)), 1); /* not over a bad spot */
    rig.faulty.bad_path = NULL;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 9); /* it can be read again: so much the better */
    rig_fini(&rig);
}

static void a_spot_that_is_read_at_the_third_attempt_is_not_bad(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init_filled(&rig, 8);
    rig.faulty.bad_path = rig_path(1);
    rig.faulty.bad_from = FRAMES_AT + 100;
    rig.faulty.bad_to = rig.faulty.bad_from + 512;
    rig.faulty.bad_times = 2;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_null(rig.faulty.bad_path);
    assert_found(&rig, 1, 8);
    assert_int_equal(rig.damage_count, 0);
    rig_fini(&rig);
}

static void a_copy_of_a_segment_by_another_name_is_not_read(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init_filled(&rig, 3);
    const struct files *files = &rig.faulty.files;
    int fd = files->open(files->context, RIG_DIR "/log.1", O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(files->close(files->context, fd), 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 3);
    rig_fini(&rig);
}

static void a_segment_of_a_newer_format_is_not_touched(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init_filled(&rig, 2);
    size_t len;
    uint8_t *header = faulty_files_data(&rig.faulty, rig_path(1), &len);
    header[12] = 2; /* the version, */
    uint32_t crc = crc32c(0, header + 12, 36);
    for (unsigned i = 0; i < 4; i++) {
        header[8 + i] = (uint8_t)(crc >> (8 * i));
    }
    unsigned writes = rig.faulty.calls_of[CALL_WRITE];
    assert_int_equal(rig_open(&rig), ERR_VERSION);
    assert_int_equal(rig.faulty.calls_of[CALL_WRITE], writes);
    rig_fini(&rig);
}

static enum err refuse_record(void *context, struct wal_place place, struct slice record)
{
    (void)place;
    (void)record;
    unsigned *left = context;
    return (*left)-- > 0 ? ERR_OK : ERR_MEMORY;
}

static void an_error_of_who_takes_the_records_ends_the_reading(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init_filled(&rig, 8);
    unsigned left = 5;
    struct wal_log_reader reader = {.context = &left, .record = refuse_record};
    assert_int_equal(wal_log_open(&rig.config, &rig.log), ERR_OK);
    assert_int_equal(wal_log_read(rig.log, &reader), ERR_MEMORY);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 8);
    rig_fini(&rig);
}

static void a_bad_spot_at_the_end_is_not_written_over(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, (uint64_t)1 << 17);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 8, 6000);
    rig_kill(&rig, LOSS_NONE, 0);
    rig.faulty.bad_path = rig_path(1);
    rig.faulty.bad_from = 96000; /* in a page of the last batch */
    rig.faulty.bad_to = rig.faulty.bad_from + 512;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 7);
    rig_fill(&rig, 8, 9, 100);
    assert_int_equal(faulty_files_count(&rig.faulty, rig_path(2)), 1);
    rig.faulty.bad_path = NULL;
    rig_kill(&rig, LOSS_ALL, 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 9);
    rig_fini(&rig);
}

int main(void)
{
    assert_int_equal(log_set_filter("off"), ERR_OK); /* failures are made on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_leaves_a_prefix_that_can_be_continued),
        cmocka_unit_test(a_flipped_byte_takes_one_batch_and_no_other),
        cmocka_unit_test(damage_is_copied_once_however_often_the_log_is_opened),
        cmocka_unit_test(damage_can_be_refused_and_then_nothing_is_changed),
        cmocka_unit_test(an_unfinished_end_is_no_damage_to_refuse),
        cmocka_unit_test(a_missing_segment_in_the_middle_is_damage),
        cmocka_unit_test(damage_at_the_end_of_a_sealed_segment_shows),
        cmocka_unit_test(damage_takes_no_neighbours_though_they_were_synced_at_once),
        cmocka_unit_test(a_read_that_fails_once_or_twice_is_no_damage),
        cmocka_unit_test(a_segment_without_its_header_is_set_aside_as_a_whole),
        cmocka_unit_test(a_bad_spot_on_the_disk_takes_one_batch),
        cmocka_unit_test(a_bad_spot_at_the_end_is_not_written_over),
        cmocka_unit_test(a_spot_that_is_read_at_the_third_attempt_is_not_bad),
        cmocka_unit_test(a_copy_of_a_segment_by_another_name_is_not_read),
        cmocka_unit_test(a_segment_of_a_newer_format_is_not_touched),
        cmocka_unit_test(an_error_of_who_takes_the_records_ends_the_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
