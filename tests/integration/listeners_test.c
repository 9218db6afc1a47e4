/* Listeners: several at once, of each kind, with limits of their own. */
#include "tests/integration/certificates.h"
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { YAML_SIZE = 4096 };

/* The IPv6 loopback, or the test is skipped. */
static void need_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool is_there = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    if (!is_there) {
        skip();
    }
}

/* A folder for sockets, removed by its owner: certificates_end() takes it along. */
static const char *socket_path(void)
{
    return certificates_path("mqtt.sock");
}

static void every_kind_serves_the_same_broker(void **state)
{
    (void)state;
    char yaml[YAML_SIZE];
    uint16_t mqtt = broker_free_port(), ws = broker_free_port(), wss = broker_free_port();
    snprintf(yaml, sizeof(yaml),
             "%s- bind: 127.0.0.1:%u\n  name: second\n- bind: 127.0.0.1:%u\n  protocol: ws\n"
             "- bind: 127.0.0.1:%u\n  protocol: ws\n  tls: true\n  certificate_chain: %s\n"
             "  private_key: %s\n- bind: unix:%s\n",
             tls_yaml(""), mqtt, ws, wss, certificates_path("server-ec.pem"),
             certificates_path("server-ec.key"), socket_path());
    OWN_BROKER_YAML(yaml, NULL);
    struct secure_way ways[] = {
        {0},
        {.port = mqtt},
        tls_way(),
        {.port = ws, .websocket = true},
        {.port = wss, .websocket = true, .tls = true},
        {.unix_path = socket_path()},
    };
    enum { COUNT = sizeof(ways) / sizeof(ways[0]) };
    struct client *clients[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        clients[i] = SECURE_CONNECT(&ways[i]);
        subscribe(clients[i], "all/kinds", 1);
    }
    for (size_t i = 0; i < COUNT; i++) {
        PUBLISH(clients[i], .topic = "all/kinds", .payload = "x", .qos = 0);
        for (size_t k = 0; k < COUNT; k++) {
            expect_publish(clients[k], "all/kinds", "x");
        }
    }
    metric_expect("mqtt_connections_current", COUNT);
}

/* A client may come back another way, and finds its session. */
static void a_session_moves_between_listeners(void **state)
{
    (void)state;
    char yaml[YAML_SIZE];
    uint16_t ws = broker_free_port();
    snprintf(yaml, sizeof(yaml), "%s- bind: 127.0.0.1:%u\n  protocol: ws\n", tls_yaml(""), ws);
    OWN_BROKER_YAML(yaml, NULL);
    struct secure_way ways[] = {{0}, tls_way(), {.port = ws, .websocket = true}};
    for (size_t i = 0; i < 6; i++) {
        struct client *c = SECURE_CONNECT(&ways[i % 3], .client_id = "wanderer", .resume = true,
                                          .props = PROPS(prop_session_expiry(60)));
        assert_int_equal(client_last(c)->session_present, i > 0);
        if (i == 0) {
            subscribe(c, "wander/t", 1);
        } else {
            expect_publish_and_ack(c, "wander/t", "waited");
        }
        client_disconnect(c);
        publish(CONNECT(), "wander/t", "waited", 1);
    }
}

/* The one that comes over TLS takes over from the one that came over WebSocket. */
static void a_takeover_crosses_listeners(void **state)
{
    (void)state;
    char yaml[YAML_SIZE];
    uint16_t ws = broker_free_port();
    snprintf(yaml, sizeof(yaml), "%s- bind: 127.0.0.1:%u\n  protocol: ws\n", tls_yaml(""), ws);
    OWN_BROKER_YAML(yaml, NULL);
    struct secure_way old = {.port = ws, .websocket = true}, young = tls_way();
    struct client *first = SECURE_CONNECT(&old, .client_id = "twin");
    struct client *second = SECURE_CONNECT(&young, .client_id = "twin");
    expect_disconnect(first, RC_SESSION_TAKEN_OVER);
    tls_exchange(second, second);
}

