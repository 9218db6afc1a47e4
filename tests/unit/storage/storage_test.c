#include "tests/unit/storage/storage_stage_support.h"

#include "base/clock.h"
#include "base/log.h"
#include "storage/storage_priv.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

/* When the writer hands what to the engine, and when parts come back. What an engine is given is in
 * part_batch_test.c. */

static struct stage stage;
static int log_fd;

static int set_up(void **state)
{
    (void)state;
    log_fd = memfd_create("log", 0);
    log_init(log_fd, LOG_FORMAT_TEXT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_init(STDERR_FILENO, LOG_FORMAT_TEXT);
    (void)close(log_fd);
    return 0;
}

/* How often `words` stand in the log. */
static unsigned logged(const char *words)
{
    static char log[65536];
    ssize_t len = pread(log_fd, log, sizeof(log) - 1, 0);
    assert_true(len >= 0);
    log[len] = '\0';
    unsigned count = 0;
    for (const char *at = strstr(log, words); at != NULL; at = strstr(at + 1, words)) {
        count++;
    }
    return count;
}

#define FAILS "the store can't be written"
#define OVER "the store can be written again"

/* A part with one change that differs from all others. */
static void make_part(struct stage_part *part)
{
    static uint64_t session = 0;
    stage_part_init(&stage, part);
    part_add(&part->part, OPERATION_INBOUND_QOS2_PUT, ++session)->packet_id = 1;
}

static void commit_one(void)
{
    struct stage_part part;
    make_part(&part);
    stage_commit(&part);
    stage_part_fini(&part);
}

static bool healthy(char *why)
{
    return storage_healthy(stage.storage, why, 200);
}

/* ---- order and grouping ---------------------------------------------------------------------- */

static void parts_come_back_in_the_order_in_which_they_went(void **state)
{
    (void)state;
    struct stage_part parts[200];
    stage_open(&stage, COMMIT_STRICT);
    for (unsigned i = 0; i < 200; i++) {
        make_part(&parts[i]);
        stage_submit(&parts[i]);
    }
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(stage_wait(&parts[i]), ERR_OK);
        assert_int_equal(parts[i].order, i + 1);
        stage_part_fini(&parts[i]);
    }
    stage_close(&stage);
}

static void what_waits_goes_as_one_batch(void **state)
{
    (void)state;
    struct stage_part parts[50];
    stage_open(&stage, COMMIT_STRICT);
    fake_store_block(stage.store, FAKE_APPLY);
    for (unsigned i = 0; i < 50; i++) {
        make_part(&parts[i]);
        stage_submit(&parts[i]);
        if (i == 0) {
            assert_true(fake_store_wait_blocked(stage.store, STAGE_WAIT_MS));
        }
    }
    fake_store_unblock(stage.store);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(stage_wait(&parts[i]), ERR_OK);
        stage_part_fini(&parts[i]);
    }
    assert_int_equal(fake_store_calls(stage.store, FAKE_APPLY), 2);
    assert_int_equal(fake_store_calls(stage.store, FAKE_SYNC), 2);
    stage_close(&stage);
}

static void a_batch_is_bounded_and_the_rest_goes_next(void **state)
{
    (void)state;
    struct stage_part parts[6];
    stage_open(&stage, COMMIT_STRICT);
    fake_store_forget(stage.store);
    fake_store_block(stage.store, FAKE_APPLY);
    for (unsigned i = 0; i < 6; i++) {
        make_part(&parts[i]);
        for (unsigned c = 1; i > 0 && c < 10000; c++) {
            part_add(&parts[i].part, OPERATION_INBOUND_QOS2_PUT, 9)->packet_id = (uint16_t)c;
        }
        stage_submit(&parts[i]);
        if (i == 0) {
            assert_true(fake_store_wait_blocked(stage.store, STAGE_WAIT_MS));
        }
    }
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_PENDING), 50001);
    fake_store_unblock(stage.store);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(stage_wait(&parts[i]), ERR_OK);
        assert_int_equal(parts[i].order, i + 1);
        stage_part_fini(&parts[i]);
    }
    assert_int_equal(fake_store_calls(stage.store, FAKE_APPLY), 1 + 3); /* 20000, 20000, 10000 */
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_PENDING), 0);
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_OPERATIONS), 50001);
    stage_close(&stage);
}

