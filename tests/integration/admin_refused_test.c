/* The admin API: who and what it refuses, and how. */
#include "tests/integration/admin_http.h"
#include "tests/integration/certificates.h"
#include "tests/integration/suite.h"

#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define API "/api/v1"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- tokens ---------------------------------------------------------------------------------- */

static void without_the_token_nothing_is_told(void **state)
{
    (void)state;
    static const char *const targets[] = {API "/clients", API "/no/%zz"}; /* each waits longer */
    admin_use_token(NULL);
    for (size_t i = 0; i < COUNT(targets); i++) {
        test_case(targets[i]);
        assert_int_equal(admin_ask("GET", targets[i]), 401);
        assert_non_null(strstr(admin_answer(), "WWW-Authenticate: Bearer"));
        admin_expect("\"error\":\"unauthorized\"");
    }
    admin_use_token(ADMIN_TOKEN);
}

static void a_wrong_token_does_nothing(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "refused-kick");
    static const char *const tokens[] = {"", ADMIN_TOKEN "x"};
    for (size_t i = 0; i < COUNT(tokens); i++) {
        admin_use_token(tokens[i]);
        assert_int_equal(admin_ask("DELETE", API "/clients/refused-kick"), 401);
    }
    admin_use_token(ADMIN_TOKEN);
    settle(c);
}

/* Wrong ones wait longer and longer; the right one does not. */
static void wrong_tokens_slow_down_wrong_tokens_only(void **state)
{
    (void)state;
    suite_own_broker(admin_settings(NULL));
    admin_use_token("wrong");
    long first = clock_ms();
    assert_int_equal(admin_ask("GET", API "/status"), 401);
    long second = clock_ms();
    assert_int_equal(admin_ask("GET", API "/status"), 401);
    long third = clock_ms();
    assert_true(second - first >= 200);
    assert_true(third - second >= 400);
    admin_use_token(ADMIN_TOKEN);
    long before = clock_ms();
    assert_int_equal(admin_ask("GET", API "/status"), 200);
    assert_true(clock_ms() - before < 200);
}

/* Nor do those that wait for their answer take the places of others. */
static void many_wrong_tokens_do_not_keep_the_right_one_out(void **state)
{
    (void)state;
    enum { MANY = 100 };
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = admin_connect();
        static const char request[] = "GET " API "/status HTTP/1.1\r\nHost: localhost\r\n"
                                      "Authorization: Bearer wrong\r\n\r\n";
        (void)!send(fds[i], request, sizeof(request) - 1, MSG_NOSIGNAL);
    }
    assert_int_equal(admin_ask("GET", API "/status"), 200);
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
    }
    assert_int_equal(admin_ask("GET", API "/status"), 200);
}

/* ---- without a token ------------------------------------------------------------------------- */

static int ask_with(const char *method, const char *headers, const char *json)
{
    char all[512];
    snprintf(all, sizeof(all), "%sContent-Type: application/json\r\nContent-Length: %zu\r\n",
             headers, strlen(json));
    return admin_ask_raw(method, json[0] != '\0' ? API "/log" : API "/status", all, json,
                         strlen(json));
}

/* A name of another host that leads here is how a web page would reach the API. */
static void without_a_token_only_this_host_by_its_own_name_may_ask(void **state)
{
    (void)state;
    suite_own_broker(admin_settings_open());
    assert_int_equal(ask_with("GET", "Host: localhost\r\n", ""), 200);
    assert_int_equal(ask_with("GET", "Host: 127.0.0.1:1234\r\n", ""), 200);
    assert_int_equal(ask_with("GET", "Host: [::1]\r\n", ""), 200);
    assert_int_equal(ask_with("PUT", "Host: localhost\r\n", "{\"filter\":\"info\"}"), 200);
    assert_int_equal(ask_with("GET", "Host: evil.example\r\n", ""), 403);
    assert_int_equal(ask_with("GET", "Host: localhost.evil.example:9002\r\n", ""), 403);
    assert_int_equal(ask_with("GET", "Host: localhost\r\nOrigin: http://evil.example\r\n", ""),
                     403);
    assert_int_equal(
        ask_with("PUT", "Host: localhost\r\nOrigin: null\r\n", "{\"filter\":\"debug\"}"), 403);
    int status = ask_with("GET", "", "");
    assert_true(status == 400 || status == 403);
}

