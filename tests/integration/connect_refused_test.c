/* CONNECT that must be refused: the reason, and that nothing else happens. */
#include "tests/integration/suite.h"

/* A CONNECT put together by hand: `flags`, then property bytes, then payload bytes. */
struct crafted {
    const char *name;
    uint8_t version;
    uint8_t flags;
    const struct buffer *props;
    const struct buffer *payload;
};

static void send_crafted(struct client *c, const struct crafted *connect)
{
    struct buffer body = {0}, packet = {0};
    put_text(&body, connect->name != NULL ? connect->name : "MQTT");
    put_u8(&body, connect->version != 0 ? connect->version : MQTT_50);
    put_u8(&body, connect->flags);
    put_u16(&body, 0);
    if (connect->props != NULL) {
        put_varint(&body, (uint32_t)connect->props->len);
        put_bytes(&body, connect->props->data, connect->props->len);
    } else if (connect->version == 0 || connect->version >= MQTT_50) {
        put_u8(&body, 0);
    }
    if (connect->payload != NULL) {
        put_bytes(&body, connect->payload->data, connect->payload->len);
    } else {
        put_text(&body, "crafted");
    }
    put_packet(&packet, PKT_CONNECT << 4, &body);
    send_buffer(c, &packet);
    buffer_fini(&body);
    buffer_fini(&packet);
}

/* A 5.0 CONNECT whose property bytes are these. */
static struct client *connect_with_prop_bytes(const uint8_t *bytes, size_t len)
{
    struct buffer props = {0};
    put_bytes(&props, bytes, len);
    struct client *c = client_open(MQTT_50);
    send_crafted(c, &(struct crafted){.flags = 0x02, .props = &props});
    buffer_fini(&props);
    return c;
}

#define CONNECT_WITH_PROP_BYTES(...) \
    connect_with_prop_bytes((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* [MQTT-3.1.0-1]; and [MQTT-3.14.0-1]: no DISCONNECT before a CONNACK that accepts. */
static void a_first_packet_other_than_connect_closes_without_a_word(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    send_pingreq(c);
    expect_closed(c);
    c = client_open(MQTT_50);
    PUBLISH(c, .topic = "before/connect", .payload = "x");
    expect_closed(c);
    c = client_open(MQTT_50);
    send_disconnect(c, RC_SUCCESS, NULL);
    expect_closed(c);
    c = client_open(MQTT_50);
    send_auth(c, RC_CONTINUE_AUTHENTICATION, PROPS(prop_auth_method("x")));
    expect_closed(c);
}

/* What is refused before the version is known may end with or without a CONNACK that says 0x84. */
static void expect_refusal_or_close(struct client *c)
{
    const struct packet *packet = client_receive(c, WAIT_MS);
    if (packet != NULL) {
        assert_int_equal(packet->type, PKT_CONNACK);
        assert_true(packet->reason == RC_UNSUPPORTED_VERSION || packet->reason == 0x01 ||
                    packet->reason == RC_MALFORMED || packet->reason == RC_PROTOCOL_ERROR);
    }
    expect_closed(c);
}

/* [MQTT-3.1.2-1] */
static void a_wrong_protocol_name_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"MQTX", "mqtt", "MQTTT", "", "HTTP/1.1 and more"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct client *c = client_open(MQTT_50);
        send_crafted(c, &(struct crafted){.name = names[i], .flags = 0x02});
        expect_refusal_or_close(c);
    }
}

/* [MQTT-3.1.2-2] */
static void a_protocol_version_above_5_is_refused_with_unsupported_version(void **state)
{
    (void)state;
    static const uint8_t versions[] = {6, 7, 127};
    for (size_t i = 0; i < sizeof(versions); i++) {
        struct client *c = client_open(MQTT_50);
        send_crafted(c, &(struct crafted){.version = versions[i], .flags = 0x02});
        EXPECT_REFUSED(c, RC_UNSUPPORTED_VERSION);
    }
}

/* MQTT 3.1.1 [MQTT-3.1.2-2]: return code 1, in the form that 3.x clients read. */
static void a_protocol_version_below_3_is_refused_with_return_code_1(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_311);
    send_crafted(c, &(struct crafted){.version = 2, .flags = 0x02});
    EXPECT_REFUSED(c, 0x01);
}

