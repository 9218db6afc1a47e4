/* What is kept of sessions over a restart: subscriptions, queues, their ends. */
#include "tests/integration/restart.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- subscriptions --------------------------------------------------------------------------- */

static void a_session_and_its_subscription_are_there_again(void **state)
{
    leave_session("plain", "plain/topic", 1);
    restart(state);
    struct client *c = connect_again("plain");
    publish_from_elsewhere("plain/topic", "x", 2);
    const struct packet *packet = expect_publish(c, "plain/topic", "x");
    assert_int_equal(packet->qos, 1);
    assert_false(packet->dup);
    acknowledge(c, packet);
    expect_nothing(c);
}

/* As the row before, for protocol 3.1.1, whose sessions have no end. */
static void a_session_of_311_is_there_again(void **state)
{
    struct client *c = CONNECT(.version = MQTT_311, .client_id = "old", .resume = true);
    subscribe(c, "old/topic", 2);
    client_disconnect(c);
    restart(state);
    publish_from_elsewhere("old/topic", "x", 2);
    c = CONNECT(.version = MQTT_311, .client_id = "old", .resume = true);
    assert_true(client_last(c)->session_present);
    expect_publish_and_ack(c, "old/topic", "x");
    client_disconnect(c);
}

static void no_local_is_kept(void **state)
{
    struct client *c = connect_keeping("nolocal");
    subscribe(c, "nolocal/own", 1 | OPT_NO_LOCAL);
    subscribe(c, "nolocal/all", 1);
    restart(state);
    c = connect_again("nolocal");
    PUBLISH(c, .topic = "nolocal/own", .payload = "mine", .qos = 0);
    PUBLISH(c, .topic = "nolocal/all", .payload = "mine", .qos = 0);
    expect_publish(c, "nolocal/all", "mine");
    publish_from_elsewhere("nolocal/own", "other", 1);
    expect_publish_and_ack(c, "nolocal/own", "other");
    expect_nothing(c);
}

static void retain_as_published_is_kept(void **state)
{
    struct client *c = connect_keeping("rap");
    subscribe(c, "rap/as", 1 | OPT_RETAIN_AS_PUBLISHED | OPT_RETAIN_NEVER);
    subscribe(c, "rap/not", 1 | OPT_RETAIN_NEVER);
    restart(state);
    c = connect_again("rap");
    struct client *pub = CONNECT();
    publish_retained(pub, "rap/as", "x", 1);
    publish_retained(pub, "rap/not", "x", 1);
    const struct packet *packet = expect_publish(c, "rap/as", "x");
    assert_true(packet->retain);
    acknowledge(c, packet);
    assert_false(expect_publish(c, "rap/not", "x")->retain);
}

/* Two packets, of which either may come first. A PUBLISH is acknowledged. */
static void expect_either_first(struct client *c, enum packet_type a, enum packet_type b)
{
    for (int seen = 0; seen < 2; seen++) {
        const struct packet *packet = client_receive(c, WAIT_MS);
        assert_non_null(packet);
        assert_true(packet->type == a || packet->type == b);
        a = packet->type == a ? b : a;
        b = a;
        if (packet->type == PKT_PUBLISH) {
            acknowledge(c, packet);
        }
    }
}

/* A subscription that is made again after the restart is not new: retain handling 1 sends nothing.
 */
static void a_kept_subscription_is_not_new(void **state)
{
    struct client *pub = CONNECT();
    publish_retained(pub, "notnew/topic", "retained", 1);
    struct client *c = connect_keeping("notnew");
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"notnew/topic", 1 | OPT_RETAIN_IF_NEW}));
    expect_either_first(c, PKT_SUBACK, PKT_PUBLISH);
    await_stored();
    restart(state);
    c = connect_again("notnew");
    subscribe(c, "notnew/topic", 1 | OPT_RETAIN_IF_NEW);
    expect_nothing(c);
}

static void the_granted_qos_is_kept(void **state)
{
    struct client *c = connect_keeping("granted");
    SUBSCRIBE(c, .id = 1,
              .filters = FILTERS({"granted/0/#", 0}, {"granted/1/+", 1}, {"granted/2/x", 2}));
    EXPECT_SUBACK(c, 1, 0, 1, 2);
    restart(state);
    c = connect_again("granted");
    struct client *pub = CONNECT();
    publish(pub, "granted/0/x", "x", 2);
    assert_int_equal(expect_publish(c, "granted/0/x", "x")->qos, 0);
    publish(pub, "granted/1/x", "x", 2);
    const struct packet *packet = expect_publish(c, "granted/1/x", "x");
    assert_int_equal(packet->qos, 1);
    acknowledge(c, packet);
    publish(pub, "granted/2/x", "x", 2);
    packet = expect_publish(c, "granted/2/x", "x");
    assert_int_equal(packet->qos, 2);
    acknowledge(c, packet);
}

