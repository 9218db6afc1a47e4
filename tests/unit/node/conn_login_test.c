#include <unistd.h>

#include "base/mem.h"
#include "base/reclaim.h"
#include "codec/mqtt.h"
#include "node/auth/auth.h"
#include "node/layers.h"
#include "node/listener.h"
#include "tests/unit/node/auth/scram_client_support.h"
#include "tests/unit/node/login_support.h"

#define SCRAM "SCRAM-SHA-256"

static const char yaml[] = "auth:\n"
                           "  enabled: true\n"
                           "  failure_delay: 0\n"
                           "  no_match: allow\n"
                           "  users:\n"
                           "    - {username: alice, password: a}\n"
                           "    - {username: bob, password: b}\n";

static struct rig rig;
static struct client client;
static struct client other;

static void start(unsigned workers)
{
    login_rig_start(&rig, workers, yaml);
    client.fd = other.fd = -1;
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

static void leave(struct client *one)
{
    if (one->fd >= 0) {
        client_vanish(one);
    }
}

static int tear_down(void **state)
{
    (void)state;
    leave(&client);
    leave(&other);
    login_rig_stop(&rig);
    return 0;
}

static const struct login_wish alice = {.id = "a", .user = "alice", .password = "a"};

static uint64_t under_way(void)
{
    struct auth_counts counts;
    auth_read_counts(rig.broker->auth, &counts);
    return counts.under_way;
}

/* auth hears of the end on its own thread. */
static void await_nothing_under_way(void)
{
    uint64_t end = clock_mono_ms() + 10000;
    while (under_way() > 0) {
        assert_true(clock_mono_ms() < end);
        usleep(1000);
    }
}

/* ---- CONNECT --------------------------------------------------------------------------------- */

static void the_answer_of_auth_is_that_of_connack(void **state)
{
    (void)state;
    assert_int_equal(login_connect(&client, &rig, alice), 0);
    struct login_wish wish = alice;
    wish.password = "b";
    assert_int_equal(login_connect(&other, &rig, wish), MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
    login_await_end(&other);
    leave(&other);
    wish.version = 4;
    assert_int_equal(login_connect(&other, &rig, wish), 4);
    login_await_end(&other);
    leave(&other);
    wish = (struct login_wish){.id = "n"};
    assert_int_equal(login_connect(&other, &rig, wish), MQTT_REASON_NOT_AUTHORIZED);
    assert_true(conn_online(client.conn)); /* whose id the others had as well */
    await_nothing_under_way();
    assert_int_equal(rig_metric(&rig, METRIC_AUTH_FAILURE_PASSWORD), 2);
}

static void what_comes_behind_connect_is_handled_after_the_login_in_order(void **state)
{
    (void)state;
    login_come(&client, &rig, NULL, NULL);
    uint8_t bytes[1024];
    size_t len = login_write_connect(&alice, bytes);
    static const uint8_t more[] = {0xc0, 0, 0x82, 7, 0, 1, 0,   0, 1, 'x', 1,
                                   0xc0, 0, 0x32, 7, 0, 1, 'x', 0, 9, 0,   'm'};
    memcpy(bytes + len, more, sizeof(more));
    client_send(&client, bytes, len + sizeof(more));
    login_await(&client, MQTT_CONNACK);
    login_await(&client, MQTT_PINGRESP);
    login_await(&client, MQTT_SUBACK);
    login_await(&client, MQTT_PINGRESP);
    client.conn = list_entry(rig.worker->conns.prev, struct conn, of_worker);
    struct packet packet = login_await(&client, MQTT_PUBLISH);
    assert_true(slice_equal(packet.payload, slice_text("m")));
    login_await(&client, MQTT_PUBACK);
}

/* In every split of the same bytes, and with the connection going to another worker in between. */
static void splits_and_moves_make_no_difference(void **state)
{
    (void)state;
    struct login_wish wish = {.user = "alice", .password = "a"};
    char id[32];
    uint8_t bytes[1024];
    for (unsigned cut = 1; cut < 50; cut++) {
        snprintf(id, sizeof(id), "id%u", cut);
        wish.id = id;
        login_come(&client, &rig, NULL, NULL);
        size_t len = login_write_connect(&wish, bytes);
        memcpy(bytes + len, "\xc0\0\xe0\0", 4);
        len += 4;
        size_t first = cut < len ? cut : len;
        client_send(&client, bytes, first);
        rig_turn(&rig);
        if (first < len) {
            client_send(&client, bytes + first, len - first);
        }
        login_await(&client, MQTT_CONNACK);
        login_await(&client, MQTT_PINGRESP);
        login_await_end(&client);
        leave(&client);
    }
    rig_turn(&rig);
    assert_int_equal(rig_metric(&rig, METRIC_CONNECTIONS), 0);
}

static void much_input_before_the_login_is_not_read(void **state)
{
    (void)state;
    login_come(&client, &rig, NULL, NULL);
    login_send_connect(&client, &alice);
    static uint8_t much[128 * 1024]; /* PUBLISH of 128 KiB */
    memcpy(much, "\x30\xfc\xff\x07\0\1t\0", 8);
    uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    size_t sent = 0;
    ssize_t part;
    while (sent < sizeof(much) && (part = write(client.fd, much + sent, sizeof(much) - sent)) > 0) {
        sent += (size_t)part;
        for (int i = 0; i < 3 && client.conn->state == CONN_AUTH; i++) {
            uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
            assert_true(client.conn->state != CONN_AUTH ||
                        client.conn->partial_len <= 16384 + WORKER_READ_BUFFER);
        }
    }
    login_await(&client, MQTT_CONNACK);
    while (sent < sizeof(much)) {
        part = write(client.fd, much + sent, sizeof(much) - sent);
        sent += part > 0 ? (size_t)part : 0;
        rig_turn(&rig);
    }
    client_send(&client, "\xc0\0", 2);
    login_await(&client, MQTT_PINGRESP);
    assert_int_equal(rig_metric(&rig, METRIC_PUBLISH_IN_QOS0), 1);
}

static void a_second_connect_ends_the_connection_whenever_it_comes(void **state)
{
    (void)state;
    login_come(&client, &rig, NULL, NULL);
    login_send_connect(&client, &alice);
    login_send_connect(&client, &alice);
    login_await(&client, MQTT_CONNACK);
    login_await(&client, MQTT_DISCONNECT);
    login_await_end(&client);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* At any moment between CONNECT and CONNACK. What is left behind is found by the sanitizer. */
static void a_client_may_leave_at_any_moment(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 60; turns++) {
        login_come(&client, &rig, NULL, NULL);
        login_send_connect(&client, &alice);
        for (unsigned i = 0; i < turns / 4; i++) {
            for (unsigned w = 0; w < rig.broker->worker_count; w++) {
                uv_run(&rig.broker->workers[w]->loop, UV_RUN_NOWAIT);
            }
            usleep(turns % 4 * 100);
        }
        leave(&client);
    }
    rig_turn(&rig);
    await_nothing_under_way();
    rig_turn(&rig);
    assert_int_equal(rig_metric(&rig, METRIC_CONNECTIONS), 0);
    assert_int_equal(rig_metric(&rig, METRIC_SOCKETS), 0);
}

static void the_broker_may_stop_with_logins_under_way(void **state)
{
    (void)state;
    struct client many[40];
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        login_come(&many[i], &rig, NULL, NULL);
        login_send_connect(&many[i], &alice);
    }
    uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    worker_stop(rig.worker);
    uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        leave(&many[i]);
    }
} /* the rest is tear_down's: auth_stop, worker_drain_mail, worker_destroy */

