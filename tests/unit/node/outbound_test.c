#include "tests/unit/node/node_support.h"

#include "base/mem.h"
#include "node/outbound.h"

static struct outbound out;
static struct message *message; /* one reference of ours */

static int set_up(void **state)
{
    (void)state;
    out = (struct outbound){0};
    message = make_message("a/b", slice_text("payload"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    outbound_fini(&out);
    assert_int_equal(message_refs(message), 1); /* all that were queued have been let go */
    message_unref(message);
    return 0;
}

static void push_ids(uint8_t qos, const uint32_t *ids, size_t count)
{
    struct outbound_entry entry = {.message = message_keep(message),
                                   .subscription_id = count == 1 ? ids[0] : 0,
                                   .state = OUTBOUND_WAITING,
                                   .qos_2 = qos == 2};
    assert_int_equal(outbound_push(&out, entry, ids, count), ERR_OK);
}

static void push(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        push_ids(1, NULL, 0);
    }
}

/* Gives packet ids to `count` messages, as sending does; returns the last one. */
static uint16_t start(unsigned count)
{
    uint16_t id = 0;
    for (unsigned i = 0; i < count; i++) {
        id = outbound_packet_id(outbound_start(&out));
        out.next++;
    }
    return id;
}

static void finish(uint16_t packet_id)
{
    struct outbound_entry *entry = outbound_find(&out, packet_id);
    assert_non_null(entry);
    outbound_drop_message(&out, entry, OUTBOUND_DONE);
    outbound_trim(&out);
}

static void assert_ids(uint32_t place, const uint32_t *expected, size_t expected_count)
{
    const uint32_t *ids = NULL;
    size_t count = outbound_ids(&out, outbound_at(&out, place), &ids);
    assert_int_equal(count, expected_count);
    if (count > 0) {
        assert_memory_equal(ids, expected, count * sizeof(*ids));
    }
}

/* ---- packet ids ------------------------------------------------------------------------------ */

/* [MQTT-2.2.1-3], [MQTT-2.2.1-4]: each message in flight has a packet id of its own, and never 0.
 */
static void packet_ids_are_given_out_in_sequence_from_1(void **state)
{
    (void)state;
    push(3);
    assert_int_equal(outbound_packet_id(outbound_start(&out)), 1);
    assert_int_equal(outbound_packet_id(outbound_start(&out)), 2);
    assert_int_equal(outbound_packet_id(outbound_start(&out)), 3);
    assert_int_equal(outbound_waiting(&out), 0);
}

static void packet_id_65535_is_followed_by_1(void **state)
{
    (void)state;
    out.last_position = 65533;
    push(4);
    assert_int_equal(start(1), 65534);
    assert_int_equal(start(1), 65535);
    assert_int_equal(start(1), 1);
    assert_int_equal(start(1), 2);
    assert_int_equal(outbound_packet_id(outbound_find(&out, 65535)), 65535);
    assert_int_equal(outbound_packet_id(outbound_find(&out, 1)), 1);
    assert_ptr_equal(outbound_find(&out, 1), outbound_at(&out, 2));
    finish(65534);
    finish(65535);
    assert_ptr_equal(outbound_find(&out, 1), outbound_at(&out, 0));
    assert_ptr_equal(outbound_find(&out, 2), outbound_at(&out, 1));
}

static void ids_outside_of_those_in_flight_are_not_found(void **state)
{
    (void)state;
    assert_null(outbound_find(&out, 1));
    out.last_position = 9;
    push(4);
    start(2);
    assert_null(outbound_find(&out, 0));
    assert_null(outbound_find(&out, 9));
    assert_non_null(outbound_find(&out, 10));
    assert_non_null(outbound_find(&out, 11));
    assert_null(outbound_find(&out, 12)); /* waits, and has no packet id yet */
    assert_null(outbound_find(&out, 65535));
}

static void as_many_may_be_in_flight_as_there_are_packet_ids_but_one(void **state)
{
    (void)state;
    out.last_position = 1000;
    push(OUTBOUND_INFLIGHT_MAX + 1);
    uint16_t last = start(OUTBOUND_INFLIGHT_MAX);
    assert_int_equal(last, 999); /* once around */
    assert_null(outbound_find(&out, 1000));
    assert_ptr_equal(outbound_find(&out, 1001), outbound_at(&out, 0));
    assert_ptr_equal(outbound_find(&out, 999), outbound_at(&out, OUTBOUND_INFLIGHT_MAX - 1));
    finish(1001);
    assert_int_equal(start(1), 1000);
    assert_non_null(outbound_find(&out, 1000));
    assert_null(outbound_find(&out, 1001));
}

static void the_sequence_goes_on_after_everything_was_finished(void **state)
{
    (void)state;
    push(2);
    start(2);
    finish(1);
    finish(2);
    assert_int_equal(out.count, 0);
    push(1);
    assert_int_equal(start(1), 3); /* a late acknowledgement of 2 finds nothing */
    assert_null(outbound_find(&out, 2));
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

static void acknowledged_in_order_they_go_away_at_once(void **state)
{
    (void)state;
    push(3);
    start(3);
    for (uint16_t id = 1; id <= 3; id++) {
        finish(id);
        assert_int_equal(out.count, 3u - id);
        assert_int_equal(out.inflight, 3u - id);
        assert_int_equal(out.next, 3u - id);
    }
    assert_int_equal(out.bytes, 0);
}

static void one_acknowledged_out_of_order_stays_as_done_until_its_turn(void **state)
{
    (void)state;
    push(3);
    start(3);
    finish(2);
    assert_int_equal(out.count, 3);
    assert_int_equal(outbound_at(&out, 1)->state, OUTBOUND_DONE);
    assert_null(outbound_at(&out, 1)->message);
    assert_null(outbound_find(&out, 2)); /* acknowledged twice: nothing there */
    assert_int_equal(out.bytes, 2 * message_bytes(message));
    finish(1);
    assert_int_equal(out.count, 1);
    assert_int_equal(outbound_packet_id(outbound_at(&out, 0)), 3);
}

static void acknowledged_backwards_they_all_go_with_the_first(void **state)
{
    (void)state;
    push(5);
    start(4);
    finish(4);
    finish(3);
    finish(2);
    assert_int_equal(out.inflight, 4);
    finish(1);
    assert_int_equal(out.inflight, 0);
    assert_int_equal(out.next, 0);
    assert_int_equal(outbound_waiting(&out), 1);
}

/* Once PUBREC has come the message itself must not be sent again [MQTT-4.3.3-5]: it is let go. */
static void a_released_message_keeps_its_packet_id_and_not_its_payload(void **state)
{
    (void)state;
    push_ids(2, NULL, 0);
    push_ids(2, NULL, 0);
    start(2);
    outbound_drop_message(&out, outbound_find(&out, 1), OUTBOUND_RELEASED);
    outbound_trim(&out);
    assert_int_equal(message_refs(message), 2);
    assert_int_equal(out.bytes, message_bytes(message));
    assert_int_equal(outbound_find(&out, 1)->state, OUTBOUND_RELEASED);
    finish(1);
    assert_int_equal(out.count, 1);
    assert_int_equal(out.bytes, message_bytes(message));
}

/* ---- a new connection ------------------------------------------------------------------------ */

/* [MQTT-4.4.0-1], [MQTT-4.6.0-1]: what is in flight is sent again, in the order it was sent first.
 */
static void rewinding_begins_again_with_the_first_in_flight(void **state)
{
    (void)state;
    push_ids(2, NULL, 0);
    push(4);
    start(3);
    out.window = 3;
    outbound_drop_message(&out, outbound_find(&out, 1), OUTBOUND_RELEASED);
    finish(2);
    outbound_rewind(&out);
    assert_int_equal(out.next, 0);
    assert_int_equal(out.window, 0);
    assert_int_equal(outbound_at(&out, 0)->state, OUTBOUND_RELEASED);
    assert_int_equal(outbound_at(&out, 1)->state, OUTBOUND_DONE);
    assert_int_equal(outbound_at(&out, 2)->state, OUTBOUND_SENT);
    assert_int_equal(outbound_packet_id(outbound_at(&out, 2)),
                     3); /* the same id as before [MQTT-4.4.0-1] */
    assert_int_equal(outbound_at(&out, 3)->state, OUTBOUND_WAITING);
}

static void what_was_not_sent_again_yet_may_be_acknowledged(void **state)
{
    (void)state;
    push(4);
    start(3);
    outbound_rewind(&out);
    finish(1); /* out.next is 0: it stays so */
    assert_int_equal(out.next, 0);
    assert_int_equal(outbound_packet_id(outbound_at(&out, out.next)), 2);
    finish(3);
    finish(2);
    assert_int_equal(out.next, 0);
    assert_int_equal(outbound_at(&out, 0)->state, OUTBOUND_WAITING);
}

/* ---- what waits ------------------------------------------------------------------------------ */

static void push_marked(uint32_t mark)
{
    push_ids(1, &mark, 1);
}

static uint32_t mark_at(uint32_t place)
{
    return outbound_at(&out, place)->subscription_id;
}

static void dropping_the_first_that_waits_leaves_those_in_flight_alone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        push_marked(100 + i);
    }
    start(3);
    outbound_drop_first_waiting(&out);
    assert_int_equal(out.count, 5);
    assert_int_equal(out.inflight, 3);
    assert_int_equal(out.next, 3);
    assert_int_equal(out.bytes, 5 * message_bytes(message));
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(mark_at(i), 100 + i);
        assert_ptr_equal(outbound_find(&out, (uint16_t)(i + 1)), outbound_at(&out, i));
    }
    assert_int_equal(mark_at(3), 104);
    assert_int_equal(start(1), 5); /* the packet id of the dropped one is left out */
    assert_null(outbound_find(&out, 4));
    assert_int_equal(outbound_find(&out, 5)->subscription_id, 104);
}