static void a_subscription_keeps_its_last_options(void **state)
{
    struct client *c = connect_keeping("changed");
    subscribe_with(c, "changed/topic", 2, PROPS(prop_subscription_id(1)));
    subscribe_with(c, "changed/topic", 1, PROPS(prop_subscription_id(2)));
    client_disconnect(c);
    restart(state);
    publish_from_elsewhere("changed/topic", "x", 2);
    c = connect_again("changed");
    const struct packet *packet = expect_publish(c, "changed/topic", "x");
    assert_int_equal(packet->qos, 1);
    assert_int_equal(packet_prop_count(packet, PROP_SUBSCRIPTION_ID), 1);
    assert_prop_number(packet, PROP_SUBSCRIPTION_ID, 2);
}

static void what_was_unsubscribed_stays_unsubscribed(void **state)
{
    struct client *c = connect_keeping("unsub");
    subscribe(c, "unsub/a", 1);
    subscribe(c, "unsub/b", 1);
    subscribe(c, "$share/unsub/unsub/c", 1);
    unsubscribe(c, "unsub/a");
    unsubscribe(c, "$share/unsub/unsub/c");
    restart(state);
    c = connect_again("unsub");
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "unsub/a", .payload = "x", .qos = 1, .id = 1);
    expect_ack(pub, PKT_PUBACK, 1, RC_NO_MATCHING_SUBSCRIBERS);
    PUBLISH(pub, .topic = "unsub/c", .payload = "x", .qos = 1, .id = 2);
    expect_ack(pub, PKT_PUBACK, 2, RC_NO_MATCHING_SUBSCRIBERS);
    publish(pub, "unsub/b", "x", 1);
    expect_publish_and_ack(c, "unsub/b", "x");
    UNSUBSCRIBE(c, .id = 9, .filters = FILTERS({"unsub/a", 0}));
    EXPECT_UNSUBACK(c, 9, RC_NO_SUBSCRIPTION_EXISTED);
}

static void shared_subscriptions_share_again(void **state)
{
    leave_session("share-a", "$share/group/shared/+", 1);
    leave_session("share-b", "$share/group/shared/+", 1);
    restart(state);
    struct client *a = connect_again("share-a");
    struct client *b = connect_again("share-b");
    struct client *pub = CONNECT();
    int got = 0;
    for (int i = 0; i < 10; i++) {
        publish(pub, "shared/x", "x", 1);
    }
    struct client *members[] = {a, b};
    for (int i = 0; i < 2; i++) {
        int own = 0;
        while (client_receive(members[i], QUIET_MS) != NULL) {
            acknowledge(members[i], client_last(members[i]));
            own++;
        }
        assert_true(own > 0);
        got += own;
    }
    assert_int_equal(got, 10);
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void queued_messages_are_there_in_order_with_their_properties(void **state)
{
    leave_session("queue", "queue/#", 2);
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "queue/1", .payload = "one", .qos = 1,
                     .props = PROPS(prop_content_type("text"), prop_user_property("a", "1"),
                                    prop_user_property("a", "2"), prop_response_topic("re/ply"),
                                    prop_correlation_data("c\0d"), prop_payload_format(1)));
    PUBLISH_AND_WAIT(pub, .topic = "queue/2", .payload = "b\0nary\xff", .payload_len = 7, .qos = 2);
    PUBLISH_AND_WAIT(pub, .topic = "queue/3", .payload = "", .qos = 1);
    restart(state);
    struct client *c = connect_again("queue");
    const struct packet *packet = expect_publish(c, "queue/1", "one");
    assert_int_equal(packet->qos, 1);
    assert_prop_text(packet, PROP_CONTENT_TYPE, "text");
    assert_prop_text(packet, PROP_RESPONSE_TOPIC, "re/ply");
    assert_prop_number(packet, PROP_PAYLOAD_FORMAT, 1);
    assert_int_equal(packet_prop_count(packet, PROP_USER_PROPERTY), 2);
    assert_non_null(packet_prop(packet, PROP_CORRELATION_DATA));
    acknowledge(c, packet);
    packet = expect_packet(c, PKT_PUBLISH);
    assert_int_equal(packet->qos, 2);
    assert_int_equal(packet->payload_len, 7);
    assert_memory_equal(packet->payload, "b\0nary\xff", 7);
    acknowledge(c, packet);
    packet = expect_publish(c, "queue/3", "");
    acknowledge(c, packet);
    expect_nothing(c);
}

