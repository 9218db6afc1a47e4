/* What is sent again when a session comes back, what is not, and what has expired meanwhile. */
#include "tests/integration/kept_session.h"
#include "tests/integration/suite.h"

#include <stdio.h>

/* [MQTT-4.4.0-1], [MQTT-4.6.0-1] in mirror image, [MQTT-3.3.1-1]: same ids, DUP, old order. */
static void unacknowledged_messages_are_sent_again_in_order_with_dup(void **state)
{
    (void)state;
    enum { COUNT = 10 };
    struct client *c = connect_keeping("s-redo");
    subscribe(c, "s-redo/t", 2);
    struct client *pub = CONNECT();
    uint16_t ids[COUNT];
    char text[16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "s-redo/t", text, (uint8_t)(1 + i % 2));
        ids[i] = expect_publish(c, "s-redo/t", text)->id;
    }
    client_drop(c);
    c = connect_keeping("s-redo");
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        const struct packet *packet = expect_publish(c, "s-redo/t", text);
        assert_int_equal(packet->id, ids[i]);
        assert_int_equal(packet->qos, 1 + i % 2);
        assert_true(packet->dup);
    }
}

/* [MQTT-4.3.2-3], [MQTT-4.4.0-1]: acknowledged is over. */
static void acknowledged_messages_are_not_sent_again(void **state)
{
    (void)state;
    struct client *c = connect_keeping("s-done");
    subscribe(c, "s-done/t", 2);
    publish_from_elsewhere("s-done/t", "one", 1);
    expect_publish_and_ack(c, "s-done/t", "one");
    publish_from_elsewhere("s-done/t", "two", 2);
    expect_publish_and_ack(c, "s-done/t", "two");
    publish_from_elsewhere("s-done/t", "three", 1);
    expect_publish(c, "s-done/t", "three");
    settle(c);
    client_drop(c);
    c = connect_keeping("s-done");
    expect_publish_and_ack(c, "s-done/t", "three");
    expect_nothing(c);
}

/* [MQTT-4.4.0-2], [MQTT-4.8.2-6]: a refused message is over too. */
static void messages_that_the_client_refused_are_not_sent_again(void **state)
{
    (void)state;
    struct client *c = connect_keeping("s-refuse");
    subscribe(c, "s-refuse/t", 2);
    publish_from_elsewhere("s-refuse/t", "one", 1);
    send_ack(c, PKT_PUBACK, expect_publish(c, "s-refuse/t", "one")->id, RC_QUOTA_EXCEEDED);
    publish_from_elsewhere("s-refuse/t", "two", 2);
    send_ack(c, PKT_PUBREC, expect_publish(c, "s-refuse/t", "two")->id, RC_UNSPECIFIED);
    settle(c); /* and no PUBREL came: [MQTT-4.3.3-4] */
    client_drop(c);
    c = connect_keeping("s-refuse");
    assert_true(client_last(c)->session_present);
    expect_nothing(c);
}

/* [MQTT-4.3.3-3], [MQTT-4.4.0-1]: not yet PUBREC, so the PUBLISH goes again. */
static void a_qos_2_message_without_pubrec_is_sent_again(void **state)
{
    (void)state;
    struct client *c = connect_keeping("s-norec");
    subscribe(c, "s-norec/t", 2);
    publish_from_elsewhere("s-norec/t", "x", 2);
    uint16_t id = expect_publish(c, "s-norec/t", "x")->id;
    client_drop(c);
    c = connect_keeping("s-norec");
    const struct packet *again = expect_publish(c, "s-norec/t", "x");
    assert_true(again->dup);
    assert_int_equal(again->id, id);
    acknowledge(c, again);
    expect_nothing(c);
}

/* [MQTT-4.3.3-5], [MQTT-4.3.3-6], [MQTT-4.4.0-1]: after PUBREC only the PUBREL goes again. */
static void after_pubrec_only_the_pubrel_is_sent_again(void **state)
{
    (void)state;
    struct client *c = connect_keeping("s-rel");
    subscribe(c, "s-rel/t", 2);
    publish_from_elsewhere("s-rel/t", "x", 2);
    uint16_t id = expect_publish(c, "s-rel/t", "x")->id;
    send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    client_drop(c);
    c = connect_keeping("s-rel");
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    send_ack(c, PKT_PUBCOMP, id, RC_SUCCESS);
    settle(c);
    client_drop(c);
    c = connect_keeping("s-rel");
    expect_nothing(c);
}

