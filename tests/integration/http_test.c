/* The HTTP endpoint: metrics that count, health, readiness, and requests that make no sense. */
#include "tests/integration/metrics.h"
#include "tests/integration/suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static char response[4 * 1024 * 1024];

static int http_connect(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(broker_http_port(suite_broker())),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fail_msg("cannot connect to the HTTP endpoint");
    }
    return fd;
}

/* Reads until the server closes or WAIT_MS have passed. */
static void read_response(int fd)
{
    size_t len = 0;
    long deadline = clock_ms() + WAIT_MS;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    ssize_t got = 1;
    while (got > 0 && len < sizeof(response) - 1 && clock_ms() < deadline) {
        if (poll(&readable, 1, 100) == 1) {
            got = recv(fd, response + len, sizeof(response) - 1 - len, 0);
            len += got > 0 ? (size_t)got : 0;
        }
    }
    response[len] = '\0';
}

/* Sends a request; gives the status, with the whole answer in `response`. */
static int request(const char *method, const char *path)
{
    char text[512];
    int len = snprintf(text, sizeof(text),
                       "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                       "Content-Length: 0\r\n\r\n",
                       method, path);
    int fd = http_connect();
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
    read_response(fd);
    close(fd);
    int status = 0;
    sscanf(response, "HTTP/1.1 %d", &status);
    return status;
}

static void the_metrics_page_is_prometheus_text(void **state)
{
    (void)state;
    assert_int_equal(request("GET", "/metrics"), 200);
    assert_non_null(strstr(response, "Content-Type: text/plain"));
    assert_non_null(strstr(response, "# TYPE mqtt_connections_current gauge"));
    assert_non_null(strstr(response, "# TYPE mqtt_connections_total counter"));
    assert_non_null(strstr(response, "# HELP mqtt_connections_total "));
}

/* The names that users of the reference have in their dashboards. */
static void the_names_of_the_reference_are_all_there(void **state)
{
    (void)state;
    static const char *const names[] = {
        "\nmqtt_connections_current ",
        "\nmqtt_connections_total ",
        "\nmqtt_publish_in_total{qos=\"0\"} ",
        "\nmqtt_publish_in_total{qos=\"1\"} ",
        "\nmqtt_publish_in_total{qos=\"2\"} ",
        "\nmqtt_publish_out_total{qos=\"0\"} ",
        "\nmqtt_publish_out_total{qos=\"1\"} ",
        "\nmqtt_publish_out_total{qos=\"2\"} ",
        "\nmqtt_subscriptions_current ",
        "\nmqtt_session_queue_size ",
        "\nmqtt_retained_messages_current ",
        "\nmqtt_auth_failures_total{reason=\"bad_username_or_password\"} ",
        "\nmqtt_auth_failures_total{reason=\"bad_authentication_method\"} ",
        "\nmqtt_auth_failures_total{reason=\"unknown\"} ",
        "\nmqtt_qos1_inflight_current ",
        "\nmqtt_qos2_inflight_current ",
        "\nmqtt_shared_subscription_dispatch_total ",
        "\nmqtt_publish_latency_seconds_bucket{",
        "\nmqtt_publish_latency_seconds_sum ",
        "\nmqtt_publish_latency_seconds_count ",
        "\nmqtt_packet_parse_errors_total{reason=\"decode_error\"} ",
        "\nmqtt_packet_parse_errors_total{reason=\"frame_too_large\"} ",
        "\nmqtt_delivery_flush_failures_total ",
    };
    assert_int_equal(request("GET", "/metrics"), 200);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strstr(response, names[i]) == NULL) {
            test_fail("no such metric: %s", names[i] + 1);
        }
    }
}

static void gauges_follow_connections_and_subscriptions(void **state)
{
    (void)state;
    OWN_BROKER(NULL);
    struct client *a = CONNECT();
    struct client *b = CONNECT();
    subscribe(a, "gauge/1", 0);
    subscribe(a, "gauge/2", 0);
    subscribe(b, "gauge/1", 0);
    metric_expect("mqtt_connections_current", 2);
    metric_expect("mqtt_subscriptions_current", 3);
    metric_expect("mqtt_connections_total", 2);
    publish_retained(a, "gauge/kept", "x", 1);
    metric_expect("mqtt_retained_messages_current", 1);
    client_disconnect(b);
    metric_expect("mqtt_connections_current", 1);
    metric_expect("mqtt_connections_total", 2);
}

