/* The properties of PUBLISH and of acknowledgements: forwarded, computed, checked, left out. */
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>

/* Publishes with these properties; gives what a subscriber receives. */
static const struct packet *pass_through(const char *topic, const char *payload,
                                         const struct prop *props)
{
    struct client *sub = CONNECT();
    subscribe(sub, topic, 0);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = topic, .payload = payload, .props = props);
    return expect_publish(sub, topic, payload);
}

/* ---- forwarded as they are ---- */

/* [MQTT-3.3.2-4] */
static void the_payload_format_indicator_is_forwarded(void **state)
{
    (void)state;
    assert_prop_number(pass_through("pfi/1", "\xe2\x82\xac", PROPS(prop_payload_format(1))),
                       PROP_PAYLOAD_FORMAT, 1);
    const struct packet *packet = pass_through("pfi/0", "x", PROPS(prop_payload_format(0)));
    assert_prop_number(packet, PROP_PAYLOAD_FORMAT, 0);
    assert_no_prop(pass_through("pfi/none", "x", NULL), PROP_PAYLOAD_FORMAT);
}

/* [MQTT-3.3.2-20] */
static void the_content_type_is_forwarded(void **state)
{
    (void)state;
    assert_prop_text(pass_through("ct/t", "x", PROPS(prop_content_type("text/\xc3\xa9"))),
                     PROP_CONTENT_TYPE, "text/\xc3\xa9");
    assert_prop_text(pass_through("ct/empty", "x", PROPS(prop_content_type(""))), PROP_CONTENT_TYPE,
                     "");
}

/* [MQTT-3.3.2-15] */
static void the_response_topic_is_forwarded(void **state)
{
    (void)state;
    assert_prop_text(pass_through("rt/t", "x", PROPS(prop_response_topic("answer/here"))),
                     PROP_RESPONSE_TOPIC, "answer/here");
}

/* [MQTT-3.3.2-16]: any bytes, zero bytes included. */
static void the_correlation_data_is_forwarded(void **state)
{
    (void)state;
    const struct packet *packet =
        pass_through("cd/t", "x", PROPS(prop_data(PROP_CORRELATION_DATA, "\0\xff\x01\0", 4)));
    const struct prop *data = packet_prop(packet, PROP_CORRELATION_DATA);
    assert_non_null(data);
    assert_int_equal(data->text_len, 4);
    assert_memory_equal(data->text, "\0\xff\x01\0", 4);
}

/* [MQTT-3.3.2-17], [MQTT-3.3.2-18] */
static void user_properties_are_forwarded_in_order_with_repetitions(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "a", "b", "", "b", "c"};
    static const char *const values[] = {"1", "2", "1", "", "3", ""};
    const struct packet *packet =
        pass_through("up/t", "x",
                     PROPS(prop_user_property("b", "1"), prop_user_property("a", "2"),
                           prop_user_property("b", "1"), prop_user_property("", ""),
                           prop_user_property("b", "3"), prop_user_property("c", "")));
    assert_int_equal(packet->prop_count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(packet->props[i].text, names[i]);
        assert_string_equal(packet->props[i].value, values[i]);
    }
}

/* [MQTT-3.3.2-18]: user properties stay in order also between other properties. */
static void other_properties_between_user_properties_do_not_disturb_their_order(void **state)
{
    (void)state;
    const struct packet *packet = pass_through(
        "mix/t", "x",
        PROPS(prop_user_property("k", "1"), prop_content_type("c"), prop_user_property("k", "2"),
              prop_response_topic("r"), prop_user_property("k", "3")));
    char order[8] = "";
    for (size_t i = 0; i < packet->prop_count; i++) {
        if (packet->props[i].id == PROP_USER_PROPERTY) {
            strncat(order, packet->props[i].value, 1);
        }
    }
    assert_string_equal(order, "123");
}

