/*
 * stamp: what a payload says about itself: when it was meant to be sent, by whom, and which it is.
 *
 * Owns      nothing.
 * Thread    any.
 * Errors    stamp_read() answers `false` for a payload that we have not sent like this.
 *
 * A payload is: 8 bytes time, 4 publisher, 4 sequence, a fixed pattern, 8 bytes seal. The seal is
 * made from publisher and sequence, so two messages spliced together are noticed; the pattern in
 * between is compared in one message of STAMP_FULL_CHECK_EVERY, which keeps the generator fast.
 * Byte order is the machine's: nobody else reads it.
 */
#ifndef TESTS_BENCH_STAMP_H
#define TESTS_BENCH_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    STAMP_BYTES = 16, /* the smallest payload */
    STAMP_SEAL_BYTES = 8,
    STAMP_FULL_CHECK_EVERY = 64,
};

struct stamp {
    uint64_t time_ns;
    uint32_t publisher;
    uint32_t sequence;
};
_Static_assert(sizeof(struct stamp) == STAMP_BYTES, "a stamp is written as it lies in memory");

static inline uint64_t stamp_seal(const struct stamp *stamp)
{
    return (((uint64_t)stamp->publisher << 32) | stamp->sequence) * 0x9E3779B97F4A7C15ull;
}

/* The pattern of bytes between stamp and seal. */
static inline void stamp_fill_body(uint8_t *body, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        body[i] = (uint8_t)(i * 31 + 7);
    }
}

/* Writes the seal over the end of `body`, if it is long enough to hold one. */
static inline void stamp_put_seal(uint8_t *body, size_t body_len, const struct stamp *stamp)
{
    if (body_len >= STAMP_SEAL_BYTES) {
        uint64_t seal = stamp_seal(stamp);
        memcpy(body + body_len - STAMP_SEAL_BYTES, &seal, sizeof(seal));
    }
}

/* `body` is a pattern as made by stamp_fill_body(), of `payload_len - STAMP_BYTES` bytes. */
static inline bool stamp_read(const uint8_t *payload, size_t payload_len, const uint8_t *body,
                              struct stamp *out)
{
    memcpy(out, payload, sizeof(*out));
    size_t body_len = payload_len - STAMP_BYTES;
    size_t pattern_len = body_len;
    if (body_len >= STAMP_SEAL_BYTES) {
        uint64_t seal;
        memcpy(&seal, payload + payload_len - STAMP_SEAL_BYTES, sizeof(seal));
        if (seal != stamp_seal(out)) {
            return false;
        }
        pattern_len -= STAMP_SEAL_BYTES;
    }
    return out->sequence % STAMP_FULL_CHECK_EVERY != 0 ||
           memcmp(payload + STAMP_BYTES, body, pattern_len) == 0;
}

#endif
