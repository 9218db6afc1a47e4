/* Will messages: when they are published, when not, and with what. */
#include "tests/integration/suite.h"

#include <stdio.h>

#define WILL(topic) .will_topic = topic, .will_payload = "gone"

static struct client *watch(const char *topic)
{
    struct client *c = CONNECT();
    subscribe(c, topic, 2);
    return c;
}

/* [MQTT-3.1.2-7], [MQTT-3.1.2-8] */
static void a_will_is_published_when_the_connection_breaks(void **state)
{
    (void)state;
    struct client *watcher = watch("w/break");
    client_drop(CONNECT(WILL("w/break")));
    expect_publish(watcher, "w/break", "gone");
    expect_nothing(watcher);
}

/* [MQTT-3.1.2-10], [MQTT-3.14.4-3] */
static void a_normal_disconnect_discards_the_will(void **state)
{
    (void)state;
    struct client *watcher = watch("w/normal");
    client_disconnect(CONNECT(WILL("w/normal")));
    expect_nothing(watcher);
}

/* 3.14.2.1: the client asks for its will. */
static void disconnect_with_will_message_publishes_it(void **state)
{
    (void)state;
    struct client *watcher = watch("w/asked");
    client_disconnect_with(CONNECT(WILL("w/asked")), RC_DISCONNECT_WITH_WILL, NULL);
    expect_publish(watcher, "w/asked", "gone");
}

/* [MQTT-3.1.2-8]: only reason 0x00 discards the will. */
static void a_disconnect_with_an_error_publishes_the_will(void **state)
{
    (void)state;
    static const enum reason reasons[] = {RC_UNSPECIFIED, RC_MALFORMED, RC_QUOTA_EXCEEDED};
    struct client *watcher = watch("w/error");
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        client_disconnect_with(CONNECT(WILL("w/error")), reasons[i], NULL);
        expect_publish(watcher, "w/error", "gone");
    }
}

/* 3.1.2.5: the broker closing because of an error is no normal end either. */
static void a_protocol_error_publishes_the_will(void **state)
{
    (void)state;
    struct client *watcher = watch("w/protocol");
    struct client *c = CONNECT(.client_id = "w-protocol", WILL("w/protocol"));
    SEND_CONNECT(c, .client_id = "w-protocol");
    expect_disconnect(c, RC_PROTOCOL_ERROR);
    expect_publish(watcher, "w/protocol", "gone");
}

/* 3.1.2.5 */
static void a_malformed_packet_publishes_the_will(void **state)
{
    (void)state;
    struct client *watcher = watch("w/malformed");
    struct client *c = CONNECT(WILL("w/malformed"));
    RAW(c, 0xc0, 0x01, 0x00); /* PINGREQ with a body */
    expect_disconnect(c, RC_MALFORMED);
    expect_publish(watcher, "w/malformed", "gone");
}

/* 3.1.2.5, [MQTT-3.1.2-22] */
static void a_keep_alive_timeout_publishes_the_will(void **state)
{
    (void)state;
    struct client *watcher = watch("w/silent");
    struct client *c = CONNECT(.keep_alive = 1, WILL("w/silent"));
    expect_disconnect(c, RC_KEEP_ALIVE_TIMEOUT);
    expect_publish(watcher, "w/silent", "gone");
}

/* [MQTT-3.1.2-14], [MQTT-3.1.2-15] */
static void will_retain_decides_whether_the_will_is_kept(void **state)
{
    (void)state;
    struct client *watcher = watch("w/retain/#");
    client_drop(CONNECT(WILL("w/retain/no")));
    expect_publish(watcher, "w/retain/no", "gone"); /* two clients' wills have no order */
    client_drop(CONNECT(WILL("w/retain/yes"), .will_retain = true));
    expect_publish(watcher, "w/retain/yes", "gone");
    struct client *late = watch("w/retain/+");
    assert_true(expect_publish(late, "w/retain/yes", "gone")->retain);
    expect_nothing(late);
}

/* [MQTT-3.1.2-12] */
static void a_will_is_published_at_its_qos(void **state)
{
    (void)state;
    struct client *watcher = watch("w/qos");
    for (uint8_t qos = 0; qos <= 2; qos++) {
        client_drop(CONNECT(WILL("w/qos"), .will_qos = qos));
        const struct packet *packet = expect_publish(watcher, "w/qos", "gone");
        assert_int_equal(packet->qos, qos);
        acknowledge(watcher, packet);
    }
}

