/* Windows of QoS 1 and 2: far more messages than fit are under way, in both directions. */
#include "tests/integration/suite.h"

#include "tests/integration/metrics.h"
#include "tests/integration/peer.h"

static const char dropped_queue_full[] = "pulse_messages_dropped_total{reason=\"queue_full\"}";

static struct client *subscriber(const char *id, uint16_t receive_maximum, const char *filter)
{
    struct client *c =
        CONNECT(.client_id = id,
                .props = PROPS(prop_receive_maximum(receive_maximum), prop_session_expiry(600)));
    subscribe(c, filter, 1);
    return c;
}

/*
 * The time in which a client must acknowledge something begins when there is something to
 * acknowledge, not with its last acknowledgement.
 */
static void a_burst_after_long_silence_is_delivered_whole(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    OWN_BROKER("limits.write_stall_timeout: 1s", "limits.max_offline_queue_len: 100");
    struct peer peers[] = {
        {.c = subscriber("idle", 20, "idle/t"), .expected = COUNT, .acks_left = PEER_ACKS_ALL},
        {.c = CONNECT(), .to = "idle/t", .total = COUNT, .window = 1000, .size = 100}};
    let_time_pass(1500);
    assert_true(peers_run(peers, 2, WAIT_MS));
    assert_true(metric_value(dropped_queue_full) == 0);
    peer_fini(&peers[0]);
    peer_fini(&peers[1]);
}

/*
 * Each is a publisher that the other one's full queue may hold back, and by that an acknowledgement
 * that the other one needs: they must not wait for each other.
 */
static void two_clients_that_flood_each_other_both_get_everything(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    OWN_BROKER("limits.write_stall_timeout: 60s", "limits.max_offline_queue_len: 200");
    struct peer peers[] = {{.c = subscriber("flood-a", 20, "flood/a"),
                            .to = "flood/b",
                            .total = COUNT,
                            .window = 900,
                            .size = 100,
                            .expected = COUNT,
                            .acks_left = PEER_ACKS_ALL},
                           {.c = subscriber("flood-b", 20, "flood/b"),
                            .to = "flood/a",
                            .total = COUNT,
                            .window = 900,
                            .size = 100,
                            .expected = COUNT,
                            .acks_left = PEER_ACKS_ALL}};
    assert_true(peers_run(peers, 2, WAIT_MS));
    assert_true(metric_value(dropped_queue_full) == 0);
    peer_fini(&peers[0]);
    peer_fini(&peers[1]);
}

/* [MQTT-4.4.0-1], [MQTT-4.6.0-1]: as many as there may be are sent again, in order; then the rest.
 */
static void a_full_window_is_redelivered_in_order(void **state)
{
    (void)state;
    enum { FULL = 65534, MORE = 10 };
    OWN_BROKER("limits.write_stall_timeout: 60s");
    struct peer peers[] = {
        {.c = subscriber("full", 65535, "full/t"), .expected = FULL},
        {.c = CONNECT(), .to = "full/t", .total = FULL + MORE, .window = 1000, .size = 12}};
    assert_true(peers_run(peers, 2, WAIT_MS));
    metric_expect("mqtt_qos1_inflight_current", FULL);
    metric_expect("mqtt_session_queue_size", MORE);
    client_drop(peers[0].c);
    peer_fini(&peers[0]);
    peer_fini(&peers[1]);

    struct peer again = {
        .c = CONNECT(.client_id = "full", .resume = true, .props = PROPS(prop_session_expiry(600))),
        .expected = FULL};
    assert_true(client_last(again.c)->session_present);
    assert_true(peers_run(&again, 1, WAIT_MS));
    assert_int_equal(again.dups, FULL);
    again.acks_left = PEER_ACKS_ALL;
    again.expected = FULL + MORE;
    assert_true(peers_run(&again, 1, WAIT_MS));
    assert_int_equal(again.dups, FULL);
    expect_nothing(again.c);
    peer_fini(&again);
}

static void send_qos_2(struct client *c, int count)
{
    for (int i = 1; i <= count; i++) {
        PUBLISH(c, .topic = "many/t", .payload = "x", .qos = 2, .id = (uint16_t)i);
    }
}

