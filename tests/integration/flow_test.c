/* Limits between two parties: receive windows, packet sizes, topic aliases, offline queues. */
#include "tests/integration/suite.h"

#include <stdio.h>

/* ---- Receive Maximum, the client's ---- */

/* [MQTT-3.3.4-9], [MQTT-4.9.0-1], [MQTT-4.9.0-2] */
static void no_more_than_receive_maximum_messages_are_in_flight(void **state)
{
    (void)state;
    struct client *c = CONNECT(.props = PROPS(prop_receive_maximum(2)));
    subscribe(c, "rm/t", 1);
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "rm/t", text, 1);
    }
    uint16_t first = expect_publish(c, "rm/t", "0")->id;
    uint16_t second = expect_publish(c, "rm/t", "1")->id;
    expect_nothing(c);
    send_ack(c, PKT_PUBACK, first, RC_SUCCESS);
    acknowledge(c, expect_publish(c, "rm/t", "2"));
    send_ack(c, PKT_PUBACK, second, RC_SUCCESS);
    expect_publish_and_ack(c, "rm/t", "3");
    expect_publish_and_ack(c, "rm/t", "4");
    expect_publish_and_ack(c, "rm/t", "5");
    expect_nothing(c);
}

/* [MQTT-4.9.0-2]: a QoS 2 message holds its place until PUBCOMP. */
static void a_qos_2_message_holds_its_place_until_pubcomp(void **state)
{
    (void)state;
    struct client *c = CONNECT(.props = PROPS(prop_receive_maximum(1)));
    subscribe(c, "rm2/t", 2);
    struct client *pub = CONNECT();
    publish(pub, "rm2/t", "one", 2);
    publish(pub, "rm2/t", "two", 1);
    uint16_t id = expect_publish(c, "rm2/t", "one")->id;
    send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    expect_nothing(c);
    send_ack(c, PKT_PUBCOMP, id, RC_SUCCESS);
    expect_publish_and_ack(c, "rm2/t", "two");
}

/* 4.9: a PUBREC or PUBACK that refuses gives the place back. */
static void a_refusal_gives_the_place_back(void **state)
{
    (void)state;
    struct client *c = CONNECT(.props = PROPS(prop_receive_maximum(1)));
    subscribe(c, "rmref/t", 2);
    struct client *pub = CONNECT();
    publish(pub, "rmref/t", "one", 2);
    publish(pub, "rmref/t", "two", 1);
    publish(pub, "rmref/t", "three", 1);
    send_ack(c, PKT_PUBREC, expect_publish(c, "rmref/t", "one")->id, RC_QUOTA_EXCEEDED);
    send_ack(c, PKT_PUBACK, expect_publish(c, "rmref/t", "two")->id, RC_QUOTA_EXCEEDED);
    expect_publish_and_ack(c, "rmref/t", "three");
}

/* [MQTT-4.9.0-3], [MQTT-3.3.4-10]: with a full window everything but QoS 1 and 2 goes on. */
static void a_full_window_holds_nothing_else_up(void **state)
{
    (void)state;
    struct client *c = CONNECT(.props = PROPS(prop_receive_maximum(1)));
    subscribe(c, "rmfull/+", 1);
    struct client *pub = CONNECT();
    publish(pub, "rmfull/1", "one", 1);
    publish(pub, "rmfull/1", "two", 1);
    publish(pub, "rmfull/0", "zero", 0);
    uint16_t id = expect_publish(c, "rmfull/1", "one")->id;
    expect_publish(c, "rmfull/0", "zero");
    settle(c);
    subscribe(c, "rmfull/other", 0);
    PUBLISH(c, .topic = "rmfull-own", .payload = "x", .qos = 1, .id = 1);
    expect_ack(c, PKT_PUBACK, 1, RC_NO_MATCHING_SUBSCRIBERS);
    unsubscribe(c, "rmfull/other");
    send_ack(c, PKT_PUBACK, id, RC_SUCCESS);
    expect_publish_and_ack(c, "rmfull/1", "two");
}

