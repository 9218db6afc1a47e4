/* SUBSCRIBE and UNSUBSCRIBE: what is granted, and what the options do. */
#include "tests/integration/suite.h"

#include <stdio.h>

/* ---- SUBACK ---- */

/* [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-7], [MQTT-2.2.1-6] */
static void each_requested_qos_is_granted(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    for (uint8_t qos = 0; qos <= 2; qos++) {
        SUBSCRIBE(c, .id = (uint16_t)(500 + qos), .filters = FILTERS({"granted/t", qos}));
        EXPECT_SUBACK(c, 500u + qos, qos);
    }
}

/* [MQTT-3.8.4-5], [MQTT-3.8.4-6], [MQTT-3.9.3-1] */
static void many_filters_get_one_suback_with_a_reason_for_each_in_order(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1,
              .filters = FILTERS({"m/a", 2}, {"m/#/x", 1}, {"m/b", 0}, {"m/c+", 1}, {"m/c", 1}));
    EXPECT_SUBACK(c, 1, 2, RC_TOPIC_FILTER_INVALID, 0, RC_TOPIC_FILTER_INVALID, 1);
    struct client *pub = CONNECT();
    publish(pub, "m/a", "a", 0);
    publish(pub, "m/b", "b", 0);
    publish(pub, "m/c", "c", 0);
    expect_publish(c, "m/a", "a");
    expect_publish(c, "m/b", "b");
    expect_publish(c, "m/c", "c");
}

/* [MQTT-3.9.3-2], [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.8.2-1], [MQTT-4.8.2-2] */
static void invalid_filters_are_refused_one_by_one(void **state)
{
    (void)state;
    static const char *const filters[] = {"",           "#/",          "a/#/b",       "a#",
                                          "#a",         "a/b#",        "++",          "+a",
                                          "a/+b/c",     "a/b+",        "$share/",     "$share/g",
                                          "$share/g/",  "$share//t",   "$share/g+/t", "$share/#/t",
                                          "$share/+/t", "$share/g/a#", "$share/g/+x"};
    struct client *c = CONNECT();
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        SUBSCRIBE(c, .id = 1, .filters = FILTERS({filters[i], 0}));
        const struct packet *suback = expect_packet(c, PKT_SUBACK);
        if (suback->reason != RC_TOPIC_FILTER_INVALID) {
            test_fail("filter \"%s\" got 0x%02x", filters[i], suback->reason);
        }
    }
}

/* [MQTT-3.8.3-2]: 3.8.3 calls a SUBSCRIBE without filters a protocol error. */
static void a_subscribe_without_filters_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({NULL, 0}));
    expect_disconnect(c, RC_PROTOCOL_ERROR);
}

/* [MQTT-3.8.3-5] */
static void reserved_subscription_option_bits_are_malformed(void **state)
{
    (void)state;
    static const uint8_t options[] = {0x40, 0x80, 0xc1};
    for (size_t i = 0; i < sizeof(options); i++) {
        struct client *c = CONNECT();
        SUBSCRIBE(c, .id = 1, .filters = FILTERS({"bits/t", options[i]}));
        expect_disconnect(c, RC_MALFORMED);
    }
}

/* 3.8.3.1: QoS 3 and retain handling 3 are protocol errors. */
static void subscription_option_values_out_of_range_are_errors(void **state)
{
    (void)state;
    static const uint8_t options[] = {0x03, 0x30};
    for (size_t i = 0; i < sizeof(options); i++) {
        struct client *c = CONNECT();
        SUBSCRIBE(c, .id = 1, .filters = FILTERS({"bits/t", options[i]}));
        EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_MALFORMED);
    }
}

/* [MQTT-3.8.3-4] */
static void no_local_on_a_shared_subscription_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"$share/g/t", OPT_NO_LOCAL}));
    expect_disconnect(c, RC_PROTOCOL_ERROR);
}