static void an_address_that_others_reach_needs_protection(void **state)
{
    (void)state;
    assert_true(broker_refuses(BROKER_SETTINGS("admin.enabled: true", "admin.bind: 0.0.0.0:9002"),
                               NULL, "admin"));
    assert_true(broker_refuses(BROKER_SETTINGS("admin.enabled: true", "admin.bind: \"[::]:9002\""),
                               NULL, "admin"));
}

static void a_token_file_that_can_not_be_used_is_an_error(void **state)
{
    (void)state;
    char bind[64];
    snprintf(bind, sizeof(bind), "admin.bind: 127.0.0.1:%u", broker_free_port());
    assert_true(broker_refuses(
        BROKER_SETTINGS("admin.enabled: true", bind, "admin.token_file: /nonexistent/token"), NULL,
        "/nonexistent/token"));
    assert_true(
        broker_refuses(BROKER_SETTINGS("admin.enabled: true", bind, "admin.token_file: /dev/null"),
                       NULL, "not a file"));
}

/* ---- bad requests ---------------------------------------------------------------------------- */

static void what_is_not_there_is_not_found(void **state)
{
    (void)state;
    static const char *const targets[] = {"/",
                                          "/api",
                                          API,
                                          API "/",
                                          API "/nothing",
                                          API "/clients/",
                                          API "/clients/a/b",
                                          API "/retained/a/b",
                                          "/metrics",
                                          API "/retained/a%00b",
                                          API "/retained/%23",
                                          API "/clients/%ff%fe"};
    for (size_t i = 0; i < COUNT(targets); i++) {
        test_case(targets[i]);
        assert_int_equal(admin_ask("GET", targets[i]), 404);
        admin_expect("\"error\":\"not_found\"");
    }
}

static void a_bad_target_is_explained(void **state)
{
    (void)state;
    static const char *const targets[] = {
        API "/clients/%",
        API "/clients/%2",
        API "/clients/%zz",
        API "/clients?limit=%",
        API "/1/2/3/4/5/6/7",
        API "/clients?limit=0",
        API "/clients?limit=1001",
        API "/clients?limit=ten",
        API "/clients?cursor=1",
        API "/clients?cursor=../../etc/passwd",
        API "/clients?nonsense=1",
        API "/status?limit=1",
        API "/sessions?connected=maybe",
        API "/subscriptions?filter=a/%23/b",
        API "/subscriptions?topic=%23",
        API "/retained?filter=%2B%2B",
        API "/retained?filter=%24share/a/b",
        API "/retained?payload_bytes=4097",
        API "/clients?client_id=a%00b",
    };
    for (size_t i = 0; i < COUNT(targets); i++) {
        test_case(targets[i]);
        assert_int_equal(admin_ask("GET", targets[i]), 400);
        admin_expect("{\"error\":\"bad_");
        admin_expect("\"detail\":\"");
    }
}

static void a_cursor_beyond_the_end_gives_nothing(void **state)
{
    (void)state;
    (void)CONNECT();
    static const char *const lists[] = {"clients", "sessions", "subscriptions", "retained"};
    static const char *const cursors[] = {"4000000000.0.0", "0.4000000000.4000000000",
                                          "0.0.4000000000", "4294967289.4294967289.4294967289"};
    for (size_t i = 0; i < COUNT(lists); i++) {
        for (size_t j = 0; j < COUNT(cursors); j++) {
            char target[128];
            snprintf(target, sizeof(target), API "/%s?cursor=%s", lists[i], cursors[j]);
            assert_int_equal(admin_ask("GET", target), 200);
        }
    }
}

