/* PUBLISH at QoS 0, 1 and 2: the handshakes in both directions, packet ids, DUP, order. */
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- from publisher to subscriber ---- */

/* [MQTT-4.3.1-1], [MQTT-3.3.4-1], [MQTT-3.8.4-8]: the lower of both QoS counts, for every pair. */
static void a_message_arrives_at_the_lower_of_published_and_granted_qos(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    for (uint8_t granted = 0; granted <= 2; granted++) {
        for (uint8_t published = 0; published <= 2; published++) {
            char topic[32];
            snprintf(topic, sizeof(topic), "pair/%u/%u", granted, published);
            struct client *sub = CONNECT();
            subscribe(sub, topic, granted);
            publish(pub, topic, "x", published);
            const struct packet *packet = expect_publish(sub, topic, "x");
            assert_int_equal(packet->qos, granted < published ? granted : published);
            assert_false(packet->dup);
            acknowledge(sub, packet);
            expect_nothing_for(sub, 20);
        }
    }
}

/* [MQTT-3.3.4-1], [MQTT-2.2.1-5], [MQTT-4.3.2-4]: PUBACK carries the PUBLISH's id. */
static void qos_1_is_answered_with_puback_of_the_same_id(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "qos1/t", 0);
    struct client *pub = CONNECT();
    static const uint16_t ids[] = {1, 2, 255, 256, 65535};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        PUBLISH(pub, .topic = "qos1/t", .payload = "x", .qos = 1, .id = ids[i]);
        expect_ack(pub, PKT_PUBACK, ids[i], RC_SUCCESS);
    }
}

/* [MQTT-4.3.3-8], [MQTT-4.3.3-11]: PUBREC, PUBREL, PUBCOMP, all with the PUBLISH's id. */
static void qos_2_is_answered_with_pubrec_and_pubcomp_of_the_same_id(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "qos2/t", 0);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "qos2/t", .payload = "x", .qos = 2, .id = 4711);
    expect_ack(pub, PKT_PUBREC, 4711, RC_SUCCESS);
    send_ack(pub, PKT_PUBREL, 4711, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 4711, RC_SUCCESS);
    expect_publish(sub, "qos2/t", "x");
    expect_nothing(sub);
}

/* 3.4.2.1: a publisher may know that nobody was there. */
static void qos_1_for_nobody_is_acknowledged_with_no_matching_subscribers(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "nobody/here", .payload = "x", .qos = 1, .id = 1);
    expect_ack(pub, PKT_PUBACK, 1, RC_NO_MATCHING_SUBSCRIBERS);
}

/* 3.5.2.1; the handshake goes on all the same. */
static void qos_2_for_nobody_is_acknowledged_with_no_matching_subscribers(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "nobody/here", .payload = "x", .qos = 2, .id = 1);
    expect_ack(pub, PKT_PUBREC, 1, RC_NO_MATCHING_SUBSCRIBERS);
    send_ack(pub, PKT_PUBREL, 1, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 1, RC_SUCCESS);
}

/* [MQTT-3.4.2-1]: who matched once does not hide that nobody matches now. */
static void no_matching_subscribers_is_said_again_when_the_last_one_left(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    struct client *sub = CONNECT();
    subscribe(sub, "leaving/+", 1);
    PUBLISH(pub, .topic = "leaving/t", .payload = "x", .qos = 1, .id = 1);
    expect_ack(pub, PKT_PUBACK, 1, RC_SUCCESS);
    client_disconnect(sub);
    PUBLISH(pub, .topic = "leaving/t", .payload = "x", .qos = 1, .id = 2);
    expect_ack(pub, PKT_PUBACK, 2, RC_NO_MATCHING_SUBSCRIBERS);
}

/* [MQTT-3.3.1-3]: DUP of the incoming PUBLISH says nothing about the outgoing one. */
static void dup_is_not_passed_on(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "dup/t", 2);
    struct client *pub = CONNECT();
    for (uint8_t qos = 1; qos <= 2; qos++) {
        PUBLISH_AND_WAIT(pub, .topic = "dup/t", .payload = "x", .qos = qos, .dup = true);
        const struct packet *packet = expect_publish(sub, "dup/t", "x");
        assert_false(packet->dup);
        acknowledge(sub, packet);
    }
}

/* [MQTT-4.3.2-5]: after PUBACK the id is free; DUP or not, it is a new message. */
static void a_qos_1_publish_with_an_acknowledged_id_is_a_new_message(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "reuse1/t", 0);
    struct client *pub = CONNECT();
    for (int i = 0; i < 3; i++) {
        PUBLISH(pub, .topic = "reuse1/t", .payload = "x", .qos = 1, .id = 3, .dup = i > 0);
        expect_ack(pub, PKT_PUBACK, 3, RC_SUCCESS);
        expect_publish(sub, "reuse1/t", "x");
    }
}

