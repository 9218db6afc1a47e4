#include "storage/wal_engine_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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

/* ---- opening --------------------------------------------------------------------------------- */

static void a_second_engine_is_locked_out(void **state)
{
    (void)state;
    struct engine *second = NULL;
    assert_int_equal(engine_wal.open(&store.config, &store.stats, &second), ERR_LOCKED);
    assert_null(second);
    wal_store_apply_random(&store, &random_batches);
    wal_store_reopen(&store); /* the lock ends with the engine */
    wal_store_expect(&store, &random_batches.model);
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
    wal_store_fill(&store, &random_batches);
    wal_store_close(&store);
    uint64_t bytes = faulty_files_bytes(&store.disk);
    replace_file("manifest", "pulse-wal 2\nanything\n");
    assert_int_equal(wal_store_open(&store), ERR_VERSION);
    assert_in_range(faulty_files_bytes(&store.disk), bytes - 100, bytes + 100);
    size_t len;
    const uint8_t *data = faulty_files_data(&store.disk, wal_store_path("manifest"), &len);
    assert_int_equal(len, strlen("pulse-wal 2\nanything\n"));
    assert_memory_equal(data, "pulse-wal 2\nanything\n", len);
}

/* ---- a start that is interrupted ------------------------------------------------------------- */

static void a_crash_at_any_call_of_the_first_start_leaves_a_store_that_starts(void **state)
{
    (void)state;
    for (unsigned loss = LOSS_NONE; loss <= LOSS_SOME; loss++) {
        bool reached = true;
        for (unsigned at = 1; reached; at++) {
            wal_store_fini(&store);
            wal_store_init(&store);
            wal_store_freeze(&store, at);
            reached = wal_store_open(&store) != ERR_OK;
            wal_store_close(&store);
            faulty_files_restart(&store.disk, (enum faulty_loss)loss, at);
            assert_int_equal(wal_store_open(&store), ERR_OK);
            assert_int_equal(store.content.len, 0);
            assert_false(wal_store_engine(&store)->salvage);
            assert_in_range(at, 1, 500);
        }
    }
}

/* What a start of a store with everything in it meets at call number `at`. True: it was reached. */
static bool start_with(unsigned at, bool crash, unsigned variant)
{
    if (crash) {
        wal_store_freeze(&store, at);
    } else {
        wal_store_fail(&store, at, variant, EIO);
    }
    bool reached = wal_store_open(&store) != ERR_OK;
    wal_store_close(&store);
    faulty_files_restart(&store.disk, crash ? (enum faulty_loss)variant : LOSS_NONE, at);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_store_expect(&store, &random_batches.model);
    assert_false(wal_store_engine(&store)->salvage);
    assert_int_equal(wal_store_count(&store, "quarantine"), 0);
    wal_store_close(&store);
    return reached;
}

static void a_crash_at_any_call_of_a_start_loses_nothing(void **state)
{
    (void)state;
    wal_store_fill(&store, &random_batches);
    wal_store_close(&store);
    for (unsigned loss = LOSS_NONE; loss <= LOSS_SOME; loss++) {
        unsigned at = 1;
        while (start_with(at, true, loss)) {
            at += loss == LOSS_ALL ? 1 : 4;
            assert_in_range(at, 1, 1000);
        }
        assert_true(at > 10);
    }
}

