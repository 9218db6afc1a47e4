/* Packets that break the rules: the right reason, the end of that connection, and of no other. */
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Bytes that a connected client sends, and the reasons that the specification allows for them. */
struct bad_packet {
    const char *what;
    size_t len;
    uint8_t bytes[40];
    uint8_t reasons[3];
};

/* clang-format off */
#define BAD(what, first_reason, second_reason, ...)                                              \
    {what, sizeof((const uint8_t[]){__VA_ARGS__}), {__VA_ARGS__},                                \
     {first_reason, second_reason, first_reason}}
/* clang-format on */

/* Every packet of the list: a 5.0 client is told, a 3.1.1 client closed; the broker goes on. */
static void expect_all_refused(const struct bad_packet *packets, size_t count, uint8_t version)
{
    struct client *bystander = CONNECT();
    for (size_t i = 0; i < count; i++) {
        struct client *c = CONNECT(.version = version);
        test_case(packets[i].what);
        send_bytes(c, packets[i].bytes, packets[i].len);
        expect_disconnect_at(c, packets[i].reasons, 3, HERE);
        client_close(c);
    }
    settle(bystander);
}

#define EXPECT_ALL_REFUSED(packets, version) \
    expect_all_refused(packets, sizeof(packets) / sizeof((packets)[0]), version)

/* [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1]
 */
static void wrong_flags_in_the_fixed_header_are_malformed(void **state)
{
    (void)state;
    static const struct bad_packet packets[] = {
        BAD("PUBACK", RC_MALFORMED, RC_MALFORMED, 0x41, 2, 0, 1),
        BAD("PUBREC", RC_MALFORMED, RC_MALFORMED, 0x52, 2, 0, 1),
        BAD("PUBREL with 0", RC_MALFORMED, RC_MALFORMED, 0x60, 2, 0, 1),
        BAD("PUBREL with 3", RC_MALFORMED, RC_MALFORMED, 0x63, 2, 0, 1),
        BAD("PUBCOMP", RC_MALFORMED, RC_MALFORMED, 0x78, 2, 0, 1),
        BAD("SUBSCRIBE with 0", RC_MALFORMED, RC_MALFORMED, 0x80, 7, 0, 1, 0, 0, 1, 't', 0),
        BAD("SUBSCRIBE with 10", RC_MALFORMED, RC_MALFORMED, 0x8a, 7, 0, 1, 0, 0, 1, 't', 0),
        BAD("UNSUBSCRIBE with 0", RC_MALFORMED, RC_MALFORMED, 0xa0, 6, 0, 1, 0, 0, 1, 't'),
        BAD("PINGREQ", RC_MALFORMED, RC_MALFORMED, 0xc1, 0),
        BAD("DISCONNECT", RC_MALFORMED, RC_MALFORMED, 0xe1, 0),
        BAD("AUTH", RC_MALFORMED, RC_MALFORMED, 0xf1, 0),
    };
    EXPECT_ALL_REFUSED(packets, MQTT_50);
}

/* 2.1.2 table 2-1: packets that only servers send, and the type that nobody sends. */
static void packets_that_clients_do_not_send_are_errors(void **state)
{
    (void)state;
    static const struct bad_packet packets[] = {
        BAD("type 0", RC_MALFORMED, RC_PROTOCOL_ERROR, 0x00, 0),
        BAD("CONNACK", RC_PROTOCOL_ERROR, RC_MALFORMED, 0x20, 3, 0, 0, 0),
        BAD("SUBACK", RC_PROTOCOL_ERROR, RC_MALFORMED, 0x90, 4, 0, 1, 0, 0),
        BAD("UNSUBACK", RC_PROTOCOL_ERROR, RC_MALFORMED, 0xb0, 4, 0, 1, 0, 0),
        BAD("PINGRESP", RC_PROTOCOL_ERROR, RC_MALFORMED, 0xd0, 0),
    };
    EXPECT_ALL_REFUSED(packets, MQTT_50);
    EXPECT_ALL_REFUSED(packets, MQTT_311);
}

