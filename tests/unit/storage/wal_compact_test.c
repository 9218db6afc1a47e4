#include "storage/wal_compact.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/storage/wal_store_support.h"

#define PAYLOAD_BYTES 1000u
#define BATCH 50u

static struct wal_store store;
static uint8_t payload[PAYLOAD_BYTES];

static int set_up(void **state)
{
    (void)state;
    wal_store_init(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    const struct operation session = {
        .type = OPERATION_SESSION_PUT, .session = 1, .client_id = slice_text("c")};
    assert_int_equal(wal_store_apply(&store, &session, 1), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_store_fini(&store);
    return 0;
}

/* Queues the messages `from` to `to - 1`, 50 KB a batch. */
static void push(uint64_t from, uint64_t to)
{
    struct operation operations[2 * BATCH];
    while (from < to) {
        size_t count = 0;
        for (; from < to && count < 2 * BATCH; from++) {
            operations[count++] = (struct operation){.type = OPERATION_MESSAGE_PUT,
                                                     .message = from,
                                                     .topic = slice_text("t"),
                                                     .payload = slice_of(payload, PAYLOAD_BYTES)};
            operations[count++] = (struct operation){.type = OPERATION_QUEUE_PUSH,
                                                     .session = 1,
                                                     .position = from,
                                                     .message = from,
                                                     .qos = 1};
        }
        assert_int_equal(wal_store_apply(&store, operations, count), ERR_OK);
    }
}

static void pop(uint64_t from, uint64_t to)
{
    for (; from < to; from++) {
        const struct operation operations[] = {
            {.type = OPERATION_QUEUE_POP, .session = 1, .position = from, .last = from},
            {.type = OPERATION_MESSAGE_DROP, .message = from},
        };
        assert_int_equal(wal_store_apply(&store, operations, 2), ERR_OK);
    }
}

static uint64_t lines(const char *word)
{
    uint64_t count = 0;
    const char *at = store.content.data;
    while (at != NULL && (at = strstr(at, word)) != NULL) {
        count++;
        at++;
    }
    return count;
}

static void expect_queued(uint64_t count)
{
    wal_store_close(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    assert_int_equal(lines("message_put"), count);
    assert_int_equal(lines("queue_push"), count);
}

static uint64_t snapshot_bytes(void)
{
    return wal_store_engine(&store)->snapshot_bytes;
}

static size_t kept(void)
{
    return wal_store_engine(&store)->manifest.keep_count;
}

static void bodies_that_are_live_are_not_written_again(void **state)
{
    (void)state;
    push(1, 1001); /* a megabyte */
    assert_true(wal_store_compact(&store));
    assert_in_range(kept(), 15, 30);
    assert_in_range(snapshot_bytes(), 5000, 150000); /* the last segment wasn't full: copied */
    push(1001, 2001);
    assert_true(wal_store_compact(&store));
    assert_in_range(kept(), 30, 60);
    assert_in_range(snapshot_bytes(), 10000, 300000);
    expect_queued(2000);
}

static void the_log_is_empty_after_a_compaction(void **state)
{
    (void)state;
    push(1, 500);
    assert_true(wal_log_bytes(wal_store_engine(&store)->log) > 400000);
    assert_true(wal_store_compact(&store));
    assert_int_equal(wal_log_bytes(wal_store_engine(&store)->log), 0);
}

static void segments_of_bodies_go_when_the_bodies_went(void **state)
{
    (void)state;
    push(1, 1001);
    assert_true(wal_store_compact(&store));
    size_t before = kept();
    pop(1, 501);
    assert_true(wal_store_compact(&store));
    assert_in_range(kept(), before / 2 - 2, before / 2 + 2);
    expect_queued(500);
    pop(501, 1001);
    assert_true(wal_store_compact(&store));
    assert_int_equal(kept(), 0);
    assert_in_range(snapshot_bytes(), 100, 300);
    assert_in_range(wal_store_count(&store, "log."), 0, 2);
    expect_queued(0);
}

static void the_few_live_bodies_of_a_segment_are_copied(void **state)
{
    (void)state;
    push(1, 1001);
    assert_true(wal_store_compact(&store));
    for (uint64_t id = 1; id < 1001; id += 10) { /* one of ten stays */
        pop(id, id + 9);
    }
    assert_true(wal_store_compact(&store));
    assert_int_equal(kept(), 0);
    assert_in_range(snapshot_bytes(), 100 * PAYLOAD_BYTES, 120 * PAYLOAD_BYTES);
    expect_queued(100);
    assert_true(wal_store_compact(&store)); /* out of one snapshot into the next */
    assert_in_range(snapshot_bytes(), 100 * PAYLOAD_BYTES, 120 * PAYLOAD_BYTES);
    expect_queued(100);
}

static void retained_messages_are_copied_out_of_segments_that_stay(void **state)
{
    (void)state;
    push(1, 100);
    const struct operation retained = {
        .type = OPERATION_RETAINED_PUT, .topic = slice_text("r"), .payload = slice_text("here")};
    assert_int_equal(wal_store_apply(&store, &retained, 1), ERR_OK);
    push(100, 200);
    assert_true(wal_store_compact(&store));
    assert_true(kept() > 0);
    expect_queued(199);
    assert_int_equal(lines("retained_put topic=r payload=here"), 1);
}

static void a_batch_that_is_written_meanwhile_is_not_lost(void **state)
{
    (void)state;
    push(1, 300);
    assert_int_equal(wal_engine__compact(wal_store_engine(&store)), ERR_OK);
    push(300, 600);
    pop(1, 10);
    wal_engine__end_compaction(wal_store_engine(&store), false);
    assert_int_equal(stat_get(&store.stats, STAT_COMPACTIONS), 1);
    expect_queued(590);
}

static void a_cancelled_compaction_leaves_everything_as_it_was(void **state)
{
    (void)state;
    push(1, 300);
    const struct wal_manifest *manifest = &wal_store_engine(&store)->manifest;
    const struct wal_compact_config config = {.dir = WAL_STORE_DIR,
                                              .files = &store.disk.files,
                                              .manifest = manifest,
                                              .next = wal_log_seal(wal_store_engine(&store)->log),
                                              .number = 1};
    const _Atomic bool cancel = true;
    struct wal_compact_result result;
    assert_int_equal(wal_compact_run(&config, &cancel, &result), ERR_STOPPED);
    wal_manifest_fini(&result.manifest);
    assert_int_equal(wal_store_count(&store, "snapshot"), 0);
    expect_queued(299);
}

/* Flips a bit of message number `id`'s body, in whichever segment it is. */
static void damage_segment(uint64_t segment, size_t at)
{
    char name[64];
    size_t len;
    (void)snprintf(name, sizeof(name), "log.%016llu", (unsigned long long)segment);
    uint8_t *data = faulty_files_data(&store.disk, wal_store_path(name), &len);
    assert_non_null(data);
    assert_true(at < len);
    data[at] ^= 4;
}

static void damage_that_nobody_was_told_of_stops_it(void **state)
{
    (void)state;
    push(1, 300);
    damage_segment(2, 20000);
    assert_false(wal_store_compact(&store));
    assert_false(wal_store_compact(&store));
    push(300, 310); /* the log is written on */
    assert_int_equal(wal_store_count(&store, "snapshot"), 0);
    assert_int_equal(wal_store_engine(&store)->manifest.snapshot, 0);
}

static void damage_in_a_kept_segment_does_not_stop_it_before_it_matters(void **state)
{
    (void)state;
    push(1, 301);
    assert_true(wal_store_compact(&store));
    assert_true(wal_manifest_keeps(&wal_store_engine(&store)->manifest, 1));
    damage_segment(1, 20000);
    assert_true(wal_store_compact(&store)); /* it stays as it is */
    pop(2, 50);                             /* most of it is dead now: it would be copied */
    assert_false(wal_store_compact(&store));
    wal_store_close(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK); /* says what is lost, */
    assert_true(wal_store_engine(&store)->salvage);
    assert_true(wal_store_compact(&store)); /* and goes on without it */
    assert_false(wal_store_engine(&store)->salvage);
    uint64_t left = lines("message_put");
    assert_in_range(left, 200, 251);
    expect_queued(left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bodies_that_are_live_are_not_written_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_log_is_empty_after_a_compaction, set_up, tear_down),
        cmocka_unit_test_setup_teardown(segments_of_bodies_go_when_the_bodies_went, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_few_live_bodies_of_a_segment_are_copied, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(retained_messages_are_copied_out_of_segments_that_stay,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_that_is_written_meanwhile_is_not_lost, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_compaction_leaves_everything_as_it_was, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damage_that_nobody_was_told_of_stops_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_in_a_kept_segment_does_not_stop_it_before_it_matters,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
