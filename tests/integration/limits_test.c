/* What one client, one address and all of them may take. The limits on queues are in bounds_test.
 */
#include "tests/integration/auth_support.h"
#include "tests/integration/metrics.h"
#include "tests/integration/peer.h"
#include "tests/integration/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ADDRESS_LIMIT "pulse_connections_closed_total{reason=\"address_limit\"}"
#define REFUSED "pulse_sockets_refused_total"
#define RATE_LIMITED "pulse_publishers_rate_limited_total"
#define QUEUES_FULL "pulse_messages_dropped_total{reason=\"queue_bytes_total\"}"
#define NO_EXEMPTION "limits.exempt_addresses: \"off\""

/* ---- connections ----------------------------------------------------------------------------- */

/* A connection that comes from another address of this machine. */
static struct client *open_from(const char *address)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(client_port()),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    inet_pton(AF_INET, address, &from.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return client_adopt(fd, MQTT_50, NULL, NULL);
}

static struct client *connect_from(const char *address)
{
    struct client *c = open_from(address);
    SEND_CONNECT(c, .client_id = NULL);
    assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
    return c;
}

static void over_max_connections_one_is_closed_counted_and_logged(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER("limits.max_connections: 3");
    metric_expect("pulse_sockets_current", 0);
    struct client *in[3];
    for (size_t i = 0; i < 3; i++) {
        in[i] = connect_from("127.0.0.1");
    }
    for (int i = 0; i < 20; i++) {
        expect_closed(client_open(MQTT_50));
    }
    metric_expect(REFUSED, 20);
    expect_log(broker, "limits.max_connections");
    assert_true(broker_log_lines(broker, "limits.max_connections") <= 4); /* not a line for each */
    client_disconnect(in[0]);
    metric_expect("pulse_sockets_current", 2);
    client_disconnect(connect_from("127.0.0.2"));
    settle(in[1]);
}

static void an_address_has_its_own_share_of_connections(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER("limits.max_connections_per_address: 3", NO_EXEMPTION);
    metric_expect("pulse_sockets_current", 0);
    struct client *in[3];
    for (size_t i = 0; i < 3; i++) {
        in[i] = connect_from("127.0.0.5");
    }
    expect_closed(open_from("127.0.0.5"));
    expect_closed(open_from("127.0.0.5"));
    metric_expect(ADDRESS_LIMIT, 2);
    expect_log(broker, "limits.max_connections_per_address");
    client_disconnect(connect_from("127.0.0.6"));
    settle(in[2]);
    client_disconnect(in[0]);
    metric_expect("pulse_sockets_current", 2);
    struct client *next = connect_from("127.0.0.5");
    expect_closed(open_from("127.0.0.5"));
    settle(next);
}

/* Also those that never say anything, and those that move to another worker, and leave no trace. */
static void places_of_an_address_are_given_back_however_a_connection_ends(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_connections_per_address: 5", "limits.connect_rate_per_address: 0",
               NO_EXEMPTION);
    for (int i = 0; i < 60; i++) {
        struct client *c = open_from("127.0.0.5");
        if (i % 4 == 1) {
            RAW(c, 0x10);
        } else if (i % 4 == 2) {
            RAW(c, 'G', 'E', 'T', ' ');
        } else if (i % 4 == 3) {
            SEND_CONNECT(c, .client_id = NULL);
            assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
        }
        client_close(c);
        metric_expect("pulse_sockets_current", 0);
    }
    metric_expect(ADDRESS_LIMIT, 0);
    for (int i = 0; i < 5; i++) {
        connect_from("127.0.0.5");
    }
    expect_closed(open_from("127.0.0.5"));
}

static void exempt_addresses_are_not_counted(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_connections_per_address: 2", "limits.connect_rate_per_address: 1",
               "limits.exempt_addresses: \"127.0.0.8/29\"");
    for (int i = 0; i < 30; i++) {
        connect_from(i % 2 == 0 ? "127.0.0.8" : "127.0.0.15");
    }
    connect_from("127.0.0.16");
    connect_from("127.0.0.16");
    expect_closed(open_from("127.0.0.16"));
}

