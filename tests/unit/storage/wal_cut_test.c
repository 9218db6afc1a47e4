#include "tests/unit/storage/wal_rig_support.h"

#include <errno.h>

#include "base/log.h"

#define SMALL_SEGMENT 12288u /* 4 KiB of frames */
#define FRAMES_AT 8192u

/* Batches 1 to 3 were synced, of 4 to 6 the first is broken, as a power loss leaves them. */
static void make_broken_end(struct wal_rig *rig)
{
    rig_init(rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(rig), ERR_OK);
    rig_fill(rig, 1, 3, 100);
    for (unsigned batch = 4; batch <= 6; batch++) {
        assert_int_equal(rig_append(rig, batch, 2, 100), ERR_OK);
    }
    rig_kill(rig, LOSS_NONE, 0);
    faulty_files_spoil(&rig->faulty, rig_path(1), FRAMES_AT + 3 * 227 + 50);
}

/* The cut takes the sound batches, too; one of the length of the broken one, written over it, must
 * not bring them back. */
static void what_was_cut_stays_cut_when_something_is_written_over_it(void **state)
{
    (void)state;
    struct wal_rig rig;
    make_broken_end(&rig);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 3);
    assert_int_equal(rig.damage_count, 1);
    assert_true(rig.damages[0].is_cut);
    assert_int_equal(rig.damages[0].len, 3 * 227);
    rig_fill(&rig, 4, 4, 100);
    rig_kill(&rig, LOSS_ALL, 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 4);
    assert_int_equal(rig.damage_count, 0);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/log."), 1);
    rig_fini(&rig);
}

static void what_was_cut_stays_cut_when_no_zeros_can_be_written(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned call = 1; failed; call++) {
        struct wal_rig rig;
        make_broken_end(&rig);
        faulty_files_fail(&rig.faulty, call, 2, EIO, false);
        while (rig_open(&rig) != ERR_OK) {
            assert_true(rig.faulty.failed <= 2);
        }
        assert_found(&rig, 1, 3);
        failed = rig.faulty.failed > 0;
        while (rig_append(&rig, 4, 2, 100) != ERR_OK) {
            assert_true(rig.faulty.failed <= 2);
        }
        while (wal_log_sync(rig.log) != ERR_OK) {
            assert_true(rig.faulty.failed <= 2);
        }
        rig_kill(&rig, call % 2 == 0 ? LOSS_ALL : LOSS_SOME, call);
        assert_int_equal(rig_open(&rig), ERR_OK);
        assert_found(&rig, 1, 4);
        rig_fini(&rig);
    }
}

static void a_torn_end_is_written_over(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 3, 100);
    assert_int_equal(rig_append(&rig, 4, 2, 100), ERR_OK);
    rig_kill(&rig, LOSS_NONE, 0);
    size_t len;
    faulty_files_data(&rig.faulty, rig_path(1), &len)[FRAMES_AT + 3 * 227 + 50] ^= 1;
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 3);
    rig_fill(&rig, 4, 5, 20);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/log."), 1);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 5);
    assert_int_equal(rig.damage_count, 0);
    rig_fini(&rig);
}

/* A disk may write a block to the wrong place. */
static void a_frame_that_stands_twice_is_given_once(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init_filled(&rig, 8);
    size_t len;
    uint8_t *frames = faulty_files_data(&rig.faulty, rig_path(1), &len) + FRAMES_AT;
    memcpy(frames + 4 * 67, frames + 67, 67);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(rig_missing(&rig, 8), 5);
    assert_int_equal(rig.damage_count, 1);
    rig_fini(&rig);
}

static void a_sound_frame_that_is_not_right_behind_the_last_one_does_not_count(void **state)
{
    (void)state;
    struct wal_rig longer;
    rig_init(&longer, SMALL_SEGMENT);
    assert_int_equal(rig_open(&longer), ERR_OK);
    rig_fill(&longer, 1, 5, 20);
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT); /* has the same random numbers */
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 4, 20);
    rig_kill(&rig, LOSS_NONE, 0);
    size_t len;
    const uint8_t *fifth =
        faulty_files_data(&longer.faulty, rig_path(1), &len) + FRAMES_AT + 4 * 67;
    uint8_t *end = faulty_files_data(&rig.faulty, rig_path(1), &len) + FRAMES_AT + 4 * 67;
    memcpy(end, fifth, 67);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 5); /* here it does */
    rig_kill(&rig, LOSS_ALL, 0);
    end = faulty_files_data(&rig.faulty, rig_path(1), &len) + FRAMES_AT + 4 * 67;
    memset(end, 0, 67);
    memcpy(end + 30, fifth, 67);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 4);
    assert_int_equal(rig.damage_count, 1);
    assert_true(rig.damages[0].is_cut);
    rig_fini(&rig);
    rig_fini(&longer);
}

/*
 * Batches 1 to 3 were synced, 2 is damaged. The only frames that say that it was synced are those
 * of 5 and 6, which are cut, for 4 is missing. All of it is on the disk.
 */
