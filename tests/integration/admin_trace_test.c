/* Traces of the admin API: the packets of one client, while they come and go. */
#include "tests/integration/admin_http.h"
#include "tests/integration/kept_session.h"
#include "tests/integration/suite.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define API "/api/v1"
#define SOON_MS 5000

/* Begins a trace, and waits until it runs: it then says whether its client is there. */
static int start_trace(const char *client_id, const char *parameters)
{
    char request[512];
    int fd = admin_connect();
    snprintf(request, sizeof(request),
             "GET " API "/clients/%s/trace%s HTTP/1.1\r\nHost: localhost\r\n"
             "Authorization: Bearer " ADMIN_TOKEN "\r\n\r\n",
             client_id, parameters);
    admin_say(fd, request);
    if (!admin_read(fd, "\"event\":\"o", SOON_MS)) {
        test_fail("no trace: %s", admin_answer());
    }
    return fd;
}

static void await(int fd, const char *text)
{
    if (!admin_read(fd, text, SOON_MS)) {
        test_fail("no %s in: %s", text, admin_answer());
    }
}

static void packets_in_and_out_are_shown_without_payloads(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "trace-me");
    struct client *other = CONNECT();
    int fd = start_trace("trace-me", "");
    assert_non_null(strstr(admin_answer(), "Content-Type: application/x-ndjson"));
    assert_non_null(strstr(admin_answer(), "\"event\":\"online\",\"protocol_level\":5"));
    subscribe(c, "trace/+", 1);
    await(fd, "\"direction\":\"in\",\"packet\":\"SUBSCRIBE\"");
    await(fd, "\"filters\":[{\"filter\":\"trace/+\",\"qos\":1}]");
    await(fd, "\"direction\":\"out\",\"packet\":\"SUBACK\"");
    await(fd, "\"reasons\":[\"0x01\"]");
    publish(other, "trace/\xc3\xa9", "secret", 1);
    expect_publish_and_ack(c, "trace/\xc3\xa9", "secret");
    await(fd, "\"packet\":\"PUBLISH\"");
    await(fd, "\"topic\":\"trace/\xc3\xa9\",\"qos\":1,\"retain\":false");
    await(fd, "\"payload_bytes\":6");
    await(fd, "\"direction\":\"in\",\"packet\":\"PUBACK\"");
    settle(c);
    await(fd, "PINGREQ");
    await(fd, "PINGRESP");
    settle(other);
    assert_null(strstr(admin_answer(), "secret"));
    close(fd);
}

static void large_payloads_are_counted_not_shown(void **state)
{
    (void)state;
    static char payload[100001];
    memset(payload, 'p', sizeof(payload) - 1);
    struct client *c = CONNECT(.client_id = "trace-large");
    subscribe(c, "tlarge/t", 0);
    int fd = start_trace("trace-large", "");
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "tlarge/t", .payload = payload, .payload_len = sizeof(payload) - 1);
    (void)expect_packet(c, PKT_PUBLISH);
    await(fd, "\"payload_bytes\":100000");
    assert_null(strstr(admin_answer(), "pppp"));
    close(fd);
}

/* The trace waits for its client, and goes on over its connections. */
static void a_trace_follows_its_client_over_connections(void **state)
{
    (void)state;
    int fd = start_trace("trace-later", "");
    assert_non_null(strstr(admin_answer(), "\"event\":\"offline\""));
    struct client *c = CONNECT(.client_id = "trace-later", .user = "name", .password = "word");
    await(fd, "\"event\":\"online\"");
    client_disconnect(c);
    await(fd, "\"packet\":\"DISCONNECT\"");
    await(fd, "\"event\":\"offline\",\"cause\":\"client_disconnect\"");
    c = CONNECT(.client_id = "trace-later", .version = MQTT_311);
    await(fd, "\"protocol_level\":4");
    assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1); /* more of a request is no trouble */
    settle(c);
    await(fd, "PINGREQ");
    assert_null(strstr(admin_answer(), "word"));
    close(fd);
}

static void it_ends_after_its_time(void **state)
{
    (void)state;
    long before = clock_ms();
    int fd = start_trace("trace-short", "?seconds=1");
    await(fd, "\"event\":\"end\",\"dropped\":0");
    assert_true(admin_read(fd, NULL, SOON_MS)); /* closed */
    assert_true(clock_ms() - before >= 900);
    close(fd);
}

/* Waits until a trace of `client_id` could begin: the one before has ended. */
static int await_place(const char *client_id)
{
    char target[128];
    long deadline = clock_ms() + WAIT_MS;
    snprintf(target, sizeof(target), API "/clients/%s/trace?seconds=1", client_id);
    int status = admin_ask("GET", target);
    while ((status == 409 || status == 429) && clock_ms() < deadline) {
        let_time_pass(20);
        status = admin_ask("GET", target);
    }
    return status;
}

