/* CONNECT and CONNACK: who is let in, what the broker announces, and the limits around it. */
#include "tests/integration/suite.h"

#include <stdio.h>
#include <sys/resource.h>

/* ---- the good path ---- */

/* [MQTT-3.1.4-5] success is acknowledged; [MQTT-3.2.0-1] by the first packet that the broker sends.
 */
static void a_correct_connect_is_acknowledged_first_of_all(void **state)
{
    (void)state;
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .client_id = "first");
    send_pingreq(c);
    const struct packet *connack = expect_packet(c, PKT_CONNACK);
    assert_int_equal(connack->reason, RC_SUCCESS);
    assert_false(connack->session_present);
    expect_packet(c, PKT_PINGRESP);
}

/* [MQTT-3.2.0-2] there is one CONNACK in the life of a connection. */
static void connack_is_sent_only_once(void **state)
{
    (void)state;
    struct client *c = CONNECT();
    settle(c);
    settle(c);
    expect_nothing(c);
}

/* [MQTT-3.2.2-9]: all three QoS are supported, so Maximum QoS must stay out of CONNACK (3.2.2.3.4).
 */
static void connack_says_nothing_about_qos_because_all_are_supported(void **state)
{
    (void)state;
    assert_no_prop(client_last(CONNECT()), PROP_MAXIMUM_QOS);
}

static void assert_absent_or_1(const struct packet *connack, enum property id)
{
    if (packet_prop(connack, id) != NULL) {
        assert_prop_number(connack, id, 1);
    }
}

/* 3.2.2.3.5, .11, .12, .13: retain, wildcards, identifiers and shared subscriptions are available.
 */
static void connack_does_not_deny_any_feature(void **state)
{
    (void)state;
    const struct packet *connack = client_last(CONNECT());
    assert_absent_or_1(connack, PROP_RETAIN_AVAILABLE);
    assert_absent_or_1(connack, PROP_WILDCARD_AVAILABLE);
    assert_absent_or_1(connack, PROP_SUBSCRIPTION_IDS_AVAILABLE);
    assert_absent_or_1(connack, PROP_SHARED_AVAILABLE);
}

/* 3.2.2.3.3, .6, .8: the broker's limits are announced with their configured values. */
static void connack_announces_the_configured_limits(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_receive_maximum: 7", "limits.server_maximum_packet_size: 4096",
               "limits.server_topic_alias_maximum: 9");
    const struct packet *connack = client_last(CONNECT());
    assert_prop_number(connack, PROP_RECEIVE_MAXIMUM, 7);
    assert_prop_number(connack, PROP_MAXIMUM_PACKET_SIZE, 4096);
    assert_prop_number(connack, PROP_TOPIC_ALIAS_MAXIMUM, 9);
}

/* The defaults of limits.* that a client sees. */
static void connack_announces_the_default_limits(void **state)
{
    (void)state;
    const struct packet *connack = client_last(CONNECT());
    assert_prop_number(connack, PROP_RECEIVE_MAXIMUM, 1024);
    assert_prop_number(connack, PROP_MAXIMUM_PACKET_SIZE, 16777216);
    assert_prop_number(connack, PROP_TOPIC_ALIAS_MAXIMUM, 1024);
}

/* [MQTT-3.1.4-5]: a client may send on without waiting for CONNACK (3.1.4, non-normative comment).
 */
static void packets_sent_right_behind_connect_are_processed(void **state)
{
    (void)state;
    struct buffer all = {0};
    put_connect(&all, &(struct connect_packet){.client_id = "pipelined"});
    put_subscribe(&all, MQTT_50,
                  &(struct subscribe_packet){.id = 1, .filters = FILTERS({"pipelined/t", 0})});
    put_publish(&all, MQTT_50, &(struct publish_packet){.topic = "pipelined/t", .payload = "x"});
    struct client *c = client_open(MQTT_50);
    send_buffer(c, &all);
    buffer_fini(&all);
    assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
    EXPECT_SUBACK(c, 1, 0x00);
    expect_publish(c, "pipelined/t", "x");
}

