#include "tests/unit/node/rig_support.h"

#include <unistd.h>

#include "base/mem.h"
#include "codec/mqtt.h"

static struct rig rig;
static struct client client;
/* Who gets a message alone gets bytes of its own; several may share them. All tests run both ways.
 */
static size_t receivers;

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, 1);
    client.fd = -1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (client.fd >= 0) {
        close(client.fd);
    }
    rig_stop(&rig);
    return 0;
}

static struct message message_of(const char *topic, const char *payload, uint8_t qos)
{
    struct message message =
        message_borrow(slice_text(topic), slice_of(NULL, 0), slice_text(payload));
    message.qos = qos;
    return message;
}

/* Delivers a message of its own. */
static void give(const char *topic, const char *payload, uint8_t qos)
{
    struct message message = message_of(topic, payload, qos);
    deliver_to(&client, &message, (struct delivery){.qos = qos}, receivers);
    assert_false(message_release(&message));
}

static void assert_publish(const char *topic, const char *payload)
{
    struct packet packet = client_expect_publish(&client);
    assert_true(slice_equal(packet.topic, slice_text(topic)));
    assert_true(slice_equal(packet.payload, slice_text(payload)));
}

static void go_offline(void)
{
    close(client.fd);
    client.fd = -1;
    rig_turn(&rig);
    assert_null(client.session->conn);
}

/* ---- what is sent ---------------------------------------------------------------------------- */

static void a_qos_0_message_is_written_at_the_end_of_the_iteration(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    give("a/b", "payload", 0);
    client_expect_nothing(&client);
    rig_turn(&rig);
    struct packet packet = client_expect_publish(&client);
    assert_int_equal(packet.flags, 0);
    assert_true(slice_equal(packet.topic, slice_text("a/b")));
    assert_true(slice_equal(packet.payload, slice_text("payload")));
    assert_int_equal(packet.props.len, 0);
    assert_int_equal(rig_metric(&rig, METRIC_PUBLISH_OUT_QOS0), 1);
}

/* [MQTT-3.8.4-8]: the lower of the granted QoS and the publisher's. */
static void the_lower_qos_counts(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    for (uint8_t granted = 0; granted <= 2; granted++) {
        for (uint8_t published = 0; published <= 2; published++) {
            struct message message = message_of("t", "p", published);
            deliver_to(&client, &message, (struct delivery){.qos = granted}, receivers);
            assert_false(message_release(&message));
            rig_turn(&rig);
            struct packet packet = client_expect_publish(&client);
            assert_int_equal(packet.flags >> 1, granted < published ? granted : published);
        }
    }
}

/* Connections of one version share the bytes; DUP, QoS, RETAIN and the packet id are each one's
 * own. */
static void what_is_shared_between_receivers_is_only_what_is_equal(void **state)
{
    (void)state;
    static struct client clients[4];
    static const struct client_options options[4] = {{.id = "new-1"},
                                                     {.id = "old-1", .version = 4},
                                                     {.id = "new-2"},
                                                     {.id = "old-2", .version = 4}};
    for (unsigned i = 0; i < 4; i++) {
        client_connect(&clients[i], &rig, options[i]);
    }
    uint8_t props[] = {MQTT_PROP_PAYLOAD_FORMAT, 1};
    struct message message = message_borrow(slice_text("t"), slice_of(props, 2), slice_text("p"));
    message.qos = 2;
    struct encoder encoder;
    encoder_init(&encoder, rig.worker, &message, 4);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 4; i++) {
            struct delivery delivery = {.qos = (uint8_t)((round + i) % 3), .retain = i < 2};
            deliver(&encoder, clients[i].session, &delivery);
        }
    }
    assert_false(message_release(&message));
    rig_turn(&rig);
    for (unsigned i = 0; i < 4; i++) {
        uint16_t id = 0;
        for (unsigned round = 0; round < 3; round++) {
            struct packet packet = client_expect_publish(&clients[i]);
            unsigned qos = (round + i) % 3;
            assert_int_equal(packet.flags, qos << 1 | (i < 2));
            id = (uint16_t)(id + (qos > 0));
            assert_int_equal(packet.packet_id, qos > 0 ? id : 0);
            assert_int_equal(packet.props.len, i % 2 == 0 ? 2 : 0);
            assert_true(slice_equal(packet.payload, slice_text("p")));
        }
        close(clients[i].fd);
    }
}

