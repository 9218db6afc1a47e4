/* Which topics a filter matches, and what several subscriptions of one client make of a message. */
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>

struct match_case {
    const char *filter;
    const char *topic;
    bool matches;
};

/* clang-format off */
static const struct match_case match_cases[] = {
    {"a/b/c", "a/b/c", true},
    {"a/b/c", "a/b", false},
    {"a/b", "a/b/c", false},
    {"a/b", "a/B", false},
    {"A/b", "a/b", false},
    {"#", "a", true},
    {"#", "a/b/c/d", true},
    {"#", "/", true},
    {"#", "/a", true},
    {"a/#", "a", true},
    {"a/#", "a/", true},
    {"a/#", "a/b", true},
    {"a/#", "a/b/c", true},
    {"a/#", "ab", false},
    {"a/#", "b/a", false},
    {"/#", "/", true},
    {"/#", "/a", true},
    {"/#", "a", false},
    {"+", "a", true},
    {"+", "/", false},
    {"+", "/a", false},
    {"+", "a/b", false},
    {"+/+", "/a", true},
    {"/+", "/a", true},
    {"/+", "a", false},
    {"+/", "a/", true},
    {"a/+", "a/b", true},
    {"a/+", "a/", true},
    {"a/+", "a", false},
    {"a/+", "a/b/c", false},
    {"a/+/c", "a/b/c", true},
    {"a/+/c", "a//c", true},
    {"a/+/c", "a/b/d", false},
    {"+/b/#", "a/b", true},
    {"+/b/#", "a/b/c/d", true},
    {"+/b/#", "a/c", false},
    {"a/+/+/#", "a/b/c", true},
    {"a/+/+/#", "a/b", false},
    {"a//b", "a//b", true},
    {"a//b", "a/b", false},
    {"a/", "a", false},
    {"a", "a/", false},
    {" a", "a", false},
    {"a b", "a b", true},
    {"#", "$x/a", false},
    {"+/a", "$x/a", false},
    {"+/#", "$x/a", false},
    {"$x/#", "$x/a", true},
    {"$x/+", "$x/a", true},
    {"$x/a", "$x/a", true},
    {"a/#", "a/$x", true},
    {"a/+", "a/$x", true},
    {"\xc3\xa9", "\xc3\xa9", true},                 /* e acute */
    {"\xc3\xa9", "e\xcc\x81", false},               /* the same, decomposed */
    {"+", "\xe4\xb8\xad\xe6\x96\x87", true},        /* two Chinese characters */
    {"\xf0\x9f\x9a\x80/+", "\xf0\x9f\x9a\x80/x", true}, /* four bytes */
    {"\xef\xbb\xbf" "a", "\xef\xbb\xbf" "a", true}, /* [MQTT-1.5.4-3]: U+FEFF is not skipped */
    {"\xef\xbb\xbf" "a", "a", false},
};
/* clang-format on */

/* [MQTT-3.3.2-3], [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.2-1], [MQTT-4.7.3-4] */
static void filters_match_exactly_the_topics_that_they_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(match_cases) / sizeof(match_cases[0]); i++) {
        const struct match_case *item = &match_cases[i];
        struct client *c = CONNECT();
        SUBSCRIBE(c, .id = 1, .filters = FILTERS({item->filter, 0}, {"end/of/case", 0}));
        EXPECT_SUBACK(c, 1, 0, 0);
        PUBLISH(c, .topic = item->topic, .payload = "case");
        PUBLISH(c, .topic = "end/of/case", .payload = "end");
        const struct packet *packet = expect_packet(c, PKT_PUBLISH);
        bool matched = strcmp(packet->payload, "case") == 0;
        if (matched != item->matches) {
            test_fail("filter \"%s\" and topic \"%s\": matched %d", item->filter, item->topic,
                      matched);
        }
        client_close(c);
    }
}

