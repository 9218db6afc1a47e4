/*
 * Churn: clients of all versions that do everything at once and at random, much of it wrong: they
 * flood, read nothing, acknowledge nothing, take each other's sessions, send junk, reset their
 * connections. Afterwards nothing of it is left in the broker. What this finds are mistakes of
 * lifetime, so a broker built with sanitizers finds most.
 */
#include "tests/integration/suite.h"

#include "tests/integration/metrics.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ACTORS = 25, IDS = 30, CHURN_MS = 3500, OUT_MAX = 500000, PAYLOAD_MAX = 300000 };

struct actor {
    struct client *c; /* NULL: gone */
    uint8_t version;
    bool reads;
    bool acknowledges;
    bool sends_much;
    uint16_t last_id;
    struct buffer out;
};

static const char *const topics[] = {"a", "a/b", "a/b/c", "x/y", "q", "r/1", "r/2", "r/3"};
static const char *const filters[] = {
    "a",   "a/b", "a/b/c", "x/y",    "q",          "r/1",        "#",          "a/#",
    "+/b", "r/+", "a/+/c", "$SYS/#", "$share/g/q", "$share/h/q", "$share/h/#", "$share/g/a/#"};
static char payload[PAYLOAD_MAX];
static uint64_t random_state;

/* ---- chance ---- */

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(next_random() >> 33) % limit;
}

static bool chance(uint32_t percent)
{
    return below(100) < percent;
}

#define ONE_OF(array) ((array)[below(sizeof(array) / sizeof((array)[0]))])

static void seed_random(void)
{
    const char *given = getenv("PULSE_TEST_SEED");
    unsigned long seed = given != NULL ? strtoul(given, NULL, 0)
                                       : (unsigned long)time(NULL) ^ (unsigned long)getpid() << 16;
    print_message("PULSE_TEST_SEED=%lu\n", seed);
    random_state = seed * 2654435761u + 1;
    for (int i = 0; i < 20; i++) {
        next_random();
    }
}

/* ---- what actors do ---- */

static uint16_t next_id(struct actor *actor)
{
    actor->last_id = (uint16_t)(actor->last_id % 65535 + 1);
    return actor->last_id;
}

static void put_subscriptions(struct actor *actor)
{
    static const uint8_t options[] = {0, OPT_RETAIN_AS_PUBLISHED, OPT_RETAIN_IF_NEW,
                                      OPT_RETAIN_NEVER};
    struct filter list[5] = {{0}};
    uint32_t count = 1 + below(4);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t option = actor->version == MQTT_50 ? ONE_OF(options) : 0;
        list[i] = (struct filter){ONE_OF(filters), (uint8_t)(option | below(3))};
    }
    struct subscribe_packet packet = {.id = next_id(actor), .filters = list};
    struct prop id[] = {prop_subscription_id(1 + below(300)), {.id = 0}};
    packet.props = actor->version == MQTT_50 && chance(50) ? id : NULL;
    put_subscribe(&actor->out, actor->version, &packet);
}

static void put_unsubscription(struct actor *actor)
{
    struct subscribe_packet packet = {.id = next_id(actor),
                                      .filters = FILTERS({ONE_OF(filters), 0})};
    put_unsubscribe(&actor->out, actor->version, &packet);
}

static void put_one_publish(struct actor *actor)
{
    static const size_t sizes[] = {0, 5, 100, 3000};
    static const size_t large_sizes[] = {100, 9000, 70000, 300000};
    struct prop props[4] = {{0}};
    size_t prop_count = 0;
    if (chance(30)) {
        props[prop_count++] = prop_message_expiry(below(3));
    }
    if (chance(30)) {
        props[prop_count++] = prop_topic_alias(1 + below(9));
    }
    if (chance(20)) {
        props[prop_count++] = prop_user_property("key", "value");
    }
    uint8_t qos = (uint8_t)below(3);
    struct publish_packet packet = {.topic = ONE_OF(topics),
                                    .payload = payload,
                                    .payload_len =
                                        actor->sends_much ? ONE_OF(large_sizes) : ONE_OF(sizes),
                                    .qos = qos,
                                    .id = qos > 0 ? next_id(actor) : 0,
                                    .retain = chance(20),
                                    .props = props};
    packet.payload = packet.payload_len > 0 ? payload : NULL;
    put_publish(&actor->out, actor->version, &packet);
}

