/* The opening handshake of RFC 6455 section 4, as MQTT 5.0 section 6 asks for it. */
#include "codec/websocket.h"

#include "tests/unit/codec/codec_support.h"

#define START "GET /mqtt HTTP/1.1\r\n"
#define HOST "Host: example.org\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: mqtt\r\n"
#define END "\r\n"
#define GOOD START HOST UPGRADE KEY VERSION PROTOCOL END

static const struct ws_rules any_origin = {.path = "/mqtt"};

/* What became of a request. */
struct answer {
    enum ws_handshake_status status;
    size_t used;
    char text[WS_RESPONSE_MAX + 1];
    const char *why;
};

static struct answer answer_to(struct slice request, const struct ws_rules *rules)
{
    struct answer answer = {.used = SIZE_MAX};
    size_t len = 0;
    answer.status =
        ws_handshake(bytes_copy(request), rules, &answer.used, answer.text, &len, &answer.why);
    assert_true(len <= WS_RESPONSE_MAX);
    answer.text[len] = '\0';
    return answer;
}

static struct answer ask(const char *request)
{
    return answer_to(slice_text(request), &any_origin);
}

static void assert_accepted(struct answer answer, const char *protocol)
{
    char line[100];
    assert_int_equal(answer.status, WS_HANDSHAKE_DONE);
    (void)snprintf(line, sizeof(line), "\r\nSec-WebSocket-Protocol: %s\r\n", protocol);
    assert_memory_equal(answer.text, "HTTP/1.1 101 Switching Protocols\r\n", 34);
    assert_non_null(strstr(answer.text, line));
}

/* Fails unless the answer is whole: a status, the length of its text, and the text. */
static void assert_refused(struct answer answer, const char *status)
{
    char line[100];
    assert_int_equal(answer.status, WS_HANDSHAKE_REFUSED);
    int len = snprintf(line, sizeof(line), "HTTP/1.1 %s", status);
    assert_memory_equal(answer.text, line, (size_t)len);
    const char *body = strstr(answer.text, "\r\n\r\n");
    assert_non_null(body);
    body += 4;
    (void)snprintf(line, sizeof(line), "\r\nContent-Length: %zu\r\n", strlen(body));
    assert_non_null(strstr(answer.text, line));
    assert_non_null(strstr(answer.text, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    assert_non_null(strstr(answer.text, "close\r\n"));
    assert_int_equal(strncmp(body, answer.why, strlen(answer.why)), 0);
    assert_true(strlen(answer.why) > 0);
}

static void assert_text_refused(const char *request, const char *status)
{
    assert_refused(ask(request), status);
}

/* ---- accepted -------------------------------------------------------------------------------- */

/* The key and its answer are those of section 1.3. */
static void the_example_of_the_rfc_gets_its_answer(void **state)
{
    (void)state;
    struct answer answer = ask(GOOD);
    assert_int_equal(answer.status, WS_HANDSHAKE_DONE);
    assert_int_equal(answer.used, strlen(GOOD));
    assert_string_equal(answer.text, "HTTP/1.1 101 Switching Protocols\r\n"
                                     "Upgrade: websocket\r\n"
                                     "Connection: Upgrade\r\n"
                                     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                     "Sec-WebSocket-Protocol: mqtt\r\n"
                                     "\r\n");
}

static void every_shorter_start_of_a_request_waits_for_more(void **state)
{
    (void)state;
    for (size_t len = 0; len < strlen(GOOD); len++) {
        struct answer answer = answer_to(slice_of(GOOD, len), &any_origin);
        assert_int_equal(answer.status, WS_HANDSHAKE_MORE);
        assert_int_equal(answer.used, SIZE_MAX);
    }
}

static void bytes_behind_the_request_are_left(void **state)
{
    (void)state;
    static const char frame[] = "\x82\x80\0\0\0\0\r\n\r\n";
    char request[sizeof(GOOD) + sizeof(frame)];
    memcpy(request, GOOD, strlen(GOOD));
    memcpy(request + strlen(GOOD), frame, sizeof(frame));
    struct answer answer = answer_to(slice_of(request, strlen(GOOD) + sizeof(frame)), &any_origin);
    assert_accepted(answer, "mqtt");
    assert_int_equal(answer.used, strlen(GOOD));
}

static void names_and_words_of_fields_are_read_in_any_case(void **state)
{
    (void)state;
    assert_accepted(ask(START "hOST:x\r\nUPGRADE:WebSocket\r\nconnection:keep-alive,\tUPGRADE \r\n"
                              "SEC-WEBSOCKET-KEY:dGhlIHNhbXBsZSBub25jZQ==\t\r\n"
                              "sec-websocket-version:  13  \r\n"
                              "sec-websocket-protocol:mqtt\r\n" END),
                    "mqtt");
}

static void lists_may_stand_in_several_fields(void **state)
{
    (void)state;
    assert_accepted(ask(START HOST "Connection: keep-alive\r\nConnection: x, ,upgrade\r\n"
                                   "Upgrade: h2c\r\nUpgrade: foo/2,websocket\r\n" KEY VERSION
                                   "Sec-WebSocket-Protocol: soap\r\n"
                                   "Sec-WebSocket-Protocol: x , mqttv3.1\r\n" END),
                    "mqttv3.1");
}

static void mqtt_goes_before_mqttv31(void **state)
{
    (void)state;
    static const char *const lists[] = {"mqtt, mqttv3.1", "mqttv3.1, mqtt", "mqttv3.1,x,mqtt"};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request),
                       START HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: %s\r\n" END,
                       lists[i]);
        assert_accepted(ask(request), "mqtt");
    }
}

