/* Sessions: what is kept when a connection ends, for how long, and what happens when it comes back.
 */
#include "tests/integration/kept_session.h"
#include "tests/integration/suite.h"

#include <stdio.h>

/* ---- clean start, session present ---- */

/* [MQTT-3.1.2-6], [MQTT-3.2.2-3] */
static void there_is_no_session_before_the_first_connect(void **state)
{
    (void)state;
    assert_false(client_last(connect_keeping("s-first"))->session_present);
}

/* [MQTT-3.1.2-5], [MQTT-3.1.2-23], [MQTT-3.2.2-3] */
static void a_kept_session_is_present_and_keeps_its_subscriptions(void **state)
{
    (void)state;
    leave_session("s-kept", "s-kept/t", 1);
    struct client *c = connect_keeping("s-kept");
    assert_true(client_last(c)->session_present);
    publish_from_elsewhere("s-kept/t", "x", 1);
    expect_publish_and_ack(c, "s-kept/t", "x");
}

/* [MQTT-3.1.2-4], [MQTT-3.1.4-4], [MQTT-3.2.2-2] */
static void clean_start_discards_the_session(void **state)
{
    (void)state;
    leave_session("s-clean", "s-clean/t", 1);
    publish_from_elsewhere("s-clean/t", "queued", 1);
    struct client *c = CONNECT(.client_id = "s-clean");
    assert_false(client_last(c)->session_present);
    publish_from_elsewhere("s-clean/t", "x", 1);
    expect_nothing(c);
}

/* [MQTT-3.1.2-4]: the old session does not come back when the clean one ends. */
static void a_session_discarded_by_clean_start_stays_away(void **state)
{
    (void)state;
    leave_session("s-away", "s-away/t", 1);
    client_disconnect(CONNECT(.client_id = "s-away"));
    assert_false(client_last(connect_keeping("s-away"))->session_present);
}

/* ---- session expiry ---- */

/* 3.1.2.11.2: without the property a session ends with its connection; [MQTT-4.1.0-2]. */
static void without_an_expiry_interval_the_session_ends_with_the_connection(void **state)
{
    (void)state;
    client_disconnect(CONNECT(.client_id = "s-none"));
    assert_false(client_last(connect_keeping("s-none"))->session_present);
    client_drop(CONNECT(.client_id = "s-zero", .props = PROPS(prop_session_expiry(0))));
    assert_false(client_last(connect_keeping("s-zero"))->session_present);
}

/* [MQTT-4.1.0-2] */
static void a_session_is_discarded_when_its_expiry_interval_has_passed(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "s-expires", .props = PROPS(prop_session_expiry(1)));
    subscribe(c, "s-expires/t", 1);
    client_disconnect(c);
    let_time_pass(2200);
    c = connect_keeping("s-expires");
    assert_false(client_last(c)->session_present);
    publish_from_elsewhere("s-expires/t", "x", 1);
    expect_nothing(c);
}

/* [MQTT-4.1.0-2]: not before. */
static void a_session_is_there_before_its_expiry_interval_has_passed(void **state)
{
    (void)state;
    client_drop(CONNECT(.client_id = "s-not-yet", .props = PROPS(prop_session_expiry(3))));
    let_time_pass(1000);
    assert_true(client_last(connect_keeping("s-not-yet"))->session_present);
}

/* [MQTT-4.1.0-1]: the interval counts only while nobody is connected. */
static void a_session_does_not_expire_while_it_is_connected(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "s-live", .props = PROPS(prop_session_expiry(1)));
    subscribe(c, "s-live/t", 1);
    let_time_pass(2200);
    publish_from_elsewhere("s-live/t", "x", 1);
    expect_publish_and_ack(c, "s-live/t", "x");
}

/* [MQTT-4.1.0-1]: coming back in time stops the clock. */
static void reconnecting_stops_the_expiry_clock(void **state)
{
    (void)state;
    client_disconnect(CONNECT(.client_id = "s-back", .props = PROPS(prop_session_expiry(1))));
    struct client *c = connect_keeping("s-back");
    assert_true(client_last(c)->session_present);
    let_time_pass(1500);
    settle(c);
    client_disconnect(c);
    assert_true(client_last(connect_keeping("s-back"))->session_present);
}

/* 3.1.2.11.2: 0xFFFFFFFF means that the session does not expire. */
static void the_largest_expiry_interval_never_expires(void **state)
{
    (void)state;
    client_disconnect(
        CONNECT(.client_id = "s-never", .props = PROPS(prop_session_expiry(0xffffffff))));
    assert_true(client_last(connect_keeping("s-never"))->session_present);
}

