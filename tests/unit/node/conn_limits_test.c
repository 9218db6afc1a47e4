#include <unistd.h>

#include "base/mem.h"
#include "base/reclaim.h"
#include "codec/mqtt.h"
#include "codec/proxy_header.h"
#include "node/layers.h"
#include "node/listener.h"
#include "node/outbound.h"
#include "tests/unit/node/login_support.h"

static struct rig rig;
static struct client client;
static struct client other;
static struct client many[8];

/* A listener behind a proxy: clients have the addresses that the test wants. */
static struct config_listener wanted;
static struct listener listener;

static void start(unsigned workers)
{
    login_rig_start(&rig, workers, "limits: {connect_rate_per_address: 0}\n");
    wanted = (struct config_listener){.name = "proxied", .proxy_protocol = PROXY_ANY};
    listener = (struct listener){.config = &wanted, .name = "proxied"};
    client.fd = other.fd = -1;
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        many[i].fd = -1;
    }
}

static int set_up(void **state)
{
    (void)state;
    start(1);
    return 0;
}

static void leave(struct client *one)
{
    if (one->fd >= 0) {
        client_vanish(one);
    }
}

static int tear_down(void **state)
{
    (void)state;
    leave(&client);
    leave(&other);
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        leave(&many[i]);
    }
    login_rig_stop(&rig);
    return 0;
}

static void await_metric(enum metric id, int64_t value)
{
    uint64_t end = clock_mono_ms() + 10000;
    while (rig_metric(&rig, id) != value) {
        assert_true(clock_mono_ms() < end);
        rig_turn(&rig);
        usleep(1000);
    }
}

/* ---- how many -------------------------------------------------------------------------------- */

/* As listener.c does with a connection that it has accepted. */
static bool come(struct client *one)
{
    struct listening listening = {.worker = rig.worker, .listener = &listener};
    bool failed = false;
    if (!conn_enter_limits(rig.worker, &listener)) {
        return false;
    }
    struct layers *layers = layers_create(&listening, &failed);
    assert_false(failed);
    login_come(one, &rig, &listener, layers);
    return true;
}

static void say(struct client *one, const char *text)
{
    client_send(one, text, strlen(text));
}

static void come_from_ten_one(struct client *one)
{
    assert_true(come(one));
    say(one, "PROXY TCP4 10.0.0.1 10.0.0.9 1000 1883\r\n");
    rig_turn(&rig);
}

static void connect_as(struct client *one, const char *id)
{
    struct login_wish wish = {.id = id};
    login_send_connect(one, &wish);
    login_await(one, MQTT_CONNACK);
}

static void nothing(struct client *one)
{
    (void)one;
}

static void garbage(struct client *one)
{
    say(one, "garbage");
}

static void online(struct client *one)
{
    connect_as(one, "x");
}

static void online_and_good_bye(struct client *one)
{
    connect_as(one, "x");
    client_send(one, "\xe0\0", 2);
    login_await_end(one);
}

static void online_and_wrong(struct client *one)
{
    connect_as(one, "x");
    client_send(one, "\x00\0", 2);
}

static void kicked(struct client *one)
{
    connect_as(one, "x");
    conn_close(list_entry(rig.worker->conns.prev, struct conn, of_worker), METRIC_CLOSED_ADMIN,
               MQTT_REASON_ADMINISTRATIVE_ACTION, true);
}

static void too_slow(struct client *one)
{
    login_await_end(one); /* after limits.connect_timeout */
}

static void (*const ways_out[])(struct client *) = {
    nothing, garbage, online, online_and_good_bye, online_and_wrong, kicked, too_slow};

static void expect_nobody(void)
{
    await_metric(METRIC_SOCKETS, 0);
    assert_int_equal(atomic_load(&rig.broker->sockets), 0);
    assert_int_equal(atomic_load(&listener.connections), 0);
}

