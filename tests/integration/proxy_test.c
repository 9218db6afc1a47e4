/* The PROXY protocol: whose connection it is that a load balancer passes on. */
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <arpa/inet.h>
#include <stdio.h>

static uint16_t proxy_port;

static const char *proxy_yaml(const char *mode, const char *more)
{
    static char yaml[1024];
    proxy_port = broker_free_port();
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: 127.0.0.1:%u\n  proxy_protocol: %s\n%s",
             proxy_port, mode, more);
    return yaml;
}

static struct secure_way way_behind(const void *header, size_t len)
{
    return (struct secure_way){.port = proxy_port, .preface = header, .preface_len = len};
}

static struct secure_way way_behind_text(const char *header)
{
    return way_behind(header, strlen(header));
}

/* Version 2: command and family as they are sent, then addresses and ports, then what follows. */
static struct buffer header_v2(unsigned command, unsigned family, const void *body, size_t len)
{
    struct buffer header = {0};
    put_bytes(&header, "\r\n\r\n\0\r\nQUIT\n", 12);
    put_u8(&header, 0x20 | command);
    put_u8(&header, family);
    put_u16(&header, (unsigned)len);
    put_bytes(&header, body, len);
    return header;
}

static struct buffer header_v2_tcp4(const char *address, unsigned port)
{
    struct buffer body = {0};
    struct in_addr source;
    inet_pton(AF_INET, address, &source);
    put_bytes(&body, &source, 4);
    put_bytes(&body, "\x7f\0\0\1", 4);
    put_u16(&body, port);
    put_u16(&body, 1883);
    put_bytes(&body, "\x04\0\3abc", 6); /* a TLV that nobody needs */
    struct buffer header = header_v2(1, 0x11, body.data, body.len);
    buffer_fini(&body);
    return header;
}

static struct buffer header_v2_tcp6(const char *address, unsigned port)
{
    struct buffer body = {0};
    struct in6_addr source;
    inet_pton(AF_INET6, address, &source);
    put_bytes(&body, &source, 16);
    put_bytes(&body, &in6addr_loopback, 16);
    put_u16(&body, port);
    put_u16(&body, 1883);
    struct buffer header = header_v2(1, 0x21, body.data, body.len);
    buffer_fini(&body);
    return header;
}

/* A client that comes by `way` is logged as `peer`. */
static void check_logged(struct secure_way way, const char *client_id, const char *peer)
{
    struct client *c = SECURE_CONNECT(&way, .client_id = client_id);
    settle(c);
    char text[128];
    snprintf(text, sizeof(text), "%s", peer);
    long deadline = clock_ms() + WAIT_MS; /* the log takes a way of its own */
    while (broker_log_lines(suite_broker(), text) == 0 && clock_ms() < deadline) {
        let_time_pass(5);
    }
    if (broker_log_lines(suite_broker(), text) == 0) {
        test_fail("no log line with %s", text);
    }
    tls_exchange(c, c);
    client_disconnect(c);
}

static void version_1_tells_the_address(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("v1", ""), NULL);
    check_logged(way_behind_text("PROXY TCP4 203.0.113.7 127.0.0.1 51234 1883\r\n"), "four",
                 "203.0.113.7:51234");
    check_logged(way_behind_text("PROXY TCP6 2001:db8::7 ::1 51235 1883\r\n"), "six",
                 "[2001:db8::7]:51235");
}

static void version_2_tells_the_address(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("v2", ""), NULL);
    struct buffer header = header_v2_tcp4("198.51.100.9", 40000);
    check_logged(way_behind(header.data, header.len), "four", "198.51.100.9:40000");
    buffer_fini(&header);
    header = header_v2_tcp6("2001:db8::9", 40001);
    check_logged(way_behind(header.data, header.len), "six", "[2001:db8::9]:40001");
    buffer_fini(&header);
}

static void any_takes_both(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("any", ""), NULL);
    check_logged(way_behind_text("PROXY TCP4 203.0.113.8 127.0.0.1 50000 1883\r\n"), "one",
                 "203.0.113.8:50000");
    struct buffer header = header_v2_tcp4("203.0.113.9", 50001);
    check_logged(way_behind(header.data, header.len), "two", "203.0.113.9:50001");
    buffer_fini(&header);
}