/* [MQTT-4.12.0-7], 3.15: AUTH from a client that named no method. */
static void auth_without_a_method_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    send_auth(c, RC_CONTINUE_AUTHENTICATION, PROPS(prop_auth_method("m")));
    expect_disconnect(c, RC_PROTOCOL_ERROR);
    c = CONNECT();
    send_auth(c, RC_REAUTHENTICATE, PROPS(prop_auth_method("m")));
    expect_disconnect(c, RC_PROTOCOL_ERROR);
    c = CONNECT();
    RAW(c, 0xf0, 0x00);
    expect_disconnect(c, RC_PROTOCOL_ERROR);
    c = CONNECT(.version = MQTT_311);
    RAW(c, 0xf0, 0x00); /* 3.1.1 knows no such packet */
    expect_closed(c);
}

/* 1.5.5, 2.1.4: a remaining length has at most four bytes, and no needless ones [MQTT-1.5.5-1]. */
static void a_remaining_length_that_cannot_be_is_malformed(void **state)
{
    (void)state;
    static const struct bad_packet packets[] = {
        BAD("five bytes", RC_MALFORMED, RC_MALFORMED, 0x30, 0xff, 0xff, 0xff, 0xff, 0x01),
        BAD("five bytes of zero", RC_MALFORMED, RC_MALFORMED, 0xc0, 0x80, 0x80, 0x80, 0x80, 0x00),
        BAD("needless bytes", RC_MALFORMED, RC_MALFORMED, 0xc0, 0x80, 0x00),
    };
    EXPECT_ALL_REFUSED(packets, MQTT_50);
}

/* 3.x: the packet body ends where its fields do. */
static void packets_that_are_too_short_or_too_long_are_malformed(void **state)
{
    (void)state;
    static const struct bad_packet packets[] = {
        BAD("PINGREQ with a body", RC_MALFORMED, RC_MALFORMED, 0xc0, 1, 0),
        BAD("PUBLISH without a topic", RC_MALFORMED, RC_MALFORMED, 0x30, 0),
        BAD("PUBLISH with half a length", RC_MALFORMED, RC_MALFORMED, 0x30, 1, 0),
        BAD("PUBLISH with a topic past its end", RC_MALFORMED, RC_MALFORMED, 0x30, 4, 0, 9, 't',
            't'),
        BAD("PUBLISH without its id", RC_MALFORMED, RC_MALFORMED, 0x32, 3, 0, 1, 't'),
        BAD("PUBLISH with half an id", RC_MALFORMED, RC_MALFORMED, 0x32, 4, 0, 1, 't', 0),
        BAD("PUBLISH without property length", RC_MALFORMED, RC_MALFORMED, 0x30, 3, 0, 1, 't'),
        BAD("PUBLISH with properties past its end", RC_MALFORMED, RC_MALFORMED, 0x30, 5, 0, 1, 't',
            5, 1),
        BAD("PUBLISH with a property cut short", RC_MALFORMED, RC_MALFORMED, 0x30, 7, 0, 1, 't', 3,
            0x02, 0, 0),
        BAD("PUBACK without an id", RC_MALFORMED, RC_MALFORMED, 0x40, 0),
        BAD("PUBACK with half an id", RC_MALFORMED, RC_MALFORMED, 0x40, 1, 0),
        BAD("PUBACK with properties past its end", RC_MALFORMED, RC_MALFORMED, 0x40, 4, 0, 1, 0, 9),
        BAD("PUBACK with bytes left over", RC_MALFORMED, RC_MALFORMED, 0x40, 5, 0, 1, 0, 0, 0),
        BAD("PUBREL without an id", RC_MALFORMED, RC_MALFORMED, 0x62, 1, 0),
        BAD("SUBSCRIBE without anything", RC_MALFORMED, RC_MALFORMED, 0x82, 0),
        BAD("SUBSCRIBE without options", RC_MALFORMED, RC_MALFORMED, 0x82, 6, 0, 1, 0, 0, 1, 't'),
        BAD("SUBSCRIBE with a filter past its end", RC_MALFORMED, RC_MALFORMED, 0x82, 7, 0, 1, 0, 0,
            9, 't', 0),
        BAD("SUBSCRIBE with half a second filter", RC_MALFORMED, RC_MALFORMED, 0x82, 8, 0, 1, 0, 0,
            1, 't', 0, 0),
        BAD("UNSUBSCRIBE with a filter past its end", RC_MALFORMED, RC_MALFORMED, 0xa2, 6, 0, 1, 0,
            0, 9, 't'),
        BAD("DISCONNECT with properties past its end", RC_MALFORMED, RC_MALFORMED, 0xe0, 2, 0, 9),
        BAD("DISCONNECT with bytes left over", RC_MALFORMED, RC_MALFORMED, 0xe0, 3, 0, 0, 0),
    };
    EXPECT_ALL_REFUSED(packets, MQTT_50);
}