/* [MQTT-4.2-1]: TCP gives a stream; where its segments end means nothing. */
static void a_connect_that_arrives_byte_by_byte_is_accepted(void **state)
{
    (void)state;
    struct buffer packet = {0};
    put_connect(&packet, &(struct connect_packet){.client_id = "bytewise",
                                                  .will_topic = "bytewise/will",
                                                  .will_payload = "gone",
                                                  .user = "u",
                                                  .password = "p",
                                                  .props = PROPS(prop_session_expiry(1))});
    struct client *c = client_open(MQTT_50);
    for (size_t i = 0; i < packet.len; i++) {
        send_bytes(c, packet.data + i, 1);
    }
    buffer_fini(&packet);
    assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
    client_disconnect(c);
}

/* [MQTT-3.1.2-17], [MQTT-3.1.2-19], [MQTT-3.1.3-12]: credentials are read; nobody checks them yet.
 */
static void user_name_and_password_are_accepted_when_nobody_checks_them(void **state)
{
    (void)state;
    CONNECT(.user = "somebody", .password = "secret");
    CONNECT(.version = MQTT_311, .user = "somebody", .password = "secret");
    CONNECT(.user = "only a name");
}

/* 3.1.2.9: 5.0 allows a password without a user name. */
static void a_password_without_a_user_name_is_allowed_in_5_0(void **state)
{
    (void)state;
    CONNECT(.password = "token");
}

/* 3.1.2.11.8: user properties of CONNECT are taken, however many. */
static void user_properties_of_connect_are_accepted(void **state)
{
    (void)state;
    CONNECT(.props = PROPS(prop_user_property("a", "1"), prop_user_property("a", "1"),
                           prop_user_property("", "")));
}

/* [MQTT-3.1.2-28]: without being asked the broker gives no Response Information. */
static void response_information_is_not_given_unasked(void **state)
{
    (void)state;
    assert_no_prop(client_last(CONNECT()), PROP_RESPONSE_INFO);
    assert_no_prop(client_last(CONNECT(.props = PROPS(prop_request_response_info(0)))),
                   PROP_RESPONSE_INFO);
}

/* [MQTT-3.1.2-28], 3.2.2.3.15: who asks is told where to have answers sent. */
static void response_information_is_given_to_those_who_ask(void **state)
{
    (void)state;
    OWN_BROKER("server.response_topic_prefix: answers/");
    assert_no_prop(client_last(CONNECT()), PROP_RESPONSE_INFO);
    const struct packet *connack =
        client_last(CONNECT(.client_id = "asker", .props = PROPS(prop_request_response_info(1))));
    const struct prop *info = packet_prop(connack, PROP_RESPONSE_INFO);
    assert_non_null(info);
    assert_memory_equal(info->text, "answers/", 8);
    assert_non_null(strstr(info->text, "asker"));
}

/* [MQTT-4.12.0-6]: who names no method is never sent one, nor an AUTH. */
static void without_an_authentication_method_none_is_answered(void **state)
{
    (void)state;
    const struct packet *connack = client_last(CONNECT());
    assert_no_prop(connack, PROP_AUTH_METHOD);
    assert_no_prop(connack, PROP_AUTH_DATA);
}

/* 3.1.2.11.4: a client's packet size limit holds for CONNACK, [MQTT-3.1.2-24]. */
static void connack_respects_the_clients_maximum_packet_size(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "small", .props = PROPS(prop_maximum_packet_size(64)));
    assert_true(client_last(c)->wire_len <= 64);
}

/* ---- client identifiers ---- */

/* [MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16] */
static void an_empty_client_id_is_replaced_by_an_assigned_one(void **state)
{
    (void)state;
    const struct prop *id =
        packet_prop(client_last(CONNECT(.client_id = "")), PROP_ASSIGNED_CLIENT_ID);
    assert_non_null(id);
    assert_true(id->text_len > 0);
}

/* [MQTT-3.2.2-16]: an assigned id is nobody else's. */
static void assigned_client_ids_differ(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    char ids[COUNT][128];
    for (int i = 0; i < COUNT; i++) {
        const struct packet *connack = client_last(CONNECT(.client_id = ""));
        snprintf(ids[i], sizeof(ids[i]), "%s", packet_prop(connack, PROP_ASSIGNED_CLIENT_ID)->text);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(ids[i], ids[j]);
        }
    }
}