/* [MQTT-3.3.2-17]: large ones too. */
static void large_and_many_user_properties_are_forwarded(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static char value[60001];
    memset(value, 'v', 60000);
    assert_prop_text(pass_through("large/t", "x", PROPS(prop_content_type(value))),
                     PROP_CONTENT_TYPE, value);
    struct prop props[COUNT + 1] = {0};
    for (int i = 0; i < COUNT; i++) {
        props[i] = prop_user_property("name", "value");
    }
    assert_int_equal(packet_prop_count(pass_through("many/t", "x", props), PROP_USER_PROPERTY),
                     COUNT);
}

/* All at once, to an absent subscriber, at QoS 2: nothing is lost in the queue. */
static void properties_are_kept_in_the_queue(void **state)
{
    (void)state;
    struct client *sub = CONNECT(.client_id = "queued", .props = PROPS(prop_session_expiry(60)));
    subscribe(sub, "queued/t", 2);
    client_disconnect(sub);
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "queued/t", .payload = "x", .qos = 2,
                     .props = PROPS(prop_payload_format(1), prop_message_expiry(1000),
                                    prop_content_type("c"), prop_response_topic("r"),
                                    prop_correlation_data("d"), prop_user_property("k", "v")));
    sub = CONNECT(.client_id = "queued", .resume = true);
    const struct packet *packet = expect_publish(sub, "queued/t", "x");
    assert_prop_number(packet, PROP_PAYLOAD_FORMAT, 1);
    assert_in_range(packet_prop(packet, PROP_MESSAGE_EXPIRY)->number, 990, 1000);
    assert_prop_text(packet, PROP_CONTENT_TYPE, "c");
    assert_prop_text(packet, PROP_RESPONSE_TOPIC, "r");
    assert_prop_text(packet, PROP_CORRELATION_DATA, "d");
    assert_prop_text(packet, PROP_USER_PROPERTY, "k");
}

/* ---- message expiry ---- */

/* [MQTT-3.3.2-6]: nothing waited, so (nearly) nothing is taken off. */
static void a_message_that_does_not_wait_keeps_its_expiry_interval(void **state)
{
    (void)state;
    const struct packet *packet = pass_through("exp/t", "x", PROPS(prop_message_expiry(100)));
    assert_in_range(packet_prop(packet, PROP_MESSAGE_EXPIRY)->number, 99, 100);
    packet = pass_through("exp/max", "x", PROPS(prop_message_expiry(0xffffffff)));
    assert_true(packet_prop(packet, PROP_MESSAGE_EXPIRY)->number >= 0xfffffffe);
    assert_no_prop(pass_through("exp/none", "x", NULL), PROP_MESSAGE_EXPIRY);
}

/* [MQTT-3.3.2-5]: waiting for the receive window counts as waiting. */
static void a_message_expires_while_it_waits_for_the_receive_window(void **state)
{
    (void)state;
    struct client *sub = CONNECT(.props = PROPS(prop_receive_maximum(1)));
    subscribe(sub, "window/t", 1);
    struct client *pub = CONNECT();
    publish(pub, "window/t", "first", 1);
    PUBLISH_AND_WAIT(pub, .topic = "window/t", .payload = "stale", .qos = 1,
                     .props = PROPS(prop_message_expiry(1)));
    publish(pub, "window/t", "fresh", 1);
    uint16_t id = expect_publish(sub, "window/t", "first")->id;
    let_time_pass(2200);
    send_ack(sub, PKT_PUBACK, id, RC_SUCCESS);
    expect_publish_and_ack(sub, "window/t", "fresh");
    expect_nothing(sub);
}

/* [MQTT-4.3.3-13]: the publisher's QoS 2 handshake goes on though the message has expired. */
static void a_qos_2_handshake_is_completed_for_an_expired_message(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "exp2/t", .payload = "x", .qos = 2, .id = 1,
            .props = PROPS(prop_message_expiry(1)));
    assert_true(expect_packet(pub, PKT_PUBREC)->reason < 0x80);
    let_time_pass(1500);
    send_ack(pub, PKT_PUBREL, 1, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 1, RC_SUCCESS);
}

