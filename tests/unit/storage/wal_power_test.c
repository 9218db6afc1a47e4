/*
 * What must hold whatever happens: all that was synced is there, a batch is there whole or not at
 * all, none comes out of nowhere, and what is there has no gaps. Every test runs a story once for
 * each call to the file system that it makes, and lets something go wrong at that call.
 */
#include "tests/unit/storage/wal_rig_support.h"

#include <errno.h>

#include "base/log.h"
#include "base/macros.h"

#define SMALL_SEGMENT 12288u /* 4 KiB of frames */
#define LAST_BATCH 40u

/* What the story was told to be true. */
struct ledger {
    unsigned appended; /* the last batch that append said ERR_OK to */
    unsigned synced;   /* the last batch that sync said ERR_OK to */
    unsigned dropped;  /* batches up to here are not needed any more */
};

struct story {
    unsigned sync_every; /* batches */
    unsigned attempts;   /* at each append, sync and drop, before it is given up */
};

static bool try_append(struct wal_rig *rig, const struct story *story, unsigned batch)
{
    for (unsigned attempt = 0; attempt < story->attempts; attempt++) {
        /* some small, some over several sectors, one larger than a segment */
        size_t len = batch == 25 ? 3000 : 16 + (batch * 97) % 400;
        if (rig_append(rig, batch, 1 + batch % 3, len) == ERR_OK) {
            return true;
        }
    }
    return false;
}

static bool try_sync(struct wal_rig *rig, const struct story *story)
{
    for (unsigned attempt = 0; attempt < story->attempts; attempt++) {
        if (wal_log_sync(rig->log) == ERR_OK) {
            return true;
        }
    }
    return false;
}

static bool try_drop(struct wal_rig *rig, const struct story *story)
{
    for (unsigned attempt = 0; attempt < story->attempts; attempt++) {
        if (wal_log_drop(rig->log, rig->config.first, NULL, 0) == ERR_OK) {
            return true;
        }
    }
    return false;
}

/* Appends the batches behind `ledger->appended`, with a drop on the way; false: given up. */
static bool tell(struct wal_rig *rig, const struct story *story, struct ledger *ledger)
{
    while (ledger->appended < LAST_BATCH) {
        unsigned batch = ledger->appended + 1;
        if (!try_append(rig, story, batch)) {
            return false;
        }
        ledger->appended = batch;
        if (batch % story->sync_every == 0 || batch == 30) {
            if (!try_sync(rig, story)) {
                return false;
            }
            ledger->synced = batch;
        }
        if (batch == 30) {
            rig->config.first = wal_log_seal(rig->log);
            ledger->dropped = batch;
            if (!try_drop(rig, story)) {
                return false;
            }
        }
    }
    return true;
}

/* `at_least` to at most one more than `ledger->appended` (it failed, but may be there). */
static unsigned assert_kept(const struct wal_rig *rig, const struct ledger *ledger,
                            unsigned at_least)
{
    assert_int_equal(rig->damage_count > 0 && !rig->damages[0].is_cut, 0);
    unsigned last = ledger->dropped + (unsigned)rig->found_count;
    for (unsigned i = 0; i < rig->found_count; i++) {
        assert_int_equal(rig->found[i], ledger->dropped + 1 + i);
    }
    assert_in_range(last, at_least, ledger->appended + 1);
    return last;
}

/* After the second start goes on, syncs, and loses power: nothing of the cut end may come back. */
static void go_on(struct wal_rig *rig, struct ledger *ledger, unsigned last, uint64_t seed)
{
    for (unsigned batch = last + 1; batch <= last + 3; batch++) {
        /* other lengths than before, so that the old ends of frames are not met */
        assert_int_equal(rig_append(rig, batch, 1, 16 + (seed * 13 + batch) % 60), ERR_OK);
    }
    assert_int_equal(wal_log_sync(rig->log), ERR_OK);
    rig_kill(rig, seed % 2 == 0 ? LOSS_ALL : LOSS_SOME, seed);
    assert_int_equal(rig_open(rig), ERR_OK);
    ledger->appended = last + 2;
    assert_int_equal(assert_kept(rig, ledger, last + 3), last + 3);
}