/* [MQTT-3.1.2-3] */
static void the_reserved_connect_flag_is_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    send_crafted(c, &(struct crafted){.flags = 0x03});
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* [MQTT-3.1.2-11], [MQTT-3.1.2-13]: will QoS and will retain without a will. */
static void will_flags_without_a_will_are_refused(void **state)
{
    (void)state;
    static const uint8_t flags[] = {0x02 | 0x08, 0x02 | 0x10, 0x02 | 0x20};
    for (size_t i = 0; i < sizeof(flags); i++) {
        struct client *c = client_open(MQTT_50);
        send_crafted(c, &(struct crafted){.flags = flags[i]});
        EXPECT_REFUSED(c, RC_MALFORMED, RC_PROTOCOL_ERROR);
    }
}

/* [MQTT-3.1.2-12]: 3.1.2.6 calls will QoS 3 malformed. */
static void will_qos_3_is_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .will_topic = "w", .will_payload = "x", .will_qos = 3);
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* [MQTT-3.1.2-9], [MQTT-3.1.2-17], [MQTT-3.1.2-19]: announced by a flag, absent from the payload.
 */
static void a_field_that_a_flag_announces_must_be_there(void **state)
{
    (void)state;
    static const uint8_t flags[] = {0x02 | 0x04, 0x02 | 0x80, 0x02 | 0x40, 0x02 | 0xc0};
    for (size_t i = 0; i < sizeof(flags); i++) {
        struct client *c = client_open(MQTT_50);
        send_crafted(c, &(struct crafted){.flags = flags[i]});
        EXPECT_REFUSED(c, RC_MALFORMED);
    }
}

/* [MQTT-3.1.2-16], [MQTT-3.1.2-18], [MQTT-3.1.3-1]: nothing may follow what the flags announce. */
static void bytes_behind_the_last_field_are_refused(void **state)
{
    (void)state;
    struct buffer payload = {0};
    put_text(&payload, "crafted");
    put_text(&payload, "a user name without its flag");
    struct client *c = client_open(MQTT_50);
    send_crafted(c, &(struct crafted){.flags = 0x02, .payload = &payload});
    buffer_fini(&payload);
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* [MQTT-3.1.3-3]: the client id is always there. */
static void a_connect_without_a_client_id_field_is_refused(void **state)
{
    (void)state;
    struct buffer payload = {0};
    struct client *c = client_open(MQTT_50);
    send_crafted(c, &(struct crafted){.flags = 0x02, .payload = &payload});
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* [MQTT-3.1.4-1], [MQTT-2.1.3-1]: the fixed header's flags are reserved. */
static void a_connect_with_fixed_header_flags_is_refused(void **state)
{
    (void)state;
    struct buffer packet = {0};
    put_connect(&packet, &(struct connect_packet){.client_id = "flags"});
    packet.data[0] |= 0x02;
    struct client *c = client_open(MQTT_50);
    send_buffer(c, &packet);
    buffer_fini(&packet);
    const struct packet *answer = client_receive(c, WAIT_MS);
    if (answer != NULL) { /* the version is not known yet: a CONNACK is a courtesy */
        assert_int_equal(answer->type, PKT_CONNACK);
        assert_int_equal(answer->reason, RC_MALFORMED);
    }
    expect_closed(c);
}

/* [MQTT-3.1.3-12], [MQTT-1.5.4-1] */
static void a_user_name_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .user = "\xc0\x80");
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* 3.1.3.6: the password is binary; nothing in it can be wrong. */
static void a_password_may_hold_any_bytes(void **state)
{
    (void)state;
    CONNECT(.user = "u", .password = "\xff\xfe\x01");
}

/* [MQTT-3.1.3-11] */
static void a_will_topic_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .will_topic = "w/\xff", .will_payload = "x");
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* [MQTT-3.3.2-2], [MQTT-4.7.0-1]: a will is published, so its topic is a topic name. */
static void a_will_topic_with_a_wildcard_is_refused(void **state)
{
    (void)state;
    static const char *const topics[] = {"w/#", "w/+/x", "+"};
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        struct client *c = client_open(MQTT_50);
        SEND_CONNECT(c, .will_topic = topics[i], .will_payload = "x");
        EXPECT_REFUSED(c, RC_TOPIC_NAME_INVALID);
    }
}

/* [MQTT-4.7.3-1] */
static void an_empty_will_topic_is_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .will_topic = "", .will_payload = "x");
    EXPECT_REFUSED(c, RC_TOPIC_NAME_INVALID);
}

/* 3.1.3.2.3: a will that says it is UTF-8 and is not. */
static void a_will_payload_that_breaks_its_format_is_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .will_topic = "w", .will_payload = "\xff",
                 .will_props = PROPS(prop_payload_format(1)));
    EXPECT_REFUSED(c, RC_PAYLOAD_FORMAT_INVALID);
}

