#include "storage/wal_engine_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "storage/wal_manifest.h"
#include "tests/unit/storage/wal_store_support.h"

static struct wal_store store;
static struct wal_random random_batches;

static uint64_t draw_seed(void)
{
    const char *given = getenv("PULSE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static int set_up(void **state)
{
    (void)state;
    wal_store_init(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_random_init(&random_batches, draw_seed());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_store_fini(&store);
    wal_random_fini(&random_batches);
    return 0;
}

static void apply_random(void)
{
    wal_random_batch(&random_batches);
    store.next_id = random_batches.next_id;
    assert_int_equal(wal_store_apply(&store, random_batches.operations, random_batches.count),
                     ERR_OK);
}

static void reopen(void)
{
    wal_store_close(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
}

static void a_new_store_is_empty(void **state)
{
    (void)state;
    assert_int_equal(store.content.len, 0);
    assert_int_equal(store.loaded.last_seen_ms, 0);
    assert_int_equal(store.loaded.next_id, 1);
}

static void random_batches_survive_compactions_and_restarts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 600; i++) {
        apply_random();
        uint64_t choice = wal_random_below(&random_batches, 30);
        if (choice == 0) {
            assert_true(wal_store_compact(&store));
        } else if (choice == 1) {
            assert_int_equal(wal_engine__compact(wal_store_engine(&store)), ERR_OK);
            apply_random();
            apply_random();
            bool cancel = wal_random_below(&random_batches, 2) == 0;
            wal_engine__end_compaction(wal_store_engine(&store), cancel);
        } else if (choice < 4) {
            reopen();
            wal_store_expect(&store, &random_batches.model);
            assert_int_equal(store.loaded.next_id, random_batches.next_id);
            assert_int_equal(store.loaded.last_seen_ms, store.now_ms);
        }
    }
    reopen();
    wal_store_expect(&store, &random_batches.model);
}

static void large_bodies_stay_in_their_segments(void **state)
{
    (void)state;
    random_batches.payload_max = 4000;
    for (unsigned i = 0; i < 300; i++) {
        apply_random();
        if (i % 50 == 49) {
            assert_true(wal_store_compact(&store));
        }
        if (i % 70 == 69) {
            reopen();
            wal_store_expect(&store, &random_batches.model);
        }
    }
}

/* ---- a compaction that is interrupted -------------------------------------------------------- */

/* Fills the store so that a compaction has everything to do: an old snapshot, kept segments, bodies
 * to copy. */
static void fill(void)
{
    random_batches.payload_max = 1500;
    for (unsigned i = 0; i < 60; i++) {
        apply_random();
        if (i == 40) {
            assert_true(wal_store_compact(&store));
        }
    }
    assert_int_equal(engine_wal.sync(store.engine), ERR_OK);
}

static void try_interrupted(unsigned at, enum faulty_loss loss, bool *reached)
{
    struct faulty_files before;
    faulty_files_init(&before);
    faulty_files_copy(&before, &store.disk);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    faulty_files_freeze(&store.disk, at);
    *reached = !wal_store_compact(&store);
    wal_store_close(&store);
    faulty_files_restart(&store.disk, loss, at);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_store_expect(&store, &random_batches.model);
    assert_int_equal(faulty_files_count(&store.disk, WAL_STORE_DIR "/snapshot"), 1);
    assert_int_equal(faulty_files_count(&store.disk, WAL_STORE_DIR "/manifest"), 1);
    assert_int_equal(faulty_files_count(&store.disk, WAL_STORE_DIR "/quarantine"), 0);
    wal_store_close(&store);
    faulty_files_fini(&store.disk);
    faulty_files_init(&store.disk);
    faulty_files_copy(&store.disk, &before);
    faulty_files_fini(&before);
}

static void a_crash_at_any_call_of_a_compaction_loses_nothing(void **state)
{
    (void)state;
    fill();
    wal_store_close(&store);
    for (unsigned loss = LOSS_NONE; loss <= LOSS_SOME; loss++) {
        bool reached = true;
        unsigned at = 1;
        for (; reached; at++) {
            try_interrupted(at, (enum faulty_loss)loss, &reached);
            assert_true(at < 2000);
        }
        assert_true(at > 20);
    }
}

static void an_error_at_any_call_of_a_compaction_hurts_nothing(void **state)
{
    (void)state;
    fill();
    bool failed = true;
    unsigned at = 1;
    for (; failed; at++) {
        faulty_files_fail(&store.disk, at, 1, at % 2 == 0 ? EIO : ENOSPC, at % 3 == 0);
        (void)wal_store_compact(&store);
        failed = store.disk.failed > 0;
        faulty_files_fail(&store.disk, 0, 0, 0, false);
        for (unsigned i = 0; i < 3; i++) {
            apply_random();
        }
        if (at % 10 == 0) {
            reopen();
            wal_store_expect(&store, &random_batches.model);
        }
        assert_true(at < 2000);
    }
    assert_true(at > 20);
    assert_true(wal_store_compact(&store));
    assert_int_equal(faulty_files_count(&store.disk, WAL_STORE_DIR "/snapshot"), 1);
    reopen();
    wal_store_expect(&store, &random_batches.model);
}

static void a_full_disk_leaves_no_half_snapshots_behind(void **state)
{
    (void)state;
    fill();
    uint64_t used = faulty_files_bytes(&store.disk);
    store.disk.room = used + 100;
    assert_false(wal_store_compact(&store));
    assert_false(wal_store_compact(&store));
    assert_in_range(faulty_files_bytes(&store.disk), 0, used + 100);
    assert_int_equal(faulty_files_count(&store.disk, WAL_STORE_DIR "/snapshot"), 1);
    store.disk.room = UINT64_MAX;
    assert_true(wal_store_compact(&store));
    reopen();
    wal_store_expect(&store, &random_batches.model);
}

/* ---- a whole life with crashes --------------------------------------------------------------- */

#define BATCHES_MAX 400

static struct text states[BATCHES_MAX + 1]; /* what the store holds after so many batches */

/* The number of batches whose outcome is what was loaded; at least `from`. */
static unsigned find_state(unsigned from, unsigned count)
{
    const char *content = store.content.data != NULL ? store.content.data : "";
    for (unsigned i = count + 1; i > from; i--) {
        const char *wanted = states[i - 1].data != NULL ? states[i - 1].data : "";
        if (strcmp(content, wanted) == 0) {
            return i - 1;
        }
    }
    fail_msg("what was loaded is the outcome of none of the batches %u to %u", from, count);
    return 0;
}

/* One life: applies, syncs, compacts, until the disk stands still. */
static void live(unsigned *synced, unsigned *applied)
{
    struct wal_engine *wal = wal_store_engine(&store);
    for (unsigned i = 0; i < BATCHES_MAX; i++) {
        wal_random_batch(&random_batches);
        text_fini(&states[i + 1]);
        states[i + 1] = (struct text){0};
        wal_model_print(&random_batches.model, &states[i + 1]);
        *applied = i + 1; /* it may be there even if it failed */
        if (wal_store_apply(&store, random_batches.operations, random_batches.count) != ERR_OK) {
            return;
        }
        if (wal_random_below(&random_batches, 4) == 0) {
            if (engine_wal.sync(store.engine) != ERR_OK) {
                return;
            }
            *synced = i + 1;
        }
        if (wal_random_below(&random_batches, 12) == 0) {
            (void)!wal_engine__compact(wal); /* perhaps the disk stands still already */
        }
        if (wal_random_below(&random_batches, 12) == 0) {
            wal_engine__end_compaction(wal, false);
        }
    }
}

static void one_life_with_power_loss(uint64_t seed)
{
    struct wal_random *random = &random_batches;
    wal_random_fini(random);
    wal_random_init(random, seed);
    random->payload_max = 700;
    wal_store_fini(&store);
    wal_store_init(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    unsigned synced = 0, applied = 0;
    faulty_files_freeze(&store.disk, (unsigned)(50 + wal_random_below(random, 900)));
    live(&synced, &applied);
    wal_store_close(&store);
    faulty_files_restart(&store.disk, LOSS_SOME, seed);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    (void)find_state(synced, applied);
    assert_int_equal(faulty_files_count(&store.disk, WAL_STORE_DIR "/quarantine"), 0);
}

static void what_was_synced_survives_a_power_loss_at_any_moment(void **state)
{
    (void)state;
    uint64_t seed = random_batches.seed;
    for (unsigned i = 0; i < 40; i++) {
        print_message("life %u\n", i);
        one_life_with_power_loss(seed + 2 * i);
    }
    for (unsigned i = 0; i <= BATCHES_MAX; i++) {
        text_fini(&states[i]);
        states[i] = (struct text){0};
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

static void a_second_engine_is_locked_out(void **state)
{
    (void)state;
    struct engine *second = NULL;
    assert_int_equal(engine_wal.open(&store.config, &store.stats, &second), ERR_LOCKED);
    assert_null(second);
    apply_random();
    reopen(); /* the lock ends with the engine */
    wal_store_expect(&store, &random_batches.model);
}

static void a_folder_without_one_above_it_is_an_error(void **state)
{
    (void)state;
    struct engine *other = NULL;
    store.config.wal_dir = "/no/such/folder";
    assert_int_equal(engine_wal.open(&store.config, &store.stats, &other), ERR_IO);
    store.config.wal_dir = WAL_STORE_DIR;
}

static void replace_file(const char *name, const char *text)
{
    const struct files *files = &store.disk.files;
    faulty_files_remove(&store.disk, wal_store_path(name));
    int fd = files->open(files->context, wal_store_path(name), O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(files->pwrite(files->context, fd, text, strlen(text), 0), strlen(text));
    assert_int_equal(files->datasync(files->context, fd), 0);
    (void)files->close(files->context, fd);
    assert_int_equal(files->sync_directory(files->context, WAL_STORE_DIR), 0);
}

static void a_newer_version_is_refused_and_left_alone(void **state)
{
    (void)state;
    fill();
    wal_store_close(&store);
    uint64_t bytes = faulty_files_bytes(&store.disk);
    replace_file("manifest", "pulse-wal 2\nanything\n");
    assert_int_equal(wal_store_open(&store), ERR_VERSION);
    assert_in_range(faulty_files_bytes(&store.disk), bytes - 100, bytes + 100);
    size_t len;
    assert_memory_equal(faulty_files_data(&store.disk, wal_store_path("manifest"), &len),
                        "pulse-wal 2\nanything\n", len);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void flip(const char *name, size_t at)
{
    size_t len;
    uint8_t *data = faulty_files_data(&store.disk, wal_store_path(name), &len);
    assert_non_null(data);
    assert_true(at < len);
    data[at] ^= 1;
}

static void refuse(void)
{
    uint64_t bytes = faulty_files_bytes(&store.disk);
    store.config.wal_damage = DAMAGE_REFUSE;
    assert_int_equal(wal_store_open(&store), ERR_DAMAGED);
    assert_int_equal(wal_store_open(&store), ERR_DAMAGED); /* it is not healed by looking */
    assert_int_equal(faulty_files_bytes(&store.disk), bytes);
    store.config.wal_damage = DAMAGE_QUARANTINE;
}

/* The store starts without what was damaged, and after a compaction nothing is wrong any more. */
static void heal(void)
{
    assert_int_equal(wal_store_open(&store), ERR_OK);
    assert_true(wal_store_engine(&store)->salvage);
    struct text left = store.content;
    store.content = (struct text){0};
    assert_true(wal_store_compact(&store));
    wal_store_close(&store);
    store.config.wal_damage = DAMAGE_REFUSE;
    assert_int_equal(wal_store_open(&store), ERR_OK);
    assert_false(wal_store_engine(&store)->salvage);
    assert_string_equal(store.content.data, left.data);
    text_fini(&left);
    assert_true(faulty_files_count(&store.disk, WAL_STORE_DIR "/quarantine") > 0);
}

static void damage_in_the_log_is_set_aside_or_refused(void **state)
{
    (void)state;
    fill();
    size_t before = store.content.len;
    wal_store_close(&store);
    char name[64];
    (void)snprintf(name, sizeof(name), "log.%016u", 3);
    if (faulty_files_count(&store.disk, wal_store_path(name)) == 0) {
        skip();
    }
    flip(name, 9000);
    refuse();
    heal();
    assert_int_equal(before, 0);
}

static void damage_in_the_snapshot_is_set_aside_or_refused(void **state)
{
    (void)state;
    fill();
    wal_store_close(&store);
    flip("snapshot.0000000000000001", 200);
    refuse();
    heal();
    assert_int_equal(
        faulty_files_count(&store.disk, WAL_STORE_DIR "/quarantine.snapshot.0000000000000001"), 1);
}

static void a_missing_snapshot_is_told_and_passed_over(void **state)
{
    (void)state;
    fill();
    wal_store_close(&store);
    faulty_files_remove(&store.disk, wal_store_path("snapshot.0000000000000001"));
    refuse();
    assert_int_equal(wal_store_open(&store), ERR_OK);
    assert_true(wal_store_engine(&store)->salvage);
    assert_true(wal_store_compact(&store));
    reopen();
    assert_false(wal_store_engine(&store)->salvage);
}

static void a_manifest_that_is_lost_is_made_again_from_the_snapshot(void **state)
{
    (void)state;
    fill();
    wal_store_close(&store);
    faulty_files_remove(&store.disk, wal_store_path("manifest"));
    refuse();
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_store_expect(&store, &random_batches.model);
    wal_store_close(&store);
    replace_file("manifest", "pulse-wal 1\nsnapshot 99\nfirst 3\ncrc 12345678\n");
    refuse();
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_store_expect(&store, &random_batches.model);
    apply_random();
    assert_true(wal_store_compact(&store));
    reopen();
    wal_store_expect(&store, &random_batches.model);
    assert_int_equal(faulty_files_count(&store.disk, WAL_STORE_DIR "/quarantine.manifest"), 1);
}

static void a_lost_manifest_of_a_store_without_a_snapshot_is_made_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        apply_random();
    }
    wal_store_close(&store);
    faulty_files_remove(&store.disk, wal_store_path("manifest"));
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_store_expect(&store, &random_batches.model);
}

/* ---- when to compact ------------------------------------------------------------------------- */

static uint64_t tend_until_done(uint64_t now_ms)
{
    struct wal_engine *wal = wal_store_engine(&store);
    (void)engine_wal.tend(store.engine, now_ms);
    while (wal->compact != NULL) {
        (void)engine_wal.tend(store.engine, now_ms);
    }
    return (uint64_t)stat_get(&store.stats, STAT_COMPACTIONS);
}

static void apply_kilobytes(unsigned count)
{
    static uint8_t bytes[1024];
    for (unsigned i = 0; i < count; i++) {
        const struct operation retained = {.type = OPERATION_RETAINED_PUT,
                                           .topic = slice_text("same"),
                                           .payload = slice_of(bytes, sizeof(bytes))};
        assert_int_equal(wal_store_apply(&store, &retained, 1), ERR_OK);
    }
}

static void a_log_that_is_too_large_is_compacted(void **state)
{
    (void)state;
    wal_store_engine(&store)->compact_max_bytes = 300 << 10;
    apply_kilobytes(250);
    assert_int_equal(tend_until_done(1000), 0);
    apply_kilobytes(60);
    assert_int_equal(tend_until_done(1000), 1);
    assert_int_equal(tend_until_done(1000), 1);
    apply_kilobytes(310);
    assert_int_equal(tend_until_done(1000), 2);
}

static void a_log_is_compacted_after_a_while_when_it_is_worth_it(void **state)
{
    (void)state;
    wal_store_engine(&store)->compact_interval_ms = 60000;
    assert_int_equal(tend_until_done(1000), 0);
    apply_kilobytes(1100);
    assert_int_equal(tend_until_done(60999), 0);
    assert_int_equal(tend_until_done(61000), 1);
    apply_kilobytes(1100);
    assert_int_equal(tend_until_done(120999), 1);
    assert_int_equal(tend_until_done(121000), 2);
    apply_kilobytes(100);
    assert_int_equal(tend_until_done(1000000), 2);
}

static void a_compaction_that_failed_is_tried_again_later(void **state)
{
    (void)state;
    wal_store_engine(&store)->compact_max_bytes = 100 << 10;
    apply_kilobytes(150);
    store.disk.room = faulty_files_bytes(&store.disk);
    assert_int_equal(tend_until_done(1000), 0);
    store.disk.room = UINT64_MAX;
    assert_int_equal(tend_until_done(2000), 0);
    apply_kilobytes(5); /* meanwhile the log is written on */
    assert_int_equal(tend_until_done(40000), 1);
}

static void a_large_snapshot_asks_for_a_larger_log(void **state)
{
    (void)state;
    struct wal_engine *wal = wal_store_engine(&store);
    wal->compact_max_bytes = 50 << 10;
    wal_engine__snapshot_is(wal, 200 << 10);
    apply_kilobytes(300);
    assert_int_equal(tend_until_done(1000), 0);
    apply_kilobytes(150);
    assert_int_equal(tend_until_done(1000), 1);
}

static void a_hundred_thousand_entries_of_one_session_come_back(void **state)
{
    (void)state;
    static struct operation operations[2000];
    store.config.wal_segment_bytes = 1 << 20;
    reopen();
    operations[0] = (struct operation){
        .type = OPERATION_SESSION_PUT, .session = 1, .client_id = slice_text("c")};
    assert_int_equal(wal_store_apply(&store, operations, 1), ERR_OK);
    for (uint64_t id = 1; id <= 100000;) {
        size_t count = 0;
        for (; count < 2000; id++) {
            operations[count++] = (struct operation){.type = OPERATION_MESSAGE_PUT,
                                                     .message = id,
                                                     .topic = slice_text("t"),
                                                     .payload = slice_text("payload")};
            operations[count++] = (struct operation){.type = OPERATION_QUEUE_PUSH,
                                                     .session = 1,
                                                     .position = id,
                                                     .message = id,
                                                     .qos = 1};
        }
        assert_int_equal(wal_store_apply(&store, operations, 2000), ERR_OK);
        if (id % 30000 == 1) {
            assert_true(wal_store_compact(&store));
        }
    }
    reopen();
    size_t count = 0;
    for (size_t i = 0; i < store.content.len; i++) {
        count += store.content.data[i] == '\n' ? 1 : 0;
    }
    assert_int_equal(count, 200001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_store_is_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_batches_survive_compactions_and_restarts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(large_bodies_stay_in_their_segments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crash_at_any_call_of_a_compaction_loses_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_error_at_any_call_of_a_compaction_hurts_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_no_half_snapshots_behind, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_synced_survives_a_power_loss_at_any_moment, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_second_engine_is_locked_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_without_one_above_it_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused_and_left_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damage_in_the_log_is_set_aside_or_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damage_in_the_snapshot_is_set_aside_or_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_missing_snapshot_is_told_and_passed_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_that_is_lost_is_made_again_from_the_snapshot,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_manifest_of_a_store_without_a_snapshot_is_made_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_that_is_too_large_is_compacted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_is_compacted_after_a_while_when_it_is_worth_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_compaction_that_failed_is_tried_again_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_large_snapshot_asks_for_a_larger_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hundred_thousand_entries_of_one_session_come_back, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
