#include "tests/unit/storage/storage_stage_support.h"

#include "base/mem.h"
#include "storage/part.h"

static struct storage_part part;
static struct message *message; /* one reference of ours */

static unsigned refs(void)
{
    return atomic_load(&message->refs);
}

static int set_up(void **state)
{
    (void)state;
    part_init(&part, NULL);
    message = stage_message("a/b", "payload");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    part_fini(&part);
    assert_int_equal(refs(), 1); /* all that were in the part have been let go */
    message_unref(message);
    return 0;
}

static struct change *push(uint64_t position)
{
    struct change *change = part_add(&part, OPERATION_QUEUE_PUSH, 7);
    change->position = position;
    change->message = message_keep(message);
    change->owned = mem_alloc(sizeof(struct change_ids));
    return change;
}

static void a_change_begins_with_nothing_but_its_type_and_session(void **state)
{
    (void)state;
    struct change *change = push(3);
    change->retain = true;
    change->waiter = &part;
    part_clear(&part);
    change = part_add(&part, OPERATION_INBOUND_QOS2_PUT, 9); /* in the same room */
    assert_int_equal(change->type, OPERATION_INBOUND_QOS2_PUT);
    assert_int_equal(change->session, 9);
    assert_int_equal(change->position, 0);
    assert_false(change->retain);
    assert_null(change->message);
    assert_null(change->owned);
    assert_null(change->waiter);
}

static void changes_stay_in_order_however_many_they_are(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        (void)push(i);
    }
    assert_int_equal(part.count, 1000);
    assert_int_equal(part.live, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(part.changes[i].position, i);
    }
    assert_int_equal(refs(), 1001);
}

static void a_change_that_is_taken_back_lets_go_of_all_but_its_waiter(void **state)
{
    (void)state;
    (void)push(1);
    push(2)->waiter = &part;
    struct change *change = &part.changes[1];
    part_cancel(&part, change);
    assert_int_equal(change->type, CHANGE_NONE);
    assert_null(change->message);
    assert_null(change->owned);
    assert_ptr_equal(change->waiter, &part);
    assert_int_equal(part.live, 1);
    assert_int_equal(part.count, 2);
    assert_int_equal(refs(), 2);
}

static void clearing_drops_what_is_left(void **state)
{
    (void)state;
    (void)push(1);
    (void)push(2);
    part_cancel(&part, &part.changes[0]);
    part_clear(&part);
    assert_int_equal(part.count, 0);
    assert_int_equal(part.live, 0);
    assert_int_equal(refs(), 1);
}

static void a_cleared_part_keeps_its_room(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        (void)push(i);
    }
    struct change *room = part.changes;
    part_clear(&part);
    assert_ptr_equal(part.changes, room);
    for (unsigned i = 0; i < 1000; i++) {
        (void)push(i);
    }
    assert_ptr_equal(part.changes, room);
}

static void very_much_room_is_given_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        (void)part_add(&part, OPERATION_INBOUND_QOS2_DROP, 1);
    }
    part_clear(&part);
    assert_null(part.changes);
    assert_int_equal(part.cap, 0);
    (void)push(1); /* and it can be used again */
    assert_int_equal(part.live, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_change_begins_with_nothing_but_its_type_and_session),
        TEST(changes_stay_in_order_however_many_they_are),
        TEST(a_change_that_is_taken_back_lets_go_of_all_but_its_waiter),
        TEST(clearing_drops_what_is_left),
        TEST(a_cleared_part_keeps_its_room),
        TEST(very_much_room_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
