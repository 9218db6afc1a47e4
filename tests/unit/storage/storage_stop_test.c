#include "tests/unit/storage/storage_stage_support.h"

#include "base/clock.h"

/* How storage ends, in time and out of time. */

static struct stage stage;

static void make_part(struct stage_part *part)
{
    stage_part_init(&stage, part);
    part_add(&part->part, OPERATION_INBOUND_QOS2_PUT, 1)->packet_id = 1;
}

/* Ends what stage_close would, when the outcome was tested already. */
static void close_stopped(void)
{
    storage_destroy(stage.storage);
    stage.storage = NULL;
    stage_close(&stage);
}

static void what_was_submitted_is_committed_and_synced(void **state)
{
    (void)state;
    static const enum storage_policy policies[] = {COMMIT_STRICT, COMMIT_BALANCED, COMMIT_FAST};
    for (unsigned p = 0; p < 3; p++) {
        struct stage_part parts[100];
        stage_open(&stage, policies[p]);
        for (unsigned i = 0; i < 100; i++) {
            make_part(&parts[i]);
            stage_submit(&parts[i]);
        }
        assert_int_equal(storage_stop(stage.storage, STAGE_WAIT_MS), ERR_OK);
        for (unsigned i = 0; i < 100; i++) {
            assert_true(stage_is_done(&parts[i])); /* before it returned */
            assert_int_equal(parts[i].err, ERR_OK);
            stage_part_fini(&parts[i]);
        }
        const char *history = fake_store_history(stage.store);
        assert_int_equal(history[strlen(history) - 1], 'S');
        assert_int_equal(fake_store_calls(stage.store, FAKE_CLOSE), 1);
        close_stopped();
    }
}

static void a_stop_does_not_wait_for_the_next_sync(void **state)
{
    (void)state;
    struct stage_part part;
    stage_open(&stage, COMMIT_FAST);
    make_part(&part);
    stage_commit(&part);
    uint64_t began_ms = clock_mono_ms();
    assert_int_equal(storage_stop(stage.storage, STAGE_WAIT_MS), ERR_OK);
    assert_true(clock_mono_ms() - began_ms < 700);
    stage_part_fini(&part);
    close_stopped();
}

static void an_idle_one_ends_at_once(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_STRICT);
    uint64_t began_ms = clock_mono_ms();
    assert_int_equal(storage_stop(stage.storage, STAGE_WAIT_MS), ERR_OK);
    assert_true(clock_mono_ms() - began_ms < 900); /* it didn't sleep to the next second */
    close_stopped();
}

static void one_that_was_never_started_closes_its_engine(void **state)
{
    (void)state;
    struct stage_part part;
    stage_open(&stage, COMMIT_STRICT);
    assert_int_equal(storage_stop(stage.storage, STAGE_WAIT_MS), ERR_OK);
    storage_destroy(stage.storage);
    stage_reopen(&stage);
    make_part(&part);
    stage_submit(&part);
    assert_int_equal(storage_stop(stage.storage, STAGE_WAIT_MS), ERR_STOPPED);
    assert_int_equal(stage_wait(&part), ERR_STOPPED);
    stage_part_fini(&part);
    storage_destroy(stage.storage);
    stage_reopen(&stage);
    close_stopped(); /* without storage_stop */
    storage_destroy(NULL);
}

static void a_store_that_fails_gives_parts_back_unwritten_when_time_is_up(void **state)
{
    (void)state;
    struct stage_part parts[5];
    stage_open(&stage, COMMIT_STRICT);
    fake_store_fail(stage.store, FAKE_APPLY, ERR_UNAVAILABLE, UINT32_MAX, "");
    for (unsigned i = 0; i < 5; i++) {
        make_part(&parts[i]);
        stage_submit(&parts[i]);
    }
    assert_true(fake_store_wait(stage.store, FAKE_APPLY, 1, STAGE_WAIT_MS));
    uint64_t began_ms = clock_mono_ms();
    assert_int_equal(storage_stop(stage.storage, 300), ERR_STOPPED);
    assert_in_range(clock_mono_ms() - began_ms, 290, 5000);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(stage_wait(&parts[i]), ERR_STOPPED);
        assert_int_equal(parts[i].order, i + 1);
        stage_part_fini(&parts[i]);
    }
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_PENDING), 0);
    assert_int_equal(fake_store_calls(stage.store, FAKE_CLOSE), 1);
    close_stopped();
}