static void try_ways_out(void)
{
    rig.config.limits_connect_timeout = 100;
    for (size_t way = 0; way < ARRAY_COUNT(ways_out); way++) {
        for (size_t i = 0; i < 3; i++) { /* each time there is room for two */
            come_from_ten_one(&client);
            ways_out[way](&client);
            rig_turn(&rig);
            leave(&client);
            expect_nobody();
        }
    }
}

static void start_counting(unsigned workers)
{
    login_rig_start(&rig, workers,
                    "limits: {connect_rate_per_address: 0, max_connections_per_address: 2}\n");
    wanted = (struct config_listener){.name = "proxied", .proxy_protocol = PROXY_ANY};
    listener = (struct listener){.config = &wanted, .name = "proxied"};
}

static void every_way_out_gives_the_places_back(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 3; workers += 2) {
        start_counting(workers);
        try_ways_out();
        login_rig_stop(&rig);
    }
}

static void an_address_with_too_many_connections_is_closed_at_once(void **state)
{
    (void)state;
    login_rig_stop(&rig);
    start_counting(1);
    come_from_ten_one(&many[0]);
    come_from_ten_one(&many[1]);
    come_from_ten_one(&many[2]);
    login_await_end(&many[2]);
    assert_int_equal(rig_metric(&rig, METRIC_CLOSED_ADDRESS_LIMIT), 1);
    assert_int_equal(rig_metric(&rig, METRIC_SOCKETS), 2); /* it does not linger */
    connect_as(&many[0], "x");                             /* the others don't suffer */
    /* and another address may come */
    assert_true(come(&many[3]));
    say(&many[3], "PROXY TCP4 10.0.0.2 10.0.0.9 1000 1883\r\n");
    connect_as(&many[3], "y");
    leave(&many[0]);
    rig_turn(&rig);
    come_from_ten_one(&many[4]); /* a place is free again */
    connect_as(&many[4], "z");
}

static void a_listener_takes_as_many_as_it_may(void **state)
{
    (void)state;
    wanted.max_connections = 2;
    assert_true(come(&many[0]));
    assert_true(come(&many[1]));
    assert_false(come(&many[2]));
    assert_int_equal(atomic_load(&listener.connections), 2);
    assert_int_equal(atomic_load(&rig.broker->sockets), 2);
    assert_int_equal(rig_metric(&rig, METRIC_SOCKETS_REFUSED), 1);
    leave(&many[0]);
    rig_turn(&rig);
    assert_true(come(&many[2]));
}

static void there_are_as_many_in_all_as_may_be(void **state)
{
    (void)state;
    rig.broker->sockets_max = 1;
    assert_true(come(&many[0]));
    assert_false(come(&many[1]));
    assert_int_equal(atomic_load(&listener.connections), 1);
    leave(&many[0]);
    rig_turn(&rig);
    expect_nobody();
}

/* ---- how fast they come ---------------------------------------------------------------------- */

static void so_many_may_come_in_a_second(void **state)
{
    (void)state;
    rig.config.limits_connect_rate = 20;
    unsigned came = 1;
    while (conn_more_may_come(rig.worker)) {
        came++;
        assert_true(came <= 21);
    }
    assert_int_equal(came, 21); /* a second's worth, and one that all wait for */
    assert_true(timer_armed(&rig.worker->accept_alarm));
    assert_true(rig.worker->accept_alarm.deadline_ms - worker_now(rig.worker) <= 50);
    uint64_t begin = clock_mono_ms();
    while (timer_armed(&rig.worker->accept_alarm)) {
        rig_turn(&rig);
        usleep(1000);
        assert_true(clock_mono_ms() - begin < 5000);
    }
    assert_int_equal(rig_metric(&rig, METRIC_ACCEPT_PAUSED), 1);
}

