/* receipt: what acknowledgements wait for, over several workers and storage. */
#include "tests/unit/node/store_support.h"

#include "base/hash.h"
#include "base/mem.h"
#include "node/will.h"

#define WORKERS 4u

static struct rig rig;
static struct fake_store *store;
static struct client pub, other;

static void start(void)
{
    store = fake_store_create();
    fake_store_use(store);
    rig_start_with(&rig, WORKERS, &fake_engine, COMMIT_BALANCED);
}

/*
 * Where a session was dropped just before the news of an entry that was placed in it: the message
 * is stored for nothing then, until the pop that follows. After a crash in between it is left out.
 */
static void stop_whatever_was_stored(void)
{
    fake_store_unblock(store);
    rig_stop_with(&rig, RIG_WAIT_MS);
    fake_store_destroy(store);
}

static void stop(void)
{
    rig_settle(&rig);
    assert_string_equal(fake_store_complaint(store), "");
    stop_whatever_was_stored();
}

/* A kept session on each worker, offline. */
static void leave_one_on_each_worker(const char *filter, uint8_t qos)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        leave_kept(&rig, id_on_worker(&rig, "off", i), filter, qos);
    }
}

static void end_session(const char *prefix, unsigned worker)
{
    struct worker *home = rig.broker->workers[worker];
    struct session *session =
        session_table_find(&home->sessions, slice_text(id_on_worker(&rig, prefix, worker)));
    if (session != NULL && session->conn == NULL) {
        reclaim_enter();
        session_end(session);
        reclaim_leave();
    }
}

static void connect_publisher(void)
{
    client_connect_kept(&pub, &rig, id_on_worker(&rig, "pub", 0));
    rig_settle(&rig);
}

static unsigned lines_with(const char *text, const char *word)
{
    unsigned count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}

/* ---- without a placement --------------------------------------------------------------------- */

static void an_acknowledgement_waits_for_all_workers_parts(void **state)
{
    (void)state;
    start();
    leave_one_on_each_worker("t", 1);
    connect_publisher();
    fake_store_block(store, FAKE_APPLY);
    client_publish(&pub, "t", 1, 1, slice_text("x"));
    rig_turn_until_blocked(&rig, store);
    client_expect_nothing(&pub);
    fake_store_unblock(store);
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBACK, 1);
    client_expect_nothing(&pub);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), WORKERS);
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 1);
    stop();
}

static void acknowledgements_keep_the_order_of_the_publishes(void **state)
{
    (void)state;
    start();
    leave_one_on_each_worker("t", 1);
    connect_publisher();
    fake_store_block(store, FAKE_APPLY);
    client_publish(&pub, "t", 1, 1, slice_text("waits for storage"));
    client_publish(&pub, "nobody", 1, 2, slice_text("waits for nothing"));
    client_publish(&pub, "t", 1, 3, slice_text("waits, too"));
    rig_turn_until_blocked(&rig, store);
    client_expect_nothing(&pub);
    fake_store_unblock(store);
    rig_settle(&rig);
    for (uint16_t i = 1; i <= 3; i++) {
        client_expect_ack(&pub, MQTT_PUBACK, i);
    }
    stop();
}

static void a_retained_publish_waits_for_storage_without_any_subscriber(void **state)
{
    (void)state;
    start();
    connect_publisher();
    fake_store_block(store, FAKE_APPLY);
    static const uint8_t packet[] = {0x33, 8, 0, 1, 'r', 0, 7, 0, 'o', 'k'};
    client_send(&pub, packet, sizeof(packet));
    rig_turn_until_blocked(&rig, store);
    client_expect_nothing(&pub);
    fake_store_unblock(store);
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBACK, 7);
    assert_int_equal(fake_store_count(store, OPERATION_RETAINED_PUT), 1);
    stop();
}

/* ---- placements ------------------------------------------------------------------------------ */

/* Queue entries of four workers and the packet id are one batch, so there is no moment at which
 * only some of them are stored. */
static void a_qos_2_publish_is_one_batch(void **state)
{
    (void)state;
    start();
    leave_one_on_each_worker("t", 2);
    connect_publisher();
    unsigned batches = fake_store_calls(store, FAKE_APPLY);
    client_publish(&pub, "t", 2, 1, slice_text("x"));
    rig_settle(&rig);
    assert_int_equal(fake_store_calls(store, FAKE_APPLY), batches + 1);
    const char *batch = fake_store_last_batch(store);
    assert_int_equal(lines_with(batch, "queue_push"), WORKERS);
    assert_int_equal(lines_with(batch, "inbound_qos2_put"), 1);
    assert_int_equal(lines_with(batch, "message_put"), 1);
    client_expect_ack(&pub, MQTT_PUBREC, 1);
    client_ack(&pub, MQTT_PUBREL, 1);
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBCOMP, 1);
    assert_int_equal(fake_store_count(store, OPERATION_INBOUND_QOS2_PUT), 0);
    stop();
}