/* [MQTT-4.12.0-1], [MQTT-3.1.4-2]: no authenticator offers any method. */
static void an_unknown_authentication_method_is_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .props = PROPS(prop_auth_method("SCRAM-SHA-256"), prop_auth_data("n,,n=u")));
    EXPECT_REFUSED(c, RC_BAD_AUTH_METHOD);
}

/* 3.1.2.11.10 */
static void authentication_data_without_a_method_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .props = PROPS(prop_auth_data("data")));
    EXPECT_REFUSED(c, RC_PROTOCOL_ERROR);
}

/* 3.1.2.11.3, .4, .6, .7: values that are protocol errors. */
static void property_values_out_of_range_are_protocol_errors(void **state)
{
    (void)state;
    const struct prop bad[] = {prop_receive_maximum(0), prop_maximum_packet_size(0),
                               prop_request_problem_info(2), prop_request_response_info(2)};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct client *c = client_open(MQTT_50);
        SEND_CONNECT(c, .props = PROPS(bad[i]));
        EXPECT_REFUSED(c, RC_PROTOCOL_ERROR);
    }
}

/* 3.1.2.11: each property of CONNECT but User Property occurs at most once. */
static void a_property_that_occurs_twice_is_a_protocol_error(void **state)
{
    (void)state;
    const struct prop twice[] = {prop_session_expiry(1),        prop_receive_maximum(10),
                                 prop_maximum_packet_size(100), prop_topic_alias_maximum(1),
                                 prop_request_problem_info(1),  prop_request_response_info(1),
                                 prop_auth_method("m")};
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
        struct client *c = client_open(MQTT_50);
        SEND_CONNECT(c, .props = PROPS(twice[i], twice[i]));
        EXPECT_REFUSED(c, RC_PROTOCOL_ERROR);
    }
}

/* 3.1.3.2: the same for the will's properties. */
static void a_will_property_that_occurs_twice_is_a_protocol_error(void **state)
{
    (void)state;
    const struct prop twice[] = {prop_will_delay(1),       prop_payload_format(0),
                                 prop_message_expiry(100), prop_content_type("t"),
                                 prop_response_topic("r"), prop_correlation_data("c")};
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
        struct client *c = client_open(MQTT_50);
        SEND_CONNECT(c, .will_topic = "w", .will_payload = "x",
                     .will_props = PROPS(twice[i], twice[i]));
        EXPECT_REFUSED(c, RC_PROTOCOL_ERROR);
    }
}

/* 2.2.2.2: a property that is not CONNECT's, or none at all, makes the packet malformed. */
static void a_property_that_connect_does_not_have_is_malformed(void **state)
{
    (void)state;
    const struct prop foreign[] = {prop_topic_alias(1),     prop_subscription_id(1),
                                   prop_message_expiry(1),  prop_assigned_client_id("x"),
                                   prop_reason_string("x"), prop_maximum_qos(1)};
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        struct client *c = client_open(MQTT_50);
        SEND_CONNECT(c, .props = PROPS(foreign[i]));
        EXPECT_REFUSED(c, RC_MALFORMED);
    }
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .will_topic = "w", .will_payload = "x",
                 .will_props = PROPS(prop_session_expiry(1)));
    EXPECT_REFUSED(c, RC_MALFORMED);
    EXPECT_REFUSED(CONNECT_WITH_PROP_BYTES(0x7f, 0x00), RC_MALFORMED); /* no such property */
}

/* 2.2.2.1: a property that is cut off by the property length. */
static void a_truncated_property_is_malformed(void **state)
{
    (void)state;
    EXPECT_REFUSED(CONNECT_WITH_PROP_BYTES(0x11, 0x00, 0x00), RC_MALFORMED);
    EXPECT_REFUSED(CONNECT_WITH_PROP_BYTES(0x26, 0x00, 0x01, 'a', 0x00, 0x09, 'b'), RC_MALFORMED);
    EXPECT_REFUSED(CONNECT_WITH_PROP_BYTES(0x21), RC_MALFORMED);
}

/* [MQTT-1.5.7-1], [MQTT-1.5.4-1]: both halves of a user property are UTF-8. */
static void a_user_property_that_is_not_utf8_is_malformed(void **state)
{
    (void)state;
    EXPECT_REFUSED(CONNECT_WITH_PROP_BYTES(0x26, 0x00, 0x01, 0xff, 0x00, 0x01, 'b'), RC_MALFORMED);
    EXPECT_REFUSED(CONNECT_WITH_PROP_BYTES(0x26, 0x00, 0x01, 'a', 0x00, 0x01, 0xff), RC_MALFORMED);
}