/* Health checks of balancers, and what has no IP address: the connection's own counts. */
static void without_an_address_the_connections_own_counts(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("any", ""), NULL);
    check_logged(way_behind_text("PROXY UNKNOWN\r\n"), "unknown", "127.0.0.1:");
    check_logged(way_behind_text("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), "unknown-2",
                 "127.0.0.1:");
    struct buffer header = header_v2(0, 0x00, "", 0);
    check_logged(way_behind(header.data, header.len), "local", "127.0.0.1:");
    buffer_fini(&header);
}

/* The header comes before TLS, and before WebSocket. */
static void the_header_stands_before_all_else(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml("  proxy_protocol: v2\n  protocol: ws\n"), NULL);
    struct buffer header = header_v2_tcp4("198.51.100.10", 40002);
    struct secure_way way = tls_way();
    way.websocket = true;
    way.preface = header.data;
    way.preface_len = header.len;
    check_logged(way, "wss", "198.51.100.10:40002");
    buffer_fini(&header);
}

/* Header and CONNECT in one piece, and both a byte at a time. */
static void the_header_may_be_split_anywhere(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("any", ""), NULL);
    struct buffer all = header_v2_tcp4("198.51.100.11", 40003);
    put_connect(&all, &(struct connect_packet){.client_id = "whole"});
    struct secure_stream *stream = secure_open(&(struct secure_way){.port = proxy_port});
    secure_send(stream, all.data, all.len);
    assert_true(secure_fill(stream, 2, WAIT_MS));
    assert_int_equal(stream->input.data[0], PKT_CONNACK << 4);
    stream = secure_open(&(struct secure_way){.port = proxy_port});
    for (size_t i = 0; i < all.len; i++) {
        secure_send(stream, all.data + i, 1);
    }
    assert_true(secure_fill(stream, 2, WAIT_MS));
    assert_int_equal(stream->input.data[0], PKT_CONNACK << 4);
    buffer_fini(&all);
}

static void what_is_no_header_is_closed(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("v1", ""), NULL);
    static const char *const bad[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "PROXY\r\n",
        "PROXY TCP4 203.0.113.7 127.0.0.1 51234\r\n",
        "PROXY TCP4 203.0.113.7 127.0.0.1 51234 1883 x\r\n",
        "PROXY TCP4 203.0.113.256 127.0.0.1 51234 1883\r\n",
        "PROXY TCP4 ::1 ::1 51234 1883\r\n",
        "PROXY TCP6 127.0.0.1 127.0.0.1 51234 1883\r\n",
        "PROXY TCP4 203.0.113.7 127.0.0.1 65536 1883\r\n",
        "PROXY TCP4 203.0.113.7 127.0.0.1 -1 1883\r\n",
        "PROXY  TCP4 203.0.113.7 127.0.0.1 51234 1883\r\n",
        "PROXY TCP4 203.0.113.7 127.0.0.1 51234 1883\n\n",
        "PROXY UDP4 203.0.113.7 127.0.0.1 51234 1883\r\n",
        "proxy TCP4 203.0.113.7 127.0.0.1 51234 1883\r\n",
        "PROXY TCP4 "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    size_t count = sizeof(bad) / sizeof(bad[0]);
    for (size_t i = 0; i < count; i++) {
        test_case(bad[i]);
        struct secure_stream *stream = secure_open(&(struct secure_way){.port = proxy_port});
        secure_send_text(stream, bad[i]);
        secure_expect_end(stream);
        assert_int_equal(stream->input.len, 0);
    }
    struct buffer header = header_v2_tcp4("198.51.100.9", 40000); /* where v1 is wanted */
    struct secure_way way = way_behind(header.data, header.len);
    secure_expect_end(secure_open(&way));
    buffer_fini(&header);
    metric_expect("pulse_connections_closed_total{reason=\"proxy_header\"}", (double)count + 1);
}

static void what_is_no_header_of_version_2_is_closed(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("v2", ""), NULL);
#define BYTES(text)            \
    {                          \
        text, sizeof(text) - 1 \
    }
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        BYTES("PROXY TCP4 203.0.113.7 127.0.0.1 51234 1883\r\n"),
        BYTES("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c............"),
        BYTES("\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............"),           /* version 3 */
        BYTES("\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c............"),           /* command 2 */
        BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04...."),                   /* too short */
        BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"),                     /* 65,535 bytes */
        BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f............\x04\0\x09"), /* a TLV that ends
                                                                              outside */
    };
