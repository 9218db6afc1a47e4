/*
 * delivery: one message to one session: QoS, limits, encoding.
 *
 * Thread    the session's worker.
 * Errors    none: what can't be delivered is counted by reason.
 * Source    MQTT 5.0 sections 3.3, 4.3, 4.9.
 */
#ifndef PULSE_NODE_DELIVERY_H
#define PULSE_NODE_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/outbound.h"

struct conn;
struct message;
struct receipt;
struct session;
struct worker;

/* How a session gets a message: the sum of the subscriptions that matched. */
struct delivery {
    uint8_t qos; /* granted; the message's own may be lower */
    bool retain; /* RETAIN flag to send */
    bool shared;
    bool dup;
    uint16_t packet_id;
    const uint32_t *ids; /* subscription identifiers */
    size_t id_count;
};

/*
 * The encoded forms of one message, built when first wanted and shared by all who get the same
 * bytes. Lives while one message is delivered; one at a time per worker.
 */
struct encoder {
    struct worker *worker;
    struct message *message;
    struct receipt **receipt; /* who waits until it is held (router.h); NULL at first: nobody */
    bool many;                /* more than one will get it: forms are worth building */
    struct encoded {
        const uint8_t *bytes; /* NULL: not built yet */
        uint32_t len;         /* of `bytes` */
        uint32_t packet_len;
        uint16_t id_at; /* where the packet id goes */
        bool whole;     /* the payload is part of `bytes` */
        bool unfit;     /* too large to be shared */
    } forms[2][2];      /* [5.0][QoS > 0] */
};

/* For `receivers` deliveries, about. */
void encoder_init(struct encoder *encoder, struct worker *worker, struct message *message,
                  size_t receivers);

/* Delivers now, or queues, or drops. */
void deliver(struct encoder *encoder, struct session *session, const struct delivery *delivery);

/* Writes a PUBLISH to `conn`, which is online; false when the client can't take one of this size.
 */
bool delivery_write(struct encoder *encoder, struct conn *conn, const struct delivery *delivery);

/* Whether the connection's output is over its limits. */
bool delivery_congested(const struct conn *conn);

#endif
