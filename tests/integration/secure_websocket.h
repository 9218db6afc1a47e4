/*
 * secure_websocket: the client's side of WebSocket, right or wrong, on a secure_stream.
 *
 * Owns      nothing: what is read stays in the stream's input.
 * Thread    the test's.
 * Errors    a request without an answer, or a frame that breaks RFC 6455, fails the test.
 * Source    RFC 6455. Shares nothing with codec/: a mistake there must not hide itself here.
 */
#ifndef TESTS_INTEGRATION_SECURE_WEBSOCKET_H
#define TESTS_INTEGRATION_SECURE_WEBSOCKET_H

#include "tests/integration/secure_stream.h"

enum { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
enum { WS_FIN = 0x80, WS_RESERVED_1 = 0x40 };

/* The answer to a request. Texts are borrowed until the next one. */
struct ws_answer {
    int status;
    const char *text;        /* all of it */
    const char *subprotocol; /* "": none */
    bool is_accepted;        /* 101, with the right answer to our key */
};

/* Sends the request that `way` describes, and reads its answer. */
#define ws_request(stream, way) ws_request_at(stream, way, HERE)

/* Sends `text` as a request, whatever it is; with `key` of the example in RFC 6455. */
#define ws_request_text(stream, text) ws_request_text_at(stream, text, HERE)
#define WS_KEY "dGhlIHNhbXBsZSBub25jZQ=="

/* secure_must_open(), and a request that must be accepted. */
#define ws_open(way) ws_open_at(way, HERE)

/* A frame as it should be, masked; `first` is FIN and opcode. */
#define ws_send(stream, first, bytes, len) ws_send_at(stream, first, bytes, len, HERE)
#define ws_send_packet(stream, buf) \
    ws_send_at(stream, WS_FIN | WS_BINARY, (buf)->data, (buf)->len, HERE)

/* Appends a frame: `is_masked` as it should be, or not. */
void ws_put_frame(struct buffer *out, unsigned first, bool is_masked, const void *bytes,
                  size_t len);

/* What came. Valid until the next frame is read. */
struct ws_frame {
    unsigned opcode;
    bool is_final;
    const uint8_t *payload;
    size_t len;
};

/* The next frame; pings and pongs are frames too. */
#define ws_expect(stream, opcode) ws_expect_at(stream, opcode, HERE)
#define ws_receive(stream, frame) ws_receive_at(stream, frame, WAIT_MS, HERE)

/* A close frame with one of these codes, then the end of the connection. */
#define ws_expect_close(stream, code) ws_expect_close_at(stream, code, HERE)

struct ws_answer ws_request_at(struct secure_stream *stream, const struct secure_way *way,
                               struct here here);
struct ws_answer ws_request_text_at(struct secure_stream *stream, const char *text,
                                    struct here here);
struct secure_stream *ws_open_at(const struct secure_way *way, struct here here);
void ws_send_at(struct secure_stream *stream, unsigned first, const void *bytes, size_t len,
                struct here here);
bool ws_receive_at(struct secure_stream *stream, struct ws_frame *frame, int timeout_ms,
                   struct here here);
struct ws_frame ws_expect_at(struct secure_stream *stream, unsigned opcode, struct here here);
void ws_expect_close_at(struct secure_stream *stream, unsigned code, struct here here);

#endif
