/* Logins and time: who guesses waits, others do not; many at once; clients that go meanwhile. */
#include "tests/integration/auth_support.h"
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BUSY "mqtt_auth_failures_total{reason=\"too_many_attempts\"}"

/* Else all that comes from this machine is as if it came through a proxy. */
#define NO_EXEMPTION "limits.exempt_addresses: \"off\""

enum {
    DELAY_MS = 300,     /* of the first failure, with SLOW */
    DELAY_MAX_MS = 900, /* of any */
    SLACK_MS = 4000,    /* that a busy machine may add */
    RETURN_BAD_PASSWORD = 4,
    RETURN_UNAVAILABLE = 3
};

/* A broker whose answers to wrong passwords take time. */
static const char *slow_yaml(const char *more)
{
    return auth_yaml(
        "auth:\n  enabled: true\n  failure_delay: %dms\n  failure_delay_max: %dms\n"
        "  no_match: allow\n  password_file: %s\n%s",
        DELAY_MS, DELAY_MAX_MS,
        auth_write("users", "alice:%s\nbob:%s\n", auth_hash_7("wonder"), auth_hash_7("builder")),
        more);
}

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

static long login_ms_from(const char *address, const char *user, const char *password,
                          uint8_t reason)
{
    long start = clock_ms();
    struct client *c = open_from(address);
    SEND_CONNECT(c, .user = user, .password = password);
    assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, reason);
    long took = clock_ms() - start;
    client_close(c);
    return took;
}

#define assert_took(ms, least)                   \
    do {                                         \
        long took_ = (ms);                       \
        assert_true(took_ >= (least)-5);         \
        assert_true(took_ < (least) + SLACK_MS); \
    } while (0)

/* ---- delays ---------------------------------------------------------------------------------- */

static void the_answer_to_a_wrong_password_takes_longer_each_time(void **state)
{
    (void)state;
    OWN_BROKER_YAML(slow_yaml(""), NO_EXEMPTION);
    assert_took(LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "x"), DELAY_MS);
    assert_took(LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "y"), 2 * DELAY_MS);
    assert_took(LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "bob", .password = "z"), DELAY_MAX_MS);
    assert_took(
        LOGIN_MS(RETURN_BAD_PASSWORD, .version = MQTT_311, .user = "nobody", .password = "z"),
        DELAY_MAX_MS);
    assert_true(LOGIN_MS(0, .user = "alice", .password = "wonder") < DELAY_MS);
}

/* One who knows a password of its own must not get rid of the delay for guessing others'. */
static void a_good_login_of_somebody_else_does_not_forgive(void **state)
{
    (void)state;
    OWN_BROKER_YAML(slow_yaml(""), NO_EXEMPTION);
    assert_took(LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "x"), DELAY_MS);
    LOGIN_MS(0, .user = "bob", .password = "builder");
    assert_took(LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "y"), 2 * DELAY_MS);
    LOGIN_MS(0, .user = "alice", .password = "wonder"); /* it has found its own password */
    long took = LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "y");
    assert_true(took >= DELAY_MS - 5 && took < 2 * DELAY_MS);
}

static void the_delay_of_an_address_is_not_that_of_another(void **state)
{
    (void)state;
    OWN_BROKER_YAML(slow_yaml(""), NO_EXEMPTION);
    login_ms_from("127.0.0.7", "alice", "x", RC_BAD_USER_OR_PASSWORD);
    login_ms_from("127.0.0.7", "alice", "x", RC_BAD_USER_OR_PASSWORD);
    struct client *guesser = open_from("127.0.0.7");
    SEND_CONNECT(guesser, .user = "alice", .password = "x");
    assert_true(login_ms_from("127.0.0.8", "alice", "wonder", RC_SUCCESS) < DELAY_MS);
    long took = login_ms_from("127.0.0.9", "alice", "x", RC_BAD_USER_OR_PASSWORD);
    assert_true(took >= DELAY_MS - 5 && took < DELAY_MAX_MS);
    EXPECT_REFUSED(guesser, RC_BAD_USER_OR_PASSWORD);
}

