#include "tests/unit/node/rig_support.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/reclaim.h"
#include "codec/mqtt.h"
#include "node/session_handle.h"
#include "node/throttle.h"

static struct rig rig;
static struct client consumer;
static struct client publisher;
static struct client other;

static void start(unsigned workers)
{
    rig_start(&rig, workers);
    consumer.fd = publisher.fd = other.fd = -1;
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

static int tear_down(void **state)
{
    (void)state;
    struct client *clients[] = {&consumer, &publisher, &other};
    for (unsigned i = 0; i < 3; i++) {
        if (clients[i]->fd >= 0) {
            close(clients[i]->fd);
        }
    }
    rig_stop(&rig);
    return 0;
}

static void connect_as(struct client *client, const char *id)
{
    client_connect(client, &rig, (struct client_options){.id = id, .session_expiry = 100});
}

/* An id whose session lives on `worker`. */
static void id_on_worker(unsigned worker, const char *prefix, char id[32])
{
    unsigned i = 0;
    do {
        snprintf(id, 32, "%s-%u", prefix, i++);
    } while (broker_worker_of(rig.broker, slice_text(id)) != worker);
}

static bool throttle(struct client *behind, uint64_t handle)
{
    reclaim_enter();
    bool waits = throttle_publisher(behind->conn, handle);
    reclaim_leave();
    return waits;
}

static void release(struct client *behind)
{
    reclaim_enter();
    throttle_release(behind->conn);
    reclaim_leave();
}

static void assert_paused(const struct client *client)
{
    assert_true(client->session->pauses > 0);
    assert_false(client->session->conn->reading);
}

static void assert_not_paused(const struct client *client)
{
    assert_int_equal(client->session->pauses, 0);
}

/* Reading begins again at the end of the iteration. */
static void assert_goes_on(const struct client *client)
{
    assert_not_paused(client);
    rig_turn(&rig);
    assert_true(client->session->conn->reading);
}

/* ---- who waits for whom ---------------------------------------------------------------------- */

static void a_publisher_waits_until_the_consumer_has_caught_up(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    connect_as(&publisher, "publisher");
    assert_true(throttle(&consumer, publisher.session->handle));
    assert_paused(&publisher);
    assert_not_paused(&consumer);
    release(&consumer);
    assert_goes_on(&publisher);
    release(&consumer); /* nobody waits: harmless */
    assert_int_equal(rig_metric(&rig, METRIC_THROTTLED), 1);
}

static void a_publisher_that_waits_already_is_not_paused_twice(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    connect_as(&publisher, "publisher");
    for (unsigned i = 0; i < 3; i++) {
        assert_true(throttle(&consumer, publisher.session->handle));
    }
    assert_int_equal(publisher.session->pauses, 1);
    release(&consumer);
    assert_goes_on(&publisher);
}

static void a_publisher_that_feeds_two_waits_for_both(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    connect_as(&other, "other");
    connect_as(&publisher, "publisher");
    assert_true(throttle(&consumer, publisher.session->handle));
    assert_true(throttle(&other, publisher.session->handle));
    release(&consumer);
    assert_paused(&publisher);
    release(&other);
    assert_goes_on(&publisher);
}

static void many_publishers_may_wait_for_one(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    static struct client publishers[COUNT];
    connect_as(&consumer, "consumer");
    for (unsigned i = 0; i < COUNT; i++) {
        char id[32];
        snprintf(id, sizeof(id), "publisher-%u", i);
        connect_as(&publishers[i], id);
        assert_true(throttle(&consumer, publishers[i].session->handle));
    }
    release(&consumer);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_goes_on(&publishers[i]);
        close(publishers[i].fd);
    }
}

static void nobody_waits_for_the_node_itself_or_for_its_own_publishes(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    assert_false(throttle(&consumer, 0));
    assert_false(throttle(&consumer, consumer.session->handle));
    assert_not_paused(&consumer);
}

/* ---- who comes and goes ---------------------------------------------------------------------- */

