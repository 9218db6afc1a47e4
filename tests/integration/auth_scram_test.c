/* Enhanced authentication with SCRAM-SHA-256: MQTT 5.0 section 4.12. */
#include "tests/integration/auth_scram.h"
#include "tests/integration/auth_support.h"
#include "tests/integration/metrics.h"
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>

#define BAD_METHOD "mqtt_auth_failures_total{reason=\"bad_authentication_method\"}"

/* ---- logins ---------------------------------------------------------------------------------- */

static void who_proves_that_it_knows_the_password_is_let_in(void **state)
{
    (void)state;
    struct client *c = scram_connect(NULL, "alice", "wonder");
    subscribe(c, "scram/alice", 1);
    expect_publish_answer(c, "scram/other", RC_NOT_AUTHORIZED);
    publish(c, "scram/alice", "x", 0);
    expect_publish_and_ack(c, "scram/alice", "x");
    client_disconnect(c);
    /* Its entry does for a plain password, too. */
    client_disconnect(CONNECT(.user = "alice", .password = "wonder"));
    client_disconnect(scram_connect(NULL, "bob", "build,er=x"));
}

/* [MQTT-4.12.0-4]: with a reason, and the end. */
static void who_does_not_is_refused_in_the_same_way_whoever_it_is(void **state)
{
    (void)state;
    static const char *const users[][2] = {
        {"alice", "wrong"}, {"nobody", "wonder"}, {"unfit", "x"}, {"bob", "wonder"}};
    for (size_t i = 0; i < 4; i++) {
        test_case(users[i][0]);
        struct scram_client scram;
        struct client *c =
            scram_open(&scram, &(struct connect_packet){0}, users[i][0], users[i][1]);
        scram_answer(c, &scram); /* also who there is not gets a challenge */
        EXPECT_REFUSED(c, RC_BAD_USER_OR_PASSWORD);
    }
}

/* What an unknown user is asked must be the same each time, as it is for a known one. */
static void the_salt_of_an_unknown_user_does_not_change(void **state)
{
    (void)state;
    static const char *const users[] = {"alice", "nobody"};
    for (size_t i = 0; i < 2; i++) {
        char salt[2][256];
        for (size_t k = 0; k < 2; k++) {
            struct scram_client scram;
            struct client *c = scram_open(&scram, &(struct connect_packet){0}, users[i], "x");
            expect_packet(c, PKT_AUTH);
            const char *at = strstr(scram_data(c), ",s=");
            assert_non_null(at);
            snprintf(salt[k], sizeof(salt[k]), "%s", at);
            client_close(c);
        }
        assert_string_equal(salt[0], salt[1]);
    }
}

static void other_methods_are_refused(void **state)
{
    (void)state;
    double before = metric_value(BAD_METHOD);
    static const char *const methods[] = {"SCRAM-SHA-1",        "PLAIN", "scram-sha-256",
                                          "SCRAM-SHA-256-PLUS", "",      "GS2-KRB5"};
    for (size_t i = 0; i < 6; i++) {
        test_case(methods[i]);
        struct client *c = LOGIN(.props = PROPS(prop_auth_method(methods[i]),
                                                prop_auth_data("n,,n=alice,r=abcdef")));
        EXPECT_REFUSED(c, RC_BAD_AUTH_METHOD);
    }
    metric_expect(BAD_METHOD, before + 6);
}

static void without_the_option_scram_is_not_offered(void **state)
{
    (void)state;
    OWN_BROKER_YAML("auth:\n  enabled: true\n  scram: false\n  failure_delay: 0\n  users:\n"
                    "  - {username: bob, password: x}\n",
                    NULL);
    struct scram_client scram;
    struct client *c = scram_open(&scram, &(struct connect_packet){0}, "bob", "x");
    EXPECT_REFUSED(c, RC_BAD_AUTH_METHOD);
    client_disconnect(CONNECT(.user = "bob", .password = "x"));
}

