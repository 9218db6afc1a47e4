#include <unistd.h>

#include "base/mem.h"
#include "base/reclaim.h"
#include "codec/mqtt.h"
#include "node/auth/auth.h"
#include "node/reload.h"
#include "tests/unit/node/login_support.h"

/*
 * alice may do everything below "home" and "shared"; bob everything below "shared". Both may use
 * each other's client ids, which is what much of this is about.
 */
#define HEAD                                 \
    "auth:\n"                                \
    "  enabled: true\n"                      \
    "  failure_delay: 0\n"                   \
    "  users:\n"                             \
    "    - {username: alice, password: a}\n" \
    "    - {username: bob, password: b}\n"   \
    "    - {username: carol, password: c}\n" \
    "  acl:\n"                               \
    "    - {topic_filter: \"shared/#\"}\n"
#define HOME "    - {username: alice, topic_filter: \"home/#\"}\n"

static const char both[] = HEAD HOME;
static const char nobody_home[] = HEAD;
static const char no_alice[] = "auth:\n"
                               "  enabled: true\n"
                               "  users:\n"
                               "    - {username: bob, password: b}\n"
                               "  acl:\n"
                               "    - {topic_filter: \"shared/#\"}\n";

static struct rig rig;
static struct client alice;
static struct client bob;
static struct client others[400];
static struct reload reload;
static char *no_environment[] = {NULL};

static void start(unsigned workers)
{
    login_rig_start(&rig, workers, both);
    reload = (struct reload){.environment = no_environment};
    reload.argv = login_rig_argv(&reload.argc);
    alice.fd = bob.fd = -1;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        others[i].fd = -1;
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

static void leave(struct client *client)
{
    if (client->fd >= 0) {
        client_vanish(client);
    }
}

static int tear_down(void **state)
{
    (void)state;
    leave(&alice);
    leave(&bob);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        leave(&others[i]);
    }
    login_rig_stop(&rig);
    reload_fini(&reload);
    return 0;
}

static uint8_t come(struct client *client, const char *user, const char *id)
{
    char password[2] = {user[0], '\0'};
    return login_connect(
        client, &rig,
        (struct login_wish){.id = id, .user = user, .password = password, .session_expiry = 1000});
}

/* Recheck is what broker_recheck lets each worker do, had it a thread. */
static void take_over(const char *yaml)
{
    login_rig_rewrite(yaml);
    assert_int_equal(reload_now(&reload, rig.broker), ERR_OK);
    conn_recheck_all(rig.worker);
}

static void publish_by_node(const char *topic, uint8_t qos)
{
    struct message *message = make_message(topic, slice_text("secret"));
    message->qos = qos;
    struct delivery delivery = {.qos = qos};
    deliver_to(&alice, message, delivery, 1);
    message_unref(message);
}

/* ---- a session and another user -------------------------------------------------------------- */

/* alice's client "id" has received QoS 2 and not answered; then bob comes with that id. */
static void what_was_sent_is_not_sent_again_to_who_may_not_have_it(void **state)
{
    (void)state;
    assert_int_equal(come(&alice, "alice", "id"), 0);
    publish_by_node("home/door", 2);
    publish_by_node("shared/news", 2);
    rig_turn(&rig);
    uint16_t first = client_expect_publish(&alice).packet_id;
    uint16_t second = client_expect_publish(&alice).packet_id;

    assert_int_equal(come(&bob, "bob", "id"), 0);
    struct packet packet = login_await(&bob, MQTT_PUBREL); /* instead of PUBLISH */
    assert_int_equal(packet.body.data[0] << 8 | packet.body.data[1], first);
    packet = login_await(&bob, MQTT_PUBLISH);
    assert_int_equal(packet.packet_id, second);
    assert_true(slice_equal(packet.topic, slice_text("shared/news")));
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_NOT_AUTHORIZED), 1);

    client_ack(&bob, MQTT_PUBCOMP, first);
    client_ack(&bob, MQTT_PUBREC, second);
    login_await(&bob, MQTT_PUBREL);
    client_ack(&bob, MQTT_PUBCOMP, second);
    rig_turn(&rig);
    assert_int_equal(rig_metric(&rig, METRIC_QOS2_INFLIGHT), 0);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED_BYTES), 0);
}

static void what_waits_does_not_come_to_who_may_not_have_it(void **state)
{
    (void)state;
    assert_int_equal(come(&alice, "alice", "id"), 0);
    struct session *session = alice.session;
    leave(&alice);
    rig_turn(&rig);
    assert_null(session->conn);
    alice.session = session;
    publish_by_node("home/door", 1);
    publish_by_node("shared/news", 1);
    publish_by_node("home/window", 2);
    alice.session = NULL;

    assert_int_equal(come(&bob, "bob", "id"), 0);
    struct packet packet = login_await(&bob, MQTT_PUBLISH);
    assert_true(slice_equal(packet.topic, slice_text("shared/news")));
    client_ack(&bob, MQTT_PUBACK, packet.packet_id);
    rig_turn(&rig);
    client_expect_nothing(&bob);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_NOT_AUTHORIZED), 2);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 0);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED_BYTES), 0);
}

