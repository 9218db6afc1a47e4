#include "tests/crash/publisher.h"

#include <stdio.h>
#include <string.h>

#include "tests/crash/content.h"

enum {
    WINDOW_MIN = 1,
    PACKET_ID_MAX = 200, /* used again soon: a broker must have forgotten what is over */
    SESSION_EXPIRY_S = 86400,
    RETAINED_PERCENT = 15,
    DELETE_PERCENT = 15,
    LARGE_PERCENT = 3,
    SMALL_BYTES = 256,
    VANISH_MIN_MS = 300,
    VANISH_MAX_MS = 8000
};

static struct publisher *publisher_of(struct client *client)
{
    return (struct publisher *)client; /* its first member */
}

static struct record *record_of(const struct publisher *publisher)
{
    return &publisher->client.world->record;
}

static struct random *dice_of(const struct publisher *publisher)
{
    return &publisher->client.world->dice;
}

/* ---- in flight ------------------------------------------------------------------------------- */

static struct flight *find_flight(struct publisher *publisher, uint16_t packet_id)
{
    for (unsigned i = 0; i < publisher->flight_count; i++) {
        if (publisher->flights[i].packet_id == packet_id) {
            return &publisher->flights[i];
        }
    }
    return NULL;
}

static void remove_flight(struct publisher *publisher, struct flight *flight)
{
    size_t index = (size_t)(flight - publisher->flights);
    publisher->flight_count--;
    memmove(flight, flight + 1, (publisher->flight_count - index) * sizeof(*flight));
}

static uint16_t unused_packet_id(struct publisher *publisher)
{
    do {
        publisher->next_id = (uint16_t)(publisher->next_id % PACKET_ID_MAX + 1);
    } while (find_flight(publisher, publisher->next_id) != NULL);
    return publisher->next_id;
}

static void send_publish(struct publisher *publisher, const struct flight *flight)
{
    struct record *record = record_of(publisher);
    const struct message *message = record_message(record, flight->message);
    struct content content;
    struct wire_publish publish = {.topic = record->topics[message->topic].name,
                                   .packet_id = flight->packet_id,
                                   .qos = message->qos,
                                   .retain = message->retain,
                                   .dup = message->sends > 0};
    content_fill(&content, &publish, flight->message, message->payload_len);
    wire_put_publish(client_out(&publisher->client), &publish);
    record_sent(record, flight->message);
}

static void send_release(struct publisher *publisher, const struct flight *flight)
{
    wire_put_ack(client_out(&publisher->client), WIRE_PUBREL, flight->packet_id);
    client_note(&publisher->client, EVENT_RELEASE_SENT, flight->message, flight->packet_id);
}

static uint32_t choose_len(struct random *dice)
{
    uint32_t max = random_chance(dice, LARGE_PERCENT) ? CONTENT_PAYLOAD_MAX : SMALL_BYTES;
    return random_between(dice, 1, max);
}

