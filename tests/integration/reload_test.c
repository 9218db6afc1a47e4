/* SIGHUP: users and rules are read again, and connections that there are keep what they still may.
 */
#include "tests/integration/auth_support.h"
#include "tests/integration/metrics.h"
#include "tests/integration/suite.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define REVOKED "pulse_subscriptions_revoked_total"
#define CLOSED "pulse_connections_closed_total{reason=\"not_authorized\"}"
#define AS(name) .user = (name), .password = "x"

/* ---- a broker with files --------------------------------------------------------------------- */

static void write_users(const char *more)
{
    auth_write("users", "alice:%s:staff\nbob:%s\n%s", auth_hash_7("x"), auth_hash_7("x"), more);
}

static void write_rules(const char *rules)
{
    auth_write("rules", "%s", rules);
}

static struct broker *broker_of_files(const char *more)
{
    return OWN_BROKER_YAML(
        auth_yaml("auth:\n  enabled: true\n  allow_anonymous: true\n  failure_delay: 0\n"
                  "  password_file: %s\n  acl_file: %s\n%s",
                  auth_path("users"), auth_path("rules"), more),
        NULL);
}

/* Reads again, and waits until the worker of `c` has looked at its connections: by mail, and again.
 */
static void reload_for(struct broker *broker, struct client *c)
{
    auth_reload(broker, true);
    for (int i = 0; i < 3; i++) {
        settle(c);
    }
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void rules_that_are_new_hold_for_connections_that_there_are(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow user alice all a/#\n");
    struct broker *broker = broker_of_files("");
    struct client *alice = CONNECT(AS("alice"));
    expect_publish_answer(alice, "b/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(alice, "b/x", RC_NOT_AUTHORIZED); /* it may be remembered */
    write_rules("allow user alice all a/#\nallow user alice all b/#\n");
    reload_for(broker, alice);
    expect_publish_answer(alice, "b/x", RC_SUCCESS);
    subscribe(alice, "b/x", 1);
    write_rules("allow user alice all b/#\n");
    reload_for(broker, alice);
    expect_publish_answer(alice, "a/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(alice, "b/y", RC_SUCCESS);
    expect_nothing(alice);
}

static void a_revoked_subscription_closes_its_connection_and_no_other(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow user alice all a/#\nallow user bob all a/#\nallow anonymous all a/#\n");
    struct broker *broker = broker_of_files("");
    struct client *alice = CONNECT(AS("alice"), .props = PROPS(prop_session_expiry(60)));
    subscribe(alice, "a/secret", 1);
    struct client *old = CONNECT(.version = MQTT_311, AS("alice"));
    subscribe(old, "a/secret", 1);
    struct client *idle = CONNECT(AS("alice")); /* without that subscription */
    subscribe(idle, "a/open", 1);
    struct client *bob = CONNECT(AS("bob"));
    subscribe(bob, "a/secret", 1);
    struct client *nobody = CONNECT();
    subscribe(nobody, "a/secret", 1);
    write_rules("deny user alice all a/secret\nallow user alice all a/#\n"
                "allow user bob all a/#\nallow anonymous all a/#\n");
    auth_reload(broker, true);
    expect_disconnect(alice, RC_NOT_AUTHORIZED);
    expect_closed(old);
    metric_expect(REVOKED, 2);
    metric_expect(CLOSED, 2);
    publish(bob, "a/open", "x", 1);
    expect_publish_and_ack(idle, "a/open", "x");
    publish(nobody, "a/secret", "x", 0);
    expect_publish_and_ack(nobody, "a/secret", "x");
    expect_publish_and_ack(bob, "a/secret", "x");
}

/* What was queued before is not for it any more, and what comes later neither. */
static void a_session_comes_back_without_what_was_revoked(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow user alice all a/#\nallow user bob all #\n");
    struct broker *broker = broker_of_files("");
    struct client *alice =
        CONNECT(.client_id = "kept", AS("alice"), .props = PROPS(prop_session_expiry(60)));
    subscribe(alice, "a/secret", 1);
    subscribe(alice, "a/open", 1);
    client_disconnect(alice);
    struct client *bob = CONNECT(AS("bob"));
    publish(bob, "a/secret", "before", 1);
    publish(bob, "a/open", "before", 1);
    write_rules("deny user alice all a/secret\nallow user alice all a/#\nallow user bob all #\n");
    auth_reload(broker, true);
    publish(bob, "a/secret", "between", 1);
    publish(bob, "a/open", "between", 1);
    alice = CONNECT(.client_id = "kept", .resume = true, AS("alice"),
                    .props = PROPS(prop_session_expiry(60)));
    assert_true(client_last(alice)->session_present);
    expect_publish_and_ack(alice, "a/open", "before");
    expect_publish_and_ack(alice, "a/open", "between");
    publish(bob, "a/secret", "after", 1);
    publish(bob, "a/open", "after", 1);
    expect_publish_and_ack(alice, "a/open", "after");
    expect_nothing(alice);
    metric_expect(REVOKED, 1);
    /* With the right back, the subscription is not: it must be asked for. */
    write_rules("allow user alice all a/#\nallow user bob all #\n");
    auth_reload(broker, true);
    publish(bob, "a/secret", "again", 1);
    expect_nothing(alice);
    subscribe(alice, "a/secret", 1);
    publish(bob, "a/secret", "asked for", 1);
    expect_publish_and_ack(alice, "a/secret", "asked for");
}

static void a_shared_subscription_is_revoked_and_its_messages_go_to_others(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow user alice all a/#\nallow user bob all a/#\n");
    struct broker *broker = broker_of_files("");
    struct client *alice = CONNECT(AS("alice"));
    subscribe(alice, "$share/g/a/work", 1);
    struct client *bob = CONNECT(AS("bob"));
    subscribe(bob, "$share/g/a/work", 1);
    write_rules("allow user bob all a/#\n");
    auth_reload(broker, true);
    expect_disconnect(alice, RC_NOT_AUTHORIZED);
    for (int i = 0; i < 6; i++) {
        publish(bob, "a/work", "x", 0);
        expect_publish_and_ack(bob, "a/work", "x");
    }
}

/* Its will must not be published with rights that are gone. */
static void a_will_that_is_not_allowed_any_more_is_dropped(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow user alice all w/#\nallow user bob all #\n");
    struct broker *broker = broker_of_files("");
    struct client *bob = CONNECT(AS("bob"));
    subscribe(bob, "w/#", 1);
    struct client *alice = CONNECT(AS("alice"), .will_topic = "w/bye", .will_payload = "bye");
    write_rules("allow user alice all other/#\nallow user bob all #\n");
    reload_for(broker, alice);
    expect_publish_answer(alice, "w/x", RC_NOT_AUTHORIZED); /* it is judged by the new rules now */
    client_drop(alice);
    expect_nothing(bob);
}

/* ---- users ----------------------------------------------------------------------------------- */

static void who_is_removed_or_has_another_password_is_put_out(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow all all #\n");
    struct broker *broker = broker_of_files("");
    struct client *alice = CONNECT(AS("alice"), .will_topic = "bye", .will_payload = "x");
    struct client *bob = CONNECT(AS("bob"));
    struct client *nobody = CONNECT();
    subscribe(nobody, "bye", 1);
    auth_write("users", "bob:%s\n", auth_hash_7("x"));
    auth_reload(broker, true);
    expect_disconnect(alice, RC_NOT_AUTHORIZED);
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, AS("alice"));
    settle(bob);
    auth_write("users", "bob:%s\n", auth_hash_7("another"));
    auth_reload(broker, true);
    expect_disconnect(bob, RC_NOT_AUTHORIZED);
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, AS("bob"));
    client_disconnect(CONNECT(.user = "bob", .password = "another"));
    expect_nothing(nobody); /* no will: nobody is there any more who may publish it */
    metric_expect(CLOSED, 2);
}

static void other_groups_hold_at_once(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow group staff all s/#\n");
    struct broker *broker = broker_of_files("");
    struct client *alice = CONNECT(AS("alice"));
    struct client *bob = CONNECT(AS("bob"));
    subscribe(alice, "s/x", 1);
    expect_publish_answer(bob, "s/x", RC_NOT_AUTHORIZED);
    auth_write("users", "alice:%s\nbob:%s:staff\n", auth_hash_7("x"), auth_hash_7("x"));
    auth_reload(broker, true);
    expect_disconnect(alice, RC_NOT_AUTHORIZED); /* its subscription is gone */
    settle(bob);
    settle(bob);
    expect_publish_answer(bob, "s/x", RC_SUCCESS);
}

static void users_and_rules_of_the_configuration_are_read_again_too(void **state)
{
    (void)state;
    struct broker *broker =
        OWN_BROKER_YAML("auth:\n  enabled: true\n  failure_delay: 0\n  users:\n"
                        "  - {username: alice, password: x}\n  - {username: bob, password: x}\n"
                        "  acl:\n  - {topic_filter: a/#}\n",
                        NULL);
    struct client *alice = CONNECT(AS("alice"));
    struct client *bob = CONNECT(AS("bob"));
    expect_publish_answer(alice, "b/x", RC_NOT_AUTHORIZED);
    auth_broker_edit(broker, "topic_filter: a/#", "topic_filter: b/#");
    auth_broker_edit(broker, "{username: bob, password: x}", "{username: carol, password: x}");
    auth_reload(broker, true);
    expect_disconnect(bob, RC_NOT_AUTHORIZED);
    settle(alice);
    settle(alice);
    expect_publish_answer(alice, "b/x", RC_SUCCESS);
    client_disconnect(CONNECT(AS("carol")));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, AS("bob"));
}