/* [MQTT-2.2.1-3] */
static void a_packet_id_of_0_is_an_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 0, .filters = FILTERS({"t", 0}));
    EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_MALFORMED);
    c = CONNECT();
    UNSUBSCRIBE(c, .id = 0, .filters = FILTERS({"t", 0}));
    EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_MALFORMED);
}

/* limits.max_subscriptions_per_client: 0x97 for what is too much; replacing and leaving make room.
 */
static void a_subscription_over_the_quota_is_refused(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_subscriptions_per_client: 2");
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"q/1", 0}, {"q/2", 1}, {"q/3", 1}));
    EXPECT_SUBACK(c, 1, 0, 1, RC_QUOTA_EXCEEDED);
    SUBSCRIBE(c, .id = 2, .filters = FILTERS({"q/1", 2}, {"$share/g/q/4", 0}));
    EXPECT_SUBACK(c, 2, 2, RC_QUOTA_EXCEEDED);
    publish(CONNECT(), "q/3", "x", 0);
    unsubscribe(c, "q/1");
    SUBSCRIBE(c, .id = 3, .filters = FILTERS({"q/3", 0}));
    EXPECT_SUBACK(c, 3, 0);
    struct client *other = CONNECT(); /* it is a quota per client */
    subscribe(other, "q/1", 0);
    subscribe(other, "q/2", 0);
}

/* The quota as 3.1.1 can say it: 0x80. */
static void a_3_1_1_subscription_over_the_quota_is_refused(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_subscriptions_per_client: 1");
    struct client *c = CONNECT(.version = MQTT_311);
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"q/1", 0}, {"q/2", 1}));
    EXPECT_SUBACK(c, 1, 0, 0x80);
}

/* limits.topic_levels_max bounds filters and topic names alike. */
static void topics_with_too_many_levels_are_refused(void **state)
{
    (void)state;
    OWN_BROKER("limits.topic_levels_max: 5");
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"1/2/3/4/5", 0}, {"1/2/3/4/5/6", 0}, {"/////", 0}));
    EXPECT_SUBACK(c, 1, 0, RC_TOPIC_FILTER_INVALID, RC_TOPIC_FILTER_INVALID);
    PUBLISH(c, .topic = "1/2/3/4/5", .payload = "x");
    expect_publish(c, "1/2/3/4/5", "x");
    PUBLISH(c, .topic = "1/2/3/4/5/6", .payload = "x", .qos = 1, .id = 1);
    const struct packet *answer = client_receive(c, WAIT_MS);
    assert_non_null(answer); /* a PUBACK or a DISCONNECT may say it, 3.4.2.1 and 3.14.2.1 */
    assert_true(answer->type == PKT_PUBACK || answer->type == PKT_DISCONNECT);
    assert_int_equal(answer->reason, RC_TOPIC_NAME_INVALID);
}

/* The default for limits.topic_levels_max lets through what people use, and stops a flood. */
static void two_hundred_levels_are_fine_and_thousands_are_not(void **state)
{
    (void)state;
    char deep[400], flood[20001];
    for (size_t i = 0; i < sizeof(deep) - 1; i++) {
        deep[i] = i % 2 == 0 ? 'a' : '/';
    }
    deep[sizeof(deep) - 1] = '\0'; /* 200 times a, 199 times / */
    memset(flood, '/', sizeof(flood) - 1);
    flood[sizeof(flood) - 1] = '\0';
    struct client *c = CONNECT();
    subscribe(c, deep, 0);
    PUBLISH(c, .topic = deep, .payload = "x");
    expect_publish(c, deep, "x");
    SUBSCRIBE(c, .id = 9, .filters = FILTERS({flood, 0}));
    EXPECT_SUBACK(c, 9, RC_TOPIC_FILTER_INVALID);
}

/* ---- options ---- */

/* [MQTT-3.8.3-3] */
static void no_local_keeps_own_messages_away(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "local/t", OPT_NO_LOCAL | 1);
    PUBLISH(c, .topic = "local/t", .payload = "mine");
    settle(c);
    publish(CONNECT(), "local/t", "theirs", 0);
    expect_publish(c, "local/t", "theirs");
    expect_nothing(c);
}

