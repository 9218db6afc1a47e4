/* The request that opens a WebSocket: what is accepted, and which HTTP answer all else gets. */
#include "tests/integration/metrics.h"
#include "tests/integration/secure_websocket.h"
#include "tests/integration/suite.h"

#include <stdio.h>

static uint16_t ws_port;

static const char *ws_yaml(const char *more)
{
    static char yaml[1024];
    ws_port = broker_free_port();
    snprintf(yaml, sizeof(yaml), "listeners:\n- bind: 127.0.0.1:%u\n  protocol: ws\n%s", ws_port,
             more);
    return yaml;
}

/* The status that a request by `way` gets, on a connection of its own that ends if it isn't 101. */
static int status_of(struct secure_way way)
{
    way.port = ws_port;
    struct secure_stream *stream = secure_open(&way);
    struct ws_answer answer = ws_request(stream, &way);
    if (answer.status != 101) {
        assert_non_null(strstr(answer.text, "\r\nContent-Type: text/plain"));
        assert_null(strstr(answer.text, "\r\nSec-WebSocket-Accept"));
        secure_expect_end(stream);
    } else {
        assert_true(answer.is_accepted);
    }
    secure_close(stream);
    return answer.status;
}

static int status_of_text(const char *text)
{
    struct secure_stream *stream = secure_open(&(struct secure_way){.port = ws_port});
    struct ws_answer answer = ws_request_text(stream, text);
    if (answer.status != 101) {
        secure_expect_end(stream);
    }
    secure_close(stream);
    return answer.status;
}

static void the_subprotocol_is_chosen(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    static const struct {
        const char *offered;
        const char *chosen; /* NULL: refused */
    } cases[] = {
        {"mqtt", "mqtt"},
        {"mqttv3.1", "mqttv3.1"},
        {"mqttv3.1, mqtt", "mqtt"},
        {"chat, mqtt", "mqtt"},
        {"chat", NULL},
        {"mqttx", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        test_case(cases[i].offered);
        struct secure_way way = {.port = ws_port, .subprotocols = cases[i].offered};
        struct secure_stream *stream = secure_open(&way);
        struct ws_answer answer = ws_request(stream, &way);
        assert_int_equal(answer.status, cases[i].chosen != NULL ? 101 : 400);
        assert_string_equal(answer.subprotocol, cases[i].chosen != NULL ? cases[i].chosen : "");
    }
    metric_expect("pulse_websockets_total", 4);
}

static void the_path_is_checked(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml("  path: /a/mqtt\n"), NULL);
    assert_int_equal(status_of((struct secure_way){.path = "/a/mqtt"}), 101);
    assert_int_equal(status_of((struct secure_way){.path = "/a/mqtt?token=1"}), 101);
    static const char *const wrong[] = {"/", "/mqtt", "/a/mqtt/", "/a/mqttx", "/a", "//a/mqtt"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        test_case(wrong[i]);
        assert_int_equal(status_of((struct secure_way){.path = wrong[i]}), 404);
    }
}

static void origins_are_checked_where_a_list_is_given(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml("  origins: https://good.example,http://localhost:8080\n"), NULL);
    assert_int_equal(status_of((struct secure_way){.origin = "https://good.example"}), 101);
    assert_int_equal(status_of((struct secure_way){.origin = "http://localhost:8080"}), 101);
    assert_int_equal(status_of((struct secure_way){.origin = NULL}), 101); /* no browser */
    static const char *const wrong[] = {"http://good.example",      "https://good.example.evil",
                                        "https://evil.example",     "http://localhost:8081",
                                        "https://good.example:444", "null",
                                        "https://good.exampl"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        test_case(wrong[i]);
        assert_int_equal(status_of((struct secure_way){.origin = wrong[i]}), 403);
    }
}

static void any_origin_may_come_where_none_is_given(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    assert_int_equal(status_of((struct secure_way){.origin = "https://any.example"}), 101);
    assert_int_equal(status_of((struct secure_way){.origin = "null"}), 101);
}

#define GET "GET /mqtt HTTP/1.1\r\n"
#define HOST "Host: localhost\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: " WS_KEY "\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: mqtt\r\n"
#define END "\r\n"

