/* restore: what storage gives back becomes sessions and retained messages again. */
#include "tests/unit/node/store_support.h"

#include "node/retained.h"
#include "node/will.h"

/* ---- a store with these operations in it ----------------------------------------------------- */

static const struct operation *stored;
static size_t stored_count;
static enum err load_result;
static uint64_t dropped[16]; /* sessions that were dropped from it */
static size_t dropped_count;
static size_t applied_count;

static const struct engine_type list_engine;

static enum err list_open(const struct storage_config *config, struct storage_stats *stats,
                          struct engine **out)
{
    static struct engine engine;
    (void)config;
    (void)stats;
    engine.type = &list_engine;
    *out = &engine;
    dropped_count = 0;
    applied_count = 0;
    return ERR_OK;
}

static enum err list_load(struct engine *engine, const struct operation_sink *sink,
                          struct engine_loaded *loaded)
{
    (void)engine;
    *loaded = (struct engine_loaded){.next_id = 1000};
    enum err err = ERR_OK;
    for (size_t i = 0; i < stored_count && err == ERR_OK; i++) {
        err = sink->take(sink->context, &stored[i]);
    }
    return err != ERR_OK ? err : load_result;
}

static enum err list_apply(struct engine *engine, struct batch *batch)
{
    (void)engine;
    struct operation operation;
    while (batch->next(batch, &operation)) {
        applied_count++;
        if (operation.type == OPERATION_SESSION_DROP && dropped_count < ARRAY_COUNT(dropped)) {
            dropped[dropped_count++] = operation.session;
        }
    }
    return ERR_OK;
}

static enum err list_sync(struct engine *engine)
{
    (void)engine;
    return ERR_OK;
}

static bool list_tend(struct engine *engine, uint64_t now_ms)
{
    (void)engine;
    (void)now_ms;
    return false;
}

static void list_close(struct engine *engine)
{
    (void)engine;
}

static const struct engine_type list_engine = {.name = "list",
                                               .open = list_open,
                                               .load = list_load,
                                               .apply = list_apply,
                                               .sync = list_sync,
                                               .tend = list_tend,
                                               .close = list_close};

static struct rig rig;

static void start_with(unsigned workers, const struct operation *operations, size_t count)
{
    stored = operations;
    stored_count = count;
    load_result = ERR_OK;
    rig_start_with(&rig, workers, &list_engine, COMMIT_BALANCED);
}

#define START(...)                                         \
    start_with(1, (const struct operation[]){__VA_ARGS__}, \
               sizeof((const struct operation[]){__VA_ARGS__}) / sizeof(struct operation))

