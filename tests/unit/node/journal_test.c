/* journal: what is told to storage, in which order, and what waits for it. */
#include "tests/unit/node/store_support.h"

#include <sys/socket.h>
#include <unistd.h>

static struct rig rig;
static struct fake_store *store;
static struct client pub, sub;

static void start_with_policy(unsigned workers, enum storage_policy policy)
{
    store = fake_store_create();
    fake_store_use(store);
    rig_start_with(&rig, workers, &fake_engine, policy);
}

static void start(void)
{
    start_with_policy(1, COMMIT_BALANCED);
}

static void stop(void)
{
    fake_store_unblock(store);
    rig_stop_with(&rig, RIG_WAIT_MS);
    assert_string_equal(fake_store_complaint(store), "");
    fake_store_destroy(store);
}

/* A connected subscriber, and a publisher whose session is kept, too. */
static void connect_both(uint8_t qos)
{
    client_connect_kept(&sub, &rig, "sub");
    client_subscribe(&sub, "t", (struct subscription){.qos = qos});
    client_connect_kept(&pub, &rig, "pub");
    rig_settle(&rig);
}

static void publish(uint8_t qos, uint16_t packet_id, const char *payload)
{
    client_publish(&pub, "t", qos, packet_id, slice_text(payload));
    rig_turn(&rig);
}

/* The subscriber gets `payload`; its packet id. */
static uint16_t get(const char *payload)
{
    struct packet packet = client_expect_publish(&sub);
    assert_true(slice_equal(packet.payload, slice_text(payload)));
    return packet.packet_id;
}

static void subscriber_says(enum mqtt_packet type, uint16_t packet_id)
{
    client_ack(&sub, type, packet_id);
    rig_turn(&rig);
}

/* ---- undoing --------------------------------------------------------------------------------- */

static void what_is_acknowledged_within_the_undo_window_is_never_written(void **state)
{
    (void)state;
    start();
    rig.config.storage_undo_window_ms = 60000;
    connect_both(1);
    unsigned batches = fake_store_calls(store, FAKE_APPLY);
    for (uint16_t i = 1; i <= 100; i++) {
        publish(1, i, "x");
        client_expect_nothing(&pub); /* nobody has it for good yet */
        subscriber_says(MQTT_PUBACK, get("x"));
        client_expect_ack(&pub, MQTT_PUBACK, i);
    }
    rig_settle(&rig);
    assert_int_equal(fake_store_calls(store, FAKE_APPLY), batches);
    assert_int_equal(rig_cancelled(&rig), 100);
    stop();
}

static void the_end_of_the_undo_window_hands_over_what_is_not_acknowledged(void **state)
{
    (void)state;
    start();
    rig.config.storage_undo_window_ms = 1;
    connect_both(1);
    publish(1, 1, "x");
    uint16_t id = get("x");
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 1);
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 1);
    client_expect_ack(&pub, MQTT_PUBACK, 1);
    subscriber_says(MQTT_PUBACK, id);
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 0);
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 0);
    stop();
}

/* While storage takes nothing, messages come and go in the same few places. */
static void places_of_what_was_undone_are_used_again(void **state)
{
    (void)state;
    start();
    rig.config.storage_undo_window_ms = 1;
    leave_kept(&rig, "off", "off", 1);
    connect_both(1);
    fake_store_block(store, FAKE_APPLY);
    static struct client other; /* its acknowledgements wait, and later ones behind them */
    client_connect(&other, &rig, (struct client_options){.id = "other"});
    for (uint16_t i = 1; i <= 3; i++) { /* as much as may be under way, and more */
        client_publish(&other, "off", 1, i, slice_text("x"));
        rig_turn(&rig);
    }
    rig_turn_until_blocked(&rig, store);
    client_publish(&other, "t", 1, 4, slice_text("stays"));
    rig_turn(&rig);
    (void)get("stays");
    usleep(5000); /* it would go now, and has no place to go to */
    rig_turn(&rig);
    for (uint16_t i = 1; i <= 500; i++) {
        publish(1, i, "x");
        subscriber_says(MQTT_PUBACK, get("x"));
        client_expect_ack(&pub, MQTT_PUBACK, i);
    }
    assert_true(rig.worker->journal.undoable->part.count < 10);
    client_expect_nothing(&other);
    fake_store_unblock(store);
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 4);
    assert_non_null(strstr(fake_store_contents_with_payloads(store), "stays queue_push"));
    stop();
}

/* Their order in a batch does not matter, their positions do. */
static void an_entry_in_a_place_that_was_used_before_has_its_own_position(void **state)
{
    (void)state;
    start();
    rig.config.storage_undo_window_ms = 20;
    connect_both(1);
    publish(1, 1, "a");
    publish(1, 2, "b");
    subscriber_says(MQTT_PUBACK, get("a"));
    publish(1, 3, "c");
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 2);
    assert_non_null(strstr(fake_store_contents_with_payloads(store), "b queue_push"));
    assert_non_null(strstr(fake_store_contents_with_payloads(store), "c queue_push"));
    stop();
}