/* [MQTT-3.3.2-3]: many filters at once on one session, each finds its own. */
static void thousands_of_filters_are_told_apart(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_subscriptions_per_client: 5000");
    enum { COUNT = 3000 };
    struct client *c = CONNECT();
    struct buffer all = {0};
    char filter[64];
    for (int i = 0; i < COUNT; i++) {
        snprintf(filter, sizeof(filter), i % 3 == 0 ? "plant/%d/+" : "plant/%d/temp", i);
        put_subscribe(
            &all, MQTT_50,
            &(struct subscribe_packet){.id = (uint16_t)(i + 1), .filters = FILTERS({filter, 0})});
    }
    send_buffer(c, &all);
    buffer_fini(&all);
    for (int i = 0; i < COUNT; i++) {
        EXPECT_SUBACK(c, (unsigned)i + 1, 0);
    }
    for (int i = 0; i < COUNT; i += 371) {
        snprintf(filter, sizeof(filter), "plant/%d/temp", i);
        PUBLISH(c, .topic = filter, .payload = "x");
        expect_publish(c, filter, "x");
    }
    PUBLISH(c, .topic = "plant/3000/temp", .payload = "x");
    settle(c);
    expect_nothing(c);
}

/* ---- one subscription, several subscriptions ---- */

/* [MQTT-3.8.4-3], [MQTT-3.8.4-8]: the same filter again replaces the old subscription. */
static void subscribing_again_replaces_the_subscription(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    struct client *pub = CONNECT();
    subscribe(c, "again/t", 2);
    subscribe(c, "again/t", 0);
    publish(pub, "again/t", "x", 2);
    assert_int_equal(expect_publish(c, "again/t", "x")->qos, 0);
    expect_nothing(c);
}

/* [MQTT-3.8.4-4]: while it is replaced again and again, no message is lost. */
static void replacing_a_subscription_loses_no_message(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct client *c = CONNECT(.props = PROPS(prop_receive_maximum(1000)));
    subscribe(c, "replace/t", 1);
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < COUNT; i++) {
        SUBSCRIBE(c, .id = (uint16_t)(i + 1), .filters = FILTERS({"replace/t", 1}));
        snprintf(text, sizeof(text), "%d", i);
        PUBLISH(pub, .topic = "replace/t", .payload = text, .qos = 1, .id = (uint16_t)(i + 1));
    }
    int next = 0;
    for (int i = 0; i < 2 * COUNT; i++) {
        const struct packet *packet = client_receive(c, WAIT_MS);
        assert_non_null(packet);
        if (packet->type == PKT_PUBLISH) {
            assert_int_equal(atoi(packet->payload), next++);
        }
    }
    assert_int_equal(next, COUNT);
}

/* [MQTT-3.3.4-2], [MQTT-3.3.4-4]: one copy, the highest QoS, all identifiers. */
static void overlapping_subscriptions_give_one_copy_with_the_highest_qos(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe_with(c, "over/#", 0, PROPS(prop_subscription_id(1)));
    subscribe_with(c, "over/+", 2, PROPS(prop_subscription_id(2)));
    subscribe_with(c, "over/t", 1, PROPS(prop_subscription_id(268435455)));
    subscribe(c, "+/t", 1);
    publish(CONNECT(), "over/t", "x", 2);
    const struct packet *packet = expect_publish(c, "over/t", "x");
    assert_int_equal(packet->qos, 2);
    assert_int_equal(packet_prop_count(packet, PROP_SUBSCRIPTION_ID), 3);
    unsigned seen = 0;
    for (size_t i = 0; i < packet->prop_count; i++) {
        if (packet->props[i].id == PROP_SUBSCRIPTION_ID) {
            uint32_t id = packet->props[i].number;
            seen |= id == 1 ? 1u : id == 2 ? 2u : id == 268435455 ? 4u : 8u;
        }
    }
    assert_int_equal(seen, 7);
    acknowledge(c, packet);
    expect_nothing(c);
}