/* [MQTT-3.3.4-3], [MQTT-3.3.4-4]. */
static void subscription_identifiers_are_sent_to_5_0_clients(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    uint32_t ids[3] = {1, 200, 268435455};
    for (uint8_t qos = 0; qos <= 1; qos++) {
        struct message message = message_of("t", "p", qos);
        deliver_to(&client, &message, (struct delivery){.qos = qos, .ids = ids, .id_count = 3},
                   receivers);
        assert_false(message_release(&message));
        rig_turn(&rig);
        static const uint8_t expected[] = {11, 1, 11, 0xc8, 0x01, 11, 0xff, 0xff, 0xff, 0x7f};
        struct packet packet = client_expect_publish(&client);
        assert_true(slice_equal(packet.props, slice_of(expected, sizeof(expected))));
    }
}

/* [MQTT-3.3.2-6]: what is sent on is what remains. */
static void the_remaining_expiry_is_sent(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    struct message message = message_of("t", "p", 0);
    message.expires_at_ms = worker_now(rig.worker) + 59001;
    deliver_to(&client, &message, (struct delivery){.qos = 0}, receivers);
    assert_false(message_release(&message));
    rig_turn(&rig);
    static const uint8_t expected[] = {MQTT_PROP_MESSAGE_EXPIRY, 0, 0, 0, 60};
    struct packet packet = client_expect_publish(&client);
    assert_true(slice_equal(packet.props, slice_of(expected, sizeof(expected))));
}

static void a_large_payload_is_shared_with_the_message(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    struct message *message = make_patterned(20000);
    deliver_to(&client, message, (struct delivery){.qos = 0}, receivers);
    assert_int_equal(message_refs(message), 2);
    rig_turn(&rig);
    assert_int_equal(message_refs(message), 1);
    struct packet packet = client_expect_publish(&client);
    assert_true(slice_equal(packet.payload, message_payload(message)));
    message_unref(message);
}

/* ---- the client's limits --------------------------------------------------------------------- */

/* [MQTT-3.1.2-24], [MQTT-3.1.2-25]: it is not sent, and the client notices nothing. */
static void a_message_that_is_too_large_for_the_client_is_dropped(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c", .maximum_packet_size = 50});
    static const char payload[] = "0123456789012345678901234567890123456789012345678901234567";
    for (uint8_t qos = 0; qos <= 2; qos++) {
        give("t", payload, qos);
        rig_turn(&rig);
        client_expect_nothing(&client);
        assert_int_equal(rig_metric(&rig, METRIC_DROPPED_TOO_LARGE), qos + 1);
    }
    assert_int_equal(client.session->outbound.count, 0);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED_BYTES), 0);
    give("t", "small", 1);
    rig_turn(&rig);
    assert_publish("t", "small");
}

static void the_client_learns_an_alias_before_it_is_used(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c", .topic_alias_maximum = 5});
    for (unsigned i = 0; i < 4; i++) {
        give("sensor/one", "p", 0);
    }
    rig_turn(&rig);
    assert_int_equal(client_expect_publish(&client).props.len, 0);
    struct packet set = client_expect_publish(&client);
    assert_int_equal(set.props.len, 3);
    assert_int_equal(set.topic.len, 10);
    for (unsigned i = 2; i < 4; i++) {
        struct packet use = client_expect_publish(&client);
        assert_int_equal(use.props.len, 3);
        assert_int_equal(use.topic.len, 0);
    }
}

/* [MQTT-3.3.2-7] and section 3.3.2.3.4: the client knows only what reached it. One that is told an
 * alias in a packet that is too large for it would have to close, at the next use of the alias. */