/* [MQTT-3.1.3-7]: the client can come back under the id that it was given. */
static void a_session_is_resumed_under_its_assigned_id(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "", .props = PROPS(prop_session_expiry(60)));
    char id[128];
    snprintf(id, sizeof(id), "%s", packet_prop(client_last(c), PROP_ASSIGNED_CLIENT_ID)->text);
    client_disconnect(c);
    c = CONNECT(.client_id = id, .resume = true);
    assert_true(client_last(c)->session_present);
    assert_no_prop(client_last(c), PROP_ASSIGNED_CLIENT_ID);
}

/* 3.1.3.1: 5.0 does not tie the empty id to Clean Start. */
static void an_empty_client_id_without_clean_start_is_fine_in_5_0(void **state)
{
    (void)state;
    const struct packet *connack = client_last(CONNECT(.client_id = "", .resume = true));
    assert_false(connack->session_present);
    assert_non_null(packet_prop(connack, PROP_ASSIGNED_CLIENT_ID));
}

/* [MQTT-3.1.3-5]: 23 bytes of digits and letters are always allowed. */
static void a_client_id_of_23_letters_and_digits_is_allowed(void **state)
{
    (void)state;
    CONNECT(.client_id = "0123456789abcdefghijXYZ");
    CONNECT(.client_id = "A");
}

/* 3.1.3.1: more than 23 bytes, and other characters, may be allowed; here they are. */
static void long_and_exotic_client_ids_are_allowed(void **state)
{
    (void)state;
    char id[201] = {0};
    memset(id, 'x', 200);
    CONNECT(.client_id = id);
    CONNECT(.client_id = "/+#$ \"\\'%s\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\x80");
}

/* [MQTT-3.1.3-2], [MQTT-4.7.3-4] in spirit: ids are compared as they are, case included. */
static void client_ids_that_differ_in_case_are_different_clients(void **state)
{
    (void)state;
    struct client *lower = CONNECT(.client_id = "case");
    CONNECT(.client_id = "CASE");
    expect_nothing(lower);
}

/* ---- the same client again ---- */

/* [MQTT-3.1.4-3]: the one who came first is told, and closed. */
static void a_second_connection_with_the_same_id_takes_over(void **state)
{
    (void)state;
    struct client *old = CONNECT(.client_id = "twin");
    struct client *new = CONNECT(.client_id = "twin");
    expect_disconnect(old, RC_SESSION_TAKEN_OVER);
    settle(new);
}

/* [MQTT-3.1.4-3] as 3.1.1 knows it: the old connection just ends. */
static void a_3_1_1_client_that_is_taken_over_is_just_closed(void **state)
{
    (void)state;
    struct client *old = CONNECT(.version = MQTT_311, .client_id = "twin311");
    struct client *new = CONNECT(.version = MQTT_311, .client_id = "twin311");
    expect_closed(old);
    settle(new);
}

/* [MQTT-3.1.4-3]: many at once under one id end with exactly one that is connected. */
static void a_storm_of_takeovers_leaves_one_connection(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct client *all[COUNT];
    for (int i = 0; i < COUNT; i++) {
        all[i] = client_open(MQTT_50);
        SEND_CONNECT(all[i], .client_id = "storm");
    }
    int alive = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(expect_packet(all[i], PKT_CONNACK)->reason, RC_SUCCESS);
        send_pingreq(all[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        const struct packet *last = NULL, *packet;
        while ((packet = client_receive(all[i], QUIET_MS)) != NULL) {
            last = packet;
        }
        alive += last != NULL && last->type == PKT_PINGRESP;
    }
    assert_int_equal(alive, 1);
}

/* [MQTT-3.1.4-3]: the old connection may break in the very moment in which it is taken over. */
static void a_connection_that_breaks_while_it_is_taken_over_does_no_harm(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        struct client *old = client_open(MQTT_50);
        SEND_CONNECT(old, .client_id = "breaking");
        struct client *new = client_open(MQTT_50);
        if (i % 2 == 0) {
            SEND_CONNECT(new, .client_id = "breaking");
            client_close(old);
        } else {
            client_close(old);
            SEND_CONNECT(new, .client_id = "breaking");
        }
        assert_int_equal(expect_packet(new, PKT_CONNACK)->reason, RC_SUCCESS);
        client_close(new);
    }
}

