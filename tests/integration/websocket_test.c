/* MQTT over WebSocket: packets and frames, control frames, and what ends a connection. */
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>

static uint16_t ws_port;

/* A broker with a WebSocket listener, and the lines of `more` in it. */
static const char *ws_yaml(const char *more)
{
    static char yaml[1024];
    ws_port = broker_free_port();
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: 127.0.0.1:%u\n  protocol: ws\n%s", ws_port,
             more);
    return yaml;
}

static struct secure_way ws_way(void)
{
    return (struct secure_way){.port = ws_port, .websocket = true};
}

static struct buffer connect_packet(const char *client_id)
{
    struct buffer packet = {0};
    put_connect(&packet, &(struct connect_packet){.client_id = client_id});
    return packet;
}

/* A stream on which a CONNECT was accepted. */
static struct secure_stream *open_session(const char *client_id)
{
    struct secure_way way = ws_way();
    struct secure_stream *stream = ws_open(&way);
    struct buffer packet = connect_packet(client_id);
    ws_send_packet(stream, &packet);
    buffer_fini(&packet);
    struct ws_frame frame = ws_expect(stream, WS_BINARY);
    assert_int_equal(frame.payload[0], PKT_CONNACK << 4);
    return stream;
}

static void expect_pingresp(struct secure_stream *stream)
{
    struct ws_frame frame = ws_expect(stream, WS_BINARY);
    assert_int_equal(frame.len, 2);
    assert_int_equal(frame.payload[0], PKT_PINGRESP << 4);
}

/* ---- packets and frames ---------------------------------------------------------------------- */

static void every_version_speaks_over_websocket(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    static const uint8_t versions[] = {MQTT_31, MQTT_311, MQTT_50};
    for (size_t i = 0; i < 3; i++) {
        struct secure_way way = ws_way();
        struct client *c = SECURE_CONNECT(&way, .version = versions[i]);
        tls_exchange(c, c);
        tls_exchange(CONNECT(), c); /* with who comes over TCP */
        client_disconnect(c);
    }
    metric_expect("pulse_websockets_total", 3);
}

/* [MQTT-6.0.0-2]: packet boundaries need not be those of frames. */
static void one_frame_may_hold_several_packets(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_way way = ws_way();
    struct secure_stream *stream = ws_open(&way);
    struct buffer packets = connect_packet("several");
    for (int i = 0; i < 3; i++) {
        put_u8(&packets, PKT_PINGREQ << 4);
        put_u8(&packets, 0);
    }
    ws_send_packet(stream, &packets);
    size_t got = 0;
    size_t connack_len = 0;
    while (got < connack_len + 6 || connack_len == 0) {
        struct ws_frame frame = ws_expect(stream, WS_BINARY);
        connack_len = connack_len == 0 ? frame.payload[1] + 2u : connack_len;
        got += frame.len;
    }
    assert_int_equal(got, connack_len + 6);
    buffer_fini(&packets);
}

static void a_packet_may_come_in_many_frames(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_way way = ws_way();
    struct secure_stream *stream = ws_open(&way);
    struct buffer packet = connect_packet("many");
    for (size_t i = 0; i < packet.len; i++) {
        ws_send(stream, WS_FIN | WS_BINARY, packet.data + i, 1);
        ws_send(stream, WS_FIN | WS_BINARY, NULL, 0); /* an empty one says nothing */
    }
    ws_expect(stream, WS_BINARY);
    buffer_fini(&packet);
}