static void subscriptions_of_another_user_end_unless_they_are_allowed(void **state)
{
    (void)state;
    assert_int_equal(come(&alice, "alice", "id"), 0);
    assert_int_equal(login_subscribe(&alice, "home/#", 1), 1);
    assert_int_equal(login_subscribe(&alice, "shared/+", 1), 1);
    assert_int_equal(login_subscribe(&alice, "$share/g/home/+", 1), 1);
    assert_int_equal(login_subscribe(&alice, "#", 1), MQTT_REASON_NOT_AUTHORIZED);
    assert_int_equal(login_subscribe(&alice, "$share/g/#", 1), MQTT_REASON_NOT_AUTHORIZED);
    assert_int_equal(come(&bob, "bob", "id"), 0);
    assert_int_equal(bob.session->subscription_count, 1);
    assert_int_equal(rig_metric(&rig, METRIC_SUBSCRIPTIONS_REVOKED), 2);
    /* and alice does not get them back by coming again */
    assert_int_equal(come(&alice, "alice", "id"), 0);
    assert_int_equal(alice.session->subscription_count, 1);
}

static void id_on_worker(unsigned worker, char id[static 32])
{
    unsigned i = 0;
    do {
        snprintf(id, 32, "id%u", i++);
    } while (broker_worker_of(rig.broker, slice_text(id)) != worker);
}

/* A message of a shared subscription is on its way to a member on another worker, and behind the
 * letter that lets bob have the member's session. */
static void a_shared_message_does_not_come_to_who_took_the_member_over(void **state)
{
    (void)state;
    struct worker *second = rig.broker->workers[1];
    char id[32];
    id_on_worker(1, id);
    assert_int_equal(come(&alice, "alice", id), 0);
    assert_int_equal(login_subscribe(&alice, "$share/g/home/#", 0), 0);
    id_on_worker(0, id);
    assert_int_equal(come(&others[0], "alice", id), 0);

    id_on_worker(1, id);
    struct login_wish wish = {.id = id, .user = "bob", .password = "b", .session_expiry = 1000};
    login_come(&bob, &rig, NULL, NULL);
    login_send_connect(&bob, &wish);
    do {
        uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    } while (second->mailbox.newest == NULL); /* the connection moves */
    struct conn *before = list_entry(second->conns.prev, struct conn, of_worker);
    do {
        uv_run(&second->loop, UV_RUN_NOWAIT);
    } while (list_entry(second->conns.prev, struct conn, of_worker) == before);
    uint64_t end = clock_mono_ms() + 10000;
    while (second->mailbox.newest == NULL) { /* auth answers */
        assert_true(clock_mono_ms() < end);
        usleep(100);
    }
    client_publish(&others[0], "home/door", 0, 0, slice_text("secret"));
    int64_t handed = rig_metric(&rig, METRIC_PUBLISH_IN_QOS0);
    while (rig_metric(&rig, METRIC_PUBLISH_IN_QOS0) == handed) {
        uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    }
    uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    assert_int_equal(login_await(&bob, MQTT_CONNACK).body.data[1], 0);
    rig_turn(&rig);
    client_expect_nothing(&bob);
    assert_int_equal(rig_metric(&rig, METRIC_SHARED_DISPATCH), 0);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_NO_MEMBER), 1);
}

static void carol_with_the_rights_of_bob_keeps_his_session(void **state)
{
    (void)state;
    assert_int_equal(come(&bob, "bob", "id"), 0);
    assert_int_equal(login_subscribe(&bob, "shared/#", 1), 1);
    assert_int_equal(come(&alice, "carol", "id"), 0);
    assert_int_equal(alice.session->subscription_count, 1);
}

/* ---- PUBLISH --------------------------------------------------------------------------------- */

static void publish_with_alias(struct client *client, const char *topic, uint8_t alias,
                               uint16_t packet_id)
{
    uint8_t bytes[128];
    struct writer w = {.at = bytes, .end = bytes + sizeof(bytes)};
    *w.at++ = MQTT_PUBLISH << 4 | 2;
    *w.at++ = (uint8_t)(2 + strlen(topic) + 2 + 4);
    *w.at++ = 0;
    *w.at++ = (uint8_t)strlen(topic);
    memcpy(w.at, topic, strlen(topic));
    w.at += strlen(topic);
    *w.at++ = 0;
    *w.at++ = (uint8_t)packet_id;
    *w.at++ = 3;
    mqtt_prop_write_u16(&w, MQTT_PROP_TOPIC_ALIAS, alias);
    client_send(client, bytes, (size_t)(w.at - bytes));
}