/* Many clients come from there, by their nature: names are kept apart instead. */
static void of_an_exempt_address_each_name_has_its_own_delay(void **state)
{
    (void)state;
    OWN_BROKER_YAML(slow_yaml(""), NULL);
    assert_took(LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "x"), DELAY_MS);
    assert_took(LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "x"), 2 * DELAY_MS);
    long took = LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "bob", .password = "x");
    assert_true(took >= DELAY_MS - 5 && took < DELAY_MAX_MS);
    struct client *guessers[60]; /* more than one name may have at a time */
    for (size_t i = 0; i < 60; i++) {
        guessers[i] = LOGIN(.user = "alice", .password = "guess");
    }
    assert_true(LOGIN_MS(0, .user = "bob", .password = "builder") < DELAY_MAX_MS);
    EXPECT_REFUSED(guessers[0], RC_BAD_USER_OR_PASSWORD);
}

static void a_good_client_of_the_same_address_does_not_wait(void **state)
{
    (void)state;
    OWN_BROKER_YAML(slow_yaml(""), NO_EXEMPTION);
    struct client *guessers[8];
    for (size_t i = 0; i < 8; i++) {
        guessers[i] = LOGIN(.user = "alice", .password = "guess");
    }
    assert_true(LOGIN_MS(0, .user = "bob", .password = "builder") < DELAY_MS);
    for (size_t i = 0; i < 8; i++) {
        EXPECT_REFUSED(guessers[i], RC_BAD_USER_OR_PASSWORD);
    }
}

/* The shorter of `before` and of what a refusal takes now: what the machine adds is no secret. */
static long shorter(long before, const char *user)
{
    long took = LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = user, .password = "wrong");
    return took < before ? took : before;
}

static void an_unknown_user_takes_as_long_as_a_wrong_password(void **state)
{
    (void)state;
    const char *file = auth_path("costly");
    assert_int_equal(
        AUTH_PULSE("x\n", NULL, 0, "passwd", "--stdin", "--hash", "pbkdf2", file, "alice"), 0);
    OWN_BROKER_YAML(auth_yaml("auth: {enabled: true, failure_delay: 0, password_file: %s}\n", file),
                    NULL);
    long known = WAIT_MS, unknown = WAIT_MS;
    for (int i = 0; i < 6; i++) {
        known = shorter(known, "alice");
        unknown = shorter(unknown, "nobody");
    }
    assert_true(known >= 20); /* else there is nothing to compare */
    assert_true(unknown > known / 2 && unknown < known * 2);
}

/* ---- many ------------------------------------------------------------------------------------ */

/* The longest that a ping took while `logins` were answered. */
static long slowest_ping_during(struct client *established, struct client **logins, size_t count)
{
    long slowest = 0;
    for (size_t i = 0; i < count; i++) {
        if (i % 16 == 0) {
            long start = clock_ms();
            settle(established);
            long took = clock_ms() - start;
            slowest = took > slowest ? took : slowest;
        }
        assert_int_equal(expect_packet(logins[i], PKT_CONNACK)->reason, RC_SUCCESS);
    }
    return slowest;
}

static void a_thousand_logins_at_once_all_succeed_and_hold_up_nobody(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct client *logins[COUNT];
    OWN_BROKER_YAML(slow_yaml(""), NULL);
    struct client *established = CONNECT(.user = "alice", .password = "wonder");
    subscribe(established, "delay/t", 1);
    for (size_t i = 0; i < COUNT; i++) {
        logins[i] = LOGIN(.user = i % 2 == 0 ? "alice" : "bob",
                          .password = i % 2 == 0 ? "wonder" : "builder");
    }
    assert_true(slowest_ping_during(established, logins, COUNT) < 1000);
    metric_expect("mqtt_connections_current", COUNT + 1);
    publish(logins[COUNT - 1], "delay/t", "x", 1);
    expect_publish_and_ack(established, "delay/t", "x");
}

static void over_attempts_max_the_answer_is_server_busy(void **state)
{
    (void)state;
    OWN_BROKER_YAML(slow_yaml("  attempts_max: 1\n"), NO_EXEMPTION);
    LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "x");
    struct client *held = LOGIN(.user = "alice", .password = "x");
    let_time_pass(DELAY_MS / 3); /* for it to come in first */
    EXPECT_NO_LOGIN(RC_SERVER_BUSY, .user = "bob", .password = "builder");
    EXPECT_NO_LOGIN(RETURN_UNAVAILABLE, .version = MQTT_311, .user = "bob", .password = "builder");
    metric_expect(BUSY, 2);
    EXPECT_REFUSED(held, RC_BAD_USER_OR_PASSWORD);
    client_disconnect(CONNECT(.user = "bob", .password = "builder"));
}

