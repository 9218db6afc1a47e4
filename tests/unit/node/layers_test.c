#include "tests/unit/node/layers_support.h"

#include <sys/socket.h>
#include <unistd.h>

#include "codec/mqtt.h"
#include "codec/proxy_header.h"

/* The PROXY header and WebSocket. TLS: layers_tls_test.c. */

static struct layers_rig own;
static struct client client;

static void start(unsigned workers)
{
    layers_rig_start(&own, workers);
    client.fd = -1;
}

static int set_up(void **state)
{
    (void)state;
    start(1);
    return 0;
}

static int set_up_two_workers(void **state)
{
    (void)state;
    start(2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    layers_leave(&client);
    layers_rig_stop(&own);
    return 0;
}

static void say(struct client *one, const char *text)
{
    client_send(one, text, strlen(text));
}

/* What has come, as far as there is room. */
static size_t hear(struct client *one, uint8_t *out, size_t size)
{
    rig_turn(&own.rig);
    ssize_t len = recv(one->fd, out, size, MSG_DONTWAIT);
    return len > 0 ? (size_t)len : 0;
}

/* ---- WebSocket ------------------------------------------------------------------------------- */

static const char upgrade[] = "GET /mqtt HTTP/1.1\r\n"
                              "Host: test\r\n"
                              "Upgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: mqtt\r\n"
                              "\r\n";

enum { BINARY = 2, CLOSE = 8, PING = 9 };

/* A masked frame (the mask is 0); its length. */
static size_t put_frame(uint8_t *out, unsigned opcode, const void *payload, size_t len)
{
    assert_true(len < 65536);
    size_t at = 0;
    out[at++] = (uint8_t)(0x80 | opcode);
    if (len < 126) {
        out[at++] = (uint8_t)(0x80 | len);
    } else {
        out[at++] = 0x80 | 126;
        out[at++] = (uint8_t)(len >> 8);
        out[at++] = (uint8_t)len;
    }
    memset(out + at, 0, 4);
    at += 4;
    if (len > 0) {
        memcpy(out + at, payload, len);
    }
    return at + len;
}

static void send_frame(struct client *one, unsigned opcode, const void *payload, size_t len)
{
    uint8_t bytes[2048];
    client_send(one, bytes, put_frame(bytes, opcode, payload, len));
}

static void come_by_websocket(void)
{
    own.wanted.protocol = CONFIG_PROTOCOL_WS;
    layers_come(&own, &client, NULL);
    say(&client, upgrade);
    uint8_t answer[1024];
    size_t len = hear(&client, answer, sizeof(answer));
    assert_true(len > 12 && memcmp(answer, "HTTP/1.1 101", 12) == 0);
}

static void go_online(const char *id)
{
    uint8_t bytes[1024];
    send_frame(&client, BINARY, bytes, layers_write_connect(id, bytes));
    uint8_t answer[256];
    size_t len = hear(&client, answer, sizeof(answer));
    assert_true(len > 4 && answer[0] == 0x82 && answer[2] == MQTT_CONNACK << 4 && answer[5] == 0);
}

static void a_websocket_client_comes_in_in_every_split(void **state)
{
    (void)state;
    uint8_t bytes[2048];
    uint8_t packet[1024];
    own.wanted.protocol = CONFIG_PROTOCOL_WS;
    size_t len = strlen(upgrade);
    memcpy(bytes, upgrade, len);
    size_t packet_len = layers_write_connect("a", packet);
    len += put_frame(bytes + len, BINARY, packet, 5);
    len += put_frame(bytes + len, PING, "x", 1);
    len += put_frame(bytes + len, BINARY, packet + 5, packet_len - 5);
    for (size_t cut = 1; cut <= len; cut += cut < strlen(upgrade) - 10 ? 7 : 1) {
        layers_come(&own, &client, NULL);
        client_send(&client, bytes, cut);
        rig_turn(&own.rig);
        if (cut < len) {
            client_send(&client, bytes + cut, len - cut);
        }
        uint8_t answer[1024];
        size_t got = hear(&client, answer, sizeof(answer));
        static const uint8_t pong[] = {0x8a, 1, 'x', 0x82};
        assert_non_null(memmem(answer, got, pong, sizeof(pong)));
        assert_true(conn_online(layers_connection(&own)));
        layers_leave(&client);
        layers_expect_gone(&own);
    }
}

static void pings_are_answered_for_ever(void **state)
{
    (void)state;
    for (unsigned online = 0; online <= 1; online++) {
        come_by_websocket();
        if (online) {
            go_online("a");
        }
        uint8_t payload[125];
        memset(payload, 'p', sizeof(payload));
        for (unsigned i = 0; i < 1500; i++) { /* of 127 bytes each: far more than 64 KiB */
            send_frame(&client, PING, payload, sizeof(payload));
            uint8_t answer[256];
            assert_int_equal(hear(&client, answer, sizeof(answer)), 127);
        }
        if (!online) {
            go_online("a");
        }
        send_frame(&client, BINARY, "\xc0\0", 2);
        uint8_t answer[16];
        assert_int_equal(hear(&client, answer, sizeof(answer)), 4);
        layers_leave(&client);
        layers_expect_gone(&own);
    }
}

static void who_sends_pings_and_does_not_read_holds_little(void **state)
{
    (void)state;
    come_by_websocket();
    go_online("a");
    uint8_t payload[125];
    memset(payload, 'p', sizeof(payload));
    uint8_t bytes[256];
    size_t len = put_frame(bytes, PING, payload, sizeof(payload));
    for (unsigned i = 0; i < 20000; i++) {
        if (send(client.fd, bytes, len, MSG_DONTWAIT) != (ssize_t)len) {
            rig_turn(&own.rig);
        }
    }
    rig_turn(&own.rig);
    assert_true(layers_connection(&own)->layers->wire.len < 70000);
    assert_true(layers_connection(&own)->layers->wire.len > 60000);
    uint8_t answer[4096];
    while (hear(&client, answer, sizeof(answer)) > 0) { /* it reads after all */
    }
    assert_int_equal(layers_connection(&own)->layers->wire.len, 0);
}

static void answers_come_before_the_close_frame_and_nothing_behind_it(void **state)
{
    (void)state;
    come_by_websocket();
    go_online("a");
    uint8_t bytes[64];
    size_t len = put_frame(bytes, BINARY, "\xc0\0\xc0\0", 4);
    len += put_frame(bytes + len, CLOSE, "\x0f\xa0", 2); /* 4000 */
    len += put_frame(bytes + len, BINARY, "\xc0\0", 2);
    client_send(&client, bytes, len);
    uint8_t answer[64];
    static const uint8_t expected[] = {0x82, 4, 0xd0, 0, 0xd0, 0, 0x88, 2, 0x0f, 0xa0};
    assert_int_equal(hear(&client, answer, sizeof(answer)), sizeof(expected));
    assert_memory_equal(answer, expected, sizeof(expected));
    login_await_end(&client);
    layers_expect_gone(&own);
}

static void the_broker_says_good_bye_by_disconnect_and_close_frame(void **state)
{
    (void)state;
    come_by_websocket();
    go_online("a");
    conn_close(layers_connection(&own), METRIC_CLOSED_SHUTDOWN, MQTT_REASON_SERVER_SHUTTING_DOWN,
               true);
    uint8_t answer[128];
    size_t len = hear(&client, answer, sizeof(answer));
    assert_true(len > 8 && answer[2] == MQTT_DISCONNECT << 4);
    static const uint8_t end[] = {0x88, 2, 0x03, 0xe9}; /* 1001, going away */
    assert_memory_equal(answer + len - sizeof(end), end, sizeof(end));
    login_await_end(&client);
    layers_expect_gone(&own); /* though it does not answer the close frame */
}

static void a_request_that_is_refused_is_told_why(void **state)
{
    (void)state;
    own.wanted.protocol = CONFIG_PROTOCOL_WS;
    layers_come(&own, &client, NULL);
    say(&client, "GET /other HTTP/1.1\r\nHost: test\r\n\r\n");
    uint8_t answer[1024];
    size_t len = hear(&client, answer, sizeof(answer));
    assert_true(len > 12 && memcmp(answer, "HTTP/1.1 4", 10) == 0);
    login_await_end(&client);
    layers_expect_gone(&own);
    assert_int_equal(rig_metric(&own.rig, METRIC_CLOSED_WEBSOCKET), 1);
}

/* The frame is cut where the connection goes to another worker. */
static void frames_go_on_on_the_other_worker(void **state)
{
    (void)state;
    char id[32];
    layers_id_on_worker(&own, 1, id);
    uint8_t packet[1024];
    size_t len = layers_write_connect(id, packet);
    memcpy(packet + len, "\xc0\0", 2);
    uint8_t bytes[2048];
    size_t all = put_frame(bytes, BINARY, packet, len + 2);
    size_t pings = put_frame(bytes + all, BINARY, "\xc0\0", 2);
    for (size_t cut = all - 4; cut <= all + pings; cut++) {
        come_by_websocket();
        client_send(&client, bytes, cut);
        rig_turn(&own.rig);
        client_send(&client, bytes + cut, all + pings - cut);
        uint8_t answer[1024];
        size_t got = hear(&client, answer, sizeof(answer));
        assert_true(got > 6 && memcmp(answer + got - 2, "\xd0", 2) == 0);
        assert_true(conn_online(layers_connection(&own)));
        layers_leave(&client);
        layers_expect_gone(&own);
    }
    assert_true(rig_metric(&own.rig, METRIC_HANDOFFS) > 0);
}

static void a_connection_whose_peer_has_closed_does_not_stay_by_moving(void **state)
{
    (void)state;
    static const struct {
        unsigned opcode;
        const char *payload;
        size_t len;
    } ends[] = {{CLOSE, "\x03\xe8", 2}, {1, "text", 4}};
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        char id[32];
        layers_id_on_worker(&own, 1, id);
        uint8_t packet[1024];
        uint8_t bytes[2048];
        size_t len = put_frame(bytes, BINARY, packet, layers_write_connect(id, packet));
        len += put_frame(bytes + len, ends[i].opcode, ends[i].payload, ends[i].len);
        come_by_websocket();
        client_send(&client, bytes, len);
        login_await_end(&client);
        layers_expect_gone(&own);
        layers_leave(&client);
    }
    assert_int_equal(rig_metric(&own.rig, METRIC_HANDOFFS), 2);
}