static void answers_that_nobody_has_read_are_drained(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct client one;
        login_come(&one, &rig, NULL, NULL);
        login_send_connect(&one, &alice);
        uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
        uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
        close(one.fd);
    }
    usleep(50000); /* auth has answered, and the mail lies in the mailbox */
}

static void a_login_that_takes_too_long_is_answered(void **state)
{
    (void)state;
    rig.config.auth_wait_max = 1;
    struct login_wish wish = {.id = "a", .method = SCRAM, .data = slice_text("n,,n=alice,r=xyz")};
    login_come(&client, &rig, NULL, NULL);
    login_send_connect(&client, &wish);
    login_await(&client, MQTT_AUTH); /* and the client is silent from here */
    struct packet connack = login_await(&client, MQTT_CONNACK);
    assert_int_equal(connack.body.data[1], MQTT_REASON_SERVER_BUSY);
    login_await_end(&client);
    await_nothing_under_way();
}

/* ---- AUTH ------------------------------------------------------------------------------------ */

/* Authentication Data of AUTH or CONNACK: the text behind property 0x16. */
static const char *data_of(struct packet packet)
{
    static char text[512];
    size_t at = packet.type == MQTT_AUTH ? 2 : 3;
    struct slice props = slice_from(packet.body, at);
    while (props.len > 3 && props.data[0] != MQTT_PROP_AUTH_DATA) {
        size_t skip = 1;
        switch (props.data[0]) {
        case MQTT_PROP_AUTH_METHOD:
            skip = 3 + (size_t)(props.data[1] << 8 | props.data[2]);
            break;
        case MQTT_PROP_MAXIMUM_PACKET_SIZE:
        case MQTT_PROP_SESSION_EXPIRY:
            skip = 5;
            break;
        case MQTT_PROP_RECEIVE_MAXIMUM:
        case MQTT_PROP_TOPIC_ALIAS_MAXIMUM:
            skip = 3;
            break;
        default:
            fail();
        }
        props = slice_from(props, skip);
    }
    assert_true(props.len > 3);
    size_t len = (size_t)(props.data[1] << 8 | props.data[2]);
    memcpy(text, props.data + 3, len);
    text[len] = '\0';
    return text;
}

