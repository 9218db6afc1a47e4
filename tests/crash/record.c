#include "tests/crash/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *old, size_t count, size_t size)
{
    void *memory = reallocarray(old, count, size);
    if (memory == NULL) {
        fprintf(stderr, "pulse-crash: out of memory\n");
        abort();
    }
    return memory;
}

void record_init(struct record *record)
{
    *record = (struct record){.base = 1};
    history_init(&record->history);
}

void record_fini(struct record *record)
{
    for (unsigned i = 0; i < record->session_count; i++) {
        free(record->sessions[i].deliveries);
        free(record->sessions[i].confirmed_ms);
    }
    free(record->messages);
    free(record->kills_ms);
    history_fini(&record->history);
}

/* ---- who and where --------------------------------------------------------------------------- */

uint16_t record_add_actor(struct record *record, const char *name)
{
    if (record->actor_count == RECORD_ACTORS_MAX) {
        fprintf(stderr, "pulse-crash: too many clients\n");
        abort();
    }
    snprintf(record->actors[record->actor_count], RECORD_NAME_MAX, "%s", name);
    return (uint16_t)record->actor_count++;
}

const char *record_actor_name(const struct record *record, uint16_t actor)
{
    return actor < record->actor_count ? record->actors[actor] : "broker";
}

uint16_t record_add_topic(struct record *record, const char *name, bool retained)
{
    if (record->topic_count == RECORD_TOPICS_MAX) {
        fprintf(stderr, "pulse-crash: too many topics\n");
        abort();
    }
    struct topic *topic = &record->topics[record->topic_count];
    *topic = (struct topic){.retained = retained};
    snprintf(topic->name, sizeof(topic->name), "%s", name);
    return (uint16_t)record->topic_count++;
}

unsigned record_add_session(struct record *record, const struct session *session)
{
    if (record->session_count == RECORD_SESSIONS_MAX) {
        fprintf(stderr, "pulse-crash: too many sessions\n");
        abort();
    }
    record->sessions[record->session_count] = *session;
    return record->session_count++;
}

/* ---- events ---------------------------------------------------------------------------------- */

uint64_t record_moment(struct record *record)
{
    return ++record->moment;
}

void record_note(struct record *record, enum event_kind kind, uint16_t actor, uint64_t message,
                 uint32_t detail)
{
    history_add(&record->history, &(struct event){.message = message,
                                                  .ms = record->now_ms,
                                                  .detail = detail,
                                                  .actor = actor,
                                                  .kind = (uint16_t)kind});
}