/* The story with the end at call number `call`; false: it was over before. */
static bool end_at(unsigned call, const struct story *story, enum faulty_loss loss, uint64_t seed)
{
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    struct ledger ledger = {0};
    faulty_files_freeze(&rig.faulty, call);
    bool over = false;
    if (rig_open(&rig) == ERR_OK) {
        over = tell(&rig, story, &ledger);
    }
    rig_kill(&rig, loss, seed);
    assert_int_equal(rig_open(&rig), ERR_OK);
    unsigned at_least = loss == LOSS_NONE ? ledger.appended : ledger.synced;
    at_least = at_least > ledger.dropped ? at_least : ledger.dropped;
    unsigned last = assert_kept(&rig, &ledger, at_least);
    go_on(&rig, &ledger, last, seed);
    rig_fini(&rig);
    return !over;
}

static void a_kill_at_any_call_loses_nothing_that_was_appended(void **state)
{
    (void)state;
    struct story story = {.sync_every = 4, .attempts = 1};
    unsigned call = 1;
    while (end_at(call, &story, LOSS_NONE, call)) {
        call++;
    }
    assert_true(call > LAST_BATCH);
}

static void a_power_loss_at_any_call_loses_nothing_that_was_synced(void **state)
{
    (void)state;
    static const unsigned intervals[] = {1, 4, 100};
    for (unsigned i = 0; i < ARRAY_COUNT(intervals); i++) {
        struct story story = {.sync_every = intervals[i], .attempts = 1};
        unsigned call = 1;
        while (end_at(call, &story, LOSS_ALL, call)) {
            call++;
        }
        assert_true(call > LAST_BATCH);
    }
}

static void unsynced_sectors_that_survive_in_any_order_invent_nothing(void **state)
{
    (void)state;
    static const unsigned intervals[] = {1, 4, 10};
    for (unsigned i = 0; i < ARRAY_COUNT(intervals); i++) {
        struct story story = {.sync_every = intervals[i], .attempts = 1};
        for (uint64_t seed = 1; seed <= 8; seed++) {
            unsigned call = 1;
            while (end_at(call, &story, LOSS_SOME, seed * 1000 + call)) {
                call++;
            }
        }
    }
}

/* The story with `count` calls from number `call` on failing; false: none failed. */
static bool fail_at(unsigned call, unsigned count, int error, bool torn, const struct story *story)
{
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    struct ledger ledger = {0};
    faulty_files_fail(&rig.faulty, call, count, error, torn);
    enum err err = ERR_IO;
    for (unsigned attempt = 0; attempt <= count && err != ERR_OK; attempt++) {
        err = rig_open(&rig);
    }
    assert_int_equal(err, ERR_OK);
    assert_true(tell(&rig, story, &ledger)); /* in the end everything works */
    bool failed = rig.faulty.failed > 0;

    rig_kill(&rig, LOSS_ALL, 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    unsigned last = assert_kept(&rig, &ledger, ledger.synced);
    go_on(&rig, &ledger, last, call);
    rig_fini(&rig);
    return failed;
}

static void a_failure_of_any_call_loses_nothing_that_was_synced(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC};
    static const unsigned counts[] = {1, 2, 7};
    for (unsigned i = 0; i < 12; i++) {
        struct story story = {.sync_every = i % 2 == 0 ? 1 : 5, .attempts = 20};
        unsigned call = 1;
        while (fail_at(call, counts[i % 3], errors[i / 3 % 2], i >= 6, &story)) {
            call++;
        }
        assert_true(call > LAST_BATCH);
    }
}

/* A failure, and then the process is killed: what append said ERR_OK to is there. */
static void a_failure_of_any_call_and_a_kill_lose_nothing_that_was_appended(void **state)
{
    (void)state;
    struct story story = {.sync_every = 5, .attempts = 1};
    bool failed = true;
    for (unsigned call = 1; failed; call++) {
        for (unsigned torn = 0; torn < 2; torn++) {
            struct wal_rig rig;
            rig_init(&rig, SMALL_SEGMENT);
            struct ledger ledger = {0};
            faulty_files_fail(&rig.faulty, call, 1, EIO, torn == 1);
            if (rig_open(&rig) == ERR_OK) {
                (void)tell(&rig, &story, &ledger);
            }
            failed = rig.faulty.failed > 0;
            rig_kill(&rig, LOSS_NONE, 0);
            assert_int_equal(rig_open(&rig), ERR_OK);
            unsigned last = assert_kept(&rig, &ledger, ledger.appended);
            go_on(&rig, &ledger, last, call);
            rig_fini(&rig);
        }
    }
}

