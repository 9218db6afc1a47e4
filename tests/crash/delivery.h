/*
 * delivery: whether a session may get this message now, again, and in this order.
 *
 * Owns      nothing; it works on the record.
 * Thread    the driver's.
 * Errors    violations.
 * Not here  the receiver's side of the QoS 2 handshake (subscriber.h).
 */
#ifndef TESTS_CRASH_DELIVERY_H
#define TESTS_CRASH_DELIVERY_H

#include <stdint.h>

#include "tests/crash/record.h"
#include "tests/crash/wire.h"

struct arrival {
    unsigned session;
    uint32_t connection; /* of that session: counts from 1 */
    const struct packet *packet;
};

/* A PUBLISH came, and its packet id is not one that the receiver remembers. Gives the message's id;
 * 0: it is none of ours. */
uint64_t delivery_came(struct record *record, const struct arrival *arrival);

/* The receiver has sent its PUBACK for the last delivery of message `id`. */
void delivery_acknowledged(struct record *record, unsigned session, uint64_t id);

/* The broker has worked through all that was sent on `connection` before `until_ms`. */
void delivery_confirmed(struct record *record, unsigned session, uint32_t connection,
                        uint32_t until_ms);

#endif