#undef BYTES
    size_t count = sizeof(bad) / sizeof(bad[0]);
    for (size_t i = 0; i < count; i++) {
        struct secure_stream *stream = secure_open(&(struct secure_way){.port = proxy_port});
        secure_send(stream, bad[i].bytes, bad[i].len);
        secure_expect_end(stream);
        assert_int_equal(stream->input.len, 0);
    }
    metric_expect("pulse_connections_closed_total{reason=\"proxy_header\"}", (double)count);
}

/* A client without a balancer before it could say whatever it likes. */
static void a_client_without_the_header_is_closed(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("any", ""), NULL);
    struct secure_way way = {.port = proxy_port};
    struct client *c = secure_client(MQTT_50, &way);
    SEND_CONNECT(c, .client_id = "direct");
    expect_closed(c);
    metric_expect("pulse_connections_closed_total{reason=\"proxy_header\"}", 1);
}

/* And where no balancer is expected, nobody may say whose connection it is. */
static void a_header_that_nobody_asked_for_is_closed(void **state)
{
    (void)state;
    OWN_BROKER(NULL);
    struct secure_stream *stream = secure_open(&(struct secure_way){0});
    secure_send_text(stream, "PROXY TCP4 203.0.113.7 127.0.0.1 51234 1883\r\n");
    secure_expect_end(stream);
    struct buffer header = header_v2_tcp4("203.0.113.7", 1);
    stream = secure_open(&(struct secure_way){0});
    secure_send(stream, header.data, header.len);
    secure_expect_end(stream);
    buffer_fini(&header);
    metric_expect("pulse_connections_closed_total{reason=\"wrong_protocol\"}", 2);
    assert_int_equal(broker_log_lines(suite_broker(), "203.0.113.7"), 0);
}

static void the_header_must_come_in_time(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("any", ""), "limits.connect_timeout: 400ms");
    struct secure_way way = way_behind_text("PROXY TCP4 203.");
    struct secure_stream *silent = secure_open(&(struct secure_way){.port = proxy_port});
    struct secure_stream *half = secure_open(&way);
    long begun = clock_ms();
    secure_expect_end(silent);
    secure_expect_end(half);
    assert_in_range(clock_ms() - begun, 200, 5000);
}

/* Limits hold for the address of the client, not of the balancer. */
static void limits_of_an_address_are_the_clients(void **state)
{
    (void)state;
    OWN_BROKER_YAML(proxy_yaml("v1", ""), "limits.max_connections_per_address: 2");
    struct secure_way one = way_behind_text("PROXY TCP4 203.0.113.20 127.0.0.1 1 1883\r\n");
    struct secure_way two = way_behind_text("PROXY TCP4 203.0.113.21 127.0.0.1 1 1883\r\n");
    struct client *first = SECURE_CONNECT(&one);
    SECURE_CONNECT(&one);
    struct client *third = secure_client(MQTT_50, &one);
    SEND_CONNECT(third, .client_id = "third");
    while (client_receive(third, WAIT_MS) != NULL) {
        assert_int_not_equal(client_last(third)->reason, RC_SUCCESS);
    }
    assert_true(client_ended(third));
    SECURE_CONNECT(&two);
    client_disconnect(first);
    metric_expect("pulse_sockets_current", 2); /* the address is left when the socket is closed */
    SECURE_CONNECT(&one);
    metric_expect("pulse_connections_closed_total{reason=\"address_limit\"}", 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(version_1_tells_the_address),
        TEST(version_2_tells_the_address),
        TEST(any_takes_both),
        TEST(without_an_address_the_connections_own_counts),
        TEST(the_header_stands_before_all_else),
        TEST(the_header_may_be_split_anywhere),
        TEST(what_is_no_header_is_closed),
        TEST(what_is_no_header_of_version_2_is_closed),
        TEST(a_client_without_the_header_is_closed),
        TEST(a_header_that_nobody_asked_for_is_closed),
        TEST(the_header_must_come_in_time),
        TEST(limits_of_an_address_are_the_clients),
    };
    return RUN_SUITE("proxy", tests, NULL);
}
