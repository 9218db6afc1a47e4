/* Who may connect: user names and passwords, without a name, from the configuration and files. */
#include "tests/integration/auth_support.h"
#include "tests/integration/metrics.h"
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>

#define WRONG_PASSWORD "mqtt_auth_failures_total{reason=\"bad_username_or_password\"}"
#define NOT_WELCOME "mqtt_auth_failures_total{reason=\"not_authorized\"}"

enum { RETURN_BAD_PASSWORD = 4, RETURN_NOT_AUTHORIZED = 5 }; /* of 3.x */

/* ---- right and wrong ------------------------------------------------------------------------- */

static void the_right_password_lets_in_with_every_version(void **state)
{
    (void)state;
    static const uint8_t versions[] = {MQTT_31, MQTT_311, MQTT_50};
    for (size_t i = 0; i < sizeof(versions); i++) {
        struct client *c = CONNECT(.version = versions[i], .user = "alice", .password = "wonder");
        subscribe(c, "auth/mine", 1);
        publish(c, "auth/mine", "x", 0);
        expect_publish_and_ack(c, "auth/mine", "x");
        client_disconnect(c);
    }
}

static void a_wrong_password_is_refused_with_every_version_and_counted(void **state)
{
    (void)state;
    double before = metric_value(WRONG_PASSWORD);
    EXPECT_NO_LOGIN(RETURN_BAD_PASSWORD, .version = MQTT_31, .user = "alice", .password = "w");
    EXPECT_NO_LOGIN(RETURN_BAD_PASSWORD, .version = MQTT_311, .user = "alice", .password = "w");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "w");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "wonde");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "wonder ");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "Wonder");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice"); /* none at all */
    metric_expect(WRONG_PASSWORD, before + 7);
}

/* Nothing in the answer may tell which of both was wrong. */
static void an_unknown_user_gets_the_answer_of_a_wrong_password(void **state)
{
    (void)state;
    static const char *const users[] = {"alice", "nobody", "alice2", "Alice"};
    for (size_t version = MQTT_31; version <= MQTT_50; version++) {
        size_t wire_len = 0;
        for (size_t i = 0; i < 4; i++) {
            struct client *c =
                LOGIN(.version = (uint8_t)version, .user = users[i], .password = "wrong");
            const struct packet *connack = expect_packet(c, PKT_CONNACK);
            assert_int_equal(connack->reason,
                             version == MQTT_50 ? RC_BAD_USER_OR_PASSWORD : RETURN_BAD_PASSWORD);
            assert_null(packet_prop(connack, PROP_USER_PROPERTY));
            assert_true(wire_len == 0 || wire_len == connack->wire_len);
            wire_len = connack->wire_len;
            expect_closed(c);
        }
    }
}

static void empty_texts_are_no_way_around(void **state)
{
    (void)state;
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "", .password = "wonder");
    EXPECT_NO_LOGIN(RC_NOT_AUTHORIZED, .user = "");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "", .password = "");
    EXPECT_NO_LOGIN(RETURN_BAD_PASSWORD, .version = MQTT_311, .user = "alice", .password = "");
}

/* 5.0 allows a password alone [MQTT-3.1.2-22 is of 3.1.1]: it is not the same as nothing. */
static void a_password_without_a_user_name_is_wrong(void **state)
{
    (void)state;
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = "wonder");
    OWN_BROKER_YAML("auth: {enabled: true, allow_anonymous: true, failure_delay: 0}\n", NULL);
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = "wonder");
}

/* As large as MQTT can say, and as large as the broker takes before it knows the client. */
static void very_long_names_and_passwords_are_just_wrong(void **state)
{
    (void)state;
    enum { MOST = 65535, FITS = 60000 };
    static char text[MOST + 1];
    memset(text, 'x', MOST);
    EXPECT_NO_LOGIN(RC_PACKET_TOO_LARGE, .user = text, .password = text);
    text[FITS] = '\0';
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = text, .password = text);
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = text);
    client_disconnect(CONNECT(.user = "alice", .password = "wonder"));
}