static void after_a_failed_sync_the_segment_is_left_and_its_batches_move(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 3, 100);
    for (unsigned batch = 4; batch <= 6; batch++) {
        assert_int_equal(rig_append(&rig, batch, 2, 100), ERR_OK);
    }
    faulty_files_fail(&rig.faulty, 1, 1, EIO, false);
    assert_int_equal(wal_log_sync(rig.log), ERR_IO);
    assert_non_null(strstr(wal_log_trouble(rig.log), "sync"));
    unsigned syncs = rig.faulty.calls_of[CALL_DATASYNC];
    assert_int_equal(wal_log_sync(rig.log), ERR_OK);
    assert_int_equal(rig.faulty.calls_of[CALL_DATASYNC], syncs + 1);
    assert_int_equal(faulty_files_count(&rig.faulty, rig_path(2)), 1);
    rig_kill(&rig, LOSS_ALL, 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 6);
    assert_int_equal(rig.damage_count, 0);
    rig_fini(&rig);
}

static void a_full_disk_stops_batches_until_there_is_room_again(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 5, 100);
    rig.faulty.room = faulty_files_bytes(&rig.faulty) + 5000;
    unsigned batch = 6;
    while (rig_append(&rig, batch, 2, 100) == ERR_OK) {
        assert_int_equal(wal_log_sync(rig.log), ERR_OK);
        batch++;
        assert_true(batch < 100);
    }
    for (unsigned attempt = 0; attempt < 10; attempt++) {
        assert_int_equal(rig_append(&rig, batch, 2, 100), ERR_FULL);
        assert_true(faulty_files_bytes(&rig.faulty) <= rig.faulty.room);
    }
    assert_int_equal(wal_log_sync(rig.log), ERR_OK);
    rig.faulty.room = UINT64_MAX;
    rig_fill(&rig, batch, batch + 20, 100);
    rig_close(&rig);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, batch + 20);
    rig_fini(&rig);
}

static void a_disk_that_never_syncs_does_not_fill_the_memory(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, (uint64_t)64 << 20);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig.faulty.broken = BIT(CALL_DATASYNC);
    unsigned batch = 1;
    while (rig_append(&rig, batch, 1, (size_t)1 << 20) == ERR_OK) {
        batch++;
        assert_true(batch < 12);
    }
    for (unsigned attempt = 0; attempt < 5; attempt++) {
        assert_int_equal(rig_append(&rig, batch, 1, 100), ERR_IO);
    }
    rig.faulty.broken = 0;
    rig_fill(&rig, batch, batch + 2, 100);
    rig_kill(&rig, LOSS_ALL, 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, batch + 2);
    rig_fini(&rig);
}

static void after_a_failed_write_the_segment_is_left(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 3, 100);
    faulty_files_fail(&rig.faulty, 1, 1, EIO, false);
    assert_int_equal(rig_append(&rig, 4, 2, 100), ERR_IO);
    assert_non_null(strstr(wal_log_trouble(rig.log), "write"));
    rig_fill(&rig, 4, 6, 100);
    assert_int_equal(faulty_files_count(&rig.faulty, rig_path(2)), 1);
    rig_kill(&rig, LOSS_ALL, 0);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 6);
    rig_fini(&rig);
}