static void without_a_limit_of_the_rate_all_may_come(void **state)
{
    (void)state;
    rig.config.limits_connect_rate = 0;
    for (int i = 0; i < 10000; i++) {
        assert_true(conn_more_may_come(rig.worker));
    }
    assert_int_equal(rig_metric(&rig, METRIC_ACCEPT_PAUSED), 0);
}

/* ---- how much one may publish ---------------------------------------------------------------- */

static void publish_some(struct client *one, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        client_publish(one, "t", 0, 0, slice_text("x"));
    }
}

static struct login_wish kept = {.id = "p", .session_expiry = 1000};

static void who_publishes_too_fast_waits_and_loses_nothing(void **state)
{
    (void)state;
    rig.config.limits_publish_rate = 10;
    assert_int_equal(login_connect(&client, &rig, kept), 0);
    publish_some(&client, 14);
    client_send(&client, "\xc0\0", 2);
    rig_turn(&rig);
    assert_int_equal(rig_metric(&rig, METRIC_PUBLISH_IN_QOS0), 11);
    assert_int_equal(client.session->pauses, 1);
    client_expect_nothing(&client);
    login_await(&client, MQTT_PINGRESP);
    assert_int_equal(rig_metric(&rig, METRIC_PUBLISH_IN_QOS0), 14);
}

static void bytes_count_as_well(void **state)
{
    (void)state;
    rig.config.limits_publish_bytes_rate = 1000;
    assert_int_equal(login_connect(&client, &rig, kept), 0);
    static char large[1100];
    memset(large, 'x', sizeof(large) - 1);
    client_publish(&client, "t", 0, 0, slice_text(large));
    publish_some(&client, 1);
    rig_turn(&rig);
    assert_int_equal(rig_metric(&rig, METRIC_PUBLISH_IN_QOS0), 1);
    await_metric(METRIC_PUBLISH_IN_QOS0, 2);
    assert_int_equal(rig_metric(&rig, METRIC_RATE_LIMITED), 1);
}

static void a_publisher_that_waits_may_be_taken_over(void **state)
{
    (void)state;
    rig.config.limits_publish_rate = 1;
    assert_int_equal(login_connect(&client, &rig, kept), 0);
    publish_some(&client, 5);
    rig_turn(&rig);
    assert_int_equal(client.session->pauses, 1);
    rig.config.limits_publish_rate = 1000;
    assert_int_equal(login_connect(&other, &rig, kept), 0);
    assert_int_equal(other.session->pauses, 0);
    int64_t before = rig_metric(&rig, METRIC_PUBLISH_IN_QOS0);
    publish_some(&other, 5);
    rig_turn(&rig);
    assert_int_equal(rig_metric(&rig, METRIC_PUBLISH_IN_QOS0), before + 5);
}

static void a_publisher_that_waits_may_end_with_its_session(void **state)
{
    (void)state;
    static const bool keep[] = {true, false};
    rig.config.limits_publish_rate = 1;
    for (size_t i = 0; i < ARRAY_COUNT(keep); i++) {
        struct login_wish wish = {.id = "q", .session_expiry = keep[i] ? 1000 : 0};
        assert_int_equal(login_connect(&client, &rig, wish), 0);
        struct session *session = client.session;
        publish_some(&client, 5);
        rig_turn(&rig);
        assert_int_equal(session->pauses, 1);
        conn_close(client.conn, METRIC_CLOSED_ADMIN, MQTT_REASON_ADMINISTRATIVE_ACTION, true);
        leave(&client);
        rig_turn(&rig);
        if (keep[i]) {
            assert_null(session->conn);
            assert_int_equal(session->pauses, 0);
        }
    }
    assert_int_equal(rig_metric(&rig, METRIC_SESSIONS), 0);
}

/* ---- how long topics are --------------------------------------------------------------------- */

