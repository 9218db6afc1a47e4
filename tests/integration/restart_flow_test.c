/* Messages in the middle of their handshake, when the broker ends: MQTT 5.0 section 4.4. */
#include "tests/integration/restart.h"

#include <stdio.h>

/* Connects with a window of `window` messages. */
static struct client *connect_with_window(const char *id, uint16_t window)
{
    return CONNECT(.client_id = id, .resume = true,
                   .props = PROPS(prop_session_expiry(60), prop_receive_maximum(window)));
}

/* ---- to the client --------------------------------------------------------------------------- */

/* [MQTT-4.4.0-1]: again, with DUP and under the same packet id, in the same order. */
static void unacknowledged_qos_1_messages_come_again(void **state)
{
    struct client *c = connect_with_window("qos1", 3);
    subscribe(c, "qos1", 1);
    struct client *pub = CONNECT();
    char text[16];
    uint16_t ids[5] = {0};
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "qos1", text, 1);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "%d", i);
        ids[i] = expect_publish(c, "qos1", text)->id;
    }
    send_ack(c, PKT_PUBACK, ids[1], RC_SUCCESS);
    ids[3] = expect_publish(c, "qos1", "3")->id;
    await_stored();
    restart(state);
    c = connect_with_window("qos1", 10);
    assert_true(client_last(c)->session_present);
    for (int i = 0; i < 5; i++) {
        if (i == 1) {
            continue;
        }
        snprintf(text, sizeof(text), "%d", i);
        const struct packet *packet = expect_publish(c, "qos1", text);
        if (i < 4) {
            assert_true(packet->dup);
            assert_int_equal(packet->id, ids[i]);
        }
        acknowledge(c, packet);
    }
    expect_nothing(c);
    await_stored();
    restart(state);
    expect_nothing(connect_again("qos1"));
}

static void acknowledged_qos_1_messages_are_gone(void **state)
{
    enum { COUNT = 50 };
    struct client *c = connect_keeping("acked");
    subscribe(c, "acked", 1);
    struct client *pub = CONNECT();
    for (int i = 0; i < COUNT; i++) {
        publish(pub, "acked", "x", 1);
        expect_publish_and_ack(c, "acked", "x");
    }
    settle(c);
    await_stored();
    restart(state);
    expect_nothing(connect_again("acked"));
}

/* A client that got a QoS 2 PUBLISH, and answered nothing yet. */
static uint16_t get_qos_2(const char *id, struct client **out)
{
    *out = connect_keeping(id);
    subscribe(*out, id, 2);
    publish_from_elsewhere(id, "once", 2);
    return expect_publish(*out, id, "once")->id;
}

/* The rest of the handshake after the restart; nothing comes afterwards, not even another time. */
static void finish_qos_2(void **state, struct client *c, const char *client_id, uint16_t id,
                         bool from_pubrec)
{
    if (from_pubrec) {
        send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
        expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    }
    send_ack(c, PKT_PUBCOMP, id, RC_SUCCESS);
    expect_nothing(c);
    await_stored();
    restart(state);
    c = connect_again(client_id);
    expect_nothing(c);
    publish_from_elsewhere(client_id, "next", 2);
    expect_publish_and_ack(c, client_id, "next");
    expect_nothing(c);
}

static void a_qos_2_message_without_pubrec_comes_again(void **state)
{
    struct client *c;
    uint16_t id = get_qos_2("sent", &c);
    restart(state);
    c = connect_again("sent");
    const struct packet *packet = expect_publish(c, "sent", "once");
    assert_true(packet->dup);
    assert_int_equal(packet->id, id);
    finish_qos_2(state, c, "sent", id, true);
}

/* The PUBREC may have been stored or not, when the broker ended. */
static void a_qos_2_message_with_pubrec_goes_on(void **state)
{
    struct client *c;
    uint16_t id = get_qos_2("received", &c);
    send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
    restart(state);
    c = connect_again("received");
    const struct packet *packet = client_receive(c, WAIT_MS);
    assert_non_null(packet);
    assert_int_equal(packet->id, id);
    bool again = packet->type == PKT_PUBLISH;
    if (again) {
        assert_true(packet->dup);
    } else {
        assert_int_equal(packet->type, PKT_PUBREL);
    }
    finish_qos_2(state, c, "received", id, again);
}