static void fields_of_others_are_ignored(void **state)
{
    (void)state;
    assert_accepted(ask(START HOST
                        "Cookie: a=b\r\nCookie: c=\xc3\xa9\r\nX:\r\n"
                        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                        "Content-Length: 0\r\n" UPGRADE KEY VERSION PROTOCOL END),
                    "mqtt");
}

static void a_query_and_a_whole_url_lead_to_the_path(void **state)
{
    (void)state;
    static const char *const targets[] = {"/mqtt?", "/mqtt?token=/a?b", "http://example.org/mqtt",
                                          "HTTP://h/mqtt?x", "https://example.org:1/mqtt"};
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\n" HOST UPGRADE KEY VERSION PROTOCOL END, targets[i]);
        assert_accepted(ask(request), "mqtt");
    }
}

/* ---- refused: not HTTP, or malformed --------------------------------------------------------- */

/* They are told at once; nothing has to run into a timeout. */
static void what_is_no_http_is_refused_by_its_first_bytes(void **state)
{
    (void)state;
    assert_refused(answer_to(bytes("16 03 01"), &any_origin), "400 "); /* TLS */
    assert_refused(answer_to(bytes("10"), &any_origin), "400 ");       /* MQTT without WebSocket */
    assert_refused(answer_to(bytes("00"), &any_origin), "400 ");
    assert_refused(answer_to(bytes("82 85 37fa213d"), &any_origin), "400 ");
    assert_text_refused(" GET", "400 ");
    assert_text_refused("\r\n" GOOD, "400 ");
    assert_text_refused("AAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "400 ");
    assert_text_refused("GET\t/mqtt", "400 ");
}

static void malformed_request_lines_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "GET\r\n",
        "GET /mqtt\r\n",
        "GET  HTTP/1.1\r\n",
        "GET  /mqtt HTTP/1.1\r\n",
        "GET /mqtt  HTTP/1.1\r\n",
        "GET /mqtt HTTP/1.1 \r\n",
        "GET /mqtt HTTP/1.1 x\r\n",
        "GET /mqtt http/1.1\r\n",
        "GET /mqtt FTP/1.1\r\n",
        "GET /mqtt \r\n",
        "GET /mqtt\tHTTP/1.1\r\n",
        "GET /mq\x01tt HTTP/1.1\r\n",
        "GET /mqtt HTTP/1.1\n",
        "GET /mqtt HTTP/1.1\r\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request), "%s" HOST UPGRADE KEY VERSION PROTOCOL END,
                       lines[i]);
        assert_text_refused(request, "400 ");
    }
}

static void malformed_fields_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "X: a\r\n folded\r\n",
        "X: a\r\n\tfolded\r\n",
        "X : a\r\n",
        "X\r\n",
        ": a\r\n",
        "X y: a\r\n",
        "X: a\n",
        "X: a\rb\r\n",
        "X: \x7f\r\n",
        "X: \x1b[0m\r\n",
        "X\xc3\xa9: a\r\n",
        "\"X\": a\r\n",
        "\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request), START HOST "%s" UPGRADE KEY VERSION PROTOCOL END,
                       lines[i]);
        assert_text_refused(request, "400 ");
    }
}

static void nul_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t at = 0; at < strlen(GOOD); at++) {
        char request[] = GOOD "\r\n\r\n";
        request[at] = '\0';
        assert_refused(answer_to(slice_of(request, sizeof(request) - 1), &any_origin), "400 ");
    }
}

