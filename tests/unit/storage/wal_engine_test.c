#include "storage/wal_engine_priv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/storage/wal_store_support.h"

static struct wal_store store;
static struct wal_random random_batches;

static int set_up(void **state)
{
    (void)state;
    wal_store_init(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_random_init(&random_batches, wal_store_seed());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_store_fini(&store);
    wal_random_fini(&random_batches);
    return 0;
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
        wal_store_apply_random(&store, &random_batches);
        uint64_t choice = wal_random_below(&random_batches, 30);
        if (choice == 0) {
            assert_true(wal_store_compact(&store));
        } else if (choice == 1) {
            assert_int_equal(wal_engine__compact(wal_store_engine(&store)), ERR_OK);
            wal_store_apply_random(&store, &random_batches);
            wal_store_apply_random(&store, &random_batches);
            bool cancel = wal_random_below(&random_batches, 2) == 0;
            wal_engine__end_compaction(wal_store_engine(&store), cancel);
        } else if (choice < 4) {
            wal_store_reopen(&store);
            wal_store_expect(&store, &random_batches.model);
            assert_int_equal(store.loaded.next_id, random_batches.next_id);
            assert_int_equal(store.loaded.last_seen_ms, store.now_ms);
        }
    }
    wal_store_reopen(&store);
    wal_store_expect(&store, &random_batches.model);
}

static void large_bodies_stay_in_their_segments(void **state)
{
    (void)state;
    random_batches.payload_max = 4000;
    for (unsigned i = 0; i < 300; i++) {
        wal_store_apply_random(&store, &random_batches);
        if (i % 50 == 49) {
            assert_true(wal_store_compact(&store));
        }
        if (i % 70 == 69) {
            wal_store_reopen(&store);
            wal_store_expect(&store, &random_batches.model);
        }
    }
}

/* ---- a compaction that is interrupted -------------------------------------------------------- */

static void try_interrupted(unsigned at, enum faulty_loss loss, bool *reached)
{
    struct faulty_files before;
    faulty_files_init(&before);
    faulty_files_copy(&before, &store.disk);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_store_freeze(&store, at);
    *reached = !wal_store_compact(&store);
    wal_store_close(&store);
    faulty_files_restart(&store.disk, loss, at);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_store_expect(&store, &random_batches.model);
    assert_int_equal(wal_store_count(&store, "snapshot"), 1);
    assert_int_equal(wal_store_count(&store, "manifest"), 1);
    assert_int_equal(wal_store_count(&store, "quarantine"), 0);
    wal_store_close(&store);
    faulty_files_fini(&store.disk);
    faulty_files_init(&store.disk);
    faulty_files_copy(&store.disk, &before);
    faulty_files_fini(&before);
}

static void a_crash_at_any_call_of_a_compaction_loses_nothing(void **state)
{
    (void)state;
    wal_store_fill(&store, &random_batches);
    wal_store_close(&store);
    for (unsigned loss = LOSS_NONE; loss <= LOSS_SOME; loss++) {
        bool reached = true;
        unsigned at = 1;
        for (; reached; at += loss == LOSS_ALL ? 1 : 3) {
            try_interrupted(at, (enum faulty_loss)loss, &reached);
            assert_true(at < 2000);
        }
        assert_true(at > 20);
    }
}

static void an_error_at_any_call_of_a_compaction_hurts_nothing(void **state)
{
    (void)state;
    wal_store_fill(&store, &random_batches);
    bool failed = true;
    unsigned at = 1;
    for (; failed; at++) {
        wal_store_fail(&store, at, 1, at % 2 == 0 ? EIO : ENOSPC);
        (void)wal_store_compact(&store);
        failed = wal_store_end_faults(&store);
        for (unsigned i = 0; i < 3; i++) {
            wal_store_apply_random(&store, &random_batches);
        }
        if (at % 10 == 0) {
            wal_store_reopen(&store);
            wal_store_expect(&store, &random_batches.model);
        }
        assert_true(at < 2000);
    }
    assert_true(at > 20);
    assert_true(wal_store_compact(&store));
    assert_int_equal(wal_store_count(&store, "snapshot"), 1);
    wal_store_reopen(&store);
    wal_store_expect(&store, &random_batches.model);
}

static void a_full_disk_leaves_no_half_snapshots_behind(void **state)
{
    (void)state;
    wal_store_fill(&store, &random_batches);
    uint64_t used = faulty_files_bytes(&store.disk);
    wal_store_set_room(&store, used + 100);
    assert_false(wal_store_compact(&store));
    assert_false(wal_store_compact(&store));
    assert_in_range(faulty_files_bytes(&store.disk), 0, used + 100);
    assert_int_equal(wal_store_count(&store, "snapshot"), 1);
    wal_store_set_room(&store, UINT64_MAX);
    assert_true(wal_store_compact(&store));
    wal_store_reopen(&store);
    wal_store_expect(&store, &random_batches.model);
}

static void a_hundred_thousand_entries_of_one_session_come_back(void **state)
{
    (void)state;
    static struct operation operations[2000];
    store.config.wal_segment_bytes = 1 << 20;
    wal_store_reopen(&store);
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
    wal_store_reopen(&store);
    size_t count = 0;
    for (size_t i = 0; i < store.content.len; i++) {
        count += store.content.data[i] == '\n' ? 1 : 0;
    }
    assert_int_equal(count, 200001);
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
    wal_store_freeze(&store, (unsigned)(50 + wal_random_below(random, 900)));
    live(&synced, &applied);
    wal_store_close(&store);
    faulty_files_restart(&store.disk, LOSS_SOME, seed);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    (void)find_state(synced, applied);
    assert_int_equal(wal_store_count(&store, "quarantine"), 0);
}

static void what_was_synced_survives_a_power_loss_at_any_moment(void **state)
{
    (void)state;
    uint64_t seed = random_batches.seed;
    const char *given = getenv("PULSE_TEST_LIVES"); /* more than by default, for a long run */
    unsigned lives = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 10;
    for (unsigned i = 0; i < lives; i++) {
        print_message("life %u\n", i);
        one_life_with_power_loss(seed + 2 * i);
    }
    for (unsigned i = 0; i <= BATCHES_MAX; i++) {
        text_fini(&states[i]);
        states[i] = (struct text){0};
    }
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
        cmocka_unit_test_setup_teardown(a_hundred_thousand_entries_of_one_session_come_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_synced_survives_a_power_loss_at_any_moment, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