static void a_publisher_goes_on_when_the_consumer_is_gone(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    connect_as(&publisher, "publisher");
    assert_true(throttle(&consumer, publisher.session->handle));
    client_vanish(&consumer);
    rig_turn(&rig);
    assert_goes_on(&publisher);
}

static void a_publisher_that_is_gone_when_it_may_go_on_is_forgotten(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    client_connect(&publisher, &rig, (struct client_options){.id = "publisher"});
    uint64_t handle = publisher.session->handle;
    assert_true(throttle(&consumer, handle));
    struct worker *worker = publisher.session->worker;
    client_vanish(&publisher);
    conn_close(session_table_get(&worker->sessions, handle)->conn, METRIC_CLOSED_PEER,
               MQTT_REASON_UNSPECIFIED_ERROR, false); /* reading is paused: it is not noticed */
    rig_turn(&rig);
    assert_null(session_table_get(&worker->sessions, handle));
    release(&consumer);
}

/* The pause is the session's: a reconnect is no way around it. */
static void a_publisher_that_comes_back_still_waits(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    connect_as(&publisher, "publisher");
    assert_true(throttle(&consumer, publisher.session->handle));
    consumer.conn->writing = true; /* as if the socket took nothing: it has not caught up */
    consumer.conn->out_messages = 1000000;
    close(publisher.fd);
    connect_as(&publisher, "publisher");
    assert_paused(&publisher);
    consumer.conn->writing = false;
    consumer.conn->out_messages = 0;
    release(&consumer);
    assert_goes_on(&publisher);
}

/* What it had sent before it was paused is handled when it goes on. */
static void input_that_came_while_paused_is_handled_later(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    connect_as(&publisher, "publisher");
    client_subscribe(&consumer, "t", (struct subscription){.qos = 0});
    consumer.conn->out_messages = 1000000; /* behind, until it is written out */
    assert_true(throttle(&consumer, publisher.session->handle));
    client_publish(&publisher, "t", 0, 0, slice_text("p"));
    uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    client_expect_nothing(&consumer);
    consumer.conn->out_messages = 0;
    release(&consumer);
    rig_turn(&rig);
    assert_true(slice_equal(client_expect_publish(&consumer).payload, slice_text("p")));
}

/* ---- across workers -------------------------------------------------------------------------- */

static void a_publisher_on_another_worker_is_told_by_mail(void **state)
{
    (void)state;
    char here[32];
    char there[32];
    id_on_worker(0, "consumer", here);
    id_on_worker(1, "publisher", there);
    connect_as(&consumer, here);
    connect_as(&publisher, there);
    assert_int_equal(session_handle_worker(publisher.session->handle), 1);
    consumer.conn->writing = true;
    consumer.conn->out_messages = 1000000;
    assert_true(throttle(&consumer, publisher.session->handle));
    assert_not_paused(&publisher);
    rig_turn(&rig);
    assert_paused(&publisher);
    consumer.conn->writing = false;
    consumer.conn->out_messages = 0;
    release(&consumer);
    rig_turn(&rig);
    assert_goes_on(&publisher);
}

/* Pausing and resuming go the same way, and arrive in that order. */
static void paused_and_released_in_one_iteration_leaves_it_going(void **state)
{
    (void)state;
    char here[32];
    char there[32];
    id_on_worker(0, "consumer", here);
    id_on_worker(1, "publisher", there);
    connect_as(&consumer, here);
    connect_as(&publisher, there);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(throttle(&consumer, publisher.session->handle));
        release(&consumer);
    }
    rig_turn(&rig);
    assert_goes_on(&publisher);
}