/* A burst of ten seconds' worth, then so many a second. */
static void an_address_that_connects_too_often_is_closed(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER("limits.connect_rate_per_address: 4", NO_EXEMPTION);
    int in = 0;
    long start = clock_ms();
    for (int i = 0; i < 80; i++) {
        struct client *c = open_from("127.0.0.5");
        SEND_CONNECT(c, .client_id = NULL);
        in += client_receive(c, WAIT_MS) != NULL ? 1 : 0;
        client_close(c);
    }
    long most = 40 + 4 * (clock_ms() - start) / 1000 + 1;
    assert_true(in >= 40 && in <= most);
    metric_expect(ADDRESS_LIMIT, 80 - in);
    expect_log(broker, "limits.connect_rate_per_address");
    client_disconnect(connect_from("127.0.0.6"));
    let_time_pass(600);
    client_disconnect(connect_from("127.0.0.5"));
}

static void over_connect_rate_clients_wait_and_none_is_lost(void **state)
{
    (void)state;
    enum { COUNT = 100, RATE = 40 };
    struct client *all[COUNT];
    struct broker *broker = OWN_BROKER("limits.connect_rate: 40");
    struct client *established = CONNECT();
    long start = clock_ms();
    for (size_t i = 0; i < COUNT; i++) {
        all[i] = LOGIN(.client_id = NULL);
    }
    settle(established);
    assert_true(clock_ms() - start < 900); /* it does not wait with them */
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(expect_packet(all[i], PKT_CONNACK)->reason, RC_SUCCESS);
    }
    /* A second's worth at once; the rest takes its time, whatever worker they came to. */
    assert_true(clock_ms() - start >= (COUNT - RATE - 8) * 1000 / RATE / 2);
    assert_true(metric_value("pulse_accept_paused_total") > 0);
    expect_log(broker, "limits.connect_rate");
    metric_expect(REFUSED, 0);
}

/* ---- publishing ------------------------------------------------------------------------------ */

/* Sends `total` messages as fast as it can, and expects all of them, in order. Gives the time. */
static long send_and_count(uint8_t qos, int total, size_t size)
{
    struct client *sub = CONNECT(.props = PROPS(prop_receive_maximum(60000)));
    struct client *pub = CONNECT();
    char *payload = calloc(1, size + 1);
    assert_non_null(payload);
    memset(payload, 'x', size);
    subscribe(sub, "limits/t", 0);
    long start = clock_ms();
    for (int i = 0; i < total; i++) {
        int len = snprintf(payload, size, "%d", i);
        payload[len] = ' ';
        PUBLISH(pub, .topic = "limits/t", .payload = payload, .payload_len = size, .qos = qos,
                .id = (uint16_t)(i + 1));
    }
    free(payload);
    for (int i = 0; i < total; i++) {
        const struct packet *packet = expect_packet(sub, PKT_PUBLISH);
        assert_int_equal(atoi(packet->payload), i);
        assert_int_equal(packet->payload_len, size);
    }
    long took = clock_ms() - start;
    for (int i = 0; qos == 1 && i < total; i++) {
        assert_int_equal(expect_packet(pub, PKT_PUBACK)->id, i + 1);
    }
    settle(pub); /* still there, and served again */
    client_disconnect(pub);
    client_disconnect(sub);
    return took;
}

static void a_publisher_over_its_rate_is_slowed_down_and_loses_nothing(void **state)
{
    (void)state;
    enum { RATE = 100, TOTAL = 300 };
    struct broker *broker = OWN_BROKER("limits.publish_rate: 100");
    for (uint8_t qos = 0; qos <= 1; qos++) {
        long took = send_and_count(qos, TOTAL, 20);
        assert_true(took >= (TOTAL - RATE) * 1000 / RATE * 8 / 10);
        assert_true(took < 8000);
    }
    assert_true(metric_value(RATE_LIMITED) >= 2);
    expect_log(broker, "limits.publish_rate");
    metric_expect("pulse_messages_dropped_total{reason=\"slow_consumer\"}", 0);
}

static void the_same_by_bytes(void **state)
{
    (void)state;
    enum { RATE = 100000, TOTAL = 60, SIZE = 5000 };
    OWN_BROKER("limits.publish_bytes_rate: 100000");
    for (uint8_t qos = 0; qos <= 1; qos++) {
        long took = send_and_count(qos, TOTAL, SIZE);
        assert_true(took >= (TOTAL * SIZE - RATE) / (RATE / 1000) * 8 / 10);
        assert_true(took < 8000);
    }
    assert_true(metric_value(RATE_LIMITED) >= 2);
}

/* One message that is more than a second's worth: it passes, and what follows waits. */
static void a_message_larger_than_the_rate_passes(void **state)
{
    (void)state;
    OWN_BROKER("limits.publish_bytes_rate: 20000");
    struct client *c = CONNECT();
    static char payload[40001];
    memset(payload, 'x', 40000);
    publish(c, "limits/large", payload, 1);
    long start = clock_ms();
    publish(c, "limits/small", "x", 1);
    long took = clock_ms() - start;
    assert_true(took >= 700 && took < 6000);
}

