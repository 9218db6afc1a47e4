/* Shared subscriptions: who gets a message, and what becomes of it when that one is gone. */
#include "tests/integration/suite.h"

#include <stdio.h>

/* Counts and acknowledges what `c` has received, until it is silent. */
static int count_received(struct client *c)
{
    int count = 0;
    for (const struct packet *packet; (packet = client_receive(c, QUIET_MS)) != NULL;) {
        assert_int_equal(packet->type, PKT_PUBLISH);
        acknowledge(c, packet);
        count++;
    }
    return count;
}

static struct client *member(const char *filter, unsigned qos)
{
    struct client *c = CONNECT();
    subscribe(c, filter, qos);
    return c;
}

/* A member whose session stays. */
static struct client *lasting_member(const char *id, const char *filter, unsigned qos)
{
    struct client *c =
        CONNECT(.client_id = id, .resume = true, .props = PROPS(prop_session_expiry(60)));
    subscribe(c, filter, qos);
    return c;
}

/* 4.8.2: each message goes to one member; over time all get their share. */
static void each_message_goes_to_one_member_in_turn(void **state)
{
    (void)state;
    enum { MEMBERS = 3, COUNT = 90 };
    struct client *members[MEMBERS];
    for (int i = 0; i < MEMBERS; i++) {
        members[i] = member("$share/turn/turn/t", 1);
    }
    struct client *pub = CONNECT();
    for (int i = 0; i < COUNT; i++) {
        publish(pub, "turn/t", "x", 1);
    }
    int total = 0;
    for (int i = 0; i < MEMBERS; i++) {
        int count = count_received(members[i]);
        assert_in_range(count, COUNT / MEMBERS - 2, COUNT / MEMBERS + 2);
        total += count;
    }
    assert_int_equal(total, COUNT);
}

/* 4.8.2: a wildcard filter is shared like any other. */
static void a_shared_filter_may_have_wildcards(void **state)
{
    (void)state;
    struct client *a = member("$share/wild/wild/+/#", 0);
    struct client *b = member("$share/wild/wild/+/#", 0);
    struct client *pub = CONNECT();
    for (int i = 0; i < 10; i++) {
        publish(pub, "wild/x/y/z", "x", 1);
    }
    assert_int_equal(count_received(a) + count_received(b), 10);
}

/* 4.8.2: share name and filter together make the group; each group gets its own copy. */
static void every_group_gets_a_copy(void **state)
{
    (void)state;
    struct client *a = member("$share/one/groups/t", 0);
    struct client *b = member("$share/two/groups/t", 0);
    struct client *c = member("$share/one/groups/+", 0);
    publish(CONNECT(), "groups/t", "x", 1);
    expect_publish(a, "groups/t", "x");
    expect_publish(b, "groups/t", "x");
    expect_publish(c, "groups/t", "x");
}

/* 4.8.2: ordinary subscribers are not part of the sharing. */
static void ordinary_subscribers_get_everything_beside_a_group(void **state)
{
    (void)state;
    struct client *plain = member("beside/t", 0);
    struct client *shared = member("$share/g/beside/t", 0);
    struct client *pub = CONNECT();
    for (int i = 0; i < 5; i++) {
        publish(pub, "beside/t", "x", 1);
    }
    assert_int_equal(count_received(plain), 5);
    assert_int_equal(count_received(shared), 5);
}

/* 4.8.2: one session may subscribe to the same topic shared and not; it gets it for both. */
static void a_client_may_be_member_and_ordinary_subscriber(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe_with(c, "both/t", 0, PROPS(prop_subscription_id(1)));
    subscribe_with(c, "$share/g/both/t", 0, PROPS(prop_subscription_id(2)));
    publish(CONNECT(), "both/t", "x", 1);
    unsigned seen = 0;
    for (const struct packet *packet; (packet = client_receive(c, QUIET_MS)) != NULL;) {
        for (size_t i = 0; i < packet->prop_count; i++) {
            seen |= packet->props[i].id == PROP_SUBSCRIPTION_ID ? packet->props[i].number : 0;
        }
    }
    assert_int_equal(seen, 3); /* in one copy or in two, 3.3.4 allows both */
}

/* [MQTT-4.8.2-3], [MQTT-3.8.4-8]: each member's own granted QoS counts. */
static void a_member_gets_at_most_its_granted_qos(void **state)
{
    (void)state;
    struct client *c = member("$share/g/sqos/t", 1);
    struct client *pub = CONNECT();
    publish(pub, "sqos/t", "x", 2);
    const struct packet *packet = expect_publish(c, "sqos/t", "x");
    assert_int_equal(packet->qos, 1);
    acknowledge(c, packet);
    publish(pub, "sqos/t", "x", 0);
    assert_int_equal(expect_publish(c, "sqos/t", "x")->qos, 0);
}