/* ---- checked ---- */

/* 3.3.2.3.2, 3.4.2.1, 3.5.2.1, 3.14.2.1: a payload that says it is UTF-8 and is not. */
static void a_payload_that_breaks_its_format_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xff", "a\xc0\x80", "\xed\xa0\x80", "\xe2\x82",
                                      "\xf4\x90\x80\x80"};
    struct client *sub = CONNECT();
    subscribe(sub, "format/t", 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct client *c = CONNECT();
        const struct prop *utf8 = PROPS(prop_payload_format(1));
        PUBLISH(c, .topic = "format/t", .payload = bad[i], .qos = 1, .id = 1, .props = utf8);
        expect_ack(c, PKT_PUBACK, 1, RC_PAYLOAD_FORMAT_INVALID);
        PUBLISH(c, .topic = "format/t", .payload = bad[i], .qos = 2, .id = 2, .props = utf8);
        expect_ack(c, PKT_PUBREC, 2, RC_PAYLOAD_FORMAT_INVALID);
        PUBLISH(c, .topic = "format/t", .payload = bad[i], .props = utf8);
        expect_disconnect(c, RC_PAYLOAD_FORMAT_INVALID);
    }
    expect_nothing(sub);
}

/* 3.3.2.3.2: format 0, or none, may hold any bytes. */
static void a_payload_of_unspecified_format_may_hold_any_bytes(void **state)
{
    (void)state;
    pass_through("bytes/0", "\xff\xfe\x01", PROPS(prop_payload_format(0)));
    pass_through("bytes/none", "\xff\xfe\x01", NULL);
}

/* 3.3.2.3.2: there are only formats 0 and 1. */
static void a_payload_format_of_2_is_an_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    PUBLISH(c, .topic = "t", .payload = "x", .props = PROPS(prop_payload_format(2)));
    EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_MALFORMED);
}

/* [MQTT-3.3.2-14] */
static void a_response_topic_with_a_wildcard_is_an_error(void **state)
{
    (void)state;
    static const char *const topics[] = {"a/#", "+/b", "#"};
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        struct client *c = CONNECT();
        PUBLISH(c, .topic = "t", .payload = "x", .props = PROPS(prop_response_topic(topics[i])));
        EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_TOPIC_NAME_INVALID, RC_MALFORMED);
    }
}

/* [MQTT-3.3.2-13], [MQTT-3.3.2-19], [MQTT-1.5.7-1] */
static void text_properties_that_are_not_utf8_are_malformed(void **state)
{
    (void)state;
    const struct prop bad[] = {prop_response_topic("a\xff"), prop_content_type("\xc0\x80"),
                               prop_user_property("\xff", "x"), prop_user_property("x", "\xff")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct client *c = CONNECT();
        PUBLISH(c, .topic = "t", .payload = "x", .props = PROPS(bad[i]));
        expect_disconnect(c, RC_MALFORMED);
    }
}

/* 3.3.2.3: each property of PUBLISH but User Property occurs at most once. */
static void a_publish_property_that_occurs_twice_is_a_protocol_error(void **state)
{
    (void)state;
    const struct prop twice[] = {prop_payload_format(1),     prop_message_expiry(1),
                                 prop_topic_alias(1),        prop_response_topic("r"),
                                 prop_correlation_data("c"), prop_content_type("t")};
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
        struct client *c = CONNECT();
        PUBLISH(c, .topic = "t", .payload = "x", .props = PROPS(twice[i], twice[i]));
        expect_disconnect(c, RC_PROTOCOL_ERROR);
    }
}

/* [MQTT-3.3.4-6]: 3.3.4 calls it a protocol error. */
static void a_publish_with_a_subscription_identifier_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    PUBLISH(c, .topic = "t", .payload = "x", .props = PROPS(prop_subscription_id(1)));
    EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_MALFORMED);
}

