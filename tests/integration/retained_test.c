/* Retained messages: kept, replaced, cleared, expired, limited; and when they are sent. */
#include "tests/integration/suite.h"

#include <stdio.h>

/* Publishes a retained message and waits until the broker has it. */
static void retain(const char *topic, const char *payload, uint8_t qos)
{
    struct client *c = CONNECT();
    publish_retained(c, topic, payload, qos);
    client_disconnect(c);
}

/* Subscribes with these options and expects one retained message. */
static const struct packet *expect_retained(const char *filter, unsigned options, const char *topic,
                                            const char *payload)
{
    struct client *c = CONNECT();
    subscribe(c, filter, options);
    const struct packet *packet = expect_publish(c, topic, payload);
    assert_true(packet->retain);
    return packet;
}

static void expect_none_retained(const char *filter)
{
    struct client *c = CONNECT();
    subscribe(c, filter, 0);
    expect_nothing(c);
}

/* [MQTT-3.3.1-5], [MQTT-3.3.1-9] */
static void a_retained_message_is_sent_to_later_subscribers(void **state)
{
    (void)state;
    retain("kept/t", "x", 1);
    expect_retained("kept/t", 1, "kept/t", "x");
    expect_retained("kept/+", 1, "kept/t", "x");
    expect_retained("kept/#", 1, "kept/t", "x");
}

/* [MQTT-3.3.1-5]: also at QoS 0. */
static void a_qos_0_retained_message_is_kept(void **state)
{
    (void)state;
    retain("kept0/t", "x", 0);
    expect_retained("kept0/t", 2, "kept0/t", "x");
}

/* [MQTT-3.3.1-5]: the newest one replaces the one before. */
static void the_newest_retained_message_replaces_the_older(void **state)
{
    (void)state;
    retain("newest/t", "old", 1);
    retain("newest/t", "new", 0);
    struct client *c = CONNECT();
    subscribe(c, "newest/t", 0);
    expect_publish(c, "newest/t", "new");
    expect_nothing(c);
}

/* [MQTT-3.3.1-6], [MQTT-3.3.1-7]: an empty one clears, and is passed on like any other. */
static void an_empty_retained_message_clears_and_is_delivered(void **state)
{
    (void)state;
    retain("clear/t", "x", 1);
    struct client *watcher = CONNECT();
    subscribe(watcher, "clear/t", OPT_RETAIN_AS_PUBLISHED);
    assert_true(expect_publish(watcher, "clear/t", "x")->retain);
    retain("clear/t", "", 1);
    expect_publish(watcher, "clear/t", "");
    expect_none_retained("clear/t");
}

/* [MQTT-3.3.1-8] */
static void a_plain_message_leaves_the_retained_one_alone(void **state)
{
    (void)state;
    retain("alone/t", "kept", 1);
    struct client *pub = CONNECT();
    publish(pub, "alone/t", "passing", 1);
    publish(pub, "alone/t", "", 1);
    expect_retained("alone/t", 0, "alone/t", "kept");
}

/* [MQTT-3.3.1-8]: and is not kept where nothing was. */
static void a_plain_message_is_not_kept(void **state)
{
    (void)state;
    publish(CONNECT(), "plain/t", "x", 2);
    expect_none_retained("plain/t");
}

/* [MQTT-3.8.4-8]: the replay respects the granted QoS. */
static void a_replay_comes_at_the_lower_of_both_qos(void **state)
{
    (void)state;
    retain("minqos/t", "x", 2);
    for (uint8_t qos = 0; qos <= 2; qos++) {
        assert_int_equal(expect_retained("minqos/t", qos, "minqos/t", "x")->qos, qos);
    }
    retain("minqos/1", "x", 1);
    assert_int_equal(expect_retained("minqos/1", 2, "minqos/1", "x")->qos, 1);
}

/* 3.3.1.3: what comes because of a new subscription says RETAIN, whatever Retain As Published says.
 */
static void a_replay_always_has_the_retain_flag(void **state)
{
    (void)state;
    retain("flag/t", "x", 0);
    expect_retained("flag/t", 0, "flag/t", "x");
    expect_retained("flag/t", OPT_RETAIN_AS_PUBLISHED, "flag/t", "x");
}

/* [MQTT-3.3.1-9], [MQTT-3.8.4-4]: retain handling 0 replays for each SUBSCRIBE. */
static void retain_handling_0_replays_for_every_subscribe(void **state)
{
    (void)state;
    retain("rh0/t", "x", 0);
    struct client *c = CONNECT();
    for (int i = 0; i < 3; i++) {
        subscribe(c, "rh0/t", 0);
        assert_true(expect_publish(c, "rh0/t", "x")->retain);
    }
}

