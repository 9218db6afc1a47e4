/*
 * What clients see of storage: acknowledgements that wait for it, a store that can't be written,
 * and what is never written at all.
 */
#include "tests/integration/restart.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- readiness ------------------------------------------------------------------------------- */

static char page[4096];

/* GET /readyz: its status; the answer is in `page`. */
static int ask_readiness(void)
{
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n"
                                  "Connection: close\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(broker_http_port(suite_broker())),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
    size_t len = 0;
    ssize_t got = 1;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (got > 0 && len < sizeof(page) - 1 && poll(&readable, 1, WAIT_MS) == 1) {
        got = recv(fd, page + len, sizeof(page) - 1 - len, 0);
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    page[len] = '\0';
    int status = 0;
    sscanf(page, "HTTP/1.1 %d", &status);
    return status;
}

/* ---- a store that can't be written ----------------------------------------------------------- */

static void fail_writes(bool fail)
{
    assert_true(broker_fail_writes(suite_broker(), fail));
}

static void recover(void)
{
    fail_writes(false);
    metric_expect("pulse_storage_failing", 0);
}

/* Awaits that many attempts to write that failed. */
static void await_errors(double count)
{
    long deadline = clock_ms() + WAIT_MS;
    while (metric_value("pulse_storage_errors_total") < count) {
        assert_true(clock_ms() < deadline);
        let_time_pass(20);
    }
}

static void no_acknowledgement_comes_before_storage_has_it(void **state)
{
    (void)state;
    leave_session("waits-sub", "waits", 2);
    struct client *pub = connect_keeping("waits-pub");
    subscribe(pub, "waits/old", 0);
    PUBLISH(pub, .topic = "waits", .payload = "0", .qos = 2, .id = 1);
    expect_ack(pub, PKT_PUBREC, 1, RC_SUCCESS);
    await_stored();

    fail_writes(true);
    send_ack(pub, PKT_PUBREL, 1, RC_SUCCESS);
    PUBLISH(pub, .topic = "waits", .payload = "1", .qos = 1, .id = 2);
    PUBLISH(pub, .topic = "waits", .payload = "2", .qos = 2, .id = 3);
    SUBSCRIBE(pub, .id = 4, .filters = FILTERS({"waits/new", 1}));
    UNSUBSCRIBE(pub, .id = 5, .filters = FILTERS({"waits/old", 0}));
    settle(pub); /* the PINGRESP is all that comes */
    await_errors(3);
    expect_nothing(pub);

    fail_writes(false);
    bool seen[6] = {false};
    static const enum packet_type types[6] = {0,          PKT_PUBCOMP, PKT_PUBACK,
                                              PKT_PUBREC, PKT_SUBACK,  PKT_UNSUBACK};
    for (int i = 1; i < 6; i++) {
        const struct packet *packet = client_receive(pub, WAIT_MS);
        assert_non_null(packet);
        assert_in_range(packet->id, 1, 5);
        assert_int_equal(packet->type, types[packet->id]);
        assert_false(seen[packet->id]);
        seen[packet->id] = true;
    }
    send_ack(pub, PKT_PUBREL, 3, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 3, RC_SUCCESS);
    struct client *sub = connect_again("waits-sub");
    expect_publish_and_ack(sub, "waits", "0");
    expect_publish_and_ack(sub, "waits", "1");
    expect_publish_and_ack(sub, "waits", "2");
    expect_nothing(sub);
}

/* Who needs no storage does not notice. */
static void what_is_not_kept_goes_on_while_storage_fails(void **state)
{
    (void)state;
    struct client *kept = connect_keeping("goes-on");
    subscribe(kept, "goes-on", 2);
    struct client *sub = CONNECT();
    subscribe(sub, "goes-on/#", 2);
    fail_writes(true);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "goes-on", .payload = "needs storage", .qos = 2, .id = 1);
    expect_publish_and_ack(sub, "goes-on", "needs storage");
    PUBLISH(pub, .topic = "goes-on", .payload = "zero");
    expect_publish(sub, "goes-on", "zero");
    expect_publish(kept, "goes-on", "zero"); /* and not the other, which waits for storage */
    await_errors(1);
    expect_nothing(pub);
    struct client *other = CONNECT();
    publish(other, "goes-on/not-kept", "x", 2);
    expect_publish_and_ack(sub, "goes-on/not-kept", "x");
    recover();
    expect_ack(pub, PKT_PUBREC, 1, RC_SUCCESS);
    expect_publish_and_ack(kept, "goes-on", "needs storage");
}