/* [MQTT-4.4.0-1], [MQTT-3.3.4-9]: what is sent again after a reconnect obeys the new window. */
static void redelivery_respects_the_new_receive_maximum(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "rmnew", .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "rmnew/t", 1);
    struct client *pub = CONNECT();
    publish(pub, "rmnew/t", "one", 1);
    publish(pub, "rmnew/t", "two", 1);
    publish(pub, "rmnew/t", "three", 1);
    expect_publish(c, "rmnew/t", "one");
    expect_publish(c, "rmnew/t", "two");
    expect_publish(c, "rmnew/t", "three");
    client_drop(c);
    c = CONNECT(.client_id = "rmnew", .resume = true, .props = PROPS(prop_receive_maximum(1)));
    const struct packet *packet = expect_publish(c, "rmnew/t", "one");
    assert_true(packet->dup);
    uint16_t id = packet->id;
    expect_nothing(c);
    send_ack(c, PKT_PUBACK, id, RC_SUCCESS);
    expect_publish_and_ack(c, "rmnew/t", "two");
    expect_publish_and_ack(c, "rmnew/t", "three");
}

/* ---- Receive Maximum, the broker's ---- */

/* 3.3.4: one PUBLISH more than the broker's Receive Maximum gets 0x93. */
static void a_client_that_overruns_receive_maximum_is_disconnected(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_receive_maximum: 2");
    struct client *c = CONNECT();
    PUBLISH(c, .topic = "over/t", .payload = "x", .qos = 2, .id = 1);
    PUBLISH(c, .topic = "over/t", .payload = "x", .qos = 2, .id = 2);
    expect_ack(c, PKT_PUBREC, 1, RC_NO_MATCHING_SUBSCRIBERS);
    expect_ack(c, PKT_PUBREC, 2, RC_NO_MATCHING_SUBSCRIBERS);
    settle(c);
    PUBLISH(c, .topic = "over/t", .payload = "x", .qos = 2, .id = 3);
    expect_disconnect(c, RC_RECEIVE_MAXIMUM_EXCEEDED);
}

/* 4.9: PUBCOMP, and PUBREC that refuses, give the client its place back. */
static void a_client_within_receive_maximum_may_go_on_for_ever(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_receive_maximum: 2");
    struct client *c = CONNECT();
    for (int i = 0; i < 20; i++) {
        PUBLISH_AND_WAIT(c, .topic = "within/t", .payload = "x", .qos = 2);
        PUBLISH_AND_WAIT(c, .topic = "within/t", .payload = "x", .qos = 1);
        PUBLISH(c, .topic = "within/t", .payload = "\xff", .qos = 2, .id = 1000,
                .props = PROPS(prop_payload_format(1)));
        expect_ack(c, PKT_PUBREC, 1000, RC_PAYLOAD_FORMAT_INVALID);
    }
}

/* 4.9: repeating the same QoS 2 PUBLISH takes no second place. */
static void a_repeated_publish_takes_no_second_place(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_receive_maximum: 1");
    struct client *c = CONNECT(.client_id = "norepeat", .props = PROPS(prop_session_expiry(60)));
    PUBLISH(c, .topic = "norepeat/t", .payload = "x", .qos = 2, .id = 1);
    expect_packet(c, PKT_PUBREC);
    client_drop(c);
    c = CONNECT(.client_id = "norepeat", .resume = true);
    PUBLISH(c, .topic = "norepeat/t", .payload = "x", .qos = 2, .id = 1, .dup = true);
    assert_true(expect_packet(c, PKT_PUBREC)->reason < 0x80);
    send_ack(c, PKT_PUBREL, 1, RC_SUCCESS);
    expect_ack(c, PKT_PUBCOMP, 1, RC_SUCCESS);
}

/* ---- Maximum Packet Size ---- */

