/* What clients may do: rules for publish, subscribe, will and retained messages. docs/acl.md. */
#include "tests/integration/auth_support.h"
#include "tests/integration/certificates.h"
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>

#define DROPPED "pulse_messages_dropped_total{reason=\"not_authorized\"}"
#define DENIED_SUBSCRIBE "pulse_acl_denied_total{action=\"subscribe\"}"
#define DENIED_WILL "pulse_acl_denied_total{action=\"will\"}"

/* Users alice (group staff), bob and admin, each with the password "x"; rules are `acl`. */
static struct broker *broker_with(const char *acl)
{
    return OWN_BROKER_YAML(
        auth_yaml("auth:\n  enabled: true\n  allow_anonymous: true\n  failure_delay: 0\n"
                  "  users:\n  - {username: alice, password: x, groups: \"staff,night\"}\n"
                  "  - {username: bob, password: x}\n  - {username: admin, password: x}\n"
                  "  acl:\n%s",
                  acl),
        "observability.sys_interval: 1s");
}

#define AS(name) .user = (name), .password = "x"

/* ---- publish --------------------------------------------------------------------------------- */

static const char publish_rules[] = "  - {username: admin, topic_filter: \"#\"}\n"
                                    "  - {username: alice, action: publish, topic_filter: ok/#}\n";

static void a_denied_publish_is_answered_by_its_qos(void **state)
{
    (void)state;
    broker_with(publish_rules);
    struct client *watcher = CONNECT(AS("admin"));
    subscribe(watcher, "#", 2);
    struct client *c = CONNECT(AS("alice"));
    PUBLISH(c, .topic = "no/0", .payload = "x");
    PUBLISH(c, .topic = "no/1", .payload = "x", .qos = 1, .id = 11);
    expect_ack(c, PKT_PUBACK, 11, RC_NOT_AUTHORIZED);
    PUBLISH(c, .topic = "no/2", .payload = "x", .qos = 2, .id = 12);
    expect_ack(c, PKT_PUBREC, 12, RC_NOT_AUTHORIZED);
    PUBLISH(c, .topic = "no/2", .payload = "x", .qos = 2, .id = 12); /* the id is free again */
    expect_ack(c, PKT_PUBREC, 12, RC_NOT_AUTHORIZED);
    metric_expect(DROPPED, 4);
    publish(c, "ok/1", "fine", 2);
    expect_publish_and_ack(watcher, "ok/1", "fine");
    expect_nothing(watcher);
}

/* 3.x can't be told: acknowledged and dropped. */
static void a_denied_publish_of_3_1_1_is_acknowledged_and_dropped(void **state)
{
    (void)state;
    broker_with(publish_rules);
    struct client *watcher = CONNECT(AS("admin"));
    subscribe(watcher, "#", 2);
    static const uint8_t versions[] = {MQTT_31, MQTT_311};
    for (size_t i = 0; i < 2; i++) {
        struct client *c = CONNECT(.version = versions[i], AS("alice"));
        publish(c, "no/0", "x", 0);
        publish(c, "no/1", "x", 1);
        publish(c, "no/2", "x", 2);
        publish(c, "ok/2", "fine", 2);
        expect_publish_and_ack(watcher, "ok/2", "fine");
        client_disconnect(c);
    }
    metric_expect(DROPPED, 6);
    expect_nothing(watcher);
}

static void a_denied_retained_message_is_not_kept_and_deletes_nothing(void **state)
{
    (void)state;
    broker_with(publish_rules);
    struct client *admin = CONNECT(AS("admin"));
    publish_retained(admin, "no/kept", "stays", 1);
    struct client *c = CONNECT(AS("alice"));
    PUBLISH(c, .topic = "no/kept", .payload = "mine", .qos = 1, .id = 1, .retain = true);
    expect_ack(c, PKT_PUBACK, 1, RC_NOT_AUTHORIZED);
    PUBLISH(c, .topic = "no/kept", .qos = 1, .id = 2, .retain = true);
    expect_ack(c, PKT_PUBACK, 2, RC_NOT_AUTHORIZED);
    SUBSCRIBE(admin, .id = 9, .filters = FILTERS({"no/#", 0}));
    EXPECT_SUBACK(admin, 9, 0);
    expect_publish(admin, "no/kept", "stays");
    expect_nothing(admin);
}