static void stop(void)
{
    rig_stop_with(&rig, RIG_WAIT_MS);
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct slice text(const char *from)
{
    return slice_text(from);
}

/* Offline since a second ago. */
static struct operation session_put(uint64_t id, const char *client_id)
{
    return (struct operation){.type = OPERATION_SESSION_PUT,
                              .session = id,
                              .client_id = text(client_id),
                              .expiry_s = 60,
                              .offline_since_ms = clock_wall_ms() - 1000};
}

static struct operation connected(struct operation operation)
{
    operation.offline_since_ms = 0;
    return operation;
}

static struct operation sent_to(struct operation operation, uint64_t position)
{
    operation.sent_to = position;
    return operation;
}

static struct operation message_put(uint64_t id, const char *payload)
{
    return (struct operation){.type = OPERATION_MESSAGE_PUT,
                              .message = id,
                              .topic = text("t"),
                              .payload = text(payload),
                              .qos = 2,
                              .expires_at_ms = OPERATION_NEVER_MS};
}

static struct operation push(uint64_t session, uint64_t position, uint64_t message, uint8_t qos)
{
    return (struct operation){.type = OPERATION_QUEUE_PUSH,
                              .session = session,
                              .position = position,
                              .message = message,
                              .qos = qos};
}

static struct operation released(uint64_t session, uint64_t position)
{
    struct operation operation = push(session, position, 0, 2);
    operation.released = true;
    return operation;
}

static struct operation will_put(uint64_t session, uint64_t message)
{
    return (struct operation){
        .type = OPERATION_WILL_PUT, .session = session, .message = message, .delay_s = 30};
}

static struct operation inbound_put(uint64_t session, uint16_t packet_id)
{
    return (struct operation){
        .type = OPERATION_INBOUND_QOS2_PUT, .session = session, .packet_id = packet_id};
}

static struct operation retained_put(const char *topic, uint64_t expires_at_ms)
{
    return (struct operation){.type = OPERATION_RETAINED_PUT,
                              .topic = text(topic),
                              .payload = text("x"),
                              .expires_at_ms = expires_at_ms};
}

static struct operation subscription_put(uint64_t session, const char *filter)
{
    return (struct operation){
        .type = OPERATION_SUBSCRIPTION_PUT, .session = session, .filter = text(filter), .qos = 1};
}

static struct session *find(const char *client_id)
{
    return session_table_find(&rig.worker->sessions, text(client_id));
}

static void expect_states(const struct outbound *out, const char *states)
{
    static const char letters[] = "WSrRD"; /* of enum outbound_state */
    assert_int_equal(out->count, strlen(states));
    for (uint32_t i = 0; i < out->count; i++) {
        assert_int_equal(letters[outbound_at(out, i)->state], states[i]);
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void a_session_is_there_with_all_that_it_had(void **state)
{
    (void)state;
    START(session_put(7, "c"), subscription_put(7, "a/+"), subscription_put(7, "$share/g/b"),
          message_put(70, "x"), push(7, 1, 70, 1), inbound_put(7, 500), message_put(71, "will"),
          will_put(7, 71));
    struct session *session = find("c");
    assert_non_null(session);
    assert_int_equal(session->stored_id, 7);
    assert_int_equal(session->subscription_count, 2);
    assert_int_equal(session->outbound.count, 1);
    assert_true(inbound_has_id(session->inbound, 500));
    assert_non_null(session->will);
    assert_int_equal(session->will->delay_s, 30);
    assert_int_equal(rig_metric(&rig, METRIC_SESSIONS), 1);
    assert_int_equal(rig_metric(&rig, METRIC_SUBSCRIPTIONS), 2);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 1);
    assert_int_equal(rig_metric(&rig, METRIC_QOS2_INFLIGHT), 1);
    uint64_t left = session->expires_at_ms - worker_now(rig.worker);
    assert_in_range(left, 55000, 59000);
    stop();
    assert_int_equal(applied_count, 0); /* there was nothing to tell */
}

/* A second crash must not give it more time. */
static void a_session_that_was_connected_is_told_to_be_offline(void **state)
{
    (void)state;
    START(connected(session_put(7, "c")));
    struct session *session = find("c");
    uint64_t left = session->expires_at_ms - worker_now(rig.worker);
    assert_in_range(left, 59000, 60000);
    rig_settle(&rig);
    assert_int_equal(applied_count, 1);
    stop();
}

static void a_session_whose_time_is_over_ends_at_once(void **state)
{
    (void)state;
    struct operation old = session_put(7, "c");
    old.offline_since_ms = clock_wall_ms() - 61000;
    START(old, message_put(70, "x"), push(7, 1, 70, 1));
    uint64_t deadline = clock_mono_ms() + RIG_WAIT_MS;
    while (find("c") != NULL && clock_mono_ms() < deadline) {
        rig_turn(&rig);
    }
    assert_null(find("c"));
    rig_settle(&rig);
    assert_int_equal(dropped_count, 1);
    stop();
}

/* Of two sessions of one client the newer one counts, whatever comes first. */
static void the_newer_of_two_sessions_of_a_client_stays(void **state)
{
    (void)state;
    for (int older_first = 0; older_first < 2; older_first++) {
        uint64_t first = older_first ? 7 : 9;
        uint64_t second = older_first ? 9 : 7;
        START(session_put(first, "c"), message_put(70, "shared"), message_put(71, "own"),
              subscription_put(first, "a"), push(first, 1, 70, 1), push(first, 2, 71, 2),
              inbound_put(first, 5), session_put(second, "c"), push(second, 1, 70, 1),
              subscription_put(second, "b"));
        struct session *session = find("c");
        assert_non_null(session);
        assert_int_equal(session->stored_id, 9);
        assert_int_equal(session->subscription_count, 1);
        uint32_t count = older_first ? 1 : 2;
        assert_int_equal(session->outbound.count, count);
        assert_int_equal(outbound_at(&session->outbound, 0)->message->stored_refs, 1);
        assert_int_equal(rig_metric(&rig, METRIC_SESSIONS), 1);
        assert_int_equal(rig_metric(&rig, METRIC_SUBSCRIPTIONS), 1);
        assert_int_equal(rig_metric(&rig, METRIC_QUEUED), count);
        assert_int_equal(rig_metric(&rig, METRIC_QUEUED_BYTES), session->outbound.bytes);
        assert_int_equal(rig_metric(&rig, METRIC_QOS2_INFLIGHT), older_first ? 0 : 1);
        rig_settle(&rig);
        assert_int_equal(dropped_count, 1);
        assert_int_equal(dropped[0], 7);
        stop();
    }
}

static void the_newest_of_three_sessions_of_a_client_stays(void **state)
{
    (void)state;
    START(session_put(8, "c"), session_put(7, "c"), session_put(9, "c"), session_put(10, "d"));
    assert_int_equal(find("c")->stored_id, 9);
    assert_int_equal(find("d")->stored_id, 10);
    rig_settle(&rig);
    assert_int_equal(dropped_count, 2);
    assert_int_equal(dropped[0] + dropped[1], 15);
    stop();
}

static void what_refers_to_nothing_is_left_out(void **state)
{
    (void)state;
    START(session_put(7, "c"), message_put(70, "x"), push(7, 1, 99, 1), push(99, 1, 70, 1),
          push(7, 2, 70, 1), will_put(99, 70), will_put(7, 99), inbound_put(99, 1),
          subscription_put(99, "a"), subscription_put(7, "a/#/b"));
    struct session *session = find("c");
    assert_int_equal(session->outbound.count, 1);
    assert_int_equal(outbound_at(&session->outbound, 0)->message->stored_refs, 1);
    assert_null(session->will);
    assert_int_equal(session->subscription_count, 0);
    stop();
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void one_message_of_several_sessions_is_counted_for_each(void **state)
{
    (void)state;
    START(session_put(1, "a"), session_put(2, "b"), session_put(3, "c"), message_put(70, "x"),
          will_put(3, 70), push(1, 1, 70, 1), push(2, 5, 70, 2), push(3, 9, 70, 1));
    struct message *message = outbound_at(&find("a")->outbound, 0)->message;
    assert_ptr_equal(outbound_at(&find("b")->outbound, 0)->message, message);
    assert_ptr_equal(find("c")->will->message, message);
    assert_int_equal(message->stored_id, 70);
    assert_int_equal(message->stored_refs, 4);
    assert_int_equal(message_refs(message), 4);
    stop();
}

static void entries_go_on_in_their_states(void **state)
{
    (void)state;
    START(sent_to(session_put(7, "c"), 13), message_put(70, "x"), push(7, 10, 70, 2),
          released(7, 11), push(7, 12, 70, 1), push(7, 13, 70, 1), push(7, 14, 70, 2));
    struct outbound *out = &find("c")->outbound;
    expect_states(out, "SRSWW");
    assert_int_equal(out->inflight, 3);
    assert_int_equal(out->last_position, 14);
    assert_null(outbound_at(out, 1)->message);
    assert_int_equal(outbound_packet_id(outbound_at(out, 0)), 10);
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 2);
    assert_int_equal(rig_metric(&rig, METRIC_QOS1_INFLIGHT), 1);
    assert_int_equal(rig_metric(&rig, METRIC_QOS2_INFLIGHT), 2);
    stop();
}

/* Its client was there: everything may have been sent. */
static void all_entries_of_a_connected_session_count_as_sent(void **state)
{
    (void)state;
    START(connected(session_put(7, "c")), message_put(70, "x"), push(7, 1, 70, 1),
          push(7, 2, 70, 2));
    expect_states(&find("c")->outbound, "SS");
    stop();
}

/* What stands before a released entry was sent before it, whatever `sent_to` says. */
static void entries_before_a_released_one_count_as_sent(void **state)
{
    (void)state;
    START(sent_to(session_put(7, "c"), 2), message_put(70, "x"), push(7, 1, 70, 1),
          push(7, 2, 70, 1), released(7, 3), push(7, 4, 70, 1));
    expect_states(&find("c")->outbound, "SSRW");
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED), 1);
    assert_int_equal(rig_metric(&rig, METRIC_QOS1_INFLIGHT), 2);
    assert_int_equal(rig_metric(&rig, METRIC_QOS2_INFLIGHT), 1);
    stop();
}