/* [MQTT-3.1.2-24], [MQTT-3.1.2-25]: too large for this client means: as if it were delivered. */
static void a_message_too_large_for_the_client_is_dropped_for_it_alone(void **state)
{
    (void)state;
    struct client *small =
        CONNECT(.props = PROPS(prop_maximum_packet_size(100), prop_receive_maximum(1)));
    subscribe(small, "size/t", 1);
    struct client *large = CONNECT();
    subscribe(large, "size/t", 1);
    struct client *pub = CONNECT();
    char big[201] = {0};
    memset(big, 'b', 200);
    publish(pub, "size/t", big, 1);
    publish(pub, "size/t", big, 0);
    publish(pub, "size/t", "fits", 1);
    expect_publish_and_ack(small, "size/t", "fits");
    expect_publish_and_ack(large, "size/t", big);
    expect_publish(large, "size/t", big);
    expect_publish_and_ack(large, "size/t", "fits");
    expect_nothing(small);
}

/* [MQTT-3.1.2-24]: a packet of exactly the limit passes, one byte more does not. */
static void the_packet_size_limit_is_exact(void **state)
{
    (void)state;
    enum { LIMIT = 100, OVERHEAD = 2 + 2 + 4 + 1 }; /* header, topic "ex/t", no properties */
    struct client *c = CONNECT(.props = PROPS(prop_maximum_packet_size(LIMIT)));
    subscribe(c, "ex/t", 0);
    struct client *pub = CONNECT();
    char payload[LIMIT + 1] = {0};
    memset(payload, 'x', LIMIT - OVERHEAD + 1);
    publish(pub, "ex/t", payload, 0);
    payload[LIMIT - OVERHEAD] = '\0';
    publish(pub, "ex/t", payload, 0);
    assert_int_equal(expect_publish(c, "ex/t", payload)->wire_len, LIMIT);
    expect_nothing(c);
}

/* [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.9.2-1], [MQTT-3.14.2-3]: explanations are left out. */
static void answers_stay_within_the_clients_packet_size(void **state)
{
    (void)state;
    enum { LIMIT = 24 };
    struct client *c = CONNECT(.client_id = "t", .props = PROPS(prop_maximum_packet_size(64)));
    client_disconnect(c);
    c = client_open(MQTT_50);
    SEND_CONNECT(c, .client_id = "t", .props = PROPS(prop_maximum_packet_size(LIMIT)));
    const struct packet *connack = client_receive(c, WAIT_MS);
    if (connack == NULL) {
        return; /* a CONNACK that does not fit is not sent, and the connection closed: fair */
    }
    assert_true(connack->wire_len <= LIMIT);
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"#/x", 0}));
    assert_true(expect_packet(c, PKT_SUBACK)->wire_len <= LIMIT);
    UNSUBSCRIBE(c, .id = 2, .filters = FILTERS({"none", 0}));
    assert_true(expect_packet(c, PKT_UNSUBACK)->wire_len <= LIMIT);
    PUBLISH(c, .topic = "t", .payload = "\xff", .qos = 1, .id = 3,
            .props = PROPS(prop_payload_format(1)));
    assert_true(expect_packet(c, PKT_PUBACK)->wire_len <= LIMIT);
    PUBLISH(c, .topic = "t", .payload = "\xff", .qos = 2, .id = 4,
            .props = PROPS(prop_payload_format(1)));
    assert_true(expect_packet(c, PKT_PUBREC)->wire_len <= LIMIT);
    send_ack(c, PKT_PUBREL, 5, RC_SUCCESS);
    assert_true(expect_packet(c, PKT_PUBCOMP)->wire_len <= LIMIT);
    RAW(c, 0xc0, 0x01, 0x00);
    assert_true(expect_packet(c, PKT_DISCONNECT)->wire_len <= LIMIT);
}

/* 3.2.2.3.6: a packet over the broker's limit gets 0x95, judged by its fixed header alone. */
static void a_packet_over_the_brokers_limit_is_refused(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_maximum_packet_size: 1000");
    char payload[1001] = {0};
    memset(payload, 'p', 1000);
    struct client *c = CONNECT();
    PUBLISH(c, .topic = "toolarge/t", .payload = payload, .qos = 1, .id = 1);
    expect_disconnect(c, RC_PACKET_TOO_LARGE);
    c = CONNECT();
    RAW(c, 0x30, 0xff, 0xff, 0xff, 0x7f, 0x00, 0x01, 't'); /* 256 MiB are announced, no more */
    expect_disconnect(c, RC_PACKET_TOO_LARGE);
    c = CONNECT(.version = MQTT_311);
    PUBLISH(c, .topic = "toolarge/t", .payload = payload);
    expect_closed(c);
    c = CONNECT();
    payload[900] = '\0';
    publish(c, "toolarge/t", payload, 1);
}

