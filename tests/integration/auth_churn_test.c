/*
 * Users who come, take over each other's client ids, subscribe, publish and go, in any order, while
 * rules are reloaded: nobody may ever get a message that is not for it, and nothing may leak.
 */
#include "tests/integration/auth_support.h"
#include "tests/integration/metrics.h"
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ACTORS = 24, IDS = 8, STEPS = 3000, USERS = 3 };

static const char *const users[USERS] = {"alice", "bob", "carol"};

/* A connection. Its user is set when CONNECT is sent. */
struct actor {
    struct client *c; /* NULL: none */
    const char *user;
    bool is_online;
};

static struct actor actors[ACTORS];
static uint64_t random_state;
static unsigned delivered;

static unsigned random_below(unsigned bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % bound;
}

static void seed_random(void)
{
    const char *given = getenv("PULSE_TEST_SEED");
    unsigned long seed = given != NULL ? strtoul(given, NULL, 0)
                                       : (unsigned long)time(NULL) ^ (unsigned long)getpid() << 16;
    print_message("PULSE_TEST_SEED=%lu\n", seed);
    random_state = seed * 2654435761u + 1;
    for (int i = 0; i < 20; i++) {
        random_below(1);
    }
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void let_go(struct actor *actor)
{
    client_close(actor->c);
    actor->c = NULL;
    actor->is_online = false;
}

/* Topics are only/USER/...: for that user, whatever id and session it comes with. */
static void check_message(const struct actor *actor, const struct packet *packet)
{
    char own[32];
    int len = snprintf(own, sizeof(own), "only/%s/", actor->user);
    bool is_own = strncmp(packet->topic, own, (size_t)len) == 0;
    if (!is_own && strncmp(packet->topic, "all/", 4) != 0) {
        test_fail("%s got a message of %s", actor->user, packet->topic);
    }
    delivered++;
}

static void take_packet(struct actor *actor, const struct packet *packet)
{
    switch (packet->type) {
    case PKT_CONNACK:
        actor->is_online = packet->reason == RC_SUCCESS;
        break;
    case PKT_PUBLISH:
        check_message(actor, packet);
        if (packet->qos == 1) {
            send_ack(actor->c, PKT_PUBACK, packet->id, RC_SUCCESS);
        } else if (packet->qos == 2) {
            send_ack(actor->c, PKT_PUBREC, packet->id, RC_SUCCESS);
        }
        break;
    case PKT_PUBREL:
        send_ack(actor->c, PKT_PUBCOMP, packet->id, RC_SUCCESS);
        break;
    case PKT_PUBREC:
        if (packet->reason < 0x80) {
            send_ack(actor->c, PKT_PUBREL, packet->id, RC_SUCCESS);
        }
        break;
    default:
        break;
    }
}

static void receive_all(struct actor *actor)
{
    const struct packet *packet;
    while (actor->c != NULL && (packet = client_receive(actor->c, 0)) != NULL) {
        take_packet(actor, packet);
    }
    if (actor->c != NULL && client_ended(actor->c)) {
        let_go(actor);
    }
}

/* ---- what actors do -------------------------------------------------------------------------- */

static void come(struct actor *actor)
{
    char id[16];
    char will[48];
    actor->user = users[random_below(USERS)];
    snprintf(id, sizeof(id), "id-%u", random_below(IDS));
    snprintf(will, sizeof(will), "only/%s/will", users[random_below(USERS)]);
    actor->c = LOGIN(.version = random_below(4) == 0 ? MQTT_311 : MQTT_50, .client_id = id,
                     .resume = random_below(4) > 0, .user = actor->user,
                     .password = random_below(8) == 0 ? "wrong" : "x",
                     .will_topic = random_below(4) == 0 ? will : NULL, .will_payload = "will");
}

static void come_to_stay(struct actor *actor)
{
    char id[16];
    actor->user = users[random_below(USERS)];
    snprintf(id, sizeof(id), "id-%u", random_below(IDS));
    actor->c = LOGIN(.client_id = id, .resume = true, .user = actor->user, .password = "x",
                     .props = PROPS(prop_session_expiry(100)));
}

static void ask_for_messages(struct actor *actor)
{
    char own[48];
    snprintf(own, sizeof(own), "%sonly/%s/#", random_below(4) == 0 ? "$share/g/" : "",
             users[random_below(USERS)]);
    SUBSCRIBE(actor->c, .id = client_next_id(actor->c),
              .filters = FILTERS({own, (uint8_t)random_below(3)},
                                 {random_below(2) == 0 ? "all/#" : "#", 1}));
}

static void say_something(struct actor *actor)
{
    char topic[48];
    const char *to = users[random_below(USERS)];
    snprintf(topic, sizeof(topic), "only/%s/%u", to, random_below(4));
    uint8_t qos = (uint8_t)random_below(3);
    PUBLISH(actor->c, .topic = random_below(3) == 0 ? "all/x" : topic, .payload = "x", .qos = qos,
            .id = qos == 0 ? 0 : client_next_id(actor->c), .retain = random_below(6) == 0);
}

static void act(struct actor *actor)
{
    receive_all(actor);
    if (actor->c == NULL) {
        if (random_below(2) == 0) {
            come(actor);
        } else {
            come_to_stay(actor);
        }
    } else if (random_below(12) == 0) {
        let_go(actor);
    } else if (actor->is_online && random_below(3) == 0) {
        ask_for_messages(actor);
    } else if (actor->is_online) {
        say_something(actor);
    }
}

/* Everybody may publish to everybody's topics; only the user itself reads them. In every other
 * state of the rules nobody may do anything with all/, nor read its own. */
static void write_rules(bool is_open)
{
    auth_write("rules", "allow all publish only/#\n%s",
               is_open ? "allow all subscribe only/%u/#\nallow all all all/#\n"
                       : "allow user alice subscribe only/%u/0\n");
}

static void nobody_gets_what_is_not_for_it_whatever_happens(void **state)
{
    (void)state;
    seed_random();
    write_rules(true);
    struct broker *broker = OWN_BROKER_YAML(
        auth_yaml("auth: {enabled: true, failure_delay: 1ms, failure_delay_max: 5ms, "
                  "password_file: %s, acl_file: %s}\n",
                  auth_write("users", "alice:%s\nbob:%s\ncarol:%s\n", auth_hash_7("x"),
                             auth_hash_7("x"), auth_hash_7("x")),
                  auth_path("rules")),
        "limits.max_subscriptions_per_client: 20");
    memset(actors, 0, sizeof(actors));
    delivered = 0;
    for (int step = 0; step < STEPS; step++) {
        act(&actors[random_below(ACTORS)]);
        if (step % 300 == 299) {
            write_rules(step % 600 == 599);
            auth_reload(broker, true);
        }
    }
    for (int i = 0; i < ACTORS; i++) {
        receive_all(&actors[i]);
        if (actors[i].c != NULL) {
            let_go(&actors[i]);
        }
    }
    assert_true(delivered > 50); /* else nothing was tried */
    metric_expect("mqtt_connections_current", 0);
    metric_expect("pulse_sockets_current", 0);
    for (int i = 0; i < IDS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "id-%d", i);
        client_disconnect(CONNECT(.client_id = id, .user = "bob", .password = "x"));
    }
    metric_expect("pulse_sessions_current", 0);
    metric_expect("mqtt_subscriptions_current", 0);
    metric_expect("pulse_session_queue_bytes", 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(nobody_gets_what_is_not_for_it_whatever_happens),
    };
    return RUN_SUITE("auth_churn", tests, NULL);
}