/* [MQTT-4.3.3-10]: until PUBREL the same id is the same message, and the first content counts. */
static void a_repeated_qos_2_publish_is_acknowledged_and_not_delivered_again(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "twice/t", 0);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "twice/t", .payload = "original", .qos = 2, .id = 8);
    expect_ack(pub, PKT_PUBREC, 8, RC_SUCCESS);
    PUBLISH(pub, .topic = "twice/t", .payload = "again", .qos = 2, .id = 8, .dup = true);
    assert_true(expect_packet(pub, PKT_PUBREC)->reason < 0x80);
    send_ack(pub, PKT_PUBREL, 8, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 8, RC_SUCCESS);
    expect_publish(sub, "twice/t", "original");
    expect_nothing(sub);
}

/* [MQTT-4.3.3-12] */
static void a_qos_2_publish_with_a_completed_id_is_a_new_message(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "reuse2/t", 0);
    struct client *pub = CONNECT();
    for (int i = 0; i < 3; i++) {
        PUBLISH_AND_WAIT(pub, .topic = "reuse2/t", .payload = "x", .qos = 2, .id = 3);
        expect_publish(sub, "reuse2/t", "x");
    }
    expect_nothing(sub);
}

/* [MQTT-4.3.3-9]: after a PUBREC that refused, the id is free. */
static void a_refused_qos_2_publish_leaves_its_id_free(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "refused2/t", 0);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "refused2/t", .payload = "\xff", .qos = 2, .id = 4,
            .props = PROPS(prop_payload_format(1)));
    expect_ack(pub, PKT_PUBREC, 4, RC_PAYLOAD_FORMAT_INVALID);
    PUBLISH_AND_WAIT(pub, .topic = "refused2/t", .payload = "good", .qos = 2, .id = 4);
    expect_publish(sub, "refused2/t", "good");
    expect_nothing(sub);
}

/* [MQTT-4.3.3-11] and 3.7.2.1: PUBREL of an unknown id is answered, not punished. */
static void pubrel_of_an_unknown_id_gets_packet_identifier_not_found(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    send_ack(c, PKT_PUBREL, 77, RC_SUCCESS);
    expect_ack(c, PKT_PUBCOMP, 77, RC_PACKET_ID_NOT_FOUND);
    settle(c);
}

/* 4.3.3 figure 4.3: PUBREL may come twice, when PUBCOMP was lost. */
static void a_repeated_pubrel_is_answered_again(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    PUBLISH_AND_WAIT(c, .topic = "norel/t", .payload = "x", .qos = 2, .id = 5);
    send_ack(c, PKT_PUBREL, 5, RC_SUCCESS);
    expect_ack(c, PKT_PUBCOMP, 5, RC_PACKET_ID_NOT_FOUND);
    settle(c);
}

/* ---- the broker as sender ---- */

/* 4.13.1 demands nothing for them: acknowledgements of unknown ids do no harm. */
static void puback_and_pubcomp_of_unknown_ids_are_ignored(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    send_ack(c, PKT_PUBACK, 100, RC_SUCCESS);
    send_ack(c, PKT_PUBCOMP, 101, RC_SUCCESS);
    settle(c);
}

/* 3.6.2.1: PUBREC of an unknown id is answered with PUBREL that says so. */
static void pubrec_of_an_unknown_id_gets_pubrel_with_not_found(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    send_ack(c, PKT_PUBREC, 100, RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, 100, RC_PACKET_ID_NOT_FOUND);
    settle(c);
}

/* [MQTT-4.3.3-4], [MQTT-4.3.3-6]: each PUBREC is answered with PUBREL, also a second one. */
static void a_repeated_pubrec_is_answered_with_pubrel_again(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "rerec/t", 2);
    publish(CONNECT(), "rerec/t", "x", 2);
    uint16_t id = expect_publish(c, "rerec/t", "x")->id;
    send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    send_ack(c, PKT_PUBCOMP, id, RC_SUCCESS);
    settle(c);
}

/* [MQTT-4.3.3-4]: a PUBREC that refuses ends the exchange; no PUBREL follows. */
static void a_pubrec_that_refuses_ends_the_exchange(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "norec/t", 2);
    publish(CONNECT(), "norec/t", "x", 2);
    send_ack(c, PKT_PUBREC, expect_publish(c, "norec/t", "x")->id, RC_IMPLEMENTATION_SPECIFIC);
    settle(c);
    expect_nothing(c);
}

