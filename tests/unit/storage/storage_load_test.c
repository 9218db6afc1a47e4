#include "tests/unit/storage/storage_stage_support.h"

#include "base/clock.h"
#include "storage/storage_priv.h"
#include "tests/unit/storage/mysql_support.h"
#include "tests/unit/storage/operation_text_support.h"

/* What a store held before: how it comes back, and the clock and the ids that go on from there. */

static struct stage stage;

struct taken {
    struct text lines;
    unsigned count;
    unsigned fail_at; /* that one is refused; 0: none */
    uint64_t now_ms;  /* the storage clock at the first one */
};

static enum err take(void *context, const struct operation *operation)
{
    struct taken *taken = context;
    taken->count++;
    if (taken->count == 1) {
        taken->now_ms = storage_now_ms(stage.storage);
    }
    if (taken->count == taken->fail_at) {
        return ERR_MEMORY;
    }
    operation_text_add(&taken->lines, operation);
    return ERR_OK;
}

static enum err load(struct taken *taken)
{
    struct operation_sink sink = {.context = taken, .take = take};
    return storage_load(stage.storage, &sink);
}

static int set_up(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_STRICT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_close(&stage);
    return 0;
}

static void end_process(void)
{
    assert_int_equal(storage_stop(stage.storage, STAGE_WAIT_MS), ERR_OK);
    storage_destroy(stage.storage);
    stage.storage = NULL;
}

/* A session with two messages and a will, and a retained message; then a new process. */
static void fill_and_restart(void)
{
    struct stage_part part;
    struct message *queued = stage_message("q", "queued");
    struct message *will = stage_message("w", "will");
    uint64_t session = storage_next_id(stage.storage);
    stage_part_init(&stage, &part);
    stage_session_put(&part, session, "client");
    (void)stage_push(&part, session, 1, queued);
    (void)stage_push(&part, session, 2, queued);
    stage_will_put(&part, session, will);
    stage_retain(&part, 0, "kept");
    stage_commit(&part);
    stage_part_fini(&part);
    message_unref(queued);
    message_unref(will);
    end_process();
    stage_reopen(&stage);
}

static void all_that_is_kept_comes_back(void **state)
{
    (void)state;
    struct taken taken = {.count = 0};
    fill_and_restart();
    assert_int_equal(load(&taken), ERR_OK);
    operation_text_sort(&taken.lines);
    stage_assert_contents(&stage, taken.lines.data);
    text_fini(&taken.lines);
}

static void it_is_counted(void **state)
{
    (void)state;
    struct taken taken = {.count = 0};
    fill_and_restart();
    assert_int_equal(load(&taken), ERR_OK);
    const struct storage_stats *stats = storage_stats(stage.storage);
    assert_int_equal(stat_get(stats, STAT_LOADED_SESSIONS), 1);
    assert_int_equal(stat_get(stats, STAT_LOADED_QUEUED), 2);
    assert_int_equal(stat_get(stats, STAT_LOADED_RETAINED), 1);
    assert_in_range(stat_get(stats, STAT_LOAD_SECONDS), 0, 60 * 1000000);
    text_fini(&taken.lines);
}

/* The restart must not put a message twice, nor forget to drop it. */
static void counting_references_goes_on_from_what_was_loaded(void **state)
{
    (void)state;
    struct stage_part part;
    struct taken taken = {.count = 0};
    fill_and_restart();
    assert_int_equal(load(&taken), ERR_OK);
    assert_int_equal(storage_start(stage.storage), ERR_OK);
    struct message *queued = stage_message("q", "queued"); /* as the sink would have made it */
    queued->stored_id = 2;
    queued->stored_refs = 2;
    stage_part_init(&stage, &part);
    (void)stage_push(&part, 1, 3, queued);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_push session=1 position=3 message=2 qos=1\n");
    for (unsigned i = 1; i <= 3; i++) {
        stage_pop(&part, 1, i, queued);
    }
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_pop session=1 position=1 last=3\nmessage_drop message=2\n");
    (void)stage_push(&part, 1, 4, queued);
    stage_commit(&part);
    assert_int_equal(queued->stored_id, 4); /* 1 to 3 were in use */
    stage_part_fini(&part);
    message_unref(queued);
    text_fini(&taken.lines);
}