static void a_batch_of_large_messages_is_bounded_by_their_bytes(void **state)
{
    (void)state;
    static char payload[1024 * 1024 + 1];
    memset(payload, 'x', sizeof(payload) - 1);
    struct stage_part parts[41];
    stage_open(&stage, COMMIT_FAST);
    fake_store_forget(stage.store);
    fake_store_block(stage.store, FAKE_APPLY);
    for (unsigned i = 0; i < 41; i++) {
        struct message *message = stage_message("large", i == 0 ? "small" : payload);
        stage_part_init(&stage, &parts[i]);
        (void)stage_push(&parts[i], 1, i + 1, message);
        message_unref(message);
        stage_submit(&parts[i]);
        if (i == 0) {
            assert_true(fake_store_wait_blocked(stage.store, STAGE_WAIT_MS));
        }
    }
    fake_store_unblock(stage.store);
    for (unsigned i = 0; i < 41; i++) {
        assert_int_equal(stage_wait(&parts[i]), ERR_OK);
        stage_part_fini(&parts[i]);
    }
    assert_int_equal(fake_store_calls(stage.store, FAKE_APPLY), 1 + 3); /* 16, 16, 8 MiB */
    stage_close(&stage);
}

/* ---- waking and sleeping --------------------------------------------------------------------- */

#define PRODUCERS 4
#define ROUNDS 1000

struct producer {
    pthread_t thread;
    uint64_t longest_ms;
};

static void *produce(void *arg)
{
    struct producer *producer = arg;
    struct stage_part part;
    stage_part_init(&stage, &part);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t began_ms = clock_mono_ms();
        part_add(&part.part, OPERATION_INBOUND_QOS2_PUT, 1)->packet_id = 1;
        stage_commit(&part);
        uint64_t took_ms = clock_mono_ms() - began_ms;
        producer->longest_ms = took_ms > producer->longest_ms ? took_ms : producer->longest_ms;
    }
    stage_part_fini(&part);
    return NULL;
}

/* A part that the writer slept through would wait until the store is tended, for a second. */
static void the_writer_sleeps_through_no_part(void **state)
{
    (void)state;
    struct producer producers[PRODUCERS] = {0};
    stage_open(&stage, COMMIT_STRICT);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
        assert_true(producers[i].longest_ms < 900);
    }
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_OPERATIONS), PRODUCERS * ROUNDS);
    stage_close(&stage);
}

/* How often the writer went to sleep so far, as the kernel counts it. */
static unsigned long sleeps(void)
{
    unsigned long count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        char path[300], line[100];
        bool is_writer = false;
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "r");
        while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
            is_writer = is_writer || strcmp(line, "Name:\tstorage\n") == 0;
            if (is_writer && strncmp(line, "voluntary_ctxt_switches:", 24) == 0) {
                count = strtoul(line + 24, NULL, 10);
            }
        }
        if (status != NULL) {
            (void)fclose(status);
        }
    }
    (void)closedir(tasks);
    return count;
}

static void an_idle_writer_sleeps(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_BALANCED);
    commit_one();
    assert_true(fake_store_wait(stage.store, FAKE_SYNC, 1, STAGE_WAIT_MS));
    assert_true(fake_store_wait(stage.store, FAKE_TEND, 2, STAGE_WAIT_MS));
    unsigned long before = sleeps();
    assert_true(before > 0);
    assert_true(fake_store_wait(stage.store, FAKE_TEND, 3, STAGE_WAIT_MS));
    assert_true(sleeps() - before <= 3); /* for a second: once, but for what a lock may take */
    stage_close(&stage);
}