static void a_password_may_hold_any_text(void **state)
{
    (void)state;
    static const char *const passwords[] = {":", "with blank", "\xc3\xa4\xf0\x9f\x94\x91",
                                            "\xff\xfe no text", "$6$"};
    char users[4096];
    size_t len = 0;
    for (size_t i = 0; i < 5; i++) {
        len += (size_t)snprintf(users + len, sizeof(users) - len, "u%zu:%s\n", i,
                                auth_hash_7(passwords[i]));
    }
    OWN_BROKER_YAML(auth_yaml("auth: {enabled: true, failure_delay: 0, password_file: %s}\n",
                              auth_write("odd", "%s", users)),
                    NULL);
    for (size_t i = 0; i < 5; i++) {
        char user[8];
        snprintf(user, sizeof(user), "u%zu", i);
        client_disconnect(CONNECT(.user = user, .password = passwords[i]));
        EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = user, .password = passwords[(i + 1) % 5]);
    }
}

/* ---- without a name -------------------------------------------------------------------------- */

static void who_says_no_name_is_refused_unless_that_is_allowed(void **state)
{
    (void)state;
    double before = metric_value(NOT_WELCOME);
    EXPECT_NO_LOGIN(RC_NOT_AUTHORIZED, .client_id = NULL);
    EXPECT_NO_LOGIN(RETURN_NOT_AUTHORIZED, .version = MQTT_311);
    metric_expect(NOT_WELCOME, before + 2);
    OWN_BROKER_YAML("auth:\n  enabled: true\n  allow_anonymous: true\n  failure_delay: 0\n"
                    "  acl:\n  - {anonymous: true, topic_filter: public/#}\n",
                    NULL);
    struct client *c = CONNECT();
    expect_subscribe_answer(c, "public/x", RC_SUCCESS);
    expect_subscribe_answer(c, "private/x", RC_NOT_AUTHORIZED);
    client_disconnect(CONNECT(.user = ""));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "somebody", .password = "x");
}

/* ---- where users come from ------------------------------------------------------------------- */

static void users_of_the_configuration_have_plain_passwords_or_hashes(void **state)
{
    (void)state;
    char entry[512];
    assert_int_equal(AUTH_PULSE("hashed secret\n", entry, sizeof(entry), "passwd", "--print",
                                "--stdin", "carol"),
                     0);
    char *hash = strchr(entry, '$');
    assert_non_null(hash);
    hash[strcspn(hash, "\"'\n ")] = '\0';
    struct broker *broker =
        OWN_BROKER_YAML(auth_yaml("auth:\n  enabled: true\n  failure_delay: 0\n  users:\n"
                                  "  - {username: bob, password: plain secret, groups: staff}\n"
                                  "  - {username: carol, password: \"%s\"}\n"
                                  "  - {username: dave, password: \"%s\"}\n"
                                  "  acl:\n  - {group: staff, topic_filter: staff/#}\n",
                                  hash, auth_hash_6("old secret")),
                        NULL);
    struct client *bob = CONNECT(.user = "bob", .password = "plain secret");
    expect_publish_answer(bob, "staff/x", RC_SUCCESS);
    struct client *carol = CONNECT(.user = "carol", .password = "hashed secret");
    expect_publish_answer(carol, "staff/x", RC_NOT_AUTHORIZED);
    client_disconnect(CONNECT(.user = "dave", .password = "old secret"));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "bob", .password = "hashed secret");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "carol", .password = "plain secret");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "carol", .password = hash);
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "bob", .password = "");
    assert_true(broker_log_lines(broker, "as they are") > 0); /* it is warned of */
    assert_int_equal(broker_log_lines(broker, "plain secret"), 0);
    assert_int_equal(broker_log_lines(broker, hash), 0);
}

static void a_file_made_by_pulse_passwd_serves_with_every_hash(void **state)
{
    (void)state;
    const char *file = auth_path("made");
    static const char *const kinds[] = {"", "scrypt", "pbkdf2", "argon2id"};
    assert_int_equal(AUTH_PULSE("one\n", NULL, 0, "passwd", "--stdin", file, "u0"), 0);
    for (size_t i = 1; i < 4; i++) {
        char user[8];
        snprintf(user, sizeof(user), "u%zu", i);
        assert_int_equal(AUTH_PULSE("one\n", NULL, 0, "passwd", "--stdin", "--hash", kinds[i],
                                    "--groups", "made", file, user),
                         0);
    }
    assert_int_equal(AUTH_PULSE("one\n", NULL, 0, "passwd", "--stdin", "--scram", file, "u4"), 0);
    assert_int_equal(AUTH_PULSE("one\n", NULL, 0, "passwd", "--stdin", file, "gone"), 0);
    assert_int_equal(AUTH_PULSE("", NULL, 0, "passwd", "--delete", file, "gone"), 0);
    OWN_BROKER_YAML(auth_yaml("auth:\n  enabled: true\n  failure_delay: 0\n  password_file: %s\n"
                              "  acl:\n  - {group: made, topic_filter: made/#}\n",
                              file),
                    NULL);
    for (size_t i = 0; i < 5; i++) {
        char user[8];
        snprintf(user, sizeof(user), "u%zu", i);
        test_case(user);
        struct client *c = CONNECT(.user = user, .password = "one");
        expect_publish_answer(c, "made/x", i >= 1 && i <= 3 ? RC_SUCCESS : RC_NOT_AUTHORIZED);
        EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = user, .password = "two");
    }
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "gone", .password = "one");
}