/* A proxy in front might look at the other one. */
static void fields_that_may_stand_once_are_refused_twice(void **state)
{
    (void)state;
    assert_text_refused(START HOST HOST UPGRADE KEY VERSION PROTOCOL END, "400 ");
    assert_text_refused(START HOST UPGRADE KEY KEY VERSION PROTOCOL END, "400 ");
    assert_text_refused(START HOST UPGRADE KEY VERSION VERSION PROTOCOL END, "400 ");
    assert_text_refused(START HOST
                        "Origin: http://a\r\nORIGIN: http://a\r\n" UPGRADE KEY VERSION PROTOCOL END,
                        "400 ");
}

static void a_request_with_a_body_is_refused(void **state)
{
    (void)state;
    assert_text_refused(START HOST "Content-Length: 1\r\n" UPGRADE KEY VERSION PROTOCOL END,
                        "400 ");
    assert_text_refused(START HOST "Content-Length: 00\r\n" UPGRADE KEY VERSION PROTOCOL END,
                        "400 ");
    assert_text_refused(
        START HOST "Transfer-Encoding: chunked\r\n" UPGRADE KEY VERSION PROTOCOL END, "400 ");
}

static void a_request_that_does_not_end_is_refused(void **state)
{
    (void)state;
    static char request[WS_REQUEST_MAX + 1];
    memset(request, 'a', sizeof(request));
    memcpy(request, START "X: ", strlen(START "X: "));
    struct answer answer = answer_to(slice_of(request, WS_REQUEST_MAX - 1), &any_origin);
    assert_int_equal(answer.status, WS_HANDSHAKE_MORE);
    assert_refused(answer_to(slice_of(request, WS_REQUEST_MAX), &any_origin), "431 ");
    assert_refused(answer_to(slice_of(request, WS_REQUEST_MAX + 1), &any_origin), "431 ");
}

static void a_request_may_be_as_long_as_the_limit(void **state)
{
    (void)state;
    static char request[WS_REQUEST_MAX + 10];
    for (size_t over = 0; over < 2; over++) {
        size_t end = strlen("\r\n" HOST UPGRADE KEY VERSION PROTOCOL END);
        memset(request, 'a', sizeof(request));
        memcpy(request, START "X: ", strlen(START "X: "));
        memcpy(request + WS_REQUEST_MAX + over - end, "\r\n" HOST UPGRADE KEY VERSION PROTOCOL END,
               end);
        struct answer answer = answer_to(slice_of(request, WS_REQUEST_MAX + over), &any_origin);
        if (over == 0) {
            assert_accepted(answer, "mqtt");
            assert_int_equal(answer.used, WS_REQUEST_MAX);
        } else {
            assert_refused(answer, "431 ");
        }
    }
}

/* ---- refused: not what is served here -------------------------------------------------------- */

static void other_versions_of_http_are_refused(void **state)
{
    (void)state;
    static const char *const versions[] = {"1.0", "0.9", "1.2", "2.0", "2", "", "1.1x"};
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request),
                       "GET /mqtt HTTP/%s\r\n" HOST UPGRADE KEY VERSION PROTOCOL END, versions[i]);
        assert_text_refused(request, "505 ");
    }
    assert_text_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 ");
}

static void other_methods_are_refused_and_the_right_one_is_named(void **state)
{
    (void)state;
    static const char *const methods[] = {"POST", "OPTIONS", "get", "CONNECT"};
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request),
                       "%s /mqtt HTTP/1.1\r\n" HOST UPGRADE KEY VERSION PROTOCOL END, methods[i]);
        struct answer answer = ask(request);
        assert_refused(answer, "405 Method Not Allowed\r\n");
        assert_non_null(strstr(answer.text, "\r\nAllow: GET\r\n"));
    }
}

/* RFC 7230 section 3.3: its answer says how long the text would be. */
static void head_gets_an_answer_without_its_text(void **state)
{
    (void)state;
    struct answer answer = ask("HEAD / HTTP/1.1\r\n" HOST END);
    assert_int_equal(answer.status, WS_HANDSHAKE_REFUSED);
    assert_string_equal(strstr(answer.text, "\r\n\r\n"), "\r\n\r\n");
    assert_null(strstr(answer.text, "Content-Length: 0\r\n"));
}

static void other_paths_are_refused(void **state)
{
    (void)state;
    static const char *const targets[] = {"/",       "/mqt",        "/mqtt/",   "/MQTT",
                                          "/mqttx",  "//mqtt",      "/%6dqtt",  "*",
                                          "mqtt",    "/mqtt#x",     "/?/mqtt",  "http://mqtt",
                                          "http://", "ws://x/mqtt", "http:///", "http://h?/mqtt"};
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\n" HOST UPGRADE KEY VERSION PROTOCOL END, targets[i]);
        assert_text_refused(request, "404 ");
    }
}

