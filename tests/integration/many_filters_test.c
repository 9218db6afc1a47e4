/* SUBSCRIBE packets with very many filters, with one filter many times, and what is replayed. */
#include "tests/integration/suite.h"

#include "tests/integration/metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum { MANY = 20000, SAME = 30000 };

/* A list as FILTERS() gives it; the texts are the caller's. */
static struct filter *filter_list(size_t count)
{
    struct filter *filters = calloc(count + 1, sizeof(*filters));
    assert_non_null(filters);
    return filters;
}

static void expect_all_reasons(struct client *c, enum packet_type type, size_t count,
                               unsigned reason)
{
    const struct packet *packet = expect_packet(c, type);
    assert_int_equal(packet->id, 1);
    assert_int_equal(packet->reason_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(packet->reasons[i], reason);
    }
}

static void one_packet_may_have_tens_of_thousands_of_filters(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_subscriptions_per_client: 20000");
    static char names[MANY][16];
    struct filter *filters = filter_list(MANY);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "many/%zu", i);
        filters[i].filter = names[i];
    }
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = filters);
    expect_all_reasons(c, PKT_SUBACK, MANY, 0x00);
    metric_expect("mqtt_subscriptions_current", MANY);
    struct client *pub = CONNECT();
    for (size_t i = 0; i < MANY; i += MANY / 10 - 1) {
        publish(pub, names[i], "x", 0);
        expect_publish(c, names[i], "x");
    }
    SUBSCRIBE(c, .id = 1, .filters = filters); /* all of them again: nothing is new */
    expect_all_reasons(c, PKT_SUBACK, MANY, 0x00);
    metric_expect("mqtt_subscriptions_current", MANY);
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"many/more", 0}, {"many/0", 1}));
    EXPECT_SUBACK(c, 1, RC_QUOTA_EXCEEDED, 0x01);
    UNSUBSCRIBE(c, .id = 1, .filters = filters);
    expect_all_reasons(c, PKT_UNSUBACK, MANY, RC_SUCCESS);
    metric_expect("mqtt_subscriptions_current", 0);
    free(filters);
}

/* [MQTT-3.8.4-5]: as if each came in a packet of its own, so that the last one counts. */
static void one_filter_many_times_in_a_packet_is_one_subscription(void **state)
{
    (void)state;
    OWN_BROKER(NULL);
    struct client *pub = CONNECT();
    publish_retained(pub, "same/t", "kept", 1);
    struct filter *filters = filter_list(SAME);
    for (size_t i = 0; i < SAME; i++) {
        filters[i] = (struct filter){"same/t", 0};
    }
    filters[SAME - 1].options = 1;
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = filters, .props = PROPS(prop_subscription_id(7)));
    const struct packet *suback = expect_packet(c, PKT_SUBACK);
    assert_int_equal(suback->reason_count, SAME);
    assert_int_equal(suback->reasons[0], 0x00);
    assert_int_equal(suback->reasons[SAME - 1], 0x01);
    const struct packet *packet = expect_publish(c, "same/t", "kept");
    assert_int_equal(packet->qos, 1);
    assert_true(packet->retain);
    assert_prop_number(packet, PROP_SUBSCRIPTION_ID, 7);
    acknowledge(c, packet);
    expect_nothing(c); /* once */
    metric_expect("mqtt_subscriptions_current", 1);
    publish(pub, "same/t", "live", 1);
    expect_publish_and_ack(c, "same/t", "live");
    expect_nothing(c);
    free(filters);
}

/* The same for a shared subscription, of which other workers hold copies. */
static void one_shared_filter_many_times_in_a_packet_is_one_member(void **state)
{
    (void)state;
    enum { TIMES = 2000 };
    OWN_BROKER(NULL);
    struct filter *filters = filter_list(TIMES);
    for (size_t i = 0; i < TIMES; i++) {
        filters[i] = (struct filter){"$share/g/same/t", 0};
    }
    filters[TIMES - 1].options = 1;
    struct client *c = CONNECT();
    struct client *other = CONNECT();
    subscribe(other, "$share/g/same/t", 1);
    SUBSCRIBE(c, .id = 1, .filters = filters);
    assert_int_equal(expect_packet(c, PKT_SUBACK)->reason_count, TIMES);
    metric_expect("pulse_shared_subscriptions_current", 2);
    client_disconnect(other);
    metric_expect("pulse_shared_subscriptions_current", 1);
    struct client *pub = CONNECT();
    for (int i = 0; i < 5; i++) {
        publish(pub, "same/t", "x", 1);
        assert_int_equal(expect_publish(c, "same/t", "x")->qos, 1);
        acknowledge(c, client_last(c));
    }
    unsubscribe(c, "$share/g/same/t");
    metric_expect("pulse_shared_subscriptions_current", 0);
    free(filters);
}

/*
 * [MQTT-3.3.1-9]: the first one asks for the retained messages. The second one does not, but that
 * does not take back what the first one has asked for.
 */
static void check_replay_outlives(uint8_t second)
{
    struct client *pub = CONNECT();
    publish_retained(pub, "outlive/t", "kept", 1); /* done with before the next SUBSCRIBE */
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"outlive/t", 0}, {"outlive/t", second}));
    EXPECT_SUBACK(c, 1, 0x00, 0x00);
    expect_publish(c, "outlive/t", "kept");
    expect_nothing(c);
}

static void a_second_subscription_that_wants_new_ones_only_keeps_the_replay(void **state)
{
    (void)state;
    check_replay_outlives(OPT_RETAIN_IF_NEW);
}

static void a_second_subscription_without_retained_keeps_the_replay(void **state)
{
    (void)state;
    check_replay_outlives(OPT_RETAIN_NEVER);
}

/* [MQTT-3.8.3-3] makes no difference for retained messages. */
static void no_local_keeps_own_retained_messages_away(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "own");
    struct client *pub = CONNECT();
    publish_retained(c, "own/mine", "m", 1);
    publish_retained(pub, "own/other", "o", 1);
    subscribe(c, "own/+", OPT_NO_LOCAL | 1);
    expect_publish_and_ack(c, "own/other", "o");
    expect_nothing(c);
    subscribe(c, "own/+", 1);
    for (int i = 0; i < 2; i++) {
        acknowledge(c, expect_packet(c, PKT_PUBLISH));
    }
    expect_nothing(c);
    subscribe(pub, "own/+", OPT_NO_LOCAL | 1);
    expect_publish_and_ack(pub, "own/mine", "m");
    expect_nothing(pub);
}

/* [MQTT-3.8.3-3] speaks of the client id, not of the session. */
static void no_local_outlives_the_session_that_published(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "again");
    publish_retained(c, "again/mine", "m", 1);
    client_disconnect(c);
    c = CONNECT(.client_id = "again");
    subscribe(c, "again/+", OPT_NO_LOCAL | 1);
    expect_nothing(c);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(one_packet_may_have_tens_of_thousands_of_filters),
        TEST(one_filter_many_times_in_a_packet_is_one_subscription),
        TEST(one_shared_filter_many_times_in_a_packet_is_one_member),
        TEST(a_second_subscription_that_wants_new_ones_only_keeps_the_replay),
        TEST(a_second_subscription_without_retained_keeps_the_replay),
        TEST(no_local_keeps_own_retained_messages_away),
        TEST(no_local_outlives_the_session_that_published),
    };
    return RUN_SUITE("many_filters", tests, NULL);
}