/* 3.1 and 3.1.1 know no Receive Maximum: whoever cannot be told of a limit cannot break it. */
static void a_client_without_receive_maximum_may_open_many_handshakes(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    OWN_BROKER("limits.server_receive_maximum: 10");
    struct client *sub = CONNECT();
    subscribe(sub, "many/t", 0);
    static const uint8_t versions[] = {MQTT_31, MQTT_311};
    for (size_t v = 0; v < sizeof(versions); v++) {
        struct client *c = CONNECT(.version = versions[v]);
        send_qos_2(c, COUNT);
        for (int i = 1; i <= COUNT; i++) {
            expect_ack(c, PKT_PUBREC, (unsigned)i, RC_SUCCESS);
        }
        for (int i = 1; i <= COUNT; i++) {
            send_ack(c, PKT_PUBREL, (unsigned)i, RC_SUCCESS);
            expect_ack(c, PKT_PUBCOMP, (unsigned)i, RC_SUCCESS);
            expect_publish(sub, "many/t", "x");
        }
    }
    expect_nothing(sub);
}

/* The other side of the rule: 5.0 clients were told, [MQTT-3.3.4-9] seen from the server. */
static void a_5_0_client_may_not_open_more_handshakes_than_the_receive_maximum(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_receive_maximum: 10");
    struct client *sub = CONNECT();
    subscribe(sub, "many/t", 0);
    struct client *c = CONNECT();
    assert_prop_number(client_last(c), PROP_RECEIVE_MAXIMUM, 10);
    send_qos_2(c, 10);
    for (unsigned i = 1; i <= 10; i++) {
        expect_ack(c, PKT_PUBREC, i, RC_SUCCESS);
    }
    PUBLISH(c, .topic = "many/t", .payload = "x", .qos = 2, .id = 11);
    expect_disconnect(c, RC_RECEIVE_MAXIMUM_EXCEEDED);
}

static void publish_and_expect_each(struct client *sub, struct client *pub, const char *topic)
{
    for (uint8_t i = 0; i < 6; i++) {
        uint8_t qos = (uint8_t)(1 + i % 2);
        publish(pub, topic, "x", qos);
        assert_int_equal(expect_publish(sub, topic, "x")->qos, qos);
        acknowledge(sub, client_last(sub));
    }
}

/* limits.max_offline_queue_len: 0 keeps nothing, but what can go out at once need not be kept. */
static void check_without_a_queue(const char *policy)
{
    OWN_BROKER("limits.max_offline_queue_len: 0", policy);
    struct client *sub = CONNECT(.client_id = "noq", .props = PROPS(prop_session_expiry(60)));
    subscribe(sub, "noq/t", 2);
    struct client *pub = CONNECT();
    publish_and_expect_each(sub, pub, "noq/t");
    client_disconnect(sub);
    publish(pub, "noq/t", "away", 1);
    sub = CONNECT(.client_id = "noq", .resume = true, .props = PROPS(prop_session_expiry(60)));
    assert_true(client_last(sub)->session_present);
    publish_and_expect_each(sub, pub, "noq/t");
    expect_nothing(sub);
}

static void without_a_queue_throttle_delivers_to_who_is_connected(void **state)
{
    (void)state;
    check_without_a_queue("limits.slow_consumer_policy: throttle");
}

static void without_a_queue_disconnect_delivers_to_who_is_connected(void **state)
{
    (void)state;
    check_without_a_queue("limits.slow_consumer_policy: disconnect");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_burst_after_long_silence_is_delivered_whole),
        TEST(two_clients_that_flood_each_other_both_get_everything),
        TEST(a_full_window_is_redelivered_in_order),
        TEST(a_client_without_receive_maximum_may_open_many_handshakes),
        TEST(a_5_0_client_may_not_open_more_handshakes_than_the_receive_maximum),
        TEST(without_a_queue_throttle_delivers_to_who_is_connected),
        TEST(without_a_queue_disconnect_delivers_to_who_is_connected),
    };
    return RUN_SUITE("window", tests, NULL);
}