/* [MQTT-3.1.0-2] */
static void a_second_connect_on_a_connection_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "again");
    SEND_CONNECT(c, .client_id = "again");
    expect_disconnect(c, RC_PROTOCOL_ERROR);
}

/* ---- limits before and around CONNECT ---- */

/* limits.connect_timeout: a connection that sends nothing is not kept. */
static void a_connection_that_sends_nothing_is_closed_in_time(void **state)
{
    (void)state;
    OWN_BROKER("limits.connect_timeout: 1s");
    struct client *silent = client_open(MQTT_50);
    struct client *good = CONNECT();
    expect_closed_within(silent, 3000);
    settle(good);
}

/* limits.connect_timeout counts from the accept: dripping bytes does not buy time. */
static void a_connect_that_drips_in_too_slowly_is_closed_in_time(void **state)
{
    (void)state;
    OWN_BROKER("limits.connect_timeout: 1s");
    struct buffer packet = {0};
    put_connect(&packet, &(struct connect_packet){
                             .client_id = "a-client-id-that-is-long-enough-to-drip-for-a-while"});
    struct client *c = client_open(MQTT_50);
    long start = clock_ms();
    const struct packet *answer = NULL;
    bool open = true;
    for (size_t i = 0; i < packet.len && open; i++) {
        send_bytes(c, packet.data + i, 1);
        answer = client_receive(c, 100);
        open = answer == NULL && !client_ended(c) && clock_ms() - start < 3000;
    }
    buffer_fini(&packet);
    assert_null(answer);
    expect_closed_within(c, 500);
    assert_in_range(clock_ms() - start, 800, 3500);
}

/* limits.max_connections: one too many is not let in; a place that was left is given again. */
static void the_connection_limit_holds_and_places_are_given_again(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_connections: 3");
    struct client *first = CONNECT();
    CONNECT();
    CONNECT();
    struct client *excess = client_open(MQTT_50);
    SEND_CONNECT(excess, .client_id = "excess");
    const struct packet *answer = client_receive(excess, WAIT_MS);
    if (answer != NULL) {
        assert_int_equal(answer->type, PKT_CONNACK);
        assert_true(answer->reason >= 0x80);
    }
    expect_closed(excess);
    client_disconnect(first);
    long deadline = clock_ms() + WAIT_MS; /* closed for us, but maybe not yet counted down */
    bool accepted = false;
    while (!accepted && clock_ms() < deadline) {
        struct client *next = client_open(MQTT_50);
        SEND_CONNECT(next, .client_id = "next");
        answer = client_receive(next, WAIT_MS);
        accepted = answer != NULL && answer->type == PKT_CONNACK && answer->reason == RC_SUCCESS;
    }
    assert_true(accepted);
}

/* A CONNECT that is too large is refused with 0x95, or the connection just closed (3.2.2.2). */
static void expect_connect_too_large(void)
{
    static char password[2001];
    memset(password, 'p', sizeof(password) - 1);
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .user = "u", .password = password);
    const struct packet *answer = client_receive(c, WAIT_MS);
    if (answer != NULL) {
        assert_int_equal(answer->type, PKT_CONNACK);
        assert_int_equal(answer->reason, RC_PACKET_TOO_LARGE);
    }
    expect_closed(c);
    CONNECT(.client_id = "fits");
}

/* limits.server_maximum_packet_size also bounds CONNECT (3.2.2.3.6). */
static void a_connect_over_the_maximum_packet_size_is_refused(void **state)
{
    (void)state;
    OWN_BROKER("limits.server_maximum_packet_size: 1200");
    expect_connect_too_large();
}

