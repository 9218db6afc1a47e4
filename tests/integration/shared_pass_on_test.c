/*
 * Messages of shared subscriptions whose member goes away: each message looks for a member of its
 * own group, whatever became of the messages before it.
 */
#include "tests/integration/suite.h"

#include "tests/integration/metrics.h"

/* The only member of group g1, and one of two in g2; it acknowledges nothing. */
static struct client *member_of_two_groups(const char *id, uint32_t expiry)
{
    struct client *c = CONNECT(.client_id = id, .props = PROPS(prop_session_expiry(expiry)));
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"$share/g1/pass/a", 1}, {"$share/g2/pass/b", 1}));
    EXPECT_SUBACK(c, 1, 0x01, 0x01);
    return c;
}

static void publish_to_both(struct client *pub, const char *a, const char *b)
{
    publish(pub, "pass/a", a, 1);
    publish(pub, "pass/b", b, 1);
}

/* limits.shared_redispatch: session-end. */
static void at_the_end_of_a_session_each_group_is_looked_at(void **state)
{
    (void)state;
    OWN_BROKER("limits.shared_redispatch: session-end");
    struct client *leaving = member_of_two_groups("leaving", 0);
    struct client *pub = CONNECT();
    publish_to_both(pub, "A1", "B1");
    publish_to_both(pub, "A2", "B2");
    for (int i = 0; i < 4; i++) {
        expect_packet(leaving, PKT_PUBLISH);
    }
    struct client *staying = CONNECT(.client_id = "staying");
    subscribe(staying, "$share/g2/pass/b", 1);
    client_drop(leaving);
    expect_publish_and_ack(staying, "pass/b", "B1");
    expect_publish_and_ack(staying, "pass/b", "B2");
    expect_nothing(staying);
    metric_expect("mqtt_qos1_inflight_current", 0);
}

/* limits.shared_redispatch: disconnect. What nobody else may have stays with the session. */
static void at_the_end_of_a_connection_each_group_is_looked_at(void **state)
{
    (void)state;
    OWN_BROKER("limits.shared_redispatch: disconnect");
    struct client *leaving = member_of_two_groups("leaving", 60);
    struct client *pub = CONNECT();
    publish_to_both(pub, "A1", "B1");
    publish_to_both(pub, "A2", "B2");
    for (int i = 0; i < 4; i++) {
        expect_packet(leaving, PKT_PUBLISH);
    }
    struct client *staying = CONNECT(.client_id = "staying");
    subscribe(staying, "$share/g2/pass/b", 1);
    client_drop(leaving);
    expect_publish_and_ack(staying, "pass/b", "B1");
    expect_publish_and_ack(staying, "pass/b", "B2");
    expect_nothing(staying);

    leaving = CONNECT(.client_id = "leaving", .resume = true);
    expect_publish_and_ack(leaving, "pass/a", "A1");
    expect_publish_and_ack(leaving, "pass/a", "A2");
    expect_nothing(leaving);
}

/* The same for messages that still waited, behind a window of one. */
static void messages_that_waited_are_passed_on_too(void **state)
{
    (void)state;
    OWN_BROKER("limits.shared_redispatch: session-end");
    struct client *leaving =
        CONNECT(.client_id = "leaving", .props = PROPS(prop_receive_maximum(1)));
    SUBSCRIBE(leaving, .id = 1,
              .filters = FILTERS({"$share/g1/pass/a", 1}, {"$share/g2/pass/b", 1}));
    EXPECT_SUBACK(leaving, 1, 0x01, 0x01);
    struct client *pub = CONNECT();
    publish_to_both(pub, "A1", "B1");
    publish_to_both(pub, "A2", "B2");
    expect_publish(leaving, "pass/a", "A1");
    struct client *staying = CONNECT(.client_id = "staying");
    subscribe(staying, "$share/g2/pass/b", 1);
    client_drop(leaving);
    expect_publish_and_ack(staying, "pass/b", "B1");
    expect_publish_and_ack(staying, "pass/b", "B2");
    expect_nothing(staying);
    metric_expect("mqtt_session_queue_size", 0);
    metric_expect("pulse_session_queue_bytes", 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(at_the_end_of_a_session_each_group_is_looked_at),
        TEST(at_the_end_of_a_connection_each_group_is_looked_at),
        TEST(messages_that_waited_are_passed_on_too),
    };
    return RUN_SUITE("shared_pass_on", tests, NULL);
}
