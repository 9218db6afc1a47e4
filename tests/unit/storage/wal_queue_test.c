#include "storage/wal_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define POSITIONS 400u

static struct wal_queue queue;

static int set_up(void **state)
{
    (void)state;
    queue = (struct wal_queue){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_queue_fini(&queue);
    return 0;
}

static void put(uint64_t position, bool wanted_fresh)
{
    struct wal_entry *entry = NULL;
    bool fresh = false;
    assert_int_equal(wal_queue_put(&queue, position, &entry, &fresh), ERR_OK);
    assert_int_equal(entry->position, position);
    assert_int_equal(fresh, wanted_fresh);
    assert_false(entry->gone);
    entry->message = (uint32_t)position;
}

static void drop(uint64_t position)
{
    struct wal_entry *entry = wal_queue_find(&queue, position);
    assert_non_null(entry);
    wal_queue_drop(&queue, entry);
    wal_queue_tidy(&queue);
}

static void an_empty_queue_has_nothing(void **state)
{
    (void)state;
    assert_null(wal_queue_find(&queue, 1));
    assert_null(wal_queue_seek(&queue, 0));
    wal_queue_tidy(&queue);
    assert_int_equal(wal_queue_live(&queue), 0);
}

static void what_was_put_before_is_found_again(void **state)
{
    (void)state;
    put(5, true);
    put(7, true);
    put(5, false);
    assert_int_equal(wal_queue_live(&queue), 2);
    assert_int_equal(wal_queue_find(&queue, 7)->message, 7);
    assert_null(wal_queue_find(&queue, 6));
    assert_int_equal(wal_queue_seek(&queue, 6)->position, 7);
    assert_null(wal_queue_seek(&queue, 8));
}

static void a_gone_position_can_be_put_again(void **state)
{
    (void)state;
    put(1, true);
    put(2, true);
    put(3, true);
    drop(2);
    assert_null(wal_queue_find(&queue, 2));
    put(2, true);
    assert_int_equal(wal_queue_live(&queue), 3);
}

static void a_queue_that_comes_and_goes_stays_small(void **state)
{
    (void)state;
    for (uint64_t position = 1; position < 100000; position++) {
        put(position, true);
        if (position > 10) {
            drop(position - 10);
        }
    }
    assert_in_range(queue.cap, 10, 64);
    assert_int_equal(wal_queue_live(&queue), 10);
}

static void entries_that_go_in_the_middle_give_their_room_back(void **state)
{
    (void)state;
    for (uint64_t position = 1; position <= 10000; position++) {
        put(position, true);
    }
    for (uint64_t position = 9999; position > 1; position--) {
        drop(position);
    }
    assert_int_equal(wal_queue_live(&queue), 2);
    assert_in_range(queue.count, 2, 200);
}

static void the_queue_does_what_a_flag_per_position_does(void **state)
{
    (void)state;
    const char *given = getenv("PULSE_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)time(NULL);
    print_message("PULSE_TEST_SEED=%u\n", seed);
    bool there[POSITIONS] = {false};
    for (unsigned step = 0; step < 40000; step++) {
        uint64_t position = (uint64_t)rand_r(&seed) % POSITIONS;
        if (rand_r(&seed) % 20 == 0) { /* a whole range goes */
            const struct wal_entry *end = wal_queue_end(&queue);
            struct wal_entry *entry = wal_queue_seek(&queue, position);
            for (; entry != NULL && entry < end; entry++) {
                if (!entry->gone) {
                    wal_queue_drop(&queue, entry);
                }
            }
            wal_queue_tidy(&queue);
            memset(there + position, 0, POSITIONS - position);
        } else if (there[position] && rand_r(&seed) % 2 == 0) {
            drop(position);
            there[position] = false;
        } else {
            put(position, !there[position]);
            there[position] = true;
        }
        uint32_t live = 0;
        for (uint64_t i = 0; i < POSITIONS; i++) {
            live += there[i] ? 1 : 0;
        }
        assert_int_equal(wal_queue_live(&queue), live);
        position = (uint64_t)rand_r(&seed) % POSITIONS;
        const struct wal_entry *found = wal_queue_find(&queue, position);
        assert_int_equal(found != NULL, there[position]);
        assert_true(found == NULL || found->message == position);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_queue_has_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_put_before_is_found_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_gone_position_can_be_put_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_queue_that_comes_and_goes_stays_small, set_up, tear_down),
        cmocka_unit_test_setup_teardown(entries_that_go_in_the_middle_give_their_room_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_queue_does_what_a_flag_per_position_does, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