static void topics_may_be_as_long_as_the_limit(void **state)
{
    (void)state;
    rig.config.limits_topic_bytes_max = 10;
    rig.config.limits_topic_levels_max = 3;
    assert_int_equal(login_connect(&client, &rig, kept), 0);
    assert_int_equal(login_subscribe(&client, "0123456789", 0), 0);
    assert_int_equal(login_subscribe(&client, "a/b/c", 0), 0);
    assert_int_equal(login_subscribe(&client, "01234567890", 0), MQTT_REASON_TOPIC_FILTER_INVALID);
    assert_int_equal(login_subscribe(&client, "a/b/c/d", 0), MQTT_REASON_TOPIC_FILTER_INVALID);
    client_publish(&client, "a/b/c/d", 1, 1, slice_text("x"));
    assert_int_equal(login_await(&client, MQTT_PUBACK).body.data[2],
                     MQTT_REASON_TOPIC_NAME_INVALID);
    client_publish(&client, "a/b/c", 1, 2, slice_text("x"));
    login_await(&client, MQTT_PUBLISH);
    assert_int_equal(login_await(&client, MQTT_PUBACK).body.len, 2);
}

/* ---- the queues of all ----------------------------------------------------------------------- */

static int64_t bytes_in_queues(void)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < rig.broker->worker_count; i++) {
        uint32_t cursor = 0;
        struct session *session;
        while ((session = session_table_next(&rig.broker->workers[i]->sessions, &cursor)) != NULL) {
            sum += (int64_t)session->outbound.bytes;
        }
    }
    return sum;
}

static int64_t bytes_told(void)
{
    int64_t sum = atomic_load(&rig.broker->queue_bytes);
    for (unsigned i = 0; i < rig.broker->worker_count; i++) {
        sum += rig.broker->workers[i]->queue_bytes_untold;
    }
    return sum;
}

static void expect_sums_to_agree(void)
{
    assert_int_equal(bytes_told(), bytes_in_queues());
    assert_int_equal(rig_metric(&rig, METRIC_QUEUED_BYTES), bytes_in_queues());
}

static struct client *some_client(uint64_t *state)
{
    return &many[random_between(state, 0, ARRAY_COUNT(many) - 1)];
}

/* One of `count` ids; as each id may be anywhere, sessions are taken over and kept offline. */
static void come_somehow(uint64_t *state, struct client *one)
{
    char id[16];
    leave(one);
    rig_turn(&rig);
    snprintf(id, sizeof(id), "c%u", random_between(state, 0, 5));
    struct login_wish wish = {.id = id,
                              .session_expiry = random_between(state, 0, 3) > 0 ? 100 : 0};
    assert_int_equal(login_connect(one, &rig, wish), 0);
    static const char *const filters[] = {"t", "t/#", "$share/g/t", "u"};
    const char *filter = filters[random_between(state, 0, 3)];
    uint8_t bytes[64] = {MQTT_SUBSCRIBE << 4 | 2, (uint8_t)(strlen(filter) + 6), 0, 1, 0, 0,
                         (uint8_t)strlen(filter)};
    memcpy(bytes + 7, filter, strlen(filter));
    bytes[7 + strlen(filter)] = (uint8_t)random_between(state, 1, 2);
    client_send(one, bytes, 8 + strlen(filter));
    rig_turn(&rig);
}

static void publish_somehow(uint64_t *state, struct client *one)
{
    static char payload[20000];
    memset(payload, 'x', sizeof(payload));
    client_publish(one, random_between(state, 0, 1) == 0 ? "t" : "u",
                   (uint8_t)random_between(state, 1, 2), (uint16_t)random_between(state, 1, 9),
                   slice_of(payload, random_between(state, 0, sizeof(payload))));
}

/* Answers what has come, or not. */
static void answer_somehow(uint64_t *state, struct client *one)
{
    struct packet packet;
    while (client_next(one, &packet)) {
        bool answer = random_between(state, 0, 2) > 0;
        if (answer && packet.type == MQTT_PUBLISH) {
            client_ack(one, (packet.flags & 6) == 2 ? MQTT_PUBACK : MQTT_PUBREC, packet.packet_id);
        } else if (answer && packet.type == MQTT_PUBREL) {
            client_ack(one, MQTT_PUBCOMP,
                       (uint16_t)(packet.body.data[0] << 8 | packet.body.data[1]));
        }
    }
}