/* limits.packet_before_connect_max: strangers may send less than clients. */
static void a_connect_over_the_limit_for_strangers_is_refused(void **state)
{
    (void)state;
    OWN_BROKER("limits.packet_before_connect_max: 1200");
    expect_connect_too_large();
    char payload[2001] = {0};
    memset(payload, 'x', 2000);
    struct client *c = CONNECT();
    publish(c, "stranger/t", payload, 1); /* who is in may send more */
}

/* limits.max_sessions: kept sessions count; with no place left a new client is refused. */
static void the_session_limit_holds_and_places_are_given_again(void **state)
{
    (void)state;
    OWN_BROKER("limits.max_sessions: 2");
    client_disconnect(CONNECT(.client_id = "one", .props = PROPS(prop_session_expiry(60))));
    CONNECT(.client_id = "two");
    struct client *c = client_open(MQTT_50);
    SEND_CONNECT(c, .client_id = "three");
    EXPECT_REFUSED(c, RC_QUOTA_EXCEEDED, RC_SERVER_BUSY, RC_SERVER_UNAVAILABLE);
    CONNECT(.client_id = "one", .resume = true);
    client_disconnect(CONNECT(.client_id = "one"));
    CONNECT(.client_id = "three");
}

/* A thousand connections that never speak cost little, and others are served. */
static void a_thousand_silent_connections_disturb_nobody(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < COUNT + 100) {
        skip();
    }
    long before = broker_rss_bytes(suite_broker());
    for (int i = 0; i < COUNT; i++) {
        client_open(MQTT_50);
    }
    struct client *sub = CONNECT();
    subscribe(sub, "silent/t", 1);
    struct client *pub = CONNECT();
    publish(pub, "silent/t", "x", 1);
    expect_publish_and_ack(sub, "silent/t", "x");
    assert_true(broker_rss_bytes(suite_broker()) - before < 16L * 1024 * 1024);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_correct_connect_is_acknowledged_first_of_all),
        TEST(connack_is_sent_only_once),
        TEST(connack_says_nothing_about_qos_because_all_are_supported),
        TEST(connack_does_not_deny_any_feature),
        TEST(connack_announces_the_configured_limits),
        TEST(connack_announces_the_default_limits),
        TEST(packets_sent_right_behind_connect_are_processed),
        TEST(a_connect_that_arrives_byte_by_byte_is_accepted),
        TEST(user_name_and_password_are_accepted_when_nobody_checks_them),
        TEST(a_password_without_a_user_name_is_allowed_in_5_0),
        TEST(user_properties_of_connect_are_accepted),
        TEST(response_information_is_not_given_unasked),
        TEST(response_information_is_given_to_those_who_ask),
        TEST(without_an_authentication_method_none_is_answered),
        TEST(connack_respects_the_clients_maximum_packet_size),
        TEST(an_empty_client_id_is_replaced_by_an_assigned_one),
        TEST(assigned_client_ids_differ),
        TEST(a_session_is_resumed_under_its_assigned_id),
        TEST(an_empty_client_id_without_clean_start_is_fine_in_5_0),
        TEST(a_client_id_of_23_letters_and_digits_is_allowed),
        TEST(long_and_exotic_client_ids_are_allowed),
        TEST(client_ids_that_differ_in_case_are_different_clients),
        TEST(a_second_connection_with_the_same_id_takes_over),
        TEST(a_3_1_1_client_that_is_taken_over_is_just_closed),
        TEST(a_storm_of_takeovers_leaves_one_connection),
        TEST(a_connection_that_breaks_while_it_is_taken_over_does_no_harm),
        TEST(a_second_connect_on_a_connection_is_a_protocol_error),
        TEST(a_connection_that_sends_nothing_is_closed_in_time),
        TEST(a_connect_that_drips_in_too_slowly_is_closed_in_time),
        TEST(the_connection_limit_holds_and_places_are_given_again),
        TEST(a_connect_over_the_maximum_packet_size_is_refused),
        TEST(a_connect_over_the_limit_for_strangers_is_refused),
        TEST(the_session_limit_holds_and_places_are_given_again),
        TEST(a_thousand_silent_connections_disturb_nobody),
    };
    return RUN_SUITE("connect", tests, NULL);
}