static void counters_count_messages_in_and_out(void **state)
{
    (void)state;
    OWN_BROKER(NULL);
    struct client *sub = CONNECT();
    subscribe(sub, "count/t", 2);
    struct client *pub = CONNECT();
    for (uint8_t qos = 0; qos <= 2; qos++) {
        publish(pub, "count/t", "x", qos);
        expect_publish_and_ack(sub, "count/t", "x");
    }
    metric_expect("mqtt_publish_in_total{qos=\"0\"}", 1);
    metric_expect("mqtt_publish_in_total{qos=\"1\"}", 1);
    metric_expect("mqtt_publish_in_total{qos=\"2\"}", 1);
    metric_expect("mqtt_publish_out_total{qos=\"0\"}", 1);
    metric_expect("mqtt_publish_out_total{qos=\"1\"}", 1);
    metric_expect("mqtt_publish_out_total{qos=\"2\"}", 1);
    assert_true(metric_value("mqtt_publish_latency_seconds_count") >= 0);
}

/* Everything is bounded, and what was dropped is counted. */
static void what_is_dropped_is_counted(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_offline_queue_len: 1");
    struct client *c = CONNECT(.client_id = "dropped", .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "dropped/t", 1);
    client_disconnect(c);
    struct client *pub = CONNECT();
    publish(pub, "dropped/t", "one", 1);
    publish(pub, "dropped/t", "two", 1);
    publish(pub, "dropped/t", "zero", 0);
    metric_expect("mqtt_session_queue_size", 1);
    metric_expect("pulse_messages_dropped_total{reason=\"queue_full\"}", 1);
    metric_expect("pulse_messages_dropped_total{reason=\"qos0_offline\"}", 1);
    PUBLISH(pub, .topic = "$SYS/no", .payload = "x");
    metric_expect("pulse_messages_dropped_total{reason=\"not_authorized\"}", 1);
}

static void bad_input_is_counted(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_maximum_packet_size: 1000");
    struct client *c = CONNECT();
    RAW(c, 0xc0, 0x01, 0x00);
    expect_disconnect(c, RC_MALFORMED);
    c = CONNECT();
    RAW(c, 0x30, 0xff, 0xff, 0x7f);
    expect_disconnect(c, RC_PACKET_TOO_LARGE);
    c = client_open(MQTT_50);
    SEND_CONNECT(c, .props = PROPS(prop_auth_method("none")));
    EXPECT_REFUSED(c, RC_BAD_AUTH_METHOD);
    metric_expect("mqtt_packet_parse_errors_total{reason=\"decode_error\"}", 1);
    metric_expect("mqtt_packet_parse_errors_total{reason=\"frame_too_large\"}", 1);
    metric_expect("mqtt_auth_failures_total{reason=\"bad_authentication_method\"}", 1);
}

static void a_running_broker_is_healthy_and_ready(void **state)
{
    (void)state;
    assert_int_equal(request("GET", "/healthz"), 200);
    assert_int_equal(request("GET", "/readyz"), 200);
    assert_int_equal(request("HEAD", "/healthz"), 200);
}

static void requests_for_nothing_are_told_so(void **state)
{
    (void)state;
    assert_int_equal(request("GET", "/nothing/here"), 404);
    assert_int_equal(request("GET", "/metrics/"), 404);
    assert_int_equal(request("POST", "/metrics"), 405);
    assert_int_equal(request("DELETE", "/healthz"), 405);
}

/* Noise, half requests and idle connections on the endpoint do not touch the broker. */
static void noise_on_the_endpoint_disturbs_nobody(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fds[i] = http_connect();
        static const char *const noise[] = {"\x10\x0c MQTT?\r\n\r\n", "GET /metr", "", "\r\n\r\n",
                                            "GET /metrics HTTP/9.9\r\n\r\n"};
        const char *text = noise[i % 5];
        send(fds[i], text, strlen(text), MSG_NOSIGNAL);
    }
    struct client *sub = CONNECT();
    subscribe(sub, "noise/t", 1);
    publish(CONNECT(), "noise/t", "x", 1);
    expect_publish_and_ack(sub, "noise/t", "x");
    assert_int_equal(request("GET", "/healthz"), 200);
    for (int i = 0; i < COUNT; i++) {
        close(fds[i]);
    }
    assert_int_equal(request("GET", "/readyz"), 200);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_metrics_page_is_prometheus_text),
        TEST(the_names_of_the_reference_are_all_there),
        TEST(gauges_follow_connections_and_subscriptions),
        TEST(counters_count_messages_in_and_out),
        TEST(what_is_dropped_is_counted),
        TEST(bad_input_is_counted),
        TEST(a_running_broker_is_healthy_and_ready),
        TEST(requests_for_nothing_are_told_so),
        TEST(noise_on_the_endpoint_disturbs_nobody),
    };
    return RUN_SUITE("http", tests, NULL);
}