static void a_publisher_waits_while_the_mailbox_of_a_worker_is_full(void **state)
{
    (void)state;
    char here[32];
    id_on_worker(0, "publisher", here);
    connect_as(&publisher, here);
    struct worker *full = rig.broker->workers[1];
    atomic_store(&full->inbox_bytes, THROTTLE_INBOX_HIGH + 1);
    throttle_for_worker(rig.worker, 1, publisher.session->handle);
    rig_turn(&rig);
    assert_paused(&publisher);
    throttle_inbox_drained(full); /* it is not: nothing happens */
    rig_turn(&rig);
    assert_paused(&publisher);
    atomic_store(&full->inbox_bytes, THROTTLE_INBOX_LOW - 1);
    throttle_inbox_drained(full);
    rig_turn(&rig);
    assert_goes_on(&publisher);
    atomic_store(&full->inbox_bytes, 0);
}

/* The other worker may have emptied its mailbox before it could see that somebody waits for that.
 */
static void a_mailbox_that_is_empty_again_holds_nobody_back(void **state)
{
    (void)state;
    char here[32];
    id_on_worker(0, "publisher", here);
    connect_as(&publisher, here);
    throttle_for_worker(rig.worker, 1, publisher.session->handle);
    assert_paused(&publisher);
    rig_turn(&rig);
    assert_goes_on(&publisher);
}

static void only_publishers_of_its_own_wait_for_another_worker(void **state)
{
    (void)state;
    char there[32];
    id_on_worker(1, "publisher", there);
    connect_as(&publisher, there);
    atomic_store(&rig.broker->workers[1]->inbox_bytes, THROTTLE_INBOX_HIGH + 1);
    throttle_for_worker(rig.worker, 1,
                        publisher.session->handle); /* a message passed on by a third */
    throttle_for_worker(rig.worker, 1, 0);
    rig_turn(&rig);
    assert_goes_on(&publisher);
    atomic_store(&rig.broker->workers[1]->inbox_bytes, 0);
}

static void those_who_still_wait_at_shutdown_are_forgotten(void **state)
{
    (void)state;
    char here[32];
    id_on_worker(0, "publisher", here);
    connect_as(&publisher, here);
    atomic_store(&rig.broker->workers[1]->inbox_bytes, THROTTLE_INBOX_HIGH + 1);
    throttle_for_worker(rig.worker, 1, publisher.session->handle);
    /* tear_down: the leak checker watches */
}

/* ---- queues of QoS 1 and 2 ------------------------------------------------------------------- */

/* A consumer with room for one message at a time, and a queue of ten; and a publisher. */
static void connect_pair(void)
{
    rig.config.limits_max_offline_queue_len = 10;
    client_connect(
        &consumer, &rig,
        (struct client_options){.id = "consumer", .session_expiry = 100, .receive_maximum = 1});
    connect_as(&publisher, "publisher");
    client_subscribe(&consumer, "t", (struct subscription){.qos = 1});
}

static uint16_t publish_burst(unsigned count)
{
    static uint16_t id = 0;
    for (unsigned i = 0; i < count; i++) {
        id = id == 65535 ? 1 : (uint16_t)(id + 1);
        client_publish(&publisher, "t", 1, id, slice_text("p"));
    }
    rig_turn(&rig);
    struct packet ack;
    while (client_next(&publisher, &ack)) {
        assert_int_equal(ack.type, MQTT_PUBACK);
    }
    return id;
}

/* Acknowledges what has come; how many that were. */
static unsigned acknowledge_all(void)
{
    unsigned count = 0;
    struct packet packet;
    while (client_next(&consumer, &packet)) {
        client_ack(&consumer, MQTT_PUBACK, packet.packet_id);
        rig_turn(&rig);
        count++;
    }
    return count;
}

/* What the client has not acknowledged yet is held in memory: it must not grow without end only
 * because the socket is free. */
static void a_publisher_waits_while_the_queue_of_a_consumer_is_full(void **state)
{
    (void)state;
    connect_pair();
    rig.config.limits_write_stall_timeout =
        0; /* patience without end, however slow this machine is */
    for (unsigned i = 0; i < 50; i++) {
        publish_burst(5);
    }
    assert_paused(&publisher);
    assert_in_range(outbound_waiting(&consumer.session->outbound), 10, 20);
    unsigned received = 0;
    for (unsigned more = 1; more > 0;) {
        more = acknowledge_all();
        received += more;
    }
    assert_int_equal(received, 250); /* nothing is lost, and it all comes in the end */
    assert_goes_on(&publisher);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_QUEUE_FULL), 0);
}