/* 4.3.2, 4.3.3: the wrong acknowledgement for the QoS does not finish a message. */
static void a_puback_does_not_finish_a_qos_2_message(void **state)
{
    (void)state;
    struct client *c =
        CONNECT(.client_id = "wrongack", .resume = true, .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "wrongack/t", 2);
    publish(CONNECT(), "wrongack/t", "x", 2);
    uint16_t id = expect_publish(c, "wrongack/t", "x")->id;
    send_ack(c, PKT_PUBACK, id, RC_SUCCESS);
    while (client_receive(c, QUIET_MS) != NULL) { /* a DISCONNECT would be a fair answer */
    }
    client_close(c);
    c = CONNECT(.client_id = "wrongack", .resume = true, .props = PROPS(prop_session_expiry(60)));
    assert_int_equal(expect_publish(c, "wrongack/t", "x")->id, id);
}

/* [MQTT-4.3.2-1], [MQTT-4.3.3-1], [MQTT-2.2.1-4]: unacknowledged messages have ids of their own. */
static void messages_in_flight_have_different_packet_ids(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct client *sub = CONNECT();
    subscribe(sub, "ids/t", 2);
    struct client *pub = CONNECT();
    bool used[65536] = {false};
    for (int i = 0; i < COUNT; i++) {
        publish(pub, "ids/t", "x", (uint8_t)(1 + i % 2));
        uint16_t id = expect_publish(sub, "ids/t", "x")->id;
        assert_false(used[id]);
        used[id] = true;
    }
}

/* [MQTT-4.4.0-1]: on a live connection nothing is ever sent twice. */
static void nothing_is_sent_again_on_a_live_connection(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "patient/t", 2);
    struct client *pub = CONNECT();
    publish(pub, "patient/t", "one", 1);
    publish(pub, "patient/t", "two", 2);
    expect_publish(c, "patient/t", "one");
    expect_publish(c, "patient/t", "two");
    expect_nothing_for(c, 1500);
}

/* limits.inflight_retransmit_interval_ms: who switches it on gets what the reference did. */
static void retransmission_on_a_live_connection_can_be_switched_on(void **state)
{
    (void)state;
    OWN_BROKER("limits.inflight_retransmit_interval_ms: 300");
    struct client *c = CONNECT();
    subscribe(c, "impatient/t", 2);
    struct client *pub = CONNECT();
    publish(pub, "impatient/t", "x", 2);
    uint16_t id = expect_publish(c, "impatient/t", "x")->id;
    const struct packet *again = expect_publish(c, "impatient/t", "x");
    assert_true(again->dup);
    assert_int_equal(again->id, id);
    send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
    const struct packet *packet;
    do { /* a PUBLISH may have been under way already */
        packet = client_receive(c, WAIT_MS);
        assert_non_null(packet);
    } while (packet->type == PKT_PUBLISH);
    assert_int_equal(packet->type, PKT_PUBREL);
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    send_ack(c, PKT_PUBCOMP, id, RC_SUCCESS);
    settle(c);
    expect_nothing_for(c, 700);
}

/* ---- order ---- */

static void publish_many(struct client *pub, const char *topic, int count, uint8_t qos)
{
    struct buffer all = {0};
    for (int i = 0; i < count; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        put_publish(&all, MQTT_50,
                    &(struct publish_packet){.topic = topic,
                                             .payload = text,
                                             .qos = qos,
                                             .id = qos > 0 ? client_next_id(pub) : 0});
    }
    send_buffer(pub, &all);
    buffer_fini(&all);
}

static void expect_many(struct client *sub, const char *topic, int count)
{
    for (int i = 0; i < count; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        expect_publish_and_ack(sub, topic, text);
    }
}

/* [MQTT-4.6.0-5], [MQTT-4.6.0-6] */
static void qos_0_messages_of_a_publisher_arrive_in_order(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "order0/t", 0);
    publish_many(CONNECT(), "order0/t", 5000, 0);
    expect_many(sub, "order0/t", 5000);
}

/* [MQTT-4.6.0-5], [MQTT-4.6.0-6]; and PUBACKs come in the order of their PUBLISHes, 4.6. */
static void qos_1_messages_and_their_pubacks_come_in_order(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct client *sub = CONNECT();
    subscribe(sub, "order1/t", 1);
    struct client *pub = CONNECT();
    publish_many(pub, "order1/t", COUNT, 1);
    for (int i = 0; i < COUNT; i++) {
        expect_ack(pub, PKT_PUBACK, (unsigned)i + 1, RC_SUCCESS);
    }
    expect_many(sub, "order1/t", COUNT);
}