static void first_messages_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const char *const firsts[] = {
        "",
        "n",
        "n,,",
        "n,,n=alice",
        "n,,r=abc,n=alice",
        "n,,n=,r=abc",
        "n,,n=alice,r=",
        "p=tls-unique,,n=alice,r=abc",
        "x,,n=alice,r=abc",
        "n,,m=ext,n=alice,r=abc",
        "n,,n=al=ice,r=abc",
        "n,a=bob,n=alice,r=abc",
        "n,,n=alice,r=a\001b",
    };
    for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
        test_case(firsts[i]);
        struct client *c =
            LOGIN(.props = PROPS(prop_auth_method(SCRAM_METHOD), prop_auth_data(firsts[i])));
        const struct packet *packet = client_receive(c, WAIT_MS);
        assert_non_null(packet);
        if (packet->type == PKT_AUTH) { /* refused in the end */
            send_auth(c, RC_CONTINUE_AUTHENTICATION, SCRAM_PROPS("c=biws,r=abc,p=AAAA"));
            packet = expect_packet(c, PKT_CONNACK);
        }
        assert_int_equal(packet->type, PKT_CONNACK);
        assert_true(packet->reason >= 0x80);
        expect_closed(c);
    }
}

static void without_data_the_method_alone_lets_nobody_in(void **state)
{
    (void)state;
    struct client *c = LOGIN(.props = PROPS(prop_auth_method(SCRAM_METHOD)));
    EXPECT_REFUSED(c, RC_BAD_USER_OR_PASSWORD, RC_PROTOCOL_ERROR, RC_NOT_AUTHORIZED);
    c = LOGIN(.user = "alice", .password = "wonder",
              .props = PROPS(prop_auth_method(SCRAM_METHOD)));
    EXPECT_REFUSED(c, RC_BAD_USER_OR_PASSWORD, RC_PROTOCOL_ERROR, RC_NOT_AUTHORIZED);
}

static void final_messages_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const char *const lasts[] = {
        "",
        "c=biws",
        "c=biws,r=abc",
        "c=biws,r=abc,p=",
        "c=biws,r=abc,p=AAAA",
        "c=eSws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};
    for (size_t i = 0; i < sizeof(lasts) / sizeof(lasts[0]); i++) {
        test_case(lasts[i]);
        struct scram_client scram;
        struct client *c = scram_open(&scram, &(struct connect_packet){0}, "alice", "wonder");
        expect_packet(c, PKT_AUTH);
        send_auth(c, RC_CONTINUE_AUTHENTICATION, SCRAM_PROPS(lasts[i]));
        EXPECT_REFUSED(c, RC_BAD_USER_OR_PASSWORD);
    }
}

/* A message that was heard on the wire is worth nothing in another login. */
static void what_was_said_once_does_not_serve_again(void **state)
{
    (void)state;
    struct scram_client scram;
    struct client *c = scram_open(&scram, &(struct connect_packet){0}, "alice", "wonder");
    scram_answer(c, &scram);
    assert_int_equal(expect_packet(c, PKT_CONNACK)->reason, RC_SUCCESS);
    struct client *thief =
        LOGIN(.props = PROPS(prop_auth_method(SCRAM_METHOD), prop_auth_data(scram.first)));
    expect_packet(thief, PKT_AUTH);
    send_auth(thief, RC_CONTINUE_AUTHENTICATION, SCRAM_PROPS(scram.last));
    EXPECT_REFUSED(thief, RC_BAD_USER_OR_PASSWORD);
}

/* ---- AUTH at wrong times --------------------------------------------------------------------- */

static void send_too_early(struct client *c, int kind, const char *proof)
{
    switch (kind) {
    case 0:
        send_pingreq(c);
        break;
    case 1:
        PUBLISH(c, .topic = "scram/alice", .payload = "x");
        break;
    case 2:
        SEND_CONNECT(c, .client_id = "again");
        break;
    case 3:
        send_auth(c, RC_CONTINUE_AUTHENTICATION,
                  PROPS(prop_auth_method("PLAIN"), prop_auth_data(proof)));
        break;
    default:
        send_auth(c, kind == 4 ? RC_REAUTHENTICATE : RC_SUCCESS, SCRAM_PROPS(proof));
        break;
    }
}