/* 3.1.3.2, [MQTT-3.1.3-10]: the will's properties are those of its message. */
static void a_will_carries_its_properties_in_order(void **state)
{
    (void)state;
    struct client *watcher = watch("w/props");
    client_drop(CONNECT(
        WILL("w/props"),
        .will_props = PROPS(prop_will_delay(0), prop_payload_format(1), prop_message_expiry(100),
                            prop_content_type("text/plain"), prop_response_topic("w/answer"),
                            prop_correlation_data("c-1"), prop_user_property("b", "1"),
                            prop_user_property("a", "2"), prop_user_property("b", "3"))));
    const struct packet *packet = expect_publish(watcher, "w/props", "gone");
    assert_no_prop(packet, PROP_WILL_DELAY);
    assert_prop_number(packet, PROP_PAYLOAD_FORMAT, 1);
    assert_in_range(packet_prop(packet, PROP_MESSAGE_EXPIRY)->number, 98, 100);
    assert_prop_text(packet, PROP_CONTENT_TYPE, "text/plain");
    assert_prop_text(packet, PROP_RESPONSE_TOPIC, "w/answer");
    assert_prop_text(packet, PROP_CORRELATION_DATA, "c-1");
    char order[16] = "";
    for (size_t i = 0; i < packet->prop_count; i++) {
        if (packet->props[i].id == PROP_USER_PROPERTY) {
            strncat(order, packet->props[i].text, 1);
            strncat(order, packet->props[i].value, 1);
        }
    }
    assert_string_equal(order, "b1a2b3");
}

/* 3.1.3.4: a will payload may be empty, and up to 65,535 bytes. */
static void a_will_payload_may_be_empty_or_large(void **state)
{
    (void)state;
    struct client *watcher = watch("w/size");
    client_drop(CONNECT(.will_topic = "w/size", .will_payload = ""));
    expect_publish(watcher, "w/size", "");
    static char payload[65536];
    memset(payload, 'w', 65535);
    client_drop(CONNECT(.will_topic = "w/size", .will_payload = payload));
    expect_publish(watcher, "w/size", payload);
}

/* [MQTT-3.1.2-8], 3.1.3.2.2: a will with a delay waits for it. */
static void a_delayed_will_waits_for_its_delay(void **state)
{
    (void)state;
    struct client *watcher = watch("w/delay");
    long start = clock_ms();
    client_drop(CONNECT(WILL("w/delay"), .will_props = PROPS(prop_will_delay(1)),
                        .props = PROPS(prop_session_expiry(60))));
    expect_publish(watcher, "w/delay", "gone");
    assert_in_range(clock_ms() - start, 900, 3500);
}

/* [MQTT-3.1.3-9] */
static void a_reconnect_within_the_delay_cancels_the_will(void **state)
{
    (void)state;
    struct client *watcher = watch("w/cancel");
    client_drop(CONNECT(.client_id = "w-cancel", WILL("w/cancel"),
                        .will_props = PROPS(prop_will_delay(1)),
                        .props = PROPS(prop_session_expiry(60))));
    CONNECT(.client_id = "w-cancel", .resume = true, .props = PROPS(prop_session_expiry(60)));
    expect_nothing_for(watcher, 2200);
}

/* [MQTT-3.1.2-8]: the end of the session ends the delay. */
static void a_delayed_will_is_published_when_the_session_ends_first(void **state)
{
    (void)state;
    struct client *watcher = watch("w/ends");
    long start = clock_ms();
    client_drop(CONNECT(WILL("w/ends"), .will_props = PROPS(prop_will_delay(60)),
                        .props = PROPS(prop_session_expiry(1))));
    expect_publish(watcher, "w/ends", "gone");
    assert_in_range(clock_ms() - start, 900, 3500);
}

/* [MQTT-3.1.2-8]: without a session that stays there is nothing to wait for. */
static void a_delayed_will_without_a_lasting_session_is_published_at_once(void **state)
{
    (void)state;
    struct client *watcher = watch("w/at-once");
    long start = clock_ms();
    client_drop(CONNECT(WILL("w/at-once"), .will_props = PROPS(prop_will_delay(60))));
    expect_publish(watcher, "w/at-once", "gone");
    assert_true(clock_ms() - start < 1000);
}

/* [MQTT-3.1.2-8]: a clean start ends the old session, and so the wait of its will. */
static void clean_start_within_the_delay_publishes_the_will(void **state)
{
    (void)state;
    struct client *watcher = watch("w/fresh");
    client_drop(CONNECT(.client_id = "w-fresh", WILL("w/fresh"),
                        .will_props = PROPS(prop_will_delay(60)),
                        .props = PROPS(prop_session_expiry(60))));
    CONNECT(.client_id = "w-fresh");
    expect_publish(watcher, "w/fresh", "gone");
    expect_nothing(watcher);
}

/* 3.1.4 (takeover): without a delay the old connection's will is published. */
static void a_takeover_publishes_a_will_without_delay(void **state)
{
    (void)state;
    struct client *watcher = watch("w/taken");
    struct client *old =
        CONNECT(.client_id = "w-taken", WILL("w/taken"), .props = PROPS(prop_session_expiry(60)));
    CONNECT(.client_id = "w-taken", .resume = true, .props = PROPS(prop_session_expiry(60)));
    expect_disconnect(old, RC_SESSION_TAKEN_OVER);
    expect_publish(watcher, "w/taken", "gone");
}

/* [MQTT-3.1.3-9]: with a delay the takeover is a reconnect in time. */
static void a_takeover_of_a_lasting_session_cancels_a_delayed_will(void **state)
{
    (void)state;
    struct client *watcher = watch("w/kept");
    struct client *old =
        CONNECT(.client_id = "w-kept", WILL("w/kept"), .will_props = PROPS(prop_will_delay(1)),
                .props = PROPS(prop_session_expiry(60)));
    CONNECT(.client_id = "w-kept", .resume = true, .props = PROPS(prop_session_expiry(60)));
    expect_disconnect(old, RC_SESSION_TAKEN_OVER);
    expect_nothing_for(watcher, 2200);
}