static void an_error_of_the_store_or_of_the_sink_ends_it(void **state)
{
    (void)state;
    struct taken taken = {.fail_at = 3};
    fill_and_restart();
    assert_int_equal(load(&taken), ERR_MEMORY);
    assert_int_equal(taken.count, 3);
    storage_destroy(stage.storage);
    stage_reopen(&stage);
    fake_store_fail(stage.store, FAKE_LOAD, ERR_DAMAGED, 1, "");
    assert_int_equal(load(&taken), ERR_DAMAGED);
    text_fini(&taken.lines);
}

/* An engine that has no words left has logged them itself. */
static void the_words_of_a_failed_load_are_logged(void **state)
{
    (void)state;
    struct taken taken = {.count = 0};
    fill_and_restart();
    fake_store_fail(stage.store, FAKE_LOAD, ERR_IO, 1, "no such table");
    mysql_log_catch();
    assert_int_equal(load(&taken), ERR_IO);
    assert_non_null(strstr(mysql_log_caught(), "reason=\"no such table\""));
    fake_store_fail(stage.store, FAKE_LOAD, ERR_IO, 1, "");
    mysql_log_catch();
    assert_int_equal(load(&taken), ERR_IO);
    assert_null(strstr(mysql_log_caught(), "can't be read"));
    text_fini(&taken.lines);
}

static void a_store_that_names_absurd_times_or_ids_is_damaged(void **state)
{
    (void)state;
    struct taken taken = {.count = 0};
    fill_and_restart();
    fake_store_set_last_seen(stage.store, UINT64_MAX - 1);
    assert_int_equal(load(&taken), ERR_DAMAGED);
    fake_store_set_last_seen(stage.store, 1);
    fake_store_set_next_id(stage.store, UINT64_MAX - 1);
    assert_int_equal(load(&taken), ERR_DAMAGED);
    assert_int_equal(taken.count, 0);
}

static void an_error_of_opening_is_told(void **state)
{
    (void)state;
    struct storage_config config = {.policy = COMMIT_STRICT};
    end_process();
    fake_store_fail(stage.store, FAKE_OPEN, ERR_LOCKED, 1, "");
    assert_int_equal(storage__open(&fake_engine, &config, NULL, &stage.storage), ERR_LOCKED);
    assert_null(stage.storage);
}

static void without_an_engine_there_is_no_storage(void **state)
{
    (void)state;
    struct storage_config config = {.engine = STORAGE_MEMORY};
    struct storage *storage = stage.storage;
    assert_int_equal(storage_open(&config, NULL, &storage), ERR_OK);
    assert_null(storage);
}

/* ---- the clock and the ids ------------------------------------------------------------------- */

static void ids_are_never_used_again(void **state)
{
    (void)state;
    struct taken taken = {.count = 0};
    fill_and_restart();
    assert_int_equal(load(&taken), ERR_OK);
    uint64_t id = storage_next_id(stage.storage);
    assert_int_equal(id, fake_store_next_id(stage.store));
    assert_int_equal(storage_next_id(stage.storage), id + 1);
    text_fini(&taken.lines);
}

static void a_new_store_begins_with_the_wall_clock(void **state)
{
    (void)state;
    uint64_t before_ms = clock_wall_ms();
    uint64_t now_ms = storage_now_ms(stage.storage);
    assert_in_range(now_ms, before_ms - 100, before_ms + 10000);
}

/* A gateway may start without a valid clock: what was to expire then must not come to life again.
 */
