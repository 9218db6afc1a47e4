#include "tests/crash/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum property {
    CORRELATION_DATA = 0x09,
    SUBSCRIPTION_ID = 0x0B,
    SESSION_EXPIRY = 0x11,
    WILL_DELAY = 0x18,
    RECEIVE_MAXIMUM = 0x21
};

/* How long a property's value is: a fixed length, or one of these. */
enum { VARINT = 10, TEXT, PAIR };

static const uint8_t property_forms[64] = {
    [0x01] = 1, [0x02] = 4,    [0x03] = TEXT, [0x08] = TEXT, [0x09] = TEXT, [0x0B] = VARINT,
    [0x11] = 4, [0x12] = TEXT, [0x13] = 2,    [0x15] = TEXT, [0x16] = TEXT, [0x17] = 1,
    [0x18] = 4, [0x19] = 1,    [0x1A] = TEXT, [0x1C] = TEXT, [0x1F] = TEXT, [0x21] = 2,
    [0x22] = 2, [0x23] = 2,    [0x24] = 1,    [0x25] = 1,    [0x26] = PAIR, [0x27] = 4,
    [0x28] = 1, [0x29] = 1,    [0x2A] = 1,
};

/* ---- growing bytes --------------------------------------------------------------------------- */

void bytes_fini(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

uint8_t *bytes_reserve(struct bytes *bytes, size_t len)
{
    if (bytes->start > 0 && bytes->end + len > bytes->size) {
        memmove(bytes->data, bytes->data + bytes->start, bytes_len(bytes));
        bytes->end -= bytes->start;
        bytes->start = 0;
    }
    if (bytes->end + len > bytes->size) {
        bytes->size = (bytes->end + len) * 2;
        bytes->data = realloc(bytes->data, bytes->size);
        if (bytes->data == NULL) {
            fprintf(stderr, "pulse-crash: out of memory\n");
            abort();
        }
    }
    return bytes->data + bytes->end;
}

void bytes_grow(struct bytes *bytes, size_t len)
{
    bytes->end += len;
}

void bytes_put(struct bytes *bytes, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(bytes_reserve(bytes, len), data, len);
        bytes_grow(bytes, len);
    }
}