static void send_new(struct publisher *publisher)
{
    struct random *dice = dice_of(publisher);
    bool retain = random_chance(dice, RETAINED_PERCENT);
    uint32_t topic = retain ? PUBLISHER_PLAIN_TOPICS + random_below(dice, PUBLISHER_RETAINED_TOPICS)
                            : random_below(dice, PUBLISHER_PLAIN_TOPICS);
    bool deletes = retain && random_chance(dice, DELETE_PERCENT);
    struct message draft = {.actor = publisher->client.actor,
                            .topic = (uint16_t)(publisher->first_topic + topic),
                            .payload_len = deletes ? 0 : choose_len(dice),
                            .retain = retain,
                            /* order holds within one QoS only, and the last one must be known */
                            .qos = retain ? 1 : (uint8_t)random_between(dice, 1, 2)};
    struct flight *flight = &publisher->flights[publisher->flight_count];
    *flight = (struct flight){.message = record_add_message(record_of(publisher), &draft),
                              .packet_id = unused_packet_id(publisher),
                              .qos = draft.qos};
    publisher->flight_count++;
    send_publish(publisher, flight);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* PUBACK, or PUBREC that ends it. */
static void take_refusal(struct publisher *publisher, struct flight *flight)
{
    record_uncertain(record_of(publisher), flight->message, EVENT_REFUSED);
    record_of(publisher)->totals.refused++;
    remove_flight(publisher, flight);
}

static void take_puback(struct publisher *publisher, struct flight *flight)
{
    record_accepted(record_of(publisher), flight->message);
    remove_flight(publisher, flight);
}

static void take_pubrec(struct publisher *publisher, struct flight *flight)
{
    if (!flight->received) {
        record_accepted(record_of(publisher), flight->message);
    }
    flight->received = true;
    send_release(publisher, flight);
}

static void take_pubcomp(struct publisher *publisher, struct flight *flight)
{
    client_note(&publisher->client, EVENT_COMPLETED, flight->message, flight->packet_id);
    remove_flight(publisher, flight);
}

static bool is_expected(const struct flight *flight, enum wire_type type)
{
    if (flight == NULL) {
        return false;
    }
    return (type == WIRE_PUBACK && flight->qos == 1) || (type == WIRE_PUBREC && flight->qos == 2) ||
           (type == WIRE_PUBCOMP && flight->received);
}

static void publisher_packet(struct client *client, const struct packet *packet)
{
    struct publisher *publisher = publisher_of(client);
    struct flight *flight = find_flight(publisher, packet->packet_id);
    if (!is_expected(flight, packet->type)) {
        violation_report(record_of(publisher), VIOLATION_PROTOCOL, 0, client->actor,
                         "%s for packet id %u", wire_type_name(packet->type), packet->packet_id);
        client_vanish(client);
        return;
    }
    publisher->is_known = true;
    if (packet->type == WIRE_PUBCOMP) {
        take_pubcomp(publisher, flight);
    } else if (packet->reason >= WIRE_REFUSED) {
        take_refusal(publisher, flight);
    } else if (packet->type == WIRE_PUBREC) {
        take_pubrec(publisher, flight);
    } else {
        take_puback(publisher, flight);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static void publisher_prepare(struct client *client, struct wire_connect *connect)
{
    connect->clean_start = client->connection == 0;
    connect->session_expiry_s = SESSION_EXPIRY_S;
}

/* Without its session the broker knows no packet id any more: the client must forget them too. */
static void forget_flights(struct publisher *publisher)
{
    for (unsigned i = 0; i < publisher->flight_count; i++) {
        record_uncertain(record_of(publisher), publisher->flights[i].message, EVENT_ABANDONED);
    }
    publisher->flight_count = 0;
}

static void publisher_online(struct client *client, bool session_present)
{
    struct publisher *publisher = publisher_of(client);
    if (!session_present) {
        if (publisher->is_known) {
            violation_report(record_of(publisher), VIOLATION_SESSION_LOST, 0, client->actor,
                             "connection %u", client->connection);
        }
        publisher->is_known = false;
        forget_flights(publisher);
    }
    for (unsigned i = 0; i < publisher->flight_count; i++) {
        if (publisher->flights[i].received) {
            send_release(publisher, &publisher->flights[i]);
        } else {
            send_publish(publisher, &publisher->flights[i]);
        }
    }
    publisher->window = random_between(dice_of(publisher), WINDOW_MIN, PUBLISHER_WINDOW_MAX);
    publisher->paid_ms = client_now_ms(client);
    publisher->vanish_at_ms =
        client_now_ms(client) + random_between(dice_of(publisher), VANISH_MIN_MS, VANISH_MAX_MS);
}

static void publisher_tick(struct client *client)
{
    struct publisher *publisher = publisher_of(client);
    if (client->state != CLIENT_ONLINE || client->world->draining) {
        publisher->paid_ms = client_now_ms(client);
        return;
    }
    if (client_now_ms(client) >= publisher->vanish_at_ms) {
        client_vanish(client);
        return;
    }
    uint32_t step_ms = 1000 / client->world->options->rate;
    step_ms = step_ms == 0 ? 1 : step_ms;
    while (publisher->flight_count < publisher->window &&
           publisher->paid_ms + step_ms <= client_now_ms(client)) {
        publisher->paid_ms += step_ms;
        send_new(publisher);
    }
    if (publisher->flight_count >= publisher->window) {
        publisher->paid_ms = client_now_ms(client);
    }
}

static const struct client_type publisher_type = {.prepare = publisher_prepare,
                                                  .online = publisher_online,
                                                  .packet = publisher_packet,
                                                  .tick = publisher_tick};

void publisher_init(struct publisher *publisher, struct world *world, unsigned index)
{
    char name[RECORD_NAME_MAX];
    *publisher = (struct publisher){.window = PUBLISHER_WINDOW_MAX};
    snprintf(name, sizeof(name), "p%u", index);
    client_init(&publisher->client, world, &publisher_type, name);
    publisher->first_topic = (uint16_t)world->record.topic_count;
    for (unsigned i = 0; i < PUBLISHER_PLAIN_TOPICS; i++) {
        snprintf(name, sizeof(name), "t/%u/%u", index, i);
        record_add_topic(&world->record, name, false);
    }
    for (unsigned i = 0; i < PUBLISHER_RETAINED_TOPICS; i++) {
        snprintf(name, sizeof(name), "ret/%u/%u", index, i);
        record_add_topic(&world->record, name, true);
    }
}

void publisher_fini(struct publisher *publisher)
{
    client_fini(&publisher->client);
}

bool publisher_is_done(const struct publisher *publisher)
{
    return publisher->flight_count == 0;
}
