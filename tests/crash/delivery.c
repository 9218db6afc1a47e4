#include "tests/crash/delivery.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/content.h"

/* Whether a kill came so soon after `ms` that the store may have forgotten what happened then. */
static bool killed_soon_after(const struct record *record, uint32_t ms)
{
    for (size_t i = record->kill_count; i > 0 && record->kills_ms[i - 1] >= ms; i--) {
        if (record->has_outages || record->kills_ms[i - 1] - ms <= RECORD_STALE_MS) {
            return true;
        }
    }
    return false;
}

static bool is_confirmed(const struct session *session, const struct delivery *delivery)
{
    return delivery->connection < session->connection_cap &&
           delivery->acknowledged_ms < session->confirmed_ms[delivery->connection];
}

/*
 * Whether QoS 1 lets the broker send it again. Copies of one message that was sent several times
 * can't be told apart, so of those only their number is known.
 */
static bool may_come_again(const struct record *record, const struct message *message,
                           const struct delivery *delivery, const struct arrival *arrival)
{
    if (delivery->connection == arrival->connection) {
        return delivery->count_here < message->sends;
    }
    if (message->sends > 1 || !delivery->acknowledged) {
        return true;
    }
    return !is_confirmed(&record->sessions[arrival->session], delivery) ||
           killed_soon_after(record, delivery->acknowledged_ms);
}

static void check_again(struct record *record, uint64_t id, const struct message *message,
                        const struct delivery *delivery, const struct arrival *arrival)
{
    const struct session *session = &record->sessions[arrival->session];
    if (arrival->packet->qos == 2) {
        violation_report(record, VIOLATION_DOUBLED, id, session->actor, "message %" PRIu64, id);
    } else if (!may_come_again(record, message, delivery, arrival)) {
        violation_report(record, VIOLATION_REPEATED, id, session->actor,
                         "message %" PRIu64 ", acknowledged at %u ms", id,
                         delivery->acknowledged ? delivery->acknowledged_ms : 0);
    } else {
        record->totals.allowed_again++;
    }
}

static bool was_subscribed(const struct record *record, const struct message *message,
                           const struct session *session)
{
    for (size_t i = 0; i < session->subscription_count; i++) {
        const struct subscription *subscription = &session->subscriptions[i];
        if (filter_matches(subscription->filter, record->topics[message->topic].name) &&
            subscription_covers(subscription, message->sent, message->sent)) {
            return true;
        }
    }
    return false;
}

/* Who subscribed after the first sending may get a later one before: only some are sent again. */
static void check_order(struct record *record, uint64_t id, const struct message *message,
                        struct session *session)
{
    if (!was_subscribed(record, message, session)) {
        return;
    }
    uint64_t *last = &session->order[message->topic][message->qos];
    if (id < *last) {
        violation_report(record, VIOLATION_DISORDER, id, session->actor,
                         "message %" PRIu64 " came first after message %" PRIu64, id, *last);
        return;
    }
    *last = id;
}

static bool could_be_subscribed(const struct record *record, const struct message *message,
                                const struct session *session)
{
    uint64_t until = message->accepted != 0 ? message->accepted : record->moment;
    for (size_t i = 0; i < session->subscription_count; i++) {
        const struct subscription *subscription = &session->subscriptions[i];
        if (filter_matches(subscription->filter, record->topics[message->topic].name) &&
            subscription_possible(subscription, message->sent, until)) {
            return true;
        }
    }
    return false;
}

static void check_will(struct record *record, uint64_t id, const struct message *message,
                       const struct session *session)
{
    if (message->state == MESSAGE_WITHDRAWN) {
        violation_report(record, VIOLATION_WILL_WITHDRAWN, id, session->actor, "message %" PRIu64,
                         id);
    } else if (message->state != MESSAGE_UNCERTAIN && record->now_ms < message->earliest_ms) {
        violation_report(record, VIOLATION_WILL_EARLY, id, session->actor,
                         "message %" PRIu64 ", earliest at %u ms", id, message->earliest_ms);
    }
}

static void check_first(struct record *record, uint64_t id, const struct message *message,
                        struct session *session)
{
    if (message->state == MESSAGE_NEW) {
        violation_report(record, VIOLATION_UNKNOWN, id, session->actor, "message %" PRIu64, id);
    }
    if (message->will) {
        check_will(record, id, message, session);
    } else {
        check_order(record, id, message, session);
    }
    if (!message->will && !could_be_subscribed(record, message, session)) {
        violation_report(record, VIOLATION_UNASKED, id, session->actor, "message %" PRIu64, id);
    }
}