/* ---- clients that don't wait ----------------------------------------------------------------- */

static void clients_that_go_while_their_hash_is_computed_leave_nothing_behind(void **state)
{
    (void)state;
    const char *file = auth_path("fleeting");
    assert_int_equal(AUTH_PULSE("right\n", NULL, 0, "passwd", "--stdin", file, "alice"), 0);
    OWN_BROKER_YAML(auth_yaml("auth: {enabled: true, failure_delay: 5ms, failure_delay_max: 50ms, "
                              "password_file: %s}\n",
                              file),
                    NULL);
    for (int i = 0; i < 300; i++) {
        char id[32];
        snprintf(id, sizeof(id), "fleeting-%d", i % 7); /* some meet their own predecessor */
        struct client *c = LOGIN(.client_id = id, .user = i % 3 == 0 ? "nobody" : "alice",
                                 .password = i % 2 == 0 ? "right" : "wrong");
        if (i % 10 == 0) {
            let_time_pass(i / 10); /* some are gone before, some after the hash */
        }
        client_close(c);
    }
    /* Nobody computes the hashes of those that are gone while others wait. */
    long took = LOGIN_MS(0, .client_id = "fleeting-1", .user = "alice", .password = "right");
    assert_true(took < SLACK_MS);
    metric_expect("mqtt_connections_current", 0);
    metric_expect("pulse_sockets_current", 0);
    metric_expect("pulse_sessions_current", 0);
}

/* Section 3.1.4 allows a client to send on before CONNACK; the broker must wait, and not lose.
 */
static void packets_right_behind_connect_are_answered_after_it_in_order(void **state)
{
    (void)state;
    const char *file = auth_path("eager");
    assert_int_equal(AUTH_PULSE("right\n", NULL, 0, "passwd", "--stdin", file, "alice"), 0);
    OWN_BROKER_YAML(auth_yaml("auth: {enabled: true, failure_delay: 50ms, no_match: allow, "
                              "password_file: %s}\n",
                              file),
                    NULL);
    for (int i = 0; i < 8; i++) {
        struct buffer all = {0};
        char id[32];
        snprintf(id, sizeof(id), "eager-%d", i);
        put_connect(
            &all, &(struct connect_packet){.client_id = id, .user = "alice", .password = "right"});
        put_subscribe(&all, MQTT_50,
                      &(struct subscribe_packet){.id = 7, .filters = FILTERS({"eager", 0})});
        put_publish(&all, MQTT_50,
                    &(struct publish_packet){.topic = "eager", .payload = "x", .qos = 1, .id = 8});
        put_bytes(&all, (const uint8_t[]){0xc0, 0x00}, 2);
        struct client *c = client_open(MQTT_50);
        size_t half = i < 4 ? all.len : all.len / 2; /* at once, and torn */
        send_bytes(c, all.data, half);
        if (half < all.len) {
            let_time_pass(5);
        }
        send_bytes(c, all.data + half, all.len - half);
        buffer_fini(&all);
        assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
        EXPECT_SUBACK(c, 7, 0);
        bool got_ack = false;
        for (int k = 0; k < 2; k++) { /* its own message and the PUBACK in either order */
            const struct packet *packet = client_receive(c, WAIT_MS);
            assert_non_null(packet);
            got_ack = got_ack || packet->type == PKT_PUBACK;
        }
        assert_true(got_ack);
        expect_packet(c, PKT_PINGRESP);
        client_disconnect(c);
    }
}