static struct scram_client scram_client(const char *first)
{
    return (struct scram_client){.header = "n,,", .first_bare = first + 3};
}

/* From CONNECT to CONNACK. */
static void log_in_by_scram(const char *first, const char *password)
{
    struct scram_client own = scram_client(first);
    struct login_wish wish = {.id = "a", .method = SCRAM, .data = slice_text(first)};
    login_come(&client, &rig, NULL, NULL);
    login_send_connect(&client, &wish);
    scram_client_answer(&own, data_of(login_await(&client, MQTT_AUTH)), password);
    login_send_auth(&client, 0x18, SCRAM, slice_text(own.client_final));
    struct packet connack = login_await(&client, MQTT_CONNACK);
    assert_int_equal(connack.body.data[1], 0);
    assert_string_equal(data_of(connack), own.server_signature);
    client.conn = list_entry(rig.worker->conns.prev, struct conn, of_worker);
    client.session = client.conn->session;
}

/* An exchange of an online client, up to the broker's answer to its last word. */
static struct packet authenticate_again(const char *first, const char *password,
                                        enum mqtt_packet end)
{
    struct scram_client own = scram_client(first);
    login_send_auth(&client, 0x19, SCRAM, slice_text(first));
    scram_client_answer(&own, data_of(login_await(&client, MQTT_AUTH)), password);
    client_send(&client, "\xc0\0", 2); /* it goes on meanwhile */
    login_await(&client, MQTT_PINGRESP);
    login_send_auth(&client, 0x18, SCRAM, slice_text(own.client_final));
    return login_await(&client, end);
}

static void enhanced_authentication_works_again_and_again(void **state)
{
    (void)state;
    log_in_by_scram("n,,n=alice,r=one", "a");
    for (int i = 0; i < 3; i++) {
        struct packet packet = authenticate_again("n,,n=alice,r=two", "a", MQTT_AUTH);
        assert_int_equal(packet.body.data[0], MQTT_REASON_SUCCESS);
        await_nothing_under_way();
    }
    assert_true(conn_online(client.conn));
}