/* Even control frames may come between the fragments of a message. */
static void a_message_may_be_fragmented(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_way way = ws_way();
    struct secure_stream *stream = ws_open(&way);
    struct buffer packet = connect_packet("fragments");
    ws_send(stream, WS_BINARY, packet.data, 5);
    ws_send(stream, WS_FIN | WS_PING, "between", 7);
    ws_send(stream, WS_CONTINUATION, packet.data + 5, 0);
    ws_send(stream, WS_CONTINUATION, packet.data + 5, 7);
    ws_send(stream, WS_FIN | WS_CONTINUATION, packet.data + 12, packet.len - 12);
    struct ws_frame pong = ws_expect(stream, WS_PONG); /* CONNECT isn't whole before */
    assert_int_equal(pong.len, 7);
    assert_memory_equal(pong.payload, "between", 7);
    ws_expect(stream, WS_BINARY);
    buffer_fini(&packet);
}

/* Every place where TCP may cut a stream of frames. */
static void frames_may_come_a_byte_at_a_time(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_way way = ws_way();
    struct secure_stream *stream = ws_open(&way);
    struct buffer packet = connect_packet("bytes"), frames = {0};
    uint8_t publish[300] = {PKT_PUBLISH << 4, 0xa9, 0x02, 0, 1, 't', 0};
    ws_put_frame(&frames, WS_FIN | WS_BINARY, true, packet.data, packet.len);
    ws_put_frame(&frames, WS_FIN | WS_PING, true, "x", 1);
    ws_put_frame(&frames, WS_FIN | WS_BINARY, true, publish, sizeof(publish));
    ws_put_frame(&frames, WS_FIN | WS_BINARY, true, "\xc0\0", 2);
    for (size_t i = 0; i < frames.len; i++) {
        secure_send(stream, frames.data + i, 1);
    }
    bool has_pong = false; /* control frames may overtake */
    for (bool has_answer = false; !has_answer || !has_pong;) {
        struct ws_frame frame = {0};
        assert_true(ws_receive(stream, &frame));
        has_pong = has_pong || frame.opcode == WS_PONG;
        has_answer =
            frame.opcode == WS_BINARY && memcmp(frame.payload + frame.len - 2, "\xd0\0", 2) == 0;
    }
    buffer_fini(&packet);
    buffer_fini(&frames);
}

/* The client may speak at once behind its request, before it has seen the answer. */
static void frames_may_follow_the_request_at_once(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_way way = ws_way();
    struct secure_stream *stream = secure_open(&way);
    struct buffer packet = connect_packet("at once"), all = {0};
    static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: " WS_KEY "\r\n"
                                  "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    put_bytes(&all, request, sizeof(request) - 1);
    ws_put_frame(&all, WS_FIN | WS_BINARY, true, packet.data, packet.len);
    secure_send(stream, all.data, all.len);
    assert_true(ws_request_text(stream, "").is_accepted);
    ws_expect(stream, WS_BINARY);
    buffer_fini(&packet);
    buffer_fini(&all);
}

static void big_messages_go_both_ways(void **state, struct secure_way way)
{
    (void)state;
    enum { SIZE = 2000003 };
    char *payload = malloc(SIZE + 1);
    assert_non_null(payload);
    for (size_t i = 0; i < SIZE; i++) {
        payload[i] = (char)('a' + i % 23);
    }
    payload[SIZE] = '\0';
    struct client *c = SECURE_CONNECT(&way);
    subscribe(c, "ws/big", 1);
    for (int i = 0; i < 3; i++) {
        PUBLISH(c, .topic = "ws/big", .payload = payload, .qos = 0);
        expect_publish_and_ack(c, "ws/big", payload);
    }
    free(payload);
}

static void big_messages_come_whole(void **state)
{
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    big_messages_go_both_ways(state, ws_way());
}

static void websocket_goes_over_tls_too(void **state)
{
    OWN_BROKER_YAML(tls_yaml("  protocol: ws\n"), NULL);
    struct secure_way way = tls_way();
    way.websocket = true;
    struct client *c = SECURE_CONNECT(&way);
    tls_exchange(c, CONNECT());
    tls_exchange(CONNECT(), c);
    big_messages_go_both_ways(state, way);
    way.alpn = "http/1.1"; /* as browsers do */
    client_disconnect(SECURE_CONNECT(&way));
    assert_int_equal(secure_close_code(c), 0);
}

