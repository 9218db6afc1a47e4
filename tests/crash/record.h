/*
 * record: what was sent, what was acknowledged, and who got what: the truth that the broker is
 * compared with.
 *
 * A message is *accepted* when its PUBACK or PUBREC is seen: from then on it is *owed* to every
 * session that held a matching subscription from before the first PUBLISH until that moment. When
 * everything is drained, what is still owed is lost (record_settle).
 *
 * Owns      messages, sessions, topics, history and violations.
 * Thread    the driver's.
 * Errors    violations (violation.h); out of memory ends the program.
 * Not here  what a delivery may be (delivery.h), who plays (publisher.h, subscriber.h, mortal.h).
 */
#ifndef TESTS_CRASH_RECORD_H
#define TESTS_CRASH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/crash/history.h"
#include "tests/crash/subscription.h"
#include "tests/crash/violation.h"

enum {
    RECORD_SESSIONS_MAX = 64,
    RECORD_TOPICS_MAX = 256,
    RECORD_ACTORS_MAX = 128,
    RECORD_NAME_MAX = 32,
    RECORD_UNLIMITED = 0xffff, /* `sends` of a QoS 1 will: a restart may publish it again */
    /* What a client or the broker acknowledged longer than this before a kill is kept for certain,
     * also where nobody waits for it */
    RECORD_STALE_MS = 2000
};

enum message_state {
    MESSAGE_NEW,
    MESSAGE_SENT,      /* may be delivered */
    MESSAGE_ACCEPTED,  /* must be delivered */
    MESSAGE_UNCERTAIN, /* may be delivered; nothing more will be heard of it */
    MESSAGE_WITHDRAWN  /* a will that must not be published */
};

struct message {
    uint64_t owed; /* one bit for each session */
    uint64_t got;
    uint64_t sent;     /* moment of the first sending */
    uint64_t accepted; /* moment; 0: not yet */
    uint32_t accepted_ms;
    uint32_t earliest_ms; /* of a will: not before; UINT32_MAX: its client is connected */
    uint32_t payload_len;
    uint16_t actor;
    uint16_t topic;
    uint16_t sends; /* PUBLISH packets that carried it */
    uint8_t qos;
    uint8_t state;
    bool retain;
    bool will;
};

/* What a session did with a message. */
struct delivery {
    uint32_t connection; /* of the last delivery */
    uint32_t acknowledged_ms;
    uint16_t count;
    uint16_t count_here; /* on that connection */
    bool acknowledged;
};

struct topic {
    char name[RECORD_NAME_MAX];
    bool retained;
    uint64_t last_sent;     /* message id; 0: none */
    uint64_t last_accepted; /* the newest one; 0: none */
    uint64_t last_deletion; /* the newest one sent without a payload */
};

struct session {
    uint16_t actor;
    uint8_t qos;
    struct subscription *subscriptions; /* borrowed for good */
    size_t subscription_count;
    size_t permanent_count;      /* the first ones are never given up */
    uint64_t began;              /* moment: what was accepted before is not for it */
    struct delivery *deliveries; /* by message id - record.base */
    size_t delivery_cap;
    uint64_t order[RECORD_TOPICS_MAX][3]; /* last first delivery by topic and QoS */
    uint32_t *confirmed_ms;               /* by connection: acknowledgements before are processed */
    size_t connection_cap;
};

struct totals {
    uint64_t sent, accepted, refused, uncertain, delivered, allowed_again;
    uint32_t lost_oldest_ms; /* how long before a kill it was acknowledged */
};

struct record {
    uint32_t now_ms; /* since the start; the driver's loop sets it */
    uint64_t moment; /* counts events */
    uint64_t base;   /* id of the oldest message that is not settled */
    struct message *messages;
    size_t message_count;
    size_t message_cap;
    bool has_outages;     /* then acknowledgements of clients may be kept late */
    uint64_t outstanding; /* pairs of message and session that are owed */
    struct session sessions[RECORD_SESSIONS_MAX];
    unsigned session_count;
    struct topic topics[RECORD_TOPICS_MAX];
    unsigned topic_count;
    char actors[RECORD_ACTORS_MAX][RECORD_NAME_MAX];
    unsigned actor_count;
    uint32_t *kills_ms;
    size_t kill_count;
    size_t kill_cap;
    uint32_t settled_ms;
    struct totals totals;
    struct history history;
    struct violations violations;
};

void record_init(struct record *record);
void record_fini(struct record *record);

/* Everybody who plays has a number, and a name for people. */
uint16_t record_add_actor(struct record *record, const char *name);
const char *record_actor_name(const struct record *record, uint16_t actor);
uint16_t record_add_topic(struct record *record, const char *name, bool retained);
unsigned record_add_session(struct record *record, const struct session *session);

uint64_t record_moment(struct record *record);
void record_note(struct record *record, enum event_kind kind, uint16_t actor, uint64_t message,
                 uint32_t detail);
void record_kill(struct record *record);

/* Makes a message from the fields of `draft` that are its sender's to say. Gives its id. */
uint64_t record_add_message(struct record *record, const struct message *draft);

/* Borrows it until the next message is made; NULL: settled long ago, or never made. */
struct message *record_message(struct record *record, uint64_t id);

void record_sent(struct record *record, uint64_t id);
void record_accepted(struct record *record, uint64_t id);
void record_uncertain(struct record *record, uint64_t id, enum event_kind why);

/* A will's client is gone; it must be published, not before `earliest_ms`. */
void record_will_due(struct record *record, uint64_t id, uint32_t earliest_ms);
void record_will_withdrawn(struct record *record, uint64_t id);

/* The session and all that it should get ended as it should. */
void record_session_ended(struct record *record, unsigned session);

/* What follows from a violation that was told already: the session need not get message `id`. */
void record_excuse(struct record *record, unsigned session, uint64_t id);

/* All is drained: what is owed is lost. Forgets all messages. */
void record_settle(struct record *record);

void record_describe(struct record *record, uint64_t id);

#endif
