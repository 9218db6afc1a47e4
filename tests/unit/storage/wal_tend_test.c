#include "storage/wal_engine_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/storage/wal_store_support.h"

static struct wal_store store;

static int set_up(void **state)
{
    (void)state;
    wal_store_init(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_store_fini(&store);
    return 0;
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
    wal_store_set_room(&store, faulty_files_bytes(&store.disk));
    assert_int_equal(tend_until_done(1000), 0);
    assert_int_equal(tend_until_done(31000), 0);
    wal_store_set_room(&store, UINT64_MAX);
    assert_int_equal(tend_until_done(90999), 0); /* twice as long after the second */
    apply_kilobytes(5);                          /* meanwhile the log is written on */
    assert_int_equal(tend_until_done(91000), 1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_log_that_is_too_large_is_compacted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_is_compacted_after_a_while_when_it_is_worth_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_compaction_that_failed_is_tried_again_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_large_snapshot_asks_for_a_larger_log, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
