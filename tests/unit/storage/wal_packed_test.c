#include "storage/wal_packed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct wal_run run;

static struct slice record_of(const struct wal_run *made)
{
    return slice_of(made->data, made->len);
}

static void the_clock_comes_back(void **state)
{
    (void)state;
    uint8_t bytes[WAL_CLOCK_BYTES];
    struct wal_clock clock;
    wal_clock_encode((struct wal_clock){.now_ms = UINT64_MAX - 1, .next_id = 77}, bytes);
    assert_int_equal(wal_clock_decode(slice_of(bytes, sizeof(bytes)), &clock), ERR_OK);
    assert_true(clock.now_ms == UINT64_MAX - 1 && clock.next_id == 77);
    assert_int_equal(wal_clock_decode(slice_of(bytes, sizeof(bytes) - 1), &clock), ERR_DAMAGED);
    bytes[0] = WAL_PACKED_QUEUE;
    assert_int_equal(wal_clock_decode(slice_of(bytes, sizeof(bytes)), &clock), ERR_DAMAGED);
    assert_int_equal(wal_clock_decode(slice_of(NULL, 0), &clock), ERR_DAMAGED);
}

static void bodies_come_back_in_any_order(void **state)
{
    (void)state;
    const struct wal_body_ref refs[] = {
        {.message = 5, .offset = 100, .len = 200},
        {.message = 6, .offset = 300, .len = 0},
        {.message = 1, .offset = 8192, .len = UINT32_MAX},
        {.message = UINT64_MAX, .offset = UINT32_MAX, .len = 1},
        {.message = 2, .offset = 0, .len = 1},
    };
    wal_bodies_begin(&run, UINT64_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(refs); i++) {
        wal_bodies_add(&run, refs[i]);
    }
    struct wal_run_reader reader;
    assert_int_equal(wal_run_open(record_of(&run), &reader), ERR_OK);
    assert_true(reader.owner == UINT64_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(refs); i++) {
        struct wal_body_ref ref;
        assert_int_equal(wal_bodies_next(&reader, &ref), ERR_OK);
        assert_memory_equal(&ref, &refs[i], sizeof(ref));
    }
    assert_int_equal(reader.rest.len, 0);
}

static bool same(const struct wal_queued *a, const struct wal_queued *b)
{
    return a->position == b->position && a->message == b->message &&
           a->subscription_id == b->subscription_id && a->qos == b->qos && a->retain == b->retain &&
           a->shared == b->shared && a->released == b->released;
}

static void queue_entries_come_back(void **state)
{
    (void)state;
    const struct wal_queued entries[] = {
        {.position = 1, .message = 9, .qos = 1},
        {.position = 2, .message = 8, .qos = 2, .retain = true, .subscription_id = UINT32_MAX},
        {.position = 1000, .released = true, .qos = 2},
        {.position = 1001, .message = UINT64_MAX, .shared = true, .subscription_id = 1},
        {.position = UINT64_MAX, .message = 1},
    };
    wal_queued_begin(&run, 12);
    for (size_t i = 0; i < ARRAY_COUNT(entries); i++) {
        wal_queued_add(&run, &entries[i]);
    }
    struct wal_run_reader reader;
    assert_int_equal(wal_run_open(record_of(&run), &reader), ERR_OK);
    assert_int_equal(reader.owner, 12);
    for (size_t i = 0; i < ARRAY_COUNT(entries); i++) {
        struct wal_queued entry;
        assert_int_equal(wal_queued_next(&reader, &entry), ERR_OK);
        assert_true(same(&entry, &entries[i]));
    }
    assert_int_equal(reader.rest.len, 0);
}

static void a_run_of_neighbours_takes_few_bytes_and_never_overflows(void **state)
{
    (void)state;
    unsigned count = 0;
    wal_queued_begin(&run, 1);
    for (; !wal_run_full(&run); count++) {
        wal_queued_add(&run, &(struct wal_queued){
                                 .position = 100 + count, .message = 1000 + 3 * count, .qos = 1});
    }
    assert_in_range(run.len, WAL_RUN_BYTES - 64, WAL_RUN_BYTES);
    assert_in_range(run.len / count, 1, 4);
}

static void a_cut_run_is_damaged_or_shorter(void **state)
{
    (void)state;
    wal_queued_begin(&run, 300);
    for (unsigned i = 1; i <= 20; i++) {
        wal_queued_add(&run, &(struct wal_queued){
                                 .position = i * 1000, .message = i * 7777, .subscription_id = i});
    }
    unsigned shorter = 0, damaged = 0;
    for (size_t len = 0; len < run.len; len++) {
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, run.data, len);
        struct wal_run_reader reader;
        enum err err = wal_run_open(slice_of(copy, len), &reader);
        unsigned count = 0;
        while (err == ERR_OK && reader.rest.len > 0) {
            struct wal_queued entry;
            err = wal_queued_next(&reader, &entry);
            count++;
        }
        assert_true(err != ERR_OK || count < 20);
        shorter += err == ERR_OK ? 1 : 0;
        damaged += err == ERR_DAMAGED ? 1 : 0;
        free(copy);
    }
    assert_int_equal(shorter, 20);
    assert_int_equal(shorter + damaged, run.len);
}

static void what_writing_does_not_produce_is_damaged(void **state)
{
    (void)state;
    struct wal_run_reader reader;
    struct wal_queued entry;
    struct wal_body_ref ref;
    const uint8_t standing[] = {WAL_PACKED_QUEUE, 1, 0, 0, 2};
    assert_int_equal(wal_run_open(slice_of(standing, sizeof(standing)), &reader), ERR_OK);
    assert_int_equal(wal_queued_next(&reader, &entry), ERR_DAMAGED); /* positions grow */
    const uint8_t flags[] = {WAL_PACKED_QUEUE, 1, 1, 0x40, 2};
    assert_int_equal(wal_run_open(slice_of(flags, sizeof(flags)), &reader), ERR_OK);
    assert_int_equal(wal_queued_next(&reader, &entry), ERR_DAMAGED);
    const uint8_t endless[] = {
        WAL_PACKED_QUEUE, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    assert_int_equal(wal_run_open(slice_of(endless, sizeof(endless)), &reader), ERR_DAMAGED);
    const uint8_t back[] = {WAL_PACKED_BODIES, 1, 2, 1, 1}; /* an offset of -1 */
    assert_int_equal(wal_run_open(slice_of(back, sizeof(back)), &reader), ERR_OK);
    assert_int_equal(wal_bodies_next(&reader, &ref), ERR_DAMAGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_comes_back),
        cmocka_unit_test(bodies_come_back_in_any_order),
        cmocka_unit_test(queue_entries_come_back),
        cmocka_unit_test(a_run_of_neighbours_takes_few_bytes_and_never_overflows),
        cmocka_unit_test(a_cut_run_is_damaged_or_shorter),
        cmocka_unit_test(what_writing_does_not_produce_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
