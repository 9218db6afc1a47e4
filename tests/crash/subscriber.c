#include "tests/crash/subscriber.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/content.h"
#include "tests/crash/delivery.h"
#include "tests/crash/subscriber_plan.h"

/* `remembered` of a message that isn't one of ours: reported when it came. */
#define NOT_OURS UINT64_MAX

static struct subscriber *subscriber_of(struct client *client)
{
    return (struct subscriber *)client; /* its first member */
}

static struct record *record_of(const struct subscriber *subscriber)
{
    return &subscriber->client.world->record;
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static uint16_t next_packet_id(struct subscriber *subscriber)
{
    subscriber->next_id++;
    if (subscriber->next_id == 0) {
        subscriber->next_id = 1;
    }
    return subscriber->next_id;
}

static void send_subscribe(struct subscriber *subscriber, unsigned index)
{
    struct random *dice = &subscriber->client.world->dice;
    bool retained = index >= subscriber->permanent && random_chance(dice, 50);
    subscriber->asked_ids[index] = next_packet_id(subscriber);
    wire_put_subscribe(client_out(&subscriber->client),
                       &(struct wire_subscribe){
                           .filter = subscriber->subscriptions[index].filter,
                           .packet_id = subscriber->asked_ids[index],
                           .qos = subscriber->qos,
                           .retain_handling = retained ? 0 : 2,
                       });
    client_note(&subscriber->client, EVENT_SUBSCRIBING, 0, index);
}

static void send_unsubscribe(struct subscriber *subscriber, unsigned index)
{
    subscriber->asked_ids[index] = next_packet_id(subscriber);
    wire_put_unsubscribe(client_out(&subscriber->client), subscriber->subscriptions[index].filter,
                         subscriber->asked_ids[index]);
    client_note(&subscriber->client, EVENT_UNSUBSCRIBING, 0, index);
}

void subscriber__toggle(struct subscriber *subscriber, unsigned index)
{
    struct subscription *subscription = &subscriber->subscriptions[index];
    uint64_t moment = record_moment(record_of(subscriber));
    if (subscription_state(subscription) == SUBSCRIPTION_ABSENT) {
        subscription_move(subscription, SUBSCRIPTION_ASKED, moment);
        send_subscribe(subscriber, index);
    } else if (subscription_state(subscription) == SUBSCRIPTION_HELD) {
        subscription_move(subscription, SUBSCRIPTION_DROPPING, moment);
        send_unsubscribe(subscriber, index);
    }
}

/* After a connect: asks again for what was not answered, and for what must always be there. */
static void ask_again(struct subscriber *subscriber)
{
    for (unsigned i = 0; i < SUBSCRIBER_FILTERS; i++) {
        switch (subscription_state(&subscriber->subscriptions[i])) {
        case SUBSCRIPTION_ASKED:
            send_subscribe(subscriber, i);
            break;
        case SUBSCRIPTION_DROPPING:
            send_unsubscribe(subscriber, i);
            break;
        case SUBSCRIPTION_ABSENT:
            if (i < subscriber->permanent) {
                subscriber__toggle(subscriber, i);
            }
            break;
        case SUBSCRIPTION_HELD:
            break;
        }
    }
}

static void take_suback(struct subscriber *subscriber, const struct packet *packet)
{
    for (unsigned i = 0; i < SUBSCRIBER_FILTERS; i++) {
        if (subscriber->asked_ids[i] != packet->packet_id) {
            continue;
        }
        subscriber->asked_ids[i] = 0;
        subscriber->is_stored = true;
        uint64_t moment = record_moment(record_of(subscriber));
        struct subscription *subscription = &subscriber->subscriptions[i];
        if (packet->type == WIRE_SUBACK && packet->reason < WIRE_REFUSED) {
            subscription_move(subscription, SUBSCRIPTION_HELD, moment);
            client_note(&subscriber->client, EVENT_SUBSCRIBED, 0, i);
            subscriber->is_known = true;
        } else if (packet->type == WIRE_UNSUBACK && packet->reason < WIRE_REFUSED) {
            subscription_move(subscription, SUBSCRIPTION_ABSENT, moment);
            client_note(&subscriber->client, EVENT_UNSUBSCRIBED, 0, i);
        }
        return;
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

static void add_answer(struct subscriber *subscriber, enum wire_type type, uint16_t packet_id,
                       uint64_t message)
{
    if (subscriber->answer_count == SUBSCRIBER_ANSWERS_MAX) {
        violation_report(record_of(subscriber), VIOLATION_PROTOCOL, message,
                         subscriber->client.actor, "more than Receive Maximum allows");
        return;
    }
    unsigned at = (subscriber->answer_first + subscriber->answer_count) % SUBSCRIBER_ANSWERS_MAX;
    uint32_t delay_ms = subscriber->client.world->draining ? 0 : subscriber->answer_delay_ms;
    subscriber->answers[at] = (struct answer){
        .message = message,
        .due_ms = client_now_ms(&subscriber->client) +
                  random_between(&subscriber->client.world->dice, 0, delay_ms),
        .packet_id = packet_id,
        .type = (uint8_t)type,
    };
    subscriber->answer_count++;
}

/* QoS 2 with a packet id that is remembered: the same message, not a second one. */
static void take_remembered(struct subscriber *subscriber, const struct packet *packet)
{
    uint64_t known = subscriber->remembered[packet->packet_id].message;
    uint64_t id = 0;
    if (!content_label(packet, &id)) {
        id = NOT_OURS;
    }
    if (id != known) {
        violation_report(record_of(subscriber), VIOLATION_ID_REUSED, id == NOT_OURS ? 0 : id,
                         subscriber->client.actor,
                         "packet id %u has message %" PRIu64 ", now message %" PRIu64,
                         packet->packet_id, known, id);
        record_excuse(record_of(subscriber), subscriber->session, id);
    } else {
        client_note(&subscriber->client, EVENT_REMEMBERED, id, packet->packet_id);
    }
    subscriber->remembered[packet->packet_id].connection = subscriber->client.connection;
    add_answer(subscriber, WIRE_PUBREC, packet->packet_id, known);
}

static void remember(struct subscriber *subscriber, uint16_t packet_id, uint64_t message)
{
    subscriber->remembered[packet_id] = (struct remembered){
        .message = message == 0 ? NOT_OURS : message, .connection = subscriber->client.connection};
    subscriber->remembered_count++;
}

static void take_publish(struct subscriber *subscriber, const struct packet *packet)
{
    if (++subscriber->unfinished > subscriber->window + subscriber->inherited) {
        violation_report(record_of(subscriber), VIOLATION_PROTOCOL, 0, subscriber->client.actor,
                         "more than its Receive Maximum, %u", subscriber->window);
    }
    if (packet->qos == 2 && subscriber->remembered[packet->packet_id].message != 0) {
        take_remembered(subscriber, packet);
        return;
    }
    uint64_t message = delivery_came(record_of(subscriber),
                                     &(struct arrival){.session = subscriber->session,
                                                       .connection = subscriber->client.connection,
                                                       .packet = packet});
    if (packet->qos == 2) {
        remember(subscriber, packet->packet_id, message);
        add_answer(subscriber, WIRE_PUBREC, packet->packet_id, message);
    } else {
        add_answer(subscriber, WIRE_PUBACK, packet->packet_id, message);
    }
}

static void take_pubrel(struct subscriber *subscriber, const struct packet *packet)
{
    struct remembered *remembered = &subscriber->remembered[packet->packet_id];
    if (remembered->message != 0) {
        client_note(&subscriber->client, EVENT_RELEASED, remembered->message, packet->packet_id);
        subscriber->remembered_count--;
    }
    if (remembered->connection == subscriber->client.connection) {
        subscriber->unfinished--;
    } else {
        subscriber->inherited++;
    }
    *remembered = (struct remembered){0};
    wire_put_ack(client_out(&subscriber->client), WIRE_PUBCOMP, packet->packet_id);
}

static void send_answers(struct subscriber *subscriber)
{
    uint32_t now_ms = client_now_ms(&subscriber->client);
    bool at_once = subscriber->client.world->draining;
    while (subscriber->answer_count > 0) {
        const struct answer *answer = &subscriber->answers[subscriber->answer_first];
        if (answer->due_ms > now_ms && !at_once) {
            return;
        }
        wire_put_ack(client_out(&subscriber->client), answer->type, answer->packet_id);
        if (answer->type == WIRE_PUBACK) {
            delivery_acknowledged(record_of(subscriber), subscriber->session, answer->message);
            client_note(&subscriber->client, EVENT_ACKNOWLEDGED, answer->message,
                        answer->packet_id);
            subscriber->unfinished--;
        } else {
            client_note(&subscriber->client, EVENT_RECEIVED, answer->message, answer->packet_id);
        }
        subscriber->answer_first = (subscriber->answer_first + 1) % SUBSCRIBER_ANSWERS_MAX;
        subscriber->answer_count--;
    }
}

static void subscriber_packet(struct client *client, const struct packet *packet)
{
    struct subscriber *subscriber = subscriber_of(client);
    if (packet->type == WIRE_PUBLISH && packet->qos == 0) {
        return; /* the stream's; what was sent with QoS 1 or 2 would be missed */
    }
    subscriber->last_packet_ms = client_now_ms(client);
    if (subscriber->vanish_on == packet->type) {
        subscriber->vanish_on = 0;
        if (random_chance(&client->world->dice, 50)) {
            client_vanish(client); /* nobody knows whether it was read */
            return;
        }
    }
    if (packet->type == WIRE_PUBLISH) {
        take_publish(subscriber, packet);
    } else if (packet->type == WIRE_PUBREL) {
        take_pubrel(subscriber, packet);
    } else if (packet->type == WIRE_SUBACK || packet->type == WIRE_UNSUBACK) {
        take_suback(subscriber, packet);
    } else {
        violation_report(record_of(subscriber), VIOLATION_PROTOCOL, 0, client->actor, "%s",
                         wire_type_name(packet->type));
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static void subscriber_prepare(struct client *client, struct wire_connect *connect)
{
    struct subscriber *subscriber = subscriber_of(client);
    subscriber__choose_manners(subscriber);
    subscriber->connect_ms = client_now_ms(client);
    connect->clean_start = client->connection == 0 || subscriber->begins_anew;
    if (connect->clean_start) {
        subscriber->is_known = false; /* whether it is read or not */
    }
    connect->session_expiry_s = subscriber->expiry_s;
    connect->receive_maximum = (uint16_t)subscriber->window;
}

void subscriber_forget(struct subscriber *subscriber)
{
    memset(subscriber->remembered, 0, PACKET_IDS * sizeof(*subscriber->remembered));
    subscriber->remembered_count = 0;
}

/* All that belonged to the session is gone. */
static void begin_anew(struct subscriber *subscriber)
{
    uint64_t moment = record_moment(record_of(subscriber));
    for (unsigned i = 0; i < SUBSCRIBER_FILTERS; i++) {
        subscription_move(&subscriber->subscriptions[i], SUBSCRIPTION_ABSENT, moment);
        subscriber->asked_ids[i] = 0;
    }
    record_session_ended(record_of(subscriber), subscriber->session);
    subscriber_forget(subscriber);
    subscriber->is_known = false;
}

static void subscriber_online(struct client *client, bool session_present)
{
    struct subscriber *subscriber = subscriber_of(client);
    if (session_present && subscriber->begins_anew) {
        violation_report(record_of(subscriber), VIOLATION_SESSION_KEPT, 0, client->actor,
                         "after Clean Start");
    }
    if (session_present && subscriber__must_have_expired(subscriber)) {
        violation_report(record_of(subscriber), VIOLATION_SESSION_KEPT, 0, client->actor,
                         "offline since %u ms, expiry %u s", subscriber->lost_ms,
                         subscriber->expiry_s);
    }
    if (!session_present) {
        if (subscriber->is_known && !subscriber__may_have_expired(subscriber)) {
            violation_report(record_of(subscriber), VIOLATION_SESSION_LOST, 0, client->actor,
                             "connection %u, offline since %u ms, expiry %u s", client->connection,
                             subscriber->lost_ms, subscriber->expiry_s);
        }
        begin_anew(subscriber);
    }
    subscriber->begins_anew = false;
    subscriber->answer_count = 0;
    subscriber->unfinished = subscriber->inherited = 0;
    subscriber->left_ms = 0;
    subscriber->is_stored = false;
    subscriber->last_packet_ms = client_now_ms(client);
    ask_again(subscriber);
}

static void subscriber_confirmed(struct client *client, uint32_t until_ms)
{
    struct subscriber *subscriber = subscriber_of(client);
    subscriber->confirmed_ms = until_ms;
    delivery_confirmed(record_of(subscriber), subscriber->session, client->connection, until_ms);
}

static void subscriber_lost(struct client *client, enum loss loss)
{
    struct subscriber *subscriber = subscriber_of(client);
    (void)loss;
    subscriber->lost_ms = client_now_ms(client);
    if (subscriber__is_stored(subscriber)) {
        subscriber->lasts_from_ms =
            subscriber->left_ms != 0 ? subscriber->left_ms : subscriber->lost_ms;
    }
    /* Nothing says for certain that there is a new session in place of the old one. */
    subscriber->begins_anew = subscriber->begins_anew || !subscriber->is_known;
    subscriber->vanish_on = 0;
    memset(subscriber->asked_ids, 0, sizeof(subscriber->asked_ids));
}

static void subscriber_tick(struct client *client)
{
    struct subscriber *subscriber = subscriber_of(client);
    if (client->state == CLIENT_ONLINE) {
        send_answers(subscriber);
    }
    subscriber__follow_plan(subscriber);
}

static const struct client_type subscriber_type = {.prepare = subscriber_prepare,
                                                   .online = subscriber_online,
                                                   .packet = subscriber_packet,
                                                   .confirmed = subscriber_confirmed,
                                                   .lost = subscriber_lost,
                                                   .tick = subscriber_tick};

void subscriber_init(struct subscriber *subscriber, struct world *world, unsigned index,
                     uint32_t expiry_s)
{
    char name[RECORD_NAME_MAX];
    *subscriber = (struct subscriber){.qos = (uint8_t)(index % 2 + 1), .expiry_s = expiry_s};
    snprintf(name, sizeof(name), "s%u", index);
    client_init(&subscriber->client, world, &subscriber_type, name);
    subscriber__choose_filters(subscriber, index);
    subscriber->session = record_add_session(
        &world->record, &(struct session){.actor = subscriber->client.actor,
                                          .qos = subscriber->qos,
                                          .subscriptions = subscriber->subscriptions,
                                          .subscription_count = SUBSCRIBER_FILTERS,
                                          .permanent_count = subscriber->permanent});
    subscriber->remembered = calloc(PACKET_IDS, sizeof(*subscriber->remembered));
    if (subscriber->remembered == NULL) {
        fprintf(stderr, "pulse-crash: out of memory\n");
        abort();
    }
}

void subscriber_fini(struct subscriber *subscriber)
{
    for (unsigned i = 0; i < SUBSCRIBER_FILTERS; i++) {
        subscription_fini(&subscriber->subscriptions[i]);
    }
    free(subscriber->remembered);
    client_fini(&subscriber->client);
}

bool subscriber_is_done(const struct subscriber *subscriber)
{
    for (unsigned i = 0; i < SUBSCRIBER_FILTERS; i++) {
        if (subscriber->asked_ids[i] != 0) {
            return false;
        }
    }
    return subscriber->client.state == CLIENT_ONLINE && subscriber->answer_count == 0 &&
           subscriber->remembered_count == 0 &&
           subscriber->confirmed_ms > subscriber->last_packet_ms;
}
