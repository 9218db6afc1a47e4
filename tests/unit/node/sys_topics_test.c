#include "node/metrics_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define TOPICS_MAX 100

/* The last payload of a topic that a test has seen published, and how many there were. */
struct seen {
    char topic[80];
    char payload[80];
    unsigned updates;
};

struct fixture {
    struct metrics sets[2];
    struct metrics *set_list[2];
    struct metrics_context context;
    struct sys_topics *topics;
    struct seen seen[TOPICS_MAX];
    size_t seen_count;
};

#define START_MS UINT64_C(5000000)

static int create(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    fixture->set_list[0] = &fixture->sets[0];
    fixture->set_list[1] = &fixture->sets[1];
    fixture->context = (struct metrics_context){
        .sets = fixture->set_list, .count = 2, .started_mono_ms = START_MS};
    fixture->topics = sys_topics_create();
    *state = fixture;
    return 0;
}

static int destroy(void **state)
{
    struct fixture *fixture = *state;
    sys_topics_destroy(fixture->topics);
    mem_free(fixture);
    return 0;
}

static struct seen *find(struct fixture *fixture, const char *topic)
{
    for (size_t i = 0; i < fixture->seen_count; i++) {
        if (strcmp(fixture->seen[i].topic, topic) == 0) {
            return &fixture->seen[i];
        }
    }
    return NULL;
}

static void on_publish(void *arg, struct slice topic, struct slice payload)
{
    struct fixture *fixture = arg;
    char name[80];
    snprintf(name, sizeof(name), "%.*s", (int)topic.len, (const char *)topic.data);
    struct seen *seen = find(fixture, name);
    if (seen == NULL) {
        assert_true(fixture->seen_count < TOPICS_MAX);
        seen = &fixture->seen[fixture->seen_count];
        fixture->seen_count++;
        strcpy(seen->topic, name);
    }
    snprintf(seen->payload, sizeof(seen->payload), "%.*s", (int)payload.len,
             (const char *)payload.data);
    seen->updates++;
}

/* An update `seconds` after the start. */
static void update(struct fixture *fixture, unsigned seconds)
{
    sys_topics_update(fixture->topics, &fixture->context, START_MS + seconds * UINT64_C(1000),
                      on_publish, fixture);
}

static void assert_topic(struct fixture *fixture, const char *name, const char *payload)
{
    char topic[80];
    snprintf(topic, sizeof(topic), "$SYS/broker/%s", name);
    const struct seen *seen = find(fixture, topic);
    if (seen == NULL) {
        fail_msg("never published: %s", topic);
        return;
    }
    assert_string_equal(seen->payload, payload);
}

static double load_of(struct fixture *fixture, const char *name)
{
    char topic[80];
    snprintf(topic, sizeof(topic), "$SYS/broker/load/%s", name);
    const struct seen *seen = find(fixture, topic);
    assert_non_null(seen);
    return strtod(seen->payload, NULL);
}

static void assert_near(double actual, double expected)
{
    if (actual < expected * 0.99 - 0.011 || actual > expected * 1.01 + 0.011) {
        fail_msg("%g is not near %g", actual, expected);
    }
}

/* What dashboards made for Mosquitto subscribe to; publish/bytes is all that we don't count. */
static void the_first_update_publishes_every_topic_that_users_know(void **state)
{
    static const char *const known[] = {
        "version",
        "uptime",
        "clients/total",
        "clients/connected",
        "clients/active",
        "clients/disconnected",
        "clients/inactive",
        "clients/maximum",
        "clients/expired",
        "messages/received",
        "messages/sent",
        "messages/inflight",
        "messages/stored",
        "store/messages/count",
        "store/messages/bytes",
        "retained messages/count",
        "subscriptions/count",
        "shared_subscriptions/count",
        "heap/current",
        "heap/maximum",
        "bytes/received",
        "bytes/sent",
        "publish/messages/received",
        "publish/messages/sent",
        "publish/messages/dropped",
        "load/messages/received/1min",
        "load/messages/sent/5min",
        "load/publish/received/15min",
        "load/publish/sent/1min",
        "load/publish/dropped/1min",
        "load/bytes/received/1min",
        "load/bytes/sent/1min",
        "load/sockets/1min",
        "load/connections/15min",
    };
    struct fixture *fixture = *state;
    update(fixture, 0);
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        char topic[80];
        snprintf(topic, sizeof(topic), "$SYS/broker/%s", known[i]);
        if (find(fixture, topic) == NULL) {
            fail_msg("not published: %s", topic);
        }
    }
    for (size_t i = 0; i < fixture->seen_count; i++) {
        assert_int_equal(fixture->seen[i].updates, 1);
        assert_int_equal(strncmp(fixture->seen[i].topic, "$SYS/broker/", 12), 0);
    }
}