static void make_damage_before_a_cut(struct wal_rig *rig)
{
    rig_init(rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(rig), ERR_OK);
    for (unsigned batch = 1; batch <= 6; batch++) {
        assert_int_equal(rig_append(rig, batch, 2, 20), ERR_OK);
        if (batch == 3) {
            assert_int_equal(wal_log_sync(rig->log), ERR_OK);
        }
    }
    rig_kill(rig, LOSS_NONE, 0);
    faulty_files_spoil(&rig->faulty, rig_path(1), FRAMES_AT + 67 + 40);
    faulty_files_spoil(&rig->faulty, rig_path(1), FRAMES_AT + 3 * 67 + 20);
    size_t len;
    (void)faulty_files_data(&rig->faulty, rig_path(1), &len);
    faulty_files_truncate(&rig->faulty, rig_path(1), len); /* makes it safe */
}

static void assert_1_and_3_were_found(const struct wal_rig *rig)
{
    assert_int_equal(rig->found_count, 2);
    assert_int_equal(rig->found[0], 1);
    assert_int_equal(rig->found[1], 3);
    assert_true(rig->damage_count >= 1);
    assert_int_equal(rig->damages[0].offset, FRAMES_AT + 67);
}

/* What is written again after a start must not be given a new CRC over broken bytes. */
static void damage_before_a_cut_is_not_made_sound(void **state)
{
    (void)state;
    struct wal_rig rig;
    make_damage_before_a_cut(&rig);
    for (unsigned start = 0; start < 3; start++) {
        assert_int_equal(rig_open(&rig), ERR_OK);
        assert_1_and_3_were_found(&rig);
        rig_kill(&rig, LOSS_ALL, 0);
    }
    rig_fini(&rig);
}

static void what_was_synced_behind_damage_survives_a_power_loss_while_it_is_cut(void **state)
{
    (void)state;
    for (unsigned call = 1; call < 40; call++) {
        for (uint64_t seed = 1; seed <= 10; seed++) {
            struct wal_rig rig;
            make_damage_before_a_cut(&rig);
            faulty_files_freeze(&rig.faulty, call);
            (void)rig_open(&rig);
            rig_kill(&rig, LOSS_SOME, seed);
            assert_int_equal(rig_open(&rig), ERR_OK);
            assert_1_and_3_were_found(&rig);
            rig_fini(&rig);
        }
    }
}

/* The frames that were cut had said that those before were synced. */
static void after_a_cut_it_is_still_known_what_was_synced(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    for (unsigned batch = 1; batch <= 6; batch++) {
        assert_int_equal(rig_append(&rig, batch, 2, 20), ERR_OK);
        if (batch == 3) {
            assert_int_equal(wal_log_sync(rig.log), ERR_OK);
        }
    }
    rig_kill(&rig, LOSS_NONE, 0);
    faulty_files_spoil(&rig.faulty, rig_path(1), FRAMES_AT + 3 * 67 + 20);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 3);
    rig_kill(&rig, LOSS_ALL, 0);
    faulty_files_spoil(&rig.faulty, rig_path(1), FRAMES_AT + 67 + 40);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(rig_missing(&rig, 3), 2);
    rig_fini(&rig);
}

/* Whoever could have his payload taken for a frame could write whatever he likes into the store. */
static void a_payload_that_holds_a_frame_is_a_payload(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 3, 100);
    (void)wal_log_seal(rig.log);
    size_t len;
    const uint8_t *frames = faulty_files_data(&rig.faulty, rig_path(1), &len) + FRAMES_AT;
    uint8_t payload[3 * 227];
    memcpy(payload, frames, sizeof(payload));
    uint8_t salt[8];
    memcpy(salt, frames - FRAMES_AT + 24, sizeof(salt));
    size_t end = sizeof(payload);
    assert_int_equal(wal_log_append(rig.log, slice_of(payload, end), &end, 1), ERR_OK);
    assert_int_equal(wal_log_sync(rig.log), ERR_OK);
    rig_fill(&rig, 5, 6, 100);
    rig_close(&rig);
    uint8_t *second = faulty_files_data(&rig.faulty, rig_path(2), &len);
    assert_memory_not_equal(second + 24, salt, sizeof(salt)); /* nobody can guess it */
    second[FRAMES_AT] ^= 1;                                   /* its frame's header is lost */
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_int_equal(rig.found_count, 5);
    assert_int_equal(rig.found[2], 3);
    assert_int_equal(rig.found[3], 5);
    assert_int_equal(rig.damage_count, 1);
    rig_fini(&rig);
}

int main(void)
{
    assert_int_equal(log_set_filter("off"), ERR_OK); /* failures are made on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_cut_stays_cut_when_something_is_written_over_it),
        cmocka_unit_test(what_was_cut_stays_cut_when_no_zeros_can_be_written),
        cmocka_unit_test(a_torn_end_is_written_over),
        cmocka_unit_test(a_frame_that_stands_twice_is_given_once),
        cmocka_unit_test(a_sound_frame_that_is_not_right_behind_the_last_one_does_not_count),
        cmocka_unit_test(damage_before_a_cut_is_not_made_sound),
        cmocka_unit_test(what_was_synced_behind_damage_survives_a_power_loss_while_it_is_cut),
        cmocka_unit_test(after_a_cut_it_is_still_known_what_was_synced),
        cmocka_unit_test(a_payload_that_holds_a_frame_is_a_payload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
