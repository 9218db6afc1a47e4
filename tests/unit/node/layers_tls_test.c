#include "tests/unit/node/layers_support.h"

#include <unistd.h>

#include "codec/mqtt.h"
#include "codec/proxy_header.h"
#include "tests/unit/node/tls/tls_support.h"

/* TLS between the socket and MQTT: handshakes that wait for their turn, moves, ends. */

static struct layers_rig own;
static struct client client;
static struct client many[8];
static void *tls_files; /* a struct tls_rig */
static struct tls_context *context;
static SSL_CTX *client_context;

static void start(unsigned workers)
{
    layers_rig_start(&own, workers);
    client.fd = -1;
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        many[i].fd = -1;
    }
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
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        layers_leave(&many[i]);
    }
    layers_rig_stop(&own);
    return 0;
}

static void say(struct client *one, const char *text)
{
    client_send(one, text, strlen(text));
}

/* ---- TLS ------------------------------------------------------------------------------------- */

/* Goes on as far as it goes without the broker. */
static bool shake_hands(SSL *ssl)
{
    int status = SSL_do_handshake(ssl);
    assert_true(status == 1 || SSL_get_error(ssl, status) == SSL_ERROR_WANT_READ);
    return status == 1;
}

static SSL *begin_tls(struct client *one)
{
    SSL *ssl = SSL_new(client_context);
    assert_int_equal(SSL_set_fd(ssl, one->fd), 1);
    SSL_set_connect_state(ssl);
    assert_false(shake_hands(ssl)); /* ClientHello is sent */
    return ssl;
}

static void finish_tls(SSL *ssl)
{
    uint64_t end = clock_mono_ms() + 10000;
    while (!shake_hands(ssl)) {
        assert_true(clock_mono_ms() < end);
        rig_turn(&own.rig);
    }
}

static void tls_say(SSL *ssl, const void *bytes, size_t len)
{
    assert_int_equal(SSL_write(ssl, bytes, (int)len), len);
}

/* Waits for data, or the end (0). */
static int tls_hear(SSL *ssl, void *out, int size)
{
    uint64_t end = clock_mono_ms() + 10000;
    int len;
    while ((len = SSL_read(ssl, out, size)) <= 0) {
        if (SSL_get_error(ssl, len) != SSL_ERROR_WANT_READ) {
            return 0;
        }
        assert_true(clock_mono_ms() < end);
        rig_turn(&own.rig);
    }
    return len;
}

static void tls_connect(SSL *ssl, const char *id)
{
    uint8_t bytes[1024];
    tls_say(ssl, bytes, layers_write_connect(id, bytes));
    assert_true(tls_hear(ssl, bytes, sizeof(bytes)) > 4);
    assert_int_equal(bytes[0], MQTT_CONNACK << 4);
    assert_int_equal(bytes[3], 0);
}

/* CONNECT comes in one read with the end of the handshake. */
static void a_tls_client_need_not_wait(void **state)
{
    (void)state;
    layers_come(&own, &client, context);
    SSL *ssl = begin_tls(&client);
    finish_tls(ssl); /* its last word was not read yet */
    tls_connect(ssl, "a");
    assert_int_equal(rig_metric(&own.rig, METRIC_TLS_HANDSHAKES_FULL), 1);
    tls_say(ssl, "\xe0\0", 2);
    uint8_t byte;
    assert_int_equal(tls_hear(ssl, &byte, 1), 0);
    assert_true((SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) != 0); /* close_notify */
    SSL_free(ssl);
    layers_leave(&client);
    layers_expect_gone(&own);
}

static void a_tls_client_moves(void **state)
{
    (void)state;
    char id[32];
    layers_id_on_worker(&own, 1, id);
    layers_come(&own, &client, context);
    SSL *ssl = begin_tls(&client);
    finish_tls(ssl);
    tls_connect(ssl, id);
    assert_int_equal(rig_metric(&own.rig, METRIC_HANDOFFS), 1);
    tls_say(ssl, "\xc0\0", 2);
    uint8_t answer[2];
    assert_int_equal(tls_hear(ssl, answer, 2), 2);
    SSL_free(ssl);
}

/* A broken record behind a CONNECT that moves. */
static void a_tls_connection_that_has_failed_does_not_stay_by_moving(void **state)
{
    (void)state;
    char id[32];
    layers_id_on_worker(&own, 1, id);
    layers_come(&own, &client, context);
    SSL *ssl = begin_tls(&client);
    finish_tls(ssl);
    uint8_t bytes[1024];
    tls_say(ssl, bytes, layers_write_connect(id, bytes));
    say(&client, "\x17\x03\x03\x01\x20" /* and then 32 bytes of anything, and more */
                 "0123456789012345678901234567890101234567890123456789012345678901"
                 "0123456789012345678901234567890101234567890123456789012345678901"
                 "0123456789012345678901234567890101234567890123456789012345678901"
                 "0123456789012345678901234567890101234567890123456789012345678901"
                 "0123456789012345678901234567890101234567890123456789012345678901");
    login_await_end(&client);
    layers_expect_gone(&own);
    SSL_free(ssl);
}