static void payloads_are_written_as_users_expect(void **state)
{
    struct fixture *fixture = *state;
    update(fixture, 0);
    assert_topic(fixture, "version", "pulse version " PULSE_VERSION);
    assert_topic(fixture, "uptime", "0 seconds");
    assert_topic(fixture, "messages/sent", "0");
    assert_topic(fixture, "load/bytes/sent/1min", "0.00");
    update(fixture, 3661);
    assert_topic(fixture, "uptime", "3661 seconds");
}

static void values_are_sums_over_the_workers(void **state)
{
    struct fixture *fixture = *state;
    metric_add(&fixture->sets[0], METRIC_PACKETS_IN, 5);
    metric_add(&fixture->sets[1], METRIC_PACKETS_IN, 6);
    metric_add(&fixture->sets[0], METRIC_PUBLISH_OUT_QOS0, 1);
    metric_add(&fixture->sets[1], METRIC_PUBLISH_OUT_QOS1, 2);
    metric_add(&fixture->sets[1], METRIC_PUBLISH_OUT_QOS2, 4);
    metric_add(&fixture->sets[0], METRIC_DROPPED_QUEUE_FULL, 10);
    metric_add(&fixture->sets[0], METRIC_DROPPED_EXPIRED, 20);
    metric_add(&fixture->sets[0], METRIC_QUEUED, 30);
    metric_add(&fixture->sets[0], METRIC_QUEUED_BYTES, 3000);
    metric_add(&fixture->sets[0], METRIC_QOS1_INFLIGHT, 3);
    metric_add(&fixture->sets[1], METRIC_QOS2_INFLIGHT, 4);
    fixture->context.retained_messages = 7;
    fixture->context.retained_bytes = 700;
    update(fixture, 1);
    assert_topic(fixture, "messages/received", "11");
    assert_topic(fixture, "publish/messages/sent", "7");
    assert_topic(fixture, "publish/messages/dropped", "30");
    assert_topic(fixture, "retained messages/count", "7");
    assert_topic(fixture, "store/messages/count", "37");
    assert_topic(fixture, "messages/stored", "37");
    assert_topic(fixture, "store/messages/bytes", "3700");
    assert_topic(fixture, "messages/inflight", "7");
}

static void clients_are_counted_connected_and_kept(void **state)
{
    struct fixture *fixture = *state;
    metric_add(&fixture->sets[0], METRIC_SESSIONS, 10);
    metric_add(&fixture->sets[0], METRIC_CONNECTIONS, 4);
    update(fixture, 1);
    assert_topic(fixture, "clients/total", "10");
    assert_topic(fixture, "clients/connected", "4");
    assert_topic(fixture, "clients/active", "4");
    assert_topic(fixture, "clients/disconnected", "6");
    assert_topic(fixture, "clients/inactive", "6");
    assert_topic(fixture, "clients/maximum", "4");
    metric_add(&fixture->sets[0], METRIC_CONNECTIONS, -3);
    update(fixture, 2);
    assert_topic(fixture, "clients/connected", "1");
    assert_topic(fixture, "clients/maximum", "4");
}

/* The gauges of a connection in the making are not changed at one moment. */
static void there_are_never_less_than_no_clients_away(void **state)
{
    struct fixture *fixture = *state;
    metric_add(&fixture->sets[0], METRIC_CONNECTIONS, 1);
    update(fixture, 1);
    assert_topic(fixture, "clients/disconnected", "0");
}

static void only_what_changed_is_published_again(void **state)
{
    struct fixture *fixture = *state;
    update(fixture, 10);
    update(fixture, 10);
    /* Memory is what it is; nothing else may move. */
    for (size_t i = 0; i < fixture->seen_count; i++) {
        if (strstr(fixture->seen[i].topic, "/heap/") == NULL) {
            assert_int_equal(fixture->seen[i].updates, 1);
        }
    }
    metric_add(&fixture->sets[0], METRIC_SUBSCRIPTIONS, 1);
    update(fixture, 10);
    assert_int_equal(find(fixture, "$SYS/broker/subscriptions/count")->updates, 2);
    assert_int_equal(find(fixture, "$SYS/broker/version")->updates, 1);
}