/* [MQTT-4.3.3-6]: from PUBREL on there is no PUBLISH any more. */
static void a_qos_2_message_with_pubrel_is_only_released_again(void **state)
{
    struct client *c;
    uint16_t id = get_qos_2("released", &c);
    send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    restart(state);
    c = connect_again("released");
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    finish_qos_2(state, c, "released", id, false);
}

/* A released message, that came by several subscriptions, between others of all kinds. */
static void handshakes_of_all_states_go_on_together(void **state)
{
    struct client *c = connect_keeping("states");
    subscribe_with(c, "states/+", 2, PROPS(prop_subscription_id(1)));
    subscribe_with(c, "states/#", 2, PROPS(prop_subscription_id(2)));
    struct client *pub = CONNECT();
    uint16_t ids[4];
    static const char *const topics[] = {"states/a", "states/b", "states/c", "states/d"};
    for (int i = 0; i < 4; i++) {
        publish(pub, topics[i], "x", i == 3 ? 1 : 2);
        ids[i] = expect_publish(c, topics[i], "x")->id;
    }
    send_ack(c, PKT_PUBREC, ids[1], RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, ids[1], RC_SUCCESS);
    send_ack(c, PKT_PUBREC, ids[2], RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, ids[2], RC_SUCCESS);
    send_ack(c, PKT_PUBCOMP, ids[2], RC_SUCCESS);
    await_stored();
    restart(state);
    publish_from_elsewhere("states/e", "x", 1);
    metric_expect("mqtt_qos2_inflight_current", 2);
    c = connect_keeping("states");
    assert_int_equal(expect_publish(c, "states/a", "x")->id, ids[0]);
    expect_ack(c, PKT_PUBREL, ids[1], RC_SUCCESS);
    const struct packet *packet = expect_publish(c, "states/d", "x");
    assert_int_equal(packet->id, ids[3]);
    assert_true(packet->dup);
    assert_int_equal(packet_prop_count(packet, PROP_SUBSCRIPTION_ID), 2);
    packet = expect_publish(c, "states/e", "x");
    assert_false(packet->dup);
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(packet->id, ids[i]);
    }
    acknowledge(c, packet);
    expect_nothing(c);
}

/* ---- from the client ------------------------------------------------------------------------- */

/* [MQTT-4.3.3-10]: PUBLISH comes again before PUBREL, and is not delivered again. */
static void a_qos_2_publish_that_comes_again_is_not_doubled(void **state)
{
    leave_session("in-sub", "in", 2);
    struct client *pub = connect_keeping("in-pub");
    PUBLISH(pub, .topic = "in", .payload = "once", .qos = 2, .id = 77);
    expect_ack(pub, PKT_PUBREC, 77, RC_SUCCESS);
    restart(state);
    metric_expect("mqtt_qos2_inflight_current", 1);
    pub = connect_again("in-pub");
    PUBLISH(pub, .topic = "in", .payload = "once", .qos = 2, .id = 77, .dup = true);
    expect_ack(pub, PKT_PUBREC, 77, RC_SUCCESS);
    send_ack(pub, PKT_PUBREL, 77, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 77, RC_SUCCESS);
    struct client *c = connect_again("in-sub");
    expect_publish_and_ack(c, "in", "once");
    expect_nothing(c);
}

/* A QoS 2 publish reaches sessions of all workers, or is to come again and then does. */
static void an_unanswered_qos_2_publish_is_placed_once_for_each(void **state)
{
    enum { COUNT = 8 };
    char id[32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "place-%d", i);
        leave_session(id, "place", 2);
    }
    struct client *pub = connect_keeping("place-pub");
    await_stored(); /* nothing was acknowledged yet, after which the session must be there */
    PUBLISH(pub, .topic = "place", .payload = "once", .qos = 2, .id = 5);
    restart(state);
    pub = connect_again("place-pub");
    PUBLISH(pub, .topic = "place", .payload = "once", .qos = 2, .id = 5, .dup = true);
    expect_ack(pub, PKT_PUBREC, 5, RC_SUCCESS);
    send_ack(pub, PKT_PUBREL, 5, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 5, RC_SUCCESS);
    for (int i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "place-%d", i);
        struct client *c = connect_again(id);
        expect_publish_and_ack(c, "place", "once");
        expect_nothing(c);
        client_disconnect(c);
    }
}