/* The same for 3.1.1, where the connection just ends, MQTT 3.1.1 section 4.8. */
static void malformed_packets_of_3_1_1_close_the_connection(void **state)
{
    (void)state;
    static const struct bad_packet packets[] = {
        BAD("PINGREQ with a body", 0, 0, 0xc0, 1, 0),
        BAD("PINGREQ with flags", 0, 0, 0xc4, 0),
        BAD("PUBLISH without a topic", 0, 0, 0x30, 0),
        BAD("PUBLISH with QoS 3", 0, 0, 0x36, 5, 0, 1, 't', 0, 1),
        BAD("PUBLISH with id 0", 0, 0, 0x32, 5, 0, 1, 't', 0, 0),
        BAD("PUBLISH with an empty topic", 0, 0, 0x30, 2, 0, 0),
        BAD("PUBLISH to a wildcard", 0, 0, 0x30, 3, 0, 1, '#'),
        BAD("PUBLISH to a topic that is not UTF-8", 0, 0, 0x30, 3, 0, 1, 0xff),
        BAD("PUBACK of three bytes", 0, 0, 0x40, 3, 0, 1, 0),
        BAD("SUBSCRIBE with reserved bits", 0, 0, 0x82, 6, 0, 1, 0, 1, 't', 4),
        BAD("SUBSCRIBE with QoS 3", 0, 0, 0x82, 6, 0, 1, 0, 1, 't', 3),
        BAD("SUBSCRIBE without filters", 0, 0, 0x82, 2, 0, 1),
        BAD("SUBSCRIBE with flags", 0, 0, 0x80, 6, 0, 1, 0, 1, 't', 0),
        BAD("UNSUBSCRIBE without filters", 0, 0, 0xa2, 2, 0, 1),
        BAD("DISCONNECT with a body", 0, 0, 0xe0, 1, 0),
        BAD("five bytes of remaining length", 0, 0, 0x30, 0xff, 0xff, 0xff, 0xff, 0x01),
    };
    EXPECT_ALL_REFUSED(packets, MQTT_311);
}

/* [MQTT-3.3.2-2], [MQTT-4.7.0-1]: wildcards are for filters. */
static void a_topic_name_with_a_wildcard_is_refused(void **state)
{
    (void)state;
    static const char *const topics[] = {"#", "+", "a/#", "a/+/b", "a+", "#a"};
    struct client *all = CONNECT();
    subscribe(all, "#", 0);
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        struct client *c = CONNECT();
        PUBLISH(c, .topic = topics[i], .payload = "x");
        expect_disconnect(c, RC_TOPIC_NAME_INVALID);
    }
    expect_nothing(all);
}

