#include "tests/integration/secure_client.h"
#include "tests/integration/certificates.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_BYTES_MAX = 500 };

/*
 * Invariant: `out` holds framed bytes that the stream has not taken yet; nothing is framed while
 * there are any.
 */
struct carrier {
    struct secure_stream *stream;
    bool has_frames;
    unsigned close_code;
    struct buffer out;
    struct buffer in; /* of messages, not taken yet */
};

/* Gives 0, or -1 with errno while something waits. */
static int flush(struct carrier *carrier)
{
    while (carrier->out.len > 0) {
        ssize_t sent = secure_send_some(carrier->stream, carrier->out.data, carrier->out.len);
        if (sent < 0) {
            return -1;
        }
        buffer_consume(&carrier->out, (size_t)sent);
    }
    return 0;
}

static ssize_t carry_out(void *self, const void *bytes, size_t len)
{
    struct carrier *carrier = self;
    if (!carrier->has_frames) {
        return secure_send_some(carrier->stream, bytes, len);
    }
    if (flush(carrier) != 0) {
        return -1;
    }
    if (len == 0) {
        return 0;
    }
    size_t piece = len < FRAME_BYTES_MAX ? len : FRAME_BYTES_MAX;
    ws_put_frame(&carrier->out, WS_FIN | WS_BINARY, true, bytes, piece);
    return flush(carrier) == 0 || errno == EAGAIN ? (ssize_t)piece : -1;
}

/* Keeps what one frame brings; a control frame brings nothing. */
static void take_frame(struct carrier *carrier, const struct ws_frame *frame)
{
    if (frame->opcode == WS_BINARY || frame->opcode == WS_CONTINUATION) {
        put_bytes(&carrier->in, frame->payload, frame->len);
    } else if (frame->opcode == WS_PING) {
        ws_put_frame(&carrier->out, WS_FIN | WS_PONG, true, frame->payload, frame->len);
        (void)flush(carrier); /* what is left goes with the next bytes */
    } else if (frame->opcode == WS_CLOSE) {
        carrier->close_code =
            frame->len >= 2 ? (unsigned)((frame->payload[0] << 8) | frame->payload[1]) : 1005;
    } else if (frame->opcode == WS_TEXT) {
        test_fail("the broker sent a text frame");
    }
}

static ssize_t carry_in(void *self, void *to, size_t size)
{
    struct carrier *carrier = self;
    if (!carrier->has_frames) {
        return secure_receive_some(carrier->stream, to, size);
    }
    struct ws_frame frame;
    (void)flush(carrier); /* a failure shows when we read */
    while (carrier->in.len == 0 && ws_receive_at(carrier->stream, &frame, 0, HERE)) {
        take_frame(carrier, &frame);
    }
    size_t len = carrier->in.len < size ? carrier->in.len : size;
    if (len == 0) {
        errno = EAGAIN;
        return carrier->stream->ended ? 0 : -1;
    }
    memcpy(to, carrier->in.data, len);
    buffer_consume(&carrier->in, len);
    return (ssize_t)len;
}

static void destroy(void *self)
{
    struct carrier *carrier = self;
    secure_close(carrier->stream);
    buffer_fini(&carrier->in);
    buffer_fini(&carrier->out);
    free(carrier);
}

static const struct client_carrier secure_carrier = {carry_out, carry_in, destroy};

struct client *secure_client_at(uint8_t version, const struct secure_way *way, struct here here)
{
    struct carrier *carrier = calloc(1, sizeof(*carrier));
    if (carrier == NULL) {
        abort();
    }
    carrier->has_frames = way->websocket;
    carrier->stream = way->websocket ? ws_open_at(way, here) : secure_must_open_at(way, here);
    return client_adopt(carrier->stream->fd, version, &secure_carrier, carrier);
}

struct client *secure_connect_at(const struct secure_way *way, const struct connect_packet *packet,
                                 struct here here)
{
    struct client *c = secure_client_at(packet->version, way, here);
    send_connect_at(c, packet, here);
    const struct packet *connack = expect_packet_at(c, PKT_CONNACK, here);
    if (connack->reason != RC_SUCCESS) {
        fail_at(here, "CONNECT was refused with 0x%02x (%s)", connack->reason,
                reason_name(connack->reason));
    }
    return c;
}

struct secure_stream *secure_stream_of(const struct client *c)
{
    return ((struct carrier *)client_carried(c))->stream;
}

unsigned secure_close_code(const struct client *c)
{
    return ((struct carrier *)client_carried(c))->close_code;
}

/* ---- whole suites over another transport ----------------------------------------------------- */

static bool variant_is(const char *a, const char *b)
{
    const char *variant = getenv("PULSE_TRANSPORT");
    return variant != NULL && (strcmp(variant, a) == 0 || strcmp(variant, b) == 0);
}

const char *secure_variant_yaml(uint16_t port)
{
    static char yaml[1024];
    bool is_tls = variant_is("tls", "wss");
    if (!is_tls && !variant_is("ws", "wss")) {
        return NULL;
    }
    int len = snprintf(yaml, sizeof(yaml), "listeners:\n- bind: 127.0.0.1:%u\n  protocol: %s\n",
                       port, variant_is("ws", "wss") ? "ws" : "mqtt");
    if (is_tls) {
        snprintf(yaml + len, sizeof(yaml) - (size_t)len,
                 "  tls: true\n  certificate_chain: %s\n  private_key: %s\n",
                 certificates_path("server.pem"), certificates_path("server.key"));
    }
    return yaml;
}

struct client *secure_variant_open(uint8_t version, struct here here)
{
    struct secure_way way = {.tls = variant_is("tls", "wss"), .websocket = variant_is("ws", "wss")};
    return secure_client_at(version, &way, here);
}