/* 3.14.2.2.2: DISCONNECT may set a new interval, also 0. */
static void disconnect_can_end_the_session_at_once(void **state)
{
    (void)state;
    client_disconnect_with(connect_keeping("s-end"), RC_SUCCESS, PROPS(prop_session_expiry(0)));
    assert_false(client_last(connect_keeping("s-end"))->session_present);
}

/* 3.14.2.2.2 */
static void disconnect_can_lengthen_the_expiry_interval(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "s-longer", .props = PROPS(prop_session_expiry(1)));
    client_disconnect_with(c, RC_SUCCESS, PROPS(prop_session_expiry(60)));
    let_time_pass(2200);
    assert_true(client_last(connect_keeping("s-longer"))->session_present);
}

/* 3.14.2.2.2: an interval that was 0 in CONNECT stays 0. */
static void disconnect_cannot_turn_a_zero_expiry_into_another(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "s-cheat");
    send_disconnect(c, RC_SUCCESS, PROPS(prop_session_expiry(60)));
    const struct packet *answer = client_receive(c, WAIT_MS);
    if (answer != NULL) { /* told on the way out, when the broker still could */
        assert_int_equal(answer->type, PKT_DISCONNECT);
        assert_int_equal(answer->reason, RC_PROTOCOL_ERROR);
    }
    expect_closed(c);
    assert_false(client_last(connect_keeping("s-cheat"))->session_present);
}

/* 3.2.2.3.2, limits.max_session_expiry: the broker says which interval it uses instead. */
static void a_cap_on_the_expiry_interval_is_announced(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_session_expiry: 10s");
    const struct packet *connack =
        client_last(CONNECT(.props = PROPS(prop_session_expiry(0xffffffff))));
    assert_prop_number(connack, PROP_SESSION_EXPIRY, 10);
    connack = client_last(CONNECT(.props = PROPS(prop_session_expiry(11))));
    assert_prop_number(connack, PROP_SESSION_EXPIRY, 10);
    connack = client_last(CONNECT(.props = PROPS(prop_session_expiry(5))));
    if (packet_prop(connack, PROP_SESSION_EXPIRY) != NULL) {
        assert_prop_number(connack, PROP_SESSION_EXPIRY, 5);
    }
}

/* 3.2.2.3.2: and it really uses it. */
static void a_capped_session_expires_at_the_cap(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_session_expiry: 1s");
    client_disconnect(CONNECT(.client_id = "capped", .props = FOR_A_MINUTE));
    let_time_pass(2200);
    assert_false(client_last(connect_keeping("capped"))->session_present);
}

/* ---- takeover ---- */

/* [MQTT-3.1.4-3], [MQTT-3.1.2-5] */
static void a_takeover_keeps_the_session(void **state)
{
    (void)state;
    struct client *old = connect_keeping("s-taken");
    subscribe(old, "s-taken/t", 1);
    struct client *new = connect_keeping("s-taken");
    assert_true(client_last(new)->session_present);
    expect_disconnect(old, RC_SESSION_TAKEN_OVER);
    publish_from_elsewhere("s-taken/t", "x", 1);
    expect_publish_and_ack(new, "s-taken/t", "x");
}

/* [MQTT-3.1.4-4]: with Clean Start the new one begins empty. */
static void a_takeover_with_clean_start_begins_a_new_session(void **state)
{
    (void)state;
    struct client *old = connect_keeping("s-retaken");
    subscribe(old, "s-retaken/t", 1);
    struct client *new = CONNECT(.client_id = "s-retaken");
    assert_false(client_last(new)->session_present);
    expect_disconnect(old, RC_SESSION_TAKEN_OVER);
    publish_from_elsewhere("s-retaken/t", "x", 1);
    expect_nothing(new);
}

/* [MQTT-4.4.0-1]: what the old connection had not acknowledged goes to the new one. */
static void a_takeover_carries_unacknowledged_messages_over(void **state)
{
    (void)state;
    struct client *old = connect_keeping("s-carry");
    subscribe(old, "s-carry/t", 1);
    publish_from_elsewhere("s-carry/t", "x", 1);
    uint16_t id = expect_publish(old, "s-carry/t", "x")->id;
    struct client *new = connect_keeping("s-carry");
    const struct packet *again = expect_publish(new, "s-carry/t", "x");
    assert_true(again->dup);
    assert_int_equal(again->id, id);
}

/* ---- messages for a session without a connection ---- */

