/*
 * subscriber: a client with a kept session that comes and goes, subscribes and unsubscribes, and
 * acknowledges sometimes late and sometimes not at all before it vanishes. It follows the rules of
 * the QoS 2 receiver exactly: a packet id is remembered from PUBLISH to PUBREL, over reconnects.
 *
 * Owns      its client, its subscriptions, the packet ids that it remembers.
 * Thread    the driver's.
 * Errors    violations.
 * Source    MQTT 5.0, sections 3.1.2.11.2, 4.3, 4.4 and 4.9.
 * Not here  which deliveries are right (delivery.h).
 */
#ifndef TESTS_CRASH_SUBSCRIBER_H
#define TESTS_CRASH_SUBSCRIBER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/client.h"
#include "tests/crash/subscription.h"

enum {
    SUBSCRIBER_FILTERS = 5,
    SUBSCRIBER_WINDOW_MAX = 500,
    SUBSCRIBER_ANSWERS_MAX = 2 * SUBSCRIBER_WINDOW_MAX, /* more than a broker may make due */
    PACKET_IDS = 65536
};

/* A PUBACK or PUBREC that is to be sent. */
struct answer {
    uint64_t message;
    uint32_t due_ms;
    uint16_t packet_id;
    uint8_t type;
};

/* A QoS 2 packet id between PUBLISH and PUBREL. */
struct remembered {
    uint64_t message;    /* 0: the id is free */
    uint32_t connection; /* of the PUBLISH */
};

struct subscriber {
    struct client client;
    unsigned session; /* in the record */
    uint8_t qos;
    uint32_t expiry_s;
    struct subscription subscriptions[SUBSCRIBER_FILTERS];
    unsigned permanent;                     /* the first ones are never given up */
    uint16_t asked_ids[SUBSCRIBER_FILTERS]; /* packet id of SUBSCRIBE or UNSUBSCRIBE, or 0 */
    bool begins_anew;                       /* Clean Start, until CONNACK */
    bool is_known;                          /* its session was made for certain */
    uint16_t next_id;
    struct remembered *remembered; /* by packet id */
    unsigned remembered_count;

    struct answer answers[SUBSCRIBER_ANSWERS_MAX]; /* a ring, in the order of arrival */
    unsigned answer_first;
    unsigned answer_count;
    unsigned window;          /* Receive Maximum of this connection */
    unsigned unfinished;      /* handshakes on this connection that count against it */
    unsigned inherited;       /* those of an earlier one that ended on this one: section 4.9 lets
                                 the broker send as many more */
    uint32_t answer_delay_ms; /* up to that */

    uint32_t plan_at_ms;
    uint32_t toggle_at_ms;
    uint8_t vanish_on; /* packet type at whose coming it vanishes; 0: none */
    uint32_t back_at_ms;
    size_t back_after_kills;
    bool is_stored;   /* that it is connected is kept: something was acknowledged since */
    uint32_t left_ms; /* DISCONNECT sent; 0: not on this connection */
    uint32_t lost_ms;
    uint32_t lasts_from_ms; /* the earliest that its expiry may count from, as the store knows it */
    uint32_t connect_ms;
    uint32_t last_packet_ms;
    uint32_t confirmed_ms;
};

/* Number `index` of the subscribers: "s<index>". `expiry_s`: of its session. */
void subscriber_init(struct subscriber *subscriber, struct world *world, unsigned index,
                     uint32_t expiry_s);
void subscriber_fini(struct subscriber *subscriber);

/* Connected, and nothing is under way in any direction. */
bool subscriber_is_done(const struct subscriber *subscriber);

/* Gives up the handshakes that the broker doesn't finish. */
void subscriber_forget(struct subscriber *subscriber);

#endif