/* One line, however many attempts fail. */
static void a_store_that_fails_is_told_about_once(void **state)
{
    (void)state;
    struct client *c = connect_keeping("told");
    subscribe(c, "told", 1);
    await_stored();
    assert_int_equal(ask_readiness(), 200);
    assert_true(metric_value("pulse_storage_failing") == 0);

    fail_writes(true);
    SUBSCRIBE(c, .id = 9, .filters = FILTERS({"told/new", 1}));
    await_errors(3);
    assert_true(metric_value("pulse_storage_failing") == 1);
    assert_int_equal(ask_readiness(), 503);
    assert_non_null(strstr(page, getenv("PULSE_STORAGE")));
    assert_int_equal(broker_log_lines(suite_broker(), "store can't be written"), 1);
    assert_int_equal(broker_log_lines(suite_broker(), "store can be written again"), 0);

    recover();
    EXPECT_SUBACK(c, 9, 1);
    assert_int_equal(ask_readiness(), 200);
    assert_int_equal(broker_log_lines(suite_broker(), "store can't be written"), 1);
    assert_int_equal(broker_log_lines(suite_broker(), "store can be written again"), 1);
}

/* What storage took after trouble is there, and nothing of it twice. */
static void what_waited_for_storage_survives(void **state)
{
    enum { COUNT = 20 };
    leave_session("survives", "survives", 2);
    struct client *pub = connect_keeping("survives-pub");
    char text[8];
    fail_writes(true);
    for (uint16_t i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%u", i);
        PUBLISH(pub, .topic = "survives", .payload = text, .qos = 1 + i % 2, .id = i + 1);
    }
    await_errors(2);
    recover();
    for (unsigned i = 0; i < COUNT; i++) {
        expect_ack(pub, i % 2 == 0 ? PKT_PUBACK : PKT_PUBREC, i + 1, RC_SUCCESS);
    }
    restart(state);
    struct client *c = connect_again("survives");
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%u", i);
        expect_publish_and_ack(c, "survives", text);
    }
    expect_nothing(c);
}

/* [MQTT-4.3.3-12]: after PUBCOMP the packet id means a new message, also after a crash. So a PUBREL
 * that comes again has no answer before storage has forgotten the id. */
static void an_answer_that_is_asked_for_again_waits_too(void **state)
{
    (void)state;
    leave_session("again-sub", "again", 2);
    struct client *pub = connect_keeping("again-pub");
    subscribe(pub, "again/sub", 1);
    PUBLISH(pub, .topic = "again", .payload = "x", .qos = 2, .id = 1);
    expect_ack(pub, PKT_PUBREC, 1, RC_SUCCESS);
    await_stored();
    fail_writes(true);
    send_ack(pub, PKT_PUBREL, 1, RC_SUCCESS);
    UNSUBSCRIBE(pub, .id = 2, .filters = FILTERS({"again/sub", 0}));
    settle(pub);
    await_errors(1);
    struct client *other = connect_keeping("again-other"); /* a second part for storage */
    settle(other);
    send_ack(pub, PKT_PUBREL, 1, RC_SUCCESS);
    UNSUBSCRIBE(pub, .id = 3, .filters = FILTERS({"again/sub", 0}));
    settle(pub);
    expect_nothing(pub);
    recover();
    expect_ack(pub, PKT_PUBCOMP, 1, RC_SUCCESS);
    EXPECT_UNSUBACK(pub, 2, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 1, RC_PACKET_ID_NOT_FOUND);
    EXPECT_UNSUBACK(pub, 3, RC_NO_SUBSCRIPTION_EXISTED);
}

/* A client that sends everything again over a new connection gets each answer once, in time. */
static void a_client_that_reconnects_meanwhile_is_answered(void **state)
{
    (void)state;
    leave_session("re-sub", "re", 2);
    struct client *pub = connect_keeping("re-pub");
    await_stored();
    fail_writes(true);
    PUBLISH(pub, .topic = "re", .payload = "x", .qos = 2, .id = 1);
    settle(pub);
    client_drop(pub);
    pub = connect_keeping("re-pub");
    assert_true(client_last(pub)->session_present);
    PUBLISH(pub, .topic = "re", .payload = "x", .qos = 2, .id = 1, .dup = true);
    settle(pub);
    await_errors(2);
    expect_nothing(pub);
    recover();
    expect_ack(pub, PKT_PUBREC, 1, RC_SUCCESS);
    send_ack(pub, PKT_PUBREL, 1, RC_SUCCESS);
    expect_ack(pub, PKT_PUBCOMP, 1, RC_SUCCESS);
    struct client *sub = connect_again("re-sub");
    expect_publish_and_ack(sub, "re", "x");
    expect_nothing(sub);
}