/* ---- topic aliases ---- */

/* 3.3.2.3.4, [MQTT-3.3.2-12]: set once, used after, changed at will. */
static void a_topic_alias_stands_for_its_topic(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "alias/#", 1);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "alias/one", .payload = "1", .props = PROPS(prop_topic_alias(1)));
    PUBLISH(pub, .topic = NULL, .payload = "2", .props = PROPS(prop_topic_alias(1)));
    PUBLISH(pub, .topic = "alias/max", .payload = "3", .props = PROPS(prop_topic_alias(1024)));
    PUBLISH_AND_WAIT(pub, .topic = NULL, .payload = "4", .qos = 1,
                     .props = PROPS(prop_topic_alias(1024)));
    PUBLISH(pub, .topic = "alias/other", .payload = "5", .props = PROPS(prop_topic_alias(1)));
    PUBLISH(pub, .topic = NULL, .payload = "6", .props = PROPS(prop_topic_alias(1)));
    expect_publish(sub, "alias/one", "1");
    expect_publish(sub, "alias/one", "2");
    expect_publish(sub, "alias/max", "3");
    expect_publish_and_ack(sub, "alias/max", "4");
    expect_publish(sub, "alias/other", "5");
    assert_no_prop(expect_publish(sub, "alias/other", "6"), PROP_TOPIC_ALIAS);
}

/* 3.3.2.3.4: an alias of 0 or above the maximum is invalid, [MQTT-3.3.2-8], [MQTT-3.3.2-9]. */
static void an_alias_out_of_range_is_invalid(void **state)
{
    (void)state;
    static const uint32_t aliases[] = {0, 1025, 65535};
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        struct client *c = CONNECT();
        PUBLISH(c, .topic = "alias/t", .payload = "x",
                .props = PROPS(prop_topic_alias(aliases[i])));
        expect_disconnect(c, RC_TOPIC_ALIAS_INVALID);
    }
}

/* 3.3.2.3.4: an alias without a topic, before it was given one, is a protocol error. */
static void an_alias_that_was_never_set_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    PUBLISH(c, .topic = NULL, .payload = "x", .props = PROPS(prop_topic_alias(7)));
    EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_TOPIC_ALIAS_INVALID);
}

/* 3.3.2.1: an empty topic without an alias is a protocol error. */
static void an_empty_topic_without_an_alias_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    PUBLISH(c, .topic = NULL, .payload = "x");
    EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_TOPIC_NAME_INVALID);
}

/* [MQTT-3.3.2-7] */
static void aliases_end_with_their_connection(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "aliasend", .props = PROPS(prop_session_expiry(60)));
    PUBLISH(c, .topic = "aliasend/t", .payload = "x", .props = PROPS(prop_topic_alias(1)));
    client_disconnect(c);
    c = CONNECT(.client_id = "aliasend", .resume = true);
    assert_true(client_last(c)->session_present);
    PUBLISH(c, .topic = NULL, .payload = "x", .props = PROPS(prop_topic_alias(1)));
    EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_TOPIC_ALIAS_INVALID);
}

/* [MQTT-3.2.2-18]: a broker configured to take no aliases says so, and means it. */
static void a_broker_without_aliases_refuses_them(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_topic_alias_maximum: 0");
    struct client *c = CONNECT();
    const struct prop *maximum = packet_prop(client_last(c), PROP_TOPIC_ALIAS_MAXIMUM);
    assert_true(maximum == NULL || maximum->number == 0);
    PUBLISH(c, .topic = "alias/t", .payload = "x", .props = PROPS(prop_topic_alias(1)));
    expect_disconnect(c, RC_TOPIC_ALIAS_INVALID);
}

