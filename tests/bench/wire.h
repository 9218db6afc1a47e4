/*
 * wire: the few MQTT packets that a load generator sends, and a reader of those that it gets.
 *
 * Owns      nothing: every function works on the caller's bytes.
 * Thread    any.
 * Errors    builders cannot fail, callers give WIRE_SETUP_BYTES_MAX bytes and strings of at most
 *           WIRE_STRING_BYTES_MAX; readers answer `false` or WIRE_BROKEN for bytes that are not
 * MQTT. Source    MQTT 3.1.1 and 5.0, sections 2 and 3. Not here  sockets and buffering (link.h).
 * Deliberately not the broker's own codec: a fault in that one must not hide itself from its own
 * benchmark.
 */
#ifndef TESTS_BENCH_WIRE_H
#define TESTS_BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    WIRE_VERSION_311 = 4,
    WIRE_VERSION_5 = 5,
    WIRE_STRING_BYTES_MAX = 256,
    WIRE_SETUP_BYTES_MAX = 1536, /* the largest CONNECT, SUBSCRIBE or PUBLISH head */
    WIRE_ACK_BYTES = 4,
    WIRE_REASON_FAILED = 0x80, /* this and above are refusals, in 3.1.1 as well */
};

enum wire_type {
    WIRE_CONNECT = 1,
    WIRE_CONNACK,
    WIRE_PUBLISH,
    WIRE_PUBACK,
    WIRE_PUBREC,
    WIRE_PUBREL,
    WIRE_PUBCOMP,
    WIRE_SUBSCRIBE,
    WIRE_SUBACK,
    WIRE_UNSUBSCRIBE,
    WIRE_UNSUBACK,
    WIRE_PINGREQ,
    WIRE_PINGRESP,
    WIRE_DISCONNECT,
    WIRE_AUTH,
};

enum wire_status { WIRE_WHOLE, WIRE_PARTIAL, WIRE_BROKEN };

/* Borrows its bytes from the buffer that wire_frame() was given. */
struct wire_packet {
    const uint8_t *body;
    size_t body_len;
    size_t len; /* with the fixed header */
    uint8_t type;
    uint8_t flags;
};

struct wire_publish {
    const uint8_t *topic;
    const uint8_t *payload;
    size_t topic_len;
    size_t payload_len;
    uint16_t id; /* 0 at QoS 0 */
    uint8_t qos;
    bool retain;
};

struct wire_login {
    const char *client_id;
    const char *username; /* NULL: none */
    const char *password; /* NULL: none */
    uint16_t keep_alive_s;
    uint8_t version;
    bool keep_session; /* takes up the session of this client id, and leaves it behind */
};

/* What is wanted of a CONNACK. */
struct wire_connack {
    uint16_t receive_maximum; /* the most that MQTT allows when the broker does not name one */
    uint8_t reason;
    bool session_present;
};

struct wire_outline {
    const char *topic;
    size_t payload_len;
    uint8_t version;
    uint8_t qos;
    bool retain;
};

/* Each writes one packet to `to` and returns its length. */
size_t wire_put_connect(uint8_t *to, const struct wire_login *login);
size_t wire_put_subscribe(uint8_t *to, uint8_t version, const char *filter, uint8_t qos);
size_t wire_put_disconnect(uint8_t *to);

/* Writes all of a PUBLISH but its payload. `*id_offset` is where the packet id goes, if it has one.
 */
size_t wire_put_publish_head(uint8_t *to, const struct wire_outline *outline, size_t *id_offset);

bool wire_read_publish(const struct wire_packet *packet, uint8_t version, struct wire_publish *out);

bool wire_read_connack(const struct wire_packet *packet, uint8_t version, struct wire_connack *out);

/* PUBACK, PUBREC, PUBREL, PUBCOMP. The reason is 0 where the packet has none. */
bool wire_read_ack(const struct wire_packet *packet, uint16_t *id, uint8_t *reason);

/* The return code of the only filter of a SUBSCRIBE. */
bool wire_read_suback(const struct wire_packet *packet, uint8_t version, uint8_t *reason);

/* Of a CONNACK: server unavailable (3.1.1: 3, 5.0: 0x88), or busy. Later it may be otherwise. */
static inline bool wire_is_busy(uint8_t reason)
{
    return reason == 3 || reason == 0x88 || reason == 0x89;
}

static inline void wire_put_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static inline uint16_t wire_get_u16(const uint8_t *from)
{
    return (uint16_t)((from[0] << 8) | from[1]);
}

static inline void wire_put_ack(uint8_t *to, enum wire_type type, uint16_t id)
{
    to[0] = (uint8_t)((type << 4) | (type == WIRE_PUBREL ? 2 : 0));
    to[1] = 2;
    wire_put_u16(to + 2, id);
}

/* Decodes a variable byte integer: its length in bytes, 0 while incomplete, -1 when malformed. */
static inline int wire_get_varint(const uint8_t *from, size_t len, size_t *value)
{
    size_t sum = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (i == len) {
            return 0;
        }
        sum |= (size_t)(from[i] & 0x7f) << (7 * i);
        if (from[i] < 0x80) {
            *value = sum;
            return (int)i + 1;
        }
    }
    return -1;
}

/* Looks for one whole packet at `data`. Inline: it runs for every packet received. */
static inline enum wire_status wire_frame(const uint8_t *data, size_t len, struct wire_packet *out)
{
    if (len < 2) {
        return WIRE_PARTIAL;
    }
    size_t body_len = 0;
    int header = wire_get_varint(data + 1, len - 1, &body_len);
    if (header <= 0) {
        return header == 0 ? WIRE_PARTIAL : WIRE_BROKEN;
    }
    size_t start = 1 + (size_t)header;
    out->len = start + body_len;
    if (len < out->len) {
        return WIRE_PARTIAL;
    }
    out->type = data[0] >> 4;
    out->flags = data[0] & 0x0f;
    out->body = data + start;
    out->body_len = body_len;
    return WIRE_WHOLE;
}

#endif