static void other_methods_are_told_those_that_are(void **state)
{
    (void)state;
    assert_int_equal(admin_ask("PATCH", API "/clients/x"), 405);
    assert_non_null(strstr(admin_answer(), "Allow: GET, HEAD, DELETE, OPTIONS"));
    assert_int_equal(admin_ask("DELETE", API "/clients"), 405);
    assert_int_equal(admin_ask("GET", API "/publish"), 405);
    assert_non_null(strstr(admin_answer(), "Allow: POST, OPTIONS"));
    assert_int_equal(admin_ask("TRACE", API "/status"), 405);
    assert_int_equal(admin_ask("OPTIONS", API "/log"), 204);
    assert_non_null(strstr(admin_answer(), "Allow: GET, HEAD, PUT, OPTIONS"));
    assert_null(strstr(admin_answer(), "Access-Control"));
    assert_int_equal(admin_ask("OPTIONS", API "/nothing"), 404);
}

#define TOKEN_HEADERS "Host: localhost\r\nAuthorization: Bearer " ADMIN_TOKEN "\r\n"

/* A web form can send these types, and JSON it can't. */
static void a_body_must_be_json_and_say_so(void **state)
{
    (void)state;
    static const char *const types[] = {
        "", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n", "Content-Type: application/jsonx\r\n"};
    for (size_t i = 0; i < COUNT(types); i++) {
        char headers[256];
        snprintf(headers, sizeof(headers), TOKEN_HEADERS "%sContent-Length: 17\r\n", types[i]);
        test_case(types[i]);
        assert_int_equal(admin_ask_raw("PUT", API "/log", headers, "{\"filter\":\"info\"}", 17),
                         415);
    }
    assert_int_equal(admin_ask_raw("PUT", API "/log",
                                   TOKEN_HEADERS
                                   "Content-Length: 17\r\n"
                                   "Content-Type: Application/JSON; charset=utf-8\r\n",
                                   "{\"filter\":\"info\"}", 17),
                     200);
}

static void a_huge_body_is_refused(void **state)
{
    (void)state;
    static char body[3 * 1024 * 1024];
    memset(body, ' ', sizeof(body));
    static const char json[] = TOKEN_HEADERS "Content-Type: application/json\r\n";
    char headers[256];
    snprintf(headers, sizeof(headers), "%sContent-Length: 99999999999\r\n", json);
    assert_int_equal(admin_ask_raw("POST", API "/publish", headers, NULL, 0), 413);
    snprintf(headers, sizeof(headers), "%sContent-Length: 99999999999999999999999999\r\n", json);
    int status = admin_ask_raw("POST", API "/publish", headers, NULL, 0);
    assert_true(status == 413 || status == 400);
    snprintf(headers, sizeof(headers), "%sTransfer-Encoding: chunked\r\n", json);
    memcpy(body, "200000\r\n", 8); /* 2 MiB in one chunk */
    memcpy(body + 8 + 0x200000, "\r\n0\r\n\r\n", 7);
    assert_int_equal(admin_ask_raw("POST", API "/publish", headers, body, 8 + 0x200000 + 7), 413);
    assert_int_equal(admin_ask("GET", API "/status"), 200);
}

static void a_body_of_the_largest_size_is_taken(void **state)
{
    (void)state;
    enum { SIZE = 1024 * 1024 };
    char *body = malloc(SIZE + 1);
    assert_non_null(body);
    int head = snprintf(body, SIZE, "{\"topic\":\"huge/t\",\"payload\":\"");
    memset(body + head, 'x', (size_t)(SIZE - head));
    memcpy(body + SIZE - 2, "\"}", 3);
    int status = admin_send("POST", API "/publish", body);
    free(body);
    assert_int_equal(status, 200);
}

/* Ids and topics may be long; what no header holds is refused. */
static void long_targets_are_taken_or_refused(void **state)
{
    (void)state;
    static char target[200 * 1024];
    strcpy(target, API "/clients/");
    size_t start = strlen(target);
    memset(target + start, 'x', 20000);
    assert_int_equal(admin_ask("GET", target), 404);
    memset(target + start, 'x', 110000);
    int status = admin_ask("GET", target);
    assert_true(status == 414 || status == 413 || status == 431 || status == 400 || status == 0);
    assert_int_equal(admin_ask("GET", API "/status"), 200);
}

static void a_body_where_none_belongs_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(admin_send("GET", API "/status", "{\"topic\":\"a\"}"), 200);
    assert_int_equal(admin_send("DELETE", API "/clients/nobody-here", "{}"), 404);
}