/* [MQTT-3.3.4-3] holds for shared subscriptions too. */
static void a_shared_subscription_has_its_identifier(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    subscribe_with(c, "$share/g/sident/t", 0, PROPS(prop_subscription_id(12)));
    publish(CONNECT(), "sident/t", "x", 1);
    assert_prop_number(expect_publish(c, "sident/t", "x"), PROP_SUBSCRIPTION_ID, 12);
}

/* [MQTT-3.10.4-1], [MQTT-3.10.4-2]: the whole $share/name/filter is what is unsubscribed. */
static void a_member_that_unsubscribes_gets_nothing_more(void **state)
{
    (void)state;
    struct client *stays = member("$share/g/sleave/t", 0);
    struct client *leaves = member("$share/g/sleave/t", 0);
    UNSUBSCRIBE(leaves, .id = 9,
                .filters =
                    FILTERS({"sleave/t", 0}, {"$share/h/sleave/t", 0}, {"$share/g/sleave/t", 0}));
    EXPECT_UNSUBACK(leaves, 9, RC_NO_SUBSCRIPTION_EXISTED, RC_NO_SUBSCRIPTION_EXISTED, RC_SUCCESS);
    struct client *pub = CONNECT();
    for (int i = 0; i < 6; i++) {
        publish(pub, "sleave/t", "x", 1);
    }
    assert_int_equal(count_received(stays), 6);
    expect_nothing(leaves);
}

/* 4.8.2: the last member to leave takes the group along. */
static void a_group_without_members_matches_nobody(void **state)
{
    (void)state;
    struct client *c = member("$share/g/sempty/t", 1);
    unsubscribe(c, "$share/g/sempty/t");
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "sempty/t", .payload = "x", .qos = 1, .id = 1);
    expect_ack(pub, PKT_PUBACK, 1, RC_NO_MATCHING_SUBSCRIBERS);
}

/* [MQTT-4.7.2-1]: the filter behind the share name follows the rule about $ topics. */
static void a_shared_leading_wildcard_does_not_match_dollar_topics(void **state)
{
    (void)state;
    struct client *c = member("$share/g/#", 0);
    struct client *pub = CONNECT();
    publish(pub, "$own/t", "x", 1);
    publish(pub, "sdollar/t", "y", 1);
    expect_publish(c, "sdollar/t", "y");
    expect_nothing(c);
    unsubscribe(c, "$share/g/#");
}

/* Connected members come first: who is away is not chosen while somebody is there. */
static void connected_members_are_chosen_before_absent_ones(void **state)
{
    (void)state;
    client_disconnect(lasting_member("sabsent", "$share/g/sfirst/t", 1));
    struct client *here = member("$share/g/sfirst/t", 1);
    struct client *pub = CONNECT();
    for (int i = 0; i < 10; i++) {
        publish(pub, "sfirst/t", "x", 1);
    }
    assert_int_equal(count_received(here), 10);
    struct client *back = CONNECT(.client_id = "sabsent", .resume = true);
    expect_nothing(back);
}

/* [MQTT-4.5.0-1]: with nobody connected a member's session keeps the message. */
static void with_nobody_connected_an_absent_member_keeps_the_messages(void **state)
{
    (void)state;
    client_disconnect(lasting_member("skeep1", "$share/g/skeep/t", 1));
    client_disconnect(lasting_member("skeep2", "$share/g/skeep/t", 1));
    struct client *pub = CONNECT();
    for (int i = 0; i < 8; i++) {
        PUBLISH(pub, .topic = "skeep/t", .payload = "x", .qos = 1, .id = (uint16_t)(i + 1));
        expect_ack(pub, PKT_PUBACK, (unsigned)i + 1, RC_SUCCESS);
    }
    struct client *a =
        CONNECT(.client_id = "skeep1", .resume = true, .props = PROPS(prop_session_expiry(60)));
    struct client *b =
        CONNECT(.client_id = "skeep2", .resume = true, .props = PROPS(prop_session_expiry(60)));
    assert_int_equal(count_received(a) + count_received(b), 8);
}

