#include "tests/integration/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t prop_kinds[256] = {
#define X(value, name, function, kind) [value] = PROP_KIND_##kind,
    PROPERTY_TABLE(X)
#undef X
};

enum prop_kind prop_kind_of(uint8_t id)
{
    return (enum prop_kind)prop_kinds[id];
}

static void *allocate(void *old, size_t size)
{
    void *memory = realloc(old, size);
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        abort();
    }
    return memory;
}

static size_t text_len(const char *text)
{
    return text == NULL ? 0 : strlen(text);
}

struct prop prop_number(enum property id, uint32_t number)
{
    return (struct prop){.id = (uint8_t)id, .number = number};
}

struct prop prop_text(enum property id, const char *text)
{
    return prop_data(id, text, strlen(text));
}

struct prop prop_data(enum property id, const void *data, size_t len)
{
    return (struct prop){.id = (uint8_t)id, .text = data, .text_len = len};
}

struct prop prop_pair(enum property id, const char *name, const char *value)
{
    return (struct prop){.id = (uint8_t)id,
                         .text = name,
                         .text_len = strlen(name),
                         .value = value,
                         .value_len = strlen(value)};
}

void buffer_fini(struct buffer *buf)
{
    free(buf->data);
    *buf = (struct buffer){0};
}

void buffer_consume(struct buffer *buf, size_t len)
{
    if (len > 0) {
        memmove(buf->data, buf->data + len, buf->len - len);
        buf->len -= len;
    }
}

void put_bytes(struct buffer *buf, const void *data, size_t len)
{
    if (buf->len + len > buf->size) {
        buf->size = (buf->len + len) * 2 + 64;
        buf->data = allocate(buf->data, buf->size);
    }
    if (len > 0) {
        memcpy(buf->data + buf->len, data, len);
        buf->len += len;
    }
}

void put_u8(struct buffer *buf, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    put_bytes(buf, &byte, 1);
}

void put_u16(struct buffer *buf, unsigned value)
{
    put_u8(buf, value >> 8);
    put_u8(buf, value & 0xff);
}

void put_u32(struct buffer *buf, uint32_t value)
{
    put_u16(buf, value >> 16);
    put_u16(buf, value & 0xffff);
}

void put_varint(struct buffer *buf, uint32_t value)
{
    while (value >= 0x80) {
        put_u8(buf, (value & 0x7f) | 0x80);
        value >>= 7;
    }
    put_u8(buf, value);
}

void put_data(struct buffer *buf, const void *data, size_t len)
{
    put_u16(buf, (unsigned)len);
    put_bytes(buf, data, len);
}

void put_text(struct buffer *buf, const char *text)
{
    put_data(buf, text, text_len(text));
}

static void put_prop(struct buffer *buf, const struct prop *prop)
{
    put_u8(buf, prop->id);
    switch (prop_kind_of(prop->id)) {
    case PROP_KIND_NUMBER1:
        put_u8(buf, prop->number);
        break;
    case PROP_KIND_NUMBER2:
        put_u16(buf, prop->number);
        break;
    case PROP_KIND_NUMBER4:
        put_u32(buf, prop->number);
        break;
    case PROP_KIND_VARINT:
        put_varint(buf, prop->number);
        break;
    case PROP_KIND_PAIR:
        put_data(buf, prop->text, prop->text_len);
        put_data(buf, prop->value, prop->value_len);
        break;
    case PROP_KIND_NONE: /* an unknown property of a test: written as text */
    case PROP_KIND_TEXT:
    case PROP_KIND_DATA:
        put_data(buf, prop->text, prop->text_len);
        break;
    }
}

void put_props(struct buffer *buf, const struct prop *props)
{
    struct buffer list = {0};
    for (; props != NULL && props->id != 0; props++) {
        put_prop(&list, props);
    }
    put_varint(buf, (uint32_t)list.len);
    put_bytes(buf, list.data, list.len);
    buffer_fini(&list);
}

void put_packet(struct buffer *buf, unsigned first_byte, const struct buffer *body)
{
    put_u8(buf, first_byte);
    put_varint(buf, (uint32_t)body->len);
    put_bytes(buf, body->data, body->len);
}

static unsigned connect_flags(const struct connect_packet *packet)
{
    unsigned flags = packet->resume ? 0 : 0x02;
    if (packet->will_topic != NULL) {
        flags |= 0x04u | (unsigned)packet->will_qos << 3 | (packet->will_retain ? 0x20u : 0);
    }
    flags |= packet->password != NULL ? 0x40 : 0;
    flags |= packet->user != NULL ? 0x80 : 0;
    return flags;
}