/* The pace of one is no business of the others, and what a slow one gets goes on. */
static void who_is_slowed_down_still_receives_and_holds_up_nobody(void **state)
{
    (void)state;
    OWN_BROKER("limits.publish_rate: 10");
    struct client *greedy = CONNECT(.keep_alive = 2);
    struct client *other = CONNECT();
    subscribe(greedy, "limits/to/greedy", 0);
    for (int i = 0; i < 40; i++) { /* three seconds' worth, more than its keep alive */
        PUBLISH(greedy, .topic = "limits/x", .payload = "x");
    }
    for (int i = 0; i < 5; i++) {
        long start = clock_ms();
        publish(other, "limits/to/greedy", "x", 0);
        expect_publish(greedy, "limits/to/greedy", "x");
        assert_true(clock_ms() - start < 900);
    }
    settle(greedy);
    metric_expect("pulse_connections_closed_total{reason=\"keep_alive_timeout\"}", 0);
}

/* A rate must not become a way to hold up the end of a connection. */
static void a_slowed_down_client_that_goes_is_noticed(void **state)
{
    (void)state;
    OWN_BROKER("limits.publish_rate: 1");
    struct client *watcher = CONNECT();
    subscribe(watcher, "limits/will", 0);
    struct client *c = CONNECT(.will_topic = "limits/will", .will_payload = "gone");
    for (int i = 0; i < 5; i++) {
        PUBLISH(c, .topic = "limits/x", .payload = "x");
    }
    client_close(c);
    expect_publish(watcher, "limits/will", "gone");
}

/* ---- topics ---------------------------------------------------------------------------------- */

static void topics_longer_than_the_limit_are_refused(void **state)
{
    (void)state;
    OWN_BROKER("limits.topic_bytes_max: 20");
    static const char fits[] = "limits/t/90123456789", over[] = "limits/t/901234567890";
    struct client *c = CONNECT();
    expect_publish_answer(c, fits, RC_SUCCESS);
    expect_publish_answer(c, over, RC_TOPIC_NAME_INVALID);
    expect_subscribe_answer(c, fits, RC_SUCCESS);
    expect_subscribe_answer(c, over, RC_TOPIC_FILTER_INVALID);
    struct client *old = CONNECT(.version = MQTT_311);
    expect_subscribe_answer(old, over, 0x80);
    PUBLISH(old, .topic = over, .payload = "x");
    expect_closed(old);
    EXPECT_NO_LOGIN(RC_TOPIC_NAME_INVALID, .will_topic = over, .will_payload = "x");
    settle(c);
}

/* By an alias too: what counts is the topic. */
static void an_alias_does_not_go_round_the_limit(void **state)
{
    (void)state;
    OWN_BROKER("limits.topic_levels_max: 3");
    struct client *c = CONNECT();
    PUBLISH(c, .topic = "a/b/c/d", .qos = 1, .id = 1, .props = PROPS(prop_topic_alias(1)));
    expect_ack(c, PKT_PUBACK, 1, RC_TOPIC_NAME_INVALID);
    PUBLISH(c, .qos = 1, .id = 2, .props = PROPS(prop_topic_alias(1)));
    expect_ack(c, PKT_PUBACK, 2, RC_TOPIC_NAME_INVALID);
    expect_subscribe_answer(c, "a/b/c", RC_SUCCESS);
    expect_subscribe_answer(c, "a/b/c/d", RC_TOPIC_FILTER_INVALID);
    expect_subscribe_answer(c, "$share/g/a/b/c", RC_SUCCESS);
}

/* ---- queues ---------------------------------------------------------------------------------- */

enum { LIMIT = 1000000, SIZE = 1000, SESSIONS = 8, EACH = 400, SLACK = 4 * 65536 + 65536 };

static void leave_sessions(void)
{
    for (int i = 0; i < SESSIONS; i++) {
        char id[32];
        snprintf(id, sizeof(id), "queue-%d", i);
        struct client *c = CONNECT(.client_id = id, .props = PROPS(prop_session_expiry(600)));
        subscribe(c, "limits/queue", 1);
        client_disconnect(c);
    }
}

static void fill_queues(struct client *pub)
{
    static char payload[SIZE + 1];
    memset(payload, 'x', SIZE);
    for (int i = 0; i < EACH; i++) {
        int len = snprintf(payload, sizeof(payload), "%d", i);
        payload[len] = ' ';
        publish(pub, "limits/queue", payload, 1);
    }
}