static void queued_messages_keep_retain_and_subscription_identifiers(void **state)
{
    struct client *c = connect_keeping("ids");
    subscribe_with(c, "ids/#", 1 | OPT_RETAIN_AS_PUBLISHED, PROPS(prop_subscription_id(11)));
    subscribe_with(c, "ids/+", 2, PROPS(prop_subscription_id(268435455)));
    subscribe_with(c, "ids/x", 0, PROPS(prop_subscription_id(33)));
    client_disconnect(c);
    struct client *pub = CONNECT();
    publish_retained(pub, "ids/x", "three", 2);
    publish(pub, "ids/x/y", "one", 1);
    restart(state);
    c = connect_again("ids");
    const struct packet *packet = expect_publish(c, "ids/x", "three");
    assert_int_equal(packet->qos, 2);
    assert_true(packet->retain);
    assert_int_equal(packet_prop_count(packet, PROP_SUBSCRIPTION_ID), 3);
    uint32_t sum = 0;
    for (size_t i = 0; i < packet->prop_count; i++) {
        sum += packet->props[i].id == PROP_SUBSCRIPTION_ID ? packet->props[i].number : 0;
    }
    assert_int_equal(sum, 11 + 268435455 + 33);
    acknowledge(c, packet);
    packet = expect_publish(c, "ids/x/y", "one");
    assert_false(packet->retain);
    assert_int_equal(packet_prop_count(packet, PROP_SUBSCRIPTION_ID), 1);
    assert_prop_number(packet, PROP_SUBSCRIPTION_ID, 11);
}

static void a_thousand_queued_messages_are_there_in_order(void **state)
{
    enum { COUNT = 1000, WINDOW = 20 };
    leave_session("thousand", "thousand", 1);
    struct client *pub = CONNECT();
    char text[16];
    for (uint16_t i = 1; i <= COUNT; i++) {
        snprintf(text, sizeof(text), "%u", i);
        PUBLISH(pub, .topic = "thousand", .payload = text, .qos = 1, .id = i);
        if (i > WINDOW) {
            expect_ack(pub, PKT_PUBACK, i - (unsigned)WINDOW, RC_SUCCESS);
        }
    }
    for (uint16_t i = COUNT - WINDOW + 1; i <= COUNT; i++) {
        expect_ack(pub, PKT_PUBACK, i, RC_SUCCESS);
    }
    restart(state);
    struct client *c = connect_again("thousand");
    for (unsigned i = 1; i <= COUNT; i++) {
        snprintf(text, sizeof(text), "%u", i);
        const struct packet *packet = expect_publish(c, "thousand", text);
        assert_false(packet->dup);
        acknowledge(c, packet);
    }
    client_disconnect(c);
    await_stored();
    restart(state);
    expect_nothing(connect_again("thousand"));
}

/* One payload for many: all are told apart after the restart. */
static void one_message_in_many_queues_is_there_for_each(void **state)
{
    enum { COUNT = 20 };
    char id[32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        leave_session(id, "many", 1);
    }
    publish_from_elsewhere("many", "for all", 1);
    restart(state);
    for (int i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        struct client *c = connect_again(id);
        expect_publish_and_ack(c, "many", "for all");
        client_disconnect(c);
        if (i == COUNT / 2) {
            await_stored();
            restart(state);
        }
    }
}

static char *filled(size_t len, char with)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, with, len);
    text[len] = '\0';
    return text;
}

/* [MQTT-1.5.4]: 65,535 bytes are a text's limit. */
static void the_longest_client_id_and_topic_are_kept(void **state)
{
    char *id = filled(65535, 'i');
    char *topic = filled(65535, 't');
    struct client *c = connect_keeping(id);
    subscribe(c, topic, 1);
    client_disconnect(c);
    publish_from_elsewhere(topic, "x", 1);
    restart(state);
    c = connect_again(id);
    expect_publish_and_ack(c, topic, "x");
    publish_from_elsewhere(topic, "y", 1);
    expect_publish_and_ack(c, topic, "y");
    client_disconnect(c);
    free(topic);
    free(id);
}

/* The harness has segments of 1 MiB. */
static void a_message_larger_than_a_segment_is_kept(void **state)
{
    enum { SIZE = 3 * 1024 * 1024 };
    leave_session("large", "large", 1);
    char *payload = filled(SIZE, 'p');
    payload[SIZE / 2] = '\0';
    struct client *pub = CONNECT();
    PUBLISH_AND_WAIT(pub, .topic = "large", .payload = payload, .payload_len = SIZE, .qos = 1,
                     .retain = true);
    publish(pub, "large", "small", 1);
    restart(state);
    struct client *c = connect_again("large");
    const struct packet *packet = expect_packet(c, PKT_PUBLISH);
    assert_int_equal(packet->payload_len, SIZE);
    assert_memory_equal(packet->payload, payload, SIZE);
    acknowledge(c, packet);
    expect_publish_and_ack(c, "large", "small");
    free(payload);
}