/* [MQTT-3.1.2-10]: published once, the will is gone; a later loss has its own will or none. */
static void a_will_belongs_to_one_connection(void **state)
{
    (void)state;
    struct client *watcher = watch("w/once");
    client_drop(
        CONNECT(.client_id = "w-once", WILL("w/once"), .props = PROPS(prop_session_expiry(60))));
    expect_publish(watcher, "w/once", "gone");
    client_drop(
        CONNECT(.client_id = "w-once", .resume = true, .props = PROPS(prop_session_expiry(60))));
    expect_nothing(watcher);
    client_drop(CONNECT(.client_id = "w-once", .resume = true, .will_topic = "w/once",
                        .will_payload = "another"));
    expect_publish(watcher, "w/once", "another");
}

/* [MQTT-3.1.4-6]: a CONNECT that was refused leaves no will behind. */
static void a_refused_connect_has_no_will(void **state)
{
    (void)state;
    struct client *watcher = watch("w/refused");
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, WILL("w/refused"), .props = PROPS(prop_auth_method("none")));
    EXPECT_REFUSED(c, RC_BAD_AUTH_METHOD);
    expect_nothing(watcher);
}

/* 4.7.2: a will is no way around the rule that clients do not publish to $SYS. */
static void a_will_does_not_reach_sys_topics(void **state)
{
    (void)state;
    struct client *watcher = watch("$SYS/will/#");
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, WILL("$SYS/will/t"));
    client_receive(c, WAIT_MS); /* refused at once, or dropped later */
    client_close(c);
    expect_nothing(watcher);
}

/* A will waits for absent subscribers like any message, [MQTT-4.5.0-1]. */
static void a_will_is_queued_for_an_absent_subscriber(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "w-absent", .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "w/queued", 1);
    client_disconnect(c);
    struct client *watcher = watch("w/queued");
    client_drop(CONNECT(WILL("w/queued"), .will_qos = 1));
    expect_publish_and_ack(watcher, "w/queued", "gone");
    c = CONNECT(.client_id = "w-absent", .resume = true);
    expect_publish_and_ack(c, "w/queued", "gone");
}

/* 3.1.1 section 3.1.2.5: broken connection yes, DISCONNECT no. */
static void a_3_1_1_will_works_the_same(void **state)
{
    (void)state;
    struct client *watcher = watch("w/311");
    client_disconnect(CONNECT(.version = MQTT_311, WILL("w/311")));
    client_drop(CONNECT(.version = MQTT_311, WILL("w/311"), .will_qos = 1, .will_retain = true));
    const struct packet *packet = expect_publish(watcher, "w/311", "gone");
    assert_int_equal(packet->qos, 1);
    acknowledge(watcher, packet);
    expect_nothing(watcher);
    assert_true(expect_publish(watch("w/311"), "w/311", "gone")->retain);
}

/* A client that subscribed to its own will's topic does not get it on the dead connection, but
 * later. */
static void a_will_reaches_its_own_lasting_session(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "w-self", WILL("w/self"), .will_qos = 1,
                               .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "w/self", 1);
    struct client *watcher = watch("w/self");
    client_drop(c);
    expect_publish_and_ack(watcher, "w/self", "gone");
    c = CONNECT(.client_id = "w-self", .resume = true);
    expect_publish_and_ack(c, "w/self", "gone");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_will_is_published_when_the_connection_breaks),
        TEST(a_normal_disconnect_discards_the_will),
        TEST(disconnect_with_will_message_publishes_it),
        TEST(a_disconnect_with_an_error_publishes_the_will),
        TEST(a_protocol_error_publishes_the_will),
        TEST(a_malformed_packet_publishes_the_will),
        TEST(a_keep_alive_timeout_publishes_the_will),
        TEST(will_retain_decides_whether_the_will_is_kept),
        TEST(a_will_is_published_at_its_qos),
        TEST(a_will_carries_its_properties_in_order),
        TEST(a_will_payload_may_be_empty_or_large),
        TEST(a_delayed_will_waits_for_its_delay),
        TEST(a_reconnect_within_the_delay_cancels_the_will),
        TEST(a_delayed_will_is_published_when_the_session_ends_first),
        TEST(a_delayed_will_without_a_lasting_session_is_published_at_once),
        TEST(clean_start_within_the_delay_publishes_the_will),
        TEST(a_takeover_publishes_a_will_without_delay),
        TEST(a_takeover_of_a_lasting_session_cancels_a_delayed_will),
        TEST(a_will_belongs_to_one_connection),
        TEST(a_refused_connect_has_no_will),
        TEST(a_will_does_not_reach_sys_topics),
        TEST(a_will_is_queued_for_an_absent_subscriber),
        TEST(a_3_1_1_will_works_the_same),
        TEST(a_will_reaches_its_own_lasting_session),
    };
    return RUN_SUITE("will", tests, NULL);
}