/* [MQTT-4.6.0-5], and PUBRECs in order, 4.6. */
static void qos_2_messages_and_their_pubrecs_come_in_order(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct client *sub = CONNECT();
    subscribe(sub, "order2/t", 0);
    struct client *pub = CONNECT();
    publish_many(pub, "order2/t", COUNT, 2);
    for (int i = 0; i < COUNT; i++) {
        expect_ack(pub, PKT_PUBREC, (unsigned)i + 1, RC_SUCCESS);
    }
    for (int i = 0; i < COUNT; i++) {
        send_ack(pub, PKT_PUBREL, (unsigned)i + 1, RC_SUCCESS);
    }
    for (int i = 0; i < COUNT; i++) {
        expect_ack(pub, PKT_PUBCOMP, (unsigned)i + 1, RC_SUCCESS);
    }
    expect_many(sub, "order2/t", COUNT);
}

/* [MQTT-4.6.0-5]: order holds for each of many subscribers, wherever they live in the broker. */
static void every_subscriber_sees_the_same_order(void **state)
{
    (void)state;
    enum { SUBS = 10, COUNT = 300 };
    struct client *subs[SUBS];
    for (int i = 0; i < SUBS; i++) {
        subs[i] = CONNECT();
        subscribe(subs[i], i % 2 == 0 ? "orderall/t" : "orderall/#", 1);
    }
    struct client *pub = CONNECT();
    publish_many(pub, "orderall/t", COUNT, 1);
    for (int i = 0; i < SUBS; i++) {
        expect_many(subs[i], "orderall/t", COUNT);
    }
}

/* ---- payloads and packets of all sizes ---- */

/* 1.5.5: every length of the remaining length field, and payloads around its steps. */
static void payloads_of_all_sizes_pass_unchanged(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     110,   111,   120,    121,     128,     16360,
                                   16370, 16384, 65535, 65536, 100000, 2097130, 2097152, 3000000};
    struct client *sub = CONNECT();
    subscribe(sub, "sizes/t", 1);
    struct client *pub = CONNECT();
    char *payload = malloc(3000000);
    for (size_t i = 0; i < 3000000; i++) {
        payload[i] = (char)(i * 7 + i / 256);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        PUBLISH_AND_WAIT(pub, .topic = "sizes/t", .payload = sizes[i] > 0 ? payload : NULL,
                         .payload_len = sizes[i], .qos = 1);
        const struct packet *packet = expect_packet(sub, PKT_PUBLISH);
        assert_int_equal(packet->payload_len, sizes[i]);
        assert_memory_equal(packet->payload, payload, sizes[i]);
        acknowledge(sub, packet);
    }
    free(payload);
}

/* [MQTT-4.2-1]: many packets in one segment, and one packet in many. */
static void packets_may_be_cut_anywhere(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "cut/t", 0);
    struct client *pub = CONNECT();
    struct buffer all = {0};
    for (int i = 0; i < 40; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        put_publish(&all, MQTT_50, &(struct publish_packet){.topic = "cut/t", .payload = text});
    }
    for (size_t at = 0, step = 1; at < all.len; at += step, step = step % 13 + 1) {
        size_t len = step < all.len - at ? step : all.len - at;
        send_bytes(pub, all.data + at, len);
    }
    buffer_fini(&all);
    expect_many(sub, "cut/t", 40);
}

/* 3.3: a publisher that subscribes to its own topic gets its own message. */
static void a_publisher_receives_its_own_message_when_it_subscribed(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "own/t", 0);
    PUBLISH(c, .topic = "own/t", .payload = "x");
    expect_publish(c, "own/t", "x");
}

/* [MQTT-3.3.2-3], one publish reaches every one of many subscribers exactly once. */
static void a_message_reaches_each_of_many_subscribers_once(void **state)
{
    (void)state;
    enum { SUBS = 100 };
    struct client *subs[SUBS];
    for (int i = 0; i < SUBS; i++) {
        subs[i] = CONNECT();
        subscribe(subs[i], "fan/t", (unsigned)i % 3);
    }
    struct client *pub = CONNECT();
    publish(pub, "fan/t", "one", 2);
    publish(pub, "fan/t", "two", 0);
    for (int i = 0; i < SUBS; i++) {
        const struct packet *packet = expect_publish(subs[i], "fan/t", "one");
        assert_int_equal(packet->qos, i % 3);
        uint16_t id = packet->id;
        expect_publish(subs[i], "fan/t", "two");
        if (i % 3 == 1) {
            send_ack(subs[i], PKT_PUBACK, id, RC_SUCCESS);
        }
    }
}