/* [MQTT-3.1.0-1], and section 4.12: AUTH, then CONNACK. */
static void before_connack_nothing_but_auth_may_come(void **state)
{
    (void)state;
    static const char *const cases[] = {"PINGREQ",        "PUBLISH",         "CONNECT",
                                        "another method", "Re-authenticate", "Success"};
    for (int kind = 0; kind < 6; kind++) {
        test_case(cases[kind]);
        struct scram_client scram;
        struct client *c = scram_open(&scram, &(struct connect_packet){0}, "alice", "wonder");
        expect_packet(c, PKT_AUTH);
        scram_client_go_on(&scram, scram_data(c));
        send_too_early(c, kind, scram.last);
        const struct packet *packet = client_receive(c, WAIT_MS);
        if (packet != NULL && packet->reason < 0x80) { /* it may be told, or not */
            test_fail("taken for what was due");
        }
        expect_closed(c);
    }
}

static void auth_without_a_reason_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *plain = CONNECT(.user = "alice", .password = "wonder");
    send_auth(plain, RC_REAUTHENTICATE, SCRAM_PROPS("n,,n=alice,r=abc"));
    expect_disconnect(plain, RC_PROTOCOL_ERROR); /* its CONNECT had no method [MQTT-4.12.0-7] */
    struct client *c = scram_connect(NULL, "alice", "wonder");
    send_auth(c, RC_CONTINUE_AUTHENTICATION, SCRAM_PROPS("n,,n=alice,r=abc"));
    expect_disconnect(c, RC_PROTOCOL_ERROR); /* nobody has asked */
    c = scram_connect(NULL, "alice", "wonder");
    send_auth(c, RC_REAUTHENTICATE,
              PROPS(prop_auth_method("PLAIN"), prop_auth_data("n,,n=alice,r=abc")));
    expect_disconnect(c, RC_PROTOCOL_ERROR); /* another method [MQTT-4.12.1-1] */
    c = scram_connect(NULL, "alice", "wonder");
    send_auth(c, RC_SUCCESS, SCRAM_PROPS("n,,n=alice,r=abc"));
    EXPECT_DISCONNECT_ONE_OF(c, RC_PROTOCOL_ERROR, RC_MALFORMED); /* only servers say that */
    struct client *old = CONNECT(.version = MQTT_311, .user = "alice", .password = "wonder");
    RAW(old, 0xf0, 0x00);
    expect_closed(old);
    struct client *first = client_open(MQTT_50);
    send_auth(first, RC_CONTINUE_AUTHENTICATION, SCRAM_PROPS("n,,n=alice,r=abc"));
    expect_closed(first);
}

static void a_second_auth_while_the_first_is_judged_is_a_protocol_error(void **state)
{
    (void)state;
    struct client *c = scram_connect(NULL, "alice", "wonder");
    struct scram_client scram;
    scram_client_begin(&scram, "alice", "wonder");
    struct buffer both = {0};
    put_reason_packet(&both, PKT_AUTH, RC_REAUTHENTICATE, SCRAM_PROPS(scram.first));
    put_reason_packet(&both, PKT_AUTH, RC_REAUTHENTICATE, SCRAM_PROPS(scram.first));
    send_buffer(c, &both);
    buffer_fini(&both);
    const struct packet *packet = client_receive(c, WAIT_MS);
    if (packet != NULL && packet->type == PKT_AUTH) {
        packet = client_receive(c, WAIT_MS);
    }
    assert_non_null(packet);
    assert_int_equal(packet->type, PKT_DISCONNECT);
    assert_int_equal(packet->reason, RC_PROTOCOL_ERROR);
    expect_closed(c);
}

/* ---- anew ------------------------------------------------------------------------------------ */

static void begin_anew(struct client *c, struct scram_client *scram, const char *user,
                       const char *password)
{
    scram_client_begin(scram, user, password);
    send_auth(c, RC_REAUTHENTICATE, SCRAM_PROPS(scram->first));
}

static void a_client_may_authenticate_anew_any_number_of_times(void **state)
{
    (void)state;
    struct client *c = scram_connect(NULL, "alice", "wonder");
    for (int i = 0; i < 3; i++) {
        struct scram_client scram;
        begin_anew(c, &scram, "alice", "wonder");
        scram_answer(c, &scram);
        assert_int_equal(expect_packet(c, PKT_AUTH)->reason, RC_SUCCESS);
        scram_client_check(&scram, scram_data(c));
        expect_publish_answer(c, "scram/alice", RC_SUCCESS);
        expect_publish_answer(c, "scram/other", RC_NOT_AUTHORIZED);
    }
    client_disconnect(c);
}