static void a_client_that_fails_to_authenticate_again_is_closed(void **state)
{
    (void)state;
    log_in_by_scram("n,,n=alice,r=one", "a");
    struct packet packet = authenticate_again("n,,n=alice,r=two", "wrong", MQTT_DISCONNECT);
    assert_int_equal(packet.body.data[0], MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
    login_await_end(&client);
}

static void an_online_client_can_not_become_another_user(void **state)
{
    (void)state;
    log_in_by_scram("n,,n=alice,r=one", "a");
    struct packet packet = authenticate_again("n,,n=bob,r=two", "b", MQTT_DISCONNECT);
    assert_int_equal(packet.body.data[0], MQTT_REASON_NOT_AUTHORIZED);
    login_await_end(&client);
}

static void authenticating_again_has_a_deadline(void **state)
{
    (void)state;
    log_in_by_scram("n,,n=alice,r=one", "a");
    rig.config.limits_connect_timeout = 50;
    rig.config.auth_wait_max = 50;
    login_send_auth(&client, 0x19, SCRAM, slice_text("n,,n=alice,r=two"));
    login_await(&client, MQTT_AUTH);
    login_await(&client, MQTT_DISCONNECT);
    login_await_end(&client);
    await_nothing_under_way();
}

/* AUTH where it must not be, and what it must not say. */
static void auth_that_nobody_asked_for_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        uint8_t reason;
        const char *method;
        bool by_scram;
    } cases[] = {
        {0x18, SCRAM, true},   /* nothing is under way */
        {0x19, "PLAIN", true}, /* not the method of CONNECT */
        {0x00, SCRAM, true},   /* the server's to say */
        {0x19, SCRAM, false},  /* came with a password */
        {0x18, SCRAM, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        if (cases[i].by_scram) {
            log_in_by_scram("n,,n=alice,r=one", "a");
        } else {
            assert_int_equal(login_connect(&client, &rig, alice), 0);
        }
        login_send_auth(&client, cases[i].reason, cases[i].method, slice_text("x"));
        assert_int_equal(login_await(&client, MQTT_DISCONNECT).body.data[0],
                         MQTT_REASON_PROTOCOL_ERROR);
        login_await_end(&client);
        leave(&client);
    }
    await_nothing_under_way();
}

static void a_second_auth_before_the_answer_ends_the_connection(void **state)
{
    (void)state;
    log_in_by_scram("n,,n=alice,r=one", "a");
    login_send_auth(&client, 0x19, SCRAM, slice_text("n,,n=alice,r=two"));
    login_send_auth(&client, 0x19, SCRAM, slice_text("n,,n=alice,r=two"));
    struct packet packet = {.type = 0};
    do { /* the first may have been answered already */
        packet = (struct packet){.type = 0};
        rig_turn(&rig);
    } while (!client_next(&client, &packet) || packet.type == MQTT_AUTH);
    assert_int_equal(packet.type, MQTT_DISCONNECT);
    login_await_end(&client);
    await_nothing_under_way();
}

static void a_challenge_that_the_client_can_not_take_ends_the_login(void **state)
{
    (void)state;
    struct login_wish wish = {.id = "a",
                              .method = SCRAM,
                              .data = slice_text("n,,n=alice,r=xyz"),
                              .maximum_packet_size = 20};
    uint64_t begin = clock_mono_ms();
    login_come(&client, &rig, NULL, NULL);
    login_send_connect(&client, &wish);
    login_await_end(&client);
    assert_true(clock_mono_ms() - begin < 5000); /* and not by the timeout */
    await_nothing_under_way();
}

static void a_method_that_is_too_long_or_unknown_is_refused(void **state)
{
    (void)state;
    char method[100];
    memset(method, 'm', sizeof(method) - 1);
    method[sizeof(method) - 1] = '\0';
    struct login_wish wish = {.id = "a", .method = method};
    assert_int_equal(login_connect(&client, &rig, wish), MQTT_REASON_BAD_AUTHENTICATION_METHOD);
    leave(&client);
    wish.method = "GSSAPI";
    assert_int_equal(login_connect(&client, &rig, wish), MQTT_REASON_BAD_AUTHENTICATION_METHOD);
    await_nothing_under_way();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_2(name) cmocka_unit_test_setup_teardown(name, set_up_two_workers, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_answer_of_auth_is_that_of_connack),
        TEST(what_comes_behind_connect_is_handled_after_the_login_in_order),
        TEST(splits_and_moves_make_no_difference),
        TEST_2(splits_and_moves_make_no_difference),
        TEST(much_input_before_the_login_is_not_read),
        TEST(a_second_connect_ends_the_connection_whenever_it_comes),
        TEST(a_client_may_leave_at_any_moment),
        TEST_2(a_client_may_leave_at_any_moment),
        TEST(the_broker_may_stop_with_logins_under_way),
        TEST(answers_that_nobody_has_read_are_drained),
        TEST(a_login_that_takes_too_long_is_answered),
        TEST(enhanced_authentication_works_again_and_again),
        TEST(a_client_that_fails_to_authenticate_again_is_closed),
        TEST(an_online_client_can_not_become_another_user),
        TEST(authenticating_again_has_a_deadline),
        TEST(auth_that_nobody_asked_for_ends_the_connection),
        TEST(a_second_auth_before_the_answer_ends_the_connection),
        TEST(a_challenge_that_the_client_can_not_take_ends_the_login),
        TEST(a_method_that_is_too_long_or_unknown_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