static void nothing_of_a_placement_is_sent_before_it_is_stored(void **state)
{
    (void)state;
    start();
    client_connect_kept(&other, &rig, id_on_worker(&rig, "sub", 1));
    client_subscribe(&other, "t", (struct subscription){.qos = 1});
    connect_publisher();
    fake_store_block(store, FAKE_APPLY);
    client_publish(&pub, "t", 2, 1, slice_text("x"));
    rig_turn_until_blocked(&rig, store);
    client_expect_nothing(&other);
    client_expect_nothing(&pub);
    fake_store_unblock(store);
    rig_settle(&rig);
    (void)client_expect_publish(&other);
    client_expect_ack(&pub, MQTT_PUBREC, 1);
    stop();
}

/* The publisher's worker hands over the entry of another worker's session, and that must know of
 * the session before. */
static void a_new_session_is_introduced_before_it_is_placed_into(void **state)
{
    (void)state;
    start();
    leave_kept(&rig, id_on_worker(&rig, "off", 1), "t", 1);
    connect_publisher();
    struct journal *journal = &rig.broker->workers[1]->journal;
    fake_store_block(store, FAKE_APPLY);
    for (uint16_t i = 1; i <= 2; i++) {
        client_publish(&pub, "t", 1, i, slice_text("x"));
        rig_turn(&rig);
    }
    rig_turn_until_blocked(&rig, store);
    assert_int_equal(journal->under_way, 2);
    client_connect_kept(&other, &rig, id_on_worker(&rig, "new", 1));
    client_subscribe(&other, "new", (struct subscription){.qos = 2});
    rig_turn(&rig);
    assert_int_equal(journal->under_way, 2);
    assert_true(journal->filling->part.live > 0);
    client_publish(&pub, "new", 2, 3, slice_text("x"));
    client_publish(&pub, "new", 2, 4, slice_text("x"));
    rig_turn(&rig);
    assert_int_equal(journal->under_way, 3);
    assert_int_equal(journal->filling->part.live, 0);
    fake_store_unblock(store);
    rig_settle(&rig);
    (void)client_expect_publish(&other);
    (void)client_expect_publish(&other);
    stop();
}

static void a_placement_with_nothing_but_its_end_is_stored(void **state)
{
    (void)state;
    start();
    connect_publisher();
    client_publish(&pub, "nobody", 2, 1, slice_text("x"));
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBREC, 1);
    assert_int_equal(fake_store_count(store, OPERATION_INBOUND_QOS2_PUT), 1);
    stop();
}

static void a_placement_with_nothing_in_it_comes_to_its_end(void **state)
{
    (void)state;
    start();
    unsigned batches = fake_store_calls(store, FAKE_APPLY);
    struct receipt *receipt = receipt_create_placement(rig.worker);
    struct receipt *slot = receipt;
    assert_ptr_equal(receipt_hold(rig.worker, &slot), receipt);
    reclaim_enter();
    receipt_done(rig.broker->workers[1], receipt);
    receipt_done(rig.worker, receipt); /* ends it: the sanitizer would see a leak */
    reclaim_leave();
    rig_settle(&rig);
    assert_int_equal(fake_store_calls(store, FAKE_APPLY), batches);
    stop();
}

/* The session is gone when its entry is stored: that is taken out again. */
static void an_entry_whose_session_ended_meanwhile_is_popped(void **state)
{
    (void)state;
    start();
    leave_one_on_each_worker("t", 2);
    connect_publisher();
    fake_store_block(store, FAKE_APPLY);
    client_publish(&pub, "t", 2, 1, slice_text("x"));
    rig_turn_until_blocked(&rig, store);
    for (unsigned i = 0; i < WORKERS; i++) {
        end_session("off", i);
    }
    fake_store_unblock(store);
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBREC, 1);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 0);
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 0);
    assert_int_equal(fake_store_count(store, OPERATION_SESSION_PUT), 1);
    stop_whatever_was_stored();
}

/* What a full queue drops while it is being placed. */
static void an_entry_that_was_dropped_meanwhile_is_popped(void **state)
{
    (void)state;
    start();
    rig.config.limits_max_offline_queue_len = 1;
    rig.config.limits_offline_queue_policy = OFFLINE_QUEUE_DROP_OLDEST;
    leave_one_on_each_worker("t", 2);
    connect_publisher();
    fake_store_block(store, FAKE_APPLY);
    client_publish(&pub, "t", 2, 1, slice_text("old"));
    rig_turn_until_blocked(&rig, store);
    client_publish(&pub, "t", 2, 2, slice_text("new"));
    rig_turn(&rig);
    fake_store_unblock(store);
    rig_settle(&rig);
    client_expect_ack(&pub, MQTT_PUBREC, 1);
    client_expect_ack(&pub, MQTT_PUBREC, 2);
    const char *kept = fake_store_contents_with_payloads(store);
    assert_int_equal(lines_with(kept, "old queue_push"), 0);
    assert_int_equal(lines_with(kept, "new queue_push"), WORKERS);
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 1);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), WORKERS);
    stop();
}