/* In one record or frame, decoded before the login is done: kept, and not lost. */
static void so_they_are_through_tls_and_websocket(void **state)
{
    (void)state;
    static const char *const protocols[] = {"mqtt", "ws"};
    const char *file = auth_path("secure");
    assert_int_equal(AUTH_PULSE("right\n", NULL, 0, "passwd", "--stdin", file, "alice"), 0);
    for (size_t i = 0; i < 2; i++) {
        char more[64];
        test_case(protocols[i]);
        snprintf(more, sizeof(more), "  protocol: %s\n", protocols[i]);
        struct broker *broker = broker_start_yaml(
            NULL, auth_yaml("%sauth: {enabled: true, no_match: allow, password_file: %s}\n",
                            tls_yaml(more), file));
        assert_non_null(broker);
        struct secure_way way = tls_way();
        way.websocket = i == 1;
        struct client *c = secure_client(MQTT_50, &way);
        struct buffer all = {0};
        put_connect(&all, &(struct connect_packet){
                              .client_id = "eager", .user = "alice", .password = "right"});
        for (uint16_t id = 1; id <= 500; id++) {
            put_publish(&all, MQTT_50,
                        &(struct publish_packet){
                            .topic = "eager/x", .payload = "some text", .qos = 1, .id = id});
        }
        send_buffer(c, &all);
        buffer_fini(&all);
        assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
        for (uint16_t id = 1; id <= 500; id++) {
            expect_ack(c, PKT_PUBACK, id, RC_NO_MATCHING_SUBSCRIBERS);
        }
        client_close(c);
        assert_true(broker_stop(broker));
    }
}

/* The broker must not wait for hashes that nobody needs any more, nor forget who waits. */
static void the_broker_stops_while_logins_are_judged(void **state)
{
    (void)state;
    const char *file = auth_path("stopped");
    assert_int_equal(AUTH_PULSE("right\n", NULL, 0, "passwd", "--stdin", file, "alice"), 0);
    struct broker *broker = OWN_BROKER_YAML(
        auth_yaml("auth: {enabled: true, failure_delay: 10s, failure_delay_max: 20s, wait_max: 1m, "
                  "password_file: %s}\n",
                  file),
        NULL);
    struct client *c[300];
    for (size_t i = 0; i < 300; i++) {
        c[i] = LOGIN(.user = i % 4 == 0 ? "nobody" : "alice", .password = "right");
    }
    /* hashes are computed at low priority: on a busy machine it takes its time */
    const struct packet *connack = client_receive(c[1], 10 * WAIT_MS);
    assert_non_null(connack);
    assert_int_equal(connack->reason, RC_SUCCESS);
    long start = clock_ms();
    broker_signal(broker, SIGTERM);
    for (size_t i = 0; i < 300; i++) {
        while (client_receive(c[i], WAIT_MS) != NULL) {
        }
        expect_closed(c[i]);
    }
    suite_expect_own_broker_exit(WAIT_MS);
    assert_true(clock_ms() - start < 8000);
}

static void packets_behind_a_connect_that_is_refused_are_not_looked_at(void **state)
{
    (void)state;
    OWN_BROKER_YAML(slow_yaml(""), NULL);
    struct client *sub = CONNECT(.user = "alice", .password = "wonder");
    subscribe(sub, "eager/#", 1);
    struct buffer all = {0};
    put_connect(&all,
                &(struct connect_packet){.client_id = "bad", .user = "alice", .password = "wrong"});
    for (uint16_t i = 1; i <= 50; i++) {
        put_publish(&all, MQTT_50,
                    &(struct publish_packet){
                        .topic = "eager/x", .payload = "x", .qos = 1, .id = i, .retain = true});
    }
    struct client *c = client_open(MQTT_50);
    send_buffer(c, &all);
    buffer_fini(&all);
    EXPECT_REFUSED(c, RC_BAD_USER_OR_PASSWORD);
    expect_nothing(sub);
    metric_expect("mqtt_publish_in_total{qos=\"1\"}", 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_answer_to_a_wrong_password_takes_longer_each_time),
        TEST(a_good_login_of_somebody_else_does_not_forgive),
        TEST(the_delay_of_an_address_is_not_that_of_another),
        TEST(of_an_exempt_address_each_name_has_its_own_delay),
        TEST(a_good_client_of_the_same_address_does_not_wait),
        TEST(an_unknown_user_takes_as_long_as_a_wrong_password),
        TEST(a_thousand_logins_at_once_all_succeed_and_hold_up_nobody),
        TEST(over_attempts_max_the_answer_is_server_busy),
        TEST(clients_that_go_while_their_hash_is_computed_leave_nothing_behind),
        TEST(packets_right_behind_connect_are_answered_after_it_in_order),
        TEST(so_they_are_through_tls_and_websocket),
        TEST(the_broker_stops_while_logins_are_judged),
        TEST(packets_behind_a_connect_that_is_refused_are_not_looked_at),
    };
    return RUN_SUITE("auth_delay", tests, NULL);
}