/* [MQTT-3.1.2-26], [MQTT-3.3.2-11]: outgoing aliases stay in range; the client resolves them. */
static void outgoing_aliases_stay_within_the_clients_maximum(void **state)
{
    (void)state;
    enum { MAXIMUM = 3, TOPICS = 8, ROUNDS = 4 };
    struct client *c = CONNECT(.props = PROPS(prop_topic_alias_maximum(MAXIMUM)));
    subscribe(c, "outalias/#", 1);
    struct client *pub = CONNECT();
    char topic[64];
    for (int i = 0; i < TOPICS * ROUNDS; i++) {
        snprintf(topic, sizeof(topic), "outalias/a/rather/long/topic/name/%d", i % TOPICS);
        publish(pub, topic, "x", (uint8_t)(i % 2));
        const struct packet *packet = expect_publish(c, topic, "x");
        const struct prop *alias = packet_prop(packet, PROP_TOPIC_ALIAS);
        if (alias != NULL) {
            assert_in_range(alias->number, 1, MAXIMUM);
        }
        acknowledge(c, packet);
    }
}

/* 3.3.2.3.4: aliases are used where they save bytes: the second message is shorter. */
static void outgoing_aliases_shorten_repeated_topics(void **state)
{
    (void)state;
    static const char topic[] = "save/some/bytes/on/this/long/topic/name/please";
    struct client *c = CONNECT(.props = PROPS(prop_topic_alias_maximum(10)));
    subscribe(c, topic, 0);
    struct client *pub = CONNECT();
    size_t shortest = 1000;
    for (int i = 0; i < 5; i++) {
        publish(pub, topic, "x", 0);
        size_t len = expect_publish(c, topic, "x")->wire_len;
        shortest = len < shortest ? len : shortest;
    }
    assert_true(shortest < sizeof(topic));
}

/* [MQTT-3.1.2-27]: who asks for no aliases gets none. */
static void without_a_topic_alias_maximum_no_alias_is_sent(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "noalias/t", 0);
    struct client *pub = CONNECT();
    for (int i = 0; i < 5; i++) {
        PUBLISH(pub, .topic = "noalias/t", .payload = "x", .props = PROPS(prop_topic_alias(9)));
        assert_no_prop(expect_publish(c, "noalias/t", "x"), PROP_TOPIC_ALIAS);
    }
}

/* [MQTT-3.3.2-7]: on a new connection the broker starts its aliases anew. */
static void outgoing_aliases_start_anew_after_a_reconnect(void **state)
{
    (void)state;
    static const char topic[] = "anew/with/a/topic/that/is/worth/an/alias";
    struct client *pub = CONNECT();
    for (int i = 0; i < 3; i++) {
        struct client *c =
            CONNECT(.client_id = "anew", .resume = i > 0,
                    .props = PROPS(prop_session_expiry(60), prop_topic_alias_maximum(10)));
        subscribe(c, topic, 1);
        publish(pub, topic, "x", 1);
        expect_publish_and_ack(c, topic, "x"); /* fails on an alias that it was never told */
        publish(pub, topic, "y", 1);
        expect_publish_and_ack(c, topic, "y");
        settle(c);
        client_drop(c);
    }
}

/* ---- offline queues ---- */

static void fill_queue_of(const char *id, int count)
{
    struct client *c = CONNECT(.client_id = id, .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "queue/t", 1);
    client_disconnect(c);
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "queue/t", text, 1);
    }
}

static void expect_queue_of(const char *id, int first, int last)
{
    struct client *c = CONNECT(.client_id = id, .resume = true);
    char text[16];
    for (int i = first; i <= last; i++) {
        snprintf(text, sizeof(text), "%d", i);
        expect_publish_and_ack(c, "queue/t", text);
    }
    expect_nothing(c);
}

/* limits.max_offline_queue_len: by default what comes last is dropped. */
static void a_full_offline_queue_drops_the_newest(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_offline_queue_len: 3");
    fill_queue_of("queue", 6);
    expect_queue_of("queue", 0, 2);
}

/* limits.offline_queue_policy: drop-oldest */
static void a_full_offline_queue_drops_the_oldest_when_told_to(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_offline_queue_len: 3", "limits.offline_queue_policy: drop-oldest");
    fill_queue_of("queue", 6);
    expect_queue_of("queue", 3, 5);
}