static void put_publishes(struct actor *actor)
{
    static const uint32_t counts[] = {1, 1, 5, 40};
    for (uint32_t count = ONE_OF(counts); count > 0; count--) {
        put_one_publish(actor);
    }
}

static void put_disconnect(struct actor *actor)
{
    static const uint8_t reasons[] = {RC_SUCCESS, RC_DISCONNECT_WITH_WILL, RC_UNSPECIFIED};
    struct prop expiry[] = {prop_session_expiry(below(3)), {.id = 0}};
    if (actor->version == MQTT_50) {
        put_reason_packet(&actor->out, PKT_DISCONNECT, ONE_OF(reasons), chance(30) ? expiry : NULL);
    } else {
        put_bytes(&actor->out, (const uint8_t[]){0xe0, 0x00}, 2);
    }
}

static void put_junk(struct actor *actor)
{
    for (int i = 0; i < 20; i++) {
        put_u8(&actor->out, below(256));
    }
}

/* Goes without a word, half of the time with a reset. */
static void leave(struct actor *actor)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (chance(50)) {
        setsockopt(client_fd(actor->c), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    client_close(actor->c);
    actor->c = NULL;
    buffer_fini(&actor->out);
}

static void act(struct actor *actor)
{
    uint32_t what = below(100);
    if (what < 65) {
        put_publishes(actor);
    } else if (what < 75) {
        put_subscriptions(actor);
    } else if (what < 80) {
        put_unsubscription(actor);
    } else if (what < 85) {
        put_bytes(&actor->out, (const uint8_t[]){0xc0, 0x00}, 2);
    } else if (what < 87) {
        put_disconnect(actor);
    } else if (what < 88) {
        put_junk(actor);
    } else if (what < 93) {
        leave(actor);
    }
}

/* ---- their connections ---- */

static const struct prop *random_connect_props(struct prop props[5])
{
    static const uint16_t receive_maxima[] = {1, 3, 20};
    static const uint32_t expiries[] = {0, 1, 100};
    size_t count = 0;
    if (chance(50)) {
        props[count++] = prop_receive_maximum(ONE_OF(receive_maxima));
    }
    if (chance(50)) {
        props[count++] = prop_topic_alias_maximum(5);
    }
    if (chance(20)) {
        props[count++] = prop_maximum_packet_size(256);
    }
    if (chance(75)) {
        props[count++] = prop_session_expiry(ONE_OF(expiries));
    }
    props[count] = (struct prop){.id = 0};
    return props;
}

static void put_random_connect(struct actor *actor)
{
    static const uint16_t keep_alives[] = {0, 1, 60};
    char id[32];
    snprintf(id, sizeof(id), "churn-%u", below(IDS));
    struct prop props[5];
    struct prop delay[] = {prop_will_delay(below(3)), {.id = 0}};
    struct connect_packet packet = {.version = actor->version,
                                    .client_id = id,
                                    .resume = chance(60),
                                    .keep_alive = ONE_OF(keep_alives),
                                    .props = random_connect_props(props)};
    if (chance(50)) {
        packet.will_topic = ONE_OF(topics);
        packet.will_payload = "will";
        packet.will_qos = (uint8_t)below(3);
        packet.will_retain = chance(30);
        packet.will_props = chance(70) ? delay : NULL;
    }
    put_connect(&actor->out, &packet);
}

static void arrive(struct actor *actor)
{
    static const uint8_t versions[] = {MQTT_31, MQTT_311, MQTT_50, MQTT_50, MQTT_50};
    *actor = (struct actor){.version = ONE_OF(versions),
                            .reads = chance(80),
                            .acknowledges = chance(80),
                            .sends_much = chance(10)};
    actor->c = client_open(actor->version);
    if (chance(30)) {
        int bytes = 4096;
        setsockopt(client_fd(actor->c), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    put_random_connect(actor);
    if (chance(70)) {
        put_subscriptions(actor);
    }
}

static void answer(struct actor *actor, const struct packet *packet)
{
    enum packet_type type = 0;
    if (packet->type == PKT_PUBLISH && packet->qos > 0 && actor->acknowledges) {
        type = packet->qos == 1 ? PKT_PUBACK : PKT_PUBREC;
    } else if (packet->type == PKT_PUBREC) {
        type = PKT_PUBREL;
    } else if (packet->type == PKT_PUBREL) {
        type = PKT_PUBCOMP;
    }
    if (type != 0) {
        put_ack(&actor->out, actor->version, type, packet->id, RC_SUCCESS);
    }
}

static void receive(struct actor *actor)
{
    const struct packet *packet = client_receive(actor->c, 0);
    while (packet != NULL) {
        answer(actor, packet);
        packet = client_receive(actor->c, -1);
    }
}

/* Gives each socket what it takes, and takes what it has. */
static void serve(struct actor *actor)
{
    if (actor->c == NULL) {
        return;
    }
    struct pollfd ready = {.fd = client_fd(actor->c), .events = actor->reads ? POLLIN : 0};
    buffer_consume(&actor->out, client_send_some(actor->c, actor->out.data, actor->out.len));
    poll(&ready, 1, 0);
    if (actor->reads && ready.revents != 0) {
        receive(actor);
    }
    if (client_ended(actor->c) || (ready.revents & (POLLHUP | POLLERR)) != 0) {
        leave(actor);
    }
}

static void churn(struct actor *actors)
{
    long end = clock_ms() + CHURN_MS;
    while (clock_ms() < end && broker_alive(suite_broker())) {
        for (size_t i = 0; i < ACTORS; i++) {
            if (actors[i].c == NULL) {
                arrive(&actors[i]);
            }
            serve(&actors[i]);
        }
        for (int i = 0; i < 4; i++) {
            struct actor *actor = &actors[below(ACTORS)];
            if (actor->c != NULL && actor->out.len < OUT_MAX) {
                act(actor);
            }
        }
    }
    assert_true(broker_alive(suite_broker()));
}

/* ---- the end ---- */

static void end_all_sessions(void)
{
    for (int i = 0; i < IDS; i++) {
        char id[32];
        snprintf(id, sizeof(id), "churn-%d", i);
        client_disconnect(CONNECT(.client_id = id));
    }
}

static void expect_nothing_left(void)
{
    static const char *const gauges[] = {
        "mqtt_connections_current",   "pulse_sockets_current",
        "pulse_sessions_current",     "mqtt_subscriptions_current",
        "mqtt_session_queue_size",    "pulse_shared_subscriptions_current",
        "pulse_session_queue_bytes",  "mqtt_qos1_inflight_current",
        "mqtt_qos2_inflight_current",
    };
    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
        metric_expect(gauges[i], 0);
    }
}

static void check_that_it_serves(void)
{
    struct client *sub = CONNECT();
    subscribe(sub, "after/t", 2);
    struct client *pub = CONNECT();
    for (uint8_t qos = 0; qos <= 2; qos++) {
        publish(pub, "after/t", "x", qos);
        expect_publish_and_ack(sub, "after/t", "x");
    }
}

/* The broker must also end well, without a report of a sanitizer: suite.h sees to that. */
static void check_churn(const char *policy)
{
    OWN_BROKER(policy, "limits.outbound_buffer_max: 8192", "limits.max_offline_queue_len: 50",
               "limits.write_stall_timeout: 2s", "server.outbound_queue_size: 50",
               "observability.sys_interval: 1s");
    static struct actor actors[ACTORS];
    churn(actors);
    for (size_t i = 0; i < ACTORS; i++) {
        if (actors[i].c != NULL) {
            leave(&actors[i]);
        }
    }
    end_all_sessions();
    metric_expect("pulse_sockets_current", 0);
    end_all_sessions(); /* a CONNECT of before may have waited to be accepted until now */
    expect_nothing_left();
    check_that_it_serves();
}

static void churn_with_throttle_leaves_nothing_behind(void **state)
{
    (void)state;
    check_churn("limits.slow_consumer_policy: throttle");
}

static void churn_with_disconnect_leaves_nothing_behind(void **state)
{
    (void)state;
    check_churn("limits.slow_consumer_policy: disconnect");
}

static void churn_with_queue_offline_leaves_nothing_behind(void **state)
{
    (void)state;
    check_churn("limits.slow_consumer_policy: queue-offline");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(churn_with_throttle_leaves_nothing_behind),
        TEST(churn_with_disconnect_leaves_nothing_behind),
        TEST(churn_with_queue_offline_leaves_nothing_behind),
    };
    seed_random();
    memset(payload, 'p', sizeof(payload));
    return RUN_SUITE("churn", tests, NULL);
}