static void a_file_of_mosquitto_serves(void **state)
{
    (void)state;
    const char *file = auth_write("mosquitto", "six:%s\nseven:%s\n", auth_hash_6("secret6"),
                                  auth_hash_7("secret7"));
    OWN_BROKER_YAML(auth_yaml("auth: {enabled: true, failure_delay: 0, password_file: %s}\n", file),
                    NULL);
    client_disconnect(CONNECT(.user = "six", .password = "secret6"));
    client_disconnect(CONNECT(.version = MQTT_311, .user = "seven", .password = "secret7"));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "six", .password = "secret7");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "seven", .password = "secret6");
}

/* A file with a mistake must not become one with fewer users. */
static void a_bad_password_file_keeps_the_broker_from_starting(void **state)
{
    (void)state;
    static const char *const bad[] = {"alice\n", "alice:\n", "alice:plain\n", ":$6$c2FsdA==$a2V5\n",
                                      "alice:$7$101$c2FsdA==$\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        test_case(bad[i]);
        const char *file = auth_write("bad", "bob:%s\n%s", auth_hash_7("x"), bad[i]);
        assert_true(broker_refuses(
            NULL, auth_yaml("auth: {enabled: true, password_file: %s}\n", file), "bad:2"));
    }
    assert_true(
        broker_refuses(NULL, "auth: {enabled: true, password_file: /nowhere/at/all}\n", "nowhere"));
}

/* ---- client ids ------------------------------------------------------------------------------ */

/* A rule with %c knows the id that the broker gave. */
static void an_assigned_client_id_counts_in_rules(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) { /* on whatever worker it comes in */
        char topic[64];
        struct client *c = CONNECT(.client_id = "", .user = "alice", .password = "wonder");
        const struct prop *id = packet_prop(client_last(c), PROP_ASSIGNED_CLIENT_ID);
        assert_non_null(id);
        snprintf(topic, sizeof(topic), "devices/%s/x", id->text);
        expect_publish_answer(c, topic, RC_SUCCESS);
        expect_publish_answer(c, "devices/other/x", RC_NOT_AUTHORIZED);
        client_disconnect(c);
    }
}

/* A CONNECT is judged on the worker of its session, wherever it came in. */
static void a_kept_session_is_there_after_the_login(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        char id[32];
        snprintf(id, sizeof(id), "kept-%d", i);
        struct client *c = CONNECT(.client_id = id, .user = "alice", .password = "wonder",
                                   .props = PROPS(prop_session_expiry(60)));
        assert_false(client_last(c)->session_present);
        subscribe(c, "auth/kept", 1);
        client_disconnect(c);
        EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .client_id = id, .user = "alice",
                        .password = "wrong");
        c = CONNECT(.client_id = id, .resume = true, .user = "alice", .password = "wonder");
        assert_true(client_last(c)->session_present);
        client_disconnect(c);
    }
}

/* ---- taking over ----------------------------------------------------------------------------- */

/* Who can't log in must not end the connection of somebody else. */
static void a_refused_login_takes_nothing_over(void **state)
{
    (void)state;
    struct client *alice = CONNECT(.client_id = "stays", .user = "alice", .password = "wonder");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .client_id = "stays", .user = "bob", .password = "w");
    EXPECT_NO_LOGIN(RC_NOT_AUTHORIZED, .client_id = "stays");
    settle(alice);
    client_disconnect(CONNECT(.client_id = "stays", .user = "alice", .password = "wonder"));
    expect_disconnect(alice, RC_SESSION_TAKEN_OVER);
}