static void dropping_works_across_the_end_of_the_ring(void **state)
{
    (void)state;
    push(8); /* a full ring of the smallest size */
    start(6);
    for (uint16_t id = 1; id <= 5; id++) {
        finish(id);
    }
    for (uint32_t i = 0; i < 5; i++) {
        push_marked(200 + i); /* these are behind the end, at the front of the array */
    }
    assert_int_equal(out.cap, 8);
    start(1); /* 6 and 7 are in flight */
    outbound_drop_first_waiting(&out);
    assert_int_equal(outbound_packet_id(outbound_find(&out, 6)), 6);
    assert_int_equal(outbound_packet_id(outbound_find(&out, 7)), 7);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(mark_at(2 + i), 200 + i);
    }
}

static void dropping_the_only_one_leaves_nothing(void **state)
{
    (void)state;
    push(1);
    outbound_drop_first_waiting(&out);
    assert_int_equal(out.count, 0);
    assert_int_equal(out.bytes, 0);
    assert_int_equal(message_refs(message), 1);
}

static void compacting_removes_what_was_marked_while_it_waited(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        push_marked(i + 1);
    }
    start(2);
    for (uint32_t i = 2; i < 10; i += 2) {
        outbound_drop_message(&out, outbound_at(&out, i), OUTBOUND_DONE);
    }
    outbound_compact_waiting(&out);
    outbound_trim(&out);
    static const uint32_t expected[] = {1, 2, 4, 6, 8, 10};
    assert_int_equal(out.count, ARRAY_COUNT(expected));
    assert_int_equal(out.inflight, 2);
    for (uint32_t i = 0; i < ARRAY_COUNT(expected); i++) {
        assert_int_equal(mark_at(i), expected[i]);
    }
    assert_int_equal(out.bytes, 6 * message_bytes(message));
}

