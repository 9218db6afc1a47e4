#include "storage/wal_messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define IDS 3000u

static struct wal_messages messages;

static int tear_down(void **state)
{
    (void)state;
    wal_messages_fini(&messages);
    return 0;
}

static uint32_t add(uint64_t id)
{
    uint32_t slot = 0;
    assert_int_equal(wal_messages_add(&messages, id, &slot), ERR_OK);
    assert_int_not_equal(slot, 0);
    assert_int_equal(wal_messages_at(&messages, slot)->id, id);
    return slot;
}

static void an_id_has_one_slot(void **state)
{
    (void)state;
    assert_int_equal(wal_messages_find(&messages, 17), 0);
    uint32_t slot = add(17);
    assert_int_equal(add(17), slot);
    assert_int_equal(wal_messages_find(&messages, 17), slot);
    assert_int_equal(wal_messages_find(&messages, 0), 0);
    assert_int_equal(messages.count, 1);
    assert_int_equal(wal_messages_at(&messages, slot)->file, WAL_FILE_NONE);
    assert_int_equal(wal_messages_at(&messages, slot)->refs, 0);
}

static void slots_are_used_again(void **state)
{
    (void)state;
    for (uint64_t id = 1; id < 100000; id++) {
        uint32_t slot = add(id);
        assert_in_range(slot, 1, 10);
        if (id > 5) {
            wal_messages_remove(&messages, wal_messages_find(&messages, id - 5));
        }
    }
    assert_int_equal(messages.chunk_count, 1);
    assert_int_equal(messages.index_bits, 8);
}

static void a_million_messages_take_under_40_bytes_each(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 1000000; id++) {
        (void)add(id * 3);
    }
    uint64_t bytes = (uint64_t)messages.chunk_count * 4096 * sizeof(struct wal_message) +
                     (sizeof(uint32_t) << messages.index_bits);
    assert_in_range(bytes / 1000000, 24, 40);
    for (uint64_t id = 1; id <= 1000000; id += 997) {
        assert_int_not_equal(wal_messages_find(&messages, id * 3), 0);
        assert_int_equal(wal_messages_find(&messages, id * 3 + 1), 0);
    }
}

static void messages_are_found_as_in_a_plain_array(void **state)
{
    (void)state;
    const char *given = getenv("PULSE_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)time(NULL);
    print_message("PULSE_TEST_SEED=%u\n", seed);
    static uint32_t slots[IDS + 1];
    for (unsigned step = 0; step < 200000; step++) {
        uint64_t id = 1 + (uint64_t)rand_r(&seed) % IDS;
        if (slots[id] == 0) {
            slots[id] = add(id);
        } else if (rand_r(&seed) % 3 != 0) {
            wal_messages_remove(&messages, slots[id]);
            slots[id] = 0;
        }
        id = 1 + (uint64_t)rand_r(&seed) % IDS;
        assert_int_equal(wal_messages_find(&messages, id), slots[id]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_id_has_one_slot, tear_down),
        cmocka_unit_test_teardown(slots_are_used_again, tear_down),
        cmocka_unit_test_teardown(a_million_messages_take_under_40_bytes_each, tear_down),
        cmocka_unit_test_teardown(messages_are_found_as_in_a_plain_array, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