static bool is_up(const struct client *one)
{
    if (one->fd < 0) {
        return false;
    }
    uint8_t byte;
    return recv(one->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
}

static void step(uint64_t *state)
{
    struct client *one = some_client(state);
    unsigned what = random_between(state, 0, 9);
    if (what == 0 || !is_up(one)) {
        come_somehow(state, one);
    } else if (what == 1) {
        leave(one);
    } else if (what < 6) {
        publish_somehow(state, one);
    } else {
        answer_somehow(state, one);
    }
    rig_turn(&rig);
}

static void what_queues_hold_is_counted_whatever_happens(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned workers = 1; workers <= 2; workers++) {
        login_rig_stop(&rig);
        start(workers);
        rig.config.limits_max_offline_queue_len = 20;
        rig.config.limits_offline_queue_policy =
            workers == 1 ? OFFLINE_QUEUE_DROP_OLDEST : OFFLINE_QUEUE_DROP_NEWEST;
        rig.config.limits_slow_consumer_policy = SLOW_CONSUMER_QUEUE_OFFLINE;
        rig.broker->queue_bytes_max = 400000;
        for (unsigned i = 0; i < 600; i++) {
            step(&random);
            expect_sums_to_agree();
        }
        for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
            leave(&many[i]);
        }
        rig_turn(&rig);
    }
}

static void over_the_limit_of_all_queues_messages_are_dropped(void **state)
{
    (void)state;
    struct login_wish wish = {.id = "away", .session_expiry = 1000};
    assert_int_equal(login_connect(&client, &rig, wish), 0);
    assert_int_equal(login_subscribe(&client, "t", 1), 1);
    leave(&client);
    rig_turn(&rig);
    rig.broker->queue_bytes_max = 10000;
    assert_int_equal(login_connect(&other, &rig, kept), 0);
    static char payload[1000];
    memset(payload, 'x', sizeof(payload));
    for (uint16_t id = 1; id <= 20; id++) {
        client_publish(&other, "t", 1, id, slice_of(payload, sizeof(payload)));
    }
    rig_turn(&rig);
    int64_t dropped = rig_metric(&rig, METRIC_DROPPED_QUEUES_FULL);
    assert_in_range(dropped, 10, 12);
    assert_true(bytes_told() <= 10000);
    expect_sums_to_agree();
    /* what is taken makes room */
    assert_int_equal(login_connect(&client, &rig, wish), 0);
    struct packet packet;
    while (client_next(&client, &packet)) {
        client_ack(&client, MQTT_PUBACK, packet.packet_id);
    }
    rig_turn(&rig);
    assert_int_equal(bytes_told(), 0);
    client_publish(&other, "t", 1, 30, slice_of(payload, sizeof(payload)));
    login_await(&client, MQTT_PUBLISH);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_out_gives_the_places_back),
        TEST(an_address_with_too_many_connections_is_closed_at_once),
        TEST(a_listener_takes_as_many_as_it_may),
        TEST(there_are_as_many_in_all_as_may_be),
        TEST(so_many_may_come_in_a_second),
        TEST(without_a_limit_of_the_rate_all_may_come),
        TEST(who_publishes_too_fast_waits_and_loses_nothing),
        TEST(bytes_count_as_well),
        TEST(a_publisher_that_waits_may_be_taken_over),
        TEST(a_publisher_that_waits_may_end_with_its_session),
        TEST(topics_may_be_as_long_as_the_limit),
        TEST(what_queues_hold_is_counted_whatever_happens),
        TEST(over_the_limit_of_all_queues_messages_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