static void a_request_without_host_is_refused(void **state)
{
    (void)state;
    assert_text_refused(START UPGRADE KEY VERSION PROTOCOL END, "400 ");
}

static void a_plain_request_is_told_to_upgrade(void **state)
{
    (void)state;
    static const char *const requests[] = {
        START HOST END,
        START HOST "Upgrade: websocket\r\n" KEY VERSION PROTOCOL END,
        START HOST "Connection: Upgrade\r\n" KEY VERSION PROTOCOL END,
        START HOST "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY VERSION PROTOCOL END,
        START HOST "Upgrade: web, socket\r\nConnection: Upgrade\r\n" KEY VERSION PROTOCOL END,
        START HOST "Upgrade: websocket\r\nConnection: Upgrades\r\n" KEY VERSION PROTOCOL END,
    };
    for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
        struct answer answer = ask(requests[i]);
        assert_refused(answer, "426 Upgrade Required\r\n");
        assert_non_null(strstr(answer.text, "\r\nUpgrade: websocket\r\n"));
        assert_non_null(strstr(answer.text, "\r\nConnection: Upgrade, close\r\n"));
    }
}

static void other_versions_of_websocket_are_told_ours(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "",
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 13, 8\r\n",
        "Sec-WebSocket-Version: 013\r\n",
        "Sec-WebSocket-Version:\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request), START HOST UPGRADE KEY PROTOCOL "%s" END,
                       fields[i]);
        struct answer answer = ask(request);
        assert_refused(answer, "426 Upgrade Required\r\n");
        assert_non_null(strstr(answer.text, "\r\nSec-WebSocket-Version: 13\r\n"));
    }
}

static void keys_that_are_not_16_bytes_are_refused(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "",
        "Sec-WebSocket-Key:\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWE=\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWEx\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBs-SBub25jZQ==\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBs=SBub25jZQ==\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBs ZSBub25jZQ==\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request), START HOST UPGRADE VERSION PROTOCOL "%s" END,
                       fields[i]);
        assert_text_refused(request, "400 ");
    }
}

static void each_character_of_a_key_is_one_of_base64(void **state)
{
    (void)state;
    static const char good[] = "azAZ09+/azAZ09+/azAZ09==";
    char request[] =
        START HOST UPGRADE VERSION PROTOCOL "Sec-WebSocket-Key: azAZ09+/azAZ09+/azAZ09=="
                                            "\r\n" END;
    char *key = strstr(request, good);
    assert_accepted(ask(request), "mqtt");
    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        static const char bad[] = {'@', '[', '`', '{', ':', '.', '-', '_', ' '};
        for (size_t k = 0; k < sizeof(bad); k++) {
            key[i] = bad[k];
            assert_text_refused(request, "400 ");
        }
        key[i] = good[i];
    }
}

/* [MQTT-6.0.0-3], [MQTT-6.0.0-4] */
static void a_request_without_our_sub_protocol_is_told_what_to_offer(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "",
        "Sec-WebSocket-Protocol:\r\n",
        "Sec-WebSocket-Protocol: MQTT\r\n",
        "Sec-WebSocket-Protocol: mqttv3.1.1\r\n",
        "Sec-WebSocket-Protocol: mq tt, amqp\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        char request[1000];
        (void)snprintf(request, sizeof(request), START HOST UPGRADE KEY VERSION "%s" END,
                       fields[i]);
        struct answer answer = ask(request);
        assert_refused(answer, "400 ");
        assert_non_null(strstr(answer.text, "Sec-WebSocket-Protocol: mqtt\n"));
    }
}

/* ---- origins --------------------------------------------------------------------------------- */

static bool origin_allowed(const char *allowed, const char *origin)
{
    char request[1000];
    struct ws_rules rules = {.path = "/mqtt", .origins = allowed};
    (void)snprintf(request, sizeof(request),
                   START HOST UPGRADE "Origin: %s\r\n" KEY VERSION PROTOCOL END, origin);
    struct answer answer = answer_to(slice_text(request), &rules);
    if (answer.status == WS_HANDSHAKE_DONE) {
        return true;
    }
    assert_refused(answer, "403 Forbidden\r\n");
    return false;
}

