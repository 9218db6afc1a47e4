/* MQTT 3.1 and 3.1.1, and messages between versions. "3.1.1 [...]" cites the OASIS text of 3.1.1.
 */
#include "tests/integration/suite.h"

#include <stdio.h>

/* ---- CONNECT of 3.x ---- */

/* MQTT 3.1: protocol name MQIsdp, level 3. */
static void a_3_1_client_connects_publishes_and_receives(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_31, .client_id = "old");
    subscribe(c, "v31/t", 2);
    struct client *pub = CONNECT(.version = MQTT_31, .client_id = "older");
    for (uint8_t qos = 0; qos <= 2; qos++) {
        publish(pub, "v31/t", "x", qos);
        const struct packet *packet = expect_publish(c, "v31/t", "x");
        assert_int_equal(packet->qos, qos);
        acknowledge(c, packet);
    }
    unsubscribe(c, "v31/t");
    settle(c);
    client_disconnect(c);
}

/* 3.1.1 [MQTT-3.1.2-1], [MQTT-3.2.0-1] */
static void a_3_1_1_client_connects_publishes_and_receives(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311);
    assert_int_equal(client_last(c)->wire_len, 4);
    subscribe(c, "v311/t", 2);
    struct client *pub = CONNECT(.version = MQTT_311);
    for (uint8_t qos = 0; qos <= 2; qos++) {
        publish(pub, "v311/t", "x", qos);
        const struct packet *packet = expect_publish(c, "v311/t", "x");
        assert_int_equal(packet->qos, qos);
        acknowledge(c, packet);
    }
    unsubscribe(c, "v311/t");
    settle(c);
    client_disconnect(c);
}

/* 3.1.1 [MQTT-3.1.3-7]: an empty id needs a clean session. */
static void an_empty_id_needs_a_clean_session_in_3_1_1(void **state)
{
    (void)state;
    CONNECT(.version = MQTT_311, .client_id = "");
    CONNECT(.version = MQTT_311, .client_id = "");
    struct client *c = client_open(MQTT_311);
    SEND_CONNECT(c, .version = MQTT_311, .client_id = "", .resume = true);
    EXPECT_REFUSED(c, 0x02); /* 3.1.1 [MQTT-3.1.3-8] */
}

/* MQTT 3.1 demands an id of 1 to 23 characters; an empty one is refused. */
static void an_empty_id_is_refused_in_3_1(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_31);
    SEND_CONNECT(c, .version = MQTT_31, .client_id = "", .resume = true);
    EXPECT_REFUSED(c, 0x02);
}

/* 3.1.1 [MQTT-3.1.2-2]: the right name with a level that does not belong to it. */
static void a_name_and_a_level_that_do_not_belong_together_are_refused(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_311);
    RAW(c, 0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 3, 2, 0, 0, 0, 1, 'a');
    EXPECT_REFUSED(c, 0x01);
    c = client_open(MQTT_311);
    RAW(c, 0x10, 15, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 4, 2, 0, 0, 0, 1, 'a');
    EXPECT_REFUSED(c, 0x01);
}

/* 3.1.1 [MQTT-3.1.2-3], [MQTT-3.1.2-22], [MQTT-3.1.2-13], [MQTT-3.1.2-14]: flags that cannot be. */
static void connect_flags_that_cannot_be_close_a_3_1_1_connection(void **state)
{
    (void)state;
    static const uint8_t flags[] = {0x03 /* reserved */, 0x42 /* password without user name */,
                                    0x0a /* will QoS without will */, 0x22 /* will retain */,
                                    0x1e /* will QoS 3 */};
    for (size_t i = 0; i < sizeof(flags); i++) {
        struct client *c = client_open(MQTT_311);
        RAW(c, 0x10, 25, 0, 4, 'M', 'Q', 'T', 'T', 4, flags[i], 0, 0, 0, 1, 'a', 0, 1, 'b', 0, 1,
            'c', 0, 1, 'd', 0, 1, 'e');
        expect_closed(c);
    }
}

/* 3.1.1 [MQTT-3.1.0-2]: closed, and no packet, for there is none that could say it. */
static void a_second_connect_closes_a_3_1_1_connection(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311, .client_id = "second");
    SEND_CONNECT(c, .version = MQTT_311, .client_id = "second");
    expect_closed(c);
}

/* ---- sessions of 3.x ---- */

/* 3.1.1 [MQTT-3.1.2-4], [MQTT-3.1.2-5], [MQTT-3.2.2-2] */
static void clean_session_0_keeps_the_session(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311, .client_id = "keep311", .resume = true);
    assert_false(client_last(c)->session_present);
    subscribe(c, "keep311/t", 1);
    client_disconnect(c);
    publish(CONNECT(), "keep311/t", "x", 1);
    c = CONNECT(.version = MQTT_311, .client_id = "keep311", .resume = true);
    assert_true(client_last(c)->session_present);
    expect_publish_and_ack(c, "keep311/t", "x");
}