/* ---- policies -------------------------------------------------------------------------------- */

static void strict_syncs_each_batch_before_it_is_given_back(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_STRICT);
    for (unsigned i = 0; i < 3; i++) {
        commit_one();
        assert_int_equal(fake_store_calls(stage.store, FAKE_SYNC), i + 1);
    }
    assert_string_equal(fake_store_history(stage.store), "ASASAS");
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_SYNCS), 3);
    stage_close(&stage);
}

static void strict_gives_back_only_what_is_synced(void **state)
{
    (void)state;
    struct stage_part part;
    stage_open(&stage, COMMIT_STRICT);
    fake_store_fail(stage.store, FAKE_SYNC, ERR_IO, UINT32_MAX, "fdatasync: no");
    make_part(&part);
    stage_submit(&part);
    assert_true(fake_store_wait(stage.store, FAKE_SYNC, 2, STAGE_WAIT_MS));
    assert_false(stage_is_done(&part));
    fake_store_fail(stage.store, FAKE_SYNC, ERR_OK, 0, "");
    assert_int_equal(stage_wait(&part), ERR_OK);
    assert_int_equal(fake_store_calls(stage.store, FAKE_APPLY), 1); /* it was applied already */
    stage_part_fini(&part);
    stage_close(&stage);
}

static void the_others_give_back_what_is_applied(void **state)
{
    (void)state;
    static const enum storage_policy policies[] = {COMMIT_BALANCED, COMMIT_FAST};
    for (unsigned i = 0; i < 2; i++) {
        stage_open(&stage, policies[i]);
        commit_one();
        assert_int_equal(fake_store_calls(stage.store, FAKE_APPLY), 1);
        assert_int_equal(fake_store_calls(stage.store, FAKE_SYNC), 0);
        stage_close(&stage);
    }
}

/* From the first batch that isn't synced on, whatever comes behind it. */
static void assert_synced_after(enum storage_policy policy, uint64_t least_ms, uint64_t most_ms)
{
    stage_open(&stage, policy);
    commit_one();
    uint64_t applied_ms = fake_store_call_ms(stage.store, FAKE_APPLY);
    commit_one();
    assert_true(fake_store_wait(stage.store, FAKE_SYNC, 1, STAGE_WAIT_MS));
    uint64_t took_ms = fake_store_call_ms(stage.store, FAKE_SYNC) - applied_ms;
    assert_in_range(took_ms, least_ms, most_ms);
    stage_close(&stage);
}

/* The upper bounds leave room for a busy machine. */
static void balanced_syncs_soon_after_the_first_batch(void **state)
{
    (void)state;
    assert_synced_after(COMMIT_BALANCED, 70, 2000);
}

static void fast_syncs_later(void **state)
{
    (void)state;
    assert_synced_after(COMMIT_FAST, 800, 4000);
}

static void balanced_syncs_while_batches_keep_coming(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_BALANCED);
    uint64_t deadline_ms = clock_mono_ms() + STAGE_WAIT_MS;
    while (fake_store_calls(stage.store, FAKE_SYNC) < 2 && clock_mono_ms() < deadline_ms) {
        commit_one();
    }
    assert_true(fake_store_calls(stage.store, FAKE_SYNC) >= 2);
    stage_close(&stage);
}

static void nothing_is_synced_when_nothing_was_applied(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_BALANCED);
    assert_true(fake_store_wait(stage.store, FAKE_TEND, 1, STAGE_WAIT_MS));
    assert_int_equal(fake_store_calls(stage.store, FAKE_SYNC), 0);
    stage_close(&stage);
}

