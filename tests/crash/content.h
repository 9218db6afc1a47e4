/*
 * content: what messages carry: a label in the Correlation Data, by which they are recognised (also
 * when the payload is empty), and a payload that follows from their number.
 *
 * Owns      nothing.
 * Thread    the driver's.
 * Errors    a label or payload that isn't one of ours: false.
 */
#ifndef TESTS_CRASH_CONTENT_H
#define TESTS_CRASH_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/crash/wire.h"

enum { CONTENT_LABEL_LEN = 12, CONTENT_PAYLOAD_MAX = 8192 };

struct content {
    uint8_t label[CONTENT_LABEL_LEN];
    uint8_t payload[CONTENT_PAYLOAD_MAX];
};

/* Makes label and payload of message `id`, and points `publish` to them. */
void content_fill(struct content *content, struct wire_publish *publish, uint64_t id,
                  uint32_t payload_len);

/* The number that the label of `packet` says; false: it is no label of ours. */
bool content_label(const struct packet *packet, uint64_t *id);

/* Whether the payload is that of message `id`, cut to its length. */
bool content_is_whole(const struct packet *packet, uint64_t id);

#endif