/* Another user with the same client id gets the session, and of it only what it may read. */
static void who_takes_over_gets_no_messages_that_it_may_not_read(void **state)
{
    (void)state;
    struct client *alice = CONNECT(.client_id = "both", .user = "alice", .password = "wonder",
                                   .props = PROPS(prop_session_expiry(60)));
    subscribe(alice, "auth/alice/#", 1);
    subscribe(alice, "auth/shared", 1);
    client_disconnect(alice);
    struct client *pub = CONNECT(.user = "alice", .password = "wonder");
    publish(pub, "auth/alice/secret", "for alice", 1);
    publish(pub, "auth/shared", "for both", 1);
    struct client *bob = CONNECT(.client_id = "both", .resume = true, .user = "bob",
                                 .password = "builder", .props = PROPS(prop_session_expiry(60)));
    expect_publish_and_ack(bob, "auth/shared", "for both");
    publish(pub, "auth/alice/secret", "later", 1);
    publish(pub, "auth/shared", "later", 1);
    expect_publish_and_ack(bob, "auth/shared", "later");
    expect_nothing(bob);
}

static void a_live_connection_is_taken_over_in_the_same_way(void **state)
{
    (void)state;
    struct client *alice = CONNECT(.client_id = "live", .user = "alice", .password = "wonder",
                                   .props = PROPS(prop_session_expiry(60)));
    subscribe(alice, "auth/alice/#", 2);
    struct client *pub = CONNECT(.user = "alice", .password = "wonder");
    publish(pub, "auth/alice/1", "under way", 1);
    expect_publish(alice, "auth/alice/1", "under way"); /* and no acknowledgement */
    struct client *bob =
        CONNECT(.client_id = "live", .resume = true, .user = "bob", .password = "builder");
    expect_disconnect(alice, RC_SESSION_TAKEN_OVER);
    publish(pub, "auth/alice/2", "later", 2);
    expect_nothing(bob);
}

/* Both are being judged at the same time. */
static void of_two_logins_with_one_client_id_one_stays(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct client *a = LOGIN(.client_id = "race", .user = "alice", .password = "wonder");
        struct client *b = LOGIN(.client_id = "race", .user = "bob", .password = "builder");
        assert_int_equal(expect_packet(a, PKT_CONNACK)->reason, RC_SUCCESS);
        assert_int_equal(expect_packet(b, PKT_CONNACK)->reason, RC_SUCCESS);
        send_pingreq(a);
        send_pingreq(b);
        int alive = 0;
        struct client *both[] = {a, b};
        for (size_t k = 0; k < 2; k++) {
            const struct packet *packet = client_receive(both[k], WAIT_MS);
            assert_non_null(packet);
            alive += packet->type == PKT_PINGRESP ? 1 : 0;
            /* The one that came first may have been answered before it was taken over. */
        }
        assert_true(alive >= 1);
        client_close(a);
        client_close(b);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_right_password_lets_in_with_every_version),
        TEST(a_wrong_password_is_refused_with_every_version_and_counted),
        TEST(an_unknown_user_gets_the_answer_of_a_wrong_password),
        TEST(empty_texts_are_no_way_around),
        TEST(a_password_without_a_user_name_is_wrong),
        TEST(very_long_names_and_passwords_are_just_wrong),
        TEST(a_password_may_hold_any_text),
        TEST(who_says_no_name_is_refused_unless_that_is_allowed),
        TEST(users_of_the_configuration_have_plain_passwords_or_hashes),
        TEST(a_file_made_by_pulse_passwd_serves_with_every_hash),
        TEST(a_file_of_mosquitto_serves),
        TEST(a_bad_password_file_keeps_the_broker_from_starting),
        TEST(an_assigned_client_id_counts_in_rules),
        TEST(a_kept_session_is_there_after_the_login),
        TEST(a_refused_login_takes_nothing_over),
        TEST(who_takes_over_gets_no_messages_that_it_may_not_read),
        TEST(a_live_connection_is_taken_over_in_the_same_way),
        TEST(of_two_logins_with_one_client_id_one_stays),
    };
    static char password_file[300];
    static char acl_file[300];
    snprintf(password_file, sizeof(password_file), "auth.password_file: %s",
             auth_write("users", "alice:%s:staff\nbob:%s\n", auth_hash_7("wonder"),
                        auth_hash_7("builder")));
    snprintf(acl_file, sizeof(acl_file), "auth.acl_file: %s",
             auth_write("rules", "allow all all devices/%%c/#\n"
                                 "deny user bob all auth/alice/#\nallow all all auth/#\n"));
    return RUN_SUITE(
        "auth", tests,
        BROKER_SETTINGS("auth.enabled: true", "auth.failure_delay: 0", password_file, acl_file));
}
