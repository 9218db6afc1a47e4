/*
 * stream: QoS 0 messages to itself, all the time: what must go on while the store can't be written.
 *
 * Owns      its client.
 * Thread    the driver's.
 * Errors    a violation when nothing comes for a while.
 */
#ifndef TESTS_CRASH_STREAM_H
#define TESTS_CRASH_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/client.h"

struct stream {
    struct client client;
    bool subscribed;
    bool told; /* of this silence */
    uint32_t next_ms;
    uint32_t heard_ms;
    uint32_t longest_ms; /* silence while it was connected */
    uint64_t heard;
};

void stream_init(struct stream *stream, struct world *world);
void stream_fini(struct stream *stream);

#endif