/* ---- the PROXY header ------------------------------------------------------------------------ */

static void a_proxy_header_is_read_in_every_split(void **state)
{
    (void)state;
    static const char header[] = "PROXY TCP4 10.1.2.3 10.0.0.9 1000 1883\r\n";
    own.wanted.proxy_protocol = PROXY_ANY;
    uint8_t bytes[2048];
    size_t len = strlen(header);
    memcpy(bytes, header, len);
    len += layers_write_connect("a", bytes + len);
    for (size_t cut = 1; cut <= len; cut++) {
        layers_come(&own, &client, NULL);
        client_send(&client, bytes, cut);
        rig_turn(&own.rig);
        if (cut < len) {
            client_send(&client, bytes + cut, len - cut);
        }
        login_await(&client, MQTT_CONNACK);
        char peer[CONN_PEER_SIZE];
        assert_string_equal(conn_peer(layers_connection(&own), peer, sizeof(peer)),
                            "10.1.2.3:1000");
        layers_leave(&client);
        layers_expect_gone(&own);
    }
}

static void without_a_proxy_header_nobody_comes_in(void **state)
{
    (void)state;
    own.wanted.proxy_protocol = PROXY_ANY;
    layers_come(&own, &client, NULL);
    uint8_t bytes[1024];
    client_send(&client, bytes, layers_write_connect("a", bytes));
    login_await_end(&client);
    layers_expect_gone(&own);
    assert_int_equal(rig_metric(&own.rig, METRIC_CLOSED_PROXY_HEADER), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_2(name) cmocka_unit_test_setup_teardown(name, set_up_two_workers, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_websocket_client_comes_in_in_every_split),
        TEST(pings_are_answered_for_ever),
        TEST(who_sends_pings_and_does_not_read_holds_little),
        TEST(answers_come_before_the_close_frame_and_nothing_behind_it),
        TEST(the_broker_says_good_bye_by_disconnect_and_close_frame),
        TEST(a_request_that_is_refused_is_told_why),
        TEST_2(frames_go_on_on_the_other_worker),
        TEST_2(a_connection_whose_peer_has_closed_does_not_stay_by_moving),
        TEST(a_proxy_header_is_read_in_every_split),
        TEST(without_a_proxy_header_nobody_comes_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
