/*
 * inbound: what a session remembers of its client's own QoS 1 and 2 publishes: the QoS 2 packet ids
 * that are not released yet, and acknowledgements that wait for other workers, in the order of the
 * publishes.
 *
 * Owns      its tables.
 * Thread    the worker of the session.
 * Errors    ERR_EXISTS, ERR_MEMORY where said.
 * Source    MQTT 5.0 sections 4.3.3 and 4.6.
 */
#ifndef PULSE_NODE_INBOUND_H
#define PULSE_NODE_INBOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

/* An acknowledgement that is owed. */
struct inbound_ack {
    uint16_t packet_id;
    uint8_t qos;
    uint8_t reason;
    bool ready; /* all that matched hold the message */
    bool stale; /* the connection that it was for is gone */
};

struct inbound {
    uint16_t *ids;   /* QoS 2 ids in order of arrival, until there are many */
    uint8_t *bitmap; /* then: one bit for each of 65536 */
    uint32_t id_count;
    uint32_t id_cap;
    struct inbound_ack *acks; /* a ring; NULL until first used */
    uint32_t ack_cap;
    uint32_t ack_head;
    uint32_t ack_count;
    uint32_t ack_serial; /* of the ack at the head */
    uint32_t qos1_count; /* acks owed for QoS 1 to this connection; for QoS 2 the ids count */
};

void inbound_fini(struct inbound *in);

/* QoS 2 packet ids. add: ERR_EXISTS when it is there, ERR_MEMORY. */
must_check enum err inbound_add_id(struct inbound *in, uint16_t packet_id);
bool inbound_has_id(const struct inbound *in, uint16_t packet_id);
bool inbound_remove_id(struct inbound *in, uint16_t packet_id);

/* Publishes of the client that are not finished: what its Receive Maximum counts. That begins anew
 * with each connection: stale ones, which it sends again, don't count twice. */
static inline uint32_t inbound_unfinished(const struct inbound *in)
{
    return in->id_count + in->qos1_count;
}

/* Owes `ack`; `*serial` names it for inbound_ack_ready. */
must_check enum err inbound_owe(struct inbound *in, struct inbound_ack ack, uint32_t *serial);
/* Harmless when `serial` is not owed. */
void inbound_ack_ready(struct inbound *in, uint32_t serial);
/* Takes the first owed acknowledgement when it is ready. */
bool inbound_next_ready(struct inbound *in, struct inbound_ack *out);
/* A QoS 2 publish came again while its acknowledgement is owed: true, and it will be answered. */
bool inbound_owed_again(struct inbound *in, uint16_t packet_id);
/* Whether the answer to QoS 2 publish `packet_id` is owed. */
bool inbound_owes(const struct inbound *in, uint16_t packet_id);
/* The connection is gone: what is owed to it is not sent. */
void inbound_mark_stale(struct inbound *in);

#endif