/* What counts is the topic that the alias stands for, each time. */
static void topic_aliases_do_not_go_round_the_rules(void **state)
{
    (void)state;
    broker_with(publish_rules);
    struct client *c = CONNECT(AS("alice"));
    PUBLISH(c, .topic = "no/a", .qos = 1, .id = 1, .props = PROPS(prop_topic_alias(1)));
    expect_ack(c, PKT_PUBACK, 1, RC_NOT_AUTHORIZED);
    PUBLISH(c, .qos = 1, .id = 2, .props = PROPS(prop_topic_alias(1)));
    expect_ack(c, PKT_PUBACK, 2, RC_NOT_AUTHORIZED);
    PUBLISH(c, .topic = "ok/a", .qos = 1, .id = 3, .props = PROPS(prop_topic_alias(1)));
    expect_ack(c, PKT_PUBACK, 3, RC_NO_MATCHING_SUBSCRIBERS);
    PUBLISH(c, .qos = 1, .id = 4, .props = PROPS(prop_topic_alias(1)));
    expect_ack(c, PKT_PUBACK, 4, RC_NO_MATCHING_SUBSCRIBERS);
    PUBLISH(c, .topic = "no/a", .qos = 1, .id = 5, .props = PROPS(prop_topic_alias(1)));
    expect_ack(c, PKT_PUBACK, 5, RC_NOT_AUTHORIZED);
    PUBLISH(c, .qos = 2, .id = 6, .props = PROPS(prop_topic_alias(1)));
    expect_ack(c, PKT_PUBREC, 6, RC_NOT_AUTHORIZED);
}

/* ---- subscribe ------------------------------------------------------------------------------- */

static const char subscribe_rules[] =
    "  - {username: admin, topic_filter: \"#\"}\n"
    "  - {permission: deny, action: subscribe, topic_filter: plant/+/keys}\n"
    "  - {action: subscribe, topic_filter: plant/#}\n";

static void each_filter_of_a_subscribe_has_its_own_answer(void **state)
{
    (void)state;
    broker_with(subscribe_rules);
    for (int i = 0; i < 2; i++) {
        uint8_t no = i == 0 ? RC_NOT_AUTHORIZED : 0x80;
        struct client *c = CONNECT(.version = i == 0 ? MQTT_50 : MQTT_311, AS("alice"));
        SUBSCRIBE(c, .id = 5,
                  .filters = FILTERS({"plant/1/temp", 1}, {"plant/#", 1}, {"plant/1/keys", 0},
                                     {"other", 2}, {"plant/1/+", 1}, {"plant/2/level", 2}, {"#", 0},
                                     {"+/+/+", 0}));
        EXPECT_SUBACK(c, 5, 1, no, no, no, no, 2, no, no);
        client_disconnect(c);
    }
    metric_expect(DENIED_SUBSCRIBE, 12);
}

static void messages_come_only_for_what_was_granted(void **state)
{
    (void)state;
    broker_with(subscribe_rules);
    struct client *c = CONNECT(AS("bob"));
    SUBSCRIBE(c, .id = 5, .filters = FILTERS({"plant/1/temp", 1}, {"plant/1/keys", 1}, {"#", 1}));
    EXPECT_SUBACK(c, 5, 1, RC_NOT_AUTHORIZED, RC_NOT_AUTHORIZED);
    struct client *admin = CONNECT(AS("admin"));
    publish(admin, "plant/1/keys", "secret", 1);
    publish(admin, "other", "secret", 1);
    publish(admin, "plant/1/temp", "21", 1);
    expect_publish_and_ack(c, "plant/1/temp", "21");
    expect_nothing(c);
}