/* [MQTT-4.5.0-1] */
static void qos_1_messages_wait_for_an_offline_session(void **state)
{
    (void)state;
    leave_session("s-off1", "s-off1/t", 1);
    publish_from_elsewhere("s-off1/t", "one", 1);
    publish_from_elsewhere("s-off1/t", "two", 1);
    struct client *c = connect_keeping("s-off1");
    const struct packet *first = expect_publish(c, "s-off1/t", "one");
    assert_int_equal(first->qos, 1);
    assert_false(first->dup); /* [MQTT-4.3.2-2]: it was never sent before */
    acknowledge(c, first);
    expect_publish_and_ack(c, "s-off1/t", "two");
    expect_nothing(c);
}

/* [MQTT-4.5.0-1] */
static void qos_2_messages_wait_for_an_offline_session(void **state)
{
    (void)state;
    leave_session("s-off2", "s-off2/t", 2);
    publish_from_elsewhere("s-off2/t", "one", 2);
    struct client *c = connect_keeping("s-off2");
    const struct packet *packet = expect_publish(c, "s-off2/t", "one");
    assert_int_equal(packet->qos, 2);
    acknowledge(c, packet);
    expect_nothing(c);
}

/* 3.1.2.11.2 lists what a session holds: QoS 0 messages are optional, and not kept here. */
static void qos_0_messages_do_not_wait_for_an_offline_session(void **state)
{
    (void)state;
    leave_session("s-off0", "s-off0/t", 2);
    publish_from_elsewhere("s-off0/t", "zero", 0);
    publish_from_elsewhere("s-off0/t", "one", 1);
    struct client *c = connect_keeping("s-off0");
    expect_publish_and_ack(c, "s-off0/t", "one");
    expect_nothing(c);
}

/* [MQTT-4.6.0-5], [MQTT-4.6.0-6]: many of them keep their order. */
static void queued_messages_arrive_in_the_order_in_which_they_were_published(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    leave_session("s-order", "s-order/#", 1);
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "s-order/t", text, 1);
    }
    struct client *c = connect_keeping("s-order");
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        expect_publish_and_ack(c, "s-order/t", text);
    }
}

/* [MQTT-4.4.0-1] then the queue: nothing overtakes what was sent before. */
static void messages_in_flight_come_before_queued_ones(void **state)
{
    (void)state;
    struct client *c = connect_keeping("s-mix");
    subscribe(c, "s-mix/t", 1);
    publish_from_elsewhere("s-mix/t", "one", 1);
    expect_publish(c, "s-mix/t", "one");
    client_drop(c);
    publish_from_elsewhere("s-mix/t", "two", 1);
    c = connect_keeping("s-mix");
    const struct packet *packet = expect_publish(c, "s-mix/t", "one");
    assert_true(packet->dup);
    acknowledge(c, packet);
    packet = expect_publish(c, "s-mix/t", "two");
    assert_false(packet->dup);
    acknowledge(c, packet);
    expect_nothing(c);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(there_is_no_session_before_the_first_connect),
        TEST(a_kept_session_is_present_and_keeps_its_subscriptions),
        TEST(clean_start_discards_the_session),
        TEST(a_session_discarded_by_clean_start_stays_away),
        TEST(without_an_expiry_interval_the_session_ends_with_the_connection),
        TEST(a_session_is_discarded_when_its_expiry_interval_has_passed),
        TEST(a_session_is_there_before_its_expiry_interval_has_passed),
        TEST(a_session_does_not_expire_while_it_is_connected),
        TEST(reconnecting_stops_the_expiry_clock),
        TEST(the_largest_expiry_interval_never_expires),
        TEST(disconnect_can_end_the_session_at_once),
        TEST(disconnect_can_lengthen_the_expiry_interval),
        TEST(disconnect_cannot_turn_a_zero_expiry_into_another),
        TEST(a_cap_on_the_expiry_interval_is_announced),
        TEST(a_capped_session_expires_at_the_cap),
        TEST(a_takeover_keeps_the_session),
        TEST(a_takeover_with_clean_start_begins_a_new_session),
        TEST(a_takeover_carries_unacknowledged_messages_over),
        TEST(qos_1_messages_wait_for_an_offline_session),
        TEST(qos_2_messages_wait_for_an_offline_session),
        TEST(qos_0_messages_do_not_wait_for_an_offline_session),
        TEST(queued_messages_arrive_in_the_order_in_which_they_were_published),
        TEST(messages_in_flight_come_before_queued_ones),
    };
    return RUN_SUITE("session", tests, NULL);
}