/* It had nothing to acknowledge for long: that is no sign that it does not move. */
static void a_burst_after_a_long_silence_is_held_back_and_not_dropped(void **state)
{
    (void)state;
    connect_pair();
    rig.config.limits_write_stall_timeout = 3600000;
    consumer.session->acked_ms -= 2 * 3600000;
    publish_burst(50);
    assert_int_equal(rig_metric(&rig, METRIC_DROPPED_QUEUE_FULL), 0);
    unsigned received = 0;
    for (unsigned more = 1; more > 0;) {
        more = acknowledge_all();
        received += more;
    }
    assert_int_equal(received, 50);
}

/* A client of QoS 0 messages has nothing to acknowledge: while its socket is full, only that
 * counts. */
static void
a_publisher_waits_for_a_full_socket_however_old_the_last_acknowledgement_is(void **state)
{
    (void)state;
    connect_as(&consumer, "consumer");
    connect_as(&publisher, "publisher");
    rig.config.limits_write_stall_timeout = 3600000;
    consumer.session->acked_ms -= 2 * 3600000;
    consumer.conn->writing = true; /* as if the socket took nothing more, since now */
    consumer.conn->stalled_since_ms = worker_now(rig.worker);
    consumer.conn->out_messages = 1000000;
    assert_true(throttle(&consumer, publisher.session->handle));
    conn_arm_timer(consumer.conn);
    rig_turn(&rig);
    assert_paused(&publisher);
    consumer.conn->writing = false;
    consumer.conn->out_messages = 0;
    release(&consumer);
    assert_goes_on(&publisher);
}

/* Nobody waits for ever for a client that acknowledges nothing. */
static void a_publisher_goes_on_when_a_consumer_does_not_move(void **state)
{
    (void)state;
    connect_pair();
    rig.config.limits_write_stall_timeout = 1; /* milliseconds */
    publish_burst(100);
    while (publisher.session->pauses > 0) {
        uv_run(&rig.worker->loop, UV_RUN_ONCE); /* until its patience has ended */
    }
    while (rig_metric(&rig, METRIC_DROPPED_QUEUE_FULL) == 0) {
        publish_burst(10);
        uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
    }
    assert_true(conn_online(consumer.conn)); /* it is there, if slow */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_TWO(name) cmocka_unit_test_setup_teardown(name, set_up_two_workers, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_publisher_waits_until_the_consumer_has_caught_up),
        TEST(a_publisher_that_waits_already_is_not_paused_twice),
        TEST(a_publisher_that_feeds_two_waits_for_both),
        TEST(many_publishers_may_wait_for_one),
        TEST(nobody_waits_for_the_node_itself_or_for_its_own_publishes),
        TEST(a_publisher_goes_on_when_the_consumer_is_gone),
        TEST(a_publisher_that_is_gone_when_it_may_go_on_is_forgotten),
        TEST(a_publisher_that_comes_back_still_waits),
        TEST(input_that_came_while_paused_is_handled_later),
        TEST_TWO(a_publisher_on_another_worker_is_told_by_mail),
        TEST_TWO(paused_and_released_in_one_iteration_leaves_it_going),
        TEST_TWO(a_publisher_waits_while_the_mailbox_of_a_worker_is_full),
        TEST_TWO(a_mailbox_that_is_empty_again_holds_nobody_back),
        TEST_TWO(only_publishers_of_its_own_wait_for_another_worker),
        TEST_TWO(those_who_still_wait_at_shutdown_are_forgotten),
        TEST(a_publisher_waits_while_the_queue_of_a_consumer_is_full),
        TEST(a_burst_after_a_long_silence_is_held_back_and_not_dropped),
        TEST(a_publisher_waits_for_a_full_socket_however_old_the_last_acknowledgement_is),
        TEST(a_publisher_goes_on_when_a_consumer_does_not_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