/* [MQTT-4.7.3-2], [MQTT-1.5.4-2]: U+0000 in topic names and filters. */
static void a_zero_byte_in_a_topic_or_filter_is_malformed(void **state)
{
    (void)state;
    static const struct bad_packet packets[] = {
        BAD("PUBLISH", RC_MALFORMED, RC_TOPIC_NAME_INVALID, 0x30, 6, 0, 3, 'a', 0, 'b', 0),
        BAD("SUBSCRIBE", RC_MALFORMED, RC_MALFORMED, 0x82, 9, 0, 1, 0, 0, 3, 'a', 0, 'b', 0),
        BAD("UNSUBSCRIBE", RC_MALFORMED, RC_MALFORMED, 0xa2, 8, 0, 1, 0, 0, 3, 'a', 0, 'b'),
    };
    EXPECT_ALL_REFUSED(packets, MQTT_50);
}

/* [MQTT-1.5.4-1], [MQTT-3.3.2-1], [MQTT-3.8.3-1], [MQTT-3.10.3-1] */
static void text_that_is_not_utf8_is_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xc3(",
                                      "\xe0\x80\xaf",
                                      "\xe2\x82",
                                      "\xe2(\xa1",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf0\x9f\x9a",
                                      "\xf5\x80\x80\x80",
                                      "\xfe",
                                      "\xff",
                                      "ok\xc3"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct client *c = CONNECT();
        PUBLISH(c, .topic = bad[i], .payload = "x");
        expect_disconnect(c, RC_MALFORMED);
        c = CONNECT();
        SUBSCRIBE(c, .id = 1, .filters = FILTERS({bad[i], 0}));
        expect_disconnect(c, RC_MALFORMED);
        c = CONNECT();
        UNSUBSCRIBE(c, .id = 1, .filters = FILTERS({bad[i], 0}));
        expect_disconnect(c, RC_MALFORMED);
        client_close_all();
    }
}

/* [MQTT-1.5.4-1]: the borders of what is allowed are allowed. */
static void text_at_the_borders_of_utf8_is_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {"\x7f",         "\xc2\x80",         "\xdf\xbf",
                                       "\xe0\xa0\x80", "\xed\x9f\xbf",     "\xee\x80\x80",
                                       "\xef\xbf\xbd", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbd"};
    struct client *c = CONNECT();
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if ((uint8_t)good[i][0] < 0xc2 || (uint8_t)good[i][1] < 0xa0) {
            continue; /* control characters: 1.5.4 lets a receiver refuse them */
        }
        subscribe(c, good[i], 0);
        PUBLISH(c, .topic = good[i], .payload = "x");
        expect_publish(c, good[i], "x");
    }
}

/* [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]: codes that the packet lacks. */
static void reason_codes_that_a_packet_does_not_have_are_errors(void **state)
{
    (void)state;
    static const struct bad_packet packets[] = {
        BAD("PUBACK 0x01", RC_PROTOCOL_ERROR, RC_MALFORMED, 0x40, 3, 0, 1, 0x01),
        BAD("PUBACK 0x8e", RC_PROTOCOL_ERROR, RC_MALFORMED, 0x40, 3, 0, 1, 0x8e),
        BAD("PUBREC 0x92", RC_PROTOCOL_ERROR, RC_MALFORMED, 0x50, 3, 0, 1, 0x92),
        BAD("PUBREL 0x80", RC_PROTOCOL_ERROR, RC_MALFORMED, 0x62, 3, 0, 1, 0x80),
        BAD("PUBCOMP 0x10", RC_PROTOCOL_ERROR, RC_MALFORMED, 0x70, 3, 0, 1, 0x10),
        BAD("DISCONNECT 0x01", RC_PROTOCOL_ERROR, RC_MALFORMED, 0xe0, 1, 0x01),
    };
    EXPECT_ALL_REFUSED(packets, MQTT_50);
}

/* 3.14.2.2: DISCONNECT's properties are checked like others. */
static void a_disconnect_with_wrong_properties_is_an_error(void **state)
{
    (void)state;
    struct client *c = CONNECT(.props = PROPS(prop_session_expiry(5)));
    send_disconnect(c, RC_SUCCESS, PROPS(prop_session_expiry(1), prop_session_expiry(1)));
    expect_disconnect(c, RC_PROTOCOL_ERROR);
    c = CONNECT();
    send_disconnect(c, RC_SUCCESS, PROPS(prop_content_type("t")));
    expect_disconnect(c, RC_MALFORMED);
}