/* A push that may overtake other changes must not overtake the first of its session. */
static void what_goes_to_a_session_that_storage_does_not_know_yet_stays_behind_that(void **state)
{
    (void)state;
    start();
    rig.config.storage_undo_window_ms = 1;
    connect_both(1);
    leave_kept(&rig, "off", "off", 1);
    fake_store_block(store, FAKE_APPLY);
    for (uint16_t i = 1; i <= 2; i++) {
        client_publish(&pub, "off", 1, i, slice_text("x"));
        rig_turn(&rig);
    }
    rig_turn_until_blocked(&rig, store);
    static struct client fresh;
    client_connect_kept(&fresh, &rig, "fresh");
    client_subscribe(&fresh, "new", (struct subscription){.qos = 1});
    client_publish(&pub, "new", 1, 3, slice_text("x"));
    rig_turn(&rig);
    (void)client_expect_publish(&fresh);
    assert_int_equal(rig.worker->journal.undoable->part.live, 0);
    publish(1, 4, "x"); /* to `sub`, which storage knows */
    assert_int_equal(rig.worker->journal.undoable->part.live, 1);
    fake_store_unblock(store);
    rig_settle(&rig);
    rig.config.storage_undo_window_ms = 60000;
    client_publish(&pub, "new", 1, 5, slice_text("x"));
    rig_turn(&rig);
    assert_int_equal(rig.worker->journal.undoable->part.live, 1);
    rig.config.storage_undo_window_ms = 0;
    stop();
}

/* ---- bounds ---------------------------------------------------------------------------------- */

#define LARGE 60000u
#define LARGE_COUNT (((64u << 20) / LARGE) + 50)

static struct slice large(void)
{
    static uint8_t bytes[LARGE];
    return slice_of(bytes, sizeof(bytes));
}

/* What was undone does not count as gathering. */
static void much_that_is_undone_holds_nobody_up(void **state)
{
    (void)state;
    start();
    rig.config.storage_undo_window_ms = 60000;
    connect_both(1);
    for (unsigned i = 1; i <= LARGE_COUNT; i++) {
        client_publish(&pub, "t", 1, (uint16_t)i, large());
        rig_turn(&rig);
        subscriber_says(MQTT_PUBACK, client_expect_publish(&sub).packet_id);
        client_expect_ack(&pub, MQTT_PUBACK, (uint16_t)i);
    }
    assert_false(pub.session->held_up);
    assert_int_equal(rig.worker->journal.undoable->bytes, 0);
    stop();
}

/* Publishes to a kept session that is offline until the publisher is held up. */
static unsigned publish_until_held_up(void)
{
    unsigned count = 0;
    fake_store_forget(store); /* it would write down all of it */
    while (!pub.session->held_up) {
        assert_true(count < LARGE_COUNT);
        count++;
        client_publish(&pub, "off", 1, (uint16_t)count, large());
        rig_turn(&rig);
    }
    return count;
}

static void fill_up(void)
{
    rig.config.limits_max_offline_queue_bytes = UINT32_MAX;
    rig.config.limits_max_offline_queue_len = UINT32_MAX;
    rig.config.limits_server_receive_maximum = 65535;
    leave_kept(&rig, "off", "off", 1);
    connect_both(1);
    fake_store_block(store, FAKE_APPLY);
}

static void a_publisher_is_held_up_when_too_much_gathers_and_goes_on_later(void **state)
{
    (void)state;
    start();
    fill_up();
    unsigned count = publish_until_held_up();
    client_publish(&pub, "off", 1, (uint16_t)(count + 1), slice_text("not read yet"));
    rig_turn(&rig);
    client_expect_nothing(&pub);
    assert_int_equal(rig_metric(&rig, METRIC_PUBLISH_IN_QOS1), count);
    fake_store_unblock(store);
    rig_settle(&rig);
    assert_false(pub.session->held_up);
    for (unsigned i = 1; i <= count + 1; i++) {
        client_expect_ack(&pub, MQTT_PUBACK, (uint16_t)i);
    }
    stop();
}

static void a_publisher_that_ends_while_it_is_held_up_is_forgotten(void **state)
{
    (void)state;
    start();
    fill_up();
    (void)publish_until_held_up();
    client_vanish(&pub);
    rig_turn(&rig);
    fake_store_unblock(store);
    rig_settle(&rig);
    client_connect_kept(&pub, &rig, "pub");
    rig_settle(&rig);
    client_publish(&pub, "off", 1, 1, slice_text("x"));
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBACK, 1);
    stop();
}