static void an_alias_in_a_message_that_was_too_large_is_not_used(void **state)
{
    (void)state;
    client_connect(
        &client, &rig,
        (struct client_options){.id = "c", .maximum_packet_size = 60, .topic_alias_maximum = 5});
    static const char payload[] = "0123456789012345678901234567890123456789012345678901234567";
    give("sensor/one", "first", 0);
    give("sensor/one", payload, 0); /* would have set the alias */
    give("sensor/one", "third", 0);
    rig_turn(&rig);
    assert_publish("sensor/one", "first");
    assert_publish("sensor/one", "third"); /* with its topic */
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_TOO_LARGE), 1);
}

/* The three bytes of an alias are no reason to lose a message. */
static void a_message_that_fits_only_without_an_alias_is_sent_without(void **state)
{
    (void)state;
    client_connect(
        &client, &rig,
        (struct client_options){.id = "c", .maximum_packet_size = 60, .topic_alias_maximum = 5});
    /* 2 bytes of header, 12 of topic, 1 of property length, 44 of payload: 59 */
    static const char payload[] = "01234567890123456789012345678901234567890123";
    for (unsigned i = 0; i < 3; i++) {
        give("sensor/one", payload, 0);
    }
    rig_turn(&rig);
    for (unsigned i = 0; i < 3; i++) {
        assert_publish("sensor/one", payload);
    }
}

/* [MQTT-3.3.4-9] the other way round: section 4.9. */
static void no_more_are_sent_than_the_client_can_receive_at_once(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c", .receive_maximum = 2});
    give("t", "1", 1);
    give("t", "2", 2);
    give("t", "3", 1);
    give("t", "0", 0); /* QoS 0 does not count, and does not wait */
    rig_turn(&rig);
    assert_publish("t", "1");
    assert_publish("t", "2");
    assert_publish("t", "0");
    client_expect_nothing(&client);
    client_ack(&client, MQTT_PUBREC, 2); /* not finished yet */
    rig_turn(&rig);
    struct packet pubrel;
    assert_true(client_next(&client, &pubrel));
    assert_int_equal(pubrel.type, MQTT_PUBREL);
    client_expect_nothing(&client);
    client_ack(&client, MQTT_PUBCOMP, 2);
    rig_turn(&rig);
    assert_publish("t", "3");
}

/* ---- offline --------------------------------------------------------------------------------- */

static void offline_qos_0_is_dropped_and_the_others_are_queued(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c", .session_expiry = 100});
    go_offline();
    give("t", "0", 0);
    give("t", "1", 1);
    give("t", "2", 2);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_QOS0_OFFLINE), 1);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 2);
    client_connect(&client, &rig, (struct client_options){.id = "c", .session_expiry = 100});
    assert_publish("t", "1");
    assert_publish("t", "2");
    client_expect_nothing(&client);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 0);
}

static void fill_queue_of_3(int policy)
{
    rig.config.limits_max_offline_queue_len = 3;
    rig.config.limits_offline_queue_policy = policy;
    client_connect(&client, &rig, (struct client_options){.id = "c", .session_expiry = 100});
    go_offline();
    static const char *const payloads[] = {"1", "2", "3", "4", "5"};
    for (unsigned i = 0; i < 5; i++) {
        give("t", payloads[i], 1);
    }
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_QUEUE_FULL), 2);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 3);
    client_connect(&client, &rig, (struct client_options){.id = "c", .session_expiry = 100});
}

static void a_full_queue_drops_the_newest_by_default(void **state)
{
    (void)state;
    fill_queue_of_3(OFFLINE_QUEUE_DROP_NEWEST);
    assert_publish("t", "1");
    assert_publish("t", "2");
    assert_publish("t", "3");
    client_expect_nothing(&client);
}

static void a_full_queue_drops_the_oldest_when_told_so(void **state)
{
    (void)state;
    fill_queue_of_3(OFFLINE_QUEUE_DROP_OLDEST);
    assert_publish("t", "3");
    assert_publish("t", "4");
    assert_publish("t", "5");
    client_expect_nothing(&client);
}