static void a_client_is_traced_once_at_a_time(void **state)
{
    (void)state;
    int fd = start_trace("trace-once", "");
    assert_int_equal(admin_ask("GET", API "/clients/trace-once/trace"), 409);
    admin_expect("\"error\":\"conflict\"");
    close(fd);
    assert_int_equal(await_place("trace-once"), 200); /* whoever goes makes place */
}

static void few_traces_run_at_the_same_time(void **state)
{
    (void)state;
    int fds[4];
    (void)await_place("trace-n");
    for (int i = 0; i < 4; i++) {
        char id[32];
        snprintf(id, sizeof(id), "trace-%d", i);
        fds[i] = start_trace(id, "");
    }
    assert_int_equal(admin_ask("GET", API "/clients/trace-n/trace"), 429);
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    assert_int_equal(await_place("trace-n"), 200);
}

static void a_wrong_time_is_refused(void **state)
{
    (void)state;
    assert_int_equal(admin_ask("GET", API "/clients/x/trace?seconds=0"), 400);
    assert_int_equal(admin_ask("GET", API "/clients/x/trace?seconds=3601"), 400);
    assert_int_equal(admin_ask("GET", API "/clients/x/trace?seconds=soon"), 400);
}

/* Reads on, keeping nothing, until `text` comes. */
static bool await_in_flood(int fd, const char *text)
{
    static char part[65536];
    size_t kept = 0; /* the end of what was read before */
    long deadline = clock_ms() + WAIT_MS;
    struct timeval patience = {.tv_sec = 1};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    while (clock_ms() < deadline) {
        ssize_t got = recv(fd, part + kept, sizeof(part) - 1 - kept, 0);
        if (got <= 0) {
            return false;
        }
        part[kept + (size_t)got] = '\0';
        if (strstr(part, text) != NULL) {
            return true;
        }
        size_t all = kept + (size_t)got;
        kept = all < strlen(text) ? all : strlen(text);
        memmove(part, part + all - kept, kept);
    }
    return false;
}

/* Who reads slowly loses lines, and is told so; the broker is not held up. */
static void a_slow_reader_loses_lines_and_is_told(void **state)
{
    (void)state;
    (void)await_place("trace-slow");
    struct client *c = CONNECT(.client_id = "trace-slow");
    int fd = admin_connect();
    admin_say(fd, "GET " API "/clients/trace-slow/trace?seconds=60 HTTP/1.1\r\nHost: localhost\r\n"
                  "Authorization: Bearer " ADMIN_TOKEN "\r\n\r\n");
    assert_true(admin_read(fd, "\"event\":\"online\"", SOON_MS));
    char topic[3000];
    memset(topic, 't', sizeof(topic) - 1);
    topic[sizeof(topic) - 1] = '\0';
    for (int i = 0; i < 4000; i++) {
        PUBLISH(c, .topic = topic, .payload = "x");
    }
    settle(c);
    assert_true(await_in_flood(fd, "\"event\":\"dropped\",\"lines\":"));
    close(fd);
}

/* Kicked, dropped, taken over, while it is watched. */
static void what_is_done_to_a_watched_client_is_shown(void **state)
{
    (void)state;
    (void)await_place("trace-done");
    struct client *c = connect_keeping("trace-done");
    int fd = start_trace("trace-done", "");
    assert_int_equal(send(fd, "", 0, MSG_NOSIGNAL), 0);
    struct client *again = connect_keeping("trace-done");
    expect_disconnect(c, RC_SESSION_TAKEN_OVER);
    await(fd, "\"event\":\"offline\",\"cause\":\"session_replaced\"");
    close(fd);
    assert_int_equal(admin_ask("DELETE", API "/sessions/trace-done"), 204);
    expect_disconnect(again, RC_ADMINISTRATIVE_ACTION);
}

/* The node stops while traces run and their clients are connected. */
static void a_node_that_stops_ends_its_traces(void **state)
{
    (void)state;
    suite_own_broker(admin_settings(NULL));
    struct client *c = CONNECT(.client_id = "trace-stop");
    int one = start_trace("trace-stop", "");
    int other = start_trace("trace-nobody", "");
    broker_signal(suite_broker(), SIGTERM);
    expect_disconnect(c, RC_SERVER_SHUTTING_DOWN);
    suite_expect_own_broker_exit(WAIT_MS);
    assert_true(admin_read(one, NULL, SOON_MS));
    assert_true(admin_read(other, NULL, SOON_MS));
    close(one);
    close(other);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(packets_in_and_out_are_shown_without_payloads),
        TEST(large_payloads_are_counted_not_shown),
        TEST(a_trace_follows_its_client_over_connections),
        TEST(it_ends_after_its_time),
        TEST(a_client_is_traced_once_at_a_time),
        TEST(few_traces_run_at_the_same_time),
        TEST(a_wrong_time_is_refused),
        TEST(a_slow_reader_loses_lines_and_is_told),
        TEST(what_is_done_to_a_watched_client_is_shown),
        TEST(a_node_that_stops_ends_its_traces), /* the last: another port from here on */
    };
    int failed = RUN_SUITE("admin_trace", tests, admin_settings(NULL));
    admin_end();
    return failed;
}