/* Else a power loss would take more than the last 100 ms. */
static void balanced_gives_nothing_back_after_a_failed_sync(void **state)
{
    (void)state;
    struct stage_part part;
    stage_open(&stage, COMMIT_BALANCED);
    fake_store_fail(stage.store, FAKE_SYNC, ERR_IO, UINT32_MAX, "fdatasync: no");
    commit_one();
    assert_true(fake_store_wait(stage.store, FAKE_SYNC, 1, STAGE_WAIT_MS));
    make_part(&part);
    stage_submit(&part);
    assert_true(fake_store_wait(stage.store, FAKE_APPLY, 2, STAGE_WAIT_MS));
    assert_true(fake_store_wait(stage.store, FAKE_SYNC, 3, STAGE_WAIT_MS));
    assert_false(stage_is_done(&part));
    fake_store_fail(stage.store, FAKE_SYNC, ERR_OK, 0, "");
    assert_int_equal(stage_wait(&part), ERR_OK);
    stage_part_fini(&part);
    stage_close(&stage);
}

/* ---- failure --------------------------------------------------------------------------------- */

static void a_batch_that_fails_is_tried_until_it_is_applied(void **state)
{
    (void)state;
    struct stage_part parts[3];
    char why[200];
    stage_open(&stage, COMMIT_STRICT);
    assert_true(healthy(why));
    assert_string_equal(why, "");
    fake_store_fail(stage.store, FAKE_APPLY, ERR_FULL, UINT32_MAX, "pwrite: no space");
    for (unsigned i = 0; i < 3; i++) {
        make_part(&parts[i]);
        stage_submit(&parts[i]);
    }
    assert_true(fake_store_wait(stage.store, FAKE_APPLY, 3, STAGE_WAIT_MS));
    assert_false(healthy(why));
    assert_string_equal(why, "fake: limit reached: pwrite: no space");
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_FAILING), 1);
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_PENDING), 3);
    fake_store_fail(stage.store, FAKE_APPLY, ERR_OK, 0, "");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(stage_wait(&parts[i]), ERR_OK);
        assert_int_equal(parts[i].order, i + 1);
        stage_part_fini(&parts[i]);
    }
    commit_one(); /* what came before it is over */
    assert_true(healthy(why));
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_FAILING), 0);
    assert_true(stat_get(storage_stats(stage.storage), STAT_ERRORS) >= 3);
    stage_close(&stage);
}

static void one_line_says_that_it_fails_and_one_that_it_is_over(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_STRICT);
    fake_store_fail(stage.store, FAKE_APPLY, ERR_IO, 3, "pwrite: \"no\"");
    commit_one();
    stage_close(&stage);
    assert_int_equal(logged(FAILS), 1);
    assert_int_equal(logged("engine=\"fake\""), 2);
    assert_int_equal(logged("input/output error"), 1);
    assert_int_equal(logged("pwrite: \\\"no\\\""), 1);
    assert_int_equal(logged(OVER), 1);
    assert_int_equal(logged("failed_attempts=3"), 1);
}

static void a_store_that_comes_and_goes_does_not_fill_the_log(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_FAST);
    for (unsigned i = 0; i < 5; i++) {
        fake_store_fail(stage.store, FAKE_APPLY, ERR_IO, 1, "");
        commit_one();
    }
    stage_close(&stage);
    assert_int_equal(logged(FAILS), 1);
    assert_int_equal(logged(OVER), 1);
}

static void attempts_are_not_made_in_haste(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_FAST);
    fake_store_fail(stage.store, FAKE_APPLY, ERR_IO, 3, "");
    uint64_t began_ms = clock_mono_ms();
    commit_one();
    assert_true(clock_mono_ms() - began_ms >= 100 + 200 + 400);
    assert_int_equal(fake_store_calls(stage.store, FAKE_APPLY), 4);
    stage_close(&stage);
}

/* ---- tending --------------------------------------------------------------------------------- */