static void anonymous_clients_are_put_out_when_they_are_not_allowed_any_more(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow all all #\n");
    struct broker *broker = broker_of_files("");
    struct client *nobody = CONNECT();
    struct client *alice = CONNECT(AS("alice"));
    auth_broker_edit(broker, "allow_anonymous: true", "allow_anonymous: false");
    auth_reload(broker, true);
    expect_disconnect(nobody, RC_NOT_AUTHORIZED);
    EXPECT_NO_LOGIN(RC_NOT_AUTHORIZED, .client_id = NULL);
    settle(alice);
}

/* ---- what can't be read ---------------------------------------------------------------------- */

/* Everything is as it was before: rights, connections, logins. */
static void expect_as_before(struct client *alice, struct client *bob)
{
    expect_publish_answer(alice, "a/x", RC_SUCCESS);
    expect_publish_answer(alice, "b/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(bob, "b/x", RC_SUCCESS);
    client_disconnect(CONNECT(AS("alice")));
    client_disconnect(CONNECT(AS("bob")));
}

static void what_is_broken_changes_nothing_and_is_logged(void **state)
{
    (void)state;
    static const char rules[] = "allow user alice all a/#\nallow user bob all b/#\n";
    write_users("");
    write_rules(rules);
    struct broker *broker = broker_of_files("");
    struct client *alice = CONNECT(AS("alice"));
    struct client *bob = CONNECT(AS("bob"));
    expect_as_before(alice, bob);

    auth_write("users", "bob:%s\nthis is no user\n", auth_hash_7("x"));
    auth_reload(broker, false);
    expect_log(broker, "users:2");
    expect_as_before(alice, bob);

    write_users("");
    write_rules("allow user alice all b/#\nallow nonsense\n");
    auth_reload(broker, false);
    expect_log(broker, "rules:2");
    expect_as_before(alice, bob);

    remove(auth_path("rules"));
    auth_reload(broker, false);
    expect_as_before(alice, bob);

    write_rules(rules);
    auth_broker_edit(broker, "failure_delay: 0", "failure_delay: never");
    auth_reload(broker, false);
    expect_log(broker, "failure_delay");
    expect_as_before(alice, bob);

    auth_broker_edit(broker, "failure_delay: never", "failure_delay: 0");
    auth_reload(broker, true);
    expect_as_before(alice, bob);
    assert_int_equal(broker_log_lines(broker, auth_hash_7("x")), 0);
}

/* A file that was cut to nothing is a mistake, and not the wish to put everybody out. */
static void an_empty_file_changes_nothing(void **state)
{
    (void)state;
    write_users("");
    write_rules("allow user alice all a/#\nallow user bob all b/#\n");
    struct broker *broker = broker_of_files("");
    struct client *alice = CONNECT(AS("alice"));
    struct client *bob = CONNECT(AS("bob"));
    write_rules("");
    auth_reload(broker, false);
    expect_as_before(alice, bob);
    write_rules("allow user alice all a/#\nallow user bob all b/#\n");
    auth_write("users", "%s", "# nobody\n");
    auth_reload(broker, false);
    expect_as_before(alice, bob);
}

static void what_no_rule_says_may_change_and_how_logins_are_done(void **state)
{
    (void)state;
    struct broker *broker =
        OWN_BROKER_YAML("auth:\n  enabled: true\n  no_match: allow\n  failure_delay: 0\n  users:\n"
                        "  - {username: alice, password: x}\n",
                        NULL);
    struct client *alice = CONNECT(AS("alice"));
    struct client *reader = CONNECT(AS("alice"));
    subscribe(reader, "anything", 0);
    expect_publish_answer(alice, "anything", RC_SUCCESS);
    auth_broker_edit(broker, "no_match: allow", "no_match: deny");
    auth_broker_edit(broker, "failure_delay: 0", "failure_delay: 300ms");
    auth_reload(broker, true);
    expect_publish(reader, "anything", "x");
    expect_disconnect(reader, RC_NOT_AUTHORIZED);
    settle(alice);
    settle(alice);
    expect_publish_answer(alice, "anything", RC_NOT_AUTHORIZED);
    assert_true(LOGIN_MS(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "y") >= 295);
}

/* Neither by mistake nor unseen: it needs a restart, and is said. */
static void a_reload_does_not_switch_authentication_on_or_off(void **state)
{
    (void)state;
    static const char on[] = "auth:\n  enabled: true\n  failure_delay: 0\n  users:\n"
                             "  - {username: alice, password: x}\n";
    static const char off[] = "auth:\n  enabled: false\n  failure_delay: 0\n  users:\n"
                              "  - {username: alice, password: x}\n";
    for (int i = 0; i < 2; i++) {
        struct broker *broker = broker_start_yaml(NULL, i == 0 ? on : off);
        assert_non_null(broker);
        client_use_port(broker_port(broker));
        auth_broker_edit(broker, i == 0 ? "enabled: true" : "enabled: false",
                         i == 0 ? "enabled: false" : "enabled: true");
        auth_reload(broker, i == 1); /* switching it off is refused, on is left for later */
        expect_log(broker, "auth.enabled");
        if (i == 0) {
            EXPECT_NO_LOGIN(RC_NOT_AUTHORIZED, .client_id = NULL);
            EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "y");
        } else {
            client_disconnect(CONNECT());
        }
        client_disconnect(CONNECT(AS("alice")));
        assert_true(broker_stop(broker));
    }
}