static void who_fails_to_authenticate_anew_is_put_out(void **state)
{
    (void)state;
    struct client *c = scram_connect(NULL, "alice", "wonder");
    struct scram_client scram;
    begin_anew(c, &scram, "alice", "wrong");
    scram_answer(c, &scram);
    expect_disconnect(c, RC_BAD_USER_OR_PASSWORD);
    c = scram_connect(NULL, "alice", "wonder");
    begin_anew(c, &scram, "nobody", "x");
    scram_answer(c, &scram);
    expect_disconnect(c, RC_BAD_USER_OR_PASSWORD);
    c = scram_connect(NULL, "alice", "wonder");
    send_auth(c, RC_REAUTHENTICATE, SCRAM_PROPS("garbage"));
    EXPECT_DISCONNECT_ONE_OF(c, RC_BAD_USER_OR_PASSWORD, RC_PROTOCOL_ERROR);
}

/* Its session is not for another user, who knows its own password. */
static void nobody_becomes_another_user_on_the_way(void **state)
{
    (void)state;
    struct client *c = scram_connect("other", "alice", "wonder");
    subscribe(c, "scram/alice", 1);
    struct scram_client scram;
    begin_anew(c, &scram, "bob", "build,er=x");
    scram_answer(c, &scram);
    expect_disconnect(c, RC_NOT_AUTHORIZED);
}

static void messages_flow_while_a_client_authenticates_anew(void **state)
{
    (void)state;
    struct client *c = scram_connect(NULL, "alice", "wonder");
    struct client *pub = CONNECT(.user = "alice", .password = "wonder");
    subscribe(c, "scram/alice", 1);
    struct scram_client scram;
    for (int i = 0; i < 5; i++) {
        begin_anew(c, &scram, "alice", "wonder");
        PUBLISH(c, .topic = "scram/alice/own", .payload = "x", .qos = 1, .id = 500);
        publish(pub, "scram/alice", "x", 1);
        bool is_asked = false, is_acked = false, is_done = false, has_message = false;
        while (!is_asked || !is_acked || !is_done || !has_message) {
            const struct packet *packet = client_receive(c, WAIT_MS);
            assert_non_null(packet);
            if (packet->type == PKT_PUBACK) {
                assert_int_equal(packet->id, 500);
                is_acked = true;
            } else if (packet->type == PKT_PUBLISH) {
                acknowledge(c, packet);
                has_message = true;
            } else if (packet->type == PKT_AUTH && !is_asked) {
                is_asked = true;
                scram_client_go_on(&scram, scram_data(c));
                send_auth(c, RC_CONTINUE_AUTHENTICATION, SCRAM_PROPS(scram.last));
            } else {
                assert_int_equal(packet->type, PKT_AUTH);
                assert_int_equal(packet->reason, RC_SUCCESS);
                is_done = true;
            }
        }
    }
    settle(c);
}

static void clients_may_go_in_the_middle_of_it(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct scram_client scram;
        struct client *c = i % 2 == 0
                               ? scram_open(&scram, &(struct connect_packet){.client_id = "goes"},
                                            "alice", "wonder")
                               : scram_connect("goes", "alice", "wonder");
        if (i % 2 == 1) {
            begin_anew(c, &scram, "alice", "wonder");
        }
        if (i % 3 > 0) {
            scram_answer(c, &scram);
        }
        client_close(c);
    }
    client_disconnect(scram_connect("goes", "alice", "wonder"));
    metric_expect("mqtt_connections_current", 0);
    metric_expect("pulse_sockets_current", 0);
}

