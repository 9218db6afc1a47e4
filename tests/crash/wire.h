/*
 * wire: the MQTT 5.0 packets of the crash suite as bytes: what its clients send, and what they
 * read.
 *
 * Deliberately shares nothing with codec/: a mistake there must not hide itself here.
 *
 * Owns      a struct bytes' memory.
 * Thread    the driver's.
 * Errors    wire_read says that bytes are no packet; running out of memory ends the program.
 * Source    MQTT 5.0, sections 2 and 3.
 * Not here  sockets (link.h), connecting and pinging (client.h).
 */
#ifndef TESTS_CRASH_WIRE_H
#define TESTS_CRASH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    WIRE_AUTH
};

enum { WIRE_REFUSED = 0x80 }; /* reasons from here on are failures */

/* Growing bytes, taken from the front. Starts as {0}; end it with bytes_fini(). */
struct bytes {
    uint8_t *data;
    size_t start;
    size_t end;
    size_t size;
};

void bytes_fini(struct bytes *bytes);
void bytes_put(struct bytes *bytes, const void *data, size_t len);
/* Makes room for `len` more and borrows it; bytes_grow says how much of it was filled. */
uint8_t *bytes_reserve(struct bytes *bytes, size_t len);
void bytes_grow(struct bytes *bytes, size_t len);
void bytes_take(struct bytes *bytes, size_t len);

static inline size_t bytes_len(const struct bytes *bytes)
{
    return bytes->end - bytes->start;
}

struct wire_publish {
    const char *topic;
    const uint8_t *payload;
    size_t payload_len;
    const uint8_t *correlation; /* Correlation Data; NULL: none */
    size_t correlation_len;
    uint16_t packet_id; /* not in QoS 0 */
    uint8_t qos;
    bool retain;
    bool dup;
};

struct wire_connect {
    const char *client_id;
    bool clean_start;
    uint32_t session_expiry_s;
    uint16_t receive_maximum;
    const struct wire_publish *will; /* NULL: none */
    uint32_t will_delay_s;
};

struct wire_subscribe {
    const char *filter;
    uint16_t packet_id;
    uint8_t qos;
    uint8_t retain_handling;
    uint32_t subscription_id; /* 0: none */
};

void wire_put_connect(struct bytes *out, const struct wire_connect *connect);
void wire_put_publish(struct bytes *out, const struct wire_publish *publish);
void wire_put_ack(struct bytes *out, enum wire_type type, uint16_t packet_id);
void wire_put_subscribe(struct bytes *out, const struct wire_subscribe *subscribe);
void wire_put_unsubscribe(struct bytes *out, const char *filter, uint16_t packet_id);
void wire_put_ping(struct bytes *out);
void wire_put_disconnect(struct bytes *out);

/* A packet that the broker sent; pointers are borrowed from the bytes that were read. */
struct packet {
    enum wire_type type;
    bool dup;
    bool retain;
    uint8_t qos;
    uint16_t packet_id;
    bool session_present;
    uint8_t reason; /* the first one of SUBACK and UNSUBACK */
    const char *topic;
    size_t topic_len;
    const uint8_t *payload;
    size_t payload_len;
    const uint8_t *correlation;
    size_t correlation_len;
};

/* Reads the packet at the start of `data`. Gives its length, 0 when it is not whole yet, -1 when it
 * is none. */
long wire_read(struct packet *packet, const uint8_t *data, size_t len);

const char *wire_type_name(enum wire_type type);

#endif