/* [MQTT-3.3.4-3]: the identifier comes with every message of its subscription, and only there. */
static void a_subscription_identifier_comes_with_its_messages(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe_with(c, "ident/a", 0, PROPS(prop_subscription_id(300)));
    subscribe(c, "ident/b", 0);
    struct client *pub = CONNECT();
    publish(pub, "ident/a", "x", 0);
    assert_prop_number(expect_publish(c, "ident/a", "x"), PROP_SUBSCRIPTION_ID, 300);
    publish(pub, "ident/b", "x", 0);
    assert_no_prop(expect_publish(c, "ident/b", "x"), PROP_SUBSCRIPTION_ID);
}

/* [MQTT-3.8.4-3]: replacing replaces the identifier too, also by none. */
static void subscribing_again_replaces_the_identifier(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    struct client *pub = CONNECT();
    subscribe_with(c, "reident/t", 0, PROPS(prop_subscription_id(1)));
    subscribe_with(c, "reident/t", 0, PROPS(prop_subscription_id(2)));
    publish(pub, "reident/t", "x", 0);
    const struct packet *packet = expect_publish(c, "reident/t", "x");
    assert_prop_number(packet, PROP_SUBSCRIPTION_ID, 2);
    assert_int_equal(packet_prop_count(packet, PROP_SUBSCRIPTION_ID), 1);
    subscribe(c, "reident/t", 0);
    publish(pub, "reident/t", "y", 0);
    assert_no_prop(expect_publish(c, "reident/t", "y"), PROP_SUBSCRIPTION_ID);
}

/* 3.8.2.1.2: one identifier serves all filters of its SUBSCRIBE. */
static void an_identifier_belongs_to_all_filters_of_its_subscribe(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"idall/a", 0}, {"idall/b", 0}),
              .props = PROPS(prop_subscription_id(77)));
    EXPECT_SUBACK(c, 1, 0, 0);
    struct client *pub = CONNECT();
    publish(pub, "idall/a", "x", 0);
    assert_prop_number(expect_publish(c, "idall/a", "x"), PROP_SUBSCRIPTION_ID, 77);
    publish(pub, "idall/b", "x", 0);
    assert_prop_number(expect_publish(c, "idall/b", "x"), PROP_SUBSCRIPTION_ID, 77);
}

/* 3.8.2.1.2: an identifier of 0, or two of them, is a protocol error. */
static void bad_subscription_identifiers_are_protocol_errors(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"t", 0}), .props = PROPS(prop_subscription_id(0)));
    expect_disconnect(c, RC_PROTOCOL_ERROR);
    c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"t", 0}),
              .props = PROPS(prop_subscription_id(1), prop_subscription_id(2)));
    expect_disconnect(c, RC_PROTOCOL_ERROR);
}

/* An identifier survives with its session. */
static void an_identifier_is_kept_with_the_session(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "keepid", .props = PROPS(prop_session_expiry(60)));
    subscribe_with(c, "keepid/t", 1, PROPS(prop_subscription_id(5)));
    client_disconnect(c);
    publish(CONNECT(), "keepid/t", "x", 1);
    c = CONNECT(.client_id = "keepid", .resume = true);
    assert_prop_number(expect_publish(c, "keepid/t", "x"), PROP_SUBSCRIPTION_ID, 5);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(filters_match_exactly_the_topics_that_they_should),
        TEST(thousands_of_filters_are_told_apart),
        TEST(subscribing_again_replaces_the_subscription),
        TEST(replacing_a_subscription_loses_no_message),
        TEST(overlapping_subscriptions_give_one_copy_with_the_highest_qos),
        TEST(a_subscription_identifier_comes_with_its_messages),
        TEST(subscribing_again_replaces_the_identifier),
        TEST(an_identifier_belongs_to_all_filters_of_its_subscribe),
        TEST(bad_subscription_identifiers_are_protocol_errors),
        TEST(an_identifier_is_kept_with_the_session),
    };
    return RUN_SUITE("matching", tests, NULL);
}