/* An earlier session of the same client had a claim to it. */
static void check_session(struct record *record, uint64_t id, const struct message *message,
                          const struct session *session)
{
    if (message->accepted != 0 && message->accepted < session->began && !message->will) {
        violation_report(record, VIOLATION_UNASKED, id, session->actor,
                         "message %" PRIu64 " belonged to a session that has ended", id);
    }
}

/* The topic and the length that it was sent with, and the smaller of both QoS. */
static void check_contents(struct record *record, uint64_t id, const struct message *message,
                           const struct arrival *arrival)
{
    const struct session *session = &record->sessions[arrival->session];
    const struct packet *packet = arrival->packet;
    const char *topic = record->topics[message->topic].name;
    uint8_t qos = message->qos < session->qos ? message->qos : session->qos;
    bool same_topic =
        packet->topic_len == strlen(topic) && memcmp(packet->topic, topic, packet->topic_len) == 0;
    if (!same_topic || packet->payload_len != message->payload_len || packet->qos != qos ||
        !content_is_whole(packet, id)) {
        violation_report(record, VIOLATION_CORRUPT, id, session->actor,
                         "message %" PRIu64 ": topic %.*s, QoS %u, %zu bytes", id,
                         (int)packet->topic_len, packet->topic, packet->qos, packet->payload_len);
    }
}

/* It was delivered and acknowledged before everything was settled. */
static void check_settled(struct record *record, uint64_t id, const struct arrival *arrival)
{
    uint16_t actor = record->sessions[arrival->session].actor;
    if (id >= record->base) {
        violation_report(record, VIOLATION_UNKNOWN, id, actor, "message %" PRIu64, id);
    } else if (arrival->packet->qos == 2) {
        violation_report(record, VIOLATION_DOUBLED, 0, actor, "message %" PRIu64 ", settled", id);
    } else if (killed_soon_after(record, record->settled_ms)) {
        record->totals.allowed_again++;
    } else {
        violation_report(record, VIOLATION_REPEATED, 0, actor, "message %" PRIu64 ", settled", id);
    }
}

static void count_delivery(struct record *record, struct message *message,
                           struct delivery *delivery, const struct arrival *arrival)
{
    uint64_t bit = 1ULL << arrival->session;
    if ((message->owed & ~message->got & bit) != 0) {
        record->outstanding--;
    }
    message->got |= bit;
    bool same = delivery->count > 0 && delivery->connection == arrival->connection;
    delivery->count_here = (uint16_t)(same ? delivery->count_here + 1 : 1);
    delivery->count++;
    delivery->connection = arrival->connection;
    delivery->acknowledged = false;
    record->totals.delivered++;
}

uint64_t delivery_came(struct record *record, const struct arrival *arrival)
{
    struct session *session = &record->sessions[arrival->session];
    uint64_t id = 0;
    if (!content_label(arrival->packet, &id)) {
        violation_report(record, VIOLATION_UNKNOWN, 0, session->actor, "topic %.*s, no label",
                         (int)arrival->packet->topic_len, arrival->packet->topic);
        return 0;
    }
    if (arrival->packet->retain) {
        record_note(record, EVENT_DELIVERED_RETAINED, session->actor, id,
                    arrival->packet->packet_id);
        return id;
    }
    struct message *message = record_message(record, id);
    if (message == NULL) {
        check_settled(record, id, arrival);
        return id;
    }
    struct delivery *delivery = &session->deliveries[id - record->base];
    record_note(record, delivery->count == 0 ? EVENT_DELIVERED : EVENT_DELIVERED_AGAIN,
                session->actor, id, arrival->packet->packet_id);
    check_contents(record, id, message, arrival);
    check_session(record, id, message, session);
    if (delivery->count == 0) {
        check_first(record, id, message, session);
    } else {
        check_again(record, id, message, delivery, arrival);
    }
    count_delivery(record, message, delivery, arrival);
    return id;
}

void delivery_acknowledged(struct record *record, unsigned session, uint64_t id)
{
    if (record_message(record, id) != NULL) {
        struct delivery *delivery = &record->sessions[session].deliveries[id - record->base];
        delivery->acknowledged = true;
        delivery->acknowledged_ms = record->now_ms;
    }
}

void delivery_confirmed(struct record *record, unsigned session_index, uint32_t connection,
                        uint32_t until_ms)
{
    struct session *session = &record->sessions[session_index];
    if (connection >= session->connection_cap) {
        size_t cap = (size_t)connection * 2 + 64;
        session->confirmed_ms = reallocarray(session->confirmed_ms, cap, sizeof(uint32_t));
        if (session->confirmed_ms == NULL) {
            fprintf(stderr, "pulse-crash: out of memory\n");
            abort();
        }
        memset(session->confirmed_ms + session->connection_cap, 0,
               (cap - session->connection_cap) * sizeof(uint32_t));
        session->connection_cap = cap;
    }
    session->confirmed_ms[connection] = until_ms;
}
