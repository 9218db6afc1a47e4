/*
 * peer: clients that keep many QoS 1 messages under way at once. Each publishes numbered messages,
 * and checks that the numbers of those that it gets are in order, with none missing.
 *
 * Owns      bytes that wait for the socket, and acknowledgements that are held back: peer_fini().
 *           The client is the test's.
 * Thread    the test's: peers_run() serves all of them in turn.
 * Errors    a wrong message fails the test; a standstill is told.
 * Not here  exchanges of one packet after the other (client.h).
 */
#ifndef TESTS_INTEGRATION_PEER_H
#define TESTS_INTEGRATION_PEER_H

#include <limits.h>

#include "tests/integration/client.h"

enum { PEER_ACKS_ALL = INT_MAX };

struct peer {
    struct client *c;
    const char *to; /* the topic it publishes to; NULL: it does not */
    int total;      /* messages to publish */
    int window;     /* of them, not acknowledged at a time */
    size_t size;    /* their payload */
    int expected;   /* messages that should come to it */
    int acks_left;  /* messages that it may still acknowledge; PEER_ACKS_ALL: no limit */
    int sent;
    int acked;
    int got;
    int dups;           /* of `got`, with DUP */
    struct buffer out;  /* not taken by the socket yet */
    struct buffer acks; /* held back */
};

/*
 * Lets the peers publish, receive and acknowledge. True: all published messages are acknowledged,
 * and all expected ones are there. False: before that nothing has moved for `quiet_ms`.
 */
bool peers_run(struct peer *peers, size_t count, int quiet_ms);

void peer_fini(struct peer *peer);

#endif