/* [MQTT-4.3.3-10], [MQTT-4.1.0-1]: the id of an incoming QoS 2 message outlives the connection. */
static void an_incoming_qos_2_message_is_delivered_once_across_a_reconnect(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "s-once/t", 2);
    struct client *pub = connect_keeping("s-once");
    PUBLISH(pub, .topic = "s-once/t", .payload = "x", .qos = 2, .id = 5);
    expect_ack(pub, PKT_PUBREC, 5, RC_SUCCESS);
    client_drop(pub);
    pub = connect_keeping("s-once");
    assert_true(client_last(pub)->session_present);
    PUBLISH(pub, .topic = "s-once/t", .payload = "x", .qos = 2, .id = 5, .dup = true);
    assert_true(expect_packet(pub, PKT_PUBREC)->reason < 0x80);
    send_ack(pub, PKT_PUBREL, 5, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 5, RC_SUCCESS);
    expect_publish_and_ack(sub, "s-once/t", "x");
    expect_nothing(sub);
}

/* [MQTT-4.3.3-11]: a PUBREL after the reconnect finds the id of before. */
static void a_pubrel_after_a_reconnect_completes_the_handshake(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "s-late/t", 2);
    struct client *pub = connect_keeping("s-late");
    PUBLISH(pub, .topic = "s-late/t", .payload = "x", .qos = 2, .id = 6);
    expect_ack(pub, PKT_PUBREC, 6, RC_SUCCESS);
    client_drop(pub);
    pub = connect_keeping("s-late");
    send_ack(pub, PKT_PUBREL, 6, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 6, RC_SUCCESS);
    expect_publish_and_ack(sub, "s-late/t", "x");
    expect_nothing(sub);
}

/* [MQTT-3.1.2-4]: a clean start forgets handshakes, in both directions. */
static void clean_start_forgets_unfinished_handshakes(void **state)
{
    (void)state;
    struct client *c = connect_keeping("s-forget");
    subscribe(c, "s-forget/t", 1);
    publish_from_elsewhere("s-forget/t", "x", 1);
    expect_publish(c, "s-forget/t", "x");
    PUBLISH(c, .topic = "s-forget/in", .payload = "x", .qos = 2, .id = 9);
    expect_ack(c, PKT_PUBREC, 9, RC_NO_MATCHING_SUBSCRIBERS);
    client_drop(c);
    c = CONNECT(.client_id = "s-forget");
    send_ack(c, PKT_PUBREL, 9, RC_SUCCESS);
    expect_ack(c, PKT_PUBCOMP, 9, RC_PACKET_ID_NOT_FOUND);
    expect_nothing(c);
}

/* [MQTT-4.3.3-7]: a QoS 2 message that was sent once does not expire any more. */
static void a_qos_2_message_in_flight_does_not_expire(void **state)
{
    (void)state;
    struct client *c = connect_keeping("s-sent");
    subscribe(c, "s-sent/t", 2);
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "s-sent/t", .payload = "x", .qos = 2,
                     .props = PROPS(prop_message_expiry(1)));
    uint16_t id = expect_publish(c, "s-sent/t", "x")->id;
    client_drop(c);
    let_time_pass(2200);
    c = connect_keeping("s-sent");
    const struct packet *again = expect_publish(c, "s-sent/t", "x");
    assert_int_equal(again->id, id);
    acknowledge(c, again);
}

/* [MQTT-3.3.2-5]: waiting in the queue, it does expire. */
static void a_queued_message_expires(void **state)
{
    (void)state;
    leave_session("s-stale", "s-stale/t", 2);
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "s-stale/t", .payload = "stale", .qos = 1,
                     .props = PROPS(prop_message_expiry(1)));
    PUBLISH_AND_WAIT(pub, .topic = "s-stale/t", .payload = "stale", .qos = 2,
                     .props = PROPS(prop_message_expiry(1)));
    publish(pub, "s-stale/t", "fresh", 1);
    let_time_pass(2200);
    struct client *c = connect_keeping("s-stale");
    expect_publish_and_ack(c, "s-stale/t", "fresh");
    expect_nothing(c);
}