/* Errors of the disk that end by themselves: a start may fail, nothing is lost. */
static void an_error_at_any_call_of_a_start_loses_nothing(void **state)
{
    (void)state;
    wal_store_fill(&store, &random_batches);
    wal_store_close(&store);
    for (unsigned at = 1; at < 150; at += 2) {
        (void)start_with(at, false, 1 + at % 3);
    }
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

/* A look at what refusing must leave alone: all but spare segments. */
static size_t files_that_count(void)
{
    return wal_store_count(&store, "log.") + 100 * wal_store_count(&store, "snapshot") +
           10000 * wal_store_count(&store, "quarantine") +
           1000000 * wal_store_count(&store, "manifest");
}

static void refuse(void)
{
    size_t files = files_that_count();
    store.config.wal_damage = DAMAGE_REFUSE;
    assert_int_equal(wal_store_open(&store), ERR_DAMAGED);
    assert_int_equal(wal_store_open(&store), ERR_DAMAGED); /* it is not healed by looking */
    assert_int_equal(files_that_count(), files);
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
    assert_true(wal_store_count(&store, "quarantine") > 0);
}

static void damage_in_the_log_is_set_aside_or_refused(void **state)
{
    (void)state;
    char name[64];
    wal_store_fill(&store, &random_batches);
    (void)snprintf(name, sizeof(name), "log.%016u",
                   (unsigned)wal_store_engine(&store)->manifest.first);
    wal_store_close(&store);
    flip(name, 9000); /* in the first of several frames */
    refuse();
    heal();
}

static void damage_in_the_snapshot_is_set_aside_or_refused(void **state)
{
    (void)state;
    wal_store_fill(&store, &random_batches);
    wal_store_close(&store);
    flip("snapshot.0000000000000001", 200);
    refuse();
    heal();
    assert_int_equal(wal_store_count(&store, "quarantine.snapshot.0000000000000001"), 1);
}

/* Sound by its CRC, but no record of ours. */
static void a_record_that_means_nothing_is_set_aside_or_refused(void **state)
{
    (void)state;
    static const uint8_t record[] = {0x7e, 1, 2, 3};
    const size_t end = sizeof(record);
    wal_store_fill(&store, &random_batches);
    assert_int_equal(
        wal_log_append(wal_store_engine(&store)->log, slice_of(record, sizeof(record)), &end, 1),
        ERR_OK);
    wal_store_apply_random(&store, &random_batches);
    wal_store_close(&store);
    refuse();
    heal();
    wal_store_expect(&store, &random_batches.model);
    assert_int_equal(stat_get(&store.stats, STAT_QUARANTINED_BYTES), sizeof(record));
}

/* The bytes of an earlier segment, from which only bodies are read. */
static void damage_in_a_kept_segment_is_set_aside_or_refused(void **state)
{
    (void)state;
    static uint8_t payload[1000];
    const struct operation session = {
        .type = OPERATION_SESSION_PUT, .session = 1, .client_id = slice_text("c")};
    assert_int_equal(wal_store_apply(&store, &session, 1), ERR_OK);
    for (uint64_t id = 2; id < 150; id++) {
        const struct operation operations[] = {
            {.type = OPERATION_MESSAGE_PUT,
             .message = id,
             .topic = slice_text("t"),
             .payload = slice_of(payload, sizeof(payload))},
            {.type = OPERATION_QUEUE_PUSH, .session = 1, .position = id, .message = id},
        };
        assert_int_equal(wal_store_apply(&store, operations, 2), ERR_OK);
    }
    assert_true(wal_store_compact(&store));
    assert_true(wal_manifest_keeps(&wal_store_engine(&store)->manifest, 1));
    wal_store_close(&store);
    size_t len;
    assert_non_null(faulty_files_data(&store.disk, wal_store_path("log.0000000000000001"), &len));
    flip("log.0000000000000001", 20000);
    refuse();
    heal();
    assert_in_range(stat_get(&store.stats, STAT_QUARANTINED_BYTES), len, len);
}

static void a_missing_snapshot_is_told_and_passed_over(void **state)
{
    (void)state;
    wal_store_fill(&store, &random_batches);
    wal_store_close(&store);
    faulty_files_remove(&store.disk, wal_store_path("snapshot.0000000000000001"));
    refuse();
    assert_int_equal(wal_store_open(&store), ERR_OK);
    assert_true(wal_store_engine(&store)->salvage);
    assert_true(wal_store_compact(&store));
    wal_store_reopen(&store);
    assert_false(wal_store_engine(&store)->salvage);
}

static void a_manifest_that_is_lost_is_made_again_from_the_snapshot(void **state)
{
    (void)state;
    wal_store_fill(&store, &random_batches);
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
    wal_store_apply_random(&store, &random_batches);
    assert_true(wal_store_compact(&store));
    wal_store_reopen(&store);
    wal_store_expect(&store, &random_batches.model);
    assert_int_equal(wal_store_count(&store, "quarantine.manifest"), 1);
}

static void a_lost_manifest_of_a_store_without_a_snapshot_is_made_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        wal_store_apply_random(&store, &random_batches);
    }
    wal_store_close(&store);
    faulty_files_remove(&store.disk, wal_store_path("manifest"));
    assert_int_equal(wal_store_open(&store), ERR_OK);
    wal_store_expect(&store, &random_batches.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_second_engine_is_locked_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused_and_left_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damage_in_the_log_is_set_aside_or_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damage_in_the_snapshot_is_set_aside_or_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damage_in_a_kept_segment_is_set_aside_or_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_record_that_means_nothing_is_set_aside_or_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_missing_snapshot_is_told_and_passed_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_that_is_lost_is_made_again_from_the_snapshot,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_manifest_of_a_store_without_a_snapshot_is_made_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_crash_at_any_call_of_the_first_start_leaves_a_store_that_starts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crash_at_any_call_of_a_start_loses_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_error_at_any_call_of_a_start_loses_nothing, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