/* 2.2.2.2: properties of other packets make this one malformed. */
static void a_property_that_publish_does_not_have_is_malformed(void **state)
{
    (void)state;
    const struct prop foreign[] = {prop_session_expiry(1),  prop_reason_string("r"),
                                   prop_receive_maximum(1), prop_maximum_qos(1),
                                   prop_will_delay(1),      prop_auth_method("m")};
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        struct client *c = CONNECT();
        PUBLISH(c, .topic = "t", .payload = "x", .props = PROPS(foreign[i]));
        expect_disconnect(c, RC_MALFORMED);
    }
}

/* ---- of acknowledgements ---- */

/* Appends an acknowledgement with properties. */
static void send_ack_with(struct client *c, enum packet_type type, uint16_t id,
                          const struct prop *props)
{
    struct buffer body = {0}, packet = {0};
    put_u16(&body, id);
    put_u8(&body, RC_SUCCESS);
    put_props(&body, props);
    put_packet(&packet, (unsigned)type << 4 | (type == PKT_PUBREL ? 0x02 : 0), &body);
    send_buffer(c, &packet);
    buffer_fini(&body);
    buffer_fini(&packet);
}

/* 3.4.2.2, 3.5.2.2, 3.6.2.2, 3.7.2.2: acknowledgements may carry explanations. */
static void acknowledgements_with_properties_are_accepted(void **state)
{
    (void)state;
    const struct prop *why = PROPS(prop_reason_string("thank you"), prop_user_property("a", "b"),
                                   prop_user_property("a", "b"));
    struct client *c = CONNECT();
    subscribe(c, "acks/t", 2);
    struct client *pub = CONNECT();
    publish(pub, "acks/t", "one", 1);
    send_ack_with(c, PKT_PUBACK, expect_publish(c, "acks/t", "one")->id, why);
    publish(pub, "acks/t", "two", 2);
    uint16_t id = expect_publish(c, "acks/t", "two")->id;
    send_ack_with(c, PKT_PUBREC, id, why);
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    send_ack_with(c, PKT_PUBCOMP, id, why);
    PUBLISH(c, .topic = "acks-none/t", .payload = "x", .qos = 2, .id = 9);
    expect_ack(c, PKT_PUBREC, 9, RC_NO_MATCHING_SUBSCRIBERS);
    send_ack_with(c, PKT_PUBREL, 9, why);
    expect_ack(c, PKT_PUBCOMP, 9, RC_SUCCESS);
    settle(c);
}

/* 3.4.2.2.2: at most one Reason String, and nothing else but User Property. */
static void acknowledgements_with_wrong_properties_are_errors(void **state)
{
    (void)state;
    static const enum packet_type types[] = {PKT_PUBACK, PKT_PUBREC, PKT_PUBREL, PKT_PUBCOMP};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct client *c = CONNECT();
        send_ack_with(c, types[i], 1, PROPS(prop_reason_string("a"), prop_reason_string("b")));
        expect_disconnect(c, RC_PROTOCOL_ERROR);
        c = CONNECT();
        send_ack_with(c, types[i], 1, PROPS(prop_content_type("t")));
        expect_disconnect(c, RC_MALFORMED);
    }
}

static void assert_unexplained(const struct packet *packet)
{
    assert_no_prop(packet, PROP_REASON_STRING);
    assert_no_prop(packet, PROP_USER_PROPERTY);
}

