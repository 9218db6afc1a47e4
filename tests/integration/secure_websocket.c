#include "tests/integration/secure_websocket.h"

#include <stdio.h>
#include <string.h>

/* Of the key of RFC 6455, section 1.3. */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum { ANSWER_SIZE = 4096, MASK_BYTES = 4, CONTROL_MAX = 125 };

/* ---- the request ----------------------------------------------------------------------------- */

/* Copies the value of a header field, up to the end of its line. */
static const char *field_value(const char *text, const char *name, char *to, size_t size)
{
    const char *found = strcasestr(text, name);
    to[0] = '\0';
    if (found != NULL) {
        found += strlen(name);
        found += strspn(found, " ");
        snprintf(to, size, "%.*s", (int)strcspn(found, "\r\n"), found);
    }
    return to;
}

/* True once the whole answer is there: its head, and a body where one is announced. */
static bool is_whole(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n");
    char length[16];
    size_t body_len = 0;
    if (end != NULL &&
        field_value(text, "\r\nContent-Length:", length, sizeof(length))[0] != '\0') {
        body_len = (size_t)strtoul(length, NULL, 10);
    }
    return end != NULL && strlen(end + 4) >= body_len;
}

struct ws_answer ws_request_text_at(struct secure_stream *stream, const char *text,
                                    struct here here)
{
    static char answer[ANSWER_SIZE];
    static char subprotocol[64];
    char accept[64];
    secure_send_at(stream, text, strlen(text), here);
    size_t len = 0;
    do {
        answer[len] = '\0';
        if (len == sizeof(answer) - 1 || is_whole(answer)) {
            break;
        }
        size_t wanted = len + 1;
        bool is_more = secure_fill(stream, wanted, WAIT_MS);
        len = stream->input.len < sizeof(answer) - 1 ? stream->input.len : sizeof(answer) - 1;
        memcpy(answer, stream->input.data != NULL ? stream->input.data : (uint8_t *)"", len);
        answer[len] = '\0';
        if (!is_more) {
            break;
        }
    } while (!is_whole(answer));
    struct ws_answer out = {.text = answer, .subprotocol = subprotocol};
    if (sscanf(answer, "HTTP/1.1 %d ", &out.status) != 1) {
        fail_at(here, "no answer to a request: \"%.60s\"", answer);
    }
    const char *end = strstr(answer, "\r\n\r\n");
    if (end != NULL) {
        buffer_consume(&stream->input, (size_t)(end - answer) + 4);
    }
    field_value(answer, "\r\nSec-WebSocket-Protocol:", subprotocol, sizeof(subprotocol));
    field_value(answer, "\r\nSec-WebSocket-Accept:", accept, sizeof(accept));
    out.is_accepted = out.status == 101 && strcmp(accept, ACCEPT) == 0;
    return out;
}

struct ws_answer ws_request_at(struct secure_stream *stream, const struct secure_way *way,
                               struct here here)
{
    char text[4096];
    const char *subprotocols = way->subprotocols != NULL ? way->subprotocols : "mqtt";
    snprintf(text, sizeof(text),
             "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
             "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " WS_KEY "\r\n"
             "Sec-WebSocket-Version: 13\r\n%s%s%s%s%s%s%s\r\n",
             way->path != NULL ? way->path : "/mqtt",
             subprotocols[0] != '\0' ? "Sec-WebSocket-Protocol: " : "", subprotocols,
             subprotocols[0] != '\0' ? "\r\n" : "", way->origin != NULL ? "Origin: " : "",
             way->origin != NULL ? way->origin : "", way->origin != NULL ? "\r\n" : "",
             way->websocket_extra != NULL ? way->websocket_extra : "");
    return ws_request_text_at(stream, text, here);
}

struct secure_stream *ws_open_at(const struct secure_way *way, struct here here)
{
    struct secure_stream *stream = secure_must_open_at(way, here);
    struct ws_answer answer = ws_request_at(stream, way, here);
    if (!answer.is_accepted) {
        fail_at(here, "the WebSocket request was answered with: %s", answer.text);
    }
    return stream;
}

/* ---- frames ---------------------------------------------------------------------------------- */

