/*
 * Connections that end while something still refers to them. What happens "at once" here arrives
 * while the broker stands still, so that it finds all of it in one turn of its loop. A broker built
 * with the address sanitizer ends at the first mistake.
 */
#include "tests/integration/suite.h"

#include "tests/integration/metrics.h"

#include <signal.h>
#include <sys/wait.h>

enum { ROUNDS = 5 };

static void pause_broker(struct broker *broker)
{
    broker_signal(broker, SIGSTOP);
    siginfo_t info;
    assert_int_equal(waitid(P_ALL, 0, &info, WSTOPPED), 0);
}

static void resume_broker(struct broker *broker)
{
    broker_signal(broker, SIGCONT);
}

static void expect_good_end(struct broker *broker)
{
    client_close_all();
    broker_signal(broker, SIGTERM);
    suite_expect_own_broker_exit(WAIT_MS);
}

/* A new connection that the broker has accepted, as one of `sockets`. */
static struct client *open_accepted(int sockets)
{
    struct client *c = client_open(MQTT_50);
    metric_expect("pulse_sockets_current", sockets);
    return c;
}

/* A message gives the old connection output, its end closes it, and the takeover finishes it. */
static void a_message_an_end_and_a_takeover_at_once(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    struct client *pub = CONNECT();
    for (int round = 0; round < ROUNDS; round++) {
        struct client *old = CONNECT(.client_id = "victim");
        subscribe(old, "life/t", 0);
        struct client *new = open_accepted(3);
        pause_broker(broker);
        PUBLISH(pub, .topic = "life/t", .payload = "x");
        client_close(old);
        SEND_CONNECT(new, .client_id = "victim");
        resume_broker(broker);
        assert_int_equal(expect_packet(new, PKT_CONNACK)->reason, RC_SUCCESS);
        settle(new);
        client_disconnect(new);
        metric_expect("pulse_sockets_current", 1);
    }
    expect_good_end(broker);
}

/* The takeover gives the old connection its DISCONNECT with 0x8E to write; then its end comes. */
static void a_takeover_and_the_end_of_the_old_connection_at_once(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    for (int round = 0; round < ROUNDS; round++) {
        struct client *old = CONNECT(.client_id = "victim");
        subscribe(old, "life/t", 0);
        struct client *new = open_accepted(2);
        pause_broker(broker);
        SEND_CONNECT(new, .client_id = "victim");
        client_close(old);
        resume_broker(broker);
        assert_int_equal(expect_packet(new, PKT_CONNACK)->reason, RC_SUCCESS);
        settle(new);
        client_disconnect(new);
        metric_expect("pulse_sockets_current", 0);
    }
    expect_good_end(broker);
}

/* The other way round: the end is seen before the takeover. */
static void the_end_of_the_old_connection_and_a_takeover_at_once(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NULL);
    for (int round = 0; round < ROUNDS; round++) {
        struct client *old =
            CONNECT(.client_id = "victim", .will_topic = "life/will", .will_payload = "w");
        subscribe(old, "life/#", 1);
        struct client *new = open_accepted(2);
        pause_broker(broker);
        publish_at(old, &(struct publish_packet){.topic = "life/t", .payload = "x"}, HERE);
        client_close(old);
        SEND_CONNECT(new, .client_id = "victim", .resume = true);
        resume_broker(broker);
        assert_int_equal(expect_packet(new, PKT_CONNACK)->reason, RC_SUCCESS);
        settle(new);
        client_disconnect(new);
        metric_expect("pulse_sockets_current", 0);
    }
    expect_good_end(broker);
}

/* One subscriber goes while a message is on its way to many, another takes its session. */
static void messages_to_clients_that_all_end_at_once(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct broker *broker = OWN_BROKER(NULL);
    struct client *pub = CONNECT();
    for (int round = 0; round < ROUNDS; round++) {
        struct client *subs[COUNT];
        for (int i = 0; i < COUNT; i++) {
            subs[i] = CONNECT();
            subscribe(subs[i], "life/many", (unsigned)i % 3);
        }
        pause_broker(broker);
        PUBLISH(pub, .topic = "life/many", .payload = "x", .qos = 1, .id = 1);
        for (int i = 0; i < COUNT; i++) {
            client_close(subs[i]);
        }
        PUBLISH(pub, .topic = "life/many", .payload = "x", .qos = 1, .id = 2);
        resume_broker(broker);
        assert_true(expect_packet(pub, PKT_PUBACK)->reason < 0x80);
        assert_true(expect_packet(pub, PKT_PUBACK)->reason < 0x80);
        metric_expect("pulse_sockets_current", 1);
    }
    expect_good_end(broker);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_message_an_end_and_a_takeover_at_once),
        TEST(a_takeover_and_the_end_of_the_old_connection_at_once),
        TEST(the_end_of_the_old_connection_and_a_takeover_at_once),
        TEST(messages_to_clients_that_all_end_at_once),
    };
    return RUN_SUITE("lifetime", tests, NULL);
}
