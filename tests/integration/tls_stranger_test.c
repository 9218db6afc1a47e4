/* TLS: what is no TLS, or not where it belongs, or stops half way; and how connections end. */
#include "tests/integration/certificates.h"
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <stdio.h>

static void plaintext_on_the_tls_port_is_closed(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct secure_way way = {.port = tls_port()};
    struct secure_stream *stream = secure_open(&way);
    struct buffer packet = {0};
    put_connect(&packet, &(struct connect_packet){.client_id = "plain"});
    send_buffer(secure_client(MQTT_50, &way), &packet);
    secure_send(stream, packet.data, packet.len);
    secure_expect_end(stream);
    buffer_fini(&packet);
    metric_expect("pulse_tls_failures_total", 2);
    stream = secure_open(&way);
    secure_send_text(stream, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    secure_expect_end(stream);
    metric_expect("pulse_tls_failures_total", 3);
}

static void tls_on_the_plain_port_is_told_so(void **state)
{
    (void)state;
    OWN_BROKER(NULL);
    struct secure_way way = {.tls = true};
    assert_int_equal(tls_refusal(&way), SSL_AD_PROTOCOL_VERSION);
    metric_expect("pulse_connections_closed_total{reason=\"wrong_protocol\"}", 1);
}

static void http_on_the_mqtt_port_is_told_so(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct secure_stream *stream = secure_open(&(struct secure_way){0});
    secure_send_text(stream, "GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    secure_expect_end(stream);
    assert_true(stream->input.len > 12);
    assert_memory_equal(stream->input.data, "HTTP/1.1 400", 12);
    struct secure_way way = tls_way();
    stream = secure_must_open(&way);
    secure_send_text(stream, "GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    secure_expect_end(stream);
    metric_expect("pulse_connections_closed_total{reason=\"wrong_protocol\"}", 2);
}

/* Seeded noise, and real handshakes with one byte changed. */
static void garbage_on_the_tls_port_hurts_nobody(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), "limits.connect_timeout: 1s");
    struct secure_way way = tls_way(), plain = {.port = tls_port()};
    struct client *witness = SECURE_CONNECT(&way);
    unsigned seed = 1;
    for (int i = 0; i < 50; i++) {
        struct secure_stream *stream = secure_open(&plain);
        uint8_t noise[600];
        for (size_t at = 0; at < sizeof(noise); at++) {
            seed = seed * 1103515245 + 12345;
            noise[at] = (uint8_t)(seed >> 16);
        }
        if (i % 2 == 0) {
            memcpy(noise, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
        }
        secure_send(stream, noise, sizeof(noise));
    }
    tls_exchange(witness, witness);
    metric_expect("pulse_tls_failures_total", 50);
}

/* Bytes that were changed on the way are noticed, and end the connection. */
static void a_changed_record_ends_the_connection(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct secure_way way = tls_way();
    struct client *c = SECURE_CONNECT(&way);
    uint8_t record[5 + 40] = {0x17, 0x03, 0x03, 0, 40};
    secure_send_raw(secure_stream_of(c), record, sizeof(record));
    struct secure_stream *stream = secure_stream_of(c);
    secure_fill(stream, SIZE_MAX, WAIT_MS);
    assert_true(stream->ended);
    assert_int_equal(stream->alert, SSL_AD_BAD_RECORD_MAC);
    metric_expect("pulse_tls_failures_total", 1);
}

/* They hold a place for limits.connect_timeout, and no longer. */
static void handshakes_that_stop_half_way_are_ended_in_time(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    OWN_BROKER_YAML(tls_yaml(""), "limits.connect_timeout: 500ms");
    struct secure_way way = tls_way(), plain = {.port = tls_port()};
    struct secure_stream *streams[COUNT];
    long begun = clock_ms();
    for (int i = 0; i < COUNT; i++) {
        static const uint8_t begin[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00};
        streams[i] = i % 3 == 2 ? secure_must_open(&way) : secure_open(&plain);
        if (i % 3 == 1) {
            secure_send(streams[i], begin, sizeof(begin));
        }
    }
    for (int i = 0; i < COUNT; i++) {
        secure_expect_end(streams[i]);
    }
    assert_in_range(clock_ms() - begun, 400, 5000);
    client_disconnect(SECURE_CONNECT(&way));
}

/* close_notify is a good-bye of TLS, not of MQTT: the will is published. */
static void an_end_of_tls_is_not_a_disconnect(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct client *watcher = CONNECT();
    subscribe(watcher, "tls/will", 1);
    struct secure_way way = tls_way();
    struct client *c = SECURE_CONNECT(&way, .will_topic = "tls/will", .will_payload = "notified");
    SSL_shutdown(secure_stream_of(c)->ssl);
    expect_publish(watcher, "tls/will", "notified");
    c = SECURE_CONNECT(&way, .will_topic = "tls/will", .will_payload = "dropped");
    client_drop(c);
    expect_publish(watcher, "tls/will", "dropped");
    c = SECURE_CONNECT(&way, .will_topic = "tls/will", .will_payload = "none");
    client_disconnect(c);
    expect_nothing(watcher);
}

/* The broker says good-bye in each layer, so that nobody takes a cut for an end. */
static void the_broker_says_good_bye_in_tls_too(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct secure_way way = tls_way();
    struct client *c = SECURE_CONNECT(&way);
    RAW(c, 0xc0, 0x01, 0x00);
    expect_disconnect(c, RC_MALFORMED);
    assert_true(secure_stream_of(c)->said_good_bye);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(plaintext_on_the_tls_port_is_closed),
        TEST(tls_on_the_plain_port_is_told_so),
        TEST(http_on_the_mqtt_port_is_told_so),
        TEST(garbage_on_the_tls_port_hurts_nobody),
        TEST(a_changed_record_ends_the_connection),
        TEST(handshakes_that_stop_half_way_are_ended_in_time),
        TEST(an_end_of_tls_is_not_a_disconnect),
        TEST(the_broker_says_good_bye_in_tls_too),
    };
    return RUN_SUITE("tls_stranger", tests, NULL);
}
