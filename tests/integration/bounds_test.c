/* What a client can make the broker hold: queues, answers, retained messages. All of it is bounded.
 */
#include "tests/integration/suite.h"

#include "tests/integration/metrics.h"
#include "tests/integration/peer.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static const char dropped_queue_full[] = "pulse_messages_dropped_total{reason=\"queue_full\"}";
static const char queue_bytes[] = "pulse_session_queue_bytes";

/* ---- the queue of a session ---- */

/* Room for what is read at once from a publisher, and what is on its way between workers. */
enum { QUEUE_BYTES_MAX = 2 * 1024 * 1024, RSS_MAX = 24 * 1024 * 1024 };

static void assert_queue_bounded(const struct broker *broker, long rss_before)
{
    double bytes = metric_value(queue_bytes);
    if (bytes > (double)QUEUE_BYTES_MAX) {
        test_fail("sessions hold %g bytes", bytes);
    }
    assert_true(broker_rss_bytes(broker) - rss_before < RSS_MAX); /* 0 - 0 with a sanitizer */
}

static struct client *slow_subscriber(const char *id, const char *filter)
{
    struct client *c = CONNECT(.client_id = id, .props = PROPS(prop_receive_maximum(1)));
    subscribe(c, filter, 1);
    return c;
}

/*
 * limits.slow_consumer_policy: throttle. The subscriber takes all bytes at once but acknowledges
 * one message now and then: each acknowledgement makes room for one message, not for whatever the
 * publisher has ready.
 */
static void a_queue_stays_bounded_while_acknowledgements_come_slowly(void **state)
{
    (void)state;
    enum { COUNT = 20000, SLOW = 200 };
    struct broker *broker =
        OWN_BROKER("limits.max_offline_queue_len: 100", "limits.write_stall_timeout: 60s");
    struct peer peers[] = {
        {.c = slow_subscriber("slow", "slow/t"), .expected = COUNT},
        {.c = CONNECT(), .to = "slow/t", .total = COUNT, .window = 1000, .size = 1000}};
    long rss = broker_rss_bytes(broker);
    assert_false(peers_run(peers, 2, 300));
    assert_queue_bounded(broker, rss);
    for (int i = 0; i < SLOW; i++) {
        peers[0].acks_left = 1;
        assert_false(peers_run(peers, 2, 5));
    }
    assert_queue_bounded(broker, rss);
    assert_true(peers[1].sent < COUNT);
    assert_in_range(peers[0].got, 1, SLOW + 1);

    peers[0].acks_left = PEER_ACKS_ALL;
    assert_true(peers_run(peers, 2, WAIT_MS));
    assert_true(metric_value(dropped_queue_full) == 0);
    metric_expect(queue_bytes, 0);
    peer_fini(&peers[0]);
    peer_fini(&peers[1]);
}

/* limits.write_stall_timeout bounds the wait for a client that acknowledges nothing at all. */
static void a_subscriber_that_never_acknowledges_holds_nobody_for_long(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    struct broker *broker =
        OWN_BROKER("limits.max_offline_queue_len: 100", "limits.write_stall_timeout: 1s");
    struct peer peers[] = {
        {.c = slow_subscriber("never", "never/t"), .expected = 1},
        {.c = CONNECT(), .to = "never/t", .total = COUNT, .window = 1000, .size = 1000}};
    long rss = broker_rss_bytes(broker);
    assert_true(peers_run(peers, 2, WAIT_MS));
    assert_queue_bounded(broker, rss);
    assert_true(metric_value(dropped_queue_full) > 0);
    assert_int_equal(peers[0].got, 1);
    settle(peers[0].c); /* it is still there */
    peer_fini(&peers[0]);
    peer_fini(&peers[1]);
}

/* ---- answers ---- */

/* More than the kernel holds between the two, in questions and in answers. */
enum { QUESTIONS = 4096, QUESTION_BYTES_MAX = 32 * 1024 * 1024 };