/* [MQTT-3.3.1-10] */
static void retain_handling_1_replays_only_for_a_new_subscription(void **state)
{
    (void)state;
    retain("rh1/t", "x", 0);
    struct client *c = CONNECT();
    subscribe(c, "rh1/t", OPT_RETAIN_IF_NEW);
    assert_true(expect_publish(c, "rh1/t", "x")->retain);
    subscribe(c, "rh1/t", OPT_RETAIN_IF_NEW | 1);
    expect_nothing(c);
    unsubscribe(c, "rh1/t");
    subscribe(c, "rh1/t", OPT_RETAIN_IF_NEW);
    expect_publish(c, "rh1/t", "x");
}

/* [MQTT-3.3.1-10]: a subscription that a resumed session brought along is not new. */
static void retain_handling_1_knows_the_subscriptions_of_a_resumed_session(void **state)
{
    (void)state;
    retain("rh1s/t", "x", 0);
    struct client *c = CONNECT(.client_id = "rh1s", .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "rh1s/t", OPT_RETAIN_NEVER);
    client_disconnect(c);
    c = CONNECT(.client_id = "rh1s", .resume = true, .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "rh1s/t", OPT_RETAIN_IF_NEW);
    expect_nothing(c);
}

/* [MQTT-3.3.1-11] */
static void retain_handling_2_never_replays(void **state)
{
    (void)state;
    retain("rh2/t", "x", 0);
    struct client *c = CONNECT();
    subscribe(c, "rh2/t", OPT_RETAIN_NEVER);
    expect_nothing(c);
    retain("rh2/t", "live", 0);
    assert_false(expect_publish(c, "rh2/t", "live")->retain);
}

/* 3.8.4: a shared subscription gets no replay. */
static void a_shared_subscription_gets_no_replay(void **state)
{
    (void)state;
    retain("rshare/t", "x", 1);
    struct client *c = CONNECT();
    subscribe(c, "$share/g/rshare/t", 1);
    expect_nothing(c);
    publish(CONNECT(), "rshare/t", "live", 1);
    expect_publish_and_ack(c, "rshare/t", "live");
}

/* [MQTT-3.3.4-3]: the identifier of the subscription comes with the replay. */
static void a_replay_carries_the_subscription_identifier(void **state)
{
    (void)state;
    retain("rident/t", "x", 0);
    struct client *c = CONNECT();
    subscribe_with(c, "rident/#", 0, PROPS(prop_subscription_id(99)));
    assert_prop_number(expect_publish(c, "rident/t", "x"), PROP_SUBSCRIPTION_ID, 99);
}

/* [MQTT-3.3.2-4], -15, -16, -17, -18, -20: all properties are kept with the message. */
static void a_replay_carries_the_properties_of_its_publish(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "rprops/t", .payload = "x", .qos = 1, .retain = true,
                     .props = PROPS(prop_payload_format(1), prop_content_type("text/plain"),
                                    prop_response_topic("r/t"), prop_correlation_data("c"),
                                    prop_user_property("k", "1"), prop_user_property("k", "2")));
    const struct packet *packet = expect_retained("rprops/t", 1, "rprops/t", "x");
    assert_prop_number(packet, PROP_PAYLOAD_FORMAT, 1);
    assert_prop_text(packet, PROP_CONTENT_TYPE, "text/plain");
    assert_prop_text(packet, PROP_RESPONSE_TOPIC, "r/t");
    assert_prop_text(packet, PROP_CORRELATION_DATA, "c");
    assert_int_equal(packet_prop_count(packet, PROP_USER_PROPERTY), 2);
    assert_string_equal(packet_prop(packet, PROP_USER_PROPERTY)->value, "1");
}

/* [MQTT-3.3.2-7]: the publisher's alias means nothing to others and is not kept. */
static void a_retained_message_published_by_alias_is_kept_under_its_topic(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "ralias/t", .payload = "one", .qos = 1, .retain = true,
                     .props = PROPS(prop_topic_alias(3)));
    PUBLISH_AND_WAIT(pub, .topic = NULL, .payload = "two", .qos = 1, .retain = true,
                     .props = PROPS(prop_topic_alias(3)));
    assert_no_prop(expect_retained("ralias/#", 1, "ralias/t", "two"), PROP_TOPIC_ALIAS);
}

/* [MQTT-3.3.2-5]: an expired message is not kept any longer. */
static void an_expired_retained_message_is_not_replayed(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "rexp/t", .payload = "x", .qos = 1, .retain = true,
                     .props = PROPS(prop_message_expiry(1)));
    expect_retained("rexp/t", 0, "rexp/t", "x");
    let_time_pass(2200);
    expect_none_retained("rexp/t");
    expect_none_retained("rexp/#");
}

