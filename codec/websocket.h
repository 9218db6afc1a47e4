/*
 * websocket: the server's side of WebSocket as MQTT uses it: the opening handshake, and frames. No
 * I/O: bytes in, bytes out.
 *
 * Owns      struct ws_reader: what is kept of a frame between two pieces of input.
 * Thread    any, one at a time for one reader.
 * Errors    HTTP statuses of the handshake, close codes of frames.
 * Source    RFC 6455; MQTT 5.0 section 6.
 */
#ifndef PULSE_CODEC_WEBSOCKET_H
#define PULSE_CODEC_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* ---- the opening handshake (websocket_handshake.c) ------------------------------------------- */

/* The request, header fields and all, may be this long. */
#define WS_REQUEST_MAX 8192
/* And the answer. */
#define WS_RESPONSE_MAX 1024

/* What the listener allows. */
struct ws_rules {
    const char *path;    /* "/mqtt"; a query behind it is ignored */
    const char *origins; /* allowed origins, separated by commas; "" or NULL: any */
};

enum ws_handshake_status { WS_HANDSHAKE_MORE, WS_HANDSHAKE_DONE, WS_HANDSHAKE_REFUSED };

/*
 * Looks at all of the request that has come. DONE: `*used` bytes of `request` were it, and
 * `response` holds the 101 answer. REFUSED: `response` holds an answer that a browser or curl
 * understands (400, 403, 404, 405, 426, 431 ... with a plain text body), after which the connection
 * is closed. `*response_len` is set for both, and `*why` is a constant text for the log.
 * The sub-protocol is "mqtt" before "mqttv3.1"; a request that offers none of them is refused.
 */
enum ws_handshake_status ws_handshake(struct slice request, const struct ws_rules *rules,
                                      size_t *used, char response[static WS_RESPONSE_MAX],
                                      size_t *response_len, const char **why);

/* ---- frames (websocket_frame.c) -------------------------------------------------------------- */

#define WS_CONTROL_MAX 125 /* bytes of payload of a control frame */
#define WS_HEADER_MAX 14

enum ws_close {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003, /* a text frame */
    WS_CLOSE_NONE = 1005,        /* never sent: the peer's close frame has no code */
    WS_CLOSE_INVALID = 1007,     /* a reason that is not UTF-8 */
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
};

enum ws_event {
    WS_MORE,   /* all input is used up */
    WS_DATA,   /* bytes of binary messages: the slice `data`, unmasked in place, never empty */
    WS_PING,   /* `data` is what a pong must bring back; valid until the next call */
    WS_PONG,   /* likewise */
    WS_CLOSED, /* the peer closes: `close_code` (maybe WS_CLOSE_NONE); `data` is its reason */
    WS_ERROR   /* close with `close_code`; `why` is a constant text for the log */
};

/* A zeroed one is at the start of a stream. Small, plain data: may be copied. */
struct ws_reader {
    uint64_t left;       /* payload bytes of the frame that are still to come */
    const char *why;     /* WS_ERROR: what the peer did */
    uint16_t close_code; /* WS_CLOSED, WS_ERROR */
    uint8_t opcode;      /* of the frame under way */
    bool in_message;     /* a fragmented message is under way */
    bool ended;          /* WS_CLOSED or WS_ERROR was given */
    uint8_t mask[4];     /* its first byte is for the next byte of payload */
    uint8_t kept_len;
    uint8_t kept[WS_CONTROL_MAX]; /* the start of a header, or of the payload of a control frame */
};

/*
 * Goes through `*bytes`, which is advanced over what was used, and gives the next event: call it
 * until it gives WS_MORE. Frames may have any split. `max_frame` is the largest payload that a
 * frame may announce. Where frames begin and end has no meaning for MQTT [MQTT-6.0.0-3], so the
 * payloads of all data frames that follow one another are moved together and given as one slice: a
 * packet over several frames is whole when its frames came together. After WS_CLOSED and WS_ERROR
 * the rest of the stream is swallowed.
 */
enum ws_event ws_read(struct ws_reader *reader, uint8_t **bytes, size_t *len, uint64_t max_frame,
                      struct slice *data);

/* Writes the header of a binary frame with `len` bytes of payload; returns its length. */
size_t ws_write_header(uint8_t out[static WS_HEADER_MAX], uint64_t len);
/* Write whole control frames; return their length. `data` has at most WS_CONTROL_MAX bytes. */
size_t ws_write_pong(uint8_t out[static WS_HEADER_MAX + WS_CONTROL_MAX], struct slice data);
/* Also answers the peer's close frame, with the reader's `close_code`. */
size_t ws_write_close(uint8_t out[static WS_HEADER_MAX + WS_CONTROL_MAX], uint16_t code);

#endif