static void connect_raw(const void *packet, size_t len, uint8_t expected_reason)
{
    static struct client client;
    client_connect(&client, &rig, (struct client_options){.id = "opens-the-way"});
    client_vanish(&client);
    rig_turn(&rig);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    client = (struct client){.rig = &rig, .fd = fds[0]};
    reclaim_enter();
    conn_open(rig.worker, &(struct conn_start){.fd = fds[1]});
    reclaim_leave();
    client_send(&client, packet, len);
    rig_turn(&rig);
    struct packet connack = {.type = 0};
    assert_true(client_next(&client, &connack));
    assert_int_equal(connack.type, MQTT_CONNACK);
    assert_int_equal(connack.body.data[1], expected_reason);
    close(fds[0]);
    rig_turn(&rig);
}

/* One that could not be kept is not begun: 0x89, Server busy. */
static void a_session_that_is_to_be_kept_is_refused_when_too_much_gathers(void **state)
{
    (void)state;
    static const uint8_t kept[] = {0x10, 19, 0,    4, 'M', 'Q', 'T', 'T', 5, 0,  0,
                                   0,    5,  0x11, 0, 0,   0,   60,  0,   1, 'k'};
    static const uint8_t passing[] = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 0, 0, 0, 0, 0, 1, 'p'};
    start();
    fill_up();
    fake_store_fail(store, FAKE_APPLY, ERR_FULL, UINT32_MAX, "no room");
    fake_store_unblock(store);
    (void)publish_until_held_up();
    assert_true(fake_store_wait(store, FAKE_APPLY, 2, RIG_WAIT_MS));
    connect_raw(kept, sizeof(kept), MQTT_REASON_SERVER_BUSY);
    connect_raw(passing, sizeof(passing), MQTT_REASON_SUCCESS);
    fake_store_fail(store, FAKE_APPLY, ERR_OK, 0, "");
    rig_settle(&rig);
    connect_raw(kept, sizeof(kept), MQTT_REASON_SUCCESS);
    stop();
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void few_parts_are_under_way_and_the_rest_gathers_in_one(void **state)
{
    (void)state;
    start();
    fill_up();
    for (uint16_t i = 1; i <= 50; i++) {
        client_publish(&pub, "off", 1, i, slice_text("x"));
        rig_turn(&rig);
    }
    assert_int_equal(rig.worker->journal.under_way, 2);
    assert_int_equal(rig.worker->journal.filling->part.live, 48);
    client_expect_nothing(&pub);
    fake_store_unblock(store);
    rig_settle(&rig);
    for (uint16_t i = 1; i <= 50; i++) {
        client_expect_ack(&pub, MQTT_PUBACK, i);
    }
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 50);
    stop();
}

/* What waits for a part goes on with it, not with a later one. */
static void what_waits_for_a_part_goes_on_when_that_is_held(void **state)
{
    (void)state;
    start();
    fill_up();
    client_publish(&pub, "off", 1, 1, slice_text("x"));
    rig_turn_until_blocked(&rig, store);
    client_publish(&pub, "off", 1, 2, slice_text("x"));
    rig_turn(&rig);
    client_expect_nothing(&pub);
    fake_store_fail(store, FAKE_APPLY, ERR_IO, 3, "for now");
    fake_store_unblock(store);
    assert_true(fake_store_wait(store, FAKE_APPLY, 3, RIG_WAIT_MS));
    fake_store_block(store, FAKE_APPLY);
    rig_turn(&rig);
    client_expect_nothing(&pub);
    fake_store_unblock(store);
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBACK, 1);
    client_expect_ack(&pub, MQTT_PUBACK, 2);
    stop();
}

static void a_qos_2_message_is_sent_when_storage_holds_it(void **state)
{
    (void)state;
    start();
    connect_both(2);
    fake_store_block(store, FAKE_APPLY);
    publish(2, 1, "x");
    rig_turn_until_blocked(&rig, store);
    client_expect_nothing(&sub);
    client_expect_nothing(&pub);
    fake_store_unblock(store);
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBREC, 1);
    uint16_t id = get("x");

    fake_store_block(store, FAKE_APPLY);
    subscriber_says(MQTT_PUBREC, id);
    rig_turn_until_blocked(&rig, store);
    subscriber_says(MQTT_PUBREC, id); /* again: no answer either */
    client_expect_nothing(&sub);
    fake_store_unblock(store);
    rig_settle(&rig);
    client_expect_ack(&sub, MQTT_PUBREL, id);
    assert_non_null(strstr(fake_store_contents(store), "released"));
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 0);
    subscriber_says(MQTT_PUBCOMP, id);
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 0);
    stop();
}