static void a_queue_of_bytes_is_bounded_too(void **state)
{
    (void)state;
    rig.config.limits_max_offline_queue_bytes = 5000;
    client_connect(&client, &rig, (struct client_options){.id = "c", .session_expiry = 100});
    go_offline();
    for (unsigned i = 0; i < 100; i++) {
        give("t", "0123456789", 1);
    }
    assert_true(client.session->outbound.bytes <= 5000);
    assert_true(client.session->outbound.count > 10);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED_BYTES), client.session->outbound.bytes);
}

/* "0 keeps none": of a client that is away. */
static void a_queue_of_no_length_keeps_nothing_for_who_is_away(void **state)
{
    (void)state;
    rig.config.limits_max_offline_queue_len = 0;
    rig.config.limits_offline_queue_policy = OFFLINE_QUEUE_DROP_OLDEST;
    client_connect(&client, &rig, (struct client_options){.id = "c", .session_expiry = 100});
    go_offline();
    give("t", "p", 1);
    assert_int_equal(client.session->outbound.count, 0);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_QUEUE_FULL), 1);
}

/* The queue is for who is away: a message that can be sent at once needs no room in it. */
static void a_queue_of_no_length_does_not_keep_messages_from_who_is_there(void **state)
{
    (void)state;
    rig.config.limits_max_offline_queue_len = 0;
    static const int policies[] = {SLOW_CONSUMER_THROTTLE, SLOW_CONSUMER_DISCONNECT,
                                   SLOW_CONSUMER_QUEUE_OFFLINE};
    for (unsigned i = 0; i < 3; i++) {
        rig.config.limits_slow_consumer_policy = policies[i];
        client_connect(&client, &rig, (struct client_options){.id = "c"});
        give("t", "p", 1);
        rig_turn(&rig);
        assert_publish("t", "p");
        client_vanish(&client);
        rig_turn(&rig);
    }
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_QUEUE_FULL), 0);
}

static void an_expired_message_is_not_sent_to_who_comes_back(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c", .session_expiry = 100});
    go_offline();
    struct message message = message_of("t", "old", 1);
    message.expires_at_ms =
        worker_now(rig.worker); /* over when the client is back [MQTT-3.3.2-5] */
    deliver_to(&client, &message, (struct delivery){.qos = 1}, receivers);
    assert_false(message_release(&message));
    give("t", "young", 1);
    client_connect(&client, &rig, (struct client_options){.id = "c", .session_expiry = 100});
    assert_publish("t", "young");
    client_expect_nothing(&client);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_EXPIRED), 1);
}

/* ---- slow consumers -------------------------------------------------------------------------- */

static void queue_offline_drops_qos_0_of_a_congested_client(void **state)
{
    (void)state;
    rig.config.limits_slow_consumer_policy = SLOW_CONSUMER_QUEUE_OFFLINE;
    rig.config.server_outbound_queue_size = 2;
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    client.conn->writing = true; /* as if the socket took nothing */
    for (unsigned i = 0; i < 5; i++) {
        give("t", "p", 0);
    }
    assert_int_equal(client.conn->out_messages, 3);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_SLOW_CONSUMER), 2);
    give("t", "q", 1); /* waits for the socket */
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 1);
    client.conn->writing = false;
    rig_turn(&rig);
    for (unsigned i = 0; i < 3; i++) {
        assert_publish("t", "p");
    }
    assert_publish("t", "q");
}

static void disconnect_closes_a_congested_client(void **state)
{
    (void)state;
    rig.config.limits_slow_consumer_policy = SLOW_CONSUMER_DISCONNECT;
    rig.config.server_outbound_queue_size = 2;
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    client.conn->writing = true;
    for (unsigned i = 0; i < 4; i++) {
        give("t", "p", 0);
    }
    client.conn->writing = false;
    assert_true(client.conn->closing);
    rig_turn(&rig);
    assert_int_equal(rig_metric(&rig, METRIC_CLOSED_SLOW), 1);
    assert_int_equal(rig_metric(&rig, METRIC_CONNECTIONS), 0);
}