/* A will, what it brings to others, and the end of its session are one batch. */
static void the_end_of_a_session_and_its_will_are_one_batch(void **state)
{
    (void)state;
    start();
    leave_one_on_each_worker("w", 1);
    client_connect_kept(&other, &rig, id_on_worker(&rig, "testator", 0));
    struct will *will = mem_alloc(sizeof(*will));
    will->message = make_message("w", slice_text("gone"));
    will->message->qos = 1;
    session_set_will(other.session, will);
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_WILL_PUT), 1);
    unsigned batches = fake_store_calls(store, FAKE_APPLY);
    other.session->expiry_s = 0; /* as DISCONNECT can say */
    client_vanish(&other);
    rig_settle(&rig);
    assert_int_equal(fake_store_calls(store, FAKE_APPLY), batches + 1);
    const char *batch = fake_store_last_batch(store);
    assert_int_equal(lines_with(batch, "queue_push"), WORKERS);
    assert_int_equal(lines_with(batch, "will_drop"), 1);
    assert_int_equal(lines_with(batch, "session_drop"), 1);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), WORKERS);
    stop();
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Nothing is acknowledged, and (says the sanitizer) nothing is lost sight of. */
static void what_storage_never_took_is_forgotten_at_the_end(void **state)
{
    (void)state;
    start();
    leave_one_on_each_worker("t", 2);
    connect_publisher();
    fake_store_fail(store, FAKE_APPLY, ERR_FULL, UINT32_MAX, "no room");
    for (uint16_t i = 1; i <= 10; i++) {
        client_publish(&pub, "t", 1 + i % 2, i, slice_text("x"));
        rig_turn(&rig);
    }
    client_publish(&pub, "t", 2, 11, slice_text("still on its way"));
    uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    client_expect_nothing(&pub);
    rig_stop_with(&rig, 50);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 0);
    fake_store_destroy(store);
}

static void step_at_random(uint64_t *random, uint16_t packet_id)
{
    uint32_t what = random_between(random, 0, 9);
    unsigned worker = random_between(random, 0, WORKERS - 1);
    if (what < 7) {
        uint8_t qos = (uint8_t)random_between(random, 1, 2);
        client_publish(&pub, "t", qos, packet_id, slice_text("x"));
    } else if (what < 8) {
        end_session("off", worker);
    } else if (what < 9) {
        client_connect_kept(&other, &rig, id_on_worker(&rig, "off", worker));
        client_subscribe(&other, "t", (struct subscription){.qos = 2});
        client_vanish(&other);
    }
    if (random_between(random, 0, 3) > 0) {
        rig_turn(&rig);
    }
}

static uint32_t count_queued(void)
{
    uint32_t queued = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        uint32_t cursor = 0;
        struct session *session;
        while ((session = session_table_next(&rig.broker->workers[i]->sessions, &cursor)) != NULL) {
            queued += session->outbound.count;
        }
    }
    return queued;
}

/* Random publishes, ends and failures. */
static void at_rest_storage_has_what_the_queues_have(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    start();
    rig.config.limits_max_offline_queue_len = 5;
    rig.config.limits_offline_queue_policy = OFFLINE_QUEUE_DROP_OLDEST;
    leave_one_on_each_worker("t", 2);
    connect_publisher();
    fake_store_fail_at_random(store, 30, random_next(&random));
    for (uint16_t step = 1; step <= 200; step++) {
        step_at_random(&random, step);
    }
    fake_store_fail_at_random(store, 0, 1);
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), count_queued());
    for (unsigned i = 0; i < WORKERS; i++) {
        end_session("off", i);
    }
    rig_settle(&rig);
    assert_int_equal(fake_store_count(store, OPERATION_QUEUE_PUSH), 0);
    assert_int_equal(fake_store_count(store, OPERATION_MESSAGE_PUT), 0);
    stop_whatever_was_stored();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledgement_waits_for_all_workers_parts),
        cmocka_unit_test(acknowledgements_keep_the_order_of_the_publishes),
        cmocka_unit_test(a_retained_publish_waits_for_storage_without_any_subscriber),
        cmocka_unit_test(a_qos_2_publish_is_one_batch),
        cmocka_unit_test(nothing_of_a_placement_is_sent_before_it_is_stored),
        cmocka_unit_test(a_new_session_is_introduced_before_it_is_placed_into),
        cmocka_unit_test(a_placement_with_nothing_but_its_end_is_stored),
        cmocka_unit_test(a_placement_with_nothing_in_it_comes_to_its_end),
        cmocka_unit_test(an_entry_whose_session_ended_meanwhile_is_popped),
        cmocka_unit_test(an_entry_that_was_dropped_meanwhile_is_popped),
        cmocka_unit_test(the_end_of_a_session_and_its_will_are_one_batch),
        cmocka_unit_test(what_storage_never_took_is_forgotten_at_the_end),
        cmocka_unit_test(at_rest_storage_has_what_the_queues_have),
    };
    return cmocka_run_group_tests_name("receipt", tests, NULL, NULL);
}