/* [MQTT-4.13.1-1], [MQTT-4.13.2-1], [MQTT-3.14.4-1]: after the error nothing more is processed. */
static void packets_behind_a_malformed_one_are_not_processed(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "behind/t", 0);
    struct buffer all = {0};
    put_publish(&all, MQTT_50, &(struct publish_packet){.topic = "behind/t", .payload = "before"});
    put_publish(&all, MQTT_50, &(struct publish_packet){.topic = "behind/+", .payload = "bad"});
    put_publish(&all, MQTT_50, &(struct publish_packet){.topic = "behind/t", .payload = "after"});
    struct client *c = CONNECT();
    send_buffer(c, &all);
    buffer_fini(&all);
    expect_disconnect(c, RC_TOPIC_NAME_INVALID);
    expect_publish(sub, "behind/t", "before");
    expect_nothing(sub);
}

/* [MQTT-3.14.4-1], [MQTT-3.14.4-2] as seen by the broker: after DISCONNECT a client is gone. */
static void packets_behind_a_disconnect_are_not_processed(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "afterwards/t", 0);
    struct buffer all = {0};
    put_reason_packet(&all, PKT_DISCONNECT, RC_SUCCESS, NULL);
    put_publish(&all, MQTT_50, &(struct publish_packet){.topic = "afterwards/t", .payload = "x"});
    struct client *c = CONNECT();
    send_buffer(c, &all);
    buffer_fini(&all);
    expect_closed(c);
    expect_nothing(sub);
}

/* A packet that never comes to its end waits for its own connection's sake alone. */
static void a_packet_that_stops_in_the_middle_disturbs_nobody(void **state)
{
    (void)state;
    struct client *half = CONNECT();
    RAW(half, 0x30, 0x7f, 0x00, 0x04, 'h', 'a');
    struct client *sub = CONNECT();
    subscribe(sub, "half", 0);
    publish(CONNECT(), "half", "x", 1);
    expect_publish(sub, "half", "x");
    expect_nothing(half);
}

/* ---- at random ---- */

static unsigned long seed_of_the_day(void)
{
    const char *text = getenv("PULSE_TEST_SEED");
    unsigned long seed = text != NULL ? strtoul(text, NULL, 0)
                                      : (unsigned long)time(NULL) ^ (unsigned long)clock_ms();
    print_message("           PULSE_TEST_SEED=%lu\n", seed);
    return seed;
}

/* Anything that a client may send, correct. */
static void put_random_packet(struct buffer *buf, uint8_t version)
{
    const struct prop *props = PROPS(prop_user_property("k", "v"), prop_content_type("c"));
    switch (rand() % 7) {
    case 0:
        put_publish(buf, version,
                    &(struct publish_packet){.topic = "fuzz/t", .payload = "payload"});
        break;
    case 1:
        put_publish(buf, version,
                    &(struct publish_packet){.topic = "fuzz/t",
                                             .payload = "payload",
                                             .qos = (uint8_t)(1 + rand() % 2),
                                             .id = (uint16_t)(1 + rand() % 5),
                                             .retain = rand() % 2 == 0,
                                             .props = props});
        break;
    case 2:
        put_subscribe(buf, version,
                      &(struct subscribe_packet){
                          .id = 7, .filters = FILTERS({"fuzz/#", 1}, {"$share/g/fuzz/+", 2})});
        break;
    case 3:
        put_unsubscribe(buf, version,
                        &(struct subscribe_packet){.id = 8, .filters = FILTERS({"fuzz/#", 0})});
        break;
    case 4:
        put_ack(buf, version, (enum packet_type)(PKT_PUBACK + rand() % 4),
                (unsigned)(1 + rand() % 5), RC_SUCCESS);
        break;
    case 5:
        put_bytes(buf, (const uint8_t[]){0xc0, 0x00}, 2);
        break;
    default:
        put_connect(buf, &(struct connect_packet){.version = version,
                                                  .client_id = "fuzz",
                                                  .will_topic = "fuzz/will",
                                                  .will_payload = "w",
                                                  .props = PROPS(prop_session_expiry(1))});
        break;
    }
}