static void origins_are_compared_by_scheme_host_and_port(void **state)
{
    (void)state;
    static const struct {
        const char *allowed;
        const char *origin;
        bool matches;
    } rows[] = {
        {"https://example.org", "https://example.org", true},
        {"https://example.org", "https://EXAMPLE.org", true},
        {"HTTPS://Example.org", "https://example.org", true},
        {"https://example.org", "https://example.org:443", true},
        {"https://example.org:443", "https://example.org", true},
        {"http://example.org:80", "http://example.org", true},
        {"https://a.b , http://c.d:8080", "http://c.d:8080", true},
        {"http://[::1]:8080", "http://[::1]:8080", true},
        {"http://[::1]", "http://[::1]:80", true},
        {"null", "null", true},
        {"capacitor://localhost", "capacitor://localhost", true}, /* apps that are a page */
        {"capacitor://localhost", "capacitor://localhost:80", false},
        {"ionic://localhost:5", "ionic://localhost:5", true},
        {"about:x", "about:x", true},
        {"about:x", "about:y", false},
        {"https://example.org", "http://example.org", false},
        {"https://example.org", "https://example.org:444", false},
        {"http://example.org:443", "https://example.org:443", false},
        {"https://example.org", "https://www.example.org", false},
        {"https://example.org", "https://example.org.evil.net", false},
        {"https://example.org", "https://evilexample.org", false},
        {"https://example.org", "https://example.or", false},
        {"https://example.org", "https://example.org/", false},
        {"https://example.org", "https://example.org@evil.net", false},
        {"https://example.org", "https://example.org:443:443", false},
        {"https://example.org", "https://example.org:4294967739", false},
        {"https://example.org", "null", false},
        {"https://example.org", "", false},
        {"https://example.org", "https://example.org, https://example.org", false},
        {"https://example.org", "example.org", false},
        {"null", "https://null", false},
        {",", "", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (origin_allowed(rows[i].allowed, rows[i].origin) != rows[i].matches) {
            fail_msg("allowed %s, origin %s", rows[i].allowed, rows[i].origin);
        }
    }
}

static void without_a_list_every_origin_may_connect(void **state)
{
    (void)state;
    assert_true(origin_allowed(NULL, "https://evil.net"));
    assert_true(origin_allowed("", "null"));
}

static void clients_that_are_no_browsers_send_no_origin(void **state)
{
    (void)state;
    struct ws_rules rules = {.path = "/mqtt", .origins = "https://example.org"};
    assert_accepted(answer_to(slice_text(GOOD), &rules), "mqtt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_rfc_gets_its_answer),
        cmocka_unit_test(every_shorter_start_of_a_request_waits_for_more),
        cmocka_unit_test(bytes_behind_the_request_are_left),
        cmocka_unit_test(names_and_words_of_fields_are_read_in_any_case),
        cmocka_unit_test(lists_may_stand_in_several_fields),
        cmocka_unit_test(mqtt_goes_before_mqttv31),
        cmocka_unit_test(fields_of_others_are_ignored),
        cmocka_unit_test(a_query_and_a_whole_url_lead_to_the_path),
        cmocka_unit_test(what_is_no_http_is_refused_by_its_first_bytes),
        cmocka_unit_test(malformed_request_lines_are_refused),
        cmocka_unit_test(malformed_fields_are_refused),
        cmocka_unit_test(nul_is_refused_wherever_it_stands),
        cmocka_unit_test(fields_that_may_stand_once_are_refused_twice),
        cmocka_unit_test(a_request_with_a_body_is_refused),
        cmocka_unit_test(a_request_that_does_not_end_is_refused),
        cmocka_unit_test(a_request_may_be_as_long_as_the_limit),
        cmocka_unit_test(other_versions_of_http_are_refused),
        cmocka_unit_test(other_methods_are_refused_and_the_right_one_is_named),
        cmocka_unit_test(head_gets_an_answer_without_its_text),
        cmocka_unit_test(other_paths_are_refused),
        cmocka_unit_test(a_request_without_host_is_refused),
        cmocka_unit_test(a_plain_request_is_told_to_upgrade),
        cmocka_unit_test(other_versions_of_websocket_are_told_ours),
        cmocka_unit_test(keys_that_are_not_16_bytes_are_refused),
        cmocka_unit_test(each_character_of_a_key_is_one_of_base64),
        cmocka_unit_test(a_request_without_our_sub_protocol_is_told_what_to_offer),
        cmocka_unit_test(origins_are_compared_by_scheme_host_and_port),
        cmocka_unit_test(without_a_list_every_origin_may_connect),
        cmocka_unit_test(clients_that_are_no_browsers_send_no_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