static uint8_t reason_of(struct client *client, enum mqtt_packet type)
{
    struct packet packet = login_await(client, type);
    return packet.body.len > 2 ? packet.body.data[2] : 0;
}

static void a_topic_alias_is_no_way_around_the_rules(void **state)
{
    (void)state;
    assert_int_equal(come(&bob, "bob", "b"), 0);
    publish_with_alias(&bob, "home/door", 1, 1);
    assert_int_equal(reason_of(&bob, MQTT_PUBACK), MQTT_REASON_NOT_AUTHORIZED);
    publish_with_alias(&bob, "", 1, 2); /* the alias was taken over, the rights were not */
    assert_int_equal(reason_of(&bob, MQTT_PUBACK), MQTT_REASON_NOT_AUTHORIZED);
    publish_with_alias(&bob, "shared/a", 1, 3);
    assert_int_equal(reason_of(&bob, MQTT_PUBACK), MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    publish_with_alias(&bob, "", 1, 4);
    assert_int_equal(reason_of(&bob, MQTT_PUBACK), MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_NOT_AUTHORIZED), 2);
}

static void a_denied_qos_2_publish_leaves_no_packet_id_behind(void **state)
{
    (void)state;
    assert_int_equal(come(&bob, "bob", "b"), 0);
    client_publish(&bob, "home/door", 2, 7, slice_text("x"));
    assert_int_equal(reason_of(&bob, MQTT_PUBREC), MQTT_REASON_NOT_AUTHORIZED);
    client_publish(&bob, "shared/door", 2, 7, slice_text("x"));
    assert_int_equal(reason_of(&bob, MQTT_PUBREC), MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    client_ack(&bob, MQTT_PUBREL, 7);
    assert_int_equal(reason_of(&bob, MQTT_PUBCOMP), 0);
    assert_int_equal(rig_metric(&rig, METRIC_QOS2_INFLIGHT), 0);
}

/* What was accepted stays accepted: else its id would stay in use, and swallow the next message. */
static void a_qos_2_publish_that_comes_again_is_not_judged_again(void **state)
{
    (void)state;
    assert_int_equal(come(&alice, "alice", "a"), 0);
    client_publish(&alice, "home/door", 2, 7, slice_text("x"));
    assert_int_equal(reason_of(&alice, MQTT_PUBREC), MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    take_over(nobody_home);
    rig_turn(&rig);
    client_publish(&alice, "home/door", 2, 7, slice_text("x"));
    assert_int_equal(reason_of(&alice, MQTT_PUBREC), 0);
    client_ack(&alice, MQTT_PUBREL, 7);
    assert_int_equal(reason_of(&alice, MQTT_PUBCOMP), 0);
    client_publish(&alice, "home/door", 2, 8, slice_text("x"));
    assert_int_equal(reason_of(&alice, MQTT_PUBREC), MQTT_REASON_NOT_AUTHORIZED);
}

static void a_will_that_may_not_be_published_is_refused(void **state)
{
    (void)state;
    struct login_wish wish = {.id = "b", .user = "bob", .password = "b", .will_topic = "home/door"};
    assert_int_equal(login_connect(&bob, &rig, wish), MQTT_REASON_NOT_AUTHORIZED);
    login_await_end(&bob);
    leave(&bob);
    wish.version = 4;
    assert_int_equal(login_connect(&bob, &rig, wish), 5);
    assert_int_equal(rig_metric(&rig, METRIC_DENIED_WILL), 2);
    assert_int_equal(rig_metric(&rig, METRIC_SESSIONS), 0);
}

/* ---- reload ---------------------------------------------------------------------------------- */

static void a_subscription_that_is_not_allowed_any_more_closes_the_connection(void **state)
{
    (void)state;
    assert_int_equal(come(&alice, "alice", "a"), 0);
    assert_int_equal(come(&bob, "bob", "b"), 0);
    assert_int_equal(login_subscribe(&alice, "home/#", 1), 1);
    assert_int_equal(login_subscribe(&bob, "shared/#", 1), 1);
    take_over(nobody_home);
    assert_int_equal(login_await(&alice, MQTT_DISCONNECT).body.data[0], MQTT_REASON_NOT_AUTHORIZED);
    login_await_end(&alice);
    client_expect_nothing(&bob);
    assert_int_equal(alice.session->subscription_count, 0);
    assert_int_equal(bob.session->subscription_count, 1);
}

static void a_user_who_is_gone_is_closed(void **state)
{
    (void)state;
    assert_int_equal(come(&alice, "alice", "a"), 0);
    assert_int_equal(come(&bob, "bob", "b"), 0);
    take_over(no_alice);
    login_await(&alice, MQTT_DISCONNECT);
    login_await_end(&alice);
    rig_turn(&rig);
    client_expect_nothing(&bob);
    assert_true(conn_online(bob.conn));
}

static void a_will_that_is_not_allowed_any_more_is_not_published(void **state)
{
    (void)state;
    assert_int_equal(come(&bob, "alice", "watch"), 0);
    assert_int_equal(login_subscribe(&bob, "shared/#", 0), 0);
    struct login_wish wish = {
        .id = "a", .user = "alice", .password = "a", .will_topic = "home/door"};
    assert_int_equal(login_connect(&alice, &rig, wish), 0);
    take_over(nobody_home);
    rig_turn(&rig);
    assert_true(conn_online(alice.conn));
    assert_null(alice.session->will);
    leave(&alice);
    rig_turn(&rig);
    assert_int_equal(rig_metric(&rig, METRIC_WILLS_PUBLISHED), 0);
}

static void come_many(size_t count)
{
    char id[32];
    for (size_t i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "c%zu", i);
        assert_int_equal(come(&others[i], "alice", id), 0);
        assert_int_equal(login_subscribe(&others[i], "home/x", 0), 0);
    }
}

static size_t count_online(size_t count)
{
    size_t online = 0;
    for (size_t i = 0; i < count; i++) {
        online += others[i].session->conn != NULL;
    }
    return online;
}

static void all_of_many_connections_are_looked_at_once_more(void **state)
{
    (void)state;
    come_many(ARRAY_COUNT(others));
    take_over(nobody_home);
    rig_turn(&rig);
    assert_int_equal(count_online(ARRAY_COUNT(others)), 0);
    assert_int_equal(rig_metric(&rig, METRIC_SUBSCRIPTIONS_REVOKED), ARRAY_COUNT(others));
}

static void two_reloads_in_a_row_reach_everybody(void **state)
{
    (void)state;
    come_many(ARRAY_COUNT(others));
    take_over(both);
    uv_run(&rig.worker->loop, UV_RUN_NOWAIT); /* the first has looked at some */
    take_over(nobody_home);
    rig_turn(&rig);
    assert_int_equal(count_online(ARRAY_COUNT(others)), 0);
}

/* Those that were counted are gone before they could be looked at. */
static void a_recheck_ends_when_all_connections_are_gone(void **state)
{
    (void)state;
    come_many(300);
    take_over(both);
    list_foreach(item, &rig.worker->conns)
    {
        conn_close(list_entry(item, struct conn, of_worker), METRIC_CLOSED_PEER,
                   MQTT_REASON_UNSPECIFIED_ERROR, false);
    }
    rig_turn(&rig);
    assert_true(list_empty(&rig.worker->conns));
    assert_null(rig.worker->mailbox.newest); /* it does not write to itself for ever */
}

/* ---- time ------------------------------------------------------------------------------------ */

static void rights_that_end_close_the_connection_with_a_word(void **state)
{
    (void)state;
    assert_int_equal(come(&alice, "alice", "a"), 0);
    struct auth_identity *identity = (struct auth_identity *)(uintptr_t)conn_identity(alice.conn);
    auth_identity_ref(identity);
    identity->expires_at_ms = clock_wall_ms() + 50;
    conn_set_rights(alice.conn, identity);
    rig_turn(&rig);
    client_expect_nothing(&alice);
    assert_int_equal(login_await(&alice, MQTT_DISCONNECT).body.data[0], MQTT_REASON_NOT_AUTHORIZED);
    login_await_end(&alice);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_sent_is_not_sent_again_to_who_may_not_have_it),
        TEST(what_waits_does_not_come_to_who_may_not_have_it),
        TEST(subscriptions_of_another_user_end_unless_they_are_allowed),
        cmocka_unit_test_setup_teardown(a_shared_message_does_not_come_to_who_took_the_member_over,
                                        set_up_two_workers, tear_down),
        TEST(carol_with_the_rights_of_bob_keeps_his_session),
        TEST(a_topic_alias_is_no_way_around_the_rules),
        TEST(a_denied_qos_2_publish_leaves_no_packet_id_behind),
        TEST(a_qos_2_publish_that_comes_again_is_not_judged_again),
        TEST(a_will_that_may_not_be_published_is_refused),
        TEST(a_subscription_that_is_not_allowed_any_more_closes_the_connection),
        TEST(a_user_who_is_gone_is_closed),
        TEST(a_will_that_is_not_allowed_any_more_is_not_published),
        TEST(all_of_many_connections_are_looked_at_once_more),
        TEST(two_reloads_in_a_row_reach_everybody),
        TEST(a_recheck_ends_when_all_connections_are_gone),
        TEST(rights_that_end_close_the_connection_with_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