/* There is one packet id for positions 65,535 apart. */
static void entries_too_far_from_the_first_wait(void **state)
{
    (void)state;
    START(connected(session_put(7, "c")), message_put(70, "x"), push(7, 1, 70, 1),
          push(7, 65534, 70, 1), push(7, 65535, 70, 1), push(7, 65536, 70, 1));
    struct outbound *out = &find("c")->outbound;
    expect_states(out, "SSWW");
    assert_false(outbound_may_start(out));
    stop();
}

static void positions_that_can_not_be_are_left_out(void **state)
{
    (void)state;
    START(session_put(7, "c"), message_put(70, "x"), push(7, 5, 70, 1), push(7, 5, 70, 1),
          push(7, 4, 70, 1), push(7, 0, 70, 1), push(7, UINT64_MAX, 70, 1), push(7, 6, 70, 1));
    struct outbound *out = &find("c")->outbound;
    expect_states(out, "WW");
    assert_int_equal(outbound_at(out, 0)->message->stored_refs, 2);
    stop();
}

static void new_entries_come_behind_what_was_sent_before(void **state)
{
    (void)state;
    START(sent_to(session_put(7, "c"), 100), subscription_put(7, "t"));
    struct outbound *out = &find("c")->outbound;
    assert_int_equal(out->last_position, 99);
    static struct client pub;
    client_connect(&pub, &rig, (struct client_options){.id = "pub"});
    client_publish(&pub, "t", 1, 1, text("x"));
    rig_settle(&rig);
    assert_int_equal(outbound_at(out, 0)->position, 100);
    stop();
}