/* 3.1.1 [MQTT-3.1.2-6]: clean at its start, and gone at its end. */
static void clean_session_1_keeps_nothing(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311, .client_id = "clean311");
    subscribe(c, "clean311/t", 1);
    client_drop(c);
    c = CONNECT(.version = MQTT_311, .client_id = "clean311", .resume = true);
    assert_false(client_last(c)->session_present);
    client_disconnect(c);
    c = CONNECT(.version = MQTT_311, .client_id = "clean311");
    assert_false(client_last(c)->session_present);
    client_disconnect(c);
    c = CONNECT(.version = MQTT_311, .client_id = "clean311", .resume = true);
    assert_false(client_last(c)->session_present);
}

/* MQTT 3.1: byte 1 of CONNACK is reserved there, a resumed session is not announced. */
static void a_3_1_connack_does_not_speak_of_sessions(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_31, .client_id = "keep31", .resume = true);
    subscribe(c, "keep31/t", 1);
    client_disconnect(c);
    publish(CONNECT(), "keep31/t", "x", 1);
    c = CONNECT(.version = MQTT_31, .client_id = "keep31", .resume = true);
    assert_false(client_last(c)->session_present);
    expect_publish_and_ack(c, "keep31/t", "x");
}

/* 3.1.1 [MQTT-4.4.0-1]: what was not acknowledged comes again after a reconnect, in order. */
static void a_3_1_1_client_gets_unacknowledged_messages_again(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311, .client_id = "redo311", .resume = true);
    subscribe(c, "redo311/t", 2);
    struct client *pub = CONNECT();
    publish(pub, "redo311/t", "one", 1);
    publish(pub, "redo311/t", "two", 2);
    uint16_t one = expect_publish(c, "redo311/t", "one")->id;
    uint16_t two = expect_publish(c, "redo311/t", "two")->id;
    client_drop(c);
    c = CONNECT(.version = MQTT_311, .client_id = "redo311", .resume = true);
    const struct packet *packet = expect_publish(c, "redo311/t", "one");
    assert_int_equal(packet->id, one);
    assert_true(packet->dup);
    acknowledge(c, packet);
    packet = expect_publish(c, "redo311/t", "two");
    assert_int_equal(packet->id, two);
    assert_true(packet->dup);
    acknowledge(c, packet);
}

/* One client, two versions: the session goes with the id. */
static void a_session_may_be_resumed_with_another_version(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311, .client_id = "upgrade", .resume = true);
    subscribe(c, "upgrade/t", 1);
    client_disconnect(c);
    publish(CONNECT(), "upgrade/t", "one", 1);
    c = CONNECT(.client_id = "upgrade", .resume = true, .props = PROPS(prop_session_expiry(60)));
    assert_true(client_last(c)->session_present);
    expect_publish_and_ack(c, "upgrade/t", "one");
    client_disconnect(c);
    publish(CONNECT(), "upgrade/t", "two", 1);
    c = CONNECT(.version = MQTT_311, .client_id = "upgrade", .resume = true);
    assert_true(client_last(c)->session_present);
    expect_publish_and_ack(c, "upgrade/t", "two");
}

/* ---- SUBSCRIBE of 3.x ---- */

/* 3.1.1 [MQTT-3.8.4-5], [MQTT-3.9.3-1], [MQTT-3.9.3-2]: granted QoS, or 0x80. */
static void a_3_1_1_suback_says_granted_or_failed(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311);
    SUBSCRIBE(c, .id = 1,
              .filters = FILTERS({"sub311/a", 0}, {"sub311/#/b", 1}, {"sub311/c", 1}, {"", 0},
                                 {"sub311/d", 2}));
    EXPECT_SUBACK(c, 1, 0, 0x80, 1, 0x80, 2);
}

/* 3.1.1 [MQTT-3.10.4-4], [MQTT-3.10.4-5]: UNSUBACK has an id and nothing else. */
static void a_3_1_1_unsuback_has_no_payload(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311);
    UNSUBSCRIBE(c, .id = 300, .filters = FILTERS({"never/there", 0}));
    const struct packet *packet = expect_packet(c, PKT_UNSUBACK);
    assert_int_equal(packet->id, 300);
    assert_int_equal(packet->wire_len, 4);
}