/* Between challenge and proof the password changes: the old one is worth nothing. */
static void a_reload_in_the_middle_is_noticed(void **state)
{
    (void)state;
    const char *file = auth_path("reloaded");
    assert_int_equal(AUTH_PULSE("old\n", NULL, 0, "passwd", "--stdin", "--scram", file, "alice"),
                     0);
    struct broker *broker = OWN_BROKER_YAML(
        auth_yaml("auth: {enabled: true, no_match: allow, failure_delay: 0, password_file: %s}\n",
                  file),
        NULL);
    struct client *online = scram_connect(NULL, "alice", "old");
    struct scram_client anew, scram;
    begin_anew(online, &anew, "alice", "old");
    expect_packet(online, PKT_AUTH);
    struct client *c = scram_open(&scram, &(struct connect_packet){0}, "alice", "old");
    expect_packet(c, PKT_AUTH);
    scram_client_go_on(&scram, scram_data(c));
    assert_int_equal(AUTH_PULSE("new\n", NULL, 0, "passwd", "--stdin", "--scram", file, "alice"),
                     0);
    auth_reload(broker, true);
    send_auth(c, RC_CONTINUE_AUTHENTICATION, SCRAM_PROPS(scram.last));
    EXPECT_REFUSED(c, RC_BAD_USER_OR_PASSWORD);
    expect_disconnect(online, RC_NOT_AUTHORIZED);
    client_disconnect(scram_connect(NULL, "alice", "new"));
}

/* Who is asked for its proof, and says nothing, is closed in time. */
static void a_challenge_without_an_answer_ends_in_time(void **state)
{
    (void)state;
    OWN_BROKER_YAML("limits: {connect_timeout: 600ms}\nauth:\n  enabled: true\n"
                    "  wait_max: 1s\n  failure_delay: 0\n  failure_delay_max: 100ms\n"
                    "  no_match: allow\n  users:\n  - {username: bob, password: x}\n",
                    NULL);
    struct scram_client scram;
    struct client *c = scram_open(&scram, &(struct connect_packet){0}, "bob", "x");
    expect_packet(c, PKT_AUTH);
    EXPECT_REFUSED(c, RC_SERVER_BUSY);
    c = scram_connect(NULL, "bob", "x");
    begin_anew(c, &scram, "bob", "x");
    expect_packet(c, PKT_AUTH);
    settle(c); /* it goes on meanwhile */
    expect_disconnect(c, RC_NOT_AUTHORIZED);
    metric_expect("pulse_sockets_current", 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(who_proves_that_it_knows_the_password_is_let_in),
        TEST(who_does_not_is_refused_in_the_same_way_whoever_it_is),
        TEST(the_salt_of_an_unknown_user_does_not_change),
        TEST(other_methods_are_refused),
        TEST(without_the_option_scram_is_not_offered),
        TEST(first_messages_that_make_no_sense_are_refused),
        TEST(without_data_the_method_alone_lets_nobody_in),
        TEST(final_messages_that_make_no_sense_are_refused),
        TEST(what_was_said_once_does_not_serve_again),
        TEST(before_connack_nothing_but_auth_may_come),
        TEST(auth_without_a_reason_is_a_protocol_error),
        TEST(a_second_auth_while_the_first_is_judged_is_a_protocol_error),
        TEST(a_client_may_authenticate_anew_any_number_of_times),
        TEST(who_fails_to_authenticate_anew_is_put_out),
        TEST(nobody_becomes_another_user_on_the_way),
        TEST(messages_flow_while_a_client_authenticates_anew),
        TEST(clients_may_go_in_the_middle_of_it),
        TEST(a_reload_in_the_middle_is_noticed),
        TEST(a_challenge_without_an_answer_ends_in_time),
    };
    static char password_file[300];
    static char acl_file[300];
    const char *users = auth_write("users", "unfit:%s\n", auth_hash_7("x"));
    if (AUTH_PULSE("wonder\n", NULL, 0, "passwd", "--stdin", "--scram", users, "alice") != 0 ||
        AUTH_PULSE("build,er=x\n", NULL, 0, "passwd", "--stdin", "--scram", users, "bob") != 0) {
        return 1;
    }
    snprintf(password_file, sizeof(password_file), "auth.password_file: %s", users);
    snprintf(acl_file, sizeof(acl_file), "auth.acl_file: %s",
             auth_write("rules", "allow all all scram/%%u/#\n"));
    return RUN_SUITE(
        "auth_scram", tests,
        BROKER_SETTINGS("auth.enabled: true", "auth.failure_delay: 0", password_file, acl_file));
}