static void the_short_form_of_the_options_works(void **state)
{
    (void)state;
    char bind[64];
    ws_port = broker_free_port();
    snprintf(bind, sizeof(bind), "websocket.bind: 127.0.0.1:%u", ws_port);
    OWN_BROKER("websocket.enabled: true", bind, "websocket.path: /ws/mqtt");
    struct secure_way way = ws_way();
    way.path = "/ws/mqtt";
    struct client *c = SECURE_CONNECT(&way);
    tls_exchange(c, c);
}

/* Frames that a browser's page sends for hours. */
static void thousands_of_messages_keep_their_order(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_way way = ws_way();
    struct client *pub = SECURE_CONNECT(&way);
    struct client *sub = SECURE_CONNECT(&way);
    subscribe(sub, "ws/many", 0);
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        PUBLISH(pub, .topic = "ws/many", .payload = text);
    }
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        expect_publish(sub, "ws/many", text);
    }
}

/* ---- control frames -------------------------------------------------------------------------- */

static void a_ping_gets_its_pong(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_stream *stream = open_session("ping");
    char payload[125];
    memset(payload, 'p', sizeof(payload));
    static const size_t sizes[] = {0, 1, 125};
    for (size_t i = 0; i < 3; i++) {
        ws_send(stream, WS_FIN | WS_PING, payload, sizes[i]);
        struct ws_frame pong = ws_expect(stream, WS_PONG);
        assert_int_equal(pong.len, sizes[i]);
        assert_memory_equal(pong.payload, payload, sizes[i]);
    }
    ws_send(stream, WS_FIN | WS_PONG, "unasked", 7); /* is allowed, and means nothing */
    ws_send(stream, WS_FIN | WS_BINARY, "\xc0\0", 2);
    expect_pingresp(stream);
}

/* Who asks without reading gets no unbounded queue of answers. */
static void a_flood_of_pings_does_not_fill_the_memory(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_stream *stream = open_session("flood");
    struct buffer pings = {0};
    char payload[125] = "x";
    for (int i = 0; i < 400; i++) {
        ws_put_frame(&pings, WS_FIN | WS_PING, true, payload, sizeof(payload));
    }
    long before = broker_rss_bytes(broker);
    size_t sent = 0;
    long deadline = clock_ms() + 2000;
    while (sent < 64u * 1024 * 1024 && clock_ms() < deadline) {
        size_t at = sent % pings.len;
        ssize_t some = secure_send_some(stream, pings.data + at, pings.len - at);
        sent += some > 0 ? (size_t)some : 0;
    }
    assert_true(broker_rss_bytes(broker) - before < 16 * 1024 * 1024);
    struct client *other = CONNECT();
    tls_exchange(other, other);
    buffer_fini(&pings);
}

static void a_close_frame_is_answered_with_its_code(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct client *watcher = CONNECT();
    subscribe(watcher, "ws/will", 1);
    static const unsigned codes[] = {1000, 1001, 3000, 4999};
    for (size_t i = 0; i < 4; i++) {
        struct secure_stream *stream = open_session("closing");
        uint8_t code[] = {(uint8_t)(codes[i] >> 8), (uint8_t)codes[i], 'b', 'y', 'e'};
        ws_send(stream, WS_FIN | WS_CLOSE, code, i % 2 == 0 ? 2 : 5);
        ws_expect_close(stream, codes[i]);
    }
    struct secure_stream *stream = open_session("closing");
    ws_send(stream, WS_FIN | WS_CLOSE, NULL, 0);
    struct ws_frame frame = ws_expect(stream, WS_CLOSE);
    assert_in_range(frame.len, 0, 2);
    secure_expect_end(stream);
}

