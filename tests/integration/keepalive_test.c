/* Keep alive: what counts as a sign of life, when silence ends a connection, and PINGREQ. */
#include "tests/integration/suite.h"

/* [MQTT-3.12.4-1] */
static void pingreq_is_answered_with_pingresp(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    for (int i = 0; i < 5; i++) {
        settle(c);
    }
    RAW(c, 0xc0, 0x00, 0xc0, 0x00, 0xc0, 0x00);
    for (int i = 0; i < 3; i++) {
        expect_packet(c, PKT_PINGRESP);
    }
}

/* [MQTT-3.1.2-22]: one and a half times the interval, no less and not much more. */
static void a_silent_client_is_disconnected_after_one_and_a_half_intervals(void **state)
{
    (void)state;
    struct client *c = CONNECT(.keep_alive = 1);
    long start = clock_ms();
    expect_disconnect(c, RC_KEEP_ALIVE_TIMEOUT);
    assert_in_range(clock_ms() - start, 1400, 3500);
}

/* [MQTT-3.1.2-22] for 3.1.1: the connection just ends. */
static void a_silent_3_1_1_client_is_closed(void **state)
{
    (void)state;
    struct client *c = CONNECT(.version = MQTT_311, .keep_alive = 1);
    long start = clock_ms();
    expect_closed(c);
    assert_in_range(clock_ms() - start, 1400, 3500);
}

/* 3.1.2.10: 0 switches the mechanism off. */
static void a_keep_alive_of_0_never_ends_a_connection(void **state)
{
    (void)state;
    struct client *c = CONNECT(.keep_alive = 0);
    expect_nothing_for(c, 2500);
    settle(c);
}

/* [MQTT-3.1.2-20] seen from the broker: each PINGREQ begins the interval anew. */
static void pingreq_keeps_a_connection_alive(void **state)
{
    (void)state;
    struct client *c = CONNECT(.keep_alive = 1);
    for (int i = 0; i < 4; i++) {
        let_time_pass(800);
        settle(c);
    }
}

/* [MQTT-3.1.2-22]: any packet of the client counts, not only PINGREQ. */
static void any_packet_keeps_a_connection_alive(void **state)
{
    (void)state;
    struct client *c = CONNECT(.keep_alive = 1);
    for (int i = 0; i < 4; i++) {
        let_time_pass(800);
        PUBLISH(c, .topic = "alive/t", .payload = "x");
    }
    settle(c);
}

/* [MQTT-3.1.2-22]: what the broker sends is no sign of life of the client. */
static void messages_to_a_client_do_not_keep_it_alive(void **state)
{
    (void)state;
    struct client *c = CONNECT(.keep_alive = 1);
    subscribe(c, "traffic/t", 0);
    struct client *pub = CONNECT();
    long start = clock_ms();
    const struct packet *packet = NULL;
    do {
        assert_true(clock_ms() - start < 4000);
        PUBLISH(pub, .topic = "traffic/t", .payload = "x");
        packet = client_receive(c, 100);
    } while (packet == NULL || packet->type == PKT_PUBLISH);
    assert_int_equal(packet->type, PKT_DISCONNECT);
    assert_int_equal(packet->reason, RC_KEEP_ALIVE_TIMEOUT);
    expect_closed(c);
}

/* [MQTT-3.1.2-22]: bytes that never become a packet are no packet. */
static void a_packet_that_never_ends_does_not_keep_a_connection_alive(void **state)
{
    (void)state;
    struct client *c = CONNECT(.keep_alive = 1);
    RAW(c, 0x30, 0x64, 0x00, 0x01);
    long start = clock_ms();
    const struct packet *packet = NULL;
    while (packet == NULL && !client_ended(c)) {
        assert_true(clock_ms() - start < 6000);
        RAW(c, 't');
        packet = client_receive(c, 200);
    }
    if (packet != NULL) {
        assert_int_equal(packet->type, PKT_DISCONNECT);
        assert_int_equal(packet->reason, RC_KEEP_ALIVE_TIMEOUT);
    }
}

/* The session is kept as after any other loss, [MQTT-3.1.2-23]. */
static void the_session_survives_a_keep_alive_timeout(void **state)
{
    (void)state;
    struct client *c =
        CONNECT(.client_id = "ka", .keep_alive = 1, .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "ka/t", 1);
    expect_disconnect(c, RC_KEEP_ALIVE_TIMEOUT);
    c = CONNECT(.client_id = "ka", .resume = true);
    assert_true(client_last(c)->session_present);
}

/* [MQTT-3.2.2-22]: without limits.server_keep_alive the client's value stands, and none is sent. */
static void without_a_server_keep_alive_none_is_announced(void **state)
{
    (void)state;
    assert_no_prop(client_last(CONNECT(.keep_alive = 60)), PROP_SERVER_KEEP_ALIVE);
    assert_no_prop(client_last(CONNECT(.keep_alive = 0)), PROP_SERVER_KEEP_ALIVE);
    assert_no_prop(client_last(CONNECT(.keep_alive = 65535)), PROP_SERVER_KEEP_ALIVE);
}

/* [MQTT-3.2.2-21], 3.2.2.3.14: the broker's value replaces a larger one, and 0. */
static void a_server_keep_alive_is_announced_and_used(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_keep_alive: 1s");
    static const uint16_t asked[] = {60, 0};
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        struct client *c = CONNECT(.keep_alive = asked[i]);
        long start = clock_ms();
        assert_prop_number(client_last(c), PROP_SERVER_KEEP_ALIVE, 1);
        expect_disconnect(c, RC_KEEP_ALIVE_TIMEOUT);
        assert_in_range(clock_ms() - start, 1400, 3500);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(pingreq_is_answered_with_pingresp),
        TEST(a_silent_client_is_disconnected_after_one_and_a_half_intervals),
        TEST(a_silent_3_1_1_client_is_closed),
        TEST(a_keep_alive_of_0_never_ends_a_connection),
        TEST(pingreq_keeps_a_connection_alive),
        TEST(any_packet_keeps_a_connection_alive),
        TEST(messages_to_a_client_do_not_keep_it_alive),
        TEST(a_packet_that_never_ends_does_not_keep_a_connection_alive),
        TEST(the_session_survives_a_keep_alive_timeout),
        TEST(without_a_server_keep_alive_none_is_announced),
        TEST(a_server_keep_alive_is_announced_and_used),
    };
    return RUN_SUITE("keepalive", tests, NULL);
}