/* ---- those who behave badly ------------------------------------------------------------------ */

static void half_requests_and_noise_disturb_nobody(void **state)
{
    (void)state;
    static const char *const noise[] = {
        "GET " API "/sta",
        "PUT " API "/log HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " ADMIN_TOKEN
        "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"fil",
        "\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03xyz\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET  HTTP/1.1\r\n\r\n",
        "GET " API "/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " ADMIN_TOKEN
        "\r\n\r\n", /* goes before the answer */
        "",
    };
    int fds[60];
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = admin_connect();
        const char *bytes = noise[i % COUNT(noise)];
        (void)!send(fds[i], bytes, strlen(bytes), MSG_NOSIGNAL);
        if (i % 2 == 0) {
            close(fds[i]);
        }
    }
    assert_int_equal(admin_ask("GET", API "/status"), 200);
    for (size_t i = 1; i < COUNT(fds); i += 2) {
        close(fds[i]);
    }
}

/* A request that trickles in is ended in time, whatever it does meanwhile. */
static void a_slow_client_is_given_a_limited_time(void **state)
{
    (void)state;
    int fd = admin_connect();
    long before = clock_ms();
    admin_say(fd, "GET " API "/status HTTP/1.1\r\nX: ");
    while (clock_ms() - before < 20000 && !admin_read(fd, NULL, 100)) {
        if (send(fd, "x", 1, MSG_NOSIGNAL) != 1) {
            break;
        }
    }
    close(fd);
    assert_true(clock_ms() - before < 15000);
}

/* Requests that are on their way when the node stops end too. */
static void a_node_that_stops_answers_or_closes(void **state)
{
    (void)state;
    suite_own_broker(admin_settings(NULL));
    enum { MANY = 20 };
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = admin_connect();
    }
    broker_signal(suite_broker(), SIGTERM);
    for (int i = 0; i < MANY; i++) {
        static const char request[] = "GET " API "/sessions HTTP/1.1\r\nHost: localhost\r\n"
                                      "Authorization: Bearer " ADMIN_TOKEN "\r\n\r\n";
        (void)!send(fds[i], request, sizeof(request) - 1, MSG_NOSIGNAL);
    }
    suite_expect_own_broker_exit(WAIT_MS);
    for (int i = 0; i < MANY; i++) {
        assert_true(admin_read(fds[i], NULL, 1000));
        close(fds[i]);
    }
}

/* ---- HTTPS and client certificates ----------------------------------------------------------- */