/* 3.1.1 section 3.4, 3.5, 3.7: acknowledgements of 3.x are four bytes, whatever happened. */
static void a_3_1_1_publisher_gets_plain_acknowledgements(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311);
    PUBLISH(c, .topic = "nobody311/t", .payload = "x", .qos = 1, .id = 1);
    assert_int_equal(expect_ack(c, PKT_PUBACK, 1, 0)->wire_len, 4);
    PUBLISH(c, .topic = "nobody311/t", .payload = "x", .qos = 2, .id = 2);
    assert_int_equal(expect_ack(c, PKT_PUBREC, 2, 0)->wire_len, 4);
    send_ack(c, PKT_PUBREL, 2, 0);
    assert_int_equal(expect_ack(c, PKT_PUBCOMP, 2, 0)->wire_len, 4);
    send_ack(c, PKT_PUBREL, 3, 0); /* unknown, and yet there is nothing else to say */
    assert_int_equal(expect_ack(c, PKT_PUBCOMP, 3, 0)->wire_len, 4);
}

/* 3.1.1 section 3.3.5: what may not be published is acknowledged and dropped. */
static void a_3_1_1_publish_to_a_sys_topic_is_acknowledged_and_dropped(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "$SYS/mine311/#", 0);
    struct client *c = CONNECT(.version = MQTT_311);
    PUBLISH(c, .topic = "$SYS/mine311/t", .payload = "x");
    PUBLISH(c, .topic = "$SYS/mine311/t", .payload = "x", .qos = 1, .id = 1);
    expect_ack(c, PKT_PUBACK, 1, 0);
    PUBLISH(c, .topic = "$SYS/mine311/t", .payload = "x", .qos = 2, .id = 2);
    expect_ack(c, PKT_PUBREC, 2, 0);
    send_ack(c, PKT_PUBREL, 2, 0);
    expect_ack(c, PKT_PUBCOMP, 2, 0);
    expect_nothing(sub);
}

/* 3.1.1 [MQTT-3.3.1-9]: to a 3.1.1 subscriber RETAIN says only "this is from the store". */
static void a_3_1_1_subscriber_sees_retain_only_on_stored_messages(void **state)
{
    (void)state;
    struct client *live = CONNECT(.version = MQTT_311);
    subscribe(live, "retain311/t", 0);
    publish_retained(CONNECT(.version = MQTT_311), "retain311/t", "x", 1);
    assert_false(expect_publish(live, "retain311/t", "x")->retain);
    struct client *late = CONNECT(.version = MQTT_311);
    subscribe(late, "retain311/t", 0);
    assert_true(expect_publish(late, "retain311/t", "x")->retain);
    subscribe(late, "retain311/t", 1); /* 3.1.1 [MQTT-3.8.4-3]: again for a repeated SUBSCRIBE */
    assert_true(expect_publish(late, "retain311/t", "x")->retain);
}

/* ---- between versions ---- */

static const uint8_t all_versions[] = {MQTT_31, MQTT_311, MQTT_50};

/* Every version to every version, at every QoS. */
static void messages_pass_between_all_versions(void **state)
{
    (void)state;
    for (size_t from = 0; from < sizeof(all_versions); from++) {
        for (size_t to = 0; to < sizeof(all_versions); to++) {
            struct client *sub = CONNECT(.version = all_versions[to]);
            subscribe(sub, "cross/t", 2);
            struct client *pub = CONNECT(.version = all_versions[from]);
            for (uint8_t qos = 0; qos <= 2; qos++) {
                publish(pub, "cross/t", "payload", qos);
                const struct packet *packet = expect_publish(sub, "cross/t", "payload");
                assert_int_equal(packet->qos, qos);
                assert_int_equal(packet->prop_count, 0);
                acknowledge(sub, packet);
            }
            client_close_all();
        }
    }
}

/* A 3.x subscriber gets the message of a 5.0 publisher without its properties. */
static void properties_are_left_out_for_3_x_subscribers(void **state)
{
    (void)state;
    struct client *sub = CONNECT(.version = MQTT_311);
    subscribe(sub, "strip/t", 1);
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "strip/t", .payload = "x", .qos = 1,
                     .props = PROPS(prop_payload_format(1), prop_message_expiry(100),
                                    prop_content_type("c"), prop_user_property("a", "b"),
                                    prop_topic_alias(1)));
    const struct packet *packet = expect_publish(sub, "strip/t", "x");
    assert_int_equal(packet->wire_len, 2 + 2 + 7 + 2 + 1);
}