static void a_unix_socket_has_its_permissions_and_goes_with_the_broker(void **state)
{
    (void)state;
    char yaml[YAML_SIZE];
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: unix:%s\n  unix_mode: 600\n", socket_path());
    struct broker *broker = broker_start_yaml(NULL, yaml);
    assert_non_null(broker);
    struct stat status;
    assert_int_equal(stat(socket_path(), &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0600);
    struct secure_way way = {.unix_path = socket_path()};
    struct client *c = SECURE_CONNECT(&way);
    tls_exchange(c, c);
    client_close_all();
    assert_true(broker_stop(broker));
    assert_int_not_equal(stat(socket_path(), &status), 0);
}

/* What a broker left that was killed is no obstacle; what another one listens at is. */
static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    (void)state;
    char yaml[YAML_SIZE];
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: unix:%s\n", socket_path());
    struct broker *broker = broker_start_yaml(NULL, yaml);
    assert_non_null(broker);
    assert_true(broker_end(broker, SIGKILL));
    assert_true(broker_start_again(broker));
    struct secure_way way = {.unix_path = socket_path()};
    struct client *c = SECURE_CONNECT(&way);
    struct broker *second = broker_start_yaml(NULL, yaml);
    assert_null(second);
    tls_exchange(c, c);
    client_close_all();
    assert_true(broker_stop(broker));
}

/* A file that is no socket is somebody's. */
static void a_file_in_the_place_of_a_unix_socket_stays(void **state)
{
    (void)state;
    char yaml[YAML_SIZE];
    certificates_write("precious", "data\n");
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: unix:%s\n", certificates_path("precious"));
    assert_null(broker_start_yaml(NULL, yaml));
    struct stat status;
    assert_int_equal(stat(certificates_path("precious"), &status), 0);
    assert_int_equal(status.st_size, 5);
}

static void double_colon_is_both_families(void **state)
{
    (void)state;
    need_ipv6();
    char yaml[256];
    uint16_t port = broker_free_port();
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: \"[::]:%u\"\n", port);
    OWN_BROKER_YAML(yaml, NULL);
    struct secure_way four = {.port = port}, six = {.port = port, .host = "::1"};
    struct client *a = SECURE_CONNECT(&four, .client_id = "four");
    struct client *b = SECURE_CONNECT(&six, .client_id = "six");
    tls_exchange(a, b);
    tls_exchange(b, a);
    assert_true(broker_log_lines(suite_broker(), "[::1]:") > 0);
    /* An IPv4 address is written as one, however it came */
    assert_int_equal(broker_log_lines(suite_broker(), "::ffff:"), 0);
}

static void one_ipv6_address_is_that_one_only(void **state)
{
    (void)state;
    need_ipv6();
    char yaml[256];
    uint16_t port = broker_free_port();
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: \"[::1]:%u\"\n", port);
    OWN_BROKER_YAML(yaml, NULL);
    struct secure_way six = {.port = port, .host = "::1"};
    client_disconnect(SECURE_CONNECT(&six));
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_not_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
}

/* A place is free when the broker has let go of a socket, a moment after its end. */
static void expect_a_place(const struct secure_way *way)
{
    long deadline = clock_ms() + WAIT_MS;
    bool is_in = false;
    while (!is_in && clock_ms() < deadline) {
        struct secure_stream *stream = secure_open(way);
        struct buffer packet = {0};
        put_connect(&packet, &(struct connect_packet){.client_id = "next"});
        secure_send(stream, packet.data, packet.len);
        is_in = secure_fill(stream, 1, WAIT_MS);
        buffer_fini(&packet);
        let_time_pass(5);
    }
    assert_true(is_in);
}