/* [MQTT-2.2.1-3]: a packet id of 0 is no packet id. */
static void a_publish_with_packet_id_0_is_an_error(void **state)
{
    (void)state;
    for (uint8_t qos = 1; qos <= 2; qos++) {
        struct client *c = CONNECT();
        PUBLISH(c, .topic = "zero/t", .payload = "x", .qos = qos, .id = 0);
        EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_MALFORMED);
    }
}

/* [MQTT-3.3.1-4] */
static void a_publish_with_qos_3_is_malformed(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    PUBLISH(c, .topic = "q3/t", .payload = "x", .qos = 3, .id = 1);
    expect_disconnect(c, RC_MALFORMED);
}

/* [MQTT-3.3.1-2] */
static void a_qos_0_publish_with_dup_is_an_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    PUBLISH(c, .topic = "dup0/t", .payload = "x", .dup = true);
    EXPECT_DISCONNECT_ONE_OF(c, RC_MALFORMED, RC_PROTOCOL_ERROR);
}

/* 4.7.2: $SYS is the broker's; QoS 1 and 2 publishers are told, QoS 0 is dropped. */
static void clients_cannot_publish_to_sys_topics(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "$SYS/mine/#", 1);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "$SYS/mine/t", .payload = "x");
    settle(pub);
    PUBLISH(pub, .topic = "$SYS/mine/t", .payload = "x", .qos = 1, .id = 1);
    expect_ack(pub, PKT_PUBACK, 1, RC_NOT_AUTHORIZED);
    PUBLISH(pub, .topic = "$SYS/mine/t", .payload = "x", .qos = 2, .id = 2);
    expect_ack(pub, PKT_PUBREC, 2, RC_NOT_AUTHORIZED);
    PUBLISH(pub, .topic = "$SYS/mine/t", .payload = "x", .qos = 1, .id = 3, .retain = true);
    expect_ack(pub, PKT_PUBACK, 3, RC_NOT_AUTHORIZED);
    expect_nothing(sub);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_message_arrives_at_the_lower_of_published_and_granted_qos),
        TEST(qos_1_is_answered_with_puback_of_the_same_id),
        TEST(qos_2_is_answered_with_pubrec_and_pubcomp_of_the_same_id),
        TEST(qos_1_for_nobody_is_acknowledged_with_no_matching_subscribers),
        TEST(qos_2_for_nobody_is_acknowledged_with_no_matching_subscribers),
        TEST(no_matching_subscribers_is_said_again_when_the_last_one_left),
        TEST(dup_is_not_passed_on),
        TEST(a_qos_1_publish_with_an_acknowledged_id_is_a_new_message),
        TEST(a_repeated_qos_2_publish_is_acknowledged_and_not_delivered_again),
        TEST(a_qos_2_publish_with_a_completed_id_is_a_new_message),
        TEST(a_refused_qos_2_publish_leaves_its_id_free),
        TEST(pubrel_of_an_unknown_id_gets_packet_identifier_not_found),
        TEST(a_repeated_pubrel_is_answered_again),
        TEST(puback_and_pubcomp_of_unknown_ids_are_ignored),
        TEST(pubrec_of_an_unknown_id_gets_pubrel_with_not_found),
        TEST(a_repeated_pubrec_is_answered_with_pubrel_again),
        TEST(a_pubrec_that_refuses_ends_the_exchange),
        TEST(a_puback_does_not_finish_a_qos_2_message),
        TEST(messages_in_flight_have_different_packet_ids),
        TEST(nothing_is_sent_again_on_a_live_connection),
        TEST(retransmission_on_a_live_connection_can_be_switched_on),
        TEST(qos_0_messages_of_a_publisher_arrive_in_order),
        TEST(qos_1_messages_and_their_pubacks_come_in_order),
        TEST(qos_2_messages_and_their_pubrecs_come_in_order),
        TEST(every_subscriber_sees_the_same_order),
        TEST(payloads_of_all_sizes_pass_unchanged),
        TEST(packets_may_be_cut_anywhere),
        TEST(a_publisher_receives_its_own_message_when_it_subscribed),
        TEST(a_message_reaches_each_of_many_subscribers_once),
        TEST(a_publish_with_packet_id_0_is_an_error),
        TEST(a_publish_with_qos_3_is_malformed),
        TEST(a_qos_0_publish_with_dup_is_an_error),
        TEST(clients_cannot_publish_to_sys_topics),
    };
    return RUN_SUITE("publish_qos", tests, NULL);
}