static void compacting_may_leave_nothing_that_waits(void **state)
{
    (void)state;
    push(5);
    start(2);
    finish(2);
    for (uint32_t i = 2; i < 5; i++) {
        outbound_drop_message(&out, outbound_at(&out, i), OUTBOUND_DONE);
    }
    outbound_compact_waiting(&out);
    assert_int_equal(out.count, 2); /* the one in flight, and one done behind it */
    assert_int_equal(outbound_waiting(&out), 0);
    finish(1);
    assert_int_equal(out.count, 0);
}

/* ---- subscription identifiers ---------------------------------------------------------------- */

/* [MQTT-3.3.4-3], [MQTT-3.3.4-4]: one copy carries the identifiers of all subscriptions. */
static void any_number_of_subscription_identifiers_goes_with_a_message(void **state)
{
    (void)state;
    uint32_t many[100];
    for (uint32_t i = 0; i < ARRAY_COUNT(many); i++) {
        many[i] = 268435455u - i;
    }
    push_ids(1, NULL, 0);
    push_ids(1, many, 1);
    push_ids(1, many, 2);
    push_ids(1, many, ARRAY_COUNT(many));
    assert_ids(0, NULL, 0);
    assert_ids(1, many, 1);
    assert_ids(2, many, 2);
    assert_ids(3, many, ARRAY_COUNT(many));
    start(4);
    assert_ids(3, many, ARRAY_COUNT(many)); /* also for sending it again */
}

static void identifiers_follow_their_message_through_growth_and_drops(void **state)
{
    (void)state;
    enum { COUNT = 50 };
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t ids[3] = {i, i + 1000, i + 2000};
        push_ids(1, ids, 3);
    }
    start(5);
    outbound_drop_first_waiting(&out);                                /* 5 */
    outbound_drop_message(&out, outbound_at(&out, 6), OUTBOUND_DONE); /* 7 */
    outbound_compact_waiting(&out);
    uint32_t newest[2] = {7, 8};
    push_ids(1, newest, 2); /* takes a place that has become free */
    for (uint32_t place = 0; place < out.count - 1; place++) {
        uint32_t i = place < 5 ? place : place == 5 ? 6 : place + 2;
        assert_ids(place, (uint32_t[]){i, i + 1000, i + 2000}, 3);
    }
    assert_ids(out.count - 1, newest, 2);
}