static void the_clock_never_goes_behind_what_the_store_has_seen(void **state)
{
    (void)state;
    struct taken taken = {.count = 0};
    uint64_t seen_ms = clock_wall_ms() + UINT64_C(86400000) * 365;
    fill_and_restart();
    fake_store_set_last_seen(stage.store, seen_ms);
    assert_int_equal(load(&taken), ERR_OK);
    assert_true(taken.now_ms >= seen_ms); /* while loading already: moments are converted then */
    assert_in_range(storage_now_ms(stage.storage), taken.now_ms, seen_ms + 10000);
    text_fini(&taken.lines);
}

static void so_it_is_with_an_empty_store(void **state)
{
    (void)state;
    struct taken taken = {.count = 0};
    uint64_t seen_ms = clock_wall_ms() + UINT64_C(86400000) * 365;
    end_process();
    stage_reopen(&stage);
    fake_store_set_last_seen(stage.store, seen_ms);
    assert_int_equal(load(&taken), ERR_OK);
    assert_int_equal(taken.count, 0);
    assert_true(storage_now_ms(stage.storage) >= seen_ms);
}

static void a_batch_says_what_time_it_is(void **state)
{
    (void)state;
    struct stage_part part;
    stage_part_init(&stage, &part);
    stage_session_put(&part, 1, "client");
    uint64_t before_ms = storage_now_ms(stage.storage);
    stage_commit(&part);
    assert_in_range(fake_store_now_ms(stage.store), before_ms, storage_now_ms(stage.storage));
    stage_part_fini(&part);
}

static void moments_are_converted_there_and_back(void **state)
{
    (void)state;
    static const uint64_t ahead_ms[] = {60000, UINT64_C(1000) * UINT32_MAX};
    uint64_t now_ms = clock_mono_ms();
    for (unsigned i = 0; i < 2; i++) {
        uint64_t wall_ms = storage_wall_ms(stage.storage, now_ms + ahead_ms[i]);
        assert_int_equal(storage_mono_ms(stage.storage, wall_ms), now_ms + ahead_ms[i]);
    }
    assert_true(storage_wall_ms(stage.storage, CLOCK_NEVER) == OPERATION_NEVER_MS);
    assert_true(storage_mono_ms(stage.storage, OPERATION_NEVER_MS) == CLOCK_NEVER);
}

static void a_moment_that_is_past_is_now(void **state)
{
    (void)state;
    static const uint64_t behind_ms[] = {1000, 3600000};
    uint64_t wall_ms = storage_now_ms(stage.storage);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t before_ms = clock_mono_ms();
        uint64_t mono_ms = storage_mono_ms(stage.storage, wall_ms - behind_ms[i]);
        assert_in_range(mono_ms, before_ms, clock_mono_ms());
    }
    assert_in_range(storage_mono_ms(stage.storage, 0), 1, clock_mono_ms());
}

static void absurd_moments_stay_in_their_range(void **state)
{
    (void)state;
    assert_true(storage_mono_ms(stage.storage, OPERATION_NEVER_MS - 1) > clock_mono_ms());
    assert_true(storage_wall_ms(stage.storage, CLOCK_NEVER - 1) > storage_now_ms(stage.storage));
    assert_true(storage_wall_ms(stage.storage, 0) >= 1); /* 0 would mean something else */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(all_that_is_kept_comes_back),
        TEST(it_is_counted),
        TEST(counting_references_goes_on_from_what_was_loaded),
        TEST(an_error_of_the_store_or_of_the_sink_ends_it),
        TEST(the_words_of_a_failed_load_are_logged),
        TEST(a_store_that_names_absurd_times_or_ids_is_damaged),
        TEST(an_error_of_opening_is_told),
        TEST(without_an_engine_there_is_no_storage),
        TEST(ids_are_never_used_again),
        TEST(a_new_store_begins_with_the_wall_clock),
        TEST(the_clock_never_goes_behind_what_the_store_has_seen),
        TEST(so_it_is_with_an_empty_store),
        TEST(a_batch_says_what_time_it_is),
        TEST(moments_are_converted_there_and_back),
        TEST(a_moment_that_is_past_is_now),
        TEST(absurd_moments_stay_in_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