void bytes_take(struct bytes *bytes, size_t len)
{
    bytes->start += len;
    if (bytes->start == bytes->end) {
        bytes->start = bytes->end = 0;
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_u8(struct bytes *out, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    bytes_put(out, &byte, 1);
}

static void put_u16(struct bytes *out, unsigned value)
{
    put_u8(out, value >> 8);
    put_u8(out, value);
}

static void put_u32(struct bytes *out, uint32_t value)
{
    put_u16(out, value >> 16);
    put_u16(out, value);
}

static void put_varint(struct bytes *out, size_t value)
{
    for (; value >= 0x80; value >>= 7) {
        put_u8(out, (unsigned)value | 0x80);
    }
    put_u8(out, (unsigned)value);
}

static void put_data(struct bytes *out, const void *data, size_t len)
{
    put_u16(out, (unsigned)len);
    bytes_put(out, data, len);
}

static void put_text(struct bytes *out, const char *text)
{
    put_data(out, text, strlen(text));
}

/* Appends `part` with its length in front, and ends it. */
static void put_counted(struct bytes *out, struct bytes *part)
{
    put_varint(out, bytes_len(part));
    bytes_put(out, part->data, bytes_len(part));
    bytes_fini(part);
}

static void put_packet(struct bytes *out, unsigned first_byte, struct bytes *body)
{
    put_u8(out, first_byte);
    put_counted(out, body);
}

static void put_correlation(struct bytes *out, const struct wire_publish *publish)
{
    if (publish->correlation != NULL) {
        put_u8(out, CORRELATION_DATA);
        put_data(out, publish->correlation, publish->correlation_len);
    }
}

static void put_will(struct bytes *out, const struct wire_connect *connect)
{
    struct bytes properties = {0};
    put_u8(&properties, WILL_DELAY);
    put_u32(&properties, connect->will_delay_s);
    put_correlation(&properties, connect->will);
    put_counted(out, &properties);
    put_text(out, connect->will->topic);
    put_data(out, connect->will->payload, connect->will->payload_len);
}

static unsigned connect_flags(const struct wire_connect *connect)
{
    unsigned flags = connect->clean_start ? 0x02 : 0;
    if (connect->will != NULL) {
        flags |= 0x04u | (unsigned)connect->will->qos << 3 | (connect->will->retain ? 0x20u : 0);
    }
    return flags;
}

void wire_put_connect(struct bytes *out, const struct wire_connect *connect)
{
    struct bytes body = {0}, properties = {0};
    put_text(&body, "MQTT");
    put_u8(&body, 5);
    put_u8(&body, connect_flags(connect));
    put_u16(&body, 0); /* no keep alive: a driver that is stopped for a while stays connected */
    put_u8(&properties, SESSION_EXPIRY);
    put_u32(&properties, connect->session_expiry_s);
    put_u8(&properties, RECEIVE_MAXIMUM);
    put_u16(&properties, connect->receive_maximum);
    put_counted(&body, &properties);
    put_text(&body, connect->client_id);
    if (connect->will != NULL) {
        put_will(&body, connect);
    }
    put_packet(out, WIRE_CONNECT << 4, &body);
}

void wire_put_publish(struct bytes *out, const struct wire_publish *publish)
{
    struct bytes body = {0}, properties = {0};
    put_text(&body, publish->topic);
    if (publish->qos > 0) {
        put_u16(&body, publish->packet_id);
    }
    put_correlation(&properties, publish);
    put_counted(&body, &properties);
    bytes_put(&body, publish->payload, publish->payload_len);
    unsigned flags = (publish->dup ? 0x08u : 0) | (unsigned)publish->qos << 1 | publish->retain;
    put_packet(out, WIRE_PUBLISH << 4 | flags, &body);
}

void wire_put_ack(struct bytes *out, enum wire_type type, uint16_t packet_id)
{
    struct bytes body = {0};
    put_u16(&body, packet_id);
    put_packet(out, (unsigned)type << 4 | (type == WIRE_PUBREL ? 0x02 : 0), &body);
}

void wire_put_subscribe(struct bytes *out, const struct wire_subscribe *subscribe)
{
    struct bytes body = {0}, properties = {0};
    put_u16(&body, subscribe->packet_id);
    if (subscribe->subscription_id != 0) {
        put_u8(&properties, SUBSCRIPTION_ID);
        put_varint(&properties, subscribe->subscription_id);
    }
    put_counted(&body, &properties);
    put_text(&body, subscribe->filter);
    put_u8(&body, subscribe->qos | (unsigned)subscribe->retain_handling << 4);
    put_packet(out, WIRE_SUBSCRIBE << 4 | 0x02, &body);
}

void wire_put_unsubscribe(struct bytes *out, const char *filter, uint16_t packet_id)
{
    struct bytes body = {0};
    put_u16(&body, packet_id);
    put_u8(&body, 0);
    put_text(&body, filter);
    put_packet(out, WIRE_UNSUBSCRIBE << 4 | 0x02, &body);
}

void wire_put_ping(struct bytes *out)
{
    put_u16(out, WIRE_PINGREQ << 12);
}

void wire_put_disconnect(struct bytes *out)
{
    put_u16(out, WIRE_DISCONNECT << 12);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What is left to read. Past the end everything reads as zero, and `bad` says so. */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static const uint8_t *read_bytes(struct reader *in, size_t len)
{
    if ((size_t)(in->end - in->at) < len) {
        in->bad = true;
        in->at = in->end;
        return NULL;
    }
    const uint8_t *data = in->at;
    in->at += len;
    return data;
}

static uint8_t read_u8(struct reader *in)
{
    const uint8_t *data = read_bytes(in, 1);
    return data == NULL ? 0 : data[0];
}

static uint16_t read_u16(struct reader *in)
{
    unsigned high = read_u8(in);
    return (uint16_t)(high << 8 | read_u8(in));
}

static uint32_t read_varint(struct reader *in)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint32_t byte = read_u8(in);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    in->bad = true;
    return 0;
}

static const uint8_t *read_data(struct reader *in, size_t *len)
{
    *len = read_u16(in);
    return read_bytes(in, *len);
}

static void read_property(struct reader *in, struct packet *packet)
{
    size_t len = 0;
    uint8_t id = read_u8(in);
    unsigned form = id < sizeof(property_forms) ? property_forms[id] : 0;
    if (form == 0) {
        in->bad = true;
    } else if (form == VARINT) {
        (void)read_varint(in); /* a Subscription Identifier: not looked at */
    } else if (form < VARINT) {
        read_bytes(in, form);
    } else {
        const uint8_t *data = read_data(in, &len);
        if (form == PAIR) {
            data = read_data(in, &len);
        }
        if (id == CORRELATION_DATA) {
            packet->correlation = data;
            packet->correlation_len = len;
        }
    }
}

static void read_properties(struct reader *in, struct packet *packet)
{
    size_t len = read_varint(in);
    const uint8_t *data = read_bytes(in, len);
    if (data == NULL) {
        return;
    }
    struct reader part = {.at = data, .end = data + len};
    while (part.at < part.end && !part.bad) {
        read_property(&part, packet);
    }
    in->bad = in->bad || part.bad;
}

static void read_publish(struct reader *in, struct packet *packet, unsigned flags)
{
    packet->dup = (flags & 0x08) != 0;
    packet->qos = flags >> 1 & 0x03;
    packet->retain = (flags & 0x01) != 0;
    packet->topic = (const char *)read_data(in, &packet->topic_len);
    if (packet->qos > 0) {
        packet->packet_id = read_u16(in);
        in->bad = in->bad || packet->packet_id == 0;
    }
    in->bad = in->bad || packet->qos == 3 || packet->topic_len == 0;
    read_properties(in, packet);
    packet->payload = in->at;
    packet->payload_len = (size_t)(in->end - in->at);
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP: reason and properties may be left out. */
static void read_ack(struct reader *in, struct packet *packet)
{
    packet->packet_id = read_u16(in);
    if (in->at < in->end) {
        packet->reason = read_u8(in);
    }
    if (in->at < in->end) {
        read_properties(in, packet);
    }
}

static void read_body(struct reader *in, struct packet *packet, unsigned flags)
{
    switch (packet->type) {
    case WIRE_CONNACK:
        packet->session_present = (read_u8(in) & 0x01) != 0;
        packet->reason = read_u8(in);
        read_properties(in, packet);
        break;
    case WIRE_PUBLISH:
        read_publish(in, packet, flags);
        break;
    case WIRE_PUBACK:
    case WIRE_PUBREC:
    case WIRE_PUBREL:
    case WIRE_PUBCOMP:
        read_ack(in, packet);
        break;
    case WIRE_SUBACK:
    case WIRE_UNSUBACK:
        packet->packet_id = read_u16(in);
        read_properties(in, packet);
        packet->reason = read_u8(in);
        break;
    case WIRE_PINGRESP:
        break;
    case WIRE_DISCONNECT:
        packet->reason = in->at < in->end ? read_u8(in) : 0;
        break;
    case WIRE_CONNECT:
    case WIRE_SUBSCRIBE:
    case WIRE_UNSUBSCRIBE:
    case WIRE_PINGREQ:
    case WIRE_AUTH:
        in->bad = true; /* not from a broker, not to us */
        break;
    }
}

long wire_read(struct packet *packet, const uint8_t *data, size_t len)
{
    *packet = (struct packet){0};
    size_t used = 1, body_len = 0;
    unsigned shift = 0;
    do {
        if (used >= len) {
            return 0;
        }
        if (used > 4) {
            return -1;
        }
        body_len |= (size_t)(data[used] & 0x7f) << shift;
        shift += 7;
    } while ((data[used++] & 0x80) != 0);
    if (len - used < body_len) {
        return 0;
    }
    packet->type = data[0] >> 4;
    if (packet->type == 0) {
        return -1;
    }
    struct reader in = {.at = data + used, .end = data + used + body_len};
    read_body(&in, packet, data[0] & 0x0f);
    return in.bad ? -1 : (long)(used + body_len);
}

const char *wire_type_name(enum wire_type type)
{
    static const char *const names[16] = {"reserved",  "CONNECT",  "CONNACK",     "PUBLISH",
                                          "PUBACK",    "PUBREC",   "PUBREL",      "PUBCOMP",
                                          "SUBSCRIBE", "SUBACK",   "UNSUBSCRIBE", "UNSUBACK",
                                          "PINGREQ",   "PINGRESP", "DISCONNECT",  "AUTH"};
    return names[type & 0x0f];
}