static void an_idle_store_is_tended_about_once_a_second(void **state)
{
    (void)state;
    uint64_t began_ms = clock_mono_ms();
    stage_open(&stage, COMMIT_STRICT);
    assert_true(fake_store_wait(stage.store, FAKE_TEND, 2, STAGE_WAIT_MS));
    assert_in_range(clock_mono_ms() - began_ms, 1900, 5000);
    assert_int_equal(fake_store_calls(stage.store, FAKE_TEND), 2);
    stage_close(&stage);
}

static void it_is_tended_at_once_while_there_is_more_to_do(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_STRICT);
    fake_store_set_tend_more(stage.store, 500);
    assert_true(fake_store_wait(stage.store, FAKE_TEND, 501, STAGE_WAIT_MS));
    stage_close(&stage);
}

static void a_batch_waits_for_no_more_than_one_portion(void **state)
{
    (void)state;
    struct stage_part part;
    stage_open(&stage, COMMIT_STRICT);
    fake_store_set_tend_more(stage.store, 100);
    fake_store_block(stage.store, FAKE_TEND);
    assert_true(fake_store_wait_blocked(stage.store, STAGE_WAIT_MS));
    make_part(&part);
    stage_submit(&part);
    fake_store_unblock(stage.store);
    assert_int_equal(stage_wait(&part), ERR_OK);
    stage_part_fini(&part);
    assert_true(fake_store_wait(stage.store, FAKE_TEND, 5, STAGE_WAIT_MS));
    assert_int_equal(strncmp(fake_store_history(stage.store), "TASTTTT", 7), 0);
    stage_close(&stage);
}

/* Compaction may be what makes room on a full disk. */
static void a_store_that_fails_is_tended_between_two_attempts(void **state)
{
    (void)state;
    struct stage_part part;
    stage_open(&stage, COMMIT_STRICT);
    fake_store_fail(stage.store, FAKE_APPLY, ERR_FULL, UINT32_MAX, "");
    make_part(&part);
    stage_submit(&part);
    assert_true(fake_store_wait(stage.store, FAKE_APPLY, 5, STAGE_WAIT_MS)); /* 1600 ms pause */
    fake_store_set_tend_more(stage.store, 50);
    assert_true(fake_store_wait(stage.store, FAKE_TEND, 50, STAGE_WAIT_MS));
    assert_int_equal(fake_store_calls(stage.store, FAKE_APPLY), 5);
    fake_store_fail(stage.store, FAKE_APPLY, ERR_OK, 0, "");
    assert_int_equal(stage_wait(&part), ERR_OK);
    stage_part_fini(&part);
    stage_close(&stage);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(parts_come_back_in_the_order_in_which_they_went),
        TEST(what_waits_goes_as_one_batch),
        TEST(a_batch_is_bounded_and_the_rest_goes_next),
        TEST(a_batch_of_large_messages_is_bounded_by_their_bytes),
        TEST(the_writer_sleeps_through_no_part),
        TEST(an_idle_writer_sleeps),
        TEST(strict_syncs_each_batch_before_it_is_given_back),
        TEST(strict_gives_back_only_what_is_synced),
        TEST(the_others_give_back_what_is_applied),
        TEST(balanced_syncs_soon_after_the_first_batch),
        TEST(fast_syncs_later),
        TEST(balanced_syncs_while_batches_keep_coming),
        TEST(nothing_is_synced_when_nothing_was_applied),
        TEST(balanced_gives_nothing_back_after_a_failed_sync),
        TEST(a_batch_that_fails_is_tried_until_it_is_applied),
        TEST(one_line_says_that_it_fails_and_one_that_it_is_over),
        TEST(a_store_that_comes_and_goes_does_not_fill_the_log),
        TEST(attempts_are_not_made_in_haste),
        TEST(an_idle_store_is_tended_about_once_a_second),
        TEST(it_is_tended_at_once_while_there_is_more_to_do),
        TEST(a_batch_waits_for_no_more_than_one_portion),
        TEST(a_store_that_fails_is_tended_between_two_attempts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
