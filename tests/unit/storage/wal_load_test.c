#include "storage/wal_engine_priv.h"

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
    assert_int_equal(
        faulty_files_count(&store.disk, WAL_STORE_DIR "/quarantine.snapshot.0000000000000001"), 1);
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
    assert_int_equal(faulty_files_count(&store.disk, WAL_STORE_DIR "/quarantine.manifest"), 1);
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
        cmocka_unit_test_setup_teardown(a_missing_snapshot_is_told_and_passed_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_that_is_lost_is_made_again_from_the_snapshot,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_manifest_of_a_store_without_a_snapshot_is_made_again,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