static void requests_get_the_answer_that_says_what_is_wrong(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    static const struct {
        const char *name;
        int status;
        const char *text;
    } cases[] = {
        {"as it should be", 101, GET HOST UPGRADE KEY VERSION PROTOCOL END},
        {"names in other letters", 101,
         GET "host: a\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, upgrade\r\n"
             "sec-websocket-key: " WS_KEY "\r\nsec-websocket-version: 13\r\n"
             "sec-websocket-protocol: mqtt\r\n" END},
        {"a page of a browser", 426, GET HOST END},
        {"no Connection", 426, GET HOST "Upgrade: websocket\r\n" KEY VERSION PROTOCOL END},
        {"no Upgrade", 426, GET HOST "Connection: Upgrade\r\n" KEY VERSION PROTOCOL END},
        {"another Upgrade", 426,
         GET HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY VERSION PROTOCOL END},
        {"an old version", 426, GET HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" PROTOCOL END},
        {"no version", 426, GET HOST UPGRADE KEY PROTOCOL END},
        {"no key", 400, GET HOST UPGRADE VERSION PROTOCOL END},
        {"a bad key", 400, GET HOST UPGRADE "Sec-WebSocket-Key: tooshort\r\n" VERSION PROTOCOL END},
        {"two keys", 400, GET HOST UPGRADE KEY KEY VERSION PROTOCOL END},
        {"no host", 400, GET UPGRADE KEY VERSION PROTOCOL END},
        {"two hosts", 400, GET HOST HOST UPGRADE KEY VERSION PROTOCOL END},
        {"a body", 400, GET HOST UPGRADE KEY VERSION PROTOCOL "Content-Length: 5\r\n" END "hello"},
        {"chunks", 400, GET HOST UPGRADE KEY VERSION PROTOCOL "Transfer-Encoding: chunked\r\n" END},
        {"a folded line", 400, GET HOST " folded\r\n" UPGRADE KEY VERSION PROTOCOL END},
        {"a blank before a colon", 400, GET "Host : a\r\n" UPGRADE KEY VERSION PROTOCOL END},
        {"a line without a colon", 400, GET HOST "nonsense\r\n" UPGRADE KEY VERSION PROTOCOL END},
        {"a bare line feed", 400, GET "Host: a\n" UPGRADE KEY VERSION PROTOCOL END},
        {"POST", 405, "POST /mqtt HTTP/1.1\r\n" HOST UPGRADE KEY VERSION PROTOCOL END},
        {"HTTP 1.0", 505, "GET /mqtt HTTP/1.0\r\n" HOST UPGRADE KEY VERSION PROTOCOL END},
    };
    size_t refused = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        test_case(cases[i].name);
        assert_int_equal(status_of_text(cases[i].text), cases[i].status);
        refused += cases[i].status != 101;
    }
    metric_expect("pulse_connections_closed_total{reason=\"websocket_error\"}", (double)refused);
}

/* Each one is bounded: one endless line, and endless lines. */
static void endless_headers_end_soon(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER_YAML(ws_yaml(""), NULL);
    static const char *const pieces[] = {"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
                                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    long before = broker_rss_bytes(broker);
    for (size_t i = 0; i < 2; i++) {
        struct secure_stream *stream = secure_open(&(struct secure_way){.port = ws_port});
        secure_send_text(stream, GET "Host: a");
        for (int n = 0; n < 400; n++) {
            secure_send_text(stream, pieces[i]);
        }
        struct ws_answer answer = ws_request_text(stream, "");
        assert_int_equal(answer.status, 431);
        secure_expect_end(stream);
    }
    assert_true(broker_rss_bytes(broker) - before < 8 * 1024 * 1024);
}

static void a_request_a_byte_at_a_time_is_one_too(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), NULL);
    struct secure_stream *stream = secure_open(&(struct secure_way){.port = ws_port});
    static const char text[] = GET HOST UPGRADE KEY VERSION PROTOCOL END;
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        secure_send(stream, text + i, 1);
    }
    assert_true(ws_request_text(stream, "").is_accepted);
}

/* limits.connect_timeout covers the request, and the CONNECT that should follow it. */
static void requests_that_stop_half_way_are_ended_in_time(void **state)
{
    (void)state;
    OWN_BROKER_YAML(ws_yaml(""), "limits.connect_timeout: 400ms");
    struct secure_way way = {.port = ws_port};
    struct secure_stream *silent = secure_open(&way);
    struct secure_stream *half = secure_open(&way);
    secure_send_text(half, GET HOST);
    struct secure_stream *mute = ws_open(&way);
    long begun = clock_ms();
    secure_expect_end(silent);
    secure_expect_end(half);
    secure_expect_end(mute);
    assert_in_range(clock_ms() - begun, 200, 5000);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_subprotocol_is_chosen),
        TEST(the_path_is_checked),
        TEST(origins_are_checked_where_a_list_is_given),
        TEST(any_origin_may_come_where_none_is_given),
        TEST(requests_get_the_answer_that_says_what_is_wrong),
        TEST(endless_headers_end_soon),
        TEST(a_request_a_byte_at_a_time_is_one_too),
        TEST(requests_that_stop_half_way_are_ended_in_time),
    };
    return RUN_SUITE("websocket_request", tests, NULL);
}