/* Asks for the status over TLS, showing NAME.pem (NULL: none); 0: no answer. */
static int ask_tls(const char *name, const char *more_headers)
{
    char answer[4096] = "";
    char request[512];
    char key[64];
    int status = 0;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_locations(context, certificates_path("ca.pem"), NULL);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (name != NULL) {
        snprintf(key, sizeof(key), "%.*s.key", (int)strcspn(name, "."), name);
        assert_int_equal(SSL_CTX_use_certificate_chain_file(context, certificates_path(name)), 1);
        assert_int_equal(
            SSL_CTX_use_PrivateKey_file(context, certificates_path(key), SSL_FILETYPE_PEM), 1);
    }
    int fd = admin_connect();
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    snprintf(request, sizeof(request), "GET " API "/status HTTP/1.1\r\nHost: some.name\r\n%s\r\n",
             more_headers);
    if (SSL_connect(ssl) == 1 && SSL_write(ssl, request, (int)strlen(request)) > 0) {
        int len = 0, more = 1;
        while (more > 0 && len < (int)sizeof(answer) - 1) {
            more = SSL_read(ssl, answer + len, (int)sizeof(answer) - 1 - len);
            len += more > 0 ? more : 0;
        }
        answer[len] = '\0';
        sscanf(answer, "HTTP/1.1 %d", &status);
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    return status;
}

static const char *const *tls_settings(bool with_ca, bool with_token)
{
    static char lines[5][256];
    static const char *settings[7];
    size_t count = 0;
    const char *const *base = with_token ? admin_settings(NULL) : admin_settings_open();
    for (; base[count] != NULL; count++) {
        settings[count] = base[count];
    }
    snprintf(lines[0], 256, "admin.tls_certificate_chain: %s", certificates_path("server.pem"));
    snprintf(lines[1], 256, "admin.tls_private_key: %s", certificates_path("server.key"));
    snprintf(lines[2], 256, "admin.tls_client_ca: %s", certificates_path("ca.pem"));
    settings[count++] = lines[0];
    settings[count++] = lines[1];
    if (with_ca) {
        settings[count++] = lines[2];
    }
    settings[count] = NULL;
    return settings;
}

static void with_a_client_ca_only_good_certificates_may_ask(void **state)
{
    (void)state;
    suite_own_broker(tls_settings(true, false));
    assert_int_equal(ask_tls("client.pem", ""), 200);
    assert_int_equal(ask_tls("client.pem", "Origin: https://evil.example\r\n"), 403);
    assert_int_not_equal(ask_tls(NULL, ""), 200);
    assert_int_not_equal(ask_tls("stranger.pem", ""), 200);
    assert_int_not_equal(ask_tls("expired.pem", ""), 200);
    assert_int_equal(admin_ask("GET", API "/status"), 0); /* without TLS */
    assert_int_equal(ask_tls("client.pem", ""), 200);
}

static void with_both_a_certificate_and_a_token_are_needed(void **state)
{
    (void)state;
    suite_own_broker(tls_settings(true, true));
    static const char good[] = "Authorization: Bearer " ADMIN_TOKEN "\r\n";
    assert_int_equal(ask_tls("client.pem", good), 200);
    assert_int_equal(ask_tls("client.pem", ""), 401);
    assert_int_not_equal(ask_tls(NULL, good), 200);
}

static void https_with_a_token_needs_no_certificate(void **state)
{
    (void)state;
    suite_own_broker(tls_settings(false, true));
    assert_int_equal(ask_tls(NULL, "Authorization: Bearer " ADMIN_TOKEN "\r\n"), 200);
    assert_int_equal(ask_tls(NULL, ""), 401);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(without_the_token_nothing_is_told),
        TEST(a_wrong_token_does_nothing),
        TEST(many_wrong_tokens_do_not_keep_the_right_one_out),
        TEST(what_is_not_there_is_not_found),
        TEST(a_bad_target_is_explained),
        TEST(a_cursor_beyond_the_end_gives_nothing),
        TEST(other_methods_are_told_those_that_are),
        TEST(a_body_must_be_json_and_say_so),
        TEST(a_huge_body_is_refused),
        TEST(a_body_of_the_largest_size_is_taken),
        TEST(long_targets_are_taken_or_refused),
        TEST(a_body_where_none_belongs_changes_nothing),
        TEST(half_requests_and_noise_disturb_nobody),
        TEST(a_slow_client_is_given_a_limited_time),
        /* with a broker, and an API, of their own from here on */
        TEST(wrong_tokens_slow_down_wrong_tokens_only),
        TEST(without_a_token_only_this_host_by_its_own_name_may_ask),
        TEST(an_address_that_others_reach_needs_protection),
        TEST(a_token_file_that_can_not_be_used_is_an_error),
        TEST(a_node_that_stops_answers_or_closes),
        TEST(with_a_client_ca_only_good_certificates_may_ask),
        TEST(with_both_a_certificate_and_a_token_are_needed),
        TEST(https_with_a_token_needs_no_certificate),
    };
    int failed = RUN_SUITE("admin_refused", tests, admin_settings(NULL));
    admin_end();
    return failed;
}