/* Many messages in one iteration are no sign of slowness: they are written, then it is looked
 * again. */
static void a_burst_to_a_client_that_reads_is_written_early_and_not_dropped(void **state)
{
    (void)state;
    rig.config.limits_slow_consumer_policy = SLOW_CONSUMER_QUEUE_OFFLINE;
    rig.config.server_outbound_queue_size = 2;
    client_connect(&client, &rig, (struct client_options){.id = "c"});
    for (unsigned i = 0; i < 100; i++) {
        give("t", "p", 0);
    }
    rig_turn(&rig);
    for (unsigned i = 0; i < 100; i++) {
        assert_publish("t", "p");
    }
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_SLOW_CONSUMER), 0);
}

static void the_gauges_are_zero_when_all_is_acknowledged(void **state)
{
    (void)state;
    client_connect(&client, &rig, (struct client_options){.id = "c", .receive_maximum = 3});
    for (unsigned i = 0; i < 20; i++) {
        give("t", "p", i % 2 == 0 ? 1 : 2);
    }
    for (unsigned done = 0; done < 20;) {
        rig_turn(&rig);
        struct packet packet;
        while (client_next(&client, &packet)) {
            uint16_t id = packet.packet_id;
            if (packet.type == MQTT_PUBREL) {
                client_ack(&client, MQTT_PUBCOMP,
                           (uint16_t)(packet.body.data[0] << 8 | packet.body.data[1]));
                done++;
            } else if (packet.flags >> 1 == 1) {
                client_ack(&client, MQTT_PUBACK, id);
                done++;
            } else {
                client_ack(&client, MQTT_PUBREC, id);
            }
        }
    }
    rig_turn(&rig);
    assert_int_equal(client.session->outbound.count, 0);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 0);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED_BYTES), 0);
    assert_int_equal(rig_metric(&rig, METRIC_QOS1_INFLIGHT), 0);
    assert_int_equal(rig_metric(&rig, METRIC_QOS2_INFLIGHT), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_qos_0_message_is_written_at_the_end_of_the_iteration),
        TEST(the_lower_qos_counts),
        TEST(what_is_shared_between_receivers_is_only_what_is_equal),
        TEST(subscription_identifiers_are_sent_to_5_0_clients),
        TEST(the_remaining_expiry_is_sent),
        TEST(a_large_payload_is_shared_with_the_message),
        TEST(a_message_that_is_too_large_for_the_client_is_dropped),
        TEST(the_client_learns_an_alias_before_it_is_used),
        TEST(an_alias_in_a_message_that_was_too_large_is_not_used),
        TEST(a_message_that_fits_only_without_an_alias_is_sent_without),
        TEST(no_more_are_sent_than_the_client_can_receive_at_once),
        TEST(offline_qos_0_is_dropped_and_the_others_are_queued),
        TEST(a_full_queue_drops_the_newest_by_default),
        TEST(a_full_queue_drops_the_oldest_when_told_so),
        TEST(a_queue_of_bytes_is_bounded_too),
        TEST(a_queue_of_no_length_keeps_nothing_for_who_is_away),
        TEST(a_queue_of_no_length_does_not_keep_messages_from_who_is_there),
        TEST(an_expired_message_is_not_sent_to_who_comes_back),
        TEST(queue_offline_drops_qos_0_of_a_congested_client),
        TEST(disconnect_closes_a_congested_client),
        TEST(a_burst_to_a_client_that_reads_is_written_early_and_not_dropped),
        TEST(the_gauges_are_zero_when_all_is_acknowledged),
    };
    receivers = 1;
    int failed = cmocka_run_group_tests_name("one receiver", tests, NULL, NULL);
    receivers = 2;
    return failed + cmocka_run_group_tests_name("several receivers", tests, NULL, NULL);
}