static void pubrel_after_the_restart_is_answered_with_success(void **state)
{
    leave_session("rel-sub", "rel", 2);
    struct client *pub = connect_keeping("rel-pub");
    PUBLISH(pub, .topic = "rel", .payload = "x", .qos = 2, .id = 9);
    expect_ack(pub, PKT_PUBREC, 9, RC_SUCCESS);
    restart(state);
    pub = connect_again("rel-pub");
    send_ack(pub, PKT_PUBREL, 9, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 9, RC_SUCCESS);
    restart(state);
    pub = connect_again("rel-pub");
    send_ack(pub, PKT_PUBREL, 9, RC_SUCCESS); /* our PUBCOMP may have been lost */
    expect_ack(pub, PKT_PUBCOMP, 9, RC_SUCCESS);
    metric_expect("mqtt_qos2_inflight_current", 0);
}

/* Once there was a PUBCOMP, the packet id means a new message. */
static void a_finished_packet_id_is_free_again(void **state)
{
    leave_session("free-sub", "free", 2);
    struct client *pub = connect_keeping("free-pub");
    PUBLISH_AND_WAIT(pub, .topic = "free", .payload = "one", .qos = 2, .id = 3);
    restart(state);
    pub = connect_again("free-pub");
    PUBLISH_AND_WAIT(pub, .topic = "free", .payload = "two", .qos = 2, .id = 3);
    struct client *c = connect_again("free-sub");
    expect_publish_and_ack(c, "free", "one");
    expect_publish_and_ack(c, "free", "two");
    expect_nothing(c);
}

/* ---- retained messages ----------------------------------------------------------------------- */

static void retained_messages_are_there_as_they_were_left(void **state)
{
    struct client *pub = CONNECT();
    publish_retained(pub, "kept/set", "x", 1);
    publish_retained(pub, "kept/replaced", "old", 2);
    publish_retained(pub, "kept/replaced", "new", 1);
    publish_retained(pub, "kept/deleted", "x", 1);
    publish_retained(pub, "kept/deleted", "", 1);
    PUBLISH_AND_WAIT(pub, .topic = "kept/props", .payload = "b\0n", .payload_len = 3, .qos = 2,
                     .retain = true, .props = PROPS(prop_user_property("a", "b")));
    PUBLISH(pub, .topic = "kept/qos0", .payload = "y", .retain = true);
    settle(pub);
    await_stored();
    restart(state);
    struct client *c = CONNECT();
    subscribe(c, "kept/set", 2);
    const struct packet *packet = expect_publish(c, "kept/set", "x");
    assert_true(packet->retain);
    assert_int_equal(packet->qos, 1);
    acknowledge(c, packet);
    subscribe(c, "kept/replaced", 0);
    expect_publish(c, "kept/replaced", "new");
    subscribe(c, "kept/deleted", 0);
    subscribe(c, "kept/props", 0);
    packet = expect_packet(c, PKT_PUBLISH);
    assert_string_equal(packet->topic, "kept/props");
    assert_int_equal(packet->payload_len, 3);
    assert_non_null(packet_prop(packet, PROP_USER_PROPERTY));
    subscribe(c, "kept/qos0", 0);
    expect_publish(c, "kept/qos0", "y");
    expect_nothing(c);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST_BOTH(unacknowledged_qos_1_messages_come_again),
        TEST_BOTH(acknowledged_qos_1_messages_are_gone),
        TEST_BOTH(a_qos_2_message_without_pubrec_comes_again),
        TEST_BOTH(a_qos_2_message_with_pubrec_goes_on),
        TEST_BOTH(a_qos_2_message_with_pubrel_is_only_released_again),
        TEST_BOTH(handshakes_of_all_states_go_on_together),
        TEST_BOTH(a_qos_2_publish_that_comes_again_is_not_doubled),
        TEST_BOTH(an_unanswered_qos_2_publish_is_placed_once_for_each),
        TEST_BOTH(pubrel_after_the_restart_is_answered_with_success),
        TEST_BOTH(a_finished_packet_id_is_free_again),
        TEST_BOTH(retained_messages_are_there_as_they_were_left),
    };
    return RUN_RESTART_SUITE("restart_flow", tests);
}
