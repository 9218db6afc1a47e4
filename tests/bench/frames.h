/*
 * frames: the client's side of WebSocket, as much of it as a load generator needs: one request, and
 * binary frames.
 *
 * Owns      nothing but what is in its structures.
 * Thread    any, one at a time for one reader.
 * Errors    FRAMES_BROKEN: something that a broker must not send.
 * Source    RFC 6455.
 * Not here  sockets, TLS, what waits to be sent (transport.h).
 */
#ifndef TESTS_BENCH_FRAMES_H
#define TESTS_BENCH_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAMES_HEADER_BYTES_MAX = 14,
    FRAMES_CONTROL_BYTES_MAX = 125,
    FRAMES_REQUEST_BYTES_MAX = 2048,
    FRAMES_ANSWER_BYTES_MAX = 2048,
};

enum frames_status { FRAMES_GOOD, FRAMES_PARTIAL, FRAMES_CLOSED, FRAMES_BROKEN };

/* Where a stream of frames is. A zeroed one is at its start. */
struct frames_reader {
    uint64_t left; /* payload bytes of the frame that are still to come */
    uint8_t header[FRAMES_HEADER_BYTES_MAX];
    uint8_t header_len;
    uint8_t opcode;
    uint8_t control_len;
    uint8_t control[FRAMES_CONTROL_BYTES_MAX];
    bool has_ping; /* `control` waits to be sent back: the caller's business */
};

/* Writes the request for an upgrade; returns its length. */
size_t frames_put_request(char to[FRAMES_REQUEST_BYTES_MAX], const char *host, const char *path);

/*
 * Looks at all of the answer that has come. GOOD: `*used` bytes were it, and it accepts our request
 * and its sub-protocol.
 */
enum frames_status frames_read_answer(const char *bytes, size_t len, size_t *used);

/*
 * Takes the frames off `len` bytes, in place. `*data_len` bytes of messages stand at the beginning
 * of `bytes` afterwards. CLOSED: they end there.
 */
enum frames_status frames_read(struct frames_reader *reader, uint8_t *bytes, size_t len,
                               size_t *data_len);

/* Writes the header of a frame of `len` bytes with this mask; returns its length. */
size_t frames_put_header(uint8_t to[FRAMES_HEADER_BYTES_MAX], unsigned opcode, size_t len,
                         uint32_t mask);

/* Copies with the mask. */
void frames_mask(uint8_t *to, const uint8_t *from, size_t len, uint32_t mask);

enum { FRAMES_BINARY = 2, FRAMES_CLOSE = 8, FRAMES_PING = 9, FRAMES_PONG = 10 };

#endif
