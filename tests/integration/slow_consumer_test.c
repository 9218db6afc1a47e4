/* Consumers that do not read: what limits.slow_consumer_policy and write_stall_timeout promise. */
#include "tests/integration/suite.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* More than all socket buffers between two ends of a loopback connection hold. */
enum { SIZE = 1000, COUNT = 30000, BATCH = 50, MEMORY_MAX = 16 * 1024 * 1024 };

/*
 * A subscriber whose kernel takes little, so that the broker soon has to decide. Not less than a
 * few segments of the loopback device (64 KiB): below that TCP falls into its probing of zero
 * windows.
 */
static struct client *narrow_subscriber(const char *id, const char *filter, unsigned qos)
{
    struct client *c = client_open(MQTT_50);
    int bytes = 256 * 1024;
    setsockopt(client_fd(c), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    SEND_CONNECT(c, .client_id = id, .props = PROPS(prop_session_expiry(60)));
    assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
    subscribe(c, filter, qos);
    return c;
}

/* Appends message `number`: its payload starts with the number and is filled up to SIZE. */
static void put_message(struct buffer *buf, const char *topic, int number, uint8_t qos)
{
    char payload[SIZE + 1];
    int len = snprintf(payload, sizeof(payload), "%d ", number);
    memset(payload + len, '.', (size_t)(SIZE - len));
    struct publish_packet packet = {
        .topic = topic, .payload = payload, .payload_len = SIZE, .qos = qos};
    if (qos > 0) {
        packet.id = (uint16_t)(number % 60000 + 1);
    }
    put_publish(buf, MQTT_50, &packet);
}

static int number_of(const struct packet *packet)
{
    assert_int_equal(packet->type, PKT_PUBLISH);
    return atoi(packet->payload);
}

/* Sends what is left of `all` until the broker takes nothing for `stall_ms`; true when all went. */
static bool send_until_stalled(struct client *pub, struct buffer *all, int stall_ms)
{
    size_t at = 0;
    struct pollfd writable = {.fd = client_fd(pub), .events = POLLOUT};
    while (at < all->len && poll(&writable, 1, stall_ms) == 1) {
        at += client_send_some(pub, all->data + at, all->len - at);
    }
    buffer_consume(all, at);
    return all->len == 0;
}

static void put_all_messages(struct buffer *all, const char *topic)
{
    for (int i = 0; i < COUNT; i++) {
        put_message(all, topic, i, 0);
    }
}

/* Whatever piles up, the broker stays small. */
static void assert_grew_less_than(const struct broker *broker, long before, long bytes)
{
    long grown = broker_rss_bytes(broker) - before;
    if (grown >= bytes) {
        test_fail("the broker's memory grew by %ld KiB, from %ld", grown / 1024, before / 1024);
    }
}

static void check_that_others_are_served(const char *topic)
{
    struct client *sub = CONNECT();
    subscribe(sub, topic, 1);
    struct client *pub = CONNECT();
    long start = clock_ms();
    for (int i = 0; i < 10; i++) {
        publish(pub, topic, "x", 1);
        expect_publish_and_ack(sub, topic, "x");
    }
    assert_true(clock_ms() - start < 3000);
}

/*
 * throttle: the publisher is held back instead of losing anything or filling memory, nobody else
 * notices, and once the consumer reads, everything arrives in order, QoS 0 included.
 */
static void throttle_holds_the_publisher_back_and_loses_nothing(void **state)
{
    (void)state;
    struct broker *broker =
        OWN_BROKER("limits.slow_consumer_policy: throttle", "limits.write_stall_timeout: 60s");
    struct client *slow = narrow_subscriber("slow", "throttle/t", 0);
    struct client *pub = CONNECT();
    struct buffer all = {0};
    put_all_messages(&all, "throttle/t");
    long before = broker_rss_bytes(broker);
    assert_false(send_until_stalled(pub, &all, 500));
    assert_grew_less_than(broker, before, MEMORY_MAX);
    check_that_others_are_served("throttle-others/t");

    int next = 0;
    while (next < COUNT) {
        send_until_stalled(pub, &all, 0);
        const struct packet *packet = client_receive(slow, all.len > 0 ? 10 : WAIT_MS);
        if (packet == NULL) {
            assert_true(all.len > 0 && !client_ended(slow));
            continue;
        }
        assert_int_equal(number_of(packet), next++);
    }
    buffer_fini(&all);
    expect_nothing(slow);
}

/* The throttled publisher is not taken for dead, and its answers come in the end. */
static void a_throttled_publisher_outlives_its_keep_alive(void **state)
{
    (void)state;
    OWN_BROKER("limits.slow_consumer_policy: throttle", "limits.write_stall_timeout: 60s");
    struct client *slow = narrow_subscriber("slow", "held/t", 0);
    struct client *pub = CONNECT(.keep_alive = 1);
    struct buffer all = {0};
    put_all_messages(&all, "held/t");
    assert_false(send_until_stalled(pub, &all, 2500));
    int next = 0;
    while (next < COUNT) {
        send_until_stalled(pub, &all, 0);
        if (client_receive(slow, all.len > 0 ? 10 : WAIT_MS) != NULL) {
            next++;
        } else {
            assert_true(all.len > 0 && !client_ended(slow));
        }
    }
    buffer_fini(&all);
    settle(pub);
}

/* limits.write_stall_timeout: who takes nothing for that long is let go, and the publisher freed.
 */
static void a_consumer_that_takes_nothing_is_disconnected_in_time(void **state)
{
    (void)state;
    OWN_BROKER("limits.slow_consumer_policy: throttle", "limits.write_stall_timeout: 1s");
    struct client *stuck = narrow_subscriber("stuck", "stall/t", 0);
    struct client *pub = CONNECT();
    struct buffer all = {0};
    put_all_messages(&all, "stall/t");
    assert_true(send_until_stalled(pub, &all, 8000));
    buffer_fini(&all);
    settle(pub);
    int count = 0;
    while (client_receive(stuck, WAIT_MS) != NULL) {
        count++;
    }
    assert_true(client_ended(stuck));
    assert_true(count < COUNT);
}

/* Sends in small batches that `good` reads at once, so that only `slow` falls behind. */
static void publish_in_step(struct client *pub, struct client *good, const char *topic, uint8_t qos)
{
    for (int i = 0; i < COUNT; i += BATCH) {
        struct buffer batch = {0};
        for (int j = i; j < i + BATCH; j++) {
            put_message(&batch, topic, j, qos);
        }
        send_buffer(pub, &batch);
        buffer_fini(&batch);
        for (int j = i; j < i + BATCH && good != NULL; j++) {
            assert_int_equal(number_of(expect_packet(good, PKT_PUBLISH)), j);
        }
        for (int j = i; j < i + BATCH && qos == 1; j++) {
            assert_true(expect_packet(pub, PKT_PUBACK)->reason < 0x80);
        }
    }
}

/* disconnect: the slow one goes, the fast one gets everything, the publisher is not held back. */
static void disconnect_lets_the_slow_consumer_go(void **state)
{
    (void)state;
    OWN_BROKER("limits.slow_consumer_policy: disconnect", "limits.outbound_buffer_max: 512KiB",
               "limits.write_stall_timeout: 60s");
    struct client *slow = narrow_subscriber("slow", "disc/t", 0);
    struct client *good = CONNECT();
    subscribe(good, "disc/t", 0);
    struct client *pub = CONNECT();
    publish_in_step(pub, good, "disc/t", 0);
    int count = 0;
    while (client_receive(slow, WAIT_MS) != NULL) {
        count++;
    }
    assert_true(client_ended(slow));
    assert_true(count < COUNT);
}

/* queue-offline: QoS 1 messages wait in the session's queue; the publisher is not held back. */
static void queue_offline_keeps_qos_1_messages_for_the_slow_consumer(void **state)
{
    (void)state;
    OWN_BROKER("limits.slow_consumer_policy: queue-offline", "limits.max_offline_queue_len: 50000",
               "limits.outbound_buffer_max: 64KiB", "limits.write_stall_timeout: 60s");
    struct client *slow = narrow_subscriber("slow", "qoff/t", 1);
    struct client *pub = CONNECT();
    publish_in_step(pub, NULL, "qoff/t", 1);
    for (int i = 0; i < COUNT; i++) {
        const struct packet *packet = expect_packet(slow, PKT_PUBLISH);
        assert_int_equal(number_of(packet), i);
        acknowledge(slow, packet);
    }
    expect_nothing(slow);
}

/* queue-offline: QoS 0 messages are dropped for the slow one, in order and without harm. */
static void queue_offline_drops_qos_0_messages_for_the_slow_consumer(void **state)
{
    (void)state;
    struct broker *broker =
        OWN_BROKER("limits.slow_consumer_policy: queue-offline",
                   "limits.outbound_buffer_max: 512KiB", "limits.write_stall_timeout: 60s");
    struct client *slow = narrow_subscriber("slow", "qoff0/t", 0);
    struct client *good = CONNECT();
    subscribe(good, "qoff0/t", 0);
    struct client *pub = CONNECT();
    long before = broker_rss_bytes(broker);
    publish_in_step(pub, good, "qoff0/t", 0);
    assert_grew_less_than(broker, before, MEMORY_MAX);
    int last = -1, count = 0;
    for (const struct packet *packet; (packet = client_receive(slow, 500)) != NULL; count++) {
        int number = number_of(packet);
        assert_true(number > last);
        last = number;
    }
    assert_true(count < COUNT);
    settle(slow);
}

/* The limit of the queue holds for a connected slow consumer as well. */
static void a_full_queue_of_a_slow_consumer_drops_and_stays_in_order(void **state)
{
    (void)state;
    OWN_BROKER("limits.slow_consumer_policy: queue-offline", "limits.max_offline_queue_len: 100",
               "limits.outbound_buffer_max: 64KiB", "limits.write_stall_timeout: 60s");
    struct client *slow = narrow_subscriber("slow", "qfull/t", 1);
    struct client *pub = CONNECT();
    publish_in_step(pub, NULL, "qfull/t", 1);
    int last = -1, count = 0;
    for (const struct packet *packet; (packet = client_receive(slow, 500)) != NULL; count++) {
        int number = number_of(packet);
        assert_true(number > last);
        last = number;
        acknowledge(slow, packet);
    }
    assert_in_range(count, 100, COUNT - 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(throttle_holds_the_publisher_back_and_loses_nothing),
        TEST(a_throttled_publisher_outlives_its_keep_alive),
        TEST(a_consumer_that_takes_nothing_is_disconnected_in_time),
        TEST(disconnect_lets_the_slow_consumer_go),
        TEST(queue_offline_keeps_qos_1_messages_for_the_slow_consumer),
        TEST(queue_offline_drops_qos_0_messages_for_the_slow_consumer),
        TEST(a_full_queue_of_a_slow_consumer_drops_and_stays_in_order),
    };
    return RUN_SUITE("slow_consumer", tests, NULL);
}