/* [MQTT-3.3.2-6]: the time in the queue is taken off what remains. */
static void the_wait_in_the_queue_is_taken_off_the_message_expiry(void **state)
{
    (void)state;
    leave_session("s-left", "s-left/t", 1);
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "s-left/t", .payload = "x", .qos = 1,
                     .props = PROPS(prop_message_expiry(100)));
    let_time_pass(1500);
    struct client *c = connect_keeping("s-left");
    const struct prop *left = packet_prop(expect_publish(c, "s-left/t", "x"), PROP_MESSAGE_EXPIRY);
    assert_non_null(left);
    assert_in_range(left->number, 95, 99);
}

/* [MQTT-2.2.1-4]: ids of messages that are still in flight are not given to new ones. */
static void new_messages_do_not_get_ids_that_are_still_in_flight(void **state)
{
    (void)state;
    struct client *c = connect_keeping("s-ids");
    subscribe(c, "s-ids/t", 1);
    publish_from_elsewhere("s-ids/t", "old", 1);
    uint16_t old = expect_publish(c, "s-ids/t", "old")->id;
    client_drop(c);
    c = connect_keeping("s-ids");
    expect_publish(c, "s-ids/t", "old");
    for (int i = 0; i < 50; i++) {
        publish_from_elsewhere("s-ids/t", "new", 1);
        const struct packet *packet = expect_publish(c, "s-ids/t", "new");
        assert_int_not_equal(packet->id, old);
        acknowledge(c, packet);
    }
}

/* [MQTT-3.3.2-7] and 4.1: Receive Maximum, aliases, packet size belong to the connection. */
static void limits_of_a_connection_do_not_outlive_it(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "s-limits", .resume = true,
                               .props = PROPS(prop_session_expiry(60), prop_receive_maximum(1),
                                              prop_maximum_packet_size(100)));
    subscribe(c, "s-limits/t", 1);
    client_disconnect(c);
    char big[201] = {0};
    memset(big, 'b', 200);
    publish_from_elsewhere("s-limits/t", big, 1);
    publish_from_elsewhere("s-limits/t", "two", 1);
    c = connect_keeping("s-limits");
    expect_publish(c, "s-limits/t", big);
    expect_publish(c, "s-limits/t", "two");
}

/* 3.7.2.1: "not an error during recovery". The PUBCOMP was lost with the connection. */
static void a_repeated_pubrel_after_a_reconnect_succeeds(void **state)
{
    (void)state;
    struct client *c = connect_keeping("repeats-pubrel");
    publish(c, "redelivery/pubrel", "x", 2);
    client_drop(c);
    c = connect_keeping("repeats-pubrel");
    send_ack(c, PKT_PUBREL, 1, RC_SUCCESS);
    expect_ack(c, PKT_PUBCOMP, 1, RC_SUCCESS);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(unacknowledged_messages_are_sent_again_in_order_with_dup),
        TEST(acknowledged_messages_are_not_sent_again),
        TEST(messages_that_the_client_refused_are_not_sent_again),
        TEST(a_qos_2_message_without_pubrec_is_sent_again),
        TEST(after_pubrec_only_the_pubrel_is_sent_again),
        TEST(an_incoming_qos_2_message_is_delivered_once_across_a_reconnect),
        TEST(a_pubrel_after_a_reconnect_completes_the_handshake),
        TEST(clean_start_forgets_unfinished_handshakes),
        TEST(a_qos_2_message_in_flight_does_not_expire),
        TEST(a_queued_message_expires),
        TEST(the_wait_in_the_queue_is_taken_off_the_message_expiry),
        TEST(new_messages_do_not_get_ids_that_are_still_in_flight),
        TEST(limits_of_a_connection_do_not_outlive_it),
        TEST(a_repeated_pubrel_after_a_reconnect_succeeds),
    };
    return RUN_SUITE("redelivery", tests, NULL);
}