/* One listener's crowd leaves room at the others. */
static void a_listener_has_a_limit_of_its_own(void **state)
{
    (void)state;
    enum { LIMIT = 3 };
    char yaml[256];
    uint16_t port = broker_free_port();
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: 127.0.0.1:%u\n  max_connections: %d\n", port,
             LIMIT);
    OWN_BROKER_YAML(yaml, NULL);
    struct secure_way way = {.port = port};
    struct client *clients[LIMIT];
    for (int i = 0; i < LIMIT; i++) {
        clients[i] = SECURE_CONNECT(&way);
    }
    for (int i = 0; i < 5; i++) {
        secure_expect_end(secure_open(&way));
    }
    struct client *elsewhere = CONNECT();
    tls_exchange(clients[0], elsewhere);
    client_disconnect(clients[1]);
    expect_a_place(&way);
}

/* TLS and WebSocket hold their place from the first byte on: half-open ones count. */
static void half_open_connections_count(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml("  max_connections: 2\n"), "limits.connect_timeout: 500ms");
    struct secure_way plain = {.port = tls_port()}, way = tls_way();
    struct secure_stream *first = secure_open(&plain), *second = secure_open(&plain);
    secure_send(first, "\x16\x03\x01", 3);
    metric_expect("pulse_sockets_current", 2); /* each worker accepts for itself */
    assert_false(secure_open(&way)->is_open);
    secure_expect_end(first); /* limits.connect_timeout */
    secure_expect_end(second);
    expect_a_place(&way);
}

static void mistakes_keep_the_broker_from_starting(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *says;
    } cases[] = {
        {"listeners:\n- bind: 127.0.0.1:30001\n- bind: 127.0.0.1:30001\n", "must differ"},
        {"listeners:\n- protocol: ws\n", "bind"},
        {"listeners:\n- bind: 127.0.0.1\n", "bind"},
        {"listeners:\n- bind: 127.0.0.1:70000\n", "bind"},
        {"listeners:\n- bind: \"unix:\"\n", "bind"},
        {"listeners:\n- bind: 127.0.0.1:30001\n  protocol: amqp\n", "protocol"},
        {"listeners:\n- bind: 127.0.0.1:30001\n  tls: true\n", "certificate_chain"},
        {"listeners:\n- bind: 127.0.0.1:30001\n  colour: red\n", "colour"},
        {"listeners:\n- bind: 127.0.0.1:30001\n  path: mqtt\n  protocol: ws\n", "path"},
        {"listeners:\n- bind: 127.0.0.1:30001\n  proxy_protocol: v3\n", "proxy_protocol"},
        {"listeners:\n- bind: unix:/tmp/x.sock\n  unix_mode: 999\n", "unix_mode"},
        {"listeners: 127.0.0.1:30001\n", "listeners"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        test_case(cases[i].yaml);
        if (!broker_refuses(NULL, cases[i].yaml, cases[i].says)) {
            test_fail("it should not start, and say %s", cases[i].says);
        }
    }
}

/* A port that somebody else has is an error, not a broker with a part of its doors. */
static void a_port_that_is_taken_keeps_the_broker_from_starting(void **state)
{
    (void)state;
    char yaml[256];
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: 127.0.0.1:%u\n", broker_port(suite_broker()));
    assert_null(broker_start_yaml(NULL, yaml));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(every_kind_serves_the_same_broker),
        TEST(a_session_moves_between_listeners),
        TEST(a_takeover_crosses_listeners),
        TEST(a_unix_socket_has_its_permissions_and_goes_with_the_broker),
        TEST(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        TEST(a_file_in_the_place_of_a_unix_socket_stays),
        TEST(double_colon_is_both_families),
        TEST(one_ipv6_address_is_that_one_only),
        TEST(a_listener_has_a_limit_of_its_own),
        TEST(half_open_connections_count),
        TEST(mistakes_keep_the_broker_from_starting),
        TEST(a_port_that_is_taken_keeps_the_broker_from_starting),
    };
    return RUN_SUITE("listeners", tests, NULL);
}
