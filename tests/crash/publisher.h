/*
 * publisher: a client with a kept session that publishes QoS 1 and QoS 2 with several messages in
 * flight, on topics of its own, some of them retained. After a reconnect it sends again what is not
 * acknowledged, by the rules: same packet id, DUP, same order; PUBREL where PUBREC was seen.
 *
 * Owns      its client and what it has in flight.
 * Thread    the driver's.
 * Errors    violations.
 * Source    MQTT 5.0, sections 4.3, 4.4 and 4.6.
 */
#ifndef TESTS_CRASH_PUBLISHER_H
#define TESTS_CRASH_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/client.h"

enum { PUBLISHER_WINDOW_MAX = 64, PUBLISHER_PLAIN_TOPICS = 4, PUBLISHER_RETAINED_TOPICS = 3 };

struct flight {
    uint64_t message;
    uint16_t packet_id;
    uint8_t qos;
    bool received; /* PUBREC seen: PUBREL is to be acknowledged now */
};

struct publisher {
    struct client client;
    struct flight flights[PUBLISHER_WINDOW_MAX]; /* in the order of their first sending */
    unsigned flight_count;
    unsigned window;
    uint16_t next_id;
    uint16_t first_topic; /* plain ones, then retained ones */
    bool is_known;        /* its session was made for certain */
    uint32_t vanish_at_ms;
    uint32_t paid_ms; /* messages were sent for the time up to here */
};

/* Number `index` of the publishers: "p<index>", topics t/<index>/... and ret/<index>/... */
void publisher_init(struct publisher *publisher, struct world *world, unsigned index);
void publisher_fini(struct publisher *publisher);

/* Nothing is in flight. */
bool publisher_is_done(const struct publisher *publisher);

#endif