/* One handshake takes longer than an iteration has for them. */
static void handshakes_that_come_together_take_turns(void **state)
{
    (void)state;
    SSL *ssl[ARRAY_COUNT(many)];
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        layers_come(&own, &many[i], context);
        ssl[i] = begin_tls(&many[i]);
    }
    uv_run(&own.rig.worker->loop, UV_RUN_NOWAIT);
    assert_false(list_empty(&own.rig.worker->handshakes));
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        finish_tls(ssl[i]);
    }
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        char id[32];
        snprintf(id, sizeof(id), "c%zu", i);
        tls_connect(ssl[i], id);
        SSL_free(ssl[i]);
    }
    assert_true(list_empty(&own.rig.worker->handshakes));
    assert_int_equal(rig_metric(&own.rig, METRIC_CONNECTIONS), ARRAY_COUNT(many));
}

static void who_waits_for_its_turn_may_leave_or_be_closed(void **state)
{
    (void)state;
    SSL *ssl[ARRAY_COUNT(many)];
    own.rig.config.limits_connect_timeout = 1;
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        layers_come(&own, &many[i], context);
        ssl[i] = begin_tls(&many[i]);
        if (i % 2 == 0) {
            layers_leave(&many[i]);
        }
    }
    uv_run(&own.rig.worker->loop, UV_RUN_NOWAIT);
    assert_false(list_empty(&own.rig.worker->handshakes));
    struct list *waits = own.rig.worker->handshakes.prev;
    conn_close(list_entry(waits, struct conn, pending_link), METRIC_CLOSED_ADMIN,
               MQTT_REASON_ADMINISTRATIVE_ACTION, true);
    usleep(5000); /* and the others are over their time */
    layers_expect_gone(&own);
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        SSL_free(ssl[i]);
    }
}

static void the_broker_may_stop_while_handshakes_wait(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        layers_come(&own, &many[i], context);
        SSL_free(begin_tls(&many[i]));
    }
    uv_run(&own.rig.worker->loop, UV_RUN_NOWAIT);
    assert_false(list_empty(&own.rig.worker->handshakes));
}

/* The header and the ClientHello come together, when there is no time left for handshakes. */
static void an_address_with_too_many_connections_is_closed_before_its_handshake(void **state)
{
    (void)state;
    own.wanted.proxy_protocol = PROXY_ANY;
    SSL *ssl[ARRAY_COUNT(many)];
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        layers_come(&own, &many[i], context);
        say(&many[i], "PROXY TCP4 10.1.2.3 10.0.0.9 1000 1883\r\n");
        ssl[i] = begin_tls(&many[i]);
    }
    rig_turn(&own.rig);
    rig_turn(&own.rig);
    assert_int_equal(rig_metric(&own.rig, METRIC_CLOSED_ADDRESS_LIMIT), ARRAY_COUNT(many) - 2);
    assert_int_equal(rig_metric(&own.rig, METRIC_SOCKETS), 2);
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        SSL_free(ssl[i]);
    }
}

static void a_slow_reader_over_tls_gets_everything_in_time(void **state)
{
    (void)state;
    own.rig.config.limits_slow_consumer_policy = SLOW_CONSUMER_THROTTLE;
    layers_come(&own, &client, context);
    SSL *ssl = begin_tls(&client);
    finish_tls(ssl);
    tls_connect(ssl, "a");
    struct conn *conn = layers_connection(&own);
    struct session *session = conn->session;
    struct message *message = make_patterned(50000);
    struct delivery delivery = {.qos = 0};
    size_t sent = 0;
    struct client receiver = {.rig = &own.rig, .session = session};
    for (; sent < 100 && !delivery_congested(conn); sent++) {
        deliver_to(&receiver, message, delivery, 1);
        rig_turn(&own.rig);
        assert_true(conn->layers->wire.len < 2 * 65536 + 1024);
    }
    assert_true(sent > 5 && sent < 100);
    static uint8_t bytes[65536];
    size_t got = 0;
    size_t packet_len = 50000 + 4 + 3 + strlen("patterned"); /* about */
    while (got < sent * 50000) {
        int len = tls_hear(ssl, bytes, sizeof(bytes));
        assert_true(len > 0);
        got += (size_t)len;
    }
    assert_true(got <= sent * packet_len);
    assert_int_equal(conn->out.len, 0);
    assert_int_equal(conn->layers->wire.len, 0);
    message_unref(message);
    SSL_free(ssl);
}

static int make_certificates(void **state)
{
    (void)state;
    assert_int_equal(tls_rig_create(&tls_files), 0);
    context = tls_rig_context(tls_files);
    client_context = SSL_CTX_new(TLS_client_method());
    assert_non_null(client_context);
    SSL_CTX_set_mode(client_context, SSL_MODE_AUTO_RETRY);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    SSL_CTX_free(client_context);
    tls_context_unref(context);
    return tls_rig_destroy(&tls_files);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_2(name) cmocka_unit_test_setup_teardown(name, set_up_two_workers, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_tls_client_need_not_wait),
        TEST_2(a_tls_client_moves),
        TEST_2(a_tls_connection_that_has_failed_does_not_stay_by_moving),
        TEST(handshakes_that_come_together_take_turns),
        TEST(who_waits_for_its_turn_may_leave_or_be_closed),
        TEST(the_broker_may_stop_while_handshakes_wait),
        TEST(an_address_with_too_many_connections_is_closed_before_its_handshake),
        TEST(a_slow_reader_over_tls_gets_everything_in_time),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