static void the_queues_of_all_sessions_stay_below_their_limit(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER("limits.max_queue_bytes_total: 1000000");
    leave_sessions();
    struct client *pub = CONNECT();
    fill_queues(pub); /* acknowledged each time: nobody waits for who is away */
    assert_true(metric_value("pulse_session_queue_bytes") <= LIMIT + SLACK);
    assert_true(metric_value("pulse_session_queue_bytes") >= LIMIT / 2);
    assert_true(metric_value(QUEUES_FULL) > 0);
    expect_log(broker, "limits.max_queue_bytes_total");
    settle(pub);
    /* What was kept is whole, in order, and the first of it. */
    struct client *c =
        CONNECT(.client_id = "queue-0", .resume = true, .props = PROPS(prop_session_expiry(600)));
    const struct packet *packet;
    int next = 0;
    while ((packet = client_receive(c, 500)) != NULL) {
        assert_int_equal(atoi(packet->payload), next++);
        acknowledge(c, packet);
    }
    assert_true(next > 10 && next < EACH);
}

/* With room again it goes on as before. */
static void sessions_that_end_make_room_again(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_queue_bytes_total: 1000000");
    leave_sessions();
    struct client *pub = CONNECT();
    fill_queues(pub);
    for (int i = 0; i < SESSIONS; i++) {
        char id[32];
        snprintf(id, sizeof(id), "queue-%d", i);
        client_disconnect(CONNECT(.client_id = id));
    }
    metric_expect("pulse_session_queue_bytes", 0);
    double dropped = metric_value(QUEUES_FULL);
    struct client *c = CONNECT(.client_id = "queue-0", .props = PROPS(prop_session_expiry(600)));
    subscribe(c, "limits/queue", 1);
    client_disconnect(c);
    fill_queues(pub);
    metric_expect(QUEUES_FULL, dropped);
}

/* Sessions that are away must not keep those that are there from their messages. */
static void full_queues_of_others_do_not_hold_up_who_is_there(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_queue_bytes_total: 1000000");
    leave_sessions();
    struct client *pub = CONNECT();
    fill_queues(pub);
    assert_true(metric_value(QUEUES_FULL) > 0);
    struct client *sub = CONNECT();
    subscribe(sub, "limits/live/#", 2);
    long start = clock_ms();
    for (uint8_t i = 0; i < 60; i++) {
        publish(pub, "limits/live/x", "x", i % 3);
        expect_publish_and_ack(sub, "limits/live/x", "x");
    }
    assert_true(clock_ms() - start < 4000);
}

/* Many at once to one that takes them: all arrive, though the queues of others are full. */
static void a_burst_arrives_whole_while_the_queues_of_others_are_full(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_queue_bytes_total: 1000000");
    leave_sessions();
    struct client *pub = CONNECT();
    fill_queues(pub);
    struct client *sub = CONNECT();
    subscribe(sub, "limits/burst", 1);
    struct peer peers[] = {
        {.c = pub,
         .to = "limits/burst",
         .total = 1000,
         .window = 50,
         .size = 200,
         .acks_left = PEER_ACKS_ALL},
        {.c = sub, .expected = 1000, .acks_left = PEER_ACKS_ALL},
    };
    assert_true(peers_run(peers, 2, 5000));
    peer_fini(&peers[0]);
    peer_fini(&peers[1]);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(over_max_connections_one_is_closed_counted_and_logged),
        TEST(an_address_has_its_own_share_of_connections),
        TEST(places_of_an_address_are_given_back_however_a_connection_ends),
        TEST(exempt_addresses_are_not_counted),
        TEST(an_address_that_connects_too_often_is_closed),
        TEST(over_connect_rate_clients_wait_and_none_is_lost),
        TEST(a_publisher_over_its_rate_is_slowed_down_and_loses_nothing),
        TEST(the_same_by_bytes),
        TEST(a_message_larger_than_the_rate_passes),
        TEST(who_is_slowed_down_still_receives_and_holds_up_nobody),
        TEST(a_slowed_down_client_that_goes_is_noticed),
        TEST(topics_longer_than_the_limit_are_refused),
        TEST(an_alias_does_not_go_round_the_limit),
        TEST(the_queues_of_all_sessions_stay_below_their_limit),
        TEST(sessions_that_end_make_room_again),
        TEST(full_queues_of_others_do_not_hold_up_who_is_there),
        TEST(a_burst_arrives_whole_while_the_queues_of_others_are_full),
    };
    return RUN_SUITE("limits", tests, NULL);
}