/* [MQTT-2.2.2-1]: 5.0 always has a property length, and it must fit into the packet. */
static void a_property_length_beyond_the_packet_is_malformed(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    RAW(c, 0x10, 0x0d, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0x50, 0, 0);
    EXPECT_REFUSED(c, RC_MALFORMED);
    c = client_open(MQTT_50); /* no property length at all */
    RAW(c, 0x10, 0x0a, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0);
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* [MQTT-1.5.5-1]: a variable byte integer is as short as it can be. */
static void a_property_length_with_needless_bytes_is_malformed(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    RAW(c, 0x10, 0x0f, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0x80, 0x00, 0, 1, 'a');
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* [MQTT-3.1.4-6], [MQTT-3.2.2-7]: what follows a refused CONNECT is never looked at. */
static void data_behind_a_refused_connect_is_not_processed(void **state)
{
    (void)state;
    struct client *watcher = CONNECT();
    subscribe(watcher, "refused/#", 0);
    struct buffer all = {0};
    put_connect(&all, &(struct connect_packet){.client_id = "refused",
                                               .props = PROPS(prop_receive_maximum(0))});
    put_publish(&all, MQTT_50, &(struct publish_packet){.topic = "refused/t", .payload = "x"});
    struct client *c = client_open(MQTT_50);
    send_buffer(c, &all);
    buffer_fini(&all);
    EXPECT_REFUSED(c, RC_PROTOCOL_ERROR);
    expect_nothing(watcher);
}

/* [MQTT-3.1.2-29]: CONNACK may carry a Reason String, which is valid text when it is there. */
static void a_refusal_may_explain_itself(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .props = PROPS(prop_receive_maximum(0)));
    const struct packet *connack = expect_packet(c, PKT_CONNACK);
    assert_int_equal(connack->reason, RC_PROTOCOL_ERROR);
    assert_true(packet_prop_count(connack, PROP_REASON_STRING) <= 1);
}

/* [MQTT-3.1.3-4], [MQTT-1.5.4-1]: an id that is not UTF-8 is malformed. */
static void a_client_id_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .client_id = "bad\xff");
    EXPECT_REFUSED(c, RC_MALFORMED);
}

/* [MQTT-1.5.4-2]: U+0000 is never part of a string. */
static void a_client_id_with_a_zero_byte_is_refused(void **state)
{
    (void)state;
    struct buffer payload = {0};
    put_data(&payload, "a\0b", 3);
    struct client *c = client_open(MQTT_50);
    send_crafted(c, &(struct crafted){.flags = 0x02, .payload = &payload});
    buffer_fini(&payload);
    EXPECT_REFUSED(c, RC_MALFORMED);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_first_packet_other_than_connect_closes_without_a_word),
        TEST(a_wrong_protocol_name_is_refused),
        TEST(a_protocol_version_above_5_is_refused_with_unsupported_version),
        TEST(a_protocol_version_below_3_is_refused_with_return_code_1),
        TEST(the_reserved_connect_flag_is_refused),
        TEST(will_flags_without_a_will_are_refused),
        TEST(will_qos_3_is_refused),
        TEST(a_field_that_a_flag_announces_must_be_there),
        TEST(bytes_behind_the_last_field_are_refused),
        TEST(a_connect_without_a_client_id_field_is_refused),
        TEST(a_connect_with_fixed_header_flags_is_refused),
        TEST(a_user_name_that_is_not_utf8_is_refused),
        TEST(a_password_may_hold_any_bytes),
        TEST(a_will_topic_that_is_not_utf8_is_refused),
        TEST(a_will_topic_with_a_wildcard_is_refused),
        TEST(an_empty_will_topic_is_refused),
        TEST(a_will_payload_that_breaks_its_format_is_refused),
        TEST(an_unknown_authentication_method_is_refused),
        TEST(authentication_data_without_a_method_is_a_protocol_error),
        TEST(property_values_out_of_range_are_protocol_errors),
        TEST(a_property_that_occurs_twice_is_a_protocol_error),
        TEST(a_will_property_that_occurs_twice_is_a_protocol_error),
        TEST(a_property_that_connect_does_not_have_is_malformed),
        TEST(a_truncated_property_is_malformed),
        TEST(a_user_property_that_is_not_utf8_is_malformed),
        TEST(a_property_length_beyond_the_packet_is_malformed),
        TEST(a_property_length_with_needless_bytes_is_malformed),
        TEST(data_behind_a_refused_connect_is_not_processed),
        TEST(a_refusal_may_explain_itself),
        TEST(a_client_id_that_is_not_utf8_is_refused),
        TEST(a_client_id_with_a_zero_byte_is_refused),
    };
    return RUN_SUITE("connect_refused", tests, NULL);
}