static struct client *narrow_client(void)
{
    struct client *c = client_open(MQTT_50);
    int bytes = 64 * 1024;
    setsockopt(client_fd(c), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    setsockopt(client_fd(c), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    SEND_CONNECT(c, .client_id = "never-reads");
    assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
    return c;
}

/* Sends `questions` again and again until the broker takes none for half a second. */
static size_t ask_until_stalled(struct client *c, const struct buffer *questions)
{
    size_t sent = 0;
    struct pollfd writable = {.fd = client_fd(c), .events = POLLOUT};
    while (poll(&writable, 1, 500) == 1) {
        size_t at = sent % questions->len;
        sent += client_send_some(c, questions->data + at, questions->len - at);
        if (sent > QUESTION_BYTES_MAX) {
            test_fail("the broker goes on reading from a client that reads no answers");
        }
    }
    return sent;
}

/* Reads `wanted` bytes, whatever they are, and sends the rest of the last question meanwhile. */
static void read_answers(struct client *c, size_t wanted, const uint8_t *rest, size_t rest_len)
{
    static uint8_t bytes[65536];
    struct pollfd ready = {.fd = client_fd(c), .events = POLLIN};
    while (wanted > 0 && poll(&ready, 1, WAIT_MS) == 1) {
        size_t sent = client_send_some(c, rest, rest_len);
        rest += sent;
        rest_len -= sent;
        ssize_t got = recv(client_fd(c), bytes, wanted < sizeof(bytes) ? wanted : sizeof(bytes), 0);
        assert_true(got > 0);
        wanted -= (size_t)got;
    }
    assert_int_equal(wanted, 0);
    assert_int_equal(rest_len, 0);
}

/* `question` is asked by a client that does not read; all of its answers come once it does. */
static void check_answers_bounded(const uint8_t *question, size_t len)
{
    struct broker *broker = OWN_BROKER("limits.write_stall_timeout: 60s");
    struct client *c = narrow_client();
    struct buffer questions = {0};
    for (int i = 0; i < QUESTIONS; i++) {
        put_bytes(&questions, question, len);
    }
    send_bytes(c, question, len);
    const struct packet *answer = client_receive(c, WAIT_MS);
    assert_non_null(answer);
    size_t answer_len = answer->wire_len;
    long rss = broker_rss_bytes(broker);
    size_t sent = ask_until_stalled(c, &questions);
    assert_true(broker_rss_bytes(broker) - rss < RSS_MAX);
    settle(CONNECT());
    size_t rest = (len - sent % len) % len;
    read_answers(c, (sent + rest) / len * answer_len, question + len - rest, rest);
    settle(c);
    buffer_fini(&questions);
}

static void pings_without_reading_are_not_taken_for_ever(void **state)
{
    (void)state;
    check_answers_bounded((const uint8_t[]){0xc0, 0x00}, 2);
}

static void pubrels_without_reading_are_not_taken_for_ever(void **state)
{
    (void)state;
    check_answers_bounded((const uint8_t[]){0x62, 0x02, 0x12, 0x34}, 4);
}

static void pubrecs_without_reading_are_not_taken_for_ever(void **state)
{
    (void)state;
    check_answers_bounded((const uint8_t[]){0x50, 0x02, 0x12, 0x34}, 4);
}

/* limits.write_stall_timeout holds for answers as for messages. */
static void who_reads_no_answers_is_let_go_in_time(void **state)
{
    (void)state;
    OWN_BROKER("limits.write_stall_timeout: 2s");
    struct client *c = narrow_client();
    struct buffer questions = {0};
    for (int i = 0; i < QUESTIONS; i++) {
        put_bytes(&questions, (const uint8_t[]){0x62, 0x02, 0x12, 0x34}, 4);
    }
    ask_until_stalled(c, &questions);
    metric_expect("mqtt_connections_current", 0);
    assert_true(metric_value("pulse_connections_closed_total{reason=\"slow_consumer\"}") == 1);
    buffer_fini(&questions);
}

/* ---- retained messages ---- */

static int count_retained(const char *filter)
{
    struct client *c = CONNECT();
    subscribe(c, filter, 0);
    int count = 0;
    while (client_receive(c, QUIET_MS) != NULL) {
        count++;
    }
    client_disconnect(c);
    return count;
}

/* limits.max_retained_payload_bytes: properties are kept too, and so they count. */
static void properties_of_retained_messages_count(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_retained_payload_bytes: 100KiB");
    static char value[30001];
    memset(value, 'v', sizeof(value) - 1);
    struct client *pub = CONNECT();
    for (int i = 0; i < 10; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "props/%d", i);
        PUBLISH_AND_WAIT(pub, .topic = topic, .payload = "x", .qos = 1, .retain = true,
                         .props = PROPS(prop_user_property("k", value)));
    }
    assert_int_equal(count_retained("props/+"), 3);
    assert_true(metric_value("pulse_messages_dropped_total{reason=\"retained_limit\"}") == 7);
    publish_retained(pub, "props/0", "small",
                     1); /* another for the same topic: no more than before */
    publish_retained(pub, "props/small", "x", 1);
    assert_int_equal(count_retained("props/+"), 4);
}

static void topics_of_retained_messages_count(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_retained_payload_bytes: 100KiB", "limits.topic_bytes_max: 65535");
    static char topic[30001];
    struct client *pub = CONNECT();
    for (int i = 0; i < 10; i++) {
        memset(topic, 't', sizeof(topic) - 1);
        snprintf(topic, sizeof(topic), "%d/", i);
        topic[2] = 't';
        publish_retained(pub, topic, "x", 1);
    }
    assert_int_equal(count_retained("+/+"), 3);
}

/* What has been deleted gives its room back. */
static void deleted_retained_messages_make_room(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_retained_payload_bytes: 100KiB");
    static char value[60001];
    memset(value, 'v', sizeof(value) - 1);
    struct client *pub = CONNECT();
    for (int i = 0; i < 5; i++) {
        PUBLISH_AND_WAIT(pub, .topic = "room/t", .payload = "x", .qos = 1, .retain = true,
                         .props = PROPS(prop_user_property("k", value)));
        publish_retained(pub, "room/t", "", 1);
    }
    PUBLISH_AND_WAIT(pub, .topic = "room/other", .payload = "x", .qos = 1, .retain = true,
                     .props = PROPS(prop_user_property("k", value)));
    assert_int_equal(count_retained("room/+"), 1);
}

/* limits.max_retained_messages: a message that has expired takes no place from a new one. */
static void expired_retained_messages_make_room(void **state)
{
    (void)state;
    enum { COUNT = 10 };
    OWN_BROKER("limits.max_retained_messages: 10");
    struct client *pub = CONNECT();
    for (int i = 0; i < COUNT; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "expired/%d", i);
        PUBLISH_AND_WAIT(pub, .topic = topic, .payload = "x", .qos = 1, .retain = true,
                         .props = PROPS(prop_message_expiry(1)));
    }
    publish_retained(pub, "expired/early", "x", 1);
    assert_true(metric_value("pulse_messages_dropped_total{reason=\"retained_limit\"}") == 1);
    let_time_pass(1200);
    publish_retained(pub, "expired/new", "x", 1);
    struct client *sub = CONNECT();
    subscribe(sub, "expired/+", 0);
    expect_publish(sub, "expired/new", "x");
    expect_nothing(sub);
    metric_expect("mqtt_retained_messages_current", 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_queue_stays_bounded_while_acknowledgements_come_slowly),
        TEST(a_subscriber_that_never_acknowledges_holds_nobody_for_long),
        TEST(pings_without_reading_are_not_taken_for_ever),
        TEST(pubrels_without_reading_are_not_taken_for_ever),
        TEST(pubrecs_without_reading_are_not_taken_for_ever),
        TEST(who_reads_no_answers_is_let_go_in_time),
        TEST(properties_of_retained_messages_count),
        TEST(topics_of_retained_messages_count),
        TEST(deleted_retained_messages_make_room),
        TEST(expired_retained_messages_make_room),
    };
    return RUN_SUITE("bounds", tests, NULL);
}