void ws_put_frame(struct buffer *out, unsigned first, bool is_masked, const void *bytes, size_t len)
{
    static const uint8_t mask[MASK_BYTES] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned mask_bit = is_masked ? 0x80 : 0;
    put_u8(out, first);
    if (len < 126) {
        put_u8(out, mask_bit | (unsigned)len);
    } else if (len < 65536) {
        put_u8(out, mask_bit | 126);
        put_u16(out, (unsigned)len);
    } else {
        put_u8(out, mask_bit | 127);
        put_u32(out, (uint32_t)((uint64_t)len >> 32));
        put_u32(out, (uint32_t)len);
    }
    if (is_masked) {
        put_bytes(out, mask, sizeof(mask));
    }
    size_t start = out->len;
    if (len > 0) {
        put_bytes(out, bytes, len);
    }
    for (size_t i = 0; is_masked && i < len; i++) {
        out->data[start + i] ^= mask[i % MASK_BYTES];
    }
}

void ws_send_at(struct secure_stream *stream, unsigned first, const void *bytes, size_t len,
                struct here here)
{
    struct buffer frame = {0};
    ws_put_frame(&frame, first, true, bytes, len);
    secure_send_at(stream, frame.data, frame.len, here);
    buffer_fini(&frame);
}

/* The length in a header of `header_len` bytes. */
static uint64_t payload_len(const uint8_t *header, size_t header_len)
{
    uint64_t len = header_len == 2 ? header[1] & 0x7f : 0;
    for (size_t i = 2; i < header_len; i++) {
        len = (len << 8) | header[i];
    }
    return len;
}

bool ws_receive_at(struct secure_stream *stream, struct ws_frame *frame, int timeout_ms,
                   struct here here)
{
    static struct buffer last; /* of all streams: the payload that `frame` borrows */
    if (!secure_fill(stream, 2, timeout_ms)) {
        return false;
    }
    uint8_t code = stream->input.data[1] & 0x7f;
    size_t header_len = code == 127 ? 10 : code == 126 ? 4 : 2;
    if (!secure_fill(stream, header_len, WAIT_MS)) {
        fail_at(here, "a frame that ends in its header");
    }
    const uint8_t *header = stream->input.data;
    uint64_t len = payload_len(header, header_len);
    *frame = (struct ws_frame){.opcode = header[0] & 0x0f, .is_final = (header[0] & WS_FIN) != 0};
    bool is_control = frame->opcode >= WS_CLOSE;
    if ((header[0] & 0x70) != 0 || (header[1] & 0x80) != 0 ||
        (is_control && (len > CONTROL_MAX || !frame->is_final)) || (code == 126 && len < 126) ||
        (code == 127 && len < 65536)) {
        fail_at(here, "a frame that breaks RFC 6455: 0x%02x 0x%02x", header[0], header[1]);
    }
    if (!secure_fill(stream, header_len + len, WAIT_MS)) {
        fail_at(here, "a frame of %llu bytes that ends before", (unsigned long long)len);
    }
    buffer_fini(&last);
    last = (struct buffer){0};
    put_bytes(&last, stream->input.data + header_len, len);
    buffer_consume(&stream->input, header_len + len);
    frame->payload = last.data;
    frame->len = len;
    return true;
}

struct ws_frame ws_expect_at(struct secure_stream *stream, unsigned opcode, struct here here)
{
    struct ws_frame frame = {0};
    if (!ws_receive_at(stream, &frame, WAIT_MS, here)) {
        fail_at(here, "expected a frame of opcode %u, but %s", opcode,
                stream->ended ? "the connection ended" : "nothing came");
    }
    if (frame.opcode != opcode) {
        fail_at(here, "expected a frame of opcode %u, got %u", opcode, frame.opcode);
    }
    return frame;
}

void ws_expect_close_at(struct secure_stream *stream, unsigned code, struct here here)
{
    struct ws_frame frame;
    do {
        if (!ws_receive_at(stream, &frame, WAIT_MS, here)) {
            fail_at(here, "expected a close frame with %u, but %s", code,
                    stream->ended ? "the connection ended without one" : "nothing came");
        }
    } while (frame.opcode != WS_CLOSE);
    unsigned got = frame.len >= 2 ? (unsigned)((frame.payload[0] << 8) | frame.payload[1]) : 1005;
    if (got != code) {
        fail_at(here, "expected close code %u, got %u", code, got);
    }
    secure_expect_end_at(stream, WAIT_MS, here);
}