void record_kill(struct record *record)
{
    if (record->kill_count == record->kill_cap) {
        record->kill_cap = record->kill_cap * 2 + 64;
        record->kills_ms = grow(record->kills_ms, record->kill_cap, sizeof(uint32_t));
    }
    record->kills_ms[record->kill_count++] = record->now_ms;
    record_note(record, EVENT_KILLED, ACTOR_BROKER, 0, (uint32_t)record->kill_count);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void grow_deliveries(struct record *record)
{
    for (unsigned i = 0; i < record->session_count; i++) {
        struct session *session = &record->sessions[i];
        if (session->delivery_cap < record->message_cap) {
            session->deliveries =
                grow(session->deliveries, record->message_cap, sizeof(*session->deliveries));
            memset(session->deliveries + session->delivery_cap, 0,
                   (record->message_cap - session->delivery_cap) * sizeof(*session->deliveries));
            session->delivery_cap = record->message_cap;
        }
    }
}

uint64_t record_add_message(struct record *record, const struct message *draft)
{
    if (record->message_count == record->message_cap) {
        record->message_cap = record->message_cap * 2 + 4096;
        record->messages = grow(record->messages, record->message_cap, sizeof(*record->messages));
        grow_deliveries(record);
    }
    record->messages[record->message_count] = *draft;
    return record->base + record->message_count++;
}

struct message *record_message(struct record *record, uint64_t id)
{
    if (id < record->base || id - record->base >= record->message_count) {
        return NULL;
    }
    return &record->messages[id - record->base];
}

void record_sent(struct record *record, uint64_t id)
{
    struct message *message = record_message(record, id);
    bool again = message->sends > 0;
    if (!again) {
        message->sent = record_moment(record);
        message->state = MESSAGE_SENT;
        record->topics[message->topic].last_sent = id;
        if (message->payload_len == 0) {
            record->topics[message->topic].last_deletion = id;
        }
        record->totals.sent++;
    }
    if (message->sends < RECORD_UNLIMITED) {
        message->sends++;
    }
    if (!message->will) { /* the mortal says more about it */
        record_note(record, again ? EVENT_SENT_AGAIN : EVENT_SENT, message->actor, id, 0);
    }
}

/*
 * The sessions that held a matching subscription all that time. Nobody knows when exactly a will is
 * published, so only subscriptions that are never given up count for it.
 */
static uint64_t holders(const struct record *record, const struct message *message, uint64_t from)
{
    uint64_t holding = 0;
    for (unsigned i = 0; i < record->session_count; i++) {
        const struct session *session = &record->sessions[i];
        size_t count = message->will ? session->permanent_count : session->subscription_count;
        for (size_t j = 0; j < count; j++) {
            const struct subscription *subscription = &session->subscriptions[j];
            if (filter_matches(subscription->filter, record->topics[message->topic].name) &&
                subscription_covers(subscription, from, message->accepted)) {
                holding |= 1ULL << i;
            }
        }
    }
    return holding;
}

static void accept(struct record *record, uint64_t id, uint64_t from, enum event_kind kind)
{
    struct message *message = record_message(record, id);
    message->accepted = record_moment(record);
    message->accepted_ms = record->now_ms;
    message->state = MESSAGE_ACCEPTED;
    message->owed = holders(record, message, from);
    record->outstanding += (unsigned)__builtin_popcountll(message->owed & ~message->got);
    record->totals.accepted++;
    record_note(record, kind, message->actor, id, 0);

    struct topic *topic = &record->topics[message->topic];
    if (id > topic->last_accepted) {
        topic->last_accepted = id;
    }
}

void record_accepted(struct record *record, uint64_t id)
{
    accept(record, id, record_message(record, id)->sent, EVENT_ACCEPTED);
}

void record_uncertain(struct record *record, uint64_t id, enum event_kind why)
{
    struct message *message = record_message(record, id);
    if (message->state != MESSAGE_ACCEPTED) {
        message->state = MESSAGE_UNCERTAIN;
        message->earliest_ms = 0;
        record->totals.uncertain++;
        record_note(record, why, message->actor, id, 0);
    }
}

void record_will_due(struct record *record, uint64_t id, uint32_t earliest_ms)
{
    record_message(record, id)->earliest_ms = earliest_ms;
    accept(record, id, record_moment(record), EVENT_WILL_DUE);
}

void record_will_withdrawn(struct record *record, uint64_t id)
{
    struct message *message = record_message(record, id);
    message->state = MESSAGE_WITHDRAWN;
    record_note(record, EVENT_WILL_WITHDRAWN, message->actor, id, 0);
}

static void excuse(struct record *record, struct message *message, unsigned session)
{
    uint64_t bit = 1ULL << session;
    if ((message->owed & ~message->got & bit) != 0) {
        record->outstanding--;
    }
    message->owed &= ~bit;
}

void record_excuse(struct record *record, unsigned session, uint64_t id)
{
    struct message *message = record_message(record, id);
    if (message != NULL) {
        excuse(record, message, session);
    }
}

void record_session_ended(struct record *record, unsigned session)
{
    record->sessions[session].began = record_moment(record);
    for (size_t i = 0; i < record->message_count; i++) {
        excuse(record, &record->messages[i], session);
    }
}

/* ---- settling -------------------------------------------------------------------------------- */

/* How long before a kill it was accepted: a store that may lose its last batch may lose no more. */
static uint32_t age_at_kill(const struct record *record, const struct message *message)
{
    for (size_t i = 0; i < record->kill_count; i++) {
        if (record->kills_ms[i] >= message->accepted_ms) {
            return record->kills_ms[i] - message->accepted_ms;
        }
    }
    return UINT32_MAX;
}

static void report_lost(struct record *record, uint64_t id)
{
    struct message *message = record_message(record, id);
    uint32_t age_ms = age_at_kill(record, message);
    if (age_ms > record->totals.lost_oldest_ms) {
        record->totals.lost_oldest_ms = age_ms;
    }
    bool lossy = record->violations.lossy;
    record->violations.lossy = lossy && age_ms <= RECORD_STALE_MS;
    for (unsigned i = 0; i < record->session_count; i++) {
        if ((message->owed & ~message->got & 1ULL << i) != 0) {
            violation_report(record, VIOLATION_LOST, id, record->sessions[i].actor,
                             "message %" PRIu64 ", accepted %u ms before the next kill", id,
                             age_ms);
        }
    }
    record->violations.lossy = lossy;
}

void record_settle(struct record *record)
{
    for (size_t i = 0; i < record->message_count; i++) {
        if ((record->messages[i].owed & ~record->messages[i].got) != 0) {
            report_lost(record, record->base + i);
        }
    }
    for (unsigned i = 0; i < record->session_count; i++) {
        struct session *session = &record->sessions[i];
        if (session->delivery_cap > 0) {
            memset(session->deliveries, 0, session->delivery_cap * sizeof(*session->deliveries));
        }
        for (size_t j = 0; j < session->subscription_count; j++) {
            subscription_forget(&session->subscriptions[j]);
        }
    }
    record->base += record->message_count;
    record->message_count = 0;
    record->outstanding = 0;
    record->settled_ms = record->now_ms;
    record_note(record, EVENT_SETTLED, ACTOR_BROKER, 0, 0);
}

void record_describe(struct record *record, uint64_t id)
{
    static const char *const states[] = {"new", "sent", "accepted", "uncertain", "withdrawn"};
    const struct message *message = record_message(record, id);
    if (message == NULL) {
        printf("    message %" PRIu64 " was settled before\n", id);
        return;
    }
    printf("    message %" PRIu64 " of %s: topic %s, QoS %u%s%s, %u bytes, %s, sent %u times\n", id,
           record_actor_name(record, message->actor), record->topics[message->topic].name,
           message->qos, message->retain ? ", retain" : "", message->will ? ", a will" : "",
           message->payload_len, states[message->state], message->sends);
    for (unsigned i = 0; i < record->session_count; i++) {
        const struct delivery *delivery = &record->sessions[i].deliveries[id - record->base];
        if ((message->owed & 1ULL << i) != 0 || delivery->count > 0) {
            printf("      %s: %s, delivered %u times\n",
                   record_actor_name(record, record->sessions[i].actor),
                   (message->owed & 1ULL << i) != 0 ? "owed" : "not owed", delivery->count);
        }
    }
}