/* The same from the retained store, in both directions. */
static void retained_messages_pass_between_versions(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "crosskept/5", .payload = "five", .qos = 1, .retain = true,
                     .props = PROPS(prop_content_type("c")));
    publish_retained(CONNECT(.version = MQTT_311), "crosskept/4", "four", 1);
    struct client *old = CONNECT(.version = MQTT_311);
    subscribe(old, "crosskept/5", 0);
    assert_int_equal(expect_publish(old, "crosskept/5", "five")->prop_count, 0);
    struct client *new = CONNECT();
    subscribe(new, "crosskept/4", 0);
    assert_int_equal(expect_publish(new, "crosskept/4", "four")->prop_count, 0);
    subscribe(new, "crosskept/5", 0);
    assert_prop_text(expect_publish(new, "crosskept/5", "five"), PROP_CONTENT_TYPE, "c");
}

/* [MQTT-3.3.2-5]: a message expires for a 3.1.1 subscriber too, though it cannot be told. */
static void a_message_for_an_absent_3_1_1_session_expires(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311, .client_id = "exp311", .resume = true);
    subscribe(c, "exp311/t", 1);
    client_disconnect(c);
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "exp311/t", .payload = "stale", .qos = 1,
                     .props = PROPS(prop_message_expiry(1)));
    publish(pub, "exp311/t", "fresh", 1);
    let_time_pass(2200);
    c = CONNECT(.version = MQTT_311, .client_id = "exp311", .resume = true);
    expect_publish_and_ack(c, "exp311/t", "fresh");
    expect_nothing(c);
}

/* A will crosses versions as well, with its properties where they can be told. */
static void a_will_crosses_versions(void **state)
{
    (void)state;
    struct client *old = CONNECT(.version = MQTT_31);
    subscribe(old, "willcross/#", 0);
    struct client *new = CONNECT();
    subscribe(new, "willcross/#", 0);
    client_drop(CONNECT(.will_topic = "willcross/5", .will_payload = "gone",
                        .will_props = PROPS(prop_content_type("c"))));
    expect_publish(old, "willcross/5", "gone");
    assert_prop_text(expect_publish(new, "willcross/5", "gone"), PROP_CONTENT_TYPE, "c");
    client_drop(CONNECT(.version = MQTT_31, .will_topic = "willcross/3", .will_payload = "gone"));
    expect_publish(old, "willcross/3", "gone");
    expect_publish(new, "willcross/3", "gone");
}

/* One publish, subscribers of all versions, mixed QoS: each gets it in its own form. */
static void one_message_serves_subscribers_of_all_versions_at_once(void **state)
{
    (void)state;
    struct client *subs[9];
    for (unsigned i = 0; i < 9; i++) {
        subs[i] = CONNECT(.version = all_versions[i % 3]);
        subscribe(subs[i], "mixed/t", i / 3);
    }
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "mixed/t", .payload = "x", .qos = 2,
                     .props = PROPS(prop_content_type("c")));
    for (unsigned i = 0; i < 9; i++) {
        const struct packet *packet = expect_publish(subs[i], "mixed/t", "x");
        assert_int_equal(packet->qos, i / 3);
        assert_int_equal(packet->prop_count, all_versions[i % 3] == MQTT_50 ? 1 : 0);
        acknowledge(subs[i], packet);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_3_1_client_connects_publishes_and_receives),
        TEST(a_3_1_1_client_connects_publishes_and_receives),
        TEST(an_empty_id_needs_a_clean_session_in_3_1_1),
        TEST(an_empty_id_is_refused_in_3_1),
        TEST(a_name_and_a_level_that_do_not_belong_together_are_refused),
        TEST(connect_flags_that_cannot_be_close_a_3_1_1_connection),
        TEST(a_second_connect_closes_a_3_1_1_connection),
        TEST(clean_session_0_keeps_the_session),
        TEST(clean_session_1_keeps_nothing),
        TEST(a_3_1_connack_does_not_speak_of_sessions),
        TEST(a_3_1_1_client_gets_unacknowledged_messages_again),
        TEST(a_session_may_be_resumed_with_another_version),
        TEST(a_3_1_1_suback_says_granted_or_failed),
        TEST(a_3_1_1_unsuback_has_no_payload),
        TEST(a_3_1_1_publisher_gets_plain_acknowledgements),
        TEST(a_3_1_1_publish_to_a_sys_topic_is_acknowledged_and_dropped),
        TEST(a_3_1_1_subscriber_sees_retain_only_on_stored_messages),
        TEST(messages_pass_between_all_versions),
        TEST(properties_are_left_out_for_3_x_subscribers),
        TEST(retained_messages_pass_between_versions),
        TEST(a_message_for_an_absent_3_1_1_session_expires),
        TEST(a_will_crosses_versions),
        TEST(one_message_serves_subscribers_of_all_versions_at_once),
    };
    return RUN_SUITE("versions", tests, NULL);
}