/* It is a good-bye of WebSocket, not of MQTT. */
static void a_close_frame_is_not_a_disconnect(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct client *watcher = CONNECT();
    subscribe(watcher, "ws/will", 1);
    struct secure_way way = ws_way();
    struct client *c = SECURE_CONNECT(&way, .will_topic = "ws/will", .will_payload = "closed");
    ws_send(secure_stream_of(c), WS_FIN | WS_CLOSE, "\x03\xe8", 2);
    expect_publish_and_ack(watcher, "ws/will", "closed");
    c = SECURE_CONNECT(&way, .will_topic = "ws/will", .will_payload = "dropped");
    client_drop(c);
    expect_publish_and_ack(watcher, "ws/will", "dropped");
    c = SECURE_CONNECT(&way, .will_topic = "ws/will", .will_payload = "none");
    client_disconnect(c);
    expect_nothing(watcher);
}

static void the_broker_closes_with_a_code(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_way way = ws_way();
    struct client *c = SECURE_CONNECT(&way);
    send_disconnect(c, RC_SUCCESS, NULL);
    expect_closed(c);
    assert_int_equal(secure_close_code(c), 1000);
    c = SECURE_CONNECT(&way);
    RAW(c, 0xc0, 0x01, 0x00);
    expect_disconnect(c, RC_MALFORMED);
    assert_int_not_equal(secure_close_code(c), 0);
    c = SECURE_CONNECT(&way, .client_id = "twin");
    SECURE_CONNECT(&way, .client_id = "twin");
    expect_disconnect(c, RC_SESSION_TAKEN_OVER);
    assert_int_not_equal(secure_close_code(c), 0);
}

static void a_broker_that_ends_says_going_away(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_way way = ws_way();
    struct client *c = SECURE_CONNECT(&way);
    broker_signal(broker, 15);
    expect_disconnect(c, RC_SERVER_SHUTTING_DOWN);
    assert_int_equal(secure_close_code(c), 1001);
}

/* ---- what breaks the rules ------------------------------------------------------------------- */

/* Each is sent behind a good CONNECT, and ends the connection with its code. */
static void frames_that_break_the_rules_are_answered_with_their_code(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), "limits.server_maximum_packet_size: 100000");
#define FRAME(code, bytes)                     \
    {                                          \
#bytes, code, bytes, sizeof(bytes) - 1 \
    }
    static const struct {
        const char *name;
        unsigned code;
        const char *bytes;
        size_t len;
    } cases[] = {
        FRAME(1003, "\x81\x81\1\2\3\4x"),                     /* a text frame */
        FRAME(1002, "\x82\x02\xc0\x00"),                      /* unmasked */
        FRAME(1002, "\xc2\x82\1\2\3\4xy"),                    /* a reserved bit */
        FRAME(1002, "\x83\x81\1\2\3\4x"),                     /* reserved opcodes */
        FRAME(1002, "\x8b\x81\1\2\3\4x"),                     /* */
        FRAME(1002, "\x80\x81\1\2\3\4x"),                     /* a continuation of nothing */
        FRAME(1002, "\x02\x81\1\2\3\4\xc1\x82\x81\1\2\3\4x"), /* a message within another */
        FRAME(1002, "\x09\x81\1\2\3\4x"),                     /* a fragmented ping */
        FRAME(1002, "\x89\xfe\0\x7e\1\2\3\4"),                /* a ping of 126 bytes */
        FRAME(1002, "\x88\x81\1\2\3\4x"),                     /* a close frame of one byte */
        FRAME(1002, "\x88\x82\0\0\0\0\x03\xed"),              /* with 1005, which is never sent */
        FRAME(1002, "\x88\x82\0\0\0\0\x00\x00"),              /* with 0 */
        FRAME(1007, "\x88\x84\0\0\0\0\x03\xe8\xff\xff"),      /* with a reason that is no UTF-8 */
        FRAME(1002, "\x82\xfe\0\x05\1\2\3\4"), /* a length that is longer than it must */
        FRAME(1002, "\x82\xff\0\0\0\0\0\0\0\x05\1\2\3\4"),     /* */
        FRAME(1002, "\x82\xff\x80\0\0\0\0\0\0\0\1\2\3\4"),     /* a length of 2^63 */
        FRAME(1009, "\x82\xff\0\0\0\0\0\x11\x86\xa1\1\2\3\4"), /* a packet, 1 MiB, and one byte */
        FRAME(1009, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\1\2\3\4"),
    };
#undef FRAME
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        test_case(cases[i].name);
        struct secure_stream *stream = open_session("rules");
        secure_send(stream, cases[i].bytes, cases[i].len);
        ws_expect_close(stream, cases[i].code);
        secure_close(stream);
    }
    metric_expect("pulse_connections_closed_total{reason=\"websocket_error\"}",
                  sizeof(cases) / sizeof(cases[0]));
}