/* [MQTT-3.8.3-3] is about one subscription: another one that matches still delivers. */
static void no_local_on_one_subscription_does_not_silence_another(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe_with(c, "local2/+", OPT_NO_LOCAL | 1, PROPS(prop_subscription_id(1)));
    subscribe_with(c, "local2/t", 0, PROPS(prop_subscription_id(2)));
    PUBLISH(c, .topic = "local2/t", .payload = "x");
    const struct packet *packet = expect_publish(c, "local2/t", "x");
    assert_int_equal(packet_prop_count(packet, PROP_SUBSCRIPTION_ID), 1);
    assert_prop_number(packet, PROP_SUBSCRIPTION_ID, 2);
}

/* [MQTT-3.8.3-3]: it is the client id that counts, not the connection. */
static void no_local_still_holds_after_a_reconnect(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "local3", .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "local3/t", OPT_NO_LOCAL);
    client_disconnect(c);
    c = CONNECT(.client_id = "local3", .resume = true, .props = PROPS(prop_session_expiry(60)));
    PUBLISH(c, .topic = "local3/t", .payload = "mine");
    settle(c);
    expect_nothing(c);
}

/* [MQTT-3.3.1-12], [MQTT-3.3.1-13] */
static void retain_as_published_decides_about_the_retain_flag(void **state)
{
    (void)state;
    struct client *plain = CONNECT();
    subscribe(plain, "rap/t", 0);
    struct client *as_published = CONNECT();
    subscribe(as_published, "rap/t", OPT_RETAIN_AS_PUBLISHED);
    struct client *pub = CONNECT();
    publish_retained(pub, "rap/t", "kept", 0);
    assert_false(expect_publish(plain, "rap/t", "kept")->retain);
    assert_true(expect_publish(as_published, "rap/t", "kept")->retain);
    publish(pub, "rap/t", "passing", 0);
    assert_false(expect_publish(plain, "rap/t", "passing")->retain);
    assert_false(expect_publish(as_published, "rap/t", "passing")->retain);
}

/* ---- UNSUBSCRIBE ---- */

/* [MQTT-3.10.4-2], [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT-2.2.1-6] */
static void unsubscribing_ends_delivery(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "unsub/t", 0);
    UNSUBSCRIBE(c, .id = 4000, .filters = FILTERS({"unsub/t", 0}));
    EXPECT_UNSUBACK(c, 4000, RC_SUCCESS);
    publish(CONNECT(), "unsub/t", "x", 0);
    expect_nothing(c);
}

/* [MQTT-3.10.4-5], [MQTT-3.11.3-1], [MQTT-3.11.3-2], [MQTT-3.10.4-6] */
static void unsuback_tells_for_each_filter_whether_it_was_there(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "un/a", 0);
    subscribe(c, "un/#", 0);
    UNSUBSCRIBE(c, .id = 1,
                .filters = FILTERS({"un/a", 0}, {"un/never", 0}, {"un/#", 0}, {"un/a", 0}));
    EXPECT_UNSUBACK(c, 1, RC_SUCCESS, RC_NO_SUBSCRIPTION_EXISTED, RC_SUCCESS,
                    RC_NO_SUBSCRIPTION_EXISTED);
}

/* [MQTT-3.10.4-1]: compared character by character; wildcards do not match here. */
static void unsubscribing_compares_filters_literally(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe(c, "literal/t", 0);
    UNSUBSCRIBE(c, .id = 1, .filters = FILTERS({"literal/+", 0}, {"#", 0}, {"literal/T", 0}));
    EXPECT_UNSUBACK(c, 1, RC_NO_SUBSCRIPTION_EXISTED, RC_NO_SUBSCRIPTION_EXISTED,
                    RC_NO_SUBSCRIPTION_EXISTED);
    publish(CONNECT(), "literal/t", "x", 0);
    expect_publish(c, "literal/t", "x");
}