static void shared_subscriptions_are_judged_by_their_filter(void **state)
{
    (void)state;
    broker_with(subscribe_rules);
    struct client *c = CONNECT(AS("bob"));
    expect_subscribe_answer(c, "$share/group/plant/1/temp", RC_SUCCESS);
    expect_subscribe_answer(c, "$share/group/plant/1/keys", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(c, "$share/plant/other", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(c, "$share/group/#", RC_NOT_AUTHORIZED);
    struct client *old = CONNECT(.version = MQTT_311, AS("bob"));
    expect_subscribe_answer(old, "$share/group/plant/1/keys", 0x80);
    struct client *admin = CONNECT(AS("admin"));
    publish(admin, "plant/1/keys", "secret", 1);
    publish(admin, "plant/1/temp", "21", 1);
    expect_publish_and_ack(c, "plant/1/temp", "21");
    expect_nothing(c);
    expect_nothing(old);
}

static void retained_messages_are_replayed_by_the_rules(void **state)
{
    (void)state;
    broker_with("  - {username: admin, topic_filter: \"#\"}\n"
                "  - {action: subscribe, username: bob, topic_filter: news/#}\n");
    struct client *admin = CONNECT(AS("admin"));
    publish_retained(admin, "news/1", "one", 1);
    publish_retained(admin, "private/1", "secret", 1);
    struct client *c = CONNECT(AS("bob"));
    SUBSCRIBE(c, .id = 1, .filters = FILTERS({"private/#", 1}, {"#", 1}, {"news/+", 0}));
    EXPECT_SUBACK(c, 1, RC_NOT_AUTHORIZED, RC_NOT_AUTHORIZED, 0);
    expect_publish(c, "news/1", "one");
    expect_nothing(c);
}

/* The topics below $SYS are for those with a rule that has the $SYS itself. */
static void the_topics_of_sys_need_a_rule_of_their_own(void **state)
{
    (void)state;
    broker_with("  - {username: admin, topic_filter: \"$SYS/#\"}\n  - {topic_filter: \"#\"}\n");
    struct client *bob = CONNECT(AS("bob"));
    expect_subscribe_answer(bob, "$SYS/#", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(bob, "$SYS/broker/version", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(bob, "+/broker/version", RC_SUCCESS);
    expect_subscribe_answer(bob, "#", RC_SUCCESS);
    struct client *admin = CONNECT(AS("admin"));
    SUBSCRIBE(admin, .id = 1, .filters = FILTERS({"$SYS/#", 0}));
    EXPECT_SUBACK(admin, 1, 0);
    assert_int_equal(strncmp(expect_packet(admin, PKT_PUBLISH)->topic, "$SYS/", 5), 0);
    expect_publish_answer(CONNECT(AS("admin")), "$SYS/broker/version", RC_NOT_AUTHORIZED);
}

/* ---- will ------------------------------------------------------------------------------------ */

static void a_will_that_may_not_be_is_refused_at_connect(void **state)
{
    (void)state;
    broker_with(publish_rules);
    EXPECT_NO_LOGIN(RC_NOT_AUTHORIZED, .client_id = "w", AS("alice"), .will_topic = "no/will",
                    .will_payload = "bye");
    EXPECT_NO_LOGIN(5, .version = MQTT_311, AS("alice"), .will_topic = "no/will",
                    .will_payload = "bye");
    metric_expect(DENIED_WILL, 2);
    metric_expect("pulse_sessions_current", 0);
    struct client *watcher = CONNECT(AS("admin"));
    subscribe(watcher, "#", 1);
    struct client *c = CONNECT(AS("alice"), .will_topic = "ok/will", .will_payload = "bye");
    client_drop(c);
    expect_publish(watcher, "ok/will", "bye");
}

/* A client that was refused for its will has taken nothing over. */
static void a_refused_will_ends_no_other_connection(void **state)
{
    (void)state;
    broker_with(publish_rules);
    struct client *c = CONNECT(.client_id = "same", AS("alice"));
    EXPECT_NO_LOGIN(RC_NOT_AUTHORIZED, .client_id = "same", AS("alice"), .will_topic = "no/will",
                    .will_payload = "bye");
    settle(c);
}

/* ---- who a rule is for ----------------------------------------------------------------------- */

static void rules_may_be_for_users_groups_and_those_without_a_name(void **state)
{
    (void)state;
    broker_with("  - {permission: deny, group: night, topic_filter: staff/day/#}\n"
                "  - {group: staff, topic_filter: staff/#}\n"
                "  - {username: bob, action: publish, topic_filter: bob/#}\n"
                "  - {anonymous: true, action: subscribe, topic_filter: public/#}\n");
    struct client *alice = CONNECT(AS("alice"));
    expect_publish_answer(alice, "staff/x", RC_SUCCESS);
    expect_publish_answer(alice, "staff/day/x", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(alice, "staff/#", RC_NOT_AUTHORIZED); /* some of it is not for it */
    expect_subscribe_answer(alice, "staff/x/#", RC_SUCCESS);
    expect_publish_answer(alice, "bob/x", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(alice, "public/x", RC_NOT_AUTHORIZED);
    struct client *bob = CONNECT(AS("bob"));
    expect_publish_answer(bob, "bob/x", RC_SUCCESS);
    expect_subscribe_answer(bob, "bob/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(bob, "staff/x", RC_NOT_AUTHORIZED);
    struct client *nobody = CONNECT();
    expect_subscribe_answer(nobody, "public/x", RC_SUCCESS);
    expect_publish_answer(nobody, "public/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(nobody, "staff/x", RC_NOT_AUTHORIZED);
}

static void without_a_rule_it_is_denied(void **state)
{
    (void)state;
    broker_with("  - {permission: deny, topic_filter: secret/#}\n");
    struct client *c = CONNECT(AS("bob"));
    expect_publish_answer(c, "anything", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(c, "anything", RC_NOT_AUTHORIZED);
}

static void no_match_allow_lets_through_what_no_rule_denies(void **state)
{
    (void)state;
    OWN_BROKER_YAML("auth:\n  enabled: true\n  allow_anonymous: true\n  no_match: allow\n"
                    "  acl:\n  - {permission: deny, topic_filter: secret/#}\n",
                    NULL);
    struct client *c = CONNECT();
    expect_publish_answer(c, "anything", RC_SUCCESS);
    expect_subscribe_answer(c, "anything/#", RC_SUCCESS);
    expect_publish_answer(c, "secret/x", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(c, "secret/x", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(c, "#", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(c, "+/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "$SYS/x", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(c, "$SYS/#", RC_SUCCESS);
}

/* ---- values of the client -------------------------------------------------------------------- */

static const char value_rules[] = "  - {permission: deny, topic_filter: id/%c/closed}\n"
                                  "  - {topic_filter: id/%c/#}\n"
                                  "  - {topic_filter: user/%u/#}\n"
                                  "  - {topic_filter: both/dev-%c/%u}\n"
                                  "  - {topic_filter: 100%%/x}\n";

static void the_client_id_and_user_name_stand_for_themselves(void **state)
{
    (void)state;
    broker_with(value_rules);
    struct client *c = CONNECT(.client_id = "c1", AS("alice"));
    expect_publish_answer(c, "id/c1/x", RC_SUCCESS);
    expect_publish_answer(c, "id/c1/closed", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "id/c2/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "id/%c/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "user/alice/x", RC_SUCCESS);
    expect_publish_answer(c, "user/bob/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "both/dev-c1/alice", RC_SUCCESS);
    expect_publish_answer(c, "both/dev-c1/bob", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "100%/x", RC_SUCCESS);
    expect_subscribe_answer(c, "user/alice/#", RC_SUCCESS);
    expect_subscribe_answer(c, "user/+/x", RC_NOT_AUTHORIZED);
    struct client *nobody = CONNECT(.client_id = "c1");
    expect_publish_answer(nobody, "user//x", RC_NOT_AUTHORIZED);
    expect_publish_answer(nobody, "user/alice/x", RC_NOT_AUTHORIZED);
}

/* A client chooses its id: it must not become a wildcard, a level more, or another value. */
static void strange_client_ids_give_no_rights(void **state)
{
    (void)state;
    broker_with(value_rules);
    static const char *const odd[] = {"#", "+", "a/b", "%u", "%c", "/", "", "$SYS", "+/#"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        test_case(odd[i]);
        struct client *c = CONNECT(.client_id = odd[i], AS("bob"));
        expect_publish_answer(c, "id/other/x", RC_NOT_AUTHORIZED);
        expect_publish_answer(c, "id/a/b", RC_NOT_AUTHORIZED);
        expect_publish_answer(c, "id/bob/x", RC_NOT_AUTHORIZED);
        expect_subscribe_answer(c, "id/#", RC_NOT_AUTHORIZED);
        expect_subscribe_answer(c, "id/+/x", RC_NOT_AUTHORIZED);
        expect_subscribe_answer(c, "id/other/#", RC_NOT_AUTHORIZED);
        expect_publish_answer(c, "user/bob/x", RC_SUCCESS);
        client_disconnect(c);
    }
}

static void fields_of_the_certificate_stand_in_rules(void **state)
{
    (void)state;
    OWN_BROKER_YAML(auth_yaml("%sauth:\n  enabled: true\n  allow_anonymous: true\n  acl:\n"
                              "  - {topic_filter: \"cn/%%C/#\"}\n"
                              "  - {topic_filter: \"o/%%O/ou/%%U/#\"}\n",
                              mutual_yaml("optional", "")),
                    NULL);
    struct secure_way way = tls_way_as("client");
    struct client *c = SECURE_CONNECT(&way);
    expect_publish_answer(c, "cn/device-1/x", RC_SUCCESS);
    expect_publish_answer(c, "cn/device-2/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "o/Pulse Works/ou/line 4/x", RC_SUCCESS);
    expect_publish_answer(c, "o/Pulse Works/ou/line 5/x", RC_NOT_AUTHORIZED);
    struct secure_way bare = tls_way();
    struct client *none = SECURE_CONNECT(&bare);
    expect_publish_answer(none, "cn/device-1/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(none, "cn//x", RC_NOT_AUTHORIZED);
    expect_publish_answer(none, "o//ou//x", RC_NOT_AUTHORIZED);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void rules_of_a_file_come_behind_those_of_the_configuration(void **state)
{
    (void)state;
    const char *file = auth_write("rules", "# a comment\n\nallow anonymous all open/#\n"
                                           "allow all publish \"a blank/+\"\n"
                                           "allow all all conflict\ndeny all all #\n");
    OWN_BROKER_YAML(auth_yaml("auth:\n  enabled: true\n  allow_anonymous: true\n  acl_file: %s\n"
                              "  acl:\n  - {permission: deny, topic_filter: conflict}\n",
                              file),
                    NULL);
    struct client *c = CONNECT();
    expect_publish_answer(c, "open/x", RC_SUCCESS);
    expect_publish_answer(c, "a blank/x", RC_SUCCESS);
    expect_subscribe_answer(c, "a blank/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "conflict", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "other", RC_NOT_AUTHORIZED);
}

static void a_file_of_mosquitto_is_understood(void **state)
{
    (void)state;
    const char *file = auth_write(
        "mosquitto", "format mosquitto\ntopic read public/#\nuser bob\n"
                     "topic write bob/#\ntopic deny bob/closed\npattern readwrite %%u/own/%%c\n");
    OWN_BROKER_YAML(auth_yaml("auth:\n  enabled: true\n  allow_anonymous: true\n  acl_file: %s\n"
                              "  users:\n  - {username: bob, password: x}\n",
                              file),
                    NULL);
    struct client *bob = CONNECT(.client_id = "c1", AS("bob"));
    expect_publish_answer(bob, "bob/x", RC_SUCCESS);
    expect_publish_answer(bob, "bob/closed", RC_NOT_AUTHORIZED);
    expect_subscribe_answer(bob, "bob/x", RC_NOT_AUTHORIZED);
    expect_publish_answer(bob, "bob/own/c1", RC_SUCCESS);
    expect_subscribe_answer(bob, "bob/own/c1", RC_SUCCESS);
    expect_subscribe_answer(bob, "bob/own/c2", RC_NOT_AUTHORIZED);
    struct client *nobody = CONNECT();
    expect_subscribe_answer(nobody, "public/x", RC_SUCCESS);
    expect_publish_answer(nobody, "public/x", RC_NOT_AUTHORIZED);
}

static void a_bad_file_of_rules_keeps_the_broker_from_starting(void **state)
{
    (void)state;
    static const char *const bad[] = {"allow\n",
                                      "permit all all #\n",
                                      "allow all read #\n",
                                      "allow all all a#\n",
                                      "allow all all a/b c\n",
                                      "allow user all #\n",
                                      "allow all all $share/g/x\n",
                                      "allow all all %u-%c\n",
                                      "allow all all \"open\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        test_case(bad[i]);
        const char *file = auth_write("bad.acl", "allow all all x\n%s", bad[i]);
        assert_true(broker_refuses(
            NULL, auth_yaml("auth: {enabled: true, allow_anonymous: true, acl_file: %s}\n", file),
            "bad.acl:2"));
    }
    assert_true(
        broker_refuses(NULL,
                       auth_yaml("auth: {enabled: true, allow_anonymous: true, acl_file: %s}\n",
                                 auth_write("empty.acl", "# nothing\n")),
                       "empty.acl"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_denied_publish_is_answered_by_its_qos),
        TEST(a_denied_publish_of_3_1_1_is_acknowledged_and_dropped),
        TEST(a_denied_retained_message_is_not_kept_and_deletes_nothing),
        TEST(topic_aliases_do_not_go_round_the_rules),
        TEST(each_filter_of_a_subscribe_has_its_own_answer),
        TEST(messages_come_only_for_what_was_granted),
        TEST(shared_subscriptions_are_judged_by_their_filter),
        TEST(retained_messages_are_replayed_by_the_rules),
        TEST(the_topics_of_sys_need_a_rule_of_their_own),
        TEST(a_will_that_may_not_be_is_refused_at_connect),
        TEST(a_refused_will_ends_no_other_connection),
        TEST(rules_may_be_for_users_groups_and_those_without_a_name),
        TEST(without_a_rule_it_is_denied),
        TEST(no_match_allow_lets_through_what_no_rule_denies),
        TEST(the_client_id_and_user_name_stand_for_themselves),
        TEST(strange_client_ids_give_no_rights),
        TEST(fields_of_the_certificate_stand_in_rules),
        TEST(rules_of_a_file_come_behind_those_of_the_configuration),
        TEST(a_file_of_mosquitto_is_understood),
        TEST(a_bad_file_of_rules_keeps_the_broker_from_starting),
    };
    return RUN_SUITE("acl", tests, NULL);
}