/* QoS 1 behind it keeps its place: [MQTT-4.6.0-5]. */
static void a_message_behind_one_that_waits_for_storage_waits_too(void **state)
{
    (void)state;
    start();
    connect_both(2);
    fake_store_block(store, FAKE_APPLY);
    publish(2, 1, "first");
    publish(1, 2, "second");
    rig_turn_until_blocked(&rig, store);
    client_expect_nothing(&sub);
    fake_store_unblock(store);
    rig_settle(&rig);
    (void)get("first");
    (void)get("second");
    stop();
}

static void under_fast_nothing_waits(void **state)
{
    (void)state;
    start_with_policy(1, COMMIT_FAST);
    connect_both(2);
    leave_kept(&rig, "off", "off", 1);
    fake_store_block(store, FAKE_APPLY);
    client_publish(&pub, "off", 1, 1, slice_text("x"));
    rig_turn(&rig);
    client_expect_ack(&pub, MQTT_PUBACK, 1);
    publish(2, 2, "x");
    client_expect_ack(&pub, MQTT_PUBREC, 2);
    uint16_t id = get("x");
    fake_store_unblock(store);
    rig_settle(&rig);
    subscriber_says(MQTT_PUBREC, id);
    client_expect_ack(&sub, MQTT_PUBREL, id);
    assert_int_equal(fake_store_count(store, OPERATION_INBOUND_QOS2_PUT), 1);
    stop();
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void a_session_that_is_not_kept_costs_storage_nothing(void **state)
{
    (void)state;
    start();
    client_connect(&sub, &rig, (struct client_options){.id = "sub"});
    client_subscribe(&sub, "t", (struct subscription){.qos = 2});
    client_connect(&pub, &rig, (struct client_options){.id = "pub"});
    publish(2, 1, "x");
    client_expect_ack(&pub, MQTT_PUBREC, 1);
    (void)get("x");
    rig_settle(&rig);
    assert_int_equal(fake_store_calls(store, FAKE_APPLY), 0);
    stop();
}

static void a_session_that_ends_leaves_nothing_behind(void **state)
{
    (void)state;
    start();
    leave_kept(&rig, "off", "off", 2);
    connect_both(2);
    client_publish(&pub, "off", 2, 1, slice_text("one"));
    client_publish(&pub, "off", 1, 2, slice_text("two"));
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 2);
    struct session *session = session_table_find(&rig.worker->sessions, slice_text("off"));
    reclaim_enter();
    session_end(session);
    reclaim_leave();
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_SESSION_PUT), 2); /* pub and sub */
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 0);
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 0);
    stop();
}

/* Its client comes back and wants it to end with the connection. */
static void a_session_that_is_not_kept_any_more_is_dropped_from_storage(void **state)
{
    (void)state;
    start();
    connect_both(2);
    fake_store_block(store, FAKE_APPLY);
    publish(2, 1, "x");
    publish(1, 2, "y");
    rig_turn_until_blocked(&rig, store);
    client_vanish(&sub);
    rig_turn(&rig);
    client_connect(&sub, &rig, (struct client_options){.id = "sub"});
    rig_turn(&rig);
    (void)get("x");
    (void)get("y");
    fake_store_unblock(store);
    rig_settle(&rig);
    client_expect_nothing(&sub);
    client_expect_ack(&pub, MQTT_PUBREC, 1);
    client_expect_ack(&pub, MQTT_PUBACK, 2);
    assert_int_equal(fake_store_count(store, OPERATION_SESSION_PUT), 1); /* pub */
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 0);
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 0);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_acknowledged_within_the_undo_window_is_never_written),
        cmocka_unit_test(the_end_of_the_undo_window_hands_over_what_is_not_acknowledged),
        cmocka_unit_test(places_of_what_was_undone_are_used_again),
        cmocka_unit_test(an_entry_in_a_place_that_was_used_before_has_its_own_position),
        cmocka_unit_test(what_goes_to_a_session_that_storage_does_not_know_yet_stays_behind_that),
        cmocka_unit_test(much_that_is_undone_holds_nobody_up),
        cmocka_unit_test(a_publisher_is_held_up_when_too_much_gathers_and_goes_on_later),
        cmocka_unit_test(a_publisher_that_ends_while_it_is_held_up_is_forgotten),
        cmocka_unit_test(a_session_that_is_to_be_kept_is_refused_when_too_much_gathers),
        cmocka_unit_test(few_parts_are_under_way_and_the_rest_gathers_in_one),
        cmocka_unit_test(what_waits_for_a_part_goes_on_when_that_is_held),
        cmocka_unit_test(a_qos_2_message_is_sent_when_storage_holds_it),
        cmocka_unit_test(a_message_behind_one_that_waits_for_storage_waits_too),
        cmocka_unit_test(under_fast_nothing_waits),
        cmocka_unit_test(a_session_that_is_not_kept_costs_storage_nothing),
        cmocka_unit_test(a_session_that_ends_leaves_nothing_behind),
        cmocka_unit_test(a_session_that_is_not_kept_any_more_is_dropped_from_storage),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