/* What limits a packet is its own size, however it is framed. */
static void the_largest_packet_fits_into_a_frame(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), "limits.server_maximum_packet_size: 5000");
    struct secure_way way = ws_way();
    struct client *c = SECURE_CONNECT(&way);
    char payload[4981];
    memset(payload, 'x', sizeof(payload));
    payload[sizeof(payload) - 1] = '\0';
    subscribe(c, "ws/fit", 0);
    PUBLISH(c, .topic = "ws/fit", .payload = payload);
    expect_publish(c, "ws/fit", payload);
    RAW(c, 0x30, 0xa0, 0x27); /* 5,024 bytes are to follow */
    expect_disconnect(c, RC_PACKET_TOO_LARGE);
}

/* 1883 and 8083 mixed up: MQTT without frames. */
static void mqtt_on_the_websocket_port_is_told_so(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_stream *stream = secure_open(&(struct secure_way){.port = ws_port});
    struct buffer packet = connect_packet("plain");
    secure_send(stream, packet.data, packet.len);
    secure_expect_end(stream);
    buffer_fini(&packet);
    stream = secure_open(&(struct secure_way){.port = ws_port, .tls = true});
    assert_false(stream->is_open);
    metric_expect("pulse_connections_closed_total{reason=\"websocket_error\"}", 2);
}

/* Seeded noise behind a good request. */
static void garbage_in_frames_hurts_nobody(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct client *witness = CONNECT();
    unsigned seed = 7;
    for (int i = 0; i < 60; i++) {
        struct secure_way way = ws_way();
        struct secure_stream *stream = i % 2 == 0 ? ws_open(&way) : open_session("noise");
        uint8_t noise[500];
        for (size_t at = 0; at < sizeof(noise); at++) {
            seed = seed * 1103515245 + 12345;
            noise[at] = (uint8_t)(seed >> 16);
        }
        secure_send(stream, noise, sizeof(noise));
        secure_close(stream);
    }
    tls_exchange(witness, witness);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(every_version_speaks_over_websocket),
        TEST(one_frame_may_hold_several_packets),
        TEST(a_packet_may_come_in_many_frames),
        TEST(a_message_may_be_fragmented),
        TEST(frames_may_come_a_byte_at_a_time),
        TEST(frames_may_follow_the_request_at_once),
        TEST(big_messages_come_whole),
        TEST(websocket_goes_over_tls_too),
        TEST(the_short_form_of_the_options_works),
        TEST(thousands_of_messages_keep_their_order),
        TEST(a_ping_gets_its_pong),
        TEST(a_flood_of_pings_does_not_fill_the_memory),
        TEST(a_close_frame_is_answered_with_its_code),
        TEST(a_close_frame_is_not_a_disconnect),
        TEST(the_broker_closes_with_a_code),
        TEST(a_broker_that_ends_says_going_away),
        TEST(frames_that_break_the_rules_are_answered_with_their_code),
        TEST(the_largest_packet_fits_into_a_frame),
        TEST(mqtt_on_the_websocket_port_is_told_so),
        TEST(garbage_in_frames_hurts_nobody),
    };
    return RUN_SUITE("websocket", tests, NULL);
}