/* [MQTT-3.3.2-6]: the time that it was kept is taken off. */
static void the_time_kept_is_taken_off_the_message_expiry(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "rleft/t", .payload = "x", .qos = 1, .retain = true,
                     .props = PROPS(prop_message_expiry(100)));
    let_time_pass(1500);
    const struct packet *packet = expect_retained("rleft/t", 0, "rleft/t", "x");
    const struct prop *left = packet_prop(packet, PROP_MESSAGE_EXPIRY);
    assert_non_null(left);
    assert_in_range(left->number, 95, 99);
}

/* [MQTT-3.3.1-9]: with a wildcard all that match come, each once. */
static void a_wildcard_replays_all_that_match(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    struct client *pub = CONNECT();
    char topic[32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(topic, sizeof(topic), "rwild/%d/%s", i, i % 3 == 0 ? "a" : "b");
        PUBLISH(pub, .topic = topic, .payload = "x", .retain = true);
    }
    settle(pub);
    struct client *c = CONNECT();
    subscribe(c, "rwild/+/a", 1);
    bool seen[COUNT] = {false};
    for (int i = 0; i < COUNT / 3; i++) {
        const struct packet *packet = expect_packet(c, PKT_PUBLISH);
        int number = -1;
        assert_int_equal(sscanf(packet->topic, "rwild/%d/a", &number), 1);
        assert_in_range(number, 0, COUNT - 1);
        assert_false(seen[number]);
        seen[number] = true;
    }
    expect_nothing(c);
}

/* Bounded output: a long replay reaches a slow reader whole, and others do not wait for it. */
static void a_long_replay_does_not_hold_others_up(void **state)
{
    (void)state;
    enum { COUNT = 1000, SIZE = 4000 };
    OWN_BROKER("limits.max_retained_messages: 2000");
    struct client *pub = CONNECT();
    static char payload[SIZE];
    memset(payload, 'r', SIZE);
    char topic[32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(topic, sizeof(topic), "rlong/%d", i);
        PUBLISH(pub, .topic = topic, .payload = payload, .payload_len = SIZE, .retain = true);
    }
    settle(pub);
    struct client *slow = CONNECT();
    SUBSCRIBE(slow, .id = 1, .filters = FILTERS({"rlong/#", 0}));
    struct client *other = CONNECT();
    subscribe(other, "rother/t", 0);
    long start = clock_ms();
    publish(pub, "rother/t", "x", 1);
    expect_publish(other, "rother/t", "x");
    assert_true(clock_ms() - start < 2000);
    int count = 0;
    for (const struct packet *packet; count < COUNT;) {
        packet = client_receive(slow, WAIT_MS);
        assert_non_null(packet);
        count += packet->type == PKT_PUBLISH;
    }
    expect_nothing(slow);
}

/* [MQTT-4.9.0-2], [MQTT-3.3.4-9]: a replay waits for the receive window like anything else. */
static void a_replay_respects_receive_maximum(void **state)
{
    (void)state;
    char topic[32];
    for (int i = 0; i < 5; i++) {
        snprintf(topic, sizeof(topic), "rwindow/%d", i);
        retain(topic, "x", 1);
    }
    struct client *c = CONNECT(.props = PROPS(prop_receive_maximum(2)));
    subscribe(c, "rwindow/#", 1);
    uint16_t first = expect_packet(c, PKT_PUBLISH)->id;
    uint16_t second = expect_packet(c, PKT_PUBLISH)->id;
    expect_nothing(c);
    send_ack(c, PKT_PUBACK, first, RC_SUCCESS);
    acknowledge(c, expect_packet(c, PKT_PUBLISH));
    send_ack(c, PKT_PUBACK, second, RC_SUCCESS);
    acknowledge(c, expect_packet(c, PKT_PUBLISH));
    acknowledge(c, expect_packet(c, PKT_PUBLISH));
    expect_nothing(c);
}

/* limits.max_retained_messages: one too many is delivered but not kept; replacing always works. */
static void over_the_limit_a_message_is_delivered_but_not_kept(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_retained_messages: 2");
    struct client *live = CONNECT();
    subscribe(live, "rlimit/#", 0);
    retain("rlimit/1", "x", 0);
    retain("rlimit/2", "x", 0);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "rlimit/3", .payload = "x", .qos = 1, .id = 1, .retain = true);
    expect_packet(pub, PKT_PUBACK); /* the reason is the broker's choice */
    expect_publish(live, "rlimit/1", "x");
    expect_publish(live, "rlimit/2", "x");
    expect_publish(live, "rlimit/3", "x");
    expect_none_retained("rlimit/3");
    retain("rlimit/1", "replaced", 0);
    expect_retained("rlimit/1", 0, "rlimit/1", "replaced");
    retain("rlimit/2", "", 0);
    retain("rlimit/3", "room again", 0);
    expect_retained("rlimit/3", 0, "rlimit/3", "room again");
}

