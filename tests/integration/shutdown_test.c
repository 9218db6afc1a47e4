/* SIGTERM and SIGINT: clients are told, what is under way is sent, and the end comes in time. */
#include "tests/integration/suite.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

/* A subscriber that reads nothing more. */
static void stuck_subscriber(void)
{
    struct client *c = CONNECT();
    int bytes = 256 * 1024;
    setsockopt(client_fd(c), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    subscribe(c, "stuck/t", 0);
}

/* Publishes 20 MB to it: more than sockets hold. */
static void flood(struct client *pub)
{
    enum { COUNT = 500, SIZE = 40000 };
    static char payload[SIZE + 1];
    memset(payload, 's', SIZE);
    for (int i = 0; i < COUNT; i++) {
        PUBLISH(pub, .topic = "stuck/t", .payload = payload);
    }
    settle(pub);
}

/* 3.14.2.1: 0x8B. The exit status 0 is checked for every broker that a test starts. */
static void clients_are_told_that_the_server_shuts_down(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    struct client *subs[5];
    for (int i = 0; i < 5; i++) {
        subs[i] = CONNECT();
    }
    broker_signal(broker, SIGTERM);
    for (int i = 0; i < 5; i++) {
        expect_disconnect(subs[i], RC_SERVER_SHUTTING_DOWN);
    }
    suite_expect_own_broker_exit(5000);
}

/* SIGINT does the same. */
static void an_interrupt_shuts_down_as_well(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    struct client *c = CONNECT();
    broker_signal(broker, SIGINT);
    expect_disconnect(c, RC_SERVER_SHUTTING_DOWN);
    suite_expect_own_broker_exit(5000);
}

/* [MQTT-3.14.0-1] in 3.1.1's terms: there is no such packet, the connection ends. */
static void a_3_1_1_client_is_just_closed(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    struct client *c = CONNECT(.version = MQTT_311);
    broker_signal(broker, SIGTERM);
    expect_closed(c);
    suite_expect_own_broker_exit(5000);
}

/* [MQTT-3.14.0-1]: who has not been accepted gets no DISCONNECT. */
static void a_connection_before_its_connect_is_just_closed(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    struct client *c = client_open(MQTT_50);
    settle(CONNECT()); /* the loop went round: the silent connection is known */
    broker_signal(broker, SIGTERM);
    expect_closed(c);
    suite_expect_own_broker_exit(5000);
}

/* A shutdown is no loss of the client: its will stays unpublished. */
static void wills_are_not_published(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    struct client *watcher = CONNECT();
    subscribe(watcher, "will/#", 0);
    CONNECT(.will_topic = "will/t", .will_payload = "gone");
    CONNECT(.version = MQTT_311, .will_topic = "will/t", .will_payload = "gone");
    broker_signal(broker, SIGTERM);
    expect_disconnect(watcher, RC_SERVER_SHUTTING_DOWN);
}

/* What the broker has for a client goes out before the DISCONNECT, to one that reads slowly too. */
static void what_is_under_way_is_delivered_first(void **state)
{
    (void)state;
    enum { COUNT = 150, SIZE = 10000 };
    struct broker *broker = OWN_BROKER("limits.outbound_buffer_max: 16MiB");
    struct client *sub = CONNECT();
    int bytes = 256 * 1024;
    setsockopt(client_fd(sub), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    subscribe(sub, "drain/t", 0);
    struct client *pub = CONNECT();
    static char payload[SIZE + 1];
    memset(payload, 'd', SIZE);
    for (int i = 0; i < COUNT; i++) {
        PUBLISH(pub, .topic = "drain/t", .payload = payload);
    }
    publish(pub, "drain/t", "last", 1);
    broker_signal(broker, SIGTERM);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(expect_packet(sub, PKT_PUBLISH)->payload_len, SIZE);
    }
    expect_publish(sub, "drain/t", "last");
    expect_disconnect(sub, RC_SERVER_SHUTTING_DOWN);
    suite_expect_own_broker_exit(5000);
}

/* server.shutdown_drain_timeout_ms: who does not read cannot hold the end up. */
static void a_client_that_does_not_read_cannot_hold_the_end_up(void **state)
{
    (void)state;
    struct broker *broker =
        OWN_BROKER("server.shutdown_drain_timeout_ms: 700", "limits.outbound_buffer_max: 64MiB",
                   "limits.write_stall_timeout: 60s");
    stuck_subscriber();
    flood(CONNECT());
    long start = clock_ms();
    broker_signal(broker, SIGTERM);
    suite_expect_own_broker_exit(4000);
    assert_true(clock_ms() - start < 3000);
}

/* Who signals twice does not want to wait: the broker ends at once, whatever is not yet sent. */
static void a_second_signal_ends_the_wait(void **state)
{
    (void)state;
    struct broker *broker =
        OWN_BROKER("server.shutdown_drain_timeout_ms: 60000", "limits.outbound_buffer_max: 64MiB",
                   "limits.write_stall_timeout: 60s");
    struct client *other = CONNECT();
    stuck_subscriber();
    flood(CONNECT());
    broker_signal(broker, SIGTERM);
    expect_disconnect(other, RC_SERVER_SHUTTING_DOWN); /* the first signal is obeyed by now */
    broker_signal(broker, SIGTERM);
    suite_expect_own_broker_end(5000);
}

/* With nobody connected there is nothing to wait for. */
static void an_idle_broker_ends_at_once(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER("server.shutdown_drain_timeout_ms: 10000");
    client_disconnect(CONNECT());
    long start = clock_ms();
    broker_signal(broker, SIGTERM);
    suite_expect_own_broker_exit(5000);
    assert_true(clock_ms() - start < 2000);
}

/* Clients that close when told end the shutdown early. */
static void the_end_comes_when_the_last_client_has_gone(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER("server.shutdown_drain_timeout_ms: 10000");
    struct client *c = CONNECT();
    long start = clock_ms();
    broker_signal(broker, SIGTERM);
    expect_disconnect(c, RC_SERVER_SHUTTING_DOWN);
    client_close(c);
    suite_expect_own_broker_exit(5000);
    assert_true(clock_ms() - start < 3000);
}

/* Many connections, sessions, subscriptions, retained messages: all are put away. */
static void a_busy_broker_puts_everything_away(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    char text[32];
    for (int i = 0; i < 100; i++) {
        struct client *c = CONNECT(.props = PROPS(prop_session_expiry(60)));
        snprintf(text, sizeof(text), "busy/%d", i);
        subscribe(c, text, 2);
        subscribe(c, "$share/g/busy/+", 1);
        PUBLISH(c, .topic = text, .payload = "x", .qos = (uint8_t)(i % 3), .id = 1, .retain = true);
        if (i % 3 == 0) {
            client_close(c);
        }
    }
    broker_signal(broker, SIGTERM);
    suite_expect_own_broker_exit(8000);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(clients_are_told_that_the_server_shuts_down),
        TEST(an_interrupt_shuts_down_as_well),
        TEST(a_3_1_1_client_is_just_closed),
        TEST(a_connection_before_its_connect_is_just_closed),
        TEST(wills_are_not_published),
        TEST(what_is_under_way_is_delivered_first),
        TEST(a_client_that_does_not_read_cannot_hold_the_end_up),
        TEST(a_second_signal_ends_the_wait),
        TEST(an_idle_broker_ends_at_once),
        TEST(the_end_comes_when_the_last_client_has_gone),
        TEST(a_busy_broker_puts_everything_away),
    };
    return RUN_SUITE("shutdown", tests, NULL);
}