static void what_needs_a_restart_is_said(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER("limits.max_inflight: 20");
    struct client *c = CONNECT();
    auth_broker_edit(broker, "max_inflight: 20", "max_inflight: 21");
    auth_reload(broker, true);
    expect_log(broker, "limits.max_inflight");
    settle(c);
}

/* ---- a restart ------------------------------------------------------------------------------- */

/* Sessions that storage has kept know nothing of the rules of today. */
static void after_a_restart_with_other_rules_a_session_has_only_what_it_may(void **state)
{
    (void)state;
    char folder[300];
    snprintf(folder, sizeof(folder), "storage.wal_dir: %s", auth_path("wal"));
    write_users("");
    write_rules("allow user alice all a/#\nallow user bob all #\n");
    struct broker *broker = OWN_BROKER_YAML(
        auth_yaml("auth: {enabled: true, failure_delay: 0, password_file: %s, acl_file: %s}\n",
                  auth_path("users"), auth_path("rules")),
        "storage.engine: wal", folder);
    struct client *alice =
        CONNECT(.client_id = "kept", AS("alice"), .props = PROPS(prop_session_expiry(600)));
    subscribe(alice, "a/secret", 1);
    subscribe(alice, "a/open", 2);
    client_disconnect(alice);
    struct client *bob = CONNECT(AS("bob"));
    publish(bob, "a/secret", "before", 1);
    publish(bob, "a/open", "before", 2);
    publish_retained(bob, "a/secret", "retained", 1);
    client_close_all();
    assert_true(broker_end(broker, SIGTERM));
    write_rules("deny user alice all a/secret\nallow user alice all a/#\nallow user bob all #\n");
    assert_true(broker_start_again(broker));
    bob = CONNECT(AS("bob"));
    publish(bob, "a/secret", "between", 1);
    alice = CONNECT(.client_id = "kept", .resume = true, AS("alice"),
                    .props = PROPS(prop_session_expiry(600)));
    assert_true(client_last(alice)->session_present);
    expect_publish_and_ack(alice, "a/open", "before");
    publish(bob, "a/secret", "after", 1);
    expect_subscribe_answer(alice, "a/secret", RC_NOT_AUTHORIZED);
    publish(bob, "a/open", "after", 1);
    expect_publish_and_ack(alice, "a/open", "after");
    expect_nothing(alice);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void thousands_of_connections_stay_through_many_reloads(void **state)
{
    (void)state;
    enum { COUNT = 2000, RELOADS = 10 };
    static struct client *many[COUNT];
    write_users("");
    write_rules("allow user alice all a/%c/#\nallow user alice all shared\n");
    struct broker *broker = broker_of_files("");
    for (size_t i = 0; i < COUNT; i++) {
        char id[32];
        snprintf(id, sizeof(id), "many-%zu", i);
        many[i] = LOGIN(.client_id = id, AS("alice"));
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(expect_packet(many[i], PKT_CONNACK)->reason, RC_SUCCESS);
        char filter[64];
        snprintf(filter, sizeof(filter), "a/many-%zu/+", i);
        subscribe(many[i], filter, 1);
    }
    struct client *watcher = CONNECT(AS("alice"));
    subscribe(watcher, "shared", 1);
    for (int i = 0; i < RELOADS; i++) {
        write_rules(i % 2 == 0 ? "allow all all other\nallow user alice all a/%c/#\n"
                                 "allow user alice all shared\n"
                               : "allow user alice all a/%c/#\nallow user alice all shared\n");
        auth_reload(broker, true);
        publish(many[i], "shared", "x", 1); /* traffic goes on between */
        expect_publish_and_ack(watcher, "shared", "x");
    }
    for (size_t i = 0; i < COUNT; i += 7) {
        char topic[64];
        snprintf(topic, sizeof(topic), "a/many-%zu/x", i);
        publish(many[i], topic, "x", 0);
        expect_publish_and_ack(many[i], topic, "x");
    }
    metric_expect("mqtt_connections_current", COUNT + 1);
    metric_expect(REVOKED, 0);
    write_rules("allow user alice all shared\n");
    auth_reload(broker, true);
    metric_expect("mqtt_connections_current", 1);
    metric_expect(REVOKED, COUNT);
}

/* Logins that are under way while the files change are judged by one state of them, not by both. */
static void logins_and_reloads_may_meet(void **state)
{
    (void)state;
    enum { ROUNDS = 10, EACH = 30 };
    struct client *logins[EACH];
    write_users("");
    write_rules("allow all all #\n");
    struct broker *broker = broker_of_files("");
    for (int round = 0; round < ROUNDS; round++) {
        const char *password = round % 2 == 0 ? "x" : "other";
        for (size_t i = 0; i < EACH; i++) {
            logins[i] = LOGIN(.user = "alice", .password = password);
        }
        auth_write("users", "alice:%s\nbob:%s\n", auth_hash_7(round % 2 == 0 ? "other" : "x"),
                   auth_hash_7("x"));
        auth_reload(broker, true);
        for (size_t i = 0; i < EACH; i++) {
            const struct packet *connack = expect_packet(logins[i], PKT_CONNACK);
            if (connack->reason == RC_SUCCESS) {
                expect_disconnect(logins[i], RC_NOT_AUTHORIZED); /* its password is another now */
            } else {
                assert_int_equal(connack->reason, RC_BAD_USER_OR_PASSWORD);
            }
            client_close(logins[i]);
        }
    }
    client_disconnect(CONNECT(AS("bob")));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(rules_that_are_new_hold_for_connections_that_there_are),
        TEST(a_revoked_subscription_closes_its_connection_and_no_other),
        TEST(a_session_comes_back_without_what_was_revoked),
        TEST(a_shared_subscription_is_revoked_and_its_messages_go_to_others),
        TEST(a_will_that_is_not_allowed_any_more_is_dropped),
        TEST(who_is_removed_or_has_another_password_is_put_out),
        TEST(other_groups_hold_at_once),
        TEST(users_and_rules_of_the_configuration_are_read_again_too),
        TEST(anonymous_clients_are_put_out_when_they_are_not_allowed_any_more),
        TEST(what_is_broken_changes_nothing_and_is_logged),
        TEST(an_empty_file_changes_nothing),
        TEST(what_no_rule_says_may_change_and_how_logins_are_done),
        TEST(a_reload_does_not_switch_authentication_on_or_off),
        TEST(what_needs_a_restart_is_said),
        TEST(after_a_restart_with_other_rules_a_session_has_only_what_it_may),
        TEST(thousands_of_connections_stay_through_many_reloads),
        TEST(logins_and_reloads_may_meet),
    };
    return RUN_SUITE("reload", tests, NULL);
}