static void a_segment_that_found_the_disk_full_goes_on(void **state)
{
    (void)state;
    struct wal_rig rig;
    rig_init(&rig, SMALL_SEGMENT);
    assert_int_equal(rig_open(&rig), ERR_OK);
    rig_fill(&rig, 1, 3, 100);
    faulty_files_fail(&rig.faulty, 1, 1, ENOSPC, true);
    assert_int_equal(rig_append(&rig, 4, 2, 100), ERR_OK); /* the rest went through at once */
    faulty_files_fail(&rig.faulty, 1, 1, ENOSPC, false);
    assert_int_equal(rig_append(&rig, 5, 2, 100), ERR_FULL);
    rig_fill(&rig, 5, 6, 100);
    rig_close(&rig);
    assert_int_equal(faulty_files_count(&rig.faulty, RIG_DIR "/log."), 1);
    assert_int_equal(rig_open(&rig), ERR_OK);
    assert_found(&rig, 1, 6);
    rig_fini(&rig);
}

/* What a killed process had not synced may be on the disk, or not, whatever a sync says now. */
static void a_failure_of_any_call_at_the_next_start_loses_nothing(void **state)
{
    (void)state;
    static const struct story story = {.sync_every = 100, .attempts = 20};
    bool failed = true;
    for (unsigned call = 1; failed; call++) {
        struct wal_rig rig;
        rig_init(&rig, SMALL_SEGMENT);
        assert_int_equal(rig_open(&rig), ERR_OK);
        for (unsigned batch = 1; batch <= 5; batch++) {
            assert_true(try_append(&rig, &story, batch));
        }
        faulty_files_fail(&rig.faulty, 1, 1, EIO, false);
        assert_int_equal(wal_log_sync(rig.log), ERR_IO);
        rig_kill(&rig, LOSS_NONE, 0);
        faulty_files_fail(&rig.faulty, call, 1, EIO, false);
        if (rig_open(&rig) != ERR_OK) {
            assert_int_equal(rig_open(&rig), ERR_OK);
        }
        assert_found(&rig, 1, 5);
        failed = rig.faulty.failed > 0;
        assert_true(try_append(&rig, &story, 6));
        assert_true(try_sync(&rig, &story));
        rig_kill(&rig, LOSS_ALL, 0);
        assert_int_equal(rig_open(&rig), ERR_OK);
        assert_found(&rig, 1, 6);
        assert_int_equal(rig.damage_count, 0);
        rig_fini(&rig);
    }
}

/* A segment of which nothing is on the disk is not missed by the next one. */
static void a_segment_that_was_never_synced_is_no_damage_when_it_is_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct wal_rig rig;
        rig_init(&rig, SMALL_SEGMENT);
        assert_int_equal(rig_open(&rig), ERR_OK);
        faulty_files_fail(&rig.faulty, 6, 1, ENOSPC, false); /* its header, but no frame */
        assert_int_equal(rig_append(&rig, 1, 1, 100), ERR_FULL);
        assert_int_equal(rig_append(&rig, 1, 1, 6000), ERR_OK); /* goes to one of its own */
        rig_kill(&rig, LOSS_SOME, seed);
        assert_int_equal(rig_open(&rig), ERR_OK);
        assert_true(rig.damage_count == 0 || rig.damages[0].is_cut);
        rig_fini(&rig);
    }
}

int main(void)
{
    assert_int_equal(log_set_filter("off"), ERR_OK); /* failures are made on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_at_any_call_loses_nothing_that_was_appended),
        cmocka_unit_test(a_power_loss_at_any_call_loses_nothing_that_was_synced),
        cmocka_unit_test(unsynced_sectors_that_survive_in_any_order_invent_nothing),
        cmocka_unit_test(a_failure_of_any_call_loses_nothing_that_was_synced),
        cmocka_unit_test(a_failure_of_any_call_and_a_kill_lose_nothing_that_was_appended),
        cmocka_unit_test(after_a_failed_sync_the_segment_is_left_and_its_batches_move),
        cmocka_unit_test(a_full_disk_stops_batches_until_there_is_room_again),
        cmocka_unit_test(a_disk_that_never_syncs_does_not_fill_the_memory),
        cmocka_unit_test(after_a_failed_write_the_segment_is_left),
        cmocka_unit_test(a_segment_that_found_the_disk_full_goes_on),
        cmocka_unit_test(a_failure_of_any_call_at_the_next_start_loses_nothing),
        cmocka_unit_test(a_segment_that_was_never_synced_is_no_damage_when_it_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