/* [MQTT-3.1.2-29]: who does not want problem information gets none in these packets. */
static void without_problem_information_nothing_is_explained(void **state)
{
    (void)state;
    struct client *c = CONNECT(.props = PROPS(prop_request_problem_info(0)));
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"#/x", 0}));
    assert_unexplained(expect_packet(c, PKT_SUBACK));
    UNSUBSCRIBE(c, .id = 2, .filters = FILTERS({"none", 0}));
    assert_unexplained(expect_packet(c, PKT_UNSUBACK));
    PUBLISH(c, .topic = "t", .payload = "\xff", .qos = 1, .id = 3,
            .props = PROPS(prop_payload_format(1)));
    assert_unexplained(expect_packet(c, PKT_PUBACK));
    PUBLISH(c, .topic = "t", .payload = "\xff", .qos = 2, .id = 4,
            .props = PROPS(prop_payload_format(1)));
    assert_unexplained(expect_packet(c, PKT_PUBREC));
    send_ack(c, PKT_PUBREC, 5, RC_SUCCESS);
    assert_unexplained(expect_packet(c, PKT_PUBREL));
    send_ack(c, PKT_PUBREL, 6, RC_SUCCESS);
    assert_unexplained(expect_packet(c, PKT_PUBCOMP));
}

/* [MQTT-3.1.2-29]: user properties of a PUBLISH are content, not problem information. */
static void without_problem_information_user_properties_are_still_forwarded(void **state)
{
    (void)state;
    struct client *c = CONNECT(.props = PROPS(prop_request_problem_info(0)));
    subscribe(c, "content/t", 0);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "content/t", .payload = "x",
            .props = PROPS(prop_user_property("a", "b")));
    assert_prop_text(expect_publish(c, "content/t", "x"), PROP_USER_PROPERTY, "a");
}

/* 3.8.2.1, 3.10.2.1: SUBSCRIBE and UNSUBSCRIBE may carry user properties. */
static void subscribe_and_unsubscribe_accept_user_properties(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    const struct prop *props = PROPS(prop_user_property("a", "1"), prop_user_property("a", "2"));
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"t", 0}), .props = props);
    EXPECT_SUBACK(c, 1, 0);
    UNSUBSCRIBE(c, .id = 2, .filters = FILTERS({"t", 0}), .props = props);
    EXPECT_UNSUBACK(c, 2, 0);
}

/* 3.14.2.2: DISCONNECT may explain itself. */
static void disconnect_accepts_its_properties(void **state)
{
    (void)state;
    client_disconnect_with(CONNECT(), RC_SUCCESS,
                           PROPS(prop_reason_string("bye"), prop_user_property("a", "b")));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_payload_format_indicator_is_forwarded),
        TEST(the_content_type_is_forwarded),
        TEST(the_response_topic_is_forwarded),
        TEST(the_correlation_data_is_forwarded),
        TEST(user_properties_are_forwarded_in_order_with_repetitions),
        TEST(other_properties_between_user_properties_do_not_disturb_their_order),
        TEST(large_and_many_user_properties_are_forwarded),
        TEST(properties_are_kept_in_the_queue),
        TEST(a_message_that_does_not_wait_keeps_its_expiry_interval),
        TEST(a_message_expires_while_it_waits_for_the_receive_window),
        TEST(a_qos_2_handshake_is_completed_for_an_expired_message),
        TEST(a_payload_that_breaks_its_format_is_refused),
        TEST(a_payload_of_unspecified_format_may_hold_any_bytes),
        TEST(a_payload_format_of_2_is_an_error),
        TEST(a_response_topic_with_a_wildcard_is_an_error),
        TEST(text_properties_that_are_not_utf8_are_malformed),
        TEST(a_publish_property_that_occurs_twice_is_a_protocol_error),
        TEST(a_publish_with_a_subscription_identifier_is_a_protocol_error),
        TEST(a_property_that_publish_does_not_have_is_malformed),
        TEST(acknowledgements_with_properties_are_accepted),
        TEST(acknowledgements_with_wrong_properties_are_errors),
        TEST(without_problem_information_nothing_is_explained),
        TEST(without_problem_information_user_properties_are_still_forwarded),
        TEST(subscribe_and_unsubscribe_accept_user_properties),
        TEST(disconnect_accepts_its_properties),
    };
    return RUN_SUITE("properties", tests, NULL);
}
