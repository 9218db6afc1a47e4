/*
 * will: the message that is published when a client goes without a word.
 *
 * Owns      a copy of its message.
 * Thread    the worker.
 * Source    MQTT 5.0 sections 3.1.2.5 and 3.1.3.2.
 */
#ifndef PULSE_NODE_WILL_H
#define PULSE_NODE_WILL_H

#include <stdbool.h>
#include <stdint.h>

struct mqtt_will;
struct receipt;
struct session;

struct will {
    struct message *message; /* expires_at_ms counts from its publication */
    uint32_t delay_s;
    uint32_t expiry_s; /* Message Expiry Interval; 0 with has_expiry false */
    bool has_expiry;
};

/* NULL: no memory. */
struct will *will_create(const struct mqtt_will *will);
void will_destroy(struct will *will);

/* Publishes it in the name of `session`, and takes it; `receipt` as in router_publish. In a read
 * section. */
void will_publish(const struct session *session, struct will *will, struct receipt **receipt);

#endif