static void places_of_identifiers_are_used_again(void **state)
{
    (void)state;
    uint32_t ids[2] = {1, 2};
    for (uint32_t round = 0; round < 1000; round++) {
        push_ids(1, ids, 2);
        push_ids(1, ids, 2);
        finish(start(1));
        finish(start(1));
    }
    assert_true(out.extra_cap <= 4);
}

/* Identifiers that a released message does not need any more are not kept for it. */
static void identifiers_go_with_the_message(void **state)
{
    (void)state;
    uint32_t ids[2] = {1, 2};
    push_ids(2, ids, 2);
    start(1);
    outbound_drop_message(&out, outbound_find(&out, 1), OUTBOUND_RELEASED);
    assert_ids(0, NULL, 0);
    push_ids(2, ids, 2);
    assert_true(out.extra_cap <= 4);
}

/* ---- the ring -------------------------------------------------------------------------------- */

static void an_unused_queue_takes_no_memory(void **state)
{
    (void)state;
    assert_null(out.ring);
    outbound_trim(&out);
    outbound_rewind(&out);
    outbound_compact_waiting(&out);
    assert_null(outbound_find(&out, 1));
    assert_int_equal(outbound_waiting(&out), 0);
}

static void the_order_stays_when_the_ring_wraps_and_grows(void **state)
{
    (void)state;
    uint32_t pushed = 0;
    uint32_t taken = 0;
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < 3; i++) {
            push_marked(++pushed);
        }
        for (uint32_t i = 0; i < 2; i++) {
            uint16_t id = start(1);
            assert_int_equal(outbound_find(&out, id)->subscription_id, ++taken);
            finish(id);
        }
    }
    assert_int_equal(out.count, 200);
}

/* Most clients of a large broker are idle: what a burst needed is given back. */
static void a_queue_that_runs_empty_gives_its_memory_back(void **state)
{
    (void)state;
    uint32_t ids[2] = {1, 2};
    for (unsigned i = 0; i < 1000; i++) {
        push_ids(1, ids, 2);
    }
    while (out.count > 0) {
        finish(start(1));
    }
    assert_null(out.ring);
    assert_null(out.extra);
    assert_int_equal(out.extra_cap, 0);
    push_ids(1, ids, 2);
    assert_ids(0, ids, 2);
}

static void ending_lets_go_of_what_is_left_in_every_state(void **state)
{
    (void)state;
    uint32_t ids[2] = {1, 2};
    for (unsigned i = 0; i < 6; i++) {
        push_ids(2, ids, 2);
    }
    start(4);
    outbound_drop_message(&out, outbound_find(&out, 2), OUTBOUND_RELEASED);
    finish(3);
    outbound_fini(&out);
    assert_int_equal(out.count, 0);
    assert_null(out.ring);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(packet_ids_are_given_out_in_sequence_from_1),
        TEST(packet_id_65535_is_followed_by_1),
        TEST(ids_outside_of_those_in_flight_are_not_found),
        TEST(as_many_may_be_in_flight_as_there_are_packet_ids_but_one),
        TEST(the_sequence_goes_on_after_everything_was_finished),
        TEST(acknowledged_in_order_they_go_away_at_once),
        TEST(one_acknowledged_out_of_order_stays_as_done_until_its_turn),
        TEST(acknowledged_backwards_they_all_go_with_the_first),
        TEST(a_released_message_keeps_its_packet_id_and_not_its_payload),
        TEST(rewinding_begins_again_with_the_first_in_flight),
        TEST(what_was_not_sent_again_yet_may_be_acknowledged),
        TEST(dropping_the_first_that_waits_leaves_those_in_flight_alone),
        TEST(dropping_works_across_the_end_of_the_ring),
        TEST(dropping_the_only_one_leaves_nothing),
        TEST(compacting_removes_what_was_marked_while_it_waited),
        TEST(compacting_may_leave_nothing_that_waits),
        TEST(any_number_of_subscription_identifiers_goes_with_a_message),
        TEST(identifiers_follow_their_message_through_growth_and_drops),
        TEST(places_of_identifiers_are_used_again),
        TEST(identifiers_go_with_the_message),
        TEST(an_unused_queue_takes_no_memory),
        TEST(the_order_stays_when_the_ring_wraps_and_grows),
        TEST(a_queue_that_runs_empty_gives_its_memory_back),
        TEST(ending_lets_go_of_what_is_left_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