/* A queue that was emptied has room again. */
static void an_emptied_offline_queue_has_room_again(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_offline_queue_len: 3");
    for (int i = 0; i < 3; i++) {
        fill_queue_of("queue", 3);
        expect_queue_of("queue", 0, 2);
    }
}

/* limits.max_offline_queue_bytes: the same in bytes; the publisher still sees success. */
static void an_offline_queue_is_bounded_in_bytes_too(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_offline_queue_bytes: 8KiB");
    struct client *c = CONNECT(.client_id = "bytes", .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "bytes/t", 1);
    client_disconnect(c);
    struct client *pub = CONNECT();
    char payload[1001] = {0};
    memset(payload, 'b', 1000);
    for (int i = 0; i < 20; i++) {
        publish(pub, "bytes/t", payload, 1);
    }
    c = CONNECT(.client_id = "bytes", .resume = true);
    int count = 0;
    for (const struct packet *packet; (packet = client_receive(c, QUIET_MS)) != NULL; count++) {
        acknowledge(c, packet);
    }
    assert_in_range(count, 4, 8);
}

static void expect_inflight_cap(struct client *c, int cap)
{
    subscribe(c, "cap/t", 1);
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < cap + 2; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "cap/t", text, 1);
    }
    uint16_t first = 0;
    for (int i = 0; i < cap; i++) {
        uint16_t id = expect_packet(c, PKT_PUBLISH)->id;
        first = i == 0 ? id : first;
    }
    expect_nothing(c);
    send_ack(c, PKT_PUBACK, first, RC_SUCCESS);
    expect_packet(c, PKT_PUBLISH);
    expect_nothing(c);
}

/* limits.max_inflight: the broker's own cap holds where the client asked for more. */
static void the_brokers_own_inflight_cap_holds(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_inflight: 3");
    expect_inflight_cap(CONNECT(), 3);
}

/* limits.max_inflight_v3: 3.x clients cannot say a Receive Maximum, so the broker does. */
static void an_inflight_cap_holds_for_3_1_1_clients(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_inflight_v3: 3");
    expect_inflight_cap(CONNECT(.version = MQTT_311), 3);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(no_more_than_receive_maximum_messages_are_in_flight),
        TEST(a_qos_2_message_holds_its_place_until_pubcomp),
        TEST(a_refusal_gives_the_place_back),
        TEST(a_full_window_holds_nothing_else_up),
        TEST(redelivery_respects_the_new_receive_maximum),
        TEST(a_client_that_overruns_receive_maximum_is_disconnected),
        TEST(a_client_within_receive_maximum_may_go_on_for_ever),
        TEST(a_repeated_publish_takes_no_second_place),
        TEST(a_message_too_large_for_the_client_is_dropped_for_it_alone),
        TEST(the_packet_size_limit_is_exact),
        TEST(answers_stay_within_the_clients_packet_size),
        TEST(a_packet_over_the_brokers_limit_is_refused),
        TEST(a_topic_alias_stands_for_its_topic),
        TEST(an_alias_out_of_range_is_invalid),
        TEST(an_alias_that_was_never_set_is_a_protocol_error),
        TEST(an_empty_topic_without_an_alias_is_a_protocol_error),
        TEST(aliases_end_with_their_connection),
        TEST(a_broker_without_aliases_refuses_them),
        TEST(outgoing_aliases_stay_within_the_clients_maximum),
        TEST(outgoing_aliases_shorten_repeated_topics),
        TEST(without_a_topic_alias_maximum_no_alias_is_sent),
        TEST(outgoing_aliases_start_anew_after_a_reconnect),
        TEST(a_full_offline_queue_drops_the_newest),
        TEST(a_full_offline_queue_drops_the_oldest_when_told_to),
        TEST(an_emptied_offline_queue_has_room_again),
        TEST(an_offline_queue_is_bounded_in_bytes_too),
        TEST(the_brokers_own_inflight_cap_holds),
        TEST(an_inflight_cap_holds_for_3_1_1_clients),
    };
    return RUN_SUITE("flow", tests, NULL);
}