void put_connect(struct buffer *buf, const struct connect_packet *packet)
{
    uint8_t version = packet->version == 0 ? MQTT_50 : packet->version;
    struct buffer body = {0};
    put_text(&body, version == MQTT_31 ? "MQIsdp" : "MQTT");
    put_u8(&body, version);
    put_u8(&body, connect_flags(packet));
    put_u16(&body, packet->keep_alive);
    if (version >= MQTT_50) {
        put_props(&body, packet->props);
    }
    put_text(&body, packet->client_id);
    if (packet->will_topic != NULL) {
        if (version >= MQTT_50) {
            put_props(&body, packet->will_props);
        }
        put_text(&body, packet->will_topic);
        size_t len = packet->will_len > 0 ? packet->will_len : text_len(packet->will_payload);
        put_data(&body, packet->will_payload, len);
    }
    if (packet->user != NULL) {
        put_text(&body, packet->user);
    }
    if (packet->password != NULL) {
        put_text(&body, packet->password);
    }
    put_packet(buf, PKT_CONNECT << 4, &body);
    buffer_fini(&body);
}

void put_publish(struct buffer *buf, uint8_t version, const struct publish_packet *packet)
{
    struct buffer body = {0};
    put_text(&body, packet->topic);
    if (packet->qos > 0) {
        put_u16(&body, packet->id);
    }
    if (version >= MQTT_50) {
        put_props(&body, packet->props);
    }
    size_t len = packet->payload_len > 0 ? packet->payload_len : text_len(packet->payload);
    put_bytes(&body, packet->payload, len);
    unsigned flags = (packet->dup ? 0x08u : 0) | (unsigned)packet->qos << 1 | packet->retain;
    put_packet(buf, PKT_PUBLISH << 4 | flags, &body);
    buffer_fini(&body);
}

static void put_filters(struct buffer *buf, uint8_t version, enum packet_type type,
                        const struct subscribe_packet *packet)
{
    struct buffer body = {0};
    put_u16(&body, packet->id);
    if (version >= MQTT_50) {
        put_props(&body, packet->props);
    }
    for (const struct filter *item = packet->filters; item->filter != NULL; item++) {
        put_text(&body, item->filter);
        if (type == PKT_SUBSCRIBE) {
            put_u8(&body, item->options);
        }
    }
    put_packet(buf, (unsigned)type << 4 | 0x02, &body);
    buffer_fini(&body);
}

void put_subscribe(struct buffer *buf, uint8_t version, const struct subscribe_packet *packet)
{
    put_filters(buf, version, PKT_SUBSCRIBE, packet);
}

void put_unsubscribe(struct buffer *buf, uint8_t version, const struct subscribe_packet *packet)
{
    put_filters(buf, version, PKT_UNSUBSCRIBE, packet);
}

void put_ack(struct buffer *buf, uint8_t version, enum packet_type type, unsigned id,
             enum reason reason)
{
    struct buffer body = {0};
    put_u16(&body, id);
    if (version >= MQTT_50 && reason != RC_SUCCESS) {
        put_u8(&body, reason);
    }
    put_packet(buf, (unsigned)type << 4 | (type == PKT_PUBREL ? 0x02 : 0), &body);
    buffer_fini(&body);
}

void put_reason_packet(struct buffer *buf, enum packet_type type, enum reason reason,
                       const struct prop *props)
{
    struct buffer body = {0};
    put_u8(&body, reason);
    put_props(&body, props);
    put_packet(buf, (unsigned)type << 4, &body);
    buffer_fini(&body);
}

const char *packet_type_name(enum packet_type type)
{
    static const char *const names[16] = {"reserved",  "CONNECT",  "CONNACK",     "PUBLISH",
                                          "PUBACK",    "PUBREC",   "PUBREL",      "PUBCOMP",
                                          "SUBSCRIBE", "SUBACK",   "UNSUBSCRIBE", "UNSUBACK",
                                          "PINGREQ",   "PINGRESP", "DISCONNECT",  "AUTH"};
    return names[type & 0x0f];
}

const char *reason_name(unsigned reason)
{
    switch (reason) {
#define X(value, name) \
    case value:        \
        return #name;
        REASON_TABLE(X)
#undef X
    default:
        return "?";
    }
}
