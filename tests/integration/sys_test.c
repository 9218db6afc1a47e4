/* $SYS topics: the broker about itself, under the names that Mosquitto's users know. */
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>

/* Waits for a value of `topic` that is at least `minimum`; gives it. */
static long wait_for_value(const char *topic, long minimum)
{
    struct client *c = CONNECT();
    subscribe(c, topic, 0);
    long deadline = clock_ms() + WAIT_MS;
    long value = -1;
    while (value < minimum && clock_ms() < deadline) {
        value = atol(expect_packet(c, PKT_PUBLISH)->payload);
    }
    client_disconnect(c);
    if (value < minimum) {
        test_fail("%s is %ld, and should become %ld or more", topic, value, minimum);
    }
    return value;
}

/* Every name that a dashboard made for Mosquitto is likely to ask for. */
static void the_known_topics_are_published(void **state)
{
    (void)state;
    static const char *const topics[] = {
        "$SYS/broker/version",
        "$SYS/broker/uptime",
        "$SYS/broker/clients/total",
        "$SYS/broker/clients/connected",
        "$SYS/broker/clients/disconnected",
        "$SYS/broker/clients/maximum",
        "$SYS/broker/clients/expired",
        "$SYS/broker/messages/received",
        "$SYS/broker/messages/sent",
        "$SYS/broker/publish/messages/received",
        "$SYS/broker/publish/messages/sent",
        "$SYS/broker/publish/messages/dropped",
        "$SYS/broker/bytes/received",
        "$SYS/broker/bytes/sent",
        "$SYS/broker/subscriptions/count",
        "$SYS/broker/shared_subscriptions/count",
        "$SYS/broker/retained messages/count",
        "$SYS/broker/load/messages/received/1min",
        "$SYS/broker/load/connections/1min",
    };
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        test_case(topics[i]);
        struct client *c = CONNECT();
        subscribe(c, topics[i], 0);
        const struct packet *packet = expect_packet(c, PKT_PUBLISH);
        assert_string_equal(packet->topic, topics[i]);
        assert_true(packet->payload_len > 0);
        client_disconnect(c);
    }
}

/* A new subscriber does not wait for the next interval: the values are retained. */
static void values_are_retained(void **state)
{
    (void)state;
    wait_for_value("$SYS/broker/uptime", 0);
    struct client *c = CONNECT();
    subscribe(c, "$SYS/broker/version", 0);
    assert_true(expect_packet(c, PKT_PUBLISH)->retain);
}

/* The values are alive. */
static void values_follow_what_happens(void **state)
{
    (void)state;
    long received = wait_for_value("$SYS/broker/publish/messages/received", 0);
    struct client *pub = CONNECT();
    for (int i = 0; i < 50; i++) {
        publish(pub, "sys/count", "x", 1);
    }
    wait_for_value("$SYS/broker/publish/messages/received", received + 50);
    for (int i = 0; i < 5; i++) {
        subscribe(CONNECT(), "sys/other", 0);
    }
    wait_for_value("$SYS/broker/clients/connected", 6);
    wait_for_value("$SYS/broker/subscriptions/count", 5);
    wait_for_value("$SYS/broker/uptime", 1);
}

/* observability.sys_interval: they come again and again. */
static void values_come_at_the_interval(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "$SYS/broker/uptime", 0);
    long first = atol(expect_packet(c, PKT_PUBLISH)->payload);
    long second = atol(expect_packet(c, PKT_PUBLISH)->payload);
    long third = atol(expect_packet(c, PKT_PUBLISH)->payload);
    assert_true(first <= second && second < third);
}

/* [MQTT-4.7.2-1]: they are no part of "#" and "+/...". */
static void leading_wildcards_do_not_match_sys_topics(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"#", 0}, {"+/broker/#", 0}));
    EXPECT_SUBACK(c, 1, 0, 0);
    expect_nothing_for(c, 1500);
    subscribe(c, "$SYS/#", 0);
    assert_memory_equal(expect_packet(c, PKT_PUBLISH)->topic, "$SYS/", 5);
}

/* 4.7.2: nobody but the broker publishes there; see also publish_qos_test.c. */
static void a_client_cannot_change_a_value(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "$SYS/broker/version", .payload = "forged", .qos = 1, .id = 1,
            .retain = true);
    expect_ack(pub, PKT_PUBACK, 1, RC_NOT_AUTHORIZED);
    PUBLISH(pub, .topic = "$SYS/broker/version", .qos = 1, .id = 2, .retain = true);
    expect_ack(pub, PKT_PUBACK, 2, RC_NOT_AUTHORIZED);
    struct client *c = CONNECT();
    subscribe(c, "$SYS/broker/version", 0);
    assert_null(strstr(expect_packet(c, PKT_PUBLISH)->payload, "forged"));
}

/* Retained values of the broker do not use up limits.max_retained_messages. */
static void sys_topics_leave_the_retained_limit_to_clients(void **state)
{
    (void)state;
    OWN_BROKER("observability.sys_interval: 1s", "limits.max_retained_messages: 1");
    wait_for_value("$SYS/broker/uptime", 1);
    publish_retained(CONNECT(), "mine/t", "x", 1);
    struct client *c = CONNECT();
    subscribe(c, "mine/t", 0);
    expect_publish(c, "mine/t", "x");
}

/* observability.sys_interval: 0 switches them off. */
static void an_interval_of_0_publishes_nothing(void **state)
{
    (void)state;
    OWN_BROKER("observability.sys_interval: 0s");
    struct client *c = CONNECT();
    subscribe(c, "$SYS/#", 0);
    expect_nothing_for(c, 1500);
}

/* 3.1.1 clients read them as well. */
static void a_3_1_1_client_can_read_them(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311);
    subscribe(c, "$SYS/broker/uptime", 0);
    expect_packet(c, PKT_PUBLISH);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_known_topics_are_published),
        TEST(values_are_retained),
        TEST(values_follow_what_happens),
        TEST(values_come_at_the_interval),
        TEST(leading_wildcards_do_not_match_sys_topics),
        TEST(a_client_cannot_change_a_value),
        TEST(sys_topics_leave_the_retained_limit_to_clients),
        TEST(an_interval_of_0_publishes_nothing),
        TEST(a_3_1_1_client_can_read_them),
    };
    return RUN_SUITE("sys", tests, BROKER_SETTINGS("observability.sys_interval: 1s"));
}