static void damage(struct buffer *buf)
{
    for (int i = 1 + rand() % 3; i > 0; i--) {
        size_t at = (size_t)rand() % buf->len;
        buf->data[at] = (uint8_t)(rand() % 3 == 0 ? rand() : buf->data[at] ^ (1 << rand() % 8));
    }
    if (rand() % 4 == 0) {
        buf->len = 1 + (size_t)rand() % buf->len;
    }
}

static void check_that_the_broker_serves(const char *topic)
{
    struct client *sub = CONNECT();
    subscribe(sub, topic, 0);
    publish(CONNECT(), topic, "x", 1);
    expect_publish(sub, topic, "x");
}

/* Damaged packets of connected clients: whatever becomes of them, the broker goes on. */
static void damaged_packets_never_hurt_the_broker(void **state)
{
    (void)state;
    srand((unsigned)seed_of_the_day());
    for (int i = 0; i < 600; i++) {
        uint8_t version = rand() % 3 == 0 ? MQTT_311 : MQTT_50;
        struct client *c = CONNECT(.version = version);
        struct buffer buf = {0};
        for (int j = rand() % 5; j >= 0; j--) {
            put_random_packet(&buf, version);
        }
        damage(&buf);
        send_buffer(c, &buf);
        buffer_fini(&buf);
        if (i % 50 == 49) {
            client_close_all();
            check_that_the_broker_serves("served/damaged");
        }
    }
}

/* Damaged CONNECTs and plain noise from strangers. */
static void noise_from_strangers_never_hurts_the_broker(void **state)
{
    (void)state;
    srand((unsigned)seed_of_the_day());
    for (int i = 0; i < 600; i++) {
        struct client *c = client_open(MQTT_50);
        struct buffer buf = {0};
        if (i % 2 == 0) {
            put_connect(&buf,
                        &(struct connect_packet){
                            .version = rand() % 3 == 0 ? MQTT_311 : MQTT_50,
                            .client_id = "noise",
                            .will_topic = "noise/will",
                            .will_payload = "w",
                            .user = "user",
                            .password = "password",
                            .will_props = PROPS(prop_will_delay(1), prop_content_type("c")),
                            .props = PROPS(prop_session_expiry(1), prop_user_property("k", "v"))});
            damage(&buf);
        } else {
            for (int j = rand() % 200; j >= 0; j--) {
                put_u8(&buf, (unsigned)rand() & 0xff);
            }
        }
        send_buffer(c, &buf);
        buffer_fini(&buf);
        if (i % 50 == 49) {
            client_close_all();
            check_that_the_broker_serves("served/noise");
        }
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(wrong_flags_in_the_fixed_header_are_malformed),
        TEST(packets_that_clients_do_not_send_are_errors),
        TEST(auth_without_a_method_is_a_protocol_error),
        TEST(a_remaining_length_that_cannot_be_is_malformed),
        TEST(packets_that_are_too_short_or_too_long_are_malformed),
        TEST(malformed_packets_of_3_1_1_close_the_connection),
        TEST(a_topic_name_with_a_wildcard_is_refused),
        TEST(a_zero_byte_in_a_topic_or_filter_is_malformed),
        TEST(text_that_is_not_utf8_is_malformed),
        TEST(text_at_the_borders_of_utf8_is_accepted),
        TEST(reason_codes_that_a_packet_does_not_have_are_errors),
        TEST(a_disconnect_with_wrong_properties_is_an_error),
        TEST(packets_behind_a_malformed_one_are_not_processed),
        TEST(packets_behind_a_disconnect_are_not_processed),
        TEST(a_packet_that_stops_in_the_middle_disturbs_nobody),
        TEST(damaged_packets_never_hurt_the_broker),
        TEST(noise_from_strangers_never_hurts_the_broker),
    };
    return RUN_SUITE("malformed", tests, NULL);
}