/* A second restart must not take messages, which were never sent, for such that were. */
static void what_was_never_sent_is_not_marked_as_sent_again(void **state)
{
    struct client *c = connect_keeping("twice");
    subscribe(c, "twice", 2);
    for (int i = 0; i < 5; i++) {
        publish_from_elsewhere("twice", "before", 2);
        expect_publish_and_ack(c, "twice", "before");
    }
    client_disconnect(c);
    await_stored();
    restart(state);
    publish_from_elsewhere("twice", "after", 2);
    restart(state);
    c = connect_again("twice");
    const struct packet *packet = expect_publish(c, "twice", "after");
    assert_false(packet->dup);
    acknowledge(c, packet);
    expect_nothing(c);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void a_session_that_ends_with_its_connection_is_not_there(void **state)
{
    struct client *c = CONNECT(.client_id = "brief", .resume = true);
    subscribe(c, "brief", 1);
    publish_from_elsewhere("brief", "x", 1);
    restart(state);
    expect_nothing(connect_to_none("brief"));
}

/* [MQTT-3.1.2-23]: from now on it ends with its connection. */
static void a_session_that_is_resumed_without_expiry_is_gone(void **state)
{
    leave_session("given-up", "given-up", 1);
    publish_from_elsewhere("given-up", "x", 1);
    struct client *c = CONNECT(.client_id = "given-up", .resume = true);
    assert_true(client_last(c)->session_present);
    expect_publish(c, "given-up", "x");
    await_stored();
    restart(state);
    expect_nothing(connect_to_none("given-up"));
}

static void a_session_that_is_given_up_at_disconnect_is_gone(void **state)
{
    struct client *c = connect_keeping("given-up-late");
    subscribe(c, "given-up-late", 1);
    client_disconnect_with(c, RC_SUCCESS, PROPS(prop_session_expiry(0)));
    await_stored();
    restart(state);
    expect_nothing(connect_to_none("given-up-late"));
}

static void a_clean_start_ends_the_old_session_for_good(void **state)
{
    leave_session("clean", "clean/#", 1);
    publish_from_elsewhere("clean/old", "old", 1);
    struct client *c = CONNECT(.client_id = "clean", .props = FOR_A_MINUTE);
    assert_false(client_last(c)->session_present);
    subscribe(c, "clean/new", 1);
    client_disconnect(c);
    publish_from_elsewhere("clean/new", "new", 1);
    restart(state);
    publish_from_elsewhere("clean/old", "not wanted", 1);
    c = connect_again("clean");
    expect_publish_and_ack(c, "clean/new", "new");
    expect_nothing(c);
}

/* limits.shared_redispatch: a member whose session ends leaves its messages to the others. */
static void messages_that_were_passed_on_are_kept_once(void **state)
{
    enum { COUNT = 10 };
    leave_session("leaves", "$share/pass/passed", 1);
    char text[16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish_from_elsewhere("passed", text, 1);
    }
    leave_session("stays", "$share/pass/passed", 1);
    struct client *ended = CONNECT(.client_id = "leaves");
    assert_false(client_last(ended)->session_present);
    client_disconnect(ended);
    await_stored();
    restart(state);
    struct client *c = connect_again("stays");
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        expect_publish_and_ack(c, "passed", text);
    }
    expect_nothing(c);
    expect_nothing(connect_to_none("leaves"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST_BOTH(a_session_and_its_subscription_are_there_again),
        TEST_BOTH(a_session_of_311_is_there_again),
        TEST_BOTH(no_local_is_kept),
        TEST_BOTH(retain_as_published_is_kept),
        TEST_BOTH(a_kept_subscription_is_not_new),
        TEST_BOTH(the_granted_qos_is_kept),
        TEST_BOTH(a_subscription_keeps_its_last_options),
        TEST_BOTH(what_was_unsubscribed_stays_unsubscribed),
        TEST_BOTH(shared_subscriptions_share_again),
        TEST_BOTH(queued_messages_are_there_in_order_with_their_properties),
        TEST_BOTH(queued_messages_keep_retain_and_subscription_identifiers),
        TEST_BOTH(a_thousand_queued_messages_are_there_in_order),
        TEST_BOTH(one_message_in_many_queues_is_there_for_each),
        TEST_BOTH(the_longest_client_id_and_topic_are_kept),
        TEST_BOTH(a_message_larger_than_a_segment_is_kept),
        TEST_BOTH(what_was_never_sent_is_not_marked_as_sent_again),
        TEST_BOTH(a_session_that_ends_with_its_connection_is_not_there),
        TEST_BOTH(a_session_that_is_resumed_without_expiry_is_gone),
        TEST_BOTH(a_session_that_is_given_up_at_disconnect_is_gone),
        TEST_BOTH(a_clean_start_ends_the_old_session_for_good),
        TEST_BOTH(messages_that_were_passed_on_are_kept_once),
    };
    return RUN_RESTART_SUITE("restart", tests);
}