/* 4.8.2: what a member that vanished had not acknowledged goes to another, at QoS 1. */
static void unacknowledged_qos_1_messages_of_a_vanished_member_go_to_another(void **state)
{
    (void)state;
    struct client *leaves = member("$share/g/svanish/t", 1);
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "svanish/t", text, 1);
        expect_publish(leaves, "svanish/t", text);
    }
    struct client *stays = member("$share/g/svanish/t", 1);
    client_drop(leaves);
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "%d", i);
        const struct packet *packet = expect_publish(stays, "svanish/t", text);
        assert_false(packet->dup); /* [MQTT-3.3.1-3]: new to this one */
        acknowledge(stays, packet);
    }
    expect_nothing(stays);
}

/* The same when the member's session stays: a connected one does not wait for it. */
static void a_lasting_members_qos_1_messages_go_to_another_when_it_vanishes(void **state)
{
    (void)state;
    struct client *leaves = lasting_member("sgone", "$share/g/sgone/t", 1);
    struct client *pub = CONNECT();
    publish(pub, "sgone/t", "x", 1);
    expect_publish(leaves, "sgone/t", "x");
    struct client *stays = member("$share/g/sgone/t", 1);
    client_drop(leaves);
    expect_publish_and_ack(stays, "sgone/t", "x");
    leaves = CONNECT(.client_id = "sgone", .resume = true);
    expect_nothing(leaves);
}

/* limits.shared_redispatch: session-end waits for the member as long as its session lasts. */
static void redispatch_can_wait_for_the_end_of_the_session(void **state)
{
    (void)state;
    OWN_BROKER("limits.shared_redispatch: session-end");
    struct client *leaves = CONNECT(.client_id = "end", .props = PROPS(prop_session_expiry(1)));
    subscribe(leaves, "$share/g/send/t", 1);
    publish(CONNECT(), "send/t", "x", 1);
    expect_publish(leaves, "send/t", "x");
    struct client *stays = member("$share/g/send/t", 1);
    long start = clock_ms();
    client_drop(leaves);
    expect_publish_and_ack(stays, "send/t", "x");
    assert_true(clock_ms() - start >= 900);
}

/* Messages that still waited for the vanished member's receive window go to another as well. */
static void waiting_messages_of_a_vanished_member_go_to_another(void **state)
{
    (void)state;
    struct client *leaves = CONNECT(.props = PROPS(prop_receive_maximum(1)));
    subscribe(leaves, "$share/g/swait/t", 1);
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "swait/t", text, 1);
    }
    expect_publish(leaves, "swait/t", "0");
    struct client *stays = member("$share/g/swait/t", 1);
    client_drop(leaves);
    assert_int_equal(count_received(stays), 5);
}

/* [MQTT-4.8.2-4]: a QoS 2 message that was sent stays with its client. */
static void a_qos_2_message_in_flight_waits_for_its_member(void **state)
{
    (void)state;
    struct client *leaves = lasting_member("sq2", "$share/g/sq2/t", 2);
    publish(CONNECT(), "sq2/t", "x", 2);
    uint16_t id = expect_publish(leaves, "sq2/t", "x")->id;
    struct client *stays = member("$share/g/sq2/t", 2);
    client_drop(leaves);
    expect_nothing(stays);
    leaves = CONNECT(.client_id = "sq2", .resume = true, .props = PROPS(prop_session_expiry(60)));
    const struct packet *again = expect_publish(leaves, "sq2/t", "x");
    assert_int_equal(again->id, id);
    assert_true(again->dup);
    acknowledge(leaves, again);
}

/* [MQTT-4.8.2-5]: and when its session ends, nobody else gets it. */
static void a_qos_2_message_in_flight_ends_with_its_members_session(void **state)
{
    (void)state;
    struct client *leaves = member("$share/g/sq2end/t", 2);
    publish(CONNECT(), "sq2end/t", "x", 2);
    expect_publish(leaves, "sq2end/t", "x");
    struct client *stays = member("$share/g/sq2end/t", 2);
    client_drop(leaves);
    expect_nothing(stays);
}

/* [MQTT-4.8.2-6] */
static void a_message_that_a_member_refused_goes_to_nobody_else(void **state)
{
    (void)state;
    struct client *refuses = member("$share/g/srefuse/t", 2);
    struct client *pub = CONNECT();
    publish(pub, "srefuse/t", "one", 1);
    send_ack(refuses, PKT_PUBACK, expect_publish(refuses, "srefuse/t", "one")->id, RC_UNSPECIFIED);
    publish(pub, "srefuse/t", "two", 2);
    send_ack(refuses, PKT_PUBREC, expect_publish(refuses, "srefuse/t", "two")->id, RC_UNSPECIFIED);
    settle(refuses);
    struct client *other = member("$share/g/srefuse/t", 2);
    client_drop(refuses);
    expect_nothing(other);
}

