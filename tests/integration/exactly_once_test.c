/* Promises under disturbance: publishers and subscribers that break off at random, and come back.
 */
#include "tests/integration/kept_session.h"
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COUNT = 150, BREAK_ONE_IN = 6 };

static void seed_random(void)
{
    const char *text = getenv("PULSE_TEST_SEED");
    unsigned seed = text != NULL ? (unsigned)strtoul(text, NULL, 0)
                                 : (unsigned)time(NULL) ^ (unsigned)clock_ms();
    print_message("           PULSE_TEST_SEED=%u\n", seed);
    srand(seed);
}

/* A client that follows the protocol, but loses its connection now and then. */
struct party {
    const char *id;
    const char *topic;
    uint8_t qos;
    struct client *c;
    int next;           /* the number of the message that is new */
    bool held[65536];   /* a receiver's QoS 2 ids between PUBLISH and PUBREL */
    uint16_t packet_id; /* a sender's */
};

static void come_back(struct party *party)
{
    if (party->c != NULL) {
        client_close(party->c);
    }
    party->c = CONNECT(.client_id = party->id, .resume = true,
                       .props = PROPS(prop_session_expiry(60), prop_receive_maximum(8)));
}

/* True when the connection was lost, and is there again. */
static bool break_off_sometimes(struct party *party)
{
    if (rand() % BREAK_ONE_IN != 0) {
        return false;
    }
    come_back(party);
    assert_true(client_last(party->c)->session_present);
    return true;
}

/* ---- a receiver ---- */

/* A message that is new must be the next one; one that is not must say so. */
static void take_message(struct party *party, const struct packet *packet)
{
    int number = atoi(packet->payload);
    bool seen = packet->qos == 2 ? party->held[packet->id] : number < party->next;
    if (seen ? !packet->dup : number != party->next) {
        test_fail("message %d came%s, and %d should be next", number, packet->dup ? " again" : "",
                  party->next);
    }
    party->next += !seen;
    party->held[packet->id] = packet->qos == 2;
}

/* Handles one packet as the specification demands, unless the connection breaks just then. */
static void handle_packet(struct party *party, const struct packet *packet)
{
    enum packet_type answer = PKT_PUBCOMP;
    uint16_t id = packet->id;
    if (packet->type == PKT_PUBLISH) {
        answer = packet->qos == 2 ? PKT_PUBREC : PKT_PUBACK;
        take_message(party, packet);
    } else {
        assert_int_equal(packet->type, PKT_PUBREL);
        party->held[id] = false;
    }
    if (break_off_sometimes(party)) {
        return;
    }
    send_ack(party->c, answer, id, RC_SUCCESS);
    break_off_sometimes(party);
}

static void receive_what_is_there(struct party *party, int timeout_ms)
{
    const struct packet *packet;
    while ((packet = client_receive(party->c, timeout_ms)) != NULL) {
        handle_packet(party, packet);
    }
}

static void receive_until(struct party *party, int count)
{
    long deadline = clock_ms() + WAIT_MS;
    while (party->next < count) {
        if (clock_ms() > deadline) {
            test_fail("message %d never came", party->next);
        }
        receive_what_is_there(party, 20);
    }
}

/* ---- a sender ---- */

static void send_message(struct party *party, bool again)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", party->next);
    PUBLISH(party->c, .topic = party->topic, .payload = text, .qos = party->qos,
            .id = party->packet_id, .dup = again);
}

/* Sends PUBLISH until it is answered. */
static void publish_until_answered(struct party *party, enum packet_type answer)
{
    bool answered = false;
    for (bool again = false; !answered; again = true) {
        send_message(party, again);
        if (break_off_sometimes(party)) {
            continue; /* sent, but who knows whether it arrived */
        }
        const struct packet *packet = expect_packet(party->c, answer);
        assert_int_equal(packet->id, party->packet_id);
        assert_true(packet->reason < 0x80);
        answered = !break_off_sometimes(party) || answer == PKT_PUBREC;
    }
}

static void release_until_answered(struct party *party)
{
    bool answered = false;
    while (!answered) {
        send_ack(party->c, PKT_PUBREL, party->packet_id, RC_SUCCESS);
        if (break_off_sometimes(party)) {
            continue;
        }
        const struct packet *packet = expect_packet(party->c, PKT_PUBCOMP);
        assert_int_equal(packet->id, party->packet_id);
        assert_true(packet->reason == RC_SUCCESS || packet->reason == RC_PACKET_ID_NOT_FOUND);
        answered = true;
    }
}

static void send_next(struct party *party)
{
    party->packet_id = (uint16_t)(1 + rand() % 3 + party->next % 7 * 3);
    publish_until_answered(party, party->qos == 2 ? PKT_PUBREC : PKT_PUBACK);
    if (party->qos == 2) {
        release_until_answered(party);
    }
    party->next++;
}

/* ---- the promises ---- */

/* [MQTT-4.3.3-3] to [MQTT-4.3.3-12], [MQTT-4.4.0-1]: exactly once and in order, come what may. */
static void qos_2_messages_arrive_exactly_once_through_random_breaks(void **state)
{
    (void)state;
    seed_random();
    struct party sub = {.id = "once-sub", .topic = "once/t", .qos = 2};
    struct party pub = {.id = "once-pub", .topic = "once/t", .qos = 2};
    come_back(&sub);
    subscribe(sub.c, "once/t", 2);
    come_back(&pub);
    while (pub.next < COUNT) {
        send_next(&pub);
        receive_what_is_there(&sub, 0);
    }
    receive_until(&sub, COUNT);
    receive_what_is_there(&sub, QUIET_MS);
    assert_int_equal(sub.next, COUNT);
}

/* [MQTT-4.3.2-3], [MQTT-4.4.0-1], [MQTT-4.6.0-5]: at least once, each for the first time in order.
 */
static void qos_1_messages_arrive_in_order_through_random_breaks_of_the_subscriber(void **state)
{
    (void)state;
    seed_random();
    struct party sub = {.id = "least-sub", .topic = "least/t", .qos = 1};
    come_back(&sub);
    subscribe(sub.c, "least/t", 1);
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "least/t", text, 1);
        receive_what_is_there(&sub, 0);
    }
    receive_until(&sub, COUNT);
}

/* Many sessions at once, each with its own breaks, all fed by one publisher. */
static void every_session_keeps_its_own_promise(void **state)
{
    (void)state;
    seed_random();
    enum { SUBS = 8 };
    static struct party subs[SUBS];
    static char ids[SUBS][32];
    for (int i = 0; i < SUBS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "many-%d", i);
        subs[i] = (struct party){.id = ids[i], .topic = "many/t", .qos = (uint8_t)(1 + i % 2)};
        come_back(&subs[i]);
        subscribe(subs[i].c, i % 3 == 0 ? "many/#" : "many/t", subs[i].qos);
    }
    struct client *pub = CONNECT();
    char text[16];
    for (int i = 0; i < COUNT / 2; i++) {
        snprintf(text, sizeof(text), "%d", i);
        publish(pub, "many/t", text, 2);
        receive_what_is_there(&subs[i % SUBS], 0);
    }
    for (int i = 0; i < SUBS; i++) {
        receive_until(&subs[i], COUNT / 2);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(qos_2_messages_arrive_exactly_once_through_random_breaks),
        TEST(qos_1_messages_arrive_in_order_through_random_breaks_of_the_subscriber),
        TEST(every_session_keeps_its_own_promise),
    };
    return RUN_SUITE("exactly_once", tests, NULL);
}