static void many_identifiers_stay_with_their_entry(void **state)
{
    (void)state;
    static const uint32_t ids[] = {3, 1, 2};
    struct operation many = push(7, 1, 70, 1);
    many.subscription_ids = ids;
    many.subscription_id_count = 3;
    struct operation gone = released(7, 2);
    gone.subscription_ids = ids;
    gone.subscription_id_count = 3;
    START(connected(session_put(7, "c")), message_put(70, "x"), many, gone);
    struct outbound *out = &find("c")->outbound;
    const uint32_t *kept = NULL;
    assert_int_equal(outbound_ids(out, outbound_at(out, 0), &kept), 3);
    assert_memory_equal(kept, ids, sizeof(ids));
    stop();
}

/* ---- retained messages, limits, ends --------------------------------------------------------- */

static void retained_messages_are_there_unless_they_have_expired(void **state)
{
    (void)state;
    START(retained_put("a", OPERATION_NEVER_MS), retained_put("b", clock_wall_ms() - 1),
          retained_put("c", clock_wall_ms() + 60000));
    assert_int_equal(retained_count(rig.broker->retained), 2);
    stop();
}

/* What is there is not thrown away because a limit is lower now. */
static void queues_over_the_limit_are_kept(void **state)
{
    (void)state;
    START(session_put(7, "c"), message_put(70, "x"), push(7, 1, 70, 1), push(7, 2, 70, 1),
          push(7, 3, 70, 1), subscription_put(7, "t"));
    rig.config.limits_max_offline_queue_len = 2;
    static struct client pub;
    client_connect(&pub, &rig, (struct client_options){.id = "pub"});
    client_publish(&pub, "t", 1, 1, text("one too many"));
    rig_settle(&rig);
    assert_int_equal(find("c")->outbound.count, 3);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_QUEUE_FULL), 1);
    stop();
}

static void each_session_goes_to_its_worker(void **state)
{
    (void)state;
    struct operation operations[40];
    char names[40][8];
    for (unsigned i = 0; i < 40; i++) {
        snprintf(names[i], sizeof(names[i]), "c%u", i);
        operations[i] = session_put(i + 1, names[i]);
    }
    start_with(4, operations, 40);
    for (unsigned i = 0; i < 40; i++) {
        unsigned home = broker_worker_of(rig.broker, text(names[i]));
        assert_non_null(session_table_find(&rig.broker->workers[home]->sessions, text(names[i])));
    }
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_there_with_all_that_it_had),
        cmocka_unit_test(a_session_that_was_connected_is_told_to_be_offline),
        cmocka_unit_test(a_session_whose_time_is_over_ends_at_once),
        cmocka_unit_test(the_newer_of_two_sessions_of_a_client_stays),
        cmocka_unit_test(the_newest_of_three_sessions_of_a_client_stays),
        cmocka_unit_test(what_refers_to_nothing_is_left_out),
        cmocka_unit_test(one_message_of_several_sessions_is_counted_for_each),
        cmocka_unit_test(entries_go_on_in_their_states),
        cmocka_unit_test(all_entries_of_a_connected_session_count_as_sent),
        cmocka_unit_test(entries_before_a_released_one_count_as_sent),
        cmocka_unit_test(entries_too_far_from_the_first_wait),
        cmocka_unit_test(positions_that_can_not_be_are_left_out),
        cmocka_unit_test(new_entries_come_behind_what_was_sent_before),
        cmocka_unit_test(many_identifiers_stay_with_their_entry),
        cmocka_unit_test(retained_messages_are_there_unless_they_have_expired),
        cmocka_unit_test(queues_over_the_limit_are_kept),
        cmocka_unit_test(each_session_goes_to_its_worker),
    };
    return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
