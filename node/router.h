/*
 * router: from a message to everybody who wants it.
 *
 * Thread    a worker, in a read section.
 * Errors    none: what can't be delivered is counted by reason.
 * Source    MQTT 5.0 sections 3.3.4, 4.6, 4.8.2.
 */
#ifndef PULSE_NODE_ROUTER_H
#define PULSE_NODE_ROUTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/worker.h"

struct message;
struct router_scratch;

/* Waits for the other workers that a publish was sent to; at zero it goes back to the publisher's.
 */
struct receipt {
    struct mail mail;
    _Atomic uint32_t waiting;
    uint64_t session;    /* of the publisher */
    uint32_t ack_serial; /* inbound_owe */
};

struct route {
    bool matched; /* somebody wants it */
    /* not NULL: wait for it before acknowledging; router_await sends it off */
    struct receipt *receipt;
};

struct router_scratch *router_scratch_create(void);
void router_scratch_destroy(struct router_scratch *scratch);

/*
 * Retains `message` (borrowed or not) if it says so, delivers it to local sessions and posts it to
 * the other workers that have subscribers. With `wants_receipt` the caller gets one when other
 * workers are involved, and must call router_await.
 */
struct route router_publish(struct worker *worker, struct message *message, bool wants_receipt);

/* The publisher's acknowledgement `ack_serial` of session `session` waits for `receipt`, which is
 * taken. */
void router_await(struct worker *worker, struct receipt *receipt, uint64_t session,
                  uint32_t ack_serial);

/* `message` of shared group `group` goes to another member than `except`; with `connected_only` not
 * to one that is offline. False: there is nobody. */
bool router_redispatch(struct worker *worker, struct message *message, struct share_group *group,
                       uint64_t except, bool connected_only);

#endif