/* [MQTT-3.10.4-3] */
static void what_is_in_flight_is_completed_after_an_unsubscribe(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "unfly", .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "unfly/t", 2);
    publish(CONNECT(), "unfly/t", "x", 2);
    uint16_t id = expect_publish(c, "unfly/t", "x")->id;
    unsubscribe(c, "unfly/t");
    send_ack(c, PKT_PUBREC, id, RC_SUCCESS);
    expect_ack(c, PKT_PUBREL, id, RC_SUCCESS);
    send_ack(c, PKT_PUBCOMP, id, RC_SUCCESS);
    settle(c);
}

/* [MQTT-3.10.3-2]: 3.10.3 calls an UNSUBSCRIBE without filters a protocol error. */
static void an_unsubscribe_without_filters_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    UNSUBSCRIBE(c, .id = 1, .filters = FILTERS({NULL, 0}));
    expect_disconnect(c, RC_PROTOCOL_ERROR);
}

/* One client's subscriptions are its own: another's UNSUBSCRIBE and end do not touch them. */
static void subscriptions_of_different_clients_are_independent(void **state)
{
    (void)state;
    struct client *stays = CONNECT();
    struct client *leaves = CONNECT();
    struct client *vanishes = CONNECT();
    subscribe(stays, "indep/t", 0);
    subscribe(leaves, "indep/t", 0);
    subscribe(vanishes, "indep/t", 0);
    unsubscribe(leaves, "indep/t");
    client_drop(vanishes);
    publish(CONNECT(), "indep/t", "x", 0);
    expect_publish(stays, "indep/t", "x");
    expect_nothing(leaves);
}

/* SUBACK and UNSUBACK mean it: thousands of changes later the index is still right. */
static void subscribing_and_leaving_many_times_leaves_no_trace(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    for (int i = 0; i < 1000; i++) {
        SUBSCRIBE(c, .id = 1,
                  .filters = FILTERS({"churn/a/b", 0}, {"churn/+/b", 0}, {"churn/#", 0}));
        UNSUBSCRIBE(c, .id = 2,
                    .filters = FILTERS({"churn/+/b", 0}, {"churn/#", 0}, {"churn/a/b", 0}));
    }
    for (int i = 0; i < 1000; i++) {
        EXPECT_SUBACK(c, 1, 0, 0, 0);
        EXPECT_UNSUBACK(c, 2, 0, 0, 0);
    }
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "churn/a/b", .payload = "x", .qos = 1, .id = 1);
    expect_ack(pub, PKT_PUBACK, 1, RC_NO_MATCHING_SUBSCRIBERS);
    expect_nothing(c);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(each_requested_qos_is_granted),
        TEST(many_filters_get_one_suback_with_a_reason_for_each_in_order),
        TEST(invalid_filters_are_refused_one_by_one),
        TEST(a_subscribe_without_filters_is_a_protocol_error),
        TEST(reserved_subscription_option_bits_are_malformed),
        TEST(subscription_option_values_out_of_range_are_errors),
        TEST(no_local_on_a_shared_subscription_is_a_protocol_error),
        TEST(a_packet_id_of_0_is_an_error),
        TEST(a_subscription_over_the_quota_is_refused),
        TEST(a_3_1_1_subscription_over_the_quota_is_refused),
        TEST(topics_with_too_many_levels_are_refused),
        TEST(two_hundred_levels_are_fine_and_thousands_are_not),
        TEST(no_local_keeps_own_messages_away),
        TEST(no_local_on_one_subscription_does_not_silence_another),
        TEST(no_local_still_holds_after_a_reconnect),
        TEST(retain_as_published_decides_about_the_retain_flag),
        TEST(unsubscribing_ends_delivery),
        TEST(unsuback_tells_for_each_filter_whether_it_was_there),
        TEST(unsubscribing_compares_filters_literally),
        TEST(what_is_in_flight_is_completed_after_an_unsubscribe),
        TEST(an_unsubscribe_without_filters_is_a_protocol_error),
        TEST(subscriptions_of_different_clients_are_independent),
        TEST(subscribing_and_leaving_many_times_leaves_no_trace),
    };
    return RUN_SUITE("subscribe", tests, NULL);
}