static void what_is_applied_and_not_synced_is_not_said_to_be_safe(void **state)
{
    (void)state;
    struct stage_part part;
    stage_open(&stage, COMMIT_STRICT);
    fake_store_fail(stage.store, FAKE_SYNC, ERR_IO, UINT32_MAX, "");
    make_part(&part);
    stage_submit(&part);
    assert_int_equal(storage_stop(stage.storage, 200), ERR_STOPPED);
    assert_int_equal(stage_wait(&part), ERR_STOPPED);
    stage_part_fini(&part);
    close_stopped();

    stage_open(&stage, COMMIT_FAST);
    fake_store_fail(stage.store, FAKE_SYNC, ERR_IO, UINT32_MAX, "");
    make_part(&part);
    stage_commit(&part);
    assert_int_equal(storage_stop(stage.storage, 200), ERR_STOPPED);
    stage_part_fini(&part);
    close_stopped();
}

/* However long it was going to wait for its next attempt. */
static void a_stop_makes_a_failing_store_try_at_once(void **state)
{
    (void)state;
    struct stage_part part;
    stage_open(&stage, COMMIT_STRICT);
    fake_store_fail(stage.store, FAKE_APPLY, ERR_IO, 5, "");
    make_part(&part);
    stage_submit(&part);
    assert_true(fake_store_wait(stage.store, FAKE_APPLY, 5, STAGE_WAIT_MS));
    uint64_t began_ms = clock_mono_ms(); /* it would wait for 1600 ms */
    assert_int_equal(storage_stop(stage.storage, STAGE_WAIT_MS), ERR_OK);
    assert_true(clock_mono_ms() - began_ms < 1200);
    assert_int_equal(stage_wait(&part), ERR_OK);
    stage_part_fini(&part);
    close_stopped();
}

struct stopper {
    pthread_t thread;
    uint64_t timeout_ms;
    enum err err;
};

static void *stop(void *arg)
{
    struct stopper *stopper = arg;
    stopper->err = storage_stop(stage.storage, stopper->timeout_ms);
    return NULL;
}

static void a_stop_waits_for_the_call_of_the_engine_that_is_under_way(void **state)
{
    (void)state;
    struct stage_part parts[2];
    struct stopper stopper = {.timeout_ms = 0};
    stage_open(&stage, COMMIT_STRICT);
    fake_store_block(stage.store, FAKE_APPLY);
    make_part(&parts[0]);
    make_part(&parts[1]);
    stage_submit(&parts[0]);
    assert_true(fake_store_wait_blocked(stage.store, STAGE_WAIT_MS));
    stage_submit(&parts[1]);
    assert_int_equal(pthread_create(&stopper.thread, NULL, stop, &stopper), 0);
    fake_store_unblock(stage.store);
    assert_int_equal(pthread_join(stopper.thread, NULL), 0);
    /* The first may be told to be committed: it was. The second came too late or in time. */
    enum err first = stage_wait(&parts[0]);
    enum err second = stage_wait(&parts[1]);
    assert_true(first == ERR_OK || second == ERR_STOPPED);
    assert_int_equal(stopper.err, second);
    stage_part_fini(&parts[0]);
    stage_part_fini(&parts[1]);
    close_stopped();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_submitted_is_committed_and_synced),
        cmocka_unit_test(a_stop_does_not_wait_for_the_next_sync),
        cmocka_unit_test(an_idle_one_ends_at_once),
        cmocka_unit_test(one_that_was_never_started_closes_its_engine),
        cmocka_unit_test(a_store_that_fails_gives_parts_back_unwritten_when_time_is_up),
        cmocka_unit_test(what_is_applied_and_not_synced_is_not_said_to_be_safe),
        cmocka_unit_test(a_stop_makes_a_failing_store_try_at_once),
        cmocka_unit_test(a_stop_waits_for_the_call_of_the_engine_that_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