static void a_load_approaches_the_rate_per_minute(void **state)
{
    struct fixture *fixture = *state;
    update(fixture, 0);
    for (unsigned second = 10; second <= 3600; second += 10) {
        metric_add(&fixture->sets[0], METRIC_BYTES_IN, 1000);
        update(fixture, second);
        if (second == 60) { /* 6000 a minute; after one window 1 - 1/e of that is reached */
            assert_near(load_of(fixture, "bytes/received/1min"), 6000 * 0.632);
            assert_near(load_of(fixture, "bytes/received/5min"), 6000 * 0.181);
            assert_near(load_of(fixture, "bytes/received/15min"), 6000 * 0.0645);
        }
    }
    assert_near(load_of(fixture, "bytes/received/1min"), 6000);
    assert_near(load_of(fixture, "bytes/received/5min"), 6000);
    assert_near(load_of(fixture, "bytes/received/15min"), 6000 * (1 - 0.0183));
    assert_near(load_of(fixture, "bytes/sent/1min"), 0);
}

static void a_load_fades_when_nothing_comes(void **state)
{
    struct fixture *fixture = *state;
    update(fixture, 0);
    metric_add(&fixture->sets[0], METRIC_SOCKETS_TOTAL, 600);
    update(fixture, 60);
    double busy = load_of(fixture, "sockets/1min");
    update(fixture, 120);
    assert_near(load_of(fixture, "sockets/1min"), busy * 0.368);
    update(fixture, 100000); /* the machine slept */
    assert_topic(fixture, "load/sockets/15min", "0.00");
}

/* What was counted before the first update is no burst. */
static void loads_start_at_zero_whatever_was_counted_before(void **state)
{
    struct fixture *fixture = *state;
    metric_add(&fixture->sets[0], METRIC_BYTES_IN, 1000000);
    update(fixture, 10);
    update(fixture, 20);
    assert_topic(fixture, "load/bytes/received/1min", "0.00");
}

/* An interval is never so short that a rate would be divided by nothing; what came is not lost. */
static void updates_within_a_second_count_once(void **state)
{
    struct fixture *fixture = *state;
    update(fixture, 0);
    metric_add(&fixture->sets[0], METRIC_BYTES_IN, 500);
    update(fixture, 0);
    assert_topic(fixture, "load/bytes/received/1min", "0.00");
    metric_add(&fixture->sets[0], METRIC_BYTES_IN, 500);
    update(fixture, 60);
    assert_near(load_of(fixture, "bytes/received/1min"), 1000 * 0.632);
}

static void the_reference_describes_every_topic(void **state)
{
    struct fixture *fixture = *state;
    struct text reference = {0};
    sys_topics_reference(&reference);
    update(fixture, 0);
    for (size_t i = 0; i < fixture->seen_count; i++) {
        char row[100];
        const char *topic = fixture->seen[i].topic;
        bool load = strncmp(topic, "$SYS/broker/load/", 17) == 0;
        int shown = load ? (int)(strrchr(topic, '/') + 1 - topic) : (int)strlen(topic);
        snprintf(row, sizeof(row), "| `%.*s%s` | ", shown, topic, load ? "+" : "");
        if (strstr(reference.data, row) == NULL) {
            fail_msg("not in the reference: %s", row);
        }
    }
    text_fini(&reference);
}

#define with_topics(test) cmocka_unit_test_setup_teardown(test, create, destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_topics(the_first_update_publishes_every_topic_that_users_know),
        with_topics(payloads_are_written_as_users_expect),
        with_topics(values_are_sums_over_the_workers),
        with_topics(clients_are_counted_connected_and_kept),
        with_topics(there_are_never_less_than_no_clients_away),
        with_topics(only_what_changed_is_published_again),
        with_topics(a_load_approaches_the_rate_per_minute),
        with_topics(a_load_fades_when_nothing_comes),
        with_topics(loads_start_at_zero_whatever_was_counted_before),
        with_topics(updates_within_a_second_count_once),
        with_topics(the_reference_describes_every_topic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