/* limits.max_retained_payload_bytes: the same for bytes. */
static void over_the_payload_limit_a_message_is_delivered_but_not_kept(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_retained_payload_bytes: 1000");
    char payload[801] = {0};
    memset(payload, 'p', 800);
    struct client *live = CONNECT();
    subscribe(live, "rbytes/#", 0);
    retain("rbytes/1", payload, 0);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "rbytes/2", .payload = payload, .qos = 1, .id = 1, .retain = true);
    expect_packet(pub, PKT_PUBACK);
    expect_publish(live, "rbytes/1", payload);
    expect_publish(live, "rbytes/2", payload);
    expect_none_retained("rbytes/2");
    expect_retained("rbytes/1", 0, "rbytes/1", payload);
    retain("rbytes/1", "", 0);
    retain("rbytes/2", payload, 0);
    expect_retained("rbytes/2", 0, "rbytes/2", payload);
}

/* 4.1: retained messages are no part of a session: they outlive their publisher. */
static void a_retained_message_outlives_its_publishers_session(void **state)
{
    (void)state;
    struct client *pub = CONNECT(.client_id = "rgone");
    publish_retained(pub, "rgone/t", "x", 1);
    client_disconnect(pub);
    client_disconnect(CONNECT(.client_id = "rgone"));
    expect_retained("rgone/t", 0, "rgone/t", "x");
}

/* [MQTT-4.7.2-1]: a leading wildcard finds no $ topic, retained ones included. */
static void a_leading_wildcard_replays_no_dollar_topics(void **state)
{
    (void)state;
    OWN_BROKER("observability.sys_interval: 1s");
    retain("$mine/t", "x", 0);
    expect_none_retained("#");
    expect_none_retained("+/t");
    expect_retained("$mine/#", 0, "$mine/t", "x");
}

/* [MQTT-3.3.1-9]: all filters of one SUBSCRIBE replay. */
static void every_filter_of_a_subscribe_replays(void **state)
{
    (void)state;
    retain("rmany/1", "one", 0);
    retain("rmany/2", "two", 0);
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"rmany/1", 0}, {"rmany/none", 0}, {"rmany/2", 0}));
    EXPECT_SUBACK(c, 1, 0, 0, 0);
    expect_publish(c, "rmany/1", "one");
    expect_publish(c, "rmany/2", "two");
    expect_nothing(c);
}

/* Promise 1 of the broker: what PUBACK confirmed, a later subscriber sees. */
static void a_confirmed_retained_message_is_seen_by_the_next_subscriber(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish_retained(pub, "rsoon/t", text, 1);
        struct client *c = CONNECT();
        subscribe(c, "rsoon/t", 0);
        expect_publish(c, "rsoon/t", text);
        client_close(c);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_retained_message_is_sent_to_later_subscribers),
        TEST(a_qos_0_retained_message_is_kept),
        TEST(the_newest_retained_message_replaces_the_older),
        TEST(an_empty_retained_message_clears_and_is_delivered),
        TEST(a_plain_message_leaves_the_retained_one_alone),
        TEST(a_plain_message_is_not_kept),
        TEST(a_replay_comes_at_the_lower_of_both_qos),
        TEST(a_replay_always_has_the_retain_flag),
        TEST(retain_handling_0_replays_for_every_subscribe),
        TEST(retain_handling_1_replays_only_for_a_new_subscription),
        TEST(retain_handling_1_knows_the_subscriptions_of_a_resumed_session),
        TEST(retain_handling_2_never_replays),
        TEST(a_shared_subscription_gets_no_replay),
        TEST(a_replay_carries_the_subscription_identifier),
        TEST(a_replay_carries_the_properties_of_its_publish),
        TEST(a_retained_message_published_by_alias_is_kept_under_its_topic),
        TEST(an_expired_retained_message_is_not_replayed),
        TEST(the_time_kept_is_taken_off_the_message_expiry),
        TEST(a_wildcard_replays_all_that_match),
        TEST(a_long_replay_does_not_hold_others_up),
        TEST(a_replay_respects_receive_maximum),
        TEST(over_the_limit_a_message_is_delivered_but_not_kept),
        TEST(over_the_payload_limit_a_message_is_delivered_but_not_kept),
        TEST(a_retained_message_outlives_its_publishers_session),
        TEST(a_leading_wildcard_replays_no_dollar_topics),
        TEST(every_filter_of_a_subscribe_replays),
        TEST(a_confirmed_retained_message_is_seen_by_the_next_subscriber),
    };
    return RUN_SUITE("retained", tests, NULL);
}
