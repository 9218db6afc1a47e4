/* Topic aliases: what they may cost, and which of them count as told. */
#include "tests/integration/suite.h"

enum { TOPIC_LEN = 65000, PACKET_MAX = 100 };

static char long_topic[TOPIC_LEN + 1];

static void send_alias(struct client *c, char letter, unsigned alias)
{
    memset(long_topic, letter, TOPIC_LEN);
    PUBLISH(c, .topic = long_topic, .payload = "x", .props = PROPS(prop_topic_alias(alias)));
}

/* 1024 aliases are allowed, but not 1024 times 64 KiB of memory for one connection. */
static void topics_behind_aliases_are_bounded_in_bytes(void **state)
{
    (void)state;
    OWN_BROKER("limits.topic_bytes_max: 65535");
    struct client *c = CONNECT();
    for (unsigned alias = 1; alias <= 4; alias++) {
        send_alias(c, 'a', alias);
    }
    settle(c);
    for (unsigned alias = 5; alias <= 100; alias++) {
        send_alias(c, 'a', alias);
    }
    expect_disconnect(c, RC_QUOTA_EXCEEDED);
}

/* [MQTT-3.3.2-12] allows to set an alias anew; the topic that it had is forgotten, and its bytes.
 */
static void an_alias_may_be_set_anew_for_ever(void **state)
{
    (void)state;
    OWN_BROKER("limits.topic_bytes_max: 65535");
    struct client *sub = CONNECT();
    subscribe(sub, "+", 0);
    struct client *c = CONNECT();
    for (int i = 0; i < 100; i++) {
        send_alias(c, (char)('a' + i % 26), (unsigned)i % 4 + 1);
        expect_publish(sub, long_topic, "x");
    }
    PUBLISH(c, .topic = "", .payload = "again", .props = PROPS(prop_topic_alias(4)));
    expect_publish(sub, long_topic, "again");
}

static struct client *small_client_with_aliases(const char *filter, unsigned qos)
{
    struct client *c =
        CONNECT(.props = PROPS(prop_topic_alias_maximum(5), prop_maximum_packet_size(PACKET_MAX)));
    subscribe(c, filter, qos);
    return c;
}

/*
 * An alias is set with the second message of a topic. When that one is too large for the client and
 * so is left out, the third must bring the topic.
 */
static void check_alias_of_a_message_left_out(const char *topic, uint8_t qos)
{
    char large[2 * PACKET_MAX + 1] = {0};
    memset(large, 'x', sizeof(large) - 1);
    struct client *sub = small_client_with_aliases(topic, qos);
    struct client *pub = CONNECT();
    publish(pub, topic, "one", qos);
    publish(pub, topic, large, qos);
    publish(pub, topic, "three", qos);
    publish(pub, topic, "four", qos);
    expect_publish_and_ack(sub, topic, "one");
    expect_publish_and_ack(sub, topic, "three");
    expect_publish_and_ack(sub, topic,
                           "four"); /* client.h looks the alias up, and fails if unknown */
    assert_non_null(packet_prop(client_last(sub), PROP_TOPIC_ALIAS));
    expect_nothing(sub);
}

static void an_alias_in_a_qos_0_message_left_out_is_not_used(void **state)
{
    (void)state;
    check_alias_of_a_message_left_out("left-out/0", 0);
}

static void an_alias_in_a_qos_1_message_left_out_is_not_used(void **state)
{
    (void)state;
    check_alias_of_a_message_left_out("left-out/1", 1);
}

/* With its alias the packet would be over the limit, without it is not: it is sent without. */
static void a_message_that_fits_only_without_an_alias_is_sent(void **state)
{
    (void)state;
    static const char topic[] = "fits/t";
    struct client *sub = small_client_with_aliases(topic, 0);
    struct client *pub = CONNECT();
    char payload[PACKET_MAX + 1] = {0};
    /* two bytes fixed header, two length of the topic, one length of the properties */
    memset(payload, 'x', PACKET_MAX - 5 - strlen(topic));
    for (int i = 0; i < 3; i++) {
        publish(pub, topic, payload, 0);
        assert_int_equal(expect_publish(sub, topic, payload)->wire_len, PACKET_MAX);
        assert_no_prop(client_last(sub), PROP_TOPIC_ALIAS);
    }
    publish(pub, topic, "small", 0);
    publish(pub, topic, "small", 0);
    expect_publish(sub, topic, "small");
    expect_publish(sub, topic, "small");
    expect_nothing(sub);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(topics_behind_aliases_are_bounded_in_bytes),
        TEST(an_alias_may_be_set_anew_for_ever),
        TEST(an_alias_in_a_qos_0_message_left_out_is_not_used),
        TEST(an_alias_in_a_qos_1_message_left_out_is_not_used),
        TEST(a_message_that_fits_only_without_an_alias_is_sent),
    };
    return RUN_SUITE("alias_bounds", tests, NULL);
}