/* A vanished member is not chosen any more; the others share all. */
static void a_vanished_member_is_not_chosen_any_more(void **state)
{
    (void)state;
    struct client *a = member("$share/g/safter/t", 0);
    struct client *b = member("$share/g/safter/t", 0);
    client_drop(a);
    struct client *pub = CONNECT();
    for (int i = 0; i < 10; i++) {
        publish(pub, "safter/t", "x", 1);
    }
    assert_int_equal(count_received(b), 10);
}

/* Members may come and go under load: each acknowledged QoS 1 message is delivered at least once.
 */
static void no_qos_1_message_is_lost_while_members_come_and_go(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct client *stays = member("$share/g/sload/t", 1);
    struct client *pub = CONNECT();
    bool seen[COUNT] = {false};
    struct client *guest = NULL;
    for (int i = 0; i < COUNT; i++) {
        if (i % 20 == 0) {
            guest = member("$share/g/sload/t", 1);
        }
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "sload/t", text, 1);
        if (i % 20 == 10) {
            client_close(guest); /* with whatever it had not acknowledged: all of it */
        }
        if (i % 20 == 19) {
            for (const struct packet *packet; (packet = client_receive(stays, 50)) != NULL;) {
                int number = -1;
                assert_int_equal(sscanf(packet->payload, "%d", &number), 1);
                seen[number] = true;
                acknowledge(stays, packet);
            }
        }
    }
    for (const struct packet *packet; (packet = client_receive(stays, 500)) != NULL;) {
        int number = -1;
        assert_int_equal(sscanf(packet->payload, "%d", &number), 1);
        seen[number] = true;
        acknowledge(stays, packet);
    }
    for (int i = 0; i < COUNT; i++) {
        if (!seen[i]) {
            test_fail("message %d was lost", i);
        }
    }
}

/* limits.max_subscriptions_per_client counts shared ones too; see subscribe_test.c for the rest. */
static void a_shared_subscription_counts_for_the_quota(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_subscriptions_per_client: 1");
    struct client *c = CONNECT();
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"$share/g/a", 0}, {"$share/h/a", 0}));
    EXPECT_SUBACK(c, 1, 0, RC_QUOTA_EXCEEDED);
}

/* 3.1.1 clients may share as well: the filter is all it takes. */
static void a_3_1_1_client_may_be_a_member(void **state)
{
    (void)state;
    struct client *old = CONNECT(.version = MQTT_311);
    subscribe(old, "$share/g/smixed/t", 1);
    struct client *new = member("$share/g/smixed/t", 1);
    struct client *pub = CONNECT();
    for (int i = 0; i < 10; i++) {
        publish(pub, "smixed/t", "x", 1);
    }
    int old_count = count_received(old);
    assert_in_range(old_count, 3, 7);
    assert_int_equal(old_count + count_received(new), 10);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(each_message_goes_to_one_member_in_turn),
        TEST(a_shared_filter_may_have_wildcards),
        TEST(every_group_gets_a_copy),
        TEST(ordinary_subscribers_get_everything_beside_a_group),
        TEST(a_client_may_be_member_and_ordinary_subscriber),
        TEST(a_member_gets_at_most_its_granted_qos),
        TEST(a_shared_subscription_has_its_identifier),
        TEST(a_member_that_unsubscribes_gets_nothing_more),
        TEST(a_group_without_members_matches_nobody),
        TEST(a_shared_leading_wildcard_does_not_match_dollar_topics),
        TEST(connected_members_are_chosen_before_absent_ones),
        TEST(with_nobody_connected_an_absent_member_keeps_the_messages),
        TEST(unacknowledged_qos_1_messages_of_a_vanished_member_go_to_another),
        TEST(a_lasting_members_qos_1_messages_go_to_another_when_it_vanishes),
        TEST(redispatch_can_wait_for_the_end_of_the_session),
        TEST(waiting_messages_of_a_vanished_member_go_to_another),
        TEST(a_qos_2_message_in_flight_waits_for_its_member),
        TEST(a_qos_2_message_in_flight_ends_with_its_members_session),
        TEST(a_message_that_a_member_refused_goes_to_nobody_else),
        TEST(a_vanished_member_is_not_chosen_any_more),
        TEST(no_qos_1_message_is_lost_while_members_come_and_go),
        TEST(a_shared_subscription_counts_for_the_quota),
        TEST(a_3_1_1_client_may_be_a_member),
    };
    return RUN_SUITE("shared", tests, NULL);
}
