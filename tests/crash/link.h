/*
 * link: one non-blocking TCP connection to 127.0.0.1 with bytes in both directions. Losing it is an
 * ordinary event here: brokers are killed.
 *
 * Owns      its socket and both buffers.
 * Thread    the driver's.
 * Errors    link_service returns false when the connection is gone, for whatever reason; bytes that
 *           came before the end are in `in`.
 */
#ifndef TESTS_CRASH_LINK_H
#define TESTS_CRASH_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/wire.h"

struct link {
    int fd; /* -1: none */
    bool connecting;
    struct bytes in;
    struct bytes out;
};

void link_init(struct link *link);
void link_fini(struct link *link);

/* Begins to connect. False: nobody listens there. */
bool link_open(struct link *link, uint16_t port);

/* What poll() should wait for. */
short link_events(const struct link *link);

/* Writes what it can, and reads all there is. */
bool link_service(struct link *link);

/* `abort`: the peer sees a reset, and what it has not read is lost. */
void link_close(struct link *link, bool abort);

#endif