/* It gives up after server.shutdown_drain_timeout_ms; what was acknowledged is there afterwards. */
static void a_broker_whose_store_fails_can_be_stopped(void **state)
{
    (void)state;
    leave_session("stops", "stops", 1);
    publish_from_elsewhere("stops", "acknowledged", 1);
    await_stored();
    fail_writes(true);
    struct client *pub = CONNECT();
    PUBLISH(pub, .topic = "stops", .payload = "not acknowledged", .qos = 1, .id = 1);
    settle(pub);
    await_errors(1);
    broker_signal(suite_broker(), SIGTERM);
    expect_disconnect(pub, RC_SERVER_SHUTTING_DOWN);
    assert_true(broker_wait_end(suite_broker(), WAIT_MS));
    client_close_all();
    assert_true(broker_start_again(suite_broker()));
    struct client *c = connect_again("stops");
    expect_publish_and_ack(c, "stops", "acknowledged");
    const struct packet *packet = client_receive(c, QUIET_MS);
    assert_true(packet == NULL || strcmp(packet->payload, "not acknowledged") == 0);
}

/* ---- what is never written ------------------------------------------------------------------- */

/* storage.undo_window_ms: what is sent and acknowledged at once need not be stored. */
static void messages_that_are_acknowledged_at_once_are_not_written(void **state)
{
    enum { COUNT = 200 };
    (void)state;
    struct client *sub = connect_keeping("undo-sub");
    subscribe(sub, "undo", 1);
    struct client *pub = CONNECT();
    await_stored();
    double written = metric_value("pulse_storage_operations_total");
    double cancelled = metric_value("pulse_storage_cancelled_total");
    for (uint16_t i = 1; i <= COUNT; i++) {
        PUBLISH(pub, .topic = "undo", .payload = "x", .qos = 1, .id = i);
        expect_publish_and_ack(sub, "undo", "x");
        expect_ack(pub, PKT_PUBACK, i, RC_SUCCESS);
    }
    await_stored();
    assert_true(metric_value("pulse_storage_operations_total") - written < COUNT / 10);
    assert_true(metric_value("pulse_storage_cancelled_total") - cancelled > COUNT * 9 / 10);
}

/* And so they need no storage that works. */
static void messages_that_are_acknowledged_at_once_do_not_wait_for_storage(void **state)
{
    (void)state;
    struct client *sub = connect_keeping("undo-sub");
    subscribe(sub, "undo", 1);
    struct client *pub = CONNECT();
    await_stored();
    fail_writes(true);
    PUBLISH(pub, .topic = "undo", .payload = "x", .qos = 1, .id = 1);
    expect_publish_and_ack(sub, "undo", "x");
    expect_ack(pub, PKT_PUBACK, 1, RC_SUCCESS);
    recover();
}

static const char *const slow_undo[] = {"storage.undo_window_ms: 1000", NULL};

static int begin_with_slow_undo(void **state)
{
    if (suite_test_begin(state) != 0) {
        return -1;
    }
    suite_own_broker(slow_undo);
    return 0;
}

#define TEST_UNDO(function)                                             \
    {                                                                   \
#function, function, begin_with_slow_undo, suite_test_end, NULL \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST_BY(no_acknowledgement_comes_before_storage_has_it, kill),
        TEST_BY(what_is_not_kept_goes_on_while_storage_fails, kill),
        TEST_BY(a_store_that_fails_is_told_about_once, kill),
        TEST_BOTH(what_waited_for_storage_survives),
        TEST_BY(an_answer_that_is_asked_for_again_waits_too, kill),
        TEST_BY(a_client_that_reconnects_meanwhile_is_answered, kill),
        TEST_BY(a_broker_whose_store_fails_can_be_stopped, kill),
        TEST_UNDO(messages_that_are_acknowledged_at_once_are_not_written),
        TEST_UNDO(messages_that_are_acknowledged_at_once_do_not_wait_for_storage),
    };
    return RUN_RESTART_SUITE("storage", tests);
}
